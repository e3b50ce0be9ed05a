"""Figures for a paper: their size, fonts, legends, and that what is drawn is what was scored."""

from __future__ import annotations

import csv
import dataclasses
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made import make_checkpoint
from made_study import VIEWERS, make_study

from vidsal.cli import main
from vidsal.errors import ConfigError, ExistsError, VidsalError
from vidsal.evaluate import EvalOptions, EvaluationOptions, FigureOptions, draw_figures, evaluate, read_summary
from vidsal.evaluate import draw as drawing
from vidsal.evaluate.paper import Dot, Line, ShownMap, paper_style, plot_dots, plot_lines, plot_maps, plot_strips
from vidsal.pipe.options import ModelOptions

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished evaluation with participants, a scenario of videos and one of viewings."""
    folder = tmp_path_factory.mktemp("figures")
    root, trials = make_study(folder / "own"), folder / "trials.csv"
    lines = [
        f"{video},{who},{'rain' if video == 'a' else 'sun'},{'m' if who in VIEWERS[:2] else 'a'}"
        for video in "ab"
        for who in VIEWERS
    ]
    trials.write_text("\n".join(["video,participant,weather,mode", *lines]) + "\n")
    options = EvalOptions(
        evaluation=EvaluationOptions(
            out=folder / "out",
            split="all",
            baselines="centre-prior,inter-observer",
            metrics="nss,cc,auc_judd",
            trials=trials,
        ),
        model=ModelOptions(model=str(make_checkpoint(folder / "tiny.safetensors")), device="cpu"),
    )
    return evaluate("simple", root, options=options).out


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Figures by the names of their files, instead of files."""
    kept: dict[str, Any] = {}

    def keep(figure: Any, path: Path) -> Path:
        kept[path.stem] = figure
        return path

    monkeypatch.setattr(drawing, "save_figure", keep)
    return kept


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


# What is drawn.


def test_every_kind_that_a_result_has_is_drawn_but_maps(result: Path, drawn: dict[str, Any]) -> None:
    draw_figures(result)
    assert list(drawn) == ["scores", "timeline-nss", "strip-nss", "participants", "scenarios-nss"]


def test_a_timeline_shows_the_means_of_seconds_that_the_table_has(result: Path, drawn: dict[str, Any]) -> None:
    draw_figures(result, kinds=["timeline"], options=FigureOptions(metrics="nss,cc", sources="centre-prior,model"))
    assert list(drawn) == ["timeline-nss", "timeline-cc"]
    rows = rows_of(result / "seconds.csv")
    for metric in ("nss", "cc"):
        panels = drawn[f"timeline-{metric}"].axes
        assert [panel.get_title(loc="left") for panel in panels] == ["mean of 2 videos", "a.mp4", "b.mp4"]
        for panel, sequence in zip(panels, ("", "a.mp4", "b.mp4"), strict=True):
            expected = [
                float(row[metric]) for row in rows if row["sequence"] == sequence and row["source"] == "centre-prior"
            ]
            line = panel.lines[-1]  # the first source comes last, on top
            shown = np.asarray(line.get_ydata(), float)
            assert shown[np.isfinite(shown)] == pytest.approx(expected, rel=1e-6)
            assert line.get_xdata()[0] == 0.5


def test_scores_participants_and_scenarios_have_a_dot_for_every_number(result: Path, drawn: dict[str, Any]) -> None:
    summary = read_summary(result)
    draw_figures(result, kinds=["scores", "participants", "scenarios"], options=FigureOptions(by="mode"))

    def dots(panel: Any) -> set[tuple[float, float]]:
        return {
            (round(float(x), 6), float(y))
            for line in panel.lines
            if line.get_marker() == "o"
            for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
        }

    nss = drawn["scores"].axes[0]
    sources = ("model", "centre-prior", "inter-observer")
    assert dots(nss) == {(round(summary.scores[name]["nss"].value, 6), place) for place, name in enumerate(sources)}
    people = drawn["participants"].axes[0]
    assert [text.get_text() for text in people.get_yticklabels()] == list(VIEWERS)
    assert dots(people) == {
        (round(summary.by_participant[who]["scores"][name]["nss"], 6), place)
        for place, who in enumerate(VIEWERS)
        for name in sources
    }
    modes = drawn["scenarios-nss"].axes[0]
    assert modes.get_title(loc="left") == "mode"
    assert [text.get_text() for text in modes.get_yticklabels()] == ["a (2)", "m (2)"]


