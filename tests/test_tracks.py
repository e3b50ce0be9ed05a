"""Maps whose numbers are known in closed form or by hand come in; the tracker must give those numbers."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsal.errors import ConfigError
from vidsal.frames import SaliencyBatch
from vidsal.tracks import COLUMNS, FrameNumbers, Tracker, TrackOptions, column_types

ROWS, CELLS = 90, 160
HEIGHT, WIDTH = 360, 640  # four pixels a cell
Map = npt.NDArray[np.float64]


def make(
    maps: npt.ArrayLike,
    times: Sequence[float] | None = None,
    cuts: Sequence[int] = (),
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
) -> SaliencyBatch:
    density = np.asarray(maps, np.float64)
    density = density / density.sum(axis=(1, 2), keepdims=True)
    count = len(density)
    cut = np.isin(np.arange(count), cuts)
    with np.errstate(divide="ignore"):
        log_density = torch.tensor(np.log(density)).float()
    return SaliencyBatch(
        index=np.arange(count),
        pts_seconds=np.arange(count) / 25 if times is None else np.asarray(times, np.float64),
        shot=np.cumsum(cut),
        cut=cut,
        log_density=log_density,
        height=height,
        width=width,
    )


def blob(x: float, y: float, sigma_x: float = 32.0, sigma_y: float | None = None) -> Map:
    """A Gaussian of these pixels, peak 1, sampled at the cells' centres."""
    columns = (np.arange(CELLS) + 0.5) * WIDTH / CELLS - 0.5
    rows = (np.arange(ROWS) + 0.5) * HEIGHT / ROWS - 0.5
    sigma_y = sigma_x if sigma_y is None else sigma_y
    result: Map = np.exp(-(((rows - y) / sigma_y) ** 2)[:, None] / 2 - ((columns - x) / sigma_x) ** 2 / 2)
    return result


def one(density: npt.ArrayLike, **size: int) -> FrameNumbers:
    return Tracker().update(make(np.asarray(density)[None], **size))[0]


def regions(numbers: FrameNumbers) -> dict[int, tuple[float, float]]:
    """Id -> centre."""
    row = numbers.as_row()
    return {
        int(row[f"region{place}_id"]): (float(row[f"region{place}_x"]), float(row[f"region{place}_y"]))  # type: ignore[arg-type]
        for place in (1, 2, 3)
        if row[f"region{place}_id"] is not None
    }


def boxes(numbers: FrameNumbers) -> list[tuple[int, int, int, int]]:
    """Left, top, width and height of the regions, in the order of the row."""
    row: dict[str, Any] = numbers.as_row()
    places = [place for place in (1, 2, 3) if row[f"region{place}_id"] is not None]
    return [tuple(row[f"region{n}_{name}"] for name in ("left", "top", "width", "height")) for n in places]  # type: ignore[misc]


def nearest(numbers: FrameNumbers, x: float, y: float) -> int:
    """Id of the region at a place, which must be within 40 pixels."""
    found = regions(numbers)
    best = min(found, key=lambda each: math.dist(found[each], (x, y)))
    assert math.dist(found[best], (x, y)) < 40
    return best


def test_a_gaussian_has_its_centre_spread_entropy_coverage_and_half_height_mass() -> None:
    numbers = one(blob(301.3, 170.8, 36, 24))
    assert (numbers.peak_x, numbers.peak_y) == pytest.approx((301.3, 170.8), abs=0.01)
    assert (numbers.centroid_x, numbers.centroid_y) == pytest.approx((301.3, 170.8), abs=0.01)
    assert (numbers.spread_x, numbers.spread_y) == pytest.approx((36, 24), rel=1e-4)
    # Differential entropy in square cells (of 4x4 pixels): log2(2 pi e sx sy).
    assert numbers.entropy_bits == pytest.approx(math.log2(2 * math.pi * math.e * 36 * 24 / 16), abs=1e-4)
    assert numbers.entropy_share == pytest.approx(numbers.entropy_bits / math.log2(ROWS * CELLS))
    # Half the mass lies within the ellipse of radius sqrt(2 ln 2) sigma, where the density is half its peak.
    assert numbers.coverage == pytest.approx(2 * math.log(2) * math.pi * 36 * 24 / (WIDTH * HEIGHT), rel=0.01)
    assert numbers.region1_mass == pytest.approx(0.5, abs=0.06)
    assert (numbers.region1_x, numbers.region1_y) == pytest.approx((301.3, 170.8), abs=3)
    assert numbers.region2_id is None
    # The ellipse's own box, to one cell of the reduced map: 16 x 8 pixels.
    left, top, width, height = boxes(numbers)[0]
    reach_x, reach_y = 36 * math.sqrt(2 * math.log(2)), 24 * math.sqrt(2 * math.log(2))
    assert (left, left + width) == pytest.approx((301.8 - reach_x, 301.8 + reach_x), abs=16)
    assert (top, top + height) == pytest.approx((171.3 - reach_y, 171.3 + reach_y), abs=8)
    peak = one(blob(301.5, 169.5, 36, 24)).peak_density  # this one peaks on a cell's centre
    assert peak == pytest.approx(WIDTH * HEIGHT / (2 * math.pi * 36 * 24), rel=1e-4)


