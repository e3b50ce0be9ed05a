"""A picture and arrays in the layout of the published weight files in, every stage of SAM out: an independent judge.

SAM-ResNet and SAM-VGG in NumPy and SciPy, float64, written from a description of what the authors' code computes and
from nothing of `vidsal`. Arrays are used as the files hold them: kernels are (out, in, rows, columns) and are truly
convolved, so flipped, as Theano does it. Nothing here is made quick at the expense of being plain.

A network is the dict that a file would hold: layer name -> arrays in the file's order. The stages of `run`:

    input                   (3, H, W) letter-boxed, BGR, means taken off
    conv1, stage 2..5       SAM-ResNet's backbone; block 1..5 (before the pool) and pool 1..4 of SAM-VGG's
    features                X, (512, H/8, W/8)
    H after step 1..4       (512, H/8, W/8)
    priors 1, 2             (16, H/8, W/8)
    prior convolution 1, 2  (512, H/8, W/8), after the ReLU
    output                  (H/8, W/8), after the ReLU
    relevance               (2 H, 2 W), the enlarged output
    final map               the size of the picture, 0 to 255
"""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import scipy.ndimage
import scipy.special

Array = npt.NDArray[np.floating]
Layers = dict[str, list[Array]]
NetworkName = Literal["sam-resnet", "sam-vgg"]

MEANS = (103.939, 116.779, 123.68)  # of B, G, R
STEPS = 4
CHANNELS = 512
GAUSSIANS = 16
EPSILON = 1e-7  # Keras
NORM_EPSILON = 1e-5
SUMS: type[np.floating] = np.float64
"""What convolutions are summed in."""
RESNET_STAGES = ((2, 64, "abc"), (3, 128, "abcd"), (4, 256, "abcdef"), (5, 512, "abc"))
RESNET_DILATIONS = {2: 1, 3: 1, 4: 2, 5: 4}
VGG_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
# AttentiveConvLSTM: the order of its convolutions in a file, each W and b, V_a without b.
RECURRENT_ORDER = ("W_a", "U_a", "V_a", "W_i", "U_i", "W_f", "U_f", "W_c", "U_c", "W_o", "U_o")


# The layers of a file, with random numbers.


