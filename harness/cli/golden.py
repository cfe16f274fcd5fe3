"""The verbs golden write and golden check: a float64 training, stored, and a backend held to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from harness.cli.options import (
    DATASETS,
    SPEC,
    DataDir,
    DatasetName,
    Json,
    Python,
    Spec,
    Text,
    Threads,
    argument,
    option,
)
from harness.cli.output import at_work, print_document, show
from harness.errors import InputError
from harness.files import check_place

BuiltIn = Annotated[Text, option("--workload NAME", "A name of `harness list`.")]
MaybeSpec = Annotated[
    Text,
    argument(
        "[LABEL=]SPEC", f"The backend that trains: {SPEC}; default: the harness's own reference."
    ),
]
File = Annotated[Path, option("--file FILE", "The golden file.")]
After = Annotated[
    Text,
    option(
        "--after 1,10,100",
        "Keep the parameters after so many steps; default: 1, 10, 100 and the first epoch.",
    ),
]
Seed = Annotated[int, option("--seed N", "Of parameters and batch order.", min=0, max=10**9 - 1)]
FilesDataset = Annotated[
    Text, option(f"--dataset {DATASETS}", "Default: the one that the file was made with.")
]


def golden_write(
    file: File,
    spec: MaybeSpec = None,
    after: After = None,
    seed: Seed = 0,
    python: Python = None,
    threads: Threads = None,
    workload: BuiltIn = None,
    dataset: DatasetName = "auto",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> int:
    """Train in float64, and store the losses and some parameters: what others are held to."""
    import msgspec

    from harness.plan import settings
    from harness.report.golden import described
    from harness.run import golden, golden_file

    if spec is None and python is not None:
        raise InputError(f"--python {python}: for which backend? give its SPEC")
    check_place(file, "--file")
    steps = None if after is None else _steps(after)
    plan = golden.plan_for(
        spec,
        python=python,
        settled=settings.read().python,
        seed=seed,
        threads=threads,
        workload=workload,
        dataset=dataset,
        data_dir=data_dir,
    )
    with at_work() as progress:
        made = golden.make(plan, own=spec is None, after=steps, progress=progress)
    golden_file.write(made, file)
    document = {"golden": str(file), "header": msgspec.to_builtins(made.header)}
    print_document(document, as_json, f"{file}: {described(made.header)}")
    return 0


def golden_check(
    spec: Spec,
    file: File,
    python: Python = None,
    threads: Threads = None,
    dataset: FilesDataset = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> int:
    """Train one backend alone in float64, and hold it to a golden file: 1 where it differs."""
    from harness.plan import settings
    from harness.report.golden import report
    from harness.results.golden import to_json
    from harness.run import golden, golden_file

    wanted = golden_file.read(file)
    plan = golden.plan_for(
        spec,
        python=python,
        settled=settings.read().python,
        seed=wanted.header.seed,
        threads=threads,
        workload=wanted.header.workload.name,
        dataset=dataset if dataset is not None else wanted.header.data.name,
        data_dir=data_dir,
    )
    with at_work() as progress:
        checked = golden.check(wanted, plan, progress)
    if as_json:
        print_document(to_json(checked, file), as_json, "")
    else:
        show(report(checked))
    return 0 if checked.first is None else 1


def _steps(text: str) -> list[int]:
    """Numbers of steps from text like 1,10,100; InputError for any other."""
    words = text.split(",")
    if not all(word.isascii() and word.isdecimal() and 0 < len(word) < 8 for word in words):
        raise InputError(f"--after {text!r}: expected numbers of steps like 1,10,100")
    steps = sorted({int(word) for word in words})
    if steps[0] < 1 or len(steps) < len(words):
        raise InputError(f"--after {text!r}: numbers of steps from 1 up, each once")
    return steps
