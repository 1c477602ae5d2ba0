"""The samples are the same to the last bit on every platform (tests/platforms.py says which, and makes them)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import digest
import golden_arrays
import platforms
import pytest

EXPECTED = digest.digest(golden_arrays.read_hashes())
PLANTS = "vectorised or stiction or learned or refinery"


@pytest.mark.process
def test_the_samples_do_not_depend_on_wide_instructions() -> None:
    file = Path(__file__).with_name("test_arrays.py")
    tests = [sys.executable, "-m", "pytest", "-q", "-n", "0", str(file), "-k", PLANTS]
    environment = {**os.environ, digest.WIDE: " ".join(digest.wide_instructions())}
    result = subprocess.run(tests, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.campaign
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("platform", list(platforms.platforms()), ids=lambda platform: platform.name)
def test_the_samples_are_the_same_on(platform: platforms.Platform) -> None:
    assert platforms.compute_digest(platform) == EXPECTED
