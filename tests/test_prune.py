"""What may go is what was asked for and nothing else; nothing goes unless it is said twice."""

from __future__ import annotations

import copy
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import files
from harness.errors import InputError
from harness.files import write_document
from harness.record import store
from harness.results import baseline, prune
from harness.results import store as runs
from harness.verdict import verdict
from tests import make
from tests.conftest import run_here
from tests.test_store import put, told, tree

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def document():
    """verdict.json of a clean run."""
    return told(make.timed())


def age(folder: Path, old: timedelta = timedelta(days=3), now: datetime = NOW) -> Path:
    """Nothing in a folder was written for so long."""
    at = (now - old).timestamp()
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (at, at), follow_symlinks=False)
    return folder


def stored(results: Path, document: dict, days: int, number: int = 0, **fields: Any) -> Path:
    """A run that started so many days ago, and was not touched since yesterday."""
    at = NOW - timedelta(days=days)
    folder = put(results, document, name=f"{at:%Y%m%dT%H%M%S}-{number:06x}")
    held = json.loads((folder / "verdict.json").read_text())
    held |= {"started": f"{at:%Y-%m-%dT%H:%M:%SZ}"} | fields
    (folder / "verdict.json").write_text(json.dumps(held))
    return age(folder)


def chosen(results: Path, **words: Any) -> set[str]:
    return {r.path for r in prune.choose(results, now=NOW, **words).removals}


def names(*folders: Path) -> set[str]:
    return {folder.name for folder in folders}


# ---- which runs


def test_the_newest_of_each_machine_and_profile_are_kept(tmp_path, document):
    here = [stored(tmp_path, document, days) for days in (1, 2, 3, 4)]
    smoke = [stored(tmp_path, document, days, 1, profile="smoke") for days in (5, 6)]
    there = [stored(tmp_path, document, days, 2, machine="other") for days in (7, 8, 9)]
    assert chosen(tmp_path, keep=2) == names(*here[2:], there[2])
    assert chosen(tmp_path, keep=1) == names(*here[1:], smoke[1], *there[1:])
    assert chosen(tmp_path, keep=9) == set()


def test_old_runs_go_and_with_keep_only_those_beyond_it(tmp_path, document):
    folders = [stored(tmp_path, document, days) for days in (1, 10, 20, 30)]
    assert chosen(tmp_path, older_than=timedelta(days=15)) == names(*folders[2:])
    assert chosen(tmp_path, older_than=timedelta(days=15), keep=3) == names(folders[3])
    assert chosen(tmp_path, older_than=timedelta(days=15), keep=1) == names(*folders[2:])
    assert chosen(tmp_path, older_than=timedelta(days=99), keep=1) == set()


def test_a_run_that_is_not_judged_goes_by_age_alone(tmp_path, document):
    stored(tmp_path, document, 1)
    folder = stored(tmp_path, document, 20)
    (folder / "verdict.json").unlink()
    age(folder)
    assert chosen(tmp_path, keep=1) == set()
    assert chosen(tmp_path, older_than=timedelta(days=15)) == names(folder)


def test_the_newest_run_is_never_removed(tmp_path, document):
    stored(tmp_path, document, 400, 1)
    newest = stored(tmp_path, document, 300)
    for force in (False, True):
        plan = prune.choose(tmp_path, older_than=timedelta(days=1), force=force, now=NOW)
        assert newest.name not in {r.path for r in plan.removals}
        assert plan.kept == [f"{newest.name}: the newest run"]


@pytest.mark.parametrize("by", ["folder", "run"])
def test_what_a_baseline_rests_on_stays_unless_forced(tmp_path, document, by):
    stored(tmp_path, document, 1)
    old = stored(tmp_path, document, 30, 1)
    other = stored(tmp_path, document, 40, 2)
    held = json.loads((old / "verdict.json").read_text())
    if by == "run":  # the folder was renamed since
        old = old.rename(old.with_name("20260101T000000-abcdef"))
    made = make.timed()
    rests_on = baseline.make(made, verdict.judge(made))
    rests_on.run = held["run"]
    write_document(tmp_path / "baselines" / "here.json", rests_on)
    assert chosen(tmp_path, keep=1) == names(other)
    assert chosen(tmp_path, keep=1, force=True) == names(old, other)


