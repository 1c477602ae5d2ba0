"""A CSV file as tables, each under its header: encoding, delimiter and header line are detected.

The text is read in chunks, so that memory does not grow with the file.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TextIO

from clpm_execd.paths import open_decompressed
from clpm_execd.problems import BadInput, Problem
from clpm_execd.records.cells.blanks import find_blank_separator
from clpm_execd.records.cells.json_rows import rewrite_json
from clpm_execd.records.cells.pairs import find_pair_separator
from clpm_execd.records.cells.rewriting import LineSeparator, RewrittenText, rewrite_line
from clpm_execd.records.cells.text_columns import Row, Table
from clpm_execd.records.cells.time_forms import CELL_MARKS
from clpm_execd.records.header.columns import Columns
from clpm_execd.records.header.search import Header, find_header, find_title, is_number, name_by_title
from clpm_execd.records.header.signal_names import FOREIGN_NAMES, find_time_columns, normalise_name

CHUNK_CHARACTERS = 1_000_000  # some MB of memory at a time, whatever the size of the file
HEAD_BYTES = 262_144  # enough to judge encoding, delimiter and decimal mark, and to have a preamble of some pages
MAX_JSON_CHARACTERS = 100_000_000  # in one value, which needs ten times as many bytes
DELIMITER_LINES = 50  # the last of the head: most of them decide
LAST_ROWS = 3  # that have a delimiter equally often show it, where most lines are a preamble
DECIMAL_MARK_LINES = 200  # of the head; decimal marks are rarer than delimiters
DELIMITERS = "\t;|,"
# Of spreadsheets in East Asia and Eastern Europe: the first of those in which most known names are in the text.
OTHER_ENCODINGS = ("gb18030", "shift_jis", "euc_kr", "cp1251", "cp1250", "cp1252", "cp1254")
GROUP_KEY = "#group"
ANNOTATIONS = ("#datatype", "#group", "#default")  # of annotated CSV, InfluxDB documentation

_JSON = re.compile(r"[\ufeff\s]*(?:\[\s*[{\[]|[\[{]\s*$|\{\s*\")")
_DECIMALS = re.compile(r"0\d{1,2}|0\d{4,}", re.ASCII)  # four digits may be a clock time
_QUOTED = re.compile(r'"[^"]*"')
_SEPARATOR = re.compile(r"\"?sep=(.)\"?", re.IGNORECASE)  # the line by which Excel names the delimiter
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+),\d+(?:[eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:[.,]\d{3})+", re.ASCII)
_DECIMAL_POINT = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)\.\d+(?:[eE][+-]?\d+)?", re.ASCII)


def record_error(path: Path, what: str, remedy: str) -> BadInput:
    """Return the error that says what is wrong with a file."""
    return BadInput([Problem(str(path), what, remedy)])


def timestamp_error(path: Path, example: str = "", place: str = "", rows: str = "no row has a") -> BadInput:
    """Return the error of a file whose timestamps cannot be read.

    example: a cell that cannot be read. place: the header, as it is quoted. rows: how many have a readable timestamp.
    """
    cell = f", such as {example!r}" if example else ""
    header = f"; {place}" if place else ""
    remedy = f"write timestamps as 2025-01-10T09:11:40Z, 2025-01-10 09:11:40 or s, ms or ns since 1970{header}"
    return record_error(path, f"{rows} readable timestamp{cell}", remedy)


@dataclass
class CsvSource:
    """An open file that is read table by table.

    start: the first header; None where there are no rows. header: the names that the next rows stand under. group_key:
    the last annotation that says which columns are tags. is_process_data: the format is PROCESSDATA, whose header is
    the line that begins with `tagname` and is followed by two lines of description. has_decimal_comma: what the first
    lines show. An empty line or an annotation may begin another table of a Flux answer, with a header of its own.
    assumptions: what the file left open and how it was taken.
    """

    text: TextIO | RewrittenText
    delimiter: str
    start: Header | None
    is_process_data: bool
    has_decimal_comma: bool
    assumptions: list[str] = field(default_factory=list)
    may_be_header: bool = False  # whether the next row may be another header
    short_rows: int = 0  # rows with fewer cells than the header
    long_rows: int = 0  # rows with more cells than the header, not counting empty ones
    header: Row = field(default_factory=list)
    group_key: Row = field(default_factory=list)

    def tables(self) -> Iterator[tuple[Header, Table]]:
        """Yield headers and the rows under them; the first table has no rows and is there for its header."""
        if self.start is None:
            return
        self.header, header = self.start.names, self.start
        yield header, Table([])
        for text in self._chunks():
            for names, rows in self._split_at_headers(text):
                if names is not header.names:
                    header = Header(names, tags=read_group_key(self.group_key))
                yield header, rows

    def find_cut_decimal(self) -> str:
        """Return a cell that is the digits behind a decimal comma, as no number begins: 06; else an empty text.

        Columns with names show it by their number.
        """
        if self.start is None or not self.start.is_missing or self.delimiter != ",":
            return ""
        sample = self.start.sample
        return "" if any("." in cell for row in sample for cell in row) else next(
            (cell for row in sample for cell in row[1:] if _DECIMALS.fullmatch(cell)), "")

    def _time_column(self) -> tuple[int, str]:
        """Return the index and the name of the first time column; the name is empty where there is none."""
        columns = find_time_columns(self.header)
        return (columns[0], self.header[columns[0]]) if columns else (0, "")

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
        """Yield the rows of a chunk under their headers."""
        rows: list[Row] = []
        title: Row = []
        index, name = self._time_column()
        for row in csv.reader(io.StringIO(text), delimiter=self.delimiter):
            if not any(row) or row[0] in ANNOTATIONS:
                self.may_be_header = not self.is_process_data
                self.group_key = row if row and row[0] == GROUP_KEY else self.group_key
                continue
            # Where files were joined, no empty line precedes the header of the next one.
            is_repeated = bool(name) and index < len(row) and row[index] == name
            if self.may_be_header and find_title(row):
                title = row
                continue
            if (self.may_be_header or is_repeated) and find_time_columns(row):
                yield self.header, Table(rows)
                rows, self.header = [], name_by_title(row, title)
                index, name = self._time_column()
            else:
                extra = row[len(self.header):]
                self.long_rows += any(extra)
                self.short_rows += len(row) < len(self.header)
                if not any(map(is_number, extra)):  # with numbers beyond the header the cells may stand elsewhere
                    rows.append(row)
            self.may_be_header = False
        yield self.header, Table(rows)


def read_group_key(row: Row) -> frozenset[int]:
    """Return the columns that an annotation of Flux marks as the group key."""
    return frozenset(i for i, cell in enumerate(row) if cell == "true")


def open_csv(path: Path, columns: Columns) -> CsvSource:
    """Open a file and read its header; the caller closes its text."""
    text, lines, assumptions = _open_text(path)
    separator = _SEPARATOR.fullmatch(lines[0].strip("\ufeff\r\n ,;"))
    if separator:
        text.readline()
        lines = lines[1:]
    if _JSON.match(lines[0]) and not _is_object(lines):
        text = _rewrite_json(path, text)
        lines = list(io.StringIO(text.getvalue()[:HEAD_BYTES]))
        assumptions.append("the file is one value of JSON: a row for each of its innermost objects")
    delimiter = separator[1] if separator else _detect_delimiter(lines)
    pairs = None if separator else find_pair_separator(lines)
    own: LineSeparator | None = pairs or (None if separator or delimiter != "," else find_blank_separator(lines))
    rows_text: TextIO | RewrittenText = text
    if own is not None:
        names = pairs.names if pairs else ()
        rows_text, delimiter = RewrittenText(text, own, names), "\t"
        lines = ["\t".join(names), *(rewrite_line(line, own) for line in lines)][not names:]
        assumptions.append("rows are pairs of name and value" if pairs else "columns are separated by blanks")
    is_process_data = bool(lines) and lines[0].startswith("PROCESSDATA\t")
    header = _find_process_data_header(lines) if is_process_data else find_header(lines, delimiter, columns)
    if header is not None:
        header.line += bool(separator)
        rows = csv.reader(iter(rows_text.readline, ""), delimiter=delimiter)
        group_key: Row = []
        for _ in range(header.rows):
            row = next(rows, [])
            group_key = row if row and row[0] == GROUP_KEY else group_key
        header.tags = read_group_key(group_key)
    has_decimal_comma = _has_decimal_comma(lines, delimiter)
    if has_decimal_comma:
        assumptions.append("numbers have decimal commas")
    return CsvSource(rows_text, delimiter, header, is_process_data, has_decimal_comma, assumptions)


def _is_object(lines: Sequence[str]) -> bool:
    """Return whether the first of several lines is an object of JSON by itself, without lists."""
    try:
        return len(lines) > 1 and "[" not in lines[0] and isinstance(json.loads(lines[0]), dict)
    except (ValueError, RecursionError):
        return False


def _rewrite_json(path: Path, text: TextIO) -> io.StringIO:
    """Return a file that is one value of JSON as a table, and close it."""
    with text:
        content = text.read(MAX_JSON_CHARACTERS + 1)
    try:
        if len(content) > MAX_JSON_CHARACTERS:
            raise ValueError("it is too large")
        return io.StringIO(rewrite_json(content))
    except ValueError as error:
        raise record_error(path, f"the value of JSON is no table ({error})", "write one object per line, or CSV") \
            from None


def _find_process_data_header(lines: Sequence[str]) -> Header | None:
    """Return the header of PROCESSDATA, the line that begins with `tagname` and has two lines of description below."""
    for i, row in enumerate(csv.reader(lines, delimiter="\t")):
        if row and normalise_name(row[0]) == "tagname":
            return Header(row, line=i + 1, rows=i + 3)
    return None


def _open_text(path: Path) -> tuple[TextIO, list[str], list[str]]:
    """Return the file as text, its first lines, and the assumptions; bytes that are not text are replaced."""
    with open_decompressed(path) as start:
        head = start.read(HEAD_BYTES)
    encoding = _detect_encoding(head)
    sample = head.decode(encoding, "replace")
    if not sample.strip("\ufeff \t\r\n\f\v"):
        raise record_error(path, "the file is empty", "give a file with a header line and one row per sample")
    unprintable = sum(c == "�" or (c < " " and c not in "\t\r\n\f") for c in sample)
    if "\0" in sample or unprintable > len(sample) // 4:
        raise record_error(path, "the file is not text", "export the record as CSV, in UTF-8")
    assumptions = {"utf-8-sig": [], "utf-16": [], "utf-16-le": ["the file is UTF-16 without a byte order mark"],
                   "utf-16-be": ["the file is UTF-16 without a byte order mark"]}.get(
        encoding, [f"the file is not UTF-8: read as {encoding.replace('cp', 'Windows-')}"])
    lines = list(io.StringIO(sample, newline=None))
    return io.TextIOWrapper(open_decompressed(path), encoding, errors="replace"), lines, assumptions


def _detect_encoding(head: bytes) -> str:
    """Return UTF-16 or UTF-8 by the byte order mark, else UTF-8, else one in which names of signals are readable.

    Where none are, a text that is mostly ASCII is Windows-1252.
    """
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    for encoding, zeros, others in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if len(head) > 8 and zeros.count(0) > 0.9 * len(zeros) and others.count(0) == 0:
            return encoding
    try:
        head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        names_in = {codec: _count_names(codecs.getincrementaldecoder(codec)("replace").decode(head))
                    for codec in OTHER_ENCODINGS}
        best = max(OTHER_ENCODINGS, key=lambda codec: names_in[codec])
        if names_in[best]:
            return best
        is_cut_off = len(head) == HEAD_BYTES and error.start > HEAD_BYTES - 4
        not_ascii = sum(byte > 0x7F for byte in head)
        return "utf-8-sig" if is_cut_off or not_ascii > len(head) // 4 else "cp1252"
    return "utf-8-sig"


def _count_names(text: str) -> int:
    """Return how many names of signals with letters beyond ASCII a text has; 0 where bytes could not be decoded."""
    text = text.casefold()
    return 0 if "\ufffd" in text else sum(name in text for name in FOREIGN_NAMES)


def _detect_delimiter(lines: Sequence[str]) -> str:
    """Return the first of tab, semicolon and bar that the rows have, else the comma, which may be a decimal mark.

    The last lines are rows, whatever page stands above them: most of them have the delimiter, or the very last ones
    have it equally often. One that no header has, but another one, stands inside cells, as those in quotes do.
    """
    lines = [_QUOTED.sub("", line) for line in lines if line.strip() and not line.startswith("#")]
    rows = lines[-DELIMITER_LINES - 1:]
    rows = rows[:-1] if len(rows) > LAST_ROWS + 1 else rows  # the last one may be cut off
    found = []
    for delimiter in DELIMITERS:
        counts = [line.count(delimiter) for line in rows]
        last = set(counts[-LAST_ROWS:])
        if 2 * sum(count > 0 for count in counts) > len(counts) or (len(last) == 1 and 0 not in last):
            found.append(delimiter)
    named = [delimiter for delimiter in found if any(
        line.count(delimiter) == rows[-1].count(delimiter) and find_time_columns(line.split(delimiter))
        for line in lines)] if len(found) > 1 else []
    return next(iter(named or found), ",")


def _has_decimal_comma(lines: Sequence[str], delimiter: str) -> bool:
    """Return whether more of the first cells are numbers with a decimal comma than with a decimal point.

    1.234 and 1,234 may be a thousand: they count where there is nothing else, 1,234 not even then between commas.
    """
    try:
        rows = islice(csv.reader(lines[:DECIMAL_MARK_LINES], delimiter=delimiter), DECIMAL_MARK_LINES)
        cells = [cell.strip(CELL_MARKS) for row in rows for cell in row]
    except csv.Error:
        return False
    commas = [cell for cell in cells if _DECIMAL_COMMA.fullmatch(cell)]
    points = [cell for cell in cells if _DECIMAL_POINT.fullmatch(cell)]
    sure_commas, sure_points = ([cell for cell in part if not _THOUSANDS.fullmatch(cell)] for part in (commas, points))
    if delimiter == "," or sure_commas or sure_points:
        return len(sure_commas) > len(sure_points)
    return len(commas) > len(points)
