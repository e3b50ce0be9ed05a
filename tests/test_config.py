"""Options from files and flags: the precedence, the types and the errors, on small dataclasses and on the real ones."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsal.config import Option, UsageError, add_flags, options_of, parse_nested, read_file, resolve, to_yaml
from vidsal.errors import ConfigError
from vidsal.pipe.options import RunOptions
from vidsal.train import TrainConfig

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Kettle:
    kettle: str = "steel"
    """What it is made of; None of `glass`, 100 %."""
    litres: float = 1.5
    """How much it holds
    when full."""
    lid: bool = True
    """Closed."""

    def __post_init__(self) -> None:
        if self.litres <= 0:
            raise ConfigError("litres must be above 0")


@dataclass(frozen=True)
class Tea:
    sort: Literal["green", "black"] = "green"
    """Which."""
    spoons: int | None = None
    """How many; None guesses."""
    tin: Path | None = None
    """Where it is kept."""
    milk: Literal["cow", "oat"] | None = None
    """Which, if any."""


@dataclass(frozen=True)
class Breakfast:
    kettle: Kettle = field(default_factory=Kettle)
    """What boils."""
    tea: Tea = field(default_factory=Tea)
    """What is drunk."""


@dataclass(frozen=True)
class Menu:
    tables: tuple[Path, ...]
    """Where."""
    price: float = 2.5
    """What it costs, in coins."""
    shares: dict[int, float] = field(default_factory=lambda: {1: 0.5})
    """Who pays."""
    tea: Tea | None = None
    """What is drunk."""
    kettle: Kettle = field(default_factory=Kettle)
    """What boils."""


@dataclass(frozen=True)
class Twins:
    one: Tea = field(default_factory=Tea)
    two: Tea = field(default_factory=Tea)


def by_name(name: str) -> Option:
    return next(option for option in options_of(Breakfast) if option.name == name)


def from_flags(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser, Breakfast, aliases={"litres": "-l"})
    return vars(parser.parse_args(arguments))


def from_file(folder: Path, text: str) -> dict[str, Any]:
    file = folder / "options.yaml"
    file.write_text(text)
    return read_file(file, Breakfast)


def test_a_file_wins_over_a_default_and_a_flag_over_a_file(tmp_path: Path) -> None:
    file = from_file(tmp_path, "litres: 2\nsort: black\n")
    resolved = resolve(Breakfast, file, from_flags("--sort", "green"))
    assert resolved == Breakfast(Kettle(litres=2.0), Tea(sort="green"))
    assert resolve(Breakfast) == Breakfast()
    flags = from_flags("--tin", "a/b", "--spoons", "3", "--litres", "1", "--milk", "oat", "--lid")
    assert resolve(Breakfast, flags) == Breakfast(Kettle(litres=1.0), Tea(spoons=3, tin=Path("a/b"), milk="oat"))


def test_flags_that_were_not_given_say_nothing() -> None:
    assert from_flags() == {}
    assert from_flags("-l", "3", "--no-lid") == {"litres": 3.0, "lid": False}


def test_options_may_stand_under_their_stage_or_at_the_top(tmp_path: Path) -> None:
    assert from_file(tmp_path, "kettle: {litres: 2, kettle: tin}\nspoons: 1\n") == {
        "litres": 2,
        "kettle": "tin",
        "spoons": 1,
    }
    # A stage and an option of one name are told apart by what they hold.
    assert from_file(tmp_path, "kettle: glass\n") == {"kettle": "glass"}
    assert from_file(tmp_path, "# nothing\n") == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("suger: 3", "unknown key 'suger'; known are kettle, lid, litres, milk, sort, spoons, tin"),
        ("tea: {litres: 3}", "unknown key 'tea.litres'; known are milk, sort, spoons, tin"),
        ("{1: 2}", "unknown key '1'"),
        ("litres: 2\nkettle: {litres: 3}", "'litres' is given twice"),
        ("- litres", "holds a list"),
        ("litres: [", "is not YAML"),
    ],
)
def test_a_file_with_a_mistake_is_refused_and_the_mistake_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_file(tmp_path, text)
    assert says in str(caught.value) and "options.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        read_file(tmp_path / "nowhere.yaml", Breakfast)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x9c")
    with pytest.raises(ConfigError, match="not YAML"):
        read_file(tmp_path / "binary.yaml", Breakfast)


@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        ("litres", 2, 2.0),
        ("litres", "1e-1", 0.1),
        ("spoons", "7", 7),
        ("spoons", None, None),
        ("spoons", "none", None),
        ("tin", "a/b", Path("a/b")),
        ("kettle", "none", "none"),
        ("lid", False, False),
        ("milk", "oat", "oat"),
        ("milk", "none", None),
    ],
)
def test_a_value_takes_the_type_of_its_field(name: str, value: Any, becomes: Any) -> None:
    converted = by_name(name).convert(value)
    assert converted == becomes and type(converted) is type(becomes)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("litres", "much", "litres must be a number, got 'much'"),
        ("litres", None, "litres must be a number, got None"),
        ("litres", True, "litres must be a number, got True"),
        ("spoons", 1.5, "spoons must be a whole number, got 1.5"),
        ("spoons", True, "spoons must be a whole number, got True"),
        ("lid", "yes please", "lid must be true or false, got 'yes please'"),
        ("lid", 1, "lid must be true or false, got 1"),
        ("kettle", 5, "kettle must be text, got 5"),
        ("sort", "red", "sort must be one of green, black; got 'red'"),
        ("sort", False, "sort must be one of green, black; got False"),
    ],
)
def test_a_value_of_another_type_is_refused_and_what_is_allowed_told(name: str, value: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        by_name(name).convert(value)
    assert str(caught.value) == says


def test_a_stage_still_checks_its_own_values() -> None:
    with pytest.raises(ConfigError, match="litres must be above 0"):
        resolve(Breakfast, {"litres": -1})


def test_an_unknown_name_is_refused_and_the_known_ones_listed() -> None:
    with pytest.raises(ConfigError, match="unknown option 'suger'; known are kettle, lid"):
        resolve(Breakfast, {"suger": 3})


def test_two_stages_cannot_share_an_option() -> None:
    with pytest.raises(TypeError, match="milk, sort, spoons, tin"):
        options_of(Twins)


@settings(max_examples=30)
@given(
    kettle=st.builds(Kettle, kettle=st.text(), litres=st.floats(1e-6, 1e6), lid=st.booleans()),
    tea=st.builds(
        Tea,
        sort=st.sampled_from(["green", "black"]),
        spoons=st.none() | st.integers(-9, 10**12),
        tin=st.none() | st.sampled_from([Path("a b"), Path("/x/ü: #"), Path("7")]),
    ),
)
def test_what_is_printed_reads_back_as_the_same_options(
    tmp_path_factory: pytest.TempPathFactory, kettle: Kettle, tea: Tea
) -> None:
    options = Breakfast(kettle, tea)
    file = tmp_path_factory.mktemp("yaml") / "options.yaml"
    file.write_text(to_yaml(options), encoding="utf-8")
    assert resolve(Breakfast, read_file(file, Breakfast)) == options


def test_help_comes_from_the_line_below_the_field() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, Breakfast, aliases={})
    text = " ".join(parser.format_help().split())
    assert "What boils:" in text and "What is drunk:" in text
    assert "How much it holds when full (default: 1.5)" in text
    assert "none of glass, 100 % (default: steel)" in text
    assert "--sort {green,black}" in text and "--milk {cow,oat,none}" in text
    assert "How many; none guesses." in text


def test_every_option_of_a_run_has_a_flag_with_help() -> None:
    options = options_of(RunOptions)
    fields = {
        (stage.name, option.name)
        for stage in dataclasses.fields(RunOptions)
        for option in dataclasses.fields(getattr(RunOptions(), stage.name))
    }
    assert {(option.stage, option.name) for option in options} == fields
    assert all(option.help for option in options)
    assert resolve(RunOptions) == RunOptions()


# Nested configurations, as training has them.


def test_a_nested_file_and_flags_become_one_dataclass(tmp_path: Path) -> None:
    file = tmp_path / "menu [1].yaml"
    file.write_text("tables: [a, b/c]\nshares: {2: 1, 3: 0.5}\ntea: {sort: black}\nkettle: {litres: 3}\n")
    made, only_print = parse_nested(Menu, [str(file), "--price", "9", "--kettle.lid=false"], prog="eat")
    assert not only_print
    assert made == Menu(
        (Path("a"), Path("b/c")), 9.0, {2: 1.0, 3: 0.5}, Tea(sort="black"), Kettle(litres=3.0, lid=False)
    )
    alone, _ = parse_nested(Menu, ["--tables=[x]"], prog="eat")
    assert alone == Menu((Path("x"),))


def test_a_nested_configuration_that_is_printed_reads_back_as_the_same(tmp_path: Path) -> None:
    file = tmp_path / "menu.yaml"
    made, only_print = parse_nested(Menu, ["--tables=[x]", "--tea.spoons=2", "--print_config"], prog="eat")
    assert only_print and made == Menu((Path("x"),), tea=Tea(spoons=2))
    file.write_text(to_yaml(made))
    assert parse_nested(Menu, [str(file)], prog="eat") == (made, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tables: [a]\nsuger: 1", "unknown key 'suger'; known are kettle, price, shares, tables, tea"),
        ("tables: [a]\ntea: {suger: 1}", "unknown key 'tea.suger'; known are milk, sort, spoons, tin"),
        ("tables: [a]\nkettle: {litres: much}", "kettle.litres"),
        ("tables: [a]\nkettle: {litres: -1}", "litres must be above 0"),
    ],
)
def test_a_mistake_in_a_nested_file_is_the_files_fault(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "menu.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parse_nested(Menu, [str(file)], prog="eat")
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert not isinstance(caught.value, UsageError)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "tables"),
        (["--tables=[x]", "--suger", "1"], "--suger"),
        (["--tables=[x]", "--price", "dear"], "price"),
        (["--tables=[x]", "late.yaml"], "in front of the options"),
    ],
)
def test_a_mistake_in_nested_flags_is_bad_usage(arguments: list[str], says: str) -> None:
    with pytest.raises(UsageError, match="usage: eat CONFIG") as caught:
        parse_nested(Menu, arguments, prog="eat")
    assert says in str(caught.value)


@pytest.mark.parametrize("file", sorted((REPOSITORY / "configs").glob("train*.yaml")), ids=lambda file: file.name)
def test_the_training_files_of_the_project_can_be_read(file: Path) -> None:
    config, _ = parse_nested(TrainConfig, [str(file), "--schedule.passes=3"], prog="vidsal train")
    assert config.schedule.passes == 3 and (config.datasets or config.videos)
