"""The comparison with UNISAL, as far as it goes without it: arguments and the words of the page."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("compare_unisal")


@pytest.mark.parametrize("flag", ["--pictures=0", "--pictures=-1", "--frames=0", "--timed=0", "--clips=-1"])
def test_counts_of_nothing_are_refused(tool: ModuleType, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tool.main(["data", flag])
    assert "is no whole number from" in capsys.readouterr().err


def test_the_page_tells_which_sets_gave_fewer_clips(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "PAGE", tmp_path / "page.md")
    scores = dict.fromkeys(tool.METRICS, 1.0)
    result = {
        "stills": {},
        "clips": {"osie": {"unisal": scores}, "traffic": {"unisal": scores}},
        "clip_counts": {"osie": 30, "traffic": 20},
        "milliseconds": {"unisal": 1.0},
    }
    tool.PAGE.write_text(f"before {tool.BEGIN}{tool.END} after", encoding="utf-8")
    tool.write_docs(result, clips=30, frames=8)
    assert "stills (at most 30 a set, 20 of traffic; 8 frames each)" in tool.PAGE.read_text(encoding="utf-8")
    assert tool.how_many({"osie": 30, "scene": 30}, 30) == "30 a set"
