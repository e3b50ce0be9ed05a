"""Densities of consecutive frames come in, the same frames with densities steadied in time come out.

Averages are of densities, not of their logs, and weigh by time, not by count. Between two frames the density is
taken to change linearly, and the filters below are the exact answer for that signal; so footage at 25 and at 50
frames a second, and of variable rate, gives the same maps at the same instants. Nothing reaches over a cut.

An average over time trails behind what moves. `motion` therefore carries the past along: optical flow between small
grey copies of the frames says where each place of this frame was in the frame before. Where the two pictures do not
match there (a thing uncovered what was behind it, a cut went unnoticed), the past is not believed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from vidsal.errors import ConfigError
from vidsal.frames import FrameBatch, Picture, SaliencyBatch

__all__ = ["SmoothOptions", "Smoother", "first_order_hold"]

_Grey = npt.NDArray[np.uint8]

# The Gaussian ends this many standard deviations to either side; 0.3 % of it lies beyond.
_GAUSSIAN_REACH = 3.0
# Segments shorter than this, in standard deviations, are split evenly: the closed form would cancel.
_SHORT_SEGMENT = 1e-5
# Held frames are let go beyond this count, so that timestamps that stand still cannot fill the memory.
_HELD_LIMIT = 512
# Flow is found between grey pictures of this longer side, in pixels; no side is shorter than the second, since DIS
# breaks down on pictures that are far longer than high.
_FLOW_SIDE, _FLOW_LEAST = 128, 64
# Grey levels by which two pictures may differ along the flow, and from which the past is not believed at all; in
# between it is in part. Noise and compression reach 2 to 11 (median and 99 %), unrelated pictures 41 in the median.
# Pictures with less contrast than the third, as at night, differ by less: so does what is believed, but noise stays
# noise, whose share is the fourth.
_MATCH, _MISMATCH = 8.0, 24.0
_LOW_CONTRAST, _LEAST_SHARE = 40.0, 0.15
# Far below any density, far above 0: the past of a frame of which nothing was to be seen before is the frame itself.
_HARDLY = 1e-12


@dataclass(frozen=True)
class SmoothOptions:
    """How densities are steadied over time."""

    smoothing: Literal["none", "exponential", "motion", "gaussian"] = "motion"
    """Average maps over time: none, exponential (past only, adds no delay), motion (the same, the past moved along with
    the picture by optical flow on the CPU) or gaussian (past and future, no lag)."""
    time_constant_seconds: float = 0.15
    """Reach of the average in seconds: time constant of exponential and motion, standard deviation of the gaussian."""

    def __post_init__(self) -> None:
        if self.smoothing not in ("none", "exponential", "motion", "gaussian"):
            raise ConfigError(f"smoothing is {self.smoothing!r}; choose none, exponential, motion or gaussian.")
        if not 0.0 < self.time_constant_seconds < math.inf:
            raise ConfigError(
                f"time_constant_seconds is {self.time_constant_seconds}; it must be a positive number of seconds. "
                "Use smoothing=none for none."
            )


class Smoother:
    """Steadies densities in time, afresh in every shot.

    With time constant T:

    - exponential: y' = (x - y) / T from y = x on the first frame of a shot, for x linear between frames
      (the exact first-order-hold solution). Answers at once; a lasting change is followed with a lag of T.
    - motion: the exponential along the paths of what is seen, so that what moves is followed without that lag. From
      frame to frame y and x are moved by the optical flow (DIS, Kroeger et al. 2016) and brought back to weight 1;
      cells whose past lay outside the picture, or does not match this frame, take this frame's x for their past.
      Needs the frames: `watch`.
    - gaussian: the mean of x under a Gaussian of standard deviation T, cut off at three T and at the ends of the
      shot and brought back to weight 1. Frames are held until 3 T of later ones have come, `flush` lets go the
      rest; their `pictures` are held with them, so the memory is that of about 3 T of video.

    Frames with equal timestamps count as no time passing, and so does a step back in time.
    Maps do not depend on how the frames are grouped into batches.

    Example:
        >>> log_density = torch.log_softmax(torch.zeros(2, 3 * 4), dim=1).reshape(2, 3, 4)
        >>> batch = SaliencyBatch(
        ...     index=np.array([0, 1]), pts_seconds=np.array([0.0, 0.04]), shot=np.zeros(2, np.int64),
        ...     cut=np.zeros(2, np.bool_), log_density=log_density, height=30, width=40,
        ... )
        >>> smoother = Smoother(SmoothOptions(smoothing="gaussian"))
        >>> smoother.update(batch), [len(late) for late in smoother.flush()]
        ([], [2])
    """

    def __init__(self, options: SmoothOptions | None = None) -> None:
        self.options = options or SmoothOptions()
        self._last: _Sample | None = None
        self._average: torch.Tensor | None = None  # (h, w) the exponential's y at the last frame
        self._window: deque[_Sample] = deque()  # the shot's frames that later answers may need, oldest first
        self._held: deque[_Sample] = deque()  # frames not answered yet, the newest ones of the window
        self._watched: deque[tuple[int, _Grey]] = deque()  # index and picture of frames whose maps have not come yet
        self._flow = _Flow() if self.options.smoothing == "motion" else None

    def reset(self) -> None:
        """Forgets the source, with whatever is held back."""
        self._last = None
        self._average = None
        self._window.clear()
        self._held.clear()
        self._watched.clear()

    def watch(self, batch: FrameBatch) -> None:
        """Shows the frames whose densities `update` gets next; needed by `motion`, the others look away.

        Args:
            batch: The frames that follow those shown before, whole pictures of any size. Small grey copies are kept
                until their densities have come.
        """
        if self._flow is not None:
            self._watched.extend((int(i), _grey(frame)) for i, frame in zip(batch.index, batch.frames, strict=True))

    def update(self, batch: SaliencyBatch) -> list[SaliencyBatch]:
        """Takes the next frames and returns those that are ready, in order.

        Args:
            batch: The frames that follow those given before; its tensors are not changed.

        Returns:
            Batches that hold the frames with index, times and pictures as they came. Densities sum to 1 and are
            nowhere below the smallest normal float32. One batch unless `gaussian`, which returns none or more.

        Raises:
            ValueError: The maps changed their size within a shot, or `motion` was not shown a frame.
        """
        if self.options.smoothing == "none":
            return [batch]
        done: list[_Sample] = []
        for sample in _split(batch):
            new_shot = self._last is None or sample.cut or sample.shot != self._last.shot
            if not new_shot and self._last is not None:
                _check_size(self._last, sample)
                sample.seconds = max(sample.seconds, self._last.seconds)
            if self._flow is not None:
                sample.grey = self._seen(sample.index)
            if self.options.smoothing in ("exponential", "motion"):
                done.append(self._exponential(sample, new_shot))
            else:
                done.extend(self._gaussian(sample, new_shot))
            self._last = sample
        return _join(done)

    def flush(self) -> list[SaliencyBatch]:
        """Returns the frames that are still held back and ends the shot; none unless `gaussian`."""
        done = self._let_go(everything=True)
        self.reset()
        return _join(done)

    def _seen(self, index: int) -> _Grey:
        """The grey picture of the frame with this index."""
        while self._watched and self._watched[0][0] < index:
            self._watched.popleft()
        if not self._watched or self._watched[0][0] != index:
            raise ValueError(f"frame {index} was not shown; with smoothing=motion call watch(frames) before update")
        return self._watched.popleft()[1]

    def _exponential(self, sample: _Sample, new_shot: bool) -> _Sample:
        last = self._last
        if new_shot or self._average is None or last is None:
            self._average = sample.density
        else:
            step = (sample.seconds - last.seconds) / self.options.time_constant_seconds
            keep, before, now = first_order_hold(step)
            past = self._average * keep  # a new tensor: the old one has been handed out
            past.add_(last.density, alpha=before)
            if self._flow is not None and last.grey is not None and sample.grey is not None and now < 1:
                flow = self._flow.between(last.grey, sample.grey)
                moved = _moved(past / (1 - now), sample.density, flow)
                past = moved * ((1 - now) / moved.sum())
            self._average = past.add_(sample.density, alpha=now)
        return sample.with_density(self._average)

    def _gaussian(self, sample: _Sample, new_shot: bool) -> list[_Sample]:
        done: list[_Sample] = []
        if new_shot:
            done = self._let_go(everything=True)
            self._window.clear()
        self._window.append(sample)
        self._held.append(sample)
        return done + self._let_go(everything=False)

    def _let_go(self, *, everything: bool) -> list[_Sample]:
        """Answers the held frames whose future is known."""
        done: list[_Sample] = []
        reach = _GAUSSIAN_REACH * self.options.time_constant_seconds
        while self._held:
            middle = self._held[0].seconds
            if not everything and self._window[-1].seconds < middle + reach and len(self._held) <= _HELD_LIMIT:
                break
            # The segment that spans the start of the reach is needed whole; what lies before it is not.
            while len(self._window) > 1 and self._window[1].seconds <= middle - reach:
                self._window.popleft()
            sample = self._held.popleft()
            seconds = np.array([other.seconds for other in self._window])
            weights = _gaussian_weights((seconds - middle) / self.options.time_constant_seconds)
            if weights is None:
                done.append(sample)
            else:
                mean = torch.zeros_like(sample.density)
                for other, weight in zip(self._window, weights, strict=True):
                    if weight > 0:
                        mean.add_(other.density, alpha=weight)
                done.append(sample.with_density(mean))
            sample.pictures = ()  # it may stay in the window; its picture has gone with the answer
        while len(self._window) > 2 * _HELD_LIMIT:
            self._window.popleft()
        return done


@dataclass(eq=False)
class _Sample:
    """One frame of a `SaliencyBatch`, with its density and the time that the filter goes by."""

    index: int
    pts_seconds: float
    shot: int
    cut: bool
    density: torch.Tensor  # (h, w)
    height: int
    width: int
    pictures: tuple[Picture, ...]
    seconds: float
    grey: _Grey | None = None  # (rows, columns), where the flow is asked for

    def with_density(self, density: torch.Tensor) -> _Sample:
        return _Sample(
            index=self.index,
            pts_seconds=self.pts_seconds,
            shot=self.shot,
            cut=self.cut,
            density=density,
            height=self.height,
            width=self.width,
            pictures=self.pictures,
            seconds=self.seconds,
        )


def _split(batch: SaliencyBatch) -> list[_Sample]:
    """The frames of a batch; exp is taken frame by frame so that held ones keep no whole batch alive."""
    return [
        _Sample(
            index=int(batch.index[i]),
            pts_seconds=float(batch.pts_seconds[i]),
            shot=int(batch.shot[i]),
            cut=bool(batch.cut[i]),
            density=batch.log_density[i].exp(),
            height=batch.height,
            width=batch.width,
            pictures=batch.pictures[i : i + 1],
            seconds=float(batch.pts_seconds[i]),
        )
        for i in range(len(batch))
    ]


def _join(samples: Sequence[_Sample]) -> list[SaliencyBatch]:
    """Batches of the samples, a new one where maps or pictures change their size."""
    batches: list[SaliencyBatch] = []
    start = 0
    for end in range(1, len(samples) + 1):
        if end < len(samples) and _kind(samples[end]) == _kind(samples[start]):
            continue
        group = samples[start:end]
        start = end
        densities = torch.stack([sample.density for sample in group])  # (B, h, w)
        densities = densities.clamp_min(torch.finfo(torch.float32).tiny)
        batches.append(
            SaliencyBatch(
                index=np.array([sample.index for sample in group], np.int64),
                pts_seconds=np.array([sample.pts_seconds for sample in group], np.float64),
                shot=np.array([sample.shot for sample in group], np.int64),
                cut=np.array([sample.cut for sample in group], np.bool_),
                # Weights sum to 1, so this division only takes rounding away.
                log_density=(densities / densities.sum(dim=(1, 2), keepdim=True)).log_(),
                height=group[0].height,
                width=group[0].width,
                pictures=tuple(picture for sample in group for picture in sample.pictures),
            )
        )
    return batches


def _kind(sample: _Sample) -> tuple[object, ...]:
    return (sample.density.shape, sample.height, sample.width, len(sample.pictures))


def _check_size(last: _Sample, sample: _Sample) -> None:
    if sample.density.shape != last.density.shape:
        raise ValueError(
            f"maps changed from {tuple(last.density.shape)} to {tuple(sample.density.shape)} within a shot "
            f"at frame {sample.index}; mark a cut there or call reset()"
        )


def first_order_hold(step: float) -> tuple[float, float, float]:
    """Weights with which an exponential goes on over one step, for an input that changes linearly on it.

    From y' = x - y with x = x0 + (x1 - x0) s / step, integrated over 0 <= s <= step.

    Args:
        step: length of the step in time constants, 0 or more.

    Returns:
        Weights of y0, x0 and x1 in y1; each from 0 to 1, together 1.

    Example:
        >>> first_order_hold(0.0)
        (1.0, 0.0, 0.0)
    """
    gone = -math.expm1(-step)
    hold = gone / step if step > 0 else 1.0  # mean of exp(-s) over the step
    return 1.0 - gone, max(hold - (1.0 - gone), 0.0), max(1.0 - hold, 0.0)


class _Flow:
    """Where each place of a picture was in the picture before it."""

    def __init__(self) -> None:
        self._dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def between(self, before: _Grey, after: _Grey) -> npt.NDArray[np.float32]:
        """(rows, columns, 3): shift in x and y, as shares of half the picture's sides, and trust in it, 0 to 1."""
        rows, columns = after.shape
        if before.shape != after.shape:
            return np.zeros((rows, columns, 3), np.float32)
        shift = self._dis.calc(after, before, None)  # (rows, columns, 2) pixels, from this frame back
        x = shift[..., 0] + np.arange(columns, dtype=np.float32)
        y = shift[..., 1] + np.arange(rows, dtype=np.float32)[:, None]
        there = cv2.remap(before, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        difference = after.astype(np.float32) - there
        # A change of the light is none of the things; single pixels differ by noise.
        difference = cv2.blur(np.abs(difference - np.median(difference)), (5, 5))
        # A flow can bend one picture into another here and there, but not everywhere: after a cut nothing is believed.
        contrast = max(float(before.std()), float(after.std()))
        difference /= min(max(contrast / _LOW_CONTRAST, _LEAST_SHARE), 1.0)
        trust = _belief(difference) * _belief(difference.mean())
        trust[(x < -0.5) | (x > columns - 0.5) | (y < -0.5) | (y > rows - 0.5)] = 0
        return np.stack([shift[..., 0] * (2 / columns), shift[..., 1] * (2 / rows), trust], axis=-1)


def _belief(difference: npt.NDArray[np.float32] | np.floating[Any]) -> npt.NDArray[np.float32]:
    return np.asarray(np.clip((_MISMATCH - difference) / (_MISMATCH - _MATCH), 0, 1), np.float32)


def _grey(frame: npt.NDArray[np.uint8]) -> _Grey:
    """(h, w, 3) -> a small grey picture."""
    height, width = frame.shape[:2]
    share = min(1.0, _FLOW_SIDE / max(height, width))
    size = max(_FLOW_LEAST, round(width * share)), max(_FLOW_LEAST, round(height * share))
    return np.asarray(cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA))


