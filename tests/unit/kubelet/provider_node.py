"""A node with a credential provider plugin: a real program, which answers what a test says."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kybern.component.clock import Clock
from kybern.kubelet.images.providers.provider import Provider, make_providers
from kybern.kubelet.volumes.tokens import Tokens

Obj = dict[str, Any]

V1 = "credentialprovider.kubelet.k8s.io/v1"
IMAGE = "registry.example/team/app"
PROVIDER = {
    "name": "plugin",
    "apiVersion": V1,
    "matchImages": ["registry.example", "*.wild.example:5000/team"],
    "defaultCacheDuration": "1m",
}
TOKEN = {"serviceAccountTokenAudience": "reg", "cacheType": "Token", "requireServiceAccount": True}
# Notes each request, and answers what the test has written down.
SCRIPT = '#!/bin/sh\n{ cat; echo "$@ $MODE"; } >> $NODE_DIR/asked\n. $NODE_DIR/answer\n'


class FakeClock(Clock):
    """A clock that the test moves."""

    seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


class Objects:
    """The one service account, and a token for each pod and audience."""

    annotations: Mapping[str, str] = {}
    uid = "u1"

    async def service_account(self, namespace: str, name: str) -> Obj | None:
        meta = {"namespace": namespace, "name": name, "uid": self.uid}
        known = {"metadata": {**meta, "annotations": dict(self.annotations)}}
        return known if name == "builder" else None

    async def token(
        self, pod: Obj, audience: str, seconds: int, account_uid: str = ""
    ) -> tuple[str, float]:
        return f"{audience}-{pod['metadata']['name']}-{account_uid}", Clock().time() + seconds


class Node:
    """A directory with a plugin, and providers made from a configuration."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NODE_DIR", str(directory))
        self.directory = directory
        self.clock = FakeClock()
        self.objects: Any = Objects()
        self.bin = directory / "bin"
        self.bin.mkdir()
        (self.bin / "plugin").write_text(SCRIPT)
        (self.bin / "plugin").chmod(0o755)
        self.answers()

    def providers(self, *declared: Obj, **head: str) -> list[Provider]:
        kind = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
        file = self.directory / "config.yaml"
        file.write_text(json.dumps({**kind, "providers": list(declared), **head}))
        return self.configured(file)

    def configured(self, path: Path | str) -> list[Provider]:
        tokens = Tokens(self.objects, self.clock)
        return make_providers(str(path), str(self.bin), self.objects, tokens, self.clock)

    def provider(self, **changed: Any) -> Provider:
        (made,) = self.providers({**PROVIDER, **changed})
        return made

    def answers(self, **changed: Any) -> None:
        auth = {"registry.example": {"username": "u", "password": "p"}}
        head = {"apiVersion": V1, "kind": "CredentialProviderResponse", "cacheKeyType": "Image"}
        self.says(f"echo '{json.dumps({**head, 'auth': auth, **changed})}'")

    def says(self, script: str) -> None:
        (self.directory / "answer").write_text(script)

    def asked(self) -> list[Obj]:
        file = self.directory / "asked"
        lines = file.read_text().splitlines()[::2] if file.exists() else []
        return [json.loads(line) for line in lines]
