"""What a stream is called where it arrives: measurement, fields and tags, in names that every reader accepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clpm_execd.config.validation import Place, choice, name, shown, table, unknown_keys
from clpm_execd.plant.block import SIGNALS

MEASUREMENT = "control_loops"
TRUTH = "control_loops_truth"
METRICS = "clpm_execd"
LOOP_TAG, FAULT_TAG = "loop_id", "fault"

# Telegraf adds the tag host itself, and a column time would be taken for the timestamp.
RESERVED = ("host", "time")


@dataclass(frozen=True, slots=True)
class Output:
    """fields: name as written -> signal of the Block. tags: the same on every point.

    truth: the measurement of the truth about the faults, None for none. metrics: that of what a stream says of itself.
    """

    measurement: str = MEASUREMENT
    fields: Mapping[str, str] = field(default_factory=lambda: {"PV": "pv", "OP": "op", "SP": "sp"})
    mode_tag: str = "Mode"
    tags: Mapping[str, str] = field(default_factory=dict)
    truth: str | None = None
    metrics: str | None = None


def read_output(given: Mapping[str, Any], place: Place) -> Output:
    """The [output] table; what is wrong in it is told at its place."""
    unknown_keys(given, ["measurement", "fields", "mode_tag", "tags", "truth", "metrics"], place)
    usual = Output()
    measurement = usual.measurement
    if "measurement" in given:
        measurement = read_measurement(given["measurement"], place.at("measurement")) or measurement
    mode_tag = usual.mode_tag
    if "mode_tag" in given:
        mode_tag = _key(given["mode_tag"], "a tag", [LOOP_TAG], place.at("mode_tag")) or mode_tag
    tags = _tags(given.get("tags", {}), mode_tag, place.at("tags"))
    taken = [LOOP_TAG, mode_tag, *tags]
    fields = _fields(given["fields"], taken, place.at("fields")) if "fields" in given else dict(usual.fields)
    for tag in taken if "fields" not in given else ():
        if tag in fields:
            place.refuse(f"{tag!r} is the name of a tag and of a field", "give one of them another name")
    measured = {measurement: "the samples"}
    truth = _further(given.get("truth", False), TRUTH, "the truth", measured, place.at("truth"))
    if truth is not None:
        measured[truth] = "the truth"
    metrics = _further(given.get("metrics", False), METRICS, "the metrics", measured, place.at("metrics"))
    if truth is not None and FAULT_TAG in tags:
        place.at(f"tags.{FAULT_TAG}").refuse(f"{FAULT_TAG!r} is a tag of the truth already", "take another name")
    return Output(measurement, fields, mode_tag, tags, truth, metrics)


def read_measurement(value: object, place: Place) -> str | None:
    text = name(value, "a measurement", place)
    if text is not None and text.startswith(("_", "#")):
        place.refuse(f"{text!r} begins with {text[0]!r}",
                     "begin with another character: '_' belongs to InfluxDB, and '#' begins a comment")
        return None
    return text


def _further(value: object, usual: str, what: str, taken: Mapping[str, str], place: Place) -> str | None:
    """The measurement of something besides the samples: true is the usual one, false none."""
    if value is False:
        return None
    if value is not True and not isinstance(value, str):
        place.refuse(f"{shown(value)} cannot be used", "give true, false or the name of a measurement")
        return None
    text = usual if value is True else read_measurement(value, place)
    if text is not None and text in taken:
        place.refuse(f"{text!r} is the measurement of {taken[text]}", f"give {what} one of its own")
        return None
    return text


def _key(value: object, what: str, taken: list[str], place: Place) -> str | None:
    """The name of a tag or a field, of which there must be one only."""
    text = name(value, f"the name of {what}", place)
    if text is None:
        return None
    if text in RESERVED or text.startswith("_"):
        place.refuse(f"{text!r} cannot be the name of {what}",
                     "take another: 'host', 'time' and what begins with '_' belong to Telegraf and InfluxDB")
        return None
    if text in taken:
        place.refuse(f"{text!r} is the name of a tag already", "take another name")
        return None
    return text


def _tags(given: object, mode_tag: str, place: Place) -> dict[str, str]:
    read = {}
    for key, value in (table(given, place) or {}).items():
        here = place.at(key)
        tag = _key(key, "a tag", [LOOP_TAG, mode_tag], here)
        text = name(value, "the value of a tag", here)
        if tag is not None and text is not None:
            read[tag] = text
    return read


def _fields(given: object, taken: list[str], place: Place) -> dict[str, str]:
    found = table(given, place)
    if found is not None and not found:
        place.refuse("is empty", "give at least one field, such as PV = \"pv\"")
    read = {}
    for key, value in (found or {}).items():
        here = place.at(key)
        text, signal = _key(key, "a field", taken, here), choice(value, SIGNALS, here)
        if text is not None and signal is not None:
            read[text] = signal
    return read
