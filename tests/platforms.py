"""The same bits everywhere: one command that computes the plant's samples on many platforms and prints their hashes.

    python tests/platforms.py               every platform, and whether its hash is the one of arrays.txt
    python tests/platforms.py NAME ...      those whose names contain one of these texts, such as "aarch64" or "3.14"
    python tests/platforms.py --suites      the same of the benchmark's small suites, and whether they are as frozen
    python tests/platforms.py --unit        the unit tests on each Python, with the oldest dependencies and the newest

A platform is a Python, a NumPy, with or without the vector instructions beyond the processor's baseline, with or
without numba, on this processor or on an emulated one (aarch64, by qemu). Each has a clean environment, made by uv.
A Python that uv does not find, and cannot download, is unpacked from Debian's packages; so is qemu. What has been made
stands in ~/.cache/clpm-execd/platforms and is used again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path.home() / ".cache" / "clpm-execd" / "platforms"
GOLDEN = ROOT / "tests" / "golden"
NUMPY_OF_THE_PAST = ("1.26.4", "2.0.2")
NUMPY_OF_DEBIAN_12 = "1.24.2"  # the .deb uses it, with Python 3.11
# Where Debian has a Python that uv does not find; any other is looked for in the newest suite.
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
MIRROR = "http://deb.debian.org/debian"
# Without a package of its own: what NumPy's wheels need of the system.
LIBRARIES = ("libstdc++6", "libgcc-s1")


@dataclass(frozen=True)
class Platform:
    """python: its version. numpy: its version; the newest that this Python has where it is empty."""

    python: str
    numpy: str = ""
    has_numba: bool = False
    is_wide: bool = True
    machine: str = "x86_64"

    @property
    def name(self) -> str:
        parts = [f"Python {self.python}", f"NumPy {self.numpy or 'newest'}", self.machine]
        parts += ["numba"] if self.has_numba else []
        return ", ".join(parts + ([] if self.is_wide else ["no wide instructions"]))

    @property
    def requirements(self) -> list[str]:
        """What to install besides clpm-execd's own dependencies."""
        return [f"numpy=={self.numpy}" if self.numpy else "numpy", *(["numba>=0.61"] if self.has_numba else [])]


def platforms() -> Iterator[Platform]:
    """Yield every platform on which the samples are compared."""
    for is_wide in (True, False):
        for numpy in NUMPY_OF_THE_PAST:
            yield Platform("3.10", numpy, is_wide=is_wide)
            yield Platform("3.12", numpy, is_wide=is_wide)
        yield Platform("3.11", NUMPY_OF_DEBIAN_12, is_wide=is_wide)
        for python in ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15"):
            yield Platform(python, is_wide=is_wide)
        yield Platform("3.12", has_numba=True, is_wide=is_wide)
    yield Platform("3.11", machine="aarch64")


# The unit tests run with the least of each dependency that has changed its interface, and with the newest of all.
UNIT_PLATFORMS = {
    Platform("3.10", "1.26.4"): ["urllib3==1.26.20"], Platform("3.11", NUMPY_OF_DEBIAN_12): ["pyarrow==18.0.0"],
    Platform("3.11"): [], Platform("3.12", "2.0.2"): [],
    Platform("3.13"): [], Platform("3.14"): [], Platform("3.15"): []}
# Hypothesis 6.170 takes its own random numbers for garbage on Python 3.15, whose reference counts are lower.
HYPOTHESIS_WARNING = "It looks like `register_random` was passed an object that could be garbage collected immediately"


