"""Options in, the files they ask for out: names worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from vidsal import files
from vidsal.decode import DecodeOptions, VideoInfo
from vidsal.driving.options import DrivingOptions
from vidsal.errors import ConfigError, DatasetError, EncodeError
from vidsal.pipe import outputs, places
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.outputs import make_sinks, shared_video_options
from vidsal.pipe.places import distinct_key, local_path, other_places, places_of, planned_outputs
from vidsal.sinks import ExportSink, ImageSink, MapsSink, TableSink, VideoOptions, VideoSink

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
FILE = Path("/films/a.b.mp4")


def planned(source: str | Path | int, *, still: bool = False, **options: object) -> set[str]:
    wanted = OutputOptions(**options)  # type: ignore[arg-type]
    (place,) = places_of([source], wanted)
    return {str(target) for target in planned_outputs(place, wanted, still=still).values()}


def placed(sources: list[str], **options: object) -> list[str]:
    """Folder and beginning of the names of the results of each source."""
    return [str(place.folder / place.stem) for place in places_of(sources, OutputOptions(**options))]  # type: ignore[arg-type]


def test_results_lie_beside_the_source_or_in_the_folder_asked_for() -> None:
    assert planned(FILE) == {"/films/a.b.vidsal.mp4", "/films/a.b.vidsal.csv"}
    assert planned(FILE, output=Path("/new")) == {"/new/a.b.vidsal.mp4", "/new/a.b.vidsal.csv"}
    assert planned("in.mp4") == {f"{Path.cwd()}/in.vidsal.mp4", f"{Path.cwd()}/in.vidsal.csv"}


def test_a_folder_of_pictures_keeps_its_whole_name(tmp_path: Path) -> None:
    folder = tmp_path / "holiday.2024"
    folder.mkdir()
    assert planned(folder, table="none") == {f"{tmp_path}/holiday.2024.vidsal.mp4"}


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("rtsp://host/door.sdp?a=1/b.c", "door"),
        ("http://host/a%20film (1).mp4/", "a-20film-1-"),
        ("https://host/live/", "live"),
        ("https://host/boX//", "boX"),
        (0, "camera-0"),
        ("12", "camera-12"),
        ("-", "standard-input"),
        ("http://host/?x", "host"),
        ("rtsp://host/con.x.sdp", "_con.x"),
        *((f"rtsp://host/{name}.sdp", f"_{name}") for name in ("CON", "prn", "aux", "nul", "com1", "lpt9")),
        *((f"rtsp://host/{name}.sdp", name) for name in ("com0", "com10")),
        ("http://me:secret@host/?x", "host"),
        ("", "stream"),
    ],
)
def test_what_is_no_file_is_named_by_its_address_in_the_working_folder(source: str | int, stem: str) -> None:
    assert planned(source, table="none") == {f"{Path.cwd()}/{stem}.vidsal.mp4"}
    assert planned(source, table="none", output=Path("/new")) == {f"/new/{stem}.vidsal.mp4"}


def test_stages_are_planned_only_where_they_are_wanted() -> None:
    (place,) = places_of([FILE], OutputOptions())
    everything = planned_outputs(place, OutputOptions(container="mkv", table="parquet", maps="npz", export=("shots",)))
    assert {stage: target.name for stage, target in everything.items()} == {
        "video": "a.b.vidsal.mkv",
        "table": "a.b.vidsal.parquet",
        "maps": "a.b.vidsal.maps.npz",
        "shots": "a.b.vidsal.shots.csv",
    }
    still = planned_outputs(place, OutputOptions(table="none"), still=True)
    assert {stage: target.name for stage, target in still.items()} == {"image": "a.b.vidsal.png"}
    assert planned_outputs(place, OutputOptions(video=False, table="none")) == {}
    assert place.record == Path("/films/a.b.vidsal.json")
    assert planned(FILE, video=False, table="none", maps="none") == set()


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("mine.csv", "/films/mine.csv"),
        ("mine.JSONL", "/films/mine.JSONL"),
        ("tables/mine.csv", "tables/mine.csv"),
        ("./mine.csv", "/films/mine.csv"),
        ("/mine.parquet", "/mine.parquet"),
    ],
)
def test_a_bare_name_lands_beside_the_video_and_a_path_where_it_says(wanted: str, target: str) -> None:
    assert planned(FILE, video=False, table=wanted) == {target}


@pytest.mark.parametrize("wrong", [{"table": "xlsx"}, {"table": "a.xlsx"}, {"maps": "csv"}, {"table": "csvx"}])
def test_an_unknown_format_is_refused_with_the_known_ones(wrong: dict[str, str]) -> None:
    (what,) = wrong
    with pytest.raises(ConfigError, match=f"^{what} .*{'mkv.*npz' if what == 'maps' else 'csv.*parquet.*jsonl'}"):
        OutputOptions(**wrong)  # type: ignore[arg-type]


def test_sources_of_several_folders_keep_their_folders_below_the_one_asked_for() -> None:
    assert placed(["/in/a.mp4", "/in/b.mp4"], output="/new") == ["/new/a", "/new/b"]
    assert placed(["/in/mon/a.mp4", "/in/tue/a.mkv", "/in/tue/b.mp4"], output="/new") == [
        "/new/mon/a",
        "/new/tue/a",
        "/new/tue/b",
    ]
    assert placed(["/in/a.mp4", "/in/deep/er/a.mp4", "rtsp://host/x"], output="/new") == [
        "/new/a",
        "/new/deep/er/a",
        "/new/x",
    ]
    # Beside their inputs nothing has to be told apart.
    assert placed(["/in/mon/a.mp4", "/in/tue/a.mp4"]) == ["/in/mon/a", "/in/tue/a"]


@pytest.mark.parametrize(
    ("sources", "stems"),
    [
        (["/in/a.mp4", "/in/a.mkv", "/in/b.mp4"], ["a.mp4", "a.mkv", "b"]),
        (["/in/a.mp4", "/in/A.mkv"], ["a.mp4", "A.mkv"]),
        (["/in/a.mp4", "/in/a.mkv", "/in/a.mp4.mov"], ["a.mp4", "a.mkv", "a.mp4.mov"]),
        (["rtsp://one/a.sdp", "rtsp://me:secret@two/a.sdp?x=1"], ["one-a.sdp", "two-a.sdp"]),
        (["/in/a.mp4", "http://host/in/a.mp4"], ["a", "a"]),  # one beside the input, one in the working folder
    ],
)
def test_sources_of_one_name_keep_their_endings(sources: list[str], stems: list[str]) -> None:
    assert [Path(place).name for place in placed(sources)] == stems


def test_sources_on_several_drives_bring_their_whole_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    def several_drives(paths: list[str]) -> str:
        raise ValueError(paths)

    monkeypatch.setattr(places.os.path, "commonpath", several_drives)
    assert placed(["/X:\\films\\mon/a.mp4", "/in/a.mp4", "rtsp://host/x"], output="/new") == [
        "/new/X/films/mon/a",
        "/new/in/a",
        "/new/x",
    ]


def test_a_link_keeps_its_own_name_and_what_has_none_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    link = tmp_path / "deep" / "link.mp4"
    link.symlink_to(tmp_path / "a.mp4")
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert placed(["../link.mp4", ".."]) == [f"{tmp_path}/deep/er/../link", f"{tmp_path}/deep"]
    assert placed(["/", "/root.mp4"]) == ["/root", "/root.mp4"]


def test_other_batches_may_have_had_each_name_and_each_folder_of_a_source() -> None:
    def others(source: str, *more: str, **options: object) -> list[str]:
        wanted = OutputOptions(**options)  # type: ignore[arg-type]
        there = places_of([source, *more], wanted)[0]
        return [str(place.folder / place.stem) for place in other_places(source, there, wanted)]

    assert others("/in/mon/a.mp4", "/in/tue/b.mp4", output="out") == [
        *("out/a", "out/a.mp4"),
        "out/mon/a.mp4",
        *("out/in/mon/a", "out/in/mon/a.mp4"),
    ]
    assert others("/in/mon/a.mp4") == ["/in/mon/a.mp4"]
    assert others("/in/mon/a.mp4", output="out.mp4") == others("rtsp://host/a.sdp") == []


def test_a_folder_of_pictures_and_a_video_of_one_name_have_results_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert placed([str(tmp_path / "a"), str(tmp_path / "a.mp4")]) == [f"{tmp_path}/a", f"{tmp_path}/a.mp4"]


@pytest.mark.parametrize(
    "pair",
    [["a.mp4", "./a.mp4"], ["/in/a.mp4", "/in/b/../a.mp4"], ["camera:0", 0], ["-", "-"], ["a.mp4", Path("a.mp4")]],
)
def test_a_source_that_is_given_twice_is_refused(pair: list[str | Path | int]) -> None:
    assert distinct_key(pair[0]) == distinct_key(pair[1])
    with pytest.raises(ConfigError, match="is given twice"):
        places_of(pair, OutputOptions())


def test_sources_that_only_look_alike_are_two() -> None:
    assert distinct_key("rtsp://host/a?x=1") != distinct_key("rtsp://host/a?x=2")
    assert local_path("a\0.mp4") is None and local_path("a.mp4") == Path("a.mp4")


def test_sources_that_share_a_table_of_one_name_are_refused_however_it_is_written() -> None:
    for sources, table in ((["/one/a.mp4", "/two/b.mp4"], "./tables/all.csv"), (["/in/a.mp4", "/in/b.mp4"], "all.csv")):
        with pytest.raises(
            ConfigError, match=r"a\.mp4 and /\w+/b\.mp4 would both write .*all\.csv: give table a format such as csv"
        ):
            places_of(sources, OutputOptions(table=table))
    places_of(["/one/a.mp4", "/two/b.mp4"], OutputOptions(table="all.csv"))  # beside each
    with pytest.raises(ConfigError, match=r"both write .*all\.npz: give maps a format such as npz"):
        places_of(["/in/a.mp4", "/in/b.mp4"], OutputOptions(maps="all.npz"))
    for video in (True, False):
        with pytest.raises(ConfigError, match=r"both write .*: give each its own output"):
            places_of(["rtsp://host/a?x=1", "rtsp://host/a?x=2"], OutputOptions(video=video))


@pytest.mark.parametrize(
    ("options", "says", "mended"),
    [
        (
            {"output": "x.mkv", "maps": "./y/../x.mkv"},
            "output=x.mkv and maps=./y/../x.mkv name one file",
            [{"maps": "y.mkv"}, {"maps": None}, {"video": False, "output": "/in"}],
        ),
        (
            {"container": "mkv", "maps": "a.vidsal.mkv"},
            "maps=a.vidsal.mkv names the file of the video (/in/a.vidsal.mkv): give it a name of its own",
            [{"maps": "y.mkv"}, {"maps": None}, {"video": False}],
        ),
        (
            {"table": "/in/a.vidsal.shots.csv", "export": ("shots",), "video": False},
            "table=/in/a.vidsal.shots.csv names the file of the shots (/in/a.vidsal.shots.csv): give it a name of its",
            [{"table": "csv"}, {"table": "none"}, {"export": ()}],
        ),
    ],
)
def test_two_results_of_one_source_with_one_name_are_refused(
    options: dict[str, object], says: str, mended: list[dict[str, object]]
) -> None:
    with pytest.raises(ConfigError) as error:
        placed(["/in/a.mp4"], **options)
    assert says in str(error.value)
    for change in mended:
        assert planned("/in/a.mp4", **options | change)


# A name instead of a folder.


@pytest.mark.parametrize("name", ["out.mp4", "new/out.MKV", "/new/out.mov", "out.vidsal.mp4"])
def test_a_video_may_be_named_and_the_rest_goes_beside_it(name: str) -> None:
    where = str(Path(name).parent)
    beside = "" if where == "." else f"{where}/"
    assert planned(FILE, output=name, maps="npz") == {
        name,
        f"{beside}out.vidsal.csv",
        f"{beside}out.vidsal.maps.npz",
    }
    (place,) = places_of([FILE], OutputOptions(output=Path(name)))
    assert place.record == Path(name).parent / "out.vidsal.json"


def test_a_picture_may_be_named_too_and_neither_is_taken_for_the_other() -> None:
    assert planned("a.png", still=True, output="out.jpg", table="none") == {"out.jpg"}
    with pytest.raises(ConfigError, match=r"^output=out\.jpg names a picture, but the input is a video: give a folder"):
        planned("a.mp4", output="out.jpg")
    with pytest.raises(ConfigError, match=r"^output=out\.mp4 names a video, but the input is a picture: give a folder"):
        planned("a.png", still=True, output="out.mp4")


def test_a_folder_of_such_a_name_stays_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").mkdir()
    (tmp_path / "out.avi").mkdir()
    assert placed(["a.mp4", "b.mp4"], output=tmp_path / "out.mp4") == [f"{tmp_path}/out.mp4/{name}" for name in "ab"]
    assert placed(["a.mp4"], output=tmp_path / "out.avi") == [f"{tmp_path}/out.avi/a"]
    assert placed(["a.mp4"], output="results.v2") == ["results.v2/a"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"output": "out.mp4", "video": False},
            "output=out.mp4 names a video, but none is written: give a folder, or leave out video=False",
        ),
        ({"output": "out.avi"}, "output=out.avi must be a folder, or name a video ending in one of .mp4, .mkv, .mov"),
        ({"output": "out.csv"}, "output=out.csv must be a folder or name the video; for this file give table=out.csv"),
        ({"output": "out.npz"}, "output=out.npz must be a folder or name the video; for this file give maps=out.npz"),
        ({"output": "out.mkv", "container": "mov"}, "output=out.mkv and container=mov exclude each other"),
        ({"existing": "skip", "overwrite": True}, "existing=skip and overwrite=True exclude each other"),
        (
            {"existing": "skip", "record": False},
            "existing=skip goes by the records of earlier runs: leave out record=False",
        ),
        ({"existing": "keep"}, "existing must be one of refuse, skip, overwrite; got 'keep'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_as_they_are_made(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        OutputOptions(**options)  # type: ignore[arg-type]
    assert says in str(error.value)


def test_one_name_for_several_videos_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^output=out\.mp4 names the video of one input, and there are 2"):
        places_of(["a.mp4", "b.mp4"], OutputOptions(output=Path("out.mp4")))


def test_the_name_of_a_video_that_is_not_written_is_no_folder() -> None:
    for suffix in ("avi", "webm", "m4v", "wmv", "flv", "ogv", "mxf", "3gp", "gif", "mpg", "mpeg", "ts", "mts", "m2ts"):
        with pytest.raises(ConfigError, match=r"must be a folder, or name a video ending in one of \.mp4, "):
            OutputOptions(output=Path(f"out.{suffix}"))


def test_options_that_can_be_meant_are_taken() -> None:
    assert OutputOptions(existing="skip").record and not OutputOptions(record=False).record
    assert OutputOptions(output=Path("out.mkv"), container="mkv").named_file == Path("out.mkv")
    for suffix in ("mp4", "MOV", "png", "jpg", "jpeg"):
        assert OutputOptions(output=Path(f"out.{suffix}")).named_file == Path(f"out.{suffix}")


def test_overwriting_has_a_short_form() -> None:
    assert OutputOptions(overwrite=True).existing == "overwrite" == OutputOptions(existing="overwrite").existing


@pytest.mark.parametrize(("cores", "each"), [(12, (6, 3, 2, 1)), (2, (1, 1, 1, 1)), (1, (1, 1, 1, 1))])
def test_beside_a_model_on_the_cpu_the_encoders_share_half_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, each: tuple[int, ...]
) -> None:
    monkeypatch.setattr(outputs, "usable_cores", lambda: cores)
    shared = [shared_video_options(VideoOptions(crf=7), CPU, side_by_side=n) for n in (1, 2, 3, 12)]
    assert tuple(options.encoder_threads for options in shared) == each
    assert {options.crf for options in shared} == {7}
    assert shared_video_options(VideoOptions(), CPU) == shared_video_options(VideoOptions(), CPU, side_by_side=1)


def test_beside_a_gpu_one_encoder_has_its_way_and_several_share_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "usable_cores", lambda: 12)
    assert shared_video_options(VideoOptions(), CUDA) == VideoOptions()
    assert shared_video_options(VideoOptions(), CUDA, side_by_side=3).encoder_threads == 4
    chosen = VideoOptions(encoder_threads=5)
    assert shared_video_options(chosen, CUDA, side_by_side=3) == chosen == shared_video_options(chosen, CPU)


def info(**changed: object) -> VideoInfo:
    return VideoInfo(**({"source": "made", "kind": "camera", "height": 48, "width": 64} | changed))  # type: ignore[arg-type]


def test_each_file_gets_its_sink_and_missing_folders_are_made(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "new"
    options = RunOptions(output=OutputOptions(output=folder, maps="npz", table="jsonl", export=("shots",)))
    sinks = make_sinks(info(), options, CPU, side_by_side=1)
    assert folder.is_dir()
    assert [(type(sink), sink.path.name) for sink in sinks] == [
        (VideoSink, "made.vidsal.mp4"),
        (TableSink, "made.vidsal.jsonl"),
        (MapsSink, "made.vidsal.maps.npz"),
        (ExportSink, "made.vidsal.shots.csv"),
    ]
    (image,) = make_sinks(
        info(kind="image"), RunOptions(output=OutputOptions(output=folder, table="none")), CPU, side_by_side=1
    )
    assert (type(image), image.path.name) == (ImageSink, "made.vidsal.png")


@pytest.mark.parametrize("wanted", [{}, {"video": False}, {"video": False, "table": "none", "maps": "mkv"}])
def test_what_is_there_already_is_refused_unless_it_may_be_replaced(tmp_path: Path, wanted: dict[str, object]) -> None:
    for name in ("made.vidsal.mp4", "made.vidsal.csv", "made.vidsal.maps.mkv"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(EncodeError, match="exists already"):
        make_sinks(info(), RunOptions(output=OutputOptions(output=tmp_path, **wanted)), CPU, side_by_side=1)  # type: ignore[arg-type]
    replacing = RunOptions(output=OutputOptions(output=tmp_path, overwrite=True, **wanted))  # type: ignore[arg-type]
    assert make_sinks(info(), replacing, CPU, side_by_side=1)


def test_results_that_may_be_replaced_are_and_a_video_only_where_none_of_its_names_is_another_file(
    tmp_path: Path,
) -> None:
    names = ("made.vidsal.mp4", "made.vidsal.mov", "made.vidsal.csv")
    video, other, table = (tmp_path / name for name in names)
    options = RunOptions(output=OutputOptions(output=tmp_path))

    def overwrites(*replaceable: Path) -> list[bool]:
        return [sink._overwrite for sink in make_sinks(info(), options, CPU, side_by_side=1, replaceable=replaceable)]

    assert overwrites(video, table) == [False, False], "nothing is there"
    other.touch()
    assert overwrites(other) == [True, False]
    table.touch()
    assert overwrites(other, table) == [True, True]
    assert overwrites(video, table) == [False, True], "the video may need the name of the other file"
    with pytest.raises(EncodeError, match=r"csv exists already"):
        overwrites(other)


@pytest.mark.parametrize("name", ["aois", "camera_template", "road_users"])
def test_a_wrong_file_of_areas_is_named_before_a_folder_is_made_and_whatever_is_there(
    tmp_path: Path, name: str
) -> None:
    file = tmp_path / "areas.json"
    source = info(path=tmp_path / "talk.mp4")
    for folder, content in ((tmp_path / "new", None), (tmp_path / "there", '{"format": "nothing"}')):
        if content is not None:
            file.write_text(content)
            folder.mkdir()
            (folder / "talk.vidsal.csv").write_text("an earlier result")
        wanted: dict[str, Any] = {"aois": file} if name == "aois" else {"report_driving": True}
        driving = DrivingOptions() if name == "aois" else DrivingOptions(**{name: file})
        output = OutputOptions(output=folder, video=False, **wanted)
        with pytest.raises(DatasetError, match=r"areas\.json"):
            make_sinks(source, RunOptions(output=output, driving=driving), CPU, side_by_side=1)
    assert {path.name for path in tmp_path.iterdir()} == {"areas.json", "there"}


def test_a_folder_that_was_made_for_nothing_goes_again(tmp_path: Path) -> None:
    options = RunOptions(
        output=OutputOptions(output=tmp_path / "new" / "below"), video=VideoOptions(encoder="no_such_encoder")
    )
    with pytest.raises(ConfigError, match="no_such_encoder"):
        make_sinks(info(), options, CPU, side_by_side=1)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")

    def made(folder: Path) -> object:
        options = RunOptions(output=OutputOptions(output=folder), decode=DecodeOptions())
        return make_sinks(info(), options, CPU, side_by_side=1)

    with pytest.raises(EncodeError, match="file is a file, expected a folder"):
        made(tmp_path / "file")
    with pytest.raises(EncodeError, match=r"cannot make the folder .*file/below"):
        made(tmp_path / "file" / "below")
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(EncodeError, match=r"cannot write into .*: no permission, or a read-only disk"):
        made(tmp_path)
