"""Steps of a long command, as people watch them: what runs now, what is done, how long it took.

On a terminal the running step shows a spinner and its time; elsewhere each step is one line when
it is done. The times stay available for a summary.
"""

import contextlib
from collections.abc import Iterator
from time import perf_counter

from rich.console import Console
from rich.markup import escape
from rich.status import Status


class Steps:
    """Shows steps on standard error, so that standard output stays for results."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.times: list[tuple[str, float]] = []
        self._status: Status | None = None
        self._title = ""

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step; what it raises marks it as failed."""
        started = perf_counter()
        self._title = title
        try:
            with self.console.status(escape(title)) as self._status:
                yield
        except BaseException:
            self.console.print(f"[red]✗[/red] {escape(title)}")
            raise
        finally:
            self._status = None
        seconds = perf_counter() - started
        self.times.append((title, seconds))
        self.console.print(f"[green]✓[/green] {escape(title)} [dim]{seconds:.1f} s[/dim]")

    def detail(self, text: str) -> None:
        """Say what the running step is waiting for."""
        if self._status is not None:
            self._status.update(f"{escape(self._title)} [dim]{escape(text)}[/dim]")

    def say(self, text: str) -> None:
        """A line between steps; may hold rich's markup."""
        self.console.print(text)