def backbone_convolutions(network: NetworkName) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the kernel of every convolution with a fixed name."""
    kernels: dict[str, tuple[int, ...]] = {}
    if network == "sam-vgg":
        inputs = 3
        for block, (outputs, count) in enumerate(VGG_BLOCKS, 1):
            for index in range(1, count + 1):
                kernels[f"block{block}_conv{index}"] = (outputs, inputs, 3, 3)
                inputs = outputs
        return kernels
    kernels["conv1"] = (64, 3, 7, 7)
    inputs = 64
    for stage, width, letters in RESNET_STAGES:
        for letter in letters:
            kernels[f"res{stage}{letter}_branch2a"] = (width, inputs, 1, 1)
            kernels[f"res{stage}{letter}_branch2b"] = (width, width, 3, 3)
            kernels[f"res{stage}{letter}_branch2c"] = (4 * width, width, 1, 1)
            if letter == "a":
                kernels[f"res{stage}a_branch1"] = (4 * width, inputs, 1, 1)
            inputs = 4 * width
    return kernels


def norm_name(convolution: str) -> str:
    """bn_conv1 for conv1, bn2a_branch2a for res2a_branch2a."""
    return "bn_conv1" if convolution == "conv1" else convolution.replace("res", "bn")


def random_layers(network: NetworkName, *, seed: int = 0, first_counter: int = 1) -> Layers:
    """All layers with weights, drawn so that no activation vanishes or explodes and every part matters.

    V_a is not zero, priors lie within and beyond their bounds, running variances are not one, no bias is zero.

    Args:
        network: which one.
        seed: of the random numbers.
        first_counter: where the counters in the names of layers begin; files differ in it.
    """
    random = np.random.default_rng(seed)

    def normal(shape: tuple[int, ...], deviation: float) -> Array:
        return random.standard_normal(shape, np.float32) * np.float32(deviation)

    def uniform(count: int, low: float, high: float) -> Array:
        return random.uniform(low, high, count).astype(np.float32)

    def convolution(shape: tuple[int, ...], gain: float = 1.0, bias: float = 0.2) -> list[Array]:
        # Keeps the size of what a ReLU made, times the gain.
        deviation = gain * math.sqrt(2 / (shape[1] * shape[2] * shape[3]))
        return [normal(shape, deviation), normal(shape[:1], bias)]

    layers: Layers = {}
    for name, shape in backbone_convolutions(network).items():
        # The first layer sees values of about a hundred.
        layers[name] = convolution(shape, gain=1 / 70 if shape[1] == 3 else 1.0)
        if network == "sam-resnet":
            # The sums of a branch and its shortcut should not grow from block to block.
            low, high = (0.2, 0.5) if name.endswith("branch2c") else (0.7, 1.3)
            outputs = shape[0]
            layers[norm_name(name)] = [
                uniform(outputs, low, high),
                normal((outputs,), 0.2),
                normal((outputs,), 0.3),
                uniform(outputs, 0.5, 2.0),
            ]
    number = first_counter
    if network == "sam-resnet":
        layers[f"convolution2d_{number}"] = convolution((CHANNELS, 2048, 3, 3))
        number += 1
    recurrent: list[Array] = []
    square = (CHANNELS, CHANNELS, 3, 3)
    gains = {"W_a": 1.5, "U_a": 0.5, "V_a": 3.0, "W": 4.0, "U": 1.5}
    for name in RECURRENT_ORDER:
        gain = gains[name if name in gains else name[0]]
        recurrent += convolution((1, *square[1:]) if name == "V_a" else square, gain)[: 1 if name == "V_a" else 2]
    layers[f"attentiveconvlstm_{first_counter}"] = recurrent
    for index in range(2):
        bounds = ((0.1, 0.9), (0.2, 0.8), (0.02, 1.0), (0.1, 0.9))
        layers[f"learningprior_{first_counter + index}"] = [
            np.concatenate([uniform(GAUSSIANS, low, high) for low, high in bounds])
        ]
        layers[f"atrousconvolution2d_{first_counter + index}"] = convolution((CHANNELS, CHANNELS + GAUSSIANS, 5, 5))
    layers[f"convolution2d_{number}"] = convolution((1, CHANNELS, 1, 1))
    return layers


def by_type(layers: Layers, kind: str) -> list[list[Array]]:
    """The layers with counters of one kind, in order: `convolution2d`, `learningprior`..."""
    return [arrays for name, arrays in layers.items() if name.rsplit("_", 1)[0] == kind]


# The operations.


def convolve(
    x: Array, kernel: Array, bias: Array | None, *, stride: int = 1, dilation: int = 1, padding: int | None = None
) -> Array:
    """True convolution of (in, rows, columns) with (out, in, k, k); zeros around, 'same' unless padding is given."""
    size = kernel.shape[-1]
    padding = dilation * (size - 1) // 2 if padding is None else padding
    x = np.pad(x.astype(SUMS), ((0, 0), (padding, padding), (padding, padding)))
    reach = dilation * (size - 1)
    rows, columns = ((length - reach - 1) // stride + 1 for length in x.shape[1:])
    flipped = kernel[:, :, ::-1, ::-1].transpose(2, 3, 0, 1).astype(SUMS, order="C")
    y = np.zeros((kernel.shape[0], rows * columns), SUMS)
    for row in range(size):
        for column in range(size):
            top, left = row * dilation, column * dilation
            seen = x[:, top : top + (rows - 1) * stride + 1 : stride, left : left + (columns - 1) * stride + 1 : stride]
            y += flipped[row, column] @ seen.reshape(len(x), -1)
    if bias is not None:
        y += bias[:, None]
    return y.reshape(-1, rows, columns)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def normalise(x: Array, arrays: list[Array]) -> Array:
    """Batch norm at test time. What the files call running_std is the variance."""
    gamma, beta, mean, variance = (array.astype(np.float64)[:, None, None] for array in arrays)
    return gamma * (x - mean) / np.sqrt(variance + NORM_EPSILON) + beta


def pool_same(x: Array, *, size: int, stride: int) -> Array:
    """Theano's 'same' maximum: the padding at the top and left, ceil(length / stride) outputs."""
    pad = size - 1 if size % 2 == 0 else (size - 1) // 2
    rows, columns = (math.ceil(length / stride) for length in x.shape[1:])
    padded = np.pad(x, ((0, 0), (pad, size), (pad, size)), constant_values=-np.inf)
    windows = [
        padded[:, row : row + stride * rows : stride, column : column + stride * columns : stride]
        for row in range(size)
        for column in range(size)
    ]
    return np.max(windows, axis=0)


