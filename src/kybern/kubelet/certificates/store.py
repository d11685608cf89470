"""One certificate of the node on disk: ``NAME-current.pem``, a link to a dated file.

The files are upstream's, so either kubelet goes on with what the other left. A dated file holds the
certificate, what it is chained to, and the key. The link is replaced in one step when the new file
is whole, so a kubelet that is killed at any moment finds the old pair or the new one. The key of a
request that is not answered yet is kept too: whoever comes next waits for the same answer instead
of asking anew. The file before the current one is kept, older ones go.
"""

import logging
import os
import re
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kybern.component import pki
from kybern.component.pki import InvalidPair, KeyPair

logger = logging.getLogger(__name__)

KEPT_FILES = 2
_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\n?", re.DOTALL)


class CertificateStore:
    """The certificate called ``name`` (``kubelet-client``) in a directory. Its methods block."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        # Where upstream's kubelet keeps the key of a request under way.
        self._pending = directory / f"{name}.key.tmp"

    @property
    def current_path(self) -> Path:
        """The file to present: the certificate and its key."""
        return self._directory / f"{self._name}-current.pem"

    def current(self) -> KeyPair | None:
        """The pair on disk, expired or not; None if there is none, or none that is usable."""
        try:
            return read_pair(self.current_path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, InvalidPair) as error:
            logger.warning("%s is not used: %s", self.current_path, error)
            return None

    def update(self, certificate_pem: bytes, key_pem: bytes, now: datetime) -> KeyPair:
        """Make this pair the current one; raises InvalidPair unless the two belong together."""
        joined = certificate_pem.rstrip() + b"\n" + key_pem
        pair = read_pair(joined)
        dated = self._directory / f"{self._name}-{now:%Y-%m-%d-%H-%M-%S}.pem"
        pki.write_atomically(dated, joined, mode=0o600)
        link = self._directory / f"{self._name}-updated.pem"
        link.unlink(missing_ok=True)
        link.symlink_to(dated.absolute())
        os.replace(link, self.current_path)
        self.forget_pending_key()
        self._remove_old()
        return pair

    def pending_key(self) -> ec.EllipticCurvePrivateKey:
        """The key to ask for a certificate with: that of a request under way, or a new one."""
        try:
            return pki.load_private_key(self._pending.read_bytes())
        except (FileNotFoundError, ValueError):
            key = pki.generate_key()
            pki.write_atomically(self._pending, pki.private_pem(key), mode=0o600)
            return key

    def forget_pending_key(self) -> None:
        """The next request is another one."""
        self._pending.unlink(missing_ok=True)

    def _remove_old(self) -> None:
        dated = sorted(self._directory.glob(f"{self._name}-[0-9]*.pem"), reverse=True)
        current = self.current_path.resolve()
        for path in dated[KEPT_FILES:]:
            if path.resolve() != current:
                path.unlink(missing_ok=True)


def read_pair(pem: bytes) -> KeyPair:
    """A certificate, its chain and its key from one file; raises InvalidPair."""
    certificates, keys = b"", b""
    for block in _BLOCK.finditer(pem):
        if block[1] == b"CERTIFICATE":
            certificates += block[0]
        elif block[1].endswith(b"PRIVATE KEY"):
            keys = keys or block[0]
    pair = KeyPair(certificates, keys)
    try:
        # Not ``pair.key``: a pair from elsewhere may have a key of another kind than ours.
        key = serialization.load_pem_private_key(keys, password=None)
        belongs = pair.certificate.public_key() == key.public_key()
    except (ValueError, TypeError) as error:
        raise InvalidPair(f"not a certificate with its key: {error}") from None
    if not belongs:
        raise InvalidPair("the key does not belong to the certificate")
    return pair
