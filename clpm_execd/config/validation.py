"""Values of the user's input are checked against the dataclass they describe, and every problem is collected.

Limits, units and choices are those of the `Parameter`s in the fields of the dataclass. Nothing here raises an exception
for bad input: each invalid value adds one Problem at its place, and reading continues, so that one pass finds all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date
from functools import lru_cache
from numbers import Real
from operator import index
from typing import Any, NamedTuple, SupportsIndex, TypeVar, cast, get_args, get_type_hints

from clpm_execd.plant.specs import Parameter
from clpm_execd.problems import Problem, did_you_mean
from clpm_execd.units import TIME_EXAMPLE, TIME_EXAMPLES, parse_duration, parse_time

Spec = TypeVar("Spec")

MAX_NAME_CHARACTERS = 500  # a limit of our own, so that one name cannot fill a screen; InfluxDB allows 64 KiB
SMALLEST_NUMBER = 1e-12  # in size: the inverse of a smaller time or range overflows in a product with a gain
_MAX_QUOTED_CHARACTERS = 60  # about half a line of a terminal: a message stays on one line

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a value in the input; all places of one input share a list of problems."""

    path: str
    problems: list[Problem]
    separator: str = "."

    def at(self, key: object) -> Place:
        """Return the place of a key of this table."""
        return Place(f"{self.path}{self.separator}{key}", self.problems)

    def refuse(self, what: str, remedy: str) -> None:
        """Add a problem at this place."""
        self.problems.append(Problem(_replace_unprintable(self.path), what, remedy))

    def refuse_error(self, error: ValueError) -> None:
        """Add the problem that the message of the error describes."""
        problem = Problem.from_error(self.path, error)
        self.refuse(problem.what, problem.remedy)


class _Key(NamedTuple):
    """A key that a table may have. parameter: None where the value is itself a table."""

    hint: Any
    parameter: Parameter | None


def update_spec(base: Spec, table: Mapping[str, Any], place: Place, *, handled_keys: Sequence[str] = ()) -> Spec:
    """Return base with the values of the table; `handled_keys` are valid and read by the caller."""
    keys = _list_keys(cast(type, base.__class__))
    if not all(key in keys or key in handled_keys for key in table):
        valid_keys = [key for key in keys if key not in handled_keys]
        refuse_unknown_keys(table, [*valid_keys, *handled_keys], place, _find_tables_of_inner_keys(keys))
    changes: dict[str, object] = {}
    for name, value in table.items():
        if name not in keys or name in handled_keys:
            continue
        key, here = keys[name], place.at(name)
        if key.parameter is None:
            inner = read_table(value, here)
            if inner is not None:
                changes[name] = update_spec(getattr(base, name), inner, here)
        elif value is not None or type(None) not in get_args(key.hint):
            new = _read_value(value, name, key.hint, key.parameter, here)
            if new is not None:
                changes[name] = new
    return replace(base, **changes) if changes else base  # type: ignore[type-var]


@lru_cache
def _list_keys(spec: type) -> Mapping[str, _Key]:
    """Return the keys of the table that a dataclass describes."""
    hints = get_type_hints(spec)
    return {item.name: _Key(hints[item.name], item.metadata.get("parameter")) for item in fields(spec)
            if "parameter" in item.metadata or is_dataclass(hints[item.name])}


def _find_tables_of_inner_keys(keys: Mapping[str, _Key]) -> dict[str, list[str]]:
    """Return the keys of the inner tables, each with the names of the tables that have it."""
    tables: dict[str, list[str]] = {}
    for name, key in keys.items():
        for item in fields(key.hint) if key.parameter is None else ():
            tables.setdefault(item.name, []).append(name)
    return tables


@lru_cache
def find_parameter(spec: type, name: str) -> Parameter:
    """Return the Parameter of a field of a dataclass.

    Parameters
    ----------
    spec : type
        A dataclass of `plant.specs`.
    name : str
        One of its fields.
    """
    parameter = next(item.metadata["parameter"] for item in fields(spec) if item.name == name)
    assert isinstance(parameter, Parameter)
    return parameter


