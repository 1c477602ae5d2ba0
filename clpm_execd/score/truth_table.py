"""The ground truth as a CSV of episodes: short, and readable without this program.

A row is an interval in which the fault of a loop is visible, with the episode that it belongs to; an episode that is
never visible is one row without that interval. The cause is that of a loop which another loop's fault affects. A row
without a fault says when a loop was observed. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import replace

from clpm_execd.plant.block import AFFECTED
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.truth.episodes import Episode
from clpm_execd.score.time_intervals import TimeIntervals, union
from clpm_execd.units import format_time, parse_time

COLUMNS = ("loop", "fault", "start", "end", "visible_start", "visible_end", "control", "severity", "cause")


def format_truth_table(episodes: Iterable[Episode], observation: Mapping[str, TimeIntervals]) -> str:
    """Return the episodes, and the observation of each loop, as CSV.

    Parameters
    ----------
    episodes : iterable of Episode
    observation : mapping of str to tuple of (int, int)
        For each loop when it was observed, ns since 1970.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for loop, intervals in observation.items():
        writer.writerows([loop, "", format_time(start), format_time(end), *[""] * 5] for start, end in intervals)
    for episode in episodes:
        head = [episode.loop, episode.fault, format_time(episode.start), format_time(episode.end)]
        tail = [str(episode.control).lower(), f"{episode.severity:.10g}", episode.cause]
        visible = [[format_time(start), format_time(end)] for start, end in episode.visible] or [["", ""]]
        writer.writerows([*head, *interval, *tail] for interval in visible)
    return out.getvalue()


def parse_truth_table(rows: Iterable[Mapping[str, str]]) -> tuple[tuple[Episode, ...], dict[str, TimeIntervals]]:
    """Return the episodes and the observation in the rows of such a CSV, in any order.

    Parameters
    ----------
    rows : iterable of mapping of str to str
        The cells of each row by column; a table of an older version has no causes.

    Raises
    ------
    KeyError, ValueError
        A row is invalid.
    """
    episodes: dict[tuple[str, str, int], Episode] = {}
    observation: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        loop, fault = row["loop"], row["fault"]
        start, end = parse_time(row["start"], 0), parse_time(row["end"], 0)
        if not fault:
            observation.setdefault(loop, []).append((start, end))
            continue
        if fault not in FAULTS and fault != AFFECTED:
            raise ValueError(f"unknown fault {fault!r}")
        episode = episodes.setdefault((loop, fault, start), Episode(
            loop, fault, start, end, row["control"] == "true", (), float(row["severity"]),
            row.get("cause") or ""))
        if row["visible_start"]:
            interval = parse_time(row["visible_start"], 0), parse_time(row["visible_end"], 0)
            episodes[loop, fault, start] = replace(episode, visible=union([*episode.visible, interval]))
    return tuple(sorted(episodes.values())), {loop: union(each) for loop, each in observation.items()}
