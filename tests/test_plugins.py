"""How a backend is named and found, under which interpreter, and that nothing of it is imported."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import BACKENDS, Entry
from harness.errors import InputError
from harness.plan import catalogue, plugins, settings
from tests.conftest import carry_out
from tests.make import make_plan

LOUD = "raise SystemExit('a plug-in was imported where it must not be')\n"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install a distribution with entry points into a folder on the path; its modules are loud."""

    def install(
        distribution: str,
        points: dict[str, str],
        version: str = "1.2",
        group: str = "harness.backends",
    ) -> Path:
        folder = tmp_path / distribution
        info = folder / f"{distribution}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
        for value in points.values():
            (folder / f"{value.partition(':')[0].partition('.')[0]}.py").write_text(LOUD)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return install


def refusal(*args: Any, **words: Any) -> str:
    with pytest.raises(InputError) as caught:
        plugins.find(*args, **words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_entry_point_is_described_and_not_imported(installed):
    installed("their-backend", {"theirs": "their_module:Own"})
    entry = plugins.known()["theirs"]
    assert entry == plugins.find("theirs")
    assert (entry.source, entry.origin) == ("their_module:Own", "entry point of their-backend 1.2")
    assert plugins.missing(entry) is None
    assert entry.plug_in
    assert "their_module" not in sys.modules


def test_an_entry_point_whose_module_is_gone_says_so(installed):
    folder = installed("their-backend", {"theirs": "their_module:Own"})
    (folder / "their_module.py").unlink()
    assert plugins.missing(plugins.find("theirs")) == "their_module not installed"


def test_a_workload_may_be_an_entry_point_too(installed):
    installed("their-task", {"task": "their_task:Task"}, group="harness.workloads")
    assert plugins.find_workload("task") == ("their_task:Task", "entry point of their-task 1.2")
    told = catalogue.describe()
    assert told["workloads"]["task"]["source"] == "their_task:Task"
    lines = [line.split() for line in catalogue.as_text(told).splitlines()]
    assert ["task", *["entry", "point", "of", "their-task", "1.2:", "their_task:Task"]] in lines
    assert "their_task" not in sys.modules


def test_a_built_in_name_stays_the_built_in(installed):
    installed("their-backend", {"torch": "their_module:Own", "../x": "other:Own"})
    assert plugins.known() == BACKENDS
    assert plugins.find("torch") is BACKENDS["torch"]


def test_a_name_that_two_packages_claim_names_neither(installed):
    for distribution in ("one", "two"):
        installed(distribution, {"theirs": f"{distribution}_module:Own"})
    assert "theirs" not in plugins.known()
    assert "two packages have this name" in refusal("theirs")


@pytest.mark.parametrize(
    ("spec", "name", "source"),
    [
        ("a.b.c:Own", "c", "a.b.c:Own"),
        ("alone:Own", "alone", "alone:Own"),
        ("mine.py", "mine", "{}/mine.py:Backend"),
        ("mine.py:Own", "mine", "{}/mine.py:Own"),
        ("./deep/it.py:Own", "it", "{}/deep/it.py:Own"),
        ("deep/__init__.py", "deep", "{}/deep/__init__.py:Backend"),
    ],
)
def test_a_module_or_a_file_is_named_by_its_place(spec, name, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    for file in ("mine.py", "deep/it.py", "deep/__init__.py"):
        (tmp_path / file).write_text(LOUD)
    entry = plugins.find(spec)
    assert (entry.name, entry.source) == (name, source.format(tmp_path))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nonsense", "unknown"),
        ("", "unknown"),
        ("a b:C", "unknown"),
        ("a.b:C d", "unknown"),
        (":C", "unknown"),
        ("../a.b", "no Python file"),
        ("gone.py:Own", "no Python file gone.py"),
        ("mine.py:9", "names nothing in it"),
        ("mine.py:", "names nothing in it"),
        ("mine.txt:Own/x", "no Python file"),
    ],
)
def test_what_names_no_backend_is_refused_in_one_line(spec, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(LOUD)
    assert said in refusal(spec)


@given(st.text())
def test_any_text_is_a_backend_or_refused_in_one_line(spec: str):
    try:
        found = plugins.find(spec)
    except InputError:
        assert refusal(spec).startswith("--backend ")
        return
    assert isinstance(found, Entry)
    place, _, name = found.source.rpartition(":")
    assert name.isidentifier()
    assert os.path.isabs(place) or plugins.DOTTED.fullmatch(place)


@given(st.from_regex(plugins.LABEL, fullmatch=True), st.text(min_size=1))
def test_a_label_stands_before_the_first_equals_sign(label: str, spec: str):
    assert plugins.split(f"{label}={spec}") == (label, spec)


@pytest.mark.parametrize("text", ["./a=b.py", "../x=torch", "=torch", " =torch", "a b=torch"])
def test_what_is_no_label_belongs_to_the_place(text):
    assert plugins.split(text) == ("", text)


# -- labels and interpreters ---------------------------------------------------------------------


def test_one_backend_may_enter_under_several_labels_and_interpreters():
    plan = make_plan(
        backends=("numpy", "numpy@old=numpy"), pythons={"numpy@old": sys.executable}, seeds="0"
    )
    assert [*plan.labels] == ["numpy", "numpy@old"]
    assert {label.backend for label in plan.labels.values()} == {"numpy"}
    assert {label.source for label in plan.labels.values()} == {"backends.numpy:Backend"}


def test_the_same_label_twice_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numpy.py").write_text(LOUD)
    with pytest.raises(InputError, match="every label once"):
        make_plan(backends=("numpy", "./numpy.py"))
    with pytest.raises(InputError, match="every label once"):
        make_plan(backends=("x=numpy", "x=torch"))


def program(folder: Path, text: str) -> str:
    """An executable script in a folder."""
    file = folder / "python"
    file.write_text(f"#!{sys.executable}\n{text}")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


def answer(**words: Any) -> str:
    told = {"version": [3, 12], "absent": [], "versions": {}, "entry_points": []} | words
    return f"print({json.dumps(told)!r})\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("print('hello')\n", "does not answer as Python does"),
        ("", "does not answer as Python does"),
        (answer(version=[3, 8]), "it is Python 3.8; a worker needs 3.11"),
        (answer(absent=["msgspec", "numpy"]), "a worker needs numpy, msgspec there"),
    ],
)
def test_an_interpreter_that_cannot_run_a_worker_is_refused_before_anything_starts(
    text, said, tmp_path
):
    python = program(tmp_path, text)
    with pytest.raises(InputError, match=said):
        make_plan(backends=("numpy",), pythons={"numpy": python})


