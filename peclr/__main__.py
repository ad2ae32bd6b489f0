"""`python -m peclr`: chooses the subcommand; heavy imports happen only in the one that needs them."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from types import FrameType

from peclr import __version__
from peclr.options import expand_words
from peclr.shipped import configs_main, find_configs

TRAINERS = ("fit", "validate", "test")
TRACEBACK_VARIABLE = "PECLR_TRACEBACK"  # set, it shows where an error is from


@dataclass(frozen=True)
class Subcommand:
    """One word after `peclr`: what it does, for `--help`, and the function that does it."""

    summary: str
    run: Callable[[list[str]], int]


def _lightning(subcommand: str) -> Callable[[list[str]], int]:
    def run(arguments: list[str]) -> int:
        from peclr.cli import run_lightning

        return run_lightning([subcommand, *arguments])

    return run


def _synth(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="peclr synth", description="Render hands in the layout of FreiHAND.")
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--train", type=int, required=True, metavar="N", help="unique training hands")
    parser.add_argument("--eval", type=int, required=True, metavar="M", help="evaluation hands")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: %(default)s)")
    parser.add_argument("--size", type=int, default=224, help="image side in pixels (default: %(default)s)")
    parser.add_argument("--versions", type=int, default=4, help="images of each training hand (default: 4)")
    parser.add_argument("--workers", type=int, default=None, help="processes (default: one per core)")
    options = parser.parse_args(arguments)

    from peclr.synthetic.writer import write_freihand_layout

    summary = write_freihand_layout(
        options.out,
        train=options.train,
        evaluation=options.eval,
        seed=options.seed,
        size=options.size,
        versions=options.versions,
        workers=options.workers,
    )
    print(
        f"{summary.training_hands} training and {summary.evaluation_hands} evaluation hands, {summary.images} images "
        f"in {summary.seconds:.1f} s: {summary.out}"
    )
    return 0


def _deferred(module: str, function: str) -> Callable[[list[str]], int]:
    """The entry point of a module that is imported only when it runs."""

    def run(arguments: list[str]) -> int:
        entry: Callable[[list[str]], int] = getattr(import_module(module), function)
        return entry(arguments)

    return run


SUBCOMMANDS = {
    "fit": Subcommand("pre-train or fine-tune with a config: fit --config pretrain_peclr", _lightning("fit")),
    "validate": Subcommand("score a checkpoint on the validation split", _lightning("validate")),
    "test": Subcommand("score a checkpoint on the evaluation split", _lightning("test")),
    "evaluate": Subcommand(
        "score a run, or anybody's predictions, as FreiHAND's server does",
        _deferred("peclr.evaluate.command", "evaluate_main"),
    ),
    "predict": Subcommand(
        "find hands on your own images, videos or camera: JSON and overlays",
        _deferred("peclr.predict.command", "predict_main"),
    ),
    "export": Subcommand(
        "write weights for others: torchvision, safetensors, ONNX",
        _deferred("peclr.checkpoints.command", "export_main"),
    ),
    "sweep": Subcommand(
        "run a search written for W&B, on one machine or several, without an account",
        _deferred("peclr.sweeps.command", "sweep_main"),
    ),
    "configs": Subcommand("list the configs that come with peclr, or copy one for editing", configs_main),
    "synth": Subcommand("render hands with exact labels in FreiHAND's layout", _synth),
    "inspect": Subcommand(
        "draw the views that a config trains on, and their geometry undone",
        _deferred("peclr.drawing.views", "inspect_main"),
    ),
    "report": Subcommand(
        "make one page of runs, evaluations and result tables: tables, curves, hands to turn",
        _deferred("peclr.report.command", "report_main"),
    ),
    "mine": Subcommand(
        "find the hands of a data set that are most alike, for pairs", _deferred("peclr.mining.command", "mine_main")
    ),
    "prepare": Subcommand(
        "check a data set once and pack its labels, or its crops",
        _deferred("peclr.data.prepare.command", "prepare_main"),
    ),
    "doctor": Subcommand(
        "say what is there, what is wrong, and what fixes it", _deferred("peclr.data.prepare.doctor", "doctor_main")
    ),
}


def _usage() -> str:
    width = max(map(len, SUBCOMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {sub.summary}" for name, sub in SUBCOMMANDS.items())
    return (
        "usage: peclr [--help] [--version] SUBCOMMAND ...\n\n"
        "Self-supervised pre-training (SimCLR, PeCLR) and fine-tuning for 3D hand pose.\n\n"
        f"subcommands:\n{rows}\n\n`peclr SUBCOMMAND --help` lists its options."
    )


class Stopped(BaseException):
    """SIGTERM has come: raised as Ctrl-C is, so that what is half written goes."""


@contextmanager
def _stoppable() -> Iterator[None]:
    """Raise `Stopped` in the main thread on SIGTERM; once, as cleaning up must not be stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _reason(error: Exception) -> str:
    """What was wrong, in one line."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        arguments: what follows `peclr` on the command line; None reads sys.argv.

    Returns:
        The exit status: 0 on success, 2 for input that the user can fix, 130 after Ctrl-C, 143 after SIGTERM.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be any bytes
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_usage())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"peclr {__version__}")
        return 0
    if words[0] not in SUBCOMMANDS:
        print(f"peclr: no subcommand {words[0]!r}; there are: {', '.join(SUBCOMMANDS)}", file=sys.stderr)
        return 2
    name, words = words[0], find_configs(expand_words(words[1:]))
    # training has handlers of its own, which save first
    stoppable = nullcontext() if name in TRAINERS else _stoppable()
    try:
        with stoppable:
            return SUBCOMMANDS[name].run(words)
    except (ValueError, OSError) as error:
        # what the user can fix, in one line; anything else is a bug and keeps its traceback
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        print(f"peclr {name}: {_reason(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"peclr {name}: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except Stopped:
        print(f"peclr {name}: stopped by SIGTERM", file=sys.stderr)
        return 128 + signal.SIGTERM


if __name__ == "__main__":
    sys.exit(main())
