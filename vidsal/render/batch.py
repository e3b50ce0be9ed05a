"""Pictures and densities on a device in, the pictures drawn over out; on that device, without waiting."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from vidsal.render.heat import RAMP
from vidsal.render.palette import device_palette
from vidsal.stages import RenderOptions

__all__ = ["PIXELS_AT_ONCE", "draw_batch", "overlay_batch", "rgba_batch"]

PIXELS_AT_ONCE = 2**24
"""Pixels that are drawn at once, with about 40 bytes of working memory each."""


def overlay_batch(pictures: Tensor, density: Tensor, *, scale: Tensor, options: RenderOptions | None = None) -> Tensor:
    """Draws densities over pictures as `overlay` does, all on the device where the pictures lie, without waiting.

    Differs from `overlay` by one level at most: OpenCV rounds the colours to whole levels between its steps, and
    interpolates them with eleven bits.

    Args:
        pictures: (B, H, W, 3) uint8 RGB; not changed.
        density: (B, h, w) float32, each sums to 1; any size, on the same device.
        scale: (B,) float, relative density (density times cells) of the hottest colour; on any device.
        options: as for `overlay`; None takes the defaults.

    Returns:
        A new (B, H, W, 3) uint8 tensor on the same device.

    Raises:
        ValueError: a shape or dtype is not as above.
    """
    options = options or RenderOptions()
    if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != torch.uint8:
        raise ValueError(f"pictures must be (B, H, W, 3) uint8, got {tuple(pictures.shape)} {pictures.dtype}")
    height, width = pictures.shape[1:3]
    drawn = torch.empty_like(pictures, memory_format=torch.contiguous_format)
    for part, large in _layers(density, len(pictures), height=height, width=width, scale=scale, options=options):
        drawn[part] = pictures[part].float().lerp(large[..., :3], large[..., 3:]).round_()
    return drawn


def rgba_batch(
    density: Tensor, *, height: int, width: int, scale: Tensor, options: RenderOptions | None = None
) -> Tensor:
    """What is drawn over any pictures: `flatten` of `layers_of` for a batch, on the device where the densities lie.

    Args:
        density: (B, h, w) float32, each sums to 1; any size.
        height: rows of the pictures.
        width: columns of them.
        scale: as for `overlay_batch`.
        options: as for `overlay`; None takes the defaults.

    Returns:
        (B, height, width, 4) uint8 RGBA with straight alpha on the same device.

    Raises:
        ValueError: a shape or dtype is not as above.
    """
    count = len(density)
    drawn = torch.empty((count, height, width, 4), dtype=torch.uint8, device=density.device)
    options = options or RenderOptions()
    for part, large in _layers(density, count, height=height, width=width, scale=scale, options=options):
        drawn[part, ..., :3] = large[..., :3].mul(large[..., 3:] > 0).round_().to(torch.uint8)
        drawn[part, ..., 3] = large[..., 3].mul(255).round_().to(torch.uint8)
    return drawn


def _layers(
    density: Tensor, count: int, *, height: int, width: int, scale: Tensor, options: RenderOptions
) -> Iterator[tuple[slice, Tensor]]:
    """Parts of a batch, and for each colours (0 to 255) and straight alpha (0 to 1), (b, height, width, 4) float32."""
    if density.ndim != 3 or len(density) != count or density.dtype != torch.float32:
        raise ValueError(f"density must be ({count}, h, w) float32, got {tuple(density.shape)} {density.dtype}")
    if scale.shape != (count,):
        raise ValueError(f"scale must be ({count},), got {tuple(scale.shape)}")
    # Divided before it is rounded to float32, as `overlay` does.
    factor = (density[0].numel() / scale).to(torch.float32).to(density.device, non_blocking=True)
    heat = (density * factor[:, None, None]).clamp(0, 1)  # (B, h, w)
    colors = device_palette(options.colormap, density.device)[(heat * 255).round().long()]  # (B, h, w, 3)
    ramp = ((heat - options.threshold) / min(RAMP, 1 - options.threshold)).clamp(0, 1)
    alpha = options.opacity * ramp * ramp * (3 - 2 * ramp)
    layers = torch.cat([colors, alpha[..., None]], dim=3).permute(0, 3, 1, 2)  # (B, 4, h, w)
    at_once = max(1, PIXELS_AT_ONCE // (height * width))
    for first in range(0, count, at_once):
        part = slice(first, first + at_once)
        # Half-pixel centres, as SaliencyBatch and OpenCV have them.
        large = F.interpolate(layers[part], (height, width), mode="bilinear", align_corners=False)
        yield part, large.permute(0, 2, 3, 1)


def draw_batch(pictures: Tensor, density: Tensor, *, scale: Tensor, options: RenderOptions) -> Tensor:
    """Draws what the options ask for: `overlay_batch`, with the untouched pictures to the left if `side_by_side`.

    Returns:
        A new (B, H, W, 3) uint8 tensor, or (B, H, 2W, 3) side by side.
    """
    drawn = overlay_batch(pictures, density, scale=scale, options=options)
    return torch.cat([pictures, drawn], dim=2) if options.side_by_side else drawn
