"""Videos come in; how often captions move, and what they cover, out, for several values of `gain`.

Every two seconds of a video get a cue of two lines. What it covers is predicted attention: nobody's eyes were measured.

    python studies/measure_captions.py VIDEO [VIDEO ...] [--seconds N] [--model NAME]
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidsal import DecodeOptions, RecurrenceOptions, load_model, open_video, predict
from vidsal.captions.attention import CueAttention
from vidsal.captions.choose import Candidates, choose
from vidsal.captions.layout import Layout
from vidsal.captions.options import PLACES
from vidsal.captions.values import Cue, Run
from vidsal.model.checkpoint import SaliencyModel
from vidsal.stages import ViewerOptions

GAINS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 1.0)
TEXT = "A line of about thirty letters\nand another one below it"
EVERY_SECONDS, SHOWN_SECONDS = 2.0, 1.9


@dataclass(frozen=True)
class Watched:
    """A video that was gone through."""

    cues: list[Cue]
    candidates: Candidates
    attention: CueAttention


def watch(video: Path, model: SaliencyModel, seconds: float) -> Watched:
    """What cues would cover at each place."""
    starts = np.arange(0, seconds, EVERY_SECONDS)
    cues = [Cue(round(1000 * at), round(1000 * (at + SHOWN_SECONDS)), (Run(TEXT),)) for at in starts]
    options = DecodeOptions(end_seconds=seconds)
    with open_video(video, options=options, size=model.preprocessor.frame_size) as reader:
        info = reader.info
        layout = Layout(float(info.width * info.sample_aspect_ratio / info.height))
        candidates = Candidates.of(cues, PLACES, layout, replace_own=False)
        attention = CueAttention(starts, starts + SHOWN_SECONDS, candidates.boxes)
        for batch in predict(reader, model, recurrence=RecurrenceOptions(every=2), viewers=ViewerOptions("off")):
            attention.update(batch)
        attention.flush()
    return Watched(cues, candidates, attention)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each video, from its beginning")
    parser.add_argument("--model", default="sam-lite")
    given = parser.parse_args()
    model = load_model(given.model)
    watched = [watch(video, model, given.seconds) for video in given.videos]
    print("| gain | moved | place changed within a shot | mean share covered | largest share covered |")
    print("|---|---|---|---|---|")
    for gain in GAINS:
        moved, shares, changes, pairs = 0, list[float](), 0, 0
        for one in watched:
            first, last = one.attention.first_shot, one.attention.last_shot
            choices = choose(
                one.cues, one.candidates, one.attention.covered, first_shot=first, last_shot=last, gain=gain
            )
            # Cues that the video ends within count only where they were seen for half a second.
            seen = np.flatnonzero(one.attention.seconds > 0.5).tolist()
            moved += sum(choices[number].place != "bottom" for number in seen)
            shares += [choices[number].covered for number in seen]
            for before, after in itertools.pairwise(seen):
                pairs += int(last[before] == first[after])
                changes += int(last[before] == first[after] and choices[before].place != choices[after].place)
        share = f"{np.mean(shares):.2%} | {max(shares):.1%}"
        print(f"| {gain:g} | {moved} of {len(shares)} | {changes} of {pairs} | {share} |")


if __name__ == "__main__":
    main()
