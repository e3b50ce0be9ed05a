"""The edges of the overlaid video: clocks, gaps, durations, muxers' options, encoders that fail, streams that are lost.

Most of it looks at one decision of `VideoSink` at a time, without a file or with one of a few frames.
"""

from __future__ import annotations

import dataclasses
import io
import os
import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from av.sidedata.sidedata import Type
from media import make_video
from test_remux import sound_of, with_sound
from test_sinks import QUICK, made_batch, made_info, overlaid, shown_times, sound

from vidsal.decode import open_video
from vidsal.errors import ConfigError, EncodeError
from vidsal.frames import Picture, SaliencyBatch
from vidsal.render import RenderOptions
from vidsal.sinks import VideoOptions, VideoSink, remux, video
from vidsal.sinks.containers import IS_PYAV_18
from vidsal.sinks.marks import _WORDS, hdr_parameters, lost_marks
from vidsal.sinks.remux import Span
from vidsal.sinks.video import _encoder_options, _pixel_format, _reason, _takes_captions, _why

LIGHT = VideoOptions(preset="ultrafast", encoder_threads=1)
"""Quick to open."""


def made_sink(tmp_path: Path, name: str = "out.mp4", **info: Any) -> VideoSink:
    return VideoSink(tmp_path / name, made_info(**info), video=LIGHT)


def copier(*streams: Any, start: Fraction | None = None, video_start: int = 0, raw: bool = False) -> Any:
    return SimpleNamespace(
        streams=streams, start=start, video_start=Fraction(video_start), has_raw_aac=raw, close=lambda: None
    )


def audio(rate: int | None) -> Any:
    return SimpleNamespace(type="audio", codec_context=SimpleNamespace(sample_rate=rate))


# --- what the muxer is told ---


def test_a_file_is_flushed_in_pieces_while_it_is_written_and_not_when_it_is_written_once_more(tmp_path: Path) -> None:
    sink = made_sink(tmp_path)
    pieces = {"flush_packets": "1", "max_interleave_delta": "2000000"}
    assert sink._muxing(".mkv", None) == pieces | {"cluster_time_limit": "1000"}
    assert sink._muxing(".mkv", None, True) == {}
    edits = {"use_editlist": "1", "avoid_negative_ts": "disabled", "movie_timescale": "90000"}
    delay = "+delay_moov" if av.library_versions["libavformat"] >= (62, 12) else ""
    for suffix in (".mp4", ".mov"):
        fragments = {"movflags": f"hybrid_fragmented{delay}", "frag_duration": "500000"}
        assert sink._muxing(suffix, None) == pieces | fragments | edits
        assert sink._muxing(suffix, None, True) == edits
    for raw, flags in ((False, f"hybrid_fragmented{delay}"), (True, "hybrid_fragmented")):
        assert sink._muxing(".mp4", copier(audio(48000), raw=raw))["movflags"] == flags


@pytest.mark.parametrize(
    ("streams", "clock"),
    [
        ([], 90000),
        ([audio(48000)], 720_000),
        ([audio(48000), audio(8000)], 720_000),
        ([audio(8000), audio(48000)], 720_000),
        ([audio(None)], 90000),
        ([SimpleNamespace(type="audio", codec_context=None)], 90000),
        ([SimpleNamespace(type="data", codec_context=None)], 90000),
        ([SimpleNamespace(type="video", codec_context=SimpleNamespace(sample_rate=48000))], 90000),
        # Finer than a microsecond: what 31 bits cannot count for long.
        ([audio(44100)], 90000),
        ([audio(1_000_000)], 90000),
    ],
)
def test_the_clock_of_a_file_divides_those_of_its_streams_unless_that_is_too_fine(
    tmp_path: Path, streams: list[Any], clock: int
) -> None:
    assert made_sink(tmp_path)._muxing(".mp4", copier(*streams))["movie_timescale"] == str(clock)


def test_a_clock_of_a_microsecond_is_not_too_fine(tmp_path: Path) -> None:
    sink = made_sink(tmp_path)
    sink._time_base = Fraction(1, 1000)
    assert sink._muxing(".mp4", copier(audio(1_000_000)))["movie_timescale"] == "1000000"
    sink._time_base = Fraction(1, 25)
    assert sink._muxing(".mp4", copier(audio(None)))["movie_timescale"] == "25"


# --- times ---


def test_a_time_is_that_of_the_container_or_that_of_the_batch_after_the_start_of_the_source(tmp_path: Path) -> None:
    sink = made_sink(tmp_path)
    bare, timed = Picture(rgb=np.zeros), Picture(rgb=np.zeros, pts=7, time_base=Fraction(1, 25))
    assert sink._ticks(timed, 1.0) == 7 * 3600
    assert sink._ticks(bare, 1.5) == 135_000
    assert sink._ticks(dataclasses.replace(timed, pts=None), 1.5) == 135_000
    assert sink._ticks(dataclasses.replace(timed, time_base=None), 1.5) == 135_000
    sink._copier = copier(video_start=2)
    assert sink._ticks(bare, 1.5) == 315_000


@pytest.mark.parametrize(
    ("duration", "end", "pts", "lasts"),
    [
        (None, None, 0, 3600),
        (2, None, 0, 7200),
        # A day is possible, more is a damaged time.
        (25 * 86_400, None, 0, 90_000 * 86_400),
        (25 * 86_400 + 1, None, 0, 3600),
        (None, Fraction(1), 0, 3600),
        # The end of the part is 1 s after the shift of 10.
        (None, Fraction(11), 88_200, 1800),
        (100, Fraction(11), 0, 90_000),
        (100, Fraction(11), 45_000, 45_000),
        (None, Fraction(11), 90_000, 1),
        (None, Fraction(11), 99_000, 1),
        (None, Fraction(11) + Fraction(1, 100_000), 89_999, 1),
    ],
)
def test_a_picture_lasts_no_longer_than_the_part(
    tmp_path: Path, duration: int | None, end: Fraction | None, pts: int, lasts: int
) -> None:
    sink = made_sink(tmp_path)
    sink._step = 3600
    shift = Fraction(10) if end is None or end > 10 else Fraction(0)
    sink._window = Span(shift=shift, start=None, end=end)
    picture = Picture(rgb=np.zeros, duration=duration, time_base=Fraction(1, 25))
    assert sink._duration(picture, pts) == lasts


def test_a_duration_without_a_clock_is_none(tmp_path: Path) -> None:
    sink = made_sink(tmp_path)
    assert sink._duration(Picture(rgb=np.zeros, duration=5), 0) == 0


@pytest.mark.parametrize(
    ("rate", "time_base", "step"),
    [(Fraction(25), 1000, 40), (Fraction(30), 1000, 33), (Fraction(1000), 90, 1), (None, 1000, 0)],
)
def test_a_rate_gives_how_long_a_picture_is_shown(
    tmp_path: Path, rate: Fraction | None, time_base: int, step: int
) -> None:
    with made_sink(tmp_path, "out.mkv", rate=rate, time_base=Fraction(1, time_base)) as sink:
        sink.write(made_batch([0.0]))
        assert sink._step == step


