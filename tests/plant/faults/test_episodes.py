"""The episodes of the ground truth are the same from Blocks of any length and from single states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from faulty_loops import START, fault, loop
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import examples

from clpm_execd.plant.block import SECOND
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.plant.truth.episodes import Episode, EpisodeCollector, find_episodes

LOOPS = (
    loop(fault("stiction", 20, 30, ramp=10, S=6.0, J=3.0), fault("stiction", 40, 30, S=6.0, J=3.0), loop_id="A"),
    loop(fault("white-noise", 5, 10, repeat=25), fault("manual", 60), loop_id="B"),
    loop(replace(fault("bias", 5, 10, size=4.0), mean_repeat=25 * SECOND), loop_id="C"),
)


def simulate_episodes(loops: tuple[LoopSpec, ...], parts: list[int]) -> list[Episode]:
    plant = Plant(loops, seed=7, start=START, interval=SECOND)
    return find_episodes((plant.advance(n) for n in parts), SECOND)


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def test_an_episode_lasts_from_the_first_sample_with_the_fault_to_the_first_without_it() -> None:
    episodes = simulate_episodes(LOOPS[1:2], [100])
    controls = [episode for episode in episodes if episode.fault == "white-noise"]
    assert [(episode.start, episode.end) for episode in controls] == \
        [(at(5), at(15)), (at(30), at(40)), (at(55), at(65)), (at(80), at(90))]
    assert all(episode.control and not episode.visible for episode in controls)
    manual, = (episode for episode in episodes if episode.fault == "manual")
    assert (manual.start, manual.end) == (at(60), at(100))
    assert manual.visible == ((at(70), at(100)),)  # the effect is known at the end of half a minute


def test_consecutive_faults_of_one_kind_are_one_episode() -> None:
    stiction, = simulate_episodes(LOOPS[:1], [100])
    assert (stiction.start, stiction.end) == (at(20), at(70))
    assert stiction.severity == 1.0
    (start, end), = stiction.visible
    assert stiction.start < start < end <= stiction.end


def test_a_fault_with_a_mean_repeat_returns_at_times_that_are_drawn_for_each_loop() -> None:
    spec = replace(fault("freeze", 50, 10), mean_repeat=100 * SECOND)
    schedule = Schedule([loop(spec, loop_id=name) for name in "AB"], [0, 1], np.array([START, START]), SECOND, seed=3)
    severities = schedule.severities(START // SECOND + np.arange(40_050))
    starts = [np.flatnonzero(np.diff(column, prepend=0.0) > 0.0) for column in severities.T]
    for times in starts:
        assert times[0] == 50, "the first start is the given one"
        assert len(times) == 400
        assert np.diff(times).min() >= 10
        assert 20 < np.diff(times).std() < 60, "far from periodic"
    assert not np.array_equal(*starts)
    assert (severities.sum(axis=0) == 4000).all(), "each lasts for its duration"
    for k in range(500):
        schedule.move_to(START // SECOND + k)
        np.testing.assert_array_equal(schedule.severity, severities[k])


@pytest.mark.slow
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
@settings(max_examples=examples(40))
def test_the_length_of_the_blocks_does_not_change_the_episodes(parts: list[int]) -> None:
    assert simulate_episodes(LOOPS, parts) == simulate_episodes(LOOPS, [sum(parts)])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_episodes_are_present_and_visible_exactly_in_the_states_added(states: list[tuple[bool, bool]]) -> None:
    collector = EpisodeCollector()
    for time, (is_active, is_visible) in enumerate(states):
        collector.update(time, "A", "stiction", is_control=False, is_active=is_active,
                         is_visible=is_active and is_visible, severity=1.0)
    present, visible = np.zeros(len(states), bool), np.zeros(len(states), bool)
    for episode in collector.finish(len(states)):
        assert not present[episode.start:episode.end].any(), "episodes overlap"
        present[episode.start:episode.end] = True
        for start, end in episode.visible:
            assert episode.start <= start < end <= episode.end
            visible[start:end] = True
    assert present.tolist() == [is_active for is_active, _ in states]
    assert visible.tolist() == [is_active and is_visible for is_active, is_visible in states]
