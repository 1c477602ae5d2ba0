"""Which server it is, by what it says of itself, and the dialect that it understands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from clpm_execd.influx.dialects import Dialect, Flux, InfluxDB3SQL, InfluxQL, MetricsQL, QuestDBSQL
from clpm_execd.influx.query import QueryClient
from clpm_execd.problems import BadInput


@dataclass(frozen=True, slots=True)
class Server:
    """A server and how it is asked.

    Attributes
    ----------
    name : str
        Such as "InfluxDB 2.7.12"; empty for one that does not say what it is.
    dialect : Dialect
        How it is asked; Flux for one that does not say what it is.
    """

    name: str
    dialect: Dialect


def identify_server(client: QueryClient) -> Server:
    """Return which server it is.

    Parameters
    ----------
    client : QueryClient
        One for its address.
    """
    try:
        headers = client.headers("/ping")
    except BadInput:  # a later request says what is wrong
        return Server("", Flux(client))
    return parse_server(headers, client)


def parse_server(headers: Mapping[str, str], client: QueryClient) -> Server:
    """Return which server gives these headers to /ping.

    Parameters
    ----------
    headers : mapping of str to str
        The headers by names such as "X-Influxdb-Version".
    client : QueryClient
        One for its address.
    """
    version = headers.get("X-Influxdb-Version", "").removeprefix("v")
    if headers.get("Server", "").startswith("questDB"):  # it gives the version of an InfluxDB as well
        return Server("QuestDB", QuestDBSQL(client))
    if "X-Server-Hostname" in headers:
        return Server("VictoriaMetrics", MetricsQL(client))
    if re.match(r"1\.", version):
        return Server(f"InfluxDB {version}", InfluxQL(client))
    if re.match(r"3\.", version):
        edition = headers.get("X-Influxdb-Build", "Core")
        return Server(f"InfluxDB {version} {edition}", InfluxDB3SQL(client, is_core=edition == "Core"))
    return Server(f"InfluxDB {version}" if version else "", Flux(client))
