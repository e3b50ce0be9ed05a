"""Requests in, pages, files and progress out: what `vidsal serve` answers, and what it refuses."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import shutil
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path

from aiohttp import ClientError, hdrs, web

from vidsal.batch.accounts import read_accounts
from vidsal.batch.inputs import VIDEO_ENDINGS
from vidsal.errors import EncodeError, Stopped, VidsalError
from vidsal.files import replacing
from vidsal.index import INDEX_NAME, Entry, IndexReport, as_data, index_page, make_index, wants_report
from vidsal.pipe.options import IMAGE_SUFFIXES
from vidsal.report.html import data_block
from vidsal.serve.guard import confined, free_stem, is_allowed_host, is_foreign, is_token, safe_name
from vidsal.serve.jobs import Jobs, Upload
from vidsal.serve.options import ServerOptions

__all__ = ["Site"]

_ASSETS = Path(__file__).parent / "assets"
_CHUNK_BYTES = 1 << 20
_CHECK_BYTES = 64 << 20
"""After so many bytes of an upload the disk is looked at again."""
_CHUNK_SECONDS = 120.0
"""So long nothing may come of an upload."""
_MOST_SENDING = 4
"""Uploads that may come in at once."""
_FRESH_SECONDS = 5.0
"""An index of this age is looked at again when somebody asks for it."""
_STILL_THERE_SECONDS = 15.0
_PAUSE_SECONDS = 0.2
_REPORT = ".vidsal.html"
_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".jpg": "image/jpeg",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".vtt": "text/vtt; charset=utf-8",
    ".webm": "video/webm",
}
_HEADERS = {
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Beside the stricter one that a page itself has, by the hashes of its scripts."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A folder of results as a web site.

    Args:
        folder: what is served.
        options: where the server listens, and what it takes.
        jobs: what runs the videos that are sent in.
        make_report: makes the report of a video, given its record.
        token: what others have to know; None asks nobody.
    """

    def __init__(
        self,
        folder: Path,
        options: ServerOptions,
        jobs: Jobs,
        *,
        make_report: Callable[[Path], object],
        token: str | None,
    ) -> None:
        self._folder = folder
        self._options = options
        self._jobs = jobs
        self._make_report = make_report
        self._token = token
        self._names = {*options.allow_hosts, *([] if options.is_local else _names_of_this_machine(options.host))}
        self._entries: tuple[Entry, ...] = ()
        self._looked = float("-inf")
        self._looking = asyncio.Lock()
        self._reporting = asyncio.Lock()
        self._sending: set[str] = set()
        """Lower-case stems of the videos that come in now."""
        self._closing = False

    def app(self) -> web.Application:
        """The site as an application of aiohttp."""
        app = web.Application(middlewares=[self._guarded], client_max_size=_CHUNK_BYTES)
        app.on_response_prepare.append(_with_headers)
        app.on_shutdown.append(self._shut_down)
        router = app.router
        router.add_get("/", self._page)
        router.add_get("/-/videos.json", self._videos)
        router.add_get("/-/events", self._events)
        router.add_post("/-/uploads", self._upload, expect_handler=self._expected)
        router.add_delete(r"/-/uploads/{id:\d{1,9}}", self._remove)
        router.add_post(r"/-/uploads/{id:\d{1,9}}/retry", self._retry)
        router.add_get("/{path:.*}", self._file)
        return app

    async def look(self, *, now: bool = False, reports: bool = False) -> tuple[Entry, ...]:
        """All videos of the folder.

        Args:
            now: whether to look at the folder again in any case.
            reports: whether to make reports that are missing; it ends early when the site closes.

        Raises:
            VidsalError: the index cannot be written.
        """
        async with self._looking:
            if now or time.monotonic() - self._looked > _FRESH_SECONDS:
                make = partial(self._made_index, self._make_report if reports else None)
                with suppress(Stopped):
                    report = await asyncio.get_running_loop().run_in_executor(None, make)
                    self._entries, self._looked = report.entries, time.monotonic()
        return self._entries

    def _made_index(self, make_report: Callable[[Path], object] | None) -> IndexReport:
        return make_index(
            self._folder,
            accounts=read_accounts(self._folder),
            make_report=make_report,
            empty=True,
            should_stop=lambda: self._closing,
        )

    # What lets requests through.

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        refused = self._refusal(request)
        if refused is not None:
            return refused
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status >= 400 and error.text and error.text.startswith(f"{error.status}:"):
                error.text = _WORDS.get(error.status, error.text)
            raise
        except VidsalError as error:
            return _words(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}.")

    def _refusal(self, request: web.Request) -> web.Response | None:
        host = request.headers.get(hdrs.HOST)
        if not is_allowed_host(host, local=self._options.is_local, names=self._names):
            ask = "open it by its address, or start it with --allow-hosts"
            return _words(HTTPStatus.FORBIDDEN, f"This server does not go by the name {host!r}: {ask}.")
        if is_foreign(request.method, request.headers):
            return _words(HTTPStatus.FORBIDDEN, "A page of another site asked for this. Open this server's own page.")
        if self._token is None:
            return None
        # Servers at several ports of a machine share its cookies.
        cookie = f"vidsal-{hashlib.sha256(self._token.encode()).hexdigest()[:8]}"
        kind, _, bearer = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        given = bearer if kind.lower() == "bearer" else request.cookies.get(cookie)
        if is_token(given, self._token):
            return None
        if request.method in ("GET", "HEAD") and is_token(request.query.get("token"), self._token):
            # It is not to stand in the address, where it would be seen and kept.
            rest = {name: value for name, value in request.query.items() if name != "token"}
            answer = web.Response(
                status=HTTPStatus.SEE_OTHER, headers={hdrs.LOCATION: str(request.rel_url.with_query(rest))}
            )
            answer.set_cookie(cookie, self._token, httponly=True, samesite="Lax", path="/")
            return answer
        answer = web.Response(status=HTTPStatus.UNAUTHORIZED, text=_asset("token.html"), content_type="text/html")
        answer.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
        return answer

    # Pages and files.

    async def _page(self, request: web.Request) -> web.Response:
        entries = await self.look()
        settings = {
            "maxBytes": self._options.max_bytes,
            "endings": sorted(VIDEO_ENDINGS),
            "uploads": self._jobs.listing(),
        }
        text = index_page(
            entries,
            title=self._folder.name or str(self._folder),
            further=_asset("serve.html").replace("{largest}", f"{self._options.max_upload:g} GB"),
            styles=[_asset("serve.css")],
            scripts=[_asset("serve.js")],
            blocks=[data_block("settings", settings)],
            connects=True,
        )
        return web.Response(text=text, content_type="text/html", charset="utf-8")

    async def _videos(self, request: web.Request) -> web.Response:
        return web.json_response(text=json.dumps(as_data(await self.look())))

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["path"]
        if name == INDEX_NAME:
            raise web.HTTPSeeOther("/")
        if name.endswith(_REPORT):
            await self._report(name)
        loop = asyncio.get_running_loop()
        path = await loop.run_in_executor(None, confined, self._folder, name)
        if path is None or not _is_served(path):
            raise web.HTTPNotFound(text=_WORDS[404])
        kind = _TYPES.get(path.suffix.lower(), "application/octet-stream")
        return web.FileResponse(path, headers={hdrs.CONTENT_TYPE: kind}, chunk_size=_CHUNK_BYTES)

    async def _report(self, name: str) -> None:
        """Make the report of a video where there is none of its results as they are."""
        loop = asyncio.get_running_loop()
        record = await loop.run_in_executor(None, confined, self._folder, f"{name.removesuffix(_REPORT)}.vidsal.json")
        if record is not None:
            async with self._reporting:
                if wants_report(record):
                    await loop.run_in_executor(None, self._make_report, record)

    # Videos that are sent in.

    async def _expected(self, request: web.Request) -> web.StreamResponse | None:
        """What is too large is refused before it is sent, where the client asks first."""
        refused = self._refusal(request) or self._refused_upload(request)
        if refused is None and request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            # Nothing of the answer itself has been written.
            request.writer.output_size = 0
        return refused

    def _refused_upload(self, request: web.Request) -> web.Response | None:
        name = request.query.get("name", "")
        if Path(safe_name(name)).suffix.lower() not in VIDEO_ENDINGS:
            what = f"{name or 'A file without a name'} is no video that vidsal knows by its ending."
            return _words(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{what} Send an mp4, mov, mkv, webm, avi or the like.")
        length = request.content_length
        if length is not None and length > self._options.max_bytes:
            return self._too_large()
        if self._jobs.waiting() >= self._options.max_waiting:
            return _words(HTTPStatus.SERVICE_UNAVAILABLE, "The queue is full. Wait until a video is done.")
        if len(self._sending) >= _MOST_SENDING:
            return _words(HTTPStatus.SERVICE_UNAVAILABLE, "Others are sending videos. Try again when they have ended.")
        return self._full(length or 0)

    def _too_large(self) -> web.Response:
        most = f"{self._options.max_upload:g} GB"
        return _words(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"This server takes videos of up to {most} (--max-upload).")

    def _full(self, more: int) -> web.Response | None:
        free = shutil.disk_usage(self._folder).free
        if free - more >= self._options.keep_free * 1e9:
            return None
        what = f"The server's disk has {free / 1e9:.1f} GB left, too little for this video"
        return _words(
            HTTPStatus.INSUFFICIENT_STORAGE, f"{what} and {self._options.keep_free:g} GB to spare (--keep-free)."
        )

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        refused = self._refused_upload(request)
        if refused is not None:
            return refused
        name = request.query["name"]
        wanted = Path(safe_name(name))
        folder = self._folder / self._options.uploads
        inside = confined(self._folder, self._options.uploads)
        if inside is None and folder.exists():
            return _words(HTTPStatus.INTERNAL_SERVER_ERROR, f"{folder} leads out of the folder that is served.")
        stem = free_stem(folder, wanted.stem, self._jobs.stems() | self._sending)
        self._sending.add(stem.lower())
        target = folder / f"{stem}{wanted.suffix.lower()}"
        try:
            with replacing(target, make_folder=True) as partial_path:
                refused = await self._receive(request, partial_path)
                if refused is not None:
                    raise _Refused
            upload = self._jobs.add(name, target)
        except _Refused:
            return refused or web.Response()
        except EncodeError as error:
            full = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENOSPC
            return _words(HTTPStatus.INSUFFICIENT_STORAGE if full else HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}.")
        except (ClientError, ConnectionError):
            return web.Response(status=HTTPStatus.BAD_REQUEST)  # nobody is there to read it
        finally:
            self._sending.discard(stem.lower())
        return self._listed(upload, status=HTTPStatus.CREATED)

    async def _receive(self, request: web.Request, path: Path) -> web.Response | None:
        """Write what comes to a file; what is to be answered where it is refused."""
        loop = asyncio.get_running_loop()
        received, checked, gathered = 0, 0, bytearray()
        with path.open("wb") as file:
            while True:
                try:
                    async with asyncio.timeout(_CHUNK_SECONDS):
                        chunk = await request.content.readany()
                except TimeoutError:
                    return _words(HTTPStatus.REQUEST_TIMEOUT, "Nothing came for two minutes. Send the video again.")
                received += len(chunk)
                if received > self._options.max_bytes:
                    return self._too_large()
                if received - checked >= _CHECK_BYTES:
                    checked = received
                    full = self._full(0)
                    if full is not None:
                        return full
                gathered += chunk
                if len(gathered) >= _CHUNK_BYTES or not chunk:
                    await loop.run_in_executor(None, file.write, gathered)
                    gathered = bytearray()
                if not chunk:
                    break
        return None if received else _words(HTTPStatus.BAD_REQUEST, "This file is empty.")

    async def _remove(self, request: web.Request) -> web.StreamResponse:
        upload = self._named(request)
        self._jobs.remove(upload)
        return self._listed(upload)

    async def _retry(self, request: web.Request) -> web.StreamResponse:
        upload = self._named(request)
        if not self._jobs.retry(upload):
            return _words(HTTPStatus.CONFLICT, f"{upload.name} has not failed: there is nothing to try again.")
        return self._listed(upload)

    def _named(self, request: web.Request) -> Upload:
        upload = self._jobs.get(int(request.match_info["id"]))
        if upload is None:
            raise web.HTTPNotFound(text="This video is not on the list any more.")
        return upload

    def _listed(self, upload: Upload, *, status: int = HTTPStatus.OK) -> web.Response:
        return web.json_response({"id": upload.id, "uploads": self._jobs.listing()}, status=status)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream", hdrs.CACHE_CONTROL: "no-store"})
        await answer.prepare(request)
        seen = -1
        try:
            while not self._closing:
                version, listing = await self._jobs.next_listing(seen, seconds=_STILL_THERE_SECONDS)
                text = ": still there\n\n" if version == seen else f"event: uploads\ndata: {json.dumps(listing)}\n\n"
                seen = version
                await answer.write(text.encode())
                await asyncio.sleep(_PAUSE_SECONDS)
        except ConnectionError:
            pass  # the page was closed
        return answer

    def close(self) -> None:
        """Let pages that watch go, and begin nothing more."""
        self._closing = True
        self._jobs.stop()

    async def _shut_down(self, app: web.Application) -> None:
        self.close()


class _Refused(Exception):  # noqa: N818 (no error of ours)
    """What was sent is not wanted; what had been written of it goes."""


_WORDS = {
    404: "There is nothing here under this name. Its results may have been moved; the list is at /.",
    405: "This cannot be done here.",
}


def _words(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _is_served(path: Path) -> bool:
    """Results, videos and pictures; nothing else that may lie in the folder."""
    suffix = path.suffix.lower()
    return path.is_file() and (".vidsal." in path.name or suffix in VIDEO_ENDINGS or suffix in IMAGE_SUFFIXES)


def _names_of_this_machine(host: str) -> Sequence[str]:
    return [host, socket.gethostname(), socket.getfqdn()]


async def _with_headers(request: web.Request, answer: web.StreamResponse) -> None:
    answer.headers[hdrs.SERVER] = "vidsal"
    for name, value in _HEADERS.items():
        answer.headers.setdefault(name, value)
    if answer.content_type == "text/html":
        answer.headers.setdefault("Content-Security-Policy", _POLICY)
