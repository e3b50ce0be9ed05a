"""Pictures and densities on a device in, the pictures drawn over out; on that device, without waiting.

What covers much of a picture is drawn where the picture lies. The small marks (boxes, the peak, the legend) are the
layers that the processor draws too, copied there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vidsal.render.contour import contour_layers_batch
from vidsal.render.draw import marks_of
from vidsal.render.heat import heat_layers_batch
from vidsal.render.layer import Layer
from vidsal.render.spotlight import spotlight_layers_batch
from vidsal.stages import RenderOptions
from vidsal.tracks import FrameNumbers

__all__ = ["PIXELS_AT_ONCE", "draw_batch", "overlay_batch", "rgba_batch"]

PIXELS_AT_ONCE = 2**24
"""Pixels that are drawn at once, with about 60 bytes of working memory each."""

Rows = Sequence[Sequence[FrameNumbers]]


def overlay_batch(
    pictures: Tensor,
    density: Tensor,
    *,
    scale: Sequence[float] | None = None,
    options: RenderOptions | None = None,
    recent: Rows = (),
) -> Tensor:
    """Draws over pictures as `overlay` does, all on the device where they lie, without waiting.

    Differs from `overlay` by one level for each layer at most: OpenCV rounds to whole levels between its steps, and
    interpolates colours with eleven bits.

    Args:
        pictures: (B, H, W, 3) uint8 RGB; not changed.
        density: (B, h, w) float32, each sums to 1; any size, on the same device.
        scale: B densities of the hottest colour, in multiples of uniform, as `DisplayScale` gives them; None takes the
            options'.
        options: as for `overlay`; None takes the defaults.
        recent: B times the rows that `overlay` takes; wanted only where `options.is_tracked`.

    Returns:
        A new (B, H, W, 3) uint8 tensor on the same device.

    Raises:
        ValueError: a shape or dtype is not as above, or rows are wanted and there are none.
    """
    if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != torch.uint8:
        raise ValueError(f"pictures must be (B, H, W, 3) uint8, got {tuple(pictures.shape)} {pictures.dtype}")
    drawing = _Drawing.of(density, *pictures.shape[:3], scale=scale, options=options, recent=recent)
    drawn = torch.empty_like(pictures, memory_format=torch.contiguous_format)
    marks = _Uploads(density.device)
    for part in drawing.parts():
        below = pictures[part].float()
        for colors, alpha in drawing.large(part):
            below.lerp_(colors, alpha)
        for row, frame in enumerate(range(part.start, part.stop)):
            for layer in drawing.marks[frame]:
                colors, alpha = marks.of(layer)
                below[row][layer.place].lerp_(colors, alpha)
        drawn[part] = below.round_()
    return drawn


def rgba_batch(
    density: Tensor,
    *,
    height: int,
    width: int,
    scale: Sequence[float] | None = None,
    options: RenderOptions | None = None,
    recent: Rows = (),
) -> Tensor:
    """What is drawn over any pictures: `flatten` of `layers_of` for a batch, on the device where the densities lie.

    Args:
        density: (B, h, w) float32, each sums to 1; any size.
        height: rows of the pictures.
        width: columns of them.
        scale: as for `overlay_batch`.
        options: as for `overlay_batch`.
        recent: as for `overlay_batch`.

    Returns:
        (B, height, width, 4) uint8 RGBA with straight alpha on the same device.

    Raises:
        ValueError: a shape or dtype is not as above, or rows are wanted and there are none.
    """
    drawing = _Drawing.of(density, len(density), height, width, scale=scale, options=options, recent=recent)
    drawn = torch.empty((len(density), height, width, 4), dtype=torch.uint8, device=density.device)
    marks = _Uploads(density.device)
    for part in drawing.parts():
        flat = density.new_zeros((part.stop - part.start, height, width, 4))
        for colors, alpha in drawing.large(part):
            _lay_over(flat, colors, alpha)
        for row, frame in enumerate(range(part.start, part.stop)):
            for layer in drawing.marks[frame]:
                _lay_over(flat[row][layer.place], *marks.of(layer))
        flat[..., 3:].mul_(255)
        flat.round_()
        drawn[part] = flat.mul_(flat[..., 3:] > 0)
    return drawn


def draw_batch(
    pictures: Tensor,
    density: Tensor,
    *,
    scale: Sequence[float] | None = None,
    options: RenderOptions,
    recent: Rows = (),
) -> Tensor:
    """Draws what the options ask for: `overlay_batch`, with the untouched pictures to the left if `side_by_side`.

    Returns:
        A new (B, H, W, 3) uint8 tensor, or (B, H, 2W, 3) side by side.
    """
    drawn = overlay_batch(pictures, density, scale=scale, options=options, recent=recent)
    return torch.cat([pictures, drawn], dim=2) if options.side_by_side else drawn


class _Drawing(NamedTuple):
    """What is drawn over each of a batch of pictures."""

    density: Tensor
    height: int
    width: int
    small: list[Tensor]
    """(B, 4, h, w) float32 each: layers of the map's size, colours to 255 and straight alpha, the lowest first."""
    has_lines: bool
    """Whether contours lie over these."""
    marks: list[list[Layer]]
    """Of each picture."""

    @classmethod
    def of(
        cls,
        density: Tensor,
        count: int,
        height: int,
        width: int,
        *,
        scale: Sequence[float] | None,
        options: RenderOptions | None,
        recent: Rows,
    ) -> _Drawing:
        if density.ndim != 3 or len(density) != count or density.dtype != torch.float32:
            raise ValueError(f"density must be ({count}, h, w) float32, got {tuple(density.shape)} {density.dtype}")
        options = options or RenderOptions()
        tops = [options.scale] * count if scale is None else [float(top) for top in scale]
        rows = recent or [()] * count
        if len(tops) != count or len(rows) != count:
            raise ValueError(f"scale and recent must be for {count} pictures, got {len(tops)} and {len(rows)}")
        small = []
        if "spotlight" in options.style:
            small.append(spotlight_layers_batch(density, options=options))
        if "heat" in options.style:
            small.append(heat_layers_batch(density, scale=torch.tensor(tops), options=options))
        marks = [
            marks_of(of_one, height=height, width=width, scale=top, options=options)
            for of_one, top in zip(rows, tops, strict=True)
        ]
        return cls(density, height, width, small, "contour" in options.style, marks)

    def parts(self) -> Iterator[slice]:
        """Pictures that are drawn at once."""
        at_once = max(1, PIXELS_AT_ONCE // (self.height * self.width))
        for first in range(0, len(self.density), at_once):
            yield slice(first, min(first + at_once, len(self.density)))

    def large(self, part: slice) -> Iterator[tuple[Tensor, Tensor]]:
        """The layers of some pictures, the lowest first: colours (b, H, W, 3) and alpha (b, H, W, 1)."""
        size = self.height, self.width
        for layer in self.small:
            # Half-pixel centres, as SaliencyBatch and OpenCV have them.
            large = F.interpolate(layer[part], size, mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
            yield large[..., :3], large[..., 3:]
        if self.has_lines:
            lines = contour_layers_batch(self.density[part], height=self.height, width=self.width)
            lines = lines.permute(0, 2, 3, 1)
            yield lines[..., :3], lines[..., 3:]


def _lay_over(flat: Tensor, colors: Tensor, alpha: Tensor) -> None:
    """Lays a layer over (..., 4) colours to 255 and straight alpha to 1, in place."""
    whole = alpha + flat[..., 3:] * (1 - alpha)
    flat[..., :3].lerp_(colors, torch.where(whole > 0, alpha / whole, 0))
    flat[..., 3:] = whole


class _Uploads:
    """Layers copied to a device, each once: the legend is the same for all pictures."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._there: dict[Layer, tuple[Tensor, Tensor]] = {}

    def of(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """Colours to 255 and alpha, float32."""
        if layer not in self._there:
            colors, alpha = (torch.from_numpy(np.ascontiguousarray(each)) for each in (layer.colors, layer.alpha))
            self._there[layer] = (
                colors.to(self._device, non_blocking=True).float(),
                alpha.to(self._device, non_blocking=True)[..., None],
            )
        return self._there[layer]
