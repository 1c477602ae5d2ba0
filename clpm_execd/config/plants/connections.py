"""What loops of a unit have in common: utilities, steam headers on whose pressure users draw, and heat exchangers."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from clpm_execd.config.plants.loop_parameters import PlantLoop, draw_log_uniform, round_digits

# These numbers are part of what a seed draws: changed, the same seed would give another plant.

UNIT_SIZE = 50  # loops of a process unit
# The fractions of temperatures and compositions that a utility heats or cools, and that a hot stream of another unit
# heats; and the load that its pressure makes, % of valve travel. Estimates.
_UTILITY_FRACTION, _INTEGRATED_FRACTION, _UTILITY_PERCENT = 0.6, 0.2, (0.3, 1.2)
_UTILITIES = ("steam", "steam", "cooling water")
# A steam header, whose pressure a loop of its own controls: how many users a unit has on it, how much a user's valve
# draws on it, % of the travel of the header's valve for 1 %, and what the pressure does to a user, % of travel for 1 %
# of span: half a per cent of flow for one of pressure drop. Estimates. In a ring of draw and pressure the users' valves
# answer each other, the wrong way round: each opens as the pressure falls. Below a gain of 1 on the whole way, at
# any frequency, that dies away (small-gain theorem); controllers add up to 1.4.
_HEADER_USERS, _HEADER_DRAW, _HEADER_EFFECT, _HEADER_LAG_S = (3, 5), (0.25, 0.6), (0.25, 0.6), (1.0, 5.0)
_LARGEST_HEADER_GAIN = 0.7
# A heat exchanger joins two temperatures: how far one follows the other in the end, %/%, and each of the two time
# constants on the way, relative to the quicker one's own. Estimates.
_EXCHANGED_FRACTION, _EXCHANGER_LAG_FRACTION = (0.15, 0.4), (0.1, 0.3)


def add_utilities(loops: Sequence[PlantLoop], rng: Random) -> None:
    """Let temperatures and compositions feel the pressure of a utility, or the hot stream of the unit before."""
    slave_of = {id(loop.master): loop for loop in loops if loop.master is not None}
    areas = list(dict.fromkeys(str(loop.table["area"]) for loop in loops))
    for loop in loops:
        if loop.type not in ("temperature", "composition"):
            continue
        area, draw = str(loop.table["area"]), rng.random()
        utility = rng.choice(_UTILITIES)
        if draw >= _UTILITY_FRACTION:
            utility = f"hot stream of {areas[areas.index(area) - 1]}"
        if draw < _UTILITY_FRACTION + _INTEGRATED_FRACTION:
            with_valve = slave_of.get(id(loop), loop)
            with_valve.table["throughput"] = {"utility": utility,
                                              "utility_sigma": draw_log_uniform(_UTILITY_PERCENT, rng)}


def couple_units(loops: Sequence[PlantLoop], rng: Random) -> None:
    """Give each unit a steam header and a heat exchanger, of loops that have no faults yet."""
    slave_of = {id(loop.master): loop for loop in loops if loop.master is not None}
    for first in range(0, len(loops), UNIT_SIZE):
        unit = [loop for loop in loops[first:first + UNIT_SIZE] if not loop.faults]
        headers = [loop for loop in unit if loop.type == "pressure" and loop.master is None]
        heated = [loop for loop in unit if loop.type == "temperature" and not slave_of.get(id(loop), loop).faults]
        rng.shuffle(heated)
        exchanger = heated[:2]
        flows = [loop for loop in unit if loop.type == "flow" and loop.master is None]
        users = [*(slave_of.get(id(loop), loop) for loop in heated[2:]), *flows][:rng.randint(*_HEADER_USERS)]
        if headers and len(users) >= _HEADER_USERS[0]:
            _add_header(rng.choice(headers), users, rng)
        if len(exchanger) == 2:
            _add_exchanger(exchanger, rng)


def _add_header(header: PlantLoop, users: Sequence[PlantLoop], rng: Random) -> None:
    """Let users draw on the pressure of a header by their valves, and feel it."""
    draws, effects = ([rng.uniform(*limits) for _ in users] for limits in (_HEADER_DRAW, _HEADER_EFFECT))
    gain = header.table["process"]["gain"]
    ring_gain = abs(gain) * sum(draw * effect for draw, effect in zip(draws, effects, strict=True))
    scale = min(1.0, _LARGEST_HEADER_GAIN / ring_gain)
    header.role = f"the pressure of a steam header, on which {', '.join(user.id for user in users)} draw"
    for user, draw, effect in zip(users, draws, effects, strict=True):
        # A valve that lets off pressure opens as less is drawn.
        header.couplings.append({"loop": user.id, "gain": round_digits(-draw * scale if gain > 0 else draw * scale),
                                 "lag": draw_log_uniform(_HEADER_LAG_S, rng)})
        user.couplings.append({"loop": header.id, "by": "pv", "gain": round_digits(effect),
                               "lag": draw_log_uniform(_HEADER_LAG_S, rng)})
        user.role = f"a user of the steam header of {header.id}"
        user.table.pop("throughput", None)  # whose pressure it feels in place of a utility elsewhere


def _add_exchanger(pair: Sequence[PlantLoop], rng: Random) -> None:
    """Let two temperatures follow each other."""
    fastest = min(loop.table["process"]["tau"][0] for loop in pair)
    for loop, other in zip(pair, reversed(pair), strict=True):
        loop.couplings.append({
            "loop": other.id, "by": "pv", "lag": round_digits(fastest * rng.uniform(*_EXCHANGER_LAG_FRACTION)),
            "gain": round_digits(rng.uniform(*_EXCHANGED_FRACTION) / loop.table["process"]["gain"])})
        loop.role = f"a heat exchanger joins it with {other.id}"
