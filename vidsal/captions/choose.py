"""What each cue would cover at each place in, the place of each out: calm, and never one cue over another."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidsal.captions.layout import SLOTS, Layout
from vidsal.captions.options import Place
from vidsal.captions.values import Anchor, Box, Cue

__all__ = ["TOUCHING_MS", "Candidates", "Choice", "choose", "neighbours"]

TOUCHING_MS = 40
"""Cues that are shown together for no longer, a frame of 25 a second, count as one after the other."""


def neighbours(cues: Sequence[Cue]) -> list[list[int]]:
    """For each cue those that are shown with it and must not be covered, in the order of their beginning.

    A text that stands twice at the same time, as editors layer them, is no neighbour of itself.
    """
    found: list[list[int]] = [[] for _ in cues]
    shown: list[tuple[int, int]] = []
    for number in sorted(range(len(cues)), key=lambda one: cues[one].start_ms):
        cue = cues[number]
        while shown and shown[0][0] <= cue.start_ms:
            heapq.heappop(shown)
        for _, other in shown:
            before = cues[other]
            together = min(before.end_ms, cue.end_ms) - cue.start_ms
            alike = (before.start_ms, before.end_ms, before.text) == (cue.start_ms, cue.end_ms, cue.text)
            if together > TOUCHING_MS and not alike:
                found[number].append(other)
                found[other].append(number)
        if cue.text.strip():
            heapq.heappush(shown, (cue.end_ms, number))
    return found


@dataclass(frozen=True)
class Candidates:
    """Where each of N cues may stand: at P places, in up to S slots one beside the other."""

    places: tuple[Place, ...]
    """The P places."""
    boxes: npt.NDArray[np.float64]
    """(N, P, S + 1, 4) as `mass_in_boxes` has them, NaN where a cue cannot stand. The last slot is the box of a cue
    that stays where it is, the same at every place."""
    anchors: tuple[tuple[tuple[Anchor, ...], ...], ...]
    """The anchors, (N, P, S)."""
    beside: list[list[int]]
    """What `neighbours` gives."""

    @classmethod
    def of(cls, cues: Sequence[Cue], places: tuple[Place, ...], layout: Layout, *, replace_own: bool) -> Candidates:
        """Those of cues in a picture.

        Args:
            cues: the cues.
            places: what to choose from.
            layout: of the picture.
            replace_own: whether a position of their own counts for nothing.
        """
        beside = neighbours(cues)
        boxes = np.full((len(cues), len(places), SLOTS + 1, 4), np.nan)
        heights = [layout.box(layout.anchor("bottom", cue), cue).height for cue in cues]
        anchors = []
        for number, cue in enumerate(cues):
            step = max((heights[other] for other in beside[number]), default=0.0)
            mine = []
            for at, place in enumerate(places):
                slots = range(SLOTS if step > 0 and place in ("bottom", "top") else 1)
                here = tuple(layout.anchor(place, cue, offset=slot * step) for slot in slots)
                mine.append(here)
                for slot, anchor in enumerate(here):
                    box = layout.box(anchor, cue)
                    # A text that is too long for the picture stays at its first place.
                    if layout.fits(place, cue, box) or (at == slot == 0):
                        boxes[number, at, slot] = (box.left, box.top, box.right, box.bottom)
            if cue.own is not None and not replace_own:
                box = layout.box(cue.own, cue)
                boxes[number, :, SLOTS] = (box.left, box.top, box.right, box.bottom)
            anchors.append(tuple(mine))
        return cls(places, boxes, tuple(anchors), beside)

    def own_box(self, number: int) -> Box | None:
        """The box of a cue that stays where it is; None where it is to be placed."""
        return self._box(number, 0, SLOTS)

    def _box(self, number: int, place: int, slot: int) -> Box | None:
        values = self.boxes[number, place, slot]
        return None if np.isnan(values[0]) else Box(*values.tolist())

    def free(self, number: int, place: int, taken: Sequence[Box]) -> tuple[int, Box] | None:
        """The first slot of a cue at a place that shares nothing with boxes that are taken, with its box; or None."""
        for slot in range(SLOTS):
            box = self._box(number, place, slot)
            if box is not None and not any(box.shared_with(other) for other in taken):
                return slot, box
        return None

    def least_shared(self, number: int, taken: Sequence[Box]) -> tuple[int, int, Box]:
        """Place, slot and box of a cue that shares least with boxes that are taken."""
        found = [
            (sum(box.shared_with(other) for other in taken), place, slot, box)
            for place in range(len(self.places))
            for slot in range(SLOTS)
            if (box := self._box(number, place, slot)) is not None
        ]
        return min(found, key=lambda one: one[:3])[1:]


@dataclass(frozen=True)
class Choice:
    """Where a cue stands."""

    place: Place | None
    """The place; None where it stays where its file puts it."""
    anchor: Anchor
    """Where it is anchored."""
    box: Box
    """What it takes."""
    covered: float
    """Share of the attention in that box, 0 to 1; NaN where no frame was seen of the cue."""
    at: dict[Place, float]
    """The same for each place where it could stand, clear of other cues; NaN where it could not."""
    crowded: bool = False
    """True where every place was taken by other cues."""


def choose(
    cues: Sequence[Cue],
    candidates: Candidates,
    covered: npt.NDArray[np.float64],
    *,
    first_shot: npt.NDArray[np.int64],
    last_shot: npt.NDArray[np.int64],
    gain: float,
) -> list[Choice]:
    """Choose a place for each cue.

    In the order of their beginning, a cue takes the place of the cue before if both are in one shot, else the default
    place (the first), unless another place covers less by more than `gain`; of those, the one that covers least. At
    the bottom and at the top, cues that are shown together stand above and below one another.

    Args:
        cues: N cues.
        candidates: where they may stand.
        covered: (N, P, S + 1) share of the attention in each box of `candidates`; NaN where it is not known.
        first_shot: (N,) the shot that each begins in; -1 where it is not known.
        last_shot: (N,) the shot that each ends in.
        gain: as in `CaptionOptions`.

    Returns:
        N choices.
    """
    choices: list[Choice | None] = [None] * len(cues)
    for number, cue in enumerate(cues):
        own = candidates.own_box(number)
        if own is not None and cue.own is not None:
            at = dict(zip(candidates.places, covered[number, :, 0].tolist(), strict=True))
            choices[number] = Choice(None, cue.own, own, float(covered[number, 0, SLOTS]), at)
    before: int | None = None
    place_before = 0
    for number in sorted(range(len(cues)), key=lambda one: cues[one].start_ms):
        if choices[number] is not None:
            continue
        taken = [one.box for other in candidates.beside[number] if (one := choices[other]) is not None]
        goes_on = before is not None and first_shot[number] >= 0 and last_shot[before] == first_shot[number]
        chosen, choice = _place_of(number, candidates, covered, taken, place_before if goes_on else 0, gain)
        choices[number] = choice
        before, place_before = number, chosen
    return [choice for choice in choices if choice is not None]


def _place_of(
    number: int,
    candidates: Candidates,
    covered: npt.NDArray[np.float64],
    taken: Sequence[Box],
    wanted: int,
    gain: float,
) -> tuple[int, Choice]:
    """The ordinal of the place of a cue, and the choice; `wanted` is the one to keep if it is nearly as good."""
    places = candidates.places
    found = {place: candidates.free(number, place, taken) for place in range(len(places))}
    free = {place: one for place, one in found.items() if one is not None}
    cost = {place: float(covered[number, place, slot]) for place, (slot, _) in free.items()}
    at = {name: cost.get(place, float("nan")) for place, name in enumerate(places)}
    if not free:
        place, slot, box = candidates.least_shared(number, taken)
        anchor = candidates.anchors[number][place][slot]
        return place, Choice(places[place], anchor, box, float(covered[number, place, slot]), at, crowded=True)
    # Without a frame nothing speaks against a place.
    known = {place: 0.0 if np.isnan(one) else one for place, one in cost.items()}
    best = min(known, key=lambda place: (known[place], place))
    kept = next((place for place in (wanted, 0) if place in known), best)
    chosen = best if known[kept] - known[best] > gain else kept
    slot, box = free[chosen]
    return chosen, Choice(places[chosen], candidates.anchors[number][chosen][slot], box, cost[chosen], at)
