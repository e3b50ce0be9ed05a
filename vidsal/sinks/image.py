"""One `SaliencyBatch` of one picture in, an image with the heat over it out."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2

from vidsal.errors import ConfigError, EncodeError, Setting
from vidsal.frames import SaliencyBatch
from vidsal.render import DisplayScale, Recent, RenderOptions, draw, draw_alone
from vidsal.sinks.contract import PROVENANCE_KEY, FileSink
from vidsal.tracks import ColumnSource

__all__ = ["ImageSink"]


class ImageSink(FileSink):
    """Writes the drawn picture of a source that is one image.

    The provenance stands in a text chunk of a .png (keyword `vidsal_run`), or in a comment of a .jpg.

    Args:
        target: .png, .jpg or .jpeg.
        render: what is drawn, and how.
        tracker: makes the numbers that are drawn, of `vidsal.tracks.FrameNumbers`; None makes a new one.
        overwrite: replaces a target that exists.
        source: the image itself, which is never replaced.

    Raises:
        ConfigError: the target's ending is none of these.
        EncodeError: the target exists or cannot be written.
    """

    suffixes = (".png", ".jpg", ".jpeg")
    stage = "image"

    def __init__(
        self,
        target: str | Path,
        *,
        render: RenderOptions | None = None,
        tracker: ColumnSource | None = None,
        overwrite: bool = False,
        source: Path | None = None,
    ) -> None:
        super().__init__(target, overwrite=overwrite, source=source)
        self._render = render or RenderOptions()
        if self._render.overlay_only and self._target.suffix.lower() != ".png":
            raise ConfigError(
                Setting("overlay_only", True), f" needs a .png: a {self._target.suffix} is never transparent"
            )
        self._recent = Recent(tracker) if self._render.is_tracked else None

    def _write(self, batch: SaliencyBatch) -> None:
        if not batch.pictures:
            raise ValueError("an image needs the full picture: open the source with keep_pictures=True")
        if self._frames or len(batch) > 1:
            raise ValueError("an ImageSink takes one frame; use a VideoSink for more")
        picture, density = batch.pictures[0].rgb(), batch.density[0].cpu().numpy()
        scale = float(DisplayScale(self._render).update(batch)[0])
        recent = self._recent.update(batch)[0] if self._recent is not None else ()
        if self._render.overlay_only:
            height, width = picture.shape[:2]
            drawn = draw_alone(density, height=height, width=width, scale=scale, options=self._render, recent=recent)
        else:
            drawn = draw(picture, density, scale=scale, options=self._render, recent=recent)
        order = cv2.COLOR_RGBA2BGRA if drawn.shape[2] == 4 else cv2.COLOR_RGB2BGR
        done, coded = cv2.imencode(self._target.suffix.lower(), cv2.cvtColor(drawn, order))
        if not done:
            raise EncodeError(f"cannot encode a {drawn.shape[1]}x{drawn.shape[0]} picture as {self._target.suffix}")
        content = coded.tobytes()
        if self.provenance:
            content = _with_text(content, self.provenance, png=self._target.suffix.lower() == ".png")
        with self._telling():
            self.partial_path.write_bytes(content)
            self._frames = 1

    def _close(self, *, complete: bool) -> None:
        pass


def _with_text(content: bytes, text: str, *, png: bool) -> bytes:
    """The coded picture with a text that is not shown, in the first place where one may stand."""
    if png:
        # After the signature and the header chunk: an iTXt chunk, whose text is UTF-8, not compressed, in no language.
        body = b"iTXt" + PROVENANCE_KEY.encode() + bytes(5) + text.encode()
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        return content[:_PNG_HEADER_BYTES] + chunk + content[_PNG_HEADER_BYTES:]
    comment = f"{PROVENANCE_KEY} {text}".encode()[:_LONGEST_JPEG_COMMENT]
    # After the start marker and the JFIF segment, which has to come first.
    begin = 4 + int.from_bytes(content[4:6], "big") if content[2:4] == b"\xff\xe0" else 2
    return content[:begin] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + content[begin:]


_PNG_HEADER_BYTES = 8 + 25
_LONGEST_JPEG_COMMENT = 65533
