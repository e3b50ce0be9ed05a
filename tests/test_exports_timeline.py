"""Shots in the formats of editors: each file opened by a library, its cuts compared with those that were made."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import fcpxml_rules
import numpy as np
import numpy.typing as npt
import opentimelineio as otio
import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st
from made import make_model
from media import RGB, add_cover, jpeg_of, make_video
from PIL import Image

from vidsal.cli import main
from vidsal.decode import DecodeOptions, open_video
from vidsal.errors import ConfigError, DatasetError, EncodeError, ExistsError
from vidsal.exports import EXPORTS, Footage
from vidsal.exports.contract import Export, columns_of, nine_digits
from vidsal.exports.options import ExportName, export_files
from vidsal.exports.shots import SHOT_SOURCES
from vidsal.exports.timeline import FrameGrid
from vidsal.pipe.convert import convert
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.record import InputRecord, is_result, read_records
from vidsal.pipe.run import run
from vidsal.sinks.options import VideoOptions
from vidsal.timecode import Timecodes, nominal_rate
from vidsal.tracks import FrameNumbers

NTSC = Fraction(30000, 1001)
FILM = Fraction(24000, 1001)
IN_TIME: tuple[ExportName, ...] = ("shots", "edl", "otio", "fcpxml", "chapters", "vtt")


# Clips with known cuts.


def shots_picture(starts: Sequence[int], width: int = 64, height: int = 48) -> Callable[[int], RGB]:
    """Every shot is another pattern of large cells; `starts` are the frames at which the later ones begin."""

    def picture(i: int) -> RGB:
        random = np.random.default_rng(sum(i >= start for start in starts))
        cells = random.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
        return np.repeat(np.repeat(cells, 8, axis=0), 8, axis=1)

    return picture


@dataclass(frozen=True)
class Case:
    """A clip, and what is known of it."""

    rate: Fraction
    """Frames a second that are counted."""
    timecode: str | None
    """Of its first frame."""
    frames: tuple[int, ...]
    """The number of each frame on the grid of the rate."""
    milliseconds: tuple[int, ...] | None = None
    """The times of the frames where they vary."""
    suffix: str = ".mov"
    """Of its file."""


COUNT, STARTS = 26, (5, 14, 21)
VARYING = (
    0,
    33,
    80,
    101,
    160,
    199,
    210,
    290,
    300,
    381,
    400,
    439,
    520,
    555,
    600,
    604,
    700,
    733,
    801,
    840,
    890,
    941,
    960,
)
VARYING += (1000, 1053, 1101)

CASES = {
    "23.976": Case(FILM, "01:00:00:00", tuple(range(COUNT))),
    "25": Case(Fraction(25), "10:00:59:20", tuple(range(COUNT))),
    "29.97 drop frame": Case(NTSC, "00:00:59;20", tuple(range(COUNT))),
    "29.97": Case(NTSC, "00:00:59:20", tuple(range(COUNT))),
    "50": Case(Fraction(50), "00:00:00:00", tuple(range(COUNT))),
    "in milliseconds": Case(NTSC, None, tuple(range(COUNT)), suffix=".mkv"),
    "varying": Case(FILM, None, tuple(round(ms * FILM / 1000) for ms in VARYING), VARYING, ".mp4"),
}


@dataclass(frozen=True)
class Made:
    """A clip and the results of its run."""

    case: Case
    clip: Path
    messages: tuple[str, ...]

    def read(self, ending: str) -> bytes:
        return self.clip.with_name(f"clip.vidsal{ending}").read_bytes()

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self.read(".csv").decode().splitlines()))

    @property
    def spans(self) -> list[tuple[int, int]]:
        """First frame and frame after the last of each shot, by the table's cuts."""
        cuts = [n for n, row in enumerate(self.rows) if row["cut"] == "true"]
        assert cuts == list(STARTS)
        begins = [self.case.frames[n] for n in (0, *cuts)]
        return list(zip(begins, [*begins[1:], self.end], strict=True))

    @property
    def end(self) -> int:
        last = self.case.frames[-1]
        if self.case.milliseconds is None:
            return last + 1
        times = self.case.milliseconds
        return round((times[-1] + (times[-1] - times[0]) / (COUNT - 1)) * float(self.case.rate) / 1000)

    def timecode(self, frame: int) -> str:
        """By another implementation than ours."""
        first = self.case.timecode or "00:00:00:00"
        rate = float(self.case.rate)
        drop = ";" in first
        start = otio.opentime.from_timecode(first, rate).value
        text: str = otio.opentime.to_timecode(otio.opentime.RationalTime(start + frame, rate), rate, drop)
        return text


