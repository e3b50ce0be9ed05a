"""How fast other runtimes are with an exported model, beside vidsal's own path on this CPU; prints a table.

    python benchmarks/bench_export.py [--model NAME ...] [--threads 1 2] [--repeats 20] [--seconds 60] [--json FILE]

Needs onnx, onnxscript and onnxruntime, and openvino where it is to be measured too. sam-lite has its weights; others
get random ones. One picture a call. All engines take turns, so that whatever else the machine does falls on all of
them alike; an engine's speed is the median over the rounds of its time relative to vidsal's fp32 in the same round.
CPU time is that of the process, and suffers least from others on the machine.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch

from vidsal.export import ExportOptions, export_network
from vidsal.model.checkpoint import PRESETS, ModelCard, SaliencyModel, read_checkpoint
from vidsal.model.openvino import require_openvino
from vidsal.model.sam import SaliencyAttentiveModel, SAMState
from vidsal.preprocess import PreprocessOptions, Preprocessor

STATES = ("carry", "reset")
Job = Callable[[], np.ndarray]


def make_network(name: str) -> tuple[SaliencyAttentiveModel, PreprocessOptions]:
    """The network of a preset, with random weights where none are embedded."""
    preset = PRESETS[name]
    if preset.weights is not None:
        network, preprocess, _ = read_checkpoint(preset.weights)
        return network, preprocess
    torch.manual_seed(0)
    network = SaliencyAttentiveModel(preset.config)
    # V_a starts at zero, which would hide the attention; a published head may come out all zero.
    torch.nn.init.normal_(network.recurrence.attention_score.weight, std=0.01)
    out = network.head.out
    torch.nn.init.normal_(out.weight, std=0.05)  # type: ignore[arg-type]
    torch.nn.init.constant_(out.bias, 0.05)  # type: ignore[arg-type]
    # Random features fade over the layers: batch norms, where there are any, bring them back to unit size.
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.backbone.train()(60 * torch.randn(2, 3, 96, 128))
    return network.eval(), preset.preprocess


class Inputs:
    """One picture and a state, the same for every engine."""

    def __init__(self, network: SaliencyAttentiveModel, preprocess: PreprocessOptions) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (1, 24, 32, 3), np.uint8)
        self.pixels = Preprocessor(preprocess)(noise)
        stride, channels = network.backbone.stride, network.config.recurrent_channels
        shape = (1, channels, preprocess.height // stride, preprocess.width // stride)
        torch.manual_seed(1)
        self.hidden, self.cell = (
            (0.1 * torch.randn(shape)).contiguous(memory_format=torch.channels_last) for _ in range(2)
        )
        self.seen: torch.Tensor | None = None
        if network.motion is not None:
            finer = torch.randn(1, network.backbone.skip_channels[0], 2 * shape[2], 2 * shape[3])
            self.seen = finer.contiguous(memory_format=torch.channels_last)

    def feed(self, state: str) -> dict[str, np.ndarray]:
        """What an exported graph takes."""
        feed = {"pixels": self.pixels.contiguous().numpy()}
        if state == "carry":
            feed |= {"hidden": self.hidden.contiguous().numpy(), "cell": self.cell.contiguous().numpy()}
            feed |= {"fresh": np.array([False])} | (
                {} if self.seen is None else {"seen": self.seen.contiguous().numpy()}
            )
        return feed


def own_job(network: SaliencyAttentiveModel, inputs: Inputs, state: str, *, precision: Any) -> Job:
    """vidsal's own path."""
    model = SaliencyModel(
        copy.deepcopy(network), preprocess=PreprocessOptions(), card=ModelCard(name="bench"), precision=precision
    )
    before = SAMState(inputs.hidden, inputs.cell, inputs.seen) if state == "carry" else None
    return lambda: model(inputs.pixels[:, None], before, one_by_one=True)[0][0, 0].numpy()


