"""Archives read into memory within limits: nothing is unpacked to disk.

Sizes are counted as bytes come out, never taken from a header, so a bomb stops at the limit. Member
names that are absolute or climb out, links, devices and repeated names are left out and reported.
"""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from core.rejects import Reason
from corpus.reading import Unreadable

_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Limits:
    """What an archive may hold.

    Args:
        file_bytes: size of the archive itself.
        members: number of members.
        member_bytes: size of one member, unpacked.
        total_bytes: size of all members that are read, unpacked.
        ratio: unpacked to packed size, beyond the first ten megabytes.
    """

    file_bytes: int = 500_000_000
    members: int = 20_000
    member_bytes: int = 100_000_000
    total_bytes: int = 400_000_000
    ratio: float = 200.0


LIMITS = Limits()
_FREE_BYTES = 10_000_000


@dataclass
class Contents:
    """Members by their path inside the archive, and what was left out."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[Unreadable] = field(default_factory=list)
    skipped: int = 0

    def refuse(self, detail: str) -> None:
        """Notes a member that was left out; a thousand of them are one fault each no more."""
        if len(self.faults) < 20:
            self.faults.append(Unreadable(Reason.UNSAFE_ARCHIVE, detail))


def safe_name(name: str) -> str | None:
    """Returns a member's path in normal form, or None where it would leave its archive."""
    if "\\" in name or "\0" in name or len(name) > 1000:
        return None
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
        return None
    return str(path)


class _Meter:
    """Counts what comes out of an archive and stops it at the limits."""

    def __init__(self, packed_bytes: int, limits: Limits) -> None:
        self._limits = limits
        self._most = min(float(limits.total_bytes), _FREE_BYTES + packed_bytes * limits.ratio)
        self._total = 0

    def read(self, stream: io.BufferedIOBase | tarfile.ExFileObject, name: str) -> bytes:
        chunks, size = [], 0
        while chunk := stream.read(_CHUNK_BYTES):
            size += len(chunk)
            self._total += len(chunk)
            if size > self._limits.member_bytes or self._total > self._most:
                raise Unreadable(
                    Reason.UNSAFE_ARCHIVE,
                    f"{name}: unpacks to more than {min(size, self._total) - 1} bytes",
                )
            chunks.append(chunk)
        return b"".join(chunks)


def _checked_size(path: Path, limits: Limits) -> int:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Unreadable(Reason.UNREADABLE_FILE, f"{path.name}: {error.strerror}") from error
    if size > limits.file_bytes:
        raise Unreadable(Reason.UNSAFE_ARCHIVE, f"{path.name}: {size} bytes")
    return size


def read_bytes(path: Path, limits: Limits = LIMITS) -> bytes:
    """Returns a file's bytes.

    Raises:
        Unreadable: it cannot be read, or is larger than ``limits.file_bytes``.
    """
    _checked_size(path, limits)
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(Reason.UNREADABLE_FILE, f"{path.name}: {error.strerror}") from error


def gunzip(data: bytes, name: str, limits: Limits = LIMITS) -> bytes:
    """Returns gzip data unpacked.

    Raises:
        Unreadable: it is damaged or a bomb.
    """
    meter = _Meter(len(data), limits)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            return meter.read(stream, name)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(Reason.UNREADABLE_FILE, f"{name}: bad gzip: {error}") from error


