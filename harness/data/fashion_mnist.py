"""Finds Fashion-MNIST: a directory that was named, the user's cache, or a download into it.

A directory that the user names must hold the four files; it is never passed over in silence, and
its files need not be the official ones. Files in the cache are the official ones, and their SHA-256
is verified every time. Imports the standard library, NumPy, harness.errors and harness.data.idx;
filelock and pooch only where a cache is looked at, because they take time to import.

Source of the files and of their licence (MIT): https://github.com/zalandoresearch/fashion-mnist
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data import idx
from harness.errors import InputError

ENVIRONMENT_VARIABLE = "FASHION_MNIST_DIR"

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# SHA-256 of the official files: images and labels of training, then of test.
FILES = {
    f"{name}-ubyte.gz": sha256
    for name, sha256 in (
        ("train-images-idx3", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        ("train-labels-idx1", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        ("t10k-images-idx3", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        ("t10k-labels-idx1", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    )
}

# Base addresses; the publisher's bucket has no https. What they send is checked against FILES.
MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)

_REACH_S = 4.0  # for some mirror to answer at all; the whole must give up within 5 s offline
_CONNECT_S = 4.0  # for a connection to a mirror that answered a moment ago
_READ_S = 10.0  # without a single byte, then the next mirror; a slow download may take its time

Bytes = npt.NDArray[np.uint8]


class NotAvailable(InputError):
    """Nobody named a directory, and neither the cache nor a download has the files."""


def find(
    data_dir: Path | None,
    mirrors: Sequence[str] = MIRRORS,
    files: Mapping[str, str] = FILES,
) -> tuple[Path, str]:
    """The directory that holds the four files, and a sentence part that says how it was found.

    Looks at `data_dir`, then $FASHION_MNIST_DIR (empty counts as unset), then the user's cache;
    fills the cache from `mirrors` where `files` (name -> SHA-256) are missing there or damaged.
    Raises InputError where the first two are named but unusable, NotAvailable where nothing works.
    """
    if data_dir is not None:
        _require_files(data_dir, "--data-dir")
        return data_dir, f"--data-dir {data_dir}"
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        _require_files(Path(named), f"${ENVIRONMENT_VARIABLE}")
        return Path(named), f"${ENVIRONMENT_VARIABLE} {named}"
    give_up_at = time.monotonic() + _REACH_S  # importing pooch counts: it may take a second
    cache = cache_dir()
    if not _defects(cache, files):
        return cache, f"cache {cache}"
    mirror = _download(cache, mirrors, files, give_up_at)
    return cache, f"cache {cache}, downloaded from {mirror}"


def read(directory: Path) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Train images (n, 28, 28), train labels (n,), test images, test labels of a directory.

    Raises InputError where a file is missing or damaged, or numbers disagree.
    """
    train_images, train_labels, test_images, test_labels = (_path(directory, n) for n in FILES)
    return *_read_pair(train_images, train_labels), *_read_pair(test_images, test_labels)


def cache_dir() -> Path:
    """Where downloads are kept; $XDG_CACHE_HOME is respected. Need not exist."""
    import pooch

    return Path(pooch.os_cache("framework-harness")) / "fashion-mnist"


def _read_pair(images_path: Path, labels_path: Path) -> tuple[Bytes, Bytes]:
    images, labels = idx.read_images(images_path), idx.read_labels(labels_path)
    if len(images) != len(labels):
        raise InputError(
            f"{images_path} has {len(images)} images but {labels_path} has {len(labels)} labels: "
            "they must agree; fetch both again, or give another directory"
        )
    return images, labels


def _path(directory: Path, name: str) -> Path:
    """The file as published (.gz) where there is one, else the unpacked one."""
    packed = directory / name
    return packed if os.path.exists(packed) else packed.with_suffix("")


def _require_files(directory: Path, named_by: str) -> None:
    """InputError unless the directory that the user named has all four files."""
    if not os.path.isdir(directory):
        what = "is not a directory" if os.path.exists(directory) else "does not exist"
        raise InputError(f"{named_by} {directory} {what}: name the directory with the idx files")
    missing = [n.removesuffix(".gz") for n in FILES if not os.path.exists(_path(directory, n))]
    if missing:
        raise InputError(
            f"{named_by} {directory} lacks {', '.join(missing)} (with or without .gz): "
            "put the four idx files there, or name another directory"
        )


def _defects(directory: Path, files: Mapping[str, str]) -> list[str]:
    """What is wrong with the files of the cache, empty where all are good."""
    missing, defects = [], []
    for name, expected in files.items():
        try:
            with (directory / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            missing.append(name)
        except OSError as error:
            defects.append(f"{name} cannot be read ({error.strerror})")
        else:
            if found != expected:
                defects.append(f"{name} is damaged (SHA-256 {found[:12]}, not {expected[:12]})")
    return [f"missing: {', '.join(missing)}", *defects] if missing else defects


def _download(
    cache: Path, mirrors: Sequence[str], files: Mapping[str, str], give_up_at: float
) -> str:
    """Fill the cache from the first mirror that can; returns that mirror. NotAvailable if none can.

    Nothing but the verified file gets the file's name. Two processes may do this at once: who has
    the lock fetches, the other then finds the files there. Whether a mirror answers is asked
    outside the lock, so that without a network neither waits for the other.
    """
    import filelock
    import pooch

    fetch = pooch.HTTPDownloader(timeout=(_CONNECT_S, _READ_S), chunk_size=1 << 16)
    failures = []
    for mirror in _answering(mirrors, next(iter(files)), give_up_at):
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(cache / "download.lock"):
                for name, sha256 in files.items():
                    pooch.retrieve(
                        mirror + name, f"sha256:{sha256}", fname=name, path=cache, downloader=fetch
                    )
        except (OSError, ValueError) as error:  # requests' errors are OSError; ValueError: checksum
            failures.append(f"{mirror}: {error}")
        else:
            return mirror
    why = "; ".join(failures) or f"no mirror answered, limit {_REACH_S:.0f} s"
    raise NotAvailable(
        f"Fashion-MNIST is not in the cache {cache} ({'; '.join(_defects(cache, files))}) and "
        f"cannot be downloaded ({why}): put the four files into a directory and name it with "
        f"--data-dir or ${ENVIRONMENT_VARIABLE}, or choose --dataset synthetic"
    )


def _answering(mirrors: Sequence[str], name: str, give_up_at: float) -> Iterator[str]:
    """The mirrors that say they have file `name`, as they answer, until `give_up_at` (monotonic s).

    Each is asked in a daemon thread: looking up a name can hang far longer than any timeout that
    can be set, and must hold up neither this function nor the end of the process.
    """
    import pooch

    ask = pooch.HTTPDownloader(timeout=_REACH_S)
    answers: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()

    def answer(mirror: str) -> None:
        try:
            answers.put((mirror, bool(ask(mirror + name, None, None, check_only=True))))
        except OSError:  # requests' errors are OSError
            answers.put((mirror, False))

    for mirror in mirrors:
        threading.Thread(target=answer, args=(mirror,), daemon=True).start()
    for _ in mirrors:
        try:
            mirror, has_file = answers.get(timeout=max(0.0, give_up_at - time.monotonic()))
        except queue.Empty:
            return
        if has_file:
            yield mirror


# The official files' pixels, train and test.
REAL_SHA256 = "59cd805782c4ec902435acc4cc7b1b45825018f3f709ee611c4f756747455e5d"
