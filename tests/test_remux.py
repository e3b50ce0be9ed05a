"""What is copied beside the picture: which container holds it, what becomes of what none holds, and tags."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.error import InvalidDataError
from media import add_cover, concatenate, jpeg_of, make_video, rotate_mp4, stream_packets, with_captions, with_pts
from test_sinks import QUICK, made_batch, made_info, overlaid, saliency, shown_times, sound, times

from vidsal.decode import DecodeOptions, open_video
from vidsal.errors import EncodeError
from vidsal.sinks import VideoOptions, VideoSink, remux, video
from vidsal.sinks.containers import IS_PYAV_18, Sample, takes
from vidsal.sinks.tags import append_keys, missing_tags
from vidsal.timecode import later_timecode

RATE = 48000


def with_sound(
    path: Path,
    codec: str,
    *,
    layout: str = "stereo",
    form: str = "s16",
    rate: int = RATE,
    seconds: float = 1.0,
    at: float = 0.0,
) -> Path:
    """A video of 10 pictures a second with a noisy tone in a code, `at` seconds after the first picture."""
    frames = max(2, round(10 * (seconds + at)))
    video = "libx264" if path.suffix in (".flv", ".ts", ".m2ts") else "mpeg4"
    plain = make_video(path.with_name(f"plain-{path.stem}.mkv"), frames=frames, rate=10, codec=video)
    channels = av.AudioLayout(layout).nb_channels
    rng = np.random.default_rng(0)
    wave = 0.3 * np.sin(np.arange(round(seconds * rate)) / 20) + 0.02 * rng.standard_normal(round(seconds * rate))
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        stream: Any = source.streams.video[0]
        copy = out.add_stream_from_template(stream, opaque=True)
        tone: Any = out.add_stream(codec, rate=rate)
        tone.codec_context.layout, tone.codec_context.format = layout, form
        tone.codec_context.time_base, tone.codec_context.bit_rate = Fraction(1, rate), 128_000
        frame = av.AudioFrame.from_ndarray(np.repeat(wave[None], channels, 0).astype(np.float32), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        tone.codec_context.open()
        size = tone.codec_context.frame_size or 1000
        resampler = av.AudioResampler(format=form, layout=layout, rate=rate, frame_size=size)
        coded = [tone.encode(piece) for piece in [*resampler.resample(frame), *resampler.resample(None)]]
        packets = [packet for some in [*coded, tone.encode(None)] for packet in some]
        for packet in packets:
            packet.pts += round(at * rate)
            packet.dts += round(at * rate)
        pictures = [packet for packet in source.demux(stream) if packet.size]
        for packet in pictures:
            packet.stream = copy
        for packet in sorted([*pictures, *packets], key=lambda packet: packet.dts * packet.time_base):
            out.mux(packet)
    plain.unlink()
    return path


def samples(path: Path) -> npt.NDArray[np.float64]:
    """The decoded sound, as numbers from -1 to 1, channels in columns."""
    with av.open(str(path)) as container:
        parts = []
        for frame in container.decode(audio=0):
            values = frame.to_ndarray()
            if not frame.format.is_planar:
                values = values.reshape(-1, frame.layout.nb_channels).T
            if values.dtype == np.uint8:
                values = values.astype(np.float64) - 128
            scale = {"u": 128.0, "i": 2.0 ** (8 * values.itemsize - 1), "f": 1.0}[frame.to_ndarray().dtype.kind]
            parts.append(values.astype(np.float64) / scale)
    return np.concatenate(parts, axis=1).T


def sound_of(path: Path) -> tuple[str, str]:
    with av.open(str(path)) as container:
        return path.suffix, container.streams.audio[0].codec_context.codec.canonical_name


COPIED = [
    # A container without channel layouts; an mp4 took the header, and failed at the end.
    ("avi", "pcm_s16le", "s16", ".mov"),
    ("mkv", "pcm_s16le", "s16", ".mov"),
    ("mkv", "pcm_s24le", "s32", ".mov"),
    ("mkv", "pcm_s32le", "s32", ".mov"),
    ("mkv", "pcm_f32le", "flt", ".mov"),
    ("mov", "pcm_s16be", "s16", ".mov"),
    ("mov", "pcm_s24be", "s32", ".mov"),
    ("avi", "pcm_alaw", "s16", ".mov"),
    # Windows' codes, for which Matroska keeps Windows' header.
    ("asf", "wmav2", "fltp", ".mkv"),
    ("avi", "adpcm_ima_wav", "s16p", ".mkv"),
    ("avi", "adpcm_ms", "s16", ".mkv"),
    # Whatever an mp4 is at home with stays there.
    ("mkv", "flac", "s16", ".mp4"),
    ("ts", "mp2", "s16", ".mp4"),
    ("mkv", "ac3", "fltp", ".mp4"),
    ("mkv", "libopus", "s16", ".mp4"),
]


@pytest.mark.parametrize(("kind", "codec", "form", "suffix"), COPIED, ids=[f"{c[1]}-{c[0]}" for c in COPIED])
def test_sound_is_copied_into_a_container_in_which_players_agree_on_it(
    tmp_path: Path, kind: str, codec: str, form: str, suffix: str
) -> None:
    if suffix == ".mkv" and not IS_PYAV_18:
        pytest.skip("PyAV before 18 copies only what a container has a name of its own for; the rest is encoded")
    source = with_sound(tmp_path / f"in.{kind}", codec, form=form, seconds=0.5)
    sink = overlaid(source, tmp_path / "out.mp4")
    # An mp4 does not tell layer 2 from layer 3, which one decoder reads.
    assert sound_of(sink.path) == (suffix, {"mp2": "mp3"}.get(codec, sound_of(source)[1]))
    assert b"".join(data for _, data in sound(sink.path)) == b"".join(data for _, data in sound(source))
    if codec.startswith(("pcm", "adpcm", "flac")):
        np.testing.assert_array_equal(samples(sink.path), samples(source))
    assert len(shown_times(sink.path)) == 5
    if suffix == ".mp4":
        assert sink.messages == []
    else:
        assert [message.split(":")[0] for message in sink.messages] == [f"out{suffix} is written instead of out.mp4"]


ENCODED = [
    # Blu-ray's and DVD's PCM: no other container has a name for it.
    ("m2ts", "pcm_bluray", "s16", ".mp4", "alac", "ALAC"),
    ("m2ts", "pcm_bluray", "s32", ".mp4", "alac", "ALAC"),
    ("m2ts", "pcm_bluray", "s32", ".mkv", "pcm_s32le", "PCM"),
    ("m2ts", "pcm_bluray", "s16", ".mov", "pcm_s16le", "PCM"),
]


@pytest.mark.parametrize(("kind", "codec", "form", "suffix", "becomes", "said"), ENCODED)
def test_lossless_sound_that_no_container_holds_is_encoded_without_loss(
    tmp_path: Path, kind: str, codec: str, form: str, suffix: str, becomes: str, said: str
) -> None:
    source = with_sound(tmp_path / f"in.{kind}", codec, form=form, seconds=0.5)
    sink = overlaid(source, tmp_path / f"out{suffix}")
    assert sound_of(sink.path) == (suffix, becomes)
    before, after = samples(source), samples(sink.path)
    np.testing.assert_array_equal(after[: len(before)], before)
    assert any(f"encoded to {said}" in message and codec in message for message in sink.messages)


def test_coded_sound_that_no_container_holds_becomes_aac_in_step(tmp_path: Path) -> None:
    source = with_sound(tmp_path / "in.flv", "nellymoser", layout="mono", form="flt", rate=44100)
    sink = overlaid(source, tmp_path / "out.mp4")
    assert sound_of(sink.path) == (".mp4", "aac")
    assert sink.messages == ["encoded to AAC: in a .mp4 file players do not agree on audio stream 1 (nellymoser)"]
    before, after = samples(source)[:, 0], samples(sink.path)[:, 0]
    count = min(len(before), len(after)) - 4000
    assert count > 30_000
    lag = np.argmax([np.dot(before[1000:count], after[1000 + k : count + k]) for k in range(200)])
    with av.open(str(sink.path)) as result:
        begin = result.streams.audio[0].start_time * result.streams.audio[0].time_base
    assert lag / 44100 + float(begin) == pytest.approx(float(times(source, 1)[0]), abs=0.01)
    assert np.corrcoef(before[1000:count], after[1000 + lag : count + lag])[0, 1] > 0.95


def test_what_cannot_even_be_decoded_is_left_out_with_a_word(tmp_path: Path) -> None:
    source = with_sound(tmp_path / "in.flv", "nellymoser", layout="mono", form="flt", rate=44100, seconds=0.5)
    data = source.read_bytes()
    whole = overlaid(source, tmp_path / "whole.mp4")
    assert sound_of(whole.path)[1] == "aac"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remux, "forms_for", lambda sample, suffix: iter(()))
        sink = overlaid(source, tmp_path / "out.mp4")
    assert data == source.read_bytes()
    assert sink.messages == ["left out, as a .mp4 file cannot hold it: audio stream 1 (nellymoser)"]
    assert shown_times(sink.path) == shown_times(whole.path)


# --- time codes beside tracks that are added late ---


def with_timecode(path: Path, further: str) -> Path:
    """A video with sound, a time code, and something that an mp4 gets at the end."""
    plain = make_video(path.with_name("plain.mp4"), frames=25, audio_tracks=1, subtitles=further == "subtitles")
    if further == "cover":
        plain = add_cover(plain, path.with_name("cover.mp4"), jpeg_of(32, 32))
    late = Fraction(12) if further == "late sound" else Fraction(0)
    if late:
        plain = make_video(path.with_name("long.mp4"), frames=70, rate=5, audio_tracks=1)
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        copies = {stream.index: out.add_stream_from_template(stream, opaque=True) for stream in source.streams}
        first = next(copy for copy in copies.values() if copy.type == "video" and not is_cover_of(source, copies, copy))
        first.codec_context.framerate = Fraction(5 if late else 25)
        for stream in source.streams:
            copies[stream.index].disposition = stream.disposition.value
        first.metadata["timecode"] = "01:02:03:04"
        data: Any = None
        if further == "telemetry":
            data = out.add_data_stream("bin_data")
            data.time_base = Fraction(1, 1000)
        for packet in source.demux():
            if packet.dts is None or packet.size <= 2:
                continue
            if packet.stream.type == "audio":
                packet.pts += int(late / packet.time_base)
                packet.dts += int(late / packet.time_base)
                if late and packet.pts * packet.time_base > 13:
                    continue
            packet.stream = copies[packet.stream.index]
            out.mux(packet)
        for i in range(2 if data is not None else 0):
            packet = av.Packet(b"GPMF" + bytes(200))
            packet.stream, packet.time_base = data, Fraction(1, 1000)
            packet.pts = packet.dts = 500 * i
            packet.duration = 500
            out.mux(packet)
    return path


def is_cover_of(source: Any, copies: dict[int, Any], copy: Any) -> bool:
    index = next(index for index, each in copies.items() if each is copy)
    return bool(source.streams[index].disposition & av.stream.Disposition.attached_pic)


@pytest.mark.skipif(not IS_PYAV_18, reason="PyAV before 18 copies no rate, without which there is no time code")
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("further", ["subtitles", "cover", "telemetry", "late sound", "nothing"])
def test_a_time_code_stays_single_beside_whatever_is_added_at_the_end(
    tmp_path: Path, further: str, suffix: str
) -> None:
    if suffix == ".mov" and further == "telemetry":
        pytest.skip("FFmpeg writes telemetry into .mp4 only")
    source = with_timecode(tmp_path / "in.mp4", further)
    sink = overlaid(source, tmp_path / f"out{suffix}")
    kinds, codes = {}, set()
    for path in (source, sink.path):
        with av.open(str(path)) as container:
            coded = [s for s in container.streams if s.type == "data" and "timecode" in s.metadata]
            kinds[path] = sorted(s.type for s in container.streams if s not in coded)
            codes.add(container.streams.video[0].metadata["timecode"])
        assert path == source or len(coded) == 1
    assert kinds[source] == kinds[sink.path]
    assert len(codes) == 1
    assert sink.messages == []
    assert shown_times(sink.path) == shown_times(source)


@pytest.mark.skipif(not IS_PYAV_18, reason="PyAV before 18 copies no rate, without which there is no time code")
def test_the_time_code_of_a_part_is_that_of_its_first_picture(tmp_path: Path) -> None:
    source = with_timecode(tmp_path / "in.mp4", "nothing")
    sink = overlaid(source, tmp_path / "out.mp4", start=0.5)
    with av.open(str(sink.path)) as result:
        # The first picture at or after half a second is number 13.
        assert result.streams.video[0].metadata["timecode"] in ("01:02:03:17",)


@pytest.mark.parametrize(
    ("timecode", "seconds", "rate", "later"),
    [
        ("00:00:00:00", 1, 25, "00:00:01:00"),
        ("23:59:59:24", Fraction(1, 25), 25, "00:00:00:00"),
        ("01:02:03:4", 0, 24, "01:02:03:04"),
        # SMPTE 12M: numbers 0 and 1 do not exist in a minute that is not a tenth one.
        ("00:00:59;29", Fraction(1001, 30000), Fraction(30000, 1001), "00:01:00;02"),
        ("00:09:59;29", Fraction(1001, 30000), Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:00;00", 3600, Fraction(30000, 1001), "01:00:00;00"),
        ("00:00:59;59", Fraction(1001, 60000), Fraction(60000, 1001), "00:01:00;04"),
        ("00:10:59;29", 0, Fraction(30000, 1001), "00:10:59;29"),
        # There is nothing to drop at other rates, whatever the mark.
        ("00:00:59;24", Fraction(1, 25), 25, "00:01:00;00"),
        ("00:00:59:00", 1, 1, "00:01:00:00"),
        ("00:00:00:00", 1, Fraction(1, 3), None),
        ("00:00:59:29", Fraction(1001, 30000), Fraction(30000, 1001), "00:01:00:00"),
        ("nonsense", 1, 25, None),
    ],
)
def test_time_codes_are_counted_as_smpte_does(
    timecode: str, seconds: Fraction, rate: Fraction, later: str | None
) -> None:
    assert later_timecode(timecode, Fraction(seconds), Fraction(rate)) == later


# --- packets that a muxer refuses ---


def test_packets_closer_than_the_clock_of_the_sound_are_moved_and_counted(tmp_path: Path) -> None:
    """One tick of a transport stream's clock is about half of one of 48 kHz: both packets fall on the same."""
    source = make_video(tmp_path / "in.ts", frames=100, audio_tracks=1)
    count = len(stream_packets(source, 1))
    # Several packets share a stamp in their header, and the parser counts on from there.
    first, second = headers_of_sound(source)[1:3]
    before = [
        packet.pts for packet in stream_packets(source, 1) if packet.pts is not None and packet.pts * 90000 < second
    ]
    # One tick off the grid, so that the next but one still falls on the same sample.
    with_pts(source, 1, first + 1, stream_id=0xC0)
    with_pts(source, 2, int(before[-1] * 90000) + 1, stream_id=0xC0)
    sink = overlaid(source, tmp_path / "out.mp4")
    copied = sound(sink.path)
    assert len(copied) == count
    stamps = [time for time, _ in copied if time is not None]
    assert all(a < b for a, b in itertools.pairwise(stamps))
    assert sink.messages == [
        "1 packet of sound or a further stream was not later than the one before: moved just after it"
    ]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_a_further_video_keeps_its_times_whatever_the_order_it_is_coded_in(tmp_path: Path, suffix: str) -> None:
    """FFmpeg knows no time of decoding of the first packets in Matroska."""
    parts = [make_video(tmp_path / f"{i}.mp4", frames=20, audio_tracks=i, bframes=3) for i in range(2)]
    with av.open(str(tmp_path / "in.mkv"), "w") as out:
        opened = [av.open(str(part)) for part in parts]
        copies = [[out.add_stream_from_template(stream, opaque=True) for stream in each.streams] for each in opened]
        for each, streams in zip(opened, copies, strict=True):
            for packet in each.demux():
                if packet.size:
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
            each.close()
    with open_video(tmp_path / "in.mkv", options=DecodeOptions(video_stream=0), keep_pictures=True) as reader:
        sink = VideoSink(tmp_path / f"out{suffix}", reader.info, video=QUICK)
        with sink:
            for batch in reader:
                sink.write(saliency(batch))
    before, after = (stream_packets(path, 1) for path in (tmp_path / "in.mkv", sink.path))
    assert [packet.data for packet in before] == [packet.data for packet in after]
    assert [packet.pts for packet in before] == [packet.pts for packet in after]
    assert sink.messages == []


