"""What a pass of ours is: a frozen dataclass whose fields are its options, with declared statistics and an example.

``dead-ops{keep-calls=true}`` in a pipeline is ``DeadOps(keep_calls=True)`` in Python. A pass module imports no bindings
when it is loaded, so options can be checked and reference pages written without them.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from passes.errors import UserError


@dataclass(frozen=True)
class Statistic:
    """A counter a pass declares: ``name`` as printed by ``--mlir-pass-statistics`` and what it counts.

    ``changes`` says whether a count means that the program is another one now; not so for what was left alone.
    """

    name: str
    help: str
    changes: bool = True


def option(default: Any, help: str) -> Any:
    """A dataclass field that is a pass option.

    Its type annotation is bool, int, str, a ``Literal`` of the words to choose from, or a tuple of str.
    """
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Option:
    """One option of a pass as users write it: ``keep-calls`` for the field ``keep_calls``."""

    name: str
    field: str
    type: Any
    default: Any
    help: str

    @property
    def words(self) -> tuple[str, ...]:
        """The words to choose from, if the option is a choice."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    def parse(self, text: str, pass_name: str) -> Any:
        """The option's value from its text in a pipeline.

        Raises:
          UserError: the text is no value of the option's type.
        """
        if self.words:
            if text in self.words:
                return text
            raise UserError(
                f"option '{self.name}' of pass '{pass_name}' takes one of {', '.join(self.words)}, not '{text}'"
            )
        if self.type is bool:
            if text in ("true", "1", ""):
                return True
            if text in ("false", "0"):
                return False
            raise UserError(f"option '{self.name}' of pass '{pass_name}' takes true or false, not '{text}'")
        if self.type is int:
            try:
                return int(text)
            except ValueError:
                raise UserError(
                    f"option '{self.name}' of pass '{pass_name}' takes a whole number, not '{text}'"
                ) from None
        if self.type is str:
            return text
        return tuple(part for part in text.split(",") if part)

    def print(self, value: Any) -> str:
        """The text for ``value`` in a pipeline, quoted where it must be."""
        if isinstance(value, bool):
            return "true" if value else "false"
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        if not any(c.isspace() or c in "'\"" for c in text):
            return text
        return f"'{text}'" if '"' in text else f'"{text}"'


@dataclass(frozen=True)
class Removal:
    """An op that a pass took out: its name, its ``ir.Location``, and why it could go."""

    op: str
    location: Any
    why: str


@dataclass(frozen=True)
class Remark:
    """What a pass has to say about an op to whoever runs it: the op's ``ir.Location``, and words only they know."""

    location: Any
    words: tuple[str, ...]


class Counters(dict[str, int]):
    """The statistics of one run of one pass; a name that was not declared is a bug and raises.

    Attributes:
      removals: The ops taken out so far, if somebody wants to know; ``None`` saves the time to list them.
      remarks: What `remark` noted.
    """

    def __init__(self, declared: tuple[Statistic, ...], *, explain: bool = False) -> None:
        super().__init__({s.name: 0 for s in declared})
        self.removals: list[Removal] | None = [] if explain else None
        self.remarks: list[Remark] = []

    def removed(self, op: Any, why: str) -> None:
        """Notes that ``op`` goes and why ("merged into an equal op"); called while the op is still there."""
        if self.removals is not None:
            self.removals.append(Removal(op.name, op.location, why))

    def remark(self, op: Any, *words: str) -> None:
        """Tells whoever runs the pass, in this process or another, ``words`` about ``op``; nothing prints them."""
        self.remarks.append(Remark(op.location, words))

    def add(self, name: str, count: int = 1) -> None:
        """Counts ``count`` more events of ``name``."""
        self[name] = self[name] + count


@dataclass(frozen=True)
class Pass(ABC):
    """Base of all passes written here.

    Class attributes:
      name: The pass's name in pipelines and on the command line (``--name``).
      summary: One sentence for ``--list-passes`` and the reference page.
      statistics: What the pass counts.
      before, after: IR that shows what the pass does; a test runs the pass on ``before`` and expects ``after``.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    statistics: ClassVar[tuple[Statistic, ...]] = ()
    before: ClassVar[str]
    after: ClassVar[str]

    @abstractmethod
    def run(self, module: Any, counters: Counters) -> None:
        """Transforms ``module`` (the ``builtin.module`` operation) in place.

        Handles into the module from before the call may be dead after it. Raises `UserError` for input the pass
        cannot take; the module is then not used further.
        """

    @classmethod
    def options(cls) -> tuple[Option, ...]:
        """The pass's options in declaration order."""
        return _options(cls)

    @classmethod
    def from_options(cls, given: dict[str, str]) -> Pass:
        """The pass with ``given`` options (names as users write them).

        Raises:
          UserError: an unknown option, or a value of the wrong type.
        """
        known = {o.name: o for o in cls.options()}
        values = {}
        for name, text in given.items():
            if name not in known:
                choices = ", ".join(known) or "none"
                raise UserError(f"pass '{cls.name}' has no option '{name}'; its options: {choices}")
            values[known[name].field] = known[name].parse(text, cls.name)
        return cls(**values)

    def to_text(self) -> str:
        """The pass as pipeline text, naming only the options that differ from their defaults."""
        changed = [
            f"{o.name}={o.print(getattr(self, o.field))}"
            for o in self.options()
            if getattr(self, o.field) != o.default
        ]
        return f"{self.name}{{{' '.join(changed)}}}" if changed else self.name


@cache
def _options(kind: type[Pass]) -> tuple[Option, ...]:
    """Kept, for evaluating the annotations of a class takes as long as a pass over a small program."""
    types = get_type_hints(kind)
    return tuple(
        Option(f.name.replace("_", "-"), f.name, types[f.name], f.default, f.metadata.get("help", ""))
        for f in dataclasses.fields(kind)
    )