@pytest.fixture(scope="module", params=CASES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    case = CASES[request.param]
    clip = make_video(
        tmp_path_factory.mktemp("clip") / f"clip{case.suffix}",
        frames=COUNT,
        rate=case.rate,
        audio_tracks=int(case.timecode is not None),
        metadata={"timecode": case.timecode} if case.timecode else {},
        picture=shots_picture(STARTS),
        pts=case.milliseconds,
        time_base=Fraction(1, 1000),
    )
    output = OutputOptions(video=False, export=IN_TIME)
    report = run(clip, options=RunOptions(output=output), model=make_model())
    return Made(case, clip, report.messages)


def timeline_of(made: Made, text: str) -> Any:
    return otio.adapters.read_from_string(text, "otio_json")


def test_the_source_says_its_time_code_and_its_rate(made: Made) -> None:
    with open_video(made.clip) as reader:
        assert reader.info.timecode == made.case.timecode
        assert reader.info.nominal_rate == made.case.rate or made.case.milliseconds
        assert reader.info.audio_channels == int(made.case.timecode is not None)
        for decoder in ("opencv", "decord"):
            with open_video(made.clip, options=DecodeOptions(decoder=decoder)) as other:  # type: ignore[arg-type]
                assert (other.info.timecode, other.info.nominal_rate) == (
                    reader.info.timecode,
                    reader.info.nominal_rate,
                )


def test_table_and_shot_list_have_the_time_code_of_every_frame(made: Made) -> None:
    rows = made.rows
    assert ("timecode" in rows[0]) == (made.case.timecode is not None)
    shots = list(csv.DictReader(made.read(".shots.csv").decode().splitlines()))
    codes = [(shot["start_timecode"], shot["end_timecode"]) for shot in shots]
    if made.case.timecode is None:
        assert codes == [("", "")] * len(STARTS) + [("", "")]
        return
    assert [row["timecode"] for row in rows] == [made.timecode(n) for n in range(COUNT)]
    assert codes == [(made.timecode(first), made.timecode(end)) for first, end in made.spans]


def test_an_edit_list_has_the_cuts_of_the_table(made: Made) -> None:
    text = made.read(".edl").decode()
    drop = "DROP" if made.case.timecode and ";" in made.case.timecode else "NON-DROP"
    assert text.splitlines()[:2] == ["TITLE: clip", f"FCM: {drop} FRAME"]
    read = otio.adapters.read_from_string(text, "cmx_3600", rate=float(made.case.rate))
    clips = list(read.find_clips())
    first = otio.opentime.from_timecode(made.timecode(0), float(made.case.rate))
    spans = [
        (
            round((clip.source_range.start_time - first).value),
            round((clip.source_range.end_time_exclusive() - first).value),
        )
        for clip in clips
    ]
    assert spans == made.spans
    assert {clip.name for clip in clips} == {made.clip.name}
    assert {clip.metadata["cmx_3600"]["reel"] for clip in clips} == {"CLIP"}
    # In place: where it lies in the source is where it lies in the list.
    lines = [line.split() for line in text.splitlines() if re.match(r"\d{3}  ", line)]
    assert [line[4:6] for line in lines] == [line[6:8] for line in lines]
    assert [line[4:6] for line in lines] == [[made.timecode(a), made.timecode(b)] for a, b in made.spans]
    locators = re.findall(r"^\* LOC: (\S+) RED     SHOT (\d+) KEY FRAME", text, re.MULTILINE)
    keys = [int(row["key_index"]) for row in csv.DictReader(made.read(".shots.csv").decode().splitlines())]
    assert locators == [(made.timecode(made.case.frames[key]), str(n)) for n, key in enumerate(keys)]
    if drop == "NON-DROP":  # of the others, this adapter reads no locators
        assert [clip.markers[0].color for clip in clips] == ["RED"] * len(clips)


def test_an_opentimelineio_timeline_has_the_cuts_of_the_table(made: Made) -> None:
    timeline = timeline_of(made, made.read(".otio").decode())
    rate = float(made.case.rate)
    first = otio.opentime.from_timecode(made.timecode(0), rate).value
    (video,) = timeline.video_tracks()
    spans = [
        (clip.source_range.start_time.value - first, clip.source_range.end_time_exclusive().value - first)
        for clip in video
    ]
    assert spans == made.spans
    assert {clip.source_range.start_time.rate for clip in video} == {rate}
    assert timeline.global_start_time.value == first
    assert {clip.media_reference.target_url for clip in video} == {made.clip.as_uri()}
    media = video[0].media_reference.available_range
    assert media.start_time.value == first and media.duration.value >= made.end
    shots = list(csv.DictReader(made.read(".shots.csv").decode().splitlines()))
    for clip, shot in zip(video, shots, strict=True):
        numbers = dict(clip.metadata["vidsal"])
        assert {name: format(numbers[name], ".9g") for name in shot if not name.endswith("timecode")} == {
            name: value for name, value in shot.items() if not name.endswith("timecode")
        }
        (marker,) = clip.markers
        key = made.case.frames[int(shot["key_index"])]
        assert (marker.marked_range.start_time.value - first, marker.marked_range.duration.value) == (key, 1)
        assert clip.source_range.contains(marker.marked_range.start_time)
        assert format(marker.metadata["vidsal"]["attention_strength"], ".9g") == shot["attention_strength"]
    sound = [[clip.source_range for clip in track] for track in timeline.audio_tracks()]
    assert sound == ([[clip.source_range for clip in video]] if made.case.timecode else [])


def test_an_fcpxml_follows_apples_rules_and_has_the_cuts_of_the_table(made: Made) -> None:
    root = fcpxml_rules.parse(made.read(".fcpxml"))
    form, asset = root.find("resources/format"), root.find("resources/asset")
    step = fcpxml_rules.seconds(form.get("frameDuration"))
    assert step == 1 / made.case.rate and (form.get("width"), form.get("height")) == ("64", "48")
    start = fcpxml_rules.seconds(asset.get("start"))
    assert start / step == otio.opentime.from_timecode(made.timecode(0), float(made.case.rate)).value
    assert asset.find("media-rep").get("src") == made.clip.as_uri()
    assert asset.get("hasAudio") == ("1" if made.case.timecode else None)
    sequence = root.find("library/event/project/sequence")
    drop = "DF" if made.case.timecode and ";" in made.case.timecode else "NDF"
    assert sequence.get("tcFormat") == drop and fcpxml_rules.seconds(sequence.get("tcStart")) == start
    clips, at = sequence.findall("spine/asset-clip"), start
    spans = []
    for clip in clips:
        begin, lasts = (fcpxml_rules.seconds(clip.get(name)) for name in ("start", "duration"))
        # The time line has neither gaps nor overlaps.
        assert fcpxml_rules.seconds(clip.get("offset")) == at
        at += lasts
        spans.append(((begin - start) / step, (begin + lasts - start) / step))
        (marker,) = clip.findall("marker")
        assert begin <= fcpxml_rules.seconds(marker.get("start")) < begin + lasts
        assert (fcpxml_rules.seconds(marker.get("start")) / step).denominator == 1
    assert spans == made.spans
    assert fcpxml_rules.seconds(sequence.get("duration")) == at - start


def test_a_part_of_a_source_keeps_the_times_of_the_source(tmp_path: Path) -> None:
    case = CASES["29.97 drop frame"]
    clip = make_video(
        tmp_path / "clip.mov",
        frames=COUNT,
        rate=case.rate,
        metadata={"timecode": case.timecode or ""},
        picture=shots_picture(STARTS),
    )
    options = RunOptions(
        output=OutputOptions(video=False, export=("edl", "fcpxml")),
        decode=DecodeOptions(start_seconds=float(10 / NTSC), end_seconds=float(24 / NTSC)),
    )
    run(clip, options=options, model=make_model())
    part = Made(case, clip, ())
    assert [row["timecode"] for row in part.rows] == [part.timecode(n) for n in range(10, 24)]
    lines = [line.split() for line in part.read(".edl").decode().splitlines() if re.match(r"\d{3}  ", line)]
    spans = [(10, 14), (14, 21), (21, 24)]
    assert [line[4:6] for line in lines] == [[part.timecode(a), part.timecode(b)] for a, b in spans]
    root = fcpxml_rules.parse(part.read(".fcpxml"))
    start = fcpxml_rules.seconds(root.find("resources/asset").get("start"))
    offsets = [fcpxml_rules.seconds(clip.get("offset")) - start for clip in root.iter("asset-clip")]
    assert [offset * NTSC for offset in offsets] == [10, 14, 21]


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv", ".mxf"])
def test_every_container_that_keeps_a_time_code_gives_it(tmp_path: Path, suffix: str) -> None:
    codec = "mpeg2video" if suffix == ".mxf" else "libx264"
    clip = make_video(tmp_path / f"a{suffix}", frames=3, codec=codec, metadata={"timecode": "10:11:12:13"})
    with open_video(clip) as reader:
        assert reader.info.timecode == "10:11:12:13"


def test_pictures_and_animations_have_the_rate_of_their_times(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    frames = [Image.fromarray(shots_picture([1, 2])(n)) for n in range(3)]
    for n, frame in enumerate(frames):
        frame.save(tmp_path / "folder" / f"{n}.png")
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=40)
    for name, rate in (("folder", 25), ("a.webp", 25), ("folder/0.png", 25)):
        with open_video(tmp_path / name) as reader:
            assert (reader.info.nominal_rate, reader.info.timecode) == (rate, None)


def test_the_rules_of_fcpxml_refuse_what_is_wrong() -> None:
    for wrong in (
        b'<fcpxml version="1.9"/>',
        b'<fcpxml version="1.10"><library/><resources/></fcpxml>',
        b'<fcpxml version="1.10"><resources><asset id="a"/></resources></fcpxml>',
        b'<fcpxml version="1.10"><event><project><sequence format="r9"><spine/></sequence></project></event></fcpxml>',
    ):
        with pytest.raises(AssertionError):
            fcpxml_rules.parse(wrong)


def exact_spans(made: Made) -> list[tuple[Fraction, Fraction]]:
    """Start and end of each shot in seconds, by what was made."""
    times = [Fraction(n) / made.case.rate for n in range(COUNT)]
    if made.case.milliseconds is not None:
        times = [Fraction(ms, 1000) for ms in made.case.milliseconds]
    if made.clip.suffix == ".mkv":
        times = [Fraction(round(time * 1000), 1000) for time in times]
    end = times[-1] + (times[-1] - times[0]) / (COUNT - 1)
    if made.case.milliseconds is not None:
        with av.open(str(made.clip)) as container:
            video = container.streams.video[0]
            end = min(end, (video.start_time or 0) * video.time_base + (video.duration or 0) * video.time_base)
    begins = [times[n] for n in (0, *STARTS)]
    return list(zip(begins, [*begins[1:], end], strict=True))


def test_chapters_are_read_by_ffmpeg_at_the_times_of_the_table(made: Made) -> None:
    with av.open(str(made.clip.with_name("clip.vidsal.chapters.txt")), format="ffmetadata") as read:
        chapters: list[Any] = list(read.chapters())
    spans = [(one["start"] * one["time_base"], one["end"] * one["time_base"]) for one in chapters]
    for found, exact in zip(spans, exact_spans(made), strict=True):
        assert [float(time) for time in found] == pytest.approx([float(time) for time in exact], abs=6e-7)
    shots = list(csv.DictReader(made.read(".shots.csv").decode().splitlines()))
    titles = [f"Shot {shot['shot']} ({float(shot['attention_strength']):.2f} bit)" for shot in shots]
    assert [one["metadata"]["title"] for one in chapters] == titles


def test_cues_are_read_at_the_times_of_the_table_and_hold_its_shots(made: Made) -> None:
    cues = list(webvtt.from_string(made.read(".vtt").decode()))
    shots = list(csv.DictReader(made.read(".shots.csv").decode().splitlines()))
    for cue, exact, shot in zip(cues, exact_spans(made), shots, strict=True):
        found = [(dt.time.fromisoformat(text)) for text in (cue.start, cue.end)]
        found_seconds = [time.minute * 60 + time.second + time.microsecond / 1e6 for time in found]
        assert found_seconds == pytest.approx([float(time) for time in exact], abs=6e-4)
        assert cue.identifier == f"shot-{shot['shot']}"
        numbers = json.loads(cue.text)
        assert [numbers["start_seconds"], numbers["end_seconds"]] == pytest.approx([float(t) for t in exact], abs=1e-8)
        assert numbers["last_index"] == int(shot["last_index"])


def test_a_run_says_what_was_done_about_time(made: Made) -> None:
    assert ("the source has no time code: its first frame is taken as 00:00:00:00" in made.messages) == (
        made.case.timecode is None
    )
    varies = [message for message in made.messages if "varies" in message]
    assert varies == (
        ["the frame rate varies: cuts lie at the nearest frame of 23.976 a second, at most 21 ms from their times"]
        if made.case.milliseconds
        else []
    )


def test_a_finished_table_is_converted_to_the_same_bytes(made: Made, tmp_path: Path) -> None:
    done = convert(made.clip.with_name("clip.vidsal.csv"), IN_TIME, output=tmp_path)
    assert [path.name for path in done.files] == [f"clip.vidsal{EXPORTS[kind].ending}" for kind in IN_TIME]
    for kind, path in zip(IN_TIME, done.files, strict=True):
        assert path.read_bytes() == made.read(EXPORTS[kind].ending), kind
        assert is_result(path)
    assert {*done.messages} == {*made.messages} and done.frames == COUNT
    assert is_result(made.clip.with_name("clip.vidsal.edl"))


# The grid of frames.


def columns(times: npt.ArrayLike, starts: Sequence[int] = ()) -> dict[str, npt.NDArray[Any]]:
    """Rows of a table with these times, and cuts at these frames."""
    seconds = nine_digits(np.asarray(times, np.float64))
    index = np.arange(len(seconds))
    made: dict[str, npt.NDArray[Any]] = {name: np.full(len(seconds), 0.5) for name in SHOT_SOURCES}
    shot = np.searchsorted(np.asarray(sorted(starts)), index, side="right")
    return made | {"index": index, "pts_seconds": seconds, "shot": shot}


def exported(
    kind: str, footage: Footage, rows: dict[str, npt.NDArray[Any]], *, groups: int = 1000
) -> tuple[Export, str]:
    """An export that was fed in groups, and its text."""
    export = EXPORTS[kind].load()(footage)
    count = len(rows["index"])
    parts = [
        export.update({name: one[at : at + groups] for name, one in rows.items()}) for at in range(0, count, groups)
    ]
    return export, b"".join([*parts, export.flush()]).decode()


def settled(said: Fraction | None, times: npt.ArrayLike, *, groups: int = 7) -> tuple[Fraction, str | None]:
    grid, seconds = FrameGrid(said), nine_digits(np.asarray(times, np.float64))
    for at in range(0, len(seconds), groups):
        grid.update(seconds[at : at + groups])
    return grid.settle()


FRAMES = np.arange(500)


@pytest.mark.parametrize(
    ("said", "times", "rate", "says"),
    [
        (NTSC, FRAMES * 1001 / 30000, NTSC, None),
        # From the middle of a source on, in milliseconds, with gaps: still on its grid.
        (NTSC, np.round((FRAMES + 20_000) * 1001 / 30000, 3), NTSC, None),
        (Fraction(25), FRAMES[FRAMES % 7 != 3] / 25, Fraction(25), None),
        (Fraction(12345, 1000), FRAMES * 1000 / 12345, Fraction(12345, 1000), None),
        (None, FRAMES * 1001 / 24000, FILM, None),
        (None, FRAMES / 50, Fraction(50), None),
        # What the header says is not what is there.
        (Fraction(30), FRAMES * 1001 / 30000, NTSC, "the source says 30 frames a second, and its frames lie at 29.97"),
        (Fraction(25), FRAMES / 50, Fraction(50), "the source says 25 frames a second, and its frames lie at 50"),
        (
            Fraction(215, 10),
            FRAMES[FRAMES % 7 != 3] / 25,
            Fraction(25),
            "the source says 21.5 frames a second, and its",
        ),
        (Fraction(30), np.cumsum(0.01 + 0.05 * (FRAMES % 3)), Fraction(30), "the frame rate varies: cuts lie at the"),
        (None, np.cumsum(0.01 + 0.03 * (FRAMES % 3)), Fraction(25), "the frame rate varies: cuts lie at the nearest"),
        (None, [3.0], Fraction(25), "the source has no frame rate: 25 frames a second are assumed"),
        (FILM, [3.0], FILM, None),
    ],
)
def test_the_rate_is_seen_from_the_times(
    said: Fraction | None, times: npt.ArrayLike, rate: Fraction, says: str | None
) -> None:
    found, message = settled(said, times)
    assert found == rate
    assert message is None if says is None else message is not None and message.startswith(says)
    assert settled(said, times, groups=1) == settled(said, times, groups=1000) == (found, message)


@pytest.mark.parametrize(
    ("own", "counted", "says"),
    [
        (Fraction(25, 2), 25, "12.5 frames a second are no rate of time codes: each counts as 2 at 25 a second"),
        (Fraction(10), 30, "10 frames a second are no rate of time codes: each counts as 3 at 30 a second"),
        (NTSC / 2, NTSC, "14.985 frames a second are no rate of time codes: each counts as 2 at 29.97 a second"),
        (Fraction(120000, 1001), Fraction(120000, 1001), None),
        (
            Fraction(240),
            120,
            "240 frames a second are no rate of time codes: cuts lie at the nearest frame of 120 a second",
        ),
    ],
)
def test_frames_that_time_codes_cannot_count_are_counted_at_a_rate_that_they_can(
    own: Fraction, counted: Fraction, says: str | None
) -> None:
    rows = columns(np.arange(100) / float(own), [40])
    export, text = exported("edl", Footage(name="a", rate=own, timecode="01:00:00:00"), rows)
    codes = Timecodes.of("01:00:00:00", Fraction(counted))
    assert re.findall(r"C        (\S+) (\S+) ", text) == [
        (codes[0], codes[round(40 * counted / own)]),
        (codes[round(40 * counted / own)], codes[round(100 * counted / own)]),
    ]
    assert export.messages == ([] if says is None else [says])


@pytest.mark.parametrize(
    ("average", "base", "rate"),
    [
        (Fraction(2997, 100), None, NTSC),
        (Fraction(24000, 1001), Fraction(24000, 1001), FILM),
        (Fraction(24), None, Fraction(24)),
        (Fraction(2395, 100), Fraction(24000, 1001), FILM),
        (Fraction(21), Fraction(90000), Fraction(21)),
        (Fraction(50), Fraction(25), Fraction(50)),
        (None, Fraction(25), Fraction(25)),
        (None, None, None),
    ],
)
def test_the_nominal_rate_is_the_one_that_was_meant(
    average: Fraction | None, base: Fraction | None, rate: Fraction | None
) -> None:
    assert nominal_rate(average, base) == rate


RATES = (FILM, Fraction(24), Fraction(25), NTSC, Fraction(30), Fraction(50), Fraction(60000, 1001), Fraction(120))


@settings(max_examples=60, deadline=None)
@given(
    rate=st.sampled_from(RATES),
    first=st.integers(0, 100_000),
    cuts=st.sets(st.integers(1, 119), max_size=12),
    digits=st.sampled_from([3, 6, 9]),
    groups=st.integers(1, 130),
)
def test_at_a_constant_rate_every_cut_is_exact(
    rate: Fraction, first: int, cuts: set[int], digits: int, groups: int
) -> None:
    """Whatever part of the source is read, and however its container has rounded the times."""
    times = [round(float((first + n) / rate), digits) for n in range(120)]
    footage = Footage(name="a.mov", rate=rate)
    export, text = exported("edl", footage, columns(times, sorted(cuts)), groups=groups)
    codes = Timecodes.of(None, rate)
    lines = [line.split() for line in text.splitlines() if re.match(r"\d{3}  ", line)]
    begins = [first + n for n in (0, *sorted(cuts))]
    assert [line[4] for line in lines] == [codes[n] for n in begins]
    assert [line[5] for line in lines] == [codes[n] for n in (*begins[1:], first + 120)]
    assert not [message for message in export.messages if "time code" not in message]


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.integers(1, 400), min_size=2, max_size=60),
    cuts=st.sets(st.integers(1, 59), max_size=8),
    said=st.sampled_from([None, Fraction(25), NTSC]),
)
def test_at_any_times_the_cuts_are_whole_frames_next_to_them(
    steps: list[int], cuts: set[int], said: Fraction | None
) -> None:
    times = np.cumsum([0, *steps]) / 1000
    starts = sorted(cut for cut in cuts if cut < len(times))
    rows = columns(times, starts)
    export, text = exported("otio", Footage(name="a.mov", rate=said), rows)
    (track,) = otio.adapters.read_from_string(text, "otio_json").video_tracks()
    rate = track[0].source_range.start_time.rate
    at = track[0].source_range.start_time.value
    for clip in track:
        # Whole frames, at least one, without gaps or overlaps; each begins next to the time of its shot.
        assert clip.source_range.start_time.value == at
        assert clip.source_range.duration.value >= 1 and clip.source_range.duration.value % 1 == 0
        at = clip.source_range.end_time_exclusive().value
        begin = clip.metadata["vidsal"]["start_seconds"]
        assert abs(clip.source_range.start_time.value / rate - begin) <= 0.5 / rate + 1e-6
    left_out = [message for message in export.messages if "left out" in message]
    assert len(track) == len(starts) + 1 - (int(left_out[0].split()[0]) if left_out else 0)


