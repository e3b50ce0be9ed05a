"""The commands that do the work, by name."""

from __future__ import annotations

from vidsal.cli.bench import bench_command, bench_parser
from vidsal.cli.data import DATA_ACTIONS, data_command, data_parser
from vidsal.cli.evaluate import compare_command, compare_parser, eval_command, eval_parser
from vidsal.cli.export import export_command, export_parser
from vidsal.cli.models import models_command, models_parser
from vidsal.cli.parser import Command
from vidsal.cli.run import run_command, run_parser
from vidsal.cli.train import train_command, train_parser
from vidsal.cli.weights import WEIGHTS_ACTIONS, weights_command, weights_parser

__all__ = ["WORKING"]

WORKING = {
    "run": Command(run_command, run_parser, "write the video with the heatmap over it, and a table of numbers a frame"),
    "train": Command(train_command, train_parser, "train a model on stills and videos with recorded gaze"),
    "models": Command(models_command, models_parser, "list the models, or show the card of one"),
    "weights": Command(
        weights_command,
        weights_parser,
        "fetch or import the published weights, show and check those here",
        WEIGHTS_ACTIONS,
    ),
    "bench": Command(bench_command, bench_parser, "measure how fast a model is on this machine, stage by stage"),
    "export": Command(export_command, export_parser, "write a model as an ONNX file, for other runtimes"),
    "data": Command(
        data_command, data_parser, "check a data set on disk, or make densities of its fixations", DATA_ACTIONS
    ),
    "eval": Command(eval_command, eval_parser, "score a model, or maps made elsewhere, against recorded gaze"),
    "compare": Command(compare_command, compare_parser, "say by how much two results of eval differ, and how surely"),
}
"""All but the one that completes them."""
