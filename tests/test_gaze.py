"""Exports of eye trackers become one table: places to .1 of a pixel, times to a millisecond; mistakes are named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import gaze_files
import numpy as np
import pytest
from gaze_files import BOX, SCREEN, SIZE, Truth
from media import make_video

from vidsal.cli import main
from vidsal.errors import ConfigError, DatasetError, ExistsError, VidsalError
from vidsal.gaze import Gaze, GazeOptions, import_gaze, read_gaze, write_gaze
from vidsal.gaze.events import find_fixations
from vidsal.gaze.makers import maker_of
from vidsal.gaze.place import fitted

pytest.importorskip("pyarrow", reason="tables of gaze need pyarrow")

needs_pymovements = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("pymovements"), reason="pymovements is not installed"
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gaze") / "clip.mp4"
    make_video(path, frames=50, width=SIZE[0], height=SIZE[1], rate=25)
    return path


SCREENED = GazeOptions(screen=f"{SCREEN[0]}x{SCREEN[1]}")
FILES: dict[str, tuple[Callable[[Path, Truth], Path], GazeOptions]] = {
    "tobii": (lambda folder, truth: gaze_files.tobii(folder / "a.tsv", truth), GazeOptions()),
    "tobii-studio": (lambda folder, truth: gaze_files.tobii_studio(folder / "a.tsv", truth), GazeOptions()),
    "pupil": (lambda folder, truth: gaze_files.pupil(folder / "ann" / "exports" / "000", truth), GazeOptions()),
    "neon": (lambda folder, truth: gaze_files.neon(folder / "ann", truth), GazeOptions()),
    "gazepoint": (lambda folder, truth: gaze_files.gazepoint(folder / "User 1_all_gaze.csv", truth), SCREENED),
    "eyelink": (lambda folder, truth: gaze_files.eyelink(folder / "ann.asc", truth), GazeOptions()),
    "csv": (lambda folder, truth: gaze_files.plain(folder / "own.csv", truth), GazeOptions()),
}


@pytest.mark.parametrize("name", FILES)
def test_every_makers_file_gives_places_to_a_tenth_of_a_pixel_and_times_to_a_millisecond(
    name: str, clip: Path, tmp_path: Path
) -> None:
    if name == "eyelink":
        pytest.importorskip("pymovements")
    write, options = FILES[name]
    truth = Truth.make()
    path = write(tmp_path, truth)
    assert maker_of(path) == name.replace("neon", "pupil-cloud").removesuffix("-studio")
    made = import_gaze([path], clip, options=options)
    gaze = made.gaze
    assert gaze.kind == "samples" and not [each for each in made.findings if each.doubtful]
    known = np.isfinite(gaze.x)
    lost_at_end = name in ("tobii", "eyelink")
    count = len(truth.seconds) - (name == "tobii")
    assert known.sum() == count
    np.testing.assert_allclose(gaze.pts_seconds[known], truth.seconds[:count], atol=1e-3)
    np.testing.assert_allclose(gaze.x[known], truth.x[:count], atol=0.1)
    np.testing.assert_allclose(gaze.y[known], truth.y[:count], atol=0.1)
    # The last row is one that the tracker does not vouch for, where its format can say so.
    assert gaze.valid[-1] == (name in ("csv", "tobii-studio")) and gaze.valid[:-1].all()
    assert known.all() != lost_at_end
    assert made.notes and gaze.facts["video"]["name"] == "clip.mp4"


def test_the_maker_of_a_long_file_is_told_by_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It ends in the middle of a row.
    monkeypatch.setattr("vidsal.gaze.makers.contract._BEGINNING", 300)
    path = gaze_files.gazepoint(tmp_path / "User 1_all_gaze.csv", Truth.make())
    assert maker_of(path) == "gazepoint"


def test_names_come_from_the_file_else_from_its_name(clip: Path, tmp_path: Path) -> None:
    truth = Truth.make(20)
    named = {
        name: {
            (who, trial)
            for who, trial, _ in import_gaze([write(tmp_path / name, truth)], clip, options=options).gaze.viewings()
        }
        for name, (write, options) in FILES.items()
        if name != "eyelink" and not (tmp_path / name).mkdir()
    }
    assert named == {
        "tobii": {("P01", "P01 one")},
        "tobii-studio": {("Ann", "Rec 01")},
        "pupil": {("ann", "clip")},
        "neon": {("ann", "r-1")},
        "gazepoint": {("User 1_all_gaze", "clip")},
        "csv": {("ann", "clip")},
    }


def shown_as(path: Path, *stimuli: str) -> Path:
    """An export of Tobii whose recording shows these one after the other, a second each."""
    head = ["Participant name", "Recording name", "Recording timestamp [ms]", "Gaze point X [MCS px]"]
    head += ["Gaze point Y [MCS px]", "Presented Stimulus name"]
    rows = [
        [path.stem, "Rec1", 1000 * place + 20 * number, 10 * (place + 1), 20, stimulus]
        for place, stimulus in enumerate(stimuli)
        for number in range(50)
    ]
    return gaze_files.write_table(path, head, rows, delimiter="\t")


@pytest.mark.parametrize("name", ["clip.mp4", "clip", "CLIP.avi", "C:\\drives\\clip.mp4"])
def test_what_is_called_like_the_video_is_taken_for_it(name: str, clip: Path, tmp_path: Path) -> None:
    gaze = import_gaze([shown_as(tmp_path / "P01.tsv", "calibration", name)], clip).gaze
    assert len(gaze) == 50 and (gaze.x == 20).all() and gaze.pts_seconds[0] == 0


def test_a_name_with_a_dot_and_no_ending_is_that_of_its_video(tmp_path: Path) -> None:
    video = make_video(tmp_path / "drive.1.mp4", frames=30, width=SIZE[0], height=SIZE[1], rate=25)
    assert len(import_gaze([shown_as(tmp_path / "P01.tsv", "drive.1")], video).gaze) == 50


@pytest.mark.parametrize("name", ["drive2.mp4", "drive2", "Stimulus 1"])
def test_a_stimulus_of_another_name_is_the_video_only_if_somebody_says_so(
    name: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shown_as(tmp_path / "P01.tsv", name)
    words = ["gaze", "import", str(path), "--video", str(clip), "--to", str(tmp_path / "a.csv")]
    assert main(words) == 1 and not (tmp_path / "a.csv").exists()
    said = capsys.readouterr().err
    assert f"{path}: what was shown is called {name!r}, not clip.mp4" in said and f"--stimulus {name!r}" in said
    assert main([*words, "--stimulus", name]) == 0


def test_a_trial_is_named_for_all_unless_one_participant_has_several(clip: Path, tmp_path: Path) -> None:
    named = GazeOptions(trial="drive1")
    both = gaze_files.tobii(tmp_path / "both.tsv", Truth.make(), people=("P01", "P02"))
    trials = [(who, trial) for who, trial, _ in import_gaze([both], clip, options=named).gaze.viewings()]
    assert trials == [("P01", "drive1"), ("P02", "drive1")]
    one = gaze_files.tobii(tmp_path / "one.tsv", Truth.make())
    gaze = import_gaze([one], clip, options=GazeOptions(participant="ann")).gaze
    assert [(who, trial) for who, trial, _ in gaze.viewings()] == [("ann", "P01 one")]
    with pytest.raises(DatasetError, match="several participants; they cannot all be called participant=ann"):
        import_gaze([both], clip, options=GazeOptions(participant="ann"))
    twice = shown_as(tmp_path / "P01.tsv", "clip", "pause", "clip")
    with pytest.raises(DatasetError, match="several trials of one participant; they cannot all be called trial=drive1"):
        import_gaze([twice], clip, options=named)


@needs_pymovements
def test_each_trial_of_an_eyelink_file_begins_at_its_own_message(clip: Path, tmp_path: Path) -> None:
    truth = Truth.make(30)
    gaze = import_gaze([gaze_files.eyelink(tmp_path / "ann.asc", truth, trials=3)], clip).gaze
    viewings = gaze.viewings()
    assert [(who, trial) for who, trial, _ in viewings] == [("ann", f"film{number}") for number in (1, 2, 3)]
    for _, _, rows in viewings:
        inside = gaze.x[rows][: len(truth.x)]
        np.testing.assert_allclose(inside, truth.x, atol=0.1)
        np.testing.assert_allclose(gaze.pts_seconds[rows][: len(truth.x)], truth.seconds, atol=1e-3)


def test_fixations_of_pupil_player_keep_start_and_duration(clip: Path, tmp_path: Path) -> None:
    truth = Truth.make(5)
    gaze = import_gaze([gaze_files.pupil_fixations(tmp_path / "ann", truth)], clip).gaze
    assert gaze.kind == "fixations"
    np.testing.assert_allclose(gaze.pts_seconds, truth.seconds * 20, atol=1e-6)
    np.testing.assert_allclose(gaze.duration_seconds, 0.25)
    np.testing.assert_allclose(gaze.y, truth.y, atol=0.01)


def test_the_fixations_of_gazepoint_are_those_of_their_last_valid_row(clip: Path, tmp_path: Path) -> None:
    truth = Truth.make(30)
    path = gaze_files.gazepoint(tmp_path / "a.csv", truth)
    gaze = import_gaze([path], clip, options=replace(SCREENED, take="fixations")).gaze
    np.testing.assert_allclose(gaze.pts_seconds, truth.seconds[[0, 10, 20]], atol=1e-3)
    np.testing.assert_allclose(gaze.duration_seconds, 9 / 60, atol=1e-3)
    np.testing.assert_allclose(gaze.x, truth.x[[9, 19, 29]], atol=0.1)


def test_the_fixations_of_tobii_are_taken_once_each(clip: Path, tmp_path: Path) -> None:
    head = ["Participant name", "Recording timestamp [ms]", "Gaze point X", "Fixation point X", "Fixation point Y"]
    head += ["Eye movement type", "Eye movement type index", "Gaze event duration [ms]", "Recording resolution height"]
    head += ["Recording resolution width"]
    rows = [
        [
            "P",
            number * 10,
            1,
            100 + 100 * (number > 5),
            100,
            "Saccade" if number in (5, 6) else "Fixation",
            1 + (number > 5),
            50,
            SCREEN[1],
            SCREEN[0],
        ]
        for number in range(12)
    ]
    path = gaze_files.write_table(tmp_path / "a.tsv", head, rows, delimiter="\t")
    gaze = import_gaze([path], clip, options=GazeOptions(take="fixations")).gaze
    np.testing.assert_allclose(gaze.pts_seconds, [0.0, 0.07])
    np.testing.assert_allclose(gaze.duration_seconds, 0.05)
    np.testing.assert_allclose(gaze.x, [50, 100])
    np.testing.assert_allclose(gaze.y, 45)


def test_glasses_of_tobii_have_pixels_of_the_scene_and_rows_of_other_sensors(clip: Path, tmp_path: Path) -> None:
    head = ["Recording timestamp", "Sensor", "Participant name", "Recording name", "Gaze point X", "Gaze point Y"]
    rows = []
    for number in range(40):
        rows.append([number * 20000, "Eye Tracker", "Y1", "Recording 16", 80 + number, 45])
        rows += [
            [number * 20000 + 8171, sensor, "Y1", "Recording 16", "", ""] for sensor in ("Gyroscope", "Accelerometer")
        ]
    made = import_gaze([gaze_files.write_table(tmp_path / "a.tsv", head, rows, delimiter="\t")], clip)
    np.testing.assert_allclose(made.gaze.pts_seconds, np.arange(40) / 50, atol=1e-6)
    np.testing.assert_allclose(made.gaze.x, 80 + np.arange(40))
    assert any("no screen" in note for note in made.notes)


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6])
def test_a_clock_of_tobii_without_a_unit_is_told_by_its_steps(scale: float, clip: Path, tmp_path: Path) -> None:
    truth = Truth.make(40)
    path = gaze_files.tobii(tmp_path / "a.tsv", truth, names={"time": "Recording timestamp"})
    text = path.read_text("utf-16").splitlines()
    changed = [text[0]]
    for line in text[1:]:
        values = line.split("\t")
        values[3] = str(float(values[3]) * 1e-6 * scale)
        changed.append("\t".join(values))
    path.write_text("\n".join(changed), "utf-16")
    made = import_gaze([path], clip)
    np.testing.assert_allclose(made.gaze.pts_seconds, truth.seconds, atol=2e-3)
    assert any("names no unit" in note for note in made.notes)


def test_where_the_video_stood_is_the_files_word_then_the_options_then_the_middle(clip: Path, tmp_path: Path) -> None:
    truth = Truth.make(20)
    path = gaze_files.tobii(tmp_path / "a.tsv", truth)
    moved = import_gaze([path], clip, options=GazeOptions(video_at="10,10,320,180")).gaze
    np.testing.assert_allclose(moved.x[:-1], truth.x[:-1] - 5, atol=0.1)
    assert fitted(SCREEN, height=SIZE[1], width=SIZE[0]) == BOX
    assert fitted((200, 200), height=100, width=100, pixel_shape=Fraction(2)) == (0.0, 50.0, 200.0, 100.0)


def test_an_offset_moves_all_times_and_a_clock_of_its_own_needs_one(clip: Path, tmp_path: Path) -> None:
    truth = Truth.make(20)
    path = gaze_files.pupil(tmp_path / "ann", truth)
    (path.parent / "world_timestamps.csv").rename(tmp_path / "other.csv")
    with pytest.raises(DatasetError, match="world_timestamps"):
        import_gaze([path], clip)
    by_offset = import_gaze([path], clip, options=GazeOptions(offset=-gaze_files.WORLD)).gaze
    by_table = import_gaze([path], clip, options=GazeOptions(world_timestamps=tmp_path / "other.csv", offset=0.5)).gaze
    np.testing.assert_allclose(by_offset.pts_seconds, truth.seconds, atol=1e-6)
    np.testing.assert_allclose(by_table.pts_seconds, truth.seconds + 0.5, atol=1e-6)


def test_a_table_reads_back_as_it_was_written(tmp_path: Path) -> None:
    gaze = Gaze.of(
        participant=["b", "a", "a"],
        trial="t",
        pts_seconds=[1.0, 0.25, 0.0],
        duration_seconds=[0.1, 0.2, 0.3],
        x=[1.5, np.nan, -3.25],
        y=[2.0, 2.0, 4.0],
        valid=[True, True, False],
        pupil=[np.nan, 3.5, 3.0],
        kind="fixations",
        facts={"notes": ["one"]},
    )
    assert gaze.valid.tolist() == [False, False, True] and gaze.participants == ["a", "b"]
    for suffix in ("parquet", "csv", "jsonl"):
        path = tmp_path / f"gaze.{suffix}"
        write_gaze(gaze, path)
        back = read_gaze(path)
        assert back.kind == "fixations" and back.facts == {"notes": ["one"]}
        for name in ("participant", "trial", "pts_seconds", "duration_seconds", "x", "y", "valid", "pupil"):
            np.testing.assert_array_equal(getattr(back, name), getattr(gaze, name), err_msg=name)
        with pytest.raises(ExistsError):
            write_gaze(gaze, path)
        write_gaze(gaze.rows(gaze.valid), path, overwrite=True)
        assert len(read_gaze(path)) == 1


# Mistakes.


def own(folder: Path, **columns: object) -> Path:
    names = columns.pop("names", None)
    count = int(columns.pop("count", 60))  # type: ignore[call-overload]
    return gaze_files.plain(folder / "own.csv", Truth.make(count), names=names, **columns)  # type: ignore[arg-type]


def refusal(path: Path | list[Path], clip: Path, **options: object) -> str:
    with pytest.raises(VidsalError) as caught:
        import_gaze(path if isinstance(path, list) else [path], clip, options=GazeOptions(**options))  # type: ignore[arg-type]
    return str(caught.value)


TRUE = Truth.make()
MISTAKES: dict[str, tuple[dict[str, object], str]] = {
    "seconds called milliseconds": (
        {"t": TRUE.seconds},
        r"line 61, column 'time_ms': all rows lie within .* count in seconds",
    ),
    "microseconds called milliseconds": (
        {"t": TRUE.seconds * 1e6},
        r"line 61, column 'time_ms': rows span 983.* smaller unit",
    ),
    "another clock": (
        {"t": TRUE.seconds * 1000 + 5e6},
        r"line 61, column 'time_ms': all rows lie after the video.*first frame \(offset=-5000\)",
    ),
    "swapped axes": ({"x": TRUE.y, "y": TRUE.x}, r"line \d+, column 'y_px': .*'x_px' and 'y_px' seem to be swapped"),
    "another size": (
        {"x": TRUE.x * 8, "y": TRUE.y * 8},
        r"line \d+, column 'x_px': .* pixels of a picture of 1280x720",
    ),
    "shares called pixels": ({"x": TRUE.x / 160, "y": TRUE.y / 90}, r"line 2, column 'x_px': .*look like shares"),
    "nobody there": ({"x": TRUE.x * np.nan}, r"no row has a valid position"),
    "no number": ({"x": ["?"] * 60}, r"line 2, column 'x_px': '\?' is not a number"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_and_named_with_line_and_column(mistake: str, clip: Path, tmp_path: Path) -> None:
    columns, message = MISTAKES[mistake]
    text = refusal(own(tmp_path, **columns), clip)
    assert re.search(message, text), text
    if mistake != "no number":
        assert import_gaze([tmp_path / "own.csv"], clip, options=GazeOptions(strict=False)).findings


def test_pixels_called_shares_are_refused(clip: Path, tmp_path: Path) -> None:
    path = own(tmp_path, names=["participant", "time_ms", "x_norm", "y_norm"])
    assert re.search(r"line \d+, column 'x_norm': .* no share from 0 to 1.*look like pixels", refusal(path, clip))


def test_shares_just_outside_0_to_1_are_named_and_kept(clip: Path, tmp_path: Path) -> None:
    x = TRUE.x / 160
    x[[4, 9]] = 1.02, -0.01
    path = own(tmp_path, names=["participant", "time_ms", "x_norm", "y_norm"], x=x, y=TRUE.y / 90)
    made = import_gaze([path], clip)
    (finding,) = made.findings
    assert "line 6, column 'x_norm': 1.02 lies outside 0 to 1, as do 1 other" in finding.message
    np.testing.assert_allclose(made.gaze.x[[4, 9]], [1.02 * 160, -1.6])


@pytest.mark.parametrize(
    ("name", "duration", "message"),
    [
        (
            "duration_ms",
            [0.2] * 60,
            "column 'duration_ms': half of the fixations last 0.0002 s.*seconds and not milliseconds",
        ),
        (
            "duration_s",
            [200.0] * 60,
            "column 'duration_s': half of the fixations last 200 s.*milliseconds and not seconds",
        ),
        (
            "duration_ms",
            [200.0] * 30 + [-50.0] * 30,
            "line 32, column 'duration_ms': a fixation that ends 0.05 s before its",
        ),
        ("duration_ms", [200.0] * 60, "line 3, .*begins a fixation 0.183 s before the one before it ends"),
    ],
)
def test_durations_that_cannot_be_are_refused(
    name: str, duration: list[float], message: str, clip: Path, tmp_path: Path
) -> None:
    path = own(tmp_path, names=["participant", "time_ms", "x_px", "y_px", name], duration=duration)
    assert re.search(message, refusal(path, clip))


def test_an_end_makes_a_row_a_fixation_and_must_not_lie_before_its_start(clip: Path, tmp_path: Path) -> None:
    head = ["participant", "start_ms", "end_ms", "x_px", "y_px"]
    rows = [["ann", 100 * number, 100 * number + 80, 30 + number, 40] for number in range(12)]
    path = gaze_files.write_table(tmp_path / "own.csv", head, rows)
    gaze = import_gaze([path], clip).gaze
    assert gaze.kind == "fixations"
    np.testing.assert_allclose(gaze.duration_seconds, 0.08)
    np.testing.assert_allclose(gaze.pts_seconds, np.arange(12) / 10)
    rows[4][2] = 350
    gaze_files.write_table(path, head, rows)
    assert re.search(r"line 6, column 'end_ms': a fixation that ends 0\.05 s before its start\.", refusal(path, clip))


def rows_of_own(seconds: object, *, who: object = "ann") -> list[list[object]]:
    times = np.asarray(seconds, float)
    names = [who] * len(times) if isinstance(who, str) else list(who)  # type: ignore[call-overload]
    return [[name, t * 1000, x, y] for name, t, x, y in zip(names, times, TRUE.x, TRUE.y, strict=False)]


HEAD = ["participant", "time_ms", "x_px", "y_px"]


def test_a_second_recording_behind_the_first_under_one_name_is_refused(clip: Path, tmp_path: Path) -> None:
    once = np.arange(30) / 20
    path = gaze_files.write_table(tmp_path / "own.csv", HEAD, rows_of_own([*once, *once + 0.007]))
    assert re.search(
        r"line 32, column 'time_ms': the time goes back by 1\.443 s .* under one name", refusal(path, clip)
    )
    # Under two names it is right, and a file in another order is only said to be so.
    gaze_files.write_table(path, HEAD, rows_of_own([*once, *once + 0.007], who=["ann"] * 30 + ["ben"] * 30))
    assert not import_gaze([path], clip).findings
    gaze_files.write_table(path, HEAD, rows_of_own(once[::-1]))
    made = import_gaze([path], clip)
    assert "put into the order of time" in made.findings[0].message and (np.diff(made.gaze.pts_seconds) > 0).all()


def test_one_participant_in_another_unit_than_the_others_is_named(clip: Path, tmp_path: Path) -> None:
    times = np.arange(30) / 20
    both = [*times, *times / 1000]
    path = gaze_files.write_table(tmp_path / "own.csv", HEAD, rows_of_own(both, who=["ann"] * 30 + ["ben"] * 30))
    assert re.search(r"line 32, .*all rows of participant 'ben', .* count in seconds", refusal(path, clip))


def test_rows_without_a_name_among_others_and_names_in_two_ways_are_named(clip: Path, tmp_path: Path) -> None:
    who = ["ann"] * 30
    who[4] = ""
    path = gaze_files.write_table(tmp_path / "own.csv", HEAD, rows_of_own(np.arange(30) / 20, who=who))
    assert re.search(r"line 6, column 'participant': no participant is named; others are", refusal(path, clip))
    both = rows_of_own([*np.arange(20) / 20] * 2, who=["ann"] * 20 + ["Ann "] * 20)
    made = import_gaze([gaze_files.write_table(path, HEAD, both)], clip)
    assert [finding.message for finding in made.findings] == [
        "participants 'Ann' and 'ann': is that one person, written in two ways?"
    ]


def test_positions_that_are_exactly_0_are_no_places_until_somebody_says_so(clip: Path, tmp_path: Path) -> None:
    x, y = TRUE.x.copy(), TRUE.y.copy()
    x[[3, 9, 20]] = y[[3, 9, 20]] = 0.0
    path = own(tmp_path, x=x, y=y)
    assert re.search(r"line 5, column 'x_px': x and y are exactly 0, as in 2 other rows", refusal(path, clip))
    made = import_gaze([path], clip, options=GazeOptions(zero_is_lost=True))
    assert not made.findings and np.flatnonzero(~made.gaze.valid).tolist() == [3, 9, 20]


def test_two_people_under_one_name_are_refused(clip: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        own(tmp_path / folder)
    paths = [tmp_path / "a" / "own.csv", tmp_path / "b" / "own.csv"]
    assert re.search(r"own\.csv and .*own\.csv both have participant 'ann', trial 'clip'", refusal(paths, clip))
    truth = Truth.make(40)
    twice = [
        [who, t * 1000, x, y] for who in ("ann", "ann") for t, x, y in zip(truth.seconds, truth.x, truth.y, strict=True)
    ]
    path = gaze_files.write_table(tmp_path / "twice.csv", ["participant", "time_ms", "x_px", "y_px"], twice)
    assert re.search(r"line 42, .*'ann'.* has a row of this time already \(line 2\)", refusal(path, clip))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["participant", "time", "x_px", "y_px"], "'time' does not say its unit; give it with time_unit"),
        (["participant", "time_ms", "x", "y"], "do not say whether they are pixels or shares"),
        (["participant", "moment", "x_px", "y_px"], "no column for the time; its columns are participant, moment"),
        (["participant", "time_ms", "x_px", "x_px"], "two columns are called 'x_px'"),
    ],
)
def test_what_a_plain_table_does_not_say_is_asked_for(
    names: list[str], message: str, clip: Path, tmp_path: Path
) -> None:
    assert message in refusal(own(tmp_path, names=names), clip)


def test_what_a_plain_table_does_not_say_can_be_given(clip: Path, tmp_path: Path) -> None:
    truth = Truth.make()
    path = own(tmp_path, names=["subject", "time", "x", "y"], y=90 - truth.y)
    gaze = import_gaze([path], clip, options=GazeOptions(time_unit="ms", units="pixel", origin="bottom")).gaze
    np.testing.assert_allclose(gaze.y, truth.y)
    doubled = own(tmp_path, x=truth.x * 2, y=truth.y * 2)
    gaze = import_gaze([doubled], clip, options=GazeOptions(recorded_size="320x180")).gaze
    np.testing.assert_allclose(gaze.x, truth.x)


def test_what_is_doubtful_names_options_as_the_caller_has_them(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = Truth.make(30)
    path = gaze_files.gazepoint(tmp_path / "ann.csv", truth)
    call = ["gaze", "import", str(path), "--video", str(clip), "--to", str(tmp_path / "a.csv"), "--overwrite"]
    placed = f"{path} does not say where on the screen the video stood: its middle is taken"
    assert main([*call, "--screen", "320x200"]) == 0
    assert f"vidsal: warning: {placed} (--video-at)\n" in capsys.readouterr().err
    made = import_gaze([path], clip, options=SCREENED)
    assert [each.message for each in made.findings] == [f"{placed} (video_at)"]
    assert not any("video_at" in note for note in made.notes)
    assert main([*call, "--screen", "320x200", "--video-at", "0,10,320,180"]) == 0
    assert "where on the screen" not in capsys.readouterr().err

    late = own(tmp_path, t=TRUE.seconds * 1000 + 5e6)
    call[2] = str(late)
    assert main(call) == 1
    said = capsys.readouterr().err
    assert "the first frame (--offset -5000). Nothing was written" in said and "--no-strict" in said
    assert main([*call, "--offset", "-5000"]) == 0


def test_options_that_cannot_be_are_refused() -> None:
    for options in ({"screen": "big"}, {"recorded_size": "0x10"}, {"video_at": "1,2,3"}, {"events": "idt"}):
        with pytest.raises(ConfigError):
            GazeOptions(**options)  # type: ignore[arg-type]


# Fixations.


@needs_pymovements
@pytest.mark.parametrize("rate", [60, 120, 250])
@pytest.mark.parametrize("events", ["idt", "ivt"])
def test_times_that_are_rounded_to_milliseconds_and_drift_hold_the_same_fixations(events: str, rate: int) -> None:
    rng = np.random.default_rng(0)
    seconds = np.round(np.cumsum(rng.normal(1, 0.02, 2 * rate) / rate), 3)
    x = np.where(np.arange(2 * rate) < rate, 100.0, 300.0) + rng.normal(0, 0.02, 2 * rate)
    samples = Gaze.of(participant="a", trial="t", pts_seconds=seconds, x=x, y=100.0)
    found = find_fixations(samples, GazeOptions(events=events, pixels_per_degree=40.0))  # type: ignore[arg-type]
    # The first sample beyond the dispersion still counts: one of 60 that lies 200 px away.
    assert found.x.tolist() == pytest.approx([100, 300], abs=4)
    np.testing.assert_allclose(found.duration_seconds, 1, atol=0.08)


@needs_pymovements
@pytest.mark.parametrize("events", ["idt", "ivt"])
def test_fixations_are_found_where_they_were_made(events: str) -> None:
    rng = np.random.default_rng(1)
    places = [(100.0, 100.0, 0.4), (300.0, 150.0, 0.3), (200.0, 250.0, 0.5)]
    x, y, starts = [], [], []
    for left, top, lasts in places:
        starts.append(len(x) / 500)
        count = round(lasts * 500)
        x += (left + rng.normal(0, 0.02, count)).tolist()
        y += (top + rng.normal(0, 0.02, count)).tolist()
        # A saccade of 20 ms.
        x += np.linspace(left, left + 40, 10).tolist()
        y += np.linspace(top, top + 40, 10).tolist()
    samples = Gaze.of(participant="a", trial="t", pts_seconds=np.arange(len(x)) / 500, x=x, y=y, pupil=3.0)
    options = GazeOptions(events=events, pixels_per_degree=40.0, max_velocity=30.0)  # type: ignore[arg-type]
    found = find_fixations(samples, options)
    assert found.kind == "fixations" and len(found) == 3
    np.testing.assert_allclose(found.pts_seconds, starts, atol=0.012)
    np.testing.assert_allclose(found.duration_seconds, [lasts for *_, lasts in places], atol=0.012)
    np.testing.assert_allclose(found.x, [left for left, *_ in places], atol=2)
    np.testing.assert_allclose(found.pupil, 3.0)
    assert found.facts["events"]["pixels_per_degree"] == 40.0
    with pytest.raises(DatasetError, match="fixations already"):
        find_fixations(found, options)


# The command.


def test_the_command_writes_the_table_and_says_how_it_understood_the_file(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, table = own(tmp_path), tmp_path / "gaze.parquet"
    words = ["gaze", "import", str(path), "--video", str(clip), "--to", str(table)]
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert said["table"] == str(table) and said["rows"] == 60 and said["participants"] == ["ann"]
    assert (
        "60 samples of 1 participant in 1 viewing, 100.0% valid" in err and "count from the video's first frame" in err
    )
    assert main(words) == 3
    assert main([*words, "--overwrite", "--from", "tobi"]) == 2
    assert "did you mean tobii?" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--from", "tobii"]) == 1
    assert main([*words, "--overwrite", "--screen", "big"]) == 2
    assert len(read_gaze(table)) == 60
