"""Warnings about the paths of files in volumes: the same twice, or one inside the other.

The later file takes the place of the earlier one, or cannot be made at all.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kybern.api.errors import Obj

_CERTIFICATE_PATHS = {
    "certificateChainPath": "PodCertificate chain",
    "keyPath": "PodCertificate key",
    "credentialBundlePath": "PodCertificate credential bundle",
}


class _Path(NamedTuple):
    """``source`` says whose path it is, where a volume has several sources."""

    path: str
    source: str = ""

    def __str__(self) -> str:
        return f'"{self.path}" ({self.source})' if self.source else f'"{self.path}"'


def volume_path_warnings(volumes: Iterable[Obj]) -> list[str]:
    """Warnings about each volume of a pod on its own."""
    warnings: list[str] = []
    for volume in volumes:
        name = volume.get("name", "")
        for shown, paths in _plain(volume):
            warnings += _overlaps(f'volume "{name}" ({shown})', paths, [])
        taken: list[_Path] = []
        for source in (volume.get("projected") or {}).get("sources") or ():
            shown = f'volume "{name}" (Projected)'
            if not source:
                warnings.append(f"{shown} has no sources provided")
            warnings += _overlaps(shown, _projected(source), taken)
    return warnings


def _plain(volume: Obj) -> Iterator[tuple[str, list[_Path]]]:
    """What a volume of one source is called, and its paths."""
    if config_map := volume.get("configMap"):
        yield f'ConfigMap "{config_map.get("name", "")}"', _items(config_map)
    if secret := volume.get("secret"):
        yield f'Secret "{secret.get("secretName", "")}"', _items(secret)
    if downward := volume.get("downwardAPI"):
        yield "DownwardAPI", _items(downward)


def _items(declared: Obj, source: str = "") -> list[_Path]:
    return [_Path(item.get("path", ""), source) for item in declared.get("items") or ()]


def _projected(source: Obj) -> list[_Path]:
    if config_map := source.get("configMap"):
        return _items(config_map, f'ConfigMap "{config_map.get("name", "")}"')
    if secret := source.get("secret"):
        return _items(secret, f'Secret "{secret.get("name", "")}"')
    if downward := source.get("downwardAPI"):
        return _items(downward, "DownwardAPI")
    if token := source.get("serviceAccountToken"):
        return [_Path(token.get("path", ""), "ServiceAccountToken")]
    if bundle := source.get("clusterTrustBundle"):
        name = bundle["name"] if "name" in bundle else bundle.get("signerName", "")
        return [_Path(bundle.get("path", ""), f'ClusterTrustBundle "{name}"')]
    certificate = source.get("podCertificate") or {}
    return [
        _Path(certificate[field], shown)
        for field, shown in _CERTIFICATE_PATHS.items()
        if certificate.get(field)
    ]


def _overlaps(volume: str, paths: Iterable[_Path], taken: list[_Path]) -> list[str]:
    """Warnings about paths that meet those before them, which ``taken`` grows by."""
    warnings: list[str] = []
    for given in paths:
        path = given._replace(path=given.path.rstrip("/"))
        if not path.path:
            continue
        warnings += [
            f"{volume}: overlapping paths: {path} with {earlier}"
            for earlier in taken
            if _overlap(path.path, earlier.path)
        ]
        taken.append(path)
    return warnings


def _overlap(one: str, other: str) -> bool:
    one, other = f"{one}/", f"{other}/"
    return one.startswith(other) or other.startswith(one)
