"""Predicted shares of areas and recorded gaze in, how they agree by the second out, with intervals over participants.

A predicted share is what a model expects; a dwell share is what was recorded. They stand side by side, and neither is
called by the other's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidsal.aois.areas import Aois
from vidsal.aois.measured import AoiAgreement, AoiSecond
from vidsal.gaze.measures import Looked, Where, areas_looked_at, lasting_seconds
from vidsal.gaze.table import Gaze

__all__ = ["AoiAgreement", "AoiSecond", "PredictedShares", "compare_shares"]

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PredictedShares:
    """The predicted shares of each frame."""

    seconds: _Floats
    """(frames,) rising."""
    shares: dict[str, _Floats]
    """(frames,) by area."""


def compare_shares(
    gaze: Gaze,
    aois: Aois,
    where: Where,
    predicted: PredictedShares,
    *,
    bin_seconds: float = 1.0,
    draws: int = 2000,
    seed: int = 0,
    looked_at: Looked | None = None,
    end_seconds: float | None = None,
) -> tuple[list[AoiSecond], list[AoiAgreement]]:
    """Compares predicted with measured shares, bin by bin.

    Intervals are percentiles of resamples of the participants (bootstrap), each with the mean of its trials.

    Args:
        gaze: of one video.
        aois: the areas.
        where: which frame is shown when.
        predicted: of the same video.
        bin_seconds: length of a bin.
        draws: resamples.
        seed: of these.
        looked_at: what `areas_looked_at` gives of these areas, where it is known already.
        end_seconds: when the video ends; None where not known.
    """
    looked, _ = looked_at or areas_looked_at(gaze, aois, where)
    end = float(predicted.seconds[-1]) if len(predicted.seconds) else 0.0
    bins = int(end // bin_seconds) + 1
    people = gaze.participants
    inside = {name: np.zeros((len(people), bins)) for name in aois.names}
    tracked = np.zeros((len(people), bins))
    for participant, _, rows in gaze.viewings():
        person = people.index(participant)
        lasting = lasting_seconds(gaze, rows, end_seconds=end_seconds)
        spread = _spread(gaze.pts_seconds[rows], lasting, bins, bin_seconds)
        valid = gaze.valid[rows]
        tracked[person] += spread[valid].sum(axis=0)
        for name in aois.names:
            inside[name][person] += spread[valid & (looked[rows] == name)].sum(axis=0)
    frame_bin = np.clip(predicted.seconds // bin_seconds, 0, bins - 1).astype(int)
    frames = np.bincount(frame_bin, minlength=bins)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(people), size=(draws, len(people))) if len(people) > 1 else None
    rows_: list[AoiSecond] = []
    sums = []
    for name in aois.names:
        total = np.bincount(frame_bin, weights=predicted.shares[name], minlength=bins)
        expected = np.where(frames > 0, total / np.maximum(frames, 1), np.nan)
        share = np.where(tracked > 0, inside[name] / np.where(tracked > 0, tracked, 1.0), np.nan)
        mine = [_second(name, at, bin_seconds, expected[at], share[:, at], drawn) for at in range(bins)]
        rows_ += mine
        sums.append(_agreement(name, mine))
    return rows_, sums


def _spread(seconds: _Floats, lasting: _Floats, bins: int, length: float) -> _Floats:
    """(n, bins) how long each row lies in each bin."""
    made = np.zeros((len(seconds), bins))
    edges = np.arange(bins + 1) * length
    for row, (start, lasts) in enumerate(zip(seconds, lasting, strict=True)):
        first, last = int(max(start, 0.0) // length), int(max(start + lasts, 0.0) // length)
        for at in range(first, min(last, bins - 1) + 1):
            made[row, at] = max(0.0, min(start + lasts, edges[at + 1]) - max(start, edges[at]))
    return made


def _second(
    name: str, at: int, length: float, expected: float, shares: _Floats, drawn: npt.NDArray[np.int64] | None
) -> AoiSecond:
    known = np.isfinite(shares)
    count = int(known.sum())
    mean = float(shares[known].mean()) if count else None
    low = high = None
    if drawn is not None and count > 1:
        # Each resample is of all participants; those without gaze in this second drop out of its mean.
        values = shares[drawn]
        there = np.isfinite(values)
        counts = there.sum(axis=1)
        means = np.where(there, values, 0.0).sum(axis=1)[counts > 0] / counts[counts > 0]
        low, high = (float(one) for one in np.quantile(means, (0.025, 0.975)))
    foreseen = float(expected) if np.isfinite(expected) else None
    off = low is not None and high is not None and foreseen is not None and not low <= foreseen <= high
    return AoiSecond(
        aoi=name,
        start_seconds=at * length,
        predicted_share=foreseen,
        dwell_share=mean,
        low=low,
        high=high,
        participants=count,
        off=off,
    )


def _agreement(name: str, rows: Sequence[AoiSecond]) -> AoiAgreement:
    both = [(row.predicted_share, row.dwell_share) for row in rows]
    pairs = np.array([pair for pair in both if None not in pair], np.float64).reshape(-1, 2)
    told = [row for row in rows if row.low is not None and row.predicted_share is not None]
    varies = len(pairs) > 2 and bool((np.ptp(pairs, axis=0) > 1e-9).all())
    return AoiAgreement(
        aoi=name,
        seconds=len(pairs),
        predicted_share=float(pairs[:, 0].mean()) if len(pairs) else None,
        dwell_share=float(pairs[:, 1].mean()) if len(pairs) else None,
        correlation=float(np.asarray(np.corrcoef(pairs.T))[0, 1]) if varies else None,
        off_share=sum(row.off for row in told) / len(told) if told else None,
    )
