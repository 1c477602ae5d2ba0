"""The names that are data: everything in a user's files that is called after a part of this program.

A checkpoint, a file of learned loops or a state folder that an earlier version wrote is read by these names, whatever
the attributes and classes are called today. So what files say never changes; where an attribute or a class is renamed,
only its side of the mapping does. `tests/golden` holds files of 0.1.0, which fail where a name here changes.

The keys of loops.toml are data too: they are the names of the fields of `ControllerSpec` and its kind.
"""

# A plant in a checkpoint: its tables are named "<part>: <array>". These are its parts,
STATE_PART, OPERATOR_PART, PROCESS_PART, DEAD_TIME_PART = "state", "operator", "process", "dead time"
RECORDED_PV_PART, RECORDED_OP_PART = "recorded pv", "recorded op"
CONTROLLER_PART, LEARNED_PART = "controller", "learned"
OPERATION_FAULTS_PART, LOAD_FAULTS_PART, SENSOR_FAULTS_PART = "operation faults", "load faults", "sensor faults"
VALVE_FAULTS_PART, STICTION_PART, DATA_PATH_PART = "valve faults", "stiction", "data path"
COUPLINGS_PART, PROCESS_COUPLINGS_PART = "couplings", "process couplings"
EFFECT_PART, ANALYSERS_PART = "effect", "analysers"
# The state of the twin stands in tables of its own; see `Twin.tables`.
TWIN_TABLE, TWIN_PLACES, TWIN_COPIES = "twin: {}", "twin places: {}", "twin copies"
TWIN_PREFIXES = ("twin: ", "twin places: ", TWIN_COPIES)

# the arrays of each part, each with the attribute that holds it today,
STATE = {"sp": "sp", "op": "op", "pv": "pv", "position": "position", "load": "load", "mode": "mode"}
OPERATOR_PLANNED_QUARTER = "_planned"
OPERATOR = {OPERATOR_PLANNED_QUARTER: "_planned_quarter"}
PROCESS = {"_x1": "_x1", "_x2": "_x2", "_new": "_new_flow"}
RECORDER = {"_last": "_last"}
ANALYSERS = {"value": "_value"}
CONTROLLER = {"_integral": "_integral", "_derivative": "_derivative", "_last_pv": "_last_pv", "_held": "_was_manual"}
LEARNED_LOOPS = {
    "_instant": "_instant", "_row": "_row", "_left": "_remaining", "_true": "_true_pv", "_pv": "_pv", "_op": "_op",
    "_sp": "_sp", "_flow": "_flow", "_output": "_output", "_kept": "_historian_values", "_load": "_load",
    "_noise": "_noise", "_drift": "_drift", "_slope": "_drift_slope"}
LOAD_FAULTS = {"_own": "_healthy_load"}
COUPLINGS_PASSED, COUPLINGS_TRUE_PV = "passed", "true pv"
PROCESS_COUPLINGS = {"own": "_own_load"}
EFFECT_METER = {
    "samples": "_samples", "different modes": "_different_modes", "distance": "_distance", "deviation": "_deviation",
    "squares": "_squares", "manual": "_manual", "difference": "_difference", "level": "_level",
    "level bins": "_level_bins", "bin": "_bin", "bins": "_bins", "mean": "_mean", "variance": "_variance",
    "effects": "_effects", "mode effect": "_mode_effect", "products": "_products",
    "mean difference": "_mean_difference", "square difference": "_square_difference", "effect": "effect",
    "is visible": "is_visible"}
SENSOR_FAULTS = {"_last": "_last_reading"}
VALVE_FAULTS = {"_actuator": "_actuator", "_stuck_at": "_last_stem"}
STICTION = {"_wanted": "_last_actuator", "_stem": "_stem", "_direction": "_direction", "_slides": "_is_sliding"}

# and what a part makes of something else than one array.
OPERATOR_PLAN, OPERATOR_RAMPS = "plan", "ramps"
DEAD_TIME_RING, DEAD_TIME_PLACE = "ring", "at"
OPERATION_CHOSEN, OPERATION_SHIFT, OPERATION_ACTING = "chosen", "shift", "acting"
LATE_HELD = "held"
COMPRESSION_WAITING, COMPRESSION_DOORS = "waiting", "doors"
DATA_PATH_FAULT = "fault {} "  # stands before the names of the last three: which of its loop's faults it is of

