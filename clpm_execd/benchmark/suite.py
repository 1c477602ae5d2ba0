"""The suites: loops.toml files in the package, and a table of contents with title, duration and hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clpm_execd.config.loops import Configuration, read_configuration
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.units import SECOND, parse_duration

SUITES_FOLDER = Path(__file__).parent / "suites"
CATALOGUE = Path(__file__).parent / "suites.toml"


@dataclass(frozen=True, slots=True)
class Suite:
    """A named plant over a fixed time.

    Attributes
    ----------
    name, title : str
    duration : int
        ns.
    window : int
        The time that the reference monitors judge at once, ns.
    sha256 : mapping of str to str
        The checksums of `samples` as wide CSV and of `truth`; empty for a draft.
    """

    name: str
    title: str
    duration: int
    window: int
    sha256: Mapping[str, str]

    @property
    def path(self) -> Path:
        """The loops.toml."""
        return SUITES_FOLDER / f"{self.name}.toml"

    @property
    def is_draft(self) -> bool:
        return not self.sha256

    def report_differences(self, names: Sequence[str]) -> BadInput:
        """Return the error of data that are not those of the frozen suite; names: `samples`, `truth` or both."""
        return BadInput([Problem(f"suite {self.name}",
                                 f"another sha256 of {' and '.join(names)} than the frozen suite's",
                                 "do not compare scores on it; report the manifest.json of `benchmark data`")])

    def read(self) -> Configuration:
        """Return the loops and how they are run."""
        return read_configuration(self.path)

    def count_samples(self, configuration: Configuration) -> int:
        """Return how many samples each loop has."""
        return self.duration // (configuration.interval or SECOND)


@cache
def _read_catalogue() -> Mapping[str, Mapping[str, Any]]:
    import tomli

    return tomli.loads(CATALOGUE.read_text(encoding="utf-8"))


def list_suites() -> tuple[str, ...]:
    """Return the names of all suites."""
    return tuple(_read_catalogue())


def load_suite(name: str) -> Suite:
    """Return a suite by its name; raise BadInput if there is none."""
    entry = _read_catalogue().get(name)
    if entry is None:
        raise BadInput([Problem(f"suite {name!r}", "there is no such suite", did_you_mean(name, list_suites()))])
    return Suite(name, str(entry["title"]), parse_duration(entry["duration"]), parse_duration(entry["window"]),
                 dict(entry.get("sha256", {})))
