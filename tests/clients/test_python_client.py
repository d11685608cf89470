"""The official Python client: typed objects, lists, watches and patches."""

from collections.abc import Iterator

import pytest
from kubernetes import client, config, watch

from kybern.testing.plugin import Server


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[client.ApiClient]:
    made = config.new_client_from_config(str(server.kubeconfig))
    try:
        yield made
    finally:
        made.rest_client.pool_manager.clear()
        made.close()


@pytest.fixture
def core(api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


def config_map(name: str, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)


def pod(name: str) -> client.V1Pod:
    main = client.V1Container(name="main", image="app:1")
    meta = client.V1ObjectMeta(name=name, labels={"app": name})
    return client.V1Pod(metadata=meta, spec=client.V1PodSpec(containers=[main]))


def test_listing_in_pages(core: client.CoreV1Api, namespace: str) -> None:
    for number in range(3):
        core.create_namespaced_config_map(namespace, config_map(f"c{number}"))
    first = core.list_namespaced_config_map(namespace, limit=2)
    rest = core.list_namespaced_config_map(namespace, limit=2, _continue=first.metadata._continue)
    names = [one.metadata.name for one in [*first.items, *rest.items]]
    assert names == ["c0", "c1", "c2", "kube-root-ca.crt"]
    assert first.metadata.remaining_item_count == 2


def test_watching_pods_become_ready(core: client.CoreV1Api, namespace: str) -> None:
    revision = core.list_namespaced_pod(namespace).metadata.resource_version
    core.create_namespaced_pod(namespace, pod("p"))
    watching = watch.Watch()
    phases = []
    for event in watching.stream(
        core.list_namespaced_pod, namespace, resource_version=revision, timeout_seconds=30
    ):
        phases.append((event["type"], event["object"].status.phase))
        if phases[-1][1] == "Running":
            watching.stop()
    assert phases[0] == ("ADDED", "Pending")
    assert phases[-1] == ("MODIFIED", "Running")


def test_patching_in_each_form(core: client.CoreV1Api, namespace: str) -> None:
    core.create_namespaced_config_map(namespace, config_map("settings", colour="blue"))
    merged = core.patch_namespaced_config_map("settings", namespace, {"data": {"size": "3"}})
    assert merged.data == {"colour": "blue", "size": "3"}
    operations = [{"op": "remove", "path": "/data/colour"}]
    assert core.patch_namespaced_config_map("settings", namespace, operations).data == {"size": "3"}


def test_stale_updates_conflict(core: client.CoreV1Api, namespace: str) -> None:
    stale = core.create_namespaced_config_map(namespace, config_map("settings"))
    core.patch_namespaced_config_map("settings", namespace, {"data": {"size": "3"}})
    stale.data = {"size": "4"}
    with pytest.raises(client.ApiException) as refused:
        core.replace_namespaced_config_map("settings", namespace, stale)
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")


def test_typed_workloads(api: client.ApiClient, namespace: str) -> None:
    apps = client.AppsV1Api(api)
    made = pod("web")
    template = client.V1PodTemplateSpec(metadata=made.metadata, spec=made.spec)
    spec = client.V1DeploymentSpec(
        replicas=2,
        selector=client.V1LabelSelector(match_labels={"app": "web"}),
        template=template,
    )
    meta = client.V1ObjectMeta(name="web")
    apps.create_namespaced_deployment(namespace, client.V1Deployment(metadata=meta, spec=spec))
    watching = watch.Watch()
    for event in watching.stream(apps.list_namespaced_deployment, namespace, timeout_seconds=30):
        if event["object"].status.ready_replicas == 2:
            watching.stop()
    scale = apps.read_namespaced_deployment_scale("web", namespace)
    assert (scale.spec.replicas, scale.status.replicas) == (2, 2)


def test_every_stable_list_of_the_client_is_served(api: client.ApiClient) -> None:
    """What the typed classes expect is what the server says: each list parses."""
    core, apps, batch = client.CoreV1Api(api), client.AppsV1Api(api), client.BatchV1Api(api)
    network, rbac = client.NetworkingV1Api(api), client.RbacAuthorizationV1Api(api)
    for call in (
        core.list_node,
        core.list_namespace,
        core.list_service_for_all_namespaces,
        core.list_event_for_all_namespaces,
        core.list_secret_for_all_namespaces,
        core.list_persistent_volume,
        apps.list_replica_set_for_all_namespaces,
        apps.list_stateful_set_for_all_namespaces,
        batch.list_job_for_all_namespaces,
        batch.list_cron_job_for_all_namespaces,
        network.list_ingress_for_all_namespaces,
        rbac.list_cluster_role,
    ):
        assert call().metadata.resource_version
    roles = {one.metadata.name for one in rbac.list_cluster_role().items}
    assert {"cluster-admin", "admin", "edit", "view"} <= roles
    nodes = core.list_node().items
    assert [one.metadata.name for one in nodes] == ["simulated-0", "simulated-1", "simulated-2"]


def test_versions(api: client.ApiClient) -> None:
    assert client.VersionApi(api).get_code().minor == "36"
    groups = {group.name for group in client.ApisApi(api).get_api_versions().groups}
    assert {"apps", "batch", "policy"} <= groups
