"""Settings come from option, environment and .env in this order, and never show the token."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clpm_execd.config.settings import Secret, Settings, read_settings
from clpm_execd.problems import BadInput
from clpm_execd.units import SECOND

TOKEN = "s3cr3t-t0ken=="
WHOLE = {"INFLUXDB_URL": "http://localhost:8086", "INFLUXDB_TOKEN": TOKEN,
         "INFLUXDB_ORG": "plant", "INFLUXDB_BUCKET": "loops"}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaints(env: dict[str, str], **more: object) -> str:
    with pytest.raises(BadInput) as caught:
        read_settings(env, **more).require_connection()  # type: ignore[arg-type]
    return str(caught.value)


def test_nothing_needs_to_be_set() -> None:
    settings = read_settings({})
    assert settings == Settings()
    assert settings.warnings() == ()


def test_the_nearer_layer_wins(empty_folder: Path) -> None:
    (empty_folder / ".env").write_text(
        "STREAM_INTERVAL=3\nLOG_LEVEL=debug\nINFLUXDB_ORG='an org'\nCLPM_LOOPS=a.toml\n")
    settings = read_settings({"STREAM_INTERVAL": "2", "LOG_LEVEL": ""}, options={"STREAM_INTERVAL": "500ms"})
    assert settings.interval == SECOND // 2
    assert settings.log_level == "DEBUG"
    assert settings.org == "an org"
    assert settings.loops == Path("a.toml")
    assert read_settings({"STREAM_INTERVAL": "2"}).interval == 2 * SECOND


def test_the_old_name_of_a_variable_means_the_new_one(empty_folder: Path) -> None:
    old, new = {"CLPM_PACE": "7", "CLPM_CATCH_UP": "2h"}, {"CLPM_MAX_RATE": "9", "CLPM_MAX_GAP": "3h"}
    assert read_settings(old) == Settings(max_rate=7, max_gap=7200 * SECOND)
    assert read_settings({**old, **new}) == Settings(max_rate=9, max_gap=10_800 * SECOND)
    (empty_folder / ".env").write_text("CLPM_MAX_RATE=9\nCLPM_CATCH_UP=3h\n")
    assert read_settings({"CLPM_PACE": "7"}) == Settings(max_rate=7, max_gap=10_800 * SECOND)
    assert complaints({"CLPM_PACE": "fast"}).startswith("CLPM_PACE: invalid rate 'fast'")


def test_a_home_that_nobody_has_is_a_folder_like_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    settings = read_settings({"LOG_FILE": "~/a.log", "CLPM_LOOPS": "~nobody-here/loops.toml"})
    assert settings.log_file == Path("/home/me/a.log")
    assert settings.loops == Path("~nobody-here/loops.toml")


def test_an_empty_text_is_not_set() -> None:
    assert read_settings(dict.fromkeys(WHOLE, " ")) == Settings()


def test_a_whole_connection_is_handed_over() -> None:
    connection = read_settings({**WHOLE, "INFLUXDB_URL": " http://localhost:8086/ "}).require_connection()
    assert connection.url == "http://localhost:8086"
    assert connection.token.reveal() == TOKEN
    assert (connection.org, connection.bucket) == ("plant", "loops")


def test_one_error_names_all_that_is_missing() -> None:
    text = complaints({"INFLUXDB_ORG": ""})
    assert len(text.splitlines()) == 1
    for name in WHOLE:
        assert name in text
    assert "cp env.example .env" in text
    assert "INFLUXDB_ORG is not set" in complaints({**WHOLE, "INFLUXDB_ORG": ""})


def test_all_problems_come_at_once(empty_folder: Path) -> None:
    text = complaints({"STREAM_INTERVAL": "fast", "LOG_LEVEL": "DEBG"}, env_file=empty_folder / "none.env")
    assert "STREAM_INTERVAL: invalid duration 'fast'" in text
    assert "did you mean 'DEBUG'?" in text
    assert "none.env: cannot be read" in text


def test_what_a_connection_lacks_comes_with_the_rest_where_one_is_needed() -> None:
    with pytest.raises(BadInput) as caught:
        read_settings({"LOG_LEVEL": "x", "INFLUXDB_URL": "x"}, connection=True)
    assert [problem.where for problem in caught.value.problems] == ["LOG_LEVEL", "environment", "INFLUXDB_URL"]


def test_a_problem_names_the_layer_it_is_in(empty_folder: Path) -> None:
    (empty_folder / ".env").write_text("STREAM_INTERVAL=x")
    assert complaints({}).startswith(".env: STREAM_INTERVAL: ")
    assert complaints({}, options={"STREAM_INTERVAL": "0"}).startswith("--interval: ")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00=\xe9"])
def test_an_env_file_that_is_not_text_is_one_problem(empty_folder: Path, content: bytes) -> None:
    (empty_folder / "x.env").write_bytes(content)
    assert "is not UTF-8" in complaints({}, env_file=empty_folder / "x.env")


def test_a_folder_named_env_is_no_env_file(empty_folder: Path) -> None:
    (empty_folder / ".env").mkdir()
    assert read_settings({}) == Settings()
    assert "cannot be read" in complaints({}, env_file=empty_folder / ".env")


def test_a_bad_line_of_an_env_file_is_named_but_not_quoted(empty_folder: Path) -> None:
    (empty_folder / ".env").write_text(f"# fine\nINFLUXDB_TOKEN='{TOKEN}\n")
    text = complaints({})
    assert "line 2" in text
    assert TOKEN not in text


def test_an_unknown_name_in_an_env_file_is_a_warning(empty_folder: Path) -> None:
    (empty_folder / ".env").write_text("INFLUXDB_BUKET=loops\nOTHER=1\n")
    [warning] = read_settings({}).warnings()
    assert "did you mean 'INFLUXDB_BUCKET'?" in warning


def test_the_token_may_lie_in_a_file_and_is_read_afresh(empty_folder: Path) -> None:
    file = empty_folder / "token"
    file.write_text(f"\n {TOKEN} \n")
    settings = read_settings({**WHOLE, "INFLUXDB_TOKEN": "", "INFLUXDB_TOKEN_FILE": str(file)})
    assert settings.require_connection().token.reveal() == TOKEN
    file.write_text("another")
    assert settings.token() == Secret("another")
    file.write_text(" \n")
    with pytest.raises(BadInput, match="holds no token"):
        settings.token()
    file.unlink()
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        settings.token()


def test_the_layer_with_either_token_setting_decides(empty_folder: Path) -> None:
    (empty_folder / ".env").write_text(f"INFLUXDB_TOKEN={TOKEN}\n")
    settings = read_settings({"INFLUXDB_TOKEN_FILE": "elsewhere"})
    assert settings.token_value is None
    assert settings.token_file == Path("elsewhere")
    assert "keep one" in complaints({"INFLUXDB_TOKEN": "a", "INFLUXDB_TOKEN_FILE": "b"})


@pytest.mark.parametrize("url", [
    "influx:8086", "ftp://localhost", "http://", "http://host:0", "http://host:99999", "http://host:", "http://host:x",
    "http://me:word@host", "http://ho st", "http://host/?org=x", "http://host/#x", "http://[::1", "http://ho\nst",
])
def test_a_url_that_leads_nowhere_is_refused_unseen(url: str) -> None:
    text = complaints({**WHOLE, "INFLUXDB_URL": url})
    assert text.startswith("INFLUXDB_URL: ")
    assert url not in text.replace("http://localhost:8086", "")
    assert "word" not in text.replace("password", "")


@pytest.mark.parametrize("token", ["two words", "two\nlines", "nul\0", "ключ", "zero​width", "\ud800"])
def test_a_token_that_no_header_carries_is_refused_unseen(token: str) -> None:
    text = complaints({**WHOLE, "INFLUXDB_TOKEN": token})
    assert text.startswith("INFLUXDB_TOKEN: ")
    assert token not in text


@pytest.mark.parametrize(("url", "count"), [
    ("http://localhost:8086", 0), ("http://127.0.0.9", 0), ("http://[::1]:8086", 0), ("https://influx.example", 0),
    ("http://influx.example:8086", 1), ("http://127.evil.example", 1), ("HTTP://10.0.0.1", 1),
])
def test_a_token_in_the_clear_is_a_warning(url: str, count: int) -> None:
    assert len(read_settings({**WHOLE, "INFLUXDB_URL": url}).warnings()) == count


@settings(deadline=None)
@given(st.text(min_size=6), st.sampled_from(["http://host", "bad", "http://me:pw@host"]))
def test_the_token_is_shown_nowhere(tail: str, url: str) -> None:
    token = "tOkEn" + tail
    try:
        settings = read_settings({**WHOLE, "INFLUXDB_URL": url, "INFLUXDB_TOKEN": token})
        text = f"{settings!r} {settings} {settings.token()} {settings.token()!r} {settings.warnings()}"
        connection = settings.require_connection()
        text += f"{connection!r} {connection.token}"
    except BadInput as error:
        text = f"{error} {error!r} {error.problems!r}"
    assert "tOkEn" not in text


@pytest.mark.process
def test_reading_settings_loads_neither_numpy_nor_the_readers_of_files() -> None:
    code = "import sys, clpm_execd.config.settings as s; s.read_settings({})\n" \
           "print([m for m in ('numpy', 'dotenv', 'tomli', 'decimal') if m in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout == "[]\n"


@pytest.mark.parametrize(("text", "size"), [
    ("2GB", 2 * 10**9), ("1.5 GB", 1_500_000_000), ("1MB", 10**6), ("900000000B", 9 * 10**8),
])
def test_what_may_wait_is_a_size(text: str, size: int) -> None:
    assert read_settings({"CLPM_SPOOL_LIMIT": text}).spool_limit == size
    assert read_settings({}).spool_limit is None


@pytest.mark.parametrize("text", ["2", "2gb", "-1GB", "999kB", "1e9B", "\u0661GB", "many"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(BadInput) as told:
        read_settings({"CLPM_SPOOL_LIMIT": text})
    [problem] = told.value.problems
    assert (problem.where, problem.remedy) == ("CLPM_SPOOL_LIMIT", "write it as 500MB or 2GB")
