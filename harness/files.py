"""Files read whole or refused in one line, written whole or not at all, and names for them.

Imports msgspec and errors only.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import TypeVar

import msgspec

from harness.errors import InputError

T = TypeVar("T")
# What decoding a document raises where it is cut off, nested without end, or another's.
UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
# Of a document that is read at once. The longest, a record of a million steps, has some 30 MB.
MOST_BYTES = 10**9
# Of a file of which only the digest is wanted: it is read in pieces.
MOST_HASHED = 2**40
# Of what people write by hand, and of a file of Python: the longest known has a tenth.
MOST_BY_HAND = 10**7
# A disk, quota or file-size limit that is reached: the user's to mend.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What a file system answers that cannot fsync a folder.
NOT_KNOWN = (errno.EBADF, errno.EINVAL, errno.ENOTSUP)


def new_name() -> str:
    """What nothing else is called: the time, UTC, and a few random digits."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def why(error: OSError) -> str:
    """The operating system's reason, in a few words."""
    return os.strerror(error.errno) if error.errno else str(error)


def open_plain(path: Path | str, most: int = MOST_BYTES, *, follow: bool = True) -> BufferedReader:
    """A regular file of at most `most` bytes, open for reading. OSError for anything else.

    A pipe or a device is not waited for. follow: a link to such a file is one too.
    """
    link = 0 if follow else os.O_NOFOLLOW
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | link)
    except ValueError:  # a NUL in it
        raise OSError("no path") from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a file")
        if status.st_size > most:
            raise OSError(f"more than {most // 10**6} MB")
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: Path, kind: str, most: int = MOST_BYTES) -> bytes:
    """What a file holds; InputError, which calls it a `kind`, where it cannot be read."""
    try:
        with open_plain(path, most) as file:
            return file.read()
    except OSError as error:
        raise InputError(f"{kind} {path}: {why(error)}") from None


class _Head(msgspec.Struct):
    schema: int


def decode(data: bytes | str, kind: str, name: str, type_: type[T], schema: int) -> T:
    """A stored document, JSON; InputError unless it is a whole one of this schema.

    The error calls it `kind name`, as in "record results/runs/x/record.json".
    """
    try:
        stored = msgspec.json.decode(data, type=_Head).schema
        if stored > schema:
            raise InputError(
                f"{kind} {name}: schema {stored} is newer than this harness reads ({schema}); "
                "upgrade the harness"
            )
        if stored < schema:
            raise InputError(
                f"{kind} {name}: schema {stored} was written by an older harness, and this one "
                f"reads {schema}: measure again"
            )
        return msgspec.json.decode(data, type=type_)
    except UNREADABLE as error:
        raise InputError(f"{kind} {name}: not a whole {kind} ({error})") from None


def read(path: Path, kind: str, type_: type[T], schema: int, most: int = MOST_BYTES) -> T:
    """A stored document, JSON; InputError unless the file is a whole one of this schema."""
    return decode(read_bytes(path, kind, most), kind, str(path), type_, schema)


def is_python(path: str) -> bool:
    """Whether there is a file of Python, which may be read."""
    try:
        open_plain(path, MOST_BY_HAND).close()
    except OSError:
        return False
    return path.endswith(".py")


