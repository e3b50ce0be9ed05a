"""Rows of the table with known boxes come in; each export is opened again by its library or a reader of its own, and
has to give the same boxes in every frame.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import json
import math
import os
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from made import make_model
from media import make_video
from test_tracks import HEIGHT, WIDTH, blob, make

from vidsal.decode import DecodeOptions, open_video
from vidsal.decode.ordinals import ordinal_at
from vidsal.errors import ConfigError, DatasetError, EncodeError
from vidsal.exports.coco import CocoExport
from vidsal.exports.contract import Export, Footage, columns_of
from vidsal.exports.cvat import CvatExport
from vidsal.exports.eaf import EafExport, SeriesExport, SeriesSettingsExport
from vidsal.exports.jsonl import JsonlExport
from vidsal.exports.labelstudio import LabelStudioExport
from vidsal.exports.options import export_files
from vidsal.exports.regions import REGION_SOURCES, key_frames
from vidsal.pipe.convert import convert
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.pipe.record import is_result, read_records
from vidsal.pipe.run import run
from vidsal.sinks.tables import TextTable
from vidsal.timecode import Timecodes
from vidsal.tracks import BOX_COLUMNS, FrameNumbers, Tracker, column_types

pympi = pytest.importorskip("pympi")
SCHEMAS = Path(__file__).parent / "schemas"
FRAME_SCHEMA = Path(__file__).parents[1] / "docs" / "reference" / "frames.schema.json"
FRAME: FrameNumbers = Tracker().update(make([blob(320, 180)]))[0]
_SIDES = ("left", "top", "width", "height")
_REGION = ("id", "x", "y", "mass", *_SIDES)
NOTHING: dict[str, Any] = {f"region{place}_{name}": None for place in (1, 2, 3) for name in _REGION}
NTSC = Fraction(30000, 1001)

Box = tuple[int, ...]
Truth = list[dict[tuple[int, int], Box]]


@cache
def rows_of(times: tuple[float, ...], cuts: tuple[int, ...] = (), seed: int = 0) -> tuple[FrameNumbers, ...]:
    """Rows whose regions stand, move evenly, jump, are away for a while, change places, and end with their shots."""
    rng = np.random.default_rng(seed)
    rows, shot, things = [], 0, list[dict[str, Any]]()
    for n, time in enumerate(times):
        if n in cuts or not n:
            shot += n in cuts
            boxes = rng.integers(20, 120, (4, 4))
            things = [{"id": i + 1, "box": box, "way": rng.integers(-3, 4, 4)} for i, box in enumerate(boxes)]
        shown = []
        for thing in things:
            motion = rng.random()
            if motion < 0.2:
                thing["way"] = rng.integers(-3, 4, 4)
            if motion < 0.6:
                thing["box"] = np.clip(thing["box"] + thing["way"], 1, 180)
            if rng.random() < 0.75 and len(shown) < 3:
                shown.append((thing["id"], thing["box"].tolist(), float(rng.uniform(0.01, 0.3))))
        values = dict(NOTHING)
        for place, (id, box, mass) in enumerate(sorted(shown, key=lambda one: -one[2]), start=1):
            values |= {f"region{place}_id": id, f"region{place}_mass": mass}
            values |= {f"region{place}_{side}": value for side, value in zip(_SIDES, box, strict=True)}
            values |= {f"region{place}_x": box[0] + 1 / 3, f"region{place}_y": box[1] + 2 / 3}
        numbers = {"index": n, "pts_seconds": time, "shot": shot, "cut": n in cuts, "peak_density": 2 + n / 7}
        rows.append(dataclasses.replace(FRAME, **numbers, **values))
    return tuple(rows)


def placed(index: int, *ids: int) -> FrameNumbers:
    """A row at 25 frames a second with these regions, each in a box of its own that stands still."""
    values = dict(NOTHING)
    for place, id in enumerate(ids, start=1):
        box = (10 * id, 20, 30, 40)
        values |= {f"region{place}_id": id, f"region{place}_mass": 0.3 - place / 10 + 0.05}
        values |= {f"region{place}_{side}": value for side, value in zip(_SIDES, box, strict=True)}
        values |= {f"region{place}_x": 10.0 * id + 15, f"region{place}_y": 40.0}
    return dataclasses.replace(FRAME, index=index, pts_seconds=index / 25, shot=0, cut=False, **values)


def truth_of(rows: Sequence[FrameNumbers]) -> Truth:
    """For each row its boxes, by shot and id."""
    truth = []
    for row in rows:
        values: dict[str, Any] = row.as_row()
        places = [place for place in (1, 2, 3) if values[f"region{place}_id"] is not None]
        boxes = {(row.shot, values[f"region{n}_id"]): tuple(values[f"region{n}_{s}"] for s in _SIDES) for n in places}
        truth.append(boxes)
    return truth


def even(rate: Fraction | int, count: int = 60, *, start: int = 0) -> tuple[float, ...]:
    return tuple(float(format(float((n + start) / Fraction(rate)), ".9g")) for n in range(count))


def uneven(count: int = 60) -> tuple[float, ...]:
    steps = np.random.default_rng(2).choice([0.011, 0.02, 0.045, 0.13], count - 1)
    return (0.0, *np.cumsum(steps).round(6).tolist())


CASES: dict[str, tuple[tuple[float, ...], Fraction, str | None]] = {
    "25": (even(25), Fraction(25), "10:00:00:00"),
    "29.97 drop frame": (even(NTSC), NTSC, "00:00:59;10"),
    "23.976": (even(Fraction(24000, 1001)), Fraction(24000, 1001), None),
    "50": (even(50), Fraction(50), None),
    "variable": (uneven(), Fraction(25), None),
}
CUTS = (17, 18, 40)


def footage(rate: Fraction | None, timecode: str | None = None, **more: Any) -> Footage:
    given: dict[str, Any] = {"name": "clip.mp4", "height": HEIGHT, "width": WIDTH, "rate": rate, "timecode": timecode}
    return Footage(**{**given, **more})


def made_by(
    kind: type[Export], rows: Sequence[FrameNumbers], about: Footage, *, groups: int = 13, target: Path | None = None
) -> tuple[bytes, list[str]]:
    """What an export makes of rows, and what it says."""
    export = kind(about)
    export.target = target
    parts = [columns_of(rows[at : at + groups], kind.sources) for at in range(0, len(rows), groups)]
    content = b"".join([*(export.update(part) for part in parts), *export.pieces()])
    return content, export.messages


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[tuple[FrameNumbers, ...], Footage]:
    """Rows at a rate, and what is known of their source."""
    times, rate, timecode = CASES[request.param]
    return rows_of(times, CUTS), footage(rate, timecode, duration_seconds=float(len(times) / rate))


@pytest.mark.parametrize(
    "kind", [CvatExport, LabelStudioExport, CocoExport, EafExport, SeriesExport, SeriesSettingsExport, JsonlExport]
)
def test_an_export_does_not_depend_on_how_rows_are_grouped_and_pieces_are_the_whole(kind: type[Export]) -> None:
    rows = rows_of(even(25), CUTS)
    once, _ = made_by(kind, rows, footage(Fraction(25)), groups=1000)
    assert once == made_by(kind, rows, footage(Fraction(25)), groups=1)[0]
    export = kind(footage(Fraction(25)))
    begun = export.update(columns_of(rows, kind.sources))
    assert begun + export.flush() == once
    # Other rows, another file.
    assert once != made_by(kind, rows[:30], footage(Fraction(25)))[0]


# CVAT.


def cvat_boxes(content: bytes, frames: int) -> tuple[Truth, etree._Element]:
    """The boxes in every frame as CVAT shows them; the document is checked against the schema."""
    document = etree.parse(io.BytesIO(content))
    etree.XMLSchema(etree.parse(SCHEMAS / "cvat_video_1_1.xsd")).assertValid(document)
    root = document.getroot()
    shown: Truth = [{} for _ in range(frames)]
    for track in root.iterfind("track"):
        keys = [box for box in track.iterfind("box") if box.get("keyframe") == "1"]
        # CVAT takes the attributes of the last box for those of the track.
        values = {attribute.get("name"): attribute.text for attribute in keys[-1].iterfind("attribute")}
        numbers = [int(box.get("frame", "")) for box in keys]
        assert numbers == sorted(set(numbers))
        corners = [[float(box.get(name, "")) for name in ("xtl", "ytl", "xbr", "ybr")] for box in keys]
        for i, (number, box) in enumerate(zip(numbers, keys, strict=True)):
            following = numbers[i + 1] if i + 1 < len(keys) else frames
            for frame in range(number, following):
                if box.get("outside") == "1":
                    continue
                share = 0.0 if i + 1 == len(keys) else (frame - number) / (following - number)
                after = corners[min(i + 1, len(keys) - 1)]
                left, top, right, bottom = (a + (b - a) * share for a, b in zip(corners[i], after, strict=True))
                at = int(values["shot"] or ""), int(values["region"] or "")
                assert at not in shown[frame]
                shown[frame][at] = (left, top, right - left, bottom - top)  # type: ignore[assignment]
    return shown, root


def assert_same(found: Truth, truth: Truth) -> None:
    assert [boxes.keys() for boxes in found] == [boxes.keys() for boxes in truth]
    for here, there in zip(found, truth, strict=True):
        for at in there:
            assert here[at] == pytest.approx(there[at], abs=1e-6)


def test_cvat_shows_in_every_frame_the_boxes_of_the_table(case: tuple[tuple[FrameNumbers, ...], Footage]) -> None:
    rows, about = case
    content, messages = made_by(CvatExport, rows, about)
    found, root = cvat_boxes(content, len(rows))
    assert_same(found, truth_of(rows))
    task = root.find("meta/task")
    assert task is not None
    size = tuple(task.findtext(f"original_size/{side}") for side in ("width", "height"))
    assert (task.findtext("size"), task.findtext("segments/segment/stop"), *size) == ("60", "59", "640", "360")
    assert [label.findtext("name") for label in task.iterfind("labels/label")] == ["salient region"]
    varies = [text for text in messages if "varies" in text]
    assert len(varies) == (about.rate == 25 and rows[1].pts_seconds != 0.04) == len(messages)


def test_cvat_gets_only_the_frames_at_which_a_motion_changes() -> None:
    moved = [dataclasses.replace(placed(n, 1), region1_left=10 + 3 * max(n - 4, 0)) for n in range(9)]
    root = etree.fromstring(made_by(CvatExport, moved, footage(Fraction(25)))[0])
    boxes = [(box.get("frame"), box.get("xtl"), box.get("outside")) for box in root.iterfind("track/box")]
    # It goes on to the end, so that no frame says that it is away.
    assert boxes == [("0", "10.00", "0"), ("4", "10.00", "0"), ("8", "22.00", "0")]
    last = [attribute.text for attribute in root.find("track/box")]
    assert last == ["0", "1", "0.2500"]


def test_cvat_numbers_the_frames_of_the_whole_source_and_says_outside_where_it_goes_on() -> None:
    rows = rows_of(even(NTSC, 20, start=300), ())
    about = footage(NTSC, duration_seconds=float(400 / NTSC))
    content, messages = made_by(CvatExport, rows, about)
    found, root = cvat_boxes(content, 400)
    assert_same(found[300:320], truth_of(rows))
    assert not any(found[:300]) and not any(found[320:])
    assert root.findtext("meta/task/size") == "400"
    # Where the source does not lie at hand, that is a guess.
    assert len(messages) == 1 and "its first frame is taken as frame 300, by a rate of 29.97 frames" in messages[0]
    assert "a guess" in messages[0] and "--source" in messages[0]
    # Where the source ends with the table, there is no frame after it.
    to_the_end, _ = made_by(CvatExport, rows, footage(NTSC, duration_seconds=float(320 / NTSC)))
    assert max(int(box.get("frame", "")) for box in etree.fromstring(to_the_end).iter("box")) == 319
    assert etree.fromstring(to_the_end).findtext("meta/task/size") == "320"


def test_of_a_part_of_a_variable_rate_the_first_frames_number_is_said_to_be_a_guess() -> None:
    times = tuple(time + 7.3 for time in uneven(30))
    _, messages = made_by(CvatExport, rows_of(times), footage(Fraction(25)))
    assert any("by the mean rate of 25 frames a second; that is a guess" in text for text in messages)


GAPPY = tuple(n for n in range(124) if n % 4 or n < 6)
"""Places of frames on a grid of 30 a second of which every fourth is left out: the rate varies, and yet they fit."""


@pytest.fixture(scope="module")
def gappy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video with these frames, in two orders."""
    pts = [3000 * n for n in GAPPY]
    return make_video(tmp_path_factory.mktemp("gappy") / "a.mp4", frames=len(pts), pts=pts, rate=30, bframes=2)


