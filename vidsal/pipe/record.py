"""A run in, the record of how its results came about out: made, written beside them, and compared by a later run.

Every result holds the record's first part, the `Provenance`, where its format has a place for it. The whole lies beside
the results as NAME.vidsal.json. It is what makes them complete: it is written as "unfinished" before the first of them
gets its name, and as "done" after the last one has.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Literal

from av.error import FFmpegError

from vidsal.decode.contract import VideoInfo
from vidsal.decode.images import IMAGE_SUFFIXES
from vidsal.decode.local import open_file
from vidsal.driving.options import DRIVING_FILES
from vidsal.errors import DatasetError, DecodeError, ExistsError, Setting
from vidsal.exports.contract import Fact, Footage, whole_path
from vidsal.exports.options import EXPORT_FILES
from vidsal.files import replacing
from vidsal.model.checkpoint import SaliencyModel
from vidsal.model.ensemble import Ensemble
from vidsal.pipe.options import MAPS_SUFFIXES, TABLE_SUFFIXES, VIDEO_SUFFIXES, RunOptions, WithPrediction
from vidsal.pipe.outputs import possible_files
from vidsal.pipe.places import AOI_TABLES, Place, planned_outputs
from vidsal.provenance import differences, package_version, source_commit
from vidsal.sinks.contract import PROVENANCE_KEY
from vidsal.sinks.options import DEFAULT_ENCODER
from vidsal.stages import TRACKED_STYLES

__all__ = [
    "InputRecord",
    "ModelRecord",
    "Provenance",
    "ResultRecord",
    "RunRecord",
    "Standing",
    "decisive_options",
    "is_result",
    "look_around",
    "path_from",
    "plain_options",
    "read_records",
    "write_record",
]

_FORMAT = "vidsal-run-1"


@dataclass(frozen=True)
class InputRecord:
    """What results were made from."""

    name: str
    """Of the file or folder; else the address without its password, or what it is."""
    kind: str
    """video, image, images, camera or stream."""
    bytes: int | None = None
    """Its size, that of all pictures of a folder; None for what is no file."""
    modified: str | None = None
    """When it was last changed, in UTC; of a folder its newest picture; None for what is no file."""
    sample_sha256: str | None = None
    """Of its size and of 16 pieces of 64 KiB spread over it; of a folder of the names, sizes and beginnings of its
    pictures. None for what is no file."""
    height: int | None = None
    """Rows of its upright picture at full size; None before it is opened."""
    width: int | None = None
    """Columns of it."""
    sample_aspect_ratio: str | None = None
    """Width of its pixels over their height, such as "4/3"; None before it is opened, and in records of earlier
    versions, which lack what follows too."""
    rate: str | None = None
    """Frames a second, such as "30000/1001"; None where unknown."""
    timecode: str | None = None
    """Time code of its first frame; None without one."""
    duration_seconds: float | None = None
    """Seconds it says it lasts; None where it does not say."""
    audio_channels: int | None = None
    """Channels of its first sound track, 0 without sound; None where unknown."""
    audio_rate: int | None = None
    """Samples a second of that track."""

    @classmethod
    def of(cls, name: str, path: Path | None, *, kind: str = "", sampled: bool = True) -> InputRecord:
        """The record of a source as it is now.

        Args:
            name: what it is called where it is no file.
            path: its file or folder.
            kind: as `VideoInfo.kind` has it.
            sampled: False reads nothing of it.

        Raises:
            OSError: it cannot be read.
        """
        if path is None or not path.exists():
            return cls(name, kind)
        files = _pictures(path) if path.is_dir() else [path]
        found = [file.stat() for file in files]
        newest = max((status.st_mtime for status in found), default=0.0)
        return cls(
            name=(path if path.name not in ("", "..") else path.resolve()).name,
            kind=kind,
            bytes=sum(status.st_size for status in found),
            modified=datetime.fromtimestamp(newest, UTC).isoformat(timespec="microseconds"),
            sample_sha256=(_sample(files) if path.is_dir() else _sample_of(path)) if sampled else None,
        )

    def opened(self, info: VideoInfo) -> InputRecord:
        """The same with what an open source says of itself."""
        return dataclasses.replace(
            self,
            height=info.height,
            width=info.width,
            sample_aspect_ratio=str(info.sample_aspect_ratio),
            rate=None if info.nominal_rate is None else str(info.nominal_rate),
            timecode=info.timecode,
            duration_seconds=info.duration_seconds,
            audio_channels=info.audio_channels,
            audio_rate=info.audio_rate,
        )

    def footage(self, path: Path | None) -> Footage:
        """What exports are told of it.

        Args:
            path: where it lies now; None where that is not known.

        Raises:
            DatasetError: a rate or a ratio in it is none.
        """
        known: set[Fact] = set()
        if self.height is not None and self.width is not None:
            known.add("size")
        if self.sample_aspect_ratio is not None:
            known.add("time")
        try:
            ratio = Fraction(self.sample_aspect_ratio or 1)
            rate = None if self.rate is None else Fraction(self.rate)
            # Of several pictures it is that of the newest one.
            is_dated = self.modified is not None and self.kind != "images"
            modified = datetime.fromisoformat(self.modified or "") if is_dated else None
        except (ValueError, TypeError, ZeroDivisionError) as error:
            wrong = f"{self.sample_aspect_ratio!r} and {self.rate!r} must be fractions, and {self.modified!r} a time"
            raise DatasetError(f"the record of {self.name} is damaged: {wrong}") from error
        return Footage(
            name=self.name,
            path=None if path is None else whole_path(path),
            kind=self.kind,
            height=self.height,
            width=self.width,
            sample_aspect_ratio=ratio,
            rate=rate,
            timecode=self.timecode,
            duration_seconds=self.duration_seconds,
            audio_channels=self.audio_channels,
            audio_rate=self.audio_rate,
            modified=modified,
            known=frozenset(known),
        )

    def is_unchanged(self, other: InputRecord) -> bool:
        """Whether two have one name, size and time."""
        return (self.name, self.bytes, self.modified) == (other.name, other.bytes, other.modified)

    def is_content_of(self, other: InputRecord) -> bool:
        """Whether two are of one content: unchanged, or of one size and the same sample."""
        if self.bytes is None or self.bytes != other.bytes:
            return False
        same_sample = self.sample_sha256 is not None and self.sample_sha256 == other.sample_sha256
        return same_sample or self.is_unchanged(other)

    def describe(self) -> str:
        """Name, size and time in words."""
        known = [] if self.bytes is None else [f"{self.bytes} bytes", f"of {self.modified}"]
        return ", ".join([self.name, *known])


@dataclass(frozen=True)
class ModelRecord:
    """Which model made them."""

    name: str
    """From its card."""
    sha256: str
    """Of its checkpoint file; of its weights where it comes from no file; of the members' in an ensemble."""
    precision: str
    """fp32, bf16 or fp16, with "-openvino" where OpenVINO computed it; several with "+" between for an ensemble."""
    device: str
    """Where it ran."""
    task: str = ""
    """What the viewers do whose gaze it predicts; empty in records of before this was known."""
    ensemble: Mapping[str, Any] | None = None
    """Of an ensemble the kind of mean and, member by member, name, sha256, precision, share, whether it sees frames
    mirrored, and its canvas; None for a single model."""

    @classmethod
    def of(cls, model: SaliencyModel) -> ModelRecord:
        """The record of a loaded model."""
        facts = model.facts if isinstance(model, Ensemble) else None
        return cls(model.card.name, model.sha256, model.precision, str(model.device), model.task, facts)

    @classmethod
    def of_either(cls, model: SaliencyModel | None, maps: Path | None) -> ModelRecord:
        """That of the model, or of the maps of an earlier run that were read in its place; "none" where neither was.

        Raises:
            OSError: the maps cannot be read.
        """
        if model is not None:
            return cls.of(model)
        if maps is None:
            return cls("none", "", "", "")
        made = InputRecord.of(str(maps), maps)
        return cls(f"the maps of {made.name}", made.sample_sha256 or "", "", "")


