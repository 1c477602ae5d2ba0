"""`preview`, as a user runs it: in the terminal, as a picture and as a page."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command import run_command

from clpm_execd.config.loop_groups import select_groups
from clpm_execd.config.loops import parse_configuration
from clpm_execd.plant.plant import SECOND, Plant

CONFIG = """
start = "2025-01-10T10:05:00Z"
[[loop]]
id = "FIC101"
[[loop.fault]]
kind = "stiction"
S = 6.0
J = 3.0
start = "5m"
duration = "10m"
ramp = "4m"
[[loop.fault]]
kind = "white-noise"
start = "20m"
duration = "5m"
[[loop.move]]
at = "26m"
mode = "MAN"
[[loop]]
id = "PIC{:03d}"
count = 60
type = "pressure"
"""


def run_preview(folder: Path, *options: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "x.toml").write_text(CONFIG)
    result = run_command("preview", "--config", "x.toml", *options, folder=folder, env=environment)
    assert result.returncode == status, result.stderr
    return result


def test_a_pipe_gets_lines_modes_and_faults_without_colour(tmp_path: Path) -> None:
    out = run_preview(tmp_path, "FIC101", "--duration", "30m").stdout
    assert "\x1b" not in out
    assert re.search(r"^FIC101  ─ PV  ┈ SP  ─ OP +2025-01-10 UTC$", out, re.MULTILINE)
    assert re.search(r"^ +Mode  AUT─+MAN─+$", out, re.MULTILINE)
    assert re.search(r"^ +stiction +░+█+$", out, re.MULTILINE), "hidden before it shows"
    assert re.search(r"^white-noise +╌+$", out, re.MULTILINE)
    assert re.search(r"^ +UTC .*╵10:10.*╵10:20.*╵10:30", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("width", [40, 80, 171])
def test_lines_are_as_wide_as_the_terminal(tmp_path: Path, width: int) -> None:
    for loops in (["FIC101"], ["PIC00*"]):
        out = run_preview(tmp_path, *loops, "--duration", "5m", COLUMNS=str(width)).stdout
        assert width - 12 <= max(map(len, out.splitlines())) <= width


@pytest.mark.process
def test_a_terminal_gets_colours_unless_no_color_is_set(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(CONFIG)

    def seen(**environment: str) -> bytes:
        main, side = pty.openpty()
        with subprocess.Popen([sys.executable, "-m", "clpm_execd", "preview", "FIC101", "--config", "x.toml"],
                              cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=side, stderr=subprocess.DEVNULL,
                              env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment}):
            os.close(side)
            message = b""
            try:
                while part := os.read(main, 65_536):
                    message += part
            except OSError:  # what a pseudo terminal says when its other side is gone
                pass
            os.close(main)
        return message

    assert b"\x1b[38;2;0;114;178m" in seen(NO_COLOR="")
    assert b"38;2" not in seen(NO_COLOR="1")


@pytest.mark.slow
def test_a_picture_has_the_format_of_its_suffix_and_is_reproducible(tmp_path: Path) -> None:
    for name, begins in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.html", b"<!doctype html>")):
        for copy in ("1", "2"):
            result = run_preview(tmp_path, "FIC101", "--duration", "30m", "--output", copy + name)
            assert (result.stdout, result.stderr) == ("", "")
        assert (tmp_path / f"1{name}").read_bytes().startswith(begins)
        assert (tmp_path / f"1{name}").read_bytes() == (tmp_path / f"2{name}").read_bytes()


LABELLED = f"""
start = "2025-01-10T10:05:00Z"
[[loop]]
id = "A1"
description = "Price <in> $x$ & more"
unit = "m3/h"
[[loop]]
id = "A2"
description = "{"very long " * 40}"
unit = "{"unit" * 20}"
"""


@pytest.mark.slow
def test_an_axis_has_the_unit_of_its_loop_and_a_title_its_description(tmp_path: Path) -> None:
    (tmp_path / "labelled.toml").write_text(LABELLED)
    command = ("preview", "--config", "labelled.toml", "--duration", "1m")
    for name in ("a.svg", "a.html", "a.png"):
        assert run_command(*command, "--output", name, folder=tmp_path).returncode == 0
    assert ">PV, SP (m3/h)<" in (tmp_path / "a.svg").read_text()
    assert ">Price &lt;in&gt; $x$ &amp; more<" in (tmp_path / "a.svg").read_text()
    assert ">PV, SP (unitunituni…)<" in (tmp_path / "a.svg").read_text()
    assert '"PV, SP (m3/h)"' in (tmp_path / "a.html").read_text().replace("\\u002f", "/")
    assert ">Price &lt;in&gt; $x$ &amp; more</p>" in (tmp_path / "a.html").read_text()
    for loops in (("A1",), ("A1", "A2")):
        out = run_command(*command, *loops, folder=tmp_path).stdout
        assert re.search(r"^A1  ─ PV  ┈ SP  ─ OP  Price <in> \$x\$ & more +2025-01-10 UTC$", out, re.MULTILINE)
        assert re.search(r"^ +PV, SP │.*\n +m3/h │", out, re.MULTILINE)
        assert max(map(len, out.splitlines())) <= 100


@pytest.mark.slow
def test_a_page_of_many_loops_stays_small(tmp_path: Path) -> None:
    result = run_preview(tmp_path, "--duration", "2h", "--output", "x.html")
    assert result.stderr == "first 50 of 61 loops; name others, or a pattern such as 'FIC*'\n"
    page = (tmp_path / "x.html").read_text()
    assert page.count("<section") == 50
    assert len(page) < 6_000_000
    assert "min/max-downsampled 24:1" in page


def test_every_mistake_is_one_line(tmp_path: Path) -> None:
    message = run_preview(tmp_path, "FIC11", "X*", status=2).stderr
    assert message.splitlines() == [
        "preview: no loop matches 'FIC11'; did you mean 'FIC101'?",
        "preview: no loop matches 'X*'; give one of " + ", ".join(["FIC101", *(f"PIC{n:03d}" for n in range(1, 61))])]
    assert run_preview(tmp_path, "--output", "x.jpg", status=2).stderr == \
        "--output x.jpg: unknown picture format .jpg; use .html, .png or .svg\n"
    assert run_preview(tmp_path, "--output", "no/x.png", "PIC001", status=2).stderr == \
        "--output no/x.png: cannot be written: No such file or directory; name a file in a folder that exists\n"


def test_a_record_is_plotted(tmp_path: Path) -> None:
    rows = "".join(f"2025-01-10T10:05:{second:02d}Z,{400 + second},{50},{400}\n" for second in range(60))
    (tmp_path / "r.csv").write_text("time,PV,OP,SP\n" + rows)
    (tmp_path / "empty.toml").write_text("")
    replay = ("--config", "empty.toml", "--replay", "r.csv")
    assert run_preview(tmp_path, *replay, "--duration", "1m").stdout.startswith("r  ─ PV")
    assert "did you mean 'r'" in run_preview(tmp_path, "rr", *replay, status=2).stderr


def test_a_loop_is_the_same_without_the_loops_that_it_does_not_need() -> None:
    loops = parse_configuration({"loop": [
        {"id": "TIC1", "type": "temperature"}, {"id": "FIC1", "cascade": "TIC1"}, {"id": "FIC2"},
        {"id": "PIC1", "type": "pressure", "fault": [{"kind": "interaction", "with": "FIC2"}]},
        {"id": "FIC9"}]}).loops
    assert [loop.id for loop in select_groups(loops, ["TIC1"])] == ["TIC1", "FIC1"]
    assert [loop.id for loop in select_groups(loops, ["PIC1"])] == ["FIC2", "PIC1"]
    start = 1_736_503_500 * SECOND
    whole = Plant(loops, seed=1, start=start).advance(300)
    for loop in loops:
        some = Plant(select_groups(loops, [loop.id]), seed=1, start=start).advance(300)
        for signal in ("pv", "op", "sp", "mode"):
            assert np.array_equal(getattr(some, signal)[:, some.loops.index(loop.id)],
                                  getattr(whole, signal)[:, whole.loops.index(loop.id)])


@pytest.mark.process
def test_a_signal_stops_the_command_while_the_plant_runs(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "clpm_execd", "preview", "--duration", "30d"], cwd=tmp_path,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        time.sleep(1.5)  # it may have come anywhere by then
        process.terminate()
        assert process.communicate(timeout=20)[0] == b""
        assert process.returncode == 0


@pytest.mark.process
@pytest.mark.parametrize(("library", "options"), [("matplotlib", ["--output", "x.png"]),
                                                  ("plotly", ["--output", "x.html"])])
def test_without_the_extra_the_error_comes_before_the_simulation(library: str, options: list[str]) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; from clpm_execd.cli import run;" \
           "from clpm_execd.runtime.os_signals import install_handlers; sys.exit(run(install_handlers(), sys.argv[1:]))"
    command = [sys.executable, "-c", code, "preview", "--duration", "1000d", *options]
    result = subprocess.run(command, capture_output=True,
                            text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"extra 'plots': {library} is not installed; pip install 'clpm-execd[plots]'\n"


@pytest.mark.slow
def test_the_pictures_of_the_documentation_are_those_of_its_commands(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    page = (root / "clpm_execd" / "docs" / "faults.md").read_text()
    commands = re.findall(r"^clpm-execd (preview .* --output (telegraf/pictures/\S+))$", page, re.MULTILINE)
    assert sorted(name for _, name in commands) == \
        sorted(str(path.relative_to(root)) for path in (root / "telegraf" / "pictures").glob("*.png"))
    for command, name in commands:
        out = tmp_path / Path(name).name
        words = [str(out) if word == name else word for word in command.split()]
        assert run_command(*words, folder=root).returncode == 0
        picture = (root / name).read_bytes()
        assert len(picture) < 100_000
        assert picture[:24] == out.read_bytes()[:24], "kind and size in pixels"


@pytest.mark.process
def test_drawing_is_imported_only_to_draw() -> None:
    code = "import sys; from clpm_execd.cli.parser import build_parser; build_parser();" \
           "import clpm_execd.pictures.picture;" \
           "print([m for m in ('matplotlib', 'plotly', 'pandas', 'rich') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