@pytest.mark.parametrize("is_beside", [True, False])
def test_a_part_of_a_source_is_numbered_by_its_frames_not_by_its_times(
    gappy: Path, tmp_path: Path, is_beside: bool
) -> None:
    first = next(place for place, n in enumerate(GAPPY) if n >= 60)
    kinds = ("cvat", "coco")
    result = run(
        gappy,
        options=RunOptions(
            decode=DecodeOptions(start_seconds=2.0),
            output=OutputOptions(output=tmp_path, video=False, export=kinds),
        ),
        model=make_model(),
    )
    assert first == 47 and not any("frame 61" in said or "guess" in said for said in result.messages)
    coco = json.loads((tmp_path / "a.vidsal.coco.json").read_text())
    assert [image["frame_index"] for image in coco["images"]] == list(range(first, len(GAPPY)))
    root = etree.parse(tmp_path / "a.vidsal.cvat.xml")
    assert root.findtext("meta/task/size") == str(len(GAPPY))
    frames = [int(box.get("frame", "")) for box in root.iter("box")]
    assert min(frames) == first and max(frames) < len(GAPPY)
    # The same of the table, where the source is at hand; else what is guessed is said to be.
    before = {kind: (tmp_path / f"a.vidsal.{kind}").read_bytes() for kind in ("coco.json", "cvat.xml")}
    table, record = tmp_path / "a.vidsal.csv", tmp_path / "a.vidsal.json"
    values = json.loads(record.read_text())
    assert tmp_path / values.pop("source") == tmp_path / os.path.relpath(gappy, tmp_path)
    record.write_text(json.dumps(values))  # as earlier versions wrote it
    if is_beside:
        (tmp_path / "a.mp4").symlink_to(gappy)
        for source in (None, gappy):
            made = convert(table, kinds, source=source, overwrite=True)
            assert before == {kind: (tmp_path / f"a.vidsal.{kind}").read_bytes() for kind in before}
            assert not any("guess" in said for said in made.messages)
    else:
        made = convert(table, kinds, overwrite=True)
        assert any("taken as frame 61" in said and "that is a guess" in said for said in made.messages)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
