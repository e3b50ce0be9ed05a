"""Holes in what is read: each is counted, said, and refused by `strict`; whole files are read without a word."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from media import concatenate, make_video, numbered_picture, read_number

from vidsal.decode import DecodeOptions, open_video
from vidsal.decode.contract import DecodeReport
from vidsal.decode.local import open_file
from vidsal.errors import DecodeError

PACKET = 188


def read(path: Path, **options: Any) -> tuple[list[int], DecodeReport]:
    """The numbers in the pictures, and the report."""
    with open_video(path, options=DecodeOptions(**options)) as reader:
        return [read_number(frame) for batch in reader for frame in batch.frames], reader.report


def numbered(path: Path, frames: int = 60, **settings: Any) -> Path:
    return make_video(path, **({"frames": frames, "picture": numbered_picture(64, 48)} | settings))


def is_refused(path: Path) -> bool:
    try:
        read(path, strict=True)
    except DecodeError as error:
        assert "is damaged" in str(error)
        return True
    return False


def packets_of(data: bytes, number: int) -> list[int]:
    """Where the packets of one stream of a transport stream stand."""
    places = range(0, len(data), PACKET)
    return [at for at in places if (data[at + 1] & 0x1F) << 8 | data[at + 2] == number]


def without(data: bytes, place: int, length: int = PACKET) -> bytes:
    return data[:place] + data[place + length :]


@pytest.mark.parametrize("stream, frames", [(0x100, 59), (0x101, 60)])
def test_one_packet_lost_from_a_transport_stream_is_said(tmp_path: Path, stream: int, frames: int) -> None:
    path = numbered(tmp_path / "a.ts", audio_tracks=1)
    data = path.read_bytes()
    places = packets_of(data, stream)
    path.write_bytes(without(data, places[len(places) // 2]))
    numbers, report = read(path)
    assert len(numbers) >= frames and report.structure_faults == 1
    assert report.damaged_packets == (1 if stream == 0x100 else 0)
    assert any("are missing at one place" in message for message in report.messages)
    assert is_refused(path)


def test_a_burst_that_takes_frames_away_is_a_gap_in_the_times(tmp_path: Path) -> None:
    # Intra frames only, and whole ones are lost: nothing is left that the decoder could miss.
    path = numbered(tmp_path / "a.ts", gop=1)
    data = path.read_bytes()
    starts = [at for at in packets_of(data, 0x100) if data[at + 1] & 0x40]
    path.write_bytes(data[: starts[20]] + data[starts[24] :])
    numbers, report = read(path)
    assert numbers == [*range(20), *range(24, 60)] and report.lost_frames == 4
    assert any("about 4 frames" in message and "after 0.76" in message for message in report.messages)
    assert is_refused(path)


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "fragmented.mp4", "a.mxf"])
def test_frames_missing_between_others_are_said(tmp_path: Path, name: str) -> None:
    codec = {"a.webm": "libvpx-vp9", "a.mxf": "mpeg2video"}.get(name, "libx264")
    options = {"movflags": "frag_keyframe+empty_moov"} if name == "fragmented.mp4" else {}
    path = numbered(tmp_path / name, codec=codec, gop=6, container_options=options)
    data = path.read_bytes()
    path.write_bytes(without(data, int(len(data) * 0.4), len(data) // 5))
    numbers, report = read(path)
    assert len(numbers) < 58 and report.is_damaged and report.messages
    assert is_refused(path)


@pytest.mark.parametrize(
    "name", ["a.mxf", "a.ts", "fragmented.mp4", "a.gif", "a.mkv", "a.webm", "a.avi", "a.flv", "a.ogv", "a.wmv", "a.y4m"]
)
def test_every_kind_of_file_that_is_cut_short_is_said_to_be(tmp_path: Path, name: str) -> None:
    codecs = {"a.webm": "libvpx-vp9", "a.mxf": "mpeg2video", "a.gif": "gif", "a.avi": "mpeg4"}
    codec = (codecs | {"a.ogv": "libvpx", "a.wmv": "wmv2", "a.y4m": "rawvideo"}).get(name, "libx264")
    settings: dict[str, Any] = {"codec": codec, "pix_fmt": "bgr8" if codec == "gif" else "yuv420p"}
    if codec not in ("gif", "mpeg2video", "rawvideo"):
        settings["audio_tracks"] = 1
    if name == "fragmented.mp4":
        settings["container_options"] = {"movflags": "frag_keyframe+empty_moov"}
    path = numbered(tmp_path / name, **settings)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10 // PACKET * PACKET + 5])
    numbers, report = read(path)
    assert numbers and len(numbers) < 60 and report.truncated
    assert is_refused(path)


def test_a_cut_mxf_says_how_much_is_missing(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.mxf", codec="mpeg2video")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    numbers, report = read(path)
    assert report.missing_seconds == pytest.approx((60 - len(numbers)) / 25, abs=0.05)


def test_an_index_that_lists_more_than_can_be_read_is_said(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.mp4", audio_tracks=1, codec_options={"g": "1"})
    data = bytearray(path.read_bytes())
    table = data.index(b"stco")  # where the pieces of the video stand
    entry = table + 8 + 4 * int.from_bytes(data[table + 8 : table + 12], "big")
    data[entry] = 0x7F  # the last one stands nowhere
    path.write_bytes(data)
    numbers, report = read(path)
    assert numbers == list(range(len(numbers))) and 0 < len(numbers) < 60
    assert report.lost_frames == 60 - len(numbers)
    assert any("the index lists 60 frames" in message for message in report.messages)
    assert is_refused(path)


def test_frames_that_damaged_times_hide_are_said(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.mp4", bframes=2)
    data = bytearray(path.read_bytes())
    table = data.index(b"ctts")
    data[table + 12 + 8 * 20 + 5] |= 0x20  # one entry: its frames are shown long after the end
    path.write_bytes(data)
    numbers, report = read(path)
    assert len(numbers) < 60 and report.lost_frames == 60 - len(numbers)
    assert is_refused(path)


@pytest.mark.parametrize("name", [b"mvhd", b"mdhd"])
def test_a_header_without_a_time_scale_is_said(tmp_path: Path, name: bytes) -> None:
    path = numbered(tmp_path / "a.mp4", bframes=2)
    data = bytearray(path.read_bytes())
    header = data.index(name)
    assert data[header + 4] == 0  # its version
    data[header + 16 : header + 20] = bytes(4)
    path.write_bytes(data)
    _, report = read(path)
    assert report.structure_faults and any("(time scale)" in message for message in report.messages)


def test_times_hours_apart_are_said(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.mp4", bframes=2)
    data = bytearray(path.read_bytes())
    table = data.index(b"ctts")
    data[table + 12 + 8 * 20 + 4] = 0x20
    path.write_bytes(data)
    _, report = read(path)
    assert any("hours apart" in message for message in report.messages)
    assert is_refused(path)


def test_a_recording_that_starts_between_key_frames_says_so_and_is_not_damaged(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.ts", bframes=2, gop=12)
    data = path.read_bytes()
    starts = [at for at in packets_of(data, 0x100) if data[at + 1] & 0x40]
    tables = data[: starts[0]]
    path.write_bytes(tables + data[starts[5] :])
    numbers, report = read(path)
    assert numbers == list(range(numbers[0], 60)) and 0 < numbers[0] <= 13
    assert report.skipped_at_start > 0 and not report.lost_frames
    assert any("starts in the middle" in message for message in report.messages)


def test_a_lost_key_frame_loses_what_follows_and_it_is_said(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.mkv", gop=20)
    with av.open(str(path)) as container:
        key = next(bytes(packet) for packet in container.demux(video=0) if packet.is_keyframe)
    data = path.read_bytes()
    at = data.index(key)
    path.write_bytes(data[: at + 4] + b"\xff" * (len(key) - 4) + data[at + len(key) :])
    numbers, report = read(path)
    assert numbers[-40:] == list(range(20, 60))
    assert len(numbers) + report.lost_frames + report.skipped_corrupt + report.concealed >= 60
    assert is_refused(path)


def test_a_damaged_image_that_can_be_read_is_said(tmp_path: Path) -> None:
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.bmp"), noise)
    path = tmp_path / "2.jpg"
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[:-2])  # the mark of the end
    with open_video(tmp_path) as reader:
        count = sum(len(batch) for batch in reader)
    report = reader.report
    assert (count, report.concealed, report.skipped_corrupt) in ((3, 1, 0), (2, 0, 1))
    assert any("2.jpg" in message for message in report.messages)


def save_noise(path: Path, *, share: float = 1.0) -> npt.NDArray[np.uint8]:
    picture = cv2.resize(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8), (160, 120))
    cv2.imwrite(str(path), picture)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return np.asarray(picture[..., ::-1], np.uint8)


def test_a_cut_jpeg_is_read_as_far_as_it_goes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jpg"
    picture = save_noise(path, share=0.6)
    with open_video(path) as reader:
        (batch,) = reader
    errors = np.abs(batch.frames[0].astype(int) - picture).mean(axis=(1, 2))
    assert errors[:40].max() < 12 < errors[-20:].min()
    assert reader.report.concealed == 1 and any("JPEG" in message for message in reader.report.messages)
    assert is_refused(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.webp", "a.avif", "a.jpg", "a.tif"])
def test_other_cut_pictures_are_refused_as_cut_and_nothing_else_is_printed(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    save_noise(path, share=0.01 if name == "a.jpg" else 0.6)
    with pytest.raises(DecodeError, match="cannot be read as an image: the file is cut short: "):
        read(path)
    assert capfd.readouterr().err == ""
    save_noise(tmp_path / f"0{name}")
    _, report = read(tmp_path)
    assert any(name in message and "cut short" in message for message in report.messages)
    assert report.skipped_corrupt == 1


def test_a_damaged_picture_is_told_of_by_the_error_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.bmp"
    save_noise(path)
    data = bytearray(path.read_bytes())
    data[30] = 1  # compressed, which it is not
    path.write_bytes(data[:1000])
    with pytest.raises(DecodeError, match="cannot be read"):
        read(path)
    assert capfd.readouterr().err == ""


HEALTHY: dict[str, Callable[[Path], Path]] = {
    "transport streams, joined": lambda folder: concatenate(
        [make_video(folder / f"{n}.ts", frames=40, audio_tracks=1) for n in range(2)], folder / "joined.ts"
    ),
    "VP8 with hidden references": lambda folder: make_video(
        folder / "a.webm",
        frames=60,
        codec="libvpx",
        codec_options={"auto-alt-ref": "1", "lag-in-frames": "16", "b": "100k"},
    ),
    "interlaced": lambda folder: make_video(folder / "a.ts", frames=40, interlaced=True, bframes=2),
    "open groups": lambda folder: make_video(
        folder / "a.ts", frames=40, bframes=2, codec_options={"x264-params": "open-gop=1:keyint=12"}
    ),
    "live Matroska": lambda folder: make_video(
        folder / "a.mkv", frames=40, audio_tracks=1, container_options={"live": "1"}
    ),
    "MPEG-2 in MXF": lambda folder: make_video(folder / "a.mxf", frames=40, codec="mpeg2video", bframes=2),
    "dash": lambda folder: make_video(
        folder / "a.mp4", frames=40, container_options={"movflags": "cmaf+global_sidx+skip_trailer"}
    ),
    "GIF": lambda folder: make_video(folder / "a.gif", frames=20, codec="gif", pix_fmt="bgr8"),
    "one frame": lambda folder: make_video(folder / "a.ts", frames=1),
}


@pytest.mark.parametrize("kind", HEALTHY)
def test_whole_files_are_read_without_a_word(tmp_path: Path, kind: str) -> None:
    _, report = read(HEALTHY[kind](tmp_path), strict=True)
    known = ("times jump back", "interlaced frames deinterlaced")  # of joined files, and of interlaced ones
    assert [message for message in report.messages if not any(text in message for text in known)] == []


def screen_capture(chance: random.Random) -> int:
    """Pauses of any length on the grid of a 60 Hz screen."""
    return 1500 * chance.choice((1, 1, 1, 2, 2, 3, 4, 8, 30))


def phone(chance: random.Random) -> int:
    """30 a second, about, and one in 30 left out."""
    return 3000 + chance.randrange(-15, 16) + 3000 * (chance.random() < 1 / 30)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".flv", "fragmented.mp4"])
@pytest.mark.parametrize("step", [screen_capture, phone])
def test_a_variable_rate_is_no_damage(tmp_path: Path, step: Callable[[random.Random], int], suffix: str) -> None:
    chance = random.Random(1)
    times = [0]
    for _ in range(79):
        times.append(times[-1] + step(chance))
    options = {"movflags": "frag_keyframe+empty_moov"} if suffix.startswith("fragmented") else {}
    path = make_video(tmp_path / f"a{suffix}", frames=80, pts=times, container_options=options)
    assert read(path, strict=True)[1].messages == []


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.mkv", "a.avi", "a.mxf"])
@pytest.mark.parametrize("part", [{"start_seconds": 0.7}, {"end_seconds": 0.5}])
def test_a_part_of_a_whole_file_is_read_without_a_word(tmp_path: Path, name: str, part: dict[str, float]) -> None:
    codec = {"a.avi": "mpeg4", "a.mxf": "mpeg2video"}.get(name, "libx264")
    path = make_video(tmp_path / name, frames=40, codec=codec, bframes=0 if codec == "mpeg4" else 2)
    assert read(path, strict=True, **part)[1].messages == []


def test_a_loss_inside_a_part_is_said_and_one_outside_is_not(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.ts", frames=100, gop=10)
    data = path.read_bytes()
    starts = [at for at in packets_of(data, 0x100) if data[at + 1] & 0x40]
    path.write_bytes(data[: starts[20]] + data[starts[21] :])
    assert read(path, end_seconds=0.5)[1].messages == []
    assert read(path, end_seconds=2)[1].is_damaged


def test_tags_that_are_not_utf_8_refuse_no_file(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.avi", frames=5, codec="mjpeg", pix_fmt="yuvj420p", metadata={"title": "CafXX"})
    path.write_bytes(path.read_bytes().replace(b"CafXX", b"Caf\xe9 "))
    with open_video(path, options=DecodeOptions(strict=True)) as reader:
        assert sum(len(batch) for batch in reader) == 5
    with open_file(path) as container:
        assert container.metadata["title"].strip() == "Café"


def test_a_picture_without_bytes_in_the_index_of_an_mp4_is_lost(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=12)
    data = bytearray(source.read_bytes())
    entry = data.index(b"stsz") + 16 + 4 * 5
    assert any(data[entry : entry + 4])
    data[entry : entry + 4] = bytes(4)
    source.write_bytes(data)
    with open_video(source) as reader:
        assert sum(map(len, reader)) < 12
    assert any("the index lists 12 frames" in message for message in reader.report.messages)
    assert reader.report.lost_frames > 0
