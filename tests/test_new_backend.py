"""`harness new-backend`: which names it takes, that it writes all or nothing, and what."""

from __future__ import annotations

import ast
import importlib
import json
import keyword
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.arguments import DTYPES, OPERATORS, check_operator, check_plug_in
from harness.conformance import new_backend
from harness.errors import InputError
from harness.interface import Unavailable
from harness.measure import catalogue
from harness.plan import plugins
from tests.conftest import clean_environment, harness
from tests.test_tutorial import CODE

OPEN = ["to_tensor", "to_numpy", "finish", "forward", "loss_and_grads"]


def refusal(name: str, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        new_backend.create(name, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "module"),
    [("mine", "mine"), ("My-Own.2", "my_own_2"), ("x", "x"), ("a_b", "a_b"), ("match", "match")],
)
def test_a_name_gives_a_module(name, module):
    assert new_backend.module_of(name) == module


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *((name, "a name is 1 to 64") for name in ("", ".", "..", "../x", "/etc/x", "a b", "-x")),
        *(
            (name, "a name is 1 to 64")
            for name in ("a\n", "x-", "ä", "a;b", "__import__", "a" * 65)
        ),
        *((name, "no name in Python") for name in ("3d", "class", "lambda")),
        ("mine.py", "taken for a file"),
        ("numpy", "a backend of this name (built in)"),
        ("JAX", "a backend of this name (built in)"),
        ("json", "a module json already"),
        ("harness", "a module harness already"),
        ("backends", "a module backends already"),
        ("pytest", "a module pytest already"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_and_nothing_is_written(name, said, tmp_path):
    assert said in refusal(name, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@given(st.text())
def test_any_text_is_a_name_or_refused_in_one_line(name: str):
    try:
        module = new_backend.module_of(name)
    except InputError as error:
        told = str(error)
    else:
        told = ""
    assert len(told.splitlines()) < 2
    assert len(told) < 400
    if told:
        return
    assert module.isidentifier()
    assert not keyword.iskeyword(module)
    assert plugins.LABEL.fullmatch(name)


@given(name=st.from_regex(new_backend.NAME, fullmatch=True))
def test_whatever_is_called_so_is_a_package_that_names_itself_so(name: str, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "new"
    try:
        written = new_backend.create(name, folder)
    except InputError:
        assert not folder.exists()
        return
    for file in written:
        if file.suffix == ".py":
            ast.parse(file.read_text())
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == name
    ((point, value),) = project["entry-points"]["harness.backends"].items()
    module, _, cls = value.partition(":")
    assert (point, cls) == (name, "Backend")
    assert (folder / "src" / module / "__init__.py").exists()
    assert not any("__NAME__" in f.read_text() or "__MODULE__" in f.read_text() for f in written)


def test_the_name_of_an_installed_plug_in_is_refused(tmp_path, monkeypatch):
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[harness.backends]\ntheirs-2 = elsewhere:Own\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match="entry point of theirs 1"):
        new_backend.module_of("theirs.2")


# -- all or nothing ------------------------------------------------------------------------------


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "new").mkdir()
    new_backend.create("mine", tmp_path / "new")
    assert (tmp_path / "new" / "src" / "mine" / "model.py").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (".", "is not empty"),
        ("file", "is no folder"),
        ("link", "is no folder"),
        ("nowhere/new", "there is no folder"),
        ("file/new", "there is no folder"),
    ],
)
def test_what_is_there_is_left_as_it_is(tmp_path, place, said):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert said in refusal("mine", tmp_path / place)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "link"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt(), InputError("full")])
def test_a_failure_on_the_way_leaves_nothing(error, tmp_path, monkeypatch):
    write = new_backend.write_atomic
    written = []

    def failing(path: Path, data: bytes) -> None:
        if len(written) == 3:
            raise error
        written.append(path)
        write(path, data)

    monkeypatch.setattr(new_backend, "write_atomic", failing)
    with pytest.raises((InputError, KeyboardInterrupt)):
        new_backend.create("mine", tmp_path / "new")
    assert len(written) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    assert "Permission denied" in refusal("mine", tmp_path / "new")


