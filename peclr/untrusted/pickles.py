"""Pickles that are not ours, as HO-3D and RHD come in: arrays, numbers, text and containers, built here one by one.

Python's unpickler is not asked: no class of a file is looked up and none of its functions is called, NumPy's neither.
"""

import codecs
import math
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from peclr.untrusted.binary import naming_damage
from peclr.untrusted.text import read_bytes, shown

if TYPE_CHECKING:
    import numpy as np

_MODULES: Final = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since NumPy 2
_ARRAY: Final = {f"{module} _reconstruct" for module in _MODULES}
_SCALAR: Final = {f"{module} scalar" for module in _MODULES}
_KINDS: Final = re.compile(r"([biuf])([1248])|([SU])([0-9]{1,6})")
_KEYS: Final = (str, int, float, bytes)  # hashing a tuple of tuples of … may take for ever
_CONSTANTS: Final[dict[bytes, Any]] = {b"N": None, b"\x88": True, b"\x89": False}
_NUMBERS: Final = {b"J": "<i", b"M": "<H", b"K": "<B", b"G": ">d"}
_SIZED: Final = {  # how long what follows is, and what it is; text of Python 2 is bytes in Latin-1
    b"T": ("<i", "latin-1"), b"U": ("<B", "latin-1"), b"X": ("<I", "utf-8"), b"\x8c": ("<B", "utf-8"),
    b"\x8d": ("<Q", "utf-8"), b"B": ("<I", "bytes"), b"C": ("<B", "bytes"), b"\x8e": ("<Q", "bytes"),
    b"\x8a": ("<B", "int"), b"\x8b": ("<i", "int"),
}  # fmt: skip
_TUPLES: Final = {b")": 0, b"\x85": 1, b"\x86": 2, b"\x87": 3}
_PUT: Final = {b"q": "<B", b"r": "<I"}
_GET: Final = {b"h": "<B", b"j": "<I"}


def read_pickle(path: Path) -> Any:
    """Read a pickle of any protocol, Python 2's as Latin-1; one ValueError names the file and what else it asks for.

    Arrays are of numbers or text; arrays of Python objects come as a flat list of what is in them.
    """
    raw = read_bytes(path)
    with naming_damage(path, "pickle of arrays and plain containers"):
        return _Machine(raw).run()


class _Name(str):
    """A module and a name in it, which stand for themselves."""

    __slots__ = ()


class _Unbuilt:
    """An array or its type, of which the file has yet to say what is in it."""

    def __init__(self, kind: str | None) -> None:
        self.kind = kind  # of a type; None is an array
        self.known_as = list[int]()  # in the memo