def pool_valid(x: Array) -> Array:
    """2x2 maximum with stride 2."""
    channels, rows, columns = x.shape
    x = x[:, : rows // 2 * 2, : columns // 2 * 2]
    return x.reshape(channels, rows // 2, 2, columns // 2, 2).max((2, 4))


def gaussians(parameters: Array, rows: int, columns: int) -> Array:
    """Learned priors: (16, rows, columns), each with maximum one."""
    mu_x, mu_y, sigma_x, sigma_y = parameters.astype(np.float64).reshape(4, -1)
    mu_x, mu_y = np.clip(mu_x, 0.25, 0.75), np.clip(mu_y, 0.35, 0.65)
    sigma_x, sigma_y = np.clip(sigma_x, 0.1, 0.9), np.clip(sigma_y, 0.2, 0.8)
    extent = rows / columns
    x = np.linspace(0, 1, columns)
    y = np.linspace((1 - extent) / 2, (1 + extent) / 2, rows)
    maps = []
    for mx, my, sx, sy in zip(mu_x, mu_y, sigma_x, sigma_y, strict=True):
        across = (x - mx) ** 2 / (2 * sx**2 + EPSILON)
        down = (y - my) ** 2 / (2 * sy**2 + EPSILON)
        values = np.exp(-(across[None, :] + down[:, None])) / (2 * np.pi * sx * sy + EPSILON)
        maps.append(values / values.max())
    return np.stack(maps)


def enlarge(x: Array) -> Array:
    """Bilinear, 16 times: cell i lies on pixel 16 i + 7, the edge cells are repeated."""
    for axis, cells in enumerate(x.shape):
        pixels = np.arange(16 * cells)
        places = 16 * np.arange(cells) + 7
        x = np.apply_along_axis(lambda line, pixels=pixels, places=places: np.interp(pixels, places, line), axis, x)
    return x


def letter_box(picture: npt.NDArray[np.uint8], rows: int, columns: int) -> npt.NDArray[np.uint8]:
    """(h, w, 3) RGB to (rows, columns, 3) BGR on black."""
    height, width = picture.shape[:2]
    canvas = np.zeros((rows, columns, 3), np.uint8)
    bgr = np.ascontiguousarray(picture[:, :, ::-1])
    if height / rows > width / columns:
        fitted = width * rows // height
        start = (columns - fitted) // 2
        canvas[:, start : start + fitted] = cv2.resize(bgr, (fitted, rows))
    else:
        fitted = height * columns // width
        start = (rows - fitted) // 2
        canvas[start : start + fitted] = cv2.resize(bgr, (columns, fitted))
    return canvas


def preprocess(picture: npt.NDArray[np.uint8], rows: int, columns: int) -> Array:
    """(h, w, 3) RGB to the network's input."""
    return (letter_box(picture, rows, columns) - np.array(MEANS)).transpose(2, 0, 1)


def postprocess(relevance: Array, height: int, width: int) -> Array:
    """The final map of a picture of height x width pixels."""
    rows, columns = relevance.shape
    values = relevance / relevance.max() * 255
    if height / rows > width / columns:
        covering = columns * height // rows
        start = (covering - width) // 2
        values = cv2.resize(values, (covering, height))[:, start : start + width]
    else:
        covering = rows * width // columns
        start = (covering - height) // 2
        values = cv2.resize(values, (width, covering))[start : start + height]
    values = scipy.ndimage.gaussian_filter(values, sigma=7)
    return values / values.max() * 255


# The networks.


def resnet(layers: Layers, x: Array) -> dict[str, Array]:
    def unit(x: Array, name: str, **geometry: int) -> Array:
        return normalise(convolve(x, *layers[name], **geometry), layers[norm_name(name)])

    stages = {}
    x = relu(unit(x, "conv1", stride=2, padding=3))
    stages["conv1"] = x = pool_same(x, size=3, stride=2)
    for stage, _, letters in RESNET_STAGES:
        dilation = RESNET_DILATIONS[stage]
        for letter in letters:
            block = f"res{stage}{letter}_branch"
            stride = 2 if stage == 3 and letter == "a" else 1
            y = relu(unit(x, f"{block}2a", stride=stride))
            y = relu(unit(y, f"{block}2b", dilation=dilation))
            y = unit(y, f"{block}2c")
            x = relu(y + (unit(x, f"{block}1", stride=stride) if letter == "a" else x))
        stages[f"stage {stage}"] = x
    stages["features"] = relu(convolve(x, *by_type(layers, "convolution2d")[0]))
    return stages


def vgg(layers: Layers, x: Array) -> dict[str, Array]:
    stages = {}
    for block, (_, count) in enumerate(VGG_BLOCKS, 1):
        for index in range(1, count + 1):
            x = relu(convolve(x, *layers[f"block{block}_conv{index}"], dilation=2 if block == 5 else 1))
        stages[f"block {block}"] = x
        if block < 3:
            stages[f"pool {block}"] = x = pool_valid(x)
        elif block < 5:
            stages[f"pool {block}"] = x = pool_same(x, size=2, stride=2 if block == 3 else 1)
    stages["features"] = stages.pop("block 5")
    return stages


def recurrence(arrays: list[Array], features: Array, steps: int) -> list[Array]:
    """H after each step over the same X."""
    own: dict[str, tuple[Array, Array | None]] = {}
    rest = iter(arrays)
    for name in RECURRENT_ORDER:
        own[name] = next(rest), None if name == "V_a" else next(rest)

    def apply(name: str, x: Array) -> Array:
        return convolve(x, *own[name])

    hidden = np.zeros((len(own["W_i"][0]), *features.shape[1:]))
    cell = np.zeros_like(hidden)
    looked_at = apply("U_a", features)
    reached = []
    for _ in range(steps):
        score = apply("V_a", np.tanh(apply("W_a", hidden) + looked_at))
        attended = features * scipy.special.softmax(score)
        gate = {name: apply(f"W_{name}", attended) + apply(f"U_{name}", hidden) for name in "ifco"}
        cell = scipy.special.expit(gate["f"]) * cell + scipy.special.expit(gate["i"]) * np.tanh(gate["c"])
        hidden = scipy.special.expit(gate["o"]) * np.tanh(cell)
        reached.append(hidden)
    return reached


def run(
    network: NetworkName,
    layers: Layers,
    picture: npt.NDArray[np.uint8],
    *,
    rows: int = 240,
    columns: int = 320,
    balance: bool = False,
) -> dict[str, Array]:
    """All stages of a picture.

    Args:
        network: which one.
        layers: its arrays.
        picture: (h, w, 3) uint8 RGB.
        rows: of the canvas.
        columns: of the canvas.
        balance: set the bias of the output layer, in `layers`, so that the ReLU cuts off a third of the cells:
            random features give an output that is all positive or all negative.
    """
    stages: dict[str, Array] = {"input": preprocess(picture, rows, columns)}
    stages |= (resnet if network == "sam-resnet" else vgg)(layers, stages["input"])
    (cell,) = by_type(layers, "attentiveconvlstm")
    for step, hidden in enumerate(recurrence(cell, stages["features"], STEPS), 1):
        stages[f"H after step {step}"] = x = hidden
    for index, ((parameters,), kernel) in enumerate(
        zip(by_type(layers, "learningprior"), by_type(layers, "atrousconvolution2d"), strict=True), 1
    ):
        stages[f"priors {index}"] = priors = gaussians(parameters, *x.shape[1:])
        stages[f"prior convolution {index}"] = x = relu(convolve(np.concatenate([x, priors]), *kernel, dilation=4))
    kernel, bias = by_type(layers, "convolution2d")[-1]
    if balance:
        bias[0] = -np.quantile(convolve(x, kernel, None), 1 / 3)
    stages["output"] = relu(convolve(x, kernel, bias))[0]
    stages["relevance"] = enlarge(stages["output"])
    stages["final map"] = postprocess(stages["relevance"], *picture.shape[:2])
    return stages