@pytest.mark.parametrize("bframes", [0, 2])
def test_a_moment_has_the_ordinal_of_the_frame_that_decoding_gives(tmp_path: Path, name: str, bframes: int) -> None:
    pts = None if name == "a.avi" else [3000 * n for n in GAPPY]
    codec = "mpeg4" if name == "a.avi" else "libx264"
    path = make_video(
        tmp_path / name, frames=len(GAPPY), pts=pts, rate=30, bframes=bframes, codec=codec, audio_tracks=1
    )
    with open_video(path) as reader:
        times = [float(time) for batch in reader for time in batch.pts_seconds]
    found = [ordinal_at(path, time) for time in times[::7]]
    if name == "a.avi" and found[0] is None:  # its packets have no presentation times
        assert not any(found)
        return
    assert [one and (one.before, one.frames, one.is_exact) for one in found] == [
        (at, len(GAPPY), True) for at in range(0, len(times), 7)
    ]
    between = ordinal_at(path, times[5] + 0.01)
    assert between is not None and (between.before, between.is_exact) == (6, False)


def test_a_file_that_is_none_and_pictures_that_need_what_is_missing_have_no_ordinals(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    assert ordinal_at(tmp_path / "a.mp4", 1.0) is None and ordinal_at(tmp_path / "b.mp4", 1.0) is None


def test_names_that_xml_cannot_hold_are_written_in_other_words() -> None:
    about = footage(Fraction(25), name="a<&\x01\udcff.mp4")
    content, _ = made_by(CvatExport, rows_of(even(25, 3)), about)
    assert etree.fromstring(content).findtext("meta/task/name") == "a<&_?.mp4"
    for kind in (EafExport, SeriesSettingsExport, LabelStudioExport, CocoExport):
        made_by(kind, rows_of(even(25, 3)), about)[0].decode()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=12),
)
def test_key_frames_give_back_all_boxes_by_even_motion_and_none_can_be_left_out(
    steps: list[tuple[int, int, int]],
) -> None:
    places = np.cumsum(steps, axis=0)
    boxes = np.zeros(len(steps), [(side, np.int32) for side in _SIDES])
    boxes["left"], boxes["width"] = places[:, 1] + 50, places[:, 2] + 50
    keys = key_frames(boxes, places[:, 0])
    for side in ("left", "width"):
        between = np.interp(places[:, 0], places[keys, 0], boxes[side][keys])
        assert between == pytest.approx(boxes[side], abs=1e-9)
    for one in np.flatnonzero(keys)[1:-1]:
        fewer = keys.copy()
        fewer[one] = False
        assert any(
            np.abs(np.interp(places[:, 0], places[fewer, 0], boxes[side][fewer]) - boxes[side]).max() > 1e-9
            for side in ("left", "width")
        )


