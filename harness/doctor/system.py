"""What would disturb a measurement on this machine: a table of checks, one line each.

Reads only. A check gives what is found, and what to do about it ("" where nothing is wrong); what
cannot be read is Unknown with the reason, never a guess. Linux first. The figures are about a step,
which takes about a millisecond, and differences of 3 % of it. What only live workers can tell is in
`harness/doctor/neighbours.py`. Imports no framework.
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
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from harness.doctor.lines import Line, Unknown, told, unknown
from harness.doctor.readings import (
    CPU,
    System,
    Work,
    find,
    numbers,
    parse_processors,
    read,
    write_processors,
)
from harness.files import nearest_folder
from harness.plan.model import Plan
from harness.text import many
from harness.workers.launch import REMOVED
from harness.workers.scratch import scratch_bytes

SAMPLE_S = 0.5
# A hundred default records (5 MB each).
LEAST_RESULTS_BYTES = 500 * 10**6
PRESSURE, HUGE_PAGES = "proc/pressure/cpu", "sys/kernel/mm/transparent_hugepage/enabled"
# Clocks that are read without a system call; and those known to be slow or coarse.
FAST_CLOCKS = (
    *("tsc", "kvm-clock", "hyperv_clocksource_tsc_page"),
    *("arch_sys_counter", "riscv_clocksource"),
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
GPU_FIELDS = ("name", "driver_version", "persistence_mode", "clocks.sm", "clocks.max.sm")

Found = tuple[str, str]


def processors(system: System) -> Found:
    """How many there are, on how many cores, and which of them this process may use."""
    logical, cores = psutil.cpu_count() or 1, psutil.cpu_count(logical=False)
    how = "cores unknown"
    if cores:
        shared = "several threads" if cores < logical else "one thread"
        how = f"{many(cores, 'physical core')}, {shared} a core"
    allowed = system.allowed
    use = "unknown" if allowed is None else f"{len(allowed)} ({write_processors(allowed)})"
    return f"{logical} logical, {how}; this process may use {use}", ""


def worker_processors(system: System) -> Found:
    """Whether the processors that workers get (the first ones allowed) share cores."""
    if system.allowed is None:
        raise Unknown("this system pins no process to processors")
    chosen, cores = system.allowed[: system.threads], system.cores
    shown = f"{len(chosen)} ({write_processors(chosen)})"
    used = {cores[each] for each in chosen}
    if () in used:
        raise Unknown(f"{shown}; thread_siblings_list is not there: cores unknown")
    apart = list({cores[each]: each for each in reversed(system.allowed)}.values())
    way = f"use --threads {len(apart)}: so many cores are there"
    if len(apart) >= system.threads:
        first = write_processors(sorted(apart)[: system.threads])
        way = f"start the harness under: taskset --cpu-list {first}"
    advice = f"two threads on one core get in each other's way; {way}"
    shown += f" on {many(len(used), 'physical core')}"
    return shown, advice if len(used) < len(chosen) else ""


def cpu_quota(system: System) -> Found:
    """The control groups' limit on processor time."""
    if not (limits := system.quotas):
        return "none", ""
    least, allowed = min(limits), len(system.used) or psutil.cpu_count() or 1
    way = f"use --threads {math.floor(least)} or raise" if least >= 1 else "raise"
    advice = f"{way} the quota (docker --cpus, the CPU limit of the container or unit)"
    shown = f"{least:.4g} processors' time, {allowed} may be used"
    return shown, advice if least < allowed else ""


def cpu_quota_stops(system: System) -> Found:
    """How often the quota stopped the processes here so far."""
    pattern = r"^nr_throttled[:\s]+(.*)$"
    stops = numbers(find(folder / "cpu.stat", pattern) for folder in system.control_groups)
    if not stops:
        # The root group of cgroup v2 counts nothing, since nothing can limit it.
        if system.quotas:
            raise Unknown("nr_throttled is not in cpu.stat here")
        return "none: no quota", ""
    advice = "processes here have been stopped for lack of quota: raise it, or use fewer --threads"
    shown = f"stopped in {int(max(stops))} periods since the group was made"
    return shown, advice if max(stops) > 0 else ""


