"""Objects that the control plane's tests create."""

from typing import Any

Obj = dict[str, Any]


def pod_spec(**extra: Any) -> Obj:
    return {"containers": [{"name": "main", "image": "app:1"}], **extra}


def pod(name: str, *, labels: Obj | None = None, **spec: Any) -> Obj:
    meta = {"name": name, "namespace": "default", "labels": labels or {}}
    return {"metadata": meta, "spec": pod_spec(**spec)}


def workload(name: str, replicas: int = 3, **spec: Any) -> Obj:
    """A Deployment or ReplicaSet: pods labelled app=NAME."""
    template = {"metadata": {"labels": {"app": name}}, "spec": pod_spec()}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
            **spec,
        },
    }


def job(name: str, **spec: Any) -> Obj:
    template = {"spec": pod_spec(restartPolicy="Never")}
    meta = {"name": name, "namespace": "default"}
    return {"metadata": meta, "spec": {"template": template, **spec}}


def service(name: str, **spec: Any) -> Obj:
    meta = {"name": name, "namespace": "default"}
    ports = [{"port": 80, "targetPort": 8080}]
    return {"metadata": meta, "spec": {"selector": {"app": name}, "ports": ports, **spec}}


def config_map(name: str, owners: list[Obj] | None = None, namespace: str = "default") -> Obj:
    meta: Obj = {"name": name, "namespace": namespace}
    if owners:
        meta["ownerReferences"] = owners
    return {"metadata": meta}


def owner(obj: Obj, kind: str, *, api_version: str = "v1", block: bool = False) -> Obj:
    reference = {
        "apiVersion": api_version,
        "kind": kind,
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
    }
    return {**reference, "blockOwnerDeletion": True} if block else reference


def ready_node(name: str, now: str) -> Obj:
    """A Node that nobody keeps alive: its only sign of life is this one."""
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    capacity = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    return {
        "metadata": {"name": name},
        "status": {"capacity": capacity, "allocatable": capacity, "conditions": [condition]},
    }


def daemon_set(name: str, **spec: Any) -> Obj:
    """A DaemonSet: pods labelled app=NAME."""
    made = workload(name, **spec)
    del made["spec"]["replicas"]
    return made


def stateful_set(name: str, replicas: int = 3, **spec: Any) -> Obj:
    """A StatefulSet: pods labelled app=NAME, governed by the service NAME."""
    return workload(name, replicas, serviceName=name, **spec)


def cron_job(name: str, schedule: str, **spec: Any) -> Obj:
    template = {"spec": job(name)["spec"]}
    meta = {"name": name, "namespace": "default"}
    return {"metadata": meta, "spec": {"schedule": schedule, "jobTemplate": template, **spec}}
