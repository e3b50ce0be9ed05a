"""Made test videos: options in, small files (whole, tagged, rotated, damaged) out; and the packets of a file listed."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from vidsal.urgency import kept_urgency

RGB = npt.NDArray[np.uint8]

AUDIO_RATE = 48000
NUMBER_CELLS = (4, 6)
"""Rows and columns of the grid in which `numbered_picture` writes; 24 bits."""


def square_picture(width: int, height: int) -> Callable[[int], RGB]:
    """A bright square that moves over a noisy background; every frame differs from its neighbours."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(30, 120, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    background = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)[:height, :width]
    side = max(2, min(width, height) // 4)

    def picture(i: int) -> RGB:
        noise = np.random.default_rng(i + 1).integers(0, 12, (height, width, 1), dtype=np.uint8)
        frame = background + noise
        left = (3 * i) % max(1, width - side + 1)
        top = (2 * i) % max(1, height - side + 1)
        frame[top : top + side, left : left + side] = 235
        return frame

    return picture


def numbered_picture(width: int, height: int) -> Callable[[int], RGB]:
    """Writes the frame's ordinal into the picture as black and white cells; `read_number` reads it back."""
    rows, columns = NUMBER_CELLS
    row_of = np.arange(height) * rows // height
    column_of = np.arange(width) * columns // width

    def picture(i: int) -> RGB:
        bits = np.array([(i >> bit) & 1 for bit in range(rows * columns)], np.uint8).reshape(rows, columns)
        grey = (bits * 200 + 28)[row_of][:, column_of].astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)

    return picture


def read_number(frame: RGB) -> int:
    """The ordinal that `numbered_picture` wrote into an upright (h, w, 3) picture of any size."""
    rows, columns = NUMBER_CELLS
    height, width = frame.shape[:2]
    number = 0
    for bit in range(rows * columns):
        row, column = divmod(bit, columns)
        y, x = int((row + 0.5) * height / rows), int((column + 0.5) * width / columns)
        number |= int(frame[y, x].mean() > 128) << bit
    return number


