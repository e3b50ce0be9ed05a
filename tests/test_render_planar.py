"""Drawing on a decoder's own planes: against the same drawing on RGB, and bit for bit where nothing is drawn."""

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

from vidsal.decode import DecodeOptions, open_video
from vidsal.frames import Picture, Planes, SaliencyBatch
from vidsal.render import Layer, RenderOptions, draw, draw_planes, to_yuv420
from vidsal.render.planar import compose_planes
from vidsal.sinks import VideoOptions, VideoSink

HEIGHT, WIDTH = 48, 64
Pixels = npt.NDArray[np.uint8]


def smooth_picture() -> Pixels:
    """Colours that change slowly, so that it hardly matters how four pixels share one."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([60 + 2 * x, 40 + 3 * y, 200 - x - y], axis=2).astype(np.uint8)


def planes_of(picture: Pixels, colorspace: int = 1, full: bool = False) -> Planes:
    flat = to_yuv420(torch.from_numpy(picture)[None], colorspace=colorspace, full_range=full)[0].numpy()
    height, width = picture.shape[:2]
    small = flat[height:].reshape(2, height // 2, width // 2)
    return Planes((flat[:height], small[0], small[1]), colorspace, full)


def made_density(seed: int = 0) -> npt.NDArray[np.float32]:
    y, x = np.mgrid[:12, :16]
    density = np.exp(-((y - 5) ** 2 + (x - 9) ** 2) / 8).astype(np.float32) + np.float32(1e-4)
    return np.asarray(density / density.sum(), np.float32)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 7, 9])
@pytest.mark.parametrize(
    "options",
    [
        RenderOptions(),
        RenderOptions(style=("spotlight",)),
        RenderOptions(style=("heat", "spotlight"), opacity=1.0, side_by_side=True),
    ],
)
def test_what_is_drawn_on_planes_is_what_is_drawn_on_rgb(options: RenderOptions, matrix: int, full: bool) -> None:
    picture, density = smooth_picture(), made_density()
    on_rgb = draw(picture, density, scale=20.0, options=options)
    wanted = to_yuv420(torch.from_numpy(on_rgb)[None], colorspace=matrix, full_range=full)[0].numpy()
    given = planes_of(picture, matrix, full)
    before = [plane.copy() for plane in given.planes]
    undrawn = compose_planes(given, [], side_by_side=options.side_by_side).astype(int)
    drawn = draw_planes(given, density, scale=20.0, options=options)
    assert drawn.shape == wanted.shape and drawn.dtype == np.uint8
    apart = np.abs(drawn.astype(int) - wanted)
    # Colours between those of cells are found in RGB there and in YUV here, of whole levels each.
    assert apart[:HEIGHT].max() <= 3 and apart[HEIGHT:].max() <= 4 and apart.mean() < 0.6
    assert apart.mean() < np.abs(drawn.astype(int) - undrawn).mean() / 4
    for kept, plane in zip(before, given.planes, strict=True):
        np.testing.assert_array_equal(kept, plane)


def by_definition(planes: Planes, layer: Layer, colors: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """Each luma by its own alpha; each chroma by those of its four pixels, of which some may lie outside."""
    made = [plane.astype(float) for plane in planes.planes]
    whole = [np.zeros((HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH, 3))]
    whole[0][layer.place], whole[1][layer.place] = layer.alpha, colors
    made[0] = made[0] * (1 - whole[0]) + whole[1][..., 0] * whole[0]
    for place in (1, 2):
        for row in range(HEIGHT // 2):
            for column in range(WIDTH // 2):
                four = slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2)
                share = whole[0][four]
                made[place][row, column] = (
                    made[place][row, column] * (1 - share).sum() + (whole[1][four][..., place] * share).sum()
                ) / 4
    return made


@pytest.mark.parametrize(("top", "left"), [(0, 0), (5, 8), (8, 5), (7, 3), (HEIGHT - 9, WIDTH - 13)])
def test_a_sharp_layer_may_lie_anywhere_and_gives_chroma_the_mean_of_four_pixels(top: int, left: int) -> None:
    random = np.random.default_rng(3)
    layer = Layer(random.integers(0, 256, (9, 13, 3)).astype(np.uint8), random.random((9, 13), np.float32), top, left)
    given = planes_of(smooth_picture())
    # BT.709, levels from 16 to 235, from the standard.
    r, g, b = np.moveaxis(layer.colors / 255, 2, 0)
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    colors = np.stack([16 + 219 * luma, 128 + 224 * (b - luma) / 1.8556, 128 + 224 * (r - luma) / 1.5748], axis=2)
    drawn = compose_planes(given, [layer])
    wanted = by_definition(given, layer, colors)
    got = drawn[:HEIGHT], *drawn[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    for mine, other in zip(got, wanted, strict=True):
        assert np.abs(mine - other).max() < 0.51


def test_a_layer_that_reaches_beyond_the_picture_is_refused() -> None:
    layer = Layer(np.zeros((9, 9, 3), np.uint8), np.ones((9, 9), np.float32), HEIGHT - 8, 0)
    with pytest.raises(ValueError, match="reaches beyond"):
        compose_planes(planes_of(smooth_picture()), [layer])


def test_side_by_side_keeps_the_untouched_picture_to_the_left() -> None:
    given = planes_of(smooth_picture())
    both = draw_planes(given, made_density(), options=RenderOptions(side_by_side=True))
    alone = draw_planes(given, made_density(), options=RenderOptions())
    np.testing.assert_array_equal(both[:HEIGHT, :WIDTH], given.planes[0])
    np.testing.assert_array_equal(both[:HEIGHT, WIDTH:], alone[:HEIGHT])
    small = both[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH)
    np.testing.assert_array_equal(small[:, :, : WIDTH // 2], given.planes[1:])
    np.testing.assert_array_equal(small[:, :, WIDTH // 2 :], alone[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2))


# From decoder to encoder.


def pictures(path: Path, **options: Any) -> list[Picture]:
    with open_video(path, options=DecodeOptions(**options), size=(12, 16), keep_pictures=True) as reader:
        return [picture for batch in reader for picture in batch.pictures]


def frames(path: Path) -> list[Pixels]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("made", "matrix", "full"),
    [
        ({}, 6, False),  # SD without tags
        ({"height": 720, "width": 80, "frames": 2}, 1, False),  # HD without tags
        ({"matrix": 9, "colorspace": 9}, 9, False),
        ({"matrix": 1, "colorspace": 1, "color_range": 2}, 1, True),
    ],
)
def test_planes_are_the_decoders_own(tmp_path: Path, made: dict[str, Any], matrix: int, full: bool) -> None:
    source = make_video(tmp_path / "a.mp4", **{"frames": 4} | made)
    for picture, frame in zip(pictures(source), frames(source), strict=True):
        planes = picture.planes()
        assert planes is not None
        height, width = planes.planes[0].shape
        flat = np.concatenate([planes.planes[0].ravel(), planes.planes[1].ravel(), planes.planes[2].ravel()])
        np.testing.assert_array_equal(flat.reshape(3 * height // 2, width), frame)
        assert planes.colorspace == matrix or {planes.colorspace, matrix} == {5, 6}
        assert planes.full_range == full


@pytest.mark.parametrize(
    "made",
    [
        {"rotation": 90},
        {"pix_fmt": "yuv444p"},
        {"pix_fmt": "yuv420p10le", "codec": "libx265"},
        {"width": 63, "pix_fmt": "yuv444p"},
    ],
)
def test_there_are_none_of_frames_of_another_form(tmp_path: Path, made: dict[str, Any]) -> None:
    source = make_video(tmp_path / "a.mp4", frames=2, **made)
    assert [picture.planes() for picture in pictures(source)] == [None, None]


@pytest.mark.parametrize("made", [{}, {"matrix": 9, "colorspace": 9}, {"color_range": 2, "matrix": 1, "colorspace": 1}])
def test_where_nothing_is_drawn_the_encoder_gets_what_was_decoded(tmp_path: Path, made: dict[str, Any]) -> None:
    source = make_video(tmp_path / "a.mp4", frames=6, **made)
    lossless = VideoOptions(crf=0, preset="ultrafast", encoder_threads=1)
    target = tmp_path / "b.mkv"
    with (
        open_video(source, size=(12, 16), keep_pictures=True) as reader,
        VideoSink(target, reader.info, video=lossless, render=RenderOptions(opacity=0)) as sink,
    ):
        for batch in reader:
            flat = torch.full((len(batch), 6, 8), -float(np.log(48)))
            shot, cut = np.zeros(len(batch), np.int64), np.zeros(len(batch), np.bool_)
            sink.write(SaliencyBatch.of(batch, shot=shot, cut=cut, log_density=flat))
    before, after = frames(source), frames(target)
    assert len(before) == len(after) == 6
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    with av.open(str(target)) as container:
        assert container.streams.video[0].average_rate == Fraction(25)
