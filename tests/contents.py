"""What a folder holds, to compare it with another or with itself before."""

import hashlib
from pathlib import Path


def contents(folder: Path) -> dict[str, str]:
    """The hash of every file below a folder, by its path from there."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
