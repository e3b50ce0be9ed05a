"""Servers on the loopback address that tests of files elsewhere talk to: SFTP, S3, and a relay that cuts connections.

They run in threads of the test. They are real ones, by asyncssh and moto; what makes them lie or break is here.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

HOST = "127.0.0.1"
USER, PASSWORD = "mia", "s3cr3t/#@"


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        self.run(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(60)
        self.loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # Connections that were ended are told so in the next turn.
        await asyncio.sleep(0)


@dataclass
class SftpServer:
    """An SFTP server over a folder; it lets in one user, by a password or a key."""

    loop: Loop
    root: Path
    key: Any
    user_key: Any
    port: int = 0
    damage: Callable[[int, bytes], bytes] = lambda offset, content: content
    """What becomes of what is written."""
    reads: list[tuple[int, int]] = field(default_factory=list)
    """Offset and size of all that was read."""
    logins: int = 0
    connections: set[Any] = field(default_factory=set)
    _acceptor: Any = None

    @property
    def address(self) -> str:
        return f"sftp://{USER}@{HOST}:{self.port}"

    @property
    def known_host(self) -> str:
        return f"[{HOST}]:{self.port} {self.key.export_public_key().decode()}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        server = self

        class Login(asyncssh.SSHServer):
            def connection_made(self, connection: Any) -> None:
                server.connections.add(connection)

            def begin_auth(self, username: str) -> bool:
                return True

            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                server.logins += 1
                return (username, password) == (USER, PASSWORD)

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: Any) -> bool:
                return bool(username == USER and key == server.user_key.convert_to_public())

        class Files(asyncssh.SFTPServer):
            def __init__(self, channel: Any) -> None:
                super().__init__(channel, chroot=str(server.root))

            def read(self, file: Any, offset: int, size: int) -> Any:
                server.reads.append((offset, size))
                return super().read(file, offset, size)

            def write(self, file: Any, offset: int, content: bytes) -> Any:
                super().write(file, offset, server.damage(offset, content))
                return len(content)

        async def listen() -> Any:
            return await asyncssh.listen(
                HOST, self.port, server_factory=Login, server_host_keys=[self.key], sftp_factory=Files
            )

        self._acceptor = self.loop.run(listen())
        self.port = self._acceptor.get_port()

    def kill(self) -> None:
        """Cut all connections and take no new ones."""

        async def end() -> None:
            self._acceptor.close()
            await self._acceptor.wait_closed()
            for connection in self.connections:
                connection.abort()
            for connection in self.connections:
                await connection.wait_closed()
            self.connections.clear()

        self.loop.run(end())

    def restart(self) -> None:
        self.kill()
        self.start()


@contextmanager
def sftp_server(folder: Path) -> Iterator[SftpServer]:
    """A server over `folder`/root."""
    root = folder / "root"
    root.mkdir()
    loop = Loop()
    server = SftpServer(
        loop, root, asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    )
    server.start()
    try:
        yield server
    finally:
        server.kill()
        loop.close()


@dataclass
class Relay:
    """What stands between: passes bytes on to a port, and cuts a connection once so many have come back or gone out."""

    loop: Loop
    to_port: int
    cuts: list[int]
    """Bytes after which each of the next connections is cut; further ones are left alone."""
    upload: bool
    """Whether the bytes that go out count, or those that come back."""
    spoils: int | None = None
    """Which of all bytes that count is changed on the way."""
    port: int = 0
    connections: int = 0
    began: bytes = b""
    """The beginning of what went out."""

    async def _pass_on(self, reader: Any, writer: Any) -> None:
        left = self.cuts.pop(0) if self.cuts else None
        self.connections += 1

        async def copy(source: Any, target: Any, counts: bool) -> None:
            nonlocal left
            while content := await source.read(1 << 16):
                if source is reader:
                    self.began = (self.began + content)[: 1 << 16]
                if counts and self.spoils is not None:
                    if 0 <= self.spoils < len(content):
                        content = content[: self.spoils] + b"?" + content[self.spoils + 1 :]
                    self.spoils -= len(content)
                if counts and left is not None:
                    content = content[:left]
                    left -= len(content)
                target.write(content)
                await target.drain()
                if left == 0:
                    break

        back = None
        try:
            there, back = await asyncio.open_connection(HOST, self.to_port)
            copies = [
                asyncio.ensure_future(copy(reader, back, self.upload)),
                asyncio.ensure_future(copy(there, writer, not self.upload)),
            ]
            try:
                with suppress(asyncio.CancelledError):
                    await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in copies:
                    one.cancel()
                await asyncio.gather(*copies, return_exceptions=True)
        finally:
            # Whatever was being waited for as the relay ended.
            for end in filter(None, (writer, back)):
                end.transport.abort()


@contextmanager
def relay(to_port: int, cuts: list[int], *, upload: bool, spoils: int | None = None) -> Iterator[Relay]:
    """One to that port; see `Relay`."""
    loop = Loop()
    one = Relay(loop, to_port, list(cuts), upload, spoils)

    async def listen() -> Any:
        return await asyncio.start_server(one._pass_on, HOST, 0)

    server = loop.run(listen())
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        loop.loop.call_soon_threadsafe(server.close)
        loop.close()


@contextmanager
def s3_server() -> Iterator[int]:
    """The port of an S3 service without objects."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()
