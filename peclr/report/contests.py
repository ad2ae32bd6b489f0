"""Who has won, by how much, over how many seeds: the sentences that a report opens with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from peclr.report.results import METRICS, Group, Metric, Spread, metrics_of, quoted_name, ranked, seeds_of, stated

# by which a report says who has won: the first that there is
_DECISIVE: Final = ("root_relative_epe_mm", "pa_epe_mm", "epe_mm", *(metric.name for metric in METRICS))


@dataclass(frozen=True)
class Contest:
    """Groups of one protocol and label count by one metric, with their spreads, best first."""

    metric: Metric
    ranking: list[tuple[Group, Spread]]

    @property
    def title(self) -> str:
        """Protocol and label count."""
        return self.ranking[0][0].title

    def sentence(self) -> str:
        """The winner, by how much, over how many seeds; and whether that is more than the seeds differ."""
        metric, ((best, first), (second, following), *others) = self.metric, self.ranking
        ahead = abs(following.mean - first.mean)
        has = stated(best, metric)
        if first.count != following.count:
            has += f", against {seeds_of(second, following)} of {quoted_name(second.weights)}"
        winner, loser = quoted_name(best.weights), quoted_name(second.weights)
        if not ahead:
            return f"{winner} and {loser} are level with {has}."
        by = f"{self._gap(first, following)} {'more' if metric.higher_is_better else 'less'} than {loser}"
        if min(first.count, following.count) == 1:
            single = seeds_of(*min(self.ranking[:2], key=lambda pair: pair[1].count))
            return f"{winner} is ahead with {has}, {by}; {single} does not say how much of that is chance."
        pairs = _same_seeds(best, second, metric)
        wins = sum(mine > theirs if metric.higher_is_better else mine < theirs for mine, theirs in pairs)
        if _noise(first, following) < ahead:
            each = "" if not pairs else f", and ahead in {'each' if wins == len(pairs) else f'{wins} of {len(pairs)}'}"
            return f"{winner} is best with {has}, {by}{each}."
        doubt = f"No clear winner: {winner} has {has}, {by}, which is within what seeds differ by"
        doubt += f"; it is ahead in {wins} of {len(pairs)}." if pairs else "."
        if others and abs(others[0][1].mean - following.mean) > _noise(following, others[0][1]):
            third, behind = others[0]
            doubt += f" Both are ahead of {quoted_name(third.weights)} by {self._gap(following, behind)} or more."
        return doubt

    def _gap(self, better: Spread, worse: Spread) -> str:
        """The difference of two means, and its share of the worse one."""
        ahead, metric = abs(worse.mean - better.mean), self.metric
        if metric.unit == "%":  # a share of a share would be misread
            return f"{ahead:.{metric.decimals}f} points"
        share = f" ({ahead / abs(worse.mean):.0%})" if worse.mean else ""
        return f"{ahead:.{metric.decimals}f}{metric.after}{share}"


def _noise(one: Spread, other: Spread) -> float:
    """By how much seeds differ."""
    return max(one.deviation or 0.0, other.deviation or 0.0)


def _same_seeds(one: Group, other: Group, metric: Metric) -> list[tuple[float, float]]:
    """The values of two groups by seed; none if these are not the same."""
    found = [
        {row.seed: row.metrics[metric.name] for row in group.rows if metric.name in row.metrics}
        for group in (one, other)
    ]
    same = found[0].keys() == found[1].keys() and None not in found[0]
    return [(found[0][seed], found[1][seed]) for seed in found[0]] if same else []


def contests(groups: Sequence[Group]) -> list[Contest]:
    """For each protocol with a choice, the comparison at its largest label count, by the metric that decides."""
    found: dict[str, Contest] = {}
    for block in dict.fromkeys(group.block for group in groups):  # later ones have more labels
        rivals = [group for group in groups if group.block == block]
        if len(ranking := ranked(rivals, metric := decisive_metric(rivals))) > 1:
            found[block[0]] = Contest(metric, ranking)
    return list(found.values())


def decisive_metric(groups: Sequence[Group]) -> Metric:
    """The metric by which groups are compared, of those that some of them have."""
    return min(metrics_of(groups), key=lambda metric: _DECISIVE.index(metric.name))


def alone(groups: Sequence[Group], most: int) -> str:
    """What the first groups score, where no two were measured in one way."""
    said = [
        f"{quoted_name(one.weights)} has {stated(one, decisive_metric([one]))} ({one.title})." for one in groups[:most]
    ]
    why = "There is nothing to compare it with" if len(groups) == 1 else "No two of them were measured in one way"
    return f"{' '.join(said)} {why}, so none is best."
