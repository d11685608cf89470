"""One cluster of simulated nodes for all tests of clients, and the kubectls to use it with."""

import itertools
from collections.abc import Iterator

import pytest
from kubectl_lab import Kubectl, client_environment, joined

from kybern.api.resources import NAMESPACES, SERVICE_ACCOUNTS
from kybern.testing.plugin import Server

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Three simulated nodes behind a port, with the whole control plane."""
    started = Server({"nodes": 3}).start()
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def environment(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What kubectls find around them: the cluster, and a home of their own."""
    return client_environment(server.kubeconfig, tmp_path_factory.mktemp("home"))


@pytest.fixture(params=["current", "debian"], scope="session")
def any_kubectl(request: pytest.FixtureRequest, environment: dict[str, str]) -> Kubectl:
    """Each kubectl in turn, in no particular namespace."""
    return joined(request.param, environment)


@pytest.fixture(scope="session")
def current_kubectl(environment: dict[str, str]) -> Kubectl:
    """The current one only: for what Debian's cannot do."""
    return joined("current", environment)


@pytest.fixture
def namespace(server: Server) -> Iterator[str]:
    """A namespace for one test, with the service account that pods need."""
    name = f"test-{next(_numbers)}"
    client = server.cluster.client
    server.call(client.create(NAMESPACES, {"metadata": {"name": name}}))
    server.call(server.cluster.wait_for(SERVICE_ACCOUNTS, "default", namespace=name))
    yield name
    server.call(client.delete(NAMESPACES, name))


@pytest.fixture
def kubectl(any_kubectl: Kubectl, namespace: str) -> Kubectl:
    """Each kubectl in turn, in a namespace of the test's own."""
    return any_kubectl.within(namespace)


@pytest.fixture
def current(current_kubectl: Kubectl, namespace: str) -> Kubectl:
    """The current kubectl in a namespace of the test's own."""
    return current_kubectl.within(namespace)
