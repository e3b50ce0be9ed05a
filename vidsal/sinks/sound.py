"""Packets of sound in, the same sound in another code out, where a container cannot hold it as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.error import FFmpegError

from vidsal.sinks.containers import Sample

__all__ = ["SoundEncoder", "SoundForm", "forms_for"]


@dataclass(frozen=True)
class SoundForm:
    """What sound is encoded to."""

    codec: str
    """FFmpeg's name of the encoder."""
    format: str
    """FFmpeg's name of the sample format."""
    layout: str
    """FFmpeg's name of the channel layout."""
    rate: int
    """Samples a second."""

    @property
    def label(self) -> str:
        """In words for a person."""
        return {"aac": "AAC", "alac": "ALAC (lossless)"}.get(self.codec, "PCM (lossless)")


_DEFAULT_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
"""What so many channels usually are."""

_AAC_BITS_PER_CHANNEL = 96_000

_LONGEST_JITTER_SECONDS = Fraction(1, 20)
"""Times of packets are rounded in some containers; a smaller gap in the sound is none."""


def forms_for(sample: Sample, suffix: str) -> Iterator[SoundForm]:
    """What the sound may be encoded to, best first; nothing where its first packets cannot be decoded.

    Lossless sound stays lossless: PCM in a .mov or .mkv, ALAC in an .mp4, which players read that do not read FLAC
    there. All other becomes AAC.
    """
    context = sample.stream.codec_context
    if sample.stream.type != "audio" or context is None:
        return
    frame = None
    with suppress(FFmpegError):
        for packet in sample.clones():
            frame = next(iter(context.decode(packet)), frame)
    context.flush_buffers()
    if frame is None or not frame.sample_rate:
        return
    rate, count, layout = frame.sample_rate, frame.layout.nb_channels, frame.layout.name
    usual = _DEFAULT_LAYOUTS.get(count, layout)
    kind = frame.format.name.removesuffix("p")
    if context.codec.lossless:
        wide = kind not in ("u8", "s16")
        if suffix == ".mp4":
            yield SoundForm("alac", "s32p" if wide else "s16p", usual, rate)
        else:
            codec, form = {
                "flt": ("pcm_f32le", "flt"),
                "dbl": ("pcm_f64le", "dbl"),
                "s32": ("pcm_s32le", "s32"),
                "s64": ("pcm_s32le", "s32"),
            }.get(kind, ("pcm_s16le", "s16"))
            for one in dict.fromkeys((layout, usual)):
                yield SoundForm(codec, form, one, rate)
    rates = av.Codec("aac", "w").audio_rates or ()
    for one in dict.fromkeys((usual, "stereo")):
        yield SoundForm("aac", "fltp", one, rate if rate in rates else 48000)


class SoundEncoder:
    """Decodes and encodes one stream of sound on its way.

    Args:
        out: the file that is written.
        context: decoder of the source's stream.
        form: what it becomes.

    Raises:
        ValueError: the container or the encoder does not take the form.
        FFmpegError: the same.
    """

    def __init__(self, out: Any, context: Any, form: SoundForm) -> None:
        self._context = context
        self.stream: Any = out.add_stream(form.codec, rate=form.rate)
        coder = self.stream.codec_context
        coder.layout, coder.format = form.layout, form.format
        if form.codec == "aac":
            coder.bit_rate = _AAC_BITS_PER_CHANNEL * coder.layout.nb_channels
        self._due: int | None = None
        self._ended = False

    def convert(self, packet: Any) -> list[Any]:
        """The packets that are ready once this one of the source has come; None: it was the last.

        Raises:
            FFmpegError: it cannot be decoded.
        """
        if self._ended:
            return []
        if packet is not None:
            return self._encode(self._context.decode(packet))
        self._ended = True
        frames = []
        with suppress(FFmpegError):
            frames = self._context.decode(None)
        return [*self._encode(frames), *self.stream.encode(None)]

    def _encode(self, frames: Sequence[Any]) -> list[Any]:
        # PyAV brings each frame into the encoder's form, and into pieces of its size.
        return [packet for frame in frames for packet in self.stream.encode(self._on_time(frame))]

    def _on_time(self, frame: Any) -> Any:
        rate = frame.sample_rate
        at = self._due or 0
        if frame.pts is not None and frame.time_base:
            at = round(frame.pts * frame.time_base * rate)
        if self._due is not None and at - self._due < _LONGEST_JITTER_SECONDS * rate:
            at = self._due
        frame.pts, frame.time_base = at, Fraction(1, rate)
        self._due = at + frame.samples
        return frame
