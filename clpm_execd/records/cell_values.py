"""What a cell of a record says, as a number: a value, a mode, a quality.

No text raises: what cannot be read is NaN as a value and UNKNOWN as a mode, because a historian writes `Bad` or
`I/O Timeout` where it has no value, and one such cell must not cost the record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite, nan

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import AUT, CAS, GOOD, MAN, Floats
from clpm_execd.records.text_columns import Booleans, Texts

UNKNOWN = -1
UNCERTAIN = 64  # OPC DA: from here to GOOD a value is uncertain, below it is bad
WORDS_AT_MOST = 5

_MODES = dict.fromkeys(("AUT", "AUTO", "AUTOMATIC", "A", "1", "TRUE"), AUT)
_MODES |= dict.fromkeys(("MAN", "MANUAL", "M", "IMAN", "LO", "0", "FALSE"), MAN)
_MODES |= dict.fromkeys(("CAS", "CASCADE", "C", "2", "RCAS", "3"), CAS)

_COMMAS = re.compile(r"[+-]?\d{1,3}(,\d{3})+", re.ASCII)
_POINTS = re.compile(r"[+-]?\d{1,3}(\.\d{3})+", re.ASCII)
_GROUPED_BY_COMMAS = re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d*", re.ASCII)
_GROUPED_BY_POINTS = re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d*", re.ASCII)


@dataclass
class Found:
    """What was odd about the numbers of a record: words in their place, and an example each of a number with
    thousands set apart and of one with the other decimal mark."""

    words: dict[str, None] = field(default_factory=dict)
    grouped: str = ""
    marked: str = ""


def numbers(texts: Texts, *, decimal_comma: bool, found: Found) -> Floats:
    """Each text as a finite number or NaN."""
    values, odd = texts.floats(decimal_comma)
    if odd.any():
        rows = np.flatnonzero(odd)
        cells = texts.at(rows)
        known = {text: _number(text.strip(), decimal_comma, found) for text in dict.fromkeys(cells)}
        values[rows] = [known[text] for text in cells]
    values[~np.isfinite(values)] = nan
    return values


def _number(text: str, comma: bool, found: Found) -> float:
    """A number with either decimal mark, thousands set apart by the other, and a per cent sign behind it."""
    plain = text.removesuffix("%").rstrip()
    if _GROUPED_BY_COMMAS.fullmatch(plain) or (not comma and _COMMAS.fullmatch(plain)):
        found.grouped = found.grouped or text
        plain = plain.replace(",", "")
    elif _GROUPED_BY_POINTS.fullmatch(plain) or (_POINTS.fullmatch(plain) and (comma or plain.count(".") > 1)):
        found.grouped = found.grouped or text
        plain = plain.replace(".", "").replace(",", ".")
    elif ("." if comma else ",") in plain:
        found.marked = found.marked or text
        plain = plain.replace(",", ".")
    elif comma:
        plain = plain.replace(",", ".")
    try:
        return float(plain)
    except ValueError:
        if text and len(found.words) < WORDS_AT_MOST:
            found.words[" ".join(text[:40].split())] = None
        return nan


def mode(text: str) -> int:
    """The mode a text means, as the index into MODES, or UNKNOWN."""
    text = text.strip().upper()
    if text in _MODES:
        return _MODES[text]
    try:
        number = float(text)
    except ValueError:
        return UNKNOWN
    return _MODES.get(str(int(number)), UNKNOWN) if isfinite(number) and number == int(number) else UNKNOWN


_GOOD_WORDS = ("", "good", "ok", "g", "true", "non-specific", "good, non-specific", "goodnonspecific")


def good_quality(texts: Texts) -> Booleans | None:
    """(T,) whether a value counts: by the word, or by OPC's number; None where the column calls none of them good."""
    codes, words = texts.distinct()
    known: npt.NDArray[np.bool_] = np.array([_is_good(word.strip().casefold()) for word in words] or [False], np.bool_)
    good = known[codes]
    return good if good.any() else None


def _is_good(word: str) -> bool:
    if word in _GOOD_WORDS or word.startswith("good"):
        return True
    try:
        number = float(word)
    except ValueError:
        return word.startswith("uncertain")
    return UNCERTAIN <= number < GOOD + UNCERTAIN
