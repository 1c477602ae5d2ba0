"""At a terminal there are a greeting, help, colour and completion; a pipe and Telegraf get plain text."""

from __future__ import annotations

import argparse
import io
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from command import environment, run_command

from clpm_execd import cli
from clpm_execd.cli.commands.completion import SHELLS
from clpm_execd.cli.parser import build_parser
from clpm_execd.cli.terminal import choose_output_width
from clpm_execd.cli.typo_hints import list_parsers
from clpm_execd.plant.faults import FAULTS
from clpm_execd.runtime.os_signals import Signals

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def at_a_terminal(folder: Path, *arguments: str, is_piped: bool = False, **env: str) -> tuple[int, str]:
    """Return the exit status of the command and its output on a terminal; is_piped: only that on stderr."""
    variables = environment({"TERM": "xterm-256color", "COLUMNS": "100", **env})
    if "NO_COLOR" not in env:
        variables.pop("NO_COLOR", None)
    screen, terminal = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "clpm_execd", *arguments], cwd=folder, env=variables,
                          stdin=terminal, stdout=subprocess.DEVNULL if is_piped else terminal,
                          stderr=terminal) as process:
        os.close(terminal)
        output = b""
        while True:
            try:
                more = os.read(screen, 65_536)
            except OSError:  # the last of its users has gone
                break
            output += more
    os.close(screen)
    return process.returncode, output.decode().replace("\r\n", "\n")


def commands() -> dict[str, argparse.ArgumentParser]:
    return list_parsers(build_parser())


class AsciiTerminal(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii")

    def isatty(self) -> bool:
        return True


def test_a_terminal_without_umlauts_shows_question_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loops.toml").write_text("[[loop]]\nid = 'Füllstand'\n", encoding="utf-8")
    terminal = AsciiTerminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert cli.run(Signals(), ["check", "--config", str(tmp_path / "loops.toml")]) == 0
    terminal.flush()
    assert b"F?llstand" in terminal.buffer.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("0", 100), ("100000000", 1000)])