# The encoder in a checkpoint: the last row of the ground truth of each fault.
TRUTH_LOOPS, TRUTH_KINDS, TRUTH_STATES, TRUTH_MINUTE = "loop", "kind", "state", "minute"
LOOP_SHEET_CHECKSUM = "loop sheet checksum"  # and of the loop sheet that was written last

# A state folder: its files and folders,
CHECKPOINT_FILE, LOCK_FILE, ACKNOWLEDGEMENT_FILE = "checkpoint", "lock", "acknowledged"
JOURNAL_FILE, SOCKET_FILE = "journal", "control"
QUEUE_FOLDER, QUARANTINE_FOLDER, CORRUPT_FOLDER = "spool", "quarantine", "corrupt"
TEMPORARY_SUFFIX = ".tmp"  # of a file that is being written; the queue recovers complete ones
RETRY_SUFFIX = ".retry"  # of an incident of the quarantine whose lines are being queued again

# how the first line of a file begins, before its version,
CHECKPOINT_TITLE, QUEUE_FILE_TITLE = "clpm-execd checkpoint", "# clpm-execd spool"
JOURNAL_TITLE = "# clpm-execd journal"

# the keys of the checkpoint's JSON, with the attributes of Checkpoint and of Snapshot that they hold,
CHECKPOINT_FIELDS = {"kind": "source_kind", "start": "start", "since": "first_emit", "taken": "taken_at"}
CHECKPOINT_SNAPSHOT = {"loops": "loops", "next_time": "next_time", "next_tick": "next_tick"}
CHECKPOINT_TABLES, CHECKPOINT_ENCODER = "tables", "told"  # which arrays follow: the source's, and the encoder's

# and those of the last acknowledgement, with the attributes of Acknowledgement.
ACKNOWLEDGEMENT = {"when": "time", "interval": "interval"}

# A checkpoint goes on only with loops that are specified as they were: their specifications, written as text with these
# names of classes and with the names of fields, are hashed. By class: its name in that text.
SPECIFICATIONS = {
    "LoopSpec": "LoopSpec", "ProcessSpec": "ProcessSpec", "ControllerSpec": "ControllerSpec", "ValveSpec": "ValveSpec",
    "SensorSpec": "SensorSpec", "DisturbanceSpec": "DisturbanceSpec", "ThroughputSpec": "ThroughputSpec",
    "RecordingSpec": "RecordingSpec",
    "Resolution": "Resolution", "OperatorSpec": "OperatorSpec", "Move": "Move", "FaultSpec": "FaultSpec",
    "CouplingSpec": "CouplingSpec",
    "LearnedModel": "Laws", "StateMatchedModel": "StateMatchedModel"}

# By class and field, where the field has another name in that text, and in the file of learned loops.
RENAMED_FIELDS = {("LoopSpec", "learned_model"): "laws", ("LearnedModel", "is_repeat"): "held"}

# Purposes of random draws: with the seed and the loop's id these are the keys of the random streams.
NOISE_AND_LOAD = "noise and load"
OPERATOR_WHETHER, OPERATOR_WHEN, OPERATOR_WHERE, OPERATOR_STAY = "operator a", "operator b", "operator c", "operator d"
THROUGHPUT = ("throughput a", "throughput b", "throughput c", "throughput d")  # keyed by unit in place of a loop's id
UTILITY = ("utility a", "utility b")  # keyed by utility in place of a loop's id
THROUGHPUT_GAIN, THROUGHPUT_LAG = "throughput gain", "throughput lag"
LEARNED_LENGTH, LEARNED_PLACE = "learned length", "learned place"
LEARNED_DRIFTS = ("learned drift of PV", "learned drift of OP", "learned drift of SP")
OPERATION_FAULTS, DATA_PATH, WHITE_LOAD, SPIKES = "operation", "data path", "white load", "spikes"
FAULT_STARTS = "starts of faults"
DISTANT_CYCLES = ("distant cycle's phase", "distant cycle's amplitude")  # keyed by period in place of a loop's id
NTH_FAULT = "{}\0{}"  # in place of a loop's id: the id, and which of the loop's faults it is


def get_stored_field(class_name: str, field: str) -> str:
    """Return what the field of a specification or of a learned loop is called in files."""
    return RENAMED_FIELDS.get((class_name, field), field)
