"""The names under which a stream writes measurement, fields and tags, checked so that every reader accepts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clpm_execd.config.validation import Place, quote, read_choice, read_name, read_table, refuse_unknown_keys
from clpm_execd.plant.block import FIELD_SIGNALS, MODES

MEASUREMENT = "control_loops"
TRUTH = "control_loops_truth"
METRICS = "clpm_execd"
LOOP_SHEET = "control_loops_info"
LOOP_TAG, FAULT_TAG = "loop_id", "fault"

_KEYS = ("profile", "measurement", "fields", "mode_tag", "tags", "truth", "metrics", "info")

# Telegraf adds the tag host itself, and a reader would take a column named time for the timestamp.
RESERVED = ("host", "time")


@dataclass(frozen=True, slots=True)
class Output:
    """How samples are named where they are written.

    Parameters
    ----------
    measurement : str
        The measurement of the samples.
    fields : mapping of str to str
        The signal of the Block, by the name of the field.
    mode_tag : str
        The tag that holds the mode.
    tags : mapping of str to str
        Tags with the same value on every point.
    truth : str, optional
        The measurement of the ground truth about faults; None where it is not written.
    metrics : str, optional
        The measurement of the stream's own metrics; None where they are not written.
    info : str, optional
        The measurement of the loop sheet; None where it is not written.
    modes : tuple of str
        The texts of MAN, AUT and CAS.
    """

    measurement: str = MEASUREMENT
    fields: Mapping[str, str] = field(default_factory=lambda: {"PV": "pv", "OP": "op", "SP": "sp"})
    mode_tag: str = "Mode"
    tags: Mapping[str, str] = field(default_factory=dict)
    truth: str | None = None
    metrics: str | None = None
    info: str | None = None
    modes: tuple[str, ...] = MODES


# The names of fields and modes as control systems have them, each from the documentation of the system's PID block.
PROFILES: Mapping[str, Output] = {
    # Honeywell, Experion PKS Control Builder Components Reference: parameters PV, SP, OP and MODE.
    "experion": Output(mode_tag="MODE", modes=("MAN", "AUTO", "CAS")),
    # Emerson, DeltaV Books Online: PID function block, parameters PV, SP, OUT and MODE with Man, Auto and Cas.
    "deltav": Output(fields={"PV": "pv", "OUT": "op", "SP": "sp"}, mode_tag="MODE", modes=("Man", "Auto", "Cas")),
    # Yokogawa, CENTUM VP Function Blocks Reference Vol. 1: data items PV, SV, MV and MODE.
    "centum": Output(fields={"PV": "pv", "MV": "op", "SV": "sp"}, mode_tag="MODE"),
    # Siemens, PCS 7 Advanced Process Library: PidConL, input PV, outputs MV and SP. It has no mode of its own for a
    # slave, which is in automatic mode with an external set point.
    "pcs7": Output(fields={"PV": "pv", "MV": "op", "SP": "sp"}, modes=("Manual", "Automatic", "Automatic")),
}


def read_output(table: Mapping[str, Any], place: Place) -> Output:
    """Return the Output that the [output] table describes; each problem is added at its place."""
    refuse_unknown_keys(table, _KEYS, place)
    default = Output()
    if "profile" in table:
        name = read_choice(table["profile"], "profile", tuple(PROFILES), place.at("profile"))
        default = PROFILES[name] if name else default
    measurement = default.measurement
    if "measurement" in table:
        measurement = read_measurement(table["measurement"], place.at("measurement")) or measurement
    mode_tag = default.mode_tag
    if "mode_tag" in table:
        mode_tag = _read_key(table["mode_tag"], "a tag", [LOOP_TAG], place.at("mode_tag")) or mode_tag
    tags = _read_tags(table.get("tags", {}), mode_tag, place.at("tags"))
    all_tags = [LOOP_TAG, mode_tag, *tags]
    fields = _read_fields(table["fields"], all_tags, place.at("fields")) if "fields" in table else dict(default.fields)
    for tag in all_tags if "fields" not in table else ():
        if tag in fields:
            place.refuse(f"{tag!r} is the name of both a tag and a field", "rename one of them")
    owners = {measurement: "the samples"}
    truth = _read_further_measurement(table.get("truth", False), TRUTH, "the ground truth", owners, place.at("truth"))
    if truth is not None:
        owners[truth] = "the ground truth"
    metrics = _read_further_measurement(table.get("metrics", False), METRICS, "the metrics", owners,
                                        place.at("metrics"))
    if metrics is not None:
        owners[metrics] = "the metrics"
    info = _read_further_measurement(table.get("info", False), LOOP_SHEET, "the loop sheet", owners, place.at("info"))
    if truth is not None and FAULT_TAG in tags:
        place.at(f"tags.{FAULT_TAG}").refuse(f"the ground truth already has a tag {FAULT_TAG!r}", "use another name")
    return Output(measurement, fields, mode_tag, tags, truth, metrics, info, default.modes)


def read_measurement(value: object, place: Place) -> str | None:
    """Return the name of a measurement; None where it is invalid."""
    text = read_name(value, "a measurement", place)
    if text is not None and text.startswith(("_", "#")):
        place.refuse(f"{text!r} begins with {text[0]!r}",
                     "begin with another character: '_' is reserved by InfluxDB, and '#' begins a comment")
        return None
    return text


def _read_further_measurement(value: object, default: str, what: str, owners: Mapping[str, str],
                              place: Place) -> str | None:
    """Return the measurement of `what`: the default for true, None for false. owners: what has each other one."""
    if value is False:
        return None
    if value is not True and not isinstance(value, str):
        place.refuse(f"{quote(value)} cannot be used", "give true, false or the name of a measurement")
        return None
    text = default if value is True else read_measurement(value, place)
    if text is not None and text in owners:
        place.refuse(f"{text!r} is already the measurement of {owners[text]}", f"give {what} a measurement of its own")
        return None
    return text


def _read_key(value: object, what: str, used_names: list[str], place: Place) -> str | None:
    """Return the name of a tag or a field, which must be unique; None where it is invalid."""
    text = read_name(value, f"the name of {what}", place)
    if text is None:
        return None
    if text in RESERVED or text.startswith("_"):
        place.refuse(f"{text!r} cannot be the name of {what}",
                     "use another name: Telegraf and InfluxDB reserve 'host', 'time' and names that begin with '_'")
        return None
    if text in used_names:
        place.refuse(f"there is already a tag {text!r}", "use another name")
        return None
    return text


def read_loop_tags(value: object, output: Output, place: Place) -> dict[str, str]:
    """Return the tags of one loop; each of them that would be mistaken for a column of the samples is refused."""
    tags = _read_tags(value, output.mode_tag, place)
    for tag in tags:
        if tag in output.fields:
            place.at(tag).refuse(f"there is already a field {tag!r}", "use another name")
        elif output.truth is not None and tag == FAULT_TAG:
            place.at(tag).refuse(f"the ground truth already has a tag {tag!r}", "use another name")
    return tags


def _read_tags(value: object, mode_tag: str, place: Place) -> dict[str, str]:
    tags = {}
    for key, item in (read_table(value, place) or {}).items():
        here = place.at(key)
        tag = _read_key(key, "a tag", [LOOP_TAG, mode_tag], here)
        text = read_name(item, "the value of a tag", here)
        if tag is not None and text is not None:
            tags[tag] = text
    return tags


def _read_fields(value: object, tags: list[str], place: Place) -> dict[str, str]:
    table = read_table(value, place)
    if table is not None and not table:
        place.refuse("the table is empty", "give at least one field, such as PV = \"pv\"")
    fields = {}
    for key, item in (table or {}).items():
        here = place.at(key)
        name, signal = _read_key(key, "a field", tags, here), read_choice(item, "signal", FIELD_SIGNALS, here)
        if name is not None and signal is not None:
            fields[name] = signal
    return fields
