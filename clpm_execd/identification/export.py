"""Fitted loops as a loops.toml that a person can read and edit, with the long arrays in an .npz file next to it.

Every parameter has its 90 % interval or its source as a comment, and every warning is a comment above its loop. The
file is read back as the loop was fitted, to the last digit.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import fields
from itertools import starmap
from pathlib import Path

import numpy as np

from clpm_execd.identification.estimates import Estimate
from clpm_execd.identification.learn import LearnedLoop
from clpm_execd.plant.specs import OperatorSpec, RecordingSpec, Resolution
from clpm_execd.stored_names import get_stored_field
from clpm_execd.units import format_duration

_HEAD = """\
# Loops fitted to historian data. Parameters of process, valve and controller are in % of span and seconds; the comment
# on a line has the 90 % interval of an identified parameter, or the source of another one. A loop with [loop.learned]
# is simulated by the model fitted to its record, on which controller.gain and reset, process.gain and tau, sp, op,
# moves and faults act. Without that table it is an ordinary loop with these parameters.
"""
_UNPRINTABLE = "".join(map(chr, [*range(32), *range(127, 160), 0x2028, 0x2029]))


def format_loops_files(path: Path, learned: Sequence[LearnedLoop], verdicts: Sequence[str] = ()) -> dict[Path, bytes]:
    """Return the contents of the files of fitted loops.

    Parameters
    ----------
    path : Path
        The loops.toml.
    learned : sequence of LearnedLoop
        The loops; their ids become those of `unique_ids`.
    verdicts : sequence of str, optional
        What each loop may be used for, a sentence that stands above it.

    Returns
    -------
    dict of Path to bytes
        The loops.toml and, where a loop has a learned model, the .npz file of the same name.
    """
    names = unique_ids(learned)
    arrays = path.with_suffix(".npz")
    lawful = {name: one.loop.learned_model for name, one in zip(names, learned, strict=True)
              if one.loop.learned_model is not None}
    packed = io.BytesIO()
    if lawful:
        np.savez_compressed(packed, **{  # type: ignore[arg-type]
            f"{name}/{get_stored_field('LearnedModel', item.name)}": np.asarray(getattr(laws, item.name))
            for name, laws in lawful.items() for item in fields(laws)})
    text = format_loops_text(learned, names, arrays.name, verdicts).encode()
    return {path: text, arrays: packed.getvalue()} if lawful else {path: text}


def unique_ids(learned: Sequence[LearnedLoop]) -> list[str]:
    """Return an id for each loop that a configuration accepts, all different.

    Parameters
    ----------
    learned : sequence of LearnedLoop
        The loops; of those with the same id the second and later ones get a number.
    """
    ids: list[str] = []
    for one in learned:
        plain = one.loop.id.translate(dict.fromkeys(map(ord, _UNPRINTABLE), "_")).encode("utf-8", "replace").decode()
        plain = plain.replace("{", "(").replace("}", ")").rstrip("\\").strip()[:400] or "loop"
        name, number = plain, 2
        while name in ids:
            name, number = f"{plain}-{number}", number + 1
        ids.append(name)
    return ids


def format_loops_text(learned: Sequence[LearnedLoop], names: Sequence[str], arrays: str,
                      verdicts: Sequence[str] = ()) -> str:
    """Return the text of loops.toml. arrays: the name of the .npz file. verdicts: one per loop, or none."""
    interval = min((one.interval for one in learned), default=10**9)
    lines = [_HEAD, f'interval = "{format_duration(interval)}"            # of the records']
    for i, (name, one) in enumerate(zip(names, learned, strict=True)):
        lines += ["", *(f"# Verdict: {verdict}" for verdict in verdicts[i:i + 1]), *_loop(name, one, arrays)]
    return "\n".join(lines) + "\n"


def _loop(name: str, one: LearnedLoop, arrays: str) -> list[str]:
    loop, controller, operator = one.loop, one.loop.controller, one.loop.operator

    def line(key: str, value: object, estimate: str = "") -> str:
        text = f"{key} = {_toml(value)}"
        about = one.estimates.get(estimate)
        return f"{text:<26} # {_about(about)}" if about is not None else text

    def table(title: str, spec: object, *keys: str) -> list[str]:
        values = {key: getattr(spec, key) for key in keys}
        return ["", f"[loop.{title}]", *(line(key, value, f"{title}.{key}") for key, value in values.items()
                                         if value not in (None, ()))]

    lines = [f"# {warning}" for warning in one.warnings]
    lines += ["[[loop]]", line("id", name), line("type", loop.type), line("range", loop.range),
              line("sp", loop.sp, "sp"), line("op", loop.op, "op"), line("mode", loop.mode)]
    lines += table("process", loop.process, "model", "gain", "tau", "dead_time")
    lines += table("controller", controller, "action", "gain", "reset", "derivative", "setpoint_weight")
    if controller.derivative:
        lines.append(line("derivative_filter", controller.derivative_filter))
    lines += table("sensor", loop.sensor, "noise")
    lines += table("disturbance", loop.disturbance, "sigma", "correlation")
    lines += table("recording", loop.recording, "resolution")
    if loop.recording.op_range != RecordingSpec().op_range:
        lines.append(line("op_range", loop.recording.op_range))
    habits = [key for key in ("interval", "size", "day", "automatic", "manual")
              if getattr(operator, key) != getattr(OperatorSpec(), key)]
    if habits:
        lines += table("operator", operator, *habits)
    if loop.learned_model is not None:
        lines += ["", "[loop.learned]", line("file", arrays), line("loop", name)]
    for fault in loop.faults:
        lines += ["", "[[loop.fault]]", line("kind", fault.kind), *starmap(line, fault.parameters.items())]
    return lines


def _about(estimate: Estimate) -> str:
    unit = f" {estimate.unit}" if estimate.unit else ""
    if estimate.source == "record":
        return f"from the record,{unit}" if unit else "from the record"
    span = f"{estimate.low:.4g} to {estimate.high:.4g}{unit}"
    return f"default (not identified), typically {span}" if estimate.source == "prior" else span


def _toml(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return _toml(*value) if len(value) == 1 else "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, Resolution):
        return f"{{ pv = {value.pv!r}, op = {value.op!r} }}"
    return repr(float(value)) if isinstance(value, int | float) else str(value)