def test_a_shot_between_two_frames_of_a_slower_grid_is_left_out_and_named() -> None:
    times = np.array([0, 33, 67, 100, 104, 107, 133, 167, 200, 233, 267, 271, 300]) / 1000
    for kind in ("edl", "otio", "fcpxml"):
        export, text = exported(kind, Footage(name="a", rate=Fraction(30), height=2, width=2), columns(times, [4, 5]))
        assert "1 shot is shorter than a frame at 30 a second, and left out" in export.messages, kind
        assert text.count("hot 1") == 0 and "hot 2" in text.lower().replace("shot", "hot")


def test_an_edit_list_ends_at_its_last_number_and_says_so() -> None:
    rows = columns(np.arange(1200) / 25, range(1, 1200))
    export, text = exported("edl", Footage(name="long.mov", rate=Fraction(25), timecode="01:00:00:00"), rows)
    numbers = re.findall(r"^(\d+)  LONG", text, re.MULTILINE)
    assert numbers == [f"{n:03d}" for n in range(1, 1000)]
    assert export.messages == [
        "an edit list holds 999 events: the last 201 shots, from 01:00:39:24 on, are left out; otio and fcpxml hold all"
    ]


@pytest.mark.parametrize(("rate", "mark"), [(Fraction(25), ":"), (NTSC, ";")])
@pytest.mark.parametrize("early", [10, 30])
def test_a_list_that_passes_midnight_says_so(rate: Fraction, mark: str, early: int) -> None:
    code = f"23:59:59{mark}{round(rate) - 5:02d}"
    rows = columns(np.arange(40) / rate, [10])
    footage = Footage(name="late.mov", rate=rate, timecode=code)
    export, text = exported("edl", footage, {name: one[:early] for name, one in rows.items()})
    assert f"00:00:00{mark}" in text
    assert [said for said in export.messages if "passes midnight in event 001" in said]
    before = dataclasses.replace(footage, timecode=f"23:59:57{mark}00")
    assert not any("midnight" in said for said in exported("edl", before, rows)[0].messages)
    # A list that ends at midnight does not pass it: its last time is that of the frame after.
    whole = {name: one[:5] for name, one in rows.items()}
    assert not any("midnight" in said for said in exported("edl", footage, whole)[0].messages)


