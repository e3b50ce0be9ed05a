"""`vidsal serve` as programs and people meet it: requests sent by hand, and a browser in which a clip is dropped."""

from __future__ import annotations

import http.client
import json
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from batches import InlineEngine
from browser import chromium, open_page
from made import LIGHT, make_checkpoint
from made_results import make_record, make_report_page
from media import make_video

from vidsal.batch.engines.contract import Engine
from vidsal.batch.work import Died, Ended, Event, Progress, Work
from vidsal.cli import main
from vidsal.errors import EncodeError
from vidsal.pipe.options import ModelOptions
from vidsal.serve import jobs
from vidsal.serve.options import ServeOptions, ServerOptions

pytest.importorskip("aiohttp", reason="the server is an extra: vidsal[serve]")

from vidsal.serve.server import serve

pytestmark = pytest.mark.timeout(900)

SECONDS = 240.0


def until(true: Callable[[], Any]) -> Any:
    """What is asked for, as soon as it is true."""
    end = time.monotonic() + SECONDS
    while not (found := true()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
    return found


class HeldEngine(Engine):
    """Begins works and says nothing more, until it is told how they end."""

    def __init__(self, *, begins: bool = True, ends: bool = True) -> None:
        self.begins = begins
        self.ends = ends
        self.looks = 0
        self.given: list[Work] = []
        self.said: deque[Event] = deque()
        self.killed: list[int] = []
        self.closed = False

    def room(self) -> int:
        return 1

    def submit(self, work: Work) -> None:
        self.given.append(work)
        if self.begins:
            self.said.append(Progress(work.id, 5, 20, 0.2, 0.8))

    def events(self, seconds: float) -> list[Event]:
        if not self.said:
            time.sleep(min(seconds, 0.01))
        self.looks += 1
        said = list(self.said)
        self.said.clear()
        return said

    def kill(self, id: int) -> None:
        if id not in self.killed:
            self.killed.append(id)
            self.said.append(Died((id,), "it was killed", id))

    def stop(self) -> None:
        if self.ends:
            self.said.append(Ended(self.given[-1].id, "interrupted", message="stopped"))

    def close(self) -> None:
        self.closed = True

    def describe(self) -> str:
        return "nobody"


@dataclass
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Served:
    """A server in a thread of its own."""

    folder: Path
    options: ServeOptions
    engine: Engine
    address: str = ""
    left: int | None = None
    ready: queue.Queue[Any] = field(default_factory=queue.Queue)
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.address = self.ready.get(timeout=SECONDS)
        if isinstance(self.address, BaseException):
            self._thread.join()
            raise self.address
        host, _, port = self.address.removeprefix("http://").partition("/")[0].rpartition(":")
        self.host, self.port = host, int(port)

    def _run(self) -> None:
        try:
            self.left = serve(
                self.folder,
                self.options,
                make_report=make_report_page,
                on_ready=self.ready.put,
                should_stop=self._stop.is_set,
                on_trouble=self.troubles.append,
                make_engine=lambda: self.engine,
            )
        except BaseException as error:  # noqa: BLE001 - raised again where the server is started
            self.ready.put(error)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def ask(self, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        """Send a request exactly as it is given."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS)
        try:
            connection.putrequest(method, target, skip_host="Host" in headers, skip_accept_encoding=True)
            if body is not None and "Content_Length" not in headers and "Transfer_Encoding" not in headers:
                headers["Content_Length"] = str(len(body))
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def send(self, name: str, content: bytes) -> Answer:
        return self.ask("POST", f"/-/uploads?name={name}", content)

    def uploads(self) -> list[dict[str, Any]]:
        """The list of uploads, as the page would be told it next."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS)
        try:
            connection.request("GET", "/-/events")
            answer = connection.getresponse()
            assert answer.readline() == b"event: uploads\n"
            listing: list[dict[str, Any]] = json.loads(answer.readline().removeprefix(b"data: "))
            return listing
        finally:
            connection.close()

    def states(self) -> dict[str, str]:
        return {upload["name"]: upload["state"] for upload in self.uploads()}


def options(**server: Any) -> ServeOptions:
    return ServeOptions(server=ServerOptions(**{"port": 0, "keep_free": 0.0, **server}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of one video, and much that is nobody's business."""
    inside = tmp_path / "results"
    make_report_page(make_record(inside, "mon/a"))
    (inside / "mon" / "a.vidsal.mp4").write_bytes(bytes(range(256)) * 4)
    (inside / "mon" / "a.mp4").write_bytes(b"the input")
    (inside / "notes.txt").write_text("private")
    (inside / ".hidden.mp4").write_text("hidden")
    (tmp_path / "secret.mp4").write_text("out")
    (inside / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    return inside


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Served]]:
    """Starts servers that are ended with the test."""
    begun: list[Served] = []

    def start_one(engine: Engine | None = None, model: str | None = None, **server: Any) -> Served:
        wanted = options(**server)
        if model is not None:
            wanted = ServeOptions(server=wanted.server, model=ModelOptions(model=model, device="cpu"))
        begun.append(Served(folder, wanted, engine or HeldEngine()))
        return begun[-1]

    yield start_one
    for served in begun:
        served.close()


# What is shown.


def test_pages_and_files_of_the_folder_are_served_and_nothing_else(folder: Path, start: Callable[..., Served]) -> None:
    served = start()
    page = served.ask("GET", "/")
    assert page.status == 200 and "a.mp4" in page.text and "Drop videos here" in page.text
    assert served.ask("GET", "/mon/a.vidsal.html").headers["content-type"] == "text/html; charset=utf-8"
    assert served.ask("GET", "/mon/a.mp4").body == b"the input"
    videos = json.loads(served.ask("GET", "/-/videos.json").body)
    assert [row[0] for row in videos["videos"]] == ["a.mp4"]
    thumbnail = dict(zip(videos["columns"], videos["videos"][0], strict=True))["thumbnail"]
    assert served.ask("GET", f"/{thumbnail}").headers["content-type"] == "image/jpeg"
    assert served.ask("GET", "/all.vidsal.index.html").headers["location"] == "/"
    for target in ("/notes.txt", "/.hidden.mp4", "/link.mp4", "/mon", "/mon/", "/no.vidsal.html", "/batch.csv"):
        assert served.ask("GET", target).status == 404, target


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/../secret.mp4",
            "/mon/../../secret.mp4",
            "/%2e%2e/secret.mp4",
            "/..%2fsecret.mp4",
            "/mon/..%2f..%2fsecret.mp4",
        ),
        *("/%2e%2e%2fsecret.mp4", "/..%5csecret.mp4", "/%252e%252e/secret.mp4", "//secret.mp4", "/link.mp4", "/%00"),
        *("/mon/a.mp4%00.vidsal.html", "/.%2fmon/a.mp4", "/../../../../../../etc/passwd", "http://x/../secret.mp4"),
    ],
)
def test_no_address_leads_out_of_the_folder(start: Callable[..., Served], target: str) -> None:
    answer = start().ask("GET", target)
    assert answer.status in (400, 403, 404) and b"out" not in answer.body.split(b" ") and b"root:" not in answer.body


