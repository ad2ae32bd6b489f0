"""Archives that are not ours: the content of one file, or one ValueError that names the archive."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from peclr.untrusted.archives import read_archived
from tests.test_untrusted import mutated

CONTENT = bytes(range(256)) * 5000  # more than one piece


def tarred(path: Path, *members: tuple[tarfile.TarInfo | str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # its modes are literals
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path


def read(path: Path, name: str = "net.pth", most_mb: float = 10) -> bytes:
    return b"".join(read_archived(path, name, most_mb))


def special(kind: bytes, name: str = "net.pth", target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("make", [tarred, zipped])
@pytest.mark.parametrize("name", ["net.pth", "folder/net.pth", "./a/b/net.pth"])
def test_the_file_is_read_wherever_it_is(tmp_path: Path, make: Callable[..., Path], name: str) -> None:
    archive = make(tmp_path / "a", ("README", b"x"), ("other.pth", b"y"), (name, CONTENT))
    assert read(archive) == CONTENT


def test_a_tar_that_is_not_packed_is_read(tmp_path: Path) -> None:
    assert read(tarred(tmp_path / "a", ("net.pth", CONTENT), mode="w")) == CONTENT


@pytest.mark.parametrize("make", [tarred, zipped])
def test_the_only_file_with_the_suffix_is_meant_where_none_has_the_name(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    assert read(make(tmp_path / "a", ("x/renamed.pth", CONTENT), ("x/._renamed.pth", b"macOS"))) == CONTENT
    for members in ([("a.pth", b"1"), ("b.pth", b"2")], [("net.txt", b"")], []):
        with pytest.raises(ValueError, match=r"/b: .*expected net\.pth in it, or one other \.pth file"):
            read(make(tmp_path / "b", *members))


@pytest.mark.parametrize("make", [tarred, zipped])
@pytest.mark.parametrize("name", ["../net.pth", "/etc/net.pth", "a/../../net.pth", "C:\\net.pth", "a\\..\\net.pth"])
def test_a_name_that_leads_outside_is_refused(tmp_path: Path, make: Callable[..., Path], name: str) -> None:
    archive = make(tmp_path / "a", ("net.pth", CONTENT), (name, b"x"))
    with pytest.raises(ValueError, match=r"/a: damaged or no archive: it holds .*, which leads outside"):
        read(archive)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    for name in ("net.pth", "other"):
        archive = tarred(tmp_path / "a", (special(kind, name), b""), ("b/net.pth", CONTENT))
        with pytest.raises(ValueError, match="which is no file: a link or a device"):
            read(archive)


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("net.pth")
    info.external_attr = 0o120777 << 16
    with pytest.raises(ValueError, match="which is no file: a link or a device"):
        read(zipped(tmp_path / "a", (info, b"/etc/passwd")))


@pytest.mark.parametrize("make", [tarred, zipped])
def test_what_unpacks_to_more_than_the_limit_is_refused(tmp_path: Path, make: Callable[..., Path]) -> None:
    archive = make(tmp_path / "a", ("zeros", bytes(20_000_000)), ("net.pth", CONTENT))
    assert archive.stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"/a: .* MB are more than 10 MB"):
        read(archive)
    assert read(archive, most_mb=30) == CONTENT


def test_an_endless_tail_and_a_long_header_are_refused(tmp_path: Path) -> None:
    tar = tarred(tmp_path / "tar", ("net.pth", CONTENT), mode="w").read_bytes()
    (tmp_path / "a").write_bytes(gzip.compress(tar + bytes(20_000_000)))
    with pytest.raises(ValueError, match=r"/a: .* MB are more than 10 MB"):
        read(tmp_path / "a")
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 5_000_000
    with gzip.open(tmp_path / "b", "wb") as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT) + bytes(5_000_000))
    with pytest.raises(ValueError, match="/b: damaged or no archive: a header of 5,"):
        read(tmp_path / "b")


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    sparse = tarfile.TarInfo("net.pth")
    sparse.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(ValueError, match="/a: damaged or no archive"):
        read(tarred(tmp_path / "a", (sparse, b"")))


@pytest.mark.parametrize("make", [tarred, zipped])
def test_a_damaged_archive_is_refused_or_read_whole(tmp_path: Path, make: Callable[..., Path]) -> None:
    content = make(tmp_path / "a", ("x/net.pth", CONTENT)).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        (tmp_path / "b").write_bytes(mutated(content, rng))
        try:
            found = read(tmp_path / "b")
        except ValueError as error:
            assert str(error).startswith(str(tmp_path / "b"))  # noqa: PT017
        else:
            assert found == CONTENT
