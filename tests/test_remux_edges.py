"""Where copying begins, ends and gives up: packets with given times go through a `Copier` into a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from media import add_cover, jpeg_of, make_video
from test_remux import with_sound

from vidsal.sinks import remux
from vidsal.sinks.containers import Sample
from vidsal.sinks.remux import Copier, Span
from vidsal.sinks.sound import forms_for

VIDEO, SOUND, SUBTITLES, SECOND_VIDEO = range(4)
NEXT_CLOCK = 50_000_000
"""More milliseconds than a gap may last."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four streams in a container whose clock counts milliseconds."""
    folder = tmp_path_factory.mktemp("remux")
    pictures = with_sound(folder / "sound.mkv", "pcm_s16le", layout="mono", rate=8000, seconds=0.3)
    text = make_video(folder / "text.mkv", frames=3, codec="mpeg4", subtitles=True)
    path = folder / "in.mkv"
    with av.open(str(pictures)) as first, av.open(str(text)) as second, av.open(str(path), "w") as out:
        streams = [*first.streams, *list(second.streams)[::-1]]
        copies = [(stream, out.add_stream_from_template(stream, opaque=True)) for stream in streams]
        copies[SOUND][1].metadata["title"] = "Commentary"
        copies[SOUND][1].disposition = int(av.stream.Disposition.comment)
        for stream, copy in copies:
            for packet in stream.container.demux(stream):
                if packet.size:
                    packet.stream = copy
                    out.mux(packet)
            stream.container.seek(0)
    return path


@dataclass(frozen=True)
class P:
    """A packet; times in milliseconds."""

    index: int
    dts: int | None
    duration: int = 100
    pts: int | None = -1
    """-1: as `dts`."""
    key: bool = True
    size: int = 4


class Given:
    """An open file that gives packets, and raises the errors between them; each once."""

    def __init__(self, container: Any, items: Sequence[P | Exception]) -> None:
        self._container = container
        self._items = iter(enumerate(items))
        self.given = 0
        self.sought: list[int] = []
        self.seeks = True
        self.closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, *streams: Any) -> Iterator[Any]:
        for number, item in self._items:
            self.given += 1
            if isinstance(item, Exception):
                raise item
            packet: Any = av.Packet(bytes([number, 0, 0, 1][: item.size]))
            packet.stream = self._container.streams[item.index]
            packet.time_base = Fraction(1, 1000)
            packet.dts, packet.pts = item.dts, item.dts if item.pts == -1 else item.pts
            packet.duration, packet.is_keyframe = item.duration, item.key
            yield packet

    def close(self) -> None:
        self.closed = True
        self._container.close()

    def seek(self, microseconds: int) -> None:
        self.sought.append(microseconds)
        if not self.seeks:
            raise av.error.ArgumentError(22, "Invalid argument")


def opened(source: Path, items: Sequence[P | Exception] = (), **options: Any) -> Any:
    """A `Copier` that gets these packets, and its messages as `told`."""
    messages: list[str] = []
    copier: Any = Copier(source, **({"skip": VIDEO, "messages": messages, "rate": Fraction(10)} | options))
    copier._container = Given(copier._container, items)
    copier.told = messages
    return copier


def begun(copier: Any, target: Path, *, shift: Any = 0, start: Any = None, end: Any = None, forms: Any = None) -> Any:
    """The file, with its header."""
    out = av.open(str(target), "w")
    encoded: Any = out.add_stream("mpeg4", rate=10)
    encoded.width = encoded.height = 16
    encoded.pix_fmt = "yuv420p"
    window = Span(Fraction(shift), *(None if time is None else Fraction(time) for time in (start, end)))
    copier.attach(out, encoded, window=window, forms=forms, is_copy=False)
    return out


def coded_picture(stream: Any, number: int = 0) -> list[Any]:
    """A black picture, as the only one of a stream."""
    frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
    frame.pts = number
    return [*stream.encode(frame), *stream.encode(None)]


def read(target: Path) -> list[tuple[int, int, int]]:
    """Number of each packet as it was given, its time and its duration in milliseconds; by number."""
    with av.open(str(target)) as container:
        packets = [
            (bytes(p)[0], round(p.pts * p.time_base * 1000), round((p.duration or 0) * p.time_base * 1000))
            for p in container.demux()
            if p.size
        ]
    return sorted(packets)


def copied(
    source: Path, items: Sequence[P | Exception], folder: Path, *, stop: Any = None, **window: Any
) -> tuple[dict[int, int], list[str]]:
    """The times of the packets that arrive, by their number, and what is said."""
    copier = opened(source, items)
    with begun(copier, folder / "out.mkv", **window):
        copier.copy_until(stop)
        copier.close()
    return {number: time for number, time, _ in read(folder / "out.mkv")}, copier.told


def lost(count: int) -> str:
    packets = "1 broken packet was" if count == 1 else f"{count} broken packets were"
    return f"{packets} left out while copying sound and further streams"


