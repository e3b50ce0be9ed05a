"""Features in, their 3x3 convolution out, on a CPU with fewer multiplications than the direct sum.

Winograd's F(2x2, 3x3): four outputs of a 4x4 tile take 16 multiplications a pair of channels instead of 36, and they
become 16 matrix products, which a CPU does at its full rate. Rounding stays near that of the direct sum (larger tiles
would save more and lose digits). Dilated kernels work on the interleaved sub-grids. In bfloat16 only the products are;
the transforms before and after them are float32.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.1.
"""

from __future__ import annotations

import math
import threading

import torch
from torch import nn

__all__ = ["WinogradKernel", "Workspace", "suits_winograd"]

_TILE = 2
_POINTS = 16
# Below this many channels the transforms cost more than the multiplications saved.
_LEAST_CHANNELS = 256
# Pictures are taken in groups of at most about so many tiles: more no longer speeds up the products.
_MOST_TILES = 640
# Pairs of channels whose taps are transformed together.
_PAIRS_AT_ONCE = 1 << 15


def suits_winograd(convolution: nn.Conv2d) -> bool:
    """Whether a convolution is one that `WinogradKernel` computes, and is wide enough for it to pay."""
    dilation = convolution.dilation
    return (
        convolution.kernel_size == (3, 3)
        and convolution.stride == (1, 1)
        and convolution.groups == 1
        and convolution.padding == dilation
        and dilation[0] == dilation[1]
        and convolution.padding_mode == "zeros"
        and min(convolution.in_channels, convolution.out_channels) >= _LEAST_CHANNELS
    )