def test_parts_of_a_video_are_served(start: Callable[..., Served]) -> None:
    served, whole = start(), bytes(range(256)) * 4
    everything = served.ask("GET", "/mon/a.vidsal.mp4")
    assert (everything.status, everything.body, everything.headers["accept-ranges"]) == (200, whole, "bytes")
    assert everything.headers["content-type"] == "video/mp4"
    for given, part in (
        ("0-9", slice(0, 10)),
        ("1000-", slice(1000, None)),
        ("-4", slice(-4, None)),
        ("5-99999", slice(5, None)),
    ):
        answer = served.ask("GET", "/mon/a.vidsal.mp4", Range=f"bytes={given}")
        begin, end, _ = part.indices(1024)
        assert (answer.status, answer.body) == (206, whole[part]), given
        assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/1024"
    beyond = served.ask("GET", "/mon/a.vidsal.mp4", Range="bytes=1024-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, "bytes */1024")
    several = served.ask("GET", "/mon/a.vidsal.mp4", Range="bytes=0-1,5-6")
    assert several.status in (200, 416)
    head = served.ask("HEAD", "/mon/a.vidsal.mp4")
    assert (head.status, head.headers["content-length"], head.body) == (200, "1024", b"")
    again = served.ask("GET", "/mon/a.vidsal.mp4", If_None_Match=everything.headers["etag"])
    assert (again.status, again.body) == (304, b"")


def test_a_report_that_is_missing_is_made_when_it_is_asked_for(folder: Path, start: Callable[..., Served]) -> None:
    served = start()
    make_record(folder, "tue/new")
    assert served.ask("GET", "/tue/new.vidsal.html").status == 200
    assert (folder / "tue" / "new.vidsal.html").is_file()


def test_every_answer_keeps_other_sites_out(start: Callable[..., Served]) -> None:
    served = start()
    for target in ("/", "/mon/a.vidsal.mp4", "/nothing"):
        headers = served.ask("GET", target).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin" and headers["server"] == "vidsal"
    assert "frame-ancestors 'none'" in served.ask("GET", "/").headers["content-security-policy"]


# Who may ask.


def test_another_name_of_the_host_and_another_site_are_refused(start: Callable[..., Served]) -> None:
    served = start(allow_hosts=("proxy.example",))
    content = {"Origin": "http://evil.example", "Content_Length": "3"}
    assert served.ask("GET", "/", Host="evil.example").status == 403
    assert "--allow-hosts" in served.ask("GET", "/", Host="evil.example").text
    assert served.ask("GET", "/", Host="proxy.example").status == 200
    assert served.ask("POST", "/-/uploads?name=a.mp4", b"abc", **content).status == 403
    assert served.ask("GET", "/mon/a.mp4", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
    own = {"Origin": f"http://127.0.0.1:{served.port}"}
    assert served.ask("POST", "/-/uploads?name=a.mp4", b"abc", **own).status == 201
    assert served.ask("DELETE", "/-/uploads/1", Origin="null").status == 403
    assert served.ask("DELETE", "/-/uploads/1", **own).status == 200


def test_a_server_that_others_can_reach_asks_for_its_token(start: Callable[..., Served]) -> None:
    served = start(host="0.0.0.0")
    served.host = "127.0.0.1"
    address, _, token = served.address.partition("?token=")
    assert address.endswith("/") and len(token) > 40
    for target in ("/", "/mon/a.mp4", "/-/videos.json", "/-/events", "/?token=wrong", f"/?token={token[:-1]}"):
        refused = served.ask("GET", target)
        assert refused.status == 401 and token not in refused.text and "a.mp4" not in refused.text, target
    assert "token" in served.ask("GET", "/").text
    assert served.ask("POST", f"/-/uploads?name=a.mp4&token={token}", b"abc").status == 401
    assert served.ask("GET", "/", Authorization=f"Bearer {token}").status == 200
    assert served.ask("GET", "/", Authorization=f"Basic {token}").status == 401
    # The token leaves the address at once, for a cookie that no script and no other site can use.
    moved = served.ask("GET", f"/mon/a.mp4?token={token}&x=1")
    assert (moved.status, moved.headers["location"]) == (303, "/mon/a.mp4?x=1")
    cookie = moved.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert served.ask("GET", "/mon/a.mp4", Cookie=cookie.partition(";")[0]).body == b"the input"
    assert served.ask("GET", "/", Cookie=cookie.partition("=")[0] + "=wrong").status == 401


def test_the_address_with_the_token_opens_the_page_in_a_browser(start: Callable[..., Served]) -> None:
    served = start(host="0.0.0.0")
    address = f"http://127.0.0.1:{served.port}/"
    with chromium() as browser, open_page(browser, address) as opened:
        opened.page.get_by_label("Token").fill("wrong")
        opened.page.get_by_role("button", name="Open").click()
        opened.page.wait_for_url("**/?token=wrong")
        assert opened.page.locator("h1").inner_text() == "A token is needed"
        opened.page.get_by_label("Token").fill(served.address.partition("?token=")[2])
        opened.page.get_by_role("button", name="Open").click()
        opened.page.locator("#videos h3", has_text="a.mp4").wait_for()
        # It is not in the address any more, and what the page asks for itself comes with the cookie.
        assert opened.page.url == address
        content = {"name": "b.mp4", "mimeType": "video/mp4", "buffer": b"abc"}
        opened.page.set_input_files("#file", [content])
        opened.page.get_by_text("25 %, 5 of 20 frames").wait_for()
        assert not [said for said in opened.said if "401" not in said]


BROKEN_EVENTS = """
window.waits = [];
window.EventSource = class extends EventTarget {
  constructor() {
    super();
    later(() => {
      if (BEGINS) this.dispatchEvent(new MessageEvent("uploads", { data: "[]" }));
      this.dispatchEvent(new Event("error"));
      this.dispatchEvent(new Event("error"));
    }, 0);
  }
  close() {}
};
const later = window.setTimeout.bind(window);
window.setTimeout = (work, milliseconds, ...more) => {
  if (!(milliseconds >= 500)) return later(work, milliseconds, ...more);
  window.waits.push(milliseconds);
  if (window.waits.length < 12) return later(work, 0, ...more);
  document.documentElement.dataset.waits = JSON.stringify(window.waits);
  return 0;
};
"""
"""Every connection for progress breaks at once, and waiting takes no time; how long would be waited is kept."""


@pytest.mark.parametrize("begins", ["true", "false"])
def test_a_page_asks_a_server_that_breaks_every_connection_ever_less_often(
    start: Callable[..., Served], begins: str
) -> None:
    served = start()
    script = BROKEN_EVENTS.replace("BEGINS", begins)
    with chromium() as browser, open_page(browser, served.address, script=script) as opened:
        opened.page.locator("html[data-waits]").wait_for()
        waits = json.loads(opened.page.locator("html").get_attribute("data-waits"))
        for number, wait in enumerate(waits):
            assert 0.75 <= wait / min(1000 * 2**number, 30000) <= 1.25
        assert opened.page.locator("#lost").is_visible() and not opened.said


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/", 405),
        ("PUT", "/mon/a.mp4", 405),
        ("DELETE", "/mon/a.mp4", 405),
        ("GET", "/-/uploads", 404),
        ("POST", "/-/x", 405),
    ],
)
def test_what_cannot_be_done_is_said_in_words(
    start: Callable[..., Served], method: str, target: str, status: int
) -> None:
    answer = start().ask(method, target)
    assert (
        answer.status == status
        and answer.headers["content-type"].startswith("text/plain")
        and answer.text.endswith(".")
    )


