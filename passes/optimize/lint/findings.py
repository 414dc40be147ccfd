"""What a check is, what it is given, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from passes.errors import Where


@dataclass(frozen=True)
class Settings:
    """What users can set.

    Attributes:
      accumulate_over: From how many terms on a sum in a short float type is reported; ``None`` asks the type.
      constant_bytes: From how many bytes on a constant is.
    """

    accumulate_over: int | None = None
    constant_bytes: int = 1 << 20


@dataclass
class Scope:
    """One module under check: what checks share. ``entry`` is the entry function, if there is one."""

    module: Any
    entry: Any
    settings: Settings
    # What checks remember, by themselves and by value or function, so that no op is looked at twice.
    memory: dict[Any, Any] = field(default_factory=dict)

    def is_entry(self, function: Any) -> bool:
        """Whether ``function`` is the entry; the bindings compare no op with ``None``."""
        return self.entry is not None and bool(function == self.entry)


@dataclass(frozen=True)
class Remark:
    """What a check says about an op: what is the case and what to do. ``location`` if it is not the op's own."""

    message: str
    todo: str
    location: Any = None


@dataclass(frozen=True)
class Check:
    """A check: its name and summary for users, the ops it wants to see, and the function that looks at one."""

    name: str
    summary: str
    ops: tuple[str, ...]
    look: Callable[[Any, Scope], Iterator[Remark]]


@dataclass(frozen=True)
class Finding:
    """A remark at its place."""

    check: str
    where: Where
    message: str
    todo: str

    def line(self) -> str:
        """The finding as compilers print theirs."""
        return f"{self.where}: warning: {self.message}; {self.todo} [{self.check}]"

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON data."""
        return {
            "check": self.check,
            "file": self.where.file,
            "line": self.where.line,
            "column": self.where.column,
            "message": self.message,
            "todo": self.todo,
        }
