"""Densities of a video and recorded gaze in, how well the gaze fits them as it is and otherwise read out.

A flipped axis, swapped axes and a clock that is off leave numbers that look right. They show where the gaze is held
against what the video shows: gaze that is read rightly lies where something is to be seen. Nothing is changed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from vidsal.frames import SaliencyBatch
from vidsal.tracks import column_field
from vidsal.viewing.options import VariantOptions
from vidsal.viewing.viewers import RecordedViewers

__all__ = ["LEAST_SHIFT", "READINGS", "GazeVariants", "Reading", "VariantScore", "VariantScorer", "score_variants"]

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """How positions may be meant."""

    name: str
    """As the table has it."""
    words: str
    """What is wrong where this one fits."""
    moved: Callable[[_Floats, float, float], _Floats]
    """(..., 2) places and the picture's height and width in, the places as they are meant out."""


def _swapped_shares(places: _Floats, height: float, width: float) -> _Floats:
    return places[..., ::-1] * [width / height, height / width]


READINGS = (
    Reading("as recorded", "", lambda places, height, width: places),
    Reading(
        "y flipped",
        "y seems to be counted from the other edge (import it with the other origin)",
        lambda places, height, width: places * [1, -1] + [0, height],
    ),
    Reading(
        "x flipped",
        "x seems to be counted from the right edge",
        lambda places, height, width: places * [-1, 1] + [width, 0],
    ),
    Reading("swapped", "x and y seem to be swapped", lambda places, height, width: places[..., ::-1]),
    Reading("swapped shares", "x and y seem to be swapped, as shares of the picture", _swapped_shares),
)
"""The ways in which positions are read; the first is that of the table."""


@dataclass(frozen=True, kw_only=True)
class VariantScore:
    """One way to read the gaze: one row of the table."""

    participant: str = column_field("", "Who looked; empty: all viewers together.")
    """A name, or empty."""
    trial: str = column_field("", "Which viewing; empty: all.")
    """A name, or empty."""
    reading: str = column_field("", "How positions are read, see `READINGS`.")
    """A name of `READINGS`."""
    shift_seconds: float = column_field("s", "What is added to all times.")
    """Any number."""
    looks: int = column_field("", "How many places were scored: frames in which a viewer looks somewhere.")
    """0 or more."""
    nss: float | None = column_field("", "Normalised scanpath saliency under the densities; 0 by chance.")
    """Any number; None without a place."""
    gain: float | None = column_field("", "How much higher that is than as recorded.")
    """Any number, or None."""
    low: float | None = column_field("", "Lower end of the interval of the gain.")
    """At most the gain; None where it is too short for one."""
    high: float | None = column_field("", "Upper end of it.")
    """At least the gain, or None."""
    better: bool = column_field("", "Whether the gain is at least the margin, and its interval lies above 0.")
    """False as recorded."""


@dataclass(frozen=True)
class GazeVariants:
    """What the densities say of the gaze."""

    scores: tuple[VariantScore, ...]
    """All viewers together: every reading on the clock as it is, every clock with positions as they are, and the best
    of all. Then for each viewing as recorded and the best."""
    findings: tuple[str, ...]
    """What fits better than the gaze as recorded, in words; empty where nothing does."""
    notes: tuple[str, ...]
    """What was compared, and what could not be told."""
    best: VariantScore
    """The variant of all viewers that is named where it is better; else the one with the highest score."""


