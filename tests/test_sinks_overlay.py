"""What is drawn alone, with transparency: laid over the source by a compositor it is the overlaid video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from media import make_video

from vidsal.cli import main
from vidsal.decode import open_video
from vidsal.errors import ConfigError, EncodeError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.render import RenderOptions, compose, layers_of
from vidsal.sinks import ImageSink, OverlaySink, VideoOptions

RENDER = RenderOptions(scale=8.0, overlay_only=True, legend="off")
CODERS: dict[str, tuple[str, VideoOptions, str]] = {
    "prores": ("a.mov", VideoOptions(), "prores"),
    "prores-for-mp4": ("a.mp4", VideoOptions(), "prores"),
    "ffv1": ("a.mkv", VideoOptions(), "ffv1"),
    "qtrle": ("a.mov", VideoOptions(encoder="qtrle"), "qtrle"),
    "vp9": ("a.mkv", VideoOptions(encoder="libvpx-vp9", crf=4), "vp9"),
}


def densities(frames: FrameBatch) -> SaliencyBatch:
    """A blob that moves to the right."""
    y, x = np.mgrid[:12, :16].astype(np.float64)
    maps = np.stack([np.exp(-((x - 2 - 1.5 * index) ** 2 + (y - 5) ** 2) / 6) + 1e-4 for index in frames.index])
    log = np.log(maps / maps.sum(axis=(1, 2), keepdims=True))
    shot, cut = np.zeros(len(frames), np.int64), np.zeros(len(frames), bool)
    return SaliencyBatch.of(frames, shot=shot, cut=cut, log_density=torch.from_numpy(log).float())


def written(source: Path, target: Path, **options: Any) -> OverlaySink:
    with open_video(source, keep_pictures=True) as reader:
        sink = OverlaySink(target, reader.info, render=options.pop("render", RENDER), **options)
        with sink:
            for batch in reader:
                sink.write(densities(batch))
    return sink


def decoded(path: Path) -> list[tuple[Fraction, npt.NDArray[np.uint8]]]:
    """Time and RGBA of each frame; FFmpeg's own VP9 decoder does not know alpha, libvpx's does."""
    found = []
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        coder = stream.codec_context
        if coder.name == "vp9":
            coder = av.CodecContext.create("libvpx-vp9", "r")
        for packet in file.demux(stream):
            for frame in coder.decode(packet if packet.size else None):
                seconds = Fraction(frame.pts) * (frame.time_base or packet.time_base)
                found.append((seconds, frame.to_ndarray(format="rgba")))
    return found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("overlay") / "clip.mp4"
    # Not evenly spaced, with sound.
    make_video(path, frames=5, width=64, height=48, rate=25, pts=[0, 1, 3, 4, 7], audio_tracks=1)
    return path


@pytest.mark.parametrize("name", CODERS)
def test_laid_over_the_source_it_is_the_overlaid_video_at_the_same_times(name: str, clip: Path, tmp_path: Path) -> None:
    file, video, codec = CODERS[name]
    sink = written(clip, tmp_path / file, video=video)
    assert sink.path.name == file.replace(".mp4", ".mov") and sink.path.is_file()
    with av.open(str(sink.path)) as result:
        assert [stream.type for stream in result.streams] == ["video"]
        assert result.streams.video[0].codec_context.codec.canonical_name == codec
    frames = decoded(sink.path)
    with open_video(clip, keep_pictures=True) as reader:
        batches = [one for batch in reader for one in batch]
    assert [round(float(seconds), 3) for seconds, _ in frames] == [
        round(float(one.pts_seconds[0]), 3) for one in batches
    ]
    for (_, rgba), one in zip(frames, batches, strict=True):
        picture, density = one.pictures[0].rgb(), densities(one).density[0].numpy()
        expected = compose(picture, layers_of(density, height=48, width=64, scale=8.0, options=RENDER))
        alpha = rgba[..., 3:].astype(np.float64) / 255
        over = rgba[..., :3] * alpha + picture * (1 - alpha)
        assert np.abs(over - expected).mean() < 2.5 and np.percentile(np.abs(over - expected), 99) < 20
        assert alpha.min() < 0.02 and 0.5 < alpha.max() < 0.7


def test_the_heat_moves_with_the_frames(clip: Path, tmp_path: Path) -> None:
    frames = decoded(written(clip, tmp_path / "a.mov").path)
    columns = np.arange(64) + 0.5
    centres = [float((rgba[..., 3].sum(axis=0) * columns).sum() / rgba[..., 3].sum()) for _, rgba in frames]
    # 1.5 cells of 4 pixels a frame, from 2.5 cells on.
    np.testing.assert_allclose(centres, 10 + 6 * np.arange(5), atol=2)


def test_an_mp4_becomes_a_mov_and_that_is_said(clip: Path, tmp_path: Path) -> None:
    assert (
        "a.mov is written instead of a.mp4, which cannot be transparent" in written(clip, tmp_path / "a.mp4").messages
    )


def test_encoders_without_transparency_and_what_cannot_be_both_are_refused(clip: Path, tmp_path: Path) -> None:
    with open_video(clip) as reader:
        info = reader.info
    for encoder in ("mpeg4", "dnxhd", "libx264"):
        with pytest.raises(ConfigError, match="has no transparency: use encoder=prores_ks"):
            OverlaySink(tmp_path / "a.mov", info, video=VideoOptions(encoder=encoder), render=RENDER)
    with pytest.raises(EncodeError, match=r"a \.mov file cannot hold: take container=mkv, or"):
        OverlaySink(tmp_path / "a.mov", info, video=VideoOptions(encoder="libvpx-vp9"), render=RENDER)
    with pytest.raises(ConfigError, match="exclude each other"):
        RenderOptions(overlay_only=True, side_by_side=True)
    with pytest.raises(ConfigError, match=r"needs a \.png"):
        ImageSink(tmp_path / "a.jpg", render=RENDER)


def test_a_time_code_is_kept(tmp_path: Path) -> None:
    clip = tmp_path / "in.mov"
    make_video(clip, frames=3, width=50, height=30, rate=25, metadata={"timecode": "01:00:00:00"})
    sink = written(clip, tmp_path / "a.mov")
    with av.open(str(sink.path)) as result:
        stream = result.streams.video[0]
        tags = {**result.metadata, **{k: v for one in result.streams for k, v in one.metadata.items()}}
        assert (stream.width, stream.height) == (50, 30) and tags.get("timecode") == "01:00:00:00"


def test_a_picture_becomes_a_transparent_png(tmp_path: Path) -> None:
    picture = tmp_path / "in.png"
    cv2.imwrite(str(picture), np.full((48, 64, 3), 90, np.uint8))
    with open_video(picture, keep_pictures=True) as reader:
        (batch,) = list(reader)
    with ImageSink(tmp_path / "out.png", render=RENDER) as sink:
        sink.write(densities(batch))
    drawn = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert drawn.shape == (48, 64, 4) and drawn[..., 3].min() == 0 and drawn[..., 3].max() > 100


def test_the_command_writes_it_and_another_look_is_another_result(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(clip), "-o", str(tmp_path), "--every", "5", "--overlay-only"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out.split()[0] == str(tmp_path / "clip.vidsal.mov") and "which cannot be transparent" in err
    assert len(decoded(tmp_path / "clip.vidsal.mov")) == 5
    assert main([*words, "--existing", "skip"]) == 0
    assert main([*words[:-1], "--container", "mov", "--existing", "skip"]) == 3
