"""Who a report says has won: by how much, over how many seeds, and where nothing says so."""

from collections.abc import Sequence

import pytest

from peclr.report.contests import Contest, alone, contests
from peclr.report.results import Row, group_rows
from tests.report.test_results import row


def contest(*rows: Row) -> Contest:
    (found,) = contests(group_rows(rows))
    return found


def pa_epe(**scores: Sequence[float]) -> list[Row]:
    return [row(name, seed, pa_epe_mm=v) for name, values in scores.items() for seed, v in enumerate(values)]


def test_the_winner_is_said_with_its_lead_and_seeds_at_the_largest_label_count() -> None:
    few = [row("SimCLR", 0, labels=10, pa_epe_mm=1.0), row("PeCLR", 0, labels=10, pa_epe_mm=2.0)]
    found = contest(*few, *pa_epe(SimCLR=(50, 51), PeCLR=(40, 41), scratch=(70, 70)))
    assert found.title == "p, 100 labels"
    assert [group.weights for group, _ in found.ranking] == ["PeCLR", "SimCLR", "scratch"]
    lead = "PeCLR is best with 40.5 ± 0.7 mm PA-EPE over 2 seeds, 10.0 mm (20%) less than SimCLR"
    assert found.sentence() == f"{lead}, and ahead in each."
    mixed = contest(*pa_epe(a=(10.0, 10.2, 10.4), b=(11.0, 11.4, 10.3)))
    assert mixed.sentence().endswith("(6%) less than b, and ahead in 2 of 3.")
    by_area = contest(
        *(row(name, seed, pa_auc=v + seed / 100) for name, v in {"a": 0.5, "b": 0.6}.items() for seed in (0, 1))
    )
    assert by_area.sentence().startswith("b is best with 0.605 ± 0.007 PA-AUC over 2 seeds, 0.100 (20%) more than a")


def test_a_probe_of_classes_is_compared_by_its_accuracy() -> None:
    accuracy = {"a": (40.0, 41.0), "b": (60.0, 61.0)}
    rows = [row(name, seed, class_accuracy_percent=v) for name, both in accuracy.items() for seed, v in enumerate(both)]
    said = "b is best with 60.5 ± 0.7 % class accuracy over 2 seeds, 20.0 points more than a, and ahead in each."
    assert contest(*rows).sentence() == said


def test_a_lead_within_the_seeds_spread_is_none() -> None:
    found = contest(*pa_epe(scratch=(20, 21), a=(10, 14), b=(11, 14)))
    assert found.sentence() == (
        "No clear winner: a has 12.0 ± 2.8 mm PA-EPE over 2 seeds, 0.5 mm (4%) less than b, which is within what seeds "
        "differ by; it is ahead in 1 of 2. Both are ahead of scratch by 8.0 mm (39%) or more."
    )
    nothing_behind = contest(*pa_epe(scratch=(12, 16), a=(10, 14), b=(11, 14)))
    assert "Both" not in nothing_behind.sentence()
    assert "level with 5.0 mm PA-EPE over one seed" in contest(*pa_epe(a=(5,), b=(5,))).sentence()


def test_one_seed_says_nothing_of_chance() -> None:
    decisive = contest(row("a", 0, pa_epe_mm=1.0, root_relative_epe_mm=9.0), row("b", 0, root_relative_epe_mm=8.0))
    lead = "b is ahead with 8.0 mm root-relative EPE over one seed, 1.0 mm (11%) less than a"
    assert decisive.sentence() == f"{lead}; one seed does not say how much of that is chance."
    uneven = contest(*pa_epe(a=(5, 6, 7), b=(1,)))
    assert "over one seed, against 3 seeds of a, 5.0 mm" in uneven.sentence()
    assert "one seed does not say" in uneven.sentence()
    runs = contest(row("runs/x", None, pa_epe_mm=1.0), row("runs/y", None, pa_epe_mm=2.0))
    assert runs.sentence().endswith("one run does not say how much of that is chance.")


def test_other_seeds_are_not_compared_one_by_one() -> None:
    found = contest(
        *(row("a", seed, pa_epe_mm=1.0 + seed / 10) for seed in (0, 1)), *(row("b", s, pa_epe_mm=9.0) for s in (1, 2))
    )
    assert found.sentence().endswith("(88%) less than b.")


def test_names_with_commas_are_quoted() -> None:
    found = contest(row("PeCLR, same image", 0, pa_epe_mm=1.0), row("b", 0, pa_epe_mm=2.0))
    assert found.sentence().startswith("“PeCLR, same image” is ahead")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [row("a", 0, pa_epe_mm=1.0)],
            "a has 1.0 mm PA-EPE over one seed (p, 100 labels). There is nothing to compare it",
        ),
        (
            [row("a", 0, pa_epe_mm=1.0), row("b", 0, protocol="q", pa_epe_mm=2.0)],
            "mm PA-EPE over one seed (q, 100 labels). No two of them were measured in one way, so none is best.",
        ),
    ],
)
def test_where_nothing_is_compared_the_scores_are_said(rows: list[Row], said: str) -> None:
    groups = group_rows(rows)
    assert contests(groups) == []
    assert said in alone(groups, 4)
