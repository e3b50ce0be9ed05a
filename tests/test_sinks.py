"""The files that are written: times, sound, colours, kills, full disks, maps and tables read back."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import av
import cv2
import numpy as np
import numpy.typing as npt
import processes
import pytest
import torch
from av.video.reformatter import Colorspace
from media import RGB, add_cover, concatenate, make_video, stream_packets, with_pts

from vidsal.decode import DecodeOptions, VideoInfo, open_video
from vidsal.errors import ConfigError, EncodeError
from vidsal.exports.contract import Footage
from vidsal.frames import FrameBatch, Picture, SaliencyBatch
from vidsal.render import RenderOptions
from vidsal.sinks import (
    MAPS_FULL_SCALE,
    ExportSink,
    FileSink,
    ImageSink,
    MapsSink,
    Sink,
    TableSink,
    VideoOptions,
    VideoSink,
)
from vidsal.tracks import FrameNumbers, Tracker

QUICK = VideoOptions(preset="ultrafast", crf=12)
INVISIBLE = RenderOptions(opacity=0)


def one_hot_log_density(count: int, height: int = 6, width: int = 8) -> torch.Tensor:
    maps = torch.full((count, height, width), 1e-4)
    maps[:, 1, 6] = 1
    return (maps / maps.sum(dim=(1, 2), keepdim=True)).log()


def saliency(batch: FrameBatch) -> SaliencyBatch:
    """A made result: everybody looks at the upper right."""
    count = len(batch)
    return SaliencyBatch.of(
        batch, shot=np.zeros(count, np.int64), cut=np.zeros(count, np.bool_), log_density=one_hot_log_density(count)
    )


def made_batch(
    times: Sequence[float],
    *,
    pts: Sequence[int | None] | None = None,
    size: tuple[int, int] = (48, 64),
    level: int = 90,
) -> SaliencyBatch:
    """Grey pictures without a source; `pts` in units of 1/1000 second."""
    count, (height, width) = len(times), size
    pictures = tuple(
        Picture(
            rgb=lambda: np.full((height, width, 3), level, np.uint8),
            pts=None if pts is None else pts[i],
            time_base=None if pts is None or pts[i] is None else Fraction(1, 1000),
        )
        for i in range(count)
    )
    return SaliencyBatch(
        index=np.arange(count),
        pts_seconds=np.array(times, np.float64),
        shot=np.zeros(count, np.int64),
        cut=np.zeros(count, np.bool_),
        log_density=one_hot_log_density(count),
        height=height,
        width=width,
        pictures=pictures,
    )


def made_info(**changed: Any) -> VideoInfo:
    return VideoInfo(**({"source": "made", "kind": "camera", "height": 48, "width": 64} | changed))


def overlaid(source: Path, target: Path, *, start: float = 0.0, end: float | None = None, **options: Any) -> VideoSink:
    """Runs a source through a VideoSink."""
    options = {"video": QUICK} | options
    decode = DecodeOptions(start_seconds=start, end_seconds=end)
    with open_video(source, options=decode, size=(12, 16), keep_pictures=True) as reader:
        sink = VideoSink(target, reader.info, start_seconds=start, end_seconds=end, **options)
        with sink:
            for batch in reader:
                sink.write(saliency(batch))
    return sink


def times(path: Path, index: int = 0) -> list[Fraction]:
    return sorted(packet.pts for packet in stream_packets(path, index) if packet.pts is not None)


def shown_times(path: Path) -> list[Fraction]:
    """What a player shows: the times of the decoded frames of the first stream."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.pts * stream.time_base for frame in container.decode(stream)]


def sound(path: Path, index: int = 1) -> list[tuple[Fraction | None, bytes]]:
    return [(packet.pts, packet.data) for packet in stream_packets(path, index)]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- times and copied streams ---

UNEVEN = np.cumsum(np.random.default_rng(0).integers(900, 9000, 30)).tolist()


@pytest.mark.parametrize(
    ("pts", "bframes"),
    [
        pytest.param(None, 0, id="even"),
        pytest.param(None, 3, id="bframes"),
        pytest.param(UNEVEN, 2, id="uneven"),
        pytest.param([45000 + 3600 * i for i in range(30)], 2, id="late"),
        pytest.param([-9000 + 3600 * i for i in range(30)], 0, id="negative"),
    ],
)
def test_every_frame_comes_once_with_its_own_time_and_the_sound_is_the_same_to_the_bit(
    tmp_path: Path, pts: list[int] | None, bframes: int
) -> None:
    source = make_video(tmp_path / "in.mp4", pts=pts, bframes=bframes, audio_tracks=2)
    sink = overlaid(source, tmp_path / "out.mp4")
    assert sink.path == tmp_path / "out.mp4"
    assert shown_times(sink.path) == shown_times(source)
    if pts is None or pts[0] >= 0:  # an mp4 hides frames before 0, which its packets still list
        assert times(sink.path) == times(source)
    assert len(set(shown_times(source))) >= 27
    for track in (1, 2):
        assert sound(sink.path, track) == sound(source, track)
    assert sink.messages == []


