"""The densities of a shot along one side in, where the window begins at each frame out: the path of a camera.

The whole shot is known. Three steps find the path that keeps most of the density for the least motion:

1. *Standing.* The one place that keeps most over the whole shot, found exactly among all whole pixels.
2. *Where to be.* Dynamic programming over places and time maximises the density kept, less a price for every picture
   width moved. It sees all maxima of the density, so that it does not end halfway between two of them.
3. *How to get there.* A linear program turns that into a path that a camera operator could have made: speed and
   acceleration bounded, and least in the L1 norm of speed, acceleration and jerk, so that it stands, pans evenly, and
   changes between the two softly (Grundmann, Kwatra and Essa, "Auto-directed video stabilization with robust L1 optimal
   camera paths", CVPR 2011). Unlike there, what is gained is not nearness to a given path but the density kept itself,
   in the form of its concave envelope around the path found before.

A path is a uniform cubic B-spline in time. Its derivatives are B-splines of the differences of its coefficients, so
that bounds on these hold at every instant, whatever the times of the frames. Where moving gains less than a stated
share, the camera stands.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.errors import ConfigError
from vidsal.reframe.marginals import kept_share
from vidsal.reframe.options import CameraOptions

__all__ = ["KNOT_SECONDS", "MOST_KNOTS", "best_place", "durations_of", "plan"]

_Floats = npt.NDArray[np.float64]

KNOT_SECONDS = 0.2
"""Time from one knot of the path to the next, in shots of up to `MOST_KNOTS` knots."""

MOST_KNOTS = 4000
"""Knots of one shot; in longer shots they lie farther apart."""

_PLACES = 96
"""Steps of the grid of places that dynamic programming looks at."""

_SHARPEST = 24
"""Steps of the grid on which the envelope of the density kept is made."""

_ROUNDS = (0.25, 0.1)
"""How far from the path found before, in windows, each round of the linear program looks."""

_MARGIN = 1e-6
"""Share of the bounds that is left to the solver's tolerance."""


def durations_of(pts_seconds: _Floats) -> _Floats:
    """(N,) how long each frame of a shot is shown; the last as long as the others are in the middle."""
    steps = np.maximum(np.diff(pts_seconds), 0.0)
    last = float(np.median(steps)) if len(steps) else 1.0
    durations = np.append(steps, last)
    return durations if durations.sum() > 0 else np.ones(len(pts_seconds))


