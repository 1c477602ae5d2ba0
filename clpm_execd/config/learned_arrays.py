"""`[loop.learned]`: the model of a learned loop is read from the file of arrays next to loops.toml.

The file is numpy's .npz; the arrays of a loop are named `<loop>/<stored name of a field of LearnedModel>`. Nothing in
the file is executed, and every problem is added at the key that names the file or the loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clpm_execd.config.validation import Place, quote, read_name, read_table, refuse_unknown_keys
from clpm_execd.plant.learned.model import LearnedModel, StateMatchedModel
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.problems import did_you_mean
from clpm_execd.stored_names import get_stored_field
from clpm_execd.units import SECOND, format_duration

_LEARN_AGAIN = "learn the loop again, or remove [loop.learned] to simulate it by process and controller"
_MAX_FILE_BYTES = 1 << 30  # a hundred thousand samples of a hundred loops
_MAX_SUGGESTIONS = 200  # loops of the file that a misspelt one is compared with
_TOLERANCE = 1e-9  # relative: digits of a value that loops.toml does not show


def read_learned_model(value: object, loop: LoopSpec, place: Place, folder: Path) -> LearnedModel | None:
    """Return the model that the table names; None where it cannot be used. folder: where relative paths begin."""
    table = read_table(value, place)
    if table is None:
        return None
    refuse_unknown_keys(table, ["file", "loop"], place)
    if "file" not in table:
        place.at("file").refuse("is missing", "name the file of arrays, such as file = \"loops.npz\"")
        return None
    file = read_name(table["file"], "a file name", place.at("file"))
    loop_id = read_name(table.get("loop", loop.id), "a loop id", place.at("loop"))
    if file is None or loop_id is None:
        return None
    arrays = _read_arrays(folder / file, place.at("file"))
    model = None if arrays is None else _build_model(arrays, loop_id, place)
    if model is not None:
        _check_loop(loop, model, place)
    return model


def _read_arrays(path: Path, place: Place) -> Mapping[str, npt.NDArray[Any]] | None:
    import zipfile  # these two take longer to import than everything that loops without a model need
    import zlib

    try:
        status = path.stat()
        if status.st_size > _MAX_FILE_BYTES:
            place.refuse(f"{quote(str(path))} is too large for learned loops", _LEARN_AGAIN)
            return None
        return _load_arrays(path, status.st_mtime_ns, status.st_size)
    except FileNotFoundError:
        place.refuse(f"no such file: {quote(str(path))}", "put it next to loops.toml, where `learn` wrote it")
    except OSError as error:
        place.refuse(f"{quote(str(path))} cannot be read: {error.strerror}", "check the path and its permissions")
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError):
        place.refuse(f"{quote(str(path))} is not a file of arrays, or is damaged", _LEARN_AGAIN)
    return None


@lru_cache(maxsize=8)
def _load_arrays(path: Path, _modified_ns: int, _size: int) -> Mapping[str, npt.NDArray[Any]]:
    """Return all arrays of a file; a file is read once for all of its loops, and again when it has changed."""
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("the file holds a single array")
        with loaded:
            return dict(loaded)


def _build_model(arrays: Mapping[str, npt.NDArray[Any]], loop_id: str, place: Place) -> LearnedModel | None:
    loops = list(dict.fromkeys(key.rpartition("/")[0] for key in arrays))
    if loop_id not in loops:
        place.at("loop").refuse(f"the file has no loop {quote(loop_id)}",
                                did_you_mean(loop_id, loops[:_MAX_SUGGESTIONS]) if loops else _LEARN_AGAIN)
        return None
    title = f"the model of {quote(loop_id)}"
    parts: dict[str, Any] = {}
    kind = StateMatchedModel if f"{loop_id}/mirror" in arrays else LearnedModel
    for item in fields(kind):
        name = get_stored_field("LearnedModel", item.name)
        array = arrays.get(f"{loop_id}/{name}")
        kinds = "b" if item.name == "is_repeat" else "fiu"  # of numpy: boolean; float, integer, unsigned
        if array is None or array.dtype.kind not in kinds:
            place.at("file").refuse(f"{title} has no {name}", _LEARN_AGAIN)
            return None
        parts[item.name] = array if kinds == "b" else array.astype(np.float64)
    for number in ("interval", "offset"):
        if parts[number].size != 1:
            place.at("file").refuse(f"the {number} of {quote(loop_id)} is not a number", _LEARN_AGAIN)
            return None
        parts[number] = float(parts[number].reshape(()))
    if parts["signals"].ndim != 2 or any(parts[key].ndim != 1 for key in ("process_pv", "controller_op", "setpoint")):
        place.at("file").refuse(f"{title} has arrays of the wrong dimension", _LEARN_AGAIN)
        return None
    model: LearnedModel = kind(**parts)
    errors = model.find_errors()
    if errors:
        place.at("file").refuse(f"{title} is inconsistent: {errors[0]}", _LEARN_AGAIN)
        return None
    return model


def _check_loop(loop: LoopSpec, model: LearnedModel, place: Place) -> None:
    """Check that the loop differs from the learned one only where the model can follow.

    A model that simulates the process by its transfer function (`innovation` has elements) follows every change.
    """
    _, _, derivative, _, _, dead_time = model.settings.tolist()
    controller = loop.controller
    for key, value, learned in (("dead_time", loop.process.dead_time, dead_time),
                                ("derivative", controller.derivative or 0.0, derivative)):
        if not model.innovation.size and abs(value - learned) > _TOLERANCE * max(1.0, abs(learned)):
            place.refuse(f"{key} is {value:g}, but {learned:g} in the learned model",
                         "change gain, reset or tau, which the model follows, or remove [loop.learned]")
    if controller.gain is None or controller.reset is None:
        place.refuse("the controller has no gain or no reset", "give both: they scale the learned model")
    if loop.cascade is not None and model.setpoint.size:
        place.refuse("the set point has a learned model and a master", "remove cascade or [loop.learned]")


def check_scan_of_learned(loops: Sequence[LoopSpec], scan: int | None, place: Place) -> None:
    """Add a problem where the scan, ns, is longer than the sample interval of a learned loop's data."""
    if scan is None:
        return
    intervals = ((round(loop.learned_model.interval * SECOND), loop.id)
                 for loop in LoopSet.of(loops).distinct if loop.learned_model is not None)
    interval, loop_id = min(intervals, default=(scan, ""))
    if interval < scan:
        place.refuse(f"{format_duration(scan)} is longer than {format_duration(interval)}, the interval of the learned "
                     f"loop {quote(loop_id)}", "give that or less, or remove scan")
