"""What a name is taken for, and that a file's name stays one: sources, results, partial files, locks, playlists."""

from __future__ import annotations

import functools
import http.server
import io
import json
import os
import shutil
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import av
import cv2
import numpy as np
import pytest
from batches import work_here
from made import make_checkpoint, make_model
from media import make_video
from test_cli import status_of

from vidsal.decode import DecodeOptions, VideoInfo, open_video
from vidsal.decode.local import open_file
from vidsal.decode.source import source_of
from vidsal.errors import DecodeError, EncodeError
from vidsal.exports.options import EXPORTS
from vidsal.exports.timeline import readable
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.run import run
from vidsal.reframe import ReframeOptions, ReframeOutputOptions, reframe
from vidsal.sinks import MapsSink, TableSink, VideoSink
from vidsal.sinks.contract import FileSink

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="no such names or files there")


@pytest.fixture(scope="module")
def model() -> SaliencyModel:
    return make_model()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def clip_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=3, audio_tracks=1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_picture(path: Path, width: int = 32) -> Path:
    path.write_bytes(cv2.imencode(".png", np.zeros((24, width, 3), np.uint8))[1].tobytes())
    return path


# What an input is.


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0", "camera"),
        ("12", "camera"),
        ("camera:3", "camera"),
        ("0001", "path"),
        ("99999", "path"),
        ("²", "path"),
        ("-1", "path"),
        ("-", "stdin"),
        ("./-", "path"),
        ("-dash.mp4", "path"),
        ("a.mp4", "path"),
        ("2024-05-01T12:30:45.mp4", "path"),
        ("http:127.0.0.1", "path"),
        ("C:\\clip.mp4", "path"),
        ("what?.mp4#t=1", "path"),
        ("two\nlines.mp4", "path"),
        ("rtsp://host/x", "address"),
        ("HTTPS://host/x", "address"),
        ("file:///a/b.mp4", "path"),
    ],
)
def test_a_text_is_what_it_looks_like_where_nothing_is_called_so(folder: Path, text: str, kind: str) -> None:
    assert source_of(text).kind == kind


@needs_posix
@pytest.mark.parametrize("text", ["0", "0001", "camera:3", "2024-05-01T12:30:45.mp4", "http:127.0.0.1:9", "rtsp:x"])
def test_what_is_there_under_a_name_comes_first(folder: Path, text: str) -> None:
    (folder / text).mkdir()
    for given in (text, f"./{text}", str(folder / text)):
        assert source_of(given).path == Path(given)
    (folder / text).rmdir()
    (folder / text).symlink_to("nowhere")  # a link that leads nowhere is an error of its own, not a camera
    assert source_of(text).kind == "path"


def test_a_number_is_a_camera_a_path_never_is_and_nothing_is_not_the_working_folder(folder: Path) -> None:
    assert source_of(0).camera == 0 and source_of(Path("0")).path == Path("0")
    assert source_of("file:///a%20b/c.mp4").path == Path("/a b/c.mp4")
    assert source_of("rtsp://h/x").live and source_of(1).live and not source_of("http://h/x").live
    with pytest.raises(DecodeError, match="empty name"):
        source_of("")
    with pytest.raises(DecodeError, match=r"^ftp://host/x: addresses of the kind ftp:// cannot be read"):
        source_of("ftp://me:secret@host/x")


@needs_posix
def test_a_folder_whose_name_is_a_number_is_read_as_one(
    folder: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "0001").mkdir()
    for number in range(2):
        write_picture(folder / "0001" / f"{number:04d}.png")
    assert status_of("run", "0001", "-m", checkpoint, "--no-video") == 0
    assert capsys.readouterr().out == f"{folder / '0001.vidsal.csv'}\n"
    assert status_of("run", "0002", "-m", checkpoint, "--no-video") == 1
    assert "there is no file or folder 0002" in capsys.readouterr().err


@needs_posix
def test_the_folders_above_are_called_by_their_own_names(folder: Path, model: SaliencyModel) -> None:
    (folder / "shots" / "raw").mkdir(parents=True)
    write_picture(folder / "shots" / "a.png")
    os.chdir(folder / "shots" / "raw")
    report = run("..", model=model, options=RunOptions(output=OutputOptions(video=False)))
    assert report.files == (folder / "shots.vidsal.csv",)


