"""What is read of this system, for the table of checks: values, or Unknown with the reason.

Whatever the bytes of a file are, nothing else is raised. The root of the tree that holds proc and
sys is given: a test hands in a made-up one. What psutil tells is not parsed here.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import psutil

from harness.doctor.lines import Unknown
from harness.errors import InputError
from harness.text import many

CPU = "sys/devices/system/cpu"
# More processors than Linux can have: a longer list is not one.
MOST_PROCESSORS = 2**16
# Clocks that are read without a system call; and those known to be slow or coarse.
FAST_CLOCKS = (
    *("tsc", "kvm-clock", "hyperv_clocksource_tsc_page"),
    *("arch_sys_counter", "riscv_clocksource"),
)
SLOW_CLOCKS = ("hpet", "acpi_pm", "xen", "jiffies", "refined-jiffies", "pit")

# Where words and advice depend on what is found: the text, whether it is bad, the advice.
Judged = tuple[str, bool, str]


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


def parse_number(text: str | None) -> float | None:
    """A finite number in plain decimal notation."""
    if text is None or not re.fullmatch(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?", text.strip(), re.A):
        return None
    return float(text)


def read_numbers(paths: Iterable[Path]) -> list[float]:
    """The numbers in those of the files that hold one."""
    return [number for path in paths if (number := parse_number(read(path))) is not None]


def parse_processors(text: str) -> list[int] | None:
    """A kernel's list of processors, 0-3,8: ascending; None where it is not one."""
    processors: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,5})(?:-([0-9]{1,5}))?\s*", part, re.A)
        if match is None:
            return None
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < MOST_PROCESSORS:
            return None
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


def siblings(root: Path, processors: Iterable[int]) -> dict[int, tuple[int, ...] | None]:
    """The processors on the same core, for each; None where the kernel does not tell."""
    cores = {}
    for each in processors:
        text = read(root / f"{CPU}/cpu{each}/topology/thread_siblings_list")
        core = parse_processors(text)
        cores[each] = tuple(core) if core and each in core else None
    return cores


def control_folders(root: Path) -> list[Path]:
    """The folders of this process's CPU control group and of those above it, inmost first.

    cgroup v1 where it has a cpu controller, else v2, where they are by custom; none where neither
    is visible.
    """
    groups: dict[str, str] = {}
    for line in read(root / "proc/self/cgroup").splitlines():
        controllers, colon, path = line.partition(":")[2].partition(":")
        if colon and path.startswith("/"):
            groups |= dict.fromkeys(controllers.split(","), path)
    for controller, place in (("cpu", "cpu"), ("cpu", "cpu,cpuacct"), ("", "unified"), ("", "")):
        top = root / "sys/fs/cgroup" / place
        if controller in groups and (controller or (top / "cgroup.controllers").exists()):
            # A group outside what is mounted here: the mount's own is all there is.
            below = [part for part in groups[controller].split("/") if part not in ("", "..")]
            group = top.joinpath(*below)
            inside = [group, *group.parents]
            folders = [folder for folder in inside[: inside.index(top) + 1] if folder.is_dir()]
            if folders:
                return folders
    return []


def quota(folder: Path) -> float | None:
    """One control group's limit in processors; None where it has none."""
    limit_us, _, period_us = read(folder / "cpu.max").partition(" ")
    if not limit_us:
        limit_us = read(folder / "cpu.cfs_quota_us")
        period_us = read(folder / "cpu.cfs_period_us")
    limit, period = parse_number(limit_us), parse_number(period_us)
    return limit / period if limit and period and min(limit, period) > 0 else None


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


