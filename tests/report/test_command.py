"""`peclr report`: what it writes, and what it refuses."""

import json
import re
import shutil
import sys
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
def hands(report: Path) -> list[list[dict[str, Any]]]:
    """Traces of the hands that can be turned."""
    found = re.search(r'<script id="content" type="application/json">(.*?)</script>', report.read_text(), re.DOTALL)
    assert found is not None
    traces: list[list[dict[str, Any]]] = json.loads(found[1])["hands"]
    return traces


@pytest.fixture(scope="module")
def figures(report: Path) -> list[go.Figure]:
    """What plotly is given; it refuses properties and values that plotly.js does not know."""
    read, found = json.JSONDecoder(), []
    body = report.read_text().partition("</head>")[2]
    for call in body.split("Plotly.newPlot(")[1:]:
        data, end = read.raw_decode(call, call.index("["))
        found.append(go.Figure(data, read.raw_decode(call, call.index("{", end))[0]))
    return found


def figure(figures: list[go.Figure], title: str) -> go.Figure:
    return next(found for found in figures if any(title in note.text for note in found.layout.annotations))


def test_the_page_loads_nothing_from_anywhere(report: Path) -> None:
    tags = Tags(report.read_text())
    links = tags.attributes("src") + tags.attributes("href")
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "link" not in {tag for tag, attributes in tags.found if attributes.get("rel") == "stylesheet"}


def test_names_of_folders_are_text(report: Path) -> None:
    tags = Tags(report.read_text())
    assert not tags.attributes("onerror")
    assert "x" not in tags.attributes("src")


def test_figures_have_units_and_every_series_in_the_legend_once(figures: list[go.Figure]) -> None:
    charts = [found for found in figures if found.layout.annotations]
    assert len(charts) == 5  # label efficiency, PCK, joints, pre-training, fine-tuning
    for found in charts:
        plots = found.layout.meta["plots"]
        assert len(found.layout.annotations) == plots
        titles = [
            axis.title.text for pair in zip(found.select_xaxes(), found.select_yaxes(), strict=True) for axis in pair
        ]
        assert sum(title is not None for title in titles) >= plots
        assert all("<img" not in (trace.name or "") for trace in found.data)  # plotly reads HTML in names
        if found.layout.showlegend is not False:
            named = [trace.name for trace in found.data if trace.showlegend]
            assert sorted(named) == sorted({trace.name for trace in found.data})
            assert all(trace.legendgroup == trace.name for trace in found.data)


def test_curves_are_those_of_the_data(figures: list[go.Figure]) -> None:
    efficiency = figure(figures, "root-relative EPE")
    simclr, peclr = (trace for trace in efficiency.data if trace.xaxis == "x")
    assert (simclr.name, peclr.name) == ("SimCLR", "PeCLR")
    assert (peclr.x, peclr.y) == ((100, 1000), (55.0, 46.0))  # 60 − 5 − labels / 100, plus the mean seed
    assert peclr.error_y.array == pytest.approx([1.0, 1.0])
    assert simclr.line.color != peclr.line.color
    training = [note.text for note in figure(figures, "train/loss").layout.annotations]
    assert training == ["<b>train/loss</b>", "<b>probe/pa_epe_mm</b>"]
    assert figure(figures, "PA-EPE of each joint")
    assert all(list(trace.y) == sorted(trace.y) for trace in figure(figures, "3-D PCK, aligned").data)


def test_the_page_opens_with_who_has_won_and_a_figure_of_it(report: Path, figures: list[go.Figure]) -> None:
    opening = report.read_text().partition("<body>")[2].partition("<nav>")[0]
    assert "<b>frozen probe, 1,000 labels:</b> PeCLR is best with 46.0 ± 1.0 mm root-relative EPE over 3 " in opening
    assert "seeds, 5.0 mm (10%) less than SimCLR, and ahead in each.</p>" in opening
    assert "Plotly.newPlot(" in opening
    (bars,) = [[(b.y, b.x, b.error_x.array) for b in one.data] for one in figures if "PeCLR" in one.data[0].name]
    assert bars == [(("PeCLR ",), (46.0,), (1.0,)), (("SimCLR ",), (51.0,), (1.0,))]


def test_where_nothing_can_be_compared_the_page_says_so(everything: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert main(["report", str(everything / "peclr"), str(everything / "simclr"), "--out", str(out)]) == 0
    assert "2 runs; nothing was scored, so none is best" in out.read_text()


def test_best_hands_are_better_than_worst_and_have_wrists_at_the_origin(
    report: Path, hands: list[list[dict[str, Any]]]
) -> None:
    assert len(hands) == 8  # 2 + 2 of the 8 hands of two evaluations
    errors = [float(text) for text in re.findall(r"PA-EPE ([\d.]+) mm, [^<]*</option>", report.read_text())]
    for first in (0, 4):
        best, worst = errors[first : first + 2], errors[first + 2 : first + 4]
        assert best == sorted(best)
        assert worst == sorted(worst, reverse=True)
        assert max(best) <= min(worst)
    for trace in hands[0]:
        assert (trace["x"][0], trace["y"][0], trace["z"][0]) == (0, 0, 0)
    images = [source for source in Tags(report.read_text()).attributes("src") if source.startswith("data:image/jpeg")]
    assert len(images) == 16


def test_table_for_people_programs_and_papers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], everything: Path
) -> None:
    again = tmp_path / "again.html"
    assert (
        main(["report", str(everything / "tables" / "table.json"), "--out", str(again), "--title", "A <b> title"]) == 0
    )
    printed = capsys.readouterr().out
    assert "46.0 ± 1.0*" in printed
    assert r"\boldmath$46.0 \pm 1.0$" in again.with_suffix(".tex").read_text()
    assert "frozen probe,1000,PeCLR,46.0,1.0,3" in again.with_suffix(".csv").read_text()
    assert json.loads(again.with_suffix(".json").read_text())["title"] == "A <b> title"
    assert "<h1>A &lt;b&gt; title</h1>" in again.read_text()


def test_nothing_is_overwritten_silently(everything: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.html"
    out.with_suffix(".csv").write_text("mine")
    command = ["report", str(everything / "tables" / "table.json"), "--out", str(out)]
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


def test_no_folder_is_opened_because_a_received_file_names_it(
    everything: Path, rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "evaluation", tmp_path / "report.html"
    shutil.copytree(everything / "worse" / "evaluation", folder)
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["data"] == str(rendered_hands), "of the reader's own, it is there"
    (folder / "scores.json").write_text(json.dumps(scores | {"predictions": str(everything / "secret.json")}))
    command = ["report", str(folder), "--out", str(out), "--force"]
    opened: list[str] = []
    watched = {"open", "os.listdir", "os.scandir"}
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event in watched else None)
    assert main(command) == 0
    watched.clear()  # a hook stays
    assert str(folder / "scores.json") in opened
    assert not any(path.startswith(str(rendered_hands)) or "secret" in path for path in opened)
    assert "data:image/jpeg" not in out.read_text()
    assert "--data DATA</code> draws hands" in out.read_text()
    assert main([*command, "--data", str(tmp_path / "gone")]) == 0
    assert "gone/evaluation/rgb is not there" in capsys.readouterr().err
    assert "Not drawn" in out.read_text()
    assert main([*command, "--data", str(rendered_hands)]) == 0
    assert "data:image/jpeg" in out.read_text()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--out", "page.pdf"], "expected a name that ends in .html"),
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
