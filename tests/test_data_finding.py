"""A source is found in the promised order, fetched safely, and never waited for in vain.

Mirrors are servers on 127.0.0.1 with small files made here; nothing outside is asked. Tests of the
real files run where FASHION_MNIST_DIR names them.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import data
from harness.data import finding, idx
from harness.data.fashion_mnist import SOURCE
from harness.data.source import Source
from harness.errors import InputError
from tests.make import idx_bytes

REAL_DIR = os.environ.get("FASHION_MNIST_DIR")

# Of the float32 pixels, little-endian C order: the reference facts of the architecture.
TRAIN_PIXELS_SHA256 = "c8e7985e4e6a3382c3c25c81a43502a695894fef5d797f4c58a637801efb1612"
TEST_PIXELS_SHA256 = "0c0f08b9d95e81a9c662a7e200cbb82a22e7669e3a79c4e861585d1dbf736efd"

GIVE_UP_S = 5.0  # promised for all mirrors together
EXIT_S = 15.0  # for a whole process that gave up: imports on a busy machine, no waiting threads


def write_set(directory: Path, packed: bool = True, train: int = 7, test: int = 3) -> None:
    """A tiny data set in the four files, under their official names."""
    directory.mkdir(exist_ok=True)
    for split, items in (("train", train), ("t10k", test)):
        labels = (np.arange(items) % 10).astype(np.uint8)
        images = np.repeat(labels, 784).reshape(items, 28, 28)
        for name, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            content = idx_bytes(array)
            path = directory / f"{split}-{name}"
            if packed:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(content, mtime=0))
            else:
                path.write_bytes(content)


def served(mirrors: Sequence[str], directory: Path) -> Source:
    """Fashion-MNIST as if those mirrors had it, and these were the official files."""
    return replace(SOURCE, mirrors=tuple(mirrors), sha256=hashes(directory))


def hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of the four packed files."""
    return {
        name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in SOURCE.sha256
    }


