"""What the documentation says about the code is true, and the site of it can be built."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from media import make_video

import vidsal
import vidsal.metrics
import vidsal.model.checkpoint as checkpoints
from vidsal.cli import main
from vidsal.cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
OF_TODAY = [page for page in PAGES if page.name != "CHANGELOG.md"]


def snippets(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("name", ["table.md", "shots.md"])
def test_the_page_of_columns_is_the_one_the_code_makes(name: str) -> None:
    module = importlib.import_module("write_table_docs")
    assert (DOCS / "reference" / name).read_text() == module.render()[name]


def test_the_scores_in_the_report_are_those_of_the_card() -> None:
    path = checkpoints.PRESETS["sam-lite"].weights
    assert path is not None
    scores = checkpoints.read_checkpoint(path)[2].scores
    lines = [line for line in (DOCS / "reports" / "scores.md").read_text().splitlines() if line.startswith("| ")]
    shown = {}
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].split("/")[0] in ("osie", "eyecrowd", "scene", "traffic"):
            shown[cells[0]] = [float(cell) for cell in cells[1:]]
    wanted = {
        name: [round(values[m], 3) for m in ("nss", "cc", "sim", "auc_judd", "kl")] for name, values in scores.items()
    }
    assert shown == wanted and len(shown) == 12


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "index.md"], ids=lambda page: page.name)
def test_the_tables_of_extras_have_all_that_users_may_want(page: Path) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    table = page.read_text(encoding="utf-8").partition("| extra | for |\n|---|---|\n")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines() for name in re.findall(r"`([\w-]+)`", row.split("|")[1])]
    # decord comes by itself; the others are for work on vidsal.
    assert sorted(named) == sorted({*declared} - {"decord", "demo", "test", "docs", "dev"})


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_that_code_configurations_and_messages_name_is_there() -> None:
    folders = ("vidsal", "tools", "benchmarks", "studies", "configs", "tests", "examples")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml")]
    named = {(path, page) for path in files for page in re.findall(r"\bdocs/[\w/-]+\.\w+", path.read_text())}
    assert len(named) > 10
    assert not [f"{path} names {page}" for path, page in sorted(named) if not (ROOT / page).exists()]


def test_every_script_and_configuration_that_the_pages_name_is_there() -> None:
    pattern = r"\b(?:tools|benchmarks|studies|configs|examples|tests)/[\w/-]+\.(?:py|yaml)"
    named = {(page, file) for page in OF_TODAY for file in re.findall(pattern, page.read_text())}
    assert len(named) > 10
    assert not [f"{page} names {file}" for page, file in sorted(named) if not (ROOT / file).exists()]


def test_the_commands_on_the_pages_know_the_flags_they_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    given: dict[tuple[str, ...], set[str]] = {}
    for page in OF_TODAY:
        for words in re.findall(r"\bvidsal ([a-z][a-z-]* [^`\n#]*)", page.read_text(encoding="utf-8")):
            first, *rest = words.split()
            # `vidsal batch FOLDER` has no action.
            action = first in COMMANDS and bool(rest) and rest[0] in COMMANDS[first].actions
            command = (first, rest[0]) if action else (first,)
            given.setdefault(command, set()).update(re.findall(r"(?<=[ \[])--[a-z][\w.-]*", words))
    known = {command for command, flags in given.items() if flags}
    assert known >= {("run",), ("eval",), ("bench",), ("export",), ("train",), ("data", "density"), ("batch", "retry")}
    for command in sorted(known):
        with pytest.raises(SystemExit):
            main([*command, "--help"])
        shown = set(re.findall(r"--[a-z0-9-]+", capsys.readouterr().out))
        # Keys of a file may be written with underscores, and whole (`--schedule.passes`) where `--passes` would do.
        unknown = {
            flag for flag in given[command] if f"--{flag.strip('-').split('.')[-1].replace('_', '-')}" not in shown
        }
        assert not unknown, f"vidsal {' '.join(command)} has no {sorted(unknown)}"


def test_flags_have_hyphens_on_the_pages_and_in_the_configurations() -> None:
    named_as_backbones = re.compile(r"--(?:mobilenet_v2|efficientnet_lite\d)")  # by studies
    files = [*PAGES, *(ROOT / "configs").glob("*.yaml")]
    written = {
        (path, flag) for path in files for flag in re.findall(r"(?<![\w-])--[a-z][\w.-]*", path.read_text("utf-8"))
    }
    assert len(written) > 100
    assert not [f"{path}: {flag}" for path, flag in written if "_" in flag and not named_as_backbones.fullmatch(flag)]


def test_the_card_says_how_the_default_was_trained() -> None:
    path = checkpoints.PRESETS["sam-lite"].weights
    assert path is not None
    card = checkpoints.read_checkpoint(path)[2]
    before, on_canvases = (run["training"] for run in json.loads(card.training)["joined"])
    first, *later = (run["training"] for run in before["joined"])
    assert first["schedule"]["passes"] >= 1 and "md5" in card.protocol
    assert later and all(run["minutes"] > 0 for run in (*later, on_canvases))


def test_the_reference_has_every_public_name_once() -> None:
    shown = [
        name for page in DOCS.rglob("*.md") for name in re.findall(r"^::: ([\w.]+)", page.read_text(), re.MULTILINE)
    ]
    assert len(shown) == len(set(shown))
    assert {name for name in shown if name.count(".") == 1} >= {
        f"vidsal.{name}" for name in vidsal.__all__ if name not in ("__version__", "Sink")
    }
    functions = [name for name in vidsal.metrics.__all__ if name[0].islower()]
    assert {f"vidsal.metrics.{name}" for name in functions} <= set(shown) and "vidsal.Sink" in shown


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda page: page.stem)
def test_the_snippets_are_python(page: Path) -> None:
    for snippet in snippets(page):
        compile(snippet, str(page), "exec")


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("README.md", "torch.Size([3, "),
        ("docs/guide/python.md", "torch.Size([3, "),
        ("docs/how-to/own-sink.md", "3 0"),
        ("docs/reference/metrics.md", ""),
    ],
)
def test_the_snippets_run(
    page: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_video(tmp_path / "input.mp4", frames=3)
    monkeypatch.chdir(tmp_path)
    for snippet in snippets(ROOT / page):
        exec(snippet, {"__name__": "snippet"})
    assert said in capsys.readouterr().out


# The site.


def build(configuration: Path, site: Path) -> subprocess.CompletedProcess[str]:
    for package in ("material", "mkdocs", "mkdocstrings", "mkdocstrings_handlers.python"):
        pytest.importorskip(package, reason="the site needs the extra: pip install '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(configuration)]
    return subprocess.run(
        [*command, "--site-dir", str(site)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        cwd=ROOT,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT / "mkdocs.yml", folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_shows_what_the_code_says(site: Path) -> None:
    page = (site / "reference" / "api" / "predict.html").read_text(encoding="utf-8")
    # A function with the first line of its docstring, a field, an error, and an example.
    assert vidsal.predict.__doc__ is not None
    said = vidsal.predict.__doc__.splitlines()[0]
    for text in ('id="vidsal.predict"', said, 'id="vidsal.VideoInfo.rotation"', 'id="vidsal.DecodeError"'):
        assert text in page
    assert "&gt;&gt;&gt;" in page


@pytest.mark.slow
def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=[\"']?([^\"'\s>]+)", page.read_text())
        assert loaded and not [address for address in loaded if re.match(r"(https?:)?//", address)], page


@pytest.mark.slow
@pytest.mark.parametrize(
    "texts",
    [("[page](gone.md)", "[part](index.md#gone)", "![picture](gone.png)"), ("::: vidsal.gone",)],
    ids=["links", "name"],
)
def test_what_leads_nowhere_stops_the_build(texts: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("\n\n".join(["# Start", *texts, ""]), encoding="utf-8")
    for folder in ("vidsal", "tools"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "mkdocs.yml").write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\nnav: [index.md]\n", encoding="utf-8")
    built = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    said = built.stdout + built.stderr
    assert built.returncode != 0
    for text in texts:
        assert re.search(r"[\w.#]*gone[.\w]*", text).group() in said, said  # type: ignore[union-attr]
