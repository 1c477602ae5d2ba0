"""The package keeps to the table of rooms in clpm_execd/docs/architecture.md.

Three kinds of imports are read from the source: of a module as it is loaded, inside a function, and under
TYPE_CHECKING. All three count for the table of rooms, since each is knowledge of another room. The first two count for
cycles between files, since only those run.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from parts import ROOT

PACKAGE = ROOT / "clpm_execd"
PAGES = {path.name: path for path in (PACKAGE / "docs" / "architecture.md", ROOT / ".github" / "CONTRIBUTING.md")}
ARCHITECTURE = PAGES["architecture.md"].read_text()
# The largest folders are catalogues, a file per entry: commands, kinds of faults, keys of loops.toml.
MOST_MODULES = 12
# A file may have the name of a file whose counterpart it is: the fault of a stage, the command of a room.
MIRRORS = (("plant", "plant.stages", "plant.faults"), ("cli.commands", ""))


class Import(NamedTuple):
    """kind: "module", "function" or "typing"."""

    source: str
    target: str
    kind: str


@cache
def modules() -> Mapping[str, Path]:
    """Every module of the package by its name without `clpm_execd.`; a folder's `__init__.py` has the folder's name."""
    return {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def name_of(path: Path) -> str:
    *folders, stem = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(folders if stem == "__init__" else [*folders, stem])


@cache
def imports() -> frozenset[Import]:
    """Every import of one module of the package by another."""
    return frozenset(one for name, path in modules().items()
                     for one in imports_in(ast.parse(path.read_text()), name, path, "module")
                     if one.target != name)


def imports_in(node: ast.AST, name: str, path: Path, kind: str) -> Iterator[Import]:
    """The imports below a node of the source of a module; kind: of the node itself."""
    for child in ast.iter_child_nodes(node):
        inner = kind
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            inner = "typing"
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and kind == "module":
            inner = "function"
        if isinstance(child, ast.Import):
            yield from (Import(name, target, kind) for target in modules_among(alias.name for alias in child.names))
        elif isinstance(child, ast.ImportFrom):
            base = absolute(child, name, path)
            yield from (Import(name, target, kind)
                        for alias in child.names for target in modules_among([f"{base}.{alias.name}", base])[:1])
        yield from imports_in(child, name, path, inner)


def absolute(node: ast.ImportFrom, name: str, path: Path) -> str:
    """The module that `from .x import y` names, with the package's name."""
    if not node.level:
        return node.module or ""
    package = f"clpm_execd.{name}".rstrip(".").split(".")
    package = package[:len(package) - node.level + (path.name == "__init__.py")]
    return ".".join([*package, *filter(None, [node.module])])


def modules_among(names: Iterable[str]) -> list[str]:
    """The names that are modules of the package, without the package's name."""
    inside = [name.removeprefix("clpm_execd").removeprefix(".") for name in names
              if name.split(".")[0] == "clpm_execd"]
    return [name for name in inside if name in modules()]


def room_of(module: str) -> str:
    """The top-level folder, such as `plant/`, or the top-level file."""
    first = module.split(".")[0] or "__init__"
    return f"{first}/" if (PACKAGE / first).is_dir() else f"{first}.py"


@cache
def rooms() -> Mapping[str, frozenset[str]]:
    """The table of rooms: what each may import by its row."""
    table = ARCHITECTURE.partition("| room |")[2].partition("\n\n")[0]
    rows: dict[str, frozenset[str]] = {}
    for line in table.splitlines()[2:]:
        names, _, allowed = (re.findall(r"`([\w./]+)`|(all rooms above)", cell) for cell in line.split("|")[1:4])
        above = frozenset(rows) if ("", "all rooms above") in allowed else frozenset()
        rows |= {name: above | {other for other, _ in allowed if other} for name, _ in names}
    return rows


def ground_floor() -> list[str]:
    """The files above the plant, which every room except the plant may import."""
    order = list(rooms())
    return order[:order.index("plant/")]


def test_the_table_of_rooms_names_every_folder_and_file_that_exists() -> None:
    assert set(rooms()) == {room_of(name) for name in modules()}


def test_the_table_of_rooms_has_no_arrow_up() -> None:
    order = list(rooms())
    for name, allowed in rooms().items():
        assert all(order.index(other) < order.index(name) for other in allowed), name


def test_a_room_imports_only_what_its_row_allows() -> None:
    floor = ground_floor()
    for one in imports():
        source, target = room_of(one.source), room_of(one.target)
        allowed = {source, *rooms()[source], *(floor if source not in (*floor, "plant/") else ())}
        assert target in allowed, f"{one.source} imports {one.target} ({one.kind})"


def test_a_row_allows_nothing_that_is_not_imported() -> None:
    used = {(room_of(one.source), room_of(one.target)) for one in imports()}
    listed = {(name, other) for name, allowed in rooms().items() for other in allowed if name != "cli/"}
    assert listed <= used


def test_no_files_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for one in imports():
        if one.kind != "typing":
            graph[one.source].add(one.target)
    while leaves := [name for name, targets in graph.items() if not targets]:
        for name in leaves:
            del graph[name]
        for targets in graph.values():
            targets.difference_update(leaves)
    assert not graph, "these files are in a circle, or import one: " + ", ".join(sorted(graph))


def test_no_folder_has_more_modules_than_one_can_overlook() -> None:
    sizes = Counter(path.parent.relative_to(ROOT).as_posix() for path in modules().values()
                    if path.name != "__init__.py")
    assert {folder: size for folder, size in sizes.items() if size > MOST_MODULES} == {}


def test_no_two_files_have_one_name_except_counterparts() -> None:
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name, path in modules().items():
        if path.name != "__init__.py":
            by_stem[path.stem].append(name.rpartition(".")[0])
    for stem, folders in by_stem.items():
        for i, one in enumerate(folders):
            for other in folders[i + 1:]:
                assert are_mirrors(one, other), f"{one}.{stem} and {other}.{stem}"


def are_mirrors(one: str, other: str) -> bool:
    return any({one, other} <= set(folders) or ("" in folders and (one in folders) != (other in folders))
               for folders in MIRRORS)


@pytest.mark.parametrize("page", PAGES)
def test_every_function_and_class_that_a_page_names_exists(page: str) -> None:
    names = re.findall(r"`([\w/]+\.py): ([\w.]+)`", PAGES[page].read_text())
    assert names
    for path, name in names:
        assert name in definitions(ROOT / "clpm_execd" / path), f"{path}: {name}"


def definitions(path: Path) -> set[str]:
    """Names of the functions, classes, methods and constants of a file."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
            members = node.body if isinstance(node, ast.ClassDef) else []
            names |= {f"{node.name}.{inner.name}" for inner in members if isinstance(inner, ast.FunctionDef)}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names
