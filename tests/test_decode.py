"""The readers: every frame once with its own time, upright, in the right colours; damage counted, faults said."""

from __future__ import annotations

import contextlib
import functools
import http.server
import itertools
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import processes
import pytest
from media import (
    add_cover,
    concatenate,
    corrupt,
    make_audio,
    make_video,
    numbered_picture,
    read_number,
    square_picture,
    stream_packets,
    truncate,
    with_pts,
)

from vidsal.decode import DecodeOptions, Reader, VideoInfo, contract, open_video
from vidsal.decode import clock as clock_module
from vidsal.decode.clock import Clock
from vidsal.decode.contract import DecodedFrame, DecodeReport, Request
from vidsal.decode.images import natural_order
from vidsal.errors import ConfigError, DecodeError
from vidsal.frames import FrameBatch, Picture

AV_MAJOR = int(av.__version__.split(".", maxsplit=1)[0])
DECODERS = ("pyav", "decord", "opencv")


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest) -> str:
    if request.param == "decord":
        pytest.importorskip("decord")
    return str(request.param)


def read(
    source: Any, *, size: Any = None, keep_pictures: bool = False, **options: Any
) -> tuple[list[FrameBatch], Reader]:
    with open_video(source, options=DecodeOptions(**options), size=size, keep_pictures=keep_pictures) as reader:
        return list(reader), reader


def frames_of(batches: list[FrameBatch]) -> npt.NDArray[np.uint8]:
    return np.concatenate([batch.frames for batch in batches])


def times_of(batches: list[FrameBatch]) -> npt.NDArray[np.float64]:
    return np.concatenate([batch.pts_seconds for batch in batches])


def numbers_of(batches: list[FrameBatch]) -> list[int]:
    return [read_number(frame) for frame in frames_of(batches)]


def flat_picture(width: int, height: int) -> npt.NDArray[np.uint8]:
    """Four flat colours, one a quarter; enough to tell every turn and every matrix."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = (200, 40, 60)
    picture[: height // 2, width // 2 :] = (30, 160, 60)
    picture[height // 2 :, : width // 2] = (40, 60, 200)
    picture[height // 2 :, width // 2 :] = (235, 235, 235)
    return picture


def quarters(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The colours in the middle of the four quarters, (2, 2, 3)."""
    height, width = frame.shape[:2]
    return frame[height // 4 :: height // 2, width // 4 :: width // 2][:2, :2].astype(np.int64)


# What all backends promise


@pytest.mark.parametrize("batch_size", [1, 7, 30, 64])
def test_every_frame_arrives_once_in_order_with_its_own_time(tmp_path: Path, decoder: str, batch_size: int) -> None:
    path = make_video(tmp_path / "a.mp4", bframes=2, picture=numbered_picture(64, 48))
    batches, reader = read(path, decoder=decoder, batch_size=batch_size)
    assert numbers_of(batches) == list(range(30))
    assert np.concatenate([batch.index for batch in batches]).tolist() == list(range(30))
    np.testing.assert_allclose(times_of(batches), np.arange(30) / 25, atol=2e-4)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert reader.report.decoded == 30
    assert reader.report.messages == []


@pytest.mark.parametrize("size", [None, (24, 32), (36, 20)])
def test_the_backends_show_nearly_the_same_pictures(tmp_path: Path, decoder: str, size: Any) -> None:
    # Grey: OpenCV and decord share the colour of two pixels, which the noise of the made picture would show.
    draw = square_picture(64, 48)
    path = make_video(tmp_path / "a.mp4", frames=6, picture=lambda i: np.repeat(draw(i)[..., 1:2], 3, axis=2))
    reference = frames_of(read(path, size=size)[0]).astype(int)
    frames = frames_of(read(path, size=size, decoder=decoder)[0]).astype(int)
    assert frames.shape == reference.shape
    assert np.abs(frames - reference).mean() < 1.5
    assert np.abs(frames[1:] - reference[:-1]).mean() > 3  # the judge tells neighbours apart


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_turned_pictures_stand_upright(tmp_path: Path, decoder: str, rotation: int) -> None:
    path = make_video(
        tmp_path / "a.mp4", frames=2, rotation=rotation, pix_fmt="yuv444p", picture=lambda i: flat_picture(64, 48)
    )
    upright = np.rot90(flat_picture(64, 48), rotation // 90)
    small = (24, 32) if rotation % 180 == 0 else (32, 24)
    batches, reader = read(path, decoder=decoder, size=small, keep_pictures=True)
    batch = batches[0]
    assert (reader.info.height, reader.info.width) == upright.shape[:2] == (batch.height, batch.width)
    assert reader.info.rotation == rotation
    full = batch.pictures[0].rgb()
    assert full.shape == upright.shape
    assert batch.frames.shape[1:3] == small
    for shown in (full, batch.frames[0]):
        assert np.abs(quarters(shown) - quarters(upright)).max() < 12


@pytest.mark.parametrize("start, end", [(0.0, 0.2), (0.1, None), (0.4, 0.8), (0.95, 1.0), (1.1, None)])
def test_start_is_included_and_end_is_not(tmp_path: Path, decoder: str, start: float, end: float | None) -> None:
    path = make_video(tmp_path / "a.mp4", bframes=2, picture=numbered_picture(64, 48))
    batches, _ = read(path, decoder=decoder, start_seconds=start, end_seconds=end)
    expected = [i for i in range(30) if i / 25 >= start - 1e-9 and (end is None or i / 25 < end - 1e-9)]
    assert numbers_of(batches) == expected
    np.testing.assert_allclose(times_of(batches), np.array(expected) / 25, atol=2e-4)
    assert batches[0].index[0] == 0


def test_a_start_behind_the_end_is_an_error_that_tells_the_length(tmp_path: Path, decoder: str) -> None:
    path = make_video(tmp_path / "a.mp4")
    with pytest.raises(DecodeError, match=r"no frame.*1\.2"):
        read(path, decoder=decoder, start_seconds=5.0)


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (48, 18)])
def test_one_frame_and_odd_and_tiny_sizes_are_read(tmp_path: Path, decoder: str, size: tuple[int, int]) -> None:
    height, width = size
    path = make_video(tmp_path / "a.mp4", frames=1, width=width, height=height, pix_fmt="yuv444p")
    batches, reader = read(path, decoder=decoder, keep_pictures=True)
    assert frames_of(batches).shape == (1, height, width, 3)
    assert batches[0].pictures[0].rgb().shape == (height, width, 3)
    assert reader.report.decoded == 1


