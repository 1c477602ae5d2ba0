"""What joins a source, an encoder and a destination: the stream to stdout or InfluxDB, and batch generation.

It may import the plant, encoding, runtime, state, influx and delivery.
"""
