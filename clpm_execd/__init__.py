"""Simulates a plant's control loops and streams PV, OP, SP and mode as InfluxDB line protocol.

Importing the package is cheap: numpy and the plant are imported when a public name is first used, so that a process
started by Telegraf can install its signal handlers before anything heavy is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clpm_execd.version import __version__

if TYPE_CHECKING:
    from clpm_execd.generator import ControlLoopDataGenerator
    from clpm_execd.score import read_truth

__all__ = ["ControlLoopDataGenerator", "__version__", "read_truth"]


def __getattr__(name: str) -> object:
    if name == "ControlLoopDataGenerator":
        from clpm_execd.generator import ControlLoopDataGenerator

        return ControlLoopDataGenerator
    if name == "read_truth":
        from clpm_execd.score import read_truth

        return read_truth
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
