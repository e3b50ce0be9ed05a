"""The comparison of backbones and heads: its page is what its results say, its counts are those counted by hand."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
from made import make_stills

from vidsal.bench import count_operations
from vidsal.errors import VidsalError
from vidsal.model.sam import SAMConfig

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("compare_backbones")


def test_the_page_shows_what_the_results_say(tool: ModuleType, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reports" / "backbones.md").read_text(encoding="utf-8")
    results = json.loads((ROOT / "docs" / "reports" / "backbones.json").read_text(encoding="utf-8"))
    parts = tool.tables(results)
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
    tool.fill_parts(tmp_path / "page.md", parts)
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page
    rows = [line.split("|")[1:-1] for line in parts["cells"].splitlines()[2:]]
    assert len(rows) == 12 and all(float(number) > 0 for row in rows for number in row[2:6])
    # Scores are there for all or for none of the three, and for the default head with every backbone.
    assert all(len({number.strip() == "-" for number in row[6:]}) == 1 for row in rows)
    assert all(float(number) > 0 for row in rows if "refine" in row[1] for number in row[6:])
    # The mean is that of the sets, each counting alike.
    cell = results["trained"]["efficientnet_lite0/refine/0"]
    assert len(cell["sets"]) == 4
    assert sum(scores["nss"] for scores in cell["sets"].values()) / 4 == pytest.approx(cell["mean"]["nss"])
    assert f"{cell['mean']['nss']:.3f}" in next(row[6] for row in rows if "lite0" in row[0] and "refine" in row[1])


def test_only_what_stands_between_the_marks_is_replaced(tool: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- end of a -->\nafter\n")
    tool.fill_parts(page, {"a": "new\n"})
    assert page.read_text() == "before\n<!-- a -->\n\nnew\n\n<!-- end of a -->\nafter\n"
    with pytest.raises(VidsalError, match="<!-- b -->"):
        tool.fill_parts(page, {"b": "new\n"})


def test_a_cell_that_is_not_there_is_refused(tool: ModuleType) -> None:
    assert tool.cells(["mobilenet_v2/refine"]) == [("mobilenet_v2", "refine")] and len(tool.cells()) == 12
    with pytest.raises(VidsalError, match="mobilenet_v2/refined"):
        tool.cells(["mobilenet_v2/refined"])


def test_results_are_read_again_whole_and_other_options_do_not_mix_with_them(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_stills(tmp_path / "set")
    monkeypatch.setattr(tool, "train", lambda *_, **__: pytest.fail("trained before the check"))
    tool.Results(tmp_path / "results.json").put(schedule={"steps": 3})
    again = tool.Results(tmp_path / "results.json")
    assert again.values == {"trained": {}, "schedule": {"steps": 3}} and not list(tmp_path.glob("*.partial"))
    given = argparse.Namespace(sets=[tmp_path / "set"], frames_per_step=4, steps=9, precision="fp32")
    with pytest.raises(VidsalError, match="another --output"):
        tool.train_cells(again, given)


def test_the_multiply_adds_of_the_upsamplers_are_those_counted_by_hand() -> None:
    def read_out(head: str) -> float:
        counted = count_operations(SAMConfig(head=head), height=240, width=320, state="carry", steps=1)  # type: ignore[arg-type]
        return counted.read_out / 2

    # Beside the 1x1 on 15 x 20 cells: transposed convolutions meet each kernel element once a cell of their input.
    bilinear = read_out("readout_bilinear")
    learned = 15 * 20 * 128 * 128 * 16 + 30 * 40 * 128 * 64 * 16
    assert read_out("readout_deconvolution") - bilinear == learned + 60 * 80 * 64 - 15 * 20 * 128
    learned = 30 * 40 * 32 * 32 * 9 + 60 * 80 * 8 * 8 * 9
    assert read_out("readout_subpixel") - bilinear == learned + 60 * 80 * 8 - 15 * 20 * 128
