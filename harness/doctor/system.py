"""What would disturb a measurement on this machine: one line a topic, and what to do about it.

Reads only. Every probe of the system takes the root of the tree that holds proc and sys, so that
tests can hand in a made-up one; what cannot be read is "unknown" with the reason, never a guess.
Linux first. What only live workers can tell is in `harness/doctor/neighbours.py`. Imports no
framework.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.errors import InputError
from harness.plan.model import Plan
from harness.workers.launch import REMOVED_VARIABLES

ROOT = Path("/")
SAMPLE_S = 0.5
# A step takes about a millisecond and differences of 3 % are claimed: what takes up to 5 % of the
# processors, or makes tasks wait for so much of the time, is of the same size.
MOST_BUSY = 0.05
MOST_WAITING_PERCENT = 5.0
# Time that the hypervisor gave to others while this machine wanted it.
MOST_STOLEN = 0.02
# Runnable tasks a processor, over the last minute. What a user did just before shows there too.
MOST_LOAD = 0.2
# The workers of four frameworks hold 1.6 GB together; with a float64 process beside each twice
# that, and the parent holds the data.
LEAST_MEMORY_BYTES = 4 * 10**9
# Idle pages of services may be swapped out for ever; more than this is somebody's working set.
MOST_SWAPPED_BYTES = 100 * 10**6
# A hundred default records (5 MB each).
LEAST_RESULTS_BYTES = 500 * 10**6
# 0.1 % of a step of a millisecond.
MOST_CLOCK_NS = 1000
# Clocks that are read without a system call; and those known to be slow or coarse.
FAST_CLOCKS = (
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
    "riscv_clocksource",
)
SLOW_CLOCKS = ("hpet", "acpi_pm", "xen", "jiffies", "refined-jiffies", "pit")
# Part of the name of a variable that changes how many threads compute, where, how exactly, or by
# which code.
TELLING = re.compile(
    r"THREAD|AFFINITY|PROC_BIND|PLACES|BLOCKTIME|WAIT_POLICY|SPINCOUNT|DYNAMIC|TF32|FPMATH|"
    r"PRECISION|X64|MATMUL|FLAGS|DETERMINISTIC|ONEDNN_OPTS|MKL_OPTS|DISABLE_MKL|CORETYPE|"
    r"CPU_ISA|CBWR|INSTRUCTIONS|LAUNCH_BLOCKING|JIT|TORCHDYNAMO|TORCHINDUCTOR"
)
# Variables that workers keep although they slow a process down or change its allocator.
KEPT_VARIABLES = ("LD_PRELOAD", "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONTRACEMALLOC")
# More processors than Linux can have: a longer list is not one.
MOST_PROCESSORS = 2**16

Status = Literal["ok", "warning", "unknown"]


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One finding: what was looked at, what was found, and for a warning what to do."""

    topic: str
    value: str
    verdict: Status = "ok"
    advice: str = ""


def unknown(topic: str, why: str) -> Line:
    """A topic that this system does not tell."""
    return Line(topic, why, "unknown")


def judged(topic: str, value: str, advice: str, *, bad: bool) -> Line:
    """A warning with its advice where `bad`, else ok and no advice."""
    return Line(topic, value, "warning", advice) if bad else Line(topic, value)


# Reading and parsing. Whatever the bytes are: a value or None, never an exception.


def read(path: Path) -> str | None:
    """A file's text, stripped; None where it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8", "replace").strip()
    except (OSError, ValueError):
        return None


def parse_number(text: str | None) -> float | None:
    """A finite number in plain decimal notation."""
    if text is None or not re.fullmatch(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?", text.strip(), re.A):
        return None
    return float(text)


def parse_processors(text: str | None) -> list[int] | None:
    """A kernel's list of processors, 0-3,8: ascending; None where it is not one."""
    found: set[int] = set()
    for part in (text or "").split(","):
        match = re.fullmatch(r"\s*([0-9]{1,5})(?:-([0-9]{1,5}))?\s*", part, re.A)
        if match is None:
            return None
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < MOST_PROCESSORS:
            return None
        found.update(range(first, last + 1))
    return sorted(found)


