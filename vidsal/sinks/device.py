"""Pictures and densities of a batch in, the drawn pictures as the encoder takes them out, made on a GPU.

The pictures go up in one copy and come back in one, as YUV 4:2:0: half the bytes, and no conversion is left to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidsal.frames import Picture
from vidsal.render import RenderOptions, draw_batch, to_yuv420
from vidsal.tracks import FrameNumbers

__all__ = ["MAX_PIXELS_AT_ONCE", "DeviceDrawer"]

MAX_PIXELS_AT_ONCE = 2**25
"""Pixels that go up in one copy (16 pictures of 1920x1080), three bytes each; more are drawn in turns."""


class DeviceDrawer:
    """Draws batches on a device and returns planar YUV; the only wait is the one for each copy down.

    Buffers of both directions are kept, page-locked for CUDA, so that no copy holds up the processor. Work runs on a
    CUDA stream of its own, after what the calling thread's current stream was given before.

    Args:
        device: where to draw; the tests draw on the CPU.
        render: how.
        size: (height, width) of what the encoder takes, both even, at most one more than the drawn picture's, whose
            last row or column is repeated.
        colorspace: FFmpeg's number of the matrix, as for `to_yuv420`.
        full_range: see `to_yuv420`.
    """

    def __init__(
        self, device: torch.device, *, render: RenderOptions, size: tuple[int, int], colorspace: int, full_range: bool
    ) -> None:
        self._device = device
        self._render = render
        self._size = size
        self._colorspace = colorspace
        self._full_range = full_range
        self._stream: torch.cuda.Stream | None = None
        self._done: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            # Without `blocking` the waiting thread would keep a core busy.
            self._done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self._up = torch.empty(0, dtype=torch.uint8)
        self._down = torch.empty(0, dtype=torch.uint8)

    def draw(
        self,
        pictures: Sequence[Picture],
        log_density: Tensor,
        scales: Sequence[float],
        recent: Sequence[Sequence[FrameNumbers]] = (),
    ) -> Iterator[npt.NDArray[np.uint8]]:
        """Yields the drawn pictures, (3 * H / 2, W) uint8 in the order of yuv420p; each is valid until the next.

        Args:
            pictures: B pictures of one size.
            log_density: (B, h, w) float32, on any device.
            scales: B tops of the display scale.
            recent: B times the rows that `vidsal.render.draw` takes; wanted only where the options are tracked.

        Raises:
            ValueError: the pictures differ in size.
            torch.OutOfMemoryError: the device has no room; nothing is lost, the next call starts afresh.
        """
        first = 0
        while first < len(pictures):
            picture = pictures[first].rgb()
            height, width = picture.shape[:2]
            part = slice(first, min(first + max(1, MAX_PIXELS_AT_ONCE // (height * width)), len(pictures)))
            self._up, up = self._room(self._up, (part.stop - first, height, width, 3))
            for row, place in enumerate(range(first, part.stop)):
                picture = picture if row == 0 else pictures[place].rgb()
                if picture.shape != up.shape[1:]:
                    raise ValueError(f"pictures must be of one size, got {tuple(up.shape[1:])} and {picture.shape}")
                up[row].numpy()[:] = picture
            yield from self._drawn(up, log_density[part], scales[part], recent[part])
            first = part.stop

    def _drawn(
        self, up: Tensor, log_density: Tensor, scales: Sequence[float], recent: Sequence[Sequence[FrameNumbers]]
    ) -> npt.NDArray[np.uint8]:
        with self._on_stream(log_density):
            pictures = up.to(self._device, non_blocking=True)
            density = log_density.to(self._device, non_blocking=True).exp()
            drawn = draw_batch(pictures, density, scale=scales, options=self._render, recent=recent)
            planes = to_yuv420(self._padded(drawn), colorspace=self._colorspace, full_range=self._full_range)
            self._down, down = self._room(self._down, tuple(planes.shape))
            down.copy_(planes, non_blocking=self._done is not None)
            if self._done is not None:
                self._done.record()
        if self._done is not None:
            self._done.synchronize()
        array: npt.NDArray[np.uint8] = down.numpy()
        return array

    def _on_stream(self, *inputs: Tensor) -> AbstractContextManager[object]:
        if self._stream is None:
            return nullcontext()
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        for tensor in inputs:
            if tensor.is_cuda:
                tensor.record_stream(self._stream)  # its memory must not be given away before it is read here
        return torch.cuda.stream(self._stream)

    def _room(self, held: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The buffer held, or a larger one where it is too small; and its beginning in this shape."""
        wanted = math.prod(shape)
        if held.numel() < wanted:
            held = torch.empty(wanted, dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        return held, held[:wanted].view(shape)

    def _padded(self, drawn: Tensor) -> Tensor:
        down, right = self._size[0] - drawn.shape[1], self._size[1] - drawn.shape[2]
        if down:
            drawn = torch.cat([drawn, drawn[:, -1:]], dim=1)
        if right:
            drawn = torch.cat([drawn, drawn[:, :, -1:]], dim=2)
        return drawn
