"""What would disturb a measurement on this machine: a table of checks, one line each.

Reads only. A check is a row: its topic, a reader, the words for what was read, when that is bad,
and what to do about it. What cannot be read is "unknown" with the reason, never a guess. Linux
first. What only live workers can tell is in `harness/doctor/neighbours.py`. Imports no framework.
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
from typing import Any, NamedTuple

import psutil

from harness.doctor import readings
from harness.doctor.lines import Line, Unknown, judged, unknown
from harness.doctor.readings import System, Work, free_space
from harness.plan.model import Plan
from harness.text import many
from harness.workers.launch import REMOVED
from harness.workers.scratch import scratch_bytes

SAMPLE_S = 0.5
# A hundred default records (5 MB each).
LEAST_RESULTS_BYTES = 500 * 10**6
# Per cent of the last ten seconds in which some task waited for a processor.
AVG10 = r"^some .*?avg10=([0-9]{1,9}(?:\.[0-9]{1,9})?)\b"
PRESSURE, HUGE_PAGES = "proc/pressure/cpu", "sys/kernel/mm/transparent_hugepage/enabled"
# Part of the name of a variable that changes how many threads compute, where, how exactly, or by
# which code.
TELLING = re.compile(
    r"THREAD|AFFINITY|PROC_BIND|PLACES|BLOCKTIME|WAIT_POLICY|SPINCOUNT|DYNAMIC|TF32|FPMATH|"
    r"PRECISION|X64|MATMUL|FLAGS|DETERMINISTIC|ONEDNN_OPTS|MKL_OPTS|DISABLE_MKL|CORETYPE|"
    r"CPU_ISA|CBWR|INSTRUCTIONS|LAUNCH_BLOCKING|JIT|TORCHDYNAMO|TORCHINDUCTOR"
)
# Variables that workers keep although they slow a process down or change its allocator.
KEPT_VARIABLES = ("LD_PRELOAD", "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONTRACEMALLOC")


def clock(
    read_ns: Callable[[], int], resolution_s: float, reads: int = 20_000
) -> tuple[float, float, float]:
    """Of the clock of every figure, in ns: nominal resolution, smallest step seen, cost of a call.

    The step is infinite where the clock does not move.
    """
    times = [read_ns() for _ in range(reads)]
    steps = [b - a for a, b in itertools.pairwise(times) if b > a]
    # The quickest of ten stretches: a pause of the whole process is no cost of the call.
    tenth = reads // 10
    cost = min(times[i + tenth - 1] - times[i] for i in range(0, reads, tenth)) / (tenth - 1)
    return resolution_s * 1e9, min(steps, default=math.inf), cost


def removed_variables(environment: Mapping[str, str]) -> tuple[str, str]:
    """Variables that workers run without, and the names of those that TELLING knows."""
    removed = sorted(filter(REMOVED.fullmatch, environment))
    telling = [name for name in removed if TELLING.search(name)]
    shown = ", ".join(f"{n}={environment[n]}" if n in telling else n for n in removed)
    return f"workers run without: {shown}" if shown else "nothing to take away", ", ".join(telling)


def kept_variables(environment: Mapping[str, str]) -> tuple[str, bool]:
    """Variables that workers keep although they change how fast a process runs."""
    kept = ", ".join(f"{n}={environment[n]}" for n in KEPT_VARIABLES if environment.get(n))
    return kept or "nothing that slows a process down", bool(kept)


class Check(NamedTuple):
    """A row of the table: a topic, how it is read, the words for what is read, when it is bad.

    words, advice: formats over what `read` returns, in its order. bad: takes the same; by default
    what is read says itself whether it is bad.
    """

    topic: str
    read: Callable[[System], tuple[Any, ...]]
    words: str = "{}"
    bad: Callable[..., bool] = lambda _text, bad=False, _advice="": bad
    advice: str = "{2}"

    def line(self, system: System) -> Line:
        """What is found."""
        try:
            values = self.read(system)
        except (Unknown, OSError) as why:
            return unknown(self.topic, str(why))
        bad = self.bad(*values)
        advice = self.advice.format(*values) if bad else ""
        return judged(self.topic, self.words.format(*values), advice, bad=bad)


# The figures are about a step, which takes about a millisecond, and differences of 3 % of it.
CHECKS = (
    Check(
        "processors",
        readings.processors,
        "{} logical, {}; this process may use {}",
        lambda *_: False,
    ),
    Check("worker processors", readings.worker_processors),
    Check("CPU quota", readings.cpu_quota),
    Check("CPU quota stops", readings.quota_stops),
    Check(
        "load",
        lambda _: (os.getloadavg()[0], many(psutil.cpu_count(), "processor"), psutil.cpu_count()),
        "{:.2f} tasks over the last minute on {}",
        # Runnable tasks a processor. What a user did just before shows there too.
        lambda tasks, _, count: tasks > 0.2 * count,
        "end what else computes here (top shows it), or wait a minute if it has just ended",
    ),
    Check(
        "busy now",
        readings.busy,
        "{:.0f}% of all processors{}",
        # What takes up to 5 % of the processors is of the size of what is claimed.
        lambda percent, *_: percent > 5,
        "end or wait for what computes here{2}",
    ),
    Check(
        "stolen time",
        readings.stolen,
        "{:.0f}% of the time was given to other machines by the hypervisor",
        lambda percent: percent > 2,
        "the host is overbooked: measure at another hour or on a machine of your own",
    ),
    Check(
        "waiting tasks",
        lambda s: (float(s.first(PRESSURE, AVG10, f"this kernel keeps no /{PRESSURE}")),),
        "some task waited for a processor in {:g} % of the last 10 s",
        lambda percent: percent > 5,  # as busy now
        "more tasks than processors: end what else computes here",
    ),
    Check(
        "virtual machine",
        lambda s: (
            s.first("proc/cpuinfo", r"^(flags)\s*:", "this processor's /proc/cpuinfo has no flags")
            and ("yes: frequency and heat are the host's affair" if s.virtual else "no"),
            s.virtual,
        ),
        advice="other guests may share the cores: compare within a run, and repeat a run before "
        "you believe a difference between two",
    ),
    Check(
        "frequency governor",
        readings.governor,
        "{}",
        lambda policies: policies != "performance",
        "set it for the measurement: cpupower frequency-set --governor performance (root)",
    ),
    Check(
        "boost",
        readings.boost,
        "{}",
        lambda state, *_: state == "on",
        "clocks then follow heat and neighbours; off with: echo {1} > {2} (root)",
    ),
    Check(
        "frequency",
        readings.frequency,
        "{:.2f} GHz now (slowest), at most {:.2f} of {:.2f} GHz",
        lambda _, cap, top: cap < top,
        "the range is cut: cpupower frequency-set --max {2:.2f}GHz (root), or look at the power "
        "settings",
    ),
    Check(
        "heat",
        readings.heat,
        "slowed down {} times since the start of the system",
        lambda count: count > 0,
        "cool it, or measure in shorter runs; look again afterwards whether the count has grown",
    ),
    Check(
        "memory",
        lambda _: (psutil.virtual_memory().available / 1e9,),
        "{:.1f} GB available on the machine",
        # The workers of four frameworks hold 1.6 GB together; with a float64 process beside each
        # twice that, and the parent holds the data.
        lambda gigabytes: gigabytes < 4,
        "close programs, or measure fewer backends at a time (--backend)",
    ),
    Check(
        "swap",
        lambda _: tuple(number / 1e6 for number in psutil.swap_memory()[1::-1]),
        "{:.0f} MB of {:.0f} MB in use",
        # Idle pages of services may be swapped out for ever; more is somebody's working set.
        lambda megabytes, _: megabytes > 100,
        "free memory, then bring it back: swapoff -a && swapon -a (root)",
    ),
    Check(
        "transparent huge pages",
        lambda s: (s.first(HUGE_PAGES, r"\[(\w+)\]", "this kernel does not tell"),),
    ),
    Check("memory nodes", readings.memory_nodes),
    Check(
        "results directory",
        lambda s: free_space("results directory", s.results_dir, LEAST_RESULTS_BYTES),
        advice="free some space, or choose another --results-dir",
    ),
    Check(
        "temporary directory",
        lambda s: free_space("temporary directory", Path(tempfile.gettempdir()), s.scratch_bytes),
        advice="free some space, or set TMPDIR",
    ),
    Check(
        "clock",
        lambda _: clock(time.perf_counter_ns, time.get_clock_info("perf_counter").resolution),
        "perf_counter_ns: resolution {:.3g} ns, smallest step seen {} ns, {:.0f} ns a call",
        lambda *each_ns: max(each_ns) > 1000,  # 0.1 % of a step
        "a call or a tick of over a microsecond shows in a step of a millisecond: see clock source",
    ),
    Check("clock source", readings.clock_source),
    Check(
        "environment",
        lambda _: removed_variables(os.environ),
        "{}",
        lambda _, telling: telling != "",
        "a process of your own does run with {1}: unset there what should compare with times from "
        "here",
    ),
    Check(
        "environment kept",
        lambda _: kept_variables(os.environ),
        advice="workers keep these, and they change how fast a process runs: unset them",
    ),
)

GPU_FIELDS = ("name", "driver_version", "persistence_mode", "clocks.sm", "clocks.max.sm")


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
    running = "; ".join(" ".join(row.split()) for row in others.strip().splitlines())
    advice = "others compute on the GPU: end them or wait"
    return [*lines, judged("GPU processes", running or "none", advice, bad=bool(running))]


def examine_system(plan: Plan, results_dir: Path) -> list[Line]:
    """Every line that needs no worker. InputError where results_dir cannot be a folder."""
    system = System(
        allowed=readings.allowed_processors(),
        threads=plan.threads,
        results_dir=results_dir,
        scratch_bytes=scratch_bytes(plan),
        work=Work.seen(SAMPLE_S),
    )
    return [*(check.line(system) for check in CHECKS), *gpus(shutil.which("nvidia-smi"))]
