"""Loops of two further plants that are not ours, without part in any number: cascades, and valves with positioners.

Nothing of the plant's code is used, nor of `other_plants`, whose loops are single ones with a valve that follows OP at
once. In the first, the records are those of flow loops whose set point an outer controller moves: the sticky valve
makes both cycle, and outer controllers that are tuned too aggressively, or driven from elsewhere, are the others. In
the second, the stem follows a positioner with integral action, which hunts where the packing is tight; processes are
slow, of second order and not linear, noise is coloured, PV coarse, and controllers have derivative action.

References
----------
B. Armstrong-Helouvry, P. Dupont and C. Canudas de Wit, "A survey of models, analysis tools and compensation methods
for the control of machines with friction", Automatica 30 (1994). F. G. Shinskey, "Process Control Systems" (1996).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from monitors.other_plants import LENGTHS, LOOPS_OF_A_KIND, SAMPLES, VISIBLE, WARM_UP, Floats, Records

FURTHER_PLANTS = ("cascades", "positioners")
SUBSTEPS = 5  # of a sample
Kinds = npt.NDArray[np.str_]


class Packing:
    """Stems of N valves under friction that varies at random, and that holds one way more than the other.

    force: from outside on each stem, as the travel that it would make, %.
    """

    def __init__(self, static: Floats, kinetic: Floats, rng: np.random.Generator) -> None:
        self.static, self.kinetic, self.rng = static, kinetic, rng
        self.asymmetry = rng.uniform(-0.3, 0.3, len(static))
        self.stem, self.moves, self.scale = np.zeros(len(static)), np.zeros(len(static)), np.ones(len(static))

    def step(self, force: Floats) -> Floats:
        """Return the stems: from rest by more than the static friction, then as far as the kinetic one allows."""
        difference = force - self.stem
        way = np.sign(difference)
        side = self.scale * (1.0 + self.asymmetry * way)
        limit = np.where(self.moves == way, self.kinetic, self.static) * side
        goes = np.abs(difference) > limit
        rests = (self.moves != 0.0) & ~goes
        self.scale[rests] = np.exp(0.15 * self.rng.standard_normal(int(rests.sum())))
        self.stem = np.where(goes, self.stem + 0.5 * (difference - way * self.kinetic * side), self.stem)
        self.moves = np.where(goes, way, 0.0)
        return self.stem


def simulate_further_plant(plant: str, seed: int) -> Records:
    """Return the records of a plant's loops; a sticky valve that does not show is left out."""
    kinds = np.repeat(list(LOOPS_OF_A_KIND), list(LOOPS_OF_A_KIND.values()))
    run: Callable[[Kinds, list[int], bool], Floats] = {"cascades": run_cascades, "positioners": run_positioners}[plant]
    signals, twins = (run(kinds, [FURTHER_PLANTS.index(plant), seed], sticks) for sticks in (True, False))
    spread = signals.std(axis=0)[:, :2] / np.maximum(twins.std(axis=0)[:, :2], 1e-9)
    is_sticky = kinds == "stiction"
    chosen = np.flatnonzero(~is_sticky | (spread.max(axis=1) > VISIBLE))
    lengths = np.random.default_rng(seed).choice(LENGTHS, len(kinds))
    return Records([signals[:lengths[i], i] for i in chosen], is_sticky[chosen], kinds[chosen])


def _draw(rng: np.random.Generator, low: float, high: float, n: int) -> Floats:
    values: Floats = np.exp(rng.uniform(np.log(low), np.log(high), n))
    return values


