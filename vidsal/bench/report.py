"""What was measured: numbers in, the values of a JSON report or a text for people out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = [
    "PARTS",
    "BenchReport",
    "CaseReport",
    "LongReport",
    "MemoryReport",
    "Operations",
    "Part",
    "PrecisionReport",
    "Spread",
    "VideoReport",
    "Way",
    "format_bench",
]

Part = Literal["backbone", "recurrence", "priors and head"]
PARTS: tuple[Part, ...] = ("backbone", "recurrence", "priors and head")
"""In the order in which a frame passes through them."""


@dataclass(frozen=True)
class Spread:
    """Some measured values."""

    count: int
    """How many."""
    least: float
    """The smallest."""
    first_quartile: float
    """A quarter of them lie below."""
    median: float
    """Half of them lie below."""
    third_quartile: float
    """Three quarters of them lie below."""
    most: float
    """The largest."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up at least one value; quartiles by linear interpolation.

        Example:
            >>> Spread.of([4.0, 1.0, 2.0, 3.0, 5.0])
            Spread(count=5, least=1.0, first_quartile=2.0, median=3.0, third_quartile=4.0, most=5.0)
        """
        quartiles = np.percentile(values, (0, 25, 50, 75, 100))
        return cls(len(values), *map(float, quartiles))


@dataclass(frozen=True)
class Operations:
    """Floating-point operations a frame, 2 for a multiplication with its addition; convolutions and products only."""

    backbone: int
    """Picture to features."""
    recurrence: int
    """All steps; U_a * X once, nothing for the convolutions of a zero H."""
    read_out: int
    """Priors, head, upsampling."""
    as_written: int
    """The whole if every step computed all of its convolutions, as the equations are written."""

    @property
    def total(self) -> int:
        """The whole as defined: what `share_of_peak` counts."""
        return self.backbone + self.recurrence + self.read_out


@dataclass(frozen=True)
class Way:
    """One way to run a model."""

    state: Literal["carry", "reset"]
    """reset or carry."""
    steps: int
    """Refinement steps a frame."""
    streams: int
    """Videos side by side."""
    batch: int
    """Frames of each in a call."""

    @property
    def frames(self) -> int:
        """Frames of all videos in a call."""
        return self.streams * self.batch


@dataclass(frozen=True)
class CaseReport(Way):
    """What was measured of one way to run the model."""

    first_call_seconds: float
    """The first call: weights are laid out, algorithms chosen."""
    warm_up_seconds: float
    """The calls after it, before anything counts: on CUDA they also record the graphs."""
    stages: dict[str, Spread]
    """Seconds a frame: preprocess, model, its parts (in a pass of their own, never as a recorded graph),
    post-process, smooth."""
    operations: Operations
    """Of the model, a frame."""
    frames_per_second: float
    """Of the model: all videos together, by the median."""
    operations_per_second: float
    """Of the model, nominal: of the network as defined, however the sums are really done."""
    share_of_peak: float
    """`operations_per_second` over the measured matrix peak. Winograd's algorithm may come above what a direct sum
    could."""
    peak_bytes: dict[str, int]
    """Most memory in use while the model ran: resident (of the process), and on CUDA allocated and reserved."""


@dataclass(frozen=True)
class PrecisionReport:
    """How far a reduced precision is from float32 on the same frames."""

    precision: str
    """bf16 or fp16."""
    state: str
    """reset or carry."""
    steps: int
    """Refinement steps a frame."""
    frames: int
    """How many frames were compared."""
    least_cc: float
    """Correlation of the maps, the worst frame."""
    mean_cc: float
    """Correlation of the maps, mean over the frames."""
    hidden_error: float
    """Largest difference of H after the last frame, over the largest magnitude of H."""
    hidden_rms_error: float
    """Root mean square of the difference of H, over that of H."""


@dataclass(frozen=True)
class MemoryReport:
    """Memory over a long run through `predict`."""

    frames: int
    """Frames of one video."""
    early_bytes: dict[str, int]
    """In use after a fifth of the frames: resident, and on CUDA allocated."""
    late_bytes: dict[str, int]
    """In use at the end."""


@dataclass(frozen=True)
class LongReport:
    """`vidsal run` on the same pictures again and again."""

    frames: int
    """Frames written."""
    peak_bytes: dict[str, int]
    """Most memory in use meanwhile, as in `VideoReport`."""


@dataclass(frozen=True)
class VideoReport:
    """`vidsal run` from a file to files."""

    state: str
    """reset or carry."""
    steps: int | None
    """Refinement steps a frame."""
    clip: str
    """Its name and size."""
    frames: int
    """Frames written."""
    frames_per_second: float
    """End to end."""
    stage_frames_per_second: dict[str, float]
    """Of each stage, while it was at work; the stages work side by side."""
    alone_frames_per_second: dict[str, float]
    """Of the three stages that work side by side, each with nothing beside it: decode, predict, draw and encode."""
    share_of_slowest: float
    """`frames_per_second` over the slowest of these."""
    cpu_seconds: float
    """Of all threads of the run."""
    stage_cpu_seconds: dict[str, float]
    """Of each stage alone, a frame."""
    transcode_cpu_seconds: float
    """Of decoding and encoding the clip with the same encoder settings, with nothing in between."""
    peak_bytes: dict[str, int]
    """Most memory in use during the run: resident (of the process), and on CUDA allocated and reserved."""
    long: LongReport | None
    """The same on the clip repeated; None where it was left out."""


@dataclass(frozen=True)
class BenchReport:
    """Everything that was measured, and on what."""

    model: str
    """Name of the model."""
    weights: Literal["file", "random"]
    """random where the model has no weights on this machine; its speed is the same."""
    device: str
    """Where it ran."""
    precision: str
    """fp32, bf16 or fp16."""
    canvas: tuple[int, int]
    """Rows and columns of the model's input."""
    threads: int
    """Threads of torch on the CPU."""
    peak_operations_per_second: float
    """Measured: the best product of two square matrices in the same precision, on the same device and threads."""
    cases: tuple[CaseReport, ...]
    """One for each way to run it."""
    precisions: tuple[PrecisionReport, ...]
    """Errors of reduced precisions."""
    memory: MemoryReport | None
    """The long run; None where it was switched off."""
    videos: tuple[VideoReport, ...]
    """End to end."""
    notes: tuple[str, ...]
    """What a reader should know about the numbers."""
    machine: dict[str, Any]
    """Processor, cores, accelerator, system."""
    versions: dict[str, str]
    """Of the package and of what it stands on."""
    commit: str
    """Of the code, "" outside a checkout."""
    date: str
    """When, ISO 8601, UTC."""
    options: dict[str, Any]
    """All options, resolved."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)


def format_bench(report: BenchReport) -> str:
    """A report as text, for people."""
    rows, columns = report.canvas
    where = f"{report.device} ({', '.join(report.machine['accelerators'])})" if "cuda" in report.device else "cpu"
    lines = [
        f"{report.model}{' (random weights)' if report.weights == 'random' else ''}, {where}, {report.precision}, "
        f"canvas {rows}x{columns}",
        f"{report.machine['processor']}, {report.machine['cores']} cores, {report.threads} threads; "
        f"torch {report.versions.get('torch', '?')}; matrix peak {_giga(report.peak_operations_per_second)}FLOP/s",
    ]
    for case in report.cases:
        lines += ["", *_case_lines(case, report.peak_operations_per_second)]
    for error in report.precisions:
        lines += [
            "",
            f"{error.precision} against fp32, {error.state}, {error.steps} steps, {error.frames} frames: CC of maps "
            f"least {error.least_cc:.6f}, mean {error.mean_cc:.6f}; H off by {error.hidden_error:.2%} at most, "
            f"{error.hidden_rms_error:.2%} root mean square",
        ]
    if report.memory is not None:
        kinds = ", ".join(
            f"{kind} {_mega(report.memory.early_bytes[kind])} -> {_mega(report.memory.late_bytes[kind])} MiB"
            for kind in report.memory.early_bytes
        )
        lines += ["", f"memory over {report.memory.frames} frames, after a fifth of them -> at the end: {kinds}"]
    for video in report.videos:
        lines += [
            "",
            f"vidsal run, {video.state}, {video.clip}: {video.frames_per_second:.2f} frames/s end to end, "
            f"{video.share_of_slowest:.2f} of the slowest stage alone",
            f"  frames/s of each stage at work: {_rates(video.stage_frames_per_second)}",
            f"  frames/s of each stage alone: {_rates(video.alone_frames_per_second)}",
            "  CPU ms a frame of each stage alone: "
            + ", ".join(f"{stage} {1e3 * seconds:.1f}" for stage, seconds in video.stage_cpu_seconds.items()),
            f"  CPU time: {video.cpu_seconds:.1f} s, transcoding {video.transcode_cpu_seconds:.1f} s, ratio "
            f"{video.cpu_seconds / video.transcode_cpu_seconds:.2f}",
            f"  most memory, {video.frames} frames: {_sizes(video.peak_bytes)}",
        ]
        if video.long is not None:
            lines.append(f"  most memory, {video.long.frames} frames: {_sizes(video.long.peak_bytes)}")
    return "\n".join([*lines, *(f"note: {note}" for note in report.notes)])


def _case_lines(case: CaseReport, peak: float) -> list[str]:
    lines = [
        f"{case.state}, {_counted(case.steps, 'step')} a frame; {_counted(case.streams, 'video')}, "
        f"{_counted(case.batch, 'frame')} of each a call",
        f"{'':17} {'ms/frame':>9}  {'quartiles':>19}  {'least .. most':>19}  {'frames/s':>9} {'GFLOP':>8} "
        f"{'GFLOP/s':>9} {'of peak':>8}",
    ]
    counted = case.operations
    operations = dict(
        zip(("model", *PARTS), (counted.total, counted.backbone, counted.recurrence, counted.read_out), strict=True)
    )
    for stage, spread in case.stages.items():
        row = (
            f"{'  ' if stage in PARTS else ''}{stage}".ljust(17)
            + f" {1e3 * spread.median:9.3f}  {1e3 * spread.first_quartile:8.3f} .. {1e3 * spread.third_quartile:7.3f}"
            f"  {1e3 * spread.least:8.3f} .. {1e3 * spread.most:7.3f}  {1 / spread.median:9.2f}"
        )
        if stage in operations:
            count = operations[stage]
            rate = count / spread.median
            row += f" {count / 1e9:8.2f} {rate / 1e9:9.1f} {rate / peak:8.1%}"
        lines.append(row)
    lines.append(
        f"{counted.as_written / 1e9:.2f} GFLOP as the equations are written; first call "
        f"{case.first_call_seconds:.2f} s, warm-up {case.warm_up_seconds:.2f} s; most memory: {_sizes(case.peak_bytes)}"
    )
    return lines


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _giga(rate: float) -> str:
    return f"{rate / 1e12:.1f} T" if rate >= 1e13 else f"{rate / 1e9:.0f} G"


def _rates(stages: dict[str, float]) -> str:
    return ", ".join(f"{stage} {rate:.1f}" for stage, rate in stages.items())


def _sizes(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind} {_mega(count)} MiB" for kind, count in counts.items())


def _mega(count: int) -> str:
    return f"{count / 2**20:.0f}"
