"""The descriptions of faults and loop types have every parameter and an example that can be pasted."""

from __future__ import annotations

import re

import pytest
import tomli

from clpm_execd.config.descriptions import describe_fault_kinds, describe_loop_types
from clpm_execd.config.loops import parse_configuration
from clpm_execd.plant.block import SECOND
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.plant import Plant
from clpm_execd.problems import BadInput


def sections(text: str, names: list[str]) -> dict[str, str]:
    """Return the text of each section, from its name, alone on a line, to the next name."""
    starts = [re.search(rf"^{re.escape(name)}$", text, re.MULTILINE) for name in names]
    at = [start.start() for start in starts if start]
    assert len(at) == len(names)
    assert at == sorted(at)
    return {name: text[begin:end] for name, begin, end in zip(names, at, [*at[1:], len(text)], strict=True)}


def example(section: str) -> str:
    return section[section.index("[[loop]]"):]


@pytest.mark.parametrize("kind", FAULTS)
def test_each_kind_of_fault_has_a_section_with_its_parameters_and_an_example_that_runs(kind: str) -> None:
    section = sections(str(describe_fault_kinds()), list(FAULTS))[kind]
    about = FAULTS[kind]
    assert f"  {about.group}: {about.description}" in section
    for name, parameter in about.parameters.items():
        [line] = [line for line in section.splitlines() if re.match(rf"  {name}\b", line)]
        assert parameter.description in line
        assert parameter.unit in line
        assert line.endswith(("required", f"default {parameter.default}"))
    configuration = parse_configuration(tomli.loads(example(section)))
    assert [fault.kind for loop in configuration.loops for fault in loop.faults] == [kind]
    assert len(Plant(configuration.loops, start=0).advance(3)) == 3


@pytest.mark.parametrize("name", LOOP_TYPES)
def test_the_example_of_each_loop_type_is_its_typical_loop(name: str) -> None:
    section = sections(str(describe_loop_types()), list(LOOP_TYPES))[name]
    [loop] = parse_configuration(tomli.loads(example(section))).loops
    assert loop == template(name, loop.id, (0.0, 100.0))
    assert LOOP_TYPES[name].description in section
    assert "process.gain" in section


def test_only_the_requested_sections_are_listed() -> None:
    assert str(describe_fault_kinds(["stuck"])).startswith("stuck\n")
    assert "stiction" not in str(describe_fault_kinds(["stuck"]))
    assert str(describe_loop_types(["level"])).startswith("level\n")


def test_an_unknown_name_is_refused_with_a_close_one() -> None:
    with pytest.raises(BadInput, match="did you mean 'stiction'"):
        describe_fault_kinds(["stition", "stuck"])
    with pytest.raises(BadInput, match="did you mean 'level'"):
        describe_loop_types(["levle"])


@pytest.mark.campaign
@pytest.mark.parametrize("kind", [name for name, about in FAULTS.items() if not about.is_control])
def test_each_example_shows_its_fault(kind: str) -> None:
    loops = parse_configuration(tomli.loads(FAULTS[kind].example)).loops
    hours = max(fault.start + (fault.duration or 0) for loop in loops for fault in loop.faults) // (3600 * SECOND) + 1
    block = Plant(loops, start=0, interval=10 * SECOND, scan=SECOND).advance(360 * hours)
    assert block.truth is not None
    at = block.truth.kinds.index(kind)
    assert block.truth.visible[:, at].sum() > 0.25 * block.truth.present[:, at].sum()
