"""Whether a checkpoint and the run that is to go on from it belong together."""

import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from peclr.runs.about import KEY, About
from peclr.runs.aliases import ABSENT
from peclr.runs.durable import read_checkpoint
from peclr.runs.layout import listed, read_results, read_run_config
from peclr.untrusted.binary import naming_damage
from peclr.untrusted.text import shown

# What decides the weights of a run …
_SECTIONS = ("seed_everything", "model", "data")
_TRAINER_KEYS = ("trainer.accumulate_grad_batches", "trainer.precision")
# … but for: data that have moved, how many processes load them, where the first weights were from, and what data say
_FREE = {"data": ("root", "num_workers"), "model": ("weights", "view_size")}


# What may be left to the amount of data, which may have grown since.
AUTOMATIC = ("data.init_args.batch_size", "data.init_args.val_fraction", "trainer.accumulate_grad_batches")


def changed_values(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Differences between two configs of a run, in all that decides its weights: key → value before and value now.

    What is left to the amount of data now is no difference: it will be as it was, see `settled`.
    """
    old, new = ABSENT | dict(_decisive(before)), ABSENT | dict(_decisive(now))
    keys = sorted(key for key in old.keys() | new.keys() if key not in AUTOMATIC or new.get(key) != "auto")
    return {key: (old.get(key), new.get(key)) for key in keys if not _is_same(key, old.get(key), new.get(key))}


def settled(checkpoint: Path) -> dict[str, Any]:
    """Values by key that the run of a checkpoint had of what may be left to the amount of data."""
    before = dict(_flat(read_run_config(checkpoint)))
    return {key: before[key] for key in AUTOMATIC if before.get(key) not in (None, "auto")}


def check_fit(checkpoint: Path, model: nn.Module, config: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Refuse a checkpoint of other classes or weights than the model made with `config`; else `changed_values`."""
    content = read_checkpoint(checkpoint)
    before = read_run_config(checkpoint)
    changed = changed_values(before, config) if before else _contradicted(content, checkpoint, config)
    differs = "".join(f"\n  {key}: {before} there, {now} here" for key, (before, now) in changed.items())
    differs = f"; its run's config differs:{differs}" if differs else ""
    if "loops" not in content:
        raise ValueError(f"{checkpoint}: expected a checkpoint of a run, found {listed(content)}")
    state, expected = content["state_dict"], model.state_dict()
    strange = sorted(state.keys() ^ expected.keys())
    strange += [key for key in expected.keys() & state.keys() if state[key].shape != expected[key].shape]
    if strange:
        raise ValueError(f"{checkpoint}: does not fit the model, in {listed(strange)}{differs}")
    if any(key.startswith("model.") and key.endswith("class_path") for key in changed):
        raise ValueError(f"{checkpoint}: is from a run of other classes{differs}")
    return changed


def has_ended(checkpoint: Path, trainer: pl.Trainer) -> bool:
    """Whether a run whose results are written ended with this checkpoint, and is to be no longer now."""
    content, written = read_checkpoint(checkpoint), read_results(Path(trainer.default_root_dir))
    with naming_damage(checkpoint, "checkpoint of a run"):
        epochs = content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    ends = ((content["global_step"], trainer.max_steps), (epochs, trainer.max_epochs))
    same = (written.get("stage"), written.get("step")) == ("fit", content["global_step"])
    return same and any(end is not None and 0 <= end <= now for now, end in ends)


def restore(trainer: pl.Trainer) -> None:
    """Load the state of loops, optimizers and schedules before Lightning does, which names no file when it cannot.

    Of schedules it also takes one that is not whole, and begins anew.
    """
    connector = trainer._checkpoint_connector
    if not (content := connector._loaded_checkpoint):
        return
    with naming_damage(Path(str(trainer.ckpt_path)), "checkpoint to go on from"):
        schedules = [config.scheduler for config in trainer.lr_scheduler_configs]
        for key, used in (("optimizer_states", trainer.optimizers), ("lr_schedulers", schedules)):
            if len(found := content[key]) != len(used):
                raise ValueError(f"{key} has {len(found)} entries, expected {len(used)}")
        for schedule, state in zip(schedules, content["lr_schedulers"], strict=True):
            for name in ("last_epoch", "base_lrs") if isinstance(schedule, LambdaLR) else ():
                if not _is_alike(state[name], getattr(schedule, name)):
                    raise ValueError(f"lr_schedulers has {name} {shown(state[name])}")
        connector.restore_training_state()


def _is_alike(value: Any, example: Any) -> bool:
    """Whether a value is of the type of another, and a list of as many."""
    if isinstance(example, list):
        return isinstance(value, list) and len(value) == len(example) and all(map(_is_alike, value, example))
    return type(value) is type(example)


def reschedule(trainer: pl.Trainer) -> None:
    """Follow this run's own schedule from the step it goes on from, and say so where the saved one was at another rate.

    A run that is to end later has a higher rate from here on.
    """
    for config in trainer.lr_scheduler_configs:
        if not isinstance(config.scheduler, LambdaLR):
            continue
        schedule, groups = config.scheduler, config.scheduler.optimizer.param_groups
        factors = [factor(schedule.last_epoch) for factor in schedule.lr_lambdas]
        rates = [base * factor for base, factor in zip(schedule.base_lrs, factors, strict=True)]
        before, now = max(group["lr"] for group in groups), max(rates)
        if trainer.is_global_zero and not math.isclose(before, now, rel_tol=1e-6, abs_tol=1e-12):
            change = f"the learning rate goes from {before:.3g} to {now:.3g} at step {trainer.global_step}"
            reason = "the run is to end at another step than when the checkpoint was saved"
            print(f"peclr: {change}: {reason}", file=sys.stderr)
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate


def _contradicted(content: Mapping[str, Any], checkpoint: Path, now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """`changed_values` for a checkpoint that was taken from its run's folder: against what it says of itself."""
    if KEY not in content:
        return {}
    about = About.read(content[KEY], checkpoint)
    objective = about.objective if about.kind == "pretrain" else None
    model, data = {"objective": objective}, {"view_size": about.view_size}
    said, values = _flat({"model": {"init_args": model}, "data": {"init_args": data}}), dict(_flat(now))
    given = ((key, value, values.get(key, value)) for key, value in said if value is not None)
    return {key: (value, now) for key, value, now in given if not _is_same(key, value, now)}


def settle(fit_loop: dict[str, Any]) -> None:
    """Bring a checkpoint's progress, in place, to where Lightning 2.6 goes on exactly.

    Between an epoch's last batch and its end, it would skip validation, or enter the next epoch without counting it.
    """
    epochs, batches = fit_loop["epoch_progress"], fit_loop["epoch_loop.batch_progress"]
    if epochs["current"]["processed"] == epochs["current"]["started"]:
        return
    if batches["current"]["completed"] == batches["current"]["processed"]:  # validating: again, from its beginning
        begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        validated = {"total": begun, "current": dict.fromkeys(begun, 0), "is_last_batch": False}
        fit_loop["epoch_loop.val_loop.batch_progress"] = validated
    elif batches["is_last_batch"]:  # at the end of its step, as older versions saved: the epoch is done
        for span in ("total", "current"):
            batches[span]["completed"] += 1
            epochs[span]["processed"] += 1
        fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] += 1


def _is_same(key: str, before: Any, now: Any) -> bool:
    """Whether a value is the same; a class of ours goes by the shortest path that offers it, which versions change."""
    ours = key.endswith("class_path") and all(str(value).startswith("peclr.") for value in (before, now))
    return str(before).rpartition(".")[2] == str(now).rpartition(".")[2] if ours else bool(before == now)


def _decisive(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in _flat(config):
        section, name = key.split(".")[0], key.split(".")[-1]
        if key in _TRAINER_KEYS or (section in _SECTIONS and name not in _FREE.get(section, ())):
            yield key, value


def _flat(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(config, list) and any(isinstance(value, Mapping) for value in config):
        for index, value in enumerate(config):
            yield from _flat(value, f"{prefix}.{index}")
    else:
        yield prefix, config
