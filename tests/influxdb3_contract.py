"""An InfluxDB 3 Core for tests, in place of its binary, which no package registry has: its HTTP API as documented.

Writing is that of /api/v2/write and /api/v3/write_lp: a table per measurement, rows of one series and time replace each
other, and a batch with lines that are wrong writes the others and answers 400. /api/v3/query_sql runs on Apache
DataFusion, which is the query engine of InfluxDB 3. Statuses and messages are those of the documentation and of the
server's public source.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

VERSION = "3.4.1"
_LINE = re.compile(r"([^ ,]+)((?:,[^ ,=]+=(?:\\.|[^ ,])+)*) (.*) (\d+)")
_FIELD = re.compile(r'([^=,]+)=("(?:[^"\\]|\\.)*"|[^,]+)')


class Table:
    """The rows of a measurement by series and time, and the type of each column."""

    def __init__(self) -> None:
        self.tags: list[str] = []
        self.types: dict[str, type] = {}
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {}

    def add(self, line: str) -> str:
        """Add a line; return what is wrong with it, or ''."""
        match = _LINE.fullmatch(line)
        if match is None:
            return "A generic parsing error occurred: TakeWhile1"
        tags = {key: re.sub(r"\\(.)", r"\1", value) for key, value in
                (pair.split("=", 1) for pair in re.split(r"(?<!\\),", match[2])[1:])}
        fields = {name: parse_value(text) for name, text in _FIELD.findall(match[3])}
        for name, value in fields.items():
            if self.types.setdefault(name, type(value)) is not type(value):
                return f"invalid column type for column '{name}'"
        self.tags += [tag for tag in tags if tag not in self.tags]
        key = tuple(sorted(tags.items())), int(match[4])
        self.rows.setdefault(key, {}).update(fields)
        return ""

    def arrow(self) -> Any:
        """Return the table as the server shows it: tags are dictionaries, and time has no zone."""
        import pyarrow as pa

        columns: dict[str, Any] = {tag: pa.array([dict(series).get(tag) for series, _ in self.rows]).dictionary_encode()
                                   for tag in self.tags}
        columns |= {name: pa.array([row.get(name) for row in self.rows.values()]) for name in self.types}
        return pa.table({**columns, "time": pa.array([time for _, time in self.rows], pa.timestamp("ns"))})


def parse_value(text: str) -> bool | float | int | str:
    """Return the value of a field of line protocol."""
    if text[:1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    return int(text[:-1]) if text.endswith("i") else float(text)


class InfluxDB3:
    """The databases of a server on a loopback port."""

    token = "apiv3_a-token-for-the-tests"
    bucket = "plant"

    def __init__(self) -> None:
        self.databases: dict[str, dict[str, Table]] = {self.bucket: {}}
        self._contexts: dict[str, Any] = {}  # of DataFusion, by database, until the next write
        self._lock = threading.Lock()

    def ping(self) -> tuple[int, bytes]:
        return 200, json.dumps({"version": VERSION, "revision": "0", "process_id": "0"}).encode()

    def write(self, database: str, body: bytes) -> tuple[int, bytes]:
        lines = [line for line in body.decode().split("\n") if line.strip() and not line.startswith("#")]
        if not lines:
            return 400, b"incoming write was empty"
        wrong = []
        with self._lock:
            self._contexts.pop(database, None)
            tables = self.databases.setdefault(database, {})  # a database is created by its first write
            for number, line in enumerate(lines, 1):
                name = re.split(r"[, ]", line, maxsplit=1)[0]
                if error := tables.setdefault(name, Table()).add(line):
                    wrong.append({"original_line": line, "line_number": number, "error_message": error})
        if not wrong:
            return 204, b""
        return 400, json.dumps({"error": "partial write of line protocol occurred", "data": wrong}).encode()

    def query_sql(self, request: dict[str, str]) -> tuple[int, bytes]:
        import pyarrow as pa
        from pyarrow import csv

        if request["db"] not in self.databases:
            return 404, json.dumps({"error": f"query error: database not found: {request['db']}"}).encode()
        try:
            batches = self._context(request["db"]).sql(request["q"]).collect()
        except Exception as error:
            return 500, f"query error: error while planning query: {error}".encode()
        text = BytesIO()
        if any(batch.num_rows for batch in batches):  # the server writes no header without rows
            table = pa.Table.from_batches(batches)
            texts = [(field.name, pa.string() if pa.types.is_string_view(field.type) else field.type)
                     for field in table.schema]
            csv.write_csv(table.cast(pa.schema(texts)), text)
        return 200, text.getvalue()

    def _context(self, database: str) -> Any:
        """Return the tables of a database as DataFusion reads them."""
        from datafusion import SessionConfig, SessionContext

        with self._lock:
            if database not in self._contexts:
                self._contexts[database] = SessionContext(SessionConfig().with_information_schema(True))
                for name, table in self.databases[database].items():
                    self._contexts[database].register_record_batches(name, [table.arrow().to_batches()])
            return self._contexts[database]


class Handler(BaseHTTPRequestHandler):
    """Routes the requests of the contract; any other one is not found."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        database, address = self.server.database, urlsplit(self.path)
        body = self._body()
        if self.headers.get("Authorization") not in (f"Token {database.token}", f"Bearer {database.token}"):
            return self._send(401, b"")
        if (self.command, address.path) == ("GET", "/ping"):
            return self._send(*database.ping())
        if (self.command, address.path) == ("POST", "/api/v2/write"):
            return self._send(*database.write(parse_qs(address.query)["bucket"][0], body))
        if (self.command, address.path) == ("POST", "/api/v3/write_lp"):
            return self._send(*database.write(parse_qs(address.query)["db"][0], body))
        if (self.command, address.path) == ("POST", "/api/v3/query_sql"):
            return self._send(*database.query_sql(json.loads(body)))
        return self._send(404, b"not found")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self._line(), 16):
                body += self.rfile.read(size)
                self._line()
            self._line()
        else:
            size = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(size)
            if len(body) < size:
                raise ConnectionAbortedError
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _line(self) -> bytes:
        line = self.rfile.readline()
        if not line:
            raise ConnectionAbortedError
        return line

    def _send(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string())
        if self.path == "/ping" and status == 200:
            self.send_header("X-Influxdb-Build", "Core")
            self.send_header("X-Influxdb-Version", VERSION)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """The HTTP server; a thread per connection."""

    daemon_threads = True

    def __init__(self, database: InfluxDB3) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.database = database

    def handle_error(self, request: object, client_address: object) -> None:
        """Report an error, but not that a client closed its connection: stderr is by then that of the next command."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def serving(database: InfluxDB3) -> Iterator[str]:
    """The URL of a server that runs within the block."""
    with Server(database) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
