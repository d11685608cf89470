"""Reads a node's CredentialProviderConfig: a file, or all files of a directory as one."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kybern.api import yaml
from kybern.api.errors import Obj
from kybern.component.duration import Duration, parse_duration
from kybern.kubelet.images.providers.validation import validate

KIND = "CredentialProviderConfig"
_GROUP = "kubelet.config.k8s.io"
_ENDINGS = (".json", ".yaml", ".yml")

# The fields and what they hold: a type, a list of one, or fields of their own.
_ATTRIBUTES = {
    "serviceAccountTokenAudience": str,
    "cacheType": str,
    "requireServiceAccount": bool,
    "requiredServiceAccountAnnotationKeys": [str],
    "optionalServiceAccountAnnotationKeys": [str],
}
_PROVIDER = {
    "name": str,
    "matchImages": [str],
    "defaultCacheDuration": Duration,
    "apiVersion": str,
    "args": [str],
    "env": [{"name": str, "value": str}],
}
_HEAD = {"apiVersion": str, "kind": str}
_OLDER = {**_HEAD, "providers": [_PROVIDER]}
_VERSIONS = {
    f"{_GROUP}/v1": {**_HEAD, "providers": [{**_PROVIDER, "tokenAttributes": _ATTRIBUTES}]},
    f"{_GROUP}/v1beta1": _OLDER,
    f"{_GROUP}/v1alpha1": _OLDER,
}


class ConfigError(ValueError):
    """The configuration cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class TokenAttributes:
    """The token that a plugin gets of the pod's service account."""

    audience: str
    per_token: bool
    required: bool
    required_annotations: tuple[str, ...]
    optional_annotations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """One plugin: for which images it is asked, and how."""

    name: str
    api_version: str
    match_images: tuple[str, ...]
    cache_seconds: float
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    token: TokenAttributes | None


def read(path: str) -> tuple[list[ProviderConfig], str]:
    """The plugins, and the digest of all that was read. Raises ConfigError."""
    if not path:
        raise ConfigError("credential provider config path is empty")
    digest = hashlib.sha256()
    providers: dict[str, Obj] = {}
    for file in _files(Path(path)):
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ConfigError(f'unable to read file "{file}": {error.strerror}') from None
        digest.update(len(content).to_bytes(8, "big") + content)
        try:
            found = _decode(content)
        except ConfigError as error:
            raise ConfigError(f'error decoding config "{file}": {error}') from None
        for provider in found:
            name = provider.get("name", "")
            if name in providers:
                raise ConfigError(
                    f'duplicate provider name "{name}" found in configuration file(s)'
                )
            providers[name] = provider
    if errors := [str(error) for error in validate(list(providers.values()))]:
        told = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
        raise ConfigError(f"failed to validate credential provider config: {told}")
    return [_provider(one) for one in providers.values()], f"sha256:{digest.hexdigest()}"


def _files(path: Path) -> list[Path]:
    try:
        path.stat()
        if not path.is_dir():
            return [path]
        found = [file for file in sorted(path.iterdir()) if file.suffix in _ENDINGS]
    except OSError as error:
        raise ConfigError(f'unable to access path "{path}": {error.strerror}') from None
    files = [file for file in found if not file.is_dir()]
    if not files:
        raise ConfigError(f'no configuration files found in directory "{path}"')
    return files


def _decode(content: bytes) -> list[Obj]:
    """The providers that one file declares, their durations in seconds."""
    try:
        document, strict = yaml.load_with_duplicates(content)
    except yaml.YamlError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(document, dict):
        raise ConfigError("expected a mapping")
    version, kind = document.get("apiVersion"), document.get("kind")
    if not isinstance(version, str) or version not in _VERSIONS or kind != KIND:
        raise ConfigError(f'no kind "{kind}" is registered for version "{version}"')
    decoded = _checked(document, _VERSIONS[version], "", strict)
    if strict:
        raise ConfigError(f"strict decoding error: {', '.join(strict)}")
    providers: list[Obj] = decoded.get("providers", [])
    return providers


def _checked(value: Any, shape: Any, path: str, unknown: list[str]) -> Any:
    """The value if it is of this shape; fields that no shape has are noted, nulls left out."""
    if isinstance(shape, list):
        (each,) = shape
        entries = _typed(value, list, path)
        return [_checked(one, each, f"{path}[{i}]", unknown) for i, one in enumerate(entries)]
    if isinstance(shape, dict):
        found = {}
        for name, field in _typed(value, dict, path).items():
            inner = f"{path}.{name}" if path else str(name)
            if name not in shape:
                unknown.append(f'unknown field "{inner}"')
            elif field is not None:
                found[name] = _checked(field, shape[name], inner, unknown)
        return found
    if shape is Duration:
        try:
            return parse_duration(_typed(value, str, path))
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None
    return _typed(value, shape, path)


def _typed(value: Any, kind: type, path: str) -> Any:
    if not isinstance(value, kind):
        raise ConfigError(f"{path}: expected {kind.__name__}, found {type(value).__name__}")
    return value


def _provider(declared: Obj) -> ProviderConfig:
    attributes = declared.get("tokenAttributes")
    return ProviderConfig(
        name=declared.get("name", ""),
        api_version=declared["apiVersion"],
        match_images=tuple(declared["matchImages"]),
        cache_seconds=declared["defaultCacheDuration"],
        args=tuple(declared.get("args", ())),
        env=tuple((one.get("name", ""), one.get("value", "")) for one in declared.get("env", ())),
        token=None if attributes is None else _token(attributes),
    )


def _token(attributes: Obj) -> TokenAttributes:
    return TokenAttributes(
        audience=attributes["serviceAccountTokenAudience"],
        per_token=attributes["cacheType"] == "Token",
        required=attributes["requireServiceAccount"],
        required_annotations=tuple(attributes.get("requiredServiceAccountAnnotationKeys", ())),
        optional_annotations=tuple(attributes.get("optionalServiceAccountAnnotationKeys", ())),
    )
