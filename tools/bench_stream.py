"""How fast the pipe is: every stage alone, all together, and against plain transcoding; prints a table, writes JSON.

    python tools/bench_stream.py [CLIP] [--model sam-lite] [--device cpu] [--seconds 12] [--repeats 3] [--json FILE]

Without CLIP it makes its own: 1280x720, 25 frames a second, moving shapes over a noisy still, AAC sound. Each stage
is timed alone on data made ready before (median and spread over the repeats); "end to end" is `vidsal.run` with its
stages side by side. CPU time compares two fresh processes on the whole clip: `vidsal run`, and a transcoder with the
same decoder and encoder settings.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import av
import cv2
import numpy as np
import torch

import vidsal
from vidsal.decode import DecodeOptions
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.outputs import shared_video_options
from vidsal.pipe.predict import StageClock
from vidsal.prefetch import usable_cores
from vidsal.render import overlay
from vidsal.sinks import VideoOptions, VideoSink


def make_clip(path: Path, seconds: int) -> Path:
    """A 720p H.264 clip with sound, not trivial to encode."""
    random = np.random.default_rng(0)
    still = cv2.GaussianBlur(random.integers(0, 255, (760, 1320, 3), np.uint8), (0, 0), 3)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "23"})
        video.width, video.height, video.pix_fmt = 1280, 720, "yuv420p"
        sound = container.add_stream("aac", rate=48000)
        for number in range(25 * seconds):
            dx, dy = int(20 + 19 * np.sin(number / 20)), int(20 + 19 * np.cos(number / 27))
            picture = np.ascontiguousarray(still[dy : dy + 720, dx : dx + 1280])
            for blob in range(4):
                angle = number / 30 + blob * 1.7
                centre = int(640 + 400 * np.cos(angle)), int(360 + 220 * np.sin(1.3 * angle))
                cv2.circle(picture, centre, 60, (40 * blob + 60, 220 - 40 * blob, 120), -1)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        for block in range(48 * seconds):
            tone = np.sin(np.arange(1000) * 0.05).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, block * 1000, Fraction(1, 48000)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def add_encoder(writer: Any, rate: Any, width: int, height: int) -> Any:
    """A video stream with the settings that vidsal uses."""
    video = shared_video_options(VideoOptions(), torch.device("cpu"))
    out = writer.add_stream(video.encoder, rate=rate, options={"preset": video.preset, "crf": str(video.crf)})
    out.codec_context.thread_count = video.encoder_threads
    out.width, out.height, out.pix_fmt = width, height, "yuv420p"
    return out


def transcode(source: str, target: str) -> None:
    """Decode and encode with the settings that vidsal uses, sound copied, nothing in between."""
    with av.open(source) as reader, av.open(target, "w") as writer:
        stream = reader.streams.video[0]
        out = add_encoder(writer, stream.average_rate, stream.width, stream.height)
        copies = {s.index: writer.add_stream_from_template(s) for s in reader.streams.audio}
        for packet in reader.demux():
            if packet.stream.index in copies and packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                writer.mux(packet)
            elif packet.stream is stream:
                for frame in packet.decode():
                    frame.pict_type = av.video.frame.PictureType.NONE
                    writer.mux(out.encode(frame))
        writer.mux(out.encode(None))


def cpu_seconds(command: list[str]) -> float:
    """User and system seconds of a finished child process and its threads."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def timed(work: Callable[[], Any], frames: int, repeats: int) -> dict[str, float]:
    """Frames a second: median, least and most over the repeats, after one unmeasured run."""
    work()
    rates = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        rates.append(frames / (time.perf_counter() - begin))
    return {"median": statistics.median(rates), "least": min(rates), "most": max(rates)}


def exhaust(values: Iterable[Any]) -> None:
    """Read to the end."""
    for _ in values:
        pass


