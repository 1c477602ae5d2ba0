"""The documentation agrees with the program: tables, code, commands, and the files and settings that it names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import doc_tables
import parts
import pytest
from command import run_command
from doc_commands import FIRST_COMMAND, FIRST_COMMAND_CPU_SECONDS, NOT_RUN_HERE, Clone, code_blocks, commands_of

from clpm_execd.config.settings import SETTING_ALIASES, SETTING_NAMES

README = parts.ROOT / "README.md"
TELEGRAF = parts.ROOT / "telegraf" / "README.md"
FLEET = parts.ROOT / "telegraf" / "fleet" / "README.md"
DOCS = parts.ROOT / "clpm_execd" / "docs"
USER_PAGES = {path.name: path for path in sorted(DOCS.glob("*.md"))
              if path.name not in ("architecture.md", "changelog.md", "contracts.md", "physics.md")}
PAGES = [README, TELEGRAF, FLEET, parts.ROOT / ".github" / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
# These take half a minute, stand in README and in fitting.md, and are run with README.
FITTING = ("clpm-execd learn history.csv --output loops.toml --report report.html", "clpm-execd --config loops.toml")


@pytest.fixture(scope="module")
def clone(influxdb: parts.InfluxDB, telegraf: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("clone"), influxdb, telegraf)


def name_of(page: Path) -> str:
    return str(page.relative_to(parts.ROOT))


@pytest.mark.parametrize("name", doc_tables.TABLES)
def test_a_table_agrees_with_the_program(name: str) -> None:
    page, make = doc_tables.TABLES[name]
    table = make()
    assert table in (parts.ROOT / page).read_text(), f"`python tests/doc_tables.py` writes the table:\n{table}"


@pytest.mark.parametrize("page", USER_PAGES.values(), ids=USER_PAGES)
def test_python_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = code_blocks(page, "python")
    assert examples or page.name != "python.md"
    for example in examples:
        exec(compile(example, page.name, "exec"), {})


@pytest.mark.parametrize("page", [README, DOCS / "loops-file.md", DOCS / "faults.md"], ids=name_of)
def test_loops_toml_examples_are_valid(page: Path, tmp_path: Path) -> None:
    examples = code_blocks(page, "toml")
    assert examples
    for example in examples:
        (tmp_path / "loops.toml").write_text(example)
        result = run_command("check", "--config", "loops.toml", folder=tmp_path)
        assert result.returncode == 0, f"{result.stderr}\n{example}"


@pytest.mark.timeout(900)  # it installs every extra; alone on a machine it takes half a minute
def test_every_command_of_the_readme_runs(clone: Clone) -> None:
    clone.run_all(README, preparations(clone))
    assert set(FITTING) <= set(clone.cpu_seconds)
    assert clone.cpu_seconds[FIRST_COMMAND] < FIRST_COMMAND_CPU_SECONDS
    assert clone.server.points(clone.bucket)
    assert (clone.root / "report.html").stat().st_size > 1000


@pytest.mark.timeout(900)
def test_every_command_of_the_reference_pages_runs(clone: Clone) -> None:
    if FIRST_COMMAND not in clone.cpu_seconds:
        clone.run("python3 -m venv .venv && .venv/bin/pip install '.[all]'")
    for page in USER_PAGES.values():
        clone.run_all(page, preparations(clone), apart_from=FITTING)
    for name in ("demo.html", "day.csv.gz", "refinery.toml", "score.html"):
        assert (clone.root / name).stat().st_size > 1000


def preparations(clone: Clone) -> dict[str, Callable[[], object]]:
    """What the reader does or has before a command that contains the key."""

    def fill_in_env() -> None:
        text = (clone.root / "env.example").read_text()
        for name, value in clone.settings.items():
            text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        (clone.root / ".env").write_text(text)

    def write_alarms() -> None:
        (clone.root / "alarms.csv").write_text(code_blocks(DOCS / "scoring.md", "csv")[0])

    def write_history() -> None:
        (clone.root / "one.toml").write_text('[[loop]]\nid = "FIC101"\ntype = "flow"\n')
        clone.run("clpm-execd generate --config one.toml --duration 40m --output history.csv")

    return {"check --direct": fill_in_env, "score alarms.csv": write_alarms, "learn history.csv": write_history}


def test_every_command_of_the_telegraf_readme_runs(clone: Clone) -> None:
    clone.run_all(TELEGRAF, {})


def test_a_command_that_is_not_run_here_exists_and_has_another_test() -> None:
    commands = [command for page in PAGES for command in commands_of(page)]
    for pattern, reason in NOT_RUN_HERE.items():
        assert any(re.search(pattern, command) for command in commands), f"no command matches {pattern}"
        for path in re.findall(r"tests/\S+\.py", reason):
            assert (parts.ROOT / path).exists()


def test_the_flux_query_gives_one_row_per_sample(influxdb: parts.InfluxDB, clpm_execd: list[str]) -> None:
    bucket = influxdb.new_bucket()
    influxdb.write(bucket, parts.generated(clpm_execd, 1800))
    [query] = code_blocks(DOCS / "output.md", "flux")
    rows = influxdb.query(query.replace('bucket: "control_loops"', f'bucket: "{bucket}"'))
    assert len(rows) == 1800
    assert {"PV", "OP", "SP", "Mode"} <= set(rows[0])


def test_the_example_output_is_what_the_program_prints(tmp_path: Path) -> None:
    [command] = re.findall(r"^`(clpm-execd generate [^`]*--duration 1s)`", README.read_text(), re.MULTILINE)
    result = run_command(*shlex.split(command)[1:], folder=tmp_path)
    assert code_blocks(README, "text") == [result.stdout]
    assert code_blocks(TELEGRAF, "text") == [result.stdout.splitlines(keepends=True)[0]]


def test_the_readme_stays_short() -> None:
    assert 150 <= len(README.read_text().splitlines()) <= 180


def test_the_example_of_an_env_file_has_every_setting() -> None:
    example = (parts.ROOT / "env.example").read_text()
    assert set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)) == set(SETTING_NAMES)


def test_the_telegraf_readme_shows_the_shipped_configuration() -> None:
    [example] = code_blocks(TELEGRAF, "toml")
    assert example == (parts.ROOT / "telegraf" / "sample.conf").read_text()
    for name in ("telegraf.conf", "clpm-execd.conf"):
        assert example in (parts.ROOT / "telegraf" / name).read_text()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_setting_and_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    settings = set(re.findall(r"\b(?:INFLUXDB|CLPM|STREAM|LOG)_[A-Z_]+\b", text))
    of_the_tests = {"CLPM_LONG", "CLPM_FIGURES", "CLPM_PARTS", "CLPM_SHARED"}  # read by the tests and by .ci/parts
    assert {name for name in settings if not name.endswith("_")} <= {*SETTING_NAMES, *SETTING_ALIASES} | of_the_tests
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link
    for path in re.findall(r"`((?:tests|clpm_execd|telegraf|\.ci)/[\w./-]*[\w-])`", text):
        assert (parts.ROOT / path).exists(), path
    for target, heading in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", text):
        headings = re.findall(r"^#+ (.*)$", (page.parent / target if target else page).read_text(), re.MULTILINE)
        anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings]
        assert heading in anchors, f"{target}#{heading}"
