"""What --help, --version and a missing word say: what to give, which choices there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer

from backends import PRECISIONS
from harness.cli import app
from harness.cli.options import CHOOSING
from harness.data import CHOICES as DATASETS
from harness.export import FORMATS
from harness.plan.model import DEVICES, DTYPES
from harness.plan.profiles import TABLE
from tests.conftest import run_here


def verbs(command: Any = None, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every verb, with the words that call it."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, below in command.commands.items():
        yield from verbs(below, f"{name} {word}".strip())


VERBS = dict(verbs())
# Words of which there is a fixed set, wherever a verb takes one.
CHOICES = {
    "--profile": TABLE,
    "--device": DEVICES,
    "--dtype": DTYPES,
    "--precision": PRECISIONS,
    "--dataset": DATASETS,
    "name": FORMATS,
}
WITH_WORKLOAD = [
    name for name, verb in VERBS.items() if any("--workload" in each.opts for each in verb.params)
]
MISSING = {
    "check": "RECORD...: Stored runs: a folder, a run's name, latest",
    "report": "RECORD...: Stored runs",
    "explain": "RECORD: A stored run",
    "bundle": "RECORD: A stored run",
    "diff": "A: The run before",
    "export": "pyperf|junit|",
    "export csv": "RECORD...: Stored runs",
    "new-backend": "NAME: What pip",
    "golden write": "--file FILE: The golden file",
    "golden check": "[LABEL=]SPEC: The backend: a name (see harness list)",
    "query": "give one SELECT",
    "certify": "which backend? a name (see harness list)",
    "compare --profile": "smoke|default|full",
    "compare --threads": "N",
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_says_what_to_give_and_shows_its_choices(verb: str) -> None:
    for parameter in VERBS[verb].params:
        if getattr(parameter, "is_flag", False):
            continue
        name = parameter.opts[0]
        assert parameter.metavar, f"{verb} {name}"
        if name in CHOICES and (name != "name" or verb == "export"):
            assert parameter.metavar == "|".join(CHOICES[name]), f"{verb} {name}"
        assert parameter.help, f"{verb} {name}"


def test_options_stand_in_groups(monkeypatch: Any, capsys: Any) -> None:
    assert run_here(monkeypatch, "compare", "--help") == 0
    text = capsys.readouterr().out
    groups = dict(re.findall(r"^(\w.*):\n((?:  .*\n|\n)+)", text, re.MULTILINE))
    assert len(groups) >= 5
    assert "--results-dir" in groups["Options"]
    for name, chosen in CHOOSING.items():
        (group,) = (g for g, lines in groups.items() if f"  {chosen.form.split()[0]} " in lines)
        assert group != "Options", name
    assert "--profile smoke|default|full" in text


@pytest.mark.parametrize("words", MISSING)
def test_a_missing_word_says_what_to_give(words: str, monkeypatch: Any, capsys: Any) -> None:
    assert run_here(monkeypatch, *words.split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith("harness: ")
    assert MISSING[words] in line


@pytest.mark.parametrize("verb", WITH_WORKLOAD)
def test_several_workloads_are_spoken_of_only_where_a_verb_takes_them(verb: str) -> None:
    (option,) = [each for each in VERBS[verb].params if "--workload" in each.opts]
    assert ("several" in option.help) == (verb in ("compare", "sweep"))


def test_the_version_is_told(monkeypatch: Any, capsys: Any) -> None:
    assert run_here(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"harness {version('framework-harness')}\n"
