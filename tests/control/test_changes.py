"""What is asked of a running stream: a request becomes a change, or each thing that is wrong becomes one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from clpm_execd.config.loops import parse_configuration
from clpm_execd.control.changes import read_change
from clpm_execd.control.controlled_plant import ControlledPlant
from clpm_execd.control.stream_status import describe_loop
from clpm_execd.plant.block import SECOND
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.plant import Plant
from clpm_execd.problems import BadInput

NOW = 1_736_503_500 * SECOND
LOOPS = LoopSet.of(parse_configuration({"loop": [
    {"id": "TIC100", "type": "temperature", "range": [0.0, 200.0]},
    {"id": "FIC101", "cascade": "TIC100"},
    {"id": "FIC102", "range": [0.0, 120.0], "fault": [{"kind": "bias"}]},
    {"id": "LIC103", "type": "level", "mode": "MAN"},
]}).loops)
WRONG: list[tuple[Any, str]] = [
    ("x", "control: unknown request 'x'; give one of inject, clear, set"),
    ({}, "control: unknown request ''; give one of inject, clear, set"),
    ({"injekt": {}}, "control: unknown request 'injekt'; give one of inject, clear, set"),
    ({"inject": 5}, "inject: 5 is not a table; give loop and the other values"),
    ({"inject": {"kind": "stiction"}}, "inject: the loop is missing; give the id of a loop"),
    ({"inject": {"loop": "FIC10", "kind": "stiction"}}, "inject: unknown loop 'FIC10'; did you mean 'FIC102'?"),
    ({"inject": {"loop": [1], "kind": "stiction"}}, "inject: unknown loop [1]; give the id of a loop"),
    ({"inject": {"loop": "FIC102"}}, "inject FIC102 kind: is missing; give one of the kinds that `clpm-execd faults` "
                                     "lists"),
    ({"inject": {"loop": "FIC102", "kind": "stictoin"}}, "inject FIC102 kind: unknown fault kind 'stictoin'; did you "
     "mean 'stiction'?"),
    ({"inject": {"loop": "FIC102", "kind": "stiction", "S": "900"}}, "inject FIC102 S: 900.0 is outside the limits; "
                                                                     "give 0 to 100 (% of travel)"),
    ({"inject": {"loop": "FIC102", "kind": "stiction", "S": "wide"}}, "inject FIC102 S: 'wide' is not a number; give 0 "
                                                                      "to 100 (% of travel)"),
    ({"inject": {"loop": "FIC102", "kind": "stiction", "T": 4}}, "inject FIC102 T: unknown key; give one of J, S"),
    ({"inject": {"loop": "FIC102", "kind": "manual", "S": 4}}, "inject FIC102 S: unknown key; remove it"),
    ({"inject": {"loop": "FIC102", "kind": "stiction", "start": "5m"}}, "inject FIC102 start: unknown key; give one of "
                                                                        "J, S"),
    ({"inject": {"loop": "FIC102", "kind": "stiction", "duration": "long"}},
     "inject FIC102 --for: invalid duration 'long'; write '500ms', '1s', '15m', '24h', '7d' or a number of seconds"),
    ({"inject": {"loop": "TIC100", "kind": "stiction"}}, "inject TIC100 kind: 'TIC100' has no valve: its output is the "
                                                         "set point of 'FIC101'; give the fault to 'FIC101'"),
    ({"inject": {"loop": "FIC102", "kind": "cascade-broken"}}, "inject FIC102 kind: 'FIC102' has no master; give the "
                                                               "loop a cascade, or another fault"),
    ({"inject": {"loop": "FIC102", "kind": "interaction", "with": "FIC1O1"}},
     "inject FIC102 with: unknown loop 'FIC1O1'; did you mean 'FIC101'?"),
    ({"inject": {"loop": "FIC102", "kind": "bias"}}, "inject FIC102: bias is present already; end it first with "
                                                     "`clpm-execd clear FIC102 bias`"),
    ({"clear": {"loop": "FIC101"}}, "clear FIC101: there is no fault to end; the loop is healthy"),
    ({"clear": {"loop": "FIC102", "kind": "stiction"}}, "clear FIC102: there is no stiction to end; it has bias"),
    ({"clear": {"loop": "FIC102", "kind": "biass"}}, "clear FIC102 kind: unknown fault kind 'biass'; did you mean "
                                                     "'bias'?"),
    ({"set": {"loop": "FIC102"}}, "set FIC102: there is nothing to set; give one or several of mode, sp, op, gain, "
                                  "reset, such as sp=60"),
    ({"set": {"loop": "FIC102", "sv": 5}}, "set FIC102 sv: unknown key; give one of gain, mode, op, reset, sp"),
    ({"set": {"loop": "FIC102", "sp": 130}}, "set FIC102 sp: 130 is outside the range; give 0 to 120"),
    ({"set": {"loop": "FIC102", "sp": "nan"}}, "set FIC102 sp: 'nan' is not a number; give a finite number "
                                               "(engineering units)"),
    ({"set": {"loop": "LIC103", "op": 101}}, "set LIC103 op: 101 is outside the limits; give 0 to 100 (%)"),
    ({"set": {"loop": "FIC102", "op": 50}}, "set FIC102 op: in AUT, the controller sets OP; add mode=MAN"),
    ({"set": {"loop": "FIC101", "sp": 50}}, "set FIC101 sp: in CAS, SP follows the master; add mode=AUT"),
    ({"set": {"loop": "FIC102", "mode": "CAS"}}, "set FIC102 mode: 'CAS' needs a master; give AUT or MAN"),
    ({"set": {"loop": "FIC102", "mode": "AUTO"}}, "set FIC102 mode: unknown mode 'AUTO'; did you mean 'AUT'?"),
    ({"set": {"loop": "FIC102", "gain": 0}}, "set FIC102 gain: 0 is outside the limits; give a number greater than 0 "
                                             "and at most 10000 (%OP/%PV)"),
]


def controlled() -> ControlledPlant:
    return ControlledPlant(Plant(LOOPS, start=NOW), LOOPS)


@pytest.mark.parametrize(("request_", "answer"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_request_is_answered_with_one_clear_sentence_and_changes_nothing(request_: Any, answer: str) -> None:
    source = controlled()
    source.advance(1)
    with pytest.raises(BadInput) as bad:
        source.read_request(request_, NOW)
    assert str(bad.value) == answer
    assert source.future_loops() is LOOPS


def test_all_errors_of_a_request_are_reported_at_once() -> None:
    with pytest.raises(BadInput) as bad:
        read_change({"set": {"loop": "FIC102", "sp": 500, "gain": -1, "pv": 3}}, NOW, LOOPS)
    assert len(bad.value.problems) == 3


def test_of_many_loops_a_wrong_id_names_the_first_and_the_last() -> None:
    loops = LoopSet.of(parse_configuration({"loop": [{"id": "FIC{:02d}", "count": 11}]}).loops)
    with pytest.raises(BadInput, match="unknown loop 'xyz'; there are 11, FIC01 to FIC11"):
        read_change({"clear": {"loop": "xyz"}}, NOW, loops)


def test_a_mode_that_is_set_allows_what_it_owns_from_the_next_request_on() -> None:
    source = controlled()
    source.add(source.read_request({"set": {"loop": "FIC102", "mode": "man"}}, NOW))
    with pytest.raises(BadInput, match="in CAS, the controller sets OP; add mode=MAN"):
        source.read_request({"set": {"loop": "FIC101", "op": "20"}}, NOW)
    source.add(source.read_request({"set": {"loop": "FIC102", "op": "20"}}, NOW))
    block = source.advance(2)
    assert block.op[:, 2].tolist() == [20.0, 20.0]


def test_a_fault_that_is_over_can_be_injected_again() -> None:
    source = controlled()
    for at in (0, 20):
        source.add(source.read_request({"inject": {"loop": "FIC101", "kind": "spikes", "duration": "10s"}},
                                       NOW + at * SECOND))
        advance(source, 20)
    assert len(source.future_loops()[1].faults) == 2


def test_a_fault_that_is_ended_before_its_start_is_gone() -> None:
    loops = LoopSet.of(parse_configuration({"loop": [{"id": "A", "fault": [{"kind": "freeze", "start": "1h"}]}]}).loops)
    source = ControlledPlant(Plant(loops, start=NOW, scan=SECOND), loops)
    assert "freeze from" in describe_loop(source, "A")
    source.add(source.read_request({"clear": {"loop": "A"}}, NOW))
    source.advance(1)
    assert "faults    none" in describe_loop(source, "A")
    with pytest.raises(BadInput, match="there is no fault to end; the loop is healthy"):
        source.read_request({"clear": {"loop": "A"}}, NOW)


def advance(source: ControlledPlant, samples: int) -> None:
    while samples:
        samples -= len(source.advance(samples))


def test_a_journal_line_gives_the_same_change_again() -> None:
    request = {"inject": {"loop": "FIC101", "kind": "stiction", "S": "6", "duration": "20m", "ramp": "1m"}}
    change = read_change(request, NOW, LOOPS)
    assert read_change(change.request, NOW, LOOPS) == change
    assert change.describe() == "FIC101: stiction S=6 for 20m ramp 1m"
