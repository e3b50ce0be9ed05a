"""Writes docs/reference/table.md, the columns of the table with their units, from the code that makes them.

python tools/write_table_docs.py
"""

from __future__ import annotations

from pathlib import Path

from vidsal.tracks import COLUMNS

TARGET = Path(__file__).parents[1] / "docs" / "reference" / "table.md"

HEAD = """# The table

One row a frame, in presentation order, with the same columns in .csv, .parquet and .jsonl. Pixels are those of the
upright picture at full size: the origin is top left, and the centre of the first pixel is at 0. An empty cell (null)
means that there is no such region.

| column | unit | meaning |
|---|---|---|
"""

FOOT = """
A region is a hill of the density around a local maximum. Regions are followed from frame to frame, so an id stays
with its hill until the next cut. The three regions are ordered by mass, and the order may change from frame to frame:
follow ids, not places in the row.

With `--start` the times stay those of the source: `pts_seconds` begins at about the start, and `index` at 0. The
video that is written begins at 0, with its sound in step.

## The raw maps

`--maps npz`: arrays `log_density` (N, h, w) float16, the natural log of the density, and `index`, `pts_seconds`,
`shot`, `height`, `width` (of the picture). `exp(log_density)` sums to 1 over (h, w), up to float16.

`--maps mkv`: FFV1, 16-bit grey, lossless. It has one frame for each frame of the input, with the same time. Value v
stands for the density v / 65535 * 256 relative to a uniform map: density = v / 65535 * 256 / (h * w). The scale is
absolute, the same for all frames and files; it is written into the container's metadata too.
"""


def render() -> str:
    """The whole page."""
    rows = [f"| `{name}` | {column.unit or '-'} | {column.meaning} |\n" for name, column in COLUMNS.items()]
    return HEAD + "".join(rows) + FOOT


if __name__ == "__main__":
    TARGET.write_text(render())
    print(TARGET)