def load(_: System) -> Found:
    """Runnable tasks, of which what a user did just before leaves some."""
    tasks, count = os.getloadavg()[0], psutil.cpu_count() or 1
    advice = "end what else computes here (top shows it), or wait a minute if it has just ended"
    shown = f"{tasks:.2f} tasks over the last minute on {many(count, 'processor')}"
    return shown, advice if tasks > 0.2 * count else ""


def busy_now(system: System) -> Found:
    """Whose the processors are; what takes up to 5 % of them is of the size of what is claimed."""
    work = counted_work(system)
    most = [who for who in work.most if who[0] > 0]
    whose = ", ".join(f"{name} (pid {pid}) {percent:.0f}%" for percent, name, pid in most)
    shown = f"{work.busy:.0f}% of all processors{f': {whose}' if whose else ''}"
    first = f": {most[0][1]} first" if most else ""
    return shown, f"end or wait for what computes here{first}" if work.busy > 5 else ""


def stolen_time(system: System) -> Found:
    """The time that the hypervisor gave to other machines."""
    percent = counted_work(system).stolen
    shown = f"{percent:.0f}% of the time was given to other machines by the hypervisor"
    advice = "the host is overbooked: measure at another hour or on a machine of your own"
    return shown, advice if percent > 2 else ""


def counted_work(system: System) -> Work:
    """What the processors do; Unknown where that is not counted."""
    if system.work is None:
        raise Unknown("this system counts no processor time")
    return system.work


def waiting_tasks(system: System) -> Found:
    """Per cent of the last ten seconds in which some task waited for a processor."""
    pattern = r"^some .*?avg10=([0-9]{1,9}(?:\.[0-9]{1,9})?)\b"
    percent = float(system.first(PRESSURE, pattern, f"this kernel keeps no /{PRESSURE}"))
    shown = f"some task waited for a processor in {percent:g} % of the last 10 s"
    advice = "more tasks than processors: end what else computes here"
    return shown, advice if percent > 5 else ""


def virtual_machine(system: System) -> Found:
    """Whether other machines share the processors."""
    system.first("proc/cpuinfo", r"^(flags)\s*:", "this processor's /proc/cpuinfo has no flags")
    if not system.virtual:
        return "no", ""
    return "yes: frequency and heat are the host's affair", (
        "other guests may share the cores: compare within a run, and repeat a run before you "
        "believe a difference between two"
    )


def frequency_governor(system: System) -> Found:
    """Which policies set the processors' frequency."""
    policies = {*system.each_cpu("cpufreq/scaling_governor")} - {""}
    shown = ", ".join(sorted(policies)) or system.hidden()
    advice = "set it for the measurement: cpupower frequency-set --governor performance (root)"
    return shown, advice if shown != "performance" else ""


def boost(system: System) -> Found:
    """Whether clocks above the nominal one are allowed."""
    for name, on, off in (("intel_pstate/no_turbo", "0", "1"), ("cpufreq/boost", "1", "0")):
        value = read(system.root / CPU / name)
        if value in (on, off):
            way = f"echo {off} > /{CPU}/{name} (root)"
            advice = f"clocks then follow heat and neighbours; off with: {way}"
            return ("on", advice) if value == on else ("off", "")
    return system.hidden()


def frequency(system: System) -> Found:
    """GHz of the slowest processor: now, at most as it is set, and at most as it could be."""
    names = ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq")
    columns = [numbers(system.each_cpu(f"cpufreq/{name}")) for name in names]
    if not all(columns):
        seen = find(system.root / "proc/cpuinfo", r"^cpu MHz\s*:\s*([0-9.]+)$")
        system.hidden(f" (/proc/cpuinfo says {seen} MHz)" if seen else "")
    now, cap, top = (min(kilohertz) / 1e6 for kilohertz in columns)
    way = f"cpupower frequency-set --max {top:.2f}GHz (root), or look at the power settings"
    shown = f"{now:.2f} GHz now (slowest), at most {cap:.2f} of {top:.2f} GHz"
    return shown, f"the range is cut: {way}" if cap < top else ""


