"""Tables, maps and images: what is in the files, asked of other readers."""

from __future__ import annotations

import csv
import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from test_sinks import made_batch, made_info, names_in, random_batch

from vidsal.errors import EncodeError
from vidsal.frames import SaliencyBatch
from vidsal.render import RenderOptions
from vidsal.sinks import MAPS_FULL_SCALE, ImageSink, MapsSink, TableSink, VideoSink
from vidsal.sinks.image import _with_text


@dataclass(frozen=True)
class Row:
    number: int
    half: float
    odd: bool
    name: str | None


class Numbering:
    """Cheap columns, so that tables may be long."""

    row = Row

    def update(self, batch: SaliencyBatch) -> list[Row]:
        return [Row(int(i), i / 3, bool(i % 2), None if i % 2 else f"n{i}") for i in batch.index]


def table(path: Path, count: int, *, batch: int, first: int = 0) -> Path:
    with TableSink(path, Numbering()) as sink:
        for begin in range(first, first + count, batch):
            sink.write(random_batch(min(batch, first + count - begin), first=begin))
    return sink.path


def test_text_tables_write_truth_nothing_and_nine_digits(tmp_path: Path) -> None:
    expected = [["0", "0", "false", "n0"], ["1", "0.333333333", "true", ""], ["2", "0.666666667", "false", "n2"]]
    for name in ("t.csv", "t.CSV"):
        with table(tmp_path / name, 3, batch=2).open(newline="") as file:
            assert list(csv.reader(file)) == [["number", "half", "odd", "name"], *expected]
    for name in ("t.jsonl", "t.JSONL"):
        lines = [json.loads(line) for line in table(tmp_path / name, 3, batch=2).read_text().splitlines()]
        assert lines[1] == {"number": 1, "half": 1 / 3, "odd": True, "name": None}
        assert len(lines) == 3