def test_a_small_map_has_the_numbers_reckoned_by_hand() -> None:
    # 2x4 cells of 10x10 pixels; column centres 4.5, 14.5, 24.5, 34.5, row centres 4.5, 14.5.
    numbers = one([[1 / 2, 1 / 4, 1 / 8, 1 / 16], [1 / 16, 0, 0, 0]], height=20, width=40)
    assert (numbers.peak_x, numbers.peak_y) == (4.5, 4.5)  # in the corner there is no parabola
    assert numbers.peak_density == pytest.approx(4.0)
    assert numbers.centroid_x == pytest.approx(4.5 + 10 * (1 / 4 + 2 / 8 + 3 / 16))
    assert numbers.centroid_y == pytest.approx(4.5 + 10 / 16)
    assert numbers.spread_x == pytest.approx(10 * math.sqrt(1 / 4 + 4 / 8 + 9 / 16 - (11 / 16) ** 2))
    assert numbers.spread_y == pytest.approx(10 * math.sqrt(1 / 16 - 1 / 256))
    assert numbers.entropy_bits == pytest.approx(1 / 2 + 2 / 4 + 3 / 8 + 4 / 16 + 4 / 16)
    assert numbers.entropy_share == pytest.approx(1.875 / 3)
    assert numbers.coverage == pytest.approx(1 / 8)
    # The cells of at least half the peak: the first two.
    assert numbers.region1_mass == pytest.approx(3 / 4)
    assert numbers.region1_x == pytest.approx((4.5 * 1 / 2 + 14.5 * 1 / 4) / (3 / 4))
    assert numbers.region1_y == pytest.approx(4.5)
    assert boxes(numbers) == [(0, 0, 20, 10)]


def test_the_peak_of_a_map_finer_than_its_picture_stays_on_it() -> None:
    density = np.full((24, 32), 1e-3)
    density[0, 31] = 1.0
    numbers, turned = (one(each, height=6, width=8) for each in (density, density[::-1, ::-1]))
    assert (numbers.peak_x, numbers.peak_y) == (7.0, 0.0)
    assert (turned.peak_x, turned.peak_y) == (0.0, 5.0)


def test_the_numbers_are_those_of_the_density_whatever_its_sum() -> None:
    batch = make([blob(150, 90) + 0.5 * blob(420, 250)])
    scaled = dataclasses.replace(batch, log_density=batch.log_density + 0.7)
    numbers, same = Tracker().update(batch)[0].as_row(), Tracker().update(scaled)[0].as_row()
    assert {name for name, value in same.items() if value is None} == {
        "region3_id",
        "region3_x",
        "region3_y",
        "region3_mass",
        *("region3_left", "region3_top", "region3_width", "region3_height"),
    }
    there = [name for name, value in numbers.items() if value is not None]
    assert [same[name] for name in there] == pytest.approx([numbers[name] for name in there], rel=1e-5)


@pytest.mark.parametrize("turned", [False, True])
def test_the_parabola_goes_through_three_cells_and_at_the_border_there_is_none(turned: bool) -> None:
    def peak(cells: list[float]) -> float:
        row = np.array([cells[::-1] if turned else cells])
        across, down = one(row, height=10, width=10 * len(cells)), one(row.T, height=10 * len(cells), width=10)
        assert across.peak_x == pytest.approx(down.peak_y) and across.peak_y == down.peak_x == 4.5
        place = (across.peak_x - 4.5) / 10  # in cells
        return len(cells) - 1 - place if turned else place

    before, after = math.log(0.2), math.log(0.6)
    assert peak([0.1, 0.2, 1.0, 0.6]) == pytest.approx(2 + 0.5 * (before - after) / (before + after))
    assert peak([0.2, 1.0, 0.6, 0.1]) == pytest.approx(1 + 0.5 * (before - after) / (before + after))
    assert peak([0.1, 0.2, 0.6, 1.0]) == 3
    assert peak([1.0, 0.6, 0.2, 0.1]) == 0


def test_the_last_cell_of_the_covered_area_counts_in_part() -> None:
    assert one([[0.4, 0.3, 0.2, 0.1]], height=1, width=4).coverage == pytest.approx((1 + 0.1 / 0.3) / 4)


def test_coverage_is_that_of_sorting_all_cells() -> None:
    density = np.random.default_rng(0).random((37, 53)) ** 4
    share = np.sort(density.ravel())[::-1] / density.sum()
    expected = np.interp(0.5, np.concatenate([[0], np.cumsum(share)]), np.arange(share.size + 1) / share.size)
    assert one(density).coverage == pytest.approx(expected, rel=1e-5)


def test_a_flat_map_is_flat_in_all_numbers() -> None:
    numbers = one(np.ones((ROWS, CELLS)))
    assert (numbers.centroid_x, numbers.centroid_y) == pytest.approx((WIDTH / 2 - 0.5, HEIGHT / 2 - 0.5))
    assert numbers.spread_x == pytest.approx(WIDTH / math.sqrt(12), rel=1e-3)
    assert numbers.peak_density == pytest.approx(1, rel=1e-5)
    assert numbers.entropy_share == pytest.approx(1)
    assert numbers.coverage == pytest.approx(0.5, rel=1e-4)
    assert regions(numbers) == {}


def test_the_share_of_the_entropy_is_that_of_its_maximum_and_never_above_1() -> None:
    assert one([[0.75, 0.25]], height=9, width=16).entropy_share == pytest.approx(2 - 0.75 * math.log2(3))
    assert one([[1.0]], height=9, width=16).entropy_share == 1
    shares = [one(np.ones((rows, 7))).entropy_share for rows in range(1, 60)]
    assert shares == pytest.approx([1.0] * 59)
    assert max(shares) <= 1


@pytest.mark.parametrize("shape", [(1, 48), (1, 49), (49, 1), (97, 51), (200, 100)])
def test_a_flat_map_has_no_region_however_its_cells_are_put_together(shape: tuple[int, int]) -> None:
    assert regions(one(np.ones(shape))) == {}