def test_frames_are_moved_only_where_they_do_not_come_later(tmp_path: Path) -> None:
    with made_sink(tmp_path) as sink:
        sink.write(made_batch([0.0, 0.001, 0.001, 0.0, 0.004], pts=[0, 1, 1, 0, 4]))
    assert shown_times(sink.path) == [Fraction(i, 1000) for i in range(5)]
    assert sink.messages == ["2 frames were not later than the frame before: moved just after it"]


def test_a_jump_is_counted_from_the_picture_before(tmp_path: Path) -> None:
    """Not from 0, and with what to do about it."""
    with pytest.raises(EncodeError) as caught, made_sink(tmp_path) as sink:
        sink.write(made_batch([50.0, 5_000_050.0], pts=[50_000, 5_000_050_000]))
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'out.partial.mp4'}: the source's clock jumps by 5000000 seconds between two frames; "
        "choose a part of it with start_seconds and end_seconds, or repair its times"
    )


def test_gaps_are_those_between_two_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gaps: list[int] = []
    monkeypatch.setattr(VideoSink, "_is_too_long", lambda self, ticks: gaps.append(ticks))
    with made_sink(tmp_path) as sink:
        sink.write(made_batch([0.01, 0.04, 0.09], pts=[10, 40, 90]))
    assert gaps == [30, 50]


def test_a_clock_finer_than_a_microsecond_is_one_of_microseconds(tmp_path: Path) -> None:
    sink = made_sink(tmp_path, time_base=Fraction(1, 3_000_000))
    with sink:
        sink.write(made_batch([0.0, 0.04]))
    assert (sink._time_base, sink._last_pts) == (Fraction(1, 1_000_000), 40_000)
    assert shown_times(sink.path) == [0, Fraction(1, 25)]


@pytest.mark.parametrize("clock", [Fraction(1, 1000), Fraction(1, 16000), None])
def test_the_longest_gap_is_one_of_31_bits(tmp_path: Path, clock: Fraction | None) -> None:
    sink = made_sink(tmp_path)
    sink._time_base, sink._stream = Fraction(1, 1000), SimpleNamespace(time_base=clock)
    longest = (2**31 - 2**16) // (16 if clock == Fraction(1, 16000) else 1)
    assert not sink._is_too_long(longest)
    assert sink._is_too_long(longest + 1)


@pytest.mark.parametrize(
    ("pts", "start", "shift", "said"),
    [
        ([100, 140], 0.0, 0, []),
        ([100, 140], 5.0, 100, []),
        ([0, 40], 5.0, 0, []),
        ([-100, -60], 5.0, -100, ["the source's times begin below 0; all streams are moved to begin the video at 0"]),
        ([-100, -60], 0.0, -100, ["the source's times begin below 0; all streams are moved to begin the video at 0"]),
        ([61_500, 61_540], 0.0, 61_500, ["the source's times begin at 61.500 seconds; the result begins at 0"]),
        ([61_500, 61_540], 5.0, 61_500, []),
    ],
)
def test_where_time_begins_is_said_where_it_is_moved(
    tmp_path: Path, pts: list[int], start: float, shift: int, said: list[str]
) -> None:
    with VideoSink(tmp_path / "out.mkv", made_info(), video=LIGHT, start_seconds=start) as sink:
        sink.write(made_batch([0.0, 0.04], pts=pts))
    assert sink._shift == shift
    assert sink.messages == said
    assert shown_times(sink.path) == [Fraction(time - shift, 1000) for time in pts]


@pytest.mark.parametrize(
    ("start", "end", "window"),
    [
        (0.0, None, (0, None, None)),
        (0.0, 2.5, (0, None, Fraction("3.501"))),
        # 40 pictures after 0, and 10 after the source's first, which is 1.001 s after 0.
        (0.25, None, (Fraction("40.04") / 30, Fraction("40.04") / 30, None)),
        (0.25, 2.5, (Fraction("40.04") / 30, Fraction("40.04") / 30, Fraction("3.501"))),
    ],
)
def test_a_part_is_counted_from_the_first_picture_of_the_source_on_the_clock_of_the_source(
    tmp_path: Path, start: float, end: float | None, window: tuple[Fraction, Fraction | None, Fraction | None]
) -> None:
    info = made_info(kind="video", path=make_video(tmp_path / "in.mp4", frames=2))
    sink = VideoSink(tmp_path / "out.mp4", info, video=LIGHT, start_seconds=start, end_seconds=end)
    with sink:
        batch = made_batch([10 * 1001 / 30000], pts=[0])
        picture = dataclasses.replace(batch.pictures[0], pts=40, time_base=Fraction(1001, 30000))
        sink.write(dataclasses.replace(batch, pictures=(picture,)))
        assert sink._window is not None
        assert (sink._window.shift, sink._window.start, sink._window.end) == window


@pytest.mark.parametrize(("sound_begins", "moved"), [(Fraction(59), 0), (Fraction(121, 2), 60_500), (None, 61_500)])
def test_a_result_begins_at_0_where_the_earliest_of_all_streams_begins_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound_begins: Fraction | None, moved: int
) -> None:
    monkeypatch.setattr(video.Copier, "start", sound_begins)
    info = made_info(kind="video", path=make_video(tmp_path / "in.mp4", frames=2))
    with VideoSink(tmp_path / "out.mp4", info, video=LIGHT) as sink:
        sink.write(made_batch([0.0, 0.04], pts=[61_500, 61_540]))
    assert shown_times(sink.path) == [Fraction(time - moved, 1000) for time in (61_500, 61_540)]
    begin = f"the source's times begin at {moved / 1000:.3f} seconds; the result begins at 0"
    assert sink.messages == ([begin] if moved else [])


# --- packets ---


def packet(pts: int, dts: int | None) -> Any:
    return SimpleNamespace(pts=pts, dts=dts, duration=0, time_base=Fraction(1, 1000))


@pytest.mark.parametrize(
    ("suffix", "last", "first", "end", "dts", "lasts", "base"),
    [
        # In order: it lasts until the end.
        (".mp4", (80, 80), (0, 0), 120, 80, 40, 90000),
        # Coded one picture early, and shown before the last picture: no longer than until the end of all.
        (".mp4", (80, 40), (0, -40), 160, 40, 80, 90000),
        # Decoded 40 before it is shown, which is when all end: it moves as far as it can.
        (".mp4", (80, 40), (0, 0), 120, 80, 40, 90000),
        (".mp4", (80, 40), (0, 0), 100, 80, 20, 90000),
        # Decoding goes beyond the end.
        (".mp4", (80, 80), (40, 0), 100, 80, 1, 90000),
        # Nothing ends it there in a file of several pieces.
        (".mp4", (80, 80), (40, 0), 100, 80, 20, 100),
        # Another picture is shown after it.
        (".mp4", (80, 40), (0, -40), 140, 40, 60, 100),
        (".mkv", (80, 40), (0, 0), 120, 40, 0, 90000),
    ],
)
def test_the_last_packet_lasts_until_all_pictures_are_shown(
    tmp_path: Path,
    suffix: str,
    last: tuple[int, int],
    first: tuple[int, int],
    end: int,
    dts: int,
    lasts: int,
    base: int,
) -> None:
    sink = made_sink(tmp_path, f"out{suffix}")
    sink._time_base = Fraction(1, base)
    packets = [packet(*first), packet(*last)]
    sink._stream = SimpleNamespace(encode=lambda frame: packets)
    sink._last_pts, sink._end = 80, end
    assert sink._last_packets() == packets
    assert (packets[1].dts, sink._durations.get(80, 0)) == (dts, lasts)
    assert packets[0].dts == first[1]


