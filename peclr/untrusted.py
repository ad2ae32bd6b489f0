"""Read files that are not ours: JSON, YAML, tables, arrays, zips and weights, as plain data or not at all.

Every function returns checked plain data, or raises one ValueError that names the file and the reason (OSError where
the file cannot be opened). Nothing in a file runs, and a small file cannot take the memory of a large one: what it
declares and what it unpacks to have limits far above honest use, which an environment variable raises.
"""

import csv
import gc
import importlib.util
import io
import json
import math
import os
import pickle
import tokenize
import zipfile
import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

MAX_MB_VARIABLE: Final = "PECLR_MAX_MB"  # of a file once unpacked, and of a JSON, YAML or CSV file
MAX_MEGAPIXELS_VARIABLE: Final = "PECLR_MAX_MEGAPIXELS"
_MAX_MB: Final = 1_000.0  # pred.json of FreiHAND has 200, its training_xyz.json 40
_MAX_MEGAPIXELS: Final = 500.0  # 1.5 GB as RGB; the largest cameras have 400
_MAX_YAML_MB: Final = 10.0  # PyYAML needs 100 times the text
_MAX_YAML_NODES: Final = 200_000  # aliases followed
_MAX_YAML_DEPTH: Final = 64
_MAX_DIMENSIONS: Final = 8
_SEPARATORS: Final = ",;\t"


def limit(variable: str, default: float) -> float:
    """Read a limit from the environment; ValueError if it is not a positive number."""
    text = os.environ.get(variable, "")
    try:
        value = float(text or default)
    except ValueError:
        value = math.nan
    if not value > 0:
        raise ValueError(f"{variable}={text!r} is not a positive number")
    return value


def check_megapixels(width: int, height: int, where: object) -> None:
    """Refuse an image whose header declares more pixels than any camera has."""
    most = limit(MAX_MEGAPIXELS_VARIABLE, _MAX_MEGAPIXELS)
    if width * height > most * 1e6:
        raise ValueError(
            f"{where}: {width} × {height} px are more than {most:g} megapixels; "
            f"{MAX_MEGAPIXELS_VARIABLE} raises the limit"
        )


def check_size(size: float, where: object, most_mb: float | None = None) -> None:
    """Refuse bytes, on disk or once unpacked, beyond the limit (`PECLR_MAX_MB`, or `most_mb` of this kind of file)."""
    most = limit(MAX_MB_VARIABLE, _MAX_MB) if most_mb is None else most_mb
    if size > most * 1e6:
        raised = f"; {MAX_MB_VARIABLE} raises the limit" if most_mb is None else ""
        raise ValueError(f"{where}: {size / 1e6:,.1f} MB are more than {most:,.0f} MB{raised}")


def read_bytes(path: Path, most_mb: float | None = None) -> bytes:
    """Read a whole file that is not larger than the limit; a device or a pipe is no file."""
    if not path.is_file():
        if path.exists():
            raise ValueError(f"{path}: not a file")
        raise FileNotFoundError(f"{path}: no such file")
    check_size(path.stat().st_size, path, most_mb)
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """Read a JSON file; errors as `parse_json`."""
    return parse_json(read_bytes(path), path)


def parse_json(raw: bytes | str, where: object) -> Any:
    """Parse JSON, and NaN and infinities as Python and NumPy write them; ValueError names `where` and the reason."""
    import orjson

    raw = raw.encode(errors="surrogatepass") if isinstance(raw, str) else raw.removeprefix(b"\xef\xbb\xbf")
    collects = gc.isenabled()
    gc.disable()  # millions of small lists would be looked through again and again for cycles, which JSON has not
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        reason: Exception = error
    finally:
        if collects:
            gc.enable()
    if any(word in raw for word in (b"NaN", b"Infinity")):
        try:
            return json.loads(raw, parse_int=_small_integer)
        except (ValueError, RecursionError) as second:
            reason = second
    raise ValueError(f"{where}: not valid JSON: {reason}") from reason


def _small_integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)


def numbers(entries: Any, shape: tuple[int, ...], where: object) -> "NDArray[np.float64]":
    """Convert nested lists of JSON, an entry per hand, to finite numbers (hands, *shape).

    `true` and "1.5" are no numbers. A ValueError names the first hand whose entry is wrong.
    """
    import numpy as np

    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{where}: expected a list with one entry per hand, found {shown(entries)}")
    flat: Iterator[Any] = iter(entries)
    regular = True
    for size in shape:
        rows = list(flat)
        regular = regular and all(type(row) is list and len(row) == size for row in rows)
        if not regular:
            break
        flat = chain.from_iterable(rows)
    values = list(flat) if regular else []
    if not regular or not set(map(type, values)) <= {int, float}:
        number, found = next((n, found) for n, entry in enumerate(entries) if (found := _shape_of(entry)) != shape)
        reason = "is not numbers of one shape" if found is None else f"has shape {found}"
        raise ValueError(
            f"{where}: hand {number} {reason}; expected numbers of shape {shape}, found {shown(entries[number])}"
        )
    with np.errstate(over="ignore"):
        try:
            array = np.fromiter(values, np.float64, len(values)).reshape(len(entries), *shape)
        except OverflowError:
            array = np.array([float(str(value)) for value in values]).reshape(len(entries), *shape)
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        number = int(np.argmin(finite))
        raise ValueError(
            f"{where}: hand {number} has NaN or infinity ({(~finite).sum()} such hands): {shown(entries[number])}"
        )
    return array


