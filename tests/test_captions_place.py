"""Densities whose masses are known by another way of adding up come in; every cue must go where they say."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import os
import signal
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pysubs2
import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st
from made import make_checkpoint, make_model
from media import make_video, rotate_mp4
from test_cli import status_of
from test_tracks import make

from vidsal.captions import CaptionOptions, CaptionsOutputOptions, PlaceCaptionsOptions, place_captions
from vidsal.captions.attention import CueAttention, mass_in_boxes
from vidsal.captions.choose import Candidates, choose, neighbours
from vidsal.captions.layout import Layout
from vidsal.captions.options import PLACES
from vidsal.captions.record import RECORD_LINE, CaptionsRecord
from vidsal.captions.streams import read_stream
from vidsal.captions.values import Anchor, Cue, Run
from vidsal.decode import DecodeOptions, open_video
from vidsal.errors import ConfigError, DecodeError, EncodeError, ExistsError, Stopped
from vidsal.frames import SaliencyBatch
from vidsal.pipe.maps import saved_densities
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.record import is_result
from vidsal.pipe.run import run
from vidsal.sinks import MapsSink
from vidsal.stages import CutOptions

LAYOUT = Layout(aspect=16 / 9)
Floats = npt.NDArray[np.float64]


def cue(start: float, end: float, text: str = "some words", own: Anchor | None = None) -> Cue:
    return Cue(round(start * 1000), round(end * 1000), (Run(text),) if text else (), own=own)


# What a box covers.


def by_cells(density: Floats, box: Sequence[float]) -> float:
    """The mass in a box, cell by cell."""
    h, w = density.shape
    total = 0.0
    for row, column in itertools.product(range(h), range(w)):
        across = min(box[2], (column + 1) / w) - max(box[0], column / w)
        down = min(box[3], (row + 1) / h) - max(box[1], row / h)
        total += density[row, column] * max(across, 0) * w * max(down, 0) * h
    return total


corner = st.floats(-0.2, 1.2)


@given(st.integers(0, 99), st.tuples(corner, corner).map(sorted), st.tuples(corner, corner).map(sorted))
def test_parts_of_cells_count_exactly(seed: int, across: list[float], down: list[float]) -> None:
    density = np.random.default_rng(seed).random((5, 7))
    density /= density.sum()
    box = [across[0], down[0], across[1], down[1]]
    assert mass_in_boxes(density, np.array([box]))[0] == pytest.approx(by_cells(density, box), abs=1e-12)


def test_frames_count_for_as_long_as_the_cue_is_shown_with_them() -> None:
    # All mass in the upper or the lower half, at a variable rate; the last is shown for the mean of the steps, 2 s.
    maps = np.zeros((4, 2, 1))
    maps[[0, 2], 0], maps[[1, 3], 1] = 1, 1
    batch = make(np.maximum(maps, 1e-30), times=[0.0, 1.0, 4.0, 6.0], cuts=[2])
    cues = [(0.5, 2.0), (1.0, 4.0), (3.0, 9.0), (2.0, 2.0), (8.5, 9.0), (5.0, 4.0), (-3.0, 0.25)]
    boxes = np.tile(np.array([[0.0, 0.0, 1.0, 0.5], [0.0, 0.5, 1.0, 1.0], [np.nan] * 4]), (len(cues), 1, 1))
    whole = CueAttention(*np.array(cues).T, boxes)  # type: ignore[call-arg, misc]
    whole.update(batch)
    whole.flush()
    upper = [0.5 / 1.5, 0.0, 2 / 5, 0.0, np.nan, np.nan, 1.0]
    assert whole.covered[:, 0] == pytest.approx(upper, abs=1e-6, nan_ok=True)
    assert whole.covered[:, 1] == pytest.approx([1 - one for one in upper], abs=1e-6, nan_ok=True)
    assert np.isnan(whole.covered[:, 2]).all()
    assert whole.seconds.tolist() == [1.5, 3.0, 5.0, 1.0, 0.0, 0.0, 0.25]
    assert whole.first_shot.tolist() == [0, 0, 0, 0, -1, -1, 0]
    assert whole.last_shot.tolist() == [0, 0, 1, 0, -1, -1, 0]
    apart = CueAttention(*np.array(cues).T, boxes)  # type: ignore[call-arg, misc]
    for one in batch:
        apart.update(one)
    apart.flush()
    assert np.array_equal(apart.covered, whole.covered, equal_nan=True)


def test_a_single_picture_is_shown_for_ever() -> None:
    attention = CueAttention(np.array([5.0]), np.array([6.0]), np.array([[[0.0, 0.0, 0.5, 1.0]]]))
    attention.update(make(np.ones((1, 2, 2))))
    attention.flush()
    assert attention.covered.tolist() == [[0.5]]


# Which place is chosen.


def chosen(
    cues: Sequence[Cue],
    costs: Sequence[dict[str, float]],
    *,
    shots: Sequence[int] | None = None,
    gain: float = 0.05,
    replace: bool = False,
) -> list[str | None]:
    candidates = Candidates.of(cues, PLACES, LAYOUT, replace_own=replace)
    covered = np.array([[[one.get(place, 0.5)] * 5 for place in PLACES] for one in costs])
    shot = np.array(shots if shots is not None else [0] * len(cues))
    return [one.place for one in choose(cues, candidates, covered, first_shot=shot, last_shot=shot, gain=gain)]


def test_a_cue_leaves_the_bottom_only_for_more_than_the_gain() -> None:
    one = [cue(0, 1)]
    assert chosen(one, [{"bottom": 0.14, "top": 0.10}]) == ["bottom"]
    assert chosen(one, [{"bottom": 0.16, "top": 0.10}]) == ["top"]
    assert chosen(one, [{"bottom": 0.16, "top": 0.10, "left": 0.02, "right": 0.01}]) == ["right"]
    assert chosen(one, [{"bottom": 0.11, "top": 0.10}], gain=0.0) == ["top"]
    assert chosen(one, [{"bottom": 0.9, "top": 0.0}], gain=1.0) == ["bottom"]


def test_in_a_shot_the_place_is_kept_while_it_is_nearly_as_good() -> None:
    cues = [cue(n, n + 1) for n in range(4)]
    costs = [{"bottom": 0.3, "top": 0.0}, {"bottom": 0.0, "top": 0.04}, {"bottom": 0.0, "top": 0.1}, {"bottom": 0.04}]
    assert chosen(cues, costs) == ["top", "top", "bottom", "bottom"]
    # After a cut the default place is asked first again.
    assert chosen(cues, costs, shots=[0, 1, 1, 1]) == ["top", "bottom", "bottom", "bottom"]


def test_a_cue_with_a_position_of_its_own_stays_unless_it_is_to_be_replaced() -> None:
    up = Anchor(0.5, 0.05, 0.5, 0, 0.9)
    cues, costs = [cue(0, 1, own=up), cue(2, 3)], [{"bottom": 0.0, "top": 0.9}, {"bottom": 0.2, "top": 0.1}]
    assert chosen(cues, costs) == [None, "top"]
    assert chosen(cues, costs, replace=True) == ["bottom", "top"]


def test_cues_at_once_stand_above_one_another_and_off_those_that_stay() -> None:
    bottom = Anchor(0.5, 0.95, 0.5, 1, 0.9)
    cues = [cue(0, 4), cue(1, 3, "two\nlines"), cue(2, 5, own=bottom), cue(2.5, 6)]
    candidates = Candidates.of(cues, PLACES, LAYOUT, replace_own=False)
    shots = np.zeros(4, np.int64)
    found = choose(cues, candidates, np.zeros((4, 4, 5)), first_shot=shots, last_shot=shots, gain=0.05)
    assert [one.place for one in found] == ["bottom", "bottom", None, "bottom"]
    for one, other in itertools.combinations(found, 2):
        assert one.box.shared_with(other.box) == 0
    assert found[0].box.bottom < found[2].box.top + 1e-9


@pytest.mark.parametrize("place", ["bottom", "top"])
def test_three_at_once_find_room_at_the_bottom_and_at_the_top_but_not_on_a_side(place: Any) -> None:
    cues = [cue(0, 4, f"words {number}") for number in range(3)]
    shots = np.zeros(3, np.int64)

    def found(place: Any) -> Any:
        candidates = Candidates.of(cues, (place,), LAYOUT, replace_own=False)
        return choose(cues, candidates, np.zeros((3, 1, 5)), first_shot=shots, last_shot=shots, gain=0.0)

    stacked = [one.box for one in found(place)]
    assert not any(one.crowded for one in found(place))
    assert [box.top for box in stacked] == pytest.approx([0.05, 0.11, 0.17] if place == "top" else [0.89, 0.83, 0.77])
    # In the column there is one slot only: the others are told.
    assert [one.crowded for one in found("left")] == [False, True, True]


times = st.integers(0, 40)


@given(
    st.lists(st.tuples(times, times, st.sampled_from(["a", "two\nlines", "some more words here", ""])), max_size=12),
    st.integers(0, 99),
    st.sampled_from([PLACES, ("bottom",), ("top", "left")]),
)
def test_no_cue_covers_another_that_is_shown_with_it(spans: list[tuple[int, int, str]], seed: int, places: Any) -> None:
    cues = [
        cue(start / 4, end / 4, f"{number} {text}" if text else "") for number, (start, end, text) in enumerate(spans)
    ]
    candidates = Candidates.of(cues, places, LAYOUT, replace_own=False)
    covered = np.random.default_rng(seed).random((len(cues), len(places), 5))
    shots = np.zeros(len(cues), np.int64)
    found = choose(cues, candidates, covered, first_shot=shots, last_shot=shots, gain=0.05)
    assert len(found) == len(cues)
    for (one, first), (other, second) in itertools.combinations(zip(cues, found, strict=True), 2):
        together = min(one.end_ms, other.end_ms) - max(one.start_ms, other.start_ms)
        if together > 40 and one.text and other.text and not (first.crowded or second.crowded):
            assert first.box.shared_with(second.box) == 0


def test_a_text_that_stands_twice_and_cues_that_only_touch_are_no_neighbours() -> None:
    cues = [cue(0, 2), cue(0, 2), cue(1.98, 4, "next"), cue(3, 3.5, "in it")]
    assert neighbours(cues) == [[], [], [3], [2]]


# From file to file.


SIZE = {"width": 160, "height": 90}
ROWS, COLUMNS = 18, 32


def blob(x: float, y: float) -> Floats:
    columns, rows = (np.arange(COLUMNS) + 0.5) / COLUMNS, (np.arange(ROWS) + 0.5) / ROWS
    density: Floats = np.exp(-(((rows - y) / 0.08) ** 2)[:, None] / 2 - ((columns - x) / 0.1) ** 2 / 2) + 1e-6
    return density / density.sum()


def write_maps(path: Path, maps: npt.ArrayLike, seconds: Sequence[float], *, width: int, height: int) -> Path:
    with MapsSink(path) as sink:
        sink.write(make(maps, times=seconds, height=height, width=width))
    return path


@dataclasses.dataclass(frozen=True)
class Case:
    video: Path
    maps: Path
    srt: Path
    densities: Floats
    seconds: list[float]


PTS = [*range(10), *range(12, 32, 2), *range(33, 43)]
"""Times in 1/10 s: at a variable rate."""
LINES = ["first words", "second", "third, longer words\nin two lines", "last"]
SPANS = [(0.25, 1.05), (1.3, 2.4), (2.4, 3.05), (3.5, 4.0)]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A video of 30 frames, looked at in the lower part, then in the upper one, then on the right."""
    folder = tmp_path_factory.mktemp("case")
    video = make_video(folder / "clip.mp4", frames=30, pts=PTS, time_base=Fraction(1, 10), **SIZE)
    seconds = [one / 10 for one in PTS]
    densities = np.stack([blob(0.5, 0.9)] * 10 + [blob(0.5, 0.1)] * 10 + [blob(0.85, 0.5)] * 10)
    maps = write_maps(folder / "clip.npz", densities, seconds, **SIZE)
    return Case(video, maps, write_srt(folder / "clip.srt", SPANS, LINES), densities, seconds)


