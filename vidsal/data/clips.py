"""Stills with fixations in, short training clips out: frames, densities and fixation counts on the model's canvas.

A clip is made the way the model is used: a window of the picture, letter-boxed, filmed by a camera that may move; it
may cut to other pictures, things may move over it, text may lie on it. The labels are made anew for every frame from
the fixations, moved as the picture is. Everything random comes from the generator passed in, so a sample is a
function of its seed; what is switched off draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from kornia_rs import io as jpeg

from vidsal.data.fixations import density_from_fixations, fixation_counts
from vidsal.data.layouts import LabelledSequence
from vidsal.data.layouts.files import AtLeast
from vidsal.data.motion import Window, apply_affine, compose, draw_path, film, index_affine, invert, wander
from vidsal.data.options import AugmentOptions, ObjectOptions
from vidsal.data.overlays import Overlay, draw_overlays, happens, looked_at_with, within
from vidsal.errors import ConfigError
from vidsal.preprocess import PreprocessOptions, Viewport

__all__ = ["AugmentOptions", "Clip", "Look", "ObjectOptions", "make_clip"]

_Pixels = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float64]
_Map = npt.NDArray[np.float32]
_Others = Callable[[np.random.Generator], LabelledSequence] | None


@dataclass(frozen=True, eq=False)
class Clip:
    """A training sample."""

    frames: npt.NDArray[np.uint8]
    """(T, H, W, 3) uint8 RGB on the model's canvas, letter-boxed with black."""
    density: npt.NDArray[np.float32]
    """(T, H, W) float32, each sums to 1; all zero where no fixation is left, which the loss counts as nothing."""
    counts: npt.NDArray[np.float32]
    """(T, H, W) float32, fixations on each canvas pixel."""
    viewport: Viewport
    """Where the picture lies on the canvas."""
    cut: npt.NDArray[np.bool_]
    """(T,) bool, True on the first frame of every shot but the first."""
    motion: npt.NDArray[np.float64] | None = None
    """(T, 2, 3) float64, the affine that takes the background of the frame before to this one, in canvas pixels whose
    centres are at half-integers (`vidsal.data.motion.index_affine` makes it OpenCV's); the identity on the first
    frame of every shot. None where it is not known."""

    def __post_init__(self) -> None:
        count = len(self.frames)
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or self.frames.dtype != np.uint8:
            raise ValueError(f"frames must be (T, H, W, 3) uint8, got {self.frames.shape} {self.frames.dtype}")
        for name in ("density", "counts"):
            if getattr(self, name).shape != self.frames.shape[:3]:
                raise ValueError(f"{name} must be {self.frames.shape[:3]}, got {getattr(self, name).shape}")
        if self.cut.shape != (count,):
            raise ValueError(f"cut must be ({count},), got {self.cut.shape}")
        if self.motion is not None and self.motion.shape != (count, 2, 3):
            raise ValueError(f"motion must be ({count}, 2, 3), got {self.motion.shape}")

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        cuts = np.flatnonzero(self.cut).tolist()
        return f"Clip(frames={self.frames.shape}, cuts={cuts}, viewport={self.viewport})"


# Width over height of windows that look like video.
_VIDEO_ASPECTS = (4 / 3, 16 / 9, 1.85, 2.39, 9 / 16)
# A shot that is a window of another picture is drawn again so often until it holds `smallest_mass` of the fixations.
_TRIES = 6
# A picture is shrunk by area to one of these steps before it is warped, so that the bilinear warp does not alias.
_LEVEL = 1.2
# The moments of one exposure lie about so far apart, in pixels, but are not more than so many.
_BLUR_STEP, _MOST_MOMENTS = 2.0, 9
# JPEG files are decoded smaller where their longer side keeps so many times the canvas's.
_KEPT = 2


