"""The driver's model: a file of what differs from its base, chosen by name or task; and the tool that trains it."""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from made import CANVAS, LIGHT, make_network, make_stills
from safetensors import safe_open
from safetensors.torch import save_file

from vidsal.config import resolve
from vidsal.data.layouts import open_dataset
from vidsal.errors import CheckpointError, ConfigError
from vidsal.model.checkpoint import (
    PRESETS,
    ModelCard,
    Preset,
    copy_checkpoint,
    for_task,
    load_model,
    read_checkpoint,
    save_checkpoint,
    save_derived_checkpoint,
    weights_path,
    weights_sha256,
)
from vidsal.pipe.options import ModelOptions, RunOptions
from vidsal.preprocess import Viewport

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small network as the embedded sam-lite."""
    path = tmp_path / "sam-lite.safetensors"
    network = make_network(config=LIGHT)
    save_checkpoint(path, network, preprocess=CANVAS, card=ModelCard("sam-lite"), dtype=torch.float16)
    monkeypatch.setitem(PRESETS, "sam-lite", Preset(LIGHT, CANVAS, path))
    monkeypatch.setitem(PRESETS, "sam-lite-driver", Preset(LIGHT, CANVAS, tmp_path / "sam-lite-driver.safetensors"))
    return path


@pytest.fixture
def derived(base: Path) -> Path:
    """The same network with another last convolution."""
    network, _, _ = read_checkpoint(base)
    with torch.no_grad():
        network.head.out.weight.add_(0.5)  # type: ignore[union-attr, operator]
    path = base.with_name("sam-lite-driver.safetensors")
    save_derived_checkpoint(path, network, base="sam-lite", card=ModelCard("sam-lite-driver"), dtype=torch.float32)
    return path


def test_a_derived_file_holds_only_what_differs_and_reads_as_the_whole(base: Path, derived: Path) -> None:
    with safe_open(derived, framework="pt") as file:
        assert list(file.keys()) == ["head.out.weight"]
        header = json.loads(file.metadata()["vidsal"])
    original, preprocess, _ = read_checkpoint(base)
    assert header["base"] == {"model": "sam-lite", "sha256": weights_sha256(original)}
    network, own, card = read_checkpoint(derived)
    assert (own, card.name, network.config) == (preprocess, "sam-lite-driver", original.config)
    expected = {**original.state_dict(), "head.out.weight": original.state_dict()["head.out.weight"] + 0.5}
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())
    assert derived.stat().st_size < base.stat().st_size / 50


def test_another_card_of_the_base_does_no_harm_but_other_weights_do(base: Path, derived: Path) -> None:
    network, preprocess, _ = read_checkpoint(base)
    save_checkpoint(base, network, preprocess=preprocess, card=ModelCard("sam-lite", description="scored again"))
    read_checkpoint(derived)
    with torch.no_grad():
        network.head.out.bias.add_(0.25)  # type: ignore[union-attr, operator]
    save_checkpoint(base, network, preprocess=preprocess, card=ModelCard("sam-lite"))
    with pytest.raises(CheckpointError, match="was made for other weights of sam-lite"):
        read_checkpoint(derived)
    with pytest.raises(CheckpointError, match=r"train\.md"):
        load_model(task="driving", device="cpu")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"base": {"model": "sam-vgg", "sha256": ""}}, "builds on 'sam-vgg', which has no embedded weights"),
        ({"base": {"model": "sam-lite-driver", "sha256": ""}}, "builds on 'sam-lite-driver'"),
        ({"base": {"model": "sam-lite"}}, "header cannot be used"),
        ({"base": "sam-lite"}, "header cannot be used"),
        ({"format": 2}, "format 2, this version reads 1"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(derived: Path, change: dict[str, object], says: str) -> None:
    with safe_open(derived, framework="pt") as file:
        header = json.loads(file.metadata()["vidsal"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(state, derived, metadata={"vidsal": json.dumps(header | change)})
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(derived)


def test_tensors_of_another_network_and_damaged_files_are_refused(derived: Path) -> None:
    with safe_open(derived, framework="pt") as file:
        metadata = file.metadata()
        weight = file.get_tensor("head.out.weight")
    for state in ({"head.out.weight": weight[:, :1]}, {"head.other": weight}):
        save_file({name: value.contiguous() for name, value in state.items()}, derived, metadata=metadata)
        with pytest.raises(CheckpointError, match="another architecture"):
            read_checkpoint(derived)
    derived.write_bytes(derived.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        read_checkpoint(derived)


def test_a_derived_file_can_see_pictures_in_its_own_way(base: Path, derived: Path, tmp_path: Path) -> None:
    network, preprocess, _ = read_checkpoint(derived)
    smaller = dataclasses.replace(preprocess, height=16, width=32)
    path = tmp_path / "small.safetensors"
    save_derived_checkpoint(path, network, base="sam-lite", card=ModelCard("small"), preprocess=smaller)
    assert read_checkpoint(path)[1] == smaller
    assert read_checkpoint(base)[1] == read_checkpoint(derived)[1] == preprocess
    # Its preprocessing can be written again; that of the other is its base's.
    again = dataclasses.replace(smaller, width=16)
    copy_checkpoint(path, path, card=ModelCard("small"), preprocess=again)
    assert read_checkpoint(path)[1] == again
    with pytest.raises(CheckpointError, match="has the preprocessing of sam-lite"):
        copy_checkpoint(derived, derived, card=ModelCard("small"), preprocess=again)


def test_only_a_network_of_the_bases_architecture_is_written(base: Path, tmp_path: Path) -> None:
    other = make_network(config=dataclasses.replace(LIGHT, steps=3))
    with pytest.raises(CheckpointError, match="not of the architecture of sam-lite"):
        save_derived_checkpoint(tmp_path / "a.safetensors", other, base="sam-lite", card=ModelCard("a"))
    with pytest.raises(CheckpointError, match="no embedded weights"):
        save_derived_checkpoint(tmp_path / "a.safetensors", other, base="sam-vgg", card=ModelCard("a"))
    with pytest.raises(CheckpointError, match="no embedded weights"):
        save_derived_checkpoint(tmp_path / "a.safetensors", other, base="sam-lite-driver", card=ModelCard("a"))


def test_a_task_chooses_the_model(derived: Path) -> None:
    assert for_task("sam-lite", "free-viewing") == "sam-lite"
    assert for_task("sam-lite", "driving") == for_task("sam-lite-driver", "driving") == "sam-lite-driver"
    assert for_task(Path("own.safetensors"), "free-viewing") == Path("own.safetensors")
    with pytest.raises(ConfigError, match="no model of 'sam-resnet' for the task driving, only of sam-lite"):
        for_task("sam-resnet", "driving")
    with pytest.raises(ConfigError, match="no model of 'sam-lite-fast' for the task driving, only of sam-lite"):
        for_task("sam-lite-fast", "driving")
    with pytest.raises(ConfigError, match="unknown task 'flying'"):
        for_task("sam-lite", "flying")  # type: ignore[arg-type]
    names = [load_model(task=task, device="cpu").card.name for task in ("free-viewing", "driving")]  # type: ignore[arg-type]
    assert names == ["sam-lite", "sam-lite-driver"]
    assert ModelOptions(task="driving", device="cpu").load().card.name == "sam-lite-driver"


def test_the_task_is_an_option_of_a_run() -> None:
    assert resolve(RunOptions, {}).model.chosen == ("sam-lite",)
    assert resolve(RunOptions, {"task": "driving"}).model.chosen == ("sam-lite-driver",)
    with pytest.raises(ConfigError, match="task must be one of free-viewing, driving"):
        resolve(RunOptions, {"task": "flying"})


def test_the_embedded_model_of_drivers_shares_all_but_the_head_with_the_default() -> None:
    path = PRESETS["sam-lite-driver"].weights
    assert path is not None and path.stat().st_size < 2_000_000
    (driver, _, card), (default, _, _) = read_checkpoint(path), read_checkpoint(PRESETS["sam-lite"].weights or "")
    own = default.state_dict()
    changed = {name.split(".")[0] for name, value in driver.state_dict().items() if not torch.equal(value, own[name])}
    assert changed and changed <= {"head", "prior_convolutions"}
    assert card.name == "sam-lite-driver" and any("80 still pictures" in limit for limit in card.limits)
    assert {"traffic-driver", "traffic-driver/free-viewing", "traffic-driver/drivers-mean"} <= card.scores.keys()


def test_the_fast_model_sees_half_the_pixels_and_shares_the_backbone_with_the_default() -> None:
    path = PRESETS["sam-lite-fast"].weights
    assert path is not None and path.stat().st_size < 5_000_000
    (fast, preprocess, card), (default, usual, known) = read_checkpoint(path), read_checkpoint(weights_path("sam-lite"))
    assert preprocess == PRESETS["sam-lite-fast"].preprocess
    views = [Viewport.of(1080, 1920, options) for options in (preprocess, usual)]
    pixels = [view.canvas_height * view.canvas_width for view in views]
    assert pixels[0] <= 0.51 * pixels[1]
    own = default.state_dict()
    changed = {name.split(".")[0] for name, value in fast.state_dict().items() if not torch.equal(value, own[name])}
    assert changed and "backbone" not in changed
    assert card.name == "sam-lite-fast" and card.limits
    for name in ("osie", "eyecrowd", "scene", "traffic"):
        assert known.scores[f"{name}/mean"]["nss"] < card.scores[name]["nss"] < known.scores[name]["nss"]


# The tool.


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("train_driver")


def test_no_picture_is_predicted_by_a_model_that_saw_it(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_stills(tmp_path / "traffic", count=10)
    network = make_network()
    drivers, free = (open_dataset("simple", root, condition=name).sequences for name in ("driver", "free"))
    seen = [tool.look(network, CANVAS, pair) for pair in zip(drivers, free, strict=True)]
    options = tool.DriverOptions(steps=2, pictures_per_step=4, folds=5)
    folds = tool.make_folds(drivers, options)
    assert sorted(np.bincount(folds)) == [2] * 5
    trained: list[list[int]] = []
    fine_tune = tool.fine_tune

    def spy(base: object, seen: object, chosen: list[int], condition: str, *rest: object, **named: object) -> object:
        trained.append(list(chosen))
        return fine_tune(base, seen, chosen, condition, *rest, **named)

    monkeypatch.setattr(tool, "fine_tune", spy)
    rows, _ = tool.predict(network, seen, folds, options)
    assert [sorted(set(range(10)) - set(chosen)) for chosen in trained[::2]] == [
        np.flatnonzero(folds == fold).tolist() for fold in range(5)
    ]
    # The held-back picture's own fixations must not show in its prior.
    expected = tool.drivers_prior([one for one, fold in zip(seen, folds, strict=True) if fold != folds[0]])
    assert torch.equal(rows["drivers' centre prior"][0], expected)
    for maps in rows.values():
        assert len(maps) == 10
        for log_density in maps:
            assert float(log_density.exp().sum()) == pytest.approx(1, abs=1e-3)
    # The frozen part of the tool gives what the model itself gives.
    whole = load_whole(network, drivers[0])
    torch.testing.assert_close(rows["free-viewing model"][0], whole, atol=1e-4, rtol=1e-4)


def load_whole(network: torch.nn.Module, still: object) -> torch.Tensor:
    from vidsal.data.clips import make_clip
    from vidsal.preprocess import Preprocessor

    clip = make_clip(still, times=1, preprocess=CANVAS, augment=None, random=np.random.default_rng(0))  # type: ignore[arg-type]
    with torch.inference_mode():
        log_density: torch.Tensor = network(Preprocessor(CANVAS)(clip.frames)[None])[0]
    return log_density[0, 0]


def test_training_moves_the_head_alone_towards_the_drivers(tool: ModuleType, tmp_path: Path) -> None:
    root = make_stills(tmp_path / "traffic", count=8)
    network = make_network()
    pairs = zip(*(open_dataset("simple", root, condition=name).sequences for name in ("driver", "free")), strict=True)
    seen = [tool.look(network, CANVAS, pair) for pair in pairs]
    options = tool.DriverOptions(steps=25, pictures_per_step=8, learning_rate=3e-3)
    tuned = tool.fine_tune(network, seen, range(8), "driver", options, seed=0)
    before, after = network.state_dict(), tuned.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head", "prior_convolutions"}
    maps = [[tool.read_out(own, [one], [0], [0])[0].detach() for one in seen] for own in (network, tuned)]
    assert tool._divergence(seen, maps[1]) < 0.9 * tool._divergence(seen, maps[0])


def test_the_table_goes_between_the_markers_of_the_page(tool: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "driver.md"
    page.write_text(f"before\n{tool.BEGIN}\nold\n{tool.END}\nafter\n")
    for _ in range(2):
        tool.write_docs(page, "| new |")
    assert page.read_text() == f"before\n{tool.BEGIN}\n\n| new |\n\n{tool.END}\nafter\n"
    assert tool.BEGIN in (ROOT / "docs" / "reports" / "driver.md").read_text()
