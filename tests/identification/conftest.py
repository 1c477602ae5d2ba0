"""Makes the modules of this folder importable from its tests."""

from __future__ import annotations

import sys
from pathlib import Path

# pytest imports test files by their path and leaves this folder off the module path.
sys.path.append(str(Path(__file__).parent))
