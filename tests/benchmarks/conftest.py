"""What the benchmarks measured, as one table at the end of the run and, in CLPM_FIGURES, as a JSON file.

    CLPM_LONG=1 CLPM_FIGURES=figures.json pytest tests/benchmarks

Every result is a ratio of two ways measured in the same run; no speed is asserted. Without CLPM_LONG the runs are
short, and good for no more than seeing that the benchmarks work.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from tiers import CAMPAIGNS

sys.path.append(str(Path(__file__).parent))

from results import Results

_RESULTS = Results()


@pytest.fixture
def results() -> Results:
    return _RESULTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _RESULTS.rows:
        return
    terminalreporter.section("results" if CAMPAIGNS else "results of a short run")
    for line in _RESULTS.lines():
        terminalreporter.write_line(line)
    if path := os.environ.get("CLPM_FIGURES"):
        Path(path).write_text(json.dumps([asdict(row) for row in _RESULTS.rows], indent=1) + "\n")
