"""Writes a contact sheet of training clips, to look at: rows are clips, columns are frames.

    python tools/show_clips.py DATA/osie DATA/scene --kind camera --output sheet.png [--clips 8] [--frames 6] [--seed 0]

Each frame stands beside itself with its density (warm colours) and its fixations (green dots). A red frame is the
first of another shot. `--kind` switches on one kind of change at full strength and everything else off; "all" switches
on all of them, "default" shows the defaults. `--time` prints the CPU time a frame costs
instead of drawing.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from arguments import count_from

from vidsal.data.clips import AugmentOptions, Clip, ObjectOptions, make_clip
from vidsal.data.layouts import open_dataset
from vidsal.data.motion import CameraOptions
from vidsal.data.overlays import OverlayOptions
from vidsal.errors import VidsalError
from vidsal.preprocess import PreprocessOptions

NOTHING = AugmentOptions(
    flip_probability=0,
    crop_probability=0,
    shift=0,
    zoom=0,
    brightness=0,
    contrast=0,
    saturation=0,
    grey_probability=0,
    blur_probability=0,
)
CAMERA = CameraOptions(probability=1)
OBJECTS = ObjectOptions(probability=1)
OVERLAYS = OverlayOptions(caption_probability=1, ticker_probability=0.5, logo_probability=0.7)
KINDS: dict[str, AugmentOptions] = {
    "default": AugmentOptions(),
    "camera": dataclasses.replace(NOTHING, camera=CAMERA),
    "pan": dataclasses.replace(NOTHING, camera=CameraOptions(probability=1, zoom=0, rotation=0, tilt=0, shake=0)),
    "zoom": dataclasses.replace(NOTHING, camera=CameraOptions(probability=1, pan=0, rotation=0, tilt=0, shake=0)),
    "rotation": dataclasses.replace(NOTHING, camera=CameraOptions(probability=1, pan=0, zoom=0, rotation=2, shake=0)),
    "shake": dataclasses.replace(NOTHING, camera=CameraOptions(probability=1, pan=0, zoom=0, rotation=0, shake=0.02)),
    "cuts": dataclasses.replace(NOTHING, crop_probability=0.5, aspect_probability=0.5, cut_probability=0.4),
    "objects": dataclasses.replace(NOTHING, objects=OBJECTS),
    "motion-blur": dataclasses.replace(NOTHING, camera=CAMERA, objects=OBJECTS, motion_blur_probability=1),
    "drift": dataclasses.replace(NOTHING, white_balance=0.3, exposure_drift=0.1, white_balance_drift=0.05),
    "compression": dataclasses.replace(NOTHING, compression_probability=1),
    "aspect": dataclasses.replace(NOTHING, crop_probability=1, aspect_probability=1, stretch=0.25),
    "overlays": dataclasses.replace(NOTHING, overlays=OVERLAYS),
    "flip": dataclasses.replace(NOTHING, flip_probability=1),
    "all": AugmentOptions(
        stretch=0.1,
        camera=dataclasses.replace(CAMERA, probability=0.8),
        cut_probability=0.15,
        objects=dataclasses.replace(OBJECTS, probability=0.6),
        motion_blur_probability=0.4,
        overlays=OverlayOptions(caption_probability=0.3, ticker_probability=0.15, logo_probability=0.25),
        white_balance=0.15,
        exposure_drift=0.02,
        white_balance_drift=0.01,
        compression_probability=0.4,
    ),
}
GAP = 6


def picture_of(clip: Clip, t: int) -> npt.NDArray[np.uint8]:
    """One frame, (h, 2 w, 3) BGR: plain, and with its density and fixations."""
    plain = np.ascontiguousarray(clip.frames[t][:, :, ::-1])
    density = clip.density[t]
    share = (density / max(float(density.max()), 1e-12))[:, :, None] ** 0.7
    colours = cv2.applyColorMap((share[:, :, 0] * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    marked = (plain * (1 - 0.65 * share) + colours * 0.65 * share).astype(np.uint8)
    for row, column in zip(*np.nonzero(clip.counts[t]), strict=True):
        cv2.circle(marked, (int(column), int(row)), 1, (80, 255, 80), -1)
    if clip.cut[t]:
        cv2.rectangle(plain, (0, 0), (plain.shape[1] - 1, plain.shape[0] - 1), (0, 0, 255), 4)
    return np.concatenate([plain, marked], 1)


def sheet_of(clips: list[Clip], width: int) -> npt.NDArray[np.uint8]:
    """All clips, BGR, frames `width` pixels wide."""
    rows = []
    for clip in clips:
        cells = []
        for t in range(len(clip)):
            both = picture_of(clip, t)
            height = round(both.shape[0] * 2 * width / both.shape[1])
            cell = cv2.resize(both, (2 * width, height), interpolation=cv2.INTER_AREA)
            cells.append(cv2.copyMakeBorder(cell, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=(200, 200, 200)))
        rows.append(np.concatenate(cells, 1))
    return np.concatenate(rows, 0)


def main() -> None:
    """Check the arguments and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path, help="folders in the simple layout")
    parser.add_argument("--kind", choices=list(KINDS), default="all")
    parser.add_argument("--output", type=Path, default=Path("clips.png"))
    parser.add_argument("--clips", type=count_from(1), default=6)
    parser.add_argument("--frames", type=count_from(1), default=4)
    parser.add_argument("--width", type=count_from(16), default=240, help="pixels of a frame on the sheet")
    parser.add_argument("--seed", type=count_from(0), default=0)
    parser.add_argument("--time", action="store_true", help="print CPU milliseconds a frame, write nothing")
    arguments = parser.parse_args()
    if not cv2.haveImageWriter(str(arguments.output)):
        parser.error(f"--output {arguments.output}: name a picture, as clips.png")
    try:
        show(arguments)
    except (VidsalError, OSError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from error


def show(arguments: argparse.Namespace) -> None:
    """Make clips; draw or time them."""
    cv2.setNumThreads(1)
    stills = [still for root in arguments.sets for still in open_dataset("simple", root) if still.kind == "still"]
    clips, taken = [], []
    for number in range(arguments.clips):
        random = np.random.default_rng([arguments.seed, number])
        still = stills[int(random.integers(len(stills)))]
        began = time.process_time()
        clip = make_clip(
            still,
            times=arguments.frames,
            preprocess=PreprocessOptions(),
            augment=KINDS[arguments.kind],
            random=random,
            others=lambda generator: stills[int(generator.integers(len(stills)))],
        )
        taken.append(1e3 * (time.process_time() - began) / arguments.frames)
        clips.append(clip)
    if arguments.time:
        low, middle, high = np.percentile(taken, [10, 50, 90])
        print(f"{arguments.kind}: {arguments.clips} clips of {arguments.frames} frames at 240x320, one thread:")
        print(f"CPU ms a frame: mean {np.mean(taken):.1f}, median {middle:.1f}, 80 % from {low:.1f} to {high:.1f}")
        return
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(arguments.output), sheet_of(clips, arguments.width)):
        raise SystemExit(f"{arguments.output}: cannot be written")
    print(arguments.output)


if __name__ == "__main__":
    main()
