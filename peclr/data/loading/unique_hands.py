"""An epoch's order in which no batch shows a hand twice: two versions of one hand would be false negatives."""

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_TRIES = 64  # of changing an item's place with one of an earlier batch
_GIVE_UP = 64  # items


def without_repeats(
    order: NDArray[np.int64], hands: NDArray[np.int64], batch: int, stream: np.random.Generator
) -> NDArray[np.int64]:
    """Moves items so that each batch shows every hand at most once, where that is possible.

    An item whose hand its batch shows already waits for the next one. What is left over at the end changes places with
    an item of an earlier batch. Nothing is drawn anew: each item comes as often as before.

    Args:
        order: (N,), items.
        hands: By item, the hand that it shows.
        batch: Number of items whose hands must differ: of a batch of all processes together.
        stream: Of the changes of places.

    Returns:
        (N,), the same items.
    """
    batches = _fill(order.tolist(), hands.tolist(), batch)
    failed = 0
    for last in range(1, len(batches)):
        for place in _repeats(hands[item] for item in batches[last]):
            failed += not _swap(batches, last, place, hands, stream)
            if failed > _GIVE_UP:  # most hands come more often than there are batches
                break
    return np.array([item for items in batches for item in items], np.int64)


def _fill(order: list[int], hands: list[int], size: int) -> list[list[int]]:
    """Batches of items in order, later where a hand would repeat; at the end hands may, as nothing else is left."""
    waiting: dict[int, deque[int]] = {}  # by hand
    coming = iter(order)
    batches: list[list[int]] = []
    for start in range(0, len(order), size):
        wanted = min(size, len(order) - start)
        chosen, shown = [], set()
        # those of which the most wait first: they need the most batches
        for hand in sorted(waiting, key=lambda hand: -len(waiting[hand]))[:wanted]:
            chosen.append(waiting[hand].popleft())
            shown.add(hand)
            if not waiting[hand]:
                del waiting[hand]
        while len(chosen) < wanted:
            item = next(coming, None)
            if item is None:
                break
            if hands[item] in shown:
                waiting.setdefault(hands[item], deque()).append(item)
            else:
                chosen.append(item)
                shown.add(hands[item])
        while len(chosen) < wanted:
            hand, items = next(iter(waiting.items()))
            chosen.append(items.popleft())
            if not items:
                del waiting[hand]
        batches.append(chosen)
    return batches


def _repeats(hands: Iterable[int]) -> list[int]:
    """Places of hands that have come before."""
    seen: set[int] = set()
    # set.add gives None
    return [place for place, hand in enumerate(hands) if hand in seen or seen.add(hand)]  # type: ignore[func-returns-value]


def _swap(
    batches: list[list[int]], last: int, place: int, hands: NDArray[np.int64], stream: np.random.Generator
) -> bool:
    """Exchanges an item for one of an earlier batch, if a few tries find one that leaves no repeat in either."""
    item = batches[last][place]
    others = hands[batches[last][:place] + batches[last][place + 1 :]]
    for _ in range(_TRIES):
        earlier = batches[int(stream.integers(last))]
        taken = int(stream.integers(len(earlier)))
        if hands[item] not in hands[earlier] and hands[earlier[taken]] not in others:
            batches[last][place], earlier[taken] = earlier[taken], item
            return True
    return False
