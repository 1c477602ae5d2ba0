"""URLs in messages hold no secrets, and a token that would travel unencrypted is noticed."""

from __future__ import annotations

import pytest

from clpm_execd.urls import exposes_token, is_on_this_machine, remove_secrets


def test_a_url_in_a_message_has_neither_password_nor_query() -> None:
    assert remove_secrets("https://u:p@influx.example:8086/base?x=1#y") == "https://influx.example:8086/base"


@pytest.mark.parametrize("url", [
    "http://localhost:8086", "http://LOCALHOST", "http://influx.localhost:8086", "http://127.0.0.1:8086",
    "http://127.0.0.9", "http://[::1]:1",
])
def test_a_loopback_address_is_this_machine_and_needs_no_encryption(url: str) -> None:
    assert is_on_this_machine(url)
    assert not exposes_token(url)


@pytest.mark.parametrize("url", [
    "http://influx.example:8086", "HTTP://10.0.0.1", "http://127.evil.example", "http://localhost.evil.example",
    "http://notlocalhost", "http://[fe80::1]:8086",
])
def test_a_token_sent_by_http_to_another_machine_is_exposed(url: str) -> None:
    assert exposes_token(url)
    assert not exposes_token(url.lower().replace("http:", "https:"))
