"""The index of a folder of results: what stands in it, what is made again, how it works in a browser from the disk."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from batches import FRAMES, batch, make_archive, work_here
from browser import Opened, chromium, open_page
from made import make_checkpoint
from made_results import make_record, make_report_page, make_thumbnail

from vidsal import index
from vidsal.cli import main
from vidsal.errors import DecodeError, EncodeError, ExistsError, Stopped
from vidsal.index import INDEX_NAME, THUMBNAILS, Account, Entry, index_page, make_index
from vidsal.pipe.record import is_result
from vidsal.report import read_summary

pytestmark = pytest.mark.timeout(900)


def shown(folder: Path) -> dict[str, dict[str, Any]]:
    """What the page holds, by name, read as a browser reads it."""
    text = (folder / INDEX_NAME).read_text(encoding="utf-8")
    (block,) = re.findall(r'<script type="application/json" id="videos-data">(.*?)</script>', text, re.DOTALL)
    data = json.loads(block)
    return {row[0]: dict(zip(data["columns"], row, strict=True)) for row in data["videos"]}


def account(name: str, state: str = "done", note: str = "", *, tags: Any = None, listed: bool = True) -> Account:
    seconds, frames = (None, None) if state == "failed" else (2.0, 50)
    return Account(name, state, note, seconds, frames, tags or {}, listed)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three videos in two folders, one of them without a report."""
    make_report_page(make_record(tmp_path, "mon/a"), shots=3, attention_strength=4.5, length_seconds=61.0)
    make_report_page(make_record(tmp_path, "mon/b", counts={"frames": 10, "lost_frames": 2}, messages=["2 are lost"]))
    make_record(tmp_path, "c")
    return tmp_path


# What stands in it.


def test_every_video_stands_in_it_with_what_its_report_says(folder: Path) -> None:
    report = make_index(folder)
    assert report.path == folder / INDEX_NAME and len(report.entries) == report.looked_at == 3
    videos = shown(folder)
    a = videos["a.mp4"]
    assert (a["folder"], a["report"], a["state"]) == ("mon", "mon/a.vidsal.html", "done")
    assert (a["shots"], a["strength"], a["seconds"], a["width"], a["height"]) == (3, 4.5, 61, 160, 90)
    assert (folder / a["thumbnail"]).read_bytes() == make_thumbnail("a.mp4")
    assert (videos["b.mp4"]["state"], videos["b.mp4"]["note"]) == ("damaged", "2 are lost")
    # Of a video without a report its record says a little.
    assert (videos["c.mp4"]["report"], videos["c.mp4"]["thumbnail"], videos["c.mp4"]["frames"]) == ("", "", 50)


def test_the_account_of_a_batch_says_what_failed_and_brings_tags(folder: Path) -> None:
    accounts = {
        "mon/a": account("a.mp4", tags={"camera": "north", "take": "2"}),
        "mon/b": account("b.mp4", "waiting", listed=False, tags={"camera": "south"}),
        "no": account("no.mp4", "failed", "not decodable: no video"),
        "gone": account("gone.mp4", "waiting", listed=False),
    }
    make_index(folder, accounts=accounts)
    videos = shown(folder)
    assert videos["a.mp4"]["tags"] == {"camera": "north", "take": "2"}
    assert (videos["no.mp4"]["state"], videos["no.mp4"]["note"]) == ("failed", "not decodable: no video")
    # Results of an input that the last command left out are still there; without results it is nothing.
    assert videos["b.mp4"]["state"] == "damaged" and "gone.mp4" not in videos
    # No more so when the account is gone: what it said is not taken for what the results say.
    make_index(folder)
    assert shown(folder)["a.mp4"]["tags"] == {} and "no.mp4" not in shown(folder)


def test_a_run_that_was_killed_while_it_named_its_results_is_not_shown_as_done(tmp_path: Path) -> None:
    make_record(tmp_path, "a", status="unfinished")
    make_index(tmp_path)
    assert shown(tmp_path)["a.mp4"]["state"] == "unfinished"


def test_names_cannot_end_the_data_nor_leave_an_address(tmp_path: Path) -> None:
    name = "</script><img src=x onerror=alert(1)>#100% ?é" if os.name != "nt" else "a#b% é"
    place = name.replace("/", "_")
    make_report_page(make_record(tmp_path, place))
    make_index(tmp_path)
    text = (tmp_path / INDEX_NAME).read_text()
    assert "<img src=x" not in text
    (video,) = shown(tmp_path).values()
    assert video["report"].endswith(".vidsal.html") and not re.search(r"[<>#? ]|%(?![0-9A-F]{2})", video["report"])