def test_a_strip_has_the_metric_of_each_second_and_nothing_after_the_end(result: Path, drawn: dict[str, Any]) -> None:
    draw_figures(result, kinds=["strip"])
    cells = np.ma.filled(drawn["strip-nss"].axes[0].collections[0].get_array(), np.nan).reshape(2, 3)
    rows = {
        (row["sequence"], int(row["second"])): float(row["nss"])
        for row in rows_of(result / "seconds.csv")
        if row["source"] == "model" and row["sequence"]
    }
    for place, video in enumerate(("a.mp4", "b.mp4")):
        for second in range(3):
            assert cells[place, second] == pytest.approx(rows.get((video, second), np.nan), nan_ok=True)


def test_maps_by_scenario_show_the_fixations_of_those_it_is_said_of(result: Path, drawn: dict[str, Any]) -> None:
    draw_figures(result, kinds=["maps"])
    assert list(drawn) == ["maps-mode", "maps-weather"]
    for name, titles in (("maps-mode", ["a (2)", "m (2)"]), ("maps-weather", ["rain (1)", "sun (1)"])):
        panels = [panel for panel in drawn[name].axes if panel.images]
        assert [panel.get_title(loc="left") for panel in panels] == titles
        values = [np.asarray(panel.images[0].get_array()) for panel in panels]
        assert all(each.mean() == pytest.approx(1, rel=1e-3) for each in values)  # multiples of a uniform density
        assert np.abs(values[0] - values[1]).max() > 0.1
        assert len({panel.images[0].get_clim() for panel in panels}) == 1


def test_shares_of_areas_are_drawn_predicted_and_measured(tmp_path: Path, drawn: dict[str, Any]) -> None:
    pytest.importorskip("pyarrow")
    table = tmp_path / "seconds.csv"
    table.write_text(
        "aoi,start_seconds,predicted_share,dwell_share,low,high,participants,off\n"
        "road,0,0.4,0.8,0.6,0.9,8,true\nroad,1,0.5,,,,0,false\nmirror,0,0.1,0.2,0.1,0.3,8,false\n"
    )
    draw_figures(table)
    road, mirror = drawn["aois-seconds"].axes
    assert [panel.get_title(loc="left") for panel in (road, mirror)] == ["road", "mirror"]
    predicted, dwell = (np.asarray(line.get_ydata(), float) for line in road.lines)
    assert predicted.tolist() == [0.4, 0.5] and dwell[0] == 0.8 and np.isnan(dwell[1])
    with pytest.raises(ConfigError, match=r"nothing for .*strip.*of it there is aois"):
        draw_figures(table, kinds=["strip"])


def test_a_strip_of_maps_follows_the_density_along_both_sides(tmp_path: Path, drawn: dict[str, Any]) -> None:
    density = np.full((5, 6, 8), 1e-4)
    for frame in range(5):
        density[frame, 1, frame + 1] = 1
    density /= density.sum((1, 2), keepdims=True)
    path = tmp_path / "drive.vidsal.maps.npz"
    np.savez(path, log_density=np.log(density).astype(np.float32), pts_seconds=np.arange(5) / 5, height=60, width=80)
    draw_figures(path)
    across, down = drawn["strip-drive"].axes[:2]
    columns = across.collections[0].get_array().reshape(8, 5)
    assert columns.argmax(axis=0).tolist() == [1, 2, 3, 4, 5]
    assert down.collections[0].get_array().reshape(6, 5).argmax(axis=0).tolist() == [1] * 5
    assert columns.mean() == pytest.approx(1)


def test_a_file_that_holds_no_maps_and_one_of_another_kind_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=1)
    (tmp_path / "cut.npz").write_bytes(b"PK")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    (tmp_path / "notes.txt").write_text("mine")
    for name, message in (
        ("other.npz", "has no log_density"),
        ("cut.npz", "cannot be read as maps of a run"),
        ("rows.csv", "is no table of areas over time"),
        ("notes.txt", "is no result that can be drawn"),
    ):
        with pytest.raises(VidsalError, match=message):
            draw_figures(tmp_path / name)


# How it is drawn.

MANY = [f"a source with a long name {number}" for number in range(7)]


