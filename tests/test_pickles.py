"""Pickles that are not ours: arrays and plain containers as NumPy wrote them, or one ValueError; nothing runs."""

import io
import os
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peclr.untrusted.pickles import read_pickle

VALUES: dict[str, Any] = {
    "handJoints3D": np.arange(63.0).reshape(21, 3),
    "camMat": np.eye(3, dtype=np.float32),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big": np.arange(4, dtype=">f8"),
    "empty": np.zeros((0, 3)),
    "text": np.array(["a", "bcd"]),
    "objRot": None,
    "objName": "003_cracker_box",
    "score": np.float64(0.5),
    "flags": [True, False, 3, -70_000, 2**70, 1.5, b"\x00\xff", "ü"],
    "nested": {1: ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4))},
}


def written(folder: Path, content: bytes) -> Path:
    path = folder / "0000.pkl"
    path.write_bytes(content)
    return path


def same(a: Any, b: Any) -> bool:
    if isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and a.dtype == b.dtype.newbyteorder("=") and np.array_equal(a, b)
    if isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in b)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("protocol", range(5))
def test_plain_values_are_read_as_they_were_written(tmp_path: Path, protocol: int) -> None:
    read = read_pickle(written(tmp_path, pickle.dumps(VALUES, protocol)))
    assert same(read, VALUES), {name for name in VALUES if not same(read[name], VALUES[name])}


def test_arrays_of_python_2_are_read(tmp_path: Path) -> None:
    """As Python 2.7 wrote {'a': array([1., 2.])} with protocol 0 and 2, by hand."""
    data = np.array([1.0, 2.0]).tobytes()
    escaped = "".join(f"\\x{byte:02x}" for byte in data).encode()
    text = b"(dp0\nS'a'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\n"
    text += b"Rp7\n"
    text += (
        b"(I1\n(I2\ntp8\ncnumpy\ndtype\np9\n(S'f8'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nb"
    )
    text += b"I00\nS'" + escaped + b"'\np15\ntp16\nbs."
    binary = (
        b"\x80\x02}q\x00U\x01aq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87"
    )
    binary += b"R"
    binary += (
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    binary += b"\x89U\x10" + data + b"tbs."
    for content in (text, binary):
        assert read_pickle(written(tmp_path, content))["a"].tolist() == [1.0, 2.0]


def test_arrays_of_objects_are_lists(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}, None], dtype=object)
    assert read_pickle(written(tmp_path, pickle.dumps(objects, 2))) == [{"a": 1}, None]


def test_an_array_that_is_named_twice_is_one(tmp_path: Path) -> None:
    array = np.arange(3)
    read = read_pickle(written(tmp_path, pickle.dumps([array, array], 2)))
    assert read[0] is read[1]
    assert read[0].tolist() == [0, 1, 2]


class Runs:
    """Unpickled as any other, it makes a folder."""

    def __init__(self, path: Path, call: Any = os.mkdir) -> None:
        self.path, self.call = path, call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, (str(self.path),)


def test_nothing_in_a_pickle_runs(tmp_path: Path) -> None:
    for protocol in range(5):
        path = written(tmp_path, pickle.dumps({"handJoints3D": [Runs(tmp_path / "made")]}, protocol))
        with pytest.raises(ValueError, match=r"0000\.pkl: damaged or no pickle.* asks for .*mkdir.* to be called"):
            read_pickle(path)
    assert not (tmp_path / "made").exists()
    pickle.loads(path.read_bytes())  # noqa: S301 (our own: it would have)
    assert (tmp_path / "made").exists()


def array_of(kind: bytes, shape: bytes, content: bytes = b"U\x08abcdefgh") -> bytes:
    """A pickled array of what the arguments say."""
    begin = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
    return begin + shape + b"cnumpy\ndtype\n" + kind + b"K\x00K\x01\x87R(K\x03U\x01<NNNtb\x89" + content + b"tb."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends after 0 bytes"),
        (b"\x80\x02}", "ends after 3 bytes"),
        (b"(" * 1000, "ends after"),
        (b"cos\nsystem\n.", "it holds"),  # a name alone
        (b"cos\nsystem\nU\x04true\x85R.", "asks for .*system"),
        (b"\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "asks for .*system"),
        (b"(ios\nsystem\n.", "asks for the operation b'i'"),
        (b"cos\nsystem\n)\x81.", "asks for the operation"),
        (b"\x82\x01.", "asks for the operation"),  # extension registry
        (b"P1\n.", "asks for the operation"),  # persistent id
        (b"cnumpy.core.multiarray\n_reconstruct\ncos\nsystem\nK\x00\x85U\x01b\x87R.", "asks for"),
        (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R.", "it holds"),  # unbuilt
        (b"cnumpy\nload\nU\x04a.py\x85R.", "asks for .*numpy load"),
        (b"c_codecs\nencode\nU\x01aU\x03bz2\x86R.", "asks for"),
        (b"cos\nenviron\n}b.", "sets the state"),
        (array_of(b"U\x02f8", b"K\x02\x85"), r"shape .* and 8 bytes"),
        (array_of(b"U\x02f8", b"J\xff\xff\xff\xff\x85"), "shape"),
        (array_of(b"U\x02f8", b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01\x85"), "shape"),
        (array_of(b"U\x02V8", b"K\x01\x85"), "plain numbers or text"),
        (array_of(b"U\x02M8", b"K\x01\x85"), "plain numbers or text"),
        (array_of(b"U\x05f8,f8", b"K\x01\x85"), "plain numbers or text"),
        (array_of(b"U\x02f8", b"K\x01\x85", b"K\x08"), "expected its type and shape"),
        (b"B\xff\xff\xff\xff.", "before it is whole"),  # declares 4 GB
        (b"\x8e" + struct.pack("<Q", 2**62) + b".", "before it is whole"),
        (b"Nr\xff\xff\xff\xff0.", "pop from empty"),  # a memo of 4 billion entries costs none here
        (b"N" + b"2\x86" * 60 + b".", "operation b'2'"),
        (b"}Nq\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"Ns.", "expected names in a dict"),  # would hash for ever
        (b"K\x01K\x02a.", "no list"),
        (b"(K\x01d.", "expected names"),
        (b"h\x07.", "7"),
    ],
)
def test_pickles_that_do_anything_else_are_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        read_pickle(written(tmp_path, content))
    assert str(raised.value).startswith(f"{tmp_path / '0000.pkl'}: damaged or no pickle")
    assert "\n" not in str(raised.value)


def test_what_grows_without_end_is_read_without_it(tmp_path: Path) -> None:
    """Tuples of tuples of … that share all but a few bytes, and a list that holds itself."""
    shared = b"Nq\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"."
    assert isinstance(read_pickle(written(tmp_path, shared)), tuple)
    read = read_pickle(written(tmp_path, b"]q\x00h\x00a."))
    assert read[0] is read


def test_damaged_pickles_are_refused_or_plain(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    plain = {name: VALUES[name] for name in ("handJoints3D", "objName", "flags", "nested")}
    for protocol in (0, 2, 4):
        content = pickle.dumps(plain, protocol)
        pickletools.dis(content, out=io.StringIO())
        for _ in range(200):
            changed = bytearray(content)
            for at in rng.integers(len(content), size=rng.integers(1, 5)):
                changed[at] = rng.integers(256)
            try:
                read_pickle(written(tmp_path, bytes(changed)))
            except ValueError as error:
                assert str(error).startswith(str(tmp_path))  # noqa: PT017
