"""The report of one video in a browser, from a file: what it shows, where it goes, what it lets in."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from browser import Opened, chromium, open_page, picture_of
from made import make_model
from media import make_video, numbered_picture, read_number

from vidsal import run
from vidsal.pipe.options import OutputOptions, RunOptions
from vidsal.stages import RenderOptions

pytestmark = pytest.mark.timeout(900)

FRAMES = 48
CUTS = (0, 16, 30)
SIZE = 96, 64
# A rate that varies, and a first picture after the first sound: on the player's clock it is not 0.
TICKS = [36_000 + 3000 * i + 1200 * max(0, i - 20) for i in range(FRAMES)]
SECONDS = [(ticks - TICKS[0]) / 90_000 for ticks in TICKS]


def numbered_shots(i: int) -> Any:
    """The ordinal in the lower bits, and cells that change at cuts in the higher ones."""
    shot = sum(i >= cut for cut in CUTS) - 1
    return numbered_picture(*SIZE)(i | (0b111111_00000000 << 4 if shot == 1 else 0))


def number_in(picture: Any) -> int:
    return read_number(picture) & 0b111111


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip and its results; the heat has no colour, so that both videos can be read."""
    folder = tmp_path_factory.mktemp("a folder #1")
    options = {"use_editlist": "1", "avoid_negative_ts": "disabled"}
    clip = make_video(
        folder / NAME,
        frames=FRAMES,
        width=SIZE[0],
        height=SIZE[1],
        pts=TICKS,
        picture=numbered_shots,
        audio_tracks=1,
        bframes=2,
        container_options=options,
    )
    wanted = OutputOptions(report=True, export=("shots",))
    run(clip, options=RunOptions(output=wanted, render=RenderOptions(opacity=0.0, legend="off")), model=make_model())
    return folder


NAME = "<img src=x onerror=alert(1)> & 50%.mp4" if os.name != "nt" else "a & 50%.mp4"


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    (page,) = folder.glob("*.vidsal.html")
    return page


@pytest.fixture
def show(browser: Any, page: Path) -> Iterator[Callable[..., Opened]]:
    """Opens the report; anything on the console, and anything but files that are asked for, fails the test."""
    opened: list[tuple[Any, Opened]] = []

    def go(path: Path = page, **context: Any) -> Opened:
        manager = open_page(browser, path, **context)
        one = manager.__enter__()
        opened.append((manager, one))
        one.page.wait_for_selector("html[data-ready=true]")
        return one

    yield go
    for manager, one in opened:
        asked = {address.partition(":")[0] for address in one.asked}
        manager.__exit__(None, None, None)
        assert not one.said and asked <= {"file", "data"}


def frame_of(page: Any) -> int:
    return int(page.locator("#place").get_attribute("data-frame"))


def shown_number(page: Any, name: str = "") -> int:
    """What the seen video shows, when it has got there."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('video')].every((v) => !v.seeking && v.readyState >= 2)"
    )
    # The picture comes to the screen with the next one that the browser paints.
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return number_in(picture_of(page.locator("video:not(.away)")))


def wait_for_number(page: Any, number: int) -> None:
    end = time.monotonic() + 60
    while (found := shown_number(page)) != number:
        assert time.monotonic() < end, f"frame {found} is seen, not {number}"


def wait_until_stopped(page: Any) -> None:
    """Until the number that the page has is that of the picture; it takes note of a stop a moment later."""
    page.wait_for_function("() => document.querySelector('video:not(.away)').paused")
    end = time.monotonic() + 60
    while (found := shown_number(page)) != (said := frame_of(page)):
        assert time.monotonic() < end, f"frame {found} is seen, and {said} said"


def is_at(page: Any, number: int) -> bool:
    """Whether the player's clock stands in the time in which a frame is shown."""
    offset = TICKS[0] / 90_000
    seconds = page.evaluate("() => document.querySelector('video:not(.away)').currentTime") - offset
    after = SECONDS[number + 1] if number + 1 < FRAMES else SECONDS[number] + 1
    return SECONDS[number] < seconds < after


def shots_in(folder: Path) -> list[dict[str, str]]:
    (path,) = folder.glob("*.shots.csv")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_clip_has_the_shots_that_it_was_made_of(folder: Path) -> None:
    assert [int(shot["first_index"]) for shot in shots_in(folder)] == list(CUTS)


def test_it_opens_without_a_word_and_names_the_input_as_it_is(show: Callable[..., Opened]) -> None:
    page = show().page
    assert page.locator("h1").inner_text() == NAME and NAME in page.title()
    assert page.locator("h1 *").count() == 0
    assert "3 shots" in page.locator("header p").inner_text()
    wait_for_number(page, 0)
    assert is_at(page, 0)