def write_srt(path: Path, spans: Sequence[tuple[float, float]], lines: Sequence[str]) -> Path:
    def time(seconds: float) -> str:
        return f"00:00:{int(seconds):02d},{round(seconds % 1 * 1000):03d}"

    blocks = [
        f"{n}\n{time(start)} --> {time(end)}\n{text}\n"
        for n, ((start, end), text) in enumerate(zip(spans, lines, strict=True), 1)
    ]
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def options(case: Case | None = None, folder: Path | None = None, **more: Any) -> PlaceCaptionsOptions:
    captions = {
        name: more.pop(name)
        for name in ("captions", "places", "stream", "language", "replace_own", "gain")
        if name in more
    }
    output = {name: more.pop(name) for name in ("output", "to", "existing", "overwrite", "table") if name in more}
    given: dict[str, Any] = {} if case is None else {"maps": case.maps}
    if case is not None:
        captions = {"captions": case.srt, **captions}
    return PlaceCaptionsOptions(
        captions=CaptionOptions(**captions),
        output=CaptionsOutputOptions(**{"output": folder, **output}),
        **{**given, **more},
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_each_cue_goes_where_it_covers_least_and_the_table_says_how_much(case: Case, tmp_path: Path) -> None:
    report = place_captions(case.video, options(case, tmp_path))
    vtt, table = report.files
    assert is_result(vtt) and is_result(table)
    assert [path.name for path in report.files] == ["clip.vidsal.captions.vtt", "clip.vidsal.captions.vtt.csv"]
    rows = rows_of(table)
    assert [row["place"] for row in rows] == ["top", "bottom", "bottom", "bottom"]
    assert report.places == {"top": 1, "bottom": 3}
    assert [row["text"] for row in rows] == ["first words", "second", "third, longer words / in two lines", "last"]
    ends = [*case.seconds[1:], case.seconds[-1] + case.seconds[-1] / 29]
    for row, (start, end), text in zip(rows, SPANS, LINES, strict=True):
        shown = np.array([max(min(end, b) - max(start, a), 0) for a, b in zip(case.seconds, ends, strict=True)])
        mean = np.tensordot(shown / shown.sum(), case.densities, 1)
        for place in PLACES:
            if row[f"covered_{place}"]:
                layout = Layout(aspect=16 / 9)
                one = cue(0, 1, text)
                box = layout.box(layout.anchor(place, one), one)
                share = by_cells(mean, (box.left, box.top, box.right, box.bottom))
                assert float(row[f"covered_{place}"]) == pytest.approx(share, abs=2e-3)
        assert row["covered"] == row[f"covered_{row['place']}"]
    assert report.covered < 0.05 < report.covered_before
    read = webvtt.read(str(vtt))
    assert [one.text for one in read] == LINES
    assert [str(one.settings).split()[0] for one in read] == ["line:5%", "line:89%", "line:83%", "line:89%"]


def test_a_video_of_maps_gives_the_same_places_as_arrays(case: Case, tmp_path: Path) -> None:
    maps = write_maps(tmp_path / "clip.mkv", case.densities, case.seconds, **SIZE)
    (tmp_path / "one").mkdir()
    first = place_captions(case.video, options(case, tmp_path))
    second = place_captions(case.video, options(case, tmp_path / "one", maps=maps))
    for one, other in zip(rows_of(first.files[1]), rows_of(second.files[1]), strict=True):
        assert one["place"] == other["place"]
        assert float(one["covered_top"]) == pytest.approx(float(other["covered_top"]), abs=2e-3)


def test_saved_maps_are_densities(case: Case, tmp_path: Path) -> None:
    maps = write_maps(tmp_path / "clip.mkv", case.densities, case.seconds, **SIZE)
    for file in (maps, case.maps):
        with open_video(case.video, size=(9, 16)) as reader:
            density = np.concatenate([one.density.numpy() for one in saved_densities(file, reader, CutOptions())])
        assert density.sum(axis=(1, 2)) == pytest.approx(np.ones(30), abs=1e-5 if file == maps else 5e-3)
        assert density == pytest.approx(case.densities, abs=5e-5)


def test_ass_has_the_picture_for_its_coordinates(case: Case, tmp_path: Path) -> None:
    report = place_captions(case.video, options(case, tmp_path, output=tmp_path / "named.ass"))
    assert [path.name for path in report.files] == ["named.ass", "named.ass.csv"]
    read = pysubs2.load(str(report.files[0]))
    assert (read.info["PlayResX"], read.info["PlayResY"]) == ("160", "90")
    assert [one.text for one in read] == [
        "{\\an8}first words",
        *("second", "third, longer words\\Nin two lines", "last"),
    ]
    assert [(one.start, one.end) for one in read] == [(round(a * 1000), round(b * 1000)) for a, b in SPANS]


def test_ass_is_as_wide_as_the_picture_is_shown(case: Case, tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=2, sample_aspect_ratio=Fraction(2), **SIZE)
    maps = write_maps(tmp_path / "clip.npz", np.stack([blob(0.5, 0.9)] * 2), [0.0, 0.04], **SIZE)
    srt = write_srt(tmp_path / "clip.srt", [(0, 1)], ["words"])
    report = place_captions(video, options(captions=srt, maps=maps, output=tmp_path, to="ass"))
    assert pysubs2.load(str(report.files[0])).info["PlayResX"] == "320"


def test_places_can_be_left_out(case: Case, tmp_path: Path) -> None:
    report = place_captions(case.video, options(case, tmp_path, places=("right", "left"), gain=0.01))
    rows = rows_of(report.files[1])
    assert [row["place"] for row in rows] == ["right", "right", "right", "left"]
    assert {row["covered_bottom"] for row in rows} == {""}


def test_a_turned_video_is_taken_as_it_is_shown(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=10, rate=10, **SIZE)
    rotate_mp4(video, 90)
    maps = write_maps(
        tmp_path / "clip.npz", np.stack([blob(0.5, 0.9).T] * 10), [n / 10 for n in range(10)], width=90, height=160
    )
    srt = write_srt(tmp_path / "clip.srt", [(0, 1)], ["word"])
    report = place_captions(video, options(captions=srt, maps=maps, output=tmp_path, to="ass"))
    read = pysubs2.load(str(report.files[0]))
    assert (read.info["PlayResX"], read.info["PlayResY"]) == ("90", "160")
    # Looked at on the right: the letters are as high as in a wide picture, and wider for a narrow one.
    assert report.places == {"bottom": 1}
    width, _ = Layout(aspect=90 / 160).size(cue(0, 1, "word"), 0.9)
    assert width == pytest.approx(Layout(aspect=16 / 9).size(cue(0, 1, "word"), 0.9)[0] * (16 / 9) ** 2)


def test_predicted_densities_and_their_saved_maps_give_one_result(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=12, rate=10)
    srt = write_srt(tmp_path / "clip.srt", [(0, 0.5), (0.5, 1.2)], ["one", "two"])
    model = make_model()
    run(video, model=model, options=RunOptions(output=OutputOptions(video=False, table="none", maps="npz")))
    direct = place_captions(video, options(captions=srt, output=tmp_path / "direct.vtt"), model=model)
    saved = place_captions(
        video, options(captions=srt, maps=tmp_path / "clip.vidsal.maps.npz", output=tmp_path / "saved.vtt")
    )
    assert direct.frames == saved.frames == 12
    assert not any("viewers" in said for said in direct.messages)
    assert sum("made with viewers on" in said for said in saved.messages) == 1
    for one, other in zip(rows_of(direct.files[1]), rows_of(saved.files[1]), strict=True):
        assert one["place"] == other["place"]
        for place in PLACES:
            assert float(one[f"covered_{place}"] or 0) == pytest.approx(float(other[f"covered_{place}"] or 0), abs=2e-3)


def test_maps_of_another_video_are_refused(case: Case, tmp_path: Path) -> None:
    def refused(maps: Path, said: str, video: Path = case.video) -> None:
        with pytest.raises(DecodeError, match=said):
            place_captions(video, options(case, tmp_path, maps=maps))

    late = [one + 0.05 * (one > 2) for one in case.seconds]
    refused(write_maps(tmp_path / "late.npz", case.densities, late, **SIZE), "maps of other frames: map 15")
    refused(write_maps(tmp_path / "late.mkv", case.densities, late, **SIZE), "maps of other frames: map 15")
    refused(write_maps(tmp_path / "size.npz", case.densities, case.seconds, width=90, height=160), "90x160")
    refused(write_maps(tmp_path / "few.npz", case.densities[:20], case.seconds[:20], **SIZE), "20 maps")
    (tmp_path / "no.npz").write_bytes(b"PK nothing")
    refused(tmp_path / "no.npz", "cannot be read as maps")
    np.savez(tmp_path / "other.npz", maps=np.zeros((2, 2)))
    refused(tmp_path / "other.npz", "expected maps that vidsal run wrote")
    other = make_video(tmp_path / "other.mkv", frames=2)
    refused(other, "no video of maps")
    refused(tmp_path / "gone.npz", "gone.npz is not there")


def test_a_file_that_is_not_there_is_named_whatever_is_there(case: Case, tmp_path: Path) -> None:
    place_captions(case.video, options(case, tmp_path))
    with pytest.raises(DecodeError, match=r"gone\.srt is not there"):
        place_captions(case.video, options(case, tmp_path, captions=tmp_path / "gone.srt"))
    with pytest.raises(DecodeError, match=r"gone\.npz is not there"):
        place_captions(case.video, options(case, tmp_path, maps=tmp_path / "gone.npz"))


def test_of_a_part_only_its_frames_are_read(case: Case, tmp_path: Path) -> None:
    # Kept from the third second on, as a run with --start writes them.
    late = [n for n, one in enumerate(case.seconds) if one >= 3]
    maps = write_maps(tmp_path / "late.npz", case.densities[late], [case.seconds[n] for n in late], **SIZE)
    report = place_captions(case.video, options(case, tmp_path, maps=maps, decode=DecodeOptions(start_seconds=3.0)))
    assert [bool(row["covered"]) for row in rows_of(report.files[1])] == [False, False, True, True]
    assert "2 cues with no frame in the video: at the default place" in report.messages


# Streams of the video.


def add_subtitles(
    video: Path, target: Path, tracks: Sequence[tuple[str, str, Sequence[tuple[int, int, bytes]]]], default: int = 0
) -> Path:
    """Copies a video with text streams: codec, language, and start, duration in ms and bytes of each packet."""
    with av.open(str(video)) as source, av.open(str(target), "w") as out:
        copy = out.add_stream_from_template(source.streams.video[0])
        streams = []
        for codec, language, _ in tracks:
            stream: Any = out.add_mux_stream(codec)
            stream.time_base = Fraction(1, 1000)
            stream.metadata["language"] = language
            stream.disposition = int(len(streams) == default)
            streams.append(stream)
        out.start_encoding()
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
        for stream, (codec, _, cues) in zip(streams, tracks, strict=True):
            for start, duration, data in cues:
                text: Any = av.Packet(struct.pack(">H", len(data)) + data if codec == "mov_text" else data)
                text.stream, text.time_base = stream, Fraction(1, 1000)
                text.pts = text.dts = start
                text.duration = duration
                out.mux(text)
    return target


CUES = [(250, 800, b"first <i>words</i>"), (1300, 1100, b"{second}"), (3500, 500, b"Room\n101")]


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "mov_text"), ("mkv", "subrip"), ("mkv", "webvtt")])
def test_the_cues_of_a_stream_come_out_with_their_times(case: Case, tmp_path: Path, suffix: str, codec: str) -> None:
    video = add_subtitles(case.video, tmp_path / f"clip.{suffix}", [(codec, "eng", CUES)])
    report = place_captions(video, options(maps=case.maps, output=tmp_path))
    read = webvtt.read(str(report.files[0]))
    assert [one.start for one in read] == ["00:00:00.250", "00:00:01.300", "00:00:03.500"]
    assert [one.end for one in read] == ["00:00:01.050", "00:00:02.400", "00:00:04.000"]
    assert [one.text for one in read][1:] == ["{second}", "Room\n101"]
    # An mp4's text has no tags: what looks like one is text.
    assert read[0].raw_text == ("first &lt;i&gt;words&lt;/i&gt;" if suffix == "mp4" else "first <i>words</i>")
    assert [row["place"] for row in rows_of(report.files[1])] == ["top", "bottom", "bottom"]


