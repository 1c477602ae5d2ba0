"""The command line: arguments to one of the rooms, and what is wrong with them in one line each.

Exit status 0 is a stream that stopped as asked, 2 a command line or configuration that is wrong; then nothing is on
stdout. Each command is a file of its own, and a room is imported only when a command needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from clpm_execd.cli.parser import parse
from clpm_execd.cli.terminal import coloured, show_problems
from clpm_execd.problems import BadInput
from clpm_execd.runtime.os_signals import Signals


def run(signals: Signals, argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    arguments = parse(argv)
    try:
        status: int = arguments.run(arguments, signals)
        return status
    except BadInput as bad:
        if arguments.command == "check" and coloured(sys.stderr):
            show_problems(bad.problems)
            return 2
        # Telegraf takes a line of stderr with a level before it as it is, and every line as one error.
        prefix = "E! " if arguments.command is None and not arguments.direct else ""
        for problem in bad.problems if sys.stderr else ():  # without one, print would take stdout
            print(prefix + " ".join(str(problem).split()), file=sys.stderr)
        return 2
