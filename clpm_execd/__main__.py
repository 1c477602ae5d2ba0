"""The entry point of the process. It installs the signal handlers before it imports anything heavy.

Telegraf may send a signal as soon as the process exists, and a signal without a handler would kill it. Python 3.7 can
still parse this file, so that an interpreter that is too old gets a clear message.
"""

import os
import stat
import sys
import time
from contextlib import suppress

OLDEST_PYTHON = (3, 10)
READ_TIME_SECONDS = 0.05  # for Telegraf to read what is left in a pipe of 64 KiB

if sys.version_info[:2] < OLDEST_PYTHON:
    print(f"E! Python {sys.version_info[0]}.{sys.version_info[1]} is too old, {sys.executable}; "
          f"run clpm-execd with Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer", file=sys.stderr)
    sys.exit(2)

from clpm_execd.runtime.os_signals import install_handlers  # noqa: E402


def main() -> int:
    """Run the command `clpm-execd`, which is also `python -m clpm_execd`; return the exit status."""
    try:
        signals = install_handlers()
        from clpm_execd.cli import run
    except OSError as error:  # such as a limit of four open files
        print(f"E! cannot start: {error.strerror}", file=sys.stderr)
        return 2
    try:
        return run(signals)
    finally:
        _close_pipes()


def _close_pipes() -> None:
    """Close the pipes to Telegraf shortly before the process ends.

    Telegraf closes its ends as soon as the process is gone. If its readers have not reached the end of the data by
    then, the rest is lost and Telegraf logs an error.
    """
    with suppress(OSError, ValueError):
        if not (stat.S_ISFIFO(os.fstat(0).st_mode) and stat.S_ISFIFO(os.fstat(2).st_mode)):
            return
        sys.stdout.flush()
        sys.stderr.flush()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        time.sleep(READ_TIME_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