def test_packets_that_wait_are_counted_from_the_first_that_was_written(tmp_path: Path) -> None:
    sink = made_sink(tmp_path)
    packets = [packet(80, 80)]
    sink._stream = SimpleNamespace(encode=lambda frame: packets)
    sink._first, sink._last_pts, sink._end = (0, 0), 80, 100
    sink._durations[80] = 15
    sink._last_packets()
    assert (packets[0].dts, sink._durations) == (80, {80: 20})
    for unset in ([packet(80, None)], [packet(40, None), packet(80, 80)], []):
        packets = unset
        sink._durations.clear()
        sink._last_packets()
        assert sink._durations == {}


def test_a_packet_without_a_time_of_decoding_gets_that_of_showing(tmp_path: Path) -> None:
    sink = made_sink(tmp_path)
    written: list[tuple[int, int, int]] = []
    until: list[Fraction | None] = []
    sink._out = SimpleNamespace(mux=lambda one: written.append((one.pts, one.dts, one.duration)))
    sink._copier = copier()
    sink._copier.copy_until = until.append
    sink._durations = {40: 7}
    limit = 2**31 - 2**16
    sink._mux([packet(0, None), packet(40, 20), packet(80, 80 - limit), packet(120, 119 - limit)])
    assert written == [(0, 0, 0), (40, 20, 7), (80, 80 - limit, 0), (120, 120, 0)]
    assert until == [0, Fraction(20, 1000), Fraction(80 - limit, 1000), Fraction(120, 1000)]
    assert (sink._first, sink._packets, sink._durations) == ((0, 0), 4, {})
    sink._out = None


@pytest.mark.parametrize(("refused", "kept"), [(True, True), (False, False), (None, False)])
def test_a_muxers_refusal_is_kept_for_the_end_where_a_copied_stream_may_be_its_cause(
    tmp_path: Path, refused: bool | None, kept: bool
) -> None:
    sink = made_sink(tmp_path)
    error = av.error.ArgumentError(22, "Invalid argument")
    until: list[Fraction | None] = []

    def mux(one: Any) -> None:
        raise error

    sink._out = SimpleNamespace(mux=mux)
    if refused is not None:
        sink._copier = copier()
        sink._copier.refused, sink._copier.copy_until = lambda: refused, until.append
    if kept:
        sink._mux([packet(40, 40)])
        assert sink._refusal is error
        assert until == [Fraction(40, 1000)]
    else:
        with pytest.raises(av.error.ArgumentError):
            sink._mux([packet(40, 40)])
        assert sink._refusal is None
    sink._out = None


def test_a_full_disk_is_no_muxers_refusal(tmp_path: Path) -> None:
    sink = made_sink(tmp_path)

    def mux(one: Any) -> None:
        raise av.error.OSError(28, "No space left on device")

    sink._out, sink._copier = SimpleNamespace(mux=mux), copier()
    sink._copier.refused = lambda: True
    with pytest.raises(av.error.OSError):
        sink._mux([packet(40, 40)])
    sink._out = None


# --- files that cannot be ended ---


@pytest.mark.parametrize(
    ("works", "tried", "left", "lost"),
    [
        ([0, 1, 2], [[0, 1, 2]], 2, None),
        ([0, 2], [[0, 1, 2], [0, 2]], 1, "A"),
        ([0, 1], [[0, 1, 2], [0, 2], [0, 1]], 1, "B"),
        ([0], [[0, 1, 2], [0, 2], [0, 1], [0]], 0, "A, B"),
    ],
)
@pytest.mark.parametrize("fails", [av.error.ArgumentError(22, "x"), ValueError("x"), IndexError("x"), None])
def test_a_file_is_tried_without_one_copied_stream_after_another_and_then_without_any(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    works: list[int],
    tried: list[list[int]],
    left: int,
    lost: str | None,
    fails: Exception | None,
) -> None:
    sink = made_sink(tmp_path)
    sink._packets = 5
    attempts = []

    def rewrite(kept: Any) -> int:
        attempts.append(list(kept))
        if list(kept) == works:
            return 5
        if fails is not None:
            raise fails
        return 4  # a picture is missing

    monkeypatch.setattr(sink, "_rewrite", rewrite)
    failure = av.error.ArgumentError(22, "Invalid argument")
    assert sink._without_the_unwritable(["A", "B"], failure) == left
    assert attempts == tried
    assert sink.messages == ([] if lost is None else [f"left out, as writing it failed (Invalid argument): {lost}"])
    works = [9]
    with pytest.raises(av.error.ArgumentError) as caught:
        sink._without_the_unwritable(["A", "B"], failure)
    assert caught.value is failure


def test_a_full_disk_ends_the_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = made_sink(tmp_path)
    attempts = []

    def rewrite(kept: Any) -> int:
        attempts.append(kept)
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(sink, "_rewrite", rewrite)
    with pytest.raises(OSError, match="No space"):
        sink._without_the_unwritable(["A", "B"], ValueError())
    assert len(attempts) == 1


def test_a_file_that_is_written_once_more_has_all_that_stays_and_no_less(tmp_path: Path) -> None:
    plain = make_video(tmp_path / "plain.mp4", frames=6, audio_tracks=2)
    given = tmp_path / "out.partial.mp4"
    chapter = {"id": 1, "start": 0, "end": 100, "time_base": Fraction(1, 1000), "metadata": {"title": "C"}}
    with av.open(str(plain)) as source, av.open(str(given), "w") as out:
        copies = [out.add_stream_from_template(stream, opaque=True) for stream in source.streams]
        out.metadata["title"] = "T"
        out.set_chapters([chapter])
        for each in source.demux():
            if each.size:
                each.stream = copies[each.stream.index]
                out.mux(each)
    before, first, second = given.read_bytes(), sound(given, 1), sound(given, 2)
    plain.rename(tmp_path / "linked")
    (tmp_path / "out.partial.2.mp4").symlink_to(tmp_path / "linked")
    kept = (tmp_path / "linked").read_bytes()
    sink = made_sink(tmp_path)
    sink._packets = 7
    assert sink._rewrite([0, 2]) == 6
    assert given.read_bytes() == before  # a picture would be missing
    assert (tmp_path / "linked").read_bytes() == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["linked", "out.partial.mp4"]
    sink._packets = 6
    assert sink._rewrite([0, 2]) == 6
    assert sound(given, 1) == second != first
    assert b"moof" not in given.read_bytes()  # whole, not in pieces
    with av.open(str(given)) as container:
        assert [stream.type for stream in container.streams][:2] == ["video", "audio"]
        assert len(container.streams.audio) == 1
        assert container.metadata["title"] == "T"
        assert [each["metadata"]["title"] for each in container.chapters()] == ["C"]
    # What comes late goes in beside the pictures, and then the rest of it.
    sink._window, asked = Span(Fraction(0), None, None), []
    late: Any = SimpleNamespace(attach=lambda *_, **__: None, copy_until=asked.append)
    assert sink._rewrite([0], late=late) == 6
    assert asked == [*(Fraction(i, 25) for i in range(6)), None]


