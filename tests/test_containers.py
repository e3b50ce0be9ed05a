"""What a container holds, and the clock on which packets are written into it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
import pytest
from av.error import InvalidDataError
from av.stream import Disposition
from av.video.reformatter import Colorspace

from vidsal.sinks import containers
from vidsal.sinks.containers import (
    CHOICES,
    FORMATS,
    IS_PYAV_18,
    RisingClock,
    Sample,
    add_copy,
    codec_name,
    dated,
    describe,
    is_cover,
    is_refusal,
    is_understood,
    takes,
)

MILLISECOND = Fraction(1, 1000)


def made(kind: str = "audio", codec: str | None = "aac", canonical: str | None = None, **more: Any) -> Any:
    """A stream; without a codec PyAV knows at most its name."""
    context = None if codec is None else SimpleNamespace(name=codec, codec=SimpleNamespace(canonical_name=canonical))
    return SimpleNamespace(**{"type": kind, "index": 1, "codec_context": context, "metadata": {}} | more)


def test_each_container_has_a_muxer_and_may_become_those_that_hold_more() -> None:
    assert list(FORMATS) == list(CHOICES) == [".mp4", ".mov", ".mkv"]
    assert [list(FORMATS)[i:] for i in range(3)] == [list(choice) for choice in CHOICES.values()]
    for name in FORMATS.values():
        assert av.ContainerFormat(name, "w").is_output


def test_the_features_of_pyav_18_are_told_by_its_number() -> None:
    assert hasattr(Colorspace, "BT2020") is IS_PYAV_18


@pytest.mark.parametrize(
    ("disposition", "cover"),
    [
        (Disposition.attached_pic, True),
        (Disposition.attached_pic | Disposition.default, True),
        (Disposition.default, False),
    ],
)
def test_a_cover_is_known_by_its_mark(disposition: Disposition, cover: bool) -> None:
    assert is_cover(made("video", disposition=disposition)) is cover


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (InvalidDataError(1, "bad"), True),
        (ValueError("no"), True),
        (av.error.ArgumentError(22, "Invalid argument"), True),
        (av.error.OSError(28, "No space left on device"), False),
        (OSError("gone"), False),
        (MemoryError(), False),
        (RuntimeError(), False),
    ],
)
def test_a_disk_or_memory_that_fails_refuses_nothing(error: Exception, refusal: bool) -> None:
    assert is_refusal(error) is refusal


@pytest.mark.parametrize(
    ("stream", "name", "words"),
    [
        (made(codec="libopus", canonical="opus"), "opus", "audio stream 1 (libopus)"),
        (made(metadata={"language": "deu"}), None, "audio stream 1 (aac, deu)"),
        (made(metadata={"language": "und"}), None, "audio stream 1 (aac)"),
        (made("data", None, name="bin_data"), "bin_data", "data stream 1 (bin_data)"),
        (made("data", None), None, "data stream 1 (unknown codec)"),
    ],
)
def test_a_stream_is_named_by_its_codec_and_language(stream: Any, name: str | None, words: str) -> None:
    assert (codec_name(stream), describe(stream)) == (name, words)


def understood(suffix: str, codec: str, kind: str = "audio") -> bool:
    return is_understood(suffix, made(kind, codec, codec))


def test_players_agree_on_codecs_that_ffmpeg_knows() -> None:
    """A name that is wrong would keep sound out of the container that it was meant for."""
    known = {av.Codec(name, mode).canonical_name for mode in "rw" for name in av.codecs_available if has(name, mode)}
    undecoded = {"ac4", "mpegh_3d_audio"}
    for names in containers._UNDERSTOOD_SOUND.values():
        assert names <= known | undecoded
    assert undecoded <= containers._UNDERSTOOD_SOUND[".mp4"]
    assert understood(".mov", "pcm_s16le") and not understood(".mp4", "pcm_s16le")
    assert understood(".mp4", "flac") and not understood(".mov", "flac")
    assert understood(".mkv", "adpcm_ms") and not understood(".mp4", "adpcm_ms")
    assert understood(".mp4", "pcm_s16le", "video")


def has(name: str, mode: Any) -> bool:
    try:
        return bool(av.Codec(name, mode))
    except ValueError:
        return False


# --- the clock of a file ---


def packet_at(dts: int, pts: int | None = None, duration: int = 0, base: Fraction = MILLISECOND) -> Any:
    packet: Any = av.Packet(b"12")
    packet.dts, packet.pts, packet.duration, packet.time_base = dts, pts, duration, base
    return packet


def fitted(*packets: Any, format_name: str = "mp4", base: Fraction = MILLISECOND) -> list[tuple[int, ...]]:
    """Times and durations in ticks of the file's clock, and by how many they were moved."""
    out = SimpleNamespace(format=SimpleNamespace(name=format_name))
    clock = RisingClock(out, SimpleNamespace(time_base=base))
    found = []
    for packet in packets:
        moved = clock.fit(packet)
        clock.advance(packet)
        assert packet.time_base == base
        found.append((packet.dts, packet.pts, packet.duration, int(moved / base)))
    return found