def test_times_of_a_stream_count_from_where_players_begin(case: Case, tmp_path: Path) -> None:
    video = add_subtitles(case.video, tmp_path / "clip.mkv", [("subrip", "eng", CUES)])
    found = read_stream(video, CaptionOptions(), LAYOUT, Fraction(1, 2)).cues
    assert [(one.start_ms, one.end_ms) for one in found] == [(0, 550), (800, 1900), (3000, 3500)]


def test_an_ass_stream_keeps_its_styles(case: Case, tmp_path: Path) -> None:
    script = pysubs2.SSAFile()
    script.info |= {"PlayResX": "320", "PlayResY": "180"}
    script.styles = {"Talk": pysubs2.SSAStyle(fontsize=12, marginv=9)}
    for start, end, text in ((250, 1050, "one, two"), (1300, 2400, "{\\i1}three")):
        script.append(pysubs2.SSAEvent(start, end, text, style="Talk", name="Ann"))
    script.save(str(tmp_path / "a.ass"))
    video = tmp_path / "clip.mkv"
    with av.open(str(case.video)) as source, av.open(str(tmp_path / "a.ass")) as text, av.open(str(video), "w") as out:
        copies = [out.add_stream_from_template(part.streams[0]) for part in (source, text)]
        out.start_encoding()
        for part, copy in zip((source, text), copies, strict=True):
            for packet in part.demux(part.streams[0]):
                if packet.dts is not None:
                    packet.stream = copy
                    out.mux(packet)
    report = place_captions(video, options(maps=case.maps, output=tmp_path, to="ass"))
    read = pysubs2.load(str(report.files[0]))
    assert read.info["PlayResX"] == "320" and read.styles["Talk"].marginv == 9
    assert [(one.start, one.end, one.name, one.text) for one in read] == [
        (250, 1050, "Ann", "{\\an8}one, two"),
        (1300, 2400, "Ann", "{\\i1}three"),
    ]


