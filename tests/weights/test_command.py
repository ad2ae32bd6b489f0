"""`peclr weights` lists, states terms, and fetches only when they are accepted; names stand wherever weights do."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from peclr.__main__ import main
from peclr.checkpoints import load_encoder
from peclr.weights.catalog import BUILT_IN, Published, catalog
from tests.weights.server import Page, described, serving


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


@pytest.mark.usefixtures("no_network")
def test_the_list_says_of_each_what_it_is_and_whether_it_is_here(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cache / "peclr-rn50").mkdir(parents=True)
    catalog()["peclr-rn50"].path.touch()
    assert main(["weights"]) == 0
    rows = {line.split()[0]: line for line in lines(capsys.readouterr().out) if line}
    for name, published in catalog().items():
        assert published.license in rows[name]
        assert published.what in rows[name]
        assert (" here " in rows[name]) == (name in ("peclr-rn50", BUILT_IN))
    assert main(["weights", "--format", "json"]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries.keys() == catalog().keys()
    assert entries["peclr-rn50"]["path"] == str(catalog()["peclr-rn50"].path)
    assert entries["peclr-rn152"]["path"] is None
    assert entries["hand-landmarker"]["size"] == 7_819_105


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", sorted(catalog().keys() - {BUILT_IN}))
def test_without_accept_the_terms_are_stated_and_nothing_is_done(
    name: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "get", name]) == 1
    shown = capsys.readouterr().out
    published = catalog()[name]
    for part in (published.license, published.terms, published.url, f"peclr weights get {name} --accept"):
        assert part in shown
    assert not cache.exists()


def test_an_accepted_file_is_fetched_and_then_known_by_its_name(
    encoder_file: Path, publish: Callable[[Published], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Page(encoder_file.read_bytes())) as address:
        publish(published := described(url=f"{address}net.pth"))
        with pytest.raises(FileNotFoundError, match="peclr weights get net --accept"):
            load_encoder("net")
        assert main(["weights", "get", "net", "--accept"]) == 0
    said = capsys.readouterr()
    assert "none is published to compare it with" in said.out
    assert lines(said.out)[-1] == str(published.path)
    assert "B/s" in said.err
    assert main(["weights", "get", "net"]) == 0
    assert capsys.readouterr().out == f"{published.path}\n"
    expected = torch.load(encoder_file, weights_only=True)["state_dict"]
    torch.testing.assert_close(dict(load_encoder("net").state_dict()), expected)
    assert main(["export", "net", "--out=exported", "--formats=safetensors"]) == 0
    assert Path("exported", "net.safetensors").is_file()


def test_what_goes_wrong_is_one_line(
    encoder_file: Path, publish: Callable[[Published], None], capsys: pytest.CaptureFixture[str]
) -> None:
    page = Page(encoder_file.read_bytes(), statuses=[404])
    with serving(page) as address:
        publish(described(url=f"{address}net.pth"))
        assert main(["weights", "get", "net", "--accept"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"peclr weights: {address}net.pth: its host answers 404")
    assert "https://example.org" in error
    assert "peclr weights get net --file FILE" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("get peclrrn50", "are called peclrrn50; did you mean peclr-rn50?"),
        ("get", "peclr weights get NAME"),
        ("git peclr-rn50", "peclr weights get peclr-rn50"),
        ("peclr-rn50 --accept", "peclr weights get peclr-rn50"),
        ("--accept", "peclr weights get NAME"),
        ("get peclr-rn50 --acept", "did you mean --accept?"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_a_mistake_is_named_with_what_was_meant(words: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", *words.split()]) == 2
    assert meant in capsys.readouterr().err


@pytest.mark.usefixtures("no_network")
def test_a_file_by_hand_needs_no_network(
    encoder_file: Path, publish: Callable[[Published], None], capsys: pytest.CaptureFixture[str]
) -> None:
    publish(published := described(use="encoder"))
    assert main(["weights", "get", "net", "--file", str(encoder_file)]) == 0
    assert published.terms in capsys.readouterr().out
    assert published.path.read_bytes() == encoder_file.read_bytes()


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "words",
    [
        ["predict", "peclr-rn50-freihand", "image.jpg"],
        ["export", "peclr-rn50-freihand", "--out=weights"],
        ["evaluate", "peclr-rn50-freihand", "--data={hands}"],
    ],
)
def test_a_name_that_is_not_in_the_cache_comes_with_its_command(
    words: list[str], rendered_hands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("image.jpg").touch()
    assert main([word.format(hands=rendered_hands) for word in words]) == 2
    error = capsys.readouterr().err
    assert "`peclr weights get peclr-rn50-freihand --accept` downloads it" in error
    assert catalog()["peclr-rn50-freihand"].url in error
    assert error.count("\n") == 1


def test_a_detector_is_no_network_to_load() -> None:
    with pytest.raises(ValueError, match="hand-landmarker finds hands in images"):
        load_encoder("hand-landmarker")
