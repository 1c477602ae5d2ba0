"""How fast a plant's export becomes arrays, and in how much memory, beside the usual way to read a table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from baselines import START, quickest
from results import Results
from tiers import CAMPAIGNS

from clpm_execd.encoding.csv import LongCsv, WideCsv
from clpm_execd.plant.defaults import default_loops
from clpm_execd.plant.plant import Plant
from clpm_execd.records import read_record

ROWS = 1_000_000 if CAMPAIGNS else 12_000
FORMS = {"wide": (WideCsv, 1), "long": (LongCsv, 3)}  # rows a sample

# Of the program itself: what getrusage says of a child includes its parent.
PEAK = """
import re, sys
from pathlib import Path
from clpm_execd.records import read_record
read_record(Path(sys.argv[1]))
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.parametrize("form", FORMS)
def test_a_table_to_a_record(form: str, tmp_path: Path, results: Results) -> None:
    kind, each = FORMS[form]
    source = Plant(default_loops()[:1], start=START)
    encoder = kind(source.loops)
    path = tmp_path / "history.csv"
    with path.open("wb") as file:
        file.write(encoder.header())
        for _ in range(ROWS // each // 1000):
            file.write(encoder.encode(source.advance(1000)))

    def by_pandas() -> None:
        table = pd.read_csv(path)
        time = "_time" if form == "long" else "time"
        table[time] = pd.to_datetime(table[time], format="ISO8601")
        if form == "long":
            table.pivot_table(index=time, columns="_field", values="_value")

    spent = quickest({"read_record": lambda: read_record(path), "pandas.read_csv, to_datetime and pivot": by_pandas})
    rates = {way: ROWS / seconds for way, seconds in spent.items()}
    ours = rates.pop("read_record")
    results.against(f"reading {ROWS:,} rows, {form}", "rows/s", ("read_record", ours), rates)
    result = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True)
    results.add(f"reading {ROWS:,} rows, {form}", "peak memory", int(result.stdout) / 1024, "MB")