def test_a_parquet_table_is_written_in_groups_of_rows_and_whole(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    source = Numbering()

    def many(count: int, first: int) -> SaliencyBatch:
        index = np.arange(first, first + count)
        flat = torch.zeros(1, 1, 1).expand(count, 1, 1)
        none = np.zeros(count, np.int64)
        return SaliencyBatch(index, index / 25, none, none.astype(bool), flat, height=9, width=16)

    for name in ("t.parquet", "t.PARQUET"):
        with TableSink(tmp_path / name, source) as sink:
            for begin in range(0, 12_000, 2_500):
                sink.write(many(min(2_500, 12_000 - begin), begin))
        file = parquet.ParquetFile(str(sink.path))
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        assert groups == [5_000, 5_000, 2_000]
        rows = file.read().to_pylist()
        assert [row["number"] for row in rows] == list(range(12_000))
        assert rows[7] == {"number": 7, "half": 7 / 3, "odd": True, "name": None}
        assert b"vidsal_run" not in file.metadata.metadata
        file.close()
    with TableSink(tmp_path / "full.parquet", source) as sink:
        sink.provenance = "made so"
        sink.write(many(5_000, 0))  # nothing is left for the end
    made = parquet.read_metadata(str(sink.path))
    assert (made.num_rows, made.metadata[b"vidsal_run"]) == (5_000, b"made so")


def test_what_json_has_no_word_for_is_an_error(tmp_path: Path) -> None:
    class Broken(Numbering):
        def update(self, batch: SaliencyBatch) -> list[Row]:
            return [Row(int(i), float("nan"), False, None) for i in batch.index]

    with pytest.raises(EncodeError, match=r"t\.partial\.jsonl"), TableSink(tmp_path / "t.jsonl", Broken()) as sink:
        sink.write(random_batch(1))
    assert names_in(tmp_path) == []


def timed(times: list[float]) -> SaliencyBatch:
    batch = random_batch(len(times))
    batch.pts_seconds[:] = times
    return batch


def test_maps_at_one_instant_come_one_millisecond_after_the_other(tmp_path: Path) -> None:
    with MapsSink(tmp_path / "maps.mkv") as sink:
        sink.write(timed([0.0, 0.0, 0.0004, 0.1, 0.05]))
        sink.write(timed([0.1005, 0.2, 9.0]))
    with av.open(str(sink.path)) as container:
        stream = container.streams.video[0]
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
        tags = {key.lower(): value for key, value in container.metadata.items()}
    assert times == [Fraction(ms, 1000) for ms in (0, 1, 2, 100, 101, 102, 200, 9000)]
    assert float(tags["vidsal_full_scale"]) == MAPS_FULL_SCALE == 256
    assert tags["vidsal_picture"] == "1280x720"


@pytest.mark.parametrize(
    ("rate", "written"),
    [
        (Fraction(50), 50),
        (Fraction(1, 2), 0.5),
        (Fraction(1000), 1000),
        (Fraction(1001), 25),
        (Fraction(0), 25),
        (None, 25),
    ],
)
def test_a_map_video_has_the_rate_of_its_source_if_there_can_be_such_a_one(
    tmp_path: Path, rate: Fraction | None, written: int
) -> None:
    with MapsSink(tmp_path / "maps.mkv", made_info(rate=rate)) as sink:
        sink.write(random_batch(2))
    with av.open(str(sink.path)) as container:
        assert container.streams.video[0].average_rate == written


def test_the_largest_value_of_a_map_video_is_not_counted_as_clipped(tmp_path: Path) -> None:
    # 1 cell of 16x16: its density is 256 times uniform, exactly the full scale.
    density = torch.zeros(2, 16, 16)
    density[:, 3, 5] = 1
    batch = SaliencyBatch(
        np.arange(2), np.arange(2) / 25, np.zeros(2, np.int64), np.zeros(2, np.bool_), density.log(), 9, 16
    )
    with MapsSink(tmp_path / "maps.MKV") as sink:
        sink.write(batch)
    assert sink.messages == []
    with av.open(str(sink.path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert [(int(frame.max()), int(frame.sum())) for frame in frames] == [(65535, 65535)] * 2


def test_cells_are_counted_over_all_batches_and_the_message_says_what_was_done(tmp_path: Path) -> None:
    sharp = [random_batch(2, first=0, sharpness=2000.0), random_batch(3, first=2, sharpness=2000.0)]
    above = sum(int((batch.density * 1200 > MAPS_FULL_SCALE).sum()) for batch in sharp)
    with MapsSink(tmp_path / "maps.mkv") as sink:
        for batch in sharp:
            sink.write(batch)
    assert sink.messages[0].split()[0] == str(above)


def test_arrays_larger_than_what_is_copied_at_once_are_whole(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.rand(3, 500, 600, generator=generator)
    maps = logits.flatten(1).log_softmax(1).reshape(logits.shape)
    batch = SaliencyBatch(
        np.arange(3), np.arange(3) / 25, np.zeros(3, np.int64), np.zeros(3, np.bool_), maps, height=9, width=16
    )
    with MapsSink(tmp_path / "maps.npz") as sink:
        sink.write(batch)
    with np.load(sink.path) as arrays:
        np.testing.assert_array_equal(arrays["log_density"], maps.numpy().astype(np.float16))
    assert names_in(tmp_path) == ["maps.npz"]


def test_arrays_of_a_run_that_failed_leave_no_raw_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="elsewhere"), MapsSink(tmp_path / "maps.npz") as sink:
        sink.write(random_batch(2))
        raise RuntimeError("elsewhere")
    assert names_in(tmp_path) == ["maps.partial.npz"]
    with np.load(sink.partial_path) as arrays:
        assert len(arrays["log_density"]) == 2


@pytest.mark.parametrize("text", ["", "made so"])
def test_maps_keep_how_they_came_about(tmp_path: Path, text: str) -> None:
    found: dict[str, Any] = {}
    for name in ("maps.mkv", "maps.npz"):
        with MapsSink(tmp_path / name) as sink:
            sink.provenance = text
            sink.write(made_batch([0.0]))
    with av.open(str(tmp_path / "maps.mkv")) as container:
        found["mkv"] = {key.lower(): value for key, value in container.metadata.items()}
    with np.load(tmp_path / "maps.npz") as arrays:
        found["npz"] = {name: str(arrays[name]) for name in arrays}
    assert [tags.get("vidsal_run") for tags in found.values()] == [text or None] * 2


def test_the_source_of_maps_and_of_an_image_is_never_replaced(tmp_path: Path) -> None:
    for name, sink in (("a.mkv", MapsSink), ("a.png", ImageSink)):
        source = tmp_path / name
        source.write_bytes(b"precious")
        with pytest.raises(EncodeError, match="the source itself"):
            if sink is MapsSink:
                MapsSink(source, made_info(path=source), overwrite=True)
            else:
                ImageSink(source, overwrite=True, source=source)
        assert source.read_bytes() == b"precious"


def read_rgb(path: Path) -> npt.NDArray[np.int64]:
    return cv2.imread(str(path))[:, :, ::-1].astype(int)


@pytest.mark.parametrize("name", ["out.jpg", "out.jpeg", "out.JPG", "out.PNG"])
def test_an_image_may_have_any_of_the_known_endings(tmp_path: Path, name: str) -> None:
    with ImageSink(tmp_path / name, render=RenderOptions(opacity=0)) as sink:
        sink.write(made_batch([0.0]))
    assert np.abs(read_rgb(sink.path) - 90).max() < 4
    kind = "JPEG" if "j" in name.lower() else "PNG"
    assert sink.path.read_bytes().startswith(b"\xff\xd8" if kind == "JPEG" else b"\x89PNG")


def test_an_image_takes_one_picture_and_needs_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one frame"), ImageSink(tmp_path / "a.png") as sink:
        sink.write(made_batch([0.0]))
        sink.write(made_batch([0.1]))
    with pytest.raises(ValueError, match="keep_pictures"), ImageSink(tmp_path / "b.png") as sink:
        sink.write(random_batch(1))
    assert names_in(tmp_path) == ["a.partial.png"]


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: TableSink(folder / "a.csv"),
        lambda folder: MapsSink(folder / "a.mkv"),
        lambda folder: MapsSink(folder / "a.npz"),
        lambda folder: ImageSink(folder / "a.png"),
        lambda folder: VideoSink(folder / "a.mp4", made_info()),
    ],
)
def test_after_an_error_of_the_disk_nothing_more_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Any]
) -> None:
    sink = make(tmp_path)
    with pytest.raises(EncodeError, match="written earlier"), sink:
        with pytest.raises(EncodeError, match=r"a\.partial\."), sink._telling():
            raise OSError(5, "Input/output error")
        sink.write(made_batch([0.0]))
    assert names_in(tmp_path) == []


