"""Sessions: `nox -s compare` is the main job, `nox -s tests` proves it. See README.md.

pip resolves torch, and no other resolver: it takes a local CPU build where one is provided.
"""

import shutil
from pathlib import Path

import nox

nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["tests", "lint", "types"]
nox.options.error_on_missing_interpreters = True


# Of two files of tests side by side; the order is that of tests/conftest.py.
BY_FILE = ("--dist", "loadfile", "--no-loadscope-reorder")


def install(session: nox.Session, *extras: str) -> None:
    """The project as it stands, with these extras."""
    session.install("-e", f".[{','.join(extras)}]" if extras else ".")


@nox.session
def compare(session: nox.Session) -> None:
    """Train all four frameworks, check that they agree, time them: `nox -s compare -- OPTIONS`."""
    install(session, "all")
    # Exit statuses are the harness's own; nox ends with 1 for any of them but 0.
    session.run("harness", "compare", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Everything, all four frameworks; two files at a time: most of it waits for workers."""
    install(session, "all", "test")
    session.run("pytest", "-n", "2", *BY_FILE, *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Plant every fault in real backends; what was found goes to results/reports/faults.md."""
    install(session, "all", "test")
    report = "results/reports/faults.md"
    session.run("pytest", "tests/test_faults.py", "--faults-report", report, *session.posargs)


@nox.session
def agreement(session: nox.Session) -> None:
    """20 clean runs and a full one; the largest values seen go to results/reports/agreement.md."""
    install(session, "all")
    runs = Path(session.create_tmp()) / "results"
    shutil.rmtree(runs, ignore_errors=True)
    for seed in range(20):
        words = ("--profile", "smoke", "--seeds", str(seed), "--results-dir", str(runs))
        session.run("harness", "compare", *words, *session.posargs)
    session.run(
        "harness", "compare", "--profile", "full", "--results-dir", str(runs), *session.posargs
    )
    page = "results/reports/agreement.md"
    records = sorted(map(str, (runs / "runs").iterdir()))
    session.run("harness", "report", *records, "--largest", page)


@nox.session
def bench(session: nox.Session) -> None:
    """Every bar for speed, Keras 3 and the book's loop beside; results/reports/performance.md."""
    install(session, "all")
    session.install("keras>=3.5")
    page = "results/reports/performance.md"
    session.run("python", "benchmarks/bench.py", "--page", page, *session.posargs)


@nox.session
def trials(session: nox.Session) -> None:
    """The timing verdict on times whose truth is known; results/reports/timing.md."""
    install(session, "all", "test")
    page = "results/reports/timing.md"
    session.run("python", "benchmarks/trials.py", "--page", page, *session.posargs)


@nox.session
def scale(session: nox.Session) -> None:
    """Step time over widths and batch sizes, in all four; results/reports/scaling.md."""
    install(session, "all")
    page = "results/reports/scaling.md"
    session.run("harness", "scale", "--page", page, *session.posargs)


@nox.session
def exports(session: nox.Session) -> None:
    """Exports against the tools that read them, a real MLflow server among them."""
    install(session, "test", "mlflow")
    session.install("mlflow>=2.20")
    tests_of_exports = ("tests/test_export.py", "tests/test_export_clients.py")
    session.run("pytest", *tests_of_exports, *session.posargs)


@nox.session(name="tests-numpy")
def tests_numpy(session: nox.Session) -> None:
    """The NumPy backend against the float64 reference, nothing else installed."""
    _backend(session, "numpy")


@nox.session(name="tests-torch")
def tests_torch(session: nox.Session) -> None:
    """The PyTorch backend against the float64 reference, with no other framework."""
    _backend(session, "torch", "torch")


@nox.session(name="tests-jax")
def tests_jax(session: nox.Session) -> None:
    """The JAX backend against the float64 reference, with no other framework."""
    _backend(session, "jax", "jax")


@nox.session(name="tests-tensorflow")
def tests_tensorflow(session: nox.Session) -> None:
    """The TensorFlow backend against the float64 reference, with no other framework."""
    _backend(session, "tensorflow", "tensorflow")


def _backend(session: nox.Session, name: str, *extras: str) -> None:
    """Tests of one backend alone, in an environment with its framework only."""
    install(session, *extras, "test")
    session.run("pytest", "tests/test_backend.py", "--only-backend", name, *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Every command of README and docs/, the long ones too, in a fresh copy."""
    install(session, "all", "test")
    session.install("nox")
    session.run("pytest", "tests/test_docs.py", "--all-commands", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Rules and format."""
    session.install("ruff>=0.8")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly, over harness and backends; the frameworks themselves count as Any."""
    install(session)
    session.install("mypy>=1.13")
    session.run("mypy")
