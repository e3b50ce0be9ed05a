"""A checkpoint holds all that is needed, and a bad one is refused in one clear sentence."""

from __future__ import annotations

import functools
import json
import pickle
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from made import CANVAS, LIGHT, make_checkpoint, make_network
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vidsal.errors import CheckpointError, ConfigError
from vidsal.model.checkpoint import (
    PRESETS,
    ModelCard,
    SaliencyModel,
    load_model,
    read_checkpoint,
    resolve_device,
    save_checkpoint,
)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    network = make_network(config=LIGHT)
    card = ModelCard(name="tiny", limits=("a", "b"), scores={"osie": {"nss": 1.5}})
    save_checkpoint(tmp_path / "a.safetensors", network, preprocess=CANVAS, card=card, dtype=torch.float32)
    again, preprocess, read = read_checkpoint(tmp_path / "a.safetensors")
    assert (preprocess, read, again.config) == (CANVAS, card, network.config)
    own = network.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in again.state_dict().items())
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_half_precision_weights_give_nearly_the_same_map(tmp_path: Path) -> None:
    network = make_network(config=LIGHT)
    path = make_checkpoint(tmp_path / "half.safetensors", config=LIGHT)
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
        (lambda path: path.unlink(), "there is no model or file"),
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
    with pytest.raises(CheckpointError, match="there is no model or file"):
        load_model("sam-giant", device="cpu")
    with pytest.raises(CheckpointError, match=r"did you mean gbvs\?"):
        load_model("gbv", device="cpu")


