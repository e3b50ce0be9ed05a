"""The edges of the GPU: decoding, drawing and encoding on a device, and the way back where there is none.

Most of it runs without a GPU: a device that refuses is made by hand, one that works by handing frames over as a device
does (NV12, P010), and the CPU stands for a device that draws.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from av.error import InvalidDataError
from media import make_video
from test_sinks import made_batch, made_info, shown_times, sound

from vidsal.decode import DecodeOptions, open_video
from vidsal.decode import local as local_module
from vidsal.decode import pyav as pyav_module
from vidsal.decode.contract import MAX_CORRUPT_IN_A_ROW
from vidsal.errors import ConfigError, DecodeError, EncodeError
from vidsal.frames import FrameBatch, SaliencyBatch
from vidsal.render import RenderOptions, overlay, overlay_batch, to_yuv420
from vidsal.sinks import VideoOptions, VideoSink
from vidsal.sinks import device as device_module
from vidsal.sinks import options as options_module
from vidsal.sinks import video as video_module
from vidsal.sinks.device import DeviceDrawer

CPU = torch.device("cpu")


def read(source: Any, **options: Any) -> tuple[list[FrameBatch], list[str]]:
    """All batches with their full pictures, and what the report says."""
    with open_video(source, options=DecodeOptions(**options), size=(24, 32), keep_pictures=True) as reader:
        return list(reader), reader.report.messages


def assert_same(ours: list[FrameBatch], theirs: list[FrameBatch]) -> None:
    """The same frames at the same times, small and full pictures to the bit."""
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.pts_seconds, other.pts_seconds)
        assert (one.height, one.width) == (other.height, other.width)
        np.testing.assert_array_equal(one.frames, other.frames)
        for mine, yours in zip(one.pictures, other.pictures, strict=True):
            assert mine.pts == yours.pts
            np.testing.assert_array_equal(mine.rgb(), yours.rgb())


# --- decoding ---

real_open = av.open


class RefusedError(PermissionError):
    """What FFmpeg says of a GPU that is not there."""

    def __init__(self) -> None:
        super().__init__(1, "Operation not permitted")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Every opening of a source: the device that was asked for, all of which refuse."""
    openings: list[str | None] = []

    class Accelerator:
        def __init__(self, device_type: str, device: str | None, allow_software_fallback: bool) -> None:
            assert allow_software_fallback
            self.name = device_type if device is None else f"{device_type}/{device}"

        def create(self, codec: av.Codec) -> None:
            openings.append(f"{self.name} alone")
            raise RefusedError

    def opened(*arguments: Any, hwaccel: Accelerator | None = None, **options: Any) -> Any:
        openings.append(None if hwaccel is None else hwaccel.name)
        if hwaccel is not None:
            raise RefusedError
        return real_open(*arguments, **options)

    monkeypatch.setattr(pyav_module, "HWAccel", Accelerator)
    namespace = SimpleNamespace(open=opened, formats_available=av.formats_available)
    monkeypatch.setattr(local_module, "av", namespace)
    monkeypatch.setattr(pyav_module, "_DEVICE_FRAMES_ARE_WHOLE", True)
    monkeypatch.setattr(pyav_module, "hwdevices_available", lambda: ["drm", "vaapi", "cuda"])
    monkeypatch.setattr(pyav_module, "_device_formats", lambda codec: {"cuda": "cuda", "vaapi": "vaapi"})
    return openings