# Videos that are sent in.


def test_a_video_is_run_and_its_report_comes_to_the_index(
    folder: Path, start: Callable[..., Served], tmp_path: Path
) -> None:
    model = str(make_checkpoint(tmp_path / "tiny.safetensors"))
    clip = make_video(tmp_path / "clip.mp4", frames=4, width=32, height=32)
    served = start(InlineEngine(), model=model)
    sent = served.send("My%20clip.MP4", clip.read_bytes())
    assert sent.status == 201 and json.loads(sent.body)["uploads"][0]["name"] == "My clip.MP4"
    until(lambda: served.states()["My clip.MP4"] == "done")
    there = {path.name for path in (folder / "uploads").iterdir()}
    made = {f"My clip.vidsal.{ending}" for ending in ("mp4", "csv", "json", "html")}
    assert made | {"My clip.mp4"} <= there
    (upload,) = served.uploads()
    assert upload["report"] == "uploads/My%20clip.vidsal.html"
    assert served.ask("GET", f"/{upload['report']}").status == 200
    until(lambda: "My clip" in served.ask("GET", "/-/videos.json").text)
    # Off the list, and the results stay.
    assert json.loads(served.ask("DELETE", f"/-/uploads/{upload['id']}").body)["uploads"] == []
    assert served.ask("GET", f"/{upload['report']}").status == 200 and not served.troubles