def test_a_baseline_that_cannot_be_read_stops_it(tmp_path, document):
    stored(tmp_path, document, 1)
    old = stored(tmp_path, document, 30)
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "here.json").write_text('{"run": ')
    with pytest.raises(InputError, match=r"baseline .*here\.json: not a whole baseline"):
        prune.choose(tmp_path, keep=1, now=NOW)
    assert chosen(tmp_path, keep=1, force=True) == names(old)


def test_a_run_that_is_being_written_stays(tmp_path, document):
    stored(tmp_path, document, 1)
    old = stored(tmp_path, document, 30)
    (old / "logs").mkdir()
    (old / "logs" / "log").write_text("")
    age(old)
    at = (NOW - timedelta(minutes=2)).timestamp()
    os.utime(old / "logs" / "log", (at, at))
    plan = prune.choose(tmp_path, keep=1, now=NOW)
    assert plan.removals == []
    assert "written to within the last minutes" in plan.kept[0]


def test_copies_links_and_foreign_folders_stay(tmp_path, document):
    runs = tmp_path / "runs"
    newest = stored(tmp_path, document, 1)
    old = stored(tmp_path, document, 30)
    shutil.copytree(old, runs / "a copy")
    age(runs / "a copy")
    (runs / "notes").mkdir()
    (runs / "notes" / "mine.txt").write_text("kept")
    age(runs / "notes")
    (tmp_path / "outside").mkdir()
    (runs / "20250101T000000-abcdef").symlink_to(tmp_path / "outside")
    assert chosen(tmp_path, keep=1, older_than=timedelta(1), debris=True, force=True) == names(old)
    assert newest.is_dir()


def test_a_run_that_was_renamed_stays_and_no_name_steers_the_terminal(tmp_path, document):
    stored(tmp_path, document, 1)
    old = stored(tmp_path, document, 30)
    assert chosen(tmp_path, older_than=timedelta(1)) == names(old)
    old.rename(old.with_name("the\n\x1b[31mgood one"))
    plan = prune.choose(tmp_path, older_than=timedelta(1), force=True, now=NOW)
    assert plan.removals == []
    text = prune.as_text(plan, removed=False)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2
    assert "renamed" in text


# ---- what killed runs left


@pytest.mark.parametrize("dot", ["", "."])
@pytest.mark.parametrize(("hours", "gone"), [(0, False), (23, False), (25, True)])
def test_a_folder_without_a_record_is_debris_after_a_day(tmp_path, document, hours, gone, dot):
    """A run in progress has no record either: only its newest file says how long ago it lived."""
    stored(tmp_path, document, 1)
    folder = tmp_path / "runs" / f"{dot}20260101T000000-abcdef"
    (folder / "logs").mkdir(parents=True)
    for name in ("numpy.stderr.txt", "torch.stderr.txt"):
        (folder / "logs" / name).write_text("x" * 1000)
    age(folder, timedelta(days=9))
    at = (NOW - timedelta(hours=hours)).timestamp()
    os.utime(folder / "logs" / "torch.stderr.txt", (at, at))
    assert chosen(tmp_path, debris=True) == (names(folder) if gone else set())
    assert chosen(tmp_path, keep=1) == set()


def test_a_live_run_is_never_debris(tmp_path):
    """As the session makes it: a folder, then logs, then the record."""
    folder = store.new_run_folder(tmp_path)
    assert prune.choose(tmp_path, debris=True).removals == []
    (folder / "logs").mkdir()
    (folder / "logs" / "torch-float32.stderr.txt").touch()
    assert prune.choose(tmp_path, debris=True).removals == []


