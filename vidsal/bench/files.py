"""A clip and a model in; how fast `vidsal run` and each of its stages alone are, and what a run costs, out."""

from __future__ import annotations

import collections
import itertools
import time
import timeit
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vidsal.bench.machine import peak_bytes, reset_peaks
from vidsal.bench.report import LongReport, VideoReport
from vidsal.decode import open_video
from vidsal.decode.local import open_file
from vidsal.files import local_name
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.options import RunOptions
from vidsal.pipe.outputs import shared_video_options
from vidsal.pipe.predict import StageClock, predict
from vidsal.pipe.run import run
from vidsal.sinks import FileSink, TableSink, VideoOptions, VideoSink
from vidsal.sinks.containers import dated
from vidsal.sinks.options import DEFAULT_ENCODER
from vidsal.tracks import Tracker
from vidsal.urgency import kept_urgency

__all__ = ["measure_files", "repeat_clip", "stage_cpu_seconds", "transcode"]

# Frames that lie ready for the stages after decoding.
_READY_FRAMES = 64
# The fastest counts.
_ROUNDS = 2


def measure_files(
    clip: Path, model: SaliencyModel, options: RunOptions, *, folder: Path, long_seconds: float = 0.0
) -> VideoReport:
    """Time `run` on a clip, then each of its stages with nothing beside it, and a transcoder with the same settings.

    Args:
        clip: the video.
        model: a model that has warmed up.
        options: of the run; its results go to `folder`.
        folder: for everything that is written.
        long_seconds: also run the clip repeated to this length, and compare the memory; 0 leaves it out.
    """
    reset_peaks(model.device)
    before = time.process_time()
    done = run(clip, options=options, model=model)
    cpu_seconds, peak = time.process_time() - before, peak_bytes(model.device)
    # Before the rest, whose memory would count, too.
    long = None
    if long_seconds:
        reset_peaks(model.device)
        repeated = run(repeat_clip(clip, folder / "long.mkv", seconds=long_seconds), options=options, model=model)
        long = LongReport(frames=repeated.frames, peak_bytes=peak_bytes(model.device))
    before = time.process_time()
    transcode(clip, folder / "transcoded.mkv", shared_video_options(options.video, model.device))
    transcode_cpu_seconds = time.process_time() - before
    alone = _stages_alone(clip, model, options, done.frames, folder)
    stages = stage_cpu_seconds(clip, model, options, folder=folder)
    with open_video(clip) as reader:
        height, width = reader.info.height, reader.info.width
    return VideoReport(
        state=options.recurrence.state,
        steps=options.recurrence.steps,
        clip=f"{clip.name}, {width}x{height}",
        frames=done.frames,
        frames_per_second=done.frames_per_second,
        stage_frames_per_second=done.stage_frames_per_second,
        alone_frames_per_second=alone,
        share_of_slowest=done.frames_per_second / min(alone.values()),
        cpu_seconds=cpu_seconds,
        stage_cpu_seconds=stages,
        transcode_cpu_seconds=transcode_cpu_seconds,
        peak_bytes=peak,
        long=long,
    )


