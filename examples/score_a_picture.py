"""A picture and where people looked (x,y in pixels, one row a fixation, a header) in; scores of the model out.

python examples/score_a_picture.py PICTURE FIXATIONS.csv [MODEL]
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from vidsal import load_model
from vidsal.data.fixations import Still
from vidsal.evaluate import centre_prior, score_predictor, score_stills


def main(picture: str, fixations: str, model_name: str = "sam-lite") -> None:
    height, width = cv2.imread(picture).shape[:2]
    points = np.loadtxt(fixations, np.float32, delimiter=",", skiprows=1, ndmin=2)
    path = Path(picture)
    still = Still(set_name="own", image=path.name, path=path, height=height, width=width, points=points)
    ours = score_stills(load_model(model_name), [still])
    # People look at the middle of most pictures: a score means something beside this one.
    centre = score_predictor(centre_prior(), [still])
    for metric, value in ours.items():
        print(f"{metric:<10} {value:8.3f}   centre prior {centre[metric]:8.3f}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python examples/score_a_picture.py PICTURE FIXATIONS.csv [MODEL]")
    main(*sys.argv[1:])
