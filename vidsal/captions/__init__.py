"""Subtitles and the densities of their video in, the same subtitles where they cover the least attention out."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.captions.job import CaptionsReport, place_captions
    from vidsal.captions.options import CaptionOptions, CaptionsOutputOptions, PlaceCaptionsOptions

__all__ = [
    "CaptionOptions",
    "CaptionsOutputOptions",
    "CaptionsReport",
    "PlaceCaptionsOptions",
    "place_captions",
]

__getattr__, __dir__ = lazy(__name__, __all__, "options", "job")