# Label Studio.


def shown_by_label_studio(content: bytes) -> tuple[dict[int, dict[tuple[int, int], Any]], dict[str, Any]]:
    """The boxes in percent by Label Studio's frames, which count from 1, as it shows them."""
    (task,) = json.loads(content)
    (prediction,) = task["predictions"]
    shown: dict[int, dict[tuple[int, int], Any]] = {}
    for result in prediction["result"]:
        assert (result["type"], result["from_name"], result["to_name"]) == ("videorectangle", "box", "video")
        value = result["value"]
        assert value["labels"] == ["salient region"]
        sequence = value["sequence"]
        numbers = [item["frame"] for item in sequence]
        assert numbers == sorted(set(numbers)) and numbers[0] >= 1 and numbers[-1] <= value["framesCount"]
        for frame in range(1, value["framesCount"] + 1):
            before = [item for item in sequence if item["frame"] <= frame]
            # A frame is in the life of a box where the item before it is enabled, or is the frame itself.
            if not before or not (before[-1]["enabled"] or before[-1]["frame"] == frame):
                continue
            here, after = before[-1], next((item for item in sequence if item["frame"] >= frame), before[-1])
            share = (frame - here["frame"]) / max(after["frame"] - here["frame"], 1)
            box = tuple(here[side] + (after[side] - here[side]) * share for side in ("x", "y", "width", "height"))
            shown.setdefault(frame, {})[result["meta"]["shot"], result["meta"]["region"]] = box
    return shown, task


def in_percent(boxes: dict[tuple[int, int], Box]) -> dict[tuple[int, int], Any]:
    sizes = (WIDTH, HEIGHT, WIDTH, HEIGHT)
    return {
        at: pytest.approx([100 * value / size for value, size in zip(box, sizes, strict=True)], rel=1e-7, abs=1e-7)
        for at, box in boxes.items()
    }


