"""Statistics of the loops of a real refinery: noise, load, controllers, and how often operators move set points.

They were identified by `clpm-execd learn` in records of 33 loops, two hours each at 10 s per sample. Of each type they
give the lower and the upper quartile over the loops whose load has a correlation time that was identified within a
factor of ten. The records themselves are not part of this package; they have too few pressures and no temperatures for
statistics of those types.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = (  # lines of a comment
    "the plant_data of StictionGPT (Xue, Shang, Huang and Huang, 2025, SSRN 5265092), Apache License 2.0,",
    "github.com/TerenceXue-tech/StictionGPT at b592dc8; values are drawn between the quartiles of those loops",
)

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Variability:
    """Lower and upper quartile, over the loops of a type, of what moves a loop by chance.

    noise: standard deviation of the measurement noise, % of span, at least 0.001. sigma: standard deviation of the
    load, % of valve travel. correlation: correlation time of the load, s.
    """

    noise: Range
    sigma: Range
    correlation: Range


VARIABILITY = {
    "flow": Variability(noise=(0.053, 0.133), sigma=(0.10, 0.27), correlation=(48.0, 482.0)),
    "level": Variability(noise=(0.001, 0.002), sigma=(0.45, 1.46), correlation=(9.2, 63.0)),
}

# Gain, %OP/%PV, and reset, s, of the controllers as they are installed: quartiles over 13 flows, slaves among them, and
# 12 levels. Their integral action is several times slower than a tuning rule makes it, so that a sticky valve takes
# minutes to hours for a cycle, where it would take half a minute.
CONTROLLERS: dict[str, tuple[Range, Range]] = {
    "flow": ((0.205, 0.338), (16.6, 44.0)),
    "level": ((1.33, 2.2), (222.0, 615.0)),
}

# Operators moved the set points of 25 such loops 0.21 times per hour and loop: those of 7 loops 0.5 to 1.3 times an
# hour, those of the others not once in their records. Intervals drawn from this range give that rate on average over
# all loops, and are as uneven.
MOVE_INTERVAL_HOURS: Range = (1.0, 24.0)
MOVE_SIZE: Range = (0.55, 1.64)  # standard deviation, % of span: quartiles over the same loops
