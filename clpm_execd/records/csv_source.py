"""A file as tables: where it begins, how its cells are parted, and which header its rows stand under.

The text is read in parts, so that memory does not grow with the file, and each part becomes a table, by Arrow where
that is installed and the file is large enough for its start to pay.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TextIO

from clpm_execd.problems import BadInput, Problem
from clpm_execd.records.column_roles import Columns, plain, time_columns
from clpm_execd.records.text_columns import CsvTable, Row, Table, arrow_table, has_arrow

CHARACTERS_AT_ONCE = 1_000_000
ARROW_FROM = 1_000_000  # bytes: below, importing it takes longer than reading without
HEADER_WITHIN = 20
HEAD = 65_536
DELIMITERS = "\t;|,"
ANNOTATIONS = ("#datatype", "#group", "#default")

_BREAK = re.compile(r"\n(?:[\s,;|\"]*\n|#(?:datatype|group|default)\b)")
_SEPARATOR = re.compile(r"\"?sep=(.)\"?", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+),\d+(?:[eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+", re.ASCII)
_DECIMAL_POINT = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)\.\d+(?:[eE][+-]?\d+)?", re.ASCII)


def bad(path: Path, what: str, remedy: str) -> BadInput:
    """What is wrong with the file."""
    return BadInput([Problem(str(path), what, remedy)])


def no_time(path: Path) -> BadInput:
    """No row of the file has a readable time."""
    remedy = "write times as 2025-01-10T09:11:40Z, 2025-01-10 09:11:40 or s, ms or ns since 1970"
    return bad(path, "no row has a readable time", remedy)


@dataclass
class Tables:
    """The parts of a file, each with the header it stands under.

    process_data: the header is the line that begins with `tagname`; two more lines describe it. decimal_comma: what
    the first lines say. A blank line or an annotation may begin another table of a Flux answer, with a header of its
    own. assumptions: what had to be taken for granted.
    """

    text: TextIO
    delimiter: str
    header: Row | None
    process_data: bool
    decimal_comma: bool
    arrow: bool
    assumptions: list[str] = field(default_factory=list)
    fresh: bool = False  # the next row may be another header
    short: int = 0  # rows with fewer cells than the header
    long: int = 0  # rows with more, that are not empty

    def parts(self) -> Iterator[tuple[Row, Table]]:
        """The first one has no rows: it is there for its header."""
        if self.header is None:
            return
        yield self.header, CsvTable([])
        for text in self._chunks():
            table = arrow_table(text, self.delimiter, len(self.header)) if self._is_one_table(text) else None
            if table is not None:
                yield self.header, table
            else:
                yield from self._rows(text)

    def _is_one_table(self, text: str) -> bool:
        """Whether all its lines are rows under the present header, and Arrow is to read them."""
        if not self.arrow or self.fresh or self._again(text):
            return False
        end = "" if text.endswith("\n") else "\n"
        return not _BREAK.search(f"\n{text}{end}")

    def _again(self, text: str) -> bool:
        """Whether a line may be the header once more, as of files that were joined."""
        name = self._time_name()[1]
        return bool(name) and (f"{name}{self.delimiter}" in text or f"{self.delimiter}{name}\n" in text)

    def _time_name(self) -> tuple[int, str]:
        """The first column of times, and its name; the name is empty where the header has none."""
        found = time_columns(self.header or [])
        return (found[0], self.header[found[0]]) if found and self.header else (0, "")

    def _chunks(self) -> Iterator[str]:
        """Whole lines; and whole rows, where cells with line breaks are quoted."""
        while text := self.text.read(CHARACTERS_AT_ONCE):
            parts = [text, self.text.readline()]
            quotes = sum(part.count('"') for part in parts)
            size = len(text)
            while quotes % 2 and size < 2 * CHARACTERS_AT_ONCE and (line := self.text.readline()):
                parts.append(line)
                quotes += line.count('"')
                size += len(line)
            yield "".join(parts)

    def _rows(self, text: str) -> Iterator[tuple[Row, Table]]:
        """The rows of a chunk under their headers."""
        assert self.header is not None
        part: list[Row] = []
        at, name = self._time_name()
        for row in csv.reader(io.StringIO(text), delimiter=self.delimiter):
            if not any(row) or row[0] in ANNOTATIONS:
                self.fresh = not self.process_data
                continue
            # Of files that were joined, the next one's header has no blank line before it.
            again = bool(name) and at < len(row) and row[at] == name
            if (self.fresh or again) and time_columns(row):
                yield self.header, CsvTable(part)
                part, self.header = [], row
                at, name = self._time_name()
            else:
                part.append(row)
                self.short += len(row) < len(self.header)
                self.long += any(row[len(self.header):])
            self.fresh = False
        yield self.header, CsvTable(part)


def open_tables(path: Path, columns: Columns, *, arrow: bool | None = None) -> Tables:
    """Begin to read a file; whoever calls closes the text. arrow: None where it is installed and pays."""
    if arrow is None:
        arrow = has_arrow() and path.stat().st_size >= ARROW_FROM
    text, lines, assumptions = _open(path)
    separator = _SEPARATOR.fullmatch(lines[0].strip("\ufeff\r\n ,;"))
    if separator:
        text.readline()
        lines = lines[1:]
    delimiter = separator[1] if separator else _delimiter(lines)
    process_data = bool(lines) and lines[0].startswith("PROCESSDATA\t")
    found = _header(lines, delimiter, columns, process_data)
    if found is None:
        header = None
    else:
        skipped, header = found
        rows = csv.reader(iter(text.readline, ""), delimiter=delimiter)
        for _ in range(skipped + (3 if process_data else 1)):
            next(rows, None)
    comma = _decimal_comma(lines, delimiter)
    if comma:
        assumptions.append("numbers have decimal commas")
    return Tables(text, delimiter, header, process_data, comma, arrow, assumptions)


def _open(path: Path) -> tuple[TextIO, list[str], list[str]]:
    """The file as text, its first lines, and what was assumed. Bytes that are no text are replaced."""
    with path.open("rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    with gzip.open(path) if zipped else path.open("rb") as start:
        head = start.read(HEAD)
    encoding = _encoding(head)
    sample = head.decode(encoding, "replace")
    if not sample.strip("\ufeff \t\r\n\f\v"):
        raise bad(path, "the file is empty", "name a record with a header line and a row for each sample")
    odd = sum(c == "�" or (c < " " and c not in "\t\r\n\f") for c in sample)
    if "\0" in sample or odd > len(sample) // 4:
        raise bad(path, "the file is not text", "export the record as CSV, in UTF-8")
    said = ["the text is no UTF-8: read as Windows-1252"] if encoding == "cp1252" else []
    lines = list(io.StringIO(sample, newline=None))
    if zipped:
        return gzip.open(path, "rt", encoding=encoding, errors="replace"), lines, said
    return path.open(encoding=encoding, errors="replace"), lines, said


def _encoding(head: bytes) -> str:
    """By its mark; else UTF-8, or, where the head is none and has letters of one byte only, Windows-1252."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        cut_off = len(head) == HEAD and error.start > HEAD - 4
        high = sum(byte > 0x7F for byte in head)
        return "utf-8-sig" if cut_off or high > len(head) // 4 else "cp1252"
    return "utf-8-sig"


