"""The colours of signals, modes and groups of faults: the same in every picture, in light and dark.

Lines have the colours of Okabe and Ito (Color Universal Design, 2008), fills those of the scheme "light" of Paul Tol
(Colour Schemes, SRON/EPS/TN/09-002, 2021), which is made for fields with dark text. Colour-blind people can distinguish
both, and nothing depends on colour alone: lines also differ in their dashes, and fills have names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from clpm_execd.plant.block import AFFECTED
from clpm_execd.plant.faults import FAULTS

FILL_TEXT = "#1a1a1a"  # text on a fill, in either theme

MODE_COLOURS = {"AUT": "#44bb99", "CAS": "#bbcc33", "MAN": "#8f959e"}
GROUP_COLOURS = {
    "valve": "#ee8866", "tuning": "#eedd88", "process": "#77aadd", "sensor": "#ffaabb", "data path": "#99ddff",
    "operation": "#aaaa00", "negative control": "#dddddd", "out of service": "#cccc99", AFFECTED: "#bbaadd",
}


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours on one background, as CSS writes them; no two of a theme are the same."""

    page: str
    surface: str
    text: str
    muted: str
    grid: str
    pv: str
    sp: str
    op: str
    other: str
    good: str
    bad: str


LIGHT = Theme(page="#ffffff", surface="#f6f7f9", text="#1f2328", muted="#59636e", grid="#e1e4e8",
              pv="#0072b2", sp="#3d3d3d", op="#d55e00", other="#cc79a7", good="#007a59", bad="#b8480a")
DARK = Theme(page="#14171c", surface="#1c2027", text="#e6e8eb", muted="#9aa4af", grid="#2f353d",
             pv="#56b4e9", sp="#d9d9d9", op="#e69f00", other="#d99bbd", good="#2cc295", bad="#f0884a")
THEMES = {"light": LIGHT, "dark": DARK}


def map_light_to_dark() -> Mapping[str, str]:
    """Return the dark colour for each colour of the light theme."""
    return {getattr(LIGHT, field.name): getattr(DARK, field.name) for field in fields(Theme)}


def choose_fault_colour(kind: str) -> str:
    """Return the fill of a kind of fault, which is its group's; raise KeyError for an unknown kind."""
    return GROUP_COLOURS[find_group_of_fault(kind)]


def find_group_of_fault(kind: str) -> str:
    """Return the group of a kind of fault; of an affected loop, AFFECTED. Raise KeyError for an unknown kind."""
    return AFFECTED if kind == AFFECTED else FAULTS[kind].group


def add_alpha(colour: str, alpha: float) -> str:
    """Return a colour `#rrggbb` with an opacity of 0 to 1."""
    red, green, blue = (int(colour[i:i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"
