"""``kubectl apply`` and the other ways to change objects: edit, patch, label, scale, replace."""

import json
from pathlib import Path

import pytest
from kubectl_lab import Kubectl, until
from sample_objects import config_map, deployment, pod

COUNTER = """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: counters.clients.example.com
spec:
  group: clients.example.com
  names: {kind: Counter, plural: counters, singular: counter, shortNames: [cnt]}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      additionalPrinterColumns:
        - {name: Limit, type: integer, jsonPath: .spec.limit}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              description: How far it counts.
              properties:
                limit: {type: integer, minimum: 1}
"""


def containers(*pairs: str) -> list[dict[str, str]]:
    return [{"name": n, "image": i} for n, _, i in (pair.partition("=") for pair in pairs)]


def test_applying_twice_changes_nothing(kubectl: Kubectl) -> None:
    assert kubectl.apply(deployment("web")).out == "deployment.apps/web created\n"
    before = kubectl.value("{.metadata.resourceVersion}/{.metadata.generation}", "deploy", "web")
    kubectl.ok("rollout", "status", "deploy/web")
    assert kubectl.apply(deployment("web")).out == "deployment.apps/web unchanged\n"
    assert kubectl.value("{.metadata.generation}", "deploy", "web") == before.partition("/")[2]


def test_fields_that_leave_the_manifest_leave_the_object(kubectl: Kubectl) -> None:
    kubectl.apply(config_map("settings", {"tier": "front"}, colour="blue", size="3"))
    kubectl.ok("patch", "cm", "settings", "-p", '{"data":{"shape":"round"}}')
    done = kubectl.apply(config_map("settings", colour="green"))
    assert done.out == "configmap/settings configured\n"
    found = kubectl.ok("get", "cm", "settings", "-o", "json").json()
    assert found["data"] == {"colour": "green", "shape": "round"}
    assert "labels" not in found["metadata"]


def test_lists_merge_by_their_keys(kubectl: Kubectl) -> None:
    """A container that somebody else injected stays; one that left the manifest goes."""
    kubectl.apply(deployment("web", 0))
    injected = {"spec": {"template": {"spec": {"containers": containers("proxy=envoy:1")}}}}
    kubectl.ok("patch", "deploy", "web", "-p", json.dumps(injected))
    kubectl.apply(deployment("web", 0, "app:2"))
    path = "{.spec.template.spec.containers[*].image}"
    assert sorted(kubectl.value(path, "deploy", "web").split()) == ["app:2", "envoy:1"]


def test_server_side_apply(kubectl: Kubectl) -> None:
    manifest = config_map("settings", colour="blue", size="3")
    done = kubectl.apply(manifest, "--server-side")
    assert done.out == "configmap/settings serverside-applied\n"
    kubectl.apply(config_map("settings", size="3"), "--server-side")
    assert kubectl.value("{.data}", "cm", "settings") == '{"size":"3"}'


