"""Stills in, a picture of the clips that training would make of them out, to look at; or the time that they take."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vidsal.data.clips import Clip, make_clip
from vidsal.data.layouts import LabelledSequence
from vidsal.data.options import AugmentOptions, CameraOptions, ObjectOptions, OverlayOptions, SheetKind, SheetOptions
from vidsal.errors import DatasetError, EncodeError, Setting
from vidsal.files import replacing
from vidsal.preprocess import PreprocessOptions

__all__ = ["KINDS", "make_clips", "write_sheet"]

_CAMERA = CameraOptions(probability=1)
_OBJECTS = ObjectOptions(probability=1)
_OVERLAYS = OverlayOptions(caption_probability=1, ticker_probability=0.5, logo_probability=0.7)
KINDS: Mapping[SheetKind, AugmentOptions] = {
    "default": AugmentOptions(),
    "camera": AugmentOptions.only(camera=_CAMERA),
    "pan": AugmentOptions.only(camera=dataclasses.replace(_CAMERA, zoom=0, rotation=0, tilt=0, shake=0)),
    "zoom": AugmentOptions.only(camera=dataclasses.replace(_CAMERA, pan=0, rotation=0, tilt=0, shake=0)),
    "rotation": AugmentOptions.only(camera=dataclasses.replace(_CAMERA, pan=0, zoom=0, rotation=2, shake=0)),
    "shake": AugmentOptions.only(camera=dataclasses.replace(_CAMERA, pan=0, zoom=0, rotation=0, shake=0.02)),
    "cuts": AugmentOptions.only(crop_probability=0.5, aspect_probability=0.5, cut_probability=0.4),
    "objects": AugmentOptions.only(objects=_OBJECTS),
    "motion-blur": AugmentOptions.only(camera=_CAMERA, objects=_OBJECTS, motion_blur_probability=1),
    "drift": AugmentOptions.only(white_balance=0.3, exposure_drift=0.1, white_balance_drift=0.05),
    "compression": AugmentOptions.only(compression_probability=1),
    "aspect": AugmentOptions.only(crop_probability=1, aspect_probability=1, stretch=0.25),
    "overlays": AugmentOptions.only(overlays=_OVERLAYS),
    "flip": AugmentOptions.only(flip_probability=1),
    "all": AugmentOptions(
        stretch=0.1,
        camera=dataclasses.replace(_CAMERA, probability=0.8),
        cut_probability=0.15,
        objects=dataclasses.replace(_OBJECTS, probability=0.6),
        motion_blur_probability=0.4,
        overlays=OverlayOptions(caption_probability=0.3, ticker_probability=0.15, logo_probability=0.25),
        white_balance=0.15,
        exposure_drift=0.02,
        white_balance_drift=0.01,
        compression_probability=0.4,
    ),
}
"""One change alone at full strength and nothing else; "default" is what training does, "all" everything at once."""

_GAP = 6


def make_clips(stills: Sequence[LabelledSequence], options: SheetOptions) -> tuple[list[Clip], list[float]]:
    """Draw stills and make clips of them, on the canvas of the default model.

    Returns:
        The clips, and of each the seconds of CPU time a frame, reading included.

    Raises:
        DatasetError: there is no still.
    """
    if not stills:
        raise DatasetError("there are no stills with fixations here: clips are made of stills only")
    clips, taken = [], []
    for number in range(options.clips):
        random = np.random.default_rng([options.seed, number])
        still = stills[int(random.integers(len(stills)))]
        began = time.process_time()
        clip = make_clip(
            still,
            times=options.frames,
            preprocess=PreprocessOptions(),
            augment=KINDS[options.kind],
            random=random,
            others=lambda drawn: stills[int(drawn.integers(len(stills)))],
        )
        taken.append((time.process_time() - began) / options.frames)
        clips.append(clip)
    return clips, taken


def write_sheet(clips: Sequence[Clip], path: Path, *, width: int = 240, overwrite: bool = False) -> None:
    """Write a picture with a row for each clip; every frame stands plain beside itself with its labels.

    The density is in warm colours, fixations are green dots. A red frame is the first of another shot.

    Args:
        clips: at least one, all of one length.
        path: the picture; its ending says which format.
        width: pixels of a frame.
        overwrite: replaces a file that is there.

    Raises:
        EncodeError: the format is unknown, or the file exists or cannot be written.
    """
    if not cv2.haveImageWriter(path.name):
        raise EncodeError(f"{path}: no picture has this ending; use .png, as clips.png")
    if path.exists() and not overwrite:
        raise EncodeError(
            f"{path} exists already; use ", Setting("overwrite", True), " to replace it, or choose another path"
        )
    rows = [np.concatenate([_cell(clip, t, width) for t in range(len(clip))], 1) for clip in clips]
    encoded = cv2.imencode(path.suffix, np.concatenate(rows, 0))[1]
    with replacing(path) as partial:
        partial.write_bytes(encoded.tobytes())


def _cell(clip: Clip, t: int, width: int) -> npt.NDArray[np.uint8]:
    """One frame, BGR: plain, and with its density and fixations."""
    plain = np.ascontiguousarray(clip.frames[t][:, :, ::-1])
    density = clip.density[t]
    share = (density / max(float(density.max()), 1e-12))[:, :, None] ** 0.7
    colours = cv2.applyColorMap((share[:, :, 0] * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    marked = (plain * (1 - 0.65 * share) + colours * 0.65 * share).astype(np.uint8)
    for row, column in zip(*np.nonzero(clip.counts[t]), strict=True):
        cv2.circle(marked, (int(column), int(row)), 1, (80, 255, 80), -1)
    if clip.cut[t]:
        cv2.rectangle(plain, (0, 0), (plain.shape[1] - 1, plain.shape[0] - 1), (0, 0, 255), 4)
    both = np.concatenate([plain, marked], 1)
    height = round(both.shape[0] * 2 * width / both.shape[1])
    small = cv2.resize(both, (2 * width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.copyMakeBorder(small, 0, _GAP, 0, _GAP, cv2.BORDER_CONSTANT, value=(200, 200, 200)), np.uint8)
