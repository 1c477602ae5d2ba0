"""Blocks as pandas DataFrames with labels, to group, to plot and to train on.

The long form has the samples as they leave the plant, in that order; the wide form has the grid before the data path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clpm_execd.extras import require
from clpm_execd.plant.block import MODES, Block

if TYPE_CHECKING:
    import pandas as pd

_NUMERIC = ("pv", "sp", "op", "valve_position", "true_pv", "quality")
Booleans = npt.NDArray[np.bool_]


def build_frame(block: Block, form: str) -> pd.DataFrame:
    """Return the samples as a DataFrame; see `NotebookBlock.to_frame`."""
    require("plots", "pandas")
    if form not in ("long", "wide"):
        raise ValueError(f"unknown form of a frame {form!r}: give long or wide")
    return _build_long(block) if form == "long" else _build_wide(block)


def _build_long(block: Block) -> pd.DataFrame:
    """Return a row for each sample that leaves, in the order in which they leave."""
    import pandas as pd

    row, loop = np.divmod(np.arange(block.pv.size), len(block.loops))
    columns: dict[str, npt.NDArray[Any]] = {name: getattr(block, name).ravel() for name in ("mode", *_NUMERIC)}
    columns |= {"time": block.times[row], "loop_id": loop}
    columns |= {name: label.ravel() for name, label in _label_grid(block).items()}
    arrivals = block.arrivals
    if arrivals is not None:
        is_on_grid = ~arrivals.has_data_path_fault[loop]
        arriving = {name: getattr(arrivals, name) for name in ("mode", *_NUMERIC)}
        arriving |= {"time": arrivals.times, "loop_id": arrivals.loop, **_label_arrivals(block)}
        columns = {name: np.append(values[is_on_grid], arriving[name]) for name, values in columns.items()}
        # Stable: several samples of one loop stay in the order in which they leave.
        order = np.lexsort([columns["loop_id"], np.append(row[is_on_grid], arrivals.row)])
        columns = {name: values[order] for name, values in columns.items()}
    return pd.DataFrame(
        {"loop_id": pd.Categorical.from_codes(columns.pop("loop_id"), list(block.loops)),
         "mode": pd.Categorical.from_codes(columns.pop("mode"), list(MODES))}
        | {name: pd.Categorical(values) if values.dtype == object else values
           for name, values in columns.items() if name != "time"},
        index=_index(columns["time"]))


def _build_wide(block: Block) -> pd.DataFrame:
    """Return a row for each instant of the grid, with columns by loop and signal."""
    import pandas as pd

    labels = _label_grid(block)
    columns: dict[tuple[str, str], Any] = {}
    for i, loop in enumerate(block.loops):
        columns[loop, "mode"] = pd.Categorical.from_codes(block.mode[:, i], list(MODES))
        columns |= {(loop, name): getattr(block, name)[:, i] for name in _NUMERIC}
        columns |= {(loop, name): pd.Categorical(label[:, i]) if label.dtype == object else label[:, i]
                    for name, label in labels.items()}
    frame = pd.DataFrame(columns, index=_index(block.times))
    frame.columns.names = ["loop_id", "signal"]
    return frame


def _index(times: npt.NDArray[np.int64]) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.to_datetime(times, unit="ns", utc=True).rename("time")


def _label_grid(block: Block) -> dict[str, npt.NDArray[Any]]:
    """Return (T, N) labels of the grid.

    They are `fault` (the present ones, joined by +), `visible` (whether one of them can be detected) and `control` (the
    negative controls in force).
    """
    shape = len(block), len(block.loops)
    fault, control = np.full(shape, "", dtype=object), np.full(shape, "", dtype=object)
    visible = np.zeros(shape, dtype=bool)
    truth = block.truth
    for i in np.unique(truth.column).tolist() if truth is not None else ():
        assert truth is not None
        faults = np.flatnonzero(truth.column == i)
        is_control = np.array(truth.control)[faults]
        names = np.array(truth.kinds, dtype=object)[faults]
        fault[:, i] = _join_names(names, truth.present[:, faults])
        visible[:, i] = truth.visible[:, faults].any(axis=1)
        control[:, i] = _join_names(names[is_control], truth.severity[:, faults[is_control]] > 0.0)
    return {"fault": fault, "visible": visible, "control": control}


def _label_arrivals(block: Block) -> dict[str, npt.NDArray[Any]]:
    """Return (R,) labels of the samples that arrive: of when they were measured, `control` of when they leave."""
    arrivals, truth = block.arrivals, block.truth
    assert arrivals is not None
    fault, visible = np.full(len(arrivals), "", dtype=object), np.zeros(len(arrivals), dtype=bool)
    for i in np.unique(arrivals.loop).tolist() if truth is not None else ():
        assert truth is not None
        names = np.array(truth.kinds, dtype=object)[truth.column == i]
        rows = arrivals.loop == i
        fault[rows] = _join_names(names, arrivals.present[rows][:, :len(names)])
        visible[rows] = arrivals.visible[rows][:, :len(names)].any(axis=1)
    return {"fault": fault, "visible": visible,
            "control": _label_grid(block)["control"][arrivals.row, arrivals.loop]}


def _join_names(names: npt.NDArray[np.object_], present: Booleans) -> npt.NDArray[np.object_]:
    """Return (n,) the names that are present in each row, once each, joined by +; present: (n, K)."""
    distinct, code = np.unique(present, axis=0, return_inverse=True)
    texts = ["+".join(dict.fromkeys(names[row])) for row in distinct]
    return np.array(texts, dtype=object)[code.reshape(-1)] if len(present) else np.empty(0, dtype=object)
