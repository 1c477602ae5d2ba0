"""The plant's raw numbers, as hashes and as samples: what no rename, move or tidying may change by one bit.

Line protocol rounds, so that a law whose operands are reordered writes the same text for hours: only the float64 bytes
show it. `python tests/golden/golden_arrays.py` writes `arrays.txt` and `arrays.npz` again, which is right only where a
commit changes the plant's arithmetic on purpose and says so.

The last bit of NumPy's log, exp and power depends on its release and on the processor, and so does the order in which
sums are taken. `arrays.txt` therefore names the numeric platforms on which its hashes hold, by a hash of what
such functions give; `arrays.npz` holds some rows of every case, which hold to rounding on any platform.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tomli

from clpm_execd.config.demo import make_demo
from clpm_execd.config.loops import parse_configuration, read_configuration
from clpm_execd.plant.block import SECOND, Block
from clpm_execd.plant.faults.catalogue import FAULTS
from clpm_execd.plant.kernel import single_loop
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec

FOLDER = Path(__file__).parent
HASHES, SAMPLES = FOLDER / "arrays.txt", FOLDER / "arrays.npz"
START_NS = 1736503500 * SECOND
SEED = 42
SIGNALS = ("pv", "op", "sp", "true_pv", "valve_position")
# On another numeric platform the last bits of normals (np.log) and of coefficients (exp, power) differ. Loops are
# damped, so that they stay last bits: between NumPy 1.26 and 2.4 no sample differs by more than 2e-14 of itself.
TOLERANCE = 1e-11
SAMPLED_ROWS = 8  # of each case, evenly spread

# What makes the plant choose each of its three ways to live through many scans (see plant/kernel/single_loop.py).
VECTORISED = {"MAX_LOOPS_INTERPRETED": 0, "MIN_LOOP_SCANS_TO_COMPILE": 10**18}
SINGLE_LOOP = {"MAX_LOOPS_INTERPRETED": 10**6, "MIN_LOOP_SCANS_TO_COMPILE": 10**18}
NUMBA = {"MAX_LOOPS_INTERPRETED": 10**6, "MIN_LOOP_SCANS_TO_COMPILE": 0}
ENGINES = {"vectorised": VECTORISED, "single loop": SINGLE_LOOP, "numba": NUMBA}


@dataclass(frozen=True)
class Case:
    """A plant, and the numbers of samples in which it is advanced."""

    name: str
    loops: Sequence[LoopSpec]
    blocks: tuple[int, ...]
    interval: int = SECOND
    engine: str = "single loop"


@dataclass(frozen=True)
class Result:
    """What a case gave: a hash of each block and of the snapshot after the last, and rows (R, signals, N)."""

    hashes: dict[str, str]
    samples: npt.NDArray[np.float64]


def cases() -> Iterator[Case]:
    """Every plant whose numbers are pinned."""
    default = read_configuration(None)
    for engine in ENGINES:
        blocks = (3600, 1, 1, 598)
        yield Case(f"default loops, {engine}", default.loops, blocks, engine=engine)
        yield Case(f"demo, {engine}", make_demo(default).loops, blocks, engine=engine)
        yield Case(f"default loops every 250 ms, {engine}", default.loops, blocks, SECOND // 4, engine)
    for kind in sorted(FAULTS):
        yield Case(f"fault {kind}", parse_configuration(tomli.loads(FAULTS[kind].example)).loops, (1700, 400))
    yield Case("learned loops", read_configuration(FOLDER / "learned" / "loops.toml").loops, (600, 200), 5 * SECOND)
    yield Case("faults, a cascade and learned loops", read_configuration(FOLDER / "faults" / "loops.toml").loops,
               (1500, 300, 1))


def run(case: Case) -> Result:
    """Simulate a case with the engine that it names."""
    hashes = {}
    blocks = []
    with engine(case.engine):
        plant = Plant(case.loops, seed=SEED, start=START_NS, interval=case.interval)
        for number, samples in enumerate(case.blocks):
            blocks.append(plant.advance(samples))
            hashes[f"{case.name}: block {number}"] = hash_block(blocks[-1])
        hashes[f"{case.name}: snapshot"] = hash_snapshot(plant)
    signals = np.stack([np.concatenate([getattr(block, name) for block in blocks]) for name in SIGNALS], axis=1)
    rows = np.linspace(0, len(signals) - 1, SAMPLED_ROWS).astype(int)
    return Result(hashes, signals[rows])


@contextmanager
def engine(name: str) -> Iterator[None]:
    """Choose one of ENGINES."""
    constants = ENGINES[name]
    before = {key: getattr(single_loop, key) for key in constants}
    for key, value in constants.items():
        setattr(single_loop, key, value)
    try:
        yield
    finally:
        for key, value in before.items():
            setattr(single_loop, key, value)


def hash_arrays(*arrays: npt.ArrayLike) -> str:
    """Hash shapes, types and bytes."""
    digest = hashlib.sha256()
    for given in arrays:
        array = np.ascontiguousarray(given)
        digest.update(f"{array.shape} {array.dtype.descr}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:24]


def hash_block(block: Block) -> str:
    """Hash all arrays of a Block that 0.1.0 had, also of its truth and arrivals, in the order of the fields."""
    arrays = []
    for part in (block, block.truth, block.arrivals):
        if part is not None:
            values = [getattr(part, field.name) for field in fields(part) if field.name != "seq"]
            arrays += [value for value in values if isinstance(value, np.ndarray)]
    return hash_arrays(*arrays)


def hash_snapshot(plant: Plant) -> str:
    """Hash a plant's state, the names under which a checkpoint stores it included."""
    snapshot = plant.snapshot()
    arrays: list[npt.ArrayLike] = [snapshot.fingerprints, snapshot.starts, snapshot.next_time, snapshot.next_tick]
    for name in sorted(snapshot.tables):
        owner, values = snapshot.tables[name]
        arrays += [np.frombuffer(name.encode(), np.uint8), owner, values]
    return hash_arrays(*arrays)


