"""The study of centre biases: its bits are those worked out by hand, and the page gets its table."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path

import numpy as np
import pytest
from test_train_centre_bias import lopsided_stills

from vidsal.data.fixations import is_validation
from vidsal.errors import DatasetError
from vidsal.train import TrainConfig
from vidsal.train.centre_bias import CELLS, estimate_centre_bias
from vidsal.train.samples import open_data


def test_the_bits_are_those_of_the_validation_fixations_and_the_page_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tool, page = importlib.import_module("measure_centre_bias"), tmp_path / "models.md"
    page.write_text("<!-- centre-bias -->\nold\n<!-- end of centre-bias -->\n")
    monkeypatch.setattr(tool, "PAGE", page)
    root = lopsided_stills(tmp_path / "set")
    assert tool.main([str(root), "--write-docs"]) == 0
    shown = [cell.strip() for cell in capsys.readouterr().out.splitlines()[2].split("|")[1:-1]]
    assert f"| {' | '.join(shown)} |" in page.read_text() and "old" not in page.read_text()

    data = open_data(TrainConfig(output=tmp_path, datasets=(root,)))
    estimate = estimate_centre_bias(data)
    density = np.exp(estimate.log_density.astype(np.float64)) * CELLS**2
    with (root / "fixations.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if is_validation("set", row["image"])]
    places = [(float(row["x"]) / float(row["width"]), float(row["y"]) / float(row["height"])) for row in rows]
    # In the cell of the estimate in which each fixation lies; the study looks it up in the pixels of the picture.
    bits = np.mean([np.log2(density[int(y * CELLS), int(x * CELLS)]) for x, y in places])
    assert shown[0] == "set" and int(shown[1]) == len(data.stills[0].training)
    assert shown[2:4] == [f"{estimate.width:.1%}", f"{estimate.even:.2%}"]
    assert float(shown[4]) == pytest.approx(bits, abs=0.1)
    # Where all look aside, the middle is worse than nothing.
    assert float(shown[4]) > 2 > 0 > float(shown[5])


def test_pictures_that_nobody_looked_at_are_no_measure() -> None:
    tool = importlib.import_module("measure_centre_bias")
    with pytest.raises(DatasetError, match="no validation picture has fixations"):
        tool.mean_bits([], lambda rows, columns: pytest.fail(f"asked for {rows}x{columns}"))
