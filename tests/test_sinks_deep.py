"""Pictures of more than 8 bits: read, drawn on and encoded without losing them, where the encoder has the bits."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from media import make_video
from test_sinks import made_batch, made_info

from vidsal.decode import VideoInfo, open_video
from vidsal.errors import EncodeError
from vidsal.frames import Picture, SaliencyBatch
from vidsal.render import RenderOptions, overlay
from vidsal.render.heat import heat_layers
from vidsal.sinks import VideoOptions, VideoSink
from vidsal.sinks.video import _encoder_options, _pixel_format

Levels = npt.NDArray[np.int64]
WIDTH, HEIGHT = 1024, 128


def make_ramp(path: Path, pix_fmt: str) -> Path:
    """Two frames of a grey ramp over all 10-bit levels from black to white, BT.709."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        context = stream.codec_context
        context.thread_count, context.colorspace, context.color_range = 1, 1, 1
        for i in range(2):
            frame: Any = av.VideoFrame(WIDTH, HEIGHT, pix_fmt)
            for plane, levels in zip(frame.planes, (np.linspace(64, 940, WIDTH), 512, 512), strict=True):
                values = np.zeros((plane.height, plane.line_size // 2), "<u2")
                values[:, : plane.width] = np.rint(levels)
                plane.update(values.tobytes())
            frame.colorspace, frame.color_range, frame.pts = 1, 1, i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def first_frame(path: Path) -> Any:
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


def luma(frame: Any) -> Levels:
    plane = frame.planes[0]
    return np.frombuffer(bytes(plane), "<u2").reshape(plane.height, -1)[:, : plane.width].astype(np.int64)


def encode(source: Path, target: Path, **options: Any) -> tuple[Any, list[str]]:
    """The first frame of the source's overlay without heat, and the sink's messages."""
    with open_video(source, keep_pictures=True) as reader:
        video = VideoOptions(**options)
        with VideoSink(target, reader.info, video=video, render=RenderOptions(opacity=0)) as sink:
            for batch in reader:
                count = len(batch)
                density = torch.full((count, 2, 2), float(np.log(0.25)))
                shots = {"shot": np.zeros(count, np.int64), "cut": np.zeros(count, np.bool_)}
                sink.write(SaliencyBatch.of(batch, log_density=density, **shots))
    return first_frame(target), sink.messages


@pytest.mark.parametrize(
    "encoder, suffix, source, written",
    [
        ("prores_ks", ".mov", "yuv422p10le", "yuv422p10le"),
        ("prores_ks", ".mkv", "yuv420p10le", "yuv422p10le"),
        ("dnxhd", ".mov", "yuv422p10le", "yuv422p10le"),
        ("libx265", ".mp4", "yuv422p10le", "yuv422p10le"),
        ("libx265", ".mkv", "yuv420p10le", "yuv420p10le"),
    ],
)
def test_a_ramp_of_10_bits_stays_within_one_level(
    tmp_path: Path, encoder: str, suffix: str, source: str, written: str
) -> None:
    ramp = make_ramp(tmp_path / "ramp.mkv", source)
    lossless = {"crf": 0, "preset": "ultrafast"} if encoder == "libx265" else {}
    frame, messages = encode(ramp, tmp_path / f"out{suffix}", encoder=encoder, **lossless)
    assert frame.format.name == written
    assert np.abs(luma(frame) - luma(first_frame(ramp))).max() <= 1
    assert len(np.unique(luma(frame))) > 800
    assert messages == []
    assert (int(frame.colorspace), int(frame.color_range)) == (1, 1)


def test_the_default_encoder_stays_at_8_bits_and_says_so(tmp_path: Path) -> None:
    frame, messages = encode(make_ramp(tmp_path / "ramp.mkv", "yuv420p10le"), tmp_path / "out.mp4")
    assert frame.format.name == "yuv420p"
    (message,) = messages
    assert "10 bits of the source's colours become 8" in message and "prores_ks" in message


@pytest.mark.parametrize("encoder, pix_fmt, profile", [("prores_ks", "yuv422p10le", "HQ"), ("dnxhd", "yuv422p", "HQ")])
def test_an_editors_codec_takes_8_bits_too(tmp_path: Path, encoder: str, pix_fmt: str, profile: str) -> None:
    source = make_video(tmp_path / "a.mp4", frames=2, width=256, height=128)
    frame, messages = encode(source, tmp_path / "out.mov", encoder=encoder)
    assert (frame.format.name, messages) == (pix_fmt, [])
    with av.open(str(tmp_path / "out.mov")) as container:
        assert container.streams.video[0].codec_context.profile.endswith(profile)
    assert (
        np.abs(frame.to_ndarray(format="rgb24").astype(int) - first_frame(source).to_ndarray(format="rgb24")).mean() < 4
    )


@pytest.mark.parametrize(
    ("encoder", "name"),
    [
        ("prores_ks", "out.mov"),
        ("prores_ks", "out.mkv"),
        ("prores_aw", "out.mov"),
        ("dnxhd", "out.mov"),
        ("libx264", "out.mp4"),
        ("libx265", "out.mkv"),
        ("ffv1", "out.mkv"),
    ],
)
def test_pictures_say_themselves_which_primaries_and_curve_they_have(tmp_path: Path, encoder: str, name: str) -> None:
    """Some editors go by the header of a ProRes frame, and not by the container."""
    if encoder not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {encoder}")
    marks = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16}
    info = made_info(width=256, height=128, pix_fmt="yuv420p10le", rate=Fraction(25), **marks)
    with VideoSink(tmp_path / name, info, video=VideoOptions(encoder=encoder)) as sink:
        sink.write(made_batch([0.0], pts=[0], size=(128, 256)))
    with av.open(str(sink.path)) as result:
        stream = result.streams.video[0]
        frame = next(result.decode(stream))
        context = stream.codec_context
    assert (int(context.color_primaries), int(context.color_trc)) == (9, 16)
    assert (int(frame.color_primaries), int(frame.color_trc)) == (9, 16)


@pytest.mark.parametrize("encoder, containers", [("prores_ks", ".mov|.mkv"), ("dnxhd", ".mov")])
def test_a_container_that_cannot_hold_the_codec_is_said_before_the_first_frame(
    tmp_path: Path, encoder: str, containers: str
) -> None:
    with open_video(make_video(tmp_path / "a.mp4", frames=1, width=256, height=128)) as reader:
        with pytest.raises(EncodeError, match=r"a .mp4 file cannot hold: take container=mov") as caught:
            VideoSink(tmp_path / "out.mp4", reader.info, video=VideoOptions(encoder=encoder))
        assert ("container=mkv" in str(caught.value)) == (".mkv" in containers)


@pytest.mark.parametrize(
    "encoder, source, written",
    [
        ("libx264", "yuv420p", "yuv420p"),
        ("libx264", "yuv422p10le", "yuv420p"),
        ("libx265", "yuv420p", "yuv420p"),
        ("libx265", "yuv444p", "yuv420p"),
        ("libx265", "yuv420p10le", "yuv420p10le"),
        ("libx265", "gray10le", "yuv420p10le"),
        ("libx265", "yuv444p12le", "yuv422p10le"),
        ("libx265", "gbrp10le", "yuv422p10le"),
        ("prores_ks", "yuv420p", "yuv422p10le"),
        ("libsvtav1", "yuv422p10le", "yuv420p10le"),
        ("mpeg4", "yuv422p10le", "yuv420p"),
        ("ffv1", "rgb24", "yuv420p"),
        ("libx265", None, "yuv420p"),
    ],
)
def test_the_bits_and_colours_of_the_source_choose_the_format(encoder: str, source: str | None, written: str) -> None:
    info = VideoInfo(source="made", kind="video", height=48, width=64, pix_fmt=source)
    assert _pixel_format(av.Codec(encoder, "w"), info) == written


def test_an_encoder_without_any_suitable_format_is_refused() -> None:
    with pytest.raises(ValueError, match="yuv420p"):
        _pixel_format(av.Codec("qtrle", "w"), VideoInfo(source="made", kind="video", height=48, width=64))


def test_profiles_are_those_of_10_bits_for_10_bits() -> None:
    assert _encoder_options(VideoOptions(encoder="prores_ks"), deep=True) == {"profile": "3"}
    assert _encoder_options(VideoOptions(encoder="dnxhd"), deep=True) == {"profile": "dnxhr_hqx"}
    assert _encoder_options(VideoOptions(encoder="dnxhd"), deep=False) == {"profile": "dnxhr_hq"}


@pytest.mark.parametrize("rotation", [0, 90])
def test_the_reader_hands_out_all_bits_upright(tmp_path: Path, rotation: int) -> None:
    options: dict[str, Any] = {"rotation": rotation, "frames": 2, "height": 64}
    deep_path = make_video(tmp_path / "a.mp4", codec="libx265", pix_fmt="yuv422p10le", **options)
    with open_video(deep_path, keep_pictures=True) as reader:
        (batch,) = reader
    for picture in batch.pictures:
        assert picture.deep_rgb is not None
        deep, plain = picture.deep_rgb(), picture.rgb()
        assert (deep.dtype, deep.shape) == (np.uint16, plain.shape)
        assert np.abs(deep / 257 - plain).max() < 4  # swscale's own 8 bits are up to 2 too low
        assert len(np.unique(deep)) > 256
    with open_video(make_video(tmp_path / "b.mp4", **options), keep_pictures=True) as reader:
        (batch,) = reader
    assert [picture.deep_rgb for picture in batch.pictures] == [None, None]


def test_a_deep_picture_that_changes_its_size_is_shown_at_the_first(tmp_path: Path) -> None:
    parts = []
    for i, (width, height) in enumerate(((64, 48), (128, 96))):
        part = make_video(
            tmp_path / f"{i}.ts",
            frames=2,
            width=width,
            height=height,
            codec="libx265",
            pix_fmt="yuv420p10le",
            pts=[7200 * i, 7200 * i + 3600],
            picture=lambda _, size=(height, width): np.full((*size, 3), 120, np.uint8),  # type: ignore[misc]
        )
        parts.append(part.read_bytes())
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    with open_video(tmp_path / "a.ts", keep_pictures=True) as reader:
        pictures = [picture for batch in reader for picture in batch.pictures]
    for picture in pictures:
        assert picture.deep_rgb is not None
        deep = picture.deep_rgb()
        assert deep.shape == picture.rgb().shape
        assert np.abs(deep / 257 - 120).max() < 3


def test_a_picture_without_more_bits_is_encoded_all_the_same(tmp_path: Path) -> None:
    # Another reader than the default one gives 8 bits of a source of 10.
    info = VideoInfo(source="made", kind="video", height=64, width=64, rate=Fraction(25), pix_fmt="yuv422p10le")
    picture = Picture(lambda: np.full((64, 64, 3), 128, np.uint8), pts=0, time_base=Fraction(1, 25))
    with VideoSink(tmp_path / "a.mov", info, video=VideoOptions(encoder="prores_ks")) as sink:
        density = torch.full((1, 2, 2), float(np.log(0.25)))
        place = (np.arange(1), np.zeros(1), np.zeros(1, np.int64), np.zeros(1, np.bool_))
        sink.write(SaliencyBatch(*place, density, 64, 64, (picture,)))
    assert first_frame(tmp_path / "a.mov").format.name == "yuv422p10le"


# Drawing


def soft_density() -> npt.NDArray[np.float32]:
    row, column = np.mgrid[0:24, 0:32]
    density = np.exp(-((row - 12) ** 2 + (column - 16) ** 2) / 120).astype(np.float32)
    return density / density.sum()


def test_heat_over_16_bits_is_the_heat_over_8_without_its_steps() -> None:
    rng = np.random.default_rng(0)
    plain = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
    density = soft_density()
    deep = overlay(plain.astype(np.uint16) * 257, density, scale=6.0)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - overlay(plain, density, scale=6.0)).max() < 2.5


