"""Which form a client wants its answer in, and which one its body has.

The pipeline asks :func:`negotiate` once per request. The rules and refusals are upstream's: clauses
of ``Accept`` in order of their quality, ``as``/``g``/``v`` for Tables and partial metadata.
"""

from dataclasses import dataclass
from functools import lru_cache

from kybern.api.errors import StatusError, not_acceptable, unsupported_media_type
from kybern.api.protobuf import MEDIA_TYPE as PROTOBUF
from kybern.component.http.accept import parse_accept

JSON = "application/json"
YAML = "application/yaml"
SERVED_TYPES = (JSON, YAML, PROTOBUF)
STREAMED_TYPES = (JSON, PROTOBUF)
PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH = PATCH_TYPES

_META_VERSIONS = ("v1", "v1beta1")
_CONVERSIONS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
_HUMAN_AGENTS = ("curl", "Wget", "Mozilla/5.0")
_CACHED_HEADERS = 512  # bounds what strange headers can fill


@dataclass(frozen=True, slots=True)
class Output:
    """The wanted form. ``convert`` is empty or the kind to convert to."""

    media_type: str = JSON
    convert: str = ""
    convert_version: str = ""
    pretty: bool = False

    @property
    def plain_json(self) -> bool:
        """Whether the stored bytes can go out as they are."""
        return self.media_type == JSON and not self.convert and not self.pretty

    @property
    def plain_protobuf(self) -> bool:
        """Whether the messages kept with stored objects can go out as they are."""
        return self.media_type == PROTOBUF and not self.convert


PLAIN = Output()
PRETTY = Output(pretty=True)


def negotiate(
    accept: str,
    user_agent: str,
    pretty: str,
    *,
    tables: bool = True,
    protobuf: bool = False,
    streams: bool = False,
) -> Output:
    """The output of a resource request; raises StatusError 406.

    ``pretty`` is the query parameter of that name. Endpoints that cannot make Tables or partial
    metadata pass ``tables=False``; ``protobuf`` says that the kind itself has such a form and
    ``streams`` that the path can be watched.
    """
    output = PLAIN if accept in ("", JSON, "*/*") else _negotiate(accept, tables, protobuf, streams)
    if pretty:
        wanted = pretty in ("1", "t", "T", "true", "TRUE", "True")
    elif output.pretty:
        return output
    else:
        wanted = user_agent.startswith(_HUMAN_AGENTS)
    if not wanted:
        return output
    return Output(output.media_type, output.convert, output.convert_version, True)


def negotiate_status(accept: str, user_agent: str, pretty: str) -> Output:
    """The output of a Status, which has no Table: whatever of ``Accept`` fits, or readable JSON."""
    try:
        return negotiate(accept, user_agent, pretty, tables=False, protobuf=True)
    except StatusError:
        return PRETTY


@lru_cache(maxsize=_CACHED_HEADERS)
def _negotiate(accept: str, tables: bool, protobuf: bool, streams: bool) -> Output:
    clauses = parse_accept(accept)
    # Upstream's router knows no wildcard but the one for everything.
    if not any(clause.media_range in (*SERVED_TYPES, "*/*") for clause in clauses):
        raise _unavailable(streams)
    for clause in clauses:
        for media_type in SERVED_TYPES:
            if not clause.matches(media_type):
                continue
            output = _output(media_type, dict(clause.params), tables, protobuf)
            if output is not None:
                return output
    raise not_acceptable(SERVED_TYPES)


def _unavailable(streams: bool) -> StatusError:
    """What the router says; a path that can be watched has streams too."""
    forms = [*SERVED_TYPES, *(f"{form};stream=watch" for form in STREAMED_TYPES if streams)]
    text = f"406: Not Acceptable\n\nAvailable representations: {', '.join(forms)}"
    return StatusError(406, "NotAcceptable", text, {})


def _output(media_type: str, params: dict[str, str], tables: bool, protobuf: bool) -> Output | None:
    """What one media type with these parameters stands for; None if the next is to be tried."""
    if params.get("stream", "watch") != "watch":
        return None
    pretty = params.get("pretty") == "1"
    if not params.keys() & {"as", "g", "v"}:
        return Output(media_type, pretty=pretty) if protobuf or media_type != PROTOBUF else None
    kind, version = params.get("as", ""), params.get("v", "")
    served = params.get("g") == "meta.k8s.io" and version in _META_VERSIONS and kind in _CONVERSIONS
    if not served or not tables or (kind == "Table" and media_type == PROTOBUF):
        return None
    return Output(media_type, kind, version, pretty)


def body_type(content_type: str) -> str:
    """The media type of a request body, JSON by default; raises StatusError 415."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in ("", JSON):
        return JSON
    if media_type in SERVED_TYPES:
        return media_type
    raise unsupported_media_type(SERVED_TYPES)


def patch_type(content_type: str, supported: tuple[str, ...] = PATCH_TYPES) -> str:
    """The kind of patch in a body; raises StatusError 415 as upstream's router does."""
    media_type = content_type.partition(";")[0].strip()
    if media_type in supported:
        return media_type
    if media_type in PATCH_TYPES:
        raise unsupported_media_type(supported)
    raise StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
