"""Samples in, fixations out, found by pymovements: I-DT by dispersion, I-VT by velocity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.errors import DatasetError, EncodeError
from vidsal.gaze.options import GazeOptions
from vidsal.gaze.table import Gaze

__all__ = ["find_fixations"]

_GAP_SECONDS = 0.075
"""A gap from this on ends a fixation; shorter ones are filled by the I-VT filter of Tobii too (Olsen 2012)."""


def find_fixations(gaze: Gaze, options: GazeOptions) -> Gaze:
    """Replaces the samples of each viewing by the fixations among them.

    I-DT and I-VT of Salvucci and Goldberg, "Identifying fixations and saccades in eye-tracking protocols", ETRA 2000,
    as pymovements has them. Positions become degrees by `pixels_per_degree`, one number for the whole picture: right
    for small angles from its middle. A fixation lies at the mean of its valid samples; its pupil is their mean.

    Args:
        gaze: samples.
        options: which algorithm, and its parameters.

    Raises:
        DatasetError: `gaze` holds fixations already.
        EncodeError: pymovements is missing.
    """
    if gaze.kind == "fixations":
        raise DatasetError("the recording holds fixations already; there is nothing to find among them")
    try:
        from pymovements import events
    except ImportError as error:
        raise EncodeError("finding fixations needs pymovements: pip install 'vidsal[gaze]'") from error
    found: dict[str, list[Any]] = {name: [] for name in ("participant", "trial", "at", "duration", "x", "y", "pupil")}
    for participant, trial, rows in gaze.viewings():
        for part in _unbroken(gaze, rows):
            if len(part) < 3:
                continue
            seconds = gaze.pts_seconds[part]
            place = np.stack([gaze.x[part], gaze.y[part]], axis=1) / (options.pixels_per_degree or 1.0)
            step = float(np.median(np.diff(seconds)))
            if options.events == "idt":
                # It takes even times only, and those of a recording are rounded and drift: it counts samples.
                stamps = np.arange(len(part))
                least = max(2, math.ceil(options.min_fixation / step - 1e-6))
                table = events.idt(place, stamps, minimum_duration=least, dispersion_threshold=options.max_dispersion)
            else:
                stamps = np.round((seconds - seconds[0]) * 1e6).astype(np.int64)
                least = math.ceil(options.min_fixation * 1e6)
                speed = np.gradient(place, seconds, axis=0)
                table = events.ivt(speed, stamps, minimum_duration=least, velocity_threshold=options.max_velocity)
            for event in table.frame.to_dicts():
                inside = part[(stamps >= event["onset"]) & (stamps <= event["offset"])]
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
