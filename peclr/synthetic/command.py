"""`peclr synth`: render a data set."""

from collections.abc import Sequence
from pathlib import Path

from peclr.options import CommandParser


def synth_main(arguments: Sequence[str]) -> int:
    """Render hands into a new folder; errors as of `write_freihand_layout`."""
    parser = CommandParser(prog="peclr synth", description="Render hands in the layout of FreiHAND.")
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--train", type=int, required=True, metavar="N", help="unique training hands")
    parser.add_argument("--eval", type=int, required=True, metavar="M", dest="evaluation", help="evaluation hands")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: %(default)s)")
    parser.add_argument("--size", type=int, default=224, help="image side in pixels (default: %(default)s)")
    parser.add_argument("--versions", type=int, default=4, help="images of each training hand (default: 4)")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    options = parser.parse_args(arguments)

    from peclr.synthetic.writer import write_freihand_layout

    made = write_freihand_layout(**vars(options))
    print(
        f"{made.training_hands} training and {made.evaluation_hands} evaluation hands, {made.images} images "
        f"in {made.seconds:.1f} s: {made.out}"
    )
    return 0
