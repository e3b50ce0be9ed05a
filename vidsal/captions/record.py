"""How placed captions came about: made, written as a line into their file, found there again and compared."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsal.captions.options import PlaceCaptionsOptions
from vidsal.errors import DecodeError
from vidsal.model.checkpoint import SaliencyModel
from vidsal.pipe.record import InputRecord, ModelRecord
from vidsal.provenance import differences, package_version, source_commit
from vidsal.sinks.contract import PROVENANCE_KEY

__all__ = ["RECORD_LINE", "CaptionsRecord"]

RECORD_LINE = re.compile(rf"^(?:NOTE|;) {PROVENANCE_KEY} (\{{.*\}})$", re.MULTILINE)
"""The record in a file of WebVTT or ASS."""

_LARGEST_BYTES = 2**26


@dataclass(frozen=True)
class CaptionsRecord:
    """How captions were placed."""

    vidsal: str
    """Version of vidsal."""
    commit: str
    """Commit of its code, with "+" where files differ from it; empty outside a checkout."""
    model: ModelRecord | None
    """The model; None where maps of an earlier run were given."""
    maps: InputRecord | None
    """These maps."""
    input: InputRecord
    """The video."""
    captions: InputRecord | None
    """The file of subtitles; None where they are a stream of the video."""
    options: Mapping[str, Any]
    """All options that the result depends on, stage by stage."""

    @classmethod
    def of(cls, path: Path, kind: str, options: PlaceCaptionsOptions, model: SaliencyModel | None) -> CaptionsRecord:
        """That of the captions that are placed now.

        Args:
            path: the video.
            kind: what it is, as `VideoInfo.kind` has it.
            options: all options.
            model: the model; None with maps.

        Raises:
            DecodeError: an input cannot be read.
        """
        subtitles = options.captions.captions
        left_out = () if model is not None else ("recurrence", "smooth")
        stages = {
            name: {key: value for key, value in values.items() if f"{name}.{key}" not in _INDIFFERENT}
            for name, values in dataclasses.asdict(options).items()
            if name not in ("model", "maps", "output", *left_out)
        }
        try:
            return cls(
                package_version(),
                source_commit(),
                None if model is None else ModelRecord.of(model),
                None if options.maps is None else InputRecord.of(options.maps.name, options.maps, kind="maps"),
                InputRecord.of(path.name, path, kind=kind),
                None if subtitles is None else InputRecord.of(subtitles.name, subtitles, kind="captions"),
                {**stages, "output": {"to": options.output.format}},
            )
        except OSError as error:
            raise DecodeError(f"an input cannot be read: {error}; check its permissions") from error

    def as_text(self) -> str:
        """As one line, without what is None; it ends no comment of WebVTT."""
        text = json.dumps(_known(dataclasses.asdict(self))).replace(">", "\\u003e")
        return f"{PROVENANCE_KEY} {text}"

    @classmethod
    def in_file(cls, path: Path) -> CaptionsRecord | None:
        """The record in a file; None where it has none."""
        try:
            if path.stat().st_size > _LARGEST_BYTES:
                return None
            found = RECORD_LINE.search(path.read_text(encoding="utf-8"))
            values = json.loads(found[1]) if found else None
            if values is None:
                return None
            inputs = {
                name: None if values.get(name) is None else InputRecord(**values[name])
                for name in ("maps", "input", "captions")
            }
            model = None if values.get("model") is None else ModelRecord(**values["model"])
            return cls(**{**values, **inputs, "model": model})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def differences(self, now: CaptionsRecord) -> list[str]:
        """What would come out otherwise now, a phrase each."""
        found = differences(self._decisive(), now._decisive())
        for what in ("input", "captions", "maps"):
            before, after = getattr(self, what), getattr(now, what)
            if (before is None) != (after is None) or (before is not None and not before.is_content_of(after)):
                found.insert(0, f"the {what} was another one")
        return found

    def _decisive(self) -> dict[str, Any]:
        model = self.model
        by = {} if model is None else {"name": model.name, "sha256": model.sha256, "precision": model.precision}
        return {"vidsal": self.vidsal, "model": by, **self.options}


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what is None, at any depth: `differences` takes what is missing for None."""
    return {
        name: _known(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value is not None
    }


_INDIFFERENT = {
    *("decode.batch_size", "decode.threads", "decode.strict", "decode.max_pixels", "decode.allow_playlists"),
    "captions.captions",
}
"""Options that change nothing, or that stand elsewhere in the record."""
