"""`scan.scans` as machine code, the same source and the same bits, where numba is installed (extra `fast`).

What has been compiled once is kept beside the source, or in the user's cache, as numba finds it writable; where
nothing is, it is compiled anew.
"""

from __future__ import annotations

from typing import Any

from numba import njit
from numba.extending import register_jitable

from clpm_execd.plant.kernel import equations as scan

_LAWS = (scan.drift, scan.reading, scan.slope, scan.reset, scan.asked, scan.unwound, scan.travelled,
         scan.equal_percentage, scan.quick_opening, scan.first_state, scan.output)


def _compiled() -> Any:
    for law in _LAWS:
        register_jitable(law)
    try:
        return njit(cache=True)(scan.scans)
    except RuntimeError:  # nowhere to keep it
        return njit(scan.scans)


scans = _compiled()
