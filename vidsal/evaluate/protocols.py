"""The name of a protocol in, its rules out: which frames are scored, how, and how the scores become one number.

Published numbers of the same model on the same data differ by these rules alone. Each rule here is stated by the paper
or found in the released code named in `source`; what vidsal does otherwise stands in `differences`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt

from vidsal.errors import ConfigError, Setting
from vidsal.evaluate.options import ProtocolName
from vidsal.metrics import METRICS
from vidsal.options import Checked, Range

__all__ = ["PROTOCOLS", "Averaging", "Protocol", "choose_frames", "draw_frames", "find_protocol", "metric_names"]


Averaging = Literal["frames", "sequences", "sequences-by-frames"]
"""How scores of frames become one number: their mean; the mean of the sequences' means; or that with each sequence
weighed by its number of frames."""


@dataclass(frozen=True, kw_only=True)
class Protocol(Checked):
    """Everything that decides a score besides the data and the maps. A still is scored whatever the frame rules say."""

    name: ProtocolName
    """What commands call it."""
    source: str
    """Where the rules come from."""
    differences: str = ""
    """What vidsal does otherwise than the code named in `source`; empty: nothing known."""
    split: str | None = None
    """The split that it is published for; None: the validation split, where there is one."""
    shortest: Annotated[int, Range(at_least=1)] = 1
    """Frames that a sequence needs to be scored at all."""
    first_frame: Annotated[int, Range(at_least=0)] = 0
    """First frame scored, counted from 0."""
    frame_step: Annotated[int, Range(at_least=1)] = 1
    """Every how many frames one is scored."""
    last_left_out: Annotated[int, Range(at_least=0)] = 0
    """Frames at the end that are never scored."""
    most_frames: int | None = None
    """Frames scored in all; where there are more, this many are drawn at random. None: all."""
    leave_out_bad: bool = True
    """Leave out frames that the data set's own lists call unusable."""
    leave_out_unfixated: bool = False
    """Leave out frames at which nobody looked."""
    averaging: Averaging = "sequences"
    """How scores of frames become the number that is reported first."""
    metrics: tuple[str, ...] = ("nss", "cc", "sim", "kl", "auc_judd")
    """Names in `vidsal.metrics.METRICS`, in the order reported."""
    fixated_cells: Literal["fixations", "density"] = "fixations"
    """What NSS and information gain are looked up at: the recorded points, or every cell where the recorded density is
    above 0 (NSS weighs each by that density; information gain counts each once)."""
    nss_without_fixations: float | None = None
    """NSS of a frame at which nobody looked; None: undefined, left out of the mean."""
    own_video_negatives: bool = False
    """Whether other frames of the same video, and the frame itself, lend negatives to shuffled AUC."""
    own_recording_negatives: bool = False
    """Whether other sequences that were cut from the same recording, as the shots of a clip, lend negatives."""
    bits: Annotated[int, Range(at_least=1, at_most=16)] | None = None
    """Grey levels, as bits, that a prediction is rounded to before it is scored, its highest value being the brightest,
    and that the baseline of MIT's information gain is rounded to; None: none, floats are scored."""
    other_sizes: Literal["resize", "refuse"] = "resize"
    """What happens to maps of another size than the recorded density: resize (bilinear, or by area where they shrink),
    or refuse maps made elsewhere; a model's own maps are always enlarged."""
    seed: Annotated[int, Range(at_least=0)] = 0
    """Of everything that is drawn: frames, noise, negatives, resamples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [metric for metric in self.metrics if metric not in METRICS]
        if unknown:
            raise ConfigError(f"there is no metric {unknown[0]!r}; known are {', '.join(METRICS)}")


_STSANET = Protocol(
    name="stsanet",
    source="Wang et al. 2021 (STSANet), dataloader.py and train.py of the released code: clips of 32 frames that begin "
    "every 64 frames, the 16th frame of each is scored (DHF1K: every 32, UCF-Sports: every 4)",
    differences="KL has MIT's epsilon; AUC-Judd breaks ties by seeded noise",
    first_frame=15,
    frame_step=64,
    last_left_out=16,
    leave_out_bad=False,
    leave_out_unfixated=True,
    averaging="frames",
    metrics=("auc_judd_mit", "sim_minmax", "cc", "nss", "kl"),
)

PROTOCOLS: dict[str, Protocol] = {
    "vidsal": Protocol(
        name="vidsal",
        source="vidsal: all usable frames, float maps, the usual forms of each metric side by side",
        metrics=tuple(name for name in METRICS if name != "emd"),
    ),
    "dhf1k": Protocol(
        name="dhf1k",
        source="Wang et al. 2018 (DHF1K), code_for_Metrics: 8-bit maps, at most 50,000 frames of the set, mean over "
        "frames, negatives from 10 frames of the list of all frames, the same video among them",
        differences="the frames are drawn with a seed, the noise and the negatives too",
        split="val",
        most_frames=50_000,
        leave_out_bad=False,
        averaging="frames",
        metrics=("auc_judd_mit", "sim_minmax", "shuffled_auc_dhf1k", "cc", "nss"),
        own_video_negatives=True,
        own_recording_negatives=True,
        bits=8,
    ),
    "unisal": Protocol(
        name="unisal",
        source="Droste et al. 2020 (UNISAL), train.py: all frames of all shots, mean over the frames of a shot, then "
        "over shots; NSS is 1 where nobody looked; negatives from one frame of 10 other shots",
        differences="AUC-Judd is MIT's form, not rounded to four digits; KL has MIT's epsilon",
        leave_out_bad=False,
        averaging="sequences",
        metrics=("auc_judd_mit", "sim", "shuffled_auc_mit", "cc", "nss", "kl"),
        nss_without_fixations=1.0,
        own_recording_negatives=True,
    ),
    "stsanet": _STSANET,
    "dreyeve": Protocol(
        name="dreyeve",
        source="Palazzi et al. 2018 (DR(eye)VE), experiments/metrics: every 5th frame from the 16th on, 8-bit maps, "
        "mean over a run, then over runs by their frames; information gain over the training mean, of 8 bits too, at "
        "every cell where the recorded map is above 0",
        differences="information gain has MIT's epsilon instead of float32's; frames in missing_gt.txt are left out",
        split="test",
        first_frame=15,
        frame_step=5,
        last_left_out=1,
        averaging="sequences-by-frames",
        metrics=("kl_dreyeve", "cc", "information_gain_mit"),
        fixated_cells="density",
        bits=8,
    ),
    "scout": Protocol(
        name="scout",
        source="Kotseruba and Tsotsos 2024 (SCOUT), test.py and loss.py: KL with float32's epsilon, NSS "
        "weighed by the density instead of at fixations, mean over a run, then over runs",
        differences="every frame with a map is scored, SCOUT's dataloader leaves out roughly the first 16 and the "
        "last frames of a run in testing (it takes values[1:-17], the label 15 frames on); predictions are not "
        "blurred; U-turns and reversing, which are in SCOUT's vehicle tables, are scored; the density's own lowest "
        "value is taken off for SIM",
        split="test",
        leave_out_bad=False,
        averaging="sequences",
        metrics=("kl_dreyeve", "cc", "sim_minmax", "nss"),
        fixated_cells="density",
    ),
    "tuebingen": Protocol(
        name="tuebingen",
        source="Kuemmerer et al. (MIT/Tuebingen benchmark), evaluation.py: exact areas, every fixation counts, all "
        "other pictures lend negatives, mean over pictures; maps must have the picture's size",
        differences="predictions are scored as they are, not made best for each metric",
        averaging="frames",
        metrics=("information_gain", "auc_judd", "shuffled_auc", "nss", "cc", "kl", "sim"),
        other_sizes="refuse",
    ),
}
"""Every protocol by its name."""

_FOR_DATASETS: Mapping[tuple[str, str], Mapping[str, int]] = {
    ("stsanet", "dhf1k"): {"frame_step": 32},
    # Its loop over the clips of UCF-Sports stops one clip earlier.
    ("stsanet", "ucf-sports"): {"frame_step": 4, "last_left_out": 17},
}


def find_protocol(name: str, *, dataset: str = "") -> Protocol:
    """The protocol of a name, with the numbers that its source gives for a data set.

    Raises:
        ConfigError: There is none of that name.

    Example:
        >>> find_protocol("stsanet").frame_step, find_protocol("stsanet", dataset="ucf-sports").frame_step
        (64, 4)
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"there is no protocol {name!r}; known are {', '.join(PROTOCOLS)}")
    own = _FOR_DATASETS.get((name, dataset), {})
    return dataclasses.replace(PROTOCOLS[name], **own)  # type: ignore[arg-type]