def is_tar(data: bytes) -> bool:
    """Tells whether bytes are a tar archive (POSIX, GNU or the old format with a good checksum)."""
    if len(data) < 512:
        return False
    if data[257:262] == b"ustar":
        return True
    try:
        stated = int(data[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return stated == sum(data[:148]) + 8 * 32 + sum(data[156:512])


def read_tar(
    data: bytes,
    name: str,
    wanted: Callable[[str], bool] = lambda member: True,
    limits: Limits = LIMITS,
) -> Contents:
    """Returns the plain files of a tar archive.

    Args:
        data: the archive, unpacked from gzip.
        name: of the archive, for messages.
        wanted: tells by path which members to read.
        limits: what it may hold.

    Raises:
        Unreadable: it is no tar archive, or goes over a limit.
    """
    contents = Contents()
    meter = _Meter(len(data), limits)
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for count, member in enumerate(_tar_members(tar)):
                if count >= limits.members:
                    raise Unreadable(Reason.UNSAFE_ARCHIVE, f"{name}: over {count} members")
                _take_tar(tar, member, contents, wanted, meter)
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        # A tar cut short still gave its first members.
        if not contents.files:
            raise Unreadable(Reason.UNREADABLE_FILE, f"{name}: bad tar: {error}") from error
        contents.faults.append(Unreadable(Reason.UNREADABLE_FILE, f"{name}: bad tar: {error}"))
    return contents


def _tar_members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := tar.next()) is not None:
        # TarFile keeps every header it has seen; a list of millions is not needed.
        tar.members = []  # type: ignore[attr-defined]
        yield member


def _take_tar(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    contents: Contents,
    wanted: Callable[[str], bool],
    meter: _Meter,
) -> None:
    if member.isdir():
        return
    path = safe_name(member.name)
    if path is None:
        contents.refuse(f"path leaves the archive: {member.name[:200]}")
    elif not member.isfile():
        kind = "link" if member.issym() or member.islnk() else "device"
        contents.refuse(f"{kind} in the archive: {path}")
    elif path in contents.files:
        contents.refuse(f"name stored twice: {path}")
    elif not wanted(path):
        contents.skipped += 1
    else:
        stream = tar.extractfile(member)
        if stream is not None:
            contents.files[path] = meter.read(stream, path)  # type: ignore[arg-type]


def read_zip(
    path: Path,
    wanted: Callable[[str], bool] = lambda member: True,
    limits: Limits = LIMITS,
    *,
    whole: bool = True,
) -> Contents:
    """Returns the plain files of a zip archive.

    Args:
        path: the archive.
        wanted: tells by path which members to read.
        limits: what it may hold.
        whole: a damaged member spoils the archive; otherwise it is a fault, if others can be read.

    Raises:
        Unreadable: it is damaged, encrypted, or goes over a limit.
    """
    packed = _checked_size(path, limits)
    contents = Contents()
    meter = _Meter(packed, limits)
    damaged: list[Unreadable] = []
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > limits.members:
                raise Unreadable(Reason.UNSAFE_ARCHIVE, f"{path.name}: {len(members)} members")
            for member in members:
                try:
                    _take_zip(archive, member, contents, wanted, meter)
                except Unreadable:
                    raise
                except Exception as error:  # lzma and bz2 members bring their own kinds
                    damaged.append(_bad_zip(f"{path.name}: {member.filename[:200]}", error))
                    if whole:
                        raise damaged[0] from error
    except Unreadable:
        raise
    except Exception as error:  # BadZipFile, and whatever else a damaged directory leads to
        raise _bad_zip(path.name, error) from error
    if damaged and not contents.files:
        raise damaged[0]
    contents.faults += damaged
    return contents


def _bad_zip(name: str, error: Exception) -> Unreadable:
    return Unreadable(Reason.UNREADABLE_FILE, f"{name}: bad zip: {error}")


def _take_zip(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    contents: Contents,
    wanted: Callable[[str], bool],
    meter: _Meter,
) -> None:
    if member.is_dir():
        return
    name = safe_name(member.filename)
    mode = member.external_attr >> 16
    if name is None:
        contents.refuse(f"path leaves the archive: {member.filename[:200]}")
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        contents.refuse(f"link or device in the archive: {name}")
    elif name in contents.files:
        contents.refuse(f"name stored twice: {name}")
    elif not wanted(name):
        contents.skipped += 1
    elif member.flag_bits & 0x1:
        raise Unreadable(Reason.UNREADABLE_FILE, f"{name}: encrypted")
    else:
        with archive.open(member) as stream:
            contents.files[name] = meter.read(stream, name)  # type: ignore[arg-type]