def best_place(
    cumulative: npt.NDArray[np.uint16], weights: _Floats, *, pixels: int, window: int, within: tuple[float, float]
) -> int:
    """The whole pixel at which a window that stands keeps most of the densities; of equal ones the middle.

    Args:
        cumulative: (N, n + 1), as in `Marginals`.
        weights: (N,) how long each frame is shown.
        pixels: length of the side.
        window: length of the window.
        within: first and last place that is allowed, in pixels.
    """
    mean = (weights @ cumulative.astype(np.float64) / (weights.sum() * 65535))[None]  # (1, n + 1)
    first, last = math.ceil(within[0] - 1e-9), math.floor(within[1] + 1e-9)
    if last < first:
        return min(max(0, round((within[0] + within[1]) / 2)), pixels - window)
    places = np.arange(first, last + 1)
    kept = kept_share(mean, places[None] / pixels, window / pixels)[0]
    best = np.flatnonzero(kept >= kept.max() - _EQUAL_SHARE)
    # Equal places may lie on both sides of a valley.
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    longest = max(runs, key=len)
    return int(places[longest[len(longest) // 2]])


_EQUAL_SHARE = 1e-4
"""Places whose shares differ by less are equal: marginals are kept to a tenth of that."""


def plan(
    cumulative: npt.NDArray[np.uint16],
    pts_seconds: _Floats,
    *,
    pixels: int,
    window: int,
    options: CameraOptions,
    low: _Floats | None = None,
    high: _Floats | None = None,
) -> tuple[_Floats, float]:
    """The path of one shot.

    Args:
        cumulative: (N, n + 1) densities of its frames, as in `Marginals`.
        pts_seconds: (N,) their times, not falling.
        pixels: length of the side along which the window slides.
        window: length of the window, in pixels, at most `pixels`.
        options: how the camera moves.
        low: (N,) first pixel at which the window may begin at each frame; None: 0.
        high: (N,) last one; None: as far as it goes.

    Returns:
        (N,) where the window begins, in pixels; and by how many pixels, 0 for none, the bounds are missed, which cannot
        be kept at this length of the window and these bounds of speed and acceleration.
    """
    room = pixels - window
    count = len(pts_seconds)
    low = np.zeros(count) if low is None else np.clip(low, 0, room)
    high = np.full(count, float(room)) if high is None else np.clip(high, 0, room)
    weights = durations_of(pts_seconds)
    lowest, highest = float(low.max()), float(high.min())
    place = best_place(cumulative, weights, pixels=pixels, window=window, within=(lowest, highest))
    still = np.full(count, float(place))
    missed = float(np.maximum(np.maximum(low - still, still - high), 0.0).max())
    span = float(pts_seconds[-1] - pts_seconds[0])
    if room == 0 or options.stay or span <= 0:
        return still, missed
    moving, missed_moving = _moving(cumulative, pts_seconds, weights, pixels, window, options, low, high, still)
    kept, kept_still = (_kept(cumulative, weights, path, pixels, window) for path in (moving, still))
    if missed <= 1e-6 and (missed_moving > 1e-6 or kept - kept_still < options.least_gain):
        return still, missed
    return moving, missed_moving


def _kept(cumulative: npt.NDArray[np.uint16], weights: _Floats, path: _Floats, pixels: int, window: int) -> float:
    """Mean share of the density that a path keeps, over time."""
    return float(weights @ kept_share(cumulative, path / pixels, window / pixels) / weights.sum())


def _moving(
    cumulative: npt.NDArray[np.uint16],
    pts_seconds: _Floats,
    weights: _Floats,
    pixels: int,
    window: int,
    options: CameraOptions,
    low: _Floats,
    high: _Floats,
    still: _Floats,
) -> tuple[_Floats, float]:
    """As `plan`, for a camera that moves; places are in picture widths from here on."""
    knots = _Knots(pts_seconds)
    share = window / pixels
    lower, upper = (bound / pixels for bound in (low, high))
    lower, upper = knots.around(lower, np.maximum, 0.0), knots.around(upper, np.minimum, 1 - share)
    gain = _Gain.of(knots, cumulative, weights, share)
    wanted = _where_to_be(gain, knots, options, lower, upper)
    best, best_worth, missed = still / pixels, -math.inf, math.inf
    around = wanted
    for reach in _ROUNDS:
        coefficients, off = _how_to_get_there(gain, knots, options, lower, upper, around, reach * share)
        path = knots.at_frames(coefficients)
        worth = _worth(gain, knots, coefficients, options) - 1e3 * off
        if worth > best_worth:
            best, best_worth, missed = path, worth, off
        around = knots.at_middles(coefficients)
    return np.clip(best * pixels, 0, pixels - window), missed * pixels


class _Knots:
    """The knots of a shot's path: evenly spaced in time, the same number of frames or not between each two."""

    def __init__(self, pts_seconds: _Floats) -> None:
        span = float(pts_seconds[-1] - pts_seconds[0])
        self.spans = max(1, min(math.ceil(span / KNOT_SECONDS - 1e-9), MOST_KNOTS))
        self.step = span / self.spans
        self.coefficients = self.spans + 3
        where = (pts_seconds - pts_seconds[0]) / self.step
        self.span_of = np.minimum(where.astype(np.int64), self.spans - 1)  # (N,) of each frame
        self._within = where - self.span_of
        self.edges = np.searchsorted(self.span_of, np.arange(self.spans + 1))  # rows of the frames in each span

    def at_frames(self, coefficients: _Floats) -> _Floats:
        """(N,) the path at the frames."""
        return self._at(coefficients, self.span_of, self._within)

    def at_middles(self, coefficients: _Floats) -> _Floats:
        """(spans,) the path in the middle between knots."""
        return self._at(coefficients, np.arange(self.spans), np.full(self.spans, 0.5))

    def _at(self, coefficients: _Floats, span: npt.NDArray[np.int64], within: _Floats) -> _Floats:
        parts = (basis * coefficients[span + more] for more, basis in enumerate(_basis(within)))
        value: _Floats = sum(parts, np.zeros(len(span)))
        return value

    def around(self, bound: _Floats, worst: Any, without: float) -> _Floats:
        """(coefficients,) the tightest bound of the frames that each coefficient has a part in.

        A B-spline lies between its coefficients, so what holds for these holds for the path.
        """
        tightest = np.full(self.spans, without)
        for span in np.unique(self.span_of):
            tightest[span] = worst.reduce(bound[self.edges[span] : self.edges[span + 1]])
        spread = np.full(self.coefficients, without)
        for more in range(4):
            spread[more : more + self.spans] = worst(spread[more : more + self.spans], tightest)
        return spread


def _basis(within: _Floats) -> tuple[_Floats, _Floats, _Floats, _Floats]:
    """The four parts of a uniform cubic B-spline, at places from 0 to 1 between two knots."""
    t = within
    return (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )


class _Gain:
    """What a window keeps between each two knots, wherever it begins."""

    def __init__(self, cumulative: _Floats, seconds: _Floats, share: float) -> None:
        self._cumulative = cumulative  # (spans, n + 1) from 0 to 1
        self.seconds = seconds  # (spans,) how long the frames are shown
        self.share = share

    @classmethod
    def of(cls, knots: _Knots, cumulative: npt.NDArray[np.uint16], weights: _Floats, share: float) -> _Gain:
        mean = np.zeros((knots.spans, cumulative.shape[1]))
        seconds = np.zeros(knots.spans)
        for span, (first, last) in enumerate(zip(knots.edges, knots.edges[1:], strict=False)):
            if last > first:
                part = weights[first:last]
                seconds[span] = part.sum()
                mean[span] = part @ cumulative[first:last].astype(np.float64) / max(seconds[span], 1e-12)
        return cls(mean / 65535, seconds, share)

    def at(self, places: _Floats) -> _Floats:
        """(spans, ...) seconds times share kept, for windows that begin at places (spans, ...)."""
        kept = kept_share(self._cumulative, places, self.share)
        return kept * self.seconds.reshape(-1, *([1] * (kept.ndim - 1)))


def _where_to_be(gain: _Gain, knots: _Knots, options: CameraOptions, lower: _Floats, upper: _Floats) -> _Floats:
    """(spans,) the places that keep most, less the price of the way, at no more than the highest speed."""
    room = max(float(upper.max()), 1e-9)
    places = np.linspace(0.0, room, _PLACES + 1)
    pitch = places[1]
    reach = max(1, min(_PLACES, math.floor(options.max_speed * knots.step / pitch)))
    kept = gain.at(np.broadcast_to(places, (knots.spans, len(places))))  # (spans, places)
    least, most = (
        worst.reduce([bound[more : more + knots.spans] for more in range(4)])
        for worst, bound in (
            (np.maximum, lower),
            (np.minimum, upper),
        )
    )
    outside = np.maximum(np.maximum(least[:, None] - places, places - most[:, None]) - pitch, 0.0)
    kept = kept - 1e3 * outside
    moves = np.arange(-reach, reach + 1)
    price = options.move_price * np.abs(moves) * pitch
    value = kept[0]
    came_by = np.zeros(kept.shape, np.int16)
    padded = np.full(len(places) + 2 * reach, -np.inf)
    before = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)  # (places, moves): from place + move
    for span in range(1, knots.spans):
        padded[reach : reach + len(places)] = value
        worth = before - price
        # Of equal ways the shortest: the window stands where nothing is gained.
        choice = reach + _nearest_best(worth, reach)
        came_by[span] = choice - reach
        value = worth[np.arange(len(places)), choice] + kept[span]
    place = int(value.argmax())
    path = np.empty(knots.spans, np.int64)
    for span in range(knots.spans - 1, -1, -1):
        path[span] = place
        place += int(came_by[span, place])
    found: _Floats = places[path]
    return found


def _nearest_best(worth: _Floats, middle: int) -> npt.NDArray[np.int64]:
    """(places, moves) -> (places,) the best move from the middle one on, the middle one if none is better."""
    best = worth.argmax(axis=1)
    rows = np.arange(len(worth))
    stands = worth[:, middle] >= worth[rows, best] - 1e-12
    return np.where(stands, 0, best - middle)


def _worth(gain: _Gain, knots: _Knots, coefficients: _Floats, options: CameraOptions) -> float:
    """What a path keeps, less what its motion costs."""
    kept = float(gain.at(knots.at_middles(coefficients)).sum())
    prices = _prices(knots, options)
    moved = sum(price * np.abs(np.diff(coefficients, order)).sum() for order, price in enumerate(prices, start=1))
    return kept - float(moved)


def _prices(knots: _Knots, options: CameraOptions) -> tuple[float, float, float]:
    """What a unit of the first, second and third differences of the coefficients costs."""
    return (
        options.move_price,
        options.turn_price / knots.step,
        options.jerk_price / knots.step**2,
    )


def _how_to_get_there(
    gain: _Gain,
    knots: _Knots,
    options: CameraOptions,
    lower: _Floats,
    upper: _Floats,
    around: _Floats,
    reach: float,
) -> tuple[_Floats, float]:
    """The coefficients of the best path near `around`, (spans,), and by how much the bounds of place are missed."""
    sparse, linprog = _scipy()
    count, spans = knots.coefficients, knots.spans
    limits = [
        options.max_speed * knots.step * (1 - _MARGIN),
        options.max_acceleration * knots.step**2 * (1 - _MARGIN),
        math.inf,
    ]
    # Variables: the coefficients, the sizes of their first, second and third differences, what is kept in each span,
    # and by how much the bounds of place are missed.
    orders = [order for order in (1, 2, 3) if count > order]
    sizes = [count - order for order in orders]
    starts = np.cumsum([0, count, *sizes, spans, 1])
    total = int(starts[-1])
    costs = np.zeros(total)
    upper_bounds = np.full(total, np.inf)
    lower_bounds = np.zeros(total)
    lower_bounds[:count] = -np.inf
    prices = _prices(knots, options)
    blocks: list[Any] = []
    limits_of_rows: list[_Floats] = []

    def add(parts: list[tuple[int, Any]], most: _Floats) -> None:
        """Rows: the sum of the parts, each a matrix times the variables from a place on, is at most `most`."""
        row = [None] * (len(starts) - 1)
        for block, matrix in parts:
            row[block] = matrix
        blocks.append(
            [
                sparse.csr_matrix((len(most), int(starts[i + 1] - starts[i]))) if part is None else part
                for i, part in enumerate(row)
            ]
        )
        limits_of_rows.append(most)

    identity = sparse.identity(count, format="csr")
    difference = identity
    for block, (order, size) in enumerate(zip(orders, sizes, strict=True), start=1):
        difference = (difference[1:] - difference[:-1]).tocsr()
        here = slice(int(starts[block]), int(starts[block + 1]))
        costs[here] = prices[order - 1]
        upper_bounds[here] = limits[order - 1]
        one = sparse.identity(size, format="csr")
        add([(0, difference), (block, -one)], np.zeros(size))
        add([(0, -difference), (block, -one)], np.zeros(size))
    keeping, missing = len(orders) + 1, len(orders) + 2
    column = sparse.csr_matrix(np.ones((count, 1)))
    add([(0, identity), (missing, -column)], np.maximum(upper, 0.0))
    add([(0, -identity), (missing, -column)], -lower)
    costs[-1] = _MISSED_PRICE * (1.0 + float(gain.seconds.sum()))
    here = slice(int(starts[keeping]), int(starts[keeping + 1]))
    costs[here] = -1.0
    lower_bounds[here] = -np.inf
    rows, slope, offset = _envelopes(gain, around, reach, room=1.0 - gain.share)
    chosen = sparse.csr_matrix((np.ones(len(rows)), (np.arange(len(rows)), rows)), shape=(len(rows), spans))
    middles = sparse.csr_matrix(
        (
            np.tile([part[0] for part in _basis(np.array([0.5]))], spans),
            (np.repeat(np.arange(spans), 4), (np.arange(spans)[:, None] + np.arange(4)).ravel()),
        ),
        shape=(spans, count),
    )
    add([(0, -sparse.diags(slope) @ chosen @ middles), (keeping, chosen)], offset)
    matrix = sparse.vstack([sparse.hstack(row, format="csr") for row in blocks], format="csr")
    solved = linprog(
        costs,
        A_ub=matrix,
        b_ub=np.concatenate(limits_of_rows),
        bounds=np.column_stack([lower_bounds, upper_bounds]),
        method="highs",
    )
    if solved.x is None:
        raise RuntimeError(f"no path was found: {solved.message}")
    return np.asarray(solved.x[:count], np.float64), float(solved.x[-1])


_MISSED_PRICE = 100.0
"""What a picture width outside the bounds of place costs for every second of the shot."""


def _envelopes(
    gain: _Gain, around: _Floats, reach: float, *, room: float
) -> tuple[npt.NDArray[np.int64], _Floats, _Floats]:
    """The concave envelope of what is kept in each span, over the places near a path.

    Returns:
        The span, the slope and the offset of each of its straight pieces.
    """
    first = np.clip(around - reach, 0.0, room)
    last = np.clip(around + reach, 0.0, room)
    places = first[:, None] + (last - first)[:, None] * np.linspace(0.0, 1.0, _SHARPEST + 1)
    kept = gain.at(places)
    spans, slopes, offsets = [], [], []
    for span in range(len(kept)):
        x, y = places[span], kept[span]
        hull: list[int] = []
        for i in range(len(x)):
            while len(hull) > 1 and (y[hull[-1]] - y[hull[-2]]) * (x[i] - x[hull[-1]]) <= (
                (y[i] - y[hull[-1]]) * (x[hull[-1]] - x[hull[-2]]) + 1e-12
            ):
                hull.pop()
            hull.append(i)
        for a, b in itertools.pairwise(hull):
            if x[b] > x[a]:
                slope = (y[b] - y[a]) / (x[b] - x[a])
                spans.append(span)
                slopes.append(slope)
                offsets.append(y[a] - slope * x[a])
        if len(hull) < 2 or x[hull[-1]] <= x[hull[0]]:
            spans.append(span)
            slopes.append(0.0)
            offsets.append(float(y[0]))
    return np.array(spans, np.int64), np.array(slopes), np.array(offsets)


def _scipy() -> tuple[Any, Any]:
    try:
        from scipy import sparse
        from scipy.optimize import linprog
    except ImportError as error:
        raise ConfigError(
            "a camera that moves needs scipy: pip install 'vidsal[reframe]', or let it stand with stay"
        ) from error
    return sparse, linprog
