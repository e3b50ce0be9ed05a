"""Options from files and flags: the precedence, the types and the errors, on small dataclasses and on the real ones."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsal import config as configuration
from vidsal.cli.parser import Parser
from vidsal.config import (
    Option,
    UsageError,
    add_flags,
    as_flag,
    as_key,
    options_of,
    read_file,
    resolve,
    shortened,
    to_yaml,
)
from vidsal.errors import ConfigError, Setting
from vidsal.model.checkpoint import PRESETS
from vidsal.model.networks.catalogue import input_of
from vidsal.options import Checked, Range, Seconds
from vidsal.pipe.options import ModelOptions, RunOptions
from vidsal.stages import ExportOptions
from vidsal.train import TrainConfig

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Kettle(Checked):
    kettle: str = "steel"
    """What it is made of; None of `glass`, 100 %."""
    litres: Annotated[float, Range(above=0)] = 1.5
    """How much it holds
    when full."""
    lid: bool = True
    """Closed."""


@dataclass(frozen=True)
class Tea(Checked):
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
class Guest(Checked):
    name: str
    """Who."""
    arrival: Annotated[Seconds, Range(at_least=0)] = 0.0
    """When."""


@dataclass(frozen=True)
class Twins:
    one: Tea = field(default_factory=Tea)
    """The first."""
    two: Tea = field(default_factory=Tea)
    """The second."""
    guests: tuple[Guest, ...] = ()
    """Who comes."""


def by_name(name: str) -> Option:
    return next(option for option in options_of(Breakfast) if option.key == name)


def from_flags(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser, Breakfast)
    return vars(parser.parse_args(shortened(Breakfast, arguments)))


def read(kind: type, *arguments: str) -> Any:
    """The options of a command line, as a command reads them."""
    parser = Parser(prog="eat", options=kind)
    parser.add_argument("CONFIG", nargs="?", type=Path)
    return parser.read(arguments)[1]


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
    assert from_flags("--litres", "3", "--no-lid") == {"litres": "3", "lid": False}


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
        ("suger: 3", "unknown key 'suger'; known are kettle, lid, litres, milk, sort, spoons, tea, tin"),
        ("tea: {litres: 3}", "unknown key 'tea.litres'; known are milk, sort, spoons, tin"),
        ("{1: 2}", "unknown key '1'"),
        ("litres: 2\nkettle: {litres: 3}", "'litres' is given twice"),
        ("- litres", "holds a list"),
        ("litres: [", "line 1, column 10: not YAML: "),
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
        ("litres", [1], "litres must be a number, got [1]"),
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


def test_options_of_one_name_are_told_apart_by_their_stages(tmp_path: Path) -> None:
    assert [option.key for option in options_of(Twins)][:2] == ["one.sort", "one.spoons"]
    file = tmp_path / "twins.yaml"
    file.write_text("one: {sort: black}\ntwo.spoons: 3\n")
    made = resolve(Twins, read_file(file, Twins), {"two.sort": "black"})
    assert made == Twins(Tea(sort="black"), Tea(sort="black", spoons=3))
    with pytest.raises(ConfigError, match="unknown option 'sort'"):
        resolve(Twins, {"sort": "black"})
    with pytest.raises(ConfigError, match=r"^two\.spoons must be a whole number"):
        resolve(Twins, {"two.spoons": "many"})


@pytest.mark.parametrize(
    ("arguments", "become"),
    [
        (["--litres=2", "a_b", "--tea.tin", "c_d"], ["--litres=2", "a_b", "--tin", "c_d"]),
        (["--kettle.lid", "false", "x"], ["--no-lid", "x"]),
        (["--lid=true", "--no-kettle.lid", "true.mp4"], ["--lid", "--no-lid", "true.mp4"]),
        (["--kettle.made_of=x", "--", "--tea.tin"], ["--kettle.made-of=x", "--", "--tea.tin"]),
    ],
)
def test_flags_may_be_written_with_underscores_with_their_stage_and_with_a_truth_value(
    arguments: list[str], become: list[str]
) -> None:
    assert shortened(Breakfast, arguments) == become


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
    add_flags(parser, Breakfast)
    text = " ".join(parser.format_help().split())
    assert "What boils:" in text and "What is drunk:" in text
    assert "How much it holds when full (above 0; default: 1.5)" in text
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
    assert {option.path for option in options} == fields
    assert all(option.help for option in options)
    assert resolve(RunOptions) == RunOptions()


# Nested configurations, as training has them.


def test_a_nested_file_and_flags_become_one_dataclass(tmp_path: Path) -> None:
    file = tmp_path / "menu [1].yaml"
    file.write_text("tables: [a, b/c]\nshares: {2: 1, 3: 0.5}\ntea: {sort: black}\nkettle: {litres: 3}\n")
    wanted = Menu((Path("a"), Path("b/c")), 9.0, {2: 1.0, 3: 0.5}, Tea(sort="black"), Kettle(litres=3.0, lid=False))
    assert read(Menu, str(file), "--price", "9", "--kettle.lid=false") == wanted
    assert read(Menu, "--no-lid", "--config", str(file), "--price=9") == wanted
    assert read(Menu, "--tables=[x]") == Menu((Path("x"),))
    assert read(Menu, "--tables=[x]", "--shares", "{4: 1}", "--spoons=2").tea == Tea(spoons=2)


@pytest.mark.parametrize("kind", [Menu, Breakfast])
def test_options_that_are_printed_read_back_as_the_same(
    kind: type, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "menu.yaml"
    given = [*(["--tables=[x]"] if kind is Menu else []), "--tea.spoons=2"]
    with pytest.raises(SystemExit) as end:
        read(kind, *given, "--print_config")
    assert not end.value.code
    file.write_text(capsys.readouterr().out)
    assert read(kind, str(file)) == read(kind, *given)


def test_options_in_a_list_are_checked_like_others(tmp_path: Path) -> None:
    file = tmp_path / "guests.yaml"
    file.write_text("guests:\n  - {name: a, arrival: '0:90'}\n")
    with pytest.raises(ConfigError, match=r"guests\.yaml: guests\[0\]: arrival must be a number of seconds or a time"):
        read(Twins, str(file))
    file.write_text("guests:\n  - {name: a, arival: 1}\n")
    with pytest.raises(ConfigError, match=r"unknown key 'arival'; did you mean arrival\?$"):
        read(Twins, str(file))
    file.write_text("guests:\n  - {arrival: 1}\n")
    with pytest.raises(ConfigError, match=r"guests\[0\]: name is missing"):
        read(Twins, str(file))
    assert read(Twins, "--guests", "[{name: b, arrival: 1:30}]").guests == (Guest("b", 90.0),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tables: [a]\nsuger: 1", "unknown key 'suger'; known are kettle, lid, litres, milk, price, shares, "),
        ("tables: [a]\ntea: {suger: 1}", "unknown key 'tea.suger'; known are milk, sort, spoons, tin"),
        ("tables: [a]\nkettle: {litres: much}", "litres must be a number, got 'much'"),
        ("tables: [a]\nkettle: {litres: -1}", "litres must be above 0, got -1"),
        ("tables: [a]\nprice: 1\nprice: 2", "'price' is given twice"),
        ("tables: a", "tables must be a list such as [a, b], got 'a'"),
        ("tables: [a]\nshares: {one: 1}", "shares must be a whole number, got 'one'"),
        ("price: 1", "tables is missing"),
    ],
)
def test_a_mistake_in_a_nested_file_is_the_files_fault(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "menu.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read(Menu, str(file))
    assert says in str(caught.value) and "\n" not in str(caught.value) and str(file) in str(caught.value)
    assert not isinstance(caught.value, UsageError)


def test_a_mistake_of_the_file_stays_the_files_beside_flags_without_fault(tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("litres: -1")
    with pytest.raises(ConfigError, match=r"options\.yaml: litres must be above 0") as caught:
        read(Breakfast, str(file), "--spoons", "3")
    assert not isinstance(caught.value, UsageError)
    with pytest.raises(UsageError, match="litres must be above 0, got -2"):
        read(Breakfast, str(file), "--litres", "-2")
    assert read(Breakfast, str(file), "--litres", "2").kettle.litres == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "tables is missing"),
        (["--tables=[x]", "--price", "dear"], "price must be a number, got 'dear'"),
        (["--tables=x"], "tables must be a list"),
    ],
)
def test_a_mistake_in_nested_flags_is_bad_usage(arguments: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(Menu, *arguments)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--suger", "1"], "unknown option --suger"),
        (["a.yaml", "--config=b.yaml"], "two config files, b.yaml and a.yaml"),
    ],
)
def test_what_a_parser_does_not_know_ends_with_status_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        read(Menu, "--tables=[x]", *arguments)
    assert end.value.code == 2 and says in capsys.readouterr().err


# Messages name options as values.


@pytest.mark.parametrize(
    ("setting", "python", "flag", "key"),
    [
        (Setting("batch_size"), "batch_size", "--batch-size", "batch_size"),
        (Setting("end_seconds"), "end_seconds", "--end", "end_seconds"),
        (Setting("detect_cuts", False), "detect_cuts=False", "--no-detect-cuts", "detect_cuts: false"),
        (Setting("state", "carry"), "state=carry", "--state carry", "state: carry"),
        (Setting("scale", None), "scale=None", "--scale none", "scale: null"),
        (Setting("", None), "None", "none", "null"),
        (Setting("out", Path("a b")), "out=a b", "--out a b", "out: a b"),
    ],
)
def test_an_option_is_spelled_for_python_for_flags_and_for_files(
    setting: Setting, python: str, flag: str, key: str
) -> None:
    error = ConfigError("it is ", setting, ": batch_size/end_seconds.mp4")
    assert str(error) == f"it is {python}: batch_size/end_seconds.mp4"
    # Words that only look like options stay as they are.
    assert error.spelled(configuration.as_flag) == f"it is {flag}: batch_size/end_seconds.mp4"
    assert error.spelled(configuration.as_key) == f"it is {key}: batch_size/end_seconds.mp4"


@pytest.mark.parametrize("file", sorted((REPOSITORY / "configs").glob("train*.yaml")), ids=lambda file: file.name)
def test_the_training_files_of_the_project_can_be_read(file: Path) -> None:
    config = read(TrainConfig, str(file), "--schedule.passes=3")
    assert config.schedule.passes == 3 and (config.datasets or config.stills or config.videos)


@dataclass(frozen=True)
class Picnic(Checked):
    packed: tuple[Literal["bread", "cheese"], ...] = ()
    """What is in the basket."""


@pytest.mark.parametrize(
    ("text", "packed"),
    [("bread", ("bread",)), ("cheese, bread", ("cheese", "bread")), ("[cheese]", ("cheese",)), ("[]", ())],
)
def test_several_choices_have_commas_between(tmp_path: Path, text: str, packed: tuple[str, ...]) -> None:
    file = tmp_path / "picnic.yaml"
    file.write_text(f"packed: {text}\n")
    assert read(Picnic, str(file)) == read(Picnic, "--packed", text) == Picnic(packed)  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "says"), [
    ("wine", "packed must be one of bread, cheese; got 'wine'"),
    ("bread,", "packed must be one of bread, cheese; got ''"),
    ("2", "packed must be a list such as"),
    ("", "packed is empty: leave it out, or name one or several"), (" , ", "packed is empty"),
])  # fmt: skip
def test_each_of_several_choices_is_checked(given: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(Picnic, "--packed", given)
    assert says in str(caught.value)


@pytest.mark.parametrize("given", ["bread", ["bread"], ("bread", "wine")])
def test_several_choices_from_python_are_a_tuple_of_those_allowed(given: Any) -> None:
    with pytest.raises(ConfigError, match="packed must be "):
        Picnic(given)


@dataclass(frozen=True)
class Oven(Checked):
    heat: Literal["on", "off", "low"] = "low"
    """Whether it is on."""


def test_an_on_and_an_off_without_quotes_are_those_words(tmp_path: Path) -> None:
    file = tmp_path / "oven.yaml"
    for word in ("on", "off", "low", "'off'"):
        file.write_text(f"heat: {word}\n")
        assert read(Oven, str(file)) == Oven(word.strip("'"))  # type: ignore[arg-type]
        assert read(Oven, "--heat", word.strip("'")) == Oven(word.strip("'"))  # type: ignore[arg-type]
    file.write_text("milk: off\n")
    with pytest.raises(ConfigError, match="milk must be one of cow, oat; got False"):
        read(Tea, "--config", str(file))


def test_numbers_may_be_written_with_commas_between() -> None:
    for text in ("576,1024", "576, 1024", "[576, 1024]"):
        assert resolve(ExportOptions, {"canvas": text}).canvas == (576, 1024)
    assert resolve(ModelOptions, {"model": "gbvs,bms", "model_shares": "2,1"}).model_shares == (2, 1)
    with pytest.raises(ConfigError, match="must be a number for each model: 2 models are named, got 2"):
        resolve(ModelOptions, {"model": "gbvs,bms", "model_shares": "2"})
    for text, what in (
        ("576", r"a list such as \(1, 2\), got 576"),
        ("576,x", "a whole number, got 'x'"),
        ("1,2,3", "a list of 2, got 3"),
    ):
        with pytest.raises(ConfigError, match=f"canvas must be {what}"):
            resolve(ExportOptions, {"canvas": text})


def test_a_list_in_a_message_is_written_as_whoever_reads_it_writes_one() -> None:
    for kind, key, text, flag, line in (
        (ExportOptions, "canvas", "5", "1,2", "[1, 2]"),
        (Picnic, "packed", "2", "bread,cheese", "[bread, cheese]"),
        (Menu, "tables", "x", "[a, b]", "[a, b]"),
    ):
        with pytest.raises(ConfigError) as caught:
            resolve(kind, {key: text})
        assert f"--{key} must be a list such as {flag}, got" in caught.value.spelled(as_flag)
        assert f"{key} must be a list such as {line}, got" in caught.value.spelled(as_key)


@pytest.mark.parametrize("preset", ["sam-lite", "sam-resnet", "salgan", "deepgaze-1"])
def test_what_is_named_of_an_input_changes_that_alone(preset: str) -> None:
    own = PRESETS[preset].preprocess if preset in PRESETS else input_of(preset)  # type: ignore[arg-type]
    needed = {"output": "runs/x", "preset": preset}
    assert resolve(TrainConfig, needed).preprocess is None
    # Whether by flags or in a file, and in whatever order.
    made = resolve(TrainConfig, {"height": 96}, {"std": [1, 2, 3]}, needed)
    assert made.preprocess == dataclasses.replace(own, height=96, std=(1.0, 2.0, 3.0))
