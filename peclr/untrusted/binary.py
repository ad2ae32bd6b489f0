"""Arrays, zips and weights that are not ours: never a pickle, and no more than the file declares and holds."""

import hashlib
import io
import math
import pickle
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from peclr.untrusted.text import check_size, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_MAX_DIMENSIONS: Final = 8
_LOCAL_HEADER: Final = "<4s5H3I2H"  # before a member of a zip (APPNOTE.TXT 4.3.7): at last the lengths of two texts
_MAPPED_BLOCK: Final = 2**22
_LONGEST_NPY_HEAD: Final = 2**16  # as of version 1.0
_DAMAGE: Final = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, RuntimeError, ArithmeticError, SyntaxError,
    AssertionError, MemoryError, OSError, zipfile.BadZipFile, zlib.error, tarfile.TarError, tokenize.TokenError,
    pickle.UnpicklingError, struct.error,
)  # fmt: skip  # what libraries raise about damaged files


def numbers(entries: Any, shape: tuple[int, ...], where: object) -> "NDArray[np.float64]":
    """Convert nested lists of JSON, an entry per hand, to numbers (hands, *shape), finite in single precision."""
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
        wanted = f"expected numbers of shape {shape}, found {shown(entries[number])}"
        raise ValueError(f"{where}: hand {number} {reason}; {wanted}")
    with np.errstate(over="ignore"):
        try:
            array = np.fromiter(values, np.float64, len(values)).reshape(len(entries), *shape)
        except OverflowError:
            array = np.array([float(str(value)) for value in values]).reshape(len(entries), *shape)
        finite = np.isfinite(array.astype(np.float32)).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        number = int(np.argmin(finite))
        reason = f"has NaN or infinity ({(~finite).sum()} such hands): {shown(entries[number])}"
        raise ValueError(f"{where}: hand {number} {reason}")
    return array


def numbers_in(content: Any, name: str, shape: tuple[int, ...], where: object) -> "NDArray[Any]":
    """What a dict of arrays has under a name: numbers of that shape, finite in single precision; or a ValueError."""
    import numpy as np

    array = content.get(name) if isinstance(content, Mapping) else None
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.kind not in "iuf":
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{where}: {name} is {found}; expected numbers of shape {shape}")
    if not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise ValueError(f"{where}: {name} has NaN or infinity: {shown(array.tolist())}")
    return array


def _shape_of(entry: Any, dimensions: int = _MAX_DIMENSIONS) -> tuple[int, ...] | None:
    """The shape of nested lists of numbers; None if they are anything else."""
    if type(entry) is not list:
        return () if type(entry) in (int, float) else None
    shapes = {_shape_of(inside, dimensions - 1) for inside in entry} if dimensions else set()
    inner = shapes.pop() if len(shapes) == 1 else None
    return None if inner is None else (len(entry), *inner)


@contextmanager
def naming_damage(path: Path, what: str) -> Iterator[None]:
    """Turn what libraries raise about damaged files into a ValueError that names the file; OSError stays."""
    try:
        yield
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
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


def read_arrays(path: Path, names: Sequence[str] | None = None) -> "dict[str, NDArray[Any]]":
    """Read all arrays of an .npz file, or those named; never a pickle, and never more than the limit once unpacked."""
    import numpy as np

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    arrays = {}
    with naming_damage(path, ".npz file"), zipfile.ZipFile(path) as archive:
        _check_unpacked(archive.infolist(), path)
        for member in archive.infolist():
            if names is not None and member.filename.removesuffix(".npy") not in names:
                continue
            with archive.open(member) as file:
                _check_declared(file, member.file_size)
                file.seek(0)
                array = np.lib.format.read_array(file, allow_pickle=False)
            arrays[member.filename.removesuffix(".npy")] = array
    return arrays


