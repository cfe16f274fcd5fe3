"""The options and arguments that verbs share, each with its help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

if TYPE_CHECKING:
    from harness.plan.choices import Choices

Text = str | None
Texts = list[str] | None
Place = Path | None
Whole = int | None


def option(form: str, says: str, **words: Any) -> Any:
    """An option from a form like --threads N."""
    name, _, metavar = form.partition(" ")
    return typer.Option(name, metavar=metavar or None, help=says, **words)


def argument(metavar: str, says: str) -> Any:
    """What stands without an option's name."""
    return typer.Argument(metavar=metavar, help=says)


# How a stored run may be named.
STORED = "a folder, a run's name, latest, or latest~N: the Nth before it"
SPEC = "a name (see harness list), MODULE:CLASS or FILE.py:CLASS"
# How a workload may be named; where a verb takes several of them.
WORKLOAD = "A name of `harness list`, MODULE:NAME or FILE.py:NAME"
WORKLOADS = f"{WORKLOAD}; several: A,B or a group."


# Words of which there is a fixed set, as --help shows them.
PROFILES, DEVICES, DTYPES = "smoke|default|full", "cpu|cuda", "float32|float64"
PRECISIONS = "strict|tf32|bfloat16"
DATASETS = "auto|synthetic|fashion-mnist|mnist|mnist-shifted|cifar-10|diabetes"


class Chosen(NamedTuple):
    """An option that chooses what is measured: its type, its default, and what --help says."""

    kind: Any
    default: Any
    form: str
    says: str
    heading: str = ""

    @property
    def option(self) -> Any:
        """It for a verb's signature."""
        return option(self.form, self.says, rich_help_panel=self.heading or None)


# By heading, in the order that --help shows.
GROUPS = {
    "How much": {
        "profile": Chosen(str, "default", f"--profile {PROFILES}", "How much is measured."),
        "seeds": Chosen(Text, None, "--seeds 0,1,2", "Seeds; default: the profile's."),
        "sessions": Chosen(
            *(Whole, None, "--sessions N"),
            "Timing sessions, in fresh processes each; a claim needs 5.",
        ),
        "rounds": Chosen(Whole, None, "--rounds N", "Timing rounds of a session."),
        "operators": Chosen(
            bool, False, "--operators", "Also judge single operators (as profile full)."
        ),
    },
    "Which backends": {
        "backend": Chosen(
            Texts, None, "--backend [LABEL=]SPEC", f"Only this one: {SPEC} (repeatable)."
        ),
        "python": Chosen(
            *(Texts, None, "--python LABEL=PATH"),
            "The interpreter it runs under (repeatable); or [python] in harness.toml.",
        ),
        "variant": Chosen(
            Texts, None, "--variant NAME=VARIANT", "Another way of executing (repeatable)."
        ),
        "all_variants": Chosen(
            bool, False, "--all-variants", "Every variant of every backend, each a label."
        ),
        "plant": Chosen(
            *(Texts, None, "--plant NAME=FILE:FUNCTION"),
            "Plant a fault in a backend, to see it caught (repeatable).",
        ),
    },
    "How they compute": {
        "device": Chosen(str, "cpu", f"--device {DEVICES}", "Where they compute."),
        "dtype": Chosen(str, "float32", f"--dtype {DTYPES}", "In which numbers."),
        "precision": Chosen(
            *(str, "strict", f"--precision {PRECISIONS}"),
            "Whether products may round their operands.",
        ),
        "threads": Chosen(Whole, None, "--threads N", "The same number for every backend."),
        "timeout": Chosen(
            float | None, None, "--timeout SECONDS", "Most time a worker has for one command."
        ),
        "memory_limit": Chosen(
            Whole, None, "--memory-limit MB", "Most memory a worker may add after its imports."
        ),
    },
    "What is trained": {
        "workload": Chosen(
            *(Text, None, "--workload SPEC"),
            f"{WORKLOAD}.",
        ),
        "size": Chosen(
            *(Text, None, "--size hidden=N"),
            "So many hidden units, where a workload can have them.",
        ),
        "rooms": Chosen(
            *(Place, None, "--rooms DIR"),
            "Your own files of models: DIR/torch/my_net.py, DIR/jax/my_net.py …",
        ),
        "dataset": Chosen(
            *(str, "auto", f"--dataset {DATASETS}"), "The workload's own data, or made ones."
        ),
        "data_dir": Chosen(
            *(Place, None, "--data-dir FOLDER"),
            "With the data's files, or with a folder for each source (or $HARNESS_DATA_DIR).",
        ),
    },
    "What judges": {
        "reference": Chosen(
            *(Text, None, "--reference LABEL:float64|FILE"),
            "A label's float64 process, or a golden file (lockstep).",
        ),
        "expect": Chosen(
            *(Texts, None, "--expect LABEL:RUNG[:TENSOR]=REASON"),
            "A known difference, or LABEL:OPERATOR: not counted; fails once gone (repeatable).",
        ),
    },
}
CHOOSING = {
    name: chosen._replace(heading=heading)
    for heading, group in GROUPS.items()
    for name, chosen in group.items()
}
Backends = Annotated[Texts, CHOOSING["backend"]._replace(heading="").option]
Device = Annotated[str, CHOOSING["device"]._replace(heading="").option]
Threads = Annotated[Whole, CHOOSING["threads"]._replace(heading="").option]
DatasetName = Annotated[str, CHOOSING["dataset"]._replace(heading="").option]
DataDir = Annotated[Place, CHOOSING["data_dir"]._replace(heading="").option]
WorkloadName = Annotated[Text, CHOOSING["workload"]._replace(heading="").option]
Rooms = Annotated[Place, CHOOSING["rooms"]._replace(heading="").option]
Python = Annotated[
    Text, option("--python PATH", "The interpreter it runs under (or harness.toml).")
]
Spec = Annotated[str, argument("[LABEL=]SPEC", f"The backend: {SPEC}.")]

