"""Stills to training clips: what is shown, what is labelled and what is said to have moved have to agree.

The judge looks at the frames: discs of one colour are found by their pixels, motion by OpenCV's image alignment.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from made import make_stills

from vidsal.config import read_file, resolve
from vidsal.data.clips import AugmentOptions, Clip, ObjectOptions, make_clip
from vidsal.data.layouts import Fixations, LabelledSequence, open_dataset
from vidsal.data.layouts.stills import still as still_of
from vidsal.data.motion import CameraPath, apply_affine, draw_path, film, index_affine, invert, wander
from vidsal.data.options import CameraOptions, OverlayOptions
from vidsal.data.overlays import draw_overlays, looked_at_with
from vidsal.errors import ConfigError, DatasetError
from vidsal.losses import sam_loss
from vidsal.preprocess import PreprocessOptions, Preprocessor, Viewport
from vidsal.train import TrainConfig

CANVAS = PreprocessOptions(height=96, width=128)

QUIET = AugmentOptions.only()
"""Nothing happens."""
MOVING = CameraOptions(probability=1, pan=0.03, zoom=0.02, rotation=2, tilt=5, shake=0.01)


CAMERA = AugmentOptions.only(camera=MOVING)
KINDS = {
    "jumps": AugmentOptions.only(shift=0.06, zoom=0.05),
    "camera": CAMERA,
    "rotation": AugmentOptions.only(camera=CameraOptions(probability=1, pan=0, zoom=0, rotation=10, tilt=20, shake=0)),
    "flip": AugmentOptions.only(flip_probability=1),
    "crop": AugmentOptions.only(crop_probability=1, aspect_probability=0.7),
    "stretch": AugmentOptions.only(crop_probability=0.5, stretch=0.3),
    "motion blur": AugmentOptions.only(camera=MOVING, motion_blur_probability=1, longest_exposure=1),
    "drift": AugmentOptions.only(brightness=0.2, white_balance=0.2, exposure_drift=0.05, white_balance_drift=0.03),
    "compression": AugmentOptions.only(compression_probability=1),
    "overlays": AugmentOptions.only(
        overlays=OverlayOptions(
            caption_probability=1,
            ticker_probability=1,
            logo_probability=1,
            caption_attraction=0,
            ticker_attraction=0,
            logo_attraction=0,
        )
    ),
}
EVERYTHING = AugmentOptions(
    stretch=0.1,
    camera=dataclasses.replace(MOVING, probability=0.7),
    cut_probability=0.3,
    objects=ObjectOptions(probability=0.7),
    motion_blur_probability=0.5,
    overlays=OverlayOptions(caption_probability=0.5, ticker_probability=0.5, logo_probability=0.5),
    white_balance=0.1,
    exposure_drift=0.02,
    white_balance_drift=0.02,
    compression_probability=0.5,
)

RED, GREEN = (250, 15, 15), (15, 250, 15)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def labelled(path: Path, points: object, *, height: int, width: int) -> LabelledSequence:
    """A picture with points in pixels of this size; its density is made of them."""
    seen = Fixations.on_picture(points, height=height, width=width, sigma=0.03 * max(height, width))  # type: ignore[arg-type]
    return still_of(path, fixations=lambda: seen, density=seen.density)


def write_still(path: Path, picture: np.ndarray, points: object) -> LabelledSequence:
    assert cv2.imwrite(str(path), picture[:, :, ::-1])
    return labelled(path, points, height=picture.shape[0], width=picture.shape[1])


def disc(
    path: Path, colour: tuple[int, int, int], *, x: float = 70, y: float = 60, extra: object = ()
) -> LabelledSequence:
    """160x120, a disc of radius 9 on dark noise; ten fixations on its centre and the extra ones."""
    picture = rng(1).integers(0, 60, (120, 160, 3), np.uint8)
    picture[...] = picture.mean(2, keepdims=True).astype(np.uint8)  # no colour but the disc's
    cv2.circle(picture, (round(x - 0.5), round(y - 0.5)), 9, colour, -1)
    return write_still(path, picture, [(x, y)] * 10 + list(extra))  # type: ignore[call-overload]


def texture(path: Path, size: tuple[int, int] = (240, 320)) -> LabelledSequence:
    noise = cv2.GaussianBlur(rng(3).normal(0, 1, (*size, 3)), (0, 0), 5)
    picture = np.clip(128 + noise * 900, 0, 255).astype(np.uint8)
    return write_still(path, picture, [(size[1] / 2, size[0] / 2)] * 5)


def where(frame: np.ndarray, channel: int) -> np.ndarray | None:
    """Centre (x, y) of what is purely red, green or blue, in continuous pixels; None if there is next to nothing."""
    others = frame[:, :, [c for c in range(3) if c != channel]].astype(float).max(2)
    excess = frame[:, :, channel] - others
    weights = np.where(excess > 0.7 * excess.max(), excess, 0)
    if excess.max() < 80 or (weights > 0).sum() < 20:
        return None
    rows, columns = np.indices(weights.shape) + 0.5
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()


def peak(density: np.ndarray) -> np.ndarray:
    """Where a density is highest, in continuous pixels."""
    rows, columns = np.nonzero(density > 0.97 * density.max())
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def clip_of(
    still: LabelledSequence, augment: AugmentOptions | None, *, times: int = 4, seed: int = 0, **more: object
) -> Clip:
    return make_clip(still, times=times, preprocess=CANVAS, augment=augment, random=rng(seed), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fixated_disc_stays_under_its_density(tmp_path: Path, kind: str) -> None:
    still = disc(tmp_path / "a.png", RED)
    seen = 0
    for seed in range(8):
        clip = clip_of(still, KINDS[kind], seed=seed)
        for frame, density in zip(clip.frames, clip.density, strict=True):
            found = where(frame, 0)
            # A disc cut by the edge, or by a ticker, has its visible centre elsewhere.
            if found is None or not 12 < found[0] < 116 or not 12 < found[1] < 84:
                continue
            assert np.abs(found - peak(density)).max() < 1.5, seed
            assert density.sum() == pytest.approx(1, abs=1e-4)
            seen += 1
    assert seen >= 12


def test_labels_of_another_frame_would_be_noticed(tmp_path: Path) -> None:
    still = disc(tmp_path / "a.png", RED)
    clips = [clip_of(still, CAMERA, seed=seed) for seed in range(8)]
    apart = [np.abs(where(clip.frames[-1], 0) - peak(clip.density[0])).max() for clip in clips]  # type: ignore[operator]
    assert np.median(apart) > 2


def test_labels_and_frames_stay_inside_the_picture(tmp_path: Path) -> None:
    stills = open_dataset("simple", make_stills(tmp_path / "mine")).sequences
    draw = iter_of(stills)
    for seed in range(12):
        clip = clip_of(stills[seed], EVERYTHING, seed=seed, others=draw)
        view = clip.viewport
        outside = np.ones(CANVAS_SHAPE, bool)
        outside[view.top : view.top + view.height, view.left : view.left + view.width] = False
        assert not clip.frames[:, outside].any()
        assert not clip.density[:, outside].any()
        assert not clip.counts[:, outside].any()
        assert np.all(clip.counts == np.round(clip.counts))


def published(path: Path, still: LabelledSequence, *, points: bool = True) -> LabelledSequence:
    """The still as a set publishes it that has densities of its own: here a blob, twice as wide as its points'."""
    seen = still.first_frame().fixations()
    assert seen is not None
    blob = cv2.resize(dataclasses.replace(seen, sigma=8.0).density(), (80, 60), interpolation=cv2.INTER_AREA)
    own = dataclasses.replace(seen, sigma=None)
    return still_of(path, fixations=(lambda: own) if points else None, density=lambda: blob / blob.sum())


