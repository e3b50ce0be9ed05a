"""The name of a model and a way to run it in; out, how fast each stage is, how near the hardware's limit, how exact.

Everything is measured through what users call: `SaliencyModel`, the preprocessor, the smoother, `predict` and `run`.
The input is made here; speed depends neither on it nor on the values of the weights.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import gc
import importlib.metadata
import itertools
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from vidsal.decode import DecodeOptions, open_video
from vidsal.errors import ConfigError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.metrics.functional import cc
from vidsal.model.backbones import Bottleneck
from vidsal.model.checkpoint import (
    PRESETS,
    ModelCard,
    Precision,
    SaliencyModel,
    find_weights,
    read_checkpoint,
    resolve_device,
    weights_path,
)
from vidsal.model.recurrent import SAMState
from vidsal.model.sam import SaliencyAttentiveModel, SAMConfig
from vidsal.pipe.options import ModelOptions, OutputOptions, RecurrenceOptions, RunOptions
from vidsal.pipe.predict import predict
from vidsal.pipe.run import run
from vidsal.preprocess import PreprocessOptions, Preprocessor
from vidsal.provenance import source_commit
from vidsal.smooth.options import SmoothOptions

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

Part = Literal["backbone", "recurrence", "priors and head"]

_HEIGHT, _WIDTH = 720, 1280
_RATE = 25
_PICTURES = 16
# With `sweep`: streams, frames of each a call. On a CPU, calls of more frames only take longer.
_SWEPT_STREAMS, _SWEPT_BATCHES = (1, 8, 32), (1, 8)
_MOST_FRAMES_ON_CPU = 8
# A CUDA graph is recorded when a case came some times: all of them are behind us before anything counts.
_WARM_UP_CALLS = {"cpu": 2, "cuda": 8}
_MEMORY_FRAMES = {"cpu": 100, "cuda": 10_000}
_CLIP_SECONDS = {"cpu": 4.0, "cuda": 20.0}
# Sides of the square matrices whose products give the peak; the best counts.
_PEAK_SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192, 16384)}
_PEAK_SECONDS = 1.0
_ERROR_FRAMES = 8
# Size of a residual branch beside its trunk in networks with random weights.
_BRANCH_SCALE = 0.1
# Memory is compared between here and the end of a run.
_SETTLED = 0.2


@dataclass(frozen=True)
class LoadOptions:
    """What runs at once."""

    state: Literal["carry", "reset"] = "carry"
    """carry goes on from the frame before; reset starts afresh at every frame, as published."""
    steps: int | None = None
    """Refinement steps a frame; default: 1 with carry, the model's own number with reset."""
    streams: int = 1
    """Videos that advance side by side in each call of the model."""
    batch: int = DecodeOptions.batch_size
    """Consecutive frames of each stream in a call."""
    sweep: bool = False
    """Measure reset and carry with 1, 8 and 32 streams of 1 and 8 frames a call instead (on a CPU, up to 8 frames in
    all), and the error of every reduced precision."""

    def __post_init__(self) -> None:
        if self.state not in ("carry", "reset"):
            raise ConfigError(f"state must be carry or reset, got {self.state!r}")
        for name in ("steps", "streams", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True)