class _Machine:
    """The stack and the memo of a pickle, see Python's `pickletools`."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0
        self.stack, self.marks, self.memo = list[Any](), list[int](), dict[int, Any]()
        self.steps: dict[bytes, Callable[[], object]] = {
            b"(": lambda: self.marks.append(len(self.stack)),
            b"0": self.stack.pop,
            b"]": lambda: self.stack.append([]),
            b"}": lambda: self.stack.append({}),
            b"l": lambda: self.stack.append(self._since_mark()),
            b"t": lambda: self.stack.append(tuple(self._since_mark())),
            b"d": self._dict,
            b"a": lambda: self._extend([self.stack.pop()]),
            b"e": lambda: self._extend(self._since_mark()),
            b"s": lambda: self._set([self.stack.pop(-2), self.stack.pop()]),
            b"u": lambda: self._set(self._since_mark()),
            b"I": self._integer,
            b"L": lambda: self.stack.append(int(self._line().removesuffix("L"))),
            b"F": lambda: self.stack.append(float(self._line())),
            b"S": self._quoted,
            b"V": lambda: self.stack.append(self._line().encode("latin-1").decode("raw-unicode-escape")),
            b"c": lambda: self.stack.append(_Name(f"{self._line()} {self._line()}")),
            b"\x93": lambda: self.stack.append(_Name(f"{self.stack.pop(-2)} {self.stack.pop()}")),
            b"R": self._call,
            b"b": self._build,
            b"p": lambda: self._put(int(self._line())),
            b"g": lambda: self.stack.append(self.memo[int(self._line())]),
            b"\x94": lambda: self._put(len(self.memo)),
            b"\x80": lambda: self._take(1),
            b"\x95": lambda: self._take(8),
        }

    def run(self) -> Any:
        while (code := self._take(1)) != b".":
            if code in self.steps:
                self.steps[code]()
            elif code in _CONSTANTS:
                self.stack.append(_CONSTANTS[code])
            elif code in _NUMBERS:
                self.stack.append(self._number(_NUMBERS[code]))
            elif code in _SIZED:
                self.stack.append(self._sized(*_SIZED[code]))
            elif code in _TUPLES:
                count = _TUPLES[code]
                self.stack[len(self.stack) - count :] = [tuple(self._last(count))]
            elif code in _PUT:
                self._put(self._number(_PUT[code]))
            elif code in _GET:
                self.stack.append(self.memo[self._number(_GET[code])])
            else:
                raise ValueError(f"it asks for the operation {code!r}, which makes neither arrays nor containers")
        result = self.stack.pop()
        _check_plain(result)
        return result

    def _take(self, length: int) -> bytes:
        taken = self.raw[self.at : self.at + length] if length >= 0 else b""
        if len(taken) != length:
            raise ValueError(f"it ends after {len(self.raw):,} bytes, before it is whole")
        self.at += length
        return taken

    def _line(self) -> str:
        end = self.raw.index(b"\n", self.at)
        line, self.at = self.raw[self.at : end], end + 1
        return line.decode("latin-1")

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _sized(self, form: str, what: str) -> Any:
        content = self._take(self._number(form))
        if what == "int":
            return int.from_bytes(content, "little", signed=True)
        return content if what == "bytes" else content.decode(what)

    def _integer(self) -> None:
        digits = self._line()  # protocol 0 writes False and True so
        self.stack.append(digits == "01" if digits in ("00", "01") else int(digits))

    def _quoted(self) -> None:
        line = self._line()
        if len(line) < 2 or line[0] != line[-1] or line[0] not in "'\"":
            raise ValueError(f"{shown(line)} is no text in quotes")
        self.stack.append(codecs.escape_decode(line[1:-1].encode("latin-1"))[0].decode("latin-1"))

    def _last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError(f"it takes {count} values where there are {len(self.stack)}")
        return self.stack[len(self.stack) - count :]

    def _since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError(f"it appends to {_described(target)}, which is no list")
        target += values

    def _set(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(values) % 2 or any(type(key) not in _KEYS for key in values[::2]):
            raise ValueError(f"it sets items of {_described(target)}; expected names in a dict")
        target.update(zip(values[::2], values[1::2], strict=True))

    def _dict(self) -> None:
        values = self._since_mark()
        self.stack.append({})
        self._set(values)

    def _put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]
        if isinstance(self.stack[-1], _Unbuilt):
            self.stack[-1].known_as.append(key)

    def _call(self) -> None:
        """Do what the few functions that a pickle of arrays names would do; ValueError for any other."""
        name, arguments = self._last(2)
        del self.stack[-2:]
        if isinstance(name, _Name) and isinstance(arguments, tuple):
            if name in _ARRAY and arguments[:1] == (_Name("numpy ndarray"),):
                return self.stack.append(_Unbuilt(None))
            if name == "numpy dtype" and isinstance(arguments[0], str):
                return self.stack.append(_Unbuilt(arguments[0]))
            if name in _SCALAR and len(arguments) == 2:
                return self.stack.append(_array((), *arguments)[()])
            if name == "_codecs encode" and arguments[1:] == ("latin1",):  # bytes, as Python 3 writes them for 2
                return self.stack.append(arguments[0].encode("latin-1"))
            if name == "__builtin__ bytes" and arguments == ():
                return self.stack.append(b"")
        raise ValueError(
            f"it asks for {_described(name)} to be called: arrays, numbers, text and containers alone are read"
        )

    def _build(self) -> None:
        unbuilt, state = self._last(2)
        if not isinstance(unbuilt, _Unbuilt) or not isinstance(state, tuple):
            raise ValueError(f"it sets the state of {_described(unbuilt)}, which is no array")
        built: Any
        if unbuilt.kind is None:
            _, shape, dtype, is_fortran, content = state
            built = _array(shape, dtype, content, is_fortran=bool(is_fortran))
        else:
            built = _dtype(unbuilt.kind, state)
        self.stack[-2:] = [built]
        for key in unbuilt.known_as:
            self.memo[key] = built


def _dtype(kind: str, state: tuple[Any, ...]) -> "np.dtype[Any] | None":
    """The type of an array's numbers or text; None of Python objects."""
    import numpy as np

    _, order, subarray, names, fields = state[:5]
    if kind in ("O8", "O4", "O"):
        return None
    if not _KINDS.fullmatch(kind) or (subarray, names, fields) != (None, None, None) or order not in tuple("<>|="):
        raise ValueError(f"an array is of type {shown(kind)}; expected plain numbers or text")
    return np.dtype(kind).newbyteorder(order)


def _array(shape: Any, dtype: Any, content: Any, *, is_fortran: bool = False) -> Any:
    """The array of what a file says of it; of Python objects, their list."""
    import numpy as np

    if dtype is None and type(content) is list:
        return content
    content = content.encode("latin-1") if isinstance(content, str) else content
    if not isinstance(dtype, np.dtype) or not isinstance(content, bytes) or not isinstance(shape, tuple):
        raise ValueError(f"an array is of {_described(dtype)}, with {_described(shape)}; expected its type and shape")
    sizes = [size for size in shape if type(size) is int and size >= 0]
    if len(sizes) != len(shape) or math.prod(sizes) * dtype.itemsize != len(content):
        raise ValueError(f"an array of {dtype} has shape {tuple(sizes)} and {len(content):,} bytes")
    # a copy, in the machine's order of bytes
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
    return array.astype(dtype.newbyteorder("="))


def _check_plain(value: Any) -> None:
    """Refuse what never became an array, and names of functions, wherever in the containers."""
    import numpy as np

    left, seen = [value], set[int]()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
        elif type(one) not in (str, bytes, int, float, bool, type(None)) and not isinstance(
            one, np.ndarray | np.generic
        ):
            raise ValueError(f"it holds {_described(one)}: arrays, numbers, text and containers alone are read")


def _described(value: Any) -> str:
    """Text as it is, and of anything else the type: tuples of tuples of … would take for ever."""
    return shown(str(value)) if isinstance(value, str) else type(value).__name__
