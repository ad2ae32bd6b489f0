"""Compare pre-training on real hands: `python -m experiments.real.run hands/`; the same again goes on with it.

The hands are in FreiHAND's layout, with groups, as `peclr collect … --layout freihand --groups FILE` writes them. They
are divided by group, and everything is done twice: as they are, and turned in their images by up to ±90°.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from msgspec import structs

from experiments.real.split import write_split
from experiments.rendered.plan import SIZES, Suite, read_suite
from experiments.rendered.run import add_options, compare, make_hands, status_of

SUITES: Final = Path(__file__).with_name("suites")
_DEFAULT: Final = "pretraining"
TURNS: Final = {"upright": 0.0, "turned": 90.0}  # degrees
_RENDERED: Final = "{rendered}"  # in an arm's overrides: the folder of rendered hands


def with_rendered(suite: Suite, size: str) -> Suite:
    """Fill in the folder of rendered hands, which are rendered first, if an arm needs them."""
    if not any(_RENDERED in word for arm in suite.arms for word in arm.overrides):
        return suite
    folder = str(make_hands(SIZES[size]))
    filled = ((arm, tuple(word.replace(_RENDERED, folder) for word in arm.overrides)) for arm in suite.arms)
    return structs.replace(suite, arms=tuple(structs.replace(arm, overrides=words) for arm, words in filled))


def main(arguments: list[str] | None = None) -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m experiments.real.run", description=__doc__)
    parser.add_argument("data", type=Path, help="folder in FreiHAND's layout, with training_group.json")
    parser.add_argument("--test", type=float, default=0.25, help="fraction of the hands to score on (default: 0.25)")
    parser.add_argument("--suite", default=_DEFAULT, help="a file of experiments/real/suites (default: %(default)s)")
    add_options(parser, "runs/real/SIZE, or runs/real/SUITE-SIZE")
    options = parser.parse_args(arguments)

    def work() -> None:
        suite = read_suite(options.suite, SUITES)
        name = options.size or suite.size
        out = options.out or Path("runs", "real", name if suite.name == _DEFAULT else f"{suite.name}-{name}")
        for kind, turn in TURNS.items():
            hands = out / "hands" / kind
            hands.parent.mkdir(parents=True, exist_ok=True)
            train, evaluation = write_split(options.data, hands, options.test, turn)
            size = replace(SIZES[name], train=train, evaluation=evaluation, versions=1)
            filled = structs.replace(with_rendered(suite, name), title=f"{suite.title}, {kind}")
            compare(filled, size, out / kind, options, f"experiments.real.run hands --suite {suite.name}", hands)
        if suite.score == "test":
            from experiments.real.figure import draw_figure

            print(draw_figure(out))

    return status_of("real", work)


if __name__ == "__main__":
    sys.exit(main())
