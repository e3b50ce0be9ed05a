"""A video in; the usual table, and the mean map of every shot (shots.npz) from a sink of one's own, out.

python examples/own_sink.py VIDEO FOLDER [MODEL]
"""

import sys
from pathlib import Path

import numpy as np

import vidsal


class MeanMaps:
    """Adds up the densities of each shot; a sink has a path, one verb, and is entered and left."""

    def __init__(self, path: Path) -> None:
        self.path, self._sums, self._frames = path, {}, {}

    def write(self, batch: vidsal.SaliencyBatch) -> None:
        for shot, density in zip(batch.shot.tolist(), batch.density.cpu().numpy(), strict=True):
            self._sums[shot] = self._sums.get(shot, 0.0) + density
            self._frames[shot] = self._frames.get(shot, 0) + 1

    def __enter__(self) -> "MeanMaps":
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if error is None:
            np.savez(self.path, **{f"shot{n}": self._sums[n] / self._frames[n] for n in self._sums})


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python examples/own_sink.py VIDEO FOLDER [MODEL]")
    source, folder, *rest = sys.argv[1:]
    options = vidsal.RunOptions(output=vidsal.OutputOptions(output=Path(folder), video=False))
    sink = MeanMaps(Path(folder, "shots.npz"))
    report = vidsal.run(source, options=options, model=vidsal.load_model(*rest), sinks=[sink])
    print(f"{report.frames} frames, {report.cuts} cuts")