def spread(density: np.ndarray) -> float:
    rows, columns = np.indices(density.shape)
    mean = [(density * where).sum() for where in (rows, columns)]
    return float(np.sqrt((density * ((rows - mean[0]) ** 2 + (columns - mean[1]) ** 2)).sum() / 2))


@pytest.mark.parametrize("points", [True, False])
@pytest.mark.parametrize("kind", ["plain", "camera"])
def test_a_published_density_moves_with_its_picture(tmp_path: Path, kind: str, points: bool) -> None:
    still = disc(tmp_path / "a.png", RED)
    own = published(tmp_path / "a.png", still, points=points)
    augment = None if kind == "plain" else dataclasses.replace(CAMERA, flip_probability=1.0)
    seen = 0
    for seed in range(6):
        made, wide = clip_of(still, augment, seed=seed), clip_of(own, augment, seed=seed)
        if points:  # without, nothing holds the fixations in the window
            assert np.array_equal(made.frames, wide.frames) and np.array_equal(made.counts, wide.counts)
        else:
            assert np.array_equal(wide.counts, wide.density)
        for frame, density in zip(wide.frames, wide.density, strict=True):
            found = where(frame, 0)
            if found is None or not 25 < found[0] < 103 or not 25 < found[1] < 71:
                continue
            assert density.sum() == pytest.approx(1, abs=1e-4)
            assert np.abs(found - peak(density)).max() < 1.6, seed
            seen += 1
            if points and kind == "plain":
                # The blob's width is that of the set's own map, not that of Gaussians on the points.
                assert spread(density) == pytest.approx(8 * CANVAS.width / 160, rel=0.05)
                assert spread(made.density[0]) < 0.7 * spread(density)
    assert seen >= 6


def test_under_an_overlay_the_density_is_made_of_the_points(tmp_path: Path) -> None:
    still = disc(tmp_path / "a.png", RED)
    own = published(tmp_path / "a.png", still)
    logo = AugmentOptions.only(overlays=OverlayOptions(logo_probability=1, logo_attraction=0.3))
    a, b = clip_of(still, logo), clip_of(own, logo)
    assert np.array_equal(a.density, b.density) and np.array_equal(a.counts, b.counts)
    a, b = clip_of(still, AugmentOptions.only()), clip_of(own, AugmentOptions.only())
    assert not np.allclose(a.density, b.density, atol=1e-5)


