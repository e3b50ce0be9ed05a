"""What a report is made of: curves, times, small pictures, safe text; and where the files of it come from and go."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import html
import json
import re
import zlib
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import make_checkpoint, make_model
from media import make_video, numbered_picture, read_number

from vidsal import run
from vidsal.batch.task import Worker
from vidsal.batch.work import Ended, Work
from vidsal.cli import main
from vidsal.errors import ConfigError, DatasetError, ExistsError
from vidsal.exports.contract import Footage
from vidsal.exports.shots import SHOT_SOURCES
from vidsal.index import INDEX_NAME
from vidsal.pipe.options import ModelOptions, OutputOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.record import is_result, read_records
from vidsal.pipe.reports import finished_runs, write_report
from vidsal.report import Summary, read_summary
from vidsal.report.gather import CURVE_BUCKETS, CURVES, Curves, FrameTimes, Gathered
from vidsal.report.html import data_block, link_to, make_page, picture_address
from vidsal.report.page import PICTURED_SHOTS, Results, make_report
from vidsal.report.pictures import PICTURE_SIDE, player_facts, small_pictures
from vidsal.stages import RenderOptions, ViewerOptions


def data_of(page: Path | str, id: str = "data") -> Any:
    """What a script of the page finds."""

    class Blocks(HTMLParser):
        found = ""
        inside = False

        def handle_starttag(self, tag: str, attributes: Any) -> None:
            self.inside = tag == "script" and dict(attributes).get("id") == id

        def handle_data(self, text: str) -> None:
            self.found += text if self.inside else ""

        def handle_endtag(self, tag: str) -> None:
            self.inside = False

    blocks = Blocks()
    blocks.feed(page if isinstance(page, str) else page.read_text(encoding="utf-8"))
    return json.loads(blocks.found)


def times_of(packed: str) -> np.ndarray:
    steps = np.frombuffer(zlib.decompress(base64.b64decode(packed)), "<f8")
    return np.cumsum(steps) / 1e6


# Curves and times.


@given(st.data())
def test_points_hold_the_lowest_and_the_highest_of_their_frames_however_these_come(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    value = st.one_of(st.just(float("nan")), st.floats(0, 9))
    values = np.array(data.draw(st.lists(value, min_size=count, max_size=count)))
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=4)))
    curves = Curves(("coverage",), buckets=5)
    for piece in np.split(np.arange(count), cuts):
        curves.update({"pts_seconds": piece / 2, "coverage": values[piece]})
    stride = curves.stride
    assert stride == next(2**n for n in range(10) if count <= 5 * 2**n)
    groups = [values[first : first + stride] for first in range(0, count, stride)]
    known = [group[~np.isnan(group)] for group in groups]
    for made, extreme in ((curves.low, np.min), (curves.high, np.max)):
        expected = [extreme(group) if len(group) else float("nan") for group in known]
        assert made["coverage"].tolist() == pytest.approx(expected, nan_ok=True, abs=0)
    assert curves.start_seconds.tolist() == [first / 2 for first in range(0, count, stride)]


def test_times_are_kept_to_the_microsecond_and_a_steady_rate_takes_no_room() -> None:
    steady = np.arange(200_000) * 1001 / 30000
    times = FrameTimes()
    for piece in np.split(steady, [1, 70_000]):
        times.update(piece)
    packed = times.packed()
    assert np.abs(times_of(packed) - steady).max() <= 1e-6
    assert times.frames == 200_000 and len(packed) < 20_000
    odd = np.array([12.5, 12.5, 12.4, 40_000.000001, 3e5])
    times = FrameTimes()
    times.update(odd)
    assert np.abs(times_of(times.packed()) - odd).max() <= 1e-6 and times.first_seconds == 12.5


def gathered_of(frames: int, *, shots: int = 1) -> Gathered:
    gathered = Gathered(Footage(name="a.mp4", height=20, width=40))
    for first in range(0, frames, 50_000):
        index = np.arange(first, min(first + 50_000, frames))
        rows = {name: np.full(len(index), 0.25) for name in (*SHOT_SOURCES, *CURVES)}
        rows |= {"index": index, "pts_seconds": index / 25, "shot": index * shots // frames}
        rows["peak_density"] = 1 + index % 9.0
        gathered.update(rows)
    gathered.finish()
    return gathered


def test_the_page_of_a_long_video_stays_small() -> None:
    gathered = gathered_of(500_000, shots=5000)
    page = make_report(Results(name="long", gathered=gathered), page=Path("long.vidsal.html"))
    assert len(page) < 4_500_000
    data = data_of(page)
    assert data["frames"] == 500_000 and len(data["shots"]) == 5000
    assert CURVE_BUCKETS / 2 < len(data["curves"]["start"]) <= CURVE_BUCKETS
    assert data["curves"]["stride"] == 128 and data["curves"]["low"]["peak_density"][0] == 1


# Text that is somebody else's.


@given(st.text())
def test_no_text_ends_the_data(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    block = data_block("data", {"name": f"</script>{text}<!--<script>", text: [text, 0.5, None, True, 3]})
    assert block.count("<") == block.count(">") == 2
    assert data_of(f"<html>{block}</html>") == {
        "name": f"</script>{text}<!--<script>",
        text: [text, 0.5, None, True, 3],
    }


def test_numbers_of_the_data_are_those_of_a_table() -> None:
    values = [1 / 3, 12345.67891234, 1e-7, 2.0, 5.0e20, -0.0]
    assert data_of(data_block("data", values)) == [float(format(value, ".9g")) for value in values]
    with pytest.raises(ValueError, match="no finite number"):
        data_block("data", {"a": [float("nan")]})


def test_the_policy_names_what_stands_in_the_page_and_no_network() -> None:
    page = make_page(title="</title>", body="<p>b</p>", styles=["p{}", "b{}"], scripts=["let a = '<&';\n"])
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="([^"]+)"', page)[0])
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        texts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts}
        (said,) = [part.split()[1:] for part in policy.split("; ") if part.startswith(directive)]
        assert hashes == {*said} and hashes
    assert policy.startswith("default-src 'none'") and "http" not in policy and "unsafe" not in policy
    assert "connect-src" not in policy
    assert "connect-src 'self'" in html.unescape(make_page(title="", body="", styles=[], connects=True))
    for bad in ("a\rb", "</SCRIPT >", "</style>"):
        with pytest.raises(ValueError, match="must not hold"):
            make_page(title="", body="", styles=[], scripts=[bad])


def test_nothing_of_a_record_becomes_markup() -> None:
    bad = "<img src=x onerror=alert(1)>\"'&</script>"
    record = {
        "vidsal": bad,
        "commit": bad,
        "input": {"name": bad, "kind": bad, "bytes": bad, "modified": bad, "sample_sha256": bad, "height": bad},
        "model": {"name": bad, "precision": bad, "device": bad, "sha256": bad},
        "options": {bad: {bad: bad}, "recurrence": {"every": bad}, "decode": {"video_stream": bad, "deinterlace": bad}},
        "results": [{"stage": "table", "file": f"javascript:{bad}", "bytes": 1}, bad, {"file": 3}],
        "counts": {bad: bad},
        "messages": [bad],
    }
    page = make_report(Results(name=bad, gathered=gathered_of(3), record=record), page=Path("a.vidsal.html"))
    assert "<img" not in page and page.count("</script>") == 4
    assert not re.search(r'href="javascript:', page)
    # A record may be of any version, or of anybody's making.
    for odd in ({"input": 3, "model": [], "options": None, "messages": "x", "results": 5}, {"counts": []}):
        assert make_report(Results(name="a", gathered=gathered_of(3), record=odd), page=Path("a.vidsal.html"))


def test_links_hold_from_the_page_on(tmp_path: Path) -> None:
    page = tmp_path / "out" / "a.vidsal.html"
    assert link_to(tmp_path / "out" / "a: b?.mp4", page=page) == "a%3A%20b%3F.mp4"
    assert link_to(tmp_path / "in" / "é%.mp4", page=page) == "../in/%C3%A9%25.mp4"


# Pictures.


def decoded(jpeg: bytes | None) -> np.ndarray:
    assert jpeg is not None
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_pictures_are_of_the_frames_that_are_asked_for(tmp_path: Path) -> None:
    ticks = [9000 + 3000 * i + 1500 * (i // 3) for i in range(40)]
    path = make_video(
        tmp_path / "a.mp4", frames=40, width=96, height=64, pts=ticks, picture=numbered_picture(96, 64), bframes=2
    )
    seconds = [(one - ticks[0]) / 90_000 for one in ticks]
    found = list(small_pictures(path, [seconds[i] for i in (0, 1, 17, 39)]))
    assert [read_number(decoded(one)) for one in found] == [0, 1, 17, 39]
    assert list(small_pictures(path, [seconds[5] + 0.01, 99.0])) == [None, None], "no frame is shown from there on"
    path.write_bytes(b"nothing")
    assert list(small_pictures(path, [0.0])) == list(small_pictures(tmp_path / "gone.mp4", [0.0])) == [None]


def test_pictures_are_small_upright_and_of_the_shape_in_which_they_are_shown(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.mp4", frames=2, width=720, height=480, rotation=90, sample_aspect_ratio=Fraction(2, 1)
    )
    (picture,) = small_pictures(path, [0.0])
    height, width = decoded(picture).shape[:2]
    # 1440 x 480 as shown, and turned.
    assert height == pytest.approx(3 * width, abs=3) and max(height, width) <= PICTURE_SIDE


def test_a_player_shows_the_first_picture_when_the_file_says(tmp_path: Path) -> None:
    options = {"use_editlist": "1", "avoid_negative_ts": "disabled"}
    late = make_video(
        tmp_path / "a.mp4", frames=3, pts=[45_000, 48_000, 51_000], audio_tracks=1, container_options=options
    )
    facts = player_facts(late)
    assert facts.offset_seconds == pytest.approx(0.5) and facts.sound
    plain = player_facts(make_video(tmp_path / "b.mp4", frames=3))
    assert plain.offset_seconds == 0 and not plain.sound
    assert player_facts(tmp_path / "gone.mp4").offset_seconds == 0


def test_only_the_longest_of_many_shots_and_the_strongest_one_have_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    gathered = gathered_of(400, shots=200)
    longer = [dataclasses.replace(shot, length_seconds=float(shot.shot)) for shot in gathered.shots]
    gathered.shots = [dataclasses.replace(shot, attention_strength=float(shot.shot == 7)) for shot in longer]
    asked: list[float] = []

    def pictures(path: Path, seconds: list[float], **more: Any) -> list[bytes]:
        asked.extend(seconds)
        return [b"jpeg"] * len(seconds)

    monkeypatch.setattr("vidsal.report.page.small_pictures", pictures)
    page = make_report(Results(name="a", gathered=gathered, source=Path("gone.mp4")), page=Path("a.vidsal.html"))
    data = data_of(page)
    with_picture = {place for place, picture in enumerate(data["pictures"]["plain"]) if picture}
    assert with_picture == {7, *range(200 - PICTURED_SHOTS, 200)} and len(asked) == PICTURED_SHOTS + 1
    assert data["pictures"]["plain"][7] == picture_address(b"jpeg") and not any(data["pictures"]["heat"])
    assert data_of(page, "summary")["strongest_shot"] == 7


def test_a_long_shot_has_pictures_all_along_the_timeline(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=60, width=96, height=64, picture=numbered_picture(96, 64))
    gathered = gathered_of(60)
    # One shot of five sixths, one of a sixth: ten pictures and two.
    first, last = (dataclasses.replace(gathered.shots[0], shot=number) for number in (0, 1))
    gathered.shots = [
        dataclasses.replace(first, last_index=49, end_seconds=2.0, length_seconds=2.0, key_index=33, key_seconds=1.32),
        dataclasses.replace(
            last, first_index=50, start_seconds=2.0, length_seconds=0.4, key_index=51, key_seconds=2.04
        ),
    ]
    data = data_of(make_report(Results(name="a", gathered=gathered, source=path), page=tmp_path / "a.vidsal.html"))
    assert [tile[0] for tile in data["tiles"]] == [0] * 10 + [1] * 2
    numbers = [read_number(decoded(base64.b64decode(tile[3].partition(",")[2]))) for tile in data["tiles"]]
    assert {33, 51} <= {*numbers}, "the key frame stands for its part"
    for (_, begin, end, _), number in zip(data["tiles"], numbers, strict=True):
        assert begin <= number / 25 < end and (number in (33, 51) or abs(number / 25 - (begin + end) / 2) <= 0.021)


# The summary.


def test_the_summary_stands_at_the_beginning_and_is_read_again(tmp_path: Path) -> None:
    page = tmp_path / "a.vidsal.html"
    record = {"input": {"height": 20, "width": 40, "kind": "video"}, "model": {"name": "tiny"}, "messages": ["a", "b"]}
    gathered = gathered_of(50, shots=2)
    page.write_text(make_report(Results(name="a</script>b", gathered=gathered, record=record), page=page))
    summary = read_summary(page)
    strength, strongest = max((shot.attention_strength, shot.shot) for shot in gathered.shots)
    assert summary == Summary(
        name="a</script>b",
        kind="video",
        frames=50,
        length_seconds=pytest.approx(2.0),
        height=20,
        width=40,
        shots=2,
        strongest_shot=strongest,
        attention_strength=pytest.approx(strength),
        model="tiny",
        messages=2,
        thumbnail=None,
    )
    assert (
        summary is not None
        and read_summary_of(tmp_path, dataclasses.replace(summary, thumbnail=b"\xff\0")) == b"\xff\0"
    )


def read_summary_of(folder: Path, summary: Summary) -> bytes | None:
    (folder / "x.html").write_text(f"<html>{summary.as_block()}")
    found = read_summary(folder / "x.html")
    assert found is not None
    return found.thumbnail


@pytest.mark.parametrize("text", ["", "<p>", '"name"', '{"name": 3}', "[]", '{"name":"a","frames":"x"}'])
def test_what_has_no_summary_gives_none(tmp_path: Path, text: str) -> None:
    page = tmp_path / "a.html"
    page.write_text(f'<script type="application/json" id="summary">{text}</script>')
    assert read_summary(page) is None and read_summary(tmp_path / "gone.html") is None


# A run.


def go(clip: Path, *, overwrite: bool = False, **output: Any) -> Any:
    wanted = OutputOptions(report=True, export=("shots",), overwrite=overwrite, **output)
    return run(
        clip, options=RunOptions(output=wanted, render=RenderOptions(opacity=0.0, legend="off")), model=make_model()
    )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    picture = numbered_picture(96, 64)
    return make_video(tmp_path / "clip.mp4", frames=8, width=96, height=64, picture=picture)


def test_a_run_writes_its_report_and_says_so_in_its_record(clip: Path) -> None:
    report = go(clip)
    page = clip.with_name("clip.vidsal.html")
    assert report.files[-1] == page and report.stage_frames_per_second["report"] > 0
    (record,) = read_records(clip.with_name("clip.vidsal.json"))
    assert (record.results[-1].stage, record.results[-1].bytes) == ("report", page.stat().st_size)
    assert is_result(page)
    data = data_of(page)
    with clip.with_name("clip.vidsal.shots.csv").open(newline="") as file:
        shots = list(csv.DictReader(file))
    told = [{name: value for name, value in shot.items() if name in shots[0]} for shot in data["shots"]]
    as_numbers = [{name: float(value) if value else None for name, value in shot.items()} for shot in shots]
    assert told == as_numbers
    with clip.with_name("clip.vidsal.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in CURVES:
        values = [float(row[name]) if row[name] else None for row in rows]
        assert data["curves"]["low"][name] == data["curves"]["high"][name] == values
    assert times_of(data["times"]).tolist() == pytest.approx([float(row["pts_seconds"]) for row in rows], abs=1e-6)
    assert data["media"]["heat"]["href"] == "clip.vidsal.mp4" and data["media"]["plain"]["href"] == "clip.mp4"
    for name in ("heat", "plain"):
        (picture,) = data["pictures"][name]
        jpeg = base64.b64decode(picture.partition(",")[2])
        assert read_number(decoded(jpeg)) == data["shots"][0]["key_index"]
    text = page.read_text()
    assert "tiny, fp32 on cpu" in text and 'href="clip.vidsal.csv"' in text
    assert str(clip.parent) not in text
    assert "Permission is hereby granted" in text, "what is in the page has its licence with it"


def test_the_page_says_whose_gaze_it_is_and_what_viewers_do_after_cuts(clip: Path) -> None:
    # The default, an option that says otherwise, and a model of drivers: its card says so, not its name.
    for viewers, task in (("auto", "free-viewing"), ("off", "free-viewing"), ("auto", "driving")):
        model = make_model()
        model.card = dataclasses.replace(model.card, name="not-of-a-driver", task=task)  # type: ignore[arg-type]
        output = OutputOptions(report=True, video=False, table="none", overwrite=True)
        asked = ViewerOptions(viewers=viewers)  # type: ignore[arg-type]
        run(clip, options=RunOptions(output=output, viewers=asked), model=model)
        text = " ".join(clip.with_name("clip.vidsal.html").read_text().split())
        assert ("numbers are those of the shot before" in text) == (viewers == "auto" and task == "free-viewing")
        assert ("predicts where drivers look" in text) == (task == "driving")
        assert ("predicts free viewing by adults" in text) == (task == "free-viewing")
        assert "80 traffic pictures" not in text


@pytest.mark.parametrize(
    ("every", "says"),
    [
        (None, "The model saw 4 of 8 frames; the maps between are interpolated in time."),
        (1, ""),
        (3, "The model saw 3 of 8 frames; the maps between are interpolated in time."),
    ],
)
def test_the_page_says_which_frames_of_a_video_the_model_saw(clip: Path, every: int | None, says: str) -> None:
    output = OutputOptions(report=True, video=False, table="none")
    run(clip, options=RunOptions(output=output, recurrence=RecurrenceOptions(every=every)), model=make_model())
    text = clip.with_name("clip.vidsal.html").read_text(encoding="utf-8")
    assert re.findall(r"The model saw[^<]*", text) == [says] * bool(says)


@pytest.mark.parametrize("source", ["a/1.png", "a"])
def test_of_pictures_nothing_is_said_of_frames(tmp_path: Path, source: str) -> None:
    (tmp_path / "a").mkdir()
    for name in ("1", "2"):
        cv2.imwrite(str(tmp_path / "a" / f"{name}.png"), numbered_picture(96, 64)(0))
    output = OutputOptions(output=tmp_path, report=True, video=False)
    run(tmp_path / source, options=RunOptions(output=output), model=make_model())
    (page,) = tmp_path.glob("*.vidsal.html")
    assert "model saw" not in page.read_text(encoding="utf-8")


def test_what_is_left_out_is_said(clip: Path) -> None:
    go(clip, video=False, table="none")
    data = data_of(clip.with_name("clip.vidsal.html"))
    assert data["media"]["heat"] == {"href": None, "why": "No video with the heat was written (--no-video)."}
    assert data["frames"] == 8 and data["pictures"]["heat"] == [None] and data["pictures"]["plain"][0]


def test_a_part_of_a_video_is_shown_where_it_lies_in_it(clip: Path) -> None:
    options = RunOptions(output=OutputOptions(report=True), render=RenderOptions(opacity=0.0, legend="off"))
    options = dataclasses.replace(options, decode=dataclasses.replace(options.decode, start_seconds=0.12))
    run(clip, options=options, model=make_model())
    data = data_of(clip.with_name("clip.vidsal.html"))
    assert times_of(data["times"])[0] == pytest.approx(0.12) and data["frames"] == 5
    heat, plain = data["media"]["heat"], data["media"]["plain"]
    # What was cut out begins at 0.
    assert heat["begin"] - heat["offset"] == pytest.approx(0.12) and plain["begin"] - plain["offset"] == 0
    for name in ("heat", "plain"):
        jpeg = base64.b64decode(data["pictures"][name][0].partition(",")[2])
        assert read_number(decoded(jpeg)) == 3 + data["shots"][0]["key_index"]


def test_a_run_that_is_stopped_leaves_no_half_report(clip: Path) -> None:
    options = RunOptions(output=OutputOptions(report=True, video=False))
    report = run(clip, options=options, model=make_model(), should_stop=lambda: True)
    assert report.interrupted
    assert not [path.name for path in clip.parent.iterdir() if path.suffix == ".html"]


def test_a_report_is_skipped_where_it_is_done_and_made_where_it_is_not(clip: Path) -> None:
    assert go(clip, existing="skip").status == "done"
    page = clip.with_name("clip.vidsal.html")
    before = page.stat().st_mtime_ns
    assert go(clip, existing="skip").status == "skipped" and page.stat().st_mtime_ns == before
    page.unlink()
    assert go(clip, existing="skip").status == "done" and page.exists()
    with pytest.raises(ExistsError, match=r"clip\.vidsal\.\w+ exists already"):
        go(clip)


# Finished results.


@pytest.fixture
def finished(clip: Path) -> Path:
    """A clip with all its results but a report."""
    options = RunOptions(output=OutputOptions(export=("shots",)), render=RenderOptions(opacity=0.0, legend="off"))
    run(clip, options=options, model=make_model())
    return clip


def test_the_report_of_finished_results_is_the_one_of_the_run(clip: Path) -> None:
    pytest.importorskip("pyarrow")
    go(clip)
    page = clip.with_name("clip.vidsal.html")
    first, summary = data_of(page), read_summary(page)
    (made,) = finished_runs(clip)
    with pytest.raises(ExistsError, match="use overwrite=True"):
        write_report(made)
    assert write_report(made, overwrite=True) == []
    assert data_of(page) == first and read_summary(page) == summary


@pytest.mark.parametrize(
    "name", ["clip.mp4", "clip.vidsal.csv", "clip.vidsal.json", "clip.vidsal.mp4", "clip.vidsal.shots.csv", "."]
)
def test_one_run_is_found_by_whatever_is_of_it(finished: Path, name: str) -> None:
    (found,) = finished_runs(finished.parent / name)
    assert (found.table.name, found.page.name) == ("clip.vidsal.csv", "clip.vidsal.html")
    assert found.drawn is not None and found.drawn.name == "clip.vidsal.mp4" and found.name == "clip.mp4"


def test_a_table_alone_has_a_report_too(finished: Path) -> None:
    pytest.importorskip("pyarrow")
    finished.with_name("clip.vidsal.json").unlink()
    (found,) = finished_runs(finished.with_name("clip.vidsal.csv"))
    assert found.record is None and found.drawn == finished.with_name("clip.vidsal.mp4")
    write_report(found)
    data = data_of(found.page)
    assert data["frames"] == 8 and data["size"] is None and data["media"]["plain"]["href"] is None
    with pytest.raises(DatasetError, match=r"no record \(NAME\.vidsal\.json\) beside .* tells of a run with a table"):
        finished_runs(finished)
    with pytest.raises(DatasetError, match=r"name the file, such as clip\.vidsal\.csv"):
        finished_runs(finished.parent)


@pytest.mark.parametrize("has_record", [True, False])
def test_a_report_without_the_video_of_the_run_says_that_it_is_gone_not_that_none_was_written(
    finished: Path, has_record: bool
) -> None:
    pytest.importorskip("pyarrow")
    finished.with_name("clip.vidsal.mp4").unlink()
    if not has_record:
        finished.with_name("clip.vidsal.json").unlink()
    (found,) = finished_runs(finished.with_name("clip.vidsal.csv"))
    write_report(found)
    why = data_of(found.page)["media"]["heat"]["why"]
    gone = "The video with the heat, clip.vidsal.mp4, is not there any more."
    alone = "No video with the heat lies beside the table, and no record says that one was made (clip.vidsal.mp4)."
    assert why == (gone if has_record else alone)


def test_another_file_under_the_name_of_the_input_is_not_shown(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (made,) = finished_runs(finished)
    moved = finished.rename(elsewhere / finished.name)
    make_video(finished, frames=3)
    (said,) = write_report(made)
    assert "is another input than the one that was run" in said
    assert data_of(made.page)["media"]["plain"]["href"] is None
    for source in (elsewhere, moved):
        assert write_report(made, source=source, overwrite=True) == []
        assert data_of(made.page)["media"]["plain"]["href"] == "elsewhere/clip.mp4"
    finished.unlink()
    with pytest.raises(ConfigError, match=r"does not hold clip\.mp4"):
        write_report(made, source=tmp_path / "nowhere", overwrite=True)


def test_an_input_is_found_where_it_lay_and_one_that_moved_is_said_to_be_missing_once(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    films, results = tmp_path / "films", tmp_path / "results"
    films.mkdir()
    clip = clip.rename(films / "clip.mp4")
    for name in ("clip.mp4", "other.mp4"):
        (films / name).write_bytes(clip.read_bytes())
        run(films / name, options=RunOptions(output=OutputOptions(output=results, video=False)), model=make_model())
    page = results / "clip.vidsal.html"
    assert main(["report", str(results)]) == 0
    assert capsys.readouterr().err == "" and data_of(page)["media"]["plain"]["href"] == "../films/clip.mp4"
    films.rename(tmp_path / "moved")
    assert main(["report", str(results), "--overwrite"]) == 0
    err = capsys.readouterr().err
    assert err.count("warning") == 2 and err.count("--source") == 1 and "1 other input, such as other.mp4" in err
    assert data_of(page)["media"]["plain"]["href"] is None
    assert main(["report", str(results), "--overwrite", "--source", str(tmp_path / "moved")]) == 0
    assert capsys.readouterr().err == "" and data_of(page)["media"]["plain"]["href"] == "../moved/clip.mp4"


def test_a_damaged_table_is_said(finished: Path) -> None:
    pytest.importorskip("pyarrow")
    (made,) = finished_runs(finished)
    lines = made.table.read_text().splitlines()
    for text, why in (("\n".join([*lines[:3], "8,x"]), "no whole table"), (f"{lines[0]}\n", "no rows")):
        made.table.write_text(text)
        with pytest.raises(DatasetError, match=why):
            write_report(made)
    assert not made.page.exists()


def test_the_command_makes_all_it_can_and_says_what_it_could_not(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    folder, page = finished.parent, finished.with_name("clip.vidsal.html")
    assert main(["report", str(folder), str(folder / "gone"), str(finished)]) == 1
    out, err = capsys.readouterr()
    assert out == f"{page}\n{folder / INDEX_NAME}\n" and page.is_file() and f"{folder / 'gone'} is not there" in err
    assert f"{INDEX_NAME} was written all the same, over 1 video" in err
    assert main(["report", str(finished)]) == 3
    assert "use --overwrite to replace it" in capsys.readouterr().err
    assert main(["report", str(finished), "--json", "--overwrite"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line == {"page": str(page), "outcome": "done", "messages": []}
    page.unlink()
    page.mkdir()
    assert main(["report", str(finished), "--overwrite", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["outcome"] == "failed"


@pytest.mark.parametrize("copied", [False, True])
def test_the_reports_of_a_batch_point_to_inputs_but_to_no_copy_of_one(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: bool
) -> None:
    model = make_checkpoint(tmp_path / "tiny.safetensors")
    output = OutputOptions(output=tmp_path / "out", report=True, video=False)
    options = RunOptions(model=ModelOptions(str(model), "cpu"), output=output)
    work = Work(1, str(clip), "sub/clip", str(tmp_path / "out"), options)
    if copied:
        files = pytest.importorskip("fsspec").filesystem("memory")
        files.pipe("/reports/clip.mp4", clip.read_bytes())
        monkeypatch.setattr("vidsal.batch.task.is_remote", lambda text: text.startswith("memory://"))
        work = dataclasses.replace(work, source="memory://reports/clip.mp4", scratch=str(tmp_path / "scratch"))
    works, events = [work], list[Any]()

    class Feed:
        def poll(self) -> Work | None:
            return works.pop() if works else None

        wait = poll

    Worker(Feed(), events.append, should_stop=lambda: False).run()
    (end,) = [event for event in events if isinstance(event, Ended)]
    assert [made.stage for made in end.files] == ["table", "report", "record"], end
    page = tmp_path / "out" / "sub" / "clip.vidsal.html"
    (record,) = read_records(page.with_name("clip.vidsal.json"))
    assert record.source == (None if copied else "../../clip.mp4")
    data = data_of(page)
    assert data["pictures"]["plain"][0], "the key frame is seen in both cases"
    assert data["media"]["plain"]["href"] == (None if copied else "../../clip.mp4")
    assert not copied or "on another machine" in data["media"]["plain"]["why"]
    summary = read_summary(page)
    assert summary is not None and summary.name == "clip.mp4"
