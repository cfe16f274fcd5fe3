"""The house's rules, read off the source: floors, walls, no circle, short files, parallel rooms.

docs/architecture.md has the same house in words; a test holds the two against each other.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from backends import BACKENDS
from harness.data import SOURCES
from harness.workloads import DEFAULT, WORKLOADS
from harness.workloads.reference.optimisers import RULES

ROOT = Path(__file__).parent.parent
FRAMEWORKS = {"torch", "jax", "jaxlib", "flax", "optax", "tensorflow", "keras", "mxnet"}

# From the top floor down. A file imports from its own floor and from those below, never from above.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("export", "bundle", "testing"),
    ("report",),
    ("results", "conformance", "run", "doctor", "pair"),
    ("verdict", "explain", "measure", "workers"),
    ("record",),
    ("plan",),
    ("workloads", "data", "backends", "files", "tensors"),
    ("interface", "errors", "text", "progress", "signals"),
)
# What a wing never imports, whatever the floor: wings of the house, and packages.
NEVERS = {
    "plan": {"subprocess.Popen", "multiprocessing"},  # it starts no worker
    "measure": {"harness.verdict", "harness.workers", "harness.run"},
    "record": {"harness.tensors", "safetensors"},  # it stores measurements, not tensors
    "verdict": {"harness.tensors", "harness.measure", "harness.workers", "safetensors"},
    "workers": {"harness.verdict", "harness.measure", "harness.run"},  # they know not who asks
    "explain": {"harness.verdict", "harness.workers", "harness.run"},  # it judges nothing
    "report": {"harness.workers", "harness.run"},  # it measures nothing
    "results": {"harness.workers", "harness.run", "harness.measure"},
    "pair": {"harness.verdict", "harness.run"},  # its answer is no run's verdict
    "workloads": {"harness.plan", "harness.data"},
}
MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_MODULES_AT_THE_ROOT = 500, 60, 9
# Of every room; beside them stand a file a workload, and one a variant.
ROOMS = (
    *("__init__.py", "trainer.py", "optimisers.py"),
    *("operators.py", "layer_operators.py", "functions.py"),
)
# What other frameworks bring, written by hand.
ONLY = {
    "numpy": {"layers.py", "images.py"},
    "jax": {"losses.py", "memory.py"},
    "tensorflow": {"losses.py", "lean.py"},
}
# What the steps of a ladder share, in the harness and in every room.
LADDER = "nielsen_ladder.py"


class Import(NamedTuple):
    """One import, at the top of a file or inside a function: what, of whom, in which line."""

    module: str
    imported: str
    line: int


def modules(root: Path) -> dict[str, Path]:
    """Every module of harness/ and backends/, dotted."""
    found = {}
    for folder in ("harness", "backends"):
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, module: str = "") -> Iterator[Import]:
    """Everything a file imports, dotted: of `from a import b` a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                yield Import(module, f"{base}.{alias.name}", node.lineno)
        elif isinstance(node, ast.Call):
            # import_module("torch") and __import__("torch") count too.
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "__import__") and node.args:
                given = node.args[0]
                if isinstance(given, ast.Constant):
                    yield Import(module, str(given.value), node.lineno)


def wing(module: str) -> str:
    """The wing (or file of the ground) that a module belongs to."""
    parts = module.split(".")
    return parts[0] if parts[0] == "backends" else ".".join(parts[1:2])


def of_house(root: Path) -> list[Import]:
    """Every import of one file of the house by another: of a name, its module's."""
    known = modules(root)
    edges = []
    for module, path in known.items():
        for _, imported, line in imports(path, module):
            of = imported if imported in known else imported.rpartition(".")[0]
            if of in known and of != module:
                edges.append(Import(module, of, line))
    return edges


def climbing(root: Path) -> list[str]:
    """Imports of what lies on a floor above: who, where, whom."""
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    return [
        f"{module}:{line} imports {imported}, which lies above"
        for module, imported, line in of_house(root)
        if wing(module) and wing(imported) and floor[wing(imported)] < floor[wing(module)]
    ]


