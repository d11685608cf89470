"""Pulling from a registry: a small one of the test's own, with a password where asked."""

import base64
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from containerd_lab import STAY, busybox_image, needs_containerd, shell, until
from docker_registry import PASSWORD, USER, docker_registry, needs_docker_registry
from image_registry import Registry
from kubelet_lab import Lab, open_lab

from kybern.kubelet.images.archive import build
from kybern.kubelet.volumes.mounting import is_mount_point

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place() -> AsyncIterator[tuple[Lab, str]]:
    async with open_lab() as lab:
        listener = socket.create_server(("127.0.0.1", 0))
        # Not the image that was imported: who pulls an image answers for all its names.
        served = replace(busybox_image(), working_directory="/tmp")
        async with Registry(build(served)).serving(listener):
            yield lab, f"127.0.0.1:{listener.getsockname()[1]}"


async def test_a_missing_image_is_pulled_once(place: tuple[Lab, str]) -> None:
    lab, registry = place
    image = f"{registry}/public/busybox:1"
    for expected in (["Pulling", "Pulled"], ["Pulled"]):
        pod = lab.run(lab.pod({**shell(STAY), "image": image}))
        await lab.until_ready(pod)
        name = pod["metadata"]["name"]
        assert lab.events.reasons(name) == [*expected, "Created", "Started"]
        pulled = lab.events.messages(name, "Pulled")[0]
        if len(expected) == 2:
            assert pulled.startswith(f'Successfully pulled image "{image}" in ')
            assert "Image size: " in pulled
        else:
            there = f'Container image "{image}" already present on machine'
            assert pulled == f"{there} and can be accessed by the pod"
        await lab.gone(pod)


async def test_the_policy_always_asks_the_registry_each_time(place: tuple[Lab, str]) -> None:
    lab, registry = place
    container = {**shell(STAY), "image": f"{registry}/always:1", "imagePullPolicy": "Always"}
    for _ in range(2):
        pod = lab.run(lab.pod(container))
        await lab.until_ready(pod)
        assert lab.events.reasons(pod["metadata"]["name"])[:2] == ["Pulling", "Pulled"]
        await lab.gone(pod)


async def refused(lab: Lab, pod: dict[str, Any], reason: str) -> None:
    def waits() -> bool:
        return bool(lab.container(pod)["state"].get("waiting", {}).get("reason") == reason)

    await until(waits, reason)


async def wrote(lab: Lab, pod: dict[str, Any], text: str) -> None:
    await until(lambda: lab.log(pod) == text, text)


async def test_a_private_image_needs_the_right_secret(place: tuple[Lab, str]) -> None:
    lab, registry = place
    container = {**shell(STAY), "image": f"{registry}/private/busybox:1"}
    without = lab.run(lab.pod(container))
    await refused(lab, without, "ErrImagePull")
    auths = {"auths": {registry: {"username": "user", "password": "pass"}}}
    lab.objects.secrets["registry"] = {".dockerconfigjson": json.dumps(auths).encode()}
    allowed = lab.run(lab.pod(container, imagePullSecrets=[{"name": "registry"}]))
    await lab.until_ready(allowed)
    await lab.gone(without)
    await lab.gone(allowed)


async def test_a_private_image_on_the_node_is_not_for_everybody(place: tuple[Lab, str]) -> None:
    lab, registry = place
    container = {**shell(STAY), "image": f"{registry}/private/tenant:1"}
    auths = {"auths": {registry: {"username": "user", "password": "pass"}}}
    for name in ("mine", "copy"):
        lab.objects.secrets[name] = {".dockerconfigjson": json.dumps(auths).encode()}
    with_mine = {"imagePullSecrets": [{"name": "mine"}]}
    first = lab.run(lab.pod(container, **with_mine))
    await lab.until_ready(first)

    await lab.crash()
    lab.begin()
    for policy, reason in (("IfNotPresent", "ErrImagePull"), ("Never", "ErrImageNeverPull")):
        stranger = lab.run(lab.pod({**container, "imagePullPolicy": policy}))
        await refused(lab, stranger, reason)
        await lab.gone(stranger)
    for secret in ("mine", "copy"):
        entitled = lab.run(lab.pod(container, imagePullSecrets=[{"name": secret}]))
        await lab.until_ready(entitled)
        assert lab.events.reasons(entitled["metadata"]["name"])[0] == "Pulled"
        await lab.gone(entitled)
    await lab.gone(first)


