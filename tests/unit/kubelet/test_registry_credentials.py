"""Which logins fit an image, and the files that hold them."""

import base64
import json
from pathlib import Path

import pytest

from kybern.component.clock import Clock
from kybern.kubelet.images.credentials import Credentials, Login, PullSecret
from kybern.kubelet.images.docker_config import NodeLogins, parse_config, parse_dockercfg
from kybern.kubelet.images.keyring import Keyring, matches
from kybern.kubelet.images.lookup import CredentialLookup, PodCredentials
from kybern.kubelet.images.reference import repository

POD = {"metadata": {"name": "web", "namespace": "default", "uid": "1"}, "spec": {}}


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("busybox", "docker.io/library/busybox"),
        ("team/app:1", "docker.io/team/app"),
        ("index.docker.io/app@sha256:" + "0" * 64, "docker.io/library/app"),
        ("registry.example/app:1", "registry.example/app"),
        ("registry:5000/app", "registry:5000/app"),
        ("localhost/app", "localhost/app"),
    ],
)
def test_a_repository_has_its_registry_and_no_tag(image: str, expected: str) -> None:
    assert repository(image) == expected


@pytest.mark.parametrize(
    ("place", "image", "fits"),
    [
        ("registry.example", "registry.example/app", True),
        ("registry.example/te", "registry.example/team/app", True),
        ("registry.example/team", "registry.example/other", False),
        ("registry.example", "registry.example:5000/app", False),
        ("registry.example:5000", "registry.example:5000/app", True),
        ("registry.example:5000", "registry.example/app", False),
        ("*.example", "registry.example/app", True),
        ("*.example", "a.registry.example/app", False),
        ("*.*.example", "a.registry.example/app", True),
        ("reg*.example", "registry.example/app", True),
        ("registry.*:5000/team", "registry.example:5000/team/app", True),
        ("[::1]:5000", "[::1]:5000/app", True),
        ("*", "registry.example/app", False),
    ],
)
def test_each_part_of_a_host_may_be_a_glob(place: str, image: str, fits: bool) -> None:
    assert matches(place, image) == fits


def users(places: list[str], image: str) -> list[str]:
    ring = Keyring()
    ring.add({place: Login(place, "p") for place in places})
    return [found.login.username for found in ring.find(image)]


def test_the_longer_place_is_tried_first() -> None:
    places = ["*.example", "registry.example", "https://registry.example/v1/team", "other.example"]
    assert users(places, "registry.example/team/app") == [places[2], places[1], places[0]]
    assert users(places, "registry.example/app") == [places[1], places[0]]


def test_dockers_own_place_is_for_images_that_nothing_else_fits() -> None:
    hub = "https://index.docker.io/v1/"
    assert users([hub], "docker.io/library/busybox") == [hub]
    assert users([hub, "docker.io/team"], "docker.io/team/app") == ["docker.io/team"]
    assert users([hub], "registry.example/app") == []


def test_logins_are_read_in_both_of_dockers_forms() -> None:
    for text in ("user:p:q", "user:p"):
        auth = base64.b64encode(text.encode()).decode()
        for written in (auth, auth.rstrip("=")):
            auths = {"a": {"auth": written, "email": "e"}, "b": {"username": "u"}}
            expected = {"a": Login("user", text.partition(":")[2], "e"), "b": Login("u", "")}
            config = {"auths": auths, "credsStore": "x"}
            assert parse_config(json.dumps(config).encode()) == expected
            assert parse_dockercfg(json.dumps(auths).encode()) == expected
    assert parse_config(b"{}") == parse_config(b'{"auths": null}') == {}


@pytest.mark.parametrize(
    "auths", ["[]", '{"a": 1}', '{"a": {"auth": "?"}}', '{"a": {"auth": "eA"}}']
)
def test_what_is_no_map_of_logins_is_refused(auths: str) -> None:
    with pytest.raises(ValueError):
        parse_dockercfg(auths.encode())


def test_fingerprints_are_those_of_upstreams_kubelet() -> None:
    secret = PullSecret("ns", "a", "1", {})
    # sha256 of {"username":"u","password":"p\u003c\u0026"}, which is how Go writes it.
    assert Credentials(Login("u", "p<&"), secret).fingerprint() == (
        "3d1578e705d133394a2d58d347f15d583235f9cce1b5114e165b9b98689944f5"
    )
    assert (
        Credentials(Login("u", "p"), None).fingerprint()
        != Credentials(Login("u", "p", "e"), None).fingerprint()
    )


async def test_the_nodes_files_are_tried_in_upstreams_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, work, home = (tmp_path / name for name in ("root", "work", "home"))
    for directory in (root, work, home / ".docker"):
        directory.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))

    def write(file: Path, user: str) -> None:
        auths = {"registry.example": {"username": user, "password": "p"}}
        file.write_text(json.dumps({"auths": auths} if file.name == "config.json" else auths))

    async def found() -> str:
        logins = await NodeLogins(root, Clock()).get()
        return logins["registry.example"].username

    files = [
        root / "config.json",
        work / "config.json",
        home / ".docker/config.json",
        root / ".dockercfg",
        work / ".dockercfg",
        home / ".dockercfg",
    ]
    for file in files:
        write(file, str(file))
    for file in files:
        assert await found() == str(file)
        if file == root / "config.json":
            file.write_text('{"auths": []}')
        else:
            file.unlink()


async def test_secrets_come_before_the_node_and_the_node_before_plugins(tmp_path: Path) -> None:
    class Plugin:
        asked = 0

        async def provide(self, repository: str, pod: object) -> tuple[dict[str, Login], None]:
            self.asked += 1
            return {"registry.example/app": Login("plugin", "p")}, None

    auths = {"auths": {"registry.example": {"username": "node", "password": "p"}}}
    (tmp_path / "config.json").write_text(json.dumps(auths))
    secrets = [
        PullSecret("default", "broken", "1", {".dockerconfigjson": b"no json"}),
        PullSecret("default", "b", "2", {".dockercfg": b'{"registry.example": {"username": "b"}}'}),
    ]
    plugin = Plugin()
    lookup = CredentialLookup(NodeLogins(tmp_path, Clock()), [plugin])
    wanted = PodCredentials(lookup, "registry.example/app:1", POD, secrets)
    for _ in range(2):
        found = await wanted.get()
        assert [(one.login.username, one.source) for one in found] == [
            ("b", secrets[1]),
            ("node", None),
            ("plugin", None),
        ]
    assert plugin.asked == 1
