"""A CSV file as tables, each under its header: encoding, delimiter and header line are detected.

The text is read in chunks, so that memory does not grow with the file. A chunk becomes a table by the csv module, or by
Arrow where that is installed and the file is large enough for its start to pay.
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
from clpm_execd.records.cells.text_columns import CsvTable, Row, Table, has_arrow, parse_with_arrow
from clpm_execd.records.header.column_roles import Columns, find_time_columns, normalise_name

CHUNK_CHARACTERS = 1_000_000  # some MB of memory at a time, whatever the size of the file
ARROW_MIN_BYTES = 1_000_000  # below, importing Arrow takes longer than the csv module does for the file
HEADER_MAX_ROWS = 20  # exports put a title, a unit and a time range above the header, not a page
HEAD_BYTES = 65_536  # enough to judge encoding, delimiter and decimal mark
DELIMITER_LINES = 50  # of the head; most of them, not a title above the header, decide
DECIMAL_MARK_LINES = 200  # of the head; decimal marks are rarer than delimiters
DELIMITERS = "\t;|,"
ANNOTATIONS = ("#datatype", "#group", "#default")  # of annotated CSV, InfluxDB documentation

# An annotation or an empty line, after which another header may follow.
_TABLE_BREAK = re.compile(r"\n(?:[\s,;|\"]*\n|#(?:datatype|group|default)\b)")
_SEPARATOR = re.compile(r"\"?sep=(.)\"?", re.IGNORECASE)  # the line by which Excel names the delimiter
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+),\d+(?:[eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+", re.ASCII)
_DECIMAL_POINT = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)\.\d+(?:[eE][+-]?\d+)?", re.ASCII)


def record_error(path: Path, what: str, remedy: str) -> BadInput:
    """Return the error that says what is wrong with a file."""
    return BadInput([Problem(str(path), what, remedy)])


def timestamp_error(path: Path) -> BadInput:
    """Return the error of a file in which no row has a readable timestamp."""
    remedy = "write timestamps as 2025-01-10T09:11:40Z, 2025-01-10 09:11:40 or s, ms or ns since 1970"
    return record_error(path, "no row has a readable timestamp", remedy)


@dataclass
class CsvSource:
    """An open file that is read table by table.

    header: the names that the next rows stand under; None where there is none. is_process_data: the format is
    PROCESSDATA, whose header is the line that begins with `tagname` and is followed by two lines of description.
    has_decimal_comma: what the first lines show. An empty line or an annotation may begin another table of a Flux
    answer, with a header of its own. assumptions: what the file left open and how it was taken.
    """

    text: TextIO
    delimiter: str
    header: Row | None
    is_process_data: bool
    has_decimal_comma: bool
    uses_arrow: bool
    assumptions: list[str] = field(default_factory=list)
    may_be_header: bool = False  # whether the next row may be another header
    short_rows: int = 0  # rows with fewer cells than the header
    long_rows: int = 0  # rows with more cells than the header, not counting empty ones

    def tables(self) -> Iterator[tuple[Row, Table]]:
        """Yield headers and the rows under them; the first table has no rows and is there for its header."""
        if self.header is None:
            return
        yield self.header, CsvTable([])
        for text in self._chunks():
            table = parse_with_arrow(text, self.delimiter, len(self.header)) if self._is_one_table(text) else None
            if table is not None:
                yield self.header, table
            else:
                yield from self._split_at_headers(text)

    def _is_one_table(self, text: str) -> bool:
        """Return whether Arrow is to parse the chunk, and all its lines are rows under the present header."""
        if not self.uses_arrow or self.may_be_header or self._repeats_header(text):
            return False
        end = "" if text.endswith("\n") else "\n"
        return not _TABLE_BREAK.search(f"\n{text}{end}")

    def _repeats_header(self, text: str) -> bool:
        """Return whether a line may be the header again, as in files that were joined."""
        name = self._time_column()[1]
        return bool(name) and (f"{name}{self.delimiter}" in text or f"{self.delimiter}{name}\n" in text)

    def _time_column(self) -> tuple[int, str]:
        """Return the index and the name of the first time column; the name is empty where there is none."""
        columns = find_time_columns(self.header or [])
        return (columns[0], self.header[columns[0]]) if columns and self.header else (0, "")

    def _chunks(self) -> Iterator[str]:
        """Yield complete lines, and complete rows where quoted cells contain line breaks."""
        while text := self.text.read(CHUNK_CHARACTERS):
            parts = [text, self.text.readline()]
            quotes = sum(part.count('"') for part in parts)
            size = len(text)
            while quotes % 2 and size < 2 * CHUNK_CHARACTERS and (line := self.text.readline()):
                parts.append(line)
                quotes += line.count('"')
                size += len(line)
            yield "".join(parts)

    def _split_at_headers(self, text: str) -> Iterator[tuple[Row, Table]]:
        """Yield the rows of a chunk, by the csv module, under their headers."""
        assert self.header is not None
        rows: list[Row] = []
        index, name = self._time_column()
        for row in csv.reader(io.StringIO(text), delimiter=self.delimiter):
            if not any(row) or row[0] in ANNOTATIONS:
                self.may_be_header = not self.is_process_data
                continue
            # Where files were joined, no empty line precedes the header of the next one.
            is_repeated = bool(name) and index < len(row) and row[index] == name
            if (self.may_be_header or is_repeated) and find_time_columns(row):
                yield self.header, CsvTable(rows)
                rows, self.header = [], row
                index, name = self._time_column()
            else:
                rows.append(row)
                self.short_rows += len(row) < len(self.header)
                self.long_rows += any(row[len(self.header):])
            self.may_be_header = False
        yield self.header, CsvTable(rows)


def open_csv(path: Path, columns: Columns, *, arrow: bool | None = None) -> CsvSource:
    """Open a file and read its header; the caller closes its text.

    arrow: whether Arrow parses the cells; None: where it is installed and pays.
    """
    if arrow is None:
        arrow = has_arrow() and path.stat().st_size >= ARROW_MIN_BYTES
    text, lines, assumptions = _open_text(path)
    separator = _SEPARATOR.fullmatch(lines[0].strip("\ufeff\r\n ,;"))
    if separator:
        text.readline()
        lines = lines[1:]
    delimiter = separator[1] if separator else _detect_delimiter(lines)
    is_process_data = bool(lines) and lines[0].startswith("PROCESSDATA\t")
    header_row = _find_header(lines, delimiter, columns, is_process_data)
    if header_row is None:
        header = None
    else:
        rows_above, header = header_row
        rows = csv.reader(iter(text.readline, ""), delimiter=delimiter)
        for _ in range(rows_above + (3 if is_process_data else 1)):
            next(rows, None)
    has_decimal_comma = _has_decimal_comma(lines, delimiter)
    if has_decimal_comma:
        assumptions.append("numbers have decimal commas")
    return CsvSource(text, delimiter, header, is_process_data, has_decimal_comma, arrow, assumptions)


def _open_text(path: Path) -> tuple[TextIO, list[str], list[str]]:
    """Return the file as text, its first lines, and the assumptions; bytes that are not text are replaced."""
    with path.open("rb") as probe:
        is_gzip = probe.read(2) == b"\x1f\x8b"
    with gzip.open(path) if is_gzip else path.open("rb") as start:
        head = start.read(HEAD_BYTES)
    encoding = _detect_encoding(head)
    sample = head.decode(encoding, "replace")
    if not sample.strip("\ufeff \t\r\n\f\v"):
        raise record_error(path, "the file is empty", "give a file with a header line and one row per sample")
    unprintable = sum(c == "�" or (c < " " and c not in "\t\r\n\f") for c in sample)
    if "\0" in sample or unprintable > len(sample) // 4:
        raise record_error(path, "the file is not text", "export the record as CSV, in UTF-8")
    assumptions = ["the file is not UTF-8: read as Windows-1252"] if encoding == "cp1252" else []
    lines = list(io.StringIO(sample, newline=None))
    if is_gzip:
        return gzip.open(path, "rt", encoding=encoding, errors="replace"), lines, assumptions
    return path.open(encoding=encoding, errors="replace"), lines, assumptions


def _detect_encoding(head: bytes) -> str:
    """Return UTF-16 or UTF-8 by the byte order mark, else UTF-8, else Windows-1252 where the text is mostly ASCII."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        is_cut_off = len(head) == HEAD_BYTES and error.start > HEAD_BYTES - 4
        not_ascii = sum(byte > 0x7F for byte in head)
        return "utf-8-sig" if is_cut_off or not_ascii > len(head) // 4 else "cp1252"
    return "utf-8-sig"


