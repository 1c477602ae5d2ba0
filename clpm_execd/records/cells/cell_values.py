"""The cells of a record as numbers, modes and quality marks.

No text raises an error: a text that is not a number becomes NaN and an unknown mode becomes UNKNOWN_MODE, because a
historian writes `Bad` or `I/O Timeout` where it has no value, and one such cell must not cost the record.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import AUT, CAS, GOOD, MAN, Floats
from clpm_execd.records.cells.text_columns import Booleans, TextColumn
from clpm_execd.records.cells.time_forms import CELL_MARKS

UNKNOWN_MODE = -1  # no index into MODES
# Quality flags of OPC Data Access: bits 6 and 7 of the byte are 0 for bad, 1 for
# uncertain and 3 for good, so that 64 is the first uncertain value and GOOD, 192, the first good one.
OPC_UNCERTAIN = 64
OPC_UA_UNCERTAIN = 0x40000000  # OPC UA, part 4: status codes from here on are uncertain, bad ones from twice it on
MAX_BAD_TEXTS = 5  # examples in a message; more would fill the screen

# Modes of Fieldbus, DCS and PLC blocks, and of historians' digital states. With local override, tracking or out of
# service the controller does not move OP, as in MAN.
_MODES = dict.fromkeys(("AUT", "AUTO", "AUTOMATIC", "A", "1", "TRUE", "AUTOMATIK", "AUTOMATIQUE", "AUTOMATICO", "ON",
                        "BAUTO", "P-AUTO", "AUTOMÁTICO", "自动", "自動"), AUT)
_MODES |= dict.fromkeys(("MAN", "MANUAL", "M", "IMAN", "LO", "0", "FALSE", "HAND", "MANUELL", "MANUEL", "MANUALE",
                         "OOS", "O/S", "TRK", "TRACK", "TRACKING", "ROUT", "OFF", "P-MAN", "INITMAN", "手动",
                         "手動"), MAN)
_MODES |= dict.fromkeys(("CAS", "CASCADE", "C", "2", "RCAS", "3", "CASC", "BCAS", "REM", "REMOTE", "RSP", "KASKADE",
                         "EXTERN", "RMT", "REMOTE SETPOINT", "CASCADA", "串级", "カスケード"), CAS)
_MODE_BITS = {"4": CAS, "8": AUT, "16": MAN}  # of MODE_BLK, Foundation Fieldbus; 8 and 16 number no mode elsewhere

# A number as panels show it: 49.8 %, 37.1 °C, 4.2 bar. Letters alone may scale it, so that k and M are no units here.
_UNIT_BEHIND = re.compile(r"(?<=[\d.,])\s*(?:%|°[CFK]?|(?:deg ?[CF]|bar|mbar|psi|kPa|rpm|Hz|mA|V|°|m³/h|m3/h|t/h|kg/h|"
                          r"kg/s|l/min|gpm))$", re.IGNORECASE)
# A value and its status in one cell: 49.8 Good, 49.8 (G), 49.8;Bad.
_STATUS_BEHIND = re.compile(
    r"(?<=[\d.,])\s*[;|/]?\s*[\[(]?(?P<status>good|ok|g|uncertain|questionable|q|u|\?|bad|b)[\])]?$", re.IGNORECASE)
_FORTRAN_EXPONENT = re.compile(r"(?<=[\d.])[dD](?=[+-]\d)")
_NUMBER_CHARACTERS = {ord("\u2212"): "-", ord("'"): "", ord("\u2019"): ""}  # minus, and thousands in Switzerland
# Thousands between one mark, and the decimals behind another.
_GROUPED = re.compile(r"[+-]?\d{1,3}([ .,])\d{3}(?:\1\d{3})*(?P<decimals>(?!\1)[.,]\d*)?", re.ASCII)


@dataclass
class ParseNotes:
    """What was unusual about the numbers of a record.

    bad_texts: texts in the place of numbers, as keys. thousands_example, other_mark_example: a number with thousands
    separators, and one with the other decimal mark; empty where there is none.
    """

    bad_texts: dict[str, None] = field(default_factory=dict)
    thousands_example: str = ""
    other_mark_example: str = ""


def parse_numbers(texts: TextColumn, *, decimal_comma: bool, notes: ParseNotes) -> Floats:
    """Return each text as a finite number or NaN."""
    values, is_text = texts.parse_floats(decimal_comma)
    if is_text.any():
        rows = np.flatnonzero(is_text)
        cells = texts.texts_of(rows)
        number_of = {text: _parse_number(text, decimal_comma, notes) for text in dict.fromkeys(cells)}
        values[rows] = [number_of[text] for text in cells]
    values[~np.isfinite(values)] = nan
    return values


def _parse_number(text: str, decimal_comma: bool, notes: ParseNotes) -> float:
    """Return a number with either decimal mark, with thousands separated by the other, with or without a % sign."""
    # Digits and spaces of any width are the same.
    number = unicodedata.normalize("NFKC", text.strip(CELL_MARKS)).translate(_NUMBER_CHARACTERS)
    if status := _STATUS_BEHIND.search(number):
        number = "" if status["status"][0] in "bB" else number[:status.start()]
    number = _FORTRAN_EXPONENT.sub("e", _UNIT_BEHIND.sub("", number))
    grouped = _GROUPED.fullmatch(number)
    if grouped and (grouped[1] != ("," if decimal_comma else ".") or grouped["decimals"]
                    or number.count(grouped[1]) > 1):
        notes.thousands_example = notes.thousands_example or text
        number = number.replace(grouped[1], "")
    elif ("." if decimal_comma else ",") in number:
        notes.other_mark_example = notes.other_mark_example or text
    number = number.replace(",", ".")
    try:
        return float(number)
    except ValueError:
        if number and len(notes.bad_texts) < MAX_BAD_TEXTS:
            notes.bad_texts[" ".join(text[:40].split())] = None
        return nan


def parse_modes(texts: Sequence[str]) -> list[int]:
    """Return the modes that the texts of a record mean, as indices into MODES, or UNKNOWN_MODE."""
    words = [text.strip() for text in texts]
    has_bits = not {"8", "16"}.isdisjoint(words)
    return [_MODE_BITS[word] if has_bits and word in _MODE_BITS else parse_mode(word) for word in words]


def parse_mode(text: str) -> int:
    """Return the mode a text means, as the index into MODES, or UNKNOWN_MODE; of target/actual it is the actual one."""
    text = text.strip().upper()
    if text not in _MODES:
        text = text.rpartition("/")[2].strip()
    if text in _MODES:
        return _MODES[text]
    try:
        number = float(text)
    except ValueError:
        return UNKNOWN_MODE
    return _MODES.get(str(int(number)), UNKNOWN_MODE) if isfinite(number) and number == int(number) else UNKNOWN_MODE


_GOOD_QUALITY = ("", "good", "ok", "g", "true", "non-specific", "good, non-specific", "goodnonspecific",
                 "gut", "bon", "bonne", "bueno", "buena", "buono", "bom", "valid", "良好", "好")


def parse_quality(texts: TextColumn) -> Booleans | None:
    """Return (T,) whether a quality is good or uncertain, by word or OPC number; None where none of them is."""
    codes, words = texts.factorize()
    words = [word.strip(" {}()[]").casefold() for word in words]
    counts = dict(zip(words, np.bincount(codes, minlength=len(words)).tolist(), strict=True))
    good_code = _find_good_code(counts)
    is_good: npt.NDArray[np.bool_] = np.array(
        [word == good_code if good_code else _is_good(word) for word in words] or [False], np.bool_)
    good = is_good[codes]
    return good if good.any() else None


def _find_good_code(counts: Mapping[str, int]) -> str:
    """Return the code that alone is good, where others than those of OPC Data Access count; else an empty text.

    WinCC marks a valid value by 1, OPC UA and others by 0, which OPC Data Access has for bad ones: among 0 and 1 the
    more frequent one is good, and 0 where the others are codes of OPC UA for bad values.
    """
    codes = {word for word in counts if word}
    if "1" in codes and codes <= {"0", "1"}:
        return "0" if counts.get("0", 0) > counts["1"] else "1"
    others = codes - {"0"}
    is_opc_ua = all(word.isdecimal() and int(word) >= OPC_UA_UNCERTAIN for word in others)
    return "0" if others and is_opc_ua else ""


def _is_good(word: str) -> bool:
    if word in _GOOD_QUALITY or word.startswith("good"):
        return True
    try:
        number = float(int(word, 16)) if word.startswith("0x") else float(word)
    except ValueError:
        return word.startswith("uncertain")
    return OPC_UNCERTAIN <= number < GOOD + OPC_UNCERTAIN
