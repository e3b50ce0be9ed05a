"""Rows of the table in, three files for ELAN out: tiers of shots and regions, a time series, and how ELAN shows that.

NAME.vidsal.eaf links the source as its media, and the other two. ELAN finds the settings of time series by the name of
the .eaf: its own, with _tsconf.xml at the end. It counts in milliseconds, and takes URLs as paths that begin with
"file://", with nothing in them written in another way.

Formats: https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf, and for the time series ELAN's manual.
"""

from __future__ import annotations

import csv
import importlib
import io
import math
import mimetypes
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.errors import EncodeError
from vidsal.exports.contract import Columns, Export, Footage
from vidsal.exports.options import EXPORT_FILES
from vidsal.exports.regions import RegionsExport, Tracks, made_on, plain_name
from vidsal.exports.shots import SHOT_SOURCES, ShotNumbers, shot_list

__all__ = ["EafExport", "SeriesExport", "SeriesSettingsExport"]

_Integers = npt.NDArray[np.int64]


class EafExport(RegionsExport):
    """ELAN's annotations: a tier of shots, and tiers of regions, in which an annotation is a stretch of frames.

    Annotations of one tier must not overlap, so there are as many tiers of regions as there are regions at once, three
    at most. A region stays in its tier while that is free. An annotation begins at the first whole millisecond at which
    its first frame is shown, and ends where the frame after its last one begins.
    """

    sources = tuple(dict.fromkeys((*RegionsExport.sources, *SHOT_SOURCES)))
    needs = frozenset()

    def __init__(self, footage: Footage) -> None:
        super().__init__(footage)
        self._pympi = _load_pympi()
        self._shots = shot_list(footage)
        self._ended: list[ShotNumbers] = []

    def update(self, columns: Columns) -> bytes:
        """Takes the next rows; the file is made at the end."""
        self._ended += self._shots.update(columns)
        return super().update(columns)

    def _made(self, tracks: Tracks) -> Iterator[bytes]:
        shots = [*self._ended, *self._shots.flush()]
        # A source may step back in time.
        edges = np.maximum.accumulate(_milliseconds(np.append(tracks.seconds, shots[-1].end_seconds)))
        if len(tracks.index) == 1:
            # A picture has no length, and an annotation must have one.
            edges[-1] = max(edges[-1], edges[0] + 1)
        first = np.searchsorted(tracks.index, [shot.first_index for shot in shots])
        spans = zip(edges[first].tolist(), edges[[*first[1:], -1]].tolist(), shots, strict=True)
        tiers = {"shots": [(start, end, f"shot {shot.shot}") for start, end, shot in spans]}
        tiers |= _region_tiers(tracks, edges)
        if lost := sum(first >= after for annotations in tiers.values() for first, after, _ in annotations):
            self.messages.append(f"left out of the .eaf, since shorter than a millisecond: {lost} annotations")
        yield self._document({name: [one for one in of if one[0] < one[1]] for name, of in tiers.items()})

    def _document(self, tiers: dict[str, list[tuple[int, int, str]]]) -> bytes:
        eaf = self._pympi.Eaf(author="vidsal")
        eaf.remove_tier("default")
        eaf.remove_linguistic_type("default-lt")
        place = {"xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"}
        eaf.adocument.update({"VERSION": "3.0", "FORMAT": "3.0", "DATE": _date(self.footage), **place})
        eaf.header.update({"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
        media = self.footage.path
        eaf.add_linked_file(
            plain_name(self.footage.name) if media is None else _url(media),
            relpath=None if media is None else _relative(media, self.target),
            mimetype=_media_type(self.footage.name),
        )
        if media is None and not self.footage.is_address:
            self.messages.append(f"where {self.footage.name} lies is not known: ELAN will ask for it")
        for kind, mimetype in (("eaf-settings", "text/xml"), ("eaf-series", "text/plain")):
            path = _beside(self.target, self.footage, kind)
            eaf.add_secondary_linked_file(_url(path), relpath=f"./{plain_name(path.name)}", mimetype=mimetype)
        for name in tiers:
            kind = name.rstrip(" 123")
            if kind not in eaf.linguistic_types:
                eaf.add_linguistic_type(kind)
            eaf.add_tier(name, ling=kind)
        self._annotate(eaf, tiers)
        eaf.properties = [("lastUsedAnnotationId", max((int(id[1:]) for id in eaf.annotations), default=0))]
        document = self._pympi.to_adocument(eaf)
        return bytes(ElementTree.tostring(document, encoding="UTF-8", xml_declaration=True)) + b"\n"

    @staticmethod
    def _annotate(eaf: Any, tiers: dict[str, list[tuple[int, int, str]]]) -> None:
        """Adds annotations whose time slots come in the order of time, as the format wants it."""
        wanted = [(name, *one) for name, annotations in tiers.items() for one in annotations]
        times = sorted((time, which, i) for i, (_, *span, _) in enumerate(wanted) for which, time in enumerate(span))
        slots = {(i, which): eaf.generate_ts_id(time) for time, which, i in times}
        for i, (name, _, _, text) in enumerate(wanted):
            id = eaf.generate_annotation_id()
            eaf.annotations[id] = name
            eaf.tiers[name][0][id] = (slots[i, 0], slots[i, 1], text, None)


def _region_tiers(tracks: Tracks, edges: _Integers) -> dict[str, list[tuple[int, int, str]]]:
    stretches = []
    for number, boxes in tracks.each():
        text = f"shot {tracks.shots[number - 1]} region {tracks.ids[number - 1]}"
        stretches += [(int(part["row"][0]), int(part["row"][-1]) + 1, number, text) for part in tracks.stretches(boxes)]
    tiers: dict[str, list[tuple[int, int, str]]] = {}
    free_from = [0, 0, 0]
    lane_of: dict[int, int] = {}
    for first, after, number, text in sorted(stretches):
        lane = lane_of.get(number, 0)
        if free_from[lane] > first:
            lane = next(i for i, row in enumerate(free_from) if row <= first)
        lane_of[number], free_from[lane] = lane, after
        tiers.setdefault(f"regions {lane + 1}", []).append((int(edges[first]), int(edges[after]), text))
    return dict(sorted(tiers.items()))


_SERIES = (
    ("peak_density", "peak density", "x uniform", "255,0,0"),
    ("coverage", "coverage", "share", "0,110,220"),
    ("entropy_share", "entropy", "share", "0,140,60"),
)
"""Columns of the time series: the table's, what ELAN calls it, unit, colour."""


class SeriesExport(Export):
    """The time series: comma-separated values with times in the first column, as ELAN reads them."""

    sources = ("pts_seconds", *(name for name, *_ in _SERIES))

    def __init__(self, footage: Footage) -> None:
        super().__init__(footage)
        # ELAN takes every line for numbers that does not begin with this sign.
        self._head = f"#time,{','.join(name for name, *_ in _SERIES)}\n"

    def update(self, columns: Columns) -> bytes:
        """Takes the next rows; their lines."""
        times = [_clock(time) for time in _milliseconds(np.asarray(columns["pts_seconds"], np.float64)).tolist()]
        values = [[f"{value:.9g}" for value in columns[name].tolist()] for name, *_ in _SERIES]
        head, self._head = self._head, ""
        text = io.StringIO(head)
        text.seek(0, os.SEEK_END)
        csv.writer(text, lineterminator="\n").writerows(zip(times, *values, strict=True))
        return text.getvalue().encode()

    def flush(self) -> bytes:
        """Nothing: all lines are written."""
        return b""


class SeriesSettingsExport(Export):
    """How ELAN shows the time series: its columns, names, ranges and colours."""

    sources = SeriesExport.sources

    def __init__(self, footage: Footage) -> None:
        super().__init__(footage)
        self._highest = dict.fromkeys((name for name, *_ in _SERIES), 0.0)

    def update(self, columns: Columns) -> bytes:
        """Takes the next rows; the file is made at the end."""
        for name in self._highest:
            self._highest[name] = max([self._highest[name], *columns[name].tolist()])
        return b""

    def flush(self) -> bytes:
        """The file."""
        root = ElementTree.Element("timeseries", {"date": _date(self.footage), "version": "1.0"})
        series = _beside(self.target, self.footage, "eaf-series")
        # Rates that are no whole number would be rounded if it were said that they are constant.
        about = {"sample-type": "Discontinuous Rate", "source-url": _url(series), "time-column": "0"}
        source = ElementTree.SubElement(root, "tracksource", about)
        provider = "mpi.eudico.client.annotator.timeseries.csv.CSVServiceProvider"
        ElementTree.SubElement(source, "property", {"key": "provider", "value": provider})
        for column, (name, title, unit, colour) in enumerate(_SERIES, start=1):
            track = ElementTree.SubElement(source, "track", {"name": title, "derivative": "0"})
            ElementTree.SubElement(track, "property", {"key": "detect-range", "value": "false"})
            position = ElementTree.SubElement(track, "sample-position")
            ElementTree.SubElement(position, "pos", {"row": "0", "col": f"{column}"})
            ElementTree.SubElement(track, "description").text = f"the column {name} of the table"
            ElementTree.SubElement(track, "units").text = unit
            top = math.ceil(self._highest[name]) if unit == "x uniform" else 1
            ElementTree.SubElement(track, "range", {"min": "0.0", "max": f"{max(top, 1)}.0"})
            ElementTree.SubElement(track, "color").text = colour
        ElementTree.indent(root)
        return bytes(ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)) + b"\n"


def _load_pympi() -> Any:
    try:
        return importlib.import_module("pympi.Elan")
    except ImportError as error:
        raise EncodeError("eaf needs pympi-ling: pip install 'vidsal[exports]'") from error


def _milliseconds(seconds: npt.NDArray[np.float64]) -> _Integers:
    """The first whole millisecond at which a frame of that time is shown; what lies before the source's first is 0."""
    # A thousandth of a millisecond is no difference.
    return np.maximum(np.ceil(np.round(seconds * 1000, 3)), 0).astype(np.int64)


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"


def _beside(target: Path | None, footage: Footage, kind: str) -> Path:
    """The file of that kind which belongs to a file of this one."""
    own = (target or Path(f"{footage.stem}.vidsal.eaf")).name
    ending = next(each.ending for each in EXPORT_FILES.values() if own.endswith(f".vidsal{each.ending}"))
    name = f"{own.removesuffix(ending)}{EXPORT_FILES[kind].ending}"
    return target.with_name(name) if target is not None else Path(name)


def _url(path: Path) -> str:
    """A path as ELAN writes it: as a URL whose characters stay what they are."""
    text = plain_name(path.as_posix())
    return text if not path.is_absolute() else f"file://{'' if text.startswith('/') else '/'}{text}"


def _relative(path: Path, target: Path | None) -> str | None:
    if target is None:
        return None
    try:
        below = os.path.relpath(path, target.parent)
    except ValueError:  # on another drive
        return None
    below = plain_name(below.replace(os.sep, "/"))
    return below if below.startswith("../") else f"./{below}"


def _media_type(name: str) -> str:
    # Those that Python knows, whatever is installed on this machine.
    return mimetypes.MimeTypes().guess_type(name)[0] or "video/*"


def _date(footage: Footage) -> str:
    return f"{made_on(footage):%Y-%m-%dT%H:%M:%S+00:00}"