@needs_docker_registry
async def test_pods_pull_from_dockers_own_registry(place: tuple[Lab, str], tmp_path: Path) -> None:
    lab, _ = place
    async with docker_registry(tmp_path) as registry:
        image = replace(busybox_image(), environment=["FROM=registry"])
        digest = await registry.push("team/app", build(image))
        refused_pod = lab.run(lab.pod({**shell(STAY), "image": f"{registry.address}/team/app:1"}))
        await refused(lab, refused_pod, "ErrImagePull")
        await lab.gone(refused_pod)
        entry = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        config = {"auths": {f"http://{registry.address}": {"auth": entry}}}
        lab.objects.secrets["docker"] = {".dockerconfigjson": json.dumps(config).encode()}
        for name in (f"team/app@{digest}", f"team/app:any@{digest}", "team/app:1"):
            container = {**shell(f"echo $FROM; {STAY}"), "image": f"{registry.address}/{name}"}
            pod = lab.run(lab.pod(container, imagePullSecrets=[{"name": "docker"}]))
            await lab.until_ready(pod)
            await wrote(lab, pod, "registry\n")
            assert lab.container(pod)["imageID"] == f"{registry.address}/team/app@{digest}"
            await lab.gone(pod)


@needs_docker_registry
async def test_what_is_not_in_the_registry_is_told_and_asked_for_later(
    place: tuple[Lab, str], tmp_path: Path
) -> None:
    lab, _ = place
    async with docker_registry(tmp_path) as registry:
        entry = {"username": USER, "password": PASSWORD}
        config = json.dumps({"auths": {registry.address: entry}}).encode()
        lab.objects.secrets["docker"] = {".dockerconfigjson": config}
        image = f"{registry.address}/team/none:1"
        secrets = [{"name": "docker"}]
        pod = lab.run(lab.pod({**shell(STAY), "image": image}, imagePullSecrets=secrets))
        name = pod["metadata"]["name"]
        await refused(lab, pod, "ErrImagePull")
        why = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": '
        text = lab.container(pod)["state"]["waiting"]["message"]
        assert text.startswith(f"rpc error: code = NotFound desc = {why}{image}: not found")
        lab.workers.wake(pod["metadata"]["uid"])
        await refused(lab, pod, "ImagePullBackOff")
        held = f'Back-off pulling image "{image}"'
        waiting = lab.container(pod)["state"]["waiting"]
        assert waiting["message"] == f"{held}: ErrImagePull: {text}"
        assert [told[1:] for told in lab.events.seen if told[0] == name][:5] == [
            ("Normal", "Pulling", f'Pulling image "{image}"'),
            ("Warning", "Failed", f'Failed to pull image "{image}": {text}'),
            ("Warning", "Failed", "Error: ErrImagePull"),
            ("Normal", "BackOff", held),
            ("Warning", "Failed", "Error: ImagePullBackOff"),
        ]
        await lab.gone(pod)


@pytest.mark.parametrize(("settings", "most"), [({}, 1), ({"max_parallel_image_pulls": 2}, 2)])
async def test_no_more_images_are_pulled_at_a_time_than_the_node_is_told(
    place: tuple[Lab, str], settings: dict[str, int], most: int
) -> None:
    lab, _ = place
    await lab.crash()
    before, lab.settings = lab.settings, {**lab.settings, **settings}
    lab.begin()
    registry = Registry(build(replace(busybox_image(), working_directory="/tmp")))
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    async with registry.serving(listener):
        images = [f"{address}/held-{index}:1" for index in range(3)]
        pods = [lab.run(lab.pod({**shell(STAY), "image": image})) for image in images]
        await until(
            lambda: all("Pulling" in lab.events.reasons(p["metadata"]["name"]) for p in pods),
            "every pod wants its image",
        )
        for left in (3, 2, 1):
            await until(lambda left=left: len(registry.holding()) == min(most, left), "pulls")
            registry.held[registry.holding()[0]].set()
        for pod in pods:
            await lab.until_ready(pod)
            await lab.gone(pod)
        assert registry.most_held == most
    await lab.crash()
    lab.settings = before
    lab.begin()


def plugin(directory: Path, registry: str) -> Path:
    """The configuration of a plugin in the directory, which trusts pods' service accounts."""
    answer = {
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "kind": "CredentialProviderResponse",
        "cacheKeyType": "Registry",
        "auth": {registry: {"username": USER, "password": PASSWORD}},
    }
    file = directory / "plugin"
    file.write_text(f"#!/bin/sh\ncat >> {directory}/asked\necho '{json.dumps(answer)}'\n")
    file.chmod(0o755)
    declared = {
        "name": "plugin",
        "apiVersion": answer["apiVersion"],
        "matchImages": [registry],
        "defaultCacheDuration": "10m",
        "tokenAttributes": {
            "serviceAccountTokenAudience": "registry",
            "cacheType": "ServiceAccount",
            "requireServiceAccount": True,
        },
    }
    head = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
    config = directory / "plugins.yaml"
    config.write_text(json.dumps({**head, "providers": [declared]}))
    return config


