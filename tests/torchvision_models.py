"""torchvision in, imported; works around a CUDA-built torchvision beside a CPU-only torch.

torchvision from a package registry is built against CUDA torch. Beside a CPU torch its compiled operators do not
load, and its Python side then fails at import with "operator torchvision::nms does not exist", because it
registers fake kernels for operators that were never defined. The tests use none of those operators, only the
model definitions, so it is enough to declare them. Where the compiled operators do load, nothing is declared.
"""

import importlib
import importlib.util
from types import ModuleType

import torch

__all__ = ["import_torchvision_models"]

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# A Library undoes its definitions when it is collected: it has to outlive the import.
_declared: list[torch.library.Library] = []


def import_torchvision_models() -> ModuleType:
    """Import and return `torchvision.models`.

    Raises:
        ImportError: if torchvision is missing, or broken in another way than the one above.
    """
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    _declared.append(library)
    for name in ("nms", "qnms"):
        library.define(name + _SIGNATURE)  # type: ignore[no-untyped-call]
    return importlib.import_module("torchvision.models")
