"""What is read of this system, for the checks: files of proc and sys, and what psutil counts.

Whatever the bytes of a file are, nothing but Unknown is raised. The root of the tree that holds
proc and sys is given: a test hands in a made-up one.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import psutil

from harness.doctor.lines import Unknown

CPU = "sys/devices/system/cpu"
# More processors than Linux can have: a longer list is not one.
MOST_PROCESSORS = 2**16


def read(path: Path) -> str:
    """A file's text, stripped; "" where it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8", "replace").strip()
    except (OSError, ValueError):
        return ""


def find(path: Path, pattern: str) -> str | None:
    """What the first group of `pattern` matches in a file; None where it does not."""
    match = re.search(pattern, read(path), re.M | re.A)
    return match[1] if match else None


def numbers(texts: Iterable[str | None]) -> list[float]:
    """The finite numbers, in plain decimal notation, among some texts."""
    form = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?", re.A)
    return [float(text) for text in texts if text is not None and form.fullmatch(text.strip())]


def parse_processors(text: str) -> list[int]:
    """A kernel's list of processors, 0-3,8: ascending; none where it is not one."""
    processors: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,5})(?:-([0-9]{1,5}))?\s*", part, re.A)
        if match is None:
            return []
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < MOST_PROCESSORS:
            return []
        processors.update(range(first, last + 1))
    return sorted(processors)


def write_processors(processors: Iterable[int]) -> str:
    """The shortest such list: 0-3,8."""
    stretches: list[list[int]] = []
    for each in sorted(set(processors)):
        if stretches and each == stretches[-1][1] + 1:
            stretches[-1][1] = each
        else:
            stretches.append([each, each])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in stretches)


class Work(NamedTuple):
    """What the processors did for a while: per cent at work and stolen; who most, in per cent."""

    busy: float
    stolen: float
    most: list[tuple[float, str, int]]  # per cent of all processors, name, process id

    @classmethod
    def seen(cls, seconds: float) -> Work | None:
        """That of the next seconds, without this process; None where no processor time is counted.

        (psutil then has 0 for every kind, idle included.)
        """
        others = [process for process in psutil.process_iter() if process.pid != os.getpid()]
        for process in others:
            with contextlib.suppress(psutil.Error):
                process.cpu_percent()  # starts its count
        times = psutil.cpu_times_percent(seconds)._asdict()
        if not any(times.values()):
            return None
        used = []
        for process in others:
            with contextlib.suppress(psutil.Error):
                percent = process.cpu_percent() / (psutil.cpu_count() or 1)
                used.append((percent, process.name(), process.pid))
        busy = sum(times.get(kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq"))
        return cls(busy, times.get("steal", 0.0), sorted(used, reverse=True)[:3])


IDLE = Work(busy=0.0, stolen=0.0, most=[])


@dataclass(frozen=True)
class System:
    """What is looked at.

    root: the tree that holds proc and sys. allowed: processors that this process may use, ascending
    (None: not told). threads: what each worker gets. scratch_bytes: what a run needs in the
    temporary directory. work: what the processors do just now; None: the system does not count it.
    """

    root: Path = Path("/")
    allowed: list[int] | None = None
    threads: int = 1
    results_dir: Path = Path("results")
    scratch_bytes: int = 0
    work: Work | None = IDLE

    @property
    def used(self) -> list[int]:
        """The processors that this process may use, or all that the kernel uses, ascending."""
        online = parse_processors(read(self.root / CPU / "online"))
        return online if self.allowed is None else self.allowed

    def each_cpu(self, *names: str) -> list[str]:
        """What these files of every processor that is used hold."""
        folders = [self.root / f"{CPU}/cpu{each}" for each in self.used]
        return [read(folder / name) for folder in folders for name in names]

    def first(self, path: str, pattern: str, why: str = "this kernel does not tell") -> str:
        """What the first group of `pattern` matches in a file; else Unknown for this reason."""
        if (match := find(self.root / path, pattern)) is None:
            raise Unknown(why)
        return match

    @property
    def virtual(self) -> bool:
        """Whether the processor says that a hypervisor runs this system (x86 only)."""
        flags = find(self.root / "proc/cpuinfo", r"^flags\s*:(.*)$")
        return "hypervisor" in (flags or "").split()

    def hidden(self, more: str = "") -> NoReturn:
        """Raise Unknown: why a setting of the processors' frequency is not there."""
        where = "not visible in a virtual machine"
        raise Unknown((where if self.virtual else "no such setting visible here") + more)

    @property
    def cores(self) -> dict[int, tuple[int, ...]]:
        """By processor that is used those on its core; () where the kernel does not tell."""
        cores = {}
        for each in self.used:
            text = read(self.root / f"{CPU}/cpu{each}/topology/thread_siblings_list")
            core = tuple(parse_processors(text))
            cores[each] = core if each in core else ()
        return cores

    @property
    def control_groups(self) -> list[Path]:
        """The folders of this process's CPU control group and of those above it, inmost first.

        cgroup v1 where it has a cpu controller, else v2, where they are by custom; Unknown where
        neither is visible.
        """
        groups: dict[str, str] = {}
        for line in read(self.root / "proc/self/cgroup").splitlines():
            controllers, colon, path = line.partition(":")[2].partition(":")
            if colon and path.startswith("/"):
                groups |= dict.fromkeys(controllers.split(","), path)
        places = (("cpu", "cpu"), ("cpu", "cpu,cpuacct"), ("", "unified"), ("", ""))
        for controller, place in places:
            top = self.root / "sys/fs/cgroup" / place
            if controller in groups and (controller or os.path.exists(top / "cgroup.controllers")):
                # A group outside what is mounted here: the mount's own is all there is.
                below = [part for part in groups[controller].split("/") if part not in ("", "..")]
                group = top.joinpath(*below)
                inside = [group, *group.parents]
                folders = [each for each in inside[: inside.index(top) + 1] if os.path.isdir(each)]
                if folders:
                    return folders
        raise Unknown("the control group of this process is not visible")

    @property
    def quotas(self) -> list[float]:
        """The limits of these groups, in processors; of one without a limit none."""
        quotas = []
        for folder in self.control_groups:
            words = read(folder / "cpu.max").split() or [
                read(folder / "cpu.cfs_quota_us"),
                read(folder / "cpu.cfs_period_us"),
            ]
            match numbers(words[:2]):
                case [limit, period] if min(limit, period) > 0:
                    quotas.append(limit / period)
        return quotas
