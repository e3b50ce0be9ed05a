"""The table of all systems: what is trained and scored, the pictures chosen, a page that shows its results."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from made import CANVAS, TINY, make_stills

from vidsal.comparing import ComparingOptions
from vidsal.data.fixations import is_validation
from vidsal.errors import ConfigError, VidsalError
from vidsal.model.backbones import BACKBONES
from vidsal.model.baselines.catalogue import BASELINES
from vidsal.model.networks.catalogue import NETWORKS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("write_zoo")


@pytest.fixture
def small(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One small network, one model without weights, nothing that takes seconds; no costs, which take a process each."""
    monkeypatch.setattr(tool, "LIGHT", {"light": (TINY.backbone, "refine")})
    monkeypatch.setattr(tool, "BACKBONES", (TINY.backbone,))
    monkeypatch.setattr(tool, "RANDOM_FEATURES", ())
    monkeypatch.setattr(tool, "BASELINES", {name: BASELINES[name] for name in ("uniform", "spectral-residual")})
    monkeypatch.setattr(tool, "ComparingOptions", lambda **given: ComparingOptions(**{**given, "cost": False}))
    monkeypatch.setattr(BACKBONES[TINY.backbone], "load_imagenet", lambda self, state: ())
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def recipe(path: Path) -> Path:
    config = {
        "output": str(path.parent / "none"),
        "preprocess": {"height": CANVAS.height, "width": CANVAS.width},
        "schedule": {"passes": 1, "frames_per_step": 4, "clip_lengths": {1: 1.0}},
        "card": {"name": "zoo"},
    }
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_pictures_that_are_scored_are_some_of_those_held_out_and_training_keeps_all_of_its_own(
    tool: ModuleType, tmp_path: Path
) -> None:
    root = make_stills(tmp_path / "mine", count=40)
    made = tool.some_of(root, 3, tmp_path / "work")

    def images(folder: Path) -> set[str]:
        with (folder / "fixations.csv").open(newline="") as stream:
            return {row["image"] for row in csv.DictReader(stream)}

    all_of_them, kept = images(root), images(made)
    held_out = {name for name in all_of_them if is_validation("mine", name)}
    assert len(held_out) > 3 and len(kept & held_out) == 3 and all_of_them - held_out == kept - held_out
    # Evenly spread, the first among them, and the same each time.
    assert min(held_out) in kept and max(kept & held_out) > sorted(held_out)[len(held_out) // 2]
    assert images(tool.some_of(root, 3, tmp_path / "work")) == kept
    assert images(tool.some_of(root, 99, tmp_path / "other")) == all_of_them
    with pytest.raises(ConfigError, match=r"no fixations\.csv"):
        tool.some_of(tmp_path, 3, tmp_path / "work")


@pytest.mark.usefixtures("small")
def test_what_has_weights_is_trained_and_everything_is_scored_on_the_same_pictures(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    roots = [make_stills(tmp_path / name, count=18) for name in ("one", "two")]
    torch.save({}, tmp_path / "imagenet.pth")
    asked = [*map(str, roots), "--config", str(recipe(tmp_path / "zoo.yaml")), "--work", str(tmp_path / "work")]
    asked += [f"--{TINY.backbone}", str(tmp_path / "imagenet.pth"), "--pictures", "2"]
    assert tool.main(asked) == 0
    results = json.loads((tmp_path / "work" / "results.json").read_text())
    assert results["trained"]["light"]["weights"] == "imagenet.pth" and results["trained"]["light"]["steps"] > 4
    for name in ("one", "two"):
        found = results["sets"][name]
        assert found["pictures"] == 2
        assert found["models"].keys() == {"sam-lite", "sam-lite-fast", "light", "spectral-residual"}
        # As vidsal compare-models has it.
        ranking = json.loads((tmp_path / "work" / "scored" / name / "models.json").read_text())
        own = {one["name"]: one["scores"]["nss"]["value"] for one in ranking["models"]}
        assert {each: one["scores"]["nss"][0] for each, one in found["models"].items()} == own
        assert found["references"]["inter-observer"]["nss"][0] is not None
    parts = tool.tables(results)
    rows = {cells[2].strip(" `"): cells for cells in (line.split("|") for line in parts["zoo"].splitlines()[2:])}
    means = {
        name: sum(results["sets"][one]["models"][name]["scores"]["nss"][0] for one in ("one", "two")) / 2
        for name in rows
    }
    assert {name: cells[4].strip() for name, cells in rows.items()} == {
        name: f"{mean:.3f}" for name, mean in means.items()
    }
    assert [*rows] == sorted(means, key=lambda name: -means[name])
    assert [cells[3].strip() for name, cells in sorted(rows.items())] == [
        "trained here, shortly", "as it comes", "as it comes", "without weights",
    ]  # fmt: skip
    # Nobody is left out in silence: what is not scored stands in the other table, with a reason.
    for name in (*NETWORKS, "sam-resnet", "sam-vgg"):
        assert f"| `{name}` | " in parts["zoo-not-trained"] and f"`{name}`" not in parts["zoo"]
    assert "--pictures 2" in parts["zoo-made"] and (tmp_path / "work" / "zoo.png").stat().st_size > 5000
    assert "**" in parts["zoo-sets"]

    # A second call finds all of it done; another recipe does not mix.
    capsys.readouterr()
    assert tool.main(asked) == 0 and "trained\n" not in capsys.readouterr().out
    with pytest.raises(VidsalError, match="another --work"):
        tool.main([*asked[:-1], "3"])
    with pytest.raises(ConfigError, match=r"--without nobody: .* known here are light"):
        tool.main([*asked, "--without", "nobody"])
    assert tool.main([*asked, "--without", "light"]) == 0
    results = json.loads((tmp_path / "work" / "results.json").read_text())
    assert "light" not in results["sets"]["one"]["models"] and "--without light" in tool.made(results)


def test_networks_of_other_systems_are_trained_once_their_weights_are_given(tool: ModuleType, tmp_path: Path) -> None:
    base = tool.resolve(tool.TrainConfig, tool.read_file(recipe(tmp_path / "zoo.yaml"), tool.TrainConfig))
    sets = [make_stills(tmp_path / "large", count=9), make_stills(tmp_path / "small", count=5)]
    none: dict[str, Any] = dict.fromkeys(tool.BACKBONES)
    given = tool.argparse.Namespace(**none, work=tmp_path, weights=["ml-net=vgg16.pth"])
    plan = tool.planned(base, given, sets)
    random = [name for name in tool.RANDOM_FEATURES if name in NETWORKS]
    assert [*plan] == [name for name in NETWORKS if name == "ml-net" or name in random]
    made = plan["ml-net"]
    assert (made.preset, made.imagenet_weights, made.datasets) == ("ml-net", Path("vgg16.pth"), tuple(sets))
    # Its own canvas, the same schedule.
    assert made.preprocess is None and made.model is None and made.schedule == base.schedule
    # Whose authors begin with something else than ImageNet's.
    other = tool.argparse.Namespace(**vars(given) | {"weights": ["rmdn=c3d.h5"]})
    made = tool.planned(base, other, sets)["rmdn"]
    assert (made.preset, made.c3d_weights, made.imagenet_weights) == ("rmdn", Path("c3d.h5"), None)
    for name in random:
        assert plan[name].datasets == (sets[1],) and plan[name].imagenet_weights is None
    for wrong in ("ml-net", "nobody=file"):
        with pytest.raises(ConfigError, match="NAME=FILE"):
            tool.planned(base, tool.argparse.Namespace(**vars(given) | {"weights": [wrong]}), sets)
    light = tool.argparse.Namespace(**vars(given) | {"weights": [], "efficientnet_lite0": Path("a.pth")})
    made = tool.planned(base, light, sets)["light-efficientnet_lite0"]
    assert made.preprocess == dataclasses.replace(
        BACKBONES["efficientnet_lite0"].imagenet_input, height=CANVAS.height, width=CANVAS.width
    )


def test_the_page_shows_what_the_results_say(tool: ModuleType, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8")
    results = json.loads((ROOT / "docs" / "zoo.json").read_text(encoding="utf-8"))
    parts = tool.tables(results)
    # Which networks there are is a matter of the catalogue, too.
    parts.pop("zoo-not-trained")
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
    tool.fill_parts(tmp_path / "page.md", parts)
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page
    scored = {name for one in results["sets"].values() for name in one["models"]}
    assert len(results["sets"]) == 4 and {"sam-lite", "gbvs", "light-mobilenet_v2"} <= scored
    # The numbers of others stand apart.
    assert page.index("## Published numbers") > page.index("<!-- end of zoo-made -->")
