"""Where the process begins: in charge of its signals before anything heavier is imported.

Telegraf may send one as soon as the process is there, and what has no handler yet would kill it.
"""

import sys

from clpm_execd.stream.signals import hold


def main() -> int:
    """The command `clpm-execd`, and `python -m clpm_execd`; the exit status."""
    signals = hold()
    from clpm_execd.cli import run

    return run(signals)


if __name__ == "__main__":
    sys.exit(main())
