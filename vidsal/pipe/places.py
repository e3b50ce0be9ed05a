"""Sources and options in, where the results of each go and what they are called out; no two share a file."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidsal.addresses import hide_secrets
from vidsal.decode.source import Source, source_of
from vidsal.driving.options import DRIVING_FILES
from vidsal.errors import ConfigError, DecodeError, Setting
from vidsal.exports.options import EXPORT_FILES, export_files
from vidsal.files import is_folder, short_name
from vidsal.pipe.options import IMAGE_SUFFIXES, MAPS_SUFFIXES, TABLE_SUFFIXES, VIDEO_SUFFIXES, OutputOptions

__all__ = [
    "AOI_TABLES",
    "Place",
    "all_outputs",
    "distinct_key",
    "export_file",
    "local_path",
    "names_of",
    "other_places",
    "places_of",
    "planned_outputs",
]

_Source = str | Path | int


@dataclass(frozen=True)
class Place:
    """Where the results of a source go."""

    folder: Path
    """Their folder, which may have to be made."""
    stem: str
    """What their names begin with."""
    named: Path | None = None
    """The video or picture itself where the options name it."""

    @property
    def record(self) -> Path:
        """The record of the run beside the results."""
        return self.folder / f"{self.stem}.vidsal.json"


def places_of(sources: Sequence[_Source], options: OutputOptions) -> list[Place]:
    """Where the results of each source go, so that none replaces another's.

    Results lie beside their source, or in the folder that the options name. Into that, sources from several folders
    bring their folders, as they lie below the one that all have in common. Results are called after their source
    without its ending; where that makes two alike, with it.

    Raises:
        ConfigError: a source is given twice, the options name one file for all, or two sources are alike all the same.

    Example:
        >>> two = places_of(["/in/mon/a.mp4", "/in/tue/a.mp4"], OutputOptions(output=Path("out")))
        >>> [str(place.record) for place in two]
        ['out/mon/a.vidsal.json', 'out/tue/a.vidsal.json']
        >>> [place.stem for place in places_of(["/in/a.mp4", "/in/a.mov", "/in/b.mov"], OutputOptions())]
        ['a.mp4', 'a.mov', 'b']
    """
    twice = [key for key, count in Counter(map(distinct_key, sources)).items() if count > 1]
    if twice:
        raise ConfigError(f"{hide_secrets(twice[0])} is given twice: name each input once")
    named = options.named_file
    if named is not None:
        if len(sources) > 1:
            many = f" names the video of one input, and there are {len(sources)}: give a folder"
            raise ConfigError(Setting("output", named), many)
        places = [Place(named.parent, named.stem.removesuffix(".vidsal"), named) for _ in sources]
        _refuse_shared(sources, places, options)
        return places
    folders = _folders(sources, options.output)
    places = [_place(folder, _stem(source)) for folder, source in zip(folders, sources, strict=True)]
    whole = [_place(folder, _whole_name(source)) for folder, source in zip(folders, sources, strict=True)]
    while True:
        # Some file systems take no account of case.
        alike = Counter(_alike(place) for place in places)
        changed = [w if alike[_alike(p)] > 1 else p for p, w in zip(places, whole, strict=True)]
        if changed == places:
            break
        places = changed
    _refuse_shared(sources, places, options)
    return places


def other_places(source: _Source, place: Place, options: OutputOptions) -> list[Place]:
    """Where the results of a file or a folder would go if it was run alone, or among others than now.

    Example:
        >>> options = OutputOptions(output=Path("out"))
        >>> there, _ = places_of(["/in/mon/a.mp4", "/in/tue/b.mp4"], options)
        >>> [str(place.record) for place in other_places("/in/mon/a.mp4", there, options)][:2]
        ['out/a.vidsal.json', 'out/a.mp4.vidsal.json']
    """
    path = local_path(source)
    if path is None or place.named is not None:
        return []
    parent = _absolute(path).parent
    folders = [parent]
    if options.output is not None:
        below = parent.relative_to(parent.anchor).parts
        folders = [options.output.joinpath(*below[len(below) - kept :]) for kept in range(len(below) + 1)]
    names = dict.fromkeys((_stem(source), _whole_name(source)))
    return [other for folder in folders for name in names if (other := _place(folder, name)) != place]


def names_of(source: _Source) -> tuple[str, str]:
    """What the results of a source are called after: its name without its ending, and whole for where that is taken.

    Example:
        >>> names_of(Path("/in/mon/a.mp4")), names_of("rtsp://me:secret@host/door?a=1")
        (('a', 'a.mp4'), ('door', 'host-door'))
    """
    return _stem(source), _whole_name(source)


def planned_outputs(place: Place, options: OutputOptions, *, still: bool = False) -> dict[str, Path]:
    """The files that a run writes, by stage: "video" or "image", "table", "maps", exports, "report"; not the record.

    Args:
        place: where they go.
        options: what is wanted.
        still: whether the source is one picture.

    Raises:
        ConfigError: the options name a video, and the source is a picture, or the other way round.

    Example:
        >>> (place,) = places_of(["rtsp://host/door.sdp?a=1"], OutputOptions())
        >>> planned = planned_outputs(place, OutputOptions(table="jsonl", container="mkv"))
        >>> {stage: target.name for stage, target in planned.items()}
        {'video': 'door.vidsal.mkv', 'table': 'door.vidsal.jsonl'}
    """
    folder, stem = place.folder, place.stem
    drawn = place.named
    if drawn is None:
        drawn = folder / f"{stem}.vidsal.{'png' if still else options.container}"
    elif still != (drawn.suffix.lower() in IMAGE_SUFFIXES):
        what, other = ("picture", "a video") if still else ("video", "a picture")
        raise ConfigError(Setting("output", drawn), f" names {other}, but the input is a {what}: give a folder")
    planned: dict[str, Path | None] = {
        "image" if still else "video": drawn if options.video else None,
        "table": _target(options.table, folder / f"{stem}.vidsal", TABLE_SUFFIXES),
        "maps": _target(options.maps, folder / f"{stem}.vidsal.maps", MAPS_SUFFIXES),
        **{kind.name: export_file(folder, stem, kind.name) for kind in export_files(options.export)},
        **{kind: folder / f"{stem}.vidsal.{kind}.csv" for kind in AOI_TABLES if options.aois is not None},
        **{
            kind: folder / f"{stem}.vidsal.{kind}{suffix}"
            for kind, suffix in DRIVING_FILES.items()
            if options.report_driving
        },
        # It shows the others, so it is made as the last.
        "report": folder / f"{stem}.vidsal.html" if options.report else None,
    }
    return {stage: target for stage, target in planned.items() if target is not None}


AOI_TABLES = ("aois", "aois-summary")
"""The results about areas of interest."""


def all_outputs(place: Place) -> list[Path]:
    """Every file but the record that a run may write at a place, whatever its options are."""
    endings = [*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, *TABLE_SUFFIXES, ".html", *(f".maps{end}" for end in MAPS_SUFFIXES)]
    endings += [f".{kind}.csv" for kind in AOI_TABLES] + [f".{kind}{end}" for kind, end in DRIVING_FILES.items()]
    files = [place.folder / f"{place.stem}.vidsal{ending}" for ending in endings]
    files += [export_file(place.folder, place.stem, kind) for kind in EXPORT_FILES]
    return files if place.named is None else [*files, *map(place.named.with_suffix, VIDEO_SUFFIXES), place.named]


def export_file(folder: Path, stem: str, kind: str) -> Path:
    """Where a file of an export goes, beside the other results.

    Example:
        >>> str(export_file(Path("out"), "a", "cvat"))
        'out/a.vidsal.cvat.xml'
    """
    return folder / f"{stem}.vidsal{EXPORT_FILES[kind].ending}"


def local_path(source: _Source) -> Path | None:
    """The file or folder that a source is; None for cameras, addresses and standard input."""
    known = _known(source)
    return None if known is None else known.path


def _known(source: _Source) -> Source | None:
    try:
        known = source_of(source)
        # Neither the null character nor what cannot be coded is in the name of a file.
        return known if known.path is None or b"\0" not in os.fsencode(known.path) else None
    except (DecodeError, UnicodeEncodeError):
        return None  # it fails on its own, where it is opened


def distinct_key(source: _Source) -> str:
    """The same for sources that are the same, however their paths are written; links count as files of their own."""
    known = _known(source)
    if known is None or known.path is None:
        return str(source) if known is None or known.camera is None else known.name
    return _normal(known.path)


def _folders(sources: Sequence[_Source], output: Path | None) -> list[Path]:
    """The folder for the results of each."""
    paths = [local_path(source) for source in sources]
    parents = [None if path is None else _absolute(path).parent for path in paths]
    if output is None:
        return [parent or Path.cwd() for parent in parents]
    there = [_normal(parent) for parent in parents if parent is not None]
    try:
        common = os.path.commonpath(there)
    except ValueError:  # no file among them; Windows: on several drives
        return [output / re.sub(r"[:\\/]+", "/", str(parent or "")).strip("/") for parent in parents]
    return [output if parent is None else output / os.path.relpath(parent, common) for parent in parents]


def _normal(path: Path) -> str:
    return os.path.normpath(path.absolute())


def _absolute(path: Path) -> Path:
    whole = path.absolute()
    # Unlike `Path.resolve`, it stands links that lead to themselves.
    return Path(os.path.realpath(whole)) if whole.name == ".." else whole


def _stem(source: _Source) -> str:
    """What the results of a source are called after."""
    path = local_path(source)
    if path is not None:
        whole = _absolute(path)
        return (whole.name if is_folder(path) else whole.stem) or "root"
    return _plain(Path(_address(source)).stem)


def _whole_name(source: _Source) -> str:
    """What they are called after where its stem is another's too."""
    path = local_path(source)
    if path is not None:
        return _absolute(path).name or "root"
    return _plain(_address(source).rpartition("://")[2])