def test_a_folder_of_pictures_is_named_as_no_media(tmp_path: Path) -> None:
    footage = Footage(name="frames", path=tmp_path, kind="images", height=48, width=64, rate=Fraction(25))
    rows = columns(np.arange(40) / 25, [10, 30])
    export, text = exported("otio", footage, rows)
    read = otio.adapters.read_from_string(text, "otio_json")
    clips = list(read.find_clips())
    assert [clip.source_range.start_time.value for clip in clips] == [0, 10, 30]
    assert all(isinstance(clip.media_reference, otio.schema.MissingReference) for clip in clips)
    assert str(tmp_path) not in text and [said for said in export.messages if "clips are without media" in said]
    export, text = exported("fcpxml", footage, rows)
    root = fcpxml_rules.parse(text.encode())
    gaps = root.findall(".//spine/gap")
    assert [fcpxml_rules.seconds(gap.get("offset")) * 25 for gap in gaps] == [0, 10, 30]
    assert all(gap.find("marker") is not None for gap in gaps) and root.find(".//asset") is None
    assert str(tmp_path) not in text and [said for said in export.messages if "gaps with markers" in said]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_of_several_pictures_is_called_no_folder(tmp_path: Path, is_there: bool) -> None:
    path = tmp_path / "scans.tif" if is_there else None
    (tmp_path / "scans.tif").touch()
    footage = Footage(name="scans.tif", path=path, kind="images", height=48, width=64, rate=Fraction(25))
    for kind in ("otio", "fcpxml"):
        export, _ = exported(kind, footage, columns(np.arange(4) / 25, [2]))
        (said,) = [said for said in export.messages if "no media" in said]
        assert said.startswith("scans.tif is a file of several pictures, which these programs open as no media")


