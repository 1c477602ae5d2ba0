"""Historical records: read as plants export them, streamed again as if live."""

from clpm_execd.records.column_roles import Columns, parse_columns
from clpm_execd.records.record import Record, read_record
from clpm_execd.records.replay import Replay
from clpm_execd.records.timestamps import parse_zone

__all__ = ["Columns", "Record", "Replay", "parse_columns", "parse_zone", "read_record"]