def test_sound_that_is_added_at_the_end_lies_among_the_pictures_and_its_lost_tags_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = with_sound(tmp_path / "plain.mkv", "ac3", form="fltp", seconds=1, at=0.6)
    with av.open(str(plain)) as source, av.open(str(tmp_path / "in.mkv"), "w") as out:
        copies = [out.add_stream_from_template(stream, opaque=True) for stream in source.streams]
        copies[1].metadata["MICROPHONE"] = "M7"
        for each in source.demux():
            if each.size:
                each.stream = copies[each.stream.index]
                out.mux(each)
    monkeypatch.setattr(remux, "_LONGEST_LAG_SECONDS", Fraction(1, 2))
    sink = overlaid(tmp_path / "in.mkv", tmp_path / "out.mp4", video=LIGHT)
    assert sink._late == [1]
    assert sink.messages == ["tags that a .mp4 file cannot hold are left out: MICROPHONE of audio stream 1 (ac3)"]
    with av.open(str(sink.path)) as container:
        order = [(each.pos, each.stream.index) for each in container.demux() if each.size]
    kinds = [index for _, index in sorted(order)]
    assert kinds[0] == 0 and kinds.index(1) < len(kinds) - 1 - kinds[::-1].index(0)


@pytest.mark.parametrize("broken", [False, True])
def test_a_file_is_closed_whatever_fails_at_its_end(tmp_path: Path, broken: bool) -> None:
    sink = made_sink(tmp_path)
    done = []

    def encode(frame: Any) -> Any:
        done.append("flush")
        raise av.error.ExternalError(1, "Generic error")

    sink._out = SimpleNamespace(close=lambda: done.append("close"))
    sink._stream = SimpleNamespace(encode=encode)
    sink._broken, sink._bumped = broken, 2
    if broken:
        sink._close(complete=True)
        assert done == ["close"]
    else:
        with pytest.raises(EncodeError, match=r"cannot write .*out\.partial\.mp4: Generic error"):
            sink._close(complete=True)
        assert done == ["flush", "close"]
    sink._close(complete=True)
    assert done.count("close") == 1
    assert sink.messages == ["2 frames were not later than the frame before: moved just after it"]


@pytest.mark.parametrize(("complete", "broken"), [(True, False), (True, True), (False, False)])
def test_only_a_whole_file_gets_what_comes_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complete: bool, broken: bool
) -> None:
    sink, done = made_sink(tmp_path), []
    sink._out = SimpleNamespace(close=lambda: done.append("closed"))
    sink._stream = SimpleNamespace(encode=lambda frame: [])
    sink._copier, sink._broken = copier(), broken
    sink._copier.copy_until = lambda seconds: done.append("copied")
    monkeypatch.setattr(VideoSink, "_finish_copies", lambda self: done.append("finished"))
    monkeypatch.setattr(VideoSink, "_keep_tags", lambda self: done.append("tags kept"))
    sink._close(complete=complete)
    assert done == (["copied", "finished", "tags kept"] if complete and not broken else ["closed"])


def test_an_end_that_fails_is_an_error_where_nothing_is_copied(tmp_path: Path) -> None:
    sink = made_sink(tmp_path)

    def close() -> None:
        raise av.error.ArgumentError(22, "Invalid argument")

    sink._out = SimpleNamespace(close=close)
    with pytest.raises(av.error.ArgumentError):
        sink._finish_copies()
    sink._out = None


def test_a_full_disk_at_the_end_is_no_stream_that_cannot_be_written(tmp_path: Path) -> None:
    sink = made_sink(tmp_path)

    def close() -> None:
        raise av.error.OSError(28, "No space left on device")

    sink._out, sink._copier = SimpleNamespace(close=close), copier()
    with pytest.raises(OSError, match="No space"):
        sink._finish_copies()
    sink._out = None


@pytest.mark.parametrize(
    ("encoder", "subtitles", "opened"), [("libx264", False, 1), ("libx264", True, 2), ("no_such", False, 1)]
)
def test_a_source_that_is_opened_once_more_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: str, subtitles: bool, opened: int
) -> None:
    source = make_video(tmp_path / "in.mp4", frames=2, subtitles=subtitles)
    make, close = video.Copier.__init__, video.Copier.close
    made: list[Any] = []
    closed: list[Any] = []
    monkeypatch.setattr(
        video.Copier, "__init__", lambda self, *some, **more: (made.append(self), make(self, *some, **more))[1]
    )
    monkeypatch.setattr(video.Copier, "close", lambda self: (closed.append(self), close(self))[1])
    options = VideoOptions(encoder=encoder, preset="ultrafast")
    if encoder == "no_such":
        with pytest.raises(ConfigError):
            VideoSink(tmp_path / "out.mp4", made_info(kind="video", path=source), video=options)
    else:
        with VideoSink(tmp_path / "out.mp4", made_info(kind="video", path=source), video=options) as sink:
            sink.write(made_batch([0.0], pts=[0]))
    assert len(made) == opened
    assert set(map(id, closed)) == set(map(id, made))


def test_a_full_disk_while_a_late_stream_is_added_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_video(tmp_path / "in.mp4", frames=2, subtitles=True)

    def full(self: VideoSink, kept: Any, *, late: Any = None) -> int:
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(VideoSink, "_rewrite", full)
    with pytest.raises(EncodeError, match="the disk is full"):
        overlaid(source, tmp_path / "out.mp4", video=LIGHT)


# --- encoders ---


def test_an_encoder_that_is_none_is_an_error_that_says_what_to_use(tmp_path: Path) -> None:
    end = "use encoder=libx264 or another one that this machine has"
    for encoder, error, said in (
        ("no_such", ConfigError, f"the encoder 'no_such' is not in this build of FFmpeg; {end}"),
        ("aac", ConfigError, f"the encoder 'aac' is one for audio, not for video; {end}"),
        ("srt", ConfigError, f"the encoder 'srt' is one for subtitle, not for video; {end}"),
        ("prores_ks", EncodeError, "the encoder 'prores_ks' makes prores, which a .mp4 file cannot hold: take "
            f"container=mov or container=mkv, or {end}"),
        ("qtrle", EncodeError, "the encoder 'qtrle' (preset 'fast', crf 20) cannot make a 64x48 .mov video here: "
            f"it takes neither 4:2:0 pictures of 8 bits (yuv420p) nor 4:2:2 ones; {end}"),
        ("h263", EncodeError, "the encoder 'h263' (preset 'fast', crf 20) cannot make a 64x48 .mov video here: "
            f"Invalid argument; {end}"),
    ):  # fmt: skip
        name = "out.mov" if ".mov video" in said else "out.mp4"
        with pytest.raises(error) as caught:
            VideoSink(tmp_path / name, made_info(), video=VideoOptions(encoder=encoder))
        assert str(caught.value) == said


