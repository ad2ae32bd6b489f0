"""`python -m peclr`: chooses the subcommand; heavy imports happen only in the one that needs them."""

import gc
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from io import TextIOWrapper
from types import FrameType, ModuleType
from typing import Any, TextIO, cast

from peclr import __version__
from peclr.options import UsageError, did_you_mean, expand_words
from peclr.shipped import find_configs
from peclr.untrusted.text import printable

TRAINERS = ("fit", "validate", "test")
TRACEBACK_VARIABLE = "PECLR_TRACEBACK"  # set, it shows where an error is from


# what each does, for `--help`, and module:function that does it, imported only then
SUBCOMMANDS = {
    "fit": ("pre-train or fine-tune with a config: fit --config pretrain_peclr", "peclr.cli:run_lightning"),
    "validate": ("score a checkpoint on the validation split", "peclr.cli:run_lightning"),
    "test": ("score a checkpoint on the evaluation split", "peclr.cli:run_lightning"),
    "evaluate": ("score a run, or predictions, as FreiHAND's server does", "peclr.evaluate.command:evaluate_main"),
    "predict": ("find hands on images, videos or camera: JSON and overlays", "peclr.predict.command:predict_main"),
    "export": ("write weights for others: torchvision, safetensors, ONNX", "peclr.checkpoints.command:export_main"),
    "weights": ("list weights that others have published, or get one", "peclr.weights.command:weights_main"),
    "sweep": ("run a search written for W&B, on any machines, without an account", "peclr.sweeps.command:sweep_main"),
    "configs": ("list the configs that come with peclr, or copy one for editing", "peclr.shipped:configs_main"),
    "synth": ("render hands with exact labels in FreiHAND's layout", "peclr.synthetic.command:synth_main"),
    "inspect": (
        "draw the views that a config trains on, and their geometry undone",
        "peclr.drawing.views:inspect_main",
    ),
    "report": (
        "make one page of runs, evaluations and tables: curves, hands to turn",
        "peclr.report.command:report_main",
    ),
    "collect": ("make a data set of the hands in images and videos", "peclr.collect.command:collect_main"),
    "mine": ("find the hands of a data set that are most alike, for pairs", "peclr.mining.command:mine_main"),
    "prepare": ("check a data set once and pack its labels, or its crops", "peclr.data.prepare.command:prepare_main"),
    "doctor": ("say what is there, what is wrong, and what fixes it", "peclr.data.prepare.doctor:doctor_main"),
}


def _usage() -> str:
    width = max(map(len, SUBCOMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {summary}" for name, (summary, _) in SUBCOMMANDS.items())
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


class _Printable:
    """An output on which names of files, runs and tensors cannot set the title, or move the cursor but by `allowed`."""

    def __init__(self, out: TextIO, allowed: str) -> None:
        self._out, self._others = out, re.compile(f"[^{allowed}]+")

    def write(self, text: str) -> int:
        return self._out.write(self._others.sub(lambda found: printable(found[0]), text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)


# what others call a subcommand
_OTHER_NAMES = {
    **dict.fromkeys(("train", "pretrain", "pre-train", "finetune", "fine-tune", "run"), "fit"),
    **dict.fromkeys(("eval", "score", "benchmark"), "evaluate"),
    **dict.fromkeys(("infer", "inference", "detect", "demo"), "predict"),
    **dict.fromkeys(("render", "generate"), "synth"),
    **dict.fromkeys(("check", "verify"), "doctor"),
}


# what PyTorch writes before the message of an error in a process that loads
_FROM_WORKER = re.compile(r"\ACaught \w+ in DataLoader worker process \d+\.\nOriginal Traceback.*\n[\w.]+: ", re.DOTALL)


def _reason(error: Exception) -> str:
    """The reason of an error: in one line, but for a `UsageError`, which has its own."""
    if isinstance(error, UsageError):
        return "\n".join(map(printable, str(error).split("\n")))
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return printable(f"{error.filename}: {error.strerror}")
    text = _FROM_WORKER.sub("", str(error))
    return printable(" ".join(text.split()))


def _imported(name: str) -> ModuleType:
    """A module, whose imports are not looked through for garbage: they stay, and looking takes a fifth of the start."""
    if name in sys.modules or not gc.isenabled():
        return import_module(name)
    gc.disable()
    try:
        module = import_module(name)
        gc.freeze()
    finally:
        gc.enable()
    return module


def _run(name: str, words: list[str]) -> int:
    """Run a subcommand that there is; its exit status."""
    if name in TRAINERS:
        from peclr.guide.help import help_text
        from peclr.guide.words import check_words

        if {"-h", "--help"} & set(words):
            print(help_text(name))
            return 0
        check_words(name, words)
        words = [name, *("--help" if word == "--help-all" else word for word in words)]
    module, _, function = SUBCOMMANDS[name][1].partition(":")
    run: Callable[[list[str]], int] = getattr(_imported(module), function)
    if name in TRAINERS:  # their bars move the cursor
        return run(words)
    out, log = _Printable(sys.stdout, "\n"), _Printable(sys.stderr, "\n\r")  # bars begin their line again
    with redirect_stdout(cast("TextIO", out)), redirect_stderr(cast("TextIO", log)):
        return run(words)


def _main(words: list[str]) -> int:
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_usage())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"peclr {__version__}")
        return 0
    name = words[0]
    if name not in SUBCOMMANDS:
        meant = f"; did you mean {_OTHER_NAMES[name]}?" if name in _OTHER_NAMES else did_you_mean(name, SUBCOMMANDS)
        print(printable(f"peclr: no subcommand {name!r}{meant}"), file=sys.stderr)
        print(f"there are: {', '.join(SUBCOMMANDS)}", file=sys.stderr)
        return 2
    try:
        with _stoppable():  # until training has handlers of its own, which save first
            return _run(name, find_configs(expand_words(words[1:])))
    except (ValueError, OSError) as error:
        # what the user can fix, in one line; anything else is a bug and keeps its traceback
        if os.environ.get(TRACEBACK_VARIABLE) or (isinstance(error, BrokenPipeError) and _reader_has_gone()):
            raise
        print(f"peclr {name}: {_reason(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"peclr {name}: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except Stopped:
        print(f"peclr {name}: stopped by SIGTERM", file=sys.stderr)
        return 128 + signal.SIGTERM


def _reader_has_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any longer."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in asked.poll(0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; its exit status: 0, 2 for input that users can fix, 130 after Ctrl-C, 143 after SIGTERM."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be any bytes
    try:
        try:
            return _main(words)
        finally:
            if isinstance(sys.stdout, TextIOWrapper):
                sys.stdout.flush()
    except BrokenPipeError:  # as of `| head`, which has read enough; Python would complain at its end
        if not _reader_has_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
