"""Faults at every call and every byte of a piece of writing, and what of it a power cut may take.

Knows nothing of records: a `Writing` says what is written and when what is there is whole. Forks
and kills, so it is for a process with one thread (see `tests/crash_jobs.py`). Linux only.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import itertools
import os
import re
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from harness.errors import InputError

# What changes the disk, of the functions of `os`; each is a point where a fault may strike.
# fmt: off
CHANGING = [
    "chmod", "chown", "close", "copy_file_range", "fchmod", "fdatasync", "fsync", "ftruncate",
    "link", "lockf", "mkdir", "mkfifo", "open", "posix_fallocate", "pwrite", "pwritev", "remove",
    "rename", "replace", "rmdir", "sendfile", "setxattr", "splice", "symlink", "truncate",
    "unlink", "utime", "write", "writev",
]
# What reads only; a function of `os` that is in neither list is reported.
READING = [
    "access", "cpu_count", "fspath", "fstat", "get_terminal_size", "getcwd",
    "getpid", "getuid", "isatty", "listdir", "lseek", "lstat", "read", "readlink", "scandir",
    "stat", "statvfs", "strerror", "umask", "uname", "urandom",
]
# fmt: on
# What makes something new; and what needs room on the disk, or may.
MAKING = {"open", "io.open", "fdopen", "mkdir"}
RENAMING = ("rename", "replace")
GROWING = {"write", "fsync", "mkdir", *RENAMING}
# ENOSPC: from this call on there is no room (of a write, half fits). EIO: this call only. EIO told:
# the call did what it was asked, and says that it failed. dead: from this call on, every one fails.
ERRORS = ("ENOSPC", "EIO", "EIO told", "dead")
# SIGKILL before the call is made: for the process that is the end after the call before it, since
# nothing that Python code does in between is on the disk. After the last call: at one more point.
KILLED = "killed"

# The folder of a run that has not ended.
PENDING = re.compile(r"runs/\.[^/]*(/|$)")

Tree = dict[str, bytes | None]  # path from the root: content, None for a folder


@dataclass
class State:
    """What a fault left under `root`, the results directory.

    `old`: what was there before; `new`: what a clean run leaves; `left`: what is there now.
    `finished`: the writing said that it had succeeded.
    """

    root: Path
    old: Tree
    new: Tree
    left: Tree
    finished: bool


@dataclass
class Writing:
    """What is tested: `write(root)`, with what `begin(root)` left there.

    `wrong(state)`: what is wrong with what is there, a line each.
    """

    name: str
    begin: Callable[[Path], None]
    write: Callable[[Path], object]
    wrong: Callable[[State], list[str]]


def tree(root: Path) -> Tree:
    """All that lies under a folder; a folder before what is in it."""
    found: Tree = {}
    waiting = [("", str(root))]
    while waiting:
        before, folder = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                name = before + entry.name
                if entry.is_dir(follow_symlinks=False):
                    found[name] = None
                    waiting.append((name + "/", entry.path))
                else:
                    with open(entry.path, "rb") as file:
                        found[name] = file.read()
    return found


def is_temporary(name: str) -> bool:
    """Whether a path lies under a name that no reader looks at."""
    return any(part.startswith(".") for part in name.split("/"))


# -- faults ----------------------------------------------------------------------------------


class Calls:
    """Within, every call of Python code that changes the disk is counted, and one may go wrong.

    `limit`: a file by part of its name, and how many bytes it may have. `watch`: called after each
    call with its name and paths.
    """

    def __init__(
        self,
        point: int = -1,
        mode: str = "",
        *,
        limit: tuple[str, int] | None = None,
        watch: Callable[[str, list[str]], None] | None = None,
    ) -> None:
        self.names: list[str] = []
        self.reads = 0
        self._point, self._mode = point, mode
        self._limit, self._watch = limit, watch
        self._full = self._dead = False
        self._real = {name: getattr(os, name) for name in CHANGING if hasattr(os, name)}
        self._real_open, self._real_fdopen = io.open, os.fdopen

    def __enter__(self) -> Calls:
        for name in self._real:
            setattr(os, name, self._wrapped(name))
        os.fdopen = self._fdopen  # type: ignore[assignment]
        io.open = builtins.open = self._io_open
        return self

    def __exit__(self, *_: object) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)
        os.fdopen = self._real_fdopen
        io.open = builtins.open = self._real_open
        self._set_limit(None)

    def _wrapped(self, name: str) -> Callable[..., Any]:
        real = self._real[name]
        # Nothing here is about what a disk does when asked: `watch` is what models that.
        done = (lambda *_: None) if name in ("fsync", "fdatasync") else real

        def call(*args: Any, **named: Any) -> Any:
            paths = [_path(a) for a in args[: 2 if name in (*RENAMING, "link") else 1]]
            grows = name in GROWING or (name == "open" and bool(args[1] & os.O_CREAT))
            return self.at(name, paths, lambda: done(*args, **named), grows=grows)

        return call

    def _fdopen(self, handle: int, mode: str = "r", *args: Any, **named: Any) -> Any:
        if not set(mode) & set("wax+"):
            self.reads += 1
            return self._real_fdopen(handle, mode, *args, **named)
        assert mode == "w+b", mode
        raw = self.at("fdopen", [_path(handle)], lambda: _Raw(self, handle, "r+"))
        return io.BufferedRandom(raw)

    def _io_open(
        self, file: Any, mode: str = "r", buffering: int = -1, *args: Any, **named: Any
    ) -> Any:
        if not set(mode) & set("wax+"):
            self.reads += 1
            return self._real_open(file, mode, buffering, *args, **named)
        assert buffering == -1
        plain = mode.replace("b", "")
        raw = self.at("io.open", [_path(file)], lambda: _Raw(self, file, plain), grows=True)
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *args, **named)

    def at(
        self,
        name: str,
        paths: list[str],
        do: Callable[[], Any],
        partly: Callable[[], Any] | None = None,
        *,
        grows: bool = False,
    ) -> Any:
        """One call: counted, and done, or not. `grows`: it takes room on the disk."""
        place = len(self.names)
        self.names.append(name)
        if name in ("open", "io.open"):
            self._set_limit(paths[0])
        if place == self._point:
            self._strike(name, do, partly)
            raise _error("ENOSPC" if self._full else "EIO", paths)
        if self._dead or (self._full and grows):
            if name.endswith("close"):
                do()
            raise _error("EIO" if self._dead else "ENOSPC", paths)
        done = do()
        if self._watch is not None:
            self._watch(name, paths)
        return done

    def _strike(self, name: str, do: Callable[[], Any], partly: Callable[[], Any] | None) -> None:
        """What happens at the chosen call before it fails."""
        if self._mode == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        self._full, self._dead = self._mode == "ENOSPC", self._mode == "dead"
        # A close that fails closes all the same; what is not made has no name to be removed by.
        if name.endswith("close") or (self._mode == "EIO told" and name not in MAKING):
            do()
        elif self._mode == "ENOSPC" and partly is not None:
            partly()

    def _set_limit(self, path: str | None) -> None:
        """Lift the limit, or set it where the file that is opened is the one it is for."""
        if self._limit is not None:
            name, size = self._limit
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            here = path is not None and name in os.path.basename(path)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size if here else hard, hard))


class _Raw(io.FileIO):
    """An open file whose every write and whose close are calls like those of `os`."""

    def __init__(self, calls: Calls, file: Any, mode: str) -> None:
        super().__init__(file, mode)
        self._calls = calls
        self._paths = [_path(file)]

    def write(self, data: Any) -> int:
        view = memoryview(data)
        write = super().write
        half = view[: len(view) // 2]
        done: int = self._calls.at(
            "file.write", self._paths, lambda: write(view), lambda: write(half), grows=True
        )
        return done

    def close(self) -> None:
        if not self.closed:
            self._calls.at("file.close", self._paths, super().close)


def _path(given: Any) -> str:
    if isinstance(given, int):
        return os.readlink(f"/proc/self/fd/{given}")
    return os.fsdecode(given)


def _error(name: str, paths: list[str]) -> OSError:
    code = getattr(errno, name)
    return OSError(code, os.strerror(code), paths[0])


# -- striking everywhere ---------------------------------------------------------------------


@dataclass
class Trials:
    """What a writing went through: how many faults, and what was wrong after any of them."""

    points: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


class Bench:
    """A place where one writing is done again and again from the same beginning."""

    def __init__(self, writing: Writing, folder: Path) -> None:
        self.writing = writing
        self._place = folder
        self.root = folder / "results"
        self.root.mkdir(parents=True)
        writing.begin(self.root)
        self.old = tree(self.root)
        for _ in "what is done only once must not be counted", "now":
            self.fresh()
            with Calls() as calls:
                writing.write(self.root)
        self.calls = calls.names
        self.reads = calls.reads
        self.new = tree(self.root)

    def fresh(self) -> None:
        """Everything as it was before the writing."""
        lay_out(self.old, self.root)

    def wrong(self, *, finished: bool, tidy: bool) -> list[str]:
        """What is wrong with what is there. `tidy`: nothing temporary may be left."""
        left = tree(self.root)
        found = self.writing.wrong(State(self.root, self.old, self.new, left, finished))
        strays = [name for name in left if name not in self.old and name not in self.new]
        # All of a run that has not ended may be left, under its dot, but for files half written.
        inside = {name: PENDING.sub("", name) for name in strays}
        found += [
            f"stray {name}"
            for name, rest in inside.items()
            if (is_temporary(rest) and tidy) or (rest == name and not is_temporary(name))
        ]
        found += [f"outside: {p.name}" for p in self._place.iterdir() if p != self.root]
        return found

    def counted_otherwise(self) -> dict[str, Any]:
        """The calls of a clean run as the interpreter and the system count them.

        `os`: by name, of those in CHANGING; `io.open`: files opened; `unknown`: other functions of
        `os`; `writes`: write system calls of the whole process.
        """
        seen: Counter[str] = Counter()

        def profile(_frame: object, event: str, function: Any) -> None:
            if event == "c_call":
                seen[f"{getattr(function, '__module__', None)}.{function.__name__}"] += 1

        self.fresh()
        before = _write_calls()
        sys.setprofile(profile)
        try:
            self.writing.write(self.root)
        finally:
            sys.setprofile(None)
        of_os = {k.removeprefix("posix."): n for k, n in seen.items() if k.startswith("posix.")}
        of_os = {name: n for name, n in of_os.items() if not name.startswith("_path_")}
        return {
            "os": {name: n for name, n in sorted(of_os.items()) if name in CHANGING},
            "io.open": seen["io.open"] + seen["_io.open"],
            "unknown": sorted(of_os.keys() - {*CHANGING, *READING}),
            "writes": _write_calls() - before,
        }

    def fail_calls(self, modes: tuple[str, ...] = ERRORS, most_wrong: int | None = None) -> Trials:
        """Every error at every call; no more once `most_wrong` things are wrong."""
        trials = Trials()
        for point, mode in itertools.product(range(len(self.calls)), modes):
            if most_wrong is not None and len(trials.wrong) >= most_wrong:
                break
            where = f"{self.writing.name}, {mode} at {self.calls[point]} ({point})"
            # What cannot be removed stays.
            tidy = mode != "dead" and self.calls[point] != "unlink"
            self._failed(trials, where, Calls(point, mode), tidy=tidy)
        return trials

    def kill_calls(self, most_wrong: int | None = None) -> Trials:
        """The end before every call, and after the last."""
        trials = Trials()
        for point, call in enumerate([*self.calls, "the end"]):
            if most_wrong is not None and len(trials.wrong) >= most_wrong:
                break
            where = f"{self.writing.name}, killed at {call} ({point})"
            self._killed(trials, where, signal.SIGKILL, Calls(point, KILLED))
        return trials

    def written(self) -> list[str]:
        """The files that the writing makes or changes."""
        return [n for n, content in self.new.items() if content not in (None, self.old.get(n))]

    def strike_bytes(self, names: list[str], most: int) -> dict[str, Trials]:
        """A file may have only so many bytes: its writing fails there, or is killed there."""
        found = {}
        for name in names:
            content = self.new[name]
            assert content is not None
            trials = found[name] = Trials()
            for size in positions(len(content), most):
                limit = (os.path.basename(name), size)
                where = f"{self.writing.name}, {name}, {size} of {len(content)} bytes"
                self._failed(trials, where, Calls(limit=limit), tidy=True)
                self._killed(trials, where, signal.SIGXFSZ, Calls(limit=limit))
        return found

    def _failed(self, trials: Trials, where: str, calls: Calls, *, tidy: bool) -> None:
        self.fresh()
        trials.points += 1
        descriptors = len(os.listdir("/proc/self/fd"))
        told: BaseException | None = None
        try:
            with calls:
                self.writing.write(self.root)
        except InputError as error:
            told = error
            if "\n" in str(error) or not any(os.strerror(code) in str(error) for code in FAULTS):
                trials.wrong.append(f"{where}: told {str(error)!r}")
            trials.errors[type(error).__name__] += 1
        except BaseException as error:
            told = error
            trials.wrong.append(f"{where}: raised {type(error).__name__}: {error}")
        else:
            trials.errors["none"] += 1
        wrong = self.wrong(finished=told is None, tidy=tidy)
        told = None
        if len(os.listdir("/proc/self/fd")) > descriptors and "fdopen" not in where:
            wrong.append("a file was left open")
        trials.wrong += [f"{where}: {each}" for each in wrong]

    def _killed(self, trials: Trials, where: str, by: signal.Signals, calls: Calls) -> None:
        self.fresh()
        trials.points += 1
        status = forked(lambda: self._write_in_child(calls, by))
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != by:
            trials.wrong.append(f"{where}: not killed there (status {status})")
        wrong = self.wrong(finished=False, tidy=False)
        trials.wrong += [f"{where}, killed: {each}" for each in wrong]

    def _write_in_child(self, calls: Calls, by: signal.Signals) -> None:
        if by == signal.SIGXFSZ:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        with calls:
            self.writing.write(self.root)
        if by == signal.SIGKILL:
            os.kill(os.getpid(), signal.SIGKILL)

    def cut_power(self) -> Trials:
        """What a power cut may take of what others find."""
        self.fresh()
        power = Power(self.root)
        calls = Calls(watch=power.watch)
        with calls:
            self.writing.write(self.root)
        power.look(self.root)
        where = f"{self.writing.name}, power cut"
        return Trials(len(calls.names), [f"{where}: {each}" for each in power.wrong])


# The reasons that a user may be given.
FAULTS = (errno.ENOSPC, errno.EIO, errno.EFBIG)


def positions(size: int, number: int) -> list[int]:
    """Sizes below `size`, spread over it: the first bytes, the last, and the edges of blocks."""
    chosen = {0, 1, size - 2, size - 1}
    edges = range(4096, size, 4096)
    few = edges[:: max(1, 9 * len(edges) // number)]
    chosen |= {edge + beside for edge in few for beside in (-1, 0, 1)}
    rest = number - len(chosen)
    chosen |= {size * k // (rest + 1) for k in range(1, rest + 1)}
    return sorted(at for at in chosen if 0 <= at < size)


def forked(do: Callable[[], object]) -> int:
    """Do something in a child and say how that ended (as `os.waitpid` does)."""
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # what waits for a thread that is not there must not wait for ever
        status = 1
        try:
            do()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def _write_calls() -> int:
    with open("/proc/self/io") as file:
        return int(dict(line.split(": ") for line in file.read().splitlines())["syscw"])


# -- power cuts ------------------------------------------------------------------------------


class Power:
    """Watches a writing: what others may find is on the disk before it gets its name, or not?

    A power cut may take whatever was written to a file since its last fsync, and whatever was done
    to the names in a folder since its own. `wrong`: what could have been lost, a line each.
    """

    def __init__(self, root: Path) -> None:
        self.wrong: list[str] = []
        self._root = root
        there = tree(root)
        self._known = {str(root), *(str(root / name) for name in there)}
        self._certain = {str(root / name): content for name, content in there.items()}
        self._changed: set[str] = set()

    def watch(self, name: str, paths: list[str]) -> None:
        """A call has been made."""
        paths = [os.path.abspath(path) for path in paths]
        if name in RENAMING:
            self._renamed(*paths)
        new = name in ("open", "io.open") and paths[0] not in self._known
        if new or name in ("mkdir", "unlink", "remove", "rmdir", *RENAMING):
            self._known |= {*paths}
            visible = [path for path in paths if not os.path.basename(path).startswith(".")]
            self._changed |= {*map(os.path.dirname, visible)}
        elif name in ("fsync", "fdatasync"):
            self._changed.discard(paths[0])
            if os.path.isfile(paths[0]):
                self._certain[paths[0]] = Path(paths[0]).read_bytes()

    def _renamed(self, old: str, new: str) -> None:
        def moved(path: str) -> str:
            return new + path[len(old) :] if (path + "/").startswith(old + "/") else path

        self._certain = {moved(path): content for path, content in self._certain.items()}
        self._changed = {*map(moved, self._changed)}
        if not os.path.basename(new).startswith("."):
            # record.json alone makes a record of what lies beside it.
            record = os.path.basename(new) == "record.json"
            self.look(Path(new).parent if record else Path(new))

    def look(self, at: Path) -> None:
        """What of a file, or of all in a folder, is not for certain on the disk."""
        for path in [at, *at.rglob("*")]:
            name = os.path.relpath(path, self._root)
            if is_temporary(PENDING.sub("", name)):
                continue
            if str(path) in self._changed:
                self.wrong.append(f"the names in {name} may be lost")
            elif path.is_file() and path.read_bytes() != self._certain.get(str(path)):
                self.wrong.append(f"what {name} holds may be lost")


def lay_out(wanted: Tree, root: Path) -> None:
    """Make a folder hold this tree; what is right already is left as it is."""
    there = tree(root)
    for name, content in reversed(list(there.items())):
        if name not in wanted or (wanted[name] is None) != (content is None):
            (os.rmdir if content is None else os.unlink)(root / name)
            del there[name]
    for name, content in wanted.items():
        if content is None:
            (root / name).mkdir(exist_ok=True)
        elif there.get(name) != content:
            (root / name).write_bytes(content)


def replaced(*changes: tuple[Any, str, Any]) -> contextlib.ExitStack:
    """Within, attributes of modules are others."""
    stack = contextlib.ExitStack()
    for owner, name, value in changes:
        stack.enter_context(mock.patch.object(owner, name, value))
    return stack
