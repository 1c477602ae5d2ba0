"""Settings are read from option, environment and .env, in this order, and never show the token."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clpm_execd.config.connection import Secret
from clpm_execd.config.settings import SETTING_NAMES, Settings, read_settings
from clpm_execd.problems import BadInput
from clpm_execd.units import SECOND

TOKEN = "s3cr3t-t0ken=="
COMPLETE = {"INFLUXDB_URL": "http://localhost:8086", "INFLUXDB_TOKEN": TOKEN,
            "INFLUXDB_ORG": "plant", "INFLUXDB_BUCKET": "loops"}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_problems(env: dict[str, str], **more: object) -> str:
    with pytest.raises(BadInput) as caught:
        read_settings(env, **more).require_connection()  # type: ignore[arg-type]
    return str(caught.value)


def test_no_setting_is_required_for_a_stream_to_stdout() -> None:
    settings = read_settings({})
    assert settings == Settings()
    assert settings.warnings() == ()


def test_an_option_precedes_the_environment_and_the_environment_precedes_the_file(empty_folder: Path) -> None:
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
    assert read_problems({"CLPM_PACE": "fast"}).startswith("CLPM_PACE: invalid rate 'fast'")


def test_a_home_folder_is_expanded_where_the_user_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    settings = read_settings({"LOG_FILE": "~/a.log", "CLPM_LOOPS": "~nobody-here/loops.toml"})
    assert settings.log_file == Path("/home/me/a.log")
    assert settings.loops == Path("~nobody-here/loops.toml")


def test_an_empty_value_counts_as_not_set() -> None:
    assert read_settings(dict.fromkeys(COMPLETE, " ")) == Settings()


def test_a_complete_connection_is_returned() -> None:
    connection = read_settings({**COMPLETE, "INFLUXDB_URL": " http://localhost:8086/ "}).require_connection()
    assert connection.url == "http://localhost:8086"
    assert connection.token.reveal() == TOKEN
    assert (connection.org, connection.bucket) == ("plant", "loops")


def test_one_error_names_all_missing_settings() -> None:
    text = read_problems({"INFLUXDB_ORG": ""})
    assert len(text.splitlines()) == 1
    for name in COMPLETE:
        assert name in text
    assert "cp env.example .env" in text
    assert "INFLUXDB_ORG is not set" in read_problems({**COMPLETE, "INFLUXDB_ORG": ""})


def test_all_mistakes_are_reported_together(empty_folder: Path) -> None:
    text = read_problems({"STREAM_INTERVAL": "fast", "LOG_LEVEL": "DEBG"}, env_file=empty_folder / "none.env")
    assert "STREAM_INTERVAL: invalid duration 'fast'" in text
    assert "did you mean 'DEBUG'?" in text
    assert "none.env: cannot be read" in text


def test_a_mistake_is_reported_with_where_it_was_set(empty_folder: Path) -> None:
    (empty_folder / ".env").write_text("STREAM_INTERVAL=x")
    assert read_problems({}).startswith(".env: STREAM_INTERVAL: ")
    assert read_problems({}, options={"STREAM_INTERVAL": "0"}).startswith("--interval: ")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00=\xe9"])
def test_an_env_file_that_is_not_text_is_one_problem(empty_folder: Path, content: bytes) -> None:
    (empty_folder / "x.env").write_bytes(content)
    assert "is not UTF-8" in read_problems({}, env_file=empty_folder / "x.env")


def test_a_folder_named_env_is_ignored(empty_folder: Path) -> None:
    (empty_folder / ".env").mkdir()
    assert read_settings({}) == Settings()
    assert "cannot be read" in read_problems({}, env_file=empty_folder / ".env")


def test_an_invalid_line_of_an_env_file_is_numbered_and_not_quoted(empty_folder: Path) -> None:
    (empty_folder / ".env").write_text(f"# fine\nINFLUXDB_TOKEN='{TOKEN}\n")
    text = read_problems({})
    assert "line 2" in text
    assert TOKEN not in text


def test_an_unknown_name_in_an_env_file_is_a_warning(empty_folder: Path) -> None:
    (empty_folder / ".env").write_text("INFLUXDB_BUKET=loops\nOTHER=1\n")
    [warning] = read_settings({}).warnings()
    assert "did you mean 'INFLUXDB_BUCKET'?" in warning


def test_a_token_file_is_read_at_each_call(empty_folder: Path) -> None:
    file = empty_folder / "token"
    file.write_text(f"\n {TOKEN} \n")
    settings = read_settings({**COMPLETE, "INFLUXDB_TOKEN": "", "INFLUXDB_TOKEN_FILE": str(file)})
    assert settings.require_connection().token.reveal() == TOKEN
    file.write_text("another")
    assert settings.token() == Secret("another")
    file.write_text(" \n")
    with pytest.raises(BadInput, match=f"INFLUXDB_TOKEN_FILE '{file}': holds no token"):
        settings.token()
    file.unlink()
    with pytest.raises(BadInput, match=f"INFLUXDB_TOKEN_FILE '{file}': cannot be read: No such file"):
        settings.token()


@pytest.mark.parametrize("token", [TOKEN, TOKEN.rstrip("=")])
def test_a_token_in_place_of_its_file_is_in_no_message(token: str) -> None:
    problems = read_problems({**COMPLETE, "INFLUXDB_TOKEN": "", "INFLUXDB_TOKEN_FILE": token})
    assert problems.startswith("INFLUXDB_TOKEN_FILE: ")
    assert token not in problems


@pytest.mark.parametrize("name", sorted({*SETTING_NAMES} - {"INFLUXDB_TOKEN", "INFLUXDB_URL"}))
@given(st.binary(min_size=64, max_size=64))
def test_a_token_in_the_place_of_any_other_setting_is_in_no_message(name: str, random_bytes: bytes) -> None:
    token = base64.b64encode(random_bytes).decode()
    problems = read_problems({**COMPLETE, name: token, "INFLUXDB_TOKEN": ""})
    assert problems.startswith(f"{name}: has a value that looks like an API token and is not shown; ")
    assert token not in problems


@pytest.mark.parametrize("token", ["0f9a1b7c3d5e2f8a6b4c0d1e2f3a4b5c", "apiv3_Zk3jW9tQ1rX7bN5mV2cL8pD4sF6gH0"])
def test_a_token_without_padding_is_in_no_message_either(token: str) -> None:
    assert token not in read_problems({"STREAM_INTERVAL": token, "INFLUXDB_ORG": token, "CLPM_LOOPS": f"{token}/x"})


@pytest.mark.parametrize("path", ["north-2025-01-10T1000Z/loops.toml", "4f652cdb109441e7fd632e46573b913c/state"])
def test_a_path_may_look_like_a_token_where_its_folder_exists(path: str) -> None:
    Path(path).parent.mkdir()
    assert read_settings({"CLPM_STATE": path, "LOG_FILE": path}).state == Path(path)


def test_a_line_without_its_equals_sign_does_not_show_the_token(empty_folder: Path) -> None:
    (empty_folder / ".env").write_text("INFLUXDB_TOKENq7Zr0sJ9bV3kXw5Yt1LpA8cD2eF4gH6iJk==\n")
    [note] = read_settings({}).notes
    assert "q7Z" not in note
    assert "write NAME=value" in note


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_token_file_that_is_a_pipe_is_read_once(empty_folder: Path) -> None:
    os.mkfifo("token")
    settings = read_settings({**COMPLETE, "INFLUXDB_TOKEN": "", "INFLUXDB_TOKEN_FILE": "token"})
    writer = threading.Thread(target=Path("token").write_text, args=("from a pipe\n",), daemon=True)
    writer.start()
    current = settings.token()
    writer.join(5)
    assert current == Secret("from a pipe")
    assert settings.token(current) is current


def test_the_first_layer_with_token_or_token_file_decides(empty_folder: Path) -> None:
    (empty_folder / ".env").write_text(f"INFLUXDB_TOKEN={TOKEN}\n")
    settings = read_settings({"INFLUXDB_TOKEN_FILE": "elsewhere"})
    assert settings.token_value is None
    assert settings.token_file == Path("elsewhere")
    assert "keep one" in read_problems({"INFLUXDB_TOKEN": "a", "INFLUXDB_TOKEN_FILE": "b"})


@pytest.mark.parametrize("url", [
    "influx:8086", "ftp://localhost", "http://", "http://host:0", "http://host:99999", "http://host:", "http://host:x",
    "http://me:word@host", "http://ho st", "http://host/?org=x", "http://host/#x", "http://[::1", "http://ho\nst",
])
def test_an_invalid_url_is_refused_without_quoting_it(url: str) -> None:
    text = read_problems({**COMPLETE, "INFLUXDB_URL": url})
    assert text.startswith("INFLUXDB_URL: ")
    assert url not in text.replace("http://localhost:8086", "")
    assert "word" not in text.replace("password", "")


@pytest.mark.parametrize("token", ["two words", "two\nlines", "nul\0", "ключ", "zero​width", "\ud800"])
def test_a_token_that_no_header_can_carry_is_refused_without_quoting_it(token: str) -> None:
    text = read_problems({**COMPLETE, "INFLUXDB_TOKEN": token})
    assert text.startswith("INFLUXDB_TOKEN: ")
    assert token not in text


@pytest.mark.parametrize(("url", "count"), [
    ("http://localhost:8086", 0), ("http://127.0.0.9", 0), ("http://[::1]:8086", 0), ("https://influx.example", 0),
    ("http://influx.example:8086", 1), ("http://127.evil.example", 1), ("HTTP://10.0.0.1", 1),
])
def test_an_unencrypted_token_to_another_host_is_a_warning(url: str, count: int) -> None:
    assert len(read_settings({**COMPLETE, "INFLUXDB_URL": url}).warnings()) == count


@given(st.text(min_size=6), st.sampled_from(["http://host", "bad", "http://me:pw@host"]))
def test_no_text_contains_the_token(tail: str, url: str) -> None:
    token = "tOkEn" + tail
    try:
        settings = read_settings({**COMPLETE, "INFLUXDB_URL": url, "INFLUXDB_TOKEN": token})
        text = f"{settings!r} {settings} {settings.token()} {settings.token()!r} {settings.warnings()}"
        connection = settings.require_connection()
        text += f"{connection!r} {connection.token}"
    except BadInput as error:
        text = f"{error} {error!r} {error.problems!r}"
    assert "tOkEn" not in text


@pytest.mark.process
def test_reading_settings_imports_neither_numpy_nor_parsers_of_files() -> None:
    code = "import sys, clpm_execd.config.settings as s; s.read_settings({})\n" \
           "print([m for m in ('numpy', 'dotenv', 'tomli', 'decimal') if m in sys.modules])"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == "[]\n"


@pytest.mark.parametrize(("text", "size"), [
    ("2GB", 2 * 10**9), ("1.5 GB", 1_500_000_000), ("1MB", 10**6), ("900000000B", 9 * 10**8),
])
def test_a_queue_limit_is_a_size_in_bytes(text: str, size: int) -> None:
    assert read_settings({"CLPM_SPOOL_LIMIT": text}).spool_limit == size
    assert read_settings({}).spool_limit is None


@pytest.mark.parametrize("text", ["2", "2gb", "-1GB", "999kB", "1e9B", "\u0661GB", "many"])
def test_an_invalid_size_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_settings({"CLPM_SPOOL_LIMIT": text})
    [problem] = caught.value.problems
    assert (problem.where, problem.remedy) == ("CLPM_SPOOL_LIMIT", "write it as 500MB or 2GB")


def test_the_timeout_of_a_request_is_a_setting() -> None:
    assert read_settings({}).timeout == 10 * SECOND
    assert read_settings({"INFLUXDB_TIMEOUT": "2m"}).timeout == 120 * SECOND
    for text in ("soon", "10ms", "2d", "-1"):
        with pytest.raises(BadInput) as caught:
            read_settings({"INFLUXDB_TIMEOUT": text})
        assert [problem.where for problem in caught.value.problems] == ["INFLUXDB_TIMEOUT"]


def test_a_working_folder_that_was_deleted_has_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(BadInput, match=r"INFLUXDB_URL, .* are not set"):
        read_settings({}).require_connection()


def test_a_working_folder_that_may_not_be_read_is_part_of_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(BadInput, match=r"are not set and \.env cannot be read: Permission denied"):
        read_settings({}).require_connection()


def test_a_broken_line_of_another_program_in_env_is_a_warning(empty_folder: Path) -> None:
    (empty_folder / ".env").write_text("PASSWORD='never closed\nSTREAM_INTERVAL=2s\n")
    settings = read_settings({})
    assert settings.interval == 2_000_000_000
    assert settings.warnings() == (".env: line 1 cannot be read and is ignored",)
    (empty_folder / ".env").write_text("export CLPM_STATE='never closed\n")
    assert ".env: line 1: cannot be read" in read_problems({})
    assert ".env: line 1: cannot be read" in read_problems({}, env_file=empty_folder / ".env")