def make_video(
    path: Path,
    *,
    frames: int = 30,
    width: int = 64,
    height: int = 48,
    rate: int | Fraction = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    audio_tracks: int = 0,
    subtitles: bool = False,
    rotation: int = 0,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 90000),
    color_range: int | None = None,
    colorspace: int | None = None,
    matrix: int | None = None,
    color_primaries: int | None = None,
    color_trc: int | None = None,
    sample_aspect_ratio: Fraction | None = None,
    interlaced: bool = False,
    top_field_first: bool = False,
    bframes: int = 0,
    gop: int = 12,
    metadata: Mapping[str, str] | None = None,
    picture: Callable[[int], RGB] | None = None,
    codec_options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    container_format: str | None = None,
) -> Path:
    """Makes a small video; the container is taken from the suffix of `path`.

    Args:
        path: target, overwritten.
        frames: number of pictures.
        width: columns of the coded picture.
        height: rows of the coded picture.
        rate: frames a second, for the times (unless `pts`) and the stream's nominal rate.
        codec: FFmpeg name of the video encoder.
        pix_fmt: pixel format that is encoded.
        audio_tracks: number of sine tracks, 220 Hz, 440 Hz, ..., tagged with languages.
        subtitles: adds one text track (mp4, mov, mkv, webm) with two lines.
        rotation: degrees counter-clockwise by which a player turns the coded picture (`frame.rotation`
            of PyAV); a multiple of 90; mp4 and mov only.
        pts: presentation time of each frame in `time_base`; overrides `rate`.
        time_base: seconds per unit of `pts`.
        color_range: FFmpeg's number (1 limited, 2 full); the pixels are converted to fit.
        colorspace: FFmpeg's number of the matrix (1 BT.709, 5 or 6 BT.601, 9 BT.2020); the pixels are converted to fit.
        matrix: FFmpeg's number of the matrix with which the pixels are converted, where not `colorspace`; not tagged.
        color_primaries: FFmpeg's number, a tag only.
        color_trc: FFmpeg's number, a tag only.
        sample_aspect_ratio: shape of a pixel, width to height.
        interlaced: codes two fields a frame (libx264), the lower one first.
        top_field_first: marks the upper one as the first.
        bframes: largest run of B-frames.
        gop: frames from key frame to key frame.
        metadata: tags of the container (title, ...).
        picture: maps the ordinal to (height, width, 3) uint8 RGB; by default `square_picture`.
        codec_options: further options of the encoder.
        container_options: options of the muxer, such as {"avoid_negative_ts": "disabled"}.
        container_format: FFmpeg's name of the muxer where the suffix does not say it.

    Returns:
        `path`.
    """
    draw = picture or square_picture(width, height)
    options = {"g": str(gop), "bf": str(bframes)}
    if codec == "libx264":
        options |= {"preset": "ultrafast" if not bframes else "veryfast", "crf": "12"}
        params = ["scenecut=0"]
        if interlaced:
            params.append("tff=1")
        options["x264-params"] = ":".join(params)
    if codec == "libx265":
        options |= {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"}
    if codec == "libvpx-vp9":
        options |= {"cpu-used": "8", "deadline": "realtime", "crf": "20", "b": "0"}
    if codec == "mpeg4":
        options |= {"q": "3", "qmin": "3", "qmax": "3"}
    options |= dict(codec_options or {})

    opened = av.open(str(path), "w", format=container_format, options=dict(container_options or {}))
    with kept_urgency(), opened as container:
        for key, value in (metadata or {}).items():
            container.metadata[key] = value
        video: Any = container.add_stream(codec, rate=rate, options=options)
        video.width, video.height, video.pix_fmt = width, height, pix_fmt
        context = video.codec_context
        context.thread_count = 1
        context.time_base = time_base if pts is not None else 1 / Fraction(rate)
        for name, value in {
            "color_range": color_range,
            "colorspace": colorspace,
            "color_primaries": color_primaries,
            "color_trc": color_trc,
            "sample_aspect_ratio": sample_aspect_ratio,
        }.items():
            if value is not None:
                setattr(context, name, value)
        audio = [_add_audio(container, path, track) for track in range(audio_tracks)]
        text = _add_subtitles(container, path) if subtitles else None

        times = list(pts) if pts is not None else list(range(frames))
        if len(times) != frames:
            raise ValueError(f"pts must hold {frames} times, got {len(times)}")
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(draw(i)), format="rgb24").reformat(
                format=pix_fmt, dst_colorspace=colorspace if matrix is None else matrix, dst_color_range=color_range
            )
            frame.colorspace = 2 if colorspace is None else colorspace  # an encoder may take the tag from here
            frame.pts, frame.time_base = time, context.time_base
            container.mux(video.encode(_top_field_first(frame) if top_field_first else frame))
        container.mux(video.encode(None))

        end_seconds = float(times[-1] * context.time_base) + 1 / float(rate)
        for track, stream in enumerate(audio):
            _write_tone(container, stream, 220.0 * (track + 1), end_seconds)
        if text is not None:
            _write_subtitles(container, text, path, end_seconds)
    if rotation:
        rotate_mp4(path, rotation)
    return path


