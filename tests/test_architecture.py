"""The shape of the code, held by reading it: who may import whom, one file with a thread, one with rich, sorted names.

The order is the table of docs/architecture.md, from top to bottom and from left to right.
"""

from __future__ import annotations

import ast
import doctest
import functools
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "vidsal"
LAST = ("__init__", "__main__")
"""The public names and the entry point stand below everything; the table leaves them out."""

MODULES = sorted(PACKAGE.rglob("*.py"))
MOVERS = {"os": {"replace", "rename", "renames", "link"}, "shutil": {"move"}}
THREAD_MAKERS = {"Thread", "Timer", "ThreadPool", "ThreadPoolExecutor", "ProcessPoolExecutor", "start_new_thread"}


def by_path(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


each_module = pytest.mark.parametrize("path", MODULES, ids=by_path)


# Reading the code.


@functools.cache
def parse(source: str) -> ast.Module:
    """The tree of a source, which nobody changes: a dozen tests read each file."""
    return ast.parse(source)


@functools.cache
def nodes_of(source: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(parse(source)))


def module_name(path: Path) -> str:
    """`vidsal.decode` for vidsal/decode/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def stage_of(module: str) -> str:
    """The file or folder straight below the package: `decode` for vidsal.decode.pyav, `__init__` for vidsal itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def is_submodule(module: str) -> bool:
    place = ROOT.joinpath(*module.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def imports(source: str, module: str, *, is_package: bool = False) -> set[str]:
    """Full names of all modules a source imports, also inside functions and under TYPE_CHECKING."""
    found: set[str] = set()
    for node in nodes_of(source):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")
            base = ".".join(parents[: len(parents) - node.level + is_package]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                name = f"{origin}.{alias.name}"
                found.add(name if is_submodule(name) else origin)
    return found


def imports_of(path: Path) -> set[str]:
    return imports(path.read_text(encoding="utf-8"), module_name(path), is_package=path.name == "__init__.py")


def own_imports(path: Path) -> set[str]:
    return {name for name in imports_of(path) if name.split(".")[0] == "vidsal"}


def order_in_the_document() -> list[str]:
    """The first column of the table under "Files", as stages."""
    section = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Files")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name.removesuffix(".py").rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)]


def upward_imports(stage: str, imported: set[str], order: list[str]) -> set[str]:
    """Those of the imported vidsal modules that do not stand above the stage."""
    above = {*order[: order.index(stage)], stage}
    return {name for name in imported if stage_of(name) not in above}


def names_used(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name.split(".")[-1]


def moves_of_files(source: str) -> list[int]:
    """Lines that put a file under another name: what `os` and `shutil` have for it, `Path.rename`, `Path.replace`.

    A text's `replace` takes two values, and those of dataclasses and times take names; a path's takes one value. Where
    `replace` is handed on without a call, nobody can tell, so that counts.
    """
    nodes = nodes_of(source)
    modules = {
        alias.asname or alias.name: alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
    }
    calls = {id(node.func): node for node in nodes if isinstance(node, ast.Call)}
    lines = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found = bool(MOVERS.get(node.module or "", set()) & {alias.name for alias in node.names})
        elif isinstance(node, ast.Attribute):
            owner = modules.get(node.value.id, "") if isinstance(node.value, ast.Name) else ""
            call = calls.get(id(node))
            of_a_path = call is None or len(call.args) + sum(word.arg == "target" for word in call.keywords) == 1
            found = node.attr in MOVERS.get(owner, set()) or node.attr == "rename"
            found |= node.attr == "replace" and of_a_path and not (call and {w.arg for w in call.keywords} - {"target"})
        else:
            continue
        if found:
            lines.append(node.lineno)
    return lines


OPENERS = {"av": "open", "cv2": "VideoCapture", "decord": "VideoReader"}


def opens_by_a_bare_name(source: str) -> list[int]:
    """Lines that hand a name to FFmpeg as it is: what looks like an address or a pattern would be taken for one.

    A camera's number, an address and what lies in memory have other ways in: `vidsal/decode/local.py`, `io.BytesIO`.
    """
    calls = [
        node
        for node in nodes_of(source)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
    ]
    lines = []
    for call in calls:
        if OPENERS.get(call.func.value.id) == call.func.attr:  # type: ignore[attr-defined]
            first = next(iter(call.args), None)
            named = set(names_used(first.func if isinstance(first, ast.Call) else first)) if first else set()
            if not named & {"local_name", "BytesIO"}:
                lines.append(call.lineno)
    return lines


def swallows_everything(handler: ast.ExceptHandler) -> bool:
    """True where a handler takes any exception and does not end by raising."""
    caught = [] if handler.type is None else getattr(handler.type, "elts", [handler.type])
    wide = not caught or any(name in ("Exception", "BaseException") for kind in caught for name in names_used(kind))
    return wide and not isinstance(handler.body[-1], ast.Raise)


def exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return None


def fields_without_docstring(tree: ast.Module) -> list[str]:
    """Public fields of public dataclasses that no string literal follows."""
    bare = []
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        if not any("dataclass" in names_used(decorator) for decorator in node.decorator_list):
            continue
        for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            described = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if not described and not statement.target.id.startswith("_"):
                bare.append(f"{node.name}.{statement.target.id}")
    return bare


def parsed(path: Path) -> ast.Module:
    return parse(path.read_text(encoding="utf-8"))


# The rules.


def test_the_document_lists_every_file_once_and_no_other() -> None:
    listed = order_in_the_document()
    present = {stage_of(module_name(path)) for path in MODULES} - set(LAST)
    assert len(listed) == len(set(listed))
    assert present <= set(listed), "add the new file to the table of docs/architecture.md, where it belongs"
    missing = {name for name in listed if not (PACKAGE / name).exists() and not (PACKAGE / f"{name}.py").exists()}
    assert not missing, "the table of docs/architecture.md names files that do not exist"


@each_module
def test_a_file_imports_only_from_files_above_it(path: Path) -> None:
    order = [*order_in_the_document(), *LAST]
    assert not upward_imports(stage_of(module_name(path)), own_imports(path), order)


def test_files_of_one_folder_do_not_import_each_other_in_a_circle() -> None:
    imported = {module_name(path): own_imports(path) for path in MODULES if stage_of(module_name(path)) not in LAST}
    while imported:
        free = {name for name, needed in imported.items() if not (needed - {name}) & imported.keys()}
        assert free, f"these import each other: {sorted(imported)}"
        imported = {name: needed for name, needed in imported.items() if name not in free}


@each_module
def test_only_prefetch_makes_threads(path: Path) -> None:
    if path.name != "prefetch.py":
        assert not THREAD_MAKERS & set(names_used(parsed(path)))


@each_module
def test_only_files_puts_a_file_under_another_name(path: Path) -> None:
    if path.name != "files.py":
        # What these rename lies on a server.
        allowed = {"batch/stores.py": 1}.get(by_path(path), 0)
        assert len(moves_of_files(path.read_text(encoding="utf-8"))) <= allowed, "use vidsal.files.replacing"


@each_module
def test_files_are_opened_by_a_name_that_is_never_an_address(path: Path) -> None:
    # What these open by another name is no file on a disk: an address, a camera, bytes in memory.
    lines = opens_by_a_bare_name(path.read_text(encoding="utf-8"))
    allowed = {"decode/local.py": 2, "decode/opencv.py": 1, "sinks/containers.py": 2}.get(by_path(path), 0)
    assert len(lines) <= allowed, (
        f"use vidsal.decode.local.open_file to read, vidsal.files.local_name to write: {lines}"
    )


@each_module
def test_only_the_console_imports_rich(path: Path) -> None:
    if path.name != "console.py":
        assert "rich" not in {name.split(".")[0] for name in imports_of(path)}


@each_module
def test_exported_names_exist_and_are_sorted(path: Path) -> None:
    tree = parsed(path)
    names = exported(tree)
    if names is None:
        assert path.name in ("__init__.py", "__main__.py") or path.name.startswith("_"), "a public file has an __all__"
        return
    assert len(names) == len(set(names))
    # ruff puts all constants before all classes, sorted() does not; both are orders.
    assert names in (sorted(names), sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name)))
    module = importlib.import_module(module_name(path))
    assert not [name for name in names if not hasattr(module, name)]


@each_module
def test_a_file_says_what_it_is_for_in_its_first_line(path: Path) -> None:
    docstring = ast.get_docstring(parsed(path))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", ":", ";", "?"))


@each_module
def test_input_is_never_checked_by_assert(path: Path) -> None:
    assert not [node.lineno for node in ast.walk(parsed(path)) if isinstance(node, ast.Assert)]


@each_module
def test_no_handler_swallows_every_error(path: Path) -> None:
    # The thread hands each error over to the consumer: that is its one way to raise. The others are where one input
    # among many, or one model, fails alone, whatever it was, and is reported.
    if by_path(path) not in ("prefetch.py", "cli/run.py", "pipe/many.py", "batch/task.py", "comparing/run.py"):
        handlers = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.ExceptHandler)]
        assert not [handler.lineno for handler in handlers if swallows_everything(handler)]


