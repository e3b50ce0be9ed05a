"""`SaliencyBatch`es in, for each frame the tracker's numbers of it and of the moments before it out."""

from __future__ import annotations

from vidsal.frames import SaliencyBatch
from vidsal.tracks import ColumnSource, FrameNumbers, Tracker

__all__ = ["TRAIL_SECONDS", "Recent"]

TRAIL_SECONDS = 1.0
"""How far back the way of the peak is drawn."""


class Recent:
    """Remembers the last second of a shot, for the styles that draw what was measured.

    Args:
        tracker: makes rows of `FrameNumbers`; None makes a new one.
    """

    def __init__(self, tracker: ColumnSource | None = None) -> None:
        self._tracker = tracker or Tracker()
        self._rows: tuple[FrameNumbers, ...] = ()

    def reset(self) -> None:
        """Forgets what was before; a tracker that is shared has to be reset by itself."""
        self._rows = ()

    def update(self, batch: SaliencyBatch) -> list[tuple[FrameNumbers, ...]]:
        """For each frame its rows, the oldest first and its own last; how frames are grouped changes nothing.

        They are of its own shot, and at most `TRAIL_SECONDS` old.
        """
        found = []
        for now in self._tracker.update(batch):
            earliest = now.pts_seconds - TRAIL_SECONDS
            kept = [
                row for row in self._rows if row.shot == now.shot and earliest <= row.pts_seconds <= now.pts_seconds
            ]
            self._rows = (*kept, now)
            found.append(self._rows)
        return found
