"""The pytest plug-in: a library's own backends as fixtures, each in a process of its own.

Every pytest loads it in whose environment the harness is installed. So it imports pytest and the
standard library only; what the fixtures need (`harness/testing/handles.py`) is imported where a
test asks for one, or where an option of these is given.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.testing.handles import Bench, Oracle, RemoteBackend
    from harness.workers.remote import RemoteTrainer

# By option: where its values go, what stands for one, whether it is repeatable, and its help.
OPTIONS: dict[str, tuple[str, str, bool, str]] = {
    "--backend": (
        "harness_backends",
        "[LABEL=]SPEC",
        True,
        (
            "a backend under test: a name (see harness list), MODULE:CLASS or FILE.py:CLASS "
            "(repeatable); default: the built-in ones that are installed"
        ),
    ),
    "--backend-python": (
        "harness_pythons",
        "LABEL=PATH",
        True,
        "the interpreter it runs under (repeatable); or [python] in harness.toml",
    ),
    "--backend-device": ("harness_device", "DEVICE", False, "cpu (default) or cuda"),
    "--backend-workload": (
        "harness_workload",
        "SPEC",
        False,
        "what is trained: a name, MODULE:NAME or FILE.py:NAME",
    ),
    "--backend-rooms": (
        "harness_rooms",
        "DIR",
        False,
        "a folder with your own files of models, by framework",
    ),
    "--backend-plant": (
        "harness_plants",
        "LABEL=FILE:FUNCTION",
        True,
        "plant a fault in a backend, to see it caught (repeatable)",
    ),
}
BENCH: pytest.StashKey[Bench] = pytest.StashKey()
TAKEN: pytest.StashKey[list[str]] = pytest.StashKey()
# The fixture that `backend` rests on, and no test asks for: it alone is parametrised, so that a
# project's own fixture or argument called "backend" is left alone.
LABEL = "harness_label"


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Iterator[None]:
    """Add the options last, after every plug-in and conftest: one that has such a name keeps it.

    Until then the values of these options stand among the files that are asked for.
    """
    files, ours = early_config.known_args_namespace.file_or_dir, {*OPTIONS} - _names(parser)
    for option, value in itertools.pairwise(args):
        if option in ours and value in files:
            files.remove(value)
    try:
        return (yield)
    finally:
        early_config.stash[TAKEN] = _add_options(parser)


def _names(parser: pytest.Parser) -> set[str]:
    """The options that there are by now."""
    groups = [*getattr(parser, "_groups", ()), getattr(parser, "_anonymous", None)]
    return {name for group in groups for o in getattr(group, "options", ()) for name in o.names()}


def _add_options(parser: pytest.Parser) -> list[str]:
    """Add what can be added; the names that others have already."""
    group, taken = parser.getgroup("harness", "harness (backends against one another)"), []
    theirs = _names(parser)
    for option, (dest, metavar, repeatable, what) in OPTIONS.items():
        try:
            if option in theirs:
                raise ValueError  # before pytest 9 two of one name are refused later, for good
            action = "append" if repeatable else "store"
            group.addoption(option, dest=dest, metavar=metavar, action=action, help=what)
        except (ValueError, argparse.ArgumentError):
            taken.append(option)
    return taken


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that mean nothing, before anything is collected."""
    if any(config.getoption(dest, None) for dest, *_ in OPTIONS.values()):
        _bench(config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Which backends were named, and which options this plug-in does without."""
    lines = []
    if taken := config.stash.get(TAKEN, []):
        lines.append(f"harness: another plug-in has {', '.join(taken)}: not an option of harness")
    if named := config.getoption("harness_backends", None):
        lines.append(f"harness: backends {', '.join(named)}")
    return lines


def pytest_unconfigure(config: pytest.Config) -> None:
    """End every worker; with pytest-xdist each of its processes ends its own."""
    if bench := config.stash.get(BENCH, None):
        bench.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that uses `backend` runs once for each of them."""
    if LABEL in metafunc.fixturenames:
        labels = _bench(metafunc.config).labels
        metafunc.parametrize(LABEL, labels, ids=labels, indirect=True, scope="session")


def _bench(config: pytest.Config) -> Bench:
    """The session's backends and workers; UsageError where an option means nothing."""
    if BENCH not in config.stash:
        from harness.errors import HarnessError
        from harness.plan.choices import pairs
        from harness.testing.handles import Bench

        words = {option: config.getoption(dest, None) for option, (dest, *_) in OPTIONS.items()}
        try:
            config.stash[BENCH] = Bench(
                backends=tuple(words["--backend"] or ()),
                pythons=pairs("--backend-python", words["--backend-python"]),
                plants=pairs("--backend-plant", words["--backend-plant"]),
                device=words["--backend-device"] or "cpu",
                workload=words["--backend-workload"],
                rooms=words["--backend-rooms"],
                root=config.rootpath,
            )
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[BENCH]


@pytest.fixture(scope="session")
def harness_label(request: pytest.FixtureRequest) -> str:
    """What the command line calls the backend of this test."""
    label: str = request.param
    return label


@pytest.fixture(scope="session")
def backend(
    harness_label: str, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> RemoteBackend:
    """One backend after the other, in a worker: `trainer(...)`, `compare(...)`, `facts`."""
    from harness.errors import InputError
    from harness.testing.handles import RemoteBackend

    try:
        return RemoteBackend(
            _bench(pytestconfig), harness_label, lambda: tmp_path_factory.mktemp("harness")
        )
    except InputError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def trainer(backend: RemoteBackend, request: pytest.FixtureRequest) -> Iterator[RemoteTrainer]:
    """A new trainer of `backend`, float32; float64 where a test is parametrised so, indirectly."""
    made = backend.trainer(dtype=getattr(request, "param", "float32"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def reference(pytestconfig: pytest.Config) -> Oracle:
    """The float64 judge, and the numbers that every backend is given."""
    return _bench(pytestconfig).oracle()


@pytest.fixture(scope="session")
def assert_agrees() -> Callable[..., Any]:
    """`harness.testing.assert_agrees`: a backend, or tensors, against the judge."""
    from harness.testing.assertion import assert_agrees

    return assert_agrees
