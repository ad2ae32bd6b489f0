"""The comparison as text, CSV, LaTeX, JSON and HTML says the same everywhere."""

import csv
import io

from peclr.report.results import Group, Row, group_rows, metrics_of
from peclr.report.tables import csv_table, html_tables, json_table, latex_table, text_table

ROWS = [
    Row("probe", "a_b & <c>", 1000, 0, {"pa_epe_mm": 10.0, "pa_auc": 0.8}),
    Row("probe", "a_b & <c>", 1000, 1, {"pa_epe_mm": 12.0}),
    Row("probe", "other", 1000, 0, {"pa_epe_mm": 20.0, "pa_auc": 0.9}),
    Row("fine", "other", None, 0, {"pa_epe_mm": 5.0}),
]
GROUPS: list[Group] = group_rows(ROWS)
METRICS = metrics_of(GROUPS)


def test_text_has_units_means_deviations_and_marks() -> None:
    head, _, first, second, third = text_table(GROUPS, METRICS).splitlines()
    assert "PA-EPE, mm" in head
    assert "11.0 ± 1.4*" in first
    assert "0.800 (n=1)" in first  # the other seed lacks it
    assert "20.0 " in second
    assert "0.900*" in second
    assert "—" in third
    assert "*" not in third


def test_columns_of_the_text_are_aligned() -> None:
    head, _, *lines = text_table(GROUPS, METRICS).splitlines()
    place = head.index("weights")
    assert [line[place:].split("  ")[0] for line in lines] == ["a_b & <c>", "other", "other"]


def test_csv_has_full_precision() -> None:
    first, second, third = csv.DictReader(io.StringIO(csv_table(GROUPS, METRICS)))
    assert (first["weights"], first["labels"], first["pa_epe_mm_n"]) == ("a_b & <c>", "1000", "2")
    assert (float(first["pa_epe_mm_mean"]), float(first["pa_epe_mm_sd"])) == (11.0, 2**0.5)
    assert (second["pa_epe_mm_mean"], second["pa_epe_mm_sd"]) == ("20.0", "")
    assert (third["labels"], third["pa_auc_mean"], third["pa_auc_n"]) == ("", "", "0")


def test_latex_escapes_names_and_has_a_cell_for_each_column() -> None:
    table = latex_table(GROUPS, METRICS)
    assert r"a\_b \& <c>" in table
    assert r"\boldmath$11.0 \pm 1.4$" in table
    rows = [line for line in table.splitlines() if line.endswith(r"\\")]
    columns = table.split(r"\begin{tabular}{")[1].split("}")[0]
    assert {row.replace(r"\&", "").count("&") for row in rows} == {len(columns) - 1}


def test_json_holds_the_rows_that_the_groups_sum_up() -> None:
    table = json_table(GROUPS, METRICS)
    assert table["units"]["pa_epe_mm"] == "mm"
    assert table["groups"][0]["metrics"]["pa_epe_mm"] == {"mean": 11.0, "sd": 2**0.5, "n": 2}
    assert [row["seed"] for row in table["groups"][0]["rows"]] == [0, 1]


def test_html_escapes_names_and_leaves_out_columns_that_a_protocol_lacks() -> None:
    probe, fine = html_tables(GROUPS).split("<h3>")[1:]
    assert "a_b &amp; &lt;c&gt;" in probe
    assert "<td class=best>11.0 ± 1.4</td>" in probe
    heading = "PA\N{NON-BREAKING HYPHEN}AUC"
    assert heading in probe
    assert heading not in fine
