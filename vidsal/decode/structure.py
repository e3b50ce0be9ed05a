"""A file in, what is broken in its own structure out.

It ends before it says, or a piece is not where the one before says.

FFmpeg goes on reading where it finds the next sound piece, and tells only its log, which cannot be listened to: the
log takes Python's lock from the decoder's threads, and closing a decoder waits for them.
Only the headers of the pieces are read.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

__all__ = ["Fault", "faults_of"]


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a file."""

    text: str
    """What is wrong, as the end of a sentence about the file."""
    short: bool = False
    """True where the file ends too early; False where it is broken on the way."""


def faults_of(path: Path) -> list[Fault]:
    """What is broken in the structure of a file.

    Knows mp4 and mov, Matroska and WebM, AVI and WebP, MXF, MPEG transport streams, FLV, Ogg, ASF (WMV), YUV4MPEG2,
    raw DV, IVF, GIF, PNG, JPEG, BMP and TIFF; of any other file nothing is said, nor of one that cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(1024)
            file.seek(0)
            walk = _walk_of(head)
            return [] if walk is None else list(walk(file, size))
    except OSError:
        return []


_Walk = Callable[[BinaryIO, int], Iterator[Fault]]


def _walk_of(head: bytes) -> _Walk | None:
    if _sync_of(head) is not None:
        return _walk_transport_stream
    if head[4:8] in (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"moof"):
        return _walk_boxes
    if head[:3] == _DV_HEAD and head[3:4] in (b"\x3f", b"\xbf"):
        return _walk_dv
    for begin, walk in (
        (b"\x1a\x45\xdf\xa3", _walk_matroska),
        (b"RIFF", _walk_riff),
        (_KLV, _walk_mxf),
        (b"FLV\x01", _walk_flv),
        (b"OggS", _walk_ogg),
        (_ASF_HEADER, _walk_asf),
        (b"YUV4MPEG2 ", _walk_y4m),
        (b"DKIF", _walk_ivf),
        (b"GIF8", _walk_gif),
        (b"\x89PNG\r\n\x1a\n", _walk_png),
        (b"\xff\xd8\xff", _walk_jpeg),
        (b"BM", _walk_bmp),
        (b"II*\0", _walk_tiff),
        (b"MM\0*", _walk_tiff),
    ):
        if head.startswith(begin):
            return walk
    return None


def _cut(what: str, promised: int, size: int) -> Fault:
    return Fault(f"{what} should end at byte {promised}, the file ends at {size}", short=True)


def _broken(what: str, at: int) -> Fault:
    return Fault(f"its {what} structure is broken at byte {at}")


# ISO base media: mp4, mov


def _walk_boxes(file: BinaryIO, size: int) -> Iterator[Fault]:
    at, fragmented, described = 0, False, False
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0 and kind == b"mdat":
            length = size - at
        if length < 8 or not kind.isalnum():
            if fragmented and any(head):
                yield _broken("mp4", at)
            return  # what writers leave at the end of other files is no damage
        if at + length > size:
            yield _cut(f"its box {kind.decode('latin-1')!r}", at + length, size)
            return
        if fragmented and kind == b"mdat" and not described:
            yield Fault(f"the description (moof) of the pictures at byte {at} is missing")
        file.seek(at)
        if kind == b"moov" and _lacks_time_scale(file.read(min(length, _MOOV_CHECKED))):
            yield Fault("its times have no unit (time scale)")
        fragmented |= kind == b"moof"
        described = kind == b"moof" or (described and kind != b"mdat")
        at += length
    if fragmented and at < size:
        yield _cut("a box of it", at + 8, size)


_MOOV_CHECKED = 64 * 1024 * 1024
"""Bytes of a header that are looked into."""


def _lacks_time_scale(header: bytes) -> bool:
    """Whether times of the film or a track have no unit: FFmpeg takes one, and an edit list then hides too much."""
    if header.count(b"tkhd") > header.count(b"mdhd"):
        return True
    for name in (b"mvhd", b"mdhd"):
        at = header.find(name)
        while at >= 0:
            scale = at + (24 if header[at + 4 : at + 5] == b"\1" else 16)
            if header[scale : scale + 4] == bytes(4):
                return True
            at = header.find(name, at + 4)
    return False


# Matroska, WebM

_MASTERS = frozenset({0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1F43B675, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367})
_SEGMENT, _CLUSTER, _EBML = 0x18538067, 0x1F43B675, 0x1A45DFA3
_IN_CLUSTER = frozenset({0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF})
_EBML_HEAD = 12
"""Most bytes of the number and the size of an element."""
_ANYWHERE = frozenset({0xEC, 0xBF})


def _element(file: BinaryIO, at: int) -> tuple[int, int | None, int] | None:
    """Number, size (None: unknown) and place of the content of the EBML element at a place."""
    file.seek(at)
    head = file.read(_EBML_HEAD)
    if not head or head[0] < 0x10:
        return None
    width = 9 - head[0].bit_length()
    rest = head[width:]
    if not rest or rest[0] == 0:
        return None
    size_width = 9 - rest[0].bit_length()
    if len(rest) < size_width:
        return None
    value = int.from_bytes(rest[:size_width], "big") & (1 << 7 * size_width) - 1
    unknown = value == (1 << 7 * size_width) - 1
    return int.from_bytes(head[:width], "big"), None if unknown else value, at + width + size_width


def _walk_matroska(file: BinaryIO, size: int) -> Iterator[Fault]:
    header = _element(file, 0)
    if header is None or header[1] is None:
        return
    segment = _element(file, header[2] + header[1])
    if segment is None or segment[0] != _SEGMENT:
        yield _broken("Matroska", header[2] + (header[1] or 0))
        return
    _, length, at = segment
    end = size if length is None else at + length
    if end > size:
        yield _cut("its Matroska segment", end, size)
    while at < min(end, size):
        found = _element(file, at)
        if found is None and size - at < _EBML_HEAD:
            yield _cut("an element of it", at + _EBML_HEAD, size)
            return
        if found is None or found[0] not in _MASTERS | _ANYWHERE:
            if found is None or found[0] != _EBML:  # a second file after the first is none of its own
                yield _broken("Matroska", at)
            return
        number, length, content = found
        stop = content + length if length is not None else None
        if stop is not None and stop > end:
            if length is not None and end == size:
                yield _cut("a part of it", stop, size)
            else:
                yield _broken("Matroska", at)
            return
        if number == _CLUSTER:
            at = content
            while at < (min(size, end) if stop is None else min(stop, size)):
                child = _element(file, at)
                if child is not None and stop is None and child[0] in _MASTERS:
                    break
                if child is None and size - at < _EBML_HEAD:
                    yield _cut("an element of it", at + _EBML_HEAD, size)
                    return
                if child is None or child[1] is None or child[0] not in _IN_CLUSTER | _ANYWHERE:
                    yield _broken("Matroska", at)
                    return
                after = child[2] + child[1]
                if after > (end if stop is None else stop):
                    yield _cut("a block of it", after, size) if after > size else _broken("Matroska", at)
                    return
                at = after
        elif stop is None:
            return
        else:
            at = stop


# RIFF: AVI, WebP

_UNFINISHED = frozenset({0, 0xFFFFFFFF})
"""Sizes in the header of a recording whose writer did not come to the end, or cannot go back."""


_AVI_HAS_INDEX = 0x10


def _walk_riff(file: BinaryIO, size: int) -> Iterator[Fault]:
    at = 0
    while at + 12 <= size:
        file.seek(at)
        kind, length, form = struct.unpack("<4sI4s", file.read(12))
        if kind != b"RIFF" or length in _UNFINISHED:
            return
        if at + 8 + length > size:
            yield _cut(f"its RIFF {form.decode('latin-1').strip()} part", at + 8 + length, size)
            return
        if form == b"AVI " and at == 0:
            yield from _compare_avi_index(file, 8 + length)
        at += 8 + length + length % 2


def _compare_avi_index(file: BinaryIO, end: int) -> Iterator[Fault]:
    """Whether the index of an AVI names the streams of the pieces as the pieces themselves do."""
    file.seek(24)
    head = file.read(24)
    promised = head.startswith(b"avih") and head[20] & _AVI_HAS_INDEX
    at, pieces, index = 12, 0, b""
    while at + 12 <= end and not index:
        file.seek(at)
        kind, length, form = struct.unpack("<4sI4s", file.read(12))
        if kind == b"LIST" and form == b"movi":
            pieces = at + 8
        elif kind == b"idx1":
            file.seek(at + 8)
            index = file.read(length)
        at += 8 + length
        if length % 2:  # some writers forget the byte between
            file.seek(at)
            at += not file.read(1).isalnum()
    if promised and not index:
        yield Fault("its index is missing")
        return
    entries = [entry for entry in struct.iter_unpack("<4s4xII", index[: len(index) // 16 * 16]) if entry[0] != b"rec "]

    def fits(begin: int, kind: bytes, place: int, length: int) -> bool:
        file.seek(begin + place)
        found = file.read(8)
        return kind[:2] == found[:2] and kind[:2].isdigit() and length == int.from_bytes(found[4:], "little")

    # Places count from the list of pieces, or from the beginning of the file; a writer with ways of its own is let be.
    begin = next((start for start in (pieces, 0) if entries and fits(start, *entries[0])), None)
    if begin is None:
        return
    wrong = sum(not fits(begin, *entry) for entry in entries)
    if wrong:
        yield Fault(f"its index and its pieces differ in {wrong} of {len(entries)} places")


# MXF

_KLV = b"\x06\x0e\x2b\x34"
_PARTITION = bytes.fromhex("060e2b34020501010d010201")


def _walk_mxf(file: BinaryIO, size: int) -> Iterator[Fault]:
    at, footer = 0, 0
    while at + 17 <= size:
        file.seek(at)
        head = file.read(25)
        if not head.startswith(_KLV):
            yield _broken("MXF", at)
            return
        width = head[16] & 0x7F if head[16] & 0x80 else 0
        length = int.from_bytes(head[17 : 17 + width], "big") if width else head[16]
        content = at + 17 + width
        if width > 8:
            yield _broken("MXF", at)
            return
        if content + length > size:
            yield _cut("a part of it", content + length, size)
            return
        if at == 0 and head.startswith(_PARTITION):
            file.seek(content + 24)
            footer = int.from_bytes(file.read(8), "big")
        at = content + length
    if at < size:
        yield _cut("a part of it", at + 17, size)
    elif footer >= size:
        yield Fault(f"its footer should stand at byte {footer}, the file ends at {size}", short=True)


# MPEG transport streams

_TS_PACKET, _TS_SYNC, _TS_NULL = 188, 0x47, 0x1FFF
_TS_TABLES = (0x00, 0x11)
"""Packets of the tables with which a writer begins."""
_TS_AT_ONCE = 50_000
"""Packets that are read at once."""


def _sync_of(head: bytes) -> int | None:
    """Where the first packet begins; None where this is no transport stream."""
    for begin in range(_TS_PACKET):
        places = head[begin::_TS_PACKET]
        if len(places) >= 4 and set(places) == {_TS_SYNC}:
            return begin
    return None


def _walk_transport_stream(file: BinaryIO, size: int) -> Iterator[Fault]:
    # The demuxer minds the counters too, but tells neither of tables nor of a packet that held all of a piece of sound.
    begin = _sync_of(file.read(1024)) or 0
    if begin:
        yield Fault(f"it begins inside a packet, of which {begin} bytes are there")
    file.seek(begin)
    last: dict[int, int] = {}
    breaks, first = 0, 0
    for at in range(begin, size, _TS_AT_ONCE * _TS_PACKET):
        data = file.read(_TS_AT_ONCE * _TS_PACKET)
        packets = np.frombuffer(data[: len(data) // _TS_PACKET * _TS_PACKET], np.uint8).reshape(-1, _TS_PACKET)
        if (packets[:, 0] != _TS_SYNC).any():
            yield _broken("transport stream", at + int((packets[:, 0] != _TS_SYNC).argmax()) * _TS_PACKET)
            return
        for place in _counter_breaks(packets, last):
            breaks, first = breaks + 1, first or at + place * _TS_PACKET
    if breaks:
        where = f"in {breaks} places, the first" if breaks > 1 else "at one place,"
        yield Fault(f"packets of its transport stream are missing {where} before byte {first}")
    if rest := (size - begin) % _TS_PACKET:
        yield Fault(f"it ends inside a packet, of which {rest} of {_TS_PACKET} bytes are there", short=True)


def _counter_breaks(packets: npt.NDArray[np.uint8], last: dict[int, int]) -> list[int]:
    """Packets whose counter does not follow the one before of the same number; `last` goes from call to call."""
    numbers = (packets[:, 1].astype(np.int64) & 0x1F) << 8 | packets[:, 2]
    counters = packets[:, 3].astype(np.int64) & 15
    places = np.flatnonzero((packets[:, 3] & 0x10 != 0) & (numbers != _TS_NULL))
    places = places[np.argsort(numbers[places], kind="stable")]
    begins = np.append(True, np.diff(numbers[places]) != 0)[: len(places)]
    before = np.append(0, counters[places][:-1])[: len(places)]
    # A packet may be sent twice.
    wrong = (counters[places] != before + 1 & 15) & (counters[places] != before)
    suspects = [int(place) for place in places[wrong & ~begins]]
    for place in places[begins]:
        counter = last.get(int(numbers[place]))
        if counter is not None and counters[place] not in (counter, counter + 1 & 15):
            suspects.append(int(place))
    ends = np.append(begins[1:], True)[: len(places)]
    last.update(zip(numbers[places[ends]].tolist(), counters[places[ends]].tolist(), strict=True))
    marked = [
        place for place in suspects if packets[place, 3] & 0x20 and packets[place, 4] and packets[place, 5] & 0x80
    ]
    joints = [place for place in suspects if numbers[place] in _TS_TABLES and counters[place] == 0]
    # Where files were joined, all counters begin anew.
    return sorted(p for p in suspects if p not in marked and not any(0 <= p - joint < 100 for joint in joints))


# FLV


def _walk_flv(file: BinaryIO, size: int) -> Iterator[Fault]:
    file.seek(5)
    at = int.from_bytes(file.read(4), "big") + 4
    while at + 11 <= size:
        file.seek(at)
        head = file.read(11)
        if head[0] & 0x1F not in (8, 9, 18):
            yield _broken("FLV", at)
            return
        after = at + 11 + int.from_bytes(head[1:4], "big")
        if after > size:
            yield _cut("a tag of it", after, size)
            return
        at = after + 4
    if at < size:
        yield _cut("a tag of it", at + 11, size)


# Ogg

_OGG_FIRST, _OGG_LAST = 2, 4
"""Marks of a stream's pages."""