def test_all_mass_in_one_cell_gives_zeros_and_that_cell() -> None:
    density = np.zeros((9, 16))
    density[2, 11] = 1
    numbers = one(density)
    assert (numbers.centroid_x, numbers.centroid_y) == (11.5 * 40 - 0.5, 2.5 * 40 - 0.5)
    assert (numbers.peak_x, numbers.peak_y) == (numbers.centroid_x, numbers.centroid_y)
    assert (numbers.spread_x, numbers.spread_y, numbers.entropy_bits) == (0, 0, 0)
    assert numbers.coverage == pytest.approx(0.5 / 144)
    assert numbers.region1_mass == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2), (49, 97), (200, 30)])
def test_a_map_of_any_size_has_numbers_inside_the_picture(shape: tuple[int, int]) -> None:
    numbers = one(np.random.default_rng(1).random(shape) ** 3 + 1e-6, height=33, width=77)
    assert 0 <= numbers.centroid_x <= 76
    assert 0 <= numbers.peak_y <= 32
    assert 0 <= numbers.entropy_share <= 1
    assert 0 < numbers.coverage <= 1
    for (x, y), (left, top, width, height) in zip(regions(numbers).values(), boxes(numbers), strict=True):
        assert 0 <= left < left + width <= 77 and 0 <= top < top + height <= 33
        # In pixels whose centres are whole numbers.
        assert left - 0.5 <= x <= left + width - 0.5
        assert top - 0.5 <= y <= top + height - 0.5


def test_a_box_is_the_pixels_that_its_cells_touch() -> None:
    def box(*cells: float, width: int) -> tuple[int, int]:
        left, _, across, _ = boxes(one(row_of(*cells), height=7, width=width))[0]
        return left, across

    assert [box(*cells, width=10) for cells in ((1, 0, 0), (0, 1, 0), (0, 0, 1))] == [(0, 4), (3, 4), (6, 4)]
    assert box(0, 1, 0.51, 0.49, width=40) == (10, 20)  # half of the height is in, less is not
    assert box(1, 0.1, 0.1, 0.1, width=2) == (0, 1)  # a map finer than its picture
    assert box(0.1, 0.1, 1, 0.1, width=3) == (1, 2)
    # In floats, 11 / 30 * 1110 is not 407, the pixel at which that cell begins.
    assert [box(*np.eye(30)[n], width=1110) for n in range(30)] == [(37 * n, 37) for n in range(30)]


def test_a_box_holds_what_lies_in_pieces_and_the_boxes_of_regions_are_their_own() -> None:
    # The pass is too high for a second hill, but lower than half of the first one.
    assert boxes(one(row_of(1.0, 0.45, 0.55, 0.1), height=5, width=40)) == [(0, 0, 30, 5)]
    density = blob(150, 90) + 0.6 * blob(420, 250, 50, 20) + 0.02
    plain, mirrored = one(density), one(density[:, ::-1])
    assert len(boxes(plain)) == 2
    for (left, *rest), (other, *same) in zip(boxes(plain), boxes(mirrored), strict=True):
        assert (other, same) == (WIDTH - left - rest[1], rest)


@pytest.mark.parametrize("cells", [(30, 40), (90, 160), (180, 320), (67, 113)])
def test_the_numbers_are_those_of_the_picture_whatever_the_grid_of_the_map(cells: tuple[int, int]) -> None:
    rows, columns = ((np.arange(n) + 0.5) * side / n - 0.5 for n, side in zip(cells, (HEIGHT, WIDTH), strict=True))
    density = np.exp(-(((rows - 200) / 40) ** 2)[:, None] / 2 - ((columns - 250) / 40) ** 2 / 2)
    numbers = one(density)
    assert (numbers.peak_x, numbers.peak_y) == pytest.approx((250, 200), abs=0.1)
    assert (numbers.spread_x, numbers.spread_y) == pytest.approx((40, 40), rel=0.01)
    assert (numbers.region1_x, numbers.region1_y) == pytest.approx((250, 200), abs=6)
    assert numbers.region1_mass == pytest.approx(0.5, abs=0.08)


def test_mirroring_the_map_mirrors_the_numbers() -> None:
    density = blob(150, 90) + 0.6 * blob(420, 250, 50, 20) + 0.02
    plain, mirrored = one(density), one(density[:, ::-1])
    for name in ("peak_x", "centroid_x", "region1_x", "region2_x"):
        assert getattr(plain, name) == pytest.approx(WIDTH - 1 - getattr(mirrored, name), abs=1e-3)
    for name in ("spread_x", "entropy_bits", "coverage", "region1_mass", "region2_y"):
        assert getattr(plain, name) == pytest.approx(getattr(mirrored, name), rel=1e-5)


def test_regions_come_by_mass_and_small_bumps_and_shoulders_are_none() -> None:
    density = blob(100, 180, 40) + 0.9 * blob(330, 180, 25) + 0.7 * blob(540, 180, 20) + 0.1 * blob(330, 320, 10)
    numbers = one(density)
    assert [numbers.region1_x, numbers.region2_x, numbers.region3_x] == pytest.approx([100, 330, 540], abs=5)
    masses = [numbers.region1_mass, numbers.region2_mass, numbers.region3_mass]
    total = 40**2 + 0.9 * 25**2 + 0.7 * 20**2 + 0.1 * 10**2
    expected = [40**2 / 2 / total, 0.9 * 25**2 / 2 / total, 0.7 * 20**2 / 2 / total]
    assert masses == pytest.approx(expected, rel=0.2)
    shoulder = one(blob(300, 180, 40) + 0.8 * blob(350, 180, 40))
    assert len(regions(shoulder)) == 1


def test_ridges_of_equal_height_are_one_region() -> None:
    density = np.full((ROWS, CELLS), 0.01)
    density[40:50, 20:140] = 1  # a plateau: no cell is higher than another
    numbers = one(density)
    assert len(regions(numbers)) == 1
    assert numbers.region1_mass == pytest.approx(1200 / (1200 + 0.01 * (ROWS * CELLS - 1200)), rel=0.2)


