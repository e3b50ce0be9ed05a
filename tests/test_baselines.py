"""The models without weights: what each is known for, on made pictures with one odd item, and the definitions."""

from __future__ import annotations

import typing

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from vidsal.errors import ConfigError
from vidsal.model.baselines import (
    BASELINES,
    FLOOR_SHARE,
    Baseline,
    BaselineName,
    CentrePrior,
    activate,
    build_baseline,
    closeness_of_nodes,
    concentrate,
    promote,
)

RGB = npt.NDArray[np.uint8]
CELL = 80
ROWS, COLUMNS = 6, 8
LOOKING = ("spectral-residual", "itti-koch", "gbvs")
"""Those whose answer depends on the picture."""

each = pytest.mark.parametrize("name", BASELINES)
each_that_looks = pytest.mark.parametrize("name", LOOKING)


def items(odd: tuple[int, int] | None, draw: typing.Callable[[RGB, int, int, bool], None]) -> RGB:
    """480x640 grey with an item in the middle of each cell, one of them odd."""
    picture = np.full((ROWS * CELL, COLUMNS * CELL, 3), 128, np.uint8)
    for row in range(ROWS):
        for column in range(COLUMNS):
            draw(picture, column * CELL + CELL // 2, row * CELL + CELL // 2, (row, column) == odd)
    return picture


def bars(odd: tuple[int, int] | None) -> RGB:
    """Upright bars, one lying."""

    def draw(picture: RGB, x: int, y: int, is_odd: bool) -> None:
        tall, wide = (7, 22) if is_odd else (22, 7)
        picture[y - tall : y + tall, x - wide : x + wide] = 230

    return items(odd, draw)


def discs(odd: tuple[int, int] | None) -> RGB:
    """Green discs, one red and a little darker: the spectral residual sees no colour."""

    def draw(picture: RGB, x: int, y: int, is_odd: bool) -> None:
        cv2.circle(picture, (x, y), 14, (160, 20, 20) if is_odd else (40, 220, 40), -1)

    return items(odd, draw)


def predict(name: str, picture: RGB) -> npt.NDArray[np.float32]:
    return build_baseline(name).predict(picture[None])[0]


def peak_cell(density: npt.NDArray[np.float32]) -> tuple[int, int]:
    row, column = np.unravel_index(density.argmax(), density.shape)
    return int(row) * ROWS // density.shape[0], int(column) * COLUMNS // density.shape[1]


def noise(*shape: int) -> RGB:
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


# What all have in common.


@each
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5), (90, 160)])
def test_every_picture_gets_a_density_of_its_own_size(name: str, size: tuple[int, int]) -> None:
    (density,) = build_baseline(name).predict(noise(1, *size, 3))
    assert density.shape == size
    assert density.dtype == np.float32
    assert density.min() >= 0
    assert density.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)


@each
@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_picture_without_structure_is_even_or_leans_to_the_centre(name: str, level: int) -> None:
    density = predict(name, np.full((48, 64, 3), level, np.uint8))
    assert density.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(density, density[::-1, ::-1], rtol=1e-3)
    assert density[24, 32] >= density[0, 0] * (1 - 1e-6)


@each
def test_frames_are_judged_one_by_one_and_twice_alike(name: str) -> None:
    frames = np.stack([bars((1, 1)), discs((4, 6)), np.zeros_like(bars(None))])[:, ::4, ::4]
    model = build_baseline(name)
    together = model.predict(frames)
    alone = np.concatenate([model.predict(frames[place : place + 1]) for place in (2, 1, 0)])[::-1]
    np.testing.assert_array_equal(together, alone)
    assert model.predict(frames[:0]).shape == (0, 120, 160)


@each
def test_the_input_stays_as_it_was(name: str) -> None:
    frames = noise(1, 40, 60, 3)
    before = frames.copy()
    build_baseline(name).predict(frames)
    np.testing.assert_array_equal(frames, before)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((4, 5, 3), np.uint8),
        np.zeros((1, 4, 5), np.uint8),
        np.zeros((1, 4, 5, 3)),
        np.zeros((1, 0, 5, 3), "u1"),
    ],
    ids=["no batch", "grey", "float", "empty"],
)
def test_frames_of_another_kind_are_refused(frames: npt.NDArray[typing.Any]) -> None:
    with pytest.raises(ValueError, match="uint8"):
        build_baseline("uniform").predict(frames)


