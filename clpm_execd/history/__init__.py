"""Historical records: read as plants export them, streamed again as if live."""