@each_module
def test_every_field_of_a_public_dataclass_is_described(path: Path) -> None:
    assert not fields_without_docstring(parsed(path))


def test_no_two_private_classes_share_a_name() -> None:
    names = [node.name for path in MODULES for node in parsed(path).body if isinstance(node, ast.ClassDef)]
    assert not {name for name in names if name.startswith("_") and names.count(name) > 1}
    assert any(name.startswith("_") for name in names)


@pytest.mark.parametrize("path", [path for path in MODULES if ">>>" in path.read_text(encoding="utf-8")], ids=by_path)
def test_the_examples_in_the_docstrings_hold(path: Path) -> None:
    result = doctest.testmod(importlib.import_module(module_name(path)))
    assert result.attempted
    assert not result.failed


# The reading itself: each of the rules above has to fail on code that breaks it.


def test_every_way_to_import_is_seen() -> None:
    source = """
import vidsal.pipe
from vidsal import frames, open_video
from . import contract
from .pyav import Reader
from ..errors import DecodeError
def later():
    from vidsal.sinks import Sink
if TYPE_CHECKING:
    import rich.live
"""
    assert {name for name in imports(source, "vidsal.decode", is_package=True) if name != "vidsal.decode"} >= {
        "vidsal.pipe",
        "vidsal.frames",
        "vidsal",
        "vidsal.errors",
        "vidsal.sinks",
        "rich.live",
    }
    assert "vidsal.errors" in imports("from ..errors import DecodeError", "vidsal.decode.pyav")
    assert "vidsal.frames" in imports("from . import frames", "vidsal.pipe")