def circles(root: Path) -> list[list[str]]:
    """Groups of files that import one another, directly or around."""
    reached: dict[str, set[str]] = {module: set() for module in modules(root)}
    for module, imported, _ in of_house(root):
        reached[module].add(imported)
    for through in reached:  # Warshall's closure
        for module in reached:
            if through in reached[module]:
                reached[module] |= reached[through]
    groups = {
        tuple(sorted(o for o in reached[module] if module in reached[o]))
        for module in reached
        if module in reached[module]
    }
    return [list(group) for group in sorted(groups)]


def foreign(root: Path) -> list[str]:
    """Frameworks in harness/; in backends/ anything of harness/ but the interface; walls broken."""
    found = []
    for module, path in modules(root).items():
        for _, imported, line in imports(path, module):
            top = imported.split(".")[0]
            never = NEVERS.get(wing(module), set())
            if module.startswith("harness") and top in FRAMEWORKS:
                found.append(f"{module}:{line} imports {imported}, a framework")
            if module.startswith("backends") and top == "harness":
                if imported.startswith("harness.interface"):
                    continue
                found.append(f"{module}:{line} imports {imported}, not the interface")
            if any(imported == n or imported.startswith(f"{n}.") for n in never):
                found.append(f"{module}:{line} imports {imported}, which {wing(module)} never does")
    return found


def naming(root: Path) -> list[str]:
    """Files of harness/ and backends/ that name a model of the harness's, and are not its own."""
    texts = {
        str(path.relative_to(root)): path.read_text()
        for folder in ("harness", "backends")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = []
    # To look for a pattern in all of them takes seconds.
    alike = {at: text.replace("_", "-") for at, text in texts.items()}
    models = {workload.model for workload in WORKLOADS.values()}
    for model in models:
        file = f"{model.replace('-', '_')}.py"
        own = {f"backends/{name}/{file}" for name in BACKENDS} | {f"harness/workloads/{file}"}
        if model in SOURCES:  # its data are called so too, and others learn from them
            own |= {f"harness/data/{file}", "harness/data/__init__.py", "harness/cli/options.py"}
            own |= {at for at in texts if f'data="{model}"' in texts[at]}
        # The whole of a name: one may be a part of another's.
        longer = [other for other in models if model != other and other.startswith(model)]
        rest = "".join(f"(?!{re.sub('[-_]', '[-_]', other[len(model) :])})" for other in longer)
        # `statistics.linear_regression` is the library's.
        name = re.compile(rf"(?<![\w-])(?<!statistics\.){re.sub('[-_]', '[-_]', model)}{rest}\b")
        near = [at for at in texts if at not in own and model in alike[at]]
        found += [f"{at} names {model}" for at in near if name.search(texts[at])]
    return found


def test_no_import_climbs_not_even_inside_a_function():
    assert climbing(ROOT) == []


def test_no_files_import_one_another_in_a_circle():
    assert circles(ROOT) == []


def test_walls_hold_and_no_framework_is_in_the_harness():
    assert foreign(ROOT) == []


def test_a_model_is_named_in_its_own_files_and_nowhere_else():
    assert naming(ROOT) == []


def test_every_module_lies_in_a_wing_that_has_a_floor():
    known = {name for names in FLOORS for name in names}
    assert {wing(module) for module in modules(ROOT)} - {""} == known


def test_the_page_shows_the_same_floors_and_a_sentence_for_every_wing():
    page = (ROOT / "docs" / "architecture.md").read_text()
    block = [line for line in page.splitlines() if line.startswith("    ")]
    named = [
        {part.strip().removesuffix(".py").strip("/") for part in line.split("·")} for line in block
    ]
    assert named == [{*names} for names in FLOORS]
    for name in {name for names in FLOORS for name in names}:
        if (ROOT / "harness" / name).is_dir():
            assert f"\n| `{name}/` |" in page


# -- planted: each rule is seen to fail, with the files named ------------------------------------


@pytest.fixture
def copy(tmp_path):
    for folder in ("harness", "backends"):
        ignored = shutil.ignore_patterns("__pycache__", "templates")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    return tmp_path


def plant(copy: Path, file: str, line: str) -> None:
    path = copy / file
    path.write_text(f"{path.read_text()}\n\ndef planted() -> None:\n    {line}\n")


def test_an_import_that_climbs_is_named_with_both_files(copy):
    plant(copy, "harness/record/facts.py", "from harness.verdict import verdict")
    (found,) = climbing(copy)
    assert found.startswith("harness.record.facts:")
    assert found.endswith("imports harness.verdict.verdict, which lies above")


def test_a_circle_inside_a_function_is_named_with_both_files(copy):
    plant(copy, "harness/text.py", "from harness import errors")
    plant(copy, "harness/errors.py", "from harness import text")
    assert circles(copy) == [["harness.errors", "harness.text"]]


@pytest.mark.parametrize("line", ["import torch", "import_module('jax.numpy')"])
def test_a_framework_in_the_harness_is_named_with_its_file(copy, line):
    plant(copy, "harness/measure/distance.py", line)
    (found,) = foreign(copy)
    assert found.startswith("harness.measure.distance:")
    assert found.endswith("a framework")


def test_a_backend_that_imports_more_than_the_interface_is_named(copy):
    plant(copy, "backends/numpy/trainer.py", "from harness.text import clean")
    (found,) = foreign(copy)
    assert found.startswith("backends.numpy.trainer:")
    assert found.endswith("imports harness.text.clean, not the interface")


def test_a_verdict_that_sees_tensors_is_named(copy):
    plant(copy, "harness/verdict/numbers.py", "from harness.tensors import load_tensors")
    (found,) = foreign(copy)
    assert found.startswith("harness.verdict.numbers:")
    assert found.endswith("imports harness.tensors.load_tensors, which verdict never does")


@pytest.mark.parametrize("spelt", [str, lambda name: name.replace("-", "_")], ids=["-", "_"])
@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("backends/torch/trainer.py", "return {!r}"),
        ("harness/measure/ladder.py", "# as for {}"),
        ("harness/conformance/template/README.md.in", "`{}`"),
    ],
)
def test_a_file_that_names_a_model_is_named(copy, spelt, file, line):
    assert naming(copy) == []
    models = sorted({workload.model for workload in WORKLOADS.values()})
    for model in models:
        plant(copy, file, line.format(spelt(model)))
    assert sorted(naming(copy)) == [f"{file} names {model}" for model in models]


