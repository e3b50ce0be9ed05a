"""Learns the filters and constants of AIM, SUN and ICL from natural pictures: vidsal/model/weights/filters.npz.

    python tools/learn_filters.py PICTURES... [--seed 0] [--output vidsal/model/weights/filters.npz]

PICTURES are folders of pictures. No gaze is looked at. The authors' own filters are for research only and may not be
handed on, so these are learned anew: by FastICA (symmetric, tanh; Hyvarinen 1999) of patches at random places.

AIM: patches of 21x21 of pictures 320 pixels long, 25 components. ICL: 8x8 of pictures 120 pixels long, all 192.
SUN: scale and exponent of exp(-|f / sigma|^theta) by the first two absolute moments of each response.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.files import replacing
from vidsal.model.baselines.contract import FULL_SIDE, fit, floats, resized
from vidsal.model.baselines.rarity import FILTERS, differences

SUFFIXES = (".jpg", ".jpeg", ".png")
_Array = npt.NDArray[np.float64]


def main(arguments: list[str] | None = None) -> int:
    """Learn all and write one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--pictures", type=int, default=300, help="so many of them, evenly spread")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=FILTERS)
    given = parser.parse_args(arguments)
    files = sorted(path for folder in given.folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        parser.error("no pictures in these folders")
    files = files[:: max(1, len(files) // given.pictures)]
    random = np.random.default_rng(given.seed)
    print(f"{len(files)} pictures", flush=True)
    aim = learn(patches(files, side=320, patch=21, count=20_000, random=random), components=25, random=random)
    print("aim", flush=True)
    icl = learn(patches(files, side=120, patch=8, count=50_000, random=random), components=192, random=random)
    print("icl", flush=True)
    sigma, theta = fit_responses(files)
    print("sun", theta, flush=True)
    with replacing(given.output) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            aim=aim.reshape(-1, 21, 21, 3).astype(np.float16),
            icl=icl.reshape(-1, 8, 8, 3).astype(np.float16),
            sun_sigma=sigma.astype(np.float32),
            sun_theta=theta.astype(np.float32),
        )
    return 0


def read(path: Path, side: int) -> npt.NDArray[np.float32]:
    """A picture in 0..1, RGB, `side` pixels on its longer side."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SystemExit(f"{path}: not a picture")
    return resized(floats(np.ascontiguousarray(picture[:, :, ::-1])), *fit(*picture.shape[:2], side))


def patches(
    files: list[Path], *, side: int, patch: int, count: int, random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """(count, patch * patch * 3) float32, as many of each picture."""
    taken = []
    for path in files:
        picture = read(path, side)
        for _ in range(math.ceil(count / len(files))):
            row, column = (int(random.integers(0, length - patch + 1)) for length in picture.shape[:2])
            taken.append(picture[row : row + patch, column : column + patch].ravel())
    return np.stack(taken)


def learn(
    values: npt.NDArray[np.float32], *, components: int, random: np.random.Generator, rounds: int = 40
) -> npt.NDArray[np.float32]:
    """Filters (components, size) whose responses to the patches are as independent as they get, of variance 1."""
    centred = values - values.mean(axis=0)
    variance, axes = np.linalg.eigh(np.cov(centred, rowvar=False).astype(np.float64))
    variance, axes = variance[::-1][:components], axes[:, ::-1][:, :components]
    whitening = (axes / np.sqrt(np.maximum(variance, 1e-9))).T
    white = np.asarray(centred @ whitening.T.astype(np.float32))  # (n, components)
    turn = orthogonal(random.standard_normal((components, components))).astype(np.float32)
    for _ in range(rounds):
        response = np.tanh(white @ turn.T)
        slope = 1 - np.square(response).mean(axis=0)
        after = orthogonal(response.T @ white / len(white) - slope[:, None] * turn).astype(np.float32)
        moved = 1 - np.abs((after * turn).sum(axis=1)).min()
        turn = after
        if moved < 1e-4:
            break
    return np.asarray(turn @ whitening, np.float32)


def orthogonal(matrix: npt.NDArray[np.floating]) -> _Array:
    """The nearest matrix with orthonormal rows."""
    left, _, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    return np.asarray(left @ right)


def fit_responses(files: list[Path]) -> tuple[_Array, _Array]:
    """Scale and exponent of each of SUN's responses, (4, 3)."""
    first, second, count = np.zeros((4, 3)), np.zeros((4, 3)), np.zeros((4, 1))
    for path in files:
        for scale, response in enumerate(differences(read(path, FULL_SIDE))):
            first[scale] += np.abs(response).sum(axis=(0, 1), dtype=np.float64)
            second[scale] += np.square(response, dtype=np.float64).sum(axis=(0, 1))
            count[scale] += response.shape[0] * response.shape[1]
    first, second = first / count, second / count
    theta = np.vectorize(exponent)(first**2 / second)
    gammas = np.vectorize(math.gamma)
    return first * gammas(1 / theta) / gammas(2 / theta), theta


def exponent(ratio: float) -> float:
    """theta of exp(-|f / sigma|^theta), given the square of the mean magnitude over the mean square."""
    low, high = 0.1, 10.0
    for _ in range(60):
        theta = math.sqrt(low * high)
        found = math.gamma(2 / theta) ** 2 / (math.gamma(1 / theta) * math.gamma(3 / theta))
        low, high = (theta, high) if found < ratio else (low, theta)
    return theta


if __name__ == "__main__":
    sys.exit(main())
