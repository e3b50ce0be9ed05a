"""The network of DR(eye)VE: its branches worked out in NumPy, its history, its motion, its classes, its training."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import cv2
import h5py
import layout_fixtures as fixtures
import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.signal import convolve

from vidsal.cli import main
from vidsal.config import read_file, resolve
from vidsal.errors import CheckpointError, ConfigError
from vidsal.frames import FrameBatch
from vidsal.losses import map_loss
from vidsal.model.checkpoint import load_model, read_any_checkpoint
from vidsal.model.network import Part
from vidsal.model.networks.catalogue import build_network, without_weights
from vidsal.model.networks.config import NetworkConfig, branches_of
from vidsal.model.networks.dreyeve import Branch, Dreyeve, DreyeveState
from vidsal.model.networks.published import import_network
from vidsal.model.networks.segmentation import SegmentationModel, read_segmentation
from vidsal.model.options import BranchName
from vidsal.model.recurrent import Unroll
from vidsal.model.state import Memory
from vidsal.pipe.options import PredictOptions
from vidsal.pipe.predict import predict
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import LossOptions, ViewerOptions
from vidsal.train import TrainConfig, TrainProgress, train
from vidsal.train.run import part_loss

Array = npt.NDArray[np.float64]
THIN = 1 / 32
ALL: tuple[BranchName, ...] = ("image", "flow", "segmentation")


def onnx_file(path: Path, *, classes: int = 19, softmax: bool = False, size: tuple[int, int] | None = (32, 64)) -> Path:
    """A segmentation model: each class is a mixture of the colours of a pixel."""
    onnx = pytest.importorskip("onnx")
    rows, columns = size or ("rows", "columns")
    weight = np.random.default_rng(4).normal(size=(classes, 3, 1, 1)).astype(np.float32)
    nodes = [onnx.helper.make_node("Conv", ["pixels", "weight"], ["scores"], kernel_shape=[1, 1])]
    if softmax:
        nodes.append(onnx.helper.make_node("Softmax", ["scores"], ["shares"], axis=1))
    graph = onnx.helper.make_graph(
        nodes,
        "classes",
        [onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, [1, 3, rows, columns])],
        [onnx.helper.make_tensor_value_info("shares" if softmax else "scores", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def thin(branches: tuple[BranchName, ...] = ("image", "flow"), seed: int = 0, onnx: bytes = b"") -> Dreyeve:
    """With random weights, biases too, whose maps depend on all that they should depend on."""
    torch.manual_seed(seed)
    network = build_network(NetworkConfig("dreyeve", THIN, branches, len(onnx))).eval()
    assert isinstance(network, Dreyeve)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0, 0.1)
        if network.segmentation is not None:
            network.segmentation.onnx.copy_(torch.frombuffer(bytearray(onnx), dtype=torch.uint8))
    return network


def moving(times: int, seed: int = 1, streams: int = 1) -> torch.Tensor:
    """(B, T, 3, 64, 64) of 0 to 255 less the mean: something smooth that moves to the right, a pixel a frame."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(streams, 3, 9, 12, generator=generator)
    wide = torch.nn.functional.interpolate(coarse, size=(64, 96), mode="bicubic").clamp(0, 1) * 255
    mean = torch.tensor(Dreyeve.preprocess.mean).view(3, 1, 1)
    return torch.stack([wide[..., 31 - t % 31 : 95 - t % 31] for t in range(times)], 1) - mean


# Sizes.


def test_three_branches_have_the_parameters_of_the_published_file() -> None:
    network = without_weights(NetworkConfig("dreyeve", branches=ALL))
    assert sum(one.numel() for one in network.parameters()) == 40_578_441
    assert [sum(one.numel() for one in branch.parameters()) for branch in network.branches.values()] == [  # type: ignore[union-attr, operator]
        *(13_515_395, 13_515_395, 13_547_651)
    ]


# Stages, worked out again from the kernels as Theano stores them: truly convolved.


def truly(x: Array, kernels: Array, bias: Array) -> Array:
    """(c, ...) by a convolution that turns its kernels, zeros around it, as Theano does it."""
    padded = np.pad(x, ((0, 0), *[(1, 1)] * (x.ndim - 1)))
    sums = [sum(convolve(one, kernel, "valid") for one, kernel in zip(padded, row, strict=True)) for row in kernels]
    result: Array = np.stack(sums) + bias.reshape(-1, *[1] * (x.ndim - 1))
    return result


