"""Whatever the names in a record are, no file is written outside the folder that was asked for."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness import files
from harness.errors import InputError
from harness.export import tensorboard
from harness.export.shown import Run
from harness.files import write_document
from harness.record import store
from harness.record.facts import machine_key, machine_name
from harness.record.operators import Curve, Operator, Special
from harness.record.schema import Kept, Record, Roof
from harness.report import scale as scale_pages
from harness.results import baseline, kept
from harness.run import keeping
from harness.verdict.verdict import judge
from harness.workers.launch import Worker
from harness.workers.pool import Key
from tests import make, test_scale
from tests.conftest import run_here
from tests.make import make_plan

HOSTILE = {
    "parents": "../../x",
    "more parents": "../../../../../../x",
    "absolute": "/abs",
    "NUL": "a\0b",
    "parent": "..",
    "here": ".",
    "nothing": "",
    "device of Windows": "CON",
    "drive": "C:\\x\\..\\y",
    "long": "x" * 300,
    "long in UTF-8": "\U0001d538" * 100,
    "home": "~/x",
    "an option": "--out=x",
    "lines": "a\nb/../../c",
    "direction": "\u202etxt.exe",
}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with others beside it, which must stay as they are; the inner one is asked for."""
    for beside in ("a", "a/b/x", "a/b/results/runs/other", "x", "abs"):
        (tmp_path / beside).mkdir(parents=True, exist_ok=True)
        (tmp_path / beside / "file").write_text("as it was")
    return tmp_path / "a" / "b" / "results"


def everything(top: Path) -> dict[str, object]:
    """All that lies under a folder: what files hold, and where links lead."""
    found: dict[str, object] = {}
    for path in top.rglob("*"):
        name = path.relative_to(top).as_posix()
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