def test_of_several_streams_the_one_asked_for_is_taken_and_named(case: Case, tmp_path: Path) -> None:
    tracks = [("subrip", "eng", CUES), ("subrip", "deu", [(250, 500, b"Wort")])]
    video = add_subtitles(case.video, tmp_path / "clip.mkv", tracks)

    def first(**more: Any) -> tuple[str, str]:
        report = place_captions(video, options(maps=case.maps, output=tmp_path, overwrite=True, **more))
        return webvtt.read(str(report.files[0]))[0].text, report.messages[0]

    listed = "clip.mkv has 2 text streams (0 srt eng; 1 srt deu)"
    assert first() == ("first words", f"{listed}: 0 is taken")
    assert first(stream=1) == ("Wort", f"{listed}: 1 is taken")
    assert first(language="deu") == ("Wort", f"{listed}: 1 is taken")
    with pytest.raises(ConfigError, match="2 text streams"):
        first(stream=2)
    with pytest.raises(ConfigError, match="has none"):
        first(language="fra")
    video = add_subtitles(case.video, tmp_path / "clip.mkv", tracks, default=1)
    assert first() == ("Wort", f"{listed}: 1 is taken")
    with pytest.raises(DecodeError, match="no text stream"):
        place_captions(case.video, options(maps=case.maps, output=tmp_path, overwrite=True))


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_cues_are_on_the_players_clock_where_the_picture_begins_late(tmp_path: Path, suffix: str) -> None:
    # The first frame is at 0.5 s: in Matroska half a second into the film, in a transport stream its very beginning.
    pts = [45000 + n * 9000 for n in range(10)]
    video = make_video(tmp_path / f"clip.{suffix}", frames=10, pts=pts, rate=10, **SIZE)
    densities = np.stack([blob(0.5, 0.9)] * 3 + [blob(0.5, 0.1)] * 7)
    maps = write_maps(tmp_path / "clip.npz", densities, [n / 10 for n in range(10)], **SIZE)
    srt = write_srt(tmp_path / "clip.srt", [(0.5, 0.8), (0.0, 0.3)], ["one", "two"])
    report = place_captions(video, options(captions=srt, maps=maps, output=tmp_path))
    found = [(row["place"], bool(row["covered"])) for row in rows_of(report.files[1])]
    assert found == ([("top", True), ("bottom", False)] if suffix == "mkv" else [("bottom", True), ("top", True)])