@pytest.mark.parametrize("kind", ["edl", "otio", "fcpxml", "chapters", "vtt", "shots"])
def test_the_last_shot_of_a_variable_rate_ends_with_the_media(kind: str) -> None:
    # Long steps first: by the mean step the last frame would be shown far beyond the end.
    times = np.array([0, 1, 2, 3, 3.04, 3.08, 3.12])
    footage = Footage(name="a.mov", path=Path("/a.mov"), height=48, width=64, rate=Fraction(25), duration_seconds=3.16)
    _, text = exported(kind, footage, columns(times, [4]))
    ends = {
        "edl": r"00:00:03:01 00:00:03:04 00:00:03:01 00:00:03:04",
        "chapters": r"START=3040000\nEND=3160000",
        "vtt": r"00:00:03.040 --> 00:00:03.160",
        "shots": r"3\.04,3\.16,0\.12,",
        "fcpxml": r'start="76/25s" duration="3/25s"',
    }
    if kind == "otio":
        read = otio.adapters.read_from_string(text, "otio_json")
        for clip in read.find_clips():
            assert clip.source_range.end_time_exclusive() <= clip.media_reference.available_range.end_time_exclusive()
        assert clip.source_range.duration.value == 3
    else:
        assert re.search(ends[kind], text), text
    # Where the source does not say how long it is, or rounds, the mean step stays.
    for said in (None, 3.12 + 0.52 - 0.001):
        _, text = exported("shots", dataclasses.replace(footage, duration_seconds=said), columns(times, [4]))
        assert "3.04,3.64,0.6," in text


def test_the_chapter_of_a_single_picture_ends_after_it_begins() -> None:
    _, text = exported("chapters", Footage(name="a.jpg", kind="image"), columns([0.0]))
    assert "START=0\nEND=40000\n" in text


def test_names_that_formats_have_no_place_for_are_written_so_that_they_can_be_read() -> None:
    name = "a&b <c>\n#1;2=3 -->\udce9.mov"
    rows = columns(np.arange(10) / 25, [4])
    footage = Footage(name=name, rate=Fraction(25), height=2, width=2)
    _, text = exported("fcpxml", footage, rows)
    assert fcpxml_rules.parse(text.encode()).find("resources/asset").get("name").startswith("a&b <c> #1;2=3 -->")
    _, text = exported("edl", footage, rows)
    assert len(list(otio.adapters.read_from_string(text, "cmx_3600", rate=25).find_clips())) == 2
    assert "* FROM CLIP NAME: a&b <c> #1;2=3 -->?.mov" in text
    export, text = exported("otio", footage, rows)
    assert otio.adapters.read_from_string(text, "otio_json").video_tracks()[0][0].media_reference.target_url == (
        "a%26b%20%3Cc%3E%0A%231%3B2%3D3%20--%3E%E9.mov"
    )
    assert any("is named by its name alone" in message for message in export.messages)


def test_a_cue_ends_after_it_begins_however_short_its_shot_is() -> None:
    _, text = exported("vtt", Footage(name="a"), columns([0, 0.5, 0.5002, 1], [1, 2]))
    assert [(cue.start, cue.end) for cue in webvtt.from_string(text)] == [
        ("00:00:00.000", "00:00:00.500"),
        ("00:00:00.500", "00:00:00.501"),
        ("00:00:00.500", "00:00:01.333"),
    ]


