"""uint8 RGB frames in, model input out; log densities over the model's canvas in, over the picture out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from vidsal.stages import PreprocessOptions

__all__ = ["PreprocessOptions", "Preprocessor", "Viewport", "blur_first_axis"]

# How large a picture is shown on a canvas of its own shape: as a letter-box would show it; or larger by up to this,
_LARGER_THAN_LETTER_BOX = 1.2
# as long as it takes no more than this share of the letter-box's pixels. See docs/reports/canvas.md.
_SHARE_OF_PIXELS = 0.9
# The kernel of the blur ends after this many standard deviations, as SciPy's `gaussian_filter` does by default.
_TRUNCATE = 4.0


@dataclass(frozen=True)
class Viewport:
    """The part of the model's canvas that shows the picture; the rest are black bars.

    Example:
        >>> Viewport.fit(720, 1280, canvas_height=240, canvas_width=320)
        Viewport(canvas_height=240, canvas_width=320, top=30, left=0, height=180, width=320)
    """

    canvas_height: int
    """Rows of the canvas."""
    canvas_width: int
    """Columns of the canvas."""
    top: int
    """First canvas row of the picture."""
    left: int
    """First canvas column of the picture."""
    height: int
    """Rows of the picture on the canvas."""
    width: int
    """Columns of the picture on the canvas."""

    @classmethod
    def of(cls, height: int, width: int, options: PreprocessOptions) -> Viewport:
        """Where an upright picture of `height` x `width` pixels lies, as the options say.

        Example:
            >>> Viewport.of(720, 1280, PreprocessOptions(fit="inside"))
            Viewport(canvas_height=180, canvas_width=320, top=0, left=0, height=180, width=320)
            >>> Viewport.of(720, 1280, PreprocessOptions(fit="shape", cells=16))
            Viewport(canvas_height=208, canvas_width=352, top=5, left=0, height=198, width=352)
        """
        if options.fit == "letterbox":
            return cls.fit(height, width, canvas_height=options.height, canvas_width=options.width)
        if options.fit == "shape":
            return cls._of_its_shape(height, width, options)
        rows, columns = options.height, options.width
        if options.fit == "inside":
            share = min(1.0, rows / height, columns / width)
            # To the nearest multiple that is not larger than the picture.
            rows, columns = (
                max(1, min(round(side * share / options.cells), side // options.cells)) * options.cells
                for side in (height, width)
            )
        return cls(canvas_height=rows, canvas_width=columns, top=0, left=0, height=rows, width=columns)

    @classmethod
    def _of_its_shape(cls, height: int, width: int, options: PreprocessOptions) -> Viewport:
        """A picture on a canvas of about its shape; itself where it is so large already, as a decoder makes it."""
        shape = _shaped_canvas(height, width, options)
        for _ in range(8):
            view = cls.filling(height, width, canvas_height=shape[0], canvas_width=shape[1])
            # The picture as it is shown is of another shape by a part of a pixel.
            again = _shaped_canvas(view.height, view.width, options)
            if again == shape:
                break
            shape = again
        return view

    @classmethod
    def filling(cls, height: int, width: int, *, canvas_height: int, canvas_width: int) -> Viewport:
        """As `fit`, where the picture's longer side fills the canvas, and the shorter one as good as does."""
        if height > width:
            fitted_height, fitted_width = canvas_height, min(canvas_width, max(1, width * canvas_height // height))
        else:
            fitted_height, fitted_width = min(canvas_height, max(1, height * canvas_width // width)), canvas_width
        return cls._centred(fitted_height, fitted_width, canvas_height=canvas_height, canvas_width=canvas_width)

    @classmethod
    def on_canvas(cls, height: int, width: int, options: PreprocessOptions) -> Viewport:
        """As `of`, on the whole canvas, as pictures of a training step need one size: all but "stretch" get bars."""
        if options.fit == "stretch":
            return cls.of(height, width, options)
        return cls.fit(height, width, canvas_height=options.height, canvas_width=options.width)

    @classmethod
    def fit(cls, height: int, width: int, *, canvas_height: int, canvas_width: int) -> Viewport:
        """Fit an upright picture of `height` x `width` pixels into the canvas, aspect kept, centred.

        The shorter side is rounded down, as in the code of Cornia et al. (2018), but is at least one pixel.
        """
        if height * canvas_width > width * canvas_height:
            fitted_height, fitted_width = canvas_height, max(1, width * canvas_height // height)
        else:
            fitted_height, fitted_width = max(1, height * canvas_width // width), canvas_width
        return cls._centred(fitted_height, fitted_width, canvas_height=canvas_height, canvas_width=canvas_width)

    @classmethod
    def _centred(cls, height: int, width: int, *, canvas_height: int, canvas_width: int) -> Viewport:
        return cls(
            canvas_height=canvas_height,
            canvas_width=canvas_width,
            top=(canvas_height - height) // 2,
            left=(canvas_width - width) // 2,
            height=height,
            width=width,
        )

    def crop(self, log_density: torch.Tensor) -> torch.Tensor:
        """Undo the letter-box: (..., canvas_height, canvas_width) to (..., height, width), still summing to 1.

        Args:
            log_density: natural log of a density over the canvas, or any logits.

        Returns:
            The same dtype, normalised over the picture: mass that fell on the bars is shared out in proportion.
        """
        part = log_density[..., self.top : self.top + self.height, self.left : self.left + self.width]
        return part - part.flatten(-2).logsumexp(-1)[..., None, None]


def _shaped_canvas(height: int, width: int, options: PreprocessOptions) -> tuple[int, int]:
    """Rows and columns of a canvas of about the shape of a picture of `height` x `width` pixels: "shape"."""
    letter_box = min(options.height / height, options.width / width)
    by_area = math.sqrt(_SHARE_OF_PIXELS * options.height * options.width / (height * width))
    scale = max(letter_box, min(by_area, _LARGER_THAN_LETTER_BOX * letter_box))
    long, short = max(height, width), min(height, width)
    along = max(1, round(long * scale / options.cells)) * options.cells
    across = math.ceil(max(1, short * along // long) / options.cells) * options.cells
    return (along, across) if height > width else (across, along)


class Preprocessor:
    """Turns uint8 RGB frames into the float input of a model, and the model's maps into maps of the picture.

    Example:
        >>> preprocess = Preprocessor(PreprocessOptions())
        >>> preprocess(np.zeros((2, 180, 320, 3), np.uint8)).shape
        torch.Size([2, 3, 240, 320])
    """

    def __init__(self, options: PreprocessOptions) -> None:
        self.options = options
        self._scale = torch.tensor([1.0 / (options.divisor * s) for s in options.std]).view(1, 3, 1, 1)
        self._offset = torch.tensor([-m / s for m, s in zip(options.mean, options.std, strict=True)]).view(1, 3, 1, 1)
        self._on_device: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    def viewport(self, height: int, width: int) -> Viewport:
        """Where a picture of `height` x `width` pixels lies on the canvas."""
        return Viewport.of(height, width, self.options)

    def frame_size(self, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) in which frames of a picture of `height` x `width` pixels are best given.

        The viewport's, which a decoder makes in passing; the picture's own where `resize` is "bilinear", because
        that is not the same from frames already made small.
        """
        if self.options.resize == "bilinear":
            return height, width
        viewport = self.viewport(height, width)
        return viewport.height, viewport.width

    def __call__(self, frames: npt.NDArray[np.uint8], *, device: torch.device | str = "cpu") -> torch.Tensor:
        """Letter-box and normalise.

        Args:
            frames: (B, h, w, 3) uint8 RGB; frames of another size than the viewport are resized, as the options say.
            device: where the result lives.

        Returns:
            (B, 3, height, width) float32 in channels-last memory order; the picture's own canvas with a `fit` of
            "inside" or "shape".

        Raises:
            ValueError: if frames are not (B, h, w, 3) uint8.
        """
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"frames must be (B, h, w, 3) uint8, got {frames.shape} {frames.dtype}")
        device = torch.device(device)
        if device.type == "cpu" or not self._resizes_on_device(*frames.shape[1:3]):
            pixels = self._letter_box(frames).to(device)
        else:
            pixels = self._letter_box_on(device, frames)
        if self.options.channel_order == "bgr":
            pixels = pixels.flip(1)
        scale, offset = self._constants(device)
        return pixels.float().mul_(scale).add_(offset).contiguous(memory_format=torch.channels_last)

    def _letter_box(self, frames: npt.NDArray[np.uint8]) -> torch.Tensor:
        """(B, h, w, 3) to (B, 3, height, width) uint8 on the CPU."""
        count, height, width = frames.shape[:3]
        viewport = self.viewport(height, width)
        canvas = np.zeros((count, viewport.canvas_height, viewport.canvas_width, 3), np.uint8)
        inner = canvas[:, viewport.top : viewport.top + viewport.height, viewport.left : viewport.left + viewport.width]
        for target, frame in zip(inner, frames, strict=True):
            if (height, width) == (viewport.height, viewport.width):
                target[...] = frame
            else:
                smaller = viewport.height * viewport.width < height * width
                how = cv2.INTER_AREA if smaller and self.options.resize == "area" else cv2.INTER_LINEAR
                target[...] = cv2.resize(frame, (viewport.width, viewport.height), interpolation=how)
        return torch.from_numpy(canvas).permute(0, 3, 1, 2)  # channels last

    def _resizes_on_device(self, height: int, width: int) -> bool:
        """Whether a device can do it too: anything but OpenCV's shrinking by area."""
        viewport = self.viewport(height, width)
        shrinks = viewport.height * viewport.width < height * width
        return self.options.resize == "bilinear" or not shrinks

    def _letter_box_on(self, device: torch.device, frames: npt.NDArray[np.uint8]) -> torch.Tensor:
        """As `_letter_box`, float32, on a device; copies without waiting for it. Within one level of OpenCV's."""
        height, width = frames.shape[1:3]
        viewport = self.viewport(height, width)
        host = torch.from_numpy(np.ascontiguousarray(frames))
        if device.type == "cuda":
            host = host.pin_memory()
        pixels = host.to(device, non_blocking=True).permute(0, 3, 1, 2).float()  # (B, 3, h, w)
        if (height, width) != (viewport.height, viewport.width):
            size = (viewport.height, viewport.width)
            pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False).round()
        right = viewport.canvas_width - viewport.left - viewport.width
        bottom = viewport.canvas_height - viewport.top - viewport.height
        return F.pad(pixels, (viewport.left, right, viewport.top, bottom))

    def _constants(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Factor and addend of each channel, moved to a device once."""
        if device not in self._on_device:
            self._on_device[device] = self._scale.to(device), self._offset.to(device)
        return self._on_device[device]

    def to_picture(self, log_density: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """The finished map of a picture: the letter-box undone, and blurred where the options ask for it.

        The blur is SciPy's `gaussian_filter` (kernel cut off at four standard deviations, edges reflected) of the
        density, with `blur_pixels` pixels of the picture as standard deviation.

        Args:
            log_density: (..., canvas height, canvas width) float32, natural log of a density over the canvas.
            height: rows of the upright picture.
            width: columns of the upright picture.

        Returns:
            (..., h, w) float32 on the same device, over the part of the canvas that shows the picture; `exp` of it
            sums to 1 over (h, w).
        """
        own, along = log_density.shape[-2:]
        # The canvas is that of the frames that were given, which may be a row off what a larger picture has.
        if self.options.fit == "inside":
            viewport = Viewport(own, along, top=0, left=0, height=own, width=along)
        elif self.options.fit == "shape":
            viewport = Viewport.filling(height, width, canvas_height=own, canvas_width=along)
        else:
            viewport = self.viewport(height, width)
        part = viewport.crop(log_density)
        if self.options.blur_pixels == 0:
            return part
        # The kernel may be wider than the map: a matrix takes any width, on every device.
        rows = _blur_matrix(viewport.height, self.options.blur_pixels * viewport.height / height, part.device)
        columns = _blur_matrix(viewport.width, self.options.blur_pixels * viewport.width / width, part.device)
        blurred = rows @ part.float().exp() @ columns.T
        blurred = blurred / blurred.sum((-1, -2), keepdim=True)
        return blurred.clamp_min(torch.finfo(torch.float32).tiny).log()


def blur_first_axis(values: npt.NDArray[np.float64], *, sigma: float) -> npt.NDArray[np.float64]:
    """Gaussian blur along the first axis, as SciPy's `gaussian_filter1d` does it by default.

    Args:
        values: (n, ...) float64.
        sigma: standard deviation in elements, at least 0. The kernel is cut off at four of them, rounded to whole
            elements; edges are reflected (d c b a | a b c d | d c b a), several times where the kernel is wider.

    Returns:
        A new array of the same shape.
    """
    radius = int(_TRUNCATE * sigma + 0.5)
    if radius == 0:
        return values.copy()
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    count = len(values)
    result = np.zeros_like(values)
    for offset, weight in zip(range(-radius, radius + 1), kernel, strict=True):
        source = (np.arange(count) + offset) % (2 * count)
        result += weight * values[np.minimum(source, 2 * count - 1 - source)]
    return result


@lru_cache(maxsize=32)
def _blur_matrix(cells: int, sigma: float, device: torch.device) -> torch.Tensor:
    """The blur along one axis as a (cells, cells) float32 matrix."""
    matrix = torch.from_numpy(blur_first_axis(np.eye(cells), sigma=sigma))
    # Not an inference tensor, wherever it is made first: it is shared.
    with torch.inference_mode(False):
        return matrix.to(device, torch.float32, copy=True)
