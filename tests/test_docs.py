"""Every command that README and docs/ show runs as written, in their order, in a fresh copy.

A command is a line of a fenced block marked `sh`; one that is meant to fail says so: `# exits 1`,
one that depends on the machine `# exits 0 or 1`. Commands that install or start a nox session run
in `nox -s docs` only (`--all-commands`); here they are checked to exist. So is every command that
stands in the text or in docs/workflow.yml.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from unittest.mock import MagicMock

import pytest
import typer

from harness.cli import app
from harness.report.excerpt import BEGIN, END
from tests.conftest import needs

ROOT = Path(__file__).parent.parent
BUILT_IN = ("numpy", "torch", "jax", "tensorflow")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Left to `nox -s docs`: they install, or run the very suite that this test is part of.
HEAVY = (
    "python -m pip", "python -m nox", "nox", "python -m pytest", "git clone", "cd ",
    "python -m venv", "before/bin/python",
)  # fmt: skip
# Stands for it where it is not run.
FIRST = "harness compare --profile smoke"
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".nox", "runs", ".hypothesis", ".cache", "*_cache", "__pycache__", "*.egg-info"
)


class Command(NamedTuple):
    page: str
    line: int
    text: str
    statuses: tuple[int, ...]

    @property
    def heavy(self) -> bool:
        return self.text.startswith(HEAVY)


def shown(page: Path) -> list[Command]:
    """The commands of a page's fenced blocks."""
    found, inside, begun = [], False, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```sh"
        elif inside and line.strip() and not line.startswith("#"):
            begun += line.removesuffix("\\")
            if not line.endswith("\\"):
                text, _, told = begun.partition("  # exits ")
                statuses = tuple(map(int, (told or "0").split(" or ")))
                found.append(Command(page.name, number, text.strip(), statuses))
                begun = ""
    return found


SHOWN = [command for page in PAGES for command in shown(page)]


def mentioned(page: Path) -> list[str]:
    """Commands of the harness and of nox that stand in the text of a page, as code."""
    outside = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [
        code
        for code in re.findall(r"`([^`\n]+)`", outside)
        if code.startswith(("harness ", "nox -s ", "python -m nox"))
    ]


def sessions() -> set[str]:
    """The names of noxfile.py's sessions, without running nox."""
    source = (ROOT / "noxfile.py").read_text()
    named = re.findall(r"@nox\.session(?:\(name=\"([\w-]+)\"\))?\ndef (\w+)", source)
    return {name or function for name, function in named}


def check_exists(text: str) -> None:
    """A command of the harness has its verb and options, one of nox its session."""
    words = shlex.split(text.partition(" | ")[0])
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words.pop(0)
    if words[:3] == ["python", "-m", "nox"]:
        words = words[2:]
    if words[0] == "nox":
        assert words[1] == "-s", text
        assert words[2] in sessions(), text
        rest = words[words.index("--") + 1 :] if "--" in words else []
        words = ["harness", words[2], *rest] if words[2] in ("compare", "scale") else []
    if not words or words[0] != "harness":
        return
    group = typer.main.get_command(app)
    verbs = words[1].split("|") if len(words) > 1 else []
    for verb in verbs:
        command, rest = group, words[2:]
        for name in (verb, *words[2:3]):
            if not hasattr(command, "commands"):
                break
            if command is not group:
                rest = words[3:]
            both = name.split("|")
            assert all(one in command.commands for one in both), f"{text}: no verb {name}"
            command = command.commands[both[0]]
        options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        for word in rest:
            if word.startswith("--"):
                assert word.partition("=")[0] in {*options, "--help"}, f"{text}: {word}"


class Tour:
    """A fresh copy of the project in which the commands are run, one after the other.

    Without `whole` the data are small, and FIRST is run once only, at the beginning: it stands for
    the nox session that README begins with.
    """

    def __init__(self, folder: Path, data: Path, whole: bool) -> None:
        shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
        self.folder = folder
        self._limit_s = 3600 if whole else 300
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {k: v for k, v in os.environ.items() if k != "GITHUB_STEP_SUMMARY"}
        self._environment = kept | {"PATH": path, "PYTHONPATH": str(folder), "COLUMNS": "160"}
        if not whole:
            self._environment["FASHION_MNIST_DIR"] = str(data)
            # Stands for another environment, which would have to be installed.
            before = folder / "before" / "bin" / "python"
            before.parent.mkdir(parents=True)
            before.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
            before.chmod(0o755)
        self._first = None if whole else self._run(FIRST)

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        return self._first if self._first and text == FIRST else self._run(text)

    def _run(self, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", text],
            cwd=self.folder,
            env=self._environment,
            text=True,
            capture_output=True,
            timeout=self._limit_s,
            check=False,
        )


@pytest.fixture(scope="module")
def tour(tmp_path_factory, small_data, request) -> Tour:
    folder = tmp_path_factory.mktemp("docs") / "clone"
    return Tour(folder, small_data, request.config.getoption("--all-commands"))


@needs(*BUILT_IN)
@pytest.mark.parametrize("command", SHOWN, ids=lambda c: f"{c.page}:{c.line}")
def test_a_command_that_is_shown_runs_as_written(
    command: Command, tour: Tour, request: pytest.FixtureRequest
) -> None:
    check_exists(command.text)
    if command.heavy and not request.config.getoption("--all-commands"):
        return
    done = tour.run(command.text)
    assert done.returncode in command.statuses, f"{command.text}\n{done.stdout}\n{done.stderr}"


@needs(*BUILT_IN)
def test_the_first_run_is_of_all_four_which_agree(tour: Tour) -> None:
    """The one run of all four that README begins with is also the suite's only one."""
    folder = min((tour.folder / "results" / "runs").iterdir())
    verdict = json.loads((folder / "verdict.json").read_text())
    assert verdict["verdict"] == "agree"
    assert "4 of 4 backends" in verdict["summary"]
    assert set(verdict["backends"]) == set(BUILT_IN)
    for entry in verdict["backends"].values():
        assert entry["rungs"]["lockstep"]["value"] <= 1e-12
        assert entry["step_time"]["floor_ratio"] > 0
    assert (folder / "record.json").stat().st_size < 5_000_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_the_text_exists(page: Path) -> None:
    for text in mentioned(page):
        check_exists(text.replace("…", "").replace("...", ""))


@pytest.mark.parametrize("name", ["workflow.yml", "workflow-library.yml"])
def test_every_command_of_a_workflow_exists(name: str) -> None:
    source = (ROOT / "docs" / name).read_text()
    commands = re.findall(r"run: (harness .*|python -m .*)", source)
    assert any(text.startswith("python -m pip install") for text in commands)
    assert sum(text.startswith("harness ") for text in commands) >= 3
    for text in commands:
        check_exists(text.partition(" || ")[0])


# -- the way in ----------------------------------------------------------------------------------

README = (ROOT / "README.md").read_text(encoding="utf-8")
# What a reader sees without turning the page much: the answer, a table, the commands, the ways on.
FIRST_SCREEN = "\n".join(README.splitlines()[:90])
WANTS = (
    "compare my port",
    "test my library",
    "upgrade a framework",
    "gate CI",
    "add a backend",
    "add a model",
    "choose by speed",
)
# Words of our own: docs/reading.md explains them, and their first use is a link.
WORDS = ("teacher-forced", "kink", "floor", "label", "control arm", "lockstep", "envelope")


def test_the_readme_is_short_and_its_first_screen_tells_what_there_is() -> None:
    assert len(README.splitlines()) <= 150
    for part in (BEGIN, END, "| numpy | torch |", "## What can be compared, and what not"):
        assert part in FIRST_SCREEN, part


@pytest.mark.parametrize("want", WANTS)
def test_whoever_wants_something_is_led_to_its_page(want: str) -> None:
    _, _, rows = FIRST_SCREEN.partition("## I want to")
    assert re.search(rf"{want}.*\]\([^)]+\)", rows), want


def test_the_readme_installs_the_harness_before_it_uses_it_and_says_what_that_costs() -> None:
    texts = [command.text for command in shown(ROOT / "README.md")]
    used = next(i for i, text in enumerate(texts) if text.startswith("harness "))
    installed = [text for text in texts[:used] if text.startswith("python -m pip install")]
    assert any('".[all]"' in text for text in installed), texts[: used + 1]
    before = README.partition("python -m pip install")[0]
    assert re.search(r"\d GB", before)
    assert re.search(r"\d minutes", before)


def test_no_page_takes_the_harness_from_an_index_that_does_not_have_it() -> None:
    pages = [*PAGES, ROOT / "CONTRIBUTING.md", *(ROOT / "examples").glob("*/README.md")]
    for page in pages:
        for block in re.findall(r"```(?:sh|bash)\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            commands = [line.partition("  #")[0] for line in block.splitlines()]
            wrong = [
                text for text in commands if re.search(r"pip install.* framework-harness", text)
            ]
            assert not wrong, f"{page}: {wrong}"


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_our_own_is_a_link_where_it_is_first_used(word: str) -> None:
    prose = re.sub(rf"```.*?```|`[^`]*`|{BEGIN}.*?{END}", "", README, flags=re.DOTALL)
    first = re.search(rf"(\[[^\]]*)?\b{word}", prose, re.IGNORECASE)
    if first is not None:
        assert re.match(rf"\[[^\]]*{word}[^\]]*\]\(docs/[^)]+\)", prose[first.start() :]), word
        words = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
        assert f"**{word}**" in words.partition("## Words")[2].lower(), word


def test_a_long_installation_of_nox_says_that_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--quiet" not in (ROOT / "noxfile.py").read_text()
    monkeypatch.setitem(sys.modules, "nox", MagicMock())
    monkeypatch.setitem(sys.modules, "nox.command", MagicMock())
    session = MagicMock()
    runpy.run_path(str(ROOT / "noxfile.py"))["install"](session, "all", "test")
    (said, made) = session.method_calls
    assert said[0] == "log"
    assert re.search(r"\d GB.*minutes", said.args[0])
    assert made[0] == "install"
    assert made.args == ("-e", ".[all,test]")
    assert made.kwargs == {"silent": False}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_or_heading_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        file, _, heading = target.partition("#")
        found = (page.parent / file) if file else page
        assert found.exists(), f"{page.name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {slug(title) for title in titles}, f"{page.name}: {target}"


def slug(title: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    "text", ["harness nosuch", "harness compare --nosuch", "nox -s nosuch", "harness baseline no"]
)
def test_a_command_that_does_not_exist_is_found(text: str) -> None:
    with pytest.raises(AssertionError):
        check_exists(text)


def test_the_commands_of_a_page_are_found() -> None:
    assert any(c.text.startswith("harness compare") for c in SHOWN)
    assert any(c.statuses == (1,) for c in SHOWN)
    assert {c.page for c in SHOWN} >= {"README.md", "ci.md", "backend.md"}
