"""The notebooks in examples/ run from top to bottom, and are kept without what they printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def cells(path: Path) -> list[dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["nbformat"] == 4
    return list(found["cells"])


def run(path: Path) -> dict[str, Any]:
    """Executes the code of all cells, as a kernel would, and gives what is left."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells(path)):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{path.name}[{number}]", "exec"), names)
    return names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_output(path: Path) -> None:
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in cells(path)}) == len(cells(path))


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_notebook_goes_from_raw_gaze_to_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("matplotlib", "pandas", "pyarrow", "shapely", "xarray"):
        pytest.importorskip(package, reason=f"the notebook needs {package}")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    left = run(EXAMPLES / "gaze_to_figure.ipynb")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    # What was put into the recordings comes out of them: eyes go from the road to its right.
    ahead = left["seconds"].query("aoi == 'road ahead'")["dwell_share"].tolist()
    assert min(ahead[:2]) > 0.7 and max(ahead[2:]) < 0.6
    point = json.loads((tmp_path / "drive.vidsal.driving-areas.json").read_text())["about"]["vanishing_points"][0]
    assert (point["x"], point["y"]) == pytest.approx((150, 80), abs=3.2)
    left["plt"].close("all")