def _shape_of(entry: Any, dimensions: int = _MAX_DIMENSIONS) -> tuple[int, ...] | None:
    """The shape of nested lists of numbers; None if they are anything else."""
    if type(entry) is not list:
        return () if type(entry) in (int, float) else None
    shapes = {_shape_of(inside, dimensions - 1) for inside in entry} if dimensions else set()
    inner = shapes.pop() if len(shapes) == 1 else None
    return None if inner is None else (len(entry), *inner)


def shown(value: object, length: int = 80) -> str:
    """Show the beginning of a value in a message, on one line and without control characters."""
    try:
        text = printable(repr(value))
    except (RecursionError, ValueError):  # deep, or an integer of 5,000 digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= length else text[: length - 1] + "…"


def printable(text: str) -> str:
    """Replace what moves a terminal's cursor or hides text: control characters, line breaks, direction marks."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def quoted(value: Any) -> Any:
    """Mark a text that a spreadsheet would run as a formula as text; anything else as it is."""
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def check_imports(value: Any, trusted: Sequence[str], where: object) -> None:
    """Refuse plain data in which a text, as class paths do, names something to import outside of `trusted` packages.

    The same holds for the contents of files that it names, as a parser of configs may read these.
    """
    waiting, seen = [value], set[str]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list):
            waiting += [*one, *one.values()] if isinstance(one, dict) else one
        elif isinstance(one, str) and one not in seen:
            seen.add(one)
            package = one.partition(".")[0]
            names_module = "." in one and all(word.isidentifier() for word in one.split("."))
            if names_module and package not in trusted and importlib.util.find_spec(package) is not None:
                raise ValueError(
                    f"{where}: {one} would be imported, which can run anything; --trust {package} allows it"
                )
            if len(one) < 1000 and "\0" not in one and Path(one).is_file():
                with suppress(ValueError):  # an image, for example
                    waiting.append(read_yaml(Path(one)))


def read_yaml(path: Path) -> Any:
    """Read a YAML file; errors as `parse_yaml`."""
    raw = read_bytes(path, _MAX_YAML_MB)
    try:
        return parse_yaml(raw.decode("utf-8-sig"), path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error}") from error


def parse_yaml(text: str, where: object) -> Any:
    """Parse YAML as plain data, after `check_yaml`; ValueError names `where` and the reason."""
    import yaml

    try:
        check_yaml(text)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError, KeyError) as error:
        raise ValueError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error


def check_yaml(text: str) -> None:
    """Refuse a key twice, of which parsers keep the last, deep nesting and aliases that multiply, by their lines."""
    import yaml

    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_YAML_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else "?"
            raise ValueError(f"line {line}: nested deeper than {_MAX_YAML_DEPTH}")
    node = yaml.compose(text, yaml.SafeLoader)
    if node is not None:
        _check_nodes(node, {})


def _check_nodes(node: Any, sizes: dict[int, int]) -> int:
    """Count a YAML node and all below it as often as aliases repeat them; ValueError names the line of a fault."""
    import yaml

    known = sizes.get(id(node))
    line = node.start_mark.line + 1
    if known == 0:
        raise ValueError(f"line {line}: an alias within what it stands for")
    if known is not None:
        return known
    sizes[id(node)] = 0  # being counted
    inside: list[Any] = []
    if isinstance(node, yaml.SequenceNode):
        inside = node.value
    elif isinstance(node, yaml.MappingNode):
        lines: dict[Hashable, int] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else id(key)
            if name in lines:
                raise ValueError(
                    f"line {key.start_mark.line + 1}: the key {name!r} is there already, on line {lines[name]}"
                )
            lines[name] = key.start_mark.line + 1
            inside += [key, value]
    total = 1 + sum(_check_nodes(one, sizes) for one in inside)
    if total > _MAX_YAML_NODES:
        raise ValueError(f"line {line}: with its aliases it has more than {_MAX_YAML_NODES:,} entries")
    sizes[id(node)] = total
    return total


def read_table(path: Path, *, unfinished: bool = False) -> list[dict[str, str]]:
    """Read the rows of a CSV file as spreadsheets write them: any separator, a byte order mark, UTF-16 or Latin-1.

    Args:
        path: A file whose first line names the columns.
        unfinished: Whether a last line without its end, which a writer that was killed leaves, is passed over.

    Raises:
        ValueError: If there is no header, a column's name comes twice, a row is longer or shorter than the header, or
            a quote is not closed on its line; the message names the line.
    """
    text = _decode(read_bytes(path), path)
    if unfinished and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        if not text:
            return []
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(_SEPARATORS, key=header.count), strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        repeated = next((name for number, name in enumerate(names) if name in names[:number]), None)
        if not any(names) or repeated is not None:
            raise ValueError(f"its first line is {shown(header)}; expected the names of columns, each once")
        rows = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(names):
                raise ValueError(f"line {reader.line_num} has {len(row)} columns, the first line {len(names)}")
            if any("\n" in cell for cell in row):
                raise ValueError(f"line {reader.line_num} ends a cell that began on an earlier line")
            rows.append(dict(zip(names, row, strict=True)))
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path}: not a table: {error}") from error
    return rows


def _decode(raw: bytes, path: Path) -> str:
    encodings = ("utf-16",) if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252", "latin-1")
    for encoding in encodings:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ValueError(f"{path}: not text in {encodings[0]}")


@contextmanager
def naming_damage(path: Path, what: str) -> Iterator[None]:
    """Turn what libraries raise about damaged files into a ValueError that names the file; OSError stays."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (
        ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, RuntimeError, NotImplementedError,
        ArithmeticError, SyntaxError, AssertionError, MemoryError, RecursionError, zipfile.BadZipFile, zlib.error,
        tokenize.TokenError, pickle.UnpicklingError, OSError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: damaged or no {what}: {reason}") from error


