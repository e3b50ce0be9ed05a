"""The other systems' networks: their sizes, their stages worked out in NumPy, training, checkpoints, the pipe."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import typing
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from made import make_stills
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_filter1d, zoom
from scipy.signal import correlate2d
from scipy.special import logsumexp
from torchvision_models import import_torchvision_models

from vidsal.cli import main
from vidsal.errors import CheckpointError, ConfigError
from vidsal.frames import FrameBatch
from vidsal.model.checkpoint import ModelCard, load_model, read_any_checkpoint, read_checkpoint, save_checkpoint
from vidsal.model.networks.catalogue import NETWORKS, build_network, describe, input_of, without_weights
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.deepfix import DeepFix
from vidsal.model.networks.deepgaze1 import AlexNet
from vidsal.model.networks.deepgaze2 import DeepGaze2
from vidsal.model.networks.dreyeve import Dreyeve
from vidsal.model.networks.dva import DVA
from vidsal.model.networks.edn import EDN, _ycbcr
from vidsal.model.networks.ml_net import MLNet
from vidsal.model.networks.parts import VGG, OtherNetwork, PictureNetwork
from vidsal.model.networks.salicon_net import SaliconNet
from vidsal.model.options import NetworkName, ReadoutBackbone, ReadoutUpsampler
from vidsal.model.recurrent import Unroll
from vidsal.model.state import Memory
from vidsal.pipe.options import PredictOptions
from vidsal.pipe.predict import predict
from vidsal.preprocess import PreprocessOptions
from vidsal.smooth.options import SmoothOptions
from vidsal.train import ScheduleOptions, TrainConfig, train

Array = npt.NDArray[np.float64]
THIN = 1 / 64
each = pytest.mark.parametrize("name", NETWORKS)
RECURRENT = ("rmdn", "dreyeve")


@pytest.fixture(autouse=True, scope="module")
def torchvision() -> typing.Any:
    """That it can be imported: readout-net takes its backbones from it."""
    return import_torchvision_models()


def thin(name: NetworkName, seed: int = 0) -> OtherNetwork:
    """With random weights, as large as a thin network needs for its map to depend visibly on the picture."""
    torch.manual_seed(seed)
    network = build_network(NetworkConfig(name, THIN)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2)
            elif parameter.ndim == 1:
                parameter.normal_(std=0.1)
        if isinstance(network, Dreyeve):
            for one in network.parameters():  # few channels, all of which may be below 0 for good
                if one.ndim == 1:
                    one.abs_()
        if isinstance(network, MLNet):
            network.out.weight.abs_()
            network.prior.normal_(std=0.3)
        if isinstance(network, DeepFix):
            network.out.weight.abs_()
        if isinstance(network, SaliconNet):
            network.out.weight.normal_()
        if isinstance(network, EDN):
            for name, value in network.whitening.named_buffers():
                if name.startswith("running"):
                    value.uniform_(0.5, 2)
    return network


# Sizes.

PARAMETERS = {
    "ml-net": 15_452_145,
    "salnet": 25_806_209,
    "salgan": 31_787_009,
    # torchvision's AlexNet without its classifier; a weight a channel; the width of the blur; the weight of the centre.
    "deepgaze-1": 2_469_696 + 256 + 2,
    # VGG-19's convolutions; the readout of 2560 to 16, 32, 2, 1; the width of the blur; the weight of the centre.
    "deepgaze-2": 20_024_384 + (2560 * 16 + 16) + (16 * 32 + 32) + (32 * 2 + 2) + (2 + 1) + 2,
    # Twice VGG-16's convolutions; a weight for each of both's channels, and a bias.
    "salicon-net": 2 * 14_714_688 + 1024 + 1,
    # VGG-16's convolutions; two blocks of 1x1; 1x1 and 3x3; 1x1 and 3x3 with holes; 1x1 after a pool; two convolutions
    # that see 16 maps more; 1x1.
    "deepfix": 14_714_688
    + 2 * (512 * (128 + 128 + 24 + 64) + 9 * (128 * 256 + 24 * 64) + (128 + 128 + 256 + 24 + 64 + 64))
    + 2 * (9 * (512 + 16) * 512 + 512)
    + 513,
    "dva": 25_072_735,
    # VGG-16's convolutions for both paths; transposed convolutions to 128, 64 and 32; 1x1.
    "readout-net": 14_714_688 + (1024 * 16 * 128 + 128) + (128 * 16 * 64 + 64) + (64 * 16 * 32 + 32) + (32 + 1),
    # The weights of 832 features and of the centre: filters are drawn from a seed, means and deviations counted.
    "edn": 833,
    # C3D up to conv 5b, the LSTM of 81,920 features, the numbers of 20 Gaussians.
    "rmdn": 27_655_936 + 42_009_088 + 15_480,
    # Two branches of the published three, since the third needs a segmentation model.
    "dreyeve": 2 * 13_515_395,
}


@each
def test_a_network_has_as_many_parameters_as_the_published_files(name: NetworkName) -> None:
    network = without_weights(NetworkConfig(name))
    assert all(parameter.is_meta for parameter in network.parameters())
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


def test_the_names_are_those_of_the_literal_and_each_says_whose_it_is() -> None:
    assert tuple(NETWORKS) == typing.get_args(NetworkName)
    for name in NETWORKS:
        assert "20" in describe(name).splitlines()[0] + describe(name).splitlines()[1]


# The contract.


@each
@torch.inference_mode()
def test_maps_are_densities_whatever_calls_frames_come_in(name: NetworkName) -> None:
    network = thin(name)
    frames = torch.randn(2, 3, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 2
    whole, state = network(frames)
    assert whole.shape == (2, 3, 64, 96) and whole.dtype == torch.float32
    torch.testing.assert_close(whole.exp().sum((2, 3)), torch.ones(2, 3))
    assert isinstance(network, PictureNetwork) != (name in RECURRENT)
    if isinstance(network, PictureNetwork):
        assert isinstance(state, Memory) and state.kept.shape == (2, 0)
        torch.testing.assert_close(network(frames[:, 2:])[0].exp(), whole[:, 2:].exp(), rtol=1e-4, atol=1e-9)
    first, state = network(frames[:, :1])
    rest, _ = network(frames[:, 1:], state)
    torch.testing.assert_close(torch.cat([first, rest], 1).exp(), whole.exp(), rtol=1e-4, atol=1e-9)
    assert not torch.allclose(whole[0, 0], whole[0, 1], atol=1e-4)


@each
def test_what_does_not_fit_is_refused(name: NetworkName) -> None:
    network = thin(name)
    with pytest.raises(ValueError, match="frames must be"):
        network(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="2 videos of 1 frames"):
        network(torch.zeros(2, 1, 3, 64, 64), unroll=Unroll.of([[True]], fresh_steps=1))
    if network.stride > 1:
        with pytest.raises(ValueError, match="multiples of"):
            network(torch.zeros(1, 1, 3, 64, 65))


# Stages, worked out again in NumPy and SciPy.


def convolved(x: Array, layer: torch.nn.Module, *, padding: int, stride: int = 1, dilation: int = 1) -> Array:
    """(c, h, w) by correlation, zeros around it."""
    weight: Array = layer.weight.detach().double().numpy()  # type: ignore[operator]
    bias = np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().double().numpy()  # type: ignore[operator]
    if dilation > 1:
        spread = np.zeros((*weight.shape[:2], *(dilation * (side - 1) + 1 for side in weight.shape[2:])))
        spread[..., ::dilation, ::dilation] = weight
        weight = spread
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    sums = [sum(correlate2d(one, kernel, "valid") for one, kernel in zip(padded, row, strict=True)) for row in weight]
    result: Array = np.stack(sums)[:, ::stride, ::stride] + bias[:, None, None]
    return result


def pooled(x: Array, rule: str) -> Array:
    """2x2 maxima: "floor" and "ceil" as torch says it, "theano2" and "theano1" shifted by one to the top and left.

    "around": of the 3x3 cells around each.
    """
    if rule == "around":
        return maxima(np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf), 3, 1)
    stride = 1 if rule == "theano1" else 2
    start = -1 if rule.startswith("theano") else 0
    rows, columns = x.shape[1:]
    count = [n if stride == 1 else (-(-n // 2) if rule == "ceil" else n // 2) for n in (rows, columns)]
    result = np.full((len(x), *count), -np.inf)
    for i in range(count[0]):
        for j in range(count[1]):
            top, left = stride * i + start, stride * j + start
            window = x[:, max(top, 0) : top + 2, max(left, 0) : left + 2]
            result[:, i, j] = window.max(axis=(1, 2))
    return result


def vgg_stages(x: Array, backbone: VGG, rules: tuple[str, ...], last_dilation: int = 1) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for number, block in enumerate(backbone.blocks, start=1):
        hole = last_dilation if number == 5 else 1
        for place, layer in enumerate(block.children(), start=1):
            found[f"conv{number}_{place}"] = convolved(x, layer, padding=hole, dilation=hole)
            x = found[f"relu{number}_{place}"] = np.maximum(found[f"conv{number}_{place}"], 0)
        if number <= len(rules):
            x = found[f"pool{number}"] = pooled(x, rules[number - 1])
    return found


def ml_net_stages(
    x: Array, network: typing.Any, rules: tuple[str, ...] = ("theano2",) * 3 + ("theano1",)
) -> dict[str, Array]:
    found = vgg_stages(x, network.backbone, rules)
    found["joined"] = np.concatenate([found["pool3"], found["pool4"], found["relu5_3"]])
    found["reduced"] = np.maximum(convolved(found["joined"], network.reduce, padding=1), 0)
    found["plain"] = np.maximum(convolved(found["reduced"], network.out, padding=0), 0)[0]
    # Cell i lies on 10 i + 4; straight lines between, the edge goes on.
    prior = network.prior.detach().double().numpy()
    at = [(np.arange(size) - 4) / 10 for size in found["plain"].shape]
    down = np.stack([np.interp(at[0], np.arange(6), column) for column in prior.T], 1)
    found["prior"] = np.stack([np.interp(at[1], np.arange(8), row) for row in down])
    found["relevance"] = np.maximum(found["plain"] * (1 + found["prior"]), 0)
    return found


def salgan_stages(x: Array, network: typing.Any) -> dict[str, Array]:
    found = vgg_stages(x, network.backbone, ("floor",) * 4)
    x = found["relu5_3"]
    for number, block in enumerate(network.decoder, start=1):
        for layer in block.children():
            x = np.maximum(convolved(x, layer, padding=1), 0)
        found[f"decoder{number}"] = x
        if number < 5:
            x = x.repeat(2, axis=1).repeat(2, axis=2)
    found["logits"] = convolved(x, network.out, padding=0)
    return found


def nearest(x: Array, rows: int, columns: int) -> Array:
    """Index floor(i n / size) of each axis."""
    return x[:, np.arange(rows) * x.shape[1] // rows][:, :, np.arange(columns) * x.shape[2] // columns]


def deepgaze2_stages(x: Array, network: typing.Any) -> dict[str, Array]:
    height, width = x.shape[1:]
    found = vgg_stages(x[:, ::2, ::2], network.backbone, ("ceil",) * 4)
    names = ("conv5_1", "relu5_1", "relu5_2", "conv5_3", "relu5_4")
    cells = -(-height // 32), -(-width // 32)
    x = found["features"] = np.concatenate([nearest(found[name], *cells) for name in names])
    for layer in network.readout[:-1]:
        x = np.maximum(convolved(x, layer, padding=0), 0)
    found["readout"] = convolved(x, network.readout[-1], padding=0)
    half = -(-height // 2), -(-width // 2)
    blurred = nearest(found["readout"], *half)
    sigma = network.sigma.item()
    for axis in (1, 2):
        blurred = gaussian_filter1d(blurred, sigma, axis=axis, mode="nearest", radius=int(np.ceil(3 * sigma)))
    found["blurred"] = blurred
    own = own_centre(network, height, width)
    found["biased"] = blurred + network.centre_weight.item() * (
        gaussian_centre(*half) if own is None else own[::2, ::2]
    )
    return found


def own_centre(network: typing.Any, rows: int, columns: int) -> Array | None:
    """The log density that the network holds, brought to a picture as its authors do it; None where it holds none."""
    if network.centre_log_density is None:
        return None
    held = network.centre_log_density.double().numpy()
    scaled = zoom(held, (rows / held.shape[0], columns / held.shape[1]), order=0, mode="nearest")
    assert scaled.shape == (rows, columns)
    result: Array = scaled - logsumexp(scaled)
    return result


def gaussian_centre(rows: int, columns: int) -> Array:
    """The log of Clarke and Tatler's density."""
    x_of = (np.arange(columns) + 0.5) * 2 / columns - 1
    y_of = ((np.arange(rows) + 0.5) * 2 / rows - 1) * rows / columns
    bias = -(y_of[:, None] ** 2) / (2 * 0.22 * 0.45) - x_of**2 / (2 * 0.22)
    result: Array = bias - np.log(np.exp(bias).sum())
    return result


