"""Text that is not ours: JSON, YAML and tables, as plain data or not at all; limits; words for messages."""

import csv
import gc
import importlib.util
import io
import json
import math
import os
from codecs import getincrementaldecoder
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

Typed = TypeVar("Typed")

MAX_MB_VARIABLE: Final = "PECLR_MAX_MB"  # of a file once unpacked, and of a JSON, YAML or CSV file
MAX_MEGAPIXELS_VARIABLE: Final = "PECLR_MAX_MEGAPIXELS"
_MAX_MB: Final = 1_000.0  # pred.json of FreiHAND has 200, its training_xyz.json 40
_MAX_MEGAPIXELS: Final = 500.0  # 1.5 GB as RGB; the largest cameras have 400
_MAX_YAML_MB: Final = 10.0  # PyYAML needs 100 times the text
_MAX_YAML_NODES: Final = 200_000  # aliases followed
_MAX_YAML_DEPTH: Final = 64  # aliases followed
_MAX_YAML_DIGITS: Final = 1_000
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
        more = f"{width} × {height} px are more than {most:g} megapixels"
        raise ValueError(f"{where}: {more}; {MAX_MEGAPIXELS_VARIABLE} raises the limit")


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


def as_type(value: Any, expected: type[Typed], where: object, *, strict: bool = True) -> Typed:
    """Convert plain data to what msgspec knows, numbers in text too unless strict; ValueError names the place in it."""
    import msgspec

    try:
        return msgspec.convert(value, expected, strict=strict)
    except msgspec.ValidationError as error:
        raise ValueError(f"{where}: {error}") from None


