"""Make one deliberate error after the other in SAM and show that the comparison with the reference sees each.

    python tests/sabotage_published.py [--network sam-resnet|sam-vgg]

Runs the whole network on a small picture with random weights, once as it is and once with each error of
`tests/published_parity.py`, and prints the first stage that leaves the reference. Exits with 1 if an error goes unseen
or the network as it is does not agree.
"""

from __future__ import annotations

import argparse
import os
import sys

# libgomp reads these once, when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from published_parity import SABOTAGES, compare, small_case, small_subject


def main() -> int:
    """Try all errors and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("sam-resnet", "sam-vgg"), help="default: both")
    wanted = parser.parse_args().network
    unseen = 0
    print("| network | error | first stage that differs | by (of the largest value) | seen |\n|---|---|---|---|---|")
    for network in ("sam-resnet", "sam-vgg"):
        if wanted not in (None, network):
            continue
        _, expected = small_case(network)
        subject = small_subject(network)
        clean = compare(subject, expected)
        if clean is not None:
            print(f"{network} does not agree with the reference as it is: {clean}", file=sys.stderr)
            return 1
        print(f"| {network} | none | none | | |")
        for sabotage in SABOTAGES:
            if network not in sabotage.networks:
                continue
            with sabotage.apply(subject):
                found = compare(subject, expected)
            unseen += found is None
            place = ("none", "", "NO") if found is None else (found.stage, f"{found.error:.2g}", "yes")
            print(f"| {network} | {sabotage.name} | {' | '.join(place)} |", flush=True)
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