def write_processors(processors: Iterable[int]) -> str:
    """The shortest such list: 0-3,8."""
    runs: list[list[int]] = []
    for each in sorted(set(processors)):
        if runs and each == runs[-1][1] + 1:
            runs[-1][1] = each
        else:
            runs.append([each, each])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def parse_fields(text: str | None) -> dict[str, str]:
    """Lines like "name value" or "name: value" (meminfo, cpu.stat) as a dictionary."""
    pairs = (re.split(r"[:\s]+", line.strip(), maxsplit=1) for line in (text or "").splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[0]}


def parse_kilobytes(fields: Mapping[str, str], name: str) -> int | None:
    """A field of /proc/meminfo in bytes."""
    found = parse_number(fields.get(name, "").removesuffix("kB"))
    return None if found is None else int(found) * 1024


class Ticks(msgspec.Struct, frozen=True):
    """Processor time since boot, in clock ticks: of all kinds, at work, and stolen."""

    total: float
    busy: float
    stolen: float


def parse_ticks(text: str | None) -> Ticks | None:
    """The first line of /proc/stat: user nice system idle iowait irq softirq steal ..."""
    words = (text or "").partition("\n")[0].split()
    numbers = [parse_number(word) for word in words[1:9]]
    if words[:1] != ["cpu"] or len(numbers) < 8 or None in numbers:
        return None
    counts = [number for number in numbers if number is not None]
    total, stolen = sum(counts), counts[7]
    return Ticks(total, total - counts[3] - counts[4] - stolen, stolen)


def parse_process(text: str | None) -> tuple[str, float] | None:
    """/proc/<pid>/stat: the program's name and its user and system time in clock ticks."""
    # The name stands in brackets and may itself hold brackets and blanks.
    head, bracket, tail = (text or "").rpartition(")")
    fields = tail.split()
    if not bracket or len(fields) < 13:
        return None
    user, system = parse_number(fields[11]), parse_number(fields[12])
    if user is None or system is None:
        return None
    return head.partition("(")[2], user + system


def parse_mounts(text: str | None) -> list[tuple[str, str, str, set[str]]]:
    """/proc/self/mountinfo: (root in the file system, mount point, type, super options)."""
    found = []
    for line in (text or "").splitlines():
        head, dash, tail = line.partition(" - ")
        fields, rest = head.split(), tail.split()
        if dash and len(fields) >= 5 and len(rest) >= 2:
            options = set(rest[2].split(",")) if len(rest) > 2 else set()
            found.append((_unescape(fields[3]), _unescape(fields[4]), rest[0], options))
    return found


def _unescape(text: str) -> str:
    """The octal escapes of mountinfo: 040 after a backslash is a blank."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda match: chr(int(match[1], 8)), text)


# Probes: one small function a topic.


def processors(root: Path, allowed: list[int] | None) -> Line:
    """How many processors there are and which of them this process may use."""
    online = parse_processors(read(_cpu(root) / "online"))
    if online is None:
        return unknown("processors", f"no list of them here (Python counts {os.cpu_count()})")
    siblings = _siblings(root, online)
    cores = {group for group in siblings.values() if group is not None}
    if None in siblings.values():
        how = "cores unknown"
    else:
        how = f"{len(cores)} physical {_s('core', len(cores))}, " + (
            "several threads a core" if len(cores) < len(online) else "one thread a core"
        )
    use = "unknown" if allowed is None else f"{len(allowed)} ({write_processors(allowed)})"
    return Line("processors", f"{len(online)} logical, {how}; this process may use {use}")


def worker_processors(root: Path, allowed: list[int] | None, threads: int) -> Line:
    """Whether the processors that workers get (the first ones allowed) share cores."""
    topic = "worker processors"
    if allowed is None:
        return unknown(topic, "this system pins no process to processors")
    given = allowed[:threads]
    siblings = _siblings(root, allowed)
    shown = f"{len(given)} ({write_processors(given)})"
    cores = [siblings[each] for each in given]
    if None in cores:
        return unknown(topic, f"{shown}; thread_siblings_list is not there: cores unknown")
    apart = list({siblings[each]: each for each in reversed(allowed)}.values())
    if len(apart) >= threads:
        chosen = write_processors(sorted(apart)[:threads])
        advice = f"start the harness under: taskset --cpu-list {chosen}"
    else:
        advice = f"use --threads {len(apart)}: so many cores are there"
    return judged(
        topic,
        f"{shown} on {len(set(cores))} physical {_s('core', len(set(cores)))}",
        f"two threads on one core get in each other's way; {advice}",
        bad=len(set(cores)) < len(given),
    )


def quota(root: Path, allowed: int) -> list[Line]:
    """The control group's limit on processor time, and how often it stopped the group so far."""
    topic, stops = "CPU quota", "CPU quota stops"
    folders = control_folders(root)
    if folders is None:
        why = "the control group of this process is not visible"
        return [unknown(topic, why), unknown(stops, why)]
    limits = [limit for folder in folders if (limit := _limit(folder)) is not None]
    if limits:
        least = min(limits)
        whole = math.floor(least)
        first = judged(
            topic,
            f"{least:.4g} processors' time, {allowed} may be used",
            (f"use --threads {whole} or raise" if whole >= 1 else "raise")
            + " the quota (docker --cpus, the CPU limit of the container or unit)",
            bad=least < allowed,
        )
    else:
        first = Line(topic, "none")
    counters = [parse_fields(read(folder / "cpu.stat")) for folder in folders]
    throttled = [
        n for fields in counters if (n := parse_number(fields.get("nr_throttled"))) is not None
    ]
    if not throttled:
        # The root group of cgroup v2 counts nothing, since nothing can limit it.
        counted = unknown(stops, "nr_throttled is not in cpu.stat here")
        return [first, counted if limits else Line(stops, "none: no quota")]
    most = int(max(throttled))
    return [
        first,
        judged(
            stops,
            f"stopped in {most} periods since the group was made",
            "processes here have been stopped for lack of quota: raise it, or use fewer --threads",
            bad=most > 0,
        ),
    ]


