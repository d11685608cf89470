"""An operator written with kopf, in a process of its own, on built-in objects."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubectl_lab import until

from kybern.api.errors import StatusError
from kybern.api.resources import CONFIG_MAPS, EVENTS
from kybern.testing.plugin import Server

OPERATOR = """
import kopf

@kopf.on.startup()
def configure(settings, **_):
    settings.posting.level = 0

@kopf.on.create("configmaps", labels={"greet": "yes"})
def created(body, patch, **_):
    patch.metadata.annotations["example.com/greeting"] = "hello " + body["data"]["name"]
    kopf.event(body, type="Normal", reason="Greeted", message="said hello")

@kopf.on.update("configmaps", labels={"greet": "yes"}, field="data.name")
def renamed(old, new, patch, **_):
    patch.metadata.annotations["example.com/greeting"] = f"{old} is now {new}"

@kopf.on.delete("configmaps", labels={"greet": "yes"})
def deleted(**_):
    pass
"""


@pytest.fixture
def operator(server: Server, namespace: str, tmp_path: Path) -> Iterator[str]:
    """The namespace that an operator works on."""
    program = tmp_path / "operator.py"
    program.write_text(OPERATOR)
    command = [sys.executable, "-m", "kopf", "run", str(program), "--namespace", namespace]
    environment = {"KUBECONFIG": str(server.kubeconfig), "PATH": "", "HOME": str(tmp_path)}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--standalone"], env=environment, stdout=output, stderr=output
        )
        try:
            yield namespace
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()
    assert "Traceback" not in log.read_text(), log.read_text()


def test_an_operator_greets_config_maps(server: Server, operator: str) -> None:
    client = server.cluster.client
    labels = {"greet": "yes"}
    settings = {"metadata": {"name": "ann", "labels": labels}, "data": {"name": "Ann"}}
    server.call(client.create(CONFIG_MAPS, settings, operator))

    def greeting() -> str:
        found = server.call(client.get(CONFIG_MAPS, "ann", operator))
        return found["metadata"].get("annotations", {}).get("example.com/greeting", "")

    until(lambda: greeting() == "hello Ann")
    server.call(client.patch(CONFIG_MAPS, "ann", {"data": {"name": "Anna"}}, operator))
    until(lambda: greeting() == "Ann is now Anna")
    meta = server.call(client.get(CONFIG_MAPS, "ann", operator))["metadata"]
    kept = json.loads(meta["annotations"]["kopf.zalando.org/last-handled-configuration"])
    assert kept["data"] == {"name": "Anna"}
    assert meta["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
    events = server.call(client.list(EVENTS, operator))["items"]
    assert "Greeted" in {event["reason"] for event in events}
    server.call(client.delete(CONFIG_MAPS, "ann", operator))

    def gone() -> bool:
        try:
            server.call(client.get(CONFIG_MAPS, "ann", operator))
        except StatusError as error:
            return error.code == 404
        return False

    until(gone)
