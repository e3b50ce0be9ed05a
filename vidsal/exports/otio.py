"""The shots of a table in, a timeline of OpenTimelineIO out: one clip a shot, in the source's time code."""

from __future__ import annotations

import importlib
from typing import Any

from vidsal.errors import EncodeError
from vidsal.exports.contract import Footage
from vidsal.exports.timeline import GridShot, Timeline, TimelineExport, numbers_of, readable, title_of

__all__ = ["OtioExport"]


class OtioExport(TimelineExport):
    """One video track, and one of sound where the source has any; a marker at each key frame.

    Ranges are in the time code of the source, and the timeline begins at that of its first shot. Each clip keeps the
    numbers of its shot in its metadata, under `vidsal`. A folder of pictures is no media: its clips have none.
    """

    def __init__(self, footage: Footage) -> None:
        super().__init__(footage)
        self._url = ""
        try:
            self._otio: Any = importlib.import_module("opentimelineio")
        except ImportError as error:
            raise EncodeError("otio needs OpenTimelineIO: pip install 'vidsal[exports]'") from error

    def _written(self, timeline: Timeline) -> bytes:
        otio = self._otio
        made = otio.schema.Timeline(readable(self.footage.stem))
        start = timeline.shots[0].first
        if self._is_media:
            self._url = self._source_url()
        else:
            self._say_no_media("clips are without media")
        made.global_start_time = self._time(timeline, start)
        kinds = [otio.schema.TrackKind.Video]
        if self.footage.audio_channels:
            kinds.append(otio.schema.TrackKind.Audio)
        for kind in kinds:
            track = otio.schema.Track(str(kind), kind=kind)
            is_video = kind == otio.schema.TrackKind.Video
            for placed in timeline.shots:
                track.append(self._clip(timeline, placed, marked=is_video))
            made.tracks.append(track)
        facts = {"drop_frame": timeline.timecodes.is_drop, "source_start": timeline.timecodes[0]}
        made.metadata["vidsal"] = facts
        text: str = otio.adapters.write_to_string(made, "otio_json", indent=2)
        return f"{text}\n".encode()

    def _time(self, timeline: Timeline, frame: int) -> Any:
        return self._otio.opentime.RationalTime(timeline.timecodes.first + frame, float(timeline.rate))

    def _range(self, timeline: Timeline, first: int, end: int) -> Any:
        duration = self._otio.opentime.RationalTime(end - first, float(timeline.rate))
        return self._otio.opentime.TimeRange(self._time(timeline, first), duration)

    def _clip(self, timeline: Timeline, placed: GridShot, *, marked: bool) -> Any:
        otio, numbers = self._otio, numbers_of(placed.shot)
        available = self._range(timeline, 0, timeline.source_frames)
        if self._is_media:
            media = otio.schema.ExternalReference(target_url=self._url, available_range=available)
        else:
            media = otio.schema.MissingReference(available_range=available)
        media.name = readable(self.footage.name)
        clip = otio.schema.Clip(
            name=title_of(placed.shot),
            media_reference=media,
            source_range=self._range(timeline, placed.first, placed.end),
            metadata={"vidsal": numbers},
        )
        if marked:
            strength = numbers["attention_strength"]
            marker = otio.schema.Marker(
                name=f"key frame, {strength:.2f} bit",
                marked_range=self._range(timeline, placed.key, placed.key + 1),
                color=otio.schema.MarkerColor.RED,
                metadata={"vidsal": {"key_index": numbers["key_index"], "attention_strength": strength}},
            )
            clip.markers.append(marker)
        return clip