def test_label_studio_shows_in_every_frame_the_boxes_of_the_table(
    case: tuple[tuple[FrameNumbers, ...], Footage],
) -> None:
    rows, about = case
    content, messages = made_by(LabelStudioExport, rows, about)
    shown, task = shown_by_label_studio(content)
    fps = task["data"]["fps"]
    assert task["data"]["video"] == "clip.mp4"
    times = [row.pts_seconds for row in rows]
    varies = about.rate == 25 and times[1] != 0.04
    assert [text for text in messages if "Label Studio counts" in text] == messages and len(messages) == varies
    frame_of = [round(time * fps) + 1 for time in times]
    truth = truth_of(rows)
    for frame in range(1, frame_of[-1] + 1):
        row = max(n for n, number in enumerate(frame_of) if number <= frame)
        assert shown.get(frame, {}) == in_percent(truth[row])
    assert varies or frame_of == list(range(1, 61))
    for result in task["predictions"][0]["result"]:
        assert result["value"]["framesCount"] >= frame_of[-1]
        assert result["value"]["duration"] == pytest.approx(max(60 / float(about.rate or 1), times[-1] + 1 / fps))
        for item in result["value"]["sequence"]:
            assert item["time"] == pytest.approx((item["frame"] - 1) / fps)
        assert 0 < result["score"] < 0.3


# COCO.


def coco_of(content: bytes, path: Path) -> Any:
    from pycocotools.coco import COCO

    path.write_bytes(content)
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_coco_holds_the_boxes_of_the_table(case: tuple[tuple[FrameNumbers, ...], Footage], tmp_path: Path) -> None:
    rows, about = case
    content, messages = made_by(CocoExport, rows, about)
    coco = coco_of(content, tmp_path / "clip.vidsal.coco.json")
    (video,) = coco.dataset["videos"]
    assert (video["name"], video["length"], video["width"], video["height"]) == ("clip.mp4", 60, 640, 360)
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["salient region"]
    tracks = {track["id"]: (track["shot"], track["region"]) for track in coco.dataset["tracks"]}
    assert len(set(tracks.values())) == len(tracks) and sorted(tracks) == list(range(1, len(tracks) + 1))
    images = sorted(coco.loadImgs(coco.getImgIds()), key=lambda image: int(image["frame_index"]))
    assert [image["frame_index"] for image in images] == list(range(60))
    assert [image["file_name"] for image in images[:2]] == ["clip/000000.jpg", "clip/000001.jpg"]
    truth = truth_of(rows)
    assert sum(map(len, truth)) == len(coco.dataset["annotations"])
    for row, image in zip(rows, images, strict=True):
        assert image["seconds"] == pytest.approx(row.pts_seconds, rel=1e-8)
        found = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert {tracks[one["track_id"]]: tuple(one["bbox"]) for one in found} == truth[row.index]
        assert all(one["area"] == one["bbox"][2] * one["bbox"][3] and one["video_id"] == video["id"] for one in found)
        # By mass, as in the table.
        assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    assert bool(messages) == (about.rate == 25 and rows[1].pts_seconds != 0.04)


def test_coco_numbers_the_frames_of_the_whole_source(tmp_path: Path) -> None:
    content, messages = made_by(CocoExport, rows_of(even(50, 5, start=100)), footage(Fraction(50)))
    coco = coco_of(content, tmp_path / "clip.json")
    assert [image["frame_index"] for image in coco.dataset["images"]] == list(range(100, 105))
    assert coco.dataset["images"][0]["file_name"] == "clip/000100.jpg" and len(messages) == 1


# JSON lines.


def test_a_line_a_frame_has_the_numbers_of_the_table_nested_and_its_time_code(
    case: tuple[tuple[FrameNumbers, ...], Footage],
) -> None:
    rows, about = case
    content, messages = made_by(JsonlExport, rows, about)
    lines = [json.loads(line) for line in content.decode().splitlines()]
    check = jsonschema.Draft202012Validator(json.loads(FRAME_SCHEMA.read_text()))
    for row, line, boxes in zip(rows, lines, truth_of(rows), strict=True):
        check.validate(line)
        found = {(line["shot"], one["id"]): tuple(one["box"][side] for side in _SIDES) for one in line["regions"]}
        assert found == boxes
        values: dict[str, Any] = row.as_row()
        for place, one in enumerate(line["regions"], start=1):
            for name in ("id", "x", "y", "mass"):
                assert one[name] == pytest.approx(values[f"region{place}_{name}"], rel=1e-8)
        flat = {
            f"{group}_{name}": line[group][name]
            for group in ("peak", "centroid", "spread", "entropy")
            for name in line[group]
        }
        for name, value in {**flat, "coverage": line["coverage"], "pts_seconds": line["seconds"]}.items():
            assert value == pytest.approx(values[name], rel=1e-8)
        assert (line["index"], line["cut"]) == (row.index, row.cut)
        assert line["picture"] == {"width": WIDTH, "height": HEIGHT}
        expected = (
            None if about.timecode is None else Timecodes.of(about.timecode, about.rate or Fraction(1))[row.index]
        )
        assert line["timecode"] == expected
    assert messages == []
    assert lines[19]["timecode"] in (None, "10:00:00:19", "00:00:59;29") and len(lines) == 60


