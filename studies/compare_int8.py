"""What weights and features of 8 bits would bring on a CPU: CC with float32, and CPU time a frame, by ONNX Runtime.

    python studies/compare_int8.py CLIP CLIP [CLIP ...] [--model sam-lite] [--frames 24]

The scales are those of frames of all clips but the first; maps are compared on the first, with the state carried.
Nothing is trained for it. The first layers and the last ones may stay float32 (`--spare`, pairs of counts). Needs
`vidsal[export]`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from vidsal.decode import open_video
from vidsal.export import ExportOptions, export_model
from vidsal.metrics.functional import cc
from vidsal.model.checkpoint import SaliencyModel, load_model

_Feed = dict[str, npt.NDArray[Any]]
STEP = 4
"""Every so many frames of a clip are looked at."""


class Graph:
    """An exported model that carries its state, on one thread."""

    def __init__(self, path: Path) -> None:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        given = {each.name: each.shape for each in self._session.get_inputs()}
        self._state = {name: shape for name, shape in given.items() if name not in ("pixels", "fresh")}

    def play(self, frames: npt.NDArray[np.float32], seen: list[_Feed] | None = None) -> torch.Tensor:
        """Densities (N, H, W) of consecutive (N, 3, H, W) frames; what the graph was fed with goes to `seen`."""
        state = {name: np.zeros(shape, np.float32) for name, shape in self._state.items()}
        made = []
        for place, frame in enumerate(frames):
            feed = {"pixels": frame[None], "fresh": np.array([place == 0]), **state}
            if seen is not None:
                seen.append(feed)
            log_density, *after = self._session.run(["log_density", *(f"next_{name}" for name in state)], feed)
            state = dict(zip(state, after, strict=True))
            made.append(log_density[0])
        return torch.from_numpy(np.exp(made))

    def cpu_milliseconds(self, frames: npt.NDArray[np.float32]) -> float:
        """Of the processor, a frame."""
        begin = time.process_time()
        self.play(frames)
        return 1e3 * (time.process_time() - begin) / len(frames)


class Feeds(CalibrationDataReader):  # type: ignore[misc]
    """What the scales are found from."""

    def __init__(self, feeds: list[_Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> _Feed | None:
        return next(self._feeds, None)


def some_frames(clip: Path, model: SaliencyModel, count: int) -> npt.NDArray[np.float32]:
    """(count, 3, H, W) model input: every `STEP`-th frame of a clip."""
    with open_video(clip, size=model.preprocessor.frame_size) as reader:
        batches = list(itertools.islice(reader, -(-count * STEP // 8)))
    frames = np.concatenate([batch.frames for batch in batches])[::STEP][:count]
    return np.asarray(model.preprocessor(frames, device=model.device).numpy())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--model", default="sam-lite", help="preset or checkpoint (default: sam-lite)")
    parser.add_argument("--frames", type=int, default=24, help="frames that are compared (default: 24)")
    parser.add_argument(
        "--spare", nargs="+", default=["0,0", "4,0", "10,12"], help="convolutions left alone: first,last ones"
    )
    given = parser.parse_args()
    if len(given.clips) < 2:
        parser.error("two clips at least: one to compare maps on, one to find scales from")
    model = load_model(given.model, device="cpu", precision="fp32")
    compared = some_frames(given.clips[0], model, given.frames)
    with tempfile.TemporaryDirectory() as made:
        exact, plain, small = (Path(made) / name for name in ("exact.onnx", "plain.onnx", "small.onnx"))
        export_model(given.model, exact, options=ExportOptions(state="carry", batch=1, check=False))
        whole, feeds = Graph(exact), []
        for clip in given.clips[1:]:
            whole.play(some_frames(clip, model, 6), feeds)
        expected = whole.play(compared)
        quant_pre_process(exact, plain, skip_symbolic_shape=True)
        layers = [node.name for node in onnx.load(plain).graph.node if node.op_type == "Conv"]
        print("| float32: first, last of so many convolutions | CC least | mean | float32, CPU ms | int8 |")
        print("|---|---|---|---|---|")
        for pair in given.spare:
            first, last = map(int, pair.split(","))
            quantize_static(
                plain,
                small,
                Feeds(feeds),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=layers[:first] + layers[len(layers) - last :],
            )
            rough = Graph(small)
            found = cc(rough.play(compared), expected)
            rounds = [[graph.cpu_milliseconds(compared) for graph in (whole, rough)] for _ in range(2)]
            slow, quick = np.mean(rounds, axis=0)
            times = f"{slow:.1f} | {quick:.1f}"
            print(
                f"| {first}, {last} of {len(layers)} | {found.min():.4f} | {found.mean():.4f} | {times} |", flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