def _walk_ogg(file: BinaryIO, size: int) -> Iterator[Fault]:
    at, missing = 0, 0
    following: dict[int, int] = {}
    """Number of the next page of each stream that has not ended."""
    while at < size:
        file.seek(at)
        head = file.read(27)
        if head[:4] != b"OggS"[: len(head)]:
            if following:
                yield _broken("Ogg", at)
            return  # what writers leave at the end of other files is no damage
        segments = file.read(head[26]) if len(head) == 27 else b""
        after = at + 27 + (head[26] if len(head) == 27 else 0)
        if after <= size:
            after += sum(segments)
        if after > size:
            yield _cut("a page of it", after, size)
            return
        flags, serial, number = head[5], *struct.unpack("<II", head[14:22])
        if not flags & _OGG_FIRST and serial in following and number != following[serial]:
            missing += 1
        following[serial] = number + 1 & 0xFFFFFFFF
        if flags & _OGG_LAST:
            del following[serial]
        at = after
    if missing:
        yield Fault(f"pages of its Ogg streams are missing in {missing} places")
    if following:
        yield Fault(f"the last page is missing of {len(following)} of its Ogg streams", short=True)


# ASF: WMV

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_BROADCAST = 1


def _walk_asf(file: BinaryIO, size: int) -> Iterator[Fault]:
    file.seek(16)
    length = int.from_bytes(file.read(8), "little")
    if length > size:
        yield _cut("its ASF header", length, size)
        return
    at, end, packet = 30, length, 0
    while at + 24 <= end:
        file.seek(at)
        kind, length = struct.unpack("<16sQ", file.read(24))
        if kind == _ASF_PROPERTIES and length >= 104:
            whole, flags, packet = struct.unpack("<16xQ40xII", file.read(72))
            if flags & _ASF_BROADCAST:  # what the header says of sizes is not known then
                return
            if whole > size:
                yield _cut("it", whole, size)
                return
        if length < 24:
            yield _broken("ASF", at)
            return
        at += length
    file.seek(end)
    head = file.read(48)
    if len(head) == 48 and head.startswith(_ASF_DATA):
        length, count = struct.unpack("<16xQ16xQ", head)
        promised = end + max(length, 50 + count * packet)
        if promised > size:
            yield _cut("its ASF data", promised, size)