@pytest.fixture(scope="module")
def length(folder: Path) -> float:
    """How long the clip is, by its file: shorter than its last frame would be shown by the mean step."""
    with av.open(str(folder / NAME)) as container:
        video = container.streams.video[0]
        found = float(video.duration * video.time_base)
    assert SECONDS[-1] < found < SECONDS[-1] * FRAMES / (FRAMES - 1)
    return found


@pytest.mark.parametrize("view", ["heat", "plain"])
def test_a_click_on_the_timeline_lands_on_the_frame(show: Callable[..., Opened], view: str, length: float) -> None:
    page = show().page
    page.click(f"#view-{view}")
    page.wait_for_selector(f"#view-{view}[aria-checked=true]")
    box = page.locator("#timeline").bounding_box()
    for number in (5, 15, 16, 29, 30, 41, 47):
        middle = SECONDS[number] + 0.01
        page.mouse.click(box["x"] + box["width"] * middle / length, box["y"] + 20)
        assert frame_of(page) == number
        wait_for_number(page, number)
        assert is_at(page, number)


TEXTS_OF_CANVAS = """
window.drawn = [];
const draw = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  const wide = this.measureText(text).width / devicePixelRatio;
  window.drawn.push([String(text), x / devicePixelRatio, this.canvas.clientWidth, wide]);
  return draw.call(this, text, x, y);
};
"""


@pytest.mark.parametrize("width", [420, 1000, 1700])
def test_marks_of_time_stand_at_their_times_and_none_is_cut(
    browser: Any, page: Path, length: float, width: int
) -> None:
    with open_page(browser, page, script=TEXTS_OF_CANVAS, viewport={"width": width, "height": 900}) as opened:
        opened.page.locator("#curves canvas").nth(2).wait_for()
        drawn = [one for one in opened.page.evaluate("window.drawn") if ":" in one[0]]
    left, right = (40, 6) if width < 600 else (48, 12)
    assert len(drawn) >= 3
    for text, x, canvas, wide in drawn:
        seconds = 60 * int(text.partition(":")[0]) + float(text.partition(":")[2])
        assert x == pytest.approx(left + (canvas - left - right) * seconds / length, abs=1.5), text
        assert x + wide / 2 <= canvas + 1, text


def test_a_click_on_a_curve_lands_on_the_frame_and_a_drag_zooms(show: Callable[..., Opened], length: float) -> None:
    page = show().page
    assert page.locator("#curves .u-over").count() == 3
    for place, number in ((0, 7), (1, 22), (2, 40)):
        over = page.locator("#curves .u-over").nth(place)
        over.scroll_into_view_if_needed()
        box = over.bounding_box()
        page.mouse.click(box["x"] + box["width"] * (SECONDS[number] + 0.01) / length, box["y"] + 30)
        assert frame_of(page) == number
        wait_for_number(page, number)
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 30, steps=4)
    page.mouse.up()
    assert frame_of(page) == 40, "a drag does not go anywhere"
    page.click("#timeline", position={"x": 1, "y": 20})
    found = SECONDS[frame_of(page)]
    assert found == pytest.approx(length / 2, abs=0.07)
    page.click("#zoom-all")
    page.click("#timeline", position={"x": 1, "y": 20})
    assert frame_of(page) == 0


def test_the_table_goes_to_shots_and_key_frames(show: Callable[..., Opened], folder: Path) -> None:
    page = show().page
    shots = shots_in(folder)
    for place, shot in enumerate(shots):
        row = page.locator("#table tbody tr").nth(place)
        row.locator(".go").click()
        wait_for_number(page, int(shot["first_index"]))
        assert row.get_attribute("aria-current") == "true"
        assert page.locator("#this-title").inner_text() == f"Shot {shot['shot']}"
        row.locator(".picture").first.click()
        wait_for_number(page, int(shot["key_index"]))
        assert page.locator("#table tr[aria-current]").count() == 1
    # The small pictures are those of the key frames.
    for place, shot in enumerate(shots):
        for picture in page.locator("#table tbody tr").nth(place).locator("img").all():
            assert number_in(picture_of(picture)) == int(shot["key_index"])
    page.locator("#table tbody tr").nth(1).locator("td.number").first.click()
    assert frame_of(page) == CUTS[1]


