"""The plant's numbers are the same to the last bit on every platform, and after every change that is not about them."""

from __future__ import annotations

import golden_arrays
import pytest
from golden_arrays import Case

CASES = list(golden_arrays.cases())
HASHES = golden_arrays.read_hashes()

# numba compiles for some seconds before the first of its cases
MARKED = [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.engine == "numba" else [])
          for case in CASES]


@pytest.mark.parametrize("case", MARKED)
def test_the_arrays_have_the_bits_that_are_written_down(case: Case) -> None:
    hashes = golden_arrays.run(case)
    assert hashes == {name: HASHES[name] for name in hashes}


def test_every_hash_belongs_to_a_case() -> None:
    assert {name.rpartition(": ")[0] for name in HASHES} == {case.name for case in CASES}
