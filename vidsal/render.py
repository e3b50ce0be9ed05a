"""Picture and density in, picture with the heat drawn over it out. Pure drawing: no input is ever written into.

`overlay` draws one array on the processor; `overlay_batch` draws the same over many pictures on the device where they
lie, and `to_yuv420` makes there what an encoder takes.

A map is shown on a *display scale*: its density relative to a uniform one (density times number of
cells), where `scale` is the hottest colour. A scale chosen anew for every frame would flicker and
make a vague map look as sure as a sharp one, so `ScalePerShot` holds one for a whole shot.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from vidsal.frames import SaliencyBatch
from vidsal.stages import Colormap, RenderOptions

__all__ = [
    "Colormap",
    "RenderOptions",
    "ScalePerShot",
    "draw",
    "draw_batch",
    "overlay",
    "overlay_batch",
    "side_by_side",
    "to_yuv420",
]

LEAST_SCALE = 6.0
"""Display scale, in multiples of uniform, below which `ScalePerShot` never goes: a flat map stays cool."""

RAMP = 0.3
"""Share of the display scale over which the heat fades in above the threshold."""

PIXELS_AT_ONCE = 2**24
"""Pixels that `overlay_batch` draws at once, with about 40 bytes of working memory each."""

_RGB = npt.NDArray[np.uint8]
_Pixels = TypeVar("_Pixels", np.uint8, np.uint16)
_Floats = npt.NDArray[np.float32]


class ScalePerShot:
    """Chooses the display scale at the first frame of each shot and holds it to the shot's end.

    Args:
        fixed: the scale of every frame; None chooses: the peak of the shot's first relative
            density (density times cells), at least `LEAST_SCALE`.
    """

    def __init__(self, fixed: float | None = None) -> None:
        self._fixed = fixed
        self._shot: int | None = None
        self._scale: float | Tensor = LEAST_SCALE

    def reset(self) -> None:
        """Forgets the shot; the next frame chooses anew."""
        self._shot = None

    def update(self, batch: SaliencyBatch) -> npt.NDArray[np.float64]:
        """Gives the display scale of each frame, (B,) float64; how frames are grouped changes nothing."""
        if self._fixed is not None:
            return np.full(len(batch), self._fixed)
        cells = batch.log_density.shape[1] * batch.log_density.shape[2]
        scales = np.empty(len(batch))
        for i, shot in enumerate(batch.shot.tolist()):
            if shot != self._shot:
                self._shot = shot
                self._scale = max(LEAST_SCALE, math.exp(float(batch.log_density[i].max())) * cells)
            scales[i] = float(self._scale)
        return scales

    def update_on_device(self, batch: SaliencyBatch) -> Tensor:
        """As `update`, without waiting for the device: (B,) float64 (float32 on MPS), where `batch.log_density` is."""
        log_density = batch.log_density
        device = log_density.device
        dtype = torch.float32 if device.type == "mps" else torch.float64
        if self._fixed is not None:
            return torch.full((len(batch),), self._fixed, dtype=dtype, device=device)
        cells = log_density.shape[1] * log_density.shape[2]
        peaks = (log_density.amax(dim=(1, 2)).to(dtype).exp() * cells).clamp_min(LEAST_SCALE)
        # Where each frame's scale stands: 0 is the scale held so far, row + 1 the peak of a row of this batch.
        places, place = [], 0
        for row, shot in enumerate(batch.shot.tolist()):
            if shot != self._shot:
                self._shot, place = shot, row + 1
            places.append(place)
        held = torch.as_tensor(self._scale, dtype=dtype).to(device, non_blocking=True).reshape(1)
        scales = torch.cat([held, peaks])[torch.tensor(places).to(device, non_blocking=True)]
        self._scale = scales[-1]
        return scales


def overlay(
    picture: npt.NDArray[_Pixels], density: _Floats, *, scale: float, options: RenderOptions | None = None
) -> npt.NDArray[_Pixels]:
    """Draws a density over a picture; cells that are cold on the display scale leave the picture as it is.

    The cells cover the picture evenly, as `SaliencyBatch` says. Colours and opacity are found at the
    density's size and interpolated to the picture's, which costs a fraction of the reverse order.

    Args:
        picture: (H, W, 3) uint8 or uint16 RGB, white 255 or 65535; not changed.
        density: (h, w) float32, sums to 1; any size.
        scale: relative density (density times cells) of the hottest colour.
        options: opacity, colour map and threshold; None takes the defaults. Its `scale` and `side_by_side`
            are not looked at.

    Returns:
        A new (H, W, 3) RGB array of the picture's type. In one of 16 bits the colours are not rounded to 8.

    Raises:
        ValueError: a shape or dtype is not as above.
    """
    options = options or RenderOptions()
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"picture must be (H, W, 3) uint8 or uint16, got {picture.shape} {picture.dtype}")
    if density.ndim != 2:
        raise ValueError(f"density must be (h, w), got {density.shape}")
    heat: _Floats = np.clip(density * np.float32(density.size / scale), 0, 1)  # on the display scale
    ramp = np.clip((heat - options.threshold) / min(RAMP, 1 - options.threshold), 0, 1)
    # A smooth step: the edge of the heat shows no line.
    alpha = (options.opacity * ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    size = (picture.shape[1], picture.shape[0])
    # OpenCV's linear interpolation puts cell centres where SaliencyBatch has them (half-pixel centres).
    if picture.dtype == np.uint16:
        return _blended_deep(picture, heat, alpha, options.colormap)
    painted = np.asarray(cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), _palette(options.colormap)), np.uint8)
    colors = cv2.resize(painted, size, interpolation=cv2.INTER_LINEAR)
    alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.blendLinear(np.ascontiguousarray(picture), colors, 1 - alpha, alpha), picture.dtype)


def _blended_deep(picture: npt.NDArray[Any], heat: _Floats, alpha: _Floats, colormap: Colormap) -> npt.NDArray[Any]:
    """The heat (h, w) over a picture of 16 bits; colours lie between those of the map, so that none shows a step."""
    size = (picture.shape[1], picture.shape[0])
    palette = _palette(colormap).reshape(256, 3).astype(np.float32) * 257
    levels = np.arange(256, dtype=np.float32)
    colors = np.stack([np.interp(heat * 255, levels, palette[:, channel]) for channel in range(3)], axis=2)
    large: npt.NDArray[Any] = cv2.resize(colors.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    share = cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)
    large -= picture
    large *= share[..., None]
    large += picture
    drawn: npt.NDArray[Any] = np.rint(large, out=large).astype(np.uint16)
    return drawn


def side_by_side(left: npt.NDArray[_Pixels], right: npt.NDArray[_Pixels]) -> npt.NDArray[_Pixels]:
    """Puts two (H, W, 3) pictures of one size beside each other: a new (H, 2W, 3) array."""
    if left.shape != right.shape:
        raise ValueError(f"pictures side by side must be of one size, got {left.shape} and {right.shape}")
    return np.concatenate([left, right], axis=1)


def draw(
    picture: npt.NDArray[_Pixels], density: _Floats, *, scale: float, options: RenderOptions
) -> npt.NDArray[_Pixels]:
    """Draws what the options ask for: `overlay`, with the untouched picture to its left if `side_by_side`.

    Returns:
        A new (H, W, 3) array of the picture's type, or (H, 2W, 3) side by side.
    """
    drawn = overlay(picture, density, scale=scale, options=options)
    return side_by_side(picture, drawn) if options.side_by_side else drawn


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
    count = len(pictures)
    if density.ndim != 3 or len(density) != count or density.dtype != torch.float32:
        raise ValueError(f"density must be ({count}, h, w) float32, got {tuple(density.shape)} {density.dtype}")
    if scale.shape != (count,):
        raise ValueError(f"scale must be ({count},), got {tuple(scale.shape)}")
    # Divided before it is rounded to float32, as `overlay` does.
    factor = (density[0].numel() / scale).to(torch.float32).to(density.device, non_blocking=True)
    heat = (density * factor[:, None, None]).clamp(0, 1)  # (B, h, w)
    colors = _device_palette(options.colormap, pictures.device)[(heat * 255).round().long()]  # (B, h, w, 3)
    ramp = ((heat - options.threshold) / min(RAMP, 1 - options.threshold)).clamp(0, 1)
    alpha = options.opacity * ramp * ramp * (3 - 2 * ramp)
    layers = torch.cat([colors, alpha[..., None]], dim=3).permute(0, 3, 1, 2)  # (B, 4, h, w)
    height, width = pictures.shape[1:3]
    drawn = torch.empty_like(pictures, memory_format=torch.contiguous_format)
    at_once = max(1, PIXELS_AT_ONCE // (height * width))
    for first in range(0, count, at_once):
        part = slice(first, first + at_once)
        # Half-pixel centres, as SaliencyBatch and OpenCV have them.
        large = F.interpolate(layers[part], (height, width), mode="bilinear", align_corners=False)
        large = large.permute(0, 2, 3, 1)  # (b, H, W, 4)
        drawn[part] = pictures[part].float().lerp(large[..., :3], large[..., 3:]).round_()
    return drawn


def draw_batch(pictures: Tensor, density: Tensor, *, scale: Tensor, options: RenderOptions) -> Tensor:
    """Draws what the options ask for: `overlay_batch`, with the untouched pictures to the left if `side_by_side`.

    Returns:
        A new (B, H, W, 3) uint8 tensor, or (B, H, 2W, 3) side by side.
    """
    drawn = overlay_batch(pictures, density, scale=scale, options=options)
    return torch.cat([pictures, drawn], dim=2) if options.side_by_side else drawn


def to_yuv420(pictures: Tensor, *, colorspace: int, full_range: bool = False) -> Tensor:
    """Converts RGB pictures to planar YUV 4:2:0 on the device where they lie, as FFmpeg's swscale does.

    Chroma lies in the middle of four pixels: pairs of columns are averaged, rows weighted 1, 3, 3, 1, edges repeated.
    Differs from swscale by one level at most, which rounds down the chroma of the full range.

    Args:
        pictures: (B, H, W, 3) uint8 RGB; H and W even.
        colorspace: FFmpeg's number of the matrix: 1 BT.709, 4 FCC, 5 or 6 BT.601, 7 SMPTE 240M, 9 BT.2020.
        full_range: True gives levels from 0 to 255, False from 16 to 235 (chroma 240).

    Returns:
        A new (B, 3 * H / 2, W) uint8 tensor, a picture's bytes in the order of FFmpeg's yuv420p: H rows of luma, then
        H / 2 x W / 2 values each of blue and of red difference. `av.VideoFrame.from_ndarray` takes each.

    Raises:
        ValueError: a shape or dtype is not as above, or the matrix is none of these.
    """
    if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != torch.uint8:
        raise ValueError(f"pictures must be (B, H, W, 3) uint8, got {tuple(pictures.shape)} {pictures.dtype}")
    count, height, width = pictures.shape[:3]
    if height % 2 or width % 2:
        raise ValueError(f"height and width must be even for 4:2:0, got {height}x{width}")
    if colorspace not in _LUMA_WEIGHTS:
        raise ValueError(f"colorspace must be one of {', '.join(map(str, _LUMA_WEIGHTS))}, got {colorspace}")
    red, blue = _LUMA_WEIGHTS[colorspace]
    green = 1 - red - blue
    least, luma, chroma = (0.0, 1.0, 1.0) if full_range else (16.0, 219 / 255, 224 / 255)
    rgb = pictures.float()
    planes = torch.empty((count, height * width * 3 // 2), dtype=torch.uint8, device=pictures.device)
    planes[:, : height * width].view(count, height, width).copy_(
        _weighted(rgb, luma * red, luma * green, luma * blue, least).round_()
    )
    pairs = (rgb[:, :, 0::2] + rgb[:, :, 1::2]) / 2  # (B, H, W / 2, 3)
    upper, lower = pairs[:, 0::2], pairs[:, 1::2]
    above = torch.cat([upper[:, :1], lower[:, :-1]], dim=1)
    below = torch.cat([upper[:, 1:], lower[:, -1:]], dim=1)
    quads = (3 * (upper + lower) + above + below) / 8  # (B, H / 2, W / 2, 3)
    small = planes[:, height * width :].view(count, 2, height // 2, width // 2)
    by_blue, by_red = chroma / (1 - blue) / 2, chroma / (1 - red) / 2
    blueness = _weighted(quads, -by_blue * red, -by_blue * green, chroma / 2, 128.0)
    redness = _weighted(quads, chroma / 2, -by_red * green, -by_red * blue, 128.0)
    for plane, values in enumerate((blueness, redness)):
        small[:, plane] = values.round_().clamp_(0, 255)  # the purest blue and red would be 255.5
    return planes.view(count, height * 3 // 2, width)


_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""Shares of red and blue in the luma of each matrix, under FFmpeg's number of it."""


def _weighted(rgb: Tensor, red: float, green: float, blue: float, offset: float) -> Tensor:
    """Sum of the weighted colours; no matrix product, which a GPU may round to ten bits (TF32)."""
    return (rgb[..., 0] * red + offset).add_(rgb[..., 1], alpha=green).add_(rgb[..., 2], alpha=blue)


@cache
def _device_palette(name: Colormap, device: torch.device) -> Tensor:
    """(256, 3) float32 RGB on a device, cold to hot."""
    return torch.from_numpy(_palette(name).reshape(256, 3).astype(np.float32)).to(device)


@cache
def _palette(name: str) -> _RGB:
    """(256, 1, 3) RGB, cold to hot, as `cv2.applyColorMap` wants one's own colours."""
    code = getattr(cv2, f"COLORMAP_{name.upper()}")
    # Two dimensions: OpenCV 5 takes one-dimensional arrays for rows, OpenCV 4 for columns.
    levels = np.arange(256, dtype=np.uint8).reshape(256, 1)
    palette = np.ascontiguousarray(np.asarray(cv2.applyColorMap(levels, code), np.uint8)[..., ::-1])
    palette.flags.writeable = False
    return palette
