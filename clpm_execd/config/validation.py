"""A table of input is read against the dataclass it describes, whose `Parameter`s give limits and choices.

Nothing here raises for bad input. Each value that cannot be used is told once, at its place, and the reading
goes on, so that one pass finds everything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from functools import lru_cache
from numbers import Real
from operator import index
from typing import Any, SupportsIndex, TypeVar, cast, get_args, get_type_hints

from clpm_execd.plant.specs import Parameter
from clpm_execd.problems import Problem, did_you_mean
from clpm_execd.units import TIME_EXAMPLE, TIME_EXAMPLES, parse_duration, parse_time, time_of

Spec = TypeVar("Spec")

LONGEST_NAME = 500

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the input the reader stands; problems of all places of one input share a list."""

    path: str
    problems: list[Problem]
    separator: str = "."

    def at(self, key: object) -> Place:
        return Place(f"{self.path}{self.separator}{key}", self.problems)

    def refuse(self, what: str, remedy: str) -> None:
        self.problems.append(Problem(_printable(self.path), what, remedy))


def overlay(base: Spec, given: Mapping[str, Any], place: Place, *, apart: Sequence[str] = ()) -> Spec:
    """base with the values that the table gives; keys in `apart` are known and read elsewhere."""
    own = _own(cast(type, base.__class__))
    if not all(key in own or key in apart for key in given):
        known = [key for key in own if key not in apart]
        unknown_keys(given, [*known, *apart], place, _homes(own))
    changes: dict[str, object] = {}
    for key, value in given.items():
        if key not in own or key in apart:
            continue
        (hint, about), here = own[key], place.at(key)
        if about is None:
            inner = table(value, here)
            if inner is not None:
                changes[key] = overlay(getattr(base, key), inner, here)
        elif value is not None or type(None) not in get_args(hint):
            new = _read(value, hint, about, here)
            if new is not None:
                changes[key] = new
    return replace(base, **changes) if changes else base  # type: ignore[type-var]


@lru_cache
def _own(spec: type) -> Mapping[str, tuple[Any, Parameter | None]]:
    """The keys of a table: each with its type hint and what is known of it, which is nothing of a table within."""
    hints = get_type_hints(spec)
    return {item.name: (hints[item.name], item.metadata.get("parameter")) for item in fields(spec)
            if "parameter" in item.metadata or is_dataclass(hints[item.name])}


def _homes(own: Mapping[str, tuple[Any, Parameter | None]]) -> dict[str, list[str]]:
    """The keys of the tables within a table, each with the tables that have it."""
    found: dict[str, list[str]] = {}
    for name, (hint, about) in own.items():
        for item in fields(hint) if about is None else ():
            found.setdefault(item.name, []).append(name)
    return found


@lru_cache
def parameter_of(spec: type, name: str) -> Parameter:
    """What is known of a field of a spec."""
    about = next(item.metadata["parameter"] for item in fields(spec) if item.name == name)
    assert isinstance(about, Parameter)
    return about


def unknown_keys(given: Mapping[str, Any], known: Sequence[str], place: Place,
                 homes: Mapping[str, Sequence[str]] | None = None) -> None:
    """homes: the inner tables that know a key, to be told where it stands outside of them."""
    for key in given:
        if key in known:
            continue
        inner = (homes or {}).get(key)
        remedy = "it is " + " or ".join(f"{home}.{key}" for home in inner) if inner else \
            did_you_mean(str(key), list(known))
        place.at(key).refuse("unknown key", remedy)


def table(value: object, place: Place) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping):
        return value
    place.refuse(f"{shown(value)} is no table", "give a table with keys")
    return None


def tables(value: object, header: str, place: Place) -> list[object]:
    """The entries of an array of tables whose entries begin with `[[header]]`."""
    if isinstance(value, list | tuple):
        return list(value)
    place.refuse("is no array of tables", f"begin each entry with [[{header}]], in double brackets")
    return []


def number(value: object, about: Parameter, place: Place) -> float | None:
    """A finite number within the limits of the parameter."""
    if isinstance(value, bool) or not isinstance(value, Real):
        quoted = "without quotes " if isinstance(value, str) and _NUMBER.fullmatch(value.strip()) else ""
        place.refuse(f"{shown(value)} is no number", allowed(about).replace("give ", f"give {quoted}", 1))
        return None
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    inside = about.low < result if about.above else about.low <= result
    if not (math.isfinite(result) and inside and result <= about.high):
        fault = "outside the limits" if math.isfinite(result) else "no finite number"
        place.refuse(f"{shown(value)} is {fault}", allowed(about))
        return None
    return result


