"""What a source says of its pictures beside their pixels in, an encoder's words for it out."""

from __future__ import annotations

import struct
from collections.abc import Mapping

__all__ = ["hdr_parameters", "lost_marks"]

_MASTERING, _LIGHT = "MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"

_WORDS = {
    _MASTERING: "the mastering display of HDR",
    _LIGHT: "the light levels of HDR",
    "DYNAMIC_HDR_PLUS": "the dynamic metadata of HDR10+",
    "DYNAMIC_HDR_VIVID": "the dynamic metadata of HDR Vivid",
    "DOVI_METADATA": "Dolby Vision",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "AMBIENT_VIEWING_ENVIRONMENT": "the ambient light to watch in",
    "STEREO3D": "the mark of stereoscopic pictures",
    "SPHERICAL": "the mark of spherical video",
    "AFD": "the active format description",
    "ICC_PROFILE": "the colour profile",
}
"""FFmpeg's names of side data that say how pictures are to be shown; the rest is made anew, or of the coded bytes."""


def hdr_parameters(encoder: str, side_data: Mapping[str, bytes]) -> list[str]:
    """Mastering display and light levels as parameters of libx264 and libx265; none for other encoders.

    Args:
        encoder: its name.
        side_data: AVMasteringDisplayMetadata and AVContentLightMetadata as FFmpeg lays them out, by name.
    """
    return list(_written(encoder, side_data).values())


def lost_marks(encoder: str, side_data: Mapping[str, bytes]) -> list[str]:
    """What is not written, in words."""
    kept = _written(encoder, side_data)
    return list(dict.fromkeys(words for name, words in _WORDS.items() if name in side_data and name not in kept))


def _written(encoder: str, side_data: Mapping[str, bytes]) -> dict[str, str]:
    """The parameter of each kind of side data that the encoder writes."""
    names = {"libx264": ("mastering-display", "cll"), "libx265": ("master-display", "max-cll")}.get(encoder)
    if names is None:
        return {}
    found = {}
    if (data := side_data.get(_MASTERING)) is not None:
        *numbers, has_primaries, has_luminance = struct.unpack("=22i", data[:88])
        if has_primaries and has_luminance and all(numbers[1::2]):
            *places, least, most = (
                numerator / denominator for numerator, denominator in zip(numbers[::2], numbers[1::2], strict=True)
            )
            # Units of 0.00002 and of 0.0001 cd/m2.
            red, green, blue, white = (
                f"({round(x * 50000)},{round(y * 50000)})" for x, y in zip(places[::2], places[1::2], strict=True)
            )
            luminance = f"({round(most * 10000)},{round(least * 10000)})"
            found[_MASTERING] = f"{names[0]}=G{green}B{blue}R{red}WP{white}L{luminance}"
    if (data := side_data.get(_LIGHT)) is not None:
        found[_LIGHT] = f"{names[1]}={','.join(map(str, struct.unpack('=2I', data[:8])))}"
    return found
