"""Clips and maps with known changes come in; the numbers of the ablation must be those of the definition."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from layout_fixtures import make_dhf1k, make_osie
from made import make_checkpoint, make_model, make_stills

from vidsal.data.clips import Clip
from vidsal.errors import ConfigError, DatasetError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.model import SaliencyModel
from vidsal.pipe.options import RecurrenceOptions
from vidsal.pipe.predict import predict
from vidsal.preprocess import Viewport
from vidsal.shots import CutOptions
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import ViewerOptions

ROWS, COLUMNS = 48, 64
CARRY, RESET = RecurrenceOptions("carry", 1, every=1), RecurrenceOptions("reset", 4, every=1)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("ablate_state")


@pytest.fixture(scope="module")
def model() -> SaliencyModel:
    return make_model()


def spot(x: float, y: float, sigma: float = 4.0) -> npt.NDArray[np.float32]:
    """A Gaussian that sums to 1."""
    density = np.exp(-((np.arange(COLUMNS) - x) ** 2 + (np.arange(ROWS)[:, None] - y) ** 2) / (2 * sigma**2))
    return np.asarray(density / density.sum(), np.float32)


def clip_of(tool: ModuleType, density: list[Any], *, cuts: tuple[int, ...] = (), shift: float | None = 0.0) -> Any:
    """A clip with these labels over noise; the scene moves to the right by `shift` pixels a frame."""
    count = len(density)
    frames = np.random.default_rng(0).integers(0, 256, (count, ROWS, COLUMNS, 3), np.uint8)
    motion = None if shift is None else np.tile(np.array([[1.0, 0, shift], [0, 1, 0]]), (count, 1, 1))
    counts = [None if each is None else (each == each.max()).astype(np.float32) for each in density]
    return tool.Labelled(
        name="made",
        batch=FrameBatch(np.arange(count), np.arange(count) / 25, frames, ROWS, COLUMNS),
        density=tuple(density),
        counts=tuple(counts),
        cut=np.isin(np.arange(count), cuts),
        motion=motion,
    )


def test_the_maps_are_those_of_the_pipe(tool: ModuleType, model: SaliencyModel) -> None:
    clip = clip_of(tool, [spot(30, 20)] * 8, cuts=(5,))
    raw: Any = {"smooth": SmoothOptions(smoothing="none"), "cuts": CutOptions(False), "viewers": ViewerOptions("off")}
    none = np.zeros(8, np.bool_)
    for recurrence in (CARRY, RecurrenceOptions("reset", 2, every=1)):
        (piped,) = predict([clip.batch], model, recurrence=recurrence, **raw)
        own = tool.maps_of(model, clip.batch, recurrence, none)
        assert torch.allclose(own.log_density, piped.log_density, atol=1e-5)
    # A cut that is told makes what follows a clip of its own.
    later = FrameBatch(np.arange(3), np.arange(3) / 25, clip.batch.frames[5:], ROWS, COLUMNS)
    (alone,) = predict([later], model, recurrence=CARRY, **raw)
    told, untold = (tool.maps_of(model, clip.batch, CARRY, cut).log_density[5:] for cut in (clip.cut, none))
    assert torch.allclose(told, alone.log_density, atol=1e-5)
    assert not torch.allclose(untold, alone.log_density, atol=1e-3)


def test_a_map_that_follows_the_motion_does_not_change_and_one_that_stays_does(tool: ModuleType) -> None:
    follows, stays = [spot(20 + 3 * t, 24) for t in range(5)], [spot(20, 24)] * 5
    assert max(tool.changes_of(follows, clip_of(tool, stays, shift=3))) < 1e-3
    # Half the L1 distance of two Gaussians 3 apart: erf(3 / (2 sqrt 2 sigma)).
    expected = 0.2923
    assert tool.changes_of(stays, clip_of(tool, stays, shift=3)) == pytest.approx([expected] * 4, abs=0.002)
    assert tool.changes_of(follows, clip_of(tool, stays, shift=None)) == pytest.approx([expected] * 4, abs=0.002)
    apart = [spot(10, 10, 1.5), spot(50, 40, 1.5)]
    assert tool.changes_of(apart, clip_of(tool, apart)) == pytest.approx([1.0], abs=1e-4)
    assert tool.changes_of(apart, clip_of(tool, apart, cuts=(1,))) == []
    assert tool.changes_of([apart[0], None, apart[1]], clip_of(tool, [*apart, None])) == []


def test_flicker_is_the_way_of_the_peak_beside_the_motion(tool: ModuleType) -> None:
    peaks = np.array([[10.0, 10], [13, 10], [16, 14], [40, 40]])
    assert tool.flicker_of(peaks, clip_of(tool, [spot(9, 9)] * 4, shift=3, cuts=(3,))) == pytest.approx([0, 4])
    assert tool.flicker_of(peaks, clip_of(tool, [spot(9, 9)] * 4, shift=None, cuts=(3,))) == pytest.approx([3, 5])


def test_the_labels_at_the_peak_are_one_where_all_look(tool: ModuleType) -> None:
    clip = clip_of(tool, [spot(30, 20), spot(30, 20), None])
    assert tool.at_peaks(np.array([[30.2, 19.9], [34, 20], [0, 0]]), clip) == pytest.approx([1, np.exp(-0.5)], rel=1e-4)


def test_peaks_are_those_of_the_table_and_the_filter_holds_them(tool: ModuleType) -> None:
    jitter = np.random.default_rng(3).normal(0, 1.5, 30)
    maps = torch.from_numpy(np.stack([spot(30 + j, 20) for j in jitter])).clamp_min(1e-30).log()
    none = np.zeros(30, np.bool_)
    batch = SaliencyBatch(np.arange(30), np.arange(30) / 25, none.astype(np.int64), none, maps, ROWS, COLUMNS)
    raw, steady = tool.peaks_of(batch, steady=False), tool.peaks_of(batch, steady=True)
    assert raw[:, 0] == pytest.approx(30 + jitter, abs=0.05)
    clip = clip_of(tool, [spot(30, 20)] * 30)
    assert np.mean(tool.flicker_of(steady, clip)) < 0.5 * np.mean(tool.flicker_of(raw, clip))


def test_recovery_is_the_first_frame_from_which_both_scores_stay_within_two_percent(tool: ModuleType) -> None:
    def frames(nss: list[float], cc: list[float]) -> int | None:
        ones = {"nss": np.ones(4), "cc": np.ones(4)}
        result: int | None = tool.recovery({"nss": np.array(nss), "cc": np.array(cc)}, ones)
        return result

    assert frames([1, 1, 1, 1], [1.2, 1, 0.981, 1]) == 0
    assert frames([0.5, 0.99, 1, 1], [0.2, 0.9, 1, 1]) == 2
    assert frames([1, 1, 0.97, 1], [1, 1, 1, 1]) == 3  # came, but did not stay
    assert frames([1, 1, 1, 0.9], [1, 1, 1, 1]) is None


def test_shots_that_are_cut_short_or_lack_labels_do_not_count_for_the_recovery(tool: ModuleType) -> None:
    labels: list[Any] = [spot(30, 20)] * 45
    assert tool.long_shots(clip_of(tool, labels)) == []
    assert tool.long_shots(clip_of(tool, labels, cuts=(5, 10, 22, 34))) == [10, 22]
    labels[12] = None
    assert tool.long_shots(clip_of(tool, labels, cuts=(5, 10, 22))) == [22]


def test_the_motion_of_a_made_clip_is_brought_from_the_canvas_to_the_picture(tool: ModuleType) -> None:
    view = Viewport(top=4, left=8, height=40, width=48, canvas_height=48, canvas_width=64)
    turn = np.array([[0.9, -0.2, 7.0], [0.25, 1.1, -3.0]])
    point = np.array([20.5, 30.5])  # on the canvas, the centre of pixel 20, 30
    density = np.ones((2, 48, 64), np.float32)
    made = Clip(
        frames=np.zeros((2, 48, 64, 3), np.uint8),
        density=density,
        counts=density,
        viewport=view,
        cut=np.zeros(2, np.bool_),
        motion=np.stack([np.eye(2, 3), turn]),
    )
    clip = tool.labelled(made, name="made", rate=25.0)
    assert clip.batch.frames.shape == (2, 40, 48, 3)
    moved = turn[:, :2] @ point + turn[:, 2]
    index = clip.motion[1][:, :2] @ np.array([20 - 8, 30 - 4]) + clip.motion[1][:, 2]
    assert index == pytest.approx(moved - 0.5 - (8, 4))


def test_the_clips_are_the_same_each_time(tool: ModuleType, model: SaliencyModel, tmp_path: Path) -> None:
    root = make_stills(tmp_path / "s", count=30)
    one, two = (tool.made_clips([root], model, count=1, frames=4, rate=25.0)[0] for _ in range(2))
    assert np.array_equal(one.batch.frames, two.batch.frames)
    assert one.name == root.name


def test_a_data_set_on_disk_is_read_and_stills_are_refused(
    tool: ModuleType, model: SaliencyModel, tmp_path: Path
) -> None:
    root = make_dhf1k(tmp_path / "dhf1k")
    clips = tool.clips_on_disk("dhf1k", root, model, split="all", count=1, frames=3)
    assert len(clips) == 1 and 2 <= len(clips[0].batch) <= 3
    assert clips[0].motion is None and not clips[0].cut.any()
    scores = tool.Predicted(model, clips[0]).scores(tool.Way(CARRY), "found")
    assert np.isfinite(scores["nss"]).any() and np.isfinite(scores["cc"]).any()
    with pytest.raises(DatasetError, match="no video of osie"):
        tool.clips_on_disk("osie", make_osie(tmp_path / "osie"), model, split="all", count=1, frames=3)


def test_rows_hold_every_step_both_states_and_each_smoothing(tool: ModuleType) -> None:
    labels = [way.label for way in tool.ways_of(3)]
    assert labels[:7] == [*(f"reset T={t}" for t in (1, 2, 3, 4)), "carry K=1", "carry K=2", "carry K=1, cuts unknown"]
    for state in ("reset T=3", "carry K=1"):
        assert {f"{state}, {kind}" for kind in ("exponential", "motion", "gaussian")} <= set(labels)
    assert "carry K=2" not in [way.label for way in tool.ways_of(1)]  # more than the model's own


def row_of(tool: ModuleType, way: Any, *, score: float, change: float, cost: float, missed: float = 1.0) -> Any:
    """A row as if measured; `missed` is the score of the frames after a missed cut over that of a start afresh."""
    row = tool.Row(way)
    row.scores = [{name: np.full(3, score) for name in tool.METRICS}] * 2
    row.change, row.milliseconds = [change], {"recurrent": cost, "smoothing": 0.0, "total": cost}
    for steady in (False, True):
        row.flicker[steady] = row.at_peak[steady] = [1.0]
    fresh = {name: np.ones(12) for name in ("nss", "cc")}
    late = {name: np.where(np.arange(12) < 6, missed, 1.0) for name in ("nss", "cc")}
    row.after = {"known": [fresh], "found": [fresh], "known where found": [fresh], "unknown": [late]}
    return row


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({}, []),
        ({"score": 1.0}, ["NSS", "CC"]),
        ({"change": 0.3}, ["changes by"]),
        ({"cost": 2.1}, ["more than half"]),
        ({"missed": 0.9}, ["6 frames after a cut missed, at most 5"]),
    ],
)
def test_the_check_says_which_promise_is_broken(tool: ModuleType, broken: dict[str, float], says: list[str]) -> None:
    carry = row_of(tool, tool.Way(CARRY), **{"score": 1.1, "change": 0.1, "cost": 1.9, **broken})
    told = tool.failures([carry, row_of(tool, tool.Way(RESET), score=1.0, change=0.2, cost=4.0)])
    assert len(told) == len(says)
    assert all(part in text for part, text in zip(says, told, strict=True))


def test_the_check_asks_for_cuts_where_there_are_none(tool: ModuleType) -> None:
    carry = row_of(tool, tool.Way(CARRY), score=1.1, change=0.1, cost=1.0)
    carry.after = {name: [] for name in carry.after}
    reset = row_of(tool, tool.Way(RESET), score=1.0, change=0.2, cost=4.0)
    assert tool.failures([carry, reset]) == ["no cut to recover from: take more clips or frames"]


def test_the_interval_of_a_difference_is_that_of_the_clips(tool: ModuleType) -> None:
    one, other = (row_of(tool, tool.Way(each), score=1.0, change=0.1, cost=1.0) for each in (CARRY, RESET))
    values = np.linspace(0.9, 1.3, 40)
    one.scores = [{name: np.full(3, value) for name in tool.METRICS} for value in values]
    other.scores = other.scores[:1] * 40
    mean, low, high = tool.paired(one, other, "nss")
    assert mean == pytest.approx(0.1)
    # The normal interval of a mean.
    assert (low, high) == pytest.approx(
        (0.1 - 1.96 * values.std() / 40**0.5, 0.1 + 1.96 * values.std() / 40**0.5), abs=0.006
    )


def test_what_a_study_made_goes_between_the_marks_of_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = importlib.import_module("pages")
    page, (begin, end) = tmp_path / "page.md", ("<!-- a: begin -->", "<!-- a: end -->")
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    for _ in range(2):
        pages.fill(page, begin, end, "new\n")
        assert page.read_text(encoding="utf-8") == f"before\n{begin}\n\nnew\n\n{end}\nafter\n"
    assert capsys.readouterr().out == f"wrote {page}\n" * 2
    for odd in ("without", f"{begin} only", f"{end} {begin}", f"{begin} {begin} {end}", f"{begin} {end} {end}"):
        page.write_text(odd, encoding="utf-8")
        with pytest.raises(ConfigError, match="once each"):
            pages.fill(page, begin, end, "new")
        assert page.read_text(encoding="utf-8") == odd


@pytest.mark.parametrize("name", ["ablate_state", "ablate_video", "compare_unisal", "fit_viewers"])
def test_the_page_of_a_study_has_its_marks(name: str) -> None:
    pages, tool = importlib.import_module("pages"), importlib.import_module(name)
    committed = (Path(__file__).parents[1] / "docs" / "reports" / tool.PAGE.name).read_text(encoding="utf-8")
    assert "\n\nnew\n\n" in pages.between_marks(committed, tool.BEGIN, tool.END, "new")


def test_a_whole_run_prints_writes_and_checks(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    page, plot, numbers = tmp_path / "state.md", tmp_path / "images" / "state.png", tmp_path / "numbers.json"
    page.write_text(f"{tool.BEGIN}\n{tool.END}\n", encoding="utf-8")
    monkeypatch.setattr(tool, "PAGE", page)
    monkeypatch.setattr(tool, "PLOT", plot)
    stills, model = make_stills(tmp_path / "s", count=30), make_checkpoint(tmp_path / "tiny.safetensors")
    threads = torch.get_num_threads()
    try:
        arguments = [str(stills), "--model", str(model), "--clips", "1", "--frames", "14", "--rounds", "1"]
        status = tool.main([*arguments, "--json", str(numbers), "--write-docs", "--check"])
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr()
    # Random weights keep no promise; the status is that of what is said.
    assert status == (1 if "not as promised" in printed.err else 0)
    tables, wrote, _ = printed.out.partition(f"wrote {plot}\n")
    assert wrote and tables.strip() in page.read_text(encoding="utf-8")
    assert plot.read_bytes().startswith(b"\x89PNG")
    values = json.loads(numbers.read_text(encoding="utf-8"))
    assert set(values) == {way.label for way in tool.ways_of(2)}
    for label, each in values.items():
        assert f"| {label} |" in printed.out
        assert 0 < each["milliseconds"]["recurrent"] < each["milliseconds"]["total"]
        assert 0 <= each["change"] <= 1 and 0 < each["auc_judd"] < 1
    # Averaging steadies whatever the weights.
    assert values["carry K=1, gaussian"]["change"] < values["carry K=1"]["change"]


@pytest.mark.parametrize("rate", ["0", "-5", "nan", "inf", "fast"])
def test_a_rate_that_is_none_is_refused(tool: ModuleType, rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tool.main(["data", f"--rate={rate}"])
    assert "is no number above 0" in capsys.readouterr().err
    assert tool.frames_a_second("29.97") == 29.97


def test_the_page_names_the_command_that_makes_as_many_clips_as_its_tables_have(tool: ModuleType) -> None:
    page = tool.PAGE.read_text(encoding="utf-8")
    (command,) = (line.split() for line in page.splitlines() if line.startswith("    python studies/ablate_state.py"))
    sets = sum(word.startswith("DATA/") for word in command)
    assert f": {sets * int(command[command.index('--clips') + 1])} clips," in page