def test_the_index_is_known_as_a_result_and_taken_for_no_report(folder: Path) -> None:
    make_report_page(make_record(folder, "index"))
    report = make_index(folder)
    assert is_result(report.path)
    assert make_index(folder).looked_at == 0 and "all.mp4" not in shown(folder)


# What is made again.


def test_what_has_not_changed_is_not_looked_at_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_index(folder)
    seen: list[Path] = []
    read = index.read_summary
    monkeypatch.setattr(index, "read_summary", lambda page: seen.append(page) or read(page))
    again = make_index(folder)
    assert (again.entries, again.looked_at, seen) == (first.entries, 0, [])
    page = make_report_page(folder / "mon/a.vidsal.json", shots=7)
    os.utime(page, ns=(1, 1))
    assert make_index(folder).looked_at == 1 and seen == [page]
    assert shown(folder)["a.mp4"]["shots"] == 7


def test_a_thumbnail_that_is_gone_is_made_again_and_one_of_a_removed_video_removed(folder: Path) -> None:
    make_index(folder)
    videos = shown(folder)
    (folder / videos["a.mp4"]["thumbnail"]).unlink()
    (folder / "mon" / "b.vidsal.json").unlink()
    (folder / THUMBNAILS / "of a person.jpg").write_bytes(b"mine")
    assert make_index(folder).looked_at == 1
    there = {path.name for path in (folder / THUMBNAILS).iterdir()}
    assert there == {Path(videos["a.mp4"]["thumbnail"]).name, "of a person.jpg"}


def test_reports_that_are_missing_or_older_than_their_results_are_made(folder: Path) -> None:
    asked: list[str] = []

    def make(record: Path) -> None:
        asked.append(record.name)
        make_report_page(record)

    os.utime(folder / "mon" / "a.vidsal.html", ns=(1, 1))
    report = make_index(folder, make_report=make)
    assert sorted(asked) == ["a.vidsal.json", "c.vidsal.json"]
    assert sorted(path.name for path in report.reports) == ["a.vidsal.html", "c.vidsal.html"]
    assert shown(folder)["c.mp4"]["report"] == "c.vidsal.html" and shown(folder)["c.mp4"]["thumbnail"]
    make_index(folder, make_report=make)
    assert len(asked) == 2


def test_a_report_that_cannot_be_made_costs_no_other_video_anything(folder: Path) -> None:
    def make(record: Path) -> None:
        raise DecodeError("the table is gone")

    report = make_index(folder, make_report=make)
    assert report.failures == (("c", "the table is gone"),) and len(shown(folder)) == 3


def test_an_end_that_is_asked_for_leaves_the_index_as_it_was(folder: Path) -> None:
    page = make_index(folder).path
    before = page.read_bytes()
    make_record(folder, "d")
    with pytest.raises(Stopped):
        make_index(folder, should_stop=lambda: True)
    assert page.read_bytes() == before


# What is refused.


def test_a_file_that_vidsal_did_not_make_is_not_replaced(folder: Path) -> None:
    (folder / INDEX_NAME).write_text("<h1>mine</h1>")
    with pytest.raises(ExistsError, match="no index of vidsal"):
        make_index(folder)
    assert (folder / INDEX_NAME).read_text() == "<h1>mine</h1>"


def test_a_folder_without_results_is_an_error_unless_that_is_expected(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="holds no results"):
        make_index(tmp_path)
    assert make_index(tmp_path, empty=True).entries == () and not list(tmp_path.iterdir())


def test_more_videos_than_a_page_can_hold_are_refused_with_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "MOST_VIDEOS", 2)
    with pytest.raises(EncodeError, match=r"more than 2 videos.*make one of each folder in it, such as .*mon"):
        make_index(folder)


