"""What would disturb a measurement: every warning is seen to appear, and to stay away."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path
from unittest.mock import Mock

import msgspec
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.doctor import lines, neighbours, readings, system
from harness.doctor.lines import Line
from harness.doctor.readings import CPU, System, Work
from harness.errors import InputError
from tests.conftest import Silent, harness, needs
from tests.make import make_plan

CLOCK = "sys/devices/system/clocksource/clocksource0"
GROUPS = "sys/fs/cgroup"
NODES = "sys/devices/system/node"


def tree(folder: Path, files: dict[str, str | bytes]) -> Path:
    """A made-up system: files by their path below its root."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def look(topic: str, root: Path = Path("/nowhere"), **facts) -> Line:
    """One line about a system; by default four processors may be used."""
    return system.look(topic, System(root, **{"allowed": [0, 1, 2, 3]} | facts))


def assert_ok(*lines):
    for line in lines:
        assert (line.verdict, line.advice) == ("ok", "")


def assert_warns(line, *words):
    assert line.verdict == "warning"
    for word in words:
        assert word in line.advice


def assert_unknown(*lines):
    for line in lines:
        assert (line.verdict, line.advice) == ("unknown", "")
        assert line.value


def assert_warns_if(bad, line, *words):
    assert_warns(line, *words) if bad else assert_ok(line)


# Processors and quota.


def machine(folder: Path, *groups: str) -> Path:
    """Processors, each with those on its core."""
    topology = f"{CPU}/cpu{{}}/topology/thread_siblings_list"
    return tree(folder, {topology.format(each): group for each, group in enumerate(groups)})


# Cloud machines number the threads of a core one after the other, most others all cores first.
PAIRED, FIRST = ("0-1", "0-1", "2-3", "2-3"), ("0,2", "1,3", "0,2", "1,3")


@pytest.mark.parametrize(
    ("logical", "cores", "words"),
    [
        (4, 4, "4 logical, 4 physical cores, one thread a core; this process may use 2 (0,2)"),
        (4, 2, "4 logical, 2 physical cores, several threads a core; this process"),
        (1, 1, "1 logical, 1 physical core, one thread a core"),
        (4, None, "4 logical, cores unknown; this process may use 2 (0,2)"),
    ],
)
def test_processors_and_cores_are_counted(monkeypatch, logical, cores, words):
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: made[logical])
    made = {True: logical, False: cores}
    line = look("processors", allowed=[0, 2])
    assert_ok(line)
    assert words in line.value
    assert "may use unknown" in look("processors", allowed=None).value


@pytest.mark.parametrize(
    ("groups", "allowed", "threads", "way"),
    [
        (PAIRED, [0, 1, 2, 3], 2, "taskset --cpu-list 0,2"),
        (PAIRED, [0, 1, 2, 3], 4, "--threads 2"),
        (PAIRED, [0, 1], 2, "--threads 1"),
        (PAIRED, [0, 2], 2, ""),
        (PAIRED, [0, 1, 2, 3], 1, ""),
        (FIRST, [0, 1, 2, 3], 2, ""),
        (FIRST, [0, 1, 2, 3], 3, "--threads 2"),
    ],
)
def test_workers_on_two_threads_of_one_core_are_warned_of_with_a_way_out(
    tmp_path, groups, allowed, threads, way
):
    line = look("worker processors", machine(tmp_path, *groups), allowed=allowed, threads=threads)
    assert_warns_if(way, line, way)
    if groups is FIRST and threads == 2:
        assert line.value == "2 (0-1) on 2 physical cores"
    nothing = {"threads": threads}
    assert_unknown(look("worker processors", allowed=allowed, **nothing))
    assert_unknown(look("worker processors", tmp_path, allowed=None, **nothing))


def quota_lines(root: Path) -> list[Line]:
    return [look(topic, root) for topic in ("CPU quota", "CPU quota stops")]