def heat(system: System) -> Found:
    """How often heat slowed the processors down since the system was started."""
    kinds = ("thermal_throttle/core_throttle_count", "thermal_throttle/package_throttle_count")
    if not (counts := numbers(system.each_cpu(*kinds))):
        host = " (the host's affair)" if system.virtual else ""
        raise Unknown(f"no thermal_throttle counters here{host}")
    shown = f"slowed down {int(max(counts))} times since the start of the system"
    advice = (
        "cool it, or measure in shorter runs; look again afterwards whether the count has grown"
    )
    return shown, advice if max(counts) > 0 else ""


def memory(_: System) -> Found:
    """Free memory.

    The workers of four frameworks hold 1.6 GB together; with a float64 process beside each twice
    that, and the parent holds the data.
    """
    gigabytes = psutil.virtual_memory().available / 1e9
    advice = "close programs, or measure fewer backends at a time (--backend)"
    return f"{gigabytes:.1f} GB available on the machine", advice if gigabytes < 4 else ""


def swap(_: System) -> Found:
    """Idle pages of services may be swapped out for ever; more is somebody's working set."""
    total, used = (number / 1e6 for number in psutil.swap_memory()[:2])
    advice = "free memory, then bring it back: swapoff -a && swapon -a (root)"
    return f"{used:.0f} MB of {total:.0f} MB in use", advice if used > 100 else ""


def transparent_huge_pages(system: System) -> Found:
    """Which policy is chosen."""
    return system.first(HUGE_PAGES, r"\[(\w+)\]"), ""


def memory_nodes(system: System) -> Found:
    """How many NUMA nodes there are and over how many the workers' processors are spread."""
    nodes: dict[str, list[int]] = {
        path.name: parse_processors(read(path / "cpulist"))
        for path in sorted(system.root.glob("sys/devices/system/node/node*"))
        if re.fullmatch(r"node[0-9]+", path.name, re.A)
    }
    if not nodes:
        raise Unknown("this kernel does not tell")
    chosen = {*system.used[: system.threads]}
    spread = [name for name, own in nodes.items() if chosen & {*own}]
    shown = f"{len(nodes)}" + (f"; workers compute on {', '.join(spread)}" if spread else "")
    largest = max(nodes.values(), key=len)
    advice = f"keep the harness on one: taskset --cpu-list {write_processors(largest)}"
    return shown, advice if len(spread) > 1 else ""


def free_space(topic: str, folder: Path, needed: int, option: str) -> Found:
    """Free space where `folder` is or will be; InputError where it cannot be a folder."""
    nearest = nearest_folder(folder, topic)
    advice = f"free some space, or {option}"
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"{nearest} is not writable", advice
    free = shutil.disk_usage(nearest).free
    shown = f"{free / 1e9:.1f} GB free at {nearest}, {needed / 1e9:.1f} GB wanted"
    return shown, advice if free < needed else ""


def results_directory(system: System) -> Found:
    """Room for runs."""
    place, option = system.results_dir, "choose another --results-dir"
    return free_space("results directory", place, LEAST_RESULTS_BYTES, option)


def temporary_directory(system: System) -> Found:
    """Room for what workers are given."""
    place = Path(tempfile.gettempdir())
    return free_space("temporary directory", place, system.scratch_bytes, "set TMPDIR")


def clock(
    _: System,
    read_ns: Callable[[], int] = time.perf_counter_ns,
    resolution_s: float = time.get_clock_info("perf_counter").resolution,
    reads: int = 20_000,
) -> Found:
    """The clock of every figure: nominal resolution, smallest step seen, cost of a call.

    The step is infinite where the clock does not move.
    """
    times = [read_ns() for _ in range(reads)]
    step = min((b - a for a, b in itertools.pairwise(times) if b > a), default=math.inf)
    # The quickest of ten stretches: a pause of the whole process is no cost of the call.
    tenth = reads // 10
    cost = min(times[i + tenth - 1] - times[i] for i in range(0, reads, tenth)) / (tenth - 1)
    shown = f"resolution {resolution_s * 1e9:.3g} ns, smallest step seen {step} ns"
    advice = "a call or a tick of over a microsecond shows in a step of a millisecond: see"
    coarse = max(resolution_s * 1e9, step, cost) > 1000  # 0.1 % of a step
    shown = f"perf_counter_ns: {shown}, {cost:.0f} ns a call"
    return shown, f"{advice} clock source" if coarse else ""


