"""The styles, held against what they say they show: shares of mass, places, ids; the same on a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from vidsal.decode import VideoInfo
from vidsal.frames import Picture, SaliencyBatch
from vidsal.render import (
    Layer,
    Recent,
    RenderOptions,
    Style,
    compose,
    draw,
    flatten,
    layers_of,
    overlay,
    overlay_batch,
    rgba_batch,
)
from vidsal.render import contour as contour_module
from vidsal.render.boxes import boxes_layers, color_of
from vidsal.render.contour import SHARES, contour_layers
from vidsal.render.peak import peak_layers
from vidsal.render.spotlight import LIT_SHARE
from vidsal.sinks import ImageSink, VideoOptions, VideoSink
from vidsal.tracks import FrameNumbers, Tracker

Density = npt.NDArray[np.float32]
HEIGHT, WIDTH = 180, 240
STYLES: tuple[Style, ...] = ("heat", "contour", "spotlight", "peak", "boxes")


def hills(*tops: tuple[float, float, float, float], h: int = 45, w: int = 60, floor: float = 0.0) -> Density:
    """A density of Gaussians at (x, y) cells with a standard deviation in cells and a mass."""
    y, x = np.mgrid[:h, :w]
    density = sum(m / s**2 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 2 / s**2) for cx, cy, s, m in tops)
    density = density / density.sum() + floor / (h * w)
    return np.asarray(density / density.sum(), np.float32)


# Not on the middle of a cell: no two cells have one density.
ONE = hills((30.3, 22.2, 5, 1))
TWO = hills((18.3, 15.2, 4, 2), (42.1, 30.4, 5, 1))
MAPS = {"one hill": ONE, "two hills": TWO, "on a floor": hills((30.3, 20.2, 5, 1), floor=0.3)}


def batch_of(
    densities: list[Density],
    *,
    shots: list[int] | None = None,
    rate: float = 25,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> SaliencyBatch:
    shot = np.array(shots or [0] * len(densities), np.int64)
    picture = Picture(rgb=lambda: np.full((*size, 3), 90, np.uint8))
    return SaliencyBatch(
        index=np.arange(len(shot)),
        pts_seconds=np.arange(len(shot)) / rate,
        shot=shot,
        cut=np.diff(shot, prepend=shot[0]) > 0,
        log_density=torch.from_numpy(np.maximum(np.stack(densities), 1e-30)).log(),
        height=size[0],
        width=size[1],
        pictures=(picture,) * len(shot),
    )


def noise(seed: int, height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def over(density: Density, style: Style, **more: Any) -> npt.NDArray[np.uint8]:
    """What is drawn, RGBA."""
    options = RenderOptions(style=(style,), legend="off", **more)
    return flatten(layers_of(density, height=HEIGHT, width=WIDTH, options=options), height=HEIGHT, width=WIDTH)


def of_pixels(density: Density) -> npt.NDArray[np.float64]:
    """The mass of each pixel: a quarter of a quarter of its cell's, which is four pixels wide and high."""
    return np.kron(density.astype(np.float64), np.full((4, 4), 1 / 16))


# Contours.