def test_a_time_code_that_cannot_be_read_is_said_and_counted_from_0() -> None:
    footage = Footage(name="a.mov", rate=Fraction(25), timecode="soon")
    export, text = exported("edl", footage, columns(np.arange(10) / 25))
    assert "00:00:00:00 00:00:00:10" in text
    assert export.messages == [
        "the time code soon cannot be read at 25 frames a second: the source's first frame is taken as 00:00:00:00"
    ]


def test_pixels_that_are_not_square_and_whole_rates_are_written_into_an_fcpxml() -> None:
    footage = Footage(name="a", rate=Fraction(1), height=576, width=720, sample_aspect_ratio=Fraction(16, 15))
    root = fcpxml_rules.parse(exported("fcpxml", footage, columns(np.arange(5.0), [2]))[1].encode())
    form = root.find("resources/format")
    assert (form.get("paspH"), form.get("paspV"), form.get("frameDuration")) == ("16", "15", "1/24s")
    assert [clip.get("duration") for clip in root.iter("asset-clip")] == ["48/24s", "72/24s"]


@pytest.mark.parametrize("rate", [NTSC, Fraction(60000, 1001), Fraction(25), FILM])
@pytest.mark.parametrize("mark", [":", ";"])
def test_time_codes_are_those_of_another_implementation(rate: Fraction, mark: str) -> None:
    drop = mark == ";" and round(rate) % 30 == 0
    codes = Timecodes.of(f"00:58:59{mark}00" if not drop else "00:58:59;00", rate)
    first = otio.opentime.from_timecode(f"00:58:59{';' if drop else ':'}00", float(rate)).value
    assert codes.first == first and codes.is_drop == drop
    for frame in (*range(130), 1799, 1800, 17981, 17982, 107_892, 2_000_000):
        time = otio.opentime.RationalTime(first + frame, float(rate))
        assert codes[frame].replace(";", ":") == otio.opentime.to_timecode(time, float(rate), drop).replace(";", ":")


def test_numbers_have_the_nine_digits_of_a_csv_whatever_they_come_from() -> None:
    random = np.random.default_rng(0)
    values = random.uniform(-1, 1, 3000) * 10.0 ** random.integers(-15, 13, 3000)
    # Halves, which a product may round over.
    halves = (random.integers(10**8, 10**9, 3000) + 0.5) / 10.0 ** random.integers(0, 9, 3000)
    for each in (values, halves, np.array([0.0, np.nan, np.inf, 999_999_999.6] * 10)):
        expected = [float(format(value, ".9g")) for value in each]
        assert np.array_equal(nine_digits(each), expected, equal_nan=True)
        assert np.array_equal(nine_digits(nine_digits(each)), expected, equal_nan=True)
    (made,) = columns_of([dataclasses.replace(ROW, pts_seconds=1 / 3)], ["pts_seconds"]).values()
    assert made.tolist() == [0.333333333]


ROW = FrameNumbers(
    **{
        each.name: 0
        if each.name in ("index", "shot")
        else False
        if each.name == "cut"
        else None
        if "region" in each.name
        else 0.5
        for each in dataclasses.fields(FrameNumbers)
    }
)


# Chapters in the video.