def _detect_delimiter(lines: Sequence[str]) -> str:
    """Return the first of tab, semicolon and bar that most lines have, else the comma, which may be a decimal mark."""
    rows = [line for line in lines[:DELIMITER_LINES] if line.strip() and not line.startswith("#")]
    return next((d for d in DELIMITERS[:-1] if 2 * sum(d in line for line in rows) > len(rows)), ",")


def _find_header(lines: Sequence[str], delimiter: str, columns: Columns, is_process_data: bool
                 ) -> tuple[int, Row] | None:
    """Return how many rows stand above the header, and the header: the first row with a name of a time column.

    Where there is none, it is the first row, so that an error message can quote it.
    """
    first_row: tuple[int, Row] | None = None
    for rows_above, row in enumerate(islice(csv.reader(lines, delimiter=delimiter), HEADER_MAX_ROWS)):
        if is_process_data:
            if row and normalise_name(row[0]) == "tagname":
                return rows_above, row
        elif find_time_columns(row) or (columns.time and normalise_name(columns.time) in map(normalise_name, row)):
            return rows_above, row
        elif first_row is None and any(row) and not row[0].startswith("#"):
            first_row = (rows_above, row)
    return first_row


def _has_decimal_comma(lines: Sequence[str], delimiter: str) -> bool:
    """Return whether more of the first cells are numbers with a decimal comma than with a decimal point."""
    try:
        rows = islice(csv.reader(lines[:DECIMAL_MARK_LINES], delimiter=delimiter), DECIMAL_MARK_LINES)
        cells = [cell.strip() for row in rows for cell in row]
    except csv.Error:
        return False
    commas = [cell for cell in cells if _DECIMAL_COMMA.fullmatch(cell)]
    if delimiter == ",":  # 1,234 may be a thousand
        commas = [cell for cell in commas if not _THOUSANDS.fullmatch(cell)]
    return len(commas) > sum(_DECIMAL_POINT.fullmatch(cell) is not None for cell in cells)