MOVED = "1 packet of sound or a further stream was not later than the one before: moved just after it"
HOUR = 3_600_000
CLOCKS: dict[str, tuple[list[P | Exception], dict[int, int], list[str]]] = {
    "an hour of silence is one": ([P(SOUND, 0), P(SOUND, 100 + HOUR)], {0: 0, 1: 100 + HOUR}, []),
    "more is a broken time": ([P(SOUND, 0), P(SOUND, 101 + HOUR)], {0: 0}, [lost(1)]),
    "a second back is an overlap": ([P(SOUND, 0, 2000), P(SOUND, 1000)], {0: 0, 1: 1000}, []),
    "more is a broken time too": ([P(SOUND, 0, 2000), P(SOUND, 999)], {0: 0}, [lost(1)]),
    "no duration is none": ([P(SOUND, 2000, 0), P(SOUND, 1000)], {0: 2000, 1: 2000}, [MOVED]),
    "subtitles overlap": ([P(SUBTITLES, 0, 5000), P(SUBTITLES, 1000)], {0: 0, 1: 1000}, []),
    "a subtitle begins a second back": ([P(SUBTITLES, 2000), P(SUBTITLES, 1000)], {0: 2000, 1: 2000}, [MOVED]),
    "two are moved": (
        [P(SOUND, 500), P(SOUND, 400), P(SOUND, 300)],
        {0: 500, 1: 500, 2: 500},
        ["2 packets of further streams were not later than the one before: moved just after it"],
    ),
    "a new clock goes on where the old one ended": (
        [P(SOUND, 0), P(SOUND, 100), *(P(SOUND, NEXT_CLOCK + i * 100) for i in range(3))],
        {0: 0, 1: 100, 3: 300, 4: 400},
        [lost(1)],
    ),
    "a clock that starts anew at 0": (
        [P(SOUND, 70_000), *(P(SOUND, i * 100) for i in range(3))],
        {0: 70_000, 2: 70_200, 3: 70_300},
        [lost(1)],
    ),
    "two broken times apart are no clock": (
        [P(SOUND, 0), P(SOUND, NEXT_CLOCK), P(SOUND, 100), P(SOUND, NEXT_CLOCK + 200), P(SOUND, 200)],
        {0: 0, 2: 100, 4: 200},
        [lost(2)],
    ),
    "two broken times far from each other are no clock": (
        [P(SOUND, 0), P(SOUND, NEXT_CLOCK), P(SOUND, 3 * NEXT_CLOCK), P(SOUND, 100)],
        {0: 0, 3: 100},
        [lost(2)],
    ),
    "subtitles make no clock": (
        [P(SUBTITLES, 0), P(SUBTITLES, NEXT_CLOCK), P(SUBTITLES, NEXT_CLOCK + 100)],
        {0: 0},
        [lost(2)],
    ),
    "pictures make one": (
        [P(SECOND_VIDEO, 0), P(SECOND_VIDEO, NEXT_CLOCK), P(SECOND_VIDEO, NEXT_CLOCK + 100, pts=NEXT_CLOCK + 130)],
        {0: 0, 2: 230},
        [lost(1)],
    ),
    "a clock that one stream has shown holds for all": (
        [
            *(P(index, HOUR + time) for time in (0, 100) for index in (SOUND, SUBTITLES, SECOND_VIDEO)),
            P(SOUND, NEXT_CLOCK),
            P(SOUND, NEXT_CLOCK + 100),
            P(SUBTITLES, NEXT_CLOCK + 150),
            P(SECOND_VIDEO, NEXT_CLOCK + 200),
        ],
        {i: HOUR + time for i, time in {0: 0, 1: 0, 2: 0, 3: 100, 4: 100, 5: 100, 7: 300, 8: 350, 9: 400}.items()},
        [lost(1)],
    ),
    "each stream stays on its clock": (
        [
            *(P(index, 0) for index in (SOUND, SECOND_VIDEO)),
            *(P(SOUND, NEXT_CLOCK + time) for time in (0, 100)),
            *(P(SECOND_VIDEO, 3 * NEXT_CLOCK + time) for time in (0, 100)),
            P(SOUND, NEXT_CLOCK + 200),
        ],
        {0: 0, 1: 0, 3: 200, 5: 200, 6: 300},
        [lost(2)],
    ),
    "one that would be moved far is left out": (
        [P(SOUND, time, 0) for time in (3000, 2000, 1100, 3000)],
        {0: 3000, 1: 3000, 3: 3000},
        [lost(1), MOVED],
    ),
    "a byte is enough": ([P(SOUND, 300, size=1), P(SOUND, None, size=0)], {0: 300}, []),
    "one time will do": ([P(SOUND, 300, pts=None), P(SOUND, None, pts=400)], {0: 300, 1: 400}, []),
    "none will not": ([P(SOUND, 300), P(SOUND, None), P(SOUND, 400)], {0: 300, 2: 400}, [lost(1)]),
    "nothing in it": ([P(SOUND, 300, size=0), P(SOUND, 400)], {1: 400}, []),
    "broken data between": (
        [P(SOUND, 0), av.error.InvalidDataError(1, "bad"), OSError("bad"), P(SOUND, 100)],
        {0: 0, 3: 100},
        [lost(2)],
    ),
    "a stream that turns up while reading": ([P(SOUND, 0), IndexError(), P(SOUND, 100)], {0: 0}, []),
}


@pytest.mark.parametrize("case", CLOCKS)
def test_packets_come_at_their_time_or_are_counted(tmp_path: Path, source: Path, case: str) -> None:
    items, arrive, told = CLOCKS[case]
    assert copied(source, items, tmp_path) == (arrive, told)