# -- sizes ---------------------------------------------------------------------------------------


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function of a file, with its number of lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield node.name, (node.end_lineno or 0) - node.lineno + 1


@pytest.mark.parametrize("path", modules(ROOT).values(), ids=str)
def test_a_file_is_short_and_so_are_its_functions(path):
    most = 199 if "backends" in path.relative_to(ROOT).parts else MOST_LINES
    assert len(path.read_text().splitlines()) <= most
    assert [
        f"{name}: {lines} lines"
        for name, lines in functions(path)
        if lines > MOST_LINES_OF_A_FUNCTION
    ] == []


@pytest.mark.parametrize("path", modules(ROOT).values(), ids=str)
def test_whether_a_path_is_there_is_asked_by_what_answers(path):
    """Path.is_dir and its like raise for a long name or a closed folder; os.path's say no."""
    asked = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and not node.args and not node.keywords
        if getattr(node.func, "attr", "") in ("is_dir", "is_file", "exists", "is_symlink")
        if "entry" not in ast.unparse(node.func)  # of os.scandir: it was there just now
    ]
    assert asked == []


def test_the_root_has_few_modules():
    assert len([*(ROOT / "harness").glob("*.py")]) <= MOST_MODULES_AT_THE_ROOT


# -- parallel rooms ------------------------------------------------------------------------------

NAMES = list(BACKENDS)
MODELS = sorted({f"{w.model.replace('-', '_')}.py" for w in WORKLOADS.values()})