def test_a_path_without_a_file_names_the_nearest_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder: give the checkpoint in it"):
        load_model(tmp_path, device="cpu")
    (tmp_path / "best.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"did you mean \S*best\.safetensors\?"):
        load_model(tmp_path / "bst.safetensors", device="cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:1", "cuda:77", "mps:0"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match="device"):
        resolve_device(device)


@pytest.mark.parametrize(
    ("instructions", "vendor", "limit", "expected"),
    [
        ((), "AuthenticAMD", None, "fp32"),
        (("_is_avx512_bf16_supported",), "AuthenticAMD", None, "bf16"),
        (("_is_avx512_bf16_supported",), "GenuineIntel", None, "fp32"),
        (("_is_amx_tile_supported", "_is_avx512_bf16_supported"), "GenuineIntel", None, "bf16"),
        (("_is_amx_tile_supported",), "GenuineIntel", "ALL", "bf16"),
        (("_is_amx_tile_supported", "_is_avx512_bf16_supported"), "GenuineIntel", "AVX512_CORE_VNNI", "fp32"),
        (("_is_avx512_bf16_supported",), "AuthenticAMD", "avx512_core_bf16", "bf16"),
        (("_is_amx_tile_supported", "_is_avx512_bf16_supported"), "GenuineIntel", "avx512_core_bf16", "fp32"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_is_faster_in_it(
    instructions: tuple[str, ...], vendor: str, limit: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidsal.model.inference._vendor", lambda: vendor)
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda there=name in instructions: there)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    made = [
        SaliencyModel(make_network(), preprocess=CANVAS, card=ModelCard("tiny"), precision=precision)
        for precision in ("auto", "fp32", "bf16")
    ]
    assert [model.precision for model in made] == [expected, "fp32", "bf16"]


def test_the_embedded_default_loads_and_its_card_is_whole() -> None:
    path = PRESETS["sam-lite"].weights
    assert path is not None and path.stat().st_size <= 10 * 2**20
    network, _, card = read_checkpoint(path)
    assert network.config.backbone == "mobilenet_v2"
    assert card.name == "sam-lite" and card.licence == "MIT" and card.commit and card.limits
    before, on_canvases = (run["training"] for run in json.loads(card.training)["joined"])
    assert [run["training"]["seed"] for run in before["joined"]] == [0, 0, 0] and on_canvases["seed"] == 1
    for name in ("osie", "eyecrowd", "scene", "traffic"):
        assert any(name in text.lower() for text in card.training_data)
        ours, centre = card.scores[name], card.scores[f"{name}/centre"]
        assert all(ours[metric] > centre[metric] for metric in ("nss", "cc", "sim", "auc_judd"))
        assert ours["kl"] < centre["kl"]


# Headers that are made to do harm.


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A small checkpoint with another header, which `change` makes of its own."""
    whole, state = small_checkpoint()
    header = json.loads(whole)
    text = change(header)
    save_file(state, path, metadata={"vidsal": text if isinstance(text, str) else json.dumps(header)})
    return path


@functools.cache
def small_checkpoint() -> tuple[str, dict[str, torch.Tensor]]:
    """Its header and its tensors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        save_checkpoint(path, make_network(config=LIGHT), preprocess=CANVAS, card=ModelCard(name="tiny"))
        with safe_open(path, framework="pt") as file:
            return file.metadata()["vidsal"], {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


HUGE = 1_000_000_000


@pytest.mark.parametrize(
    ("part", "name", "value", "says"),
    [
        ("config", "recurrent_channels", HUGE, "recurrent_channels must be from 1 to 4096, got 1000000000"),
        ("config", "recurrent_channels", -1, "recurrent_channels must be from 1 to 4096, got -1"),
        ("config", "recurrent_channels", 4096, "weights of another architecture"),
        ("config", "recurrent_channels", 8.5, "recurrent_channels must be a whole number"),
        ("config", "recurrent_channels", "8", "recurrent_channels must be a whole number"),
        ("config", "steps", HUGE, "steps must be from 1 to 100"),
        ("config", "priors", HUGE, "priors must be from 1 to 1024"),
        ("config", "prior_rounds", HUGE, "prior_rounds must be from 1 to 16"),
        ("config", "prior_rounds", 16, "weights of another architecture"),
        ("config", "prior_dilation", HUGE, "prior_dilation must be from 1 to 64"),
        ("config", "motion_channels", HUGE, "motion_channels must be from 0 to 4096"),
        ("config", "motion_channels", 4096, "weights of another architecture"),
        ("config", "dropout", float("nan"), "dropout must be from 0 to below 1"),
        ("config", "backbone", {"a": []}, "header cannot be used"),
        ("config", "backbone", "resnet50", "header cannot be used"),
        ("config", "head", ["refine"], "head must be one of"),
        ("preprocess", "height", HUGE, "height must be from 16 to 4096"),
        ("preprocess", "width", float("inf"), "width must be a whole number"),
        ("preprocess", "blur_pixels", 1e9, "blur_pixels must be from 0 to 1000"),
        ("preprocess", "divisor", 0, "divisor must be above 0"),
        ("preprocess", "mean", ["a", "b", "c"], "mean must be three finite numbers"),
        ("preprocess", "mean", [0.5], "mean must be three finite numbers"),
        ("preprocess", "std", [1, 1, float("inf")], "std must be three finite numbers"),
        ("preprocess", "std", 1.0, "header cannot be used"),
        ("card", "description", ["text"], "description of the card must be text"),
        ("card", "description", "\x1b]0;title\x07", "description of the card must be text without control characters"),
        ("card", "limits", "text", "limits of the card must be a list"),
        ("card", "limits", [{}], "limits of the card must be text"),
        ("card", "scores", {"set": 1}, "header cannot be used"),
        ("card", "scores", {"set": {"nss": "high"}}, "scores of the card must be numbers"),
        ("card", "scores", [], "header cannot be used"),
        ("card", "surprise", 1, "unknown key 'surprise'"),
    ],
)
def test_a_header_with_absurd_values_is_refused_before_anything_is_built(
    part: str, name: str, value: object, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rewritten(tmp_path / "a.safetensors", lambda header: header[part].__setitem__(name, value))
    before = read_memory_peak()
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(path)
    assert read_memory_peak() < before + 200e6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda header: "[" * 200_000, "header cannot be used"),
        (lambda header: "[]", "header cannot be used"),
        (lambda header: "{", "header cannot be used"),
        (lambda header: json.dumps(header)[:-1] + ', "more": ' + "9" * 5000 + "}", "header cannot be used"),
        (lambda header: header.update(config=[]), "SAMConfig must be a table of names and values"),
        (lambda header: header.update(card="card"), "ModelCard must be a table of names and values"),
        (lambda header: header.update(preprocess=None), "PreprocessOptions must be a table of names and values"),
        (lambda header: header.pop("config"), "header cannot be used"),
        (lambda header: header.update(base={"model": [], "sha256": []}), "header cannot be used"),
    ],
)
def test_a_header_of_another_form_is_refused(
    change: Callable[[dict[str, Any]], object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(rewritten(tmp_path / "a.safetensors", change))


def test_a_header_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for length in (20 << 20, 1 << 40):
        with path.open("wb") as file:
            file.write(length.to_bytes(8, "little"))
            file.truncate(21 << 20)  # takes no place on the disk
        with pytest.raises(CheckpointError, match=r"its header takes|not a readable safetensors file"):
            read_checkpoint(path)


def test_tensors_that_the_header_places_beyond_the_file_or_of_a_strange_type_are_refused(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "a.safetensors", lambda header: None)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    tensors = json.loads(content[8 : 8 + length])
    name = "head.out.weight"
    for change in ({"data_offsets": [0, 1 << 50]}, {"shape": [1 << 40, 1 << 40]}, {"dtype": "F4"}, {"dtype": "X"}):
        changed = json.dumps(tensors | {name: tensors[name] | change}).encode()
        path.write_bytes(len(changed).to_bytes(8, "little") + changed + content[8 + length :])
        with pytest.raises(CheckpointError, match="not a readable safetensors file"):
            read_checkpoint(path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = make_network(config=LIGHT)
    with torch.no_grad():
        network.head.out.bias.fill_(float("nan"))  # type: ignore[union-attr, operator]
    save_checkpoint(tmp_path / "a.safetensors", network, preprocess=CANVAS, card=ModelCard(name="tiny"))
    with pytest.raises(CheckpointError, match=r"head\.out\.bias holds values that are not finite"):
        read_checkpoint(tmp_path / "a.safetensors")


def test_a_network_in_use_does_not_change_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(
        path, make_network(config=LIGHT), preprocess=CANVAS, card=ModelCard(name="tiny"), dtype=torch.float32
    )
    network, _, _ = read_checkpoint(path)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(size // 2)
        file.write(bytes(size // 2))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


def read_memory_peak() -> float:
    """Bytes that this process has taken at most; 0 where the system does not say."""
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 0.0
