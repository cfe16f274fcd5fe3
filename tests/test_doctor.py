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

import msgspec
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.doctor import neighbours
from harness.doctor import system as doctor
from harness.doctor.system import Sample, Ticks
from harness.errors import InputError
from tests.conftest import Silent, harness, needs
from tests.make import make_plan

CPU = "sys/devices/system/cpu"
CLOCK = "sys/devices/system/clocksource/clocksource0"
GIB = 2**20  # in kB


def tree(folder: Path, files: dict[str, str | bytes]) -> Path:
    """A made-up system: files by their path below its root."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def machine(folder: Path, siblings: dict[int, str]) -> Path:
    """Processors with their siblings."""
    files = {f"{CPU}/online": doctor.write_processors(siblings)}
    for each, group in siblings.items():
        files[f"{CPU}/cpu{each}/topology/thread_siblings_list"] = group
    return tree(folder, files)


APART = {0: "0", 1: "1", 2: "2", 3: "3"}
# Cloud machines number the threads of a core one after the other, most others all cores first.
PAIRED = {0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}
FIRST = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}


def assert_ok(line):
    assert (line.verdict, line.advice) == ("ok", "")


def assert_warns(line, *words):
    assert line.verdict == "warning"
    for word in words:
        assert word in line.advice


def assert_unknown(line):
    assert (line.verdict, line.advice) == ("unknown", "")
    assert line.value


# Processors and quota.


@pytest.mark.parametrize(
    ("siblings", "words"),
    [
        (APART, "4 logical, 4 physical cores, one thread a core; this process may use 2 (0,2)"),
        (PAIRED, "4 logical, 2 physical cores, several threads a core; this process"),
        ({0: "0"}, "1 logical, 1 physical core, one thread a core"),
    ],
)
def test_processors_and_cores_are_counted(tmp_path, siblings, words):
    line = doctor.processors(machine(tmp_path, siblings), [0, 2])
    assert_ok(line)
    assert words in line.value


def test_processors_without_a_system_that_tells_are_unknown(tmp_path):
    assert_unknown(doctor.processors(tmp_path, None))
    line = doctor.processors(tree(tmp_path, {f"{CPU}/online": "0-3"}), None)
    assert "cores unknown" in line.value
    assert "may use unknown" in line.value


def test_workers_on_two_threads_of_one_core_are_warned_of_with_a_way_out(tmp_path):
    root = machine(tmp_path, PAIRED)
    assert_warns(doctor.worker_processors(root, [0, 1, 2, 3], 2), "taskset --cpu-list 0,2")
    assert_warns(doctor.worker_processors(root, [0, 1, 2, 3], 4), "--threads 2")
    assert_warns(doctor.worker_processors(root, [0, 1], 2), "--threads 1")
    assert_ok(doctor.worker_processors(root, [0, 2], 2))
    assert_ok(doctor.worker_processors(root, [0, 1, 2, 3], 1))


def test_workers_on_cores_of_their_own_are_fine(tmp_path):
    root = machine(tmp_path, FIRST)
    line = doctor.worker_processors(root, [0, 1, 2, 3], 2)
    assert_ok(line)
    assert line.value == "2 (0-1) on 2 physical cores"
    assert_warns(doctor.worker_processors(root, [0, 1, 2, 3], 3), "--threads 2")


def test_unknown_siblings_are_no_cores(tmp_path):
    root = tree(tmp_path, {f"{CPU}/online": "0-1"})
    assert_unknown(doctor.worker_processors(root, [0, 1], 2))
    assert_unknown(doctor.worker_processors(root, None, 2))


V2_MOUNT = "24 20 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)


def v2(folder: Path, limit: str, *, above: str = "max 100000", throttled: int = 0) -> Path:
    return tree(
        folder,
        {
            "proc/self/mountinfo": V2_MOUNT,
            "proc/self/cgroup": "0::/user.slice/mine.scope\n",
            "sys/fs/cgroup/user.slice/cpu.max": above,
            "sys/fs/cgroup/user.slice/mine.scope/cpu.max": limit,
            "sys/fs/cgroup/user.slice/mine.scope/cpu.stat": (
                f"usage_usec 5\nnr_periods 90\nnr_throttled {throttled}\nthrottled_usec 3\n"
            ),
        },
    )


@pytest.mark.parametrize(
    ("limit", "above", "advice"),
    [
        ("150000 100000", "max 100000", "--threads 1 or raise"),
        ("max 100000", "350000 100000", "--threads 3 or raise"),
        ("50000 100000", "400000 100000", "raise the quota"),
    ],
)
def test_a_quota_below_the_processors_warns_wherever_it_is_set(tmp_path, limit, above, advice):
    first, stops = doctor.quota(v2(tmp_path, limit, above=above), 4)
    assert_warns(first, advice)
    assert_ok(stops)


@pytest.mark.parametrize("limit", ["max 100000", "400000 100000", "800000 100000"])
def test_a_quota_of_all_processors_is_fine(tmp_path, limit):
    first, stops = doctor.quota(v2(tmp_path, limit), 4)
    assert_ok(first)
    assert (first.value == "none") == limit.startswith("max")
    assert_ok(stops)


def test_a_group_that_was_stopped_warns(tmp_path):
    _, stops = doctor.quota(v2(tmp_path, "400000 100000", throttled=12), 4)
    assert_warns(stops, "raise it")
    assert "12 periods" in stops.value


@pytest.mark.parametrize(("quota_us", "verdict"), [("-1", "ok"), ("100000", "warning")])
def test_the_quota_of_a_container_under_cgroup_v1_is_read(tmp_path, quota_us, verdict):
    group = "sys/fs/cgroup/cpu,cpuacct"
    files = {
        "proc/self/mountinfo": V1_MOUNT,
        "proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
        f"{group}/cpu.cfs_quota_us": quota_us,
        f"{group}/cpu.cfs_period_us": "50000",
        f"{group}/cpu.stat": "nr_periods 1\nnr_throttled 0\nthrottled_time 0\n",
    }
    first, stops = doctor.quota(tree(tmp_path, files), 4)
    assert first.verdict == verdict
    assert ("2 processors' time" in first.value) == (verdict == "warning")
    assert_ok(stops)


def test_a_mount_point_with_a_blank_is_found(tmp_path):
    files = {
        "proc/self/mountinfo": "24 20 0:22 / /my\\040groups rw - cgroup2 cgroup2 rw\n",
        "proc/self/cgroup": "0::/a\n",
    }
    root = tree(tmp_path, files)
    assert doctor.control_folders(root) == [root / "my groups/a", root / "my groups"]


def test_no_control_groups_are_unknown_and_none_of_theirs_is_no_quota(tmp_path):
    assert [line.verdict for line in doctor.quota(tmp_path, 4)] == ["unknown"] * 2
    root = tree(
        tmp_path, {"proc/self/mountinfo": V2_MOUNT, "proc/self/cgroup": "0::/\n"}
    )  # the root group of v2 has neither cpu.max nor counters
    first, stops = doctor.quota(root, 4)
    assert_ok(first)
    assert_ok(stops)


# Load.


@pytest.mark.parametrize(("text", "bad"), [("0.79 9.0 9.0 1/86 3482", False), ("0.81 0 0", True)])
def test_load_counts_by_processor(tmp_path, text, bad):
    line = doctor.load(tree(tmp_path, {"proc/loadavg": text}), 4)
    assert_warns(line, "top") if bad else assert_ok(line)


@pytest.mark.parametrize("text", ["", "many", "nan 0 0", "\x00"])
def test_an_unreadable_load_is_unknown(tmp_path, text):
    assert_unknown(doctor.load(tree(tmp_path, {"proc/loadavg": text}), 4))


def stat(user: int, idle: int, steal: int) -> str:
    return f"cpu  {user} 0 0 {idle} 0 0 0 {steal} 7 0\ncpu0 1 2 3\nintr 5\n"


def process(name: str, user: int) -> str:
    return f"7 ({name}) S 1 7 7 0 -1 4194560 0 0 0 0 {user} 1 0 0 20 0 1 0 5"


def looked_at(folder: Path, before: dict, after: dict) -> list:
    first = doctor.sample(tree(folder, before))
    return doctor.busy(first, doctor.sample(tree(folder, after)))


def test_who_computes_now_is_named(tmp_path):
    work, stolen = looked_at(
        tmp_path,
        {"proc/stat": stat(100, 1000, 5), "proc/7/stat": process("a (b) c", 50)},
        {"proc/stat": stat(130, 1070, 5), "proc/7/stat": process("a (b) c", 75)},
    )
    assert_warns(work, "a (b) c first")
    assert work.value == "30% of all processors: a (b) c (pid 7) 25%"
    assert_ok(stolen)


def test_an_idle_machine_is_fine_and_stolen_time_warns(tmp_path):
    work, stolen = looked_at(
        tmp_path, {"proc/stat": stat(100, 1000, 5)}, {"proc/stat": stat(104, 1093, 8)}
    )
    assert_ok(work)
    assert_warns(stolen, "overbooked")
    assert stolen.value.startswith("3%")


def test_this_process_is_no_disturbance(tmp_path):
    me = f"proc/{os.getpid()}/stat"
    found = doctor.sample(tree(tmp_path, {"proc/stat": stat(1, 1, 0), me: process("me", 9)}))
    assert found.processes == {}


def test_no_sample_or_a_clock_that_stands_is_unknown(tmp_path):
    still = Sample(Ticks(10.0, 5.0, 0.0), {})
    for lines in (doctor.busy(doctor.sample(tmp_path), still), doctor.busy(still, still)):
        assert [line.verdict for line in lines] == ["unknown"] * 2


@pytest.mark.parametrize(("share", "bad"), [("0.00", False), ("4.90", False), ("17.5", True)])
def test_tasks_that_wait_for_a_processor_warn(tmp_path, share, bad):
    text = f"some avg10={share} avg60=0.11 avg300=0.11 total=3\nfull avg10=99.00 avg60=0 total=0\n"
    line = doctor.pressure(tree(tmp_path, {"proc/pressure/cpu": text}))
    assert_warns(line, "end what else") if bad else assert_ok(line)


def test_a_kernel_without_pressure_is_unknown(tmp_path):
    assert_unknown(doctor.pressure(tmp_path))


# Frequency and heat.


def cpuinfo(*, hypervisor: bool) -> dict[str, str]:
    flags = "fpu hypervisor_x" + (" hypervisor" if hypervisor else "")
    return {"proc/cpuinfo": f"processor\t: 0\nflags\t\t: {flags}\ncpu MHz\t\t: 2596.138\n"}


def test_a_virtual_machine_is_told_and_says_why_the_rest_is_not_visible(tmp_path):
    root = tree(tmp_path, cpuinfo(hypervisor=True))
    assert_warns(doctor.virtual_machine(root), "within a run")
    for line in (
        doctor.governor(root, [0]),
        doctor.boost(root),
        doctor.frequency(root, [0]),
    ):
        assert_unknown(line)
        assert "virtual machine" in line.value
    assert_unknown(doctor.heat(root, [0]))
    assert "host" in doctor.heat(root, [0]).value
    assert "2596.138 MHz" in doctor.frequency(root, [0]).value


def test_a_real_machine_is_told(tmp_path):
    root = tree(tmp_path, cpuinfo(hypervisor=False))
    assert_ok(doctor.virtual_machine(root))
    assert "virtual" not in doctor.governor(root, [0]).value
    assert_unknown(doctor.virtual_machine(tree(tmp_path, {"proc/cpuinfo": "Features: fp"})))


@pytest.mark.parametrize(
    ("first", "second", "bad"),
    [
        ("performance", "performance", False),
        ("performance", "powersave", True),
        ("schedutil", "schedutil", True),
    ],
)
def test_every_governor_but_performance_warns(tmp_path, first, second, bad):
    files = {
        f"{CPU}/cpu0/cpufreq/scaling_governor": f"{first}\n",
        f"{CPU}/cpu1/cpufreq/scaling_governor": f"{second}\n",
        f"{CPU}/cpu2/cpufreq/scaling_governor": "ondemand\n",  # not one of ours
    }
    line = doctor.governor(tree(tmp_path, files), [0, 1])
    assert_warns(line, "cpupower") if bad else assert_ok(line)


@pytest.mark.parametrize(
    ("file", "value", "bad", "cure"),
    [
        ("intel_pstate/no_turbo", "0", True, "echo 1 > /sys/devices"),
        ("intel_pstate/no_turbo", "1", False, ""),
        ("cpufreq/boost", "1", True, "echo 0 > /sys/devices"),
        ("cpufreq/boost", "0", False, ""),
    ],
)
def test_boost_warns_where_it_is_on(tmp_path, file, value, bad, cure):
    line = doctor.boost(tree(tmp_path, {f"{CPU}/{file}": value}))
    assert line.value == ("on" if bad else "off")
    assert_warns(line, cure) if bad else assert_ok(line)


def test_a_boost_file_with_something_else_is_unknown(tmp_path):
    assert_unknown(doctor.boost(tree(tmp_path, {f"{CPU}/cpufreq/boost": "perhaps"})))


@pytest.mark.parametrize(("cap", "bad"), [(3_500_000, False), (2_000_000, True)])
def test_a_frequency_range_that_is_cut_warns_but_a_slow_idle_clock_does_not(tmp_path, cap, bad):
    base = f"{CPU}/cpu0/cpufreq"
    files = {
        f"{base}/scaling_cur_freq": "800000",
        f"{base}/scaling_max_freq": str(cap),
        f"{base}/cpuinfo_max_freq": "3500000",
    }
    line = doctor.frequency(tree(tmp_path, files), [0])
    assert "0.80 GHz now" in line.value
    assert_warns(line, "--max 3.50GHz") if bad else assert_ok(line)


@pytest.mark.parametrize(("count", "bad"), [(0, False), (3, True)])
def test_heat_that_slowed_the_processor_warns(tmp_path, count, bad):
    base = f"{CPU}/cpu0/thermal_throttle"
    files = {f"{base}/core_throttle_count": "0", f"{base}/package_throttle_count": str(count)}
    line = doctor.heat(tree(tmp_path, files), [0])
    assert_warns(line, "cool it") if bad else assert_ok(line)


# Memory, disk, clock.


def meminfo(available: int, swap: int, free: int) -> dict[str, str]:
    return {
        "proc/meminfo": f"MemTotal: 9 kB\nMemAvailable:   {available} kB\n"
        f"SwapTotal: {swap} kB\nSwapFree: {free} kB\nHugePages_Total:       0\n"
    }


def test_little_memory_and_used_swap_warn(tmp_path):
    free, swap = doctor.memory(tree(tmp_path, meminfo(GIB, 2 * GIB, GIB)))
    assert_warns(free, "--backend")
    assert_warns(swap, "swapoff")
    assert swap.value == "1074 MB of 2147 MB in use"


@pytest.mark.parametrize("swap", [0, GIB])
def test_enough_memory_and_idle_swap_are_fine(tmp_path, swap):
    for line in doctor.memory(tree(tmp_path, meminfo(16 * GIB, swap, swap))):
        assert_ok(line)


def test_no_meminfo_is_unknown(tmp_path):
    for line in doctor.memory(tmp_path):
        assert_unknown(line)


def test_the_kernels_choice_of_huge_pages_is_told(tmp_path):
    path = "sys/kernel/mm/transparent_hugepage/enabled"
    assert doctor.huge_pages(tree(tmp_path, {path: "always [madvise] never"})).value == "madvise"
    assert_unknown(doctor.huge_pages(tree(tmp_path, {path: "always"})))


def test_workers_on_two_memory_nodes_are_warned_of(tmp_path):
    node = "sys/devices/system/node"
    root = tree(tmp_path, {f"{node}/node0/cpulist": "0-3", f"{node}/node1/cpulist": "4-7"})
    tree(root, {f"{node}/possible": "0-1"})
    assert_warns(doctor.memory_nodes(root, [3, 4]), "--cpu-list 0-3")
    assert_ok(doctor.memory_nodes(root, [0, 1]))
    assert doctor.memory_nodes(root, [4, 5]).value == "2; workers compute on node1"
    assert_unknown(doctor.memory_nodes(tmp_path / "none", [0]))


def test_free_space_is_that_of_the_folder_to_be(tmp_path):
    line = doctor.free_space("results", tmp_path / "not" / "yet", 1, "clean")
    assert_ok(line)
    assert f"{shutil.disk_usage(tmp_path).free / 1e9:.1f} GB" in line.value
    assert_warns(doctor.free_space("results", tmp_path, 10**18, "clean"), "clean")


def test_a_file_in_the_place_of_the_results_is_bad_input(tmp_path):
    file = tmp_path / "results"
    file.write_text("")
    with pytest.raises(InputError, match="not a directory"):
        doctor.free_space("results", file / "below", 1, "")


def test_a_fine_clock_is_fine_and_a_coarse_one_warns():
    assert_ok(doctor.clock(time.perf_counter_ns, 1e-9))
    ticks = iter(range(10**9))
    assert_warns(doctor.clock(lambda: next(ticks) // 5 * 10_000, 1e-9), "clock source")
    assert_warns(doctor.clock(time.perf_counter_ns, 1e-3), "clock source")
    assert doctor.clock(lambda: 7, 1e-9).verdict == "warning"


def test_the_cost_of_a_call_is_the_quickest_stretch():
    now = 0

    def read_ns() -> int:
        nonlocal now
        now += 5_000_000 if now == 250 else 50  # one long pause
        return now

    line = doctor.clock(read_ns, 1e-9)
    assert_ok(line)
    assert "smallest step seen 50 ns, 50 ns a call" in line.value


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
    line = doctor.clock_source(tree(tmp_path, files))
    assert line.verdict == verdict
    assert cure in line.advice


# Environment and GPU.


@pytest.mark.parametrize(
    "name",
    [
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "XLA_FLAGS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_ENABLE_ONEDNN_OPTS",
        "NVIDIA_TF32_OVERRIDE",
        "KMP_AFFINITY",
        "GOMP_CPU_AFFINITY",
        "JAX_ENABLE_X64",
        "JAX_DEFAULT_MATMUL_PRECISION",
        "OPENBLAS_CORETYPE",
        "ONEDNN_DEFAULT_FPMATH_MODE",
    ],
)
def test_a_variable_of_threads_or_precision_is_told_with_its_value(name):
    removed, kept = doctor.variables({name: "3", "HOME": "/"})
    assert_warns(removed, name)
    assert f"{name}=3" in removed.value
    assert_ok(kept)


def test_other_variables_are_no_warning_and_their_values_are_not_shown():
    removed, kept = doctor.variables({"TF_CLI_CONFIG_FILE": "secret", "HOME": "/"})
    assert_ok(removed)
    assert removed.value == "workers run without: TF_CLI_CONFIG_FILE"
    assert doctor.variables({"HOME": "/"})[0].value == "nothing to take away"
    assert_ok(kept)


def test_what_workers_keep_and_what_slows_them_warns():
    _, kept = doctor.variables({"LD_PRELOAD": "libjemalloc.so"})
    assert_warns(kept, "unset")
    assert "libjemalloc" in kept.value


def smi(devices: str | None, running: str | None):
    def run(words):
        return devices if any("--query-gpu" in word for word in words) else running

    return run


def test_no_gpu_is_none_and_a_failing_tool_is_unknown():
    assert [line.value for line in doctor.gpus(None, smi("", ""))] == [
        "none (no nvidia-smi on PATH)"
    ]
    assert_unknown(doctor.gpus("nvidia-smi", smi(None, None))[0])
    assert_unknown(doctor.gpus("nvidia-smi", smi("No devices were found\n", ""))[0])


def test_a_gpu_is_described_and_its_other_users_warn():
    card = "NVIDIA H200, 570.10, Enabled, 345, 1980\n"
    device, others = doctor.gpus("nvidia-smi", smi(card, ""))
    assert_ok(device)
    assert device.value == "NVIDIA H200, driver 570.10, 345 of 1980 MHz, persistence enabled"
    assert_ok(others)
    loose = card.replace("Enabled", "Disabled")
    device, others = doctor.gpus("nvidia-smi", smi(loose, "4711, python, 512\n"))
    assert_warns(device, "nvidia-smi -pm 1")
    assert_warns(others, "end them")
    assert "4711" in others.value
    assert_unknown(doctor.gpus("nvidia-smi", smi(card, None))[1])


def test_a_tool_that_fails_or_is_not_there_says_nothing():
    assert doctor.run_tool(["false"]) is None
    assert doctor.run_tool(["/nowhere/nvidia-smi"]) is None
    assert doctor.run_tool(["echo", "yes"]) == "yes\n"


# Whatever the bytes are.

TEXTS = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet="0123456789-,. \n:()cpumax/somevg10=[]kB\\", max_size=200).map(str.encode),
)
PROBES = {
    "proc/self/cgroup": lambda root: doctor.quota(root, 2),
    "proc/self/mountinfo": lambda root: doctor.quota(root, 2),
    "sys/fs/cgroup/a/cpu.max": lambda root: doctor.quota(root, 2),
    "sys/fs/cgroup/a/cpu.stat": lambda root: doctor.quota(root, 2),
    f"{CPU}/online": lambda root: [doctor.processors(root, [0])],
    f"{CPU}/cpu0/topology/thread_siblings_list": lambda root: [
        doctor.processors(root, [0]),
        doctor.worker_processors(root, [0], 1),
    ],
    "proc/loadavg": lambda root: [doctor.load(root, 2)],
    "proc/stat": lambda root: doctor.busy(doctor.sample(root), doctor.sample(root)),
    "proc/5/stat": lambda root: doctor.busy(doctor.sample(root), doctor.sample(root)),
    "proc/pressure/cpu": lambda root: [doctor.pressure(root)],
    "proc/cpuinfo": lambda root: [doctor.virtual_machine(root), doctor.frequency(root, [0])],
    f"{CPU}/cpu0/cpufreq/scaling_governor": lambda root: [doctor.governor(root, [0])],
    f"{CPU}/cpu0/cpufreq/scaling_max_freq": lambda root: [doctor.frequency(root, [0])],
    f"{CPU}/cpufreq/boost": lambda root: [doctor.boost(root)],
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": lambda root: [doctor.heat(root, [0])],
    "proc/meminfo": lambda root: doctor.memory(root),
    "sys/kernel/mm/transparent_hugepage/enabled": lambda root: [doctor.huge_pages(root)],
    "sys/devices/system/node/node0/cpulist": lambda root: [doctor.memory_nodes(root, [0])],
    f"{CLOCK}/current_clocksource": lambda root: [doctor.clock_source(root)],
}
SOUND = {
    "proc/self/cgroup": "0::/a\n",
    "proc/self/mountinfo": V2_MOUNT,
    "sys/fs/cgroup/a/cpu.max": "100000 100000",
    f"{CPU}/online": "0-1",
    f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "1000000",
    f"{CPU}/cpu0/cpufreq/scaling_max_freq": "1000000",
    f"{CPU}/cpu0/cpufreq/cpuinfo_max_freq": "1000000",
    "proc/stat": stat(1, 2, 3),
}


@pytest.mark.parametrize("path", PROBES)
@given(content=TEXTS)
def test_arbitrary_bytes_end_in_lines_that_can_be_printed(tmp_path_factory, path, content):
    root = tmp_path_factory.mktemp("system")
    lines = PROBES[path](tree(root, SOUND | {path: content}))
    shutil.rmtree(root)
    assert lines
    assert all(line.advice for line in lines if line.verdict == "warning")
    found = doctor.describe(lines)
    json.dumps(found)
    assert all(c.isprintable() or c == "\n" for c in doctor.as_text(found))


@given(st.text(max_size=100))
def test_parsers_take_any_text(text):
    for parse in (
        doctor.parse_number,
        doctor.parse_processors,
        doctor.parse_ticks,
        doctor.parse_process,
        doctor.parse_mounts,
        doctor.parse_fields,
    ):
        parse(text)
    for lines in (doctor.gpus("x", smi(text, text)), doctor.variables({"OMP_X": text})):
        assert lines


@given(st.sets(st.integers(0, 5000)))
def test_a_list_of_processors_survives_being_written(chosen):
    text = doctor.write_processors(chosen)
    assert doctor.parse_processors(text) == (sorted(chosen) if chosen else None)


@pytest.mark.parametrize("text", ["3-1", "0-99999", "1e3", "٣", "0,,1", "-1", "0-", ""])
def test_what_is_no_list_of_processors_is_none(text):
    assert doctor.parse_processors(text) is None


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
    for line in neighbours.threads("numpy", answer(190, 2), 2):
        assert_ok(line)
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
    assert neighbours.cost(noisy, [1.0] * 12).factor > neighbours.MOST_COST
    assert not neighbours.cost(noisy, [1.0] * 12).too_much
    assert neighbours.cost([1.2] * 12, [1.0] * 12).too_much


@given(st.integers(1, 40))
def test_the_lower_bound_holds_in_95_of_100_cases_as_scipy_counts(n):
    ratios = [float(k + 1) for k in range(n)]
    least = neighbours.cost(ratios, [1.0] * n).least
    # Rank r (from 0) is above the median where at most r of n values are below it.
    rank = int(least) - 1
    share = scipy_stats.binom.cdf(rank, n, 0.5)
    assert (rank < 0) == (n < neighbours.LEAST_ROUNDS)
    if rank >= 0:
        assert share <= 0.025 < scipy_stats.binom.cdf(rank + 1, n, 0.5)


@given(st.sets(st.text(max_size=3), max_size=6), st.integers())
def test_everyone_follows_everyone_once(keys, seed):
    found = neighbours.tour(sorted(keys), random.Random(seed))
    pairs = list(itertools.pairwise(found))
    assert sorted(pairs) == sorted((a, b) for a in keys for b in keys)


# This machine, against independent sources.


def by_topic(done: subprocess.CompletedProcess[str]) -> dict[str, dict]:
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    lines = document["lines"]
    assert document["warnings"] == sum(line["verdict"] == "warning" for line in lines)
    assert document["unknown"] == sum(line["verdict"] == "unknown" for line in lines)
    assert all(bool(line["advice"]) == (line["verdict"] == "warning") for line in lines)
    found = {line["topic"]: line for line in lines}
    assert len(found) == len(lines)
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
    line = doctor.processors(doctor.ROOT, doctor.allowed_processors())
    assert f"{len(rows)} logical, {len(cores)} physical" in line.value
    nodes = {row.split(",")[3] for row in rows} - {""}
    if nodes:
        assert doctor.memory_nodes(doctor.ROOT, [0]).value.startswith(f"{len(nodes)}")
    virtual = doctor.virtual_machine(doctor.ROOT).value.startswith("yes")
    assert virtual == bool(re.search("^Hypervisor vendor", lscpu(), re.M))


def test_a_system_that_tells_nothing_is_unknown_in_words(tmp_path):
    lines = doctor.examine_system(make_plan(), tmp_path, tmp_path / "no system", lambda _: None)
    of_python = ("results", "temporary", "clock:", "environment", "GPU")
    for line in lines:
        if not f"{line.topic}:".startswith(of_python):
            assert_unknown(line)
    assert sum(line.verdict == "unknown" for line in lines) > 15


def test_a_busy_process_is_seen_by_name():
    before = doctor.sample(doctor.ROOT)
    with subprocess.Popen(["sh", "-c", "while :; do :; done"]) as worker:
        try:
            for _ in range(100):  # others may hold the processors
                time.sleep(0.1)
                work, _ = doctor.busy(before, doctor.sample(doctor.ROOT))
                if f"(pid {worker.pid})" in work.value:
                    break
        finally:
            worker.kill()
    assert f"sh (pid {worker.pid})" in work.value


@pytest.mark.parametrize(
    "words", [("--threads", "0"), ("--backend", "nosuch"), ("--results-dir", "file/x")]
)
def test_bad_input_ends_with_2_and_one_line(tmp_path, words):
    (tmp_path / "file").write_text("")
    done = harness("doctor", "--quick", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1


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