def control_folders(root: Path) -> list[Path] | None:
    """The folders of this process's CPU control group and of those above it, inmost first.

    cgroup v1 where a cpu controller is mounted, else v2; None where neither is visible.
    """
    own = read(root / "proc/self/cgroup")
    groups: dict[str, str] = {}
    for line in (own or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon and path.startswith("/"):
            groups |= dict.fromkeys(controllers.split(","), path)
    for name, kind in (("cpu", "cgroup"), ("", "cgroup2")):
        for base, point, type_, options in parse_mounts(read(root / "proc/self/mountinfo")):
            if name not in groups or type_ != kind or (name and name not in options):
                continue
            top = root / point.lstrip("/")
            below = os.path.relpath(groups[name], base or "/").split("/")
            if ".." in below:
                below = []  # a group outside what is mounted here: the mount's own is all there is
            group = top.joinpath(*below)
            inside = [group, *group.parents]
            return inside[: inside.index(top) + 1]
    return None


def _limit(folder: Path) -> float | None:
    """One group's quota in processors; None where it has none."""
    given, _, each = (read(folder / "cpu.max") or "").partition(" ")
    if not given:
        given = read(folder / "cpu.cfs_quota_us") or ""
        each = read(folder / "cpu.cfs_period_us") or ""
    quota_us, period_us = parse_number(given), parse_number(each)
    if quota_us is None or period_us is None or quota_us <= 0 or period_us <= 0:
        return None
    return quota_us / period_us


def load(root: Path, count: int) -> Line:
    """Runnable tasks over the last minute, for each processor."""
    found = parse_number(((read(root / "proc/loadavg") or "").split() or [""])[0])
    if found is None:
        return unknown("load", "no /proc/loadavg here")
    return judged(
        "load",
        f"{found:.2f} tasks over the last minute on {count} {_s('processor', count)}",
        "end what else computes here (top shows it), or wait a minute if it has just ended",
        bad=found > MOST_LOAD * count,
    )


class Sample(msgspec.Struct, frozen=True):
    """Processor time so far: of the machine, and of each process (name, ticks) by its id."""

    ticks: Ticks | None
    processes: dict[int, tuple[str, float]]


def sample(root: Path) -> Sample:
    """Who has used how much processor time until now; this process is left out."""
    found = {}
    try:
        names = os.listdir(root / "proc")
    except OSError:
        names = []
    for name in names:
        if re.fullmatch(r"[0-9]{1,10}", name, re.A) and int(name) != os.getpid():
            process = parse_process(read(root / "proc" / name / "stat"))
            if process is not None:
                found[int(name)] = process
    return Sample(parse_ticks(read(root / "proc/stat")), found)


def busy(before: Sample, after: Sample) -> list[Line]:
    """What the processors did between two samples: work (and whose), and time stolen from them."""
    topics = ("busy now", "stolen time")
    if before.ticks is None or after.ticks is None:
        return [unknown(topic, "no /proc/stat here") for topic in topics]
    total = after.ticks.total - before.ticks.total
    if total <= 0:
        return [unknown(topic, "/proc/stat did not move") for topic in topics]
    worked = max(0.0, (after.ticks.busy - before.ticks.busy) / total)
    stolen = max(0.0, (after.ticks.stolen - before.ticks.stolen) / total)
    used = {
        (name, pid): ticks - before.processes.get(pid, ("", 0.0))[1]
        for pid, (name, ticks) in after.processes.items()
    }
    top = [who for who in sorted(used, key=lambda who: -used[who])[:3] if used[who] > 0]
    whose = ", ".join(f"{who[0]} (pid {who[1]}) {used[who] / total:.0%}" for who in top)
    return [
        judged(
            topics[0],
            f"{worked:.0%} of all processors" + (f": {whose}" if whose else ""),
            "end or wait for what computes here" + (f": {top[0][0]} first" if top else ""),
            bad=worked > MOST_BUSY,
        ),
        judged(
            topics[1],
            f"{stolen:.0%} of the time was given to other machines by the hypervisor",
            "the host is overbooked: measure at another hour or on a machine of your own",
            bad=stolen > MOST_STOLEN,
        ),
    ]


def pressure(root: Path) -> Line:
    """How much of the last ten seconds some task waited for a processor."""
    text = read(root / "proc/pressure/cpu")
    match = re.search(r"^some .*?avg10=([0-9.]+)", text or "", re.M | re.A)
    found = parse_number(match[1]) if match else None
    if found is None:
        return unknown("waiting tasks", "this kernel keeps no /proc/pressure/cpu")
    return judged(
        "waiting tasks",
        f"some task waited for a processor in {found:g} % of the last 10 s",
        "more tasks than processors: end what else computes here",
        bad=found > MOST_WAITING_PERCENT,
    )


def virtual_machine(root: Path) -> Line:
    """Whether the processor says that a hypervisor runs this system (x86 only)."""
    match = re.search(r"^flags\s*:(.*)$", read(root / "proc/cpuinfo") or "", re.M)
    if match is None:
        return unknown("virtual machine", "this processor's /proc/cpuinfo has no flags")
    return judged(
        "virtual machine",
        "yes: frequency and heat are the host's affair" if _virtual(root) else "no",
        "other guests may share the cores: compare within a run, and repeat a run before you "
        "believe a difference between two",
        bad=_virtual(root),
    )


def governor(root: Path, used: list[int]) -> Line:
    """Which policy sets the processors' frequency."""
    found = {read(_cpu(root) / f"cpu{each}/cpufreq/scaling_governor") for each in used} - {None}
    names = ", ".join(sorted(name for name in found if name))
    if not names:
        return unknown("frequency governor", _no_cpufreq(root))
    return judged(
        "frequency governor",
        names,
        "set it for the measurement: cpupower frequency-set --governor performance (root)",
        bad=names != "performance",
    )


def boost(root: Path) -> Line:
    """Whether clocks above the nominal one are allowed: they follow heat and busy cores."""
    base = _cpu(root)
    for path, on in ((base / "intel_pstate/no_turbo", "0"), (base / "cpufreq/boost", "1")):
        value = read(path)
        if value in ("0", "1"):
            off = "1" if on == "0" else "0"
            return judged(
                "boost",
                "on" if value == on else "off",
                f"clocks then follow heat and neighbours; off with: echo {off} > "
                f"/{path.relative_to(root)} (root)",
                bad=value == on,
            )
    return unknown("boost", _no_cpufreq(root))


def frequency(root: Path, used: list[int]) -> Line:
    """The slowest processor's clock now, and whether its range is cut below the hardware's."""
    names = ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq")
    found = []
    for each in used:
        values = [parse_number(read(_cpu(root) / f"cpu{each}/cpufreq/{name}")) for name in names]
        if None not in values:
            found.append([value for value in values if value is not None])
    if not found:
        seen = re.search(r"^cpu MHz\s*:\s*([0-9.]+)$", read(root / "proc/cpuinfo") or "", re.M)
        said = f" (/proc/cpuinfo says {seen[1]} MHz)" if seen else ""
        return unknown("frequency", _no_cpufreq(root) + said)
    now, cap, top = (min(column) for column in zip(*found, strict=True))
    return judged(
        "frequency",
        f"{now / 1e6:.2f} GHz now (slowest), at most {cap / 1e6:.2f} of {top / 1e6:.2f} GHz",
        f"the range is cut: cpupower frequency-set --max {top / 1e6:.2f}GHz (root), or look at "
        "the power settings",
        bad=cap < top,
    )


def heat(root: Path, used: list[int]) -> Line:
    """How often heat slowed the processors down since the system was started."""
    kinds = ("core_throttle_count", "package_throttle_count")
    paths = [_cpu(root) / f"cpu{each}/thermal_throttle/{kind}" for each in used for kind in kinds]
    counts = [n for path in paths if (n := parse_number(read(path))) is not None]
    if not counts:
        why = "no thermal_throttle counters here"
        return unknown("heat", why + (" (the host's affair)" if _virtual(root) else ""))
    return judged(
        "heat",
        f"slowed down {int(max(counts))} times since the start of the system",
        "cool it, or measure in shorter runs; look again afterwards whether the count has grown",
        bad=max(counts) > 0,
    )


def memory(root: Path) -> list[Line]:
    """Memory that is free for workers, and memory that was swapped out."""
    fields = parse_fields(read(root / "proc/meminfo"))
    names = ("MemAvailable", "SwapTotal", "SwapFree")
    available, swap, swap_free = (parse_kilobytes(fields, name) for name in names)
    lines = []
    if available is None:
        lines.append(unknown("memory", "no MemAvailable in /proc/meminfo"))
    else:
        lines.append(
            judged(
                "memory",
                f"{available / 1e9:.1f} GB available on the machine",
                "close programs, or measure fewer backends at a time (--backend)",
                bad=available < LEAST_MEMORY_BYTES,
            )
        )
    if swap is None or swap_free is None:
        lines.append(unknown("swap", "no SwapTotal in /proc/meminfo"))
    else:
        lines.append(
            judged(
                "swap",
                f"{(swap - swap_free) / 1e6:.0f} MB of {swap / 1e6:.0f} MB in use",
                "free memory, then bring it back: swapoff -a && swapon -a (root)",
                bad=swap - swap_free > MOST_SWAPPED_BYTES,
            )
        )
    return lines


def huge_pages(root: Path) -> Line:
    """Whether the kernel backs memory with large pages by itself."""
    text = read(root / "sys/kernel/mm/transparent_hugepage/enabled")
    match = re.search(r"\[(\w+)\]", text or "", re.A)
    if match is None:
        return unknown("transparent huge pages", "this kernel does not tell")
    return Line("transparent huge pages", match[1])


def memory_nodes(root: Path, given: list[int]) -> Line:
    """How many NUMA nodes there are and over how many the workers' processors are spread."""
    try:
        names = sorted(os.listdir(root / "sys/devices/system/node"))
    except OSError:
        names = []
    nodes = {}
    for name in names:
        if re.fullmatch(r"node[0-9]+", name, re.A):
            nodes[name] = parse_processors(
                read(root / "sys/devices/system/node" / name / "cpulist")
            )
    if not nodes:
        return unknown("memory nodes", "this kernel does not tell")
    spread = [name for name, own in nodes.items() if own and set(own) & set(given)]
    best = max(nodes, key=lambda name: len(nodes[name] or []))
    return judged(
        "memory nodes",
        f"{len(nodes)}" + (f"; workers compute on {', '.join(spread)}" if spread else ""),
        "keep the harness on one: taskset --cpu-list " + write_processors(nodes[best] or []),
        bad=len(spread) > 1,
    )


def free_space(topic: str, folder: Path, needed: int, advice: str) -> Line:
    """Free space where `folder` is or will be; InputError where it cannot be a folder."""
    nearest = folder.absolute()
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"{topic} {folder}: {nearest} is not a directory")
    free = shutil.disk_usage(nearest).free
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Line(topic, f"{nearest} is not writable", "warning", advice)
    return judged(
        topic,
        f"{free / 1e9:.1f} GB free at {nearest}, {needed / 1e9:.1f} GB wanted",
        advice,
        bad=free < needed,
    )


