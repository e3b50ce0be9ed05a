"""The regions of a table in, COCO's form for video out: JSON with videos, images, tracks and annotations.

The fields are COCO's (https://cocodataset.org/#format-data), with those that TAO (video_id, track_id, frame_index) and
CocoVID (instance_id, frame_id) add for video.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vidsal.exports.contract import Columns, Export, Fact, Footage
from vidsal.exports.regions import LABEL, REGION_SOURCES, Clock, Ids, boxes_of, made_on, plain_name

__all__ = ["CocoExport"]

_VIDEO, _CATEGORY = 1, 1
_PIECE = 4096


class CocoExport(Export):
    """One video; every frame is an image, whether it has regions or not; a region in a frame is an annotation.

    Annotations are written as rows come, images at the end.
    """

    sources = REGION_SOURCES
    needs: ClassVar[frozenset[Fact]] = frozenset({"size", "time"})

    def __init__(self, footage: Footage) -> None:
        super().__init__(footage)
        self._clock = Clock(footage)
        self._ids = Ids()
        self._index: list[npt.NDArray[np.int64]] = []
        self._seconds: list[npt.NDArray[np.float64]] = []
        self._rows = self._annotations = 0
        self._opening = '{"annotations": ['

    def update(self, columns: Columns) -> bytes:
        """Takes the next rows; their annotations."""
        self._clock.update(columns)
        made = []
        for box in boxes_of(columns, self._ids, first=self._rows).tolist():
            row, track, left, top, width, height, mass = box
            self._annotations += 1
            values = {
                "id": self._annotations,
                "image_id": row + 1,
                "video_id": _VIDEO,
                "category_id": _CATEGORY,
                "track_id": track,
                "instance_id": track,
                "bbox": [left, top, width, height],
                "area": width * height,
                "iscrowd": 0,
                "score": mass,
            }
            made.append(("," if self._annotations > 1 else "") + "\n" + json.dumps(values))
        self._index.append(np.asarray(columns["index"], np.int64))
        self._seconds.append(np.asarray(columns["pts_seconds"], np.float64))
        self._rows += len(self._index[-1])
        opening, self._opening = self._opening, ""
        return (opening + "".join(made)).encode()

    def flush(self) -> bytes:
        """The rest of the file."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The rest of the file in pieces."""
        before = self._clock.frames_before(self.messages)
        rate, _ = self._clock.settle([])
        width, height = self.footage.width or 0, self.footage.height or 0
        name, folder = plain_name(self.footage.name), plain_name(self.footage.stem)
        numbers, seconds = np.concatenate(self._index) + before, np.concatenate(self._seconds)
        yield b"\n],\n" + b'"images": ['
        for start in range(0, len(numbers), _PIECE):
            part = slice(start, start + _PIECE)
            lines = []
            for i, (frame, time) in enumerate(zip(numbers[part].tolist(), seconds[part].tolist(), strict=True), start):
                values = {
                    "id": i + 1,
                    "video_id": _VIDEO,
                    "frame_id": frame,
                    "frame_index": frame,
                    "seconds": time,
                    "file_name": f"{folder}/{frame:06d}.jpg",
                    "width": width,
                    "height": height,
                }
                lines.append(("," if i else "") + "\n" + json.dumps(values))
            yield "".join(lines).encode()
        tracks = [
            {"id": i, "video_id": _VIDEO, "category_id": _CATEGORY, "shot": shot, "region": id}
            for i, (shot, id) in enumerate(zip(self._ids.shots, self._ids.ids, strict=True), start=1)
        ]
        video = {
            "id": _VIDEO,
            "name": name,
            "file_name": name,
            "width": width,
            "height": height,
            "length": len(numbers),
            "fps": float(format(float(rate), ".9g")),
        }
        date = f"{made_on(self.footage):%Y-%m-%dT%H:%M:%SZ}"
        info = {"description": f"salient regions of {name}, by vidsal", "version": "1", "date_created": date}
        rest: dict[str, Any] = {
            "tracks": tracks,
            "videos": [video],
            "categories": [{"id": _CATEGORY, "name": LABEL, "supercategory": "attention"}],
            "info": info,
            "licenses": [],
        }
        yield ("\n],\n" + json.dumps(rest)[1:] + "\n").encode()