def made_figures(options: FigureOptions, names: list[str] = MANY) -> dict[str, Any]:
    """One figure of each kind of drawing, with many sources."""
    seconds = np.arange(5) + 0.5
    line = Line(seconds, np.sin(seconds), np.sin(seconds) - 1, np.sin(seconds) + 1)
    dots = {name: Dot(float(place), place - 0.5, place + 0.5) for place, name in enumerate(names)}
    grid = np.arange(12.0).reshape(3, 4)
    return {
        "lines": plot_lines(
            {"one": dict.fromkeys(names, line), "$two_": {names[0]: line}}, label="NSS", options=options
        ),
        "dots": plot_dots(
            {"NSS": {"P1": dots, "P2": dots}, "CC": {"P1": dots}}, options=options, labels={"NSS": "more"}
        ),
        "strips": plot_strips({"model": (np.arange(5.0), ["a", "b", "c"], grid)}, label="NSS", options=options),
        "maps": plot_maps([ShownMap("all", grid + 1, 0.75)] * 2, options=options),
    }


# The font that comes with matplotlib is wider than those that are taken before it, where they are installed.
@pytest.mark.parametrize("font", [None, "DejaVu Sans"])
@pytest.mark.parametrize("width", [60.0, 88.0, 180.0])
def test_legends_cover_nothing_and_nothing_leaves_the_figure(width: float, font: str | None) -> None:
    options = FigureOptions(width_mm=width, font=font)
    with paper_style(options):
        for name, figure in made_figures(options).items():
            figure.draw_without_rendering()
            renderer = figure.canvas.get_renderer()
            whole = figure.bbox.padded(2)
            boxes = [panel.get_tightbbox(renderer) for panel in figure.axes if panel.axison]
            assert all(whole.contains(*corner) for box in boxes for corner in (box.min, box.max)), name
            assert len(figure.legends) == (name in ("lines", "dots"))
            for legend in figure.legends:
                covered = legend.get_window_extent(renderer)
                assert not any(box.overlaps(covered) for box in boxes), name
                assert whole.contains(*covered.min) and whole.contains(*covered.max)


def test_names_that_are_wider_than_the_figure_are_broken_in_its_legend_and_the_figure_grows() -> None:
    names = [f"a network taught by another one on clips with a branch for motion, run {number}" for number in range(5)]
    names.append("runs/" + "a_name_without_a_blank" * 3)
    options = FigureOptions(width_mm=40, font="DejaVu Sans")
    with paper_style(options):
        shown = {key: made_figures(options, names)[key] for key in ("lines", "dots")}
        for name, figure in shown.items():
            figure.draw_without_rendering()
            renderer = figure.canvas.get_renderer()
            (legend,) = figure.legends
            covered, whole = legend.get_window_extent(renderer), figure.bbox.padded(2)
            assert whole.contains(*covered.min) and whole.contains(*covered.max), name
            assert not any(panel.get_tightbbox(renderer).overlaps(covered) for panel in figure.axes), name
            written = [text.get_text() for text in legend.get_texts()]
            assert ["".join(text.split()) for text in written] == ["".join(each.split()) for each in names]
            assert figure.axes[0].get_window_extent().height > 5 / 25.4 * figure.dpi, name
            assert figure.get_figwidth() == pytest.approx(40 / 25.4)
        lines = shown["lines"]
        boxes = [panel.get_window_extent() for panel in lines.axes]
        beside = lines._supylabel.get_window_extent()  # type: ignore[attr-defined]
        middle = (max(box.y1 for box in boxes) + min(box.y0 for box in boxes)) / 2
        assert (beside.y0 + beside.y1) / 2 == pytest.approx(middle, abs=2)
        # A height that was asked for stays.
        fixed = made_figures(dataclasses.replace(options, height_mm=180), names)["lines"]
        assert fixed.get_figheight() == pytest.approx(180 / 25.4)
    with paper_style(wide := FigureOptions(width_mm=180)):
        (legend,) = made_figures(wide)["lines"].legends
        assert [text.get_text() for text in legend.get_texts()] == MANY


