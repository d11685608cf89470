"""Builders for pods and runtime states in tests of the kubelet's pure parts."""

from typing import Any

from kybern.kubelet.cri.state import EXITED, RUNNING, ContainerState, RuntimePod, SandboxState
from kybern.kubelet.pods import spec

Obj = dict[str, Any]


def container(name: str = "main", **fields: Any) -> Obj:
    return {"name": name, "image": "img:1", **fields}


def pod(*containers: Obj, init: tuple[Obj, ...] = (), **fields: Any) -> Obj:
    return {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u1", "generation": 3},
        "spec": {
            "restartPolicy": "Always",
            "containers": list(containers or (container(),)),
            "initContainers": list(init),
            **fields,
        },
        "status": {},
    }


def sandbox(ready: bool = True, attempt: int = 0) -> SandboxState:
    return SandboxState(f"s{attempt}", attempt, ready, created_at=attempt, ips=("10.0.0.5",))


def ran(
    name: str = "main", state: str = RUNNING, code: int = 0, attempt: int = 0, image: str = "img:1"
) -> ContainerState:
    return ContainerState(
        id=f"{name}-{attempt}",
        sandbox_id="s0",
        name=name,
        attempt=attempt,
        state=state,
        created_at=attempt + 1,
        started_at=1_000_000_000,
        finished_at=2_000_000_000 if state == EXITED else 0,
        exit_code=code,
        image=image,
        hash=spec.container_hash({"name": name, "image": image}),
    )


def runtime(
    *containers: ContainerState, sandboxes: tuple[SandboxState, ...] | None = None
) -> RuntimePod:
    newest_first = sorted(containers, key=lambda c: c.created_at, reverse=True)
    return RuntimePod(
        "u1", "p", "ns", list((sandbox(),) if sandboxes is None else sandboxes), newest_first
    )
