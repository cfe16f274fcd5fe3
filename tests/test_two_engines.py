"""examples/two-engines as its users have it: five tests of two engines, which pass and can fail."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import clean_environment, needs, one_processor

EXAMPLE = Path(__file__).parent.parent / "examples" / "two-engines"
# By what stands in PyTorch's engine: what stands there instead.
FAULTS = {"correction=0": "correction=1", "torch.relu(x)": "torch.where(x > 0, x, 0.0)"}


def suite(folder: Path, ends: int) -> str:
    """What pytest says in a project's folder."""
    with one_processor():
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"],
            cwd=folder,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == ends, done.stdout + done.stderr
    return done.stdout


@needs("torch")
def test_both_engines_pass_and_a_fault_is_told_with_point_values_and_explanation(tmp_path):
    folder = shutil.copytree(EXAMPLE, tmp_path / "two-engines")
    assert re.search("^5 passed", suite(folder, 0), re.MULTILINE)
    engine = folder / "duo" / "torch_engine.py"
    text = engine.read_text()
    for right, wrong in FAULTS.items():
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    engine.write_text(text)
    said = suite(folder, 1)
    assert "2 failed, 3 passed" in said
    for line in (
        "different functions: in float64 value[0] is 0.91197",
        "element     [0]",
        "numpy       0.911975005",
        "torch       0.919184406",
        "explanation torch gives 1.00791 times what numpy does, sqrt(n / (n - 1)) with n = 64",
        "special points only: nan in x: value[4, 0] is nan by numpy, 0 by torch",
        "point       nan in x",
    ):
        assert line in said, line


def test_the_tests_are_short_and_the_readme_shows_what_they_say():
    assert len((EXAMPLE / "tests" / "test_engines.py").read_text().splitlines()) <= 25
    readme, engine = ((EXAMPLE / name).read_text() for name in ("README.md", "duo/torch_engine.py"))
    assert all(right in engine for right in FAULTS)
    assert "different at special points only: nan in x: value[4, 0] is nan by numpy, 0" in readme
