"""How a batch is worked through: `BatchOptions`, and `ArchiveOptions`, those of a run and of its batch together."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from vidsal.errors import ConfigError, Setting
from vidsal.options import Checked, Range
from vidsal.pipe.options import RunOptions

__all__ = ["ArchiveOptions", "BatchOptions"]


@dataclass(frozen=True)
class BatchOptions(Checked):
    """How a batch is worked through."""

    engine: Literal["local", "ray"] = "local"
    """What does the work: local, processes on this machine; ray, a cluster (needs vidsal[ray])."""
    workers: Annotated[int, Range(at_least=0)] = 0
    """Processes that work at once; 0: as many on the CPU as there are cores and free memory for, or one a GPU. With
    --engine ray, at most as many on the whole cluster; 0: as many as it has room for."""
    lanes: Annotated[int, Range(at_least=0)] = 0
    """Videos side by side in one process; 0: 4 on a GPU, 1 on a CPU."""
    ray_address: str | None = None
    """The Ray cluster, as HOST:PORT; auto: the one of this machine; local: one that ends with the batch; None: that of
    RAY_ADDRESS or of this machine, or else a local one. Only with --engine ray, as the next three."""
    worker_cpus: Annotated[float, Range(above=0)] | None = None
    """Cores that Ray keeps for one process; None: 1, or with a GPU its share of the cores of its node."""
    worker_gpus: Annotated[float, Range(at_least=0)] | None = None
    """GPUs that Ray keeps for one process, also a part of one, such as 0.5; None: 1 where nodes have some."""
    worker_memory: Annotated[float, Range(at_least=0)] | None = None
    """Memory in GB that Ray keeps for one process; None: 1.5 for each video side by side."""
    retries: Annotated[int, Range(at_least=0)] = 2
    """How often a file is tried again after a failure that may pass: a lost connection, no memory, no permission to
    write, an error that nobody foresaw. A damaged file is not tried again."""
    retry_pause: Annotated[float, Range(at_least=0)] = 30.0
    """Seconds before a file is tried again, twice as many each time."""
    slower_than: Annotated[float, Range(above=0)] | None = 100.0
    """Gives a file up when it takes this many times its own length, and 2 minutes more (--grace); None: never."""
    grace: Annotated[float, Range(at_least=0)] = 120.0
    """Seconds that any file may take, however short it is."""
    fail_fast: bool = False
    """Begins no further file once one has failed."""
    keep_free: Annotated[float, Range(at_least=0)] = 2.0
    """Free space in GB on the disk of the results below which no file is begun, until there is more again."""
    upload: str | None = None
    """Address of a folder elsewhere for the results (s3://, sftp://; needs vidsal[storage]): each is put there whole
    and verified. The account, the tables and the records stay in --output too; videos and maps do not."""
    scratch: Path | None = None
    """Folder for copies of inputs that lie elsewhere; None: the system's for temporary files."""
    scratch_limit: Annotated[float, Range(above=0)] | None = None
    """Most space in GB that these copies may take together; None: what the disk has."""
    shot_lists: bool = True
    """Also writes the shot list of each input, NAME.vidsal.shots.csv, as --export shots does."""
    dataset: bool = True
    """Gathers the tables of all inputs in DIR/dataset at the end, as Parquet; needs pyarrow (vidsal[parquet])."""


@dataclass(frozen=True)
class ArchiveOptions(RunOptions):
    """All options of `vidsal batch`: those of a run, and of the batch."""

    batch: BatchOptions = field(default_factory=BatchOptions)
    """How the batch is worked through."""

    def __post_init__(self) -> None:
        wanted = self.output
        if wanted.output is None:
            raise ConfigError(Setting("output"), " is missing: name the folder for the results of the batch")
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(wanted.output)):
            upload = Setting("upload", re.sub(":/+", "://", str(wanted.output)))
            what = " is to be a folder here, which keeps the account of the batch; for results elsewhere add "
            raise ConfigError(Setting("output"), what, upload)
        if wanted.output.exists() and not wanted.output.is_dir():
            raise ConfigError(Setting("output", wanted.output), " is a file: a batch needs a folder")
        if wanted.named_file is not None:
            raise ConfigError(Setting("output", wanted.output), " names one file: a batch needs a folder")
        if not wanted.record:
            without = Setting("record", False)
            raise ConfigError(without, " cannot be used in a batch: the records say what is done")
        for name, formats in (
            ("table", ("csv", "parquet", "jsonl", "none", None)),
            ("maps", ("mkv", "npz", "none", None)),
        ):
            if getattr(wanted, name) not in formats:
                here = Setting(name, getattr(wanted, name))
                raise ConfigError(here, " names one file, and there are many inputs: give only its format")
