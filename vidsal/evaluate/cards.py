"""Results of `vidsal eval` in, a checkpoint whose card holds its scores out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from vidsal.errors import ConfigError, EncodeError, Setting
from vidsal.evaluate.results import describe_protocol, folder_of, read_summary
from vidsal.files import sha256_of
from vidsal.model.checkpoint import copy_checkpoint, read_checkpoint

__all__ = ["write_scores_to_card"]


def write_scores_to_card(
    checkpoint: Path, summaries: Sequence[str | Path], output: Path, *, overwrite: bool = False
) -> dict[str, dict[str, float]]:
    """Write a checkpoint again, with the scores of evaluations in its card; the weights stay as they are.

    Args:
        checkpoint: the checkpoint that was scored.
        summaries: results of `vidsal eval`: `summary.json`, or its folder; of one protocol, a data set each.
        output: the checkpoint to write.
        overwrite: replaces a file that is there.

    Returns:
        `ModelCard.scores`: data set to metric to value; those of the baselines under "SET/BASELINE".

    Raises:
        CheckpointError: the file is no checkpoint.
        ConfigError: a result cannot be read, is of another model, or does not go with the others.
        EncodeError: the output exists or cannot be written.
    """
    if output.exists() and not overwrite:
        raise EncodeError(
            f"{output} exists already; use ", Setting("overwrite", True), " to replace it, or choose another path"
        )
    card = read_checkpoint(checkpoint)[2]
    digest = sha256_of(checkpoint)
    scores: dict[str, dict[str, float]] = {}
    rules: dict[str, str | Path] = {}
    for path in summaries:
        summary = read_summary(path)
        if summary.source.get("sha256") != digest:
            raise ConfigError(f"{path} holds scores of {summary.source.get('name', 'maps')}, not of {checkpoint}")
        name = folder_of(summary.dataset) or summary.dataset["name"]
        if name in scores:
            raise ConfigError(f"{path} is a second result of {name}; give one of each data set")
        rules["; ".join(describe_protocol(summary.protocol))] = path
        for source, metrics in summary.scores.items():
            values = {metric: found.value for metric, found in metrics.items() if math.isfinite(found.value)}
            scores[name if source == "model" else f"{name}/{source}"] = values
    if len(rules) > 1:
        raise ConfigError(f"{' and '.join(map(str, rules.values()))} were scored by different rules; a card has one")
    copy_checkpoint(checkpoint, output, card=dataclasses.replace(card, scores=scores, protocol="".join(rules)))
    return scores
