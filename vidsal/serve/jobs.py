"""Videos that were sent in, their results below the folder out: one run at a time in a process of its own, in order."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from vidsal.batch.engines.contract import Engine
from vidsal.batch.inputs import VIDEO_ENDINGS
from vidsal.batch.task import clear_partials
from vidsal.batch.work import Died, Ended, Event, Progress, Work
from vidsal.files import is_claimed
from vidsal.pipe.options import RunOptions
from vidsal.pipe.record import read_records

__all__ = ["Jobs", "Upload", "left_from_before", "options_of_runs"]

_WAIT_SECONDS = 0.25
_STOP_SECONDS = 5.0
"""So long a run may take to end when the server does."""
_IN_RESULTS = ".vidsal."
_KEPT_ENDED = 200
"""Uploads that have ended and are still listed."""

State = Literal["waiting", "running", "cancelling", "done", "damaged", "failed", "cancelled"]
_UNDER_WAY = ("running", "cancelling")


@dataclass
class Upload:
    """A video that was sent in."""

    id: int
    """Its number."""
    name: str
    """What it was called where it came from."""
    path: Path
    """Where it lies."""
    place: str
    """What its results are called, without an ending, below the folder: "uploads/a"."""
    state: State = "waiting"
    """What has become of it."""
    frames: int = 0
    """Frames written."""
    total: int | None = None
    """Frames expected, None where unknown."""
    message: str = ""
    """Why it is not simply done, in a sentence."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it by itself."""
        return self.state not in ("waiting", *_UNDER_WAY)

    def as_dict(self) -> dict[str, Any]:
        """What the page is told."""
        report = f"{quote(self.place)}.vidsal.html" if self.state in ("done", "damaged") else ""
        told = ("id", "name", "state", "frames", "total", "message")
        return {name: getattr(self, name) for name in told} | {"report": report}


def options_of_runs(options: RunOptions) -> RunOptions:
    """Those of a run without what else a command has; each writes its report."""
    output = dataclasses.replace(options.output, existing="overwrite", report=True)
    plain = {each.name: getattr(options, each.name) for each in fields(RunOptions)}
    return RunOptions(**plain | {"output": output})


def left_from_before(folder: Path) -> list[Path]:
    """Videos in the folder of uploads without results, the oldest first; what a killed upload left is removed."""
    if not folder.is_dir():
        return []
    for partial in folder.glob("*.partial"):
        if is_claimed(partial) is False:
            with suppress(OSError):
                partial.unlink()
                partial.with_name(f"{partial.name}.lock").unlink(missing_ok=True)
    found = [path for path in folder.iterdir() if path.suffix.lower() in VIDEO_ENDINGS and _IN_RESULTS not in path.name]
    left = [path for path in found if path.is_file() and not path.name.startswith(".") and not _is_done(path)]
    return sorted(left, key=lambda path: (path.stat().st_mtime, path.name))


def _is_done(path: Path) -> bool:
    records = read_records(path.with_name(f"{path.stem}.vidsal.json"))
    return any(record.status == "done" for record in records)


