"""The connection to InfluxDB: its parts, and what is wrong with them.

No problem quotes a token, or a URL, which may contain a password; a Secret shows its text only where it is used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from clpm_execd.problems import BadInput, Problem

_URL_EXAMPLE = "write it as http://localhost:8086"
_PORT_EXAMPLE = _URL_EXAMPLE + ", with a port from 1 to 65535"
_QUOTES_PROBLEM = ("is in quotes", "remove them; docker takes them for part of the value")
# A word of this length with so many changes between letter and digit is taken for a token. Of 20,000 drawn tokens of
# each kind it misses none of InfluxDB 2 and 3, 0.01 % of 16 bytes in hexadecimal, 1.4 % of 32 bytes in base64 for URLs.
_TOKEN_WORD = re.compile(r"[A-Za-z0-9+_-]{20,}")
_MIN_TOKEN_CHANGES = 4
_LETTER_OR_DIGIT_CHANGE = re.compile(r"(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])")


class Secret:
    """A text that only `reveal` shows; neither str nor repr does."""

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
    """Where to write. Every part is set and valid."""

    url: str
    token: Secret
    org: str
    bucket: str


def looks_like_token(text: str) -> bool:
    """Whether a text may be an API token, or hold one, so that no message should show it."""
    return text.endswith("==") or any(len(_LETTER_OR_DIGIT_CHANGE.findall(word)) >= _MIN_TOKEN_CHANGES
                                      for word in _TOKEN_WORD.findall(text))


def find_url_problems(url: str) -> list[Problem]:
    """Return the problem of a URL, if it has one, without quoting the URL: it may contain a password."""
    def problem(what: str, remedy: str = _URL_EXAMPLE) -> list[Problem]:
        return [Problem("INFLUXDB_URL", what, remedy)]

    if _is_quoted(url):
        return problem(*_QUOTES_PROBLEM)
    if re.search(r"[\s\x00-\x1f\x7f-\x9f]", url):
        return problem("contains white space or control characters")
    if not re.match(r"https?://", url, re.IGNORECASE):
        return problem("does not start with http:// or https://")
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return problem("has an invalid host or port", _PORT_EXAMPLE)
    if not parts.hostname:
        return problem("has no host")
    if port == 0 or parts.netloc.endswith(":"):
        return problem("has an invalid port", _PORT_EXAMPLE)
    if "@" in parts.netloc:
        return problem("contains a user name or password", "remove them; INFLUXDB_TOKEN identifies the client")
    if parts.query or parts.fragment:
        return problem("has a query or fragment", "remove all from ? or # on; org and bucket are settings of their own")
    return []


def find_proxy_problems(url: str) -> Sequence[Problem]:
    """Return the problem of the proxy that the environment names for this URL, if it has one."""
    from clpm_execd.proxies import find_proxy

    try:
        find_proxy(url)
    except BadInput as bad:
        return bad.problems
    return []


def describe_proxy(url: str) -> str:
    """Return the proxy of a URL as the continuation of a sentence; nothing without one."""
    from clpm_execd.proxies import find_proxy

    with suppress(BadInput):
        proxy = find_proxy(url)
        return f", through the proxy {proxy.url} of {proxy.variable}" if proxy else ""
    return ""


def find_token_problems(token: Secret) -> list[Problem]:
    """Return the problem of a token, if it has one."""
    text = token.reveal()
    if _is_quoted(text):
        return [Problem("INFLUXDB_TOKEN", *_QUOTES_PROBLEM)]
    what = ""
    if any(c.isspace() or not c.isprintable() for c in text):
        what = "contains white space or control characters"
    elif any(ord(c) > 255 for c in text):
        what = "contains characters that an HTTP header cannot carry"
    return [Problem("INFLUXDB_TOKEN", what, "copy the token again, complete and alone")] if what else []


def find_name_problems(name: str, text: str) -> list[Problem]:
    """Return the problem of an organization or a bucket; name: its setting."""
    if _is_quoted(text):
        return [Problem(name, *_QUOTES_PROBLEM)]
    return [] if text.isprintable() else [Problem(name, "contains unprintable characters", "copy it again")]


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
