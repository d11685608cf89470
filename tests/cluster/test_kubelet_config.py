"""What containers are given: environment, volumes, files, limits, identity; and their probes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from containerd_lab import STAY, needs_containerd, shell, until
from kubelet_lab import Lab, open_lab

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab() as opened:
        opened.objects.config_maps["settings"] = {"data": {"color": "blue", "size": "10"}}
        opened.objects.secrets["hidden"] = {"password": b"s3cret"}
        yield opened


async def test_the_environment_comes_from_everywhere(lab: Lab) -> None:
    lab.objects.links = [
        {
            "metadata": {"name": "web-app", "namespace": "default"},
            "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80, "name": "http"}]},
        }
    ]
    env = [
        {"name": "PLAIN", "value": "x"},
        {"name": "MADE", "value": "$(PLAIN)-$(color)-$$(PLAIN)-$(NO)-$(WEB_APP_SERVICE_HOST)"},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "PASS", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "password"}}},
        {
            "name": "NONE",
            "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k", "optional": True}},
        },
    ]
    pod = lab.run(
        lab.pod(
            shell(
                "env; echo complete; " + STAY,
                env=env,
                envFrom=[{"configMapRef": {"name": "settings"}}],
                resources={"limits": {"memory": "64Mi"}},
            )
        )
    )
    status = await lab.until_ready(pod)
    await until(lambda: "complete" in lab.log(pod).splitlines(), "the environment in the log")
    shown = dict(line.partition("=")[::2] for line in lab.log(pod).splitlines())
    assert shown["MADE"] == "x-blue-$(PLAIN)-$(NO)-10.96.0.7"
    assert shown["NAME"] == pod["metadata"]["name"]
    assert shown["IP"] == status["podIP"]
    assert shown["LIMIT"] == str(64 * 1024 * 1024)
    assert (shown["CPU"], shown["PASS"], shown["size"]) == ("2", "s3cret", "10")
    assert shown["WEB_APP_SERVICE_PORT_HTTP"] == "80"
    assert shown["HOSTNAME"] == pod["metadata"]["name"]
    assert "NONE" not in shown
    await lab.gone(pod)


async def test_a_missing_reference_is_a_config_error_until_it_appears(lab: Lab) -> None:
    pod = lab.run(lab.pod(shell(STAY, envFrom=[{"configMapRef": {"name": "later"}}])))
    await until(lambda: "waiting" in lab.container(pod)["state"], "a waiting container")
    await until(
        lambda: lab.container(pod)["state"]["waiting"]["reason"] == "CreateContainerConfigError",
        "the reason",
    )
    assert lab.container(pod)["state"]["waiting"]["message"] == 'configmap "later" not found'
    lab.objects.config_maps["later"] = {"data": {}}
    await lab.until_ready(pod)
    await lab.gone(pod)


async def test_volumes_show_config_and_follow_its_changes(lab: Lab) -> None:
    projected = {
        "defaultMode": 0o644,
        "sources": [
            {"configMap": {"name": "settings", "items": [{"key": "color", "path": "a/color"}]}},
            {"secret": {"name": "hidden"}},
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                    ]
                }
            },
        ],
    }
    volumes = [
        {"name": "all", "projected": projected},
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "hidden", "secret": {"secretName": "hidden", "defaultMode": 0o400}},
        {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]
    mounts = [{"name": v["name"], "mountPath": f"/v/{v['name']}"} for v in volumes]
    mounts.append({"name": "settings", "mountPath": "/one/color", "subPath": "color"})
    pod = lab.pod(shell(STAY, volumeMounts=mounts), volumes=volumes)
    pod["metadata"]["labels"] = {"app": "x"}
    lab.run(pod)
    await lab.until_ready(pod)
    assert await lab.exec(pod, "cat", "/v/all/a/color", "/v/all/password") == "blues3cret"
    assert (await lab.exec(pod, "cat", "/v/all/token")).startswith("token-")
    assert await lab.exec(pod, "cat", "/v/all/labels") == 'app="x"'
    assert await lab.exec(pod, "stat", "-L", "-c", "%a", "/v/hidden/password") == "400\n"
    assert await lab.exec(pod, "cat", "/one/color") == "blue"
    assert "tmpfs" in await lab.exec(pod, "sh", "-c", "mount | grep /v/scratch")
    lab.objects.config_maps["settings"] = {"data": {"color": "green", "size": "10"}}
    lab.workers.wake(pod["metadata"]["uid"])

    async def followed() -> bool:
        return await lab.exec(pod, "cat", "/v/settings/color", "/v/all/a/color") == "greengreen"

    await until(followed, "the new color")
    assert await lab.exec(pod, "cat", "/one/color") == "blue"
    lab.objects.config_maps["settings"] = {"data": {"color": "blue", "size": "10"}}
    await lab.gone(pod)


async def test_a_missing_volume_source_holds_the_pod_back(lab: Lab) -> None:
    volumes = [{"name": "v", "configMap": {"name": "absent"}}]
    pod = lab.run(
        lab.pod(shell(STAY, volumeMounts=[{"name": "v", "mountPath": "/v"}]), volumes=volumes)
    )
    name = pod["metadata"]["name"]
    await until(lambda: "FailedMount" in lab.events.reasons(name), "an event")
    assert lab.events.messages(name, "FailedMount")[0] == (
        'MountVolume.SetUp failed for volume "v" : configmap "absent" not found'
    )
    assert lab.container(pod)["state"] == {"waiting": {"reason": "ContainerCreating"}}
    await lab.gone(pod)


async def test_a_volume_source_that_is_gone_does_not_keep_containers_from_starting(
    lab: Lab,
) -> None:
    lab.objects.config_maps["short"] = {"data": {"k": "kept"}}
    volumes = [{"name": "v", "configMap": {"name": "short"}}]
    mounts = [{"name": "v", "mountPath": "/v"}]
    pod = lab.run(lab.pod(shell("cat /v/k; echo; " + STAY, volumeMounts=mounts), volumes=volumes))
    await lab.until_ready(pod)
    del lab.objects.config_maps["short"]
    await lab.exec(pod, "kill", "-TERM", "1")
    await until(lambda: lab.container(pod)["restartCount"] == 1, "the next attempt")
    await until(lambda: "kept" in lab.log(pod, attempt=1), "what was there before")
    assert lab.events.messages(pod["metadata"]["name"], "FailedMount")[0] == (
        'MountVolume.SetUp failed for volume "v" : configmap "short" not found'
    )
    await lab.gone(pod)


async def test_host_paths_are_checked_and_mounted(lab: Lab) -> None:
    directory = lab.directory / "host"
    volumes = [{"name": "v", "hostPath": {"path": str(directory), "type": "DirectoryOrCreate"}}]
    mounts = [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/s", "subPath": "a/b"}]
    pod = lab.run(lab.pod(shell("echo x > /s/file; " + STAY, volumeMounts=mounts), volumes=volumes))
    await lab.until_ready(pod)
    assert (directory / "a/b/file").read_text() == "x\n"
    wrong = [{"name": "v", "hostPath": {"path": str(directory), "type": "File"}}]
    other = lab.run(lab.pod(shell(STAY), volumes=wrong))
    name = other["metadata"]["name"]
    await until(lambda: "FailedMount" in lab.events.reasons(name), "an event")
    assert "is not a file" in lab.events.messages(name, "FailedMount")[0]
    await lab.gone(pod)
    await lab.gone(other)


async def test_names_and_dns_are_the_pods_own(lab: Lab) -> None:
    pod = lab.run(
        lab.pod(
            shell(STAY),
            hostname="web",
            subdomain="sub",
            hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a", "b"]}],
            dnsPolicy="None",
            dnsConfig={
                "nameservers": ["9.9.9.9"],
                "searches": ["x.y"],
                "options": [{"name": "ndots", "value": "3"}],
            },
        )
    )
    status = await lab.until_ready(pod)
    hosts = await lab.exec(pod, "cat", "/etc/hosts")
    assert f"{status['podIP']}\tweb.sub.default.svc.cluster.local\tweb\n" in hosts
    assert "1.2.3.4\ta\tb\n" in hosts
    assert await lab.exec(pod, "hostname") == "web\n"
    resolv = await lab.exec(pod, "cat", "/etc/resolv.conf")
    assert resolv == "search x.y\nnameserver 9.9.9.9\noptions ndots:3\n"
    await lab.gone(pod)


async def test_security_and_limits_reach_the_container(lab: Lab) -> None:
    pod = lab.run(
        lab.pod(
            shell(
                STAY,
                resources={
                    "requests": {"cpu": "100m"},
                    "limits": {"cpu": "500m", "memory": "32Mi"},
                },
                securityContext={
                    "runAsUser": 1000,
                    "readOnlyRootFilesystem": True,
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
                volumeMounts=[{"name": "v", "mountPath": "/v"}],
            ),
            securityContext={"fsGroup": 2000, "supplementalGroups": [3000]},
            volumes=[{"name": "v", "emptyDir": {}}],
        )
    )
    status = await lab.until_ready(pod)
    assert status["qosClass"] == "Burstable"
    assert await lab.exec(pod, "id") == "uid=1000 gid=0(root) groups=0(root),2000,3000\n"
    assert "Read-only file system" in await lab.exec(pod, "touch", "/x")
    assert await lab.exec(pod, "stat", "-c", "%g %a", "/v") == "2000 2777\n"
    facts = await lab.exec(pod, "cat", "/proc/self/status")
    assert "CapEff:\t0000000000000000" in facts
    assert "NoNewPrivs:\t1" in facts
    await lab.gone(pod)


async def test_a_root_image_is_refused_where_root_is(lab: Lab) -> None:
    pod = lab.run(lab.pod(shell(STAY), securityContext={"runAsNonRoot": True}))
    await until(
        lambda: (
            lab.container(pod)["state"].get("waiting", {}).get("reason")
            == "CreateContainerConfigError"
        ),
        "the refusal",
    )
    message = lab.container(pod)["state"]["waiting"]["message"]
    assert message.startswith("container has runAsNonRoot and image will run as root")
    await lab.gone(pod)


async def test_readiness_follows_its_probe(lab: Lab) -> None:
    probe = {"exec": {"command": ["test", "-f", "/tmp/ready"]}, "periodSeconds": 1}
    pod = lab.run(lab.pod(shell(STAY, readinessProbe=probe)))
    await until(lambda: "running" in lab.container(pod)["state"], "it runs")
    await until(lambda: "Unhealthy" in lab.events.reasons(pod["metadata"]["name"]), "a failure")
    assert lab.condition(pod, "Ready") == "False"
    await lab.exec(pod, "touch", "/tmp/ready")
    await lab.until_ready(pod)
    await lab.exec(pod, "rm", "/tmp/ready")
    await until(lambda: lab.condition(pod, "Ready") == "False", "not ready again")
    assert lab.container(pod)["restartCount"] == 0
    await lab.gone(pod)


async def test_a_failed_liveness_probe_restarts_the_container(lab: Lab) -> None:
    probe = {
        "httpGet": {"path": "/", "port": "web"},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    script = "echo ok > /index.html; httpd -p 8080 -h /; sleep 2; killall httpd; " + STAY
    ports = [{"name": "web", "containerPort": 8080}]
    pod = lab.run(lab.pod(shell(script, livenessProbe=probe, ports=ports)))
    await lab.until_ready(pod)
    await until(lambda: lab.container(pod)["restartCount"] >= 1, "a restart")
    killing = lab.events.messages(pod["metadata"]["name"], "Killing")
    assert killing[0] == "Container main failed liveness probe, will be restarted"
    unhealthy = lab.events.messages(pod["metadata"]["name"], "Unhealthy")[-1]
    assert unhealthy.startswith('Liveness probe failed: Get "http://10.77.0.')
    assert ':8080/": dial tcp 10.77.0.' in unhealthy
    await lab.gone(pod)


async def test_a_startup_probe_holds_the_others_back(lab: Lab) -> None:
    started = {"tcpSocket": {"port": 9000}, "periodSeconds": 1, "failureThreshold": 30}
    alive = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 100}
    pod = lab.run(
        lab.pod(
            shell(
                "sleep 1.5; nc -ll -p 9000 -e cat & " + STAY,
                startupProbe=started,
                livenessProbe=alive,
            )
        )
    )
    await until(lambda: "running" in lab.container(pod)["state"], "it runs")
    assert lab.container(pod)["started"] is False
    assert lab.condition(pod, "Ready") == "False"
    await lab.until_ready(pod)
    assert lab.container(pod)["started"] is True
    await lab.gone(pod)


async def test_hooks_run_after_start_and_before_stop(lab: Lab) -> None:
    source = {"path": str(lab.directory / "hooks"), "type": "DirectoryOrCreate"}
    volumes = [{"name": "v", "hostPath": source}]
    lifecycle = {
        "postStart": {"exec": {"command": ["sh", "-c", "sleep 0.3; echo started > /v/started"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopping > /v/stopping"]}},
    }
    pod = lab.run(
        lab.pod(
            shell(STAY, lifecycle=lifecycle, volumeMounts=[{"name": "v", "mountPath": "/v"}]),
            volumes=volumes,
        )
    )
    await lab.until_ready(pod)
    assert (lab.directory / "hooks/started").read_text() == "started\n"
    await lab.gone(pod)
    assert (lab.directory / "hooks/stopping").read_text() == "stopping\n"


async def test_a_new_kubelet_adopts_running_containers(lab: Lab) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 60}
    pod = lab.run(lab.pod(shell(STAY, readinessProbe=probe)))
    orphan = lab.run(lab.pod(shell(STAY)))
    status = await lab.until_ready(pod)
    await lab.until_ready(orphan)
    identity = lab.container(pod)["containerID"]
    await lab.crash()
    lab.begin()
    lab.run({**pod, "status": status})
    await lab.until_ready(pod)
    assert lab.container(pod)["containerID"] == identity
    assert lab.container(pod)["restartCount"] == 0
    await until(lambda: lab.pleg.pods, "a first look at the runtime")
    lab.workers.adopt_orphans(lab.pleg.pods)

    async def only_one() -> bool:
        return len(await lab.parts.runtime.sandboxes()) == 1

    await until(only_one, "the orphan is removed")
    await until(lambda: len(lab.parts.paths.known_pods()) == 1, "its files too")
    await lab.gone(pod)


async def test_a_new_kubelet_ends_what_no_longer_belongs_on_its_node(lab: Lab) -> None:
    selector = {"kubernetes.io/os": "linux"}
    pod = lab.run(lab.pod(shell(STAY), nodeSelector=selector))
    status = await lab.until_ready(pod)
    await lab.crash()
    lab.begin()
    lab.parts.facts.node = {"metadata": {"name": "lab", "labels": {}}}
    lab.run({**pod, "status": status})
    failed = await lab.until_phase(pod, "Failed")
    assert (failed["reason"], failed["message"]) == (
        "NodeAffinity",
        "Pod was rejected: Predicate NodeAffinity failed: "
        "node(s) didn't match Pod's node affinity/selector",
    )
    await until(lambda: "terminated" in lab.container(pod)["state"], "its container has ended")
    await lab.gone(pod)
    lab.parts.facts.node = {"metadata": {"name": "lab", "labels": selector}}


async def test_containers_survive_a_killed_runtime(lab: Lab) -> None:
    pod = lab.run(lab.pod(shell(STAY)))
    await lab.until_ready(pod)
    identity = lab.container(pod)["containerID"]
    lab.containerd.kill()
    await asyncio.sleep(0)
    lab.containerd.start()
    await lab.containerd.ready()
    other = lab.run(lab.pod(shell(STAY)))
    await lab.until_ready(other)
    assert lab.container(pod)["containerID"] == identity
    assert lab.condition(pod, "Ready") == "True"
    await lab.gone(pod)
    await lab.gone(other)


async def test_a_probe_that_is_just_starting_does_not_hold_up_the_end(lab: Lab) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 100}

    async def live_and_go(delay: float) -> None:
        pod = lab.run(lab.pod(shell(STAY, livenessProbe=probe)))
        await lab.until_ready(pod)
        await asyncio.sleep(delay)
        await lab.gone(pod)

    # The delays are the point: deletes that meet the first probe at different moments of its start.
    for step in range(3):
        await asyncio.gather(*(live_and_go(0.004 * step + 0.001 * i) for i in range(4)))