def largest(x: Array, pool: tuple[int, int, int]) -> Array:
    c, t, h, w = x.shape
    a, b, d = pool
    result: Array = x.reshape(c, t // a, a, h // b, b, w // d, d).max(axis=(2, 4, 6))
    return result


def enlarged(x: Array, ratio: int, shift: float = -0.5) -> Array:
    """Cell i on r i + r / 2 - 1, straight lines between, the edge goes on; a shift of 0 would be everybody else's."""
    for axis in (1, 2):
        cells = x.shape[axis]
        place = (np.arange(ratio * cells) - (ratio / 2 - 0.5 + shift)) / ratio
        x = np.apply_along_axis(lambda row, n=cells, at=place: np.interp(at, np.arange(n), row), axis, x)
    return x


POOLS = {"conv1": (1, 2, 2), "conv2": (2, 2, 2), "conv3b": (2, 2, 2), "conv4b": (4, 1, 1)}


def branch_stages(
    clip: Array, frame: Array, kernels: dict[str, tuple[Array, Array]], *, slope: float = 0.001, shift: float = -0.5
) -> dict[str, Array]:
    """From (c, 16, h, w) and (c, 4 h, 4 w)."""
    found: dict[str, Array] = {}
    x = clip
    for name in ("conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b"):
        x = found[name] = np.maximum(truly(x, *kernels[name]), 0)
        if name in POOLS:
            x = largest(x, POOLS[name])
    found["enlarged"] = enlarged(x[:, 0], 8, shift)
    found["coarse"] = np.maximum(truly(found["enlarged"], *kernels["coarse"]), 0)
    found["coarse_enlarged"] = enlarged(found["coarse"], 4, shift)
    x = found["joined"] = np.concatenate([found["coarse_enlarged"], frame])
    for number in (1, 2, 3):
        x = truly(x, *kernels[f"refine.{number - 1}"])
        x = found[f"refine{number}"] = np.where(x > 0, x, slope * x)
    found["fine"] = np.maximum(truly(x, *kernels["refine.3"]), 0)
    return found


def stored(branch: Branch) -> dict[str, tuple[Array, Array]]:
    """What Theano would have stored of these layers: kernels turned by half a turn, in time too."""
    found = {}
    for name, module in branch.named_modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d)):
            weight = np.flip(module.weight.detach().double().numpy(), tuple(range(2, module.weight.ndim)))
            found[name] = (weight, module.bias.detach().double().numpy())  # type: ignore[union-attr]
    return found


@functools.cache
def sample() -> tuple[Branch, Array, Array]:
    """A branch, a clip and its last frame."""
    network = thin(("image",), seed=2)
    random = np.random.default_rng(3)
    branch = network.branches["image"]
    assert isinstance(branch, Branch)
    with torch.no_grad():  # signs of both kinds everywhere, or a slope would not show
        for layer in branch.refine:
            layer.bias.normal_(std=0.5)
        branch.refine[-1].bias.fill_(1.0)
    return branch, random.normal(size=(3, 16, 16, 24)), random.normal(size=(3, 64, 96))


def differing(found: dict[str, Array]) -> list[str]:
    """Stages that are further off than 1e-4 of their own largest value, in order."""
    branch, clip, frame = sample()
    with torch.inference_mode():
        stages = branch.stages(*(torch.from_numpy(each).float()[None] for each in (clip, frame)))
    assert list(stages) == list(found)
    return [
        name
        for name, expected in found.items()
        if np.abs(stages[name][0].double().numpy() - expected).max() > 1e-4 * max(np.abs(expected).max(), 1e-6)
    ]


def test_every_stage_of_a_branch_is_that_of_the_description() -> None:
    branch, clip, frame = sample()
    found = branch_stages(clip, frame, stored(branch))
    assert differing(found) == []
    assert all(stage.std() > 1e-2 * np.abs(stage).max() for stage in found.values()), "of nothing all would agree"
    assert (found["refine1"] < 0).any()