def value_at(value: Any, *keys: str) -> Any:
    """What plain data hold under a key, of what is there under the next, and so on; None where there is no such key."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


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
    """Refuse plain data, and files that it names, in which a text is an import outside of `trusted` packages.

    As in configs, a text may itself be YAML, and a file names others relative to its own folder.
    """
    import yaml

    waiting, seen = [(value, Path())], set[tuple[str, Path]]()
    while waiting:
        one, folder = waiting.pop()
        if isinstance(one, dict | list):
            waiting += [(inside, folder) for inside in ([*one, *one.values()] if isinstance(one, dict) else one)]
        elif isinstance(one, str) and (one, folder) not in seen:
            seen.add((one, folder))
            package = one.partition(".")[0]
            names_module = "." in one and all(word.isidentifier() for word in one.split("."))
            if names_module and package not in trusted and importlib.util.find_spec(package) is not None:
                allowed = f"--trust {package} allows it"
                raise ValueError(f"{where}: {one} would be imported, which can run anything; {allowed}")
            with suppress(yaml.YAMLError):  # what parsers of configs construct may differ, its scalars do not
                for event in yaml.parse(one, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
                    if isinstance(event, yaml.ScalarEvent):
                        waiting.append((event.value, folder))
            file = folder / os.path.expanduser(one)  # noqa: PTH111 (pathlib's fails where there is no such user)
            if len(one) < 1000 and "\0" not in one and file.is_file():
                with suppress(UnicodeDecodeError):  # an image, for example
                    waiting.append((_beginning(file), file.parent))


def _beginning(path: Path) -> str:
    """The text of a file that may be a config; ValueError if a text is too large for one."""
    with path.open("rb") as file:
        text = getincrementaldecoder("utf-8")().decode(file.read(int(_MAX_YAML_MB * 1e6)))
    check_size(path.stat().st_size, path, _MAX_YAML_MB)
    return text


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
        raise ValueError(f"{where}: not valid YAML{_line_and_reason(error)}") from error


def yaml_lines(text: str) -> dict[tuple[str | int, ...], int]:
    """The line of every key and list item of valid YAML, by the keys and indices that lead there."""
    import yaml

    lines: dict[tuple[str | int, ...], int] = {}
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), yaml.compose(text, yaml.SafeLoader))]
    while waiting:
        path, node = waiting.pop()
        inside: list[tuple[str | int, Any, Any]]
        if isinstance(node, yaml.MappingNode):
            inside = [(str(key.value), key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]
        elif isinstance(node, yaml.SequenceNode):
            inside = [(index, value, value) for index, value in enumerate(node.value)]
        else:
            continue
        lines |= {(*path, name): marked.start_mark.line + 1 for name, marked, _ in inside}
        waiting += [((*path, name), value) for name, _, value in inside]
    return lines


def _line_and_reason(error: Exception) -> str:
    """Where reading YAML stopped, and why, in one line: the end of a sentence."""
    import yaml

    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return f": {' '.join(str(error).split())}"
    begin = f" that begins in line {error.context_mark.line + 1}" if error.context_mark else ""
    tabs = "; indent by spaces" if "'\\t'" in str(error.problem) else ""
    return f", line {error.problem_mark.line + 1}: {error.problem} {error.context or ''}{begin}".rstrip() + tabs


def check_yaml(text: str) -> None:
    """Refuse a key twice, of which parsers keep the last, deep nesting and aliases that multiply, by their lines."""
    import yaml

    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_YAML_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else "?"
            raise ValueError(f"line {line}: nested deeper than {_MAX_YAML_DEPTH}")
        plain = event.value if isinstance(event, yaml.ScalarEvent) and event.implicit[0] else ""
        if len(plain) > _MAX_YAML_DIGITS and plain[0] in "+-.0123456789":  # of 1:00:00…, reading takes a square of it
            raise ValueError(f"a number of more than {_MAX_YAML_DIGITS:,} digits")
    node = yaml.compose(text, yaml.SafeLoader)
    if node is not None:
        _check_nodes(node, {})


def _check_nodes(node: Any, sizes: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Size and depth of a YAML node, with all below it as often as aliases repeat them; ValueError names a line."""
    import yaml

    line = node.start_mark.line + 1
    if known := sizes.get(id(node)):
        return known
    if id(node) in sizes:
        raise ValueError(f"line {line}: an alias within what it stands for")
    sizes[id(node)] = None  # being counted
    inside: list[Any] = []
    if isinstance(node, yaml.SequenceNode):
        inside = node.value
    elif isinstance(node, yaml.MappingNode):
        lines: dict[Hashable, int] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else id(key)
            here = key.start_mark.line + 1
            if name in lines:
                raise ValueError(f"line {here}: the key {name!r} is there already, on line {lines[name]}")
            lines[name] = here
            inside += [key, value]
    below = [_check_nodes(one, sizes) for one in inside]
    total, depth = 1 + sum(size for size, _ in below), 1 + max((depth for _, depth in below), default=0)
    if total > _MAX_YAML_NODES:
        raise ValueError(f"line {line}: with its aliases it has more than {_MAX_YAML_NODES:,} entries")
    if depth > _MAX_YAML_DEPTH + 1:
        raise ValueError(f"line {line}: with its aliases it is nested deeper than {_MAX_YAML_DEPTH}")
    sizes[id(node)] = total, depth
    return total, depth


def read_table(path: Path, *, unfinished: bool = False, numbers: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read the rows of a CSV file as spreadsheets write them: any separator, a byte order mark, UTF-16 or Latin-1.

    The first line names the columns; ValueError if a name comes twice, a row is longer or shorter, or a quote is not
    closed on its line. `unfinished` passes over a last line without its end, which a writer that was killed leaves.
    In the columns `numbers`, a decimal comma becomes a point, unless commas separate.
    """
    text = _decode(read_bytes(path), path)
    if unfinished and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        if not text:
            return []
    header = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
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
            cells = dict(zip(names, row, strict=True))
            commas = () if separator == "," else [name for name in names if name.lower() in numbers]
            rows.append(cells | {name: cells[name].replace(",", ".") for name in commas})
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
