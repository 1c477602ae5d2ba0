"""The HTTP client of InfluxDB, its queries and the check of a server.

It imports no other room.
"""
