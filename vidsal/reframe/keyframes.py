"""A path in, keyframes for editing programs out: FCPXML, and After Effects' own keyframe text.

A straight line between two keyframes stands for the frames between them where it stays within `TOLERANCE_PIXELS` of
their places. Programs count frames at an even rate, which is found as `vidsal.exports.timeline` finds it; at a variable
one each frame falls on the nearest.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from vidsal.exports.contract import Footage, nine_digits
from vidsal.exports.timeline import FrameGrid, exact, readable
from vidsal.reframe.path import WindowPath, slid
from vidsal.timecode import Timecodes

__all__ = ["TOLERANCE_PIXELS", "as_after_effects", "as_fcpxml", "frames_of", "is_uneven", "rate_of", "thinned"]

TOLERANCE_PIXELS = 0.25
"""By how many pixels of the source the line between keyframes may miss the place of a frame."""

_Floats = npt.NDArray[np.float64]


def rate_of(path: WindowPath, footage: Footage) -> tuple[Fraction, list[str]]:
    """Frames a second of the timeline, as exports of the same frames have it, and what is to be said about it."""
    grid = FrameGrid(footage.rate)
    grid.update(nine_digits(path.pts_seconds))
    return grid.settle_on_timecodes()


def _end_of(path: WindowPath, footage: Footage) -> Fraction:
    """When the last frame has been shown."""
    first, last = path.pts_seconds[[0, -1]].tolist()
    return exact(last + footage.last_frame_lasts(first, last, steps=len(path) - 1))


def _timecodes(footage: Footage, rate: Fraction) -> Timecodes:
    try:
        return Timecodes.of(footage.timecode, rate)
    except ValueError:
        return Timecodes.of(None, rate)


def frames_of(path: WindowPath, rate: Fraction) -> npt.NDArray[np.int64]:
    """(N,) the frames of an even clock on which the frames fall."""
    return np.rint(path.pts_seconds * float(rate)).astype(np.int64)


def is_uneven(path: WindowPath, rate: Fraction) -> bool:
    """Whether frames do not fall on places of an even rate, each on one of its own."""
    frames = frames_of(path, rate)
    off = np.abs(path.pts_seconds * float(rate) - frames)
    return bool((np.diff(frames) < 1).any() or off.max() > _UNEVEN_FRAMES)


_UNEVEN_FRAMES = 0.15


def thinned(times: npt.NDArray[np.int64], places: _Floats, *, tolerance: float = TOLERANCE_PIXELS) -> list[int]:
    """Which points have to be kept, so that straight lines between them meet all others (Douglas and Peucker, 1973).

    Example:
        >>> thinned(np.arange(5), np.array([0.0, 1.0, 2.0, 2.0, 2.0]))
        [0, 2, 4]
    """
    if len(times) == 1 or np.ptp(places) <= 0:
        return [0]
    kept = {0, len(times) - 1}
    waiting = [(0, len(times) - 1)]
    while waiting:
        first, last = waiting.pop()
        if last - first < 2:
            continue
        inner = slice(first + 1, last)
        line = np.interp(times[inner], times[[first, last]], places[[first, last]])
        off = np.abs(places[inner] - line)
        worst = int(off.argmax())
        if off[worst] > tolerance:
            middle = first + 1 + worst
            kept.add(middle)
            waiting += [(first, middle), (middle, last)]
    return sorted(kept)


def as_fcpxml(path: WindowPath, footage: Footage, *, name: str) -> str:
    """A timeline of the result's size with one clip a shot, which is moved under it by keyframes.

    Version 1.8, which Final Cut Pro and DaVinci Resolve open. The source is not conformed to the timeline
    (`adjust-conform type="none"`): the transform alone places it. Positions are in hundredths of the timeline's height,
    upward, as FCPXML has them. Bars of padded shots stay black.

    Args:
        path: the path.
        footage: the source.
        name: of the project.
    """
    window, (rate, _) = path.window, rate_of(path, footage)
    codes = _timecodes(footage, rate)
    frames = frames_of(path, rate)
    firsts = [path.place_of(shot.first_index) for shot in path.shots]
    # A last shot that is shorter than a frame still has one.
    begin, end = int(frames[0]), max(int(frames[firsts[-1]]) + 1, round(_end_of(path, footage) * rate))
    shown_width = round(window.result_width * window.sample_aspect_ratio)
    source_width = round(window.picture_width * window.picture_aspect_ratio)
    root = ElementTree.Element("fcpxml", version="1.8")
    resources = ElementTree.SubElement(root, "resources")
    frame = _seconds(1, rate)
    for key, label, width, height in (
        ("r1", "vidsal result", shown_width, window.result_height),
        ("r2", "vidsal source", source_width, window.picture_height),
    ):
        ElementTree.SubElement(
            resources, "format", id=key, name=label, frameDuration=frame, width=str(width), height=str(height)
        )
    asset = ElementTree.SubElement(
        resources,
        "asset",
        id="r3",
        name=readable(footage.name),
        src=footage.url,
        start=_seconds(codes.first, rate),
        duration=_seconds(end, rate),
        hasVideo="1",
        format="r2",
    )
    if footage.audio_channels:
        asset.set("hasAudio", "1")
        asset.set("audioSources", "1")
        asset.set("audioChannels", str(footage.audio_channels))
        asset.set("audioRate", str(footage.audio_rate or 48000))
    library = ElementTree.SubElement(root, "library")
    event = ElementTree.SubElement(library, "event", name="vidsal")
    project = ElementTree.SubElement(event, "project", name=readable(name))
    sequence = ElementTree.SubElement(
        project,
        "sequence",
        format="r1",
        duration=_seconds(end - begin, rate),
        tcStart="0s",
        tcFormat="DF" if codes.is_drop else "NDF",
    )
    spine = ElementTree.SubElement(sequence, "spine")
    for shot, first, after in zip(path.shots, firsts, [*firsts[1:], len(path)], strict=True):
        until = int(frames[after]) if after < len(path) else end
        start = int(frames[first])
        if until <= start:
            continue
        inside = ElementTree.SubElement(
            spine,
            "asset-clip",
            ref="r3",
            name=f"shot {shot.shot}",
            offset=_seconds(start - begin, rate),
            start=_seconds(codes.first + start, rate),
            duration=_seconds(until - start, rate),
            format="r2",
            tcFormat="DF" if codes.is_drop else "NDF",
        )
        ElementTree.SubElement(inside, "adjust-conform", type="none")
        _add_transform(inside, path, slice(first, after), frames, codes.first, rate)
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{text}\n'


def _add_transform(
    inside: ElementTree.Element,
    path: WindowPath,
    rows: slice,
    frames: npt.NDArray[np.int64],
    start: int,
    rate: Fraction,
) -> None:
    scale = _scale(path, rows.start)
    x, y = _offsets(path, rows, scale)
    unit = 100.0 / path.window.result_height
    texts = [f"{one * unit:.6g} {0.0 - other * unit:.6g}" for one, other in zip(x, y, strict=True)]
    kept = thinned(frames[rows], slid(path)[rows])
    transform = ElementTree.SubElement(inside, "adjust-transform", scale=f"{scale:.9g} {scale:.9g}")
    if len(kept) == 1:
        transform.set("position", texts[0])
        return
    param = ElementTree.SubElement(transform, "param", name="position")
    animation = ElementTree.SubElement(param, "keyframeAnimation")
    for place in kept:
        time = _seconds(start + int(frames[rows][place]), rate)
        ElementTree.SubElement(animation, "keyframe", time=time, value=texts[place], curve="linear")


def as_after_effects(path: WindowPath, footage: Footage) -> str:
    """Keyframes of position and scale as After Effects has them on its clipboard.

    Paste them onto the layer of the source in a composition of the result's size and of square pixels, whose anchor
    point is its middle. At cuts the window jumps from one frame to the next.

    Args:
        path: the path.
        footage: the source.
    """
    window = path.window
    rate, _ = rate_of(path, footage)
    frames = frames_of(path, rate)
    middle = (window.result_width * float(window.sample_aspect_ratio) / 2, window.result_height / 2)
    positions, scales = [], []
    firsts = [path.place_of(shot.first_index) for shot in path.shots]
    for first, after in zip(firsts, [*firsts[1:], len(path)], strict=True):
        rows = slice(first, after)
        scale = _scale(path, first)
        x, y = _offsets(path, rows, scale)
        kept = thinned(frames[rows], slid(path)[rows])
        # A shot that stands needs its last frame too, or the way to the next would begin before the cut.
        kept = sorted({*kept, after - first - 1})
        for place in kept:
            number = int(frames[rows][place] - frames[0])
            positions.append(f"\t{number}\t{middle[0] + x[place]:.3f}\t{middle[1] + y[place]:.3f}\t0\t")
            scales.append(f"\t{number}\t{100 * scale:.6g}\t{100 * scale:.6g}\t100\t")
    lines = [
        "Adobe After Effects 8.0 Keyframe Data",
        "",
        f"\tUnits Per Second\t{float(rate):.6g}",
        f"\tSource Width\t{window.picture_width}",
        f"\tSource Height\t{window.picture_height}",
        f"\tSource Pixel Aspect Ratio\t{float(window.picture_aspect_ratio):.6g}",
        "\tComp Pixel Aspect Ratio\t1",
        "",
        "Transform\tPosition",
        "\tFrame\tX pixels\tY pixels\tZ pixels\t",
        *positions,
        "",
        "Transform\tScale",
        "\tFrame\tX percent\tY percent\tZ percent\t",
        *scales,
        "",
        "",
        "End of Keyframe Data",
        "",
    ]
    return "\n".join(lines)


def _scale(path: WindowPath, place: int) -> float:
    """By how much the source is enlarged, so that a window of a shot fills the result along its side."""
    window = path.window
    return min(
        window.result_height / int(path.height[place]),
        window.result_width
        * float(window.sample_aspect_ratio)
        / (int(path.width[place]) * float(window.picture_aspect_ratio)),
    )


def _offsets(path: WindowPath, rows: slice, scale: float) -> tuple[_Floats, _Floats]:
    """How far the source's middle lies from the timeline's, to the right and down, in square pixels of the timeline."""
    window = path.window
    x = window.picture_width / 2 - (path.x[rows] + path.width[rows] / 2)
    y = window.picture_height / 2 - (path.y[rows] + path.height[rows] / 2)
    return x * float(window.picture_aspect_ratio) * scale, y * scale


def _seconds(frames: int, rate: Fraction) -> str:
    """A number of frames in seconds, as FCPXML writes them.

    Example:
        >>> _seconds(10, Fraction(30000, 1001)), _seconds(0, Fraction(25)), _seconds(50, Fraction(25))
        ('10010/30000s', '0s', '50/25s')
    """
    if frames == 0:
        return "0s"
    return f"{frames * rate.denominator}/{rate.numerator}s"