def test_an_unknown_name_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(ConfigError, match=r"no baseline 'itti'; choose from uniform, .*itti-koch, gbvs"):
        build_baseline("itti")


def test_the_names_are_those_of_the_literal_and_of_the_classes() -> None:
    assert tuple(BASELINES) == typing.get_args(BaselineName)
    assert [build_baseline(name).name for name in BASELINES] == list(BASELINES)
    assert all(isinstance(build_baseline(name), Baseline) for name in BASELINES)


# Those that do not look.


def test_uniform_is_the_same_everywhere() -> None:
    np.testing.assert_array_equal(predict("uniform", noise(20, 50, 3)), np.full((20, 50), 1 / 1000, np.float32))


@pytest.mark.parametrize("size", [(480, 640), (360, 640), (640, 360)])
def test_the_centre_prior_has_the_documented_widths(size: tuple[int, int]) -> None:
    height, width = size
    # Wide enough a margin that the picture's edges cut nothing off: moments of the whole Gaussian.
    density = CentrePrior(variance=0.22 / 16).predict(np.zeros((1, height, width, 3), np.uint8))[0].astype(np.float64)
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    across, down = density.sum(axis=0), density.sum(axis=1)
    assert across @ x == pytest.approx(width / 2)
    assert down @ y == pytest.approx(height / 2)
    assert np.sqrt(across @ (x - width / 2) ** 2) == pytest.approx(width / 2 * 0.22**0.5 / 4, rel=1e-3)
    assert np.sqrt(down @ (y - height / 2) ** 2) == pytest.approx(width / 2 * (0.22 * 0.45) ** 0.5 / 4, rel=1e-3)


def test_a_very_narrow_centre_prior_is_still_a_density() -> None:
    density = CentrePrior(variance=1e-12).predict(np.zeros((1, 9, 16, 3), np.uint8))[0]
    assert density.sum() == pytest.approx(1)
    assert density[4, 7] == density[4, 8] == 0.5


@pytest.mark.parametrize("settings", [{"variance": 0.0}, {"ratio": -1.0}, {"variance": float("nan")}])
def test_a_centre_prior_without_width_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be above 0"):
        CentrePrior(**settings)


# Those that look.


@each_that_looks
@pytest.mark.parametrize("draw", [bars, discs], ids=["orientation", "colour"])
@pytest.mark.parametrize("odd", [(2, 4), (4, 2)])
def test_the_odd_item_pops_out(name: str, draw: typing.Callable[[tuple[int, int]], RGB], odd: tuple[int, int]) -> None:
    assert peak_cell(predict(name, draw(odd))) == odd


@each_that_looks
def test_nothing_pops_out_of_equal_items(name: str) -> None:
    def share_of_highest_cell(picture: RGB) -> float:
        cells = predict(name, picture).reshape(ROWS, CELL, COLUMNS, CELL).sum(axis=(1, 3))
        return float(cells.max() / np.median(cells))

    assert share_of_highest_cell(discs((2, 4))) > 1.5 * share_of_highest_cell(discs(None))


@each_that_looks
@pytest.mark.parametrize("place", [(100, 120), (360, 500)])
def test_a_single_spot_is_where_the_density_is(name: str, place: tuple[int, int]) -> None:
    picture = np.full((480, 640, 3), 77, np.uint8)
    row, column = place
    picture[row - 15 : row + 15, column - 15 : column + 15] = 200
    density = predict(name, picture)
    peak = np.unravel_index(density.argmax(), density.shape)
    assert np.hypot(peak[0] - row, peak[1] - column) < 20


@each_that_looks
def test_a_mirrored_picture_gets_the_mirrored_density(name: str) -> None:
    picture = cv2.GaussianBlur(noise(96, 128, 3), (0, 0), 4)
    straight, mirrored = predict(name, picture), predict(name, np.ascontiguousarray(picture[:, ::-1]))
    assert np.corrcoef(straight.ravel(), mirrored[:, ::-1].ravel())[0, 1] > 0.99
    assert np.corrcoef(straight.ravel(), mirrored.ravel())[0, 1] < 0.9


