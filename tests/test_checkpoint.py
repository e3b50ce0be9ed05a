"""A checkpoint holds all that is needed, and a bad one is refused in one clear sentence."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from made import CANVAS, make_checkpoint, make_network
from safetensors.torch import load_file, save_file

from vidsal.errors import CheckpointError, ConfigError
from vidsal.model.checkpoint import PRESETS, ModelCard, load_model, read_checkpoint, resolve_device, save_checkpoint


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    network = make_network()
    card = ModelCard(name="tiny", limits=("a", "b"), scores={"osie": {"nss": 1.5}})
    save_checkpoint(tmp_path / "a.safetensors", network, preprocess=CANVAS, card=card, dtype=torch.float32)
    again, preprocess, read = read_checkpoint(tmp_path / "a.safetensors")
    assert (preprocess, read, again.config) == (CANVAS, card, network.config)
    own = network.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in again.state_dict().items())
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_half_precision_weights_give_nearly_the_same_map(tmp_path: Path) -> None:
    network = make_network()
    path = make_checkpoint(tmp_path / "half.safetensors")
    assert path.stat().st_size < 0.6 * sum(p.numel() * 4 for p in network.parameters())
    frames = torch.randn(1, 2, 3, 48, 64)
    with torch.no_grad():
        wanted, _ = network(frames)
    got, _ = load_model(path, device="cpu")(frames)
    for t in range(2):
        pair = torch.stack([got[0, t].flatten(), wanted[0, t].flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.998


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_bytes(b""), "not a readable safetensors"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "not a readable safetensors"),
        (lambda path: path.write_bytes(pickle.dumps({"weights": [1, 2]})), "not a readable safetensors"),
        (lambda path: path.write_text("hello"), "not a readable safetensors"),
        (lambda path: path.unlink(), "nor a file"),
        (lambda path: save_file({"x": torch.zeros(2)}, path), "not a vidsal checkpoint"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, damage: object, says: str) -> None:
    path = make_checkpoint(tmp_path / "tiny.safetensors")
    damage(path)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=says):
        load_model(path, device="cpu")


def rewrite(path: Path, state: dict[str, torch.Tensor], **header: object) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        content = json.loads(file.metadata()["vidsal"])
    content.update(header)
    save_file(state, path, metadata={"vidsal": json.dumps(content)})


def test_weights_of_another_architecture_are_refused_with_the_first_name(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "tiny.safetensors")
    state = load_file(path)
    rewrite(path, {name: value for name, value in state.items() if name != "head.out.bias"})
    with pytest.raises(CheckpointError, match=r"1 tensors missing, 0 left over.*head\.out\.bias"):
        load_model(path, device="cpu")
    rewrite(path, state | {"head.out.bias": torch.zeros(3)})
    with pytest.raises(CheckpointError, match="1 of another shape"):
        load_model(path, device="cpu")


def test_an_unknown_key_or_format_in_the_header_is_refused(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "tiny.safetensors")
    state = load_file(path)
    rewrite(path, state, config={"wings": 2})
    with pytest.raises(CheckpointError, match="unknown key 'wings'"):
        load_model(path, device="cpu")
    rewrite(path, state, format=99)
    with pytest.raises(CheckpointError, match="format 99"):
        load_model(path, device="cpu")


def test_a_model_without_weights_says_what_to_do() -> None:
    with pytest.raises(CheckpointError, match=r"weights fetch sam-resnet.*weights import FILE.*path of a checkpoint"):
        load_model("sam-resnet", device="cpu")
    with pytest.raises(CheckpointError, match="neither a preset"):
        load_model("sam-giant", device="cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:1", "cuda:77", "mps:0"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match="device"):
        resolve_device(device)


def test_the_embedded_default_loads_and_its_card_is_whole() -> None:
    path = PRESETS["sam-lite"].weights
    assert path is not None and path.stat().st_size <= 10 * 2**20
    network, _, card = read_checkpoint(path)
    assert network.config.backbone == "mobilenet_v2"
    assert card.name == "sam-lite" and card.licence == "MIT" and card.commit and card.limits
    assert json.loads(card.training)["seed"] == 0
    for name in ("osie", "eyecrowd", "scene", "traffic"):
        assert any(name in text.lower() for text in card.training_data)
        ours, centre = card.scores[name], card.scores[f"{name}/centre"]
        assert all(ours[metric] > centre[metric] for metric in ("nss", "cc", "sim", "auc_judd"))
        assert ours["kl"] < centre["kl"]