class Mirror:
    """A server of a directory on 127.0.0.1 that remembers which files were fetched."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        fetched: list[str] = []

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                fetched.append(self.path.lstrip("/"))
                super().do_GET()

            def log_message(self, *args: Any, **options: Any) -> None:
                """Say nothing."""

        handler = partial(Handler, directory=str(directory))
        server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        self.fetched, self.url = fetched, f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Mirror]]:
    with contextlib.ExitStack() as stack:
        yield partial(Mirror, stack=stack)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose connections are accepted (by the kernel) and never answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def closed_url() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user cache, no named directory, and no proxy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache home"))
    for variable in ("FASHION_MNIST_DIR", "HARNESS_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path / "cache home" / "framework-harness" / "fashion-mnist"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    write_set(tmp_path / "origin")
    return tmp_path / "origin"


@pytest.fixture
def no_mirror(monkeypatch: pytest.MonkeyPatch, closed_url: str) -> None:
    """`load` finds no mirror that answers."""
    monkeypatch.setitem(data.SOURCES, SOURCE.name, replace(SOURCE, mirrors=(closed_url,)))


def one_line(error: BaseException) -> str:
    assert "\n" not in str(error)
    return str(error)


# ---- directories that the user names


@pytest.mark.parametrize("packed", [True, False])
def test_a_directory_with_a_smaller_set_is_welcome(tmp_path: Path, packed: bool) -> None:
    write_set(tmp_path / "mine", packed)
    dataset = data.load("fashion-mnist", data_dir=tmp_path / "mine", warn=pytest.fail)
    assert dataset.name == "fashion-mnist"
    assert not dataset.synthetic
    assert dataset.source == f"--data-dir {tmp_path / 'mine'}"
    assert dataset.train_x.shape == (7, 28, 28)
    assert dataset.test_y.tolist() == [0, 1, 2]
    assert dataset.class_names[9] == "Ankle boot"


def test_identity_is_that_of_the_arrays_not_of_the_files(tmp_path: Path) -> None:
    write_set(tmp_path / "packed", packed=True)
    write_set(tmp_path / "plain", packed=False)
    write_set(tmp_path / "other", train=8)
    packed, plain, other = (
        data.load("fashion-mnist", data_dir=tmp_path / name, warn=pytest.fail).sha256
        for name in ("packed", "plain", "other")
    )
    assert packed == plain
    assert packed != other


def test_the_argument_comes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "named", train=5)
    write_set(tmp_path / "given", train=6)
    monkeypatch.setenv("FASHION_MNIST_DIR", str(tmp_path / "named"))
    assert len(data.load("fashion-mnist", warn=pytest.fail).train_x) == 5
    assert (
        len(data.load("fashion-mnist", data_dir=tmp_path / "given", warn=pytest.fail).train_x) == 6
    )


@pytest.mark.parametrize("by_environment", [True, False])
@pytest.mark.parametrize("choice", ["auto", "fashion-mnist"])
def test_a_named_directory_that_cannot_be_used_is_never_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str, by_environment: bool
) -> None:
    (tmp_path / "file").write_bytes(b"")
    write_set(tmp_path / "partial")
    (tmp_path / "partial" / "t10k-labels-idx1-ubyte.gz").unlink()
    reasons = {
        "none": "does not exist",
        "file": "is not a directory",
        "partial": "lacks t10k-labels-idx1-ubyte (with or without .gz)",
    }
    for name, reason in reasons.items():
        directory = tmp_path / name
        if by_environment:
            monkeypatch.setenv("FASHION_MNIST_DIR", str(directory))
        with pytest.raises(InputError) as caught:
            data.load(
                "fashion-mnist", choice, None if by_environment else directory, warn=pytest.fail
            )
        message = one_line(caught.value)
        assert f"{directory} {reason}" in message
        assert ("$FASHION_MNIST_DIR" in message) == by_environment


def test_a_folder_for_several_sources_has_one_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "fashion-mnist", train=5)
    write_set(tmp_path / "mnist", train=6)
    for source, items in (("fashion-mnist", 5), ("mnist", 6)):
        given = data.load(source, data_dir=tmp_path, warn=pytest.fail)
        assert len(given.train_x) == items
        assert given.source == f"--data-dir {tmp_path / source}"
        monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path))
        named = data.load(source, warn=pytest.fail)
        assert named.sha256 == given.sha256
        assert named.source == f"$HARNESS_DATA_DIR {tmp_path / source}"


def test_a_sources_own_variable_comes_before_that_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "own", train=5)
    write_set(tmp_path / "all", train=6)
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path / "all"))
    assert len(data.load("fashion-mnist", warn=pytest.fail).train_x) == 6
    monkeypatch.setenv("FASHION_MNIST_DIR", str(tmp_path / "own"))
    assert len(data.load("fashion-mnist", warn=pytest.fail).train_x) == 5
    assert len(data.load("mnist", warn=pytest.fail).train_x) == 6


@pytest.mark.usefixtures("no_mirror")
def test_the_folder_of_all_sources_may_lack_one_but_not_half_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "all").mkdir()
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path / "all"))
    warnings: list[str] = []
    assert data.load("fashion-mnist", warn=warnings.append).synthetic
    assert len(warnings) == 1
    with pytest.raises(InputError, match="lacks train-images-idx3-ubyte"):
        data.load("fashion-mnist", data_dir=tmp_path / "all", warn=pytest.fail)
    for where in ("", "fashion-mnist"):
        write_set(tmp_path / "all" / where)
        (tmp_path / "all" / where / "t10k-labels-idx1-ubyte.gz").unlink()
        with pytest.raises(InputError, match=r"lacks t10k-labels-idx1-ubyte \(with"):
            data.load("fashion-mnist", warn=pytest.fail)
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"\$HARNESS_DATA_DIR .* does not exist"):
        data.load("fashion-mnist", warn=pytest.fail)


def test_a_source_that_nobody_serves_says_where_to_get_it_and_where_to_put_it() -> None:
    for source, origin in (("cifar-10", "cs.toronto.edu"), ("diabetes", "PyTorchZeroToAll")):
        with pytest.raises(finding.NotAvailable) as caught:
            data.load(source, source, warn=pytest.fail)
        message = one_line(caught.value)
        for part in (origin, "--data-dir", "$HARNESS_DATA_DIR", "--dataset synthetic"):
            assert part in message
        warnings: list[str] = []
        assert data.load(source, warn=warnings.append).synthetic
        (warning,) = warnings
        assert warning.startswith("SYNTHETIC DATA, not ")


def test_numbers_of_images_and_labels_that_disagree_are_refused(tmp_path: Path) -> None:
    for split in ("train", "t10k"):
        directory = tmp_path / split
        write_set(directory)
        labels = directory / f"{split}-labels-idx1-ubyte.gz"
        labels.write_bytes(idx_bytes(np.zeros(4, dtype=np.uint8)))
        with pytest.raises(InputError) as caught:
            data.load("fashion-mnist", data_dir=directory, warn=pytest.fail)
        message = one_line(caught.value)
        assert f"{labels} has 4 labels" in message
        assert f"{split}-images-idx3-ubyte.gz has" in message


def test_a_damaged_file_in_a_named_directory_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "mine")
    path = tmp_path / "mine" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError) as caught:
        data.load("fashion-mnist", data_dir=tmp_path / "mine", warn=pytest.fail)
    assert str(path) in one_line(caught.value)


# ---- the cache and downloads


def test_a_download_fills_the_cache_and_is_not_repeated(
    origin: Path, cache: Path, serve: Callable[[Path], Mirror]
) -> None:
    mirror = serve(origin)
    paths, source = finding.find(served([mirror.url], origin), None)
    assert paths == [cache / name for name in SOURCE.sha256]
    assert cache == finding.cache_dir(SOURCE)
    assert source == f"cache {cache}, downloaded from {mirror.url}"
    assert hashes(cache) == hashes(origin)
    assert sorted(mirror.fetched) == sorted(SOURCE.sha256)
    assert len(idx.read_set(paths)[0]) == 7
    assert finding.find(served([mirror.url], origin), None) == (paths, f"cache {cache}")
    assert len(mirror.fetched) == 4


def test_an_empty_environment_variable_counts_as_unset(
    origin: Path, cache: Path, serve: Callable[[Path], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASHION_MNIST_DIR", "")
    assert finding.find(served([serve(origin).url], origin), None)[0][0].parent == cache


def test_a_file_with_a_wrong_checksum_is_never_kept_and_the_next_mirror_is_tried(
    tmp_path: Path, origin: Path, cache: Path, serve: Callable[[Path], Mirror]
) -> None:
    write_set(tmp_path / "wrong", train=8)
    wrong, good = serve(tmp_path / "wrong"), serve(origin)
    with pytest.raises(finding.NotAvailable) as caught:
        finding.find(served([wrong.url], origin), None)
    message = one_line(caught.value)
    assert wrong.url in message
    assert "train-images-idx3-ubyte.gz" in message
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []
    # Who answers first is asked first, so either order may meet the wrong one.
    for mirrors in ((wrong.url, good.url), (good.url, wrong.url)):
        source = finding.find(served(mirrors, origin), None)[1]
        assert source == f"cache {cache}, downloaded from {good.url}"
        for name in SOURCE.sha256:
            (cache / name).unlink()


def test_mirrors_that_fail_do_not_keep_a_good_one_from_being_used(
    tmp_path: Path,
    origin: Path,
    serve: Callable[[Path], Mirror],
    closed_url: str,
    silent_port: int,
) -> None:
    (tmp_path / "nothing").mkdir()
    lacking, good = serve(tmp_path / "nothing"), serve(origin)
    silent_url = f"http://127.0.0.1:{silent_port}/"
    mirrors = (silent_url, closed_url, lacking.url, good.url)
    source = finding.find(served(mirrors, origin), None)[1]
    assert source.endswith(f"downloaded from {good.url}")


def test_a_damaged_file_in_the_cache_is_fetched_again_and_only_that_one(
    origin: Path, cache: Path, serve: Callable[[Path], Mirror]
) -> None:
    cache.mkdir(parents=True)
    write_set(cache)
    damaged = cache / "t10k-images-idx3-ubyte.gz"
    damaged.write_bytes(b"damaged")
    mirror = serve(origin)
    finding.find(served([mirror.url], origin), None)
    assert mirror.fetched == [damaged.name]
    assert hashes(cache) == hashes(origin)


def test_a_damaged_file_in_the_cache_is_named_where_it_cannot_be_fetched(
    origin: Path, cache: Path, closed_url: str
) -> None:
    cache.mkdir(parents=True)
    write_set(cache)
    (cache / "t10k-images-idx3-ubyte.gz").write_bytes(b"damaged")
    with pytest.raises(finding.NotAvailable) as caught:
        finding.find(served([closed_url], origin), None)
    message = one_line(caught.value)
    assert f"{cache} (t10k-images-idx3-ubyte.gz is damaged" in message
    assert "--data-dir" in message


def test_a_cache_that_cannot_be_written_is_an_error_not_a_traceback(
    tmp_path: Path, origin: Path, serve: Callable[[Path], Mirror]
) -> None:
    (tmp_path / "cache home").write_bytes(b"a file where the directory should be")
    with pytest.raises(finding.NotAvailable, match="cache home"):
        finding.find(served([serve(origin).url], origin), None)


@pytest.mark.usefixtures("no_mirror")
def test_fashion_mnist_fails_with_instructions_where_it_is_nowhere() -> None:
    with pytest.raises(InputError) as caught:
        data.load("fashion-mnist", "fashion-mnist", warn=pytest.fail)
    message = one_line(caught.value)
    for part in ("no mirror answered", "--data-dir", "$FASHION_MNIST_DIR", "--dataset synthetic"):
        assert part in message


@pytest.mark.usefixtures("no_mirror")
def test_auto_falls_back_to_the_synthetic_set_and_says_so() -> None:
    warnings: list[str] = []
    dataset = data.load("fashion-mnist", "auto", warn=warnings.append)
    assert dataset.synthetic
    assert dataset.name == "synthetic"
    (warning,) = warnings
    assert warning.startswith("SYNTHETIC DATA, not Fashion-MNIST: ")
    assert "no mirror answered" in warning
    assert "\n" not in warning


# ---- two processes at the same moment

PROGRAM = """
import json, sys, time
mirrors, sha256, names_hang = json.loads(sys.argv[1])
if names_hang:
    import socket
    socket.getaddrinfo = lambda *args, **options: time.sleep(60)