ODD = [
    "2024-05-01T12:30:45.mp4",
    "http:127.0.0.1:9.mp4",
    "concat:a|b.mp4",
    "seq%03d.mp4",
    ".mp4",
    "..mp4",
    "...mp4",
    "ends. ",
    "what?#t=1&x.mp4",
    "two\nlines.mp4",
    "-dash.mp4",
    "日本.mp4",
    os.fsdecode(b"l\xf6x.mp4"),
    "n" * 246 + ".mp4",
    "日" * 83 + "n.mp4",
]


@needs_posix
@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_video_of_any_name_comes_out_whole_with_its_sound(
    folder: Path, clip_once: Path, model: SaliencyModel, name: str
) -> None:
    """Given as it is, from its own folder: the reader, the copier, the sinks for videos, maps and tables open names."""
    shutil.copy(clip_once, f"./{name}")
    for table in ("csv", "parquet"):
        options = RunOptions(output=OutputOptions(table=table, maps="mkv", overwrite=True))
        report = run(name, model=model, options=options)
        assert report.frames == 3 and len(report.files) == 3
        assert all(file.parent == folder and ".vidsal." in file.name for file in report.files)
        with open_file(report.files[0]) as written:
            assert [stream.type for stream in written.streams] == ["video", "audio"]
        with open_file(report.files[2]) as maps:
            assert sum(1 for _ in maps.decode(video=0)) == 3
    left = {os.fsencode(path.name) for path in folder.iterdir()}
    stem = os.fsencode(report.files[1].name).removesuffix(b".parquet")
    ends = (b".mp4", b".csv", b".parquet", b".maps.mkv", b".json")
    assert left == {os.fsencode(name), *(stem + end for end in ends)}