def test_times_rise_by_the_least_that_a_container_tells_apart() -> None:
    times = [0, 40, 40, 10, 50]
    assert [dts for dts, *_ in fitted(*map(packet_at, times))] == [0, 40, 41, 42, 50]
    assert [dts for dts, *_ in fitted(*map(packet_at, times), format_name="matroska")] == [0, 40, 40, 40, 50]
    assert [moved for *_, moved in fitted(*map(packet_at, times))] == [0, 0, 1, 32, 0]
    assert [dts for dts, *_ in fitted(packet_at(-30), packet_at(-30))] == [-30, -29]


def test_a_packet_is_not_shown_before_it_is_decoded() -> None:
    packets = packet_at(0, 80), packet_at(40, 40), packet_at(30, 35), packet_at(80)
    assert [(dts, pts) for dts, pts, *_ in fitted(*packets)] == [(0, 80), (40, 40), (41, 41), (80, 80)]


def coming(*times: tuple[str, int | None, int | None]) -> list[Any]:
    """Packets of streams of these kinds, with their times to be decoded and to be shown; 40 long."""
    packets = []
    for kind, dts, pts in times:
        disposition = Disposition.attached_pic if kind == "cover" else Disposition(0)
        index = ("video", "audio", "cover").index(kind)
        stream = SimpleNamespace(index=index, type="audio" if kind == "audio" else "video", disposition=disposition)
        packets.append(SimpleNamespace(dts=dts, pts=pts, duration=40, stream=stream))
    return packets


@pytest.mark.parametrize(
    ("times", "become"),
    [
        # As FFmpeg reads B-frames from Matroska: the first two come before the first that is shown in order.
        (
            [("video", dts, pts) for dts, pts in ((None, 21), (None, 181), (21, 101), (61, 61), (101, 141))],
            [(-59, 21), (-19, 181), (21, 101), (61, 61), (101, 141)],
        ),
        # They wait, but not for other streams, and others not for them.
        (
            [("video", None, 0), ("audio", None, 0), ("video", None, 80), ("audio", 20, 20), ("video", 0, 40)],
            [(0, 0), (20, 20), (-80, 0), (-40, 80), (0, 40)],
        ),
        # None is decoded after it is shown, whatever the steps.
        ([("video", None, 0), ("video", None, 200), ("video", 150, 160)], [(0, 0), (110, 200), (150, 160)]),
        # None comes that has a time.
        ([("video", None, 0), ("video", None, 80), ("video", None, 40)], [(-40, 0), (0, 80), (40, 40)]),
        ([("cover", None, 500), ("cover", None, None), ("audio", None, None)], [(0, 500), (0, None), (None, None)]),
        ([("video", None, None), ("video", 5, None)], [(None, None), (5, None)]),
        # No more wait than a codec may hold back.
        ([("video", None, 40 * i) for i in range(20)], [(40 * i, 40 * i) for i in range(20)]),
    ],
)
def test_a_packet_gets_a_time_of_decoding_and_stays_where_it_is_shown(
    times: list[tuple[str, int | None, int | None]], become: list[tuple[int | None, int | None]]
) -> None:
    assert [(packet.dts, packet.pts) for packet in dated(coming(*times))] == become


