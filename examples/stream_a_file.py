"""A video in; one line a frame out: time, shot, and the pixel where most people are expected to look.

python examples/stream_a_file.py VIDEO [MODEL]
"""

import sys

from vidsal import load_model, open_video, predict


def main(source: str, model_name: str = "sam-lite") -> None:
    model = load_model(model_name)
    # Asked for the model's frame size, the decoder makes small frames and never a full one.
    with open_video(source, size=model.preprocessor.frame_size) as reader:
        # Frames go in and densities come out a batch at a time, so memory does not grow with the video.
        for batch in predict(reader, model):
            rows, columns = batch.log_density.shape[1:]
            for i, seconds in enumerate(batch.pts_seconds):
                row, column = divmod(int(batch.log_density[i].argmax()), columns)
                x = (column + 0.5) * batch.width / columns - 0.5
                y = (row + 0.5) * batch.height / rows - 0.5
                print(f"{seconds:9.3f} s  shot {batch.shot[i]}  x {x:6.1f}  y {y:6.1f}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python examples/stream_a_file.py VIDEO [MODEL]")
    main(*sys.argv[1:])