def make_clip(
    still: LabelledSequence,
    *,
    times: int,
    preprocess: PreprocessOptions,
    augment: AugmentOptions | None,
    random: np.random.Generator,
    others: _Others = None,
) -> Clip:
    """Make a clip of a still.

    The density of a frame is the Gaussian density of the fixations that are then to be seen: those of the shown
    picture, moved by its affine, those of the things pasted into it, and those that overlays draw. What leaves the
    frame, or is hidden by a thing or an overlay, counts no more. The Gaussian's width moves with the picture's scale.
    Where a data set publishes densities, the picture's own is moved instead, as long as nothing lies over the picture.

    Args:
        still: the picture and its labels: a sequence of one frame.
        times: frames of the clip, at least 1.
        preprocess: gives the canvas and how pictures are made small.
        augment: what may be done to it; None shows the whole picture, exactly as the model sees it at run time,
            `times` times.
        random: where all randomness comes from.
        others: draws another still, with the generator it is given: the picture after a cut, or the one that a
            pasted thing comes from. Needed where `cut_probability` is not 0; without it things come from the
            picture itself.

    Raises:
        ConfigError: cuts are asked for without `others`.
        DatasetError: if a picture cannot be read.
        ValueError: times is below 1.
    """
    if times < 1:
        raise ValueError(f"times must be at least 1, got {times}")
    if augment is None:
        return _plain_clip(still, times, preprocess)
    if augment.cut_probability > 0 and others is None:
        raise ConfigError("cut_probability needs other pictures to cut to: pass `others`, or set it to 0")
    starts = [0]
    if augment.cut_probability > 0:
        starts += [t for t in range(1, times) if random.random() < augment.cut_probability]
    shots: list[_Shot] = []
    maker = _ShotMaker(preprocess, augment, random, others)
    for start, end in zip(starts, [*starts[1:], times], strict=True):
        shown = still if start == 0 or others is None else others(random)
        shots.append(maker.shot(shown, end - start, shots[0].viewport if shots else None))
    viewport = shots[0].viewport
    size = {"rows": viewport.height, "columns": viewport.width}
    finish = _Finish.draw(augment, random, draw_overlays(augment.overlays, **size, times=times, random=random))
    clip = _empty_clip(times, preprocess, viewport)
    clip.cut[starts[1:]] = True
    for start, shot in zip(starts, shots, strict=True):
        _write_shot(clip, start, shot, finish, random)
    return clip


def _empty_clip(times: int, preprocess: PreprocessOptions, viewport: Viewport) -> Clip:
    shape = (times, preprocess.height, preprocess.width)
    return Clip(
        frames=np.zeros((*shape, 3), np.uint8),
        density=np.zeros(shape, np.float32),
        counts=np.zeros(shape, np.float32),
        viewport=viewport,
        cut=np.zeros(times, np.bool_),
        motion=np.tile(np.eye(2, 3), (times, 1, 1)),
    )


def _inner(viewport: Viewport) -> tuple[slice, slice]:
    return np.s_[viewport.top : viewport.top + viewport.height, viewport.left : viewport.left + viewport.width]


def _write_labels(clip: Clip, t: int, points: _Floats, sigma: float, density: _Map | None = None) -> None:
    """Density and counts of one frame from points on the shown picture, or from its own density, of any sum."""
    size = {"height": clip.viewport.height, "width": clip.viewport.width}
    moved = points.astype(np.float32)
    counts = fixation_counts(moved, **size)
    if density is None:
        density = density_from_fixations(moved, sigma=max(1.0, sigma), **size)
    elif (total := float(density.sum())) > 0:
        density = density / np.float32(total)
        # The expected z-score under the density stands for NSS where there is no point, as with recorded video.
        counts = counts if counts.any() else density
    clip.density[t][_inner(clip.viewport)], clip.counts[t][_inner(clip.viewport)] = density, counts


