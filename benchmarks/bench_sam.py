"""What each rewrite of SAM for prediction brings on this CPU, against the published equations as they are written.

    python benchmarks/bench_sam.py [--model sam-resnet|sam-lite|all] [--rounds 7] [--threads N] [--isa] [--check]
        [--json FILE] [--write-docs] [--read FILE]

All variants hold the same weights and take turns in the same process, so that a busy minute hits them alike; ratios
are medians over the rounds. --isa repeats everything in processes whose oneDNN may use less of the processor.
--check exits with 1 where a promised ratio or an error bound is missed. --write-docs puts the numbers into
docs/reports/performance.json and the tables into performance.md beside it; --read takes them from an earlier --json
instead of measuring.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vidsal.bench import describe_machine, describe_versions, make_pictures, random_network
from vidsal.metrics.functional import cc
from vidsal.model.checkpoint import PRESETS, read_checkpoint
from vidsal.model.inference import FusedConv2d, Rewrites, prepare_for_inference
from vidsal.model.sam import SaliencyAttentiveModel, Unroll
from vidsal.model.winograd import Workspace
from vidsal.prefetch import usable_cores
from vidsal.preprocess import Preprocessor
from vidsal.provenance import source_commit

DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- bench_sam: begin -->", "<!-- bench_sam: end -->"
ISAS = ("AVX512_CORE_BF16", "AVX512_CORE")
FRAMES = 4
FEW_ROUNDS = 5

State = Any
Forward = Callable[[torch.Tensor, State, int], tuple[torch.Tensor, State]]
"""Frames (N, 3, H, W), each its own stream, a state or None, steps; densities (N, H, W) and the state."""


class Transcription:
    """SAM-ResNet as published, an equation a line: nothing reused, joined, folded or left out; float32, NCHW."""

    def __init__(self, network: SaliencyAttentiveModel) -> None:
        self.w = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.channels = network.config.recurrent_channels
        self.rounds = network.config.prior_rounds
        self.prior_dilation = network.config.prior_dilation

    def __call__(self, frames: torch.Tensor, state: State, steps: int) -> tuple[torch.Tensor, State]:
        """Densities over the canvas and (H, C)."""
        x = self.backbone(frames.contiguous())
        state = self.recurrence(x, state, steps)
        return self.read_out(state[0]), state

    def convolve(
        self, x: torch.Tensor, name: str, *, stride: int = 1, dilation: int = 1, gate: int | None = None
    ) -> torch.Tensor:
        """A 'same' convolution; `gate` is one of the four whose kernels are stored in one array."""
        weight, bias = self.w[f"{name}.weight"], self.w.get(f"{name}.bias")
        if gate is not None:
            rows = slice(gate * self.channels, (gate + 1) * self.channels)
            weight, bias = weight[rows], None if bias is None else bias[rows]
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, bias, stride, padding, dilation)

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Batch norm with running statistics."""
        mean, variance = self.w[f"{name}.running_mean"], self.w[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, self.w[f"{name}.weight"], self.w[f"{name}.bias"], eps=1e-5)

    def backbone(self, x: torch.Tensor) -> torch.Tensor:
        """ResNet-50, strides and dilations as published."""
        x = F.relu(self.norm(self.convolve(x, "backbone.conv1", stride=2), "backbone.bn1"))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for stage, (blocks, stride, dilation) in enumerate(((3, 1, 1), (4, 2, 1), (6, 1, 2), (3, 1, 4))):
            for block in range(blocks):
                x = self.block(x, f"backbone.stages.{stage}.{block}", stride if block == 0 else 1, dilation)
        return F.relu(self.convolve(x, "backbone.project"))

    def block(self, x: torch.Tensor, name: str, stride: int, dilation: int) -> torch.Tensor:
        """A bottleneck, the stride in its first 1x1."""
        y = F.relu(self.norm(self.convolve(x, f"{name}.conv1", stride=stride), f"{name}.bn1"))
        y = F.relu(self.norm(self.convolve(y, f"{name}.conv2", dilation=dilation), f"{name}.bn2"))
        y = self.norm(self.convolve(y, f"{name}.conv3"), f"{name}.bn3")
        if f"{name}.shortcut.0.weight" in self.w:
            x = self.norm(self.convolve(x, f"{name}.shortcut.0", stride=stride), f"{name}.shortcut.1")
        return F.relu(y + x)

    def recurrence(self, x: torch.Tensor, state: State, steps: int) -> State:
        """Z, A, X~, the gates one by one, C, H."""
        hidden, cell = (torch.zeros_like(x), torch.zeros_like(x)) if state is None else state
        for _ in range(steps):
            inner = self.convolve(hidden, "recurrence.attention_hidden") + self.convolve(
                x, "recurrence.attention_input"
            )
            score = self.convolve(torch.tanh(inner), "recurrence.attention_score")
            attention = torch.softmax(score.flatten(1), 1).view_as(score)
            attended = x * attention
            into, forget, content, out = (
                self.convolve(attended, "recurrence.gates_input", gate=gate)
                + self.convolve(hidden, "recurrence.gates_hidden", gate=gate)
                for gate in range(4)
            )
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(content)
            hidden = torch.sigmoid(out) * torch.tanh(cell)
        return hidden, cell

    def read_out(self, x: torch.Tensor) -> torch.Tensor:
        """Priors, the last convolution, upsampling; the published map averaged over the canvas, as a density."""
        for n in range(self.rounds):
            maps = self.priors(n, *x.shape[-2:]).expand(len(x), -1, -1, -1)
            x = F.relu(self.convolve(torch.cat([x, maps], 1), f"prior_convolutions.{n}", dilation=self.prior_dilation))
        coarse = F.relu(self.convolve(x, "head.out"))[:, 0]  # (N, h, w)
        rows, columns = (_upsampling(cells) for cells in coarse.shape[-2:])
        relevance = F.avg_pool2d(rows @ coarse @ columns.T, 2)
        density = relevance + 1e-6 * relevance.mean((-1, -2), keepdim=True)
        return density / density.sum((-1, -2), keepdim=True)

    def priors(self, n: int, height: int, width: int) -> torch.Tensor:
        """Gaussians, each divided by its maximum."""
        vector = self.w[f"priors.{n}.parameters_vector"]
        bounds = ((0.25, 0.75), (0.35, 0.65), (0.1, 0.9), (0.2, 0.8))
        values = [v.clamp(*bound)[:, None, None] for v, bound in zip(vector.chunk(4), bounds, strict=True)]
        mean_x, mean_y, sigma_x, sigma_y = values
        extent = height / width
        x = torch.linspace(0, 1, width)[None, None]
        y = torch.linspace((1 - extent) / 2, (1 + extent) / 2, height)[None, :, None]
        exponent = (x - mean_x) ** 2 / (2 * sigma_x**2 + 1e-7) + (y - mean_y) ** 2 / (2 * sigma_y**2 + 1e-7)
        maps = torch.exp(-exponent) / (2 * torch.pi * sigma_x * sigma_y + 1e-7)
        return maps / maps.amax((1, 2), keepdim=True)


