"""How much likelier an estimated centre bias makes fixations than Clarke and Tatler's; prints a table.

    python studies/measure_centre_bias.py DATA/osie DATA/eyecrowd ... [--write-docs]

DATA are folders in the simple layout. Of each, the bias is estimated from the fixations on the training pictures as
`vidsal train --centre-bias fixations` does. Bits are those by which a fixation on a validation picture is likelier than
on an even map, in the mean over all fixations, each bias at the size of its picture.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from pages import fill_parts

from vidsal.data.layouts import LabelledSequence
from vidsal.data.layouts.videos import tiny
from vidsal.errors import DatasetError, VidsalError
from vidsal.model.networks.parts import centre_bias, scaled_bias
from vidsal.train import TrainConfig
from vidsal.train.centre_bias import estimate_centre_bias
from vidsal.train.samples import open_data

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "models.md"
HEAD = (
    "| set | training pictures | width | spread evenly | bits, estimated | bits, Clarke and Tatler |\n"
    "|---|--:|--:|--:|--:|--:|"
)
CPU = torch.device("cpu")


def main(arguments: Sequence[str] | None = None) -> int:
    """Estimate, print, write the page where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--write-docs", action="store_true")
    given = parser.parse_args(arguments)
    table = "\n".join([HEAD, *map(row, given.sets)])
    print(table)
    if given.write_docs:
        fill_parts(PAGE, {"centre-bias": table})
    return 0


def row(root: Path) -> str:
    """What there is to say of one set."""
    data = open_data(TrainConfig(output=Path(), datasets=(root,)))
    estimate = estimate_centre_bias(data)
    own = torch.from_numpy(estimate.log_density)
    (one,) = data.stills
    bits = (
        mean_bits(one.validation, lambda rows, columns: scaled_bias(own, rows, columns)),
        mean_bits(one.validation, lambda rows, columns: centre_bias(rows, columns, device=CPU)),
    )
    return (
        f"| {one.name} | {len(one.training)} | {estimate.width:.1%} | {estimate.even:.2%} "
        f"| {bits[0]:.2f} | {bits[1]:.2f} |"
    )


def mean_bits(stills: Sequence[LabelledSequence], bias: Callable[[int, int], torch.Tensor]) -> float:
    """Over all fixations on the pictures, log2 of the density there over that of an even one.

    Raises:
        DatasetError: there are no fixations.
    """
    total, count = 0.0, 0
    for still in stills:
        seen = still.first_frame(size=tiny).fixations()
        if seen is not None and len(seen.points):
            counts = torch.from_numpy(seen.counts())
            density = bias(seen.height, seen.width).double()
            total += float((counts * (density + math.log(density.numel()))).sum())
            count += int(counts.sum())
    if not count:
        raise DatasetError("no validation picture has fixations")
    return total / count / math.log(2)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VidsalError as error:
        sys.exit(f"error: {error}")
