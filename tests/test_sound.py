"""Sound that is encoded anew: what it becomes, and when."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
import pytest
from av.error import InvalidDataError

from vidsal.sinks.containers import Sample
from vidsal.sinks.sound import SoundEncoder, SoundForm, forms_for


def piece(
    at: int | None,
    samples: int = 100,
    *,
    base: Fraction | None = None,
    rate: int = 8000,
    form: str = "s16",
    layout: str = "mono",
) -> Any:
    """Decoded sound, its time in samples unless a clock is given."""
    frame = av.AudioFrame(format=form, layout=layout, samples=samples)
    frame.sample_rate, frame.pts = rate, at
    if base != 0:
        frame.time_base = base or Fraction(1, rate)
    return frame


class Decoder:
    """Gives what it was told to, or raises it."""

    def __init__(self, *steps: list[Any] | Exception, lossless: bool = True) -> None:
        self._steps: Iterator[list[Any] | Exception] = iter(steps)
        self.codec = SimpleNamespace(lossless=lossless)
        self.flushed = 0

    def decode(self, packet: Any) -> list[Any]:
        step = next(self._steps)
        if isinstance(step, Exception):
            raise step
        return step

    def flush_buffers(self) -> None:
        self.flushed += 1


def forms(suffix: str, decoder: Decoder | None, *, packets: int = 1, kind: str = "audio") -> list[tuple[str, ...]]:
    coded: Any = av.Packet(b"1")
    coded.time_base = Fraction(1, 8000)
    sample = Sample(SimpleNamespace(type=kind, codec_context=decoder), [coded] * packets)
    return [(form.codec, form.format, form.layout, str(form.rate)) for form in forms_for(sample, suffix)]


AAC = ("aac", "fltp", "mono", "8000"), ("aac", "fltp", "stereo", "8000")


@pytest.mark.parametrize(
    ("form", "alac", "pcm"),
    [
        ("u8", "s16p", ("pcm_s16le", "s16")),
        ("u8p", "s16p", ("pcm_s16le", "s16")),
        ("s16", "s16p", ("pcm_s16le", "s16")),
        ("s16p", "s16p", ("pcm_s16le", "s16")),
        ("s32", "s32p", ("pcm_s32le", "s32")),
        ("s32p", "s32p", ("pcm_s32le", "s32")),
        ("s64", "s32p", ("pcm_s32le", "s32")),
        ("flt", "s32p", ("pcm_f32le", "flt")),
        ("dblp", "s32p", ("pcm_f64le", "dbl")),
    ],
)
def test_sound_without_loss_keeps_its_depth(form: str, alac: str, pcm: tuple[str, str]) -> None:
    decoder = Decoder([piece(0, form=form)])
    assert forms(".mp4", decoder) == [("alac", alac, "mono", "8000"), *AAC]
    assert decoder.flushed == 1
    for suffix in (".mov", ".mkv"):
        assert forms(suffix, Decoder([piece(0, form=form)])) == [(*pcm, "mono", "8000"), *AAC]


@pytest.mark.parametrize(
    ("layout", "usual"),
    [
        ("mono", "mono"),
        ("1 channels", "mono"),
        ("stereo", "stereo"),
        ("downmix", "stereo"),
        ("2.1", "3.0"),
        ("quad", "4.0"),
        ("5.0(side)", "5.0"),
        ("5.1(side)", "5.1"),
        ("6.1", "6.1"),
        ("7.1(wide)", "7.1"),
    ],
)
def test_channels_are_laid_out_as_they_are_or_as_usual(layout: str, usual: str) -> None:
    def tried(suffix: str, *, lossless: bool) -> list[str]:
        return [one for _, _, one, _ in forms(suffix, Decoder([piece(0, layout=layout)], lossless=lossless))]

    coded = list(dict.fromkeys((usual, "stereo")))
    assert tried(".mkv", lossless=False) == coded
    assert tried(".mp4", lossless=True) == [usual, *coded]
    assert tried(".mov", lossless=True) == [*dict.fromkeys((layout, usual)), *coded]


@pytest.mark.parametrize(("rate", "coded"), [(44100, "44100"), (96000, "96000"), (5512, "48000"), (192000, "48000")])
def test_aac_keeps_a_rate_that_it_has(rate: int, coded: str) -> None:
    found = forms(".mp4", Decoder([piece(0, rate=rate)], lossless=False))
    assert found == [("aac", "fltp", layout, coded) for layout in ("mono", "stereo")]


def test_nothing_is_promised_of_what_is_not_decoded() -> None:
    damaged = InvalidDataError(1, "damaged")
    assert forms(".mp4", Decoder([], damaged, []), packets=3) == []
    assert forms(".mp4", Decoder([piece(0, rate=0, base=Fraction(1))])) == []
    assert forms(".mp4", Decoder([piece(0)]), kind="subtitle") == []
    assert forms(".mp4", None) == []
    assert len(forms(".mp4", Decoder([], [piece(0)], [], damaged), packets=4)) == 3


@pytest.mark.parametrize(
    ("codec", "label"), [("aac", "AAC"), ("alac", "ALAC (lossless)"), ("pcm_f32le", "PCM (lossless)")]
)
def test_forms_have_names_for_people(codec: str, label: str) -> None:
    assert SoundForm(codec, "s16", "mono", 8000).label == label


def encoded(*steps: list[Any] | Exception, form: SoundForm | None = None) -> tuple[Any, list[tuple[int, int]]]:
    """The encoder, and the time and size of each packet in samples; the last step is the end."""
    with av.open(io.BytesIO(), "w", format="matroska") as out:
        encoder = SoundEncoder(out, Decoder(*steps), form or SoundForm("pcm_s16le", "s16", "mono", 8000))
        out.start_encoding()
        packets = [
            packet for packet_in in [*["packet"] * (len(steps) - 1), None] for packet in encoder.convert(packet_in)
        ]
        assert encoder.convert(None) == encoder.convert("more") == []
        rate = encoder.stream.codec_context.sample_rate
        return encoder, [(round(p.pts * p.time_base * rate), round(p.duration * p.time_base * rate)) for p in packets]


TIMES: dict[str, tuple[list[Any], list[int]]] = {
    "at its own time": ([piece(1000)], [1000]),
    "in its own clock": ([piece(250, base=Fraction(1, 1000))], [2000]),
    "at 0 without a time": ([piece(None)], [0]),
    "at 0 without a clock": ([piece(70, base=Fraction(0))], [0]),
    "one after the other": ([piece(50), piece(None), piece(70, base=Fraction(0))], [50, 150, 250]),
    "a gap of a twentieth of a second": ([piece(0), piece(500)], [0, 500]),
    "less is jitter": ([piece(0), piece(499), piece(200)], [0, 100, 200]),
    "a step back": ([piece(5000), piece(0)], [5000, 5100]),
}


@pytest.mark.parametrize("case", TIMES)
def test_sound_is_encoded_at_its_time(case: str) -> None:
    pieces, at = TIMES[case]
    assert encoded(*[[one] for one in pieces], [])[1] == [(time, 100) for time in at]


def test_what_the_decoder_still_holds_is_encoded_and_its_last_fault_forgiven() -> None:
    assert encoded([piece(0)], [], [piece(100)])[1] == [(0, 100), (100, 100)]
    assert encoded([piece(0)], InvalidDataError(1, "damaged"))[1] == [(0, 100)]
    assert encoded([])[1] == []
    with pytest.raises(InvalidDataError):
        encoded(InvalidDataError(1, "damaged"), [])


def test_aac_gets_its_rate_by_channels_and_all_samples() -> None:
    encoder, packets = encoded([piece(0, 3000)], [], form=SoundForm("aac", "fltp", "stereo", 32000))
    assert encoder.stream.codec_context.bit_rate == 192_000
    # An encoder that looks ahead begins before 0; 3000 samples at 8000 are 12000 at 32000.
    assert packets[0][0] == -1024 and sum(packets[-1]) >= 12000
    assert encoded([], form=SoundForm("aac", "fltp", "stereo", 32000))[1] == []
    assert encoded([], form=SoundForm("alac", "s16p", "mono", 8000))[0].stream.codec_context.bit_rate is None
