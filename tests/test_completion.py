"""Completion as bash does it: the script is sourced, the words typed, and what it answers looked at."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vidsal.cli import main

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

# What readline does at a TAB: set the words, call the function that `complete` names, take COMPREPLY.
_DRIVER = """
source "$1"; shift
function_name=$(complete -p vidsal | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
"$function_name" vidsal "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "vidsal.bash"
    with pytest.MonkeyPatch.context() as patch, path.open("w") as out:
        patch.setattr("sys.stdout", out)
        assert main(["completion", "bash"]) == 0
    return path


def completed(script: Path, folder: Path, *words: str) -> list[str]:
    ended = subprocess.run(
        ["bash", "--norc", "-c", _DRIVER, "bash", str(script), "vidsal", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == ""
    return ended.stdout.split()


@needs_bash
@pytest.mark.parametrize(
    ("words", "answers"),
    [
        (["ru"], ["run"]),
        (["comp"], ["compare", "compare-models", "completion"]),
        (["weights", "f"], ["fetch"]),
        (["weights", "show", "sam-v"], ["sam-vgg"]),
        (["run", "--opac"], ["--opacity"]),
        (["run", "--no-det"], ["--no-detect-cuts"]),
        (["run", "--smoothing", ""], ["none", "exponential", "motion", "gaussian"]),
        (["run", "clip.mp4", "--peak-filter", "one"], ["one-euro"]),
        (["run", "clip.mp4", "--export", "sh"], ["shots"]),
        (["train", "--optim"], ["--optimizer"]),
        (["train", "--optimizer", "rms"], ["rmsprop"]),
        (["eval", "dhf"], ["dhf1k"]),
        (["eval", "--print"], ["--print-config"]),
        (["data", "density", "--format", ""], ["png", "npz"]),
        (["run", "--model", "mi"], ["mine.safetensors"]),
        (["run", "--model", "sam-v"], ["sam-vgg"]),
        (["run", "mi"], ["mine.safetensors"]),
        (["train", "con"], ["config.yaml"]),
        (["batch", "ver"], ["verify"]),
        (["batch", "mi"], ["mine.safetensors"]),
        (["batch", "in", "con"], ["config.yaml"]),
        (["batch", "--keep-f"], ["--keep-free"]),
        (["batch", "retry", "--dam"], ["--damaged"]),
        (["run", "--opacity", ""], []),
        (["nothing", "--op"], []),
    ],
)
def test_bash_completes_commands_flags_choices_and_files(
    script: Path, tmp_path: Path, words: list[str], answers: list[str]
) -> None:
    for name in ("mine.safetensors", "config.yaml"):
        (tmp_path / name).touch()
    assert completed(script, tmp_path, *words) == answers


@pytest.mark.parametrize(("shell", "begins"), [("zsh", "#compdef vidsal"), ("tcsh", "# AUTOMATICALLY GENERATED")])
def test_other_shells_have_a_script_too(shell: str, begins: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert script.startswith(begins) and "--smoothing" in script


def test_an_unknown_shell_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["completion", "csh"])
    assert end.value.code == 2 and "bash" in capsys.readouterr().err