def _plain_clip(still: LabelledSequence, times: int, preprocess: PreprocessOptions) -> Clip:
    seen = _read(still, preprocess, whole=True)
    rows, columns = seen.pixels.shape[:2]
    view = Viewport.on_canvas(rows, columns, preprocess)
    clip = _empty_clip(times, preprocess, view)
    # As `Preprocessor` does it.
    smaller = view.height * view.width < rows * columns
    how = cv2.INTER_AREA if smaller and preprocess.resize == "area" else cv2.INTER_LINEAR
    clip.frames[(slice(None), *_inner(view))] = cv2.resize(seen.pixels, (view.width, view.height), interpolation=how)
    whole = _moved(_fill((0.0, 0.0, float(columns), float(rows)), view), -_corner(view))
    own = None if seen.density is None else _warped_map(seen.density, whole, (rows, columns), view)
    _write_labels(clip, 0, apply_affine(whole, seen.points), seen.sigma * view.width / columns, own)
    clip.density[1:], clip.counts[1:] = clip.density[0], clip.counts[0]
    return clip


def _write_shot(clip: Clip, start: int, shot: _Shot, finish: _Finish, random: np.random.Generator) -> None:
    for t in range(len(shot.affines)):
        now = start + t
        if t > 0 and clip.motion is not None:
            clip.motion[now] = compose(shot.affines[t], invert(shot.affines[t - 1]))
        picture, points = shot.show(t, finish.exposure, random), shot.looked_at(t)
        for overlay in finish.overlays:
            overlay.blend(picture, now)
        points = looked_at_with(finish.overlays, points, now, rows=clip.viewport.height, columns=clip.viewport.width)
        clip.frames[now][_inner(clip.viewport)] = finish.compress(picture)
        own = None if finish.overlays else shot.own_density(t)
        _write_labels(clip, now, points, shot.seen.sigma * _scale(shot.affines[t]), own)


