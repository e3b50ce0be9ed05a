"""Options in, the files they ask for out: names worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vidsal.decode import DecodeOptions, VideoInfo
from vidsal.errors import ConfigError, EncodeError
from vidsal.pipe import outputs
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.outputs import make_sinks, planned_outputs, refuse_shared_outputs, shared_video_options
from vidsal.sinks import ImageSink, MapsSink, TableSink, VideoOptions, VideoSink

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
FILE = Path("/films/a.b.mp4")


def planned(source: str | Path | int, path: Path | None = None, *, still: bool = False, **options: object) -> set[str]:
    wanted = OutputOptions(**options)  # type: ignore[arg-type]
    return {str(target) for target in planned_outputs(source, wanted, path=path, still=still).values()}


def test_results_lie_beside_the_source_or_in_the_folder_asked_for() -> None:
    assert planned(FILE, FILE) == {"/films/a.b.vidsal.mp4", "/films/a.b.vidsal.csv"}
    assert planned(FILE, FILE, output=Path("/new")) == {"/new/a.b.vidsal.mp4", "/new/a.b.vidsal.csv"}
    assert planned("in.mp4", Path("in.mp4")) == {f"{Path.cwd()}/in.vidsal.mp4", f"{Path.cwd()}/in.vidsal.csv"}


def test_a_folder_of_pictures_keeps_its_whole_name(tmp_path: Path) -> None:
    folder = tmp_path / "holiday.2024"
    folder.mkdir()
    assert planned(folder, folder, table="none") == {f"{tmp_path}/holiday.2024.vidsal.mp4"}


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("rtsp://host/door.sdp?a=1/b.c", "door"),
        ("http://host/a%20film (1).mp4/", "a-20film-1-"),
        ("https://host/live/", "live"),
        ("https://host/boX//", "boX"),
        (0, "0"),
        ("-", "-"),
        ("http://host/?x", "host"),
        ("///", "stream"),
        ("rtsp://host/con.sdp", "_con"),
    ],
)
def test_what_is_no_file_is_named_by_its_address_in_the_working_folder(source: str | int, stem: str) -> None:
    assert planned(source, table="none") == {f"{Path.cwd()}/{stem}.vidsal.mp4"}
    assert planned(source, table="none", output=Path("/new")) == {f"/new/{stem}.vidsal.mp4"}


def test_stages_are_planned_only_where_they_are_wanted() -> None:
    everything = planned_outputs(FILE, OutputOptions(container="mkv", table="parquet", maps="npz"), path=FILE)
    assert {stage: target.name for stage, target in everything.items()} == {
        "video": "a.b.vidsal.mkv",
        "table": "a.b.vidsal.parquet",
        "maps": "a.b.vidsal.maps.npz",
    }
    still = planned_outputs(FILE, OutputOptions(table="none"), path=FILE, still=True)
    assert {stage: target.name for stage, target in still.items()} == {"image": "a.b.vidsal.png"}
    assert planned_outputs(FILE, OutputOptions(video=False, table="none"), path=FILE) == {}
    assert planned(FILE, FILE, video=False, table="none", maps="none") == set()


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
    assert planned(FILE, FILE, video=False, table=wanted) == {target}


@pytest.mark.parametrize("wrong", [{"table": "xlsx"}, {"table": "a.xlsx"}, {"maps": "csv"}, {"table": "csvx"}])
def test_an_unknown_format_is_refused_with_the_known_ones(wrong: dict[str, str]) -> None:
    (what,) = wrong
    with pytest.raises(ConfigError, match=f"^{what} .*{'mkv.*npz' if what == 'maps' else 'csv.*parquet.*jsonl'}"):
        planned(FILE, FILE, **wrong)


def test_sources_that_would_write_one_file_are_refused_by_name() -> None:
    beside, together = OutputOptions(), OutputOptions(output=Path("/new"))
    sources = ["/one/a.mp4", "/two/a.mkv"]
    refuse_shared_outputs(sources, beside)
    with pytest.raises(ConfigError, match=r"/one/a\.mp4 and /two/a\.mkv would both write /new/a\.vidsal\.mp4"):
        refuse_shared_outputs(sources, together)
    for pair in (["rtsp://one/a.sdp", "rtsp://two/a.sdp"], ["http://one/-", "-"]):
        with pytest.raises(ConfigError, match="would both write"):
            refuse_shared_outputs(pair, beside)
    # Told from each other by more than the address.
    refuse_shared_outputs([0, 1, "-", "/one/a.mp4", "rtsp://one/a"], beside)


def test_sources_that_share_a_table_of_one_name_are_refused_however_it_is_written() -> None:
    with pytest.raises(ConfigError, match="would both write"):
        refuse_shared_outputs(["/one/a.mp4", "/two/b.mp4"], OutputOptions(table="./tables/all.csv"))


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
    options = RunOptions(output=OutputOptions(output=folder, maps="npz", table="jsonl"))
    sinks = make_sinks(info(), options, CPU, side_by_side=1)
    assert folder.is_dir()
    assert [(type(sink), sink.path.name) for sink in sinks] == [
        (VideoSink, "made.vidsal.mp4"),
        (TableSink, "made.vidsal.jsonl"),
        (MapsSink, "made.vidsal.maps.npz"),
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


def test_a_folder_that_cannot_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")

    def made(folder: Path) -> object:
        options = RunOptions(output=OutputOptions(output=folder), decode=DecodeOptions())
        return make_sinks(info(), options, CPU, side_by_side=1)

    with pytest.raises(EncodeError, match="file is a file, expected a folder"):
        made(tmp_path / "file")
    with pytest.raises(EncodeError, match=r"cannot make the folder .*file/below"):
        made(tmp_path / "file" / "below")
    monkeypatch.setattr(outputs.os, "access", lambda path, mode: False)
    with pytest.raises(EncodeError, match="cannot write into"):
        made(tmp_path)
