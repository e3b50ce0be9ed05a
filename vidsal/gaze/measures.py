"""Recorded gaze and areas of interest in, what each participant did with each area out.

Terms and definitions as in Holmqvist et al., "Eye Tracking: A comprehensive guide to methods and measures" (2011): a
*visit* (their dwell) is the time from entering an area to leaving it; *total dwell* is the sum over visits. Transition
entropies as in Krejtz et al., "Gaze transition entropy", ACM Transactions on Applied Perception 13 (2015).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.aois.areas import Aoi, Aois, Moment, load_shapely
from vidsal.gaze.table import Gaze
from vidsal.tracks import column_field

__all__ = [
    "ELSEWHERE",
    "AoiVisits",
    "Looked",
    "Transition",
    "TransitionEntropy",
    "Where",
    "areas_looked_at",
    "lasting_seconds",
    "measure_aois",
    "transitions",
]

_Names = npt.NDArray[np.object_]

Where = Callable[[float], tuple[float, int]]
"""Seconds after the video's first frame in; the frame that is shown then (with a fraction), and its shot out."""

ELSEWHERE = ""
"""What is looked at outside all areas."""

_PRECISION = 1e-9
"""Seconds, of when an area appears."""

Looked = tuple[_Names, npt.NDArray[np.bool_]]
"""What `areas_looked_at` gives."""


@dataclass(frozen=True, kw_only=True)
class AoiVisits:
    """One participant, one viewing, one area: one row of the table of measures."""

    participant: str = column_field("", "Who looked.")
    """Not empty."""
    trial: str = column_field("", "Which viewing.")
    """Not empty."""
    aoi: str = column_field("", "Name of the area.")
    """Not empty."""
    tracked_seconds: float = column_field("s", "How long gaze was recorded and valid while the area was there.")
    """0 or more."""
    total_dwell_seconds: float = column_field("s", "How long gaze was in the area, all visits together.")
    """0 to tracked_seconds."""
    dwell_share: float | None = column_field(
        "share", "total_dwell_seconds over tracked_seconds; empty where that is 0."
    )
    """0 to 1, or None."""
    fixation_count: int | None = column_field("", "Fixations in the area; empty where the table holds samples.")
    """0 or more, or None."""
    mean_fixation_seconds: float | None = column_field("s", "Mean duration of these.")
    """Above 0, or None."""
    first_seconds: float | None = column_field(
        "s",
        "Time to first fixation (with samples: first gaze) after the area appeared; of one that was there before, "
        "after the viewing began, which with fixations is the video's start; empty where there was none.",
    )
    """0 or more, or None."""
    visits: int = column_field("", "How often gaze came into the area.")
    """0 or more."""
    returns: int = column_field("", "Visits after the first.")
    """0 or more."""
    mean_visit_seconds: float | None = column_field("s", "Mean of the total dwell over visits.")
    """Above 0, or None."""


@dataclass(frozen=True, kw_only=True)
class Transition:
    """How often gaze went from one area to another: one row of the transition matrix."""

    participant: str = column_field("", "Who looked.")
    """Not empty."""
    trial: str = column_field("", "Which viewing.")
    """Not empty."""
    source: str = column_field("", "The area it left; empty: none of them.")
    """A name, or empty."""
    target: str = column_field("", "The area it went to; empty: none of them.")
    """A name, or empty; never that of source."""
    count: int = column_field("", "How often.")
    """1 or more."""
    share: float = column_field("share", "Share of all transitions out of source.")
    """Above 0, at most 1."""


@dataclass(frozen=True, kw_only=True)
class TransitionEntropy:
    """How predictable the transitions of one viewing are."""

    participant: str = column_field("", "Who looked.")
    """Not empty."""
    trial: str = column_field("", "Which viewing.")
    """Not empty."""
    transitions: int = column_field("", "How many there were.")
    """0 or more."""
    transition_entropy_bits: float | None = column_field(
        "bit", "Mean entropy of where gaze goes next, over the areas it left; 0: always the same; empty without any."
    )
    """0 or more, or None."""
    stationary_entropy_bits: float | None = column_field(
        "bit", "Entropy of the shares of transitions out of each area; 0: always out of one; empty without any."
    )
    """0 or more, or None."""