def headers_of_sound(path: Path) -> list[int]:
    """The stamps that stand in a transport stream for its first sound track, in 1/90000 s."""
    data, stamps, at = path.read_bytes(), [], -1
    while (at := data.find(b"\x00\x00\x01\xc0", at + 1)) >= 0:
        a, b, c, d, e = data[at + 9 : at + 14]
        stamps.append((a & 0x0E) << 29 | b << 22 | (c & 0xFE) << 14 | d << 7 | e >> 1)
    return stamps


def test_a_packet_far_before_the_one_before_is_left_out_not_moved(tmp_path: Path) -> None:
    """Repeated small steps back would pile all later sound onto one instant."""
    with av.open(str(tmp_path / "x.mp4"), "w") as out:
        source = av.open(str(make_video(tmp_path / "in.mp4", audio_tracks=1)))
        out.add_stream_from_template(source.streams[0], opaque=True)
        track = remux._CopiedTrack(out, source.streams[1], None)
        out.start_encoding()

        def put(milliseconds: int) -> bool:
            packet: Any = av.Packet(b"12")
            packet.pts = packet.dts = milliseconds
            packet.time_base = Fraction(1, 1000)
            return track.put(out, packet)

        assert [put(at) for at in (0, 2000, 1990, 1001, 990, 2001)] == [True, True, True, True, False, True]
        assert track.moved == 2
        source.close()


