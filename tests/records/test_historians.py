"""Exports of historians, DCS, PLC, loggers and notebooks are read as they come; a refusal quotes what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clpm_execd.plant.block import AUT, CAS, MAN
from clpm_execd.problems import BadInput
from clpm_execd.records import Columns, Record, parse_columns, read_record
from clpm_execd.records.header.layout import split_field
from clpm_execd.records.header.signal_names import split_unit

SECOND = 10**9
T0 = 1_736_503_200  # 2025-01-10T10:00:00Z
PV, OP, SP = [49.8, 49.9, 50.1, 50.3], [37.5, 37.1, 36.9, 36.4], [50.0, 50.0, 50.0, 51.0]


def read(tmp_path: Path, text: str | bytes, columns: str = "", interval: int | None = None, name: str = "FIC101.csv"
         ) -> Record:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_record(path, columns=parse_columns(columns) if columns else Columns(), interval=interval)


def read_error(tmp_path: Path, text: str, columns: str = "") -> str:
    with pytest.raises(BadInput) as caught:
        read(tmp_path, text, columns)
    return str(caught.value)


def rows(form: str) -> str:
    """Return four rows, a second apart, by a form with k, s (the second), pv, op and sp."""
    return "".join(form.format(k=k, s=f"{k:02d}", ms=1000 * k, t=T0 + k, pv=pv, op=op, sp=sp) + "\n"
                   for k, (pv, op, sp) in enumerate(zip(PV, OP, SP, strict=True)))


def long_rows(form: str) -> str:
    """Return twelve rows of one value each, by a form with a signal and its value."""
    return "".join(form.format(s=f"{k:02d}", t=T0 + k, ms=1000 * (T0 + k), signal=signal, low=signal.lower(),
                               value=value[k]) + "\n"
                   for k in range(4) for signal, value in (("PV", PV), ("OP", OP), ("SP", SP)))


def commas(text: str) -> str:
    """Return a text with decimal commas."""
    return text.replace(".", ",")


def assert_is_the_record(record: Record, loop: str | None = "FIC101") -> None:
    assert loop is None or record.loops == (loop,)
    assert record.interval == SECOND
    for values, expected in ((record.pv, PV), (record.op, OP), (record.sp, SP)):
        assert values[:, 0].tolist() == expected


LONG = {
    "WinCC": '"VarName";"TimeString";"VarValue";"Validity";"Time_ms"\n' + long_rows(
        '"FIC101_{signal}";"10.01.2025 10:00:{s}";{value};1;45667416666,6667').replace(".1;", ",1;"),
    "Grafana": long_rows('"FIC101.{signal}";"2025-01-10T11:00:{s}+01:00";{value}').join(
        ['"Series";"Time";"Value"\n', ""]),
    "Home Assistant": "entity_id,state,last_changed\n" + long_rows("fic101_{low},{value},2025-01-10T10:00:{s}.000Z"),
    "PI": "Tag,Timestamp,Value\n" + long_rows("FIC101.{signal},10-Jan-25 10:00:{s},{value}"),
    "IP.21": "NAME,IP_TREND_TIME,IP_TREND_VALUE\n" + long_rows("FIC101.{signal},10-JAN-25 10:00:{s}.0,{value}"),
    "Ignition": "tagpath,floatvalue,dataintegrity,t_stamp\n" + long_rows("FIC101/{signal},{value},192,{ms}"),
    "Node-RED": "topic,payload,timestamp\n" + long_rows("FIC101/{signal},{value},{ms}"),
    "Zabbix": "itemid,clock,value,ns\n" + long_rows("FIC101.{signal},{t},{value},0"),
    "DeltaV": "Time,Item,Value\n" + long_rows("2025-01-10 10:00:{s},FIC101/PID1/{signal}.CV,{value}"),
    "PHD": "TAGNAME,TIMESTAMP,VALUE,CONFIDENCE\n" + long_rows("FIC101.{signal},01/10/2025 10:00:{s} AM,{value},100"),
    "Wonderware": "DateTime,TagName,Value,Quality,OPCQuality\n" + long_rows(
        "2025-01-10 10:00:{s}.0000000,FIC101.{signal},{value},0,192"),
    "OPC UA": "SourceTimestamp,NodeId,Value,StatusCode\n" + long_rows(
        "2025-01-10T10:00:{s}.000Z,ns=2;s=FIC101.{signal},{value},0"),
    "a notebook": ",time,kind,reading\n" + long_rows("0,2025-01-10 10:00:{s},{signal},{value}"),
}


@pytest.mark.parametrize("historian", LONG)
def test_rows_of_one_value_are_read_by_any_names_of_their_columns(tmp_path, historian):
    record = read(tmp_path, LONG[historian])
    assert_is_the_record(record, None)
    assert len(record.loops) == 1
    assert "fic101" in record.loops[0].casefold()


def test_the_columns_of_rows_of_one_value_can_be_named(tmp_path):
    text = "when,unit,what,how much,x\n" + long_rows("{t},A7,m-{signal},{value},9")
    record = read(tmp_path, text, "time=when,loop=unit,name=what,value=how much,pv=m-PV,op=m-OP,sp=m-SP")
    assert_is_the_record(record, "A7")
    assert "signals such as m-PV" not in read_error(tmp_path, text, "time=when,loop=unit,name=what,value=#9")
    assert "no column '#9' for value" in read_error(tmp_path, text, "time=when,loop=unit,name=what,value=#9")


WIDE = {
    "a German spreadsheet": "Datum;Uhrzeit;Istwert;Sollwert;Stellgröße\n" + commas(
        rows("10:01:2025;10:00:{s};{pv};{sp};{op}")).replace("10:01:2025", "10.01.2025"),
    "a French spreadsheet": "Horodatage;Mesure;Consigne;Sortie\n" + commas(rows("10/01/2025 10:00:{s};{pv};{sp};{op}")),
    "units below": "Time\tPV\tSP\tOP\n\tt/h\tt/h\t%\n" + rows("2025-01-10 10:00:{s}\t{pv}\t{sp}\t{op}"),
    "types below": "time,PV,SP,OP\nDateTime,double,double,float\n" + rows("2025-01-10T10:00:{s}Z,{pv},{sp},{op}"),
    "units and types below": "time,PV,SP,OP\n-,t/h,t/h,%\nDateTime,real,real,real\n" + rows("{t},{pv},{sp},{op}"),
    "tags above": "Export,,,\n,FIC101,,\nTime,PV,SP,OP\n" + rows("{t},{pv},{sp},{op}"),
    "signals below": "Time,FIC101,FIC101,FIC101\n,PV,SP,OP\n" + rows("{t},{pv},{sp},{op}"),
    "units in names": '"Time, s","PV, t/h","SP, t/h","OP, %"\n' + rows("{k},{pv},{sp},{op}"),
    "units behind values": "Time,PV,SP,OP\n" + rows("2025-01-10 10:00:{s},{pv} °C,{sp} °C,{op} %"),
    "blanks": " Time    PV     SP    OP\n" + rows("  {k}.0   {pv}   {sp}  {op}"),
    "blanks and a date": "Date Time PV SP OP\n" + rows("2025-01-10 10:00:{s} {pv} {sp} {op}"),
    "blanks around a date": "Time PV SP OP\n" + rows("2025-01-10 10:00:{s} {pv} {sp} {op}"),
    "two blanks": "Sample Time           Process Value  Set Point  Output\n" + rows(
        "2025-01-10 10:00:{s}   {pv}   {sp}   {op}"),
    "a preamble": "\n".join(f"setting {k}: {k}, {2 * k}" for k in range(300)) + "\nTime\tPV\tSP\tOP\n" + rows(
        "{k}\t{pv}\t{sp}\t{op}"),
    "a date in the preamble": "Date,10.01.2025\nOperator,A. B.\n\nTime,PV,SP,OP\n" + rows("10:00:{s},{pv},{sp},{op}"),
    "LabVIEW": "LabVIEW Measurement\nSeparator\tTab\nDate\t2025/01/10\n***End_of_Header***\n\n"
               "X_Value\tPV\tSP\tOP\tComment\n" + rows("{k}.000000\t{pv}\t{sp}\t{op}"),
    "MATLAB": "% logged by a rig\n%t,y,r,u\n" + rows("{k},{pv},{sp},{op}"),
    "Ignition": '"#NAMES"\n"t_stamp","FIC101/PV","FIC101/SP","FIC101/OP"\n"#TYPES"\n"date","D","D","D"\n"#ROWS","4"\n'
                + rows('"2025-01-10 10:00:{s}","{pv}","{sp}","{op}"'),
    "a panel": 'Time,"PV {loop_id: FIC101, Mode: AUT}","SP {loop_id: FIC101, Mode: AUT}",'
               '"OP {loop_id: FIC101, Mode: AUT}"\n' + rows("{ms},{pv},{sp},{op}"),
    "Prometheus": '"time","PV{loop=""FIC101""}","SP{loop=""FIC101""}","OP{loop=""FIC101""}"\n' + rows(
        "{t},{pv},{sp},{op}"),
    "PCS 7": "Time;FIC101.PV_In#Value;FIC101.SP#Value;FIC101.MV#Value\n" + commas(
        rows("10/01/2025 10:00:{s};{pv};{sp};{op}")),
    "milliseconds": "time_ms,PV,SP,OP\n" + rows("{ms},{pv},{sp},{op}"),
    "milliseconds in brackets": "Elapsed [ms],PV,SP,OP\n" + rows("{ms},{pv},{sp},{op}"),
    "AM and PM": "Time,PV,SP,OP\n" + rows("1/10/2025 10:00:{s} AM,{pv},{sp},{op}"),
    "durations": "Time,PV,SP,OP\n" + rows("00:00:{s}.000,{pv},{sp},{op}"),
    "an index without a name": ",PV,SP,OP\n" + rows("{k}.0,{pv},{sp},{op}"),
    "only the temperature unnamed": "Time,Temperature (°C),Setpoint,Output (%)\n" + rows("{t},{pv},{sp},{op}"),
    "LabVIEW with a second head": "LabVIEW Measurement\t\nDate\t2025/01/10\n***End_of_Header***\t\nChannels\t3\t\t\t\n"
                                  "Samples\t4\t4\t4\t\nDate\t2025/01/10\t2025/01/10\t2025/01/10\t\n"
                                  "X0\t0.0\t0.0\t0.0\t\nDelta_X\t1.0\t1.0\t1.0\t\n***End_of_Header***\t\t\t\t\n"
                                  "X_Value\tPV\tSP\tOP\tComment\n" + rows("{k}.000000\t{pv}\t{sp}\t{op}"),
    "a Finnish clock": "Aika;PV;SP;OP\n" + commas(rows("10#01#2025 10#00#{s};{pv};{sp};{op}")).replace("#", "."),
    "a Chinese date": "\u65f6\u95f4,PV,SP,OP\n" + rows("2025\u5e7401\u670810\u65e5 10:00:{s},{pv},{sp},{op}"),
    "a Hungarian date": "Time;PV;SP;OP\n" + rows("2025. 1. 10. 10:00:{s};{pv};{sp};{op}"),
    "the month in a word": "Time;PV;SP;OP\n" + rows("10. Januar 2025 10:00:{s};{pv};{sp};{op}"),
    "a date of C between commas": "Time,PV,SP,OP\n" + rows("Fri Jan 10 10:00:{s} 2025,{pv},{sp},{op}"),
    "durations with days": "Time,PV,SP,OP\n" + rows("0 days 00:00:{s},{pv},{sp},{op}"),
    "a column for each part of the time": "Year,Month,Day,Hour,Minute,Second,PV,SP,OP\n" + rows(
        "2025,1,10,10,0,{k},{pv},{sp},{op}"),
    "a timetable": "Time,Setpoint,ProcessVariable,ControllerOutput\n" + rows("{k} sec,{sp},{pv},{op}"),
    "a controller's terms": "millis,setpoint,temperature,output_pct,p_term,i_term\n" + rows("{ms},{sp},{pv},{op},1,2"),
    "a status behind values": "Time,PV,SP,OP\n" + rows("{t},{pv} Good,{sp} (G),{op} [ok]"),
    "tags before signals": "Time,FIC101PV,FIC101SP,FIC101OP\n" + rows("{t},{pv},{sp},{op}"),
    "I/A Series": "Time,FIC101.MEAS,FIC101.SPT,FIC101.OUT\n" + rows("{t},{pv},{sp},{op}"),
    "descriptions with commas": '"Zeit";"FIC101, Istwert, t/h";"FIC101, Sollwert, t/h";"FIC101, Stellgröße, %"\n'
                                + commas(rows("{t};{pv};{sp};{op}")),
    "year, day of the year and hour": "Year,DOY,Hour,Minute,Second,PV,SP,OP\n" + rows(
        "2025,10,10,0,{k},{pv},{sp},{op}"),
    "a date and its clock time under any names": "Gün;Saat;PV;SP;OP\n" + commas(
        rows("10#01#2025;10:00:{s};{pv};{sp};{op}")).replace("#", "."),
    "a recorder": "Device,DX1\nCh.,,CH1,CH2,CH3\nTag,,FIC101.PV,FIC101.SP,FIC101.OP\nUnit,,t/h,t/h,%\n" + rows(
        "2025/01/10,10:00:{s},{pv},{sp},{op}"),
    "IP.21": "TS,FIC101.PV.IP_TREND_VALUE,FIC101.SP.IP_TREND_VALUE,FIC101.OP.IP_TREND_VALUE\n" + rows(
        "10-JAN-25 10:00:{s}.0,{pv},{sp},{op}"),
    "800xA": "Timestamp;FIC101:PV,VALUE;FIC101:SP,VALUE;FIC101:Out,VALUE\n" + commas(
        rows("10/01/2025 10:00:{s};{pv};{sp};{op}")),
    "averages": '"TOA5","Station"\n"TIMESTAMP","RECORD","PV_Avg","SP_Avg","OP_Avg"\n"TS","RN","t/h","t/h","%"\n'
                '"","","Avg","Avg","Avg"\n' + rows('"2025-01-10 10:00:{s}",{k},{pv},{sp},{op}'),
    "Studio 5000": '"Controller Name:","PLC1"\n"Trend Tags:",3\n"Header:","Date","Time","PV","SP","OP"\n' + rows(
        '"Data","01/10/2025","10:00:{s};125",{pv},{sp},{op}'),
    "InTouch": "$Date,$Time,FIC101_PV,FIC101_SP,FIC101_OP\n" + rows("01/10/2025,10:00:{s},{pv},{sp},{op}"),
    "an indicator": "Time,FI-101,FV-101,FIC101.SP\n" + rows("{t},{pv},{op},{sp}"),
    "line protocol": rows("control_loops,loop_id=FIC101 PV={pv},OP={op},SP={sp},mode=\"AUT\" {t}000000000"),
    "XML": rows('<row time="2025-01-10T10:00:{s}Z" pv="{pv}" op="{op}" sp="{sp}"/>'),
    "a report of fixed width": "Report FIC101\n\nDATE       TIME      PV(T/H)  SP(T/H)  OP(%)\n" + rows(
        "10-JAN-2025 10:00:{s}     {pv}     {sp}   {op}"),
    "descriptions behind": "Time,FIC101.PV - Feed,[FIC101.SP] (wanted),Valve [%] (FIC101.OP)\n" + rows(
        "{t},{pv},{sp},{op}"),
    "the tag itself": "Time,FIC101,FIC101.SP,FIC101.OP\n" + rows("{t},{pv},{sp},{op}"),
    "rows with numbers": '"Time","PV","SP","OP"\n' + rows('"{k}",{t},{pv},{sp},{op}'),
    "a log": rows("2025-01-10 10:00:{s},000 INFO pid - pv={pv} op={op} sp={sp}"),
    "a weekday": "Zeit;PV;SP;OP\n" + commas(rows("Fr 10#01#2025 10:00:{s};{pv};{sp};{op}")).replace("#", "."),
    "digits of full width": "Time,PV,SP,OP\n" + rows("{t},{pv},{sp},{op}").translate({ord("."): "．", ord("4"): "４"}),
    "a comment header of blanks": "# time pv sp op\n" + rows("{k}.0 {pv} {sp} {op}"),
    "the number of rows below": "Time        PV  SP  OP\n" + rows("2025-01-10 10:00:{s}  {pv}  {sp}  {op}")
                                + "4 rows selected.\n",
    "a comment header": "# time,PV,SP,OP\n" + rows("{t},{pv},{sp},{op}"),
}


@pytest.mark.parametrize("export", WIDE)
def test_wide_exports_are_read_as_they_come(tmp_path, export):
    if export == "a panel":  # times in ms since 1970
        text = WIDE[export].replace("AUT}\"\n0,", f"AUT}}\"\n{T0}000,").replace("\n1000,", f"\n{T0 + 1}000,").replace(
            "\n2000,", f"\n{T0 + 2}000,").replace("\n3000,", f"\n{T0 + 3}000,")
    else:
        text = WIDE[export]
    assert_is_the_record(read(tmp_path, text))


@pytest.mark.parametrize("text", ["1049.5", "1'049.5", "1\u2019049,5", "1\u00a0049,5", "1\u202f049.5", "1 049,5",
                                  "1049.5 OK"])
def test_numbers_are_read_with_what_separates_thousands_in_any_country(tmp_path, text):
    record = read(tmp_path, f"time;PV;OP\n{T0};{text};40\n{T0 + 1};\u2212{text};40\n{T0 + 2};{text[:4]} Bad;40\n")
    assert record.pv[:2, 0].tolist() == [1049.5, -1049.5]
    assert np.isnan(record.pv[2, 0])


def test_an_sp_or_mode_that_is_logged_when_it_changes_holds_until_then(tmp_path):
    cells = [("50", "AUT"), ("", ""), ("51", "MAN"), ("", "")]
    rows_of_cells = [f"{T0 + k},{PV[k]},{OP[k]},{sp},{mode}\n" for k, (sp, mode) in enumerate(cells)]
    record = read(tmp_path, "time,PV,OP,SP,Mode\n" + "".join(rows_of_cells))
    assert record.sp[:, 0].tolist() == [50, 50, 51, 51]
    assert record.mode[:, 0].tolist() == [AUT, AUT, MAN, MAN]


def test_signals_with_rows_of_their_own_hold_between_them(tmp_path):
    text = "time,PV,OP\n" + "".join(f"{T0 + 2 * k},{k},\n{T0 + 2 * k + 1},,{2 * k}\n" for k in range(30))
    record = read(tmp_path, text)
    assert record.pv[2:6, 0].tolist() == [1, 1, 2, 2]
    assert record.op[2:6, 0].tolist() == [0, 2, 2, 4]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings_are_detected(tmp_path, encoding):
    text = "Time;Größe;PV;SP;OP\n" + commas(rows("10/01/2025 10:00:{s};x;{pv};{sp};{op}"))
    assert_is_the_record(read(tmp_path, text.encode(encoding)))


@pytest.mark.parametrize("columns", ["time=#1,pv=#2,op=#4,sp=#3", "pv=Fluid, t/h,op=Valve, %,sp=Wish, t/h,time=Nr, a",
                                     'pv="Fluid, t/h", op = "Valve, %",sp=#3,time=#1'])
def test_columns_are_named_by_number_or_with_commas(tmp_path, columns):
    text = '"Nr, a","Fluid, t/h","Wish, t/h","Valve, %"\n' + rows("{t},{pv},{sp},{op}")
    record = read(tmp_path, text, columns)
    assert_is_the_record(record)
    assert record.op_units == ("%",)


def test_a_file_without_a_header_is_read_by_numbers_of_columns(tmp_path):
    text = rows("{k},{pv},{sp},{op}")
    assert_is_the_record(read(tmp_path, text, "time=#1,pv=#2,sp=#3,op=#4"))
    error = read_error(tmp_path, text, "pv=#2")
    assert "no time column; the file has no header line; name columns by number, such as time=#1,pv=#2,op=#3" in error


def test_without_a_time_column_the_interval_is_given(tmp_path):
    text = "PV,SP,OP\n" + rows("{pv},{sp},{op}")
    record = read(tmp_path, text, interval=SECOND)
    assert_is_the_record(record)
    assert "there is no time column: rows are 1 s apart" in record.assumptions
    error = read_error(tmp_path, text)
    assert "no time column; the header (line 1) is PV, SP, OP: name it with --columns time=NAME or time=#1, or give " \
           "the time between rows with --interval" in error
    loops = read(tmp_path, "loop_id,PV\n" + "A,1\nB,2\n" * 3, interval=60 * SECOND)
    assert loops.times.tolist() == [0, 60 * SECOND, 120 * SECOND]
    assert loops.pv.tolist() == [[1, 2]] * 3


@pytest.mark.parametrize(("text", "message"), [
    ("time,PV,OP\nnoon,1,2\nnight,1,2\n", "no row has a readable timestamp, such as 'noon'; "),
    ("time,PV,OP\nnoon,1,2\nnight,1,2\n", "the header (line 1) is time, PV, OP"),
    ("\n\ntime,PV,OP\n1,Bad,2\n2,Bad,2\n", "no row has a number for PV, but values such as 'Bad'"),
    ("\n\ntime,PV,OP\n1,Bad,2\n2,Bad,2\n", "the header (line 3) is time, PV, OP"),
    ("time,tag,value\n1,FT_1,2\n2,FT_1,2\n", "no row has a number for PV, but signals such as FT_1"),
    ("time,a,b\n1,2,3\n2,3,4\n", "the header (line 1) is time, a, b"),
])
def test_a_refusal_quotes_the_cell_and_the_header(tmp_path, text, message):
    assert message in read_error(tmp_path, text)


FLUX = """\
#group,false,false,true,true,false,false,true,true,true,true
#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,double,string,string,string,string
#default,mean,,,,,,,,,
,result,table,_start,_stop,_time,_value,_field,_measurement,host,line
"""


def flux(line: str, host: str = "h1", tail: str = "") -> str:
    range_ = "2025-01-10T00:00:00Z,2025-01-11T00:00:00Z"
    return "".join(f",,0,{range_},2025-01-10T10:00:0{k}Z,{value},{name},m,{host},{line}{tail}\n" for k in range(4)
                   for name, value in (("PV", PV[k]), ("OP", OP[k]), ("SP", SP[k])))


def test_series_of_a_flux_answer_that_differ_in_a_tag_are_several_loops(tmp_path):
    record = read(tmp_path, FLUX + flux("north") + flux("south").replace("50.0", "70.0"))
    assert record.loops == ("north", "south")
    assert record.sp.T.tolist() == [SP, [70.0, 70.0, 70.0, 51.0]]
    assert "series that differ in line are several loops: north, south" in record.assumptions


def test_a_tag_that_keeps_no_series_apart_names_no_loop(tmp_path):
    assert_is_the_record(read(tmp_path, FLUX + flux("north")))


def test_series_of_one_loop_id_may_differ_in_a_tag_too(tmp_path):
    text = FLUX.replace("line", "line,loop_id") + flux("a", tail=",X1") + flux("b", tail=",X1") + flux("c", tail=",X2")
    assert read(tmp_path, text).loops == ("X1.a", "X1.b", "X2")


def test_modes_are_read_as_systems_write_them(tmp_path):
    text = "time,PV,OP,Mode\n" + "".join(f"{k},1,2,{mode}\n" for k, mode in enumerate(
        ["Auto", "MANUAL", "RCas", "O/S", "Hand", "Automatik", "BCAS"]))
    assert read(tmp_path, text).mode[:, 0].tolist() == [AUT, MAN, CAS, MAN, MAN, AUT, CAS]


@pytest.mark.parametrize(("good", "bad"), [
    ("192", "0"), ("0", "1"), ("1", "0"), ("0", "2150891520"), ("{ok}", "{fault}"), ("Good_NonCascade", "Bad NoComm"),
    ("100", "0")])
def test_a_quality_is_good_by_what_other_rows_have(tmp_path, good, bad):
    text = "time,PV,OP,Quality\n" + "".join(f"{k},{k},2,{bad if k == 3 else good}\n" for k in range(6))
    assert np.flatnonzero(np.isnan(read(tmp_path, text).pv[:, 0])).tolist() == [3]


def test_a_quality_with_raised_digits_is_not_a_code(tmp_path):
    text = "Time,PV,SP,OP,Quality\n" + rows("{t},{pv},{sp},{op},0") + "1736503210,50,50,40,1\u00b9\n"
    assert read(tmp_path, text).pv.shape == (5, 1)


def test_texts_among_the_values_are_missing_values(tmp_path):
    texts = ["Bad", "I/O Timeout", "Pt Created", "unavailable", "No Data", "[-11059] No Good Data", "null", "nan"]
    record = read(tmp_path, "time,PV,OP\n" + "".join(f"{k},{text},50\n{k}.5,{k},50\n" for k, text in enumerate(texts)))
    assert np.isnan(record.pv[::2]).all()
    assert record.pv[1::2, 0].tolist() == list(range(len(texts)))


@pytest.mark.parametrize(("name", "parts"), [
    ("OP (mA)", ("OP", "mA")), ("OP [4-20 mA]", ("OP", "4-20 mA")), ("OP, %", ("OP", "%")), ("OP %", ("OP", "%")),
    ("OP%", ("OP", "%")), ("time_ms", ("time", "ms")), ("# time", ("time", "")), ("FIC101_PV", ("FIC101_PV", "")),
    ("Set Point", ("Set Point", "")), ("FV_211", ("FV_211", "")),
])
def test_a_unit_is_split_from_a_name(name, parts):
    assert split_unit(name) == parts


@pytest.mark.parametrize(("name", "tag", "role"), [
    ("FIC101.PV", "FIC101", "pv"), ("A/B/FIC101/OUT.CV", "A/B/FIC101", "op"), ("FC1:Setpoint", "FC1", "sp"),
    ("U1.FIC101.PIDA.MODE", "U1.FIC101.PIDA", "mode"), ("PV_101", "101", "pv"),
    ("sensor.fic101_op", "sensor.fic101", "op"),
    ("FIC 101 Set Point (t/h)", "FIC 101", "sp"), ("PV {loop: A, Mode: AUT}", "A", "pv"),
    ("loops.PV {loop=\"A\"}", "A", "pv"), ("Output", None, "op"), ("FT_101", None, None), ("SPARE", None, None),
    ("COMPOP", None, None), ("", None, None),
])
def test_a_name_has_a_tag_and_a_signal(name, tag, role):
    assert split_field(name, Columns()) == (tag, role)


@given(st.text(max_size=30))
def test_any_name_is_split(name):
    tag, role = split_field(name, Columns())
    assert role in (None, "pv", "op", "sp", "mode")
    assert tag is None or role is not None


@given(st.lists(st.tuples(st.sampled_from(["pv", "op", "sp", "time", "loop", "name", "value", "mode", "quality"]),
                          st.text("abc %_#.,0()", min_size=1).filter(lambda text: text.strip(" ,"))),
                unique_by=lambda pair: pair[0], min_size=1))
def test_names_of_columns_may_have_commas(pairs):
    text = ",".join(f"{role}={name.strip(' ,')}" for role, name in pairs)
    columns = parse_columns(text)
    assert {role: getattr(columns, role) for role, _ in pairs} == {role: name.strip(" ,") for role, name in pairs}
