"""Ridge regression from sums, which processes can add up, with one decomposition for every strength."""

from typing import Self

import torch
from torch import Tensor

from peclr.collectives import sum_over_hosts


class Ridge:
    """Ridge regression on standardized features: add data, then solve for as many strengths as wanted; in float64.

    The strength weighs against the number of rows: from "interpolate" to "predict the mean".
    """

    def __init__(self, features: int, targets: int) -> None:
        # sums over rows of (1, x)ᵀ (1, x, y): their number, means, covariances
        self._sums = torch.zeros(1 + features, 1 + features + targets, dtype=torch.float64)
        self._solved: tuple[Tensor, ...] | None = None

    def add(self, features: Tensor, targets: Tensor) -> Self:
        """Add rows: features (N, F) and targets (N, T)."""
        x, y = features.cpu().double(), targets.cpu().double()  # some devices have no float64
        ones = torch.cat((x.new_ones(len(x), 1), x), dim=1)
        self._sums += ones.mT @ torch.cat((ones, y), dim=1)
        self._solved = None
        return self

    @property
    def rows(self) -> int:
        """Number of rows so far, in this process or in all whose sums were added up."""
        return int(self._sums[0, 0])

    def sum_over_processes(self) -> Self:
        """Add up what all training processes have."""
        self._sums, self._solved = sum_over_hosts(self._sums), None
        return self

    def solve(self, strength: float) -> tuple[Tensor, Tensor]:
        """Weight (T, F) and bias (T,) of a linear layer on features as they are, not standardized."""
        mean, offset, spread, vectors, values, projected = self._solved = self._solved or self._decompose()
        weight = ((vectors / (values + strength)) @ projected / spread[:, None]).mT
        return weight, offset - weight @ mean

    def predict(self, features: Tensor, strength: float) -> Tensor:
        """(M, F) features -> (M, T) targets for one strength."""
        weight, bias = self.solve(strength)
        return features.cpu().double() @ weight.mT + bias

    def _decompose(self) -> tuple[Tensor, ...]:
        count, sums = self._sums[0, 0], self._sums
        columns = len(sums)  # one and the features; the targets follow
        mean, offset = sums[0, 1:columns] / count, sums[0, columns:] / count
        # around the means, whose squares the sums still hold
        xx = sums[1:, 1:columns] - count * torch.outer(mean, mean)
        xy = sums[1:, columns:] - count * torch.outer(mean, offset)
        # a unit that never fires has no spread and must not be divided by it
        spread = (xx.diagonal() / count).clamp_min(0).sqrt().clamp_min(1e-6)
        values, vectors = torch.linalg.eigh(xx / torch.outer(spread, spread))
        return mean, offset, spread, vectors, values.clamp_min(0), vectors.mT @ (xy / spread[:, None])
