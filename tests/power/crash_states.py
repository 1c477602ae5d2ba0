"""What may be left on a disk where the power is cut: every state that POSIX allows, which is more than one disk shows.

Durable is what a sync has returned for: the contents of a file after fsync or fdatasync of it, the names in a folder
after fsync of that folder. Of all else any part may be there or not:

- a name that was made, renamed or removed since the last sync of its folder; a rename happens to both names or to
  none, and an operation is there only with earlier ones on the same name,
- the contents of a file since its last sync: nothing of them, all, the first half, or the new length with zeros.

File systems with a journal (ext4, XFS, btrfs) keep operations on names in order; then fewer of these states can occur.
What is assumed of the disk: what a sync returned for is there, a rename is never half there, and synced bytes do not
change.
"""

from __future__ import annotations

import itertools
import random
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from power.volatile_disk import ROOT, Inode, Operation, resize, write_at

MAX_NAME_STATES = 12  # of one cut: all if there are no more, else the extremes and some by chance
Tree = Mapping[str, bytes]  # the contents of files by path; a path of a folder ends with a slash


@dataclass(slots=True)
class _File:
    """The contents that are durable, and what was done to them since."""

    durable: bytearray
    unsynced: list[Operation] = field(default_factory=list)

    def states(self) -> list[bytes]:
        """Return the contents that may be left; the first is what is durable, the last what the program sees."""
        if not self.unsynced:
            return [bytes(self.durable)]
        current = bytearray(self.durable)
        for operation in self.unsynced:
            if operation.kind == "write":
                write_at(current, operation.offset, operation.data)
            else:
                resize(current, operation.offset)
        zeros = bytearray(self.durable[: len(current)])
        resize(zeros, len(current))
        half = current[: (len(self.durable) + len(current) + 1) // 2] if len(current) > len(self.durable) else current
        return list(dict.fromkeys(map(bytes, (self.durable, half, zeros, current))))


class DiskAfterCut:
    """The disk as it was at the start, with operations done to it one by one.

    Parameters
    ----------
    start : mapping of int to Inode
        The inodes of the disk at the start, all of it durable.
    """

    def __init__(self, start: Mapping[int, Inode]) -> None:
        self._files = {number: _File(bytearray(inode.data)) for number, inode in start.items()}
        self._folders = {number: dict(inode.entries) for number, inode in start.items() if inode.is_folder}
        self._unsynced: list[Operation] = []  # on names
        self._sockets: set[int] = set()

    def do(self, operation: Operation) -> None:
        """Do the next operation."""
        if operation.kind in ("enter", "rename", "remove"):
            if operation.kind == "enter" and stat.S_ISSOCK(operation.mode):
                self._sockets.add(operation.number)
            self._unsynced.append(operation)
            if operation.kind == "enter":
                self._files[operation.number] = _File(bytearray())
                if stat.S_ISDIR(operation.mode):
                    self._folders[operation.number] = {}
        elif operation.kind in ("write", "truncate"):
            self._files[operation.number].unsynced.append(operation)
        elif operation.kind == "sync":
            file = self._files[operation.number]
            file.durable, file.unsynced = bytearray(file.states()[-1]), []
        elif operation.kind == "sync folder":
            synced = self._with_earlier([operation.number in _folders_of(other) for other in self._unsynced])
            _apply(self._folders, itertools.compress(self._unsynced, synced))
            self._unsynced = [other for other, is_synced in zip(self._unsynced, synced, strict=True) if not is_synced]

    def states(self, rng: random.Random, fraction: float = 1.0) -> Iterator[Tree]:
        """Yield what may be left if the power is cut now; less than all of it if the fraction is less than 1."""
        for choice in self._name_states(rng):
            if rng.random() >= fraction:
                continue
            folders = {number: dict(entries) for number, entries in self._folders.items()}
            _apply(folders, itertools.compress(self._unsynced, choice))
            paths = {path: number for path, number in _paths(folders, ROOT, "") if number not in self._sockets}
            contents = [[b""] if number in folders else self._files[number].states() for number in paths.values()]
            dirty = [place for place, states in enumerate(contents) if len(states) > 1]
            ends = [tuple(states[k] for states in contents) for k in (0, -1)]
            single = [tuple(state if place == other else states[-1] for other, states in enumerate(contents))
                      for place in dirty for state in contents[place]]
            for choice_of_contents in dict.fromkeys([*ends, *single]):
                yield dict(zip(paths, choice_of_contents, strict=True))

    def _name_states(self, rng: random.Random) -> list[tuple[bool, ...]]:
        """Return which operations on names may have reached the disk: each as one choice of all that are unsynced."""
        count = len(self._unsynced)
        if 2**count <= MAX_NAME_STATES:
            choices = list(itertools.product((False, True), repeat=count))
        else:
            choices = [(False,) * count, (True,) * count]
            choices += [tuple(k < end for k in range(count)) for end in rng.sample(range(1, count), 2)]
            choices += [tuple(k == one for k in range(count)) for one in rng.sample(range(count), 2)]
            while len(choices) < MAX_NAME_STATES:
                choices.append(tuple(rng.random() < 0.5 for _ in range(count)))
        return list(dict.fromkeys(tuple(self._with_earlier(choice)) for choice in choices))

    def _with_earlier(self, choice: Sequence[bool]) -> list[bool]:
        """Return the choice with all earlier operations on the names of those that are chosen."""
        needed: set[tuple[int, str]] = set()
        closed = list(choice)
        for place in reversed(range(len(closed))):
            names = _names_of(self._unsynced[place])
            if closed[place] or needed & names:
                closed[place] = True
                needed |= names
        return closed


def _folders_of(operation: Operation) -> set[int]:
    return {folder for folder, _ in _names_of(operation)}


def _names_of(operation: Operation) -> set[tuple[int, str]]:
    names = {(operation.folder, operation.name)}
    return names | {(operation.new_folder, operation.new_name)} if operation.kind == "rename" else names


def _apply(folders: dict[int, dict[str, int]], operations: Iterator[Operation]) -> None:
    for operation in operations:
        if operation.kind == "enter":
            folders[operation.folder][operation.name] = operation.number
        else:
            folders[operation.folder].pop(operation.name, None)
            if operation.kind == "rename":
                folders[operation.new_folder][operation.new_name] = operation.number


def _paths(folders: Mapping[int, Mapping[str, int]], folder: int, prefix: str) -> Iterator[tuple[str, int]]:
    for name, number in folders[folder].items():
        if number in folders:
            yield f"{prefix}{name}/", number
            yield from _paths(folders, number, f"{prefix}{name}/")
        else:
            yield prefix + name, number