@dataclass(frozen=True)
class Provenance:
    """How results came about."""

    vidsal: str
    """Version of vidsal."""
    commit: str
    """Commit of its code, with "+" where files differ from it; empty outside a checkout."""
    model: ModelRecord
    """The model."""
    input: InputRecord
    """The source."""
    options: Mapping[str, Any]
    """All options but those of the model and of where results go, stage by stage."""

    @classmethod
    def of(cls, source: InputRecord, options: WithPrediction, model: SaliencyModel | ModelRecord) -> Provenance:
        """That of the results that are made now."""
        made = plain_options(options)
        kept = {stage: values for stage, values in made.items() if stage not in ("model", "output")}
        kept |= _areas(options) if isinstance(options, RunOptions) else {}
        by = model if isinstance(model, ModelRecord) else ModelRecord.of(model)
        return cls(package_version(), _commit(), by, source, kept)

    def footage(self, path: Path | None) -> Footage:
        """What exports are told of the source, and of the part of it that was read; as `InputRecord.footage`."""
        return dataclasses.replace(self.input.footage(path), end_seconds=self.end_seconds)

    @property
    def end_seconds(self) -> float | None:
        """Where the part of the source ends that was read; None: at its own end."""
        decode = self.options.get("decode")
        end = decode.get("end_seconds") if isinstance(decode, Mapping) else None
        return end if isinstance(end, int | float) else None

    def as_text(self) -> str:
        """As JSON in one line."""
        return json.dumps(dataclasses.asdict(self))

    def differences(self, now: Provenance, stage: str) -> list[str]:
        """What would come out otherwise now in the result of a stage, a phrase each."""
        found = differences(self._decisive(stage), now._decisive(stage))
        if not self.input.is_content_of(now.input):
            found.insert(0, f"the input was another one ({self.input.describe()}, now {now.input.describe()})")
        return found

    def _decisive(self, stage: str) -> dict[str, Any]:
        """What the result of a stage depends on, apart from the input."""
        tracked = () if TRACKED_STYLES.isdisjoint(self.options.get("render", {}).get("style", ())) else ("tracks",)
        made_by = {
            "video": ("render", "video", *tracked),
            "image": ("render", *tracked),
            "report": ("render", "video", "tracks"),
            **dict.fromkeys(("table", *EXPORT_FILES), ("tracks",)),
            **dict.fromkeys(AOI_TABLES, ("tracks", "aois")),
            **dict.fromkeys(DRIVING_FILES, ("tracks", "driving", "driving_files")),
        }
        left_out = {"render", "video", "tracks", "aois", "driving", "driving_files"} - {*made_by.get(stage, ())}
        options = {
            name: {key: value for key, value in values.items() if f"{name}.{key}" not in _INDIFFERENT}
            for name, values in self.options.items()
            if name not in left_out and isinstance(values, Mapping)
        }
        if "encoder" in options.get("video", {}):
            # Earlier records name the one that is taken where none is asked for.
            options["video"] = {**options["video"], "encoder": options["video"]["encoder"] or DEFAULT_ENCODER}
        model = {"name": self.model.name, "sha256": self.model.sha256, "precision": self.model.precision}
        return {"vidsal": self.vidsal, "model": model, **options}