def test_a_hardware_encoder_that_fails_is_said_to_need_its_device(tmp_path: Path) -> None:
    name = next((each for each in ("h264_v4l2m2m", "h264_nvenc", "h264_vaapi") if each in av.codecs_available), None)
    if name is None:
        pytest.skip("this build of FFmpeg has no hardware encoder")
    with pytest.raises(EncodeError) as caught:  # no device takes pictures this narrow
        VideoSink(tmp_path / "out.mp4", made_info(height=2, width=2), video=VideoOptions(encoder=name))
    assert str(caught.value).startswith(
        f"the hardware encoder {name!r} cannot be used here: it needs its device and driver, and a picture size that "
        "it supports (FFmpeg says: "
    )
    assert "avcodec" not in str(caught.value)  # the call that failed


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (av.error.ExternalError(1, "Generic error in an external library", "avcodec_open2()"), "Generic error in an "
            "external library"),
        (ValueError("told by PyAV"), "told by PyAV"),
        (None, "it failed"),
    ],
)  # fmt: skip
def test_an_automatic_encoder_says_why_the_device_encodes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: Exception | None, reason: str
) -> None:
    probe, tried = VideoSink._probe_encoder, []

    def failing(self: VideoSink) -> None:
        tried.append(self._video)
        if len(tried) == 1:
            raise EncodeError("it failed") from cause
        probe(self)

    monkeypatch.setattr(VideoSink, "_probe_encoder", failing)
    asked = VideoOptions(encoder="auto", preset="ultrafast", crf=30)
    sink = VideoSink(tmp_path / "out.mp4", made_info(), video=asked)
    assert sink.messages == [f"encoded by libx264: h264_nvenc cannot be used here ({reason})"]
    assert tried == [
        dataclasses.replace(asked, encoder="h264_nvenc", preset="p1"),
        dataclasses.replace(asked, encoder="libx264"),
    ]


@pytest.mark.parametrize("fails_at", [0, 1, None])
def test_an_encoder_is_tried_with_one_grey_picture_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int | None
) -> None:
    add = VideoSink._add_video
    encoded: list[Any] = []

    def encode(frame: Any) -> None:
        if len(encoded) == fails_at:
            raise av.error.ExternalError(1, "no device")
        encoded.append(frame)

    def adding(self: VideoSink, out: Any, time_base: Fraction) -> Any:
        add(self, out, time_base)
        return SimpleNamespace(encode=encode)

    monkeypatch.setattr(VideoSink, "_add_video", adding)
    if fails_at is None:
        made_sink(tmp_path, colorspace=1, color_range=1)
        frame, end = encoded
        assert (end, frame.pts, frame.duration) == (None, 0, 0)
        assert (frame.width, frame.height, frame.format.name) == (64, 48, "yuv420p")
        assert np.unique(frame.to_ndarray()).tolist() == [126, 128]  # of 16 to 235, and no colour
    else:
        with pytest.raises(EncodeError, match=r"64x48 \.mp4 video here: no device;"):
            made_sink(tmp_path)


def test_an_encoder_is_tried_with_the_header_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def __init__(self, out: Any) -> None:
            self._out = out

        def __getattr__(self, name: str) -> Any:
            return getattr(self._out, name)

        def __enter__(self) -> Refusing:
            return self

        def __exit__(self, *_: object) -> None:
            self._out.close()

        def start_encoding(self) -> None:
            raise ValueError("no header")

    opened = {"open": lambda *args, real=av.open, **options: Refusing(real(*args, **options))}
    monkeypatch.setattr(video, "av", SimpleNamespace(**vars(av) | opened))
    with pytest.raises(EncodeError, match="video here: no header;"):
        made_sink(tmp_path)


@pytest.mark.skipif("libsvtav1" not in av.codecs_available, reason="this build of FFmpeg has no libsvtav1")
def test_libsvtav1_is_told_to_be_quiet_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVT_LOG", "2")
    video = VideoOptions(encoder="libsvtav1", preset="12")
    sink = VideoSink(tmp_path / "out.mp4", made_info(height=64), video=video)
    assert os.environ["SVT_LOG"] == "2"
    monkeypatch.delenv("SVT_LOG")
    with av.open(io.BytesIO(), "w", format="mp4") as out:
        made_sink(tmp_path)._add_video(out, Fraction(1, 1000))
        assert "SVT_LOG" not in os.environ
        sink._add_video(out, Fraction(1, 1000))
        assert os.environ["SVT_LOG"] == "1"


def test_an_encoder_that_a_container_holds_needs_no_other(tmp_path: Path) -> None:
    sink = made_sink(tmp_path)
    assert sink._better_containers(av.Codec("mpeg4", "w")) == []
    assert "".join(map(str, sink._better_containers(av.Codec("dnxhd", "w")))) == "container=mov"


def test_an_encoder_is_told_all_that_the_source_says_of_its_pixels(tmp_path: Path) -> None:
    info = {"sample_aspect_ratio": Fraction(4, 3), "colorspace": 5, "color_range": 2, "color_primaries": 5}
    sink = VideoSink(
        tmp_path / "out.mp4",
        made_info(**info, color_trc=6, rate=Fraction(30)),
        video=VideoOptions(encoder_threads=20),
    )
    with av.open(io.BytesIO(), "w", format="mp4") as out:
        stream = sink._add_video(out, Fraction(1, 1234))
        context = stream.codec_context
        assert (context.width, context.height, context.pix_fmt) == (64, 48, "yuv420p")
        assert (context.time_base, stream.time_base) == (Fraction(1, 1234), Fraction(1, 1234))
        assert context.sample_aspect_ratio == Fraction(4, 3)
        assert (context.colorspace, context.color_range, context.color_primaries, context.color_trc) == (5, 2, 5, 6)
        assert context.thread_count == 20
        assert context.codec_tag != "hvc1"


@pytest.mark.skipif("libx265" not in av.codecs_available, reason="this build of FFmpeg has no libx265")
@pytest.mark.parametrize(("threads", "at_once"), [(0, None), (3, 3), (16, 16), (40, 16)])
def test_libx265_codes_16_pictures_at_once_at_most(tmp_path: Path, threads: int, at_once: int | None) -> None:
    video = VideoOptions(encoder="libx265", preset="ultrafast", encoder_threads=threads)
    sink = VideoSink(tmp_path / "out.mp4", made_info(), video=video)
    with av.open(io.BytesIO(), "w", format="mp4") as out:
        untouched = out.add_stream("libx265").codec_context.thread_count
        assert sink._add_video(out, Fraction(1, 90000)).codec_context.thread_count == (at_once or untouched)


