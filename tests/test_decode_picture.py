"""The right picture: upright, whole, of the stream that was meant, without combs, and no larger than allowed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from media import add_cover, concatenate, join_programmes, make_video, set_display_matrix, stream_packets

from vidsal.decode import DecodeOptions, DecodeReport, Reader, open_video
from vidsal.decode.deinterlace import Deinterlacer
from vidsal.decode.orientation import Orientation, orientation_of
from vidsal.errors import ConfigError, DecodeError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.sinks import VideoSink

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


# Several video streams


def make_programmes(folder: Path) -> Path:
    """Two programmes, of 64x48 with a tone of 220 Hz and of 96x48 with one of 440."""
    parts = []
    for number, (name, width) in enumerate((("One", 64), ("Two", 96)), start=1):
        ids = {
            "mpegts_start_pid": 256 + 16 * number,
            "mpegts_pmt_start_pid": 4095 + number,
            "mpegts_service_id": number,
        }
        part = make_video(
            folder / f"part{number}.ts",
            frames=10,
            width=width,
            audio_tracks=1,
            metadata={"service_name": name},
            container_options={key: str(value) for key, value in ids.items()},
        )
        parts.append(part)
    return join_programmes(parts, folder / "a.ts")


def test_of_several_programmes_one_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    path = make_programmes(tmp_path)
    level = av.logging.get_level()
    batches, reader = read(path)
    assert av.logging.get_level() == level
    assert batches[0].width == 64
    assert reader.info.other_programmes == (2, 3)
    (message,) = reader.report.messages
    assert 'v:0 (h264 64x48, programme "One") is read' in message
    assert 'v:1 (h264 96x48, programme "Two")' in message
    assert "video_stream=" in message


@pytest.mark.parametrize("number, width, others", [(0, 64, (2, 3)), (1, 96, (0, 1))])
def test_a_video_stream_may_be_chosen(tmp_path: Path, number: int, width: int, others: tuple[int, ...]) -> None:
    batches, reader = read(make_programmes(tmp_path), video_stream=number)
    assert batches[0].width == width
    assert sum(map(len, batches)) == 10
    assert reader.info.other_programmes == others
    assert reader.report.messages == []


def test_a_video_stream_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"video_stream=2 .* v:0 .*One.* v:1 .*Two") as caught:
        read(make_programmes(tmp_path), video_stream=2)
    assert caught.value.option == "video_stream"


def test_a_cover_is_no_video_stream_but_is_counted_as_one(tmp_path: Path) -> None:
    plain = make_video(tmp_path / "plain.mp4", frames=2)
    jpeg = cv2.imencode(".jpg", np.zeros((32, 32, 3), np.uint8))[1].tobytes()
    path = add_cover(plain, tmp_path / "a.mp4", jpeg)
    with pytest.raises(DecodeError, match=r"video_stream=1 is a cover of .* holds v:0 \(h264 64x48\);"):
        read(path, video_stream=1)
    assert read(path, video_stream=0)[1].report.messages == read(path)[1].report.messages == []


@pytest.mark.parametrize("decoder", ["decord", "opencv"])
def test_other_decoders_do_not_guess_which_stream_is_meant(tmp_path: Path, decoder: str) -> None:
    pytest.importorskip("decord" if decoder == "decord" else "cv2")
    with pytest.raises(DecodeError, match="2 video streams"):
        read(make_programmes(tmp_path), decoder=decoder)
    with pytest.raises(ConfigError, match="video_stream=0 needs the pyav decoder"):
        DecodeOptions(decoder=decoder, video_stream=0)  # type: ignore[arg-type]


def test_the_sound_that_is_copied_is_of_the_programme_that_is_read(tmp_path: Path) -> None:
    path = make_programmes(tmp_path)
    with open_video(path, options=DecodeOptions(video_stream=1), keep_pictures=True) as reader:
        target = tmp_path / "out.mp4"
        with VideoSink(target, reader.info) as sink:
            for batch in reader:
                sink.write(flat_density(batch))
    assert any("other programmes: video stream 0" in message for message in sink.messages)
    kinds = [[stream.type for stream in av.open(str(target)).streams], [stream_packets(target, 1)[0].data]]
    assert kinds == [["video", "audio"], [stream_packets(path, 3)[0].data[7:]]]


def flat_density(batch: FrameBatch) -> SaliencyBatch:
    count = len(batch)
    density = torch.full((count, 2, 2), float(np.log(0.25)))
    return SaliencyBatch.of(batch, shot=np.zeros(count, np.int64), cut=np.zeros(count, np.bool_), log_density=density)


# Interlaced pictures


def moving_bar(moment: int) -> RGB:
    """A bright bar on a soft ramp; it moves four columns a moment."""
    picture = np.repeat(np.linspace(40, 120, 64, dtype=np.uint8)[:, None], 96, axis=1)
    picture[:, 8 + 4 * moment : 24 + 4 * moment] = 220
    return np.repeat(picture[..., None], 3, axis=2)


def woven(i: int, first: int = 1) -> RGB:
    """Frame i of two fields: one of moment 2 i, the lower one unless `first` is 0, and the other of the next."""
    picture = moving_bar(2 * i + 1)
    picture[first::2] = moving_bar(2 * i)[first::2]
    return picture


def make_interlaced(path: Path, *, frames: int = 8, marked: bool = True, **options: Any) -> Path:
    options = {"width": 96, "height": 64, "picture": woven, "interlaced": marked, "gop": 4, **options}
    return make_video(path, frames=frames, **options)


def error(frame: RGB, moment: int) -> float:
    """Mean difference to the scene at a moment, over what moves."""
    return float(np.abs(frame[4:-4].astype(int) - moving_bar(moment)[4:-4]).mean())


@pytest.mark.parametrize("first", [0, 1], ids=["upper field first", "lower field first"])
def test_interlaced_frames_become_whole_pictures_with_their_own_times(tmp_path: Path, first: int) -> None:
    ticks = [0, 3600, 7200, 12000, 15600, 19200, 25000, 28600]
    path = make_interlaced(tmp_path / "a.mp4", pts=ticks, picture=lambda i: woven(i, first), top_field_first=first == 0)
    (batch,), reader = read(path, pictures=True)
    assert [picture.pts for picture in batch.pictures] == ticks
    for i in range(8):
        np.testing.assert_array_equal(batch.frames[i], batch.pictures[i].rgb())
        assert error(batch.frames[i], 2 * i) < 3
    assert reader.report.deinterlaced == 8
    assert reader.report.messages == ["8 interlaced frames deinterlaced"]

    (combed,), reader = read(path, deinterlace="off")
    assert min(error(frame, 2 * i) for i, frame in enumerate(combed.frames)) > 6  # the judge sees combs
    assert (reader.report.deinterlaced, reader.report.combed) == (0, 8)
    assert any("8 interlaced frames shown combed" in message for message in reader.report.messages)
    # The lines of the first field stay.
    assert np.abs(batch.frames[:, 8 + first : -8 : 2].astype(int) - combed.frames[:, 8 + first : -8 : 2]).mean() < 1.5


@pytest.mark.parametrize("start, end", [(0.04, None), (0.16, None), (0.2, 0.28), (0.0, 0.12)])
def test_where_reading_starts_and_ends_changes_no_deinterlaced_frame(
    tmp_path: Path, start: float, end: float | None
) -> None:
    path = make_interlaced(tmp_path / "a.mp4")
    whole = np.concatenate([batch.frames for batch in read(path)[0]])
    first, last = round(start * 25), 8 if end is None else round(end * 25)
    for batch_size in (1, 3):
        batches, _ = read(path, start_seconds=start, end_seconds=end, batch_size=batch_size)
        np.testing.assert_array_equal(np.concatenate([batch.frames for batch in batches]), whole[first:last])


def test_progressive_frames_between_interlaced_ones_are_untouched(tmp_path: Path) -> None:
    def progressive(i: int) -> RGB:
        return moving_bar(2 * i)

    parts = [
        make_interlaced(tmp_path / "0.ts", frames=4, marked=False, picture=progressive),
        make_interlaced(tmp_path / "1.ts", frames=4, pts=[14400 + 3600 * i for i in range(4)]),
        make_interlaced(
            tmp_path / "2.ts", frames=4, marked=False, picture=progressive, pts=[28800 + 3600 * i for i in range(4)]
        ),
    ]
    path = concatenate(parts, tmp_path / "a.ts")
    frames, reader = read(path, batch_size=12)
    plain, _ = read(path, batch_size=12, deinterlace="off")
    assert len(frames[0]) == 12
    assert reader.report.deinterlaced == 4
    np.testing.assert_array_equal(frames[0].pts_seconds, plain[0].pts_seconds)
    for i in (0, 1, 2, 3, 8, 9, 10, 11):
        np.testing.assert_array_equal(frames[0].frames[i], plain[0].frames[i])
    assert max(error(frames[0].frames[4 + i], 2 * i) for i in range(4)) < 3


def test_frames_that_are_not_marked_are_deinterlaced_if_asked(tmp_path: Path) -> None:
    # Without marks the upper field counts as the first.
    path = make_interlaced(tmp_path / "a.mp4", marked=False, picture=lambda i: woven(i, 0))
    assert read(path)[1].report.deinterlaced == 0
    (batch,), reader = read(path, deinterlace="bwdif")
    assert reader.report.deinterlaced == 8
    assert max(error(frame, 2 * i) for i, frame in enumerate(batch.frames)) < 3


def test_a_picture_that_changes_its_size_is_deinterlaced_on(tmp_path: Path) -> None:
    parts = [
        make_interlaced(tmp_path / "0.ts", frames=3),
        make_interlaced(
            tmp_path / "1.ts",
            frames=3,
            width=192,
            height=128,
            pts=[10800 + 3600 * i for i in range(3)],
            picture=lambda i: np.repeat(np.repeat(woven(i), 2, axis=0), 2, axis=1),
        ),
    ]
    batches, reader = read(concatenate(parts, tmp_path / "a.ts"))
    assert sum(map(len, batches)) == reader.report.deinterlaced == 6


def test_fields_that_are_coded_as_pictures_of_their_own_are_left_alone(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none:pools=1:interlace=tff"}
    path = make_video(tmp_path / "a.mp4", frames=4, codec="libx265", codec_options=options)
    with av.open(str(path)) as container:
        assert all(frame.interlaced_frame for frame in container.decode(video=0))  # so FFmpeg marks each field
    assert read(path)[1].report.deinterlaced == 0


def test_damage_after_interlaced_frames_costs_none_of_them(tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[av.VideoFrame, int]]:
        with av.open(str(make_interlaced(tmp_path / "a.mp4", frames=3))) as container:
            yield from ((frame, i) for i, frame in enumerate(container.decode(video=0)))
        raise DecodeError("the disk is gone")

    frames = Deinterlacer("auto", "h264").whole(failing())
    assert [next(frames).ticks for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DecodeError, match="disk"):
        next(frames)


def test_decord_does_not_show_combs_unless_asked(tmp_path: Path) -> None:
    pytest.importorskip("decord")
    path = make_interlaced(tmp_path / "a.mp4")
    with pytest.raises(DecodeError, match="interlaced"):
        read(path, decoder="decord")
    _, reader = read(path, decoder="decord", deinterlace="off")
    assert any("combed" in message for message in reader.report.messages)
    with pytest.raises(ConfigError, match="deinterlace=bwdif needs the pyav decoder"):
        DecodeOptions(decoder="decord", deinterlace="bwdif")