def measure_stages(clip: Path, model: vidsal.SaliencyModel, repeats: int, folder: Path) -> dict[str, dict[str, float]]:
    """Each stage alone, and `run`."""
    options = DecodeOptions()

    def reader() -> Any:
        return vidsal.open_video(clip, options=options, size=model.preprocessor.frame_size, keep_pictures=True)

    def decode() -> None:
        with reader() as batches:
            exhaust(batches)

    # Up to 64 frames are kept ready for the stages that are measured alone.
    with reader() as opened:
        info = opened.info
        batches = [batch for batch, _ in zip(opened, range(8), strict=False)]
    frames = sum(len(batch) for batch in batches)
    ready = list(vidsal.predict(batches, model))
    densities = [(batch.pictures[n], batch.density[n].cpu().numpy()) for batch in ready for n in range(len(batch))]
    pixels = [model.preprocessor(batch.frames, device=model.device)[None] for batch in batches]
    clock = StageClock()

    def compute() -> None:
        state = None
        for batch in pixels:
            _, state = model(batch, state)

    def render() -> None:
        for picture, density in densities:
            overlay(picture.rgb(), density, scale=20.0)

    pictures = [overlay(picture.rgb(), density, scale=20.0) for picture, density in densities]

    def encode() -> None:
        with av.open(str(folder / "encoded.mp4"), "w") as writer:
            out = add_encoder(writer, info.rate or 25, info.width, info.height)
            for picture in pictures:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                writer.mux(out.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
            writer.mux(out.encode(None))

    def render_and_encode() -> None:
        video = shared_video_options(VideoOptions(), model.device)
        with VideoSink(folder / "alone.mp4", info, video=video, overwrite=True) as sink:
            for batch in ready:
                sink.write(batch)

    whole = RunOptions(output=OutputOptions(output=folder, overwrite=True))
    with reader() as opened:
        total = sum(len(batch) for batch in opened)
    results = {
        "decode": timed(decode, total, repeats),
        "preprocess": timed(
            lambda: [model.preprocessor(b.frames, device=model.device) for b in batches], frames, repeats
        ),
        "model": timed(compute, frames, repeats),
        "model, smoothing, cuts": timed(lambda: exhaust(vidsal.predict(batches, model, clock=clock)), frames, repeats),
        "render": timed(render, frames, repeats),
        "encode": timed(encode, frames, repeats),
        "render and encode": timed(render_and_encode, frames, repeats),
        "end to end": timed(lambda: vidsal.run(clip, options=whole, model=model), total, repeats),
    }
    slowest = min(value["median"] for name, value in results.items() if name != "end to end")
    results["end to end over slowest stage"] = {"median": results["end to end"]["median"] / slowest}
    return results


def measure_cpu(clip: Path, model: str, device: str, repeats: int, folder: Path) -> dict[str, float]:
    """CPU seconds of a whole `vidsal run` and of transcoding, and their ratio."""
    run = [sys.executable, "-m", "vidsal", "run", str(clip), "--model", model, "--device", device]
    run += ["--output", str(folder), "--overwrite", "--quiet"]
    plain = [sys.executable, __file__, "--transcode", str(clip), str(folder / "transcoded.mp4")]
    pairs = [(cpu_seconds(run), cpu_seconds(plain)) for _ in range(repeats)]
    ours, theirs = (statistics.median(pair[n] for pair in pairs) for n in (0, 1))
    ratios = [a / b for a, b in pairs]
    return {
        "vidsal run": ours,
        "transcode": theirs,
        "ratio": statistics.median(ratios),
        "least ratio": min(ratios),
        "most ratio": max(ratios),
    }


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--model", default="sam-lite")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=int, default=12, help="length of the made clip")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument("--transcode", nargs=2, metavar=("IN", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.transcode:
        transcode(*arguments.transcode)
        return 0
    cores = usable_cores()
    torch.set_num_threads(max(1, cores - 1))
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = arguments.clip or make_clip(folder / "clip.mp4", arguments.seconds)
        model = vidsal.load_model(arguments.model, device=arguments.device)
        stages = measure_stages(clip, model, arguments.repeats, folder)
        cpu = measure_cpu(clip, arguments.model, arguments.device, arguments.repeats, folder)
    print(f"{clip.name}, {model}, {cores} cores, encoder {VideoOptions().encoder} {VideoOptions().preset}\n")
    print(f"{'stage':32s} {'frames/s':>9s}   least .. most of {arguments.repeats}")
    for stage, value in stages.items():
        spread = f"{value['least']:7.1f} .. {value['most']:.1f}" if "least" in value else ""
        print(f"{stage:32s} {value['median']:9.2f} {spread}")
    print(
        f"\nCPU seconds: vidsal run {cpu['vidsal run']:.1f}, transcoding {cpu['transcode']:.1f}, "
        f"ratio {cpu['ratio']:.2f}"
    )
    print(f"             ratio from {cpu['least ratio']:.2f} to {cpu['most ratio']:.2f}")
    if arguments.json:
        machine = {"processor": platform.processor() or platform.machine(), "cores": cores, "system": platform.system()}
        versions = {"python": platform.python_version(), "torch": torch.__version__, "av": av.__version__}
        versions |= {"opencv": cv2.__version__, "numpy": np.__version__, "vidsal": vidsal.__version__}
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip()
        content = {"machine": machine, "versions": versions, "commit": commit, "stages": stages, "cpu_seconds": cpu}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
