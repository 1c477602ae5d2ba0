"""The proxy of a request: which variable names it, which servers are excluded, and the error of an unusable one."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import run_command

from clpm_execd.config.settings import Settings, read_settings
from clpm_execd.problems import BadInput
from clpm_execd.proxies import find_proxy

SERVER = "http://influx.plant.example:8086"
PROXY = "http://proxy.example:3128"


def proxy_url(server: str = SERVER, **env: str) -> str | None:
    proxy = find_proxy(server, env)
    return proxy.url if proxy else None


def test_the_variable_of_the_scheme_comes_before_all_proxy_and_lower_case_before_upper_case() -> None:
    assert proxy_url() is None
    assert proxy_url(HTTP_PROXY=PROXY, ALL_PROXY="http://other") == PROXY
    assert proxy_url(http_proxy=PROXY, HTTP_PROXY="http://other") == PROXY
    assert proxy_url(HTTPS_PROXY=PROXY) is None
    assert proxy_url(ALL_PROXY="proxy.example:3128") == PROXY
    assert proxy_url(http_proxy="", HTTP_PROXY=PROXY) is None
    assert proxy_url(HTTP_PROXY=PROXY, REQUEST_METHOD="GET") is None


@pytest.mark.parametrize("server", [
    "http://localhost:8086", "https://127.0.0.1", "http://127.9.9.9", "http://[::1]:8086", "http://influx.localhost",
    "http://localhost.:8086", "http://[::ffff:127.0.0.1]:8086", "http://0.0.0.0:8086",
])
def test_a_server_on_this_machine_is_never_reached_through_a_proxy(server: str) -> None:
    assert proxy_url(server, HTTP_PROXY=PROXY, HTTPS_PROXY=PROXY, ALL_PROXY=PROXY) is None


@pytest.mark.parametrize(("server", "entries"), [
    ("http://10.1.2.3:8086", "10.0.0.0/8"),
    ("http://10.1.2.3:8086", "192.168.0.0/16, 10.1.2.3"),
    ("http://10.1.2.3:8086", "192.168.0.0/16 10.1.2.3:8086"),
    ("http://[fd00::5]:8086", "fd00::/8"),
    ("http://[fd00::5]:8086", "[fd00::5]:8086"),
    (SERVER, "plant.example"),
    (SERVER, " other.example ,\t.plant.example "),
    (SERVER, "*.plant.example"),
    (SERVER, "INFLUX.Plant.Example"),
    (SERVER, "influx.plant.example:8086"),
    (SERVER, "*"),
    ("https://influx.plant.example", "influx.plant.example:443"),
])
def test_no_proxy_excludes_networks_addresses_domains_and_ports(server: str, entries: str) -> None:
    assert proxy_url(server, ALL_PROXY=PROXY, NO_PROXY=entries) is None


@pytest.mark.parametrize(("server", "entries"), [
    ("http://11.1.2.3:8086", "10.0.0.0/8"),
    ("http://10.1.2.3:8086", "10.1.2.3:9999"),
    (SERVER, "lant.example"),
    (SERVER, "10.0.0.0/8,,"),
    (SERVER, "."),
    ("http://10.1.2.3:8086", "10.0.0.0/99"),
])
def test_no_proxy_excludes_nothing_else(server: str, entries: str) -> None:
    assert proxy_url(server, ALL_PROXY=PROXY, NO_PROXY=entries) == PROXY


@pytest.mark.parametrize("value", [
    "socks5://proxy.example:1080", "socks5h://me:secret@proxy.example", "http://me:secret@proxy.example:99999",
    "http://proxy.example:port", "http://", "http://proxy example", "http://[::1", "http://proxy.example:0",
])
@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy"])
def test_an_unusable_proxy_is_one_error_that_names_the_variable(value: str, variable: str) -> None:
    with pytest.raises(BadInput) as caught:
        find_proxy(SERVER, {variable: value})
    [problem] = caught.value.problems
    assert problem.where == variable
    assert problem.remedy
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("command", [["--direct", "--count", "1"], ["check", "--direct"]])
@pytest.mark.parametrize("value", ["socks5://proxy.example:1080", "http://proxy.example:99999"])
def test_the_program_ends_with_one_line_about_an_unusable_proxy(command: list[str], value: str, tmp_path: Path) -> None:
    env = {"INFLUXDB_URL": SERVER, "INFLUXDB_TOKEN": "a-token-to-write", "INFLUXDB_ORG": "o", "INFLUXDB_BUCKET": "b",
           "ALL_PROXY": value, "HTTP_PROXY": "", "http_proxy": "", "all_proxy": value, "no_proxy": "", "NO_PROXY": ""}
    result = run_command(*command, folder=tmp_path, env=env)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert "all_proxy" in result.stderr


def settings_of(url: str, monkeypatch: pytest.MonkeyPatch, **env: str) -> Settings:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return read_settings({"INFLUXDB_URL": url, "INFLUXDB_TOKEN": "a-token-to-write"})


def test_the_warning_about_an_unencrypted_token_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    [warning] = settings_of(SERVER, monkeypatch, HTTP_PROXY="http://me:secret@proxy.example:3128").warnings()
    assert "unencrypted" in warning
    assert "HTTP_PROXY" in warning
    assert "secret" not in warning
    assert "PROXY" not in settings_of(SERVER, monkeypatch).warnings()[0]
    assert settings_of("http://localhost:8086", monkeypatch, HTTP_PROXY=PROXY).warnings() == ()
    assert settings_of("https://influx.plant.example", monkeypatch, HTTPS_PROXY=PROXY).warnings() == ()


def test_the_direct_stream_warns_of_an_unencrypted_token(tmp_path: Path) -> None:
    env = {"INFLUXDB_URL": "http://192.0.2.1:8086", "INFLUXDB_TOKEN": "a-token-to-write", "INFLUXDB_ORG": "o",
           "INFLUXDB_BUCKET": "b", "http_proxy": "http://127.0.0.1:1", "no_proxy": ""}
    result = run_command("--direct", "--count", "0", folder=tmp_path, env=env)
    assert result.stderr.count("unencrypted") == 1
    assert "http_proxy" in result.stderr
