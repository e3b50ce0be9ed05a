"""C3D's weights as Keras 1 saved them on Theano, written here, and the networks that begin with them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import torch
from keras_files import write_layer
from made import make_stills
from test_dreyeve import THIN as THIN_DREYEVE
from test_dreyeve import largest, make_drives, short_training, truly
from test_dreyeve import thin as thin_dreyeve
from test_rmdn import THIN

from vidsal.cli import main
from vidsal.errors import CheckpointError, ConfigError
from vidsal.model.checkpoint import ModelCard, read_any_checkpoint, save_checkpoint
from vidsal.model.networks.c3d import load_c3d, read_c3d
from vidsal.model.networks.catalogue import build_network, input_of
from vidsal.model.networks.config import NetworkConfig
from vidsal.model.networks.rmdn import RMDN
from vidsal.train import ScheduleOptions, TrainConfig, TrainProgress, train

Array = npt.NDArray[np.float64]
Kernels = dict[str, tuple[Array, Array]]

# C3D's channels, and the pool before a layer.
LAYERS = {"conv1": 64, "conv2": 128, "conv3a": 256, "conv3b": 256, "conv4a": 512, "conv4b": 512}
DEEPER = {**LAYERS, "conv5a": 512, "conv5b": 512}
POOLS = {"conv2": (1, 2, 2), "conv3a": (2, 2, 2), "conv4a": (2, 2, 2), "conv5a": (2, 2, 2)}


def random_kernels(layers: Mapping[str, int], width: float) -> Kernels:
    """As Theano stores them: (out, in, frames, rows, columns) and (out,)."""
    random, inputs = np.random.default_rng(0), 3
    found: Kernels = {}
    for name, published in layers.items():
        outputs = max(1, round(published * width))
        kernels = random.standard_normal((outputs, inputs, 3, 3, 3)) * (2 / (27 * inputs)) ** 0.5
        found[name] = kernels.astype(np.float32).astype(np.float64), np.abs(0.1 * random.standard_normal(outputs))
        inputs = outputs
    return found


def c3d_file(path: Path, kernels: Kernels, **changed: list[np.ndarray]) -> Path:
    """A file of the layout: layers by their names, pools without arrays between, and the classifier."""
    arrays: dict[str, list[np.ndarray]] = {"input_1": []}
    for name, pair in kernels.items():
        arrays |= {name: [one.astype(np.float32) for one in pair], f"pool{name[4]}": []}
    arrays |= {"flatten_1": [], "fc6": [np.zeros((4, 4), np.float32), np.zeros(4, np.float32)], "dropout_1": []}
    arrays = {name: held for name, held in (arrays | changed).items() if held is not None}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([*arrays], "S")
        for name, held in arrays.items():
            write_layer(file, name, held)
    return path


def stages(clip: Array, kernels: Kernels) -> dict[str, Array]:
    """(3, 16, h, w) through C3D by true convolutions, as Theano does them."""
    found: dict[str, Array] = {}
    x = clip
    for name, pair in kernels.items():
        x = largest(x, POOLS[name]) if name in POOLS else x
        x = found[name] = np.maximum(truly(x, *pair), 0)
    return found


def thin_rmdn() -> RMDN:
    torch.manual_seed(0)
    return cast(RMDN, build_network(NetworkConfig("rmdn", THIN)).eval())


@torch.inference_mode()
def test_every_layer_of_a_file_does_what_theano_does_with_it(tmp_path: Path) -> None:
    kernels, network = random_kernels(DEEPER, THIN), thin_rmdn()
    layers = network.c3d_layers()["encoder"]
    assert [*layers] == [*DEEPER]
    load_c3d(layers, read_c3d(c3d_file(tmp_path / "c3d-sports1M_weights.h5", kernels), layers))
    clip = np.random.default_rng(1).normal(size=(3, 16, 32, 48))
    own = network.stages(torch.from_numpy(clip).float().transpose(0, 1)[None])

    def differing(kernels: Kernels) -> list[str]:
        found = stages(clip, kernels)
        assert all(one.max() > 0 for one in found.values())
        return [
            name
            for name, expected in found.items()
            if np.abs(own[name][0].double().numpy() - expected).max() > 1e-4 * expected.max()
        ]

    assert differing(kernels) == []
    # Kernels that are turned in the picture, but not in time; or in time alone; or not at all.
    for axes in ((2,), (3, 4), (2, 3, 4)):
        turned = {name: (np.flip(weight, axes), bias) for name, (weight, bias) in kernels.items()}
        assert differing(turned)[0] == "conv1"


def test_branches_that_see_three_channels_have_its_layers(tmp_path: Path) -> None:
    file = c3d_file(tmp_path / "w_up2_conv4_new.h5", random_kernels(LAYERS, THIN_DREYEVE))
    network = thin_dreyeve(("image", "flow", "segmentation"))
    parts = network.c3d_layers()
    assert [*parts] == ["image", "flow"] and all([*layers] == [*LAYERS] for layers in parts.values())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_c3d(parts["flow"], read_c3d(file, parts["flow"]))
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {f"branches.flow.{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")}


# Training.


def rmdn_run(root: Path, output: Path, file: Path) -> TrainConfig:
    return TrainConfig(
        output=output,
        datasets=(root,),
        preset="rmdn",
        width=THIN,
        c3d_weights=file,
        schedule=ScheduleOptions(passes=1, frames_per_step=6, clip_lengths={2: 1.0}, average_decay=0.5),
        weights_dtype="fp32",
        device="cpu",
    )


def test_rmdn_keeps_the_layers_as_they_are_and_says_where_they_are_from(tmp_path: Path) -> None:
    kernels = random_kernels(DEEPER, THIN)
    file = c3d_file(tmp_path / "c3d-sports1M_weights.h5", kernels)
    config, notes = rmdn_run(make_stills(tmp_path / "set", count=6), tmp_path / "run", file), list[str]()
    assert train(config, stop_after_steps=1, on_progress=lambda one: notes.extend(one.notes)).suffix == ".pt"
    network, _, card = read_any_checkpoint(train(config))
    for name, (weight, bias) in kernels.items():
        np.testing.assert_array_equal(network.state_dict()[f"encoder.{name}.weight"], weight[:, :, ::-1, ::-1, ::-1])
        np.testing.assert_array_equal(network.state_dict()[f"encoder.{name}.bias"], bias.astype(np.float32))
    begun = build_network(network.config).state_dict()  # type: ignore[arg-type]
    assert not torch.equal(network.state_dict()["means.weight"], begun["means.weight"])
    said = "C3D's layers (encoder), which are not trained, begin with c3d-sports1M_weights.h5, sha256 "
    assert any(one.startswith(said) for one in notes) and "All other layers begin at random." in notes
    assert not any("every layer begins at random" in one for one in notes)
    assert said in card.initialisation and any("Sports-1M" in one for one in card.training_data)
    assert json.loads(card.training)["c3d_weights"] == "c3d-sports1M_weights.h5"


def test_dreyeve_trains_them_on_and_leaves_branches_alone_that_were_trained_before(tmp_path: Path) -> None:
    root = make_drives(tmp_path / "drives", frames=3, runs=(1,))
    kernels = random_kernels(LAYERS, THIN_DREYEVE)
    file = c3d_file(tmp_path / "w_up2_conv4_new.h5", kernels)
    brief: dict[str, Any] = {"schedule": {"passes": 1, "frames_per_step": 1, "windows_per_sequence": 2}}
    seen: list[TrainProgress] = []
    config = short_training(root, tmp_path / "run", c3d_weights=file, **brief)
    state = read_any_checkpoint(train(config, on_progress=seen.append))[0].state_dict()
    assert any("C3D's layers (image and flow) begin with w_up2_conv4_new.h5" in note for note in seen[0].notes)
    for branch in ("image", "flow"):
        for name, (weight, _) in kernels.items():
            moved = np.abs(state[f"branches.{branch}.{name}.weight"].numpy() - weight[:, :, ::-1, ::-1, ::-1]).max()
            assert 0 < moved < 0.05
    image = train(short_training(root, tmp_path / "image", branches=("image",), **brief))
    seen.clear()
    both = short_training(root, tmp_path / "both", branches_from=(image,), c3d_weights=file, **brief)
    train(both, stop_after_steps=1, on_progress=seen.append)
    notes = " ".join(seen[0].notes)
    assert "image of dreyeve.safetensors; at random but for C3D's layers: flow." in notes
    assert "C3D's layers (flow) begin with w_up2_conv4_new.h5" in notes and "begins at random" not in notes
    with pytest.raises(ConfigError, match="c3d_weights has no branch to go to that does not begin with other weights"):
        train(dataclasses.replace(both, branches=("image",), output=tmp_path / "none"))


# What is refused.


def test_a_file_of_another_layout_is_refused_in_one_line(tmp_path: Path) -> None:
    kernels = random_kernels(DEEPER, THIN)
    layers = thin_rmdn().c3d_layers()["encoder"]
    path = tmp_path / "file.h5"

    def refused(says: str) -> None:
        with pytest.raises(CheckpointError, match=says) as caught:
            load_c3d(layers, read_c3d(path, layers))
        assert "\n" not in str(caught.value)

    refused("no such file")
    path.write_bytes(b"\x80\x04]")
    refused("a pickle, which vidsal never opens")
    path.write_bytes(b"\x00" * 600)
    refused("not an HDF5 file")
    c3d_file(path, {name: pair for name, pair in kernels.items() if name != "conv5b"})
    refused("has no layer conv5b with weights; expected C3D's")
    weight, bias = (one.astype(np.float32) for one in kernels["conv3a"])
    for arrays, says in (
        ([weight.transpose(2, 3, 4, 1, 0), bias], "in TensorFlow's order; expected kernels"),
        ([weight[:, :, 0], bias], r"conv3a holds arrays of \[\(8, 4, 3, 3\), \(8,\)\]; expected"),
        ([weight], r"conv3a holds arrays of \[\(8, 4, 3, 3, 3\)\]"),
        ([weight, np.full_like(bias, np.nan)], "conv3a holds values that are not finite"),
        ([weight[:-1], bias[:-1]], r"conv3a of C3D's weights is \(7, 4, 3, 3, 3\), expected \(8, 4, 3, 3, 3\)"),
    ):
        c3d_file(path, kernels, conv3a=arrays)
        refused(says)
    c3d_file(path, random_kernels(DEEPER, 2 * THIN))
    refused("they fit a width of 1 only")
    # The classifier may be anything.
    c3d_file(path, kernels, fc6=[np.full((2, 2), np.nan, np.float32), np.zeros(2, np.float32)])
    load_c3d(layers, read_c3d(path, layers))


def test_other_presets_and_checkpoints_do_not_take_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_stills(tmp_path / "set", count=6)
    file = c3d_file(tmp_path / "c3d.h5", random_kernels(DEEPER, THIN))
    config = rmdn_run(root, tmp_path / "run", file)
    with pytest.raises(ConfigError, match="c3d_weights is for a new rmdn or dreyeve, not for salgan: leave it out"):
        train(dataclasses.replace(config, preset="salgan"))
    start = tmp_path / "start.safetensors"
    save_checkpoint(start, thin_rmdn(), preprocess=input_of("rmdn"), card=ModelCard(name="start"))
    with pytest.raises(ConfigError, match="not for start_from, whose network keeps its own"):
        train(dataclasses.replace(config, start_from=start))
    words = [
        "train",
        "--preset",
        "rmdn",
        "--datasets",
        f"[{root}]",
        "--output",
        str(tmp_path / "other"),
        "--device",
        "cpu",
    ]
    assert main([*words, "--c3d-weights", str(start)]) == 1
    assert "not an HDF5 file" in capsys.readouterr().err and not (tmp_path / "other").exists()
