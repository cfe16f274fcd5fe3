"""MNIST, CIFAR-10 and diabetes: what the files say, to the bit, and one line for damaged ones.

The oracle has gzip, struct and hashlib, and no line of the code under test. Tests of the real files
run where HARNESS_DATA_DIR names them.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import data
from harness.data import cifar_10, idx
from harness.data.finding import cache_dir
from harness.data.packed import MAX_EXPANSION
from harness.errors import InputError
from harness.workloads import WORKLOADS
from tests.make import idx_bytes

REAL_DIR = os.environ.get("HARNESS_DATA_DIR")
needs_real = pytest.mark.skipif(not REAL_DIR, reason="HARNESS_DATA_DIR names no real files")

MUTATIONS = 100
RECORD = 3073
SLACK_BYTES = 4 << 20  # buffers of the standard library


@pytest.fixture(autouse=True)
def nothing_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache home"))
    for variable in ("FASHION_MNIST_DIR", "HARNESS_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)


def refused(call: Callable[[], object], path: Path) -> str:
    """The one line, which names the path, that a call is refused with."""
    with pytest.raises(InputError) as caught:
        call()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- the oracle: bytes to float32, by struct


def rounded(value: float) -> float:
    """To the nearest float32."""
    nearest: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return nearest


def table(normalise: tuple[float, float] | None) -> list[bytes]:
    """For each byte p: p / 255, less m, over s, each rounded once.

    A difference of two float32 is exact in float64, and a quotient of two rounds alike over it.
    """
    found = []
    for p in range(256):
        value = rounded(p / 255)
        if normalise is not None:
            m, s = map(rounded, normalise)
            value = rounded(rounded(value - m) / s)
        found.append(struct.pack("<f", value))
    return found


def digest_of(pixels: bytes, normalise: tuple[float, float] | None) -> str:
    numbers, digest = table(normalise), hashlib.sha256()
    for start in range(0, len(pixels), 1 << 16):
        digest.update(b"".join(map(numbers.__getitem__, pixels[start : start + (1 << 16)])))
    return digest.hexdigest()


def identity(*parts: tuple[tuple[int, ...], bytes]) -> str:
    digest = hashlib.sha256()
    for shape, content in parts:
        digest.update(("x".join(map(str, shape)) + "\n").encode() + content)
    return digest.hexdigest()


def interleaved(record: bytes) -> bytes:
    """The pixels of a record of CIFAR-10, red, green, blue, red, …"""
    pixels = bytearray(3072)
    for plane in range(3):
        pixels[plane::3] = record[1 + 1024 * plane : 1 + 1024 * (plane + 1)]
    return bytes(pixels)


# ---- the real files


def answers(name: str, shape: tuple[int, ...], normalise: tuple[float, float] | None) -> list:
    assert REAL_DIR is not None
    dataset = data.load(name, name, Path(REAL_DIR), shape=shape, warn=pytest.fail)
    made = (data.prepared(x, shape, normalise) for x in (dataset.train_x, dataset.test_x))
    found = data.answers(dataset, normalise, *made)
    assert len(found) == 2
    return [dataset.sha256, *(got for _, want, got in found if got == want)]


@needs_real
def test_the_real_mnist_is_what_struct_reads() -> None:
    assert REAL_DIR is not None
    parts = []
    for name in idx.NAMES:
        content = gzip.decompress((Path(REAL_DIR) / "mnist" / f"{name}.gz").read_bytes())
        dimensions = content[3]
        shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
        parts.append((shape, content[4 + 4 * dimensions :]))
    normalise = (0.1307, 0.3081)
    wanted = [identity(*parts), *(digest_of(parts[i][1], normalise) for i in (0, 2))]
    assert answers("mnist", (784,), normalise) == wanted


def moved(image: bytes) -> list[bytes]:
    """A 28 x 28 image down, up, right and left by a pixel, blank where nothing moves in."""
    rows = [image[at : at + 28] for at in range(0, 784, 28)]
    return [
        bytes(28) + image[:-28],
        image[28:] + bytes(28),
        b"".join(bytes(1) + row[:-1] for row in rows),
        b"".join(row[1:] + bytes(1) for row in rows),
    ]


def grown(pixels: bytes, labels: bytes) -> list[tuple[tuple[int, ...], bytes]]:
    """Images that train and their moved ones, move by move; the last 10 000 as they are."""
    many = len(labels) - 10_000
    images = [pixels[at : at + 784] for at in range(0, many * 784, 784)]
    by_move = zip(*map(moved, images), strict=True)
    x = b"".join([*images, *(b"".join(of) for of in by_move), pixels[many * 784 :]])
    n = 5 * many + 10_000
    return [((n, 28, 28), x), ((n,), labels[:many] * 5 + labels[many:])]


def save(folder: Path, part: str, pixels: bytes, labels: bytes) -> None:
    """Images and labels as idx files, part of a set."""
    for name, shape, content in (
        ("images-idx3", (len(labels), 28, 28), pixels),
        ("labels-idx1", (len(labels),), labels),
    ):
        array = np.frombuffer(content, np.uint8).reshape(shape)
        (folder / f"{part}-{name}-ubyte").write_bytes(idx_bytes(array))


@needs_real
def test_the_real_mnist_grown_by_shifts_is_what_bytes_give() -> None:
    assert REAL_DIR is not None
    parts = []
    for name in idx.NAMES:
        content = gzip.decompress((Path(REAL_DIR) / "mnist" / f"{name}.gz").read_bytes())
        dimensions = content[3]
        shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
        parts.append((shape, content[4 + 4 * dimensions :]))
    wanted = identity(*grown(parts[0][1], parts[1][1]), *parts[2:])
    ((pinned, _),) = data.SOURCES["mnist-shifted"].pinned
    assert pinned == wanted
    assert data.load("mnist-shifted", "auto", Path(REAL_DIR), warn=pytest.fail).sha256 == wanted


def test_images_that_train_are_grown_by_shifts_and_those_that_validate_are_not(
    tmp_path: Path,
) -> None:
    rng, many = random.Random(0), 10_003
    sets = {}
    for part, items in (("train", many), ("t10k", 5)):
        pixels, labels = rng.randbytes(items * 784), bytes(rng.randrange(10) for _ in range(items))
        save(tmp_path, part, pixels, labels)
        sets[part] = pixels, labels
    pixels, labels = sets["t10k"]
    parts = [*grown(*sets["train"]), ((5, 28, 28), pixels), ((5,), labels)]
    found = data.load("mnist-shifted", "auto", tmp_path, warn=pytest.fail)
    assert found.sha256 == identity(*parts)
    # With none that train there is nothing to grow: the workload says that too few are there.
    (tmp_path / "few").mkdir()
    for part in sets:
        save(tmp_path / "few", part, bytes(9 * 784), bytes(9))
    few = data.load("mnist-shifted", "auto", tmp_path / "few", warn=pytest.fail)
    assert few.train_x.shape == (9, 28, 28)
    with pytest.raises(InputError, match="9 training samples, and 10000 are held out"):
        data.of_workload(WORKLOADS["nielsen-conv-4"], "auto", tmp_path / "few", warn=pytest.fail)


@needs_real
def test_the_real_subset_of_cifar_10_is_what_struct_reads() -> None:
    assert REAL_DIR is not None
    parts, digests = [], []
    for name in ("train", "test"):
        path = Path(REAL_DIR) / "cifar-10-subset" / f"{name}.bin.gz"
        if not path.exists():
            pytest.skip("HARNESS_DATA_DIR has another CIFAR-10 than the subset")
        content = gzip.decompress(path.read_bytes())
        records = [content[i : i + RECORD] for i in range(0, len(content), RECORD)]
        pixels = b"".join(map(interleaved, records))
        labels = bytes(record[0] for record in records)
        parts += [((len(records), 32, 32, 3), pixels), ((len(records),), labels)]
        digests.append(digest_of(pixels, (0.5, 0.5)))
    assert answers("cifar-10", (32, 32, 3), (0.5, 0.5)) == [identity(*parts), *digests]


@needs_real
def test_the_real_diabetes_data_are_what_struct_reads() -> None:
    assert REAL_DIR is not None
    path = Path(REAL_DIR) / "diabetes" / "diabetes.csv.gz"
    rows = [line.split(",") for line in gzip.decompress(path.read_bytes()).decode().split()]
    x = b"".join(struct.pack("<f", float(cell)) for row in rows for cell in row[:8])
    y = b"".join(struct.pack("<f", float(row[8])) for row in rows)
    parts = [((759, 8), x), ((759, 1), y)]
    digest = hashlib.sha256(x).hexdigest()
    assert answers("diabetes", (8,), None) == [identity(*parts, *parts), digest, digest]


@needs_real
def test_files_of_another_source_are_not_taken_for_this_one() -> None:
    assert REAL_DIR is not None
    folder = Path(REAL_DIR) / "mnist"
    with pytest.raises(InputError, match="the files are those of MNIST, not Fashion-MNIST"):
        data.load("fashion-mnist", "auto", folder, warn=pytest.fail)


def test_a_wrong_number_is_seen_by_the_known_answers() -> None:
    x = np.zeros((1, 784), np.float32)
    one = np.zeros((1, 28, 28), np.uint8)
    source = data.SOURCES["mnist"]
    (sha256, normalise), *_ = source.pinned
    known = data.Dataset("mnist", False, sha256, "", one, one[:, 0, 0], one, one[:, 0, 0], ())
    found = data.answers(known, normalise, x, x)
    assert [name for name, want, got in found if want != got] == ["pixels, train", "pixels, test"]
    assert data.answers(known, (0.0, 1.0), x, x) == []


# ---- CIFAR-10


def records(items: int, first: int = 0) -> bytes:
    """Records whose three planes and labels all differ."""
    return b"".join(
        bytes([(first + i) % 10]) + bytes((7 * j + 13 * i + first) % 256 for j in range(3072))
        for i in range(items)
    )


def cifar(folder: Path, *, packed: bool, full: bool) -> Path:
    folder.mkdir(exist_ok=True)
    names = [f"data_batch_{n}" for n in range(1, 6)] if full else ["train"]
    for number, name in enumerate([*names, "test_batch" if full else "test"]):
        content = records(2 + number, number)
        (folder / f"{name}.bin{'.gz' * packed}").write_bytes(
            gzip.compress(content, mtime=0) if packed else content
        )
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_planes_become_pixels_and_batches_follow_one_another(tmp_path: Path, packed: bool) -> None:
    folder = cifar(tmp_path / "cifar-10", packed=packed, full=True)
    found = data.load("cifar-10", "auto", tmp_path, warn=pytest.fail)
    content = b"".join(records(2 + n, n) for n in range(5))
    each = [content[i : i + RECORD] for i in range(0, len(content), RECORD)]
    assert found.train_x.shape == (20, 32, 32, 3)
    assert found.train_x.tobytes() == b"".join(map(interleaved, each))
    assert found.train_y.tolist() == [record[0] for record in each]
    assert found.test_y.tolist() == [(5 + i) % 10 for i in range(7)]
    assert found.source == f"--data-dir {folder}"
    assert found.images
    assert found.class_names[3] == "cat"


def test_the_full_set_goes_before_a_subset(tmp_path: Path) -> None:
    cifar(tmp_path / "cifar-10-subset", packed=True, full=False)
    assert len(data.load("cifar-10", "auto", tmp_path, warn=pytest.fail).train_x) == 2
    cifar(tmp_path / "cifar-10-batches-bin", packed=False, full=True)
    assert len(data.load("cifar-10", "auto", tmp_path, warn=pytest.fail).train_x) == 20


BAD_RECORDS = {
    "empty": (b"", "0 bytes, expected a multiple of 3073"),
    "cut": (records(2)[:-1], "6145 bytes, expected a multiple"),
    "cut, packed": (gzip.compress(records(2)[:-1], mtime=0), "6145 bytes, expected a multiple"),
    "label": (records(1) + bytes([10]) + bytes(3072), "label 10 in record 1, expected 0 to 9"),
    "cut gzip": (gzip.compress(records(2), mtime=0)[:-9], "cut short"),
    "bad CRC": (gzip.compress(records(1), mtime=0)[:-8] + bytes(8), "damaged"),
}


@pytest.mark.parametrize(("content", "reason"), BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_bad_records_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    cifar(tmp_path, packed=False, full=False)
    (tmp_path / "train.bin").write_bytes(content)
    read = lambda: data.load("cifar-10", "auto", tmp_path, warn=pytest.fail)  # noqa: E731
    assert reason in refused(read, tmp_path / "train.bin")


def test_a_bomb_of_records_is_refused_at_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar_10, "MAX_RECORDS", 1000)
    cifar(tmp_path, packed=False, full=False)
    bomb = gzip.compress(bytes(RECORD * 20_000), 9, mtime=0)
    assert len(bomb) * MAX_EXPANSION > RECORD * 20_000
    (tmp_path / "train.bin").write_bytes(bomb)
    tracemalloc.start()
    try:
        read = lambda: data.load("cifar-10", "auto", tmp_path, warn=pytest.fail)  # noqa: E731
        assert "more than 1000 records" in refused(read, tmp_path / "train.bin")
        assert tracemalloc.get_traced_memory()[1] < 2 * RECORD * 2000 + SLACK_BYTES
    finally:
        tracemalloc.stop()


# ---- diabetes

ROW = "-.5,0.25,1,-1,+1e-1,0,.125,0,1\n"


def test_there_is_no_other_test_set_than_the_training_rows(tmp_path: Path) -> None:
    (tmp_path / "diabetes.csv").write_text(ROW + ROW[:-2] + "0\n")
    found = data.load("diabetes", "auto", tmp_path, shape=(8,), warn=pytest.fail)
    assert found.train_x.tolist()[0] == [-0.5, 0.25, 1, -1, rounded(0.1), 0, 0.125, 0]
    assert found.train_y.tolist() == [[1], [0]]
    assert np.array_equal(found.test_x, found.train_x)
    assert found.train_x.dtype == found.train_y.dtype == np.float32
    assert not found.images


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ROW[4:], "8 columns, expected 9"),
        (ROW[:-2] + "2\n", "2.0 in the last column of row 0, expected 0 or 1"),
        (ROW + "1,2\n", "line 2 has 2 values, those before 9"),
        (ROW + ROW.replace("0.25", "nan"), "line 2, column 2: 'nan' is no number"),
        ("", "0 numbers in 0 columns"),
    ],
)
def test_other_tables_are_no_diabetes_data(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "diabetes.csv"
    path.write_text(content)
    read = lambda: data.load("diabetes", "auto", tmp_path, warn=pytest.fail)  # noqa: E731
    assert reason in refused(read, path)


# ---- every format: damage, and what is no file


def mnist(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name in idx.NAMES:
        array = np.arange(3 * 784) % 256 if "images" in name else np.arange(3)
        shape = (3, 28, 28) if "images" in name else (3,)
        content = idx_bytes(array.astype(np.uint8).reshape(shape))
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    return folder / f"{idx.NAMES[0]}.gz"


def spoilt_cifar(folder: Path) -> Path:
    return cifar(folder, packed=True, full=False) / "train.bin.gz"


def spoilt_diabetes(folder: Path) -> Path:
    path = folder / "diabetes.csv"
    path.write_text(ROW * 5)
    return path


FORMATS = {"mnist": mnist, "cifar-10": spoilt_cifar, "diabetes": spoilt_diabetes}


@pytest.mark.parametrize("source", FORMATS)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path, source: str) -> None:
    path = FORMATS[source](tmp_path)
    whole = path.read_bytes()
    outcomes = set()
    for seed in range(MUTATIONS):
        chance = random.Random(seed)
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(content))
            how = chance.choice(("flip", "cut", "gap", "twice"))
            if how == "flip":
                content[at] ^= chance.randint(1, 255)
            elif how == "cut":
                del content[at + 1 :]
            elif how == "gap":
                del content[at : at + chance.randint(1, 20)]
            else:
                content[at:at] = content[at : at + 50]
            content = content or bytearray(b"x")
        path.write_bytes(content)
        try:
            data.load(source, "auto", tmp_path, warn=pytest.fail)
            outcomes.add("read")
        except InputError:
            outcomes.add("refused")
    assert "refused" in outcomes


@pytest.mark.parametrize("source", FORMATS)
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, source: str) -> None:
    path = FORMATS[source](tmp_path)
    read = lambda: data.load(source, "auto", tmp_path, warn=pytest.fail)  # noqa: E731
    path.unlink()
    os.mkfifo(path)
    assert "not a file" in refused(read, path)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "not a file" in refused(read, path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert "more than 1000 MB" in refused(read, path)


# ---- what a model is given


@settings(max_examples=50, deadline=None)
@given(st.floats(-1, 1, width=32), st.floats(0.0625, 4, width=32))
def test_pixels_are_normalised_in_float32(m: float, s: float) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    got = data.prepared(every, (256,), (m, s))
    assert got.shape == (1, 256)
    assert got.dtype == np.float32
    want = np.frombuffer(b"".join(table((m, s))), "<f4")
    assert np.array_equal(got[0], want)


def test_numbers_pass_unchanged_unless_they_are_normalised() -> None:
    x = np.array([[1.5, -2.0]], np.float32)
    assert data.prepared(x, (2,), None).tolist() == [[1.5, -2.0]]
    assert data.prepared(x, (2,), (0.5, 2.0)).tolist() == [[0.5, -1.25]]


def test_a_mapped_file_is_written_without_a_second_copy(tmp_path: Path) -> None:
    x = np.ones((4000, 28, 28), np.uint8)
    out = np.lib.format.open_memmap(
        tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(4000, 28, 28, 1)
    )
    tracemalloc.start()
    try:
        assert data.prepared(x, (28, 28, 1), (0.5, 0.5), out) is out
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert np.all(out == (np.float32(1) / np.float32(255) - np.float32(0.5)) / np.float32(0.5))


def test_targets_are_classes_or_numbers() -> None:
    labels = np.array([3, 0], np.uint8)
    assert data.targets(labels, "class").dtype == np.int64
    assert data.targets(labels, "number").tolist() == [[3.0], [0.0]]
    floats = np.array([[1.0], [2.0]], np.float32)
    assert data.targets(floats, "class").tolist() == [1, 2]
    assert data.targets(floats, "number").dtype == np.float32
    for wrong in ([[0.5]], [[-1.0]], [[1.0, 2.0]]):
        with pytest.raises(InputError, match="not one class"):
            data.targets(np.array(wrong, np.float32), "class")


def test_data_of_another_shape_or_with_more_classes_are_refused(tmp_path: Path) -> None:
    cifar(tmp_path, packed=False, full=False)
    load = lambda **words: data.load("cifar-10", "auto", tmp_path, warn=pytest.fail, **words)  # noqa: E731
    for shape in ((32, 32, 3), (3072,)):
        assert load(shape=shape, classes=10).train_x.shape == (2, 32, 32, 3)
    # As many numbers, and yet channels would become rows.
    for shape in ((784,), (3, 32, 32)):
        with pytest.raises(InputError, match=r"samples of shape \(32, 32, 3\), and the model"):
            load(shape=shape)
    with pytest.raises(InputError, match="a label 3, and the model has 3 classes"):
        load(classes=3)


def test_images_grown_by_shifts_are_made_of_the_files_that_mnist_has_in_the_cache() -> None:
    grown, plain = data.SOURCES["mnist-shifted"], data.SOURCES["mnist"]
    assert cache_dir(grown) == cache_dir(plain)
    assert cache_dir(replace(grown, cached="")).name == "mnist-shifted"
