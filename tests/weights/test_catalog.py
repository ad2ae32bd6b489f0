"""Published weights are found by name; the list agrees with those who publish."""

import re
from pathlib import Path

import pytest
from torchvision.models import get_model_weights  # type: ignore[import-untyped]  # ships no types

from peclr.models.encoders import ARCHITECTURES
from peclr.weights.catalog import BUILT_IN, CACHE_VARIABLE, cache_folder, catalog, find_weights


def test_torchvisions_weights_are_as_torchvision_has_them() -> None:
    theirs = {
        weights.url: round(weights.meta["_file_size"] * 2**20, -3)
        for name in ARCHITECTURES
        for weights in get_model_weights(name)
    }
    ours = {one.url: one for one in catalog().values() if one.name.startswith("imagenet-")}
    assert {url: one.size for url, one in ours.items()} == theirs
    for url, one in ours.items():
        assert url.endswith(f"-{one.sha256}.pth")
        assert f"{one.architecture}-{one.sha256}.pth" == one.file


@pytest.mark.parametrize("name", catalog())
def test_every_entry_says_what_its_user_has_to_know(name: str) -> None:
    published = catalog()[name]
    assert re.fullmatch(r"[a-z0-9-]+", name)
    assert published.url.startswith("https://") or name == BUILT_IN
    assert published.homepage.startswith("https://")
    assert "/" not in published.file
    assert published.license
    assert published.terms.endswith(".")
    assert (published.architecture in ARCHITECTURES) == (published.use != "detector")
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in published.sha256_inside.values())


def test_a_name_in_the_cache_is_its_file_and_another_comes_with_the_command_that_gets_it(cache: Path) -> None:
    with pytest.raises(FileNotFoundError, match="`peclr weights get peclr-rn50 --accept` downloads it") as raised:
        find_weights("peclr-rn50")
    assert catalog()["peclr-rn50"].url in str(raised.value)
    (cache / "peclr-rn50").mkdir(parents=True)
    (cache / "peclr-rn50" / "peclr_rn50_yt3dh_fh.pth").touch()
    assert find_weights(Path("peclr-rn50")) == cache / "peclr-rn50" / "peclr_rn50_yt3dh_fh.pth"


def test_a_path_stays_as_it_is(tmp_path: Path) -> None:
    assert find_weights(tmp_path / "last.ckpt") == tmp_path / "last.ckpt"
    assert find_weights("runs/new") == Path("runs/new")


def test_a_folder_of_that_name_wins_and_that_is_said(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("peclr-rn50").mkdir()
    assert find_weights("peclr-rn50") == Path("peclr-rn50")
    assert "took peclr-rn50 of this folder, not the published" in capsys.readouterr().err


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(FileNotFoundError, match=r"peclr-rn50-freihnd: no such file.* peclr-rn50-freihand"):
        find_weights("peclr-rn50-freihnd")


def test_the_cache_is_where_it_is_asked_for_or_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, "~/big/disk")
    assert cache_folder() == Path("/home/ada/big/disk")
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_folder().is_relative_to("/home/ada")
    assert cache_folder().name == "peclr"
