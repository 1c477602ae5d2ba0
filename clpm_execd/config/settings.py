"""The settings, read once from options, environment and `.env`, in this order of precedence; the token stays secret.

No message, repr or exception of this module contains the token or a value that might contain it. An empty value counts
as not set. The settings of the connection are checked only when a connection is required: a stream to Telegraf runs
without them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from clpm_execd.config.connection import (
    Connection,
    Secret,
    describe_proxy,
    find_name_problems,
    find_proxy_problems,
    find_token_problems,
    find_url_problems,
    looks_like_token,
)
from clpm_execd.paths import read_bounded
from clpm_execd.problems import BadInput, Problem, did_you_mean, join_words
from clpm_execd.units import DAY, MS, SECOND, format_duration, parse_duration

if TYPE_CHECKING:
    from clpm_execd.config.shard import Shard

T = TypeVar("T")

# Variables without an option: default, and meaning.
ENVIRONMENT = {
    "INFLUXDB_URL": ("required by `--direct`", "URL of InfluxDB, such as `http://localhost:8086`"),
    "INFLUXDB_TOKEN": ("required by `--direct`", "API token with write permission"),
    "INFLUXDB_TOKEN_FILE": ("", "file with the token, in place of INFLUXDB_TOKEN; read again when it is rejected"),
    "INFLUXDB_ORG": ("required by `--direct`", "organization, by name or id"),
    "INFLUXDB_BUCKET": ("required by `--direct`", "bucket"),
    "INFLUXDB_MEASUREMENT": ("control_loops", "measurement of the samples"),
    "INFLUXDB_TIMEOUT": ("10s", "time-out of a request of `--direct` in all; more for a slow link or server"),
}
# The variables that a connection requires (see also INFLUXDB_TOKEN_FILE), each with the example that an error shows.
SETTING_EXAMPLES = {"INFLUXDB_URL": "http://localhost:8086", "INFLUXDB_TOKEN": "a token with write permission",
                    "INFLUXDB_ORG": "the organization", "INFLUXDB_BUCKET": "the bucket"}
# Variables that are options too.
OPTIONS = {"STREAM_INTERVAL": "--interval", "LOG_LEVEL": "--log-level", "LOG_FILE": "--log-file",
           "CLPM_LOOPS": "--config", "CLPM_SHARD": "--shard", "CLPM_STATE": "--state", "CLPM_MAX_GAP": "--max-gap",
           "CLPM_MAX_RATE": "--max-rate", "CLPM_SPOOL_LIMIT": "--spool-limit"}
# Names that variables had in 0.1.0 and keep; the new name wins where both are set.
SETTING_ALIASES = {"CLPM_PACE": "CLPM_MAX_RATE", "CLPM_CATCH_UP": "CLPM_MAX_GAP"}
SIZES_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SETTING_NAMES = (*ENVIRONMENT, *OPTIONS)
PATH_SETTINGS = ("INFLUXDB_TOKEN_FILE", "CLPM_LOOPS", "CLPM_STATE", "LOG_FILE")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
DEFAULT_TIMEOUT = 10 * SECOND  # for a server in the same site; a name lookup that fails takes 5 s
MIN_TIMEOUT, MAX_TIMEOUT = SECOND, 3600 * SECOND
MIN_SPOOL_BYTES = 10**6  # a queue of less holds not even one batch of lines
_OWN_NAME = re.compile(r"\s*(export\s+)?(INFLUX|CLPM_|STREAM_|LOG_)")  # how a line of `.env` begins that is for us
_MAX_SETTINGS_BYTES = 1_000_000  # of a file of settings or of a token, some hundred lines at most
_MAX_QUOTED = 40  # characters of a wrong value that an error shows


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process; None for one that is not set.

    Attributes
    ----------
    url, org, bucket, measurement : str or None
        Address and names of InfluxDB; unchecked, see `require_connection`.
    token_value : Secret or None
        INFLUXDB_TOKEN; use `token()`.
    token_file, log_file, loops, state : Path or None
    interval : int or None
        Time between samples, ns.
    timeout : int
        Time-out of a request to InfluxDB in all, ns.
    log_level : str
        One of LOG_LEVELS.
    shard : Shard or None
    max_gap : int
        Longest gap that is backfilled, ns.
    max_rate : int or None
        Limit of a backfill on stdout, points/s; 0 for no limit, None for the default.
    spool_limit : int or None
        Maximum size of the queue on disk, bytes.
    file : Path
        The file of settings, which may not exist.
    notes : tuple of str
        Oddities that do not prevent a start, a sentence each.
    """

    url: str | None = None
    token_value: Secret | None = None
    token_file: Path | None = None
    org: str | None = None
    bucket: str | None = None
    measurement: str | None = None
    interval: int | None = None
    timeout: int = DEFAULT_TIMEOUT
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

    def token(self, current: Secret | None = None) -> Secret | None:
        """Return the token; a token file is read at each call, because its token may be replaced while a stream runs.

        Parameters
        ----------
        current : Secret, optional
            The token that was read before. It stays if the file is a pipe, which can be read only once.

        Raises
        ------
        BadInput
            The token file cannot be read or holds no token.
        """
        if self.token_file is None:
            return self.token_value
        # A relative path where there is no file may be the token itself, which no message shows.
        has_path = self.token_file.is_absolute() or os.path.lexists(self.token_file)
        where = f"INFLUXDB_TOKEN_FILE {str(self.token_file)!r}" if has_path else "INFLUXDB_TOKEN_FILE"
        try:
            if current is not None and not stat.S_ISREG(os.stat(self.token_file).st_mode):
                return current
            text = read_bounded(self.token_file, _MAX_SETTINGS_BYTES).decode("utf-8-sig").strip()
        except OSError as error:
            what = f"cannot be read: {error.strerror}"
            raise BadInput([Problem(where, what, "name a file that holds the token")]) from None
        except ValueError:  # not UTF-8, or a null in the name; the exception would quote the file
            text = ""
        if not text:
            raise BadInput([Problem(where, "holds no token", "write only the token into it")])
        return Secret(text)

    def require_connection(self) -> Connection:
        """Return the connection.

        Raises
        ------
        BadInput
            Settings of the connection are missing or invalid; it lists all of them.
        """
        problems: list[Problem] = []
        token = None
        try:
            token = self.token()
        except BadInput as error:
            problems += error.problems
        values = (self.url, token or problems, self.org, self.bucket)
        missing = [name for name, value in zip(SETTING_EXAMPLES, values, strict=True) if not value]
        if missing:
            problems.insert(0, self._describe_missing_settings(missing))
        if self.url:
            problems += find_url_problems(self.url) or find_proxy_problems(self.url)
        if token:
            problems += find_token_problems(token)
        for name, text in (("INFLUXDB_ORG", self.org), ("INFLUXDB_BUCKET", self.bucket)):
            problems += find_name_problems(name, text or "")
        if problems:
            raise BadInput(problems)
        assert self.url is not None
        assert token is not None
        assert self.org is not None
        assert self.bucket is not None
        return Connection(self.url.rstrip("/"), token, self.org, self.bucket)

    def _describe_missing_settings(self, names: list[str]) -> Problem:
        """Return the problem of settings that are not set, with the lines to add and the file to add them to."""
        what = " and ".join([f"{join_words(names)} {'are' if names[1:] else 'is'} not set", *self.notes])
        lines = ", ".join(f"{name}={SETTING_EXAMPLES[name]}" for name in names)
        copy = "" if os.path.exists(self.file) else " (`cp env.example .env` creates it)"
        try:
            file = self.file.absolute()
        except OSError:  # the working folder was deleted
            file = self.file
        return Problem("environment", what, f"export, or write into {file}{copy}, {lines}")

    def warnings(self) -> tuple[str, ...]:
        """Return what does not prevent a start but needs attention, a sentence each."""
        warnings = list(self.notes)
        has_token = self.token_value is not None or self.token_file is not None
        if has_token and self.url and not find_url_problems(self.url):
            from clpm_execd.urls import exposes_token

            if exposes_token(self.url):
                through = describe_proxy(self.url)
                warnings.append(f"INFLUXDB_URL: the token travels unencrypted to another host{through}; use https")
        return tuple(warnings)