@needs_posix
@pytest.mark.parametrize("name", [os.fsdecode(b"l\xf6x"), "two\nlines\x1b"], ids=ascii)
def test_pages_and_documents_of_a_video_of_any_name_can_be_read(
    folder: Path,
    clip_once: Path,
    model: SaliencyModel,
    checkpoint: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The report of a run, of results that are there and of a batch, the page over all, and documents of all kinds."""
    (folder / "in").mkdir()
    source = shutil.copy(clip_once, f"in/{name}.mp4")
    exports = tuple(kind for kind, one in EXPORTS.items() if kind != "otio" or find_spec("opentimelineio"))
    output = OutputOptions(output=Path("out"), video=False, report=True, export=exports)
    run(source, model=model, options=RunOptions(output=output))
    page = folder / "out" / f"{name}.vidsal.html"
    made = page.read_text(encoding="utf-8")
    assert f"<h1>{name.replace(chr(0xDCF6), '?')}.mp4</h1>" in made
    assert status_of("report", "out", "--overwrite") == 0 and page.read_text(encoding="utf-8") != ""
    before = (folder / "out" / "all.vidsal.index.html").read_text(encoding="utf-8")
    # What has not changed is known again under its name.
    assert status_of("report", "out") == 0
    assert (folder / "out" / "all.vidsal.index.html").read_text(encoding="utf-8") == before
    work_here(monkeypatch)
    assert status_of("batch", "in", "-o", "batch", "-m", checkpoint, "--no-video", "--report") == 0
    assert (folder / "batch" / f"{name}.vidsal.html").read_text(encoding="utf-8")
    shape = ReframeOptions(output=ReframeOutputOptions(output=Path("cut"), keyframes=("fcpxml", "aftereffects")))
    files = reframe(source, model=model, options=shape).files
    assert [file.suffix for file in files] == [".mp4", ".csv", ".json", ".fcpxml", ".txt"]
    tree = ElementTree.parse(files[3])
    (asset,), (project,) = tree.iter("asset"), tree.iter("project")
    assert asset.get("name") == f"{readable(name)}.mp4" and project.get("name") == f"{readable(name)} 9:16"


@needs_posix
@pytest.mark.parametrize("decoder", ["opencv", "decord"])
def test_the_other_decoders_open_names_as_names_or_say_that_they_cannot(
    folder: Path, clip_once: Path, decoder: Any
) -> None:
    if decoder == "decord":
        pytest.importorskip("decord")
    for name in ("2024-05-01T12:30:45.mp4", "http:127.0.0.1:9.mp4"):
        shutil.copy(clip_once, name)
        with open_video(name, options=DecodeOptions(decoder=decoder)) as reader:
            assert sum(len(batch) for batch in reader) == 3
    for name in ("seq%03d.mp4", os.fsdecode(b"l\xf6x.mp4")):
        shutil.copy(clip_once, name)
        with pytest.raises(DecodeError, match=f"the {decoder} decoder cannot open a file of this name; use the pyav"):
            open_video(name, options=DecodeOptions(decoder=decoder))


@needs_posix
def test_a_name_like_a_pattern_is_one_file(folder: Path) -> None:
    for name, width in (("seq%03d.tga", 64), ("seq001.tga", 32), ("seq002.tga", 32)):
        with av.open(f"file:{folder / name}", "w", format="image2", options={"update": "1"}) as out:
            stream: Any = out.add_stream("targa", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, 24, "bgr24"
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((24, width, 3), np.uint8), format="bgr24")))
            out.mux(stream.encode(None))
    with open_video("seq%03d.tga") as reader:
        assert [len(batch) for batch in reader] == [1] and reader.info.width == 64


@needs_posix
def test_a_name_like_an_address_makes_no_connection(folder: Path, clip_once: Path, model: SaliencyModel) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    name = f"http:127.0.0.1:{listener.getsockname()[1]}"
    (folder / name).write_bytes(clip_once.read_bytes())
    # The container's own sound is copied by a second opening of the same name.
    assert run(name, model=model, options=RunOptions(output=OutputOptions(maps="mkv"))).frames == 3
    with pytest.raises(TimeoutError):
        listener.accept()
    listener.close()


# On the command line.


@needs_posix
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--", "-dash.mp4"], "-dash.mp4"),
        (["--no-video", "--", "--help"], "--help"),
        (["./-dash.mp4"], "-dash.mp4"),
        (["--", "--", "-dash.mp4"], "-dash.mp4"),
    ],
)
def test_what_follows_two_dashes_is_an_input(
    folder: Path, clip_once: Path, checkpoint: str, arguments: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(clip_once, f"./{name}")
    before = "--no-video"
    several = arguments.count("--") > 1
    status = status_of("run", before, "-m", checkpoint, "--table", "jsonl", *arguments)
    out, err = capsys.readouterr()
    assert out == f"{folder / name.removesuffix('.mp4')}.vidsal.jsonl\n"
    # The second "--" is a file that is not there.
    assert (status, "no file or folder --;" in err) == ((1, True) if several else (0, False))


def test_a_dash_is_standard_input_and_words_before_two_dashes_are_still_flags(
    folder: Path, clip_once: Path, checkpoint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (["-"], ["--", "-"]):
        stdin = SimpleNamespace(buffer=io.BytesIO(clip_once.read_bytes()), isatty=lambda: False)
        monkeypatch.setattr(sys, "stdin", stdin)
        assert status_of("run", "--no-video", "-m", checkpoint, "-o", folder / "out", "--overwrite", *arguments) == 0
        assert "standard-input.vidsal.csv" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", None)
    assert status_of("run", "--no-video", "-m", checkpoint, "-") == 1
    assert "standard input is closed" in capsys.readouterr().err
    assert status_of("run", "--opactiy=1", "--", "-dash.mp4") == 2
    assert "unknown option --opactiy" in capsys.readouterr().err
    assert status_of("data", "check", "dhf1k", "--", "-root") == 1
    assert "-root" in capsys.readouterr().err
    assert status_of("data", "check", "--", "-layout", "root") == 2
    assert "\0" not in capsys.readouterr().err


def test_a_name_of_several_lines_or_with_commands_for_the_terminal_is_told_in_one_harmless_line(
    folder: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("run", "two\nlines\x1b]0;owned\x07.mp4", "-m", checkpoint) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "two\\nlines\\x1b]0;owned\\x07.mp4" in line


@needs_posix
def test_a_name_that_standard_output_cannot_print_goes_out_as_its_bytes(
    folder: Path, clip_once: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, encoding in ((os.fsdecode(b"l\xf6x"), "utf-8"), ("日本", "cp1252")):
        shutil.copy(clip_once, f"{name}.mp4")
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding, errors="strict"))
        assert status_of("run", f"{name}.mp4", "-m", checkpoint, "--no-video", "--table", "csv") == 0
        assert written.getvalue() == os.fsencode(folder / f"{name}.vidsal.csv") + b"\n"
        assert Path(os.fsdecode(written.getvalue().rstrip())).exists()


def test_the_password_of_an_address_is_told_nowhere(
    folder: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = ["http://me:secret@127.0.0.1:9/a.mp4", "ftp://me:secret@host/b.mp4"]
    assert status_of("run", *inputs, "-m", checkpoint, "--json") == 1
    out, err = capsys.readouterr()
    assert "secret" not in out + err
    assert [json.loads(line)["source"] for line in out.splitlines()] == ["http://127.0.0.1:9/a.mp4", "ftp://host/b.mp4"]


@needs_posix
def test_a_name_too_long_for_any_file_is_one_inputs_error(
    folder: Path, clip_once: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(clip_once, "z.mp4")
    assert status_of("run", "n" * 300, "z.mp4", "-m", checkpoint, "--no-video") == 1
    assert (folder / "z.vidsal.csv").exists()
    assert "File name too long" in capsys.readouterr().err
    # A table's own name is the user's choice: it is not shortened.
    long = folder / ("t" * 250 + ".csv")
    assert status_of("run", "z.mp4", "-m", checkpoint, "--no-video", "--table", long) == 1
    assert "File name too long" in capsys.readouterr().err


# What is no regular file.


@needs_posix
def test_a_pipe_with_a_name_is_read_once_like_standard_input(
    folder: Path, clip_once: Path, model: SaliencyModel
) -> None:
    os.mkfifo("door.fifo")
    content = clip_once.read_bytes()  # its index is at the end
    writer = threading.Thread(target=lambda: Path("door.fifo").write_bytes(content))
    writer.start()
    report = run("door.fifo", model=model)
    writer.join()
    assert report.frames == 3 and [path.name for path in report.files] == ["door.vidsal.mp4", "door.vidsal.csv"]
    assert any("can be read only once" in message for message in report.messages)


@needs_posix
def test_a_pipe_that_nobody_writes_to_is_told_after_a_while(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("door.fifo")
    monkeypatch.setattr("vidsal.decode.open.PIPE_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(DecodeError, match=r"nothing has come through the pipe door\.fifo for 0\.2 seconds"):
        open_video("door.fifo")


@needs_posix
def test_devices_and_sockets_are_refused(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.mp4")
        for name in ("s.mp4", os.devnull, "/dev/zero"):
            with pytest.raises(DecodeError, match=f"{name} is a device or a socket"):
                open_video(name)


@needs_posix
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_as_a_result_is_refused_before_the_first_frame(
    folder: Path, clip_once: Path, model: SaliencyModel, make: Callable[[str], None]
) -> None:
    shutil.copy(clip_once, "clip.mp4")
    make("clip.vidsal.csv")
    with pytest.raises(EncodeError, match=r"clip\.vidsal\.csv: it is a (folder|device or a pipe)"):
        run("clip.mp4", model=model, options=RunOptions(output=OutputOptions(overwrite=True)))
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mp4", "clip.vidsal.csv"]


def test_a_camera_that_is_not_there_is_told_by_us_alone(capfd: pytest.CaptureFixture[str]) -> None:
    level = cv2.utils.logging.getLogLevel()
    with pytest.raises(DecodeError, match="cannot open camera 60; check that it is connected"):
        open_video("camera:60")
    assert capfd.readouterr().err == ""
    assert cv2.utils.logging.getLogLevel() == level


# Names of our own that others may have taken.


def made_sink(kind: str, target: Path) -> FileSink:
    info = VideoInfo(source="x", kind="camera", height=48, width=64)
    makers: dict[str, Callable[[], FileSink]] = {
        "csv": lambda: TableSink(target.with_suffix(".csv")),
        "parquet": lambda: TableSink(target.with_suffix(".parquet")),
        "mkv": lambda: MapsSink(target.with_suffix(".mkv")),
        "npz": lambda: MapsSink(target.with_suffix(".npz")),
        "mp4": lambda: VideoSink(target.with_suffix(".mp4"), info),
    }
    return makers[kind]()


KINDS = ["csv", "parquet", "mkv", "npz", "mp4"]


def names_of(sink: FileSink) -> dict[str, Path]:
    """What a sink makes beside its target, all of it predictable."""
    scratch = {path.name: path for path in sink._scratch_paths()}
    return {
        "partial": sink.partial_path,
        "lock": sink.partial_path.with_name(f"{sink.partial_path.name}.lock"),
        **scratch,
    }


@needs_posix
@pytest.mark.parametrize("kind", KINDS)
def test_a_link_at_a_name_of_ours_is_not_followed(tmp_path: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    sink = made_sink(kind, tmp_path / "out.x")
    for path in names_of(sink).values():
        path.symlink_to(victim)
    with sink:
        assert stat.S_ISREG(sink.partial_path.lstat().st_mode) and not sink.partial_path.stat().st_size
        with pytest.raises(EncodeError, match="another run is writing"), made_sink(kind, tmp_path / "out.x"):
            pass
        sink._frames = 0
        with pytest.raises(EncodeError, match="no frame came"):
            sink._finish(failed=False)
        sink._broken = True
    assert victim.read_text() == "precious" and not victim.is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["victim"]


@needs_posix
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_at_a_name_of_ours_is_told_and_nothing_hangs(
    tmp_path: Path, kind: str, make: Callable[[Path], None]
) -> None:
    sink = made_sink(kind, tmp_path / "out.x")
    for path in names_of(sink).values():
        make(path)
        with pytest.raises(EncodeError, match=r"is a (pipe|folder); remove it|Is a directory"), sink:
            pass
        assert [left.name for left in tmp_path.iterdir()] == [path.name]
        path.rmdir() if path.is_dir() else path.unlink()


# Files that open others.


HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{name}\n#EXT-X-ENDLIST\n"
PLAYLISTS = {
    "list.m3u8": HLS,
    "list.ffconcat": "ffconcat version 1.0\nfile '{name}'\n",
    "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.fixture
def parts(folder: Path) -> Path:
    """A file that playlists name, elsewhere."""
    (folder / "secret").mkdir()
    return make_video(folder / "secret" / "part.ts", frames=5)


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("decoder", ["pyav", "opencv"])
def test_a_playlist_is_refused_with_the_option_that_allows_it(
    folder: Path, parts: Path, name: str, decoder: Any, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).write_text(PLAYLISTS[name].format(name=parts))
    assert status_of("run", name, "-m", checkpoint, "--decoder", decoder) == 1
    err = capsys.readouterr().err
    assert f"{name} is a" in err and "opens other files or addresses" in err and "--allow-playlists" in err
    assert sorted(path.name for path in folder.iterdir()) == sorted([name, "secret"])


@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat"])
def test_a_playlist_that_is_allowed_is_read_with_what_it_names(
    folder: Path, parts: Path, name: str, model: SaliencyModel
) -> None:
    (folder / name).write_text(PLAYLISTS[name].format(name=parts))
    report = run(name, model=model, options=RunOptions(decode=DecodeOptions(allow_playlists=True)))
    assert report.frames == 5 and {path.name for path in report.files} == {"list.vidsal.mp4", "list.vidsal.csv"}


@pytest.mark.parametrize("text", [HLS, PLAYLISTS["list.ffconcat"]])
def test_what_comes_through_a_pipe_opens_nothing(
    folder: Path, parts: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO(text.format(name=parts).encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=content, isatty=lambda: False))
    with pytest.raises(DecodeError, match="standard input is not a video"):
        open_video("-", options=DecodeOptions(allow_playlists=True))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """Where the files of the working folder are served."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("allow", [False, True])
def test_a_playlist_from_an_address_names_addresses_but_no_local_file(
    folder: Path, parts: Path, address: str, allow: bool
) -> None:
    options = DecodeOptions(allow_playlists=allow)
    (folder / "good.m3u8").write_text(HLS.format(name="secret/part.ts"))
    with open_video(f"{address}/good.m3u8", options=options) as reader:
        assert sum(len(batch) for batch in reader) == 5
    for name, text in (("a.m3u8", HLS), ("b.m3u8", HLS), ("c.ffconcat", PLAYLISTS["list.ffconcat"])):
        local = f"file://{parts}" if name == "a.m3u8" else f"file:{parts}"
        (folder / name).write_text(text.format(name=local))
        with pytest.raises(DecodeError), open_video(f"{address}/{name}", options=options) as reader:
            list(reader)
