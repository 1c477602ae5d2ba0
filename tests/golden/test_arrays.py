"""The plant's numbers are those of clpm-execd 0.1.0: to the last bit where NumPy computes alike, else to rounding."""

from __future__ import annotations

import golden_arrays
import numpy as np
import pytest
from golden_arrays import TOLERANCE, Case
from numpy.testing import assert_allclose

CASES = list(golden_arrays.cases())
HASHES = golden_arrays.read_hashes()[1]

# numba compiles for some seconds before the first of its cases
MARKED = [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.engine == "numba" else [])
          for case in CASES]


@pytest.mark.parametrize("case", MARKED)
def test_the_arrays_are_those_of_0_1_0(case: Case) -> None:
    result = golden_arrays.run(case)
    if golden_arrays.is_known_platform():
        assert result.hashes == {name: HASHES[name] for name in result.hashes}
    with np.load(golden_arrays.SAMPLES) as samples:
        assert_allclose(result.samples, samples[case.name], rtol=TOLERANCE, atol=TOLERANCE)


def test_every_hash_and_every_sample_belongs_to_a_case() -> None:
    names = {case.name for case in CASES}
    with np.load(golden_arrays.SAMPLES) as samples:
        assert set(samples.files) == names
    assert {name.rpartition(": ")[0] for name in HASHES} == names
