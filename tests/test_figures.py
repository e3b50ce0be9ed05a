"""Figures of an evaluation: what is drawn is what was recorded and predicted; matplotlib's own objects tell."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import layout_fixtures as made
import numpy as np
import numpy.typing as npt
import pytest

from vidsal.cli import main
from vidsal.data.layouts import Fixations
from vidsal.errors import ConfigError, EncodeError
from vidsal.evaluate import EvalOptions, EvaluationOptions, evaluate
from vidsal.evaluate.evaluation import open_source
from vidsal.evaluate.figures import (
    SheetRow,
    check_matplotlib,
    contact_sheet,
    plot_reliability,
    plot_scores,
    rank_sequences,
    save_figure,
)
from vidsal.evaluate.gallery import draw_evaluation
from vidsal.evaluate.reliability import EDGES, Reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

pytest.importorskip("matplotlib")


def sample(density: npt.NDArray[np.float64], count: int, *, seed: int) -> Fixations:
    """Points drawn from a density, each in the middle of its cell."""
    cells = np.random.default_rng(seed).choice(density.size, count, p=density.ravel())
    rows, columns = np.divmod(cells, density.shape[1])
    return Fixations.on_picture(
        np.stack([columns + 0.5, rows + 0.5], 1), height=density.shape[0], width=density.shape[1]
    )


def peaked(height: int = 24, width: int = 32, *, power: float = 1) -> npt.NDArray[np.float64]:
    y, x = np.mgrid[:height, :width]
    values = np.exp(-((x - width / 3) ** 2 + (y - height / 2) ** 2) / (2 * 5.0**2)) + 0.02
    return np.asarray(values**power / (values**power).sum())


# Ranks.


def test_ranks_are_best_median_and_worst_in_the_metrics_own_sense() -> None:
    means = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.4, "e": 0.6, "f": float("nan")}
    assert rank_sequences(means, better="higher") == {"best": ["b"], "median": ["c"], "worst": ["a"]}
    assert rank_sequences(means, better="lower") == {"best": ["a"], "median": ["c"], "worst": ["b"]}


def test_no_sequence_has_two_ranks() -> None:
    for count in range(1, 12):
        means = {str(number): float(number) for number in range(count)}
        for wanted in (1, 3, 4):
            ranks = rank_sequences(means, better="higher", count=wanted)
            names = [name for each in ranks.values() for name in each]
            assert len(names) == len(set(names))
            assert next(iter(ranks)) == "best"
    assert rank_sequences({}, better="higher") == {}
    assert rank_sequences({"a": 1.0, "b": 2.0}, better="higher") == {"best": ["b"], "worst": ["a"]}


# Reliability.


def test_fixations_drawn_from_the_density_fall_where_it_says() -> None:
    density, counts = peaked(), Reliability()
    for seed in range(20):
        counts.update(density, sample(density, 500, seed=seed))
    assert counts.fixations == 10_000
    assert counts.frames == 20
    assert counts.gap < 0.02
    assert counts.expected.sum() == pytest.approx(10_000)
    assert counts.by_chance.sum() == pytest.approx(10_000)


@pytest.mark.parametrize(("power", "sure"), [(2.0, True), (0.5, False)])
def test_a_density_that_is_too_sure_or_too_vague_shows(power: float, sure: bool) -> None:
    counts = Reliability()
    for seed in range(20):
        counts.update(peaked(power=power), sample(peaked(), 500, seed=seed))
    assert counts.gap > 0.1
    high = np.flatnonzero(counts.expected > 50)[-1]
    assert (counts.observed[high] < counts.expected[high]) == sure


def test_frames_count_by_their_fixations_and_the_scale_of_a_map_does_not() -> None:
    # Of four cells the densities relative to uniform are 2, 1, .8 and .2.
    values = np.array([[0.5, 0.25], [0.2, 0.05]], np.float32)
    points = Fixations.on_picture([[0.5, 0.5]] * 3 + [[1.5, 1.5]], height=2, width=2)
    counts = Reliability()
    counts.update(255 * values, points)
    counts.update(values, Fixations.on_picture(np.zeros((0, 2)), height=2, width=2))
    assert (counts.frames, counts.fixations) == (1, 4)
    at = np.searchsorted(EDGES, [2.0, 0.2], side="right")
    assert counts.expected[at].tolist() == pytest.approx([2.0, 0.2])
    assert counts.observed[at].tolist() == [3, 1]
    assert counts.gap == pytest.approx(((3 - 2) + (1 - 0.2)) / 4)
    counts.reset()
    assert np.isnan(counts.gap)


def test_points_are_scaled_to_the_maps_cells() -> None:
    counts = Reliability()
    counts.update(np.array([[0.9, 0.1]], np.float32), Fixations.on_picture([[75, 10]], height=50, width=100))
    assert counts.observed[np.searchsorted(EDGES, 0.2, side="right")] == 1


# Drawing.


def sheet_row(*, truth: bool = True) -> SheetRow:
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    density = peaked().astype(np.float32)
    points = Fixations.on_picture([[20, 20], [40, 90]], height=96, width=128)
    return SheetRow("0.5 s", picture, density[::-1], density if truth else None, points if truth else None)


def test_a_sheet_shows_frame_truth_prediction_and_overlay() -> None:
    row = sheet_row()
    figure = contact_sheet([row, row], title="a_$title$")
    assert [axes.get_title() for axes in figure.axes[:4]] == ["frame", "recorded", "predicted", "overlay"]
    assert len(figure.axes) == 8
    frame, truth, prediction, drawn = (np.asarray(axes.images[0].get_array()) for axes in figure.axes[:4])
    np.testing.assert_array_equal(frame, row.picture)
    assert row.truth is not None
    np.testing.assert_allclose(truth, np.sqrt(row.truth * row.truth.size), rtol=1e-5)
    np.testing.assert_allclose(prediction, np.sqrt(row.prediction * row.prediction.size), rtol=1e-5)
    assert drawn.shape == row.picture.shape
    assert (drawn != row.picture).any()
    # Both on one scale, and the points on the picture's: the stimulus is twice its size.
    assert figure.axes[1].images[0].get_clim() == figure.axes[2].images[0].get_clim()
    np.testing.assert_allclose(figure.axes[1].collections[0].get_offsets(), [[10, 10], [20, 45]])


def test_a_frame_without_a_record_says_so() -> None:
    figure = contact_sheet([sheet_row(truth=False)], title="none")
    assert not figure.axes[1].images
    assert [text.get_text() for text in figure.axes[1].texts] == ["none"]


def test_a_map_of_zeros_can_be_drawn(tmp_path: Path) -> None:
    row = SheetRow("zero", np.zeros((8, 8, 3), np.uint8), np.zeros((4, 4), np.float32), None)
    assert save_figure(contact_sheet([row], title="zero"), tmp_path / "zero.png").stat().st_size > 0


def test_each_metric_has_a_panel_and_gaps_stay_gaps() -> None:
    seconds = np.arange(5) / 25
    nss = np.array([1.0, 2.0, np.nan, 4.0, 5.0])
    figure = plot_scores(seconds, {"model": {"nss": nss, "kl": nss}, "gbvs": {"nss": nss / 2}}, title="one")
    first, second = figure.axes
    assert first.get_title(loc="left") == "NSS (higher is better)"
    assert "lower is better" in second.get_title(loc="left")
    curves = [line for line in first.lines if len(line.get_xdata()) == 5]
    assert len(curves) == 2
    np.testing.assert_array_equal(np.asarray(curves[-1].get_ydata()), nss)
    (mean,) = [line for line in first.lines if len(line.get_xdata()) == 2]
    assert np.asarray(mean.get_ydata())[0] == 3


def test_the_reliability_of_a_right_density_lies_on_the_diagonal() -> None:
    right, wrong = Reliability(), Reliability()
    for seed in range(10):
        right.update(peaked(), sample(peaked(), 500, seed=seed))
        wrong.update(peaked(power=3), sample(peaked(), 500, seed=seed))

    def distance(counts: Reliability) -> float:
        figure = plot_reliability({"model": counts}, title="one")
        points = np.concatenate([np.asarray(each.get_offsets()) for each in figure.axes[0].collections])
        return float(np.abs(points[:, 0] - points[:, 1]).max())

    assert distance(right) < 0.02
    assert distance(wrong) > 0.1
    with pytest.raises(ValueError, match="no fixations"):
        plot_reliability({"model": Reliability()}, title="none")


def test_the_same_figure_gives_the_same_file(tmp_path: Path) -> None:
    first, second = (
        save_figure(contact_sheet([sheet_row()], title="x"), tmp_path / name) for name in ("a.png", "b.png")
    )
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_figure_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EncodeError, match="cannot write"):
        save_figure(contact_sheet([sheet_row()], title="x"), tmp_path / "file" / "a.png")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'vidsal\[figures\]'"):
        check_matplotlib()


# A whole evaluation.

SHOTS = {"actioncliptest00001_1": (1, 6), "actioncliptest00002_1": (1, 7), "actioncliptest00003_1": (1, 8)}
MIDDLING, RIGHT, LATE = SHOTS


def map_for(name: str, number: int) -> npt.NDArray[np.uint8]:
    """Of one shot the right maps, of one these beside those of the next frame, of one those two frames late."""
    if name == MIDDLING:
        return np.maximum(made.density(number), made.density(number + 1))
    return made.density(number + 2 * (name == LATE))


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> EvalOptions:
    """An evaluation of three shots by maps made elsewhere."""
    root = tmp_path_factory.mktemp("scored")
    made.make_hollywood(root / "set", shots=SHOTS)
    for name, (first, frames) in SHOTS.items():
        for number in range(first, first + frames):
            path = root / "maps" / name / f"{name.rpartition('_')[0]}_{number:05d}.png"
            made.write(path, map_for(name, number))
    wanted = EvaluationOptions(
        maps=root / "maps", out=root / "out", split="test", metrics="cc,nss", baselines="centre-prior"
    )
    options = EvalOptions(evaluation=wanted)
    evaluate("hollywood2", root / "set", options=options)
    return options


def test_the_sheets_show_frames_of_the_best_the_median_and_the_worst_sequence_with_their_maps(
    scored: EvalOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: dict[str, Sequence[SheetRow]] = {}

    def keep(rows: Sequence[SheetRow], *, title: str) -> Figure:
        sheets[title] = rows
        return contact_sheet(rows, title=title)

    monkeypatch.setattr("vidsal.evaluate.gallery.contact_sheet", keep)
    told: list[tuple[int, int]] = []
    out = scored.evaluation.out
    assert out is not None
    files = draw_evaluation(out, open_source(scored), on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    ranks = ("best", "median", "worst")
    names = [*(f"{rank}{kind}.png" for rank in ranks for kind in ("", "-scores")), "reliability.png"]
    assert [path.relative_to(out / "figures").as_posix() for path in files] == names
    for path in files:
        picture = cv2.imread(str(path))
        assert picture is not None
        assert picture.std() > 5
    best, median, worst = sheets
    assert f"best by NSS: {RIGHT}" in best
    assert f"median by NSS: {MIDDLING}" in median
    assert f"worst by NSS: {LATE}" in worst
    # Five of the seven frames, spread evenly: the 1st, 3rd, 4th, 5th and 7th.
    for row, number in zip(sheets[best], (1, 3, 4, 5, 7), strict=True):
        np.testing.assert_array_equal(row.picture, made.picture(number))
        assert row.truth is not None
        np.testing.assert_allclose(row.prediction, row.truth, atol=1e-6)
        assert np.unravel_index(row.prediction.argmax(), row.prediction.shape) == made.spot(number)


def test_stills_are_drawn_several_to_a_sheet_and_have_no_time(tmp_path: Path) -> None:
    root = made.make_simple(tmp_path / "set")
    (root / "video_fixations.csv").unlink()
    for number in range(10):
        made.write(tmp_path / "maps" / f"{number}.png", made.density(number))
    options = EvalOptions(
        evaluation=EvaluationOptions(
            maps=tmp_path / "maps", out=tmp_path / "out", split="all", metrics="nss", baselines="none"
        )
    )
    evaluate("simple", root, options=options)
    files = draw_evaluation(tmp_path / "out", open_source(options))
    assert [path.name for path in files] == ["best.png", "median.png", "worst.png", "reliability.png"]


def test_the_command_draws_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made.make_hollywood(tmp_path / "set", shots={RIGHT: (1, 2)})
    for number in (1, 2):
        made.write(tmp_path / "maps" / RIGHT / f"{number}.png", made.density(number))
    arguments = ["eval", "hollywood2", str(tmp_path / "set"), "--maps", str(tmp_path / "maps"), "--split", "test", "-q"]
    arguments += ["--metrics", "nss", "--baselines", "none", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert not (tmp_path / "out" / "figures").exists()
    capsys.readouterr()
    assert main([*arguments, "--figures"]) == 0
    written = [line for line in capsys.readouterr().out.splitlines() if line.endswith(".png")]
    folder = tmp_path / "out" / "figures"
    assert written == [str(folder / name) for name in ("best.png", "best-scores.png", "reliability.png")]
    assert all(Path(line).is_file() for line in written)
    assert main([*arguments, "--figures", "--figure-format", "pdf"]) == 0
    for name in ("best.pdf", "best-scores.pdf", "reliability.pdf"):
        data = (folder / name).read_bytes()
        assert data.startswith(b"%PDF-") and b"/FontFile2" in data and b"/Type3" not in data
    capsys.readouterr()
    assert main([*arguments, "--metrics", "nss,cc", "--overwrite"]) == 0  # figures of what is replaced go, in any form
    assert not folder.exists()


def test_the_centre_prior_is_that_of_the_picture_on_cells_of_any_shape() -> None:
    from vidsal.evaluate.gallery import _centre_on
    from vidsal.model.baselines import CentrePrior

    large = CentrePrior().predict(np.zeros((1, 90, 160, 3), np.uint8))[0]
    square = _centre_on(np.zeros((1, 30, 30, 3), np.uint8), 90 / 160)
    expected = cv2.resize(large, (30, 30), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(square, expected / expected.sum(), rtol=0.02)