def probe() -> str:
    """Name the numeric platform: a hash of results whose last bits differ between NumPy releases and processors."""
    x = np.linspace(1e-9, 1.0, 20_001)
    matrix = x[:2_000].reshape(100, 20)
    complex_x = np.exp(1j * x)
    functions = (math.exp, math.expm1, math.log, math.log1p, math.sin)
    return hash_arrays(
        np.log(x), np.exp(-x), np.sin(7.0 * x), np.sqrt(x), complex_x, complex_x**-7.0, np.geomspace(1e-3, 3.0, 2_000),
        np.add.reduce(x), np.add.reduce(matrix, axis=1), matrix @ x[:20], np.nanstd(matrix, axis=0),
        [[function(value) for function in functions] for value in x[::50].tolist()])


def read_hashes() -> tuple[list[str], dict[str, str]]:
    """Read `arrays.txt`: its lines about platforms, which begin with the probe's answer, and the hash of every name."""
    rows = [line.split("  ", 1) for line in HASHES.read_text().splitlines() if not line.startswith("#")]
    platforms = [text for key, text in rows if key == "platform"]
    return platforms, {name: key for key, name in rows if key != "platform"}


def is_known_platform() -> bool:
    """Whether the hashes hold here."""
    here = probe()
    return any(platform.startswith(here) for platform in read_hashes()[0])


def main() -> None:
    """Write both files; platforms on which the hashes are the same stay in `arrays.txt`."""
    results = {case.name: run(case) for case in cases()}
    hashes = {name: value for result in results.values() for name, value in result.hashes.items()}
    platforms = [f"{probe()}  NumPy {np.__version__}, {platform.machine()}, {platform.libc_ver()[1]}"]
    if HASHES.exists() and read_hashes()[1] == hashes:
        platforms += [other for other in read_hashes()[0] if not other.startswith(probe())]
    lines = ["# Hashes of the plant's raw arrays (see golden_arrays.py), first written by clpm-execd 0.1.0."]
    lines += [f"platform  {text}" for text in sorted(platforms)]
    lines += [f"{value}  {name}" for name, value in hashes.items()]
    HASHES.write_text("\n".join(lines) + "\n")
    np.savez_compressed(SAMPLES, **{name: result.samples for name, result in results.items()})


if __name__ == "__main__":
    main()