def test_variable_frame_rate_keeps_the_times(tmp_path: Path, decoder: str) -> None:
    ticks = [0, 3000, 10000, 11000, 50000]
    path = make_video(tmp_path / "a.mp4", frames=5, pts=ticks)
    batches, _ = read(path, decoder=decoder)
    np.testing.assert_allclose(times_of(batches), np.array(ticks) / 90000, atol=2e-4)


def test_pictures_are_kept_only_on_request_and_belong_to_the_caller(tmp_path: Path, decoder: str) -> None:
    path = make_video(tmp_path / "a.mp4", frames=4)
    plain = frames_of(read(path, decoder=decoder)[0])
    assert read(path, decoder=decoder)[0][0].pictures == ()
    batches, _ = read(path, decoder=decoder, size=(12, 16), keep_pictures=True)
    pictures = [picture for batch in batches for picture in batch.pictures]
    assert len(pictures) == 4
    for picture, expected in zip(pictures, plain, strict=True):
        first = picture.rgb()
        assert first.flags.writeable
        np.testing.assert_array_equal(first, expected)
        first[:] = 0
        np.testing.assert_array_equal(picture.rgb(), expected)


def test_a_reader_is_read_once_and_closed_twice(tmp_path: Path, decoder: str) -> None:
    path = make_video(tmp_path / "a.mp4", frames=3)
    with open_video(path, options=DecodeOptions(decoder=decoder)) as reader:
        list(reader)
        with pytest.raises(DecodeError, match="has been read already"):
            list(reader)
    reader.close()
    unread = open_video(path, options=DecodeOptions(decoder=decoder))
    unread.close()
    with pytest.raises(DecodeError, match="is closed"):
        list(unread)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_no_file_stays_open(tmp_path: Path, decoder: str) -> None:
    path = make_video(tmp_path / "a.mp4", frames=20)

    def still_open() -> bool:
        links = list(Path("/proc/self/fd").iterdir())
        return any(str(path) in str(link.readlink()) for link in links if link.is_symlink())

    with open_video(path, options=DecodeOptions(decoder=decoder, batch_size=2)) as reader:
        next(iter(reader))
        assert still_open()
    assert not still_open()


@pytest.mark.parametrize("rows, columns", [(0, 10), (10, -1)])
def test_a_size_without_pixels_is_refused(tmp_path: Path, rows: int, columns: int) -> None:
    with pytest.raises(ConfigError, match="at least 1x1"):
        open_video(make_video(tmp_path / "a.mp4", frames=1), size=(rows, columns))