def test_what_is_no_video_fails_in_words_and_can_be_removed(
    folder: Path, start: Callable[..., Served], tmp_path: Path
) -> None:
    served = start(InlineEngine(), model=str(make_checkpoint(tmp_path / "tiny.safetensors")))
    assert served.send("broken.mp4", b"no video" * 30).status == 201
    until(lambda: served.states()["broken.mp4"] == "failed")
    (upload,) = served.uploads()
    assert upload["message"].startswith("broken.mp4 is not a video") and str(folder) not in upload["message"]
    assert served.ask("POST", "/-/uploads/1/retry").status == 200
    until(lambda: served.states()["broken.mp4"] == "failed")
    assert served.ask("DELETE", "/-/uploads/1").status == 200 and not list((folder / "uploads").iterdir())
    assert served.ask("DELETE", "/-/uploads/1").status == 404 and served.ask("POST", "/-/uploads/1/retry").status == 404


@pytest.mark.parametrize("name", ["", "notes.txt", "page.html", "a.vidsal.json", "x.mp4/", "..", "a.m3u8", "a.svg"])
def test_what_is_not_called_a_video_is_refused(folder: Path, start: Callable[..., Served], name: str) -> None:
    answer = start().send(name, b"abc")
    assert answer.status == 415 and "Send an mp4" in answer.text and not (folder / "uploads").exists()


