"""Print one sha256 of all hashes of golden_arrays.py, computed here; with --expected, of those of arrays.txt.

With --suites it is of samples and ground truth of the benchmark's small suites; expected is how they are frozen.
With --no-wide-instructions NumPy does without the vector instructions beyond the baseline of its build.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
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


def suite_hashes(is_expected: bool) -> dict[str, str]:
    """The sha256 of samples and ground truth of each small suite: as it is frozen, or computed here."""
    from clpm_execd.benchmark.dataset import write_dataset
    from clpm_execd.benchmark.suite import list_suites, load_suite

    hashes = {}
    for name in filter(lambda name: name.endswith("-small"), list_suites()):
        suite = load_suite(name)
        with tempfile.TemporaryDirectory() as folder:
            manifest = None if is_expected else write_dataset(suite, Path(folder))
        for part in ("samples", "truth"):
            hashes[f"{name} {part}"] = str(getattr(manifest, f"{part}_sha256") if manifest else suite.sha256[part])
    return hashes


def main() -> None:
    if "--no-wide-instructions" in sys.argv and WIDE not in os.environ:
        os.environ[WIDE] = " ".join(wide_instructions())
        os.execv(sys.executable, [sys.executable, *sys.argv])
    assert "--no-wide-instructions" not in sys.argv or not wide_instructions()
    is_expected = "--expected" in sys.argv
    if "--suites" in sys.argv:
        print(digest(suite_hashes(is_expected)))
        return
    sys.path.append(str(Path(__file__).parent))
    import golden_arrays

    print(digest(golden_arrays.read_hashes() if is_expected else golden_arrays.compute_hashes()))


if __name__ == "__main__":
    main()
