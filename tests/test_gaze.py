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
from vidsal.gaze.events import by_dispersion, find_fixations
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


@needs_pymovements
def test_of_both_eyes_of_an_eyelink_file_the_mean_is_taken(clip: Path, tmp_path: Path) -> None:
    """The right eye looks 8 pixels of the screen further to the right, and blinks at the end."""
    path = gaze_files.eyelink(tmp_path / "ann.asc", Truth.make(30))
    lines, made, fixed = path.read_text().splitlines(), [], 0
    for line in lines:
        parts = line.split("\t")
        if line[:1].isdigit():
            number, x, y, pupil = (part.strip() for part in parts[:4])
            other = "." if x == "." else f"{float(x) + 8:.2f}"
            size = f"{float(pupil) + 100:.1f}" if x != "." else "0.0"
            parts = [number, f"  {x}", f"  {y}", f"  {pupil}", f"  {other}", f"  {y}", f"  {size}", "....."]
            fixed = int(number)
        if parts[0] == "END":
            begin = fixed - 300
            for eye, late in (("L", 0), ("R", 2)):
                made.append(f"SFIX {eye}   {begin + late}")
                made.append(f"EFIX {eye}   {begin + late}\t{begin + 200 + late}\t201\t  1.0\t  1.0\t   784")
        made.append("\t".join(parts).replace("LEFT", "LEFT\tRIGHT"))
    path.write_text("\n".join(made) + "\n")
    truth = Truth.make(30)
    gaze = import_gaze([path], clip, options=SCREENED).gaze
    shift = 4 * SIZE[0] / BOX[2]
    np.testing.assert_allclose(gaze.x[: len(truth.x)], truth.x + shift, atol=0.1)
    np.testing.assert_allclose(gaze.pupil[: len(truth.x)], 834)
    found = import_gaze([path], clip, options=replace(SCREENED, take="fixations"))
    assert len(found.gaze) == 1 and found.gaze.duration_seconds[0] == pytest.approx(0.2, abs=0.02)
    assert any("of the right eye, at the mean of the samples of both" in note for note in found.notes)


def test_where_lids_are_closed_neon_has_no_gaze(clip: Path, tmp_path: Path) -> None:
    path = gaze_files.neon(tmp_path / "ann", Truth.make(30))
    lines = path.read_text().splitlines()
    for number in range(11, 16):
        lines[number] = lines[number].rstrip(",") + ",,7"
    assert all(line.count(",") == lines[0].count(",") for line in lines[11:16])
    path.write_text("\n".join(lines))
    valid = import_gaze([path], clip).gaze.valid
    assert not valid[10:15].any() and valid[:10].all() and valid[15:29].all()


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


EVENTS_HEAD = [
    *("Participant name", "Recording name", "Recording timestamp [ms]", "Sensor", "Event", "Presented Stimulus name"),
    *("Gaze point X [MCS px]", "Gaze point Y [MCS px]", "Fixation point X [MCS px]", "Fixation point Y [MCS px]"),
    *("Eye movement type", "Eye movement type index", "Gaze event duration [ms]"),
]


def with_events(path: Path, *, before: int = 0, keys_are_named: bool = False) -> Path:
    """Fixations of 200 ms each, one behind the other, 100 samples a second, and a key in the middle of one.

    `before` samples come before the video, and so the first fixation does not end with a whole number of them.
    """
    rows: list[list[object]] = []
    for number in range(120):
        shown, which = "clip.mp4" if number >= before else "Instruction", number // 20
        if number == 70:
            rows.append(["P", "Rec1", 10 * number - 4, "", "KeyboardEvent", shown if keys_are_named else ""] + [""] * 7)
        x = 20 + 10 * which
        eyes = ["P", "Rec1", 10 * number, "Eye Tracker", "", shown, x, 45, x, 45, "Fixation", which + 1, 200]
        rows.append(eyes)
    return gaze_files.write_table(path, EVENTS_HEAD, rows, delimiter="\t")


