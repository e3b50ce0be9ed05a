"""Compares a video with what `vidsal run` made of it, field by field, and names why each difference is meant.

    python tools/compare_fields.py INPUT OUTPUT    # a pair that is there
    python tools/compare_fields.py INPUT           # runs vidsal on it first
    python tools/compare_fields.py --make [NAME..] # makes inputs as broadcasters, editors, phones and recorders do

Exits with 1 if a difference is not meant.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.run import run
from vidsal.sinks.tags import kept_tags

Facts = dict[str, Any]

COLOUR = ("color_range", "colorspace", "color_primaries", "color_trc")


# What is known of a file.


@dataclass
class _Seen:
    """What the packets and frames of a stream say."""

    count: int = 0
    first: Fraction | None = None
    end: Fraction | None = None
    times: list[Fraction] = field(default_factory=list)
    last_lasts: Fraction | None = None
    captions: int = 0
    caption_bytes: Any = field(default_factory=hashlib.sha256)
    side_data: set[str] = field(default_factory=set)
    interlaced: bool = False
    rotation: int = 0
    samples: int = 0
    sound: Any = field(default_factory=hashlib.sha256)
    data: Any = field(default_factory=hashlib.sha256)


def facts(path: Path) -> Facts:
    """Every field of a file that PyAV shows, by name; streams are numbered within their kind."""
    found: Facts = {}
    with av.open(str(path), metadata_errors="replace") as container:
        found["file.format"] = container.format.name
        found["file.seconds"] = None if container.duration is None else Fraction(container.duration, 1_000_000)
        for key, value in sorted(kept_tags(container.metadata).items()):
            found[f"file.tag.{key.lower()}"] = value
        for number, chapter in enumerate(container.chapters()):
            base = Fraction(chapter["time_base"])
            times = f"{float(chapter['start'] * base):.3f} to {float(chapter['end'] * base):.3f}"
            found[f"file.chapter.{number}"] = f"{times} {chapter['metadata'].get('title', '')}".strip()
        numbers: dict[str, int] = {}
        names = {}
        best = container.streams.best("video")
        streams = sorted(container.streams, key=lambda s: (s is not best, s.index))
        for stream in streams:
            kind = "cover" if stream.disposition & Disposition.attached_pic else stream.type
            if kind == "data" and "timecode" in stream.metadata:
                kind = "timecode"
            number = numbers[kind] = numbers.get(kind, -1) + 1
            names[stream.index] = f"{kind}.{number}"
            found |= {f"{kind}.{number}.{key}": value for key, value in _of_stream(stream).items()}
        seen = {stream.index: _Seen() for stream in container.streams}
        _read_through(container, seen)
    for index, name in names.items():
        found |= {f"{name}.{key}": value for key, value in _of_packets(seen[index], name).items()}
    return found


def _of_stream(stream: Any) -> Iterator[tuple[str, Any]] | dict[str, Any]:
    context = stream.codec_context
    known: Facts = {"codec": getattr(stream, "name", None) if context is None else context.codec.canonical_name}
    known["disposition"] = "|".join(one.name or "" for one in Disposition if stream.disposition & one)
    for key, value in sorted(kept_tags(stream.metadata).items()):
        known[f"tag.{key.lower()}"] = value
    if context is not None and stream.type == "video":
        known |= {"width": context.width, "height": context.height, "pixel format": context.pix_fmt}
        known |= {name: int(getattr(context, name)) for name in COLOUR}
        known["pixel aspect"] = stream.sample_aspect_ratio or Fraction(1)
        known["rate"] = stream.average_rate
    if context is not None and stream.type == "audio":
        known |= {"rate": context.sample_rate, "channels": context.layout.nb_channels, "layout": context.layout.name}
    return known


def _read_through(container: Any, seen: dict[int, _Seen]) -> None:
    for packet in container.demux():
        if packet.stream.index not in seen or (packet.size == 0 and packet.pts is not None):
            continue
        stream, one = packet.stream, seen[packet.stream.index]
        if packet.size and packet.pts is not None and packet.time_base:
            base = Fraction(packet.time_base)
            begin = packet.pts * base
            end = begin + (packet.duration or 0) * base
            one.first = begin if one.first is None else min(one.first, begin)
            one.end = end if one.end is None else max(one.end, end)
            if stream.type in ("audio", "subtitle", "data"):
                one.data.update(bytes(packet))
            one.count += packet.size > 2 or stream.type != "subtitle"
        if stream.type not in ("video", "audio") or stream.codec_context is None:
            continue
        try:
            frames = stream.decode(packet if packet.size else None)
        except (av.error.FFmpegError, EOFError):
            continue
        for frame in frames:
            _note(one, frame, Fraction(stream.time_base))


def _note(one: _Seen, frame: Any, base: Fraction) -> None:
    if isinstance(frame, av.AudioFrame):
        one.samples += frame.samples
        # As 32-bit numbers, whatever form the decoder gives them in; interleaved.
        values = frame.to_ndarray()
        planar = values if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels).T
        if planar.dtype.kind == "i":
            planar = planar.astype(np.int64) << (32 - 8 * values.itemsize)
        one.sound.update(np.ascontiguousarray(planar.T).tobytes())
        return
    if frame.pts is not None:
        one.times.append(frame.pts * base)
        one.last_lasts = (frame.duration or 0) * base
    one.interlaced |= bool(frame.interlaced_frame)
    one.rotation = int(frame.rotation)
    for data in frame.side_data:
        name = data.type.name
        if name == "A53_CC":
            one.captions += 1
            one.caption_bytes.update(bytes(data))
        elif name not in ("SEI_UNREGISTERED", "GOP_TIMECODE", "S12M_TIMECODE", "DISPLAYMATRIX"):
            one.side_data.add(name)


def _of_packets(one: _Seen, name: str) -> Facts:
    kind = name.split(".")[0]
    if kind in ("cover", "timecode", "attachment"):
        return {}
    known: Facts = {"begins": one.first, "ends": one.end, "packets": one.count}
    if kind == "video" and one.times:
        known |= {
            "pictures": len(one.times),
            "begins": one.times[0],
            "times": [time - one.times[0] for time in one.times],
            "last picture lasts": one.last_lasts,
            "interlaced": one.interlaced,
            "rotation": one.rotation,
            "captions": f"{one.captions} {one.caption_bytes.hexdigest()[:8]}" if one.captions else 0,
        }
        known |= {f"side data.{each}": True for each in sorted(one.side_data)}
    if kind == "audio" and one.samples:
        known |= {"samples": one.samples, "sound": one.sound.hexdigest()[:12]}
    if kind in ("audio", "subtitle", "data"):
        known["data"] = one.data.hexdigest()[:12]
    return known


# What may differ.


@dataclass
class Row:
    """One field of both files."""

    name: str
    """Its name."""
    before: Any
    """Of the input; None: it has none."""
    after: Any
    """Of the output."""
    reason: str | None = None
    """None: the same. Why they differ, if it is meant; empty, if it is not."""

    @property
    def is_wrong(self) -> bool:
        """Whether they differ and nobody meant it."""
        return self.reason == ""


def compare(before: Facts, after: Facts, messages: list[str]) -> list[Row]:
    """All fields of both, with the reason of each difference."""
    rows = []
    turned = bool(before.get("video.0.rotation", 0) % 180)
    for name in sorted({*before, *after}):
        row = Row(name, before.get(name), after.get(name))
        if not _same(name, row.before, row.after):
            row.reason = _why(name, row, before, after, turned=turned, said=" ".join(messages))
        rows.append(row)
    return rows


def _same(name: str, before: Any, after: Any) -> bool:
    field_name = name.split(".")[-1]
    if before == after:
        return True
    if before is None or after is None:
        return False
    if field_name == "times":
        # A .mkv counts in milliseconds.
        return len(before) == len(after) and all(
            abs(a - b) <= Fraction(1, 900) for a, b in zip(before, after, strict=True)
        )
    if field_name in ("begins", "ends", "seconds", "last picture lasts"):
        return bool(abs(before - after) <= Fraction(1, 400))
    if field_name == "rate" and isinstance(before, Fraction):
        return abs(before - after) < Fraction(1, 500)
    if name.endswith("timecode"):
        return [int(n) for n in before.replace(";", ":").split(":")] == [
            int(n) for n in after.replace(";", ":").split(":")
        ]
    return False


_ENCODED = "the picture is encoded anew"

_REASONS: tuple[tuple[str, str], ...] = (
    ("file.format", "the container that holds all streams"),
    ("file.tag.creation_time", "the muxer's own form"),
    ("video.0.codec", _ENCODED),
    ("video.0.pixel format", "8-bit 4:2:0, which every player shows"),
    ("video.0.packets", _ENCODED),
    ("video.0.ends", "a container counts to the last packet in coding order"),
    ("video.0.tag.encoder", _ENCODED),
)
_MADE_BY_THE_MUXER = ("handler_name", "vendor_id", "language", "reel_name", "creation_time")
_OF_THE_OLD_FILE = (
    "umid",
    "uid",
    "product",
    "company",
    "toolkit",
    "application",
    "operational",
    "generation",
    "track_name",
    "modification_date",
    "file_package",
    "material_package",
    "service",
)


def _why(name: str, row: Row, before: Facts, after: Facts, *, turned: bool, said: str) -> str:
    """The reason of a difference; empty without one."""
    kind, _, rest = name.partition(".")
    last = name.split(".")[-1]
    for pattern, reason in _REASONS:
        if name == pattern:
            return reason
    if kind == "timecode":
        return "the time code makes a track in an mp4, and is a tag elsewhere"
    if "tag." in name and last in _MADE_BY_THE_MUXER and (row.before is None or row.before in ("und", "")):
        return "written by the muxer"
    if "tag." in name and last in ("handler_name", "vendor_id", "language") and row.after in (None, "und"):
        return "" if last == "language" and row.before != "und" else "has no place in this container"
    if "tag." in name and last.startswith(_OF_THE_OLD_FILE):
        return "describes the file that was read"
    if last == "timecode" and kind == "file":
        return "" if after.get("video.0.tag.timecode") is None else "stands at the video stream"
    if last == "timecode" and kind == "video" and row.before is None and _timecode_of(before) is not None:
        return "stood at the file or a track of its own"
    if name in ("video.0.width", "video.0.height", "video.0.pixel aspect", "video.0.rotation") and turned:
        return "turned upright"
    if name == "video.0.rotation":
        return "turned upright"
    if name == "video.0.interlaced":
        return "drawn pictures are progressive"
    if name.startswith("video.0.") and last in COLOUR:
        unset = {"color_range": 0}.get(last, 2)
        if row.before in (unset, None):
            return "tagged with what players assume" if row.after != unset else "untagged"
        return "" if row.before not in (0, 3) else "RGB becomes YUV"
    if name.startswith("video.") and not name.startswith("video.0."):
        return "a further video stream is said to be left out" if "left out" in said and row.after is None else ""
    if name == "video.0.rate":
        steps = {b - a for a, b in itertools.pairwise(before.get("video.0.times", []))}
        uneven = bool(steps) and max(steps) > Fraction(21, 20) * min(steps)
        return "variable; measured over the pictures" if uneven else ""
    if name == "video.0.side data.PANSCAN":
        return "MPEG-2's cut for old television sets"
    if last == "disposition" and row.after is not None:
        plain = [str(value).replace("default", "").strip("|") for value in (row.before, row.after)]
        return "an mp4 marks the first track of each kind as the default" if plain[0] == plain[1] else ""
    if name == "video.0.captions" and "closed captions are left out" in said:
        return "said to be left out"
    if name.startswith("video.0.side data."):
        return "said to be left out" if last.lower().split("_")[0] in said.lower() else ""
    if name.startswith("file.tag.") and last in said:
        return "said to be left out"
    if kind == "audio":
        return _why_sound(rest.split(".", 1)[0], last, row, before, after, said)
    if kind in ("data", "subtitle", "attachment", "cover") and row.after is None and "left out" in said:
        return "said to be left out"
    if name == "file.seconds" and _same("video.0.ends", before.get("video.0.ends"), after.get("video.0.ends")):
        return "the file is as long as its streams"
    if last in ("packets", "ends", "begins") and kind in ("subtitle", "data"):
        return "subtitles end where their text does"
    return ""


def _why_sound(number: str, last: str, row: Row, before: Facts, after: Facts, said: str) -> str:
    sound = f"audio.{number}."
    same = before.get(sound + "sound") == after.get(sound + "sound")
    same_data = before.get(sound + "data") == after.get(sound + "data")
    if last in ("codec", "sound", "samples") and same_data and row.after is not None:
        return "the same packets; containers name and trim them in their own way"
    if last == "data" and same:
        return "the same samples, with another header"
    if last == "layout":
        same_count = before.get(sound + "channels") == after.get(sound + "channels")
        return "channels without names" if same_count and "channels" in f"{row.before} {row.after}" else ""
    if last == "packets" and same:
        return "cut into packets anew; the samples are the same"
    if last == "codec" and (same or "encoded to" in said):
        return "the same samples" if same else "said to be encoded"
    if last in ("sound", "samples", "packets", "begins", "ends") and "encoded to" in said:
        return "said to be encoded"
    if last in ("begins", "ends") and same:
        return "in step with the pictures" if _in_step(sound, before, after) else ""
    if row.after is None and "left out" in said:
        return "said to be left out"
    return ""


def _in_step(sound: str, before: Facts, after: Facts) -> bool:
    """Whether sound and picture keep their distance."""
    gaps = [found[sound + "begins"] - found["video.0.begins"] for found in (before, after)]
    return abs(gaps[0] - gaps[1]) <= Fraction(1, 400)


def _timecode_of(found: Facts) -> str | None:
    names = ("video.0.tag.timecode", "file.tag.timecode", "timecode.0.tag.timecode")
    return next((found[name] for name in names if name in found), None)


def print_table(rows: list[Row]) -> None:
    """Prints the rows in columns."""
    for row in rows:
        verdict = "same" if row.reason is None else row.reason or "DIFFERENT"
        print(f"{row.name:34} {_short(row.before):28} {_short(row.after):28} {verdict}")


def _short(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return f"{len(value)} times"
    if isinstance(value, Fraction) and value.denominator > 1:
        return f"{float(value):.4f}"
    text = str(value).replace("\n", " ")
    return text if len(text) <= 27 else text[:24] + "..."


# Inputs as they come from elsewhere.


def _picture(i: int, width: int, height: int) -> Any:
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [(columns * 2 + 5 * i) % 256, (rows * 3 + 2 * i) % 256, (rows + columns + 7 * i) % 256]
    return np.stack(planes, axis=-1).astype(np.uint8)


def _write(
    path: Path,
    *,
    codec: str,
    pix_fmt: str,
    size: tuple[int, int],
    rate: Fraction = Fraction(25),
    frames: int = 13,
    pts: list[int] | None = None,
    clock: Fraction | None = None,
    options: dict[str, str] | None = None,
    context: Callable[[Any], None] | None = None,
    sound: list[tuple[str, str, str]] = [],  # noqa: B006
    container: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    stream_tags: dict[str, str] | None = None,
    rotation: int = 0,
    interlaced: bool = False,
    more_video: bool = False,
) -> None:
    """Writes a few pictures and as much sound: (codec, sample format, layout) of each track."""
    width, height = size
    base = clock or 1 / rate
    times = pts or list(range(frames))
    with av.open(str(path), "w", container_options=container or {}) as out:
        out.metadata.update(tags or {})
        videos = []
        for _ in range(2 if more_video else 1):
            video: Any = out.add_stream(codec, rate=rate, options=options or {})
            video.width, video.height, video.pix_fmt = width, height, pix_fmt
            video.codec_context.time_base = base
            video.codec_context.thread_count = 1
            if context is not None:
                context(video.codec_context)
            video.metadata.update(stream_tags or {})
            if rotation:
                video.set_display_rotation(rotation)
            videos.append(video)
        tracks = []
        for coder, form, layout in sound:
            track: Any = out.add_stream(coder, rate=48000)
            track.codec_context.format, track.codec_context.layout = form, layout
            track.codec_context.bit_rate = 128_000
            track.codec_context.time_base = Fraction(1, 48000)
            track.codec_context.open()
            tracks.append(track)
        packets = []
        for number, video in enumerate(videos):
            for i, time in enumerate(times):
                frame: Any = av.VideoFrame.from_ndarray(_picture(i + 40 * number, width, height), format="rgb24")
                frame = frame.reformat(format=pix_fmt)
                frame.pts, frame.time_base = time, base
                packets += video.encode(frame)
            packets += video.encode(None)
        seconds = float((times[-1] + 1) * base)
        for number, track in enumerate(tracks):
            packets += _tone(track, 220.0 * (number + 1), seconds)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            out.mux(packet)


def _tone(track: Any, frequency: float, seconds: float) -> list[Any]:
    context = track.codec_context
    channels, count = context.layout.nb_channels, round(48000 * seconds)
    wave = 0.3 * np.sin(2 * np.pi * frequency * np.arange(count) / 48000)
    frame = av.AudioFrame.from_ndarray(
        np.repeat(wave[None], channels, 0).astype(np.float32), "fltp", context.layout.name
    )
    frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
    size = context.frame_size or 1920
    resampler = av.AudioResampler(format=context.format, layout=context.layout, rate=48000, frame_size=size)
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    return [packet for piece in [*pieces, None] for packet in track.encode(piece)]


def _mxf(path: Path) -> None:
    def broadcast(context: Any) -> None:
        context.bit_rate = 50_000_000
        context.gop_size = 1

    sound = [("pcm_s24le", "s32", "mono")] * 4
    _write(
        path,
        codec="mpeg2video",
        pix_fmt="yuv422p",
        size=(192, 112),
        context=broadcast,
        sound=sound,
        tags={"timecode": "10:00:00:00"},
    )


def _prores(path: Path) -> None:
    rate = Fraction(30000, 1001)
    _write(
        path,
        codec="prores_ks",
        pix_fmt="yuv422p10le",
        size=(192, 112),
        rate=rate,
        sound=[("pcm_s24le", "s32", "stereo")],
        stream_tags={"timecode": "00:59:58;28"},
    )


def _dv(path: Path) -> None:
    _write(path, codec="dvvideo", pix_fmt="yuv420p", size=(720, 576), frames=6, sound=[("pcm_s16le", "s16", "stereo")])


def _transport(path: Path) -> None:
    def interlaced(context: Any) -> None:
        context.flags |= 1 << 18 | 1 << 29

    _write(
        path,
        codec="mpeg2video",
        pix_fmt="yuv420p",
        size=(192, 112),
        context=interlaced,
        sound=[("mp2", "s16", "stereo"), ("ac3", "fltp", "stereo")],
        more_video=True,
    )


def _phone(path: Path) -> None:
    tags = {
        "title": "Holiday",
        "com.apple.quicktime.make": "Apple",
        "com.apple.quicktime.model": "iPhone 15",
        "com.apple.quicktime.location.ISO6709": "+52.5200+013.4050+034/",
        "com.apple.quicktime.creationdate": "2024-05-01T12:30:45+0200",
    }

    def colour(context: Any) -> None:
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 1, 1, 1, 1

    _write(
        path,
        codec="libx264",
        pix_fmt="yuv420p",
        size=(128, 96),
        rate=Fraction(30),
        clock=Fraction(1, 600),
        pts=[20 * i + i % 3 for i in range(15)],
        context=colour,
        sound=[("aac", "fltp", "stereo")],
        tags=tags,
        container={"movflags": "use_metadata_tags"},
        rotation=-90,
        options={"bf": "2", "preset": "veryfast"},
    )


def _screen(path: Path) -> None:
    uneven = np.cumsum(np.random.default_rng(0).integers(10, 700, 14)).tolist()
    _write(
        path,
        codec="libx264",
        pix_fmt="yuv444p",
        size=(128, 96),
        rate=Fraction(30),
        clock=Fraction(1, 1000),
        pts=[0, *uneven],
        sound=[("libopus", "s16", "stereo")],
        tags={"PARTICIPANT": "P07"},
        options={"preset": "ultrafast"},
    )


INPUTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "mxf": ("op1a.mxf", _mxf),
    "prores": ("prores.mov", _prores),
    "dv": ("tape.avi", _dv),
    "transport": ("two.ts", _transport),
    "phone": ("phone.mov", _phone),
    "screen": ("screen.mkv", _screen),
}
"""MXF OP1a with MPEG-2 4:2:2 and four mono tracks, ProRes with a drop-frame time code, DV, an interlaced transport
stream with two videos, a phone's with rotation and Apple's tags, screen capture of variable rate."""


def compare_with_run(source: Path, folder: Path) -> bool:
    """Runs vidsal on a file, prints the table, and returns whether every difference is meant."""
    options = RunOptions(output=OutputOptions(output=folder, table=None))
    report = run(source, options=options)
    result = next(Path(file) for file in report.files)
    return show(source, result, report.messages)


def show(source: Path, result: Path, messages: list[str]) -> bool:
    """Prints the table of two files, and returns whether every difference is meant."""
    rows = compare(facts(source), facts(result), messages)
    print(f"\n== {source.name} -> {result.name}")
    for message in messages:
        print(f"   said: {message}")
    print_table(rows)
    wrong = [row.name for row in rows if row.is_wrong]
    print(
        f"{len(rows)} fields, {sum(row.reason is None for row in rows)} the same, {len(wrong)} not meant {wrong or ''}"
    )
    return not wrong


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help=f"INPUT [OUTPUT]; with --make: {', '.join(INPUTS)}")
    parser.add_argument("--make", action="store_true", help="makes inputs, all of them by default")
    parsed = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not parsed.make:
            if len(parsed.files) == 2:
                return 0 if show(Path(parsed.files[0]), Path(parsed.files[1]), []) else 1
            if len(parsed.files) != 1:
                parser.error("give an input and an output, an input, or --make")
            return 0 if compare_with_run(Path(parsed.files[0]), folder) else 1
        good = True
        for chosen in parsed.files or INPUTS:
            file, make = INPUTS[chosen]
            make(folder / file)
            good &= compare_with_run(folder / file, folder)
        return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