def areas_looked_at(gaze: Gaze, aois: Aois, where: Where) -> Looked:
    """Which area each row looks at, and which areas are there.

    A sample counts at its time, a fixation at its middle, as areas move meanwhile.

    Returns:
        (N,) names, "" outside all and where gaze is not valid; (N, areas) True where the area is there.
    """
    shapely = load_shapely()
    names = aois.names
    looked = np.full(len(gaze), ELSEWHERE, object)
    there = np.zeros((len(gaze), len(names)), bool)
    middle = gaze.pts_seconds + np.nan_to_num(gaze.duration_seconds) / 2
    # Rows at one time, and those at which no area has moved, see the same shapes.
    alike: dict[Any, tuple[Moment, list[int]]] = {}
    for row, seconds in enumerate(middle.tolist()):
        frame, shot = where(seconds)
        moment = Moment(seconds=seconds, frame=frame, shot=shot)
        alike.setdefault(aois.state_at(moment), (moment, []))[1].append(row)
    for moment, group in alike.values():
        rows = np.array(group)
        shapes = aois.shapes(moment)
        for place in reversed(range(len(names))):
            shape = shapes.get(names[place])
            if shape is None or shapely.is_empty(shape):
                continue
            there[rows, place] = True
            shapely.prepare(shape)
            inside = shapely.intersects_xy(shape, gaze.x[rows], gaze.y[rows])
            # On an edge that two share, the first one has it.
            looked[rows[inside & gaze.valid[rows]]] = names[place]
    return looked, there


def lasting_seconds(gaze: Gaze, rows: slice, *, end_seconds: float | None = None) -> npt.NDArray[np.float64]:
    """(n,) seconds that each row of a viewing stands for: a fixation's duration; a sample's time to the next one.

    Args:
        gaze: the table.
        rows: those of one viewing.
        end_seconds: up to when a sample counts; None: the last one for as long as the others usually do.
    """
    if gaze.kind == "fixations":
        return np.nan_to_num(gaze.duration_seconds[rows])
    seconds = gaze.pts_seconds[rows]
    steps = np.diff(seconds)
    usual = float(np.median(steps)) if len(steps) else 0.0
    # A sample does not stand for what the tracker lost.
    lasting = np.append(np.minimum(steps, 1.5 * usual), usual)
    return lasting if end_seconds is None else np.clip(end_seconds - seconds, 0.0, lasting)


def measure_aois(
    gaze: Gaze, aois: Aois, where: Where, *, looked_at: Looked | None = None, end_seconds: float | None = None
) -> list[AoiVisits]:
    """What each participant did with each area, viewing by viewing.

    Invalid rows end no visit and count nowhere; with samples, neither does a row outside all areas that is alone
    between two of one area: that is noise of the tracker (one sample).

    Args:
        gaze: the table.
        aois: the areas.
        where: which frame is shown when.
        looked_at: what `areas_looked_at` gives of these, where it is known already.
        end_seconds: when the video ends; None where not known.
    """
    looked, there = looked_at or areas_looked_at(gaze, aois, where)
    made = []
    for participant, trial, rows in gaze.viewings():
        lasting, valid = lasting_seconds(gaze, rows, end_seconds=end_seconds), gaze.valid[rows]
        # A table of fixations does not tell when a viewing began: it is the video's start then.
        begin = 0.0 if gaze.kind == "fixations" else float(gaze.pts_seconds[rows][0])
        moments = gaze.pts_seconds[rows] + np.nan_to_num(gaze.duration_seconds[rows]) / 2
        seconds, names = gaze.pts_seconds[rows], _without_single(looked[rows], valid, gaze.kind == "samples")
        for place, aoi in enumerate(aois.names):
            present = there[rows, place]
            inside = valid & (names == aoi)
            entered = _entries(names[valid], aoi)
            dwell, tracked = float(lasting[inside].sum()), float(lasting[valid & present].sum())
            count = int(inside.sum()) if gaze.kind == "fixations" else None
            first = None
            if inside.any():
                first = float(seconds[inside][0]) - _appearance(aois.aois[place], where, moments, present, begin)
            made.append(
                AoiVisits(
                    participant=participant,
                    trial=trial,
                    aoi=aoi,
                    tracked_seconds=tracked,
                    total_dwell_seconds=dwell,
                    dwell_share=dwell / tracked if tracked > 0 else None,
                    fixation_count=count,
                    mean_fixation_seconds=dwell / count if count else None,
                    first_seconds=None if first is None else max(first, 0.0),
                    visits=entered,
                    returns=max(entered - 1, 0),
                    mean_visit_seconds=dwell / entered if entered else None,
                )
            )
    return made


