"""The models without weights: what each is known for, on made pictures with one odd item, and the definitions."""

from __future__ import annotations

import typing

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from vidsal.errors import ConfigError
from vidsal.frames import FrameBatch
from vidsal.model.baselines import (
    BASELINES,
    FLOOR_SHARE,
    Baseline,
    BaselineName,
    CentrePrior,
    CodingLength,
    activate,
    build_baseline,
    closeness_of_nodes,
    concentrate,
    promote,
)
from vidsal.model.baselines.rarity import differences, filter_bank, gain_of_features
from vidsal.model.baselines.surround import surrounded
from vidsal.model.baselines.whitening import distinctiveness, whitened
from vidsal.model.checkpoint import load_model
from vidsal.pipe.many import StreamBatch, predict_streams
from vidsal.pipe.options import PredictOptions, RecurrenceOptions
from vidsal.pipe.predict import predict as predict_video
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import ViewerOptions

RGB = npt.NDArray[np.uint8]
CELL = 80
ROWS, COLUMNS = 6, 8
LOOKING = ("spectral-residual", "itti-koch", "gbvs", "aim", "sun", "icl", "bms", "aws")
"""Those whose answer depends on the picture."""
POPS_OUT = dict.fromkeys(("spectral-residual", "itti-koch", "gbvs", "aim", "aws"), ("orientation", "colour"))
# Boolean maps see no orientation, and coding length none of these colours; SUN knows what is common in the world only.
POPS_OUT |= {"icl": ("orientation",), "bms": ("colour",)}

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


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in POPS_OUT.items() for kind in kinds])
@pytest.mark.parametrize("odd", [(2, 4), (4, 2)])
def test_the_odd_item_pops_out(name: str, kind: str, odd: tuple[int, int]) -> None:
    assert peak_cell(predict(name, {"orientation": bars, "colour": discs}[kind](odd))) == odd


@pytest.mark.parametrize("name", [name for name, kinds in POPS_OUT.items() if "colour" in kinds])
def test_nothing_pops_out_of_equal_items(name: str) -> None:
    def share_of_highest_cell(picture: RGB) -> float:
        cells = predict(name, picture).reshape(ROWS, CELL, COLUMNS, CELL).sum(axis=(1, 3))
        return float(cells.max() / np.median(cells))

    assert share_of_highest_cell(discs((2, 4))) > 1.4 * share_of_highest_cell(discs(None))


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
    assert np.corrcoef(straight.ravel(), mirrored.ravel())[0, 1] < 0.95


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


# Rarity: AIM, SUN, ICL.


