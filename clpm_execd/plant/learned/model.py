"""The model of a learned loop: its equations, and the residuals that they leave of the record they are from.

Where the record's process is modelled by its transfer function, it is that of the loop, with the load and the noise
that the innovations e of the record make of it (the innovations form of a state-space model: Ljung, 1999, section 4.3):

    PV(t) = x2(t) + e(t)      x1 and x2 gain l1 e and l2 e, the load w(t+1) = pole w(t) + l3 e(t)

else by a difference equation:

    PV(t) = sum a_i PV(t-i) + sum b_i OP(t-i) + r_pv        i from 1

Where its controller is a PID, it is that of the loop, and n is added to its output; else a difference equation, to
which the moves of n are added. Without a pole it is 1, and r_op is these moves:

    OP(t) = PID(t) + n(t)      n(t) = pole n(t-1) + r_op
    OP(t) = sum c_i OP(t-i) + sum d_i PV(t-i) + sum s_i SP(t-i) + n(t) - n(t-1)      PV and SP from i = 0

And of a loop whose set point is never still, SP(t) = sum g_i SP(t-i) + r_sp; else it is the operator's. To each r of a
difference equation comes a slow drift of first order: what moved the record more slowly than the equations can hold of
it. All are deviations from the record's operating point, per cent of span or of travel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats
from clpm_execd.plant.elementary import standard_deviation
from clpm_execd.stored_names import get_stored_field


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LearnedModel:
    """The model of one loop, from a record of N samples; p and q, the orders, are 1 or more.

    Attributes
    ----------
    interval
        Of the record, s.
    offset
        How far above SP the record's PV stood on average, % of span.
    process_pv, process_op
        (p,) a and b; (0,) where the process is modelled by its transfer function.
    innovation
        (4,) pole, l1, l2, l3 where the process is modelled by its transfer function; else (0,).
    controller_op, controller_pv, controller_sp
        (q,) c, (q + 1,) d and (q + 1,) s; all (0,) where the controller is a PID.
    controller_noise
        (1,) the pole of n; (0,) in difference equations where it is 1.
    setpoint
        (k,) g; (0,) where SP is the operator's.
    drift
        (4,) the pole of the drifts, and their sigmas: of PV's, of OP's and of SP's.
    signals
        (N, 3) PV, OP and SP of the record.
    residuals
        (N, 3) e or r; NaN where an equation did not hold, as in MAN.
    is_repeat
        (N, 2) whether the record repeats the PV, and the OP, of the sample before.
    settings
        (6,) the keys of loops.toml for which the model was learned: controller gain, reset and derivative, process
        gain, sum of the lags, dead time.

    References
    ----------
    Ljung, System Identification: Theory for the User (1999), section 4.3.
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
    is_repeat: npt.NDArray[np.bool_]
    settings: Floats

    @property
    def order(self) -> int:
        """The highest order of its difference equations, 0 without any."""
        return max(len(self.process_pv), len(self.controller_op), len(self.setpoint))

    @property
    def noise_sigma(self) -> float:
        """Sigma of what the innovations add to the true process variable, % of span; 0 with a difference equation."""
        return standard_deviation(self.residuals[:, 0]) if self.innovation.size else 0.0

    @property
    def past_samples(self) -> int:
        """How many complete samples must stand before the place where a block starts."""
        return max(STATE_LAGS, self.order)

    def find_errors(self) -> list[str]:
        """Return what is wrong with the arrays, a sentence each; none where they are consistent."""
        p, q, k, n = len(self.process_pv), len(self.controller_op), len(self.setpoint), len(self.signals)
        shapes = {"process_pv": (p,), "process_op": (p,), "innovation": (0 if p else 4,), "controller_op": (q,),
                  "controller_pv": (q + 1 if q else 0,), "controller_sp": (q + 1 if q else 0,),
                  "controller_noise": (min(len(self.controller_noise), 1) if q else 1,), "setpoint": (k,),
                  "drift": (4,), "signals": (n, 3), "residuals": (n, 3), "is_repeat": (n, 2), "settings": (6,)}
        errors = [f"{get_stored_field('LearnedModel', name)} has the shape {getattr(self, name).shape}, not {shape}"
                  for name, shape in shapes.items() if getattr(self, name).shape != shape]
        if not (np.isfinite(self.interval) and self.interval > 0):
            errors.append("the interval is not a time")
        numbers = (np.array(self.offset), *(getattr(self, name) for name in shapes
                                            if name not in ("signals", "residuals", "is_repeat")))
        if not all(np.isfinite(part).all() for part in numbers):
            errors.append("a coefficient is not a finite number")
        if not errors and not run_lengths(self).any():
            errors.append("no run of valid residuals is as long as a block")
        return errors


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StateMatchedModel(LearnedModel):
    """A model of difference equations whose blocks start where the record was in the state of the loop.

    The state is what PV - SP and OP were on average over the last samples, at six time scales, so that the phase of a
    slow wave counts beside the last values. The equations are linear: where OP hardly swings, the record mirrored is as
    good a record of the loop, and its blocks are drawn too, so that what only rises in a short record also falls.

    Attributes
    ----------
    mirror
        (3,) the PV, OP and SP at which the record is mirrored; (0,) where it is not, as where OP swings to and fro or
        sits at its end.

    References
    ----------
    Kuensch, The jackknife and the bootstrap for general stationary observations (1989): blocks. Lall and Sharma, A
    nearest neighbor bootstrap for resampling hydrologic time series (1996): their starts.
    """

    mirror: Floats

    @property
    def past_samples(self) -> int:
        """How many complete samples must stand before the place where a block starts."""
        return self.order

    def find_errors(self) -> list[str]:
        """Return what is wrong with the arrays, a sentence each; none where they are consistent."""
        if self.mirror.shape not in ((0,), (3,)) or not np.isfinite(self.mirror).all():
            return ["mirror is not a PV, an OP and an SP"]
        if not (len(self.process_pv) and len(self.controller_op)):
            return ["a state-matched model has no difference equation of its process or of its controller"]
        return LearnedModel.find_errors(self)


MIN_BLOCK_SAMPLES = 8  # a shorter run of valid residuals is left out
STATE_LAGS = 4  # samples of the past by which the place of a new block is chosen


def run_lengths(model: LearnedModel) -> npt.NDArray[np.intp]:
    """Return how many samples from each on can be replayed.

    Parameters
    ----------
    model
        Of a record of N samples.

    Returns
    -------
    (N,) 0 where a sample lacks the past that the equations need, and where the run is shorter than a block.
    """
    n = len(model.signals)
    is_valid = np.asarray(np.isfinite(model.residuals).all(axis=1))
    lengths = np.zeros(n + 1, dtype=np.intp)
    for k in range(n - 1, -1, -1):
        lengths[k] = lengths[k + 1] + 1 if is_valid[k] else 0
    is_complete = np.isfinite(model.signals).all(axis=1)
    past = model.past_samples
    count = np.concatenate([[0], np.cumsum(is_complete)])
    lengths = lengths[:n]
    lengths[:past] = 0
    lengths[past:][count[past:n] - count[:n - past] < past] = 0
    lengths[lengths < MIN_BLOCK_SAMPLES] = 0
    return lengths