def test_hidden_folders_and_links_to_others_are_left_out(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    make_record(folder, ".hidden/x")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    make_record(elsewhere, "y")
    (folder / "link").symlink_to(elsewhere, target_is_directory=True)
    assert {entry.name for entry in make_index(folder).entries} == {"a.mp4", "b.mp4", "c.mp4"}


# With results that were really made.


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch with reports: three clips in two folders, and one file that is none."""
    model = make_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors")
    archive = make_archive(tmp_path_factory.mktemp("archive"))
    output = tmp_path_factory.mktemp("batched")
    with pytest.MonkeyPatch.context() as patch:
        work_here(patch)
        assert batch(archive, "-o", output, "-m", model, "--report", "--no-dataset", "-q") == 3
    return output


def test_a_batch_with_reports_ends_with_an_index_of_them(batched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = {(video["folder"], name): video for name, video in shown(batched).items() if name != "a.mp4"}
    text = (batched / INDEX_NAME).read_text()
    assert text.count(".vidsal.html") == 3 and text.count(f"{THUMBNAILS}/") == 3
    b, broken = videos["mon", "b.mp4"], videos["tue", "broken.mp4"]
    assert (b["state"], b["report"], b["shots"], b["frames"]) == ("done", "mon/b.vidsal.html", 1, FRAMES)
    assert cv2.imdecode(np.fromfile(batched / b["thumbnail"], np.uint8), cv2.IMREAD_COLOR) is not None
    assert broken["state"] == "failed" and broken["note"].startswith("not decodable: broken.mp4 is not a video")
    assert broken["report"] == broken["thumbnail"] == "" and broken["seconds"] is None
    # What the index is made of is no result that no input has.
    assert batch("verify", batched) == 0
    assert INDEX_NAME not in capsys.readouterr().out


def test_the_command_makes_what_is_missing_of_a_folder(
    batched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(batched, tmp_path / "copy"))
    assert main(["report", str(folder)]) == 0
    # The reports that the runs wrote are as new as the results.
    assert capsys.readouterr().out.splitlines() == [str(folder / INDEX_NAME)]
    (folder / "mon" / "a.vidsal.html").unlink()
    later = (folder / "tue" / "a.vidsal.html").stat().st_mtime_ns + 10**9
    (folder / "tue" / "a.vidsal.html").write_text("of an older run")
    os.utime(folder / "tue" / "a.vidsal.json", ns=(later, later))
    assert main(["report", str(folder), "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(one["page"]).relative_to(folder).as_posix() for one in told] == [
        *("mon/a.vidsal.html", "tue/a.vidsal.html", INDEX_NAME)
    ]
    assert told[-1]["videos"] == 4 and read_summary(folder / "tue" / "a.vidsal.html") is not None
    assert main(["report", str(tmp_path / "missing")]) == 1 and not (tmp_path / "missing").exists()


# In a browser, from the disk.


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page; what the browser complains about fails the test at its end."""
    with ExitStack() as stack:
        opened: list[Opened] = []

        def show_one(page: Path, **settings: Any) -> Any:
            opened.append(stack.enter_context(open_page(browser, page, **settings)))
            return opened[-1].page

        yield show_one
        assert not [said for one in opened for said in one.said]


def names(tab: Any) -> list[str]:
    return tab.locator("#videos h3").all_inner_texts()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """130 videos, so three pages of them, some failed, with tags."""
    folder = tmp_path_factory.mktemp("many")
    accounts = {}
    for number in range(130):
        place = f"tape-{number % 2}/clip-{number}"
        if number % 10:
            record = make_record(folder, place)
            make_report_page(record, length_seconds=200.0 - number, shots=number, attention_strength=number / 20)
        state = ("done", "") if number % 10 else ("failed", "not decodable: Straße")
        accounts[place] = account(f"clip-{number}.mp4", *state, tags={"camera": str(number % 3)})
    make_index(folder, accounts=accounts)
    return folder


def test_search_sorting_filter_and_pages_work_from_the_disk(many: Path, show: Callable[..., Any]) -> None:
    tab = show(many / INDEX_NAME)
    # Names in the order of people: 2 before 10.
    assert names(tab)[:3] == ["clip-0.mp4", "clip-1.mp4", "clip-2.mp4"] and len(names(tab)) == 60
    assert tab.locator("#count").inner_text() == "130 videos, 1 to 60 on this page"
    tab.get_by_role("button", name="Next").click()
    assert names(tab)[0] == "clip-60.mp4" and tab.locator("#page").input_value() == "2"
    # All words have to be found, in name, folder, tags or reason, without marks and case.
    tab.keyboard.press("/")
    tab.keyboard.type("TAPE-1 clip-12")
    assert names(tab) == ["clip-121.mp4", "clip-123.mp4", "clip-125.mp4", "clip-127.mp4", "clip-129.mp4"]
    tab.keyboard.press("Escape")
    assert len(names(tab)) == 60
    tab.get_by_label("Search").fill("camera=2 decodable")
    assert names(tab) == ["clip-20.mp4", "clip-50.mp4", "clip-80.mp4", "clip-110.mp4"]
    tab.get_by_label("Search").fill("")
    # What is not known stands last, whichever way.
    tab.get_by_label("Sort by").select_option("length")
    assert names(tab)[0] == "clip-1.mp4"
    tab.get_by_role("button", name="order: descending").click()
    assert names(tab)[0] == "clip-129.mp4"
    tab.get_by_label("Sort by").select_option("shots")
    assert names(tab)[0] == "clip-129.mp4"
    tab.locator("#page").fill("3")
    tab.locator("#page").press("Enter")
    assert len(names(tab)) == 10 and names(tab)[-1].startswith("clip-") and tab.locator(".no-picture").count() == 10
    tab.get_by_label(re.compile("failed")).uncheck()
    assert tab.locator("#count").inner_text().startswith("117 of 130 videos")
    # It all stands in the address: the way back from a report leads to the same list.
    before, address = names(tab), tab.url
    tab.locator("#videos a").first.click()
    tab.wait_for_url("**/*.vidsal.html")
    assert tab.locator("h1").inner_text().startswith("clip-")
    tab.go_back()
    tab.wait_for_selector("#videos li")
    assert tab.url == address and names(tab) == before


def test_thumbnails_are_loaded_as_they_come_into_sight(many: Path, show: Callable[..., Any]) -> None:
    tab = show(many / INDEX_NAME, viewport={"width": 400, "height": 700})
    loaded = "[...document.images].filter((image) => image.complete && image.naturalWidth === 160).length"
    tab.wait_for_function(f"() => {loaded} > 0")
    assert tab.locator("#videos img").count() == 54
    # A phone shows all of a line.
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    tab.locator("#videos li").last.scroll_into_view_if_needed()
    tab.wait_for_function("() => [...document.images].at(-1).naturalWidth === 160")


def test_it_can_be_used_with_the_keyboard_and_says_what_it_shows(many: Path, show: Callable[..., Any]) -> None:
    tab = show(many / INDEX_NAME, color_scheme="dark")
    reached = []
    for _ in range(9):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert reached[:3] == ["search", "sort", "order"] and "clip-1.mp4" in reached
    tab.locator("#videos a").first.focus()
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/clip-1.vidsal.html")
    tab.go_back()
    # Every field, button and link has a name, and the number of videos is told as it changes.
    assert tab.locator("#count").get_attribute("role") == "status"
    unnamed = """[...document.querySelectorAll("input, select, button, a")].filter((one) => one.checkVisibility()
        && !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length)).length"""
    assert tab.evaluate(unnamed) == 0


@pytest.mark.slow
def test_it_stays_quick_with_five_thousand_videos(tmp_path: Path, browser: Any) -> None:
    for number in range(7):
        (tmp_path / f"{number}.jpg").write_bytes(make_thumbnail(str(number)))
    entries = []
    for number in range(5000):
        thumbnail = f"{number % 7}.jpg"
        one = Entry(
            name=f"harbour-{number}.mp4",
            stem=f"harbour-{number}",
            folder=f"tape-{number // 500}",
            report=f"harbour-{number}.vidsal.html",
            thumbnail=thumbnail,
            state="failed" if number % 50 == 49 else "done",
            note="it is not a video" if number % 50 == 49 else "",
            seconds=2.0 + number % 613,
            frames=25 * (2 + number % 613),
            width=160,
            height=90,
            shots=1 + number % 37,
            strength=1 + number % 97 / 20,
            made=1_700_000_000 + number,
            tags={"camera": str(number % 7)},
            own_state="done",
            own_note="",
            key=str(number),
        )
        entries.append(one)
    page = tmp_path / INDEX_NAME
    page.write_text(index_page(entries, title="many"), encoding="utf-8", newline="")
    found = importlib.import_module("index_page").measure_in(browser, page)
    # Ten times what was measured on two loaded cores; a list of all of them takes seconds for each.
    assert found["load_seconds"] < 15
    assert sorted(found["keystroke_seconds"])[len(found["keystroke_seconds"]) // 2] < 0.5
    assert found["elements"] < 3000