def test_a_size_may_follow_from_the_upright_size(tmp_path: Path, decoder: str) -> None:
    path = make_video(tmp_path / "a.mp4", frames=1, rotation=90)
    batches, reader = read(path, decoder=decoder, size=lambda height, width: (height // 2, width // 4))
    assert reader.size == (32, 12)
    assert batches[0].frames.shape == (1, 32, 12, 3)


# Containers and coded formats


@pytest.mark.parametrize(
    "name, codec",
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.mov", "libx264"),
        ("a.ts", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.webm", "libvpx-vp9"),
        ("b.mp4", "libx265"),
    ],
)
def test_every_container_gives_every_frame_and_can_be_sought(tmp_path: Path, name: str, codec: str) -> None:
    path = make_video(tmp_path / name, codec=codec, picture=numbered_picture(64, 48), audio_tracks=1)
    batches, reader = read(path, keep_pictures=True)
    assert numbers_of(batches) == list(range(30))
    expected = sorted(packet.pts for packet in stream_packets(path) if packet.pts is not None)
    shown = [p.pts * p.time_base for batch in batches for p in batch.pictures if p.pts is not None and p.time_base]
    assert shown == expected[: len(shown)] if codec != "mpeg4" else set(shown) <= set(expected)
    assert not reader.report.truncated
    times = times_of(batches)
    later, _ = read(path, start_seconds=float(times[17]), end_seconds=float(times[22]))
    assert numbers_of(later) == [17, 18, 19, 20, 21]
    np.testing.assert_allclose(times_of(later), times[17:22])


@pytest.mark.parametrize(
    "options",
    [
        {"pix_fmt": "yuv420p10le"},
        {"pix_fmt": "yuv422p"},
        {"pix_fmt": "yuv444p"},
        {"pix_fmt": "yuv422p10le"},
        {"pix_fmt": "yuvj420p"},
        {"pix_fmt": "yuv444p", "color_range": 2, "colorspace": 1},
        {"colorspace": 1},
        {"colorspace": 6},
        pytest.param({"colorspace": 9}, marks=pytest.mark.skipif(AV_MAJOR < 18, reason="PyAV cannot make BT.2020")),
        {"codec": "ffv1", "pix_fmt": "bgra"},
        {"codec": "ffv1", "pix_fmt": "gbrp10le"},
        {"codec": "ffv1", "pix_fmt": "rgb24"},
        {"interlaced": True},
    ],
    ids=str,
)
def test_colours_come_out_as_they_went_in(tmp_path: Path, options: dict[str, Any]) -> None:
    if options.get("pix_fmt") == "rgb24":
        options = {**options, "codec": "qtrle"}
    suffix = ".mov" if options.get("codec") == "qtrle" else ".mkv"
    drawn = flat_picture(64, 64)
    path = make_video(tmp_path / f"a{suffix}", frames=2, height=64, picture=lambda i: drawn, **options)
    batches, _ = read(path, size=(32, 32), keep_pictures=True)
    for shown in (batches[0].pictures[1].rgb(), batches[0].frames[1]):
        assert np.abs(quarters(shown) - quarters(drawn)).max() < 7


def test_grey_is_grey(tmp_path: Path) -> None:
    drawn = flat_picture(64, 48)
    path = make_video(tmp_path / "a.mkv", frames=1, codec="ffv1", pix_fmt="gray", picture=lambda i: drawn)
    shown = frames_of(read(path)[0])[0].astype(int)
    assert (shown.max(axis=2) == shown.min(axis=2)).all()
    assert np.abs(shown[..., 0] - cv2.cvtColor(drawn, cv2.COLOR_RGB2GRAY)).max() < 4


@pytest.mark.parametrize("height, matrix, wrong", [(720, 1, 6), (576, 6, 1)])
def test_untagged_pictures_are_bt709_from_720_lines_up_and_bt601_below(
    tmp_path: Path, height: int, matrix: int, wrong: int
) -> None:
    drawn = flat_picture(96, height)

    def error(used: int) -> int:
        path = make_video(
            tmp_path / f"{used}.mkv", frames=1, width=96, height=height, matrix=used, picture=lambda i: drawn
        )
        batches, reader = read(path, keep_pictures=True)
        assert reader.info.colorspace == 2
        return int(np.abs(quarters(batches[0].pictures[0].rgb()) - quarters(drawn)).max())

    assert error(matrix) < 7
    assert error(wrong) > 15  # the judge tells the matrices apart


def test_a_matrix_that_cannot_be_converted_is_said(tmp_path: Path) -> None:
    # The tag of an untagged stream is patched in: the frame is really BT.601.
    path = make_video(tmp_path / "a.mkv", frames=1, matrix=1, codec="ffv1", pix_fmt="yuv444p")
    with open_video(path) as reader:
        first = reader._first  # type: ignore[attr-defined]
        first.colorspace = 8
        assert len(list(reader)) == 1
    assert any("matrix number 8" in message for message in reader.report.messages)


def test_facts_are_known_before_reading(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.mp4",
        audio_tracks=2,
        subtitles=True,
        colorspace=1,
        color_primaries=1,
        color_trc=1,
        sample_aspect_ratio=Fraction(4, 3),
        rotation=90,
    )
    with open_video(path) as reader:
        info = reader.info
    assert (info.kind, info.path, info.source) == ("video", path, str(path))
    assert (info.height, info.width, info.rotation) == (64, 48, 90)
    assert (info.frame_count, info.duration_seconds, info.rate) == (30, pytest.approx(1.2), Fraction(25))
    assert info.sample_aspect_ratio == Fraction(3, 4)  # turned with the picture
    assert (info.colorspace, info.color_primaries, info.color_trc) == (1, 1, 1)
    assert (info.pix_fmt, info.stream_index, info.live) == ("yuv420p", 0, False)


def test_a_missing_frame_count_is_none(tmp_path: Path) -> None:
    with open_video(make_video(tmp_path / "a.mkv", frames=3)) as reader:
        assert reader.info.frame_count is None


def test_uhd_is_read_small(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.mp4", frames=2, width=3840, height=2160, matrix=1, picture=lambda i: flat_picture(3840, 2160)
    )
    batches, reader = read(path, size=(30, 40))
    assert (reader.info.height, reader.info.width) == (2160, 3840)
    assert frames_of(batches).shape == (2, 30, 40, 3)
    assert np.abs(quarters(batches[0].frames[0]) - quarters(flat_picture(40, 30))).max() < 7


# Times


def test_exact_times_are_the_containers_own(tmp_path: Path) -> None:
    ticks = [0, 3003, 6006, 20000, 20001, 90000]
    path = make_video(tmp_path / "a.mp4", frames=6, pts=ticks, bframes=2, gop=6)
    batches, _ = read(path, keep_pictures=True)
    pictures = [picture for batch in batches for picture in batch.pictures]
    exact = [p.pts * p.time_base for p in pictures if p.pts is not None and p.time_base is not None]
    assert exact == [Fraction(tick, 90000) for tick in ticks]


def test_a_late_start_is_time_zero_and_the_exact_times_keep_it(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ts", frames=3, pts=[900000, 903600, 907200])
    batches, _ = read(path, keep_pictures=True)
    np.testing.assert_allclose(times_of(batches), [0, 0.04, 0.08])
    assert [picture.pts for picture in batches[0].pictures] == [900000, 903600, 907200]


def test_a_start_in_a_late_file_counts_from_its_first_frame(tmp_path: Path) -> None:
    ticks = [900000 + 3600 * i for i in range(30)]
    path = make_video(tmp_path / "a.ts", pts=ticks, picture=numbered_picture(64, 48))
    assert numbers_of(read(path, start_seconds=0.8, end_seconds=0.88)[0]) == [20, 21]


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_negative_first_times_give_rising_times_from_zero(tmp_path: Path, name: str) -> None:
    path = make_video(
        tmp_path / name,
        frames=5,
        pts=[-9000, -5400, -1800, 1800, 5400],
        picture=numbered_picture(64, 48),
        container_options={"avoid_negative_ts": "disabled"} if name == "a.mkv" else {},
    )
    batches, reader = read(path)
    times = times_of(batches)
    assert times[0] == 0
    assert (np.diff(times) > 0).all()
    # mp4 hides what lies before zero by an edit list; nothing is lost without being asked for.
    assert numbers_of(batches)[-2:] == [3, 4]
    assert not reader.report.truncated


def test_frames_without_times_follow_at_the_streams_rate_and_it_is_said(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.h264", frames=10, picture=numbered_picture(64, 48))
    batches, reader = read(path, start_seconds=0.2)
    assert numbers_of(batches) == [5, 6, 7, 8, 9]
    np.testing.assert_allclose(times_of(batches), np.arange(5, 10) / 25, atol=1e-6)
    assert any("without a time" in message for message in reader.report.messages)


def test_times_that_jump_back_go_on_without_a_gap_and_it_is_said(tmp_path: Path) -> None:
    parts = [make_video(tmp_path / f"{i}.ts", frames=30, picture=numbered_picture(64, 48)) for i in range(2)]
    batches, reader = read(concatenate(parts, tmp_path / "a.ts"))
    assert numbers_of(batches) == [*range(30), *range(30)]
    np.testing.assert_allclose(np.diff(times_of(batches)), 0.04, atol=1e-6)
    assert any("jump back" in message for message in reader.report.messages)


@dataclass(frozen=True)
class Tick:
    """A frame of a stream in 1/90000 s, 3600 a frame."""

    pts: int | None
    duration: int | None = 3600


def clocked(times: Sequence[int | None], *, announced: bool = False, **settings: Any) -> tuple[list[int], DecodeReport]:
    """The times that a clock makes of the container's; announced: each frame tells the gap behind it."""
    report = DecodeReport()
    known = [0 if time is None else time for time in times]
    gaps = [b - a for a, b in itertools.pairwise(known)] if announced else []
    frames = [Tick(time, gap) for time, gap in itertools.zip_longest(times, gaps, fillvalue=3600)]
    clock = Clock("a.ts", Fraction(1, 90000), settings.get("rate", Fraction(25)), report)
    first = clock.begin(frames[0])
    stamped = list(clock.stamp(frames[1:]))
    assert [frame for frame, _ in stamped] == frames[1:]
    return [first, *(ticks for _, ticks in stamped)], report


STEADY = [3600 * i for i in range(40)]
HOUR = 3600 * 90000
WRAP = 2**33


@pytest.mark.parametrize(
    "off", [WRAP - 7 * 3600, 100 * HOUR, HOUR // 2, 30 * 90000, 20 * 3600, 5 * 3600, -18 * 3600, -HOUR, -WRAP]
)
@pytest.mark.parametrize("at", [1, 20, 38, 39])
def test_one_damaged_time_moves_no_other(off: int, at: int) -> None:
    times = list(STEADY)
    times[at] += off
    out, report = clocked(times)
    if at == 39 and 0 < off < HOUR:
        assert out == times  # nothing comes after it to say that it is wrong
        return
    assert report.mended_times == 1
    np.testing.assert_allclose(out, STEADY, atol=1801)
    assert out[:at] + out[at + 1 :] == STEADY[:at] + STEADY[at + 1 :]
    assert (np.diff(out) > 0).all()


def test_several_damaged_times_in_a_row_move_no_other() -> None:
    times = list(STEADY)
    times[20:23] = [times[20] + 5 * HOUR, times[21] - WRAP, times[22] + WRAP]
    out, report = clocked(times)
    assert report.mended_times == 3
    assert out == STEADY


@pytest.mark.parametrize("moved", [0, -HOUR])
def test_a_damaged_time_stays_before_a_next_one_that_comes_early(moved: int) -> None:
    # With a clock that starts anew before it, or without.
    times = STEADY[:10] + [time + moved for time in STEADY[10:20]]
    early = STEADY[19] + 1800
    out, report = clocked([*times, WRAP, early + moved, early + 3600 + moved])
    assert out == [*STEADY[:20], STEADY[19] + 900, early, early + 3600]
    assert report.mended_times == 1


def test_without_times_and_rate_frames_follow_at_25_a_second_from_0() -> None:
    assert clocked([None] * 3, rate=None)[0] == [0, 3600, 7200]
    assert clocked([None] * 3, rate=Fraction(50))[0] == [0, 1800, 3600]


@pytest.mark.parametrize("off", [-WRAP, -HOUR, 2 * HOUR, WRAP - 3600 * 10])
def test_a_clock_that_starts_anew_goes_on_without_a_gap(off: int) -> None:
    times = STEADY[:20] + [time + off for time in STEADY[20:]]
    out, report = clocked(times)
    assert out == STEADY
    assert report.mended_times == 0
    assert len(report.messages) == 1
    assert "without a gap" in report.messages[0]


def test_a_long_pause_is_kept() -> None:
    times = STEADY[:20] + [time + HOUR // 2 for time in STEADY[20:]]
    assert clocked(times) == (times, DecodeReport())


def test_pauses_of_time_lapse_are_kept() -> None:
    slow = [2 * HOUR * i for i in range(8)]
    assert clocked(slow, rate=Fraction(1, 7200)) == (slow, DecodeReport())
    uneven = [0, 3600, 2 * HOUR, 2 * HOUR + 3600, 9 * HOUR]
    assert clocked(uneven, announced=True) == (uneven, DecodeReport())
    # Told neither by the rate nor by the frame before, so long a gap is a clock's.
    assert clocked(uneven)[0] == STEADY[:5]


def test_a_frame_held_back_comes_before_an_error() -> None:
    def frames() -> Iterator[Tick]:
        yield Tick(90000)
        raise DecodeError("the disk is gone")

    clock = Clock("a.ts", Fraction(1, 90000), Fraction(25), DecodeReport())
    clock.begin(Tick(0))
    stamped = clock.stamp(frames())
    assert next(stamped) == (Tick(90000), 90000)
    with pytest.raises(DecodeError, match="the disk is gone"):
        next(stamped)


def test_too_many_damaged_times_end_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "MAX_CORRUPT_TOTAL", 2)
    times = [time + (WRAP if i in (5, 15, 25) else 0) for i, time in enumerate(STEADY)]
    with pytest.raises(DecodeError, match="too damaged"):
        clocked(times)


def test_a_damaged_time_in_a_transport_stream_is_mended_said_and_refused_by_strict(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ts", frames=50, picture=numbered_picture(64, 48))
    with_pts(path, 20, WRAP - 90000)
    batches, reader = read(path)
    assert numbers_of(batches) == list(range(50))
    np.testing.assert_allclose(times_of(batches), np.arange(50) / 25, atol=1e-6)
    assert reader.report.mended_times == 1
    assert any("1 impossible time replaced" in message for message in reader.report.messages)
    with pytest.raises(DecodeError, match=r"damaged.*impossible time"):
        read(path, strict=True)


def test_a_change_of_size_on_the_way_is_shown_at_the_first_size(tmp_path: Path) -> None:
    first = make_video(tmp_path / "1.ts", frames=12, picture=numbered_picture(64, 48))
    ticks = [108000 + 3600 * i for i in range(12)]
    second = make_video(tmp_path / "2.ts", frames=12, width=96, height=80, pts=ticks, picture=numbered_picture(96, 80))
    batches, reader = read(concatenate([first, second], tmp_path / "a.ts"), keep_pictures=True)
    assert numbers_of(batches) == [*range(12), *range(12)]
    assert {picture.rgb().shape for batch in batches for picture in batch.pictures} == {(48, 64, 3)}
    assert any("changes its size" in message for message in reader.report.messages)


# What is chosen from a container


def test_cover_art_is_not_the_video(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((100, 100, 3), np.uint8))[1].tobytes()
    path = make_video(tmp_path / "a.mp4", frames=4, picture=numbered_picture(64, 48), audio_tracks=1)
    batches, _ = read(add_cover(path, tmp_path / "b.mp4", jpeg))
    assert numbers_of(batches) == [0, 1, 2, 3]


def test_music_with_cover_art_has_no_video(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((100, 100, 3), np.uint8))[1].tobytes()
    path = add_cover(make_audio(tmp_path / "a.mp4"), tmp_path / "b.mp4", jpeg)
    with pytest.raises(DecodeError, match="no video stream besides cover art"):
        open_video(path)


# Damage


def damaged_mp4(tmp_path: Path) -> Path:
    path = make_video(
        tmp_path / "a.mp4",
        frames=100,
        picture=numbered_picture(64, 48),
        container_options={"movflags": "faststart"},
        codec_options={"bf": "0"},
    )
    return corrupt(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_file_cut_short_gives_what_is_there_and_says_what_is_missing(tmp_path: Path, name: str) -> None:
    path = make_video(
        tmp_path / name,
        frames=100,
        picture=numbered_picture(64, 48),
        container_options={"movflags": "faststart"} if name == "a.mp4" else {},
    )
    batches, reader = read(truncate(path, 0.6))
    numbers = numbers_of(batches)
    assert 40 < len(numbers) < 80
    assert numbers == list(range(len(numbers)))
    assert reader.report.truncated
    assert reader.report.missing_seconds == pytest.approx((100 - len(numbers)) / 25, abs=0.05)
    assert any("ends early" in message for message in reader.report.messages)


def test_a_whole_file_is_not_called_short(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.avi", "a.ts", "a.mov"):
        codec = "mpeg4" if name == "a.avi" else "libx264"
        path = make_video(tmp_path / name, codec=codec, audio_tracks=1, bframes=2 if codec == "libx264" else 0)
        _, reader = read(path, strict=True)
        assert (reader.report.truncated, reader.report.messages) == (False, [])


def test_a_range_inside_a_file_is_not_called_short(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4")
    assert not read(path, end_seconds=0.5)[1].report.truncated
    assert not read(path, start_seconds=0.8)[1].report.truncated


def test_strict_refuses_a_short_file_after_delivering_it(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", frames=100)
    truncate(path, 0.6)
    delivered = 0
    with (
        open_video(path, options=DecodeOptions(strict=True)) as reader,
        pytest.raises(DecodeError, match=r"damaged.*ends early"),
    ):
        for batch in reader:
            delivered += len(batch)
    assert delivered > 40


def test_corrupt_packets_are_skipped_and_counted(tmp_path: Path) -> None:
    batches, reader = read(damaged_mp4(tmp_path))
    numbers = numbers_of(batches)
    report = reader.report
    assert report.skipped_corrupt > 0
    assert 95 <= report.decoded + report.skipped_corrupt <= 100  # the decoder may swallow one in silence
    assert numbers[:30] == list(range(30))
    assert numbers[-10:] == list(range(90, 100))
    assert (np.diff(times_of(batches)) > 0).all()
    # The good frames keep their own times although others before them are missing.
    np.testing.assert_allclose(times_of(batches)[-10:], np.arange(90, 100) / 25, atol=1e-6)
    assert any("corrupt" in message for message in report.messages)


def test_strict_refuses_corrupt_packets(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"damaged.*corrupt"):
        read(damaged_mp4(tmp_path), strict=True)


@pytest.mark.parametrize("bound", ["MAX_CORRUPT_IN_A_ROW", "MAX_CORRUPT_TOTAL"])
def test_too_much_damage_ends_the_reading_after_the_good_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(contract, bound, 1)
    path = damaged_mp4(tmp_path)
    good: list[int] = []
    with open_video(path) as reader, pytest.raises(DecodeError, match="too damaged"):
        for batch in reader:
            good += [read_number(frame) for frame in batch.frames]
    assert good[:30] == list(range(30))


def test_a_file_without_one_good_frame_is_an_error(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", container_options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat") + 4
    data[start:] = b"\x55" * (len(data) - start)
    path.write_bytes(data)
    with pytest.raises(DecodeError, match="not one frame"):
        open_video(path)


# Clear errors


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"no file or folder .*nothing\.mp4"):
        open_video(tmp_path / "nothing.mp4")


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(DecodeError, match="holds no images"):
        open_video(tmp_path)


def test_an_empty_file_is_named(tmp_path: Path, decoder: str) -> None:
    path = tmp_path / "a.mp4"
    path.touch()
    with pytest.raises(DecodeError, match="is empty"):
        open_video(path, options=DecodeOptions(decoder=decoder))


@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a.png"])
def test_text_is_no_video(tmp_path: Path, decoder: str, name: str) -> None:
    path = tmp_path / name
    path.write_text("these are words, not pictures\n" * 40)
    with pytest.raises(DecodeError, match=name.replace(".", r"\.")):
        open_video(path, options=DecodeOptions(decoder=decoder))


def test_sound_is_no_video(tmp_path: Path, decoder: str) -> None:
    with pytest.raises(DecodeError, match="no video stream, only audio"):
        open_video(make_audio(tmp_path / "a.m4a"), options=DecodeOptions(decoder=decoder))


def test_an_unknown_codec_is_named_as_the_reason(tmp_path: Path, decoder: str) -> None:
    path = make_video(tmp_path / "a.mp4", frames=2)
    path.write_bytes(path.read_bytes().replace(b"avc1\0", b"zzzz\0"))
    with pytest.raises(DecodeError, match="no decoder for its video codec"):
        open_video(path, options=DecodeOptions(decoder=decoder))


def test_an_mp4_cut_off_before_its_header_says_so(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="cut off before its header"):
        open_video(truncate(make_video(tmp_path / "a.mp4"), 0.6))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=1)
    path.chmod(0)
    with pytest.raises(DecodeError, match="cannot be read: "):
        open_video(path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"start_seconds": -1.0}, "start_seconds"),
        ({"start_seconds": float("nan")}, "start_seconds"),
        ({"start_seconds": 2.0, "end_seconds": 2.0}, "end_seconds"),
        ({"end_seconds": float("nan")}, "end_seconds"),
        ({"batch_size": 0}, "batch_size"),
        ({"threads": -1}, "threads"),
        ({"threads": 65}, "threads"),
        ({"decoder": "quicktime"}, "pyav, decord, opencv"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DecodeOptions(**options)


def test_without_decord_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(ConfigError, match=r"\(pip install decord\), .* use the pyav decoder"):
        open_video(make_video(tmp_path / "a.mp4", frames=1), options=DecodeOptions(decoder="decord"))


def test_opencv_refuses_interlaced_video_instead_of_showing_garbage(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=2, height=64, interlaced=True)
    with pytest.raises(DecodeError, match="interlaced"):
        open_video(path, options=DecodeOptions(decoder="opencv"))


def test_a_name_that_looks_like_an_address_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "x.mp4", frames=2).rename("concat:x.mp4")
    assert read("concat:x.mp4")[1].report.decoded == 2


def test_a_file_address_is_a_file(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a b.mp4", frames=2)
    assert read(path.as_uri())[1].info.path == path


# Threads


def test_the_number_of_decoder_threads_changes_nothing(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", bframes=2, frames=20)
    one, many = (frames_of(read(path, threads=threads)[0]) for threads in (1, 3))
    np.testing.assert_array_equal(one, many)


def test_pictures_may_be_drawn_in_another_thread_while_the_reader_goes_on(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=40, width=320, height=240)
    plain = frames_of(read(path)[0])
    results: dict[int, npt.NDArray[np.uint8]] = {}
    threads: list[threading.Thread] = []
    with open_video(path, size=(24, 32), keep_pictures=True) as reader:
        for batch in reader:

            def draw(batch: FrameBatch = batch) -> None:
                for index, picture in zip(batch.index, batch.pictures, strict=True):
                    results[int(index)] = picture.rgb()

            for _ in range(2):  # both draw the same pictures
                threads.append(threading.Thread(target=draw))
                threads[-1].start()
        for thread in threads:
            thread.join()
    np.testing.assert_array_equal(np.stack([results[i] for i in range(40)]), plain)


# Images


def write_image(path: Path, number: int, width: int = 64, height: int = 48) -> None:
    assert cv2.imwrite(str(path), numbered_picture(width, height)(number)[..., ::-1])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
def test_an_image_is_a_video_of_one_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    drawn = flat_picture(64, 48)
    assert cv2.imwrite(str(path), drawn[..., ::-1])
    batches, reader = read(path, size=(24, 32), keep_pictures=True)
    assert (reader.info.kind, reader.info.frame_count) == ("image", 1)
    assert times_of(batches).tolist() == [0.0]
    for shown in (batches[0].frames[0], batches[0].pictures[0].rgb()):
        assert np.abs(quarters(shown) - quarters(drawn)).max() < 7


def test_an_images_orientation_tag_is_honoured(tmp_path: Path) -> None:
    drawn = flat_picture(64, 48)
    jpeg = cv2.imencode(".jpg", drawn[..., ::-1])[1].tobytes()
    # A little-endian Exif block with one entry: tag 0x112 (orientation) = 6, turn by 90 degrees clockwise.
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, 6, 0, 0)
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    shown = frames_of(read(path)[0])[0]
    assert shown.shape == (64, 48, 3)
    assert np.abs(quarters(shown) - quarters(np.rot90(drawn, -1))).max() < 7


def test_a_folder_of_images_is_read_in_natural_order_at_25_a_second(tmp_path: Path) -> None:
    for number in (1, 2, 10, 9):
        write_image(tmp_path / f"frame{number}.png", number)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not for us")
    batches, reader = read(tmp_path, keep_pictures=True)
    assert numbers_of(batches) == [1, 2, 9, 10]
    np.testing.assert_allclose(times_of(batches), np.arange(4) / 25)
    assert [picture.pts for picture in batches[0].pictures] == [0, 1, 2, 3]
    assert (reader.info.kind, reader.info.frame_count, reader.info.rate) == ("images", 4, Fraction(25))
    assert numbers_of(read(tmp_path, start_seconds=0.04, end_seconds=0.12)[0]) == [2, 9]


def test_results_of_earlier_runs_in_a_folder_are_left_out_and_counted(tmp_path: Path) -> None:
    for name in ("1.vidsal.png", "2.vidsal.partial.png", "2.partial.png"):
        write_image(tmp_path / name, 7)
    with pytest.raises(DecodeError, match="holds no images but 3 results"):
        read(tmp_path)
    # A name that only sounds so is a picture like any other; one that is named itself is read.
    write_image(tmp_path / "1.png", 1)
    write_image(tmp_path / "2vidsal.png", 2)
    batches, reader = read(tmp_path)
    assert numbers_of(batches) == [1, 2]
    assert len([message for message in reader.report.messages if "results" in message and ": 3" in message]) == 1
    assert numbers_of(read(tmp_path / "1.vidsal.png")[0]) == [7]


def test_names_without_numbers_sort_too() -> None:
    names = ["b.png", "a10.png", "a2.png", "10.png", "9.png", "a.png"]
    assert [path.name for path in sorted(map(Path, names), key=natural_order)] == [
        "9.png",
        "10.png",
        "a2.png",
        "a10.png",
        "a.png",
        "b.png",
    ]


def test_an_unreadable_image_is_skipped_and_leaves_its_time_free(tmp_path: Path) -> None:
    for number in range(5):
        write_image(tmp_path / f"{number}.png", number)
    (tmp_path / "2.png").write_bytes(b"broken")
    batches, reader = read(tmp_path)
    assert numbers_of(batches) == [0, 1, 3, 4]
    np.testing.assert_allclose(times_of(batches), np.array([0, 1, 3, 4]) / 25)
    assert reader.report.skipped_corrupt == 1
    assert any("2.png" in message for message in reader.report.messages)
    with pytest.raises(DecodeError, match="damaged"):
        read(tmp_path, strict=True)


def test_images_of_other_sizes_are_shown_at_the_first_size(tmp_path: Path) -> None:
    write_image(tmp_path / "0.png", 0)
    write_image(tmp_path / "1.png", 1, width=128, height=60)
    batches, reader = read(tmp_path, keep_pictures=True)
    assert numbers_of(batches) == [0, 1]
    assert {picture.rgb().shape for picture in batches[0].pictures} == {(48, 64, 3)}
    assert any("differ in size" in message for message in reader.report.messages)


# Standard input and addresses


def pipe(data: bytes) -> subprocess.CompletedProcess[str]:
    script = (
        "from vidsal.decode import open_video\n"
        "from vidsal.errors import DecodeError\n"
        "try:\n"
        "    with open_video('-') as reader:\n"
        "        batches = list(reader)\n"
        "    print(reader.info.kind, sum(map(len, batches)), batches[-1].pts_seconds[-1])\n"
        "except DecodeError as error:\n"
        "    print('DecodeError', error)\n"
    )
    done = processes.run(script, data=data)
    assert done.returncode == 0
    return done


def test_a_video_may_come_through_standard_input(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", frames=30)
    assert pipe(path.read_bytes()).stdout.split() == ["stream", "30", "1.16"]


def test_a_pipe_without_a_video_is_a_clear_error(tmp_path: Path) -> None:
    assert "DecodeError standard input" in pipe(b"no video at all" * 1000).stdout
    assert "DecodeError standard input" in pipe(b"").stdout
    headless = make_video(tmp_path / "a.mp4", frames=30).read_bytes().replace(b"moov", b"junk")
    assert "DecodeError standard input" in pipe(headless).stdout


def test_an_mp4_with_its_index_at_the_end_may_come_through_standard_input(tmp_path: Path) -> None:
    data = make_video(tmp_path / "a.mp4", frames=30).read_bytes()
    assert data.find(b"mdat") < data.find(b"moov")
    assert pipe(data).stdout.split() == ["stream", "30", "1.16"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def copyfile(self, source: Any, outputfile: Any) -> None:
            with contextlib.suppress(ConnectionError):  # the reader may leave when it has what it wants
                super().copyfile(source, outputfile)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path)) as httpd:
        httpd.daemon_threads = False  # closing it waits for every answer, so that no thread of it is counted later
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{httpd.server_address[1]}"
        finally:
            httpd.shutdown()
            thread.join()


@pytest.mark.parametrize("decoder_name", ["pyav", "opencv"])
def test_a_video_may_come_from_an_address(tmp_path: Path, server: str, decoder_name: str) -> None:
    make_video(tmp_path / "a.mkv", frames=12, picture=numbered_picture(64, 48))
    batches, reader = read(f"http://someone:secret@{server}/a.mkv", decoder=decoder_name)
    assert numbers_of(batches) == list(range(12))
    assert (reader.info.kind, reader.info.path, reader.info.live) == ("stream", None, False)
    assert "secret" not in repr(reader.info)


def test_an_address_that_does_not_answer_is_a_clear_error(server: str) -> None:
    with pytest.raises(DecodeError, match=r"http://.*nothing\.mkv cannot be opened"):
        open_video(f"http://{server}/nothing.mkv")


def test_an_unknown_kind_of_address_lists_the_known_ones() -> None:
    with pytest.raises(DecodeError, match=r"gopher.*https.*rtsp"):
        open_video("gopher://example.org/a.mp4")


def test_decord_reads_no_addresses_and_no_pipes() -> None:
    for source in ("http://127.0.0.1:1/a.mp4", "-"):
        with pytest.raises(ConfigError, match="decord"):
            open_video(source, options=DecodeOptions(decoder="decord"))


# Live sources


class FakeLive(Reader):
    """A camera that is much faster than its reader."""

    def __init__(self, count: int, options: DecodeOptions) -> None:
        info = VideoInfo(source="fake", kind="camera", height=48, width=64, live=True)
        super().__init__(info, Request(source="fake", kind="camera", options=options))
        self.count = count
        self.made = 0
        self.released = False

    def _frames(self) -> Iterator[DecodedFrame]:
        picture = numbered_picture(64, 48)
        for i in range(self.count):
            self.made += 1
            convert = functools.partial(picture, i)
            yield DecodedFrame(i / 25, convert, Picture(rgb=convert))

    def _release(self) -> None:
        self.released = True


def test_a_live_source_drops_the_oldest_frames_of_a_slow_reader_and_counts_them() -> None:
    seen: list[int] = []
    times: list[float] = []
    with FakeLive(200, DecodeOptions(batch_size=4)) as reader:
        for batch in reader:
            assert len(batch) <= 4
            seen += [read_number(frame) for frame in batch.frames]
            times += batch.pts_seconds.tolist()
            time.sleep(0.01)
    report = reader.report
    assert report.dropped_live > 0
    assert report.dropped_live + report.decoded == 200
    assert seen[-1] == 199  # what is kept is the newest
    assert seen == sorted(set(seen))
    np.testing.assert_allclose(times, np.array(seen) / 25)
    assert reader.released


def test_leaving_a_live_source_leaves_no_thread() -> None:
    before = threading.active_count()
    with FakeLive(10**9, DecodeOptions()) as reader:
        for batch in reader:
            assert len(batch) >= 1
            break
    del batch
    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


class FakeCapture:
    """Stands for a camera."""

    def __init__(self, frames: int) -> None:
        self.left = frames
        self.number = 0
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def get(self, _: int) -> float:
        return 0.0

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, npt.NDArray[np.uint8]]:
        self.number += 1
        return True, numbered_picture(64, 48)(self.number - 1)

    def read(self) -> tuple[bool, npt.NDArray[np.uint8] | None]:
        return self.retrieve() if self.grab() else (False, None)

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize("source", [0, "0"])
def test_a_camera_is_a_live_source_timed_by_the_clock(monkeypatch: pytest.MonkeyPatch, source: int | str) -> None:
    capture = FakeCapture(2)  # as many as may wait: it gives them all at once
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: capture)
    started = time.monotonic()
    batches, reader = read(source)
    assert (reader.info.kind, reader.info.live) == ("camera", True)
    assert numbers_of(batches) == [0, 1]
    times = times_of(batches)
    assert times[0] == 0
    assert (np.diff(times) > 0).all()
    assert times[-1] < time.monotonic() - started + 0.2
    assert capture.released


def test_a_camera_without_pictures_is_an_error_and_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = FakeCapture(0)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: capture)
    with pytest.raises(DecodeError, match="gets no frame"):
        open_video(0)
    assert capture.released


def test_a_camera_that_is_not_there_is_an_error() -> None:
    with pytest.raises(DecodeError, match="camera 97"):
        open_video(97)


def test_a_file_of_which_opencv_gives_no_frame_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "a.mp4", frames=2)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: FakeCapture(0))
    with pytest.raises(DecodeError, match="try the pyav decoder"):
        open_video(path, options=DecodeOptions(decoder="opencv"))


# The made videos themselves


def test_made_videos_hold_what_was_asked_for(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=10, audio_tracks=2, subtitles=True, metadata={"title": "made"})
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio", "audio", "subtitle"]
        assert container.metadata["title"] == "made"
    assert len(stream_packets(path)) == 10
    frames = [square_picture(64, 48)(i).astype(int) for i in range(10)]
    assert min(np.abs(a - b).mean() for a, b in itertools.pairwise(frames)) > 1
    assert [read_number(numbered_picture(64, 48)(i)) for i in range(0, 2000, 37)] == list(range(0, 2000, 37))