class MeasureOptions:
    """How much is measured."""

    repeats: int = 10
    """Least number of measured calls of each stage."""
    seconds: float = 1.0
    """Least seconds of measured calls of each stage."""
    memory_frames: int | None = None
    """Frames of the run that watches memory; 0 for none; default: 10,000 on CUDA, 100 elsewhere."""
    video: bool = True
    """Also time `vidsal run` from a file to files."""
    clip: Path | None = None
    """Video to run; default: a made one of 1280x720 at 25 frames a second."""
    clip_seconds: float | None = None
    """Length of the made clip; default: 20 on CUDA, 4 elsewhere."""
    hwaccel: str = DecodeOptions.hwaccel
    """Decoder of the device for that run, as of `vidsal run`."""
    threads: int | None = None
    """Threads of torch on the CPU; default: as `vidsal run` sets them."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ConfigError(f"repeats must be at least 1, got {self.repeats}")
        if not 0 <= self.seconds < math.inf:
            raise ConfigError(f"seconds must be finite and at least 0, got {self.seconds}")
        if self.memory_frames is not None and self.memory_frames < 0:
            raise ConfigError(f"memory_frames must be at least 0, got {self.memory_frames}")
        if self.clip_seconds is not None and not 0 < self.clip_seconds < math.inf:
            raise ConfigError(f"clip_seconds must be finite and positive, got {self.clip_seconds}")
        # Told now, not after everything else was measured.
        DecodeOptions(hwaccel=self.hwaccel)
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1, got {self.threads}")


@dataclass(frozen=True)
class BenchOptions:
    """All options of `bench`."""

    model: ModelOptions = field(default_factory=ModelOptions)
    """Which model; one without weights here is measured with random ones."""
    load: LoadOptions = field(default_factory=LoadOptions)
    """What runs at once."""
    measure: MeasureOptions = field(default_factory=MeasureOptions)
    """How much is measured."""


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
class CaseReport:
    """One way to run the model."""

    state: str
    """reset or carry."""
    steps: int
    """Refinement steps a frame."""
    streams: int
    """Videos side by side."""
    batch: int
    """Frames of each in a call."""
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
    """Of the model: all streams together, by the median."""
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
    """Frames of one stream."""
    early_bytes: dict[str, int]
    """In use after a fifth of the frames: resident, and on CUDA allocated."""
    late_bytes: dict[str, int]
    """In use at the end."""

    @property
    def growth_bytes(self) -> int:
        """The largest growth of any kind."""
        return max(self.late_bytes[kind] - self.early_bytes[kind] for kind in self.early_bytes)


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


def bench(options: BenchOptions, *, on_note: Callable[[str], None] | None = None) -> BenchReport:
    """Measure a model.

    Args:
        options: what, and how much.
        on_note: called with a line now and then, on what is measured next.

    Raises:
        CheckpointError: the model is no preset and no readable checkpoint.
        ConfigError: the device is not there, or cannot compute in the precision.
        DecodeError: the clip cannot be read.
    """
    say = on_note or _silent
    before = torch.get_num_threads()
    try:
        if options.measure.threads is not None:
            torch.set_num_threads(options.measure.threads)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vidsal-bench-")))
            return _Bench(options, folder, say).work()
    finally:
        torch.set_num_threads(before)


def random_network(
    config: SAMConfig, *, preprocess: PreprocessOptions | None = None, seed: int = 0
) -> SaliencyAttentiveModel:
    """A network for measuring where there are no weights: in evaluation mode, activations of about unit size.

    Args:
        config: the network.
        preprocess: what its input looks like; None takes the defaults.
        seed: of the weights.

    The recurrence is as its authors initialise it, but for V_a (normal, sigma .01, theirs is zero). Everything else is
    scaled on made pictures, layer by layer, so that nothing fades to denormal numbers (a CPU is ten times as slow with
    those), and the first convolution with priors so that the picture decides over the map, too. The branches of
    ResNet's blocks are small beside its trunk, as in trained networks: at equal size, fifty random layers multiply
    any rounding error by a hundred.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SaliencyAttentiveModel(config).train()
        nn.init.normal_(network.recurrence.attention_score.weight, std=0.01)
        recurrence = set(network.recurrence.modules())
        handles = []
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module not in recurrence:
                handles.append(module.register_forward_hook(_to_unit_size))
            if isinstance(module, Bottleneck):
                nn.init.constant_(module.bn3.weight, _BRANCH_SCALE)
            if isinstance(module, nn.BatchNorm2d):
                # With momentum 1 a norm remembers these pictures alone.
                module.momentum = 1.0
        first = network.prior_convolutions[0]
        handles.append(first.register_forward_pre_hook(_level_features(config.recurrent_channels)))
        # A small canvas will do for the scales.
        small = dataclasses.replace(preprocess or PreprocessOptions(), height=96, width=128)
        pictures = np.stack(list(make_pictures(16, height=180, width=320))[::8])
        with torch.no_grad():
            network(Preprocessor(small)(pictures)[:, None])
    for handle in handles:
        handle.remove()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    return network.eval()


