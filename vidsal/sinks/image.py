"""One `SaliencyBatch` of one picture in, an image with the heat over it out."""

from __future__ import annotations

from pathlib import Path

import cv2

from vidsal.errors import EncodeError
from vidsal.frames import SaliencyBatch
from vidsal.render import RenderOptions, ScalePerShot, draw
from vidsal.sinks.contract import FileSink

__all__ = ["ImageSink"]


class ImageSink(FileSink):
    """Writes the drawn picture of a source that is one image.

    Args:
        target: .png, .jpg or .jpeg.
        render: how the density is drawn.
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
        overwrite: bool = False,
        source: Path | None = None,
    ) -> None:
        super().__init__(target, overwrite=overwrite, source=source)
        self._render = render or RenderOptions()

    def _write(self, batch: SaliencyBatch) -> None:
        if not batch.pictures:
            raise ValueError("an image needs the full picture: open the source with keep_pictures=True")
        if self._frames or len(batch) > 1:
            raise ValueError("an ImageSink takes one frame; use a VideoSink for more")
        scale = float(ScalePerShot(self._render.scale).update(batch)[0])
        drawn = draw(batch.pictures[0].rgb(), batch.density[0].cpu().numpy(), scale=scale, options=self._render)
        done, coded = cv2.imencode(self._target.suffix.lower(), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
        if not done:
            raise EncodeError(f"cannot encode a {drawn.shape[1]}x{drawn.shape[0]} picture as {self._target.suffix}")
        with self._telling():
            self.partial_path.write_bytes(coded.tobytes())
            self._frames = 1

    def _close(self, *, complete: bool) -> None:
        pass