class _Picture:
    """A picture to be warped: kept at the sizes that warps ask for."""

    def __init__(self, pixels: _Pixels, *, shrink: bool) -> None:
        self.pixels = pixels
        self.shrink = shrink
        self._levels: dict[int, _Pixels] = {}

    def warp(self, affines: _Floats, rows: int, columns: int) -> _Pixels:
        """Warp by affines (n, 2, 3) from picture to shown pixels, and take the mean of the n results."""
        scale = 1 / _scale(affines[0])
        level = max(0, round(math.log(scale, _LEVEL))) if self.shrink else 0
        source = self._level(level)
        back = np.array(
            [[self.pixels.shape[1] / source.shape[1], 0, 0], [0, self.pixels.shape[0] / source.shape[0], 0]]
        )
        matrices = index_affine(compose(affines, back))
        warped = [
            cv2.warpAffine(source, matrix, (columns, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for matrix in matrices
        ]
        if len(warped) == 1:
            return np.asarray(warped[0], np.uint8)
        total = np.zeros(warped[0].shape, np.float32)
        for one in warped:
            cv2.accumulate(one, total)
        return (total / len(warped) + 0.5).astype(np.uint8)

    def _level(self, level: int) -> _Pixels:
        if level == 0:
            return self.pixels
        if level not in self._levels:
            rows, columns = (max(1, round(side / _LEVEL**level)) for side in self.pixels.shape[:2])
            smaller = cv2.resize(self.pixels, (columns, rows), interpolation=cv2.INTER_AREA)
            self._levels[level] = np.asarray(smaller, np.uint8)
        return self._levels[level]


def _moments(affines: _Floats, t: int, exposure: float, *, size: tuple[int, ...]) -> _Floats:
    """Affines (n, 2, 3) at moments spread evenly over the exposure, a share of a frame's time, centred on frame t."""
    here: _Floats = affines[t]
    if exposure == 0 or len(affines) == 1:
        return here[None, ...]
    speed = affines[t] - affines[t - 1] if t > 0 else affines[1] - affines[0]
    corners = np.array([[0, 0], [size[1], 0], [0, size[0]], [size[1], size[0]]])
    length = exposure * float(np.linalg.norm(apply_affine(speed, corners), axis=1).max())
    count = min(_MOST_MOMENTS, math.ceil(length / _BLUR_STEP) + 1)
    if length < 0.5:
        return here[None, ...]
    when = ((np.arange(count) + 0.5) / count - 0.5) * exposure
    moments: _Floats = here + when[:, None, None] * speed
    return moments


@dataclass(frozen=True, eq=False)
class _Shot:
    """One still, filmed."""

    seen: _Attended
    picture: _Picture
    affines: _Floats
    """(T, 2, 3) from picture to canvas."""
    viewport: Viewport
    look: Look
    things: tuple[_Thing, ...]

    def show(self, t: int, exposure: float, random: np.random.Generator) -> _Pixels:
        """Frame t at the viewport's size, in its colours."""
        view = self.viewport
        moments = _moments(self.affines, t, exposure, size=self.picture.pixels.shape[:2])
        shown = self.picture.warp(_moved(moments, -_corner(view)), view.height, view.width)
        for thing in self.things:
            thing.paste(shown, t, exposure)
        return self.look.apply(shown, t, random)

    def own_density(self, t: int) -> _Map | None:
        """The published density on frame t, of any sum; None where there is none or things lie over it."""
        if self.seen.density is None or self.things:
            return None
        affine = _moved(self.affines[t], -_corner(self.viewport))
        return _warped_map(self.seen.density, affine, self.picture.pixels.shape[:2], self.viewport)

    def looked_at(self, t: int) -> _Floats:
        """(N, 2) fixations on frame t in viewport pixels, without those that a thing hides."""
        points = apply_affine(self.affines[t], self.seen.points) - _corner(self.viewport)
        for thing in self.things:
            points = np.concatenate([points[~thing.hides(points, t)], thing.looked_at(t)])
        return points


def _corner(viewport: Viewport) -> _Floats:
    return np.array([viewport.left, viewport.top], np.float64)


def _moved(affines: _Floats, by: _Floats) -> _Floats:
    moved = affines.copy()
    moved[..., 2] += by
    return moved


def _scale(affine: _Floats) -> float:
    """Pixels after, for one before."""
    return math.sqrt(abs(float(np.linalg.det(affine[:, :2]))))


def _warped_map(density: _Map, affine: _Floats, size: tuple[int, ...], view: Viewport) -> _Map:
    """A density over a picture of `size`, of which an affine shows a part on the viewport, there."""
    rows, columns = (
        min(own, max(1, round(_scale(affine) * side))) for own, side in zip(density.shape, size, strict=False)
    )
    small = cv2.resize(density, (columns, rows), interpolation=cv2.INTER_AREA)
    back = np.array([[size[1] / columns, 0, 0], [0, size[0] / rows, 0]])
    matrix = index_affine(compose(affine, back))
    return np.asarray(cv2.warpAffine(small, matrix, (view.width, view.height), flags=cv2.INTER_LINEAR), np.float32)


@dataclass(frozen=True, eq=False)
class _Attended:
    """A picture with its labels, in its pixels."""

    pixels: _Pixels
    points: _Floats
    """(N, 2)."""
    sigma: float
    density: _Map | None
    """As published, at its own size; None where densities are made of the points."""

    def flipped(self) -> _Attended:
        """The same in a mirror."""
        width = self.pixels.shape[1]
        # A point on the left edge stays on the picture, which ends before `width`, also when it is scaled.
        points = np.stack([np.minimum(width - self.points[:, 0], width - 1e-3), self.points[:, 1]], 1)
        density = None if self.density is None else self.density[:, ::-1]
        return _Attended(np.asarray(cv2.flip(self.pixels, 1), np.uint8), points, self.sigma, density)


def _read(still: LabelledSequence, preprocess: PreprocessOptions, *, whole: bool = False) -> _Attended:
    """A still; unless the `whole` is wanted, JPEG files much larger than the canvas are decoded at a fraction."""
    reduced = preprocess.resize == "area" and not whole
    frame = still.first_frame(size=AtLeast(_KEPT * max(preprocess.height, preprocess.width)) if reduced else None)
    pixels, seen = frame.picture(), frame.fixations()
    rows, columns = pixels.shape[:2]
    density = frame.density() if seen is None or seen.sigma is None else None
    if seen is None:
        return _Attended(pixels, np.zeros((0, 2)), 1.0, density)
    points = seen.points * np.array([columns / seen.width, rows / seen.height])
    return _Attended(pixels, points, seen.spread * columns / seen.width, density)


@dataclass(frozen=True, eq=False)
class _ShotMaker:
    """Draws the shots of a clip."""

    preprocess: PreprocessOptions
    augment: AugmentOptions
    random: np.random.Generator
    others: _Others

    def shot(self, still: LabelledSequence, times: int, viewport: Viewport | None) -> _Shot:
        """Draw one; `viewport` is what it has to fill, None for the first shot, whose window decides."""
        seen = _read(still, self.preprocess)
        if self.random.random() < self.augment.flip_probability and still.may_be_mirrored:
            seen = seen.flipped()
        viewport, affines = self._frame(seen, times, viewport)
        on_screen = apply_affine(affines[0], seen.points) - _corner(viewport)
        viewers = int(within(on_screen, viewport.width, viewport.height).sum())
        things: tuple[_Thing, ...] = ()
        if times > 1 and len(seen.points) and happens(self.augment.objects.probability, self.random):
            things = self._things(seen, affines, viewport, viewers)
        picture = _Picture(seen.pixels, shrink=self.preprocess.resize == "area")
        return _Shot(seen, picture, affines, viewport, Look.draw(self.augment, times, self.random), things)

    def _frame(self, seen: _Attended, times: int, viewport: Viewport | None) -> tuple[Viewport, _Floats]:
        """The viewport, unless it is given, and the affines (T, 2, 3) from picture to canvas."""
        augment, random = self.augment, self.random
        rows, columns = seen.pixels.shape[:2]
        stretch = 1.0 if augment.stretch == 0 else math.exp(random.uniform(-1, 1) * augment.stretch)
        smooth = happens(augment.camera.probability, random)
        tries: list[tuple[float, Viewport, _Floats]] = []
        for _ in range(_TRIES):
            if viewport is None:
                # A smooth camera makes its own room to move in.
                window = self._window(seen.points, rows, columns, moves=times > 1 and not smooth)
                shape = max(1, round(window[3])), max(1, round(window[2] * stretch))
                view = Viewport.on_canvas(*shape, self.preprocess)
            else:
                view = viewport
                window = self._filling(view.width / view.height / stretch, rows, columns)
            if smooth:
                affines = film(
                    window,
                    draw_path(times, augment.camera, random),
                    viewport=view,
                    rows=rows,
                    columns=columns,
                    smallest_window=augment.camera.smallest_window,
                )
            else:
                affines = np.stack([_fill(one, view) for one in self._jumps(window, times, rows, columns)])
            on_screen = [apply_affine(affine, seen.points) - _corner(view) for affine in affines]
            share = float(np.mean([_share_within(points, view.width, view.height) for points in on_screen]))
            tries.append((share, view, affines))
            # The first window without a camera holds `smallest_mass`, or is the whole picture.
            if share >= augment.smallest_mass or (viewport is None and not smooth):
                break
        return max(tries, key=lambda one: one[0])[1:]

    def _window(self, points: _Floats, rows: int, columns: int, *, moves: bool) -> Window:
        """The first window of a clip: of any aspect."""
        augment, random = self.augment, self.random
        whole = (0.0, 0.0, float(columns), float(rows))
        if random.random() < augment.crop_probability:
            share = random.uniform(augment.smallest_crop, 1.0)
            width, height = columns * share, rows * share
            if random.random() < augment.aspect_probability:
                aspect = float(random.choice(_VIDEO_ASPECTS))
                width, height = min(width, height * aspect), min(height, width / aspect)
            left, top = random.uniform(0, columns - width), random.uniform(0, rows - height)
            kept = _share_within(points - (left, top), width, height)
            return (left, top, width, height) if kept >= augment.smallest_mass else whole
        if not moves:
            return whole
        # A whole picture has no room to move in: leave a little.
        margin = 1 - augment.shift
        left, top = random.uniform(0, columns * augment.shift), random.uniform(0, rows * augment.shift)
        return left, top, columns * margin, rows * margin

    def _filling(self, aspect: float, rows: int, columns: int) -> Window:
        """A window of a given aspect: that of a shot after a cut, which fills the same frame."""
        augment, random = self.augment, self.random
        width, height = min(columns, rows * aspect), min(rows, columns / aspect)
        crops = random.random() < augment.crop_probability
        share = random.uniform(augment.smallest_crop, 1.0) if crops else 1 - augment.shift
        width, height = width * share, height * share
        return random.uniform(0, columns - width), random.uniform(0, rows - height), width, height

    def _jumps(self, first: Window, times: int, rows: int, columns: int) -> list[Window]:
        """Each frame's window, all inside the picture, moved by jumps."""
        augment, random, windows = self.augment, self.random, [first]
        for _ in range(times - 1):
            left, top, width, height = windows[-1]
            zoom = random.uniform(1 - augment.zoom, 1 + augment.zoom)
            zoom = min(zoom, columns / width, rows / height)
            left += random.uniform(-augment.shift, augment.shift) * width - (zoom - 1) * width / 2
            top += random.uniform(-augment.shift, augment.shift) * height - (zoom - 1) * height / 2
            width, height = width * zoom, height * zoom
            left, top = np.clip(left, 0, columns - width), np.clip(top, 0, rows - height)
            windows.append((float(left), float(top), width, height))
        return windows

    def _things(self, own: _Attended, affines: _Floats, viewport: Viewport, viewers: int) -> tuple[_Thing, ...]:
        """Draw what moves over a shot of a picture, filmed by `affines`."""
        options, random = self.augment.objects, self.random
        count = int(random.integers(1, options.most + 1))
        moves = random.random(count) >= options.still_share
        drawn_away = options.attraction / (1 - options.attraction) * viewers / max(1, int(moves.sum()))
        things = []
        for moving in moves:
            seen = own
            if self.others is not None and random.random() >= options.own_picture_share:
                seen = _read(self.others(random), self.preprocess)
                if not len(seen.points):
                    continue
            picture, inside = _cut_out(seen, min(viewport.height, viewport.width), options, random)
            if len(inside) == 0:
                continue  # the ellipse had to move away from an edge, and off its only fixation
            calm = round(len(inside) / len(seen.points) * viewers)
            number = max(calm, round(drawn_away)) if moving else calm
            path = _thing_path(len(affines), viewport.width * options.speed if moving else 0.0, random)
            things.append(
                _Thing(
                    picture=picture,
                    softness=options.softness,
                    affines=_over_scene(picture.pixels.shape[:2], path, affines, viewport, random),
                    points=np.resize(random.permutation(inside), (number, 2)),
                    at_first=calm,
                )
            )
        return tuple(things)


def _share_within(points: _Floats, width: float, height: float) -> float:
    """The share of points (N, 2) that are `within`; 1 without any."""
    return float(within(points, width, height).mean()) if len(points) else 1.0


def _fill(window: Window, viewport: Viewport) -> _Floats:
    """The affine that shows a window on the whole viewport."""
    left, top, width, height = window
    x, y = viewport.width / width, viewport.height / height
    return np.array([[x, 0, viewport.left - left * x], [0, y, viewport.top - top * y]])


@dataclass(frozen=True, eq=False)
class _Thing:
    """A soft-edged ellipse of a picture that moves over another."""

    picture: _Picture
    """RGB multiplied by alpha, and alpha: four channels, uint8."""
    softness: float
    affines: _Floats
    """(T, 2, 3) from its own pixels to the viewport's."""
    points: _Floats
    """(n, 2) in its own pixels, of the viewers it draws once it is seen to move."""
    at_first: int
    """How many of these it has in the first frame."""

    def paste(self, shown: _Pixels, t: int, exposure: float) -> None:
        """Draw it into frame t, in place."""
        rows, columns = self.picture.pixels.shape[:2]
        moments = _moments(self.affines, t, exposure, size=(rows, columns))
        corners = np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]])
        reached = np.concatenate([apply_affine(moment, corners) for moment in moments[[0, -1]]])
        low = np.clip(np.floor(reached.min(0)).astype(int), 0, shown.shape[1::-1])
        high = np.clip(np.ceil(reached.max(0)).astype(int), 0, shown.shape[1::-1])
        if (high <= low).any():
            return
        part = shown[low[1] : high[1], low[0] : high[0]]
        layer = self.picture.warp(_moved(moments, -low.astype(np.float64)), *part.shape[:2]).astype(np.float32)
        part[...] = np.minimum(part * (1 - layer[:, :, 3:] / 255) + layer[:, :, :3] + 0.5, 255).astype(np.uint8)

    def hides(self, points: _Floats, t: int) -> npt.NDArray[np.bool_]:
        """(N,) bool, which points of the viewport lie below it where it is more solid than not."""
        half = np.array(self.picture.pixels.shape[1::-1]) / 2
        radius = np.linalg.norm(apply_affine(invert(self.affines[t]), points) / half - 1, axis=1)
        return np.asarray(radius < 1 - self.softness / 2, np.bool_)

    def looked_at(self, t: int) -> _Floats:
        """(n, 2) fixations on it in viewport pixels."""
        return apply_affine(self.affines[t], self.points if t > 0 else self.points[: self.at_first])


