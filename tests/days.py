"""Two days of a simulated refinery beside two real loops: the figures that tests hold, and the picture of them.

`python tests/days.py` draws `clpm_execd/docs/pictures/days.png`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
import tomli
from parts import ROOT
from plant_records import plant_records

from clpm_execd.config.loops import parse_configuration
from clpm_execd.config.plants.starter import write_plant
from clpm_execd.plant.block import SECOND
from clpm_execd.plant.plant import Plant
from clpm_execd.records import read_record

PICTURE = ROOT / "clpm_execd" / "docs" / "pictures" / "days.png"
HOURS, MINUTES = 48, 48 * 60
START = 1_736_503_500 * SECOND
BANDS = ((1 / 48, 1 / 12), (1 / 12, 1 / 3), (1 / 3, 1.0), (1.0, 3.0), (3.0, 10.0), (10.0, 30.0))  # cycles per hour

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Days:
    """OP of N loops at one sample a minute, (2880, N), and the process unit of each."""

    op: Floats
    areas: tuple[str, ...]

    @property
    def hourly(self) -> Floats:
        """The hourly means, (48, N)."""
        return self.op.reshape(HOURS, 60, -1).mean(axis=1)

    def correlations(self) -> tuple[Floats, Floats]:
        """Return the correlations of the hourly means of two loops of one unit, and of two."""
        correlation = np.corrcoef(self.hourly.T)
        areas = np.array(self.areas)
        is_same = areas[:, None] == areas
        pairs = np.triu(np.ones_like(is_same), 1)
        return correlation[pairs & is_same], correlation[pairs & ~is_same]


def simulate_days(count: int = 40, seed: int = 7) -> Days:
    """Return two days of loops without faults, half of them of each of two units; masters, whose OP is an SP, not."""
    loops = parse_configuration(tomli.loads(write_plant("refinery", 100, seed, 0.0))).loops
    block = Plant(loops, seed=seed, start=START, interval=60 * SECOND, scan=5 * SECOND).advance(MINUTES)
    masters = {loop.cascade for loop in loops}
    areas = sorted({loop.area for loop in loops})
    columns = [i for area in areas for i in [
        i for i, loop in enumerate(loops) if loop.area == area and loop.id not in masters][:count // len(areas)]]
    return Days(block.op[:, columns], tuple(loops[i].area for i in columns))


def read_real_days() -> Days:
    """Return the weeks of the real loops in parts of two days, each as a loop of its own."""
    parts, names = [], []
    for path in plant_records("plant_week/*", least=2):
        op = np.asarray(read_record(path).op, dtype=np.float64)[:, 0]
        for k in range(len(op) // MINUTES):
            parts.append(op[k * MINUTES:(k + 1) * MINUTES])
            names.append(path.name[:3])
    return Days(np.stack(parts, axis=1), tuple(names))


def spectrum(op: Floats) -> tuple[Floats, Floats]:
    """Return cycles per hour, and the power density of OP there by Welch's method, (F, N), %^2 h."""
    from scipy.signal import welch

    frequency, power = welch(op, fs=60.0, nperseg=MINUTES, axis=0, detrend="constant")
    return frequency, power


def band_powers(op: Floats) -> Floats:
    """Return the logarithm (base 10) of the mean power density in BANDS, (6, N)."""
    frequency, power = spectrum(op)
    return np.array([np.log10(power[(frequency >= low) & (frequency < high)].mean(axis=0)) for low, high in BANDS])


def draw() -> None:
    """Draw the picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    simulated, real = simulate_days(), read_real_days()
    figure, ((top, steps), (correlations, powers)) = plt.subplots(2, 2, figsize=(11, 7))
    deviation, real_deviation = (days.hourly - days.hourly.mean(axis=0) for days in (simulated, real))
    top.plot(deviation[:, :12], color="tab:blue", alpha=0.5, linewidth=1.0)
    top.plot(real_deviation, color="tab:red", alpha=0.8, linewidth=1.2)
    top.set(title="Hourly means of OP: simulated (blue), real (red)", xlabel="time (h)", ylabel="OP - its mean (%)")
    for days, color, name in ((simulated, "tab:blue", "simulated"), (real, "tab:red", "real")):
        for values, style, what in ((days.hourly.std(axis=0), "-", "standard deviation"),
                                    (np.ptp(days.hourly, axis=0), "--", "range")):
            steps.plot(np.sort(values), np.linspace(0.0, 1.0, len(values)), style, color=color, label=f"{what}, {name}")
    steps.set(title="Hourly means of OP over 48 h", xlabel="standard deviation, range (%)",
              ylabel="fraction of the loops")
    steps.legend(fontsize=8)
    within, between = simulated.correlations()
    correlations.hist([within, between], bins=20, range=(-1, 1), density=True, label=["one unit", "two units"])
    correlations.set(title="Correlation of hourly means, simulated", xlabel="correlation", ylabel="density", yticks=[])
    correlations.legend(fontsize=8)
    frequency, power = spectrum(simulated.op)
    powers.fill_between(frequency[1:], *np.quantile(power[1:], (0.1, 0.9), axis=1), color="tab:blue", alpha=0.3,
                        label="simulated, 10 to 90 %")
    powers.plot(frequency[1:], np.median(power[1:], axis=1), color="tab:blue", linewidth=0.8)
    for k, column in enumerate(band_powers(real.op).T):
        powers.plot([sqrt(low * high) for low, high in BANDS], 10.0**column, "o-", color="tab:red", linewidth=0.8,
                    markersize=3.0, label=None if k else "real, mean of bands")
    powers.set(xscale="log", yscale="log", title="Power of OP", xlabel="frequency (cycles/h)", ylabel="power (%² h)",
               ylim=(1e-5, None))
    powers.legend(fontsize=8)
    figure.tight_layout()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=62)


if __name__ == "__main__":
    draw()