@pytest.mark.parametrize("speed", [100.0, 200.0, 400.0])
@pytest.mark.parametrize("apart", [0.0, 20.0, 120.0])
def test_two_blobs_that_cross_keep_their_ids(speed: float, apart: float) -> None:
    count = int(480 / speed * 25)
    course = 80 + speed * np.arange(count) / 25
    maps = [blob(x, 180 - apart / 2, 24) + 0.8 * blob(640 - x, 180 + apart / 2, 24) + 1e-4 for x in course]
    rows = Tracker().update(make(maps))
    first, second = nearest(rows[0], 80, 180 - apart / 2), nearest(rows[0], 560, 180 + apart / 2)
    assert first != second
    assert nearest(rows[-1], course[-1], 180 - apart / 2) == first
    assert nearest(rows[-1], 640 - course[-1], 180 + apart / 2) == second
    assert {number for row in rows for number in regions(row)} == {first, second}


@pytest.mark.parametrize("speed", [120.0, 240.0])
def test_two_blobs_that_cross_upright_keep_their_ids(speed: float) -> None:
    course = 60 + speed * np.arange(int(240 / speed * 25)) / 25
    rows = Tracker().update(make([blob(310, y, 16) + 0.8 * blob(330, 360 - y, 16) + 1e-4 for y in course]))
    first, second = nearest(rows[0], 310, 60), nearest(rows[0], 330, 300)
    assert nearest(rows[-1], 310, course[-1]) == first
    assert nearest(rows[-1], 330, 360 - course[-1]) == second
    assert {number for row in rows for number in regions(row)} == {first, second}


@pytest.mark.parametrize(
    ("rate", "courses"),  # peak, width, first and last place of each
    [
        (50, [(0.9, 18, (256, 257), (404, 158)), (0.73, 23, (334, 278), (405, 89))]),
        (
            10,
            [
                (0.99, 33, (450, 200), (195, 236)),
                (0.73, 22, (295, 231), (409, 90)),
                (0.67, 39, (252, 99), (409, 231)),
            ],
        ),
        (
            25,
            [
                (0.67, 29, (340, 165), (339, 343)),
                (0.72, 25, (359, 262), (301, 169)),
                (0.87, 20, (423, 130), (288, 269)),
            ],
        ),
    ],
)
def test_blobs_that_run_into_one_and_apart_again_go_on_as_before(rate: float, courses: list[Any]) -> None:
    paths = [np.linspace(first, last, 30) for _, _, first, last in courses]
    maps = [
        sum(peak * blob(*path[frame], sigma) for (peak, sigma, *_), path in zip(courses, paths, strict=True)) + 1e-6
        for frame in range(30)
    ]
    rows = Tracker().update(make(maps, [frame / rate for frame in range(30)]))
    before, after = ([nearest(rows[frame], *path[frame]) for path in paths] for frame in (2, -1))
    assert before == after and len({*before}) == len(paths)


def test_a_region_that_stops_while_nobody_looks_is_still_the_same() -> None:
    places = [60 + 20 * i for i in range(11)]  # 500 pixels a second
    times = [i / 25 for i in range(11)]
    rows = Tracker().update(make([blob(x, 180) for x in [*places, places[-1]]], [*times, times[-1] + 0.5]))
    assert [row.region1_id for row in rows] == [1] * 12
    gone_on = Tracker().update(make([blob(x, 180) for x in [*places, places[-1] + 250]], [*times, times[-1] + 0.5]))
    assert gone_on[-1].region1_id == 1


def test_neighbours_keep_their_ids_when_the_order_of_their_heights_changes() -> None:
    maps = [one * blob(285, 180, 12) + other * blob(355, 180, 12) for one, other in ((1, 0.8), (0.8, 1), (1, 0.8))]
    rows = Tracker().update(make(maps))
    assert {(nearest(row, 285, 180), nearest(row, 355, 180)) for row in rows} == {(1, 2)}


def test_a_region_that_stays_keeps_its_id_though_another_one_goes_and_a_third_one_comes() -> None:
    # A chain of steps, each just near enough, would lead from the first to the second and from it to the third.
    before = blob(200, 180, 14) + 0.9 * blob(280, 180, 14)
    after = blob(264, 180, 14) + 0.9 * blob(344, 180, 14)
    rows = Tracker().update(make([before, after]))
    assert (nearest(rows[0], 200, 180), nearest(rows[0], 280, 180)) == (1, 2)
    assert (nearest(rows[1], 264, 180), nearest(rows[1], 344, 180)) == (2, 3)


def test_ids_stay_when_the_order_of_mass_changes() -> None:
    maps = [(1 - i / 40) * blob(150, 180) + (0.5 + i / 40) * blob(480, 180) for i in range(30)]
    rows = Tracker().update(make(maps))
    assert rows[0].region1_id == rows[-1].region2_id == 1
    assert rows[0].region2_id == rows[-1].region1_id == 2


def test_a_region_that_flickers_around_the_threshold_keeps_its_id() -> None:
    rng = np.random.default_rng(4)
    maps = [blob(150, 180) + rng.uniform(0.12, 0.4) * blob(480, 180) + 1e-3 for _ in range(100)]
    rows = Tracker().update(make(maps))
    assert {number for row in rows for number in regions(row)} == {1, 2}


def test_a_region_gone_for_longer_than_the_memory_comes_back_as_another() -> None:
    both, alone = blob(150, 180) + 0.8 * blob(480, 180), blob(150, 180) + 1e-4
    for gap, expected in ((8, 2), (20, 3)):  # 0.32 s and 0.8 s
        rows = Tracker().update(make([both] * 5 + [alone] * gap + [both]))
        assert nearest(rows[-1], 480, 180) == expected
        assert nearest(rows[-1], 150, 180) == 1