# What is there already, and what ends early.


def test_results_that_are_there_are_refused_and_replaced_only_if_asked(case: Case, tmp_path: Path) -> None:
    place_captions(case.video, options(case, tmp_path))
    table = tmp_path / "clip.vidsal.captions.vtt.csv"
    (tmp_path / "clip.vidsal.captions.vtt").unlink()
    table.write_text("mine")
    with pytest.raises(ExistsError, match=r"captions\.vtt\.csv exists already"):
        place_captions(case.video, options(case, tmp_path))
    assert table.read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    place_captions(case.video, options(case, tmp_path, overwrite=True))
    assert len(rows_of(table)) == 4


@pytest.mark.parametrize("to", ["vtt", "ass"])
def test_what_is_done_is_skipped_and_what_was_made_otherwise_refused(case: Case, tmp_path: Path, to: str) -> None:
    def again(**more: Any) -> str:
        return place_captions(case.video, options(case, tmp_path, to=to, existing="skip", **more)).status

    assert again() == "done"
    captions = tmp_path / f"clip.vidsal.captions.{to}"
    assert is_result(captions)
    before = captions.stat().st_mtime_ns
    assert again() == "skipped" and captions.stat().st_mtime_ns == before
    assert again(decode=DecodeOptions(batch_size=3)) == "skipped"
    with pytest.raises(ExistsError, match=r"captions\.gain was 0\.03, is now 0\.2"):
        again(gain=0.2)
    other = tmp_path / "clip.srt"
    other.write_text(case.srt.read_text().replace("second", "changed"))
    with pytest.raises(ExistsError, match="the captions was another one"):
        again(captions=other)
    # The table alone is missing: it is made again, with its captions.
    captions.with_name(f"{captions.name}.csv").unlink()
    assert again() == "done"
    captions.write_text("mine")
    with pytest.raises(ExistsError, match="was not made like this"):
        again()
    assert captions.read_text() == "mine"


