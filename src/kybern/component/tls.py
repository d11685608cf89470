"""TLS for servers: what the HTTP edge presents, accepts, and reloads.

A server asks for a client certificate but never refuses a connection over it: like upstream, a
certificate of an unknown authority must end in a 401 answer, not in a failed handshake. So the
handshake proves only that the client holds the certificate's key; authentication verifies the
certificate itself (issuer, dates, usage) from ``Request.peer_certificate``.

Python's ssl module can ask for a certificate only if it also verifies it. OpenSSL itself lets the
application judge the chain, so the judge is set through ctypes on the context's ``SSL_CTX``. Where
that is impossible (another Python implementation), certificates that the platform cannot verify
fail the handshake instead; clients without a certificate are served everywhere.
"""

import asyncio
import ctypes
import logging
import os
import ssl
import sys
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

RELOAD_SECONDS = 10.0
FIRST_LOOK_SECONDS = 1.0

# Offered to clients that negotiate; those that offer only h2, or nothing, are served HTTP/1.1 too.
ALPN = ("http/1.1",)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """A server's certificate chain and key (PEM files), and whether it asks clients for theirs.

    Files that are ``awaited`` may come later; until they are there handshakes fail.
    """

    certificate_file: str
    key_file: str
    request_client_certificate: bool = False
    awaited: bool = False


class ServerTls:
    """The context of a server; a changed certificate file serves the next handshakes."""

    def __init__(self, config: TlsConfig) -> None:
        self._config = config
        self._loaded: tuple[tuple[int, int, int], ...] = ()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(list(ALPN))
        try:
            self._load(self._stamp())
        except FileNotFoundError:
            if not config.awaited:
                raise
        if config.request_client_certificate:
            request_any_client_certificate(self.context)

    async def follow_files(self) -> None:
        """Reload the certificate whenever its files change; runs until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS if self._loaded else FIRST_LOOK_SECONDS)
            self.reload_if_changed()

    def reload_if_changed(self) -> bool:
        """Take up changed files; keeps the old certificate while they are unreadable."""
        try:
            stamp = self._stamp()
            if stamp == self._loaded:
                return False
            self._load(stamp)
        except (OSError, ssl.SSLError) as error:
            if self._loaded or not isinstance(error, FileNotFoundError):
                log.warning("The serving certificate cannot be reloaded: %s", error)
            return False
        return True

    def _load(self, stamp: tuple[tuple[int, int, int], ...]) -> None:
        self.context.load_cert_chain(self._config.certificate_file, self._config.key_file)
        self._loaded = stamp

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        """What changes when a certificate or key file is replaced or rewritten."""
        found = []
        for path in (self._config.certificate_file, self._config.key_file):
            status = os.stat(path)
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)


# int callback(X509_STORE_CTX *, void *): 1 accepts the chain.
_ChainJudge = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def _accept_chain(store_context: Any, argument: Any) -> int:
    return 1


# OpenSSL keeps the pointer for as long as the context lives, so it lives as long as the process.
_accept_any_chain = _ChainJudge(_accept_chain)


def request_any_client_certificate(context: ssl.SSLContext) -> bool:
    """Ask clients for a certificate and take any; False if untrusted ones will be refused."""
    context.verify_mode = ssl.CERT_OPTIONAL
    found = _openssl_context(context)
    if found is None:
        log.warning("Client certificates of unknown authorities will fail the TLS handshake.")
        return False
    library, pointer = found
    set_judge = library.SSL_CTX_set_cert_verify_callback
    set_judge.argtypes = (ctypes.c_void_p, _ChainJudge, ctypes.c_void_p)
    set_judge.restype = None
    set_judge(pointer, _accept_any_chain, None)
    return True


def _openssl_context(context: ssl.SSLContext) -> tuple[ctypes.CDLL, int] | None:
    """The OpenSSL that the ssl module uses and the context's ``SSL_CTX`` pointer in it.

    CPython keeps the pointer right behind the object's header. It is taken only if OpenSSL reports
    the same options through it as the ssl module does, before and after a harmless change.
    """
    if sys.implementation.name != "cpython":
        return None
    import _ssl

    try:
        library = ctypes.CDLL(_ssl.__file__)
        get_options = library.SSL_CTX_get_options
    except (AttributeError, OSError):
        return None
    get_options.argtypes = (ctypes.c_void_p,)
    get_options.restype = ctypes.c_uint64
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value
    if not pointer:
        return None
    for probe in (ssl.OP_NO_TICKET, ssl.OP_NO_TICKET):
        context.options ^= probe
        if get_options(pointer) & 0xFFFFFFFF != int(context.options) & 0xFFFFFFFF:
            return None
    return library, pointer