def test_names_are_made_safe_and_none_is_taken_twice(folder: Path, start: Callable[..., Served]) -> None:
    served = start()
    for name in ("..%2F..%2Fx.mp4", "x.mov", "a%00b%0A.mp4", "x.vidsal.mp4", ".mkv.mp4"):
        assert served.send(name, b"abc").status == 201
    there = sorted(path.name for path in (folder / "uploads").iterdir())
    assert there == ["ab.mp4", "mkv.mp4", "x-2.mov", "x-vidsal.mp4", "x.mp4"]
    assert sorted(path.name for path in folder.iterdir() if path.suffix == ".mp4") == [".hidden.mp4", "link.mp4"]


def test_what_is_too_large_is_refused_before_and_while_it_comes(folder: Path, start: Callable[..., Served]) -> None:
    served = start(max_upload=0.000_1)
    early = served.ask("POST", "/-/uploads?name=a.mp4", None, Content_Length="100001")
    assert early.status == 413 and "0.0001 GB" in early.text
    # Whoever asks first is told before a byte is sent.
    with socket.create_connection((served.host, served.port), timeout=SECONDS) as plain:
        head = f"POST /-/uploads?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nExpect: 100-continue\r\n"
        plain.sendall(f"{head}Content-Length: 999999999\r\n\r\n".encode())
        assert plain.recv(100).startswith(b"HTTP/1.1 413 ")
    body = b"".join(b"fa0\r\n" + b"x" * 4000 + b"\r\n" for _ in range(30)) + b"0\r\n\r\n"
    lying = served.ask("POST", "/-/uploads?name=a.mp4", body, Transfer_Encoding="chunked")
    assert lying.status == 413
    assert not any((folder / "uploads").iterdir()) and served.uploads() == []
    with socket.create_connection((served.host, served.port), timeout=SECONDS) as plain:
        plain.sendall(f"{head}Content-Length: 3\r\n\r\n".encode())
        assert plain.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n")
        plain.sendall(b"abc")
        assert plain.recv(100).startswith(b"HTTP/1.1 201 ")


def test_an_upload_that_breaks_off_or_is_empty_leaves_nothing(folder: Path, start: Callable[..., Served]) -> None:
    served = start()
    assert served.send("a.mp4", b"").status == 400
    with socket.create_connection((served.host, served.port), timeout=SECONDS) as plain:
        head = f"POST /-/uploads?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nContent-Length: 1000\r\n\r\n"
        plain.sendall(head.encode() + b"x" * 100)
        until(lambda: list((folder / "uploads").glob("*.partial")))
    until(lambda: not list((folder / "uploads").iterdir()))
    assert served.uploads() == []


def test_a_full_disk_and_a_full_queue_are_said(start: Callable[..., Served]) -> None:
    full = start(keep_free=1e9).send("a.mp4", b"abc")
    assert full.status == 507 and "GB left" in full.text
    served = start(max_waiting=2)
    assert [served.send(f"{name}.mp4", b"abc").status for name in "abc"] == [201, 201, 503]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_folder_of_uploads_that_leads_elsewhere_is_not_used(folder: Path, start: Callable[..., Served]) -> None:
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (folder / "uploads").symlink_to(elsewhere)
    answer = start().send("a.mp4", b"abc")
    assert answer.status == 500 and "leads out" in answer.text and not list(elsewhere.iterdir())


def test_one_runs_at_a_time_in_their_order_and_any_can_be_cancelled(folder: Path, start: Callable[..., Served]) -> None:
    engine = HeldEngine()
    served = start(engine)
    for name in "abcd":
        served.send(f"{name}.mp4", b"abc")
    until(lambda: served.uploads()[0]["frames"] == 5)
    assert list(served.states().values()) == ["running", "waiting", "waiting", "waiting"]
    assert [work.place for work in engine.given] == ["uploads/a"]
    assert served.ask("DELETE", "/-/uploads/3").status == 200  # one that waits
    (folder / "uploads" / "a.vidsal.partial.mp4").write_bytes(b"half")
    assert served.ask("DELETE", "/-/uploads/1").status == 200  # the one that runs
    until(lambda: served.states()["a.mp4"] == "cancelled" and served.states()["b.mp4"] == "running")
    assert engine.killed == [1] and served.states()["c.mp4"] == "cancelled"
    assert {path.name for path in (folder / "uploads").iterdir()} == {"b.mp4", "d.mp4"}
    engine.said.append(Died((2,), "the process that was at it ended with signal 11 (SIGSEGV)"))
    until(lambda: served.states()["b.mp4"] == "failed" and served.states()["d.mp4"] == "running")
    assert "SIGSEGV" in served.uploads()[1]["message"] and (folder / "uploads" / "b.mp4").exists()
    engine.said.append(Ended(4, "done", frames=20))
    until(lambda: served.states()["d.mp4"] == "done")
    assert [work.place for work in engine.given] == ["uploads/a", "uploads/b", "uploads/d"]


