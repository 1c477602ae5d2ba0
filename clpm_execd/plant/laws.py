"""The laws of a learned loop: difference equations, and what they left unexplained of the record they are from.

    PV(t) = sum a_i PV(t-i) + sum b_i OP(t-i) + r_pv        i from 1
    OP(t) = sum c_i OP(t-i) + sum d_i PV(t-i) + sum s_i SP(t-i) + r_op      PV and SP from i = 0
    SP(t) = sum g_i SP(t-i) + r_sp      of a loop whose set point is never still; else it is the operator's

All are deviations from where the record rested, per cent of span or of travel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Laws:
    """Of one loop, from a record of N samples; p, the order, is 1 or more.

    interval: of the record, s. offset: how far above SP the record's PV rested, per cent.
    process_pv, process_op: (p,) a and b. controller_op: (p,) c. controller_pv, controller_sp: (p + 1,) d and s.
    setpoint: (p,) g, or (0,) where SP is the operator's.
    signals: (N, 3) PV, OP and SP of the record. residuals: (N, 3) r; NaN where a law did not hold, as in MAN.
    held: (N, 2) whether the record repeats the PV, and the OP, of the sample before.
    settings: (6,) the keys of loops.toml to which the laws belong: controller gain, reset and derivative, process
    gain, sum of the lags, dead time.
    """

    interval: float
    offset: float
    process_pv: Floats
    process_op: Floats
    controller_op: Floats
    controller_pv: Floats
    controller_sp: Floats
    setpoint: Floats
    signals: Floats
    residuals: Floats
    held: npt.NDArray[np.bool_]
    settings: Floats

    @property
    def order(self) -> int:
        return len(self.process_pv)

    def misfits(self) -> list[str]:
        """What is wrong with the numbers, in words; empty where all is well."""
        p, n = self.order, len(self.signals)
        want = {"process_pv": (p,), "process_op": (p,), "controller_op": (p,), "controller_pv": (p + 1,),
                "controller_sp": (p + 1,), "signals": (n, 3), "residuals": (n, 3), "held": (n, 2), "settings": (6,)}
        wrong = [f"{name} has the shape {getattr(self, name).shape}, not {shape}"
                 for name, shape in want.items() if getattr(self, name).shape != shape]
        if self.setpoint.shape not in ((0,), (p,)):
            wrong.append(f"setpoint has the shape {self.setpoint.shape}, not {(p,)}")
        if not p:
            wrong.append("the order is 0")
        if not (np.isfinite(self.interval) and self.interval > 0):
            wrong.append("the interval is no time")
        numbers = (np.array(self.offset), self.process_pv, self.process_op, self.controller_op, self.controller_pv,
                   self.controller_sp, self.setpoint, self.settings)
        if not all(np.isfinite(part).all() for part in numbers):
            wrong.append("a coefficient is no finite number")
        if not wrong and not stretches(self).any():
            wrong.append("no stretch of the residuals is as long as a block")
        return wrong


SHORTEST, LONGEST = 8, 16  # samples in a block of residuals
RECALL = 4  # samples of the past that say where a block may begin


def stretches(laws: Laws) -> npt.NDArray[np.intp]:
    """(N,) how many samples from each on have all they need to be replayed, their own past included."""
    n = len(laws.signals)
    usable = np.asarray(np.isfinite(laws.residuals).all(axis=1))
    ahead = np.zeros(n + 1, dtype=np.intp)
    for k in range(n - 1, -1, -1):
        ahead[k] = ahead[k + 1] + 1 if usable[k] else 0
    known = np.isfinite(laws.signals).all(axis=1)
    past = max(RECALL, laws.order)
    recalled = np.concatenate([[0], np.cumsum(known)])
    ahead = ahead[:n]
    ahead[:past] = 0
    ahead[past:][recalled[past:n] - recalled[:n - past] < past] = 0
    ahead[ahead < SHORTEST] = 0
    return ahead
