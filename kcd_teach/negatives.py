"""From which others is a sample to be told apart? Ids of other classes, for contrastive methods."""

import torch
from torch import Tensor


class NegativePool:
    """Ids to draw from, arranged so that all ids outside one class are one range of positions.

    Args:
        candidates: int64 [M], distinct ids.
        labels: int64 [N], of all samples.

    Raises:
        ValueError: candidates of a single class, which have no others.
    """

    def __init__(self, candidates: Tensor, labels: Tensor) -> None:
        of_candidates = labels.cpu()[candidates]
        order = torch.sort(of_candidates, stable=True).indices
        self._ids, self._labels = candidates[order], labels.cpu()
        counts = torch.bincount(of_candidates, minlength=int(self._labels.max()) + 1)
        if int(counts.max()) == len(candidates):
            raise ValueError("negatives need samples of at least two classes, and those to draw from are all of one")
        self._ends = counts.cumsum(0).tolist()
        self._counts = counts.tolist()

    def contrasts(self, ids: Tensor, negatives: int, generator: torch.Generator) -> Tensor:
        """Draw the contrast list of every sample of a batch.

        Args:
            ids: int64 [B].
            negatives: K.
            generator: of the draw.

        Returns:
            int64 [B, 1 + K]: the sample's own id, then K ids of other classes, uniform; without replacement, or with
            it where there are fewer than K.
        """
        rows = [self._others(label, negatives, generator) for label in self._labels[ids].tolist()]
        return torch.cat([ids[:, None], torch.stack(rows)], dim=1)

    def _others(self, label: int, negatives: int, generator: torch.Generator) -> Tensor:
        count, end = self._counts[label], self._ends[label]
        others = len(self._ids) - count
        if others >= negatives:
            places = torch.randperm(others, generator=generator)[:negatives]
        else:
            places = torch.randint(others, (negatives,), generator=generator)
        # Positions from where the own class begins are moved past it.
        return self._ids[torch.where(places < end - count, places, places + count)]