def test_the_schema_of_a_line_refuses_what_is_not_one() -> None:
    check = jsonschema.Draft202012Validator(json.loads(FRAME_SCHEMA.read_text()))
    line = json.loads(made_by(JsonlExport, rows_of(even(25, 1)), footage(None))[0])
    check.validate(line)
    for wrong in ({"seconds": "0"}, {"schema": "vidsal-frame-2"}, {"more": 1}, {"timecode": "1:2"}, {"picture": {}}):
        assert not check.is_valid({**line, **wrong})


# ELAN.


@dataclasses.dataclass
class Elan:
    """What ELAN finds."""

    document: Any
    tiers: dict[str, list[tuple[int, int, str]]]
    root: etree._Element


def elan_of(content: bytes, path: Path) -> Elan:
    path.write_bytes(content)
    tree = etree.parse(path)
    etree.XMLSchema(etree.parse(SCHEMAS / "eaf_3_0.xsd")).assertValid(tree)
    document = pympi.Elan.Eaf(str(path))
    tiers = {name: sorted(document.get_annotation_data_for_tier(name)) for name in document.get_tier_names()}
    slots = [int(slot.get("TIME_VALUE", "")) for slot in tree.getroot().iter("TIME_SLOT")]
    assert slots == sorted(slots)
    ids = [int(one.get("ANNOTATION_ID", "")[1:]) for one in tree.getroot().iter("ALIGNABLE_ANNOTATION")]
    assert document.get_properties() == [("lastUsedAnnotationId", f"{max(ids, default=0)}")]
    return Elan(document, tiers, tree.getroot())


def test_elan_has_at_every_millisecond_the_shot_and_the_regions_of_the_frame_that_is_shown(
    case: tuple[tuple[FrameNumbers, ...], Footage], tmp_path: Path
) -> None:
    rows, about = case
    elan = elan_of(made_by(EafExport, rows, about)[0], tmp_path / "clip.vidsal.eaf")
    assert list(elan.tiers) == ["shots", "regions 1", "regions 2", "regions 3"]
    for of in elan.tiers.values():
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(of))
    truth, times = truth_of(rows), [Fraction(format(row.pts_seconds, ".9g")) for row in rows]
    moments = {time for of in elan.tiers.values() for one in of for time in one[:2]}
    for moment in sorted({time + step for time in moments for step in (-1, 0, 1)} - {-1}):
        if moment >= elan.tiers["shots"][-1][1]:
            continue
        # Times of nine digits may lie a billionth after those of the source.
        shown = max(n for n, time in enumerate(times) if time * 1000 <= moment + Fraction(1, 1000))
        at = {name: [text for start, end, text in of if start <= moment < end] for name, of in elan.tiers.items()}
        assert at["shots"] == [f"shot {rows[shown].shot}"]
        regions = [text for name, texts in at.items() if name != "shots" for text in texts]
        assert sorted(regions) == sorted(f"shot {shot} region {id}" for shot, id in truth[shown])
    last = elan.tiers["shots"][-1][1]
    mean = (rows[-1].pts_seconds - rows[0].pts_seconds) / 59
    assert last == math.ceil(round((rows[-1].pts_seconds + mean) * 1000, 3))


def test_a_region_stays_in_its_tier_while_that_is_free() -> None:
    shown = [(1,), (1, 2), (1, 2), (2,), (1, 2), (1,), (3, 1), (3, 4, 5)]
    rows = [row for n, ids in enumerate(shown) for row in [placed(n, *ids)]]
    root = etree.fromstring(made_by(EafExport, rows, footage(Fraction(25)))[0])
    tiers = {tier.get("TIER_ID"): [text.text for text in tier.iter("ANNOTATION_VALUE")] for tier in root.iter("TIER")}
    assert tiers == {
        "shots": ["shot 0"],
        "regions 1": ["shot 0 region 1", "shot 0 region 1", "shot 0 region 4"],
        "regions 2": ["shot 0 region 2", "shot 0 region 3"],
        "regions 3": ["shot 0 region 5"],
    }


