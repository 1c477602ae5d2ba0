"""In a notebook a Block becomes a DataFrame with labels, and a picture."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from clpm_execd.config.loops import parse_configuration
from clpm_execd.encoding.csv import WideCsv
from clpm_execd.generator import ControlLoopDataGenerator
from clpm_execd.notebook import NotebookBlock
from clpm_execd.units import SECOND

START = 1_736_503_500 * SECOND
LOOPS = [
    {"id": "FIC101", "fault": [{"kind": "stiction", "S": 6.0, "J": 3.0, "start": "1m", "duration": "2m"},
                               {"kind": "white-noise", "start": "2m"}, {"kind": "drift", "start": "2m"}]},
    {"id": "TIC200", "type": "temperature", "move": [{"at": "1m", "mode": "MAN"}]},
    {"id": "PIC300", "type": "pressure", "fault": [{"kind": "late", "share": 0.3, "delay": 5.0, "start": "30s"},
                                                   {"kind": "duplicates"}, {"kind": "gaps", "share": 0.2}]},
]


@pytest.fixture(scope="module")
def block() -> NotebookBlock:
    return ControlLoopDataGenerator(parse_configuration({"loop": LOOPS}), seed=1, start=START).advance(300)


def test_a_long_frame_has_the_rows_of_the_wide_csv(block: NotebookBlock) -> None:
    frame = block.to_frame()
    csv = WideCsv(block.loops, truth=True)
    rows = pd.read_csv(io.BytesIO(csv.header() + csv.encode(block)), keep_default_na=False,
                       dtype={"PV": float, "OP": float, "SP": float})
    assert frame["loop_id"].tolist() == rows["loop_id"].tolist()
    assert frame.index.tolist() == pd.to_datetime(rows["time"], utc=True, format="ISO8601").tolist()
    assert frame["mode"].tolist() == rows["Mode"].tolist()
    for name in ("pv", "op", "sp"):
        assert np.allclose(frame[name], rows[name.upper()], rtol=1e-9, atol=0)
    assert [set(fault.split("+")) for fault in frame["fault"]] == [set(fault.split("+")) for fault in rows["fault"]]
    assert frame["visible"].tolist() == (rows["visible"].astype(str).str.lower() == "true").tolist()


def test_the_columns_of_a_frame_have_types_for_grouping(block: NotebookBlock) -> None:
    frame = block.to_frame()
    assert str(frame.index.tz) == "UTC"
    assert frame.index.name == "time"
    assert list(frame["mode"].cat.categories) == ["MAN", "AUT", "CAS"]
    assert list(frame["loop_id"].cat.categories) == list(block.loops)
    flow = frame[frame["loop_id"] == "FIC101"]
    assert flow.groupby("fault", observed=True).size().to_dict() == {"": 60, "stiction": 60, "stiction+drift": 60,
                                                                     "drift": 120}
    assert (flow["control"] == "white-noise").sum() == 180


def test_a_wide_frame_has_a_row_per_instant_of_the_grid(block: NotebookBlock) -> None:
    frame = block.to_frame("wide")
    assert frame.shape == (300, 3 * 10)
    assert np.array_equal(frame["PIC300", "pv"], block.pv[:, 2])
    assert np.array_equal(frame.xs("op", axis=1, level="signal").to_numpy(), block.op)
    assert frame["TIC200", "mode"].iloc[[59, 60]].tolist() == ["AUT", "MAN"]


def test_a_block_without_faults_has_empty_labels() -> None:
    block = ControlLoopDataGenerator(parse_configuration({"loop": [{"id": "A"}]}), seed=1, start=START).advance(10)
    for form in ("long", "wide"):
        frame = block.to_frame(form)
        labels = frame if form == "long" else frame["A"]
        assert set(labels["fault"]) == {""}
        assert not labels["visible"].any()


def test_an_unknown_form_of_a_frame_is_refused(block: NotebookBlock) -> None:
    with pytest.raises(ValueError, match="unknown form of a frame 'tall': give long or wide"):
        block.to_frame("tall")


@pytest.mark.slow
def test_a_plot_is_shown_as_png_and_has_all_loops(block: NotebookBlock) -> None:
    picture = block.plot("FIC101", theme="dark")
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert [trend.loop for trend in block.plot().trends] == list(block.loops)
    with pytest.raises(KeyError, match="did you mean 'FIC101'"):
        block.plot(["FIC11"])
    with pytest.raises(ValueError, match="unknown theme 'blue'; give one of dark, light"):
        block.plot(theme="blue")


@pytest.mark.process
def test_the_plant_imports_numpy_only() -> None:
    code = "import sys, clpm_execd.plant.plant;" \
           "print(sorted({m.split('.')[0] for m in sys.modules} & {'pandas', 'matplotlib', 'plotly', 'rich'})," \
           "sorted(m for m in sys.modules if m.startswith('clpm_execd.') and not m.startswith('clpm_execd.plant')))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # These two modules import nothing of the package themselves.
    assert result.stdout == "[] ['clpm_execd.stored_names', 'clpm_execd.version']\n"