def test_server_side_conflicts_name_the_other_manager(kubectl: Kubectl) -> None:
    manifest = config_map("settings", colour="blue")
    kubectl.apply(manifest, "--server-side", "--field-manager=painter")
    changed = json.dumps(config_map("settings", colour="red"))
    done = kubectl("apply", "--server-side", "-f", "-", stdin=changed)
    assert done.code == 1
    assert 'conflict with "painter": .data.colour' in done.err
    kubectl.ok("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=changed)
    assert kubectl.value("{.data.colour}", "cm", "settings") == "red"


def test_dry_runs_store_nothing(kubectl: Kubectl) -> None:
    for how in ("client", "server"):
        done = kubectl.apply(config_map("settings"), f"--dry-run={how}")
        assert f"({'server ' if how == 'server' else ''}dry run)" in done.out
        assert kubectl("get", "cm", "settings").code == 1


def test_diff_shows_what_apply_would_do(kubectl: Kubectl) -> None:
    kubectl.apply(config_map("settings", colour="blue"))
    same = kubectl("diff", "-f", "-", stdin=json.dumps(config_map("settings", colour="blue")))
    assert (same.code, same.out) == (0, ""), same.err
    done = kubectl("diff", "-f", "-", stdin=json.dumps(config_map("settings", colour="red")))
    assert done.code == 1, done.err
    assert "-  colour: blue" in done.out and "+  colour: red" in done.out
    assert kubectl.value("{.data.colour}", "cm", "settings") == "blue"


def test_pruning_deletes_what_left_the_set(kubectl: Kubectl) -> None:
    both = [config_map(name, {"set": "one"}) for name in ("left", "right")]
    kubectl.apply(both)
    flag = "--prune-whitelist" if kubectl.is_old else "--prune-allowlist"
    done = kubectl.apply(both[:1], "--prune", "-l", "set=one", f"{flag}=core/v1/ConfigMap")
    assert "configmap/right pruned" in done.out
    assert kubectl("get", "cm", "right").code == 1


def test_refusals_say_what_is_wrong(kubectl: Kubectl) -> None:
    bad = deployment("web")
    bad["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Sometimes"
    done = kubectl("apply", "-f", "-", stdin=json.dumps(bad))
    assert done.code == 1
    assert "spec.template.spec.containers[0].imagePullPolicy: Unsupported value" in done.err
    done = kubectl("apply", "-f", "-", stdin=json.dumps({**config_map("x"), "dataa": {}}))
    assert done.code == 1
    assert 'unknown field "dataa"' in done.err
    done = kubectl("apply", "-f", "-", stdin="kind: Unicorn\napiVersion: v1\nmetadata: {name: x}")
    assert 'no matches for kind "Unicorn" in version "v1"' in done.err


def test_custom_resources(kubectl: Kubectl) -> None:
    kubectl.apply(COUNTER)
    kubectl.ok("wait", "--for=condition=Established", "crd/counters.clients.example.com")
    obj = {"apiVersion": "clients.example.com/v1", "kind": "Counter", "metadata": {"name": "a"}}
    kubectl.apply({**obj, "spec": {"limit": 3}})
    kubectl.apply({**obj, "spec": {"limit": 4}})
    header, row = kubectl.ok("get", "cnt").lines
    assert (header.split(), row.split()) == (["NAME", "LIMIT"], ["a", "4"])
    done = kubectl("apply", "-f", "-", stdin=json.dumps({**obj, "spec": {"limit": 0}}))
    assert "spec.limit" in done.err and "greater than or equal to 1" in done.err
    kubectl.ok("patch", "counter", "a", "--type=merge", "-p", '{"spec":{"limit":9}}')
    assert kubectl.value("{.spec.limit}", "counter", "a") == "9"
    assert "Limit" in kubectl.ok("describe", "counter", "a").out
    kubectl.ok("delete", "counter", "a")


def test_explain_of_custom_resources(current: Kubectl) -> None:
    current.apply(COUNTER)
    current.ok("wait", "--for=condition=Established", "crd/counters.clients.example.com")
    assert "How far it counts." in current.ok("explain", "counters.spec").out


PATCHES = [
    ("strategic", '{"data":{"colour":null,"size":"4"}}', {"size": "4"}),
    ("merge", '{"data":{"colour":null,"size":"4"}}', {"size": "4"}),
    (
        "json",
        '[{"op":"test","path":"/data/size","value":"3"},{"op":"remove","path":"/data/colour"}]',
        {"size": "3"},
    ),
]


@pytest.mark.parametrize(("kind", "patch", "data"), PATCHES)
def test_patches(kubectl: Kubectl, kind: str, patch: str, data: dict[str, str]) -> None:
    kubectl.apply(config_map("settings", colour="blue", size="3"))
    done = kubectl.ok("patch", "cm", "settings", f"--type={kind}", "-p", patch)
    assert done.out == "configmap/settings patched\n"
    assert kubectl.ok("get", "cm", "settings", "-o", "json").json()["data"] == data


def test_patching_a_subresource(current: Kubectl) -> None:
    current.apply(deployment("web", 0))
    current.ok("patch", "deploy", "web", "--subresource=scale", "-p", '{"spec":{"replicas":1}}')
    assert current.value("{.spec.replicas}", "deploy", "web") == "1"


def test_editing(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl.apply(config_map("settings", colour="blue"))
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/colour: blue/colour: red/' \"$1\"\n")
    editor.chmod(0o755)
    environment = {"EDITOR": str(editor)}
    done = kubectl.ok("edit", "cm", "settings", environment=environment)
    assert done.out == "configmap/settings edited\n"
    assert kubectl.value("{.data.colour}", "cm", "settings") == "red"
    done = kubectl.ok("edit", "cm", "settings", environment=environment)
    assert "no changes made" in done.out + done.err


def test_labels_and_annotations(kubectl: Kubectl) -> None:
    kubectl.apply(config_map("settings"))
    assert kubectl.ok("label", "cm", "settings", "tier=front").out == (
        "configmap/settings labeled\n"
    )
    done = kubectl("label", "cm", "settings", "tier=back")
    assert done.code == 1 and "--overwrite is false" in done.err
    kubectl.ok("label", "cm", "settings", "tier=back", "--overwrite")
    kubectl.ok("label", "cm", "--all", "seen=yes")
    assert kubectl.value("{.metadata.labels.tier}", "cm", "settings") == "back"
    kubectl.ok("label", "cm", "settings", "tier-")
    kubectl.ok("annotate", "cm", "settings", "note=a b")
    found = kubectl.ok("get", "cm", "settings", "-o", "json").json()["metadata"]
    assert found["labels"] == {"seen": "yes"}
    assert found["annotations"]["note"] == "a b"


def test_replacing(kubectl: Kubectl) -> None:
    kubectl.apply(config_map("settings", colour="blue"))
    text = json.dumps(config_map("settings", size="3"))
    assert kubectl.ok("replace", "-f", "-", stdin=text).out == "configmap/settings replaced\n"
    assert kubectl.value("{.data}", "cm", "settings") == '{"size":"3"}'
    uid = kubectl.value("{.metadata.uid}", "cm", "settings")
    kubectl.ok("replace", "--force", "-f", "-", stdin=text)
    assert kubectl.value("{.metadata.uid}", "cm", "settings") != uid


def test_setting_fields(kubectl: Kubectl) -> None:
    kubectl.apply(deployment("web", 0))
    assert kubectl.ok("set", "image", "deploy/web", "main=app:2").out == (
        "deployment.apps/web image updated\n"
    )
    kubectl.ok("set", "env", "deploy/web", "COLOUR=blue")
    kubectl.ok("set", "resources", "deploy/web", "--requests=cpu=100m,memory=1024Mi")
    found = kubectl.ok("get", "deploy", "web", "-o", "json").json()
    main = found["spec"]["template"]["spec"]["containers"][0]
    assert main["image"] == "app:2"
    assert main["env"] == [{"name": "COLOUR", "value": "blue"}]
    assert main["resources"] == {"requests": {"cpu": "100m", "memory": "1Gi"}}


def test_deleting(kubectl: Kubectl) -> None:
    kubectl.apply([config_map("a"), config_map("b", {"set": "x"}), pod("p")])
    done = kubectl.ok("delete", "cm", "a").out
    assert done.startswith('configmap "a" deleted')
    kubectl.ok("delete", "cm", "-l", "set=x")
    kubectl.ok("wait", "--for=condition=Ready", "pod/p")
    kubectl.ok("delete", "pod", "p", "--now")
    kubectl.ok("delete", "pod", "p", "--ignore-not-found")
    done = kubectl("delete", "pod", "p")
    assert done.code == 1 and '(NotFound): pods "p" not found' in done.err
    kubectl.apply(pod("p"))
    kubectl.ok("delete", "pod", "p", "--force", "--grace-period=0")


def test_orphans_stay(kubectl: Kubectl) -> None:
    kubectl.apply(deployment("web", 1))
    kubectl.ok("rollout", "status", "deploy/web")
    kubectl.ok("delete", "deploy", "web", "--cascade=orphan")
    assert kubectl.ok("get", "rs", "-o", "name").lines
    kubectl.ok("delete", "rs", "--all")
    until(lambda: not kubectl.ok("get", "pods", "-o", "name").out)
