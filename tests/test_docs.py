"""What the documentation says about the code is true."""

import importlib
import json
import re
from pathlib import Path

import vidsal.model.checkpoint as checkpoints

ROOT = Path(__file__).parents[1]


def test_the_page_of_columns_is_the_one_the_code_makes() -> None:
    module = importlib.import_module("write_table_docs")
    assert (ROOT / "docs" / "reference" / "table.md").read_text() == module.render()


def test_the_scores_in_the_readme_are_those_of_the_card() -> None:
    path = checkpoints.PRESETS["sam-lite"].weights
    assert path is not None
    scores = checkpoints.read_checkpoint(path)[2].scores
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| ")]
    shown = {}
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].split("/")[0] in ("osie", "eyecrowd", "scene", "traffic"):
            shown[cells[0]] = [float(cell) for cell in cells[1:]]
    wanted = {
        name: [round(values[m], 3) for m in ("nss", "cc", "sim", "auc_judd", "kl")] for name, values in scores.items()
    }
    assert shown == wanted and len(shown) == 12


def test_links_between_the_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_card_says_how_the_default_was_trained() -> None:
    path = checkpoints.PRESETS["sam-lite"].weights
    assert path is not None
    card = checkpoints.read_checkpoint(path)[2]
    assert json.loads(card.training)["schedule"]["passes"] >= 1 and "md5" in card.protocol


def test_every_page_that_code_configurations_and_messages_name_is_there() -> None:
    folders = ("vidsal", "tools", "benchmarks", "studies", "configs", "tests", "examples")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml")]
    named = {(path, page) for path in files for page in re.findall(r"\bdocs/[\w/-]+\.\w+", path.read_text())}
    assert len(named) > 10
    assert not [f"{path} names {page}" for path, page in sorted(named) if not (ROOT / page).exists()]
