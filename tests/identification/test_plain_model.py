"""The plain model of a record: its stream has the waves, the drift, the offset and the recording of the record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_records import START, flow, record_of, run

from clpm_execd.identification.arx import fit_learned_model
from clpm_execd.identification.estimates import Findings
from clpm_execd.identification.learn import learn
from clpm_execd.identification.loop_data import extract_signals
from clpm_execd.plant.block import AUT, SECOND, Block, Floats
from clpm_execd.plant.learned.model import StateMatchedModel
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import ControllerSpec, FaultSpec, LoopSpec, RecordingSpec, Resolution
from clpm_execd.records.record import Record

SAMPLES = 600


def record_of_signals(pv: Floats, op: Floats, sp: Floats | float = 50.0, interval: int = 1) -> Record:
    columns = [np.broadcast_to(np.asarray(signal, dtype=float), pv.shape)[:, None].copy() for signal in (pv, op, sp)]
    step = interval * SECOND
    modes = np.full((len(pv), 1), AUT, dtype=np.int8)
    return Record(("X",), START + step * np.arange(len(pv)), *columns, modes, step, ())


def fit(record: Record, op_span: tuple[float, float] = (0.0, 100.0)) -> LoopSpec:
    """Return a loop with the plain model of a record, whose ranges are those of its signals."""
    low, high = float(np.nanmin(record.pv)), float(np.nanmax(record.pv))
    span = (low - 2.0 * (high - low), high + 2.0 * (high - low))
    signals = extract_signals(record, 0, span, op_span)
    base = template("flow", "X", span)
    rest = np.array([np.nanmean(part) for part in (signals.pv, signals.op, signals.sp)])
    loop = replace(base, sp=float(np.nanmean(record.sp)), op=float(rest[1]),
                   controller=ControllerSpec(gain=1.0, reset=10.0, derivative=0.0),
                   recording=RecordingSpec(op_range=op_span, resolution=Resolution(pv=0.0, op=0.0)))
    loop = fit_learned_model(signals, rest, (0.0, 0.0), loop, None, Findings())
    assert isinstance(loop.learned_model, StateMatchedModel)
    return loop


def stream(loop: LoopSpec, samples: int = 2000, seed: int = 1) -> Block:
    assert loop.learned_model is not None
    step = round(loop.learned_model.interval * SECOND)
    return Plant([loop], seed=seed, start=START, interval=step, scan=step).advance(samples)


def movement(signal: Floats, samples: int = 64) -> float:
    """Return the root mean square of how far a signal moves within windows."""
    windows = signal[:len(signal) // samples * samples].reshape(-1, samples)
    return float(np.sqrt(windows.var(axis=1).mean()))


def wander(signal: Floats, samples: int = 64) -> float:
    """Return the deviation of how far a signal moves within windows, as a fraction of its mean."""
    sizes = np.lib.stride_tricks.sliding_window_view(signal, samples)[::16].std(axis=1)
    return float(sizes.std() / sizes.mean())


def limit_cycle(period: float = 50.0) -> tuple[Floats, Floats]:
    """Return PV, a square wave that a process has rounded, and OP, a triangle, with a little noise."""
    rng, t = np.random.default_rng(3), np.arange(SAMPLES)
    phase = t / period % 1.0
    op = 50.0 + 8.0 * np.abs(phase - 0.5) + 0.05 * rng.normal(size=SAMPLES)
    pv = 50.0 + np.convolve(np.sign(phase - 0.5), np.exp(-np.arange(30) / 5.0) / 5.0)[:SAMPLES]
    return pv + 0.05 * rng.normal(size=SAMPLES), op


def noisy_loop(samples: int = SAMPLES, seed: int = 2, wave: Floats | None = None) -> tuple[Floats, Floats]:
    """Return PV and OP of a PI controller and a first-order process under a slow load, and a wave that adds to it."""
    rng = np.random.default_rng(seed)
    pv, op, load, out = 0.0, 0.0, 0.0, []
    for k, (noise, kick) in enumerate(rng.normal(size=(samples, 2))):
        load = 0.95 * load + 0.3 * kick
        before, pv = pv, 0.8 * pv + 0.2 * op + load + 0.1 * noise + (0.0 if wave is None else wave[k])
        op -= 0.8 * (pv - before) + 0.1 * pv
        out.append((50.0 + pv, 50.0 + op))
    return np.array(out).T[0], np.array(out).T[1]


@pytest.mark.parametrize("period", [12.0, 50.0, 150.0])
def test_a_regular_oscillation_of_a_few_periods_does_not_fade(period: float) -> None:
    pv, op = limit_cycle(period)
    block = stream(fit(record_of_signals(pv, op)))
    for recorded, streamed in ((pv, block.pv[:, 0]), (op, block.op[:, 0])):
        assert 2 / 3 < movement(streamed) / movement(recorded) < 1.5
        spectrum = np.abs(np.fft.rfft(streamed - streamed.mean()))
        assert len(streamed) / np.argmax(spectrum) == pytest.approx(period, rel=0.15)


@pytest.mark.parametrize("period", [10.0, 20.0, 40.0])
def test_a_regular_wave_from_elsewhere_does_not_wander_in_amplitude(period: float) -> None:
    pv, op = noisy_loop(wave=2.0 * np.sin(2.0 * np.pi / period * np.arange(SAMPLES)))
    block = stream(fit(record_of_signals(pv, op)), 4000)
    for recorded, streamed in ((pv, block.pv[:, 0]), (op, block.op[:, 0])):
        assert movement(streamed) == pytest.approx(movement(recorded), rel=0.1)
        assert wander(streamed) < 2.0 * wander(recorded)


def test_a_wave_that_rises_faster_than_it_falls_does_so_in_the_stream() -> None:
    sawtooth = 4.0 * (-np.arange(SAMPLES) / 20.0 % 1.0)
    pv, op = noisy_loop(wave=sawtooth)
    block = stream(fit(record_of_signals(pv, op)), 4000)
    for recorded, streamed in ((pv, block.pv[:, 0]), (op, block.op[:, 0])):
        skews = [float(np.mean(np.diff(signal)**3) / np.diff(signal).std()**3) for signal in (recorded, streamed)]
        assert abs(skews[0]) > 0.5
        assert skews[1] == pytest.approx(skews[0], rel=0.2)


def test_what_only_rises_in_a_short_record_also_falls_in_the_stream_and_stays_in_its_range() -> None:
    rng = np.random.default_rng(4)
    op = np.linspace(30.0, 60.0, SAMPLES) + 0.1 * rng.normal(size=SAMPLES)
    pv = 50.0 + 0.3 * rng.normal(size=SAMPLES)
    streamed = stream(fit(record_of_signals(pv, op)), 4000).op[:, 0]
    slopes = np.diff(streamed[::100])
    assert (slopes > 1.0).mean() > 0.2
    assert (slopes < -1.0).mean() > 0.2
    assert 20.0 < streamed.min() < streamed.max() < 70.0


def test_the_mean_of_pv_minus_sp_over_long_times_is_as_small_as_in_the_record() -> None:
    pv, op = noisy_loop(2000)
    block = stream(fit(record_of_signals(pv, op)), 8000)
    fifth = 400
    recorded = np.abs((pv - 50.0).reshape(-1, fifth).mean(axis=1)).max()
    streamed = np.abs((block.pv[:, 0] - 50.0).reshape(-1, fifth).mean(axis=1))
    assert np.quantile(streamed, 0.95) < 2.0 * recorded


def test_a_loop_whose_record_shows_no_feedback_stays_where_the_record_was() -> None:
    growth = np.exp(0.004 * np.arange(SAMPLES))  # OP drives PV away from SP by these equations, ever faster
    rng = np.random.default_rng(6)
    pv, op = 50.0 - 0.02 * growth + 0.01 * rng.normal(size=SAMPLES), 50.0 + 0.1 * growth
    loop = fit(record_of_signals(pv, op))
    block = stream(loop, 6000)
    assert np.abs(block.op - op.mean()).max() < 3.0 * np.ptp(op)
    assert np.abs(block.pv - pv.mean()).max() < 3.0 * np.ptp(pv)
    assert loop.learned_model is not None
    assert loop.learned_model.controller_op.sum() < 1.0


def batch_loop(samples: int = 1200) -> tuple[Floats, Floats, Floats]:
    """Return PV, OP and SP of a PI controller and a first-order process, whose SP ramps up and down."""
    rng = np.random.default_rng(5)
    sp = np.interp(np.arange(samples) % 300, [0, 30, 140, 170, 270, 300], [20, 20, 60, 60, 20, 20])
    pv, op, load, error, out = 20.0, 20.0, 0.0, 0.0, []
    for target, kick, noise in zip(sp, *rng.normal(size=(2, samples)), strict=True):
        load = 0.95 * load + 0.2 * kick
        pv += 0.1 * (op + load - pv)
        before, error = error, target - pv - 0.05 * noise
        op += 2.0 * (error - before) + 0.2 * error
        out.append((target - error, op))
    return np.array(out).T[0], np.array(out).T[1], sp


def test_a_batch_is_a_batch_in_the_stream_where_exception_reporting_leaves_few_values() -> None:
    pv, op, sp = batch_loop()
    for signal in (pv, op):
        for k in range(1, len(signal)):
            if abs(signal[k] - signal[k - 1]) < 5.0:
                signal[k] = signal[k - 1]
    loop = learn(record_of_signals(pv, op, sp)).loop
    block = stream(loop, 4000)
    for recorded, streamed in ((pv, block.pv), (op, block.op), (sp, block.sp)):
        assert 2 / 3 < movement(streamed[:, 0]) / movement(recorded) < 1.5


def test_integral_action_is_exact_where_the_record_shows_feedback() -> None:
    model = fit(record_of_signals(*noisy_loop(2000))).learned_model
    assert model is not None
    assert model.controller_op.sum() == pytest.approx(1.0, abs=1e-12)


def test_what_moved_pv_together_with_an_operators_sp_is_not_repeated_where_sp_rests() -> None:
    pv, op = noisy_loop()
    sp = np.full(SAMPLES, 50.0)
    sp[300:] = 60.0
    block = stream(fit(record_of_signals(pv + sp - 50.0, op, sp)), 6000)  # PV is at the new SP at once, without OP
    assert np.abs(np.diff(block.pv[:, 0])).max() < 5.0


@pytest.mark.parametrize(("factor", "offset", "op_factor", "op_offset", "interval"), [
    (1.0, 0.0, 0.01, 0.0, 1), (0.02, 3.0, 0.16, 4.0, 1), (1.0, 0.0, -1.0, 100.0, 1), (1000.0, -5e4, 0.2, -10.0, 30)],
    ids=["OP as fraction", "OP in mA", "OP reversed", "standardised, each 30 s"])
def test_a_record_in_other_units_has_the_same_stream_in_these_units(
        factor: float, offset: float, op_factor: float, op_offset: float, interval: int) -> None:
    pv, op = noisy_loop()
    ends = sorted((op_offset, op_offset + 100.0 * op_factor))
    plain = fit(record_of_signals(pv, op))
    other = fit(record_of_signals(offset + factor * pv, op_offset + op_factor * op, offset + factor * 50.0, interval),
                (ends[0], ends[1]))
    samples = 400 if interval == 1 else 4000  # at another interval other instants draw other blocks
    one, two = stream(plain, samples), stream(other, samples)
    pv_of_two, op_of_two = (two.pv[:, 0] - offset) / factor, (two.op[:, 0] - op_offset) / op_factor
    if interval == 1:
        assert pv_of_two == pytest.approx(one.pv[:, 0], abs=1e-6)
        assert op_of_two == pytest.approx(one.op[:, 0], abs=1e-6)
    assert movement(pv_of_two) == pytest.approx(movement(one.pv[:, 0]), rel=0.1)
    assert movement(op_of_two) == pytest.approx(movement(one.op[:, 0]), rel=0.1)


def test_a_limit_cycle_behind_a_fitted_deadband_does_not_die_out() -> None:
    fault = FaultSpec(kind="stiction", parameters={"S": 6.0, "J": 4.0})
    record = run(replace(flow(), faults=(fault,)), SAMPLES, interval=4.0, scan=1.0)
    loop = learn(record_of(record), span=(0.0, 100.0)).loop
    assert [fault.kind for fault in loop.faults] in (["deadband"], ["stiction"])
    block = run(loop, 4 * SAMPLES, interval=4.0)
    assert movement(block.pv[:, 0]) == pytest.approx(movement(record.pv[:, 0]), rel=0.12)


def test_an_op_that_sits_at_its_end_has_no_mirror_image() -> None:
    pv, op = noisy_loop()
    model = fit(record_of_signals(pv, np.maximum(op, np.quantile(op, 0.2)))).learned_model
    assert isinstance(model, StateMatchedModel)
    assert model.mirror.size == 0


def test_a_set_point_that_moves_at_each_sample_is_resampled_with_the_blocks() -> None:
    pv, op = noisy_loop()
    sp = 50.0 + np.convolve(np.random.default_rng(5).normal(size=SAMPLES + 49), np.ones(50) / 10.0, "valid")
    block = stream(fit(record_of_signals(pv + sp - 50.0, op, sp)))
    assert np.mean(np.diff(block.sp[:, 0]) != 0) > 0.95
    assert movement(block.sp[:, 0]) == pytest.approx(movement(sp), rel=0.4)
    assert np.abs(block.sp[:, 0] - sp.mean()).max() < 3.0 * np.abs(sp - sp.mean()).max()


def test_a_long_record_leaves_no_more_than_stretches_of_it() -> None:
    pv, op = noisy_loop(30_000)
    model = fit(record_of_signals(pv, op)).learned_model
    assert isinstance(model, StateMatchedModel)
    assert len(model.signals) == 20_000


def test_a_stopped_stream_resumes_to_the_last_bit() -> None:
    loop = fit(record_of_signals(*limit_cycle()))
    whole = Plant([loop], seed=1, start=START).advance(400)
    first = Plant([loop], seed=1, start=START)
    first.advance(137)
    second = Plant([loop], seed=1, start=first.next_time, snapshot=first.snapshot())
    rest = second.advance(263)
    assert np.array_equal(rest.pv, whole.pv[137:])
    assert np.array_equal(rest.op, whole.op[137:])