def test_deliberate_errors_are_seen_where_they_are_made() -> None:
    branch, clip, frame = sample()
    kernels = stored(branch)
    # Kernels that are turned in the picture, but not in time.
    unturned = {n: (w[:, :, ::-1] if w.ndim == 5 else w, b) for n, (w, b) in kernels.items()}
    assert differing(branch_stages(clip, frame, unturned))[0] == "conv1"
    # Everybody else's enlargement, half a pixel off.
    assert differing(branch_stages(clip, frame, kernels, shift=0.0))[0] == "enlarged"
    # Another slope; the two kernels to one channel taken for one another.
    assert differing(branch_stages(clip, frame, kernels, slope=0.01))[0] == "refine1"
    assert differing(branch_stages(clip, frame, {**kernels, "coarse": kernels["crop"]}))[0] == "coarse"


# The published file.


def keras_file(path: Path, network: Dreyeve, **changed: np.ndarray) -> Path:
    """Its weights as Keras 1 saves them: models that are layers, whose arrays lie in one group, in no certain order."""
    with h5py.File(path, "w") as file:
        names = {"image": "image", "flow": "optical_flow", "segmentation": "segmentation"}
        layers = [f"{theirs}_saliency_branch" for theirs in names.values()]
        layers = ["image_fullframe", "flow_fullframe", "semseg_fullframe", *layers, "merge_fine_prediction"]
        file.attrs["layer_names"] = np.array(layers, "S")
        for layer in layers:
            file.create_group(layer).attrs["weight_names"] = []
        for number, (name, theirs) in enumerate(names.items(), start=1):
            arrays = {}
            for module, (weight, bias) in stored(network.branches[name]).items():  # type: ignore[arg-type]
                layer = {"coarse": f"convolution2d_{number}", "crop": f"{theirs}_crop_final_conv"}.get(module, module)
                if module.startswith("refine."):
                    layer = f"{theirs}_refine_conv{int(module[-1]) + 1}"
                arrays |= {f"{layer}_W": weight.astype(np.float32), f"{layer}_b": bias.astype(np.float32)}
            arrays |= {key.removeprefix(f"{name}__"): v for key, v in changed.items() if key.startswith(f"{name}__")}
            arrays = {key: value for key, value in sorted(arrays.items()) if value.size}
            group = file[f"{theirs}_saliency_branch"]
            group.attrs["weight_names"] = np.array([*arrays], "S")
            for key, value in arrays.items():
                group[key] = value
    return path


