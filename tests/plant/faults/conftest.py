"""What the statements about faults share lies beside them, in faulty_loops.py."""

from __future__ import annotations

import sys
from pathlib import Path

# pytest imports test files by their path and leaves this folder off the module path.
sys.path.append(str(Path(__file__).parent))
