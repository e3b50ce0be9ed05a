"""What an encoder's preset costs and gives: CPU time, size and SSIM of clips encoded anew.

    python studies/compare_presets.py CLIP [CLIP ...] [--seconds 4] [--encoder libx264] [--settings fast:20 veryfast:20]

SSIM (Wang et al. 2004, Gaussian window of sigma 1.5) is that of luma, each frame against the one before encoding; the
mean and the mean of the worst tenth are printed. One thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from vidsal.decode.local import open_file
from vidsal.files import local_name

SETTINGS = ("fast:20", "faster:20", "veryfast:20", "veryfast:19", "veryfast:18", "superfast:20")


def ssim(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    """Mean structural similarity of two grey pictures."""

    def blurred(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5))

    x, y = a.astype(np.float32), b.astype(np.float32)
    mean_x, mean_y = blurred(x), blurred(y)
    spread_x, spread_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    common = blurred(x * y) - mean_x * mean_y
    low, high = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    share = (2 * mean_x * mean_y + low) * (2 * common + high)
    return float((share / ((mean_x**2 + mean_y**2 + low) * (spread_x + spread_y + high))).mean())


def luma(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """(H, W) of a planar frame."""
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width].copy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--seconds", type=float, default=4.0, help="length that is encoded of each (default: 4)")
    parser.add_argument("--encoder", default="libx264", help="FFmpeg's name of the encoder (default: libx264)")
    parser.add_argument("--settings", nargs="+", default=SETTINGS, metavar="PRESET:CRF")
    given = parser.parse_args()
    target = Path(given.clips[0].name).with_suffix(".trial.mkv")
    print("| preset:crf | CPU ms a frame | kB a frame | SSIM | of the worst tenth |\n|---|---|---|---|---|")
    rows: dict[str, list[tuple[float, float, list[float]]]] = {setting: [] for setting in given.settings}
    for clip in given.clips:
        with open_file(clip) as reader:
            rate = reader.streams.video[0].average_rate or 25
            frames = []
            for frame in reader.decode(video=0):
                if frame.time is not None and frame.time > given.seconds:
                    break
                frames.append(frame.reformat(format="yuv420p"))
        height, width = frames[0].height, frames[0].width
        before = [luma(frame) for frame in frames]
        for setting in given.settings:
            preset, _, crf = setting.partition(":")
            begin = time.process_time()
            with av.open(local_name(target), "w") as writer:
                stream = writer.add_stream(given.encoder, rate=rate, options={"preset": preset, "crf": crf})
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.codec_context.thread_count = 1
                for number, frame in enumerate(frames):
                    frame.pts, frame.time_base = number, 1 / rate
                    frame.pict_type = av.video.frame.PictureType.NONE
                    writer.mux(stream.encode(frame))
                writer.mux(stream.encode(None))
            taken = (time.process_time() - begin) / len(frames)
            with open_file(target) as reader:
                alike = [ssim(a, luma(frame)) for a, frame in zip(before, reader.decode(video=0), strict=True)]
            rows[setting].append((1e3 * taken, target.stat().st_size / 1e3 / len(frames), alike))
    target.unlink(missing_ok=True)
    for setting, found in rows.items():
        alike = np.sort(np.concatenate([one[2] for one in found]))
        worst = alike[: max(1, len(alike) // 10)].mean()
        milliseconds, size = (float(np.mean([one[place] for one in found])) for place in (0, 1))
        print(f"| {setting} | {milliseconds:.1f} | {size:.1f} | {alike.mean():.4f} | {worst:.4f} |")


if __name__ == "__main__":
    main()