def clock(read_ns: Callable[[], int], resolution_s: float, reads: int = 20_000) -> Line:
    """The clock of every figure: its nominal resolution, smallest step seen, and cost of a call."""
    times = [read_ns() for _ in range(reads)]
    steps = [b - a for a, b in itertools.pairwise(times) if b > a]
    if not steps:
        return Line("clock", "did not move", "warning", "no time can be measured with this clock")
    # The quickest of ten stretches: a pause of the whole process is no cost of the call.
    tenth = reads // 10
    cost = min(times[i + tenth - 1] - times[i] for i in range(0, reads, tenth)) / (tenth - 1)
    return judged(
        "clock",
        f"perf_counter_ns: resolution {resolution_s * 1e9:.3g} ns, smallest step seen {min(steps)} "
        f"ns, {cost:.0f} ns a call",
        "a call or a tick of over a microsecond shows in a step of a millisecond: see clock source",
        bad=max(cost, min(steps), resolution_s * 1e9) > MOST_CLOCK_NS,
    )


def clock_source(root: Path) -> Line:
    """What the kernel takes time from."""
    folder = root / "sys/devices/system/clocksource/clocksource0"
    current = read(folder / "current_clocksource")
    if not current:
        return unknown("clock source", "this kernel does not tell")
    available = (read(folder / "available_clocksource") or "").split()
    if current in FAST_CLOCKS:
        return Line("clock source", current)
    if not current.startswith(SLOW_CLOCKS):
        return Line("clock source", f"{current}: not known here", "unknown")
    better = [name for name in FAST_CLOCKS if name in available]
    advice = (
        f"echo {better[0]} > /{(folder / 'current_clocksource').relative_to(root)} (root)"
        if better
        else "no fast one is on offer (dmesg says why): time long blocks, not single steps"
    )
    return Line("clock source", f"{current}: slow to read", "warning", advice)