@pytest.mark.parametrize("keys_are_named", [False, True])
def test_a_key_among_the_samples_of_tobii_ends_no_viewing_and_no_fixation(
    keys_are_named: bool, clip: Path, tmp_path: Path
) -> None:
    path = with_events(tmp_path / "a.tsv", keys_are_named=keys_are_named)
    samples = import_gaze([path], clip).gaze
    assert len(samples) == 120 and [trial for _, trial, _ in samples.viewings()] == ["Rec1"]
    np.testing.assert_allclose(samples.pts_seconds, np.arange(120) / 100)
    fixations = import_gaze([path], clip, options=GazeOptions(take="fixations")).gaze
    np.testing.assert_allclose(fixations.pts_seconds, np.arange(6) / 5)
    np.testing.assert_allclose(fixations.duration_seconds, 0.2)


def test_of_a_fixation_of_tobii_that_was_under_way_only_the_part_in_the_video_counts(
    clip: Path, tmp_path: Path
) -> None:
    path = with_events(tmp_path / "a.tsv", before=15)
    fixations = import_gaze([path], clip, options=GazeOptions(take="fixations")).gaze
    np.testing.assert_allclose(fixations.pts_seconds, [0, 0.05, 0.25, 0.45, 0.65, 0.85])
    np.testing.assert_allclose(fixations.duration_seconds, [0.05, 0.2, 0.2, 0.2, 0.2, 0.2])


def test_what_begins_with_an_event_of_tobii_begins_there(clip: Path, tmp_path: Path) -> None:
    path = with_events(tmp_path / "a.tsv", before=15)
    lines = path.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if "clip.mp4" in line)
    lines.insert(at, "\t".join(["P", "Rec1", "146", "", "VideoStimulusStart", "clip.mp4"] + [""] * 7))
    path.write_text("\n".join(lines))
    samples = import_gaze([path], clip).gaze
    # The row of the event has no eyes, and is the video's first frame.
    assert samples.pts_seconds[samples.valid][0] == pytest.approx(0.004)


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


@pytest.mark.parametrize("given", [0.0, 100.0])
def test_the_offset_that_an_error_names_brings_the_first_row_to_the_first_frame(
    given: float, clip: Path, tmp_path: Path
) -> None:
    truth = Truth.make(20)
    for begin in (123_456.789, 1_709_283_600.123):
        path = gaze_files.plain(tmp_path / "own.csv", truth, t=(truth.seconds + begin) * 1000)
        told = refusal(path, clip, offset=given)
        named = re.search(r"offset=(-[\d.]+)", told)
        assert named is not None, told
        gaze = import_gaze([path], clip, options=GazeOptions(offset=float(named[1]))).gaze
        assert gaze.pts_seconds[0] == pytest.approx(0, abs=1e-5)


def test_names_and_pupils_are_those_of_the_column_called_so_and_it_is_said(clip: Path, tmp_path: Path) -> None:
    named = ["subject_age", "subject", "trial_condition", "trial", "pupil_valid", "pupil", "valid"]
    head = [*named, "time_ms", "x_px", "y_px"]
    rows = [[23, "S1", "rain", "t4", 1, 3.5, "1.0", 20 * number, 50, 40] for number in range(5)]
    made = import_gaze([gaze_files.write_table(tmp_path / "a.csv", head, rows)], clip)
    assert [(who, trial) for who, trial, _ in made.gaze.viewings()] == [("S1", "t4")]
    assert made.gaze.valid.all() and (made.gaze.pupil == 3.5).all()
    said = " ".join(made.notes)
    assert "'subject' names the participants" in said and "'trial' names the trials" in said
    only = gaze_files.write_table(tmp_path / "b.csv", head[:1] + head[7:], [row[:1] + row[7:] for row in rows])
    assert [who for who, *_ in import_gaze([only], clip).gaze.viewings()] == ["b"]


