"""The suites of the benchmark: what they hold, their files and hashes."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
from tiers import CAMPAIGNS

from clpm_execd.benchmark.dataset import Manifest, check_truth, check_truth_file, write_dataset
from clpm_execd.benchmark.suite import SUITES_FOLDER, list_suites, load_suite
from clpm_execd.benchmark.suite_recording import record
from clpm_execd.plant.faults import FAULTS
from clpm_execd.problems import BadInput
from clpm_execd.score import read_truth

SMALL = "datapath-1-small"
CHECKED_IN_CI = ("pairs-1-small", "refinery-1-small")  # and SMALL; all others are a campaign


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a small suite."""
    folder = tmp_path_factory.mktemp("data")
    write_dataset(load_suite(SMALL), folder)
    return folder


def manifest_of(folder: Path) -> Manifest:
    return Manifest(**json.loads((folder / "manifest.json").read_text()))


def test_every_suite_has_a_file_and_a_small_variant() -> None:
    assert {path.stem for path in SUITES_FOLDER.iterdir()} == set(list_suites())
    assert {name for name in list_suites() if f"{name}-small" in list_suites()} == \
        {"pairs-1", "refinery-1", "plantwide-1", "datapath-1", "drift-1", "quiet-1"}


@pytest.mark.parametrize("name", list_suites())
def test_a_suite_has_a_fixed_start_ground_truth_and_whole_samples(name: str) -> None:
    suite = load_suite(name)
    configuration = suite.read()
    assert configuration.start is not None
    assert configuration.output.truth is not None
    assert configuration.interval is not None
    assert suite.duration % configuration.interval == suite.duration % suite.window == 0
    if name.startswith("quiet"):
        assert all(FAULTS[fault.kind].is_control for loop in configuration.loops for fault in loop.faults)


def test_a_small_pair_is_a_part_of_the_large_suite() -> None:
    large = {loop.id: loop for loop in load_suite("pairs-1").read().loops}
    small = load_suite("pairs-1-small").read()
    assert all(large[loop.id] == loop for loop in small.loops)
    assert small.seed == load_suite("pairs-1").read().seed
    kinds = Counter(fault.kind for loop in small.loops for fault in loop.faults)
    assert kinds == {"stiction": 8, "aggressive": 8, "external-oscillation": 8}


def test_a_plant_wide_unit_has_one_root() -> None:
    loops = load_suite("plantwide-1").read().loops
    roots = Counter(loop.area for loop in loops for fault in loop.faults if fault.kind in ("stiction", "aggressive"))
    assert set(roots.values()) == {1}
    assert len(roots) == 50


def test_the_files_have_the_hashes_of_the_manifest(folder: Path) -> None:
    manifest = manifest_of(folder)
    assert set(manifest.files) == {"samples.csv", "loops.csv", "truth.csv"}
    for name, expected in manifest.files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
    assert manifest.samples_sha256 == manifest.files["samples.csv"]


def test_the_truth_in_the_folder_is_that_of_the_recording(folder: Path) -> None:
    assert read_truth(check_truth_file(folder, load_suite(SMALL))) == record(load_suite(SMALL)).truth


@pytest.mark.parametrize(("form", "layout"), [("csv", "long"), ("parquet", "wide"), ("parquet", "long")])
def test_every_format_has_the_same_name_and_samples(form: str, layout: str, folder: Path, tmp_path: Path) -> None:
    manifest = write_dataset(load_suite(SMALL), tmp_path, form=form, layout=layout)
    assert manifest.samples_sha256 == manifest_of(folder).samples_sha256
    with (folder / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    samples = len(rows)
    values = sum(cell != "" for row in rows for name, cell in row.items() if name in ("PV", "OP", "SP", "quality"))
    expected = samples if layout == "wide" else values
    if form == "parquet":
        assert pyarrow.parquet.read_metadata(tmp_path / "samples.parquet").num_rows == expected
    else:
        assert (tmp_path / "samples.csv").read_bytes().count(b"\n") == expected + 1


def test_a_difference_from_the_frozen_suite_is_reported(folder: Path) -> None:
    manifest, draft = manifest_of(folder), replace(load_suite(SMALL), sha256={})
    hashes = {"samples": manifest.samples_sha256, "truth": manifest.truth_sha256}
    assert hashes == load_suite(SMALL).sha256
    frozen, other = replace(draft, sha256=hashes), replace(draft, sha256={**hashes, "truth": "0"})
    truth = read_truth(check_truth_file(folder, draft))
    for suite in (draft, frozen):
        assert manifest.differences(suite) == []
        assert read_truth(check_truth_file(folder, suite)) == check_truth(suite, truth) == truth
    assert manifest.differences(replace(draft, sha256={**hashes, "samples": "0"})) == ["samples"]
    with pytest.raises(BadInput, match="another sha256 of truth than the frozen suite's"):
        check_truth_file(folder, other)
    with pytest.raises(BadInput, match="another sha256 of truth than the frozen suite's"):
        check_truth(other, truth)
    record(frozen)
    with pytest.raises(BadInput, match="another sha256 of samples than the frozen suite's"):
        record(replace(frozen, sha256={**hashes, "samples": "0"}))


@pytest.mark.slow
@pytest.mark.parametrize("name", list_suites() if CAMPAIGNS else CHECKED_IN_CI)
def test_a_frozen_suite_never_changes(name: str, tmp_path: Path) -> None:
    suite = load_suite(name)
    assert not suite.is_draft
    assert write_dataset(suite, tmp_path).differences(suite) == []


def test_a_changed_truth_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("manifest.json", "truth.csv"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(BadInput, match="holds datapath-1-small, not pairs-1"):
        check_truth_file(tmp_path, load_suite("pairs-1"))
    with (tmp_path / "truth.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(BadInput, match="has another sha256"):
        check_truth_file(tmp_path, load_suite(SMALL))
    with pytest.raises(BadInput, match="is not a data folder of the benchmark"):
        check_truth_file(tmp_path / "none", load_suite(SMALL))


def test_a_recording_has_what_a_historian_received() -> None:
    recording = record(load_suite(SMALL))
    loops = [row.loop_id for row in recording.sheet]
    faults = {episode.loop: episode.fault for episode in recording.truth.episodes}
    received = dict(zip(loops, recording.is_received.mean(axis=0), strict=True))
    good = dict(zip(loops, recording.is_good.mean(axis=0), strict=True))
    assert {faults.get(loop) for loop, fraction in received.items() if fraction < 0.99} == {"gaps", "compression"}
    assert {faults.get(loop) for loop, fraction in good.items() if fraction < 0.99} == {"bad-quality"}