def whole(value: object, low: int, high: int, place: Place) -> int | None:
    """An integer from low to high."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex) or not low <= index(value) <= high:
        place.refuse(f"{shown(value)} cannot be used", f"give a whole number from {low} to {high}")
        return None
    return index(value)


def duration(value: Any, place: Place, *, zero: bool = False) -> int | None:
    """ns of a duration."""
    try:
        return parse_duration(value, zero=zero)
    except ValueError as error:
        _retell(error, place)
    return None


def instant(value: object, place: Place) -> int | None:
    """ns since 1970 of a time: RFC 3339, or a date and time of TOML's own."""
    try:
        if isinstance(value, datetime):
            return time_of(value)
        if isinstance(value, str) and value.strip().lower() != "now":
            return parse_time(value, 0)
        raise ValueError(f"{shown(value)} is no time; {TIME_EXAMPLES}")
    except ValueError as error:
        _retell(error, place)
    return None


def starting(value: object, place: Place) -> tuple[int, bool]:
    """When something is, ns, and whether that counts from the start of the plant."""
    # A duration has no hyphen, a time has two.
    from_start = not (isinstance(value, datetime) or (isinstance(value, str) and "-" in value))
    if not from_start:
        return instant(value, place) or 0, False
    try:
        return parse_duration(cast(Any, value), zero=True), True
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        place.refuse(what, f"{remedy} from the start of the plant, or a time such as {TIME_EXAMPLE}")
        return 0, True


def choice(value: object, choices: Sequence[str], place: Place) -> str | None:
    if isinstance(value, str) and value in choices:
        return value
    place.refuse(f"{shown(value)} is none of the choices",
                 did_you_mean(value, choices) if isinstance(value, str) else one_of(choices))
    return None


def name(value: object, what: str, place: Place) -> str | None:
    """A text that line protocol and InfluxDB can carry as a name or a tag value."""
    reason = _unfit(value)
    if reason:
        place.refuse(f"{shown(value)} cannot be {what}: {reason}",
                     "give a text without control characters that does not end in a backslash")
        return None
    assert isinstance(value, str)
    return value


def allowed(about: Parameter) -> str:
    """What a number may be, in words, with its unit."""
    if math.isinf(about.low) and math.isinf(about.high):
        text = "give a finite number"
    elif math.isinf(about.high):
        text = f"give {'more than' if about.above else 'at least'} {about.low:g}"
    else:
        text = f"give more than {about.low:g}, at most" if about.above else f"give {about.low:g} to"
        text += f" {about.high:g}"
    return f"{text} ({about.unit})" if about.unit else text


def one_of(choices: Sequence[str]) -> str:
    return "give one of " + ", ".join(map(repr, choices))


def shown(value: object) -> str:
    """value in one short printable line, as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        text = repr(value) if isinstance(value, str | list | tuple) else str(value)
    except ValueError:  # an integer of thousands of digits has no text
        return "the number"
    text = _printable("a table" if isinstance(value, Mapping) else text)
    return text if len(text) <= 60 else text[:57] + "..."


def _read(value: object, hint: Any, about: Parameter, place: Place) -> object | None:
    """value as the type hint of its field wants it, or None after telling why not."""
    kinds = get_args(hint) or (hint,)
    if getattr(hint, "__origin__", None) is tuple:
        return _numbers(value, None if Ellipsis in kinds else len(kinds), about, place)
    if bool in kinds:
        return _flag(value, place)
    if float in kinds:
        return number(value, about, place)
    if about.choices:
        return choice(value, about.choices, place)
    return name(value, about.meaning, place)


def _flag(value: object, place: Place) -> bool | None:
    if isinstance(value, bool):
        return value
    place.refuse(f"{shown(value)} is no truth value", "give true or false, without quotes")
    return None


def _numbers(value: object, count: int | None, about: Parameter, place: Place) -> tuple[float, ...] | None:
    """A list of numbers, of `count` if that is fixed; else a single number is a list of one."""
    if count is None and not isinstance(value, list | tuple):
        value = [value]
    if not isinstance(value, list | tuple) or count not in (None, len(value)):
        place.refuse(f"{shown(value)} is no list of {count} numbers", "give [low, high]")
        return None
    read = [number(item, about, place) for item in value]
    return tuple(item for item in read if item is not None) if None not in read else None


def _retell(error: ValueError, place: Place) -> None:
    """A message of `durations` says what is wrong, then what would be right."""
    what, _, remedy = str(error).partition("; ")
    place.refuse(what, remedy)


def _unfit(value: object) -> str:
    if not isinstance(value, str):
        return "it is no text"
    if not value or value.isspace():
        return "it is empty"
    if len(value) > LONGEST_NAME:
        return f"it is longer than {LONGEST_NAME} characters"
    if _printable(value) != value:
        return "it has control characters"
    return "it ends in a backslash" if value.endswith("\\") else ""


def _printable(text: str) -> str:
    """text with control characters, line separators and lone surrogates as `?`."""
    return _UNPRINTABLE.sub("?", text)
