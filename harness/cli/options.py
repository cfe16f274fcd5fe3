"""The options and arguments that verbs share, each with its help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from harness.plan.choices import Choices

# How a stored run may be named.
STORED = "a folder, a run's name, latest, or latest~N: the Nth before it"

WorkloadName = Annotated[
    str,
    typer.Option("--workload", metavar="SPEC", help="A name, MODULE:NAME or FILE.py:NAME."),
]
Profile = Annotated[str, typer.Option(help="smoke, default or full: how much is measured.")]
SPEC = "a name (see harness list), MODULE:CLASS or FILE.py:CLASS"
Backends = Annotated[
    list[str] | None,
    typer.Option("--backend", metavar="[LABEL=]SPEC", help=f"Only this one: {SPEC} (repeatable)."),
]
Pythons = Annotated[
    list[str] | None,
    typer.Option(
        "--python",
        metavar="LABEL=PATH",
        help="The interpreter it runs under (repeatable); or [python] in harness.toml.",
    ),
]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant", metavar="NAME=VARIANT", help="Another way of executing (repeatable)."
    ),
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Dtype = Annotated[str, typer.Option(help="float32 or float64.")]
Precision = Annotated[
    str, typer.Option(help="strict; tf32 or bfloat16 where products may round their operands.")
]
Seeds = Annotated[str | None, typer.Option(metavar="0,1,2", help="Seeds; default: the profile's.")]
Threads = Annotated[int | None, typer.Option(help="The same number for every backend.")]
DatasetName = Annotated[str, typer.Option("--dataset", help="auto, fashion-mnist or synthetic.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder with the four idx files.")]
ResultsDir = Annotated[Path, typer.Option(help="Where runs are stored.")]
ReferenceLabel = Annotated[
    str | None,
    typer.Option(
        "--reference",
        help="What everything is judged against: LABEL:float64, or a golden FILE (lockstep).",
    ),
]
Expect = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL:RUNG=REASON",
        help="A known difference: shown, not counted; a failure once it is gone (repeatable).",
    ),
]
Operators = Annotated[
    bool, typer.Option("--operators", help="Also tabulate single operators (as profile full).")
]
AllVariants = Annotated[
    bool, typer.Option("--all-variants", help="Every variant of every backend, each a label.")
]
Sessions = Annotated[
    int | None,
    typer.Option(metavar="N", help="Timing sessions, in fresh processes each; a claim needs 5."),
]
Rounds = Annotated[int | None, typer.Option(metavar="N", help="Timing rounds of a session.")]
LimitsFile = Annotated[
    Path | None, typer.Option("--limits", help="A TOML file of limits that go before the table's.")
]
Largest = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="One page over all records instead: the largest value of each rung against its limit.",
    ),
]
ReportFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Only write the reports of one run, into here."),
]
Into = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Only replace the tables between the markers of this Markdown file.",
    ),
]
WithoutImages = Annotated[
    bool,
    typer.Option("--without-images", help="Leave the test set's images out of report.html."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Inconclusive counts as disagreement.")]
Plants = Annotated[
    list[str] | None,
    typer.Option(
        "--plant",
        metavar="NAME=FILE:FUNCTION",
        help="Plant a fault in a backend, to see it caught (repeatable).",
    ),
]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Most time a worker has for one command.")
]
Memory = Annotated[
    int | None, typer.Option(metavar="MB", help="Most memory a worker may add after its imports.")
]
NewName = Annotated[
    str, typer.Argument(metavar="NAME", help="What pip, and `--backend`, are to call it.")
]
PackageFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="The package's folder; default: NAME, here."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Quick = Annotated[bool, typer.Option("--quick", help="Only what needs no worker.")]
MaybeRecord = Annotated[
    Path | None, typer.Argument(help="Folder of a stored run; default: measure.", metavar="RECORD")
]
MaybeRecords = Annotated[
    list[Path] | None,
    typer.Argument(help="Folders of stored runs; default: measure.", metavar="RECORD..."),
]
BaselineFile = Annotated[
    Path | None,
    typer.Option(
        "--baseline", metavar="FILE", help="Default: baselines/<machine>.json in --results-dir."
    ),
]
GivenBaseline = Annotated[
    Path | None,
    typer.Option("--baseline", metavar="FILE", help="Also compare step times with this baseline."),
]
OneRecord = Annotated[Path, typer.Argument(help=f"A stored run: {STORED}.", metavar="RECORD")]
BundleFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where to; default: bundle, in the run's folder.")
]
Widths = Annotated[
    str | None,
    typer.Option("--widths", metavar="64,256", help="Hidden units; default: 64 to 4096."),
]
Batches = Annotated[
    str | None,
    typer.Option("--batches", metavar="32,256", help="Batch sizes; default: 32 to 1024."),
]
ThreadCounts = Annotated[
    str | None,
    typer.Option("--threads", metavar="1,2", help="Numbers of threads, each in fresh processes."),
]
Page = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write the page here, as Markdown.")
]
StoredScale = Annotated[
    Path | None,
    typer.Argument(help="A stored run of scale: show that, and run nothing.", metavar="RECORD"),
]
Records = Annotated[list[Path], typer.Argument(help=f"Stored runs: {STORED}.", metavar="RECORD...")]
FormatName = Annotated[
    str,
    typer.Argument(
        help="pyperf, junit, github-action-benchmark, csv, tensorboard or mlflow.",
        metavar="FORMAT",
    ),
]
ExportTo = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="PATH", help="A file, else stdout; for tensorboard a folder, needed."
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(metavar="URI", help="MLflow's server; default: MLFLOW_TRACKING_URI."),
]
FirstRun = Annotated[Path, typer.Argument(help=f"The run before: {STORED}.", metavar="A")]
SecondRun = Annotated[
    Path | None, typer.Argument(help="The run after; with --pair, default: the same.", metavar="B")
]
LabelNames = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="NAME_IN_A=NAME_IN_B",
        help="A label that has another name in B (repeatable); others are matched by name.",
    ),
]
LabelPairs = Annotated[
    list[str] | None,
    typer.Option(
        "--pair",
        metavar="LABEL_IN_A=LABEL_IN_B",
        help="Compare only these (repeatable); A and B may be the same run.",
    ),
]
MarkdownFile = Annotated[
    Path | None, typer.Option("--markdown", metavar="FILE", help="Also write it as Markdown here.")
]
PageFile = Annotated[
    Path | None, typer.Option("--page", metavar="FILE", help="Also write it as an HTML page here.")
]


# The options that choose what is measured, in the order that --help shows, each with its default.
CHOOSING: dict[str, tuple[Any, Any]] = {
    "profile": (Profile, "default"),
    "backend": (Backends, None),
    "python": (Pythons, None),
    "variant": (Variants, None),
    "all_variants": (AllVariants, False),
    "device": (Device, "cpu"),
    "dtype": (Dtype, "float32"),
    "precision": (Precision, "strict"),
    "seeds": (Seeds, None),
    "threads": (Threads, None),
    "dataset": (DatasetName, "auto"),
    "data_dir": (DataDir, None),
    "workload": (WorkloadName, "mlp-scratch"),
    "reference": (ReferenceLabel, None),
    "expect": (Expect, None),
    "operators": (Operators, False),
    "sessions": (Sessions, None),
    "rounds": (Rounds, None),
    "plant": (Plants, None),
    "timeout": (Timeout, None),
    "memory_limit": (Memory, None),
}

Verb = Callable[..., int]


def choosing(*names: str, **defaults: Any) -> Callable[[Verb], Verb]:
    """A verb that takes these options of CHOOSING too, all where none is named.

    They reach it as one dictionary, its first argument. `defaults`: other ones than the table's.
    """

    def decorate(verb: Verb) -> Verb:
        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [
            inspect.Parameter(
                name, keyword, default=defaults.get(name, default), annotation=annotation
            )
            for name, (annotation, default) in CHOOSING.items()
            if not names or name in names
        ]
        _, *own = inspect.signature(verb, eval_str=True).parameters.values()
        parameters = [*shared, *own]
        parameters.sort(key=lambda parameter: parameter.name == "as_json")  # stands last

        def with_choices(**words: Any) -> int:
            return verb({each.name: words.pop(each.name) for each in shared}, **words)

        with_choices.__name__, with_choices.__doc__ = verb.__name__, verb.__doc__
        with_choices.__annotations__ = {each.name: each.annotation for each in parameters}
        vars(with_choices)["__signature__"] = inspect.Signature(
            [each.replace(kind=keyword) for each in parameters]
        )
        return with_choices

    return decorate


def choices(words: Mapping[str, Any], **fixed: Any) -> Choices:
    """What a verb's words choose, harness.toml included; InputError for any that is none."""
    from harness.plan import choices as reading
    from harness.plan import settings

    read: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "backend": ("backends", tuple),
        "python": ("pythons", lambda texts: reading.pairs("--python", texts)),
        "variant": ("variants", lambda texts: reading.pairs("--variant", texts)),
        "plant": ("plants", lambda texts: reading.pairs("--plant", texts)),
        "data_dir": ("data_dir", str),
        "expect": ("expect", lambda texts: tuple(map(reading.parse_expectation, texts))),
        "timeout": ("timeout_s", reading.parse_timeout),
        "memory_limit": ("memory_headroom", reading.parse_memory),
    }
    fields = dict(fixed)
    for name, value in words.items():
        if value is not None and name != "workload":
            field, read_word = read.get(name, (name, lambda word: word))
            fields[field] = read_word(value)
    return reading.Choices(settled=settings.read().python, **fields)