def test_a_region_is_gone_only_since_it_was_last_seen() -> None:
    both, alone = blob(150, 180) + 0.8 * blob(480, 180), blob(150, 180) + 1e-4
    rows = Tracker().update(make(([both] + [alone] * 8) * 3 + [both]))
    assert {nearest(row, 480, 180) for row in rows[::9]} == {2}


def test_hills_around_a_basin_are_one_region() -> None:
    # Each meets the two others on a pass that is too high for a region of its own.
    hills = blob(300, 150, 30) + 0.98 * blob(384, 150, 30) + 0.96 * blob(342, 223, 30)
    assert len(regions(one(hills + 0.05 * blob(342, 174, 200)))) == 1


def test_of_a_nearly_flat_map_only_what_was_there_before_is_a_region() -> None:
    before = blob(150, 180) + 1e-3
    after = 3 + 0.9 * blob(150, 180) + blob(480, 180)
    alone, first, second = one(after), *Tracker().update(make([before, after]))
    assert regions(alone) == {} and [*regions(first)] == [*regions(second)] == [1]
    assert nearest(second, 150, 180) == 1


def test_the_highest_hill_is_a_region_however_high_one_has_to_be() -> None:
    tracker = Tracker(TrackOptions(region_min_peak=1.0))
    assert len(regions(tracker.update(make([blob(150, 180) + 0.9 * blob(480, 180)]))[0])) == 1


def test_a_region_that_jumps_across_the_picture_is_another() -> None:
    rows = Tracker().update(make([blob(100, 180)] * 4 + [blob(540, 180)] * 4))
    assert [row.region1_id for row in rows] == [1] * 4 + [2] * 4


def test_ids_begin_again_at_a_cut_and_do_not_pass_over_it() -> None:
    maps = [blob(150, 180) + 0.8 * blob(480, 180)] * 4 + [blob(480, 180) + 0.8 * blob(150, 180)] * 4
    rows = Tracker().update(make(maps, cuts=[4]))
    assert nearest(rows[3], 480, 180) == 2
    assert nearest(rows[4], 480, 180) == 1
    assert [row.shot for row in rows] == [0] * 4 + [1] * 4
    uncut = Tracker().update(make(maps))
    assert nearest(uncut[4], 480, 180) == 2


@pytest.mark.parametrize("marked", [False, True])
def test_a_new_shot_number_without_a_mark_and_a_mark_without_a_number_begin_ids_again(marked: bool) -> None:
    maps = [blob(100, 180)] * 2 + [blob(540, 180)] * 4  # another region, in the same shot
    batch = make(maps)
    (batch.cut if marked else batch.shot)[4:] = 1
    assert [row.region1_id for row in Tracker().update(batch)] == [1, 1, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("jump", "seconds", "reach", "kept"),
    [
        (60, 0.04, 0.1, True),  # the diagonal is 734 pixels; near enough at any rate
        (150, 0.04, 0.1, False),
        (150, 0.5, 0.1, True),  # 0.1 + 0.3 * 0.5 of the diagonal
        (200, 0.5, 0.1, False),
        (250, 3.0, 0.1, False),  # never more than 0.3 of it
        (250, 0.04, 0.4, True),  # unless asked for
    ],
)
def test_how_far_a_region_may_go_grows_with_the_time_between_frames_to_a_limit(
    jump: float, seconds: float, reach: float, kept: bool
) -> None:
    batch = make([blob(150, 180), blob(150 + jump, 180)], [0.0, seconds])
    rows = Tracker(TrackOptions(region_reach=reach, region_memory_seconds=9.0)).update(batch)
    assert [row.region1_id for row in rows] == [1, 1 if kept else 2]


def test_a_hill_too_low_for_a_new_region_may_be_one_that_goes_on() -> None:
    def both(share: float) -> Map:
        return blob(150, 180) + share * blob(480, 180) + 1e-4

    assert len(regions(one(both(0.3)))) == 2
    assert len(regions(one(both(0.2)))) == 1
    rows = Tracker().update(make([both(0.3), both(0.2), both(0.13)]))
    assert [len(regions(row)) for row in rows] == [2, 2, 1]


def row_of(*cells: float) -> npt.NDArray[np.float64]:
    """A map of one row of cells, of ten pixels each: what is between two cells is the way from one to the other."""
    return np.array([cells])


def counts(*maps: npt.NDArray[np.float64]) -> list[int]:
    """Regions in each of these maps, which follow each other, wherever their centres come to lie."""
    options = TrackOptions(region_reach=1.0)
    return [len(regions(row)) for row in Tracker(options).update(make(maps, height=10, width=10 * maps[0].shape[1]))]


@pytest.mark.parametrize(
    ("cells", "number"),
    [
        # Between them the way goes down to 0.69 and 0.71 of the lower one.
        ((1.0, 0.552, 0.8), 2),
        ((1.0, 0.568, 0.8), 1),
        # A quarter of the highest.
        ((1.0, 0.01, 0.26), 2),
        ((1.0, 0.01, 0.24), 1),
        # The highest has to stand clear of the lowest cell.
        ((1.0, 0.69, 0.69), 1),
        ((1.0, 0.71, 0.71), 0),
        # Five hills, of which three are reported.
        ((0.6, 0.1, 0.8, 0.1, 1.0, 0.1, 0.9, 0.1, 0.7), 3),
    ],
)
def test_a_new_region_is_high_enough_and_the_way_to_a_higher_one_goes_down_far_enough(
    cells: tuple[float, ...], number: int
) -> None:
    assert counts(row_of(*cells)) == [number]