def read_toml(path: Path, kind: str, type_: type[T]) -> T:
    """What a user wrote, TOML; InputError for a file that is not understood."""
    try:
        return msgspec.toml.decode(read_bytes(path, kind, MOST_BY_HAND), type=type_)
    except UNREADABLE as error:
        raise InputError(f"{kind} {path}: {' '.join(str(error).split())}") from None


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[BufferedRandom]:
    """An open file that is there as `path`, whole, once the block ends, and still after a crash.

    A link there is replaced, not followed. If the block raises, nothing is left of it. Raises
    InputError where the disk is full, the folder cannot be written, or a device or pipe is there.
    """
    if _is_special(path):
        raise InputError(f"cannot write {path}: not a regular file")
    temporary: Path | None = None
    try:
        name = beside(path)
        # Not mkstemp's mode: what the user's umask leaves.
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        temporary = name
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
        sync(path.parent)
    except OSError as error:
        hint = (
            "; free some space or choose another --results-dir" if error.errno in NO_SPACE else ""
        )
        raise InputError(f"cannot write {path}: {why(error)}{hint}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def beside(path: Path) -> Path:
    """A name that nothing has and no reader looks at, for what is to become `path`."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def _is_special(path: Path) -> bool:
    """Whether a file that takes this path's place would take away a device, pipe or socket.

    All of /dev is such: /dev/stdout is a link to whatever file stdout is.
    """
    if os.path.realpath(path.parent) == "/dev":
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def sync(path: Path) -> None:
    """What a file holds, or the names in a folder, are on the disk: a power cut takes none of it.

    Raises OSError.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems do not know the call for a folder, and need none.
        if error.errno not in NOT_KNOWN or not os.path.isdir(path):
            raise
    finally:
        os.close(handle)


def nearest_folder(folder: Path, what: str) -> str:
    """A folder that is to be, or of those above it the nearest that is there.

    InputError, which calls it `what`, where it cannot be a folder.
    """
    nearest = os.path.abspath(folder)
    while True:
        try:
            mode = os.stat(nearest).st_mode
        except (FileNotFoundError, NotADirectoryError) as error:
            if os.path.islink(nearest):
                raise InputError(f"{what} {folder}: {nearest}: {why(error)}") from None
            nearest = os.path.dirname(nearest)
        except OSError as error:
            raise InputError(f"{what} {folder}: {why(error)}") from None
        else:
            if stat.S_ISDIR(mode):
                return nearest
            raise InputError(f"{what} {folder}: {nearest} is not a directory")


def check_place(path: Path, option: str) -> None:
    """InputError, before anything is measured for it, where no file can be written to a path."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.lstat(path)
    except FileNotFoundError:
        wrong = not os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        wrong = True
    else:
        wrong = os.path.isdir(path) or _is_special(path)
    if wrong:
        raise InputError(f"{option} {path}: no file can be written there")


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all; InputError where it cannot be."""
    with atomic(path) as file:
        file.write(data)


def write_document(path: Path, document: object) -> None:
    """Write a document that `read` reads, and make its folder; InputError where it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {path.parent}: {why(error)}") from None
    write_atomic(path, msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def digest(path: Path) -> str:
    """SHA-256 of what a file holds, in hexadecimal. OSError where it cannot be read."""
    with open_plain(path, MOST_HASHED) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sealed(folder: Path, stem: str, data: bytes) -> None:
    """Write folder/<stem>-<its SHA-256>, whole or not at all; then the one before goes.

    InputError where it cannot be written.
    """
    path = folder / f"{stem}-{hashlib.sha256(data).hexdigest()}"
    write_atomic(path, data)
    for other in folder.glob(f"{stem}-*"):
        if other != path:
            other.unlink(missing_ok=True)


def sealed(folder: Path, stem: str) -> Path | None:
    """What `write_sealed` wrote last and whose name is still its digest; None where none is so."""
    found = [p for p in folder.glob(f"{stem}-*") if p.name.rpartition("-")[2] == digest(p)]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def remove(path: Path) -> None:
    """Remove what lies there, if anything: of a link, the link. OSError where it cannot."""
    if not os.path.islink(path) and os.path.isdir(path):
        _open_up(path)
        try:
            shutil.rmtree(path)
        except RecursionError:
            raise OSError(f"{path.name}: folders lie too deep in it to be removed") from None
    elif os.path.lexists(path):
        os.unlink(path)


def _open_up(path: Path) -> None:
    """Let whoever owns a folder, and those in it, remove what is in them."""
    todo = [os.fspath(path)]
    while todo:
        folder = todo.pop()
        os.chmod(folder, stat.S_IRWXU)
        with os.scandir(folder) as entries:
            todo += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