def test_a_pdf_has_the_width_that_was_asked_for_and_its_fonts_embedded_as_truetype(
    result: Path, tmp_path: Path
) -> None:
    options = FigureOptions(width_mm=88, height_mm=70, font="DejaVu Serif")
    (path,) = draw_figures(result, kinds=["timeline"], out=tmp_path / "one", options=options)
    data = path.read_bytes()
    assert path.name == "timeline-nss.pdf" and data.startswith(b"%PDF-")
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", data)
    assert [float(side) / 72 * 25.4 for side in box] == pytest.approx([88, 70], abs=0.01)
    assert b"/CIDFontType2" in data and b"/FontFile2" in data and b"/Type3" not in data
    assert b"DejaVuSerif" in data and b"CreationDate" not in data
    (again,) = draw_figures(result, kinds=["timeline"], out=tmp_path / "two", options=options)
    assert again.read_bytes() == data


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="needs pdftoppm")
def test_a_pdf_opens_and_is_not_empty(result: Path, tmp_path: Path) -> None:
    for path in draw_figures(result, out=tmp_path):
        subprocess.run(["pdftoppm", "-r", "60", "-png", path, path.with_suffix("")], check=True)
        (shown,) = tmp_path.glob(f"{path.stem}-*1.png")
        assert 0.005 < float((cv2.imread(str(shown), cv2.IMREAD_GRAYSCALE) < 200).mean()) < 0.9


def test_an_svg_keeps_its_text_and_a_png_has_its_pixels(result: Path, tmp_path: Path) -> None:
    (svg,) = draw_figures(result, kinds=["participants"], out=tmp_path, options=FigureOptions(figure_format="svg"))
    text = svg.read_text(encoding="utf-8")
    assert all(f">{who}</text>" in text for who in VIEWERS) and "<dc:date>" not in text
    wanted = FigureOptions(figure_format="png", width_mm=50.8, dpi=100)
    (png,) = draw_figures(result, kinds=["strip"], out=tmp_path, options=wanted)
    assert cv2.imread(str(png)).shape[1] == 200


def test_the_style_is_shipped_and_ones_own_is_laid_over_it(tmp_path: Path) -> None:
    own = tmp_path / "own.mplstyle"
    own.write_text("axes.grid: False\nfont.size: 11\n")
    before = matplotlib.rcParams["font.size"]
    with paper_style(FigureOptions(font_size=6)):
        assert matplotlib.rcParams["font.size"] == 6 and matplotlib.rcParams["pdf.fonttype"] == 42
        assert matplotlib.rcParams["axes.grid"]
    with paper_style(FigureOptions(style=own)):
        assert matplotlib.rcParams["font.size"] == 11 and not matplotlib.rcParams["axes.grid"]
    assert matplotlib.rcParams["font.size"] == before
    with matplotlib.rc_context():
        matplotlib.style.use("vidsal.evaluate.paper")
        assert matplotlib.rcParams["image.cmap"] == "cividis"


# What is refused.


@pytest.mark.parametrize(
    ("options", "kinds", "message"),
    [
        ({"font": "No Such Letters"}, [], "font.* is not installed; there are "),
        ({"style": Path("missing.mplstyle")}, [], "style.* cannot be used"),
        ({"sources": "gbvs"}, [], "'gbvs' is not there; there are model, centre-prior, inter-observer"),
        ({"metrics": "kl"}, ["timeline"], "'kl' is not there; there are nss, cc, auc_judd"),
        ({"by": "road"}, ["scenarios"], "'road' is not there; there are mode, weather"),
        ({"sequences": "z.mp4"}, ["timeline"], "'z.mp4' is not there; there are a.mp4, b.mp4"),
        ({}, ["aois"], "nothing for .*aois.*NAME.vidsal.aois.csv"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    result: Path, tmp_path: Path, options: dict[str, Any], kinds: list[Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        draw_figures(result, kinds=kinds, out=tmp_path / "out", options=FigureOptions(**options))
    assert not (tmp_path / "out").exists()


def test_the_command_draws_says_where_and_replaces_only_what_it_may(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "figure",
        str(result),
        "--kind",
        "strip",
        "--out",
        str(tmp_path),
        "--figure-format",
        "png",
        "--dpi",
        "60",
    ]
    assert main(arguments) == 0
    path = tmp_path / "strip-nss.png"
    assert capsys.readouterr().out.split() == [str(path)]
    before = zlib.crc32(path.read_bytes())
    assert main(arguments) == 3 and "--overwrite" in capsys.readouterr().err
    with pytest.raises(ExistsError):
        draw_figures(result, kinds=["strip"], out=tmp_path, options=FigureOptions(figure_format="png"))
    assert zlib.crc32(path.read_bytes()) == before
    assert main([*arguments, "--overwrite"]) == 0
    capsys.readouterr()
    assert main(["figure", str(result), "--kind", "striq"]) == 2 and "did you mean strip?" in capsys.readouterr().err
    assert main(["figure", str(tmp_path / "none")]) == 2 and "no such file or folder" in capsys.readouterr().err
