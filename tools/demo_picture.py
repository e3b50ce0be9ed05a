"""A video that `vidsal run` wrote in, four of its frames as one picture out: the one in the README.

make demo && python tools/demo_picture.py demo/bigbuckbunny.vidsal.mp4 docs/images/demo.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from vidsal import open_video

WIDTH = 1280
"""Of the picture, two frames wide."""
QUALITY = 88
"""Of the JPEG."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    with open_video(given.video) as reader:
        frames = np.concatenate([batch.frames for batch in reader])
        height = round(WIDTH / 2 * reader.info.height / reader.info.width)
    # In the middle of each quarter.
    chosen = [
        cv2.resize(frames[len(frames) * (2 * quarter + 1) // 8], (WIDTH // 2, height), interpolation=cv2.INTER_AREA)
        for quarter in range(4)
    ]
    picture = np.vstack([np.hstack(chosen[:2]), np.hstack(chosen[2:])])
    if not cv2.imwrite(str(given.picture), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY]):
        raise SystemExit(f"{given.picture} cannot be written")
    print(given.picture)


if __name__ == "__main__":
    main()