def test_results_of_another_video_are_not_removed_with_a_cancelled_one(
    folder: Path, start: Callable[..., Served]
) -> None:
    served = start()
    for name in ("a.mp4", "a.b.mp4"):
        served.send(name, b"abc")
    make_record(folder, "uploads/a.b")
    served.ask("DELETE", "/-/uploads/1")
    until(lambda: served.states()["a.mp4"] == "cancelled")
    assert {path.name for path in (folder / "uploads").iterdir()} >= {"a.b.mp4", "a.b.vidsal.json"}


def test_a_run_that_is_cancelled_before_it_has_begun_ends_once_it_has(start: Callable[..., Served]) -> None:
    engine = HeldEngine(begins=False)
    served = start(engine)
    served.send("a.mp4", b"abc")
    served.send("b.mp4", b"abc")
    until(lambda: engine.given)
    served.ask("DELETE", "/-/uploads/1")
    until(lambda: engine.looks > 3)
    # A worker that is killed while it loads the model would begin again, and again.
    assert served.states() == {"a.mp4": "cancelling", "b.mp4": "waiting"} and not engine.killed
    engine.said.append(Progress(1, 0, None, 0.0, None))
    until(lambda: served.states()["a.mp4"] == "cancelled" and served.states()["b.mp4"] == "running")
    assert engine.killed == [1]


