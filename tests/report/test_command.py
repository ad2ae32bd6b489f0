"""`peclr report`: what it writes, and what it refuses."""

import json
import re
import shutil
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go  # type: ignore[import-untyped]  # plotly ships no types
import pytest

from peclr.__main__ import main


class Tags(HTMLParser):
    """Names and attributes of all tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.found if (value := attributes.get(name)) is not None]


@pytest.fixture(scope="module")
def page(everything: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    assert main(["report", str(everything), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def content(page: Path) -> dict[str, Any]:
    found = re.search(r'<script id="content" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    parsed: dict[str, Any] = json.loads(found[1])
    return parsed


def test_the_page_loads_nothing_from_anywhere(page: Path) -> None:
    tags = Tags(page.read_text())
    links = tags.attributes("src") + tags.attributes("href")
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "link" not in {tag for tag, attributes in tags.found if attributes.get("rel") == "stylesheet"}


def test_names_of_folders_are_text(page: Path) -> None:
    tags = Tags(page.read_text())
    assert not tags.attributes("onerror")
    assert "x" not in tags.attributes("src")


def test_figures_are_what_plotly_draws_and_have_units_and_legends(content: dict[str, Any]) -> None:
    assert len(content["figures"]) >= 9
    for figure in content["figures"]:
        go.Figure(figure)  # refuses properties and values that plotly.js does not know
        layout = figure["layout"]
        assert all("<img" not in trace["name"] for trace in figure["data"])  # plotly reads HTML in names
        assert layout["title"]["font"]["size"] >= 14
        assert layout["yaxis"]["title"]["text"]
    for hand in content["hands"]:
        go.Figure({"data": hand["traces"], "layout": content["stage"]})


def test_every_series_is_in_the_legend_of_its_panel_once(page: Path, content: dict[str, Any]) -> None:
    for panel in page.read_text().split('<div class="panel">')[1:]:
        figures = [content["figures"][int(index)] for index in re.findall(r'data-figure="(\d+)"', panel)]
        drawn = {trace["name"] for figure in figures for trace in figure["data"]}
        told = [unescape(name) for name in re.findall(r'data-series="([^"]*)"', panel)]
        assert figures
        assert sorted(told) == sorted(drawn)


def test_curves_are_those_of_the_data(content: dict[str, Any]) -> None:
    figures = {figure["layout"]["title"]["text"]: figure for figure in content["figures"]}
    efficiency = figures["EPE rel. to wrist"]
    (simclr, peclr) = efficiency["data"]
    assert (simclr["name"], peclr["name"]) == ("SimCLR", "PeCLR")
    assert (peclr["x"], peclr["y"]) == ([100, 1000], [55.0, 46.0])  # 60 − 5 − labels / 100, plus the mean seed
    assert peclr["error_y"]["array"] == pytest.approx([1.0, 1.0])
    assert simclr["line"]["color"] != peclr["line"]["color"]
    assert {"train/loss", "probe/pa_epe_mm", "PA-EPE of each joint"} <= set(figures)
    assert all(trace["y"] == sorted(trace["y"]) for trace in figures["3-D PCK, aligned"]["data"])


def test_best_hands_are_better_than_worst_and_have_wrists_at_the_origin(page: Path, content: dict[str, Any]) -> None:
    assert len(content["hands"]) == 16  # 4 + 4 of the 8 hands of two evaluations
    errors = [float(hand["title"].split()[-2]) for hand in content["hands"]]
    for first in (0, 8):
        best, worst = errors[first : first + 4], errors[first + 4 : first + 8]
        assert best == sorted(best)
        assert worst == sorted(worst, reverse=True)
        assert max(best) <= min(worst)
    for trace in content["hands"][0]["traces"]:
        assert (trace["x"][0], trace["y"][0], trace["z"][0]) == (0, 0, 0)
    images = [source for source in Tags(page.read_text()).attributes("src") if source.startswith("data:image/jpeg")]
    assert len(images) == 32


def test_table_for_people_programs_and_papers(page: Path, capsys: pytest.CaptureFixture[str], everything: Path) -> None:
    again = page.with_name("again.html")
    assert main(["report", str(everything / "table.json"), "--out", str(again), "--title", "A <b> title"]) == 0
    printed = capsys.readouterr().out
    assert "46.0 ± 1.0*" in printed
    assert r"\boldmath$46.0 \pm 1.0$" in again.with_suffix(".tex").read_text()
    assert "frozen probe,1000,PeCLR,46.0,1.0,3" in again.with_suffix(".csv").read_text()
    assert json.loads(again.with_suffix(".json").read_text())["title"] == "A <b> title"
    assert "<h1>A &lt;b&gt; title</h1>" in again.read_text()


def test_nothing_is_overwritten_silently(everything: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.html"
    out.with_suffix(".csv").write_text("mine")
    command = ["report", str(everything / "table.json"), "--out", str(out)]
    assert main(command) == 2
    assert "report.csv exists" in capsys.readouterr().err
    assert not out.exists()
    assert out.with_suffix(".csv").read_text() == "mine"
    assert main([*command, "--force"]) == 0
    assert out.with_suffix(".csv").read_text() != "mine"


def test_a_table_is_not_replaced_by_the_report_on_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "results.json"
    table.write_text(text := '{"rows": [{"weights": "a", "pa_epe_mm": 1.0}]}')
    assert main(["report", str(table), "--out", str(tmp_path / "results.html"), "--force"]) == 2
    assert f"would replace {table}" in capsys.readouterr().err
    assert table.read_text() == text


def test_photographs_that_have_moved_cost_the_gallery_only(
    everything: Path, embedded_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "evaluation"
    shutil.copytree(everything / "worse" / "evaluation", folder)
    scores = json.loads((folder / "scores.json").read_text())
    (folder / "scores.json").write_text(json.dumps(scores | {"data": "/gone"}))
    out = tmp_path / "report.html"
    assert main(["report", str(folder), "--out", str(out)]) == 0
    assert "/gone/evaluation/rgb is not there; --data tells" in capsys.readouterr().err
    assert "Not drawn" in out.read_text()
    assert main(["report", str(folder), "--out", str(out), "--force", "--data", str(embedded_hands)]) == 0
    assert "Not drawn" not in out.read_text()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--out", "page.pdf"], "expected a name that ends in .html"),
        (["--out", "no/such/folder/page.html"], "does not exist"),
        (["--hands", "0"], "--hands 0: expected at least 1"),
    ],
)
def test_bad_options_are_named(
    options: list[str], complaint: str, everything: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(everything), *options]) == 2
    assert complaint in capsys.readouterr().err


def test_a_missing_library_is_named_with_its_extra(
    everything: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert main(["report", str(everything), "--out", str(tmp_path / "report.html")]) == 2
    assert "peclr[report]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