def test_a_region_that_is_followed_may_be_flatter_and_lower_than_a_new_one() -> None:
    first = row_of(1.0, 0.1, 0.8)
    assert counts(first, row_of(1.0, 0.672, 0.8)) == [2, 2]  # down to 0.84
    assert counts(first, row_of(1.0, 0.688, 0.8)) == [2, 1]  # down to 0.86 only
    assert counts(first, row_of(1.0, 0.01, 0.16)) == [2, 2]  # 0.6 of a quarter is 0.15
    assert counts(first, row_of(1.0, 0.01, 0.14)) == [2, 1]
    assert counts(first, row_of(1.0, 0.84, 0.84)) == [2, 1]
    assert counts(first, row_of(1.0, 0.86, 0.86)) == [2, 0]


def test_a_region_holds_the_cells_of_half_its_own_height() -> None:
    numbers = one(row_of(0.51, 1.0, 0.49, 0.1, 0.3, 0.16, 0.14), height=10, width=70)
    total = 0.51 + 1 + 0.49 + 0.1 + 0.3 + 0.16 + 0.14
    assert (numbers.region1_mass, numbers.region2_mass) == pytest.approx((1.51 / total, 0.46 / total))
    assert numbers.region1_x == pytest.approx((0.51 * 4.5 + 14.5) / 1.51)
    assert numbers.region2_x == pytest.approx((0.3 * 44.5 + 0.16 * 54.5) / 0.46)


def test_what_does_not_stand_clear_is_part_of_the_hill_beyond_its_pass() -> None:
    for cells in ((1.0, 0.9, 0.97, 0.1), (1.0, 0.76, 0.95, 0.1)):  # hardly a pass; one too high for a new region
        numbers = one(row_of(*cells), height=10, width=40)
        assert numbers.region1_mass == pytest.approx(sum(cells[:3]) / sum(cells))
        assert numbers.region1_x == pytest.approx(
            sum(c * (10 * i + 4.5) for i, c in enumerate(cells[:3])) / sum(cells[:3])
        )
        assert numbers.region2_id is None


@pytest.mark.parametrize(
    ("cells", "number"),
    [
        ([[0.1, 0.1, 1.0], [0.1, 0.75, 0.1], [0.9, 0.1, 0.1]], 1),  # over a corner
        ([[0.1, 0.1, 1.0], [0.1, 0.5, 0.1], [0.9, 0.1, 0.1]], 2),
        ([[0.1, 0.6, 0.1], [1.0, 0.1, 0.8], [0.1, 0.2, 0.1]], 1),  # of three ways the highest
        ([[0.1, 0.2, 0.1], [1.0, 0.1, 0.8], [0.1, 0.3, 0.1]], 2),
    ],
)
def test_two_hills_are_one_where_the_highest_way_between_them_is_high(cells: list[list[float]], number: int) -> None:
    for turns in range(4):
        for turned in (np.rot90(cells, turns), np.rot90(cells, turns)[::-1]):
            assert len(regions(one(turned, height=30, width=30))) == number


def test_regions_are_found_on_at_most_48_cells_a_side() -> None:
    cells = [1.0, 0.01, 0.8, *[0.01] * 45]
    assert counts(row_of(*cells)) == [2]
    assert counts(row_of(*cells, 0.01)) == [1]  # two of 49 make one, and so the valley is gone


def test_a_region_that_falls_to_fourth_place_keeps_its_id() -> None:
    def four(*heights: float) -> Map:
        centres = (80, 240, 400, 560)
        return sum((h * blob(x, 180, 24) for h, x in zip(heights, centres, strict=True)), np.full((ROWS, CELLS), 1e-4))

    rows = Tracker().update(make([four(1, 0.9, 0.8, 0.7), *[four(0.7, 0.9, 0.8, 1)] * 20, four(1, 0.9, 0.8, 0.7)]))
    assert nearest(rows[0], 80, 180) == nearest(rows[-1], 80, 180) == 1
    assert 1 not in regions(rows[5])
    assert nearest(rows[5], 560, 180) == 4


def test_without_a_memory_a_region_keeps_its_id_only_while_it_is_seen() -> None:
    both, alone = blob(150, 180) + 0.8 * blob(480, 180), blob(150, 180) + 1e-4
    rows = Tracker(TrackOptions(region_memory_seconds=0.0)).update(make([both, both, alone, both]))
    assert [nearest(row, 150, 180) for row in rows] == [1] * 4
    assert [nearest(rows[i], 480, 180) for i in (0, 1, 3)] == [2, 2, 3]


@pytest.mark.parametrize(("radii", "kept"), [(1.75, True), (2.25, False)])
@pytest.mark.parametrize("upright", [False, True])
def test_a_region_that_is_lost_within_two_radii_of_another_has_run_into_it_and_is_not_forgotten(
    radii: float, kept: bool, upright: bool
) -> None:
    # Where a Gaussian has half its height lies sqrt(2 ln 2) sigma from its middle.
    far = radii * math.sqrt(2 * math.log(2)) * 50
    large, small = blob(320, 180, 50), blob(320, 180 + far, 14) if upright else blob(320 + far, 180, 14)
    both, alone = large + 0.7 * small + 1e-4, large + 1e-4
    rows = Tracker().update(make([both] * 3 + [alone] * 20 + [both]))  # gone for 0.8 s, the memory is 0.5 s
    assert [sorted(regions(row)) for row in rows] == [[1, 2]] * 3 + [[1]] * 20 + [[1, 2 if kept else 3]]