@pytest.mark.parametrize("container", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize(
    ("start", "source"), [(0.0, "with sound"), (0.3, "with sound"), (0.0, "with subtitles"), (0.3, "alone")]
)
def test_the_video_gets_the_chapters_of_its_shots(tmp_path: Path, container: str, start: float, source: str) -> None:
    sound = {"audio_tracks": 1, "subtitles": source == "with subtitles"}
    plain = make_video(tmp_path / "plain.mp4", frames=COUNT, picture=shots_picture(STARTS), **sound)  # type: ignore[arg-type]
    clip = tmp_path / "in.mp4"
    with av.open(str(plain)) as read, av.open(str(clip), "w") as out:
        copies = {stream.index: out.add_stream_from_template(stream) for stream in read.streams}
        own: Any = {"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": {"title": "Own"}}
        out.set_chapters([own])
        for packet in read.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    options = RunOptions(
        output=OutputOptions(container=container, export=("shots",)),  # type: ignore[arg-type]
        video=VideoOptions(chapters=True, preset="ultrafast", keep_streams=source != "alone"),
        decode=DecodeOptions(start_seconds=start),
    )
    report = run(clip, options=options, model=make_model())
    left_out = "1 chapter of the source left out: the chapters are those of the shots"
    assert (left_out in report.messages) == (source != "alone")
    shots = list(csv.DictReader((tmp_path / "in.vidsal.shots.csv").read_text().splitlines()))
    with av.open(str(report.files[0])) as made:
        found: list[Any] = list(made.chapters())
        assert [one["metadata"]["title"].split(" (")[0] for one in found] == [f"Shot {shot['shot']}" for shot in shots]
        times = [float(frame.time or 0) for frame in made.decode(video=0)]
        assert len(times) == report.frames
        assert (len(made.streams.audio), len(made.streams.subtitles)) == {
            "with sound": (1, 0),
            "with subtitles": (1, container != "mkv"),
            "alone": (0, 0),
        }[source]
    begins = [float(one["start"] * one["time_base"]) for one in found]
    shown = [times[int(shot["first_index"])] for shot in shots]
    # Sound may begin before the first picture; the first chapter of an mp4 begins with the file.
    assert begins[0] in (pytest.approx(shown[0], abs=2e-3), 0)
    assert begins[1:] == pytest.approx(shown[1:], abs=2e-3)


def test_chapters_of_a_mkv_are_in_place_where_pictures_are_coded_in_another_order(tmp_path: Path) -> None:
    """Sound begins before 0 here, which moves all streams; the file is written once more, with all pictures."""
    clip = make_video(tmp_path / "in.mp4", frames=COUNT, picture=shots_picture(STARTS), audio_tracks=1)
    video = VideoOptions(chapters=True, preset="fast")
    report = run(clip, options=RunOptions(output=OutputOptions(container="mkv"), video=video), model=make_model())
    with av.open(str(report.files[0])) as made:
        begins = [float(one["start"] * one["time_base"]) for one in made.chapters()]
        times = [float(frame.time or 0) for frame in made.decode(video=0)]
    assert len(times) == COUNT and times[0] > 0.01
    assert begins[1:] == pytest.approx([times[start] for start in STARTS], abs=2e-3)


@pytest.mark.parametrize(("container", "early"), [("mp4", 0), ("mkv", 21)])
def test_a_cover_is_kept_beside_the_chapters(tmp_path: Path, container: str, early: int) -> None:
    plain = make_video(tmp_path / "plain.mp4", frames=8, picture=shots_picture([4]), audio_tracks=1)
    clip = add_cover(plain, tmp_path / "in.mp4", jpeg_of(32, 32))
    options = RunOptions(
        output=OutputOptions(container=container),  # type: ignore[arg-type]
        video=VideoOptions(chapters=True, preset="ultrafast"),
    )
    report = run(clip, options=options, model=make_model())
    with av.open(str(report.files[0])) as made:
        covers = [stream for stream in made.streams if stream.disposition & av.stream.Disposition.attached_pic]
        begins = [float(one["start"] * one["time_base"]) for one in made.chapters()]
        times = [float(frame.time or 0) for frame in made.decode(video=0)]
    assert len(covers) == 1 and len(begins) == 2
    assert begins[1] == pytest.approx(times[4] - early / 1000, abs=2e-3)
    said = f"chapters begin {early} ms before their shots, as sound begins before 0"
    assert (said in report.messages) == (early > 0)


def test_chapters_without_a_video_are_refused(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", frames=4)
    options = RunOptions(output=OutputOptions(video=False), video=VideoOptions(chapters=True))
    with pytest.raises(ConfigError, match=r"^chapters=True needs a video, and none is written"):
        run(clip, options=options, model=make_model())


# A finished table.


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("convert")
    rate = {"rate": NTSC, "metadata": {"timecode": "01:00:00;00"}}
    return make_video(folder / "clip.mov", frames=COUNT, picture=shots_picture(STARTS), **rate)  # type: ignore[arg-type]


@pytest.mark.parametrize("table", ["csv", "jsonl", "parquet"])
def test_every_export_comes_out_the_same_from_every_finished_table(clip: Path, tmp_path: Path, table: str) -> None:
    kinds = tuple(kind.name for kind in EXPORTS.values() if find_spec(kind.place.partition(":")[0]))
    own = tmp_path / "clip.mov"
    own.write_bytes(clip.read_bytes())
    report = run(
        own, options=RunOptions(output=OutputOptions(video=False, table=table, export=kinds)), model=make_model()
    )
    before = {path.name: path.read_bytes() for path in report.files[1:]}
    # In the same place: one for ELAN names where the files beside it lie.
    for path in report.files[1:]:
        path.unlink()
    done = convert(report.files[0], kinds)
    assert {path.name: path.read_bytes() for path in done.files} == before
    assert len(before) == len(export_files(kinds)) and {*done.messages} == {*report.messages}
    # The source itself says the same as the record.
    done = convert(report.files[0], kinds, source=own, overwrite=True)
    assert {path.name: path.read_bytes() for path in done.files} == before
    # A second run takes none of them for an input, and finds them done.
    assert all(is_result(path) for path in report.files)
    skip = OutputOptions(video=False, table=table, export=kinds, existing="skip")
    assert run(own, options=RunOptions(output=skip), model=make_model()).status == "skipped"


@pytest.fixture(scope="module")
def table(clip: Path) -> Path:
    run(clip, options=RunOptions(output=OutputOptions(video=False)), model=make_model())
    return clip.with_name("clip.vidsal.csv")


def test_a_table_without_a_record_says_what_is_missing(table: Path, clip: Path, tmp_path: Path) -> None:
    alone = tmp_path / "mine.csv"
    alone.write_bytes(table.read_bytes())
    with pytest.raises(ConfigError, match=r"^edl needs to know of the source of mine.csv its frame rate and time code"):
        convert(alone, ["edl", "vtt"])
    assert not (tmp_path / "mine.vidsal.vtt").exists()
    (made,) = convert(alone, ["vtt"]).files
    assert made == tmp_path / "mine.vidsal.vtt"
    (made,) = convert(alone, ["edl"], source=clip).files
    assert "FROM CLIP NAME: clip.mov" in made.read_text() and "01:00:00;05" in made.read_text()


@pytest.mark.parametrize("has_record", [True, False], ids=["record", "no record"])
@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"width": 32, "height": 24}, "its picture has 32x24 pixels"),
        ({"frames": COUNT - 20}, f"it has {COUNT - 20} frames, and the table {COUNT} rows"),
        ({"rate": 50}, "its last frame is shown at"),
        ({"rate": 25}, "its frames are shown at other times"),
        ({"rate": 2 * NTSC, "frames": 2 * COUNT}, f"it shows {2 * COUNT - 1} frames, and the table has {COUNT} rows"),
    ],
    ids=["smaller", "shorter", "faster", "slower", "twice as many frames"],
)
def test_a_video_that_cannot_be_that_of_the_table_is_refused(
    table: Path, tmp_path: Path, other: dict[str, Any], said: str, has_record: bool
) -> None:
    own = tmp_path / table.name
    own.write_bytes(table.read_bytes())
    if has_record:
        (tmp_path / "clip.vidsal.json").write_bytes(table.with_name("clip.vidsal.json").read_bytes())
    for suffix in (".mov", ".mkv"):
        wrong = make_video(tmp_path / f"wrong{suffix}", **{"frames": COUNT, "rate": NTSC, **other})
        with pytest.raises(ConfigError, match=re.escape(said)):
            convert(own, ["edl"], source=wrong)
    assert not (tmp_path / "clip.vidsal.edl").exists()


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".ts"])
def test_a_copy_of_the_video_in_another_container_is_taken(table: Path, tmp_path: Path, suffix: str) -> None:
    copy = make_video(tmp_path / f"copy{suffix}", frames=COUNT, rate=NTSC, bframes=2)
    assert convert(table, ["edl"], source=copy, output=tmp_path / "a.edl").frames == COUNT


def test_another_video_of_that_name_beside_the_table_is_not_taken_for_its_source(table: Path, tmp_path: Path) -> None:
    for name in (table.name, "clip.vidsal.json"):
        (tmp_path / name).write_bytes(table.with_name(name).read_bytes())
    make_video(tmp_path / "clip.mov", frames=3)
    made = convert(tmp_path / table.name, ["fcpxml"])
    assert any("clip.mov beside the table is another one" in said for said in made.messages)
    assert 'src="clip.mov"' in made.files[0].read_text()


def test_another_result_of_a_run_is_told_from_its_table(clip: Path, tmp_path: Path) -> None:
    output = OutputOptions(output=tmp_path, video=False, export=("shots", "jsonl"))
    run(clip, options=RunOptions(output=output), model=make_model())
    for suffix, what in ((".csv", "the shot list"), (".jsonl", "the result jsonl")):
        there = next(path for path in tmp_path.iterdir() if path.suffix == suffix and path.name != TABLE)
        with pytest.raises(DatasetError, match=rf"{there.name} is {what} of a run, and not its table: give .*{TABLE}$"):
            convert(there, ["edl"])
    (tmp_path / "clip.vidsal.json").unlink()
    with pytest.raises(DatasetError, match=r"shots\.csv is a shot list, and not the table that it was made of"):
        convert(tmp_path / "clip.vidsal.shots.csv", ["edl"])


