"""The program with one sync or rename taken out: the tests of power loss have to notice each of these mutants.

`python tests/doc_tables.py` writes the table of them in the documentation.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from parts import ROOT


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is taken out, where, and the scenario that notices it."""

    what: str
    file: str
    text: str
    replacement: str
    scenario: str

    def make(self, folder: Path) -> Path:
        """Copy the package to a folder and take it out there; return the folder."""
        shutil.copytree(ROOT / "clpm_execd", folder / "clpm_execd", ignore=shutil.ignore_patterns("__pycache__"))
        path = folder / "clpm_execd" / self.file
        text = path.read_text()
        assert text.count(self.text) == 1, f"{self.file} has this {text.count(self.text)} times: {self.text}"
        path.write_text(text.replace(self.text, self.replacement))
        return folder


_FILE, _QUEUE, _OUTPUT = "state/durable_file.py", "delivery/queue_folder.py", "outputs/descriptor_writer.py"
_QUEUED = "write_atomically(self.path_of(time), make_header(batch), batch.body"
_CHECKPOINT = "write_atomically(path, serialize(checkpoint)"
_INCIDENT = "write_atomically(path, contents, *rows"
_DIRECT = "outage and kill"

MUTANTS = (
    Mutant("fdatasync before each rename", _FILE, "            if sync:\n                _sync_data(fd)\n", "",
           _DIRECT),
    Mutant("fsync of the folder after each rename", _FILE, "    if durable:\n        sync_folder(path.parent)\n", "",
           _DIRECT),
    Mutant("rename: a file is written under its own name", _FILE,
           "_temporary_file(path, path.with_name(path.name + TEMPORARY_SUFFIX), mode",
           "_temporary_file(path, path, mode", _DIRECT),
    Mutant("order of the two: rename, then fdatasync", _FILE,
           "            if sync:\n                _sync_data(fd)\n        finally:\n            os.close(fd)\n"
           "        if is_complete():\n            os.replace(temporary, path)\n",
           "        finally:\n            pass\n        if is_complete():\n            os.replace(temporary, path)\n"
           "            _sync_data(fd) if sync else None\n            os.close(fd)\n", _DIRECT),
    Mutant("fsync of the folder of a new folder", _FILE,
           "mkdir(mode=0o700)\n    sync_folder(path.parent)\n", "mkdir(mode=0o700)\n", _DIRECT),
    Mutant("both syncs of a queue file", _QUEUE, _QUEUED, f"{_QUEUED}, durable=False", _DIRECT),
    Mutant("both syncs of a checkpoint", "state/checkpoint.py", _CHECKPOINT, f"{_CHECKPOINT}, durable=False", _DIRECT),
    Mutant("both syncs of rejected lines", "delivery/quarantine.py", _INCIDENT, f"{_INCIDENT}, durable=False", _DIRECT),
    Mutant("fsync of the state folder's parents at the start", "state/folder_lock.py",
           "            sync_path(self.folder)\n", "", "kill before the state folder is durable"),
    Mutant("fdatasync of a queue file that is finished after a kill", _QUEUE, "        sync_file(path)\n", "",
           "kill before a queue file is durable"),
    Mutant("fsync of the queue's folder at the start", _QUEUE,
           "_finish(path)\n            sync_folder(self.path)\n", "_finish(path)\n",
           "kill before a queue file's name is durable"),
    Mutant("fsync of the file that stdout is", _OUTPUT, "os.fsync(self._fd)\n", "pass\n",
           "output to a file"),
    Mutant("fsync of that file's folder", _OUTPUT,
           "                sync_folder(Path(os.readlink(_FILE_OF_DESCRIPTOR.format(self._fd))).parent)\n",
           "                pass\n", "output to a file"),
    Mutant("fsync of the journal", "control/journal.py", "                os.fsync(fd)\n", "", "live control"),
    Mutant("fsync of the new journal's folder", "control/journal.py",
           "            if not end:\n                sync_folder(self.path.parent)\n", "", "live control"),
    Mutant("fdatasync before the rename of a user's file", _FILE, "mode=DEFAULT_MODE, sync=True", "mode=DEFAULT_MODE, "
           "sync=False", "generate to a file"),
    Mutant("rename of a user's file", _FILE, 'temporary = target.with_name(f".{target.name}.{os.getpid()}.part")',
           "temporary = target", "generate to a file"),
)