def test_a_picture_at_which_nobody_looked_makes_clips_that_count_nothing(tmp_path: Path) -> None:
    still = write_still(tmp_path / "a.png", rng(0).integers(0, 255, (120, 160, 3), np.uint8), [])
    other = disc(tmp_path / "b.png", RED)
    for seed in range(6):
        assert not clip_of(still, dataclasses.replace(EVERYTHING, cut_probability=0), seed=seed, times=1).density.any()
        clip_of(still, EVERYTHING, seed=seed, others=lambda _: still)
        clip_of(other, EVERYTHING, seed=seed, others=lambda _: still)


CANVAS_SHAPE = (CANVAS.height, CANVAS.width)


def iter_of(stills: tuple[LabelledSequence, ...]) -> Callable[[np.random.Generator], LabelledSequence]:
    return lambda random: stills[int(random.integers(len(stills)))]


# The motion that a clip says it has.


def test_a_point_on_the_left_edge_survives_the_mirror(tmp_path: Path) -> None:
    still = write_still(tmp_path / "a.png", np.zeros((60, 80, 3), np.uint8), [(0, 10), (0, 20), (50, 30)])
    shown, mirrored = (clip_of(still, augment, times=1).counts[0] for augment in (QUIET, KINDS["flip"]))
    assert shown.sum() == mirrored.sum() == 3
    assert shown[:, 0].sum() == mirrored[:, -1].sum() == 2


@pytest.mark.parametrize("kind", ["jumps", "camera", "rotation", "flip", "stretch"])
def test_the_affines_are_the_true_motion(tmp_path: Path, kind: str) -> None:
    still = texture(tmp_path / "a.png")
    corners = np.array([[20, 20], [108, 20], [20, 76], [108, 76]])
    wrong = []
    for seed in range(3):
        clip = clip_of(still, KINDS[kind], times=3, seed=seed)
        assert clip.motion is not None
        assert np.array_equal(clip.motion[0], np.eye(2, 3))
        mask = np.zeros(CANVAS_SHAPE, np.uint8)
        view = clip.viewport
        mask[view.top + 4 : view.top + view.height - 4, view.left + 4 : view.left + view.width - 4] = 255
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip.frames]
        for t in (1, 2):
            # Alignment says where a pixel of the first picture lies in the second.
            _, measured = cv2.findTransformECC(
                grey[t - 1],
                grey[t],
                np.eye(2, 3, dtype=np.float32),
                cv2.MOTION_AFFINE,
                (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-6),
                mask,
                5,
            )
            stated = apply_affine(index_affine(clip.motion[t]), corners)
            assert np.abs(apply_affine(measured.astype(np.float64), corners) - stated).max() < 0.4, (seed, t)
            wrong.append(np.abs(stated - corners).max())
    assert max(wrong) > 2 or kind in ("flip", "stretch")


def test_a_warp_by_the_motion_brings_a_density_onto_the_next(tmp_path: Path) -> None:
    still = disc(tmp_path / "a.png", RED)
    clip = clip_of(still, CAMERA, seed=3)
    assert clip.motion is not None
    for t in range(1, 4):
        moved = cv2.warpAffine(clip.density[t - 1], index_affine(clip.motion[t]), CANVAS_SHAPE[::-1])
        apart = 0.5 * np.abs(moved / moved.sum() - clip.density[t]).sum()
        unmoved = 0.5 * np.abs(clip.density[t - 1] - clip.density[t]).sum()
        assert apart < 0.1 and unmoved > 2 * apart


def test_every_window_lies_inside_the_picture() -> None:
    view = Viewport.fit(90, 120, canvas_height=96, canvas_width=128)
    box = np.array([[view.left, view.top], [view.left + view.width, view.top + view.height]])
    corners = np.array(list(itertools.product(*box.T)))
    for seed in range(60):
        random = rng(seed)
        options = CameraOptions(
            pan=0.1, zoom=0.1, rotation=20, tilt=45, shake=0.05, smallest_window=random.uniform(0.2, 1)
        )
        width = random.uniform(40, 160)
        height = min(120.0, width * 0.75)
        window = (random.uniform(0, 160 - width), random.uniform(0, 120 - height), width, height)
        path = draw_path(12, options, random)
        room = {"rows": 120, "columns": 160, "smallest_window": options.smallest_window}
        for affine in film(window, path, viewport=view, **room):  # type: ignore[arg-type]
            looked_at = apply_affine(invert(affine), corners)
            assert looked_at.min() > -1e-6 and (looked_at.max(0) < np.array([160, 120]) + 1e-6).all()


def test_a_camera_at_rest_shows_its_window() -> None:
    view = Viewport.fit(60, 80, canvas_height=96, canvas_width=128)
    still = CameraPath(np.zeros((2, 2)), np.zeros(2), np.zeros(2))
    affines = film((10.0, 20.0, 80.0, 60.0), still, viewport=view, rows=120, columns=160, smallest_window=0.5)
    assert np.allclose(apply_affine(affines[1], np.array([[10, 20], [90, 80]])), [[0, 0], [128, 96]])


