"""The part of a plant that one of several processes simulates; together the shards are the plant, bit for bit.

A group of loops that act on each other stays together. Its shard depends only on the least id in the group, not on the
order of the loops or on other loops, and when shards are added, only the groups of the new shards move: jump consistent
hash (Lamping and Veach, 2014).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from clpm_execd.config.loop_groups import find_groups
from clpm_execd.problems import BadInput, Problem

if TYPE_CHECKING:
    from clpm_execd.plant.specs import LoopSpec

MAX_SHARDS = 100_000  # one for each loop of the largest plant (config.loop.MAX_LOOPS)


@dataclass(frozen=True, slots=True)
class Shard:
    """The shard `index`, counted from 0, of `count`."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str, host: str) -> Shard:
    """Return the shard that a text such as `0/3` names; `auto/3` takes the index from a host name such as `clpm-2`.

    Raises ValueError with what is wrong and, after a semicolon, what would be right.
    """
    match = re.fullmatch(r"(auto|\d{1,9})/(\d{1,9})", text.strip(), re.ASCII)
    if not match:
        raise ValueError(f"invalid shard {text[:40]!r}; write it as 0/3, or as auto/3 where the host name ends in a "
                         "number")
    count = int(match[2])
    if not 1 <= count <= MAX_SHARDS:
        raise ValueError(f"there cannot be {count} shards; give 1 to {MAX_SHARDS}")
    if match[1] == "auto":
        ordinal = re.search(r"-(\d{1,9})$", host, re.ASCII)
        if not ordinal:
            raise ValueError(f"the host name {host!r} does not end in a number; run it as a StatefulSet, or write 0/3")
        if int(ordinal[1]) >= count:
            raise ValueError(f"the host {host!r} has no shard of {count}; give as many shards as replicas")
        return Shard(int(ordinal[1]), count)
    if int(match[1]) >= count:
        raise ValueError(f"there is no shard {text.strip()}; counted from 0, give 0/{count} to {count - 1}/{count}")
    return Shard(int(match[1]), count)


def select_shard(loops: Sequence[LoopSpec], shard: Shard) -> Sequence[LoopSpec]:
    """Return the loops of a shard, in their order.

    Parameters
    ----------
    loops : sequence of LoopSpec
        All loops of the plant.
    shard : Shard
        The shard of this process.

    Raises
    ------
    BadInput
        The shard has no loop.
    """
    import numpy as np  # not needed where there are no shards

    from clpm_execd.plant.loop_set import LoopSet

    shards: dict[str, int] = {}
    positions: list[int] = []
    for i, group in enumerate(find_groups(loops)):
        if group not in shards:
            shards[group] = assign_shard(group, shard.count)
        if shards[group] == shard.index:
            positions.append(i)
    if not positions:
        what = f"shard {shard} has none of the {len(loops)} loops"
        raise BadInput([Problem("--shard", what, "give fewer shards than there are groups of loops that act on each "
                                                 "other")])
    return LoopSet.of(loops).select(np.array(positions, dtype=np.intp))


def assign_shard(group: str, count: int) -> int:
    """Return the shard of a group, 0 to count - 1, by jump consistent hash; the constants are those of its paper."""
    key = int.from_bytes(blake2b(group.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
    shard, jump = 0, 0
    while jump < count:
        shard = jump
        key = (key * 2862933555777941757 + 1) % 2**64
        jump = int((shard + 1) * (2**31 / ((key >> 33) + 1)))
    return shard