def test_eight_regions_are_remembered_and_those_gone_for_longest_are_forgotten() -> None:
    places = [(x, y) for y in (60, 300) for x in (60, 190, 320, 450, 580)]
    tracker_options = TrackOptions(region_memory_seconds=9.0)
    for others, kept in ((7, True), (8, False)):
        maps = [blob(x, y, 16) for x, y in [*places[: others + 1], places[0]]]
        rows = Tracker(tracker_options).update(make(maps))
        assert [row.region1_id for row in rows[:-1]] == list(range(1, others + 2))
        assert (rows[-1].region1_id == 1) == kept


def test_reset_begins_ids_again() -> None:
    tracker = Tracker()
    tracker.update(make([blob(100, 180), blob(540, 180)]))
    tracker.reset()
    assert tracker.update(make([blob(540, 180)]))[0].region1_id == 1


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=10))
def test_grouping_into_batches_changes_nothing(sizes: list[int]) -> None:
    rng = np.random.default_rng(5)
    maps = [
        blob(100 + 15 * i, 180) + rng.uniform(0.1, 1) * blob(500 - 12 * i, 120) + rng.uniform(0.1, 1) * blob(320, 300)
        for i in range(24)
    ]
    whole = make(maps, times=np.cumsum(rng.uniform(0, 0.1, 24)).tolist(), cuts=[15])
    tracker, rows, start = Tracker(), [], 0
    for size in [*sizes, 24]:
        end = min(start + size, 24)
        if end > start:
            rows += tracker.update(whole[start:end])
        start = end
    assert rows == Tracker().update(whole)


def test_equal_timestamps_and_steps_back_do_no_harm() -> None:
    maps = [blob(150 + 3 * i, 180) for i in range(6)]
    for times in ([0.0] * 6, [0.0, 0.04, 0.04, 0.02, 0.08, 0.08]):
        rows = Tracker().update(make(maps, times=times))
        assert [row.region1_id for row in rows] == [1] * 6
        assert [row.pts_seconds for row in rows] == times


def test_many_hills_are_bounded_and_the_three_largest_are_reported() -> None:
    rng = np.random.default_rng(6)
    maps = [sum(blob(x, y, 14) for x, y in rng.uniform((20, 20), (620, 340), (30, 2))) for _ in range(5)]
    for row in Tracker().update(make(maps)):
        masses = [row.region1_mass, row.region2_mass, row.region3_mass]
        assert masses == sorted(masses, reverse=True)  # type: ignore[type-var]
        assert len(regions(row)) == 3


def test_a_map_that_is_not_finite_is_refused_with_its_frame() -> None:
    batch = make([blob(150, 180)] * 3)
    batch.log_density[1, 5, 5] = torch.nan
    with pytest.raises(ValueError, match="frame 1"):
        Tracker().update(batch)


def test_a_map_without_mass_is_refused_with_its_frame() -> None:
    batch = make([blob(150, 180)] * 3)
    batch.log_density[2] = -math.inf
    with pytest.raises(ValueError, match="frame 2"):
        Tracker().update(batch)


def test_a_column_has_the_type_of_its_annotation_where_it_may_be_empty_too() -> None:
    types = column_types(FrameNumbers)
    assert tuple(types) == FrameNumbers.columns()
    assert (types["cut"], types["shot"], types["peak_x"]) == (bool, int, float)
    assert (types["region1_id"], types["region3_mass"]) == (int, float)


def test_a_column_of_a_type_that_no_table_has_is_refused_by_name() -> None:
    for wrong in (bytes, int | str, list[int], int | str | None):
        row = dataclasses.make_dataclass("Row", [("number", int), ("wrong", wrong)])
        with pytest.raises(TypeError, match="the column wrong of Row"):
            column_types(row)
    fine = dataclasses.make_dataclass("Row", [("number", int | None), ("name", str)])
    assert column_types(fine) == {"number": int, "name": str}


def test_columns_documentation_and_row_agree_and_the_values_are_plain() -> None:
    row = one(blob(150, 180)).as_row()
    assert tuple(row) == FrameNumbers.columns() == tuple(COLUMNS)
    assert FrameNumbers.columns()[:7] == ("index", "pts_seconds", "shot", "cut", "peak_x", "peak_y", "peak_density")
    assert {type(value) for value in row.values()} <= {int, float, bool, type(None)}
    assert type(row["cut"]) is bool
    assert all(column.meaning.endswith(".") for column in COLUMNS.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [("region_min_peak", 0.0), ("region_min_peak", 1.5), ("region_memory_seconds", -1.0), ("region_reach", 0.0)],
)
def test_an_option_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        TrackOptions(**{name: value})


# The 1-euro filter of the peak.

EURO = TrackOptions(peak_filter="one-euro")
DIAGONAL = math.hypot(HEIGHT, WIDTH)


def peaks_at(
    points: npt.ArrayLike, times: Sequence[float], options: TrackOptions, cuts: Sequence[int] = ()
) -> npt.NDArray[np.float64]:
    """(n, 2) peaks that the tracker gives for blobs that stand at the points."""
    maps = [blob(x, y) for x, y in np.asarray(points, np.float64)]
    return np.array([(row.peak_x, row.peak_y) for row in Tracker(options).update(make(maps, times, cuts))])


def jittering(count: int) -> npt.NDArray[np.float64]:
    return np.array([320.0, 180.0]) + np.random.default_rng(8).normal(0, 6, (count, 2))


def test_the_filter_is_off_unless_asked_for() -> None:
    points = jittering(6)
    assert peaks_at(points, np.arange(6) / 25, TrackOptions()) == pytest.approx(points, abs=0.05)


def test_the_jitter_of_a_peak_at_rest_shrinks() -> None:
    points, times = jittering(60), np.arange(60) / 25
    raw, steady = peaks_at(points, times, TrackOptions())[20:], peaks_at(points, times, EURO)[20:]
    step = [np.linalg.norm(np.diff(each, axis=0), axis=1).mean() for each in (raw, steady)]
    assert step[1] < step[0] / 4
    assert np.linalg.norm(steady - (320, 180), axis=1).mean() < np.linalg.norm(raw - (320, 180), axis=1).mean() * 0.6