def test_a_smooth_path_keeps_its_direction_and_a_shaking_hand_does_not() -> None:
    def steadiness(path: np.ndarray) -> float:
        steps = np.diff(path, axis=0)
        return float((steps[1:] * steps[:-1]).sum() / (steps**2).sum())

    path = wander(200, np.full(20, 0.02), steady_frames=12, random=rng(0))
    assert not path[0].any()
    assert steadiness(path) == pytest.approx(np.exp(-1 / 12), abs=0.05)
    assert np.diff(path, axis=0).std() == pytest.approx(0.02, rel=0.15)
    hand = [draw_path(200, CameraOptions(pan=0, zoom=0, shake=0.01), rng(seed)).offset for seed in range(20)]
    assert steadiness(np.concatenate(hand, 1)) == pytest.approx(0, abs=0.05)


# Cuts.


def test_the_flags_tell_the_cuts_and_labels_follow_the_picture(tmp_path: Path) -> None:
    places = [(40.0, 40.0), (120.0, 45.0), (60.0, 85.0)]
    stills = [
        disc(tmp_path / f"{n}.png", tuple(250 if c == n else 15 for c in range(3)), x=x, y=y)  # type: ignore[arg-type]
        for n, (x, y) in enumerate(places)
    ]
    cuts = 0
    for seed in range(12):
        following = itertools.cycle([stills[1], stills[2], stills[0]])
        augment = AugmentOptions.only(camera=MOVING, crop_probability=0.5, cut_probability=0.4)
        clip = clip_of(stills[0], augment, times=6, seed=seed, others=lambda _, stream=following: next(stream))
        shown = [int(np.argmax([found is not None for found in (where(f, c) for c in range(3))])) for f in clip.frames]
        if any(all(where(frame, c) is None for c in range(3)) for frame in clip.frames):
            continue
        assert clip.cut.tolist() == [False, *(a != b for a, b in itertools.pairwise(shown))]
        assert clip.motion is not None
        for t, (frame, density) in enumerate(zip(clip.frames, clip.density, strict=True)):
            found = where(frame, shown[t])
            if found is not None and 12 < found[0] < 116 and 12 < found[1] < 84:
                assert np.abs(found - peak(density)).max() < 1.5
            assert not clip.cut[t] or np.array_equal(clip.motion[t], np.eye(2, 3))
        cuts += int(clip.cut.sum())
    assert cuts > 8


