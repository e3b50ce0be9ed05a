"""Finished results in, pandas frames of their tables and xarray arrays of their maps out: `read_table`, `read_maps`."""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib
import json
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from vidsal.aois import AoiFrame, AoiSum
from vidsal.decode.local import open_file
from vidsal.driving.moments import Candidate
from vidsal.driving.report import DrivingSum
from vidsal.driving.vanishing import VanishingPoint
from vidsal.errors import ConfigError, DatasetError, EncodeError
from vidsal.evaluate.results import Estimate, read_summary
from vidsal.exports.shots import ShotNumbers
from vidsal.gaze.study import TABLES
from vidsal.gaze.table import GazeRow
from vidsal.sinks.contract import PROVENANCE_KEY
from vidsal.tracks import BOX_COLUMNS, FrameNumbers, column_types
from vidsal.viewing.variants import VariantScore
from vidsal.viewing.viewers import ViewerNumbers

if TYPE_CHECKING:
    import pandas
    import xarray

__all__ = ["read_maps", "read_table"]

_ROWS: Mapping[str, type[Any]] = {
    "frames": FrameNumbers,
    "shots": ShotNumbers,
    "aois": AoiFrame,
    "aois-summary": AoiSum,
    "driving-summary": DrivingSum,
    "driving-points": VanishingPoint,
    "driving-moments": Candidate,
    "gaze": GazeRow,
    "gaze-frames": ViewerNumbers,
    "gaze-variants": VariantScore,
    **TABLES,
}
"""The tables whose rows are dataclasses, by kind."""

_SCORES: Mapping[str, Mapping[str, type]] = {
    "scores-frames": {"sequence": str, "frame": str, "index": int, "pts_seconds": float, "source": str},
    "scores-sequences": {"sequence": str, "source": str, "frames": int, "frames_scored": int},
    "scores-seconds": {"sequence": str, "second": int, "source": str, "sequences": int, "frames": int},
    "scores-participants": {"participant": str, "source": str, "sequences": int, "frames": int},
    "scores-scenarios": {"scenario": str, "value": str, "source": str, "sequences": int, "frames": int},
}
"""The first columns of the tables of `vidsal eval`; metrics follow."""

_NAMES = frozenset({"sequence", "frame", "source", "participant", "trial", "aoi", "condition"})
"""Columns of names in any table: what looks like a number is one all the same, as 01 is."""


def read_table(path: str | Path) -> pandas.DataFrame:
    """Reads a table that vidsal wrote as a pandas frame, its columns of the types that they have.

    It takes what `vidsal run` (the table, shots, areas of interest, drives), `vidsal gaze`, `vidsal aoi measure`,
    `vidsal data drives` and `vidsal eval` write, the summary.json of the last included (a row a source and
    metric). Which of them it is, is told from the names of the columns.

    Args:
        path: .csv, .jsonl or .parquet; or summary.json.

    Returns:
        Whole numbers are int64, or Int64 in columns where some may be missing; numbers float64, with NaN where there is
        none; truth values bool; names text, also where they look like numbers. Columns that vidsal does not know, as
        those of a list of trials, are typed by pandas. `attrs` has the `kind` of table ("" for an unknown one), and
        `units` and `meanings` of the columns; of a .parquet of a run also how it came about (`vidsal_run`).

    Raises:
        DatasetError: it cannot be read, or is no table.
        EncodeError: pandas is not installed (`pip install 'vidsal[analysis]'`), or pyarrow for .parquet.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.vidsal.aois.csv"
        >>> names = "index,pts_seconds,shot,aoi,predicted_share,area_share,holds_peak"
        >>> _ = path.write_text(names + chr(10) + "0,0,0,7,0.25,0.5,true" + chr(10))
        >>> frame = read_table(path)
        >>> frame.attrs["kind"], frame["aoi"].tolist(), frame["holds_peak"].dtype, frame.attrs["units"]["pts_seconds"]
        ('aois', ['7'], dtype('bool'), 's')
    """
    path = Path(path)
    pandas = _load("pandas", "reading a table as a frame")
    readers = {".csv": _read_csv, ".jsonl": _read_lines, ".parquet": _read_parquet, ".json": _read_summary}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DatasetError(f"{path} must end in one of {', '.join(readers)}")
    try:
        frame = reader(path, pandas)
        kind, types = _types(frame.columns)
        for name, wanted in types.items():
            if str(frame[name].dtype) != wanted:
                frame[name] = frame[name].astype(wanted)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, UnicodeError) as error:
        raise DatasetError(f"{path} is no whole table: {' '.join(str(error).split())}") from error
    columns = _columns(kind)
    known = {name: columns[_predicted(name)] for name in frame.columns if _predicted(name) in columns}
    frame.attrs |= {
        "kind": kind,
        "units": {name: column.unit for name, column in known.items()},
        "meanings": {name: column.meaning for name, column in known.items()},
    }
    return frame


