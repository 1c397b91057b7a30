"""Files and folders that are replaced as a whole: a reader sees the old one or the new one, complete."""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from fastroute.artifact.folder import checked_path, opened_folder
from fastroute.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_RENAME_EXCHANGE = 2
_BUFFER = 128 * 1024
_NAME_ROOM = 48  # characters of the target's name kept in a temporary one, to stay within 255 bytes


def temporary_name(name: str) -> str:
    """Name for a hidden sibling of `name`, unlike any other."""
    return f".{name[:_NAME_ROOM]}.tmp-{secrets.token_hex(8)}"


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into an `ArtifactError` that names `path`."""
    try:
        yield
    except ArtifactError:
        raise
    except OSError as error:
        raise ArtifactError(f"{path}: can't be written: {error.strerror or error}") from error


@contextmanager
def opened_parent(target: Path) -> Iterator[int]:
    """Descriptor of the folder that holds, or will hold, `target`."""
    with ExitStack() as stack:
        try:
            parent = stack.enter_context(opened_folder(target.parent))
        except FileNotFoundError as error:
            raise ArtifactError(
                f"{target}: can't be written: folder {target.parent} does not exist; create it first"
            ) from error
        yield parent


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write one file that appears under its name complete, or not at all.

    The bytes go to a hidden sibling, which replaces `path` when the block ends well. When the block raises
    or is interrupted, the sibling is removed and an older file under the name stays as it was. The mode of
    an older file is kept; a symbolic link is followed. A device or a FIFO is written straight through.

    Raises
    ------
    ArtifactError
        The operating system refused; the message has the path and the reason. Raised by the stream's methods
        too.
    """
    target = Path(os.path.realpath(checked_path(path)))
    with ExitStack() as stack:
        with reported(target):
            mode = _existing_mode(target)
            if mode is not None and not stat.S_ISREG(mode):
                stream = stack.enter_context(_written_through(target))
                parent = None
            else:
                parent = stack.enter_context(opened_parent(target))
                temporary, descriptor = stack.enter_context(_temporary_file(parent, target.name, mode))
                stream = stack.enter_context(_output(descriptor, target))
        yield stream
        with reported(target):
            if not stream.closed:
                stream.flush()
            if parent is not None:
                os.fsync(descriptor)
                os.replace(temporary, target.name, src_dir_fd=parent, dst_dir_fd=parent)
                os.fsync(parent)


def replace_folder(parent: int, new: str, target: str, *, exists: bool) -> None:
    """Give the folder `new` the name `target`; where that exists, `new` names the old one afterwards.

    When the new state can't be made durable the old one is put back and the failure raised.
    """
    if exists:
        _swap(parent, new, target)
    else:
        _rename(parent, new, target)
    try:
        os.fsync(parent)
    except BaseException:
        with suppress(OSError):
            if exists:
                _swap(parent, new, target)
            else:
                _rename(parent, target, new)
        raise


def _existing_mode(target: Path) -> int | None:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return mode


class _Output(io.FileIO):
    """Unbuffered writer on a descriptor that others close; its failures name the target."""

    def __init__(self, descriptor: int, target: Path) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._target = target

    def write(self, data: Any) -> int:
        with reported(self._target):
            return os.write(self.fileno(), data)


@contextmanager
def _output(descriptor: int, target: Path) -> Iterator[BinaryIO]:
    stream = io.BufferedWriter(_Output(descriptor, target), _BUFFER)
    try:
        yield cast("BinaryIO", stream)
    finally:
        with suppress(ArtifactError):  # after a success nothing is left to flush
            stream.close()


@contextmanager
def _written_through(target: Path) -> Iterator[BinaryIO]:
    descriptor = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
    try:
        with _output(descriptor, target) as stream:
            yield stream
    finally:
        os.close(descriptor)


@contextmanager
def _temporary_file(parent: int, name: str, mode: int | None) -> Iterator[tuple[str, int]]:
    temporary = temporary_name(name)
    descriptor = os.open(temporary, _CREATE, 0o666, dir_fd=parent)
    try:
        if mode is not None:
            os.fchmod(descriptor, mode & 0o777)
        yield temporary, descriptor
    finally:
        os.close(descriptor)
        with suppress(OSError):  # after a success the name is gone
            os.unlink(temporary, dir_fd=parent)


def _rename(parent: int, old: str, new: str) -> None:
    os.rename(old, new, src_dir_fd=parent, dst_dir_fd=parent)


def _swap(parent: int, first: str, second: str) -> None:
    if not exchange_names(parent, first, second):
        _swap_by_renames(parent, first, second)


def exchange_names(parent: int, first: str, second: str) -> bool:
    """Exchange two names of a folder in one step; False where the system or the file system can't."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # a C library older than the call
        return False
    renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    names = os.fsencode(first), os.fsencode(second)
    if renameat2(parent, names[0], parent, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(code, os.strerror(code))


def _swap_by_renames(parent: int, first: str, second: str) -> None:
    """Exchange two names in three steps. Between the first two, `second` does not exist.

    A process killed in that moment leaves the old folder under a hidden name beside it.
    """
    aside = temporary_name(second)
    _rename(parent, second, aside)
    try:
        _rename(parent, first, second)
        try:
            _rename(parent, aside, first)
        except BaseException:
            _rename(parent, second, first)
            raise
    except BaseException:
        _put_back(parent, aside, second)
        raise


def _put_back(parent: int, aside: str, name: str) -> None:
    try:
        _rename(parent, aside, name)
    except OSError as error:
        raise ArtifactError(
            f"{name}: can't be written, and what was there could not be put back ({error.strerror}); "
            f"it is beside it under the name {aside}"
        ) from error