def test_a_peak_that_keeps_its_speed_is_followed_with_the_lag_of_the_formula() -> None:
    times = np.arange(75) / 25
    points = np.stack([60 + 170 * times, np.full(75, 180.0)], 1)  # pixels a second
    lag = 170 / (2 * math.pi * (EURO.peak_cutoff_hertz + EURO.peak_speed_gain * 170 / DIAGONAL))
    steady = peaks_at(points, times, EURO)
    assert points[-1, 0] - steady[-1, 0] == pytest.approx(lag, rel=0.02)
    # A filter of one fixed cutoff, as steady at rest, trails far behind.
    fixed = peaks_at(points, times, TrackOptions(peak_filter="one-euro", peak_speed_gain=0.0))
    assert points[-1, 0] - fixed[-1, 0] == pytest.approx(170 / (2 * math.pi * EURO.peak_cutoff_hertz), rel=0.02)
    assert lag < 0.35 * (points[-1, 0] - fixed[-1, 0])


def test_a_peak_that_sets_off_is_followed_as_the_mean_cutoff_on_the_way_has_it() -> None:
    # Its speed as the filter sees it, v = s (1 - exp(-2 pi t)) from rest and on from there, goes into the cutoff.
    points, times, steady, seen = [(100, 100), (220, 190), (220, 340)], [0.0, 0.25, 0.4], 100 + 100j, 0j
    found = peaks_at(points, times, EURO)
    for before, after, answer in ((0, 1, found[1]), (1, 2, found[2])):
        span = times[after] - times[before]
        start, end = complex(*points[before]), complex(*points[after])
        ways = np.linspace(0, span, 10_001)
        speeds = np.abs((end - start) / span * (1 - np.exp(-2 * np.pi * ways)) + seen * np.exp(-2 * np.pi * ways))
        cutoff = EURO.peak_cutoff_hertz + EURO.peak_speed_gain * float(speeds.mean()) / DIAGONAL
        # An exponential average of a point that moves evenly.
        rate = 2 * np.pi * cutoff * span
        keep = np.exp(-rate)
        steady = keep * steady + ((1 - keep) / rate - keep) * start + (1 - (1 - keep) / rate) * end
        seen = (end - start) / span * (1 - np.exp(-2 * np.pi * span)) + seen * np.exp(-2 * np.pi * span)
        assert complex(*answer) == pytest.approx(steady, abs=0.3)


def test_the_filter_at_25_and_50_frames_a_second_agrees_at_the_same_instants() -> None:
    slow, fast = np.arange(40) / 25, np.arange(79) / 50

    def course(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.stack([320 + 160 * np.sin(3 * times), 180 + 90 * np.cos(4 * times)], 1)

    one, two = peaks_at(course(slow), slow, EURO), peaks_at(course(fast), fast, EURO)
    assert np.abs(one - two[::2]).max() < 1
    # Counting frames instead of seconds would not pass.
    miscounted = peaks_at(course(fast), fast * 2, EURO)
    assert np.abs(one - miscounted[::2]).max() > 5
    uneven = np.sort(np.concatenate([slow, np.random.default_rng(9).uniform(0, slow[-1], 20)]))
    varied = peaks_at(course(uneven), uneven, EURO)[np.searchsorted(uneven, slow)]
    assert np.abs(one - varied).max() < 1


def test_the_filter_starts_afresh_at_a_cut_and_not_without() -> None:
    points, times = [(100, 100)] * 5 + [(500, 300)] * 5, np.arange(10) / 25
    assert peaks_at(points, times, EURO, cuts=[5]) == pytest.approx(np.array(points), abs=0.05)
    assert peaks_at(points, times, EURO)[5, 0] < 490


def test_the_filter_does_not_depend_on_batches_nor_on_which_way_is_up() -> None:
    points, times = jittering(12) + np.arange(12)[:, None] * (5, 2), np.arange(12) / 25
    whole = peaks_at(points, times, EURO)
    maps, tracker, rows = [blob(x, y) for x, y in points], Tracker(EURO), []
    for start, end in ((0, 1), (1, 6), (6, 12)):
        rows += tracker.update(make(maps[start:end], times[start:end]))
    assert [(row.peak_x, row.peak_y) for row in rows] == [tuple(each) for each in whole]
    mirrored = peaks_at((WIDTH - 1, HEIGHT - 1) - points, times, EURO)
    assert mirrored == pytest.approx((WIDTH - 1, HEIGHT - 1) - whole, abs=0.05)


def test_the_filter_stands_still_where_time_does() -> None:
    points = [(100, 100), (300, 100), (300, 100)]
    assert peaks_at(points, [1.0, 1.0, 0.5], EURO) == pytest.approx(np.array([(100, 100)] * 3), abs=0.05)


@pytest.mark.parametrize(
    ("name", "value"), [("peak_filter", "kalman"), ("peak_cutoff_hertz", 0.0), ("peak_speed_gain", -1.0)]
)
def test_an_option_of_the_filter_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        TrackOptions(**{name: value})  # type: ignore[arg-type]


def test_regions_of_one_mass_come_in_the_order_of_their_ids() -> None:
    left, right = np.zeros((2, 18, 32))
    left[4:7, 5:8] = 1
    right[11:14, 22:25] = 1
    first, both = Tracker().update(make(np.stack([right, left + right])))
    assert first.region1_id == 1
    assert both.region1_mass == both.region2_mass == 0.5
    assert (both.region1_id, both.region2_id) == (1, 2)
    assert both.region1_x == first.region1_x
