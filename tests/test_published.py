"""SAM-ResNet and SAM-VGG against an independent reference in NumPy, stage by stage; the reference against SciPy."""

from __future__ import annotations

import ast
import copy
import dataclasses
import functools
from pathlib import Path

import cv2
import numpy as np
import published_reference as reference
import pytest
import scipy.signal
import torch
from made import make_model, make_network
from published_parity import (
    SABOTAGES,
    SMALL,
    TOLERANCE,
    Sabotage,
    Subject,
    compare,
    error_of,
    make_picture,
    part_of,
    small_case,
    small_subject,
)
from published_reference import NetworkName

from vidsal.decode import open_video
from vidsal.errors import CheckpointError
from vidsal.model.checkpoint import PRESETS, ModelCard, SaliencyModel
from vidsal.model.published import finish_relevance, published_map
from vidsal.pipe.predict import predict
from vidsal.preprocess import Preprocessor


class Case:
    """One network on the small picture: the reference's stages, ours, and what made them."""

    def __init__(self, name: NetworkName) -> None:
        self.name = name
        self.layers, self.expected = small_case(name)
        self.subject = small_subject(name)
        self.ours = dict(self.subject.stages())

    @functools.cached_property
    def model(self) -> SaliencyModel:
        """The same network as users load it, which is rewritten for prediction."""
        return ready(self.subject)


def ready(subject: Subject) -> SaliencyModel:
    network = copy.deepcopy(subject.network)
    return SaliencyModel(network, preprocess=subject.options, card=ModelCard(name=subject.name), precision="fp32")


@pytest.fixture(scope="class")
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.cls.name)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "sabotage" in metafunc.fixturenames:
        possible = [one for one in SABOTAGES if metafunc.cls.name in one.networks]
        metafunc.parametrize("sabotage", possible, ids=[one.name for one in possible])


class Parity:
    """What holds of both networks; a class each, so that only one of them is in memory."""

    name: NetworkName

    def test_every_stage_is_the_references(self, case: Case) -> None:
        assert list(case.ours) == list(case.expected)
        errors = {name: error_of(value.numpy(), case.expected[name]) for name, value in case.ours.items()}
        assert {name: error for name, error in errors.items() if error > TOLERANCE} == {}
        # What all this would not show on a network whose parts do nothing.
        assert (case.expected["output"] == 0).any() and (case.expected["output"] > 0).any()
        for step in range(2, reference.STEPS + 1):
            assert error_of(case.expected[f"H after step {step}"], case.expected[f"H after step {step - 1}"]) > 0.05

    def test_a_deliberate_error_is_seen_where_it_was_made(self, case: Case, sabotage: Sabotage) -> None:
        with sabotage.apply(case.subject):
            found = compare(case.subject, case.expected, start=sabotage.part, known=case.ours)
        assert found is not None
        assert part_of(found.stage) == sabotage.part

    def test_every_deliberate_error_is_taken_back(self, case: Case) -> None:
        before = {name: value.clone() for name, value in case.subject.network.state_dict().items()}
        for sabotage in SABOTAGES:
            if case.name in sabotage.networks:
                with sabotage.apply(case.subject):
                    pass
        after = case.subject.network.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        assert compare(case.subject, case.expected) is None

    @torch.no_grad()
    def test_the_relevance_of_a_picture_is_the_references_and_forward_agrees_with_it(self, case: Case) -> None:
        pixels = case.ours["input"][None]
        relevance = case.subject.network.relevance(pixels)
        assert error_of(relevance[0].numpy(), case.expected["relevance"]) < TOLERANCE
        rows, columns = SMALL
        density = case.expected["relevance"].reshape(rows, 2, columns, 2).mean((1, 3))
        log_density, _ = case.subject.network(pixels[None])
        assert error_of(log_density[0, 0].exp().numpy(), density / density.sum()) < TOLERANCE

    @torch.no_grad()
    def test_pictures_in_one_batch_have_the_relevance_of_each_alone(self, case: Case) -> None:
        pixels = torch.stack([case.ours["input"], case.ours["input"].flip(-1)])
        network = case.subject.network
        together = network.relevance(pixels)
        for one, alone in zip(together, pixels, strict=True):
            assert error_of(one.numpy(), network.relevance(alone[None])[0].double().numpy()) < 1e-5

    def test_a_model_ready_for_prediction_gives_the_references_map_of_a_picture(self, case: Case) -> None:
        got = published_map(case.model, case.subject.picture)
        assert got.dtype == np.float32 and got.max() == pytest.approx(255)
        assert error_of(got, case.expected["final map"]) < TOLERANCE

    def test_the_pipes_density_of_a_picture_as_large_as_the_canvas_is_the_published_map(
        self, case: Case, tmp_path: Path
    ) -> None:
        rows, columns = SMALL
        picture = make_picture(rows, columns, seed=4)
        final = reference.run(case.name, case.layers, picture, rows=rows, columns=columns)["final map"]
        path = tmp_path / "picture.png"
        cv2.imwrite(str(path), picture[:, :, ::-1])
        with open_video(path, size=case.model.preprocessor.frame_size) as reader:
            (batch,) = predict(reader, case.model)
        assert error_of(batch.density[0].numpy(), final / final.sum()) < TOLERANCE

    def test_what_is_no_picture_is_refused(self, case: Case) -> None:
        for wrong in (make_picture()[None], make_picture()[:, :, :2], make_picture().astype(np.float32)):
            with pytest.raises(ValueError, match="uint8"):
                published_map(case.model, wrong)  # type: ignore[arg-type]

    @pytest.mark.slow
    def test_every_stage_is_the_references_at_full_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Two steps of four: the small canvas has them all, and each costs the reference seconds here.
        monkeypatch.setattr(reference, "STEPS", 2)
        # Half the time, and still far below the tolerance.
        monkeypatch.setattr(reference, "SUMS", np.float32)
        layers = reference.random_layers(self.name, seed=8)
        picture = make_picture(301, 450, seed=9)
        expected = reference.run(self.name, layers, picture, balance=True)
        subject = Subject.make(self.name, layers, picture, rows=240, columns=320)
        subject.network.config = dataclasses.replace(subject.network.config, steps=2)
        assert compare(subject, expected) is None
        assert expected["relevance"].shape == (480, 640)
        assert error_of(published_map(ready(subject), picture), expected["final map"]) < TOLERANCE


