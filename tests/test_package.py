"""The package as it is published: it builds from its own source archive, and works where nothing else is installed."""

from __future__ import annotations

import email.message
import email.parser
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import parts
import pytest
import tomli

import clpm_execd

PROJECT = tomli.loads((parts.ROOT / "pyproject.toml").read_text())["project"]
NEEDED = {"certifi", "clpm-execd", "influxdb-client", "markdown-it-py", "mdurl", "numpy", "pygments",
          "python-dateutil", "python-dotenv", "reactivex", "rich", "shtab", "six", "tomli", "typing-extensions",
          "tzdata", "urllib3", "setuptools"}  # fmt: skip
MOST_MEGABYTES = 150  # installed without extras, most of it numpy

pytestmark = pytest.mark.process


def uv(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """uv, which reaches the package index as pip on this machine does."""
    settings = {"SSL_CERT_FILE": parts.pip_setting("cert"), "UV_DEFAULT_INDEX": parts.pip_setting("index-url")}
    env = os.environ | {name: value for name, value in settings.items() if value}
    done = subprocess.run([sys.executable, "-m", "uv", "--no-progress", *map(str, words)], env=env, cwd=parts.ROOT,
                          capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source archive, and the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", folder, ".")
    [archive], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return archive, wheel


@pytest.fixture(scope="module")
def metadata(built: tuple[Path, Path]) -> email.message.Message:
    with zipfile.ZipFile(built[1]) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return email.parser.Parser().parsestr(wheel.read(name).decode())


def supported() -> list[str]:
    """The oldest and the newest supported Python that is here."""
    found = {tuple(map(int, path.parts[-3].split(".")[:2])): path
             for path in Path.home().glob(".pyenv/versions/3.*/bin/python")}
    found[sys.version_info[:2]] = Path(sys.executable)
    oldest = tuple(map(int, PROJECT["requires-python"].removeprefix(">=").split(".")))
    fit = sorted(version for version in found if version >= oldest)
    return [str(found[version]) for version in dict.fromkeys((fit[0], fit[-1]))]


def test_the_wheel_holds_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    tracked = subprocess.run(["git", "ls-files", "clpm_execd"], cwd=parts.ROOT, capture_output=True, text=True,
                             check=False).stdout.split() or [str(path.relative_to(parts.ROOT))
                                                             for path in (parts.ROOT / "clpm_execd").rglob("*.py")]
    assert set(tracked) <= names
    assert {name.split("/")[0] for name in names} == {"clpm_execd", f"clpm_execd-{clpm_execd.__version__}.dist-info"}
    assert "clpm_execd/py.typed" in names
    assert any(name.endswith("licenses/clpm_execd/LICENSE") for name in names)
    assert built[1].stat().st_size < 1_000_000


def test_the_source_archive_holds_what_is_deployed_and_the_tests(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"README.md", "Dockerfile", "env.example", "telegraf/compose.yaml", "telegraf/clpm-execd.service",
              "tests/test_package.py"}  # fmt: skip
    assert wanted <= names
    assert built[0].stat().st_size < 2_000_000


def test_the_metadata_say_what_it_is(metadata: email.message.Message) -> None:
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Version"] == clpm_execd.__version__
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert {"all", "fast", "learn", "plots", "test"} <= set(metadata.get_all("Provides-Extra", []))
    classifiers = metadata.get_all("Classifier", [])
    assert "Typing :: Typed" in classifiers
    assert not any(classifier.startswith("License ::") for classifier in classifiers)  # the expression says it


def test_all_means_every_extra_for_users() -> None:
    extras = set(PROJECT["optional-dependencies"]) - {"all", "test"}
    [every] = PROJECT["optional-dependencies"]["all"]
    assert set(re.findall(r"\w+", every.partition("[")[2])) == extras


def test_the_version_stands_in_one_place() -> None:
    assert "version" in PROJECT["dynamic"]
    for name in ("pyproject.toml", "Dockerfile", "telegraf/compose.yaml"):
        assert clpm_execd.__version__ not in (parts.ROOT / name).read_text()


@pytest.mark.parametrize("python", supported())
def test_it_works_where_nothing_else_is_installed(built: tuple[Path, Path], python: str, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    uv("venv", "--quiet", "--python", python, venv)
    uv("pip", "install", "--quiet", "--python", venv / "bin" / "python", built[1])

    def ran(*words: str, status: int = 0) -> str:
        done = subprocess.run([str(venv / "bin" / "clpm-execd"), *words], cwd=tmp_path, capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
                              env={"PATH": os.environ["PATH"]})  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    assert ran("--version") == f"clpm-execd {clpm_execd.__version__}\n"
    assert ran("--count", "2").count("\n") == 10
    assert ran("check") == "ok: 5 loops\n"
    assert "stiction\n" in ran("faults")
    (tmp_path / "loops.toml").write_text(ran("init", "--plant", "refinery", "--loops", "20"))
    assert ran("generate", "--config", "loops.toml", "--duration", "10s", "--format", "wide").count("\n") == 201
    assert "pip install 'clpm-execd[plots]'" in ran("preview", status=2)
    listed = uv("pip", "list", "--python", venv / "bin" / "python").stdout.splitlines()[2:]
    assert {line.split()[0].lower() for line in listed} <= NEEDED
    size = sum(path.stat().st_size for path in venv.rglob("*") if path.is_file()) / 1e6
    assert size < MOST_MEGABYTES
