"""Standard output and standard error, which no secret leaves by."""

from __future__ import annotations

from typing import Any, TextIO, cast

from imagefactory.system.redact import redact


class _Redacted:
    """Passes on what is written, without secrets. Whoever writes here writes whole lines."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        self._out.write(redact(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)


def without_secrets(out: TextIO) -> TextIO:
    """The same stream, without secrets."""
    return out if isinstance(out, _Redacted) else cast(TextIO, _Redacted(out))
