"""What `vidsal serve` is asked: `ServerOptions`, and `ServeOptions`, those of a run and of the server together."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Annotated

from vidsal.errors import ConfigError, Setting
from vidsal.options import Checked, Range
from vidsal.pipe.options import RunOptions

__all__ = ["ServeOptions", "ServerOptions"]


@dataclass(frozen=True)
class ServerOptions(Checked):
    """Where the server listens, and what it takes."""

    host: str = "127.0.0.1"
    """Address to listen at. Any but this machine's own (127.0.0.1, ::1, localhost) can be reached by others: then a
    token is asked for, which is printed at the start."""
    port: Annotated[int, Range(at_least=0, at_most=65535)] = 8765
    """Port to listen at; 0: any that is free."""
    allow_hosts: tuple[str, ...] = ()
    """Further names by which browsers may call the server, several with commas between: those of a proxy before it."""
    uploads: str = "uploads"
    """Folder below DIR for videos that are dropped on the page, and for their results."""
    max_upload: Annotated[float, Range(above=0)] = 4.0
    """Largest video that is taken, in GB."""
    keep_free: Annotated[float, Range(at_least=0)] = 2.0
    """Free space in GB on the disk of DIR below which no video is taken."""
    max_waiting: Annotated[int, Range(at_least=1)] = 100
    """Videos that may wait for their turn; no more are taken until one has ended."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = self.uploads.split("/")
        if not all(re.fullmatch(r"[^\\:\0.][^\\:\0]*", part) for part in parts) or self.uploads.startswith("/"):
            what = " must be the name of a folder below DIR that is not hidden, such as uploads"
            raise ConfigError(Setting("uploads", self.uploads), what)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def max_bytes(self) -> int:
        """`max_upload` in bytes."""
        return round(self.max_upload * 1e9)


@dataclass(frozen=True)
class ServeOptions(RunOptions):
    """All options of `vidsal serve`: those of the runs it makes, and of the server."""

    server: ServerOptions = field(default_factory=ServerOptions)
    """Where the server listens, and what it takes."""

    def __post_init__(self) -> None:
        if self.output.output is not None:
            raise ConfigError(Setting("output", self.output.output), " cannot be chosen: results lie below DIR")
