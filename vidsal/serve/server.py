"""A folder and options in, a server that runs until it is told to stop out: `serve`."""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vidsal.batch.engines.contract import Engine
from vidsal.batch.engines.local import LocalEngine
from vidsal.errors import ConfigError, EncodeError, Setting, VidsalError
from vidsal.serve.jobs import Jobs, Upload, left_from_before, options_of_runs
from vidsal.serve.options import ServeOptions

if TYPE_CHECKING:
    from aiohttp.web import TCPSite

    from vidsal.serve.app import Site

__all__ = ["serve"]

_LOOK_SECONDS = 0.2
_CLOSE_SECONDS = 2.0


def serve(
    folder: Path,
    options: ServeOptions,
    *,
    make_report: Callable[[Path], object],
    on_ready: Callable[[str], None],
    should_stop: Callable[[], bool],
    on_trouble: Callable[[str], None] = lambda text: None,
    make_engine: Callable[[], Engine] | None = None,
) -> int:
    """Serve the results in a folder, and run the videos that are sent in, until an end is asked for.

    Args:
        folder: what is served; uploads and their results go below it.
        options: of the server and of the runs.
        make_report: makes the report of a video, given its record.
        on_ready: is told the address to open, with the token where there is one, once it can be reached.
        should_stop: asked several times a second; True ends the server. A run that is under way is left off, and begun
            again at the next start.
        on_trouble: is told what a person should know and cannot see on the page.
        make_engine: makes what runs the videos; None: one process of this machine.

    Returns:
        How many videos that were sent in still wait.

    Raises:
        ConfigError: the folder is missing.
        EncodeError: it cannot be listened at this address, or the folder not be written into.
        VidsalError: aiohttp is missing, or no process can be started.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder: name a folder of results")
    try:
        import aiohttp  # noqa: F401 (whether it is there)
    except ImportError as error:
        raise VidsalError("vidsal serve needs aiohttp: pip install 'vidsal[serve]'") from error
    local = partial(LocalEngine.for_device, options.model.device, workers=1, lanes=1)
    server = _Server(folder, options, make_report, on_ready, should_stop, on_trouble, make_engine or local)
    return asyncio.run(server.run())


@dataclass(frozen=True)
class _Server:
    """What `serve` is given."""

    folder: Path
    options: ServeOptions
    make_report: Callable[[Path], object]
    on_ready: Callable[[str], None]
    should_stop: Callable[[], bool]
    on_trouble: Callable[[str], None]
    make_engine: Callable[[], Engine]

    async def run(self) -> int:
        from aiohttp import web

        from vidsal.serve.app import Site

        wanted = self.options.server
        token = None if wanted.is_local else secrets.token_urlsafe(32)

        async def note_done(upload: Upload) -> None:
            await self._look(site)

        jobs = Jobs(self.folder, options_of_runs(self.options), self.make_engine, on_done=note_done)
        site = Site(self.folder, wanted, jobs, make_report=self.make_report, token=token)
        await site.look(now=True)
        for path in left_from_before(self.folder / wanted.uploads):
            jobs.add(path.name, path)
        runner = web.AppRunner(site.app(), access_log=None, shutdown_timeout=_CLOSE_SECONDS)
        await runner.setup()
        try:
            await self._listen(web.TCPSite(runner, wanted.host, wanted.port))
            port = runner.addresses[0][1]
            shown = _name_of_this_machine() if wanted.host in ("0.0.0.0", "::") else wanted.host
            address = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"
            self.on_ready(address if token is None else f"{address}?token={token}")
            tasks = [asyncio.create_task(jobs.work()), asyncio.create_task(self._look(site))]
            try:
                while not self.should_stop() and not tasks[0].done():
                    await asyncio.sleep(_LOOK_SECONDS)
            finally:
                jobs.stop()
                site.close()
                await asyncio.gather(*tasks)
        finally:
            await runner.cleanup()
        return jobs.waiting()

    async def _look(self, site: Site) -> None:
        """Bring the index up to date, and make the reports that are missing."""
        try:
            await site.look(now=True, reports=True)
        except VidsalError as error:
            self.on_trouble(f"the index was not brought up to date: {error}")

    async def _listen(self, site: TCPSite) -> None:
        host, port = self.options.server.host, self.options.server.port
        try:
            await site.start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                what = f"port {port} at {host} is taken, maybe by another vidsal serve; choose another with "
                raise EncodeError(what, Setting("port"), ", or 0 for any that is free") from error
            if error.errno == errno.EACCES:
                what = f"port {port} is kept for the system; choose one above 1023 with "
                raise EncodeError(what, Setting("port")) from error
            what = f"cannot listen at {host}: {error.strerror or error}; choose another address with "
            raise EncodeError(what, Setting("host")) from error


def _name_of_this_machine() -> str:
    """A name under which it may be called from elsewhere; of one without a name its own address for itself."""
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return "127.0.0.1"
    return name
