"""An option means the same in every command that has it, and a command takes no option that it does not use."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from command import run_command

from clpm_execd.cli.commands.stream import ALIASES
from clpm_execd.cli.parser import build_parser, parse
from clpm_execd.cli.typo_hints import list_parsers
from clpm_execd.delivery.disk_queue import DiskQueue

Call = Callable[..., tuple[int, str, str]]

START = "2025-01-10T10:00:00Z"
PLANT = """
start = "2025-01-10T10:00:00Z"
[output]
truth = true
[[loop]]
id = "FIC101"
[[loop.fault]]
kind = "stiction"
"""
ALARMS = f"loop,start,end,fault\nFIC101,{START},2025-01-10T10:10:00Z,stiction\n"

# What each command with an --output writes to stdout.
WRITES = {
    "generate": ["generate", "--start", START, "--duration", "3s"],
    "preview": ["preview", "TIC208030", "--start", START, "--duration", "1m"],
    "init": ["init"],
    "score": ["score", "alarms.csv", "--truth", "plant.lp"],
    "spool": ["spool", "export", "--state", "state"],
    "loops": ["loops"],
    "benchmark": ["benchmark", "run", "rules", "datapath-1-small"],
}


# Which command, "" for the stream, takes which option.
_PLANT = ("", "generate", "preview", "check")
_CONTROL = ("inject", "clear", "set", "status")
TAKERS: dict[str, Sequence[str]] = {
    **dict.fromkeys(("--config", "--shard"), (*_PLANT, "loops")), "--interval": (*_PLANT, "loops", "learn"),
    "--demo": _PLANT, "--replay": _PLANT,
    "--seed": (*_PLANT, "init"), "--columns": (*_PLANT, "learn"), "--timezone": (*_PLANT, "learn"),
    "--env-file": (*_PLANT, "loops", "score", "benchmark", "spool", "health", *_CONTROL),
    "--state": ("", "check", "spool", "health", *_CONTROL), "--control": ("", *_CONTROL), "--journal": ("generate",),
    **dict.fromkeys(("--sample", "--partition"), ("generate",)),
    "--for": ("inject",), "--ramp": ("inject",), "--layout": ("benchmark",), "--data": ("benchmark",),
    "--direct": ("", "check", "benchmark"), "--backfill": ("", "check"),
    **dict.fromkeys(("--log-level", "--log-file", "--max-rate", "--max-gap", "--spool-limit", "--count", "--version",
                     "--pace", "--catch-up", "--speed"), ("",)),
    "--start": ("generate", "preview", "score"), "--end": ("score",), "--duration": ("generate", "preview"),
    "--output": ("generate", "preview", "learn", "loops", "init", "score", "benchmark", "spool"),
    "--format": ("generate", "loops", "score", "benchmark"),
    "--theme": ("preview",), "--report": ("learn",), "--range": ("learn",), "--type": ("learn",),
    "--op-range": ("learn",), "--name": ("learn",), "--strict": ("learn",),
    "--plant": ("init",), "--loops": ("init",), "--faulty": ("init",), "--truth": ("score",),
    "--truth-measurement": ("score",),
    "--by": ("score",), "--affected": ("score",), "--overlap": ("score",), "--all": ("score",),
}
VALUES = {"--affected": "judge", "--by": "any", "--count": "1", "--faulty": "0.5", "--layout": "long", "--loops": "1",
          "--overlap": "1", "--seed": "1", "--speed": "60", "--theme": "dark", "--partition": "day"}
FLAGS = ("--demo", "--direct", "--all", "--strict")
# What a command needs besides options.
NEEDS = {"learn": ["record.csv", "--output", "loops.toml"], "score": ["alarms.csv"], "completion": ["bash"],
         "inject": ["FIC1", "stiction"], "clear": ["FIC1"], "set": ["FIC1", "sp=1"]}
COMMANDS = list_parsers(build_parser())
# For each option of several commands a wrong value.
WRONG_VALUES = {
    "--config": "absent.toml", "--replay": "absent.csv", "--env-file": "absent.env", "--interval": "soon",
    "--shard": "2/2", "--columns": "pw=A", "--timezone": "Nowhere/Land", "--state": "record.csv/state",
    "--backfill": "soon", "--start": "soon", "--duration": "soon", "--output": "absent/output",
}
# What the value needs to matter.
CONTEXT = {
    ("--columns", "*"): ["--replay", "record.csv"], ("--timezone", "*"): ["--replay", "record.csv"],
    ("--columns", "learn"): [], ("--timezone", "learn"): [], ("--backfill", "check"): ["--direct"],
    ("--output", "spool"): ["export", "--state", "."], ("--output", "benchmark"): ["run", "rules", "datapath-1-small"],
    ("--env-file", "benchmark"): ["stream", "datapath-1-small"],
}


def words_of(option: str, command: str) -> list[str]:
    """The option with a value that its parser accepts."""
    if option in FLAGS:
        return [option]
    value = {"generate": "csv", "score": "json", "benchmark": "csv"}.get(command, "lp") if option == "--format" else "x"
    return [f"{option}={VALUES.get(option, value)}"]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """Runs a command line in an empty folder: status, stdout and stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        result = run_command(*words, folder=tmp_path)
        return result.returncode, result.stdout, result.stderr

    return call