@pytest.mark.parametrize("level", [100.0, 100.5, 254.75])
def test_the_colours_of_heat_lie_between_those_of_the_map(level: float) -> None:
    options = RenderOptions(threshold=0, colormap="inferno")
    density = np.array([[0.5, 0.5], [0, 0]], np.float32)  # twice the uniform one, and none

    def color(level: float, deep: bool) -> npt.NDArray[np.float64]:
        scale = 2 ** (255 / level)
        (layer,) = heat_layers(density, height=2, width=2, scale=scale, options=options, deep=deep)
        return np.asarray(layer.colors[0, 1], np.float64)

    below, above = color(np.floor(level), deep=False), color(np.floor(level) + 1, deep=False)
    expected = (below + (above - below) * (level - np.floor(level))) * 257
    assert np.abs(color(level, deep=True) - expected).max() <= 1.5


def test_without_opacity_all_bits_stay() -> None:
    picture = np.random.default_rng(0).integers(0, 65536, (48, 64, 3), dtype=np.uint16)
    before = picture.copy()
    np.testing.assert_array_equal(overlay(picture, soft_density(), scale=6.0, options=RenderOptions(opacity=0)), before)
    np.testing.assert_array_equal(picture, before)


def test_white_and_black_stay_where_there_is_no_heat() -> None:
    picture = np.zeros((24, 32, 3), np.uint16)
    picture[:, 16:] = 65535
    cold = np.full((24, 32), 1 / (24 * 32), np.float32)
    np.testing.assert_array_equal(overlay(picture, cold, scale=1000.0), picture)
