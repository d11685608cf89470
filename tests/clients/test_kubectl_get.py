"""``kubectl get`` in every output form, against objects that these tests share."""

import re

import pytest
import yaml
from kubectl_lab import Kubectl
from sample_objects import config_map, deployment, job, service

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from kybern.testing.plugin import Server

SHOP = "shop"
IP = r"\d+\.\d+\.\d+\.\d+"


@pytest.fixture(scope="session")
def shop(server: Server) -> str:
    """A namespace with a rolled out Deployment, its Service, a finished Job and ConfigMaps."""
    cluster, client = server.cluster, server.cluster.client
    server.call(client.create(NAMESPACES, {"metadata": {"name": SHOP}}))
    server.call(cluster.wait_for(SERVICE_ACCOUNTS, "default", namespace=SHOP))
    for resource, obj in (
        (DEPLOYMENTS, deployment("web", 2)),
        (SERVICES, service("web")),
        (JOBS, job("once")),
        (CONFIG_MAPS, config_map("settings", {"tier": "front"}, colour="blue", size="3")),
        (CONFIG_MAPS, config_map("other", {"tier": "back"})),
    ):
        server.call(client.create(resource, obj, SHOP))

    def rolled_out(found: Obj) -> bool:
        return bool(found["status"].get("readyReplicas") == 2)

    def complete(found: Obj) -> bool:
        return objects.condition_is(found, "Complete")

    server.call(cluster.wait_for(DEPLOYMENTS, "web", rolled_out, namespace=SHOP))
    server.call(cluster.wait_for(JOBS, "once", complete, namespace=SHOP))
    return SHOP


@pytest.fixture
def kubectl(any_kubectl: Kubectl, shop: str) -> Kubectl:
    return any_kubectl.within(shop)


def test_tables(kubectl: Kubectl) -> None:
    header, row = kubectl.ok("get", "deployments").lines
    assert header.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert re.fullmatch(r"web +2/2 +2 +2 +\d+s", row)
    header, row = kubectl.ok("get", "svc", "web").lines
    assert header.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert re.fullmatch(rf"web +ClusterIP +{IP} +<none> +80/TCP +\d+s", row)
    header, row = kubectl.ok("get", "jobs").lines
    assert header.split() == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]
    assert re.fullmatch(r"once +Complete +1/1 +\d+s +\d+s", row)
    assert re.search(r"^settings +2 +\d+s$", kubectl.ok("get", "cm").out, re.MULTILINE)


def test_wide(kubectl: Kubectl) -> None:
    header, first, _ = kubectl.ok("get", "pods", "-l", "app=web", "-o", "wide").lines
    titles = "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES"
    assert header.split() == titles.split()
    row = rf"web-\w+-\w+ +1/1 +Running +0 +\d+s +{IP} +simulated-\d +<none> +<none>"
    assert re.fullmatch(row, first)
    header = kubectl.ok("get", "nodes", "-o", "wide").lines[0]
    titles = "NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION"
    assert header.split() == [*titles.split(), "CONTAINER-RUNTIME"]


def test_all_of_everything(kubectl: Kubectl) -> None:
    lines = kubectl.ok("get", "all").lines
    shown = [line.split()[0] for line in lines if "/" in line.split(" ")[0]]
    kinds = {name.partition("/")[0] for name in shown}
    assert kinds == {"pod", "service", "deployment.apps", "replicaset.apps", "job.batch"}


def test_all_namespaces(kubectl: Kubectl) -> None:
    lines = kubectl.ok("get", "services", "--all-namespaces").lines
    rows = [line.split()[:2] for line in lines]
    assert rows[0] == ["NAMESPACE", "NAME"]
    assert ["default", "kubernetes"] in rows and ["shop", "web"] in rows


def test_no_headers_labels_and_label_columns(kubectl: Kubectl) -> None:
    (line,) = kubectl.ok("get", "cm", "settings", "--no-headers", "--show-labels").lines
    assert line.split()[0] == "settings" and line.split()[-1] == "tier=front"
    header, *rows = kubectl.ok("get", "cm", "-L", "tier").lines
    assert header.split()[-1] == "TIER"
    assert {row.split()[-1] for row in rows if row.startswith(("settings", "other"))} == {
        "front",
        "back",
    }


def test_yaml_and_json_hold_the_object(kubectl: Kubectl) -> None:
    for text in ("yaml", "json"):
        found = yaml.safe_load(kubectl.ok("get", "cm", "settings", "-o", text).out)
        assert (found["apiVersion"], found["kind"]) == ("v1", "ConfigMap")
        assert found["data"] == {"colour": "blue", "size": "3"}
    listed = kubectl.ok("get", "cm,svc", "-o", "json").json()
    kinds = {one["kind"] for one in listed["items"]}
    assert (listed["kind"], kinds) == ("List", {"ConfigMap", "Service"})


