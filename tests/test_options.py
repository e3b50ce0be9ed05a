"""What annotations allow: ranges, choices and times, in Python, in files and flags, and in messages."""

from __future__ import annotations

import dataclasses
import math
import pickle
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsal.bench.options import BenchOptions
from vidsal.config import options_of
from vidsal.data.layouts import DATASETS
from vidsal.data.options import LayoutName
from vidsal.errors import ConfigError, Setting
from vidsal.evaluate.options import EvalOptions
from vidsal.options import NONE, OPEN, Checked, Range, Rule, Seconds, parse_time
from vidsal.pipe.options import RunOptions
from vidsal.stages import ExportOptions
from vidsal.train.options import TrainConfig


@dataclass(frozen=True)
class Train(Checked):
    kind: Literal["steam", "diesel"] = "steam"
    wagons: Annotated[int, Range(at_least=1, at_most=40)] = 3
    load: Annotated[float, Range(at_least=0, below=1)] = 0.5
    delay: Annotated[Seconds, Range(above=0, otherwise=(NONE, " for none"))] | None = None
    gauge: Literal[0, 1] = 1
    length: Annotated[float, Range(finite=False)] = 1.0


@pytest.mark.parametrize(
    "values",
    [
        {"wagons": 1},
        {"wagons": 40},
        {"load": 0},
        {"load": 0.999},
        {"delay": None},
        {"delay": 1e-9},
        {"length": math.inf},
        {"length": -math.inf},
        {"wagons": np.int64(4)},
        {"load": np.float32(0.25)},
        {"load": Fraction(1, 3)},
    ],
)
def test_values_at_the_ends_and_of_kindred_types_are_taken(values: dict[str, Any]) -> None:
    assert {name: getattr(Train(**values), name) for name in values} == values


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "horse"}, "kind must be one of steam, diesel; got 'horse'"),
        ({"gauge": True}, "gauge must be one of 0, 1; got True"),
        ({"gauge": 1.0}, "gauge must be one of 0, 1; got 1.0"),
        ({"wagons": 0}, "wagons must be from 1 to 40, got 0"),
        ({"wagons": 41}, "wagons must be from 1 to 40, got 41"),
        ({"wagons": 2.0}, "wagons must be a whole number, got 2.0"),
        ({"wagons": True}, "wagons must be a whole number, got True"),
        ({"wagons": None}, "wagons must be a whole number, got None"),
        ({"load": 1}, "load must be from 0 to below 1, got 1"),
        ({"load": -0.001}, "load must be from 0 to below 1, got -0.001"),
        ({"load": math.nan}, "load must be from 0 to below 1, got nan"),
        ({"load": "1"}, "load must be a number, got '1'"),
        ({"delay": 0}, "delay must be above 0, or None for none; got 0"),
        ({"delay": math.inf}, "delay must be above 0 and finite, or None for none; got inf"),
        ({"length": math.nan}, "length must be a number, or infinite, got nan"),
    ],
)
def test_what_the_annotation_does_not_allow_is_refused_by_name(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Train(**values)
    assert str(caught.value) == says
    assert caught.value.option == next(iter(values))


@given(
    value=st.floats(allow_nan=True, allow_infinity=True),
    low=st.none() | st.floats(-10, 0),
    high=st.none() | st.floats(0, 10),
    includes=st.booleans(),
)
def test_a_range_holds_what_lies_between_its_ends(
    value: float, low: float | None, high: float | None, includes: bool
) -> None:
    wanted = Range(at_least=low, at_most=high) if includes else Range(above=low, below=high)
    inside = math.isfinite(value)
    if low is not None:
        inside &= low <= value if includes else low < value
    if high is not None:
        inside &= value <= high if includes else value < high
    assert (value in wanted) is inside


def test_choices_that_others_may_add_to_are_left_to_the_stage() -> None:
    rule = Rule.of(Annotated[Literal["one", "two"], OPEN])
    rule.check("number", "three")
    with pytest.raises(ConfigError, match="must be one of one, two; got 'three'"):
        Rule.of(Literal["one", "two"]).check("number", "three")


def test_a_field_of_two_types_is_the_programmers_mistake() -> None:
    with pytest.raises(TypeError, match="cannot be of the type"):
        Rule.of(int | str)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("90.5", 90.5),
        ("-3", -3.0),
        ("1:30", 90.0),
        ("1:05", 65.0),
        ("90:00", 5400.0),
        ("00:01:30.5", 90.5),
        (" 2:00:00 ", 7200.0),
    ],
)
def test_a_time_is_seconds_or_parts_with_colons(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["1:75", "1:60", "1:60:00", "1:2:3:4", "1:", ":30", "1:-5", "-1:30", "1:inf", "a", ""])
def test_nonsense_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


@given(hours=st.integers(0, 99), minutes=st.integers(0, 59), milliseconds=st.integers(0, 59_999))
def test_a_time_adds_up(hours: int, minutes: int, milliseconds: int) -> None:
    text = f"{hours:02d}:{minutes:02d}:{milliseconds / 1000:06.3f}"
    assert parse_time(text) == pytest.approx(hours * 3600 + minutes * 60 + milliseconds / 1000, abs=1e-9)


@pytest.mark.parametrize("kind", [RunOptions, EvalOptions, BenchOptions, TrainConfig, ExportOptions])
def test_every_default_is_allowed(kind: type) -> None:
    for option in options_of(kind):
        if option.default is not dataclasses.MISSING:
            option.rule.check(option.key, option.default)


def test_the_names_of_the_layouts_are_those_that_can_be_opened() -> None:
    assert Rule.of(LayoutName).choices == tuple(DATASETS)


def test_a_setting_is_part_of_a_message_that_can_be_copied() -> None:
    error = ConfigError("take ", Setting("state", "reset"), " instead")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is ConfigError and copy.args == error.args and str(copy) == "take state=reset instead"


# From Python.


@dataclass(frozen=True)
class Trip(Checked):
    to: Path = Path("here")
    lasts: Seconds = 0.0


def test_paths_and_times_may_be_given_as_text() -> None:
    assert Trip(to="there", lasts="1:30") == Trip(to=Path("there"), lasts=90.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"to must be a path, got 3"):
        Trip(to=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"lasts must be a number of seconds or a time .*, got '1:75'"):
        Trip(lasts="1:75")  # type: ignore[arg-type]