def test_elan_finds_the_media_the_time_series_and_its_settings_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "in put").mkdir()
    media = tmp_path / "in put" / "clip é.mp4"
    media.touch()
    rows, about = rows_of(even(NTSC), CUTS), footage(NTSC, name=media.name, path=media)
    folder = tmp_path / "out"
    folder.mkdir()
    kinds = {"eaf": EafExport, "eaf-series": SeriesExport, "eaf-settings": SeriesSettingsExport}
    paths = {one.name: folder / f"clip é.vidsal{one.ending}" for one in export_files(["eaf"])}
    assert [kinds[one.name] for one in export_files(["eaf"])] == [one.load() for one in export_files(["eaf"])]
    for name, path in paths.items():
        path.write_bytes(made_by(kinds[name], rows, about, target=path)[0])
    elan = elan_of(paths["eaf"].read_bytes(), paths["eaf"])
    (descriptor,) = elan.document.get_linked_files()
    assert descriptor["MEDIA_URL"] == f"file://{media}" and descriptor["MIME_TYPE"] == "video/mp4"
    assert descriptor["RELATIVE_MEDIA_URL"] == "../in put/clip é.mp4"
    links = elan.document.get_secondary_linked_files()
    # ELAN takes away "file:" and opens the rest; it knows the settings by the end of their name.
    opened = [Path(link["LINK_URL"].removeprefix("file:")) for link in links]
    assert [path.name for path in opened] == ["clip é.vidsal_tsconf.xml", "clip é.vidsal.elan.csv"]
    assert all((folder / link["RELATIVE_LINK_URL"]).samefile(path) for link, path in zip(links, opened, strict=True))
    # What its saving would make of the name of the .eaf.
    assert opened[0].name == paths["eaf"].name.removesuffix(".eaf") + "_tsconf.xml"
    settings = etree.parse(opened[0]).getroot()
    (source,) = settings.iterfind("tracksource")
    assert source.get("source-url") == links[1]["LINK_URL"]
    assert [element.tag for element in settings] == ["tracksource"]
    time_column = int(source.get("time-column", ""))
    lines = [line.split(",") for line in opened[1].read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 60
    for line, row in zip(lines, rows, strict=True):
        hours, minutes, seconds = line[time_column].split(":")
        at = round(int(hours) * 3_600_000 + int(minutes) * 60_000 + float(seconds) * 1000)
        assert at == math.ceil(round(row.pts_seconds * 1000, 3))
        for track in source.iterfind("track"):
            (position,) = track.iterfind("sample-position/pos")
            name = (track.findtext("description") or "").split()[2]
            value = float(line[int(position.get("col", ""))])
            assert value == pytest.approx(getattr(row, name), rel=1e-8)
            (bounds,) = track.iterfind("range")
            assert float(bounds.get("min", "")) <= value <= float(bounds.get("max", ""))
            assert len([int(part) for part in (track.findtext("color") or "").split(",")]) == 3
    assert source.find("property").get("value", "").endswith("csv.CSVServiceProvider")


def test_a_picture_and_what_takes_no_millisecond_are_written_for_elan_or_said(tmp_path: Path) -> None:
    elan = elan_of(made_by(EafExport, rows_of((0.0,)), footage(None))[0], tmp_path / "a.vidsal.eaf")
    assert elan.tiers["shots"] == [(0, 1, "shot 0")]
    rows = rows_of((0.0, 0.0, 0.0, 0.04, 0.08), (2,))
    content, messages = made_by(EafExport, rows, footage(None))
    # The last frame is shown as long as the others are on average, a fiftieth of a second.
    assert elan_of(content, tmp_path / "b.vidsal.eaf").tiers["shots"] == [(0, 100, "shot 1")]
    assert any("shorter than a millisecond" in text for text in messages)


def test_without_pympi_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pympi.Elan", None)
    with pytest.raises(EncodeError, match=r"pip install 'vidsal\[exports\]'"):
        EafExport(footage(None))


# What they have in common.


def test_a_table_without_regions_gives_files_without_tracks(tmp_path: Path) -> None:
    rows = [dataclasses.replace(FRAME, **NOTHING, index=n, pts_seconds=n / 25) for n in range(3)]
    about = footage(Fraction(25))
    found, root = cvat_boxes(made_by(CvatExport, rows, about)[0], 3)
    assert found == [{}, {}, {}] and root.find("track") is None
    assert json.loads(made_by(LabelStudioExport, rows, about)[0])[0]["predictions"][0]["result"] == []
    coco = coco_of(made_by(CocoExport, rows, about)[0], tmp_path / "a.json")
    assert coco.dataset["annotations"] == [] and len(coco.dataset["images"]) == 3
    assert list(elan_of(made_by(EafExport, rows, about)[0], tmp_path / "a.vidsal.eaf").tiers) == ["shots"]
    assert all(json.loads(line)["regions"] == [] for line in made_by(JsonlExport, rows, about)[0].splitlines())


@pytest.mark.parametrize("kind", [CvatExport, CocoExport, LabelStudioExport, EafExport])
def test_a_region_without_a_box_is_refused_with_its_frame(kind: type[Export]) -> None:
    rows = [*rows_of(even(25, 4))]
    rows[2] = dataclasses.replace(rows[2], region1_id=1, region1_mass=0.1, region1_left=None)
    with pytest.raises(ValueError, match="a region of frame 2 has no left"):
        made_by(kind, rows, footage(Fraction(25)))


def write_table(path: Path, rows: Sequence[FrameNumbers], without: Sequence[str] = ()) -> Path:
    types = {name: kind for name, kind in column_types(FrameNumbers).items() if name not in without}
    table = TextTable(path, types)
    table.write([[getattr(row, name) for name in types] for row in rows])
    table.close()
    return path


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_table_of_an_earlier_version_is_refused_for_boxes_and_taken_for_shots(tmp_path: Path, suffix: str) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=8, width=640, height=360)
    table = write_table(tmp_path / f"old.vidsal.{suffix}", rows_of(even(25, 8), (3,)), BOX_COLUMNS)
    for kind in ("cvat", "labelstudio", "coco", "eaf", "jsonl"):
        with pytest.raises(DatasetError, match="without the boxes of regions: run the video again"):
            convert(table, [kind], source=clip)  # type: ignore[list-item]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", table.name]
    assert convert(table, ["shots", "vtt"], source=clip).frames == 8
    assert {*BOX_COLUMNS} <= {*REGION_SOURCES}