def test_the_published_file_becomes_the_network_that_theano_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = thin(ALL)
    file = keras_file(tmp_path / "dreyevenet_model_central_crop.h5", network)
    onnx = onnx_file(tmp_path / "classes.onnx")
    path = import_network(file, name="dreyeve", output=tmp_path / "out.safetensors", width=THIN, segmentation=onnx)
    read, preprocess, card = read_any_checkpoint(path)
    assert isinstance(read, Dreyeve) and read.config.branches == ALL and preprocess == Dreyeve.preprocess
    own = network.state_dict()
    assert {key: tuple(value.shape) for key, value in read.state_dict().items() if key in own} == {
        key: tuple(value.shape) for key, value in own.items()
    }
    assert all(torch.equal(value, read.state_dict()[key]) for key, value in own.items())
    assert any("classes.onnx, sha256 " in limit for limit in card.limits) and "DR(eye)VE" in card.description
    assert card.task == "driving"
    # What the segmentation model said goes with the checkpoint, which needs nothing else.
    onnx.unlink()
    assert main(["models", str(path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "branches image + flow + segmentation, with a segmentation model of 0.0 MB" in shown
    assert load_model(path, device="cpu")(moving(1))[0].shape == (1, 1, 64, 64)


def test_without_a_segmentation_model_the_branch_of_classes_is_left_out_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = keras_file(tmp_path / "model.h5", thin(ALL))
    path = import_network(file, name="dreyeve", output=tmp_path / "out.safetensors", width=THIN)
    read, _, card = read_any_checkpoint(path)
    assert isinstance(read, Dreyeve) and read.config.branches == ("image", "flow")
    assert any("branch of classes is left out" in limit for limit in card.limits)
    monkeypatch.setattr("vidsal.model.networks.published.import_network", lambda *_, **__: path)
    assert main(["weights", "import", str(file), "--as", "dreyeve", "-o", str(tmp_path / "b.safetensors")]) == 0
    assert "the branch of classes is left out" in capsys.readouterr().err
    wanted = ["weights", "import", str(file), "--segmentation", "none.onnx"]
    assert main(wanted) == 2 and main([*wanted, "--as", "salgan", "-o", str(tmp_path / "c.safetensors")]) == 2


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"image__conv3a_W": np.zeros(0)}, "conv3a_W of image_saliency_branch is missing"),
        ({"flow__convolution2d_2_W": np.zeros(0)}, "convolution2d_1_W of optical_flow_saliency_branch is missing"),
        ({"flow__conv9_W": np.zeros(3)}, "conv9_W of optical_flow_saliency_branch is left over"),
        ({"image__conv1_b": np.zeros(5)}, r"conv1_b of image_saliency_branch is \(5,\), expected \(2,\)"),
        ({"segmentation__conv1_b": np.full(2, np.nan)}, "conv1_b .* not finite|not finite"),
    ],
)
def test_a_file_of_another_network_is_refused_by_what_is_wrong(
    tmp_path: Path, changed: dict[str, np.ndarray], says: str
) -> None:
    changed = {name: value.astype(np.float32) for name, value in changed.items()}
    file = keras_file(tmp_path / "model.h5", thin(ALL), **changed)
    onnx = onnx_file(tmp_path / "classes.onnx")
    with pytest.raises(CheckpointError, match=says):
        import_network(file, name="dreyeve", output=tmp_path / "o.safetensors", width=THIN, segmentation=onnx)
    assert not (tmp_path / "o.safetensors").exists()


def test_links_to_other_files_pickles_and_other_layouts_are_refused(tmp_path: Path) -> None:
    file = keras_file(tmp_path / "model.h5", thin(ALL))
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04]")
    with h5py.File(keras_file(tmp_path / "link.h5", thin(ALL)), "a") as linked:
        del linked["image_saliency_branch"]["conv1_W"]
        linked["image_saliency_branch"]["conv1_W"] = h5py.ExternalLink("model.h5", "/image_saliency_branch/conv1_W")
    with h5py.File(keras_file(tmp_path / "two.h5", thin(ALL)), "a") as two:
        del two["segmentation_saliency_branch"]
        two.attrs["layer_names"] = np.array([n for n in two.attrs["layer_names"] if not n.startswith(b"segment")], "S")
    for name, says in {
        "model.pkl": "a pickle, which vidsal never opens",
        "link.h5": "is a link to another place",
        "two.h5": "segmentation_saliency_branch is missing",
    }.items():
        with pytest.raises(CheckpointError, match=says):
            import_network(tmp_path / name, name="dreyeve", output=tmp_path / "o.safetensors", width=THIN)
    with pytest.raises(CheckpointError, match="is for dreyeve, not for salgan"):
        import_network(file, name="salgan", output=tmp_path / "o.safetensors", segmentation=file)


# What is remembered.


@pytest.fixture
def onnx(tmp_path: Path) -> bytes:
    return read_segmentation(onnx_file(tmp_path / "classes.onnx"))


@pytest.mark.parametrize("sizes", [(1,) * 6, (4, 2), (3, 3)])
@torch.inference_mode()
def test_maps_do_not_depend_on_how_frames_are_grouped_into_calls(sizes: tuple[int, ...], onnx: bytes) -> None:
    network = thin(ALL, onnx=onnx)
    frames = moving(6, streams=2)
    fresh = [[t in begins for t in range(6)] for begins in ((0, 4), (0,))]
    whole, last = network(frames, unroll=Unroll.of(fresh, fresh_steps=1))
    torch.testing.assert_close(whole.exp().sum((2, 3)), torch.ones(2, 6))
    parts, state, start = [], None, 0
    for size in sizes:
        unroll = Unroll.of([row[start : start + size] for row in fresh], fresh_steps=1)
        part, state = network(frames[:, start : start + size], state, unroll=unroll)
        parts.append(part)
        start += size
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-4)
    assert isinstance(state, DreyeveState)
    for name in ("image", "flow", "segmentation", "grey"):
        torch.testing.assert_close(getattr(state, name), getattr(last, name), rtol=1e-4, atol=1e-4)
    # A video by itself, and one whose state was dropped.
    alone, _ = network(frames[1:])
    torch.testing.assert_close(alone[0], whole[1], rtol=1e-4, atol=1e-4)
    dropped, _ = network(frames[1:, 3:])
    assert (dropped[0] - whole[1, 3:]).abs().max() > 1e-2


