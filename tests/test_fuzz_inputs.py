"""The fuzzer of inputs in short, and its own judge: a product that keeps a loss to itself does not get through."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import fuzz_inputs as fuzz
import numpy as np
import pytest
from fuzz_inputs import FRAMES, KINDS, Case, Outcome, Told

EACH = 3


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_inputs_come_out_right_or_with_a_word(tmp_path: Path, kind: str) -> None:
    seed = fuzz.make_seed(kind, tmp_path / "seed")
    told = Told() if KINDS[kind].frames == 1 else fuzz.look_at(seed)
    data = seed.read_bytes()
    whole = Case(kind, -1, "nothing", data)
    assert fuzz.try_case(whole, tmp_path / "one", told, fuzz.run_product, fuzz.signs_of_loss) == (fuzz.RIGHT, "")
    # Other damage for each kind.
    for case in fuzz.cases_of(kind, data, EACH, start=5 * list(KINDS).index(kind)):
        assert case.data != data
        verdict, why = fuzz.try_case(case, tmp_path / "one", told, fuzz.run_product, fuzz.signs_of_loss)
        assert verdict not in fuzz.FAULTS, f"{case.number}, {case.damage}: {verdict}: {why}"


def test_a_picture_tells_its_number_or_that_it_is_damaged() -> None:
    for number in range(FRAMES):
        assert fuzz.number_of(fuzz.draw_number(number)) == number
    torn = fuzz.draw_number(3)
    torn[:32] = fuzz.draw_number(5)[:32]
    assert fuzz.number_of(torn) is None
    assert fuzz.number_of(np.zeros((64, 96, 3), np.uint8)) is None


def silent(numbers: list[int | None], **facts: object) -> Outcome:
    return Outcome(frames=len(numbers), numbers=numbers, **facts)  # type: ignore[arg-type]


def test_the_judge_sees_silence_tracebacks_memory_and_spoilt_pictures() -> None:
    every: list[int | None] = list(range(FRAMES))

    def verdict(outcome: Outcome, *signs: str) -> str:
        return fuzz.judge(outcome, frames=FRAMES, signs=lambda: list(signs))[0]

    assert verdict(silent(every)) == fuzz.RIGHT
    assert verdict(silent(every[:-1]), "times") == fuzz.SILENT
    assert verdict(silent(every[:-1])) == fuzz.UNTOLD
    assert verdict(silent([*every[:-2], 3, 3]), "times") == fuzz.SILENT  # a frame twice is no other frame
    assert verdict(silent([*every[:-1], None]), "times") == fuzz.SPOILT
    assert verdict(silent(every[:-1], messages=["a frame is lost"], noticed=True)) == fuzz.WARNED
    assert verdict(silent(every[:-1], messages=["times are rounded"]), "times") == fuzz.SILENT
    assert verdict(silent([], status=1, stderr="vidsal: error: it is no video\n")) == fuzz.REFUSED
    assert verdict(silent([], status=1, stderr="vidsal: error: unexpected KeyError: 3\n")) == fuzz.CRASHED
    assert verdict(silent([], status=1)) == fuzz.CRASHED
    assert verdict(silent(every, traceback="Traceback ...")) == fuzz.CRASHED
    assert verdict(silent(every, peak_bytes=fuzz.MEMORY_LIMIT_BYTES + 1)) == fuzz.FAT


def half(data: bytearray, _: object) -> bytearray:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    "kind, damage, sign",
    [
        ("ts, mpeg2", fuzz.packet_lost, "continuity counters"),
        ("mp4, fast start", half, "counts"),
        ("mkv", half, "the header's end"),
        ("gif", half, "log"),
    ],
)
def test_the_file_itself_tells_of_a_loss(tmp_path: Path, kind: str, damage: fuzz.Damage, sign: str) -> None:
    seed = fuzz.make_seed(kind, tmp_path)
    told = fuzz.look_at(seed)
    assert fuzz.signs_of_loss(seed, told) == []
    seed.write_bytes(damage(bytearray(seed.read_bytes()), fuzz.random.Random(2)))
    assert any(found.startswith(sign) for found in fuzz.signs_of_loss(seed, told))


def test_a_product_that_hangs_or_dies_is_a_fault(tmp_path: Path) -> None:
    def hangs(path: Path, folder: Path) -> Outcome:
        raise TimeoutError

    def dies(path: Path, folder: Path) -> Outcome:
        raise EOFError

    case = Case("png", 0, "nothing", b"\0")
    assert fuzz.try_case(case, tmp_path / "a", Told(), hangs, fuzz.signs_of_loss)[0] == fuzz.HUNG
    assert fuzz.try_case(case, tmp_path / "a", Told(), dies, fuzz.signs_of_loss)[0] == fuzz.CRASHED


def test_the_table_has_a_row_for_each_kind_and_all(capsys: pytest.CaptureFixture[str]) -> None:
    fuzz.print_table({"mp4": Counter({fuzz.RIGHT: 2, fuzz.SILENT: 1}), "gif": Counter({fuzz.WARNED: 4})})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| kind | inputs | right | right, with warning | LOST WITHOUT A WORD")
    assert lines[2].startswith("| mp4 | 3 | 2 | 0 | 1 |") and lines[-1].startswith("| all | 7 | 2 | 4 | 1 |")