def test_webvtt_and_ass_of_one_video_lie_side_by_side_each_with_its_table(case: Case, tmp_path: Path) -> None:
    made = [place_captions(case.video, options(case, tmp_path, to=to)).files for to in ("vtt", "ass")]
    assert [[path.name for path in files] for files in made] == [
        ["clip.vidsal.captions.vtt", "clip.vidsal.captions.vtt.csv"],
        ["clip.vidsal.captions.ass", "clip.vidsal.captions.ass.csv"],
    ]
    assert made[0][1].read_bytes() == made[1][1].read_bytes()
    for to in ("vtt", "ass"):
        assert place_captions(case.video, options(case, tmp_path, to=to, existing="skip")).status == "skipped"


def test_the_record_of_a_result_holds_no_nulls_and_earlier_ones_that_do_are_read(case: Case, tmp_path: Path) -> None:
    file = place_captions(case.video, options(case, tmp_path)).files[0]
    text = file.read_text(encoding="utf-8")
    (line,) = RECORD_LINE.findall(text)
    assert "null" not in line
    record = CaptionsRecord.in_file(file)
    assert record is not None and record.input.name == case.video.name
    assert record.model is None and record.maps is not None and record.maps.height is None
    before = json.dumps(dataclasses.asdict(record) | {"options": {**record.options, "more": {"none": None}}})
    assert before.count("null") > 5
    file.write_text(text.replace(line, before), encoding="utf-8")
    earlier = CaptionsRecord.in_file(file)
    assert earlier is not None and earlier.differences(record) == [] and earlier.input == record.input
    file.write_text(text.replace(line, '{"maps": [1]}'), encoding="utf-8")
    assert CaptionsRecord.in_file(file) is None
    file.write_text(text, encoding="utf-8")
    # What has a value on one side only is a difference still.
    other = dataclasses.replace(record, options={**record.options, "more": {"none": 1}})
    assert record.differences(other) == ["more.none was none, is now 1"]
    assert place_captions(case.video, options(case, tmp_path, existing="skip")).status == "skipped"