class TestSamResNet(Parity):
    name = "sam-resnet"


class TestSamVGG(Parity):
    name = "sam-vgg"


# Before and after the network.

SIZES = [
    (240, 320),  # the canvas
    (480, 640),
    (717, 1283),  # wide
    (1283, 717),  # tall
    (100, 133),  # of the canvas's aspect but for rounding
    (60, 80),
    (33, 500),
    (500, 33),
]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("name", ["sam-resnet", "sam-vgg"])
def test_the_input_is_the_references(name: NetworkName, height: int, width: int) -> None:
    picture = make_picture(height, width)
    got = Preprocessor(PRESETS[name].preprocess)(picture[None])[0]
    expected = reference.preprocess(picture, 240, 320)
    assert error_of(got.numpy(), expected) < 1e-6
    # Bars are black before the means are taken off.
    if height / width != 3 / 4:
        assert expected[:, -1, -1] == pytest.approx([-103.939, -116.779, -123.68])


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_finished_map_is_the_references(height: int, width: int) -> None:
    relevance = np.random.default_rng(2).random((480, 640)) ** 8
    relevance[100:140, 200:300] = 0
    got = finish_relevance(torch.from_numpy(relevance), height, width)
    assert got.shape == (height, width) and got.dtype == torch.float32
    assert error_of(got.numpy(), reference.postprocess(relevance, height, width)) < 1e-5


def test_maps_are_finished_alike_alone_and_in_a_batch_and_at_any_scale() -> None:
    relevance = torch.rand(2, 3, 30, 40, generator=torch.Generator().manual_seed(0))
    together = finish_relevance(relevance * torch.tensor([1e-30, 1.0])[:, None, None, None], 50, 60)
    assert together.shape == (2, 3, 50, 60)
    torch.testing.assert_close(together.amax((-1, -2)), torch.full((2, 3), 255.0))
    torch.testing.assert_close(together[0, 1], finish_relevance(relevance[0, 1], 50, 60), rtol=1e-4, atol=1e-3)


def test_a_map_that_is_zero_everywhere_stays_so_and_says_it() -> None:
    relevance = torch.zeros(2, 30, 40)
    relevance[1, 4, 5] = 1e-20
    with pytest.warns(RuntimeWarning, match="0 everywhere"):
        finished = finish_relevance(relevance, 50, 60)
    assert not finished[0].any()
    assert finished[1].max() == 255


def test_only_the_published_head_has_a_published_map() -> None:
    with pytest.raises(CheckpointError, match="'refine'"):
        published_map(make_model(), make_picture())
    with pytest.raises(ValueError, match="'refine'"):
        make_network().relevance(torch.zeros(1, 3, 64, 64))


def test_what_is_no_map_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1x1"):
        finish_relevance(torch.ones(30, 40), 0, 60)
    with pytest.raises(ValueError, match="rows, columns"):
        finish_relevance(torch.ones(40), 50, 60)


# The judge is judged.


def test_the_reference_imports_nothing_of_the_package() -> None:
    source = Path(reference.__file__).read_text(encoding="utf-8")
    names = [
        name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    ]
    assert {str(name).split(".")[0] for name in names} <= {"__future__", "cv2", "math", "numpy", "scipy", "typing"}


@pytest.mark.parametrize(("size", "dilation", "stride"), [(1, 1, 1), (1, 1, 2), (3, 1, 1), (3, 4, 1), (5, 2, 1)])
def test_the_references_convolution_is_scipys(size: int, dilation: int, stride: int) -> None:
    random = np.random.default_rng(0)
    x, kernel, bias = random.normal(size=(3, 9, 11)), random.normal(size=(2, 3, size, size)), random.normal(size=2)
    reach = dilation * (size - 1) + 1
    spread = np.zeros((2, 3, reach, reach))
    spread[:, :, ::dilation, ::dilation] = kernel
    expected = np.stack(
        [sum(scipy.signal.convolve2d(x[i], spread[o, i], mode="same") for i in range(3)) + bias[o] for o in range(2)]
    )
    got = reference.convolve(x, kernel, bias, dilation=dilation, stride=stride)
    np.testing.assert_allclose(got, expected[:, ::stride, ::stride], atol=1e-12)


def test_the_references_pooling_pads_at_the_top_and_left() -> None:
    falling = -np.arange(16.0).reshape(1, 4, 4)
    assert reference.pool_same(falling, size=2, stride=2)[0].tolist() == [[0, -1], [-4, -5]]
    assert reference.pool_same(falling, size=2, stride=1)[0, 1].tolist() == [0, 0, -1, -2]
    assert reference.pool_same(-falling, size=3, stride=2)[0].tolist() == [[5, 7], [13, 15]]


def test_the_reference_puts_cell_i_on_pixel_16_i_plus_7() -> None:
    fine = reference.enlarge(np.array([[1.0, 3.0, 7.0]]))
    assert fine.shape == (16, 48)
    assert fine[5, [0, 7, 15, 23, 31, 39, 47]].tolist() == [1, 1, 2, 3, 5, 7, 7]