def clock_source(system: System) -> Found:
    """What the kernel takes time from."""
    folder = "sys/devices/system/clocksource/clocksource0"
    current = system.first(f"{folder}/current_clocksource", r"\A\s*(\S.*)$").strip()
    if current in FAST_CLOCKS:
        return current, ""
    if not current.startswith(SLOW_CLOCKS):
        raise Unknown(f"{current}: not known here")
    available = read(system.root / folder / "available_clocksource").split()
    better = [name for name in FAST_CLOCKS if name in available]
    advice = "no fast one is on offer (dmesg says why): time long blocks, not single steps"
    if better:
        advice = f"echo {better[0]} > /{folder}/current_clocksource (root)"
    return f"{current}: slow to read", advice


def environment(_: System, variables: Mapping[str, str] = os.environ) -> Found:
    """Variables that workers run without; of those that TELLING knows the values too."""
    removed = sorted(filter(REMOVED.fullmatch, variables))
    telling = [name for name in removed if TELLING.search(name)]
    if not removed:
        return "nothing to take away", ""
    shown = ", ".join(f"{n}={variables[n]}" if n in telling else n for n in removed)
    advice = f"a process of your own does run with {', '.join(telling)}: unset there what should "
    advice += "compare with times from here"
    return f"workers run without: {shown}", advice if telling else ""


def environment_kept(_: System, variables: Mapping[str, str] = os.environ) -> Found:
    """Variables that workers keep although they change how fast a process runs."""
    kept = ", ".join(f"{n}={variables[n]}" for n in KEPT_VARIABLES if variables.get(n))
    if not kept:
        return "nothing that slows a process down", ""
    return kept, "workers keep these, and they change how fast a process runs: unset them"


CHECKS: dict[str, Callable[[System], Found]] = {
    check.__name__.replace("_", " ").replace("cpu", "CPU"): check
    for check in (
        *(processors, worker_processors, cpu_quota, cpu_quota_stops, load, busy_now, stolen_time),
        *(waiting_tasks, virtual_machine, frequency_governor, boost, frequency, heat, memory, swap),
        *(transparent_huge_pages, memory_nodes, results_directory, temporary_directory, clock),
        *(clock_source, environment, environment_kept),
    )
}


def look(topic: str, system: System) -> Line:
    """One line of the table."""
    try:
        return told(topic, *CHECKS[topic](system))
    except (Unknown, OSError) as why:
        return unknown(topic, str(why))


def run_tool(words: list[str]) -> str | None:
    """What a program prints; None where it is not there, fails, or takes over ten seconds."""
    try:
        done = subprocess.run(words, capture_output=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")


def gpus(tool: str | None, run: Callable[[list[str]], str | None] = run_tool) -> list[Line]:
    """NVIDIA's devices as nvidia-smi tells of them; `tool`: where it is, None where it is not."""
    if tool is None:
        return [told("GPU", "none (no nvidia-smi on PATH)")]
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
        name, driver, persistence, now, top = cells[0], cells[1], cells[2].lower(), *cells[3:]
        shown = f"{name}, driver {driver}, {now} of {top} MHz, persistence {persistence}"
        advice = "each first use then waits for the driver to load: nvidia-smi -pm 1 (root)"
        lines.append(told(f"GPU {number}", shown, advice if persistence == "disabled" else ""))
    others = run([tool, "--query-compute-apps=pid,process_name,used_memory", form])
    if others is None:
        return [*lines, unknown("GPU processes", "nvidia-smi does not tell")]
    running = "; ".join(" ".join(row.split()) for row in others.strip().splitlines())
    advice = "others compute on the GPU: end them or wait"
    return [*lines, told("GPU processes", running or "none", advice if running else "")]


# Of a data set like Fashion-MNIST: what a run finds is not looked for here.
USUAL_SAMPLES = 70_000


def examine_system(plan: Plan, results_dir: Path) -> list[Line]:
    """Every line that needs no worker. InputError where results_dir cannot be a folder."""
    system = System(
        allowed=sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        threads=plan.threads,
        results_dir=results_dir,
        scratch_bytes=scratch_bytes(plan, USUAL_SAMPLES),
        work=Work.seen(SAMPLE_S),
    )
    return [*(look(topic, system) for topic in CHECKS), *gpus(shutil.which("nvidia-smi"))]