@needs_docker_registry
async def test_plugins_and_the_nodes_own_files_know_passwords(
    place: tuple[Lab, str], tmp_path: Path
) -> None:
    lab, _ = place
    file = Path(lab.config.root_dir) / "config.json"
    async with docker_registry(tmp_path) as registry:
        image = f"{registry.address}/team/tool:1"
        await registry.push("team/tool", build(replace(busybox_image(), environment=["A=tool"])))
        settings = {
            "image_credential_provider_config": str(plugin(tmp_path, registry.address)),
            "image_credential_provider_bin_dir": str(tmp_path),
        }
        await lab.crash()
        lab.settings |= settings
        lab.begin()
        container = {**shell(STAY), "image": image}
        for first in ("Pulling", "Pulled"):
            pod = lab.run(lab.pod(container, serviceAccountName="builder"))
            await lab.until_ready(pod)
            assert lab.events.reasons(pod["metadata"]["name"])[0] == first
            await lab.gone(pod)
        (request,) = map(json.loads, (tmp_path / "asked").read_text().splitlines())
        assert request["image"] == image.removesuffix(":1")
        assert request["serviceAccountToken"].startswith("token-")
        stranger = lab.run(lab.pod(container))
        await refused(lab, stranger, "ErrImagePull")
        await lab.gone(stranger)

        await lab.crash()
        lab.settings = {name: lab.settings[name] for name in lab.settings.keys() - settings.keys()}
        lab.begin()
        login = {"username": USER, "password": PASSWORD}
        file.write_text(json.dumps({"auths": {registry.address: login}}))
        try:
            for first in ("Pulling", "Pulled"):
                pod = lab.run(lab.pod(container))
                await lab.until_ready(pod)
                assert lab.events.reasons(pod["metadata"]["name"])[0] == first
                await lab.gone(pod)
        finally:
            file.unlink()


async def test_an_image_becomes_a_volume_that_only_reads(place: tuple[Lab, str]) -> None:
    lab, registry = place
    image = {"reference": f"{registry}/files:1", "pullPolicy": "Always"}
    script = (
        "/bin/busybox sh -c 'ls /volume/bin/busybox /part/busybox; "
        "touch /volume/new || echo refused'; "
    )
    mounts = [
        {"name": "files", "mountPath": "/volume"},
        {"name": "files", "mountPath": "/part", "subPath": "bin"},
    ]
    container = shell(script + STAY, volumeMounts=mounts)
    pod = lab.run(lab.pod(container, volumes=[{"name": "files", "image": image}]))
    await lab.until_ready(pod)
    await until(lambda: lab.log(pod).count("\n") >= 4, "what the container saw")
    seen = lab.log(pod).splitlines()
    assert {"/volume/bin/busybox", "/part/busybox", "refused"} <= set(seen)
    target = lab.parts.paths.volume(pod["metadata"]["uid"], "image", "files")
    assert is_mount_point(target)
    there = await lab.parts.runtime.image(image["reference"])
    await lab.crash()
    lab.begin()
    lab.run(pod)
    await lab.until_ready(pod)
    assert list(lab.parts.volumes.images_in_use()) == [there.id]
    await lab.gone(pod)
    assert not target.exists()
    assert not lab.parts.volumes.images_in_use()


async def test_an_image_volume_that_is_missing_holds_up_those_who_mount_it(
    place: tuple[Lab, str],
) -> None:
    lab, _ = place
    missing = {"reference": "kybern.test/none:1", "pullPolicy": "Never"}
    mounts = [{"name": "files", "mountPath": "/volume"}]
    pod = lab.run(
        lab.pod(
            shell(STAY, volumeMounts=mounts),
            shell(STAY, name="other"),
            volumes=[{"name": "files", "image": missing}],
        )
    )
    name = pod["metadata"]["name"]
    await until(
        lambda: "running" in lab.container(pod, "other")["state"], "the container without it"
    )
    message = 'Container image "kybern.test/none:1" is not present with pull policy of Never'
    waiting = lab.container(pod)["state"]["waiting"]
    assert waiting == {"reason": "ErrImageNeverPull", "message": message}
    assert message in lab.events.messages(name, "ErrImageNeverPull")
    assert "Error: ErrImageNeverPull" in lab.events.messages(name, "Failed")
    await lab.gone(pod)
