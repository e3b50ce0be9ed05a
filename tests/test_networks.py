"""The other systems' networks: their sizes, their stages worked out in NumPy, training, checkpoints, the pipe."""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from made import make_stills
from scipy.ndimage import gaussian_filter1d
from scipy.signal import correlate2d

from vidsal.cli import main
from vidsal.errors import CheckpointError, ConfigError
from vidsal.frames import FrameBatch
from vidsal.model.checkpoint import load_model, read_any_checkpoint, read_checkpoint
from vidsal.model.networks.catalogue import NETWORKS, build_network, describe, input_of, without_weights
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.deepgaze2 import DeepGaze2
from vidsal.model.networks.ml_net import MLNet
from vidsal.model.networks.parts import VGG, PictureNetwork
from vidsal.model.options import NetworkName
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


def thin(name: NetworkName, seed: int = 0) -> PictureNetwork:
    """With random weights, as large as a thin network needs for its map to depend visibly on the picture."""
    torch.manual_seed(seed)
    network = build_network(NetworkConfig(name, THIN)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2)
            elif parameter.ndim == 1:
                parameter.normal_(std=0.1)
        if isinstance(network, MLNet):
            network.out.weight.abs_()
            network.prior.normal_(std=0.3)
    return network


# Sizes.

PARAMETERS = {
    "ml-net": 15_452_145,
    "salnet": 25_806_209,
    "salgan": 31_787_009,
    # VGG-19's convolutions; the readout of 2560 to 16, 32, 2, 1; the width of the blur; the weight of the centre.
    "deepgaze-2": 20_024_384 + (2560 * 16 + 16) + (16 * 32 + 32) + (32 * 2 + 2) + (2 + 1) + 2,
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
def test_maps_are_densities_that_depend_on_their_own_picture_alone(name: NetworkName) -> None:
    network = thin(name)
    frames = torch.randn(2, 3, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 2
    whole, state = network(frames)
    assert whole.shape == (2, 3, 64, 96) and whole.dtype == torch.float32
    torch.testing.assert_close(whole.exp().sum((2, 3)), torch.ones(2, 3))
    assert isinstance(state, Memory) and state.kept.shape == (2, 0)
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


def convolved(x: Array, layer: torch.nn.Module, *, padding: int) -> Array:
    """(c, h, w) by correlation, zeros around it."""
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()  # type: ignore[operator]
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    sums = [sum(correlate2d(one, kernel, "valid") for one, kernel in zip(padded, row, strict=True)) for row in weight]
    result: Array = np.stack(sums) + bias[:, None, None]
    return result


def pooled(x: Array, rule: str) -> Array:
    """2x2 maxima: "floor" and "ceil" as torch says it, "theano2" and "theano1" shifted by one to the top and left."""
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


def vgg_stages(x: Array, backbone: VGG, rules: tuple[str, ...]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for number, block in enumerate(backbone.blocks, start=1):
        for place, layer in enumerate(block.children(), start=1):
            found[f"conv{number}_{place}"] = convolved(x, layer, padding=1)
            x = found[f"relu{number}_{place}"] = np.maximum(found[f"conv{number}_{place}"], 0)
        if number <= 4:
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
    x_of = (np.arange(half[1]) + 0.5) * 2 / half[1] - 1
    y_of = ((np.arange(half[0]) + 0.5) * 2 / half[0] - 1) * half[0] / half[1]
    bias = -(y_of[:, None] ** 2) / (2 * 0.22 * 0.45) - x_of**2 / (2 * 0.22)
    bias -= np.log(np.exp(bias).sum())
    found["biased"] = blurred + network.centre_weight.item() * bias
    return found


REFERENCES = {"ml-net": ml_net_stages, "salgan": salgan_stages, "deepgaze-2": deepgaze2_stages}


def differing(found: dict[str, Array], network: PictureNetwork, pixels: torch.Tensor) -> list[str]:
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


def pixels() -> torch.Tensor:
    return torch.randn(1, 3, 48, 80, generator=torch.Generator().manual_seed(2)) * 3


@pytest.mark.parametrize("name", REFERENCES)
def test_every_stage_is_that_of_the_description(name: NetworkName) -> None:
    network = thin(name)
    found = REFERENCES[name](pixels()[0].double().numpy(), network)
    assert differing(found, network, pixels()) == []
    last = list(found.values())[-1]
    assert last.std() > 1e-3 * max(abs(last.mean()), 1e-6), "a map of nothing would agree with anything"
    with torch.inference_mode():
        log_density = network(pixels()[None])[0][0, 0].double().numpy()
    if name == "salgan":
        density = 1 / (1 + np.exp(-found["logits"][0]))
    elif name == "deepgaze-2":
        density = np.exp(nearest(found["biased"][None] if last.ndim == 2 else last, 48, 80)[0])
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


@torch.inference_mode()
def test_deepgaze_is_its_centre_bias_without_a_readout_and_knows_no_height() -> None:
    network = typing.cast(DeepGaze2, thin("deepgaze-2"))
    before, _ = network(pixels()[None])
    network.readout[-1].bias.add_(5)  # type: ignore[operator]
    torch.testing.assert_close(network(pixels()[None])[0], before, rtol=1e-4, atol=1e-4)
    for parameter in network.readout.parameters():
        parameter.zero_()
    without, _ = network(pixels()[None])
    row, column = divmod(int(without[0, 0].argmax()), 80)
    assert abs(row - 23.5) < 2 and abs(column - 39.5) < 2
    network.centre_weight.zero_()
    torch.testing.assert_close(network(pixels()[None])[0].exp(), torch.full((1, 1, 48, 80), 1 / (48 * 80)))


# Training, checkpoints, the pipe.


def canvas_of(name: NetworkName) -> PreprocessOptions:
    return dataclasses.replace(input_of(name), height=48, width=64)


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
    path = train(config)
    network, preprocess, card = read_any_checkpoint(path)
    assert network.config == NetworkConfig(name, THIN) and preprocess == canvas_of(name)
    assert json.loads(card.training)["preset"] == name and "set" in card.scores

    torch.manual_seed(config.seed)
    begun = build_network(NetworkConfig(name, THIN)).state_dict()
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, begun[key])}
    frozen = {"salgan": ("backbone.blocks.0", "backbone.blocks.1", "backbone.blocks.2"), "deepgaze-2": ("backbone.",)}
    assert moved and not any(key.startswith(frozen.get(name, ("none",))) for key in moved)
    if name == "salgan":
        assert any(key.startswith("backbone.blocks.4") for key in moved)

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