def refuse_unknown_keys(table: Mapping[str, Any], valid_keys: Sequence[str], place: Place,
                        inner_tables: Mapping[str, Sequence[str]] | None = None) -> None:
    """Add a problem for each unknown key.

    Parameters
    ----------
    table : mapping
        The user's table.
    valid_keys : sequence of str
        The keys that it may have.
    place : Place
        The place of the table, where problems are added.
    inner_tables : mapping of str to sequences of str, optional
        The inner tables that have a key, which the remedy names for a key that was written one level too high.
    """
    for key in table:
        if key in valid_keys:
            continue
        owners = (inner_tables or {}).get(key)
        remedy = "write it as " + " or ".join(f"{owner}.{key}" for owner in owners) if owners else \
            did_you_mean(str(key), list(valid_keys))
        place.at(key).refuse("unknown key", remedy)


def read_table(value: object, place: Place) -> Mapping[str, Any] | None:
    """Return a table; None where the value is not one."""
    if isinstance(value, Mapping):
        return value
    place.refuse(f"{quote(value)} is not a table", "give a table with keys")
    return None


def read_table_array(value: object, header: str, place: Place) -> list[object]:
    """Return the entries of an array of tables, each of which begins with `[[header]]`."""
    if isinstance(value, list | tuple):
        return list(value)
    place.refuse("is not an array of tables", f"begin each entry with [[{header}]], in double brackets")
    return []


def read_number(value: object, parameter: Parameter, place: Place) -> float | None:
    """Return a finite number within the limits of the parameter; None where the value is not one.

    Parameters
    ----------
    value : object
        The value as TOML or JSON gives it; text is refused, with a hint where it is a number in quotes.
    parameter : Parameter
        The parameter, with limits and unit; the number is in that unit.
    place : Place
        Where a problem is added.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        is_quoted = isinstance(value, str) and _NUMBER.fullmatch(value.strip())
        place.refuse(f"{quote(value)} is not a number",
                     f"{describe_limits(parameter)}{', without quotes' if is_quoted else ''}")
        return None
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    is_inside = parameter.low < result if parameter.is_low_excluded else parameter.low <= result
    if not (math.isfinite(result) and is_inside and result <= parameter.high):
        what = "outside the limits" if math.isfinite(result) else "not a finite number"
        place.refuse(f"{quote(value)} is {what}", describe_limits(parameter))
        return None
    if 0.0 < abs(result) < SMALLEST_NUMBER:
        place.refuse(f"{quote(value)} is too close to 0",
                     f"{describe_limits(parameter)}, of at least {SMALLEST_NUMBER:g} in size unless it is 0")
        return None
    return result


def convert_numeric_text(value: object) -> object:
    """Return a text that is a number as that number, and anything else as it is."""
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def read_integer(value: object, low: int, high: int, place: Place) -> int | None:
    """Return an integer from low to high; None where the value is not one.

    Parameters
    ----------
    value : object
        The value as TOML, JSON or a caller in Python gives it.
    low, high : int
        The limits, which are allowed values.
    place : Place
        Where a problem is added.
    """
    if isinstance(value, bool) or not isinstance(value, SupportsIndex) or not low <= index(value) <= high:
        place.refuse(f"invalid integer {quote(value)}", f"give an integer from {low} to {high}")
        return None
    return index(value)


def read_duration(value: Any, place: Place, *, zero: bool = False) -> int | None:
    """Return a duration, ns; None where the value is not one."""
    try:
        return parse_duration(value, zero=zero)
    except ValueError as error:
        place.refuse_error(error)
    return None


def read_time(value: object, place: Place) -> int | None:
    """Return a time, ns since 1970, from RFC 3339 or TOML's own date and time; None where the value is not one.

    Parameters
    ----------
    value : object
        A text, or a date with or without a time of day; without an offset it is in UTC.
    place : Place
        Its place, where a problem is added.
    """
    try:
        if isinstance(value, date):  # so is a datetime
            return parse_time(value.isoformat(), 0)
        if isinstance(value, str) and value.strip().lower() != "now":
            return parse_time(value, 0)
        raise ValueError(f"invalid time {quote(value)}; {TIME_EXAMPLES}")
    except ValueError as error:
        place.refuse_error(error)
    return None


def read_start(value: object, place: Place) -> tuple[int, bool]:
    """Return when something starts, ns, and whether that counts from the start of the plant."""
    # A duration has no hyphen, a time has two.
    is_from_start = not (isinstance(value, date) or (isinstance(value, str) and "-" in value))
    if not is_from_start:
        return read_time(value, place) or 0, False
    try:
        return parse_duration(cast(Any, value), zero=True), True
    except ValueError as error:
        problem = Problem.from_error(place.path, error)
        place.refuse(problem.what, f"{problem.remedy} from the start of the plant, or a time such as {TIME_EXAMPLE}")
        return 0, True


def read_choice(value: object, what: str, choices: Sequence[str], place: Place) -> str | None:
    """Return one of the choices; None where the value is not one.

    Parameters
    ----------
    value : object
        The value as TOML or JSON gives it.
    what : str
        The noun for the value in the problem, such as "type".
    choices : sequence of str
        The allowed texts.
    place : Place
        Where a problem is added.
    """
    if isinstance(value, str) and value in choices:
        return value
    place.refuse(f"unknown {what} {quote(value)}",
                 did_you_mean(value, choices) if isinstance(value, str) else "give one of " + ", ".join(choices))
    return None


def read_name(value: object, what: str, place: Place) -> str | None:
    """Return a text that line protocol and InfluxDB accept as a name or tag value; None where the value is not one."""
    reason = _find_name_error(value)
    if reason:
        place.refuse(f"{quote(value)} cannot be {what}: {reason}",
                     "give a string without control characters, and no backslash at its end or before , = or a blank")
        return None
    assert isinstance(value, str)
    return value


def describe_limits(parameter: Parameter) -> str:
    """Return what a number may be, such as `give 0 to 100 (%)`."""
    if math.isinf(parameter.low) and math.isinf(parameter.high):
        text = "give a finite number"
    elif math.isinf(parameter.high):
        text = f"give a number {'greater than' if parameter.is_low_excluded else 'of at least'} {parameter.low:g}"
    elif parameter.is_low_excluded:
        text = f"give a number greater than {parameter.low:g} and at most {parameter.high:g}"
    else:
        text = f"give {parameter.low:g} to {parameter.high:g}"
    return f"{text} ({parameter.unit})" if parameter.unit else text


def quote(value: object) -> str:
    """Return value as one short printable line, close to how TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        text = repr(value) if isinstance(value, str | list | tuple) else str(value)
    except ValueError:  # Python does not convert an integer of thousands of digits to text
        return "the number"
    text = _replace_unprintable("a table" if isinstance(value, Mapping) else text)
    return text if len(text) <= _MAX_QUOTED_CHARACTERS else text[:_MAX_QUOTED_CHARACTERS - 3] + "..."


