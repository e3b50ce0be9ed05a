"""The regions of a table in, a task for Label Studio out: JSON to import, with a prediction of one box for each track.

Label Studio shows a video by time, and counts frames from 1 at the rate that its labelling configuration names. The
task carries that rate as `fps`.

Format: https://labelstud.io/guide/predictions and https://labelstud.io/tags/videorectangle
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.exports.contract import nine_digits
from vidsal.exports.regions import LABEL, RegionsExport, Tracks, key_frames, plain_name
from vidsal.exports.timeline import shown_rate

__all__ = ["LabelStudioExport"]

_SIDES = ("left", "top", "width", "height")


class LabelStudioExport(RegionsExport):
    """One task with a prediction; each track is a result of the type `videorectangle`.

    Between two items of a sequence a box moves evenly. An item that is not `enabled` is the last frame in which it is
    there.
    """

    def _made(self, tracks: Tracks) -> Iterator[bytes]:
        rate, varies = self.clock.settle(self.messages)
        fps = float(rate)
        if varies:
            self.messages.append(
                f"the frame rate varies: Label Studio counts {shown_rate(rate)} frames a second, and each of these "
                "has the boxes of the frame that is shown then"
            )
        # A source may step back in time.
        frames = np.maximum.accumulate(np.rint(tracks.seconds * fps).astype(np.int64) + 1)
        shown = _Shown.of(frames)
        duration = max(float(tracks.seconds[-1]) + 1 / fps, self.footage.duration_seconds or 0.0)
        about = {"framesCount": max(int(frames[-1]), round(duration * fps)), "duration": _nine(duration)}
        data = {"video": plain_name(self.footage.name), "fps": _nine(fps)}
        task = {"data": data, "predictions": [{"model_version": "vidsal", "result": []}]}
        begin, end = json.dumps([task]).rsplit("[]", 1)
        yield f"{begin}[\n".encode()
        comma = ""
        for number, boxes in tracks.each():
            shot, id = int(tracks.shots[number - 1]), int(tracks.ids[number - 1])
            if not (sequence := [*self._sequence(boxes, shown, fps)]):
                continue
            result = {
                "id": f"shot{shot}-region{id}",
                "type": "videorectangle",
                "from_name": "box",
                "to_name": "video",
                "score": _nine(boxes["mass"].mean()),
                "meta": {"shot": shot, "region": id},
                "value": {**about, "sequence": sequence, "labels": [LABEL]},
            }
            yield f"{comma}{json.dumps(result)}".encode()
            comma = ",\n"
        yield f"\n]{end}\n".encode()

    def _sequence(self, boxes: npt.NDArray[np.void], shown: _Shown, fps: float) -> Iterator[dict[str, Any]]:
        for stretch in Tracks.stretches(shown.only(boxes)):
            held, numbers = shown.held(stretch)
            keys = key_frames(held, numbers)
            for box, frame in zip(held[keys], numbers[keys].tolist(), strict=True):
                yield {
                    "frame": frame,
                    "time": _nine((frame - 1) / fps),
                    "enabled": frame < int(numbers[-1]),
                    "rotation": 0,
                    **self._placed(box),
                }

    def _placed(self, box: np.void) -> dict[str, float]:
        """A box in percent of the picture."""
        shares = nine_digits([100 * int(box[side]) / size for side, size in zip(_SIDES, self.size * 2, strict=True)])
        return dict(zip(("x", "y", "width", "height"), shares.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class _Shown:
    """At which frames of an even count the frames of a source are shown: each until the next one."""

    is_shown: npt.NDArray[np.bool_]
    """(F,) False where the next one falls on the same frame."""
    order: npt.NDArray[np.int64]
    """(F,) ordinal among those that are shown."""
    first: npt.NDArray[np.int64]
    """(S,) of those that are shown, the first frame."""
    last: npt.NDArray[np.int64]
    """(S,) the last one."""

    @classmethod
    def of(cls, frames: npt.NDArray[np.int64]) -> _Shown:
        """Those of frames that fall on these numbers, (F,)."""
        is_shown = np.append(frames[1:] != frames[:-1], True)
        first = frames[is_shown]
        last = np.maximum(np.append(first[1:] - 1, first[-1]), first)
        return cls(is_shown, np.cumsum(is_shown) - 1, first, last)

    def only(self, boxes: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
        """Boxes of those that are shown, with these counted instead of rows."""
        kept: npt.NDArray[np.void] = boxes[self.is_shown[boxes["row"]]]
        kept["row"] = self.order[kept["row"]]
        return kept

    def held(self, boxes: npt.NDArray[np.void]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64]]:
        """Boxes of a stretch with their frames: again at the last frame of each, so that none moves before that."""
        first, last = self.first[boxes["row"]], self.last[boxes["row"]]
        source = np.repeat(np.arange(len(boxes)), 1 + (last > first))
        is_again = np.append(False, source[1:] == source[:-1])
        return boxes[source], np.where(is_again, last[source], first[source])


def _nine(value: float) -> float:
    return float(format(value, ".9g"))
