"""The command line's parser, without what it starts."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonargparse import ArgumentParser, Namespace

import peclr.cli

Parse = Callable[[list[str]], Namespace]


class _Parser(BaseException):
    """Carries the parser out of the command line before it parses."""


@pytest.fixture(scope="session")
def parse() -> Parse:
    """Parses what follows `python -m peclr fit`, configs and options, and makes nothing of what they name.

    The parser is made once, as the command line makes it. Where it would exit, it raises.
    """

    class Stopped(peclr.cli.PeclrCLI):
        def parse_arguments(self, parser: Any, args: Any) -> None:
            raise _Parser(self._subcommand_parsers["fit"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peclr.cli, "PeclrCLI", Stopped)
        with pytest.raises(_Parser) as caught:
            peclr.cli.run_lightning(["fit"])
    parser: ArgumentParser = caught.value.args[0]
    parser.exit_on_error = False

    return parser.parse_args


@pytest.fixture(autouse=True)
def _as_loud_as_before() -> Iterator[None]:
    """Experiments silence Lightning in the processes that work, of which a test may be one."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