def test_a_mistaken_width_of_the_terminal_is_no_traceback(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert choose_output_width(None) == width


def test_a_name_that_is_not_utf8_is_printed(tmp_path: Path) -> None:
    name = os.fsdecode(b"stat\xe9")
    result = run_command("health", "--state", name, folder=tmp_path)
    assert (result.returncode, result.stdout) == (1, "unhealthy: no write acknowledged yet (stat?)\n")


# The first minute


@pytest.mark.process
def test_the_bare_command_greets_with_loops_target_and_next_steps(tmp_path: Path) -> None:
    status, output = at_a_terminal(tmp_path, "--count", "1")
    greeting = [line for line in output.splitlines() if line.startswith("I! ")]
    assert status == 0
    assert [line[:12] for line in greeting[:3]] == ["I! streams 5", "I! goes to t", "I! stop with"]
    for word, line in zip(("TIC208030 to TIC208034", "--direct", "Ctrl-C"), greeting, strict=False):
        assert word in line
    assert all(len(line) < 160 for line in greeting)
    assert output.splitlines()[3].startswith("control_loops,")


@pytest.mark.process
def test_the_greeting_names_the_target_of_a_redirected_stream(tmp_path: Path) -> None:
    _, output = at_a_terminal(tmp_path, "--count", "1", is_piped=True)
    assert "goes to stdout; " in output
    assert "goes to" not in at_a_terminal(tmp_path, "--count", "1", is_piped=True, LOG_LEVEL="WARNING")[1]


def test_a_stream_without_a_terminal_has_no_greeting(tmp_path: Path) -> None:
    result = run_command("--count", "1", folder=tmp_path)
    assert result.returncode == 0
    assert result.stderr.splitlines() == ["I! start: 5 loops every 1 s to stdout", "I! stop"]


@pytest.mark.process
def test_direct_without_settings_shows_the_lines_to_add_and_the_file(tmp_path: Path) -> None:
    status, output = at_a_terminal(tmp_path, "--direct")
    [line] = output.splitlines()
    assert status == 2
    assert str(tmp_path / ".env") in line
    for name in ("INFLUXDB_URL=http://localhost:8086", "INFLUXDB_TOKEN=", "INFLUXDB_ORG=", "INFLUXDB_BUCKET="):
        assert name in line


@pytest.mark.process
def test_generate_shows_its_progress_and_what_it_wrote(tmp_path: Path) -> None:
    status, output = at_a_terminal(tmp_path, "generate", "--duration", "2h", "--output", "a.csv.gz")
    assert status == 0
    assert "generating" in output
    last = COLOUR.sub("", output).splitlines()[-1]
    assert re.fullmatch(r".*a\.csv\.gz: 36,000 samples of 5 loops, \d+\.\d MB, \d+\.\d s, [\d,]+ samples/s", last)


@pytest.mark.process
def test_init_is_not_interactive(tmp_path: Path) -> None:
    status, output = at_a_terminal(tmp_path, "init")
    assert status == 0
    assert output.startswith("# The loops that clpm-execd simulates")
    assert "\x1b" not in output


# Help


@pytest.mark.parametrize("name", commands())
def test_the_help_of_each_command_has_an_example_and_every_default(name: str) -> None:
    command = commands()[name]
    text = " ".join(command.format_help().split())
    assert re.search(f"examples: .*clpm-execd {name}", text)
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
            continue
        assert action.help, action.dest
        if action.nargs != 0 and not action.required:
            assert "(default " in action.help, f"{name} {action.dest}: {action.help}"


def test_the_options_of_the_stream_are_in_groups() -> None:
    titles = [group.title for group in build_parser()._action_groups if group._group_actions]
    assert titles[-4:] == ["source", "runtime", "stream", "commands"]


# Tables


@pytest.mark.process
def test_faults_are_in_colour_on_a_terminal_with_the_words_of_a_pipe(tmp_path: Path) -> None:
    status, output = at_a_terminal(tmp_path, "faults")
    assert status == 0
    assert COLOUR.search(output)
    plain = COLOUR.sub("", output)
    lines = [line.rstrip() for line in plain.splitlines()]
    assert [line for line in lines if line in FAULTS] == list(FAULTS)
    for kind in FAULTS.values():
        assert kind.example.strip() in plain
        for name in kind.parameters:
            assert re.search(rf"^{name}  ", plain, re.MULTILINE)


@pytest.mark.process
@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_a_terminal_without_colour_gets_what_a_pipe_gets(tmp_path: Path, env: Mapping[str, str]) -> None:
    piped_text = run_command("faults", "stiction", folder=tmp_path).stdout
    assert at_a_terminal(tmp_path, "faults", "stiction", **env)[1] == piped_text
    assert piped_text.startswith("stiction\n")
    assert COLOUR.search(at_a_terminal(tmp_path, "loop-types", "level")[1])


@pytest.mark.process
def test_check_shows_the_loops_and_every_problem_in_a_table(tmp_path: Path) -> None:
    text = '[[loop]]\nid = "PIC{:03d}"\ncount = 30\ntype = "pressure"\nrange = [0, 16]\nsp = 9.5\n' \
           '[[loop.fault]]\nkind = "stiction"\n'
    (tmp_path / "loops.toml").write_text(text)
    status, output = at_a_terminal(tmp_path, "check", "--config", "loops.toml")
    plain = COLOUR.sub("", output)
    assert status == 0
    assert plain.startswith("ok: 30 loops\n")
    assert re.search(r"^PIC001 +pressure +0 to 16 +9\.5 +50 +AUT +stiction", plain, re.MULTILINE)
    assert "and 10 more" in plain
    (tmp_path / "loops.toml").write_text(text.replace("range", "rnage").replace("stiction", "sticktion"))
    status, output = at_a_terminal(tmp_path, "check", "--config", "loops.toml", COLUMNS="160")
    plain = " ".join(COLOUR.sub("", output).split())
    assert status == 2
    assert COLOUR.search(output)
    for words in ("where what is wrong what would be right", "did you mean 'range'?", "did you mean 'stiction'?"):
        assert words in plain


@pytest.mark.process
def test_a_pipe_imports_no_drawing_library(tmp_path: Path) -> None:
    code = "import sys; from clpm_execd.cli import run; from clpm_execd.runtime.os_signals import install_handlers; " \
           "run(install_handlers(), ['faults', 'stuck']); sys.stderr.write(str({'rich', 'shtab'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stderr == "set()"


# Completion

BASH = """
eval "$("$@" completion bash)"
complete_it() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    local function
    function=$(complete -p clpm-execd | sed 's/.*-F \\([^ ]*\\).*/\\1/')
    "$function" clpm-execd "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    echo "${COMPREPLY[@]}"
}
complete_it clpm-execd gen
complete_it clpm-execd --int
complete_it clpm-execd faults st
complete_it clpm-execd generate --format ''
complete_it clpm-execd --config loops.t
complete_it clpm-execd --log-level D
"""


def test_bash_completes_commands_options_values_and_names(tmp_path: Path, clpm_execd: list[str]) -> None:
    (tmp_path / "loops.toml").write_text("")
    result = subprocess.run(["bash", "-c", BASH, "bash", *clpm_execd], cwd=tmp_path, capture_output=True, text=True,
                            timeout=60, check=True)
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["generate", "--interval", "stiction stuck", "lp csv wide parquet",
                                          "loops.toml", "DEBUG"]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.process
def test_the_script_is_valid_for_its_shell(tmp_path: Path, shell: str) -> None:
    script = run_command("completion", shell, folder=tmp_path).stdout
    for name in commands():
        assert name in script
    assert "stiction" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=60)