def decisive_options(options: RunOptions) -> dict[str, Any]:
    """All options that results depend on, and which results there are, stage by stage; those of the model left out."""
    made = plain_options(options)
    wanted = {name: made["output"][name] for name in made["output"] if name not in _WHERE}
    stages = {
        stage: {name: value for name, value in values.items() if f"{stage}.{name}" not in _INDIFFERENT}
        for stage, values in made.items()
        if stage not in ("model", "batch")
    }
    return {**stages, **_areas(options), "output": wanted}


def _areas(options: RunOptions) -> dict[str, Any]:
    """What the files of areas hold, by their digests; empty without any."""
    driving = options.driving if options.output.report_driving else None
    given: dict[str, dict[str, Path | None]] = {
        "aois": {"sha256": options.output.aois},
        "driving_files": {} if driving is None else {"camera": driving.camera_template, "users": driving.road_users},
    }
    made: dict[str, Any] = {}
    for stage, files in given.items():
        for name, path in files.items():
            if path is not None:
                made.setdefault(stage, {})[name] = _digest(path)
    return made


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error


_WHERE = ("output", "aois", "record", "existing", "overwrite")
"""Options of the output that say where, and what happens to what is there."""

_INDIFFERENT = {
    *("decode.batch_size", "decode.threads", "decode.strict", "decode.max_pixels", "decode.allow_playlists"),
    *("video.encoder_threads", "driving.camera_template", "driving.road_users"),
}
"""Options that change no result that is whole."""