def test_an_encoder_is_told_what_is_known_of_hdr_and_of_depth() -> None:
    marks = ["a=1", "b=2"]
    for name, told in (
        ("libx264", {"preset": "veryfast", "crf": "20", "x264-params": "a=1:b=2"}),
        ("libx265", {"preset": "fast", "crf": "20", "x265-params": "log-level=error:a=1:b=2", "a53cc": "1"}),
        ("prores", {"profile": "3"}),
        ("prores_aw", {"profile": "3"}),
        ("dnxhd", {"profile": "dnxhr_hq"}),
    ):
        assert _encoder_options(VideoOptions(encoder=name), marks=marks) == told
    # 25.4 times the quantiser at 12, rounded with a half added.
    coarse = {"flags": "+qscale", "global_quality": str(26 * 118)}
    assert _encoder_options(VideoOptions(encoder="mpeg4", crf=40)) == coarse
    assert _encoder_options(VideoOptions(encoder="libx264", encoder_threads=2)) == {"preset": "veryfast", "crf": "20"}


def test_captions_go_into_the_codes_that_have_a_place_for_them() -> None:
    taking = {
        name for name in ("libx264", "libx265", "mpeg2video", "h264_nvenc", "hevc_nvenc", "mpeg4", "libsvtav1", "ffv1")
        if _takes_captions(SimpleNamespace(name=name))
    }  # fmt: skip
    assert taking == {"libx264", "libx265", "mpeg2video", "h264_nvenc", "hevc_nvenc"}


def codec(*formats: str, name: str = "hevc") -> Any:
    forms = [SimpleNamespace(name=form) for form in formats]
    return SimpleNamespace(video_formats=forms or None, canonical_name=name)


@pytest.mark.parametrize(
    ("formats", "source", "chosen"),
    [
        ([], "yuv420p10le", "yuv420p"),
        (["p010le", "yuv420p"], "yuv420p10le", "p010le"),
        (["p010le", "yuv420p"], "yuv422p10le", "p010le"),
        (["p010le", "yuv422p10le"], "yuv420p10le", "p010le"),
        (["p010le", "yuv422p10le"], "gray10le", "p010le"),
        (["p010le", "yuv422p10le"], "yuv444p10le", "yuv422p10le"),
        (["yuv422p10le", "yuv420p10le", "yuv420p"], "yuv420p10le", "yuv420p10le"),
        (["yuv422p10le", "yuv420p10le", "p010le"], "yuv422p10le", "yuv422p10le"),
        (["yuv420p10le", "p010le"], "yuv422p10le", "yuv420p10le"),
        (["yuv422p", "yuv422p10le"], "yuv420p", "yuv422p"),
        (["yuv422p10le"], "yuv420p", "yuv422p10le"),
        (["yuv420p10le", "yuv422p"], "yuv420p", "yuv422p"),
        (["yuv422p", "yuv420p"], "yuv420p9le", "yuv420p"),
        (["yuv420p10le", "yuv420p"], "yuv420p9le", "yuv420p10le"),
    ],
)
def test_the_pixel_format_is_the_nearest_that_the_encoder_has(formats: list[str], source: str, chosen: str) -> None:
    assert _pixel_format(codec(*formats), made_info(pix_fmt=source)) == chosen


def test_the_bits_that_are_lost_are_said_with_a_way_to_keep_them_where_there_is_one(tmp_path: Path) -> None:
    for source, encoder, said in (
        ("yuv420p10le", "mpeg4", ["the 10 bits of the source's colours become 8; an encoder such as libx265 or "
            "prores_ks keeps 10"]),
        ("yuv420p12le", "prores_ks", ["the 12 bits of the source's colours become 10"]),
        ("yuv420p10le", "prores_ks", []),
        ("yuv420p", "prores_ks", []),
        ("yuv420p", "mpeg4", []),
        (None, "mpeg4", []),
        ("gray", "mpeg4", []),
    ):  # fmt: skip
        info = made_info(pix_fmt=source, time_base=Fraction(1, 1000))
        sink = VideoSink(tmp_path / "out.mov", info, video=VideoOptions(encoder=encoder))
        assert sink.messages == said
        assert sink._is_deep == (encoder == "prores_ks")


def test_pictures_with_captions_are_coded_as_the_encoder_likes_not_as_the_source_was(tmp_path: Path) -> None:
    carrier = av.VideoFrame(16, 16, "yuv420p")
    carrier.pict_type = 1
    batch = made_batch([0.0, 0.04, 0.08], pts=[0, 40, 80])
    pictures = tuple(dataclasses.replace(picture, captions=carrier) for picture in batch.pictures)
    with made_sink(tmp_path) as sink:
        sink.write(dataclasses.replace(batch, pictures=pictures))
    with av.open(str(sink.path)) as container:
        assert [bool(frame.key_frame) for frame in container.decode(video=0)] == [True, False, False]


def test_captions_that_are_left_out_are_said_once(tmp_path: Path) -> None:
    batch = made_batch([0.0, 0.04, 0.08], pts=[0, 40, 80])
    carrier = av.VideoFrame(16, 16, "yuv420p")
    pictures = tuple(dataclasses.replace(picture, captions=carrier) for picture in batch.pictures)
    info = made_info(time_base=Fraction(1, 1000))
    with VideoSink(tmp_path / "out.mp4", info, video=VideoOptions(encoder="mpeg4")) as sink:
        sink.write(dataclasses.replace(batch, pictures=pictures))
    assert sink.messages == ["closed captions are left out: mpeg4 does not write them; libx264 does"]
    assert len(shown_times(sink.path)) == 3


# --- what a source says of its pictures ---


def test_hdr_is_written_by_libx26_and_said_to_be_lost_by_others() -> None:
    unit = [50000, 10000]
    numbers = [n for value in (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450) for n in (value, unit[0])]
    mastering = struct.pack("=22i", *numbers, 50_000, unit[1], 10_000_000, unit[1], 1, 1)
    # FFmpeg may add to its structures at their end.
    side = {"MASTERING_DISPLAY_METADATA": mastering + b"more", "CONTENT_LIGHT_LEVEL": struct.pack("=3I", 1000, 400, 7)}
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50000)"
    assert hdr_parameters("libx264", side) == [f"mastering-display={display}", "cll=1000,400"]
    assert hdr_parameters("libx265", side) == [f"master-display={display}", "max-cll=1000,400"]
    assert hdr_parameters("mpeg4", side) == hdr_parameters("libx264", {}) == []
    further = side | {"DOVI_METADATA": b"", "DOVI_RPU_BUFFER": b"", "STEREO3D": b"", "A53_CC": b""}
    assert lost_marks("libx264", further) == ["Dolby Vision", "the mark of stereoscopic pictures"]
    both = ["the mastering display of HDR", "the light levels of HDR"]
    assert lost_marks("mpeg4", further) == [*both, "Dolby Vision", "the mark of stereoscopic pictures"]
    for flags in ((0, 1), (1, 0)):
        partial = struct.pack("=22i", *numbers, 50, unit[1], 10_000_000, unit[1], *flags)
        assert hdr_parameters("libx264", {"MASTERING_DISPLAY_METADATA": partial}) == []
    broken = struct.pack("=22i", *numbers[:-1], 0, 50, unit[1], 10_000_000, unit[1], 1, 1)
    assert hdr_parameters("libx264", {"MASTERING_DISPLAY_METADATA": broken}) == []


