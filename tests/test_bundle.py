"""A bundle shows the first divergence without the harness, or is refused in one line."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends import BACKENDS
from harness import bundle
from harness.bundle import reproduction
from harness.errors import InputError
from harness.measure import distance
from harness.plan.make import missing
from harness.plan.model import Timing
from harness.record.schema import Kept
from harness.record.store import write
from harness.results import kept
from harness.run import session
from harness.text import short
from harness.verdict import verdict
from harness.workloads.reference.limits import LIMITS
from tests.conftest import Silent, harness, needs, plant
from tests.make import make_plan

# What takes a fault to its rung, and no more.
QUICK = {
    "timing": Timing(sessions=1, rounds=0, warmup_rounds=0),
    "trajectory": None,
    "small_sizes": (),
    "steps": 4,
    "checkpoints": (0, 2),
}
NAMES = [name for name in ("numpy", "torch") if missing(name) is None]
# Faults that no file of tests/faults has; they need no neighbour.
OWN = """
def wrapped(backend, method, change):
    build = backend.trainer

    def trainer(workload):
        made = build(workload)
        setattr(made, method, change(made, getattr(made, method)))
        return made

    backend.trainer = trainer


def step_loss_wrong(backend):
    wrapped(backend, "wait", lambda made, wait: lambda loss: wait(loss) * 1.5)


def third_loss_wrong(backend):
    def counted(made, wait):
        count = iter(range(10**6))
        set_ = made.set_state

        def set_state(given):
            nonlocal count
            count = iter(range(10**6))
            set_(given)

        made.set_state = set_state
        return lambda loss: wait(loss) * (1.5 if next(count) == 2 else 1)

    wrapped(backend, "wait", counted)
"""


class Case(msgspec.Struct):
    """A label's record with its fault, and the bundle of it, copied to a folder of its own."""

    label: str
    record: object
    folder: Path
    first: dict
    copy: Path

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        return run_script(self.copy / f"reproduce_{name}.py")

    def source(self, name: str) -> str:
        return (self.copy / f"reproduce_{name}.py").read_text()