def run_cascades(kinds: Kinds, seed: list[int], sticks: bool) -> Floats:
    """Return PV, OP and SP of the inner loops, (SAMPLES, N, 3); times are in samples, signals in per cent."""
    rng, n, dt = np.random.default_rng(seed), len(kinds), 1.0 / SUBSTEPS
    tau, gain = _draw(rng, 0.2, 3.0, n), _draw(rng, 0.5, 2.0, n)
    kc, ti = _draw(rng, 0.15, 0.8, n) / gain, tau * _draw(rng, 1.0, 6.0, n)
    outer_tau, is_level = _draw(rng, 8.0, 80.0, n), rng.random(n) < 0.5
    dead = np.maximum((outer_tau * rng.uniform(0.05, 0.3, n) / dt).astype(int), 1)
    outer_kc = np.minimum(outer_tau / (2.5 * (dead * dt + tau + ti / np.maximum(kc * gain, 0.1))), 5.0)
    outer_ti = outer_tau * np.where(is_level, _draw(rng, 1.0, 4.0, n), 1.0)
    outer_kc *= np.where(kinds == "tuning", rng.uniform(2.2, 3.2, n), _draw(rng, 0.3, 1.0, n))
    has_outer = (rng.random(n) < 0.7) | (kinds == "tuning")
    band = np.where(kinds == "stiction", _draw(rng, 1.0, 6.0, n), 0.0) * sticks
    packing = Packing(band, band * rng.uniform(0.1, 0.95, n), np.random.default_rng([*seed, 1]))
    noise, load_size = _draw(rng, 0.03, 0.4, n), _draw(rng, 0.1, 0.8, n)
    load_time, slow_size = _draw(rng, 3.0, 60.0, n), _draw(rng, 0.3, 2.0, n)
    wave = np.where(kinds == "wave", _draw(rng, 1.5, 6.0, n), 0.0)
    period = np.clip(_draw(rng, 1.5, 8.0, n) * np.where(has_outer, outer_tau, ti), 6.0, 250.0)
    skew, comes_inside = rng.uniform(-0.7, 0.7, n), rng.random(n) < 0.5
    interval, size = np.where(kinds == "moves", _draw(rng, 40.0, 300.0, n), 1500.0), _draw(rng, 0.5, 4.0, n)
    x, load, slow, outer, phase, goal, integral, master, sp = (np.zeros(n) for _ in range(9))
    ring, each, out = np.zeros((int(dead.max()) + 1, n)), np.arange(n), np.empty((SAMPLES, n, 3))
    for k in range((WARM_UP + SAMPLES) * SUBSTEPS):
        chance = rng.standard_normal((6, n))
        load += -dt / load_time * load + np.sqrt(2.0 * dt / load_time) * load_size * chance[0]
        slow += -dt / 150.0 * slow + np.sqrt(2.0 * dt / 150.0) * slow_size * chance[1]
        phase += dt / period * (1.0 + 0.15 * chance[2])
        # Saw-teeth of a filling vessel, sines and what lies between: the wave leans by `skew`.
        wave_now = wave * np.sin(2.0 * np.pi * phase + skew * np.sin(2.0 * np.pi * phase))
        goal = np.where(rng.random(n) < dt / interval, 0.5 * goal + size * chance[3], goal)
        y, z = x + noise * chance[4], outer + 0.1 * noise * chance[5]
        error = goal - z
        master += outer_kc * dt / outer_ti * error
        sp = np.where(has_outer, np.clip(outer_kc * error + master, -40.0, 40.0), goal)
        integral += kc * dt / ti * (sp - y)
        op = np.clip(kc * (sp - y) + integral, -50.0, 50.0)
        stem = packing.step(op)
        x += dt / (tau + dt) * (gain * (stem + load + np.where(comes_inside | ~has_outer, wave_now, 0.0)) - x)
        ring[k % len(ring)] = x
        arrived = ring[(k - dead) % len(ring), each] + slow + np.where(comes_inside, 0.0, wave_now)
        outer += dt / outer_tau * (arrived - np.where(is_level, 0.02 * outer, outer))
        if k % SUBSTEPS == 0 and k >= WARM_UP * SUBSTEPS:
            out[k // SUBSTEPS - WARM_UP] = np.column_stack([np.round(y, 2), np.round(op, 1), np.round(sp, 2)])
    return out


def run_positioners(kinds: Kinds, seed: list[int], sticks: bool) -> Floats:
    """Return PV, OP and SP, (SAMPLES, N, 3); times are in samples, signals in per cent."""
    rng, n, dt = np.random.default_rng(seed), len(kinds), 1.0 / SUBSTEPS
    tau, gain = _draw(rng, 3.0, 60.0, n), _draw(rng, 0.5, 3.0, n)
    second = tau * rng.uniform(0.1, 0.6, n)
    dead = np.maximum((tau * rng.uniform(0.05, 0.3, n) / dt).astype(int), 1)
    closed = second + dead * dt
    kc = tau / (gain * closed) * np.where(kinds == "tuning", rng.uniform(1.6, 2.4, n), _draw(rng, 0.12, 0.45, n))
    ti, td = tau * _draw(rng, 0.5, 2.0, n), np.where(rng.random(n) < 0.5, 0.3 * second, 0.0)
    ti = np.where(kinds == "tuning", 0.7 * tau, ti)
    curve = rng.uniform(-0.4, 0.4, n)  # of the process gain, over 50 % of travel
    band = np.where(kinds == "stiction", _draw(rng, 1.0, 6.0, n), 0.0) * sticks
    packing = Packing(band, band * rng.uniform(0.1, 0.95, n), np.random.default_rng([*seed, 1]))
    hunt = _draw(rng, 20.0, 400.0, n)  # of the positioner's integral action
    noise, colour, load_size = _draw(rng, 0.01, 0.3, n), rng.uniform(0.0, 0.95, n), _draw(rng, 0.1, 1.0, n)
    load_time, step_of_pv = _draw(rng, 5.0, 200.0, n), _draw(rng, 0.01, 0.3, n)
    wave = np.where(kinds == "wave", _draw(rng, 1.5, 8.0, n), 0.0)
    period = np.clip(_draw(rng, 2.0, 8.0, n) * closed, 8.0, 250.0)
    second_wave = rng.uniform(0.0, 0.6, n)
    interval, size = np.where(kinds == "moves", _draw(rng, 60.0, 400.0, n), 2000.0), _draw(rng, 0.5, 6.0, n)
    x1, x2, load, hiss, phase, goal, sp, integral, wound, last, rate = (np.zeros(n) for _ in range(11))
    ring, each, out = np.zeros((int(dead.max()) + 1, n)), np.arange(n), np.empty((SAMPLES, n, 3))
    for k in range((WARM_UP + SAMPLES) * SUBSTEPS):
        chance = rng.standard_normal((4, n))
        load += -dt / load_time * load + np.sqrt(2.0 * dt / load_time) * load_size * chance[0]
        hiss = colour * hiss + np.sqrt(1.0 - colour**2) * noise * chance[1]
        phase += dt / period * (1.0 + 0.15 * chance[2])
        goal = np.where(rng.random(n) < dt / interval, 0.5 * goal + size * chance[3], goal)
        sp += dt / 10.0 * (goal - sp)  # ramps
        y = x2 + hiss
        rate += dt / (0.2 * td + 1.0) * ((y - last) / dt - rate)
        last = y
        integral += kc * dt / ti * (sp - y)
        op = np.clip(kc * (sp - y - td * rate) + integral, -50.0, 50.0)
        wound = np.where(band > 0.0, np.clip(wound + dt / hunt * (op - packing.stem), -10.0, 10.0), 0.0)
        stem = packing.step(op + wound)
        ring[k % len(ring)] = stem
        arrived = ring[(k - dead) % len(ring), each]
        beat = np.sin(2.0 * np.pi * phase) + second_wave * np.sin(2.0 * np.pi * 1.618 * phase)
        push = gain * (arrived + curve / 100.0 * arrived**2 + load + wave * beat)
        x1 += dt / tau * (push - x1)
        x2 += dt / (second + dt) * (x1 - x2)
        if k % SUBSTEPS == 0 and k >= WARM_UP * SUBSTEPS:
            out[k // SUBSTEPS - WARM_UP] = np.column_stack([np.round(y / step_of_pv) * step_of_pv, np.round(op, 1), sp])
    return out
