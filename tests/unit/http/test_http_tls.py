"""TLS: versions, ALPN, reloading, and client certificates that the handshake does not judge."""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from http_client import RawClient, Scripted

from kybern.component.clock import Clock
from kybern.component.http.server import Server
from kybern.component.pki import CertificateAuthority, KeyPair
from kybern.component.tls import ServerTls, TlsConfig

Start = Callable[..., Awaitable[Server]]


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create("test", Clock())


def saved(pair: KeyPair, directory: Path, name: str) -> TlsConfig:
    pair.save(directory, name)
    return TlsConfig(str(directory / f"{name}.crt"), str(directory / f"{name}.key"), True)


@pytest.fixture
def tls(authority: CertificateAuthority, tmp_path: Path) -> TlsConfig:
    return saved(authority.issue_server("server", ["127.0.0.1"]), tmp_path, "server")


@pytest.fixture
def trusting(authority: CertificateAuthority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.certificate_pem.decode())


async def test_a_client_without_a_certificate_is_served(
    start: Start, tls: TlsConfig, trusting: ssl.SSLContext, handler: Scripted
) -> None:
    client = await RawClient.connect(await start(tls), trusting)
    await client.send("GET / HTTP/1.1")
    assert (await client.answer()).status == 200
    assert handler.requests[0].peer_certificate is None
    await client.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("issuer", ["known", "unknown"])
async def test_any_client_certificate_reaches_the_handler(
    start: Start,
    tls: TlsConfig,
    trusting: ssl.SSLContext,
    authority: CertificateAuthority,
    handler: Scripted,
    tmp_path: Path,
    version: ssl.TLSVersion,
    issuer: str,
) -> None:
    signer = authority if issuer == "known" else CertificateAuthority.create("test", Clock())
    pair = signer.issue_client("someone")
    mine = saved(pair, tmp_path, "client")
    trusting.load_cert_chain(mine.certificate_file, mine.key_file)
    trusting.minimum_version = trusting.maximum_version = version
    client = await RawClient.connect(await start(tls), trusting)
    await client.send("GET / HTTP/1.1")
    assert (await client.answer()).status == 200
    presented = handler.requests[0].peer_certificate
    assert presented == pair.certificate.public_bytes(serialization.Encoding.DER)
    assert x509.load_der_x509_certificate(presented) == pair.certificate
    await client.close()


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), ([], None)],
)
async def test_http_1_1_is_agreed_or_assumed(
    start: Start,
    tls: TlsConfig,
    trusting: ssl.SSLContext,
    offered: list[str],
    agreed: str | None,
) -> None:
    if offered:
        trusting.set_alpn_protocols(offered)
    client = await RawClient.connect(await start(tls), trusting)
    assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == agreed
    await client.send("GET / HTTP/1.1")
    assert (await client.answer()).status == 200
    await client.close()


async def test_old_tls_versions_are_refused(tls: TlsConfig) -> None:
    assert ServerTls(tls).context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_a_renewed_certificate_serves_the_next_handshake(
    start: Start,
    tls: TlsConfig,
    trusting: ssl.SSLContext,
    authority: CertificateAuthority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kybern.component.tls.RELOAD_SECONDS", 0.01)
    server = await start(tls)

    async def served() -> bytes:
        client = await RawClient.connect(server, trusting)
        found = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        await client.close()
        return found

    before = await served()
    renewed = authority.issue_server("server", ["127.0.0.1"])
    saved(renewed, tmp_path, "server")
    async with asyncio.timeout(5):
        while await served() == before:
            await asyncio.sleep(0.01)
    assert await served() == renewed.certificate.public_bytes(serialization.Encoding.DER)


async def test_an_awaited_certificate_serves_from_when_it_is_there(
    start: Start,
    authority: CertificateAuthority,
    trusting: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kybern.component.tls.FIRST_LOOK_SECONDS", 0.01)
    path = tmp_path / "current.pem"
    server = await start(TlsConfig(str(path), str(path), awaited=True))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await RawClient.connect(server, trusting)
    pair = authority.issue_server("server", ["127.0.0.1"])
    (tmp_path / "dated.pem").write_bytes(pair.certificate_pem + pair.key_pem)
    path.symlink_to(tmp_path / "dated.pem")

    async def served() -> bool:
        try:
            client = await RawClient.connect(server, trusting)
        except (ssl.SSLError, ConnectionError):
            return False
        await client.close()
        return True

    async with asyncio.timeout(5):
        while not await served():
            await asyncio.sleep(0.01)
    with pytest.raises(FileNotFoundError):
        ServerTls(TlsConfig(str(tmp_path / "missing"), str(path)))


async def test_an_unreadable_renewal_keeps_the_old_certificate(
    tls: TlsConfig, authority: CertificateAuthority, tmp_path: Path
) -> None:
    secure = ServerTls(tls)
    certificate = Path(tls.certificate_file)
    good = certificate.read_bytes()
    certificate.write_bytes(b"torn")
    assert not secure.reload_if_changed()
    os.unlink(certificate)
    assert not secure.reload_if_changed()
    certificate.write_bytes(good)
    assert secure.reload_if_changed()
    assert not secure.reload_if_changed()


async def test_garbage_instead_of_a_handshake_harms_nobody(
    start: Start, tls: TlsConfig, trusting: ssl.SSLContext
) -> None:
    server = await start(tls)
    garbage = await RawClient.connect(server)
    await garbage.send_raw(b"GET / HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(5):
        await garbage.reader.read()
    await garbage.close()
    client = await RawClient.connect(server, trusting)
    await client.send("GET / HTTP/1.1")
    assert (await client.answer()).status == 200
    await client.close()