def v2(folder: Path, limit: str, above: str = "max 100000", throttled: int = 0) -> Path:
    own = f"{GROUPS}/user.slice/mine.scope"
    files = {
        "proc/self/cgroup": "0::/user.slice/mine.scope\n",
        f"{GROUPS}/cgroup.controllers": "cpu memory",
        f"{GROUPS}/user.slice/cpu.max": above,
        f"{own}/cpu.max": limit,
        f"{own}/cpu.stat": f"usage_usec 5\nnr_periods 90\nnr_throttled {throttled}\n",
    }
    return tree(folder, files)


@pytest.mark.parametrize(
    ("limit", "above", "advice"),
    [
        ("150000 100000", "max 100000", "--threads 1 or raise"),
        ("max 100000", "350000 100000", "--threads 3 or raise"),
        ("50000 100000", "400000 100000", "raise the quota"),
        ("max 100000", "max 100000", ""),
        ("400000 100000", "max 100000", ""),
        ("800000 100000", "max 100000", ""),
    ],
)
def test_a_quota_below_the_processors_warns_wherever_it_is_set(tmp_path, limit, above, advice):
    first, stops = quota_lines(v2(tmp_path, limit, above))
    assert_warns_if(advice, first, advice)
    assert (first.value == "none") == (limit.startswith("max") and above.startswith("max"))
    assert_ok(stops)


def test_a_group_that_was_stopped_warns(tmp_path):
    _, stops = quota_lines(v2(tmp_path, "400000 100000", throttled=12))
    assert_warns(stops, "raise it")
    assert "12 periods" in stops.value


