"""What a picture costs, beside the plant that it shows; what reading the truth costs, beside reading the lines."""

from __future__ import annotations

from pathlib import Path

from baselines import START, quickest
from results import Results
from tiers import CAMPAIGNS

from clpm_execd.config.loops import parse_configuration
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.pictures import matplotlib_image, plotly_page
from clpm_execd.pictures.style import LIGHT
from clpm_execd.pictures.terminal_plot import choose_max_points, draw_trends
from clpm_execd.pictures.trend import Trend, build_trends, choose_run
from clpm_execd.plant.block import Block
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.score import read_truth

SAMPLES = 86_400 if CAMPAIGNS else 2400
LOOPS = [{"id": "FIC{:03d}", "count": 5, "fault": [{"kind": "stiction", "start": "10m", "duration": "20m"}]}]


def plant() -> Plant:
    return Plant(parse_configuration({"loop": LOOPS}).loops, start=START)


def drawn(block: Block, points: int) -> list[Trend]:
    return build_trends([block], block.loops, SECOND, choose_run(len(block), points))


def test_a_picture_of_five_loops(results: Results) -> None:
    block = plant().advance(SAMPLES)
    spent = quickest({
        "the plant": lambda: plant().advance(SAMPLES),
        "trends, downsampled for a PNG": lambda: drawn(block, matplotlib_image.choose_max_points(5)),
        "the terminal": lambda: draw_trends(drawn(block, choose_max_points(100)), 100),
        "the PNG": lambda: matplotlib_image.render_image(
            drawn(block, matplotlib_image.choose_max_points(5)), LIGHT, "png"),
        "the page": lambda: plotly_page.build_preview_page(drawn(block, plotly_page.choose_max_points(5)), "").html(),
    })
    rates = {way: SAMPLES * 5 / seconds for way, seconds in spent.items()}
    ours = rates.pop("the plant")
    results.against(f"a picture of 5 loops over {SAMPLES:,} s", "samples/s", ("the plant", ours), rates)


def test_the_truth_of_a_file(results: Results, tmp_path: Path) -> None:
    source = plant()
    path = tmp_path / "day.lp"
    path.write_bytes(LineProtocol(source.loops, truth="t").encode(source.advance(SAMPLES)))

    def lines() -> int:
        with path.open() as file:
            return sum(1 for _ in file)

    spent = quickest({"read_truth": lambda: read_truth(path), "the lines alone": lines})
    rates = {way: lines() / seconds for way, seconds in spent.items()}
    results.against("the truth of a file", "lines/s", ("read_truth", rates.pop("read_truth")), rates)
