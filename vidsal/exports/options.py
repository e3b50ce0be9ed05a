"""The table of all exports: the name of one in, how its file is called and which class makes it out."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast, get_args

if TYPE_CHECKING:
    from vidsal.exports.contract import Export

__all__ = ["EXPORTS", "EXPORT_FILES", "ExportKind", "ExportName", "export_files"]

ExportName = Literal["shots", "edl", "otio", "fcpxml", "chapters", "vtt", "eaf", "cvat", "labelstudio", "coco", "jsonl"]
"""Names of the exports."""


@dataclass(frozen=True)
class ExportKind:
    """One kind of export, or a file that belongs to one."""

    name: str
    """What options call it; also the stage of a run's report."""
    ending: str
    """What stands after NAME.vidsal in the name of its file."""
    place: str
    """The class that makes it, as "module:name"; loaded when it is needed."""
    parts: tuple[ExportKind, ...] = ()
    """Further files that are written with it, beside it."""

    @property
    def suffix(self) -> str:
        """The last part of the ending, such as .csv.

        Example:
            >>> EXPORTS["shots"].ending, EXPORTS["shots"].suffix
            ('.shots.csv', '.csv')
        """
        return f".{self.ending.rpartition('.')[2]}"

    def load(self) -> type[Export]:
        """Its class."""
        module, _, name = self.place.partition(":")
        made: type[Export] = getattr(importlib.import_module(module), name)
        return made


_KINDS = (
    ExportKind("shots", ".shots.csv", "vidsal.exports.shots:ShotsExport"),
    ExportKind("edl", ".edl", "vidsal.exports.edl:EdlExport"),
    ExportKind("otio", ".otio", "vidsal.exports.otio:OtioExport"),
    ExportKind("fcpxml", ".fcpxml", "vidsal.exports.fcpxml:FcpxmlExport"),
    ExportKind("chapters", ".chapters.txt", "vidsal.exports.chapters:ChaptersExport"),
    ExportKind("vtt", ".vtt", "vidsal.exports.vtt:VttExport"),
    ExportKind(
        "eaf",
        ".eaf",
        "vidsal.exports.eaf:EafExport",
        parts=(
            ExportKind("eaf-series", ".elan.csv", "vidsal.exports.eaf:SeriesExport"),
            # The name by which ELAN finds it.
            ExportKind("eaf-settings", "_tsconf.xml", "vidsal.exports.eaf:SeriesSettingsExport"),
        ),
    ),
    ExportKind("cvat", ".cvat.xml", "vidsal.exports.cvat:CvatExport"),
    ExportKind("labelstudio", ".labelstudio.json", "vidsal.exports.labelstudio:LabelStudioExport"),
    ExportKind("coco", ".coco.json", "vidsal.exports.coco:CocoExport"),
    # NAME.vidsal.jsonl is the table where that is JSON lines.
    ExportKind("jsonl", ".frames.jsonl", "vidsal.exports.jsonl:JsonlExport"),
)

EXPORTS: Mapping[ExportName, ExportKind] = MappingProxyType({cast(ExportName, kind.name): kind for kind in _KINDS})
"""All of them by name, in the order in which they are written."""

EXPORT_FILES: Mapping[str, ExportKind] = MappingProxyType(
    {kind.name: kind for whole in _KINDS for kind in (whole, *whole.parts)}
)
"""All files that exports consist of, by the names of their kinds, in the order in which they are written."""


def export_files(kinds: Iterable[str]) -> list[ExportKind]:
    """The files of some exports, in the order in which they are written.

    Example:
        >>> [kind.name for kind in export_files(["eaf", "shots"])]
        ['shots', 'eaf', 'eaf-series', 'eaf-settings']
    """
    wanted = set(kinds)
    return [part for name, kind in EXPORTS.items() if name in wanted for part in (kind, *kind.parts)]


if tuple(EXPORTS) != get_args(ExportName):
    raise TypeError("ExportName must name the exports in their order")
