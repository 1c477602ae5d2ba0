"""Faults of control loops: the catalogue of their kinds, what each does in its stage of a scan, and the ground truth.

Like the whole plant, the room imports numpy and the names in users' files, and nothing else of the package.
"""

from clpm_execd.plant.faults.catalogue import FAULTS
from clpm_execd.plant.faults.kinds import GROUPS, FaultKind

__all__ = ["FAULTS", "GROUPS", "FaultKind"]
