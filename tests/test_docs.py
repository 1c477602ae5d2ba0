"""The READMEs are held to the program: their tables, their code and every command in them are what it has and does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import doc_tables
import parts
import pytest
from command import run_command
from doc_commands import ELSEWHERE, FIRST, FIRST_MINUTE, Reader, blocks, commands

from clpm_execd.config.settings import NAMES

README = parts.ROOT / "README.md"
TELEGRAF = parts.ROOT / "telegraf" / "README.md"


@pytest.fixture(scope="module")
def reader(influxdb: parts.InfluxDB, telegraf: Path, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(tmp_path_factory.mktemp("reader"), influxdb, telegraf)


@pytest.mark.parametrize("name", doc_tables.TABLES)
def test_a_table_is_the_programs(name: str) -> None:
    table = doc_tables.TABLES[name]()
    assert table in README.read_text(), f"`python tests/doc_tables.py` writes it as it should be:\n{table}"


def test_the_python_in_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = blocks(README, "python")
    assert examples
    for example in examples:
        exec(compile(example, "README.md", "exec"), {})


@pytest.mark.timeout(900)  # it installs every extra; alone on a machine it takes half a minute
def test_every_command_of_the_readme_does_what_it_is_there_for(reader: Reader) -> None:
    def fill_in_env() -> None:
        text = (reader.clone / ".env").read_text()
        for name, value in reader.settings.items():
            text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        (reader.clone / ".env").write_text(text)

    def lay_verdicts() -> None:
        (reader.clone / "verdicts.csv").write_text(blocks(README, "csv")[0])

    def lay_history() -> None:
        (reader.clone / "one.toml").write_text('[[loop]]\nid = "FIC101"\ntype = "flow"\n')
        reader.type("clpm-execd generate --config one.toml --duration 40m --output history.csv")

    run = reader.follow(README, {"check --direct": fill_in_env, "score verdicts.csv": lay_verdicts,
                                 "learn history.csv": lay_history})
    assert FIRST in run
    assert reader.seconds[FIRST] < FIRST_MINUTE
    assert reader.server.points(reader.bucket)
    for name in ("demo.html", "day.csv.gz", "refinery.toml", "score.html"):
        assert (reader.clone / name).stat().st_size > 1000


def test_every_command_of_the_telegraf_readme_does_too(reader: Reader) -> None:
    reader.follow(TELEGRAF, {})


def test_what_does_not_run_here_is_there_and_has_a_test() -> None:
    every = [*commands(README), *commands(TELEGRAF)]
    for pattern, why in ELSEWHERE.items():
        assert any(re.search(pattern, command) for command in every), f"no command is like {pattern}"
        for path in re.findall(r"tests/\S+\.py", why):
            assert (parts.ROOT / path).exists()


def test_the_flux_in_it_gives_a_row_a_sample(influxdb: parts.InfluxDB, clpm_execd: list[str]) -> None:
    bucket = influxdb.new_bucket()
    influxdb.write(bucket, parts.generated(clpm_execd, 1800))
    [query] = blocks(README, "flux")
    rows = influxdb.query(query.replace('bucket: "control_loops"', f'bucket: "{bucket}"'))
    assert len(rows) == 1800
    assert {"PV", "OP", "SP", "Mode"} <= set(rows[0])


def test_the_example_output_is_what_the_program_prints(tmp_path: Path) -> None:
    [command] = [command for command in commands(README) if "--duration 1s" in command]
    done = run_command(*shlex.split(command)[1:], folder=tmp_path)
    assert blocks(README, "text") == [done.stdout]
    assert blocks(TELEGRAF, "text") == [done.stdout.splitlines(keepends=True)[0]]


def test_the_example_of_an_env_file_has_every_setting() -> None:
    assert set(re.findall(r"^#?([A-Z_]+)=", (parts.ROOT / "env.example").read_text(), re.MULTILINE)) == set(NAMES)


@pytest.mark.parametrize("readme", [README, TELEGRAF], ids=["README.md", "telegraf/README.md"])
def test_every_setting_and_file_it_names_is_there(readme: Path) -> None:
    text = readme.read_text()
    told = set(re.findall(r"\b(?:INFLUXDB|CLPM|STREAM|LOG)_[A-Z_]+\b", text))
    assert {name for name in told if not name.endswith("_")} <= {*NAMES}
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (readme.parent / link).exists(), link