class VariantScorer:
    """Scores all variants at once, frame by frame; memory grows with the seconds of the video, not with its frames.

    Every variant is a reading of the positions and a shift of the clock. A place scores the standardised density of its
    cell (NSS, Peters et al. 2005); one beside the picture scores the lowest of the frame. Intervals are by the
    jackknife over blocks of two seconds of video, with all viewers of a block together, and hold for all variants at
    once (Bonferroni). Of variants that score alike within the margin the plainest is taken.

    Args:
        viewers: who looked where.
        options: which shifts, and the margin.
    """

    def __init__(self, viewers: RecordedViewers, options: VariantOptions) -> None:
        self._viewers, self._options = viewers, options
        steps = math.floor(options.max_shift / options.shift_step + 1e-9)
        self.shifts: _Floats = np.arange(-steps, steps + 1).astype(np.float64) * options.shift_step
        """Seconds that are added to all times, 0 in the middle."""
        self._blocks: dict[int, tuple[_Floats, _Floats]] = {}

    def update(self, batch: SaliencyBatch) -> None:
        """Takes the next frames."""
        density = batch.density.cpu().numpy().astype(np.float64)
        rows, columns = density.shape[1:]
        mean, spread = density.mean(axis=(1, 2), keepdims=True), density.std(axis=(1, 2), keepdims=True)
        # A constant map says nothing: 0, as NSS has it.
        flat = np.ptp(density, axis=(1, 2), keepdims=True) <= 0
        standard = np.where(flat, 0.0, (density - mean) / np.where(flat, 1.0, spread))
        height, width = float(self._viewers.height), float(self._viewers.width)
        for each, seconds in zip(standard, batch.pts_seconds.tolist(), strict=True):
            # Gaze that is shifted by so much is shown now if it was recorded that much earlier.
            places = self._viewers.all_at(seconds - self.shifts)
            known = np.isfinite(places[..., 0])
            total, count = self._blocks.setdefault(math.floor(seconds / _BLOCK_SECONDS), self._empty())
            lowest = each.min()
            for number, reading in enumerate(READINGS):
                x, y = np.moveaxis(reading.moved(places, height, width), -1, 0)
                inside = known & (x >= 0) & (x < width) & (y >= 0) & (y < height)
                values = np.where(known, lowest, 0.0)
                column = np.minimum((x[inside] * (columns / width)).astype(int), columns - 1)
                row = np.minimum((y[inside] * (rows / height)).astype(int), rows - 1)
                values[inside] = each[row, column]
                total[number] += values
                count[number] += known

    def _empty(self) -> tuple[_Floats, _Floats]:
        shape = (len(READINGS), len(self._viewers), len(self.shifts))
        return np.zeros(shape), np.zeros(shape)

    def flush(self) -> GazeVariants:
        """Ends the video."""
        blocks = [self._blocks[key] for key in sorted(self._blocks)] or [self._empty()]
        total = np.stack([each for each, _ in blocks])  # (blocks, readings, viewers, shifts)
        count = np.stack([each for _, each in blocks])
        scores: list[VariantScore] = []
        findings: list[str] = []
        middle = len(self.shifts) // 2
        whole = self._scored(total.sum(axis=2), count.sum(axis=2), "", "")
        best = self._best(whole)
        shown = [(reading, middle) for reading in range(len(READINGS))]
        shown += [(0, shift) for shift in range(len(self.shifts)) if shift != middle]
        scores += [whole[place] for place in dict.fromkeys([*shown, best])]
        notes = self._notes(whole, len(blocks))
        if whole[best].better:
            findings.append(self._words(whole[best], "all viewers"))
        for number, (participant, trial) in enumerate(self._viewers.keys):
            one = self._scored(total[:, :, number], count[:, :, number], participant, trial)
            own = self._best(one)
            scores += [one[place] for place in dict.fromkeys([(0, middle), own])]
            # What is true of all is said once.
            shared = whole[best].better and (one[best].nss or 0.0) >= (one[own].nss or 0.0) - self._options.margin
            if one[own].better and not shared:
                findings.append(self._words(one[own], f"participant {participant}, trial {trial}"))
        return GazeVariants(tuple(scores), tuple(findings), tuple(notes), whole[best])

    def _scored(
        self, total: _Floats, count: _Floats, participant: str, trial: str
    ) -> dict[tuple[int, int], VariantScore]:
        """A score for every reading and shift, of sums (blocks, readings, shifts)."""
        middle = len(self.shifts) // 2
        sums, counts = total.sum(axis=0), count.sum(axis=0)
        base_count = counts[0, middle]
        variants = sums.size
        # One of so many is taken: each has to hold where all would.
        wide = _student(1 - 0.05 / 2 / max(1, variants - 1), max(1, len(total) - 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            nss = sums / counts
            without = (sums - total) / (counts - count)
            gains = nss - nss[0, middle]
            rest = without - without[:, :1, middle : middle + 1]
        used = (count[:, 0, middle] > 0).sum()
        made: dict[tuple[int, int], VariantScore] = {}
        for place in np.ndindex(*sums.shape):
            reading, shift = int(place[0]), int(place[1])
            enough = counts[place] > 0 and counts[place] >= _LEAST_SHARE * base_count
            is_base = place == (0, middle)
            gain = low = high = None
            if base_count and enough and not is_base:
                gain = float(gains[place])
                values = rest[:, reading, shift]
                if used >= _LEAST_BLOCKS and np.isfinite(values).all():
                    error = math.sqrt((len(values) - 1) / len(values) * float(((values - values.mean()) ** 2).sum()))
                    low, high = gain - wide * error, gain + wide * error
            made[reading, shift] = VariantScore(
                participant=participant,
                trial=trial,
                reading=READINGS[reading].name,
                shift_seconds=float(self.shifts[shift]),
                looks=int(counts[place]),
                nss=float(nss[place]) if enough else None,
                gain=gain,
                low=low,
                high=high,
                better=gain is not None
                and low is not None
                and gain >= self._options.margin
                and low > 0
                and (reading > 0 or abs(float(self.shifts[shift])) >= LEAST_SHIFT),
            )
        return made

    def _best(self, scores: dict[tuple[int, int], VariantScore]) -> tuple[int, int]:
        """The plainest of the better ones that score best within the margin; without a better one, the best."""
        middle = len(self.shifts) // 2
        better = {place: score for place, score in scores.items() if score.better} or scores

        def nss(place: tuple[int, int]) -> float:
            score = scores[place].nss
            return -math.inf if score is None else score

        best = max(better, key=nss)
        plain = [place for place in better if place[1] == middle or place[0] == 0]
        plainest = max(plain, key=nss, default=best)
        return plainest if nss(plainest) >= nss(best) - self._options.margin else best

    def _words(self, score: VariantScore, who: str) -> str:
        reading = next(each for each in READINGS if each.name == score.reading)
        parts = [reading.words] if reading.words else []
        if score.shift_seconds:
            late = "late" if score.shift_seconds < 0 else "early"
            far = f"{abs(score.shift_seconds):g} s {late}"
            parts.append(f"the clock seems to be {far} (add {score.shift_seconds:g} s to the offset)")
        low, high = score.low or 0.0, score.high or 0.0
        return (
            f"{who}: {' and '.join(parts)}: read so, the gaze fits better by an NSS of {score.gain:.2f} "
            f"({low:.2f} to {high:.2f})"
        )

    def _notes(self, whole: dict[tuple[int, int], VariantScore], blocks: int) -> list[str]:
        middle = len(self.shifts) // 2
        base, seconds = whole[0, middle], blocks * _BLOCK_SECONDS
        if base.nss is None:
            return ["no viewer looks anywhere while the video runs: nothing can be told"]
        notes = [
            f"as recorded the gaze has an NSS of {base.nss:.2f} (0 by chance), {base.looks} looks in {seconds:g} s",
            f"compared with {len(whole) - 1} other readings: {len(READINGS)} of the positions, "
            f"{len(self.shifts)} of the clock, up to {self._options.max_shift:g} s",
        ]
        if blocks < _LEAST_BLOCKS:
            least = _LEAST_BLOCKS * _BLOCK_SECONDS
            notes.append(f"{seconds:g} s are too short to tell anything by: about {least:g} s are needed")
            return notes
        open_ = [
            reading.name
            for number, reading in enumerate(READINGS[1:], 1)
            if (score := whole[number, middle]).high is None or score.high >= 0
        ]
        if open_ and not whole[self._best(whole)].better:
            notes.append(f"not told apart from the gaze as recorded: {', '.join(open_)}")
        return notes


LEAST_SHIFT = 0.4
"""Seconds below which a shift of the clock is not named: viewers follow what happens by some tenths of a second."""
_BLOCK_SECONDS = 2.0
_LEAST_BLOCKS = 5
_LEAST_SHARE = 0.5
"""A shift that leaves less of the gaze within the video than this, as a share, is not looked at."""


def _student(probability: float, freedom: int) -> float:
    """Quantile of Student's t by its expansion in the normal one (Abramowitz and Stegun, 1964, 26.7.5).

    Example:
        >>> round(_student(0.975, 9), 2), round(_student(0.995, 4), 1)
        (2.26, 4.6)
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))


def score_variants(batches: Iterable[SaliencyBatch], viewers: RecordedViewers, options: VariantOptions) -> GazeVariants:
    """Scores the gaze of viewers under the densities of a whole video, as `VariantScorer` does."""
    scorer = VariantScorer(viewers, options)
    for batch in batches:
        scorer.update(batch)
    return scorer.flush()
