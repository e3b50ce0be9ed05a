"""How the carried state fares on stills: shown for long, and after a missed cut.

    python tools/measure_state.py DATA/osie DATA/scene [--model sam-lite] [--pictures 20] [--frames 31]

Every validation picture is shown `--frames` times with the state carried, one step a frame, once from the zero state
and once from the state that the picture before left behind (a cut nobody noticed). Prints mean scores by frame.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from vidsal.data.fixations import Still, density_from_fixations, fixation_counts, load_stills, split_stills
from vidsal.metrics import ScoreMeter
from vidsal.model import SaliencyModel, SAMState, load_model

FRAMES = (0, 1, 2, 5, 10, 30, 100, 300)


def show(
    model: SaliencyModel, still: Still, state: SAMState | None, frames: int, meters: dict[int, ScoreMeter]
) -> SAMState | None:
    """Show a picture `frames` times and score the maps of the frames that `meters` names."""
    picture = still.read()
    view = model.preprocessor.viewport(*picture.shape[:2])
    scale = np.array([view.width / still.width, view.height / still.height], np.float32)
    points, size = still.points * scale, {"height": view.height, "width": view.width}
    density = torch.from_numpy(density_from_fixations(points, sigma=still.sigma * float(scale[0]), **size))[None]
    counts = torch.from_numpy(fixation_counts(points, **size))[None]
    pixels = model.preprocessor(picture[None])[None]
    for number in range(frames):
        log_density, state = model(pixels, state)
        if number in meters:
            meters[number].update(
                model.preprocessor.to_picture(log_density[:, 0], *picture.shape[:2]).exp(), density, counts
            )
    return state


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--model", default="sam-lite")
    parser.add_argument("--pictures", type=int, default=20, help="of each set")
    parser.add_argument("--frames", type=int, default=31)
    arguments = parser.parse_args()
    model = load_model(arguments.model, device="cpu")
    stills = [s for root in arguments.sets for s in split_stills(load_stills(root), "val")[: arguments.pictures]]
    wanted = [n for n in FRAMES if n < arguments.frames]
    fresh, foreign = ({n: ScoreMeter() for n in wanted} for _ in range(2))
    left_behind = None
    for still in stills:
        if left_behind is not None:
            show(model, still, left_behind, min(arguments.frames, 11), foreign)
        left_behind = show(model, still, None, arguments.frames, fresh)
    for label, meters in (("from zero", fresh), ("from the picture before", foreign)):
        for number, meter in meters.items():
            if len(meter):
                scores = "  ".join(f"{name} {value:.3f}" for name, value in meter.mean().items())
                print(f"{label:24s} frame {number:3d}  ({len(meter)} pictures)  {scores}")


if __name__ == "__main__":
    main()