def _read_value(value: object, key: str, hint: Any, parameter: Parameter, place: Place) -> object | None:
    """Return value as the type hint of its field requires; None where it is invalid."""
    types = get_args(hint) or (hint,)
    if getattr(hint, "__origin__", None) is tuple:
        return _read_numbers(value, None if Ellipsis in types else len(types), parameter, place)
    if bool in types:
        return _read_boolean(value, place)
    if float in types:
        return read_number(value, parameter, place)
    if parameter.choices:
        return read_choice(value, key, parameter.choices, place)
    return read_name(value, f"the {parameter.description}", place)


def _read_boolean(value: object, place: Place) -> bool | None:
    if isinstance(value, bool):
        return value
    place.refuse(f"{quote(value)} is not a boolean", "give true or false, without quotes")
    return None


def _read_numbers(value: object, count: int | None, parameter: Parameter, place: Place) -> tuple[float, ...] | None:
    """Return a list of numbers, of length `count`; where that is None, a single number is a list of one."""
    if count is None and not isinstance(value, list | tuple):
        value = [value]
    if not isinstance(value, list | tuple) or count not in (None, len(value)):
        place.refuse(f"{quote(value)} is not a list of {count} numbers", "give [low, high]")
        return None
    numbers = [read_number(item, parameter, place) for item in value]
    return tuple(item for item in numbers if item is not None) if None not in numbers else None


def _find_name_error(value: object) -> str:
    """Return why the value cannot be a name; an empty text where it can."""
    if not isinstance(value, str):
        return "it is not a string"
    if not value or value.isspace():
        return "it is empty"
    if len(value) > MAX_NAME_CHARACTERS:
        return f"it is longer than {MAX_NAME_CHARACTERS} characters"
    if _replace_unprintable(value) != value:
        return "it has control characters"
    if value.endswith("\\"):
        return "it ends in a backslash"
    # Parsers of line protocol take that for an escape, and each reads something else.
    return "it has a backslash before a comma, an equals sign or a blank" if re.search(r"\\[,= ]", value) else ""


def _replace_unprintable(text: str) -> str:
    """Return text with a `?` for each control character, line separator and lone surrogate."""
    return _UNPRINTABLE.sub("?", text)