def test_files_that_were_never_whole_go_after_a_day(tmp_path, document, monkeypatch):
    folder = stored(tmp_path, document, 1)
    left = []
    real = os.replace

    def killed(source: str, target: Path) -> None:
        left.append(Path(source))
        raise KeyboardInterrupt

    # What a kill leaves: the temporary file of `write_atomic`, whatever it is called today.
    monkeypatch.setattr(os, "replace", killed)
    monkeypatch.setattr(os, "unlink", lambda *_, **__: None)
    for name in ("record.json", "verdict.json", "steps.parquet"):
        with pytest.raises(KeyboardInterrupt):
            files.write_atomic(folder / name, b"half")
    monkeypatch.undo()
    assert os.replace is real
    assert [path.parent for path in left] == [folder] * 3
    (folder / ".hidden").write_text("mine")
    assert chosen(tmp_path, debris=True) == set()  # they may be whole in a moment
    age(folder)
    plan = prune.choose(tmp_path, debris=True, now=NOW)
    assert {r.path for r in plan.removals} == {f"{folder.name}/{path.name}" for path in left}
    assert prune.carry_out(plan) == []
    assert {p.name for p in folder.iterdir()} == {"record.json", "verdict.json", ".hidden"}


def test_what_a_killed_prune_left_is_no_run_and_is_debris(tmp_path, document, monkeypatch):
    stored(tmp_path, document, 1)
    old = stored(tmp_path, document, 30)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        prune.carry_out(prune.choose(tmp_path, keep=1, now=NOW))
    monkeypatch.undo()
    assert not old.exists()
    found = runs.find(tmp_path)
    assert (len(found.runs), found.rest, found.copies) == (1, [], [])
    (aside,) = [p for p in (tmp_path / "runs").iterdir() if p.name.startswith(".")]
    age(aside)
    assert chosen(tmp_path, debris=True) == {aside.name}
    assert prune.carry_out(prune.choose(tmp_path, debris=True, now=NOW)) == []
    assert not aside.exists()


# ---- removing


def test_only_what_was_chosen_is_removed_and_no_link_is_followed(tmp_path, document):
    results = tmp_path / "results"
    newest = stored(results, document, 1)
    old = stored(results, document, 30)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    (old / "link").symlink_to(outside)
    (old / "tensors").mkdir()
    (old / "tensors" / "link").symlink_to(outside / "precious")
    age(old)
    (results / "reports").mkdir()
    (results / "reports" / "faults.md").write_text("committed")
    plan = prune.choose(results, keep=1, now=NOW)
    sizes = [path.lstat().st_size for path in old.rglob("*") if not path.is_dir()]
    assert plan.removals[0].bytes == sum(sizes)
    before = tree(tmp_path)
    assert prune.carry_out(plan) == []
    after = tree(tmp_path)
    inside = f"results/runs/{old.name}/"
    assert after == {p: data for p, data in before.items() if not p.startswith(inside)}
    assert (outside / "precious").read_text() == "kept"
    assert [p.name for p in (results / "runs").iterdir()] == [newest.name]


def test_a_folder_that_became_a_link_meanwhile_is_left(tmp_path, document):
    results = tmp_path / "results"
    stored(results, document, 1)
    old = stored(results, document, 30)
    plan = prune.choose(results, keep=1, now=NOW)
    moved = old.rename(tmp_path / "moved")
    old.symlink_to(moved)
    prune.carry_out(plan)
    assert (moved / "record.json").is_file()
    assert old.is_symlink()


@settings(max_examples=30, deadline=None)
@given(
    held=st.lists(
        st.tuples(st.integers(1, 60), st.sampled_from(["smoke", "default"]), st.booleans()),
        min_size=1,
        max_size=9,
        unique_by=lambda run: run[0],
    ),
    keep=st.none() | st.integers(1, 4),
    days=st.none() | st.integers(0, 60),
)
def test_what_goes_is_what_the_words_say(document, held, keep, days, tmp_path_factory):
    """Against a plain count: of each group sorted by age, what is beyond `keep` and older."""
    if keep is None and days is None:
        return
    results = tmp_path_factory.mktemp("prune")
    folders = {}
    for old, profile, judged in held:
        folders[old] = stored(results, document, old, old, profile=profile)
        if not judged:
            (folders[old] / "verdict.json").unlink()
            age(folders[old])
    expected = set()
    for old, profile, judged in held:
        newer = sum(o < old and p == profile and j for o, p, j in held)
        beyond = keep is None or newer >= keep if judged else days is not None
        if beyond and (days is None or old > days) and old != min(folders):
            expected.add(folders[old].name)
    older = timedelta(days=days) if days is not None else None
    assert chosen(results, keep=keep, older_than=older) == expected


