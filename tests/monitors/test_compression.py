"""The historian of the compression fault keeps the samples that others of its kind keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from historian_data_compression import dead_band_compression

from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.plant.specs import FaultSpec, LoopSpec, RecordingSpec

START = 1_700_000_000 * SECOND
SPAN = (0.0, 251.3)  # no deviation is a whole number of steps of the record, where rounding would decide
HOUR = 3600
Samples = list[tuple[float, float]]


PERCENT = (SPAN[1] - SPAN[0]) / 100.0
EXCEPTIONS = [(exception, 0.0, 600.0) for exception in (0.05, 0.3, 1.0)]  # a door of no width keeps all
BOTH = [(1.0, 2.0, 3600.0), (0.1, 0.2, 3600.0), (0.0, 0.5, 3600.0), (0.25, 0.5, 300.0)]


def loop(kind: str, exception: float, deviation: float, longest: float) -> LoopSpec:
    """A loop that sometimes rests and sometimes moves; where the door has no width, recorded to the last digit."""
    name = f"{kind} {exception} {deviation} {longest}"
    spec = template(kind, name, SPAN)
    parameters = {"exception": exception, "deviation": deviation, "longest": longest}
    return replace(
        spec,
        recording=spec.recording if deviation else RecordingSpec(),
        faults=(
            FaultSpec(kind="compression", parameters=parameters),
            FaultSpec(kind="load-step", parameters={"size": 12.0}, start=1200 * SECOND, duration=1500 * SECOND),
            FaultSpec(kind="stiction", start=3000 * SECOND),
        ),
    )


@pytest.fixture(scope="module")
def samples() -> dict[str, tuple[Samples, Samples]]:
    """By the loop's name: the recorded and the transmitted samples (time in s, value), over blocks of many lengths."""
    plant = Plant([loop(kind, *setting) for kind in LOOP_TYPES for setting in EXCEPTIONS + BOTH], start=START)
    blocks = [plant.advance(n) for n in (1, 7, 500, HOUR - 508)]
    by_loop: dict[str, tuple[Samples, Samples]] = {}
    for i, name in enumerate(plant.loops):
        before: Samples = []
        after: Samples = []
        for block in blocks:
            assert block.arrivals is not None
            ours = block.arrivals.loop == i
            before += zip((block.times / SECOND).tolist(), block.pv[:, i].tolist(), strict=True)
            times, values = block.arrivals.times[ours] / SECOND, block.arrivals.pv[ours]
            after += zip(times.tolist(), values.tolist(), strict=True)
        by_loop[name] = before, after
    return by_loop


def exception_test(before: Samples, deviation: float, longest: float) -> Samples:
    """What the exception test of the library reports; its last one is there whether reported or not."""
    return list(dead_band_compression(iter(before), deviation, longest))[:-1]


def swinging_door(samples: Samples, deviation: float, longest: float) -> Samples:
    """The swinging door by its meaning: from the last archived sample on, each time the farthest that a straight line
    reaches without passing any sample between by more than the deviation. The last run is still open.

    The library's own door moves the points that it keeps to where the doors met; a historian keeps samples.
    """
    archive, begin = [samples[0]], 0
    for end in range(2, len(samples)):
        (t0, v0), (t1, v1) = samples[begin], samples[end]
        between = np.array(samples[begin + 1:end]).reshape(-1, 2)
        if not len(between):
            continue
        line = v0 + (v1 - v0) / (t1 - t0) * (between[:, 0] - t0)
        if np.abs(line - between[:, 1]).max() > deviation or t1 - t0 > longest:
            begin = end - 1
            archive.append(samples[begin])
    return archive


@pytest.mark.parametrize("kind", LOOP_TYPES)
@pytest.mark.parametrize("setting", EXCEPTIONS)
def test_exception_test_is_that_of_the_library(
        samples: dict[str, tuple[Samples, Samples]], kind: str, setting: tuple[float, float, float]) -> None:
    before, after = samples[loop(kind, *setting).id]
    exception, _, longest = setting
    expected = exception_test(before, exception * PERCENT, longest)
    assert after == expected[:len(after)]
    assert len(expected) - len(after) <= 2, "only what the next sample decides is held back"


@pytest.mark.parametrize("kind", LOOP_TYPES)
@pytest.mark.parametrize("setting", BOTH)
def test_transmitted_samples_are_those_of_exception_test_and_swinging_door(
        samples: dict[str, tuple[Samples, Samples]], kind: str, setting: tuple[float, float, float]) -> None:
    before, after = samples[loop(kind, *setting).id]
    exception, deviation, longest = setting
    expected = swinging_door(exception_test(before, exception * PERCENT, longest), deviation * PERCENT, longest)
    assert after == expected[:len(after)]
    assert len(expected) - len(after) <= 1, "only the last run is still open"


@pytest.mark.parametrize("kind", LOOP_TYPES)
@pytest.mark.parametrize("setting", BOTH)
def test_lines_between_transmitted_samples_stay_near_the_recorded_ones(
        samples: dict[str, tuple[Samples, Samples]], kind: str, setting: tuple[float, float, float]) -> None:
    before, after = samples[loop(kind, *setting).id]
    exception, deviation, _ = setting
    times, values = np.array([sample for sample in before if sample[0] <= after[-1][0]]).T
    line = np.interp(times, *np.array(after).T)
    assert 1 < len(after) < len(times)
    # What is not reported is as far as the exception deviation from a line that is itself as far from the report.
    assert np.abs(line - values).max() <= (2.0 * exception + deviation) * PERCENT * (1.0 + 1e-9)
