"""The user's words as data: one frozen Choices, and how each word is read.

Whether they can be carried out is asked by `make`. Imports nothing heavy.
"""

from __future__ import annotations

import os

import msgspec

from harness.errors import InputError
from harness.files import is_python
from harness.plan.model import REFERENCE, Expected
from harness.workloads.reference.limits import RUNGS

# The most hidden units: one gradient of the judge, who computes in float64, then takes 100 MB.
MOST_UNITS = 16384


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, as the command line has it; a default is the option's.

    `backends`: [LABEL=]SPEC each, see `plugins.find`; none: every built-in one that is made to
    enter. `pythons`: by label, its interpreter; `settled`: the same where a label that is not in
    the plan is passed over. `plants`: by label, FILE:FUNCTION. `seeds`: text like 0,1,2 or 0-4.
    `reference`, `sessions`, `rounds`, `threads`: None is the plan's own choice. `timeout_s`:
    seconds for each command; `memory_headroom`: bytes beyond what a process holds after import.
    """

    profile: str = "default"
    backends: tuple[str, ...] = ()
    pythons: dict[str, str] = {}
    settled: dict[str, str] = {}
    variants: dict[str, str] = {}
    all_variants: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    precision: str = "strict"
    seeds: str | None = None
    threads: int | None = None
    dataset: str = "auto"
    data_dir: str | None = None
    rooms: str | None = None
    reference: str = REFERENCE
    expect: tuple[Expected, ...] = ()
    operators: bool = False
    sessions: int | None = None
    rounds: int | None = None
    plants: dict[str, str] = {}
    timeout_s: float | None = None
    memory_headroom: int | None = None


def check_choice(option: str, value: str, known: tuple[str, ...] | dict[str, object]) -> str:
    """`value` if it is known, else an InputError that names the choices."""
    if value not in known:
        raise InputError(f"{option} {value!r}: unknown; choose from {', '.join(known)}")
    return value


def pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    """NAME=VALUE words as a dictionary; InputError for any other."""
    table: dict[str, str] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name or not value or name in table:
            raise InputError(f"{option} {text!r}: expected NAME=VALUE, every name once")
        table[name] = value
    return table


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from text like 0,1,2 or 0-4 or a mixture; non-negative, no repeats."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or not text.isascii():
            raise InputError(f"--seeds {text!r}: expected numbers like 0,1,2 or 0-4")
        if len(first) > 9 or len(last) > 9 or not 0 <= int(last or first) - int(first) < 1000:
            raise InputError(f"--seeds {text!r}: at most 1000 seeds, each below 10^9")
        seeds.extend(range(int(first), int(last or first) + 1))
    if len(seeds) > 1000:
        raise InputError(f"--seeds {text!r}: at most 1000 seeds, each below 10^9")
    if len(set(seeds)) != len(seeds):
        raise InputError(f"--seeds {text!r}: every seed once, at least one")
    return tuple(seeds)


def parse_expectation(text: str) -> Expected:
    """A declared difference from text like torch:forward=REASON; InputError otherwise.

    With a tensor it is torch:gradients:W1=REASON; label and tensor may be patterns.
    """
    place, equals, reason = text.partition("=")
    label, colon, rung = place.rpartition(":")
    tensor = "*"
    before, _, last = label.rpartition(":")
    if before and last in RUNGS:
        label, rung, tensor = before, last, rung
    if not equals or not colon or not label or not rung or not tensor or not reason.strip():
        raise InputError(f"--expect {text!r}: expected LABEL:RUNG=REASON, or LABEL:RUNG:TENSOR=…")
    return Expected(label, rung, reason.strip(), tensor)


def check_plant(text: str) -> str:
    """FILE:FUNCTION with the file's absolute path; workers run in a folder of their own."""
    file, colon, function = text.rpartition(":")
    if not colon or not function.isidentifier():
        raise InputError(f"--plant {text!r}: expected NAME=FILE:FUNCTION")
    if not is_python(file):
        raise InputError(f"--plant: there is no Python file {file}")
    return f"{os.path.abspath(file)}:{function}"


def parse_timeout(seconds: float) -> float:
    """Seconds a command may take; InputError for none, or for ever."""
    if not 0 < seconds < float("inf"):
        raise InputError(f"--timeout {seconds}: more than 0 seconds, and finite")
    return seconds


def parse_memory(megabytes: int) -> int:
    """Bytes of so many MB; InputError below one."""
    if megabytes < 1:
        raise InputError(f"--memory-limit {megabytes}: at least 1 MB")
    return megabytes * 10**6


def read_size(text: str | None) -> int | None:
    """Hidden units from hidden=N; InputError for anything else."""
    if text is None:
        return None
    name, equals, number = text.partition("=")
    if name != "hidden" or not equals or not (number.isascii() and number.isdecimal()):
        raise InputError(f"--size {text!r}: expected hidden=N")
    if len(number) > len(str(MOST_UNITS)) or not 1 <= int(number) <= MOST_UNITS:
        raise InputError(f"--size {text}: choose from 1 to {MOST_UNITS}")
    return int(number)
