"""Files that were damaged or written by hand: each is read, or refused in one line; none hangs.

A hundred seeded mutations of every kind of file that a user gives. A worker is never started: that
one would be says that the file was taken.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from safetensors.numpy import load, save

from harness.conformance import certificate
from harness.errors import InputError
from harness.files import write_document
from harness.record import store
from harness.report import certificate as page
from harness.results import baseline
from harness.run.golden_file import KEY
from harness.text import clean
from harness.verdict.verdict import judge
from tests import make
from tests.conftest import run_here, within
from tests.test_certify import certificate as certified
from tests.test_golden import COMMITTED as GOLDEN

MUTATIONS = 100
# So long one file may take, in seconds, on a busy machine.
PATIENCE = 30
LIMITS = """
[[limit]]
rung = "gradients"
value = 1e-4
dtype = "float32"
reason = "wider than the table's"

[[limit]]
rung = "accuracy"
case = "test accuracy"
value = 0.01
"""
SETTINGS = '[python]\nnumpy = "/usr/bin/python3"\n"jax@0.9" = "envs/old/bin/python"\n'
OTHERS: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**31, 2**70, 1e308, -0.5, "", "nan", "inf", "\u202e\x1b[2J", "../../x"),
    *("x" * 100_000, [], {}, [[]], {"a": None}, [0] * 1000, "9" * 400),
)


def spots(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a document that holds a value."""
    for key in list(node) if isinstance(node, dict) else range(len(node)):
        yield node, key
        if isinstance(node[key], dict | list):
            yield from spots(node[key])


def swapped(document: Any, chance: random.Random) -> Any:
    """A document with values of another type, names that are others, and parts that are gone."""
    for _ in range(chance.randint(1, 3)):
        places = list(spots(document))
        if not places:
            return document
        node, key = chance.choice(places)
        how = chance.choice(("other", "gone", "renamed", "deep"))
        if how == "gone":
            del node[key]
        elif how == "renamed" and isinstance(node, dict):
            node[chance.choice(("", "x", "\u202e", "schema"))] = node.pop(key)
        elif how == "deep":
            node[key] = nested(chance.choice((3, 300)))
        else:
            node[key] = chance.choice(OTHERS)
    return document


def nested(depth: int) -> Any:
    made: Any = []
    for _ in range(depth):
        made = [made]
    return made


def as_toml(document: Any) -> bytes:
    """As TOML, whatever is in it: tables and lists are written inline."""

    def inline(value: Any) -> str:
        if isinstance(value, dict):
            pairs = (f"{json.dumps(name)} = {inline(each)}" for name, each in value.items())
            return "{" + ", ".join(pairs) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(inline, value)) + "]"
        return '"none"' if value is None else json.dumps(value)

    lines = (f"{json.dumps(name)} = {inline(value)}" for name, value in document.items())
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def of_text(data: bytes, chance: random.Random) -> bytes:
    """Bytes flipped, cut off, repeated, or nested without end."""
    place = chance.randrange(len(data))
    end = min(len(data), place + chance.choice((1, 8, 200)))
    flipped = bytes(byte ^ (1 << chance.randrange(8)) for byte in data[place:end])
    return chance.choice(
        (
            data[:place],
            data[:place] + flipped + data[end:],
            data[:end] + data[place:],
            data[:place] + data[place:end] * 50 + data[end:],
            data[:place] + chance.choice((b"[", b'{"a":', b"[a.", b"a=[")) * 5000 + data[place:],
            data * 3,
        )
    )


def mutated(kind: str, data: bytes, seed: int) -> bytes:
    """The bytes of a file, changed as this seed says: its text, or what it holds."""
    chance = random.Random(f"{kind} {seed}")
    if seed % 2:
        return of_text(data, chance)
    if kind in ("limits", "harness.toml"):
        return as_toml(swapped(tomllib.loads(data.decode()), chance))
    if kind != "golden":
        return json.dumps(swapped(json.loads(data), chance)).encode()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][KEY])
    return save(load(data), {KEY: json.dumps(swapped(header, chance))})


def read_certificate(path: Path) -> None:
    """As whoever was given a certificate reads it."""
    page.report(certificate.read(path), str(path))


KINDS: dict[str, tuple[str, ...] | Callable[[Path], None]] = {
    "baseline": ("baseline", "check", "run", "--baseline", "FILE"),
    "golden": ("golden", "check", "numpy", "--file", "FILE"),
    "certificate": read_certificate,
    "limits": ("check", "run", "--limits", "FILE"),
    "harness.toml": ("golden", "write", "numpy", "--file", "new"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """A file of every kind as it is written."""
    timed = make.timed()
    path = tmp_path_factory.mktemp("whole") / "baseline.json"
    write_document(path, baseline.make(timed, judge(timed)))
    return {
        "baseline": path.read_bytes(),
        "golden": GOLDEN.read_bytes(),
        "certificate": msgspec.json.encode(certified()),
        "limits": LIMITS.encode(),
        "harness.toml": SETTINGS.encode(),
    }


@pytest.fixture
def read(tmp_path, small_data, monkeypatch, capsys):
    """Give a file of a kind to whoever reads it: the exit status, and what stderr says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASHION_MNIST_DIR", str(small_data))
    (tmp_path / "run").mkdir()
    store.write(make.timed(), tmp_path / "run")

    def started(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", started)

    def give(kind: str, data: bytes) -> tuple[int, str]:
        file = tmp_path / ("harness.toml" if kind == "harness.toml" else "given")
        file.write_bytes(data)
        reader = KINDS[kind]
        capsys.readouterr()
        if isinstance(reader, tuple):
            words = [str(file) if word == "FILE" else word for word in reader]
            status = run_here(monkeypatch, *words)
            return status, capsys.readouterr().err
        try:
            reader(file)
        except InputError as error:
            return 2, f"harness: {clean(str(error))}\n"
        return 0, ""

    return give


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_file_is_read_or_refused_in_one_line(kind, whole, read):
    wrong, statuses = [], []
    for seed in range(MUTATIONS):
        with within(PATIENCE):
            status, err = read(kind, mutated(kind, whole[kind], seed))
        statuses.append(status)
        told = [line for line in err.splitlines() if not line.startswith("[")]
        began = "a process was started" in err
        one_line = status == 2 and len(told) == 1 and told[0].startswith("harness: ")
        bounded = began or len(err) < 2000
        harmless = all(c.isprintable() or c == "\n" for c in err)
        if not (bounded and harmless and (status in (0, 1) or began or one_line)):
            wrong.append((seed, status, re.sub(r"\s+", " ", err)[-300:]))
    assert wrong == []
    # Most are seen to be damaged, and the whole one is none.
    assert statuses.count(2) > MUTATIONS // 3
    status, err = read(kind, whole[kind])
    assert status in (0, 1) or "a process was started" in err or "no such program" in err