def _moved(past: torch.Tensor, now: torch.Tensor, flow: npt.NDArray[np.float32]) -> torch.Tensor:
    """(h, w) twice and a flow -> the past where it is now, `now` where there is none; its mass is about 1."""
    height, width = past.shape
    # OpenCV is ten times as quick at this as torch is on a CPU.
    host = torch.from_numpy(cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR))
    if past.device.type == "cuda":  # page-locked, so that nobody waits for the device
        host = host.pin_memory()
    field = host.to(past.device, non_blocking=True)  # (h, w, 3)
    # Cell centres from -1 to 1 over the picture, as `grid_sample` counts.
    field[..., 0] += (torch.arange(width, device=past.device) * 2 + 1) / width - 1
    field[..., 1] += ((torch.arange(height, device=past.device) * 2 + 1) / height - 1)[:, None]
    there = F.grid_sample(past[None, None], field[None, ..., :2], padding_mode="border", align_corners=False)[0, 0]
    return torch.lerp(now, there, field[..., 2]).add_(now, alpha=_HARDLY)


def _gaussian_weights(offsets: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float] | None:
    """Integral of the cut-off unit Gaussian times each frame's hat function, for (n,) increasing offsets; sum 1.

    None where no time lies under the Gaussian: a lone frame, or all at one instant.
    """
    weights = np.zeros(len(offsets))
    for i in range(len(offsets) - 1):
        left, right = float(offsets[i]), float(offsets[i + 1])
        low, high = max(left, -_GAUSSIAN_REACH), min(right, _GAUSSIAN_REACH)
        if low >= high:
            continue
        area = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
        moment = (math.exp(-(low**2) / 2) - math.exp(-(high**2) / 2)) / math.sqrt(2 * math.pi)
        length = right - left
        to_right = (moment - left * area) / length if length > _SHORT_SEGMENT else area / 2
        to_right = min(max(to_right, 0.0), area)
        weights[i] += area - to_right
        weights[i + 1] += to_right
    total = float(weights.sum())
    return [float(weight) / total for weight in weights] if total > 0 else None