def test_cuts_need_pictures_to_cut_to(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cut_probability needs other pictures"):
        clip_of(disc(tmp_path / "a.png", RED), AugmentOptions.only(cut_probability=0.1))


def test_a_shot_after_a_cut_fills_the_same_frame(tmp_path: Path) -> None:
    wide = write_still(tmp_path / "wide.png", np.full((60, 160, 3), 200, np.uint8), [(80, 30)])
    tall = write_still(tmp_path / "tall.png", np.full((160, 60, 3), 200, np.uint8), [(30, 80)])
    clip = clip_of(wide, AugmentOptions.only(cut_probability=1), times=2, others=lambda _: tall)
    view = clip.viewport
    inner = clip.frames[:, view.top : view.top + view.height, view.left : view.left + view.width]
    assert (view.height, view.width) == (48, 128)
    assert (inner > 190).all()


# Things.


def things(**changes: object) -> AugmentOptions:
    return AugmentOptions.only(
        objects=ObjectOptions(probability=1, most=1, own_picture_share=0, smallest=0.3, largest=0.3, **changes)
    )  # type: ignore[arg-type]


def near(counts: np.ndarray, place: np.ndarray, radius: float = 4) -> float:
    rows, columns = np.indices(counts.shape) + 0.5
    return float(counts[np.hypot(columns - place[0], rows - place[1]) < radius].sum())


def test_a_thing_moves_by_itself_and_its_fixations_with_it(tmp_path: Path) -> None:
    scene = disc(tmp_path / "scene.png", GREEN)
    # Half of the viewers of the other picture look at its disc, half far away from it.
    other = disc(tmp_path / "other.png", RED, extra=[(5, 5)] * 10)
    still_scene, moved, apart = 0, 0, 0.0
    for seed in range(40):
        clip = clip_of(scene, things(still_share=0, attraction=0.75), seed=seed, others=lambda _: other)
        places = [(where(frame, 0), where(frame, 1)) for frame in clip.frames]
        free = [red is not None and green is not None and np.hypot(*(red - green)) > 32 for red, green in places]
        if not all(free) or any(not 12 < red[0] < 116 or not 12 < red[1] < 84 for red, _ in places):
            continue
        for t, (red, green) in enumerate(places):
            share = near(clip.counts[t], red) / clip.counts[t].sum()
            # Ten on the green disc; five of ten go along with the thing, thirty once it moves.
            assert near(clip.counts[t], green) == 10
            assert share == pytest.approx(1 / 3 if t == 0 else 0.75, abs=0.01)
        still_scene += np.allclose(places[0][1], places[-1][1], atol=0.3)
        moved += 1
        apart = max(apart, float(np.abs(places[0][0] - places[-1][0]).max()))
    assert moved > 3 and still_scene == moved and apart > 4


def test_a_thing_that_stands_still_attracts_no_more_than_it_did(tmp_path: Path) -> None:
    scene = disc(tmp_path / "scene.png", GREEN)
    other = disc(tmp_path / "other.png", RED, extra=[(5, 5)] * 10)
    for seed in range(20):
        clip = clip_of(scene, things(still_share=1, attraction=0.9), seed=seed, others=lambda _: other)
        assert (clip.frames == clip.frames[0]).all() and (clip.counts == clip.counts[0]).all()
        assert clip.counts[0].sum() <= 20


def test_what_a_thing_hides_is_not_looked_at(tmp_path: Path) -> None:
    grid = [(x, y) for x in np.arange(2.0, 160, 4) for y in np.arange(2.0, 120, 4)]
    scene = write_still(tmp_path / "scene.png", np.full((120, 160, 3), 40, np.uint8), grid)
    other = disc(tmp_path / "other.png", RED)
    hidden, open_ground = 0, 0
    for seed in range(10):
        clip = clip_of(scene, things(still_share=0), seed=seed, others=lambda _: other)
        for frame, counts in zip(clip.frames, clip.counts, strict=True):
            red = (frame[:, :, 0] > 230) & (frame[:, :, 1] < 40)
            place = where(frame, 0)
            if place is None:
                continue
            hidden += int(red.sum())
            # All of the thing's own viewers look at the disc's centre.
            assert counts[red].sum() == pytest.approx(near(counts, place, 2), abs=1)
            open_ground += int(counts[frame[:, :, 0] < 45].sum())
    assert hidden > 500 and open_ground > 10000


def test_a_single_frame_has_no_things(tmp_path: Path) -> None:
    scene, other = disc(tmp_path / "scene.png", GREEN), disc(tmp_path / "other.png", RED)
    clip = clip_of(scene, things(), times=1, others=lambda _: other)
    assert where(clip.frames[0], 0) is None and where(clip.frames[0], 1) is not None


def test_without_other_pictures_a_thing_comes_from_the_picture_itself(tmp_path: Path) -> None:
    clip = clip_of(disc(tmp_path / "a.png", RED), things(still_share=1, attraction=0))
    single = clip_of(disc(tmp_path / "a.png", RED), QUIET)
    assert clip.counts[0].sum() > single.counts[0].sum()
    red = [int((one.frames[0][:, :, 0] > 200).sum()) for one in (clip, single)]
    assert red[0] > 1.3 * red[1]


# Overlays.


def test_captions_draw_their_share_and_lie_where_they_say() -> None:
    options = OverlayOptions(caption_probability=1, ticker_probability=1, logo_probability=1, caption_attraction=0.5)
    appears = set()
    for seed in range(20):
        ticker, caption, logo = draw_overlays(options, rows=90, columns=120, times=5, random=rng(seed))
        appears.add(caption.first_frame)
        assert (ticker.first_frame, logo.first_frame) == (0, 0)
        for one in (ticker, caption, logo):
            now = one.first_frame
            picture = np.full((90, 120, 3), 128, np.uint8)
            one.blend(picture, now - 1)
            alone = functools.partial(looked_at_with, [one], np.full((3000, 2), 1e-3), rows=90, columns=120)
            assert (picture == 128).all() and len(alone(now - 1)) == 3000
            one.blend(picture, now)
            rows, columns = np.nonzero((picture != 128).any(2))
            assert len(rows) > 20
            box = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]])
            spots = alone(now)[3000 - int(one.hides(np.full((1, 2), 1e-3), now)[0]) * 3000 :]
            assert (spots >= box[0] - 2).all() and (spots <= box[1] + 2).all()
        everyone = looked_at_with([caption], np.full((300, 2), (60.0, 45.0)), 4, rows=90, columns=120)
        assert len(everyone) == 600  # as many as stay with the picture
        assert (caption.top + len(caption.alpha) <= ticker.top) or caption.top < 45
    assert 0 in appears and len(appears) > 3


def test_what_lies_under_an_opaque_plate_is_not_looked_at(tmp_path: Path) -> None:
    (ticker,) = draw_overlays(OverlayOptions(ticker_probability=1), rows=90, columns=120, times=2, random=rng(2))
    points = np.array([[60.0, 89.0], [60.0, 10.0], [-3.0, 89.0], [60.0, 200.0]])
    assert ticker.hides(points, 0).tolist() == [True, False, False, False]
    first, later = np.zeros((90, 120, 3), np.uint8), np.zeros((90, 120, 3), np.uint8)
    ticker.blend(first, 0)
    ticker.blend(later, 10)
    assert not np.array_equal(first, later)  # it scrolls
    still = disc(tmp_path / "a.png", RED, extra=[(80, 119)] * 10)
    clip = clip_of(
        still, AugmentOptions.only(overlays=OverlayOptions(ticker_probability=1, ticker_attraction=0)), times=1
    )
    assert (clip_of(still, QUIET, times=1).counts.sum(), clip.counts.sum()) == (20, 10)


