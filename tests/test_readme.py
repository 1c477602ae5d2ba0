"""The README is held to the program: its table of faults, and the code in it, are what the program has and does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clpm_execd.plant.faults import FAULTS

README = (Path(__file__).parent.parent / "README.md").read_text()


def table_of_faults() -> str:
    rows = ["| kind | group | what it does | parameters, with their defaults |", "|---|---|---|---|"]
    for kind in FAULTS.values():
        given = (f"`{name}` {about.default} {about.unit}".strip() for name, about in kind.parameters.items())
        rows.append(f"| `{kind.name}` | {kind.group} | {kind.meaning} | {', '.join(given)} |")
    return "\n".join(rows)


def test_the_table_of_faults_is_the_programs() -> None:
    assert table_of_faults() in README, "the table in README.md should be:\n" + table_of_faults()


def test_the_python_in_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, "README.md", "exec"), {})
