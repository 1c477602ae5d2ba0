"""Lives of the program, begun in a moment: for tests/influx/test_kills.py, which ends each by SIGKILL.

All that a start imports is imported once; each line on stdin forks a process that runs the command line given, as
`python -m clpm_execd` would. On stdout: its pid, and a second line with its wait status once it has ended.
"""

from __future__ import annotations

import os
import sys

import influxdb_client.client.influxdb_client
import influxdb_client.service.write_service  # noqa: F401

from clpm_execd.cli import run
from clpm_execd.runtime.os_signals import install_handlers


def main() -> None:
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            sys.stdout = sys.stderr  # what it says is for the log
            os._exit(run(install_handlers(), sys.argv[1:]))
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()