def _stages_alone(clip: Path, model: SaliencyModel, options: RunOptions, frames: int, folder: Path) -> dict[str, float]:
    """Frames a second of the three stages that work side by side in a run."""
    exhaust = collections.deque[Any](maxlen=0).extend

    def opened() -> Any:
        return open_video(clip, options=options.decode, size=model.preprocessor.frame_size, keep_pictures=True)

    def decode() -> None:
        with opened() as reader:
            exhaust(reader)

    with opened() as reader:
        info = reader.info
        ready = list(itertools.islice(reader, -(-_READY_FRAMES // options.decode.batch_size)))
    recurrence = options.recurrence
    predicted = list(predict(ready, model, recurrence=recurrence))
    video = shared_video_options(options.video, model.device)

    def draw() -> None:
        target = folder / "alone.mkv"
        with VideoSink(target, info, video=video, render=options.render, overwrite=True, device=model.device) as sink:
            for batch in predicted:
                sink.write(batch)

    few = sum(map(len, ready))
    return {
        "decode": _rate(decode, frames),
        "predict": _rate(lambda: exhaust(predict(ready, model, recurrence=recurrence)), few),
        "draw and encode": _rate(draw, few),
    }


def stage_cpu_seconds(clip: Path, model: SaliencyModel, options: RunOptions, *, folder: Path) -> dict[str, float]:
    """Seconds of the processor, all threads together, that each stage of a run takes a frame, with nothing beside it.

    Args:
        clip: the video.
        model: a model that has warmed up.
        options: of the run.
        folder: for everything that is written.

    Returns:
        decode (and making small frames), cuts, preprocess, model, smooth (the last four on a CPU only: elsewhere they
        are one, predict), draw and encode, table.
    """
    video = shared_video_options(options.video, model.device)
    ready: list[Any] = []
    with open_video(clip, options=options.decode, size=model.preprocessor.frame_size, keep_pictures=True) as reader:
        info = reader.info
        begin = time.process_time()
        for batch in itertools.islice(reader, -(-_READY_FRAMES // options.decode.batch_size)):
            ready.append(batch)
        decode = time.process_time() - begin
    frames = sum(map(len, ready))
    list(predict(ready[:1], model, options.prediction))
    clock = StageClock(time.process_time)
    begin = time.process_time()
    predicted = list(predict(ready, model, options.prediction, clock=clock))
    whole = time.process_time() - begin
    predicting = clock.seconds if model.device.type == "cpu" else {"predict": whole}
    sinks: dict[str, FileSink] = {
        "draw and encode": VideoSink(
            folder / "stages.mkv", info, video=video, render=options.render, overwrite=True, device=model.device
        ),
        "table": TableSink(folder / "stages.csv", Tracker(options.tracks), overwrite=True),
    }
    writing = {}
    for stage, sink in sinks.items():
        begin = time.process_time()
        with sink:
            for result in predicted:
                sink.write(result)
        writing[stage] = time.process_time() - begin
    taken = {"decode": decode, **predicting, **writing}
    return {stage: seconds / frames for stage, seconds in taken.items()}


def _rate(work: Callable[[], None], frames: int) -> float:
    # timeit switches the collection of garbage off, which a run has on.
    return frames / min(timeit.repeat(work, "import gc; gc.enable()", number=1, repeat=_ROUNDS))


def transcode(clip: Path, target: Path, video: VideoOptions) -> None:
    """Decode and encode with the same encoder settings, nothing in between, sound copied."""
    with open_file(clip) as reader, av.open(local_name(target), "w") as writer:
        stream = reader.streams.video[0]
        settings = {"preset": video.chosen_preset, "crf": str(video.crf)}
        out: Any = writer.add_stream(video.encoder or DEFAULT_ENCODER, rate=stream.average_rate or 25, options=settings)
        out.codec_context.thread_count = video.encoder_threads
        out.width, out.height, out.pix_fmt = stream.width, stream.height, "yuv420p"
        with kept_urgency():
            out.codec_context.open()
        copies = {other.index: writer.add_stream_from_template(other) for other in reader.streams.audio}
        for packet in reader.demux():
            if packet.stream.index in copies and packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                writer.mux(packet)
            elif packet.stream is stream:
                for frame in packet.decode():
                    frame.pict_type = av.video.frame.PictureType.NONE  # type: ignore[union-attr]
                    writer.mux(out.encode(frame))
        writer.mux(out.encode(None))


def repeat_clip(clip: Path, target: Path, *, seconds: float) -> Path:
    """Copy the video packets again and again until about `seconds` are full; every lap holds the same pictures."""
    with open_file(clip) as reader, av.open(local_name(target), "w") as writer:
        stream = reader.streams.video[0]
        out = writer.add_stream_from_template(stream)
        packets = [packet for packet in dated(p for p in reader.demux(stream) if p.size) if packet.dts is not None]
        length = max(p.pts + p.duration for p in packets) - min(p.pts for p in packets)
        for lap in range(max(1, round(Fraction(seconds) / (length * packets[0].time_base)))):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts = packet.pts + lap * length, packet.dts + lap * length
                copy.duration, copy.time_base = packet.duration, packet.time_base
                copy.is_keyframe, copy.stream = packet.is_keyframe, out
                writer.mux(copy)
    return target