def test_a_target_that_cannot_be_a_file_is_refused_for_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    for name, said in (
        ("pipe.csv", "a device or a pipe"),
        ("folder.csv", "a folder"),
        ("file/out.csv", "file is not a folder"),
        ("missing/out.csv", "missing does not exist"),
    ):
        with pytest.raises(EncodeError, match=said):
            TableSink(tmp_path / name, overwrite=True)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK | os.X_OK)
    with pytest.raises(EncodeError, match="no permission to write"):
        TableSink(tmp_path / "out.csv")


def test_a_source_that_is_gone_does_not_keep_a_target_from_being_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    with ImageSink(target, overwrite=True, source=tmp_path / "gone.png") as sink:
        sink.write(made_batch([0.0]))
    assert read_rgb(target).shape == (48, 64, 3)


def test_another_file_is_not_the_source_and_the_source_under_another_name_is(tmp_path: Path) -> None:
    source, other = tmp_path / "in.png", tmp_path / "other.png"
    source.write_bytes(b"precious")
    other.write_bytes(b"old")
    ImageSink(other, overwrite=True, source=source)
    (tmp_path / "link.png").symlink_to(source)
    with pytest.raises(EncodeError, match="the source itself"):
        ImageSink(tmp_path / "link.png", overwrite=True, source=source)
    with pytest.raises(EncodeError, match="exists already"):
        ImageSink(other, source=source)


