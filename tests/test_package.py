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
          "tzdata", "urllib3", "setuptools"}
MOST_MEGABYTES = 150  # installed without extras, most of it numpy

pytestmark = pytest.mark.process


def uv(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """uv, which reaches the package index as pip on this machine does."""
    result = subprocess.run([sys.executable, "-m", "uv", "--no-progress", *map(str, words)], env=parts.uv_environment(),
                            cwd=parts.ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source archive, and the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", folder, ".")
    [archive], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return archive, wheel


@pytest.fixture(scope="module")
def deb(built: tuple[Path, Path]) -> Path:
    """The .deb, unpacked, that is made of the wheel; the .rpm is made with it."""
    parts.binary("nfpm", "nfpm")
    folder = built[1].parent
    result = subprocess.run([".packaging/build", folder], env=parts.uv_environment(), cwd=parts.ROOT,
                            capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stderr
    [package] = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "--raw-extract", package, folder / "deb"], check=True)
    return folder / "deb"


@pytest.fixture(scope="module")
def metadata(built: tuple[Path, Path]) -> email.message.Message:
    with zipfile.ZipFile(built[1]) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return email.parser.Parser().parsestr(wheel.read(name).decode())


def supported() -> list[str]:
    """The oldest and the newest supported Python that is here."""
    interpreters = {tuple(map(int, path.parts[-3].split(".")[:2])): path
                    for path in Path.home().glob(".pyenv/versions/3.*/bin/python")}
    interpreters[sys.version_info[:2]] = Path(sys.executable)
    oldest = tuple(map(int, PROJECT["requires-python"].removeprefix(">=").split(".")))
    fit = sorted(version for version in interpreters if version >= oldest)
    return [str(interpreters[version]) for version in dict.fromkeys((fit[0], fit[-1]))]


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
    required_files = {"README.md", "Dockerfile", "env.example", "telegraf/compose.yaml", "telegraf/clpm-execd.service",
                      "telegraf/sample.conf", ".packaging/build", "tests/test_package.py"}
    assert required_files <= names
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
        result = subprocess.run([str(venv / "bin" / "clpm-execd"), *words], cwd=tmp_path, capture_output=True,
                                text=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
                                env={"PATH": os.environ["PATH"]})
        assert result.returncode == status, result.stderr
        return result.stdout if status == 0 else result.stderr

    assert ran("--version") == f"clpm-execd {clpm_execd.__version__}\n"
    assert ran("--count", "2").count("\n") == 10
    assert ran("check") == "ok: 5 loops\n"
    assert "stiction\n" in ran("faults")
    (tmp_path / "loops.toml").write_text(ran("init", "--plant", "refinery", "--loops", "20"))
    assert ran("generate", "--config", "loops.toml", "--duration", "10s", "--format", "wide").count("\n") == 201
    assert "OP %" in ran("preview")
    assert "pip install 'clpm-execd[plots]'" in ran("preview", "--output", "loops.png", status=2)
    listed = uv("pip", "list", "--python", venv / "bin" / "python").stdout.splitlines()[2:]
    assert {line.split()[0].lower() for line in listed} <= NEEDED
    size = sum(path.stat().st_size for path in venv.rglob("*") if path.is_file()) / 1e6
    assert size < MOST_MEGABYTES


def test_the_deb_has_what_telegraf_and_systemd_read(deb: Path) -> None:
    control = (deb / "DEBIAN" / "control").read_text()
    assert f"Version: {clpm_execd.__version__}-1\nSection: science\nPriority: optional\nArchitecture: all\n" in control
    numpy = next(text for text in PROJECT["dependencies"] if text.startswith("numpy")).removeprefix("numpy")
    assert f"python3-numpy ({numpy[:2]} 1:{numpy[2:]})" in control  # Debian's has an epoch
    settings = {path: (deb / path).stat().st_mode & 0o777 for path in
                ("etc/clpm-execd/env", "etc/clpm-execd/loops.toml", "etc/telegraf/telegraf.d/clpm-execd.conf")}
    assert list(settings.values()) == [0o640, 0o644, 0o644]
    assert (deb / "DEBIAN" / "conffiles").read_text().split() == [f"/{path}" for path in settings]
    assert "\nCLPM_LOOPS=/etc/clpm-execd/loops.toml\n" in (deb / "etc/clpm-execd/env").read_text()
    [plugin] = tomli.loads((deb / "etc/telegraf/telegraf.d/clpm-execd.conf").read_text())["inputs"]["execd"]
    assert plugin["environment"][:2] == ["CLPM_LOOPS=/etc/clpm-execd/loops.toml",
                                         "CLPM_STATE=/var/lib/clpm-execd-telegraf"]
    assert (deb / "usr/lib/systemd/system/clpm-execd.service").exists()


def test_the_program_of_the_deb_runs_by_itself(deb: Path, tmp_path: Path) -> None:
    library = deb / "usr" / "lib" / "clpm-execd"
    assert not [path for path in library.rglob("*") if path.suffix in (".so", ".pyc")]
    command = tmp_path / "clpm-execd"
    command.write_text((deb / "usr/bin/clpm-execd").read_text().replace("/usr/lib/clpm-execd", str(library)))
    result = subprocess.run([sys.executable, "-IB", command, "--count", "2"], capture_output=True, text=True,
                            check=True)
    assert result.stdout.count("\n") == 10
    vendored = {path.name.split("-")[0].replace("_", "-") for path in library.glob("*.dist-info")}
    assert vendored <= NEEDED - {"numpy", "setuptools"}
    assert str(parts.ROOT) not in "".join(path.read_text() for path in library.glob("*.dist-info/*") if path.is_file())


def test_check_sums_name_every_file_of_a_release(deb: Path) -> None:
    result = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=deb.parent, capture_output=True,
                            text=True, check=True)
    suffixes = {line.partition(":")[0].rpartition(".")[2] for line in result.stdout.splitlines()}
    assert suffixes == {"whl", "gz", "deb", "rpm"}


def test_a_release_has_notes_or_does_not_begin() -> None:
    def notes(version: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([".packaging/notes", version], cwd=parts.ROOT, capture_output=True, text=True,
                              check=False)

    assert notes(clpm_execd.__version__).stdout.count("\n") > 1
    assert (notes("0.0.1").returncode, notes("0.0.1").stdout) == (1, "")


def test_the_workflows_are_valid() -> None:
    result = subprocess.run([parts.binary("actionlint", "actionlint"), "-color"], cwd=parts.ROOT, capture_output=True,
                            text=True, check=False)
    assert result.returncode == 0, result.stdout