@pytest.mark.parametrize("seed", range(6))
def test_overlays_hold_their_shares_of_all_that_is_looked_at(seed: int) -> None:
    shares = {"ticker_attraction": 0.1, "caption_attraction": 0.25, "logo_attraction": 0.05}
    options = OverlayOptions(caption_probability=1, ticker_probability=1, logo_probability=1, **shares)
    overlays = draw_overlays(options, rows=90, columns=120, times=5, random=rng(seed))
    # Half of them lie outside the picture, and many of the others under something.
    points = rng(seed).uniform((-120, 0), (120, 90), (4000, 2))
    staying = [point for point in points if point[0] >= 0 and not any(one.hides(point[None], 4)[0] for one in overlays)]
    after = looked_at_with(overlays, points, 4, rows=90, columns=120)
    after = after[after[:, 0] >= 0]
    for one, share in zip(overlays, shares.values(), strict=True):
        on_it = (after[:, None] == one.spots[None]).all(2).any(1)
        assert on_it.mean() == pytest.approx(share, abs=0.001)
    assert len(after) == pytest.approx(len(staying) / (1 - 0.4), abs=2)


def test_shares_of_more_than_all_leave_some_for_the_picture() -> None:
    options = OverlayOptions(caption_probability=1, ticker_probability=1, caption_attraction=0.9, ticker_attraction=0.9)
    overlays = draw_overlays(options, rows=90, columns=120, times=1, random=rng(0))
    after = looked_at_with(overlays, np.full((100, 2), (60.0, 45.0)), 0, rows=90, columns=120)
    assert len(after) == 2000
    assert len(looked_at_with(overlays, np.zeros((0, 2)), 0, rows=90, columns=120)) == 0


def test_a_ticker_holds_its_share_where_things_are_pasted(tmp_path: Path) -> None:
    scene = disc(tmp_path / "scene.png", GREEN)
    other = disc(tmp_path / "other.png", RED, extra=[(5, 5)] * 10)
    bare = things(still_share=0, attraction=0.75)
    options = OverlayOptions(ticker_probability=1, ticker_attraction=0.25)
    seen = []
    for seed in range(10):
        clip = clip_of(scene, dataclasses.replace(bare, overlays=options), seed=seed, others=lambda _: other)
        without = clip_of(scene, bare, seed=seed, others=lambda _: other)
        for t in range(len(clip)):
            ticker = (clip.frames[t] != without.frames[t]).any((1, 2))
            total = clip.counts[t].sum()
            if total > 20:
                assert clip.counts[t][ticker].sum() == pytest.approx(0.25 * total, abs=1)
                seen.append(total)
    assert len(seen) >= 8


# Blur, colours, compression.


def test_motion_blur_lies_along_the_motion_and_leaves_the_labels(tmp_path: Path) -> None:
    still = texture(tmp_path / "a.png", (480, 640))
    panning = AugmentOptions.only(camera=CameraOptions(probability=1, pan=0.1, zoom=0, rotation=0, tilt=0, shake=0))
    blurred = dataclasses.replace(panning, motion_blur_probability=1, longest_exposure=1)
    kept = []
    for seed in range(20):
        sharp, soft = (clip_of(still, augment, seed=seed) for augment in (panning, blurred))
        assert np.array_equal(sharp.counts, soft.counts)
        assert sharp.motion is not None
        for t in range(1, 4):
            step = sharp.motion[t][:, 2]
            if np.abs(step).max() < 4 or np.abs(step).max() < 2 * np.abs(step).min():
                continue
            along, across = (1, 0) if abs(step[0]) > abs(step[1]) else (0, 1)
            energy = [
                [float((np.diff(clip.frames[t].astype(float), axis=axis) ** 2).mean()) for axis in (along, across)]
                for clip in (sharp, soft)
            ]
            kept.append((energy[1][0] / energy[0][0], energy[1][1] / energy[0][1]))
    assert len(kept) >= 5
    assert all(with_motion < beside for with_motion, beside in kept)
    assert min(with_motion for with_motion, _ in kept) < 0.6


def test_colours_drift_from_frame_to_frame(tmp_path: Path) -> None:
    grey = write_still(tmp_path / "a.png", np.full((96, 128, 3), 100, np.uint8), [(64, 48)])
    steady = clip_of(grey, QUIET, times=8).frames.mean((1, 2))
    assert (steady == 100).all()
    exposed = clip_of(grey, AugmentOptions.only(exposure_drift=0.1), times=8).frames.mean((1, 2))
    assert np.ptp(exposed[:, 0]) > 5 and (np.ptp(exposed, axis=1) < 1).all()
    tinted = clip_of(grey, AugmentOptions.only(white_balance_drift=0.1), times=8).frames.mean((1, 2))
    assert np.allclose(tinted[:, 1], 100)
    assert np.ptp(tinted[:, 0]) > 5
    assert np.allclose(tinted[:, 0] * tinted[:, 2], 100**2, rtol=0.02)


def test_contrast_and_saturation_turn_about_the_mean_grey(tmp_path: Path) -> None:
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[:, :64], picture[:, 64:] = (150, 100, 50), (60, 60, 60)
    still = write_still(tmp_path / "a.png", picture, [(64, 48)])
    grey = clip_of(still, AugmentOptions.only(grey_probability=1), times=1).frames[0]
    luma = 0.299 * 150 + 0.587 * 100 + 0.114 * 50
    assert np.abs(grey[50, 10].astype(float) - luma).max() <= 1 and np.ptp(grey[50, 10]) == 0
    frame = clip_of(still, AugmentOptions.only(contrast=0.5), times=1, seed=1).frames[0].astype(float)
    middle = (luma + 60) / 2
    factors = [(frame[50, 10] - middle) / (picture[50, 10] - middle), (frame[50, 120] - middle) / (60 - middle)]
    assert np.ptp(np.concatenate(factors)) < 0.1 and abs(factors[0][0] - 1) > 0.05