def test_a_program_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="no such program"):
        make_plan(backends=("numpy",), pythons={"numpy": "/nowhere/python"})
    with pytest.raises(InputError, match="choose from numpy"):
        make_plan(backends=("numpy",), pythons={"torch": sys.executable})


def test_a_framework_missing_there_is_skipped_or_refused_by_name(tmp_path):
    python = program(tmp_path, answer(absent=["torch"]))
    plan = make_plan(settled={"torch": python})
    assert plan.skipped["torch"].startswith(f"torch not installed for {python}; install with: ")
    with pytest.raises(InputError, match="torch not installed for"):
        make_plan(backends=("torch",), pythons={"torch": python})


def test_entry_points_of_another_interpreter_are_found_there(tmp_path, monkeypatch):
    python = program(
        tmp_path, answer(entry_points=[["theirs", "their_module:Own", "their-backend", "0.3"]])
    )
    entry = plugins.find("theirs", python)
    assert entry.origin == "entry point of their-backend 0.3"
    plan = make_plan(backends=("theirs",), pythons={"theirs": python})
    assert plan.labels["theirs"].python == python
    assert "unknown" in refusal("theirs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "harness.toml").write_text('[python]\ntheirs = "python"\n')
    assert catalogue.describe()["backends"]["theirs"]["python"] == python


# -- harness.toml --------------------------------------------------------------------------------


def test_settings_name_interpreters_from_their_own_folder(tmp_path, monkeypatch):
    (tmp_path / "harness.toml").write_text('[python]\n"jax@0.9" = "old/bin/python"\nb = "~/p"\n')
    monkeypatch.setenv("HOME", "/home/me")
    found = settings.read(tmp_path).python
    assert found == {"jax@0.9": str(tmp_path / "old/bin/python"), "b": "/home/me/p"}
    monkeypatch.chdir(tmp_path)
    assert settings.read().python == found
    assert settings.read(tmp_path / "elsewhere").python == {}


@pytest.mark.parametrize(
    "text", ["[pythons]\n", "[python]\na = 1\n", "python = 'x'\n", "[python\n", b"\xff"]
)
def test_settings_that_are_not_understood_are_refused(text, tmp_path):
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "harness.toml").write_bytes(data)
    with pytest.raises(InputError, match=r"harness\.toml") as caught:
        settings.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_setting_for_a_label_that_is_not_there_is_passed_over(tmp_path):
    plan = make_plan(backends=("numpy",), settled={"jax@0.9": "/nowhere/python"})
    assert [*plan.labels] == ["numpy"]


# -- through workers -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> str:
    """Another interpreter: an environment that sees the packages of this one, and no harness."""
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    found = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in ("numpy", "numpy.libs", "msgspec", "safetensors", "threadpoolctl.py"):
        there = Path(found.stdout.strip()) / name
        here = next((Path(p) / name for p in sys.path if (Path(p) / name).exists()), None)
        if here is not None:
            there.symlink_to(here)
    return str(python)


OURS = """
from backends.numpy import Backend as NumPy


class Theirs(NumPy):
    def __init__(self, device, dtype, threads, variant, precision="strict"):
        if variant != "default":
            raise ValueError(f"unknown variant {variant!r}")
        super().__init__(device, dtype, threads, "buffered", precision)
"""


def test_a_file_and_another_interpreter_stand_in_one_table(elsewhere, small_data, tmp_path):
    (tmp_path / "theirs.py").write_text(OURS)
    plan = make_plan(
        profile="smoke",
        backends=("numpy", f"mine={tmp_path}/theirs.py:Theirs", "numpy@there=numpy"),
        pythons={"numpy@there": elsewhere},
        data_dir=str(small_data),
        threads=1,
    )
    outcome = carry_out(plan, tmp_path / "results")
    assert (outcome.json["verdict"], outcome.exit_status) == ("agree", 0)
    told = outcome.json["backends"]
    assert [*told] == ["numpy", "mine", "numpy@there"]
    assert told["numpy@there"]["interpreter"] == elsewhere
    assert told["mine"]["source"] == f"{tmp_path}/theirs.py:Theirs"
    assert told["mine"]["origin"] == "file"
    assert told["numpy"]["origin"] == "built in"
    assert {t["rungs"]["lockstep"]["verdict"] for t in told.values()} == {"agree"}
