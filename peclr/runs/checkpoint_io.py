"""Lightning's way to the files of `peclr.runs.durable`, whatever the strategy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning.plugins import TorchCheckpointIO

from peclr.runs.durable import read_checkpoint, write_checkpoint


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically and checks them when it reads them.

    Lightning's own goes through a temporary file that may lie on another file system, holds the checkpoint in memory
    once more, and does not wait for the disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write; errors as `write_checkpoint`.

        Args:
            checkpoint: what Lightning wants to keep.
            path: the file.
            storage_options: not supported, as in Lightning's own.
        """
        if storage_options is not None:
            raise TypeError(f"{type(self).__name__} takes no storage_options, got {storage_options}")
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read with weights_only, whatever is asked for; errors as `read_checkpoint`."""
        return read_checkpoint(Path(path), map_location or "cpu")