def _upsampling(cells: int) -> torch.Tensor:
    """Bilinear, by 16: cell i on pixel 16 i + 7, edges repeated."""
    position = ((torch.arange(16 * cells) - 7) / 16).clamp(0, cells - 1)
    return (1 - (position[:, None] - torch.arange(cells)).abs()).clamp_min(0)


LEVELS = ("once", "skip", "gates", "fold", "channels_last")


class Rewritten(Transcription):
    """The transcription with the first few of `LEVELS` applied, still plain eager torch."""

    def __init__(self, network: SaliencyAttentiveModel, level: str) -> None:
        super().__init__(network)
        self.on = set(LEVELS[: LEVELS.index(level) + 1])
        if "fold" in self.on:
            self._fold()
        if "channels_last" in self.on:
            for name, value in self.w.items():
                if value.ndim == 4:
                    self.w[name] = value.contiguous(memory_format=torch.channels_last)

    def __call__(self, frames: torch.Tensor, state: State, steps: int) -> tuple[torch.Tensor, State]:
        if "channels_last" not in self.on:
            return super().__call__(frames, state, steps)
        state = self.recurrence(self.backbone(frames.contiguous(memory_format=torch.channels_last)), state, steps)
        return self.read_out(state[0]), state

    def _fold(self) -> None:
        """Batch norms into the convolutions before them."""
        pairs = {}
        for key in self.w:
            if key.endswith(".running_var"):
                norm = key.removesuffix(".running_var")
                last = norm.rsplit(".", 1)[1]
                pairs[norm] = norm[: -len(last)] + (last.replace("bn", "conv") if "bn" in last else "0")
        for norm, convolution in pairs.items():
            scale = self.w[f"{norm}.weight"] / (self.w[f"{norm}.running_var"] + 1e-5).sqrt()
            shift = self.w[f"{norm}.bias"] - self.w[f"{norm}.running_mean"] * scale
            self.w[f"{convolution}.weight"] = self.w[f"{convolution}.weight"] * scale[:, None, None, None]
            self.w[f"{convolution}.bias"] = self.w[f"{convolution}.bias"] * scale + shift

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return x if "fold" in self.on else super().norm(x, name)

    def block(self, x: torch.Tensor, name: str, stride: int, dilation: int) -> torch.Tensor:
        if "fold" not in self.on:
            return super().block(x, name, stride, dilation)
        y = self.convolve(x, f"{name}.conv1", stride=stride).relu_()
        y = self.convolve(y, f"{name}.conv2", dilation=dilation).relu_()
        y = self.convolve(y, f"{name}.conv3")
        if f"{name}.shortcut.0.weight" in self.w:
            x = self.convolve(x, f"{name}.shortcut.0", stride=stride)
        return y.add_(x).relu_()

    def recurrence(self, x: torch.Tensor, state: State, steps: int) -> State:
        attended_input = self.convolve(x, "recurrence.attention_input")
        for _ in range(steps):
            zero = state is None and "skip" in self.on
            hidden, cell = (torch.zeros_like(x), torch.zeros_like(x)) if state is None else state
            inner = (
                self.w["recurrence.attention_hidden.bias"].view(1, -1, 1, 1)
                if zero
                else self.convolve(hidden, "recurrence.attention_hidden")
            )
            score = self.convolve(torch.tanh(inner + attended_input), "recurrence.attention_score")
            attended = x * torch.softmax(score.flatten(1), 1).view_as(score)
            into, forget, content, out = self.gates(attended, None if zero else hidden)
            cell = torch.sigmoid(into) * torch.tanh(content) + (0 if zero else torch.sigmoid(forget) * cell)
            state = torch.sigmoid(out) * torch.tanh(cell), cell
        return state

    def gates(self, attended: torch.Tensor, hidden: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """I, F, G, O before their activations; H is zero where it is None."""
        bias = self.w["recurrence.gates_hidden.bias"].view(1, -1, 1, 1)
        if "gates" in self.on:
            joined = self.convolve(attended, "recurrence.gates_input")
            joined += bias if hidden is None else self.convolve(hidden, "recurrence.gates_hidden")
            return joined.chunk(4, 1)
        return tuple(
            self.convolve(attended, "recurrence.gates_input", gate=gate)
            + (
                bias.chunk(4, 1)[gate]
                if hidden is None
                else self.convolve(hidden, "recurrence.gates_hidden", gate=gate)
            )
            for gate in range(4)
        )


class Defined:
    """`SaliencyAttentiveModel`, as it is defined or rewritten, as a `Forward`."""

    def __init__(
        self,
        network: SaliencyAttentiveModel,
        rewrites: Rewrites | None = None,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.network = copy.deepcopy(network)
        if rewrites is not None:
            self.network = prepare_for_inference(self.network, dtype=dtype, rewrites=rewrites)

    def __call__(self, frames: torch.Tensor, state: State, steps: int) -> tuple[torch.Tensor, State]:
        fresh = [[state is None]] * len(frames)
        log_density, state = self.network(
            frames[:, None], state, unroll=Unroll.of(fresh, fresh_steps=steps, carry_steps=steps)
        )
        return log_density[:, 0].exp(), state


@dataclass
class Contender:
    """One variant, how it is called, and what was measured."""

    name: str
    """Key."""
    label: str
    """What the table says."""
    forward: Forward
    """The variant."""
    versus: str = ""
    """Key of the one it is compared with step by step; empty for the first."""
    carry: bool = False
    """One step a frame from the state of the frame before, instead of T from zero."""
    batch: int = 1
    """Frames a call."""
    threads: int = 1
    """Threads of torch."""
    bound: str = "fp32"
    """fp32: maps within 1e-4 of the reference; bf16: CC of maps at least .999."""
    error: float = 0.0
    """Largest difference of the maps from the reference's, over the reference's largest value."""
    least_cc: float = 1.0
    """CC with the reference's map, the worst frame."""
    seconds: list[float] = field(default_factory=list)
    """A frame, of each round."""
    _state: State = None

    def maps(self, frames: torch.Tensor, steps: int) -> torch.Tensor:
        """The map of each of (N, 3, H, W) frames; also what warms the variant up."""
        torch.set_num_threads(self.threads)
        maps = []
        state = None
        for first in range(0, len(frames), self.batch):
            some = frames[first : first + self.batch]
            result, after = self.forward(some, state, 1 if self.carry and state is not None else steps)
            state = after if self.carry else None
            maps.append(result)
        self._state = state
        return torch.cat(maps)

    def time(self, frames: torch.Tensor, steps: int) -> None:
        """One more round."""
        torch.set_num_threads(self.threads)
        begin = time.perf_counter()
        _, after = self.forward(frames[: self.batch], self._state, 1 if self.carry else steps)
        self.seconds.append((time.perf_counter() - begin) / self.batch)
        self._state = after if self.carry else None


def contenders_of(model: str, network: SaliencyAttentiveModel, threads: int) -> list[Contender]:
    """All variants of a model; the first is the reference."""
    every: list[Contender] = []

    def add(name: str, label: str, forward: Forward, versus: str, **settings: Any) -> None:
        every.append(Contender(name, label, forward, versus, **{"threads": threads, **settings}))

    if model == "sam-resnet":
        add("plain", "transcription of the equations", Transcription(network), "")
        labels = {
            "once": "U_a * X once a frame",
            "skip": "no convolution of the zero H",
            "gates": "four gates as one convolution of X~ and one of H",
            "fold": "batch norm folded, sums and ReLUs in place",
            "channels_last": "channels last",
        }
        for level, before in zip(LEVELS, ("plain", *LEVELS), strict=False):
            add(level, labels[level], Rewritten(network, level), before)
        last = "channels_last"
    else:
        add("plain", "network as defined, eager", Defined(network), "")
        add("fold", "batch norm folded, activations joined, channels last", Defined(network, "fold"), "plain")
        last = "fold"
    bf16 = Defined(network, "winograd", dtype=torch.bfloat16)
    winograd = Defined(network, "winograd")
    add("pack", "weights laid out for oneDNN", Defined(network, "pack"), last)
    add("winograd", "Winograd: **best float32**", winograd, "pack")
    add("bf16", "**bfloat16**, weights laid out for oneDNN", bf16, "winograd", bound="bf16")
    add("carry", "carried state, one step, float32", winograd, "winograd", carry=True)
    add("carry_bf16", "**carried state, one step, bfloat16**", bf16, "bf16", carry=True, bound="bf16")
    # Weights are laid out for the first shape seen: other shapes get networks of their own.
    add("batch", "best float32, 4 frames a call", Defined(network, "winograd"), "winograd", batch=4)
    four = Defined(network, "winograd", dtype=torch.bfloat16)
    add("batch_bf16", "bfloat16, 4 frames a call", four, "bf16", batch=4, bound="bf16")
    if threads > 1:
        add("one", "best float32, one thread", winograd, "winograd", threads=1)
        add("one_bf16", "bfloat16, one thread", bf16, "bf16", threads=1, bound="bf16")
    return every


def open_network(model: str) -> SaliencyAttentiveModel:
    """Its own weights where they are part of the package, else random ones."""
    preset = PRESETS[model]
    if preset.weights is None:
        return random_network(preset.config, preprocess=preset.preprocess)
    return read_checkpoint(preset.weights)[0]


def make_frames(model: str) -> torch.Tensor:
    """(FRAMES, 3, H, W) model input from made pictures."""
    pictures = np.stack(list(make_pictures(5 * FRAMES))[::5])
    return Preprocessor(PRESETS[model].preprocess)(pictures)


def compare(contenders: list[Contender], frames: torch.Tensor, *, steps: int, rounds: int) -> None:
    """Check the maps of all contenders against the first one's, then let them take turns."""
    reference = contenders[0]
    carrying = dataclasses.replace(reference, carry=True)
    expected = {False: reference.maps(frames, steps), True: carrying.maps(frames, steps)}
    for contender in contenders:
        maps, wanted = contender.maps(frames, steps), expected[contender.carry]
        contender.error = float((maps - wanted).abs().max() / wanted.max())
        contender.least_cc = float(cc(maps, wanted).min())
    for number in range(rounds):
        order = contenders if number % 2 == 0 else contenders[::-1]
        for contender in order:
            contender.time(frames, steps)


def rows_of(contenders: list[Contender]) -> list[dict[str, Any]]:
    """What the table and the JSON hold."""
    named = {contender.name: contender for contender in contenders}
    reference = contenders[0]

    def ratio(slow: Contender, fast: Contender) -> float:
        return statistics.median(a / b for a, b in zip(slow.seconds, fast.seconds, strict=True))

    return [
        {
            "name": c.name,
            "label": c.label,
            "versus": named[c.versus].label if c.versus else "",
            "threads": c.threads,
            "milliseconds": 1e3 * statistics.median(c.seconds),
            "quartiles": [1e3 * float(q) for q in np.percentile(c.seconds, (25, 75))],
            "of_step_before": ratio(named[c.versus], c) if c.versus else 1.0,
            "of_reference": ratio(reference, c),
            "error": c.error,
            "least_cc": c.least_cc,
            "bound": c.bound,
        }
        for c in contenders
    ]


def compare_gates(network: SaliencyAttentiveModel, *, threads: int, rounds: int) -> list[dict[str, Any]]:
    """The gates of one step: two convolutions, the second added to the first, or one of X~ joined with H."""
    torch.set_num_threads(threads)
    recurrence = network.recurrence
    first, second = recurrence.gates_input, recurrence.gates_hidden
    both = nn.Conv2d(first.in_channels + second.in_channels, first.out_channels, 3, padding=1)
    both.weight.copy_(torch.cat([first.weight, second.weight], 1))
    both.bias.copy_(first.bias + second.bias)
    height, width = 30, 40
    rows = []
    kinds: list[tuple[str, torch.dtype, Rewrites]] = [
        ("float32, laid out", torch.float32, "pack"),
        ("float32, Winograd", torch.float32, "winograd"),
        ("bfloat16, laid out", torch.bfloat16, "pack"),
    ]
    for label, dtype, rewrites in kinds:

        def fuse(convolution: nn.Conv2d, dtype: torch.dtype = dtype, rewrites: Rewrites = rewrites) -> FusedConv2d:
            return FusedConv2d(
                convolution,
                activation="none",
                device=torch.device("cpu"),
                dtype=dtype,
                rewrites=rewrites,
                workspace=Workspace(),
            )

        x, hidden = (
            torch.randn(1, convolution.in_channels, height, width).contiguous(memory_format=torch.channels_last)
            for convolution in (first, second)
        )
        one, other, joined = fuse(first), fuse(second), fuse(both)
        works: tuple[Callable[[], torch.Tensor], ...] = (
            lambda: other(hidden, add=one(x)),  # noqa: B023
            lambda: joined(torch.cat([x, hidden], 1)),  # noqa: B023
        )
        seconds: tuple[list[float], list[float]] = ([], [])
        results = [work() for work in works]
        for _ in range(max(5, rounds)):
            for work, taken in zip(works, seconds, strict=True):
                begin = time.perf_counter()
                work()
                taken.append(time.perf_counter() - begin)
        two, single = (1e3 * statistics.median(taken) for taken in seconds)
        difference = (results[0] - results[1]).float().abs().max() / results[0].float().abs().max()
        rows.append({"kind": label, "two": two, "one": single, "difference": float(difference)})
    return rows


@torch.inference_mode()
def measure(models: list[str], *, rounds: int, threads: int) -> dict[str, Any]:
    """Everything, in this process."""
    results: dict[str, Any] = {}
    for model in models:
        print(f"{model}: {rounds} rounds, {threads} threads", file=sys.stderr, flush=True)
        network = open_network(model)
        contenders = contenders_of(model, network, threads)
        compare(contenders, make_frames(model), steps=network.config.steps, rounds=rounds)
        results[model] = {"rows": rows_of(contenders), "rounds": rounds}
        if model == "sam-resnet":
            del contenders
            results[model]["gates"] = compare_gates(network, threads=threads, rounds=rounds)
    return {
        "machine": describe_machine(),
        "versions": describe_versions(),
        "commit": source_commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "threads": threads,
        "models": results,
    }


def measure_isas(arguments: list[str]) -> dict[str, Any]:
    """`measure` in a process of its own for each instruction set that oneDNN may use."""
    parts = {}
    for isa in ("", *ISAS):
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "part.json"
            environment = {**os.environ, **({"ONEDNN_MAX_CPU_ISA": isa} if isa else {})}
            subprocess.run([sys.executable, __file__, *arguments, "--json", str(target)], env=environment, check=True)
            parts[isa] = json.loads(target.read_text(encoding="utf-8"))
    return {**parts[""], "isas": {isa: parts[isa]["models"] for isa in ISAS}}


def failures(report: dict[str, Any]) -> list[str]:
    """What was promised and is not so, on the processor as it is."""
    found = []
    for model, result in report["models"].items():
        rows = {row["name"]: row for row in result["rows"]}
        for row in rows.values():
            if row["bound"] == "fp32" and not row["error"] < 1e-4:
                found.append(f"{model}, {row['label']}: maps differ by {row['error']:.1e}, allowed are 1e-4")
            if row["bound"] == "bf16" and model == "sam-resnet" and not row["least_cc"] >= 0.999:
                found.append(f"{model}, {row['label']}: CC of maps {row['least_cc']:.5f}, at least .999 is promised")
        if model == "sam-resnet":
            for name, wanted in (("winograd", 1.25), ("bf16", 2.2), ("carry_bf16", 4.0)):
                if rows[name]["of_reference"] < wanted:
                    label, ratio = rows[name]["label"], rows[name]["of_reference"]
                    found.append(f"{model}, {label}: {ratio:.2f} times as fast, {wanted} is promised")
    return found


def render(report: dict[str, Any]) -> str:
    """The tables, as Markdown."""
    machine = report["machine"]
    threads = "1 thread" if report["threads"] == 1 else f"{report['threads']} threads"
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {threads} unless said; "
        f"{', '.join(machine['instructions'])}; torch {report['versions']['torch']}; "
        f"commit {report['commit']}, {report['date'][:10]}.",
    ]
    isas = report.get("isas", {})
    for model, result in report["models"].items():
        head = ["", "ms a frame", "quartiles", "against", "", "against the first", "maps differ by", "least CC"]
        head += [f"against the first, {isa}" for isa in isas]
        rounds = f"{result['rounds']} {'round' if result['rounds'] == 1 else 'rounds'}"
        if result["rounds"] < FEW_ROUNDS:
            rounds += ": too few for more than a first idea, above all of a busy machine"
        lines += ["", f"### {model}", "", f"{rounds}.", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        places = {row["label"]: place + 1 for place, row in enumerate(result["rows"])}
        for place, row in enumerate(result["rows"]):
            cells = [
                f"{place + 1}. {row['label']}",
                f"{row['milliseconds']:.1f}",
                f"{row['quartiles'][0]:.1f} .. {row['quartiles'][1]:.1f}",
                f"{places[row['versus']]}." if row["versus"] else "-",
                f"{row['of_step_before']:.2f}x" if row["versus"] else "-",
                f"{row['of_reference']:.2f}x",
                f"{row['error']:.0e}" if row["versus"] else "-",
                f"{row['least_cc']:.5f}" if row["versus"] else "-",
            ]
            for isa in isas.values():
                others = {other["name"]: other for other in isa[model]["rows"]}
                cells.append(f"{others[row['name']]['of_reference']:.2f}x")
            lines.append(f"| {' | '.join(cells)} |")
        if "gates" in result:
            lines += [
                "",
                "The gates of one step, ms: two convolutions, the second added to the first; or one of [X~, H].",
                "",
                "| | two | one, joined |",
                "|---|---|---|",
                *(f"| {row['kind']} | {row['two']:.1f} | {row['one']:.1f} |" for row in result["gates"]),
            ]
    return "\n".join(lines) + "\n"


def with_tables(page: str, report: dict[str, Any]) -> str:
    """The page with the tables between its markers."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{render(report)}\n{END}{rest.split(END)[1]}"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("sam-resnet", "sam-lite", "all"), default="all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--isa", action="store_true", help="also with less of the processor's instructions")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a promise is missed")
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument("--write-docs", action="store_true", help="write docs/reports/performance.json and its tables")
    parser.add_argument("--read", type=Path, help="measure nothing, take this file of an earlier --json")
    arguments = parser.parse_args()
    models = ["sam-resnet", "sam-lite"] if arguments.model == "all" else [arguments.model]
    if arguments.read:
        report = json.loads(arguments.read.read_text(encoding="utf-8"))
    elif arguments.isa:
        settings = ["--rounds", str(arguments.rounds), "--threads", str(arguments.threads)]
        report = measure_isas(["--model", arguments.model, *settings])
    else:
        report = measure(models, rounds=arguments.rounds, threads=arguments.threads)
    print(render(report))
    text = json.dumps(report, indent=1) + "\n"
    if arguments.json:
        arguments.json.write_text(text, encoding="utf-8")
    if arguments.write_docs:
        (DOCS / "reports" / "performance.json").write_text(text, encoding="utf-8")
        page = DOCS / "reports" / "performance.md"
        page.write_text(with_tables(page.read_text(encoding="utf-8"), report), encoding="utf-8")
    missed = failures(report)
    for failure in missed:
        print(f"missed: {failure}", file=sys.stderr)
    return 1 if arguments.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
