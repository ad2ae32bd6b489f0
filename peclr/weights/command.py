"""`peclr weights`: list what others have published, and fetch it on request. Imports nothing heavy."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from peclr.options import CommandParser, UsageError, did_you_mean
from peclr.weights.catalog import CACHE_VARIABLE, Published, cache_folder, catalog
from peclr.weights.store import get, read_record

_USES: Final = {
    "pose_net": "Pose networks, ready to use: peclr predict NAME IMAGE, peclr evaluate NAME, peclr export NAME",
    "encoder": "Encoders, to fine-tune: peclr fit --config finetune --model.weights=NAME; peclr export NAME",
    "detector": "Detectors, for hands in whole images: taken by themselves once they are here",
}
_EPILOG: Final = f"""\
Without anything else, it lists what there is. Nothing is ever downloaded but by `peclr weights get NAME --accept`;
a cut download goes on where it ended. Files are kept in the user's folder for caches, or where {CACHE_VARIABLE} says.
Where there is no network, fetch the address of the file elsewhere, and give what came:
peclr weights get NAME --file FILE
"""


def weights_main(arguments: Sequence[str]) -> int:
    """Run `peclr weights`; returns 0, or 1 where terms were stated and nothing was done."""
    options = _parser().parse_args(arguments)
    if options.action is None and not options.accept and options.file is None:
        entries = [_described(one) for one in catalog().values()] if options.format == "json" else None
        print(_table() if entries is None else json.dumps(entries, indent=2))
        return 0
    published = catalog().get(options.name)
    if options.action != "get" or options.name is None:
        name = options.name or (options.action if options.action in catalog() else "NAME")
        raise UsageError(f"expected: peclr weights get {name}\n`peclr weights` lists what there is")
    if published is None:
        meant = did_you_mean(options.name, catalog())
        raise UsageError(f"no published weights are called {options.name}{meant}\n`peclr weights` lists what there is")
    if options.file is None and published.path.is_file():
        print(published.path)
        return 0
    print(_terms(published))
    if options.file is None and not options.accept:
        print(f"\nNothing was downloaded. Who accepts these terms: peclr weights get {published.name} --accept")
        return 1
    print(f"\n{_put(published, options.file)}")
    return 0


def _put(published: Published, given: Path | None) -> str:
    """Get it, or take it from a file; its sum, and where it is now."""
    by_hand = f", or fetch it elsewhere, and: peclr weights get {published.name} --file FILE"
    try:
        path = get(published, given)
    except (ValueError, ConnectionError) as error:
        raise type(error)(f"{error}; see {published.homepage}{'' if given else by_hand}") from error
    record = read_record(published)
    assert record is not None
    agrees = "which begins as published" if published.sha256 else "the files in it are as published"
    return f"SHA-256 {record.sha256}, {agrees if record.is_checked else 'none is published to compare it with'}\n{path}"


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="peclr weights",
        description="List weights that others have published, with their licenses, or get one.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("action", nargs="?", metavar="get", help="state the terms of one; with --accept, download it")
    add("name", nargs="?", metavar="NAME", help="one of those that are listed without any words")
    add("--accept", action="store_true", help="its terms: download it into the cache")
    add("--file", type=Path, metavar="FILE", help="take it from here, where it was fetched otherwise")
    how = "of the list: for people, or for programs (default: %(default)s)"
    add("--format", choices=["text", "json"], default="text", help=how)
    return parser


def _table() -> str:
    lines = []
    for use, heading in _USES.items():
        lines.append(f"{heading}\n")
        for one in catalog().values():
            if one.use == use:
                size, here = _size(one), "here" if one.path.is_file() else ""
                lines.append(f"  {one.name:<22} {one.license:<12} {size:>7}  {here:<4}  {one.what}")
        lines.append("")
    lines.append(f"?: its host does not say. Kept in {cache_folder()}; `peclr weights get NAME` states the terms.")
    return "\n".join(lines)


def _size(published: Published) -> str:
    size = published.size if published.url else published.path.stat().st_size
    return "?" if size is None else f"{size / 1e6:,.0f} MB"


def _terms(published: Published) -> str:
    size = "of a size that its host does not say" if published.size is None else f"about {_size(published)}"
    return (
        f"{published.name}: {published.what}\n"
        f"license  {published.license}\n"
        f"terms    {published.terms}\n"
        f"from     {published.url}, {size}\n"
        f"see      {published.homepage}\n"
        f"to       {published.path}"
    )


def _described(published: Published) -> dict[str, Any]:
    """An entry of the list, for programs."""
    record = read_record(published) if (is_here := published.path.is_file()) else None
    here = {"path": str(published.path) if is_here else None, "record": record and asdict(record)}
    return asdict(published) | here