def test_the_numbers_are_those_of_the_shot_list_and_sort(show: Callable[..., Opened], folder: Path) -> None:
    page = show().page
    heads = page.locator("#table thead th[data-name]")
    names = [heads.nth(place).get_attribute("data-name") for place in range(heads.count())]
    assert {"start_seconds", "max_peak_density", "attention_strength"} <= {*names}

    def rows() -> list[list[float]]:
        found = page.locator("#table tbody tr").all()
        return [
            [float(cell.get_attribute("data-value")) for cell in row.locator("[data-value]").all()] for row in found
        ]

    exact = [[float(shot[name]) for name in names[1:]] for shot in shots_in(folder)]
    assert rows() == exact
    assert heads.nth(0).get_attribute("aria-sort") == "ascending"
    for name in ("max_peak_density", "frames"):
        place = names.index(name) - 1
        head = page.locator(f"#table th[data-name={name}]")
        for way, sort in ((-1, "descending"), (1, "ascending")):
            head.get_by_role("button").click()
            assert head.get_attribute("aria-sort") == sort and page.locator("#table th[aria-sort]").count() == 1
            assert rows() == sorted(exact, key=lambda row, way=way, place=place: (way * row[place], row[0]))


def test_the_other_picture_shows_the_same_frame(show: Callable[..., Opened]) -> None:
    page = show().page
    for number in (3, 31):
        page.locator("#table .go").nth(0 if number == 3 else 2).click()
        for _ in range(number - (0 if number == 3 else 30)):
            page.keyboard.press("ArrowRight")
        wait_for_number(page, number)
        before = page.evaluate("() => document.querySelector('video:not(.away)').src")
        page.keyboard.press("h")
        page.wait_for_function("(src) => document.querySelector('video:not(.away)').src != src", arg=before)
        wait_for_number(page, number)
        assert is_at(page, number) and frame_of(page) == number


def test_it_goes_on_playing_in_the_other_picture(show: Callable[..., Opened]) -> None:
    page = show().page
    page.select_option("#rate", "0.25")
    page.click("#play")
    page.wait_for_function("() => Number(document.querySelector('#place').dataset.frame) > 2")
    heat = page.evaluate("() => document.querySelector('video:not(.away)').src")
    page.click("#view-plain")
    page.wait_for_function("(src) => document.querySelector('video:not(.away)').src != src", arg=heat)
    page.wait_for_function("() => !document.querySelector('video:not(.away)').paused")
    assert page.evaluate(
        "() => document.querySelector('video.away').paused && document.querySelector('video.away').muted"
    )
    assert page.evaluate("() => document.querySelector('video:not(.away)').playbackRate") == 0.25
    assert frame_of(page) >= 2
    page.click("#play")
    wait_until_stopped(page)


def test_the_keys_do_what_the_help_says(show: Callable[..., Opened]) -> None:
    page = show().page

    def after(*keys: str) -> int:
        for key in keys:
            page.keyboard.press(key)
        return frame_of(page)

    assert after("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft") == 2
    assert after("Shift+ArrowRight") == 16 and after("Shift+ArrowRight") == 30
    assert after("ArrowRight", "Shift+ArrowLeft") == 30, "the beginning of this shot comes first"
    assert after("Shift+ArrowLeft") == 16
    page.locator("#timeline").focus()
    assert after("End") == 47 and after("ArrowRight") == 47
    assert after("Home") == 0 and after("PageDown") == 16 and after("PageUp") == 0
    assert after("k") == int(
        page.evaluate("() => JSON.parse(document.getElementById('data').textContent).shots[0].key_index")
    )
    assert page.locator("#timeline").get_attribute("aria-valuenow") == str(frame_of(page))
    assert "shot 0" in page.locator("#status").inner_text()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    before = frame_of(page)
    assert after("ArrowRight") == before, "behind the help nothing moves"
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    page.keyboard.press(" ")
    page.wait_for_selector("#play[aria-label=Pause]")
    page.keyboard.press(" ")
    page.wait_for_selector("#play[aria-label=Play]")


def test_everything_can_be_reached_and_has_a_name(show: Callable[..., Opened]) -> None:
    page = show().page
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, a, [role=slider], [role=img], video, img')].filter((one) => {
            const text = (one.getAttribute('aria-label') || one.innerText || one.alt || '').trim()
                || [...one.querySelectorAll('img')].map((image) => image.alt).join('');
            return one.checkVisibility() && !text && !one.labels?.length && !one.closest('[role=slider]');
        }).map((one) => one.outerHTML.slice(0, 120))"""
    )
    assert unnamed == []
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
                const one = document.activeElement;
                const style = getComputedStyle(one);
                const name = one.id || one.querySelector('img')?.alt || one.textContent.trim().slice(0, 20);
                return [name, style.outlineStyle, parseFloat(style.outlineWidth), one.tagName];
            }"""
        )
        if found[0] in ("", seen[0][0] if seen else None) or found[3] == "BODY":
            break
        seen.append(found)
    ids = {name for name, *_ in seen}
    assert {"view-heat", "play", "timeline", "zoom-in", "Shot 0", "Shot 2"} <= ids
    assert not [found for found in seen if found[1] == "none" or found[2] < 2]


