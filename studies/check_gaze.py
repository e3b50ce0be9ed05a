"""Pictures with recorded gaze come in, whether `vidsal gaze check` finds what is made wrong with it comes out.

    python studies/check_gaze.py LAYOUT ROOT [--split SPLIT] [--every N] [--pictures 30] [--seconds 3]

LAYOUT and ROOT are those of any data set of stills that `vidsal eval` reads (docs/reference/layouts.md). The pictures
are shown one after the other, like the shots of a video; each viewer's fixations are spread evenly over the time of a
picture, in the order of the file. The gaze is then checked as it is, and with its clock, origin and axes made wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from arguments import count_from

from vidsal.data.layouts import DATASETS, open_dataset
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.gaze import Gaze
from vidsal.model.checkpoint import SaliencyModel, load_model
from vidsal.pipe.predict import predict
from vidsal.viewing.options import VariantOptions
from vidsal.viewing.variants import GazeVariants, score_variants
from vidsal.viewing.viewers import RecordedViewers

HEIGHT, WIDTH, RATE = 480, 640, 5


def shown(
    layout: str, root: Path, split: str, every: int, most: int, model: SaliencyModel
) -> Iterator[tuple[object, ...]]:
    """The log density of each picture, and the places of its fixations as shares with who looked."""
    for sequence in list(open_dataset(layout, root, split=split))[::every][:most]:
        for frame in sequence.read(size=model.preprocessor.frame_size):
            found = None if frame.bad else frame.fixations()
            if found is None or found.viewers is None:
                continue
            picture = frame.picture()[None]
            batch = FrameBatch(np.arange(1), np.zeros(1), picture, *picture.shape[1:3], stills=True)
            (made,) = predict([batch], model)
            yield made.log_density, found.points / [found.width, found.height], found.viewers


def main() -> None:
    parser = argparse.ArgumentParser(description="Mistakes of recorded gaze that predictions find.")
    parser.add_argument("layout", choices=DATASETS)
    parser.add_argument("root", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--every", type=count_from(1), default=1, help="take every n-th picture")
    parser.add_argument("--pictures", type=count_from(5), default=30)
    parser.add_argument("--seconds", type=count_from(1), default=3)
    parser.add_argument("--model", default="sam-lite")
    arguments = parser.parse_args()
    model = load_model(arguments.model, device="cpu")
    batches: list[SaliencyBatch] = []
    columns: dict[str, list[object]] = {
        name: [] for name in ("participant", "pts_seconds", "duration_seconds", "x", "y")
    }
    frames = RATE * arguments.seconds
    for number, (log_density, places, viewers) in enumerate(
        shown(arguments.layout, arguments.root, arguments.split, arguments.every, arguments.pictures, model)
    ):
        index = np.arange(number * frames, (number + 1) * frames)
        batches.append(
            SaliencyBatch(
                index=index,
                pts_seconds=index / RATE,
                shot=np.full(frames, number),
                cut=(np.arange(frames) == 0) & (number > 0),
                log_density=torch.as_tensor(log_density).repeat(frames, 1, 1),  # type: ignore[arg-type]
                height=HEIGHT,
                width=WIDTH,
            )
        )
        for viewer in np.unique(viewers):  # type: ignore[arg-type]
            own = np.asarray(places)[np.asarray(viewers) == viewer]
            lasts = arguments.seconds / len(own)
            for place, (x, y) in enumerate(own.tolist()):
                columns["participant"].append(f"viewer {viewer}")
                columns["pts_seconds"].append(number * arguments.seconds + place * lasts)
                columns["duration_seconds"].append(lasts)
                columns["x"].append(x * WIDTH)
                columns["y"].append(y * HEIGHT)
    gaze = Gaze.of(**columns, trial="pictures", kind="fixations")  # type: ignore[arg-type]
    made = {
        "as it is": gaze,
        "y from the lower edge": dataclasses.replace(gaze, y=HEIGHT - gaze.y),
        "x and y swapped, as shares": dataclasses.replace(gaze, x=gaze.y * WIDTH / HEIGHT, y=gaze.x * HEIGHT / WIDTH),
        "x and y swapped, as pixels": dataclasses.replace(gaze, x=gaze.y, y=gaze.x),
        "1.5 s late": dataclasses.replace(gaze, pts_seconds=gaze.pts_seconds + 1.5),
        "2.5 s early": dataclasses.replace(gaze, pts_seconds=gaze.pts_seconds - 2.5),
    }
    people = len(gaze.participants)
    print(f"{arguments.layout}, {len(batches)} pictures of {arguments.seconds} s, {people} viewers, {model.card.name}")
    print(f"{'gaze':28} {'NSS':>5}  named")
    for name, each in made.items():
        found = score_variants(batches, RecordedViewers(each, height=HEIGHT, width=WIDTH), VariantOptions())
        print(f"{name:28} {found.scores[0].nss or 0:5.2f}  {named(found)}")


def named(found: GazeVariants) -> str:
    best = found.best
    single = [finding for finding in found.findings if not finding.startswith("all viewers")]
    if not best.better:
        return f"nothing of all; {len(single)} single viewings"
    text = f"{best.reading}, {best.shift_seconds:+.1f} s: +{best.gain:.2f} ({best.low:.2f} to {best.high:.2f})"
    return text + (f"; {len(single)} single viewings otherwise" if single else "")


if __name__ == "__main__":
    main()