class Jobs:
    """The queue of uploads, and the one run that is under way.

    Everything is called in the event loop. What waits for the engine does so in the loop's own threads.

    Args:
        folder: below which results lie.
        options: of the runs, as `options_of_runs` gives them.
        make_engine: makes what does the work.
        on_done: is told of each upload whose results are there.
    """

    def __init__(
        self,
        folder: Path,
        options: RunOptions,
        make_engine: Callable[[], Engine],
        *,
        on_done: Callable[[Upload], Awaitable[None]],
    ) -> None:
        self._folder = folder
        self._options = options
        self._make_engine = make_engine
        self._on_done = on_done
        self._uploads: dict[int, Upload] = {}
        self._count = 0
        self._stopping = False
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._version = 0
        self._telling: set[asyncio.Task[None]] = set()

    def add(self, name: str, path: Path) -> Upload:
        """Put a video at the end of the queue."""
        self._count += 1
        place = path.relative_to(self._folder).with_suffix("").as_posix()
        upload = self._uploads[self._count] = Upload(self._count, name, path, place)
        ended = [one.id for one in self._uploads.values() if one.has_ended]
        for id in ended[:-_KEPT_ENDED]:
            del self._uploads[id]
        self._note_change()
        return upload

    def get(self, id: int) -> Upload | None:
        """The upload of a number."""
        return self._uploads.get(id)

    def waiting(self) -> int:
        """Uploads that have not ended."""
        return sum(not upload.has_ended for upload in self._uploads.values())

    def listing(self) -> list[dict[str, Any]]:
        """All uploads, as the page shows them."""
        return [upload.as_dict() for upload in self._uploads.values()]

    def stems(self) -> set[str]:
        """Lower-case stems of the videos of all uploads."""
        return {upload.path.stem.lower() for upload in self._uploads.values()}

    def remove(self, upload: Upload) -> None:
        """Cancel an upload that waits or runs; of one that failed remove the video; take one that is done off the list.

        Results of what is done stay.
        """
        if upload.state in _UNDER_WAY:
            upload.state = "cancelling"
        elif upload.state == "waiting":
            self._cancel(upload)
        else:
            left = _discard(upload) if upload.state == "failed" else ""
            if left:
                upload.message = left
            else:
                del self._uploads[upload.id]
        self._note_change()

    def retry(self, upload: Upload) -> bool:
        """Let an upload that failed wait again; False for any other."""
        if upload.state != "failed":
            return False
        upload.state, upload.message, upload.frames, upload.total = "waiting", "", 0, None
        self._note_change()
        return True

    async def next_listing(self, seen: int, *, seconds: float) -> tuple[int, list[dict[str, Any]]]:
        """All uploads as soon as their list is not that of version `seen` any more, or after some time; its version.

        Args:
            seen: 0 before the first.
            seconds: how long to wait at most.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._version != seen)
        return self._version, self.listing()

    async def work(self) -> None:
        """Run what waits, one after the other, until `stop`."""
        loop = asyncio.get_running_loop()
        # The first worker needs all that it imports: that takes seconds, and nobody waits for it here.
        engine = await loop.run_in_executor(None, self._make_engine)
        try:
            while not self._stopping:
                upload = self._next()
                if upload is None:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                upload.state = "running"
                await self._run(engine, upload)
        finally:
            await loop.run_in_executor(None, engine.close)

    def stop(self) -> None:
        """Begin nothing more, and end what is under way; its video stays, and waits for the next start."""
        self._stopping = True
        self._note_change()

    def _next(self) -> Upload | None:
        return next((upload for upload in self._uploads.values() if upload.state == "waiting"), None)

    async def _run(self, engine: Engine, upload: Upload) -> None:
        loop = asyncio.get_running_loop()
        work = Work(upload.id, str(upload.path), upload.place, str(self._folder), self._options)
        self._note_change()
        await loop.run_in_executor(None, engine.submit, work)
        begun, end = False, float("inf")
        while upload.state in _UNDER_WAY:
            # What is not begun yet ends soon after it has: the model is loaded, for the next one too.
            if upload.state == "cancelling" and begun:
                await loop.run_in_executor(None, engine.kill, upload.id)
            if self._stopping and end == float("inf"):
                end = loop.time() + _STOP_SECONDS
                await loop.run_in_executor(None, engine.stop)
            for event in await loop.run_in_executor(None, engine.events, _WAIT_SECONDS):
                begun |= isinstance(event, Progress)
                self._take(event, upload, work)
            if loop.time() > end:
                await loop.run_in_executor(None, engine.close)
                self._fail(upload, work, "")
        if upload.state in ("done", "damaged"):
            await self._on_done(upload)
            self._note_change()

    def _take(self, event: Event, upload: Upload, work: Work) -> None:
        match event:
            case Progress(id=upload.id):
                upload.frames, upload.total = event.frames, event.total
            case Ended(id=upload.id, outcome="done" | "damaged" as outcome):
                upload.state, upload.frames = outcome, event.frames
                upload.message = event.message
            case Ended(id=upload.id):
                self._fail(upload, work, event.message)
            case Died() if upload.id in event.ids:
                self._fail(upload, work, event.message)
            case _:
                return
        self._note_change()

    def _fail(self, upload: Upload, work: Work, message: str) -> None:
        clear_partials(work)
        if upload.state == "cancelling":
            self._cancel(upload)
        elif self._stopping:
            upload.state = "waiting"
        else:
            # The person knows the name that the video had.
            upload.state, upload.message = "failed", message.replace(str(upload.path), upload.name)

    def _cancel(self, upload: Upload) -> None:
        upload.message = _discard(upload)
        upload.state = "cancelled"

    def _note_change(self) -> None:
        self._version += 1
        self._wake.set()

        async def tell() -> None:
            async with self._changed:
                self._changed.notify_all()

        # The loop itself forgets tasks that nobody holds.
        task = asyncio.get_running_loop().create_task(tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


def _discard(upload: Upload) -> str:
    """Remove a video that was sent in, and what a run may have left of its results; what went wrong, in a sentence."""
    try:
        for path in upload.path.parent.iterdir():
            if path == upload.path or path.name.startswith(f"{upload.path.stem}{_IN_RESULTS}"):
                path.unlink(missing_ok=True)
    except OSError as error:
        return f"What was sent cannot be removed: {error.strerror}. Remove {upload.path} by hand."
    return ""