def test_sound_in_a_part_is_what_begins_in_it(tmp_path: Path, source: Path) -> None:
    items = [
        *(P(SOUND, time, 1, key=False) for time in (999, 1000, 1001, 2998)),
        P(SOUND, 2999, 1, pts=None),
        P(SOUND, 2999, 1, pts=3000),
        P(SOUND, 3000, 1),
    ]
    arrive, told = copied(source, items, tmp_path, shift=1, start=1, end=3)
    assert (arrive, told) == ({1: 0, 2: 1, 3: 1998, 4: 1999}, [])


@pytest.mark.parametrize(
    ("start", "given", "becomes"),
    [
        ("1", P(SUBTITLES, 500, 1500), (0, 1000)),
        ("1", P(SUBTITLES, 500, 600), (0, 100)),
        ("1", P(SUBTITLES, 200, 800), None),
        ("1", P(SUBTITLES, 200, 801), (0, 1)),
        ("1", P(SUBTITLES, 1000, 300), (0, 300)),
        # Between two ticks of the clock: it begins at the later one, and is never nothing.
        ("1.0005", P(SUBTITLES, 500, 1000), (1, 499)),
        ("1.0005", P(SUBTITLES, 0, 1001), (1, 1)),
        ("1.0005", P(SUBTITLES, 1000, 0), None),
    ],
)
def test_a_subtitle_that_has_begun_is_cut_to_the_part(
    tmp_path: Path, source: Path, start: str, given: P, becomes: tuple[int, int] | None
) -> None:
    copier = opened(source, [given, P(SUBTITLES, 2000, 500)])
    with begun(copier, tmp_path / "out.mkv", shift=start, start=start):
        copier.copy_until(None)
    assert read(tmp_path / "out.mkv") == [*([] if becomes is None else [(0, *becomes)]), (1, 1000, 500)]


def test_a_further_video_begins_with_a_whole_picture_in_a_part_only(tmp_path: Path, source: Path) -> None:
    items = [P(SECOND_VIDEO, time, key=time in (1200, 1400)) for time in range(1000, 1600, 100)]
    assert copied(source, items, tmp_path, shift=1, start=1)[0] == {2: 200, 3: 300, 4: 400, 5: 500}
    assert list(copied(source, items, tmp_path)[0]) == [0, 1, 2, 3, 4, 5]


def test_reading_ends_when_a_stream_is_more_than_ten_seconds_past_the_end(tmp_path: Path, source: Path) -> None:
    within = [P(SOUND, 0), P(SOUND, 13_000), P(SECOND_VIDEO, 100)]
    assert copied(source, within, tmp_path, end=3)[0] == {0: 0, 2: 100}
    past = [P(SOUND, 0), P(SOUND, 13_001), P(SECOND_VIDEO, 100)]
    assert copied(source, past, tmp_path, end=3)[0] == {0: 0}
    assert copied(source, past, tmp_path)[0] == {0: 0, 1: 13_001, 2: 100}


def test_after_the_end_nothing_more_is_read(tmp_path: Path, source: Path) -> None:
    copier = opened(source, [P(SOUND, 20_000), P(SOUND, 100), P(SOUND, 200)])
    with begun(copier, tmp_path / "out.mkv", end=1):
        for _ in range(3):
            copier.copy_until(None)
    assert copier._container.given == 1


def test_copying_goes_as_far_as_asked_and_on_from_there(tmp_path: Path, source: Path) -> None:
    copier = opened(source, [P(SOUND, time) for time in (2000, 2500, 2501, 2600, 2700)])
    written = []
    with begun(copier, tmp_path / "out.mkv", shift=2):
        track = copier._tracks[SOUND]
        put = track.put
        track.put = lambda out, packet: written.append(bytes(packet)[0]) or put(out, packet)
        seen = []
        for seconds in (Fraction(1, 2), Fraction(1, 2), Fraction(6, 10), None):
            copier.copy_until(seconds)
            seen.append(list(written))
    assert seen == [[0, 1], [0, 1], [0, 1, 2, 3], [0, 1, 2, 3, 4]]
    assert [time for _, time, _ in read(tmp_path / "out.mkv")] == [0, 500, 501, 600, 700]


@pytest.mark.parametrize("bad", [P(SOUND, None), av.error.InvalidDataError(1, "bad")])
@pytest.mark.parametrize("count", [2, 3])
def test_too_many_faults_end_the_copying_and_that_is_said(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, bad: P | Exception, count: int
) -> None:
    monkeypatch.setattr(remux, "MAX_COPY_FAULTS", 2)
    arrive, told = copied(source, [P(SOUND, 0), *[bad] * count, P(SOUND, 100)], tmp_path)
    stopped = "in.mkv is too damaged: the copying of sound and further streams stopped"
    assert arrive == ({0: 0, 3: 100} if count == 2 else {0: 0})
    assert told == [*([stopped] if count == 3 else []), lost(count)]


def test_refused_packets_are_faults_like_others(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remux, "MAX_COPY_FAULTS", 1)
    copier = opened(source, [P(SOUND, 0)])
    with begun(copier, tmp_path / "out.mkv"):
        assert [copier.refused(), copier.refused()] == [True, False]
        copier.copy_until(None)
        assert copier._container.given == 0
    copier.close()
    copier.close()
    assert copier._container.closed
    assert copier.told == ["in.mkv is too damaged: the copying of sound and further streams stopped", lost(2)]


