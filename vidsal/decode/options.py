"""How a source is read: `DecodeOptions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from vidsal.errors import ConfigError, Setting
from vidsal.options import Checked, Range, Seconds

__all__ = ["DecodeOptions"]


@dataclass(frozen=True, kw_only=True)
class DecodeOptions(Checked):
    """How a source is read."""

    decoder: Literal["pyav", "decord", "opencv"] = "pyav"
    """Library that decodes: pyav (exact times, damaged files, addresses), decord (an extra) or opencv; cameras always
    use opencv."""
    batch_size: Annotated[int, Range(at_least=1)] = 8
    """Frames processed at once; it changes speed and memory, never the result."""
    start_seconds: Annotated[Seconds, Range(at_least=0)] = 0.0
    """Seconds after the first frame at which reading starts (90, 1:30 or 00:01:30.5); frames before are left out."""
    end_seconds: Annotated[Seconds, Range(finite=False)] | None = None
    """Seconds after the first frame at which reading stops (90, 1:30 or 00:01:30.5); a frame at this very time is left
    out; None: the end."""
    strict: bool = False
    """Makes damage an error at the end of reading: file cut short or broken, frames lost, packets skipped or damaged,
    frames or times patched up."""
    threads: Annotated[int, Range(at_least=0, at_most=64)] = 0
    """Threads of the pyav or decord decoder; 0: one for small pictures, several from 1080p up where there are cores."""
    allow_playlists: bool = False
    """Lets a local playlist or script (HLS, DASH, ffconcat, SDP) open the files and addresses that it names; default:
    such a file is refused."""
    hwaccel: str = "none"
    """Device that decodes, with the pyav decoder: none, auto (the first that works), or FFmpeg's name of one: cuda,
    vaapi, videotoolbox, d3d11va, qsv, vulkan, ...; a number or path may follow (cuda:1, vaapi:/dev/dri/renderD128).
    Where it cannot be used, the CPU decodes and the report says so."""

    video_stream: Annotated[int, Range(at_least=0)] | None = None
    """Reads the video stream of this number, counted from 0 among the file's video streams (FFmpeg's v:N); None: the
    one that FFmpeg finds best. Needs the pyav decoder."""
    deinterlace: Literal["auto", "off", "bwdif"] = "auto"
    """Makes a whole picture of each interlaced frame, by FFmpeg's bwdif: auto, where a frame is marked as interlaced;
    bwdif, of every frame, for sources with wrong marks; off leaves combs. Needs the pyav decoder."""
    max_pixels: Annotated[int, Range(at_least=1)] = 2**28
    """Refuses pictures of more pixels, before they are decoded where the source says their size; the default takes
    16384x16384, and 16K video."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.end_seconds is not None and not self.end_seconds > self.start_seconds:
            start, end = Setting("start_seconds"), Setting("end_seconds")
            raise ConfigError(end, " must be greater than ", start, f" ({self.start_seconds}), got {self.end_seconds}")
        if self.hwaccel != "none":
            self._check_hwaccel()
        for name, ordinary in (("video_stream", None), ("deinterlace", "auto")):
            value = getattr(self, name)
            if self.decoder != "pyav" and value not in (ordinary, "off"):
                decoder = Setting("decoder", self.decoder)
                raise ConfigError(
                    Setting(name, value), " needs the pyav decoder, got ", decoder, "; leave one of them out"
                )

    def _check_hwaccel(self) -> None:
        from av.codec.hwaccel import HWDeviceType  # heavy, and seldom needed

        known = ["none", "auto", *(device.name for device in HWDeviceType if device.name != "none")]
        name, colon, which = self.hwaccel.partition(":")
        if name not in known or (colon and (not which or name in known[:2])):
            more = f"a colon and a number or path may follow a device (cuda:1); got {self.hwaccel!r}"
            raise ConfigError(Setting("hwaccel"), f" must be one of {', '.join(known)}; {more}")
        if name == "cuda" and which and not which.isdecimal():
            raise ConfigError(f"cuda takes the number of a GPU after the colon, as in cuda:1; got {self.hwaccel!r}")
        if self.decoder != "pyav":
            device, decoder = Setting("hwaccel", self.hwaccel), Setting("decoder", self.decoder)
            raise ConfigError(device, " needs the pyav decoder, got ", decoder, "; leave one of them out")
