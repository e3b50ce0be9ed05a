"""Frames and what viewers do in, a video with their points, trails, density and disagreement out: `GazeSink`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidsal.decode import VideoInfo
from vidsal.frames import SaliencyBatch
from vidsal.render import DisplayScale, Layer, RenderOptions, compose, layers_of, overlay, side_by_side
from vidsal.render.gaze import Marked, plate_layers, viewer_layers
from vidsal.render.palette import distinct_color
from vidsal.sinks.options import VideoOptions
from vidsal.sinks.video import VideoSink
from vidsal.tracks import ColumnSource
from vidsal.viewing.options import GazeDrawingOptions
from vidsal.viewing.viewers import RecordedViewers, ViewerNumbers

__all__ = ["GazeSink"]

_LONGEST_NAME = 16


class GazeSink(VideoSink):
    """Writes the video with every viewer on it; sound, times, colours and marks are kept as `VideoSink` keeps them.

    Args:
        target: .mp4, .mov or .mkv.
        info: the source.
        viewers: who looked where.
        numbers: measures them, rows of `vidsal.viewing.viewers.ViewerNumbers`.
        drawing: what is drawn.
        beside: what the densities of the batches are, in words: they are drawn at the right. None: nothing is.
        video: encoder and quality.
        overwrite: replaces a target that exists.
        start_seconds: as of `VideoSink`.
        end_seconds: as of `VideoSink`.

    Raises:
        ConfigError: as `VideoSink`.
        EncodeError: as `VideoSink`.
    """

    def __init__(
        self,
        target: str | Path,
        info: VideoInfo,
        *,
        viewers: RecordedViewers,
        numbers: ColumnSource,
        drawing: GazeDrawingOptions,
        beside: str | None = None,
        video: VideoOptions | None = None,
        overwrite: bool = False,
        start_seconds: float = 0.0,
        end_seconds: float | None = None,
    ) -> None:
        self._viewers, self._numbers, self._drawing, self._beside = viewers, numbers, drawing, beside
        self._sigma = drawing.sigma_pixels(height=info.height, width=info.width)
        labels = [name if _is_plain(name) else f"#{number}" for number, name in enumerate(viewers.names, 1)]
        self._labels = labels if drawing.names else [""] * len(labels)
        render = RenderOptions(
            colormap=drawing.colormap, opacity=drawing.opacity, side_by_side=beside is not None, legend="off"
        )
        super().__init__(
            target,
            info,
            video=video,
            render=render,
            overwrite=overwrite,
            start_seconds=start_seconds,
            end_seconds=end_seconds,
        )
        renamed = [(label, name) for label, name in zip(labels, viewers.names, strict=True) if label != name]
        if renamed and drawing.names:
            names = ", ".join(f"{label} is {name}" for label, name in renamed)
            self.messages.append(f"names that are long, or not of plain letters, stand as numbers: {names}")

    def _write(self, batch: SaliencyBatch) -> None:
        self._begin(batch)
        rows = self._numbers.update(batch)
        densities = batch.density.cpu().numpy() if self._beside is not None else None
        scales = DisplayScale(self._render).update(batch)
        for i, row in enumerate(rows):
            picture = self._pixels(batch.pictures[i])
            drawn = compose(picture, self._layers(row, deep=picture.dtype == np.uint16))
            if densities is not None:
                right = overlay(picture, densities[i], scale=float(scales[i]), options=self._render)
                height, width = right.shape[:2]
                drawn = side_by_side(
                    drawn, compose(right, plate_layers([str(self._beside)], height=height, width=width))
                )
            self._encode_drawn(drawn, batch, i)

    def _layers(self, row: ViewerNumbers, *, deep: bool) -> list[Layer]:
        viewers, drawing = self._viewers, self._drawing
        size = {"height": self._info.height, "width": self._info.width}
        places = viewers.at(row.pts_seconds)
        layers: list[Layer] = []
        if drawing.density and row.viewers:
            layers += self._heat(places, row.viewers, deep=deep)
        trails = (
            viewers.trails(row.pts_seconds, drawing.trail_seconds) if drawing.trail_seconds else [[]] * len(viewers)
        )
        marked = [
            Marked(
                place,
                [_aged(piece, row.pts_seconds, drawing.trail_seconds) for piece in trail],
                label,
                distinct_color(n),
            )
            for n, (place, trail, label) in enumerate(zip(places, trails, self._labels, strict=True))
        ]
        lines = [f"{row.viewers} of {len(viewers)} viewers, sigma {self._sigma:.0f} px"]
        if row.distance_px is not None:
            lines.append(f"{row.distance_px:.0f} px apart (mean of pairs)")
        # Words hide no viewer.
        return layers + plate_layers(lines, **size, share=row.distance_share) + viewer_layers(marked, **size)

    def _heat(self, places: npt.NDArray[np.float64], count: int, *, deep: bool) -> list[Layer]:
        height, width = self._info.height, self._info.width
        stamps = self._viewers.stamps(places, self._sigma)
        total = stamps.sum(axis=0)
        mass = float(total.sum())
        if mass <= 0:
            return []
        # So dense is the middle of the Gaussians where half of the viewers look at one place; never below uniform.
        top = max(1.5, height * width / (2 * math.pi * self._sigma**2) / (2 if count > 1 else 1))
        density = np.asarray(total / mass, np.float32)
        return layers_of(density, height=height, width=width, scale=top, options=self._render, deep=deep)


def _aged(piece: npt.NDArray[np.float64], seconds: float, lasting: float) -> npt.NDArray[np.float64]:
    """x, y and the age as a share of what is shown."""
    made: npt.NDArray[np.float64] = piece.copy()
    made[:, 2] = np.clip((seconds - piece[:, 2]) / lasting, 0, 1)
    return made


def _is_plain(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and name.isascii() and name.isprintable()