def _appearance(
    aoi: Aoi, where: Where, moments: npt.NDArray[np.float64], present: npt.NDArray[np.bool_], begin: float
) -> float:
    """When an area is there for the first time in a viewing, in seconds.

    Args:
        aoi: the area.
        where: which frame is shown when.
        moments: (n,) when each row of the viewing sees the areas.
        present: (n,) whether the area is there then; at least once.
        begin: when the viewing begins.
    """

    def is_there(at: float) -> bool:
        frame, shot = where(at)
        return bool(aoi.corners(Moment(seconds=at, frame=frame, shot=shot)))

    row = int(np.flatnonzero(present)[0])
    after = float(moments[row])
    before = float(moments[row - 1]) if row else min(begin, after)
    if is_there(before):
        # After another row it was there, but below other areas.
        return after if row else before
    while after - before > _PRECISION:
        middle = (before + after) / 2
        before, after = (before, middle) if is_there(middle) else (middle, after)
    return after


def _entries(names: _Names, aoi: str) -> int:
    is_in = names == aoi
    return int(is_in[:1].sum() + (is_in[1:] & ~is_in[:-1]).sum())


def _without_single(names: _Names, valid: npt.NDArray[np.bool_], samples: bool) -> _Names:
    if not samples:
        return names
    made = names.copy()
    order = np.flatnonzero(valid)
    for before, at, after in zip(order, order[1:], order[2:], strict=False):
        if made[at] == ELSEWHERE and made[before] != ELSEWHERE and made[before] == names[after]:
            made[at] = made[before]
    return made


def transitions(
    gaze: Gaze, aois: Aois, where: Where, *, looked_at: Looked | None = None
) -> tuple[list[Transition], list[TransitionEntropy]]:
    """How gaze went from area to area in each viewing; what lies outside all areas is a place of its own.

    Args:
        gaze: the table.
        aois: the areas.
        where: which frame is shown when.
        looked_at: what `areas_looked_at` gives of these, where it is known already.

    Returns:
        The matrices, without their zeros, and the entropies: H_t = - sum_i p_i sum_j p_ij log2 p_ij and
        H_s = - sum_i p_i log2 p_i, with p_i the share of transitions out of i and p_ij those of them to j.
    """
    looked, _ = looked_at or areas_looked_at(gaze, aois, where)
    found: list[Transition] = []
    entropies = []
    places = [*aois.names, ELSEWHERE]
    for participant, trial, rows in gaze.viewings():
        valid = gaze.valid[rows]
        names = _without_single(looked[rows], valid, gaze.kind == "samples")[valid]
        counts = np.zeros((len(places), len(places)))
        for before, after in itertools.pairwise(names):
            if before != after:
                counts[places.index(before), places.index(after)] += 1
        out = counts.sum(axis=1)
        for i, j in zip(*np.nonzero(counts), strict=True):
            found.append(
                Transition(
                    participant=participant,
                    trial=trial,
                    source=places[i],
                    target=places[j],
                    count=int(counts[i, j]),
                    share=float(counts[i, j] / out[i]),
                )
            )
        total = float(counts.sum())
        each = [_entropy(counts[i] / out[i]) for i in range(len(places)) if out[i]]
        entropies.append(
            TransitionEntropy(
                participant=participant,
                trial=trial,
                transitions=int(total),
                transition_entropy_bits=float(np.average(each, weights=out[out > 0])) if total else None,
                stationary_entropy_bits=_entropy(out / total) if total else None,
            )
        )
    return found, entropies


def _entropy(shares: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """In bits."""
    return max(0.0, -math.fsum(one * math.log2(one) for one in shares if one > 0))
