"""eDN: six networks of random filters, and a linear readout of what they see."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from vidsal.model.heads import log_of_relevance
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.parts import PictureNetwork
from vidsal.preprocess import blur_first_axis
from vidsal.stages import PreprocessOptions

__all__ = ["EDN"]

_Matrix = npt.NDArray[np.float64]

_SEED = 42
_EPSILON = 1e-4
_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
# The authors blur by 30 pixels of the pictures of MIT1003, whose longer side is 1024.
_BLUR = 30 / 1024
# Their least deviation of a feature, squared.
_LEAST_VARIANCE = 1e-16


@dataclass(frozen=True)
class _Norm:
    """Divisive normalisation over `size` x `size` cells and all channels."""

    size: int
    centred: bool
    threshold: float
    stretch: float


@dataclass(frozen=True)
class _Layer:
    """Random filters, clipped responses, a pool of stride 2, a normalisation."""

    filters: int
    size: int
    clip: tuple[float | None, float | None]
    pool: int
    power: Literal[1, 2, 10]
    norm: _Norm


@dataclass(frozen=True)
class _System:
    colours: Literal["rgb", "ycbcr"]
    first: _Norm
    layers: tuple[_Layer, ...]


_SYSTEMS = (
    _System(
        "rgb",
        _Norm(7, False, 1, 10),
        (
            _Layer(32, 3, (None, None), 3, 10, _Norm(7, False, 1, 1)),
            _Layer(16, 7, (None, 1), 5, 10, _Norm(9, False, 1, 10)),
            _Layer(128, 9, (0, None), 9, 10, _Norm(9, False, 0.1, 1)),
        ),
    ),
    _System(
        "ycbcr",
        _Norm(3, False, 10, 0.1),
        (
            _Layer(32, 5, (None, 1), 9, 10, _Norm(3, False, 10, 0.1)),
            _Layer(32, 7, (0, 1), 7, 10, _Norm(7, False, 10, 1)),
            _Layer(128, 5, (None, 1), 9, 1, _Norm(3, True, 10, 0.1)),
        ),
    ),
    _System(
        "ycbcr",
        _Norm(3, False, 10, 10),
        (
            _Layer(32, 5, (None, 1), 9, 10, _Norm(3, False, 10, 0.1)),
            _Layer(32, 7, (0, 1), 7, 10, _Norm(5, False, 10, 1)),
            _Layer(128, 5, (None, None), 9, 1, _Norm(5, True, 10, 0.1)),
        ),
    ),
    _System(
        "ycbcr",
        _Norm(7, False, 0.1, 0.1),
        (
            _Layer(16, 5, (None, None), 3, 2, _Norm(5, False, 1, 1)),
            _Layer(64, 9, (0, 1), 9, 10, _Norm(7, False, 1, 0.1)),
        ),
    ),
    _System(
        "rgb",
        _Norm(7, False, 1, 1),
        (
            _Layer(16, 3, (None, None), 7, 10, _Norm(7, True, 0.1, 1)),
            _Layer(64, 7, (0, None), 9, 10, _Norm(9, True, 0.1, 0.1)),
            _Layer(256, 7, (None, 1), 9, 2, _Norm(9, True, 10, 0.1)),
        ),
    ),
    _System(
        "rgb",
        _Norm(9, False, 10, 10),
        (
            _Layer(32, 9, (None, None), 7, 1, _Norm(5, False, 1, 0.1)),
            _Layer(32, 5, (0, None), 7, 10, _Norm(7, True, 10, 0.1)),
            _Layer(128, 7, (None, None), 9, 2, _Norm(7, False, 10, 0.1)),
        ),
    ),
)


class EDN(PictureNetwork):
    """Vig, Dorr and Cox, "Large-scale optimization of hierarchical features for saliency prediction in natural images",
    CVPR 2014.

    As in the authors' code and descriptions: six networks of normalisation, random filters (drawn anew for each layer,
    NumPy's RandomState(42)), clipping and pools, three of RGB and three of YCbCr, where the picture is stretched to
    0..255 as their conversion does it; 832 features and the distance to the centre, each minus its mean over its
    deviation; a linear readout of these 833; cubic splines, as SciPy's zoom, that enlarge its values. The density is
    the map, blurred, minus its minimum, over its sum.

    The filters are fixed. Trained are the 833 weights; means and deviations are gathered from the pictures of training.
    The authors train a support vector machine on fixated and other places, here any loss of `vidsal.losses` is taken.

    Different: a picture is made small with its longer side 512 at most, by area; theirs has longer and shorter side at
    512x384 on average, by cubic interpolation. They blur by 30 pixels of the full picture, here by 30/1024 of the
    longer side, which is the same in MIT1003. Cb and Cr are one level below theirs in one of 64 pixels.
    """

    preprocess = PreprocessOptions(
        height=512, width=512, divisor=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), fit="inside"
    )
    """RGB from 0 to 255; pictures of at most 512 pixels a side."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        features = 1
        for number, system in enumerate(_SYSTEMS, start=1):
            inputs = 3
            for depth, layer in enumerate(system.layers, start=1):
                drawn = _filters(config.channels(layer.filters), layer.size, inputs)
                # Known from the seed: not among the weights.
                self.register_buffer(f"filters{number}_{depth}", drawn, persistent=False)
                inputs = len(drawn)
            features += inputs
        self.whitening = nn.BatchNorm2d(features, eps=_LEAST_VARIANCE, momentum=None, affine=False)
        self.readout = nn.Conv2d(features, 1, 1, bias=False)

    def log_density(self, pictures: torch.Tensor) -> torch.Tensor:
        """See `PictureNetwork.log_density`."""
        return log_of_relevance(self.stages(pictures)["relevance"])

    def stages(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """From (N, 3, H, W) to the authors' map "relevance", (N, H, W), at least 0, with what is between.

        "features" is (N, 833, H / 8, W / 8) rounded up, the distance to the centre first; "decision" is what the
        readout makes of them.
        """
        height, width = pictures.shape[-2:]
        # Powers of ten, and differences of large sums: float32 under autocast too.
        with torch.autocast(pictures.device.type, enabled=False):
            with torch.no_grad():
                # One by one: responses take much more room than pictures. A graph has no number of them to go by.
                parts = (pictures,) if torch.compiler.is_compiling() else torch.split(pictures, 1)
                responses = torch.cat([torch.cat(self.systems(part.float()), 1) for part in parts])
                rows, columns = responses.shape[-2:]
                distance = torch.from_numpy(_centre_distance(height, width, rows, columns)).to(responses)
                features = torch.cat([distance.expand(pictures.shape[0], 1, -1, -1), responses], 1)
            decision = self.readout(self.whitening(features))[:, 0]
            sigma = _BLUR * max(height, width)
            blurred = _both_ways(decision, _enlarging(rows, height, sigma), _enlarging(columns, width, sigma))
            relevance = blurred - blurred.amin((-1, -2), keepdim=True)
        return {"features": features, "decision": decision, "blurred": blurred, "relevance": relevance}

    def systems(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """What the six networks see in (N, 3, H, W) RGB from 0 to 255: each (N, C, rows, columns), all at one size."""
        found: list[torch.Tensor] = []
        for number, system in enumerate(_SYSTEMS, start=1):
            x = pictures if system.colours == "rgb" else _ycbcr(pictures)
            x = _divided(x, system.first)
            for depth, layer in enumerate(system.layers, start=1):
                filters = self.get_buffer(f"filters{number}_{depth}")
                x = F.conv2d(x, filters, padding=layer.size // 2)
                low, high = layer.clip
                if low is not None or high is not None:
                    x = x.clamp(low, high)
                x = _divided(_pooled(x, layer.pool, layer.power), layer.norm)
            if found and x.shape[-2:] != found[0].shape[-2:]:
                (own_rows, own_columns), (rows, columns) = x.shape[-2:], found[0].shape[-2:]
                x = _both_ways(x, _spline(own_rows, rows), _spline(own_columns, columns))
            found.append(x)
        return found


def _filters(count: int, size: int, inputs: int) -> torch.Tensor:
    """(count, inputs, size, size): uniform numbers, each filter with a mean of 0 and a length of 1."""
    drawn = np.random.RandomState(_SEED).uniform(size=(count, size, size, inputs))
    drawn -= drawn.mean((1, 2, 3), keepdims=True)
    drawn /= np.sqrt((drawn**2).sum((1, 2, 3), keepdims=True))
    # From NumPy, not made by torch: has values on torch's device "meta", too.
    return torch.from_numpy(np.ascontiguousarray(drawn.transpose(0, 3, 1, 2), np.float32))


def _ycbcr(pictures: torch.Tensor) -> torch.Tensor:
    """JPEG's colours, whole numbers, of RGB that is stretched to 0..255; in 1/64, as Pillow's tables have them."""
    low, high = pictures.amin((1, 2, 3), keepdim=True), pictures.amax((1, 2, 3), keepdim=True)
    rgb = ((pictures - low) * (255 / (high - low).clamp_min(1e-6)) + 0.5).floor()
    luma, blue, red = ((64 * rgb * rgb.new_tensor(mix).view(3, 1, 1)) for mix in _YCBCR)
    colours = torch.stack((luma.round().sum(1), blue.trunc().sum(1), red.trunc().sum(1)), 1)
    return ((colours / 64).floor() + rgb.new_tensor((0, 128, 128)).view(3, 1, 1)).clamp(0, 255)


def _box_sum(x: torch.Tensor, size: int, stride: int = 1) -> torch.Tensor:
    """Sums over `size` x `size` cells, zeros around."""
    return F.avg_pool2d(x, size, stride, padding=size // 2) * size**2


def _divided(x: torch.Tensor, norm: _Norm) -> torch.Tensor:
    """Each response over the length of all responses around it, where that is above a threshold."""
    count = x.shape[1] * norm.size**2
    squares = _box_sum((x * x).sum(1, keepdim=True), norm.size)
    if norm.centred:
        total = _box_sum(x.sum(1, keepdim=True), norm.size)
        x = x - total / count
        squares = squares - total * total / count
    length = (squares.clamp_min(0).sqrt() + _EPSILON) * norm.stretch
    length = torch.where(length < norm.threshold + _EPSILON, 1, length)
    return x * norm.stretch / length


def _pooled(x: torch.Tensor, size: int, power: int) -> torch.Tensor:
    """The p-norm over `size` x `size` cells, every other row and column; for a power of 1 the sum."""
    if power == 1:
        return _box_sum(x, size, 2)
    # Of the picture's largest response: the tenth power of a hundred thousand is no float32.
    largest = x.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-20)
    return _box_sum((x / largest).pow(power), size, 2).pow(1 / power) * largest


@lru_cache(maxsize=8)
def _centre_distance(height: int, width: int, rows: int, columns: int) -> _Matrix:
    """(rows, columns): whole pixels to the middle over the largest number of them, made small."""
    y, x = (np.arange(size) - size // 2 for size in (height, width))
    distance = np.floor(np.hypot(y[:, None], x))
    distance /= max(distance.max(), 1)
    result: _Matrix = _spline(height, rows) @ distance @ _spline(width, columns).T
    return result


@lru_cache(maxsize=32)
def _spline(cells: int, size: int) -> _Matrix:
    """(size, cells): `size` values on the cubic spline through `cells` values, from the first to the last.

    As by SciPy's `ndimage.zoom`: what lies beyond the outermost cells is their mirror image.
    """
    if cells == 1:
        return np.ones((size, 1))
    # Value i is 1/6, 4/6 and 1/6 of the coefficients around it.
    values = np.eye(cells) * (4 / 6)
    for i in range(cells):
        for neighbour in (i - 1, i + 1):
            values[i, _mirrored(neighbour, cells)] += 1 / 6
    weights = np.zeros((size, cells))
    for row in range(size):
        position = row * (cells - 1) / max(size - 1, 1)
        first = int(position)
        for place in range(first - 1, first + 3):
            distance = abs(position - place)
            inner = 2 / 3 - distance**2 + distance**3 / 2
            weights[row, _mirrored(place, cells)] += inner if distance < 1 else max(2 - distance, 0) ** 3 / 6
    result: _Matrix = weights @ np.linalg.inv(values)
    return result


def _mirrored(place: int, cells: int) -> int:
    place = abs(place)
    return abs(cells - 1 - abs(cells - 1 - place))


@lru_cache(maxsize=32)
def _enlarging(cells: int, size: int, sigma: float) -> _Matrix:
    """(size, cells): the spline, then a Gaussian of so many of the `size` pixels."""
    return blur_first_axis(_spline(cells, size), sigma=sigma)


def _both_ways(x: torch.Tensor, down: _Matrix, across: _Matrix) -> torch.Tensor:
    """A matrix along the rows and another along the columns of (..., rows, columns)."""
    return torch.from_numpy(down).to(x) @ x @ torch.from_numpy(across).to(x).T
