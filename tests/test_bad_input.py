"""Bad input: one line on stderr, exit 2, nothing on stdout, nothing written."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from harness.record.schema import SCHEMA
from tests.conftest import harness, refused_here, write_gz

IMAGES = "train-images-idx3-ubyte.gz"
LABELS = "train-labels-idx1-ubyte.gz"


def refused(done, *words):
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in lines[0]


COMPARE = ("compare", "--backend", "numpy", "--profile", "smoke")


def compare(*words, cwd: Path, env=None):
    return harness(*COMPARE, *words, cwd=cwd, env=env)


@pytest.fixture
def data(small_data, tmp_path) -> Path:
    """A copy of the small data, to be spoilt."""
    return Path(shutil.copytree(small_data, tmp_path / "data"))


def head(magic: int, *sizes: int) -> bytes:
    return struct.pack(f">{1 + len(sizes)}I", magic, *sizes)


def small_images(folder: Path) -> bytes:
    return gzip.decompress((folder / IMAGES).read_bytes())


SPOILT = {
    "empty file": lambda d: (d / IMAGES).write_bytes(b""),
    "HTML in place of gz": lambda d: (d / IMAGES).write_bytes(b"<html>404</html>"),
    "truncated gz": lambda d: (d / IMAGES).write_bytes((d / IMAGES).read_bytes()[:50_000]),
    "gz bomb": lambda d: write_gz(d / IMAGES, small_images(d) + bytes(200_000_000)),
    "wrong magic": lambda d: write_gz(d / IMAGES, head(0x801, 10) + bytes(10)),
    "2**31 images": lambda d: write_gz(d / IMAGES, head(0x803, 2**31, 28, 28) + bytes(784)),
    "trailing bytes": lambda d: write_gz(d / IMAGES, small_images(d) + b"x"),
    "labels >= 10": lambda d: write_gz(d / LABELS, head(0x801, 6000) + bytes([10]) * 6000),
    "other number": lambda d: write_gz(d / LABELS, head(0x801, 5999) + bytes(5999)),
    "missing file": lambda d: (d / IMAGES).unlink(),
}


@pytest.mark.parametrize("how", SPOILT)
def test_spoilt_data_files_are_refused(data, tmp_path, how):
    SPOILT[how](data)
    done = refused_here(*COMPARE, "--data-dir", str(data), cwd=tmp_path)
    refused(done, str(data))
    assert not (tmp_path / "results").exists()


def test_a_missing_directory_is_refused_also_by_variable(tmp_path):
    refused(compare("--data-dir", "/nowhere/at/all", cwd=tmp_path), "/nowhere/at/all")
    env = {"FASHION_MNIST_DIR": "/nowhere/at/all"}
    refused(compare(cwd=tmp_path, env=env), "/nowhere/at/all")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--backend", "caffe"], "caffe"),
        (["--device", "cuda"], "cuda"),
        (["--profile", "quick"], "quick"),
        (["--workload", "resnet"], "--workload 'resnet'"),
        (["--dataset", "mnist"], "--dataset mnist: the model's data are fashion-mnist"),
        (["--rooms", "/nowhere"], "--rooms /nowhere"),
        (["--seeds=-1"], "-1"),
        (["--threads", "many"], "--threads"),
        (["--variant", "numpy"], "NAME=VALUE"),
        (["--plant", "numpy=nowhere.py:f"], "nowhere.py"),
        (["--plant", "numpy=nowhere"], "FILE:FUNCTION"),
        (["--reference", "numpy"], "--reference"),
        (["--timeout", "0"], "--timeout"),
        (["--timeout", "inf"], "--timeout"),
        (["--data-dir", b"/d\xff".decode("utf-8", "surrogateescape")], "UTF-8"),
        (["--memory-limit", "-1"], "--memory-limit"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
def test_unusable_words_are_refused(tmp_path, words, told):
    refused(refused_here(*COMPARE, *words, cwd=tmp_path), told)
    assert list(tmp_path.iterdir()) == []


def test_a_backend_asked_for_whose_framework_is_broken_is_refused(tmp_path, small_data):
    """The package is found, and raises when it is imported."""
    (tmp_path / "broken" / "torch").mkdir(parents=True)
    (tmp_path / "broken" / "torch" / "__init__.py").write_text("raise ImportError('libfoo.so')")
    root = str(Path(__file__).parent.parent)
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "broken"), root])}
    words = ["compare", "--backend", "torch", "--profile", "smoke", "--data-dir", str(small_data)]
    done = harness(*words, "--results-dir", str(tmp_path / "r"), cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert "libfoo.so" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("harness: --backend torch")
    assert list((tmp_path / "r" / "runs").iterdir()) == []


def test_a_results_directory_on_a_read_only_system_is_refused(tmp_path, small_data):
    done = compare("--data-dir", str(small_data), "--results-dir", "/proc/results", cwd=tmp_path)
    refused(done, "/proc/results")


@pytest.fixture
def full_disk(tmp_path):
    """A file system of its own with 60 MB, most of them taken; needs the right to mount."""
    mount = tmp_path / "disk"
    mount.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(mount)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system here")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_results_disk_is_refused_before_anything_is_measured(
    full_disk, tmp_path, small_data
):
    (full_disk / "filler").write_bytes(bytes(30_000_000))
    words = ["--data-dir", str(small_data), "--results-dir", str(full_disk / "r")]
    refused(compare(*words, cwd=tmp_path), "MB free")
    assert not (full_disk / "r").exists()


def test_a_disk_that_fills_up_during_the_run_ends_in_one_line(full_disk, tmp_path, small_data):
    fault = Path(__file__).parent / "faults" / "process.py"
    env = {"FILL_THIS": str(full_disk / "filler")}
    words = ["--data-dir", str(small_data), "--results-dir", str(full_disk / "r")]
    words += ["--plant", f"numpy={fault}:fills_the_disk"]
    done = compare(*words, cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert done.stdout == ""
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith(f"harness: cannot write {full_disk}")
    assert "No space left" in last
    assert not list(full_disk.glob("r/runs/*/record.json"))


def test_a_full_temporary_disk_is_refused(full_disk, tmp_path, small_data):
    done = compare("--data-dir", str(small_data), cwd=tmp_path, env={"TMPDIR": str(full_disk)})
    refused(done, str(full_disk), "MB free")
    assert not (tmp_path / "results").exists()


@pytest.fixture(scope="module")
def stored(small_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    done = compare("--data-dir", str(small_data), "--json", cwd=folder)
    return folder / json.loads(done.stdout)["record"]


@pytest.mark.parametrize("verb", ["check", "report"])
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: text[: len(text) // 2], "whole"),
        (lambda text: "", "whole"),
        (lambda text: text.replace(f'"schema":{SCHEMA}', '"schema":99', 1), "newer"),
        (
            lambda text: text.replace(f'"schema":{SCHEMA}', '"schema":1', 1),
            "schema 1 was written by an older harness, and this one reads 2: measure again",
        ),
        (lambda text: text.replace('"run":', '"colour":"red","run":', 1), "colour"),
        (lambda text: "[]", "record"),
    ],
    ids=["truncated", "empty", "newer schema", "older schema", "unknown field", "not a record"],
)
def test_spoilt_records_are_refused(stored, tmp_path, verb, spoil, told):
    text = (stored / "record.json").read_text()
    (tmp_path / "record.json").write_text(spoil(text))
    refused(refused_here(verb, str(tmp_path), cwd=tmp_path), told)
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]
