"""The command line's parser, without what it starts."""

from collections.abc import Callable
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
