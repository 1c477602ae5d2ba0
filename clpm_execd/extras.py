"""Libraries of an extra are imported when first needed, and an error of one line says how to install them.

Every room may import this module.
"""

from __future__ import annotations

from importlib.util import find_spec

from clpm_execd.problems import BadInput, Problem


def require(extra: str, *modules: str) -> None:
    """Raise BadInput, with the command that installs them, if one of these top-level modules is not installed."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        what = f"{' and '.join(missing)} {'are' if missing[1:] else 'is'} not installed"
        raise BadInput([Problem(f"extra {extra!r}", what, f"pip install 'clpm-execd[{extra}]'")])
