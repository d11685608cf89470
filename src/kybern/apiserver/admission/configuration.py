"""``--admission-control-config-file``: what the plugins are told beside their flags.

``chain.py`` reads the file once and hands each plugin its own part. The file is upstream's
AdmissionConfiguration; a part is written inside it or lies in a file that it names.
"""

from pathlib import Path

from kybern.api import yaml
from kybern.api.errors import Obj
from kybern.component.flags import BadFlag

_GROUP = "apiserver.config.k8s.io"
_KIND = "AdmissionConfiguration"


def read_configurations(path: str) -> dict[str, Obj]:
    """Configurations by the name of their plugin; raises ValueError for a broken file."""
    if not path:
        return {}
    file = Path(path)
    document = _read(file)
    if document.get("kind") != _KIND or not str(document.get("apiVersion")).startswith(_GROUP):
        raise BadFlag(f"{path}: expected an {_KIND} of {_GROUP}")
    found: dict[str, Obj] = {}
    for plugin in document.get("plugins") or []:
        nested, other = plugin.get("configuration"), plugin.get("path")
        if nested is not None:
            found[plugin["name"]] = nested
        elif other:
            found[plugin["name"]] = _read(file.parent / other)
    return found


def _read(path: Path) -> Obj:
    try:
        document = yaml.load(path.read_bytes())
    except (OSError, yaml.YamlError) as problem:
        raise BadFlag(
            f'unable to read admission control configuration from "{path}" [{problem}]'
        ) from problem
    if not isinstance(document, dict):
        raise BadFlag(f"{path}: expected one object")
    return document