# ---- the verb


def test_without_yes_nothing_is_removed(tmp_path, document, command):
    for days in (1, 30):
        stored(tmp_path, document, days)
    for folder in (tmp_path / "runs").iterdir():  # the verb asks the clock
        age(folder, now=datetime.now(UTC))
    before = tree(tmp_path)
    where = ("--keep", "1", "--results-dir", str(tmp_path))
    assert "nothing was removed" in command("prune", *where).out
    found = json.loads(command("prune", *where, "--json").out)
    assert (found["removed"], len(found["removals"])) == (False, 1)
    assert tree(tmp_path) == before
    told_ = json.loads(command("prune", *where, "--yes", "--json").out)
    assert (told_["removed"], told_["removals"]) == (True, found["removals"])
    assert len([*(tmp_path / "runs").iterdir()]) == 1
    assert command("prune", *where, "--yes").out == "nothing may go\n"


@pytest.mark.parametrize("words", [[], ["--keep", "0"], ["--older-than", "soon"], ["--yes"]])
def test_what_cannot_be_meant_is_refused_in_one_line(tmp_path, document, words, command):
    stored(tmp_path, document, 1)
    command("prune", *words, "--results-dir", tmp_path, ends=2)


def test_what_cannot_be_removed_is_named_and_the_rest_goes(tmp_path, document, monkeypatch, capsys):
    for days in (1, 20, 30):
        stored(tmp_path, document, days)
    for folder in (tmp_path / "runs").iterdir():
        age(folder, now=datetime.now(UTC))
    stuck, real = sorted(p.name for p in (tmp_path / "runs").iterdir())[0], os.rename

    def rename(source: Path, target: Path) -> None:
        if source.name == stuck:
            raise PermissionError(13, "Permission denied")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    words = ("prune", "--keep", "1", "--yes", "--results-dir", tmp_path)
    assert run_here(monkeypatch, *words) == 2
    assert f"not removed: {stuck}: Permission denied" in capsys.readouterr().err
    left = sorted(p.name for p in (tmp_path / "runs").iterdir())
    assert (len(left), left[0]) == (2, stuck)


# Seconds: the far future, beyond and before any calendar, as far as a file system may keep them.
TIMES = (4e9, 4e11, 2**62, -7e10, -(2**62))


@pytest.mark.parametrize("seconds", TIMES)
@pytest.mark.parametrize("judged", [True, False])
def test_whatever_the_time_of_a_file_the_others_may_go(
    tmp_path, document, seconds, judged, monkeypatch, command
):
    stored(tmp_path, document, 1)
    old = stored(tmp_path, document, 30)
    odd = stored(tmp_path, document, 20)
    killed = tmp_path / "runs" / "20260101T000000-abcdef"
    killed.mkdir()
    if not judged:
        (odd / "verdict.json").unlink()
    lstat = os.lstat

    def told_otherwise(path: Any) -> os.stat_result:
        # The file system of a test may have no such times.
        status = lstat(path)
        of_odd = os.fspath(path) in map(str, (odd / "record.json", odd, killed))
        return os.stat_result([*status[:8], seconds, *status[9:10]]) if of_odd else status

    monkeypatch.setattr(os, "lstat", told_otherwise)
    # What was written to in the future is left; what was so before any calendar is old.
    going = names(old) if seconds > 0 else names(old, odd, killed)
    assert chosen(tmp_path, older_than=timedelta(days=15), debris=True) == going
    command("prune", "--older-than", "15d", "--debris", "--results-dir", tmp_path)


def test_a_run_of_another_run_folder_is_never_chosen_by_its_verdict(tmp_path, document):
    """A verdict.json that claims to be another run, or names a path, moves nothing elsewhere."""
    stored(tmp_path, document, 1)
    old = stored(tmp_path, document, 30)
    held = copy.deepcopy(document) | {"run": "../../outside", "record": "/", "started": ""}
    (old / "verdict.json").write_text(json.dumps(held))
    age(old)
    assert chosen(tmp_path, keep=1) == names(old)
