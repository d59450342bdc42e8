"""Files that are whole or absent, at whatever moment a process ends."""

import contextlib
import errno
import fcntl
import io
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np

from mrcom.core.errors import RunFolderError


def draft_of(path: pathlib.Path) -> pathlib.Path:
    """Where a file lies while it is written, or a folder while it is deleted."""
    return path.with_name(f".{path.name}.draft")


def drop_leftovers(folder: pathlib.Path) -> list[str]:
    """Remove what writers that were killed left below a folder; its names."""
    found = sorted([*folder.rglob(".*.draft"), *folder.rglob("*.orbax-checkpoint-tmp*")])
    for path in found:
        # A thread of a writer that failed may still be at work; the next call takes the rest.
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return [path.name for path in found]


def write_whole(path: pathlib.Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that is the old or the new one at any moment; it is on disk on return.

    Args:
        path: the file; its folder is made.
        write: puts the contents into the open file.

    Raises:
        RunFolderError: it cannot be written, such as on a full disk; the old one is untouched.
    """
    draft = draft_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(draft) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            os.replace(draft, path)
        _sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextlib.contextmanager
def _alone(draft: pathlib.Path) -> Generator[BinaryIO]:
    """An empty draft, open for no other writer of the same file; gone where writing fails."""
    with _locked(draft) as file:
        try:
            yield file
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise


def _locked(draft: pathlib.Path) -> BinaryIO:
    """An empty draft; until it is closed, another writer of the same file waits."""
    while True:
        file = os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT, 0o666), "w+b")
        fcntl.flock(file, fcntl.LOCK_EX)
        # While it waited, the writer before may have given the draft its name.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), draft.stat()):
                file.truncate(0)
                return file
        file.close()


def write_arrays(
    path: pathlib.Path, arrays: Mapping[str, Any], *, save: Callable[..., None] = np.savez
) -> None:
    """Write arrays by name as an `.npz`, whole or not at all.

    Args:
        path: the file; its folder is made.
        arrays: arrays, or what NumPy makes some of.
        save: `np.savez`, or `np.savez_compressed`.

    Raises:
        RunFolderError: it cannot be written.
    """
    write_whole(path, lambda file: save(file, allow_pickle=False, **arrays))


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Arrays by name from an `.npz` file, compared with the file's own checksums.

    Raises:
        OSError: there is no such file.
        ValueError: it is damaged.
    """
    # Opened here: NumPy leaves a file open that turns out to be none of its own.
    with path.open("rb") as file:
        return arrays_in(file)


def arrays_in(file: io.BufferedIOBase) -> dict[str, np.ndarray]:
    """The same from an open file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # those of zipfile, tokenize and zlib have nothing in common
        raise ValueError(f"no whole .npz file: {error!r}") from error


def append_lines(path: pathlib.Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Adds JSON lines to a file, all at once.

    A torn last line, as a killed writer leaves it, is taken away first.

    Raises:
        RunFolderError: the file cannot be written; nothing of the lines is in it.
    """
    text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # nothing of another writer's is taken away
            written = path.read_bytes()
            end = sum(len(line) + 1 for line in whole_lines(written))
            os.ftruncate(file, min(end, len(written)))
            # A last line that lacks nothing but its end is given one.
            data = b"\n" * (end > len(written)) + text.encode()
            if os.write(file, data) < len(data):
                os.ftruncate(file, min(end, len(written)))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)
    except OSError as error:
        raise cannot_write(path, error) from error


def whole_lines(data: bytes) -> list[bytes]:
    """The lines of a file of JSON lines, as bytes: one that is damaged need not be text.

    What follows the last end of a line is one if it is whole.
    """
    *lines, tail = data.split(b"\n")
    try:
        json.loads(tail)
    except ValueError:
        return lines
    return [*lines, tail]


def cannot_write(path: pathlib.Path, error: BaseException) -> RunFolderError:
    """The one line for a file that could not be written."""
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0][:200]
    return RunFolderError(
        f"{path} cannot be written ({reason}). What was saved before is whole: "
        "make room or give write access, then go on (training: with --resume)."
    )


@contextlib.contextmanager
def making_room(path: pathlib.Path) -> Generator[None, None, None]:
    """A folder that is there steps aside while one of its name is written; it comes back where that
    fails.
    """
    old = set_aside(path) if path.exists() else None
    try:
        yield
    except BaseException:
        if old is not None:
            shutil.rmtree(path, ignore_errors=True)
            old.rename(path)
        raise
    if old is not None:
        shutil.rmtree(old)


def set_aside(path: pathlib.Path) -> pathlib.Path:
    """Give a folder the name of a draft, to be deleted there: what is left where that is cut short
    passes for nothing whole.

    Returns:
        Where it is.

    Raises:
        OSError: it cannot be renamed.
    """
    aside = draft_of(path)
    shutil.rmtree(aside, ignore_errors=True)
    return path.rename(aside)


def sync_folder(folder: pathlib.Path) -> None:
    """Bring a folder, all that lies in it and its name to disk.

    Raises:
        OSError: the disk fails.
    """
    for path in [*folder.rglob("*"), folder, folder.parent]:
        _sync(path)


def _sync(path: pathlib.Path) -> None:
    # A renamed file is there after a power cut only once its folder is on disk too.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