def read_settings(env: Mapping[str, str], env_file: Path | None = None, *,
                  options: Mapping[str, str] | None = None) -> Settings:
    """Return the settings from options, environment and file, in this order of precedence.

    Parameters
    ----------
    env : mapping of str to str
        The environment.
    env_file : Path, optional
        A file that must exist. Without one, `.env` in the working folder is read if it exists.
    options : mapping of str to str, optional
        The options on the command line, under the names of their environment variables.

    Raises
    ------
    BadInput
        Settings are invalid; it lists all of them.
    """
    problems: list[Problem] = []
    notes: list[str] = []
    file = _read_env_file(env_file, problems, notes)
    label = str(env_file or ".env")
    layers = [("option", options or {}), ("environment", env), (label, file)]
    texts: dict[str, tuple[str, str]] = {}  # name -> where it is set, value
    for layer, values in layers:
        layer_texts = {name: values[name].strip() for name in (*SETTING_NAMES, *SETTING_ALIASES)
                       if values.get(name, "").strip()}
        if layer == label:
            notes += _describe_unknown_names(label, file)
        _resolve_token(layer_texts, texts, layer, problems)
        for name, value in layer_texts.items():
            if _is_misplaced_token(name, value):
                what = "has a value that looks like an API token and is not shown"
                problems.append(Problem(_name_source(layer, name), what, "set INFLUXDB_TOKEN to a token"))
                continue
            texts.setdefault(SETTING_ALIASES.get(name, name), (_name_source(layer, name), value))
    settings = _parse(texts, Path(label), tuple(notes), problems)
    if problems:
        raise BadInput(problems)
    return settings


