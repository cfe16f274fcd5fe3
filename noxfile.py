"""Sessions: `nox -s compare` is the main job, `nox -s tests` proves it. See README.md.

pip resolves torch, and no other resolver: it takes a local CPU build where one is provided.
"""

import hashlib
import shutil
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["tests", "lint", "types"]
nox.options.error_on_missing_interpreters = True


# Of two files of tests side by side; the order is that of tests/conftest.py.
BY_FILE = ("--dist", "loadfile", "--no-loadscope-reorder")


# All that a worker needs under another interpreter, beside its framework.
WORKER = ("numpy", "msgspec", "safetensors", "threadpoolctl")
# Per backend, what its older and its newer environment hold: `nox -s versions`.
UPGRADES = {
    "numpy": (("numpy==1.26.4",), ("numpy==2.4.6",)),
    "jax": (
        ("jax==0.9.2", "flax==0.12.6", "optax==0.2.8"),
        ("jax==0.10.2", "flax==0.12.8", "optax==0.2.8"),
    ),
    "tensorflow": (("tensorflow==2.20.0",), ("tensorflow==2.21.0",)),
}


def install(session: nox.Session, *extras: str) -> None:
    """The project as it stands, with these extras; it takes minutes, so pip says what it does."""
    if extras:
        cost = "some 4 GB (several more with CUDA) and 4 minutes for all"
        session.log(f"installing {', '.join(extras)}: {cost}")
    session.install("-e", f".[{','.join(extras)}]" if extras else ".", silent=False)


def environment(session: nox.Session, name: str, *packages: str, base: str = "python") -> str:
    """The python of an environment with these packages and the worker's; kept for the next time.

    base: the interpreter that it is made with.
    """
    wanted = (*packages, *(p for p in WORKER if not any(q.startswith(f"{p}==") for q in packages)))
    digest = hashlib.sha256("\n".join(sorted(wanted)).encode()).hexdigest()[:8]
    folder = Path(session.cache_dir).absolute() / f"{name}-{digest}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.is_file():  # one whose installation broke off is made anew
        session.run(base, "-m", "venv", "--clear", str(folder), silent=True, external=True)
        install_there = ("-m", "pip", "install", "--disable-pip-version-check")
        session.run(str(python), *install_there, *wanted, external=True)
        ready.touch()
    return str(python)


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
    """Plant every fault and every convention in real backends; two pages of results/reports/."""
    install(session, "all", "test")
    report = "results/reports/faults.md"
    planted = ("tests/test_faults.py", "tests/test_generic_faults.py")
    session.run("pytest", *planted, "--faults-report", report, *session.posargs)
    report = "results/reports/explanations.md"
    planted = ("tests/test_explanations.py", "--explanations-report", report)
    session.run("pytest", *planted, *session.posargs)


@nox.session
def agreement(session: nox.Session) -> None:
    """20 clean runs and a full one; the largest values seen go to results/reports/agreement.md.

    Where the real data are at hand, the full one is also held against the reference facts.
    """
    install(session, "all", "test")
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
    session.run("pytest", "tests/test_real_data.py", "--full-run", records[-1])


@nox.session
def bench(session: nox.Session) -> None:
    """What steps of no work cost, and every bar for speed: a page each of results/reports/."""
    install(session, "all")
    session.install("keras>=3.5")
    session.run("python", "benchmarks/overhead.py", "--page", "results/reports/overhead.md")
    page = "results/reports/convolution.md"
    try:
        session.run("python", "benchmarks/convolution.py", "--page", page)
    finally:  # each ends with 1 where a bar is missed: the other is measured all the same
        page = "results/reports/performance.md"
        session.run("python", "benchmarks/bench.py", "--page", page, *session.posargs)


@nox.session
def mxnet(session: nox.Session) -> None:
    """MXNet as a plug-in, in an environment of its own, beside the other four; then its tests."""
    example = Path("examples/mxnet-backend")
    lines = (example / "requirements.txt").read_text().splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    try:
        python = environment(session, "mxnet", *pinned, base="python3.11")
        # The harness, which it depends on, lends itself.
        plug_in = ("--no-deps", "--editable", str(example))
        session.run(python, "-m", "pip", "install", *plug_in, external=True)
        session.run(python, "-c", "import mxnet", silent=True, external=True)
    except CommandFailed as error:
        session.skip(f"MXNet's environment cannot be made here: {error.reason}")
    extras = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]
    others = ("numpy", "torch", "jax", "tensorflow")
    pythons = {name: environment(session, name, *extras.get(name, ())) for name in others}
    pythons["mxnet"] = python
    install(session, "test")  # none of the frameworks
    words = []
    for name, its in pythons.items():
        words += ["--backend", name, "--python", f"{name}={its}"]
    session.run("harness", "compare", *words, *session.posargs)
    alone = ("--only-backend", "mxnet", "--only-python", python)
    session.run("pytest", "tests/test_backend.py", *alone)
    session.run("pytest", str(example), env={"MXNET_PYTHON": python})


@nox.session
def versions(session: nox.Session) -> None:
    """Two versions of JAX, of TensorFlow and of NumPy in one table, and what each upgrade moved."""
    install(session)
    runs = Path(session.create_tmp()) / "results"
    shutil.rmtree(runs, ignore_errors=True)
    words, pairs = [], []
    for name, (older, newer) in UPGRADES.items():
        old = f"{name}@{older[0].partition('==')[2]}"
        for label, packages in ((old, older), (name, newer)):
            python = environment(session, label, *packages)
            words += ["--backend", f"{label}={name}", "--python", f"{label}={python}"]
        pairs.append(f"{old}={name}")
    # Five sessions: fewer claim nothing of speed.
    words += ["--sessions", "5", "--results-dir", str(runs)]
    # 1: a version disagrees, or something is worse since the upgrade; either is an answer.
    session.run("harness", "compare", *words, *session.posargs, success_codes=[0, 1])
    (run,) = (runs / "runs").iterdir()
    for pair in pairs:
        session.run("harness", "diff", str(run), "--pair", pair, success_codes=[0, 1])


@nox.session
def keras(session: nox.Session) -> None:
    """Keras 3 as a plug-in, on its three engines: certified, then beside the four under it."""
    install(session, "all")
    session.install("./examples/keras-backend")
    session.run("harness", "list")
    names = ("keras-torch", "keras-jax", "keras-tensorflow")
    certificates = Path(session.create_tmp())
    for name in names:
        out = str(certificates / f"{name}.json")
        session.run("harness", "certify", name, "--out", out)
    words = [
        w for name in ("numpy", "torch", "jax", "tensorflow", *names) for w in ("--backend", name)
    ]
    session.run("harness", "compare", *words, *session.posargs)


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
def systems(session: nox.Session) -> None:
    """Every small system to its last epoch, in all four; results/reports/systems.md."""
    install(session, "all")
    page = "results/reports/systems.md"
    session.run("python", "benchmarks/systems.py", "--page", page, *session.posargs)


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
    # What PyTorch computed over an epoch: another framework's word, without the framework.
    session.run("harness", "golden", "check", name, "--file", "tests/golden.safetensors")


@nox.session
def docs(session: nox.Session) -> None:
    """Every command of README and docs/, the long ones too, in a fresh copy."""
    install(session, "all", "test")
    session.install("nox")
    pages = ("tests/test_docs.py", "tests/test_tutorial.py")
    session.run("pytest", *pages, "--all-commands", *session.posargs)


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
    session.install("mypy>=1.13", "pytest>=8.3")
    session.run("mypy")
