"""Between seed and sample there is only arithmetic whose result no platform, release or processor decides.

What this reads from the source of `clpm_execd/plant`, `tests/platforms` computes on other platforms.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from parts import ROOT

PLANT = ROOT / "clpm_execd" / "plant"

# Of `math`: exact, rounded correctly, or constant.
MATH = {"ceil", "floor", "frexp", "fsum", "inf", "isfinite", "isnan", "ldexp", "pi", "sqrt"}
# Of numpy: selection, shape and types; one IEEE operation an element; sums in order. Nothing that multiplies and adds
# in one go, which a compiler may fuse (interp, linspace, complex numbers), nor any sum in an order of its own.
NUMPY = {
    "abs", "add", "append", "arange", "argsort", "array", "array_equal", "asarray", "bool_", "broadcast_to", "clip",
    "concatenate", "copyto", "count_nonzero", "cumsum", "diff", "divide", "dtype", "empty", "equal", "flatnonzero",
    "float64", "floor", "frexp", "frombuffer", "fromiter", "full", "inf", "int16", "int64", "int8", "intc",
    "intersect1d", "intp", "isfinite", "isin", "isnan", "ldexp", "left_shift", "lexsort", "logical_and", "logical_or",
    "maximum", "minimum", "moveaxis", "multiply", "nan", "nan_to_num", "nanmax", "nanmin", "ndarray", "newaxis", "ones",
    "ones_like", "partition", "repeat", "rint", "searchsorted", "setdiff1d", "sign", "signbit", "sort", "sqrt", "stack",
    "subtract", "tile", "uint64", "uint8", "unique", "void", "where", "zeros", "zeros_like"}
# Methods of arrays and ufuncs that sum in an order of NumPy's own, or sort or round by a rule of its own.
METHODS = {"argpartition", "dot", "mean", "prod", "reduce", "reduceat", "round", "std", "sum", "trace", "var"}
SORTS = {"argsort", "sort"}
BUILTINS = {"pow", "sum"}  # since Python 3.12 sum() of numbers compensates
MODULES = {"cmath", "numpy.fft", "numpy.linalg", "numpy.random", "random", "scipy", "statistics"}


def violations(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of whatever may give other bits on another platform."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "math":
            yield from ((node.lineno, f"math.{one.name}") for one in node.names if one.name not in MATH)
        elif isinstance(node, ast.ImportFrom) and node.module == "numpy":
            yield node.lineno, "from numpy import"
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else [str(node.module)]
            yield from ((node.lineno, name) for name in names if name == "math" or name in MODULES)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
            if node.attr not in NUMPY:
                yield node.lineno, f"np.{node.attr}"
        elif isinstance(node, ast.Attribute) and node.attr in METHODS:
            yield node.lineno, f".{node.attr}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, complex):
            yield node.lineno, "a complex number"
        elif isinstance(node, (ast.BinOp, ast.AugAssign)):
            if isinstance(node.op, ast.MatMult):
                yield node.lineno, "@"
            elif isinstance(node.op, ast.Pow) and not _is_constant_power(node):
                yield node.lineno, "**"
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
                yield node.lineno, f"{node.func.id}()"
            elif isinstance(node.func, ast.Attribute) and node.func.attr in SORTS and not _is_stable(node):
                yield node.lineno, f"{node.func.attr} without kind='stable'"


def _is_constant_power(node: ast.BinOp | ast.AugAssign) -> bool:
    """Whether it is a power of 2, or of whole numbers, that Python computes when it compiles."""
    if isinstance(node, ast.AugAssign):
        return False
    base, exponent = node.left, node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
    return (isinstance(base, ast.Constant) and isinstance(exponent, ast.Constant) and isinstance(exponent.value, int)
            and (base.value == 2.0 or isinstance(base.value, int)))


def _is_stable(call: ast.Call) -> bool:
    return any(keyword.arg == "kind" and isinstance(keyword.value, ast.Constant) and keyword.value.value == "stable"
               for keyword in call.keywords)


def test_the_plant_computes_with_nothing_that_differs_between_platforms() -> None:
    here = [f"{path.relative_to(ROOT)}:{line}: {name}" for path in sorted(PLANT.rglob("*.py"))
            for line, name in violations(path.read_text())]
    assert here == [], "use plant/elementary.py, math.fsum, stable sorts"


@pytest.mark.parametrize("source", [
    "np.exp(x)", "np.log(x)", "x.sum(axis=0)", "np.add.reduce(x)", "a @ b", "a @= b", "x ** 0.5", "10.0 ** -3",
    "2.0 ** n", "x **= 2", "1j * x", "np.dot(a, b)", "np.linalg.norm(x)", "np.random.default_rng(1)", "sum(x)",
    "pow(x, 2)", "np.argsort(x)", "x.sort()", "np.argpartition(x, 3)", "from math import exp", "import math",
    "from numpy import exp", "import random", "from statistics import mean", "x.round(2)", "np.interp(x, a, b)"])
def test_differences_are_reported(source: str) -> None:
    assert list(violations(source))


@pytest.mark.parametrize("source", [
    "2.0**-53", "10**9", "np.add.accumulate(x)", "np.argsort(x, kind='stable')", "from math import sqrt", "a * b + c"])
def test_what_is_the_same_everywhere_is_allowed(source: str) -> None:
    assert not list(violations(source))
