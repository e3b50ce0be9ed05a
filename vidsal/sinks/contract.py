"""What every sink promises: `SaliencyBatch`es in, one file out, whole under its name or partial under another.

A sink writes to `NAME.partial.EXT` beside its target and renames at the end, so no half file ever
has the final name. Left with an error, it closes the partial file cleanly and keeps it if it holds a frame.
The sinks of one run are finished together (`finish_together`): all files are whole before the first gets its name.
While it is entered, it holds a lock on `NAME.partial.EXT.lock`, so that no two runs write the same file.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from av.error import FFmpegError

from vidsal.errors import ConfigError, EncodeError, ExistsError, Setting
from vidsal.files import claim, clear, fresh, put_all_in_place, release, writing
from vidsal.frames import SaliencyBatch

__all__ = ["PROVENANCE_KEY", "FileSink", "Sink", "finish_together", "partial_of"]


def partial_of(target: Path) -> Path:
    """What a file is called while it is written."""
    return target.with_name(f"{target.stem}.partial{target.suffix}")


class Sink(Protocol):
    """Where results leave. Entered before the first batch, left after the last; one verb between."""

    @property
    def path(self) -> Path:
        """The file that is there once the sink was left without an error."""
        ...

    def write(self, batch: SaliencyBatch) -> None:
        """Takes the next frames.

        Raises:
            EncodeError: the result cannot be written.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class FileSink(ABC):
    """The life of every sink here: check the target early, write a partial file, rename or keep or remove it.

    A sink of another format sets `suffixes` and `stage`, writes to `partial_path` in `_write`, which counts `_frames`,
    and ends the file in `_close`. What may fail there stands inside `with self._telling():`.
    """

    suffixes: tuple[str, ...]
    """Endings of targets, in lower case."""
    stage: str
    """Its name among the stages of a run's report."""
    messages: list[str]
    """Sentences for a person about what was changed, left out or repaired."""
    provenance: str = ""
    """How the result comes about, as JSON, set before it is entered; goes into files that have a place for it."""

    def __init__(self, target: str | Path, *, overwrite: bool = False, source: Path | None = None) -> None:
        target = Path(target)
        if target.suffix.lower() not in self.suffixes:
            raise ConfigError(f"{target} must end in one of {', '.join(self.suffixes)}")
        self._overwrite = overwrite
        self._source = source
        self._target = target
        self.messages = []
        self._frames = 0
        self._broken = False
        self._is_whole = False
        self._is_placed = False
        self._lock: int | None = None
        self._check_target()

    @property
    def path(self) -> Path:
        """The file that is there once the sink was left without an error."""
        return self._target

    @property
    def partial_path(self) -> Path:
        """The file that is written until then."""
        return partial_of(self._target)

    def write(self, batch: SaliencyBatch) -> None:
        """Writes the next frames.

        Raises:
            EncodeError: the disk is full, the file or the encoder fails.
        """
        if self._broken:
            raise EncodeError(f"{self.partial_path} could not be written earlier; nothing more goes into it")
        self._write(batch)

    def __enter__(self) -> Self:
        """Claims the partial file for this run; what a killed run left there is removed.

        Raises:
            EncodeError: another run is writing the same target, or it has appeared since the sink was made.
        """
        try:
            self._claim()
            # Another run may have finished since the first look.
            self._check_target()
            with self._telling():
                for path in self._scratch_paths():
                    clear(path)
                # It is there before a library opens it by name, so that no link can be.
                fresh(self.partial_path)
        except BaseException:
            with suppress(EncodeError, OSError, FFmpegError):
                self._close(complete=False)
            self._release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Finishes and renames the file; after an error, closes the partial file and keeps it if it holds a frame.

        Raises:
            EncodeError: the end of the file cannot be written, no frame ever came, or a file of the final name
                has appeared meanwhile.
        """
        try:
            self._finish(failed=kind is not None or self._broken)
        finally:
            self._release()

    def complete(self) -> None:
        """Ends the partial file: afterwards it is whole, and only its name is left to be given.

        Raises:
            EncodeError: the end of the file cannot be written, or no frame ever came.
        """
        if self._broken:
            raise EncodeError(f"{self.partial_path} could not be written earlier; it is not whole")
        if self._is_whole:
            return
        self._close(complete=self._frames > 0)
        if not self._frames:
            self.partial_path.unlink(missing_ok=True)
            raise EncodeError(f"{self._target} was not written: no frame came; choose another time range or source")
        self._is_whole = True

    def _finish(self, *, failed: bool) -> None:
        if not failed:
            if not self._is_placed:
                finish_together([self])
            return
        if not self._is_whole:
            # The first error is the one to report; what closing adds to it is not.
            with suppress(EncodeError, OSError, FFmpegError):
                self._close(complete=False)
        if not self._frames:
            self.partial_path.unlink(missing_ok=True)

    def _check_not_appeared(self) -> None:
        if self._target.exists() and not self._overwrite:
            raise EncodeError(
                f"{self._target} has appeared while this run was writing; it is kept, and the whole result is "
                f"{self.partial_path}: rename it"
            )

    @abstractmethod
    def _write(self, batch: SaliencyBatch) -> None:
        """Writes a batch, counting `_frames`."""

    @abstractmethod
    def _close(self, *, complete: bool) -> None:
        """Ends and closes the partial file; `complete` is False after an error."""

    def _scratch_paths(self) -> tuple[Path, ...]:
        """Further files beside the partial one that are there while it is written, and that a killed run leaves."""
        return ()

    def _check_target(self) -> None:
        # A name can be too long even to be looked for.
        with writing(self._target, remedy="choose another name"):
            self._look_at_target()

    def _look_at_target(self) -> None:
        target, folder = self._target, self._target.parent
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            raise EncodeError(f"cannot write {target}: {folder} {what}; make the folder or choose another one")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise EncodeError(f"cannot write {target}: no permission to write into {folder}; choose another folder")
        if target.exists():
            if not target.is_file():
                what = "folder" if target.is_dir() else "device or a pipe"
                raise EncodeError(f"cannot write {target}: it is a {what}; choose another name")
            if self._source is not None and self._source.exists() and target.samefile(self._source):
                raise EncodeError(f"{target} is the source itself; choose another name for the result")
            if not self._overwrite:
                raise ExistsError(
                    f"{target} exists already; use ",
                    Setting("overwrite", True),
                    " to replace it, or choose another name",
                )

    def _claim(self) -> None:
        with self._telling():
            self._lock = claim(self.partial_path)
        if self._lock is None:
            raise EncodeError(
                f"cannot write {self._target}: another run is writing {self.partial_path}; "
                "wait until it has ended, or choose another name"
            )

    def _release(self) -> None:
        if self._lock is not None:
            lock, self._lock = self._lock, None
            release(self.partial_path, lock)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turns what the system or FFmpeg raises while writing into an `EncodeError` that says what to do."""
        with writing(self.partial_path, remedy=None, also=_LIBRARY_ERRORS):
            try:
                yield
            except (OSError, *_LIBRARY_ERRORS):
                self._broken = True
                raise


_LIBRARY_ERRORS = (FFmpegError, ValueError)


def finish_together(sinks: Sequence[FileSink], *, before_naming: Callable[[], None] | None = None) -> None:
    """Give the files of one run their names, once all of them are whole; each sink still has to be left.

    Args:
        sinks: entered, and written to for the last time.
        before_naming: called when all files are whole, before the first gets its name.

    Raises:
        EncodeError: one of them cannot be ended or named; then none has its final name.
    """
    for sink in sinks:
        sink.complete()
    for sink in sinks:
        sink._check_not_appeared()
    if before_naming is not None:
        before_naming()
    with writing(sinks[0].path if sinks else Path(), remedy=None):
        put_all_in_place([(sink.partial_path, sink.path) for sink in sinks])
    for sink in sinks:
        sink._is_placed = True


PROVENANCE_KEY = "vidsal_run"
"""The name under which a file keeps `FileSink.provenance`; tags of a source that begin with vidsal_ are not copied."""


def usable_rate(rate: Fraction | None) -> Fraction:
    """The source's frames a second as encoders take them; 25 where the source has none or nonsense."""
    return rate if rate is not None and 0 < rate <= 1000 else Fraction(25)
