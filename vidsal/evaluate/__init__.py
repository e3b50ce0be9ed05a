"""A model, or maps made elsewhere, and recorded gaze in, scores under a stated protocol out."""

from typing import TYPE_CHECKING

from vidsal.lazy import lazy

if TYPE_CHECKING:
    from vidsal.evaluate.comparison import Comparison, Difference, compare, format_comparison
    from vidsal.evaluate.draw import draw_figures
    from vidsal.evaluate.evaluation import EvalProgress, Evaluation, evaluate, read_scores
    from vidsal.evaluate.options import EvalOptions, EvaluationOptions, FigureOptions, ScoringOptions
    from vidsal.evaluate.protocols import PROTOCOLS, Protocol, find_protocol
    from vidsal.evaluate.ranking import Ranked, Ranking, read_ranking
    from vidsal.evaluate.references import REFERENCES
    from vidsal.evaluate.results import SequenceScores, Summary, format_summary, read_summary
    from vidsal.evaluate.sources import FolderSource, ModelSource, Source

__all__ = [
    "PROTOCOLS",
    "REFERENCES",
    "Comparison",
    "Difference",
    "EvalOptions",
    "EvalProgress",
    "Evaluation",
    "EvaluationOptions",
    "FigureOptions",
    "FolderSource",
    "ModelSource",
    "Protocol",
    "Ranked",
    "Ranking",
    "ScoringOptions",
    "SequenceScores",
    "Source",
    "Summary",
    "compare",
    "draw_figures",
    "evaluate",
    "find_protocol",
    "format_comparison",
    "format_summary",
    "read_ranking",
    "read_scores",
    "read_summary",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    *("options", "comparison", "draw", "evaluation", "protocols", "ranking", "references", "results", "sources"),
)
