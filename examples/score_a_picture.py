"""A picture and where people looked (x,y in pixels, one row a fixation, a header) in; scores of the model out.

python examples/score_a_picture.py PICTURE FIXATIONS.csv [MODEL]
"""

import sys

import cv2
import numpy as np
import torch

from vidsal import open_video, predict
from vidsal.data.layouts import Fixations
from vidsal.metrics import ScoreMeter
from vidsal.model.baselines import CentrePrior


def main(picture: str, fixations: str, model: str = "sam-lite") -> None:
    with open_video(picture) as reader:
        (batch,) = reader
    points = np.loadtxt(fixations, np.float32, delimiter=",", skiprows=1, ndmin=2)
    seen = Fixations.on_picture(points, height=batch.height, width=batch.width)
    (ours,) = predict([batch], model)
    large = cv2.resize(ours.density[0].numpy(), (batch.width, batch.height), interpolation=cv2.INTER_LINEAR)
    # People look at the middle of most pictures: a score means something beside this one.
    centre = CentrePrior().predict(batch.frames)[0]
    scores = []
    for saliency in (large, centre):
        meter = ScoreMeter()
        meter.update(*(torch.from_numpy(one)[None] for one in (saliency, seen.density(), seen.counts())))
        scores.append(meter.mean())
    for metric, value in scores[0].items():
        print(f"{metric:<10} {value:8.3f}   centre prior {scores[1][metric]:8.3f}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python examples/score_a_picture.py PICTURE FIXATIONS.csv [MODEL]")
    main(*sys.argv[1:])