def _delimiter(lines: Sequence[str]) -> str:
    """Tab before semicolon before comma: a decimal comma makes commas of no account beside the others."""
    told = [line for line in lines[:50] if line.strip() and not line.startswith("#")]
    return next((d for d in DELIMITERS[:-1] if 2 * sum(d in line for line in told) > len(told)), ",")


def _header(lines: Sequence[str], delimiter: str, columns: Columns, process_data: bool) -> tuple[int, Row] | None:
    """The first row that names a time, and how many stand above; else the first, so that a message can quote it."""
    found: tuple[int, Row] | None = None
    for skipped, row in enumerate(islice(csv.reader(lines, delimiter=delimiter), HEADER_WITHIN)):
        if process_data:
            if row and plain(row[0]) == "tagname":
                return skipped, row
        elif time_columns(row) or (columns.time and plain(columns.time) in map(plain, row)):
            return skipped, row
        elif found is None and any(row) and not row[0].startswith("#"):
            found = (skipped, row)
    return found


def _decimal_comma(lines: Sequence[str], delimiter: str) -> bool:
    """Whether more of the first lines' cells are numbers with a decimal comma than with a decimal point."""
    try:
        cells = [cell.strip() for row in islice(csv.reader(lines[:200], delimiter=delimiter), 200) for cell in row]
    except csv.Error:
        return False
    commas = [cell for cell in cells if _DECIMAL_COMMA.fullmatch(cell)]
    if delimiter == ",":  # 1,234 may be a thousand
        commas = [cell for cell in commas if not _THOUSANDS.fullmatch(cell)]
    return len(commas) > sum(_DECIMAL_POINT.fullmatch(cell) is not None for cell in cells)