@pytest.mark.parametrize("error", [av.error.ArgumentError(22, "Invalid argument"), ValueError("no")])
@pytest.mark.parametrize("count", [2, 3])
def test_too_many_refusals_end_one_stream_and_that_is_said(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, count: int
) -> None:
    monkeypatch.setattr(remux, "MAX_COPY_FAULTS", 2)
    sounds = [P(SOUND, 100 * i) for i in range(count + 2)]
    copier = opened(source, [*sounds, P(SUBTITLES, 700)])
    with begun(copier, tmp_path / "out.mkv"):
        track = copier._tracks[SOUND]
        put = track.put

        def refuse(out: Any, packet: Any) -> bool:
            if 1 <= bytes(packet)[0] <= count:
                raise error
            return bool(put(out, packet))

        track.put = refuse
        copier.copy_until(None)
    copier.close()
    copier.close()
    ended = "audio stream 1 (pcm_s16le) ends early: too many of its packets cannot be written"
    assert copier.told == [*([ended] if count == 3 else []), lost(count)]
    assert [number for number, *_ in read(tmp_path / "out.mkv")] == ([0, 3, 4] if count == 2 else [0, 5])


def test_a_disk_that_fails_is_no_refusal(tmp_path: Path, source: Path) -> None:
    copier = opened(source, [P(SOUND, 0)])
    with begun(copier, tmp_path / "out.mkv"):

        def fail(out: Any, packet: Any) -> bool:
            raise av.error.OSError(28, "No space left on device")

        copier._tracks[SOUND].put = fail
        with pytest.raises(OSError, match="No space"):
            copier.copy_until(None)


@pytest.mark.parametrize("time", [5000, None])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_cover_waits_for_no_time_and_belongs_to_every_part(tmp_path: Path, suffix: str, time: int | None) -> None:
    jpeg = jpeg_of(32, 32)
    plain = make_video(tmp_path / "plain.mp4", frames=3, audio_tracks=1)
    items = [P(2, time), P(2, 3500), P(1, 0), P(1, 1500)]
    copier = opened(add_cover(plain, tmp_path / "in.mp4", jpeg), items if suffix == ".mp4" else items[2:])
    copier.streams.reverse()
    with begun(copier, tmp_path / f"out{suffix}", end=3) as out:
        out.mux(coded_picture(out.streams[0]))
        copier.copy_until(Fraction(1))
        assert copier._faults == 0
        assert bytes(copier._waiting)[0] == items.index(P(1, 1500)) - (0 if suffix == ".mp4" else 2)
        copier.copy_until(None)
    with av.open(str(tmp_path / f"out{suffix}")) as result:
        cover = next(s for s in result.streams if s.disposition & av.stream.Disposition.attached_pic)
        data = next(p for p in result.demux(cover) if p.size)
        assert sum(stream.type == "audio" for stream in result.streams) == 1
        if suffix == ".mp4":
            assert bytes(data) == bytes([0, 0, 0, 1])
        else:
            assert bytes(data) == jpeg
            assert (cover.metadata["filename"], cover.metadata["mimetype"]) == ("cover.jpg", "image/jpeg")


