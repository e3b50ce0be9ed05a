"""The table of all exports: the name of one in, how its file is called and which class makes it out."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from vidsal.exports.contract import Export

__all__ = ["EXPORTS", "ExportKind", "ExportName"]

ExportName = Literal["shots", "edl", "otio", "fcpxml", "chapters", "vtt", "eaf", "cvat", "labelstudio", "coco", "jsonl"]
"""Names of the exports."""


@dataclass(frozen=True)
class ExportKind:
    """One kind of export."""

    name: ExportName
    """What options call it; also the stage of a run's report."""
    ending: str
    """What stands after NAME.vidsal in the name of its file."""
    place: str
    """The class that makes it, as "module:name"; loaded when it is needed."""

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
    ExportKind("eaf", ".eaf", "vidsal.exports.eaf:EafExport"),
    ExportKind("cvat", ".cvat.xml", "vidsal.exports.cvat:CvatExport"),
    ExportKind("labelstudio", ".labelstudio.json", "vidsal.exports.labelstudio:LabelStudioExport"),
    ExportKind("coco", ".coco.json", "vidsal.exports.coco:CocoExport"),
    # NAME.vidsal.jsonl is the table where that is JSON lines.
    ExportKind("jsonl", ".frames.jsonl", "vidsal.exports.jsonl:JsonlExport"),
)

EXPORTS: Mapping[str, ExportKind] = MappingProxyType({name: kind for kind in _KINDS for name in [kind.name]})
"""All of them by name, in the order in which they are written."""

if tuple(EXPORTS) != get_args(ExportName):
    raise TypeError("ExportName must name the exports in their order")
