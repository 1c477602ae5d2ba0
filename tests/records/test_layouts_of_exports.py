"""Layouts in which historians, trends, loggers and controllers export a loop: each is read to the same record."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from clpm_execd.plant.block import AUT, CAS, MAN
from clpm_execd.problems import BadInput
from clpm_execd.records import read_record, read_records
from clpm_execd.records.output_range import infer_output_range

COUNT = 60
START = datetime(2025, 1, 10, 8)
TIMES = [START + timedelta(seconds=k) for k in range(COUNT)]
PV = 50.0 + np.round(np.sin(np.arange(COUNT) / 7.0), 2)
OP = 40.0 + np.round(np.cos(np.arange(COUNT) / 7.0), 2)
SP = np.where(np.arange(COUNT) < 40, 50.0, 51.0)
SLOW = [k - k % 10 for k in range(COUNT)]  # the rows of which an OP logged each 10 s has the values


def iso(k):
    return TIMES[k].strftime("%Y-%m-%d %H:%M:%S")


def table(header, row, mark="."):
    return "\n".join([*header, *(row(k, *(f"{x[k]:.2f}".replace(".", mark) for x in (PV, OP, SP)))
                                 for k in range(COUNT))]) + "\n"


def rows(*header, delimiter=",", mark="."):
    return table(header, lambda k, pv, op, sp: delimiter.join([iso(k), pv, op, sp]), mark)


def columns_with_times(*header, time=iso, delimiter=",", mark="."):
    """Each signal beside its own times: OP each 10 s, SP where it moves."""
    moves = (0, 40)
    lines = []
    for k in range(COUNT):
        cells = [time(k), f"{PV[k]:.2f}"]
        cells += [time(10 * k), f"{OP[10 * k]:.2f}"] if 10 * k < COUNT else ["", ""]
        cells += [time(moves[k]), f"{SP[moves[k]]:.2f}"] if k < 2 else ["", ""]
        lines.append(delimiter.join(cell.replace(".", mark) for cell in cells))
    return "\n".join([*header, *lines]) + "\n"


def blocks(form):
    """The signals one below the other, each under a title."""
    return "\n".join(form.format(signal=signal) + "\nTime,Value\n" + "".join(f"{iso(k)},{x[k]}\n" for k in range(COUNT))
                     for signal, x in (("PV", PV), ("OP", OP), ("SP", SP)))


OBJECTS = [{"time": iso(k), "PV": PV[k], "OP": OP[k], "SP": SP[k]} for k in range(COUNT)]
FRAME = {name: [row[name] for row in OBJECTS] for name in OBJECTS[0]}
EPOCH = [int(time.replace(tzinfo=timezone.utc).timestamp()) for time in TIMES]
SERIES = {"FIC101.PV": PV, "FIC101.OP": OP, "FIC101.SP": SP}
LAYOUTS = {
    "JSON, rows in a line": json.dumps(OBJECTS),
    "JSON, rows over several lines": json.dumps({"data": OBJECTS}, indent=2),
    "JSON, columns": json.dumps(FRAME),
    "JSON, columns by index": json.dumps({name: dict(enumerate(cells)) for name, cells in FRAME.items()}),
    "JSON, rows by index": json.dumps(dict(enumerate(OBJECTS))),
    "JSON, a frame with its columns": json.dumps(
        {"columns": list(FRAME), "data": [[*row.values()] for row in OBJECTS]}),
    "JSON, streams of a historian": json.dumps({"Links": {}, "Items": [
        {"Name": name, "Items": [{"Timestamp": iso(k), "Good": True, "Value": x[k]} for k in range(COUNT)]}
        for name, x in SERIES.items()]}),
    "JSON, a matrix of a database": json.dumps({"status": "success", "data": {"result": [
        {"metric": {"__name__": name}, "values": [[EPOCH[k], str(x[k])] for k in range(COUNT)]}
        for name, x in SERIES.items()]}}),
    "JSON, series by their names": json.dumps(
        {name: [{"ts": EPOCH[k], "value": x[k]} for k in range(COUNT)] for name, x in SERIES.items()}),
    "JSON, hits of a search": json.dumps({"hits": {"total": {"value": COUNT}, "hits": [
        {"_id": k, "_source": {"@timestamp": iso(k), "pv": PV[k], "op": OP[k], "sp": SP[k]}} for k in range(COUNT)]}}),
    "JSON, lists in lines": "".join(json.dumps({"timestamp": EPOCH[k], "metrics": [
        {"name": name, "value": x[k]} for name, x in SERIES.items()]}) + "\n" for k in range(COUNT)),
    "line protocol, a field in a line": "".join(
        f"control_loops,loop_id=FIC101 {name[-2:]}={x[k]} {EPOCH[k]}000000000\n"
        for k in range(COUNT) for name, x in SERIES.items()),
    "line protocol, the lines of a field below those of another": "# DDL\n# DML\n" + "".join(
        f"control_loops,loop_id=FIC101 {name[-2:]}={x[k]} {EPOCH[k]}000000000\n"
        for name, x in SERIES.items() for k in range(COUNT)),
    "metrics of Prometheus": "".join(
        f'# TYPE pid_{name[-2:]} gauge\n' + "".join(
            f'pid_{name[-2:].lower()}{{loop="FIC101"}} {x[k]} {EPOCH[k]}000\n' for k in range(COUNT))
        for name, x in SERIES.items()) + "# EOF\n",
    "metrics of Graphite": "".join(f"{name} {x[k]} {EPOCH[k]}\n" for k in range(COUNT) for name, x in SERIES.items()),
    "JSON, names of columns in objects": json.dumps(
        {"meta": [{"name": name, "type": "x"} for name in FRAME], "rows": COUNT, "data": [
            [*row.values()] for row in OBJECTS]}),
    "JSON, lists of values and times by metric": "".join(
        json.dumps({"metric": {"__name__": name[-2:], "loop": "FIC101"}, "values": [*x], "timestamps": EPOCH}) + "\n"
        for name, x in SERIES.items()),
    "a table of influx": "Result: _result\n" + "".join(
        "Table: keys: [_start, _field, loop_id]\n_start:time                     _field:string  loop_id:string  "
        "_time:time                      _value:float\n" + "  ".join(["-" * 30, "-" * 12, "-" * 14, "-" * 30]) + "\n"
        + "".join(f"2025-01-10T00:00:00.000000000Z  {name[-2:]:>12}          FIC101  "
                  f"{iso(k).replace(' ', 'T')}.000000000Z  {x[k]:>12}\n" for k in range(COUNT))
        for name, x in SERIES.items()),
    "a box": "┌──────┬────┬────┬────┐\n│ time    ┆ pv  ┆ op ┆ sp   │\n╞══════╪════╪════╪════╡\n" + table(
        [], lambda k, pv, op, sp: f"│ {iso(k)} ┆ {pv} ┆ {op} ┆ {sp} │") + "└──────┴────┴────┴────┘\n",
    "a log without years": table(
        [], lambda k, pv, op, sp: f"{TIMES[k]:%b %d %H:%M:%S} gw1 pid[8]: pv={pv} op={op} sp={sp}"),
    "a log of a web server": table(
        [], lambda k, pv, op, sp: f"[{TIMES[k]:%d/%b/%Y:%H:%M:%S} +0000] pv={pv} op={op} sp={sp}"),
    "least, most and mean values": "Tag,Time,Min,Max,Avg,Count\n" + "".join(
        f"{name},{iso(k)},{x[k] - 1},{x[k] + 1},{x[k]},5\n" for name, x in SERIES.items() for k in range(COUNT)),
    "cells that a spreadsheet keeps as text": table(
        ['="Time",="PV",="OP",="SP"'], lambda k, pv, op, sp: ",".join(f'="{cell}"' for cell in (iso(k), pv, op, sp))),
    "the loop in a title": rows("Loop: FIC101", "", "Time,PV,OP,SP"),
    "a rewritten header": rows("Time,PV,OP,SP").replace(iso(30), "Time,PV,OP,SP\n" + iso(30)),
    "signals below each other": blocks("FIC101.{signal}"),
    "signals below each other, with a word before": blocks("Tag: FIC101.{signal}"),
    "WinCC, a time for each signal": columns_with_times(
        "FIC101_PV Time;FIC101_PV ValueY;FIC101_OP Time;FIC101_OP ValueY;FIC101_SP Time;FIC101_SP ValueY",
        delimiter=";", mark=","),
    "PI DataLink, tags over the times": columns_with_times("FIC101.PV,,FIC101.OP,,FIC101.SP,"),
    "PI DataLink, tags over two columns each": columns_with_times(
        "FIC101.PV,,FIC101.OP,,FIC101.SP,", "Timestamp,Value,Timestamp,Value,Timestamp,Value"),
    "a trend, seconds for each signal": columns_with_times(
        "t_PV [s];PV;t_OP [s];OP;t_SP [s];SP", time=str, delimiter=";"),
    "OP and SP in some rows": table(["time,PV,OP,SP"], lambda k, pv, op, sp: ",".join(
        [iso(k), pv, "" if k % 10 else op, "" if k % 20 else sp])),
    "pairs with colons": table([], lambda k, pv, op, sp: f"time: {iso(k)}, PV: {pv}, OP: {op}, SP: {sp}"),
    "a serial monitor": table([], lambda k, pv, op, sp: f"08:00:{k:02d}.000 -> PV:{pv},OP:{op},SP:{sp}"),
    "logfmt": table([], lambda k, pv, op, sp: f"ts={iso(k).replace(' ', 'T')}Z pv={pv} op={op} sp={sp}"),
    "a JSON object per line": table([], lambda k, pv, op, sp: json.dumps(
        {"ts": iso(k), "fields": {"pv": float(pv), "op": float(op), "sp": float(sp)}})),
    "a JSON object per value": "".join(
        json.dumps({"tag": f"FIC101.{signal}", "ts": iso(k), "value": values[k]}) + "\n"
        for k in range(COUNT) for signal, values in (("PV", PV), ("OP", OP), ("SP", SP))),
    "pairs with units behind a time": table(
        [], lambda k, pv, op, sp: f"{iso(k)} PV: {pv} m3/h, OP: {op} %, SP: {sp} m3/h"),
    "seven rows of head": rows(
        "Tag,FIC101.PV,FIC101.OP,FIC101.SP", "Description,Feed,Valve,Setpoint", "Units,m3/h,%,m3/h", "Low,0,0,0",
        "High,120,100,120", "Type,Analog,Analog,Analog", "Sample,Actual,Actual,Actual"),
    "a tag over each signal": rows("", ",FIC101,FIC101,FIC101", ",PV,OUT,SP"),
    "a transmitter, a valve and a controller": rows("Time,FT101,FV101,FIC101.SP"),
    "members of one block": rows("Time,FIC101.Inp_PV,FIC101.Out_CV,FIC101.Val_SP"),
    "aggregates of a query": rows("Time,Avg(FIC101.PV),Avg(FIC101.OP),Avg(FIC101.SP)"),
}


def check(record, op=OP, pv=PV):
    op = OP[SLOW] if len(set(record.op[:10, 0])) == 1 else op
    assert (record.times - record.times[0]).tolist() == [k * 10**9 for k in range(COUNT)]
    for values, expected in ((record.pv, pv), (record.op, op), (record.sp, SP)):
        assert values[:, 0] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_read_as_they_come(tmp_path, layout):
    path = tmp_path / "FIC101.csv"
    path.write_text(LAYOUTS[layout])
    record = read_record(path)
    assert record.loops == ("FIC101",)
    check(record)


def test_blocks_of_several_loops_have_the_loops_of_their_titles(tmp_path):
    path = tmp_path / "export.csv"
    path.write_text(rows("Loop: FIC101", "Time,PV,OP,SP") + "\n" + rows("Loop: FIC102", "Time,PV,OP,SP"))
    record = read_record(path)
    assert record.loops == ("FIC101", "FIC102")
    assert record.pv[:, 0] == pytest.approx(PV)
    assert record.pv[:, 1] == pytest.approx(PV)


@pytest.mark.parametrize(("name", "hours"), [
    ("Time (UTC+01:00)", 1), ("Time [UTC-6]", -6), ("Date Time, GMT-06:00", -6), ("Time (Europe/Berlin)", 1),
    ("Time [UTC]", 0), ("Local Time (EST)", -5), ("Date/Time", 0)])
def test_the_zone_in_the_name_of_the_time_counts(tmp_path, name, hours):
    path = tmp_path / "FIC101.csv"
    path.write_text(rows(f'"{name}",PV,OP,SP'))
    record = read_record(path)
    assert int(record.times[0] // 10**9) == EPOCH[0] - 3600 * hours
    check(record)


def test_rows_with_numbers_beyond_the_header_are_left_out(tmp_path):
    path = tmp_path / "FIC101.csv"
    path.write_text(rows("Time,PV,OP,SP").replace(f"{iso(7)},", f"{iso(7)},9,"))
    record = read_record(path)
    assert record.pv[:, 0].tolist() == np.delete(PV, 7).tolist()
    path.write_text("".join(line.replace(",", ",9,", k > 30) for k, line in enumerate(
        rows("Time,PV,OP,SP").splitlines(keepends=True))))
    with pytest.raises(BadInput, match="rows with more cells than the header: 30"):
        read_record(path)


def test_a_second_header_with_other_units_is_refused(tmp_path):
    path = tmp_path / "FIC101.csv"
    path.write_text(rows("Time,PV [°C],OP,SP [°C]") + rows("Time,PV [°F],OP,SP [°F]").replace("2025", "2026"))
    with pytest.raises(BadInput, match=r"second header has other units: Time, PV \[°F\], OP, SP .*; split the"):
        read_record(path)


def test_a_state_in_the_place_of_a_value_is_a_missing_value(tmp_path):
    path = tmp_path / "FIC101.json"
    path.write_text(json.dumps({"Items": [{"Name": "FIC101.PV", "Items": [
        {"Timestamp": iso(k), "Value": {"Name": "No Data", "Value": 248} if k == 1 else PV[k]} for k in range(3)]}]}))
    assert np.flatnonzero(np.isnan(read_record(path).pv[:, 0])).tolist() == [1]


@pytest.mark.parametrize("text", ["[1, 2]", "[[[", "[" * 100_000, '{"a": {"b": []}}', '[{"x": 1}, 2', "[{}]"])
def test_a_value_of_json_without_rows_is_refused(tmp_path, text):
    path = tmp_path / "FIC101.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"the value of JSON is no table|no column is recognised as PV|no time column"):
        read_record(path)


@pytest.mark.parametrize(("encoding", "header"), [
    ("gb18030", "时间;测量值;输出值;设定值"),
    ("gb18030", "采集时间;流量测量值;阀位输出;流量设定值"),
    ("shift_jis", "日時;測定値;操作量;設定値"),
    ("euc_kr", "시간;측정값;출력;설정값"),
    ("cp1251", "Время;Текущее значение;Выход;Задание"), ("cp1250", "Czas;Wartość procesowa;Wyjście;Wartość zadana"),
    ("cp1254", "Zaman;Ölçülen değer;Çıkış;Ayar değeri"),
    ("cp1252", "Zeit;Regelgröße;Stellgröße;Führungsgröße"), ("utf-8", "Horodatage;Mesure [m³/h];Commande [%];Consigne"),
    ("utf-8-sig", "Data e hora;Variável de processo;Saída;Valor desejado"),
    ("utf-16", "Fecha y hora;Valor actual;Salida;Punto de ajuste"),
])
def test_headings_in_other_languages_and_encodings_are_known(tmp_path, encoding, header):
    path = tmp_path / "FIC101.csv"
    path.write_bytes(rows(header, delimiter=";", mark=",").encode(encoding))
    check(read_record(path))


def signal_file(name, values, header):
    return name, "\n".join([header, *(f"{iso(k)},{values[k]:.2f}" for k in range(COUNT))]) + "\n"


@pytest.mark.parametrize("files", [
    [("FIC101.csv", table(["time,FIC101.PV,FIC101.OP"], lambda k, pv, op, sp: f"{iso(k)},{pv},{op}")),
     ("FIC101_SP.csv", f"time,FIC101.SP\n{iso(0)},50\n{iso(40)},51\n")],
    [signal_file(f"FIC101_{signal}_20250110.csv", values, "Timestamp,Value")
     for signal, values in (("OP", OP), ("PV", PV), ("SP", SP))],
    [signal_file(f"{signal}.csv", values, f"history:/FIC101_{signal}\nTimestamp,Value (°F)")
     for signal, values in (("PV", PV), ("OP", OP), ("SP", SP))],
    [signal_file(f"{i}.csv", values, f"time,FIC101.{signal}")
     for i, (signal, values) in enumerate((("PV", PV), ("OP", OP), ("SP", SP)))],
], ids=["SP apart", "named by the file", "named by a title", "named by the header"])
def test_signals_of_one_loop_may_have_a_file_each(tmp_path, files):
    for name, text in files:
        (tmp_path / name).write_text(text)
    [(record, path)] = read_records([tmp_path / name for name, _ in files])
    assert (record.loops[0].removeprefix("history:/"), path.name) == ("FIC101", files[0][0])
    check(record)


def test_a_file_of_op_alone_is_refused_by_itself(tmp_path):
    path = tmp_path / "FIC101.csv"
    path.write_text(f"time,FIC101.OP\n{iso(0)},50\n{iso(1)},51\n")
    with pytest.raises(BadInput, match=r"no column is recognised as PV; .* the header \(line 1\) is time, FIC101.OP"):
        read_records([path])


def test_a_refusal_is_one_line_whatever_the_header_has(tmp_path):
    path = tmp_path / "FIC101.csv"
    path.write_text('time,"Flow\nm3/h",Valve\n1,2,3\n2,3,4\n')
    with pytest.raises(BadInput, match=r"the header \(line 1\) is time, Flow m3/h, Valve$"):
        read_record(path)


@pytest.mark.parametrize("header", [
    "time,PV,PV Status,OP,OP Status,SP,SP Status", "time,PV,Quality,OP,Quality,SP,Quality"])
def test_each_signal_may_have_a_quality_of_its_own(tmp_path, header):
    path = tmp_path / "FIC101.csv"
    path.write_text(table([header], lambda k, pv, op, sp: f"{iso(k)},{pv},{'0x18' if k == 7 else '0xC0'},{op},"
                                                          f"{'Bad' if k == 9 else 'Good'},{sp},Good"))
    pv, op = (np.where(np.arange(COUNT) == bad, np.nan, values) for values, bad in ((PV, 7), (OP, 9)))
    check(read_record(path), op, pv)


@pytest.mark.parametrize("text", [
    table(["time,TIC2.PV,TIC2.OP [%],FIC1.PV,FIC1.OP [mA]"],
          lambda k, pv, op, sp: f"{iso(k)},{pv},{op},{pv},12.{k:02d}"),
    "\n".join(["Name,Time,Value,Unit"] + [f"{name},{iso(k)},{value:.2f},{unit}" for k in range(COUNT) for
              name, value, unit in (("TIC2.PV", PV[k], "°C"), ("TIC2.OP", OP[k], "%"), ("FIC1.PV", PV[k], "m3/h"),
                                    ("FIC1.OP", 12 + k / 100, "mA"))]),
], ids=["in the header", "in the rows"])
def test_each_loop_has_its_own_unit_of_op(tmp_path, text):
    path = tmp_path / "export.csv"
    path.write_text(text)
    record = read_record(path)
    assert record.loops == ("TIC2", "FIC1")
    ends = [infer_output_range(record.op[:, i], record.op_unit(i)).ends for i in (0, 1)]
    assert ends == [(0.0, 100.0), (4.0, 20.0)]


def test_a_unit_of_op_that_names_no_range_is_a_doubt():
    assert "OP is in Hz: 0 to 100 taken as 0 to 100 %" in infer_output_range(OP, "Hz").assumption
    assert infer_output_range(OP, "%").assumption == ""


@pytest.mark.parametrize("words", [("8", "16", "4"), ("自动", "手动", "串级"), ("Auto/Auto", "Auto/Man", "Cas/Cas"),
                                   ("Automático", "Manual", "Cascada")])
def test_modes_of_other_systems_and_languages_are_known(tmp_path, words):
    path = tmp_path / "FIC101.csv"
    path.write_text(table(["time,PV,OP,SP,Mode"], lambda k, pv, op, sp: f"{iso(k)},{pv},{op},{sp},{words[k % 3]}"))
    assert read_record(path).mode[:3, 0].tolist() == [AUT, MAN, CAS]