def test_a_cover_that_is_a_png_is_attached_as_one(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as out:
        first: Any = out.add_stream("mpeg4", rate=10)
        cover: Any = out.add_stream("png", rate=10)
        cover.disposition = int(av.stream.Disposition.attached_pic)
        for stream, pix_fmt in ((first, "yuv420p"), (cover, "rgb24")):
            stream.width = stream.height = 16
            stream.pix_fmt = pix_fmt
        out.mux([*coded_picture(first), *coded_picture(cover)])
    with begun(opened(path), tmp_path / "out.mkv") as out:
        out.mux(coded_picture(out.streams[0]))
    with av.open(str(tmp_path / "out.mkv")) as result:
        tags = next(s.metadata for s in result.streams if s.disposition & av.stream.Disposition.attached_pic)
    assert (tags["filename"], tags["mimetype"]) == ("cover.png", "image/png")


def test_samples_are_the_first_packets_and_all_that_was_read_is_copied_once(tmp_path: Path, source: Path) -> None:
    items = [
        P(VIDEO, 0),
        P(SOUND, 0, size=0),
        *(P(SOUND, i * 100) for i in range(5)),
        *(P(SECOND_VIDEO, i * 100) for i in range(2)),
        P(SUBTITLES, 50),
        P(SECOND_VIDEO, None),
        P(SECOND_VIDEO, None, pts=200),
        P(SOUND, 500),
    ]
    copier = opened(source, items)
    copier.sample()
    assert copier._container.given == 12
    numbers = {index: [bytes(p)[0] for p in sample.packets] for index, sample in copier._samples.items()}
    assert numbers == {SOUND: [2, 3, 4], SUBTITLES: [9], SECOND_VIDEO: [7, 8, 11]}
    with begun(copier, tmp_path / "out.mkv"):
        copier.copy_until(None)
        copier.close()
    assert [number for number, *_ in read(tmp_path / "out.mkv")] == [2, 3, 4, 5, 6, 7, 8, 9, 11, 12]
    assert copier.told == [lost(1)]


def test_a_fault_ends_the_sampling_and_is_counted(tmp_path: Path, source: Path) -> None:
    copier = opened(source, [P(SOUND, 0), av.error.InvalidDataError(1, "bad"), P(SOUND, 100)])
    copier.sample()
    assert copier._container.given == 2
    with begun(copier, tmp_path / "out.mkv"):
        copier.copy_until(None)
        copier.close()
    assert [number for number, *_ in read(tmp_path / "out.mkv")] == [0, 2]
    assert copier.told == [lost(1)]


@pytest.mark.parametrize(("name", "value", "given"), [("_SAMPLE_READS", 4, 4), ("_SAMPLE_BYTES", 8, 2)])
def test_sampling_reads_no_more_than_it_may(
    source: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: int, given: int
) -> None:
    monkeypatch.setattr(remux, name, value)
    copier = opened(source, [P(SOUND, i * 100) for i in range(10)])
    copier.sample()
    assert copier._container.given == given


@pytest.mark.parametrize("is_encoded", [False, True])
def test_sound_keeps_its_title_and_role_copied_or_encoded(tmp_path: Path, source: Path, is_encoded: bool) -> None:
    messages: list[str] = []
    copier: Any = Copier(source, skip=VIDEO, messages=messages, rate=Fraction(10))
    copier.sample()
    if is_encoded:
        copier.forms[SOUND] = next(iter(forms_for(copier._samples[SOUND], ".mp4")))
    copier.leave_out(copier.streams[1:])
    with begun(copier, tmp_path / "out.mkv") as out:
        sound = out.streams[1]
        assert sound.codec_context is None or sound.codec_context.name == ("alac" if is_encoded else "pcm_s16le")
        assert sound.metadata["title"] == "Commentary"
        assert sound.disposition == av.stream.Disposition.comment
        copier.copy_until(None)
        copier.close()
    assert messages == []
    with av.open(str(tmp_path / "out.mkv")) as result:
        assert sum(frame.samples for frame in result.decode(audio=0)) == 2400


def test_the_tags_of_streams_are_listed_in_the_order_of_the_file_without_covers(tmp_path: Path, source: Path) -> None:
    copier = opened(source)
    begun(copier, tmp_path / "out.mkv").close()
    assert [tags.kind for tags in copier.stream_tags] == ["video", "audio", "subtitle", "video"]
    assert copier.stream_tags[1].tags["handler_name"] == "Commentary"
    plain = make_video(tmp_path / "plain.mp4", frames=3, audio_tracks=1)
    copier = opened(add_cover(plain, tmp_path / "in.mp4", jpeg_of(32, 32)))
    begun(copier, tmp_path / "out.mp4").close()
    assert [tags.kind for tags in copier.stream_tags] == ["video", "audio"]


def test_the_sound_of_a_playlist_is_read(tmp_path: Path) -> None:
    make_video(tmp_path / "part.ts", frames=5, audio_tracks=1)
    playlist = tmp_path / "in.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.2,\npart.ts\n#EXT-X-ENDLIST\n")
    copier = opened(playlist)
    assert [stream.type for stream in copier.streams] == ["audio"]
    copier.close()


def test_forms_that_are_given_count_before_those_that_were_found(tmp_path: Path, source: Path) -> None:
    copier: Any = Copier(source, skip=VIDEO, messages=[], rate=Fraction(10))
    copier.sample()
    copier.forms[SOUND] = next(iter(forms_for(copier._samples[SOUND], ".mp4")))
    with begun(copier, tmp_path / "out.mkv", forms={}):
        copier.copy_until(None)
        copier.close()
    with av.open(str(tmp_path / "out.mkv")) as result:
        assert result.streams.audio[0].codec_context.name == "pcm_s16le"


def test_the_header_is_written_before_the_first_packet(tmp_path: Path) -> None:
    copier = opened(make_video(tmp_path / "in.mp4", frames=3, audio_tracks=1))
    assert copier.streams[0].time_base != Fraction(1, 1000)
    with begun(copier, tmp_path / "out.mkv") as out:
        assert out.streams[1].time_base == Fraction(1, 1000)


def test_what_was_read_of_a_stream_that_is_left_out_is_not_copied(tmp_path: Path, source: Path) -> None:
    copier = opened(source, [P(SOUND, 0), P(SUBTITLES, 0), P(SOUND, 100)])
    copier.sample()
    assert copier._container.given == 3
    copier.leave_out([stream for stream in copier.streams if stream.index == SOUND])
    assert [stream.index for stream in copier.streams] == [SUBTITLES, SECOND_VIDEO]
    with begun(copier, tmp_path / "out.mkv"):
        copier.copy_until(None)
    assert [number for number, *_ in read(tmp_path / "out.mkv")] == [1]
    assert [stream.index for stream in copier.copied] == [SUBTITLES, SECOND_VIDEO]