def allowed_processors() -> list[int] | None:
    """Processors that this process may use, ascending; None where the system has no affinity."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


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
    def online(self) -> list[int]:
        """Processors that the kernel uses, ascending; empty where it does not tell."""
        return parse_processors(read(self.root / CPU / "online")) or []

    @property
    def used(self) -> list[int]:
        """Those that this process may use, or all."""
        return self.online if self.allowed is None else self.allowed

    def each_cpu(self, *names: str) -> list[Path]:
        """These files of every processor that is used."""
        return [self.root / f"{CPU}/cpu{each}" / name for each in self.used for name in names]

    def first(self, path: str, pattern: str, why: str) -> str:
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
        where = (
            "not visible in a virtual machine" if self.virtual else "no such setting visible here"
        )
        raise Unknown(where + more)


def processors(system: System) -> tuple[int, str, str]:
    """How many there are, on how many cores, and which of them this process may use."""
    logical, cores = psutil.cpu_count() or 1, psutil.cpu_count(logical=False)
    how = "cores unknown"
    if cores:
        shared = "several threads" if cores < logical else "one thread"
        how = f"{many(cores, 'physical core')}, {shared} a core"
    allowed = system.allowed
    use = "unknown" if allowed is None else f"{len(allowed)} ({write_processors(allowed)})"
    return logical, how, use


def worker_processors(system: System) -> Judged:
    """Whether the processors that workers get (the first ones allowed) share cores."""
    if system.allowed is None:
        raise Unknown("this system pins no process to processors")
    chosen, cores = system.allowed[: system.threads], siblings(system.root, system.allowed)
    shown = f"{len(chosen)} ({write_processors(chosen)})"
    used = {cores[each] for each in chosen}
    if None in used:
        raise Unknown(f"{shown}; thread_siblings_list is not there: cores unknown")
    apart = list({cores[each]: each for each in reversed(system.allowed)}.values())
    way = f"use --threads {len(apart)}: so many cores are there"
    if len(apart) >= system.threads:
        first = write_processors(sorted(apart)[: system.threads])
        way = f"start the harness under: taskset --cpu-list {first}"
    advice = f"two threads on one core get in each other's way; {way}"
    return f"{shown} on {many(len(used), 'physical core')}", len(used) < len(chosen), advice


def cpu_quota(system: System) -> Judged:
    """The control groups' limit on processor time."""
    folders = _control_folders(system)
    limits = [limit for folder in folders if (limit := quota(folder)) is not None]
    if not limits:
        return "none", False, ""
    least, allowed = min(limits), len(system.used) or psutil.cpu_count() or 1
    way = f"use --threads {math.floor(least)} or raise" if least >= 1 else "raise"
    advice = f"{way} the quota (docker --cpus, the CPU limit of the container or unit)"
    return f"{least:.4g} processors' time, {allowed} may be used", least < allowed, advice


def quota_stops(system: System) -> Judged:
    """How often the quota stopped the processes here so far."""
    folders = _control_folders(system)
    counts = (find(folder / "cpu.stat", r"^nr_throttled[:\s]+(.*)$") for folder in folders)
    stops = [number for count in counts if (number := parse_number(count)) is not None]
    if not stops:
        # The root group of cgroup v2 counts nothing, since nothing can limit it.
        if any(quota(folder) is not None for folder in folders):
            raise Unknown("nr_throttled is not in cpu.stat here")
        return "none: no quota", False, ""
    return (
        f"stopped in {int(max(stops))} periods since the group was made",
        max(stops) > 0,
        "processes here have been stopped for lack of quota: raise it, or use fewer --threads",
    )


def _control_folders(system: System) -> list[Path]:
    if folders := control_folders(system.root):
        return folders
    raise Unknown("the control group of this process is not visible")


def busy(system: System) -> tuple[float, str, str]:
    """Per cent of the processors that is at work, whose it is, and whose most."""
    work = _work(system)
    most = [who for who in work.most if who[0] > 0]
    whose = ", ".join(f"{name} (pid {pid}) {percent:.0f}%" for percent, name, pid in most)
    first = f": {most[0][1]} first" if most else ""
    return work.busy, f": {whose}" if whose else "", first


def stolen(system: System) -> tuple[float]:
    """Per cent of the time that the hypervisor gave to other machines."""
    return (_work(system).stolen,)


