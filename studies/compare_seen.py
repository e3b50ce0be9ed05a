"""Videos with a teacher's maps in; how near the maps come to them when the model sees all frames, or fewer, out.

    python studies/compare_seen.py VIDEO ... --taught runs/taught.safetensors [--seconds 4.8] [--every 1 none 4]

The frames are those of the video at its own rate, all options but `--every` those of `vidsal run`; compared are the
frames that the teacher saw (`configs/video_teacher.py`), with KL, CC and SIM, means over these.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from ablate_video import ON_CLIPS, agreement

sys.path.insert(0, str(Path(__file__).parents[1] / "configs"))

from video_teacher import TaughtClip, load_taught, log_density

from vidsal.decode import DecodeOptions, open_video
from vidsal.errors import DatasetError, VidsalError
from vidsal.frames import SaliencyBatch
from vidsal.model import SaliencyModel, load_model
from vidsal.pipe.options import RecurrenceOptions
from vidsal.pipe.predict import predict


def compare(
    path: Path, known: TaughtClip, model: SaliencyModel, ways: list[int | None], seconds: float
) -> tuple[float, dict[int | None, dict[str, float]]]:
    """The video's rate, and by `every` the agreement."""
    with open_video(path, options=DecodeOptions(end_seconds=seconds), size=model.preprocessor.frame_size) as reader:
        frames = list(reader)
    times = np.concatenate([batch.pts_seconds for batch in frames])
    times -= times[0]
    taught = [time for n in range(len(known.levels)) if (time := n * known.seconds_a_frame) <= times[-1]]
    places = [int(np.abs(times - time).argmin()) for time in taught]
    truth = log_density(torch.from_numpy(known.levels[: len(taught)])).exp()
    found = {}
    for every in ways:
        maps = SaliencyBatch.join(predict(frames, model, recurrence=RecurrenceOptions(every=every))).density.numpy()
        found[every] = agreement(maps[places], truth)
    return (len(times) - 1) / float(times[-1]), found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--taught", type=Path, nargs="+", required=True, help="what video_teacher.py made")
    parser.add_argument("--model", default="sam-lite")
    parser.add_argument("--seconds", type=float, default=4.8, help="of each video at most (default: 4.8)")
    parser.add_argument("--every", nargs="+", default=["1", "none", "4"])
    given = parser.parse_args()
    taught, model = load_taught(given.taught), load_model(given.model, device="cpu")
    ways = [None if word == "none" else int(word) for word in given.every]
    print(f"| video | frames/s | every | {' | '.join(name.upper() for name in ON_CLIPS)} |\n|---|---|---|---|---|---|")
    for path in given.videos:
        if path.name not in taught:
            raise DatasetError(f"the teacher has not seen {path.name}")
        rate, found = compare(path, taught[path.name], model, ways, given.seconds)
        for every, scores in found.items():
            cells = " | ".join(f"{scores[name]:.4f}" for name in ON_CLIPS)
            print(f"| {path.stem} | {rate:.3g} | {'none' if every is None else every} | {cells} |", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
