"""The simulation: loops, processes, valves, controllers, sensors and chance. No clock, no I/O, no logging."""
