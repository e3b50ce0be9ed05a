"""Clocks of damaged and spliced streams, to the tick: where one rule gives way to the next."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import pytest
from test_decode import HOUR, STEADY, Tick, clocked

from vidsal.decode import clock as clock_module
from vidsal.decode.clock import Clock
from vidsal.decode.contract import DecodeReport

FRAME = 3600
MOVED = [0, -HOUR, 3 * HOUR]
"""How far the clock of the stream has jumped before: not at all, back, or ahead."""


def after_ten(following: list[int | None], moved: int = 0) -> tuple[list[int], DecodeReport]:
    """What ten frames, ten more of a clock that has jumped and the frames after them become, from the last of the ten.

    Times are counted from the twentieth frame.
    """
    last = STEADY[19]
    times: list[int | None] = [*STEADY[:10], *(time + moved for time in STEADY[10:20])]
    out, report = clocked(times + [None if time is None else last + moved + time for time in following])
    assert out[:20] == STEADY[:20]
    return [time - last for time in out[20:]], report


def test_after_a_seek_the_clock_begins_with_the_frame_that_comes() -> None:
    clock = Clock("a.ts", Fraction(1, 90000), Fraction(25), DecodeReport())
    clock.begin(Tick(50 * HOUR))
    clock.restart()
    assert [ticks for _, ticks in clock.stamp([Tick(90000), Tick(93600)])] == [90000, 93600]
    clock.restart()
    assert [ticks for _, ticks in clock.stamp([Tick(None), Tick(3600)])] == [0, 3600]


def test_a_frame_without_a_time_follows_at_the_rate_and_that_is_said() -> None:
    out, report = after_ten([FRAME, None, 3 * FRAME])
    assert out == [FRAME, 2 * FRAME, 3 * FRAME]
    assert report.messages == ["frames without a timestamp follow the frame before at the stream's rate"]


def test_a_first_frame_without_a_time_begins_at_0_and_that_is_said() -> None:
    out, report = clocked([None, FRAME, 2 * FRAME])
    assert out == [0, FRAME, 2 * FRAME]
    assert report.messages == ["frames without a timestamp follow the frame before at the stream's rate"]


def test_frames_that_come_faster_than_the_ticks_are_a_tick_apart() -> None:
    clock = Clock("a.avi", Fraction(1, 25), Fraction(100), DecodeReport())
    clock.begin(Tick(None, None))
    assert [ticks for _, ticks in clock.stamp([Tick(None, None)] * 3)] == [1, 2, 3]


def test_a_pause_is_kept_where_the_rate_of_a_time_lapse_is_as_slow() -> None:
    slow = [2 * HOUR * frame for frame in (0, 1, 2, 10, 11)]  # of a frame in two hours
    assert clocked(slow, rate=Fraction(1, 7200)) == (slow, DecodeReport())


@pytest.mark.parametrize(("frame", "held"), [
    (Tick(None), False),
    (Tick(5 * FRAME), False),  # as long as a gap may be that nobody announced
    (Tick(5 * FRAME + 1), True),
    (Tick(-16 * FRAME), False),  # as far back as a decoder may put a frame
    (Tick(-16 * FRAME - 1), True),
])  # fmt: skip
def test_only_a_frame_of_a_doubtful_time_waits_for_the_next_one(frame: Tick, held: bool) -> None:
    read: list[Tick] = []

    def frames() -> Iterator[Tick]:
        for each in (frame, Tick(20 * FRAME)):
            read.append(each)
            yield each

    clock = Clock("a.ts", Fraction(1, 90000), Fraction(25), DecodeReport())
    clock.begin(Tick(0))
    assert next(clock.stamp(frames()))[0] is frame
    assert len(read) == (2 if held else 1)


@pytest.mark.parametrize(("gap", "mended"), [(20 * FRAME, 0), (20 * FRAME + 1, 1), (29 * FRAME, 1)])
def test_a_gap_of_twice_what_the_frame_before_announced_is_believed(gap: int, mended: int) -> None:
    report = DecodeReport()
    clock = Clock("a.ts", Fraction(1, 90000), Fraction(25), report)
    clock.begin(Tick(0, 10 * FRAME))
    list(clock.stamp([Tick(gap), Tick(11 * FRAME)]))
    assert report.mended_times == mended


@pytest.mark.parametrize("back", [0, 1, 5 * FRAME, 16 * FRAME])
def test_a_frame_that_is_not_later_comes_one_tick_after_the_one_before_and_that_is_said(back: int) -> None:
    out, report = after_ten([-back, FRAME])
    assert out == [1, FRAME]
    assert report.messages == ["frames that are not later than the one before are moved just after it"]
    assert report.mended_times == 0


@pytest.mark.parametrize("moved", MOVED)
def test_a_pause_of_an_hour_is_kept_and_a_longer_one_is_a_new_clock(moved: int) -> None:
    out, report = after_ten([HOUR, HOUR + FRAME], moved)
    assert out == [HOUR, HOUR + FRAME]
    assert len(report.messages) == (moved != 0)
    out, report = after_ten([HOUR + 1, HOUR + 1 + FRAME])
    assert out == [FRAME, 2 * FRAME]
    assert report.messages == [
        "times jump ahead by more than 3600 seconds during the video; from there on they are shifted to go on without "
        "a gap"
    ]


@pytest.mark.parametrize("moved", MOVED)
def test_a_pause_is_kept_whatever_time_the_frame_after_it_takes_within_an_hour(moved: int) -> None:
    assert after_ten([10 * FRAME, 10 * FRAME + HOUR, 10 * FRAME + HOUR + 1], moved)[0] == [
        10 * FRAME,
        10 * FRAME + HOUR,
        10 * FRAME + HOUR + 1,
    ]
    assert after_ten([10 * FRAME, 10 * FRAME, 11 * FRAME], moved)[0] == [10 * FRAME, 10 * FRAME + 1, 11 * FRAME]


@pytest.mark.parametrize("moved", MOVED)
def test_a_jump_back_is_a_new_clock_if_the_next_frame_is_nearer_to_it_than_to_the_frame_before(moved: int) -> None:
    back = -17 * FRAME
    out, report = after_ten([back, back + 9 * FRAME + 36, back + 10 * FRAME], moved)
    assert out == [FRAME, 10 * FRAME + 36, 11 * FRAME]
    assert report.mended_times == 0
    assert report.messages[-1] == (
        "times jump back during the video; from there on they are shifted to go on without a gap"
    )
    out, report = after_ten([back, back + 10 * FRAME + 36, 2 * FRAME], moved)
    assert out == [FRAME, FRAME + 1, 2 * FRAME]
    assert report.mended_times == 1


@pytest.mark.parametrize(
    ("next_one", "between"), [(FRAME, FRAME // 2), (3, 1), (2, 1), (FRAME + 1, FRAME), (2 * FRAME, FRAME)]
)
@pytest.mark.parametrize("moved", MOVED)
def test_a_damaged_time_is_put_before_the_next_one(next_one: int, between: int, moved: int) -> None:
    out, report = after_ten([90 * HOUR, next_one, 3 * FRAME], moved)
    assert out == [between, next_one, 3 * FRAME]
    assert report.mended_times == 1


def test_a_damaged_time_before_one_that_leaves_no_room_takes_its_own_place() -> None:
    assert after_ten([90 * HOUR, 1, 3 * FRAME])[0] == [FRAME, FRAME + 1, 3 * FRAME]


def test_as_many_times_are_mended_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "MAX_CORRUPT_TOTAL", 2)
    out, report = after_ten([90 * HOUR, 2 * FRAME, 90 * HOUR, 4 * FRAME])
    assert out == [FRAME, 2 * FRAME, 3 * FRAME, 4 * FRAME]
    assert report.mended_times == 2