def refusing(number: int) -> Callable[..., bool]:
    """Refuses as a muxer does, from one packet on."""
    put, seen = remux._CopiedTrack.put, {"packets": 0}

    def refuse(self: Any, out: Any, packet: Any) -> bool:
        seen["packets"] += 1
        if seen["packets"] >= number:
            raise av.error.ArgumentError(22, "Invalid argument")
        return put(self, out, packet)

    return refuse


def test_a_stream_that_fails_in_the_middle_ends_there_and_all_else_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_video(tmp_path / "in.mp4", frames=100, audio_tracks=1)
    monkeypatch.setattr(remux._CopiedTrack, "put", refusing(30))
    monkeypatch.setattr(remux, "MAX_COPY_FAULTS", 10)
    sink = overlaid(source, tmp_path / "out.mp4")
    assert shown_times(sink.path) == shown_times(source)
    assert 20 < len(sound(sink.path)) < 30
    assert "audio stream 1 (aac, eng) ends early: too many of its packets cannot be written" in sink.messages
    assert any(message.startswith("11 broken packets were left out") for message in sink.messages)


class _FailingAtTheEnd:
    """An open file whose end cannot be written."""

    def __init__(self, out: Any) -> None:
        self._out = out

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)

    def close(self) -> None:
        self._out.close()
        raise av.error.ArgumentError(22, "Invalid argument")


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_file_that_cannot_be_ended_is_written_again_without_what_it_fails_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, good: bool
) -> None:
    source = make_video(tmp_path / "in.mp4", frames=50, audio_tracks=2)
    rewrite = VideoSink._rewrite

    def only_without_the_second(self: VideoSink, kept: Any, **late: Any) -> int:
        if not good and 2 in kept:
            raise av.error.ArgumentError(22, "Invalid argument")
        return rewrite(self, kept, **late)

    monkeypatch.setattr(VideoSink, "_rewrite", only_without_the_second)
    finish = VideoSink._finish_copies

    def failing(self: VideoSink) -> None:
        self._out = _FailingAtTheEnd(self._out)
        finish(self)

    monkeypatch.setattr(VideoSink, "_finish_copies", failing)
    sink = overlaid(source, tmp_path / f"out{suffix}")
    assert len(shown_times(sink.path)) == 50
    with av.open(str(sink.path)) as result:
        assert len(result.streams.audio) == (2 if good else 1)
    assert [packet for _, packet in sound(sink.path)] == [packet for _, packet in sound(source)]
    lost = "left out, as writing it failed (Invalid argument): audio stream 2 (aac, deu)"
    assert sink.messages == ([] if good else [lost])


