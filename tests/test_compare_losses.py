"""The comparison of losses: one network under each, what the page shows is what the results say."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from made import CANVAS, TINY, make_stills

from vidsal.errors import VidsalError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("compare_losses")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    config = {
        "output": str(tmp_path / "none"),
        "model": {"backbone": TINY.backbone, "recurrent_channels": 8, "priors": 2, "steps": 1},
        "preprocess": {"height": CANVAS.height, "width": CANVAS.width},
        "schedule": {"frames_per_step": 4, "clip_lengths": {1: 1.0}},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "small.yaml"


def test_every_loss_trains_the_same_network_and_is_scored_after_each_pass(
    tool: ModuleType, tmp_path: Path, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    make_stills(tmp_path / "set")
    threads = torch.get_num_threads()
    asked = [tmp_path / "set", "--config", small, "--output", tmp_path / "out", "--passes", 2, "--only", "kl", "bce"]
    try:
        assert tool.main([str(one) for one in asked]) == 0
    finally:
        torch.set_num_threads(threads)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["trained"].keys() == {"kl/0", "bce/0"}
    kl, bce = (results["trained"][f"{name}/0"] for name in ("kl", "bce"))
    assert kl["steps"] == bce["steps"] and len(kl["steps"]) == 2 and kl["steps"][1] == 2 * kl["steps"][0]
    assert kl["scores"] != bce["scores"]
    log = [json.loads(line) for line in (tmp_path / "out" / "kl-0" / "log.jsonl").read_text().splitlines()]
    assert kl["scores"][1]["auc_judd"] == log[1]["validation"]["set"]["auc_judd"]
    assert (tmp_path / "out" / "losses.png").stat().st_size > 5000
    assert f"| `bce` | {bce['scores'][1]['auc_judd']:.3f} |" in capsys.readouterr().out
    with pytest.raises(VidsalError, match="another --output"):
        tool.main([str(one) for one in [*asked, "--passes", 3]])


def test_the_page_shows_what_the_results_say(tool: ModuleType, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reports" / "losses.md").read_text(encoding="utf-8")
    results = json.loads((ROOT / "docs" / "reports" / "losses.json").read_text(encoding="utf-8"))
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
    tool.fill_parts(tmp_path / "page.md", tool.tables(results))
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page
    assert len(results["trained"]) == len(tool.LOSSES)


def test_several_seeds_are_shown_as_mean_and_range(tool: ModuleType) -> None:
    assert tool.spread([0.7]) == "0.700" and tool.spread([]) == "-"
    assert tool.spread([0.7, 0.8]) == "0.750 (0.700 to 0.800)"


def test_without_results_and_without_data_nothing_is_shown(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(VidsalError, match="no results"):
        tool.main(["--output", str(tmp_path)])
