"""Windows, pinned boxes, tables, JSON and keyframes: tables by hand, and the formats' own readers."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from test_exports_shots import frame as row

from vidsal.errors import ConfigError
from vidsal.exports.contract import Footage, columns_of
from vidsal.exports.fcpxml import FcpxmlExport
from vidsal.reframe.keyframes import as_after_effects, as_fcpxml, is_uneven, thinned
from vidsal.reframe.marginals import Marginals
from vidsal.reframe.options import CameraOptions, ReframeOutputOptions, WindowOptions, parse_aspect
from vidsal.reframe.path import WindowPath, as_json, find_path
from vidsal.reframe.pins import Pin, extent_of, read_pins
from vidsal.reframe.window import Window, window_of

NTSC = Fraction(30000, 1001)
SIXTEEN_NINE = (320, 180)


def window(text: str = "9:16", size: tuple[int, int] = SIXTEEN_NINE, **more: Any) -> Window:
    name, ratio = parse_aspect(text)
    return window_of(name, ratio, width=size[0], height=size[1], **more)


def marginals_at(
    centres: list[float] | npt.NDArray[np.float64],
    *,
    shots: list[int] | None = None,
    seconds: npt.NDArray[np.float64] | None = None,
    size: tuple[int, int] = SIXTEEN_NINE,
) -> Marginals:
    """One hill a frame at a share of both sides."""
    middles = np.asarray(centres, np.float64)
    count = len(middles)
    x = (np.arange(64) + 0.5) / 64
    density = np.exp(-(((x - middles[:, None]) / 0.05) ** 2) / 2) + 0.01
    whole = np.concatenate([np.zeros((count, 1)), np.cumsum(density, axis=1)], axis=1)
    steps = np.rint(whole / whole[:, -1:] * 65535).astype(np.uint16)
    return Marginals(
        index=np.arange(count),
        pts_seconds=np.arange(count) / 25 if seconds is None else seconds,
        shot=np.array([0] * count if shots is None else shots),
        cumulative={"x": steps, "y": steps},
        height=size[1],
        width=size[0],
    )


# Windows.


@pytest.mark.parametrize(
    ("aspect", "size", "pixel", "expected"),
    [
        # 1080 * 9 / 16 = 607.5, and 608 is the nearest even number.
        ("9:16", (1920, 1080), 1, ("x", 608, 1080)),
        ("1:1", (1920, 1080), 1, ("x", 1080, 1080)),
        ("4:5", (1920, 1080), 1, ("x", 864, 1080)),
        ("16:9", (1080, 1920), 1, ("y", 1080, 608)),
        ("2.39:1", (1920, 1080), 1, ("y", 1920, 804)),  # 803.3
        ("9x16", (641, 361), 1, ("x", 202, 360)),  # odd sides: 360 * 9 / 16 = 202.5
        # 720x576 with pixels of 64:45 is shown as 16:9: 1:1 is 576 / (64 / 45) = 405 wide.
        ("1:1", (720, 576), Fraction(64, 45), ("x", 404, 576)),
        # 1440x1080 with pixels of 4:3 is 16:9 too, so 4:3 is cut from it.
        ("4:3", (1440, 1080), Fraction(4, 3), ("x", 1080, 1080)),
    ],
)
def test_a_window_is_the_largest_even_one_of_the_displayed_aspect(
    aspect: str, size: tuple[int, int], pixel: Fraction, expected: tuple[str, int, int]
) -> None:
    made = window(aspect, size, sample_aspect_ratio=Fraction(pixel))
    assert (made.axis, made.width, made.height) == expected
    assert (made.result_width, made.result_height) == expected[1:]
    assert made.sample_aspect_ratio == pixel


def test_a_result_of_a_given_height_has_square_pixels() -> None:
    made = window("1:1", (720, 576), sample_aspect_ratio=Fraction(64, 45), result_height=720)
    assert (made.width, made.height) == (404, 576)
    assert (made.result_width, made.result_height, made.sample_aspect_ratio) == (720, 720, 1)


@pytest.mark.parametrize(
    ("aspect", "size", "pixel"),
    [("16:9", (1920, 1080), 1), ("16:9", (1440, 1080), Fraction(4, 3)), ("9:16", (608, 1080), 1)],
)
def test_an_aspect_that_the_source_has_is_refused(aspect: str, size: tuple[int, int], pixel: Fraction) -> None:
    with pytest.raises(ConfigError, match="nothing to cut"):
        window(aspect, size, sample_aspect_ratio=Fraction(pixel))


@pytest.mark.parametrize("text", ["0:1", "1:0", "9", "", "9:", "a:b", "-9:16", "100:1", "1:100", "nan:1", "9:16:1"])
def test_what_is_no_aspect_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="must be width:height"):
        WindowOptions(aspect=text)


def test_aspects_are_told_apart_by_what_they_are() -> None:
    assert WindowOptions(aspect="9:16, 1x1,2.35:1").aspects[2] == ("2.35x1", Fraction(47, 20))
    with pytest.raises(ConfigError, match="twice"):
        WindowOptions(aspect="9:16,18:32")
    with pytest.raises(ConfigError, match="must be even"):
        WindowOptions(height=1081)
    with pytest.raises(ConfigError, match="must be a folder"):
        ReframeOutputOptions(output=Path("a.mp4"))
    with pytest.raises(ConfigError, match="must be csv, parquet, jsonl or none"):
        ReframeOutputOptions(table="paths.csv")


# Paths.


def test_at_a_cut_the_window_jumps_and_in_a_shot_it_does_not() -> None:
    path = find_path(marginals_at([0.2] * 30 + [0.8] * 30, shots=[0] * 30 + [1] * 30), window(), camera=CameraOptions())
    assert np.ptp(path.x[:30]) == 0 and np.ptp(path.x[30:]) == 0
    assert path.x[29] < 50 and path.x[30] > 180
    assert [shot.moves for shot in path.shots] == [False, False]
    assert (path.y == 0).all() and set(path.width) == {102} and set(path.height) == {180}
    assert path.kept_share > 0.9 > 0.3 > path.centre_share


def test_a_wide_window_of_a_high_picture_slides_up_and_down() -> None:
    size = (180, 320)
    path = find_path(marginals_at([0.85] * 9, size=size), window("1:1", size), camera=CameraOptions())
    assert (path.x == 0).all() and path.y[0] == 140 and path.row(0).height == 180


def test_rows_say_what_lies_inside() -> None:
    path = find_path(marginals_at([0.5] * 4), window("1:1"), camera=CameraOptions())
    row = path.row(2)
    assert (row.index, row.pts_seconds, row.shot, row.width, row.height) == (2, 0.08, 0, 180, 180)
    assert row.x == pytest.approx(70, abs=2)
    # Of a hill with a deviation of 5 % all lies inside; of the flat ground below it 180 of 320.
    x = (np.arange(64) + 0.5) / 64
    hill = np.exp(-(((x - 0.5) / 0.05) ** 2) / 2).sum()
    assert row.kept_share == pytest.approx((hill + 64 * 0.01 * 180 / 320) / (hill + 0.64), abs=1e-3)
    with pytest.raises(KeyError):
        path.place_of(4)


def test_the_path_as_json_holds_every_frame() -> None:
    path = find_path(marginals_at([0.3] * 3), window(), camera=CameraOptions())
    values = json.loads(as_json(path, source="a.mp4", provenance='{"vidsal": "1"}'))
    assert values["aspect"] == "9:16" and values["window"] == {"width": 102, "height": 180, "slides_along": "x"}
    assert [frame["index"] for frame in values["frames"]] == [0, 1, 2]
    assert values["frames"][0]["x"] == path.x[0] and values["provenance"] == {"vidsal": "1"}
    assert values["shots"][0]["last_index"] == 2


# Pinned boxes.


def test_pinned_boxes_stay_inside_while_they_count() -> None:
    pins = [
        Pin(x=10.4, y=5, width=60, height=20, start_seconds=0.4, end_seconds=1.0),
        Pin(x=60, y=0, width=30, height=9),
    ]
    path = find_path(marginals_at([0.8] * 50), window(), camera=CameraOptions(), pins=pins)
    assert not path.messages and set(path.width) == {102}
    shown = (path.pts_seconds >= 0.4 - 1e-9) & (path.pts_seconds < 1.0 - 1e-9)
    assert (path.x[shown] <= 10.4).all() and (path.x[shown] + 102 >= 90).all()
    assert (path.x <= 60 + 0.01).all() and (path.x + 102 >= 90 - 0.01).all()


def test_what_does_not_fit_makes_the_window_longer_for_its_shot_alone() -> None:
    pins = [Pin(x=20, y=0, width=200, height=20, first_frame=12, last_frame=14)]
    marginals = marginals_at([0.9] * 40, shots=[0] * 10 + [1] * 20 + [2] * 10)
    path = find_path(marginals, window(), camera=CameraOptions(), pins=pins)
    assert [shot.padded for shot in path.shots] == [False, True, False]
    assert set(path.width[:10]) == {102} == set(path.width[30:]) and set(path.width[10:30]) == {200}
    assert (path.x[12:15] <= 20).all() and (path.x[12:15] + 200 >= 220).all()
    assert "do not fit into 9:16: padded" in path.messages[0] and "1 of 3" in path.messages[0]
    cut = find_path(marginals, window(), camera=CameraOptions(), pins=pins, pad=False)
    assert set(cut.width) == {102} and "cut off" in cut.messages[0]
    # What cannot be shown whole fills the window.
    assert (cut.x[12:15] >= 20 - 0.01).all() and (cut.x[12:15] + 102 <= 220 + 0.01).all()


def test_boxes_too_far_from_each_other_for_the_camera_are_held_by_a_longer_window() -> None:
    pins = [
        Pin(x=0, y=0, width=40, height=9, last_frame=20),
        Pin(x=280, y=0, width=40, height=9, first_frame=22),
    ]
    path = find_path(marginals_at([0.5] * 50), window(), camera=CameraOptions(), pins=pins)
    assert path.shots[0].padded
    assert path.x[0] <= 0 and path.x[40] + path.width[40] >= 320


def test_a_box_at_the_last_odd_column_is_taken_as_far_as_pixels_are_even() -> None:
    size = (321, 181)
    pins = [Pin(x=300, y=170, width=21, height=11)]
    path = find_path(marginals_at([0.1] * 9, size=size), window("1:1", size), camera=CameraOptions(), pins=pins)
    assert (path.x + path.width >= 320).all() and not path.messages


def test_extents_are_those_of_the_boxes_that_count() -> None:
    pins = [
        Pin(x=10.5, y=1, width=5, height=2, first_frame=1, last_frame=1),
        Pin(x=30, y=7, width=9.2, height=2, start_seconds=0.04, end_seconds=0.08),
    ]
    first, last = extent_of(pins, "x", np.arange(3), np.arange(3) / 25)
    assert first.tolist() == [np.inf, 10, np.inf] and last.tolist() == [-np.inf, 40, -np.inf]
    first, last = extent_of(pins, "y", np.arange(3), np.arange(3) / 25)
    assert (first[1], last[1]) == (1, 9)


def pins_of(tmp_path: Path, text: str, name: str = "pins.json") -> list[Pin]:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_pins(tmp_path / name, width=320, height=180)


BOX = '"x": 1, "y": 2, "width": 3, "height": 4'


def test_boxes_are_read_from_json(tmp_path: Path) -> None:
    text = f'{{"boxes": [{{{BOX}}}, {{{BOX}, "start_seconds": 1.5, "label": "score"}}, {{{BOX}, "last_frame": 9}}]}}'
    first, second, third = pins_of(tmp_path, text)
    assert (first.x, first.y, first.width, first.height) == (1, 2, 3, 4)
    assert (second.start_seconds, second.end_seconds, second.label) == (1.5, float("inf"), "score")
    assert (third.first_frame, third.last_frame) == (0, 9)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "no list of boxes"),
        ("[]", "expected"),
        ('{"boxes": []}', "holds no boxes"),
        ('{"boxes": [3]}', "expected a mapping"),
        ('{"boxes": [{"x": 1}]}', "lacks y"),
        (f'{{"boxes": [{{{BOX}, "colour": 1}}]}}', "has 'colour'; known are"),
        ('{"boxes": [{"x": "1", "y": 2, "width": 3, "height": 4}]}', "x of box 0 is '1'"),
        ('{"boxes": [{"x": NaN, "y": 2, "width": 3, "height": 4}]}', "x of box 0 is nan"),
        (f'{{"boxes": [{{{BOX}, "last_frame": 1.5}}]}}', "last_frame of box 0 is 1.5"),
        ('{"boxes": [{"x": 300, "y": 2, "width": 30, "height": 4}]}', "outside the picture of 320x180"),
        ('{"boxes": [{"x": -1, "y": 2, "width": 30, "height": 4}]}', "outside the picture"),
        ('{"boxes": [{"x": 1, "y": 2, "width": 0, "height": 4}]}', "no extent"),
        (f'{{"boxes": [{{{BOX}, "start_seconds": 3, "end_seconds": 3}}]}}', "ends before it begins"),
        (f'{{"boxes": [{{{BOX}, "first_frame": 3, "last_frame": 2, "label": "a"}}]}}', r"box 0 \(a\) ends before"),
    ],
)
def test_what_is_wrong_with_a_file_of_boxes_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        pins_of(tmp_path, text)


CVAT = """<annotations><version>1.1</version><meta><task><original_size><width>{width}</width><height>180</height>
</original_size></task></meta><track id="0" label="score">
<box frame="3" outside="0" occluded="0" keyframe="1" xtl="10" ytl="20" xbr="30" ybr="28"/>
<box frame="7" outside="0" occluded="0" keyframe="1" xtl="12" ytl="20" xbr="32" ybr="28" rotation="90"/>
<box frame="9" outside="1" occluded="0" keyframe="1" xtl="12" ytl="20" xbr="32" ybr="28"/></track></annotations>"""


def test_boxes_are_read_from_cvats_xml(tmp_path: Path) -> None:
    first, second = pins_of(tmp_path, CVAT.format(width=320), "pins.xml")
    assert (first.first_frame, first.last_frame, first.x, first.width, first.label) == (3, 6, 10, 20, "score")
    # Turned by a right angle about its middle.
    assert (second.first_frame, second.last_frame) == (7, 8)
    assert (second.x, second.y, second.width, second.height) == pytest.approx((18, 14, 8, 20))
    with pytest.raises(ConfigError, match="pictures of 640x180, the source has 320x180"):
        pins_of(tmp_path, CVAT.format(width=640), "pins.xml")
    with pytest.raises(ConfigError, match="not CVAT's form for video"):
        pins_of(tmp_path, "<annotations><image/></annotations>", "pins.xml")
    with pytest.raises(ConfigError, match=r"must end in \.json or \.xml"):
        pins_of(tmp_path, "x", "pins.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_pins(tmp_path / "nothing.json", width=1, height=1)


# Keyframes.


def moving_path(rate: Fraction = NTSC, size: tuple[int, int] = SIXTEEN_NINE, **more: Any) -> WindowPath:
    """A shot that moves, and one that stands."""
    centres = np.concatenate([np.interp(np.arange(150), [50, 100], [0.2, 0.8]), np.full(50, 0.3)])
    marginals = marginals_at(centres, shots=[0] * 150 + [1] * 50, seconds=np.arange(200) / float(rate), size=size)
    return find_path(marginals, window(size=size, **more), camera=CameraOptions())


def in_frames(text: str, rate: Fraction) -> Fraction:
    return Fraction(text.removesuffix("s")) * rate


def places_in_fcpxml(text: str, path: WindowPath, rate: Fraction, start: int) -> dict[int, float]:
    """Where the window begins at each frame of the timeline, as a program would work it out."""
    root = ElementTree.fromstring(text)
    height = int(root.findall("resources/format")[0].attrib["height"])
    places: dict[int, float] = {}
    for clip in root.iter("asset-clip"):
        offset, begin, duration = (in_frames(clip.attrib[name], rate) for name in ("offset", "start", "duration"))
        assert clip.findall("adjust-conform")[0].get("type") == "none"
        transform = clip.findall("adjust-transform")[0]
        scale = float(transform.attrib["scale"].split()[0])
        frames = [(frame.attrib["time"], frame.attrib["value"]) for frame in transform.iter("keyframe")]
        frames = frames or [(clip.attrib["start"], transform.attrib["position"])]
        times = [float(in_frames(time, rate)) for time, _ in frames]
        across = [float(value.split()[0]) for _, value in frames]
        assert begin - start == offset
        for frame in range(int(offset), int(offset + duration)):
            pixels = np.interp(frame + start, times, across) * height / 100
            places[frame] = path.window.picture_width / 2 - pixels / scale - path.width[frame] / 2
    return places


@pytest.mark.parametrize("height", [None, 640])
def test_fcpxml_moves_the_source_as_the_path_says(height: int | None) -> None:
    path = moving_path(result_height=height)
    assert path.shots[0].moves and not path.shots[1].moves
    footage = Footage(name="a.mov", path=Path("/in/a b.mov"), rate=NTSC, timecode="01:00:00;00", audio_channels=2)
    text = as_fcpxml(path, footage, name="made")
    # An hour of drop frame has 107892 frames.
    found = places_in_fcpxml(text, path, NTSC, 107892)
    assert sorted(found) == list(range(200))
    for frame, place in found.items():
        assert place == pytest.approx(path.x[frame], abs=0.3)
    root = ElementTree.fromstring(text)
    asset = root.findall("resources/asset")[0].attrib
    assert asset["src"] == "file:///in/a%20b.mov" and asset["hasAudio"] == "1" and asset["audioChannels"] == "2"
    assert {clip.get("tcFormat") for clip in root.iter("asset-clip")} == {"DF"}
    assert 2 < len(list(root.iter("keyframe"))) < 60


def test_fcpxml_is_opened_by_opentimelineio(tmp_path: Path) -> None:
    otio = pytest.importorskip("opentimelineio")
    path = moving_path(Fraction(25))
    text = as_fcpxml(path, Footage(name="a.mov", path=Path("/in/a.mov"), rate=Fraction(25)), name="made")
    (tmp_path / "a.fcpxml").write_text(text, encoding="utf-8")
    read = otio.adapters.read_from_file(str(tmp_path / "a.fcpxml"), adapter_name="fcpx_xml")
    clips = list(read.find_clips())
    assert [clip.source_range.duration.to_frames() for clip in clips] == [150, 50]
    assert [clip.source_range.start_time.rescaled_to(25).to_frames() for clip in clips] == [0, 150]


def test_after_effects_gets_the_places_of_the_layer() -> None:
    path = moving_path(Fraction(25))
    lines = as_after_effects(path, Footage(name="a.mov", rate=Fraction(25))).splitlines()
    assert lines[0] == "Adobe After Effects 8.0 Keyframe Data" and lines[-1] == "End of Keyframe Data"
    assert "\tUnits Per Second\t25" in lines and "\tSource Width\t320" in lines
    begin = lines.index("Transform\tPosition") + 2
    rows = [line.split("\t") for line in lines[begin : lines.index("", begin)]]
    frames, across = [int(row[1]) for row in rows], [float(row[2]) for row in rows]
    assert frames[0] == 0 and {149, 150, 199} <= set(frames)
    for frame in range(200):
        # The layer's middle in a composition of 102 columns.
        place = 51 + 160 - np.interp(frame, frames, across) - 51
        assert place == pytest.approx(path.x[frame], abs=0.3)


def test_frames_at_an_uneven_rate_fall_on_the_nearest_frame() -> None:
    seconds = np.cumsum([0.0] + [0.04, 0.08] * 10)
    path = find_path(marginals_at([0.5] * 21, seconds=seconds), window(), camera=CameraOptions())
    assert is_uneven(path, Fraction(50, 3)) and not is_uneven(moving_path(Fraction(25)), Fraction(25))
    assert not is_uneven(moving_path(NTSC), NTSC) and is_uneven(moving_path(NTSC), Fraction(30))
    assert not is_uneven(path, Fraction(25))
    odd = find_path(marginals_at([0.5] * 21, seconds=seconds**1.1), window(), camera=CameraOptions())
    for rate in (None, Fraction(50, 3), Fraction(240)):
        ElementTree.fromstring(as_fcpxml(odd, Footage(name="a.mov", rate=rate), name="made"))


@pytest.mark.parametrize(
    ("seconds", "said", "rate"),
    [
        (np.delete(np.arange(50) / 25, [13, 14, 16, 17, 19]), Fraction(31, 2), Fraction(25)),
        (np.arange(20) / 12.5, Fraction(25, 2), Fraction(25)),
        (np.cumsum([0.0] + [0.013, 0.031, 0.052] * 9), Fraction(625, 20), Fraction(30)),
        (np.arange(20) / 240, Fraction(240), Fraction(120)),
        (np.arange(20) * 1001 / 30000, Fraction(30000, 1001), Fraction(30000, 1001)),
    ],
    ids=["frames left out", "half", "varies", "fast", "even"],
)
def test_keyframes_count_by_the_rate_of_the_exports(
    seconds: npt.NDArray[np.float64], said: Fraction, rate: Fraction
) -> None:
    path = find_path(marginals_at([0.5] * len(seconds), seconds=seconds), window(), camera=CameraOptions())
    footage = Footage(name="a.mov", height=180, width=320, rate=said, duration_seconds=float(seconds[-1]) + 0.04)
    text = as_fcpxml(path, footage, name="made")
    step = f"{rate.denominator}/{rate.numerator}s"
    assert {one.get("frameDuration") for one in ElementTree.fromstring(text).iter("format")} == {step}
    assert f"\tUnits Per Second\t{float(rate):.6g}" in as_after_effects(path, footage).splitlines()
    export = FcpxmlExport(footage)
    export.update(columns_of([row(n, each) for n, each in enumerate(seconds.tolist())], export.sources))
    theirs = ElementTree.fromstring(export.flush())
    (own,) = theirs.iter("format")
    assert Fraction(str(own.get("frameDuration")).removesuffix("s")) == 1 / rate
    lengths = [
        Fraction(str(next(root.iter("sequence")).get("duration")).removesuffix("s"))
        for root in (theirs, ElementTree.fromstring(text))
    ]
    assert lengths[0] == lengths[1]


def test_lines_between_the_points_that_are_kept_meet_all_others() -> None:
    random = np.random.default_rng(0)
    places = np.cumsum(random.normal(size=300))
    kept = thinned(np.arange(300), places, tolerance=0.5)
    assert np.abs(np.interp(np.arange(300), kept, places[kept]) - places).max() <= 0.5
    assert len(kept) < 250
    assert thinned(np.arange(9), np.full(9, 3.0)) == [0]
