"""Delivery of batches to InfluxDB: queues in memory and on disk, the sender, the quarantine and the health check.

It may import influx and state.
"""
