"""What the plots of these tools have in common; matplotlib is imported only where one is drawn."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidsal.errors import ConfigError

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["new_figure", "save_figure", "spread"]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, whose parts make room for each other.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure
    except ImportError as error:
        raise ConfigError("the plot needs matplotlib: pip install 'vidsal[figures]'") from error
    return matplotlib.figure.Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure without frames at the top and right, make its folder where there is none, and say so."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"wrote {path}")


def spread(scores: Sequence[float]) -> str:
    """The mean over seeds, and the lowest and highest where there are several; a dash for none."""
    if not scores:
        return "-"
    mean = f"{np.mean(scores):.3f}"
    return mean if len(scores) == 1 else f"{mean} ({min(scores):.3f} to {max(scores):.3f})"
