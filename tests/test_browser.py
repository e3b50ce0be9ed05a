"""The browser of the tests: whatever a page does, neither it nor its driver outlives the test."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from browser import chromium, open_page

FLOOD = """<script>
for (let n = 0; n < 50; n += 1) console.log(n);
setTimeout(() => { for (;;); }, 0);
</script>"""


def of_browsers() -> set[int]:
    """Processes of a driver or a browser that this one has started."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            if any("playwright" in part or "chrom" in part for part in process.cmdline()[:2]):
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


def test_a_page_that_never_lets_go_is_ended_with_its_browser_and_driver(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(FLOOD)
    with chromium() as browser:
        assert of_browsers() and browser.is_connected()
    with (
        pytest.raises(BaseException, match=r"(?i)closed|connection|killed|did not end|crash"),
        chromium(limit_seconds=3.0) as browser,
        open_page(browser, tmp_path / "a.html") as opened,
    ):
        opened.page.get_by_text("what is not there").wait_for()
    assert not of_browsers()


def test_a_failing_test_leaves_no_browser(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<h1>here</h1>")
    with (
        pytest.raises(ZeroDivisionError),
        chromium() as browser,
        open_page(browser, tmp_path / "a.html"),
    ):
        raise ZeroDivisionError
    assert not of_browsers()