# -- what is written -----------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path) -> Path:
    new_backend.create("mine", tmp_path / "pkg")
    return tmp_path / "pkg"


def test_every_template_is_used():
    found = {
        str(file.relative_to(new_backend.TEMPLATES))
        for file in new_backend.TEMPLATES.rglob("*")
        if file.is_file()
    }
    assert found == {*new_backend.FILES}


def test_it_imports_of_the_harness_what_a_backend_may(package):
    found = set()
    for file in (package / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                found.add(node.module)
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
    ours = {name for name in found if name.split(".")[0] in ("harness", "backends")}
    assert ours == {"harness.interface", "backends.arguments"}


def test_the_open_functions_raise_and_are_named(package, monkeypatch):
    from harness.conformance.serve import unwritten

    monkeypatch.syspath_prepend(str(package / "src"))
    mine, model = importlib.import_module("mine"), importlib.import_module("mine.model")
    try:
        backend = mine.Backend("cpu", "float32", 1, "default")
        assert unwritten(backend) == OPEN
        for name in OPEN:
            function = getattr(model, name)
            with pytest.raises(NotImplementedError, match=name):
                function(*[None] * function.__code__.co_argcount)
        # One that is written is open no more.
        monkeypatch.setattr(model, "finish", lambda tensors: None)
        assert unwritten(backend) == [name for name in OPEN if name != "finish"]
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
            del sys.modules[name]


@pytest.mark.parametrize("model", ["", CODE], ids=["as generated", "filled in"])
def test_its_own_tests_fail_until_it_is_filled_in(model, package):
    if model:
        (package / "src" / "mine" / "model.py").write_text(model)
    chosen = "batch_round_trip or batch-round-trip or corner"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen],
        cwd=package,
        env=clean_environment()
        | {"PYTHONPATH": os.pathsep.join([clean_environment()["PYTHONPATH"], "src"])},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == (0 if model else 1), done.stdout
    assert ("4 passed" if model else "NotImplementedError: to_tensor") in done.stdout


def test_pip_can_install_it_and_its_name_is_found(package, tmp_path, monkeypatch):
    wheel = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(wheel, cwd=package, check=True, capture_output=True, timeout=120)
    (made,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(made) as file:
        file.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    entry = plugins.find("mine")
    assert (entry.source, entry.origin) == ("mine:Backend", "entry point of mine 0.1.0")
    assert plugins.missing(entry) is None
    assert "mine" not in sys.modules


# -- the command ---------------------------------------------------------------------------------


def test_the_command_tells_what_it_wrote_and_what_comes_next(tmp_path):
    done = harness("new-backend", "mine", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert all((tmp_path / file).is_file() for file in told["written"])
    assert told["next"][-1] == "harness certify mine"
    again = harness("new-backend", "mine", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "harness: new-backend: the folder mine is not empty\n"


# -- what backends of other people share ----------------------------------------------------------


def test_the_names_of_operators_are_those_that_the_harness_asks_for():
    assert {*OPERATORS} == {"matmul", *catalogue.CATALOGUE}
    check_operator("mine", "matmul", ("matmul",))
    for name in ("relu", "relu/scratch"):
        with pytest.raises(Unavailable, match=name):
            check_operator("mine", name, ("matmul",))
    with pytest.raises(ValueError, match="nonsense"):
        check_operator("mine", "nonsense", ("matmul",))


def test_arguments_that_a_plug_in_lacks_are_unavailable_and_nonsense_is_wrong():
    good = ("mine", "cpu", "float32", 1, "default", "strict")
    for dtype in DTYPES:
        check_plug_in("mine", "cpu", dtype, 1, "default", "strict")
    for place, value, error, said in (
        (1, "cuda", Unavailable, "mine has no"),
        (4, "fast", Unavailable, "mine has no"),
        (5, "tf32", Unavailable, "mine has no"),
        (2, "float16", ValueError, "mine"),
        (3, 0, ValueError, "mine"),
    ):
        with pytest.raises(error, match=said):
            check_plug_in(*good[:place], value, *good[place + 1 :])
    more = {"devices": ("cuda",), "variants": ("fast",)}
    check_plug_in("mine", "cuda", "float32", 1, "fast", "strict", **more)