def test_a_late_stream_that_fails_costs_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_video(tmp_path / "in.mp4", frames=50, audio_tracks=1, subtitles=True)
    rewrite = VideoSink._rewrite

    def failing(self: VideoSink, kept: Any, **late: Any) -> int:
        if late.get("late") is not None:
            raise av.error.ArgumentError(22, "Invalid argument")
        return rewrite(self, kept, **late)

    monkeypatch.setattr(VideoSink, "_rewrite", failing)
    sink = overlaid(source, tmp_path / "out.mp4")
    assert shown_times(sink.path) == shown_times(source)
    assert sound(sink.path) == sound(source)
    assert sink.messages == ["left out, as writing it failed (Invalid argument): subtitle stream 2 (mov_text, eng)"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_a_full_disk_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_video(tmp_path / "in.mp4", frames=20, audio_tracks=1)

    def full(self: Any, out: Any, packet: Any) -> bool:
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(remux._CopiedTrack, "put", full)
    with pytest.raises(EncodeError, match="the disk is full"):
        overlaid(source, tmp_path / "out.mkv")


# --- how long pictures last, captions ---


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("bframes", [0, 2])
def test_a_last_picture_that_is_held_is_held_as_long(tmp_path: Path, suffix: str, bframes: int) -> None:
    plain = make_video(tmp_path / "plain.mp4", pts=[0, 9000, 18000, 27000, 36000], frames=5, bframes=bframes)
    with av.open(str(plain)) as source, av.open(str(tmp_path / "in.mp4"), "w") as out:
        copy = out.add_stream_from_template(source.streams[0], opaque=True)
        packets = [packet for packet in source.demux() if packet.size]
        packets[-1].duration = 8 * 90000 - packets[-1].pts
        for packet in packets:
            packet.stream = copy
            out.mux(packet)
    sink = overlaid(tmp_path / "in.mp4", tmp_path / f"out{suffix}")
    for path in (tmp_path / "in.mp4", sink.path):
        with av.open(str(path)) as container:
            assert container.duration == 8_000_000
    assert shown_times(sink.path) == [Fraction(i, 10) for i in range(5)]
    part = overlaid(tmp_path / "in.mp4", tmp_path / f"part{suffix}", end=2.5)
    with av.open(str(part.path)) as container:
        assert container.duration == 2_500_000


@pytest.mark.parametrize("pts", [None, [0, 900, 5000, 5001, 40000, 41000, 90000, 180000]])
def test_a_file_lasts_as_long_as_its_pictures_whatever_their_order(tmp_path: Path, pts: list[int] | None) -> None:
    """The last picture is not the last in coding order, and its distance to the one before may be long or short."""
    source = make_video(tmp_path / "in.mp4", frames=8, pts=pts)
    sink = overlaid(source, tmp_path / "out.mp4", video=VideoOptions(preset="fast"))
    assert shown_times(sink.path) == shown_times(source)
    with av.open(str(source)) as given, av.open(str(sink.path)) as result:
        before, after = given.streams.video[0], result.streams.video[0]
        assert after.duration * after.time_base == before.duration * before.time_base
        assert result.duration == given.duration
        assert after.average_rate == before.average_rate
        assert [packet.pts for packet in result.demux() if packet.size] != sorted(times(sink.path))


def test_the_last_picture_is_shown_where_decoding_times_go_beyond_it(tmp_path: Path) -> None:
    """At an uneven rate the packets, coded in another order, may last longer than the pictures are shown."""
    steps = np.random.default_rng(0).integers(10, 700, 14)
    pts = [0, *(90 * np.cumsum(steps)).tolist()]
    source = make_video(tmp_path / "in.mp4", frames=15, pts=pts)
    sink = overlaid(source, tmp_path / "out.mp4", video=VideoOptions(preset="fast"))
    assert shown_times(sink.path) == shown_times(source)
    with av.open(str(source)) as given, av.open(str(sink.path)) as result:
        before, after = given.streams.video[0], result.streams.video[0]
        assert after.duration * after.time_base == before.duration * before.time_base > pts[-1] / 90000 + 0.03


@pytest.mark.parametrize("chapters", [False, True], ids=["once", "written once more"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("frames", [12, 26, 27, 28, 29, 30])
def test_a_constant_rate_stays_one_to_the_last_packet(tmp_path: Path, frames: int, suffix: str, chapters: bool) -> None:
    """FFmpeg writes pieces of 13 pictures here, so that the last picture may be in another one than the last packet."""
    source = make_video(tmp_path / "in.mp4", frames=frames)
    sink = overlaid(source, tmp_path / f"out{suffix}", video=VideoOptions(preset="fast", chapters=chapters))
    assert shown_times(sink.path) == [Fraction(i, 25) for i in range(frames)]
    with av.open(str(sink.path)) as result:
        stream = result.streams.video[0]
        assert (stream.average_rate, stream.duration * stream.time_base) == (25, Fraction(frames, 25))
        assert result.duration == frames * 40_000
    assert times(sink.path) != [packet.pts for packet in stream_packets(sink.path)]  # coded in another order
    assert sink.messages == []


@pytest.mark.parametrize("chapters", [False, True], ids=["once", "written once more"])
def test_a_picture_that_is_held_last_is_held_whatever_is_coded_after_it(tmp_path: Path, chapters: bool) -> None:
    source = make_video(tmp_path / "in.mkv", frames=27, pts=[*(3600 * i for i in range(26)), 3600 * 40])
    sink = overlaid(source, tmp_path / "out.mp4", video=VideoOptions(preset="fast", chapters=chapters))
    with av.open(str(source)) as given, av.open(str(sink.path)) as result:
        stream = result.streams.video[0]
        (last,) = (packet.duration for packet in given.demux() if packet.pts == 1600)
        assert stream.duration * stream.time_base == Fraction(1600 + last, 1000)
    assert shown_times(sink.path) == shown_times(source)


@pytest.mark.parametrize("last", [1001, 2002])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_time_code_with_numbers_dropped_stays_beside_chapters(tmp_path: Path, suffix: str, last: int) -> None:
    """It needs the rate that is meant: the average of the file is lower where the last picture is shown for longer."""
    rate = Fraction(30000, 1001)
    plain = make_video(tmp_path / "plain.mov", frames=60, rate=rate, time_base=1 / rate)
    with av.open(str(plain)) as given, av.open(str(tmp_path / "in.mov"), "w") as out:
        copy = out.add_stream_from_template(given.streams[0], opaque=True)
        copy.codec_context.framerate, copy.metadata["timecode"] = rate, "00:00:59;10"
        packets = [packet for packet in given.demux() if packet.size]
        packets[-1].duration = last
        for packet in packets:
            packet.stream = copy
            out.mux(packet)
    for chapters in (False, True):
        options = VideoOptions(preset="fast", chapters=chapters)
        sink = overlaid(tmp_path / "in.mov", tmp_path / f"{chapters}{suffix}", video=options)
        assert sink.messages == []
        with av.open(str(sink.path)) as result:
            assert result.streams.video[0].metadata["timecode"] == "00:00:59;10"
    part = overlaid(tmp_path / "in.mov", tmp_path / f"part{suffix}", start=1.0, video=options)
    with av.open(str(part.path)) as result:
        assert result.streams.video[0].metadata["timecode"] == "00:01:00;12"


@pytest.mark.parametrize(
    ("given", "lasts"),
    [(250, 250), (1, 1), (None, 40), (0, 40), (25 * 3600 * 1000, 40), (24 * 3600 * 1000, 24 * 3600 * 1000)],
)
def test_a_picture_lasts_as_long_as_it_says_or_as_the_rate_does(tmp_path: Path, given: int | None, lasts: int) -> None:
    batch = made_batch([0.0, 0.04], pts=[0, 40])
    object.__setattr__(batch.pictures[-1], "duration", given)
    with VideoSink(tmp_path / "out.mp4", made_info(rate=Fraction(25)), video=QUICK) as sink:
        sink.write(batch)
    with av.open(str(sink.path)) as result:
        stream = result.streams.video[0]
        assert stream.duration * stream.time_base == Fraction(40 + lasts, 1000)


def test_the_longest_gap_is_counted_in_the_clock_of_the_file(tmp_path: Path) -> None:
    """FFmpeg makes 16000 ticks a second of 1000, so that 31 bits are 37 hours, and longer gaps wrapped around."""
    limit = 2**31 // 16000
    for gap, possible in ((limit - 60, True), (limit + 60, False)):
        sink = VideoSink(tmp_path / f"{possible}.mp4", made_info(), video=QUICK)
        batch = made_batch([0.0, float(gap)], pts=[0, 1000 * gap])
        if possible:
            with sink:
                sink.write(batch)
            assert shown_times(sink.path) == [0, gap]
        else:
            with pytest.raises(EncodeError, match=f"jumps by {gap} seconds"), sink:
                sink.write(batch)


def captions(path: Path) -> list[bytes | None]:
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        return [{data.type.name: bytes(data) for data in frame.side_data}.get("A53_CC") for frame in frames]


@pytest.mark.parametrize(("encoder", "kept"), [("libx264", True), ("libx265", True), ("mpeg4", False)])
def test_closed_captions_stay_with_their_pictures_or_are_said_to_be_lost(
    tmp_path: Path, encoder: str, kept: bool
) -> None:
    if encoder not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {encoder}")
    source = with_captions(make_video(tmp_path / "plain.mp4", frames=12, bframes=2), tmp_path / "in.mp4")
    given = captions(source)
    assert len(set(given)) == 12 and None not in given
    options = VideoOptions(encoder=encoder, preset="fast")
    sink = overlaid(source, tmp_path / "out.mp4", video=options)
    assert captions(sink.path) == (given if kept else [None] * 12)
    said = f"closed captions are left out: {encoder} does not write them; libx264 does"
    assert sink.messages == ([] if kept else [said])
    assert shown_times(sink.path) == shown_times(source)


@pytest.mark.parametrize("rotation", [0, 90])
def test_pictures_with_captions_look_as_those_without(tmp_path: Path, rotation: int) -> None:
    plain = make_video(tmp_path / "plain.mp4", frames=6, width=66, height=50, bframes=2, rotation=rotation)
    source = with_captions(plain, tmp_path / "in.mp4")
    if rotation:
        rotate_mp4(source, rotation)
    pictures = []
    for name, path in (("a.mp4", plain), ("b.mp4", source)):
        sink = overlaid(path, tmp_path / name)
        with av.open(str(sink.path)) as result:
            decoded = list(result.decode(video=0))
            frames = [(frame.to_ndarray(format="yuv420p"), int(frame.pict_type)) for frame in decoded]
        assert {frame.rotation for frame in decoded} == {0}
        pictures.append(frames)
    for (before, kind), (after, same_kind) in zip(*pictures, strict=True):
        np.testing.assert_array_equal(before, after)
        assert kind == same_kind


# --- tags ---


TAGS = {
    "title": "A title",
    "com.apple.quicktime.make": "Apple",
    "com.apple.quicktime.location.ISO6709": "+52.5200+013.4050+034/",
    "com.apple.quicktime.creationdate": "2024-05-01T12:30:45+0200",
    "PARTICIPANT": "P07 \N{LATIN SMALL LETTER E WITH ACUTE}",
}


@pytest.mark.parametrize("kind", ["mov", "mkv"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_tags_of_any_name_are_kept_beside_the_usual_ones(tmp_path: Path, kind: str, suffix: str) -> None:
    source = make_video(
        tmp_path / f"in.{kind}",
        frames=5,
        audio_tracks=1,
        metadata=TAGS,
        container_options={"movflags": "use_metadata_tags"} if kind == "mov" else {},
    )
    sink = overlaid(source, tmp_path / f"out{suffix}")
    assert sink.messages == []
    with av.open(str(sink.path)) as result:
        found = {key.lower(): value for key, value in result.metadata.items()}
    assert {key.lower(): value for key, value in TAGS.items()}.items() <= found.items()
    assert len(shown_times(sink.path)) == 5
    if suffix == ".mp4":
        # The title is where every program looks for it, not in the table of keys.
        assert b"\xa9nam" in sink.path.read_bytes()


def test_keys_are_not_written_where_the_header_is_not_last(tmp_path: Path) -> None:
    front = make_video(tmp_path / "front.mp4", frames=3, container_options={"movflags": "faststart"})
    before = front.read_bytes()
    assert not append_keys(front, {"a": "b"})
    assert front.read_bytes() == before
    last = make_video(tmp_path / "last.mp4", frames=3)
    assert append_keys(last, {"a": "b"})
    with av.open(str(last)) as container:
        assert container.metadata["a"] == "b"
    assert len(shown_times(last)) == 3


def test_a_tag_is_missed_whatever_its_case() -> None:
    assert missing_tags({"Title": "x", "more": "y", "empty": ""}, {"TITLE": "x"}) == {"more": "y"}


def test_what_stands_in_a_file_is_read_back_by_its_boxes(tmp_path: Path) -> None:
    """Keys as QuickTime's format defines them: a handler, numbered names, values of UTF-8."""
    path = make_video(tmp_path / "in.mp4", frames=3)
    assert append_keys(path, {"com.example.one": "1", "two": "zwei"})
    data = path.read_bytes()
    at = data.rindex(b"moov") - 4
    assert at + struct.unpack(">I", data[at : at + 4])[0] == len(data)
    assert data.count(b"mdtacom.example.one") == 1 and data.count(b"mdtatwo") == 1


def test_joined_transport_streams_come_through(tmp_path: Path) -> None:
    parts = [make_video(tmp_path / f"{i}.ts", frames=25, audio_tracks=1) for i in range(2)]
    # The second overlaps the first by a few packets, as a recorder that starts anew leaves it.
    with_pts(parts[1], 0, 90000)
    source = concatenate(parts, tmp_path / "in.ts")
    sink = overlaid(source, tmp_path / "out.mp4")
    assert len(shown_times(sink.path)) >= 49
    assert sound_of(sink.path) == (".mp4", "aac")


def test_the_options_of_the_muxer_are_those_that_were_tried(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", made_info(), video=QUICK)
    written = sink._muxing(".mp4", None)
    assert "hybrid_fragmented" in written["movflags"] and "movflags" not in sink._muxing(".mp4", None, True)
    assert video._why(".mp4", []) == ""


@pytest.mark.parametrize(("suffix", "kept"), [(".mkv", True), (".mp4", False)])
def test_tags_of_streams_that_a_container_has_no_place_for_are_named(tmp_path: Path, suffix: str, kept: bool) -> None:
    plain = make_video(tmp_path / "plain.mkv", frames=5, audio_tracks=2)
    with av.open(str(plain)) as source, av.open(str(tmp_path / "in.mkv"), "w") as out:
        copies = [out.add_stream_from_template(stream, opaque=True) for stream in source.streams]
        copies[2].metadata.update({"language": "deu", "title": "Commentary", "MICROPHONE": "M7"})
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    sink = overlaid(tmp_path / "in.mkv", tmp_path / f"out{suffix}")
    with av.open(str(sink.path)) as result:
        tags = {key.lower(): value for key, value in result.streams[2].metadata.items()}
    assert tags["language"] == "deu"
    assert [tags.get(name) for name in (("title",) if kept else ("name", "handler_name"))] == ["Commentary"] * (
        2 - kept
    )
    back = overlaid(sink.path, tmp_path / "back.mkv")
    with av.open(str(back.path)) as result:
        assert result.streams[2].metadata["title"] == "Commentary"
    said = "tags that a .mp4 file cannot hold are left out: MICROPHONE of audio stream 2 (aac, deu)"
    assert sink.messages == ([] if kept else [said])


def test_sound_that_fails_in_the_trial_of_a_container_does_not_end_the_process(tmp_path: Path) -> None:
    """FFmpeg crashed at the end of a fragmented .mp4 into which nothing had been written."""

    def add(out: Any, sample: Any) -> Any:
        stream = out.add_stream("aac", rate=48000)
        stream.codec_context.layout = "mono"
        stream.codec_context.open()

        def convert(packet: Any) -> list[Any]:
            raise InvalidDataError(1094995529, "the packet is damaged")

        return convert

    source = make_video(tmp_path / "in.mp4", frames=3)
    with av.open(str(source)) as container:
        sample = Sample(container.streams.video[0])
        options = {"movflags": "hybrid_fragmented", "frag_duration": "500000", "flush_packets": "1"}
        assert not takes(".mp4", [sample], rate=Fraction(25), options=options, video_tags={}, chapters=[], add=add)