def metric_names(text: str) -> tuple[str, ...]:
    """The metrics of a list with commas.

    Raises:
        ConfigError: One is unknown, or there is none.
    """
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        what = f"no metric {unknown[0]!r}" if unknown else "no metric in the list"
        raise ConfigError(
            f"{what}: ", Setting("metrics"), f" must be names with commas between them, from {', '.join(METRICS)}"
        )
    return names


def choose_frames(protocol: Protocol, frames: int, *, still: bool = False) -> npt.NDArray[np.int64]:
    """The ordinals of the frames of a sequence that a protocol scores.

    Args:
        protocol: the rules.
        frames: number of frames the sequence has.
        still: whether it is a picture, for which there are no rules.

    Returns:
        (N,) int64, rising, from 0; none where the sequence is too short.

    Example:
        >>> choose_frames(PROTOCOLS["stsanet"], 96).tolist(), choose_frames(PROTOCOLS["stsanet"], 31).tolist()
        ([15, 79], [])
    """
    if still:
        return np.arange(min(frames, 1), dtype=np.int64)
    if frames < protocol.shortest:
        return np.zeros(0, np.int64)
    return np.arange(protocol.first_frame, frames - protocol.last_left_out, protocol.frame_step, dtype=np.int64)


def draw_frames(protocol: Protocol, chosen: Sequence[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
    """What is left of each sequence's frames where a protocol scores no more than `most_frames` of the whole set.

    Every frame of the set is as likely as any other; which are drawn depends on the seed and the numbers only.
    """
    total = sum(map(len, chosen))
    if protocol.most_frames is None or total <= protocol.most_frames:
        return list(chosen)
    drawn = np.random.default_rng(protocol.seed).permutation(total)[: protocol.most_frames]
    kept = np.zeros(total, np.bool_)
    kept[drawn] = True
    ends = np.cumsum([len(each) for each in chosen])
    return [each[kept[end - len(each) : end]] for each, end in zip(chosen, ends, strict=True)]
