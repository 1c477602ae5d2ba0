"""Puts this folder on the module path, so that its tests can import faulty_loops."""

from __future__ import annotations

import sys
from pathlib import Path

# pytest imports test files by their path and does not add this folder to the module path.
sys.path.append(str(Path(__file__).parent))
