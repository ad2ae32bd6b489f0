"""Weights by name: those that others have published, where they are kept, how to get them; the one that comes along."""

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, Literal

from peclr.options import did_you_mean

CACHE_VARIABLE: Final = "PECLR_CACHE"
BUILT_IN: Final = "peclr-small"  # the network that comes with the package: its file and its card lie beside this one
_HERE: Final = Path(__file__).parent
_LIST: Final = "published.toml"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A file that others have published, or that comes with the package, as `published.toml` describes it."""

    name: str
    what: str
    use: Literal["encoder", "pose_net", "detector"]
    license: str
    terms: str  # in a sentence or two, for whoever has to accept them
    homepage: str
    url: str = ""  # empty: it comes with the package
    file: str  # its name once unpacked
    architecture: str | None = None
    size: int | None = None  # bytes of the download, about; None where its host does not say
    sha256: str | None = None  # of the download, or its beginning; None where none is published
    sha256_inside: Mapping[str, str] = field(default_factory=dict)  # of files in it

    @property
    def packed(self) -> bool:
        """Whether the download is an archive that the file is taken from."""
        return self.url.endswith((".tar.gz", ".zip"))

    @property
    def folder(self) -> Path:
        """Where it is kept, or will be."""
        return cache_folder() / self.name if self.url else _HERE

    @property
    def path(self) -> Path:
        """Its file in the cache, there or not."""
        return self.folder / self.file

    def missing(self) -> str:
        """The advice for whoever has not got it."""
        get = f"peclr weights get {self.name}"
        by_hand = f"without network, fetch {self.url} elsewhere, then `{get} --file FILE`"
        return f"{self.name} is not in the cache {cache_folder()}: `{get} --accept` downloads it; {by_hand}"


@cache
def catalog() -> Mapping[str, Published]:
    """All files that are known, by name."""
    entries = tomllib.loads(Path(__file__).with_name(_LIST).read_text(encoding="utf-8"))
    known = (Published(name=name, **entry) for name, entry in entries.items())
    return {one.name: one for one in known if one.url or one.path.is_file()}


def cache_folder() -> Path:
    """The user's folder for published files: `PECLR_CACHE`, or else in the platform's for caches."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("peclr", appauthor=False)


def find_weights(given: Path | str) -> Path:
    """The path given, or where nothing is there, the cached file of that published name.

    What is no published name comes back as it is. FileNotFoundError says how to get what is not in the cache, or which
    name is near; ValueError, that the name is no network's.
    """
    path = Path(given)
    published = catalog().get(str(given))
    if path.exists():
        if published is not None:
            _say_once(f"peclr: took {path} of this folder, not the published weights of that name")
        return path
    if published is not None:
        if published.use == "detector":
            raise ValueError(f"{given} finds hands in images; it has no weights of an encoder or a pose network")
        if not published.path.is_file():
            raise FileNotFoundError(published.missing())
        return published.path
    if str(given) == BUILT_IN:
        raise FileNotFoundError(f"{BUILT_IN}: this copy of peclr comes without it; name a run or a checkpoint")
    if meant := did_you_mean(str(given), catalog()):
        raise FileNotFoundError(f"{given}: no such file, and no published weights of that name{meant}")
    return path


@cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr)
