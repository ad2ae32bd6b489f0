"""Choices that one can see: help of sections and classes, with a text for every option of ours."""

import re
from collections.abc import Iterator

import pytest

from peclr.__main__ import main
from peclr.cli import _options_at_top
from peclr.guide.help import help_text
from peclr.guide.hints import Option, base_of, choices_of, element, is_plain, options_of
from peclr.guide.listing import section_help

TOP = _options_at_top("fit")


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["fit", *words]) == 0
    return capsys.readouterr().out


def test_models_and_their_objectives_and_encoders_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--model.help")
    for name in ("FinetuneModule", "PretrainModule", "ResNetEncoder", "SimCLR", "PeCLR", "AffinePeCLR", "SiMHand"):
        assert re.search(rf"^  {name}  +\w", text, flags=re.MULTILINE), name
    assert not re.search("torch|RecipeModule|LightningModule", text.replace("torchvision", ""))
    assert len(text.splitlines()) < 40


def test_data_modules_and_where_images_come_from_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--data.help")
    for name in ("LabeledHandDataModule", "PairedViewDataModule", "FreiHAND", "ImageFiles", "Videos", "Similar"):
        assert re.search(rf"^  {name}  +\w", text, flags=re.MULTILINE), name
    assert "SelectedHands" not in text


def test_options_of_one_are_listed_with_texts_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--model.objective.help", "PeCLR")
    assert "  --model.objective.temperature\n        Divides similarities" in text
    assert "default: 0.5" in text
    assert "--model.lars\n        wrap the optimizer in LARS" in shown(capsys, "--model.help=PretrainModule")
    assert "learning rate" in shown(capsys, "--model.optimizer.help", "Adam")


def test_help_of_what_there_is_not_names_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--model.help", "Pretrain"]) == 2
    shown = capsys.readouterr().err
    assert "did you mean PretrainModule?\nthere are: FinetuneModule, " in shown
    assert main(["fit", "--model.encodr.help"]) == 2
    assert "--model.encodr.help: no option that takes a class" in capsys.readouterr().err


def all_options(hint: object, seen: set[type]) -> Iterator[tuple[type, str, Option]]:
    """Options of the classes of ours that a config may name for a hint, at any depth."""
    base = base_of(element(hint) or hint)
    if base is None:
        return
    for made in [base] if is_plain(base) else choices_of(base).values():
        if made in seen or not made.__module__.startswith("peclr."):
            continue
        seen.add(made)
        for name, option in options_of(made).items():
            yield made, name, option
            yield from all_options(option.hint, seen)


def test_every_option_of_ours_has_a_text() -> None:
    seen = set[type]()
    options = [one for option in TOP.values() for one in all_options(option.hint, seen)]
    names = {name for _, name, _ in options}
    assert {"temperature", "translation", "batch_size", "every_minutes", "freeze_encoder"} <= names
    assert [f"{made.__name__}.{name}" for made, name, option in options if len(option.help) < 2] == []
    assert len(seen) > 25
    assert [made.__name__ for made in seen if len((made.__doc__ or "").partition("\n")[0]) < 20] == []


@pytest.mark.parametrize("subcommand", ["fit", "validate", "test"])
def test_the_short_help_names_options_that_there_are(subcommand: str) -> None:
    text = help_text(subcommand)
    assert len(text.splitlines()) < 45
    known = {"model": ("PretrainModule", "FinetuneModule"), "data": ("PairedViewDataModule",)}
    for option in set(re.findall(r"--([a-z_.]+)", text)) - {"config", "print_config", "help-all", "help"}:
        section, _, rest = option.removesuffix(".help").partition(".")
        assert section in _options_at_top(subcommand), option
        name, *inside = [part for part in rest.split(".") if part != "init_args"]
        made = [section_help(subcommand, [section], one, TOP) for one in known.get(section, (None,))] if name else []
        assert not name or any(f"--{section}.{name}\n" in one for one in made), option
        assert len(inside) <= 1