ResultsDir = Annotated[Path, option("--results-dir DIR", "Where runs are stored.")]
LimitsFile = Annotated[
    Place, option("--limits FILE", "A TOML file of limits that go before the table's.")
]
Largest = Annotated[
    Place,
    option(
        "--largest FILE",
        "One page over all records instead: the largest value of each rung against its limit.",
    ),
]
ReportFolder = Annotated[
    Place, option("--out DIR", "Only write the reports of one run, into here.")
]
Into = Annotated[
    Place,
    option("--into FILE", "Only replace the tables between the markers of this Markdown file."),
]
WithoutImages = Annotated[
    bool, option("--without-images", "Leave the test set's images out of report.html.")
]
AsRun = Annotated[
    Place, option("--like RECORD", f"Just what a stored run did ({STORED}), in place of choices.")
]
NoCache = Annotated[
    bool, option("--no-cache", "The judge computes anew what it has computed before.")
]
CutOff = Annotated[
    Place,
    option(
        "--resume RUN",
        "Go on from a run that was cut off (a folder, a run's name, latest), in place of choices.",
    ),
]
Strict = Annotated[bool, option("--strict", "Inconclusive counts as disagreement.")]
NewName = Annotated[str, argument("NAME", "What pip, and `--backend`, are to call it.")]
PackageFolder = Annotated[Place, option("--out DIR", "The package's folder; default: NAME, here.")]
Json = Annotated[bool, option("--json", "One JSON document on stdout.")]
Quick = Annotated[bool, option("--quick", "Only what needs no worker.")]
MaybeRecord = Annotated[Place, argument("RECORD", "Folder of a stored run; default: measure.")]
MaybeRecords = Annotated[
    list[Path] | None, argument("RECORD...", "Folders of stored runs; default: measure.")
]
BaselineFile = Annotated[
    Place, option("--baseline FILE", "Default: baselines/<machine>.json in --results-dir.")
]
GivenBaseline = Annotated[
    Place, option("--baseline FILE", "Also compare step times with this baseline.")
]
OneRecord = Annotated[Path, argument("RECORD", f"A stored run: {STORED}.")]
BundleFolder = Annotated[
    Place, option("--out DIR", "Where to; default: bundle, in the run's folder.")
]
Widths = Annotated[Text, option("--widths 64,256", "Hidden units (64 to 4096), or channels.")]
Batches = Annotated[Text, option("--batches 32,256", "Batch sizes; default: 32 to 1024.")]
Sides = Annotated[Text, option("--sides 8,32", "Of convolutions: pixels on an image's side.")]
ThreadCounts = Annotated[
    Text, option("--threads 1,2", "Numbers of threads, each in fresh processes.")
]
Page = Annotated[Place, option("--page FILE", "Also write it here: .html, or .md.")]
StoredScale = Annotated[
    Place, argument("RECORD", "A stored run of scale: show that, and run nothing.")
]
Records = Annotated[list[Path], argument("RECORD...", f"Stored runs: {STORED}.")]
FormatName = Annotated[
    str,
    argument("pyperf|junit|github-action-benchmark|csv|tensorboard|mlflow", "The format to write."),
]
ExportTo = Annotated[
    Place, option("--out PATH", "A file, else stdout; for tensorboard a folder, needed.")
]
TrackingUri = Annotated[
    Text, option("--tracking-uri URI", "MLflow's server; default: MLFLOW_TRACKING_URI.")
]
FirstRun = Annotated[Path, argument("A", f"The run before: {STORED}.")]
SecondRun = Annotated[Place, argument("B", "The run after; with --pair, default: the same.")]
LabelNames = Annotated[
    Texts,
    option(
        "--label NAME_IN_A=NAME_IN_B",
        "A label that has another name in B (repeatable); others are matched by name.",
    ),
]
OnlyLabels = Annotated[Texts, option("--label LABEL", "Only this one (repeatable).")]
LabelPairs = Annotated[
    Texts,
    option(
        "--pair LABEL_IN_A=LABEL_IN_B",
        "Compare only these (repeatable); A and B may be the same run.",
    ),
]
MarkdownFile = Annotated[Place, option("--markdown FILE", "Also write it as Markdown here.")]
PageFile = Annotated[Place, option("--page FILE", "Also write it as an HTML page here.")]
FailOn = Annotated[
    Literal["worse", "moved"],
    option("--fail-on worse|moved", "What ends with 1; moved: whatever moved."),
]