def alike(one: npt.NDArray[typing.Any], other: npt.NDArray[typing.Any]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def landscape() -> RGB:
    """Something of all scales and colours, unlike its mirror image."""
    random = np.random.default_rng(8)
    total = np.zeros((240, 320, 3))
    for sigma in (1, 3, 9, 27):
        layer = cv2.GaussianBlur(random.standard_normal((240, 320, 3)), (0, 0), sigma)
        total += layer / layer.std()
    return np.clip(128 + 18 * total, 0, 255).astype(np.uint8)


def test_the_learned_filters_are_finite_and_of_the_sizes_they_are_used_in() -> None:
    sizes = {"aim": (25, 21, 21, 3), "icl": (192, 8, 8, 3), "sun_sigma": (4, 3), "sun_theta": (4, 3)}
    for name, size in sizes.items():
        bank = filter_bank(name)
        assert bank.shape == size and np.isfinite(bank).all() and not bank.flags.writeable
    # Heavier tails than a Gaussian's, whose exponent is 2; the published exponents are from .74 to 1.46.
    assert (filter_bank("sun_theta") > 0.3).all() and (filter_bank("sun_theta") < 1.5).all()
    # None of the filters is another one.
    for name in ("aim", "icl"):
        rows = filter_bank(name).reshape(len(filter_bank(name)), -1)
        assert np.linalg.matrix_rank(rows) == len(rows)


def test_aim_adds_up_the_information_of_the_responses() -> None:
    """Counted again by a loop over the filters and the windows of a small picture."""
    picture = cv2.resize(landscape(), (320, 40), interpolation=cv2.INTER_AREA)
    filters = filter_bank("aim").astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(picture / 255, (21, 21), axis=(0, 1))
    information = np.zeros(windows.shape[:2])
    for one in filters:
        response = np.einsum("hwcyx,yxc->hw", windows, one)
        level = np.rint((response - response.min()) / np.ptp(response) * 999).astype(int)
        share = np.array([(level == value).sum() for value in range(1000)]) / level.size
        information -= np.log(share[level] + 1e-6)
    whole = np.pad(information - information.min(), 10)
    expected = cv2.GaussianBlur(whole, (0, 0), 4, borderType=cv2.BORDER_REPLICATE)
    # Responses at the border of two bins fall on either side in float32.
    assert alike(predict("aim", picture), expected) > 0.999
    inner = np.s_[12:28, 12:308]
    assert alike(predict("aim", picture)[inner], -expected[inner]) < -0.99


def test_sun_adds_up_powers_of_responses_that_are_zero_where_nothing_is() -> None:
    flat = np.full((480, 640, 3), 0.4, np.float32)
    assert max(float(np.abs(one).max()) for one in differences(flat)) < 1e-5
    picture = landscape().astype(np.float32) / 255
    first = cv2.resize(picture, (640, 480), interpolation=cv2.INTER_LINEAR)
    responses = differences(first)
    assert [one.shape for one in responses] == [(480, 640, 3), (240, 320, 3), (120, 160, 3), (60, 80, 3)]
    grey = first.sum(axis=2)
    expected = cv2.GaussianBlur(grey, (0, 0), 4 / 2**0.5) - cv2.GaussianBlur(grey, (0, 0), 6.4 / 2**0.5)
    np.testing.assert_allclose(responses[0][:, :, 0], expected, atol=1e-4)
    total = np.zeros((480, 640))
    for one, sigma, theta in zip(responses, filter_bank("sun_sigma"), filter_bank("sun_theta"), strict=True):
        power = (np.abs(one / sigma) ** theta).sum(axis=2)
        total += cv2.resize(power, (640, 480), interpolation=cv2.INTER_LINEAR)
    expected = cv2.resize(total, (320, 240), interpolation=cv2.INTER_AREA)
    assert alike(predict("sun", landscape()), expected) > 0.9999


def test_energy_goes_to_the_features_that_would_lengthen_the_code() -> None:
    p = np.array([0.5, 0.3, 0.15, 0.04, 0.01])
    gain = gain_of_features(p)
    assert gain.sum() == pytest.approx(1) and (np.diff(gain) >= 0).all() and gain[0] == 0 < gain[1] < gain[-1]
    # How the entropy changes with one more response of a feature, by a difference.
    entropy = lambda q: -(q / q.sum() * np.log2(q / q.sum())).sum()  # noqa: E731
    longer = np.array([entropy(p + 1e-6 * np.eye(5)[i]) - entropy(p) for i in range(5)]) / 1e-6
    np.testing.assert_allclose(-entropy(p) - np.log2(p), longer, atol=1e-3)
    # The published gain is this with p (1 + log p) taken off, which changes no order.
    np.testing.assert_allclose(gain, np.maximum(longer - p - p * np.log2(p), 0) / gain_sum(longer, p), atol=1e-3)
    np.testing.assert_allclose(gain_of_features(np.full(4, 0.25)), 0.25)


def gain_sum(longer: npt.NDArray[np.float64], p: npt.NDArray[np.float64]) -> float:
    return float(np.maximum(longer - p - p * np.log2(p), 0).sum())


# What is remembered.


def test_what_has_gone_on_for_long_is_no_longer_rare() -> None:
    """Bars of one kind for a while, then both kinds: the new ones get more than they would at first sight."""

    def scene(*, lying: bool, upright: bool) -> RGB:
        picture = np.full((240, 320, 3), 128, np.uint8)
        for row in range(20, 240, 40):
            if lying:
                picture[row - 3 : row + 3, 40:120] = 220
            if upright:
                picture[20:220, 160 + row // 2 : 164 + row // 2] = 220
        return picture

    model = CodingLength()
    both = scene(lying=True, upright=True)
    at_once, first = model.watch(both)
    memory = None
    for _ in range(20):
        _, memory = model.watch(scene(lying=True, upright=False), memory)
    later, second = model.watch(both, memory)
    np.testing.assert_array_equal(at_once, model.predict(both[None])[0])
    assert later[:, 150:].sum() > 1.05 * at_once[:, 150:].sum()
    # And forgets by a factor of e in 8 frames.
    np.testing.assert_allclose(second, np.exp(-1 / 8) * memory + first, rtol=1e-5)


UNSMOOTHED = PredictOptions(
    RecurrenceOptions(every=1), smooth=SmoothOptions(smoothing="none"), viewers=ViewerOptions(viewers="off")
)


def clip(count: int, height: int = 90, width: int = 120, seed: int = 0) -> FrameBatch:
    random = np.random.default_rng(seed)
    still = cv2.GaussianBlur(random.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 3)
    frames = np.stack([np.roll(still, 2 * n, axis=1) for n in range(count)])
    return FrameBatch(
        index=np.arange(count), pts_seconds=np.arange(count) / 25, frames=frames, height=height, width=width
    )


@pytest.mark.parametrize("name", ["icl", "bms"])
def test_through_the_pipe_maps_are_those_of_the_model_however_the_video_is_cut(name: str) -> None:
    whole, model = clip(4), load_model(name, device="cpu")
    expected, memory = [], None
    for frame in whole.frames:
        density, memory = build_baseline(name).watch(frame, memory)
        expected.append(density)
    for parts in ([slice(0, 4)], [slice(0, 1), slice(1, 3), slice(3, 4)]):
        results = predict_video([whole[part] for part in parts], model, UNSMOOTHED)
        made = [density.numpy() for result in results for density in result.density]
        np.testing.assert_allclose(np.stack(made), np.stack(expected), rtol=1e-4, atol=1e-9)
    # A lost state shows, where there is one.
    alone = build_baseline(name).predict(whole.frames[3:])[0]
    assert (alike(alone, expected[3]) < 0.99999) == (name == "icl")


def test_videos_of_different_shapes_run_side_by_side_each_on_its_own_canvas() -> None:
    clips = [clip(3), clip(2, 120, 60, seed=1), clip(3, seed=2)]
    model = load_model("icl", device="cpu")
    alone = [next(iter(predict_video([one], model, UNSMOOTHED))).density for one in clips]
    together: dict[int, typing.Any] = {}
    for result in predict_streams([[one] for one in clips], model, UNSMOOTHED):
        if isinstance(result, StreamBatch):
            together[result.stream] = result.batch.density
    for stream, density in enumerate(alone):
        np.testing.assert_allclose(together[stream].numpy(), density.numpy(), rtol=1e-5)


# Boolean maps.


def test_only_what_does_not_touch_the_border_is_surrounded() -> None:
    mask = np.zeros((7, 9), np.bool_)
    mask[2:5, 2:5] = True
    mask[3, 3] = False
    mask[0, 7], mask[1, 8] = True, True
    inside = surrounded(mask)
    expected = mask.copy()
    expected[0, 7] = expected[1, 8] = False
    np.testing.assert_array_equal(inside, expected)
    # The hole in the ring is surrounded too; the ground is not.
    hole = np.zeros_like(mask)
    hole[3, 3] = True
    np.testing.assert_array_equal(surrounded(~mask), hole)
    # Corners join: a way out over a corner is one.
    mask[1, 1] = mask[0, 0] = True
    assert not surrounded(mask).any()


def test_boolean_maps_are_alike_for_a_picture_and_its_negative() -> None:
    picture = discs((2, 4))
    assert alike(predict("bms", picture), predict("bms", 255 - picture)) > 0.95
    assert alike(predict("sun", picture), predict("bms", picture)) < 0.9


# Adaptive whitening.


def test_whitened_rows_are_uncorrelated_and_distances_are_those_of_mahalanobis() -> None:
    random = np.random.default_rng(0)
    mixed = np.linalg.cholesky(np.array([[4.0, 1, 0], [1, 3, 1], [0, 1, 2]])) @ random.standard_normal((3, 500))
    white = whitened(mixed + 7)
    np.testing.assert_allclose(white @ white.T / 500, np.eye(3), atol=1e-9)
    centred = mixed - mixed.mean(axis=1, keepdims=True)
    inverse = np.linalg.inv(centred @ centred.T / 500)
    expected = np.einsum("in,ij,jn->n", centred, inverse, centred)
    np.testing.assert_allclose(distinctiveness((mixed + 7).reshape(3, 20, 25)).ravel(), expected, rtol=1e-9)
    # A row that is the sum of two others adds nothing.
    more = np.vstack([mixed, mixed[:1] + mixed[1:2]])
    np.testing.assert_allclose(distinctiveness(more.reshape(4, 20, 25)).ravel(), expected, rtol=1e-6)


def test_a_fainter_picture_has_the_same_whitened_map() -> None:
    picture = landscape()
    fainter = (picture.astype(np.float64) * 0.5 + 60).round().astype(np.uint8)
    assert alike(predict("aws", picture), predict("aws", fainter)) > 0.98


@pytest.mark.parametrize("name", ["sun", "bms", "aws"])
def test_a_turned_picture_has_the_turned_map(name: str) -> None:
    picture = np.ascontiguousarray(landscape()[:, :240])
    turned = predict(name, np.ascontiguousarray(np.rot90(picture)))
    assert alike(np.rot90(predict(name, picture)), turned) > 0.97
    assert alike(predict(name, picture), turned) < 0.8