def test_no_more_pictures_wait_than_a_codec_holds_back() -> None:
    packets, read = coming(*(("video", None, 40 * i) for i in range(100))), 0

    def reading() -> Iterator[Any]:
        nonlocal read
        for packet in packets:
            read += 1
            yield packet

    next(dated(reading()))
    assert read == 18


@pytest.mark.parametrize(
    ("ticks", "becomes"), [(0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (-1, -1), (-2, -1), (-3, -2), (1001, 501)]
)
def test_halves_of_a_tick_are_rounded_away_from_0(ticks: int, becomes: int) -> None:
    (found,) = fitted(packet_at(ticks, base=MILLISECOND), base=2 * MILLISECOND)
    assert found[:2] == (becomes, becomes)


def test_a_packet_that_lasts_at_all_lasts_a_tick() -> None:
    lasting = [packet_at(1000 * i, duration=duration) for i, duration in enumerate((0, 1, 40, 41))]
    assert [duration for *_, duration, _ in fitted(*lasting, base=20 * MILLISECOND)] == [0, 1, 2, 2]


# --- copies and trials ---


def opened(*streams: Callable[[Any], list[Any]], format_name: str = "matroska", **replaced: bytes) -> Any:
    """A file in memory, to be read; some of its bytes may be replaced."""
    file = io.BytesIO()
    with av.open(file, "w", format=format_name) as out:
        out.mux([packet for packets in [add(out) for add in streams] for packet in packets])
    data = file.getvalue()
    return av.open(io.BytesIO(data.replace(replaced["old"], replaced["new"], 1) if replaced else data))


def a_picture(out: Any, codec: str = "mpeg4", **tags: str) -> list[Any]:
    stream = out.add_stream(codec, rate=10)
    stream.width = stream.height = 16
    stream.pix_fmt = "yuv420p"
    stream.metadata.update(tags)
    frame = av.VideoFrame(16, 16, "yuv420p")
    frame.pts = 0
    return [*stream.encode(frame), *stream.encode(None)]


def some_sound(out: Any, codec: str = "pcm_s16le", form: str = "s16") -> list[Any]:
    stream = out.add_stream(codec, rate=8000, layout="mono", format=form)
    frame = av.AudioFrame(format=form, layout="mono", samples=4000)
    frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
    return [*stream.encode(frame), *stream.encode(None)]


@pytest.fixture
def sound() -> Iterator[Any]:
    """A stream of PCM in milliseconds."""
    with opened(some_sound) as container:
        yield container.streams[0]


def test_nameless_data_is_refused() -> None:
    for name, error in ((None, "nameless"), ("klv", "template")):
        out = SimpleNamespace(
            format=SimpleNamespace(name="mp4"), add_stream_from_template=lambda *_, **__: int("template")
        )
        with pytest.raises(ValueError, match=error):
            add_copy(out, made("data", None, name=name))


def test_a_copy_has_the_rate_the_tags_and_the_role_of_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(lambda out: a_picture(out, title="Scene", timecode="01:00:00:00", ENCODER="x")) as source:
        (stream,) = source.streams
        stream.disposition = Disposition.forced
        with av.open(io.BytesIO(), "w", format="mp4") as out:
            copy = add_copy(out, stream)
            tags = {"title": "Scene", "handler_name": "Scene"}
            code = {"TIMECODE": "01:00:00:00"} if "TIMECODE" in stream.metadata else {"timecode": "01:00:00:00"}
            assert copy.metadata == tags | code
            assert copy.disposition == Disposition.forced
            if IS_PYAV_18:
                assert copy.codec_context.framerate == 10


@pytest.mark.skipif(not IS_PYAV_18, reason="PyAV before 18 copies only what a container has a name of its own for")
def test_matroska_takes_what_it_has_no_name_for_and_others_say_no() -> None:
    def windows_picture(out: Any) -> list[Any]:
        return a_picture(out, "msmpeg4v2")

    def windows_sound(out: Any) -> list[Any]:
        return some_sound(out, "adpcm_ms")

    # Windows' numbers of codes, of one channel at 8000 samples a second; there is no encoder for the second.
    rest = b"\0\1\0\x40\x1f"
    replaced = {"old": b"\x02" + rest, "new": b"\x61" + rest}
    with opened(windows_picture, windows_sound, format_name="avi", **replaced) as source:
        assert codec_name(source.streams[1]) == "adpcm_ima_dk4"
        with av.open(io.BytesIO(), "w", format="matroska") as out:
            copies = [add_copy(out, stream) for stream in source.streams]
            assert [copy.time_base for copy in copies] == [stream.time_base for stream in source.streams]
            out.start_encoding()
        for stream in source.streams:
            with av.open(io.BytesIO(), "w", format="mp4") as out, pytest.raises(ValueError, match="not support"):
                add_copy(out, stream)


def test_a_copy_needs_no_encoder() -> None:
    """FFmpeg decodes MP3 by a decoder whose name no encoder has."""
    mp3 = opened(lambda out: some_sound(out, "libmp3lame", "s16p"))
    with mp3 as source, av.open(io.BytesIO(), "w", format="mp4") as out:
        assert codec_name(add_copy(out, source.streams[0])) == "mp3"


class Written:
    """An output whose packets are listed: number of the stream, times in milliseconds, clock."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self.packets: list[tuple[int, float, float, Fraction]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)

    def __enter__(self) -> Written:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()

    def mux(self, packet: Any) -> None:
        base = packet.time_base
        self.packets.append((packet.stream.index, *(float(1000 * t * base) for t in (packet.dts, packet.pts)), base))
        self._out.mux(packet)


class Trial:
    """Tries a container, and keeps what was written; `unread` are streams that are not found in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, unread: tuple[int, ...] = ()) -> None:
        self.out: Any = None
        self.streams: list[dict[str, str]] = []
        self.chapters: list[Any] = []

        def open_file(file: Any, mode: str = "r", real: Any = av.open, **options: Any) -> Any:
            if mode == "w":
                self.out = Written(real(file, mode, **options))
                return self.out
            with real(file, mode) as back:
                self.streams, self.chapters = [dict(stream.metadata) for stream in back.streams], back.chapters()
                found = [
                    made(s.type, "", None if s.codec_context is None else codec_name(s))
                    for s in back.streams
                    if s.index not in unread
                ]
            return contextlib.nullcontext(SimpleNamespace(streams=found))

        monkeypatch.setattr(containers, "av", SimpleNamespace(**{**vars(av), "open": open_file}))

    def __call__(self, suffix: str, *samples: Sample, add: Any = None, rate: Fraction | int = 10, **more: Any) -> bool:
        more = {"options": {}, "video_tags": {}, "chapters": []} | more
        return takes(suffix, samples, add=add or added, rate=Fraction(rate), **more)