Verb = Callable[..., int]


class Words(dict[str, Any]):
    """Options of CHOOSING by name, each with its value; `given`: those that somebody wrote."""

    given: frozenset[str] = frozenset()


def choosing(
    *names: str, says: Mapping[str, str] | None = None, **defaults: Any
) -> Callable[[Verb], Verb]:
    """A verb that takes these options of CHOOSING too, all where none is named.

    They reach it as one dictionary, its first argument. `says`: of some another help than the
    table's; `defaults`: other ones.
    """

    def decorate(verb: Verb) -> Verb:
        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [
            inspect.Parameter(
                name,
                keyword,
                default=defaults.get(name, chosen.default),
                annotation=Annotated[chosen.kind, chosen.option],
            )
            for name, chosen in _with_help(says or {}).items()
            if not names or name in names
        ]
        _, *own = inspect.signature(verb, eval_str=True).parameters.values()
        context = inspect.Parameter("context", keyword, annotation=typer.Context)
        parameters = [context, *shared, *own]
        parameters.sort(key=lambda parameter: parameter.name == "as_json")  # stands last

        def with_choices(*, context: typer.Context, **words: Any) -> int:
            chosen = Words({each.name: words.pop(each.name) for each in shared})
            chosen.given = frozenset(name for name in chosen if _is_given(context, name))
            return verb(chosen, **words)

        with_choices.__name__, with_choices.__doc__ = verb.__name__, verb.__doc__
        with_choices.__annotations__ = {each.name: each.annotation for each in parameters}
        vars(with_choices)["__signature__"] = inspect.Signature(
            [each.replace(kind=keyword) for each in parameters]
        )
        return with_choices

    return decorate


def _with_help(says: Mapping[str, str]) -> dict[str, Chosen]:
    """CHOOSING, where these say something else."""
    return CHOOSING | {name: CHOOSING[name]._replace(says=text) for name, text in says.items()}


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line: also one that names its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


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
        "rooms": ("rooms", str),
        "expect": ("expect", lambda texts: tuple(map(reading.parse_expectation, texts))),
        "timeout": ("timeout_s", reading.parse_timeout),
        "memory_limit": ("memory_headroom", reading.parse_memory),
    }
    fields = dict(fixed)
    for name, value in words.items():
        if value is not None and name not in ("workload", "size"):
            field, read_word = read.get(name, (name, lambda word: word))
            fields[field] = read_word(value)
    return reading.Choices(settled=settings.read().python, **fields)