class Workspace:
    """Buffers that are made once and used again, each thread its own."""

    def __init__(self) -> None:
        self._local = threading.local()

    def get(self, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """A buffer of `shape`, its content undefined; the next call with this name and type may overwrite it."""
        name = f"{name}-{dtype}"
        buffers: dict[str, torch.Tensor] = self._local.__dict__
        size = math.prod(shape)
        buffer = buffers.get(name)
        if buffer is None or buffer.numel() < size:
            buffer = buffers[name] = torch.empty(size, dtype=dtype)
        return buffer[:size].view(shape)


class WinogradKernel:
    """A 3x3 kernel in the transformed domain."""

    def __init__(
        self, weight: torch.Tensor, *, dilation: int = 1, workspace: Workspace, dtype: torch.dtype = torch.float32
    ) -> None:
        """Transform a kernel.

        Args:
            weight: (O, I, 3, 3) float32, on the CPU.
            dtype: what the products are computed in: float32 or bfloat16.
            dilation: of the kernel; the padding equals it.
            workspace: where buffers come from; may be shared by all kernels.
        """
        rows = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
        transform = torch.kron(rows, rows)  # (16, 9)
        outputs, inputs = weight.shape[:2]
        taps = weight.permute(2, 3, 1, 0).reshape(9, inputs * outputs)
        points = torch.empty(_POINTS, inputs * outputs, dtype=dtype)
        # Part by part: in float64 the whole would not fit into a cache.
        parts = zip(torch.split(taps, _PAIRS_AT_ONCE, 1), torch.split(points, _PAIRS_AT_ONCE, 1), strict=True)
        for part, target in parts:
            target.copy_(transform @ part.double())
        self.points = points.view(_POINTS, inputs, outputs)
        self.dtype = dtype
        self.outputs = outputs
        self.dilation = dilation
        self.workspace = workspace
        rows = torch.tensor([[1, 1, 1, 0], [0, 1, -1, -1]], dtype=torch.float32)
        self._inverse = torch.kron(rows, rows)  # (4, 16)

    def __call__(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Convolve (N, I, H, W) with 'same' padding; returns (N, O, H, W) in channels-last order."""
        count, _, height, width = x.shape
        result = torch.empty((count, self.outputs, height, width), dtype=x.dtype, memory_format=torch.channels_last)
        tiles = self.dilation**2 * _grid(height, self.dilation) * _grid(width, self.dilation)
        group = max(1, _MOST_TILES // tiles)
        for first in range(0, count, group):
            part = x[first : first + group]
            product = self.multiply(self.transform(part, "input"), "product")
            self.restore(product, bias, out=result[first : first + group])
        return result

    def transform(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """The tiles of (N, I, H, W) in the transformed domain: (16, N * tiles, I), in the buffer `name`."""
        count, channels, height, width = x.shape
        d = self.dilation
        rows, columns = _grid(height, d), _grid(width, d)
        high, wide = 2 * rows + 2, 2 * columns + 2
        # One row and column of zeros around each of the d * d interleaved sub-grids.
        padded = self.workspace.get(f"{name}-padded", count, high, d, wide, d, channels)
        padded.zero_()
        flat = padded.view(count, high * d, wide * d, channels)
        flat[:, d : d + height, d : d + width] = x.permute(0, 2, 3, 1)
        grids = padded.permute(0, 2, 4, 1, 3, 5)  # (N, d, d, high, wide, I)
        half = self.workspace.get(f"{name}-half", 4, count, d, d, rows, wide, channels)
        _differences([grids[:, :, :, a : a + 2 * rows - 1 : 2] for a in range(4)], list(half))
        tiles = self.workspace.get(name, 4, 4, count, d, d, rows, columns, channels)
        _differences([half[..., a : a + 2 * columns - 1 : 2, :] for a in range(4)], list(tiles.unbind(1)))
        tiles = tiles.view(_POINTS, -1, channels)
        if self.dtype == torch.float32:
            return tiles
        return self.workspace.get(name, *tiles.shape, dtype=self.dtype).copy_(tiles)

    def multiply(self, tiles: torch.Tensor, name: str, *, add: torch.Tensor | None = None) -> torch.Tensor:
        """The kernel's products with (16, N * tiles, I): (16, N * tiles, O) in the buffer `name`, `add` added."""
        product = self.workspace.get(name, _POINTS, tiles.shape[1], self.outputs, dtype=self.dtype)
        if add is None:
            return torch.bmm(tiles, self.points, out=product)
        return torch.baddbmm(add, tiles, self.points, out=product)

    def restored(self, product: torch.Tensor, bias: torch.Tensor | None, *, like: torch.Tensor) -> torch.Tensor:
        """As `restore`, to a new (N, O, H, W) float32 tensor; N, H and W are those of `like`."""
        shape = (like.shape[0], self.outputs, *like.shape[2:])
        out = torch.empty(shape, memory_format=torch.channels_last)
        self.restore(product, bias, out=out)
        return out

    def restore(self, product: torch.Tensor, bias: torch.Tensor | None, *, out: torch.Tensor) -> None:
        """Bring (16, N * tiles, O) back to (N, O, H, W), written to `out`, with the bias added."""
        count, outputs, height, width = out.shape
        d = self.dilation
        rows, columns = _grid(height, d), _grid(width, d)
        cells = self.workspace.get("cells", _TILE, _TILE, count, d, d, rows, columns, outputs)
        if product.dtype != torch.float32:
            product = self.workspace.get("product", *product.shape).copy_(product)
        torch.mm(self._inverse, product.reshape(_POINTS, -1), out=cells.view(4, -1))
        # (N, row of tiles, row in tile, row of sub-grid, the same for columns, O) is the picture, row by row.
        picture = cells.permute(2, 5, 0, 3, 6, 1, 4, 7)
        target = out.permute(0, 2, 3, 1)  # (N, H, W, O)
        if (height, width) == (2 * rows * d, 2 * columns * d) and target.is_contiguous():
            target = target.view(picture.shape)
        else:
            picture = picture.reshape(count, 2 * rows * d, 2 * columns * d, outputs)[:, :height, :width]
        if bias is None:
            target.copy_(picture)
        else:
            torch.add(picture, bias, out=target)


def _grid(side: int, dilation: int) -> int:
    """Tiles that cover one side of each interleaved sub-grid."""
    return -(-side // (_TILE * dilation))


def _differences(x: list[torch.Tensor], out: list[torch.Tensor]) -> None:
    torch.sub(x[0], x[2], out=out[0])
    torch.add(x[1], x[2], out=out[1])
    torch.sub(x[2], x[1], out=out[2])
    torch.sub(x[1], x[3], out=out[3])
