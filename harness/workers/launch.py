"""Starts workers, talks to them and ends them: local processes with a command channel.

A worker runs in a session of its own. Its channel is a pair of pipes, never stdout; stdout and
stderr go straight to files. A third pipe, the lifeline, is held open by this process only: when
this process is gone, however it went, every worker ends itself and all that it started.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

import harness
from harness.interface import Array
from harness.plan.interpreters import is_own
from harness.tensors import load_tensors, save_tensors
from harness.text import plain
from harness.workers.channel import send
from harness.workers.processes import MARK, Left, belonging, descendants, end_left, started

# Variables that would change threads, precision, devices or compilation behind the plan's back.
REMOVED = re.compile(
    "(ATEN|BLIS|CUDNN|DNNL|FLAX|GOMP|GOTO|JAX|KERAS|KMP|LIBTPU|MALLOC|MKL|MXNET|NPY|NUMEXPR|OMP"
    "|ONEDNN|OPENBLAS|PYTORCH|TF|TF2|VECLIB|XLA)_.*|(CUBLAS|TORCH).*|CUDA_LAUNCH_BLOCKING"
    "|GLIBC_TUNABLES|NVIDIA_TF32_OVERRIDE|PYTHON(INSPECT|OPTIMIZE|STARTUP|WARNINGS)"
)
# What a run asks its workers.
DESK = "harness.workers.desks.timing:TimingDesk"
# How long a worker has between SIGTERM and SIGKILL.
GRACE_S = 5.0
# How often a waiting parent looks whether the worker is still alive (data wake it at once).
POLL_S = 0.05
# How long what a worker started may take to follow it; and where it was killed, or died.
LEFT_S = 2.0
KILLED_S = 0.2
# The largest answer is a block's times: some 100 kB. Whatever text is taken for the length of an
# answer announces 150 MB at least.
MOST_ANSWER = 4 * 2**20
# A worker writes an answer at once: what comes of it no further for so long was not written by it.
WHOLE_S = 10.0
# Of what a worker says of itself in a reason, so much is told.
LONGEST_REASON = 1000
STDERR_TAIL_LINES = 20
# What the frameworks and the system say when memory is short.
MEMORY_WORDS = re.compile(
    "bad_alloc|cannot allocate memory|memoryerror|not enough memory|out of memory"
    "|resource_?exhausted|unable to allocate",
    re.IGNORECASE,
)
STDERR_TAIL_BYTES = 4000


class WorkerFailed(Exception):
    """A worker crashed, hung, or answered with an error; the message is the reason, in one line."""


class WorkerRaised(WorkerFailed):
    """A worker answered with an error: it lives, and nothing is known of its state."""


class WorkerUnavailable(Exception):
    """The backend cannot run here; the message is the reason.

    `no_float64`: its device has none, which a float64 process beside a float32 one may say.
    """

    def __init__(self, reason: str, *, no_float64: bool = False) -> None:
        super().__init__(reason)
        self.no_float64 = no_float64


class _Reply(msgspec.Struct, forbid_unknown_fields=True):
    """What a worker writes: progress, or one answer: `ok` with its fields, or `error`."""

    run: str
    id: int
    progress: tuple[int, int] | None = None
    ok: dict[str, Any] | None = None
    error: str | None = None
    unavailable: bool = False
    no_float64: bool = False


def environment(
    threads: int,
    extra: dict[str, str],
    precision: str = "strict",
    python: str = "",
    scratch: Path | None = None,
) -> dict[str, str]:
    """The worker's environment: the parent's, less what is REMOVED, plus the plan's.

    `precision`: of this process (see `process_precision`). NVIDIA_TF32_OVERRIDE=0 overrules
    every setting inside the libraries, so a tf32 process goes without; oneDNN's variable is only a
    default, and torch's own setting goes before it. `python`: the worker's interpreter, where it is
    not the harness's own; it then finds the harness through `scratch`, which is needed.
    """
    kept = {name: value for name, value in os.environ.items() if not REMOVED.fullmatch(name)}
    count = str(threads)
    pinned = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), count)
    strict = {"ONEDNN_DEFAULT_FPMATH_MODE": "STRICT"}
    if precision != "tf32":
        strict["NVIDIA_TF32_OVERRIDE"] = "0"
    root = Path(harness.__file__).resolve().parent.parent
    # A worker starts in a scratch folder: a relative path would mean another place there.
    path = [os.path.abspath(p) for p in kept.pop("PYTHONPATH", "").split(os.pathsep) if p]
    if not is_own(python):
        # Nothing else that is installed here is to be found there.
        assert scratch is not None
        kept.pop("PYTHONHOME", None)
        path = [str(_shown_to_others(root, scratch))]
    elif root.name != "site-packages":
        path = [str(root), *path]  # where the harness is not installed, it must be found
    importable = {"PYTHONPATH": os.pathsep.join(path)} if path else {}
    return kept | pinned | strict | importable | {"PYTHONUNBUFFERED": "1"} | extra


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
        desk: str = DESK,
    ) -> None:
        """Start the process; no framework is imported yet.

        logs: folder for its stdout and stderr; cwd: where it works, and has its temporary files;
        desk: MODULE:CLASS, what it may be asked to do (see `harness/workers/desks/`).
        """
        self.name = name
        self._run = run
        self._next = 0
        self._pending: tuple[int, float, float] | None = None
        self.stdout, self.stderr = (logs / file for file in log_names(name))
        # Whose processes are this worker's: a name that no other worker has.
        own = secrets.token_hex(8)
        self._mark = f"{plain(run)} {own}"
        self._given, self._out = (str(cwd / f"{way}-{own}") for way in ("given", "out"))
        self._ended = False
        commands_read, self._commands = os.pipe()
        self._replies, replies_write = os.pipe()
        lifeline_read, self._lifeline = os.pipe()
        theirs = (commands_read, replies_write, lifeline_read)
        processors = (
            sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else []
        )
        config: dict[str, Any] = {"processors": processors, "run": run, "desk": desk}
        config |= zip(("commands", "replies", "lifeline"), theirs, strict=True)
        try:
            with open(self.stdout, "wb") as out, open(self.stderr, "wb") as err:
                self._process = subprocess.Popen(
                    [python, "-m", "harness.workers.guard", json.dumps(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=env | {MARK: self._mark, "TMPDIR": str(cwd)},
                    cwd=cwd,
                    pass_fds=theirs,
                    start_new_session=True,
                )
        except OSError as error:
            for descriptor in (self._commands, self._replies, self._lifeline):
                os.close(descriptor)
            at = error.filename or python
            raise WorkerFailed(f"cannot start {at}: {error.strerror}") from None
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
            if reply.run != self._run or reply.id != number:
                raise WorkerFailed(
                    f"answered for run {plain(reply.run)!r}, command {reply.id} "
                    f"instead of run {self._run!r}, command {number}"
                )
            if reply.progress is not None:
                if progress is not None:
                    progress(*reply.progress)
                continue
            if reply.ok is not None:
                return reply.ok
            error = plain(reply.error or "an answer with nothing in it", LONGEST_REASON)
            if reply.unavailable:
                raise WorkerUnavailable(error, no_float64=reply.no_float64)
            raise WorkerRaised(_name_memory(f"{self._doing}: {error}"))

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

    def exchange(
        self, do: str, timeout_s: float, given: Mapping[str, Array] | None = None, **fields: Any
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """`call` with arrays: what is `given` goes as a file, and what it writes comes as one."""
        if given is not None:
            save_tensors(self._given, given)
            fields["given"] = self._given
        Path(self._out).unlink(missing_ok=True)  # what was left there is no answer
        answer = self.call(do, timeout_s, out=self._out, **fields)
        return answer, load_tensors(self._out) if os.path.lexists(self._out) else {}

    def _receive(self, deadline: float, timeout_s: float) -> _Reply:
        late = f"{self._doing}: no answer within {timeout_s:g} s"
        size = struct.unpack("<I", self._read(4, deadline, late))[0]
        if size > MOST_ANSWER:
            raise WorkerFailed(f"{self._doing}: unreadable answer (it announces {size} bytes)")
        cut = f"{self._doing}: unreadable answer (less comes of it than it announces)"
        data = self._read(size, time.monotonic() + WHOLE_S, cut)
        try:
            return msgspec.json.decode(data, type=_Reply)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise WorkerFailed(f"{self._doing}: unreadable answer ({error})") from None

    def _read(self, size: int, deadline: float, late: str) -> bytes:
        """So many bytes of the channel; WorkerFailed, for the reason `late`, at the deadline."""
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
                raise WorkerFailed(late)
        return data

    def _raise_death(self, doing: str) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        code = self._process.poll()
        if code is None:
            raise WorkerFailed(f"{doing}: closed its channel")
        last = self.stderr_tail().strip().splitlines()[-1:]
        words = f"; last words: {plain(last[0].strip(), 300)}" if last else ""
        raise WorkerFailed(_name_memory(f"{doing}: process ended by {how_ended(code)}{words}"))

    def finish(self, timeout_s: float) -> str | None:
        """Close the channel and let the process end by itself; it must still be ended (`end`).

        None where it did, with status 0, and left no process behind; else what it did, in one line.
        """
        begun = descendants(self.pid)
        os.close(self._commands)
        self._commands = -1
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return f"the process still runs {timeout_s:g} s after its channel was closed"
        if code != 0:
            return f"the process ended by {how_ended(code)} after its channel was closed"
        deadline = time.monotonic() + LEFT_S
        while left := [pid for pid, since in begun.items() if started(pid) == since]:
            if time.monotonic() > deadline:
                for pid in left:
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
                return f"{len(left)} process(es) that it started outlived it"
            time.sleep(POLL_S)
        return None

    def end(self, *, grace_s: float = GRACE_S) -> list[Left]:
        """End the process and all that it started; what of that outlived it. Idempotent.

        The process has `grace_s` seconds between SIGTERM and SIGKILL, and what it started LEFT_S to
        follow it (KILLED_S where it died or got no grace: its group is then killed with it).
        """
        if self._ended:
            return []
        self._ended = True
        # Before its end: of what it leaves, what has no mark is nobody's afterwards.
        known, settle_s = belonging(self.pid, self._mark), KILLED_S
        if self._process.poll() is None:
            if grace_s > 0:
                settle_s = LEFT_S
                self._process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(grace_s)
                self._process.kill()
            else:
                self._kill_group()
        self._process.wait()
        left = end_left(self._mark, known, settle_s)
        self._kill_group()  # all there is to do where nothing can be found
        for descriptor in (self._commands, self._replies, self._lifeline):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._commands = self._replies = self._lifeline = -1
        return left

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def printed(self) -> tuple[int, int]:
        """Bytes of stdout and of stderr."""
        return os.path.getsize(self.stdout), os.path.getsize(self.stderr)

    def stderr_tail(self) -> str:
        """The last lines of the worker's stderr: STDERR_TAIL_LINES, of STDERR_TAIL_BYTES."""
        with open(self.stderr, "rb") as file:
            file.seek(max(0, self.printed[1] - STDERR_TAIL_BYTES))
            data = file.read(STDERR_TAIL_BYTES)
        return "\n".join(data.decode("utf-8", "replace").splitlines()[-STDERR_TAIL_LINES:])


def log_names(name: str) -> tuple[str, str]:
    """The files that a worker of this name prints to: stdout's and stderr's."""
    letters = (c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    stem = "".join(letters)[:80]
    return f"{stem}.stdout.txt", f"{stem}.stderr.txt"


def how_ended(code: int) -> str:
    """How a process ended, by its status as subprocess has it: SIGKILL for -9."""
    try:
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"
    except ValueError:
        return f"signal {-code}"


def _name_memory(reason: str) -> str:
    """Say "out of memory" first where a framework's words for it are found."""
    return f"out of memory: {reason}" if MEMORY_WORDS.search(reason) else reason
