"""The study of how many frames a model has to see."""

from __future__ import annotations

from pathlib import Path

import compare_seen
import numpy as np
import pytest
from made import make_model
from media import make_video, numbered_picture
from video_teacher import TaughtClip

from vidsal.decode import open_video
from vidsal.frames import SaliencyBatch
from vidsal.pipe.options import RecurrenceOptions
from vidsal.pipe.predict import predict


def test_maps_are_compared_where_the_teacher_saw_a_frame(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.mp4", frames=12, width=96, height=64, picture=numbered_picture(96, 64))
    model = make_model()
    with open_video(clip, size=model.preprocessor.frame_size) as reader:
        maps = SaliencyBatch.join(predict(reader, model, recurrence=RecurrenceOptions(every=1))).density.numpy()
    # The teacher's maps of every second frame are the model's own of all frames.
    below = np.log(maps[::2] / maps[::2].max((1, 2), keepdims=True))
    known = TaughtClip(np.clip(np.round(255 + 20 * below), 0, 255).astype(np.uint8), (0,), 0.08)
    rate, found = compare_seen.compare(clip, known, model, [1, 3], 10.0)
    assert rate == pytest.approx(25, rel=0.01)
    assert found[1]["kl"] < 1e-3 < found[3]["kl"] and found[1]["cc"] > found[3]["cc"]
