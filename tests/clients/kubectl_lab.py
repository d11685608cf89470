"""Real kubectls for tests: where they are found, and how they are called.

``current()`` is the newest kubectl of the machine that is no older than 1.30 (``KUBECTL`` names
another one); ``old()`` is Debian's 1.20, which bin/prepare unpacks. A test that wants one that is
not there skips and says what was looked for.
"""

import functools
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

OLDEST_CURRENT = (1, 30)
UNPACKED = Path(__file__).parents[2] / ".venv" / "debian-kubectl" / "usr" / "bin" / "kubectl"
PATIENCE = 30.0

Version = tuple[int, int]


def version_of(program: Path) -> Version:
    """(1, 33), or (0, 0) for what is no kubectl."""
    command = [str(program), "version", "--client", "-o", "json"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE)
        said = orjson.loads(done.stdout)["clientVersion"]
        return int(said["major"]), int(re.sub(r"\D", "", said["minor"]))
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
        return 0, 0


@functools.cache
def current() -> Path | str:
    """The newest kubectl of this machine, or why there is none."""
    named = os.environ.get("KUBECTL")
    found = [Path(named)] if named else list(_installed())
    for version, program in sorted(((version_of(one), one) for one in found), reverse=True):
        if version >= OLDEST_CURRENT:
            return program
    return f"no kubectl >= 1.30 on PATH, and KUBECTL names none (seen: {found or 'none'})"


def _installed() -> Iterator[Path]:
    """``kubectl`` on PATH, and ``kubectl.1.33`` beside it or beside what it links to."""
    folders: dict[Path, None] = {}
    for folder in map(Path, os.environ.get("PATH", "").split(os.pathsep)):
        program = folder / "kubectl"
        if os.access(program, os.X_OK):
            folders |= {folder: None, program.resolve().parent: None}
    seen: set[Path] = set()
    for folder in folders:
        names = [folder / "kubectl", *folder.glob("kubectl.1.[0-9]*")]
        for program in names:
            if os.access(program, os.X_OK) and program.resolve() not in seen:
                seen.add(program.resolve())
                yield program


@functools.cache
def old() -> Path | str:
    """Debian's kubectl 1.20, or why it is not there."""
    if version_of(UNPACKED)[0]:
        return UNPACKED
    return "Debian's kubectl is not unpacked; 'bin/prepare test' fetches it where apt-get can"


def client_environment(kubeconfig: Path, home: Path) -> dict[str, str]:
    """What a kubectl finds around it: the cluster, and a home of its own for its caches."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "KUBECONFIG": str(kubeconfig),
        "TZ": "UTC",
    }


def joined(which: str, environment: Mapping[str, str]) -> "Kubectl":
    """The ``current`` kubectl or ``debian``'s; skips the test that asks if it is not there."""
    found = current() if which == "current" else old()
    if isinstance(found, str):
        pytest.skip(found)
    return Kubectl((str(found),), environment, version=version_of(found))


@dataclass(frozen=True)
class Done:
    """What one call of a program gave."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def json(self) -> Any:
        return orjson.loads(self.out)


@dataclass(frozen=True)
class Kubectl:
    """A kubectl joined to a cluster; the cluster's address and caches come by environment."""

    program: tuple[str, ...]
    environment: Mapping[str, str]
    namespace: str = ""
    version: Version = (0, 0)

    @property
    def is_old(self) -> bool:
        return self.version < OLDEST_CURRENT

    def within(self, namespace: str) -> "Kubectl":
        return replace(self, namespace=namespace)

    def command(self, *arguments: str) -> list[str]:
        inside = ["--namespace", self.namespace] if self.namespace else []
        return [*self.program, *inside, *arguments]

    def __call__(
        self, *arguments: str, stdin: str | bytes = b"", environment: Mapping[str, str] = {}
    ) -> Done:
        """Call it and tell whatever happened."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            self.command(*arguments),
            input=data,
            capture_output=True,
            env={**self.environment, **environment},
            timeout=PATIENCE,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        return Done(done.returncode, out, err)

    def ok(
        self, *arguments: str, stdin: str | bytes = b"", environment: Mapping[str, str] = {}
    ) -> Done:
        """Call it; it must succeed."""
        done = self(*arguments, stdin=stdin, environment=environment)
        assert done.code == 0, f"kubectl {' '.join(arguments)}: {done.err}{done.out}"
        return done

    def apply(self, manifest: Any, *arguments: str) -> Done:
        """``apply -f -`` of an object, a list of objects, or YAML."""
        if isinstance(manifest, list):
            manifest = {"apiVersion": "v1", "kind": "List", "items": manifest}
        text = manifest if isinstance(manifest, str) else orjson.dumps(manifest)
        return self.ok("apply", "-f", "-", *arguments, stdin=text)

    def value(self, path: str, *what: str) -> str:
        """``get WHAT -o jsonpath=PATH``."""
        return self.ok("get", *what, "-o", f"jsonpath={path}").out

    @contextmanager
    def running(self, *arguments: str, stdin: int | None = None) -> Iterator["Running"]:
        """The program in the background, killed at the end of the block."""
        process = subprocess.Popen(
            self.command(*arguments),
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(self.environment),
        )
        assert process.stdout is not None
        try:
            yield Running(process, process.stdout.fileno())
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            if process.stdin is not None:
                process.stdin.close()

    @contextmanager
    def on_terminal(self, *arguments: str) -> Iterator["Running"]:
        """The program on a terminal of its own, as a person would have it."""
        ours, its = pty.openpty()
        process = subprocess.Popen(
            self.command(*arguments),
            stdin=its,
            stdout=its,
            stderr=its,
            env={**self.environment, "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(its)
        try:
            yield Running(process, ours)
        finally:
            process.kill()
            process.wait()
            os.close(ours)


class Running:
    """A program at work, and what it wrote so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: int) -> None:
        self.process = process
        self._output = output
        self.seen = ""

    def expect(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """Read until the output matches; fails with what was written instead."""
        end = time.monotonic() + patience
        while (found := re.search(pattern, self.seen, re.MULTILINE)) is None:
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"{pattern!r} did not come; it wrote: {self.seen!r}")
        self.seen = self.seen[found.end() :]
        return found

    def _read(self, patience: float) -> bool:
        if not select.select([self._output], [], [], max(patience, 0))[0]:
            return False
        try:
            data = os.read(self._output, 65536)
        except OSError:  # the terminal's other end is closed
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    def type(self, text: str) -> None:
        """Keys for a program on a terminal."""
        os.write(self._output, text.encode())

    def ends(self, patience: float = PATIENCE) -> int:
        """Its exit code, once it ends by itself; the rest of its output is in ``seen``."""
        end = time.monotonic() + patience
        while self._read(end - time.monotonic()):
            pass
        return self.process.wait(max(end - time.monotonic(), 0.1))


def until(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Ask again and again until the answer is true; returns it."""
    end = time.monotonic() + patience
    while not (answer := condition()):
        assert time.monotonic() < end, f"{condition} did not hold within {patience} s"
        time.sleep(0.05)
    return answer
