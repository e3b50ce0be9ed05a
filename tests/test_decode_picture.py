"""The right picture: upright, whole, of the stream that was meant, without combs, and no larger than allowed."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from media import make_video, set_display_matrix

from vidsal.decode import DecodeOptions, DecodeReport, Reader, open_video
from vidsal.decode.orientation import Orientation, orientation_of
from vidsal.frames import FrameBatch

RGB = npt.NDArray[np.uint8]


def read(source: Any, *, size: Any = None, pictures: bool = False, **options: Any) -> tuple[list[FrameBatch], Reader]:
    with open_video(source, options=DecodeOptions(**options), size=size, keep_pictures=pictures) as reader:
        return list(reader), reader


def four_colors(width: int, height: int) -> RGB:
    """Red, green over blue, white: no two of the eight orientations look alike."""
    picture = np.full((height, width, 3), 235, np.uint8)
    picture[: height // 2, : width // 2] = (220, 30, 30)
    picture[: height // 2, width // 2 :] = (30, 200, 30)
    picture[height // 2 :, : width // 2] = (30, 30, 220)
    return picture


def quarters(picture: RGB) -> npt.NDArray[np.int64]:
    """The colours in the middle of the four quarters, (2, 2, 3)."""
    height, width = picture.shape[:2]
    return picture[height // 4 :: height // 2, width // 4 :: width // 2][:2, :2].astype(np.int64)


# Display matrices

ORIENTATIONS: dict[str, tuple[tuple[int, int, int, int], Any]] = {
    "as it is": ((1, 0, 0, 1), lambda p: p),
    "left to right": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "top to bottom": ((1, 0, 0, -1), lambda p: p[::-1]),
    "half a turn": ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
    "transposed": ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
    "transposed the other way": ((0, -1, -1, 0), lambda p: p[::-1, ::-1].transpose(1, 0, 2)),
    "clockwise": ((0, 1, -1, 0), lambda p: p.transpose(1, 0, 2)[:, ::-1]),
    "counter-clockwise": ((0, -1, 1, 0), lambda p: p.transpose(1, 0, 2)[::-1]),
}
"""Each matrix (a, b, c, d), and what it shows of a picture: point (p, q) comes to (a p + c q, b p + d q)."""


@pytest.mark.parametrize("decoder", ["pyav", "decord", "opencv"])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_all_eight_orientations_stand_upright(tmp_path: Path, decoder: str, name: str) -> None:
    if decoder == "decord":
        pytest.importorskip("decord")
    matrix, shown_as = ORIENTATIONS[name]
    drawn = four_colors(96, 64)
    path = make_video(tmp_path / "a.mp4", frames=2, width=96, height=64, pix_fmt="yuv444p", picture=lambda i: drawn)
    batches, reader = read(set_display_matrix(path, matrix), size=lambda h, w: (h // 2, w // 2), pictures=True)
    expected = shown_as(drawn)
    assert (reader.info.height, reader.info.width) == expected.shape[:2]
    assert reader.report.messages == []
    for frame in range(2):
        for shown in (batches[0].frames[frame], batches[0].pictures[frame].rgb()):
            assert shown.shape[0] * expected.shape[1] == shown.shape[1] * expected.shape[0]
            assert np.abs(quarters(shown) - quarters(expected)).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_exif_orientations_of_an_image_stand_upright(tmp_path: Path, orientation: int) -> None:
    # EXIF's own table: where the picture's first row and first column are shown.
    shown_as = ["as it is", "left to right", "half a turn", "top to bottom"]
    shown_as += ["transposed", "clockwise", "transposed the other way", "counter-clockwise"]
    drawn = four_colors(96, 64)
    data = cv2.imencode(".jpg", drawn[..., ::-1])[1].tobytes()
    tiff = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    app1 = b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\0\0" + tiff
    (tmp_path / "a.jpg").write_bytes(data[:2] + app1 + data[2:])
    (batch,), _ = read(tmp_path / "a.jpg")
    expected = ORIENTATIONS[shown_as[orientation - 1]][1](drawn)
    assert batch.frames[0].shape == expected.shape
    assert np.abs(quarters(batch.frames[0]) - quarters(expected)).max() < 20


def test_a_matrix_that_is_no_multiple_of_90_degrees_is_ignored_and_reported(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=1)
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 44
    struct.pack_into(">9i", data, at, 46341, 46341, 0, 46341, -46341, 0, 0, 0, 1 << 30)  # 45 degrees, mirrored
    path.write_bytes(data)
    batches, reader = read(path)
    assert batches[0].frames.shape == (1, 48, 64, 3)
    assert not reader.info.mirrored
    assert any("only multiples of 90" in message for message in reader.report.messages)


def test_side_data_of_an_unknown_kind_leaves_the_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(frame: av.VideoFrame) -> None:
        raise ValueError("99 is not a valid Type")

    monkeypatch.setattr("vidsal.decode.orientation.SideDataContainer", unknown)
    path = make_video(tmp_path / "a.mp4", frames=1, rotation=90)
    report = DecodeReport()
    with av.open(str(path)) as container:
        assert orientation_of(next(container.decode(video=0)), report) == Orientation(90)
    assert any("mirrored" in message for message in report.messages)
