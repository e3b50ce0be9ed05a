"""Videos in, how high their maps reach out: what the top of the display scale and the legend's corner were chosen by.

Prints the highest density of each file as a multiple of uniform, quantiles over all frames, the share of frames that
reach beyond each of some tops of the scale, and the mean share of the density in each corner, where a legend could lie.

    python studies/measure_scale.py FILE... [--model NAME] [--tops 30 60] [--frames N] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from vidsal import load_model, open_video, predict
from vidsal.render import RenderOptions
from vidsal.tracks import Tracker

CORNER_HEIGHT, CORNER_WIDTH = 0.12, 0.3
CORNERS = ("top left", "top right", "bottom left", "bottom right")
QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


@dataclass(frozen=True)
class Heights:
    """One file."""

    name: str
    peaks: list[float]
    """Of each frame, relative to uniform."""
    corners: list[float]
    """Mean share of the density in each of `CORNERS`."""


def measure(path: Path, model: str, frames: int | None) -> Heights:
    """Predicts a file as `vidsal run` does."""
    peaks, corners = [], []
    network = load_model(model)
    with open_video(path, size=network.preprocessor.frame_size) as reader:
        tracker = Tracker()
        rows = (
            (number.peak_density, density)
            for batch in predict(reader, network)
            for number, density in zip(tracker.update(batch), batch.density.numpy(), strict=True)
        )
        for peak, density in islice(rows, frames):
            peaks.append(peak)
            height, width = round(CORNER_HEIGHT * density.shape[0]), round(CORNER_WIDTH * density.shape[1])
            corners.append(
                [
                    density[y, x].sum()
                    for y in (slice(height), slice(-height, None))
                    for x in (slice(width), slice(-width, None))
                ]
            )
    return Heights(path.name, peaks, np.mean(corners, axis=0).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--model", default="sam-lite")
    parser.add_argument(
        "--tops", nargs="+", type=float, default=[RenderOptions().scale], help="of the scale, times uniform"
    )
    parser.add_argument("--frames", type=int, help="of each file, from its beginning; default: all")
    parser.add_argument("--json", type=Path, help="also write all numbers there")
    given = parser.parse_args()
    found = []
    for path in given.files:
        each = measure(path, given.model, given.frames)
        found.append(each)
        print(
            f"{each.name:24} {len(each.peaks):5d} frames, peak {np.median(each.peaks):6.1f}, "
            f"at most {max(each.peaks):6.1f}",
            flush=True,
        )
    peaks = np.concatenate([each.peaks for each in found])
    print(f"\n{len(found)} files, {len(peaks)} frames; peak density, times uniform, at quantiles:")
    print("  " + ", ".join(f"{q:g}: {np.quantile(peaks, q):.1f}" for q in QUANTILES))
    for top in given.tops:
        clipped = int((peaks > top).sum())
        print(f"beyond {top:g}: {clipped} frames, {clipped / len(peaks):.3%}")
    weights = [len(each.peaks) for each in found]
    for corner, share in zip(
        CORNERS, np.average([each.corners for each in found], axis=0, weights=weights), strict=True
    ):
        print(f"{corner:12} holds {share:.2%}")
    if given.json:
        given.json.write_text(json.dumps([asdict(each) for each in found]))


if __name__ == "__main__":
    main()
