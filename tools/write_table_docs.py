"""Writes docs/reference/table.md and shots.md, the columns of the table and of the shot list, from the code.

python tools/write_table_docs.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vidsal.exports.shots import SHOT_COLUMNS
from vidsal.sinks.timecodes import TIMECODE_COLUMNS
from vidsal.tracks import COLUMNS, Column

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"

HEAD = """# The table

One row a frame, in presentation order, with the same columns in .csv, .parquet and .jsonl. Pixels are those of the
upright picture at full size: the origin is top left, and the centre of the first pixel is at 0. An empty cell (null)
means that there is no such region.

| column | unit | meaning |
|---|---|---|
"""

FOOT = """
The numbers are those of the map that is drawn: smoothed, and of a video as
[its viewers](../how-to/smoothing.md#viewers) look at it. So the first frames after a cut (0.18 s) have the peak, the
centroid and the regions of the map before the cut, although `shot` counts on. `--viewers off` gives rows of what each
frame shows.

Between two frames of a video that [the model saw](../how-to/state-and-lanes.md#which-frames-the-model-sees), rows are
those of interpolated maps, which are a little flatter. `--every 1` shows the model all frames.

A region is a hill of the density around a local maximum. Regions are followed from frame to frame, so an id stays
with its hill until the next cut. The three regions are ordered by mass, and the order may change from frame to frame:
follow ids, not places in the row.

A region's box holds all of its cells, which are those that reach half of the hill's height. It is in whole pixels
inside the picture: `picture[top : top + height, left : left + width]` cuts it out. The map is reduced to at most 48
cells a side for this, so a box moves and grows in steps of one such cell. Tables of earlier versions have no boxes; an
export that needs them says so.

With `--start` the times stay those of the source: `pts_seconds` begins at about the start, and `index` at 0. The
video that is written begins at 0, with its sound in step.

## The raw maps

`--maps npz`: arrays `log_density` (N, h, w) float16, the natural log of the density, and `index`, `pts_seconds`,
`shot`, `height`, `width` (of the picture). `exp(log_density)` sums to 1 over (h, w), up to float16.

`--maps mkv`: FFV1, 16-bit grey, lossless. It has one frame for each frame of the input, with the same time. Value v
stands for the density v / 65535 * 256 relative to a uniform map: density = v / 65535 * 256 / (h * w). The scale is
absolute, the same for all frames and files; it is written into the container's metadata too.
"""


SHOTS_HEAD = """# The shot list

`vidsal run --export shots` writes `NAME.vidsal.shots.csv`: one row a shot, in order, made of the rows of
[the table](table.md). Pixels are those of the upright picture at full size, as there. `vidsal.exports.ShotList` makes
the same rows from Python.

| column | unit | meaning |
|---|---|---|
"""

SHOTS_FOOT = """
**Means** are over time. A frame counts for as long as it is shown, so a variable frame rate needs no care. The last
frame is taken to be shown as long as the others are on average, but not after the end of the source, nor after `--end`.
The lengths of all shots add up to the `video_seconds` of [the record](results.md#the-record), which goes by the same
rule.

**Where eyes still rest.** Rows of the table just after a cut are those of the map before it, as
[viewers' gaze](../how-to/smoothing.md#viewers) stays for a moment. They count in their new shot: its `max_peak_density`
can be that of the shot before, and in a short shot the means lean towards it. `--viewers off` leaves that out.

**The key frame** is the one that stands for where people look in the shot. Each frame has a centroid and a spread, and
so have the medians of these over the shot. The distance between two of them is sqrt(dx² + dy² + dsx² + dsy²) in
pixels, where d is the difference, x and y are the centroid and sx and sy the spread: the 2-Wasserstein distance of the
Gaussians that have them. The frame at the smallest distance is taken; of several (a still shot), the one nearest to the
middle of the shot. In a shot of more than 8192 frames, at least 4096 of them, evenly spread, are looked at.

**The salient region's box** is that of the mean of the shot's maps over time: from one standard deviation before the
centroid to one after it, in columns and in rows, cut at the picture's border. For a Gaussian it holds 47 % of the mass.
It is in whole pixels: `picture[box_y : box_y + box_height, box_x : box_x + box_width]` cuts it out.

**Attention strength** ranks shots by how strongly they hold the eyes in one place:

    attention_strength = mean over time of (log2(cells) - entropy_bits)

It is the Kullback-Leibler divergence of a map from a flat one, in bits: 0 where nothing stands out, and one more for
each halving of the part of the picture that is looked at. At 3 bits, the map is as narrow as one that is flat on an
eighth of the picture and zero elsewhere. As a mean over time it depends neither on the length of the shot nor on the
frame rate. It says nothing about how often people look away from the screen.

A run that is stopped early leaves `NAME.vidsal.shots.partial.csv`; its last row is about the frames until then.
"""


def rows(columns: Mapping[str, Column]) -> str:
    """The rows of a table of columns."""
    return "".join(f"| `{name}` | {column.unit or '-'} | {column.meaning} |\n" for name, column in columns.items())


def render() -> dict[str, str]:
    """The pages by name, whole."""
    return {
        "table.md": HEAD + rows({**COLUMNS, **TIMECODE_COLUMNS}) + FOOT,
        "shots.md": SHOTS_HEAD + rows(SHOT_COLUMNS) + SHOTS_FOOT,
    }


if __name__ == "__main__":
    for name, page in render().items():
        (REFERENCE / name).write_text(page)
        print(REFERENCE / name)
