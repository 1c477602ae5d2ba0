"""The names that plants give to columns and signals: what a name means, of which tag, and in which unit."""

from __future__ import annotations

import re
from collections.abc import Sequence

from clpm_execd.records.cells.time_forms import CELL_MARKS

_MARKS = re.compile(r"[\s_\-./]+")


def _without_marks(name: str) -> str:
    """Return a name in lower case without the spaces and marks in it, with ss for the German sharp s."""
    return _MARKS.sub("", name.casefold())


SIGNAL_ROLES = ("pv", "op", "sp", "mode")

# Names by role, in lower case, the best first: of historians, DCS, PLC blocks and loggers, in several languages. They
# count without the spaces and marks in them: ProcessVariable is process_variable.
NAMES = {
    "time": ("time", "timestamp", "datetime", "ts", "t_stamp", "timestring", "last_changed", "last_updated",
             "ip_trend_time", "sourcetimestamp", "sampletime", "logtime", "utc", "utc time", "local time", "zeit",
             "zeitstempel", "zeitpunkt", "datum uhrzeit", "horodatage", "temps", "date heure", "fecha hora",
             "fecha y hora", "tiempo", "marca de tiempo", "data/ora", "data e ora", "tempo", "data hora", "tijd",
             "x_value", "elapsed", "elapsed time", "seconds", "millis", "micros", "event time", "tid", "aika", "czas",
             "čas", "время", "tarih", "zaman", "时间", "時間", "日時", "시간", "t", "clock", "采样时间", "采集时间",
             "日期时间", "時刻", "epoch", "timestamps", "unixtime"),
    "loop": ("loopid", "loop", "tag", "tagname", "point", "point name", "位号", "回路", "タグ名"),
    "name": ("varname", "series", "entity_id", "tagpath", "topic", "metric", "signal", "variable", "variable name",
             "item", "itemid", "nodeid", "field", "name", "point_name", "channel", "sensor", "parameter", "attribute",
             "metric_name", "webid", "path"),
    "pv": ("pv", "process variable", "process value", "pv in", "pv out", "scaledinput", "measurement", "measured value",
           "istwert", "isttemperatur", "ist", "mesure", "medida", "valor de proceso", "valore misurato", "actual value",
           "meas", "prozesswert", "regelgröße", "regelgroesse", "messwert", "valeur mesurée", "variable de proceso",
           "valor actual", "variável de processo", "valor de processo", "valore di processo", "meetwaarde",
           "proceswaarde", "wartość procesowa", "текущее значение", "测量值", "过程值", "实际值", "測定値", "現在値",
           "측정값", "현재값", "ärvärde", "wartość mierzona", "ölçülen değer", "vp"),
    "op": ("op", "mv", "co", "out", "output", "controller output", "manipulated variable", "control signal",
           "control output", "lmn", "cv", "stellwert", "stellgröße", "stellgroesse", "stellgrad", "stellsignal",
           "sortie", "salida", "uscita", "saída", "cveu", "cvout", "activeout", "working output", "wop", "commande",
           "señal de control", "saída de controle", "uitgang", "wyjście", "выход", "输出值", "输出", "控制输出",
           "操作量", "操作出力", "출력", "조작량", "utsignal", "styrsignal", "çıkış", "阀位输出", "阀位", "vm"),
    "sp": ("sp", "sv", "set point", "sp int", "spt", "sollwert", "soll", "solltemperatur", "consigne", "consigna",
           "reference", "target", "working sp", "wsp", "targetsp", "führungsgröße", "fuehrungsgroesse",
           "punto de ajuste", "valor desejado", "wartość zadana", "задание", "уставка", "设定值", "给定值", "設定値",
           "目標値", "설정값", "목표값", "börvärde", "valore impostato", "nastawa", "ayar değeri"),
    "mode": ("mode", "md", "controller mode", "control mode", "betriebsart", "modo", "mode.actual", "режим", "模式",
             "控制方式", "モード"),
    "quality": ("opc_quality", "quality", "status", "confidence", "percent good", "good", "data_quality", "validity",
                "qualität", "quality code", "dataintegrity", "statuscode", "qualité", "calidad", "qualidade", "质量",
                "品質"),
    "unit": ("unit", "units", "unit_of_measurement", "einheit", "unité", "unidad", "unidade", "eu", "uom", "engunits",
             "单位"),
    "value": ("value", "val", "varvalue", "state", "wert", "ip_trend_value", "floatvalue", "numericvalue",
              "doublevalue", "valueasreal", "values", "payload", "valeur", "valor", "valore", "value (num)", "值",
              "数值", "値", "значение", "avg", "average", "mean"),
}
DATE_NAMES = ("date", "datum", "fecha", "data", "day", "日期", "日付", "날짜", "дата")
CLOCK_NAMES = ("time", "clock", "uhrzeit", "zeit", "heure", "hora", "ora", "tijd", "tid", "время", "时间", "時刻",
               "時間", "시간")