def _parse(texts: Mapping[str, tuple[str, str]], file: Path, notes: tuple[str, ...],
           problems: list[Problem]) -> Settings:
    """Return the settings in these texts; add an error to the problems for each that is invalid.

    texts: by name, where the text is set and the text itself.
    """
    text = {name: value for name, (_, value) in texts.items()}

    def parse(name: str, parser: Callable[[str, str, list[Problem]], T | None]) -> T | None:
        return parser(*texts[name], problems) if name in texts else None

    def path(name: str) -> Path | None:
        return Path(os.path.expanduser(text[name])) if name in text else None

    return Settings(
        url=text.get("INFLUXDB_URL"), token_file=path("INFLUXDB_TOKEN_FILE"),
        token_value=Secret(text["INFLUXDB_TOKEN"]) if "INFLUXDB_TOKEN" in text else None,
        org=text.get("INFLUXDB_ORG"), bucket=text.get("INFLUXDB_BUCKET"), measurement=text.get("INFLUXDB_MEASUREMENT"),
        interval=parse("STREAM_INTERVAL", _parse_interval), max_gap=parse("CLPM_MAX_GAP", _parse_duration) or DAY,
        timeout=parse("INFLUXDB_TIMEOUT", _parse_timeout) or DEFAULT_TIMEOUT,
        log_level=parse("LOG_LEVEL", _parse_level) or "INFO", log_file=path("LOG_FILE"), loops=path("CLPM_LOOPS"),
        shard=parse("CLPM_SHARD", _parse_shard), state=path("CLPM_STATE"), max_rate=parse("CLPM_MAX_RATE", _parse_rate),
        spool_limit=parse("CLPM_SPOOL_LIMIT", _parse_size), file=file, notes=notes)


def _resolve_token(layer_texts: dict[str, str], texts: Mapping[str, object], layer: str,
                   problems: list[Problem]) -> None:
    """Drop INFLUXDB_TOKEN and INFLUXDB_TOKEN_FILE from a layer if one before it has either; both are one setting."""
    both = ("INFLUXDB_TOKEN", "INFLUXDB_TOKEN_FILE")
    if any(name in texts for name in both):
        for name in both:
            layer_texts.pop(name, None)
    elif all(name in layer_texts for name in both):
        problems.append(Problem(_name_source(layer, both[1]), "INFLUXDB_TOKEN is set as well", "keep one of them"))


def _name_source(layer: str, name: str) -> str:
    return {"option": OPTIONS.get(name, name), "environment": name}.get(layer, f"{layer}: {name}")


