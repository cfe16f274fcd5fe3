"""A user's own arrays, tables and images are read as they are, or refused in one line.

NumPy and Pillow write the files, and are the oracles for what is in them.
"""

from __future__ import annotations

import builtins
import gzip
import io
import os
import random
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from PIL import Image

from harness import data
from harness.data import arrays, images, own, table
from harness.errors import InputError
from harness.workloads import WORKLOADS

MUTATIONS = 100
SLACK_BYTES = 4 << 20  # buffers of the standard library


def load(path: Path, **words: Any) -> data.Dataset:
    return data.load(str(path), warn=pytest.fail, **words)


def refused(path: Path, named: Path | None = None, **words: Any) -> str:
    """The one line, which names the file, that a path is refused with."""
    with pytest.raises(InputError) as caught:
        load(path, **words)
    assert str(named or path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def npy(array: Any, **words: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **words)
    return stream.getvalue()


X = np.arange(60, dtype=np.float32).reshape(10, 2, 3)
Y = np.arange(10) % 3


# ---- arrays


def test_a_npz_with_four_arrays_is_taken_as_it_is_split(tmp_path: Path) -> None:
    path = tmp_path / "cells.npz"
    np.savez_compressed(path, train_x=X, train_y=Y, test_x=X[:2], test_y=Y[:2])
    found = load(path, shape=(2, 3), classes=3)
    assert found.name == "cells.npz"
    assert found.source == str(path)
    assert found.train_x.tolist() == X.tolist()
    assert found.test_y.tolist() == [0, 1]
    assert found.class_names == ("0", "1", "2")
    assert not found.images
    assert not found.synthetic
    with pytest.raises(ValueError, match="read-only"):
        found.train_x[0] = 0


def test_where_nothing_is_split_every_fifth_row_is_held_out_and_the_source_says_so(
    tmp_path: Path,
) -> None:
    path = tmp_path / "cells.npz"
    np.savez(path, x=X, y=Y)
    found = load(path)
    assert found.test_x.tolist() == X[[4, 9]].tolist()
    assert found.train_y.tolist() == Y[[0, 1, 2, 3, 5, 6, 7, 8]].tolist()
    assert found.source == f"{path}, every fifth row held out for test"
    np.savez(path, x=X[:4], y=Y[:4])
    assert "4 rows, and 5 are needed" in refused(path)


def test_npy_files_lie_side_by_side(tmp_path: Path) -> None:
    for name, array in (("train_x", X), ("train_y", Y), ("x", X[:5]), ("y", Y[:5])):
        np.save(tmp_path / f"{name}.npy", array)
    assert len(load(tmp_path / "x.npy").train_x) == 4
    assert len(load(tmp_path / "train_x.npy").train_x) == 8
    np.save(tmp_path / "test_x.npy", X[:3])
    assert "No such file" in refused(tmp_path / "train_x.npy", tmp_path / "test_y.npy")
    np.save(tmp_path / "test_y.npy", Y[:3])
    found = load(tmp_path / "train_x.npy")
    assert (len(found.train_x), len(found.test_x)) == (10, 3)


kinds = st.sampled_from(["u1", "i1", "<i2", ">i4", "<u8", "<f2", ">f4", "<f8"])


@settings(deadline=None)
@given(kinds, st.integers(5, 9), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.booleans())
def test_what_numpy_writes_is_read_whatever_its_type_and_order(
    kind: str, n: int, shape: list[int], fortran: bool
) -> None:
    values = (np.arange(n * np.prod(shape)) % 100).reshape(n, *shape).astype(kind)
    x = np.asfortranarray(values) if fortran else values
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.npz"
        np.savez(path, train_x=x, train_y=Y[:1].repeat(n), test_x=x, test_y=Y[:1].repeat(n))
        found = load(path)
    assert found.train_x.dtype == (np.uint8 if kind == "u1" else np.float32)
    assert np.array_equal(found.train_x, values)
    assert found.train_x.flags.c_contiguous


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (np.array([{}] * 10), Y, "holds |O: integers or floats are wanted"),
        (X.astype(complex), Y, "holds <c16"),
        (X.astype(bool), Y, "holds |b1"),
        (np.array(["a"] * 10), Y, "holds <U1"),
        (X, np.zeros(10, [("a", "f4")]), "a header that np.save does not write"),
        (X[:9], Y, "9 samples and 10 targets"),
        (np.arange(10), Y, "x of shape (10,)"),
        (np.float32(1), Y, "shape (): no rows"),
        (np.zeros((10, 0)), np.arange(10), "no rows"),
        (np.full((10, 2), np.nan), Y, "x[0, 0] is nan: no finite float32"),
        (np.full((10, 2), 1e39), Y, "x[0, 0] is 1e+39: no finite float32"),
        (X, Y - 1, "y from -1 to 1: classes count from 0"),
        (X, np.full(10, 2**63, np.uint64), "classes count from 0"),
        (X, np.full(10, np.inf), "y[0] is inf"),
        (X, np.zeros((10, 2), int), "a class is one integer a sample, several numbers are floats"),
    ],
)
def test_what_is_no_sample_or_no_target_is_refused(
    tmp_path: Path, x: Any, y: Any, reason: str
) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, x=x, y=y)
    assert reason in refused(path)


