"""Evaluation of a study of one's own: participants, lists of trials, seconds, imported gaze, progress by frames."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layout_fixtures import HEIGHT, WIDTH
from made import LIGHT, make_checkpoint
from made_study import VIEWERS, make_study, rows_of_study, write_rows

from vidsal.cli import main
from vidsal.data.layouts import open_dataset
from vidsal.errors import ConfigError, DatasetError
from vidsal.evaluate import (
    EvalOptions,
    EvalProgress,
    Evaluation,
    EvaluationOptions,
    evaluate,
    read_scores,
    read_summary,
)
from vidsal.evaluate.trials import read_trials
from vidsal.gaze import Gaze, write_gaze
from vidsal.pipe.options import ModelOptions


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("study") / "own")


def judged(root: Path, out: Path, model: str, **wanted: Any) -> Evaluation:
    calls = {name: wanted.pop(name) for name in ("on_progress", "on_frames") if name in wanted}
    wanted = {"split": "all", "baselines": "centre-prior,inter-observer", "metrics": "nss,cc,auc_judd", **wanted}
    options = EvalOptions(
        evaluation=EvaluationOptions(out=out, **wanted), model=ModelOptions(model=model, device="cpu")
    )
    return evaluate("simple", root, options=options, **calls)


@pytest.fixture(scope="module")
def made(study: Path, model: str, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return judged(study, tmp_path_factory.mktemp("out") / "results", model)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def centre_nss(x: float, y: float) -> float:
    """NSS of the centre prior at a point, from its definition."""
    columns = (np.arange(WIDTH) + 0.5) * 2 / WIDTH - 1
    lines = ((np.arange(HEIGHT) + 0.5) * 2 / HEIGHT - 1) * HEIGHT / WIDTH
    values = np.exp(-(columns**2)[None] / 0.44 - (lines**2)[:, None] / (0.44 * 0.45))
    return float((values[int(y), int(x)] - values.mean()) / values.std())


# Participants.


def test_a_participant_scores_the_mean_over_the_own_fixations_in_each_frame(made: Evaluation) -> None:
    rows = {(row["participant"], row["source"]): row for row in rows_of(made.out / "participants.csv")}
    assert [who for who, source in rows if source == "model"] == list(VIEWERS)  # 2 before 10
    for viewer in VIEWERS:
        own = [row for row in rows_of_study() if row["subject"] == viewer]
        by_video: dict[str, list[float]] = {}
        for row in own:
            by_video.setdefault(row["video"], []).append(centre_nss(row["x"], row["y"]))
        found = rows[viewer, "centre-prior"]
        assert int(found["sequences"]) == len(by_video) and int(found["frames"]) == len(own)
        flat = [value for values in by_video.values() for value in values]
        assert float(found["nss_over_frames"]) == pytest.approx(np.mean(flat), abs=1e-4)
        means = [np.mean(values) for values in by_video.values()]
        assert float(found["nss_over_sequences"]) == pytest.approx(np.mean(means), abs=1e-4)
    assert "cc_over_frames" not in next(iter(rows.values()))  # no mean over fixations


def test_where_all_have_one_fixation_a_frame_the_mean_of_the_participants_is_that_of_the_frames(
    made: Evaluation,
) -> None:
    for sequence in read_scores(made.out):
        for s, source in enumerate(sequence.sources):
            for metric in ("nss", "auc_judd"):
                m = sequence.metrics.index(metric)
                whole = np.nanmean(sequence.scores[s, :, m])
                assert sequence.participant_scores[s, :, m].mean() == pytest.approx(whole, abs=1e-9), source


def test_the_ceiling_of_a_participant_is_the_density_of_the_others(tmp_path: Path, model: str) -> None:
    root = make_study(tmp_path / "own", table=False)
    rows = rows_of_study()
    for row in rows:
        here = (4.5, 4.5) if row["subject"] == "bo" else (WIDTH - 4.5, HEIGHT - 4.5)
        row["x"], row["y"] = here
    write_rows(root / "video_fixations.csv", rows)
    result = judged(root, tmp_path / "out", model)
    ceiling = {who: one["scores"]["inter-observer"]["nss"] for who, one in result.summary.by_participant.items()}
    assert ceiling["bo"] < 0 < 3 < min(value for who, value in ceiling.items() if who != "bo")


def test_the_summary_on_disk_has_the_participants_and_is_printed(made: Evaluation) -> None:
    from vidsal.evaluate import format_summary

    stored = read_summary(made.out)
    assert stored.by_participant == made.summary.by_participant
    assert stored.by_sequence["b.mp4"]["participants"].keys() == set(VIEWERS[:3])
    text = format_summary(stored).splitlines()
    (first,) = (place for place, line in enumerate(text) if line.startswith("by participant, NSS"))
    assert text[first].split()[3:] == ["model", "centre-prior", "inter-observer", "sequences"]
    assert [line.split()[0] for line in text[first + 1 : first + 5]] == list(VIEWERS)


def test_without_names_of_who_looked_there_are_no_participants(tmp_path: Path, model: str) -> None:
    root = make_study(tmp_path / "own", table=False)
    write_rows(root / "video_fixations.csv", [{**row, "subject": ""} for row in rows_of_study()])
    result = judged(root, tmp_path / "out", model)
    assert not result.summary.by_participant and not (result.out / "participants.csv").exists()


# Seconds.


def test_seconds_are_means_over_their_frames_and_then_over_the_videos(made: Evaluation) -> None:
    rows = rows_of(made.out / "seconds.csv")
    frames = [row for row in rows_of(made.out / "frames.csv") if row["source"] == "model"]

    def mean(video: str, second: int) -> float:
        own = [row["nss"] for row in frames if row["sequence"] == video and int(float(row["pts_seconds"])) == second]
        return float(np.mean([float(value) for value in own if value]))

    found = {(row["sequence"], int(row["second"])): row for row in rows if row["source"] == "model"}
    assert list(found) == [
        ("a.mp4", 0),
        ("a.mp4", 1),
        ("a.mp4", 2),
        ("b.mp4", 0),
        ("b.mp4", 1),
        ("", 0),
        ("", 1),
        ("", 2),
    ]
    for (video, second), row in found.items():
        of = [video] if video else ["a.mp4", "b.mp4"][: 2 if second < 2 else 1]
        assert float(row["nss"]) == pytest.approx(np.mean([mean(one, second) for one in of]), abs=1e-6)
        assert int(row["sequences"]) == len(of)


# Lists of trials.


def test_scenarios_come_from_the_columns_of_a_list_of_trials(tmp_path: Path, study: Path, model: str) -> None:
    trials = tmp_path / "trials.tsv"
    trials.write_text("video\tweather\ttime of day\na\train\tnight\nb.mp4\tsun\tnight\n")
    result = judged(study, tmp_path / "out", model, trials=trials)
    rows = {(row["scenario"], row["value"], row["source"]): row for row in rows_of(result.out / "scenarios.csv")}
    sequences = {(row["sequence"], row["source"]): row for row in rows_of(result.out / "sequences.csv")}
    for value, video in (("rain", "a.mp4"), ("sun", "b.mp4")):
        for source in ("model", "centre-prior"):
            one = rows["weather", value, source]
            assert one["nss_over_sequences"] == sequences[video, source]["nss"] and one["sequences"] == "1"
    night = rows["time of day", "night", "model"]
    expected = [float(sequences[video, "model"]["cc"]) for video in ("a.mp4", "b.mp4")]
    assert float(night["cc_over_sequences"]) == pytest.approx(np.mean(expected), abs=1e-8)
    assert result.summary.by_scenario["weather"]["rain"]["scores"]["model"]["nss"] == pytest.approx(
        float(rows["weather", "rain", "model"]["nss_over_sequences"])
    )


def test_another_list_of_trials_scores_nothing_again(tmp_path: Path, study: Path, model: str) -> None:
    trials = tmp_path / "trials.csv"
    trials.write_text("video,weather,road\na,rain,town\nb,sun,town\n")
    assert judged(study, tmp_path / "out", model).resumed == 0
    again = judged(study, tmp_path / "out", model, trials=trials, by="road")
    assert again.resumed == 2 and set(again.summary.by_scenario) == {"road"}


def test_a_column_that_differs_between_participants_is_scored_on_their_fixations(
    tmp_path: Path, study: Path, model: str
) -> None:
    trials = tmp_path / "trials.csv"
    manual = {("a.mp4", "anna"), ("a.mp4", "bo"), ("b.mp4", "anna")}
    lines = [
        f"{video},{who},{'manual' if (video, who) in manual else 'assisted'},dry"
        for video, people in (("a.mp4", VIEWERS), ("b.mp4", VIEWERS[:3]))
        for who in people
    ]
    trials.write_text("\n".join(["video,participant,mode,road", *lines]) + "\n")
    result = judged(study, tmp_path / "out", model, trials=trials)
    rows = {(row["scenario"], row["value"], row["source"]): row for row in rows_of(result.out / "scenarios.csv")}
    by_viewing: dict[tuple[str, str], list[float]] = {}
    for row in rows_of_study():
        by_viewing.setdefault((row["video"], row["subject"]), []).append(centre_nss(row["x"], row["y"]))
    for mode, count in (("manual", 3), ("assisted", 4)):
        own = [key for key in by_viewing if (key in manual) == (mode == "manual")]
        assert len(own) == count
        means = [np.mean([np.mean(by_viewing[key]) for key in own if key[0] == video]) for video in ("a.mp4", "b.mp4")]
        found = rows["mode", mode, "centre-prior"]
        assert float(found["nss_over_sequences"]) == pytest.approx(np.mean(means), abs=1e-4)
        assert found["cc_over_sequences"] == ""  # a density is everybody's
    assert rows["road", "dry", "model"]["cc_over_sequences"] != ""


@pytest.mark.parametrize(
    ("text", "by", "message"),
    [
        ("clip,weather\na,rain\n", None, "no column for the sequence .*columns are clip, weather"),
        (
            "video,weather\nc,rain\n",
            None,
            "line 2, column 'video': no sequence of the data is called so; they are a.mp4",
        ),
        ("video,weather\na,rain\nb,sun\n", "wether", "no column 'wether': .*by.* takes names from weather"),
        ("video,weather\na,rain\na.mp4,sun\n", None, "line 3, column 'weather': 'sun' for a.mp4, .*'rain'"),
    ],
)
def test_a_wrong_list_of_trials_is_refused_with_line_and_column(
    tmp_path: Path, text: str, by: str | None, message: str
) -> None:
    (tmp_path / "trials.csv").write_text(text)
    with pytest.raises((DatasetError, ConfigError), match=message):
        read_trials(tmp_path / "trials.csv", ["a.mp4", "b.mp4"], by=by)


def test_sequences_without_a_row_and_rows_about_others_are_said(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text("video,weather\na,rain\nz,sun\n")
    found = read_trials(tmp_path / "trials.csv", ["a.mp4", "b.mp4"])
    assert found.of_sequences == {"weather": {"a.mp4": "rain"}}
    assert found.messages == (
        "trials.csv has no row for 1 of 2 sequences, first b.mp4",
        "trials.csv: 1 rows are about other sequences, first z",
    )


def test_columns_without_a_list_are_refused(tmp_path: Path, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", "simple", str(study), "--out", str(tmp_path / "out"), "--by", "weather", "--quiet"]
    assert main(arguments) == 2
    assert "--trials" in capsys.readouterr().err and not (tmp_path / "out").exists()


# Recorded gaze.


def gaze_of_study(video: str) -> Gaze:
    rows = [row for row in rows_of_study() if row["video"] == video]
    return Gaze.of(
        participant=[row["subject"] for row in rows],
        trial=video,
        pts_seconds=[row["start_seconds"] for row in rows],
        x=[row["x"] for row in rows],
        y=[row["y"] for row in rows],
        duration_seconds=0.1,
        kind="fixations",
        facts={"video": {"name": video, "height": HEIGHT, "width": WIDTH}},
    )


def test_imported_gaze_scores_as_the_same_fixations_in_a_table(tmp_path: Path, model: str, made: Evaluation) -> None:
    pytest.importorskip("pyarrow")
    root = make_study(tmp_path / "own", table=False)
    (root / "gaze").mkdir()
    write_gaze(gaze_of_study("a.mp4"), root / "gaze" / "first.parquet")
    write_gaze(gaze_of_study("b.mp4"), root / "gaze" / "second.csv")
    result = judged(root, tmp_path / "out", model)
    for one, other in zip(read_scores(result.out), read_scores(made.out), strict=True):
        assert one.name == other.name and one.participants == other.participants
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)
        np.testing.assert_allclose(one.participant_scores, other.participant_scores, rtol=1e-6)


def test_gaze_without_a_word_of_its_video_has_the_videos_name_and_samples_are_told(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    root = make_study(tmp_path / "own", table=False)
    (root / "gaze").mkdir()
    gaze = Gaze.of(participant="anna", trial="t", pts_seconds=[0.0, 0.05, 0.3], x=[1.5, 2.5, 3.5], y=[1.5, 1.5, np.nan])
    write_gaze(gaze, root / "gaze" / "a.parquet")
    dataset = open_dataset("simple", root)
    (sequence,) = dataset
    counts = [len(seen.points) for frame in sequence if (seen := frame.fixations()) is not None]
    assert sequence.name == "a.mp4" and counts[:2] == [2, 0]  # what was lost has no place
    assert any("rows are samples" in text for text in dataset.remarks({}))


def test_gaze_that_was_imported_with_another_video_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    root = make_study(tmp_path / "own", table=False)
    (root / "gaze").mkdir()
    for video, asked in (("drive2.mp4", 1), ("a.avi", 0)):
        gaze = replace(gaze_of_study("a.mp4"), facts={"video": {"name": video, "height": HEIGHT, "width": WIDTH}})
        write_gaze(gaze, root / "gaze" / "a.parquet", overwrite=True)
        said = open_dataset("simple", root).remarks({})
        assert sum("imported with drive2.mp4, not with a.mp4" in text for text in said) == asked


@pytest.mark.parametrize(
    ("name", "facts", "message"),
    [
        ("c.parquet", {"video": {"name": "c.mp4"}}, "is about c.mp4, which is not in"),
        ("c.parquet", {}, "does not say which video it is about"),
        ("b.parquet", {"video": {"name": "a.mp4"}}, "are both about a.mp4; leave one of them"),
    ],
)
def test_gaze_of_a_missing_video_and_two_tables_of_one_are_refused(
    tmp_path: Path, name: str, facts: dict[str, Any], message: str
) -> None:
    pytest.importorskip("pyarrow")
    root = make_study(tmp_path / "own")
    (root / "gaze").mkdir()
    write_gaze(
        Gaze.of(participant="anna", trial="t", pts_seconds=[0.0], x=[1.5], y=[1.5], facts=facts), root / "gaze" / name
    )
    with pytest.raises(DatasetError, match=message):
        open_dataset("simple", root)


# Progress.


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_counts_frames_while_a_sequence_is_under_way(
    tmp_path: Path, study: Path, model: str, workers: int
) -> None:
    seen: list[EvalProgress] = []
    within: list[EvalProgress] = []
    if workers > 1:  # they know the package's own networks only
        model = str(make_checkpoint(tmp_path / "light.safetensors", config=LIGHT))
    judged(study, tmp_path / "out", model, workers=workers, on_progress=seen.append, on_frames=within.append)
    assert [(one.done, one.total) for one in seen] == [(1, 2), (2, 2)]
    assert seen[-1].frames == seen[-1].frames_total == 18 and seen[0].frames >= 6
    assert all(one.frames_total == 18 and one.frames_resumed == 0 for one in (*seen, *within))
    if workers == 1:
        assert [one.frames for one in within] == [*range(12), *range(12, 18)]
    again: list[EvalProgress] = []
    judged(study, tmp_path / "out", model, trials=None, on_progress=again.append, on_frames=again.append)
    assert again == []  # all was there
