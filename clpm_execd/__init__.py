"""A plant's worth of control loops, streamed as InfluxDB line protocol.

Importing the package costs nothing: numpy and the plant are loaded when first asked for, so that a process started
by Telegraf can take charge of its signals before anything heavy is imported.
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
