"""What cgroups are called by the two cgroup drivers. Pure.

``cgroupfs`` names directories: ``/kubepods/burstable/podUID``, and a container by its id below.
``systemd`` names units, and each carries those above it in its own name:
``kubepods-burstable-podUID.slice``, with the dashes of a part turned into underscores; a container
is a scope that the runtime names after itself and the id. Paths are the same for every hierarchy.
"""

from dataclasses import dataclass

CGROUPFS, SYSTEMD = "cgroupfs", "systemd"
DRIVERS = (CGROUPFS, SYSTEMD)
QOS_CLASSES = ("Guaranteed", "Burstable", "BestEffort")
_SLICE, _SCOPE = ".slice", ".scope"
_POD = "pod"


@dataclass(frozen=True, slots=True)
class Names:
    """The paths of a node's cgroups below ``root`` (``--cgroup-root``), as ``driver`` has them."""

    root: str
    driver: str

    @property
    def all_pods(self) -> str:
        return self._path()

    def qos(self, qos_class: str) -> str:
        """The cgroup above the pods of a class; Guaranteed ones have none of their own."""
        return self._path(*_parts(qos_class))

    def pod(self, qos_class: str, uid: str) -> str:
        return self._path(*_parts(qos_class), f"{_POD}{uid}")

    def uid(self, directory: str) -> str | None:
        """The pod whose cgroup a directory of a class is; None if it is something else."""
        if self.driver == SYSTEMD:
            if not directory.endswith(_SLICE):
                return None
            last = directory.removesuffix(_SLICE).rpartition("-")[2]
            directory = last.replace("_", "-")
        return directory.removeprefix(_POD) if directory.startswith(_POD) else None

    def container(self, directory: str) -> str:
        """The id of the container whose cgroup a directory of a pod is."""
        if self.driver == SYSTEMD and directory.endswith(_SCOPE):
            return directory.removesuffix(_SCOPE).rpartition("-")[2]
        return directory

    def _path(self, *parts: str) -> str:
        above = [part for part in self.root.split("/") if part]
        whole = [*above, "kubepods", *parts]
        if self.driver == SYSTEMD:
            escaped = [part.replace("-", "_") for part in whole]
            whole = ["-".join(escaped[: i + 1]) + _SLICE for i in range(len(escaped))]
        return "/" + "/".join(whole)


def _parts(qos_class: str) -> tuple[str, ...]:
    return () if qos_class == "Guaranteed" else (qos_class.lower(),)