KINDS = ("eaf", "cvat", "labelstudio", "coco", "jsonl")


@pytest.fixture(params=["25", "29.97 drop frame", "variable"])
def clip(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small video."""
    if request.param == "variable":
        pts = [round(time * 90_000) for time in uneven(8)]
        return make_video(tmp_path / "clip.mkv", frames=8, pts=pts)
    if request.param == "25":
        return make_video(tmp_path / "clip.mp4", frames=8, metadata={"timecode": "10:00:00:00"})
    return make_video(tmp_path / "clip.mov", frames=8, rate=NTSC, metadata={"timecode": "00:00:59;28"})


def test_a_run_and_a_table_that_is_converted_give_the_same_files_which_are_known_as_results(
    clip: Path, tmp_path: Path
) -> None:
    options = RunOptions(output=OutputOptions(video=False, table="parquet", export=KINDS))  # type: ignore[arg-type]
    run(clip, options=options, model=make_model())
    files = {one.name: tmp_path / f"clip.vidsal{one.ending}" for one in export_files(KINDS)}
    written = {name: path.read_bytes() for name, path in files.items()}
    (record,) = read_records(tmp_path / "clip.vidsal.json")
    assert {result.stage for result in record.results} == {"table", *files}
    assert all(is_result(path) for path in files.values())
    # Beside it and without its report: a partial one too.
    alone = tmp_path / "other.vidsal_tsconf.xml"
    alone.touch()
    assert is_result(alone) and is_result(alone.rename(tmp_path / "other.vidsal_tsconf.partial.xml"))
    for path in files.values():
        path.unlink()
    made = convert(tmp_path / "clip.vidsal.parquet", KINDS)  # type: ignore[arg-type]
    assert made.files == tuple(files.values()) and made.frames == 8
    assert {name: path.read_bytes() for name, path in files.items()} == written
    lines = [json.loads(line) for line in written["jsonl"].splitlines()]
    assert [line["timecode"] for line in lines][1:4] in (
        ["10:00:00:01", "10:00:00:02", "10:00:00:03"],
        ["00:00:59;29", "00:01:00;02", "00:01:00;03"],
        [None] * 3,
    )
    found, _ = cvat_boxes(written["cvat"], 8)
    boxes = [{(line["shot"], one["id"]): tuple(one["box"].values()) for one in line["regions"]} for line in lines]
    assert_same(found, boxes)
    elan = elan_of(written["eaf"], files["eaf"])
    assert elan.document.get_linked_files()[0]["RELATIVE_MEDIA_URL"] == f"./{clip.name}"
    assert any(boxes)


def test_a_table_in_a_folder_of_its_own_gives_the_same_files_as_the_record_says_where_the_video_lay(
    tmp_path: Path,
) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=4)
    os.utime(clip, (0, 1_700_000_000.25))
    folder = tmp_path / "out"
    options = RunOptions(output=OutputOptions(output=folder, video=False, export=KINDS))  # type: ignore[arg-type]
    report = run(clip, options=options, model=make_model())
    before = {path.name: path.read_bytes() for path in report.files[1:]}
    assert b"2023-11-14 22:13:20.250000" in before["clip.vidsal.cvat.xml"]
    made = convert(report.files[0], KINDS, overwrite=True)  # type: ignore[arg-type]
    assert {path.name: path.read_bytes() for path in made.files} == before and made.messages == report.messages
    # Only what ELAN reads says where it lies itself.
    made = convert(report.files[0], KINDS, output=tmp_path / "below" / "it")  # type: ignore[arg-type]
    differ = {path.name for path in made.files if path.read_bytes() != before[path.name]}
    assert differ == {"clip.vidsal.eaf", "clip.vidsal_tsconf.xml"} and made.messages == report.messages
    # Another video in its place is not taken for it.
    moved = tmp_path / "moved.mp4"
    clip.rename(moved)
    make_video(clip, frames=3)
    made = convert(report.files[0], KINDS, overwrite=True)  # type: ignore[arg-type]
    differ = {path.name for path in made.files if path.read_bytes() != before[path.name]}
    assert differ == {"clip.vidsal.eaf"} and {*made.messages} == {
        "clip.mp4 where its record says that it lay is another one than clip.vidsal.csv was made from: left out",
        "where clip.mp4 lies is not known: ELAN will ask for it",
    }
    moved.rename(clip)
    again = convert(report.files[0], KINDS, source=clip, overwrite=True)  # type: ignore[arg-type]
    assert {path.name: path.read_bytes() for path in again.files} == before


def test_several_files_of_one_export_need_a_folder(tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.vidsal.csv", rows_of(even(25, 3)))
    with pytest.raises(ConfigError, match="names one file, and 3 are written"):
        convert(table, ["eaf"], output=tmp_path / "b.eaf")
