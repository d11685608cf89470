"""The pages about a process: text for people, objects for those who name a version."""

from dataclasses import dataclass

import orjson
import pytest

from kybern.api import yaml
from kybern.api.errors import StatusError
from kybern.component.clock import Clock
from kybern.component.flags import flag
from kybern.component.http.messages import Response
from kybern.component.status_pages import FlagsPage, StatusPage


@dataclass
class Config:
    secure_port: int = flag(1, "")
    leader_elect: bool = flag(True, "", name="lead")


def body(response: Response) -> bytes:
    assert isinstance(response.body, bytes)
    return response.body


def test_people_get_text() -> None:
    text = body(FlagsPage("kube-x", Config()).answer("")).decode()
    assert text.startswith("\nkube-x flagz\nWarning: ")
    assert text.endswith("\nlead=true\nsecure-port=1\n")
    text = body(StatusPage("kube-x", Clock(), ["/a", "/b"]).answer("text/plain")).decode()
    assert "\nUp: 0 hr 00 min 00 sec\n" in text and text.endswith("\nPaths: /a /b\n")


def test_programs_name_a_version() -> None:
    form = "application/json;g=config.k8s.io;v=v1beta1;as=Flagz"
    answer = FlagsPage("kube-x", Config()).answer(form)
    assert answer.headers["Content-Type"] == form
    assert orjson.loads(body(answer)) == {
        "kind": "Flagz",
        "apiVersion": "config.k8s.io/v1beta1",
        "metadata": {"name": "kube-x"},
        "flags": {"lead": "true", "secure-port": "1"},
    }
    page = StatusPage("kube-x", Clock(), ["/a"])
    answer = page.answer("application/yaml;as=Statusz;v=v1alpha1;g=config.k8s.io")
    document = yaml.load(body(answer))
    assert document["paths"] == ["/a"] and document["emulationVersion"] == "1.36"


@pytest.mark.parametrize(
    "accept", ["application/json", "application/json;as=Statusz;v=v2;g=config.k8s.io", "image/png"]
)
def test_everything_else_is_not_acceptable(accept: str) -> None:
    with pytest.raises(StatusError) as raised:
        StatusPage("kube-x", Clock(), []).answer(accept)
    assert raised.value.code == 406
