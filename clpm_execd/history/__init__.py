"""Historical records: read as plants export them, streamed again as if live."""

from clpm_execd.history.columns import Columns, parse_columns
from clpm_execd.history.reader import Record, read_record
from clpm_execd.history.replay import Replay
from clpm_execd.history.times import parse_zone

__all__ = ["Columns", "Record", "Replay", "parse_columns", "parse_zone", "read_record"]
