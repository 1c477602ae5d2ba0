"""`[loop.learned]`: the laws of a learned loop, from the file of arrays that lies beside loops.toml.

The file is numpy's .npz; a loop's arrays are named `<loop>/<field of Laws>`. Nothing in it is executed, and whatever
is wrong with it is told at the key that names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clpm_execd.config.validation import Place, name, shown, table, unknown_keys
from clpm_execd.plant.learned.model import Laws
from clpm_execd.plant.loop_set import Loops
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.problems import did_you_mean
from clpm_execd.stored_names import stored_field
from clpm_execd.units import SECOND, format_duration

_AGAIN = "learn the loop again, or remove [loop.learned] to have one without its laws"
_LARGEST = 1 << 30  # bytes: a hundred thousand samples of a hundred loops


def read_laws(given: object, loop: LoopSpec, place: Place, folder: Path) -> Laws | None:
    """The laws that the table names; relative paths are those of the folder."""
    inner = table(given, place)
    if inner is None:
        return None
    unknown_keys(inner, ["file", "loop"], place)
    if "file" not in inner:
        place.at("file").refuse("is missing", "name the file of arrays, such as file = \"loops.npz\"")
        return None
    file = name(inner["file"], "a file", place.at("file"))
    title = name(inner.get("loop", loop.id), "a loop id", place.at("loop"))
    if file is None or title is None:
        return None
    arrays = _arrays(folder / file, place.at("file"))
    laws = None if arrays is None else _laws(arrays, title, place)
    if laws is not None:
        _check(loop, laws, place)
    return laws


def _arrays(path: Path, place: Place) -> Mapping[str, npt.NDArray[Any]] | None:
    import zipfile  # these two take longer to load than all that reads loops without laws
    import zlib

    try:
        about = path.stat()
        if about.st_size > _LARGEST:
            place.refuse(f"{shown(str(path))} is too large for learned loops", _AGAIN)
            return None
        return _loaded(path, about.st_mtime_ns, about.st_size)
    except FileNotFoundError:
        place.refuse(f"there is no file {shown(str(path))}", "put it beside loops.toml, where `learn` wrote it")
    except OSError as error:
        place.refuse(f"{shown(str(path))} cannot be read: {error.strerror}", "check the path and its permissions")
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError):
        place.refuse(f"{shown(str(path))} is no file of arrays, or damaged", _AGAIN)
    return None


@lru_cache(maxsize=8)
def _loaded(path: Path, _changed: int, _size: int) -> Mapping[str, npt.NDArray[Any]]:
    """All arrays of a file, read once for the many loops that it has."""
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("one array is no archive")
        with loaded:
            return dict(loaded)


def _laws(arrays: Mapping[str, npt.NDArray[Any]], title: str, place: Place) -> Laws | None:
    known = list(dict.fromkeys(key.rpartition("/")[0] for key in arrays))
    if title not in known:
        place.at("loop").refuse(f"the file has no loop {shown(title)}", did_you_mean(title, known[:200]) or _AGAIN)
        return None
    parts: dict[str, Any] = {}
    for item in fields(Laws):
        array = arrays.get(f"{title}/{stored_field('Laws', item.name)}")
        kinds = "b" if item.name == "held" else "fiu"
        if array is None or array.dtype.kind not in kinds:
            place.at("file").refuse(f"the laws of {shown(title)} have no {item.name}", _AGAIN)
            return None
        parts[item.name] = array if kinds == "b" else array.astype(np.float64)
    for number in ("interval", "offset"):
        if parts[number].size != 1:
            place.at("file").refuse(f"the {number} of {shown(title)} is no number", _AGAIN)
            return None
        parts[number] = float(parts[number].reshape(()))
    if parts["signals"].ndim != 2 or any(parts[key].ndim != 1 for key in ("process_pv", "controller_op", "setpoint")):
        place.at("file").refuse(f"the laws of {shown(title)} do not fit together", _AGAIN)
        return None
    laws = Laws(**parts)
    wrong = laws.misfits()
    if wrong:
        place.at("file").refuse(f"the laws of {shown(title)} do not fit together: {wrong[0]}", _AGAIN)
        return None
    return laws


def _check(loop: LoopSpec, laws: Laws, place: Place) -> None:
    """Only what the laws can follow may differ from what they were learned with: of an own process everything."""
    _, _, derivative, _, _, dead_time = laws.settings.tolist()
    controller = loop.controller
    for key, given, was in (("dead_time", loop.process.dead_time, dead_time),
                            ("derivative", controller.derivative or 0.0, derivative)):
        if not laws.innovation.size and abs(given - was) > 1e-9 * max(1.0, abs(was)):
            place.refuse(f"{key} is {given:g}, and in the loop's laws it is {was:g}",
                         "change gain, reset or tau, which act on the laws, or remove [loop.learned]")
    if controller.gain is None or controller.reset is None:
        place.refuse("the controller has no gain or no reset", "give both: the laws are scaled by them")
    if loop.cascade is not None and laws.setpoint.size:
        place.refuse("the set point has a law of its own, and a master",
                     "leave out cascade, or remove [loop.learned]")


def check_pace(loops: Sequence[LoopSpec], scan: int | None, place: Place) -> None:
    """No scan is longer than the time between two samples of a learned loop's record."""
    if scan is None:
        return
    paces = ((round(loop.laws.interval * SECOND), loop.id) for loop in Loops.of(loops).kinds if loop.laws is not None)
    pace, loop_id = min(paces, default=(scan, ""))
    if pace < scan:
        place.refuse(f"{format_duration(scan)} is longer than {format_duration(pace)}, the interval of the learned "
                     f"loop {shown(loop_id)}", "give that or less, or leave scan out")