@pytest.fixture
def nothing_outside(world: Path, tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Checks at the end that all that is new lies under the folders that were named."""
    asked_for: list[str] = []
    before = everything(tmp_path)
    at_root = set(os.listdir("/"))
    yield lambda folder: asked_for.append(folder.relative_to(tmp_path).as_posix())
    assert asked_for

    def outside(found: dict[str, object]) -> dict[str, object]:
        inside = (*asked_for, *(f"{name}/" for name in asked_for))
        return {n: v for n, v in found.items() if n not in asked_for and not n.startswith(inside)}

    assert outside(everything(tmp_path)) == outside(before)
    assert set(os.listdir("/")) - at_root == set()


def hostile(names: tuple[str, ...], text: str) -> Record:
    """A record with such labels, and a text wherever else a name stands."""
    made = make.record(names, machine=dict.fromkeys(("processor", "system", "processors"), text))
    made.run = text
    made.dataset = make.dataset(name=text, source=text)
    made.plan.labels[names[0]] = make.label(text, variant=text, plant=f"{text}.py:{text}")
    special = Special(point=text, value=[0.0], derivative=[1.0])
    curve = Curve(start=-1.0, stop=1.0, value=[0.0, 1.0], derivative=[0.0, 1.0])
    for name in names:
        made.results[name].operators = [
            Operator(name="relu", dtype="float32", specials=[special], curve=curve),
            Operator(name=text, dtype=text, absent=text),
        ]
        made.roofs.append(
            Roof(label=name, dtype="float32", size=8, flop_per_s=1e9, copy_bytes_per_s=1e9)
        )
    off = make.find(made, names[0], "gradients")
    off.distance = 1.0
    made.kept = [Kept(label=names[0], dtype=off.dtype, rung=off.rung, case=off.case, file=text)]
    return made


# -- a stored run ------------------------------------------------------------------------------


@pytest.fixture
def run_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """The exit status of a verb and what it complains of."""

    def run(*words: object) -> tuple[int, str]:
        status, complaint = run_here(monkeypatch, *words), capsys.readouterr().err
        assert "Traceback" not in complaint
        return status, complaint

    return run


def test_verbs_that_read_a_hostile_run_write_into_its_folder_only(
    world: Path, tmp_path: Path, nothing_outside: Any, run_verb: Any
) -> None:
    folder = world / "runs" / "20260101T000000-abcdef"
    folder.mkdir(parents=True)
    nothing_outside(folder)
    chosen = (HOSTILE["parents"], str(tmp_path / "abs" / "y"), HOSTILE["NUL"], "..", "x" * 300)
    store.write(hostile(chosen, "../../x"), folder)
    assert run_verb("check", folder) == (1, "")
    assert sorted(os.listdir(folder)) == ["record.json", "steps.parquet", "verdict.json"]
    assert run_verb("report", folder) == (0, "")
    files = {"record.json", "report.html", "report.md", "card.svg"}
    files |= {"steps.parquet", "verdict.json"}
    assert set(os.listdir(folder)) - files == set()
    assert {"report.html", "report.md"} <= set(os.listdir(folder))
    for verb, complains in (
        ("bundle", "tensors kept of ../../x"),
        ("explain", "tensors '../../x'"),
    ):
        status, complaint = run_verb(verb, folder)
        assert status == 2
        assert complaint.startswith(f"harness: {complains}")
    assert set(os.listdir(folder)) - files == set()
    status, complaint = run_verb("baseline", "save", folder, "--results-dir", world)
    assert status == 1
    assert json.loads((folder / "verdict.json").read_text())["run"] == "../../x"


@pytest.mark.parametrize("verb", ["history", "query", "prune", "diff"])
def test_verbs_over_the_store_write_nothing(
    verb: str, world: Path, nothing_outside: Any, run_verb: Any
) -> None:
    folder = world / "runs" / "20260101T000000-abcdef"
    folder.mkdir(parents=True)
    nothing_outside(folder)
    store.write(hostile(("../../x", "a\0b"), "../../x"), folder)
    run_verb("check", folder)
    before = everything(folder)
    words: dict[str, list[object]] = {
        "history": ["--results-dir", world],
        "query": ["SELECT label FROM labels", "--results-dir", world],
        "prune": ["--keep", "1", "--debris", "--yes", "--results-dir", world],
        "diff": [folder, folder],
    }
    status, _ = run_verb(verb, *words[verb])
    assert status in (0, 1)
    assert everything(folder) == before


def test_what_is_written_takes_the_place_of_a_link_and_is_not_written_through_it(
    world: Path, tmp_path: Path, nothing_outside: Any, run_verb: Any
) -> None:
    folder = world / "runs" / "20260101T000000-abcdef"
    folder.mkdir(parents=True)
    nothing_outside(folder)
    store.write(hostile(("numpy", "torch"), "x"), folder)
    names = ["verdict.json", "report.md", "report.html", "card.svg"]
    for name in names:
        (folder / name).symlink_to(tmp_path / "x" / "file")
    assert run_verb("report", folder) == (0, "")
    written = [name for name in names if not (folder / name).is_symlink()]
    assert len(written) == len(names)


def test_a_device_or_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (pipe, tmp_path / "link", Path("/dev/stdout")):
        before = os.lstat(path)
        with pytest.raises(InputError, match="not a regular file"):
            files.write_atomic(path, b"x")
        assert os.lstat(path).st_ino == before.st_ino
    files.write_atomic(tmp_path / "file", b"x")
    files.write_atomic(tmp_path / "file", b"y")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "link", "pipe"]


def test_a_bundle_is_not_written_through_a_link(
    world: Path, tmp_path: Path, nothing_outside: Any, run_verb: Any
) -> None:
    """A run's folder that came from elsewhere may hold a link where the bundle goes."""
    folder = world / "runs" / "20260101T000000-abcdef"
    folder.mkdir(parents=True)
    nothing_outside(folder)
    made = make.record()
    off = make.find(made, "numpy", "gradients")
    off.distance = 1.0
    file = "tensors/0-0-float32.safetensors"
    made.kept = [Kept(label="numpy", dtype=off.dtype, rung=off.rung, case=off.case, file=file)]
    store.write(made, folder)
    for target in (tmp_path / "not there yet", tmp_path / "empty"):
        (folder / "bundle").unlink(missing_ok=True)
        (folder / "bundle").symlink_to(target)
        status, complaint = run_verb("bundle", folder)
        assert status == 2
        assert "bundle: a symbolic link" in complaint


# -- names that code makes of names ------------------------------------------------------------


@pytest.mark.parametrize("what", HOSTILE)
def test_the_logs_of_a_worker_lie_in_their_folder(
    what: str, world: Path, nothing_outside: Any
) -> None:
    logs = world / "runs" / "20260101T000000-abcdef" / "logs"
    logs.mkdir(parents=True)
    nothing_outside(logs.parent)
    worker = Worker(
        f"{HOSTILE[what]}-float32", "../../x", "/bin/true", dict(os.environ), 1, logs, logs
    )
    worker.end()
    assert sorted(logs.iterdir()) == sorted([worker.stdout, worker.stderr])
    assert worker.stdout.parent == worker.stderr.parent == logs


@pytest.mark.parametrize("what", HOSTILE)
def test_kept_tensors_lie_in_the_runs_folder_whatever_the_label(
    what: str, world: Path, nothing_outside: Any
) -> None:
    name = HOSTILE[what]
    folder = world / "runs" / "20260101T000000-abcdef"
    folder.mkdir(parents=True)
    nothing_outside(folder)
    made = make.record(("numpy", name))
    state: Any = SimpleNamespace(folder=folder, record=made, plan=made.plan, trials=0)
    found = make.find(made, name, "gradients")
    keeping._keep(state, Key(name, "float32"), found, {"x": np.zeros(3)})
    assert made.kept[0].file == "tensors/0-1-float32.safetensors"
    assert os.listdir(folder / "tensors") == ["0-1-float32.safetensors"]


@pytest.mark.parametrize("what", HOSTILE)
def test_a_baseline_is_named_after_its_machine_in_plain_letters(
    what: str, world: Path, nothing_outside: Any
) -> None:
    made = hostile(("numpy",), HOSTILE[what])
    assert re.fullmatch(r"[a-z0-9-]{1,100}", machine_name(machine_key(made)))
    path = baseline.default_path(made, world)
    assert path.parent == world / "baselines"
    nothing_outside(path.parent)
    stored = baseline.Baseline(machine={}, environment={}, run="", started="", labels={})
    write_document(path, stored)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("what", HOSTILE)
def test_event_files_lie_under_the_folder_that_was_named(
    what: str, world: Path, nothing_outside: Any
) -> None:
    pytest.importorskip("tensorboardX")
    out = world / "events"
    nothing_outside(out)
    made = hostile((HOSTILE[what], "numpy"), HOSTILE[what])
    written, _ = tensorboard.write([Run(made, judge(made), world)], out)
    assert len(set(written)) == 2
    for path in written:
        assert Path(os.path.realpath(path)).relative_to(os.path.realpath(out)).parts[2:]
        assert os.path.isfile(path)


def test_the_page_of_a_grid_lies_where_it_was_asked_for(world: Path, nothing_outside: Any) -> None:
    folder = world / "runs" / "20260101T000000-abcdef"
    folder.mkdir(parents=True)
    nothing_outside(folder)
    made = test_scale.size(64, 32, ("numpy",))
    made.run = HOSTILE["parents"]
    scale_pages.write(test_scale.grid([made]), folder, folder / "page.md")
    assert sorted(os.listdir(folder)) == ["page.md", "scale.html", "scale.md"]


@pytest.mark.parametrize("what", HOSTILE)
def test_a_kept_file_with_a_hostile_name_is_not_read(what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        kept._inside(tmp_path, HOSTILE[what])


# -- what a plan allows ------------------------------------------------------------------------


@pytest.mark.parametrize("what", HOSTILE)
def test_a_plan_has_no_such_labels(what: str) -> None:
    with pytest.raises(InputError):
        make_plan(backends=(HOSTILE[what],))
    with pytest.raises(InputError):
        make_plan(variants={"numpy": HOSTILE[what]})


def test_every_label_of_a_plan_is_fit_for_a_file_name() -> None:
    labels = make_plan(all_variants=True).labels
    assert len(labels) >= 4
    assert [label for label in labels if not re.fullmatch(r"[a-z0-9:_.-]{1,60}", label)] == []


def test_a_file_outside_is_noticed(tmp_path: Path) -> None:
    before = everything(tmp_path)
    (tmp_path / "x").write_text("new")
    assert everything(tmp_path) != before
