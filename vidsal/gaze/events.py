"""Samples in, fixations out: I-DT by dispersion, I-VT by velocity (pymovements)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.errors import DatasetError, EncodeError
from vidsal.gaze.options import GazeOptions
from vidsal.gaze.table import Gaze

__all__ = ["by_dispersion", "find_fixations"]

_GAP_SECONDS = 0.075
"""A gap from this on ends a fixation; shorter ones are filled by the I-VT filter of Tobii too (Olsen 2012)."""


def find_fixations(gaze: Gaze, options: GazeOptions) -> Gaze:
    """Replaces the samples of each viewing by the fixations among them.

    I-DT and I-VT of Salvucci and Goldberg, "Identifying fixations and saccades in eye-tracking protocols", ETRA
    2000; I-VT as pymovements has it. (Its I-DT counts the sample that leaves a fixation as the fixation's last.)
    Positions become degrees by `pixels_per_degree`, one number for the whole picture: right for small angles from
    its middle. A fixation lies at the mean of its valid samples; its pupil is their mean.

    Args:
        gaze: samples.
        options: which algorithm, and its parameters.

    Raises:
        DatasetError: `gaze` holds fixations already.
        EncodeError: I-VT is asked for, and pymovements is missing.
    """
    if gaze.kind == "fixations":
        raise DatasetError("the recording holds fixations already; there is nothing to find among them")
    found: dict[str, list[Any]] = {name: [] for name in ("participant", "trial", "at", "duration", "x", "y", "pupil")}
    for participant, trial, rows in gaze.viewings():
        for part in _unbroken(gaze, rows):
            if len(part) < 3:
                continue
            seconds = gaze.pts_seconds[part]
            place = np.stack([gaze.x[part], gaze.y[part]], axis=1) / (options.pixels_per_degree or 1.0)
            step = float(np.median(np.diff(seconds)))
            if options.events == "idt":
                least = max(2, math.ceil(options.min_fixation / step - 1e-6))
                spans = by_dispersion(place, least=least, largest=options.max_dispersion)
            else:
                # A sample lasts until the next one, the last of a fixation too.
                least_seconds = max(options.min_fixation - step, 1e-6)
                spans = _by_velocity(place, seconds, least_seconds=least_seconds, largest=options.max_velocity)
            for begin, end in spans:
                inside = part[begin:end]
                first, last = gaze.pts_seconds[inside[0]], gaze.pts_seconds[inside[-1]]
                pupil = gaze.pupil[inside]
                found["participant"].append(participant)
                found["trial"].append(trial)
                found["at"].append(first)
                found["duration"].append(last - first + step)
                found["x"].append(float(gaze.x[inside].mean()))
                found["y"].append(float(gaze.y[inside].mean()))
                found["pupil"].append(float(np.nanmean(pupil)) if np.isfinite(pupil).any() else math.nan)
    facts = {
        "events": {
            "algorithm": {"idt": "I-DT", "ivt": "I-VT"}[options.events],
            "pixels_per_degree": options.pixels_per_degree,
            "min_fixation_seconds": options.min_fixation,
            "gap_seconds": _GAP_SECONDS,
            **({"max_dispersion_degrees": options.max_dispersion} if options.events == "idt" else {}),
            **({"max_velocity_degrees_a_second": options.max_velocity} if options.events == "ivt" else {}),
        }
    }
    return Gaze.of(
        participant=found["participant"],
        trial=found["trial"],
        pts_seconds=found["at"],
        duration_seconds=found["duration"],
        x=found["x"],
        y=found["y"],
        pupil=found["pupil"],
        kind="fixations",
        facts={**gaze.facts, **facts},
    )


def by_dispersion(place: npt.NDArray[np.float64], *, least: int, largest: float) -> list[tuple[int, int]]:
    """I-DT: a window of the least length that is narrow enough grows for as long as it stays so.

    Args:
        place: (N, 2) positions.
        least: samples of the shortest fixation, from 2.
        largest: dispersion that a fixation may have: the width and the height of its samples, added.

    Returns:
        Of each fixation the first sample, and the one after its last.

    Example:
        >>> by_dispersion(np.array([[0.0, 0], [1, 0], [0, 0], [9, 0], [9, 1], [9, 0]]), least=2, largest=1.0)
        [(0, 3), (3, 6)]
    """
    if len(place) < least:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(place, least, axis=0)
    begins = np.flatnonzero((windows.max(axis=2) - windows.min(axis=2)).sum(axis=1) <= largest)
    found: list[tuple[int, int]] = []
    begin, points = 0, place.tolist()
    while (at := int(np.searchsorted(begins, begin))) < len(begins):
        begin = int(begins[at])
        end = begin + least
        (left, top), (right, bottom) = place[begin:end].min(axis=0).tolist(), place[begin:end].max(axis=0).tolist()
        while end < len(points):
            x, y = points[end]
            left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
            if right - left + bottom - top > largest:
                break
            end += 1
        found.append((begin, end))
        begin = end
    return found


def _by_velocity(
    place: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64], *, least_seconds: float, largest: float
) -> list[tuple[int, int]]:
    """I-VT, as `by_dispersion`; `least_seconds` lie at least between a fixation's first sample and its last."""
    try:
        from pymovements import events
    except ImportError as error:
        raise EncodeError("finding fixations by velocity needs pymovements: pip install 'vidsal[gaze]'") from error
    stamps = np.round((seconds - seconds[0]) * 1e6).astype(np.int64)
    # Times are rounded, so that a step may be a microsecond shorter than another.
    least = max(1, math.floor(least_seconds * 1e6) - 1)
    speed = np.gradient(place, seconds, axis=0)
    table = events.ivt(speed, stamps, minimum_duration=least, velocity_threshold=largest)
    found = []
    for event in table.frame.to_dicts():
        inside = np.flatnonzero((stamps >= event["onset"]) & (stamps <= event["offset"]))
        found.append((int(inside[0]), int(inside[-1]) + 1))
    return found


def _unbroken(gaze: Gaze, rows: slice) -> list[npt.NDArray[np.int64]]:
    """The valid rows of a viewing, cut where a gap lies between two."""
    good = np.arange(rows.start, rows.stop)[gaze.valid[rows]]
    # Two rows of one time have no velocity.
    good = good[np.append(True, np.diff(gaze.pts_seconds[good]) > 0)] if len(good) else good
    if not len(good):
        return []
    steps = np.diff(gaze.pts_seconds[good])
    longest = max(_GAP_SECONDS, 1.5 * float(np.median(steps)) if len(steps) else 0.0)
    return np.split(good, np.flatnonzero(steps > longest) + 1)
