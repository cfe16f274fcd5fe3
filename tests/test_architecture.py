"""The house's rules, read off the source: who may import what, names in step, files short."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from backends import BACKENDS

ROOT = Path(__file__).parent.parent
FRAMEWORKS = {"torch", "jax", "jaxlib", "flax", "optax", "tensorflow", "keras", "mxnet"}
NAMES = list(BACKENDS)
MODELS = ("mlp_plain.py", "mlp_scratch.py")  # of the NumPy backend


def imports(path: Path) -> set[str]:
    """Every module a file imports, at the top or inside a function, dotted."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found |= {f"{base}.{alias.name}" for alias in node.names} | {base}
        elif isinstance(node, ast.Call):
            # import_module("torch") and __import__("torch") count too.
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "__import__") and node.args:
                given = node.args[0]
                if isinstance(given, ast.Constant):
                    found.add(str(given.value))
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "harness").rglob("*.py")), ids=str)
def test_the_harness_imports_no_framework_not_even_inside_a_function(path):
    assert {name.split(".")[0] for name in imports(path)} & FRAMEWORKS == set()
    # Of the backends it knows their tables only.
    assert {n for n in imports(path) if n.startswith("backends.")} <= {
        "backends.BACKENDS",
        "backends.BUILT_IN",
        "backends.Entry",
        "backends.PRECISIONS",
        "backends.STILL_BLAS",
    }


@pytest.mark.parametrize("path", sorted((ROOT / "backends").rglob("*.py")), ids=str)
def test_backends_import_nothing_of_the_harness_but_the_interface(path):
    of_harness = {name for name in imports(path) if name.split(".")[0] == "harness"}
    assert all(name.startswith("harness.interface") for name in of_harness)


def test_the_import_check_sees_an_import_inside_a_function(tmp_path):
    file = tmp_path / "sneaky.py"
    file.write_text("def f():\n    from torch import nn\n    import_module('jax')\n")
    assert {"torch", "jax"} <= {name.split(".")[0] for name in imports(file)}


@pytest.mark.parametrize("path", sorted((ROOT / "backends").rglob("*.py")), ids=str)
def test_every_file_of_a_backend_fits_on_a_few_screens(path):
    assert len(path.read_text().splitlines()) < 200


def public_names(path: Path) -> list[str]:
    """Public functions, classes and methods, in order of appearance."""
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found.append(node.name)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found.append(node.name)
            found += [
                f"{node.name}.{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_")
            ]
    return found


@pytest.mark.parametrize("file", ["__init__.py", "mlp_scratch.py", "operators.py"])
def test_the_backends_have_the_same_public_names_in_the_same_order(file):
    names = {name: public_names(ROOT / "backends" / name / file) for name in NAMES}
    assert names["numpy"]
    assert all(each == names["numpy"] for each in names.values()), names


def test_the_plain_model_has_the_names_of_the_buffered_one():
    plain, buffered = (public_names(ROOT / "backends" / "numpy" / file) for file in MODELS)
    assert plain == buffered


@pytest.mark.parametrize("name", NAMES)
def test_the_model_has_the_books_names(name):
    source = (ROOT / "backends" / name / "mlp_scratch.py").read_text()
    names = {getattr(n, "id", getattr(n, "attr", None)) for n in ast.walk(ast.parse(source))}
    names |= {n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant)}
    assert {"num_inputs", "num_outputs", "num_hiddens", "sigma", "W1", "b1", "W2", "b2"} <= names


@pytest.mark.parametrize("name", NAMES)
def test_every_backend_has_the_same_files(name):
    files = {path.name for path in (ROOT / "backends" / name).glob("*.py")}
    assert files >= {"__init__.py", "mlp_scratch.py", "operators.py"}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_not_every_backend_has_is_named_after_its_variant(name):
    stems = {path.stem for path in (ROOT / "backends" / name).glob("*.py")}
    own = {stem.removeprefix("mlp_") for stem in stems - {"__init__", "mlp_scratch", "operators"}}
    assert own <= {variant.replace("-", "_") for variant in BACKENDS[name].variants[1:]}


@pytest.mark.parametrize("file", MODELS)
def test_the_judge_shares_no_line_with_the_numpy_backend(file):
    def lines(path: Path) -> set[str]:
        tree = ast.parse(path.read_text())
        return {
            ast.unparse(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign | ast.AugAssign | ast.Return)
        }

    judge = lines(ROOT / "harness" / "workloads" / "mlp_scratch.py")
    assert judge & lines(ROOT / "backends" / "numpy" / file) == set()
    assert len(judge) > 10


@pytest.mark.parametrize("package", ["harness", "backends"])
def test_importing_the_package_imports_nothing_heavy(package):
    import subprocess
    import sys

    heavy = ("numpy", "typer", "torch")
    code = f"import sys, {package}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