# A column for each part of the time, and how they are put together.
CALENDAR_FORMS = {"year": "{}", "month": "-{:0>2}", "day": "-{:0>2}", "doy": "-{:0>3}", "hour": " {:0>2}",
                  "minute": ":{:0>2}", "second": ":{:0>2}", "hhmm": " {:0>4}"}
_CALENDAR_SYNONYMS = {"min": "minute", "sec": "second", "mon": "month", "hr": "hour", "dayofyear": "doy",
                      "julianday": "doy", "jday": "doy", "yday": "doy"}
_SHORT_NAMES = {"y": "pv", "u": "op", "r": "sp"}  # of the textbook's block diagram, where a file has all it needs
MEASURED_QUANTITIES = (  # PV, where a file names OP and SP only
    "temperature", "temp", "pressure", "level", "flow", "speed", "rpm", "position", "input", "actual", "feedback",
    "measured", "sensor", "reading", "ph")
_WRITTEN_NAMES = NAMES
FOREIGN_NAMES = frozenset(
    name for names in NAMES.values() for name in names if len(name) > 1 and not name.isascii())
NAMES = {role: tuple(dict.fromkeys(map(_without_marks, names))) for role, names in NAMES.items()}
ROLE_OF_NAME = {name: role for role in SIGNAL_ROLES for name in NAMES[role]}

# Units of time, in ns.
TIME_UNITS_NS = {name: unit for unit, names in (
    (1, "ns"), (10**3, "us µs micros"), (10**6, "ms msec millis milliseconds"), (10**9, "s sec secs second seconds"),
    (60 * 10**9, "min mins minute minutes"), (3600 * 10**9, "h hr hrs hour hours"), (86_400 * 10**9, "d days"),
) for name in names.split()}
ENGINEERING_UNITS = {
    *TIME_UNITS_NS, "%", "pct", "percent", "prozent", "v", "mv", "volt", "volts", "vdc", "ma", "a", "°c", "°f",
    "c", "f", "k", "degc", "degf", "deg c", "deg f", "celsius", "bar", "barg", "bara", "mbar", "psi", "psig",
    "psia", "kpa", "mpa", "pa", "hpa", "atm", "kg/h", "kg/s", "t/h", "m3/h", "m³/h", "nm3/h", "l/min", "l/h",
    "l/s", "gpm", "m3/s", "lb/h", "m", "mm", "cm", "in", "ft", "rpm", "1/min", "hz", "kw", "mw", "w", "ph", "ppm",
    "mol/l", "counts", "raw", "eu", "degree", "degrees", "°", "fraction", "n/a", "-", "none", "pu", "p.u.",
}
# Below a header: the types of columns, as databases and converters write them.
TYPES = {
    "double", "float", "real", "string", "long", "int", "integer", "datetime", "date", "bool", "boolean", "number",
    "numeric", "text", "float64", "float32", "int64", "single", "datetime64[ns]", "object", "time", "i", "d", "str",
}
_TAIL_UNITS = {*TIME_UNITS_NS, "pct", "percent", "degc", "degf", "ma", "volts", "bar", "psi", "kpa", "gpm"} - {"d", "h"}

_BRACKETS = re.compile(r"(.*?)\s*[(\[]([^()\[\]]*)[)\]]", re.DOTALL)
_TAIL = re.compile(r"(.+?)(,\s*|\s+|_|/|(?=%$))(\S+)", re.DOTALL)
_TYPE = re.compile(r":(?:time|float|string|u?int|long|bool|double)$")  # of a table of influx
_FUNCTION = re.compile(r"(?:avg|average|mean|last|min|max|first)\((.+)\)", re.IGNORECASE | re.DOTALL)  # of a query
# Behind a signal: its value, as a block, a data point, an aggregate or a query calls it.
_MEMBER = re.compile(
    r"(.+?)(?:[./]cv|[./:,_ #-]+"
    r"(?:f_cv|valuey?|val|wert|actual|(?:present|ip_(?:trend_|input_)?)value|raw|avg|mean|last))",
    re.IGNORECASE | re.DOTALL)