def map_arrays(path: Path) -> "dict[str, NDArray[Any]]":
    """Map all arrays of an .npz file that np.savez wrote, uncompressed, after a look at their sums; as `read_array`."""
    import numpy as np

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    arrays = {}
    with naming_damage(path, ".npz file of np.savez"), zipfile.ZipFile(path) as archive:
        whole = np.memmap(path, np.uint8, "r")
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                raise ValueError(f"{shown(member.filename)} is compressed or encrypted")
            # what follows the name there is longer than in the zip's directory
            *_, name, more = struct.unpack(_LOCAL_HEADER, whole[member.header_offset :][:30].tobytes())
            start = member.header_offset + 30 + name + more
            content = whole[start : start + member.file_size]
            crc = 0
            for block in range(0, len(content), _MAPPED_BLOCK):
                crc = zlib.crc32(content[block : block + _MAPPED_BLOCK].data, crc)
            if len(content) != member.file_size or crc != member.CRC:
                raise ValueError(f"{shown(member.filename)} is not what was written")
            head = io.BytesIO(content[:_LONGEST_NPY_HEAD].tobytes())
            shape, dtype, in_columns = _check_declared(head, member.file_size)
            flat = content[head.tell() :].view(dtype)
            arrays[member.filename.removesuffix(".npy")] = flat.reshape(shape, order="F" if in_columns else "C")
    return {name: np.asarray(array) for name, array in arrays.items()}


def _check_declared(file: Any, size: int) -> "tuple[tuple[int, ...], np.dtype[Any], bool]":
    """Read an .npy header: shape, type and whether columns are first; refuse other amounts of data than there are."""
    import numpy as np

    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_columns, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which only a pickle could read")
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or declared != size - file.tell():
        raise ValueError(f"it declares {dtype} {shape}, {declared:,} bytes, and holds {size - file.tell():,}")
    return shape, dtype, in_columns


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
            declared, size = sum(member.file_size for member in archive.infolist()), path.stat().st_size
            if declared > size:  # torch.save compresses nothing, and shares no bytes between parts
                return f"its parts declare {declared:,} bytes, and it has {size:,}"
            part = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        # flipped bits make names that are no text, or ask for a password or a compression
        return f"not a whole file of torch.save ({error}; {path.stat().st_size / 1e6:,.1f} MB)"
    return None if part is None else f"its part {part} is not what was written"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_tensors(state: "Mapping[str, Tensor]", where: object) -> None:
    """Refuse weights that declare more numbers than are stored, or hold NaN or infinity; ValueError names the first."""
    import torch

    for name, tensor in state.items():
        is_8_bit = tensor.is_floating_point() and tensor.element_size() < 2  # what is finite is not known of all
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta or is_8_bit:
            raise ValueError(f"{where}: {shown(name)} is not a plain tensor")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            declared = f"{tensor.numel():,} numbers {tuple(tensor.shape)}"
            stored = tensor.untyped_storage().nbytes()
            raise ValueError(f"{where}: {shown(name)} declares {declared}, and {stored:,} bytes are stored")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{where}: {shown(name)} is not finite: training diverged, or it is damaged")


def read_safetensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Read the tensors of a file of safetensors and its metadata; needs the package of that name."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: damaged or no safetensors file ({error})") from error
    check_tensors(state, path)
    return state, metadata


def read_torch(path: Path, inert: Sequence[str] = (), map_location: Any = "cpu") -> Any:
    """Read a file of torch.save with weights_only, whose sums hold.

    Classes whose names begin as those of `inert` are read as mappings: nothing of theirs runs.
    """
    import torch

    # files of PyTorch before 1.6 are no zip and have no sums
    if is_zip(path) and (reason := damage_of_zip(path)):
        raise ValueError(f"{path}: damaged: {reason}")
    needed: list[str] = []
    # damaged, or not in torch.save's present format: loading says which
    with suppress(Exception):
        needed = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    replaced = [name for name in needed if name.startswith(tuple(inert))]
    try:
        with torch.serialization.safe_globals([(OrderedDict, name) for name in replaced]):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        # of PyTorch's long message the first lines would suggest to switch weights_only off
        refused = [name for name in needed if name not in replaced]
        reason = f"it needs {shown(refused)} to be unpickled" if refused else "it is no file of torch.save"
        raise ValueError(f"{path}: cannot be read with weights_only: {reason}") from error
    except _DAMAGE as error:
        raise ValueError(f"{path}: damaged or no file of torch.save ({error})") from error
