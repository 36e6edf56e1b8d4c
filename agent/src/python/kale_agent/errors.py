"""What can go wrong, with the agent's own exit codes for it."""

from __future__ import annotations

from typing import Any

# For failures that are found on this side.
USAGE, OUTPUT, DAMAGED, IO = 190, 194, 193, 195


class KaleError(RuntimeError):
    """A request failed. ``code`` is the agent's exit code for it; ``message`` says what, where, and what to do."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


def type_name(obj: Any) -> str:
    """The name of an object's type, with its module where that is of use."""
    kind = type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def is_utf8(text: str) -> bool:
    """Whether text can be written as UTF-8: lone surrogates cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