def test_a_result_does_not_pass_its_record_on(case: Case, tmp_path: Path) -> None:
    first = place_captions(case.video, options(case, tmp_path)).files[0]
    second = place_captions(case.video, options(case, captions=first, output=tmp_path / "b.vtt")).files[0]
    texts = [file.read_text().splitlines() for file in (first, second)]
    records = [[line for line in text if "vidsal_run" in line] for text in texts]
    assert [len(one) for one in records] == [1, 1] and records[0] != records[1]
    # Every cue has a place by now, and keeps it.
    assert texts[0][4:] == texts[1][4:]


def test_a_folder_is_made_and_what_cannot_be_written_is_refused_before_the_first_frame(
    case: Case, tmp_path: Path
) -> None:
    def read(*numbers: Any) -> None:
        raise AssertionError("a frame was read")

    assert place_captions(case.video, options(case, tmp_path / "new" / "er")).files[0].parent == tmp_path / "new" / "er"
    for output, said in ((tmp_path / "none" / "a.vtt", "does not exist"), (case.srt / "a.vtt", "is no folder")):
        with pytest.raises(EncodeError, match=said):
            place_captions(case.video, options(case, output=output), on_progress=read)
    (tmp_path / "a.vtt").mkdir()
    report = place_captions(case.video, options(case, output=tmp_path / "a.vtt"))
    assert report.files[0] == tmp_path / "a.vtt" / "clip.vidsal.captions.vtt"