def test_records_of_several_replay_options_are_all_replayed() -> None:
    assert parse(["--replay", "a.csv", "--replay", "b.csv", "c.csv"]).replay == ["a.csv", "b.csv", "c.csv"]


@pytest.mark.parametrize("command", WRITES)
def test_an_output_of_minus_is_stdout(command: str, call: Call, tmp_path: Path) -> None:
    if command == "score":
        (tmp_path / "plant.toml").write_text(PLANT)
        (tmp_path / "alarms.csv").write_text(ALARMS)
        assert call("generate", "--config", "plant.toml", "--duration", "10m", "--output", "plant.lp")[0] == 0
    elif command == "spool":
        DiskQueue(tmp_path / "state", logging.getLogger("clpm_execd")).put(b"m,loop_id=A PV=1 1\n")
    status, out, _ = call(*WRITES[command], "--output", "-")
    assert status == 0
    assert out
    assert out == call(*WRITES[command])[1]
    assert not (tmp_path / "-").exists()


def test_a_file_named_minus_is_written_by_its_path(call: Call, tmp_path: Path) -> None:
    assert call("init", "--output", "./-")[:2] == (0, "")
    assert (tmp_path / "-").read_text().startswith("# ")


def test_learn_writes_two_files_and_takes_no_stdout(call: Call, tmp_path: Path) -> None:
    status, out, err = call("learn", "record.csv", "--output", "-")
    assert (status, out) == (2, "")
    assert err.startswith("--output -: stdout cannot hold both")
    assert list(tmp_path.iterdir()) == []


def test_every_command_with_an_output_was_tried() -> None:
    assert set(TAKERS["--output"]) == {*WRITES, "learn"}


@pytest.mark.parametrize(("line", "option", "why"), [
    ("--replay r.csv --demo", "--demo", "with --replay"),
    ("generate --replay r.csv --seed 0", "--seed", "with --replay"),
    ("preview --columns pv=A", "--columns", "without --replay"),
    ("--timezone Europe/Berlin check", "--timezone", "without --replay"),
    ("--count 1 --spool-limit 1GB", "--spool-limit", "without --direct"),
    ("--direct --count 1 --spool-limit 1GB", "--spool-limit", "without a state folder"),
    ("--direct --count 1 --pace 9", "--max-rate", "with --direct"),
    ("--count 1 --speed 60", "--speed", "without a start in the past"),
    ("--replay r.csv --control x", "--control", "with --replay, which has no plant to change"),
    ("generate --replay r.csv --journal x", "--journal", "with --replay, which has no plant to change"),
    ("check --backfill 1h", "--backfill", "without --direct"),
    ("init --seed 7", "--seed", "without --plant or --loops"),
    ("score v.csv --truth t.lp --truth-measurement m", "--truth-measurement", "with --truth"),
    ("--env-file x score v.csv --truth t.lp", "--env-file", "with --truth"),
    ("spool list --state . --output x", "--output", "on spool list"),
    ("spool retry --state . --output x", "--output", "on spool retry"),
])
def test_an_option_that_another_one_makes_useless_is_refused(line: str, option: str, why: str, call: Call) -> None:
    status, out, err = call(*line.split())
    [message] = err.splitlines()
    assert (status, out) == (2, "")
    assert message.removeprefix("E! ").startswith(f"{option}: has no effect {why}; ")