def run_script(script: Path) -> subprocess.CompletedProcess[str]:
    """A script in an interpreter that sees neither this tree nor PYTHONPATH."""
    elsewhere = script.parent.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-I", str(script)],
        cwd=elsewhere,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def distances(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """The distance a script prints: its own, and the run's."""
    found = re.search(r"^distance +(\S+) here, (\S+) in the run$", done.stdout, re.M)
    assert found, done.stdout + done.stderr
    return found[1], found[2]


@pytest.fixture(scope="module")
def live(small_data, tmp_path_factory):
    """A session whose workers take one fault after another."""
    words = {"profile": "smoke", "data_dir": str(small_data), "timeout_s": 240.0}
    plan = msgspec.structs.replace(make_plan(backends=tuple(NAMES), **words), **QUICK)
    folder = tmp_path_factory.mktemp("live")
    with session.live(plan, folder, Silent()) as begun:
        yield begun, folder


@pytest.fixture(scope="module")
def make_case(live, tmp_path_factory):
    """Measure a label with a fault, store the run, and bundle it; each once."""
    made: dict[tuple, Case] = {}

    def make(label: str, file: str, function: str) -> Case:
        if (label, function) in made:
            return made[label, function]
        base = tmp_path_factory.mktemp(function)
        fault = plant(file, function)
        if file == "own.py":
            (base / "own.py").write_text(OWN)
            fault = f"{base / 'own.py'}:{function}"
        begun, folder = live
        record = begun.trial({label: fault})
        run = base / "run"
        shutil.copytree(folder / "tensors", run / "tensors")
        write(record, run)
        first = msgspec.structs.asdict(verdict.judge(record).first_divergence)
        written = bundle.make_bundle(record, run, run / "bundle")
        copy = base / "copied" / "b"
        shutil.copytree(written.folder, copy)
        made[label, function] = Case(label, record, run, first, copy)
        return made[label, function]

    return make


@pytest.mark.parametrize(
    ("label", "file", "function", "rung", "tensor"),
    [
        ("torch", "numbers.py", "lr_one_per_mille", "update", None),
        ("torch", "numbers.py", "momentum", "lockstep", None),
        ("numpy", "numbers.py", "leaky_relu", "forward", "h1, own error"),
        ("numpy", "numbers.py", "float64_in_float32", "forward", "logits"),
        ("numpy", "numbers.py", "pixels_bfloat16", "inputs", "x"),
        ("numpy", "numbers.py", "loss_summed", "loss", "loss"),
        ("numpy", "numbers.py", "no_gradient_of_b2", "gradients", "b2"),
        ("numpy", "own.py", "step_loss_wrong", "loss", "step loss"),
        ("numpy", "own.py", "third_loss_wrong", "lockstep", "losses"),
        ("numpy", "process.py", "nan_logit", "forward", "logits"),
        ("numpy", "process.py", "wrong_shape", "forward", "logits"),
    ],
)
def test_the_script_of_the_faulty_framework_shows_the_stated_difference(
    make_case, label, file, function, rung, tensor
):
    if label not in NAMES:
        pytest.skip(missing(label))
    case = make_case(label, file, function)
    first = case.first
    assert (first["rung"], first["tensor"]) == (rung, tensor or first["tensor"])
    done = case.run(label)
    assert done.returncode == 1, done.stdout + done.stderr
    here, stated = distances(done)
    if first["distance"] is None:
        assert (here, stated) == ("none", "none")
        assert first["problem"] in done.stdout
    else:
        assert float(stated) == pytest.approx(first["distance"], rel=1e-6)
        assert float(here) == pytest.approx(float(stated), rel=1e-6)
    if first["index"] is not None:
        place = f"{first['index']}: expected {first['expected']}, got {first['got']}"
        assert f"{place} here" in done.stdout
        assert f"{place} in the run" in done.stdout


@needs("numpy", "torch", "jax", "tensorflow")
def test_the_scripts_of_the_other_frameworks_find_no_difference(make_case):
    case = make_case("torch", "numbers.py", "lr_one_per_mille")
    for name in ("numpy", "jax", "tensorflow"):
        done = case.run(name)
        assert done.returncode == 0, done.stdout + done.stderr
        here, stated = distances(done)
        assert float(here) < case.first["limit"] / 3
        assert float(stated) == pytest.approx(case.first["distance"], rel=1e-6)


@needs("torch")
def test_the_script_of_a_clean_framework_ends_with_0(make_case):
    assert make_case("numpy", "numbers.py", "leaky_relu").run("torch").returncode == 0


@needs("torch")
def test_a_clean_framework_keeps_lockstep(make_case):
    done = make_case("torch", "numbers.py", "momentum").run("numpy")
    assert done.returncode == 0
    assert float(distances(done)[0]) < 1e-13


def test_a_script_takes_some_ten_lines(make_case):
    case = make_case("numpy", "numbers.py", "leaky_relu")
    for name in BACKENDS:
        tree = ast.parse(case.source(name))
        body = next(n for n in tree.body if isinstance(n, ast.FunctionDef)).body
        lines = [n for n in body if not isinstance(n, ast.ImportFrom)]
        planted = 3 if name == "numpy" else 0
        assert len(lines) <= 8 + planted


def test_a_bundle_needs_no_harness(make_case):
    copy = make_case("numpy", "numbers.py", "leaky_relu").copy
    code = f"import sys; sys.path.insert(0, {str(copy / 'code')!r}); import harness.session"
    words = [sys.executable, "-I", "-c", code]
    done = subprocess.run(words, cwd=copy.parent, capture_output=True, text=True, check=False)
    assert "No module named 'harness.session'" in done.stderr
    of_harness = sorted(p.name for p in (copy / "code" / "harness").glob("*.py"))
    assert of_harness == ["__init__.py", "interface.py"]


def test_what_cannot_be_told_ends_with_125(make_case, tmp_path):
    copy = tmp_path / "b"
    shutil.copytree(make_case("numpy", "numbers.py", "leaky_relu").copy, copy)
    (copy / "want.safetensors").unlink()
    done = run_script(copy / "reproduce_numpy.py")
    assert done.returncode == 125
    assert "want.safetensors" in done.stderr


def test_a_mended_backend_ends_with_0(make_case, tmp_path):
    copy = tmp_path / "b"
    shutil.copytree(make_case("numpy", "numbers.py", "leaky_relu").copy, copy)
    (copy / "code" / "plant" / "numbers.py").write_text("def leaky_relu(backend): pass\n")
    assert run_script(copy / "reproduce_numpy.py").returncode == 0


def test_the_readme_tells_everything(make_case):
    case = make_case("numpy", "numbers.py", "leaky_relu")
    text = (case.copy / "README.md").read_text()
    first = case.first
    told = [
        "numpy",
        "forward",
        first["case"],
        "h1, own error",
        str(first["distance"]),
        "harness/float64",
    ]
    told += [str(first["expected"]), str(first["got"]), short(first["limit"]), np.__version__]
    told += [r"leaky\_relu", "FAULT PLANTED", "git bisect run"]
    told += [next(x.reason for x in LIMITS if x.rung == "forward" and x.value == first["limit"])]
    assert [word for word in told if word not in text] == []
    assert f"python -m pip install numpy=={np.__version__} msgspec" in text


# -- the command -----------------------------------------------------------------------------------


def test_the_command_bundles_a_whole_run_into_its_folder_and_says_where(run_plan, tmp_path):
    plants = {"numpy": plant("numbers.py", "leaky_relu")}
    outcome = run_plan(backends=("numpy",), plants=plants, change={"timing": QUICK["timing"]})
    first, run = outcome.json["first_divergence"], tmp_path / "run"
    outcome.folder.rename(run)
    done = harness("bundle", "run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["bundle"] == str(run / "bundle")
    assert (told["rung"], told["distance"]) == (first["rung"], first["distance"])
    assert sorted(told["scripts"]) == sorted(f"reproduce_{name}.py" for name in BACKENDS)
    shown = run_script(run / "bundle" / "reproduce_numpy.py")
    assert shown.returncode == 1
    assert float(distances(shown)[0]) == pytest.approx(first["distance"], rel=1e-6)
    again = harness("bundle", "run", cwd=tmp_path)
    assert (again.returncode, len(again.stderr.strip().splitlines())) == (2, 1)
    assert "not an empty folder" in again.stderr
    other = harness("bundle", "run/record.json", "--out", "new/there", cwd=tmp_path)
    assert other.returncode == 0
    assert str(tmp_path / "new" / "there") in other.stdout
    assert (tmp_path / "new" / "there" / "README.md").is_file()
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["there"]


def test_a_run_that_agrees_has_nothing_to_reproduce(live, tmp_path):
    write(live[0].trial({"numpy": None}), tmp_path)
    done = harness("bundle", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "harness: nothing to reproduce: agree\n"


# -- refusals --------------------------------------------------------------------------------------


@pytest.fixture
def stored(make_case, tmp_path):
    """A record and a copy of its run's folder, to be spoilt."""
    case = make_case("numpy", "numbers.py", "leaky_relu")
    shutil.copytree(case.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "bundle")
    return msgspec.convert(msgspec.to_builtins(case.record), type(case.record)), tmp_path / "run"


def refused(record, run: Path, match: str, out: Path | None = None) -> None:
    """It is refused in one line, and nothing is left."""
    before = sorted(p.name for p in run.parent.rglob("*"))
    with pytest.raises(InputError, match=match) as error:
        bundle.make_bundle(record, run, out or run / "bundle")
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()
    assert sorted(p.name for p in run.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rung": "trajectory"}, "no single batch shows the rung trajectory"),
        ({"rung": "accuracy"}, "no single batch shows the rung accuracy"),
        ({"rung": "timing"}, "no single batch shows the rung timing"),
        ({"rung": "lockstep", "step": 234}, "beyond the 50 steps that are kept"),
        ({"case": "precision", "step": None}, "a run keeps the distance only"),
        ({}, "the run found nothing over the limits it had"),
    ],
)
def test_a_divergence_that_nothing_was_kept_of_is_refused_with_the_reason(stored, change, reason):
    record, _ = stored
    record.kept = []
    judged = verdict.judge(record)
    judged.first_divergence = msgspec.structs.replace(judged.first_divergence, **change)
    with pytest.raises(InputError, match=reason):
        kept.find(record, judged)


def test_what_is_within_its_limit_by_now_is_refused(stored):
    record, run = stored
    record.kept[0].case = "step 1"
    for m in record.results["numpy"].measurements:
        if (m.rung, m.case) == ("forward", "step 1"):
            m.distance = 1e-9
    refused(record, run, "where nothing is over its limit")


def test_another_case_than_the_verdicts_is_said(stored):
    record, run = stored
    earlier = next(m for m in record.results["numpy"].measurements if m.rung == "inputs")
    earlier.distance = 3.0
    made = bundle.make_bundle(record, run, run / "bundle")
    assert made.reproduced.instead.startswith("The verdict names inputs, step 0, float32 first")
    assert "The verdict names inputs" in (run / "bundle" / "README.md").read_text()
    assert run_script(run / "bundle" / "reproduce_numpy.py").returncode == 1


def test_a_folder_that_is_not_empty_is_left_as_it_is(stored):
    record, run = stored
    out = run / "bundle"
    out.mkdir()
    (out / "mine").write_text("x")
    refused(record, run, "not an empty folder")
    (run / "file").write_text("x")
    refused(record, run, "not an empty folder", run / "file")
    refused(record, run, "cannot write|Not a directory", run / "file" / "deeper")
    empty = run / "empty"
    empty.mkdir()
    bundle.make_bundle(record, run, empty)
    assert (empty / "README.md").is_file()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: file.unlink(), "there is no such file"),
        (lambda file: (file.unlink(), file.mkdir()), "there is no such file"),
        (lambda file: file.write_bytes(b"junk"), "cannot be read"),
        (lambda file: file.write_bytes(file.read_bytes()[:5000]), "cannot be read"),
        (lambda file: change(file, lambda t: t.pop("given.W2")), "given.W2.* is not among them"),
        (lambda file: change(file, lambda t: t.pop("x")), "is not among them"),
        (lambda file: change(file, lambda t: t.pop("want.trace.h1")), "trace.h1"),
        (lambda file: change(file, lambda t: t.update(x=t["y"])), "x has shape"),
        (lambda file: change(file, lambda t: t.update({"given.b1": t["x"]})), "b1 has shape"),
        (lambda file: change(file, lambda t: t["got.trace.h1"].fill(1)), "not the tensors of this"),
    ],
)
def test_tensors_that_cannot_be_used_are_refused(stored, spoil, reason):
    record, run = stored
    spoil(run / record.kept[0].file)
    refused(record, run, reason)


