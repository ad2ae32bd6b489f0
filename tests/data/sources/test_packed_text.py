"""Texts as two arrays: they come out as they went in, and arrays that do not fit are refused."""

import numpy as np
import pytest

from peclr.data.sources import packed_text
from peclr.data.sources.packed_text import PackedText, pack_texts


def test_texts_come_out_as_they_went_in() -> None:
    texts = ["", "ä", "name\udcff.jpg", "", "c"]
    packed = pack_texts(texts)
    assert list(packed) == packed[:] == texts
    assert packed[-3] == texts[2]
    with pytest.raises(IndexError, match="text 5 of 5"):
        packed[5]
    assert len(pack_texts([])) == 0


@pytest.mark.parametrize("ends", [[5, 4, 20], [-1, 20], [1, 2, 3, 2, 20], [1, 2, 3, 4, 3, 20], [3, 19], [[20]]])
def test_ends_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch, ends: list[int]) -> None:
    monkeypatch.setattr(packed_text, "_BLOCK", 3)
    with pytest.raises(ValueError, match="do not fit"):
        PackedText(np.zeros(20, np.uint8), np.array(ends))
