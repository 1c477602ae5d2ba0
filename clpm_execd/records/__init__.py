"""Historical records: read as plants export them into a Record, and replayed as if live.

The room may import the plant and what lies on the ground floor (problems, units).
"""

from clpm_execd.records.cells.timestamps import parse_zone
from clpm_execd.records.header.columns import Columns, parse_columns
from clpm_execd.records.record import Record, read_record, read_records
from clpm_execd.records.replay import Replay

__all__ = ["Columns", "Record", "Replay", "parse_columns", "parse_zone", "read_record", "read_records"]
