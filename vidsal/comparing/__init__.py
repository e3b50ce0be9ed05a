"""Several models and one data set in, one table of scores and costs out, as a page, as Markdown and as JSON."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.comparing.options import CompareModelsOptions, ComparingOptions, RunningOptions
    from vidsal.comparing.run import ModelsProgress, ModelsReport, compare_models

__all__ = [
    "CompareModelsOptions",
    "ComparingOptions",
    "ModelsProgress",
    "ModelsReport",
    "RunningOptions",
    "compare_models",
]

__getattr__, __dir__ = lazy(__name__, __all__, "options", "run")