def maxima(x: Array, size: int, stride: int) -> Array:
    """Of windows of `size` x `size` that lie in the picture."""
    return sliding_window_view(x, (size, size), axis=(1, 2)).max((3, 4))[:, ::stride, ::stride]  # type: ignore[no-any-return]


def deepgaze1_stages(x: Array, network: typing.Any) -> dict[str, Array]:
    height, width = x.shape[1:]
    layers = [layer for layer in network.backbone.features if isinstance(layer, torch.nn.Conv2d)]
    x = np.maximum(convolved(x[:, ::2, ::2], layers[0], padding=2, stride=4), 0)
    x = np.maximum(convolved(maxima(x, 3, 2), layers[1], padding=2), 0)
    x = np.maximum(convolved(maxima(x, 3, 2), layers[2], padding=1), 0)
    x = np.maximum(convolved(x, layers[3], padding=1), 0)
    found = {"conv5": convolved(x, layers[4], padding=1)}
    found["features"] = nearest(found["conv5"], -(-height // 8), -(-width // 8))
    weights = network.readout.weight.detach().double().numpy()[0, :, 0, 0]
    found["readout"] = np.tensordot(weights, found["features"], 1)[None]
    sigma, smooth = network.sigma.item(), nearest(found["readout"], height // 4, width // 4)
    for axis in (1, 2):
        smooth = gaussian_filter1d(smooth, sigma, axis=axis, mode="nearest", radius=int(np.ceil(3 * sigma)))
    found["blurred"] = smooth
    own = own_centre(network, height, width)
    centre = gaussian_centre(height, width) if own is None else own
    found["biased"] = smooth + network.centre_weight.item() * centre[::4, ::4]
    return found


def deepfix_stages(x: Array, network: typing.Any) -> dict[str, Array]:
    found = vgg_stages(x, network.backbone, ("floor", "floor", "floor", "around"), last_dilation=2)
    x = found["relu5_3"]
    for number, block in enumerate(network.parallel, start=1):
        near = np.maximum(convolved(x, block.reduce_near, padding=0), 0)
        far = np.maximum(convolved(x, block.reduce_far, padding=0), 0)
        branches = [
            convolved(x, block.plain, padding=0),
            convolved(near, block.near, padding=1),
            convolved(far, block.far, padding=2, dilation=2),
            convolved(pooled(x, "around"), block.pooled, padding=0),
        ]
        x = found[f"parallel{number}"] = np.maximum(np.concatenate(branches), 0)
    rows, columns = x.shape[1:]
    place_y, place_x = np.mgrid[:rows, :columns] + 0.5
    maps = [
        np.exp(-((place_y / rows - 0.5) ** 2) / (2 * high**2) - (place_x / columns - 0.5) ** 2 / (2 * wide**2))
        for high in (0.0625, 0.125, 0.25, 0.5)
        for wide in (0.0625, 0.125, 0.25, 0.5)
    ]
    for number, layer in enumerate(network.biased, start=1):
        x = np.maximum(convolved(np.concatenate([x, maps]), layer.convolution, padding=6, dilation=6), 0)
        found[f"biased{number}"] = x
    found["map"] = convolved(x, network.out, padding=0)
    return found


def between_corners(x: Array, rows: int, columns: int) -> Array:
    """Straight lines from the first to the last cell."""
    for axis, size in ((1, rows), (2, columns)):
        at, cells = np.linspace(0, x.shape[axis] - 1, size), np.arange(x.shape[axis])
        x = np.apply_along_axis(lambda line, at=at, cells=cells: np.interp(at, cells, line), axis, x)
    return x


def salicon_stages(x: Array, network: typing.Any) -> dict[str, Array]:
    halved = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean((2, 4))
    found: dict[str, Array] = {}
    for name, seen in (("coarse", halved), ("fine", x)):
        stages = vgg_stages(seen, network.backbone[name], ("ceil",) * 5)
        found |= {f"{name}.{stage}": value for stage, value in stages.items()}
    fine = found["fine.pool5"]
    found["joined"] = np.concatenate([between_corners(found["coarse.pool5"], *fine.shape[1:]), fine])
    found["logits"] = convolved(found["joined"], network.out, padding=0)
    return found


def transposed(x: Array, layer: torch.nn.Module) -> Array:
    """(c, h, w) by a 4x4 transposed convolution of stride 2: each cell lays its kernel down."""
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()  # type: ignore[operator]
    result = np.zeros((weight.shape[1], 2 * x.shape[1] + 2, 2 * x.shape[2] + 2))
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            result[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.tensordot(x[:, i, j], weight, 1)
    return result + bias[:, None, None]


def dva_stages(x: Array, network: typing.Any, begins: tuple[int, ...] = (48, 40, 36)) -> dict[str, Array]:
    height, width = x.shape[1:]
    found = vgg_stages(np.pad(x, ((0, 0), (34, 34), (34, 34))), network.backbone, ("ceil",) * 4)
    for number, (name, begin) in enumerate(zip(("relu5_3", "relu4_3", "relu3_3"), begins, strict=True)):
        x = found[name]
        for layer in network.ups[number]:
            x = np.maximum(transposed(x, layer), 0)
        x = convolved(x, network.outs[number], padding=0)
        found[f"branch{number + 1}"] = x[:, begin : begin + height, begin : begin + width]
    joined = np.concatenate([found[f"branch{number}"] for number in (1, 2, 3)])
    found["logits"] = convolved(joined, network.fusion, padding=1)
    return found


def between_centres(x: Array, rows: int, columns: int) -> Array:
    """Straight lines between the middles of cells; the outermost go on."""
    for axis, size in ((1, rows), (2, columns)):
        cells = np.arange(x.shape[axis])
        at = (np.arange(size) + 0.5) * len(cells) / size - 0.5
        x = np.apply_along_axis(lambda line, at=at, cells=cells: np.interp(at, cells, line), axis, x)
    return x


def readout_stages(x: Array, network: typing.Any) -> dict[str, Array]:
    def seen(x: Array) -> Array:
        for layer in network.backbone.features:
            if isinstance(layer, torch.nn.Conv2d):
                x = np.maximum(convolved(x, layer, padding=1), 0)
            elif isinstance(layer, torch.nn.MaxPool2d):
                x = pooled(x, "floor")
        return x

    found = {"fine": seen(x), "coarse": seen(between_centres(x, x.shape[1] // 2, x.shape[2] // 2))}
    fine = found["fine"]
    x = found["joined"] = np.concatenate([fine, between_centres(found["coarse"], *fine.shape[1:])])
    for number, level in enumerate(network.levels, start=1):
        x = found[f"level{number}"] = np.maximum(transposed(x, level[0])[:, 2:-2, 2:-2], 0)
    x = found["map"] = convolved(x, network.out, padding=0)
    x = np.where(x > 0, x, 0.01 * x)
    found["relevance"] = x - x.min()
    return found


# Colours, first normalisation | filters, size, least and most / size and power of the pool / normalisation | ...
# A normalisation: size, whether the mean is taken off, threshold, stretch.
EDN_SYSTEMS = """
rgb 7,F,1,10   | 32,3,-,- / 3,10 / 7,F,1,1   | 16,7,-,1 / 5,10 / 9,F,1,10  | 128,9,0,- / 9,10 / 9,F,.1,1
yuv 3,F,10,.1  | 32,5,-,1 / 9,10 / 3,F,10,.1 | 32,7,0,1 / 7,10 / 7,F,10,1  | 128,5,-,1 / 9,1 / 3,T,10,.1
yuv 3,F,10,10  | 32,5,-,1 / 9,10 / 3,F,10,.1 | 32,7,0,1 / 7,10 / 5,F,10,1  | 128,5,-,- / 9,1 / 5,T,10,.1
yuv 7,F,.1,.1  | 16,5,-,- / 3,2 / 5,F,1,1    | 64,9,0,1 / 9,10 / 7,F,1,.1
rgb 7,F,1,1    | 16,3,-,- / 7,10 / 7,T,.1,1  | 64,7,0,- / 9,10 / 9,T,.1,.1 | 256,7,-,1 / 9,2 / 9,T,10,.1
rgb 9,F,10,10  | 32,9,-,- / 7,1 / 5,F,1,.1   | 32,5,0,- / 7,10 / 7,T,10,.1 | 128,7,-,- / 9,2 / 7,F,10,.1
"""


def windows(x: Array, size: int) -> Array:
    """(c, h, w, size, size): what lies around each cell, zeros beyond the border."""
    half = size // 2
    return sliding_window_view(np.pad(x, ((0, 0), (half, half), (half, half))), (size, size), axis=(1, 2))


def edn_normalised(x: Array, description: str) -> Array:
    size, centred, threshold, stretch = description.split(",")
    around = windows(x, int(size))
    count = len(x) * int(size) ** 2
    total, squares = around.sum((0, 3, 4)), (around**2).sum((0, 3, 4))
    if centred == "T":
        x = x - total / count
        squares = np.maximum(squares - total**2 / count, 0)
    length = (np.sqrt(squares) + 1e-4) * float(stretch)
    length[length < float(threshold) + 1e-4] = 1
    return x * float(stretch) / length


def edn_system(x: Array, description: str, width: float) -> Array:
    first, *layers = description.split("|")
    colours, norm = first.split()
    if colours == "yuv":
        x = np.floor((x - x.min()) * 255 / (x.max() - x.min()) + 0.5)
        red, green, blue = 64 * x
        luma = np.round(0.299 * red) + np.round(0.587 * green) + np.round(0.114 * blue)
        cb = np.trunc(-0.168736 * red) + np.trunc(-0.331264 * green) + np.trunc(0.5 * blue)
        cr = np.trunc(0.5 * red) + np.trunc(-0.418688 * green) + np.trunc(-0.081312 * blue)
        x = np.clip(np.floor(np.stack([luma, cb, cr]) / 64) + np.array([0, 128, 128])[:, None, None], 0, 255)
    x = edn_normalised(x, norm)
    for layer in layers:
        filtering, pooling, norm = layer.split("/")
        published, size, low, high = filtering.strip().split(",")
        count = max(1, round(int(published) * width))
        filters = np.random.RandomState(42).uniform(size=(count, int(size), int(size), len(x)))
        for one in filters:
            one -= one.mean()
            one /= np.linalg.norm(one)
        x = np.einsum("chwij,nijc->nhw", windows(x, int(size)), filters)
        x = np.clip(x, -np.inf if low == "-" else float(low), np.inf if high == "-" else float(high))
        size, power = map(int, pooling.split(","))
        x = ((windows(x, size) ** power).sum((3, 4)) ** (1 / power))[:, ::2, ::2]
        x = edn_normalised(x, norm.strip())
    return x


def zoomed(x: Array, rows: int, columns: int) -> Array:
    """By SciPy, which rounds sizes down."""
    return zoom(x, (rows * (1 + 1e-5) / x.shape[0], columns * (1 + 1e-5) / x.shape[1]))  # type: ignore[no-any-return]


def edn_stages(x: Array, network: typing.Any) -> dict[str, Array]:
    height, width = x.shape[1:]
    systems = [edn_system(x, line, network.config.width) for line in EDN_SYSTEMS.strip().splitlines()]
    rows, columns = systems[0].shape[1:]
    y, z = np.mgrid[:height, :width]
    distance = np.floor(np.sqrt((y - height // 2) ** 2 + (z - width // 2) ** 2))
    maps = [distance / distance.max(), *(one for system in systems for one in system)]
    features = np.stack([one if one.shape == (rows, columns) else zoomed(one, rows, columns) for one in maps])
    found = {"features": features}
    mean, variance = (getattr(network.whitening, f"running_{name}").double().numpy() for name in ("mean", "var"))
    whitened = (features - mean[:, None, None]) / np.sqrt(variance)[:, None, None]
    found["decision"] = np.tensordot(network.readout.weight.detach().double().numpy()[0, :, 0, 0], whitened, 1)
    found["blurred"] = gaussian_filter(zoomed(found["decision"], height, width), 30 / 1024 * max(height, width))
    found["relevance"] = found["blurred"] - found["blurred"].min()
    return found


REFERENCES = {
    "ml-net": ml_net_stages,
    "salgan": salgan_stages,
    "deepgaze-1": deepgaze1_stages,
    "deepgaze-2": deepgaze2_stages,
    "salicon-net": salicon_stages,
    "deepfix": deepfix_stages,
    "dva": dva_stages,
    "readout-net": readout_stages,
    "edn": edn_stages,
}


def differing(found: dict[str, Array], network: OtherNetwork, pixels: torch.Tensor) -> list[str]:
    """Stages that are further off than 1e-4 of their own largest value, in order."""
    with torch.inference_mode():
        stages: dict[str, torch.Tensor] = network.stages(pixels)  # type: ignore[operator]
    assert list(found) == [name for name in stages if name in found] and len(stages) == len(found)
    wrong = []
    for name, expected in found.items():
        own = stages[name].double().numpy().reshape(expected.shape)
        if np.abs(own - expected).max() > 1e-4 * max(np.abs(expected).max(), 1e-6):
            wrong.append(name)
    return wrong


def pixels(name: str = "") -> torch.Tensor:
    rows, columns = {"deepgaze-1": (144, 208), "readout-net": (96, 160)}.get(name, (48, 80))
    return torch.randn(1, 3, rows, columns, generator=torch.Generator().manual_seed(2)) * 3


@pytest.mark.parametrize("name", REFERENCES)
def test_every_stage_is_that_of_the_description(name: NetworkName) -> None:
    network, given = thin(name), pixels(name)
    found = REFERENCES[name](given[0].double().numpy(), network)
    assert differing(found, network, given) == []
    last = list(found.values())[-1]
    assert last.std() > 1e-3 * max(abs(last.mean()), 1e-6), "a map of nothing would agree with anything"
    with torch.inference_mode():
        log_density = network(given[None])[0][0, 0].double().numpy()
    if name in ("salgan", "dva"):
        density = 1 / (1 + np.exp(-found["logits"][0]))
    elif name.startswith("deepgaze"):
        density = np.exp(nearest(last, *given.shape[2:])[0])
    else:
        return
    np.testing.assert_allclose(np.exp(log_density), density / density.sum(), rtol=1e-3)


def test_deliberate_errors_are_seen_where_they_are_made() -> None:
    network, x = thin("ml-net"), pixels()[0].double().numpy()
    # Pools that are not shifted, as everybody's but Theano's.
    plain = ml_net_stages(x, network, ("floor", "theano2", "theano2", "theano1"))
    assert differing(plain, network, pixels())[0] == "pool1"
    # A pool 4 of stride 2 has another size; kernels that are turned, as Theano stores them, show at once.
    turned = thin("ml-net")
    with torch.no_grad():
        turned.backbone.convolutions[3].weight.copy_(network.backbone.convolutions[3].weight.flip(2, 3))  # type: ignore[union-attr, operator, index]
    assert differing(ml_net_stages(x, network), turned, pixels())[0] == "conv2_2"
    # The prior as a factor by itself.
    bare = thin("ml-net")
    with torch.no_grad():
        bare.prior.sub_(1)  # type: ignore[operator]
    assert differing(ml_net_stages(x, network), bare, pixels()) == ["prior", "relevance"]
    # Channels in the other order.
    assert differing(salgan_stages(x[::-1], thin("salgan")), thin("salgan"), pixels())[0] == "conv1_1"
    # The coarse features after the fine ones.
    swapped = thin("salicon-net")
    with torch.no_grad():
        swapped.out.weight.copy_(swapped.out.weight.roll(swapped.config.channels(512), 1))  # type: ignore[union-attr, operator]
    assert differing(salicon_stages(x, thin("salicon-net")), swapped, pixels()) == ["logits"]
    # A map that is cut one cell off.
    assert differing(dva_stages(x, thin("dva"), (48, 41, 36)), thin("dva"), pixels()) == ["branch2", "logits"]


def test_in_training_a_network_is_shown_no_bars_where_it_never_sees_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = torch.randn(2, 2, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    inside = torch.ones(2, 2, 64, 96, dtype=torch.bool)
    inside[0, :, :, :16] = inside[0, :, :, -8:] = False
    inside[1, 1, :13] = inside[1, 1, -3:] = False
    for name in NETWORKS:
        network = thin(name)
        if not isinstance(network, PictureNetwork) or network.preprocess.fit != "inside":
            continue
        maps, _, parts = network.rehearse(frames, inside=inside)
        assert parts == () and maps.requires_grad
        # A rectangle that does not fall on whole strides keeps the bar that fills them.
        top, bottom = (13, 61) if network.cells == 1 else (13 // network.stride * network.stride, 64)
        alone = [frames[0, :, :, :, 16:-8], frames[1, :1], frames[1, 1:, :, top:bottom]]
        shown = [maps[0, :, :, 16:-8], maps[1, :1], maps[1, 1:, top:bottom]]
        for one, own in zip(alone, shown, strict=True):
            torch.testing.assert_close(own, network.log_density(one), msg=name)
        assert not torch.allclose(network.rehearse(frames)[0][0, :, :, 16:-8], shown[0], atol=1e-3), name
    # The trainer says where the picture is to these networks, and to no others.
    seen: dict[str, list[bool]] = {}
    make_stills(tmp_path / "stills")
    rehearse = PictureNetwork.rehearse

    def watched(self: PictureNetwork, *given: typing.Any, **more: typing.Any) -> typing.Any:
        seen.setdefault(self.config.network, []).append(more["inside"] is not None)
        return rehearse(self, *given, **more)

    monkeypatch.setattr(PictureNetwork, "rehearse", watched)
    for name in ("salnet", "ml-net"):
        schedule = ScheduleOptions(passes=1, frames_per_step=4, clip_lengths={1: 1.0}, average_decay=0)
        common = {"datasets": (tmp_path / "stills",), "width": THIN, "schedule": schedule, "device": "cpu"}
        config = TrainConfig(output=tmp_path / name, preset=name, preprocess=canvas_of(name), **common)
        train(config, stop_after_steps=1)
    assert set(seen["salnet"]) == {True} and set(seen["ml-net"]) == {False}


@pytest.mark.parametrize("name", ["deepgaze-1", "deepgaze-2"])
@torch.inference_mode()
def test_deepgaze_is_its_centre_bias_without_a_readout_and_knows_no_height(name: NetworkName) -> None:
    network, given = typing.cast(typing.Any, thin(name)), pixels(name)
    height, width = given.shape[2:]
    before = network(given[None])[0]
    if isinstance(network, DeepGaze2):
        network.readout[-1].bias.add_(5)
    else:
        # A constant added to every feature is one added to the readout.
        network.backbone.features[-1].bias.add_(5)
    torch.testing.assert_close(network(given[None])[0], before, rtol=1e-4, atol=1e-4)
    for parameter in network.readout.parameters():
        parameter.zero_()
    without = network(given[None])[0][0, 0]
    cells = 4 if name == "deepgaze-1" else 2
    bias = torch.from_numpy(gaussian_centre(height, width) if cells == 4 else gaussian_centre(height // 2, width // 2))
    bias = bias[::4, ::4] if cells == 4 else bias
    weighted = (network.centre_weight.item() * bias).repeat_interleave(cells, 0).repeat_interleave(cells, 1)
    torch.testing.assert_close(without, weighted.flatten().log_softmax(0).view(height, width).float())
    network.centre_weight.zero_()
    uniform = torch.full((1, 1, height, width), 1 / (height * width))
    torch.testing.assert_close(network(given[None])[0].exp(), uniform)


@torch.inference_mode()
def test_deepgaze_1_sees_the_smallest_picture_as_one_cell() -> None:
    network = typing.cast(typing.Any, thin("deepgaze-1"))
    stages = network.stages(pixels()[..., :4, :16])
    assert stages["conv5"].shape[2:] == (1, 1) and stages["biased"].shape[2:] == (1, 4)
    # From two cells of the halved picture on, of AlexNet's 16 pixels, it is seen as it is.
    assert network.stages(pixels("deepgaze-1")[..., :96, :64])["conv5"].shape[2:] == (2, 1)


@torch.inference_mode()
def test_the_readouts_of_readout_net_are_what_they_are_called() -> None:
    def made(upsampler: ReadoutUpsampler) -> typing.Any:
        torch.manual_seed(0)
        return build_network(NetworkConfig("readout-net", 1 / 16, upsampler=upsampler)).eval()

    given = pixels("readout-net")
    sizes = {
        name: {stage: tuple(x.shape[2:]) for stage, x in made(name).stages(given).items()}
        for name in typing.get_args(ReadoutUpsampler)
    }
    assert {one["fine"] for one in sizes.values()} == {(3, 5)} and {one["coarse"] for one in sizes.values()} == {(1, 2)}
    # 2 h - 2 rows of h.
    assert [sizes["deconvolution"][f"level{n}"] for n in (1, 2, 3)] == [(4, 8), (6, 14), (10, 26)]
    assert [sizes["subpixel"][f"level{n}"] for n in (1, 2, 3)] == [(6, 10), (12, 20), (24, 40)]
    assert sizes["bilinear"]["map"] == sizes["nearest"]["map"] == (24, 40) and "level1" not in sizes["bilinear"]
    # One convolution of one cell and an enlargement that is a weighted mean of cells: in either order.
    network = made("bilinear")
    stages = network.stages(given)
    large = torch.nn.functional.interpolate(stages["joined"], scale_factor=8, mode="bilinear", align_corners=False)
    torch.testing.assert_close(network.out(large), stages["map"])
    for name in ("bilinear", "nearest", "subpixel"):
        network = made(name)
        for level in network.levels:
            level[1].weight.abs_()  # of so few channels none should be silent
        density = network(given[None])[0][0, 0].exp()
        torch.testing.assert_close(density.sum(), torch.tensor(1.0))
        assert density.std() > 1e-3 * density.mean()


# Parameters of the whole classifier as its authors count them, those of its last layer, stride.
CLASSIFIERS = {
    "vgg16": (138_357_544, 123_642_856, 32),
    "resnet50": (25_557_032, 2048 * 1000 + 1000, 32),
    "densenet161": (28_681_000, 2208 * 1000 + 1000, 16),
    "dpn131": (79_254_504, 2688 * 1000 + 1000, 16),
}


@pytest.mark.parametrize("backbone", typing.get_args(ReadoutBackbone))
def test_a_backbone_of_readout_net_is_the_classifier_of_that_name(backbone: ReadoutBackbone) -> None:
    if backbone == "dpn131":
        pytest.importorskip("timm", reason="dpn131 is timm's")
    whole, last, stride = CLASSIFIERS[backbone]
    network = typing.cast(typing.Any, without_weights(NetworkConfig("readout-net", backbone=backbone)))
    assert sum(parameter.numel() for parameter in network.backbone.parameters()) == whole - last
    features = network.backbone(torch.zeros(1, 3, 256, 320, device="meta"))
    # The pool of DenseNet that has lost its stride, not its size, leaves a row and a column less.
    less = 1 if backbone == "densenet161" else 0
    assert features.shape == (1, network.backbone.outputs, 256 // stride - less, 320 // stride - less)


def test_weights_of_a_classifier_go_into_the_backbone_by_name(torchvision: typing.Any) -> None:
    theirs = torchvision.resnet50(weights=None).eval()
    # Without values of its own: all that it has comes from theirs.
    network = typing.cast(typing.Any, without_weights(NetworkConfig("readout-net", backbone="resnet50"))).eval()
    network.to_empty(device="cpu").load_imagenet(theirs.state_dict())
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = network.backbone(x)
        torch.testing.assert_close(theirs.fc(features.mean((2, 3))), theirs(x))
    with pytest.raises(CheckpointError, match=r"conv1\.weight .*found nothing: give torchvision's resnet50"):
        network.load_imagenet({})
    # Names of the files from before torchvision 0.3.
    thinner = typing.cast(
        typing.Any, build_network(NetworkConfig("readout-net", 1 / 48, backbone="densenet161", upsampler="bilinear"))
    )
    weights = {f"features.{key}": value + 1 for key, value in thinner.backbone.features.state_dict().items()}
    old = {key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): one for key, one in weights.items()}
    assert old.keys() != weights.keys()
    thinner.load_imagenet(old)
    assert all(torch.equal(thinner.backbone.state_dict()[key], value) for key, value in weights.items())


def test_a_backbone_that_cannot_be_had_is_refused_by_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"needs timm, .*pip install 'vidsal\[dpn\]'"):
        build_network(NetworkConfig("readout-net", backbone="dpn131"))
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(
        ConfigError, match=rf"needs torchvision \(the release that fits torch {re.escape(torch.__version__)}"
    ):
        build_network(NetworkConfig("readout-net", backbone="resnet50"))


def test_choices_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for says, options in {
        "backbone is for readout-net; salgan has no choice": {"network": "salgan", "backbone": "vgg16"},
        "upsampler is for readout-net": {"network": "salgan", "upsampler": "nearest"},
        "width must be 1 with resnet50": {"network": "readout-net", "width": 0.5, "backbone": "resnet50"},
    }.items():
        with pytest.raises(ConfigError, match=says):
            NetworkConfig(**options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="multiple of 64 channels of two paths, these have 16"):
        build_network(NetworkConfig("readout-net", THIN, upsampler="subpixel"))
    make_stills(tmp_path / "set")
    with pytest.raises(ConfigError, match="readout_upsampler is for the preset readout-net, not for salgan"):
        train(
            TrainConfig(
                output=tmp_path / "run", datasets=(tmp_path / "set",), preset="salgan", readout_upsampler="nearest"
            )
        )


def test_a_checkpoint_knows_backbone_and_upsampler_and_older_ones_know_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = NetworkConfig("readout-net", 1 / 48, backbone="densenet161", upsampler="nearest")
    path = tmp_path / "readout.safetensors"
    save_checkpoint(path, build_network(config), preprocess=input_of("readout-net"), card=ModelCard(name="mine"))
    assert read_any_checkpoint(path)[0].config == config
    assert main(["models", str(path)]) == 0
    assert "readout-net, densenet161, nearest, 0.0208333 of the published channels" in capsys.readouterr().out
    save_checkpoint(path, thin("dva"), preprocess=input_of("dva"), card=ModelCard(name="mine"))
    content = path.read_bytes()
    # As written before there was a choice.
    cut = content.replace(b', \\"backbone\\": null, \\"upsampler\\": null', b"")
    assert len(cut) < len(content)
    length = int.from_bytes(content[:8], "little") - (len(content) - len(cut))
    path.write_bytes(length.to_bytes(8, "little") + cut[8:])
    assert read_any_checkpoint(path)[0].config == NetworkConfig("dva", THIN)


@torch.inference_mode()
def test_deepfix_knows_where_in_the_picture_it_is_by_its_gaussians_alone() -> None:
    network = typing.cast(typing.Any, thin("deepfix"))
    picture = torch.randn(1, 3, 16, 640, generator=torch.Generator().manual_seed(3)) * 50
    # Far from both ends: farther than the network sees, 34 cells.
    inner = slice(36, 44)

    def moves_along() -> bool:
        here, there = (network.stages(one)["map"][0, 0] for one in (picture, picture.roll(8, 3)))
        assert here[:, inner].std() > 1e-3 * here[:, inner].abs().mean()
        return torch.allclose(there[:, inner], here[:, 35:43], rtol=1e-4, atol=1e-6 * float(here.abs().max()))

    assert not moves_along()
    for layer in network.biased:
        layer.convolution.weight[:, -16:] = 0
    assert moves_along()


def test_the_maps_of_dva_are_cut_where_caffe_says_that_the_picture_lies() -> None:
    # Caffe's rule: cell i of a layer's output has its middle over stride * i + (kernel - 1) / 2 - pad of its input, for
    # a transposed convolution the other way round. So each map's cell o lies over pixel o - begin of the picture.
    for pools, begin in ((4, 48), (3, 40), (2, 36)):
        scale, shift = Fraction(1), Fraction(0)  # of the picture's pixel, as a function of the cell
        layers = [(3, 1, 35), *[(2, 2, 0)] * pools]
        for kernel, stride, pad in layers:
            shift += scale * (Fraction(kernel - 1, 2) - pad)
            scale *= stride
        for _ in range(pools):
            scale /= 2
            shift -= scale * Fraction(4 - 1, 2)
        shift += scale * Fraction(3 - 1, 2)
        assert (scale, shift) == (1, -begin)


@torch.inference_mode()
def test_the_maps_of_dva_lie_over_the_picture() -> None:
    network = typing.cast(DVA, thin("dva"))
    for name, parameter in network.named_parameters():
        parameter.zero_()
        if name.endswith("weight"):
            # Convolutions hand on, transposed ones spread evenly.
            if ".ups." in f".{name}":
                parameter.fill_(1)
            else:
                parameter[:, :, 1, 1] = 1
    # A dot in each of 16 rows, as many as a cell of block 5 is high.
    pictures = torch.zeros(16, 3, 96, 64)
    for place in range(16):
        pictures[place, :, 40 + place, 32] = 1
    stages = network.stages(pictures)
    for number in (1, 2, 3):
        rows = stages[f"branch{number}"].sum((1, 3)).double()
        assert (rows[:, 0] == 0).all() and (rows[:, -1] == 0).all()
        middle = (rows * torch.arange(96)).sum(1) / rows.sum(1)
        assert float(middle.mean()) == pytest.approx(47.5)


def test_only_the_readout_of_edn_is_trained_and_filters_are_not_in_its_checkpoints() -> None:
    network = build_network(NetworkConfig("edn", THIN))
    assert [name for name, _ in network.named_parameters()] == ["readout.weight"]
    assert not any(name.startswith("filters") for name in network.state_dict())
    # Weights are assigned to this one: filters have to be there before.
    empty = without_weights(NetworkConfig("edn", THIN))
    assert torch.equal(empty.get_buffer("filters6_3"), network.get_buffer("filters6_3"))
    network.train()
    density, _ = network(pixels()[None] * 20 + 128)
    density[0, 0, 10, 10].backward()
    assert network.get_parameter("readout.weight").grad is not None
    assert int(network.get_buffer("whitening.num_batches_tracked")) == 1


def test_colours_of_edn_are_those_of_pillow() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    rgb[0, 0], rgb[0, 1] = 0, 255
    expected = np.asarray(Image.fromarray(rgb).convert("YCbCr")).astype(int)
    pictures = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    own = _ycbcr(pictures)[0].permute(1, 2, 0).int().numpy()
    np.testing.assert_array_equal(own[..., 0], expected[..., 0])
    assert set(np.unique(expected - own)) <= {0, 1} and (own != expected).mean() < 0.02
    # Their conversion stretches colours first, so that a fainter picture is the same.
    torch.testing.assert_close(_ycbcr(pictures / 4 + 50), _ycbcr(pictures))


@torch.inference_mode()
def test_a_picture_of_one_colour_has_a_finite_map() -> None:
    network = thin("edn")
    for colour in (0.0, 255.0):
        density, _ = network(torch.full((1, 1, 3, 48, 64), colour))
        torch.testing.assert_close(density.exp().sum(), torch.tensor(1.0))


# Training, checkpoints, the pipe.


def canvas_of(name: NetworkName) -> PreprocessOptions:
    return dataclasses.replace(input_of(name), height=64 if name == "dreyeve" else 48, width=64)


@each
def test_a_network_is_trained_saved_and_run_like_any_other(
    name: NetworkName, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_stills(tmp_path / "set")
    config = TrainConfig(
        output=tmp_path / "run",
        datasets=(tmp_path / "set",),
        preset=name,
        width=THIN,
        preprocess=canvas_of(name),
        schedule=ScheduleOptions(passes=1, frames_per_step=4, clip_lengths={1: 0.5, 2: 0.5}, average_decay=0),
        weights_dtype="fp32",
        device="cpu",
    )
    notes: list[str] = []
    assert train(config, stop_after_steps=1, on_progress=lambda progress: notes.extend(progress.notes)).suffix == ".pt"
    assert any("begins at random" in note for note in notes)
    assert any("maps are hardly more than the centre bias" in note for note in notes) == name.startswith("deepgaze")
    path = train(config)
    network, preprocess, card = read_any_checkpoint(path)
    assert network.config == NetworkConfig(name, THIN) and preprocess == canvas_of(name)
    assert json.loads(card.training)["preset"] == name and "set" in card.scores

    torch.manual_seed(config.seed)
    begun = build_network(NetworkConfig(name, THIN)).state_dict()
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, begun[key])}
    frozen = {
        "salgan": ("backbone.blocks.0", "backbone.blocks.1", "backbone.blocks.2"),
        "salicon-net": tuple(f"backbone.{stream}.blocks.{n}" for stream in ("coarse", "fine") for n in (0, 1)),
        **dict.fromkeys(("deepgaze-1", "deepgaze-2"), ("backbone.",)),
    }
    assert moved and not any(key.startswith(frozen.get(name, ("none",))) for key in moved)
    if name == "salgan":
        assert any(key.startswith("backbone.blocks.4") for key in moved)
    if name == "salicon-net":
        assert {"backbone.coarse.blocks.4.2.weight", "backbone.fine.blocks.2.0.weight"} <= moved

    model = load_model(path, device="cpu")
    frames = np.random.default_rng(0).integers(0, 256, (3, 60, 80, 3), dtype=np.uint8)
    clip = FrameBatch(index=np.arange(3), pts_seconds=np.arange(3) / 25, frames=frames, height=60, width=80)
    unsmoothed = PredictOptions(smooth=SmoothOptions(smoothing="none"))
    whole = torch.cat([result.density for result in predict([clip], model, unsmoothed)])
    parts = torch.cat([result.density for result in predict([clip[:1], clip[1:]], model, unsmoothed)])
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(whole.sum((1, 2)), torch.ones(3))

    assert main(["models", str(path)]) == 0
    assert f"{name}, 0.015625 of the published channels" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match="not of SAM's family"):
        read_checkpoint(path)


@each
def test_without_weights_a_network_says_how_to_get_some(name: NetworkName, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckpointError, match=f"vidsal train --preset {name}"):
        load_model(name, device="cpu")
    assert main(["models", name]) == 0
    assert f"vidsal train --preset {name}" in capsys.readouterr().out


def test_options_of_another_family_are_refused(tmp_path: Path) -> None:
    make_stills(tmp_path / "set")
    common = {"output": tmp_path / "run", "datasets": (tmp_path / "set",), "device": "cpu"}
    with pytest.raises(ConfigError, match="width is for the presets ml-net"):
        train(TrainConfig(**common, width=0.5))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="salnet has no backbone"):
        thin("salnet").load_imagenet({})


def test_imagenet_weights_go_into_the_convolutions_in_order() -> None:
    network, other = thin("salgan"), thin("salgan", seed=1)
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # of torchvision's vgg16
    state: dict[str, torch.Tensor] = {}
    for place, layer in zip(places, other.backbone.convolutions, strict=True):  # type: ignore[union-attr, arg-type]
        state |= {f"features.{place}.weight": layer.weight, f"features.{place}.bias": layer.bias}
    network.load_imagenet({**state, "classifier.0.weight": torch.zeros(3)})
    with torch.inference_mode():
        got, wanted = (one.stages(pixels())["relu5_3"] for one in (network, other))  # type: ignore[operator]
    torch.testing.assert_close(got, wanted)
    with pytest.raises(CheckpointError, match=r"13 convolutions in features\., VGG-19 has 16"):
        thin("deepgaze-2").load_imagenet(state)
    state["features.5.weight"] = state["features.5.weight"][:1]
    with pytest.raises(CheckpointError, match=r"features\.5\.weight"):
        network.load_imagenet(state)


def test_imagenet_weights_go_into_both_streams() -> None:
    network, other = thin("salicon-net"), thin("salgan", seed=1)
    state: dict[str, torch.Tensor] = {}
    for place, layer in enumerate(other.backbone.convolutions):  # type: ignore[union-attr, arg-type]
        state |= {f"features.{place}.weight": layer.weight, f"features.{place}.bias": layer.bias}
    network.load_imagenet(state)
    for stream in ("coarse", "fine"):
        own = network.get_submodule(f"backbone.{stream}").state_dict()
        assert all(torch.equal(value, other.backbone.state_dict()[key]) for key, value in own.items())  # type: ignore[union-attr, operator]


@torch.inference_mode()
def test_salicon_net_begins_with_an_even_map_and_does_not_keep_all_of_vgg() -> None:
    network = build_network(NetworkConfig("salicon-net", THIN)).eval()
    even = torch.full((1, 1, 48, 80), 1 / (48 * 80))
    torch.testing.assert_close(network(pixels()[None])[0].exp(), even)
    kept = network.backbone["fine"](pixels(), ("pool5",))  # type: ignore[index, operator]
    assert list(kept) == ["pool5"]


def test_imagenet_weights_of_alexnet_go_into_the_convolutions_by_name() -> None:
    network, other = thin("deepgaze-1"), thin("deepgaze-1", seed=1)
    state = {name.removeprefix("backbone."): value for name, value in other.state_dict().items()}
    network.load_imagenet({**state, "classifier.1.weight": torch.zeros(3)})
    assert torch.equal(network.get_parameter("backbone.features.10.weight"), state["features.10.weight"])
    assert torch.equal(network.get_parameter("backbone.features.0.bias"), state["features.0.bias"])
    del state["features.3.bias"]
    with pytest.raises(CheckpointError, match=r"features\.3\.bias .* found nothing: give torchvision's alexnet"):
        network.load_imagenet(state)


def test_alexnet_is_torchvisions() -> None:
    with torch.device("meta"):
        theirs = import_torchvision_models().alexnet(weights=None).features[:11]
        own = AlexNet(NetworkConfig("deepgaze-1"))
    assert [str(layer).replace("inplace=True", "") for layer in theirs] == [str(layer) for layer in own.features]
