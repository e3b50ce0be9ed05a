"""What training clips are made of, by OpenCV and by kornia: prints a table of ratios.

    python benchmarks/bench_clips.py [--device cpu] [--threads 1] [--rounds 11]

Needs kornia; kornia-rs, its image functions without torch, comes with vidsal. The two sides of a row take turns. A
ratio is kornia's time by OpenCV's in the same round, the median over the rounds: above 1 where kornia takes more. With
`--device cuda` kornia gets its pictures from the CPU and gives them back there, as the training clips need them, and
wall time counts; without, CPU time does.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

Job = Callable[[], Any]


def rows(device: str) -> Iterator[tuple[str, str, Job, Job]]:
    """What is done, by which of the two packages, and both jobs on the same data."""
    import torch
    from kornia.enhance import adjust_contrast
    from kornia.filters import gaussian_blur2d
    from kornia.geometry.transform import warp_affine
    from kornia_rs import imgproc, io

    random = np.random.default_rng(0)
    source = cv2.GaussianBlur(random.integers(0, 255, (270, 360, 3), np.uint8), (0, 0), 2)
    picture = np.ascontiguousarray(source[:240, :320])
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255

    def there(job: Callable[[Any], Any], batch: Any) -> Job:
        """The job on the device, the way there and back included."""
        return lambda: job(batch.to(device)).cpu()

    turn = np.array([[1.0, 0.05, -20], [-0.05, 1.0, -10]])
    eight = torch.from_numpy(turn).float().expand(8, 2, 3)
    wide = torch.from_numpy(source).permute(2, 0, 1)[None].float().expand(8, -1, -1, -1)

    def warp() -> Any:
        return cv2.warpAffine(source, turn, (320, 240), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def jpeg() -> Any:
        _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 40])
        return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def jpeg_again() -> Any:
        return io.decode_image_jpegturbo(io.encode_image_jpegturbo(picture, 40), "rgb")

    yield (
        "warp of 8 frames of 240x320",
        "kornia",
        lambda: [warp() for _ in range(8)],
        there(lambda frames: warp_affine(frames, eight.to(device), (240, 320), padding_mode="border"), wide),
    )
    coefficients = tuple(turn.ravel().tolist())
    yield (
        "the same, one frame",
        "kornia-rs",
        warp,
        lambda: imgproc.warp_affine(source, coefficients, (240, 320), "bilinear"),
    )
    blurred: Job = lambda: cv2.GaussianBlur(picture, (0, 0), 1.2)  # noqa: E731
    yield (
        "blur of a frame, sigma 1.2",
        "kornia",
        blurred,
        there(lambda one: gaussian_blur2d(one, (9, 9), (1.2, 1.2)), tensor),
    )
    yield "the same", "kornia-rs", blurred, lambda: imgproc.gaussian_blur(picture, (9, 9), (1.2, 1.2))
    colours = 0.9 * np.eye(3, 4)
    coloured: Job = lambda: cv2.transform(picture, colours)  # noqa: E731
    yield "colours of a frame", "kornia", coloured, there(lambda one: adjust_contrast(one, 0.9), tensor)
    for height, width, sigma in ((240, 320, 8), (768, 1024, 35)):
        counts = np.zeros((height, width), np.float32)
        counts[random.integers(0, height, 800), random.integers(0, width, 800)] = 1
        side = 8 * sigma + 1
        points = torch.from_numpy(counts)[None, None]
        yield (
            f"density of 800 points on {height}x{width}, sigma {sigma}",
            "kornia",
            lambda: cv2.GaussianBlur(counts, (side, side), sigma, borderType=cv2.BORDER_CONSTANT),  # noqa: B023
            there(
                lambda one: gaussian_blur2d(one, (side, side), (sigma, sigma), border_type="constant"),  # noqa: B023
                points,
            ),
        )
    yield "JPEG there and back, the same bits", "kornia-rs", jpeg, jpeg_again


def seconds(job: Job, repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        job()
    return (clock() - start) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    import torch

    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "kornia", "kornia-rs"))
    print(
        f"OpenCV {cv2.__version__}, {versions}, threads {arguments.threads}, device {arguments.device}, "
        f"rounds {arguments.rounds}\n"
    )
    clock, unit = (time.process_time, "CPU time") if arguments.device == "cpu" else (time.perf_counter, "wall time")
    print(f"| | by | OpenCV, ms of {unit} | kornia's {unit} by OpenCV's |\n|---|---|---|---|")
    for what, package, ours, theirs in rows(arguments.device):
        ours(), theirs()
        repeats = max(1, round(0.03 / max(1e-5, seconds(ours, 3, clock))))
        rounds = [
            (seconds(ours, repeats, clock), seconds(theirs, max(1, repeats // 4), clock))
            for _ in range(arguments.rounds)
        ]
        before = statistics.median(one for one, _ in rounds)
        print(
            f"| {what} | {package} | {1000 * before:.2f} | {statistics.median(b / a for a, b in rounds):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