def test_what_a_format_cannot_tell_is_refused_and_not_left_out(clip: Path, tmp_path: Path) -> None:
    path = own(tmp_path)
    assert "does not say what was shown; leave out stimulus=nope" in refusal(path, clip, stimulus="nope")
    told = refusal(path, clip, take="fixations")
    assert "holds samples, and no fixations to take; find them with events=idt" in told
    ends = own(tmp_path, names=["participant", "time_ms", "x_px", "y_px", "duration_ms"], d=[10] * 60)
    assert "holds fixations, and no samples to take" in refusal(ends, clip, take="samples")
    (tmp_path / "smi.txt").write_text("## [BeGaze]\n## Date:\t1.1.2020\nTime\tType\n1\tSMP\n")
    assert "SMI's programs" in refusal(tmp_path / "smi.txt", clip)
    path.write_text("time_ms,x_px,y_px,valid\n0,1,1,ok\n20,2,2,ok\n")
    assert "'valid' calls no row valid" in refusal(path, clip)


def test_a_decimal_comma_may_come_late(clip: Path, tmp_path: Path) -> None:
    truth = Truth.make(60)
    x = [f"{value:.0f}" for value in truth.x[:-1]] + ["80,25"]
    rows = list(zip(["ann"] * 60, [f"{t * 1000:.0f}" for t in truth.seconds], x, ["40"] * 60, strict=True))
    path = gaze_files.write_table(
        tmp_path / "a.csv", ["participant", "time_ms", "x_px", "y_px"], [list(row) for row in rows], delimiter=";"
    )
    assert import_gaze([path], clip).gaze.x[-1] == 80.25


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
    for options in (
        {"participant": ""},
        {"screen": "big"},
        {"recorded_size": "0x10"},
        {"video_at": "1,2,3"},
        {"events": "idt"},
    ):
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
    assert found.x.tolist() == pytest.approx([100, 300], abs=0.1)
    np.testing.assert_allclose(found.duration_seconds, 1, atol=0.08)


def test_no_fixation_holds_a_sample_of_the_next_one_nor_lacks_its_first() -> None:
    """Two places by turns, each for 0.2 s at 25 samples a second."""
    x = np.where(np.arange(70) % 10 < 5, 100.0, 900.0)
    samples = Gaze.of(participant="a", trial="t", pts_seconds=np.arange(70) / 25, x=x, y=270.0)
    found = find_fixations(samples, GazeOptions(events="idt", pixels_per_degree=38.0))
    np.testing.assert_array_equal(found.x, [100, 900] * 7)
    np.testing.assert_allclose(found.pts_seconds, np.arange(14) / 5)
    np.testing.assert_allclose(found.duration_seconds, 0.2)


def test_fixations_by_dispersion_are_those_of_the_definition() -> None:
    """Beside a plain reading of Salvucci and Goldberg: grow while narrow enough, else move on by one."""
    rng = np.random.default_rng(3)
    place = np.cumsum(rng.normal(0, 0.2, (600, 2)) * (1 + 8 * (rng.random((600, 1)) < 0.05)), axis=0)

    def spread(begin: int, end: int) -> float:
        return float(np.ptp(place[begin:end], axis=0).sum())

    wanted, begin = [], 0
    while begin + 6 <= len(place):
        end = begin + 6
        if spread(begin, end) > 1.0:
            begin += 1
            continue
        while end < len(place) and spread(begin, end + 1) <= 1.0:
            end += 1
        wanted.append((begin, end))
        begin = end
    assert by_dispersion(place, least=6, largest=1.0) == wanted and len(wanted) > 10
    assert by_dispersion(place[:5], least=6, largest=1e9) == []


@needs_pymovements
def test_the_shortest_fixation_counts_its_last_sample_with_both_algorithms() -> None:
    x = np.concatenate([np.linspace(0, 400, 5), np.full(3, 400.0), np.linspace(400, 0, 5), np.full(2, 0.0)])
    samples = Gaze.of(participant="a", trial="t", pts_seconds=np.arange(len(x)) / 25, x=x, y=100.0)
    for events, wanted in (("idt", [0.2, 0.12]), ("ivt", [0.12])):
        options = GazeOptions(events=events, pixels_per_degree=40.0, min_fixation=0.12)  # type: ignore[arg-type]
        assert find_fixations(samples, options).duration_seconds.tolist() == pytest.approx(wanted)


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
