"""`SaliencyBatch`es in, the report of the video out: an .html that shows the other results of the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vidsal.aois.measured import find_measured
from vidsal.decode import VideoInfo
from vidsal.exports.contract import Footage, columns_of
from vidsal.frames import SaliencyBatch
from vidsal.report.areas import GatheredAreas
from vidsal.report.gather import Gathered
from vidsal.report.page import Drawn, Results, make_report
from vidsal.sinks.aois import SharedAois
from vidsal.sinks.contract import FileSink
from vidsal.tracks import ColumnSource, Tracker

__all__ = ["ReportSink"]


class ReportSink(FileSink):
    """Writes the page that shows one video: `vidsal.report.page.make_report`.

    It is made when the other results are whole, so this sink is to be completed as the last one.

    Args:
        target: .html.
        info: the source.
        tracker: makes the numbers of the frames, of `vidsal.tracks.FrameNumbers`; None makes a new one.
        drawn: the sink of the video or picture with the heat; None where none is written.
        aois: what measures areas of interest; None where there are none.
        overwrite: replaces a target that exists.
        end_seconds: where the part of the source ends that is read; None: at its own end.

    Raises:
        ConfigError: the target's ending is another one.
        EncodeError: the target exists or cannot be written.
    """

    suffixes = (".html",)
    stage = "report"
    describe: Callable[[], Mapping[str, Any]] = dict
    """What is asked, in the end, for how the results came about: as NAME.vidsal.json has it."""
    source_stays: bool = True
    """Whether the source stays where it is when all is done, so that the page may play it."""

    def __init__(
        self,
        target: str | Path,
        info: VideoInfo,
        tracker: ColumnSource | None = None,
        *,
        drawn: FileSink | None = None,
        aois: SharedAois | None = None,
        overwrite: bool = False,
        end_seconds: float | None = None,
    ) -> None:
        super().__init__(target, overwrite=overwrite)
        self._info = info
        self._footage = Footage.of(info, end_seconds=end_seconds)
        self._tracker = tracker or Tracker()
        self._drawn = drawn
        self._aois = aois
        self._areas = None if aois is None else GatheredAreas(aois.areas.aois.names, footage=aois.footage)
        self._gathered: Gathered | None = None

    def _write(self, batch: SaliencyBatch) -> None:
        if self._gathered is None:
            self._gathered = Gathered(dataclasses.replace(self._footage, height=batch.height, width=batch.width))
        self._gathered.update(columns_of(self._tracker.update(batch), Gathered.sources))
        if self._aois is not None and self._areas is not None:
            self._areas.update(self._aois.update(batch))
        self._frames += len(batch)

    def _close(self, *, complete: bool) -> None:
        if not complete or self._gathered is None:
            # Half a report is none: nothing is kept.
            self._frames = 0
            return
        self._gathered.finish()
        info, drawn, areas = self._info, self._drawn, self._areas
        if areas is not None:
            areas.finish()
            if info.path is not None:
                folder = self.path.parent
                areas.measured, message = find_measured(folder, video=info.path.name, names=areas.names)
                self.messages += [message] if message else []
        results = Results(
            name=info.source if info.path is None else info.path.name,
            gathered=self._gathered,
            record=self.describe(),
            areas=areas,
            drawn=None if drawn is None else Drawn(drawn.path, drawn.partial_path),
            source=info.path,
            source_stays=self.source_stays,
            without_source=_without(info),
        )
        page = make_report(results, page=self.path)
        with self._telling():
            self.partial_path.write_text(page, encoding="utf-8", newline="\n")


def _without(info: VideoInfo) -> str:
    what = "a camera" if info.kind == "camera" else "no file" if info.path is None else "on another machine"
    return f"The input is {what}, so the untouched picture cannot be shown."