@each_that_looks
def test_the_size_of_the_picture_changes_little(name: str) -> None:
    large = discs((4, 2))
    small = cv2.resize(large, (320, 240), interpolation=cv2.INTER_AREA)
    shrunk = cv2.resize(predict(name, large), (320, 240), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(shrunk.ravel(), predict(name, small).ravel())[0, 1] > 0.9


@each_that_looks
def test_no_place_has_a_density_of_zero(name: str) -> None:
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[20:24, 20:24] = 255
    density = predict(name, picture)
    assert density.min() * density.size >= FLOOR_SHARE * (1 - 1e-5)


def test_itti_koch_sees_a_colour_that_is_as_bright_as_its_surround() -> None:
    picture = np.full((480, 640, 3), (110, 110, 110), np.uint8)
    picture[300:330, 200:230] = (180, 75, 75)
    assert picture[0, 0].mean() == picture[310, 210].mean()
    density = predict("itti-koch", picture)
    peak = np.unravel_index(density.argmax(), density.shape)
    assert np.hypot(peak[0] - 315, peak[1] - 215) < 20


# The normalisation of Itti et al.


def test_one_peak_is_kept_and_one_among_equals_is_put_down() -> None:
    single, many, uneven = np.zeros((3, 9, 9), np.float32)
    single[4, 4] = 2
    many[1::3, 1::3] = 2
    uneven[4, 4], uneven[1, 1], uneven[7, 7] = 2, 1, 0.5
    assert promote(single).max() == 1
    assert promote(many).max() == 0
    # The others are .5 and .25 of the highest: (1 - .375) squared.
    assert promote(uneven).max() == pytest.approx(0.625**2)
    assert promote(np.full((9, 9), 7, np.float32)).max() == 0


def test_two_cells_of_one_peak_are_one_maximum() -> None:
    broad = np.zeros((9, 9), np.float32)
    broad[4, 4:6] = 1
    assert promote(broad).max() == 1


# The chains of Harel et al.


def walker(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The chain as defined: outbound weights of each node scaled to sum 1."""
    return weights / weights.sum(axis=1, keepdims=True)


def test_both_chains_are_in_equilibrium() -> None:
    rows, columns = 5, 7
    closeness = closeness_of_nodes(rows, columns, 1.5)
    values = np.random.default_rng(1).random((2, rows * columns))
    values[1, :20] = 0.5
    active = activate(values, closeness)
    settled = concentrate(active, closeness)
    for feature, first, second in zip(values, active, settled, strict=True):
        to_unlike = walker(np.abs(feature[:, None] - feature) * closeness)
        to_active = walker(first * closeness)
        np.testing.assert_allclose(first @ to_unlike, first, rtol=1e-9)
        np.testing.assert_allclose(second @ to_active, second, rtol=1e-9)
        assert first.sum() == pytest.approx(1)
        assert second.sum() == pytest.approx(1)
        # Another distribution is none: the equalities above can fail.
        even = np.full(rows * columns, 1 / (rows * columns))
        assert not np.allclose(even @ to_unlike, even, rtol=1e-3)
        assert not np.allclose(first @ to_active, first, rtol=1e-3)


def test_walking_long_enough_ends_in_the_same_equilibrium() -> None:
    closeness = closeness_of_nodes(4, 4, 1.0)
    feature = np.random.default_rng(2).random(16)
    chain = walker(np.abs(feature[:, None] - feature) * closeness)
    here = np.full(16, 1 / 16)
    for _ in range(2000):
        here = here @ (chain + np.eye(16)) / 2
    np.testing.assert_allclose(here, activate(feature[None], closeness)[0], rtol=1e-6)


def test_closeness_is_a_gaussian_of_the_distance_on_the_grid() -> None:
    closeness = closeness_of_nodes(2, 3, 2.0)
    assert closeness[0, 0] == 1
    # From (0, 0) to (1, 2): the squared distance is 5.
    assert closeness[0, 5] == pytest.approx(np.exp(-5 / 8))
    np.testing.assert_array_equal(closeness, closeness.T)