def read_array(path: Path, *, mapped: bool = False) -> "NDArray[Any]":
    """Read an array of numbers or text from an .npy file, or map it without reading it; never a pickle."""
    import numpy as np

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with naming_damage(path, ".npy file"):
        with path.open("rb") as file:
            _check_declared(file, path.stat().st_size)
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        return np.asarray(array)  # a plain view: indexing np.memmap costs more


def read_arrays(path: Path) -> "dict[str, NDArray[Any]]":
    """Read all arrays of an .npz file; never a pickle, and never more than the limit once unpacked."""
    import numpy as np

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    arrays = {}
    with naming_damage(path, ".npz file"), zipfile.ZipFile(path) as archive:
        _check_unpacked(archive.infolist(), path)
        for member in archive.infolist():
            with archive.open(member) as file:
                _check_declared(file, member.file_size)
            with archive.open(member) as file:
                name = member.filename.removesuffix(".npy")
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def _check_declared(file: Any, size: int) -> None:
    """Refuse an .npy header that declares another amount of data than there is."""
    import numpy as np

    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which only a pickle could read")
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or declared != size - file.tell():
        raise ValueError(f"it declares {dtype} {shape}, {declared:,} bytes, and holds {size - file.tell():,}")


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip does: a damaged one is none to zipfile, and nothing else either."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def read_zip_member(path: Path, name: str, suffix: str) -> bytes:
    """Read the file called `name` of a zip, or else the only one that ends in `suffix`."""
    with naming_damage(path, "zip"), zipfile.ZipFile(path) as archive:
        names = [one for one in archive.namelist() if one.endswith(suffix)]
        names = [name] if name in names else names
        if len(names) == 1:
            _check_unpacked([archive.getinfo(names[0])], path)
            return archive.read(names[0])
        found = shown(archive.namelist()[:9])
    raise ValueError(f"{path}: expected a zip with {name}, found {found}")


def _check_unpacked(members: Sequence[zipfile.ZipInfo], path: Path) -> None:
    check_size(sum(member.file_size for member in members), f"{path}, unpacked")


def damage_of_zip(path: Path) -> str | None:
    """Compare a zip, such as torch.save writes, with its sums; None if it is whole, else what is wrong."""
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        # flipped bits make names that are no text, or ask for a password or a compression
        return f"not a whole file of torch.save ({error}; {path.stat().st_size / 1e6:,.1f} MB)"
    return None if part is None else f"its part {part} is not what was written"


def check_tensors(state: "Mapping[str, Tensor]", where: object) -> None:
    """Refuse weights that declare more numbers than are stored, or hold NaN or infinity; ValueError names the first."""
    import torch

    for name, tensor in state.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
            raise ValueError(f"{where}: {shown(name)} is not a plain tensor")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(
                f"{where}: {shown(name)} declares {tensor.numel():,} numbers {tuple(tensor.shape)}, and "
                f"{tensor.untyped_storage().nbytes():,} bytes are stored"
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{where}: {shown(name)} is not finite: training diverged, or it is damaged")
