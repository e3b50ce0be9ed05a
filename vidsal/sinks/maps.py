"""`SaliencyBatch`es in, their densities on an absolute scale out: lossless video or arrays."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import numpy as np

from vidsal.decode import VideoInfo
from vidsal.files import fresh, local_name
from vidsal.frames import SaliencyBatch
from vidsal.sinks.contract import PROVENANCE_KEY, FileSink, usable_rate

__all__ = ["MAPS_FULL_SCALE", "MapsSink"]

MAPS_FULL_SCALE = 256.0
"""Relative density (density times cells, uniform is 1) that the largest value, 65535, of a map video stands for."""


class MapsSink(FileSink):
    """Writes the densities at the model's size on an absolute scale; nothing is normalised per frame.

    `.mkv` is lossless video (FFV1, 16-bit grey): value = round(density * cells * 65535 / `MAPS_FULL_SCALE`),
    cells being rows times columns, so that a uniform map has the value 256 and
    density = value * vidsal_density_per_unit. Above 256 times uniform the values are clipped (counted in
    `messages`). Times are `pts_seconds`, rounded to milliseconds by the container.

    `.npz` holds log_density (N, h, w) float16 (relative error of the density below 0.4 %), index (N,) int64,
    pts_seconds (N,) float64, shot (N,) int64, height and width of the picture. Memory stays flat: the maps lie
    in a raw file beside the target until the end.

    Both hold the provenance, as the tag and the array `vidsal_run`.

    Args:
        target: .mkv or .npz.
        info: the source; its file is never replaced.
        overwrite: replaces a target that exists.

    Raises:
        ConfigError: the target's ending is none of these.
        EncodeError: the target exists or cannot be written.
    """

    suffixes = (".mkv", ".npz")
    stage = "maps"

    def __init__(self, target: str | Path, info: VideoInfo | None = None, *, overwrite: bool = False) -> None:
        super().__init__(target, overwrite=overwrite, source=None if info is None else info.path)
        rate = None if info is None else info.rate
        video = self._target.suffix.lower() == ".mkv"
        self._body: _MapVideo | _MapArrays
        self._body = _MapVideo(self.partial_path, rate=rate) if video else _MapArrays(self.partial_path)

    def _scratch_paths(self) -> tuple[Path, ...]:
        return (_raw_path(self.partial_path),)

    def _write(self, batch: SaliencyBatch) -> None:
        with self._telling():
            self._body.write(batch, provenance=self.provenance)
            self._frames += len(batch)

    def _close(self, *, complete: bool) -> None:
        with self._telling():
            self._body.close()
        clipped = getattr(self._body, "clipped", 0)
        if clipped:
            self.messages.append(
                f"{clipped} cells of the maps lay above {MAPS_FULL_SCALE:g} times uniform and were clipped; "
                ".npz keeps them"
            )


class _MapVideo:
    """The .mkv of `MapsSink`."""

    def __init__(self, path: Path, *, rate: Fraction | None) -> None:
        self.clipped = 0
        self._path = path
        self._rate = usable_rate(rate)
        self._out: Any = None
        self._stream: Any = None
        self._last = -1

    def write(self, batch: SaliencyBatch, *, provenance: str) -> None:
        h, w = batch.log_density.shape[1:]
        if self._out is None:
            self._open(h, w, batch, {PROVENANCE_KEY: provenance} if provenance else {})
        units = batch.density.cpu().numpy().astype(np.float64) * (h * w * 65535 / MAPS_FULL_SCALE)
        self.clipped += int((units > 65535).sum())
        values = np.rint(units.clip(0, 65535)).astype(np.uint16)
        for value, seconds in zip(values, batch.pts_seconds.tolist(), strict=True):
            frame = av.VideoFrame.from_ndarray(value, format="gray16le")
            self._last = max(self._last + 1, round(seconds * 1000))
            frame.pts, frame.time_base = self._last, _MILLISECONDS
            self._out.mux(self._stream.encode(frame))

    def close(self) -> None:
        if self._out is None:
            return
        out, self._out = self._out, None
        try:
            out.mux(self._stream.encode(None))
        finally:
            out.close()

    def _open(self, h: int, w: int, batch: SaliencyBatch, tags: dict[str, str]) -> None:
        options = {"cluster_time_limit": "1000", "flush_packets": "1"}
        self._out = av.open(local_name(self._path), "w", format="matroska", container_options=options)
        self._out.metadata.update(
            {
                "vidsal_density_per_unit": repr(MAPS_FULL_SCALE / 65535 / (h * w)),
                "vidsal_full_scale": repr(MAPS_FULL_SCALE),
                "vidsal_picture": f"{batch.width}x{batch.height}",
                **tags,
            }
        )
        self._stream = self._out.add_stream("ffv1", rate=self._rate, options={"level": "3"})
        context = self._stream.codec_context
        context.height, context.width, context.pix_fmt = h, w, "gray16le"
        context.color_range = 2
        context.thread_count = 1  # the maps are small
        context.time_base = _MILLISECONDS


_MILLISECONDS = Fraction(1, 1000)


def _raw_path(path: Path) -> Path:
    return path.with_suffix(".raw")


class _MapArrays:
    """The .npz of `MapsSink`: a raw file grows, and is zipped with its header at the end."""

    _shape: tuple[int, int]
    """(rows, columns) of the maps, known from the first."""
    _picture: tuple[int, int]
    """(height, width) of the picture."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._raw_path = _raw_path(path)
        self._raw: IO[bytes] | None = None
        self._columns: dict[str, list[Any]] = {"index": [], "pts_seconds": [], "shot": []}

    def write(self, batch: SaliencyBatch, *, provenance: str) -> None:
        h, w = batch.log_density.shape[1:]
        if self._raw is None:
            self._provenance = provenance
            fresh(self._raw_path)
            self._raw = self._raw_path.open("wb")
            self._shape, self._picture = (h, w), (batch.height, batch.width)
        lowest = float(np.finfo(np.float16).min)
        # Zero density stays finite, so that differences of maps are numbers.
        maps = batch.log_density.clamp(min=lowest).cpu().numpy().astype("<f2")
        self._raw.write(maps.tobytes())
        for name, column in self._columns.items():
            column.append(getattr(batch, name).copy())

    def close(self) -> None:
        if self._raw is None:
            return
        raw, self._raw = self._raw, None
        try:
            raw.close()
            columns: dict[str, Any] = {name: np.concatenate(column) for name, column in self._columns.items()}
            # Mapped, not loaded. A batch that broke off in the middle does not count.
            maps = np.memmap(self._raw_path, "<f2", "r", shape=(len(columns["index"]), *self._shape))
            columns["height"], columns["width"] = map(np.int64, self._picture)
            if self._provenance:
                columns[PROVENANCE_KEY] = np.array(self._provenance)
            with self._path.open("wb") as file:  # of a name, savez would change the ending
                np.savez(file, log_density=maps, **columns)
            del maps  # Windows removes no file that is mapped
        finally:
            self._raw_path.unlink()