def variables(environment: Mapping[str, str]) -> list[Line]:
    """Variables that workers run without, and those they keep; see TELLING for what warns."""
    removed = tuple(name[:-1] for name in REMOVED_VARIABLES if name.endswith("*"))
    stripped = sorted(
        name for name in environment if name in REMOVED_VARIABLES or name.startswith(removed)
    )
    telling = [name for name in stripped if TELLING.search(name)]
    shown = [f"{name}={environment[name]}" if name in telling else name for name in stripped]
    kept = [f"{name}={environment[name]}" for name in KEPT_VARIABLES if environment.get(name)]
    return [
        judged(
            "environment",
            f"workers run without: {', '.join(shown)}" if shown else "nothing to take away",
            f"a process of your own does run with {', '.join(telling)}: unset there what should "
            "compare with times from here",
            bad=bool(telling),
        ),
        judged(
            "environment kept",
            ", ".join(kept) if kept else "nothing that slows a process down",
            "workers keep these, and they change how fast a process runs: unset them",
            bad=bool(kept),
        ),
    ]


def run_tool(words: list[str]) -> str | None:
    """What a program prints; None where it is not there, fails, or takes over ten seconds."""
    try:
        done = subprocess.run(words, capture_output=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")


GPU_FIELDS = ("name", "driver_version", "persistence_mode", "clocks.sm", "clocks.max.sm")


def gpus(tool: str | None, run: Callable[[list[str]], str | None]) -> list[Line]:
    """NVIDIA's devices as nvidia-smi tells of them; `tool`: where it is, None where it is not."""
    if tool is None:
        return [Line("GPU", "none (no nvidia-smi on PATH)")]
    form = "--format=csv,noheader,nounits"
    text = run([tool, f"--query-gpu={','.join(GPU_FIELDS)}", form])
    if text is None:
        return [unknown("GPU", "nvidia-smi failed; run it by hand to see why")]
    lines = []
    for number, row in enumerate(text.strip().splitlines()):
        cells = [cell.strip() for cell in row.split(",")]
        if len(cells) != len(GPU_FIELDS):
            lines.append(unknown(f"GPU {number}", f"nvidia-smi printed {row[:80]!r}"))
            continue
        name, driver, persistence, now, top = cells
        lines.append(
            judged(
                f"GPU {number}",
                f"{name}, driver {driver}, {now} of {top} MHz, persistence {persistence.lower()}",
                "each first use then waits for the driver to load: nvidia-smi -pm 1 (root)",
                bad=persistence.lower() == "disabled",
            )
        )
    others = run([tool, "--query-compute-apps=pid,process_name,used_memory", form])
    if others is None:
        return [*lines, unknown("GPU processes", "nvidia-smi does not tell")]
    running = [" ".join(row.split()) for row in others.strip().splitlines()]
    return [
        *lines,
        judged(
            "GPU processes",
            "; ".join(running) or "none",
            "others compute on the GPU: end them or wait",
            bad=bool(running),
        ),
    ]


def _cpu(root: Path) -> Path:
    return root / "sys/devices/system/cpu"


def _siblings(root: Path, online: Iterable[int]) -> dict[int, tuple[int, ...] | None]:
    """The processors on the same core, for each."""
    found = {}
    for each in online:
        own = parse_processors(read(_cpu(root) / f"cpu{each}/topology/thread_siblings_list"))
        found[each] = tuple(own) if own and each in own else None
    return found


def _virtual(root: Path) -> bool:
    flags = re.search(r"^flags\s*:(.*)$", read(root / "proc/cpuinfo") or "", re.M)
    return flags is not None and "hypervisor" in flags[1].split()


def _no_cpufreq(root: Path) -> str:
    return "not visible in a virtual machine" if _virtual(root) else "no such setting visible here"


def _s(word: str, count: int) -> str:
    return word if count == 1 else word + "s"


def allowed_processors() -> list[int] | None:
    """Processors that this process may use, ascending; None where the system has no affinity."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def examine_system(
    plan: Plan, results_dir: Path, root: Path = ROOT, pause: Callable[[float], None] = time.sleep
) -> list[Line]:
    """Every line that needs no worker. InputError where results_dir cannot be a folder."""
    from harness.workers.scratch import scratch_bytes

    before = sample(root)
    pause(SAMPLE_S)
    after = sample(root)
    allowed = allowed_processors()
    count = len(allowed) if allowed is not None else os.cpu_count() or 1
    online = parse_processors(read(_cpu(root) / "online"))
    used = allowed if allowed is not None else online or []
    temporary = Path(tempfile.gettempdir())
    return [
        processors(root, allowed),
        worker_processors(root, allowed, plan.threads),
        *quota(root, count),
        load(root, len(online) if online else count),
        *busy(before, after),
        pressure(root),
        virtual_machine(root),
        governor(root, used),
        boost(root),
        frequency(root, used),
        heat(root, used),
        *memory(root),
        huge_pages(root),
        memory_nodes(root, used[: plan.threads]),
        free_space(
            "results directory",
            results_dir,
            LEAST_RESULTS_BYTES,
            "free some space, or choose another --results-dir",
        ),
        free_space(
            "temporary directory",
            temporary,
            scratch_bytes(plan),
            "free some space, or set TMPDIR",
        ),
        clock(time.perf_counter_ns, time.get_clock_info("perf_counter").resolution),
        clock_source(root),
        *variables(os.environ),
        *gpus(shutil.which("nvidia-smi"), run_tool),
    ]


def describe(lines: list[Line]) -> dict[str, Any]:
    """The lines and their counts as plain data."""
    return {
        "warnings": sum(line.verdict == "warning" for line in lines),
        "unknown": sum(line.verdict == "unknown" for line in lines),
        "lines": msgspec.to_builtins(lines),
    }


def as_text(found: dict[str, Any]) -> str:
    """The same for people: a warning's advice stands below it."""
    from harness.text import clean

    text = []
    for line in found["lines"]:
        text.append(clean(f"{line['verdict']:<8} {line['topic']}: {line['value']}"))
        if line["advice"]:
            text.append(clean(f"{'':<8} -> {line['advice']}"))
    warnings = found["warnings"]
    text.append(f"{warnings or 'no'} {_s('warning', warnings)}, {found['unknown']} unknown")
    return "\n".join(text)
