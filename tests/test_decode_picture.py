"""The right picture: upright, whole, of the stream that was meant, without combs, and no larger than allowed."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from media import add_cover, concatenate, join_programmes, make_audio, make_video, set_display_matrix, stream_packets
from PIL import Image

from vidsal.decode import DecodeOptions, DecodeReport, Reader, open_video
from vidsal.decode.deinterlace import Deinterlacer
from vidsal.decode.orientation import Orientation, orientation_of
from vidsal.decode.transparency import on_white
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
    path = set_display_matrix(path, matrix)
    batches, reader = read(path, decoder=decoder, size=lambda h, w: (h // 2, w // 2), pictures=True)
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


def test_the_sound_of_a_radio_programme_beside_is_not_copied(tmp_path: Path) -> None:
    ids = {"mpegts_start_pid": "512", "mpegts_pmt_start_pid": "4100", "mpegts_service_id": "7"}
    film = make_video(tmp_path / "film.ts", frames=10, audio_tracks=1)
    radio = make_audio(tmp_path / "radio.ts", seconds=0.4, container_options=ids)
    _, reader = read(join_programmes([film, radio], tmp_path / "a.ts"))
    assert reader.info.other_programmes == (2,)
    assert reader.report.messages == []
    assert read(film)[1].info.other_programmes == ()


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


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_deinterlaced_frame_lasts_as_long_as_it_did_in_any_clock(tmp_path: Path, name: str) -> None:
    path = make_interlaced(tmp_path / name, bframes=2)
    lasting = {
        mode: [
            picture.duration * picture.time_base
            for batch in read(path, pictures=True, deinterlace=mode)[0]
            for picture in batch.pictures
        ]
        for mode in ("off", "auto", "bwdif")
    }
    assert lasting["off"] == lasting["auto"] == lasting["bwdif"] == 8 * [Fraction(1, 25)]


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
        make_interlaced(
            tmp_path / f"{part}.ts",
            frames=4,
            marked=part % 2 == 1,
            picture=woven if part % 2 else progressive,
            pts=[14400 * part + 3600 * i for i in range(4)],
        )
        for part in range(4)
    ]
    path = concatenate(parts, tmp_path / "a.ts")
    ((batch,), reader), ((plain,), _) = read(path, batch_size=16), read(path, batch_size=16, deinterlace="off")
    assert reader.report.deinterlaced == 8
    np.testing.assert_array_equal(batch.pts_seconds, plain.pts_seconds)
    for i in range(16):
        if i // 4 % 2 == 0:
            np.testing.assert_array_equal(batch.frames[i], plain.frames[i])
        else:
            assert error(batch.frames[i], 2 * (i % 4)) < 3
    (later,), _ = read(path, batch_size=16, start_seconds=8 / 25)
    np.testing.assert_array_equal(later.frames, batch.frames[8:])


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
    _, reader = read(path)
    assert reader.report.deinterlaced == 0
    assert any("single fields" in message for message in reader.report.messages)


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


# Image files of several pictures


def colour(i: int, *, width: int = 32, height: int = 24) -> RGB:
    return np.full((height, width, 3), (40 * i, 255 - 40 * i, 100), np.uint8)


def save_animation(path: Path, durations: list[int], **options: Any) -> Path:
    first, *others = [Image.fromarray(colour(i)) for i in range(len(durations))]
    first.save(path, save_all=True, append_images=others, duration=durations, **options)
    return path


@pytest.mark.parametrize(
    "name, options", [("a.webp", {"lossless": True}), ("a.png", {}), ("a.gif", {}), ("a.avif", {})]
)
def test_an_animation_is_a_video_with_its_own_times(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path = save_animation(tmp_path / name, [40, 40, 200, 120], **options)
    batches, reader = read(path, batch_size=3, pictures=True)
    frames = np.concatenate([batch.frames for batch in batches])
    assert np.concatenate([batch.pts_seconds for batch in batches]) == pytest.approx([0, 0.04, 0.08, 0.28])
    for i, frame in enumerate(frames):
        assert np.abs(frame.astype(int) - colour(i)).max() <= (0 if name != "a.avif" else 4)
    assert reader.info.kind == ("video" if name == "a.gif" else "animation")
    assert reader.report.messages == []
    later, _ = read(path, start_seconds=0.08)
    np.testing.assert_array_equal(np.concatenate([batch.frames for batch in later]), frames[2:])


def logo(name: str) -> tuple[Image.Image, RGB]:
    """A picture with transparent and half transparent parts on black, and what it is on white."""
    rgba = np.zeros((24, 32, 4), np.uint8)
    rgba[8:16, 8:16] = (200, 10, 0, 255)
    rgba[:4, :4, 3] = 128
    shown = np.full((24, 32, 3), 255, np.uint8)
    shown[8:16, 8:16] = (200, 10, 0)
    shown[:4, :4] = 127
    image = Image.fromarray(rgba)
    if "palette" in name or name.endswith(".gif"):
        shown[:4, :4] = 255
        rgba[:4, :4, 3] = 0
        image = Image.fromarray(rgba).quantize(8) if "palette" in name else Image.fromarray(rgba)
    elif "grey" in name:
        image, shown = image.convert("LA"), np.asarray(Image.fromarray(shown).convert("L").convert("RGB"))
    return image, shown


@pytest.mark.parametrize(
    "name",
    ["a.png", "palette.png", "grey.png", "a.webp", "a.tif", "a.avif", "moving.gif", "moving.png", "moving.webp"],
)
def test_transparent_parts_are_on_white(tmp_path: Path, name: str) -> None:
    image, shown = logo(name)
    options: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4"} if name == "a.avif" else {}
    if name.endswith(".webp"):
        options = {"lossless": True}
    others: list[Image.Image] = []
    if name.startswith("moving"):
        others = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
        options |= {"save_all": True, "append_images": others, "duration": 40, "disposal": 2}
    image.save(tmp_path / name, **options)
    (batch,), reader = read(tmp_path / name, pictures=True)
    for i, expected in enumerate((shown, shown[:, ::-1])[: 1 + len(others)]):
        for seen in (batch.frames[i], batch.pictures[i].rgb()):
            assert np.abs(seen.astype(int) - expected).max() <= (6 if name == "a.avif" else 1)
    assert reader.report.messages == []


@pytest.mark.parametrize("orientation", [1, 6])
def test_opaque_pixels_of_a_transparent_picture_keep_their_values_and_place(tmp_path: Path, orientation: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    alpha = np.full((24, 32, 1), 255, np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = rgb if orientation == 1 else np.rot90(rgb, -1)
    for hole in (False, True):
        alpha[3, 5] = 0 if hole else 255
        Image.fromarray(np.concatenate([rgb, alpha], 2)).save(tmp_path / "a.png", exif=exif)
        (batch,), _ = read(tmp_path / "a.png")
        differs = (batch.frames[0] != upright).any(axis=2)
        assert differs.sum() == hole


def test_16_bits_on_white_keep_what_is_opaque() -> None:
    rgba = np.array([[[1, 2, 65535, 65535], [9, 9, 9, 0], [0, 0, 0, 32768]]], np.uint16)
    assert on_white(rgba).tolist() == [[[1, 2, 65535], [65535] * 3, [32767] * 3]]


def test_the_alpha_of_an_animated_avif_is_not_taken_for_the_picture(tmp_path: Path) -> None:
    frames = []
    for i in range(2):
        image = Image.fromarray(colour(i))
        image.putalpha(Image.fromarray(np.full((24, 32), 90 + i, np.uint8)))
        frames.append(image)
    frames[0].save(tmp_path / "a.avif", save_all=True, append_images=frames[1:], duration=40)
    (batch,), reader = read(tmp_path / "a.avif")
    assert np.abs(batch.frames[1].astype(int) - colour(1)).max() <= 6
    assert any("transparency" in message for message in reader.report.messages)


def test_an_animated_webp_keeps_exact_times_and_knows_its_length(tmp_path: Path) -> None:
    path = save_animation(tmp_path / "a.webp", [40, 5, 200], lossless=True)
    with open_video(path, keep_pictures=True) as reader:
        (batch,) = reader
    assert [picture.pts for picture in batch.pictures] == [0, 40, 140]
    assert (reader.info.frame_count, reader.info.duration_seconds) == (3, 0.34)
    assert reader.info.time_base == Fraction(1, 1000)
    assert reader.info.rate == Fraction(3, 1) / Fraction(34, 100)
    assert any("browsers" in message for message in reader.report.messages)
    np.testing.assert_array_equal(batch.pictures[1].rgb(), colour(1))


def test_an_animated_webp_with_damage_gives_the_pictures_before_and_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)) for _ in range(4)]
    path = tmp_path / "a.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40, lossless=True)
    data = bytearray(path.read_bytes())
    third = [place for place in range(len(data)) if data[place : place + 4] == b"ANMF"][2]
    data[third + 40 : third + 200] = bytes(160)
    path.write_bytes(data)
    batches, reader = read(path)
    np.testing.assert_array_equal(batches[0].frames, [np.asarray(picture) for picture in pictures[:2]])
    assert (reader.report.truncated, reader.report.missing_seconds) == (True, pytest.approx(0.08))
    assert reader.report.messages == ["the last 2 of 4 pictures cannot be decoded"]
    with pytest.raises(DecodeError, match="the last 2 of 4 pictures"):
        read(path, strict=True)
    path.write_bytes(data[: third + 100])
    with pytest.raises(DecodeError, match=r"a.webp cannot be read as an image"):
        read(path)


def test_the_pages_of_a_tiff_are_pictures_in_order(tmp_path: Path) -> None:
    pages = [Image.fromarray(colour(i, width=32 + 8 * (i == 2))) for i in range(4)]
    small = Image.fromarray(colour(5, width=8, height=6))
    small.encoderinfo = {"tiffinfo": {254: 1}}  # a preview, as cameras keep beside the picture
    path = tmp_path / "a.tif"
    pages[0].save(path, save_all=True, append_images=[pages[1], small, *pages[2:]])
    batches, reader = read(path, pictures=True)
    frames = np.concatenate([batch.frames for batch in batches])
    assert reader.info.kind == "images"
    assert reader.info.frame_count == len(frames) == 4
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame, colour(i))
    np.testing.assert_allclose(batches[0].pts_seconds, np.arange(4) / 25)
    assert any("4 pages" in message for message in reader.report.messages)


def test_a_tiff_of_one_page_stays_an_image(tmp_path: Path) -> None:
    Image.fromarray(colour(1)).save(tmp_path / "a.tif")
    _, reader = read(tmp_path / "a.tif")
    assert (reader.info.kind, reader.report.messages) == ("image", [])


def test_a_folder_takes_the_first_picture_of_each_file_and_says_so(tmp_path: Path) -> None:
    Image.fromarray(colour(0)).save(tmp_path / "0.png")
    save_animation(tmp_path / "1.webp", [40, 40], lossless=True)
    Image.fromarray(colour(2)).save(tmp_path / "2.avif", quality=100, subsampling="4:4:4")
    (batch,), reader = read(tmp_path)
    for i, expected in enumerate((0, 0, 2)):
        assert np.abs(batch.frames[i].astype(int) - colour(expected)).max() < 4
    assert reader.report.messages == ["of each file with several pictures the first is read: 1"]


def test_nothing_is_copied_out_of_an_animation(tmp_path: Path) -> None:
    path = save_animation(tmp_path / "a.avif", [40, 40])
    with open_video(path, keep_pictures=True) as reader, VideoSink(tmp_path / "out.mkv", reader.info) as sink:
        for batch in reader:
            sink.write(flat_density(batch))
    with av.open(str(tmp_path / "out.mkv")) as written:
        assert [stream.type for stream in written.streams] == ["video"]


# Pictures in tiles


def box(kind: bytes, *parts: bytes, version: int | None = None) -> bytes:
    """A box of an ISO file; with a version it is a full one."""
    body = (b"" if version is None else struct.pack(">I", version << 24)) + b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def make_tiled(path: Path, codec: str) -> RGB:
    """Writes a picture of 128x64 as two tiles of 64x64 side by side, as phones do; returns the picture."""
    drawn = four_colors(128, 64)
    tiles, config = [], b""
    for part in range(2):
        tile = make_video(
            path.with_suffix(f".{part}.mp4"),
            frames=1,
            width=64,
            height=64,
            codec=codec,
            color_range=2,
            matrix=6,
            picture=lambda i, part=part: drawn[:, 64 * part : 64 * part + 64],  # type: ignore[misc]
        )
        tiles.append(stream_packets(tile)[0].data)
        with av.open(str(tile)) as container:
            config = bytes(container.streams.video[0].codec_context.extradata or b"")
    kind, brand, property_kind = (b"hvc1", b"heic", b"hvcC") if codec == "libx265" else (b"av01", b"avif", b"av1C")
    grid = struct.pack(">BBBBHH", 0, 0, 0, 1, 128, 64)  # one row, two columns
    names = [(1, b"grid"), (2, kind), (3, kind)]
    infos = [box(b"infe", struct.pack(">HH4sB", number, 0, name, 0), version=2) for number, name in names]
    sizes = [box(b"ispe", struct.pack(">II", *size), version=0) for size in ((128, 64), (64, 64))]
    nclx = box(b"colr", b"nclx", struct.pack(">HHHB", 2, 2, 6, 0x80))
    depth = box(b"pixi", bytes([3, 8, 8, 8]), version=0)
    properties = box(b"ipco", *sizes, box(property_kind, config), nclx, depth)
    uses = [(1, (1, 4, 5)), (2, (2, 0x83, 4, 5)), (3, (2, 0x83, 4, 5))]
    links = b"".join(struct.pack(">HB", number, len(of)) + bytes(of) for number, of in uses)

    def meta(first: int) -> bytes:
        places, begin = b"", first
        for number, data in enumerate((grid, *tiles), start=1):
            places += struct.pack(">HHHII", number, 0, 1, begin, len(data))
            begin += len(data)
        return box(
            b"meta",
            box(b"hdlr", bytes(4), b"pict", bytes(13), version=0),
            box(b"pitm", struct.pack(">H", 1), version=0),
            box(b"iloc", bytes([0x44, 0]), struct.pack(">H", 3), places, version=0),
            box(b"iinf", struct.pack(">H", 3), *infos, version=0),
            box(b"iref", box(b"dimg", struct.pack(">HHHH", 1, 2, 2, 3)), version=0),
            box(b"iprp", properties, box(b"ipma", struct.pack(">I", 3), links, version=0)),
            version=0,
        )

    head = box(b"ftyp", brand, bytes(4), b"mif1", brand, b"miaf")
    first = len(head) + len(meta(0)) + 8
    path.write_bytes(head + meta(first) + box(b"mdat", grid, *tiles))
    return drawn


def test_the_tiles_of_an_avif_are_put_together(tmp_path: Path) -> None:
    drawn = make_tiled(tmp_path / "a.avif", "libsvtav1")
    (batch,), reader = read(tmp_path / "a.avif")
    assert batch.frames.shape == (1, 64, 128, 3)
    assert np.abs(quarters(batch.frames[0]) - quarters(drawn)).max() < 12
    assert reader.info.kind == "image"


@pytest.mark.parametrize("name", ["a.heic", "a.jpg", "a.mp4"])
def test_one_tile_of_a_heic_is_never_taken_for_the_picture(tmp_path: Path, name: str) -> None:
    drawn = make_tiled(tmp_path / name, "libx265")
    if name != "a.mp4" and importlib.util.find_spec("pillow_heif") is not None:
        (batch,), _ = read(tmp_path / name)
        assert np.abs(quarters(batch.frames[0]) - quarters(drawn)).max() < 12
    else:
        with pytest.raises(DecodeError, match=r"2 tiles, .* install pillow-heif"):
            read(tmp_path / name)


# Too many pixels


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "a.webp", "a.avif", "a.gif", "a.mp4", "a.mkv"])
def test_a_picture_of_too_many_pixels_is_refused(tmp_path: Path, name: str) -> None:
    if name in ("a.mp4", "a.mkv"):
        make_video(tmp_path / name, frames=1, width=64, height=48)
    else:
        Image.fromarray(colour(1, width=64, height=48)).save(tmp_path / name)
    with pytest.raises(DecodeError, match=r"64x48 pixels is larger than max_pixels=3071") as caught:
        read(tmp_path / name, max_pixels=3071)
    assert caught.value.option == "max_pixels"
    assert sum(map(len, read(tmp_path / name, max_pixels=3072)[0])) == 1


@pytest.mark.parametrize("decoder", ["decord", "opencv"])
def test_the_other_decoders_refuse_it_too(tmp_path: Path, decoder: str) -> None:
    pytest.importorskip("decord" if decoder == "decord" else "cv2")
    path = make_video(tmp_path / "a.mp4", frames=1)
    with pytest.raises(DecodeError, match="max_pixels=3071"):
        read(path, decoder=decoder, max_pixels=3071)


def test_a_too_large_picture_of_a_folder_is_skipped_unless_it_is_the_first(tmp_path: Path) -> None:
    for i, width in enumerate((32, 64, 32)):
        Image.fromarray(colour(i, width=width)).save(tmp_path / f"{i}.png")
    (batch,), reader = read(tmp_path, max_pixels=1000)
    np.testing.assert_array_equal(batch.frames[:, 0, 0], [colour(i)[0, 0] for i in (0, 2)])
    assert reader.report.skipped_corrupt == 1
    assert any("1.png" in message and "max_pixels=1000" in message for message in reader.report.messages)
    with pytest.raises(DecodeError, match="max_pixels"):
        read(tmp_path, max_pixels=1000, strict=True)
    (tmp_path / "0.png").unlink()
    with pytest.raises(DecodeError, match="64x24 pixels is larger than max_pixels=1000"):
        read(tmp_path, max_pixels=1000)


def test_what_is_not_read_in_a_folder_is_named(tmp_path: Path) -> None:
    for name in ("0.png", "a.gif", "b.GIF"):
        Image.fromarray(colour(0)).save(tmp_path / name)
    for name in ("c.mp4", "d.mkv", "0.vidsal.mp4", "notes.txt", ".e.mp4"):
        (tmp_path / name).touch()
    _, reader = read(tmp_path)
    (message,) = reader.report.messages
    assert "not read in a folder: 4 (a.gif, b.GIF, c.mp4, ...)" in message


@pytest.mark.parametrize("kind", ["pages", "animation"])
def test_the_largest_picture_of_a_file_counts(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.tif" if kind == "pages" else "a.webp")
    pages = [Image.fromarray(colour(i, width=32 + 32 * (i == 1 and kind == "pages"))) for i in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    most = 64 * 24 if kind == "pages" else 32 * 24
    assert sum(map(len, read(path, max_pixels=most)[0])) == 3
    with pytest.raises(DecodeError, match="max_pixels"):
        read(path, max_pixels=most - 1)


def test_a_video_that_grows_too_large_ends_after_the_frames_before(tmp_path: Path) -> None:
    # FFmpeg looks five seconds ahead for the size that it promises.
    times = [3600 * i for i in range(203)]
    small = make_video(tmp_path / "0.ts", frames=200, pts=times[:200])
    large = make_video(tmp_path / "1.ts", frames=3, width=128, height=96, pts=times[200:])
    with open_video(
        concatenate([small, large], tmp_path / "a.ts"), options=DecodeOptions(max_pixels=4000, batch_size=256)
    ) as reader:
        batches = iter(reader)
        assert len(next(batches)) == 200
        with pytest.raises(DecodeError, match=r"128x96 .*max_pixels=4000"):
            next(batches)


@pytest.mark.parametrize(
    "name, message",
    [("a.png", "60000x60000.*max_pixels"), ("a.bmp", "60000x60000.*max_pixels"), ("a.gif", "not one frame")],
)
def test_a_bomb_is_refused_without_being_decoded(tmp_path: Path, name: str, message: str) -> None:
    # A header that promises 60000x60000 pixels; the file is tiny.
    path = tmp_path / name
    Image.fromarray(colour(1)).save(path)
    data = bytearray(path.read_bytes())
    if name == "a.png":
        data[16:24] = struct.pack(">II", 60000, 60000)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif name == "a.gif":
        data[6:10] = struct.pack("<HH", 60000, 60000)
    else:
        data[18:26] = struct.pack("<ii", 60000, 60000)
    path.write_bytes(data)
    with pytest.raises(DecodeError, match=message):
        read(path)


def test_a_chunk_that_promises_too_much_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(colour(1)).save(path)
    data = bytearray(path.read_bytes())
    data[33] = 0xC0  # the pixels' chunk is 3 GB long
    path.write_bytes(data)
    before = resident_peak()
    with pytest.raises(DecodeError, match="cannot be read as an image"):
        read(path)
    assert resident_peak() - before < 2**30


def resident_peak() -> int:
    """Bytes that this process has held at most so far."""
    resource = pytest.importorskip("resource")
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024
