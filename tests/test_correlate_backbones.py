"""ImageNet's top-1 against saliency: the correlation by hand, what is trained, a page that shows its results."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from made import make_stills

from vidsal.errors import VidsalError
from vidsal.train import TrainConfig

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("correlate_backbones")


def test_the_correlation_and_its_interval_are_those_of_the_formula(tool: ModuleType) -> None:
    x, y = [71.9, 75.1, 76.7, 77.6, 80.0], [1.0, 1.2, 1.1, 1.4, 1.3]
    dx, dy = np.array(x) - np.mean(x), np.array(y) - np.mean(y)
    r = (dx * dy).sum() / math.sqrt((dx**2).sum() * (dy**2).sum())
    ends = [math.tanh(math.atanh(r) + sign * 1.959964 / math.sqrt(5 - 3)) for sign in (-1, 1)]
    assert tool.correlation(list(zip(x, y, strict=True))) == pytest.approx((r, *ends), abs=1e-6)
    assert math.isnan(tool.correlation([(0, 1), (1, 1), (2, 1)])[0])
    # Three points say nothing of an interval, whatever the line.
    assert tool.correlation([(0, 0), (1, 1), (2, 2)]) == pytest.approx((1, -1, 1))


def test_the_page_shows_what_the_results_say(tool: ModuleType, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reports" / "backbones.md").read_text(encoding="utf-8")
    results = json.loads((ROOT / "docs" / "reports" / "backbones_top1.json").read_text(encoding="utf-8"))
    parts = tool.tables(results)
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
    tool.fill_parts(tmp_path / "page.md", parts)
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in parts["top1"].splitlines()[2:]]
    # Pearson's r of the rounded means in the table itself.
    tops = [float(row[1]) for row in rows[:-2]]
    assert len(tops) >= 3
    for column in (2, 4):
        own = np.corrcoef(tops, [float(row[column].split()[0]) for row in rows[:-2]])[0, 1]
        assert float(rows[-2][column]) == pytest.approx(own, abs=0.05)
    cell = results["trained"]["mobilenet_v2/imagenet/0"]
    assert np.mean([scores["nss"] for scores in cell["sets"].values()]) == pytest.approx(cell["mean"]["nss"])


def test_every_backbone_is_trained_alike_from_its_weights_and_from_random_ones(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    make_stills(tmp_path / "set")
    seen: list[TrainConfig] = []

    def train(config: TrainConfig, *, on_progress: Any) -> Path:
        seen.append(config)
        return config.output

    def read(path: Path) -> tuple[None, None, SimpleNamespace]:
        # As if Lite0 and Lite2 were better and worse than MobileNetV2 by their weights, and all alike without.
        gain = {"lite0": 0.1, "lite1": 0.2, "lite2": 0.3}.get(path.name.split("-")[0][-5:], 0) * (
            "imagenet" in path.name
        )
        return None, None, SimpleNamespace(scores={"set": {"nss": 1 + gain, "cc": 0.5 + 0.01 * seen[-1].seed}})

    monkeypatch.setattr(tool, "train", train)
    monkeypatch.setattr(tool, "read_checkpoint", read)
    asked = [str(tmp_path / "set"), "--output", str(tmp_path / "out"), "--seeds", "0", "1"]
    files = ["--mobilenet_v2", "m.pth", "--efficientnet_lite0", "a.pth", "--efficientnet_lite2", "b.pth"]
    threads = torch.get_num_threads()
    try:
        with pytest.raises(VidsalError, match="at least three of mobilenet_v2"):
            tool.main([*asked, *files[:4]])
        assert tool.main([*asked, *files]) == 0
        assert len(seen) == 3 * 2 * 2
        # Called again, nothing is left to do; with another recipe it does not mix.
        assert tool.main([*asked, *files]) == 0 and len(seen) == 12
        with pytest.raises(VidsalError, match="another --output"):
            tool.main([*asked, *files, "--passes", "7"])
    finally:
        torch.set_num_threads(threads)
    for one in seen:
        assert (one.imagenet_weights is None) == (not one.freeze_backbone_statistics) == ("random" in one.output.name)
        assert one.model is not None and one.preprocess is not None and one.preprocess.height == 64
        assert one.preprocess.divisor == (255 if one.model.backbone == "mobilenet_v2" else 1)
        assert (one.model.head, one.schedule) == (seen[0].model.head, seen[0].schedule)  # type: ignore[union-attr]
    assert len({one.output for one in seen}) == 12
    shown = capsys.readouterr().out
    assert "| `efficientnet_lite0` | 75.1 | 1.100 (1.100 to 1.100) | 0.505 (0.500 to 0.510) |" in shown
    r = np.corrcoef([71.9, 75.1, 77.6], [1, 1.1, 1.3])[0, 1]
    assert f"| **Pearson's r with top-1** | | **{r:.2f}** | - | - | - |" in shown and "-1.00 to 1.00" in shown
    assert (tmp_path / "out" / "backbones.png").stat().st_size > 5000
