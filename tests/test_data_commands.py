"""`vidsal data check` and `vidsal data density` as a user meets them, on made sets with known contents."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import layout_fixtures as made
import numpy as np
import pytest
from made import make_checkpoint
from media import make_video, truncate

from vidsal.cli import main
from vidsal.data.check import check_dataset, format_facts
from vidsal.data.densities import DensityOptions, write_densities
from vidsal.data.layouts import open_dataset
from vidsal.errors import ConfigError, DatasetError, EncodeError
from vidsal.evaluate import ModelSource
from vidsal.model.checkpoint import load_model


def status_of(*arguments: str | Path) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten stills and two videos of eight frames."""
    return made.make_simple(tmp_path_factory.mktemp("own"))


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two shots to test on, of three and five frames, and one of four to train on."""
    shots = {"actioncliptrain00001_1": (3, 4), "actioncliptest00001_1": (3, 3), "actioncliptest00001_2": (6, 5)}
    return made.make_hollywood(tmp_path / "films", shots=shots)


# Checking.


def test_what_is_there_is_counted(own: Path) -> None:
    facts = check_dataset(open_dataset("simple", own), full=True)
    assert sum(facts.sequences.values()) == 12
    assert facts.stills == 10
    assert facts.frames == facts.read == 10 + 2 * 8
    assert facts.sizes == {f"{made.WIDTH}x{made.HEIGHT}": 12}
    # Two on each still (a third falls beside its picture); on each frame of a video one, and a second one on two.
    assert facts.fixations == 20 + 2 * (8 + 2)
    assert facts.viewers == (1, 2)
    assert facts.broken == ()


def test_without_full_only_first_frames_are_looked_at(films: Path) -> None:
    quick, full = (check_dataset(open_dataset("hollywood2", films), full=full) for full in (False, True))
    assert (quick.frames, quick.read) == (12, 3)
    assert (full.frames, full.read) == (12, 12)
    assert "--full" in format_facts(quick)
    assert "--full" not in format_facts(full)


def test_the_splits_are_listed_one_by_one(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("data", "check", "hollywood2", films, "-q") == 0
    out = capsys.readouterr().out
    assert "3: 1 train, 2 test" in out
    assert f"{made.WIDTH}x{made.HEIGHT}" in out
    assert status_of("data", "check", "hollywood2", films, "-q", "--split", "test", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["sequences"] == {"test": 2}
    assert facts["frames"] == 8


def test_a_broken_sequence_is_named_and_the_others_are_counted(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = films / "testing" / "actioncliptest00001_2" / "maps" / "actioncliptest00001_00008.png"
    lost.unlink()
    assert status_of("data", "check", "hollywood2", films, "-q") == 1
    captured = capsys.readouterr()
    assert "1 of 3 sequences" in captured.out
    assert "frames     7" in captured.out
    assert captured.err == "vidsal: error: 1 of 3 sequences is broken\n"
    assert "actioncliptest00001_2: " in captured.out
    assert "actioncliptest00001_00007.png comes actioncliptest00001_00009.png" in captured.out


def test_a_damaged_frame_in_the_middle_is_found_by_full_only(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = films / "testing" / "actioncliptest00001_2" / "images" / "actioncliptest00001_00008.png"
    picture.write_bytes(b"no picture")
    assert status_of("data", "check", "hollywood2", films, "-q") == 0
    assert status_of("data", "check", "hollywood2", films, "-q", "--full") == 1
    assert f"{picture} is not a readable picture" in capsys.readouterr().out


def test_a_folder_in_another_layout_is_told(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("data", "check", "dhf1k", own) == 1
    error = capsys.readouterr().err
    assert "annotation" in error
    assert "fixations.csv" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "simpel", "."), "did you mean simple?"),
        (("chek",), "did you mean check?"),
        (("check", "simple", ".", "--option", "sigma=3"), "simple knows condition=, sigma_share="),
        (("check", "simple", ".", "--option", "sigma_share=wide"), "sigma_share must be a number, got 'wide'"),
        (("density", "simple", ".", "--out", "new"), "--sigma is missing"),
        (("density", "simple", ".", "--out", "new", "--sigma", "20"), "--sigma must be a number with its unit"),
        (("density", "simple", ".", "--out", "new", "--sigma", "1deg"), "needs --pixels-per-degree"),
        (
            ("density", "simple", ".", "--out", "new", "--sigma", "2px", "--pixels-per-degree", "30"),
            "--pixels-per-degree is for a sigma in degrees",
        ),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_allowed(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("data", *arguments) == 2
    assert message in capsys.readouterr().err


def test_options_of_a_layout_that_are_numbers_are_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made.make_dreyeve(tmp_path / "runs", frames=3, runs=(1,), unrolled=True)
    assert status_of("data", "check", "dreyeve", tmp_path / "runs", "-q", "--option", "list_base=0") == 0
    assert "1: 1 train" in capsys.readouterr().out


def test_an_option_narrows_what_is_found(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("data", "check", "simple", own, "-q", "--option", "condition=task", "--json") == 0
    assert json.loads(capsys.readouterr().out)["stills"] == 5


def notes_on(root: Path, capsys: pytest.CaptureFixture[str], *, status: int = 0) -> list[str]:
    """What `vidsal data check` remarks on, by its two ways to print it."""
    assert status_of("data", "check", "simple", root, "-q") == status
    out = capsys.readouterr().out
    assert status_of("data", "check", "simple", root, "-q", "--json") == status
    notes: list[str] = json.loads(capsys.readouterr().out)["notes"]
    assert [line.removeprefix("  note: ") for line in out.splitlines() if line.startswith("  note: ")] == notes
    return notes


def drop(root: Path, kind: str) -> None:
    """Takes one half of a set in the simple layout away."""
    (root / ("fixations.csv" if kind == "image" else "video_fixations.csv")).unlink()
    shutil.rmtree(root / f"{kind}s")


def test_a_fixation_outside_its_picture_is_reported(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert notes_on(own, capsys) == [
        "fixations.csv: rows outside their picture: 1 of 21; without a place (x or y empty or NaN): 0; they do not "
        "count"
    ]


def test_what_is_lost_of_stills_is_told_with_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = made.make_simple(tmp_path)
    drop(root, "video")
    rows = [f"{k}.png,{2 * made.WIDTH},{2 * made.HEIGHT},5,5" for k in range(2)]
    rows += [f"2.png,{made.HEIGHT},{made.WIDTH},5,5", "2.png,48,64,,7", "2.png,48,64,nan,7"]
    rows += [f"gone{k:02d}.png,{made.WIDTH},{made.HEIGHT},{made.WIDTH},5" for k in range(12)]
    (root / "fixations.csv").write_text("\n".join(["image,width,height,x,y", *rows]))
    lost, names, shape, unnamed = notes_on(root, capsys)
    assert "no row for 7 of 10 pictures in images/" in unnamed
    assert "outside their picture: 12 of 17; without a place (x or y empty or NaN): 2;" in lost
    assert "every row is lost of 12 of 15 pictures: gone00.png, gone01.png, " in names
    assert names.endswith("gone09.png and 2 more")
    assert shape.endswith(
        "for 1 of 15 pictures, so points may lie in wrong places: 2.png (x and y in 48x64, stored 64x48 upright)"
    )


def test_what_is_lost_of_videos_is_told_with_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = made.make_simple(tmp_path)
    drop(root, "image")
    size = f"{made.WIDTH},{made.HEIGHT}"
    rows = [f"one.mp4,{size},5,5,{start}" for start in ("-0.1,", "-0.1,150", "0,", "0.31,", "0.33,", "5,")]
    rows += [f"one.mp4,{size},-5,5,0,", f"two.mp4,{size},5,5,310.5,", f"two.mp4,{size},NA,5,0,"]
    (root / "video_fixations.csv").write_text("\n".join(["video,width,height,x,y,start_seconds,duration_ms", *rows]))
    # Eight frames of 25 a second end at 0.32 s.
    assert notes_on(root, capsys) == [
        "video_fixations.csv: rows outside their video: 1 of 9; without a place (x or y empty or NaN): 1; they do not "
        "count",
        "video_fixations.csv: rows that begin before their video: 2 of 9; after its end: 3; those that do not reach "
        "into it do not count",
        "video_fixations.csv: every row is lost of 1 of 2 videos: two.mp4",
    ]
    (root / "videos" / "two.mp4").write_bytes(b"no video")
    assert len(notes_on(root, capsys, status=1)) == 2  # of what cannot be read nothing is said but that


def test_what_no_row_speaks_of_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = made.make_simple(tmp_path)
    for name in ("more/a.png", "b.PNG", ".hidden.png"):
        made.write(root / "images" / name, made.picture(3))
    (root / "images" / "notes.txt").write_text("mine")
    (root / "video_fixations.csv").unlink()
    _, unnamed, left = notes_on(root, capsys)
    assert unnamed == "fixations.csv: no row for 2 of 12 pictures in images/, which are left out: more/a.png, b.PNG"
    assert left == "videos/ holds 2 videos, but there is no video_fixations.csv (or .csv.gz) and no gaze/: left out"
    facts = [check_dataset(open_dataset("simple", root, split=split)) for split in ("train", "val")]
    assert sum(note.count("b.PNG") for one in facts for note in one.notes) == 1
    of_task = check_dataset(open_dataset("simple", root, condition="task")).notes[0]
    assert of_task.startswith("fixations.csv: no row with condition task for 7 of 12 pictures in images/, ")


def test_a_video_cut_short_is_told_by_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = made.make_simple(tmp_path)
    drop(root, "image")
    whole = make_video(tmp_path / "whole.mkv", width=made.WIDTH, height=made.HEIGHT, frames=60, rate=25)
    truncate(whole, 0.5).replace(root / "videos" / "one.mp4")
    assert status_of("data", "check", "simple", root, "-q", "--full", "--json") == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert any(note.startswith("one.mp4: the file ends early") for note in notes)
    assert not any("two.mp4" in note for note in notes)


def test_the_shape_of_a_turned_photo_is_the_upright_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made.turn_by_exif(made.write(tmp_path / "images" / "a.jpg", made.picture(3)))
    for height, width, notes in ((made.WIDTH, made.HEIGHT, 0), (made.HEIGHT, made.WIDTH, 1)):
        (tmp_path / "fixations.csv").write_text(f"image,width,height,x,y\na.jpg,{width},{height},5,5\n")
        assert len(notes_on(tmp_path, capsys)) == notes


def test_shares_instead_of_pixels_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = made.make_simple(tmp_path)
    drop(root, "video")
    for k in range(5, 10):
        (root / "images" / f"{k}.png").unlink()
    rows = [f"{k}.png,{made.WIDTH},{made.HEIGHT},0.{k},1.0" for k in range(5)]
    (root / "fixations.csv").write_text("\n".join(["image,width,height,x,y", *rows]))
    (note,) = notes_on(root, capsys)
    assert "fixations.csv: all x and y lie within 0 and 1" in note
    with (root / "fixations.csv").open("a") as stream:
        stream.write(f"\n4.png,{made.WIDTH},{made.HEIGHT},2,1")
    assert notes_on(root, capsys) == []


# Densities.


def gaussian(x: float, y: float, *, sigma: float, height: int, width: int) -> np.ndarray:
    """A Gaussian around the middle of the pixel that holds the point; without the cut at four sigma."""
    rows, columns = np.mgrid[:height, :width]
    return np.exp(((columns - np.floor(x)) ** 2 + (rows - np.floor(y)) ** 2) / (-2 * sigma**2))


def by_hand(points: list[list[float]], *, sigma: float) -> np.ndarray:
    """Of points in a stored picture; the stimulus has twice its size."""
    height, width = 2 * made.HEIGHT, 2 * made.WIDTH
    total = sum(gaussian(2 * x, 2 * y, sigma=sigma, height=height, width=width) for x, y in points)
    return np.asarray(total / total.sum())


def test_maps_are_gaussians_of_the_stated_width(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "maps"
    arguments = ("data", "density", "simple", own, "--out", out, "--format", "npz", "-q")
    assert status_of(*arguments, "--sigma", "1.5deg", "--pixels-per-degree", "2") == 0
    assert capsys.readouterr().out.strip() == str(out / "density.json")
    for number in (0, 7):
        with np.load(out / f"{number}.npz") as file:
            density = file["density"]
        assert density.dtype == np.float32
        assert density.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
        right, wrong = by_hand(made.centres(number), sigma=3), by_hand(made.centres(number), sigma=3.3)
        assert np.abs(density - right).max() < 0.01 * right.max()
        assert np.abs(density - wrong).max() > 0.03 * wrong.max()


def test_a_png_has_16_bits_and_the_same_map(own: Path, tmp_path: Path) -> None:
    for form in ("png", "npz"):
        options = DensityOptions(sigma="3px", format=form)
        write_densities(open_dataset("simple", own), tmp_path / form, options=options)
    levels = cv2.imread(str(tmp_path / "png" / "4.png"), cv2.IMREAD_UNCHANGED)
    assert levels.dtype == np.uint16
    assert levels.max() == 65535
    with np.load(tmp_path / "npz" / "4.npz") as file:
        density = file["density"]
    np.testing.assert_allclose(levels / 65535, density / density.max(), atol=1e-5)


def test_each_frame_of_a_video_has_a_map_of_the_points_under_way(own: Path, tmp_path: Path) -> None:
    report = write_densities(open_dataset("simple", own), tmp_path / "maps", options=DensityOptions(sigma="2px"))
    maps = sorted((tmp_path / "maps" / "one.mp4").iterdir())
    assert [path.name for path in maps] == [f"{k:06d}.png" for k in range(8)]
    assert report.written == 10 + 2 * 8
    # Frames 3 and 4 (0.12 and 0.16 s) are those that the second viewer's fixation from 0.1 to 0.18 s covers.
    corner = [int(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[7, 7]) > 30000 for path in maps]
    assert corner == [False, False, False, True, True, False, False, False]


def test_frames_that_nobody_looked_at_keep_their_place_and_are_counted(films: Path, tmp_path: Path) -> None:
    still = films / "testing" / "actioncliptest00001_1"
    empty = still / "fixation" / "actioncliptest00001_00004.png"
    made.write(empty, np.zeros((made.HEIGHT, made.WIDTH), np.uint8))
    dataset = open_dataset("hollywood2", films, split="test")
    report = write_densities(dataset, tmp_path / "maps", options=DensityOptions(sigma="2px"))
    assert (report.written, report.empty, report.unrecorded) == (8, 1, 0)
    maps = sorted((tmp_path / "maps" / "actioncliptest00001_1").iterdir())
    assert [path.name for path in maps] == [f"actioncliptest00001_{number:05d}.png" for number in (3, 4, 5)]
    assert [bool(cv2.imread(str(path), cv2.IMREAD_UNCHANGED).any()) for path in maps] == [True, False, True]


def test_the_record_says_how_the_maps_were_made(films: Path, tmp_path: Path) -> None:
    out = tmp_path / "maps"
    arguments = ("data", "density", "hollywood2", films, "--split", "test", "--option", "rate=25", "-q")
    assert status_of(*arguments, "--out", out, "--sigma", "1 deg", "--pixels-per-degree", "2.5") == 0
    record = json.loads((out / "density.json").read_text())
    assert record["complete"] is True
    assert record["dataset"] == "hollywood2"
    assert record["split"] == "test"
    assert record["layout_options"] == {"rate": 25.0}
    assert record["options"] == {"sigma": "1 deg", "pixels_per_degree": 2.5, "format": "png"}
    assert record["sigma_pixels"] == 2.5
    assert record["sequences"] == {"actioncliptest00001_1": 3, "actioncliptest00001_2": 5}
    assert record["written"] == 8


def test_a_broken_sequence_is_told_and_the_others_are_made(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (films / "testing" / "actioncliptest00001_1" / "fixation" / "actioncliptest00001_00003.png").write_bytes(b"none")
    out = tmp_path / "maps"
    assert status_of("data", "density", "hollywood2", films, "--split", "test", "--out", out, "--sigma", "2px") == 1
    assert "00003.png is not a readable picture" in capsys.readouterr().err
    record = json.loads((out / "density.json").read_text())
    assert list(record["broken"]) == ["actioncliptest00001_1"]
    assert record["sequences"]["actioncliptest00001_2"] == 5


def test_only_maps_of_an_earlier_call_are_replaced(own: Path, tmp_path: Path) -> None:
    dataset, options = open_dataset("simple", own), DensityOptions(sigma="2px")
    out = tmp_path / "maps"
    write_densities(dataset, out, options=options)
    with pytest.raises(ConfigError, match="holds maps already"):
        write_densities(dataset, out, options=options)
    write_densities(dataset, out, options=DensityOptions(sigma="4px"), overwrite=True)
    assert json.loads((out / "density.json").read_text())["sigma_pixels"] == 4
    with pytest.raises(ConfigError, match="other files"):
        write_densities(dataset, own, options=options, overwrite=True)
    with pytest.raises(ConfigError, match="is a file"):
        write_densities(dataset, own / "fixations.csv", options=options)


def test_a_set_without_fixations_is_refused(tmp_path: Path) -> None:
    made.make_mit300(tmp_path / "set")
    dataset = open_dataset("mit300", tmp_path / "set", split="test")
    with pytest.raises(DatasetError, match="no frame of split test of mit300 has a record of fixations"):
        write_densities(dataset, tmp_path / "maps", options=DensityOptions(sigma="2px"))


def test_two_stills_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    rows = ["image,width,height,x,y"]
    for name in ("a.png", "a.jpg"):
        made.write(tmp_path / "set" / "images" / name, made.picture(1))
        rows.append(f"{name},{made.WIDTH},{made.HEIGHT},3,4")
    (tmp_path / "set" / "fixations.csv").write_text("\n".join(rows) + "\n")
    dataset = open_dataset("simple", tmp_path / "set")
    report = write_densities(dataset, tmp_path / "maps", options=DensityOptions(sigma="2px"))
    assert report.written == 1
    assert "would both be written" in report.broken[0]


def test_a_folder_that_cannot_be_made_is_told(own: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EncodeError, match="cannot write"):
        write_densities(open_dataset("simple", own), tmp_path / "file" / "maps", options=DensityOptions(sigma="2px"))


@pytest.mark.parametrize("sigma", ["0px", "-1px", "px", "1 em", "1e400px", ""])
def test_a_sigma_that_is_no_width_is_refused(sigma: str) -> None:
    with pytest.raises(ConfigError, match="sigma must be"):
        DensityOptions(sigma=sigma)


# Maps for benchmarks.


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


def test_a_submission_has_a_map_a_picture_as_large_as_that(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = made.make_mit300(tmp_path / "mit300"), tmp_path / "maps"
    assert status_of("data", "submission", "mit300", root, "-m", model, "--out", out) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out}\n"
    assert "mit300: 3 maps\n" in captured.err
    assert sorted(path.name for path in out.iterdir()) == ["i1.png", "i10.png", "i2.png"]
    source = ModelSource(load_model(model, device="cpu", precision="fp32"))
    for sequence in open_dataset("mit300", root):
        written = cv2.imread(str(out / f"{sequence.name}.png"), cv2.IMREAD_UNCHANGED)
        assert (written.shape, written.dtype, written.max()) == ((made.HEIGHT, made.WIDTH), np.uint8, 255)
        ((_, density),) = source.maps(sequence, [0])
        density = cv2.resize(density, (made.WIDTH, made.HEIGHT), interpolation=cv2.INTER_LINEAR)
        assert np.abs(density / density.max() * 255 - written).max() <= 0.51


def test_a_submission_replaces_no_map_unasked(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = made.make_mit300(tmp_path / "mit300"), tmp_path / "maps"
    out.mkdir()
    (out / "i2.png").write_bytes(b"mine")
    call = ("data", "submission", "mit300", root, "-q", "-m", model, "--out")
    assert status_of(*call, out) == 2
    assert "holds 1 of the 3 maps already, the first is i2.png; overwrite them (--overwrite)" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["i2.png"]
    assert status_of(*call, out, "--overwrite") == 0
    assert (out / "i2.png").read_bytes() != b"mine"
    assert status_of(*call, root / "BenchmarkIMAGES", "--overwrite") == 2
    assert "is a folder of the data set" in capsys.readouterr().err
    assert status_of(*call, root / "BenchmarkIMAGES" / "SM") == 0


def test_a_submission_is_of_stills_and_tells_of_broken_ones(
    own: Path, films: Path, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("data", "submission", "hollywood2", films, "-q", "-m", model, "--out", tmp_path / "none") == 1
    assert "holds videos only" in capsys.readouterr().err
    assert status_of("data", "submission", "simple", own, "-m", model, "--out", tmp_path / "maps") == 0
    assert "simple: 10 maps; left out: 2 videos" in capsys.readouterr().err
    assert (tmp_path / "maps" / "0.png").is_file()
    root = made.make_cat2000(tmp_path / "cat2000")
    (root / "testSet/Stimuli/Action/002.jpg").write_bytes(b"no picture")
    call = ("data", "submission", "cat2000", root, "-q", "--split", "test", "-m", model, "--out", tmp_path / "cat")
    assert status_of(*call) == 1
    assert "testSet/Action/002: " in capsys.readouterr().err
    assert sorted(path.stem for path in (tmp_path / "cat/testSet/Action").iterdir()) == ["001", "010"]


def test_evaluating_a_set_without_labels_names_the_command_that_writes_maps(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = made.make_mit300(tmp_path / "mit300")
    assert status_of("eval", "mit300", root, "-m", model, "--out", tmp_path / "out", "--metrics", "nss") == 1
    assert "vidsal data submission" in capsys.readouterr().err