@pytest.mark.skipif(not IS_PYAV_18, reason="older versions of PyAV do not know all side data")
def test_marks_have_the_names_that_ffmpeg_gives_them() -> None:
    names = {kind.name for kind in Type}
    assert set(_WORDS) <= names
    assert len(lost_marks("mpeg4", dict.fromkeys(names, b""))) == len(set(_WORDS.values()))


def test_marks_that_the_encoder_does_not_write_are_said_to_be_lost(tmp_path: Path) -> None:
    sink = made_sink(tmp_path, side_data=(("AFD", b""), ("STEREO3D", b"")))
    lost = "the mark of stereoscopic pictures, the active format description"
    assert sink.messages == [f"left out, as libx264 does not write it: {lost}"]


# --- drawing ---


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 64), (48, 63), (47, 63)])
def test_an_odd_picture_repeats_its_last_row_or_column(tmp_path: Path, height: int, width: int) -> None:
    batch = made_batch([0.0], size=(height, width))
    grey = np.random.default_rng(0).integers(0, 255, (height, width, 1), np.uint8)
    object.__setattr__(batch.pictures[0], "rgb", lambda: np.repeat(grey, 3, axis=2))
    options, render = VideoOptions(encoder="ffv1"), RenderOptions(opacity=0)
    with VideoSink(tmp_path / "out.mkv", made_info(height=height, width=width), video=options, render=render) as sink:
        sink.write(batch)
    said = f"the video is 64x48 instead of {width}x{height}: sides must be even, so the last column or row is repeated"
    assert sink.messages == ([] if (height, width) == (48, 64) else [said])
    with av.open(str(sink.path)) as container:
        luma = next(container.decode(video=0)).to_ndarray()[:48]
    whole = np.pad(grey[..., 0], ((0, 48 - height), (0, 64 - width)), mode="edge")
    assert np.abs(luma - (16 + whole * (219 / 255))).max() < 2


# Luma of pure red and blue, as ITU-R BT.709, FCC, BT.470 and BT.601, SMPTE 240M, and BT.2020 define it.
MATRICES = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087)}
MATRICES |= {9: (0.2627, 0.0593)} if hasattr(av.video.reformatter.Colorspace, "BT2020") else {}


@pytest.mark.parametrize(("matrix", "weights"), MATRICES.items())
def test_pictures_are_converted_with_the_matrix_that_they_are_tagged_with(
    tmp_path: Path, matrix: int, weights: tuple[float, float]
) -> None:
    sink = made_sink(tmp_path, colorspace=matrix, color_range=2)
    for color, weight in zip(((255, 0, 0), (0, 0, 255)), weights, strict=True):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), color, np.uint8), format="rgb24")
        assert np.abs(sink._to_yuv(frame).to_ndarray()[:48] - 255 * weight).max() < 0.6


def test_pictures_of_16_bits_are_asked_for_only_where_more_than_8_are_written(tmp_path: Path) -> None:
    for encoder, deep in (("mpeg4", False), ("prores_ks", True)):
        asked = []

        def plain(asked: list[str] = asked) -> Any:
            asked.append("rgb")
            return np.zeros((48, 64, 3), np.uint8)

        def fine(asked: list[str] = asked) -> Any:
            asked.append("deep")
            return np.zeros((48, 64, 3), np.uint16)

        batch = made_batch([0.0])
        batch = dataclasses.replace(batch, pictures=(Picture(rgb=plain, deep_rgb=fine),))
        info = made_info(pix_fmt="yuv422p10le", time_base=Fraction(1, 1000))
        with VideoSink(tmp_path / f"{encoder}.mov", info, video=VideoOptions(encoder=encoder)) as sink:
            sink.write(batch)
        assert asked == ["deep" if deep else "rgb"]


def test_a_cuda_device_draws_in_the_matrix_and_range_of_the_source_unless_more_than_8_bits_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[torch.device, dict[str, Any]]] = []
    monkeypatch.setattr(video, "DeviceDrawer", lambda device, **options: made.append((device, options)) or "drawer")
    device, render = torch.device("cuda"), RenderOptions(side_by_side=True)
    for color_range, full in ((2, True), (1, False)):
        made.clear()
        info = made_info(colorspace=5, color_range=color_range, height=47)
        sink = VideoSink(tmp_path / "out.mp4", info, video=LIGHT, render=render, device=device)
        told = {"render": render, "size": (48, 128), "colorspace": 5, "full_range": full}
        assert (made, sink._drawer) == ([(device, told)], "drawer")
    deep = made_info(pix_fmt="yuv422p10le", time_base=Fraction(1, 1000))
    sink = VideoSink(tmp_path / "out.mov", deep, video=VideoOptions(encoder="prores_ks"), device=device)
    assert sink._drawer is None


# --- words and tags ---


def test_why_a_stream_is_not_held_depends_on_whether_players_agree_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "describe", str)
    monkeypatch.setattr(video, "is_understood", lambda suffix, stream: suffix == ".mp4" and stream in "AB")
    assert _why(".MP4", ["A", "B"]) == "a .MP4 file cannot hold A, B"
    assert _why(".mp4", ["C", "D"]) == "in a .mp4 file players do not agree on C, D"
    assert _why(".mp4", ["A", "C"]) == "a .mp4 file cannot hold A; in a .mp4 file players do not agree on C"


def test_the_reason_of_an_error_is_ffmpegs_words_or_those_of_the_error() -> None:
    assert _reason(av.error.ArgumentError(22, "Invalid argument", "x.mp4")) == "Invalid argument"
    assert _reason(ValueError("told by PyAV")) == "told by PyAV"


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_how_the_result_comes_about_stands_in_the_file(tmp_path: Path, name: str) -> None:
    source = make_video(tmp_path / "in.mp4", frames=2)
    for path, text in ((source, '{"a": 1}'), (None, '{"a": 1}'), (None, "")):
        sink = VideoSink(tmp_path / name, made_info(path=path, kind="video"), video=LIGHT, overwrite=True)
        sink.provenance = text
        with sink:
            sink.write(made_batch([0.0], pts=[0]))
        with av.open(str(sink.path)) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
        assert tags.get("vidsal_run") == (text or None)
        assert sink.messages == []


