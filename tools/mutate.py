"""Change one small thing after another in a module and list the changes that its tests do not see.

    python tools/mutate.py [MODULE...] [--only TEXT] [--every N] [--list] [--results FOLDER]

MODULE is a path such as vidsal/shots.py; without one, all modules of `TESTS` are gone through. A change ("mutant")
turns < into <=, + into -, `and` into `or`, 3 into 4, a condition into True or False, leaves a call out, and the like.
Not changed: docstrings, annotations, `TYPE_CHECKING`, decorators, `__all__`, `strict=` and `total=`, and the texts of
errors, reports and columns. Each mutant meets the tests of its module that run the changed line, quickest first, until
one fails.

`tests/mutation_survivors.toml` holds the mutants that no test can or should see, each with its reason. One of them that
is killed, or that is in the source no more, is named, so that the list stays true. The command exits with 1 then, and
if a survivor without a reason is left.

Results are kept in FOLDER (.mutation): a second call tries again what survived without a reason, and what is in a
function that has changed. Delete the folder to begin anew.

How it is fast: libraries are imported once; a process is forked for each mutant; inside it the code of one function is
exchanged. What is not inside a function is tried by importing the changed module in a fork that has no vidsal yet.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import gc
import hashlib
import importlib
import importlib.abc
import importlib.util
import json
import os
import resource
import signal
import sys
import tempfile
import time
import tomllib
import types
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import coverage
import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
REASONS = ROOT / "tests" / "mutation_survivors.toml"
LIBRARIES = ("torch", "scipy.ndimage", "scipy.optimize", "cv2", "av", "hypothesis.strategies", "yaml")
"""Imported once for all runs; vidsal itself must not be among them."""
OPTIONS = (
    "-q",
    "-p",
    "no:cacheprovider",
    "--tb=no",
    "--assert=plain",
    "-o",
    "tmp_path_retention_policy=none",
    "-m",
    "not gpu",
)

TESTS: dict[str, tuple[str, ...]] = {
    "vidsal/decode/clock.py": ("test_clock.py", "test_decode.py"),
    "vidsal/shots.py": ("test_shots.py",),
    "vidsal/tracks.py": ("test_tracks.py", "test_exports_shots.py"),
    "vidsal/preprocess.py": ("test_preprocess.py",),
    "vidsal/smooth/contract.py": ("test_smooth.py", "test_smooth_contract.py"),
    "vidsal/smooth/exponential.py": ("test_smooth.py", "test_smooth_contract.py", "test_smooth_memory.py"),
    "vidsal/smooth/gaussian.py": ("test_smooth.py", "test_smooth_contract.py", "test_smooth_memory.py"),
    "vidsal/smooth/motion.py": ("test_smooth_motion.py", "test_smooth.py", "test_smooth_contract.py"),
    "vidsal/smooth/options.py": ("test_defaults.py", "test_smooth.py", "test_smooth_contract.py"),
    "vidsal/batch/dataset.py": ("test_batch_dataset.py",),
    "vidsal/exports/shots.py": ("test_exports_shots.py",),
    "vidsal/exports/tables.py": ("test_batch_dataset.py",),
    "vidsal/pipe/between.py": ("test_pipe_between.py",),
    "vidsal/pipe/downloads.py": ("test_pipe_downloads.py", "test_cuda_order.py", "test_pipe_many.py"),
    "vidsal/pipe/many.py": ("test_pipe_many_ends.py",),
    "vidsal/pipe/options.py": ("test_defaults.py", "test_pipe_outputs.py", "test_config.py"),
    "vidsal/pipe/outputs.py": ("test_pipe_outputs.py",),
    "vidsal/pipe/places.py": ("test_pipe_outputs.py", "test_addresses.py"),
    "vidsal/pipe/predict.py": ("test_pipe_predict.py", "test_pipe_every.py"),
    "vidsal/pipe/record.py": ("test_pipe_standing.py",),
    "vidsal/pipe/run.py": ("test_pipe_run.py",),
    "vidsal/sinks/boxes.py": ("test_boxes.py", "test_tags.py"),
    "vidsal/sinks/containers.py": ("test_containers.py", "test_remux.py"),
    "vidsal/sinks/contract.py": ("test_sinks_scratch.py", "test_sinks_small.py", "test_sinks.py"),
    "vidsal/sinks/device.py": ("test_sinks_device.py", "test_cuda_order.py", "test_gpu_edges.py"),
    "vidsal/sinks/image.py": ("test_sinks_small.py", "test_sinks.py"),
    "vidsal/sinks/maps.py": ("test_sinks_scratch.py", "test_sinks_small.py", "test_sinks.py"),
    "vidsal/sinks/marks.py": ("test_video_edges.py",),
    "vidsal/sinks/options.py": ("test_defaults.py", "test_sinks_video.py"),
    "vidsal/sinks/remux.py": ("test_remux_edges.py", "test_remux.py"),
    "vidsal/sinks/shots.py": ("test_exports_shots.py", "test_sinks.py"),
    "vidsal/sinks/sound.py": ("test_sound.py", "test_remux.py"),
    "vidsal/sinks/tables.py": ("test_sinks_small.py", "test_sinks.py"),
    "vidsal/sinks/tags.py": ("test_tags.py", "test_remux.py"),
    "vidsal/sinks/video.py": (
        *("test_video_edges.py", "test_sinks_video.py", "test_sinks_deep.py"),
        *("test_sinks.py", "test_remux.py", "test_gpu_edges.py"),
    ),
}
"""The tests that answer for a module."""

SURVIVED = "survived"


# Mutants.


@dataclass(frozen=True)
class Mutant:
    """One change of a module."""

    name: str
    """Function and statement with {before -> after}; unique in the module, and the same wherever the lines move."""
    line: int
    lines: range
    """Lines of the statement, for a compound one of its head."""
    function: tuple[str, int] | None
    """Qualified name and first line of the outermost function whose body is changed; None outside of functions."""
    digest: str
    """Of that function, or of the module."""
    apply: Callable[[], Callable[[], None]]
    """Changes the tree in place; gives back what undoes it."""


_Statement = ast.stmt | ast.match_case

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}
_CALLS |= {"ceil": "floor", "floor": "ceil", "argmax": "argmin", "argmin": "argmax"}
_TEXTS = ("Error", "warn", "say", "_column", "TypeVar", "NewType", "cast", "getLogger")
"""Ends of the names of what is called with texts for people or for type checkers."""


def _called(node: ast.Call) -> str:
    return getattr(node.func, "id", None) or getattr(node.func, "attr", "")


def _variants(node: ast.AST, parent: ast.AST) -> Iterator[ast.AST]:
    """What the node may become."""
    match node:
        case ast.Compare():
            for i, op in enumerate(node.ops):
                if _is_condition(node, parent) and not isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                    continue  # it becomes True and False, which is more
                yield ast.Compare(node.left, [*node.ops[:i], _SWAPS[type(op)](), *node.ops[i + 1 :]], node.comparators)
        case ast.BinOp(op=op) if type(op) in _SWAPS:
            yield ast.BinOp(node.left, _SWAPS[type(op)](), node.right)
        case ast.AugAssign(op=op) if type(op) in _SWAPS:
            yield ast.AugAssign(node.target, _SWAPS[type(op)](), node.value)
        case ast.BoolOp(op=op):
            yield ast.BoolOp(_SWAPS[type(op)](), node.values)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(2 * value if value else 1.0)
        case ast.Constant(value=str(value)) if " " not in value:
            yield ast.Constant(value + "XX")
        case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
            yield ast.Call(ast.Name(_CALLS[name], ast.Load()), node.args, node.keywords)
        case ast.Call(func=ast.Attribute(attr=name)) if name in _CALLS:
            yield ast.Call(ast.Attribute(node.func.value, _CALLS[name], ast.Load()), node.args, node.keywords)
        case ast.Expr(value=ast.Call()) | ast.Return(value=None) | ast.Raise(exc=None) | ast.Delete():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) if getattr(parent, "name", "") != "__init__":
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
    if _is_condition(node, parent):
        if not isinstance(parent, ast.While):
            yield ast.Constant(True)
        yield ast.Constant(False)


def _is_condition(node: ast.AST, parent: ast.AST) -> bool:
    if isinstance(parent, ast.comprehension):
        return node in parent.ifs
    return isinstance(parent, ast.If | ast.IfExp | ast.While) and node is parent.test


def _is_left_alone(node: ast.AST, parent: ast.AST, field: str) -> bool:
    if field in ("annotation", "returns", "decorator_list", "format_spec"):
        return True
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Raise(exc=ast.expr()) | ast.Name(id="TYPE_CHECKING"):
            return True
        case ast.keyword(arg="strict" | "total") | ast.Subscript(value=ast.Name(id="Literal")):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Constant(value=str()) if isinstance(parent, ast.JoinedStr):
            return True
        case ast.Call():
            return _called(node).endswith(_TEXTS) and not isinstance(parent, ast.keyword)
        case ast.JoinedStr():
            return any(isinstance(part, ast.Constant) and " " in str(part.value) for part in node.values)
    return False


def mutants_of(tree: ast.Module) -> list[Mutant]:
    """All changes of a module, in the order of its lines."""
    found: list[Mutant] = []
    digests = {None: _digest(tree)}
    counts: Counter[str] = Counter()

    def visit(
        node: ast.AST,
        statement: _Statement | None,
        path: tuple[str, ...],
        function: tuple[str, int] | None,
    ) -> None:
        for field, value in ast.iter_fields(node):
            children = value if isinstance(value, list) else [value]
            for place, child in enumerate(children):
                if not isinstance(child, ast.AST) or _is_left_alone(child, node, field):
                    continue
                around = child if isinstance(child, ast.stmt | ast.match_case) else statement
                if hasattr(child, "lineno"):
                    index = place if isinstance(value, list) else None
                    for after in _variants(child, node):
                        add(node, field, index, child, after, around, path, function)
                if isinstance(child, ast.FunctionDef):
                    name = ".".join((*path, child.name))
                    first = min([child.lineno, *(each.lineno for each in child.decorator_list)])
                    visit(child.args, child, (*path, child.name), function)
                    outermost = function or (name, first)
                    digests.setdefault(outermost, _digest(child))
                    inside = ast.FunctionDef(child.name, None, child.body)
                    visit(inside, child, (*path, child.name, "<locals>"), outermost)
                elif isinstance(child, ast.ClassDef):
                    visit(child, child, (*path, child.name), function)
                else:
                    visit(child, around, path, function)

    def add(
        parent: ast.AST, field: str, index: int | None, before: ast.AST, after: ast.AST, statement: _Statement | None,
        path: tuple[str, ...], function: tuple[str, int] | None,
    ) -> None:  # fmt: skip
        ast.copy_location(after, before)
        ast.fix_missing_locations(after)

        def put(node: ast.AST) -> None:
            if index is None:
                setattr(parent, field, node)
            else:
                getattr(parent, field)[index] = node

        def apply() -> Callable[[], None]:
            put(after)
            return lambda: put(before)

        assert statement is not None  # noqa: S101
        text = f"{{{_head(before)} -> {_head(after)}}}"
        if before is not statement:
            put(ast.Name("MUTATED", ast.Load()))
            text = _head(statement).replace("MUTATED", text)
            put(before)
        where = ".".join(each for each in path if each != "<locals>")
        name = f"{where}: {text}" if where else text
        counts[name] += 1
        name += f" #{counts[name]}" if counts[name] > 1 else ""
        line: int = before.lineno  # type: ignore[attr-defined]
        found.append(Mutant(name, line, _lines(statement), function, digests[function], apply))

    visit(tree, None, (), None)
    return found


def _digest(node: ast.AST) -> str:
    return hashlib.sha256(ast.dump(node).encode()).hexdigest()[:16]


def _lines(statement: _Statement) -> range:
    body = getattr(statement, "body", None)
    if isinstance(statement, ast.match_case):
        return range(statement.pattern.lineno, statement.body[0].lineno)
    first = min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", []))])
    return range(first, max(first + 1, body[0].lineno) if body else (statement.end_lineno or first) + 1)


def _head(node: ast.AST) -> str:
    """The source of a node on one line, of a compound statement its head."""
    if isinstance(node, ast.match_case):
        return f"case {ast.unparse(node.pattern)}:"
    if isinstance(node, ast.Match):
        return f"match {ast.unparse(node.subject)}:"
    if hasattr(node, "body") and isinstance(node, ast.stmt):
        node = copy.copy(node)
        for field in ("body", "orelse", "finalbody", "handlers", "decorator_list"):
            if hasattr(node, field):
                setattr(node, field, [ast.Pass()] if field == "body" else [])
        if isinstance(node, ast.Try):
            return "try:"
        return ast.unparse(node).rsplit("\n", 1)[0]
    return ast.unparse(node)


# Trying them.


class Module:
    """A module with its mutants."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = str(ROOT / path)
        self.name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        source = Path(self.file).read_bytes()
        self.tree = ast.parse(source)
        self.mutants = mutants_of(self.tree)

    def compile(self, mutant: Mutant) -> types.CodeType:
        undo = mutant.apply()
        try:
            return compile(self.tree, self.file, "exec", dont_inherit=True)
        finally:
            undo()

    def function_of(self, mutant: Mutant) -> types.CodeType:
        """The changed code of the function that the mutant is in."""
        codes = _codes(self.compile(mutant))
        return next(code for code in codes if (code.co_qualname, code.co_firstlineno) == mutant.function)


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the changed form of one module."""

    def __init__(self, module: Module, mutant: Mutant) -> None:
        self.module, self.code = module, module.compile(mutant)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname == self.module.name:
            return importlib.util.spec_from_file_location(fullname, self.module.file, loader=self)
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        exec(self.code, module.__dict__)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield each
            yield from _codes(each)


def _living_functions(module: Module) -> dict[tuple[str, int], list[types.FunctionType]]:
    """The functions that were made when the module was imported, by qualified name and first line."""
    found: dict[tuple[str, int], list[types.FunctionType]] = {}
    for each in gc.get_objects():
        # isinstance would ask each object, and some answer with a warning.
        if type(each) is types.FunctionType and each.__code__.co_filename == module.file:
            found.setdefault((each.__code__.co_qualname, each.__code__.co_firstlineno), []).append(each)
    return found


def in_fork(work: Callable[[], object], *, cpu_seconds: float = 3600, wall_seconds: float = 3600) -> str:
    """Result of the work in a process of its own, as text; "time" if it took too long, "killed by" the signal."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.close(read_end)
        limit = int(cpu_seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what pytest says
        result = ""
        try:
            result = str(work())
        except BaseException as error:  # noqa: BLE001  # it is raised again by the process that waits
            result = f"error: {error!r}"
        finally:
            os.write(write_end, result.encode()[:60000])
            os._exit(0)
    os.close(write_end)
    deadline = time.monotonic() + wall_seconds
    nap = 0.002
    try:
        while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                os.killpg(pid, signal.SIGXCPU)
                deadline += 5
            time.sleep(nap)
            nap = min(nap * 1.3, 0.05)
    except KeyboardInterrupt:
        os.killpg(pid, signal.SIGINT)
        raise
    with os.fdopen(read_end, "rb") as pipe:
        os.set_blocking(pipe.fileno(), False)
        result = (pipe.read() or b"").decode()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what a failed test has left
    if result.startswith("error"):
        raise RuntimeError(result)
    if result:
        return result
    cause = os.WTERMSIG(ended[1])
    return "time" if cause in (signal.SIGXCPU, signal.SIGKILL) else f"killed by signal {cause}"


class _Quiet:
    """For pytest: keeps the first failure; failing examples are not made smaller, which would take long."""

    def __init__(self) -> None:
        self.failed: str | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile("mutate", hypothesis.settings(), phases=phases, database=None)
        hypothesis.settings.load_profile("mutate")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid or "collection"


@dataclass
class Clean:
    """What the tests did with the module unchanged."""

    seconds: dict[str, tuple[float, float]]
    """Wall and CPU seconds of each test that runs the module, from the quickest, and then of quick others: they may
    look at a constant."""
    tests: dict[int, list[str]]
    """The tests that run a line."""

    def of(self, mutant: Mutant) -> list[str]:
        if mutant.function is not None:
            running = {test for line in mutant.lines for test in self.tests.get(line, ())}
            if running:
                return [test for test in self.seconds if test in running]
        return list(self.seconds)  # what runs at import, or in no test

    def limits(self, tests: Sequence[str]) -> dict[str, float]:
        wall, cpu = (sum(self.seconds[test][i] for test in tests) for i in (0, 1))
        return {"cpu_seconds": 5 * cpu + 5, "wall_seconds": 20 * wall + 30}


def _run_clean(module: Module, items: list[pytest.Item], quiet: _Quiet) -> str:
    record = coverage.Coverage(data_file=None, include=[module.file], config_file=False)
    seconds: dict[str, tuple[float, float]] = {}
    record.start()
    for item, following in zip(items, [*items[1:], None], strict=True):
        record.switch_context(item.nodeid)
        wall, cpu = time.monotonic(), time.process_time()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        seconds[item.nodeid] = time.monotonic() - wall, time.process_time() - cpu
        if quiet.failed:
            return json.dumps({"failed": quiet.failed})
    record.stop()
    lines = record.get_data().contexts_by_lineno(module.file)
    tests = {line: [test for test in names if test] for line, names in lines.items()}
    used = {test for names in tests.values() for test in names}
    quick = {test for test, (wall, _) in seconds.items() if wall < 0.1}
    order = sorted(used | quick, key=lambda test: (test not in used, seconds[test]))
    with Path(os.environ["MUTATE_CLEAN"]).open("w") as file:
        json.dump({"seconds": {test: seconds[test] for test in order}, "tests": tests}, file)
    return "{}"


class _Inside(_Quiet):
    """For pytest: instead of running the tests once, runs them for each mutant inside a function."""

    def __init__(self, module: Module, mutants: list[Mutant], keep: Callable[[Mutant, str], None]) -> None:
        super().__init__()
        self.module, self.mutants, self.keep = module, mutants, keep

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # one for all forks
        answer = in_fork(lambda: _run_clean(self.module, session.items, self))
        if answer != "{}":
            print(f"the tests of {self.module.path} do not pass as they are: {answer}", file=sys.stderr)
            raise SystemExit
        clean = read_clean()
        by_name = {item.nodeid: item for item in session.items}
        importlib.import_module(self.module.name)  # where only a function imports it
        self.functions = _living_functions(self.module)
        importlib.import_module("made").make_network()  # most tests of the pipe begin with it: once for all forks
        gc.freeze()
        last = ""
        for mutant in self.mutants:
            # What has killed the mutant before may well kill this one.
            tests = sorted(clean.of(mutant), key=last.__ne__)
            if mutant.function is None or not any(line in clean.tests for line in mutant.lines):
                continue
            code = self.module.function_of(mutant)
            if any(each.__code__.co_freevars != code.co_freevars for each in self.functions[mutant.function]):
                continue  # the only super() is left out: such code cannot be exchanged
            items = [by_name[test] for test in tests]
            answer = in_fork(lambda m=mutant, i=items: self.run(m, i), **clean.limits(tests))
            last = answer.removeprefix("killed by ")
            self.keep(mutant, answer)
        return True

    def run(self, mutant: Mutant, items: list[pytest.Item]) -> str:
        for function in self.functions[mutant.function]:
            function.__code__ = self.module.function_of(mutant)
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return f"killed by {self.failed}"
        return SURVIVED


def _run_afresh(module: Module, mutant: Mutant, tests: list[str], base: str) -> str:
    sys.meta_path.insert(0, _Changed(module, mutant))
    quiet = _Quiet()
    code = pytest.main([*OPTIONS, base, "-x", *tests], plugins=[quiet])
    return SURVIVED if code == 0 else f"killed by {quiet.failed}"


def read_clean() -> Clean:
    with Path(os.environ["MUTATE_CLEAN"]).open() as file:
        data = json.load(file)
    return Clean(data["seconds"], {int(line): names for line, names in data["tests"].items()})


class Results:
    """What became of each mutant of a module, kept in a file as long as its function stays as it is."""

    def __init__(self, folder: Path, module: Module) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / (module.path.replace("/", ".") + ".jsonl")
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        before = {(digest, name): answer for digest, name, answer in map(json.loads, lines)}
        self.answers = {
            mutant.name: before[mutant.digest, mutant.name]
            for mutant in module.mutants
            if (mutant.digest, mutant.name) in before
        }

    def names(self) -> list[str]:
        """What was tried, now and earlier, in the order in which it was."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return [json.loads(line)[1] for line in lines]

    def keep(self, mutant: Mutant, answer: str) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps([mutant.digest, mutant.name, answer]) + "\n")


def try_module(path: str, tests: Sequence[str], folder: Path, only: str, every: int, reasons: dict[str, str]) -> bool:
    """Tries the mutants of one module and prints what is left; False if a survivor has no reason."""
    began = time.monotonic()
    module = Module(path)
    results = Results(folder, module)
    known = {name for name, answer in results.answers.items() if answer != SURVIVED or name in reasons}
    chosen = [mutant for mutant in module.mutants[::every] if only in mutant.name]
    todo = [mutant for mutant in chosen if mutant.name not in known]

    def keep(mutant: Mutant, answer: str) -> None:
        results.keep(mutant, answer)
        print(f"{path}:{mutant.line}: {answer.split('::')[-1]}: {mutant.name}", file=sys.stderr, flush=True)

    if todo:
        before = len(results.names())
        with tempfile.TemporaryDirectory() as scratch:
            os.environ["MUTATE_CLEAN"] = f"{scratch}/clean.json"
            base = f"--basetemp={scratch}/tests"  # the usual place is emptied by whoever runs tests beside this
            files = [f"tests/{name}" for name in tests]
            answer = in_fork(
                lambda: pytest.main([*OPTIONS, base, *files], plugins=[_Inside(module, todo, keep)]),
                cpu_seconds=36000, wall_seconds=36000,
            )  # fmt: skip
            if answer != "0":
                raise SystemExit(f"{path}: {answer}")
            clean = read_clean()
            done = set(results.names()[before:])
            for mutant in todo:
                if mutant.name not in done:
                    names = clean.of(mutant)
                    work = lambda m=mutant, n=names: _run_afresh(module, m, n, base)  # noqa: E731
                    limits = clean.limits(names)
                    limits["cpu_seconds"] += 10  # for the imports
                    keep(mutant, in_fork(work, **limits))
    kept = Results(folder, module).answers
    tried = [mutant for mutant in chosen if mutant.name in kept]
    survived = [mutant for mutant in tried if kept[mutant.name] == SURVIVED]
    unexplained = [mutant for mutant in survived if mutant.name not in reasons]
    names = {mutant.name for mutant in module.mutants}
    stale = [name for name in reasons if kept.get(name, SURVIVED) != SURVIVED or name not in names]
    for mutant in unexplained:
        print(f"{path}:{mutant.line}: survived: {mutant.name}")
    for name in stale:
        print(f"{path}: in {REASONS.name} but {kept.get(name, 'not in the source')}: {name}")
    slow = sum(kept[mutant.name] == "time" for mutant in tried)
    print(
        f"{path}: {len(tried)} mutants, {len(tried) - len(survived)} killed ({slow} by the time limit), "
        f"{len(survived) - len(unexplained)} survived with a reason, {len(unexplained)} without; "
        f"{time.monotonic() - began:.0f} s",
        flush=True,
    )
    return not unexplained and not stale


def read_reasons() -> dict[str, dict[str, str]]:
    """Reason by name of the mutant, by module."""
    reasons: dict[str, dict[str, str]] = {}
    if REASONS.exists():
        for group in tomllib.loads(REASONS.read_text())["survivors"]:
            reasons.setdefault(group["module"], {}).update(dict.fromkeys(group["mutants"], group["reason"]))
    return reasons


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "modules", nargs="*", default=list(TESTS), metavar="MODULE", help="all of them if none is named"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="only the mutants whose name holds this")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th mutant, to be done sooner")
    parser.add_argument("--list", action="store_true", help="list the mutants and try none")
    parser.add_argument(
        "--results", type=Path, default=ROOT / ".mutation", metavar="FOLDER", help="where results are kept"
    )
    options = parser.parse_args(arguments)
    unknown = [path for path in options.modules if path not in TESTS]
    if unknown:
        parser.error(f"no tests are named for {', '.join(unknown)}; choose from {', '.join(TESTS)}")
    if options.list:
        for path in options.modules:
            for mutant in Module(path).mutants:
                if options.only in mutant.name:
                    print(f"{path}:{mutant.line}: {mutant.name}")
        return 0
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for name in LIBRARIES:
        importlib.import_module(name)
    reasons = read_reasons()
    results = options.results.resolve()
    fine = [
        try_module(path, TESTS[path], results, options.only, options.every, reasons.get(path, {}))
        for path in options.modules
    ]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
