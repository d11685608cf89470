"""``/statusz`` and ``/flagz``: what a process is and how it was started.

For people as text, of whose form upstream promises nothing, and so do we not; for programs as a
``Statusz`` or ``Flagz`` object, for whoever names one of its versions in the Accept header. Flags
that hold secrets would have no place here, but there are none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import orjson

from kybern.api import yaml
from kybern.api.errors import Obj, StatusError
from kybern.component.clock import Clock, rfc3339
from kybern.component.http.accept import Clause, parse_accept
from kybern.component.http.messages import Response
from kybern.component.version import version_info

_TEXT, _JSON, _YAML = "text/plain", "application/json", "application/yaml"
_GROUP = "config.k8s.io"
_VERSIONS = ("v1beta1", "v1alpha1")
_WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility "
    "guarantees and is for debugging purposes only."
)


class StatusPage:
    """``/statusz``: how long the process has run, as what, and which ``paths`` it answers."""

    def __init__(self, component: str, clock: Clock, paths: Sequence[str]) -> None:
        self._component, self._clock, self._paths = component, clock, paths
        self._started = clock.now()
        self._start = clock.monotonic()

    def answer(self, accept: str) -> Response:
        seconds = int(self._clock.monotonic() - self._start)
        version = version_info()
        document = {
            "startTime": rfc3339(self._started.timestamp()),
            "uptimeSeconds": seconds,
            "goVersion": version["goVersion"],
            "binaryVersion": version["gitVersion"].removeprefix("v").partition("+")[0],
            "emulationVersion": f"{version['major']}.{version['minor']}",
            "paths": list(self._paths),
        }
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        lines = [
            "",
            f"Started: {self._started.strftime('%a %b %d %H:%M:%S UTC %Y')}",
            f"Up: {hours} hr {minutes:02} min {seconds:02} sec",
            f"Go version: {document['goVersion']}",
            f"Binary version: {document['binaryVersion']}",
            f"Emulation version: {document['emulationVersion']}",
            f"Paths: {' '.join(self._paths)}",
        ]
        return _page(accept, self._component, "Statusz", document, lines)


class FlagsPage:
    """``/flagz``: every flag of a component's ``config`` with its value."""

    def __init__(self, component: str, config: Any) -> None:
        self._component, self._config = component, config

    def answer(self, accept: str) -> Response:
        flags = {
            field.metadata["flag"] or field.name.replace("_", "-"): _shown(
                getattr(self._config, field.name)
            )
            for field in fields(self._config)
            if "flag" in field.metadata
        }
        flags = {name: flags[name] for name in sorted(flags)}
        lines = [f"{name}={value}" for name, value in flags.items()]
        return _page(accept, self._component, "Flagz", {"flags": flags}, lines)


def _page(
    accept: str, component: str, kind: str, document: Mapping[str, Any], lines: list[str]
) -> Response:
    """The form that is wanted most; raises StatusError 406."""
    for clause in parse_accept(accept or "*/*"):
        if clause.matches(_TEXT) and not clause.params:
            text = "\n".join(["", f"{component} {kind.lower()}", _WARNING, *lines, ""])
            return Response(200, {"Content-Type": f"{_TEXT}; charset=utf-8"}, text.encode())
        version = _wanted_version(clause, kind)
        if version:
            body: Obj = {"kind": kind, "apiVersion": f"{_GROUP}/{version}"}
            body |= {"metadata": {"name": component}, **document}
            form = f"{clause.media_range};g={_GROUP};v={version};as={kind}"
            as_yaml = clause.media_range == _YAML
            encoded = yaml.dump(body).encode() if as_yaml else orjson.dumps(body)
            return Response(200, {"Content-Type": form}, encoded)
    offered = ", ".join((_JSON, _YAML, _TEXT))
    text = f"only the following media types are accepted: {offered}"
    raise StatusError(406, "NotAcceptable", text, {})


def _wanted_version(clause: Clause, kind: str) -> str:
    """The version of the object that a clause asks for; empty if it asks for none that is here."""
    asked = dict(clause.params)
    if clause.media_range not in (_JSON, _YAML) or asked.get("g") != _GROUP:
        return ""
    version = asked.get("v", "")
    return version if asked.get("as") == kind and version in _VERSIONS else ""


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
