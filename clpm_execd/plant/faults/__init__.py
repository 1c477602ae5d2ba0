"""What can go wrong with a control loop: one table, one stage of the tick for each kind, and the truth about them."""

from clpm_execd.plant.faults.catalogue import FAULTS
from clpm_execd.plant.faults.kinds import GROUPS, FaultKind

__all__ = ["FAULTS", "GROUPS", "FaultKind"]
