"""The laws of a learned loop: what moves it, and what they left unexplained of the record they are from.

Where the record's process is a plant's own, it is that of the loop, with the load and the noise that the innovations e
of the record make of it (the innovations form of a state-space model: Ljung, 1999, section 4.3):

    PV(t) = x2(t) + e(t)      x1 and x2 gain l1 e and l2 e, the load w(t+1) = pole w(t) + l3 e(t)

else a difference equation:

    PV(t) = sum a_i PV(t-i) + sum b_i OP(t-i) + r_pv        i from 1

Where its controller is a PID, it is that of the loop, and n is added to its output; else a difference equation:

    OP(t) = PID(t) + n(t)      n(t) = pole n(t-1) + r_op
    OP(t) = sum c_i OP(t-i) + sum d_i PV(t-i) + sum s_i SP(t-i) + r_op      PV and SP from i = 0

And of a loop whose set point is never still, SP(t) = sum g_i SP(t-i) + r_sp; else it is the operator's. To each r of a
difference equation comes a slow drift of first order: what moved the record more slowly than the equations can hold of
it. All are deviations from where the record rested, per cent of span or of travel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Laws:
    """Of one loop, from a record of N samples; p and q, the orders, are 1 or more.

    interval: of the record, s. offset: how far above SP the record's PV rested, per cent.
    process_pv, process_op: (p,) a and b; (0,) where the process is the loop's own, and then
    innovation: (4,) pole, l1, l2, l3; else (0,).
    controller_op: (q,) c. controller_pv, controller_sp: (q + 1,) d and s; all (0,) where the controller is the loop's
    own PID, and then
    controller_noise: (1,) its pole; else (0,).
    setpoint: (k,) g, or (0,) where SP is the operator's.
    drift: (4,) the pole of the drifts, and their sigmas: of PV's, of OP's and of SP's.
    signals: (N, 3) PV, OP and SP of the record. residuals: (N, 3) e or r; NaN where a law did not hold, as in MAN.
    held: (N, 2) whether the record repeats the PV, and the OP, of the sample before.
    settings: (6,) the keys of loops.toml to which the laws belong: controller gain, reset and derivative, process
    gain, sum of the lags, dead time.
    """

    interval: float
    offset: float
    process_pv: Floats
    process_op: Floats
    innovation: Floats
    controller_op: Floats
    controller_pv: Floats
    controller_sp: Floats
    controller_noise: Floats
    setpoint: Floats
    drift: Floats
    signals: Floats
    residuals: Floats
    held: npt.NDArray[np.bool_]
    settings: Floats

    @property
    def order(self) -> int:
        return max(len(self.process_pv), len(self.controller_op), len(self.setpoint))

    @property
    def noise(self) -> float:
        """Sigma of what an own process adds to its true process variable, % of span."""
        return float(np.nanstd(self.residuals[:, 0])) if self.innovation.size else 0.0

    def misfits(self) -> list[str]:
        """What is wrong with the numbers, in words; empty where all is well."""
        p, q, k, n = len(self.process_pv), len(self.controller_op), len(self.setpoint), len(self.signals)
        want = {"process_pv": (p,), "process_op": (p,), "innovation": (0 if p else 4,), "controller_op": (q,),
                "controller_pv": (q + 1 if q else 0,), "controller_sp": (q + 1 if q else 0,),
                "controller_noise": (0 if q else 1,), "setpoint": (k,), "drift": (4,), "signals": (n, 3),
                "residuals": (n, 3), "held": (n, 2), "settings": (6,)}
        wrong = [f"{name} has the shape {getattr(self, name).shape}, not {shape}"
                 for name, shape in want.items() if getattr(self, name).shape != shape]
        if not (np.isfinite(self.interval) and self.interval > 0):
            wrong.append("the interval is no time")
        numbers = (np.array(self.offset), *(getattr(self, name) for name in want
                                            if name not in ("signals", "residuals", "held")))
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
