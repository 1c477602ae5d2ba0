"""The truth as stretches of time is the same however it was told."""

from __future__ import annotations

import numpy as np
from faulty import START, fault, loop
from hypothesis import given, settings
from hypothesis import strategies as st

from clpm_execd.plant.faults.episodes import Episode, Episodes, episodes
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.plant.specs import LoopSpec

LOOPS = (
    loop(fault("stiction", 20, 30, ramp=10, S=6.0, J=3.0), fault("stiction", 40, 30, S=6.0, J=3.0), loop_id="A"),
    loop(fault("white-noise", 5, 10, repeat=25), fault("manual", 60), loop_id="B"),
)


def told(loops: tuple[LoopSpec, ...], parts: list[int]) -> list[Episode]:
    plant = Plant(loops, seed=7, start=START, interval=SECOND)
    return episodes((plant.advance(n) for n in parts), SECOND)


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def test_an_episode_lasts_from_the_first_sample_with_the_fault_to_the_first_without() -> None:
    found = told(LOOPS[1:], [100])
    controls = [episode for episode in found if episode.fault == "white-noise"]
    assert [(episode.start, episode.end) for episode in controls] == \
        [(at(5), at(15)), (at(30), at(40)), (at(55), at(65)), (at(80), at(90))]
    assert all(episode.control and not episode.visible for episode in controls)
    manual, = (episode for episode in found if episode.fault == "manual")
    assert (manual.start, manual.end) == (at(60), at(100))
    assert manual.visible == ((at(60), at(100)),)


def test_faults_of_one_kind_that_meet_are_one_episode() -> None:
    stiction, = told(LOOPS[:1], [100])
    assert (stiction.start, stiction.end) == (at(20), at(70))
    assert stiction.severity == 1.0
    (seen, gone), = stiction.visible
    assert stiction.start < seen < gone == stiction.end


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_the_length_of_blocks_changes_no_episode(parts: list[int]) -> None:
    assert told(LOOPS, parts) == told(LOOPS, [sum(parts)])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_visible_time_lies_within_the_episode_and_both_are_what_was_told(states: list[tuple[bool, bool]]) -> None:
    rows = Episodes()
    for time, (there, visible) in enumerate(states):
        rows.tell(time, "A", "stiction", control=False, there=there, visible=there and visible, severity=1.0)
    found = rows.until(len(states))
    present, seen = np.zeros(len(states), bool), np.zeros(len(states), bool)
    for episode in found:
        assert not present[episode.start:episode.end].any(), "episodes overlap"
        present[episode.start:episode.end] = True
        for start, end in episode.visible:
            assert episode.start <= start < end <= episode.end
            seen[start:end] = True
    assert present.tolist() == [there for there, _ in states]
    assert seen.tolist() == [there and visible for there, visible in states]
