"""The plant's raw numbers, as hashes: what no rename, move or tidying may change by one bit, on any platform.

Line protocol rounds, so that a law whose operands are reordered writes the same text for hours: only the float64 bytes
show it. `python tests/golden/golden_arrays.py` writes `arrays.txt` again, which is right only where a commit changes
the plant's arithmetic on purpose and says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tomli

from clpm_execd.config.loops import parse_configuration, read_configuration
from clpm_execd.config.plants.demo import make_demo
from clpm_execd.config.plants.starter import write_plant
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.plant.block import SECOND, Block
from clpm_execd.plant.faults.catalogue import FAULTS
from clpm_execd.plant.kernel import single_loop
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec

FOLDER = Path(__file__).parent
HASHES = FOLDER / "arrays.txt"
START_NS = 1736503500 * SECOND
SEED = 42
SIGNALS = ("pv", "op", "sp", "true_pv", "valve_position")
# What makes the plant choose each of its three ways to live through many scans (see plant/kernel/single_loop.py).
VECTORISED = {"MAX_LOOPS_INTERPRETED": 0, "MIN_LOOP_SCANS_TO_COMPILE": 10**18}
SINGLE_LOOP = {"MAX_LOOPS_INTERPRETED": 10**6, "MIN_LOOP_SCANS_TO_COMPILE": 10**18}
NUMBA = {"MAX_LOOPS_INTERPRETED": 10**6, "MIN_LOOP_SCANS_TO_COMPILE": 0}
ENGINES = {"vectorised": VECTORISED, "single loop": SINGLE_LOOP, "numba": NUMBA}


@dataclass(frozen=True)
class Case:
    """A plant, and the numbers of samples in which it is advanced."""

    name: str
    make_loops: Callable[[], Sequence[LoopSpec]]
    blocks: tuple[int, ...]
    interval: int = SECOND
    engine: str = "single loop"


def cases() -> Iterator[Case]:
    """Every plant whose numbers are pinned."""
    default = read_configuration(None)
    for engine in ENGINES:
        blocks = (3600, 1, 1, 598)
        yield Case(f"default loops, {engine}", lambda: default.loops, blocks, engine=engine)
        yield Case(f"demo, {engine}", lambda: make_demo(default).loops, blocks, engine=engine)
        yield Case(f"default loops every 250 ms, {engine}", lambda: default.loops, blocks, SECOND // 4, engine)
    for kind in sorted(FAULTS):
        yield Case(f"fault {kind}", lambda kind=kind: parse_loops(FAULTS[kind].example), (1700, 400))
    yield Case("learned loops", lambda: read_configuration(FOLDER / "learned" / "loops.toml").loops, (600, 200),
               5 * SECOND)
    yield Case("faults, a cascade and learned loops",
               lambda: read_configuration(FOLDER / "faults" / "loops.toml").loops, (1500, 300, 1))
    yield Case("refinery", lambda: parse_loops(write_plant("refinery", 60, SEED)), (3600, 600))


def parse_loops(text: str) -> Sequence[LoopSpec]:
    """Return the loops of the text of a loops.toml."""
    return parse_configuration(tomli.loads(text)).loops


def run(case: Case) -> dict[str, str]:
    """Simulate a case with the engine that it names, and return hashes of blocks, last lines and snapshot."""
    with engine(case.engine):
        plant = Plant(case.make_loops(), seed=SEED, start=START_NS, interval=case.interval)
        blocks = [plant.advance(samples) for samples in case.blocks]
        hashes = {f"{case.name}: block {number}": hash_block(block) for number, block in enumerate(blocks)}
        lines = LineProtocol(plant.loops).encode(blocks[-1])
        return hashes | {f"{case.name}: snapshot": hash_snapshot(plant), f"{case.name}: lines": hash_bytes(lines)}


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
    parts = []
    for values in arrays:
        array = np.ascontiguousarray(values)
        parts += [f"{array.shape} {array.dtype.descr}".encode(), array.tobytes()]
    return hash_bytes(*parts)


def hash_bytes(*parts: bytes) -> str:
    """Hash bytes, one after the other."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:24]


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


def read_hashes() -> dict[str, str]:
    """Read `arrays.txt`: the hash of every name."""
    rows = [line.split("  ", 1) for line in HASHES.read_text().splitlines() if not line.startswith("#")]
    return {name: value for value, name in rows}


def compute_hashes() -> dict[str, str]:
    """Compute the hash of every name."""
    return {name: value for case in cases() for name, value in run(case).items()}


def main() -> None:
    """Write `arrays.txt`."""
    lines = ["# Hashes of the plant's raw arrays (see golden_arrays.py)."]
    lines += [f"{value}  {name}" for name, value in compute_hashes().items()]
    HASHES.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