def test_a_run_that_does_not_end_holds_the_end_of_the_server_up_for_moments(
    folder: Path, start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_STOP_SECONDS", 0.1)
    engine = HeldEngine(ends=False)
    served = start(engine)
    served.send("a.mp4", b"abc")
    until(lambda: engine.given)
    served.close()
    assert served.left == 1 and engine.closed and (folder / "uploads" / "a.mp4").exists()


def test_what_waits_at_the_end_is_run_at_the_next_start(folder: Path, start: Callable[..., Served]) -> None:
    first, engine = start(engine := HeldEngine()), engine
    for name in "ab":
        first.send(f"{name}.mp4", b"abc")
    until(lambda: engine.given)
    (folder / "uploads" / "killed.mp4.partial").write_bytes(b"of a server that was killed")
    first.close()
    assert first.left == 2 and engine.closed
    second = start(again := HeldEngine())
    until(lambda: again.given)
    assert list(second.states().items()) == [("a.mp4", "running"), ("b.mp4", "waiting")]
    assert {path.name for path in (folder / "uploads").iterdir()} == {"a.mp4", "b.mp4"}
    make_record(folder, "uploads/a")
    second.close()
    third = start()
    assert "a.mp4" not in third.states()


# The command.


def test_a_port_that_is_taken_and_a_missing_folder_are_errors(
    folder: Path, start: Callable[..., Served], capsys: pytest.CaptureFixture[str]
) -> None:
    served = start()
    with pytest.raises(EncodeError, match="is taken"):
        start(port=served.port)
    assert main(["serve", str(folder), "--port", str(served.port)]) == 1
    assert f"port {served.port} at 127.0.0.1 is taken" in capsys.readouterr().err
    assert main(["serve", str(folder / "missing")]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert main(["serve", str(folder), "-m", str(folder / "none.safetensors")]) == 1
    assert "no model" in capsys.readouterr().err
    assert main(["serve", str(folder), "-o", "x"]) == 2 and main(["serve", str(folder), "--port", "-1"]) == 2


def test_without_aiohttp_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(Exception, match=r"pip install 'vidsal\[serve\]'"):
        serve(folder, options(), make_report=str, on_ready=print, should_stop=lambda: True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent")
def test_a_clip_that_is_dropped_is_run_and_its_report_plays(tmp_path: Path) -> None:
    model = make_checkpoint(tmp_path / "light.safetensors", config=LIGHT)
    clip = make_video(tmp_path / "clip.mp4", frames=12, width=64, height=48)
    (tmp_path / "results").mkdir()
    command = [sys.executable, "-m", "vidsal", "serve", str(tmp_path / "results"), "--port", "0", "-m", str(model)]
    ranged: list[str] = []
    with chromium() as browser:
        server = subprocess.Popen([*command, "--device", "cpu"], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            with open_page(browser, server.stdout.readline().strip()) as opened:
                tab = opened.page
                tab.on("request", lambda asked: ranged.append(asked.url) if "range" in asked.headers else None)
                # As a file manager does it: the content of a file, dropped.
                data = tab.evaluate_handle(
                    "(bytes) => { const data = new DataTransfer();"
                    " data.items.add(new File([new Uint8Array(bytes)], 'my clip.mp4')); return data; }",
                    list(clip.read_bytes()),
                )
                tab.dispatch_event("#drop", "drop", {"dataTransfer": data})
                tab.locator("#uploads .upload-state", has_text="done").wait_for()
                tab.locator("#videos h3", has_text="my clip").wait_for()
                tab.get_by_role("link", name="Open the report of my clip.mp4").click()
                tab.wait_for_url("**/uploads/my%20clip.vidsal.html")
                tab.locator("video").first.wait_for()
                tab.evaluate(
                    "() => { const video = document.querySelector('video'); video.muted = true; video.play(); }"
                )
                tab.wait_for_function("() => document.querySelector('video').currentTime > 0.1")
                assert not opened.said and any(".vidsal.mp4" in address for address in ranged)
        finally:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=SECONDS)
    assert server.returncode == 0
    assert not list((tmp_path / "results").rglob("*.partial*"))


def test_the_page_shows_what_is_sent_refused_run_and_cancelled(
    folder: Path, start: Callable[..., Served], tmp_path: Path
) -> None:
    engine = HeldEngine()
    served = start(engine, max_upload=0.000_1)
    (tmp_path / "large.mp4").write_bytes(bytes(100_001))
    for name in ("notes.txt", "empty.mp4", "a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"" if name == "empty.mp4" else b"abc")
    with chromium() as browser, open_page(browser, served.address, viewport={"width": 400, "height": 800}) as opened:
        tab = opened.page
        names = ("notes.txt", "empty.mp4", "large.mp4", "a.mp4", "b.mp4")
        tab.set_input_files("#file", [str(tmp_path / name) for name in names])
        row = {name: tab.locator("#uploads li", has=tab.get_by_text(name, exact=True)) for name in names}
        row["a.mp4"].get_by_text("25 %, 5 of 20 frames").wait_for()
        row["b.mp4"].get_by_text("waits for its turn").wait_for()
        assert "is no video that vidsal knows (.txt)" in row["notes.txt"].inner_text()
        assert "This file is empty" in row["empty.mp4"].inner_text()
        assert "takes up to 100 kB" in row["large.mp4"].inner_text()
        # They were never sent.
        assert [upload["name"] for upload in served.uploads()] == ["a.mp4", "b.mp4"]
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400
        row["notes.txt"].get_by_role("button").click()
        row["notes.txt"].wait_for(state="detached")
        # With the keyboard; the focus stays in the list while it changes.
        row["a.mp4"].get_by_role("button", name="Cancel").focus()
        tab.keyboard.press("Enter")
        row["a.mp4"].get_by_text("cancelled", exact=True).wait_for()
        assert tab.evaluate("document.activeElement.closest('#uploads li')?.textContent").startswith("a.mp4")
        row["b.mp4"].get_by_text("25 %").wait_for()
        engine.said.append(Died((2,), "the process that was at it ended with signal 9 (SIGKILL)"))
        row["b.mp4"].get_by_text("SIGKILL").wait_for()
        assert "b.mp4 failed" in tab.locator("#told").inner_text()
        row["b.mp4"].get_by_role("button", name="Try again").click()
        row["b.mp4"].get_by_text("25 %").wait_for()
        make_record(folder, "uploads/b")
        engine.said.append(Ended(2, "done", frames=20))
        tab.locator("#videos h3", has_text="b.mp4").wait_for()
        assert row["b.mp4"].get_by_role("link", name="Open the report").get_attribute("href") == "uploads/b.vidsal.html"
        assert not opened.said
        served.close()
        tab.locator("#lost").wait_for()
        assert "Is it still running" in tab.locator("#lost").inner_text()