def inside(lines: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The pixels that cannot be reached from the picture's corner without crossing a line; half of the lines' own."""
    _, parts = cv2.connectedComponents((~lines).astype(np.uint8), connectivity=4)
    return np.asarray((parts != parts[0, 0]) & ~lines)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_area_inside_a_contour_holds_the_stated_share_and_is_the_smallest_that_does(
    monkeypatch: pytest.MonkeyPatch, name: str, share: float
) -> None:
    density = MAPS[name]
    monkeypatch.setattr(contour_module, "SHARES", (share,))
    monkeypatch.setattr(contour_module, "THICKNESS", (1.0,))
    drawn = over(density, "contour")
    bright = drawn[..., 3] / 255 * drawn[..., 0] / 255 > 0.3
    mass, within = of_pixels(density), inside(bright)
    assert bright.any() and within.any()
    held = mass[within].sum() + mass[bright].sum() / 2
    assert held == pytest.approx(share, abs=0.02)
    # No pixel well outside is denser than one well inside.
    rim = cv2.dilate(bright.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert mass[within & ~rim].min() >= mass[~within & ~rim].max() if (within & ~rim).any() else True


def test_the_three_contours_are_told_apart_by_their_thickness_and_do_not_cross() -> None:
    density = hills((160, 120, 36, 1), h=240, w=320)
    (layer,) = contour_layers(density, height=1200, width=1600)
    middle = (layer.colors[600 - layer.top, :, 0] / 255 * layer.alpha[600 - layer.top]).sum
    row = layer.alpha[600 - layer.top] * (layer.colors[600 - layer.top, :, 0] / 255)
    edges = np.flatnonzero(np.diff((row > 0.5).astype(int)))
    widths, starts = edges[1::2] - edges[::2], edges[::2] + layer.left
    assert middle() > 0 and len(widths) == 2 * len(SHARES)
    # From the outmost on the left to the inmost, and back.
    assert widths[0] < widths[1] < widths[2] and list(widths[:3]) == list(widths[:2:-1])
    # Of a Gaussian: the radius that holds a share of its mass.
    for share, start in zip(SHARES[::-1], starts, strict=False):
        radius = 36 * 5 * np.sqrt(-2 * np.log(1 - share))
        assert start == pytest.approx(160 * 5 + 2 - radius, abs=4)


def test_a_contour_is_a_light_line_with_dark_edges_on_light_and_on_dark_footage() -> None:
    for level in (0, 255):
        drawn = overlay(
            np.full((HEIGHT, WIDTH, 3), level, np.uint8), ONE, options=RenderOptions(style=("contour",), legend="off")
        ).astype(int)
        assert drawn.max() > 230  # the line
        assert (drawn.min() < 130) == (level == 255) or level == 0
        assert np.abs(np.diff(drawn[HEIGHT // 2, :, 0])).max() > 50


@pytest.mark.parametrize("style", ["contour", "spotlight", "heat"])
def test_a_flat_map_shows_no_shape(style: Style) -> None:
    flat = np.full((45, 60), 1 / 2700, np.float32)
    drawn = over(flat, style)
    assert len(np.unique(drawn.reshape(-1, 4), axis=0)) == 1


# Spotlight.


@pytest.mark.parametrize("name", MAPS)
def test_a_spotlight_dims_only_outside_the_smallest_area_that_holds_half(name: str) -> None:
    density, picture = MAPS[name], noise(3)
    drawn = draw(picture, density, options=RenderOptions(style=("spotlight",), legend="off", opacity=0.7))
    order = sorted(((value, place) for place, value in np.ndenumerate(density)), reverse=True)
    lit, held = np.zeros(density.shape, np.bool_), 0.0
    for value, place in order:
        if held >= LIT_SHARE:
            break
        lit[place], held = True, held + float(value)
    # Between the centres of lit cells nothing may change: those whose neighbours are lit too.
    core = np.kron(cv2.erode(lit.astype(np.uint8), np.ones((3, 3), np.uint8)), np.ones((4, 4))) > 0
    assert core.any()
    np.testing.assert_array_equal(drawn[core], picture[core])
    unlit = np.kron(cv2.dilate(lit.astype(np.uint8), np.ones((3, 3), np.uint8)), np.ones((4, 4))) == 0
    assert (drawn[unlit] <= picture[unlit]).all()
    assert (drawn[unlit & (picture.min(axis=2) > 20)] < picture[unlit & (picture.min(axis=2) > 20)]).all()
    # Far outside it is dimmed by the opacity.
    np.testing.assert_allclose(drawn[:8, :8], picture[:8, :8] * 0.3, atol=1)
    same = of_pixels(density)[(drawn == picture).all(axis=2)].sum()
    assert same == pytest.approx(LIT_SHARE, abs=0.1)


# The peak.


def rows_of(*peaks: tuple[float, float], rate: float = 25, shots: list[int] | None = None) -> list[FrameNumbers]:
    """Rows of frames whose peak lies at (x, y) pixels."""
    (base,) = Tracker().update(batch_of([ONE]))
    shots = shots or [0] * len(peaks)
    return [
        replace(
            base, index=i, pts_seconds=i / rate, peak_x=x, peak_y=y, shot=shot, cut=bool(i and shot != shots[i - 1])
        )
        for i, ((x, y), shot) in enumerate(zip(peaks, shots, strict=True))
    ]


class Given:
    """A tracker that gives rows made before."""

    row = FrameNumbers

    def __init__(self, rows: list[FrameNumbers]) -> None:
        self.rows = list(rows)

    def update(self, batch: SaliencyBatch) -> list[FrameNumbers]:
        return [self.rows.pop(0) for _ in range(len(batch))]


def alpha_of(layers: list[Layer]) -> npt.NDArray[np.uint8]:
    return np.asarray(flatten(layers, height=HEIGHT, width=WIDTH)[..., 3])


@pytest.mark.parametrize("at", [(60.0, 50.0), (119.5, 90.25), (0.0, 0.0), (239.0, 179.0)])
def test_the_crosshair_lies_around_the_peak_and_leaves_it_free(at: tuple[float, float]) -> None:
    alpha = alpha_of(peak_layers(rows_of(at), height=HEIGHT, width=WIDTH))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    away = np.hypot(x - at[0], y - at[1])
    assert alpha.max() > 200
    assert alpha[away < 1.5].max() < 20
    assert not alpha[away > 0.1 * HEIGHT].any()
    if at == (119.5, 90.25):  # whole inside the picture: as much to each side
        weight = alpha / alpha.sum()
        assert ((weight * x).sum(), (weight * y).sum()) == pytest.approx(at, abs=0.15)


def test_the_trail_is_the_way_of_the_last_second_fading_with_its_age() -> None:
    way = rows_of(*[(20.0 + 4 * i, 40.0) for i in range(45)])
    recent = Recent(Given(way)).update(batch_of([ONE] * 45))[-1]
    assert [row.index for row in recent] == [*range(19, 45)]
    alpha = alpha_of(peak_layers(recent, height=HEIGHT, width=WIDTH))
    along = alpha[40, :].astype(int)
    end = 20 + 4 * 44
    assert not along[: end - 4 * 25 - 3].any()  # older than a second
    assert along[end - 95] < along[end - 60] < along[end - 25]
    assert not alpha[:25].any() and not alpha[60:].any()


def test_the_trail_begins_anew_at_a_cut_and_does_not_depend_on_batches() -> None:
    shots = [0] * 5 + [1] * 5
    rows = rows_of(*[(20.0 + 15 * i, 40.0) for i in range(10)], shots=shots)
    whole = batch_of([ONE] * 10, shots=shots)
    found = Recent(Given(rows)).update(whole)
    assert [len(each) for each in found] == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]
    for size in (1, 3):
        recent = Recent(Given(rows))
        assert [one for first in range(0, 10, size) for one in recent.update(whole[first : first + size])] == found
    again = Recent(Given(rows))
    again.update(whole[:3])
    again.reset()
    assert again.update(whole[3:4])[0] == (rows[3],)


def test_a_clock_that_steps_back_leaves_no_trail_from_the_future() -> None:
    rows = rows_of(*[(20.0 + 15 * i, 40.0) for i in range(4)])
    rows[3] = replace(rows[3], pts_seconds=0.0)
    assert Recent(Given(rows)).update(batch_of([ONE] * 4))[-1] == (rows[0], rows[3])


# Boxes.


def with_boxes(*boxes: tuple[int, int, int, int, int]) -> FrameNumbers:
    """A row with regions of these ids, lefts, tops, widths and heights."""
    (row,) = rows_of((50.0, 50.0))
    changes: dict[str, Any] = {}
    for place in (1, 2, 3):
        values = boxes[place - 1] if place <= len(boxes) else (None,) * 5
        for name, value in zip(("id", "left", "top", "width", "height"), values, strict=True):
            changes[f"region{place}_{name}"] = value
    return replace(row, **changes)


def test_a_box_frames_its_region_from_the_inside_and_leaves_the_rest_free() -> None:
    picture = noise(4)
    drawn = compose(picture, boxes_layers(with_boxes((1, 60, 40, 90, 80)), height=HEIGHT, width=WIDTH))
    changed = (drawn != picture).any(axis=2)
    ys, xs = np.nonzero(changed)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (60, 149, 40, 119)
    rim = 3
    assert changed[40, 60:150].mean() > 0.95 and changed[40:120, 149].mean() > 0.95
    assert not changed[40 + 25 : 120 - rim, 60 + 25 : 150 - rim].any()
    assert not changed[120 - 20 : 120 - rim, 60 + rim : 150 - rim].any()


def test_a_region_keeps_its_colour_and_id_whatever_its_place_in_the_row() -> None:
    one, other = (7, 20, 20, 60, 60), (4, 140, 90, 60, 60)
    first, second = (
        compose(noise(5), boxes_layers(with_boxes(*boxes), height=HEIGHT, width=WIDTH))
        for boxes in ((one, other), (other, one))
    )
    np.testing.assert_array_equal(first, second)
    assert color_of(7) != color_of(4) and color_of(8) == color_of(1)
    renamed = compose(noise(5), boxes_layers(with_boxes((5, *one[1:]), other), height=HEIGHT, width=WIDTH))
    assert (renamed[20:80, 20:80] != first[20:80, 20:80]).any()
    np.testing.assert_array_equal(renamed[90:150, 140:200], first[90:150, 140:200])
    # Ids that share a colour are told apart by their number.
    eight = compose(noise(5), boxes_layers(with_boxes((14, *one[1:]), other), height=HEIGHT, width=WIDTH))
    assert (eight != first).any()


@pytest.mark.parametrize(
    "box",
    [
        *((44, 30, 7, 6), (0, 0, 6, 6), (90, 58, 6, 6), (90, 0, 6, 6), (0, 58, 6, 6)),
        *((0, 30, 96, 4), (46, 0, 3, 64), (-3, 20, 6, 6)),
    ],
)
def test_the_id_of_a_small_box_stands_beside_it_whole_and_leaves_its_inside_free(
    box: tuple[int, int, int, int],
) -> None:
    left, top, wide, tall = box
    numbers = with_boxes((1, *box))
    layers = boxes_layers(numbers, height=64, width=96)
    # The last two are the tab and the number in it.
    tab, number = layers[-2:]
    rows, columns = tab.alpha.shape
    assert min(rows, columns) >= 9 and min(number.alpha.shape) >= 5
    assert tab.top >= 0 and tab.left >= 0 and tab.top + rows <= 64 and tab.left + columns <= 96
    assert number.top >= tab.top and number.top + number.alpha.shape[0] <= tab.top + rows
    apart = tab.left >= left + wide or tab.left + columns <= left or tab.top >= top + tall or tab.top + rows <= top
    assert apart


@pytest.mark.parametrize("box", [(0, 0, WIDTH, HEIGHT), (235, 175, 5, 5), (0, 170, 1, 1), (100, 0, 3, 180)])
def test_boxes_of_any_size_at_any_border_are_drawn_inside_the_picture(box: tuple[int, int, int, int]) -> None:
    picture = noise(6)
    assert (compose(picture, boxes_layers(with_boxes((1, *box)), height=HEIGHT, width=WIDTH)) != picture).any()
    assert boxes_layers(with_boxes(), height=HEIGHT, width=WIDTH) == []


# All of them.


@pytest.mark.parametrize("deep", [False, True])
def test_styles_together_are_their_layers_one_over_the_other_in_one_order(deep: bool) -> None:
    recent = Recent().update(batch_of([TWO] * 3))[-1]
    picture: npt.NDArray[Any] = noise(7).astype(np.uint16) * 257 if deep else noise(7)
    drawn = {
        order: draw(picture, TWO, options=RenderOptions(style=order), recent=recent)
        for order in (STYLES, STYLES[::-1], ("peak", "heat", "boxes", "spotlight", "contour"))
    }
    first, *others = drawn.values()
    for other in others:
        np.testing.assert_array_equal(first, other)
    layers = layers_of(TWO, height=HEIGHT, width=WIDTH, options=RenderOptions(style=STYLES), recent=recent, deep=deep)
    np.testing.assert_array_equal(first, compose(picture, layers))
    # Laid over the picture by a compositor, what is drawn without it gives the same, but for rounding of the 8 bits.
    alone = flatten(layers, height=HEIGHT, width=WIDTH, deep=deep).astype(float)
    most = 65535 if deep else 255
    share = alone[..., 3:] / most
    laid = share * alone[..., :3] + (1 - share) * picture
    assert np.abs(laid - first).max() <= 3


@pytest.mark.parametrize("style", [*((one,) for one in STYLES), ("heat", "contour"), STYLES], ids="-".join)
@pytest.mark.parametrize("size", [(180, 240), (121, 163), (40, 30)])
def test_a_device_draws_every_style_as_the_processor_does(style: tuple[Style, ...], size: tuple[int, int]) -> None:
    maps, options = [ONE, TWO, MAPS["on a floor"]], RenderOptions(style=style, opacity=0.8)
    recent = Recent().update(batch_of(maps, size=size))
    pictures = np.stack([noise(seed, *size) for seed in range(3)])
    scales = [100.0, 30.0, 7.0]
    got = overlay_batch(
        torch.from_numpy(pictures), torch.from_numpy(np.stack(maps)), scale=scales, options=options, recent=recent
    ).numpy()
    alone = rgba_batch(
        torch.from_numpy(np.stack(maps)), height=size[0], width=size[1], scale=scales, options=options, recent=recent
    ).numpy()
    for i, density in enumerate(maps):
        ours = overlay(pictures[i], density, scale=scales[i], options=options, recent=recent[i])
        # Contours: OpenCV rounds distances to steps, which a line's edge shows.
        bound = 1 + len(style) + (8 if "contour" in style else 0)
        assert np.abs(got[i].astype(int) - ours).max() <= bound
        assert np.abs(got[i].astype(int) - ours).mean() < 0.6
        share = alone[i, ..., 3:] / 255
        laid = share * alone[i, ..., :3] + (1 - share) * pictures[i]
        assert np.abs(laid - got[i]).max() <= 2
        assert (ours != pictures[i]).any()


def test_styles_that_show_what_is_followed_need_the_rows() -> None:
    for style in ("peak", "boxes"):
        options = RenderOptions(style=(style,))
        assert options.is_tracked
        with pytest.raises(ValueError, match="need the tracker's rows"):
            layers_of(ONE, height=HEIGHT, width=WIDTH, options=options)
        with pytest.raises(ValueError, match="need the tracker's rows"):
            rgba_batch(torch.from_numpy(ONE)[None], height=HEIGHT, width=WIDTH, options=options)
    assert not RenderOptions(style=("heat", "contour", "spotlight")).is_tracked


def written(path: Path, densities: list[Density], render: RenderOptions, *, at_once: int = 2) -> npt.NDArray[np.uint8]:
    """The last picture of a lossless video of densities."""
    info = VideoInfo(source="made", kind="camera", height=HEIGHT, width=WIDTH)
    with VideoSink(path, info, video=VideoOptions(encoder="ffv1"), render=render) as sink:
        batch = batch_of(densities)
        for first in range(0, len(batch), at_once):
            sink.write(batch[first : first + at_once])
    with av.open(str(path)) as container:
        *_, last = container.decode(video=0)
    return last.to_ndarray(format="rgb24")


@pytest.mark.parametrize("style", [("heat",), ("contour",), ("spotlight",)], ids="-".join)
def test_the_same_map_is_drawn_alike_whatever_came_before(tmp_path: Path, style: tuple[Style, ...]) -> None:
    flat, sharp = hills((30, 22, 20, 1), floor=2), hills((30, 22, 2, 1))
    render = RenderOptions(style=style)
    one = written(tmp_path / "one.mkv", [flat, flat, ONE], render)
    other = written(tmp_path / "other.mkv", [sharp, TWO, ONE], render, at_once=1)
    np.testing.assert_array_equal(one, other)


def test_a_scale_per_shot_depends_on_the_first_map_which_the_comparison_above_would_see(tmp_path: Path) -> None:
    render = RenderOptions(scale_per_shot=True)
    one = written(tmp_path / "one.mkv", [hills((30, 22, 2, 1)), ONE], render)
    other = written(tmp_path / "other.mkv", [TWO, ONE], render)
    assert np.abs(one.astype(int) - other).max() > 20


class Counted(Tracker):
    """A tracker that counts the batches it is given."""

    batches = 0

    def update(self, batch: SaliencyBatch) -> list[FrameNumbers]:
        self.batches += 1
        return super().update(batch)


def test_sinks_draw_what_their_tracker_finds_and_ask_it_once_a_batch(tmp_path: Path) -> None:
    render, batch = RenderOptions(style=("peak", "boxes")), batch_of([ONE, TWO, TWO, ONE])
    recent = Recent().update(batch)
    tracker = Counted()
    info = VideoInfo(source="made", kind="camera", height=HEIGHT, width=WIDTH)
    video = VideoOptions(encoder="ffv1", chapters=True)
    with VideoSink(tmp_path / "all.mkv", info, video=video, render=render, tracker=tracker) as sink:
        sink.write(batch[:3])
        sink.write(batch[3:])
    assert tracker.batches == 2
    with av.open(str(tmp_path / "all.mkv")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with ImageSink(tmp_path / "one.png", render=render) as image:
        image.write(batch[0])
    still = cv2.imread(str(tmp_path / "one.png"))[..., ::-1]
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    wanted = [
        draw(grey, density, options=render, recent=rows)
        for density, rows in zip([ONE, TWO, TWO, ONE], recent, strict=True)
    ]
    np.testing.assert_array_equal(still, wanted[0])
    # Brightness alone: the colours of four pixels became one.
    shown, expected = (np.array(each).astype(float) @ (0.299, 0.587, 0.114) for each in (pictures, wanted))
    alike = np.corrcoef(shown.reshape(4, -1), expected.reshape(4, -1))[:4, 4:]
    assert np.diag(alike).min() > 0.97
    assert alike[0, 1] < 0.5 and alike[0, 3] < 0.95  # one frame's marks are not another's, nor without the trail
    assert np.abs(wanted[3].astype(int) - wanted[0]).max() > 100  # the trail
