"""Videos in, one picture out: a frame of each under every style of drawing, for judging them by eye.

    python studies/show_styles.py FILE[@FRAME]... --output SHEET.png [--styles heat heat,contour ...] [--width PIXELS]

A frame counts from 0; without one, the fortieth is shown, or the last. Further options are those of drawing:
--colormap, --opacity, --threshold, --scale.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from vidsal import RenderOptions, load_model, open_video, predict
from vidsal.render import Recent, draw
from vidsal.render.text import line_height, text_cover
from vidsal.tracks import FrameNumbers

STYLES = ("none", "heat", "contour", "spotlight", "peak", "boxes", "heat,contour", "spotlight,peak", "heat,peak,boxes")
TEXT_PIXELS = 18

Pixels = npt.NDArray[np.uint8]


class Shown(NamedTuple):
    """A frame and what was found in it."""

    name: str
    picture: Pixels
    density: npt.NDArray[np.float32]
    recent: tuple[FrameNumbers, ...]


def shown(spec: str, model: str) -> Shown:
    """Predicts a file up to a frame as `vidsal run` does."""
    path, _, frame = spec.partition("@")
    wanted = int(frame or 40)
    network, recent = load_model(model), Recent()
    with open_video(path, size=network.preprocessor.frame_size, keep_pictures=True) as reader:
        for batch in predict(reader, network):
            rows = recent.update(batch)
            at = min(wanted - int(batch.index[0]), len(batch) - 1)
            last = Shown(
                f"{Path(path).stem} {batch.index[at]}", batch.pictures[at].rgb(), batch.density[at].numpy(), rows[at]
            )
            if batch.index[-1] >= wanted:
                break
    return last


def drawn(frame: Shown, style: str, options: RenderOptions, *, width: int) -> Pixels:
    """The frame at a width, drawn upon."""
    height = round(frame.picture.shape[0] * width / frame.picture.shape[1])
    if style == "none":
        picture = frame.picture
    else:
        chosen = replace(options, style=tuple(style.split(",")))
        picture = draw(frame.picture, frame.density, options=chosen, recent=frame.recent)
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def title(text: str, *, width: int) -> Pixels:
    """A line of text on white."""
    band = np.full((line_height(TEXT_PIXELS) + 10, width, 3), 255, np.uint8)
    cover = text_cover(text, TEXT_PIXELS)[:, : width - 8]
    band[5 : 5 + len(cover), 6 : 6 + cover.shape[1]] -= cover[..., None]
    return band


def sheet(frames: list[Shown], styles: list[str], options: RenderOptions, *, width: int, gap: int = 6) -> Pixels:
    """A row for each frame, a column for each style."""
    whole = [
        np.hstack(
            [np.pad(title(style, width=width), ((0, 0), (0, gap), (0, 0)), constant_values=255) for style in styles]
        )
    ]
    for frame in frames:
        cells = [drawn(frame, style, options, width=width) for style in styles]
        row = np.hstack([np.pad(cell, ((0, gap), (0, gap), (0, 0)), constant_values=255) for cell in cells])
        whole += [title(frame.name, width=row.shape[1]), row]
    return np.vstack(whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE[@FRAME]")
    parser.add_argument("--output", required=True, type=Path, help="a .png or .jpg")
    parser.add_argument("--styles", nargs="+", default=STYLES, help="one or several joined by commas, or none")
    parser.add_argument("--width", type=int, default=480, help="of each picture")
    parser.add_argument("--model", default="sam-lite")
    default = RenderOptions()
    for name in ("colormap", "opacity", "threshold", "scale"):
        value = getattr(default, name)
        parser.add_argument(f"--{name}", type=type(value), default=value)
    given = parser.parse_args()
    options = RenderOptions(
        colormap=given.colormap, opacity=given.opacity, threshold=given.threshold, scale=given.scale
    )
    frames = [shown(spec, given.model) for spec in given.files]
    picture = sheet(frames, given.styles, options, width=given.width)
    if not cv2.imwrite(str(given.output), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise SystemExit(f"{given.output} cannot be written")
    print(given.output)


if __name__ == "__main__":
    main()
