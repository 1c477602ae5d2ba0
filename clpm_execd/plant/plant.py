"""The plant: all loops, one scan after another, as fast as it is asked to.

Its samples are a function of the loops, the seed and the time: live streaming asks for one sample, a backfill for
thousands, and both get the same numbers. Adding, removing or reordering loops changes no other loop's values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import GOOD, MODES, SECOND, Block, Floats
from clpm_execd.plant.kernel.simulation import Simulation
from clpm_execd.plant.loop_set import Columns, Indices, LoopSet
from clpm_execd.plant.snapshot import (
    OwnedRows,
    Snapshot,
    Tables,
    add_missing_rows,
    fingerprint_loops,
    reassign_owners,
    restore_parts,
    snapshot_parts,
)
from clpm_execd.plant.specs import LoopSpec, Move
from clpm_execd.plant.stages.disturbance import Draws
from clpm_execd.plant.stages.state import Cascades, State

if TYPE_CHECKING:
    from clpm_execd.plant.faults.data_path import DataPath
    from clpm_execd.plant.faults.schedule import FaultSeverities
    from clpm_execd.plant.truth.twin import Twin

# Enough pairs of normals at once to hide the cost of a call, few enough for a processor's second cache: 256 kB.
_PAIRS_PER_DRAW = 16_384
_MAX_SCANS_PER_DRAW = 1024  # of few loops, whose calls cost little by then
_MAX_SCANS_PER_INTERVAL = 10_000  # beyond one a second: an interval of years must not keep the search for a scan going


class Plant(Simulation):
    """A Source of Blocks: N loops simulated from `start` on, and with them the M copies that measure the truth.

    Parameters
    ----------
    loops
        The loops, each with an id of its own.
    seed
        Seed of all random numbers.
    start
        Time of the first sample, ns since 1970.
    interval
        Time between samples, ns.
    scan
        Time between controller executions, ns, a divisor of the interval; by default `choose_default_scan` of it.
    snapshot
        State of a plant that was stopped. The loops that are specified as they were, with their whole cascade, resume
        from it, and their moves and faults count from their own start; the others start in balance and count from now.
        `start` must be its next_time if it fits any loop.
    is_respecified
        Whether every loop resumes from the snapshot, however it is specified now. What has no state there, such as a
        fault that is new, starts from the state of its loop. The loops are those of the snapshot.
    measures_truth
        Whether a twin measures what faults do. Without it the ground truth of a Block says when faults are present, and
        no fault is visible.
    names_links
        Whether a fault by which a loop feels another one, such as an external oscillation, is the cause of what comes
        on this way, as in the frozen suites of the benchmark; otherwise it is the root, a fault behind it.

    Attributes
    ----------
    loops
        The ids, in the order of the Blocks' columns.
    next_time
        Time of the next sample, ns since 1970.
    resumed_loops
        The ids of the loops that resume from the snapshot.

    Raises
    ------
    ValueError
        Loops, interval and scan do not fit together, or the snapshot is of another kind of plant.
    """

    def __init__(self, loops: Sequence[LoopSpec], *, seed: int = 42, start: int, interval: int = SECOND,
                 scan: int | None = None, snapshot: Snapshot | None = None, is_respecified: bool = False,
                 measures_truth: bool = True, names_links: bool = False) -> None:
        self.interval = interval
        self.next_time = start
        self._scan = choose_default_scan(interval) if scan is None else scan
        if interval <= 0 or self._scan <= 0 or interval % self._scan:
            raise ValueError("the interval must be a whole number of scans")
        loops = LoopSet.of(loops)
        self.loops = loops.ids
        if not loops or len(set(self.loops)) != len(loops):
            raise ValueError("a plant needs loops, each with an id of its own")
        cascades = Cascades(loops)
        order = np.argsort(cascades.depths, kind="stable")  # masters first
        self._columns = np.argsort(order, kind="stable")  # the plant's column of each loop of a Block
        self._next_tick = start // self._scan
        self._specs, self._seed = loops.select(order), seed
        self._starts = np.full(len(loops), start, dtype=np.int64)
        self.resumed_loops: frozenset[str] = frozenset()
        self._data_path: DataPath | None = None
        self._twin: Twin | None = None
        self._measures_truth, self._names_links = measures_truth, names_links
        new_owner = None if snapshot is None else self._match(snapshot, is_respecified)
        specs = self._specs
        if cascades.masters.size:  # masters are in balance where their slaves are
            specs = specs.with_nominal_op(State(specs).op)
        self._draws = Draws(specs, seed, self._starts, self._scan)
        faults = self._add_truth(specs, cascades.depths[order]) if specs.any(lambda loop: loop.faults) else None
        # Which of the simulated loops are the plant's, and the plant's column of each.
        self._plant_at = self._plant_column = np.arange(len(specs))
        if self._twin is not None:
            specs = self._twin.schedule.loops
            self._plant_at, self._plant_column = self._twin.plant_at, self._twin.column
        self._block_columns = Columns(self._plant_at[self._columns])
        self._build(specs, seed, self._starts[self._plant_column])
        if snapshot is not None and is_respecified:  # what a new fault starts from
            restore_parts(self._iterate_parts(), reassign_owners(snapshot.tables, self._plant_at), self._plant_at)
        if faults is not None:
            self._attach_faults(faults, seed)
        if snapshot is not None and new_owner is not None:
            self._restore(snapshot, new_owner, is_respecified)

    def _add_truth(self, specs: LoopSet, depths: Indices) -> FaultSeverities:
        """Make what tells the truth about the faults, and their data path; return those of the simulated loops."""
        # A plant without any does without these imports.
        from clpm_execd.plant.faults.data_path import DataPath
        from clpm_execd.plant.faults.kinds import Stage
        from clpm_execd.plant.faults.schedule import Schedule
        from clpm_execd.plant.truth.observer import TruthObserver

        schedule = Schedule(specs, self._columns.tolist(), self._starts, self._scan, self._seed)
        routes = copies = None
        if self._measures_truth and any(fault.kind.acts_on_plant for fault in schedule.faults):
            from clpm_execd.plant.truth.routes import Routes, find_links_of_loops
            from clpm_execd.plant.truth.twin import Twin

            acts_on = find_links_of_loops(specs, schedule)
            routes = Routes(specs.ids, acts_on)
            self._twin = Twin(specs, depths, schedule, acts_on, self.interval)
            copies = self._twin.copies
        if schedule.faults_of_stage(Stage.DATA_PATH):
            self._data_path = DataPath(schedule, self._seed, self.interval)
        self._truth_observer = TruthObserver(schedule, self._columns, copies, routes, self._data_path, self.interval,
                                             names_links=self._names_links)
        return schedule if self._twin is None else self._twin.schedule

    def snapshot(self) -> Snapshot:
        """Return the plant's state now, for another one to resume from; it stays as it is when this one goes on."""
        tables, copies = self._tables()
        return Snapshot(self._specs.ids, self._fingerprints, self._starts, self.next_time, self._next_tick,
                        tables | copies)

    def _tables(self) -> tuple[dict[str, OwnedRows], dict[str, OwnedRows]]:
        """Return the state of the loops, and that of their copies, by the plant's columns."""
        tables, copies = snapshot_parts(self._iterate_parts()), dict[str, OwnedRows]()
        if self._twin is not None:
            tables, copies = self._twin.split_tables(tables)
        if self._data_path is not None:
            tables |= snapshot_parts([(stored_names.DATA_PATH_PART, self._data_path)])
        return tables, copies

    @cached_property
    def _fingerprints(self) -> npt.NDArray[np.uint8]:
        return fingerprint_loops(self._specs, self._seed, self._scan, self.interval)

    def respecify(self, loops: Sequence[LoopSpec]) -> Plant:
        """Return a plant that goes on from the state of this one with other parameters, moves or faults of its loops.

        OP does not jump where a controller has another gain. This plant is not to be advanced any more.

        Parameters
        ----------
        loops
            The same loops in the same order. A fault may be added behind those that a loop has, and get another end,
            but none may be removed.
        """
        plant = Plant(loops, seed=self._seed, start=self.next_time, interval=self.interval, scan=self._scan,
                      snapshot=self.snapshot(), is_respecified=True, measures_truth=self._measures_truth,
                      names_links=self._names_links)
        column, kp = plant._plant_column, plant._get_gains()
        old, new = self._get_gains()[self._plant_at], kp[plant._plant_at]
        # Copies without a fault of the controller have other gains, which change by the same factor.
        ratio = np.divide(old, new, out=np.ones_like(old), where=new != 0.0)
        kp = np.where((old != new)[column], kp * ratio[column], kp)
        kp[plant._plant_at] = old
        for controller, level in zip(plant._controllers, plant._state.cascades.levels, strict=True):
            controller.rescale_integral(kp[level])
        return plant

    def add_move(self, loop: str, move: Move) -> None:
        """Plan a move of the operator of a loop, at a time that is not before the next scan.

        Parameters
        ----------
        loop
            The id of the loop.
        move
            The move, with a time since 1970.
        """
        index = self._specs.ids.index(loop)
        self._operator.add_move(np.flatnonzero(self._plant_column == index).tolist(), move, self._specs[index])

    def _get_gains(self) -> Floats:
        """Return the gain of each controller, those of the copies too."""
        return np.concatenate([controller.kp for controller in self._controllers])

    @property
    def scan(self) -> int:
        """The time between two scans, ns."""
        return self._scan

    @property
    def next_scan(self) -> int:
        """The time of the next scan, ns since 1970; at latest that of the next sample."""
        return self._next_tick * self._scan

    @property
    def start(self) -> int:
        """The earliest start of a loop, ns since 1970."""
        return int(self._starts.min())

    def start_of(self, loop: str) -> int:
        """Return the start of a loop, from which its moves and faults count, ns since 1970."""
        return int(self._starts[self._specs.ids.index(loop)])

    def present_faults(self, loop: LoopSpec, time: int) -> list[bool]:
        """Return which of its faults a loop has at a time, ns since 1970, were it specified like this."""
        from clpm_execd.plant.faults.schedule import Schedule

        starts = np.array([self.start_of(loop.id)])
        severities = Schedule([loop], [0], starts, self._scan, self._seed).severities(np.array([time // self._scan]))
        return [severity > 0.0 for severity in severities[0].tolist()]

    def mode_of(self, loop: str) -> str:
        """Return the mode that the operator of a loop chose, AUT, MAN or CAS."""
        return MODES[int(self._state.mode[self._plant_at[self._specs.ids.index(loop)]])]

    def signals_of(self, loop: str) -> dict[str, float]:
        """Return PV and SP, in engineering units, and OP, %, of a loop at the latest scan, by name."""
        i, state = self._plant_at[self._specs.ids.index(loop)], self._state
        zero, scale = float(self._pv_zero[i]), float(self._pv_scale[i])
        return {"PV": zero + scale * float(state.pv[i]), "SP": zero + scale * float(state.sp[i]),
                "OP": float(state.op[i])}

    def advance_to(self, time: int) -> None:
        """Simulate the scans before this time, ns since 1970, which is not after the next sample."""
        none = np.empty((0, *self._state.signals.shape))
        self._simulate(self.next_time // self._scan, -(-time // self._scan) - 1, none, none[:, 0].astype(np.int8))

    def _match(self, snapshot: Snapshot, is_respecified: bool) -> Indices | None:
        """Return the index here of each loop of the snapshot, -1 where it is gone or specified differently.

        None where no loop resumes. Those that do keep their start; the others start with the next scan.
        """
        if is_respecified:
            self._starts, self._next_tick = snapshot.starts.copy(), snapshot.next_tick
            return np.arange(len(snapshot.loops))
        index = {fingerprint.tobytes(): i for i, fingerprint in enumerate(self._fingerprints)}
        new_owner = np.array([index.get(fingerprint.tobytes(), -1) for fingerprint in snapshot.fingerprints],
                             dtype=np.intp)
        resumed = np.flatnonzero(new_owner >= 0)
        if not resumed.size:
            return None
        if snapshot.next_time != self.next_time:
            raise ValueError("the plant does not start where the snapshot ends")
        self._starts -= (self._next_tick - snapshot.next_tick) * self._scan
        self._starts[new_owner[resumed]] = snapshot.starts[resumed]
        self._next_tick = snapshot.next_tick
        self.resumed_loops = frozenset(snapshot.loops[i] for i in resumed)
        return new_owner

    def _restore(self, snapshot: Snapshot, new_owner: Indices, is_respecified: bool) -> None:
        """Restore the state. Faults are brought up first: what they do at their beginning is in the snapshot."""
        self.bring_faults_up(self._next_tick)
        tables: Tables = reassign_owners(snapshot.tables, new_owner)
        resumed = new_owner[new_owner >= 0]
        if is_respecified:
            tables = add_missing_rows(tables, self._tables()[0])
        if self._twin is None:
            restore_parts(self._iterate_parts(), tables, resumed)
        else:
            self._twin.restore(self._iterate_parts(), tables, resumed, is_respecified=is_respecified)
        if self._data_path is not None:
            restore_parts([(stored_names.DATA_PATH_PART, self._data_path)], tables, resumed)

    def advance(self, n: int) -> Block:
        """Simulate the next n samples, n >= 1. Memory grows with n, so ask for long runs in parts.

        The plant is simulated up to the last of them and no further: what lies before the next is left to the next
        call.
        """
        rows, size = self._state.signals.shape
        signals = np.empty((rows, n, size))
        mode = np.empty((n, size), dtype=np.int8)
        ticks = self.next_time // self._scan + self.interval // self._scan * np.arange(n)
        self._simulate(int(ticks[0]), int(ticks[-1]), signals.swapaxes(0, 1), mode)
        self.record(signals)
        times = self.next_time + self.interval * np.arange(n, dtype=np.int64)
        truth = None
        if self._schedule is not None:
            truth = self._truth_observer.observe(ticks, times, signals, mode)
        self.next_time += n * self.interval
        sp, op, pv, true_pv, position = self._block_columns.of(signals)
        block = Block(
            loops=self.loops, times=times, pv=pv, op=op, sp=sp, mode=self._block_columns.of(mode),
            valve_position=position, true_pv=true_pv, quality=np.full(pv.shape, GOOD, dtype=np.int16), truth=truth,
            interval=self.interval)
        return block if self._data_path is None else self._data_path.transmit(block)  # 9 what leaves

    def _simulate(self, first: int, last: int, signals: Floats, mode: npt.NDArray[np.int8]) -> None:
        """Simulate up to the scan `last`; take signals and modes of each that is a sample, from the scan `first` on.

        signals: (T, 5, N + M). mode: (T, N + M).
        """
        state, scans = self._state, self.interval // self._scan
        if self._single_loop is not None:
            self._single_loop.note_request(len(signals), scans)
        for tick, noise, load in self._make_batches(last + 1):
            wait = (first - tick) % scans  # scans until the next sample
            i = (tick + wait - first) // scans
            if self._single_loop is not None and len(noise) > 1:
                samples = self._single_loop.simulate(noise, load)[wait::scans]
                signals[i:i + len(samples)], mode[i:i + len(samples)] = samples, state.effective_mode
                continue
            one_noise, one_load = noise[0], load[0]
            if self._twin is not None:
                one_noise, one_load = one_noise.take(self._plant_column), one_load.take(self._plant_column)
            self._simulate_scan(tick, one_noise, one_load)
            if wait == 0:
                signals[i], mode[i] = state.signals, state.effective_mode
                if self._learned is not None:
                    self._learned.record(signals[i, 2], signals[i, 1])

    def _make_batches(self, end: int) -> Iterator[tuple[int, Floats, Floats]]:
        """Yield the scans up to `end`: in one batch those that nothing disturbs, else one by one.

        A batch is the number of its first scan since 1970, the standard normals of the noise, and what is new in the
        load, (T, N) each.
        """
        per_draw = max(1, min(_MAX_SCANS_PER_DRAW, _PAIRS_PER_DRAW // len(self.loops)))
        while self._next_tick < end:
            first, n = self._next_tick, min(per_draw, end - self._next_tick)
            noise, load = self._draws.draw(first, n)
            start = 0
            while start < n:
                stop = start + self._count_batch_scans(first + start, n - start)
                yield first + start, noise[start:stop], load[start:stop]
                start = stop
            self._next_tick += n

    def _count_batch_scans(self, tick: int, most: int) -> int:
        """Return how many scans from this one on, at most so many, may be simulated in one batch."""
        if self._single_loop is None or not self._single_loop.is_quicker(most):
            return 1
        idle = self._operator.idle_scans(tick, most)
        return idle if self._single_loop.is_quicker(idle) else 1


def choose_default_scan(interval: int) -> int:
    """Return the scan of a plant that is sampled each `interval`, both in ns.

    It is 1 s, or the next shorter time that divides the interval. An interval that nothing between 0.1 and 1 s divides
    is scanned once.
    """
    fewest = -(-interval // SECOND)
    most = min(10 * fewest, fewest + _MAX_SCANS_PER_INTERVAL)
    return next((interval // parts for parts in range(fewest, most + 1) if interval % parts == 0), interval)
