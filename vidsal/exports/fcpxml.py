"""The shots of a table in, a project of Final Cut Pro out: FCPXML 1.10, one clip a shot.

Written here, not by a library: OpenTimelineIO's adapter takes a rate for a whole number (29.97 for 29), and knows no
time code.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar
from xml.etree import ElementTree

from vidsal.exports.contract import Fact
from vidsal.exports.timeline import GridShot, Timeline, TimelineExport, numbers_of, readable, title_of

__all__ = ["FcpxmlExport"]

_AUDIO_RATES = {32000: "32k", 44100: "44.1k", 48000: "48k", 88200: "88.2k", 96000: "96k", 176400: "176.4k"} | {
    192000: "192k"
}


class FcpxmlExport(TimelineExport):
    """One project with one clip a shot, and a marker at each key frame.

    A folder of pictures is no media there: its shots are gaps, with the same markers.

    All times are whole multiples of the frame's duration, in the source's time code.
    """

    needs: ClassVar[frozenset[Fact]] = frozenset({"size", "time"})

    def _written(self, timeline: Timeline) -> bytes:
        footage = self.footage
        drop = "DF" if timeline.timecodes.is_drop else "NDF"
        root = ElementTree.Element("fcpxml", version="1.10")
        resources = ElementTree.SubElement(root, "resources")
        frame = {"id": "r1", "frameDuration": _seconds(1 / timeline.rate)}
        size = {"width": str(footage.width), "height": str(footage.height)}
        ratio = footage.sample_aspect_ratio
        pixel = {} if ratio == 1 else {"paspH": str(ratio.numerator), "paspV": str(ratio.denominator)}
        ElementTree.SubElement(resources, "format", {**frame, **size, **pixel})
        if self._is_media:
            self._add_asset(resources, timeline)
        else:
            self._say_no_media("shots are gaps with markers")
        library = ElementTree.SubElement(root, "library")
        event = ElementTree.SubElement(library, "event", {"name": "vidsal"})
        project = ElementTree.SubElement(event, "project", {"name": readable(footage.stem)})
        shots = timeline.shots
        sequence = ElementTree.SubElement(
            project,
            "sequence",
            {
                "format": "r1",
                "duration": _lasting(timeline, shots[-1].end - shots[0].first),
                "tcStart": _at(timeline, shots[0].first),
                "tcFormat": drop,
            },
        )
        spine = ElementTree.SubElement(sequence, "spine")
        for placed in shots:
            _add_clip(spine, timeline, placed, drop if self._is_media else None)
        ElementTree.indent(root, " ")
        text = ElementTree.tostring(root, encoding="unicode")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{text}\n'.encode()

    def _add_asset(self, resources: ElementTree.Element, timeline: Timeline) -> None:
        asset = ElementTree.SubElement(
            resources,
            "asset",
            {
                "id": "r2",
                "name": readable(self.footage.name),
                "start": _at(timeline, 0),
                "duration": _lasting(timeline, timeline.source_frames),
                "hasVideo": "1",
                "format": "r1",
                "videoSources": "1",
                **self._sound(),
            },
        )
        ElementTree.SubElement(asset, "media-rep", {"kind": "original-media", "src": self._source_url()})

    def _sound(self) -> dict[str, str]:
        channels, rate = self.footage.audio_channels, self.footage.audio_rate
        if not channels:
            return {}
        known = {} if rate is None else {"audioRate": str(rate)}
        return {"hasAudio": "1", "audioSources": "1", "audioChannels": str(channels), **known}


def _add_clip(spine: ElementTree.Element, timeline: Timeline, placed: GridShot, drop: str | None) -> None:
    """A clip of the asset; a gap where there is none (`drop` is None)."""
    start, numbers = _at(timeline, placed.first), numbers_of(placed.shot)
    facts = {
        "offset": start,
        "name": title_of(placed.shot),
        "start": start,
        "duration": _lasting(timeline, placed.end - placed.first),
    }
    if drop is None:
        clip = ElementTree.SubElement(spine, "gap", facts)
    else:
        clip = ElementTree.SubElement(spine, "asset-clip", {"ref": "r2", **facts, "tcFormat": drop})
    ElementTree.SubElement(
        clip,
        "marker",
        {
            "start": _at(timeline, placed.key),
            "duration": _lasting(timeline, 1),
            "value": f"Key frame of shot {placed.shot.shot}",
            "note": f"attention strength {numbers['attention_strength']:g} bit",
        },
    )


def _at(timeline: Timeline, frame: int) -> str:
    return _lasting(timeline, timeline.timecodes.first + frame)


def _lasting(timeline: Timeline, frames: int) -> str:
    return _seconds(1 / timeline.rate, times=frames)


def _seconds(step: Fraction, *, times: int = 1) -> str:
    """A time as a multiple of the frame's duration."""
    if not times or step.denominator == 1:
        return f"{times * step.numerator}s"
    return f"{times * step.numerator}/{step.denominator}s"