@torch.inference_mode()
def test_sixteen_frames_are_seen_and_the_seventeenth_before_is_not() -> None:
    network = thin(("image",))
    frames = moving(18)
    maps, _ = network(frames)
    for place, seen in ((1, False), (2, True)):
        other = frames.clone()
        other[:, place] += 40
        changed, _ = network(other)
        assert bool((changed[0, -1] - maps[0, -1]).abs().max() > 1e-4) is seen, place


@torch.inference_mode()
def test_where_nothing_changes_maps_do_not_change(onnx: bytes) -> None:
    maps, _ = thin(ALL, onnx=onnx)(moving(1).expand(-1, 20, -1, -1, -1))
    torch.testing.assert_close(maps, maps[:, :1].expand_as(maps), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_side_by_side_with_a_longer_video_a_video_is_what_it_is_alone() -> None:
    network, frames = thin(), moving(4, streams=2)
    alone, after = network(frames[1:, :2])
    beside = Unroll.of([[True] + [False] * 3] * 2, fresh_steps=1, lengths=[4, 2])
    maps, state = network(frames, unroll=beside)
    torch.testing.assert_close(maps[1:, :2], alone, rtol=1e-4, atol=1e-4)
    # One that begins where another goes on: its row of zeros is not looked at.
    joined = DreyeveState.join([state.row(1), state.map(torch.zeros_like).row(0)])
    unroll = Unroll.of([[False, False], [True, False]], fresh_steps=1)
    both, _ = network(frames[[1, 0], 2:], joined, unroll=unroll)
    torch.testing.assert_close(both[:1], network(frames[1:, 2:], after)[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(both[1:], network(frames[:1, 2:])[0], rtol=1e-4, atol=1e-4)


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a DreyeveState, got a Memory"):
        thin()(moving(1), Memory.none(1))
    with pytest.raises(ValueError, match="multiples of 32"):
        thin()(moving(1)[..., :48])


@torch.inference_mode()
def test_each_branch_sees_its_own_input(onnx: bytes) -> None:
    """The whole is the sum: a branch alone, with the weights that it has there, gives its share."""
    network = thin(ALL, onnx=onnx)
    frames = moving(3)
    fine, _, _ = network._maps(frames, None, None, views=1)
    shares = []
    for name in ALL:
        alone = thin((name,), onnx=onnx if name == "segmentation" else b"")
        alone.load_state_dict({k: v for k, v in network.state_dict().items() if k in alone.state_dict()})
        shares.append(alone._maps(frames, None, None, views=1)[0])
    torch.testing.assert_close(sum(shares), fine)
    assert all(share.std() > 0 for share in shares)
    # A still picture that something is added to: to the motion it is the same.
    brighter, plain = (thin(("flow",))(moving(1) + add)[0] for add in (0, 20))
    torch.testing.assert_close(brighter, plain)


# Motion.


def flow_of(frames: torch.Tensor) -> torch.Tensor:
    """What the branch of motion sees last, (3, 16, 16) BGR."""
    _, state = thin(("flow",))(frames)
    found: torch.Tensor = state.flow[0, -1, 0]
    return found


@torch.inference_mode()
def test_motion_is_coloured_by_its_direction_less_the_mean_and_a_shots_first_frame_has_none() -> None:
    frames = moving(3)
    assert not flow_of(frames[:, :1]).any()
    # All moves to the right, which is red: less the mean not much is left of it.
    assert flow_of(frames).mean((1, 2)).abs().max() < 2
    # The left half moves to the right and the right half does not: there blue and green are missing, as in red.
    half = frames[:, :1].repeat(1, 3, 1, 1, 1)
    half[..., :32] = frames[..., :32]
    blue, green, red = flow_of(half)
    for channel in (blue, green):
        assert channel[4:12, 2:6].mean() < channel[4:12, 10:14].mean() - 60
    assert abs(float(red[4:12, 2:6].mean() - red[4:12, 10:14].mean())) < 30


@torch.inference_mode()
def test_a_mirrored_drive_has_the_colours_of_mirrored_motion_not_mirrored_colours() -> None:
    frames = moving(1).repeat(1, 3, 1, 1, 1)
    frames[..., :32] = moving(3)[..., :32]
    seen, of_mirrored = flow_of(frames), flow_of(frames.flip(-1))
    blue, _, red = of_mirrored
    # What moves is on the right now, and moves to the left: that has no red, but blue.
    assert red[4:12, 10:14].mean() < red[4:12, 2:6].mean() - 60
    assert abs(float(blue[4:12, 10:14].mean() - blue[4:12, 2:6].mean())) < 60
    assert (of_mirrored - seen.flip(-1)).abs().max() > 60


# Classes.


def test_the_branches_follow_from_what_is_named() -> None:
    assert branches_of(None, segmented=True) == ALL
    assert branches_of(("flow",), segmented=False) == ("flow",)
    for branches, segmented in ((ALL, False), (("image",), True)):
        with pytest.raises(ConfigError, match="need each other"):
            branches_of(branches, segmented=segmented)
    with pytest.raises(ConfigError, match="each once"):
        NetworkConfig("dreyeve", branches=("flow", "flow"))
    with pytest.raises(ConfigError, match="of dreyeve, not of salgan"):
        NetworkConfig("salgan", branches=("flow",))
    with pytest.raises(ConfigError, match="not among branches"):
        NetworkConfig("dreyeve", segmentation_bytes=3)
    with pytest.raises(CheckpointError, match="no segmentation model: name one"):
        thin(ALL)(moving(1))


@pytest.mark.parametrize("size", [(32, 64), None])
def test_scores_and_probabilities_are_the_same_classes(tmp_path: Path, size: tuple[int, int] | None) -> None:
    pictures = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(5)) * 255
    found = []
    for softmax in (False, True):
        content = read_segmentation(onnx_file(tmp_path / "classes.onnx", softmax=softmax, size=size))
        model = SegmentationModel(len(content))
        model.onnx.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        found.append(model(pictures))
    assert found[0].shape == (1, 19, *(size or (448, 800)))
    torch.testing.assert_close(found[0].sum(1), torch.ones_like(found[0][:, 0]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
    # By hand, in the middle of a picture of one colour: RGB of torchvision's input.
    weight = np.random.default_rng(4).normal(size=(19, 3))
    scores = weight @ ((np.array([200, 100, 50]) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225))
    colour = torch.tensor([200.0, 100.0, 50.0]).view(1, 3, 1, 1).expand(1, 3, 40, 40)
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(model(colour)[0, :, 5, 5].numpy(), expected, rtol=1e-3)


def test_what_is_no_segmentation_model_is_refused_in_one_line(tmp_path: Path) -> None:
    onnx_file(tmp_path / "few.onnx", classes=7)
    (tmp_path / "text.onnx").write_text("road, sidewalk, building")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "elsewhere.onnx").write_bytes(b"\x0a\x08location\x12\x03/etc")
    for name, says in {
        "none.onnx": "no such file",
        "few.onnx": r"gives \(1, 7, 32, 64\) float32, expected \(1, 19",
        "text.onnx": "not an ONNX file that can be run",
        "empty.onnx": "the file is empty",
        "elsewhere.onnx": "keeps weights in another file",
    }.items():
        with pytest.raises(CheckpointError, match=f"{name}.*{says}") as raised:
            read_segmentation(tmp_path / name)
        assert "\n" not in str(raised.value)


# Training.


def test_in_training_the_part_around_the_middle_is_judged_by_itself() -> None:
    network = thin(("image",)).train()
    frames = moving(2)
    maps, state, (part,) = network.rehearse(frames)
    assert (part.top, part.left, part.height, part.width) == (16, 16, 28, 28)
    assert part.log_density.shape == (1, 2, 16, 16) and state.image.shape == (1, 15, 2, 3, 16, 16)  # type: ignore[union-attr]
    torch.testing.assert_close(maps, network(frames)[0])
    part.log_density[0, 0, 0, 0].backward()
    branch = network.branches["image"]
    assert branch.crop.weight.grad.any() and branch.conv1.weight.grad.any()  # type: ignore[union-attr, operator]
    assert branch.coarse.weight.grad is None and branch.refine[0].weight.grad is None  # type: ignore[union-attr, index]
    # What lies outside the part changes nothing of it.
    beside = frames.clone()
    beside[..., :16] = 0
    torch.testing.assert_close(network.rehearse(beside)[2][0].log_density, part.log_density)


def test_the_loss_of_a_part_is_that_of_a_map_of_its_own_and_none_where_nobody_looked() -> None:
    options = LossOptions(kl_weight=1, cc_weight=0, nss_weight=0, kl_epsilon=1e-7)
    log_density = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(6), requires_grad=True)
    part = Part(log_density, top=2, left=4, height=8, width=8)
    density = torch.zeros(1, 2, 16, 16)
    density[0, 0, 2:4, 4:6] = 0.2  # the part's first cell
    density[0, 0, 9, 11] = 0.05  # its last
    density[0, :, 0, 0] = 0.15  # outside
    inside = torch.ones(1, 2, 16, 16, dtype=torch.bool)
    losses = part_loss(part, density, density, inside, options=options)
    own = torch.zeros(1, 4, 4)
    own[0, 0, 0], own[0, 3, 3] = 0.8 / 0.85, 0.05 / 0.85
    expected = map_loss(log_density[0, :1], density=own, counts=own, inside=own >= 0, options=options)
    torch.testing.assert_close(losses, torch.cat([expected, torch.zeros(1)]))
    losses.sum().backward()
    assert torch.isfinite(log_density.grad).all() and not log_density.grad[0, 1].any()  # type: ignore[arg-type, index]


def make_drives(root: Path, *, frames: int, runs: tuple[int, ...] = (1, 2, 6)) -> Path:
    """In DR(eye)VE's layout: something bright moves about before a still scene, and all gaze follows it."""
    fixtures.make_dreyeve(root, runs=runs, frames=frames, unrolled=True)
    (root / "missing_gt.txt").write_text("")
    (root / "subsequences.txt").write_text("")
    rows, columns = np.mgrid[:72, :128]
    for run in runs:
        noise = np.random.default_rng(run).uniform(0, 150, (9, 16, 3)).astype(np.float32)
        scene = cv2.resize(noise, (128, 72), interpolation=cv2.INTER_CUBIC)
        for k in range(frames):
            x, y = 64 + 46 * np.sin(0.23 * k + 2 * run), 36 + 22 * np.cos(0.17 * k + run)
            away = np.hypot(columns - x, rows - y)
            picture = np.where((away < 9)[..., None], 250, scene.clip(0, 255)).astype(np.uint8)
            fixtures.write(root / f"{run:02d}" / "frames" / f"{k:06d}.jpg", picture)
            density = np.round(255 * np.exp(-((away / 9) ** 2) / 2)).astype(np.uint8)
            fixtures.write(root / f"{run:02d}" / "saliency_fix" / f"{k + 1:06d}.png", density)
    return root


def short_training(root: Path, output: Path, **changes: Any) -> TrainConfig:
    """The configuration that comes with the project, thin and short."""
    file = Path(__file__).parents[1] / "configs" / "train_dreyeve_branches.yaml"
    made = resolve(TrainConfig, read_file(file, TrainConfig))
    schedule = dataclasses.replace(made.schedule, learning_rate=4e-3, **changes.pop("schedule", {}))
    return dataclasses.replace(
        made,
        width=THIN,
        preprocess=dataclasses.replace(Dreyeve.preprocess, height=64, width=64),
        videos=(dataclasses.replace(made.videos[0], root=root, validation_split=None, options={"validation": "none"}),),
        output=output,
        schedule=schedule,
        weights_dtype="fp32",
        device="cpu",
        **changes,
    )


def test_a_short_training_follows_the_gaze_and_is_not_the_mean_map(tmp_path: Path) -> None:
    root = make_drives(tmp_path / "drives", frames=48)
    brief = {"passes": 3, "frames_per_step": 3, "windows_per_sequence": 24}
    seen: list[TrainProgress] = []
    path = train(short_training(root, tmp_path / "run", schedule=brief), on_progress=seen.append)
    assert any("branch of classes is left out" in note for note in seen[0].notes)
    assert seen[-1].loss < 0.8 * seen[0].loss
    # A drive that was not shown, through the pipe: nearer to what was recorded than its own mean map is.
    other = make_drives(tmp_path / "other", frames=26, runs=(36,)) / "36"
    frames = np.stack([cv2.imread(str(file))[..., ::-1] for file in sorted((other / "frames").iterdir())])
    recorded = np.stack([cv2.imread(str(f), 0) for f in sorted((other / "saliency_fix").iterdir())]).astype(float)
    clip = FrameBatch(index=np.arange(26), pts_seconds=np.arange(26) / 25, frames=frames, height=72, width=128)
    options = PredictOptions(smooth=SmoothOptions(smoothing="none"), viewers=ViewerOptions("off"))
    maps = torch.cat([one.density for one in predict([clip], load_model(path, device="cpu"), options)]).numpy()
    truth = np.stack([cv2.resize(one, maps.shape[:0:-1], interpolation=cv2.INTER_AREA) for one in recorded])
    truth /= truth.sum((1, 2), keepdims=True)

    def divergence(predicted: npt.NDArray[Any]) -> float:
        return float((truth * np.log((truth + 1e-12) / (predicted + 1e-7))).sum((1, 2))[16:].mean())

    mean = np.broadcast_to(truth.mean(0), truth.shape)
    assert divergence(maps) < 0.8 * divergence(mean)


def test_branches_are_trained_one_by_one_and_then_together(tmp_path: Path) -> None:
    root = make_drives(tmp_path / "drives", frames=3, runs=(1,))
    brief: dict[str, Any] = {"schedule": {"passes": 1, "frames_per_step": 1, "windows_per_sequence": 2}}
    image = train(short_training(root, tmp_path / "image", branches=("image",), **brief))
    seen: list[TrainProgress] = []
    onnx = onnx_file(tmp_path / "classes.onnx")
    together = short_training(root, tmp_path / "all", branches_from=(image,), segmentation=onnx, **brief)
    whole = train(together, stop_after_steps=1, on_progress=seen.append)
    notes = " ".join(seen[0].notes)
    assert "Branches begin as trained: image of dreyeve.safetensors; at random: flow, segmentation." in notes
    assert "classes.onnx, sha256 " in notes and "every layer begins at random" not in notes
    # It goes on from the saved state, with the history of the step before.
    whole = train(together)
    read, _, card = read_any_checkpoint(whole)
    assert isinstance(read, Dreyeve) and read.config.branches == ALL and card.task == "driving"
    begun = read_any_checkpoint(image)[0].state_dict()
    moved = [key for key, value in begun.items() if not torch.equal(value, read.state_dict()[key])]
    assert moved and all((begun[key] - read.state_dict()[key]).abs().max() < 0.02 for key in begun)
    unbroken = train(dataclasses.replace(together, output=tmp_path / "unbroken"))
    assert all(
        torch.equal(value, read.state_dict()[key])
        for key, value in read_any_checkpoint(unbroken)[0].state_dict().items()
    )
    for changes, says in (
        ({"branches_from": (image, image)}, "holds branch image again"),
        ({"branches_from": (image,), "branches": ("flow",)}, "holds no branch of flow"),
        ({"branches_from": (image,), "width": 1 / 16}, "has the width 0.03125, not 0.0625"),
        ({"branches": ALL}, "need each other"),
        ({"preset": "salgan", "branches": ("image",)}, "branches is of the preset dreyeve, not of salgan"),
        ({"preset": "sam-lite", "width": 1, "segmentation": onnx}, "segmentation is of the preset dreyeve"),
        ({"imagenet_weights": image}, "no backbone that ImageNet weights are known of"),
    ):
        wrong = dataclasses.replace(short_training(root, tmp_path / "wrong", **brief), **changes)
        with pytest.raises((CheckpointError, ConfigError), match=says):
            train(wrong)
