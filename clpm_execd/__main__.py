"""Where the process begins: in charge of its signals before anything heavier is imported.

Telegraf may send one as soon as the process is there, and what has no handler yet would kill it. This file can be read
by any Python 3.7, to tell one that is too old.
"""

import os
import stat
import sys
import time
from contextlib import suppress

OLDEST = (3, 10)

if sys.version_info[:2] < OLDEST:  # here, where an older Python still reads what is written
    print(f"E! Python {sys.version_info[0]}.{sys.version_info[1]} is too old, {sys.executable}; "
          f"run clpm-execd with Python {OLDEST[0]}.{OLDEST[1]} or newer", file=sys.stderr)
    sys.exit(2)

from clpm_execd.runtime.os_signals import hold  # noqa: E402


def main() -> int:
    """The command `clpm-execd`, and `python -m clpm_execd`; the exit status."""
    signals = hold()
    from clpm_execd.cli import run

    try:
        return run(signals)
    finally:
        _hang_up()


def _hang_up() -> None:
    """End what goes to Telegraf before the process ends.

    Telegraf closes the pipes as soon as the process is gone, and a reader of its own that has not come to the
    end by then loses what is left and logs an error.
    """
    with suppress(OSError, ValueError):
        if not (stat.S_ISFIFO(os.fstat(0).st_mode) and stat.S_ISFIFO(os.fstat(2).st_mode)):
            return
        sys.stdout.flush()
        sys.stderr.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