def parts_of(content: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of the chunks of a PNG, or of the segments of a JPEG before its coded pixels."""
    parts, at = [], 8 if content.startswith(b"\x89PNG") else 2
    while at < len(content) and not (parts and parts[-1][0] == b"\xff\xda"):
        if content.startswith(b"\x89PNG"):
            (size,), kind, body = struct.unpack_from(">I", content, at), content[at + 4 : at + 8], at + 8
            assert zlib.crc32(content[at + 4 : body + size]) == struct.unpack_from(">I", content, body + size)[0]
            following = body + size + 4
        else:
            kind, body = content[at : at + 2], at + 4
            size = struct.unpack_from(">H", content, at + 2)[0] - 2
            following = body + size
        parts.append((kind, content[body : body + size]))
        at = following
    return parts


@pytest.mark.parametrize("name", ["a.PNG", "a.jpg"])
def test_how_an_image_came_about_stands_where_no_viewer_shows_it(tmp_path: Path, name: str) -> None:
    contents = []
    for text in ("", "made s\N{LATIN SMALL LETTER O WITH DIAERESIS}", "long" * 20_000):
        with ImageSink(tmp_path / name, overwrite=True) as sink:
            sink.provenance = text
            sink.write(made_batch([0.0]))
        contents.append(sink.path.read_bytes())
    plain, short, long = (parts_of(content) for content in contents)
    text = "made s\N{LATIN SMALL LETTER O WITH DIAERESIS}".encode()
    if name == "a.PNG":
        # No compression, no language, no translated name.
        added = (b"iTXt", b"vidsal_run" + bytes(5) + text)
        assert len(long[1][1]) == 80_015
    else:
        added = (b"\xff\xfe", b"vidsal_run " + text)
        # All that the 2 bytes of a segment's size can say.
        assert len(long[1][1]) == 65_533
    assert short == [plain[0], added, *plain[1:]]
    assert [long[0], *long[2:]] == plain


@pytest.mark.parametrize("first", [b"", b"\xff\xe0\1\2" + bytes(256)], ids=["none", "jfif"])
def test_a_comment_comes_first_in_a_jpeg_but_for_the_segment_of_jfif(first: bytes) -> None:
    start, rest, comment = b"\xff\xd8" + first, b"\xff\xdb\0\2", b"\xff\xfe\0\x0evidsal_run x"
    assert _with_text(start + rest, "x", png=False) == start + comment + rest


def test_a_picture_that_cannot_be_encoded_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, np.zeros(0, np.uint8)))
    with pytest.raises(EncodeError, match=r"64x48 picture as \.jpg"), ImageSink(tmp_path / "out.jpg") as sink:
        sink.write(made_batch([0.0]))
    assert names_in(tmp_path) == []


def test_a_cell_just_above_the_scale_is_counted_and_written_as_the_highest_value(tmp_path: Path) -> None:
    density = torch.full((1, 20, 20), (1 - 256.003 / 400) / 399)
    density[0, 3, 5] = 256.003 / 400  # of 256 at most, by the 400 cells
    none = np.zeros(1, np.int64)
    batch = SaliencyBatch(none, np.zeros(1), none, none.astype(bool), density.log(), height=9, width=16)
    with MapsSink(tmp_path / "maps.mkv") as sink:
        sink.write(batch)
    assert sink.messages[0].startswith("1 cells")
    with av.open(str(sink.path)) as container:
        assert container.streams.video[0].codec_context.color_range == 2  # full
        assert next(container.decode(video=0)).to_ndarray().max() == 65535
    with MapsSink(tmp_path / "maps.npz") as arrays:
        arrays.write(batch)
    assert arrays.messages == []


def test_what_is_there_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    for name, sink in (("a.csv", TableSink), ("a.mkv", MapsSink), ("a.npz", MapsSink), ("a.png", ImageSink)):
        (tmp_path / name).write_bytes(b"precious")
        with pytest.raises(EncodeError, match="exists already"):
            sink(tmp_path / name)
        assert sink(tmp_path / name, overwrite=True).path == tmp_path / name
