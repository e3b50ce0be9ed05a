"""How quick the index of many videos is in a browser: made results in, times of load, search and sorting out.

    python studies/index_page.py [--videos 5000] [--folder FOLDER]

Needs Playwright and a Chromium. Nothing of it is fetched: the results are made here.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from made_results import make_record, make_report_page

from vidsal.index import Account, make_index

WORDS = ("harbour", "street", "market", "river", "stadium", "studio", "forest", "station", "bridge", "kitchen")


def make_results(folder: Path, videos: int) -> dict[str, Account]:
    """Records and reports of so many videos, in folders of 500; what a batch would say of them."""
    accounts = {}
    for number in range(videos):
        place = f"tape-{number // 500:02}/{WORDS[number % 10]}-{number:05}"
        failed, length, shots = number % 50 == 49, 2.0 + number % 613, 1 + number % 37
        if not failed:
            values = {"length_seconds": length, "frames": round(25 * length), "shots": shots}
            make_report_page(make_record(folder, place), attention_strength=1 + number % 97 / 20, **values)
        state = ("failed", "not decodable: it is not a video") if failed else ("done", "")
        tags = {"camera": str(number % 7)}
        accounts[place] = Account(f"{Path(place).name}.mp4", *state, length, round(25 * length), tags)
    return accounts


def measure(page: Path) -> dict[str, Any]:
    """As `measure_in`, in a browser of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            return measure_in(browser, page)
        finally:
            browser.close()


def measure_in(browser: Any, page: Path) -> dict[str, Any]:
    """Seconds until the list stands, and of what a person does with it; heap in MB."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    begin = time.perf_counter()
    tab.goto(page.as_uri())
    tab.wait_for_selector("#videos li img")
    load = time.perf_counter() - begin
    # In the page, from the event until the list stands: what a keystroke costs.
    measured = tab.evaluate(
        """() => {
            const field = document.getElementById("search"), sort = document.getElementById("sort");
            const timed = (work) => { const begin = performance.now(); work(); document.body.offsetHeight;
                return performance.now() - begin; };
            const keys = [];
            for (const text of ["h", "ha", "har", "harb", "harbour", "harbour 3", "harbour 33", "", "zzz", ""])
                keys.push(timed(() => { field.value = text; field.dispatchEvent(new Event("input")); }));
            const sorts = ["length", "shots", "strength", "state", "name"].map((key) =>
                timed(() => { sort.value = key; sort.dispatchEvent(new Event("change")); }));
            return { keys, sorts, elements: document.querySelectorAll("*").length,
                heap: performance.memory?.usedJSHeapSize ?? 0 };
        }"""
    )
    tab.close()
    return {
        "load_seconds": load,
        "keystroke_seconds": [ms / 1000 for ms in measured["keys"]],
        "sort_seconds": [ms / 1000 for ms in measured["sorts"]],
        "elements": measured["elements"],
        "heap_mb": measured["heap"] / 1e6,
        "chromium": browser.version,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=5000)
    parser.add_argument("--folder", type=Path, help="where the results are made and stay; else a temporary folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        accounts = make_results(folder, given.videos)
        begin = time.perf_counter()
        made = make_index(folder, accounts=accounts)
        first = time.perf_counter() - begin
        begin = time.perf_counter()
        again = make_index(folder, accounts=accounts)
        second = time.perf_counter() - begin
        found = measure(made.path)
        numbers = {
            "videos": len(made.entries),
            "made_seconds": first,
            "made_again_seconds": second,
            "looked_at_again": again.looked_at,
            "page_mb": made.path.stat().st_size / 1e6,
            "machine": f"{platform.machine()}, {platform.system()}",
            **found,
        }
    print(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
