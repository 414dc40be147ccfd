"""Arrays on disk, found by what they hold, and what was computed from what; whole or not there at any moment.

A folder holds ``values/ab/<digest>.npy``, one file for each different array, and ``journal.jsonl``, a line for each
computation that was done: its key and the digests of its results. Files are written under another name and renamed; a
journal line counts if it is whole. A process that is ended at any point therefore leaves arrays too many at worst.
Arrays are checked against their digest when they are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from passes.errors import UserError, Where
from passes.execute.arrays import TensorType, mlir_name


@dataclass(frozen=True)
class Stored:
    """An array in a store.

    Attributes:
      digest: SHA-256 of its type and bytes, in hexadecimal; equal for equal arrays.
      type: Its type.
      bytes: The size of its file.
    """

    digest: str
    type: TensorType
    bytes: int


class Damaged(Exception):
    """A stored array is gone or does not hold what it should; its file has been removed."""


class Store:
    """Arrays and computations in a folder, which is made if there is none.

    Attributes:
      folder: Where.
      written: Digests of the arrays that were not there before.
      computed: Key of a computation -> its results, as far as they are known.

    Raises:
      UserError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._values, self._unfinished = folder / "values", folder / "unfinished"
        self._journal = folder / "journal.jsonl"
        self._count = itertools.count()
        self.written: set[str] = set()
        try:
            self._values.mkdir(parents=True, exist_ok=True)
            self._unfinished.mkdir(exist_ok=True)
            self._sweep()
            self.computed = self._read_journal()
        except OSError as error:
            raise UserError(f"cannot keep values there: {error.strerror or error}", Where(str(folder))) from None

    def find(self, key: str) -> tuple[Stored | None, ...] | None:
        """The results recorded for ``key``, ``None`` for those that were dropped; ``None`` if there is no record."""
        found = self.computed.get(key)
        return found and tuple(s if s is not None and self._has(s) else None for s in found)

    def record(self, computed: dict[str, tuple[Stored | None, ...]]) -> None:
        """Remembers the results of computations by key; a result may be ``None``: not kept."""
        lines = [json.dumps({"key": k, "results": [s and _to_json(s) for s in v]}) for k, v in computed.items()]
        # One write, and a line end before it: what an ended process left half written stays a line of its own.
        descriptor = os.open(self._journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            self._write_all(descriptor, ("\n" + "\n".join(lines) + "\n").encode())
        finally:
            os.close(descriptor)
        self.computed.update(computed)

    def put(self, array: np.ndarray) -> Stored:
        """Stores an array.

        Raises:
          UserError: the disk is full, or the folder cannot be written any more.
        """
        type = TensorType(array.shape, mlir_name(array.dtype))
        digest = digest_of(array)
        target = self._path(digest)
        try:
            if not target.is_file():
                self.written.add(digest)
            # Also over a file that is there: it may be damaged, or nobody would have computed the value again.
            self._write(array, target)
            return Stored(digest, type, target.stat().st_size)
        except OSError as error:
            raise UserError(f"cannot keep a value: {error.strerror or error}", Where(str(self.folder))) from None

    def load(self, stored: Stored) -> np.ndarray:
        """The array.

        Raises:
          Damaged: it is not there any more, or not as it was.
        """
        path = self._path(stored.digest)
        try:
            array: np.ndarray = np.load(path, allow_pickle=False)
            array = array.view(stored.type.dtype) if array.dtype.kind == "V" else array
            if digest_of(array) == stored.digest:
                return array
        except (OSError, ValueError, EOFError):
            pass
        path.unlink(missing_ok=True)
        raise Damaged(stored.digest)

    def drop(self, stored: Stored) -> None:
        """Removes an array; nothing happens if it is gone."""
        self._path(stored.digest).unlink(missing_ok=True)

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file into the folder."""
        temporary = self._temporary()
        temporary.write_text(text)
        os.replace(temporary, self.folder / name)

    def _path(self, digest: str) -> Path:
        return self._values / digest[:2] / f"{digest}.npy"

    def _has(self, stored: Stored) -> bool:
        try:
            return self._path(stored.digest).stat().st_size == stored.bytes
        except OSError:
            return False

    def _write(self, array: np.ndarray, target: Path) -> None:
        target.parent.mkdir(exist_ok=True)
        temporary = self._temporary()
        with temporary.open("wb") as file:
            # Types that numpy does not know (bf16, f8) are written as raw bytes of their size.
            raw = array if array.dtype.kind in "biufc" and array.dtype.isbuiltin == 1 else _raw(array)
            np.save(file, raw, allow_pickle=False)
        os.replace(temporary, target)

    def _temporary(self) -> Path:
        return self._unfinished / f"{os.getpid()}-{next(self._count)}"

    def _sweep(self) -> None:
        """Removes what processes that are gone did not finish."""
        for path in self._unfinished.iterdir():
            owner = path.name.partition("-")[0]
            if not owner.isdecimal() or not _running(int(owner)):
                path.unlink(missing_ok=True)

    def _read_journal(self) -> dict[str, tuple[Stored | None, ...]]:
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for line in self._journal.read_bytes().split(b"\n"):
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    found[str(entry["key"])] = tuple(s and _from_json(s) for s in entry["results"])
        return found

    def _write_all(self, descriptor: int, data: bytes) -> None:
        while data:
            data = data[os.write(descriptor, data) :]


def _raw(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(array.shape).view(f"V{array.dtype.itemsize}")


def digest_of(array: np.ndarray) -> str:
    """SHA-256 of an array's type and bytes."""
    type = TensorType(array.shape, mlir_name(array.dtype))
    hasher = hashlib.sha256(str(type).encode())
    hasher.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


def _running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _to_json(stored: Stored) -> dict[str, Any]:
    shape, element = list(stored.type.shape), stored.type.element
    return {"digest": stored.digest, "shape": shape, "element": element, "bytes": stored.bytes}


def _from_json(data: dict[str, Any]) -> Stored:
    type = TensorType(tuple(int(s) for s in data["shape"]), str(data["element"]))
    return Stored(str(data["digest"]), type, int(data["bytes"]))
