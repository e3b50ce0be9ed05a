"""The benchmark of `vidsal bench`: options in, a report out."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.bench.clock import count_operations, matrix_peak
    from vidsal.bench.machine import describe_machine, describe_versions
    from vidsal.bench.made import make_clip, make_pictures, random_network
    from vidsal.bench.measure import bench
    from vidsal.bench.options import BenchOptions, LoadOptions, MeasureOptions
    from vidsal.bench.report import format_bench

__all__ = [
    "BenchOptions",
    "LoadOptions",
    "MeasureOptions",
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

__getattr__, __dir__ = lazy(__name__, __all__, "options", "report", "made", "clock", "machine", "measure")
