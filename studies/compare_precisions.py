"""How far maps in bfloat16 are from those in float32, through the whole pipe: the least and the mean CC of each clip.

    python studies/compare_precisions.py CLIP [CLIP ...] [--model sam-lite] [--seconds 3] [--least 0.999]

Both predict the same frames with the defaults of `vidsal run`. The exit status is 1 where the CC of some frame is below
`--least`: on such a processor `--precision auto` should then not take bfloat16.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from vidsal.decode import DecodeOptions, open_video
from vidsal.frames import SaliencyBatch
from vidsal.metrics.functional import cc
from vidsal.model.checkpoint import load_model
from vidsal.model.inference import multiplies_bfloat16
from vidsal.pipe.options import RecurrenceOptions
from vidsal.pipe.predict import predict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--model", default="sam-lite", help="preset or checkpoint (default: sam-lite)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length that is read of each clip (default: 3)")
    parser.add_argument("--least", type=float, default=0.999, help="CC that every frame has to reach (default: 0.999)")
    given = parser.parse_args()
    models = [load_model(given.model, device="cpu", precision=name) for name in ("fp32", "bf16")]
    print(f"bfloat16 {'is' if multiplies_bfloat16() else 'is NOT'} multiplied by this processor itself")
    every, all_frames = [], RecurrenceOptions(every=1)
    for clip in given.clips:
        size = models[0].preprocessor.frame_size
        with open_video(clip, options=DecodeOptions(end_seconds=given.seconds), size=size) as reader:
            frames = list(reader)
        exact, fast = (SaliencyBatch.join(predict(frames, model, recurrence=all_frames)).density for model in models)
        found = cc(fast, exact)
        every.append(found)
        print(f"{clip.name:40} {len(found):4d} frames, CC least {found.min():.6f}, mean {found.mean():.6f}", flush=True)
    together = torch.cat(every)
    print(f"all: {len(together)} frames, CC least {together.min():.6f}, mean {together.mean():.6f}")
    return int(float(together.min()) < given.least)


if __name__ == "__main__":
    sys.exit(main())
