"""The share of a plant that one of several processes simulates; all the shares together are the plant.

Loops that act on each other, by a cascade or by a fault that couples them, are a group and stay together. A group falls
to a shard by its least id alone, whatever the order of the loops and whichever others there are, and where shards are
added only what falls to the new ones moves: jump consistent hash (Lamping and Veach, 2014).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from clpm_execd.config.loop_groups import groups
from clpm_execd.problems import BadInput, Problem

if TYPE_CHECKING:
    from clpm_execd.plant.specs import LoopSpec

MOST = 100_000


@dataclass(frozen=True, slots=True)
class Shard:
    """The shard `index`, from 0, of `count`."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str, host: str) -> Shard:
    """`0/3` to `2/3`, or `auto/3`, which takes the index from a host's name such as `clpm-2`.

    Raises ValueError with what is wrong and, after a semicolon, what would be right.
    """
    found = re.fullmatch(r"(auto|\d{1,9})/(\d{1,9})", text.strip(), re.ASCII)
    if not found:
        raise ValueError(f"{text[:40]!r} is no shard; write it as 0/3, or auto/3 in a pod with a number")
    count = int(found[2])
    if not 1 <= count <= MOST:
        raise ValueError(f"{count} shards cannot be; give 1 to {MOST}")
    if found[1] == "auto":
        ordinal = re.search(r"-(\d{1,9})$", host, re.ASCII)
        if not ordinal:
            raise ValueError(f"the host {host!r} has no number at its end; name it as a StatefulSet does, or write 0/3")
        if int(ordinal[1]) >= count:
            raise ValueError(f"the host {host!r} is beyond {count} shards; give as many shards as replicas")
        return Shard(int(ordinal[1]), count)
    if int(found[1]) >= count:
        raise ValueError(f"{text.strip()} is beyond the last; shards count from 0: 0/{count} to {count - 1}/{count}")
    return Shard(int(found[1]), count)


def share(loops: Sequence[LoopSpec], shard: Shard) -> Sequence[LoopSpec]:
    """The loops of a shard, in their order; BadInput where it has none."""
    import numpy as np  # which the settings do without

    from clpm_execd.plant.loop_set import Loops

    of_group: dict[str, int] = {}
    mine: list[int] = []
    for i, group in enumerate(groups(loops)):
        if group not in of_group:
            of_group[group] = fallen(group, shard.count)
        if of_group[group] == shard.index:
            mine.append(i)
    if not mine:
        what = f"none of the {len(loops)} loops falls to {shard}"
        raise BadInput([Problem("--shard", what, "make fewer shards than there are loops that do not hang together")])
    return Loops.of(loops).pick(np.array(mine, dtype=np.intp))


def fallen(group: str, shards: int) -> int:
    """The shard of a group."""
    key = int.from_bytes(blake2b(group.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
    shard, further = 0, 0
    while further < shards:
        shard = further
        key = (key * 2862933555777941757 + 1) % 2**64
        further = int((shard + 1) * (2**31 / ((key >> 33) + 1)))
    return shard