# YUV4MPEG2

_Y4M_CHROMA = {"420": (2, 2), "422": (2, 1), "444": (1, 1), "411": (4, 1), "410": (4, 4), "440": (1, 2)}
"""Columns and rows of luma for one of chroma."""
_Y4M_LINE = 1024
"""Most bytes of a header that are looked into."""


def _y4m_frame_bytes(header: str) -> int | None:
    """Bytes of each frame behind its line; None for a layout that is not known here."""
    fields = {field[0]: field[1:] for field in reversed(header.split()[1:]) if field}
    try:
        width, height = int(fields["W"]), int(fields["H"])
    except (KeyError, ValueError):
        return None
    if "C" not in fields and "XYSCSS" in header:  # a way of old writers
        return None
    kind = fields.get("C", "420").lower()
    deep = re.search(r"(?:p|mono)(\d+)$", kind)
    sample = 2 if deep and int(deep[1]) > 8 else 1
    if kind.startswith("mono"):
        return width * height * sample
    if kind[:3] not in _Y4M_CHROMA:
        return None
    across, down = _Y4M_CHROMA[kind[:3]]
    luma = width * height * (2 if "alpha" in kind else 1)
    return (luma + 2 * (-(-width // across) * -(-height // down))) * sample


def _walk_y4m(file: BinaryIO, size: int) -> Iterator[Fault]:
    header = file.readline(_Y4M_LINE)
    length = _y4m_frame_bytes(header.decode("latin-1"))
    at = len(header)
    if not header.endswith(b"\n") or length is None:
        return
    while at < size:
        file.seek(at)
        line = file.readline(_Y4M_LINE)
        if not line.startswith(b"FRAME"[: len(line)]):
            yield _broken("YUV4MPEG2", at)
            return
        at += len(line) + length
        if at > size:
            yield _cut("a frame of it", at, size)


# Raw DV

_DV_HEAD = b"\x1f\x07\x00"
_DV_TIMES = {0x04: 2, 0x14: 4, 0x18: 2}
"""How many times the bytes of an ordinary frame one has, by its kind (STYPE)."""


def _walk_dv(file: BinaryIO, size: int) -> Iterator[Fault]:
    head = file.read(452)
    if len(head) < 452:
        yield _cut("its first frame", 120_000, size)
        return
    length = (144_000 if head[3] & 0x80 else 120_000) * _DV_TIMES.get(head[451] & 0x1F, 1)
    for at in range(0, size, length):
        file.seek(at)
        begin = file.read(len(_DV_HEAD))
        if not _DV_HEAD.startswith(begin):
            yield _broken("DV", at)
            return
        if at + length > size:
            yield _cut("a frame of it", at + length, size)


# IVF


def _walk_ivf(file: BinaryIO, size: int) -> Iterator[Fault]:
    file.seek(6)
    at = int.from_bytes(file.read(2), "little")
    while at < size:
        file.seek(at)
        after = at + 12 + int.from_bytes(file.read(4), "little")
        if after > size:
            yield _cut("a frame of it", after, size)
        at = after


# GIF

_GIF_CHECKED = 8 * 1024 * 1024
"""Bytes of pictures that are looked into: it takes some seconds."""


def _gif_pixels(data: bytes, bits: int, wanted: int) -> int:
    """How many of the `wanted` pixels the LZW codes of a picture give; damage ends them early."""
    if not 1 <= bits <= 8:
        return 0
    clear, longest = 1 << bits, 1 << 12
    lengths = [1] * clear + [0, 0]
    width, before = bits + 1, 0
    held = held_bits = pixels = 0
    for byte in data:
        held |= byte << held_bits
        held_bits += 8
        while held_bits >= width:
            code = held & (1 << width) - 1
            held >>= width
            held_bits -= width
            known = len(lengths)
            if code == clear:
                del lengths[clear + 2 :]
                width, before = bits + 1, 0
                continue
            # The code just being made may be used at once.
            if code == clear + 1 or code > known or (code == known and (not before or known == longest)):
                return pixels
            if before and known < longest:
                lengths.append(before + 1)
                if known + 1 == 1 << width and width < 12:
                    width += 1
            before = lengths[code]
            pixels += before
            if pixels >= wanted:
                return pixels
    return pixels


def _walk_gif(file: BinaryIO, size: int) -> Iterator[Fault]:
    def skip_blocks() -> None:
        while length := file.read(1)[0]:
            file.seek(length, os.SEEK_CUR)

    def blocks() -> bytes:
        parts = []
        while length := file.read(1)[0]:
            parts.append(file.read(length))
        return b"".join(parts)

    budget, count = _GIF_CHECKED, 0
    spoilt: list[int] = []

    def skip_table(flags: int) -> None:
        if flags & 0x80:
            file.seek(3 << (flags & 7) + 1, os.SEEK_CUR)

    try:
        skip_table(file.read(13)[10])
        while True:
            kind = file.read(1)[0]
            if kind == 0x3B:
                break
            if kind == 0x2C:
                *_, width, height, flags = struct.unpack("<4HB", file.read(9))
                skip_table(flags)
                bits = file.read(1)[0]
                data = blocks()
                budget -= len(data)
                count += 1
                if budget >= 0 and _gif_pixels(data, bits, width * height) < width * height:
                    spoilt.append(count)
            elif kind == 0x21:
                file.seek(1, os.SEEK_CUR)
                skip_blocks()
            else:
                yield _broken("GIF", file.tell() - 1)
                break
    except (IndexError, struct.error):
        yield Fault("it ends before the end of its GIF data", short=True)
    if spoilt:
        yield Fault(f"{len(spoilt)} of its GIF pictures are not whole, the first is number {spoilt[0]}")


# PNG


def _walk_png(file: BinaryIO, size: int) -> Iterator[Fault]:
    at = 8
    while at + 12 <= size:
        file.seek(at)
        length = int.from_bytes(file.read(4), "big")
        if at + 12 + length > size:
            break
        chunk = file.read(4 + length)
        if zlib.crc32(chunk) != int.from_bytes(file.read(4), "big"):
            yield Fault(f"the checksum of its part at byte {at} is wrong")
            return
        if chunk.startswith(b"IEND"):
            return
        at += 12 + length
    yield Fault("it ends before the end of its PNG data", short=True)


# JPEG


def _walk_jpeg(file: BinaryIO, size: int) -> Iterator[Fault]:
    at = 2
    while at + 4 <= size:
        file.seek(at)
        marker, kind, length = struct.unpack(">BBH", file.read(4))
        if marker != 0xFF:
            yield _broken("JPEG", at)
            return
        if kind == 0xFF:  # a filler
            at += 1
            continue
        at += 2 + length
        if kind == 0xDA:  # the picture itself: its end is a marker that stands nowhere inside it
            file.seek(at)
            if b"\xff\xd9" in file.read():
                return
            break
    yield Fault("it ends before the end of its JPEG data", short=True)


# BMP


def _walk_bmp(file: BinaryIO, size: int) -> Iterator[Fault]:
    head = file.read(38)
    if len(head) < 38:
        yield _cut("its header", 38, size)
        return
    pixels, kind = struct.unpack("<II", head[10:18])
    if kind == 12:
        width, height, bits = *struct.unpack("<HH", head[18:22]), int.from_bytes(head[24:26], "little")
        packed, length = 0, 0
    else:
        width, height, bits, packed, length = struct.unpack("<ii2xHII", head[18:38])
    if packed not in _BMP_PACKED:
        length = (abs(width) * bits + 31) // 32 * 4 * abs(height)
    if pixels + length > size:
        yield _cut("its BMP data", pixels + length, size)


_BMP_PACKED = (1, 2, 4, 5)
"""Compressions by which the bytes of the pixels are not known from their number."""


# TIFF

_TIFF_PLACES, _TIFF_LENGTHS = (273, 324), (279, 325)
"""Tags of the places and lengths of the strips or tiles that hold the pixels."""


def _walk_tiff(file: BinaryIO, size: int) -> Iterator[Fault]:
    order = "<" if file.read(4).startswith(b"I") else ">"
    if size < 8:
        yield _cut("its header", 8, size)
        return

    def number(length: int = 4) -> int:
        return int(struct.unpack(order + {2: "H", 4: "I"}[length], file.read(length))[0])

    def values(at: int) -> list[int]:
        """Of the entry at a place, if they are numbers of 2 or 4 bytes."""
        file.seek(at + 2)
        width = {3: 2, 4: 4}.get(number(2), 0)
        count = min(number(), _TIFF_MOST)
        if width * count > 4:
            file.seek(number())
        return [number(width) for _ in range(count)] if width else []

    at, seen = number(), set[int]()
    while at and at not in seen:
        seen.add(at)
        found: dict[int, list[int]] = {}
        try:
            file.seek(at)
            count = number(2)
            for place in range(at + 2, at + 2 + 12 * count, 12):
                file.seek(place)
                tag = number(2)
                if tag in _TIFF_PLACES + _TIFF_LENGTHS:
                    found[tag] = values(place)
            file.seek(at + 2 + 12 * count)
            following = number()
        except struct.error:
            yield Fault("it ends before the end of its TIFF directory", short=True)
            return
        for places, lengths in zip(_TIFF_PLACES, _TIFF_LENGTHS, strict=True):
            ends = map(sum, zip(found.get(places, []), found.get(lengths, []), strict=False))
            if (end := max(ends, default=0)) > size:
                yield _cut("its TIFF data", end, size)
                return
        at = following


_TIFF_MOST = 1_000_000
"""Strips or tiles that are looked into."""
