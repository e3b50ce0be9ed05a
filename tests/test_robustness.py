"""`vidsal run` from end to end on awkward, damaged and wrong inputs, and killed in the middle."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from made import make_checkpoint, make_model
from media import corrupt, make_audio, make_video, stream_packets, truncate
from processes import COMMAND, Child

from vidsal.decode import DecodeOptions, open_video
from vidsal.errors import DecodeError, EncodeError, VidsalError
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.run import RunReport, run


@pytest.fixture(scope="module")
def model() -> SaliencyModel:
    return make_model()


def times_of(path: Path) -> list[float]:
    with open_video(path) as reader:
        return [float(t) for batch in reader for t in batch.pts_seconds]


def rows_of(report: RunReport) -> list[dict[str, str]]:
    table = next(path for path in report.files if path.suffix == ".csv")
    with table.open() as stream:
        return list(csv.DictReader(stream))


AWKWARD: dict[str, dict[str, object]] = {
    "one frame": {"frames": 1},
    "odd sides": {"width": 97, "height": 61, "pix_fmt": "yuv444p"},
    "16x16": {"width": 16, "height": 16},
    "portrait, turned left": {"width": 96, "height": 64, "rotation": 90},
    "upside down": {"rotation": 180},
    "portrait, turned right": {"width": 96, "height": 64, "rotation": 270},
    "variable rate": {"frames": 8, "pts": [0, 900, 5000, 5001, 40000, 41000, 90000, 180000]},
    "B-frames": {"frames": 24, "bframes": 3},
    "late start": {"frames": 6, "pts": [900000 + 3600 * n for n in range(6)], "audio_tracks": 1},
    "negative start": {
        "suffix": ".mkv",
        "frames": 6,
        "pts": [-7200 + 3600 * n for n in range(6)],
        "container_options": {"avoid_negative_ts": "disabled"},
    },
    "10 bit": {"codec": "libx265", "pix_fmt": "yuv420p10le"},
    "4:2:2": {"pix_fmt": "yuv422p"},
    "4:4:4 10 bit": {"pix_fmt": "yuv444p10le"},
    "full range": {"pix_fmt": "yuvj420p", "color_range": 2},
    "grey": {"pix_fmt": "gray"},
    "alpha": {"codec": "qtrle", "pix_fmt": "argb", "suffix": ".mov"},
    "interlaced": {"interlaced": True, "frames": 8},
    "two audio tracks": {"audio_tracks": 2},
    "subtitles": {"subtitles": True, "audio_tracks": 1},
    "webm": {"codec": "libvpx-vp9", "suffix": ".webm", "audio_tracks": 1},
    "mkv, no frame count": {"suffix": ".mkv"},
    "mov": {"suffix": ".mov", "audio_tracks": 1},
    "avi": {"codec": "mpeg4", "suffix": ".avi", "audio_tracks": 1},
    "ts": {"suffix": ".ts", "frames": 12, "audio_tracks": 1},
    "anamorphic": {"sample_aspect_ratio": Fraction(4, 3)},
}


@pytest.mark.parametrize("name", AWKWARD)
def test_an_awkward_video_comes_out_whole(model: SaliencyModel, tmp_path: Path, name: str) -> None:
    settings = dict(AWKWARD[name])
    source = tmp_path / f"in{settings.pop('suffix', '.mp4')}"
    make_video(source, **({"frames": 5} | settings))  # type: ignore[arg-type]
    wanted = times_of(source)
    with open_video(source) as reader:
        info = reader.info
        first = next(iter(reader)).frames[0].astype(float)
    report = run(source, model=model)
    video = report.files[0]
    assert report.frames == len(wanted) == settings.get("frames", 5)
    assert report.skipped_corrupt == 0 and not report.truncated
    assert times_of(video) == pytest.approx(wanted, abs=1e-4)
    rows = rows_of(report)
    assert [float(row["pts_seconds"]) for row in rows] == pytest.approx(wanted, abs=1e-6)
    assert all(0 <= float(row["peak_x"]) <= info.width - 1 for row in rows)
    assert all(0 <= float(row["peak_y"]) <= info.height - 1 for row in rows)
    with av.open(str(video)) as out, av.open(str(source)) as original:
        stream = out.streams.video[0]
        assert (stream.width, stream.height) == (info.width + info.width % 2, info.height + info.height % 2)
        next(out.decode(video=0))  # only now is the pixel format known where sound comes long before the picture
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt in ("yuv420p", "yuvj420p")
        kinds = [[s.type for s in c.streams if s.type != "video"] for c in (out, original)]
        assert kinds[0] == kinds[1]
    with open_video(video) as reader:
        assert reader.info.rotation == 0
        shown = next(iter(reader)).frames[0][: info.height, : info.width].astype(float)
    # Most of the picture is not covered by heat: the median pixel keeps its colour.
    assert np.median(np.abs(shown - first)) <= 24


@pytest.mark.slow
def test_ultra_hd_comes_out_whole(model: SaliencyModel, tmp_path: Path) -> None:
    source = make_video(
        tmp_path / "in.mp4",
        frames=2,
        width=3840,
        height=2160,
        picture=lambda n: np.full((2160, 3840, 3), 60 + 40 * n, np.uint8),
    )
    assert run(source, model=model).frames == 2
    with open_video(tmp_path / "in.vidsal.mp4") as reader:
        assert (reader.info.height, reader.info.width) == (2160, 3840)


def text_named_mp4(folder: Path) -> Path:
    (folder / "in.mp4").write_text("this is not a video\n" * 50)
    return folder / "in.mp4"


def empty(folder: Path) -> Path:
    (folder / "in.mp4").touch()
    return folder / "in.mp4"


def no_pictures(folder: Path) -> Path:
    (folder / "in").mkdir()
    (folder / "in" / "notes.txt").write_text("nothing to see")
    return folder / "in"


def unknown_codec(folder: Path) -> Path:
    path = make_video(folder / "in.mp4", frames=5)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz9").replace(b"avcC", b"zzzC"))
    return path


def beheaded(folder: Path) -> Path:
    """The index of an mp4 stands at its end: without it not one frame can be found."""
    return truncate(make_video(folder / "in.mp4", frames=30), 0.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder / "missing.mp4",
        no_pictures,
        text_named_mp4,
        empty,
        unknown_codec,
        beheaded,
        lambda folder: make_audio(folder / "in.m4a"),
        lambda folder: "rtsp://127.0.0.1:9/none",
    ],
)
def test_a_wrong_input_is_one_clear_error_and_leaves_nothing(
    model: SaliencyModel, tmp_path: Path, make: Callable[[Path], Path | str]
) -> None:
    source = make(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(DecodeError) as caught:
        run(source, model=model, options=RunOptions(output=OutputOptions(output=tmp_path)))
    message = str(caught.value)
    assert "\n" not in message and Path(str(source)).name in message
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_file_cut_off_in_the_middle_gives_what_is_there_and_says_what_is_lost(
    model: SaliencyModel, tmp_path: Path
) -> None:
    whole = make_video(tmp_path / "whole.mp4", frames=100, container_options={"movflags": "faststart"})
    source = truncate(whole.rename(tmp_path / "in.mp4"), 0.6)
    report = run(source, model=model)
    assert report.truncated and 20 < report.frames < 80
    assert report.missing_seconds == pytest.approx((100 - report.frames) / 25, abs=0.1)
    assert len(times_of(tmp_path / "in.vidsal.mp4")) == len(rows_of(report)) == report.frames
    strict = RunOptions(decode=DecodeOptions(strict=True), output=OutputOptions(overwrite=True))
    with pytest.raises(DecodeError):
        run(source, model=model, options=strict)
    # What was there before is not touched by a run that failed.
    assert len(times_of(tmp_path / "in.vidsal.mp4")) == report.frames


def test_corrupt_packets_are_skipped_and_counted(model: SaliencyModel, tmp_path: Path) -> None:
    source = corrupt(make_video(tmp_path / "in.ts", frames=100, gop=10), every=40)
    report = run(source, model=model)
    assert 50 < report.frames < 101
    assert report.skipped_corrupt
    times = times_of(report.files[0])
    assert len(times) == report.frames
    # One of the damaged packets carries a time a day ahead.
    assert any("counted from the frame before" in message for message in report.messages)
    assert max(np.diff(times)) < 1 and times[-1] == pytest.approx(99 / 25, abs=0.001)


def test_pure_noise_after_the_header_is_bounded(model: SaliencyModel, tmp_path: Path) -> None:
    source = corrupt(make_video(tmp_path / "in.mp4", frames=60), start_share=0.05, end_share=0.9, every=2)
    begin = time.monotonic()
    try:
        report = run(source, model=model)
        assert report.skipped_corrupt or report.messages
    except DecodeError:
        assert not (tmp_path / "in.vidsal.mp4").exists()
    assert time.monotonic() - begin < 60


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everywhere")
def test_folders_and_files_without_permission_are_refused(model: SaliencyModel, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=3)
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(EncodeError, match="cannot write"):
        run(source, model=model, options=RunOptions(output=OutputOptions(output=tmp_path / "locked")))
    source.chmod(0)
    with pytest.raises(DecodeError):
        run(source, model=model)


def test_results_are_not_written_below_a_file(model: SaliencyModel, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=3)
    with pytest.raises(EncodeError, match="cannot make the folder"):
        run(source, model=model, options=RunOptions(output=OutputOptions(output=source / "deep")))


def start(source: Path, checkpoint: Path, *more: str, before: str = "") -> Child:
    return Child(before + COMMAND, "run", source, "--model", checkpoint, "--device", "cpu", *more)


def wait_for_rows(path: Path, count: int) -> None:
    """Until the growing table has `count` rows: then as many frames have gone through."""
    deadline = time.monotonic() + 120
    while not path.exists() or path.read_text().count("\n") <= count:
        assert time.monotonic() < deadline, f"{path} did not grow to {count} rows"
        time.sleep(0.02)


LONG_FRAMES = 300


@pytest.fixture(scope="module")
def long_video_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    still = random.integers(0, 255, (18, 32, 3), np.uint8).repeat(20, 0).repeat(20, 1)
    picture = lambda n: np.roll(still, n, 1)  # noqa: E731
    path = tmp_path_factory.mktemp("long") / "in.mp4"
    return make_video(path, frames=LONG_FRAMES, width=640, height=360, picture=picture, audio_tracks=1)


@pytest.fixture
def long_video(tmp_path: Path, long_video_once: Path) -> Path:
    return Path(shutil.copy(long_video_once, tmp_path / "in.mp4"))


@pytest.mark.slow
def test_killed_in_the_middle_it_leaves_a_readable_partial_file_and_the_next_run_is_clean(
    tmp_path: Path, long_video: Path
) -> None:
    checkpoint = make_checkpoint(tmp_path / "tiny.safetensors")
    process = start(long_video, checkpoint, "--preset", "ultrafast")
    wait_for_rows(tmp_path / "in.vidsal.partial.csv", 60)
    process.send(signal.SIGKILL)
    assert process.wait().returncode == -signal.SIGKILL
    done = (tmp_path / "in.vidsal.partial.csv").read_text().count("\n") - 1
    assert 60 <= done < LONG_FRAMES
    assert not (tmp_path / "in.vidsal.mp4").exists() and not (tmp_path / "in.vidsal.csv").exists()
    with open_video(tmp_path / "in.vidsal.partial.mp4") as reader:
        readable = sum(len(batch) for batch in reader)
    assert readable >= 0.5 * done > 0
    part = ("--end", "0.4", "--preset", "ultrafast")
    ended = start(long_video, checkpoint, *part).wait()
    assert ended.stdout.split() == [str(tmp_path / f"in.vidsal.{e}") for e in ("mp4", "csv")]
    assert ended.returncode == 0
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == ["in.mp4", "in.vidsal.csv", "in.vidsal.json", "in.vidsal.mp4", "tiny.safetensors"]
    assert len(times_of(tmp_path / "in.vidsal.mp4")) == 10


@pytest.mark.slow
def test_ctrl_c_closes_what_was_written_and_says_how_far_it_got(tmp_path: Path, long_video: Path) -> None:
    process = start(long_video, make_checkpoint(tmp_path / "tiny.safetensors"), "--preset", "ultrafast")
    wait_for_rows(tmp_path / "in.vidsal.partial.csv", 30)
    process.send(signal.SIGINT)
    ended = process.wait()
    assert ended.returncode == 130 and f"of {LONG_FRAMES}" in ended.stderr
    rows = (tmp_path / "in.vidsal.partial.csv").read_text().count("\n") - 1
    assert len(times_of(tmp_path / "in.vidsal.partial.mp4")) == rows >= 30
    assert not (tmp_path / "in.vidsal.mp4").exists()


@pytest.mark.slow
def test_a_full_disk_is_one_clear_error(tmp_path: Path, long_video: Path) -> None:
    small_files = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
"""
    checkpoint = make_checkpoint(tmp_path / "tiny.safetensors")
    ended = start(long_video, checkpoint, "--quiet", "--preset", "ultrafast", before=small_files).wait()
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.count("\n") == 1 and "vidsal: error:" in ended.stderr
    assert not (tmp_path / "in.vidsal.mp4").exists() and not (tmp_path / "in.vidsal.csv").exists()