def test_an_import_from_below_is_seen() -> None:
    order = ["errors", "frames", "decode", "pipe", *LAST]
    assert not upward_imports("decode", {"vidsal.errors", "vidsal.decode.contract"}, order)
    assert upward_imports("decode", {"vidsal.pipe"}, order) == {"vidsal.pipe"}
    assert upward_imports("decode", {"vidsal"}, order) == {"vidsal"}


@pytest.mark.parametrize(
    ("source", "broken"),
    [
        ("try: f()\nexcept Exception: pass", True),
        ("try: f()\nexcept: pass", True),
        ("try: f()\nexcept (OSError, builtins.BaseException) as error: log(error)", True),
        ("try: f()\nexcept Exception:\n    close()\n    raise", False),
        ("try: f()\nexcept OSError: pass", False),
    ],
)
def test_a_handler_that_swallows_everything_is_seen(source: str, broken: bool) -> None:
    (handler,) = [node for node in nodes_of(source) if isinstance(node, ast.ExceptHandler)]
    assert swallows_everything(handler) is broken


@pytest.mark.parametrize("source", ["threading.Thread(f)", "from threading import Timer", "executor(ThreadPool)"])
def test_a_thread_is_seen(source: str) -> None:
    assert THREAD_MAKERS & set(names_used(parse(source)))


@pytest.mark.parametrize(
    ("source", "moves"),
    [
        ("import os\nos.replace(a, b)", True),
        ("import os as system\nsystem.rename(a, b)", True),
        ("import os\nlater(os.replace)", True),
        ("from os import rename as r\nr(a, b)", True),
        ("import shutil\nshutil.move(a, b)", True),
        ("from shutil import move", True),
        ("partial.replace(path)", True),
        ("folder.joinpath('a').replace(target=path)", True),
        ("Path(a).rename(b)", True),
        ("later(partial.replace)", True),
        ("text.replace('a', 'b')", False),
        ("text.replace('a', 'b', 1)", False),
        ("import dataclasses\ndataclasses.replace(options, seed=1)", False),
        ("dataclasses.replace(options, **changes)", False),
        ("from dataclasses import replace\nreplace(options, seed=1)", False),
        ("moment.replace(tzinfo=None)", False),
        ("import os\nos.unlink(a)", False),
    ],
)
def test_a_file_put_under_another_name_is_seen(source: str, moves: bool) -> None:
    assert bool(moves_of_files(source)) is moves


@pytest.mark.parametrize(
    ("source", "bare"),
    [
        ("av.open(str(path))", True),
        ("av.open(path, 'w')", True),
        ("av.open()", True),
        ("with av.open(f'file:{path}') as c: pass", True),
        ("cv2.VideoCapture(name)", True),
        ("decord.VideoReader(str(path))", True),
        ("av.open(local_name(path))", False),
        ("av.open(io.BytesIO(), 'w')", False),
        ("path.open()", False),
    ],
)
def test_a_file_opened_by_a_bare_name_is_seen(source: str, bare: bool) -> None:
    assert bool(opens_by_a_bare_name(source)) is bare


def test_a_field_without_a_description_is_seen() -> None:
    source = """
@dataclasses.dataclass(frozen=True)
class Options:
    told: int = 1
    "What it does."
    untold: int = 2
    _private: int = 3
"""
    assert fields_without_docstring(parse(source)) == ["Options.untold"]


def test_the_table_is_read_in_its_order() -> None:
    order = order_in_the_document()
    assert order.index("errors") == 0
    assert order.index("frames") < order.index("decode") < order.index("pipe") < order.index("cli")
