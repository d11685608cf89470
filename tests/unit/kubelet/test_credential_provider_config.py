"""How credential provider plugins are configured, and what of that is refused."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from provider_node import PROVIDER, SCRIPT, TOKEN, V1, Node, Obj

from kybern.component.flags import BadFlag


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def test_a_directory_of_files_is_one_configuration(node: Node) -> None:
    directory = node.directory / "config.d"
    directory.mkdir()
    with pytest.raises(BadFlag, match="no configuration files found in directory"):
        node.configured(directory)
    head = "apiVersion: kubelet.config.k8s.io/{}\nkind: CredentialProviderConfig\nproviders: [{}]\n"
    for name, version in (("b", "v1"), ("a", "v1beta1")):
        text = json.dumps({**PROVIDER, "name": name})
        (directory / f"{name}.yml").write_text(head.format(version, text))
        (node.bin / name).write_text(SCRIPT)
        (node.bin / name).chmod(0o755)
    (directory / "c.txt").write_text("ignored")
    (directory / "d.yaml").mkdir()
    assert [made._config.name for made in node.configured(directory)] == ["a", "b"]
    metric = REGISTRY.restricted_registry(["kubelet_credential_provider_config_info"])
    told = [sample.labels["hash"] for family in metric.collect() for sample in family.samples]
    assert len(told) == 1 and re.fullmatch("sha256:[0-9a-f]{64}", told[0])
    (directory / "e.json").write_text((directory / "a.yml").read_text())
    with pytest.raises(BadFlag, match=r'duplicate provider name "a" found in configuration file'):
        node.configured(directory)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"name": "foo/../bar"},
            "name: Invalid value: \"foo/../bar\": provider name cannot contain '/'",
        ),
        ({"name": "a b"}, 'name: Invalid value: "a b": provider name cannot contain spaces'),
        ({"name": ".."}, "name: Invalid value: \"..\": provider name cannot be '..'"),
        ({"apiVersion": None}, "apiVersion: Required value"),
        (
            {"apiVersion": "x/v1"},
            f'apiVersion: Unsupported value: "x/v1": supported values: "{V1}", "{V1}alpha1", '
            f'"{V1}beta1"',
        ),
        (
            {"matchImages": []},
            "matchImages: Required value: at least 1 item in matchImages is required",
        ),
        (
            {"matchImages": ["%invalid%"]},
            'matchImages: Invalid value: "%invalid%": match image is invalid: parse '
            '"https://%invalid%": invalid URL escape "%in"',
        ),
        (
            {"matchImages": ["a:b/c"]},
            'matchImages: Invalid value: "a:b/c": match image is invalid: parse "https://a:b/c": '
            'invalid port ":b" after host',
        ),
        (
            {"matchImages": ["a b"]},
            'matchImages: Invalid value: "a b": match image is invalid: parse "https://a b": '
            'invalid character " " in host name',
        ),
        (
            {"matchImages": ["[::1"]},
            'matchImages: Invalid value: "[::1": match image is invalid: parse "https://[::1": '
            "missing ']' in host",
        ),
        ({"defaultCacheDuration": None}, "defaultCacheDuration: Required value"),
        (
            {"defaultCacheDuration": "-1m"},
            'defaultCacheDuration: Invalid value: "-1m0s": must be greater than or equal to 0',
        ),
        (
            {"tokenAttributes": {**TOKEN, "serviceAccountTokenAudience": ""}},
            "tokenAttributes.serviceAccountTokenAudience: Required value",
        ),
        (
            {"tokenAttributes": {**TOKEN, "cacheType": None}},
            "tokenAttributes.cacheType: Required value: cacheType is required to be set when "
            "tokenAttributes is specified. Supported values are: ServiceAccount, Token",
        ),
        (
            {"tokenAttributes": {**TOKEN, "cacheType": "x"}},
            'tokenAttributes.cacheType: Unsupported value: "x": supported values: '
            '"ServiceAccount", "Token"',
        ),
        (
            {"tokenAttributes": {**TOKEN, "requireServiceAccount": None}},
            "tokenAttributes.requireServiceAccount: Required value",
        ),
        (
            {"apiVersion": f"{V1}beta1", "tokenAttributes": TOKEN},
            f"tokenAttributes: Forbidden: tokenAttributes is only supported for {V1} API version",
        ),
        (
            {
                "tokenAttributes": {
                    **TOKEN,
                    "requireServiceAccount": False,
                    "requiredServiceAccountAnnotationKeys": ["a"],
                }
            },
            "tokenAttributes.requiredServiceAccountAnnotationKeys: Forbidden: "
            "requireServiceAccount cannot be false when "
            "requiredServiceAccountAnnotationKeys is set",
        ),
        (
            {"tokenAttributes": {**TOKEN, "optionalServiceAccountAnnotationKeys": ["a", "a"]}},
            'tokenAttributes.optionalServiceAccountAnnotationKeys: Duplicate value: "a"',
        ),
        (
            {
                "tokenAttributes": {
                    **TOKEN,
                    "requiredServiceAccountAnnotationKeys": ["a", "B"],
                    "optionalServiceAccountAnnotationKeys": ["B"],
                }
            },
            'tokenAttributes: Invalid value: ["B"]: annotation keys cannot be both required and '
            "optional",
        ),
    ],
)
def test_a_provider_that_makes_no_sense_is_refused(node: Node, changed: Obj, message: str) -> None:
    with pytest.raises(BadFlag) as refused:
        node.provider(**changed)
    start = "Failed to register CRI auth plugins: failed to validate credential provider config: "
    assert str(refused.value) == f"{start}providers.{message}"


@pytest.mark.parametrize(
    ("changed", "head", "message"),
    [
        ({"x": 1}, {}, 'strict decoding error: unknown field "providers[0].x"'),
        (
            {"tokenAttributes": TOKEN},
            {"apiVersion": "kubelet.config.k8s.io/v1beta1"},
            'strict decoding error: unknown field "providers[0].tokenAttributes"',
        ),
        ({}, {"kind": "X"}, 'no kind "X" is registered for version "kubelet.config.k8s.io/v1"'),
        (
            {},
            {"apiVersion": "x/v1"},
            'no kind "CredentialProviderConfig" is registered for version "x/v1"',
        ),
        ({"args": "x"}, {}, "providers[0].args: expected list, found str"),
        ({"defaultCacheDuration": "x"}, {}, 'time: invalid duration "x"'),
    ],
)
def test_a_file_of_another_form_is_refused(
    node: Node, changed: Obj, head: dict[str, str], message: str
) -> None:
    with pytest.raises(BadFlag, match=re.escape(message)):
        node.providers({**PROVIDER, **changed}, **head)


def test_what_is_not_there_is_refused(node: Node) -> None:
    with pytest.raises(BadFlag, match="at least 1 item in plugins is required"):
        node.providers()
    with pytest.raises(BadFlag, match="credential provider config path is empty"):
        node.configured("")
    with pytest.raises(BadFlag, match="unable to access path"):
        node.configured("/nowhere/config")
    with pytest.raises(BadFlag, match=r"plugin binary executable .*/none did not exist"):
        node.provider(name="none")
    (node.bin / "plugin").chmod(0o644)
    with pytest.raises(BadFlag, match="permission denied"):
        node.provider()
    (node.bin / "plugin").unlink()
    node.bin.rmdir()
    with pytest.raises(BadFlag, match=r"plugin binary directory .* did not exist"):
        node.provider()
