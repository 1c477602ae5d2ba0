"""Loops of plants that are not ours, to test what a forest has learned from our plant.

Nothing of the plant's code is used: other friction models, processes, controllers and disturbances, advanced together
in one array. Three plants differ by the friction of their valves and by what makes their other loops oscillate.

References
----------
Q. P. He, J. Wang, M. Pottmann and S. J. Qin, "A curve fitting method for detecting valve stiction in oscillating
control loops", Ind. Eng. Chem. Res. 46 (2007). M. Kano, H. Maruta, H. Kugemoto and K. Shimizu, "Practical model and
detection algorithm for valve stiction", IFAC DYCOPS (2004). D. Karnopp, "Computer simulation of stick-slip friction in
mechanical dynamic systems", J. Dyn. Syst. Meas. Control 107 (1985).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PLANTS = ("staircases", "slip jumps", "physical friction")
KINDS = ("stiction", "tuning", "wave", "healthy", "moves")
SUBSTEPS = 10  # of a sample
WARM_UP, SAMPLES = 500, 1500  # samples
LENGTHS = (400, 751, 1500)  # samples of a record
LOOPS_OF_A_KIND = {"stiction": 60, "tuning": 20, "wave": 30, "healthy": 20, "moves": 20}
VISIBLE = 1.5  # deviation of PV or OP with stiction over that without, from which it counts as visible


@dataclass(frozen=True)
class Records:
    """Records of R loops, each (T, 3): PV, OP and SP; whether the valve sticks, and the kind of each loop."""

    signals: list[Floats]
    is_sticky: npt.NDArray[np.bool_]
    kinds: npt.NDArray[np.str_]


class Friction:
    """The valves of one plant, N of them; sizes are per cent of travel and vary from stroke to stroke."""

    def __init__(self, plant: str, band: Floats, slip: Floats, rng: np.random.Generator) -> None:
        self.plant, self.rng = plant, rng
        self.band, self.slip = band, slip  # S and J
        self.stem, self.last, self.rest = (np.zeros(len(band)) for _ in range(3))
        self.direction, self.is_moving = np.zeros(len(band)), np.zeros(len(band), dtype=bool)
        self.variation = rng.uniform(0.0, 0.25, len(band))
        self.scale = np.ones(len(band))

    def step(self, u: Floats) -> Floats:
        move = {"staircases": self._he, "slip jumps": self._kano, "physical friction": self._karnopp}[self.plant]
        before = self.stem.copy()
        move(u)
        starts = (self.stem != before) & ~self.is_moving
        self.is_moving = self.stem != before
        n = int(starts.sum())
        if n:  # the next stroke needs another force
            self.scale[starts] = np.clip(1.0 + self.variation[starts] * self.rng.standard_normal(n), 0.4, 1.6)
        self.last = u
        return self.stem

    def _he(self, u: Floats) -> None:
        """A spring that lets go at the static friction and stops at the kinetic one: staircases."""
        static = (self.band + self.slip) / 2.0 * self.scale
        kinetic = np.maximum(self.band - self.slip, 0.0) / 2.0 * self.scale
        force = u - self.stem
        goes = np.abs(force) > static
        self.stem = np.where(goes, u - np.sign(force) * kinetic, self.stem)

    def _kano(self, u: Floats) -> None:
        """Sticks at a reversal or a stop; moves at S after a reversal, at J after a stop; J may exceed S."""
        s, j = self.band * self.scale, self.slip * self.scale
        direction = np.sign(u - self.last)
        stops = self.slides() & (direction * self.direction <= 0)
        self.rest = np.where(stops, self.last, self.rest)
        travel = u - self.rest
        stuck = ~self.slides() | stops
        same = np.sign(travel) == self.direction
        leaves = stuck & np.where(same, np.abs(travel) > j, np.abs(travel) > s) & (direction != 0)
        self._sliding = (self.slides() & ~stops) | leaves
        way = np.where(leaves, np.sign(travel), self.direction)
        self.direction = np.where(leaves, way, self.direction)
        self.stem = np.where(self._sliding, u - way * (s - j) / 2.0, self.stem)

    _sliding: npt.NDArray[np.bool_] | None = None

    def slides(self) -> npt.NDArray[np.bool_]:
        return np.zeros(len(self.band), dtype=bool) if self._sliding is None else self._sliding

    def _karnopp(self, u: Floats) -> None:
        """A spring against static, kinetic and viscous friction, without mass; in places the packing is tighter."""
        place = 1.0 + self.variation * np.sin(self.stem / 3.0 + self.band)
        static = (self.band + self.slip) / 2.0 * self.scale * place
        kinetic = np.maximum(self.band - self.slip, 0.05 * self.band) / 2.0 * self.scale * place
        force = u - self.stem
        goes = np.where(self.slides(), np.abs(force) > 1.02 * kinetic, np.abs(force) > static)
        self._sliding = goes
        self.stem = self.stem + np.where(goes, 0.6 * (force - np.sign(force) * kinetic), 0.0)


def simulate_plant(plant: str, seed: int) -> Records:
    """Return the records of a plant's loops; a sticky valve that does not show is left out."""
    rng = np.random.default_rng([PLANTS.index(plant), seed])
    kinds = np.repeat(list(LOOPS_OF_A_KIND), list(LOOPS_OF_A_KIND.values()))
    loops = Loops(plant, kinds, rng)
    chance = int(rng.integers(2**32))
    signals = loops.run(chance)
    twins = loops.without_stiction().run(chance)
    spread = signals.std(axis=0)[:, :2] / np.maximum(twins.std(axis=0)[:, :2], 1e-9)
    is_sticky = kinds == "stiction"
    chosen = np.flatnonzero(~is_sticky | (spread.max(axis=1) > VISIBLE))
    records = []
    for i in chosen:
        length = int(rng.choice(LENGTHS))
        records.append(signals[:length, i])
    return Records(records, is_sticky[chosen], kinds[chosen])


