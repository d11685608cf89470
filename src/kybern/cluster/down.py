"""``kybern down``: stops a cluster and removes what it left on the machine.

Works from the data directory alone, whatever is still alive, and may be repeated. Files stay, so
that ``kybern up`` brings the cluster back, unless they are to be wiped.
"""

import shutil
from pathlib import Path

from kybern.cluster import supervisor
from kybern.cluster.progress import Steps
from kybern.cluster.record import record_file

# Everything that Kybern writes below a data directory; what else lies there is not ours.
OWN_ENTRIES = (
    "credentials",
    "kubeconfig",
    "logs",
    "nodes",
    "pki",
    "record.json",
    "store.db",
    "store.db-shm",
    "store.db-wal",
    "store.db.lock",
    "supervisor.pid",
)


async def take_down(data_dir: Path, wipe: bool, steps: Steps) -> None:
    """Stop the nodes first, so that they can still say goodbye, then the control plane."""
    if (data_dir / "nodes").exists():
        from kybern.cluster import nodes

        with steps.step("nodes stopped"):
            await nodes.clean(data_dir, wipe=wipe)
    with steps.step("control plane stopped"):
        await supervisor.stop(data_dir)
    if wipe:
        with steps.step("files removed"):
            remove_files(data_dir)


def remove_files(data_dir: Path) -> None:
    """Remove our own entries, and the directory if nothing else is in it."""
    if not data_dir.exists():
        return
    record_file(data_dir).unlink(missing_ok=True)
    for name in OWN_ENTRIES:
        entry = data_dir / name
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    if not any(data_dir.iterdir()):
        data_dir.rmdir()
