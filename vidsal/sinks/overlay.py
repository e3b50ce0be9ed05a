"""`SaliencyBatch`es in, a video of what is drawn alone out, with transparency in place of the picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidsal.errors import ConfigError, Setting
from vidsal.frames import Picture
from vidsal.render import draw_alone
from vidsal.sinks.options import VideoOptions
from vidsal.sinks.remux import Copier
from vidsal.sinks.video import VideoSink
from vidsal.tracks import FrameNumbers

__all__ = ["OverlaySink"]

_ENCODERS = {".mov": "prores_ks", ".mkv": "ffv1"}
"""What is taken in each container where no encoder is asked for."""
_PRORES_4444 = {"profile": "4444", "alpha_bits": "16"}


class OverlaySink(VideoSink):
    """Writes the layers of the styles without the picture: straight alpha, to be laid over the source in an editor.

    Every frame of the source has one, at its own time, so that both begin and run alike; time code, tags and pixel
    shape are the source's, its sound and other streams are left out.

    A .mov holds ProRes 4444, a .mkv FFV1; libvpx-vp9, qtrle and png may be asked for. An .mp4 has no place for
    transparency: a .mov is written instead.

    Colours stand as the encoder takes them: RGB, or YUV of the source's matrix with 4:4:4 where it has it. They are not
    multiplied by alpha ("straight", "unmatted").

    Args:
        as those of `VideoSink`; it always draws on the processor.

    Raises:
        ConfigError: as `VideoSink`, or the encoder has no transparency.
        EncodeError: as `VideoSink`.
    """

    containers = (".mov", ".mkv")
    common_encoder = "prores_ks"

    def __init__(
        self, target: str | Path, info: Any, *, video: VideoOptions | None = None, device: Any = None, **more: Any
    ) -> None:
        asked, video = Path(target), video or VideoOptions()
        suffix = asked.suffix.lower()
        target = asked.with_suffix(".mov") if suffix == ".mp4" else asked
        if video.encoder in (None, "auto"):
            video = dataclasses.replace(video, encoder=_ENCODERS.get(target.suffix.lower(), "prores_ks"))
        super().__init__(target, info, video=video, **more)
        if target != asked:
            self.messages.insert(0, f"{target.name} is written instead of {asked.name}, which cannot be transparent")

    def _plan_copies(self, source: Path) -> Copier:
        copier = self._copier_of(source)
        # Its time code and its tags are wanted, none of its streams.
        copier.leave_out(list(copier.streams))
        return copier

    def _pixel_format(self, codec: Any) -> str:
        known = {form.name: form for form in codec.video_formats or ()}
        chosen = next((name for name in _FORMATS if name in known), None)
        if chosen is None:
            have = Setting("encoder", "prores_ks"), ", ", Setting("encoder", "ffv1")
            more = Setting("encoder", "libvpx-vp9"), " or ", Setting("encoder", "qtrle")
            raise ConfigError(f"the encoder {codec.name!r} has no transparency: use ", *have, ", ", *more)
        return chosen

    def _encoder_options(self) -> dict[str, str]:
        match self._encoder:
            case "prores_ks" | "prores":
                return dict(_PRORES_4444)
            case "ffv1":
                # Slices with checksums: a player, or an archive, sees what is damaged.
                return {"level": "3", "slicecrc": "1", "slices": "4"}
            case "qtrle" | "png":
                return {}
        # Alpha is coded beside the picture, which takes no two-pass references.
        return {**super()._encoder_options(), "auto-alt-ref": "0"}

    def _note_depth(self) -> None:
        """Nothing of the source's colours is written."""

    def _planes(self, picture: Picture) -> None:
        """Nothing of the picture is written."""

    def _drawn(
        self, picture: Picture, density: npt.NDArray[np.float32], scale: float, recent: Sequence[FrameNumbers]
    ) -> npt.NDArray[Any]:
        height, width = self._drawn_size()
        return draw_alone(
            density,
            height=height,
            width=width,
            scale=scale,
            options=self._render,
            recent=recent,
            deep=self._is_deep,
        )


_FORMATS = (*("yuva444p10le", "yuva444p12le", "bgra", "rgba", "argb", "yuva420p", "yuva444p", "yuva422p", "gbrap"),)
"""Pixel formats with transparency, the best first."""