def test_light_and_dark_fit_the_window_also_when_they_change(show: Callable[..., Opened]) -> None:
    page = show(color_scheme="light").page
    colour = "() => getComputedStyle(document.querySelector('#curves .c1')).color"
    light = page.evaluate(colour)
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 600})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")
            brightness = picture_of(page.locator("header")).mean()
            assert brightness > 200 if scheme == "light" else brightness < 60
            assert (page.evaluate(colour) == light) == (scheme == "light")
            # Drawn anew, in the width that there is.
            page.wait_for_function(
                "() => Math.abs(document.querySelector('.u-over').offsetWidth"
                " - document.querySelector('#timeline').offsetWidth) < 4"
            )
            assert picture_of(page.locator("#curves .plot").first).std() > 2, "something is drawn"


def test_a_script_that_is_not_of_the_page_does_not_run(browser: Any, page: Path) -> None:
    with open_page(browser, page) as opened:
        opened.page.wait_for_selector("html[data-ready=true]")
        opened.page.evaluate(
            """() => {
                const one = document.createElement('script');
                one.textContent = 'window.intruded = true';
                document.body.append(one);
                document.body.insertAdjacentHTML('beforeend', '<img src="x:" onerror="window.intruded = true">');
                document.body.append(Object.assign(new Image(), { src: 'https://192.0.2.1/x.png' }));
            }"""
        )
        assert opened.page.evaluate("() => window.intruded") is None
        assert sum("Content Security Policy" in text for text in opened.said) >= 2
        outside = [address for address in opened.asked if address.startswith("http")]
        assert len(outside) == 1 and outside[0] in opened.blocked


# What is not there.


@pytest.fixture
def without(tmp_path: Path) -> Callable[..., Path]:
    def go(suffix: str = ".mp4", **output: Any) -> Path:
        clip = make_video(tmp_path / f"clip{suffix}", frames=3, width=SIZE[0], height=SIZE[1])
        run(clip, options=RunOptions(output=OutputOptions(report=True, **output)), model=make_model())
        return tmp_path / "clip.vidsal.html"

    return go


def test_without_a_video_the_rest_is_shown(show: Callable[..., Opened], without: Callable[..., Path]) -> None:
    page = show(without(video=False)).page
    assert "No video with the heat was written" in page.locator("#view-notes").inner_text()
    assert (
        page.locator("#view-heat").is_disabled() and page.locator("#view-plain").get_attribute("aria-checked") == "true"
    )
    page.keyboard.press("ArrowRight")
    assert frame_of(page) == 1 and page.locator("#table tbody tr").count() == 1


def test_an_input_that_no_browser_plays_is_said(show: Callable[..., Opened], without: Callable[..., Path]) -> None:
    page = show(without(".avi")).page
    page.wait_for_selector("#view-notes li")
    assert "clip.avi" in page.locator("#view-notes").inner_text()
    assert page.locator("#view-plain").is_disabled() and not page.locator("#view-heat").is_disabled()


def test_without_any_video_numbers_and_curves_work(browser: Any, without: Callable[..., Path]) -> None:
    path = without(video=False)
    path.with_name("clip.mp4").unlink()
    with open_page(browser, path) as opened:
        opened.page.wait_for_selector("#view-notes li:nth-child(2)")
        assert "clip.mp4 is not where it was" in opened.page.locator("#view-notes").inner_text()
        opened.page.keyboard.press("ArrowRight")
        assert frame_of(opened.page) == 1 and opened.page.locator("#play").is_disabled()


def test_a_picture_has_a_page_too(show: Callable[..., Opened], tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "still.png"
    cv2.imwrite(str(path), numbered_picture(*SIZE)(37))
    options = RunOptions(output=OutputOptions(report=True), render=RenderOptions(opacity=0.0, legend="off"))
    run(path, options=options, model=make_model())
    page = show(tmp_path / "still.vidsal.html").page
    for view in ("heat", "plain"):
        page.click(f"#view-{view}")
        page.wait_for_function("() => document.querySelector('.stage img:not(.away)').complete")
        assert number_in(picture_of(page.locator(".stage img:not(.away)"))) == 37
    assert not page.locator("#timeline").is_visible() and not page.locator("#transport").is_visible()
    assert "uniform" in page.locator("#this-shot").inner_text()
