"""Rows of the table come in, results in the form that others take them in go out: shot lists, timelines, boxes."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.exports.contract import Export, Footage
    from vidsal.exports.options import EXPORTS, ExportKind
    from vidsal.exports.shots import SHOT_COLUMNS, ShotList, ShotNumbers

__all__ = ["EXPORTS", "SHOT_COLUMNS", "Export", "ExportKind", "Footage", "ShotList", "ShotNumbers"]

__getattr__, __dir__ = lazy(__name__, __all__, "options", "contract", "shots")