def test_tags_that_have_no_place_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(video, "append_keys", lambda path, tags: asked.append(tags))
    for name in ("out.mp4", "out.MKV"):
        sink = made_sink(tmp_path, name)
        sink._append({})
        assert sink.messages == []
        sink._append({"a": "1", "b": "2"})
        assert sink.messages == ["tags that the file cannot hold are left out: a, b"]
    assert asked == [{"a": "1", "b": "2"}]


def test_a_time_code_that_does_not_fit_the_rate_is_said_to_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = make_video(tmp_path / "out.partial.mp4", frames=2, metadata={"title": "A title"})
    result.write_bytes(result.read_bytes().replace(b"A title", b"A \xffitle"))  # no UTF-8
    monkeypatch.setattr(video, "append_keys", lambda path, tags: tags == {"more": "1"})
    sink = made_sink(tmp_path)
    sink._copier = copier()
    sink._copier.timecode, sink._copier.stream_tags = "01:00:00:00", []
    sink._copier.tags = {"timecode": "01:00:00:00", "more": "1"}
    sink._keep_tags()
    assert sink.messages == ["the time code 01:00:00:00 is left out: it does not fit the rate of the pictures"]
    sink.messages.clear()
    sink._copier.timecode = None
    sink._keep_tags()
    assert sink.messages == []


# --- other programmes, and where a source has to be read again ---


def test_streams_of_other_programmes_are_left_out_by_name(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=5, audio_tracks=2)
    with open_video(source, size=(12, 16), keep_pictures=True) as reader:
        info = dataclasses.replace(reader.info, other_programmes=(2,))
    with VideoSink(tmp_path / "out.mp4", info, video=LIGHT) as sink:
        sink.write(made_batch([0.0, 0.04], pts=[0, 40]))
    assert sink.messages == ["left out, as of other programmes: audio stream 2 (aac, deu)"]
    with av.open(str(sink.path)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


@pytest.mark.parametrize(("changed", "copied"), [({}, 1), ({"kind": "camera"}, 0), ({"path": None}, 0)])
def test_only_streams_of_a_file_are_copied(tmp_path: Path, changed: dict[str, Any], copied: int) -> None:
    source = make_video(tmp_path / "in.mp4", frames=2, audio_tracks=1)
    info = made_info(**({"kind": "video", "path": source} | changed))
    with VideoSink(tmp_path / "out.mp4", info, video=LIGHT) as sink:
        sink.write(made_batch([0.0], pts=[0]))
    with av.open(str(sink.path)) as container:
        assert len(container.streams.audio) == copied


@pytest.mark.parametrize("there", [True, False])
def test_another_container_than_was_asked_for_replaces_no_file_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    info = made_info(kind="video", path=make_video(tmp_path / "in.mp4", frames=2, audio_tracks=1))
    left_out = video.Copier.left_out_by
    monkeypatch.setattr(
        video.Copier,
        "left_out_by",
        lambda self, suffix, options: self.streams if suffix == ".mp4" else left_out(self, suffix, options),
    )
    if there:
        (tmp_path / "out.mov").write_bytes(b"kept")
        with pytest.raises(EncodeError, match=r"out\.mov exists already"):
            VideoSink(tmp_path / "out.mp4", info, video=LIGHT)
        assert (tmp_path / "out.mov").read_bytes() == b"kept"
    else:
        sink = VideoSink(tmp_path / "out.mp4", info, video=LIGHT)
        assert sink.path == tmp_path / "out.mov"
        said = "out.mov is written instead of out.mp4: a .mp4 file cannot hold audio stream 1 (aac, eng)"
        assert sink.messages == [said]


@pytest.mark.parametrize(
    ("not_held", "name", "said"),
    [
        (
            {".mp4": {1, 2}, ".mov": {2}, ".mkv": {2}},
            "out.mov",
            [
                "out.mov is written instead of out.mp4: a .mp4 file cannot hold audio stream 1 (aac, eng)",
                "left out, as a .mov file cannot hold it: audio stream 2 (aac, deu)",
            ],
        ),
        (
            {".mp4": {1}, ".mov": {2}, ".mkv": {1, 2}},
            "out.mp4",
            ["left out, as a .mp4 file cannot hold it: audio stream 1 (aac, eng)"],
        ),
    ],
)
def test_the_first_container_that_leaves_out_the_least_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, not_held: dict[str, set[int]], name: str, said: list[str]
) -> None:
    monkeypatch.setattr(
        video.Copier,
        "left_out_by",
        lambda self, suffix, options: [stream for stream in self.streams if stream.index in not_held[suffix]],
    )
    monkeypatch.setattr(video.Copier, "encodable", lambda *_: [])
    info = made_info(kind="video", path=make_video(tmp_path / "in.mp4", frames=2, audio_tracks=2))
    sink = VideoSink(tmp_path / "out.mp4", info, video=LIGHT)
    assert (sink.path.name, sink.messages) == (name, said)


def test_sound_that_begins_late_and_has_to_be_encoded_is_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = with_sound(tmp_path / "in.m2ts", "pcm_bluray", seconds=0.3, at=0.6)
    monkeypatch.setattr(remux, "_LONGEST_LAG_SECONDS", Fraction(1, 2))
    monkeypatch.setattr(video.Copier, "_may_begin_soon", lambda self, stream: True)  # as where no beginning is known
    sink = overlaid(source, tmp_path / "out.mp4", video=LIGHT)
    assert sound_of(sink.path) == (".mp4", "alac")
    assert sink._late == [1]
    assert [message.split(":")[0] for message in sink.messages] == ["encoded to ALAC (lossless)"]


def test_an_mp4_whose_ending_is_in_capitals_is_one_all_the_same(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=3, audio_tracks=1, subtitles=True)
    sink = overlaid(source, tmp_path / "OUT.MP4", video=QUICK)
    assert sink.path == tmp_path / "OUT.MP4"
    assert sink.messages == []
    with av.open(str(sink.path)) as container:
        assert "mp4" in container.format.name
        assert [stream.type for stream in container.streams] == ["video", "audio", "subtitle"]


@pytest.mark.parametrize(("name", "once_more"), [("out.mp4", 1), ("out.mkv", 0)])
def test_only_an_mp4_with_subtitles_is_written_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, once_more: int
) -> None:
    source = make_video(tmp_path / f"in{name[3:]}", frames=3, subtitles=True)
    rewrite, calls = VideoSink._rewrite, []
    monkeypatch.setattr(
        VideoSink, "_rewrite", lambda self, *args, **late: (calls.append(args), rewrite(self, *args, **late))[1]
    )
    sink = overlaid(source, tmp_path / name, video=LIGHT)
    assert len(calls) == once_more
    with av.open(str(sink.path)) as container:
        assert [stream.type for stream in container.streams] == ["video", "subtitle"]


def test_a_batch_needs_its_pictures(tmp_path: Path) -> None:
    batch: SaliencyBatch = dataclasses.replace(made_batch([0.0]), pictures=())
    with pytest.raises(ValueError, match="keep_pictures=True"), made_sink(tmp_path) as sink:
        sink.write(batch)