def _cut_out(
    seen: _Attended, shorter_shown: int, options: ObjectOptions, random: np.random.Generator
) -> tuple[_Picture, _Floats]:
    """An ellipse around a fixation at the size it is shown in, and the fixations (n, 2) on it in its pixels."""
    pixels, points = seen.pixels, seen.points
    sides = np.array(pixels.shape[1::-1])
    share = random.uniform(options.smallest, options.largest)
    aspect = math.exp(random.uniform(-0.35, 0.35))
    radii = np.minimum(share * sides.min() / 2 * np.array([aspect, 1 / aspect]), sides / 2)
    centre = np.clip(points[random.integers(len(points))], radii, sides - radii)
    low = np.floor(centre - radii).astype(int)
    high = np.maximum(np.minimum(np.ceil(centre + radii).astype(int), sides), low + 1)
    # About as large beside the one picture as it was beside the other.
    scale = shorter_shown / sides.min() * math.exp(random.uniform(-0.25, 0.25))
    size = np.maximum(2, np.round((high - low) * scale)).astype(int)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(pixels[low[1] : high[1], low[0] : high[0]], (int(size[0]), int(size[1])), interpolation=how)
    y, x = np.ogrid[: size[1], : size[0]]
    radius = np.hypot((x + 0.5) / size[0] * 2 - 1, (y + 0.5) / size[1] * 2 - 1)
    solid = np.clip((1 - radius) / max(options.softness, 1e-3), 0, 1)
    solid = (solid * solid * (3 - 2 * solid))[:, :, None]  # smooth at both ends
    layers = np.concatenate([small * solid, 255 * solid], 2)
    own = (points - low) * (size / (high - low))
    on_it = np.linalg.norm(own / size * 2 - 1, axis=1) < 1
    return _Picture((layers + 0.5).astype(np.uint8), shrink=False), own[on_it]


