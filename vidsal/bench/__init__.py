"""The benchmark of `vidsal bench`: options in, a report out. The names below are loaded on first use, as `vidsal`'s."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidsal.bench.clock import matrix_peak
    from vidsal.bench.machine import describe_machine, describe_versions
    from vidsal.bench.made import make_clip, make_pictures, random_network
    from vidsal.bench.measure import bench
    from vidsal.bench.operations import count_operations
    from vidsal.bench.options import BenchOptions, LoadOptions, MeasureOptions
    from vidsal.bench.report import (
        BenchReport,
        CaseReport,
        MemoryReport,
        Operations,
        PrecisionReport,
        Spread,
        VideoReport,
        format_bench,
    )

__all__ = [
    "BenchOptions",
    "BenchReport",
    "CaseReport",
    "LoadOptions",
    "MeasureOptions",
    "MemoryReport",
    "Operations",
    "PrecisionReport",
    "Spread",
    "VideoReport",
    "bench",
    "count_operations",
    "describe_machine",
    "describe_versions",
    "format_bench",
    "make_clip",
    "make_pictures",
    "matrix_peak",
    "random_network",
]

_FILES = ("options", "report", "made", "clock", "operations", "machine", "measure")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for file in _FILES:
            module = importlib.import_module(f"vidsal.bench.{file}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module 'vidsal.bench' has no attribute {name!r}")
