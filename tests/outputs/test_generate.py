"""Batch generation writes the stretch of a plant that a stream has, in every format, and nothing half of it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas
import pytest
from command import run_command

from clpm_execd.outputs import compressed_file
from clpm_execd.outputs.compressed_file import open_compressed
from clpm_execd.outputs.parquet_files import ParquetFiles
from clpm_execd.paths import load_zstd
from clpm_execd.plant.block import MODES, SECOND
from clpm_execd.plant.defaults import default_loops
from clpm_execd.plant.plant import Plant
from clpm_execd.runtime.os_signals import Signals

START = "2025-01-10T10:00:00Z"
PLANT = """
seed = 5
[output]
truth = true
[[loop]]
id = "FIC1"
fault = [{ kind = "stiction", S = 6.0, J = 3.0, start = "1m" }]
[[loop]]
id = "FIC2"
fault = [{ kind = "gaps" }]
[[loop]]
id = "TIC3"
type = "temperature"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "loops.toml").write_text(PLANT)
    return tmp_path


def generate(folder: Path, *options: str, start: str = START) -> str:
    result = run_command("generate", "--config", "loops.toml", "--start", start, *options, folder=folder)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def refusal(folder: Path, *options: str) -> str:
    before = sorted(folder.iterdir())
    result = run_command("generate", "--config", "loops.toml", "--start", START, *options, folder=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert sorted(folder.iterdir()) == before
    [line] = result.stderr.splitlines()
    return line


def samples(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("control_loops,")]


@pytest.mark.parametrize(("suffix", "form"), [(".lp", "lp"), (".csv", "csv"), (".wide.csv", "wide"), ("", "lp")])
@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
def test_the_suffix_selects_format_and_compression(folder: Path, suffix: str, form: str, compression: str) -> None:
    path = folder / f"out{suffix}{compression}"
    assert generate(folder, "--duration", "1m", "--output", path.name) == ""
    data = path.read_bytes()
    if compression == ".gz":
        data = gzip.decompress(data)
    elif compression == ".zst":
        data = load_zstd().decompress(data)
    assert data.decode() == generate(folder, "--duration", "1m", "--format", form)


def test_an_unknown_suffix_is_refused_unless_a_format_is_given(folder: Path) -> None:
    assert refusal(folder, "--output", "day.txt") == \
        "--output day.txt: unknown suffix .txt; name a file *.lp, *.csv, *.wide.csv or *.parquet, or give --format"
    assert refusal(folder, "--output", "day.txt.gz").startswith("--output day.txt.gz: unknown suffix .txt;")
    generate(folder, "--duration", "1s", "--output", "day.txt", "--format", "lp")
    assert (folder / "day.txt").read_text().startswith("control_loops,")


def test_what_parquet_cannot_be_is_refused(folder: Path) -> None:
    (folder / "full").mkdir()
    (folder / "full" / "file").touch()
    assert refusal(folder, "--output", "day.parquet.gz") == \
        "--output day.parquet.gz: Parquet compresses by itself; remove .gz"
    assert refusal(folder, "--partition", "day") == "--partition: stdout is one file; name a folder with --output"
    assert refusal(folder, "--partition", "day", "--format", "csv", "--output", "x") == \
        "--partition: has no effect without Parquet; remove it, or give --format parquet"
    assert refusal(folder, "--partition", "day", "--output", "full") == \
        "--output full: exists already; name a new folder, or remove that one"
    assert refusal(folder, "--format", "parquet", "--output", "/dev/full", "--duration", "1s").startswith(
        "--output /dev/full: cannot be written: No space left on device;")


def test_parquet_has_the_rows_of_csv_and_the_ground_truth(folder: Path) -> None:
    for options in (["--output", "a.parquet"], ["--output", "a.wide.csv"], ["--output", "b", "--partition", "loop"]):
        generate(folder, "--duration", "5m", *options)
    csv = pandas.read_csv(folder / "a.wide.csv", parse_dates=["time"])
    single = pandas.read_parquet(folder / "a.parquet")
    assert list(single.columns) == list(csv.columns)
    assert single["fault"].value_counts().to_dict() == csv["fault"].value_counts().to_dict()
    for name in ("PV", "OP", "SP"):
        assert [f"{value:.10g}" for value in single[name]] == [f"{value:.10g}" for value in csv[name]]
    parts = pandas.read_parquet(folder / "b")
    assert parts.groupby("loop_id", observed=True)["PV"].sum().to_dict() == pytest.approx(
        csv.groupby("loop_id")["PV"].sum().to_dict())
    truth = pandas.read_parquet(folder / "a.truth.parquet")
    assert truth.equals(pandas.read_parquet(folder / "b.truth.parquet"))
    lines = generate(folder, "--duration", "5m").splitlines()
    assert len(truth) == len([line for line in lines if line.startswith("control_loops_truth")])


def test_parquet_on_stdout_is_a_file(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    plant = Plant(default_loops(), start=1_736_503_500 * SECOND)
    block = plant.advance(3)
    for path in (tmp_path / "a.parquet", None):
        with ParquetFiles(path, plant.loops, {"PV": "pv"}, MODES).open(Signals()) as write:
            write(block)
    assert capfdbinary.readouterr().out == (tmp_path / "a.parquet").read_bytes()


@pytest.mark.parametrize("interval", ["500ms", "1s"])
def test_sparse_samples_are_those_of_the_same_plant(folder: Path, interval: str) -> None:
    dense = generate(folder, "--duration", "5m", "--interval", interval)
    sparse = samples(generate(folder, "--duration", "5m", "--interval", interval, "--sample", "10s"))
    other = [line for line in sparse if "loop_id=FIC2" not in line]  # which samples FIC2 loses is another chance
    assert len(other) == 60
    assert set(other) <= set(samples(dense))


def test_a_sample_time_that_the_plant_does_not_have_is_refused(folder: Path) -> None:
    assert refusal(folder, "--interval", "2s", "--sample", "5s") == \
        "--sample: 5s is not a multiple of the interval, 2s; give 4s"
    assert refusal(folder, "--sample", "soon").startswith("--sample: ")
    rows = [f"2025-01-10T10:00:0{second}Z,A,AUT,1,2,3\n" for second in range(3)]
    (folder / "record.csv").write_text("time,loop_id,Mode,PV,OP,SP\n" + "".join(rows))
    result = run_command("generate", "--replay", "record.csv", "--sample", "5s", folder=folder)
    assert result.stderr == "--sample: has no effect with --replay; give --interval\n"


def test_a_later_start_gives_the_stretch_of_the_plant_that_starts_earlier(folder: Path) -> None:
    (folder / "loops.toml").write_text(f'start = "{START}"\n{PLANT}')
    whole = samples(generate(folder, "--duration", "10m"))
    later = samples(generate(folder, "--duration", "4m", start="2025-01-10T10:06:00Z"))
    assert later == whole[-len(later):]
    assert len(later) > 600
    between = samples(generate(folder, "--duration", "1s", "--interval", "7s", start="2025-01-10T10:00:30Z"))
    assert between[0].endswith(" 1736503235000000000"), "the sample times are those from the plant's start on"


def test_an_earlier_start_is_the_start_of_the_plant(folder: Path) -> None:
    (folder / "loops.toml").write_text(f'start = "2025-01-10T11:00:00Z"\n{PLANT}')
    with_start = generate(folder, "--duration", "1m")
    (folder / "loops.toml").write_text(PLANT)
    assert with_start == generate(folder, "--duration", "1m")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_the_bytes_do_not_depend_on_processors_and_writes(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str) -> None:
    data = b"".join(b"control_loops,loop_id=%d PV=%d\n" % (i % 50, i * i % 9973) for i in range(100_000))

    def compressed(processors: int, part: int) -> bytes:
        monkeypatch.setattr(compressed_file, "count_processors", lambda: processors)
        path = tmp_path / f"{processors}"
        with path.open("wb") as raw, open_compressed(raw, suffix) as file:
            for start in range(0, len(data), part):
                file.write(data[start : start + part])
        return path.read_bytes()

    first = compressed(1, 1_000)
    assert compressed(2, 77_777) == compressed(3, len(data)) == first
    expand = gzip.decompress if suffix == ".gz" else load_zstd().decompress
    assert expand(first) == data
    assert len(first) < len(data) / 4