def _thing_path(times: int, fastest: float, random: np.random.Generator) -> _Floats:
    """(T, 2) pixels from where it is in the middle frame: one direction, a speed that changes a little."""
    if fastest == 0:
        return np.zeros((times, 2))
    speed, direction = fastest * random.uniform(0.2, 1), random.uniform(0, 2 * math.pi)
    straight = np.arange(times)[:, None] * speed * np.array([math.cos(direction), math.sin(direction)])
    path = straight + wander(times, np.full(2, 0.2 * speed), steady_frames=12.0, random=random)
    return np.asarray(path - path[times // 2], np.float64)


def _over_scene(
    size: tuple[int, ...], path: _Floats, affines: _Floats, viewport: Viewport, random: np.random.Generator
) -> _Floats:
    """(T, 2, 3) affines to the viewport of a thing that follows a path over a scene that itself is filmed."""
    middle = affines[len(affines) // 2]
    place = _corner(viewport) + random.uniform(0.1, 0.9, 2) * (viewport.width, viewport.height)
    scale = 1 / _scale(middle)
    start = apply_affine(invert(middle), place) - scale * np.array(size[::-1]) / 2
    in_picture = np.tile(scale * np.eye(2, 3), (len(affines), 1, 1))
    in_picture[:, :, 2] = start + scale * path
    return _moved(compose(affines, in_picture), -_corner(viewport))


@dataclass(frozen=True, eq=False)
class Look:
    """Colour changes shared by all frames of a shot, and how they drift."""

    brightness: float
    """Factor."""
    contrast: float
    """Factor about the mean grey."""
    saturation: float
    """Factor; 0 is grey."""
    sigma: float
    """Standard deviation of the blur, in pixels; 0 for none."""
    flicker: float
    """Largest change of brightness from frame to frame, as a share."""
    exposure: _Floats
    """(T,) factors."""
    balance: _Floats
    """(T,) factors of red, and divisors of blue."""

    @classmethod
    def draw(cls, augment: AugmentOptions, times: int, random: np.random.Generator) -> Look:
        """The look of a shot of `times` frames."""

        def around_one(amount: float) -> float:
            return float(random.uniform(1 - amount, 1 + amount))

        def drift(step: float) -> _Floats:
            if step == 0:
                return np.ones(times)
            steps = step * random.standard_normal(times)
            steps[0] = 0
            return np.exp(np.cumsum(steps))

        return cls(
            brightness=around_one(augment.brightness),
            contrast=around_one(augment.contrast),
            saturation=0.0 if random.random() < augment.grey_probability else around_one(augment.saturation),
            sigma=float(random.uniform(0.3, 1.5)) if random.random() < augment.blur_probability else 0.0,
            flicker=augment.brightness / 10,
            exposure=drift(augment.exposure_drift),
            balance=(around_one(augment.white_balance / 2) if augment.white_balance else 1.0)
            * drift(augment.white_balance_drift),
        )

    def apply(self, shown: _Pixels, t: int, random: np.random.Generator) -> _Pixels:
        """Frame t in these colours."""
        weights = np.array([0.299, 0.587, 0.114])
        exposure = self.brightness * float(random.uniform(1 - self.flicker, 1 + self.flicker)) * self.exposure[t]
        middle = float(weights @ np.array(cv2.mean(shown)[:3]))
        # One affine of the colours: saturation, contrast about the mean grey, exposure, white balance.
        colours = self.saturation * np.eye(3) + (1 - self.saturation) * weights
        gains = exposure * np.array([self.balance[t], 1, 1 / self.balance[t]])[:, None]
        offset = np.full((3, 1), (1 - self.contrast) * middle)
        matrix = gains * np.concatenate([self.contrast * colours, offset], 1)
        coloured = cv2.transform(shown, matrix)
        if self.sigma:
            coloured = cv2.GaussianBlur(coloured, (0, 0), self.sigma)
        return np.asarray(coloured, np.uint8)


@dataclass(frozen=True, eq=False)
class _Finish:
    """What is the same for all shots of a clip."""

    exposure: float
    """Share of the time between two frames; 0 for none."""
    quality: int | None
    overlays: tuple[Overlay, ...]

    @classmethod
    def draw(cls, augment: AugmentOptions, random: np.random.Generator, overlays: tuple[Overlay, ...]) -> _Finish:
        blurs = happens(augment.motion_blur_probability, random)
        exposure = float(random.uniform(0.1, 1)) * augment.longest_exposure if blurs else 0.0
        compresses = happens(augment.compression_probability, random)
        return cls(exposure, int(random.integers(augment.worst_quality, 91)) if compresses else None, overlays)

    def compress(self, shown: _Pixels) -> _Pixels:
        """The picture after JPEG."""
        if self.quality is None:
            return shown
        data = jpeg.encode_image_jpegturbo(np.ascontiguousarray(shown), self.quality)
        return np.asarray(jpeg.decode_image_jpegturbo(data, "rgb"), np.uint8)