def change(file: Path, how) -> None:
    tensors = {name: np.array(value) for name, value in load_file(file).items()}
    how(tensors)
    save_file(tensors, file)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "tensors/../../secret", "link", "x\0y", "", ".", "a" * 5000],
)
def test_a_kept_file_outside_the_runs_folder_is_not_read(stored, name):
    record, run = stored
    secret = run.parent / "secret"
    shutil.copy(run / record.kept[0].file, secret)
    (run / "link").symlink_to(secret)
    record.kept[0].file = name
    refused(record, run, "not a file of the run's own folder|there is no such file")


def test_a_write_that_fails_leaves_nothing(stored, monkeypatch):
    record, run = stored

    def full(path, tensors):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, "save_tensors", full)
    refused(record, run, "No space left on device")


# -- hostile records -------------------------------------------------------------------------------

EVIL = '"""\'); __import__("os").system("touch pwned"); #\n\x1b[2J`</td>${tensor}\\'


def rename(record, run: Path) -> None:
    """The label, a parameter, and every free text become hostile."""
    label = msgspec.structs.replace(record.plan.labels["numpy"], variant=EVIL, python=EVIL)
    workload = record.plan.workload
    tensors = [
        msgspec.structs.replace(t, name=EVIL if t.name == "W2" else t.name)
        for t in workload.tensors
    ]
    workload = msgspec.structs.replace(workload, tensors=tuple(tensors), name=EVIL)
    record.plan = msgspec.structs.replace(
        record.plan, labels={EVIL: label}, workload=workload, reference=EVIL
    )
    record.results = {EVIL: record.results["numpy"]}
    for m in record.results[EVIL].measurements:
        m.tensor = EVIL if m.tensor == "W2" else m.tensor
    for process in record.results[EVIL].processes:
        process.facts["version:numpy"] = "1.0; touch pwned"
        process.facts["version:torch"] = "2.0\ntouch pwned"
        process.facts[EVIL] = EVIL
    record.run, record.machine["processor"], record.harness_version = EVIL, EVIL, EVIL
    record.kept[0].label = EVIL
    change(
        run / record.kept[0].file,
        lambda t: [t.update({n.replace("W2", EVIL): t.pop(n)}) for n in list(t) if "W2" in n],
    )