def run(*words: str | Path, **environment: str) -> str:
    """Run a program to its end, and return what it printed; it must succeed."""
    result = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True)
    if result.returncode:
        command = " ".join(map(str, words))
        raise SystemExit(f"{command}: exit status {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


def uv(*words: str | Path) -> str:
    """Run uv, which also looks for Pythons where pyenv has put them."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob("*/bin"))
    path = os.pathsep.join([*map(str, pyenv), os.environ["PATH"]])
    installed = Path(sys.executable).parent / "uv"
    return run(installed if installed.exists() else "uv", *words, PATH=path)


def find_python(version: str, machine: str) -> Path:
    """Return a Python of this version for this machine: one that is here, one that uv downloads, or Debian's."""
    if machine == os.uname().machine:
        for options in (["--no-python-downloads"], []):
            try:
                return Path(uv("python", "find", *options, version).strip())
            except SystemExit:
                if not options:
                    break
        try:
            uv("python", "install", version)
            return Path(uv("python", "find", version).strip())
        except SystemExit:
            pass
    return unpack_python(version, machine)


def unpack_python(version: str, machine: str) -> Path:
    """Return a Python of Debian's, unpacked with all that it needs under a folder of its own, where it also runs."""
    root = CACHE / f"python-{version}-{machine}"
    python = root / "usr" / "bin" / f"python{version}"
    if python.exists():
        return python
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("bin", "sbin", "lib", "lib64"):  # as Debian's base-files has them
        (root / "usr" / folder).mkdir(parents=True)
        (root / folder).symlink_to(Path("usr", folder))
    suite = SUITES.get(version, "sid")
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[machine]
    unpack_packages(root, suite, architecture, [f"python{version}", *LIBRARIES])
    binary = python.rename(python.with_name(f"python{version}.elf"))
    if machine == os.uname().machine:
        loader = root / "lib64" / "ld-linux-x86-64.so.2"
        libraries = ":".join(str(root / "usr" / "lib" / part) for part in (f"{machine}-linux-gnu", ""))
        command = f'exec {loader} --library-path {libraries} --argv0 "$0" {binary} "$@"'
    else:
        command = f'exec {find_qemu(machine)} -L {root} -0 "$0" {binary} "$@"'
    python.write_text(f"#!/bin/sh\n{command}\n")
    python.chmod(0o755)
    return python


def find_qemu(machine: str) -> Path:
    """Return Debian's emulator of this machine."""
    root = CACHE / "qemu"
    emulator = root / "usr" / "bin" / f"qemu-{machine}-static"
    if not emulator.exists():
        unpack_packages(root, "bookworm", "amd64", ["qemu-user-static"], with_dependencies=False)
    return emulator


def unpack_packages(root: Path, suite: str, architecture: str, packages: Sequence[str],
                    with_dependencies: bool = True) -> None:
    """Unpack Debian's packages below a folder, without installing them."""
    apt = CACHE / f"apt-{suite}-{architecture}"
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "sources.list").write_text(f"deb {MIRROR} {suite} main\n")
    (apt / "status").touch()  # as if nothing were installed
    options = [f"-o{key}={value}" for key, value in {
        "Dir::State::lists": apt / "lists", "Dir::Cache": apt / "cache", "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "-", "Dir::State::status": apt / "status", "APT::Architecture": architecture,
        "APT::Architectures": architecture, "APT::Sandbox::User": "root", "Acquire::Languages": "none"}.items()]
    run("apt-get", *options, "-qq", "update")
    if with_dependencies:
        run("apt-get", *options, "-qq", "-y", "--download-only", "--no-install-recommends", "install", *packages)
        archives = sorted((apt / "cache" / "archives").glob("*.deb"))
    else:
        subprocess.run(["apt-get", *options, "-qq", "download", *packages], cwd=apt, check=True)
        archives = sorted(apt.glob("*.deb"))
    for archive in archives:
        run("dpkg-deb", "-x", archive, root)


def make_environment(platform: Platform) -> Path:
    """Return the Python of a clean environment with clpm-execd's dependencies, in the versions of the platform."""
    python = find_python(platform.python, platform.machine)
    folder = CACHE / "environments" / platform.name.replace(", no wide instructions", "").replace(" ", "-")
    uv("venv", "--quiet", "--allow-existing", "--python", python, folder)
    uv("pip", "install", "--quiet", "--python", folder, "--only-binary", "numpy,numba,llvmlite", "--upgrade",
       "--requirements", ROOT / "pyproject.toml", *platform.requirements)
    return folder / "bin" / "python"


def run_unit_tests(platform: Platform) -> str:
    """Return the summary of the unit tests on this platform; they must pass."""
    python = find_python(platform.python, platform.machine)
    folder = CACHE / "environments" / f"unit-{platform.name.replace(' ', '-')}"
    uv("venv", "--quiet", "--allow-existing", "--python", python, folder)
    uv("pip", "install", "--quiet", "--python", folder, "--upgrade", "--editable", f"{ROOT}[test]",
       *platform.requirements, *UNIT_PLATFORMS[platform])
    run(folder / "bin" / "python", "-c", "import matplotlib.font_manager")  # looks for fonts once, with a process
    return run(folder / "bin" / "python", "-m", "pytest", "-m", "unit", "-n", "2", "-p", "no:cacheprovider",
               "-W", f"ignore:{HYPOTHESIS_WARNING}:hypothesis.errors.HypothesisWarning",
               ROOT / "tests").strip().splitlines()[-1]


def compute_digest(platform: Platform, options: Sequence[str] = ()) -> str:
    """Return the line of `golden/digest.py` with these options, computed on this platform."""
    options = [*options, *([] if platform.is_wide else ["--no-wide-instructions"])]
    return run(make_environment(platform), GOLDEN / "digest.py", *options, PYTHONPATH=str(ROOT),
               PYTHONDONTWRITEBYTECODE="1").strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="part of a platform's name (default all)")
    parser.add_argument("--suites", action="store_true", help="hash the benchmark's small suites instead")
    parser.add_argument("--unit", action="store_true", help="run the unit tests instead")
    arguments = parser.parse_args()
    names = arguments.names
    if arguments.unit:
        for platform in UNIT_PLATFORMS:
            if not names or any(name in platform.name for name in names):
                print(f"{platform.name}: {run_unit_tests(platform)}", flush=True)
        return
    options = ["--suites"] if arguments.suites else []
    expected = run(sys.executable, GOLDEN / "digest.py", "--expected", *options).strip()
    differ = 0
    for platform in platforms():
        if names and not any(name in platform.name for name in names):
            continue
        digest = compute_digest(platform, options)
        differ += digest != expected
        print(f"{digest}  {'same' if digest == expected else 'DIFFERS'}  {platform.name}", flush=True)
    sys.exit(f"{differ} platforms differ" if differ else 0)


if __name__ == "__main__":
    main()
