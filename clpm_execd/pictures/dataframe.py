"""Blocks as pandas frames, ready to group, to plot and to train on, with their labels beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clpm_execd.extras import require
from clpm_execd.plant.block import MODES, Block

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = ("pv", "sp", "op", "valve_position", "true_pv", "quality")
Flags = npt.NDArray[np.bool_]


def frame(block: Block, form: str) -> pd.DataFrame:
    """See `NotebookBlock.to_frame`."""
    require("plots", "pandas")
    if form not in ("long", "wide"):
        raise ValueError(f"{form!r} is no form of a frame: long or wide")
    return _long(block) if form == "long" else _wide(block)


def _long(block: Block) -> pd.DataFrame:
    """A row a sample that leaves, in the order in which they leave."""
    import pandas as pd

    row, loop = np.divmod(np.arange(block.pv.size), len(block.loops))
    columns: dict[str, npt.NDArray[Any]] = {name: getattr(block, name).ravel() for name in ("mode", *_NUMBERS)}
    columns |= {"time": block.times[row], "loop_id": loop}
    columns |= {name: each.ravel() for name, each in _labels(block).items()}
    sent = block.arrivals
    if sent is not None:
        kept = ~sent.has_data_path_fault[loop]
        arrived = {name: getattr(sent, name) for name in ("mode", *_NUMBERS)}
        arrived |= {"time": sent.times, "loop_id": sent.loop, **_sent_labels(block)}
        columns = {name: np.append(values[kept], arrived[name]) for name, values in columns.items()}
        # Stable: several samples of one loop stay as they leave.
        order = np.lexsort([columns["loop_id"], np.append(row[kept], sent.row)])
        columns = {name: values[order] for name, values in columns.items()}
    return pd.DataFrame(
        {"loop_id": pd.Categorical.from_codes(columns.pop("loop_id"), list(block.loops)),
         "mode": pd.Categorical.from_codes(columns.pop("mode"), list(MODES))}
        | {name: pd.Categorical(values) if values.dtype == object else values
           for name, values in columns.items() if name != "time"},
        index=_index(columns["time"]))


def _wide(block: Block) -> pd.DataFrame:
    """A row an instant of the grid, columns by loop and signal."""
    import pandas as pd

    labels = _labels(block)
    columns: dict[tuple[str, str], Any] = {}
    for i, loop in enumerate(block.loops):
        columns[loop, "mode"] = pd.Categorical.from_codes(block.mode[:, i], list(MODES))
        columns |= {(loop, name): getattr(block, name)[:, i] for name in _NUMBERS}
        columns |= {(loop, name): pd.Categorical(each[:, i]) if each.dtype == object else each[:, i]
                    for name, each in labels.items()}
    whole = pd.DataFrame(columns, index=_index(block.times))
    whole.columns.names = ["loop_id", "signal"]
    return whole


def _index(times: npt.NDArray[np.int64]) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.to_datetime(times, unit="ns", utc=True).rename("time")


def _labels(block: Block) -> dict[str, npt.NDArray[Any]]:
    """`fault`, the present ones joined by +, `visible`, whether one shows, `control`, those in force; (T, N) each."""
    shape = len(block), len(block.loops)
    fault, control = np.full(shape, "", dtype=object), np.full(shape, "", dtype=object)
    visible = np.zeros(shape, dtype=bool)
    truth = block.truth
    for i in np.unique(truth.column).tolist() if truth is not None else ():
        assert truth is not None
        here = np.flatnonzero(truth.column == i)
        is_control = np.array(truth.control)[here]
        names = np.array(truth.kinds, dtype=object)[here]
        fault[:, i] = _joined(names, truth.present[:, here])
        visible[:, i] = truth.visible[:, here].any(axis=1)
        control[:, i] = _joined(names[is_control], truth.severity[:, here[is_control]] > 0.0)
    return {"fault": fault, "visible": visible, "control": control}


def _sent_labels(block: Block) -> dict[str, npt.NDArray[Any]]:
    """The same of the samples that arrive, (R,) each: as it was when they were measured, `control` when they leave."""
    sent, truth = block.arrivals, block.truth
    assert sent is not None
    fault, visible = np.full(len(sent), "", dtype=object), np.zeros(len(sent), dtype=bool)
    for i in np.unique(sent.loop).tolist() if truth is not None else ():
        assert truth is not None
        names = np.array(truth.kinds, dtype=object)[truth.column == i]
        here = sent.loop == i
        fault[here] = _joined(names, sent.present[here][:, :len(names)])
        visible[here] = sent.visible[here][:, :len(names)].any(axis=1)
    return {"fault": fault, "visible": visible, "control": _labels(block)["control"][sent.row, sent.loop]}


def _joined(names: npt.NDArray[np.object_], present: Flags) -> npt.NDArray[np.object_]:
    """Of each row the names that are present, once each, joined by +; present (n, K)."""
    states, which = np.unique(present, axis=0, return_inverse=True)
    texts = ["+".join(dict.fromkeys(names[state])) for state in states]
    return np.array(texts, dtype=object)[which.reshape(-1)] if len(present) else np.empty(0, dtype=object)
