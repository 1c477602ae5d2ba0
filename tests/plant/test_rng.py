"""Random numbers: every value is a function of seed, loop and instant, whichever other loops there are.

advance(n) is n times advance(1), bit for bit; adding, removing and reordering loops changes no other loop's values,
nor does another process. The draws themselves are white, normal and unrelated.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from still import START, move, ns
from tiers import examples

from clpm_execd.plant.block import Block
from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.rng import derive_stream_keys, draw_normal_pairs, draw_normals, draw_uniforms, random_words
from clpm_execd.plant.specs import ControllerSpec, LoopSpec, OperatorSpec, RecordingSpec, Resolution, ValveSpec

ARRAYS = ("pv", "op", "sp", "mode", "valve_position", "true_pv", "quality")


def mixed() -> tuple[LoopSpec, ...]:
    """One loop of each type, a cascade two deep, odd valves, holds, moves, habits, and one at its limit."""
    loops = [template(kind, LOOP_TYPES[kind].letters + "1", (0.0, 250.0)) for kind in LOOP_TYPES]
    flow, pressure, level, temperature, composition = loops
    leaves_cas = (move(40, mode="MAN"), move(41, op=55.0))
    equal = ValveSpec(characteristic="equal-percentage")
    return (
        replace(flow, cascade="TIC1", mode="CAS", valve=ValveSpec(lag=2.0), moves=leaves_cas),
        replace(pressure, valve=equal, process=replace(pressure.process, dead_time=2.6)),
        replace(level, recording=RecordingSpec(resolution=Resolution(pv=0.3), exception=0.2)),
        replace(temperature, cascade="AIC1", mode="CAS"),
        replace(composition, moves=(move(10, ramp=30, sp=130.0),)),
        replace(pressure, id="PIC2", valve=ValveSpec(characteristic="quick-opening"), moves=(move(5, sp=249.0),),
                controller=ControllerSpec(tuning="aggressive")),
        replace(level, id="LIC2", operator=OperatorSpec(interval=900.0, size=3.0)),
        replace(flow, id="FIC2", operator=OperatorSpec(wave=5.0, period=60.0)),
    )


GROUPS = (("AIC1", "TIC1", "FIC1"), ("PIC1",), ("LIC1",), ("PIC2",), ("LIC2",), ("FIC2",))


def plant(loops: tuple[LoopSpec, ...], seed: int = 42) -> Plant:
    return Plant(loops, seed=seed, start=START + ns(850), interval=ns(1))


def same(a: Block, b: Block) -> bool:
    return np.array_equal(a.times, b.times) and all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in ARRAYS)


def joined(blocks: list[Block]) -> Block:
    arrays = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in ("times", *ARRAYS)}
    return Block(loops=blocks[0].loops, **arrays)


@pytest.mark.parametrize("seed", [0, 1, 42, 2**63])
def test_a_long_run_is_the_same_as_one_sample_after_the_other(seed: int) -> None:
    source = plant(mixed(), seed)
    assert same(joined([source.advance(1) for _ in range(300)]), plant(mixed(), seed).advance(300))


@settings(max_examples=examples(15))
@given(seed=st.integers(0, 2**64 - 1), parts=st.lists(st.integers(1, 120), min_size=1, max_size=6))
def test_a_run_may_be_split_anywhere(seed: int, parts: list[int]) -> None:
    source = plant(mixed(), seed)
    assert same(joined([source.advance(n) for n in parts]), plant(mixed(), seed).advance(sum(parts)))


def test_a_run_longer_than_one_draw_of_noise_has_no_seam() -> None:
    source = plant(mixed())
    assert same(joined([source.advance(n) for n in (1000, 30, 1970)]), plant(mixed()).advance(3000))


def test_samples_five_scans_apart_are_every_fifth_of_those_of_each_scan() -> None:
    loops = tuple(replace(loop, recording=RecordingSpec()) for loop in mixed())
    each = Plant(loops, start=START, interval=ns(1)).advance(300)
    fifth = Plant(loops, start=START, interval=ns(5), scan=ns(1)).advance(60)
    for name in ("times", *ARRAYS):
        assert np.array_equal(getattr(fifth, name), getattr(each, name)[::5])


WHOLE = {loop.id: loop for loop in mixed()}
ALL_OF_THEM = plant(mixed()).advance(150)


@pytest.mark.slow
@settings(max_examples=examples(60))
@given(groups=st.lists(st.sampled_from(GROUPS), min_size=1, unique=True), data=st.data())
def test_which_other_loops_there_are_and_in_which_order_changes_no_value(
        groups: list[tuple[str, ...]], data: st.DataObject) -> None:
    ids = data.draw(st.permutations([loop_id for group in groups for loop_id in group]))
    block = plant(tuple(WHOLE[loop_id] for loop_id in ids)).advance(150)
    at = [ALL_OF_THEM.loops.index(loop_id) for loop_id in ids]
    for name in ARRAYS:
        assert getattr(block, name).tobytes() == np.ascontiguousarray(getattr(ALL_OF_THEM, name)[:, at]).tobytes()


def digest() -> str:
    block = plant(mixed()).advance(200)
    return hashlib.sha256(b"".join(getattr(block, name).tobytes() for name in ("times", *ARRAYS))).hexdigest()


@pytest.mark.process
def test_another_process_makes_the_same_bytes() -> None:
    here = Path(__file__).parent
    paths = [str(folder) for folder in (here, *here.parents[:2])]
    code = f"import sys; sys.path[:0] = {paths}; import test_rng; print(test_rng.digest())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120,
                            env={"PYTHONHASHSEED": "7"})
    assert result.stdout.strip() == digest()


def test_another_seed_makes_other_values() -> None:
    assert not (plant(mixed(), 1).advance(50).true_pv[10:] == plant(mixed(), 2).advance(50).true_pv[10:]).any()


# --- the draws

LOOPS = tuple(f"FIC{i:03d}" for i in range(50))
N = 20_000


def test_keys_differ_by_seed_loop_and_purpose() -> None:
    purposes = ("noise", "load", "operator a")
    keys = [key for seed in (0, 1, 42) for purpose in purposes for key in derive_stream_keys(seed, LOOPS, purpose)]
    assert len(set(keys)) == 3 * 3 * len(LOOPS)
    assert derive_stream_keys(1, ("2A",), "b")[0] != derive_stream_keys(12, ("A",), "b")[0]
    assert derive_stream_keys(42, ("FIC101",), "noise")[0] == np.uint64(
        int.from_bytes(hashlib.blake2b(b"42\0FIC101\0noise", digest_size=8).digest(), "little"))


def test_a_tick_is_the_same_from_wherever_it_is_drawn() -> None:
    of = derive_stream_keys(42, LOOPS, "noise")
    block = draw_normals(of, 10**9, 100)
    assert np.array_equal(block[37:60], draw_normals(of, 10**9 + 37, 23))
    assert np.array_equal(block[:, 3:7], draw_normals(of[3:7], 10**9, 100))


def test_the_words_are_those_of_splitmix64() -> None:
    # Vigna's splitmix64.c seeded with 0 begins so; our tick k is its k-th step from the key.
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert random_words(np.zeros(1, dtype=np.uint64), 1, 3)[:, 0].tolist() == expected


@pytest.mark.parametrize("seed", [1, 42])
@pytest.mark.parametrize("which", [0, 1])
def test_the_noise_is_normal(seed: int, which: int) -> None:
    x = draw_normal_pairs(derive_stream_keys(seed, LOOPS, "noise and load"), 1_700_000_000, N)[which]
    n = x.size
    assert abs(x.mean()) < 5.0 / sqrt(n)
    assert abs(x.var() - 1.0) < 5.0 * sqrt(2.0 / n)
    assert abs((x**3).mean()) < 5.0 * sqrt(15.0 / n)
    assert abs((x**4).mean() - 3.0) < 5.0 * sqrt(96.0 / n)
    share = (np.abs(x) > 3.0).mean()
    assert abs(share - 0.0026998) < 5.0 * sqrt(0.0027 / n)


def test_the_noise_is_white_and_that_of_no_loop_is_anothers() -> None:
    x, other = draw_normal_pairs(derive_stream_keys(42, LOOPS, "noise and load"), 1_700_000_000, N)
    bound = 6.0 / sqrt(N)  # 50 x 20 and 50 x 50 coefficients, each normal: six sigmas leave 1e-5
    for lag in range(1, 21):
        assert np.abs((x[:-lag] * x[lag:]).mean(axis=0)).max() < bound
    for lag in (0, 1, 2):
        between = x[: N - lag].T @ x[lag:] / N
        np.fill_diagonal(between, 0.0)
        assert np.abs(between).max() < bound
        assert np.abs(x[: N - lag].T @ other[lag:] / N).max() < bound
        assert np.abs(other[: N - lag].T @ x[lag:] / N).max() < bound
    assert np.abs((x**2 - 1.0).T @ (other**2 - 1.0) / N / 2.0).max() < bound
    assert np.abs(np.corrcoef((x**2).T) - np.eye(len(LOOPS))).max() < bound


def test_both_of_a_pair_are_those_of_box_and_muller() -> None:
    of = derive_stream_keys(42, LOOPS, "noise and load")
    halves = random_words(of, 7, 1000)
    radius = np.sqrt(-2.0 * np.log(((halves >> np.uint64(32)).astype(float) + 0.5) / 2.0**32))
    angle = 2.0 * np.pi * ((halves & np.uint64(2**32 - 1)).astype(float) - 2.0**31 + 0.5) / 2.0**32
    exact_pairs = (radius * np.cos(angle), radius * np.sin(angle))
    for pair, exact in zip(draw_normal_pairs(of, 7, 1000), exact_pairs, strict=True):
        np.testing.assert_allclose(pair, exact, rtol=0.0, atol=3e-7)


def test_uniform_draws_fill_their_interval_evenly() -> None:
    u = draw_uniforms(derive_stream_keys(42, LOOPS, "operator a"), 0, N)
    assert 0.0 <= u.min() < 1e-4 < 1.0 - 1e-4 < u.max() < 1.0
    counts = np.bincount((u.ravel() * 100).astype(int), minlength=100)
    chi_squared = ((counts - u.size / 100) ** 2 / (u.size / 100)).sum()
    assert abs(chi_squared - 99.0) < 5.0 * sqrt(2 * 99.0)
