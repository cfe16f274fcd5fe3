"""Starts workers, talks to them and ends them: local processes with a command channel.

A worker runs in a session of its own. Its channel is a pair of pipes, never stdout; stdout and
stderr go straight to files. A third pipe, the lifeline, is held open by this process only: when
this process is gone, however it went, every worker ends its process group.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from harness.exchange import send
from harness.interpreters import is_own

# Variables that would change threads, precision, devices or compilation behind the plan's back.
REMOVED_VARIABLES = (
    "ATEN_*",
    "BLIS_*",
    "CUBLAS*",
    "CUDA_LAUNCH_BLOCKING",
    "CUDNN_*",
    "DNNL_*",
    "FLAX_*",
    "GLIBC_TUNABLES",
    "GOMP_*",
    "GOTO_*",
    "JAX_*",
    "KERAS_*",
    "KMP_*",
    "LIBTPU_*",
    "MALLOC_*",
    "MKL_*",
    "NPY_*",
    "NUMEXPR_*",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_*",
    "ONEDNN_*",
    "OPENBLAS_*",
    "PYTHONINSPECT",
    "PYTHONOPTIMIZE",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
    "PYTORCH_*",
    "TF2_*",
    "TF_*",
    "TORCH*",
    "VECLIB_*",
    "XLA_*",
)
# How long a worker has between SIGTERM and SIGKILL.
GRACE_S = 5.0
# How often a waiting parent looks whether the worker is still alive (data wake it at once).
POLL_S = 0.05
STDERR_TAIL_LINES = 20
# What the frameworks and the system say when memory is short.
MEMORY_WORDS = (
    "bad_alloc",
    "cannot allocate memory",
    "memoryerror",
    "not enough memory",
    "out of memory",
    "resource_exhausted",
    "resourceexhausted",
    "unable to allocate",
)
STDERR_TAIL_BYTES = 4000


class WorkerFailed(Exception):
    """A worker crashed, hung, or answered with an error; the message is the reason, in one line."""


class WorkerUnavailable(Exception):
    """The backend cannot run here; the message is the reason.

    `no_float64`: its device has none, which a float64 process beside a float32 one may say.
    """

    def __init__(self, reason: str, *, no_float64: bool = False) -> None:
        super().__init__(reason)
        self.no_float64 = no_float64


def environment(
    threads: int,
    extra: dict[str, str],
    precision: str = "strict",
    python: str = "",
    scratch: Path | None = None,
) -> dict[str, str]:
    """The worker's environment: the parent's, less REMOVED_VARIABLES, plus the plan's.

    `precision`: of this process (see `plan.process_precision`). NVIDIA_TF32_OVERRIDE=0 overrules
    every setting inside the libraries, so a tf32 process goes without; oneDNN's variable is only a
    default, and torch's own setting goes before it. `python`: the worker's interpreter, where it is
    not the harness's own; it then finds the harness through `scratch`, which is needed.
    """
    removed = tuple(name[:-1] for name in REMOVED_VARIABLES if name.endswith("*"))
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in REMOVED_VARIABLES and not name.startswith(removed)
    }
    count = str(threads)
    pinned = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), count)
    strict = {"ONEDNN_DEFAULT_FPMATH_MODE": "STRICT"}
    if precision != "tf32":
        strict["NVIDIA_TF32_OVERRIDE"] = "0"
    root = Path(__file__).resolve().parent.parent
    # A worker starts in a scratch folder: a relative path would mean another place there.
    path = [os.path.abspath(p) for p in kept.pop("PYTHONPATH", "").split(os.pathsep) if p]
    if not is_own(python):
        # Nothing else that is installed here is to be found there.
        assert scratch is not None
        kept.pop("PYTHONHOME", None)
        path = [str(_shown_to_others(root, scratch))]
    elif root.name != "site-packages":
        path = [str(root), *path]  # where the harness is not installed, it must be found
    found = {"PYTHONPATH": os.pathsep.join(path)} if path else {}
    return kept | pinned | strict | found | {"PYTHONUNBUFFERED": "1"} | extra


def _shown_to_others(root: Path, scratch: Path) -> Path:
    """A folder with links to the harness's packages, and no other package beside them."""
    folder = scratch / "packages"
    folder.mkdir(exist_ok=True)
    for name in ("harness", "backends"):
        with contextlib.suppress(FileExistsError):
            (folder / name).symlink_to(root / name, target_is_directory=True)
    return folder