def _work(system: System) -> Work:
    if system.work is None:
        raise Unknown("this system counts no processor time")
    return system.work


def governor(system: System) -> tuple[str]:
    """Which policies set the processors' frequency."""
    policies = {read(path) for path in system.each_cpu("cpufreq/scaling_governor")} - {""}
    return (", ".join(sorted(policies)) or system.hidden(),)


def boost(system: System) -> tuple[str, str, str]:
    """Whether clocks above the nominal one are allowed; what to write where against it."""
    for name, on, off in (("intel_pstate/no_turbo", "0", "1"), ("cpufreq/boost", "1", "0")):
        value = read(system.root / CPU / name)
        if value in (on, off):
            return "on" if value == on else "off", off, f"/{CPU}/{name}"
    return system.hidden()


def frequency(system: System) -> tuple[float, float, float]:
    """GHz of the slowest processor: now, at most as it is set, and at most as it could be."""
    names = ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq")
    columns = [read_numbers(system.each_cpu(f"cpufreq/{name}")) for name in names]
    if not all(columns):
        seen = find(system.root / "proc/cpuinfo", r"^cpu MHz\s*:\s*([0-9.]+)$")
        system.hidden(f" (/proc/cpuinfo says {seen} MHz)" if seen else "")
    now, cap, top = (min(kilohertz) / 1e6 for kilohertz in columns)
    return now, cap, top


def heat(system: System) -> tuple[int]:
    """How often heat slowed the processors down since the system was started."""
    kinds = ("thermal_throttle/core_throttle_count", "thermal_throttle/package_throttle_count")
    counts = read_numbers(system.each_cpu(*kinds))
    if not counts:
        host = " (the host's affair)" if system.virtual else ""
        raise Unknown(f"no thermal_throttle counters here{host}")
    return (int(max(counts)),)


def memory_nodes(system: System) -> Judged:
    """How many NUMA nodes there are and over how many the workers' processors are spread."""
    nodes: dict[str, list[int]] = {
        path.name: parse_processors(read(path / "cpulist")) or []
        for path in sorted(system.root.glob("sys/devices/system/node/node*"))
        if re.fullmatch(r"node[0-9]+", path.name, re.A)
    }
    if not nodes:
        raise Unknown("this kernel does not tell")
    chosen = set(system.used[: system.threads])
    spread = [name for name, own in nodes.items() if chosen & set(own)]
    text = f"{len(nodes)}" + (f"; workers compute on {', '.join(spread)}" if spread else "")
    largest = max(nodes.values(), key=len)
    advice = f"keep the harness on one: taskset --cpu-list {write_processors(largest)}"
    return text, len(spread) > 1, advice


def free_space(topic: str, folder: Path, needed: int) -> tuple[str, bool]:
    """Free space where `folder` is or will be; InputError where it cannot be a folder."""
    nearest = folder.absolute()
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"{topic} {folder}: {nearest} is not a directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"{nearest} is not writable", True
    free = shutil.disk_usage(nearest).free
    return f"{free / 1e9:.1f} GB free at {nearest}, {needed / 1e9:.1f} GB wanted", free < needed


def clock_source(system: System) -> Judged:
    """What the kernel takes time from."""
    folder = "sys/devices/system/clocksource/clocksource0"
    current = read(system.root / folder / "current_clocksource")
    if not current:
        raise Unknown("this kernel does not tell")
    if current in FAST_CLOCKS:
        return current, False, ""
    if not current.startswith(SLOW_CLOCKS):
        raise Unknown(f"{current}: not known here")
    available = read(system.root / folder / "available_clocksource").split()
    better = [name for name in FAST_CLOCKS if name in available]
    advice = "no fast one is on offer (dmesg says why): time long blocks, not single steps"
    if better:
        advice = f"echo {better[0]} > /{folder}/current_clocksource (root)"
    return f"{current}: slow to read", True, advice
