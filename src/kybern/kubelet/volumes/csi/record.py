"""What has to be undone, on disk: ``vol_data.json`` beside each place that a driver was given.

Written before the driver is called and removed after it has undone its part, so that whoever finds
it later, a kubelet that starts anew included, knows what to call. The layout is upstream's. Blocks.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from kybern.kubelet.paths import Paths

FILE = "vol_data.json"
# Beside it while a pod's group has yet to get what is in the volume.
GROUP_DUE = "group_due"
PLUGIN = "csi"
EPHEMERAL, PERSISTENT = "Ephemeral", "Persistent"


@dataclass(frozen=True, slots=True)
class Record:
    """One volume as a driver knows it; field names are those in the file."""

    specVolID: str
    driverName: str
    volumeHandle: str
    volumeLifecycleMode: str = PERSISTENT
    isAttached: bool = False

    @property
    def node_name(self) -> str:
        """The volume in the Node's ``volumesInUse``."""
        return f"kubernetes.io/csi/{self.driverName}^{self.volumeHandle}"

    def save(self, directory: Path) -> None:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        partial = directory / f"{FILE}.partial"
        partial.write_text(json.dumps(asdict(self)))
        partial.rename(directory / FILE)

    @classmethod
    def load(cls, directory: Path) -> "Record | None":
        """What was saved there; None if nothing (whole) was."""
        try:
            values = json.loads((directory / FILE).read_text())
            return cls(**{name: values[name] for name in cls.__slots__ if name in values})
        except (FileNotFoundError, ValueError, TypeError):
            return None


def forget(directory: Path) -> None:
    """Remove a record and its directory, which must hold nothing else by now."""
    for name in (f"{FILE}.partial", FILE, GROUP_DUE):
        (directory / name).unlink(missing_ok=True)
    if directory.exists():
        directory.rmdir()


def note_group(directory: Path) -> None:
    """The volume that is to be published is not done before its group is applied."""
    (directory / GROUP_DUE).touch()


def group_applied(directory: Path) -> None:
    (directory / GROUP_DUE).unlink(missing_ok=True)


def is_group_due(directory: Path) -> bool:
    return (directory / GROUP_DUE).exists()


class Places:
    """Where volumes are staged and published, and what is recorded there."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._root = paths.plugin(PLUGIN)

    def staging(self, record: Record) -> Path:
        """The directory of a staged file system; it is staged at ``globalmount`` in it."""
        handle = hashlib.sha256(record.volumeHandle.encode()).hexdigest()
        return self._root / record.driverName / handle

    def device_staging(self, record: Record) -> Path:
        return self._root / "volumeDevices" / "staging" / record.specVolID

    def device_data(self, name: str) -> Path:
        """The directory of a block volume's record."""
        return self._root / "volumeDevices" / name / "data"

    def device(self, name: str, uid: str) -> Path:
        """Where a block volume is published for a pod."""
        return self._root / "volumeDevices" / "publish" / name / uid

    def users(self, record: Record) -> list[Path]:
        """The pods' places of a volume, under whatever name it is known."""
        found = self._paths.pods.glob(f"*/volumes/kubernetes.io~{PLUGIN}/*")
        return [path for path in found if _is_same(Record.load(path), record)]

    def device_users(self, name: str) -> list[Path]:
        return self._paths.device_users(PLUGIN, name)

    def staged(self) -> Iterator[Record]:
        """Every staged file system."""
        for path in sorted(self._root.glob("*/*")):
            if (record := Record.load(path)) is not None:
                yield record

    def in_use(self) -> list[str]:
        """The attached volumes that a pod wants or a driver was given, as the Node names them."""
        places = [
            *self._paths.pods.glob(f"*/volumes/kubernetes.io~{PLUGIN}/*"),
            *self._root.glob("*/*"),
            *self._root.glob("volumeDevices/*/data"),
        ]
        records = [record for path in places if (record := Record.load(path)) is not None]
        return sorted({record.node_name for record in records if record.isAttached})


def _is_same(one: Record | None, other: Record) -> bool:
    return one is not None and one.node_name == other.node_name