class Worker:
    """One live worker process and the parent's ends of its channel."""

    def __init__(
        self,
        name: str,
        run: str,
        python: str,
        env: dict[str, str],
        threads: int,
        logs: Path,
        cwd: Path,
    ) -> None:
        """Start the process; it imports nothing yet. `logs`: folder for its stdout and stderr."""
        self.name = name
        self._run = run
        self._next = 0
        self._pending: tuple[int, float, float] | None = None
        plain = (c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
        stem = "".join(plain)[:80]
        self.stdout = logs / f"{stem}.stdout.txt"
        self.stderr = logs / f"{stem}.stderr.txt"
        commands_read, self._commands = os.pipe()
        self._replies, replies_write = os.pipe()
        lifeline_read, self._lifeline = os.pipe()
        theirs = (commands_read, replies_write, lifeline_read)
        processors = (
            sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else []
        )
        config = {
            "commands": commands_read,
            "replies": replies_write,
            "lifeline": lifeline_read,
            "processors": processors,
            "run": run,
        }
        try:
            with open(self.stdout, "wb") as out, open(self.stderr, "wb") as err:
                self._process = subprocess.Popen(
                    [python, "-m", "harness.guard", json.dumps(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=env,
                    cwd=cwd,
                    pass_fds=theirs,
                    start_new_session=True,
                )
        except OSError as error:
            for descriptor in (self._commands, self._replies, self._lifeline):
                os.close(descriptor)
            raise WorkerFailed(f"cannot start {python}: {error.strerror}") from None
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    @property
    def pid(self) -> int:
        """Process id, which is also its session and process group."""
        return self._process.pid

    def ask(self, do: str, timeout_s: float, **fields: Any) -> None:
        """Send a command without waiting for its answer (see `answer`)."""
        self._next += 1
        message = msgspec.json.encode({"id": self._next, "do": do} | fields)
        try:
            send(self._commands, message)
        except OSError:
            self._raise_death(do)
        self._pending = (self._next, time.monotonic() + timeout_s, timeout_s)
        self._doing = do

    def answer(self, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
        """The answer to the last command.

        Raises WorkerFailed (death, time-out, error, an answer for another run or command) or
        WorkerUnavailable; after WorkerFailed the worker is of no more use and must be ended.
        """
        assert self._pending is not None
        number, deadline, timeout_s = self._pending
        while True:
            reply = self._receive(deadline, timeout_s)
            if reply.get("run") != self._run or reply.get("id") != number:
                raise WorkerFailed(
                    f"answered for run {reply.get('run')!r}, command {reply.get('id')!r} "
                    f"instead of run {self._run!r}, command {number}"
                )
            if "progress" in reply:
                if progress is not None:
                    progress(*reply["progress"])
                continue
            if "ok" in reply:
                result: dict[str, Any] = reply["ok"]
                return result
            error = str(reply.get("error"))
            if reply.get("unavailable"):
                raise WorkerUnavailable(error, no_float64=bool(reply.get("no_float64")))
            raise WorkerFailed(_name_memory(f"{self._doing}: {error}"))

    def has_answered(self) -> bool:
        """Whether an answer (or the worker's end) is waiting to be read."""
        return bool(select.select([self._replies], [], [], 0)[0])

    def call(
        self,
        do: str,
        timeout_s: float,
        progress: Callable[[int, int], None] | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """`ask`, then `answer`."""
        self.ask(do, timeout_s, **fields)
        return self.answer(progress)

    def _receive(self, deadline: float, timeout_s: float) -> dict[str, Any]:
        size = struct.unpack("<I", self._read(4, deadline, timeout_s))[0]
        data = self._read(size, deadline, timeout_s)
        try:
            reply: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WorkerFailed(f"{self._doing}: unreadable answer ({error})") from None
        return reply

    def _read(self, size: int, deadline: float, timeout_s: float) -> bytes:
        data = b""
        while len(data) < size:
            ready, _, _ = select.select([self._replies], [], [], POLL_S)
            if ready:
                piece = os.read(self._replies, size - len(data))
                if not piece:
                    self._raise_death(self._doing)
                data += piece
            elif self._process.poll() is not None:
                # A child of the worker may hold the pipe open: end of file never comes then.
                self._raise_death(self._doing)
            elif time.monotonic() > deadline:
                raise WorkerFailed(f"{self._doing}: no answer within {timeout_s:g} s")
        return data

    def _raise_death(self, doing: str) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        code = self._process.poll()
        if code is None:
            raise WorkerFailed(f"{doing}: closed its channel")
        how = signal_name(-code) if code < 0 else f"exit status {code}"
        last = self.stderr_tail().strip().splitlines()[-1:]
        said = f"; last words: {last[0].strip()[:300]}" if last else ""
        raise WorkerFailed(_name_memory(f"{doing}: process ended by {how}{said}"))

    def end(self, *, grace_s: float = GRACE_S) -> None:
        """End the process and everything in its group: SIGTERM, then SIGKILL. Idempotent."""
        if self._process.poll() is None and grace_s > 0:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        # Always: children in the group may outlive the worker.
        self._signal(signal.SIGKILL)
        self._process.wait()
        for descriptor in (self._commands, self._replies, self._lifeline):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._commands = self._replies = self._lifeline = -1

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def stderr_tail(self) -> str:
        """The last lines of the worker's stderr."""
        return tail(self.stderr)


def tail(path: Path) -> str:
    """The last STDERR_TAIL_LINES lines of a file, at most STDERR_TAIL_BYTES of it."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - STDERR_TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-STDERR_TAIL_LINES:])


def signal_name(number: int) -> str:
    """The name of a signal: SIGKILL for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _name_memory(reason: str) -> str:
    """Say "out of memory" first where a framework's words for it are found."""
    found = any(words in reason.lower() for words in MEMORY_WORDS)
    return f"out of memory: {reason}" if found else reason