def test_compression_makes_blocks(tmp_path: Path) -> None:
    noise = cv2.GaussianBlur(rng(0).normal(0, 1, (96, 128, 3)), (0, 0), 1)
    still = write_still(tmp_path / "a.png", np.clip(128 + 120 * noise, 0, 255).astype(np.uint8), [(64, 48)])
    frame = (
        clip_of(still, AugmentOptions.only(compression_probability=1, worst_quality=1), times=1, seed=5)
        .frames[0]
        .astype(float)
    )
    steps = np.abs(np.diff(frame, axis=1)).mean((0, 2))
    edges = np.arange(len(steps)) % 8 == 7
    assert not np.array_equal(frame, clip_of(still, QUIET, times=1).frames[0])
    assert steps[edges].mean() > 1.02 * steps[~edges].mean()


def test_a_compressed_frame_is_what_a_jpeg_file_of_it_shows(tmp_path: Path) -> None:
    still = texture(tmp_path / "a.png")
    plain = clip_of(still, QUIET, times=1)
    view = plain.viewport
    shown = plain.frames[0][view.top : view.top + view.height, view.left : view.left + view.width]
    frame = clip_of(still, AugmentOptions.only(compression_probability=1, worst_quality=90), times=1).frames[0]
    _, data = cv2.imencode(".jpg", shown[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    read = cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]
    compressed = frame[view.top : view.top + view.height, view.left : view.left + view.width]
    assert not np.array_equal(compressed, shown)
    assert np.abs(compressed.astype(int) - read).max() <= 2  # two builds of a codec may round differently


# Without augmentation, seeds, edges.


@pytest.mark.parametrize("resize", ["area", "bilinear"])
@pytest.mark.parametrize("size", [(120, 160), (96, 128), (300, 210), (50, 60)])
def test_without_augmentation_a_frame_is_what_the_model_sees_at_run_time(
    tmp_path: Path, resize: str, size: tuple[int, int]
) -> None:
    picture = rng(4).integers(0, 255, (*size, 3), np.uint8)
    still = write_still(tmp_path / "a.png", picture, [(5, 5)])
    options = dataclasses.replace(CANVAS, resize=resize)
    clip = make_clip(still, times=2, preprocess=options, augment=None, random=rng(0))
    preprocessor = Preprocessor(options)
    wanted = preprocessor(picture[None])
    assert all(torch.equal(preprocessor(frame[None]), wanted) for frame in clip.frames)
    assert clip.counts[1].sum() == 1 and not clip.cut.any()


def test_a_window_is_made_small_as_the_options_say(tmp_path: Path) -> None:
    # Every fourth column is white; a picture four times too large shows none of them to the four nearest pixels.
    picture = np.zeros((384, 512, 3), np.uint8)
    picture[:, ::4] = 255
    still = write_still(tmp_path / "a.png", picture, [(256, 192)])
    means = {}
    for resize in ("area", "bilinear"):
        options = dataclasses.replace(CANVAS, resize=resize)
        means[resize] = make_clip(still, times=1, preprocess=options, augment=QUIET, random=rng(0)).frames.mean()
    assert means["area"] == pytest.approx(255 / 4, abs=3)
    assert means["bilinear"] == 0


def test_a_clip_is_a_function_of_its_seed(tmp_path: Path) -> None:
    stills = open_dataset("simple", make_stills(tmp_path / "mine")).sequences
    for augment in (AugmentOptions(), EVERYTHING):
        a, b, c = (clip_of(stills[0], augment, seed=seed, others=iter_of(stills)) for seed in (5, 5, 6))
        assert a.motion is not None and b.motion is not None
        assert np.array_equal(a.frames, b.frames) and np.array_equal(a.counts, b.counts)
        assert np.array_equal(a.motion, b.motion) and np.array_equal(a.cut, b.cut)
        assert not np.array_equal(a.frames, c.frames)


def test_what_is_switched_off_draws_nothing(tmp_path: Path) -> None:
    still = disc(tmp_path / "a.png", RED)
    # Options of what is switched off do not change a clip of the same seed.
    idle = AugmentOptions(
        camera=CameraOptions(pan=0.3),
        objects=ObjectOptions(most=5),
        overlays=OverlayOptions(caption_attraction=0.9),
        longest_exposure=0.1,
        worst_quality=50,
    )
    for seed in range(4):
        assert np.array_equal(
            clip_of(still, AugmentOptions(), seed=seed).frames,
            clip_of(still, idle, seed=seed, others=lambda _: pytest.fail("drew a picture")).frames,
        )


def test_a_frame_without_fixations_counts_nothing_in_the_loss(tmp_path: Path) -> None:
    still = write_still(tmp_path / "a.png", rng(0).integers(0, 255, (120, 160, 3), np.uint8), [(1, 1)] * 3)
    augment = AugmentOptions.only(crop_probability=1, smallest_crop=0.3, smallest_mass=0)
    clip = next(c for c in (clip_of(still, augment, times=1, seed=s) for s in range(20)) if not c.counts.any())
    assert not clip.density.any() and clip.frames.any()
    logits = torch.randn(1, *CANVAS_SHAPE, requires_grad=True)
    loss = sam_loss(
        logits,
        density=torch.from_numpy(clip.density),
        counts=torch.from_numpy(clip.counts),
        inside=torch.ones(1, *CANVAS_SHAPE, dtype=torch.bool),
    )
    loss.sum().backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


def test_most_windows_keep_most_fixations(tmp_path: Path) -> None:
    still = disc(tmp_path / "a.png", RED, x=20, y=20)
    augment = AugmentOptions.only(crop_probability=1, smallest_crop=0.5, camera=MOVING, smallest_mass=0.5)
    kept = [clip_of(still, augment, seed=seed).counts.sum() / 40 for seed in range(30)]
    assert np.mean(np.array(kept) >= 0.5) > 0.9


@pytest.mark.parametrize("how", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]])
def test_large_photographs_are_decoded_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: list[int]) -> None:
    picture = cv2.resize(texture(tmp_path / "a.png").first_frame().picture(), (1600, 1200))
    assert cv2.imwrite(str(tmp_path / "a.jpg"), picture[:, :, ::-1], how)
    still = labelled(tmp_path / "a.jpg", [(400, 300)], height=600, width=800)
    small = clip_of(still, QUIET, times=1)
    monkeypatch.setattr("vidsal.data.layouts.files._jpeg_longer_side", lambda data: 0)
    full = clip_of(still, QUIET, times=1)
    assert np.array_equal(small.counts, full.counts)
    assert not np.array_equal(small.frames, full.frames)
    assert np.abs(small.frames.astype(int) - full.frames).mean() < 2


