"""A project image under test: a machine that booted from it, and commands through its launchers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from imagefactory.guest import Guest
from imagefactory.testing.subject import Call, Mount, Outcome

_SLOWER = 8.0  # a machine without KVM, against the one that runs it
_GRACE = 120.0
_NOT_THERE = "-"
# Its working folder is below the user's home, as people's are.
_RUN = """\
set -u
work=$(mktemp -d -p "$HOME") || exit 125
cd "$work" || exit 125
timeout --kill-after=10 {seconds} {command} >"$work.out" 2>&1 </dev/null
status=$?
sizes=
for name in {expect}; do
    size=$(stat -c %s -- "$name" 2>/dev/null) || size={missing}
    sizes="$sizes $size"
done
head -c {most} "$work.out"
printf '\\n{mark} %s%s\\n' "$status" "$sizes"
cd / && rm -rf "$work" "$work.out"
"""
_MARK = "=imagefactory="
_MOST = 8 << 20


@dataclass
class VmSubject:
    """Runs commands in a machine as the cloud's user, each through the launcher of one engine.

    ``scale`` is how many times longer than its limit a command may take, for a machine may be emulated.
    """

    guest: Guest
    disk: Path
    launcher: str
    engine: str = "docker"
    scale: float = 1.0
    labelled: Mapping[str, str] = field(default_factory=dict)
    local: bool = False
    there: set[str] = field(default_factory=set)  # what was brought there

    def labels(self) -> Mapping[str, str]:
        """The container's labels, as they were tested."""
        return self.labelled

    def through(self, engine: str) -> VmSubject:
        """The same machine, with another engine."""
        return replace(self, engine=engine)

    def run(self, call: Call) -> Outcome:
        """Run one command and return how it ended. Raises BuildFailed where the machine went away."""
        for mount in call.mounts:
            self._bring(mount)
        limit = call.time_limit * self.scale
        script = _RUN.format(
            seconds=f"{limit:g}",
            command=shlex.join([*self._words(call)]),
            expect=" ".join(map(shlex.quote, call.expect)) or "''",
            missing=_NOT_THERE,
            most=_MOST,
            mark=_MARK,
        )
        done = self.guest.run(script, timeout=limit + _GRACE)
        output, _, said = done.output.rpartition(f"\n{_MARK} ")
        if done.stopped or not said:
            return Outcome(done.status or 1, done.output, done.seconds, "the machine did not answer in time")
        status, *sizes = said.split()
        counted = zip(call.expect, sizes, strict=False)
        stopped = f"ran longer than its limit of {limit:g} seconds" if status in ("124", "137") else ""
        return Outcome(
            int(status),
            output,
            done.seconds,
            stopped,
            {name: int(size) for name, size in counted if size != _NOT_THERE},
        )

    def _words(self, call: Call) -> list[str]:
        settings = {"IMAGEFACTORY_ENGINE": self.engine, **call.environment}
        return ["env", *(f"{name}={value}" for name, value in settings.items()), self.launcher, *call.command]

    def _bring(self, mount: Mount) -> None:
        """Have a folder of this machine at its place there, once."""
        if mount.target not in self.there:
            self.there.add(mount.target)
            self.guest.copy_in(mount.source, mount.target, user="root")
            self.guest.run(["chmod", "-R", "a+rX", mount.target], user="root")


def scale_of(accelerator: str) -> float:
    """How many times longer commands may take in a machine under it."""
    return 1.0 if accelerator == "kvm" else _SLOWER
