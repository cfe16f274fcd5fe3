"""Files that may be gzip, read to a bound: nothing in them is believed, no device is waited for.

Imports the standard library, NumPy, harness.errors and harness.files.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.errors import InputError
from harness.files import MOST_BYTES, open_plain, why
from harness.interface import Array

FETCH_AGAIN = "delete it and fetch it again, or give another directory"
MEND = "mend it, or give another file"

_GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, section 2.3.1
MAX_EXPANSION = 1032  # deflate's limit: 258 bytes from 2 bits, https://zlib.net/zlib_tech.html
_BLOCK_BYTES = 1 << 18  # read at a time, so that no second copy of the data is made


def defect(path: Path, what: str, remedy: str = FETCH_AGAIN) -> InputError:
    """What is wrong with a file, and what to do about it."""
    return InputError(f"{path}: {what}; {remedy}")


@contextlib.contextmanager
def unpacked(
    path: Path, remedy: str = FETCH_AGAIN, most: int = MOST_BYTES
) -> Iterator[tuple[io.BufferedIOBase, int, int]]:
    """What a file of at most `most` bytes holds, plain or gzip (told by its first bytes).

    Gives the stream, the bytes of the file and the most that the stream can have. Raises
    InputError where the file cannot be read, also from within the block.
    """
    try:
        with open_plain(path, most) as file:
            packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            file_bytes = file.seek(0, io.SEEK_END)
            file.seek(0)
            bound = file_bytes * (MAX_EXPANSION if packed else 1)
            with gzip.GzipFile(fileobj=file, mode="rb") if packed else file as stream:
                yield stream, file_bytes, bound
    except EOFError as error:
        raise defect(
            path, "the gzip stream is cut short (an interrupted download?)", remedy
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise defect(path, f"the gzip stream is damaged ({error})", remedy) from error
    except OSError as error:
        raise defect(path, f"cannot be read ({why(error)})", remedy) from error


def fill(stream: io.BufferedIOBase, array: Array) -> int:
    """Read a stream's next bytes into a contiguous array; how many there were, at most its own."""
    view = array.reshape(-1).view(np.uint8).data
    filled = 0
    while filled < len(view):
        got = stream.readinto(view[filled : filled + _BLOCK_BYTES])
        if not got:
            break
        filled += got
    return filled