def _is_misplaced_token(name: str, value: str) -> bool:
    """Whether a setting that is no secret has a value like a token: no message, log or file name may then show it."""
    if name in ("INFLUXDB_TOKEN", "INFLUXDB_URL") or not looks_like_token(value):
        return False
    if name not in PATH_SETTINGS:
        return True
    path = Path(os.path.expanduser(value))
    folders = [folder for folder in path.parents if folder.name]
    return not any(os.path.lexists(place) for place in (path, *folders))


def _parse_duration(where: str, text: str, problems: list[Problem]) -> int | None:
    try:
        return parse_duration(text)
    except ValueError as error:
        problems.append(Problem.from_error(where, error))
        return None


def _parse_interval(where: str, text: str, problems: list[Problem]) -> int | None:
    ns = _parse_duration(where, text, problems)
    if ns is not None and ns < MS:
        problems.append(Problem(where, f"{text!r} is too short", f"give at least {format_duration(MS)}"))
    return ns


def _parse_timeout(where: str, text: str, problems: list[Problem]) -> int | None:
    ns = _parse_duration(where, text, problems)
    if ns is not None and not MIN_TIMEOUT <= ns <= MAX_TIMEOUT:
        problems.append(Problem(where, f"invalid time-out {text!r}", f"give {format_duration(MIN_TIMEOUT)} to "
                                                                     f"{format_duration(MAX_TIMEOUT)}"))
    return ns


def _parse_shard(where: str, text: str, problems: list[Problem]) -> Shard | None:
    from socket import gethostname  # only if there are shards

    from clpm_execd.config.shard import parse_shard

    try:
        return parse_shard(text, gethostname())
    except ValueError as error:
        problems.append(Problem.from_error(where, error))
        return None


def _parse_rate(where: str, text: str, problems: list[Problem]) -> int | None:
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    problems.append(Problem(where, f"invalid rate {text[:_MAX_QUOTED]!r}", "give points/s, or 0 for no limit"))
    return None


def _parse_size(where: str, text: str, problems: list[Problem]) -> int | None:
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([kMGT]?B)", text, re.ASCII)
    size = int(float(match[1]) * SIZES_BYTES[match[2]]) if match else 0
    if size < MIN_SPOOL_BYTES:
        what = f"invalid size {text[:_MAX_QUOTED]!r}, at least 1MB is needed"
        problems.append(Problem(where, what, "write it as 500MB or 2GB"))
        return None
    return size


def _parse_level(where: str, text: str, problems: list[Problem]) -> str:
    level = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(text.upper(), text.upper())
    if level not in LOG_LEVELS:
        problems.append(Problem(where, f"unknown log level {text[:_MAX_QUOTED]!r}", did_you_mean(level, LOG_LEVELS)))
    return level


def _read_env_file(path: Path | None, problems: list[Problem], notes: list[str]) -> dict[str, str]:
    """Return the values in a file, or in `.env` if it exists. An error names a bad line and never quotes it."""
    file = path or Path(".env")
    try:
        if path is None and not stat.S_ISREG(file.stat().st_mode):
            return {}
        text = read_bounded(file, _MAX_SETTINGS_BYTES).decode("utf-8-sig")
    except OSError as error:
        if path is None and isinstance(error, FileNotFoundError):
            return {}
        if path is None:
            notes.append(f".env cannot be read: {error.strerror}")
        else:
            is_hidden = isinstance(error, PermissionError)
            remedy = "let this user read it" if is_hidden else "name a file that exists, see env.example"
            problems.append(Problem(str(file), f"cannot be read: {error.strerror}", remedy))
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
            if path is None and not _OWN_NAME.match(binding.original.string):
                notes.append(f"{line} cannot be read and is ignored")  # .env is shared with other programs
            else:
                problems.append(Problem(line, "cannot be read", "write NAME=value"))
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values


def _describe_unknown_names(label: str, file: Mapping[str, str]) -> list[str]:
    names = [name for name in file if _OWN_NAME.match(name) and not name.startswith("LOG_")
             and name not in (*SETTING_NAMES, *SETTING_ALIASES)]
    return [f"{label}: an unknown setting has a name that looks like an API token and is not shown, write NAME=value"
            if looks_like_token(name) else f"{label}: unknown setting {name}, {did_you_mean(name, SETTING_NAMES)}"
            for name in names]

