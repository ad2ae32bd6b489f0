"""The commands of experiments/README.md have the options and names that there are, and its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from peclr.__main__ import main
from peclr.data.sources.layouts import LAYOUTS
from peclr.shipped import find_config

if TYPE_CHECKING:
    from tests.experiments.conftest import Parse

FOLDER: Final = Path(__file__).parents[2] / "experiments"
README: Final = (FOLDER / "README.md").read_text(encoding="utf-8")
STAND_FOR: Final = {"…": "pretrain_peclr", "my.yaml": "finetune_mixture"}  # names that a reader replaces


def commands() -> list[list[str]]:
    """What follows `peclr` in each command of a code block."""
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL))
    lines = re.split(r"\n|&&", blocks.replace("\\\n", " "))
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line[:1] == ["peclr"]]


FITS: Final = [words[1:] for words in commands() if words[0] == "fit"]
OTHERS: Final = [words for words in commands() if words[0] != "fit"]


@pytest.mark.parametrize("words", FITS, ids=" ".join)
def test_what_it_fits_parses(words: list[str], parse: Parse) -> None:
    option, config, *rest = words
    assert option == "--config"
    parse([option, str(find_config(STAND_FOR.get(config, config))), *rest])


@pytest.mark.parametrize("name", sorted({words[0] for words in OTHERS}))
def test_other_commands_have_their_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = {word.partition("=")[0] for words in OTHERS if words[0] == name for word in words if word[:2] == "--"}
    with pytest.raises(SystemExit):
        main([name, "--help"])
    known = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    assert {option for option in given if not option.startswith("--data.")} <= known


def test_the_table_of_labeled_sets_has_all_that_are_read() -> None:
    rows = README.partition("\n## Labeled sets\n")[2].partition("\n## ")[0].splitlines()
    cells = [[cell.strip(" `") for cell in row.split("|")[1:4]] for row in rows if row.startswith("| `")]
    readers = {name: layout.reader.rpartition(".")[2] for name, layout in LAYOUTS.items()}
    assert {name: reader for name, _, reader in cells} == readers


def test_links_lead_to_sections_and_files() -> None:
    titles = re.findall(r"^##? (.*)$", README, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert {link for link in links if link[0] == "#" and link[1:] not in anchors} == set()
    assert {link for link in links if link[0] != "#" and not (FOLDER / link).exists()} == set()
