"""A folder of stills comes in, precision and recall of the cut detector on footage made of them go out.

Each still becomes a shot with camera motion, shake, drift of light and noise; some hold a rushing object, a flash,
a whip pan or a fade, which are no cuts.

    python studies/measure_cuts.py FOLDER [--sequences N] [--seed N] [--light SHARE]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.shots import CutDetector, CutOptions

Frames = npt.NDArray[np.uint8]
HEIGHT, WIDTH = 180, 320
EVENTS = {"plain": 0.4, "object": 0.2, "flash": 0.15, "whip": 0.15, "fade": 0.1}


def load(path: Path) -> Frames:
    """The still as RGB, at least twice the size of a frame."""
    still = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if still is None:
        raise SystemExit(f"{path} cannot be read as an image; take it out of the folder")
    scale = max(2 * WIDTH / still.shape[1], 2 * HEIGHT / still.shape[0])
    return cv2.resize(still, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[..., ::-1].copy()


def shot(
    rng: np.random.Generator, still: Frames, other: Frames, count: int, event: str, exposure: float = 1.0
) -> Frames:
    """`count` frames of one still under a moving camera; `exposure` scales the light, not the camera's noise."""
    size = np.array([still.shape[1], still.shape[0]], float)
    centre, zoom, gain = rng.uniform(0.35, 0.65, 2) * size, rng.uniform(0.45, 0.75), 1.0
    speed = rng.normal(0, 3, 2) * rng.choice([0, 1, 3, 8], p=[0.3, 0.4, 0.2, 0.1])
    zoom_rate, shake, drift = rng.normal(0, 0.006), rng.choice([0, 0.8, 3]), rng.normal(0, 0.005)
    noise, at, whip = rng.choice([0, 2, 5]), int(rng.integers(1, count - 5)), rng.uniform(-45, 45)
    thing = cv2.resize(other, (int(rng.uniform(0.25, 0.7) * WIDTH), int(rng.uniform(0.4, 1) * HEIGHT)))
    left, rush, top = -thing.shape[1], int(rng.uniform(8, 60)), int(rng.integers(0, HEIGHT - thing.shape[0] + 1))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frames = []
    for i in range(count):
        centre = centre + speed + (np.array([whip, 0]) if event == "whip" and at <= i < at + 5 else 0)
        speed = np.where((centre < 0.3 * size) | (centre > 0.7 * size), -speed, speed)
        zoom = float(np.clip(zoom * (1 + zoom_rate), 0.3, 0.9))
        scale, (x, y) = zoom * size[0] / WIDTH, centre + rng.normal(0, shake, 2)
        matrix = np.array([[scale, 0, x - scale * WIDTH / 2], [0, scale, y - scale * HEIGHT / 2]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        view = cv2.warpAffine(still, matrix, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT).astype(float)
        if event == "object":
            left += rush
            start, end = max(0, left), min(WIDTH, left + thing.shape[1])
            if end > start:
                view[top : top + thing.shape[0], start:end] = thing[:, start - left : end - left]
        if event == "flash" and i == at:
            distance = ((columns - rng.uniform(0, WIDTH)) / 200) ** 2 + ((rows - rng.uniform(0, HEIGHT)) / 120) ** 2
            view = view * (1 + rng.uniform(0.3, 2.0) * (rng.uniform(0.2, 1) + np.exp(-distance)))[..., None] + 20
        gain *= 1 + drift
        light = gain * abs(1 - 2 * i / (count - 1)) if event == "fade" else gain
        view = exposure * light * view + rng.normal(0, noise + 1e-9, view.shape)
        frames.append(np.clip(view, 0, 255).astype(np.uint8))
    return np.stack(frames)


def main() -> None:
    parser = argparse.ArgumentParser(description="Precision and recall of the cut detector on made footage.")
    parser.add_argument("folder", type=Path, help="folder of stills")
    parser.add_argument("--sequences", type=int, default=40, help="sequences of eight shots")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threshold", type=float, default=CutOptions.cut_threshold)
    parser.add_argument("--light", type=float, default=1.0, help="share of the stills' light, for dark footage")
    parser.add_argument("--grey", action="store_true", help="without colour")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if len(paths) < 2:
        raise SystemExit(f"{arguments.folder} holds {len(paths)} images; at least two are needed")
    rng = np.random.default_rng(arguments.seed)
    right = missed = frames_seen = 0
    wrong: Counter[str] = Counter()
    seconds = 0.0
    for _ in range(arguments.sequences):
        shots, truth, kinds = [], [], []
        last = -1
        for _ in range(8):
            pick = int(rng.choice([i for i in range(len(paths)) if i != last]))
            event, last = str(rng.choice(list(EVENTS), p=list(EVENTS.values()))), pick
            other = paths[int(rng.integers(len(paths)))]
            count = int(rng.integers(8, 30))
            shots.append(shot(rng, load(paths[pick]), load(other), count, event, arguments.light))
            truth += [len(truth) > 0] + [False] * (len(shots[-1]) - 1)
            kinds += [event] * len(shots[-1])
        frames = np.concatenate(shots)
        if arguments.grey:
            frames = np.repeat(frames.mean(axis=3, keepdims=True).astype(np.uint8), 3, axis=3)
        start = time.process_time()
        marks = CutDetector(CutOptions(cut_threshold=arguments.threshold)).update(frames, np.arange(len(frames)) / 25)
        seconds += time.process_time() - start
        expected = np.array(truth)
        right += int((marks & expected).sum())
        missed += int((~marks & expected).sum())
        wrong.update(np.array(kinds)[marks & ~expected].tolist())
        frames_seen += len(frames)
    false = sum(wrong.values())
    print(f"{frames_seen} frames, {right + missed} cuts, {seconds / frames_seen * 1e3:.2f} ms of one core a frame")
    print(f"precision {right / max(right + false, 1):.3f}  recall {right / max(right + missed, 1):.3f}")
    print(f"false cuts by kind of shot: {dict(wrong)}")


if __name__ == "__main__":
    main()
