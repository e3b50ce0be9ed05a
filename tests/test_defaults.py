"""What a run does that is told nothing: the defaults, which results and scripts of users rest on."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from vidsal.errors import ConfigError
from vidsal.pipe.options import ModelOptions, OutputOptions, PredictOptions, RecurrenceOptions, RunOptions
from vidsal.sinks.options import NVENC_FOR_X26, SVT_PRESETS, VideoOptions
from vidsal.smooth.options import SmoothOptions
from vidsal.stages import ViewerOptions

DEFAULTS: dict[type, dict[str, Any]] = {
    ModelOptions: {
        "model": "sam-lite",
        "model_shares": (),
        "model_mean": "geometric",
        "quality": "standard",
        "device": "auto",
        "precision": "auto",
        "task": "free-viewing",
    },
    RecurrenceOptions: {"state": "carry", "steps": None, "every": None},
    SmoothOptions: {"smoothing": "exponential", "time_constant_seconds": 0.15},
    ViewerOptions: {
        "viewers": "auto",
        "centre_share": 0.8,
        "centre_seconds": 0.5,
        "gaze_latency_seconds": 0.18,
        "gaze_inertia_seconds": 0.0,
        "sharpness": 1.15,
    },
    VideoOptions: {
        "encoder": None,
        "preset": "auto",
        "crf": 20,
        "encoder_threads": 0,
        "keep_streams": True,
    },
    OutputOptions: {
        "output": None,
        "video": True,
        "container": "mp4",
        "table": "csv",
        "maps": None,
        "export": (),
        "overwrite": False,
    },
}


@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_the_defaults_are_the_documented_ones(kind: type) -> None:
    made = dataclasses.asdict(kind())
    assert {name: made[name] for name in DEFAULTS[kind]} == DEFAULTS[kind]


@pytest.mark.parametrize(("own", "state", "asked", "steps"), [
    (4, "carry", None, (4, 1)), (4, "carry", 3, (4, 3)), (4, "carry", 4, (4, 4)),
    (4, "reset", None, (4, 4)), (4, "reset", 2, (2, 2)), (4, "reset", 9, (9, 9)),
])  # fmt: skip
def test_a_fresh_frame_takes_all_steps_and_one_that_goes_on_those_asked_for(
    own: int, state: Any, asked: int | None, steps: tuple[int, int]
) -> None:
    assert RecurrenceOptions(state=state, steps=asked).steps_of(own) == steps


@pytest.mark.parametrize(("options", "least"), [
    (RecurrenceOptions, {"steps": 1}), (RecurrenceOptions, {"every": 1}), (VideoOptions, {"encoder_threads": 0}),
])  # fmt: skip
def test_the_least_is_taken_and_less_refused(options: Any, least: dict[str, int]) -> None:
    ((name, value),) = least.items()
    assert getattr(options(**least), name) == value
    with pytest.raises(ConfigError, match=f"at least {value}"):
        options(**{name: value - 1})


def test_carry_refuses_one_step_too_many() -> None:
    with pytest.raises(ConfigError) as error:
        RecurrenceOptions(steps=5).steps_of(4)
    assert "steps is 5; with state=carry it must be from 1 to 4" in str(error.value)
    assert str(error.value).endswith("or state=reset, which takes any number")


@pytest.mark.parametrize(("changed", "ahead"), [
    ({}, True),
    ({"recurrence": RecurrenceOptions(every=1)}, False),
    ({"recurrence": RecurrenceOptions(every=2)}, True),
    ({"recurrence": RecurrenceOptions(every=1), "smooth": SmoothOptions(smoothing="gaussian")}, True),
    ({"recurrence": RecurrenceOptions(every=1), "smooth": SmoothOptions(smoothing="none")}, False),
])  # fmt: skip
def test_maps_wait_for_later_frames_where_one_of_the_stages_looks_ahead(changed: Any, ahead: bool) -> None:
    assert PredictOptions().but(**changed).looks_ahead is ahead
    assert RunOptions(**changed).prediction.looks_ahead is ahead


def test_stages_that_are_not_given_stay() -> None:
    own = PredictOptions(recurrence=RecurrenceOptions(every=5))
    assert own.but(recurrence=None, smooth=SmoothOptions(smoothing="none")).recurrence.every == 5


def words(text: str) -> list[str]:
    return text.split()


X264_PRESETS = words("ultrafast superfast veryfast faster fast medium slow slower veryslow placebo")


@pytest.mark.parametrize(("encoder", "presets"), [
    ("libx264", [*X264_PRESETS, "0", "9"]),
    ("libx265", [*X264_PRESETS, "0", "9"]),
    ("auto", X264_PRESETS),
    ("libsvtav1", [*X264_PRESETS[:-1], "0", "13"]),
    ("h264_nvenc", words("fast slow medium default hp hq bd ll llhq llhp lossless losslesshp p1 p7")),
    ("hevc_nvenc", ["p1", "p7"]),
    ("libvpx-vp9", ["whatever"]),
])  # fmt: skip
def test_every_preset_of_an_encoder_is_taken_by_its_name(encoder: str, presets: list[str]) -> None:
    for preset in presets:
        assert VideoOptions(encoder=encoder, preset=preset).preset == preset


@pytest.mark.parametrize(("encoder", "preset"), [
    ("libx264", "10"), ("libx264", "p1"), ("auto", "0"), ("auto", "p4"), ("libsvtav1", "14"), ("libsvtav1", "placebo"),
    ("h264_nvenc", "p0"), ("h264_nvenc", "p8"), ("h264_nvenc", "ultrafast"),
])  # fmt: skip
def test_a_preset_of_another_encoder_is_refused_and_the_own_ones_named(encoder: str, preset: str) -> None:
    with pytest.raises(ConfigError, match=f"{encoder} does not take the preset '{preset}'; choose one of .*fast"):
        VideoOptions(encoder=encoder, preset=preset)


@pytest.mark.parametrize(("encoder", "worst"), [
    ("libx264", 51), ("h264_nvenc", 51), ("mpeg4", 51), ("libsvtav1", 63), ("libvpx-vp9", 63), ("libaom-av1", 63),
])  # fmt: skip
def test_the_best_and_the_worst_quality_are_taken_and_none_beyond(encoder: str, worst: int) -> None:
    for crf in (0, worst):
        assert VideoOptions(encoder=encoder, crf=crf).crf == crf
    for crf in (-1, worst + 1):
        with pytest.raises(ConfigError, match=rf"from 0 \(best\) to {worst} for {encoder}, got {crf}"):
            VideoOptions(encoder=encoder, crf=crf)


def test_presets_of_libx264_mean_the_same_speed_in_the_words_of_others() -> None:
    assert [SVT_PRESETS[preset] for preset in X264_PRESETS[:-1]] == words("12 11 10 9 8 6 4 3 2")
    assert [NVENC_FOR_X26[preset] for preset in X264_PRESETS] == words("p1 p2 p3 p3 p4 p5 p6 p7 p7 p7")
