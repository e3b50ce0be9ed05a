"""What is broken in a file's structure is found, and whole files of all kinds are left in peace."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from media import concatenate, make_video
from PIL import Image

from vidsal.decode.structure import faults_of

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}

WHOLE: dict[str, tuple[str, dict[str, Any]]] = {
    "mp4": (".mp4", {"audio_tracks": 1}),
    "mov": (".mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    "fragmented": (".mp4", {"audio_tracks": 1, "container_options": FRAGMENTED}),
    "cmaf": (".mp4", {"container_options": {"movflags": "cmaf"}}),
    "hybrid": (".mp4", {"container_options": {"movflags": "hybrid_fragmented"}}),
    "mkv": (".mkv", {"audio_tracks": 1, "subtitles": True, "metadata": {"title": "A day"}}),
    "mkv, live": (".mkv", {"audio_tracks": 1, "container_options": {"live": "1"}}),
    "webm": (".webm", {"codec": "libvpx-vp9", "audio_tracks": 1}),
    "avi": (".avi", {"codec": "mpeg4", "audio_tracks": 1}),
    "mxf": (".mxf", {"codec": "mpeg2video"}),
    "ts": (".ts", {"audio_tracks": 1}),
    "flv": (".flv", {"audio_tracks": 1}),
    "ogg": (".ogv", {"codec": "libvpx", "audio_tracks": 1}),
    "ogg, without sound": (".ogg", {"codec": "libvpx"}),
    "wmv": (".wmv", {"codec": "wmv2", "audio_tracks": 1}),
    "y4m": (".y4m", {"codec": "rawvideo", "frames": 6}),
    "y4m, odd and deep": (
        ".y4m",
        {
            "codec": "rawvideo",
            "frames": 6,
            "width": 33,
            "height": 25,
            "pix_fmt": "yuv422p10le",
            "container_options": {"strict": "-1"},
        },
    ),
    "dv": (".dv", {"codec": "dvvideo", "frames": 4, "width": 720, "height": 576}),
    "ivf": (".ivf", {"codec": "libvpx"}),
    "gif": (".gif", {"codec": "gif", "pix_fmt": "bgr8"}),
    "gif, two colours": (
        ".gif",
        {"codec": "gif", "pix_fmt": "gray", "picture": lambda n: np.full((48, 64, 3), n, np.uint8)},
    ),
}


def make(folder: Path, kind: str) -> Path:
    suffix, settings = WHOLE[kind]
    return make_video(folder / f"a{suffix}", **settings)


def texts_of(path: Path) -> list[str]:
    return [fault.text for fault in faults_of(path)]


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_file_has_no_fault_and_a_cut_one_is_short(tmp_path: Path, kind: str) -> None:
    path = make(tmp_path, kind)
    assert faults_of(path) == []
    data = path.read_bytes()
    for share in (0.5, 0.8, 0.97):
        path.write_bytes(data[: int(len(data) * share) // 188 * 188 + 7])
        assert [fault.short for fault in faults_of(path)][:1] == [True], share


@pytest.mark.parametrize(
    "kind", ["fragmented", "mkv", "mkv, live", "webm", "mxf", "ts", "flv", "ogg", "wmv", "y4m", "dv", "ivf", "gif"]
)
def test_a_piece_that_is_missing_in_the_middle_is_found(tmp_path: Path, kind: str) -> None:
    path = make(tmp_path, kind)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + data[middle + 301 :])
    assert faults_of(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_images_that_are_cut_are_short(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    assert faults_of(path) == []
    path.write_bytes(path.read_bytes()[:-9])
    assert [fault.short for fault in faults_of(path)] == [True]


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_with_its_directory_first_is_short_where_its_pixels_are(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    pictures = [Image.fromarray(np.random.default_rng(n).integers(0, 256, (40, 60, 3), np.uint8)) for n in range(3)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], compression=compression)
    assert faults_of(path) == []
    data = path.read_bytes()
    for share in (0.2, 0.6, 0.95):
        path.write_bytes(data[: int(len(data) * share)])
        assert [fault.short for fault in faults_of(path)] == [True]


def test_a_part_of_a_png_with_a_wrong_checksum_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((40, 60, 3), np.uint8))
    data = bytearray(path.read_bytes())
    data[45] ^= 1
    path.write_bytes(data)
    assert "checksum" in texts_of(path)[0]


def test_a_description_of_fragments_that_is_overwritten_is_missed(tmp_path: Path) -> None:
    path = make(tmp_path, "fragmented")
    data = path.read_bytes()
    at = data.rindex(b"moof")
    path.write_bytes(data[:at] + b"free" + data[at + 4 :])
    assert "moof" in texts_of(path)[0]


def test_the_index_of_an_avi_is_compared_with_its_pieces(tmp_path: Path) -> None:
    path = make(tmp_path, "avi")
    data = path.read_bytes()
    index = data.rindex(b"idx1")
    for at in (data.index(b"00dc", index), data.index(b"00dc", data.index(b"movi"))):
        path.write_bytes(data[:at] + b"0C" + data[at + 2 :])
        assert "1 of" in texts_of(path)[0]
    path.write_bytes(data[:index] + b"JUNK" + data[index + 4 :])
    assert texts_of(path) == ["its index is missing"]


def test_codes_of_a_gif_that_end_early_are_found(tmp_path: Path) -> None:
    path = make(tmp_path, "gif")
    data = path.read_bytes()
    found = 0
    for seed in range(8):
        chance, broken = random.Random(seed), bytearray(data)
        at = chance.randrange(len(data) // 3, len(data) - 400)
        broken[at : at + 60] = chance.randbytes(60)
        path.write_bytes(broken)
        found += bool(faults_of(path))
    assert found >= 6  # noise may be codes that can be read


def test_a_gif_of_noise_with_full_tables_is_whole(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    path = make_video(
        tmp_path / "a.gif",
        frames=3,
        width=200,
        height=150,
        codec="gif",
        pix_fmt="bgr8",
        picture=lambda _: chance.integers(0, 256, (150, 200, 3), np.uint8),
    )
    assert faults_of(path) == []


def test_lost_packets_at_the_end_of_a_transport_stream_show_in_any_of_its_counters(tmp_path: Path) -> None:
    path = make(tmp_path, "ts")
    data = path.read_bytes()
    last = len(data) // 188 - 6
    path.write_bytes(data[: last * 188] + data[(last + 3) * 188 :])
    assert "missing" in texts_of(path)[0]
    path.write_bytes(data[:-188] + bytes(188))
    assert "broken" in texts_of(path)[0]
    path.write_bytes(data[100:])
    assert "begins inside a packet" in texts_of(path)[0]


def test_ogg_pages_between_and_at_the_end_are_missed_and_joined_streams_are_whole(tmp_path: Path) -> None:
    path = make(tmp_path, "ogg")
    data = path.read_bytes()
    pages = [at for at in range(len(data)) if data[at : at + 4] == b"OggS"] + [len(data)]
    path.write_bytes(data[: pages[-2]])
    assert [(fault.short, "last page" in fault.text) for fault in faults_of(path)] == [(True, True)]
    path.write_bytes(data[: pages[-4]] + data[pages[-3] :])
    assert "missing in 1 places" in texts_of(path)[0]
    assert faults_of(concatenate([make(tmp_path, "ogg")] * 2, tmp_path / "b.ogv")) == []


def test_a_wmv_cut_between_two_packets_is_short_unless_it_was_sent_live(tmp_path: Path) -> None:
    path = make(tmp_path, "wmv")
    data = path.read_bytes()
    packet = int.from_bytes(data[(at := data.index(bytes.fromhex("a1dcab8c47a9cf11"))) + 92 : at + 96], "little")
    begin = int.from_bytes(data[16:24], "little") + 50
    path.write_bytes(data[: begin + packet])
    assert [fault.short for fault in faults_of(path)] == [True]
    live = bytearray(data[: begin + packet])
    live[at + 88] |= 1
    path.write_bytes(live)
    assert faults_of(path) == []


@pytest.mark.parametrize("kind", ["y4m", "dv", "ivf"])
def test_a_file_of_fewer_whole_frames_without_a_number_of_them_is_whole(tmp_path: Path, kind: str) -> None:
    path = make(tmp_path, kind)
    data = path.read_bytes()
    if kind == "ivf":
        stop = 32 + 12 + int.from_bytes(data[32:36], "little")
    else:
        stop = 144_000 if kind == "dv" else data.index(b"FRAME", data.index(b"FRAME") + 5)
    path.write_bytes(data[:stop])
    assert faults_of(path) == []
    path.write_bytes(data[: stop - 1])
    assert [fault.short for fault in faults_of(path)] == [True]


def test_joined_transport_streams_and_what_writers_leave_at_the_end_are_no_damage(tmp_path: Path) -> None:
    one = make(tmp_path, "ts")
    assert faults_of(concatenate([one, one], tmp_path / "b.ts")) == []
    for kind, rest in (("mp4", bytes(1000)), ("mp4", b"left by a tool"), ("gif", b"\0\0"), ("avi", b"\0" * 20)):
        path = make(tmp_path, kind)
        path.write_bytes(path.read_bytes() + rest)
        assert faults_of(path) == [], kind


def test_packets_sent_twice_and_joints_that_are_marked_are_no_damage(tmp_path: Path) -> None:
    path = make(tmp_path, "ts")
    data = path.read_bytes()
    twice = data[188 * 20 : 188 * 21]
    path.write_bytes(data[: 188 * 21] + twice + data[188 * 21 :])
    assert faults_of(path) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1a\x45\xdf\xa3",
        b"RIFF",
        b"GIF89a",
        b"\xff\xd8\xff",
        b"FLV\x01",
        b"text" * 99,
        b"OggS",
        b"II*\0",
        b"BM",
        b"DKIF",
        b"YUV4MPEG2 W3",
    ],
)
def test_stubs_and_other_files_raise_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    faults_of(tmp_path / "a")
    assert faults_of(tmp_path / "missing") == []


@pytest.mark.parametrize("kind", WHOLE)
def test_no_damage_raises_anything_or_takes_long(tmp_path: Path, kind: str) -> None:
    path = make(tmp_path, kind)
    data = path.read_bytes()
    chance = random.Random(kind)
    for _ in range(10):
        broken = bytearray(data)
        for _ in range(10):
            broken[chance.randrange(len(data))] = chance.choice((0, 255, chance.randrange(256)))
        path.write_bytes(broken)
        faults_of(path)
