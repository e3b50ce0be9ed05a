"""How the overlaid video is encoded: `VideoOptions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vidsal.errors import ConfigError, Setting
from vidsal.options import Checked, Range

__all__ = ["DEFAULT_ENCODER", "NVENC_FOR_X26", "SVT_PRESETS", "VideoOptions"]

DEFAULT_ENCODER = "libx264"
"""What encodes videos where nothing is asked for, and nothing must be transparent."""

_CRF_TO_63 = ("libsvtav1", "libvpx", "libaom")

_X26_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)

_NVENC_PRESETS = (
    *("fast", "medium", "slow", "default", "hp", "hq", "bd", "ll", "llhq", "llhp", "lossless", "losslesshp"),
    *(f"p{number}" for number in range(1, 8)),
)

# What libx264's presets, but for placebo, are called by others.
SVT_PRESETS = dict(zip(_X26_PRESETS, ("12", "11", "10", "9", "8", "6", "4", "3", "2"), strict=False))
NVENC_FOR_X26 = dict(zip(_X26_PRESETS, ("p1", "p2", "p3", "p3", "p4", "p5", "p6", "p7", "p7", "p7"), strict=True))


def _presets(encoder: str) -> tuple[str, ...]:
    """The presets that an encoder takes; empty where it has none or only it knows them."""
    if encoder == "auto":
        return _X26_PRESETS
    if encoder in ("libx264", "libx265"):
        return (*_X26_PRESETS, *(str(number) for number in range(len(_X26_PRESETS))))
    if encoder == "libsvtav1":
        return (*SVT_PRESETS, *(str(number) for number in range(14)))
    if encoder.endswith("_nvenc"):
        return _NVENC_PRESETS
    return ()


@dataclass(frozen=True, kw_only=True)
class VideoOptions(Checked):
    """How the overlaid video is encoded."""

    encoder: str | None = None
    """FFmpeg's name of the video encoder: libx264, libx265, libsvtav1, h264_nvenc, hevc_nvenc, prores_ks, dnxhd, ...;
    auto is h264_nvenc where a GPU encodes with it, else libx264. Sources of 10 bits keep them, but not as H.264.
    Default: libx264; with overlay_only prores_ks (.mov) or ffv1 (.mkv), which hold transparency."""
    preset: str = "auto"
    """Speed of the encoder: ultrafast, ..., fast, medium, ..., veryslow (NVENC: p1 to p7); slower looks better or gives
    smaller files; auto is veryfast for libx264, p4 for NVENC and fast for others."""
    crf: int = 20
    """Quality, 0 (best, largest) to 51 (63 for libsvtav1 and libvpx-vp9); about 18 looks like the source; not for
    ProRes and DNxHD."""
    encoder_threads: Annotated[int, Range(at_least=0)] = 0
    """Threads of the encoder; 0: half of the cores with a model on the CPU, else as many as the encoder chooses."""
    keep_streams: bool = True
    """Copies sound, subtitles and further streams from the input, without re-encoding."""
    chapters: bool = False
    """Writes a chapter for each shot into the video, in place of the chapters of the input."""

    def __post_init__(self) -> None:
        super().__post_init__()
        encoder = DEFAULT_ENCODER if self.encoder is None else self.encoder
        if not encoder or not self.preset:
            end = " must not be empty; leave them out for libx264 and auto"
            raise ConfigError(Setting("encoder"), " and ", Setting("preset"), end)
        worst = 63 if encoder.startswith(_CRF_TO_63) else 51
        if not 0 <= self.crf <= worst:
            raise ConfigError(Setting("crf"), f" must be from 0 (best) to {worst} for {encoder}, got {self.crf}")
        presets = _presets(encoder)
        if presets and self.preset not in ("auto", *presets):
            names = ", ".join(name for name in presets if not name.isdecimal())
            numbers = [int(name) for name in presets if name.isdecimal()]
            counted = f", or a number from {min(numbers)} to {max(numbers)}" if numbers else ""
            raise ConfigError(
                f"{encoder} does not take the preset {self.preset!r}; choose one of auto, {names}{counted}"
            )

    @property
    def chosen_preset(self) -> str:
        """The preset, with `auto` resolved.

        Example:
            >>> VideoOptions().chosen_preset, VideoOptions(encoder="libx265").chosen_preset
            ('veryfast', 'fast')
        """
        if self.preset != "auto":
            return self.preset
        encoder = self.encoder or DEFAULT_ENCODER
        return "p4" if encoder.endswith("_nvenc") else "veryfast" if encoder == "libx264" else "fast"
