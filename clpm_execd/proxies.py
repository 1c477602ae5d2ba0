"""The proxy for a URL by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, read as curl and Go read them.

A server on this machine is never reached through a proxy. Names in lower case come before names in upper case. Every
room may import this module.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from clpm_execd.problems import BadInput, Problem
from clpm_execd.urls import is_on_this_machine

_DEFAULT_PORTS = {"http": 80, "https": 443}
_REMEDY = "write it as http://proxy.example:3128, or name the server in NO_PROXY"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy for requests.

    Attributes
    ----------
    variable : str
        The environment variable that names it.
    url : str
        Its address, without user and password.
    headers : mapping of str to str
        What a request to it must carry, such as user and password.
    """

    variable: str
    url: str
    headers: Mapping[str, str] = field(repr=False)


def find_proxy(url: str, env: Mapping[str, str] = os.environ) -> Proxy | None:
    """Return the proxy for requests to a URL, or None if there is none.

    Parameters
    ----------
    url : str
        The URL of the server.
    env : mapping of str to str
        The environment.

    Raises
    ------
    BadInput
        If the variable names no proxy that can be used; the message does not quote it.
    """
    if is_on_this_machine(url):
        return None
    scheme = urlsplit(url).scheme
    variable, value = _read_first(env, f"{scheme}_proxy", f"{scheme.upper()}_PROXY")
    if not value:
        variable, value = _read_first(env, "all_proxy", "ALL_PROXY")
    if not value or _is_excluded(url, _read_first(env, "no_proxy", "NO_PROXY")[1]):
        return None
    address = value if "://" in value else f"http://{value}"
    what = _find_problem(address)
    if what:
        raise BadInput([Problem(variable, what, _REMEDY)])
    parts = urlsplit(address)
    user, _, host = parts.netloc.rpartition("@")
    headers = {"Proxy-Authorization": "Basic " + b64encode(unquote(user).encode()).decode()} if user else {}
    return Proxy(variable, urlunsplit((parts.scheme, host, "", "", "")), headers)


def _read_first(env: Mapping[str, str], *names: str) -> tuple[str, str]:
    """Return the first of these variables that is set, also to nothing, and its value."""
    for name in names:
        # Under CGI, HTTP_PROXY is a header of the request, which anybody can send.
        if name in env and not (name == "HTTP_PROXY" and "REQUEST_METHOD" in env):
            return name, env[name].strip()
    return "", ""


def _find_problem(address: str) -> str:
    """Return what is wrong with the address of a proxy, without quoting it: it may contain a password."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return "has an invalid host or port"
    if parts.scheme not in _DEFAULT_PORTS:
        return f"names a proxy of type {parts.scheme[:20]!r}, and only http and https are supported"
    if not parts.hostname or re.search(r"[\s\x00-\x1f\x7f]", address):
        return "has no valid host"
    return "has an invalid host or port" if port == 0 else ""


def _is_excluded(url: str, no_proxy: str) -> bool:
    """Return whether NO_PROXY excludes the server of a URL."""
    parts = urlsplit(url)
    host, port = (parts.hostname or "").rstrip("."), parts.port or _DEFAULT_PORTS.get(parts.scheme)
    return any(_matches(entry, host, port) for entry in re.split(r"[\s,]+", no_proxy.lower()) if entry)


def _matches(entry: str, host: str, port: int | None) -> bool:
    """Return whether an entry of NO_PROXY names a host: by name, domain, address or network, with a port or without."""
    from ipaddress import ip_address, ip_network

    if entry == "*":
        return True
    with_port = re.fullmatch(r"(\[.*\]|[^:]+):(\d+)", entry)
    if with_port:
        if int(with_port[2]) != port:
            return False
        entry = with_port[1]
    entry = entry.strip("[]")
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        domain = entry.removeprefix("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return ip_address(host) in network
    except ValueError:
        return False
