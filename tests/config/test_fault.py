"""`[[loop.fault]]` is checked against the fault catalogue, and all mistakes are reported together."""

from __future__ import annotations

import pytest
import tomli

from clpm_execd.config.loops import parse_configuration
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.faults.kinds import NO_LOOP
from clpm_execd.plant.specs import FaultSpec, LoopSpec
from clpm_execd.problems import BadInput
from clpm_execd.units import SECOND


def loops(text: str) -> tuple[LoopSpec, ...]:
    return parse_configuration(tomli.loads(text)).loops


def problems(text: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        loops(text)
    return [str(problem) for problem in caught.value.problems]


def fault_problem(keys: str) -> str:
    [problem] = problems(f'[[loop]]\nid = "F1"\n[[loop.fault]]\n{keys}')
    return problem


def test_a_fault_needs_only_its_kind() -> None:
    [loop] = loops('[[loop]]\nid = "F1"\n[[loop.fault]]\nkind = "stiction"')
    assert loop.faults == (FaultSpec(kind="stiction"),)


def test_a_fault_is_read_with_its_parameters_and_times() -> None:
    [loop] = loops('[[loop]]\nid = "F1"\n[[loop.fault]]\nkind = "stiction"\nS = 5\nJ = 1.5\nstart = "30m"\n'
                   'duration = "2h"\nrepeat = "8h"\nramp = "10m"\n'
                   '[[loop.fault]]\nkind = "bias"\nstart = 2025-01-10T09:11:40Z\nduration = 90')
    assert loop.faults == (
        FaultSpec(kind="stiction", parameters={"S": 5.0, "J": 1.5}, start=1800 * SECOND, duration=7200 * SECOND,
                  repeat=8 * 3600 * SECOND, ramp=600 * SECOND),
        FaultSpec(kind="bias", start=1_736_500_300 * SECOND, from_start=False, duration=90 * SECOND))


@pytest.mark.parametrize("kind", FAULTS)
def test_the_example_of_every_kind_is_read(kind: str) -> None:
    example_loops = loops(FAULTS[kind].example)
    assert [fault.kind for loop in example_loops for fault in loop.faults] == [kind]
    parameters = next(fault for loop in example_loops for fault in loop.faults).parameters
    assert set(parameters) == {name for name, default in FAULTS[kind].defaults.items() if default != NO_LOOP}


@pytest.mark.parametrize("kind", FAULTS)
def test_every_default_is_within_its_limits_and_every_limit_is_checked(kind: str) -> None:
    about = FAULTS[kind]
    for name, parameter in about.parameters.items():
        default = about.defaults[name]
        without = "\n".join(line for line in about.example.splitlines() if not line.startswith(f"{name} = "))
        if isinstance(default, str):
            assert "is not a string" in " ".join(problems(f"{without}\n{name} = 5"))
            continue
        assert parameter.low <= default <= parameter.high
        for wrong in (parameter.low - 1, parameter.high + 1):
            [message] = problems(f"{without}\n{name} = {wrong!r}")
            assert f"fault[1].{name}: " in message
            assert "outside the limits" in message or "not a finite number" in message


@pytest.mark.parametrize(("keys", "message"), [
    ('S = 4', "F1.fault[1].kind: is missing; give one of the kinds that `clpm-execd faults` lists"),
    ('kind = "stition"', "F1.fault[1].kind: unknown fault kind 'stition'; did you mean 'stiction'?"),
    ('kind = "xyz"', "give one of "),
    ("kind = 5", "F1.fault[1].kind: unknown fault kind 5"),
    ('kind = "stiction"\nK = 4',
     "F1.fault[1].K: unknown key; give one of J, S, duration, kind, mean_repeat, ramp, repeat, start"),
    ('kind = "stiction"\nS = "much"', "F1.fault[1].S: 'much' is not a number; give 0 to 100 (% of travel)"),
    ('kind = "stiction"\nS = 101', "F1.fault[1].S: 101 is outside the limits; give 0 to 100 (% of travel)"),
    ('kind = "stiction"\nS = nan', "F1.fault[1].S: nan is not a finite number"),
    ('kind = "stuck"\nstart = "soon"', "F1.fault[1].start: invalid duration 'soon'"),
    ('kind = "stuck"\nstart = "2025-01"', "F1.fault[1].start: invalid time '2025-01'"),
    ('kind = "stuck"\nduration = 0', "F1.fault[1].duration: invalid duration 0"),
    ('kind = "stuck"\nrepeat = "1h"', "F1.fault[1].repeat: a fault without a duration cannot repeat"),
    ('kind = "stuck"\nduration = "1h"\nrepeat = "1h"', "F1.fault[1].repeat: must be greater than duration"),
    ('kind = "stuck"\nduration = "1h"\nrepeat = "2h"\nmean_repeat = "2h"',
     "F1.fault[1].mean_repeat: cannot be given with repeat"),
    ('kind = "stuck"\nramp = "-1h"', "F1.fault[1].ramp: invalid duration '-1h'"),
    ('kind = "interaction"', "F1.fault[1].with: is missing; give the id of the other loop"),
    ('kind = "interaction"\nwith = "F1"', "F1.fault[1].with: 'F1' is the loop itself"),
    ('kind = "interaction"\nwith = "F2"', "F1.fault[1].with: unknown loop 'F2'"),
    ('kind = "cascade-broken"', "F1.fault[1].kind: 'F1' has no master; give the loop a cascade"),
])
def test_a_mistake_in_a_fault_is_reported_with_a_remedy(keys: str, message: str) -> None:
    assert message in fault_problem(keys)


def test_all_mistakes_in_faults_are_reported_together() -> None:
    errors = problems('[[loop]]\nid = "F1"\nsp = 200\n[[loop.fault]]\nkind = "frieze"\nstart = "x"\n'
                      '[[loop.fault]]\nkind = "bias"\nsize = 200\nsizes = 1\n[[loop.fault]]\nkind = "cascade-broken"\n')
    assert [problem.split(": ")[1] for problem in errors] == [
        "loop[1] F1.fault[1].start", "loop[1] F1.fault[1].kind", "loop[1] F1.fault[2].sizes",
        "loop[1] F1.fault[2].size", "loop[1] F1.sp", "loop[1] F1.fault[3].kind"]


def test_a_fault_in_single_brackets_is_refused() -> None:
    [message] = problems('[[loop]]\nid = "F1"\n[loop.fault]\nkind = "stuck"')
    assert "F1.fault: is not an array of tables; begin each entry with [[loop.fault]], in double brackets" in message


def test_a_valve_fault_of_a_master_is_refused() -> None:
    [message] = problems('[[loop]]\nid = "T1"\n[[loop.fault]]\nkind = "stiction"\n[[loop]]\nid = "F1"\ncascade = "T1"')
    assert "T1.fault[1].kind: 'T1' has no valve: its output is the set point of 'F1'; give the fault to 'F1'" in message


def test_a_count_also_numbers_the_other_loop_of_a_fault() -> None:
    all_loops = loops('[[loop]]\nid = "A{}"\ncount = 2\n[[loop]]\nid = "B{:02d}"\ncount = 2\n[[loop.fault]]\n'
                      'kind = "interaction"\nwith = "A{}"')
    assert [fault.parameters["with"] for loop in all_loops for fault in loop.faults] == ["A1", "A2"]


def test_the_mistake_of_many_loops_is_reported_once() -> None:
    [message] = problems('[[loop]]\nid = "A{}"\ncount = 500\n[[loop.fault]]\nkind = "cascade-broken"')
    assert "A{}.fault[1].kind" in message


TWO_UNITS = '[[loop]]\nid = "F1"\narea = "unit 1"\n[[loop]]\nid = "F2"\narea = "unit 2"\n'


def test_a_shutdown_is_one_of_all_loops_of_the_unit() -> None:
    first, second = loops('[unit]\nsigma = 2.0\n[[unit.shutdown]]\nstart = "3d"\nduration = "12h"\nunit = "unit 1"\n'
                          + TWO_UNITS)
    [shutdown] = first.faults
    assert (shutdown.kind, shutdown.start, shutdown.duration) == ("shutdown", 72 * 3600 * SECOND, 12 * 3600 * SECOND)
    assert second.faults == ()
    assert all(loop.faults for loop in loops('[[unit.shutdown]]\nduration = "12h"\n' + TWO_UNITS))
    assert all(loop.faults for loop in loops('[[unit.shutdown]]\nduration = "12h"'))  # of the five default loops


def test_all_mistakes_in_shutdowns_are_found() -> None:
    messages = problems('[[unit.shutdown]]\nunit = "unit 3"\nmean_repeat = "9d"\nsize = 3\n' + TWO_UNITS)
    keys = [problem.split(": ")[1] for problem in messages]
    assert keys == [f"unit.shutdown[1].{key}" for key in ("mean_repeat", "duration", "unit", "size")]
    assert "did you mean" in messages[2]
    [message] = problems('[[unit.shutdown]]\nduration = "12h"\nunit = "unit 3"\n')
    assert message.endswith("unknown unit 'unit 3'; give its loops this area")