def _load(name: str, purpose: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EncodeError(f"{purpose} needs {name}: pip install 'vidsal[analysis]'") from error


def _predicted(name: str) -> str:
    """The column that one of recorded drives stands for."""
    return name.replace("recorded_", "predicted_")


@functools.cache
def _dtypes(kind: str) -> Mapping[str, str]:
    """The columns of a kind of table, with pandas' types."""
    if kind in _SCORES:
        return {name: _dtype(one, may_be_none=False) for name, one in _SCORES[kind].items()}
    row = _ROWS[kind]
    hints = get_type_hints(row)
    return {name: _dtype(one, may_be_none=NoneType in get_args(hints[name])) for name, one in column_types(row).items()}


def _dtype(kind: type, *, may_be_none: bool) -> str:
    plain = {bool: "bool", int: "int64", float: "float64", str: "str"}
    missing = {bool: "boolean", int: "Int64", float: "float64", str: "str"}
    return (missing if may_be_none else plain)[kind]


def _columns(kind: str) -> Mapping[str, Any]:
    """What the columns of a kind of table mean."""
    if kind not in _ROWS:
        return {}
    return {each.name: each.metadata["column"] for each in dataclasses.fields(_ROWS[kind]) if "column" in each.metadata}


def _kind_of(names: Iterable[str]) -> str:
    """The kind of table that has these columns: the one of which it has all, and most; "" for none."""
    there = {_predicted(name) for name in names}
    fitting = [kind for kind in (*_ROWS, *_SCORES) if set(_dtypes(kind)) - {*BOX_COLUMNS} <= there]
    return max(fitting, key=lambda kind: len(_dtypes(kind)), default="")


def _types(names: Iterable[str]) -> tuple[str, dict[str, str]]:
    """The kind of a table, and pandas' types of the columns that are known."""
    found = list(names)
    kind = _kind_of(found)
    known = _dtypes(kind) if kind else {}
    types = {name: known[_predicted(name)] for name in found if _predicted(name) in known}
    return kind, {**{name: "str" for name in found if name in _NAMES}, **types}


def _read_csv(path: Path, pandas: Any) -> Any:
    with path.open("rb") as file:
        names = next(csv.reader([file.readline().decode("utf-8-sig")]), [])
        if not names:
            raise ValueError("it is empty")
        file.seek(0)
        _, types = _types(names)
        # A participant may be called NA; only what is empty is missing, and an empty name is a name.
        missing = {name: [""] for name in names if types.get(name) != "str"}
        return pandas.read_csv(file, dtype=types, keep_default_na=False, na_values=missing)


def _read_lines(path: Path, pandas: Any) -> Any:
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is no row")
    return pandas.DataFrame(rows)


def _read_parquet(path: Path, pandas: Any) -> Any:
    from vidsal.exports.tables import load_pyarrow

    arrow = load_pyarrow("reading a .parquet")
    try:
        # Opened here: pyarrow takes no name that is not UTF-8.
        with path.open("rb") as file:
            table = arrow.parquet.read_table(file)
    except arrow.ArrowException as error:
        raise ValueError(error) from error
    # Before whole numbers with gaps become numbers with fractions.
    nullable = {arrow.int64(): pandas.Int64Dtype(), arrow.bool_(): pandas.BooleanDtype()}
    frame = table.to_pandas(types_mapper=lambda kind: nullable.get(kind), ignore_metadata=True)
    for name in frame.columns:
        plain = {"Int64": "int64", "boolean": "bool"}.get(str(frame[name].dtype))
        if plain is not None and not frame[name].isna().any():
            frame[name] = frame[name].astype(plain)
    for key, value in (table.schema.metadata or {}).items():
        if key.startswith(b"vidsal_"):
            frame.attrs[key.decode()] = json.loads(value)
    return frame


def _read_summary(path: Path, pandas: Any) -> Any:
    try:
        summary = read_summary(path)
    except ConfigError as error:
        raise DatasetError(str(error)) from error
    rows = [
        {"source": source, "metric": metric, **dataclasses.asdict(one)}
        for source, metrics in summary.scores.items()
        for metric, one in metrics.items()
    ]
    names = ["source", "metric", *(each.name for each in dataclasses.fields(Estimate))]
    return pandas.DataFrame(rows, columns=names)


# Maps.


def read_maps(path: str | Path) -> xarray.DataArray:
    """Gives the densities of a run as an xarray array, which reads a frame only when it is asked for it.

    Args:
        path: what `vidsal run --maps` wrote: .npz or .mkv.

    Returns:
        Dimensions (time, y, x), float32, each frame summing to 1 over y and x. `time` is in seconds after the source's
        first frame; `y` and `x` are where the centre of each cell lies in the upright full-size picture, in pixels, 0
        the centre of its first pixel. A .npz also has `index` and `shot` of each frame; the times of a .mkv are rounded
        to milliseconds. `attrs` has the picture's height and width, and how the maps came about (`vidsal_run`). Nothing
        is held in memory until it is indexed and its values are used; `.load()` reads all of it.

    Raises:
        DatasetError: the file cannot be read, or holds no maps; while frames are read, too.
        EncodeError: xarray is not installed: `pip install 'vidsal[analysis]'`.

    Example:
        maps = vidsal.read_maps("drive.vidsal.maps.npz")
        maps.sel(time=slice(2.0, 4.0)).mean("time")
    """
    path = Path(path)
    xarray = _load("xarray", "reading maps as an array")
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".mkv"):
        raise DatasetError(f"{path} must end in .npz or .mkv")
    found: _Stored = _reading(path, lambda: (_StoredArrays if suffix == ".npz" else _StoredVideo)(path))
    rows, columns = found.shape[1:]
    coordinates: dict[str, Any] = {
        "time": ("time", found.seconds, {"units": "s", "long_name": "presentation time after the first frame"}),
        "y": ("y", (np.arange(rows) + 0.5) * found.height / rows - 0.5, {"units": "px"}),
        "x": ("x", (np.arange(columns) + 0.5) * found.width / columns - 0.5, {"units": "px"}),
    }
    for name, values in found.frames.items():
        coordinates[name] = ("time", values)
    attributes: dict[str, Any] = {"height": found.height, "width": found.width, "long_name": "density"}
    if found.provenance:
        attributes[PROVENANCE_KEY] = found.provenance
    variable = xarray.Variable(("time", "y", "x"), _lazy(found, path), attributes)
    return xarray.DataArray(variable, coords=coordinates, name="density")


