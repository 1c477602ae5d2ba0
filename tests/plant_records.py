"""Records of real plants: those in tests/data, and all of the same sources where they are found.

They are found in the folder that CLPM_SHARED names, or in shared/data beside the clone. A record in both places is
taken from there, where it is complete.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
SHARED = Path(os.environ.get("CLPM_SHARED") or Path(__file__).parents[2] / "shared" / "data")


def plant_records(pattern: str = "plant_*/**/*", *, least: int = 1) -> list[Path]:
    """The records whose path below the folder of records is like the pattern, in the order of these paths.

    A campaign that takes more of them than tests/data holds says how many, and is skipped where they are not found.
    """
    paths = {path.relative_to(folder): path for folder in (DATA, SHARED) for path in folder.glob(pattern)
             if path.suffix in (".csv", ".txt")}
    found = [paths[name] for name in sorted(paths)]
    if len(found) < least and least > 1:
        pytest.skip(f"{len(found)} of {least} records are like {pattern}: CLPM_SHARED names the folder of all")
    assert found, f"no record is like {pattern} in {DATA}"
    return found