def public_names(path: Path) -> list[str]:
    """Public functions, classes, methods and keys of tables, in order of appearance."""
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict):
            found += [ast.unparse(key) for key in node.value.keys if key is not None]
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            found.append(node.name)
            found += [
                f"{node.name}.{inner.name}"
                for inner in getattr(node, "body", [])
                if isinstance(node, ast.ClassDef)
                and isinstance(inner, ast.FunctionDef)
                and not inner.name.startswith("_")
            ]
    return found


@pytest.mark.parametrize("file", ["__init__.py", *ROOMS[-3:]])
def test_the_backends_have_the_same_public_names_in_the_same_order(file):
    names = {name: public_names(ROOT / "backends" / name / file) for name in NAMES}
    assert names["numpy"]
    assert all(each == names["numpy"] for each in names.values()), names


def test_the_rooms_rules_are_those_of_the_judge_in_their_order():
    for name in NAMES:
        named = public_names(ROOT / "backends" / name / "optimisers.py")
        assert [ast.literal_eval(n) for n in named if n.startswith("'")] == list(RULES)


@pytest.mark.parametrize("model", MODELS)
def test_a_models_files_have_the_same_names_in_the_same_order(model):
    """A class and its loss; beside them what a framework has no other way for."""
    names = [public_names(ROOT / "backends" / name / model) for name in NAMES]
    shared = [name for name in names[0] if all(name in each for each in names)]
    assert "loss" in shared
    assert any(name[0].isupper() for name in shared)
    assert all([name for name in each if name in shared] == shared for each in names), names


@pytest.mark.parametrize("name", NAMES)
def test_every_trainer_has_the_methods_of_numpys_in_their_order(name):
    # Beside it stand the copies to and from the device, where a framework has one.
    mine, numpys = (public_names(ROOT / "backends" / n / "trainer.py") for n in (name, "numpy"))
    assert [n for n in mine if n.startswith("Trainer")] == numpys


@pytest.mark.parametrize("name", NAMES)
def test_the_model_has_the_books_names(name):
    model = WORKLOADS[DEFAULT].model.replace("-", "_")
    source = (ROOT / "backends" / name / f"{model}.py").read_text()
    names = {getattr(n, "id", getattr(n, "attr", None)) for n in ast.walk(ast.parse(source))}
    names |= {n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant)}
    assert {"num_inputs", "num_outputs", "num_hiddens", "W1", "b1", "W2", "b2"} <= names


@pytest.mark.parametrize("name", NAMES)
def test_a_room_has_the_files_of_all_one_a_model_and_one_a_variant(name):
    files = {path.name for path in (ROOT / "backends" / name).glob("*.py")}
    variants = {f"{variant.replace('-', '_')}.py" for variant in BACKENDS[name].variants}
    of_all = {*ROOMS, *MODELS, LADDER}
    assert files >= of_all
    assert files - of_all - ONLY.get(name, set()) <= variants


def test_a_workload_is_one_file_of_the_harness():
    files = {path.name for path in (ROOT / "harness" / "workloads").glob("*.py")}
    assert files == {"__init__.py", "declare.py", "corners.py", LADDER} | {
        f"{name.replace('-', '_')}.py" for name in WORKLOADS
    }


def test_the_judge_shares_no_line_with_the_numpy_backend():
    def computed(path: Path) -> set[str]:
        return {
            ast.unparse(node)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Assign | ast.AugAssign | ast.Return)
            if any(isinstance(inner, ast.BinOp | ast.Call) for inner in ast.walk(node))
        }

    judge, backend = (
        set().union(*map(computed, (ROOT / folder).glob("*.py")))
        for folder in ("harness/workloads/reference", "backends/numpy")
    )
    assert judge & backend == set()
    assert min(len(judge), len(backend)) > 100


@pytest.mark.parametrize("package", ["harness", "backends"])
def test_importing_the_package_imports_nothing_heavy(package):
    heavy = ("numpy", "typer", "torch")
    code = f"import sys, {package}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
