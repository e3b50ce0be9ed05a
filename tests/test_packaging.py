"""The wheel as a user gets it: built here from the checkout, opened, its files listed, its installation planned."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LARGEST_WHEEL_BYTES = 15 * 2**20

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the build backend is not installed: pip install hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("vidsal-*.whl")
    return path


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    kinds = (".py", ".typed", ".safetensors", ".html", ".css", ".js", ".txt")
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "vidsal").rglob("*") if path.name.endswith(kinds)}
    assert {"vidsal/py.typed", "vidsal/report/assets/uPlot.LICENSE.txt"} <= expected
    assert expected <= names_in(wheel)


def test_the_wheel_holds_the_licence_and_the_notice(wheel: Path) -> None:
    names = {Path(name).name for name in names_in(wheel) if ".dist-info/licenses/" in name}
    assert {"LICENSE", "NOTICE"} <= names


def test_the_wheel_holds_nothing_but_the_package(wheel: Path) -> None:
    assert {name.split("/")[0].split("-")[0] for name in names_in(wheel)} == {"vidsal"}
    assert not [name for name in names_in(wheel) if "__pycache__" in name or name.endswith((".pt", ".pth", ".pkl"))]


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size <= LARGEST_WHEEL_BYTES


def test_the_embedded_default_is_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        weights = [entry for entry in archive.infolist() if entry.filename.endswith(".safetensors")]
    assert all(entry.file_size <= 10 * 2**20 for entry in weights)
    assert sum(entry.file_size for entry in weights) <= 16_000_000


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def plan(wheel: Path, environment: Path, *, torch: str) -> tuple[set[str], str]:
    """Names that pip would install of the wheel beside this torch and all that is here, and what it says.

    The environment is made: it has the records of what is installed here, but torchvision's. No index is asked, so
    nothing else can come: what pip would have to fetch or to replace is an error.
    """
    made = [sys.executable, "-m", "venv", "--without-pip", str(environment)]
    subprocess.run(made, check=True, stdin=subprocess.DEVNULL, timeout=120)
    places = {"base": str(environment), "platbase": str(environment)}
    packages, programs = (Path(sysconfig.get_path(name, "venv", places)) for name in ("purelib", "scripts"))
    for one in importlib.metadata.distributions():
        name, text = canonical(one.metadata["Name"]), one.read_text("METADATA")
        if name in ("vidsal", "torchvision") or text is None:
            continue
        if name == "torch":
            text = re.sub(r"^Version: .*$", f"Version: {torch}", text, count=1, flags=re.MULTILINE)
        record = packages / f"{name.replace('-', '_')}-{torch if name == 'torch' else one.version}.dist-info"
        record.mkdir(exist_ok=True)
        (record / "METADATA").write_text(text, "utf-8")
    python = programs / Path(sys.executable).with_stem("python").name
    report = environment / "report.json"
    command = [sys.executable, "-m", "pip", "--python", str(python), "--isolated", "install", "--dry-run"]
    command += ["--no-index", "--report", str(report), str(wheel)]
    # Neither options of this machine nor constraints that it sets.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    clean["PIP_CONFIG_FILE"] = os.devnull
    done = subprocess.run(
        command, env=clean, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=240
    )
    planned = json.loads(report.read_text())["install"] if done.returncode == 0 else []
    return {canonical(one["metadata"]["name"]) for one in planned}, done.stdout + done.stderr


@pytest.mark.parametrize("torch", ["2.6.0+cpu", "3.0.1"])
def test_the_wheel_leaves_the_torch_alone_that_is_there(wheel: Path, tmp_path: Path, torch: str) -> None:
    pytest.importorskip("pip", reason="no pip to ask for its plan")
    names, said = plan(wheel, tmp_path / "environment", torch=torch)
    assert names == {"vidsal"}, said


def test_a_torch_that_is_too_old_would_not_be_left(wheel: Path, tmp_path: Path) -> None:
    pytest.importorskip("pip", reason="no pip to ask for its plan")
    names, said = plan(wheel, tmp_path / "environment", torch="2.5.1+cpu")
    assert not names and "No matching distribution found for torch>=2.6" in said


def test_what_the_package_imports_is_declared(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        required = re.findall(r"^Requires-Dist: (.*)$", archive.read(metadata).decode(), re.MULTILINE)
    declared = {canonical(Requirement(one).name) for one in required}
    owners = importlib.metadata.packages_distributions()
    imported: dict[str, Path] = {}
    for path in (ROOT / "vidsal").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0]: path for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported[node.module.partition(".")[0]] = path
    foreign = {
        name: path for name, path in imported.items() if name not in sys.stdlib_module_names and name != "vidsal"
    }
    assert {"torch", "cv2", "kornia_rs"} <= set(foreign)
    for name, path in foreign.items():
        assert declared & {canonical(owner) for owner in owners.get(name, [name])}, f"{path} imports {name}"