def _address(source: _Source) -> str:
    """What is no file, without its query, and without the password that may stand in it."""
    known = _known(source)
    name = hide_secrets(source) if known is None else known.name
    return re.split("[?#]", name)[0].rstrip("/")


def _plain(name: str) -> str:
    plain = re.sub(r"[^\w.-]+", "-", name) or "stream"
    return f"_{plain}" if plain.split(".")[0].upper() in _RESERVED else plain


_ROOM = 40
"""Bytes that the longest ending of a result takes, with those of its partial file and its lock."""

_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}
"""No names of files on Windows, whatever follows them."""


def _place(folder: Path, stem: str) -> Place:
    return Place(folder, short_name(stem, folder, room=_ROOM))


def _alike(place: Place) -> tuple[Path, str]:
    return place.folder, place.stem.casefold()


def _refuse_shared(sources: Sequence[_Source], places: Sequence[Place], options: OutputOptions) -> None:
    """One result would be lost in silence."""
    writers: dict[str, _Source] = {}
    for source, place in zip(sources, places, strict=True):
        still = place.named is not None and place.named.suffix.lower() in IMAGE_SUFFIXES
        planned = planned_outputs(place, options, still=still)
        _refuse_one_name(planned, options)
        for stage, target in planned.items():
            if (first := writers.setdefault(_normal(target), source)) != source:
                both = f"{hide_secrets(first)} and {hide_secrets(source)} would both write {target}: "
                if stage in ("table", "maps") and getattr(options, stage) != target.suffix[1:]:
                    raise ConfigError(both, "give ", Setting(stage), f" a format such as {target.suffix[1:]}")
                raise ConfigError(both, "give each its own ", Setting("output"))


def _refuse_one_name(planned: Mapping[str, Path], options: OutputOptions) -> None:
    """Two results of one source in one file: no others end alike."""
    for named, other in (("maps", "video"), *(("table", kind.name) for kind in export_files(options.export))):
        if {named, other} <= planned.keys() and _normal(planned[named]) == _normal(planned[other]):
            setting = Setting(named, getattr(options, named))
            if other == "video" and options.named_file is not None:
                output = Setting("output", options.output)
                raise ConfigError(output, " and ", setting, " name one file: give each a name of its own")
            raise ConfigError(setting, f" names the file of the {other} ({planned[named]}): give it a name of its own")


def _target(wanted: str | None, base: Path, suffixes: tuple[str, ...]) -> Path | None:
    """The path of a table or of maps, from a format's name or a path."""
    if wanted is None or wanted == "none":
        return None
    if f".{wanted}" in suffixes:
        return base.with_name(f"{base.name}.{wanted}")
    path = Path(wanted)
    # A bare name belongs beside the other results; a path is taken as it is.
    return path if path.is_absolute() or len(path.parts) > 1 else base.with_name(path.name)
