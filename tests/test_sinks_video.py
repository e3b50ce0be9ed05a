"""What the encoder is told, and what colours and times a video is tagged with: tables worked out by hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from test_sinks import QUICK, made_batch, made_info, shown_times

from vidsal.errors import ConfigError, EncodeError
from vidsal.render import RenderOptions
from vidsal.sinks import VideoOptions, VideoSink
from vidsal.sinks.video import _encoder_options, _output_color

SWSCALE_HAS_2020 = hasattr(av.video.reformatter.Colorspace, "BT2020")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"crf": 23}, {"preset": "veryfast", "crf": "23"}),
        ({"preset": "slow"}, {"preset": "slow", "crf": "20"}),
        (
            {"encoder": "libx265", "crf": 0},
            {"preset": "fast", "crf": "0", "x265-params": "log-level=error", "a53cc": "1"},
        ),
        (
            {"encoder": "libx265", "encoder_threads": 3},
            {"preset": "fast", "crf": "20", "x265-params": "log-level=error:pools=3", "a53cc": "1"},
        ),
        ({"encoder": "h264_nvenc", "preset": "p4"}, {"preset": "p4", "rc": "vbr", "cq": "20"}),
        ({"encoder": "hevc_nvenc", "crf": 0}, {"preset": "p4", "rc": "vbr", "cq": "1"}),
        ({"encoder": "libsvtav1", "crf": 60}, {"preset": "8", "crf": "60"}),
        ({"encoder": "libsvtav1", "preset": "13"}, {"preset": "13", "crf": "20"}),
        ({"encoder": "libvpx-vp9", "crf": 31}, {"crf": "31", "cpu-used": "4", "row-mt": "1"}),
        ({"encoder": "libaom-av1", "crf": 31}, {"crf": "31", "cpu-used": "4", "row-mt": "1"}),
        # FFmpeg counts quantisers in 118ths; they double every six steps of crf, from 1.5 at 12: 1 to 31.
        ({"encoder": "mpeg4", "crf": 0}, {"flags": "+qscale", "global_quality": "118"}),
        ({"encoder": "mpeg4", "crf": 20}, {"flags": "+qscale", "global_quality": str(3 * 118)}),
        ({"encoder": "mpeg4", "crf": 30}, {"flags": "+qscale", "global_quality": str(8 * 118)}),
        ({"encoder": "mpeg4", "crf": 51}, {"flags": "+qscale", "global_quality": str(31 * 118)}),
    ],
)
def test_each_encoder_is_told_preset_and_quality_in_its_own_words(
    options: dict[str, object], told: dict[str, str]
) -> None:
    assert _encoder_options(VideoOptions(**options)) == told  # type: ignore[arg-type]


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libsvtav1", "h264_nvenc"])
def test_presets_by_number_are_taken_where_the_encoder_has_them(encoder: str) -> None:
    last = {"libx264": 9, "libx265": 9, "libsvtav1": 13, "h264_nvenc": 7}[encoder]
    letter = "p" if encoder == "h264_nvenc" else ""
    for number in (1, last):
        assert VideoOptions(encoder=encoder, preset=f"{letter}{number}").preset == f"{letter}{number}"
    with pytest.raises(ConfigError, match="does not take the preset"):
        VideoOptions(encoder=encoder, preset=f"{letter}{last + 1}")
    assert VideoOptions(encoder="mpeg4", preset="anything").preset == "anything"  # only it knows them


@pytest.mark.parametrize("empty", ["encoder", "preset"])
def test_an_empty_name_is_refused(empty: str) -> None:
    with pytest.raises(ConfigError, match="must not be empty"):
        VideoOptions(**{empty: ""})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "matrix", "full"),
    [
        ({"colorspace": 1}, 1, False),
        ({"colorspace": 5, "color_range": 2}, 5, True),
        ({"colorspace": 6, "color_range": 1}, 6, False),
        ({"colorspace": 4}, 4, False),
        ({"colorspace": 7}, 7, False),
        # Untagged: what players take it for.
        ({"colorspace": 2, "height": 719, "width": 4000}, 6, False),
        ({"colorspace": 2, "height": 720, "width": 64}, 1, False),
        ({"colorspace": 2, "height": 64, "width": 720, "rotation": 90}, 1, False),
        ({"colorspace": 2, "height": 720, "width": 64, "rotation": 90}, 6, False),
        ({"colorspace": 2, "height": 720, "width": 64, "rotation": 180}, 1, False),
        # A matrix that YUV 4:2:0 or swscale does not have.
        ({"colorspace": 8, "height": 48}, 1, False),
        # RGB has no matrix, and its range is always full: the video's is not.
        ({"colorspace": 0, "color_range": 2, "height": 48}, 6, False),
        ({"colorspace": 0, "color_range": 2, "height": 1080}, 1, False),
        ({"colorspace": 2, "color_range": 2, "pix_fmt": "rgb24"}, 6, False),
        ({"colorspace": 2, "color_range": 2, "pix_fmt": "gbrp"}, 6, False),
        ({"colorspace": 2, "color_range": 2, "pix_fmt": "bgr0"}, 6, False),
        ({"colorspace": 2, "color_range": 2, "pix_fmt": "pal8"}, 6, False),
        ({"colorspace": 2, "color_range": 2, "pix_fmt": "yuv420p"}, 6, True),
        ({"colorspace": 2, "pix_fmt": "yuvj420p"}, 6, True),
        *([({"colorspace": 9}, 9, False), ({"colorspace": 10}, 9, False)] if SWSCALE_HAS_2020 else []),
    ],
)
def test_matrix_and_range_are_the_sources_or_what_players_assume(
    source: dict[str, object], matrix: int, full: bool
) -> None:
    assert _output_color(made_info(**source)) == (matrix, 2 if full else 1)


def written(tmp_path: Path, *, name: str = "out.mp4", pts: list[int] | None = None, **info: object) -> VideoSink:
    sink = VideoSink(tmp_path / name, made_info(**info), video=QUICK)
    with sink:
        sink.write(made_batch([0.0, 0.04], pts=pts))
    return sink


@pytest.mark.parametrize(("begin", "moved"), [(59_000, False), (60_000, False), (61_000, True)])
def test_a_source_that_begins_after_a_minute_is_moved_to_begin_at_0(tmp_path: Path, begin: int, moved: bool) -> None:
    sink = written(tmp_path, pts=[begin, begin + 40])
    assert shown_times(sink.path)[0] == (0 if moved else begin // 1000)
    assert ["begin at" in message for message in sink.messages] == ([True] if moved else [])


@pytest.mark.parametrize(("rate", "tagged"), [(Fraction(50), 50), (Fraction(0), 25), (Fraction(1001), 25), (None, 25)])
def test_a_rate_that_cannot_be_is_taken_for_25(tmp_path: Path, rate: Fraction | None, tagged: int) -> None:
    sink = VideoSink(tmp_path / "out.mkv", made_info(rate=rate or None), video=QUICK)
    assert sink._add_video(av.open(str(tmp_path / "other.mkv"), "w"), Fraction(1, 1000)).average_rate == tagged


def test_times_finer_than_a_microsecond_are_rounded_and_that_is_said(tmp_path: Path) -> None:
    for denominator, rounded in ((1_000_000, False), (1_000_001, True)):
        sink = VideoSink(tmp_path / f"{denominator}.mp4", made_info(time_base=Fraction(1, denominator)), video=QUICK)
        with sink:
            sink.write(made_batch([0.0, 0.04]))
        assert [float(time) for time in shown_times(sink.path)] == pytest.approx([0.0, 0.04], abs=1e-5)
        assert sink.messages == (["times are rounded to microseconds"] if rounded else [])


def test_a_jump_that_no_file_can_hold_is_an_error_before_it_is_written(tmp_path: Path) -> None:
    day = 24 * 3600 * 1000
    sink = VideoSink(tmp_path / "day.mp4", made_info(), video=QUICK)
    with sink:
        sink.write(made_batch([0.0, day / 1000], pts=[0, day]))
    assert shown_times(sink.path) == [0, day // 1000]
    gap = 2**30 + 1  # thousandths of a second
    with (
        pytest.raises(EncodeError, match="jumps by 1073742 seconds"),
        VideoSink(tmp_path / "a.mp4", made_info()) as sink,
    ):
        sink.write(made_batch([0.0, gap / 1000], pts=[0, gap]))


@pytest.mark.parametrize(("height", "width", "size"), [(48, 64, None), (49, 64, "64x50"), (48, 65, "66x48")])
def test_only_an_odd_side_is_made_even(tmp_path: Path, height: int, width: int, size: str | None) -> None:
    sink = VideoSink(tmp_path / "out.mp4", made_info(height=height, width=width), video=QUICK)
    assert [message.split()[3] for message in sink.messages] == ([size] if size else [])
    with sink:
        sink.write(made_batch([0.0], size=(height, width)))
    with av.open(str(sink.path)) as result:
        stream = result.streams.video[0]
        assert (stream.height, stream.width) == (height + height % 2, width + width % 2)


def test_two_odd_pictures_side_by_side_are_even_together(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", made_info(width=65), video=QUICK, render=RenderOptions(side_by_side=True))
    assert sink.messages == []


@pytest.mark.skipif("libx265" not in av.codecs_available, reason="this build of FFmpeg has no libx265")
def test_hevc_has_the_tag_that_all_players_open_where_the_container_has_tags(tmp_path: Path) -> None:
    tags = {}
    for name in ("out.mp4", "out.mov", "out.mkv"):
        video = VideoOptions(encoder="libx265", preset="ultrafast")
        with VideoSink(tmp_path / name, made_info(), video=video) as sink:
            sink.write(made_batch([0.0]))
        with av.open(str(sink.path)) as result:
            tags[name] = result.streams.video[0].codec_context.codec_tag
    assert tags["out.mp4"] == tags["out.mov"] == "hvc1" != tags["out.mkv"]