def onnxruntime_job(path: Path, feed: dict[str, np.ndarray], *, threads: int) -> Job:
    """ONNX Runtime on the CPU."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    # Its idle threads would spin while the next engine is timed.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return lambda: session.run(["log_density"], feed)[0][0]


def openvino_job(path: Path, feed: dict[str, np.ndarray], *, threads: int, precision: str) -> Job:
    """OpenVINO on the CPU, compiled for one picture a call."""
    core = require_openvino().Core()
    model = core.read_model(path)
    model.reshape({name: list(value.shape) for name, value in feed.items()})
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer(feed)["log_density"][0]


def engines() -> list[str]:
    """What can be measured here."""
    found = ["vidsal fp32", "vidsal bf16", "ONNX Runtime fp32"]
    if importlib.util.find_spec("openvino") is not None:
        found += ["OpenVINO fp32", "OpenVINO bf16"]
    return found


def measure(jobs: dict[str, Job], *, repeats: int, seconds: float) -> list[dict[str, Any]]:
    """All engines in turn, `repeats` rounds or as many as `seconds` allow, three at least."""
    maps = {name: np.exp(job()) for name, job in jobs.items()}
    wall: dict[str, list[float]] = {name: [] for name in jobs}
    cpu: dict[str, list[float]] = {name: [] for name in jobs}
    begin = time.perf_counter()
    for done in range(repeats):
        if done >= 3 and time.perf_counter() - begin > seconds:
            break
        for name, job in jobs.items():
            # The caches still hold the engine before.
            job()
            at, used = time.perf_counter(), time.process_time()
            job()
            wall[name].append(time.perf_counter() - at)
            cpu[name].append(time.process_time() - used)
    first = next(iter(jobs))
    return [
        {
            "engine": name,
            "milliseconds": 1e3 * statistics.median(wall[name]),
            "milliseconds_least": 1e3 * min(wall[name]),
            "cpu_milliseconds": 1e3 * statistics.median(cpu[name]),
            "times_as_fast": statistics.median(a / b for a, b in zip(wall[first], wall[name], strict=True)),
            "times_as_fast_cpu": statistics.median(a / b for a, b in zip(cpu[first], cpu[name], strict=True)),
            "correlation": float(np.corrcoef(maps[first].ravel(), maps[name].ravel())[0, 1]),
            "largest_difference": float(np.abs(maps[first] - maps[name]).max() / maps[first].max()),
            "rounds": len(wall[name]),
        }
        for name in jobs
    ]


def bench(name: str, folder: Path, *, threads: list[int], repeats: int, seconds: float) -> list[dict[str, Any]]:
    """Every engine with one model, carried and reset."""
    network, preprocess = make_network(name)
    inputs, rows = Inputs(network, preprocess), []
    for state in STATES:
        path = folder / f"{name}-{state}.onnx"
        options = ExportOptions(state=state)  # type: ignore[arg-type]
        report = export_network(network, path, preprocess=preprocess, card=ModelCard(name=name), options=options)
        print(report, file=sys.stderr)
        feed = inputs.feed(state)
        for count in threads:
            torch.set_num_threads(count)
            jobs: dict[str, Job] = {}
            for engine in engines():
                runtime, precision = engine.rsplit(" ", 1)
                if runtime == "vidsal":
                    jobs[engine] = own_job(network, inputs, state, precision=precision)
                elif runtime == "OpenVINO":
                    precision = {"fp32": "f32"}.get(precision, precision)
                    jobs[engine] = openvino_job(path, feed, threads=count, precision=precision)
                else:
                    jobs[engine] = onnxruntime_job(path, feed, threads=count)
            steps = report.carry_steps or report.fresh_steps
            for row in measure(jobs, repeats=repeats, seconds=seconds):
                rows.append({"model": name, "state": state, "steps": steps, "threads": count, **row})
                print(format_row(rows[-1]), flush=True)
        path.unlink()
    return rows


def format_row(row: dict[str, Any]) -> str:
    """A line of the table."""
    return (
        f"| {row['model']} | {row['state']}, {row['steps']} | {row['threads']} | {row['engine']} | "
        f"{row['milliseconds']:.1f} | {row['milliseconds_least']:.1f} | {row['cpu_milliseconds']:.1f} | "
        f"{row['times_as_fast']:.2f} | {row['times_as_fast_cpu']:.2f} | {row['correlation']:.5f} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["sam-lite", "sam-resnet"], choices=list(PRESETS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60, help="of measuring for each model, state and threads")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    print("| model | state, steps | threads | engine | ms | least | CPU ms | x as fast | by CPU time | CC |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.model:
            rows += bench(name, Path(folder), threads=given.threads, repeats=given.repeats, seconds=given.seconds)
    if given.json:
        packages = ["torch", "onnx", "onnxruntime", *(["openvino"] if len(engines()) > 3 else [])]
        versions = {package: importlib.metadata.version(package) for package in packages}
        machine = {"machine": platform.machine(), "capability": torch.backends.cpu.get_cpu_capability()}
        given.json.write_text(json.dumps({"versions": versions, **machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
