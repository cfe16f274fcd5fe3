"""Asks about pairs of a framework's functions, all in one process that has it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec

from harness.pair.document import Same
from tests.conftest import clean_environment, one_processor

ROOT = Path(__file__).parent.parent.parent


def inside(pairs: dict[str, tuple[str, ...]], timeout: float) -> dict[str, Same]:
    """By name, the answer about a pair: two sides, and what is drawn for them."""
    words = json.dumps({name: pair[:3] for name, pair in pairs.items()})
    with one_processor():
        done = subprocess.run(
            [sys.executable, "-m", "tests.pairs.inside", words],
            env=clean_environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
        )
    return msgspec.json.decode(done.stdout, type=dict[str, Same])