def test_spool_lists_everything_and_takes_no_names_for_it(call: Call) -> None:
    assert call("spool", "list", "quarantine", "--state", ".")[2].startswith("spool list: takes no names; ")


@pytest.mark.parametrize(("option", "command"), [
    (option, command) for option in WRONG_VALUES for command in TAKERS[option]])
def test_a_command_that_takes_an_option_uses_its_value(option: str, command: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "record.csv").write_text("time,PV,OP,SP\n2025-01-10 10:05:00,1,50,60\n2025-01-10 10:05:01,1,50,60\n")
    start = [command, *NEEDS.get(command, [])] if command else ["--count", "1"]
    context = CONTEXT.get((option, command), CONTEXT.get((option, "*"), []))
    status, out, err = call(*start, *context, option, WRONG_VALUES[option])
    assert option in err or WRONG_VALUES[option] in out + err
    assert "command line" not in err
    assert status == {("--state", ""): 0, ("--state", "health"): 1}.get((option, command), 2)


def test_every_option_of_every_command_is_in_the_table() -> None:
    options = {option: {name for name, command in COMMANDS.items() if option in command._option_string_actions}
               for command in COMMANDS.values() for option in command._option_string_actions}
    assert options.pop("--help") == options.pop("-h") == set(COMMANDS)
    assert options == {option: set(takers) for option, takers in TAKERS.items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_lists_the_options_that_it_takes_and_no_other(command: str) -> None:
    listed = set(re.findall(r"--[a-z][a-z-]*", COMMANDS[command].format_help()))
    assert listed >= {option for option, takers in TAKERS.items() if command in takers and option not in ALIASES}
    assert not listed & set(ALIASES)
    usage = COMMANDS[command].format_usage()
    assert not [option for option, takers in TAKERS.items()
                if command not in takers and re.search(rf"\[{option}[ \]]", usage)]


def refused(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    """The one message about a command line that is not run."""
    with pytest.raises(SystemExit) as end:
        parse(line)
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    [message] = err.splitlines()
    return message


@pytest.mark.parametrize("command", [name for name in COMMANDS if name])
@pytest.mark.parametrize("option", [option for option in TAKERS if option != "--version"])
def test_a_command_takes_its_options_and_refuses_those_of_others(
    option: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [*words_of(option, command), command, *NEEDS.get(command, [])]
    after = [command, *NEEDS.get(command, []), *words_of(option, command)]
    if command in TAKERS[option]:
        dest = COMMANDS[command]._option_string_actions[option].dest
        assert getattr(parse(after), dest) != getattr(parse([command, *NEEDS.get(command, [])]), dest)
    else:
        message = refused(capsys, *after)
        assert message.startswith(f"command line: {option} belongs to ")
        assert message.endswith(f"; see clpm-execd {command} --help")
        assert f", not to {command};" in message
        assert all((name or "the stream") in message.partition(", not to ")[0] for name in TAKERS[option])
    if "" in TAKERS[option] and command in TAKERS[option]:
        assert vars(parse(before)) == vars(parse(after))
    elif "" in TAKERS[option]:
        assert refused(capsys, *before) == refused(capsys, *after)
    else:
        message = refused(capsys, *before)
        assert message.startswith(f"command line: {option} belongs to ")
        assert "; write it after the command;" in message


@pytest.mark.parametrize("option", [option for option, takers in TAKERS.items() if "" not in takers])
def test_the_stream_refuses_the_options_of_commands(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, *words_of(option, TAKERS[option][0]))
    assert message.startswith(f"E! command line: {option} belongs to {TAKERS[option][0]}")


@pytest.mark.parametrize("alias", ALIASES)
def test_the_old_name_of_an_option_means_the_new_one(alias: str) -> None:
    assert vars(parse([alias, "7"])) == vars(parse([ALIASES[alias], "7"])) != vars(parse([]))