def test_frames_taken_at_a_steady_rate_would_fail_the_comparison_of_times(tmp_path: Path) -> None:
    """The test above means something: its uneven source is far from any steady one."""
    source = make_video(tmp_path / "in.mp4", pts=UNEVEN)
    steps = np.diff([float(time) for time in times(source)])
    assert steps.max() > 5 * steps.min()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("in.mkv", {"audio_tracks": 1, "bframes": 2}),
        ("in.webm", {"audio_tracks": 1, "codec": "libvpx-vp9"}),
        ("in.avi", {"audio_tracks": 1, "codec": "mpeg4"}),
        ("in.mov", {"audio_tracks": 1, "bframes": 2}),
    ],
)
def test_other_containers_become_an_mp4_with_the_same_times_and_sound(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    source = make_video(tmp_path / name, frames=25, **options)
    sink = overlaid(source, tmp_path / "out.mp4")
    assert sink.path.suffix == ".mp4"
    assert times(sink.path) == times(source)
    ours, theirs = sound(sink.path), sound(source)
    assert [data for _, data in ours] == [data for _, data in theirs]
    # Their clocks may differ (milliseconds in a mkv), the moments not.
    gaps = [abs(float(a - b)) for (a, _), (b, _) in zip(ours, theirs, strict=True) if a is not None and b is not None]
    assert max(gaps) < 0.001


@pytest.mark.parametrize("later", ["1.4", "10"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("name", ["in.ts", "in.mpg"])
def test_a_transport_stream_is_counted_from_its_first_packet_as_players_do(
    tmp_path: Path, name: str, suffix: str, later: str
) -> None:
    codec = {"in.ts": "libx264", "in.mpg": "mpeg2video"}[name]
    options = {"output_ts_offset": later}
    source = make_video(tmp_path / name, codec=codec, audio_tracks=name == "in.ts", container_options=options)
    with av.open(str(source)) as given:
        start = Fraction(given.start_time, 1_000_000)
    begins = [float(time - start) for time in times(source)]
    assert 0 <= begins[0] < 0.1 < start
    for keep in (True, False):
        video = dataclasses.replace(QUICK, keep_streams=keep)
        sink = overlaid(source, tmp_path / f"{keep}{suffix}", video=video)
        found = np.array(times(sink.path), float)
        assert found == pytest.approx(np.array(begins) - (0 if keep else begins[0]), abs=2e-3)
        assert sink.messages == []


def test_sound_of_a_transport_stream_is_unwrapped_and_stays_in_step(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.ts", audio_tracks=1, bframes=2)
    sink = overlaid(source, tmp_path / "out.mp4")
    begin = times(source)[0] - times(sink.path)[0]
    assert begin > 0
    assert times(sink.path) == [time - begin for time in times(source)]
    ours, theirs = sound(sink.path), [(time if time is None else time - begin, data) for time, data in sound(source)]
    # An mp4 holds AAC without the 7-byte header that each packet of a transport stream has.
    assert [data for _, data in ours] == [data[7:] for _, data in theirs]
    assert max(abs(float(a - b)) for (a, _), (b, _) in zip(ours, theirs, strict=True) if a and b) < 2e-5


def test_sound_goes_on_in_step_where_the_clock_of_a_transport_stream_starts_anew(tmp_path: Path) -> None:
    parts = [make_video(tmp_path / f"{i}.ts", frames=50, audio_tracks=2) for i in range(3)]
    source = concatenate(parts, tmp_path / "in.ts")
    sink = overlaid(source, tmp_path / "out.mp4")
    assert len(times(sink.path)) == 150
    assert np.diff(np.array(times(sink.path), float)) == pytest.approx(0.04, abs=1e-4)
    whole = len(times(parts[0], 1))
    for track in (1, 2):
        sound_times = np.array(times(sink.path, track), float)
        # At most one packet is lost at each join, the one that showed the jump.
        assert 3 * whole - 2 <= len(sound_times) <= 3 * whole
        assert np.diff(sound_times).max() < 0.05
        assert sound_times[-1] == pytest.approx(6.0, abs=0.1)


def test_one_damaged_time_of_a_sound_packet_costs_that_packet_only(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.ts", frames=250, audio_tracks=1)
    whole = times(source, 1)
    sink = overlaid(with_pts(source, 1, 2**31, stream_id=0xC0), tmp_path / "out.mp4")
    assert len(times(sink.path)) == 250
    kept = np.array(times(sink.path, 1), float)
    assert len(whole) - 10 <= len(kept) < len(whole)
    assert kept[-1] - kept[0] == pytest.approx(float(whole[-1] - whole[0]), abs=1e-3)
    assert any("broken packet" in message for message in sink.messages)
    # The copying did not wait for the wrong time: sound lies in the file beside its pictures.
    with av.open(str(sink.path)) as out:
        places = [(packet.stream.type, packet.pos) for packet in out.demux() if packet.size]
    pictures, sounds = (sorted(place for kind, place in places if kind == wanted) for wanted in ("video", "audio"))
    assert sounds[len(sounds) // 4] < pictures[len(pictures) // 2]


def test_a_recording_that_begins_hours_late_begins_at_0_and_keeps_step_with_its_sound(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.ts", frames=25, audio_tracks=1, container_options={"output_ts_offset": "7000"})
    assert times(source)[0] >= 7000
    sink = overlaid(source, tmp_path / "out.mp4")
    assert float(times(sink.path)[0]) < 0.2
    assert "begin at" in sink.messages[0]
    before, after = (float(times(path)[0] - times(path, 1)[0]) for path in (source, sink.path))
    assert after == pytest.approx(before, abs=2e-5)


def test_subtitles_titles_languages_and_chapters_are_kept(tmp_path: Path) -> None:
    plain = make_video(
        tmp_path / "plain.mp4", audio_tracks=2, subtitles=True, metadata={"title": "A film", "comment": "c"}
    )
    source = tmp_path / "in.mp4"
    chapters = [
        {"id": i, "start": 500 * i, "end": 500 * i + 500, "time_base": Fraction(1, 1000), "metadata": {"title": name}}
        for i, name in enumerate(("One", "Two"))
    ]
    with av.open(str(plain)) as container, av.open(str(source), "w") as out:
        copies: dict[int, Any] = {}
        for stream in container.streams:
            copies[stream.index] = out.add_stream_from_template(stream)
            copies[stream.index].metadata.update(stream.metadata)
        copies[0].metadata["handler_name"] = "Main picture"
        copies[2].disposition = av.stream.Disposition.comment.value
        out.metadata.update({"title": "A film", "comment": "c"})
        out.set_chapters(chapters)
        for packet in container.demux():
            if packet.dts is not None and packet.size > 2:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    sink = overlaid(source, tmp_path / "out.mp4")
    assert sink.messages == []
    for track in (1, 2, 3):
        assert sound(sink.path, track) == sound(source, track)
    with av.open(str(sink.path)) as result:
        assert result.metadata["title"] == "A film"
        assert result.metadata["comment"] == "c"
        assert [stream.language for stream in result.streams][1:4] == ["eng", "deu", "eng"]
        assert result.streams[0].metadata["handler_name"] == "Main picture"
        assert result.streams[2].disposition & av.stream.Disposition.comment
        found = [(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]) for c in result.chapters()]
    assert found == [(0, Fraction(1, 2), {"title": "One"}), (Fraction(1, 2), 1, {"title": "Two"})]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_cover_art_is_kept_as_cover_art(tmp_path: Path, suffix: str) -> None:
    jpeg = cv2.imencode(".jpg", np.full((32, 32, 3), 90, np.uint8))[1].tobytes()
    source = add_cover(make_video(tmp_path / "plain.mp4", audio_tracks=1), tmp_path / "in.mp4", jpeg)
    sink = overlaid(source, tmp_path / f"out{suffix}")
    assert sink.messages == []
    with av.open(str(sink.path)) as result:
        covers = [s for s in result.streams if s.disposition & av.stream.Disposition.attached_pic]
        assert len(covers) == 1
        index = covers[0].index
    assert stream_packets(sink.path, index)[0].data == jpeg


def test_a_stream_that_no_mp4_holds_makes_the_result_a_mkv_and_is_said(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mkv", audio_tracks=1, subtitles=True)
    sink = overlaid(source, tmp_path / "out.mp4")
    assert sink.path == tmp_path / "out.mkv"
    assert names_in(tmp_path) == ["in.mkv", "out.mkv"]
    assert "out.mkv is written instead of out.mp4" in sink.messages[0]
    assert "srt" in sink.messages[0]
    assert times(sink.path) == times(source)
    for track in (1, 2):
        assert sound(sink.path, track) == sound(source, track)
    with pytest.raises(EncodeError, match=r"out\.mkv exists already"):
        overlaid(source, tmp_path / "out.mp4")


def test_a_stream_that_the_wanted_container_cannot_hold_is_never_dropped_in_silence(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", audio_tracks=1, subtitles=True)
    sink = overlaid(source, tmp_path / "out.mkv")
    assert sink.messages == ["left out, as a .mkv file cannot hold it: subtitle stream 2 (mov_text, eng)"]
    assert [data for _, data in sound(sink.path)] == [data for _, data in sound(source)]


def test_a_time_code_track_is_made_anew(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mov", metadata={"timecode": "01:00:00:00"})
    sink = overlaid(source, tmp_path / "out.mov")
    assert sink.messages == []
    with av.open(str(sink.path)) as result:
        assert result.streams[0].metadata["timecode"] == "01:00:00:00"


def test_streams_are_left_out_when_asked(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", audio_tracks=1, subtitles=True)
    sink = overlaid(source, tmp_path / "out.mp4", video=VideoOptions(preset="ultrafast", keep_streams=False))
    with av.open(str(sink.path)) as result:
        assert [stream.type for stream in result.streams] == ["video"]


def test_a_part_begins_at_0_with_the_sound_of_that_part_only(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=150, audio_tracks=1, subtitles=True, bframes=2)
    sink = overlaid(source, tmp_path / "out.mp4", start=2.1, end=4.0)
    # Frames at 2.12, 2.16, ..., 3.96.
    assert times(sink.path) == [Fraction(i, 25) for i in range(47)]
    ours, theirs = sound(sink.path), sound(source)
    first = [data for _, data in theirs].index(ours[0][1])
    assert ours == [(time - Fraction(53, 25), data) for time, data in theirs[first : first + len(ours)] if time]
    assert ours[0][0] is not None
    assert 0 <= ours[0][0] < Fraction(1024, 48000)
    last = ours[-1][0]
    assert last is not None
    assert Fraction(188, 100) - Fraction(1024, 48000) <= last < Fraction(188, 100)
    # The line that is on screen at the start, and the one that follows at 3 seconds.
    lines = [(packet.pts, packet.data[2:]) for packet in stream_packets(sink.path, 2) if packet.size > 2]
    assert lines == [(0, b"first line"), (Fraction(88, 100), b"second line")]


def test_an_end_alone_cuts_sound_at_the_end_and_moves_nothing(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=50, audio_tracks=1)
    sink = overlaid(source, tmp_path / "out.mp4", end=1.0)
    assert times(sink.path) == times(source)[:25]
    kept = [item for item in sound(source) if item[0] is not None and item[0] < 1]
    assert sound(sink.path) == kept


def test_times_that_do_not_grow_are_moved_minimally_and_counted(tmp_path: Path) -> None:
    batch = made_batch([0.0, 0.04, 0.04, 0.08, 0.05], pts=[0, 40, 40, 80, 50])
    sink = VideoSink(tmp_path / "out.mp4", made_info(), video=QUICK)
    with sink:
        sink.write(batch)
    assert times(sink.path) == [Fraction(ms, 1000) for ms in (0, 40, 41, 80, 81)]
    assert "2 frames" in sink.messages[0]


@pytest.mark.parametrize(("rate", "lasts"), [(Fraction(25), 40), (Fraction(10), 100), (None, 1)])
def test_the_last_picture_lasts_as_long_as_the_rate_says(tmp_path: Path, rate: Fraction | None, lasts: int) -> None:
    """In thousandths of a second; without a rate it is there for one unit of its clock, the least that can be."""
    sink = VideoSink(tmp_path / "out.mp4", made_info(rate=rate), video=QUICK)
    with sink:
        sink.write(made_batch([0.0, 0.04, 0.3], pts=[0, 40, 300]))
    with av.open(str(sink.path)) as result:
        stream = result.streams.video[0]
        assert stream.duration * stream.time_base == Fraction(300 + lasts, 1000)


@pytest.mark.parametrize("frames", [11, 12, 16, 17])
def test_the_last_picture_is_shown_although_another_one_is_coded_after_it(tmp_path: Path, frames: int) -> None:
    """With B-frames, in a file of several fragments: its players end where the last packet does."""
    sink = VideoSink(tmp_path / "out.mp4", made_info(rate=Fraction(10)), video=VideoOptions(encoder_threads=1))
    seconds = [n / 10 for n in range(frames)]
    with sink:
        sink.write(made_batch(seconds, pts=[100 * n for n in range(frames)]))
    assert shown_times(sink.path) == [Fraction(n, 10) for n in range(frames)]
    with av.open(str(sink.path)) as result:
        stream = result.streams.video[0]
        order = [packet.pts for packet in result.demux(stream) if packet.pts is not None]
        assert order[-1] < max(order)
        assert stream.duration * stream.time_base == Fraction(frames, 10)


def test_pictures_without_times_of_their_own_get_the_batch_times(tmp_path: Path) -> None:
    moments = [0.0, 0.1, 0.15, 0.4]
    sink = VideoSink(tmp_path / "out.mp4", made_info(), video=QUICK)
    with sink:
        sink.write(made_batch(moments))
    assert [float(time) for time in times(sink.path)] == pytest.approx(moments, abs=1e-5)


def test_a_first_time_below_0_moves_the_whole_to_0(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", made_info(), video=QUICK)
    with sink:
        sink.write(made_batch([0.0, 0.04], pts=[-100, -60]))
    assert shown_times(sink.path) == [0, Fraction(1, 25)]
    assert "below 0" in sink.messages[0]


# --- pictures ---

BARS = [(255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0)]
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def bars(height: int, width: int) -> Callable[[int], RGB]:
    row = np.repeat(np.array(BARS, np.uint8), width // 8, axis=0)
    return lambda i: np.broadcast_to(row, (height, width, 3)).copy()


def yuv_of(rgb: tuple[int, int, int], matrix: int, *, full: bool) -> list[float]:
    """The definition, ITU-R BT.601, BT.709 and BT.2020."""
    kr, kb = WEIGHTS[matrix]
    r, g, b = (value / 255 for value in rgb)
    luma = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - luma) / 2 / (1 - kb), (r - luma) / 2 / (1 - kr)
    return [255 * luma, 128 + 255 * u, 128 + 255 * v] if full else [16 + 219 * luma, 128 + 224 * u, 128 + 224 * v]


@pytest.mark.parametrize(
    ("height", "tagged", "full", "expected"),
    [
        pytest.param(48, 1, False, 1, id="709"),
        pytest.param(48, 6, False, 6, id="601"),
        pytest.param(48, 9, False, 9, id="2020"),
        pytest.param(48, 1, True, 1, id="709 full range"),
        pytest.param(48, 5, True, 5, id="601 full range"),
        pytest.param(48, None, False, 6, id="untagged SD"),
        pytest.param(720, None, False, 1, id="untagged HD"),
    ],
)
def test_colour_bars_come_out_in_the_matrix_and_range_that_the_file_is_tagged_with(
    tmp_path: Path, height: int, tagged: int | None, full: bool, expected: int
) -> None:
    if tagged == 9 and not hasattr(Colorspace, "BT2020"):
        pytest.skip("PyAV before 18 does not convert to BT.2020")
    width = 128
    source = tmp_path / "in.mp4"
    options: dict[str, Any] = {"codec_options": {"qp": "1", "crf": "0"}}
    if tagged is None:
        # Converted by hand to what players assume: made with a tag, which is then left out.
        options["codec_options"]["x264-params"] = "colormatrix=undef"
    make_video(
        source,
        frames=2,
        width=width,
        height=height,
        picture=bars(height, width),
        colorspace=tagged or expected,
        color_range=2 if full else 1,
        **options,
    )
    sink = overlaid(source, tmp_path / "out.mp4", render=INVISIBLE, video=VideoOptions(preset="ultrafast", crf=1))
    with av.open(str(sink.path)) as result:
        frame = next(result.decode(video=0))
    assert int(frame.colorspace) == expected
    assert int(frame.color_range) == (2 if full else 1)
    planes = [np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
    for i, rgb in enumerate(BARS):
        x = i * 16 + 8
        got = [float(plane[plane.shape[0] // 2, x // (1 if k == 0 else 2)]) for k, plane in enumerate(planes)]
        np.testing.assert_allclose(got, yuv_of(rgb, expected, full=full), atol=4)
    # Under the other matrix green differs by far more: the tolerance above tells them apart.
    other = 6 if expected in (1, 9) else 1
    assert np.abs(np.subtract(yuv_of(BARS[3], other, full=full), yuv_of(BARS[3], expected, full=full))).max() > 15


def test_tags_of_high_dynamic_range_are_kept(tmp_path: Path) -> None:
    source = make_video(
        tmp_path / "in.mp4",
        frames=3,
        pix_fmt="yuv420p10le",
        colorspace=9,
        color_primaries=9,
        color_trc=16,
        color_range=1,
    )
    sink = overlaid(source, tmp_path / "out.mp4")
    with av.open(str(sink.path)) as result:
        context = result.streams.video[0].codec_context
        # PyAV before 18 converts to BT.709 instead of BT.2020, and tags it so.
        matrix = 9 if hasattr(Colorspace, "BT2020") else 1
        assert (context.pix_fmt, context.colorspace) == ("yuv420p", matrix)
        assert (context.color_primaries, context.color_trc) == (9, 16)


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p", "gray", "yuvj420p"])
def test_other_pixel_formats_become_8_bit_420_that_looks_the_same(tmp_path: Path, pix_fmt: str) -> None:
    source = make_video(tmp_path / "in.mp4", frames=2, pix_fmt=pix_fmt)
    sink = overlaid(source, tmp_path / "out.mp4", render=INVISIBLE)
    pictures = []
    for path in (source, sink.path):
        with open_video(path) as reader:
            pictures.append(next(iter(reader)).frames.astype(int))
    assert np.abs(pictures[0] - pictures[1]).mean() < 3
    with av.open(str(sink.path)) as result:
        assert result.streams.video[0].codec_context.format.name in ("yuv420p", "yuvj420p")


def test_turned_pictures_are_written_upright_and_their_pixel_shape_turns_too(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=3, rotation=90, sample_aspect_ratio=Fraction(4, 3))
    sink = overlaid(source, tmp_path / "out.mp4", render=INVISIBLE)
    with av.open(str(sink.path)) as result:
        stream = result.streams.video[0]
        frame = next(result.decode(stream))
        assert (frame.width, frame.height, frame.rotation) == (48, 64, 0)
        assert stream.sample_aspect_ratio == Fraction(3, 4)
    with open_video(source) as before, open_video(sink.path) as after:
        gap = np.abs(next(iter(before)).frames.astype(int) - next(iter(after)).frames)
    assert gap.mean() < 4


def test_side_by_side_is_twice_as_wide_with_the_same_pixel_shape(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=2, sample_aspect_ratio=Fraction(4, 3))
    sink = overlaid(source, tmp_path / "out.mp4", render=RenderOptions(side_by_side=True))
    with av.open(str(sink.path)) as result:
        stream = result.streams.video[0]
        assert (stream.width, stream.height, stream.sample_aspect_ratio) == (128, 48, Fraction(4, 3))


def test_odd_sides_are_made_even_by_repeating_the_edge_and_that_is_said(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mkv", frames=2, width=65, height=49, pix_fmt="yuv444p")
    sink = overlaid(source, tmp_path / "out.mp4", render=INVISIBLE)
    assert "66x50 instead of 65x49" in sink.messages[0]
    with open_video(source) as before, open_video(sink.path) as after:
        old, new = next(iter(before)).frames[0].astype(int), next(iter(after)).frames[0].astype(int)
    assert new.shape == (50, 66, 3)
    assert np.abs(new[:49, :65] - old).mean() < 5
    assert np.abs(new[:49, 65] - old[:, 64]).mean() < 12


def test_the_heat_is_where_people_look(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", made_info(), video=QUICK)
    with sink:
        sink.write(made_batch([0.0, 0.04]))
    with open_video(sink.path) as reader:
        frame = next(iter(reader)).frames[0].astype(int)
    # Cell (1, 6) of 6 x 8 covers rows 8 to 16 and columns 48 to 56; everything else stays grey.
    assert np.abs(frame[8:16, 48:56] - 90).max() > 30
    assert np.abs(frame[:, :36] - 90).max() < 6
    assert np.abs(frame[30:] - 90).max() < 6


# --- kills, errors, full disks ---


def run_in_child(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return processes.run("import sys\n" + textwrap.dedent(code), *arguments)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_kill_leaves_a_readable_partial_file_and_the_next_run_is_clean(tmp_path: Path, name: str) -> None:
    source = make_video(tmp_path / "in.mp4", frames=300, audio_tracks=1, subtitles=name == "out.mp4")
    code = """
        import os, signal
        from test_sinks import saliency
        from vidsal.decode import open_video
        from vidsal.sinks import VideoSink
        with open_video(sys.argv[1], size=(12, 16), keep_pictures=True) as reader:
            with VideoSink(sys.argv[2], reader.info) as sink:
                for batch in reader:
                    sink.write(saliency(batch))
                    if batch.index[-1] >= 199:
                        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_in_child(code, str(source), str(tmp_path / name)).returncode == -9
    partial = tmp_path / name.replace("out", "out.partial")
    # The lock went with the process; its file stays until the next run.
    assert names_in(tmp_path) == ["in.mp4", partial.name, f"{partial.name}.lock"]
    shown = shown_times(partial)
    # The very last frames may refer to one that is not there; a .mkv moves all by what the sound begins before 0.
    kept = [float(time) for time in shown[:-8]]
    shift = float(shown[0])
    assert 0 <= shift <= (0.022 if partial.suffix == ".mkv" else 0)
    truth = [float(time) + shift for time in shown_times(source)[: len(kept)]]
    assert kept == pytest.approx(truth, abs=1.1e-3 if partial.suffix == ".mkv" else 0)
    # The encoder looks two seconds ahead, at 25 frames a second.
    assert len(shown) >= 130
    assert len(stream_packets(partial, 1)) >= 130 / 25 * 48000 / 1024 - 25
    sink = overlaid(source, tmp_path / name)
    assert names_in(tmp_path) == ["in.mp4", name]
    assert len(times(sink.path)) == 300


def test_a_full_disk_is_one_clear_error_and_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=60, width=320, height=240, audio_tracks=1)
    code = """
        import json, resource, signal
        from pathlib import Path
        from test_sinks import saliency
        from vidsal.decode import DecodeOptions, open_video
        from vidsal.errors import EncodeError
        from vidsal.sinks import ImageSink, MapsSink, TableSink, VideoSink
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        folder, said = Path(sys.argv[2]), {}
        for name in ("a.mp4", "b.mkv", "c.mkv", "d.npz", "e.csv", "f.jsonl", "g.png"):
            target = folder / name
            options = DecodeOptions(batch_size=1 if name == "g.png" else 8)
            with open_video(sys.argv[1], options=options, size=(12, 16), keep_pictures=True) as reader:
                if name in ("a.mp4", "b.mkv"):
                    sink = VideoSink(target, reader.info)
                elif name == "g.png":
                    sink = ImageSink(target)
                else:
                    sink = TableSink(target) if name in ("e.csv", "f.jsonl") else MapsSink(target)
                try:
                    with sink:
                        for batch in reader:
                            sink.write(saliency(batch))
                except EncodeError as error:
                    said[name] = str(error)
        print(json.dumps(said))
    """
    (tmp_path / "out").mkdir()
    done = run_in_child(code, str(source), str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert sorted(said) == ["a.mp4", "b.mkv", "c.mkv", "d.npz", "e.csv", "f.jsonl", "g.png"]
    for name, message in said.items():
        stem, suffix = name.split(".")
        assert f"{stem}.partial.{suffix}: the disk is full" in message
    assert all(".partial." in name and not name.endswith(".raw") for name in names_in(tmp_path / "out"))


def test_an_error_keeps_what_was_written_under_the_partial_name(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", made_info(), video=QUICK)
    with pytest.raises(RuntimeError, match="elsewhere"), sink:
        sink.write(made_batch([i / 25 for i in range(10)]))
        raise RuntimeError("elsewhere")
    assert names_in(tmp_path) == ["out.partial.mp4"]
    assert sink.partial_path.name == "out.partial.mp4"
    assert len(shown_times(sink.partial_path)) == 10


def sinks_for(folder: Path, *, overwrite: bool = False) -> list[Sink]:
    return [
        VideoSink(folder / "a.mp4", made_info(), video=QUICK, overwrite=overwrite),
        ImageSink(folder / "b.png", overwrite=overwrite),
        MapsSink(folder / "c.mkv", overwrite=overwrite),
        MapsSink(folder / "d.npz", overwrite=overwrite),
        TableSink(folder / "e.csv", overwrite=overwrite),
        TableSink(folder / "f.jsonl", overwrite=overwrite),
        TableSink(folder / "g.parquet", overwrite=overwrite),
        ExportSink(folder / "h.csv", "shots", Footage(name="a"), overwrite=overwrite),
    ]


@pytest.mark.parametrize("number", range(8))
def test_without_a_frame_no_file_is_left(tmp_path: Path, number: int) -> None:
    with pytest.raises(RuntimeError, match="early"), sinks_for(tmp_path)[number]:
        raise RuntimeError("early")
    assert names_in(tmp_path) == []
    with pytest.raises(EncodeError, match="no frame came"), sinks_for(tmp_path)[number]:
        pass
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("number", range(8))
def test_the_final_name_appears_only_at_the_end(tmp_path: Path, number: int) -> None:
    with sinks_for(tmp_path)[number] as sink:
        sink.write(made_batch([0.0]))
        assert not sink.path.exists()
    assert names_in(tmp_path) == [sink.path.name]


def test_an_existing_target_is_refused_by_name_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_text("precious")
    with pytest.raises(EncodeError, match=r"out\.mp4 exists already; use overwrite=True"):
        VideoSink(tmp_path / "out.mp4", made_info())
    assert (tmp_path / "out.mp4").read_text() == "precious"
    with VideoSink(tmp_path / "out.mp4", made_info(), video=QUICK, overwrite=True) as sink:
        sink.write(made_batch([0.0]))
        assert (tmp_path / "out.mp4").read_text() == "precious"
    assert len(times(tmp_path / "out.mp4")) == 1


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_run_on_the_same_target_is_refused_and_the_first_is_whole(
    tmp_path: Path, number: int, overwrite: bool
) -> None:
    first, second, late = (sinks_for(tmp_path, overwrite=overwrite)[number] for _ in range(3))
    with first:
        first.write(made_batch([0.0]))
        with pytest.raises(EncodeError, match=rf"{first.path.name}: another run is writing .*\.partial\."), second:
            pass
    assert names_in(tmp_path) == [first.path.name]
    content = first.path.read_bytes()
    if overwrite:
        with late:
            late.write(made_batch([0.0]))
    else:
        with pytest.raises(EncodeError, match="exists already"), late:
            pass
        assert first.path.read_bytes() == content
    assert names_in(tmp_path) == [first.path.name]


def test_a_second_process_is_refused_too_until_the_first_is_killed(tmp_path: Path) -> None:
    code = """
        import os, signal
        from test_sinks import made_batch
        from vidsal.errors import EncodeError
        from vidsal.sinks import TableSink
        sink = TableSink(sys.argv[1])
        try:
            with sink:
                sink.write(made_batch([0.0]))
                os.kill(os.getpid(), signal.SIGKILL)
        except EncodeError as error:
            print(error)
    """
    target = tmp_path / "out.csv"
    with TableSink(target) as sink:
        sink.write(made_batch([0.0, 0.1]))
        assert "another run is writing" in run_in_child(code, str(target)).stdout
    assert len(read_table(target)) == 2
    target.unlink()
    assert run_in_child(code, str(target)).returncode == -9
    assert names_in(tmp_path) == ["out.partial.csv", "out.partial.csv.lock"]
    with TableSink(target) as sink:
        sink.write(made_batch([0.0, 0.1, 0.2]))
    assert names_in(tmp_path) == ["out.csv"]
    assert len(read_table(target)) == 3


def test_a_file_that_appears_under_the_final_name_meanwhile_is_kept_and_so_is_the_result(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    with (
        pytest.raises(EncodeError, match=r"out\.csv has appeared .* result is .*out\.partial\.csv"),
        TableSink(target) as sink,
    ):
        sink.write(made_batch([0.0]))
        target.write_text("precious")
    assert names_in(tmp_path) == ["out.csv", "out.partial.csv"]
    assert target.read_text() == "precious"
    with TableSink(target, overwrite=True) as sink:
        sink.write(made_batch([0.0]))
    assert names_in(tmp_path) == ["out.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
@pytest.mark.parametrize("number", range(8))
def test_a_result_that_is_replaced_keeps_its_mode(tmp_path: Path, number: int) -> None:
    for mode in (None, 0o600, 0o640):
        sink = sinks_for(tmp_path, overwrite=True)[number]
        if mode is not None:
            sink.path.chmod(mode)
        with sink:
            sink.write(made_batch([0.0]))
        assert mode is None or stat.S_IMODE(sink.path.stat().st_mode) == mode


def test_every_sink_says_which_stage_of_a_report_it_is(tmp_path: Path) -> None:
    stages = [sink.stage for sink in sinks_for(tmp_path) if isinstance(sink, FileSink)]
    assert stages == ["video", "image", "maps", "maps", "table", "table", "table", "shots"]


def test_the_source_is_never_replaced(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=2)
    (tmp_path / "alias.mp4").symlink_to(source)
    for name in ("in.mp4", "alias.mp4"):
        with pytest.raises(EncodeError, match="source itself"):
            VideoSink(tmp_path / name, made_info(path=source), overwrite=True)


def test_a_missing_folder_and_a_folder_as_target_are_named(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="missing does not exist"):
        TableSink(tmp_path / "missing" / "out.csv")
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(EncodeError, match="it is a folder"):
        TableSink(tmp_path / "out.csv", overwrite=True)


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda folder: VideoSink(folder / "out.gif", made_info()), ".mp4, .mov, .mkv"),
        (lambda folder: MapsSink(folder / "out.mp4"), ".mkv, .npz"),
        (lambda folder: TableSink(folder / "out.xls"), ".csv, .jsonl, .parquet"),
    ],
)
def test_an_ending_that_is_not_known_is_an_error_that_lists_the_known(
    tmp_path: Path, make: Callable[[Path], Sink], allowed: str
) -> None:
    with pytest.raises(ConfigError, match=allowed):
        make(tmp_path)


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ("libnosuch", "'libnosuch' is not in this build of FFmpeg"),
        ("pcm_s16le", "'pcm_s16le' is one for audio, not for video"),
        ("h264_v4l2m2m", "hardware encoder 'h264_v4l2m2m' cannot be used here"),
        ("h264_nvenc", "hardware encoder 'h264_nvenc' cannot be used here"),
        ("prores_ks", "'prores_ks' makes prores, which a .mp4 file cannot hold: take container=mov or container=mkv"),
    ],
)
def test_an_encoder_that_does_not_work_here_is_known_before_the_first_frame(
    tmp_path: Path, encoder: str, said: str
) -> None:
    if encoder not in av.codecs_available and encoder != "libnosuch":
        pytest.skip(f"this build of FFmpeg has no {encoder}")
    # No encoder makes pictures this narrow in hardware, so the outcome is the same where there is a device.
    info = made_info() if encoder == "prores_ks" else made_info(width=2, height=2)
    # That there is no such encoder is the option's fault; that it does not work here is not.
    kind = ConfigError if "is not in" in said or "is one for" in said else EncodeError
    with pytest.raises(kind, match=f"{said}.*use encoder=libx264") as caught:
        VideoSink(tmp_path / "out.mp4", info, video=VideoOptions(encoder=encoder))
    assert "avcodec_open2" not in str(caught.value) and "{" not in str(caught.value)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("encoder", ["libsvtav1", "libvpx-vp9", "libvpx"])
def test_what_a_mov_cannot_hold_although_ffmpeg_lists_it_is_named_with_the_containers_that_can(
    tmp_path: Path, encoder: str
) -> None:
    if encoder not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {encoder}")
    others = "container=mkv" if encoder == "libvpx" else "container=mp4 or container=mkv"
    with pytest.raises(EncodeError, match=rf"which a \.mov file cannot hold: take {others}, or use encoder=libx264"):
        VideoSink(tmp_path / "out.mov", made_info(), video=VideoOptions(encoder=encoder))


def test_a_preset_that_the_encoder_does_not_take_is_an_error_that_lists_those_it_takes() -> None:
    for encoder in ("libx264", "libx265", "libsvtav1", "h264_nvenc"):
        with pytest.raises(ConfigError, match=f"{encoder} does not take the preset 'bogus'.* fast, medium, slow"):
            VideoOptions(encoder=encoder, preset="bogus")
    VideoOptions(preset="placebo")
    with pytest.raises(ConfigError, match=r"libsvtav1 does not take the preset 'placebo'.* veryslow, or .* 0 to 13$"):
        VideoOptions(encoder="libsvtav1", preset="placebo")


@pytest.mark.parametrize(
    ("encoder", "worst"), [("libx264", 51), ("libx265", 51), ("libsvtav1", 63), ("libvpx-vp9", 63)]
)
def test_the_worst_quality_is_that_of_the_encoder(encoder: str, worst: int) -> None:
    assert VideoOptions(encoder=encoder, crf=worst).crf == worst
    with pytest.raises(ConfigError, match=f"from 0 .best. to {worst} for {encoder}, got {worst + 1}"):
        VideoOptions(encoder=encoder, crf=worst + 1)


@pytest.mark.skipif("libsvtav1" not in av.codecs_available, reason="this build of FFmpeg has no libsvtav1")
def test_libsvtav1_says_nothing_of_itself(tmp_path: Path) -> None:
    code = """
        from test_sinks import made_batch, made_info
        from vidsal.sinks import VideoOptions, VideoSink
        with VideoSink(sys.argv[1], made_info(), video=VideoOptions(encoder="libsvtav1", preset="ultrafast")) as sink:
            sink.write(made_batch([0.0]))
    """
    done = run_in_child(code, str(tmp_path / "out.mp4"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(times(tmp_path / "out.mp4")) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere libsvtav1 asks for nothing")
@pytest.mark.skipif("libsvtav1" not in av.codecs_available, reason="this build of FFmpeg has no libsvtav1")
def test_libsvtav1_makes_no_thread_of_the_process_real_time(tmp_path: Path) -> None:
    # It does so where root opens it, for good: whatever computes then keeps all else off the cores.
    code = """
        import os
        from test_sinks import made_batch, made_info
        from vidsal.sinks import VideoOptions, VideoSink

        def policies():
            return {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}

        with VideoSink(sys.argv[1], made_info(), video=VideoOptions(encoder="libsvtav1", preset="12")) as sink:
            found = [policies()]
            sink.write(made_batch([0.0, 0.1]))
            found.append(policies())
        found.append(policies())
        assert found == [{os.SCHED_OTHER}] * 3, found
    """
    done = run_in_child(code, str(tmp_path / "out.mp4"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("encoder", "mark"), [("libx264", "threads=%d "), ("libx265", "frame-threads=%d ")])
def test_the_encoder_takes_as_many_threads_as_asked(tmp_path: Path, encoder: str, mark: str) -> None:
    if encoder not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {encoder}")
    for threads in (1, 3):
        video = VideoOptions(encoder=encoder, preset="ultrafast", encoder_threads=threads)
        # Too low a picture would have fewer.
        info = made_info(width=320, height=480)
        with VideoSink(tmp_path / f"{threads}.mkv", info, video=video) as sink:
            sink.write(made_batch([0.0], size=(480, 320)))
        # Both encoders write their settings into the first picture.
        assert (mark % threads).encode() in sink.path.read_bytes()


@pytest.mark.parametrize("encoder", ["libx265", "mpeg4", "libvpx-vp9"])
def test_other_encoders_write_the_same_frames(tmp_path: Path, encoder: str) -> None:
    if encoder not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {encoder}")
    batch = made_batch([0.0, 0.1, 0.15], pts=[0, 100, 150])
    info = made_info(time_base=Fraction(1, 1000))
    with VideoSink(tmp_path / "out.mp4", info, video=VideoOptions(encoder=encoder, preset="ultrafast")) as sink:
        sink.write(batch)
    assert shown_times(sink.path) == [0, Fraction(1, 10), Fraction(3, 20)]


@pytest.mark.parametrize("wrong", [{"crf": 52}, {"encoder": ""}, {"crf": -1}, {"encoder_threads": -1}])
def test_a_wrong_video_option_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        VideoOptions(**wrong)


# --- image, maps, tables ---


def test_an_image_is_written_with_its_heat(tmp_path: Path) -> None:
    with ImageSink(tmp_path / "out.png") as sink:
        sink.write(made_batch([0.0]))
    picture = cv2.imread(str(sink.path)).astype(int)
    assert picture.shape == (48, 64, 3)
    assert (picture[30:] == 90).all()
    assert picture[12, 52, 2] - picture[12, 52, 0] > 40  # the hot end of turbo is red; OpenCV reads BGR
    with pytest.raises(ValueError, match="one frame"), ImageSink(tmp_path / "two.png") as sink:
        sink.write(made_batch([0.0, 0.1]))


def random_batch(count: int, first: int = 0, sharpness: float = 6.0) -> SaliencyBatch:
    rng = torch.Generator().manual_seed(first)
    logits = sharpness * torch.rand(count, 30, 40, generator=rng)
    index = np.arange(first, first + count)
    return SaliencyBatch(
        index=index,
        pts_seconds=index * 0.0417083,
        shot=index // 5,
        cut=(index % 5 == 0) & (index > 0),
        log_density=logits.flatten(1).log_softmax(1).reshape(logits.shape),
        height=720,
        width=1280,
    )


def test_a_map_video_gives_the_density_back_within_half_a_unit(tmp_path: Path) -> None:
    batches = [random_batch(4), random_batch(3, first=4)]
    with MapsSink(tmp_path / "maps.mkv") as sink:
        for batch in batches:
            sink.write(batch)
    with av.open(str(sink.path)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
        unit = float(tags["vidsal_density_per_unit"])
        stream = container.streams.video[0]
        frames = [(float(frame.pts * stream.time_base), frame.to_ndarray()) for frame in container.decode(stream)]
        assert stream.codec_context.format.name == "gray16le"
    assert unit == pytest.approx(MAPS_FULL_SCALE / 65535 / 1200)
    truth = torch.cat([batch.density for batch in batches]).numpy()
    assert len(frames) == 7
    for i, (seconds, values) in enumerate(frames):
        assert seconds == pytest.approx(i * 0.0417083, abs=5.1e-4)
        np.testing.assert_allclose(values * unit, truth[i], rtol=0, atol=0.5001 * unit)
    # The maps are far from flat, so a scale per frame or a lost map would show.
    assert truth.max() > 10 * truth.min()
    assert sink.messages == []


def test_cells_beyond_the_scale_of_a_map_video_are_clipped_and_counted(tmp_path: Path) -> None:
    sharp = random_batch(2, sharpness=2000.0)
    above = int((sharp.density * 1200 > MAPS_FULL_SCALE * (1 + 0.5 / 65535)).sum())
    assert above > 0
    with MapsSink(tmp_path / "maps.mkv") as sink:
        sink.write(sharp)
    assert sink.messages[0].startswith(f"{above} cells")


def test_map_arrays_give_back_the_log_density_and_all_that_belongs_to_it(tmp_path: Path) -> None:
    batches = [random_batch(4), random_batch(3, first=4)]
    with MapsSink(tmp_path / "maps.npz") as sink:
        for batch in batches:
            sink.write(batch)
    assert names_in(tmp_path) == ["maps.npz"]
    with np.load(sink.path, allow_pickle=False) as arrays:
        assert arrays["log_density"].dtype == np.float16
        truth = torch.cat([batch.density for batch in batches]).numpy()
        np.testing.assert_allclose(np.exp(arrays["log_density"].astype(np.float64)), truth, rtol=0.004)
        np.testing.assert_array_equal(arrays["index"], np.arange(7))
        np.testing.assert_array_equal(arrays["pts_seconds"], np.arange(7) * 0.0417083)
        np.testing.assert_array_equal(arrays["shot"], [0, 0, 0, 0, 0, 1, 1])
        assert (int(arrays["height"]), int(arrays["width"])) == (720, 1280)


def test_map_arrays_hold_impossible_places_as_finite_numbers(tmp_path: Path) -> None:
    batch = random_batch(1)
    batch.log_density[0, 0, 0] = -math.inf
    with MapsSink(tmp_path / "maps.npz") as sink:
        sink.write(batch)
    with np.load(sink.path) as arrays:
        assert np.isfinite(arrays["log_density"]).all()
        assert np.exp(arrays["log_density"][0, 0, 0].astype(np.float64)) == 0


def read_table(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        rows: list[dict[str, Any]] = parquet.read_table(str(path)).to_pylist()
        return rows
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return [
            {
                key: None
                if text == ""
                else {"true": True, "false": False}.get(text, text)
                if text in ("true", "false")
                else float(text)
                for key, text in row.items()
            }
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_holds_the_numbers_of_the_tracker_one_row_a_frame(tmp_path: Path, suffix: str) -> None:
    batches = [random_batch(4), random_batch(8, first=4)]
    with TableSink(tmp_path / f"table{suffix}") as sink:
        for batch in batches:
            sink.write(batch)
    tracker = Tracker()
    expected = [numbers.as_row() for batch in batches for numbers in tracker.update(batch)]
    rows = read_table(sink.path)
    assert [list(row) for row in rows] == [list(FrameNumbers.columns())] * 12
    for row, truth in zip(rows, expected, strict=True):
        assert row == pytest.approx(truth, rel=1e-8, nan_ok=True)
    assert [row["cut"] for row in rows] == [i % 5 == 0 and i > 0 for i in range(12)]


PARQUET_TYPES = {
    **dict.fromkeys(("index", "shot", "region1_id", "region2_id", "region3_id"), "int64"),
    **dict.fromkeys(("pts_seconds", "peak_x", "peak_y", "peak_density", "centroid_x", "centroid_y"), "double"),
    **dict.fromkeys(("spread_x", "spread_y", "entropy_bits", "entropy_share", "coverage"), "double"),
    **{f"region{place}_{what}": "double" for place in (1, 2, 3) for what in ("x", "y", "mass")},
    **{f"region{place}_{what}": "int64" for place in (1, 2, 3) for what in ("left", "top", "width", "height")},
    "cut": "bool",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MoreNumbers(FrameNumbers):
    """A column of each type whose name says nothing of it."""

    bright_cells: int
    dim: bool
    word: str
    last_id: float | None


class MoreTracker(Tracker):
    row = MoreNumbers

    def update(self, batch: SaliencyBatch) -> list[FrameNumbers]:
        more: dict[str, Any] = {"bright_cells": 2**53 + 1, "dim": True, "word": "a,b", "last_id": None}
        return [MoreNumbers(**vars(numbers), **more) for numbers in super().update(batch)]


def test_a_column_has_the_type_that_its_field_is_annotated_with(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    more = {"bright_cells": "int64", "dim": "bool", "word": "string", "last_id": "double"}
    for tracker, wanted in ((None, PARQUET_TYPES), (MoreTracker(), PARQUET_TYPES | more)):
        with TableSink(tmp_path / "table.parquet", tracker, overwrite=True) as sink:
            sink.write(random_batch(3))
        schema = parquet.read_schema(str(sink.path))
        assert {name: str(kind) for name, kind in zip(schema.names, schema.types, strict=True)} == wanted
    # As a float, 2**53 + 1 is 2**53.
    assert [row["bright_cells"] for row in read_table(sink.path)] == [2**53 + 1] * 3


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_columns_of_another_source_stand_to_the_right_of_the_trackers(tmp_path: Path, suffix: str) -> None:
    row = dataclasses.make_dataclass("row", [("bright_cells", int), ("dim", bool | None)])

    class Source:
        def __init__(self) -> None:
            self.row = row

        def update(self, batch: SaliencyBatch) -> list[Any]:
            # NumPy's own numbers and truth values are as good as Python's.
            return [row(number, None if number % 2 else number > 2) for number in batch.index]

    with TableSink(tmp_path / f"table{suffix}", further=[Source()]) as sink:
        sink.write(random_batch(2))
        sink.write(random_batch(3, first=2))
    rows = read_table(sink.path)
    assert [list(each) for each in rows] == [[*FrameNumbers.columns(), "bright_cells", "dim"]] * 5
    assert [each["bright_cells"] for each in rows] == [each["index"] for each in rows] == list(range(5))
    assert [each["dim"] for each in rows] == [False, None, False, None, True]


def test_columns_that_cannot_be_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    strange: tuple[Any, ...] = (list[int], int | float, Literal[1], None, complex)
    for kind in strange:
        source = SimpleNamespace(row=dataclasses.make_dataclass("Row", [("odd", kind)]), update=lambda batch: [])
        with pytest.raises(
            TypeError, match=r"column odd of Row is annotated .*; a table takes bool, int, float or str"
        ):
            TableSink(tmp_path / "table.csv", further=[source])
    with pytest.raises(ConfigError, match=r"two columns of .*table\.csv are called index"):
        TableSink(tmp_path / "table.csv", further=[Tracker()])
    assert names_in(tmp_path) == []


def test_a_source_of_columns_that_loses_a_frame_is_an_error(tmp_path: Path) -> None:
    row = dataclasses.make_dataclass("Row", [("one", int)])
    source = SimpleNamespace(row=row, update=lambda batch: [row(1)])
    with pytest.raises(ValueError, match="shorter"), TableSink(tmp_path / "t.csv", further=[source]) as sink:
        sink.write(random_batch(2))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_rows_are_on_disk_after_every_batch(tmp_path: Path, suffix: str) -> None:
    with TableSink(tmp_path / f"table{suffix}") as sink:
        for i in range(3):
            sink.write(random_batch(2, first=2 * i))
            partial = tmp_path / f"table.partial{suffix}"
            assert len(read_table(partial)) == 2 * (i + 1)


def test_a_parquet_table_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(EncodeError, match=r"pip install 'vidsal\[parquet\]'"):
        TableSink(tmp_path / "table.parquet")


def test_drawing_without_pictures_is_refused(tmp_path: Path) -> None:
    batch: npt.NDArray[Any] | SaliencyBatch = random_batch(1)
    with pytest.raises(ValueError, match="keep_pictures"), VideoSink(tmp_path / "o.mp4", made_info(), video=QUICK) as s:
        s.write(batch)
    assert names_in(tmp_path) == []
