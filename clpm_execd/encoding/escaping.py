"""Names and tag values as line protocol writes them, and which of them it can carry.

A text without a defect (`find_defect`) is read back unchanged by every parser: Telegraf's `influx` and `upstream`,
InfluxDB 1, 2 and 3.
"""

from __future__ import annotations

from collections.abc import Mapping


def escape(text: str) -> str:
    """Return a tag key, tag value or field key as it is written in a line.

    Parameters
    ----------
    text : str
        A text in which `find_defect` finds none.

    Returns
    -------
    str
        The text with a backslash before each comma, equals sign and space.
    """
    return text.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def build_series_key(measurement: str, tags: Mapping[str, str]) -> str:
    """Return the start of a line: the measurement, then the tags sorted by the bytes of their keys.

    Parameters
    ----------
    measurement : str
        Name of the measurement.
    tags : mapping of str to str
        Value of each tag.

    Returns
    -------
    str
        The escaped text up to the space before the fields.
    """
    return escape_measurement(measurement) + format_tags(tags)


def escape_measurement(text: str) -> str:
    """Return a measurement as it is written in a line; an equals sign needs no backslash there."""
    return text.replace(",", "\\,").replace(" ", "\\ ")


def format_tags(tags: Mapping[str, str]) -> str:
    """Return tags as they are written behind a measurement: each with a comma before it, sorted by bytes."""
    pairs = sorted(tags.items(), key=lambda tag: tag[0].encode())
    return "".join(f",{escape(key)}={escape(value)}" for key, value in pairs)


def format_string(text: str) -> str:
    """Return the value of a string field as it is written in a line, in quotes."""
    escaped_text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped_text}"'


def find_defect(text: str) -> str | None:
    """Return why some parser would not read this name or tag value back unchanged; None if every parser does."""
    if not text:
        return "it is empty"
    if text.isprintable() and "\\" not in text:  # nearly all texts; the others are looked through
        return None
    if any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" for c in text):
        return "it holds a control character"
    if any(0xD800 <= ord(c) < 0xE000 for c in text):
        return "it is not valid Unicode"
    if text.endswith("\\") or any(pair in text for pair in ("\\,", "\\=", "\\ ")):
        return "a backslash stands at its end or before a comma, an equals sign or a space"
    return None