def _to_unit_size(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    """Scale a convolution so that what it makes has the standard deviation 1."""
    scale = 1.0 / float(output.std())
    for parameter in module.parameters():
        parameter.mul_(scale)
    return output * scale


def _level_features(channels: int) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
    """Makes a hook that weighs the first `channels` inputs up to unit size; the priors behind them have it."""

    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        weight = module.weight
        if isinstance(weight, torch.Tensor):
            weight[:, :channels] /= inputs[0][:, :channels].square().mean().sqrt()

    return hook


def count_operations(
    config: SAMConfig, *, height: int, width: int, state: Literal["carry", "reset"], steps: int
) -> Operations:
    """The operations of one frame, counted from the network as it is defined, before any rewriting.

    Args:
        config: the network.
        height: rows of the canvas.
        width: columns of the canvas.
        state: "reset" starts from zero, "carry" goes on.
        steps: refinement steps on the frame.

    Example:
        >>> published = PRESETS["sam-resnet"].config
        >>> counted = count_operations(published, height=240, width=320, state="reset", steps=4)
        >>> round(counted.total / 1e9), round(counted.as_written / 1e9)
        (294, 340)
    """
    return _counted(config, height, width, state, steps)


@cache
def _counted(config: SAMConfig, height: int, width: int, state: Literal["carry", "reset"], steps: int) -> Operations:
    # Fake tensors have shapes and no values: this takes a second or two and no memory.
    with FakeTensorMode(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = SaliencyAttentiveModel(config).eval()
        side = network.backbone.stride
        cells = (height // side) * (width // side)
        zeros = torch.zeros(1, config.recurrent_channels, height // side, width // side)
        finer = torch.zeros(1, *network.backbone.skip_channels[:1], height // side * 2, width // side * 2)
        network(
            torch.zeros(1, 1, 3, height, width),
            SAMState(zeros, zeros, finer if network.motion is not None else None),
            fresh=[[state == "reset"]],
            fresh_steps=steps,
            carry_steps=steps,
        )
    counts = counter.get_flop_counts()
    name = type(network).__name__
    whole, backbone, recurrence = (
        sum(counts[key].values()) for key in (name, f"{name}.backbone", f"{name}.recurrence")
    )
    # What the equations say again and again: U_a * X at each step; and at the first, W_a and U of H = 0.
    one = 2 * 9 * config.recurrent_channels**2 * cells
    repeated = (steps - 1) * one + (5 * one if state == "reset" else 0)
    return Operations(backbone, recurrence, whole - backbone - recurrence, whole + repeated)


def matrix_peak(device: torch.device | str, dtype: torch.dtype) -> float:
    """Operations a second of the best product of two square matrices, with the threads that torch has now."""
    device = torch.device(device)
    clock = _Clock(device)
    best = 0.0
    sides = _PEAK_SIDES.get(device.type, _PEAK_SIDES["cpu"])
    with torch.inference_mode():
        for side in sides:
            a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
            out = torch.empty_like(a)
            for _ in range(2):
                torch.mm(a, b, out=out)
            begin = time.perf_counter()
            while time.perf_counter() - begin < _PEAK_SECONDS / len(sides):
                seconds = clock.measure(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), 3)  # type: ignore[misc]
                best = max(best, 2 * side**3 / min(seconds))
    return best


def make_pictures(count: int, *, height: int = _HEIGHT, width: int = _WIDTH) -> Iterator[npt.NDArray[np.uint8]]:
    """`count` (height, width, 3) uint8 pictures: discs that move over a still that shakes, not trivial to encode."""
    random = np.random.default_rng(0)
    still = cv2.GaussianBlur(random.integers(0, 255, (height + 40, width + 40, 3), np.uint8), (0, 0), 3)
    for number in range(count):
        dx, dy = int(20 + 19 * math.sin(number / 20)), int(20 + 19 * math.cos(number / 27))
        picture = np.ascontiguousarray(still[dy : dy + height, dx : dx + width])
        for disc in range(4):
            angle = number / 30 + disc * 1.7
            x, y = width * (0.5 + 0.31 * math.cos(angle)), height * (0.5 + 0.31 * math.sin(1.3 * angle))
            cv2.circle(picture, (int(x), int(y)), height // 12, (40 * disc + 60, 220 - 40 * disc, 120), -1)
        yield np.asarray(picture, np.uint8)


def make_clip(path: Path, *, seconds: float, height: int = _HEIGHT, width: int = _WIDTH) -> Path:
    """Write `make_pictures` as H.264 of 25 frames a second; returns `path`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_RATE, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in make_pictures(max(1, round(_RATE * seconds)), height=height, width=width):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def describe_machine() -> dict[str, Any]:
    """Processor, cores this process may use, instruction sets that matter here, accelerators, system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processor, flags = platform.processor() or platform.machine(), set[str]()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = [line.partition(":") for line in information.read_text(encoding="utf-8").splitlines()]
        found = {name.strip(): value.strip() for name, _, value in reversed(lines) if value}
        processor, flags = found.get("model name", processor), set(found.get("flags", "").split())
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16")
    return {
        "processor": processor,
        "cores": cores,
        "instructions": [name for name in wanted if name in flags],
        "onednn_max_cpu_isa": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
        "accelerators": [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())],
        "system": platform.platform(),
    }


def describe_versions() -> dict[str, str]:
    """Versions of the package, of Python and of the libraries that matter for speed."""
    versions = {"python": platform.python_version(), "cuda": torch.version.cuda or ""}
    for name in ("vidsal", "torch", "torchvision", "numpy", "av", "opencv-python-headless", "opencv-python"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {name: version for name, version in versions.items() if version}


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
        lines.append("")
        lines.append(
            f"{error.precision} against fp32, {error.state}, {error.steps} steps, {error.frames} frames: CC of maps "
            f"least {error.least_cc:.6f}, mean {error.mean_cc:.6f}; H off by {error.hidden_error:.2%} at most, "
            f"{error.hidden_rms_error:.2%} root mean square"
        )
    if report.memory is not None:
        kinds = ", ".join(
            f"{kind} {_mega(report.memory.early_bytes[kind])} -> {_mega(report.memory.late_bytes[kind])} MiB"
            for kind in report.memory.early_bytes
        )
        lines += ["", f"memory over {report.memory.frames} frames, after a fifth of them -> at the end: {kinds}"]
    for video in report.videos:
        stages = ", ".join(f"{stage} {rate:.1f}" for stage, rate in video.stage_frames_per_second.items())
        lines += [
            "",
            f"vidsal run, {video.state}, {video.clip}: {video.frames_per_second:.2f} frames/s end to end",
            f"  frames/s of each stage at work: {stages}",
        ]
    return "\n".join([*lines, *(f"note: {note}" for note in report.notes)])


_STAGE_OPERATIONS: dict[str, Callable[[Operations], int]] = {
    "model": lambda counted: counted.total,
    "backbone": lambda counted: counted.backbone,
    "recurrence": lambda counted: counted.recurrence,
    "priors and head": lambda counted: counted.read_out,
}
_PARTS: tuple[Part, ...] = ("backbone", "recurrence", "priors and head")


def _case_lines(case: CaseReport, peak: float) -> list[str]:
    streams = "1 stream" if case.streams == 1 else f"{case.streams} streams"
    memory = ", ".join(f"{kind} {_mega(count)} MiB" for kind, count in case.peak_bytes.items())
    lines = [
        f"{case.state}, {case.steps} {'step' if case.steps == 1 else 'steps'} a frame; {streams}, {case.batch} "
        f"{'frame' if case.batch == 1 else 'frames'} of each a call",
        f"{'':17} {'ms/frame':>9}  {'quartiles':>19}  {'least .. most':>19}  {'frames/s':>9} {'GFLOP':>8} "
        f"{'GFLOP/s':>9} {'of peak':>8}",
    ]
    for stage, spread in case.stages.items():
        count = _STAGE_OPERATIONS[stage](case.operations) if stage in _STAGE_OPERATIONS else None
        row = (
            f"{'  ' if stage in _PARTS else ''}{stage}".ljust(17)
            + f" {1e3 * spread.median:9.3f}  {1e3 * spread.first_quartile:8.3f} .. {1e3 * spread.third_quartile:7.3f}"
            f"  {1e3 * spread.least:8.3f} .. {1e3 * spread.most:7.3f}  {1 / spread.median:9.2f}"
        )
        if count is not None:
            rate = count / spread.median
            row += f" {count / 1e9:8.2f} {rate / 1e9:9.1f} {rate / peak:8.1%}"
        lines.append(row)
    lines.append(
        f"{case.operations.as_written / 1e9:.2f} GFLOP as the equations are written; first call "
        f"{case.first_call_seconds:.2f} s, warm-up {case.warm_up_seconds:.2f} s; most memory: {memory}"
    )
    return lines


class _Clock:
    """Instants on a device, taken without making it wait where it can keep them itself."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def mark(self) -> Any:
        """An instant, in the order of the work given to the device."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self.device))
            return event
        self.finish()
        return time.perf_counter()

    def finish(self) -> None:
        """Wait until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def seconds(self, first: Any, last: Any) -> float:
        """Between two marks, after `finish`."""
        return float(first.elapsed_time(last)) / 1e3 if self.device.type == "cuda" else float(last - first)

    def measure(self, work: Callable[[], Any], repeats: int, seconds: float = 0.0) -> list[float]:
        """Seconds of each call: at least `repeats` calls and `seconds` in all; the device is waited for in between."""
        taken: list[float] = []
        while len(taken) < repeats or sum(taken) < seconds:
            marks = [self.mark()]
            for _ in range(repeats):
                work()
                marks.append(self.mark())
            self.finish()
            taken += [self.seconds(first, last) for first, last in itertools.pairwise(marks)]
        return taken


class _Parts:
    """Times the parts of a network from inside its forward pass, by hooks that are there only meanwhile."""

    def __init__(self, network: SaliencyAttentiveModel, clock: _Clock) -> None:
        self._clock = clock
        self._marks: list[list[Any]] = []
        self._handles = [
            network.register_forward_pre_hook(lambda *_: self._marks.append([clock.mark()])),
            network.backbone.register_forward_hook(self._mark),
            network.recurrence.register_forward_hook(self._mark),
            network.register_forward_hook(self._mark),
        ]

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _mark(self, *_: Any) -> None:
        self._marks[-1].append(self._clock.mark())

    def seconds(self) -> dict[Part, list[float]]:
        """Of each part, of each pass."""
        self._clock.finish()
        return {
            part: [self._clock.seconds(marks[place], marks[place + 1]) for marks in self._marks]
            for place, part in enumerate(_PARTS)
        }


@dataclass(frozen=True)
class _Way:
    """One way to run the model."""

    state: Literal["carry", "reset"]
    steps: int
    streams: int
    batch: int

    @property
    def frames(self) -> int:
        return self.streams * self.batch


class _Caller:
    """Calls a model with the same frames again and again, the state going round."""

    def __init__(self, model: SaliencyModel, pixels: torch.Tensor, way: _Way) -> None:
        self.model, self.pixels, self.way = model, pixels, way
        self.state: SAMState | None = None
        self.log_density = torch.empty(0)

    def __call__(self) -> None:
        self.log_density, self.state = self._call(self.model)

    def network(self) -> None:
        """The same by the network itself: hooks inside are heard, no recorded graph is taken."""
        exact = self.model.dtype == torch.float32
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=not exact):
            self.log_density, self.state = self._call(self.model.network)

    def _call(self, model: Callable[..., tuple[torch.Tensor, SAMState]]) -> tuple[torch.Tensor, SAMState]:
        way = self.way
        afresh = way.state == "reset"
        fresh = [[afresh or (self.state is None and t == 0) for t in range(way.batch)] for _ in range(way.streams)]
        own = self.model.config.steps
        return model(
            self.pixels,
            self.state,
            fresh=fresh,
            fresh_steps=way.steps if afresh else max(own, way.steps),
            carry_steps=way.steps,
        )


class _Bench:
    """One measurement, from the options to the report."""

    def __init__(self, options: BenchOptions, folder: Path, say: Callable[[str], None]) -> None:
        self.options, self.folder, self.say = options, folder, say
        self.device = resolve_device(options.model.device)
        self.clock = _Clock(self.device)
        self.plain, self.preprocess, self.card, self.random = _open(str(options.model.chosen))
        self.notes: list[str] = []

    def work(self) -> BenchReport:
        options, measure = self.options, self.options.measure
        if self.random:
            self.notes.append(f"{self.card.name} has no weights here: random ones, whose speed is the same")
        model = self.load(options.model.precision)
        self.say(f"matrix peak of {model.device} in {_precision(model.dtype)}")
        peak = matrix_peak(self.device, model.dtype)
        self.pictures = self.read_pictures(model)
        cases = []
        for way in self.ways():
            try:
                cases.append(self.case(way, peak))
            except torch.OutOfMemoryError:
                self.notes.append(f"out of memory: {way}")
            self.tidy()
        precisions = self.precisions(model)
        memory = self.memory(model)
        videos = self.videos(model) if measure.video else ()
        peak = max(peak, matrix_peak(self.device, model.dtype))
        return BenchReport(
            model=self.card.name,
            weights="random" if self.random else "file",
            device=str(self.device),
            precision=_precision(model.dtype),
            canvas=(self.preprocess.height, self.preprocess.width),
            threads=torch.get_num_threads(),
            peak_operations_per_second=peak,
            cases=tuple(dataclasses.replace(case, share_of_peak=case.operations_per_second / peak) for case in cases),
            precisions=tuple(precisions),
            memory=memory,
            videos=tuple(videos),
            notes=(*self.notes, *model.notes),
            machine=describe_machine(),
            versions=describe_versions(),
            commit=source_commit(),
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            options=_plain(dataclasses.asdict(options)),
        )

    def load(self, precision: Precision) -> SaliencyModel:
        """The model, made anew: what one case laid out for its shapes is not another's."""
        return SaliencyModel(
            copy.deepcopy(self.plain),
            preprocess=self.preprocess,
            card=self.card,
            device=self.device,
            precision=precision,
        )

    def ways(self) -> list[_Way]:
        load, own = self.options.load, self.plain.config.steps
        states: tuple[Literal["carry", "reset"], ...] = ("reset", "carry") if load.sweep else (load.state,)
        pairs = list(itertools.product(_SWEPT_STREAMS, _SWEPT_BATCHES)) if load.sweep else [(load.streams, load.batch)]
        if load.sweep and self.device.type == "cpu":
            pairs = [(streams, batch) for streams, batch in pairs if streams * batch <= _MOST_FRAMES_ON_CPU]
        return [
            _Way(state, load.steps or (1 if state == "carry" else own), streams, batch)
            for state in states
            for streams, batch in pairs
        ]

    def read_pictures(self, model: SaliencyModel) -> npt.NDArray[np.uint8]:
        """Some frames of the clip, as the reader hands them to the preprocessor."""
        size = model.preprocessor.frame_size
        clip = self.options.measure.clip
        if clip is not None:
            with open_video(clip, size=size) as reader:
                self.size = reader.info.height, reader.info.width
                batches = list(itertools.islice((batch.frames for batch in reader), _PICTURES))
            return np.concatenate(batches)[:_PICTURES]
        self.size = _HEIGHT, _WIDTH
        rows, columns = size(*self.size)
        pictures = [cv2.resize(p, (columns, rows), interpolation=cv2.INTER_AREA) for p in make_pictures(_PICTURES)]
        return np.stack(pictures).astype(np.uint8)

    def frames_of(self, stream: int, count: int) -> npt.NDArray[np.uint8]:
        """Frames of one of several streams, each begun elsewhere."""
        return self.pictures[(3 * stream + np.arange(count)) % len(self.pictures)]

    def case(self, way: _Way, peak: float) -> CaseReport:
        self.say(f"{way.state}, {way.steps} steps, {way.streams} streams, {way.batch} frames of each a call")
        repeats, seconds = self.options.measure.repeats, self.options.measure.seconds
        model = self.load(self.options.model.precision)
        preprocess = model.preprocessor
        one = self.frames_of(0, way.batch)
        stages = {
            "preprocess": [
                taken / way.batch
                for taken in self.measure(lambda: preprocess(one, device=self.device), repeats, seconds)
            ]
        }
        pixels = torch.stack([preprocess(self.frames_of(n, way.batch), device=self.device) for n in range(way.streams)])
        call = _Caller(model, pixels, way)
        begin = time.perf_counter()
        call()
        self.clock.finish()
        first = time.perf_counter() - begin
        for _ in range(_WARM_UP_CALLS.get(self.device.type, _WARM_UP_CALLS["cpu"])):
            call()
        self.clock.finish()
        warm_up = time.perf_counter() - begin - first
        _reset_peaks(self.device)
        stages["model"] = [taken / way.frames for taken in self.clock.measure(call, repeats, seconds)]
        most = _peaks(self.device)
        with _Parts(model.network, self.clock) as parts:
            self.clock.measure(call.network, repeats)
        stages |= {part: [taken / way.frames for taken in values] for part, values in parts.seconds().items()}
        stages |= self.after(model, call.log_density, way)
        counted = count_operations(
            model.config, height=pixels.shape[-2], width=pixels.shape[-1], state=way.state, steps=way.steps
        )
        median = statistics.median(stages["model"])
        return CaseReport(
            state=way.state,
            steps=way.steps,
            streams=way.streams,
            batch=way.batch,
            first_call_seconds=first,
            warm_up_seconds=warm_up,
            stages={stage: Spread.of(values) for stage, values in stages.items()},
            operations=counted,
            frames_per_second=1 / median,
            operations_per_second=counted.total / median,
            share_of_peak=counted.total / median / peak,
            peak_bytes=most,
        )

    def measure(self, work: Callable[[], Any], repeats: int, seconds: float) -> list[float]:
        """After two calls that do not count."""
        work()
        work()
        return self.clock.measure(work, repeats, seconds)

    def after(self, model: SaliencyModel, log_density: torch.Tensor, way: _Way) -> dict[str, list[float]]:
        """What comes after the model: post-processing, and smoothing, each stream its own."""
        repeats, seconds = self.options.measure.repeats, self.options.measure.seconds
        # Not an inference tensor, as the model's are.
        maps = log_density.clone()
        post = self.measure(lambda: model.preprocessor.to_picture(maps, *self.size), repeats, seconds)
        finished = model.preprocessor.to_picture(maps, *self.size)
        smoothers = [SmoothOptions().make() for _ in range(way.streams)]
        number = itertools.count(step=way.batch)
        small = self.frames_of(0, way.batch)

        def smooth() -> None:
            index = next(number) + np.arange(way.batch)
            shown = FrameBatch(index, index / _RATE, small, *self.size)
            for smoother, own in zip(smoothers, finished, strict=True):
                smoother.watch(shown)
                smoother.update(
                    SaliencyBatch(
                        index=index,
                        pts_seconds=index / _RATE,
                        shot=np.zeros(way.batch, np.int64),
                        cut=np.zeros(way.batch, np.bool_),
                        log_density=own,
                        height=self.size[0],
                        width=self.size[1],
                    )
                )

        smoothed = self.measure(smooth, repeats, seconds)
        return {
            "post-process": [taken / way.frames for taken in post],
            "smooth": [taken / way.frames for taken in smoothed],
        }

    def precisions(self, model: SaliencyModel) -> list[PrecisionReport]:
        """Every reduced precision of the device where a sweep was asked for, else the model's own."""
        reduced: dict[torch.dtype, Precision] = {torch.bfloat16: "bf16"}
        if self.device.type != "cpu":
            reduced[torch.float16] = "fp16"
        if not self.options.load.sweep:
            reduced = {dtype: name for dtype, name in reduced.items() if dtype == model.dtype}
        if not reduced:
            return []
        self.say("errors of reduced precisions")
        states: dict[str, _Way] = {way.state: dataclasses.replace(way, streams=1, batch=1) for way in self.ways()}
        frames = [
            model.preprocessor(self.frames_of(0, _ERROR_FRAMES)[n : n + 1], device=self.device)[None]
            for n in range(_ERROR_FRAMES)
        ]

        def results(precision: Precision, way: _Way) -> tuple[torch.Tensor, torch.Tensor]:
            caller = _Caller(self.load(precision), frames[0], way)
            maps = []
            for caller.pixels in frames:
                caller()
                maps.append(caller.log_density[0, 0].exp().cpu())
            hidden = torch.empty(0) if caller.state is None else caller.state.hidden.float().cpu()
            return torch.stack(maps), hidden

        reports = []
        for way in states.values():
            exact, hidden = results("fp32", way)
            for name in reduced.values():
                maps, own = results(name, way)
                correlation = cc(maps, exact)
                reports.append(
                    PrecisionReport(
                        precision=name,
                        state=way.state,
                        steps=way.steps,
                        frames=len(frames),
                        least_cc=float(correlation.min()),
                        mean_cc=float(correlation.mean()),
                        hidden_error=float((own - hidden).abs().max() / hidden.abs().max()),
                        hidden_rms_error=float((own - hidden).norm() / hidden.norm()),
                    )
                )
        self.tidy()
        return reports

    def memory(self, model: SaliencyModel) -> MemoryReport | None:
        """The pipe on many frames, memory compared once it has settled and at the end."""
        count = self.options.measure.memory_frames
        if count is None:
            count = _MEMORY_FRAMES.get(self.device.type, _MEMORY_FRAMES["cpu"])
        if count == 0:
            return None
        self.say(f"memory over {count} frames")
        way = self.ways()[-1]
        early: dict[str, int] | None = None
        done = 0
        recurrence = RecurrenceOptions(state=way.state, steps=way.steps)
        for batch in predict(self.long_video(count, way.batch), model, recurrence=recurrence):
            done += len(batch)
            if early is None and done >= _SETTLED * count:
                early = _in_use(self.device)
        late = _in_use(self.device)
        return MemoryReport(frames=done, early_bytes=early or late, late_bytes=late)

    def long_video(self, count: int, batch: int) -> Iterator[FrameBatch]:
        for start in range(0, count, batch):
            index = np.arange(start, min(count, start + batch))
            yield FrameBatch(
                index=index,
                pts_seconds=index / _RATE,
                frames=self.pictures[index % len(self.pictures)],
                height=self.size[0],
                width=self.size[1],
            )

    def videos(self, model: SaliencyModel) -> list[VideoReport]:
        """`run` on the clip, once for each state; a first run of a few frames warms up."""
        measure = self.options.measure
        seconds = measure.clip_seconds or _CLIP_SECONDS.get(self.device.type, _CLIP_SECONDS["cpu"])
        clip = measure.clip or make_clip(self.folder / "made-720p.mp4", seconds=seconds)
        reports = []
        for way in {way.state: way for way in self.ways()}.values():
            self.say(f"vidsal run, {way.state}")
            whole = RunOptions(
                model=self.options.model,
                decode=DecodeOptions(batch_size=way.batch, hwaccel=measure.hwaccel),
                recurrence=RecurrenceOptions(state=way.state, steps=way.steps),
                output=OutputOptions(output=self.folder, overwrite=True),
            )
            short = dataclasses.replace(
                whole, decode=dataclasses.replace(whole.decode, end_seconds=8 * way.batch / _RATE)
            )
            if self.device.type != "cpu":
                run(clip, options=short, model=model)
            done = run(clip, options=whole, model=model)
            reports.append(
                VideoReport(
                    state=way.state,
                    steps=way.steps,
                    clip=f"{clip.name}, {self.size[1]}x{self.size[0]}",
                    frames=done.frames,
                    frames_per_second=done.frames_per_second,
                    stage_frames_per_second=done.stage_frames_per_second,
                )
            )
        return reports

    def tidy(self) -> None:
        """Give back what the last case held."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _open(model: str) -> tuple[SaliencyAttentiveModel, PreprocessOptions, ModelCard, bool]:
    """The network as it is defined, and whether its weights are random."""
    if model in PRESETS and find_weights(model).state == "absent":
        preset = PRESETS[model]
        network = random_network(preset.config, preprocess=preset.preprocess)
        return network, preset.preprocess, ModelCard(name=model), True
    return *read_checkpoint(weights_path(model)), False


def _reset_peaks(device: torch.device) -> None:
    """Forget the peaks so far, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        # Linux: 5 resets the peak of the resident set.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peaks(device: torch.device) -> dict[str, int]:
    """Most bytes in use since `_reset_peaks`; where that could do nothing, since the process began."""
    peaks = {"resident": _status("VmHWM")}
    if peaks["resident"] == 0 and sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 2**10
        peaks["resident"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if device.type == "cuda":
        peaks["allocated"] = torch.cuda.max_memory_allocated(device)
        peaks["reserved"] = torch.cuda.max_memory_reserved(device)
    return peaks


def _in_use(device: torch.device) -> dict[str, int]:
    """Bytes in use now; where the system does not say, the peak so far."""
    gc.collect()
    used = {"resident": _status("VmRSS") or _peaks(device)["resident"]}
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        used["allocated"] = torch.cuda.memory_allocated(device)
        used["reserved"] = torch.cuda.memory_reserved(device)
    return used


def _status(key: str) -> int:
    """A line of Linux's account of this process, in bytes; 0 where there is none."""
    path = Path("/proc/self/status")
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 2**10
    return 0


def _precision(dtype: torch.dtype) -> str:
    return {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _giga(rate: float) -> str:
    return f"{rate / 1e12:.1f} T" if rate >= 1e13 else f"{rate / 1e9:.0f} G"


def _mega(count: int) -> str:
    return f"{count / 2**20:.0f}"


def _silent(text: str) -> None:
    pass
