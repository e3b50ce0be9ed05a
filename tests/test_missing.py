"""Which frames are missing: packets without a frame, and gaps where the rate is constant."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

import pytest

from vidsal.decode.missing import MOST_WAITING, Gaps, Ledger, Steps

STEP = 3600
BASE = Fraction(1, 90000)
MILLISECONDS = Fraction(1, 1000)


@dataclass(frozen=True)
class Sent:
    pts: int | None
    is_keyframe: bool = False
    is_discard: bool = False


def ledger_of(sent: Sequence[Sent], came: set[int], *, delay: int = 2, step: int = STEP) -> Ledger:
    """A decoder that gives, in order of time and some packets late, the frames whose times are in `came`."""
    ledger, waiting = Ledger(step), list[int]()
    for packet in sent:
        ledger.sent(packet)
        if packet.pts in came:
            waiting.append(packet.pts)
        if len(waiting) > delay:
            ledger.came(waiting.pop(waiting.index(min(waiting))))
    for pts in sorted(waiting):
        ledger.came(pts)
    ledger.close()
    return ledger


def packets(count: int, *, keys: int = 10) -> list[Sent]:
    """Two frames between each two that they need: 0, 3, 1, 2, 6, 4, 5, ..."""
    order = sorted(range(count), key=lambda n: (n if n % 3 == 0 else n // 3 * 3 + 3, n % 3 != 0, n))
    return [Sent(n * STEP, is_keyframe=n % keys == 0) for n in order]


def test_nothing_is_lost_where_every_packet_gives_a_frame() -> None:
    ledger = ledger_of(packets(200), {n * STEP for n in range(200)})
    assert (ledger.lost, ledger.early, ledger.hidden) == (0, 0, 0)


@pytest.mark.parametrize("missing", [{5}, {0, 1, 2}, {59}, {7, 30, 31, 32}])
def test_packets_without_a_frame_are_counted(missing: set[int]) -> None:
    ledger = ledger_of(packets(60), {n * STEP for n in range(60) if n not in missing})
    assert ledger.lost == len(missing)


def test_losses_are_known_before_the_end_and_times_that_jump_move_no_other() -> None:
    ledger = Ledger(STEP)
    for n in range(4 * MOST_WAITING):
        pts = n * STEP if n != 20 else 1 << 33
        ledger.sent(Sent(pts, is_keyframe=n == 0))
        if n != 10:
            ledger.came(pts)
    assert ledger.lost == 1


def test_packets_before_the_first_key_frame_are_no_loss_but_a_key_frame_that_fails_is() -> None:
    joined = [Sent(n * STEP, is_keyframe=n == 8) for n in range(30)]
    came = {n * STEP for n in range(8, 30)}
    ledger = ledger_of(joined, came)
    assert (ledger.lost, ledger.early) == (0, 8)
    broken = [Sent(n * STEP, is_keyframe=n in (3, 8)) for n in range(30)]
    ledger = ledger_of(broken, came)
    assert (ledger.lost, ledger.early) == (5, 3)


def test_a_packet_that_the_decoder_refused_is_counted_once() -> None:
    ledger = Ledger(STEP)
    for n in range(10):
        ledger.sent(Sent(n * STEP, is_keyframe=n == 0))
        if n == 4:
            ledger.failed(n * STEP)
        else:
            ledger.came(n * STEP)
    ledger.close()
    assert ledger.lost == 0


def test_second_fields_and_hidden_references_are_no_frames_of_their_own() -> None:
    fields = [Sent(n * STEP // 2, is_keyframe=n == 0) for n in range(120)]
    came = {n * STEP for n in range(60)}
    assert ledger_of(fields, came).lost == 0
    assert ledger_of(fields, came, step=STEP // 2).lost == 0  # the rate may count fields


def test_what_an_edit_list_hides_is_no_loss_and_counted_only_between_frames() -> None:
    sent = [Sent(n * STEP, is_keyframe=n == 0, is_discard=n < 3 or n in (20, 21) or n > 50) for n in range(60)]
    ledger = ledger_of(sent, {packet.pts for packet in sent if packet.pts is not None and not packet.is_discard})
    assert (ledger.lost, ledger.hidden) == (0, 2)


def gaps_of(
    steps: Sequence[int], *, base: Fraction = BASE, rate: Fraction | None = Fraction(25), most: float = 0.1
) -> Gaps | None:
    seen = Steps()
    for ticks in accumulate(steps, initial=7):
        seen.came(ticks)
    return seen.gaps(base=base, rate=rate, most=most)


def test_holes_in_a_constant_rate_are_found_counted_and_placed() -> None:
    assert gaps_of([STEP] * 100) is None
    assert gaps_of([STEP] * 40 + [2 * STEP] + [STEP] * 40 + [6 * STEP] + [STEP] * 10) == Gaps(
        count=2, frames=6, longest=6 * STEP, at=7 + 82 * STEP
    )


def test_rounded_times_keep_a_constant_rate() -> None:
    steps = [round((n + 1) * 1000 / 30) - round(n * 1000 / 30) for n in range(90)]
    assert gaps_of(steps, base=MILLISECONDS, rate=Fraction(30)) is None
    found = gaps_of([*steps, 100, *steps], base=MILLISECONDS, rate=Fraction(30))
    assert found == Gaps(count=1, frames=2, longest=100, at=7 + sum(steps))


def test_frames_that_a_camera_left_out_are_no_loss() -> None:
    chance = random.Random(0)
    phone = [3000 + chance.randrange(-15, 16) + 3000 * (n % 40 == 39) for n in range(200)]
    assert gaps_of(phone, rate=Fraction(30)) is None
    # In whole milliseconds it looks constant: only the rate of the header, which is the average, tells.
    rounded = [33 + n % 2 + 33 * (n % 40 == 39) for n in range(200)]
    average = 200 * 1000 / Fraction(sum(rounded))
    assert gaps_of(rounded, base=MILLISECONDS, rate=average) is None
    assert gaps_of(rounded, base=MILLISECONDS, rate=None) is None
    assert gaps_of(rounded, base=MILLISECONDS, rate=Fraction(1000, Fraction("33.5"))) is not None


@pytest.mark.parametrize(
    "steps",
    [
        [STEP * n for n in (1, 1, 2, 1, 4, 1, 3, 1, 1, 2)] * 10,  # a screen capture: pauses of any length
        [3003, 4504, 4505] * 20,  # film with repeated fields
        [STEP] * 3 + [5 * STEP] + [STEP] * 3,  # too few to see a rate
        [STEP] * 30 + [STEP * 5 // 2] + [STEP] * 30,  # no whole number of frames
    ],
)
def test_times_that_vary_by_nature_have_no_gaps(steps: list[int]) -> None:
    assert gaps_of(steps) is None


def test_more_holes_than_are_allowed_are_the_way_of_the_source() -> None:
    steps = ([STEP] * 7 + [2 * STEP]) * 10
    assert gaps_of(steps, most=0.1) is None
    assert gaps_of(steps, most=0.3) == Gaps(count=10, frames=10, longest=2 * STEP, at=7 + 7 * STEP)
