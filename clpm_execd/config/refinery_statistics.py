"""How noisy the loops of a real refinery are, how their loads wander and how often their set points are moved.

Learned by `clpm-execd learn` from the records of 33 loops, two hours each at 10 s a sample: of each loop what was
found, where the load's correlation was told within a factor of ten, and of the loops of a type the lower and the upper
quartile. These are facts about the records, which are not part of this package. There are too few pressures and no
temperatures among them to say anything of those.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = (  # lines of a comment
    "the plant_data of StictionGPT (Xue, Shang, Huang and Huang, 2025, SSRN 5265092), Apache License 2.0,",
    "github.com/TerenceXue-tech/StictionGPT at b592dc8; of what was found the middle half is drawn from",
)

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Restlessness:
    """Of the middle half of the loops of a type, low and high each.

    noise: sigma, % of span, 0.001 at the least. sigma: of the load, % of valve travel. correlation: of the load, s.
    """

    noise: Range
    sigma: Range
    correlation: Range


RESTLESS = {
    "flow": Restlessness(noise=(0.053, 0.133), sigma=(0.10, 0.27), correlation=(48.0, 482.0)),
    "level": Restlessness(noise=(0.001, 0.002), sigma=(0.45, 1.46), correlation=(9.2, 63.0)),
}

MANNED = 0.7  # of the loops with a set point of their own: as in any plant
# Of 26 such loops operators moved the set point 0.21 times an hour: hours between moves, of which the inverse is that
# on the average over all loops; and the size of the moves, % of span.
MOVED_EVERY: Range = (1.55, 9.3)
MOVE: Range = (0.55, 1.64)