from dataclasses import replace
from harness.data import finding
from harness.data.fashion_mnist import SOURCE
source = replace(SOURCE, mirrors=tuple(mirrors), sha256=sha256)
start = time.monotonic()
try:
    outcome = str(finding.find(source, None)[0][0].parent)
except finding.NotAvailable as error:
    outcome = f"not available: {error}"
print(json.dumps([time.monotonic() - start, outcome]))
"""


def find_twice(
    mirrors: list[str], files: dict[str, str], names_hang: bool = False, **environment: str
) -> list[tuple[float, str]]:
    """Elapsed seconds and outcome of `find` in each of two processes that start together."""
    words = [sys.executable, "-c", PROGRAM, json.dumps([mirrors, files, names_hang])]
    settings: dict[str, Any] = {"env": os.environ | environment, "text": True}
    settings |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with contextlib.ExitStack() as stack:
        processes = []
        for _ in range(2):
            processes.append(stack.enter_context(subprocess.Popen(words, **settings)))
            stack.callback(processes[-1].kill)
        results = []
        for process in processes:
            output, errors = process.communicate(timeout=EXIT_S)
            assert process.returncode == 0, errors
            results.append(tuple(json.loads(output)))
    return results


def test_two_processes_share_one_empty_cache(
    origin: Path, cache: Path, serve: Callable[[Path], Mirror]
) -> None:
    mirror = serve(origin)
    results = find_twice([mirror.url], hashes(origin))
    assert [outcome for _, outcome in results] == [str(cache)] * 2
    assert sorted(mirror.fetched) == sorted(SOURCE.sha256)  # each file once, not twice
    assert hashes(cache) == hashes(origin)


@pytest.mark.parametrize("case", ["mirror", "proxy", "names"])
def test_each_of_two_processes_gives_up_in_time_where_nothing_answers(
    origin: Path, silent_port: int, case: str
) -> None:
    silent_url = f"http://127.0.0.1:{silent_port}/"
    if case == "mirror":
        results = find_twice([silent_url] * 3, hashes(origin))
    elif case == "proxy":
        results = find_twice(["http://mirror.invalid/"], hashes(origin), http_proxy=silent_url)
    else:
        results = find_twice(["http://mirror.invalid/"] * 3, hashes(origin), names_hang=True)
    for elapsed_s, outcome in results:
        assert elapsed_s < GIVE_UP_S
        assert "no mirror answered" in outcome


# ---- the real files


@pytest.mark.skipif(not REAL_DIR, reason="FASHION_MNIST_DIR does not name the real files")
def test_the_real_set_gives_the_known_pixels(tmp_path: Path) -> None:
    assert REAL_DIR is not None
    dataset = data.load("fashion-mnist", "fashion-mnist", Path(REAL_DIR), warn=pytest.fail)
    assert dataset.train_x.shape == (60_000, 28, 28)
    assert dataset.test_x.shape == (10_000, 28, 28)
    assert np.bincount(dataset.train_y).tolist() == [6000] * 10
    out = np.lib.format.open_memmap(
        tmp_path / "pixels.npy", mode="w+", dtype=np.float32, shape=(60_000, 784)
    )
    data.prepared(dataset.train_x, (784,), None, out)
    assert hashlib.sha256(out.data).hexdigest() == TRAIN_PIXELS_SHA256
    test_pixels = data.prepared(dataset.test_x, (784,), None)
    assert hashlib.sha256(test_pixels.data).hexdigest() == TEST_PIXELS_SHA256


@pytest.mark.skipif(not REAL_DIR, reason="FASHION_MNIST_DIR does not name the real files")
def test_the_real_files_are_taken_from_the_cache_when_their_checksums_hold(
    cache: Path, closed_url: str
) -> None:
    assert REAL_DIR is not None
    cache.parent.mkdir(parents=True)
    cache.symlink_to(Path(REAL_DIR).resolve())
    if not all((cache / name).exists() for name in SOURCE.sha256):
        pytest.skip("FASHION_MNIST_DIR holds unpacked files, the cache holds packed ones")
    assert finding.find(replace(SOURCE, mirrors=(closed_url,)), None) == (
        [cache / name for name in SOURCE.sha256],
        f"cache {cache}",
    )
