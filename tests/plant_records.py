"""Records of real plants: those in tests/data, and more of the same sources where they are available.

More are looked for in the folder that CLPM_SHARED names, or in shared/data next to the clone. A record in both places
is taken from there, where it is complete.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
SHARED = Path(os.environ.get("CLPM_SHARED") or Path(__file__).parents[2] / "shared" / "data")


def plant_records(pattern: str = "plant_*/**/*", *, least: int = 1) -> list[Path]:
    """Return the records whose path below the folder of records matches the pattern, in the order of these paths.

    least: how many a campaign needs, more than tests/data holds; it is skipped where fewer are available.
    """
    paths = {path.relative_to(folder): path for folder in (DATA, SHARED) for path in folder.glob(pattern)
             if path.suffix in (".csv", ".txt")}
    records = [paths[name] for name in sorted(paths)]
    if len(records) < least and least > 1:
        pytest.skip(f"{len(records)} of {least} records match {pattern}: CLPM_SHARED names the folder of all")
    assert records, f"no record matches {pattern} in {DATA}"
    return records