def _reading(path: Path, read: Any) -> Any:
    try:
        return read()
    except (OSError, ValueError, KeyError, EOFError, FFmpegError, zipfile.BadZipFile, struct.error) as error:
        raise DatasetError(f"{path} cannot be read as maps of a run: {error}; make them again") from error


def _lazy(stored: _Stored, path: Path) -> Any:
    """What xarray reads from: only the frames that are asked for."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Frames(BackendArray):  # type: ignore[misc]  # xarray brings the class
        shape = stored.shape
        dtype = np.dtype(np.float32)

        def __getitem__(self, key: Any) -> Any:
            # Outer: a slice or a list along each dimension.
            support = indexing.IndexingSupport.OUTER
            return indexing.explicit_indexing_adapter(key, self.shape, support, self._part)

        def _part(self, key: tuple[Any, ...]) -> npt.NDArray[np.float32]:
            first, *rest = key
            numbers = np.arange(self.shape[0])[first]
            made = _reading(path, lambda: stored.read(np.atleast_1d(numbers)))
            whole = made if np.ndim(numbers) else made[0]
            cells = tuple(rest)
            if all(isinstance(one, slice) for one in cells) or sum(np.ndim(one) > 0 for one in cells) < 2:
                return np.asarray(whole[(..., *cells)])
            return np.asarray(whole[..., cells[0], :][..., cells[1]])

    return indexing.LazilyIndexedArray(Frames())


@dataclass
class _Stored:
    """Maps in a file."""

    height: int
    width: int
    seconds: npt.NDArray[np.float64]
    shape: tuple[int, int, int]
    frames: Mapping[str, npt.NDArray[np.int64]]
    provenance: str

    def read(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """(n, h, w) densities of some frames, by their position."""
        raise NotImplementedError


class _StoredArrays(_Stored):
    def __init__(self, path: Path) -> None:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            missing = [name for name in ("log_density", "pts_seconds", "height", "width") if name not in arrays]
            if missing:
                raise ValueError(f"it has no {', '.join(missing)}")
            frames = {name: arrays[name] for name in ("index", "shot") if name in arrays}
            provenance = str(arrays[PROVENANCE_KEY]) if PROVENANCE_KEY in arrays else ""
            height, width, seconds = int(arrays["height"]), int(arrays["width"]), arrays["pts_seconds"]
        self._path = path
        self._offset, shape, self._dtype = _place_in_archive(path, "log_density.npy")
        if len(shape) != 3 or shape[0] != len(seconds):
            raise ValueError(f"log_density is {shape} for {len(seconds)} times")
        super().__init__(height, width, seconds, (shape[0], shape[1], shape[2]), frames, provenance)

    def read(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        mapped = np.memmap(self._path, self._dtype, "r", offset=self._offset, shape=self.shape)
        density = np.exp(mapped[numbers].astype(np.float32))
        made: npt.NDArray[np.float32] = density / density.sum(axis=(1, 2), keepdims=True)
        return made


def _place_in_archive(path: Path, name: str) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Where the numbers of an array in a .npz that is not compressed begin, their shape and type."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(name)
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError("it is compressed, as vidsal run does not write it")
    with path.open("rb") as file:
        file.seek(member.header_offset + 26)
        name_length, extra_length = struct.unpack("<HH", file.read(4))
        file.seek(member.header_offset + 30 + name_length + extra_length)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(file)
        if by_columns or dtype.kind != "f":
            raise ValueError(f"log_density is {dtype}, stored by {'columns' if by_columns else 'rows'}")
        return file.tell(), shape, dtype


class _StoredVideo(_Stored):
    def __init__(self, path: Path) -> None:
        with open_file(path) as container:
            tags = {name.lower(): value for name, value in container.metadata.items()}
            if not container.streams.video or not {"vidsal_picture", "vidsal_density_per_unit"} <= tags.keys():
                raise ValueError("it is no video of maps that vidsal run wrote")
            width, _, height = tags["vidsal_picture"].partition("x")
            stream = container.streams.video[0]
            shape = stream.codec_context.height, stream.codec_context.width
            base = stream.time_base
            self._pts = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        if base is None or not self._pts:
            raise ValueError("no map is in it")
        self._path, self._unit = path, float(tags["vidsal_density_per_unit"])
        seconds = np.array([float(pts * base) for pts in self._pts])
        provenance = tags.get(PROVENANCE_KEY, "")
        super().__init__(int(height), int(width), seconds, (len(self._pts), *shape), {}, provenance)

    def read(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        wanted = {self._pts[number]: number for number in numbers.tolist()}
        found: dict[int, npt.NDArray[np.float32]] = {}
        for pts, values in self._from(min(wanted, default=0)) if wanted else ():
            if pts in wanted:
                density = values * self._unit
                found[wanted[pts]] = (density / density.sum()).astype(np.float32)
            if len(found) == len(wanted):
                break
        if len(found) < len(wanted):
            raise ValueError(f"{len(wanted) - len(found)} maps cannot be decoded")
        maps = [found[number] for number in numbers.tolist()]
        return np.stack(maps) if maps else np.zeros((0, *self.shape[1:]), np.float32)

    def _from(self, pts: int) -> Iterator[tuple[int, npt.NDArray[np.uint16]]]:
        with open_file(self._path) as container:
            stream = container.streams.video[0]
            container.seek(pts, stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.pts is not None and frame.pts >= pts:
                    yield frame.pts, np.asarray(frame.to_ndarray(format="gray16le"), np.uint16)
