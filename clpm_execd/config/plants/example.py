"""A commented loops.toml of three loops, with the keys that are used most."""

from __future__ import annotations

STARTER = """\
# The loops that clpm-execd simulates: one [[loop]] table each, of which only the id is required.
# A line that begins with # shows what can be given; values are the defaults, or an example.
# To validate this file: clpm-execd check --config FILE
# Types of loops and kinds of faults: clpm-execd loop-types, clpm-execd faults

seed = 42                    # random seed: the same seed gives the same values
interval = "1s"              # between samples
# scan = "1s"                # between controller executions
# start = "now"              # or a time such as 2025-01-10T10:05:00Z: then the data do not depend on when it is run

[output]
measurement = "control_loops"
fields = { PV = "pv", OP = "op", SP = "sp" }   # also: valve_position quality true_pv seq
mode_tag = "Mode"
# tags = { site = "unit-208" }                 # the same on every point
truth = false                # true: also write the ground truth about faults, as measurement control_loops_truth

# A flow loop: FIC101 is the slave of the temperature controller TIC100.
[[loop]]
id = "FIC101"
type = "flow"                # flow pressure level temperature composition
description = "Steam to the reboiler"
# area = "Unit 2"
range = [0.0, 120.0]         # of the transmitter, engineering units
unit = "t/h"                 # the engineering unit
# tags = { zone = "north" }  # on the points of this loop
sp = 75.0
op = 55.0                    # %; OP at steady state with that sp
cascade = "TIC100"           # the master: in mode CAS, SP follows its OP

[loop.process]               # % of span and seconds
model = "fopdt"              # fopdt sopdt integrator
gain = 1.1                   # %PV/%OP
tau = 3.0                    # time constant, s
dead_time = 1.0              # s

[loop.controller]
# gain = 0.5                 # %OP/%PV; without gain and reset, the tuning rule sets them
# reset = 8.0                # s
tuning = "lambda"            # tight lambda sluggish aggressive

[loop.valve]
characteristic = "linear"    # linear equal-percentage quick-opening
lag = 0.0                    # of the actuator, s

[loop.sensor]
noise = 0.05                 # standard deviation, % of span

[loop.disturbance]           # the load
sigma = 0.5                  # standard deviation, % of valve travel
correlation = 20.0           # correlation time, s

[loop.recording]             # by the historian
resolution = { pv = 0.01, op = 0.1 }           # of recorded values: engineering units, %
exception = 0.0              # exception deviation, % of span: a value that moved less is not recorded

[[loop]]
id = "TIC100"
type = "temperature"
range = [0.0, 200.0]
sp = 120.0

[[loop.move]]                # by the operator
at = "10m"                   # from the start, or a time
sp = 125.0                   # or op = .., mode = "MAN"
ramp = "5m"

# A level loop whose valve begins to stick after half an hour.
[[loop]]
id = "LIC200"
type = "level"

[[loop.fault]]
kind = "stiction"
S = 4.0                      # deadband + stickband, % of travel
J = 2.0                      # slip jump, % of travel
start = "30m"                # default: from the beginning
duration = "2h"              # default: until the end
repeat = "8h"                # from one start to the next; default: once
ramp = "10m"                 # until it is at full severity; default: at once
"""
