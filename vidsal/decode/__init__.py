"""A path, an address or a camera number in, a `Reader` of `FrameBatch`es out: `open_video`."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.decode.contract import DecodeReport, Reader, VideoInfo
    from vidsal.decode.open import open_video
    from vidsal.decode.options import DecodeOptions

__all__ = ["DecodeOptions", "DecodeReport", "Reader", "VideoInfo", "open_video"]

__getattr__, __dir__ = lazy(__name__, __all__, "options", "contract", "open")