@pytest.fixture
def working(asked: list[str | None], monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """As `asked`, where vaapi works: frames come as a device hands them over."""
    refusing = local_module.av.open  # the one of `asked`
    decode = pyav_module.PyavReader._decode
    on_device: set[int] = set()

    def opened(*arguments: Any, hwaccel: Any = None, **options: Any) -> Any:
        if hwaccel is None or not hwaccel.name.startswith("vaapi"):
            return refusing(*arguments, hwaccel=hwaccel, **options)
        asked.append(hwaccel.name)
        container = real_open(*arguments, **options)
        on_device.add(id(container.streams.video[0].codec_context))
        return container

    def decoded(reader: pyav_module.PyavReader) -> Iterator[av.VideoFrame]:
        for frame in decode(reader):
            downloaded = "p010le" if "10" in frame.format.name else "nv12"
            yield frame.reformat(format=downloaded) if id(reader.codec_context) in on_device else frame

    monkeypatch.setattr(local_module.av, "open", opened)
    monkeypatch.setattr(pyav_module.PyavReader, "_decode", decoded)
    monkeypatch.setattr(pyav_module, "_in_hardware", lambda context: id(context) in on_device)
    return asked


def test_without_the_option_no_device_is_touched(tmp_path: Path, asked: list[str | None]) -> None:
    _, said = read(make_video(tmp_path / "a.mp4", frames=3))
    assert (asked, said) == ([None], [])


def test_a_device_that_refuses_gives_the_frames_of_software_and_one_sentence(
    tmp_path: Path, asked: list[str | None]
) -> None:
    source = make_video(tmp_path / "a.mp4", frames=10, bframes=2)
    ours, said = read(source, hwaccel="cuda")
    assert asked == ["cuda", None]
    assert said == ["decoded in software: cuda cannot be used (Operation not permitted)"]
    assert_same(ours, read(source)[0])


def test_auto_tries_the_devices_there_are_in_order_and_takes_the_first_that_works(
    tmp_path: Path, working: list[str | None]
) -> None:
    source = make_video(tmp_path / "a.mp4", frames=10, bframes=2)
    ours, said = read(source, hwaccel="auto")
    assert working == ["cuda", "vaapi"]
    assert said == ["decoded in hardware, by vaapi"]
    assert_same(ours, read(source)[0])


def test_auto_without_any_device_says_why_of_each(tmp_path: Path, asked: list[str | None]) -> None:
    _, said = read(make_video(tmp_path / "a.mp4", frames=2), hwaccel="auto")
    assert said == [
        "decoded in software: cuda cannot be used (Operation not permitted); "
        "vaapi cannot be used (Operation not permitted)"
    ]


def test_a_device_can_be_chosen_among_several(tmp_path: Path, asked: list[str | None]) -> None:
    source = make_video(tmp_path / "a.mp4", frames=2)
    read(source, hwaccel="cuda:1")
    read(source, hwaccel="vaapi:/dev/dri/renderD129")
    assert asked == ["cuda/1", None, "vaapi//dev/dri/renderD129", None]


@pytest.mark.parametrize(
    "made",
    [
        pytest.param({"rotation": 90}, id="turned"),
        pytest.param({"color_range": 2, "colorspace": 1}, id="full range"),
        pytest.param({"color_range": 1, "colorspace": 6}, id="601"),
        pytest.param({"height": 720, "width": 64}, id="untagged HD"),
        pytest.param({"codec": "libx265", "pix_fmt": "yuv420p10le"}, id="10 bits"),
    ],
)
def test_pictures_from_a_device_have_the_colours_and_the_turn_of_software(
    tmp_path: Path, working: list[str | None], made: dict[str, Any]
) -> None:
    if made.get("codec", "libx264") not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {made['codec']}")
    source = make_video(tmp_path / "a.mp4", frames=4, **made)
    ours, said = read(source, hwaccel="vaapi")
    assert said == ["decoded in hardware, by vaapi"]
    with open_video(source, options=DecodeOptions(hwaccel="vaapi")) as reader:
        assert reader.info.pix_fmt == ("p010le" if "pix_fmt" in made else "nv12")
    assert_same(ours, read(source)[0])


def test_a_part_of_a_video_is_the_same_from_a_device(tmp_path: Path, working: list[str | None]) -> None:
    source = make_video(tmp_path / "a.mp4", frames=40, bframes=2)
    part = {"start_seconds": 0.7, "end_seconds": 1.2}
    assert_same(read(source, hwaccel="vaapi", **part)[0], read(source, **part)[0])


def test_a_stream_that_the_device_does_not_decode_is_read_again_in_software_with_its_threads(
    tmp_path: Path, working: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyav_module, "_in_hardware", lambda context: False)
    _, said = read(make_video(tmp_path / "a.mp4", frames=2), hwaccel="vaapi")
    assert working == ["vaapi", None]
    assert said == ["decoded in software: vaapi cannot be used (it does not decode this h264 stream)"]


def test_a_pipe_is_opened_once_after_the_device_has_shown_that_it_is_there(
    tmp_path: Path, asked: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_video(tmp_path / "a.mkv", frames=5)
    with source.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", type("Input", (), {"buffer": file, "isatty": lambda self: False})())
        batches, said = read("-", hwaccel="cuda")
    assert sum(map(len, batches)) == 5
    assert asked == ["cuda alone", None]
    assert said == ["decoded in software: cuda cannot be used (Operation not permitted)"]


def test_a_device_that_fails_over_and_over_names_itself_as_a_way_out(
    tmp_path: Path, working: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_video(tmp_path / "a.mp4", frames=2)
    with (
        open_video(source, options=DecodeOptions(hwaccel="vaapi")) as reader,
        pytest.raises(DecodeError, match=r"too damaged.*or read it without hwaccel=vaapi"),
    ):
        for _ in range(MAX_CORRUPT_IN_A_ROW + 1):
            reader._count_corrupt()


def test_a_source_that_is_no_video_is_said_to_be_none_with_a_device_too(
    tmp_path: Path, asked: list[str | None]
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video at all" * 100)
    with pytest.raises(DecodeError, match="is not a video") as caught:
        open_video(path, options=DecodeOptions(hwaccel="cuda"))
    assert isinstance(caught.value.__cause__, InvalidDataError)


@pytest.mark.parametrize(
    ("hwaccel", "reason"),
    [
        ("videotoolbox", "this build of FFmpeg has only drm, vaapi, cuda"),
        ("drm", "the decoders of this build of FFmpeg do not work on it"),
    ],
)
def test_a_device_that_ffmpeg_does_not_have_is_not_tried(
    tmp_path: Path, asked: list[str | None], hwaccel: str, reason: str
) -> None:
    _, said = read(make_video(tmp_path / "a.mp4", frames=2), hwaccel=hwaccel)
    assert asked == [None]
    assert said == [f"decoded in software: {hwaccel} cannot be used ({reason})"]


def test_a_pyav_that_loses_what_belongs_to_a_frame_decodes_in_software(
    tmp_path: Path, working: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyav_module, "_DEVICE_FRAMES_ARE_WHOLE", False)
    _, said = read(make_video(tmp_path / "a.mp4", frames=2), hwaccel="vaapi")
    assert working == [None]
    assert "needs PyAV 18" in said[0]


@pytest.mark.parametrize("wrong", ["gpu", "none:1", "auto:0", "cuda:", "cuda:first", ""])
def test_a_device_nobody_knows_is_an_error_that_lists_the_known(wrong: str) -> None:
    with pytest.raises(ConfigError, match="cuda"):
        DecodeOptions(hwaccel=wrong)


@pytest.mark.parametrize("decoder", ["decord", "opencv"])
def test_other_decoders_take_no_device(decoder: Any) -> None:
    with pytest.raises(ConfigError, match=f"needs the pyav decoder, got decoder={decoder}"):
        DecodeOptions(hwaccel="cuda", decoder=decoder)


def test_an_image_says_that_no_device_is_of_use(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24").save(str(path))
    _, said = read(path, hwaccel="auto")
    assert said == ["hwaccel=auto does nothing here: it is for videos and addresses"]


@pytest.mark.parametrize("hwaccel", ["auto", "cuda"])
def test_whatever_this_machine_has_the_frames_are_those_of_software(tmp_path: Path, hwaccel: str) -> None:
    source = make_video(tmp_path / "a.mp4", frames=12, width=256, height=192, bframes=2)
    ours, said = read(source, hwaccel=hwaccel)
    assert len(said) == 1
    assert said[0].startswith(("decoded in hardware, by ", "decoded in software: "))
    assert_same(ours, read(source)[0])


# --- drawing ---


def on_device(source: Path, target: Path, *, device: torch.device | None, **options: Any) -> VideoSink:
    """Runs a source through a VideoSink that draws on a device, which may be the CPU, or as ever (None)."""
    with open_video(source, options=DecodeOptions(batch_size=5), size=(12, 16), keep_pictures=True) as reader:
        sink = VideoSink(target, reader.info, video=VideoOptions(preset="ultrafast", crf=1), **options)
        if device is not None:
            sink._draw_on(device)
        with sink:
            for batch in reader:
                sink.write(varied(batch))
    return sink


def varied(batch: FrameBatch) -> SaliencyBatch:
    """Maps that differ from frame to frame, with a cut at every seventh."""
    log_density = torch.stack(
        [torch.randn(12, 16, generator=torch.Generator().manual_seed(int(i))) * 2 for i in batch.index]
    )
    shot = batch.index // 7
    return SaliencyBatch.of(
        batch,
        shot=shot,
        cut=(batch.index % 7 == 0) & (batch.index > 0),
        log_density=log_density.flatten(1).log_softmax(dim=1).view_as(log_density),
    )


def decoded(path: Path) -> npt.NDArray[np.uint8]:
    """(T, 3 * H / 2, W): the bytes of every frame, not converted."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray() for frame in container.decode(video=0)])


def signal_to_noise(ours: npt.NDArray[np.uint8], theirs: npt.NDArray[np.uint8]) -> float:
    """PSNR in decibels."""
    error = np.square(ours.astype(float) - theirs).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


@pytest.mark.parametrize(
    ("made", "options"),
    [
        pytest.param({"audio_tracks": 1, "bframes": 2}, {}, id="plain"),
        pytest.param({"width": 65, "height": 49, "pix_fmt": "yuv444p"}, {}, id="odd"),
        pytest.param({"colorspace": 1, "color_range": 2}, {}, id="709 full range"),
        pytest.param({"pts": [0, 900, 9000, 9900, 30000, 30900, 33000, 40000]}, {}, id="uneven"),
        pytest.param({"rotation": 270}, {"render": RenderOptions(side_by_side=True, scale=4.0)}, id="side by side"),
    ],
)
def test_a_video_drawn_on_a_device_is_the_one_drawn_beside_it(
    tmp_path: Path, made: dict[str, Any], options: dict[str, Any]
) -> None:
    frames = len(made["pts"]) if "pts" in made else 16
    source = make_video(tmp_path / "in.mp4", **({"frames": frames, "width": 96, "height": 64} | made))
    ours = on_device(source, tmp_path / "device.mp4", device=CPU, **options)
    theirs = on_device(source, tmp_path / "beside.mp4", device=None, **options)
    assert ours.messages == theirs.messages
    assert shown_times(ours.path) == shown_times(theirs.path)
    for path in (ours.path, theirs.path):
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            assert int(frame.color_range) == made.get("color_range", 1)
            assert int(frame.colorspace) == made.get("colorspace", 6)
    if "audio_tracks" in made:
        assert sound(ours.path) == sound(theirs.path)
    assert signal_to_noise(decoded(ours.path), decoded(theirs.path)) > 45


def test_a_frame_drawn_under_another_map_would_fail_the_comparison(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=8, width=96, height=64)
    drawn = decoded(on_device(source, tmp_path / "out.mp4", device=None).path)
    assert signal_to_noise(drawn[1:], drawn[:-1]) < 35


def test_batches_larger_than_a_copy_are_drawn_in_turns_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_video(tmp_path / "in.mp4", frames=12, width=96, height=64)
    whole = on_device(source, tmp_path / "whole.mp4", device=CPU)
    monkeypatch.setattr(device_module, "MAX_PIXELS_AT_ONCE", 2 * 96 * 64)
    parts = on_device(source, tmp_path / "parts.mp4", device=CPU)
    np.testing.assert_array_equal(decoded(parts.path), decoded(whole.path))


def test_a_device_without_memory_leaves_the_rest_to_the_processor_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_video(tmp_path / "in.mp4", frames=16, width=96, height=64)
    theirs = on_device(source, tmp_path / "beside.mp4", device=None)
    draw = DeviceDrawer.draw
    drawn = 0

    def failing(drawer: DeviceDrawer, *arguments: Any) -> Iterator[npt.NDArray[np.uint8]]:
        nonlocal drawn
        for planes in draw(drawer, *arguments):
            if drawn == 8:  # in the middle of the second batch, and of a shot
                raise torch.OutOfMemoryError("CUDA out of memory")
            drawn += 1
            yield planes

    monkeypatch.setattr(DeviceDrawer, "draw", failing)
    ours = on_device(source, tmp_path / "device.mp4", device=CPU)
    assert ours.messages == ["drawn on the CPU: the GPU has no memory left for it"]
    assert shown_times(ours.path) == shown_times(source)
    assert signal_to_noise(decoded(ours.path), decoded(theirs.path)) > 45


def drawer_on(device: torch.device, *, size: tuple[int, int] = (48, 64)) -> DeviceDrawer:
    return DeviceDrawer(device, render=RenderOptions(), size=size, colorspace=1, full_range=False)


def test_pictures_of_several_sizes_in_one_batch_are_refused_between_batches_they_are_not() -> None:
    one, other = made_batch([0.0], size=(48, 64)), made_batch([0.04], size=(46, 64))
    drawer, scales = drawer_on(CPU), [6.0, 6.0]
    log_density = torch.cat([one.log_density, other.log_density])
    with pytest.raises(ValueError, match="one size"):
        list(drawer.draw(one.pictures + other.pictures, log_density, scales))
    for size, batch in (((48, 64), one), ((46, 64), other), ((48, 64), one)):
        drawer = drawer_on(CPU, size=size)
        assert next(drawer.draw(batch.pictures, batch.log_density, scales[:1])).shape == (size[0] * 3 // 2, 64)


def test_only_a_cuda_device_draws(tmp_path: Path) -> None:
    for i, device in enumerate([None, CPU, torch.device("mps")]):
        sink = VideoSink(tmp_path / f"{i}.mp4", made_info(), device=device)
        assert sink._drawer is None


# --- encoding ---


@pytest.mark.parametrize(
    ("tried", "said"),
    [
        ("no_such_nvenc", "encoded by libx264: no_such_nvenc cannot be used here (it is not in this build of FFmpeg)"),
        ("h264_v4l2m2m", "encoded by libx264: h264_v4l2m2m cannot be used here ("),
    ],
)
def test_an_automatic_encoder_is_libx264_where_the_device_encodes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: str, said: str
) -> None:
    monkeypatch.setattr(video_module, "_AUTO_HARDWARE", tried)
    # No device takes pictures this narrow.
    sink = VideoSink(tmp_path / "out.mp4", made_info(height=2, width=2), video=VideoOptions(encoder="auto"))
    assert len(sink.messages) == 1
    assert sink.messages[0].startswith(said)
    with sink:
        sink.write(made_batch([0.0, 0.04], size=(2, 2)))
    with av.open(str(sink.path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    assert shown_times(sink.path) == [0, Fraction(1, 25)]


def test_an_automatic_encoder_is_the_one_of_the_device_where_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_module, "_AUTO_HARDWARE", "mpeg4")
    with VideoSink(
        tmp_path / "out.mp4", made_info(time_base=Fraction(1, 1000)), video=VideoOptions(encoder="auto")
    ) as sink:
        sink.write(made_batch([0.0, 0.04]))
    assert sink.messages == ["encoded by mpeg4"]
    with av.open(str(sink.path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


def test_an_automatic_encoder_knows_the_presets_of_libx264_in_the_words_of_nvenc() -> None:
    for preset in options_module._presets("auto"):
        VideoOptions(encoder="auto", preset=preset)
        VideoOptions(encoder="libx264", preset=preset)
        VideoOptions(encoder="h264_nvenc", preset=options_module.NVENC_FOR_X26[preset])
    with pytest.raises(ConfigError, match="auto does not take the preset 'p4'"):
        VideoOptions(encoder="auto", preset="p4")


def test_a_device_that_is_asked_for_by_name_is_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="h264_nvenc"):
        VideoSink(tmp_path / "out.mp4", made_info(height=2, width=2), video=VideoOptions(encoder="h264_nvenc"))


# --- with a GPU ---

without_waiting = pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature")


@pytest.fixture
def forbid_waiting() -> Iterator[Callable[[], None]]:
    """Call it, and from then on any hidden wait for the GPU is an error."""
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


def gpu_batch() -> SaliencyBatch:
    batch = made_batch([i / 25 for i in range(6)])
    maps = torch.randn(6, 12, 16, generator=torch.Generator().manual_seed(0)) * 2
    return dataclasses.replace(
        batch,
        shot=np.array([0, 0, 1, 1, 1, 2]),
        cut=np.array([False, False, True, False, False, True]),
        log_density=maps.flatten(1).log_softmax(dim=1).view_as(maps).cuda(),
    )


@pytest.mark.gpu
def test_a_gpu_draws_and_converts_as_the_processor_does() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 121, 163, 3), dtype=np.uint8)
    maps = rng.random((3, 17, 23)).astype(np.float32) ** 6
    densities = maps / maps.sum(axis=(1, 2), keepdims=True)
    scales = [2.0, 6.0, 20.0]
    got = overlay_batch(torch.from_numpy(pictures).cuda(), torch.from_numpy(densities).cuda(), scale=scales)
    ours = [overlay(*one[:2], scale=one[2]) for one in zip(pictures, densities, scales, strict=True)]
    assert np.abs(got.cpu().numpy().astype(int) - ours).max() <= 1
    even = torch.from_numpy(pictures[:, :120, :162])
    for full in (False, True):
        planes = to_yuv420(even.cuda(), colorspace=1, full_range=full).cpu().int()
        assert (planes - to_yuv420(even, colorspace=1, full_range=full).int()).abs().max() <= 1


@pytest.mark.gpu
@without_waiting
def test_drawing_on_a_gpu_waits_for_nothing_but_the_copy_down(forbid_waiting: Callable[[], None]) -> None:
    sink_scales = video_module.DisplayScale()
    batch, drawer = gpu_batch(), drawer_on(torch.device("cuda"))
    list(drawer.draw(batch.pictures, batch.log_density, sink_scales.update(batch)))  # buffers and palette
    torch.cuda.synchronize()
    forbid_waiting()
    for _ in range(3):
        scales = sink_scales.update(batch)
        got = [planes.copy() for planes in drawer.draw(batch.pictures, batch.log_density, scales)]
    torch.cuda.set_sync_debug_mode("default")
    ours = list(drawer_on(CPU).draw(batch.pictures, batch.log_density.cpu(), scales))
    # The processor's yield one buffer, overwritten batch by batch: it holds one batch here.
    assert np.abs(np.stack(got).astype(int) - np.stack(ours)).max() <= 1


@pytest.mark.gpu
def test_a_video_drawn_on_a_gpu_is_the_one_drawn_beside_it(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=16, width=96, height=64, audio_tracks=1)
    ours = on_device(source, tmp_path / "gpu.mp4", device=torch.device("cuda"))
    theirs = on_device(source, tmp_path / "beside.mp4", device=None)
    assert (ours.messages, shown_times(ours.path)) == (theirs.messages, shown_times(theirs.path))
    assert sound(ours.path) == sound(theirs.path)
    assert signal_to_noise(decoded(ours.path), decoded(theirs.path)) > 45


@pytest.mark.gpu
def test_an_automatic_encoder_writes_h264_on_a_machine_with_a_gpu(tmp_path: Path) -> None:
    """By NVENC, which GPUs for data centres do not have, or libx264."""
    info = made_info(height=256, width=320)
    with VideoSink(tmp_path / "out.mp4", info, video=VideoOptions(encoder="auto")) as sink:
        sink.write(made_batch([0.0, 0.04], size=(256, 320)))
    assert sink.messages[0].startswith("encoded by ")
    with av.open(str(sink.path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
