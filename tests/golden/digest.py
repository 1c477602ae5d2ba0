"""Print one sha256 of all hashes of golden_arrays.py, computed here; with --expected, of those of arrays.txt.

With --no-wide-instructions NumPy does without the vector instructions beyond the baseline of its build.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

WIDE = "NPY_DISABLE_CPU_FEATURES"


def wide_instructions() -> list[str]:
    """The sets of instructions that NumPy may choose when it is imported."""
    try:
        from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
    except ImportError:  # before NumPy 2
        from numpy.core._multiarray_umath import __cpu_dispatch__, __cpu_features__
    return [name for name in __cpu_dispatch__ if __cpu_features__[name]]


def digest(hashes: Mapping[str, str]) -> str:
    text = "".join(f"{name}: {value}\n" for name, value in sorted(hashes.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    if "--no-wide-instructions" in sys.argv and WIDE not in os.environ:
        os.environ[WIDE] = " ".join(wide_instructions())
        os.execv(sys.executable, [sys.executable, *sys.argv])
    assert "--no-wide-instructions" not in sys.argv or not wide_instructions()
    sys.path.append(str(Path(__file__).parent))
    import golden_arrays

    hashes = golden_arrays.read_hashes() if "--expected" in sys.argv else golden_arrays.compute_hashes()
    print(digest(hashes))


if __name__ == "__main__":
    main()