def test_names(kubectl: Kubectl) -> None:
    assert kubectl.ok("get", "cm/settings", "deploy/web", "-o", "name").lines == [
        "configmap/settings",
        "deployment.apps/web",
    ]


def test_jsonpath(kubectl: Kubectl) -> None:
    assert kubectl.value("{.data.colour}", "cm", "settings") == "blue"
    template = r"{range .items[*]}{.metadata.name}={.metadata.labels.tier}{'\n'}{end}"
    out = kubectl.ok("get", "cm", "-l", "tier", "-o", f"jsonpath={template}").lines
    assert out == ["other=back", "settings=front"]
    where = '{.items[?(@.metadata.labels.tier=="front")].metadata.name}'
    assert kubectl.value(where, "cm") == "settings"


def test_custom_columns(kubectl: Kubectl) -> None:
    columns = "custom-columns=NAME:.metadata.name,TIER:.metadata.labels.tier"
    lines = kubectl.ok("get", "cm", "-l", "tier", "-o", columns).lines
    assert [line.split() for line in lines] == [
        ["NAME", "TIER"],
        ["other", "back"],
        ["settings", "front"],
    ]


def test_go_template(kubectl: Kubectl) -> None:
    template = "go-template={{range $k, $v := .data}}{{$k}}:{{$v}};{{end}}"
    assert kubectl.ok("get", "cm", "settings", "-o", template).out == "colour:blue;size:3;"


def test_sorting_and_field_selectors(kubectl: Kubectl) -> None:
    out = kubectl.ok("get", "cm", "-l", "tier", "--sort-by", ".metadata.labels.tier", "-o", "name")
    assert out.lines == ["configmap/other", "configmap/settings"]
    out = kubectl.ok("get", "cm", "--field-selector", "metadata.name=settings", "-o", "name")
    assert out.lines == ["configmap/settings"]
    out = kubectl.ok("get", "pods", "--field-selector=status.phase=Succeeded", "-o", "name")
    assert [name.rpartition("-")[0] for name in out.lines] == ["pod/once"]


def test_lists_in_pages(kubectl: Kubectl) -> None:
    paged = kubectl.ok("get", "cm", "--chunk-size=1", "-o", "name").lines
    assert paged == kubectl.ok("get", "cm", "-o", "name").lines
    assert len(paged) >= 2


def test_raw_paths(kubectl: Kubectl) -> None:
    assert kubectl.ok("get", "--raw", "/readyz").out.strip() == "ok"
    assert kubectl.ok("get", "--raw", "/version").json()["minor"] == "36"


def test_what_is_not_there(kubectl: Kubectl) -> None:
    done = kubectl("get", "cm", "nobody")
    assert done.code == 1
    assert done.err.strip() == 'Error from server (NotFound): configmaps "nobody" not found'
    done = kubectl("get", "unicorns")
    assert 'the server doesn\'t have a resource type "unicorns"' in done.err
    assert kubectl.ok("get", "secrets").err.startswith("No resources found in shop namespace")
    assert kubectl.ok("get", "cm", "nobody", "--ignore-not-found").out == ""


def test_watching(kubectl: Kubectl, namespace: str) -> None:
    inside = kubectl.within(namespace)
    inside.apply(config_map("first"))
    with inside.running("get", "cm", "-w", "--output-watch-events") as watching:
        watching.expect(r"^ADDED +first ")
        inside.apply(config_map("second"))
        watching.expect(r"^ADDED +second ")
        inside.apply(config_map("second", colour="red"))
        watching.expect(r"^MODIFIED +second ")
        inside.ok("delete", "cm", "second")
        watching.expect(r"^DELETED +second ")


def test_watching_a_table(kubectl: Kubectl, namespace: str) -> None:
    inside = kubectl.within(namespace)
    with inside.running("get", "pods", "--watch") as watching:
        inside.apply(deployment("web", 1))
        watching.expect(r"^NAME +READY +STATUS +RESTARTS +AGE\s*$")
        watching.expect(r"^web-\w+-\w+ +0/1 +Pending +0 +\d+s\s*$")
        watching.expect(r"^web-\w+-\w+ +1/1 +Running +0 +\d+s\s*$")


def test_every_listable_resource_lists(kubectl: Kubectl) -> None:
    """Each kind's table, in one go of all that discovery names."""
    names = kubectl.ok("api-resources", "--verbs=list", "-o", "name").lines
    assert len(names) > 50
    kubectl.ok("get", ",".join(names), "--all-namespaces", "--ignore-not-found")
