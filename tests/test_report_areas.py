"""The page of a run with areas of interest: curves and a table of what is predicted, and of what was measured."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import chromium, open_page
from made import make_checkpoint
from media import make_video

from vidsal.aois.measured import find_measured
from vidsal.cli import main
from vidsal.gaze import Gaze, write_gaze

pytest.importorskip("shapely", reason="areas of interest need shapely")
pytest.importorskip("pyarrow", reason="tables of gaze need pyarrow")

NAME = "poles & <b>signs</b>"
AOIS = {
    "format": "vidsal-aois-1",
    "aois": [
        {"name": "left", "box": [0, 0, 50, 50]},
        {"name": NAME, "box": [50, 0, 50, 50], "start_seconds": 1.0, "end_seconds": 2.0},
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its page, and the gaze of two participants."""
    folder = tmp_path_factory.mktemp("areas")
    make_video(folder / "clip.mp4", frames=30, width=100, height=50, rate=10)
    (folder / "aois.json").write_text(json.dumps(AOIS))
    checkpoint = make_checkpoint(folder / "tiny.safetensors")
    words = ["run", str(folder / "clip.mp4"), "--aois", str(folder / "aois.json"), "--model", str(checkpoint)]
    assert main([*words, "--report", "-q", "--preset", "ultrafast"]) == 0
    seconds = [number / 10 for number in range(30)]
    gaze = Gaze.of(
        participant=["a"] * 30 + ["b"] * 30,
        trial="clip",
        pts_seconds=seconds * 2,
        x=[25.0] * 30 + [75.0] * 15 + [25.0] * 15,
        y=25.0,
    )
    write_gaze(gaze, folder / "gaze.csv")
    return folder


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    return dict(json.loads(found[1]))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def measure(folder: Path, to: Path) -> None:
    words = ["aoi", "measure", str(folder / "gaze.csv"), "--aois", str(folder / "aois.json"), "--overwrite", "-q"]
    more = ["--video", str(folder / "clip.mp4"), "--predicted", str(folder / "clip.vidsal.aois.csv")]
    assert main([*words, *more, "--out", str(to)]) == 0


def test_the_page_has_the_shares_of_the_tables_and_no_text_becomes_markup(folder: Path) -> None:
    page = folder / "clip.vidsal.html"
    data = data_of(page)
    assert data["areas"]["names"] == ["left", NAME]
    rows = rows_of(folder / "clip.vidsal.aois.csv")
    for place, name in enumerate(data["areas"]["names"]):
        own = [row for row in rows if row["aoi"] == name]
        told = [float(row["predicted_share"]) if float(row["area_share"]) else None for row in own]
        assert data["areas"]["low"][f"area{place}"] == data["areas"]["high"][f"area{place}"] == told
    assert told[:10] == [None] * 10 and None not in told[10:20]
    text = page.read_text()
    assert "poles &amp; &lt;b&gt;signs&lt;/b&gt;" in text and "<b>signs" not in text
    summary = rows_of(folder / "clip.vidsal.aois-summary.csv")
    for row in summary:
        assert f'title="{float(row["predicted_share"]):.9g}"' in text
    assert "Dwell share" not in text


def test_a_report_of_finished_results_is_that_of_the_run_and_shows_a_study_beside_it(folder: Path) -> None:
    page = folder / "clip.vidsal.html"
    before = data_of(page)["areas"]
    assert main(["report", str(folder / "clip.mp4"), "--overwrite", "-q"]) == 0
    assert data_of(page)["areas"] == before
    measure(folder, folder)
    assert main(["report", str(folder / "clip.mp4"), "--overwrite", "-q"]) == 0
    areas = data_of(page)["areas"]
    assert areas["participants"] == 2
    seconds = [row for row in rows_of(folder / "seconds.csv") if row["aoi"] == "left"]
    told = areas["low"]["area0_measured"]
    assert told == [pytest.approx(float(seconds[frame // 10]["dwell_share"])) for frame in range(30)]
    assert told[0] == 0.5 and told[29] == 1.0
    assert "Dwell share" in page.read_text() and "2 participants" in page.read_text()


def test_a_study_of_another_video_or_other_areas_is_not_shown(folder: Path, tmp_path: Path) -> None:
    measure(folder, tmp_path)
    names = ["left", NAME]
    found, message = find_measured(tmp_path, video="clip.mp4", names=names)
    assert found is not None and not message and list(found.seconds) == names
    assert find_measured(tmp_path, video="other.mp4", names=names) == (None, "")
    assert find_measured(tmp_path / "none", video="clip.mp4", names=names) == (None, "")
    assert "other areas" in find_measured(tmp_path, video="clip.mp4", names=["left"])[1]
    (tmp_path / "seconds.csv").write_text("aoi,start_seconds\nleft,x\n")
    assert find_measured(tmp_path, video="clip.mp4", names=names)[1].startswith("what was measured is not shown")


def test_the_table_of_a_picture_has_no_times(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (50, 100, 3), dtype=np.uint8)
    assert cv2.imwrite(str(tmp_path / "still.png"), pixels)
    (tmp_path / "aois.json").write_text(json.dumps({**AOIS, "aois": AOIS["aois"][:1]}))
    checkpoint = make_checkpoint(tmp_path / "tiny.safetensors")
    words = ["run", str(tmp_path / "still.png"), "--aois", str(tmp_path / "aois.json"), "--model", str(checkpoint)]
    assert main([*words, "--report", "-q"]) == 0
    text = (tmp_path / "still.vidsal.html").read_text()
    table = text[text.index('<table id="areas">') : text.index("</table>", text.index('<table id="areas">'))]
    assert "Predicted share" in table and "First peak" not in table and table.count("<td") == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_the_areas_without_a_word(folder: Path, scheme: str) -> None:
    with chromium() as browser, open_page(browser, folder / "clip.vidsal.html", color_scheme=scheme) as opened:
        page = opened.page
        page.wait_for_selector("html[data-ready]")
        keys = page.locator("#curves .key").all_text_contents()
        assert any(f"{NAME}, predicted" in key for key in keys)
        assert page.locator("#areas tbody tr").count() == 2
        assert page.locator("#areas tbody th").nth(1).text_content() == NAME
        plots = page.locator("#curves canvas")
        assert plots.count() == 4 and all(box["width"] > 100 for box in map(bounds, plots.all()))
        assert not opened.said and not opened.blocked


def bounds(element: Any) -> dict[str, float]:
    return dict(element.bounding_box())