_LABELS = re.compile(r"(?P<base>[^{]*)\{(?P<labels>.*)\}", re.DOTALL)
_LABEL = re.compile(r"([\w.]+)\s*[:=]+\s*\"?([^\",}]*)\"?")
# In a tag's name a signal stands last, behind one of these; `ist` and `reference` are too common to be one there.
_SEPARATOR = r"[./:_ |,;\\-]"
_IN_TAGS = {name.casefold() for role in SIGNAL_ROLES for name in _WRITTEN_NAMES[role]}
_IN_TAGS -= {"ist", "soll", "reference", "target"}
_SIGNALS = "|".join(f"{_MARKS.pattern[:-1]}*".join(map(re.escape, name.split()))
                    for name in sorted(_IN_TAGS, key=lambda name: (-len(name), name)))
_TAG_AND_SIGNAL = re.compile(  # East Asian writing has no mark between them
    rf"(.*?[^./:_ |,;\\-])(?:{_SEPARATOR}+|(?<=[\u3040-\ud7a3]))({_SIGNALS})", re.IGNORECASE | re.DOTALL)
_SIGNAL_AND_TAG = re.compile(rf"(pv|op|mv|co|out|sp|sv|mode|md){_SEPARATOR}+(\S*\d\S*)", re.IGNORECASE)
_TAG_BEFORE_SIGNAL = re.compile(r"([A-Z]{1,5}[-_]?\d+[A-Z]?)(PV|OP|SP|MV|SV|OUT|CO)", re.ASCII | re.IGNORECASE)
_PARTS = re.compile(r"\s+-\s+|[()\[\]]+")
_QUALITY = re.compile(rf"(.+?){_SEPARATOR}*(?:{'|'.join(NAMES['quality'])})", re.IGNORECASE | re.DOTALL)
_LAST_PART = re.compile(rf"{_SEPARATOR}+[^./:_ |,;\\-]+$")
# A date in a file's name, alone or as a range, and what counts copies: FIC-211_20241121~27, FIC101_2025-01-10 (2).
_DATE = r"(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])(?:[T_ -]?\d{4,6}Z?)?"
_DATED_TAIL = re.compile(rf"[-_. ~]*\(?(?:{_DATE})(?:[-_. ~]+(?:to)?[-_. ]*(?:{_DATE}|\d{{1,4}}))*\)?(?:\s*\(\d+\))?$")
_DATED_HEAD = re.compile(rf"^{_DATE}[-_. ~]+(?=\S)")
# ISA-5.1: the first letters are the measured variable, T is a transmitter, I an indicator and V a valve: FT_211,
# FI-211, LV-106.
TRANSMITTER = re.compile(r"(?:(?:[AFLPSTWD]|[FPT]D|FF)I?T|[FLPT]I)[-_ .]?\d\w*", re.ASCII)
VALVE = re.compile(r"(?:[AFLPSTWD]|[FPT]D|FF)C?V[-_ .]?\d\w*", re.ASCII)


def split_unit(name: str) -> tuple[str, str]:
    """Return a column's name without its unit, and the unit: `OP (mA)`, `OP [mA]`, `OP, mA`, `OP mA`, `time_ms`."""
    text = _TYPE.sub("", name.strip(CELL_MARKS)).lstrip("#$%@ ").strip()
    if match := _BRACKETS.fullmatch(text):
        return match[1], match[2].strip()
    match = _TAIL.fullmatch(text)
    if match is not None:
        units = _TAIL_UNITS if match[2] in "_/" and match[2] else ENGINEERING_UNITS
        if match[3].casefold() in units and (match[2].strip() or match[3].casefold() in _TAIL_UNITS | {"%"}):
            return match[1], match[3]
    return text, ""


def normalise_name(name: str) -> str:
    """Return a column's name in lower case, without spaces or `#` before it and a unit after it."""
    return split_unit(name)[0].casefold()


def simplify_name(name: str) -> str:
    """Return a column's name as `NAMES` has it."""
    return _without_marks(normalise_name(name))


def find_role(header: Sequence[str], role: str) -> int | None:
    """Return the column with the best of the names of a role; None where there is none."""
    names = [simplify_name(name) for name in header]
    return next((names.index(name) for name in NAMES[role] if name in names), None)


