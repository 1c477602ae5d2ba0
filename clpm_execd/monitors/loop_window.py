"""What a monitor is given: a window of one loop's record, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from clpm_execd.monitors.oscillation_detection import REGULAR, SLOW_DECAY, compute_decay_ratio, measure_regularity
from clpm_execd.monitors.signals import Floats

ANY = "any"  # the fault of a finding that detects without a diagnosis


@dataclass(frozen=True)
class LoopWindow:
    """A window of one loop's record, as a historian has it, without any ground truth.

    Attributes
    ----------
    loop, area, type : str
        Loop id, process unit, and type: flow, pressure, level, temperature or composition.
    interval : float
        Time between samples, s.
    reset : float
        The integral time of the controller, s; 0 without integral action.
    pv, sp, op : array (T,)
        % of span, and %; a missing value repeats the last one.
    is_automatic : array (T,)
        False in manual.
    is_received, is_good : array (T,)
        False where the sample is missing, and where it has bad quality.
    """

    loop: str
    area: str
    type: str
    interval: float
    reset: float
    pv: Floats
    sp: Floats
    op: Floats
    is_automatic: npt.NDArray[np.bool_]
    is_received: npt.NDArray[np.bool_]
    is_good: npt.NDArray[np.bool_]

    @cached_property
    def error(self) -> Floats:
        """SP - PV, % of span."""
        return self.sp - self.pv

    @property
    def is_integrating(self) -> bool:
        """Whether the process integrates, by the type of the loop."""
        return self.type == "level"

    @property
    def has_movement(self) -> bool:
        """Whether PV and OP move at all, so that a correlation exists."""
        return bool(np.ptp(self.error) > 0.0 and np.ptp(self.op) > 0.0)

    @cached_property
    def oscillation_period(self) -> float | None:
        """The period of the control error in samples, or None if it does not oscillate.

        It oscillates if it is regular (Thornhill et al.) and its autocorrelation decays slowly (Miao and Seborg): the
        papers on stiction take loops for granted that an engineer sees oscillating.
        """
        if not self.has_movement:
            return None
        regularity, period = measure_regularity(self.error)
        return period if regularity > REGULAR and compute_decay_ratio(self.error) > SLOW_DECAY else None


@dataclass(frozen=True, slots=True)
class Finding:
    """The claim that a loop has a fault in a window.

    Attributes
    ----------
    loop : str
    fault : str
        A kind of fault as the ground truth names it, or `any`.
    score : float
        0 to 1, greater where the monitor is surer; comparable within one monitor.
    cause : str
        The loop whose fault reaches this one, as far as the monitor looks for it.
    """

    loop: str
    fault: str
    score: float
    cause: str = ""