def added(out: Any, sample: Sample) -> Callable[[Any], list[Any]]:
    copy = add_copy(out, sample.stream)

    def convert(packet: Any) -> list[Any]:
        if packet is not None:
            packet.stream = copy
        return [] if packet is None else [packet]

    return convert


def test_packets_are_tried_from_0_in_the_order_and_the_clock_of_the_file(
    monkeypatch: pytest.MonkeyPatch, sound: Any
) -> None:
    trial = Trial(monkeypatch)
    hour = 3_600_000
    packets = [packet_at(hour + 50, hour + 60), packet_at(hour + 150), packet_at(hour + 150), packet_at(hour + 450)]
    assert trial(".mov", Sample(sound, packets))
    tick = Fraction(1, 8000)
    written = [(index, dts, pts) for index, dts, pts, _ in trial.out.packets]
    # Of two of one time the second comes a tick later.
    of_sound = [(1, 0, 10), (1, 100, 100), (1, 100.125, 100.125), (1, 400, 400)]
    pictures = [(0, 0, 0), (0, 100, 100), (0, 200, 200)]
    assert written == [of_sound[0], pictures[0], *of_sound[1:3], *pictures[1:], of_sound[3]]
    assert {base for index, *_, base in trial.out.packets if index == 1} == {tick}
    assert [packet.dts for packet in packets] == [hour + 50, hour + 150, hour + 150, hour + 450]


