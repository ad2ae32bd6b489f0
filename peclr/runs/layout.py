"""A run's folder: what its files are called, which checkpoint it means, and what its config and results say."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from peclr.runs.aliases import renewed, renewed_metrics
from peclr.untrusted.text import read_json, read_yaml, shown, value_at

if TYPE_CHECKING:
    from peclr.data.views.geometric import Border

CHECKPOINTS: Final = "checkpoints"
LAST: Final = "last.ckpt"
PREVIOUS: Final = "previous.ckpt"
BEST: Final = "best.ckpt"
CONFIG: Final = "config.yaml"
METRICS: Final = "metrics.csv"
RESULTS: Final = "results.json"
RESUMED: Final = "resumed-"  # and a time: where older versions put what a run measured since it went on
_KEYS_SHOWN = 6
_LARGEST_VIEW: Final = 4096  # a batch of larger ones takes all memory


def last_checkpoint(run: Path) -> Path:
    """The place of a run's last checkpoint, whether it is there or not."""
    return run / CHECKPOINTS / LAST


def metrics_files(run: Path) -> list[Path]:
    """Files of a run's metrics: its own, and those of each time that it went on."""
    found = [run / METRICS, *sorted(run.glob(f"{RESUMED}*/{METRICS}"))]
    return [path for path in found if path.is_file()]


def newest_checkpoint(run: Path) -> Path | None:
    """The last that a run saved: by itself, or by Lightning for SLURM. Without hard links it may be the previous."""
    own = (run / CHECKPOINTS / name for name in (LAST, PREVIOUS))
    found = [path for path in (*own, *run.glob("hpc_ckpt_*.ckpt")) if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def find_checkpoint(run: Path | str) -> Path:
    """The file that `run` means: itself, or of a folder the last, best or only checkpoint (else ValueError)."""
    run = Path(run)
    if not run.is_dir():
        return run
    folder = run / CHECKPOINTS if (run / CHECKPOINTS).is_dir() else run
    for name in (LAST, BEST):
        if (folder / name).is_file():
            return folder / name
    found = sorted(folder.glob("*.ckpt"))
    if not found:
        raise FileNotFoundError(f"{run}: no such checkpoint as {CHECKPOINTS}/{LAST} in this folder")
    if len(found) > 1:
        raise ValueError(f"{run}: holds several checkpoints; name one of {', '.join(map(str, found))}")
    return found[0]


def run_folder(checkpoint: Path) -> Path | None:
    """The folder of the run that a checkpoint is from; None if it stands alone."""
    folders = (checkpoint.parent, checkpoint.parent.parent)
    return next((folder for folder in folders if (folder / CONFIG).is_file()), None)


def read_run_config(checkpoint: Path) -> dict[str, Any]:
    """The config that the run of a checkpoint was started with; empty for a checkpoint that stands alone."""
    if (folder := run_folder(checkpoint)) is None:
        return {}
    config = read_yaml(path := folder / CONFIG)
    if not isinstance(config, dict):
        raise ValueError(f"{path}: expected the mapping of a run's config, found a {type(config).__name__}")
    return cast("dict[str, Any]", renewed(config))


def read_results(run: Path) -> dict[str, Any]:
    """The results of a run that has succeeded: stage, epoch, step and metrics; empty if it has not."""
    try:
        results = read_json(run / RESULTS)
    except (FileNotFoundError, ValueError):  # a kill leaves half of it
        return {}
    if not isinstance(results, dict):
        return {}
    metrics = results.get("metrics")
    return results | {"metrics": renewed_metrics(metrics)} if isinstance(metrics, dict) else results


def view_size_of_run(checkpoint: Path) -> int | None:
    """Side in pixels of the views in the config of a checkpoint's run; None if there is none."""
    config = read_run_config(checkpoint)
    for part in ("data", "model"):
        arguments = value_at(config, part, "init_args") or {}
        if "view_size" in arguments:
            return check_view_size(arguments["view_size"], f"{run_folder(checkpoint)}/{CONFIG}: {part}")
    return None


def check_view_size(value: Any, where: Path | str) -> int:
    """Return a number of pixels that something says a view has; ValueError if that is none."""
    if type(value) is not int or not 1 <= value <= _LARGEST_VIEW:
        wanted = f"expected a whole number of pixels, at least 1 and at most {_LARGEST_VIEW}"
        raise ValueError(f"{where}: view_size {shown(value)}, {wanted}")
    return value


def check_views(border: Any, crop_margin: Any, where: Path | str) -> tuple["Border | None", float | None]:
    """Return what something says views show: border and margin, None if it does not; ValueError if that is neither."""
    if border is not None:
        from peclr.data.views.geometric import check_border  # `--help` of what reads runs must not import OpenCV

        check_border(border, where)
    if crop_margin is not None and not (type(crop_margin) in (int, float) and 0 < crop_margin < math.inf):
        raise ValueError(f"{where}: crop_margin {shown(crop_margin)}, expected a number greater than 0")
    return border, crop_margin


def views_of_run(checkpoint: Path) -> tuple["Border | None", float | None]:
    """Border and margin of the views in the config of a checkpoint's run; None where it does not say."""
    arguments = value_at(read_run_config(checkpoint), "data", "init_args") or {}
    where = f"{run_folder(checkpoint)}/{CONFIG}: data"
    return check_views(arguments.get("border"), arguments.get("crop_margin"), where)


def listed(keys: Iterable[object]) -> str:
    """The first few, and how many more."""
    names = [str(key) for key in keys]
    more = f" and {len(names) - _KEYS_SHOWN} more" if len(names) > _KEYS_SHOWN else ""
    return ", ".join(names[:_KEYS_SHOWN]) + more or "nothing"
