"""Scores of `vidsal eval` on the card of the checkpoint that was scored."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from made import make_checkpoint, make_stills
from safetensors.torch import load_file

from vidsal.cli import main
from vidsal.evaluate.results import read_summary, write_summary
from vidsal.model.checkpoint import read_checkpoint


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint and its evaluation."""
    folder = tmp_path_factory.mktemp("scored")
    checkpoint, root = make_checkpoint(folder / "tiny.safetensors"), make_stills(folder / "made")
    asked = ["eval", "simple", str(root), "--model", str(checkpoint), "--baselines", "centre-prior", "-q"]
    assert main([*asked, "--out", str(folder / "result")]) == 0
    return checkpoint, folder / "result"


def test_the_card_gets_the_scores_and_the_weights_stay(scored: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, result = scored
    assert main(["weights", "score", str(checkpoint), str(result), "--output", str(tmp_path / "out.safetensors")]) == 0
    before, after = load_file(checkpoint), load_file(tmp_path / "out.safetensors")
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    card, summary = read_checkpoint(tmp_path / "out.safetensors")[2], read_summary(result)
    assert card.scores["made"]["nss"] == summary.scores["model"]["nss"].value
    assert card.scores["made/centre-prior"]["cc"] == summary.scores["centre-prior"]["cc"].value
    assert "protocol vidsal" in card.protocol and card == dataclasses.replace(
        read_checkpoint(checkpoint)[2], scores=card.scores, protocol=card.protocol
    )


def test_results_of_another_model_or_another_protocol_or_twice_of_one_set_are_refused(
    scored: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, result = scored
    output = tmp_path / "out.safetensors"
    summary = read_summary(result)
    rules = tmp_path / "rules.json"
    protocol, dataset = {**summary.protocol, "bits": 7}, {**summary.dataset, "folder": "second"}
    write_summary(rules, dataclasses.replace(summary, protocol=protocol, dataset=dataset))
    other = make_checkpoint(tmp_path / "other.safetensors", 5)
    for given, named in (
        ([other, result], "not of"),
        ([checkpoint, result, result], "second result"),
        ([checkpoint, result, rules], "different rules"),
    ):
        assert main(["weights", "score", *map(str, given), "--output", str(output)]) != 0
        assert named in capsys.readouterr().err
    assert not output.exists()
    output.write_text("mine")
    assert main(["weights", "score", str(checkpoint), str(result), "--output", str(output)]) != 0
    assert output.read_text() == "mine"