def test_nothing_of_a_hostile_record_becomes_code(make_case, tmp_path):
    case = make_case("numpy", "numbers.py", "no_gradient_of_b2")
    run = tmp_path / "run"
    shutil.copytree(case.folder, run, ignore=shutil.ignore_patterns("bundle"))
    record = msgspec.convert(msgspec.to_builtins(case.record), type(case.record))
    # The tensor that differs has the hostile name too.
    for m in record.results["numpy"].measurements:
        if m.rung == "gradients":
            m.tensor = {"b2": "W2", "W2": "b2"}.get(m.tensor, m.tensor)
    change(
        run / record.kept[0].file,
        lambda t: t.update(
            {
                f"{side}.grad.{a}": t[f"{side}.grad.{b}"]
                for side in ("want", "got")
                for a, b in (("W2", "b2"), ("b2", "W2"))
            }
        ),
    )
    rename(record, run)
    made = bundle.make_bundle(record, run, run / "bundle")
    assert made.reproduced.at.tensor == EVIL
    for name in BACKENDS:
        source = (made.folder / f"reproduce_{name}.py").read_text()
        assert source.isascii()
        tree = ast.parse(source)
        assert "system" not in {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        assert "__import__" not in {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        literals = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
        assert EVIL in literals
    run_script(made.folder / "reproduce_numpy.py")
    assert not list(tmp_path.rglob("pwned"))
    assert {p.name for p in made.folder.iterdir()} == {p.name for p in case.copy.iterdir()}
    text = (made.folder / "README.md").read_text()
    assert "\x1b" not in text
    assert "</td>" not in text
    commands = text.split("```")[1]
    assert "pwned" not in commands
    assert "install numpy msgspec" in commands
    assert bundle.as_text(made).replace("\n", "").isprintable()
    stated = json.loads((made.folder / "divergence.json").read_text())
    assert all(v.isprintable() for v in stated.values() if isinstance(v, str))


@pytest.mark.parametrize(
    "planted",
    [
        "/etc/passwd:f",
        "/nowhere/numbers.py:leaky_relu",
        "tests/faults/numbers.py:leaky_relu",
        f"{plant('numbers.py', 'x')[:-2]}:f(); import os",
        f"{plant('numbers.py', 'x')[:-2]}:import",
        "x\0.py:f",
        "",
    ],
)
def test_a_plant_that_is_no_python_file_here_is_told_and_not_copied(stored, planted):
    record, run = stored
    label = msgspec.structs.replace(record.plan.labels["numpy"], plant=planted)
    record.plan = msgspec.structs.replace(record.plan, labels={"numpy": label})
    made = bundle.make_bundle(record, run, run / "bundle")
    assert made.planted is None
    assert not (made.folder / "code" / "plant").exists()
    assert "was not on this machine" in (made.folder / "README.md").read_text()
    source = (made.folder / "reproduce_numpy.py").read_text()
    assert "its file was not there to be copied" in source
    ast.parse(source)


@pytest.mark.parametrize(
    "kept", [{"dtype": "float99"}, {"rung": "timing"}, {"rung": "../x"}, {"case": "step 7"}]
)
def test_kept_tensors_of_nothing_known_are_refused(stored, kept):
    record, run = stored
    fields = msgspec.structs.asdict(record.kept[0]) | kept
    record.kept = [Kept(**fields)]
    refused(record, run, "no such dtype or rung|nothing is over its limit")


@pytest.mark.parametrize(
    "label",
    [
        {"backend": "os", "source": ""},
        {"source": "/etc/passwd:Backend"},
        {"source": "relative.py:Backend"},
        {"source": "os.import:Backend"},
        {"source": "os:Back end"},
        {"source": "os; import evil:Backend"},
        {"source": "/x\0.py:Backend"},
        {"source": ":Backend"},
        {"source": "os:Backend", "device": EVIL},
    ],
)
def test_a_backend_that_no_script_can_load_is_refused(stored, label):
    record, run = stored
    label = msgspec.structs.replace(record.plan.labels["numpy"], **label)
    record.plan = msgspec.structs.replace(record.plan, labels={"numpy": label})
    refused(record, run, "no such backend here")


# -- plug-ins and interpreters of their own --------------------------------------------------------

MINE = """
from backends.numpy import Backend as NumPy


class Mine(NumPy):
    def __init__(self, device, dtype, threads, variant, precision="strict"):
        assert variant == "default"
        super().__init__(device, dtype, threads, "buffered", precision)

    def trainer(self, workload):
        made = super().trainer(workload)
        outputs, trace = made.outputs, made.trace
        made.outputs = lambda batch, **mode: outputs(batch, **mode) * FACTOR
        made.trace = lambda batch: {name: v * FACTOR for name, v in trace(batch).items()}
        return made
"""


@pytest.fixture
def bundle_of(stored, tmp_path):
    """The bundle of the same divergence in a label of this name and configuration."""

    def make(name: str, **changes: object) -> tuple[bundle.Made, Path]:
        record, run = stored
        label = record.plan.labels["numpy"]
        label = msgspec.structs.replace(label, plant=None, variant="default", **changes)
        record.plan = msgspec.structs.replace(record.plan, labels={name: label})
        record.results = {name: record.results["numpy"]}
        record.kept[0].label = name
        made = bundle.make_bundle(record, run, run / "bundle")
        copy = tmp_path / "copied" / "b"
        shutil.copytree(made.folder, copy)
        return made, copy

    return make


def test_a_plug_in_of_a_file_is_copied_and_shows_its_divergence(bundle_of, tmp_path):
    file = tmp_path / "own" / "mine.py"
    file.parent.mkdir()
    file.write_text(MINE.replace("FACTOR", "1.001"))
    made, copy = bundle_of("mine@2", source=f"{file}:Mine", origin="file", backend="mine")
    assert sorted(made.scripts) == sorted(f"reproduce_{name}.py" for name in (*BACKENDS, "mine@2"))
    assert made.plug_in == str(file)
    assert "without whatever it imports beside it" in bundle.as_text(made)
    file.unlink()
    assert run_script(copy / "reproduce_mine@2.py").returncode == 1
    assert run_script(copy / "reproduce_numpy.py").returncode == 0
    (copy / "code" / "plug_in" / "mine.py").write_text(MINE.replace("FACTOR", "1"))
    assert run_script(copy / "reproduce_mine@2.py").returncode == 0
    text = (copy / "README.md").read_text()
    assert "python reproduce_mine@2.py" in text
    assert "It may import others that lay beside it" in text


def test_a_plug_in_of_a_module_is_to_be_installed(bundle_of):
    origin = "entry point of their-backend 1.2; rm -rf ~"
    made, copy = bundle_of("theirs", source="their.module:Mine", origin=origin, backend="theirs")
    assert made.plug_in is None
    done = run_script(copy / "reproduce_theirs.py")
    assert done.returncode == 125
    assert "No module named 'their'" in done.stderr
    text = (copy / "README.md").read_text()
    assert "install what brings their.module" in text
    assert "rm -rf" not in text.split("```")[1]
    (copy / "code" / "their").mkdir()
    (copy / "code" / "their" / "module.py").write_text(MINE.replace("FACTOR", "1.001"))
    assert run_script(copy / "reproduce_theirs.py").returncode == 1


def test_a_plug_in_whose_file_is_gone_says_where_it_is_to_be_put(bundle_of):
    made, copy = bundle_of("mine", source="/nowhere/mine.py:Mine", origin="file", backend="mine")
    assert made.plug_in is None
    assert "put it, as mine.py, in code/plug" in (copy / "README.md").read_text()
    assert run_script(copy / "reproduce_mine.py").returncode == 125


@pytest.mark.parametrize(
    ("label", "script"),
    [("../../x", "plug-in"), ("numpy", "numpy-plug-in"), (EVIL, "plug-in"), ("-x", "plug-in")],
)
def test_whatever_a_plug_in_is_called_its_script_lies_in_the_bundle(bundle_of, label, script):
    made, _ = bundle_of(label, source="mine:Mine", origin=EVIL, backend=EVIL)
    assert f"reproduce_{script}.py" in made.scripts
    source = (made.folder / f"reproduce_{script}.py").read_text()
    assert source.isascii()
    ast.parse(source)
    assert {path.name for path in made.folder.glob("*.py")} == set(made.scripts)


def test_only_backends_that_have_the_model_get_a_script(bundle_of, stored, tmp_path):
    record, _ = stored
    workload = msgspec.structs.replace(record.plan.workload, model="lenet", name="lenet")
    record.plan = msgspec.structs.replace(record.plan, workload=workload)
    file = tmp_path / "mine.py"
    file.write_text(MINE.replace("FACTOR", "1.001"))
    made, copy = bundle_of("mine", source=f"{file}:Mine", origin="file", backend="mine")
    assert made.scripts == ["reproduce_mine.py"]
    text = (copy / "README.md").read_text()
    assert "reproduce\\_torch" not in text
    assert "install torch" not in text
    assert "The others" not in text


def test_what_no_class_is_is_not_called(bundle_of):
    _, copy = bundle_of("mine", source="os:system", origin="module", backend="mine")
    done = run_script(copy / "reproduce_mine.py")
    assert done.returncode == 125
    assert "system is no class" in done.stderr


def test_the_readme_names_the_interpreter_and_what_was_there(bundle_of):
    made, copy = bundle_of("numpy@old", python="/old/bin/python", backend="numpy")
    assert sorted(made.scripts) == sorted(f"reproduce_{name}.py" for name in BACKENDS)
    (row,) = re.findall(r"^\| interpreter \| (.*) \|$", (copy / "README.md").read_text(), re.M)
    assert row.startswith("/old/bin/python (Python 3.")
    assert f"numpy {np.__version__}" in row


# -- the formulas ----------------------------------------------------------------------------------


def test_a_bundle_carries_the_harnesss_own_formulas(bundle_of):
    _, copy = bundle_of("numpy")
    carried = copy / "code" / "harness" / "measure" / "distance.py"
    assert carried.read_bytes() == Path(distance.__file__).read_bytes()


def test_nothing_computed_is_a_difference():
    missing = distance.compare(None, np.ones(3), "float32")
    assert missing.problem
    assert reproduction.is_over(missing, 1.0)
    assert reproduction.is_over(distance.Difference(distance=float("nan")), 1.0)
    assert not reproduction.is_over(distance.Difference(distance=1.0), 1.0)
