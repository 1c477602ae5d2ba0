"""The command line: it parses the arguments, calls one of the rooms, and reports errors in one line each.

It may import every room. Exit status 0 means that the command did its work or was stopped, 1 that `health` found the
stream unhealthy, 2 that the command line or the configuration is wrong; then nothing is written to stdout. Each command
is a module of its own, and a room is imported only when a command needs it.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence

from clpm_execd.cli.parser import parse
from clpm_execd.cli.terminal import is_colour_terminal, print_problems
from clpm_execd.problems import BadInput, Problem
from clpm_execd.runtime.os_signals import Signals


def run(signals: Signals, argv: Sequence[str] | None = None) -> int:
    """Run the command in argv, by default the process's own arguments; return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # an ASCII terminal shows a question mark for an umlaut
        sys.stdout.reconfigure(errors="replace")
    arguments = parse(argv)
    if arguments.command is not None:  # libraries ask a closed stdout whether it is a terminal; a stream looks itself
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - until the process ends
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    is_stdout_stream = arguments.command is None and not arguments.direct
    signals.emits_on_hangup &= is_stdout_stream
    try:
        try:
            signals.set_interruptible(True)
            return _run_command(arguments, signals, is_stdout_stream)
        finally:
            signals.set_interruptible(False)
    except KeyboardInterrupt:  # another one, while the first was being handled
        signals.set_interruptible(False)
        return 0
    finally:
        # An interrupted `exec`, as of a dataclass that is being imported, makes `python -m` end by SIGINT although the
        # interruption was caught. The next one undoes that.
        exec("")


def _run_command(arguments: argparse.Namespace, signals: Signals, is_stdout_stream: bool) -> int:
    """Run the command, report its error, and return the exit status."""
    try:
        status: int = arguments.run(arguments, signals)
        return status
    except KeyboardInterrupt:
        return 0
    except Exception as error:
        if signals.should_stop:  # a library makes an error of its own of an interruption
            return 0
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            what = Problem("this process", str(error.strerror), "raise the limit of open files, see `ulimit -n`")
            bad = BadInput([what])
        elif isinstance(error, ImportError) and not str(error.name).startswith("clpm_execd"):
            reason = (str(error).splitlines() or ["it cannot be imported"])[0]
            bad = BadInput([Problem(f"library {error.name or 'of an extra'}", reason,
                                    "install versions that fit each other: pip install --upgrade 'clpm-execd[all]'")])
        elif isinstance(error, BadInput):
            bad = error
        else:
            raise
        if arguments.command == "check" and is_colour_terminal(sys.stderr):
            print_problems(bad.problems)
            return 2
        # Telegraf logs each line of stderr, at the level that the line begins with.
        prefix = "E! " if is_stdout_stream else ""
        for problem in bad.problems if sys.stderr else ():  # if stderr is closed, print would write to stdout
            print(prefix + " ".join(str(problem).split()), file=sys.stderr)
        return 2