def _top_field_first(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame with the mark, which PyAV cannot set."""
    graph = av.filter.Graph()
    base = frame.time_base
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
    graph.link_nodes(source, graph.add("setfield", "tff"), graph.add("buffersink")).configure()
    graph.vpush(frame)
    marked = graph.vpull()
    marked.pts, marked.time_base = frame.pts, base
    return marked


def _add_audio(container: Any, path: Path, track: int) -> Any:
    codec = {".webm": "libopus", ".ogv": "libopus", ".avi": "mp3"}.get(path.suffix, "aac")
    stream = container.add_stream(codec, rate=AUDIO_RATE)
    stream.codec_context.layout = "mono"
    stream.metadata["language"] = ("eng", "deu", "fra")[track % 3]
    return stream


def _write_tone(container: Any, stream: Any, frequency: float, seconds: float) -> None:
    count = max(1, round(max(seconds, 0.0) * AUDIO_RATE))
    wave = (0.3 * np.sin(2 * np.pi * frequency * np.arange(count) / AUDIO_RATE)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, 0, Fraction(1, AUDIO_RATE)
    resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=AUDIO_RATE)
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(piece))
    container.mux(stream.encode(None))


def _add_subtitles(container: Any, path: Path) -> Any:
    codec = {".mkv": "subrip", ".webm": "webvtt"}.get(path.suffix, "mov_text")
    stream = container.add_mux_stream(codec)
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = "eng"
    return stream


def _write_subtitles(container: Any, stream: Any, path: Path, seconds: float) -> None:
    half = max(1, round(seconds * 500))
    for i, line in enumerate((b"first line", b"second line")):
        data = line if path.suffix in (".mkv", ".webm") else struct.pack(">H", len(line)) + line
        packet: Any = av.Packet(data)
        packet.stream = stream
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = i * half
        packet.duration = half
        container.mux(packet)


def rotate_mp4(path: Path, degrees: int) -> None:
    """Writes a display matrix into the video track of an mp4 or mov file.

    Args:
        path: the file, changed in place.
        degrees: counter-clockwise turn by which a player shows the picture; a multiple of 90.
    """
    if degrees % 90:
        raise ValueError(f"degrees must be a multiple of 90, got {degrees}")
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees % 360]
    set_display_matrix(path, (cosine, -sine, sine, cosine))


def set_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Writes a display matrix into the video track of an mp4 or mov file.

    Patches the bytes of the track header: PyAV before 18 has no call for it.

    Args:
        path: the file, changed in place.
        matrix: (a, b, c, d) for "column p, row q of the coded picture is shown at column a p + c q, row b p + d q".

    Returns:
        `path`.
    """
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd")  # the video track is the first that make_video adds
    if at < 0:
        raise ValueError(f"{path.name} has no display matrix: need an mp4 or mov file")
    a, b, c, d = (value << 16 for value in matrix)
    place = at + 4 + (52 if data[at + 4] == 1 else 40)
    struct.pack_into(">9i", data, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def add_cover(path: Path, target: Path, jpeg: bytes) -> Path:
    """Copies the streams of `path` to `target` with `jpeg` as attached cover art in front of them."""
    with av.open(str(path)) as source, av.open(str(target), "w") as out:
        cover: Any = out.add_stream("mjpeg", rate=1)
        with av.open(io.BytesIO(jpeg), format="jpeg_pipe") as image:
            still = next(image.decode(video=0))
        cover.width, cover.height, cover.pix_fmt = still.width, still.height, "yuvj420p"
        cover.disposition = int(av.stream.Disposition.attached_pic)
        copies = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        out.start_encoding()
        packet: Any = av.Packet(jpeg)
        packet.stream, packet.pts, packet.dts = cover, 0, 0
        packet.is_keyframe = True
        out.mux(packet)
        for item in source.demux():
            if item.dts is None:
                continue
            item.stream = copies[item.stream.index]
            out.mux(item)
    return target


def make_audio(path: Path, *, seconds: float = 1.0, container_options: Mapping[str, str] | None = None) -> Path:
    """Makes a file with one tone and no picture."""
    with av.open(str(path), "w", options=dict(container_options or {})) as container:
        stream = _add_audio(container, path, 0)
        _write_tone(container, stream, 220.0, seconds)
    return path


@dataclass(frozen=True)
class StreamPacket:
    """One packet of a stream as the container holds it."""

    pts: Fraction | None
    """Presentation time in seconds, exact."""
    duration: Fraction | None
    """Seconds, exact."""
    size: int
    """Bytes."""
    data: bytes
    """The coded bytes."""


def stream_packets(path: Path, index: int = 0) -> list[StreamPacket]:
    """Lists the packets of stream number `index` of a file, in file order."""
    packets = []
    with av.open(str(path)) as container:
        stream = container.streams[index]
        for packet in container.demux(stream):
            if packet.size == 0:  # the note to flush the decoder
                continue
            base = stream.time_base
            packets.append(
                StreamPacket(
                    pts=None if packet.pts is None or not base else packet.pts * base,
                    duration=None if packet.duration is None or not base else packet.duration * base,
                    size=packet.size,
                    data=bytes(packet),
                )
            )
    return packets


def truncate(path: Path, share: float) -> Path:
    """Keeps only the first `share` (0 to 1) of a file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def corrupt(path: Path, *, start_share: float = 0.4, end_share: float = 0.6, every: int = 7) -> Path:
    """Overwrites every `every`-th byte between two shares (0 to 1) of the file with noise."""
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    start, end = int(len(data) * start_share), int(len(data) * end_share)
    for at in range(start, end, every):
        data[at] = int(rng.integers(0, 256))
    path.write_bytes(data)
    return path


def concatenate(paths: Sequence[Path], target: Path) -> Path:
    """Joins files byte by byte; of use for MPEG-TS and raw H.264, which may change in the middle."""
    target.write_bytes(b"".join(path.read_bytes() for path in paths))
    return target


def with_pts(path: Path, packet: int, pts: int, *, stream_id: int = 0xE0) -> Path:
    """Writes another time, in 1/90000 s, into the header of packet number `packet` of a transport stream.

    Args:
        path: the file, changed in place; without B-frames, whose headers hold a second time.
        packet: ordinal of the packet in its stream, from 0.
        pts: the time; 33 bits are written.
        stream_id: 0xE0 for the video, 0xC0 for the first sound track.
    """
    data = bytearray(path.read_bytes())
    at = -1
    for _ in range(packet + 1):
        at = data.index(bytes([0, 0, 1, stream_id]), at + 1)
    data[at + 9 : at + 14] = bytes(
        [0x21 | (pts >> 29 & 0x0E), pts >> 22 & 0xFF, pts >> 14 & 0xFE | 1, pts >> 7 & 0xFF, pts << 1 & 0xFE | 1]
    )
    path.write_bytes(data)
    return path


def join_programmes(parts: Sequence[Path], target: Path) -> Path:
    """Joins transport streams of one programme each, with ids of their own, to one stream of several programmes."""
    packets = [[data[at : at + 188] for at in range(0, len(data), 188)] for data in map(Path.read_bytes, parts)]
    maps = b""
    for own in packets:
        table = next(packet for packet in own if _packet_id(packet) == 0)
        maps += table[13:17]  # the programme's number, and the id of its map
    section = struct.pack(">BHHBBB", 0, 0xB000 | (9 + len(maps)), 1, 0xC1, 0, 0) + maps
    section += struct.pack(">I", _crc_32_mpeg(section))
    directory = (b"\x47\x40\x00\x10\x00" + section).ljust(188, b"\xff")
    share = max(map(len, packets))
    order = sorted(
        (place * share // len(own), part, place) for part, own in enumerate(packets) for place in range(len(own))
    )
    body = [packets[part][place] for _, part, place in order]
    target.write_bytes(directory + b"".join(packet for packet in body if _packet_id(packet) != 0))
    return target


def _packet_id(packet: bytes) -> int:
    return int.from_bytes(packet[1:3], "big") & 0x1FFF


def _crc_32_mpeg(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


def jpeg_of(width: int, height: int) -> bytes:
    """A grey JPEG."""
    context: Any = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt, context.time_base = width, height, "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.full((height * 3 // 2, width), 128, np.uint8), format="yuvj420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def with_captions(path: Path, target: Path) -> Path:
    """Copies an H.264 mp4, and puts a pair of closed captions (CEA-608 in ATSC A/53) before each picture."""
    with av.open(str(path)) as source, av.open(str(target), "w") as out:
        stream: Any = source.streams.video[0]
        copy = out.add_stream_from_template(stream, opaque=True)
        packets = [packet for packet in source.demux(stream) if packet.size]
        for i, packet in enumerate(packets):
            # One triplet of field 1; the second byte differs for each picture.
            user_data = b"\xb5\x00\x31GA94\x03" + bytes([0x41, 0xFF, 0xFC, 0x14, 0x20 + i % 64, 0xFF])
            unit = bytes([6, 4, len(user_data)]) + user_data + b"\x80"
            changed: Any = av.Packet(struct.pack(">I", len(unit)) + unit + bytes(packet))
            changed.pts, changed.dts, changed.duration = packet.pts, packet.dts, packet.duration
            changed.time_base, changed.is_keyframe, changed.stream = packet.time_base, packet.is_keyframe, copy
            out.mux(changed)
    return target
