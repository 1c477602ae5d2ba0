"""Settings are read once, from option, environment and `.env` in this order, and the token is never shown.

No message, repr or exception of this module holds the token or a value that might contain it. An empty text
counts as not set. What only a connection needs is checked when a connection is asked for: a stream to
Telegraf runs without it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.units import DAY, MS, format_duration, parse_duration
from clpm_execd.urls import exposes_token

if TYPE_CHECKING:
    from clpm_execd.config.shard import Shard

# What only the environment and .env say: default, and meaning.
ENVIRONMENT = {
    "INFLUXDB_URL": ("needed by `--direct`", "where InfluxDB listens, such as `http://localhost:8086`"),
    "INFLUXDB_TOKEN": ("needed by `--direct`", "a token that may write"),
    "INFLUXDB_TOKEN_FILE": ("", "in its place: a file that holds it, read again when the server denies"),
    "INFLUXDB_ORG": ("needed by `--direct`", "the organization, by name or id"),
    "INFLUXDB_BUCKET": ("needed by `--direct`", "the bucket"),
    "INFLUXDB_MEASUREMENT": ("control_loops", "the measurement of the samples"),
}
EXAMPLES = {"INFLUXDB_URL": "http://localhost:8086", "INFLUXDB_TOKEN": "a token that may write",
            "INFLUXDB_ORG": "the organization", "INFLUXDB_BUCKET": "the bucket"}
OPTIONS = {"STREAM_INTERVAL": "--interval", "LOG_LEVEL": "--log-level", "LOG_FILE": "--log-file",
           "CLPM_LOOPS": "--config", "CLPM_SHARD": "--shard", "CLPM_STATE": "--state", "CLPM_MAX_GAP": "--max-gap",
           "CLPM_MAX_RATE": "--max-rate", "CLPM_SPOOL_LIMIT": "--spool-limit"}
# Names that variables had in 0.1.0 and keep; the new name wins where both are set.
ALIASES = {"CLPM_PACE": "CLPM_MAX_RATE", "CLPM_CATCH_UP": "CLPM_MAX_GAP"}
REQUIRED = tuple(EXAMPLES)
SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
NAMES = (*ENVIRONMENT, *OPTIONS)
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
URL_EXAMPLE = "write it as http://localhost:8086"
QUOTED = ("stands in quotes", "remove them; docker takes them for part of the value")
PORT_EXAMPLE = URL_EXAMPLE + ", the port from 1 to 65535"


class Secret:
    """A text that shows itself only when asked."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where to write; every part is there and can be sent."""

    url: str
    token: Secret
    org: str
    bucket: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What the surroundings say; None is what nobody set.

    interval: ns. max_gap: the longest gap that is backfilled, ns. max_rate: the limit of a backfill on stdout in
    points/s, 0 for no limit, None for what suits the reader. spool_limit: bytes of lines that wait on disk at most.
    file: where they may stand besides the environment. notes: what is odd but no reason to stop.
    """

    url: str | None = None
    given_token: Secret | None = None
    token_file: Path | None = None
    org: str | None = None
    bucket: str | None = None
    measurement: str | None = None
    interval: int | None = None
    log_level: str = "INFO"
    log_file: Path | None = None
    loops: Path | None = None
    shard: Shard | None = None
    state: Path | None = None
    max_gap: int = DAY
    max_rate: int | None = None
    spool_limit: int | None = None
    file: Path = Path(".env")
    notes: tuple[str, ...] = ()

    def token(self) -> Secret | None:
        """The token, from a token file as it is now: after a 401, ask again. BadInput if that cannot be read."""
        if self.token_file is None:
            return self.given_token
        where = f"INFLUXDB_TOKEN_FILE {str(self.token_file)!r}"
        try:
            text = self.token_file.read_bytes().decode("utf-8-sig").strip()
        except OSError as error:
            what = f"cannot be read: {error.strerror}"
            raise BadInput([Problem(where, what, "name a file that holds the token")]) from None
        except ValueError:  # not UTF-8, or a null in the name; the exception would quote the file
            text = ""
        if not text:
            raise BadInput([Problem(where, "holds no token", "write the token into it, and nothing else")])
        return Secret(text)

    def require_connection(self) -> Connection:
        """The connection, or one BadInput with all that it lacks."""
        problems: list[Problem] = []
        token = None
        try:
            token = self.token()
        except BadInput as error:
            problems += error.problems
        told = (self.url, token or problems, self.org, self.bucket)
        missing = [name for name, value in zip(REQUIRED, told, strict=True) if not value]
        if missing:
            problems.insert(0, self._missing(missing))
        if self.url:
            problems += _url_problems(self.url)
        if token:
            problems += _token_problems(token)
        for name, text in (("INFLUXDB_ORG", self.org), ("INFLUXDB_BUCKET", self.bucket)):
            if text and _quoted(text):
                problems.append(Problem(name, *QUOTED))
            elif text and not text.isprintable():
                problems.append(Problem(name, "has characters that cannot be printed", "copy it again"))
        if problems:
            raise BadInput(problems)
        assert self.url is not None
        assert token is not None
        assert self.org is not None
        assert self.bucket is not None
        return Connection(self.url.rstrip("/"), token, self.org, self.bucket)

    def _missing(self, names: list[str]) -> Problem:
        """What is not set, and which lines to put where."""
        what = " and ".join([f"{_and(names)} {'are' if names[1:] else 'is'} not set", *self.notes])
        lines = ", ".join(f"{name}={EXAMPLES[name]}" for name in names)
        copy = "" if self.file.exists() else " (`cp env.example .env` begins one)"
        return Problem("environment", what, f"export, or write into {self.file.absolute()}{copy}, {lines}")

    def warnings(self) -> tuple[str, ...]:
        """What works, yet should be looked at."""
        found = list(self.notes)
        has_token = self.given_token is not None or self.token_file is not None
        if has_token and self.url and not _url_problems(self.url) and exposes_token(self.url):
            found.append("INFLUXDB_URL: the token travels unencrypted to another host; use https")
        return tuple(found)


def read_settings(env: Mapping[str, str], env_file: Path | None = None, *,
                  options: Mapping[str, str] | None = None, connection: bool = False) -> Settings:
    """The settings, or one BadInput with all that is wrong.

    env_file: must be there; without one, `.env` in the working folder is read if it is there. options: what
    the command line gave, under the names of the environment. connection: whether one is needed, so that what
    it lacks is told with the rest.
    """
    problems: list[Problem] = []
    notes: list[str] = []
    file = _env_file(env_file, problems, notes)
    label = str(env_file or ".env")
    layers = [("option", options or {}), ("environment", env), (label, file)]
    found: dict[str, tuple[str, str]] = {}  # name -> where, value
    for layer, values in layers:
        given = {name: values[name].strip() for name in (*NAMES, *ALIASES) if values.get(name, "").strip()}
        if layer == label:
            notes += _strangers(label, file)
        _one_token(given, found, layer, problems)
        for name, value in given.items():
            found.setdefault(ALIASES.get(name, name), (_where(layer, name), value))
    settings = _settings(found, Path(label), tuple(notes), problems)
    if connection:
        try:
            settings.require_connection()
        except BadInput as error:
            problems += error.problems
    if problems:
        raise BadInput(problems)
    return settings


def _settings(found: Mapping[str, tuple[str, str]], file: Path, notes: tuple[str, ...],
              problems: list[Problem]) -> Settings:
    text = {name: value for name, (_, value) in found.items()}
    interval, level, max_gap = None, "INFO", DAY
    if "STREAM_INTERVAL" in found:
        interval = _interval(*found["STREAM_INTERVAL"], problems)
    if "CLPM_MAX_GAP" in found:
        max_gap = _duration(*found["CLPM_MAX_GAP"], problems) or DAY
    if "LOG_LEVEL" in found:
        level = _level(*found["LOG_LEVEL"], problems)
    shard = _shard(*found["CLPM_SHARD"], problems) if "CLPM_SHARD" in found else None

    def path(name: str) -> Path | None:
        return Path(os.path.expanduser(text[name])) if name in text else None

    return Settings(
        url=text.get("INFLUXDB_URL"), token_file=path("INFLUXDB_TOKEN_FILE"),
        given_token=Secret(text["INFLUXDB_TOKEN"]) if "INFLUXDB_TOKEN" in text else None,
        org=text.get("INFLUXDB_ORG"), bucket=text.get("INFLUXDB_BUCKET"),
        measurement=text.get("INFLUXDB_MEASUREMENT"),
        interval=interval, log_level=level, log_file=path("LOG_FILE"), loops=path("CLPM_LOOPS"),
        shard=shard, state=path("CLPM_STATE"), max_gap=max_gap,
        max_rate=_rate(*found["CLPM_MAX_RATE"], problems) if "CLPM_MAX_RATE" in found else None,
        spool_limit=_size(*found["CLPM_SPOOL_LIMIT"], problems) if "CLPM_SPOOL_LIMIT" in found else None,
        file=file, notes=notes)


def _one_token(given: dict[str, str], found: Mapping[str, object], layer: str,
               problems: list[Problem]) -> None:
    """INFLUXDB_TOKEN and INFLUXDB_TOKEN_FILE are one setting: the first layer that has either decides."""
    both = ("INFLUXDB_TOKEN", "INFLUXDB_TOKEN_FILE")
    if any(name in found for name in both):
        for name in both:
            given.pop(name, None)
    elif all(name in given for name in both):
        problems.append(Problem(_where(layer, both[1]), "INFLUXDB_TOKEN is set as well", "keep one of them"))


def _where(layer: str, name: str) -> str:
    return {"option": OPTIONS.get(name, name), "environment": name}.get(layer, f"{layer}: {name}")


def _duration(where: str, text: str, problems: list[Problem]) -> int | None:
    try:
        return parse_duration(text)
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        problems.append(Problem(where, what, remedy))
        return None


def _interval(where: str, text: str, problems: list[Problem]) -> int | None:
    ns = _duration(where, text, problems)
    if ns is not None and ns < MS:
        problems.append(Problem(where, f"{text!r} is too short", f"give at least {format_duration(MS)}"))
    return ns


def _shard(where: str, text: str, problems: list[Problem]) -> Shard | None:
    from socket import gethostname  # only where there are shards

    from clpm_execd.config.shard import parse_shard

    try:
        return parse_shard(text, gethostname())
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        problems.append(Problem(where, what, remedy))
        return None


def _rate(where: str, text: str, problems: list[Problem]) -> int | None:
    if text.isascii() and text.isdigit() and int(text) < 10**9:
        return int(text)
    problems.append(Problem(where, f"{text[:40]!r} is no number of points", "give points a second, 0 for no limit"))
    return None


def _size(where: str, text: str, problems: list[Problem]) -> int | None:
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([kMGT]?B)", text, re.ASCII)
    size = int(float(found[1]) * SIZES[found[2]]) if found else 0
    if size < SIZES["MB"]:
        problems.append(Problem(where, f"{text[:40]!r} is no size from 1MB on", "write it as 500MB or 2GB"))
        return None
    return size


def _level(where: str, text: str, problems: list[Problem]) -> str:
    level = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(text.upper(), text.upper())
    if level not in LEVELS:
        problems.append(Problem(where, f"{text[:40]!r} is no log level", did_you_mean(level, LEVELS)))
    return level


def _env_file(path: Path | None, problems: list[Problem], notes: list[str]) -> dict[str, str]:
    """The values of a named file, or of `.env` if there is one; a bad line is named, never quoted."""
    file = path or Path(".env")
    try:
        if path is None and not file.is_file():
            return {}
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        if path is None:
            notes.append(f".env cannot be read: {error.strerror}")
        else:
            problems.append(Problem(str(file), f"cannot be read: {error.strerror}",
                                    "name a file that exists, see env.example"))
        return {}
    except ValueError:
        problems.append(Problem(str(file), "is not UTF-8", "save it as UTF-8, with lines such as NAME=value"))
        return {}
    from io import StringIO

    from dotenv.parser import parse_stream  # only where there is a file

    values: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            line = f"{file}: line {binding.original.line}"
            problems.append(Problem(line, "cannot be read", "write NAME=value"))
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values


def _strangers(label: str, file: Mapping[str, str]) -> list[str]:
    return [f"{label}: {name} is not known, {did_you_mean(name, NAMES)}" for name in file
            if name.startswith(("INFLUX", "CLPM_", "STREAM_")) and name not in (*NAMES, *ALIASES)]


def _url_problems(url: str) -> list[Problem]:
    """What is wrong with a URL, without showing it: it may hold a password."""
    def problem(what: str, remedy: str = URL_EXAMPLE) -> list[Problem]:
        return [Problem("INFLUXDB_URL", what, remedy)]

    if _quoted(url):
        return problem(*QUOTED)
    if re.search(r"[\s\x00-\x1f\x7f-\x9f]", url):
        return problem("has white space or control characters in it")
    if not re.match(r"https?://", url, re.IGNORECASE):
        return problem("begins with neither http:// nor https://")
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return problem("has a wrong host or port", PORT_EXAMPLE)
    if not parts.hostname:
        return problem("names no host")
    if port == 0 or parts.netloc.endswith(":"):
        return problem("has a wrong port", PORT_EXAMPLE)
    if "@" in parts.netloc:
        return problem("holds a user name or password", "remove them, INFLUXDB_TOKEN says who writes")
    if parts.query or parts.fragment:
        return problem("has something behind a ? or #", "remove it, org and bucket have their own settings")
    return []


def _token_problems(token: Secret) -> list[Problem]:
    text = token.reveal()
    if _quoted(text):
        return [Problem("INFLUXDB_TOKEN", *QUOTED)]
    wrong = ""
    if any(c.isspace() or not c.isprintable() for c in text):
        wrong = "has white space or control characters in it"
    elif any(ord(c) > 255 for c in text):
        wrong = "has characters that no HTTP header can carry"
    return [Problem("INFLUXDB_TOKEN", wrong, "copy the token again, whole and alone")] if wrong else []


def _quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