def test_training_and_test_must_be_of_one_kind_and_no_array_may_lack(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, train_x=X, train_y=Y, test_x=X[:, :1], test_y=Y)
    assert "training has" in refused(path)
    np.savez(path, train_x=X, train_y=Y)
    assert "has train_x, train_y of the arrays" in refused(path)
    np.savez(path, other=X)
    assert "has none of the arrays" in refused(path)


def header(shape: str, descr: str = "<f4") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


BAD_NPY = {
    "empty": (b"", "no .npy file"),
    "html": (b"<html>not found</html>", "no .npy file"),
    "short": (npy(X)[:-1], "240 bytes of data for shape (10, 2, 3), and there are 239"),
    "long": (npy(X) + b"x", "and there are 241"),
    "huge": (header("(1000000000000, 1000)"), "are read"),
    "lying": (header("(500000, 1000)") + bytes(100), "and there are 100"),
    "endless": (header("(" + "9" * 400 + ",)"), "a header that np.save does not write"),
    "deep": (header("(" * 9000), "a header that np.save does not write"),
    "many": (header("(" + "1, " * 60 + ")") + bytes(4), "of 60 dimensions"),
    "negative": (header("(-1, 2)"), "a header that np.save does not write"),
    "code": (header("(__import__('os').abort(),)"), "a header that np.save does not write"),
    "long header": (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1), "a header of 4294967295"),
    "odd float": (header("(2, 2)", "<f7") + bytes(28), "holds <f7"),
}