def test_a_trial_has_the_chapters_the_tags_and_any_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(monkeypatch)
    chapter = {"id": 1, "start": 0, "end": 100, "time_base": MILLISECOND, "metadata": {"title": "One"}}
    # MPEG-4 counts no more than 65535 units a second.
    assert trial(".mkv", rate=Fraction(100_000, 3337), video_tags={"title": "Scene"}, chapters=[chapter])
    assert trial.streams == [trial.streams[0] | {"title": "Scene"}]
    assert [one["metadata"]["title"] for one in trial.chapters] == ["One"]
    assert [round(pts) for _, _, pts, _ in trial.out.packets] == [0, 33, 67]


def test_what_is_not_read_back_was_not_taken(monkeypatch: pytest.MonkeyPatch, sound: Any) -> None:
    with opened(a_picture) as source:
        begun, empty = Sample(sound, [packet_at(0)]), Sample(sound)
        second = Sample(source.streams[0], list(source.demux())[:1])
        for samples, unread, taken in (
            ([begun], (), True),
            ([begun], (1,), False),
            ([empty], (1,), True),
            ([second], (), True),
            # The video beside which it is tried is of the same kind.
            ([second], (1,), False),
            ([begun, begun], (2,), False),
        ):
            assert Trial(monkeypatch, unread)(".mkv", *samples) is taken


@pytest.mark.parametrize("error", [InvalidDataError(1, "bad"), ValueError("bad"), IndexError("bad")])
def test_what_fails_on_its_way_is_not_taken_but_the_file_is_ended(
    monkeypatch: pytest.MonkeyPatch, sound: Any, error: Exception
) -> None:
    def add(out: Any, sample: Sample) -> Any:
        def convert(packet: Any) -> list[Any]:
            raise error

        return convert

    trial = Trial(monkeypatch)
    assert not trial(".mkv", Sample(sound, [packet_at(0)]), add=add)
    assert [index for index, *_ in trial.out.packets] == [0, 0, 0]

    def refuse(out: Any, sample: Sample) -> Any:
        raise error

    assert not trial(".mkv", Sample(sound), add=refuse)


@pytest.mark.parametrize(
    ("kind", "codec", "known"),
    [
        *[("audio", name, ("audio", "mp3")) for name in ("mp1", "mp2", "mp3")],
        *[("subtitle", name, ("subtitle", "text")) for name in ("subrip", "srt", "text")],
        *[("subtitle", name, ("subtitle", "ssa")) for name in ("ass", "ssa")],
        ("video", "h264", ("video", "h264")),
        ("data", None, ("data", None)),
        ("attachment", "ttf", ("attachment", None)),
        ("unknown", None, ("attachment", None)),
    ],
)
def test_codecs_that_are_decoded_alike_are_one_kind(
    kind: str, codec: str | None, known: tuple[str, str | None]
) -> None:
    assert containers._kind_of(made(kind, codec, codec)) == known


@pytest.mark.parametrize("known", [True, False])
def test_before_pyav_18_a_copy_has_no_time_code(monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    monkeypatch.setattr(containers, "IS_PYAV_18", known)
    template = SimpleNamespace(metadata={}, codec_context=None)
    out = SimpleNamespace(format=SimpleNamespace(name="mp4"), add_stream_from_template=lambda *_, **__: template)
    stream = made(metadata={"timecode": "01:00:00:00"}, disposition=SimpleNamespace(value=0))
    assert add_copy(out, stream).metadata == ({"timecode": "01:00:00:00"} if known else {})