def find_short_names(header: Sequence[str]) -> dict[str, int]:
    """Return the columns of y, u and r by their roles, where a header has y and u."""
    names = [normalise_name(name) for name in header]
    if not {"y", "u"} <= set(names):
        return {}
    return {role: names.index(name) for name, role in _SHORT_NAMES.items() if name in names}


def find_time_columns(header: Sequence[str]) -> tuple[int, ...]:
    """Return the column of the time, or those that make one together; nothing where no name is one of a time.

    Together are a date and a clock time; or the year, month and day or the day of the year, and a clock time or its
    parts.
    """
    names = [_calendar_name(text) for text in header]
    time = find_role(header, "time")
    for parts in (["year", "month", "day"], ["year", "doy"]):
        if set(parts) <= set(names) and (time is None or names[time] in CLOCK_NAMES):
            parts += [name for name in ("hour", "minute", "second") if name in names] or \
                [name for name in ("hhmm", *CLOCK_NAMES) if name in names][:1]
            return tuple(map(names.index, parts))
    day = next((names.index(name) for name in DATE_NAMES if name in names), None)
    clock = next((names.index(name) for name in CLOCK_NAMES if name in names), None)
    if day is not None and clock is not None and names[day] != "day":
        return day, clock
    if time is None and day is not None and names[day] in ("date", "datum", "fecha"):
        time = day
    return () if time is None else (time,)


def _calendar_name(name: str) -> str:
    name = simplify_name(name)
    return _CALENDAR_SYNONYMS.get(name, name)


def find_time_form(header: Sequence[str], time: Sequence[int]) -> str:
    """Return how the cells of time columns are put together, for `str.format`."""
    return "".join(CALENDAR_FORMS.get(_calendar_name(header[index]), " {}") for index in time).strip()


def split_signal(name: str) -> tuple[str | None, str | None]:
    """Return the tag and the role that a name such as `FIC101.PV` has; None for each that it does not have."""
    name = name.strip()
    if simplify_name(name) in NAMES["unit"]:
        return None, None
    if match := _FUNCTION.fullmatch(name):
        name = match[1]
    role = ROLE_OF_NAME.get(simplify_name(name))
    if role is not None:
        return None, role
    if match := _LABELS.fullmatch(name):
        return _split_labels(match["base"], match["labels"])
    base = split_unit(name)[0].replace("ß", "ss")
    if match := _MEMBER.fullmatch(base):
        tag, role = split_signal(match[1])
        if role is not None:
            return tag, role
    if match := _TAG_AND_SIGNAL.fullmatch(base) or _TAG_BEFORE_SIGNAL.fullmatch(base):
        return match[1], ROLE_OF_NAME[_without_marks(match[2])]
    if match := _SIGNAL_AND_TAG.fullmatch(base):
        return match[2], ROLE_OF_NAME[match[1].casefold()]
    # One part of a name with a description: FIC101.PV - Feed, Temperature [°C] (PV), [FIC101.PV].
    parts = [split_signal(part) for part in _PARTS.split(name) if part.strip() and part.strip() != name]
    signals = [part for part in parts if part[1]]
    return signals[0] if len({role for _, role in signals}) == 1 else (None, None)


def split_quality(name: str) -> tuple[str | None, str | None]:
    """Return the tag and the role of the signal whose quality a column is, such as `PV Status`; None for others."""
    match = _QUALITY.fullmatch(split_unit(name)[0])
    return (None, None) if match is None else split_signal(match[1])


def split_last_part(tag: str) -> str:
    """Return a tag without its last part, `FIC101` of `FIC101.Out`; empty where it has one part."""
    return _LAST_PART.sub("", tag) if _LAST_PART.search(tag) else ""


def strip_date(name: str) -> str:
    """Return a file's name without the date at its end or start; the name itself where nothing else is in it."""
    return _DATED_HEAD.sub("", _DATED_TAIL.sub("", name)).strip() or name


def _split_labels(base: str, text: str) -> tuple[str | None, str | None]:
    """Return tag and role of a name with labels, as Grafana and Prometheus write them: PV {loop_id: FIC101}."""
    labels = [(key.casefold(), value.strip()) for key, value in _LABEL.findall(text)]
    tag, role = split_signal(base) if base.strip() else (None, None)
    values = []
    for key, value in labels:
        own_tag, own_role = split_signal(value)
        if role is None and own_role is not None:
            tag, role = own_tag, own_role
        elif ROLE_OF_NAME.get(key) != "mode" and value:
            values.append(value)
    return (".".join(values) or tag), role