@pytest.mark.parametrize(
    "content", [None, b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xc0\x00\x11\x08\x40\x00\x40\x00" + b"0" * 40]
)
def test_a_damaged_photograph_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    still = labelled(path, [(4, 3)], height=60, width=80)
    with pytest.raises(DatasetError, match=r"a\.jpg (is not a readable picture|cannot be read)"):
        clip_of(still, QUIET)


@pytest.mark.parametrize("size", [(3, 400), (400, 3), (1, 1)])
def test_pictures_of_any_shape_make_clips(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = rng(0).integers(0, 255, (*size, 3), np.uint8)
    still = write_still(tmp_path / "a.png", picture, [(size[1] / 2, size[0] / 2)] * 4)
    busy = dataclasses.replace(
        EVERYTHING, overlays=OverlayOptions(caption_probability=1, ticker_probability=1, logo_probability=1)
    )
    for seed in range(5):
        clip = clip_of(still, busy, seed=seed, others=lambda _: still)
        assert np.isfinite(clip.density).all() and len(clip) == 4


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: AugmentOptions(cut_probability=1.5), "cut_probability must be from 0 to 1, got 1.5"),
        (lambda: AugmentOptions(worst_quality=0), "worst_quality must be from 1 to 90"),
        (lambda: CameraOptions(steady_frames=0.5), "steady_frames must be at least 1"),
        (lambda: ObjectOptions(smallest=0.5), "smallest is 0.5, more than largest"),
        (lambda: OverlayOptions(logo_attraction=1), "logo_attraction must be from 0 to 0.9"),
    ],
)
def test_impossible_options_are_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


def test_a_clip_of_no_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="times must be at least 1, got 0"):
        clip_of(disc(tmp_path / "a.png", RED), QUIET, times=0)


def test_arrays_of_a_clip_have_to_fit_together() -> None:
    view = Viewport.fit(6, 8, canvas_height=16, canvas_width=16)
    maps, cut = np.zeros((2, 16, 16), np.float32), np.zeros(2, bool)
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    assert repr(Clip(frames, maps, maps, view, cut)).startswith("Clip(frames=(2, 16, 16, 3), cuts=[]")
    with pytest.raises(ValueError, match=r"counts must be \(2, 16, 16\), got \(1, 16, 16\)"):
        Clip(frames, maps, maps[:1], view, cut)
    with pytest.raises(ValueError, match=r"cut must be \(2,\), got \(1,\)"):
        Clip(frames, maps, maps, view, cut[:1])
    with pytest.raises(ValueError, match="motion must be"):
        Clip(frames, maps, maps, view, cut, np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="frames must be"):
        Clip(frames[..., 0], maps, maps, view, cut)


def test_a_training_file_can_name_every_option(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(
        "datasets: [a]\noutput: b\naugment:\n  cut_probability: 0.1\n  camera: {probability: 0.5, pan: 0.01}\n"
    )
    made = resolve(TrainConfig, read_file(tmp_path / "train.yaml", TrainConfig), {"most": "3"})
    wanted = AugmentOptions(
        cut_probability=0.1, camera=CameraOptions(probability=0.5, pan=0.01), objects=ObjectOptions(most=3)
    )
    assert made.augment == wanted
    (tmp_path / "train.yaml").write_text("datasets: [a]\noutput: b\naugment: {camera: {dolly: 1}}\n")
    with pytest.raises(ConfigError, match=r"unknown key 'augment.camera.dolly'"):
        read_file(tmp_path / "train.yaml", TrainConfig)
