"""The tutorial, walked through as it stands: its code, its changes, its commands, its output.

In docs/tutorial.md a block marked `bash` is run, line by line (`# exits N`); one marked `python` is
the model; one marked `diff` is applied, until the next heading; of one marked `text` every line
stands in what was printed before, whatever its figures. In docs/workload.md a block of code or of
changes names its file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

from tests.conftest import clean_environment, needs, one_processor
from tests.test_docs import BUILT_IN, check_exists

DOCS = Path(__file__).parent.parent / "docs"
PAGE, OWN_PAGE = DOCS / "tutorial.md", DOCS / "workload.md"
NAME = "autograd-backend"
MOST_LINES = 100


class Block(NamedTuple):
    kind: str
    text: str
    chapter: str
    file: str = ""


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = []
    for part in re.split(r"^## ", page, flags=re.MULTILINE):
        chapter = part.partition("\n")[0]
        fence = r"^```(\w*) ?(\S*)\n(.*?)^```$"
        fenced = re.findall(fence, part, flags=re.MULTILINE | re.DOTALL)
        found += [Block(kind, text, chapter, file) for kind, file, text in fenced]
    return found


BLOCKS = blocks(PAGE.read_text(encoding="utf-8"))
OWN_BLOCKS = blocks(OWN_PAGE.read_text(encoding="utf-8"))
(CODE,) = [block.text for block in BLOCKS if block.kind == "python"]


def masked(line: str) -> str:
    """A line without its figures, its spaces as one."""
    return " ".join(re.sub(r"[+-]?\d[\d.]*(e[+-]?\d+)?%?", "#", line).split())


class Walk:
    """A folder in which the page is followed, and what was printed last."""

    def __init__(self, folder: Path, data: Path, really: bool) -> None:
        self.folder = folder
        self.package = folder / NAME
        self.printed = ""
        self._really = really
        paths = [clean_environment()["PYTHONPATH"], str(self.package / "src"), str(folder / "site")]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = clean_environment() | {
            "PATH": path,
            "PYTHONPATH": os.pathsep.join(paths),
            "FASHION_MNIST_DIR": str(data),
        }

    def run(self, line: str) -> None:
        text, _, status = line.partition("  # exits ")
        if text.startswith("python -m pip") and not self._really:
            self._as_installed()
            return
        check_exists(text)
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=self.folder,
            env=self._environment,
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
        )
        self.printed = done.stdout + done.stderr
        assert done.returncode == int(status or 0), f"{text}\n{self.printed}"

    def _as_installed(self) -> None:
        """What installing would leave: the distribution's name and its entry points."""
        project = tomllib.loads((self.package / "pyproject.toml").read_text())["project"]
        info = self.folder / "site" / f"{project['name']}-{project['version']}.dist-info"
        info.mkdir(parents=True)
        points = project["entry-points"]["harness.backends"]
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[harness.backends]", *lines]))
        told = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (info / "METADATA").write_text(told)

    def change(self, diff: str, name: str = "") -> tuple[Path, str]:
        """Replace the one line that a diff shows: the file, and how it was."""
        old, new = (
            next(line[1:] for line in diff.splitlines() if line.startswith(sign)) for sign in "-+"
        )
        named = [self.folder / name] if name else [self.package / "pyproject.toml", self.model]
        files = [file for file in named if old in read(file)]
        assert len(files) == 1, old
        before = read(files[0])
        files[0].write_text(before.replace(old, new))
        return files[0], before

    @property
    def model(self) -> Path:
        return self.package / "src" / "autograd_backend" / "model.py"


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def test_following_the_tutorial_gives_a_backend_that_is_certified_and_agrees(
    tmp_path, small_data, request
):
    really = request.config.getoption("--all-commands")
    walk = Walk(tmp_path, small_data, really)
    try:
        with one_processor():
            follow(walk, BLOCKS)
    finally:
        if really:
            remove = [sys.executable, "-m", "pip", "uninstall", "-y", NAME]
            subprocess.run(remove, check=True, capture_output=True)


def follow(walk: Walk, blocks: list[Block]) -> None:
    chapter, undo = "", None
    for block in blocks:
        if block.chapter != chapter and undo is not None:
            file, text = undo
            file.write_text(text)
            undo = None
        chapter = block.chapter
        match block.kind:
            case "bash":
                for line in block.text.splitlines():
                    walk.run(line)
            case "python":
                file = walk.folder / block.file if block.file else walk.model
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text)
            case "diff":
                undo = walk.change(block.text, block.file)
            case "text":
                printed = [masked(line) for line in walk.printed.splitlines()]
                for line in block.text.splitlines():
                    assert any(masked(line) in told for told in printed), f"{line}\n{walk.printed}"
            case other:
                raise AssertionError(f"a block marked {other!r}")


def test_the_backend_is_as_short_as_its_page_says():
    lines = len(CODE.splitlines())
    assert lines < MOST_LINES
    assert f"one file of {lines} lines" in PAGE.read_text(encoding="utf-8")


@needs("torch", "jax", "tensorflow")
def test_a_model_of_ones_own_is_compared_as_its_page_says(tmp_path, small_data):
    with one_processor():
        follow(Walk(tmp_path, small_data, really=False), OWN_BLOCKS)


def test_a_model_of_ones_own_is_as_short_as_was_promised():
    lines = {b.file: len(b.text.splitlines()) for b in OWN_BLOCKS if b.kind == "python"}
    assert lines["digits.py"] <= 30
    assert max(lines[f"rooms/{name}/digits.py"] for name in BUILT_IN) <= 40


def test_a_line_that_was_not_printed_is_found():
    assert masked(" a  ✓ 5.6e-6≤5e-5") == masked("a ✓ 7e-7≤5e-6")
    assert masked("✓ agree") not in masked("✗ disagree")
    shown = Block("text", "✓ CERTIFIED: 1", "")
    assert not any(masked(shown.text) in masked(line) for line in ["✗ NOT CERTIFIED: 1"])
