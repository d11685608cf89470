"""The extenders of a KubeSchedulerConfiguration: upstream's defaults, order and refusals."""

import base64
from typing import Any

import pytest
import yaml

from kybern.scheduler.configuration import ConfigurationError, Settings, load

Obj = dict[str, Any]


def settings(*extenders: Obj) -> Settings:
    document = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "extenders": list(extenders),
    }
    return load(yaml.safe_dump(document))


def test_defaults_and_order() -> None:
    first = {"urlPrefix": "http://a/", "ignorable": True, "httpTimeout": "1m30s"}
    second = {"urlPrefix": "https://b", "enableHTTPS": True}
    found = settings(first, second).extenders
    # Those that may be ignored are asked last.
    assert [one.url for one in found] == ["https://b", "http://a"]
    assert [one.timeout for one in found] == [5.0, 90.0]
    assert found[1].tls is None
    assert found[0].tls is not None and found[0].tls.insecure


def test_with_an_authority_extenders_are_verified() -> None:
    ca = base64.b64encode(b"pem").decode()
    tls = {"caData": ca, "serverName": "extender"}
    (found,) = settings({"urlPrefix": "https://a", "enableHTTPS": True, "tlsConfig": tls}).extenders
    assert found.tls is not None
    assert (found.tls.insecure, found.tls.ca, found.tls.server_name) == (False, b"pem", "extender")


def test_resources_that_an_extender_counts_are_left_to_it() -> None:
    managed = [{"name": "example.com/gpu", "ignoredByScheduler": True}, {"name": "example.com/nic"}]
    found = settings({"urlPrefix": "http://a", "managedResources": managed})
    assert found.profiles[0].args["NodeResourcesFit"]["ignoredResources"] == ["example.com/gpu"]


@pytest.mark.parametrize(
    ("extenders", "message"),
    [
        ([{"urlPrefix": "http://a", "prioritizeVerb": "p"}], "must have a positive weight"),
        ([{"filterVerb": "f"}], "urlPrefix: Required value"),
        ([{"urlPrefix": "http://a", "managedResources": [{"name": "cpu"}]}], "invalid extended"),
        ([{"urlPrefix": "http://a", "bindVerb": "b"}] * 2, "only one extender can implement bind"),
        ([{"urlPrefix": "http://a", "httpTimeout": "soon"}], "invalid duration"),
        (
            [{"urlPrefix": "http://a", "managedResources": [{"name": "example.com/g"}]}] * 2,
            "duplicate extender managed resource name",
        ),
    ],
)
def test_refusals(extenders: list[Obj], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        settings(*extenders)