@dataclass(frozen=True)
class ResultRecord:
    """One file that was written."""

    stage: str
    """video, image, table, maps, or the name of an export."""
    file: str
    """Its name; its path where it lies in another folder than the record."""
    bytes: int
    """Its size."""


@dataclass(frozen=True)
class RunRecord:
    """What lies beside the results of a run, as NAME.vidsal.json."""

    status: Literal["done", "unfinished"]
    """done; unfinished from just before the first result gets its name until the last one has it."""
    provenance: Provenance
    """How the results came about; in the file its fields stand at the top."""
    results: tuple[ResultRecord, ...]
    """The files."""
    counts: Mapping[str, Any] = field(default_factory=dict)
    """frames, cuts, skipped_corrupt, ...: the numbers of `RunReport`."""
    messages: tuple[str, ...] = ()
    """Everything a user should know about the run."""
    source: str | None = None
    """Path of the source, seen from the folder of the record, "../in/a.mp4"; None for what is no file, for a copy that
    was only fetched for the run, and in records of earlier versions."""

    def source_in(self, folder: Path) -> Path | None:
        """Where the source lay, for a record that lies in `folder`; None where that is not known."""
        return None if self.source is None else whole_path(Path(os.path.normpath(folder.resolve() / self.source)))

    def paths(self, folder: Path) -> dict[str, Path]:
        """The results by stage, whole paths, for a record that lies in `folder`."""
        return {result.stage: (folder / result.file).absolute() for result in self.results}

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = dataclasses.asdict(self)
        return {"status": values.pop("status"), **values.pop("provenance"), **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunRecord:
        """The record that `as_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        if values["status"] not in ("done", "unfinished"):
            raise ValueError(values["status"])
        provenance = Provenance(
            vidsal=str(values["vidsal"]),
            commit=str(values["commit"]),
            model=ModelRecord(**_known(ModelRecord, values["model"])),
            input=InputRecord(**_known(InputRecord, values["input"])),
            options=dict(values["options"]),
        )
        results = tuple(ResultRecord(**_known(ResultRecord, one)) for one in values["results"])
        source = None if values.get("source") is None else str(values["source"])
        return cls(values["status"], provenance, results, dict(values["counts"]), tuple(values["messages"]), source)


def path_from(folder: Path, path: Path | None) -> str | None:
    """The path of a source as `RunRecord.source` has it.

    Args:
        folder: of the record.
        path: the source's file or folder; None: it is none.
    """
    if path is None:
        return None
    try:
        return Path(os.path.relpath(whole_path(path), folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return whole_path(path).as_posix()


def write_record(path: Path, record: RunRecord, *, earlier: Iterable[RunRecord] = ()) -> None:
    """Write the record of a run, whole or not at all.

    Args:
        path: as `Place.record` gives it.
        record: the record.
        earlier: those of earlier runs whose results stay.

    Raises:
        EncodeError: it cannot be written.
    """
    values = {"format": _FORMAT, **record.as_dict(), "earlier": [one.as_dict() for one in earlier]}
    with replacing(path) as partial:
        partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_records(path: Path) -> list[RunRecord]:
    """The records in a file that `write_record` wrote, the last one first; none where there is no such file."""
    try:
        if not path.is_file():
            return []
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != _FORMAT:
            return []
        return [RunRecord.from_dict(one) for one in (values, *values["earlier"])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def is_result(path: Path) -> bool:
    """Whether a file is known to be the result of a run: by the record beside it or in itself.

    A name like those of results, such as `*.vidsal.*`, says it only of what cannot be an input, and of partial files.
    """
    name, suffix = path.name, path.suffix.lower()
    if not _is_file(path):
        return False
    own, partial = any(mark in name for mark in _MARKS), ".partial." in name
    if own and (partial or suffix in _NO_INPUTS):
        return True
    beside = {f"{stem}.vidsal.json" for stem in (path.stem, name.rpartition(".vidsal.")[0])}
    for name_of_record in beside:
        if any(one.file == name for record in read_records(path.with_name(name_of_record)) for one in record.results):
            return True
    return (own or partial) and _holds_record(path)


def _is_file(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return path.is_file()
    return False


_MARKS = {".vidsal.", *(f".vidsal{kind.ending.rpartition('.')[0]}." for kind in EXPORT_FILES.values())}
"""What stands in the names of results: of ELAN's settings, "NAME.vidsal_tsconf.xml", not the first."""

_EXPORT_SUFFIXES = {kind.suffix for kind in EXPORT_FILES.values()}
_NO_INPUTS = {*TABLE_SUFFIXES, *MAPS_SUFFIXES, *_EXPORT_SUFFIXES, ".ass", ".json", ".html", ".lock"} - {*VIDEO_SUFFIXES}
"""Endings of what a run leaves that holds no pictures."""

_HEAD_BYTES = 2**17
"""The record of a picture, and of some videos, stands within so many."""


def _holds_record(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if PROVENANCE_KEY.encode() in file.read(_HEAD_BYTES).lower():
                return True
        with open_file(path) as container:
            return any(key.lower() == PROVENANCE_KEY for key in container.metadata)
    except (OSError, ValueError, FFmpegError, DecodeError):
        return False


@dataclass(frozen=True)
class Standing:
    """What a run finds where its results go."""

    done: RunRecord | None = None
    """The record of the results, where all that are wanted are there and are what would be made now."""
    replaceable: frozenset[Path] = frozenset()
    """Results that are certainly of vidsal's making, and that are made again; whole paths."""
    records: tuple[RunRecord, ...] = ()
    """What the record holds."""

    def staying(self, folder: Path, written: Iterable[Path]) -> list[RunRecord]:
        """The records of results that stay when others are written."""
        gone = {path.absolute() for path in written}
        kept = []
        for record in self.records:
            there = record.paths(folder)
            results = tuple(
                one for one in record.results if there[one.stage] not in gone and _is_whole(folder / one.file, one)
            )
            if record.status == "done" and results:
                kept.append(dataclasses.replace(record, results=results))
        return kept


def look_around(place: Place, options: RunOptions, model: SaliencyModel, path: Path | None) -> Standing:
    """See what earlier runs left where the results of a source go.

    Args:
        place: where they go.
        options: of the run.
        model: the model.
        path: the source's file or folder; None: what is no file is never known to be the same.

    Raises:
        ExistsError: a result is there that may not be replaced, and that is not what would be made now.
        ConfigError: as `planned_outputs`.
        OSError: the source cannot be read.
    """
    existing, folder, beside = options.output.existing, place.folder, place.record
    records = tuple(read_records(beside))
    if beside.exists() and not records and options.output.record and existing != "overwrite":
        what = " exists already, and is no record of this version of vidsal; use "
        raise ExistsError(f"{beside}{what}", Setting("overwrite", True), " to replace it, or choose another name")
    # Nobody has been told of them yet.
    unfinished = {
        (folder / one.file).absolute()
        for record in records
        if record.status == "unfinished"
        for one in record.results
        if _is_whole(folder / one.file, one)
    }
    done = [record for record in records if record.status == "done"]
    if existing != "skip" or not done or path is None or not path.exists():
        return Standing(replaceable=frozenset(unfinished), records=records)
    source = InputRecord.of(str(path), path, sampled=False)
    if not all(record.provenance.input.is_unchanged(source) for record in done):
        source = InputRecord.of(str(path), path)
    now = Provenance.of(source, options, model)
    same: dict[str, tuple[RunRecord, Path]] = {}
    # One picture or a film: as it was found then.
    wanted = planned_outputs(place, options.output, still=done[0].provenance.input.kind == "image")
    for stage, target in wanted.items():
        found = _find(done, folder, stage, target)
        if found is None:
            if target.exists() and target.absolute() not in unfinished:
                what = f"{target} exists already, and no record says how it was made; use "
                raise ExistsError(what, *_OTHERWISE)
            continue
        record, result = found
        there = (folder / result.file).absolute()
        if not there.exists():
            continue
        if not _is_whole(there, result):
            raise ExistsError(f"{there} has been changed since it was made; use ", *_OTHERWISE)
        if changed := record.provenance.differences(now, stage):
            raise ExistsError(f"{there} was made otherwise: {'; '.join(changed)}; use ", *_OTHERWISE)
        same[stage] = record, there
    if wanted and same.keys() == wanted.keys():
        return Standing(done=next(iter(same.values()))[0], records=records)
    return Standing(replaceable=frozenset(unfinished | {there for _, there in same.values()}), records=records)


_OTHERWISE = (Setting("existing", "overwrite"), " to replace it, or choose another ", Setting("output"))


def _find(
    records: Iterable[RunRecord], folder: Path, stage: str, target: Path
) -> tuple[RunRecord, ResultRecord] | None:
    """The record that names the target of a stage, or what was written in its place."""
    names = possible_files(stage, target)
    for record in records:
        for result in record.results:
            if result.stage == stage and (folder / result.file).absolute() in names:
                return record, result
    return None


def _is_whole(path: Path, result: ResultRecord) -> bool:
    return path.is_file() and path.stat().st_size == result.bytes


def plain_options(options: WithPrediction) -> dict[str, Any]:
    """All options as values that JSON can hold, stage by stage."""
    return dataclasses.asdict(options, dict_factory=_plain)  # type: ignore[call-overload,no-any-return]


def _plain(options: list[tuple[str, Any]]) -> dict[str, Any]:
    # JSON gives lists back for tuples, so that a record would differ from itself.
    return {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in options
    }


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what a later version may have added."""
    return {one.name: values[one.name] for one in dataclasses.fields(kind) if one.name in values}


@cache
def _commit() -> str:
    return source_commit()


_SAMPLES = 16
_SAMPLE_BYTES = 65536


def _sample_of(path: Path) -> str:
    """The digest of a file's size and of pieces of it, evenly spread, the first and the last bytes among them."""
    size = path.stat().st_size
    digest = hashlib.sha256(f"{size} ".encode())
    with path.open("rb") as file:
        for start in sorted({max(0, size - _SAMPLE_BYTES) * n // (_SAMPLES - 1) for n in range(_SAMPLES)}):
            file.seek(start)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _sample(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size} ".encode(errors="surrogateescape"))
        with file.open("rb") as stream:
            digest.update(stream.read(4096))
    return digest.hexdigest()


def _pictures(folder: Path) -> list[Path]:
    return sorted(_iterate_pictures(folder))


def _iterate_pictures(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.suffix.lower() in IMAGE_SUFFIXES and ".vidsal." not in path.name and path.is_file():
            yield path
