"""A plan is made of known names only, and is the same after it was stored."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends import BACKENDS
from harness.cli.options import CHOOSING, Words, choices, choosing
from harness.errors import InputError
from harness.plan import make as planning
from harness.plan import plugins
from harness.plan.choices import Choices, parse_seeds
from harness.plan.make import available_threads
from harness.plan.model import Plan, Provided, at_most, checkpoint_steps
from harness.plan.profiles import TABLE, in_blocks
from harness.workloads import WORKLOADS
from tests import make
from tests.make import make_plan

MINE = Provided(source="mine.py:MINE", origin="file", reference=True, probes=False)


def refusal(call: Any, *args: Any, **named: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(*args, **named)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2
    return str(caught.value)


@given(st.lists(st.integers(0, 10**9 - 1), min_size=1, max_size=20, unique=True))
def test_seeds_are_read_as_they_are_written(seeds: list[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == tuple(seeds)
    assert parse_seeds(" , ".join(map(str, seeds))) == tuple(seeds)


@given(st.integers(0, 10**6), st.integers(0, 300))
def test_a_range_of_seeds_holds_both_its_ends(first: int, more: int) -> None:
    assert parse_seeds(f"{first}-{first + more}") == tuple(range(first, first + more + 1))


def test_numbers_and_ranges_of_seeds_can_be_mixed() -> None:
    assert parse_seeds("7,0-2,5") == (7, 0, 1, 2, 5)


MALFORMED = [
    "", " ", ",", "0,", ",0", "a", "0;1", "-1", "1-", "-", "1--2", "1-2-3", "0.5", "1e3", "0 1",
    "+1", "0,0", "0-3,2", "4-0", "3,4-0", "٣", "²", "0x1", "1_0", "10000000000", "0-1000000000",
    "1 - 2", "\n",
]  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_seeds_are_refused_in_one_line(text: str) -> None:
    assert refusal(parse_seeds, text).startswith("--seeds ")


@given(st.text(alphabet="0123456789,- x.\n٣", max_size=12))
@example("0-1000")
@example("0-999,1000")
def test_any_text_is_seeds_once_each_or_refused_in_one_line(text: str) -> None:
    try:
        seeds = parse_seeds(text)
    except InputError:
        assert refusal(parse_seeds, text).startswith("--seeds ")
        return
    assert 1 <= len(seeds) <= 1000
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 10**9 for seed in seeds)
    assert len(seeds) >= len(text.split(","))


@pytest.mark.parametrize(
    ("named", "choices"),
    [
        ({"profile": "quick"}, ("smoke", "default", "full")),
        ({"dtype": "float16"}, ("float32", "float64")),
        ({"device": "tpu"}, ("cpu", "cuda")),
        ({"workload": "resnet"}, tuple(WORKLOADS)),
        (
            {"reference": "torch", "backends": ("numpy",)},
            ("harness/float64", "numpy:float64"),
        ),
        ({"backends": ("pytorch",)}, ("numpy", "torch", "jax", "tensorflow")),
        ({"backends": ("numpy",), "variants": {"numpy": "eager"}}, ("buffered", "plain")),
        ({"backends": ("numpy",), "variants": {"torch": "eager"}}, ("numpy",)),
        ({"backends": ("numpy",), "plants": {"torch": "f.py:f"}}, ("numpy",)),
    ],
)
def test_an_unknown_name_is_refused_with_the_choices(
    named: dict[str, Any], choices: tuple[str, ...]
) -> None:
    message = refusal(make_plan, **named)
    assert message.endswith("choose from " + ", ".join(choices))
    assert message.startswith("--")


def test_a_backend_named_twice_is_refused() -> None:
    assert "every label once" in refusal(make_plan, backends=("numpy", "numpy"))


@pytest.mark.parametrize("threads", [0, -1, 10**6])
def test_threads_this_process_cannot_have_are_refused(threads: int) -> None:
    assert f"from 1 to {available_threads()}" in refusal(
        make_plan, backends=("numpy",), threads=threads
    )


def test_a_missing_backend_is_skipped_by_default_and_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else name)
    plan = make_plan()
    assert list(plan.labels) == ["numpy", "torch", "jax", "tensorflow"]
    assert list(plan.skipped) == ["torch"]
    assert "framework-harness[torch]" in plan.skipped["torch"]
    assert "framework-harness[torch]" in refusal(make_plan, backends=("torch",))


def test_a_framework_without_the_models_file_is_skipped_and_refused_by_name(tmp_path: Path) -> None:
    strange = msgspec.structs.replace(WORKLOADS["diabetes"], name="mine", model="my-net")
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "my_net.py").touch()

    def plan(rooms: Path | None = None, **words: Any) -> Plan:
        folder = None if rooms is None else str(rooms)
        return planning.make_plan(Choices(rooms=folder, **words), strange, None, MINE)

    assert all("no file for my-net in its room" in why for why in plan().skipped.values())
    assert {*plan().skipped} == {*BACKENDS}
    found = plan(tmp_path)
    assert "numpy" not in found.skipped
    assert found.rooms == str(tmp_path)
    said = refusal(plan, tmp_path, backends=("torch",))
    assert said.startswith(
        f"--backend torch: torch has no file for my-net in its room nor {tmp_path}"
    )
    assert refusal(plan, tmp_path / "gone").endswith("there is no such folder")


def test_a_float64_plan_has_no_twins_and_a_float32_plan_has() -> None:
    assert make_plan(backends=("numpy",)).labels["numpy"].twin
    assert not make_plan(backends=("numpy",), dtype="float64").labels["numpy"].twin


def steps_of(profile: str, steps: int) -> list[int]:
    return checkpoint_steps(make.plan(checkpoints=TABLE[profile].checkpoints), steps)


def test_the_checkpoints_of_the_default_profile_are_twelve() -> None:
    want = [0, 1, 2, 5, 10, 20, 50, 200, 760, 1500, 2348, 2349]
    assert steps_of("default", 2350) == want


def test_the_checkpoints_of_smoke_end_with_the_last_full_batch_and_the_short_one() -> None:
    assert steps_of("smoke", 31) == [0, 1, 10, 29, 30]


def test_the_checkpoints_of_full_are_the_first_ten_every_tenth_and_the_last_two() -> None:
    want = sorted({*range(10), *range(0, 2350, 10), 2348, 2349})
    assert steps_of("full", 2350) == want
    assert len(want) == 10 + 234 + 2


@given(st.sampled_from(["smoke", "default", "full"]), st.integers(1, 3000))
def test_checkpoints_are_ascending_and_inside_the_schedule(profile: str, steps: int) -> None:
    found = steps_of(profile, steps)
    assert found == sorted(set(found))
    assert found[0] == 0
    assert found[-1] == steps - 1


@pytest.mark.parametrize("profile", TABLE)
def test_a_plan_is_the_same_after_it_was_stored(profile: str) -> None:
    plan = make_plan(
        profile=profile,
        backends=("numpy",),
        seeds="0-4,9",
        threads=1,
        data_dir="/somewhere",
        timeout_s=7.5,
        memory_headroom=10**9,
        plants={"numpy": f"{__file__}:lr"},
    )
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
    assert plan.seeds == (0, 1, 2, 3, 4, 9)
    assert plan.labels["numpy"].plant == f"{__file__}:lr"


def test_a_plan_with_an_unknown_field_is_not_read() -> None:
    stored = msgspec.to_builtins(make.plan()) | {"speed": 1}
    with pytest.raises(msgspec.ValidationError, match="speed"):
        msgspec.convert(stored, Plan)


# By option of a verb that measures, a word that is not its default; each must reach the plan.
WORDS: dict[str, Any] = {
    "profile": "smoke",
    "backend": ["mine=numpy"],
    "python": [f"numpy={sys.executable}"],
    "variant": ["numpy=plain"],
    "all_variants": True,
    "device": "cuda",
    "dtype": "float64",
    "precision": "bfloat16",
    "seeds": "7",
    "threads": 1,
    "dataset": "synthetic",
    "data_dir": "/somewhere",
    "rooms": str(Path(__file__).parent),
    "reference": "numpy:float64",
    "expect": ["numpy:forward=its own relu"],
    "operators": True,
    "sessions": 4,
    "rounds": 3,
    "plant": [f"numpy={__file__}:lr"],
    "timeout": 7.5,
    "memory_limit": 500,
}


@pytest.mark.parametrize("option", WORDS)
def test_every_option_that_chooses_is_read_and_reaches_the_plan(
    option: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    # Nothing is missing: which backends are here is no part of the question, nor how many cores.
    monkeypatch.setattr(plugins, "missing", lambda *words: None)
    monkeypatch.setattr(planning, "available_threads", lambda: 4)
    plain, chosen = choices({}), choices({option: WORDS[option]})
    assert chosen != plain
    if option == "python":  # the harness's own interpreter, by another name
        assert chosen.pythons == {"numpy": sys.executable}
    else:
        assert planning.make_plan(chosen) != planning.make_plan(plain)


def test_no_option_that_chooses_is_left_out_above() -> None:
    assert {*WORDS} == {*CHOOSING} - {"workload", "size"}


def test_a_verb_takes_the_options_that_it_names_with_defaults_of_its_own() -> None:
    def verb(words: Words, file: str = "f", as_json: bool = False) -> int:
        assert (words, file, as_json) == ({"threads": 2, "sessions": 5}, "g", True)
        assert words.given == {"sessions"}
        return 3

    taken = choosing("threads", "sessions", sessions=5)(verb)
    parameters = inspect.signature(taken).parameters
    assert [*parameters] == ["context", "sessions", "threads", "file", "as_json"]
    assert parameters["sessions"].default == 5
    # An option that is written counts as given, though it names its default.
    sources = {"sessions": SimpleNamespace(name="COMMANDLINE")}
    context = SimpleNamespace(get_parameter_source=sources.get)
    assert taken(context=context, threads=2, sessions=5, file="g", as_json=True) == 3


def test_a_workload_of_few_steps_is_trained_no_further() -> None:
    few = msgspec.structs.replace(WORKLOADS["mlp-scratch"], steps=3)
    for profile in TABLE:
        plan = planning.make_plan(Choices(backends=("numpy",), profile=profile), few)
        assert plan.steps == 3
        assert plan.trajectory is not None
        assert (plan.trajectory.start_steps, plan.trajectory.start_after) == (3, (3,))
    whole = TABLE["default"].trajectory
    cut = whole.within(30)
    assert (cut.start_steps, cut.start_after) == (30, (20, 30))
    assert whole.within(100) == whole.within(None) == whole
    assert [at_most(*of) for of in ((None, None), (3, None), (None, 4), (5, 4))] == [
        None, 3, 4, 4,
    ]  # fmt: skip


def test_blocks_of_large_steps_have_few_of_them() -> None:
    timing = TABLE["default"].timing
    small, large = WORKLOADS["mlp-scratch"], WORKLOADS["resnet34"]
    assert in_blocks(timing, small) == timing
    blocks = in_blocks(timing, large)
    assert (blocks.warmup_steps, blocks.steps, blocks.burst_steps, blocks.rounds) == (1, 2, 0, 8)
    chosen = planning.make_plan(Choices(backends=("numpy",), rounds=20), large)
    assert (chosen.timing.rounds, chosen.timing.steps) == (20, 2)
    assert 40e9 < large.work < 50e9
    waited = chosen.timeouts
    assert (
        waited.per_step_s
        > 66
        > planning.make_plan(Choices(backends=("numpy",)), small).timeouts.per_step_s
    )
    assert waited.command_s > 6 * 66
