"""The columns of a record as a user names them, by name or by number."""

from __future__ import annotations

from dataclasses import dataclass, fields

from clpm_execd.problems import BadInput, Problem, did_you_mean

COLUMNS_OPTION = "--columns"


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of a record's columns, by their role.

    Parameters
    ----------
    time, loop, pv, op, sp, mode, quality : str, optional
        The name of the column in the header, or its number from 1 on, such as `#3`; None detects it. In a long record
        (one value per row) pv, op and sp are names of signals instead. A date and a clock time in columns of their own
        are detected only.
    name, value : str, optional
        In a long record, the columns of the signal's name (`PV`, or with its tag `FIC101.PV`) and of its value.
    """

    time: str | None = None
    loop: str | None = None
    pv: str | None = None
    op: str | None = None
    sp: str | None = None
    mode: str | None = None
    quality: str | None = None
    name: str | None = None
    value: str | None = None


ROLES = tuple(field.name for field in fields(Columns))


def parse_columns(text: str) -> Columns:
    """Return the Columns that a text such as `pv=FT_211,op=FV_211` names.

    Parameters
    ----------
    text : str
        Pairs role=name, separated by commas. Roles are the fields of `Columns`, in either case. A name may have commas,
        and quotes around it.

    Raises
    ------
    BadInput
        A pair is malformed, a role is unknown or given twice; the error lists all of these.
    """
    names: dict[str, str] = {}
    problems = []
    for part in _split_pairs(text):
        role, equals, name = (piece.strip() for piece in part.partition("="))
        name = name[1:-1] if len(name) > 2 and name[0] == name[-1] == '"' else name
        if not equals or not name:
            remedy = f"write {COLUMNS_OPTION} pv=FT_211,op=FV_211"
            problems.append(Problem(COLUMNS_OPTION, f"{part!r} is not role=name", remedy))
        elif role.lower() not in ROLES:
            remedy = did_you_mean(role.lower(), ROLES)
            problems.append(Problem(COLUMNS_OPTION, f"unknown column role {role!r}", remedy))
        elif role.lower() in names:
            problems.append(Problem(COLUMNS_OPTION, f"{role} is given twice", "name one column for it"))
        else:
            names[role.lower()] = name
    if problems:
        raise BadInput(problems)
    return Columns(**names)


def _split_pairs(text: str) -> list[str]:
    """Return the pairs; a part without `=` belongs to the name before it, which has a comma, unless it is a role."""
    pairs: list[str] = []
    for part in text.split(","):
        if pairs and "=" not in part and part.strip().lower() not in ROLES:
            pairs[-1] += f",{part}"
        else:
            pairs.append(part)
    return [pair.strip(" ,") for pair in pairs if pair.strip(" ,")]