TABLE = "clip.vidsal.csv"


def test_a_record_of_an_earlier_version_is_read_and_lacks_the_time(table: Path, tmp_path: Path) -> None:
    (record,) = read_records(table.with_name("clip.vidsal.json"))
    values = json.loads(table.with_name("clip.vidsal.json").read_text())
    for name in ("sample_aspect_ratio", "rate", "timecode", "duration_seconds", "audio_channels", "audio_rate"):
        values["input"].pop(name)
    own = tmp_path / table.name
    own.write_bytes(table.read_bytes())
    (tmp_path / "clip.vidsal.json").write_text(json.dumps(values))
    (early,) = read_records(tmp_path / "clip.vidsal.json")
    assert early.provenance.input.is_content_of(record.provenance.input)
    assert early.provenance.input.footage(None).known == {"size"}
    with pytest.raises(ConfigError, match=r"its frame rate and time code, and no record beside the table"):
        convert(own, ["fcpxml"])
    assert "box_x" in convert(own, ["shots"]).files[0].read_text()
    for wrong in ({"rate": "no"}, {"rate": "1/0"}, {"sample_aspect_ratio": [1]}):
        with pytest.raises(DatasetError, match="must be fractions"):
            InputRecord("a", "video", **{"sample_aspect_ratio": "1", **wrong}).footage(None)  # type: ignore[arg-type]


def test_a_source_is_named_by_its_path_wherever_its_results_went(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    own = tmp_path / "in" / "clip.mov"
    own.write_bytes(clip.read_bytes())
    output = OutputOptions(output=tmp_path / "out", video=False, export=("fcpxml", "otio"))
    report = run(own, options=RunOptions(output=output), model=make_model())
    before = {path.name: path.read_bytes() for path in report.files[1:]}
    assert own.as_uri().encode() in before["clip.vidsal.fcpxml"]
    done = convert(report.files[0], ["otio", "fcpxml"], output=tmp_path / "converted")
    assert {path.name: path.read_bytes() for path in done.files} == before and done.messages == report.messages
    # Both together may move.
    (tmp_path / "moved").mkdir()
    for name in ("in", "out"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    done = convert(tmp_path / "moved" / "out" / report.files[0].name, ["fcpxml"], output=tmp_path)
    assert (tmp_path / "moved" / "in" / "clip.mov").as_uri() in done.files[0].read_text()


def test_a_source_that_is_no_longer_beside_its_table_is_named_by_its_name(table: Path, tmp_path: Path) -> None:
    own = tmp_path / table.name
    for name in (table.name, "clip.vidsal.json"):
        (tmp_path / name).write_bytes(table.with_name(name).read_bytes())
    done = convert(own, ["otio"])
    assert done.messages == ("where clip.mov lies is not known: it is named by its name alone",)
    assert '"target_url": "clip.mov"' in done.files[0].read_text()
    own.write_bytes(table.read_bytes().replace(b"true", b"false", 1))
    assert "clip.vidsal.csv has been changed since the run that clip.vidsal.json tells of" in (
        convert(own, ["vtt"]).messages
    )


def test_what_is_there_is_not_replaced_and_a_bad_table_leaves_nothing(table: Path, tmp_path: Path) -> None:
    own = tmp_path / "a.csv"
    own.write_bytes(table.read_bytes())
    (tmp_path / "a.vidsal.vtt").write_text("mine")
    with pytest.raises(ExistsError, match=r"a\.vidsal\.vtt exists already; use overwrite=True"):
        convert(own, ["vtt", "chapters"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.vidsal.vtt"]
    lines = table.read_bytes().splitlines(keepends=True)
    for content, says in (
        (lines[0], "has no rows"),
        (b"".join([*lines[:4], lines[2]]), "comes out of order"),
        (b"".join(lines).replace(b",entropy_bits,", b",other,"), "no whole table"),
        (b"".join(lines[:3])[:-60], "no whole table"),
    ):
        own.write_bytes(content)
        with pytest.raises(DatasetError, match=says):
            convert(own, ["vtt", "chapters"], overwrite=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.vidsal.vtt"]
        assert (tmp_path / "a.vidsal.vtt").read_text() == "mine"


def test_one_file_may_be_named_and_a_folder_is_made(table: Path, tmp_path: Path) -> None:
    assert convert(table, ["chapters"], output=tmp_path / "c.txt").files == (tmp_path / "c.txt",)
    (made,) = convert(table, ["edl"], output=tmp_path / "deep" / "er").files
    assert made == tmp_path / "deep" / "er" / "clip.vidsal.edl"
    for kinds, name, says in (
        (["edl", "vtt"], "x.edl", "names one file, and 2 are written: give a folder"),
        (["vtt"], "x.edl", r"must be a folder, or end in \.vtt for vtt"),
    ):
        with pytest.raises(ConfigError, match=says):
            convert(table, kinds, output=tmp_path / name)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="nothing to convert to"):
        convert(table, [])
    for path, says in ((tmp_path / "c.txt", "is no table"), (tmp_path / "none.csv", "is not there")):
        with pytest.raises(DatasetError, match=says):
            convert(path, ["vtt"])


def test_the_command_prints_the_files_and_says_what_is_wrong(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(table), "--to", "vtt,edl", "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [str(tmp_path / name) for name in ("clip.vidsal.edl", "clip.vidsal.vtt")]
    assert shown.err == ""
    assert main(["convert", str(table), "--to", "vtt", "-o", str(tmp_path)]) == 3
    assert "exists already; use --overwrite to replace it" in capsys.readouterr().err
    assert main(["convert", str(table), "--to", "vtt", "-o", str(tmp_path), "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "table": str(table),
        "files": [str(tmp_path / "clip.vidsal.vtt")],
        "frames": COUNT,
        "messages": [],
    }
    assert main(["convert", str(table), "--to", "edll"]) == 2
    assert "did you mean edl" in capsys.readouterr().err
    alone = tmp_path / "alone.csv"
    alone.write_bytes(table.read_bytes())
    assert main(["convert", str(alone), "--to", "otio"]) == 2
    assert "name the video with --source" in capsys.readouterr().err


def test_a_missing_library_is_named_before_anything_is_written(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentimelineio", None)
    with pytest.raises(EncodeError, match=r"otio needs OpenTimelineIO: pip install 'vidsal\[exports\]'"):
        convert(table, ["vtt", "otio"], output=tmp_path)
    assert not list(tmp_path.iterdir())
