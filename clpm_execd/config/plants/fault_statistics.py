"""How often loops of a plant have each fault, and of what size: shares that surveys found, and ranges of draws."""

from __future__ import annotations

from clpm_execd.config.plants.refinery_statistics import Range

# Surveys of real plants, of which the fractions below are: lines of a comment.
SURVEYS = (
    "36 % of 26,000 loops are not in automatic, 10 % perform poorly and 22 % fairly (L. Desborough and R. Miller,",
    "AIChE Symposium Series 326, 2002); 20 to 30 % oscillate because of their valves (M. Jelali and B. Huang,",
    "Detection and Diagnosis of Stiction in Control Loops, 2010); about half of those that cycle do so because of",
    "the valve (J. Monsen, Control Valves and Cycling Control Loops, Valve World), others by tuning or from elsewhere",
)
# Fraction of all loops that has each fault. A loop has one at most; kinds are assigned in this order.
FAULT_FRACTIONS = (
    ("stiction", 0.14), ("deadband", 0.03), ("undersized", 0.02), ("stuck", 0.01), ("leak", 0.01),
    ("slow-actuator", 0.01), ("oversized", 0.01),
    # Before the loops in manual, which are neither slaves nor levels: else these oscillate in slaves and masters alone.
    ("external-oscillation", 0.14), ("aggressive", 0.07),
    ("manual", 0.36),
    ("sluggish", 0.02), ("windup", 0.01), ("load-step", 0.01), ("fouling", 0.01),
    ("drift", 0.01), ("noise", 0.01), ("freeze", 0.01), ("spikes", 0.005),
    ("compression", 0.01), ("gaps", 0.005), ("cascade-broken", 0.01), ("mode-hopping", 0.005),
    ("white-noise", 0.01), ("grade-change", 0.01), ("setpoint-ramp", 0.01), ("manual-stroking", 0.005),
)
# Limits of the parameters of each kind, around the defaults of `clpm-execd faults`: no two loops are wrong in the same
# measure. Estimates. A forest that learned from waves of one period and size took every other wave for a sticky valve.
FAULT_SIZES: dict[str, dict[str, Range]] = {
    "deadband": {"width": (1.0, 6.0)},
    "oversized": {"capacity": (2.0, 5.0)},
    "slow-actuator": {"lag": (5.0, 60.0)},
    "sluggish": {"closed_loop": (3.0, 10.0)}, "aggressive": {"gain_margin": (1.03, 1.12)},
    "external-oscillation": {"amplitude": (1.5, 8.0), "harmonic": (0.03, 0.33), "wander": (0.01, 0.06)},
    "load-step": {"size": (3.0, 8.0), "over": (180.0, 2400.0)}, "fouling": {"loss": (0.3, 0.8)},
    "drift": {"size": (2.0, 8.0)}, "noise": {"sigma": (0.3, 2.0)},
    "spikes": {"size": (4.0, 20.0), "rate": (5.0, 60.0)},
    "compression": {"exception": (0.3, 1.5)}, "gaps": {"share": (0.05, 0.4), "length": (15.0, 120.0)},
    "mode-hopping": {"dwell": (300.0, 1800.0)}, "white-noise": {"sigma": (0.5, 2.0)},
    "grade-change": {"size": (4.0, 12.0), "over": (300.0, 2400.0)}, "setpoint-ramp": {"size": (3.0, 10.0)},
    "manual-stroking": {"size": (2.0, 6.0)},
}
UP_OR_DOWN = ("load-step", "drift", "grade-change", "setpoint-ramp")  # their size has either sign
# Of an external oscillation, and relative to the time constants of a loop that is too slow for it: a process passes
# nothing of a wave that is much quicker than itself.
WAVE_PERIOD_S: Range = (40.0, 2400.0)
SLOW_WAVE: Range = (2.0, 8.0)
# Slip jump of a sticky valve, a fraction of S. The deadband of a rotary valve can be more than ten times the least step
# that it takes (G. McMillan, Limit Cycle Periods, 2007), while a packing that is too tight makes J as large as S. The
# smaller J, the longer the cycle: at a tenth of S it lasts hours.
SLIP_FRACTION: Range = (0.1, 1.2)
