"""The regions of a table in, boxes for CVAT out: "CVAT for video 1.1", one track for each id of a shot.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-xml/
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

import numpy as np
import numpy.typing as npt

from vidsal.exports.regions import LABEL, RegionsExport, Tracks, key_frames, made_on, plain_name

__all__ = ["CvatExport"]

_PIECE = 2**18
_ATTRIBUTES = (("shot", "0"), ("region", "1"), ("mean_mass", "0"))
"""Attributes of a track with their defaults; the same for all its frames."""


class CvatExport(RegionsExport):
    """Boxes as CVAT draws them: it moves a box evenly between key frames, and hides it from one that says "outside".

    Frames are numbered as CVAT decodes them from the whole source. Where a region is not reported in between, or ends,
    the frame after says "outside".
    """

    def _made(self, tracks: Tracks) -> Iterator[bytes]:
        numbers = tracks.index + self.clock.frames_before(self.messages)
        rate, _ = self.clock.settle([])
        end = int(numbers[-1]) + 1
        # The source may go on after the part that was run.
        frames = max(end, self._source_frames(float(tracks.seconds[-1]), end, float(rate)))
        if frames > end and (counted := self.clock.source_frames()) is not None:
            frames = max(end, counted)
        document = _Document()
        with document.element("annotations"):
            document.text("version", "1.1")
            self._write_meta(document, frames)
            for number, boxes in tracks.each():
                shot, id = tracks.shots[number - 1], tracks.ids[number - 1]
                values = (f"{shot}", f"{id}", f"{boxes['mass'].mean():.4f}")
                with document.element("track", id=f"{number - 1}", label=LABEL, source="auto"):
                    for stretch in Tracks.stretches(boxes):
                        self._write_boxes(document, stretch, numbers[stretch["row"]], values, frames)
                        if document.size > _PIECE:
                            yield document.drain()
        yield document.drain()

    def _source_frames(self, last: float, end: int, rate: float) -> int:
        said = self.footage.duration_seconds
        return 0 if said is None else end + int((said - last) * rate - 0.5)

    def _write_boxes(
        self,
        document: _Document,
        boxes: npt.NDArray[np.void],
        numbers: npt.NDArray[np.int64],
        values: tuple[str, ...],
        frames: int,
    ) -> None:
        keys = key_frames(boxes, numbers)
        for box, number in zip(boxes[keys], numbers[keys].tolist(), strict=True):
            self._write_box(document, box, number, values, outside=False)
        if number + 1 < frames:
            self._write_box(document, box, number + 1, values, outside=True)

    @staticmethod
    def _write_box(document: _Document, box: np.void, frame: int, values: tuple[str, ...], *, outside: bool) -> None:
        left, top, width, height = (int(box[name]) for name in ("left", "top", "width", "height"))
        corners = {"xtl": left, "ytl": top, "xbr": left + width, "ybr": top + height}
        flags = {"frame": f"{frame}", "keyframe": "1", "outside": f"{outside:d}", "occluded": "0"}
        with document.element("box", **flags, **{name: f"{value}.00" for name, value in corners.items()}, z_order="0"):
            for (name, _), value in zip(_ATTRIBUTES, values, strict=True):
                document.text("attribute", value, name=name)

    def _write_meta(self, document: _Document, frames: int) -> None:
        width, height = self.size
        date = f"{made_on(self.footage):%Y-%m-%d %H:%M:%S.%f+00:00}"
        with document.element("meta"):
            with document.element("task"):
                plain = {"id": "0", "name": plain_name(self.footage.name), "size": f"{frames}", "mode": "interpolation"}
                plain |= {"overlap": "0", "bugtracker": "", "flipped": "False", "created": date, "updated": date}
                for name, value in plain.items():
                    document.text(name, value)
                with document.element("labels"), document.element("label"):
                    document.text("name", LABEL)
                    document.text("type", "bbox")
                    with document.element("attributes"):
                        for name, default in _ATTRIBUTES:
                            with document.element("attribute"):
                                document.text("name", name)
                                document.text("mutable", "False")
                                document.text("input_type", "text")
                                document.text("default_value", default)
                                document.text("values", default)
                with document.element("segments"), document.element("segment"):
                    for name, value in (("id", "0"), ("start", "0"), ("stop", f"{frames - 1}"), ("url", "")):
                        document.text(name, value)
                with document.element("owner"):
                    document.text("username", "vidsal")
                    document.text("email", "")
                with document.element("original_size"):
                    document.text("width", f"{width}")
                    document.text("height", f"{height}")
            document.text("dumped", date)


class _Document:
    """XML that is written piece by piece."""

    def __init__(self) -> None:
        self._made = io.BytesIO()
        self._writer = XMLGenerator(self._made, "utf-8", short_empty_elements=True)
        self._writer.startDocument()
        self._depth = 0

    @property
    def size(self) -> int:
        """Bytes that wait to be drained."""
        return self._made.tell()

    @contextmanager
    def element(self, name: str, /, **attributes: str) -> Iterator[None]:
        """An element with what is written in the block."""
        self._begin(name, attributes)
        self._depth += 1
        yield
        self._depth -= 1
        self._indent()
        self._writer.endElement(name)
        if not self._depth:
            self._writer.ignorableWhitespace("\n")

    def text(self, name: str, content: str, /, **attributes: str) -> None:
        """An element with text."""
        self._begin(name, attributes)
        if content:
            self._writer.characters(content)
        self._writer.endElement(name)

    def drain(self) -> bytes:
        """What has been written since the last time."""
        made = self._made.getvalue()
        self._made.seek(0)
        self._made.truncate()
        return made

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        self._indent()
        self._writer.startElement(name, AttributesImpl(attributes))

    def _indent(self) -> None:
        self._writer.ignorableWhitespace("\n" * (self._depth > 0) + "  " * self._depth)