@pytest.mark.parametrize(("content", "reason"), BAD_NPY.values(), ids=BAD_NPY)
def test_a_bad_npy_file_is_refused_in_little_memory(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    (tmp_path / "y.npy").write_bytes(npy(Y))
    tracemalloc.start()
    try:
        assert reason in refused(path)
        assert tracemalloc.get_traced_memory()[1] < SLACK_BYTES
    finally:
        tracemalloc.stop()


def zipped(content: bytes, method: int = zipfile.ZIP_DEFLATED, name: str = "x.npy") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(name, content)
        archive.writestr("y.npy", npy(Y))
    return stream.getvalue()


def patched(content: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    """With other bytes so far behind each mark: of a zip's local header, or of its directory."""
    changed, at = bytearray(content), -1
    while (at := content.find(mark, at + 1)) >= 0:
        changed[at + offset : at + offset + len(value)] = value
    return bytes(changed)


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
BAD_NPZ = {
    "empty": b"",
    "cut": zipped(npy(X))[:-30],
    "bzip2": zipped(npy(X), zipfile.ZIP_BZIP2),
    "encrypted": patched(zipped(npy(X)), CENTRAL, 8, b"\x01\x00"),
    "wrong CRC": patched(zipped(npy(X)), CENTRAL, 16, b"\x00\x00\x00\x00"),
    "lies in size": patched(zipped(npy(X)), CENTRAL, 24, b"\xff\xff\xff\x7f"),
    "lies in place": patched(zipped(npy(X)), CENTRAL, 42, b"\xff\xff\xff\x7f"),
    "unknown method": patched(zipped(npy(X)), CENTRAL, 10, b"\x63\x00"),
    "not an array": zipped(b"hello"),
    "bomb": zipped(header("(1, 1)") + bytes(64 << 20)),
    "promises a bomb": zipped(header("(1000000, 1000)") + bytes(1000)),
}


@pytest.mark.parametrize("content", BAD_NPZ.values(), ids=BAD_NPZ)
def test_a_bad_npz_file_is_refused_in_little_memory(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "own.npz"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < SLACK_BYTES
    finally:
        tracemalloc.stop()


def test_an_archive_of_very_many_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(arrays.MOST_ARRAYS + 1):
            archive.writestr(f"{number}.npy", b"")
    assert "1001 arrays" in refused(path)


def test_an_array_beyond_the_bound_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "MOST_BYTES", 10_000)
    (tmp_path / "own.npz").write_bytes(zipped(npy(np.zeros((10, 1000)))))
    assert "80000 bytes of data for shape (10, 1000), and 10000 are read" in refused(
        tmp_path / "own.npz"
    )


# ---- tables

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


@settings(deadline=None)
@given(
    st.integers(2, 5).flatmap(
        lambda columns: st.lists(
            st.lists(numbers, min_size=columns, max_size=columns), min_size=5, max_size=12
        )
    ),
    st.sampled_from(["", "a,b\n", "\ufeff"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_a_table_is_read_to_the_bit(
    rows: list[list[float]], head: str, end: str, packed: bool
) -> None:
    if "a" in head:
        head = ",".join("abcde"[: len(rows[0])]) + end
    content = (head + "".join(",".join(map(repr, row)) + end for row in rows)).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"own.csv{'.gz' * packed}"
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
        x, y = table.read(path)
        assert len(load(path).train_x) == len(rows) - len(rows) // 5
    want = np.array(rows, np.float32)
    assert x.tobytes() == want[:, :-1].tobytes()
    assert y.tobytes() == want[:, -1:].tobytes()


def test_integers_in_the_last_column_serve_as_classes(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("height,class\n" + "".join(f"{i}.5,{i % 3}\n" for i in range(10)))
    assert data.targets(load(path, classes=3).train_y, "class").tolist()[:3] == [0, 1, 2]
    assert "a label 2, and the model has 2 classes" in refused(path, classes=2)
    path.write_text("".join(f"{i % 3},{i}.5\n" for i in range(10)))
    assert "not one class" in refused(path, classes=3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 numbers in 0 columns"),
        (b"a,b\n", "0 numbers in 2 columns"),
        (b"1\n2\n", "2 numbers in 1 columns"),
        (b"1,2\n3\n", "line 2 has 1 values, those before 2"),
        (b"1,2\n3,4,5\n", "line 2 has 3 values"),
        (b"a,b\nc,d\n", "line 2, column 1: 'c' is no number"),
        (b"1,2\n3,x\n", "line 2, column 2: 'x' is no number"),
        (b"1,nan\n3,4\n", "line 1, column 2: 'nan' is no number"),
        (b"1,2\n-inf,4\n", "'-inf' is no number"),
        (b"1,2\n,4\n", "line 2, column 1: '' is no number"),
        (b"1,2\n1_0,4\n", "'1_0' is no number"),
        (b"1,2\n0x1,4\n", "'0x1' is no number"),
        (b"1,2\n1e999999999,4\n", "is no number"),
        ("1,2\n\u0661,4\n".encode(), "is no number"),
        (b"1,2\n3,1e39\n", "row 1, column 1: too large for float32"),
        (b"1;2\n3;4\n", "no number"),
        (b"\x00\x01\xff\xfe\n\x00", "no number"),
        (b"1" * (1 << 21), "line 1 is longer than 1048576 bytes"),
        (gzip.compress(b"1" * (64 << 20), mtime=0), "line 1 is longer than"),
        (gzip.compress(b"1,2\n", mtime=0)[:-5], "cut short"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        assert reason in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * SLACK_BYTES
    finally:
        tracemalloc.stop()


def test_a_table_beyond_the_bound_is_refused_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MAX_VALUES", 1000)
    path = tmp_path / "own.csv.gz"
    path.write_bytes(gzip.compress(b"1,2\n" * 10_000_000, 1, mtime=0))
    assert "more than 1000 values" in refused(path)


# ---- folders of images


def draw(path: Path, colour: Any, mode: str = "RGB", size: tuple[int, int] = (4, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def animals(folder: Path, each: int = 5, **words: Any) -> Path:
    for number, name in enumerate(("cat", "dog")):
        for image in range(each):
            draw(folder / name / f"{image}.png", (number, image, 7), **words)
    return folder


def test_subfolders_are_classes_and_every_fifth_image_is_held_out(tmp_path: Path) -> None:
    folder = animals(tmp_path / "animals")
    (folder / ".hidden").mkdir()
    (folder / "README.md").write_text("of these animals")
    found = load(folder, shape=(3, 4, 3), classes=2)
    assert found.class_names == ("cat", "dog")
    assert found.images
    assert found.train_x.shape == (8, 3, 4, 3)
    assert found.train_y.tolist() == [0] * 4 + [1] * 4
    assert found.test_x[:, 0, 0].tolist() == [[0, 4, 7], [1, 4, 7]]
    assert found.source == f"{folder}, every fifth row held out for test"


def test_train_and_test_are_folders_of_classes(tmp_path: Path) -> None:
    animals(tmp_path / "train", each=3)
    animals(tmp_path / "test", each=2)
    found = load(tmp_path)
    assert (len(found.train_x), len(found.test_x)) == (6, 4)
    assert found.class_names == ("cat", "dog")
    draw(tmp_path / "test" / "cow" / "0.png", (0, 0, 0))
    assert "train and test have other classes: 'cow'" in refused(tmp_path)


def test_grey_images_have_no_channel_and_jpeg_is_read_as_pillow_reads_it(tmp_path: Path) -> None:
    pixels = (np.arange(240, dtype=np.uint8)).reshape(12, 20)
    for number in range(5):
        path = tmp_path / "all" / f"{number}.JPG"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels + np.uint8(number)).save(path, quality=90)
    found = load(tmp_path, shape=(12, 20, 1))
    assert found.train_x.shape == (4, 12, 20)
    with Image.open(tmp_path / "all" / "3.JPG") as image:
        assert np.array_equal(found.train_x[3], np.asarray(image))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda p: draw(p, (1, 2, 3), size=(5, 3)), "shape (3, 5, 3), and the first has (3, 4, 3)"),
        (lambda p: draw(p, 5, mode="L"), "shape (3, 4), and the first has"),
        (lambda p: draw(p, (1, 2, 3, 4), mode="RGBA"), "mode RGBA: grey or red-green-blue"),
        (lambda p: draw(p, 5, mode="I;16"), "mode I;16"),
        (lambda p: p.write_bytes(p.read_bytes()[:60]), "not a whole image"),
        (lambda p: p.write_bytes(b""), "not a whole image"),
        (lambda p: p.write_bytes(b"<html>"), "not a whole image"),
        (lambda p: (p.unlink(), os.mkfifo(p)), "not a file"),
        (lambda p: (p.unlink(), p.symlink_to("/dev/zero")), "not a file"),
        (lambda p: (p.unlink(), p.mkdir()), "not a file"),
        (lambda p: os.truncate(p, 1 << 40), "more than 100 MB"),
        (lambda p: p.rename(p.with_suffix(".txt")), "no image by its name"),
        (lambda p: draw(p, (0, 0, 0), size=(5000, 5000)), "5000 x 5000 pixels: too many"),
    ],
)
def test_an_image_that_differs_or_is_none_is_named(
    tmp_path: Path, spoil: Callable[[Path], Any], reason: str
) -> None:
    path = animals(tmp_path) / "dog" / "4.png"
    spoil(path)
    assert reason in refused(tmp_path, path.with_suffix(""))


def test_a_folder_without_images_or_classes_is_refused(tmp_path: Path) -> None:
    assert "0 subfolders, and each class has one" in refused(tmp_path)
    (tmp_path / "cat").mkdir()
    assert "no images in its subfolders" in refused(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any folder")
def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    folder = animals(tmp_path) / "dog"
    folder.chmod(0)
    try:
        assert "Permission denied" in refused(tmp_path, folder)
    finally:
        folder.chmod(0o700)


def test_more_pixels_than_the_bound_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MOST_BYTES", 300)
    assert "10 images of 36 bytes: too many" in refused(animals(tmp_path))


def test_without_pillow_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *words: Any, **more: Any) -> Any:
        if name.startswith("PIL"):
            raise ImportError(name)
        return real(name, *words, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'framework-harness[images]'" in refused(animals(tmp_path))


# ---- every format


def npz_of(folder: Path) -> Path:
    np.savez_compressed(folder / "own.npz", x=X, y=Y)
    return folder / "own.npz"


def npy_of(folder: Path) -> Path:
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", Y)
    return folder / "x.npy"


def csv_of(folder: Path) -> Path:
    (folder / "own.csv").write_text("a,b,c\n" + "1.5,-2e3,0\n.25,+4,1\n" * 4)
    return folder / "own.csv"


def png_of(folder: Path) -> Path:
    return animals(folder) / "cat" / "0.png"


def jpeg_of(folder: Path) -> Path:
    for number in range(5):
        draw(folder / "all" / f"{number}.jpg", (9, 8, 7))
    return folder / "all" / "2.jpg"


FORMATS = {".npz": npz_of, ".npy": npy_of, ".csv": csv_of, ".png": png_of, ".jpg": jpeg_of}


def mutated(whole: bytes, seed: int) -> bytes:
    """With bits flipped, bytes gone or twice there, or the end cut off."""
    chance, content = random.Random(seed), bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(content))
        how = chance.choice(("flip", "set", "cut", "gap", "twice"))
        if how == "flip":
            content[at] ^= 1 << chance.randrange(8)
        elif how == "set":
            content[at] = chance.choice((0, 255, 127, ord("9")))
        elif how == "cut":
            del content[at + 1 :]
        elif how == "gap":
            del content[at : at + chance.randint(1, 20)]
        else:
            content[at:at] = content[at : at + 50]
        content = content or bytearray(b"x")
    return bytes(content)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path, ending: str) -> None:
    """A warning would be an error here, and any error but InputError ends the test."""
    path = FORMATS[ending](tmp_path)
    source = tmp_path if ending in images.ENDINGS else path
    load(source)
    whole = path.read_bytes()
    refusals = 0
    for seed in range(MUTATIONS):
        path.write_bytes(mutated(whole, seed))
        try:
            found = load(source)
        except InputError:
            refusals += 1
        else:
            assert np.isfinite(found.train_x).all()
    assert refusals > 10


@pytest.mark.parametrize("ending", [".npz", ".npy", ".csv"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, ending: str) -> None:
    path = FORMATS[ending](tmp_path)
    path.unlink()
    os.mkfifo(path)
    assert "not a file" in refused(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "not a file" in refused(path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 42)
    assert "more than" in refused(path)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".npz", "x.npy", ".csv", ".csv.gz"]))
def test_any_other_bytes_are_refused(content: bytes, ending: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"own{ending}"
        path.write_bytes(content)
        refused(path)


def test_what_is_nowhere_or_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.parquet").write_bytes(b"x")
    assert "no data by its name" in refused(tmp_path / "own.parquet")
    assert "no such file" in refused(tmp_path / "own")
    assert "No such file" in refused(tmp_path / "none.npz")
    assert "no such file" in refused(Path("/a\0b"))
    assert not own.is_path("cifar10")


def test_ones_own_data_never_fall_back_and_take_no_data_dir(tmp_path: Path) -> None:
    path = npz_of(tmp_path)
    assert load(path, choice="own.npz").sha256 == load(path, choice=str(path)).sha256
    with pytest.raises(InputError, match=r"--data-dir .* has no meaning with the data"):
        load(path, data_dir=tmp_path)
    with pytest.raises(InputError, match=r"choose auto, synthetic or own\.npz"):
        load(path, choice="mnist")


def test_targets_are_as_many_numbers_as_the_model_has_outputs(tmp_path: Path) -> None:
    path = csv_of(tmp_path)
    one = replace(WORKLOADS["diabetes"], x=(2,), data=str(path), batch_size=4)
    assert data.of_workload(one, warn=pytest.fail).train_y.shape == (7, 1)
    with pytest.raises(InputError, match=r"targets of shape \(1,\), and the model's outputs have"):
        data.of_workload(replace(one, outputs=(3,)), warn=pytest.fail)


def test_a_synthetic_set_is_of_the_models_shape_only_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "never read.npz"
    found = load(path, choice="synthetic", shape=(16, 16, 1), classes=4)
    assert found.synthetic
    assert found.train_x.shape == (10_000, 16, 16, 1)
    assert set(found.train_y.tolist()) == {0, 1, 2, 3}
    flat = load(path, choice="synthetic", shape=(30,), classes=3)
    assert flat.train_x.dtype == np.float32
    for numbers in (1, 2, 3):
        of = load(path, choice="synthetic", shape=(30,), numbers=numbers)
        assert (of.train_y.shape, of.train_y.dtype) == ((10_000, numbers), np.float32)
        assert {*of.train_y.sum(axis=0).tolist()} != {0.0}
        assert set(np.unique(of.test_y)) == {0.0, 1.0}
        assert of.class_names == ()
    of_numbers = replace(WORKLOADS["diabetes"], x=(30,), outputs=(3,), data=str(path))
    made = data.of_workload(of_numbers, "synthetic", warn=pytest.fail)
    assert made.train_y.shape == (10_000, 3)
    with pytest.raises(InputError, match="nothing stands in for"):
        load(path, choice="synthetic", shape=(30,))