class Loops:
    """N loops; times are in samples, signals in per cent. Their periods last from some samples to some hundreds."""

    def __init__(self, plant: str, kinds: npt.NDArray[np.str_], rng: np.random.Generator) -> None:
        def draw(low: float, high: float) -> Floats:
            return np.exp(rng.uniform(np.log(low), np.log(high), n))

        n = len(kinds)
        self.plant, self.kinds = plant, kinds
        self.is_level = rng.random(n) < (0.3 if plant != "staircases" else 0.15)
        self.tau = draw(0.4, 20.0)
        self.second = self.tau * rng.uniform(0.05, 0.5, n)
        self.dead = np.clip(self.tau * draw(0.1, 1.0), 0.2, 15.0)
        self.gain = draw(0.5, 3.0)
        closed = draw(0.7, 4.0) * self.dead + 0.3 * self.tau * rng.random(n)  # closed-loop time constant, SIMC
        kc = self.tau / (self.gain * (closed + self.dead))
        ti = np.minimum(self.tau, 4.0 * (closed + self.dead))
        # A level: slope gain/tau per sample.
        kc = np.where(self.is_level, self.tau / (self.gain * (closed + self.dead)), kc)
        ti = np.where(self.is_level, 4.0 * (closed + self.dead), ti)
        self.kc, self.ti = kc, ti * draw(0.8, 4.0)
        tuned = kinds == "tuning"
        self.kc = np.where(tuned, self._ultimate_gain() * rng.uniform(0.88, 1.08, n), self.kc)
        self.sign = np.where(rng.random(n) < 0.3, -1.0, 1.0)
        self.noise, self.load_size, self.load_time = draw(0.02, 0.4), draw(0.1, 1.0), draw(3.0, 60.0)
        self.drift = draw(0.01, 0.3) * (rng.random(n) < 0.5)
        self.level_of_op = rng.uniform(25.0, 75.0, n)
        self.band = np.where(kinds == "stiction", draw(1.5, 10.0), 0.0)
        self.slip = self.band * rng.uniform(0.15, 1.3 if plant == "slip jumps" else 1.0, n)
        self.wave = np.where(kinds == "wave", draw(1.5, 8.0), 0.0)
        self.wave_period = np.clip(draw(2.0, 12.0) * (self.ti + self.dead), 6.0, 200.0)
        self.wave_form = rng.integers(0, 3, n)
        self.sp_interval = np.where(kinds == "moves", draw(40.0, 300.0), np.where(rng.random(n) < 0.2, 400.0, np.inf))
        self.sp_size = draw(0.5, 4.0)
        self.is_cascade = (kinds == "moves") & (rng.random(n) < 0.4)
        self.resolution = draw(0.005, 0.1)

    def _ultimate_gain(self) -> Floats:
        """The controller gain at which the phase of loop and integral action is -180 degrees, of each loop."""
        w = np.exp(np.linspace(np.log(1e-3), np.log(20.0), 4000))[:, None]
        process = np.where(self.is_level, 1.0 / (1j * w * self.tau), 1.0 / (1j * w * self.tau + 1.0))
        response = self.gain * process / (1j * w * self.second + 1.0) * np.exp(-1j * w * (self.dead + 0.05)) * (
            1.0 + 1.0 / (1j * w * self.ti))
        phase = np.unwrap(np.angle(response), axis=0)
        at = np.argmax(phase < -np.pi, axis=0)
        at = np.where(at == 0, np.argmax((phase < -np.pi) & (np.diff(phase, axis=0, prepend=0.0) < 0), axis=0), at)
        magnitude: Floats = np.abs(response[at, np.arange(len(self.tau))])
        return 1.0 / magnitude

    def without_stiction(self) -> Loops:
        twin = object.__new__(Loops)
        twin.__dict__ = self.__dict__ | {"band": np.zeros_like(self.band), "slip": np.zeros_like(self.slip)}
        return twin

    def run(self, chance: int) -> Floats:
        """Return the recorded PV, OP and SP, (SAMPLES, N, 3)."""
        rng, friction_rng = np.random.default_rng(chance), np.random.default_rng(chance + 1)
        n, dt = len(self.kinds), 1.0 / SUBSTEPS
        friction = Friction(self.plant, self.band, self.slip, friction_rng)
        a1, a2 = np.exp(-dt / self.tau), np.exp(-dt / self.second)
        rho = np.exp(-dt / self.load_time)
        delay = np.maximum(np.round(self.dead / dt).astype(int), 1)
        ring = np.zeros((int(delay.max()) + 1, n))
        x1, x2, load, drift, phase = (np.zeros(n) for _ in range(5))
        pace, filtered, sp, goal = np.ones(n), np.zeros((2, n)), np.zeros(n), np.zeros(n)
        integral, each = np.zeros(n), np.arange(n)
        phase += rng.random(n)
        out = np.empty((SAMPLES, n, 3))
        for k in range((WARM_UP + SAMPLES) * SUBSTEPS):
            load = rho * load + np.sqrt(1.0 - rho**2) * self.load_size * rng.standard_normal(n)
            drift += self.drift * np.sqrt(dt) * 0.1 * rng.standard_normal(n) - 2e-4 * dt * drift
            pace += 0.02 * np.sqrt(dt) * rng.standard_normal(n) - 0.02 * dt * (pace - 1.0)
            phase += dt * pace / self.wave_period
            square = np.where(phase % 1.0 < 0.5, 1.0, -1.0)
            triangle = 2.0 * np.abs(2.0 * (phase % 1.0) - 1.0) - 1.0
            wave = np.choose(self.wave_form, [np.sin(2.0 * np.pi * phase), square, triangle])
            way = dt / (0.06 * self.wave_period + dt)
            filtered[0] += way * (wave - filtered[0])
            filtered[1] += way * (filtered[0] - filtered[1])
            moves = rng.random(n) < dt / self.sp_interval
            step = self.sp_size * rng.standard_normal(n)
            goal = np.where(moves, 0.5 * goal + step, goal)
            sp = np.where(self.is_cascade, sp + dt / 15.0 * (goal - sp) + 0.1 * self.sp_size * np.sqrt(dt) *
                          rng.standard_normal(n), goal)
            y = x2 + self.noise * rng.standard_normal(n)
            error = sp - y
            u = self.kc * error + integral
            bound = np.clip(u, -self.level_of_op, 100.0 - self.level_of_op)
            integral = integral + self.kc * dt / self.ti * error + (bound - u) * dt / self.ti
            stem = friction.step(bound)
            ring[k % len(ring)] = stem
            arrived = ring[(k - delay) % len(ring), each]
            push = arrived + load + drift + self.wave * filtered[1]
            x1 = np.where(self.is_level, x1 + dt * self.gain / self.tau * push - 1e-4 * dt * x1,
                          a1 * x1 + (1.0 - a1) * self.gain * push)
            x2 = a2 * x2 + (1.0 - a2) * x1
            if k % SUBSTEPS == 0 and k >= WARM_UP * SUBSTEPS:
                pv = np.round(y / self.resolution) * self.resolution
                out[k // SUBSTEPS - WARM_UP] = np.column_stack([pv, self.sign * np.round(bound, 2), sp])
        return out
