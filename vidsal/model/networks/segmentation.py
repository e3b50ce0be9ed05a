"""A segmentation model that the user names, as ONNX, and pictures in, the probabilities of Cityscapes' classes out.

The file's bytes are kept among the weights of the network that uses it: a checkpoint needs nothing else, and its sha256
covers what the classes come from. ONNX Runtime runs it, on the CPU.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vidsal.errors import CheckpointError

__all__ = ["CLASSES", "SegmentationModel", "read_segmentation"]

CLASSES = 19
"""Of Cityscapes, in the order of its train ids: road, sidewalk, building, wall, fence, pole, light, sign, vegetation,
terrain, sky, person, rider, car, truck, bus, train, motorcycle, bicycle."""

_MOST_BYTES = 1 << 30
# Rows and columns of the input of a model that takes any: 16:9, in multiples of 32.
_ANY_SIZE = (448, 800)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The key "location" of a tensor that lies in another file, as Protocol Buffers write it, and the tag of its value.
_ELSEWHERE = b"\x0a\x08location\x12"


def read_segmentation(path: Path) -> bytes:
    """The content of an ONNX file, once a grey picture has gone through it.

    Args:
        path: takes (1, 3, rows, columns) float32, RGB from 0 to 1 less ImageNet's mean, over its standard deviation,
            of a fixed size or of any; its first output is (1, 19, rows, columns), scores or probabilities of
            Cityscapes' classes in the order of train ids, in any size.

    Raises:
        CheckpointError: it is missing, no ONNX file, not whole, takes or gives something else, or onnxruntime is not
            installed.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise CheckpointError(f"{path}: {size} bytes; a segmentation model of up to {_MOST_BYTES} is taken")
        content = path.read_bytes()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise CheckpointError(f"{path}: {reason} (segmentation model)") from error
    if not content:
        raise CheckpointError(f"{path}: the file is empty; a segmentation model is an ONNX file")
    model = SegmentationModel(len(content))
    model.onnx.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    try:
        model(torch.full((1, 3, 32, 32), 128.0))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return content


class SegmentationModel(nn.Module):
    """Runs an ONNX file that it holds as a tensor of bytes."""

    onnx: torch.Tensor
    """(bytes,) uint8, the file."""

    def __init__(self, size: int) -> None:
        """Make room for a file of so many bytes."""
        super().__init__()
        self.register_buffer("onnx", torch.zeros(size, dtype=torch.uint8))
        self._session: tuple[torch.Tensor, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A session can neither be copied nor saved; it is made again.
        return {**self.__dict__, "_session": None}

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Segment pictures one by one.

        Args:
            pictures: (N, 3, H, W) float, RGB from 0 to 255; stretched to the size that the model takes.

        Returns:
            (N, 19, h, w) float32 on the same device, in the size that the model gives; sums to 1 over the classes.

        Raises:
            CheckpointError: the file is no such model, or onnxruntime is not installed.
        """
        session = self._opened()
        taken = session.get_inputs()[0]
        rows, columns = (
            side if isinstance(side, int) and side > 0 else free
            for side, free in zip(taken.shape[2:], _ANY_SIZE, strict=True)
        )
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
        found = []
        for picture in torch.split(pictures.detach().float().cpu(), 1):
            small = F.interpolate(picture, size=(rows, columns), mode="bilinear", align_corners=False, antialias=True)
            pixels = ((small / 255 - mean) / std).numpy()
            try:
                scores = np.asarray(session.run([session.get_outputs()[0].name], {taken.name: pixels})[0])
            except Exception as error:  # ONNX Runtime has classes of its own, below Exception
                raise CheckpointError(f"the segmentation model cannot be run ({_short(error)})") from error
            if scores.ndim != 4 or scores.shape[:2] != (1, CLASSES) or scores.dtype.kind != "f":
                raise CheckpointError(
                    f"the segmentation model gives {scores.shape} {scores.dtype}, expected (1, {CLASSES}, rows, "
                    "columns) of floating point: scores of Cityscapes' classes"
                )
            found.append(_probabilities(torch.from_numpy(scores.astype(np.float32))))
        return torch.cat(found).to(pictures.device)

    def _opened(self) -> Any:
        if self._session is not None and self._session[0] is self.onnx:
            return self._session[1]
        if importlib.util.find_spec("onnxruntime") is None:
            raise CheckpointError(
                "a segmentation model needs onnxruntime, which is not installed: pip install 'vidsal[segmentation]'"
            )
        content = self.onnx.cpu().numpy().tobytes()
        if _ELSEWHERE in content:
            raise CheckpointError("the segmentation model keeps weights in another file: save it as a single one")
        onnxruntime = importlib.import_module("onnxruntime")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        settings.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # as above
            raise CheckpointError(
                f"the segmentation model is not an ONNX file that can be run ({_short(error)})"
            ) from error
        inputs = session.get_inputs()
        if (
            len(inputs) != 1
            or len(inputs[0].shape) != 4
            or inputs[0].shape[1] != 3
            or inputs[0].type != "tensor(float)"
        ):
            given = ", ".join(f"{one.shape} {one.type}" for one in inputs)
            raise CheckpointError(f"the segmentation model takes {given}, expected one (1, 3, rows, columns) float32")
        self._session = (self.onnx, session)
        return session


def _probabilities(scores: torch.Tensor) -> torch.Tensor:
    """(1, 19, h, w) as they are where they sum to 1 already, else their softmax."""
    if bool((scores >= 0).all()) and torch.allclose(scores.sum(1), torch.ones(()), atol=1e-3):
        return scores / scores.sum(1, keepdim=True)
    return scores.softmax(1)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
