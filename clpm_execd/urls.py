"""What a URL says about the safety of what is sent there, by one rule for settings, checks and the InfluxDB client.

Every room may import this module; it imports nothing of ours.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def is_on_this_machine(url: str) -> bool:
    """Return whether the host of a URL is this machine, by its name or a loopback address."""
    from ipaddress import ip_address  # a stream to stdout needs none of it

    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ip_address(host)
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or address.is_unspecified  # a connection to 0.0.0.0 or :: ends on this machine
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761, section 6.3


def exposes_token(url: str) -> bool:
    """Return whether a token that is sent to this URL travels unencrypted to another machine."""
    return urlsplit(url).scheme == "http" and not is_on_this_machine(url)


def remove_secrets(url: str) -> str:
    """Return the URL for a log or a message: without user and password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