def test_packets_of_other_streams_are_byte_identical(model: SaliencyModel, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mkv", frames=50, audio_tracks=2, subtitles=True, metadata={"title": "A day"})
    report = run(source, model=model)
    video = report.files[0]
    for index in (1, 2, 3):
        ours, theirs = ([p.data for p in stream_packets(path, index)] for path in (video, source))
        assert ours == theirs and ours
    with av.open(str(video)) as out, av.open(str(source)) as original:
        assert out.metadata.get("title") == "A day"
        languages = [[s.metadata.get("language") for s in c.streams.audio] for c in (out, original)]
        assert languages[0] == languages[1] and None not in languages[0]


def test_a_picture_that_cannot_be_read_is_refused(model: SaliencyModel, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(VidsalError):
        run(tmp_path / "in.png", model=model)
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((30, 40, 3), np.uint8))
    assert run(tmp_path / "good.png", model=model).frames == 1


@pytest.mark.parametrize("container", [{"movflags": "faststart"}, {}])
def test_standard_input_takes_an_mp4_with_its_index_in_front_or_behind(
    tmp_path: Path, model: SaliencyModel, monkeypatch: pytest.MonkeyPatch, container: dict[str, str]
) -> None:
    source = make_video(tmp_path / "in.mp4", frames=60, audio_tracks=1, container_options=container)
    assert (source.read_bytes().find(b"moov") < source.read_bytes().find(b"mdat")) == bool(container)
    read, write = os.pipe()
    feeder = subprocess.Popen(["cat", str(source)], stdout=write)
    os.close(write)
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        report = run("-", model=model, options=RunOptions(output=OutputOptions(output=tmp_path)))
    assert feeder.wait() == 0 and report.frames == 60
    assert report.files[0] == tmp_path / "standard-input.vidsal.mp4"
    assert times_of(report.files[0]) == pytest.approx(times_of(source), abs=1e-4)
    assert any("sound" in message for message in report.messages)