@pytest.mark.parametrize("place", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota_us", "bad"), [("-1", False), ("100000", True)])
@pytest.mark.parametrize("below", ["", "/docker/abc"])
def test_the_quota_of_a_container_under_cgroup_v1_is_read(tmp_path, place, quota_us, bad, below):
    """Whether its group is what is mounted there, or lies below that."""
    group = f"{GROUPS}/{place}{below}"
    files = {
        "proc/self/cgroup": f"4:{place}:/docker/abc\n0::/docker/abc\n",
        f"{GROUPS}/unified/cgroup.controllers": "",
        f"{group}/cpu.cfs_quota_us": quota_us,
        f"{group}/cpu.cfs_period_us": "50000",
        f"{group}/cpu.stat": "nr_periods 1\nnr_throttled 0\nthrottled_time 0\n",
    }
    first, stops = quota_lines(tree(tmp_path, files))
    assert_warns_if(bad, first, "--threads 2 or raise")
    assert ("2 processors' time" in first.value) == bad
    assert_ok(stops)


def test_no_control_groups_are_unknown_and_none_of_theirs_is_no_quota(tmp_path):
    assert_unknown(*quota_lines(tmp_path))
    # The root group of v2 has neither cpu.max nor counters.
    files = {"proc/self/cgroup": "0::/\n", f"{GROUPS}/cgroup.controllers": "cpu"}
    assert_ok(*quota_lines(tree(tmp_path, files)))


# What the processors do.


def test_load_counts_by_processor_and_one_that_is_not_told_is_unknown(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
    for tasks, bad in ((0.79, False), (0.81, True)):
        monkeypatch.setattr(os, "getloadavg", lambda tasks=tasks: (tasks, 0, 0))
        assert_warns_if(bad, look("load"), "top")

    def not_told():
        raise OSError("Load averages are unobtainable")

    monkeypatch.setattr(os, "getloadavg", not_told)
    assert_unknown(look("load"))


def test_who_computes_now_is_named():
    work = Work(busy=30.0, stolen=0.0, most=[(25.0, "a (b) c", 7), (0.0, "idle", 8)])
    line = look("busy now", work=work)
    assert_warns(line, "a (b) c first")
    assert line.value == "30% of all processors: a (b) c (pid 7) 25%"
    assert_ok(look("stolen time", work=work))
    work = Work(busy=4.0, stolen=3.0, most=[])
    assert_ok(look("busy now", work=work))
    line = look("stolen time", work=work)
    assert_warns(line, "overbooked")
    assert line.value.startswith("3%")


def test_a_system_that_counts_no_processor_time_is_unknown(monkeypatch):
    uncounted = type(psutil.cpu_times())(*[0.0] * len(psutil.cpu_times()))
    monkeypatch.setattr(psutil, "cpu_times_percent", lambda seconds: uncounted)
    work = Work.seen(0.0)
    assert work is None
    assert_unknown(look("busy now", work=work), look("stolen time", work=work))


@pytest.mark.parametrize(("share", "bad"), [("0.00", False), ("4.90", False), ("17.5", True)])
def test_tasks_that_wait_for_a_processor_warn(tmp_path, share, bad):
    text = f"some avg10={share} avg60=0.11 avg300=0.11 total=3\nfull avg10=99.00 avg60=0 total=0\n"
    line = look("waiting tasks", tree(tmp_path, {"proc/pressure/cpu": text}))
    assert_warns_if(bad, line, "end what else")


# Frequency and heat.


def cpuinfo(folder: Path, *, hypervisor: bool) -> Path:
    flags = "fpu hypervisor_x" + (" hypervisor" if hypervisor else "")
    text = f"processor\t: 0\nflags\t\t: {flags}\ncpu MHz\t\t: 2596.138\n"
    return tree(folder, {"proc/cpuinfo": text})


def test_a_virtual_machine_is_told_and_says_why_the_rest_is_not_visible(tmp_path):
    root = cpuinfo(tmp_path, hypervisor=True)
    assert_warns(look("virtual machine", root), "within a run")
    hidden = [look(topic, root) for topic in ("frequency governor", "boost", "frequency")]
    assert_unknown(*hidden)
    assert all("virtual machine" in line.value for line in hidden)
    assert "2596.138 MHz" in hidden[-1].value
    assert_unknown(look("heat", root))
    assert "host" in look("heat", root).value


def test_a_real_machine_is_told(tmp_path):
    root = cpuinfo(tmp_path, hypervisor=False)
    assert_ok(look("virtual machine", root))
    assert "virtual" not in look("frequency governor", root).value
    assert_unknown(look("virtual machine", tree(tmp_path, {"proc/cpuinfo": "Features: fp"})))


def cpufreq(**values: str) -> dict[str, str]:
    return {f"{CPU}/cpu0/cpufreq/{name}": value for name, value in values.items()}


def clocks(now: str, cap: str, top: str) -> dict[str, str]:
    return cpufreq(scaling_cur_freq=now, scaling_max_freq=cap, cpuinfo_max_freq=top)


@pytest.mark.parametrize(
    ("topic", "files", "bad", "value", "cure"),
    [
        ("frequency governor", cpufreq(scaling_governor="performance\n"), False, "perf", ""),
        ("frequency governor", cpufreq(scaling_governor="schedutil\n"), True, "sch", "cpupower"),
        ("boost", {f"{CPU}/intel_pstate/no_turbo": "0"}, True, "on", "echo 1 > /sys/devices"),
        ("boost", {f"{CPU}/intel_pstate/no_turbo": "1"}, False, "off", ""),
        ("boost", {f"{CPU}/cpufreq/boost": "1"}, True, "on", "echo 0 > /sys/devices"),
        ("boost", {f"{CPU}/cpufreq/boost": "0"}, False, "off", ""),
        ("heat", {f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "0"}, False, "", ""),
        (
            "heat",
            {
                f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "0",
                f"{CPU}/cpu1/thermal_throttle/package_throttle_count": "3",
            },
            True,
            "slowed down 3 times",
            "cool it",
        ),
        # A slow idle clock is none that is cut.
        ("frequency", clocks("800000", "3500000", "3500000"), False, "0.80 GHz now", ""),
        (
            "frequency",
            clocks("800000", "2000000", "3500000"),
            True,
            "0.80 GHz now (slowest), at most 2.00 of 3.50 GHz",
            "--max 3.50GHz",
        ),
        ("memory nodes", {f"{NODES}/node0/cpulist": "0-3", f"{NODES}/possible": "0"}, 0, "1", ""),
        (
            "memory nodes",
            {f"{NODES}/node0/cpulist": "0-1,8", f"{NODES}/node1/cpulist": "2-7"},
            True,
            "2; workers compute on node0, node1",
            "--cpu-list 2-7",
        ),
        ("transparent huge pages", {system.HUGE_PAGES: "always [madvise] never"}, 0, "madvise", ""),
    ],
)
def test_a_setting_is_told_and_warns_where_it_disturbs(tmp_path, topic, files, bad, value, cure):
    line = look(topic, tree(tmp_path, files), threads=4)
    assert line.value.startswith(value)
    assert_warns_if(bad, line, cure)


def test_one_other_governor_warns_and_one_that_is_not_ours_does_not(tmp_path):
    path = f"{CPU}/cpu{{}}/cpufreq/scaling_governor"
    names = ("performance", "powersave", "ondemand")
    root = tree(tmp_path, {path.format(each): name for each, name in enumerate(names)})
    assert look("frequency governor", root, allowed=[0, 1]).value == "performance, powersave"
    assert_warns(look("frequency governor", root, allowed=[0, 1]))
    assert_ok(look("frequency governor", root, allowed=[0]))


@pytest.mark.parametrize(
    ("topic", "files"),
    [
        ("boost", {f"{CPU}/cpufreq/boost": "perhaps"}),
        ("transparent huge pages", {system.HUGE_PAGES: "always"}),
        ("waiting tasks", {}),
    ],
)
def test_what_a_kernel_does_not_tell_is_unknown(tmp_path, topic, files):
    assert_unknown(look(topic, tree(tmp_path, files)))


@pytest.mark.parametrize(
    ("current", "available", "verdict", "cure"),
    [
        ("tsc", "tsc hpet", "ok", ""),
        ("kvm-clock", "kvm-clock", "ok", ""),
        ("hpet", "tsc hpet", "warning", "echo tsc > /sys/devices"),
        ("acpi_pm", "acpi_pm", "warning", "long blocks"),
        ("xen", "xen tsc", "warning", "echo tsc"),
        ("moon", "moon", "unknown", ""),
        ("", "", "unknown", ""),
    ],
)
def test_slow_clock_sources_warn(tmp_path, current, available, verdict, cure):
    files = {f"{CLOCK}/current_clocksource": current, f"{CLOCK}/available_clocksource": available}
    line = look("clock source", tree(tmp_path, files))
    assert line.verdict == verdict
    assert cure in line.advice


# Memory, disk, clock.


def test_little_memory_and_used_swap_warn(monkeypatch):
    def told(topic: str, *values: float) -> Line:
        monkeypatch.setattr(psutil, "swap_memory", lambda: [v * 1e6 for v in values])
        monkeypatch.setattr(psutil, "virtual_memory", lambda: Mock(available=values[0] * 1e9))
        return look(topic)

    assert_warns(told("memory", 3.9), "--backend")
    assert_ok(told("memory", 4.1))
    swap = told("swap", 2147.4, 1073.7)
    assert_warns(swap, "swapoff")
    assert swap.value == "1074 MB of 2147 MB in use"
    assert_ok(*(told("swap", total, used) for used, total in ((0, 0), (0, 1000), (99, 1000))))


def test_free_space_is_that_of_the_folder_to_be_which_is_no_file(tmp_path):
    line = look("results directory", results_dir=tmp_path / "not" / "yet")
    assert f"{shutil.disk_usage(tmp_path).free / 1e9:.1f} GB free at {tmp_path}" in line.value
    assert system.free_space("results", tmp_path / "not", 1, "")[1] == ""
    assert_warns(look("temporary directory", scratch_bytes=10**18), "TMPDIR")
    (tmp_path / "results").write_text("")
    with pytest.raises(InputError, match="not a directory"):
        look("results directory", results_dir=tmp_path / "results" / "below")


def clock(*words: object) -> Line:
    return lines.told("clock", *system.clock(System(), *words))


def test_a_fine_clock_is_fine_and_a_coarse_one_warns():
    ticks = iter(range(10**9))
    assert_ok(clock())
    for words in ((lambda: next(ticks) // 5 * 10_000, 1e-9), (time.perf_counter_ns, 1e-3)):
        assert_warns(clock(*words), "clock source")
    assert_warns(clock(lambda: 7, 1e-9), "clock source")


def test_the_cost_of_a_call_is_the_quickest_stretch():
    now = 0

    def read_ns() -> int:
        nonlocal now
        now += 5_000_000 if now == 250 else 50  # one long pause
        return now

    line = clock(read_ns, 1e-9)
    assert_ok(line)
    assert "smallest step seen 50 ns, 50 ns a call" in line.value


# Environment and GPU.


def variables(**environment: str) -> list[Line]:
    checks = system.environment, system.environment_kept
    return [lines.told("environment", *check(System(), environment)) for check in checks]


@pytest.mark.parametrize(
    "name",
    [
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS"),
        *("TF_NUM_INTRAOP_THREADS", "TF_ENABLE_ONEDNN_OPTS", "NVIDIA_TF32_OVERRIDE"),
        *("KMP_AFFINITY", "GOMP_CPU_AFFINITY", "JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION"),
        *("OPENBLAS_CORETYPE", "ONEDNN_DEFAULT_FPMATH_MODE"),
    ],
)
def test_a_variable_of_threads_or_precision_is_told_with_its_value(name):
    removed, kept = variables(**{name: "3", "HOME": "/"})
    assert_warns(removed, name)
    assert f"{name}=3" in removed.value
    assert_ok(kept)


def test_other_variables_are_not_shown_and_what_slows_workers_warns():
    removed, kept = variables(TF_CLI_CONFIG_FILE="secret", HOME="/")
    assert_ok(removed, kept)
    assert removed.value == "workers run without: TF_CLI_CONFIG_FILE"
    assert variables(HOME="/")[0].value == "nothing to take away"
    _, kept = variables(LD_PRELOAD="libjemalloc.so")
    assert_warns(kept, "unset")
    assert "libjemalloc" in kept.value


def gpus(devices: str | None, running: str | None) -> list[Line]:
    def run(words):
        return devices if any("--query-gpu" in word for word in words) else running

    return system.gpus("nvidia-smi", run)


def test_no_gpu_is_none_and_a_failing_tool_is_unknown():
    assert [line.value for line in system.gpus(None)] == ["none (no nvidia-smi on PATH)"]
    assert_unknown(gpus(None, None)[0])
    assert_unknown(gpus("No devices were found\n", "")[0])


def test_a_gpu_is_described_and_its_other_users_warn():
    card = "NVIDIA H200, 570.10, Enabled, 345, 1980\n"
    device, others = gpus(card, "")
    assert_ok(device, others)
    assert device.value == "NVIDIA H200, driver 570.10, 345 of 1980 MHz, persistence enabled"
    device, others = gpus(card.replace("Enabled", "Disabled"), "4711, python, 512\n")
    assert_warns(device, "nvidia-smi -pm 1")
    assert_warns(others, "end them")
    assert "4711" in others.value
    assert_unknown(gpus(card, None)[1])


def test_a_tool_that_fails_or_is_not_there_says_nothing():
    assert system.run_tool(["false"]) is None
    assert system.run_tool(["/nowhere/nvidia-smi"]) is None
    assert system.run_tool(["echo", "yes"]) == "yes\n"


# Whatever the bytes are.

TEXTS = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet="0123456789-,. \n:()cpumax/somevg10=[]kB\\", max_size=200).map(str.encode),
)
SOUND = {
    "proc/self/cgroup": "0::/a\n",
    f"{GROUPS}/cgroup.controllers": "cpu",
    f"{GROUPS}/a/cpu.max": "100000 100000",
    f"{CPU}/online": "0-1",
    **clocks("1000000", "1000000", "1000000"),
}
READ = {
    "proc/self/cgroup": ("CPU quota", "CPU quota stops"),
    f"{GROUPS}/a/cpu.max": ("CPU quota", "CPU quota stops"),
    f"{GROUPS}/a/cpu.stat": ("CPU quota", "CPU quota stops"),
    f"{CPU}/online": ("frequency",),
    f"{CPU}/cpu0/topology/thread_siblings_list": ("worker processors",),
    "proc/pressure/cpu": ("waiting tasks",),
    "proc/cpuinfo": ("virtual machine", "frequency"),
    f"{CPU}/cpu0/cpufreq/scaling_governor": ("frequency governor",),
    f"{CPU}/cpu0/cpufreq/scaling_max_freq": ("frequency",),
    f"{CPU}/cpufreq/boost": ("boost",),
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": ("heat",),
    system.HUGE_PAGES: ("transparent huge pages",),
    f"{NODES}/node0/cpulist": ("memory nodes",),
    f"{CLOCK}/current_clocksource": ("clock source",),
}


@pytest.mark.parametrize("path", READ)
@given(content=TEXTS)
def test_arbitrary_bytes_end_in_lines_that_can_be_printed(tmp_path_factory, path, content):
    root = tree(tmp_path_factory.mktemp("system"), SOUND | {path: content})
    found = [look(topic, root, allowed=allowed) for topic in READ[path] for allowed in ([0], None)]
    shutil.rmtree(root)
    document = lines.describe(found)
    json.dumps(document)
    assert all(c.isprintable() or c == "\n" for c in lines.as_text(document))


@given(st.text(max_size=100))
def test_parsers_take_any_text(text):
    readings.numbers([text])
    readings.parse_processors(text)
    assert gpus(text, text)
    assert variables(OMP_X=text)


@given(st.sets(st.integers(0, 5000)))
def test_a_list_of_processors_survives_being_written(chosen):
    assert readings.parse_processors(readings.write_processors(chosen)) == sorted(chosen)


@pytest.mark.parametrize("text", ["3-1", "0-99999", "1e3", "٣", "0,,1", "-1", "0-", ""])
def test_what_is_no_list_of_processors_is_none(text):
    assert readings.parse_processors(text) == []


# What workers tell.


def test_facts_become_versions_and_precision():
    facts = {"python": "3.11", "version:torch": "2.13", "device": "cpu", "precision:a": "ieee"}
    assert neighbours.versions("torch", facts).value == "python 3.11, torch 2.13, device cpu"
    line = neighbours.precision("torch", facts)
    assert_ok(line)
    assert line.value == "a ieee"
    assert_warns(neighbours.precision("torch", facts | {"precision:b": "tf32"}), "pin")
    assert_warns(neighbours.precision("tensorflow", {"precision:tf32": "True"}), "pin")
    assert_ok(neighbours.precision("jax", {"precision:matmul": "highest", "precision:x64": "True"}))
    assert_unknown(neighbours.precision("odd", {}))


def answer(cpu_ns: int, *pools: int) -> dict:
    libraries = [
        {"internal_api": "openblas", "version": "0.3", "num_threads": count} for count in pools
    ]
    return {"libraries": libraries, "cpu_ns": cpu_ns, "wall_ns": 100, "products_ns": [10, 12, 11]}


def test_threads_and_processors_beside_what_was_asked_for():
    assert_ok(*neighbours.threads("numpy", answer(190, 2), 2))
    libraries, used = neighbours.threads("numpy", answer(190, 2, 8), 2)
    assert_warns(libraries, "limit")
    assert_ok(used)
    assert_warns(neighbours.threads("numpy", answer(100, 2), 2)[1], "quieten", "--threads")
    assert_warns(neighbours.threads("numpy", answer(240, 2), 2)[1], "more threads compute")
    assert "none that threadpoolctl knows" in neighbours.threads("x", answer(190), 2)[0].value


def times(first: float, timed: float, rounds: int = 12) -> tuple[list[float], list[float]]:
    return [first] * rounds, [timed] * rounds


def test_a_neighbour_that_costs_is_named():
    own = times(1.1, 1.0)
    dear = {"numpy": own, "torch": times(1.9, 1.6), "jax": times(1.1, 1.05)}
    line = neighbours.neighbours("numpy", dear, 18)
    assert_warns(line, "threads of torch go on", "OPENBLAS_THREAD_TIMEOUT")
    assert "torch x1.60 (warm-up x1.73)" in line.value
    early = {"numpy": own, "torch": times(1.9, 1.0)}
    assert_warns(neighbours.neighbours("numpy", early, 18), "first 18 steps")
    assert_ok(neighbours.neighbours("numpy", {"numpy": own, "torch": times(1.2, 1.1)}, 18))
    assert_ok(neighbours.neighbours("numpy", {"numpy": own}, 18))
    assert_unknown(
        neighbours.neighbours("numpy", {"numpy": times(1, 1, 5), "jax": times(9, 9, 5)}, 18)
    )


def test_a_median_that_chance_can_move_so_far_is_no_warning():
    noisy = [0.8, 0.9, 0.95] * 2 + [1.6, 1.9, 2.5] * 2
    factor, too_much = neighbours.cost(noisy, [1.0] * 12)
    assert factor > neighbours.MOST_COST
    assert not too_much
    assert neighbours.cost([1.2] * 12, [1.0] * 12) == (pytest.approx(1.2), True)


@given(st.sets(st.text(max_size=3), max_size=6), st.integers())
def test_everyone_follows_everyone_once(keys, seed):
    found = neighbours.tour(sorted(keys), random.Random(seed))
    pairs = list(itertools.pairwise(found))
    assert sorted(pairs) == sorted((a, b) for a in keys for b in keys)


# This machine, against independent sources.


KINDS = ("warning", "unknown")


def by_topic(done: subprocess.CompletedProcess[str]) -> dict[str, dict]:
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    verdicts = [line["verdict"] for line in document["lines"]]
    counts = {verdict + "s" * (verdict == "warning"): verdicts.count(verdict) for verdict in KINDS}
    assert document.items() >= counts.items()
    found = {line["topic"]: line for line in document["lines"]}
    assert len(found) == len(verdicts)
    return found


def test_the_quick_examination_says_what_others_say(tmp_path):
    planted = {"OMP_NUM_THREADS": "7"}
    found = by_topic(harness("doctor", "--quick", "--json", cwd=tmp_path, env=planted))
    assert found["processors"]["value"].startswith(f"{psutil.cpu_count()} logical")
    cores = psutil.cpu_count(logical=False)
    if cores:
        assert f"{cores} physical core" in found["processors"]["value"]
    allowed = len(os.sched_getaffinity(0))
    assert f"may use {allowed} (" in found["processors"]["value"]
    available = float(found["memory"]["value"].split()[0])
    assert available == pytest.approx(psutil.virtual_memory().available / 1e9, abs=3)
    assert found["swap"]["value"].endswith(f"of {psutil.swap_memory().total / 1e6:.0f} MB in use")
    assert "OMP_NUM_THREADS=7" in found["environment"]["value"]
    free = float(found["results directory"]["value"].split()[0])
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free / 1e9, abs=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("lscpu") is None, reason="no lscpu here")
def test_cores_siblings_nodes_and_hypervisor_are_those_of_lscpu(tmp_path):
    def lscpu(*words: str) -> str:
        return subprocess.run(["lscpu", *words], capture_output=True, text=True, check=True).stdout

    rows = [r for r in lscpu("-p=CPU,CORE,SOCKET,NODE").splitlines() if not r.startswith("#")]
    cores = {tuple(row.split(",")[1:3]) for row in rows}
    root = Path("/")
    assert f"{len(rows)} logical, {len(cores)} physical" in look("processors", root).value
    nodes = {row.split(",")[3] for row in rows} - {""}
    if nodes:
        assert look("memory nodes", root).value.startswith(f"{len(nodes)}")
    virtual = look("virtual machine", root).value.startswith("yes")
    assert virtual == bool(re.search("^Hypervisor vendor", lscpu(), re.M))


def test_a_system_that_tells_nothing_is_unknown_in_words(tmp_path):
    found = [system.look(topic, System(tmp_path / "no system")) for topic in system.CHECKS]
    assert {line.topic for line in found if line.verdict != "unknown"} == {
        *("processors", "load", "busy now", "stolen time", "memory", "swap"),  # psutil's, Python's
        *("results directory", "temporary directory", "clock", "environment", "environment kept"),
    }
    assert all(line.value for line in found)


def test_a_busy_process_is_seen_by_name_and_this_one_is_not():
    with subprocess.Popen(["sh", "-c", "while :; do :; done"]) as worker:
        try:
            for _ in range(30):  # others may hold the processors
                work = Work.seen(0.3)
                if worker.pid in [pid for _, _, pid in work.most]:
                    break
        finally:
            worker.kill()
    assert ("sh", worker.pid) in [(name, pid) for _, name, pid in work.most]
    assert work.busy > 0
    assert os.getpid() not in [pid for _, _, pid in work.most]


@needs("numpy")
def test_one_worker_tells_its_versions_threads_and_precision(tmp_path):
    import numpy as np

    done = harness("doctor", "--backend", "numpy", "--threads", "1", "--json", cwd=tmp_path)
    found = by_topic(done)
    assert f"numpy {np.__version__}" in found["numpy versions"]["value"]
    assert found["numpy thread libraries"]["value"].endswith("(asked for: 1)")
    share = float(found["numpy processors used"]["value"].split()[0])
    assert 0 < share < 1.1
    assert found["numpy precision"]["value"] == "matmul ieee"
    assert found["numpy after another"]["value"] == "no other backend is here"
    assert "torch versions" not in found


def test_a_backend_that_is_skipped_is_unknown_with_its_reason(monkeypatch):
    monkeypatch.setattr(neighbours, "PRODUCTS", 10)
    plan = make_plan(backends=("numpy", "torch"), threads=1)
    plan = msgspec.structs.replace(plan, skipped={"torch": "not installed; do this"})
    found = {line.topic: line for line in neighbours.examine_workers(plan, Silent())}
    assert_unknown(found["torch"])
    assert found["torch"].value == "not installed; do this"
    assert "numpy versions" in found


@needs("numpy")
def test_neighbours_are_measured_and_a_dead_worker_leaves_the_other(tmp_path, monkeypatch):
    plan = make_plan(backends=("numpy", "other=numpy"), threads=1)
    monkeypatch.setattr(neighbours, "PRODUCTS", 10)
    found = {line.topic: line for line in neighbours.examine_workers(plan, Silent())}
    assert re.search(r"other x\d", found["numpy after another"].value)
    assert re.search(r"numpy x\d", found["other after another"].value)

    real = neighbours._block
    calls = []

    def deadly(pool, key, scratch):
        calls.append(key.label)
        if calls.count("other") == 5 and key in pool.workers:
            os.kill(pool.workers[key].pid, 9)
        return real(pool, key, scratch)

    monkeypatch.setattr(neighbours, "_block", deadly)
    found = {line.topic: line for line in neighbours.examine_workers(plan, Silent())}
    assert_warns(found["other"], "--backend other")
    assert "SIGKILL" in found["other"].value
    assert found["numpy after another"].value == "no other backend is here"
