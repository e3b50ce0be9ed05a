"""Config files on top of others, and the configurations that come with the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from vidsal.config import read_file, resolve
from vidsal.errors import ConfigError
from vidsal.train import TrainConfig

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def written(path: Path, **content: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_a_file_wins_over_its_base_option_by_option_and_a_mapping_is_taken_whole(tmp_path: Path) -> None:
    written(tmp_path / "first.yaml", output="a", seed=7, schedule={"passes": 3, "clip_lengths": {1: 0.5, 2: 0.5}})
    written(tmp_path / "below" / "second.yaml", base="../first.yaml", schedule={"clip_lengths": {4: 1.0}})
    last = written(tmp_path / "last.yaml", base="below/second.yaml", output="b")
    config = resolve(TrainConfig, read_file(last, TrainConfig))
    assert (config.output, config.seed, config.schedule.passes) == (Path("b"), 7, 3)
    assert config.schedule.clip_lengths == {4: 1.0}


def test_a_key_given_at_the_top_wins_over_the_same_under_its_stage_below(tmp_path: Path) -> None:
    written(tmp_path / "first.yaml", output="a", schedule={"passes": 3})
    last = written(tmp_path / "last.yaml", base="first.yaml", passes=4)
    assert resolve(TrainConfig, read_file(last, TrainConfig)).schedule.passes == 4


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("last.yaml", "last.yaml is its own base"),
        ("first.yaml", "first.yaml: unknown key 'pass'"),
        ("none.yaml", "cannot read the config file .*none.yaml"),
        (["first.yaml"], "last.yaml: base must be the path"),
    ],
)
def test_a_base_that_makes_no_sense_is_an_error_that_names_the_file(tmp_path: Path, base: Any, says: str) -> None:
    written(tmp_path / "first.yaml", **{"pass": 3})
    with pytest.raises(ConfigError, match=says):
        read_file(written(tmp_path / "last.yaml", base=base), TrainConfig)


@pytest.mark.parametrize(
    "path", sorted([*CONFIGS.glob("train_*.yaml"), *CONFIGS.glob("study_*.yaml")]), ids=lambda path: path.stem
)
def test_every_configuration_is_valid_and_names_no_folder_outside(path: Path) -> None:
    config = resolve(TrainConfig, read_file(path, TrainConfig))
    folders = [*config.datasets, config.output, config.start_from, *(videos.root for videos in config.videos)]
    assert config.card.name and config.card.description
    for folder in filter(None, folders):
        assert not folder.is_absolute() and ".." not in folder.parts