def test_an_input_is_never_replaced(case: Case, tmp_path: Path) -> None:
    file = tmp_path / "a.vtt"
    file.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\na\n")
    with pytest.raises(EncodeError, match="is an input"):
        place_captions(case.video, options(case, captions=file, output=file, overwrite=True))
    assert "00:01.000\na" in file.read_text()


def test_a_stop_leaves_nothing(case: Case, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        place_captions(case.video, options(case, tmp_path), should_stop=lambda: True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"captions": Path("a.txt")}, "must end in one of .srt, .vtt, .ass, .ssa"),
        ({"captions": Path("a.srt"), "stream": 1}, "names a file"),
        ({"stream": 1, "language": "eng"}, "exclude each other"),
        ({"places": ()}, "at least one"),
        ({"output": Path("a.txt")}, "must be a folder"),
        ({"output": Path("a.ass"), "to": "vtt"}, "exclude each other"),
        ({"maps": Path("a.csv")}, "must be maps"),
    ],
)
def test_options_that_make_no_sense_are_refused(case: Case, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        place_captions(case.video, options(**given))


# The command.


def test_the_command_prints_the_files_and_says_what_it_did(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["captions-place", case.video, "--captions", case.srt, "--maps", case.maps, "-o", tmp_path]
    assert status_of(*words) == 0
    out, err = capsys.readouterr()
    names = [tmp_path / f"clip.vidsal.captions.{suffix}" for suffix in ("vtt", "vtt.csv")]
    assert out.splitlines() == [str(name) for name in names]
    assert "4 cues: 1 top, 3 bottom; they cover" in err
    assert status_of(*words) == 3
    assert "use --overwrite to replace it" in capsys.readouterr().err
    assert status_of(*words, "--overwrite", "--json", "--quiet", "--no-table") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["places"] == {"top": 1, "bottom": 3} and json.loads(out)["files"] == [str(names[0])]
    assert not err


def test_the_command_ends_as_run_does(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["captions-place", case.video, "--maps", case.maps, "-o", tmp_path]
    assert status_of(*words, "--captions", tmp_path / "none.srt") == 1
    assert "is not there" in capsys.readouterr().err
    assert status_of(*words, "--captions", case.video) == 2
    assert status_of(*words, "--places", "middle") == 2
    assert status_of("captions-place") == 2
    assert status_of("captions-place", tmp_path / "none.mp4", "--captions", case.srt) == 1
    assert status_of("captions-place", "rtsp://host/x", "--captions", case.srt) == 1
    assert status_of(*words, "--model", "nothing", "--captions", case.srt) == 0  # no model is asked


def test_ctrl_c_ends_the_command_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=12)
    srt = write_srt(tmp_path / "clip.srt", [(0, 9)], ["one"])
    checkpoint = make_checkpoint(tmp_path / "tiny.safetensors")
    update = CueAttention.update

    def interrupted(self: CueAttention, batch: SaliencyBatch) -> None:
        update(self, batch)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(CueAttention, "update", interrupted)
    before = sorted(tmp_path.iterdir())
    assert status_of("captions-place", video, "--captions", srt, "-m", checkpoint) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
