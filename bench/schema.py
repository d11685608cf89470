"""CPU per object of decoding, normalising, patching, tracking and applying; and of starting up.

    bench/schema.py

Prints microseconds per call, best of several rounds, for a pod of about 3 KB, with orjson's parse
of the same bytes as the yardstick. Loading is measured in a fresh interpreter.
"""

import copy
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson

from kybern.api.managed_fields import apply, track
from kybern.api.patch import strategic_merge
from kybern.api.schema import schema_for

LOAD = """
import time
start = time.perf_counter()
from kybern.api.schema import schema_for
imported = time.perf_counter()
schema_for("", "v1", "Pod").normalise({"spec": {"containers": [{"name": "a", "image": "b"}]}})
print(imported - start, time.perf_counter() - imported)
"""


def pod() -> dict[str, Any]:
    """A pod as a server holds it, with two containers."""
    container = {
        "image": "registry.example/app:1.2.3",
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": f"VARIABLE_{n}", "value": f"value-{n}"} for n in range(8)],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        },
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "http", "scheme": "HTTP"},
            "periodSeconds": 10,
            "timeoutSeconds": 1,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "app-5d9c7b8f6d-x2x7k",
            "namespace": "default",
            "uid": "7f9c24e5-2c1c-4d9e-8f0e-1f0c6f3a4b5d",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "app", "pod-template-hash": "5d9c7b8f6d"},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "app-5d9c7b8f6d",
                    "uid": "3c1d5f5e-6c3b-4f7e-9a52-0d4f9b8f7a61",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "containers": [{"name": "app", **container}, {"name": "sidecar", **container}],
            "volumes": [{"name": "data", "emptyDir": {}}],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "tolerations": [
                {
                    "key": f"node.kubernetes.io/{key}",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
                for key in ("not-ready", "unreachable")
            ],
        },
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    }


def microseconds(work: Callable[[], Any], calls: int = 500, rounds: int = 7) -> float:
    """The best round's CPU time per call."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(calls):
            work()
        best = min(best, time.process_time() - start)
    return best / calls * 1e6


def main() -> None:
    """Print one line per figure."""
    schema = schema_for("", "v1", "Pod")
    body = orjson.dumps(pod())
    live = schema.normalise(pod())
    how: dict[str, Any] = {"schema": schema, "api_version": "v1", "now": "2026-01-01T00:00:00Z"}
    track(None, live, manager="creator", **how)

    def tracked_update() -> None:
        changed = {**live, "metadata": {**live["metadata"]}, "spec": {**live["spec"]}}
        changed["spec"]["activeDeadlineSeconds"] = 5
        track(live, changed, manager="editor", **how)

    def tracked_create() -> None:
        created = {**live, "metadata": {**live["metadata"]}}
        del created["metadata"]["managedFields"]
        track(None, created, manager="creator", **how)

    patch = {"spec": {"containers": [{"name": "app", "image": "registry.example/app:1.2.4"}]}}
    configuration = {name: value for name, value in pod().items() if name != "status"}
    for name in ("uid", "creationTimestamp"):
        del configuration["metadata"][name]
    applied = apply(live, configuration, manager="me", force=True, **how)
    figures: dict[str, Callable[[], Any]] = {
        "orjson parse": lambda: orjson.loads(body),
        "decode": lambda: schema.decode(body),
        "normalise": lambda: schema.normalise(live),
        "copy.deepcopy": lambda: copy.deepcopy(live),
        "strategic merge": lambda: strategic_merge.apply(live, patch, schema),
        "track a create": tracked_create,
        "track an update": tracked_update,
        "apply again": lambda: apply(applied, configuration, manager="me", force=False, **how),
    }
    print(f"a pod of {len(body)} bytes, microseconds of CPU:")
    for name, work in figures.items():
        print(f"{name:>18} {microseconds(work):8.1f}")
    loaded = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, check=True)
    imported, first = (float(seconds) * 1000 for seconds in loaded.stdout.split())
    print(f"import {imported:.0f} ms, first pod {first:.0f} ms")


if __name__ == "__main__":
    main()
