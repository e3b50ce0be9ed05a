"""Scores a model on the validation split of sets in the simple layout, beside two baselines; prints a table.

    python tools/score_model.py DATA/osie DATA/eyecrowd ... [--model sam-lite]
    python tools/score_model.py ... --model runs/sam-lite/sam-lite.safetensors --embed vidsal/model/weights/

Maps are compared in the pixels the fixations were recorded in, one frame from the zero state, with a density sigma
of 3 % of the stimulus's longer side (24 px at 800x600). `--embed` writes the checkpoint again with the scores in
its card.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import vidsal.model.checkpoint as checkpoints
from vidsal.data.fixations import SIGMA_SHARE, load_stills, split_stills
from vidsal.errors import VidsalError
from vidsal.evaluate import centre_prior, mean_density, model_predictor, score_predictor

METRICS = ("nss", "cc", "sim", "auc_judd", "kl")


def main() -> int:
    """Score, print, and embed where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--model", default="sam-lite")
    parser.add_argument("--embed", type=Path, help="folder for the checkpoint with these scores in its card")
    arguments = parser.parse_args()
    model = checkpoints.load_model(arguments.model)
    scores: dict[str, dict[str, float]] = {}
    for root in arguments.sets:
        stills = load_stills(root)
        validation, training = split_stills(stills, "val"), split_stills(stills, "train")
        name = validation[0].set_name
        for label, predict in (
            (name, model_predictor(model)),
            (f"{name}/centre", centre_prior()),
            (f"{name}/mean", mean_density(training)),
        ):
            scores[label] = score_predictor(predict, validation)
            row = "  ".join(f"{metric} {scores[label][metric]:.3f}" for metric in METRICS)
            print(f"{label:16s} ({len(validation)} pictures)  {row}", flush=True)
    if arguments.embed:
        embed(arguments.model, arguments.embed, scores)
    return 0


def embed(model: str, folder: Path, scores: dict[str, dict[str, float]]) -> None:
    """Write the checkpoint into `folder` with `scores` in its card."""
    network, preprocess, card = checkpoints.read_checkpoint(model)
    protocol = (
        "validation split (md5 of set/image is 1 modulo 5), one frame from the zero state, at stimulus resolution, "
        f"density sigma {SIGMA_SHARE:.0%} of the longer side; SET/centre is a fixed Gaussian (sigma a quarter of "
        "each side), SET/mean the mean density of the set's training pictures"
    )
    card = dataclasses.replace(card, scores=scores, protocol=protocol)
    target = folder / f"{card.name}.safetensors"
    checkpoints.save_checkpoint(target, network, preprocess=preprocess, card=card)
    print(f"wrote {target}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