def test_an_attached_file_has_no_packets_to_wait_for(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        out.add_attachment("font.ttf", "application/x-truetype-font", b"letters")
        out.mux(coded_picture(stream))
    copier = opened(path, [P(0, 0)])
    assert [stream.type for stream in copier.streams] == ["attachment"]
    copier.sample()
    with begun(copier, tmp_path / "out.mkv"):
        copier.copy_until(None)
    assert copier._container.given == 0


@pytest.mark.parametrize("seeks", [True, False])
def test_a_part_is_read_from_a_little_before_it(tmp_path: Path, source: Path, seeks: bool) -> None:
    items = [
        *(P(SOUND, 7000 + i) for i in range(3)),
        P(SUBTITLES, 7000),
        *(P(SECOND_VIDEO, 7000 + i) for i in range(9)),
    ]
    copier = opened(source, items)
    copier._container.seeks = seeks
    copier.sample()
    assert copier._container.given == 7
    with begun(copier, tmp_path / "out.mkv", shift=7, start=7):
        copier.copy_until(None)
    assert copier._container.sought == [2_000_000]
    # After a jump what was read ahead comes again, so it is dropped.
    assert [number for number, *_ in read(tmp_path / "out.mkv")] == list(range(7 if seeks else 0, 13))
    whole = opened(source)
    begun(whole, tmp_path / "whole.mkv").close()
    assert whole._container.sought == []


def test_chapters_are_moved_and_cut_to_the_part(tmp_path: Path, source: Path) -> None:
    path = tmp_path / "in.mkv"
    copier = opened(source)
    base = Fraction(1, 1000)
    spans = [(0, 1000), (500, 1500), (1500, 2000), (2500, 4000), (3000, 5000)]
    copier.chapters = [
        {"id": i, "start": start, "end": end, "time_base": base, "metadata": {"title": str(i)}}
        for i, (start, end) in enumerate(spans)
    ]

    def written(**window: Any) -> list[tuple[str, int, int]]:
        copier._tracks.clear()
        with begun(copier, path, **window) as out:
            out.mux(coded_picture(out.streams[0]))
        with av.open(str(path)) as result:
            return [
                (c["metadata"]["title"], *(round(c[side] * c["time_base"] * 1000) for side in ("start", "end")))
                for c in result.chapters()
            ]

    assert written() == [(str(i), *span) for i, span in enumerate(spans)]
    assert written(shift=1, start=1, end=3) == [("1", 0, 500), ("2", 500, 1000), ("3", 1500, 2000)]
    # Without a start nothing is cut at the beginning; no time is below 0.
    assert written(shift=1, end=3)[:2] == [("0", 0, 0), ("1", 0, 500)]


def tagged(path: Path, *, video: str | None = None, file: str | None = None) -> Path:
    """A short .mkv with a time code at the video or at the file."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        if video:
            stream.metadata["TIMECODE"] = video
        stream.metadata["title"], out.metadata["title"] = "Scene", "Film"
        stream.disposition = int(av.stream.Disposition.forced)
        if file:
            out.metadata["Timecode"] = file
        out.mux(coded_picture(stream, 2))
    return path


@pytest.mark.parametrize(
    ("video", "file", "code"),
    [
        ("01:00:00:00", None, "01:00:00:00"),
        (None, "02:00:00:00", "02:00:00:00"),
        ("01:00:00:00", "02:00:00:00", "01:00:00:00"),
        (None, None, None),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_time_code_is_the_videos_before_the_files_and_stands_at_the_video(
    tmp_path: Path, suffix: str, video: str | None, file: str | None, code: str | None
) -> None:
    copier = opened(tagged(tmp_path / "in.mkv", video=video, file=file))
    assert copier.timecode == code
    assert copier.video_start == Fraction(2, 10)
    out = begun(copier, tmp_path / f"out{suffix}")
    try:
        assert [value for key, value in out.streams[0].metadata.items() if key.lower() == "timecode"] == [
            *([] if code is None else [code])
        ]
        # From the file's tags an mp4 would make a track for every cover.
        at_file = [value for key, value in out.metadata.items() if key.lower() == "timecode"]
        assert at_file == ([] if suffix == ".mp4" or file is None else [file])
        assert (out.streams[0].metadata["title"], out.metadata["title"]) == ("Scene", "Film")
        assert out.streams[0].disposition & av.stream.Disposition.forced
    finally:
        out.close()


def test_a_time_code_is_counted_from_the_first_picture_or_left_out_with_a_word(tmp_path: Path) -> None:
    copier = opened(tagged(tmp_path / "in.mkv", video="01:00:00:00"))
    out = begun(copier, tmp_path / "out.mkv", shift=1, start=1)
    assert out.streams[0].metadata["timecode"] == "01:00:00:08"
    out.close()
    assert copier.told == []
    copier = opened(tagged(tmp_path / "odd.mkv", video="noon"))
    begun(copier, tmp_path / "whole.mkv").close()
    assert copier.told == []
    copier = opened(tmp_path / "odd.mkv")
    out = begun(copier, tmp_path / "part.mkv", shift=1, start=1)
    assert not [key for key in out.streams[0].metadata if key.lower() == "timecode"]
    out.close()
    assert copier.told == ["the time code is left out: it cannot be read, so it cannot be moved to the part"]


@pytest.mark.parametrize(
    ("code", "begin", "name", "codes"),
    [
        ("01:00:00:00", 0, "out.mkv", ["01:00:00:00"]),
        ("01:00:00:00", 1, "out.mkv", ["01:00:00:08"]),
        ("noon", 0, "out.mkv", ["noon"]),
        ("noon", 1, "out.mkv", []),
        ("01:00:00:00", 1, "out.mp4", []),
    ],
)
def test_the_time_code_at_the_file_is_that_at_the_video(
    tmp_path: Path, code: str, begin: int, name: str, codes: list[str]
) -> None:
    copier = opened(tagged(tmp_path / "in.mkv", file=code))
    with begun(copier, tmp_path / name, shift=begin, start=begin or None) as out:
        assert [value for key, value in out.metadata.items() if key.lower() == "timecode"] == codes
        assert out.streams[0].metadata.get("timecode") == (codes or ["01:00:00:08" if code != "noon" else None])[0]


def test_a_file_without_video_is_copied_whole(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "sound.mkv"
    with av.open(str(source)) as given, av.open(str(path), "w") as out:
        copy = out.add_stream_from_template(given.streams[SOUND], opaque=True)
        for packet in given.demux(given.streams[SOUND]):
            if packet.size:
                packet.stream = copy
                packet.pts = packet.dts = packet.dts + 300
                out.mux(packet)
    copier = opened(path, skip=None)
    assert [stream.type for stream in copier.streams] == ["audio"]
    assert (copier.timecode, copier.video_start, copier.start) == (None, 0, Fraction(3, 10))
    begun(copier, tmp_path / "out.mkv").close()
    assert [tags.kind for tags in copier.stream_tags] == ["audio"]
    best = opened(source, skip=None)
    assert [stream.index for stream in best.streams] == [SOUND, SUBTITLES, SECOND_VIDEO]
    other = opened(source, skip=SECOND_VIDEO)
    assert [stream.index for stream in other.streams] == [VIDEO, SOUND, SUBTITLES]


def stream_at(milliseconds: int | None, kind: str = "audio", *, cover: bool = False) -> Any:
    return SimpleNamespace(
        type=kind,
        start_time=milliseconds,
        time_base=Fraction(1, 1000),
        disposition=av.stream.Disposition.attached_pic if cover else av.stream.Disposition(0),
    )


@pytest.mark.parametrize("first", [0, 3])
def test_a_stream_is_late_from_ten_seconds_on(source: Path, first: int) -> None:
    copier = opened(source)
    copier._container = SimpleNamespace(start_time=first * 1_000_000)
    assert copier.start == first
    copier._container.start_time = None
    assert copier.start is None
    copier._container.start_time = first * 1_000_000
    ten = (first + 10) * 1000
    streams = [
        *(stream_at(ten, kind) for kind in ("audio", "video")),
        *(stream_at(ten + 1, kind) for kind in ("audio", "video")),
        stream_at(None),
        stream_at(0, "subtitle"),
        stream_at(0, "video", cover=True),
    ]
    assert [copier.is_late(stream) for stream in streams] == [False, False, True, True, True, True, True]
    # Worth waiting for at the beginning: not what is known to begin later, or to hold few packets at unknown times.
    soon = [*streams, stream_at(None, "video"), stream_at(None, "subtitle"), stream_at(None, "video", cover=True)]
    assert [copier._may_begin_soon(stream) for stream in soon] == [
        *(True, True, False, False, True, True, True),
        *(True, False, True),
    ]


def coded(name: str | None, extradata: bytes | None = None, kind: str = "audio") -> Any:
    context = None if name is None else SimpleNamespace(name=name, extradata=extradata)
    return SimpleNamespace(type=kind, codec_context=context)


@pytest.mark.parametrize(
    ("streams", "raw"),
    [
        ([coded("aac")], True),
        ([coded("aac_latm", b"")], True),
        ([coded("mp3"), coded("aac")], True),
        ([coded("aac", b"1")], False),
        ([coded("mp3")], False),
        ([coded("mp3", b"1")], False),
        ([coded(None)], False),
        ([coded("aac", kind="data")], False),
        ([], False),
    ],
)
def test_aac_is_raw_where_its_settings_stand_in_its_packets(source: Path, streams: list[Any], raw: bool) -> None:
    copier = opened(source)
    copier.streams = streams
    assert bool(copier.has_raw_aac) is raw


@pytest.mark.parametrize(
    ("kind", "codec", "size", "gap"),
    [
        ("subtitle", "mov_text", 2, True),
        ("subtitle", "mov_text", 3, False),
        ("subtitle", "subrip", 2, False),
        ("subtitle", None, 2, False),
        ("audio", "mov_text", 2, False),
    ],
)
def test_only_an_empty_text_of_an_mp4_is_a_gap(kind: str, codec: str | None, size: int, gap: bool) -> None:
    assert remux._is_gap(SimpleNamespace(size=size, stream=coded(codec, kind=kind))) is gap


def data_stream(kind: str = "data", name: str | None = None, *, code: bool = False, **discard: int) -> Any:
    return SimpleNamespace(type=kind, name=name, metadata={"timecode": "01:00:00:00"} if code else {}, **discard)


@pytest.mark.parametrize(
    ("stream", "chapters", "remade"),
    [
        (data_stream(code=True), False, True),
        (data_stream(), False, False),
        (data_stream(name="bin_data", code=True), False, False),
        (data_stream("audio", code=True), False, False),
        (data_stream(name="bin_data", discard=48), True, True),
        (data_stream(name="bin_data"), True, True),
        (data_stream(name="bin_data", discard=0), True, False),
        (data_stream(name="klv", discard=48), True, False),
        (data_stream("subtitle", name="bin_data", discard=48), True, False),
        (data_stream(name="bin_data", discard=48), False, False),
    ],
)
def test_tracks_of_time_codes_and_chapters_are_left_to_the_muxer(
    source: Path, stream: Any, chapters: bool, remade: bool
) -> None:
    copier = opened(source)
    copier.chapters = [{}] if chapters else []
    assert copier._is_remade(stream) is remade


def test_a_time_code_of_a_data_track_counts_and_that_of_another_track_does_not(source: Path) -> None:
    copier = opened(source)
    other = SimpleNamespace(type="audio", metadata={"timecode": "02:00:00:00"})
    copier._container = SimpleNamespace(streams=[other, data_stream(code=True)], metadata={"timecode": "03:00:00:00"})
    assert copier.timecode == "01:00:00:00"


class Tries:
    """Stands in for the trying of containers: says what fits, and keeps what was asked."""

    def __init__(self, fits: Callable[[set[int]], bool]) -> None:
        self._fits = fits
        self.asked: list[tuple[list[int], bool]] = []
        self.video_tags: list[dict[str, str]] = []

    def __call__(self, suffix: str, tried: Sequence[Sample], *, options: Any, video_tags: Any, **others: Any) -> bool:
        indices = [sample.stream.index for sample in tried]
        self.asked.append((indices, options["whole"]))
        self.video_tags.append(video_tags)
        return self._fits(set(indices))

    @staticmethod
    def options(whole: bool) -> Any:
        return {"whole": whole}


@pytest.mark.parametrize(
    ("suffix", "refused", "left_out", "tries"),
    [
        (".mkv", set(), [], 1),
        # Of two that do not go together the first is kept.
        (".mkv", {SUBTITLES, SECOND_VIDEO}, [SECOND_VIDEO], 4),
        (".mkv", {SOUND}, [SOUND], 4),
        # Players do not agree on PCM there, whatever fits.
        (".mp4", set(), [SOUND], 2),
        (".mp4", {SECOND_VIDEO}, [SOUND, SECOND_VIDEO], 4),
    ],
)
def test_as_many_streams_as_fit_together_are_kept(
    source: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, refused: set[int], left_out: list[int], tries: int
) -> None:
    asked = Tries(lambda indices: not refused or not refused <= indices)
    monkeypatch.setattr(remux, "takes", asked)
    copier = opened(source)
    copier.sample()
    assert [stream.index for stream in copier.left_out_by(suffix, Tries.options)] == left_out
    assert len(asked.asked) == tries


def test_what_comes_late_is_tried_in_the_file_that_is_written_whole(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copier = opened(source)
    copier.sample()
    every = [SOUND, SUBTITLES, SECOND_VIDEO]
    early, late = ([SOUND, SECOND_VIDEO], False), (every, True)

    def tried(suffix: str, fits: Callable[[set[int]], bool], streams: list[Any]) -> tuple[bool, list[Any]]:
        tries = Tries(fits)
        monkeypatch.setattr(remux, "takes", tries)
        return copier._fit(suffix, streams, Tries.options), tries.asked

    assert tried(".mp4", lambda _: True, copier.streams) == (True, [early, late])
    assert tried(".mp4", lambda indices: SUBTITLES not in indices, copier.streams) == (False, [early, late])
    assert tried(".mp4", lambda indices: SUBTITLES in indices, copier.streams) == (False, [early])
    assert tried(".mp4", lambda _: True, [copier.streams[0]]) == (True, [([SOUND], False)])
    # A .mkv takes late streams as they come.
    assert tried(".mkv", lambda _: True, copier.streams) == (True, [(every, False)])


def test_the_time_code_is_there_when_a_container_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = Tries(lambda _: True)
    monkeypatch.setattr(remux, "takes", tries)
    for code in ("01:00:00:00", None):
        opened(tagged(tmp_path / "in.mkv", video=code))._fit(".mp4", [], Tries.options)
    assert tries.video_tags == [{"timecode": "01:00:00:00"}, {}]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({SOUND: "second", SECOND_VIDEO: "first"}, [SOUND, SECOND_VIDEO]),
        ({SOUND: "first"}, [SOUND]),
        ({SECOND_VIDEO: "second"}, [SECOND_VIDEO]),
        ({}, []),
    ],
)
def test_the_first_form_that_fits_beside_the_others_is_taken(
    source: Path, monkeypatch: pytest.MonkeyPatch, wanted: dict[int, str], found: list[int]
) -> None:
    copier = opened(source)
    copier.sample()
    tries = Tries(lambda indices: all(wanted.get(index) == copier.forms.get(index) for index in indices - {SUBTITLES}))
    monkeypatch.setattr(remux, "takes", tries)
    monkeypatch.setattr(remux, "forms_for", lambda sample, suffix: iter(("first", "second")))
    left_out = [stream for stream in copier.streams if stream.index != SUBTITLES]
    assert [stream.index for stream in copier.encodable(".mkv", left_out, Tries.options)] == found
    assert copier.forms == wanted
    held = [SUBTITLES, *(index for index in found if index != SECOND_VIDEO)]
    assert tries.asked[-1][0] == [*held, SECOND_VIDEO]


def test_a_cover_is_no_track_of_a_mkv_when_that_is_tried(tmp_path: Path) -> None:
    plain = make_video(tmp_path / "plain.mp4", frames=3, audio_tracks=1)
    copier = opened(add_cover(plain, tmp_path / "in.mp4", jpeg_of(32, 32)))
    sound, cover = (Sample(stream) for stream in copier.streams)
    for suffix, kinds in ((".mkv", ["audio"]), (".mp4", ["audio", "video"])):
        with av.open(str(tmp_path / f"out{suffix}"), "w") as out:
            become = [copier._add_sample(out, sample) for sample in (sound, cover)]
            assert [stream.type for stream in out.streams] == kinds
            packet = av.Packet(b"1")
            assert [become[0](packet), become[0](None)] == [[packet], []]
            assert packet.stream.type == "audio"
            assert become[1](packet) == ([] if suffix == ".mkv" else [packet])
