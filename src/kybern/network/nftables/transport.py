"""The way of a transaction into the kernel: libnftables in this process, or the ``nft`` program.

A transaction is all or nothing. libnftables takes a few milliseconds where starting ``nft`` takes
thirty; machines without the library have the program from the same Debian package. Either acts on
the network namespace of the thread that made the transport.
"""

import shutil
import subprocess
from typing import Protocol


class NftablesError(Exception):
    """The kernel or the parser refused a transaction; the text is theirs."""


class Nftables(Protocol):
    """Runs commands in nft's own language. Blocking: callers use a worker thread."""

    def run(self, commands: str) -> str:
        """Run one transaction; its output. Raises NftablesError and changes nothing on failure."""
        ...


class LibNftables:
    """libnftables through ``pip-nftables``; raises OSError or ImportError where it is missing."""

    def __init__(self) -> None:
        import nftables

        try:
            self._library = nftables.Nftables()
        except Exception as error:
            raise OSError(f"libnftables cannot be used: {error}") from error
        self._library.set_handle_output(False)

    def run(self, commands: str) -> str:
        code, output, error = self._library.cmd(commands)
        if code:
            raise NftablesError(_brief(error or output))
        return str(output)


class NftProgram:
    """``nft -f -``, one process per transaction."""

    def __init__(self, program: str = "nft") -> None:
        found = shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin")
        if found is None:
            raise OSError(f"{program} is not installed")
        self._program = found

    def run(self, commands: str) -> str:
        done = subprocess.run(
            [self._program, "-f", "-"], input=commands, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NftablesError(_brief(done.stderr))
        return done.stdout


def open_nftables() -> Nftables:
    """The best transport this machine has; raises OSError if it has none."""
    try:
        return LibNftables()
    except (ImportError, OSError):
        return NftProgram()


def _brief(text: str) -> str:
    """The first complaint: the rest quotes the whole transaction."""
    return text.strip()[:500] or "refused without a reason"
