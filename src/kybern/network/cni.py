"""The CNI network configuration of a node: a bridge, with addresses from the node's pod CIDR.

The container runtime reads it for every sandbox, and the kubelet calls the node's network ready
once it exists. Written whole or not at all, and only when it changes.
"""

import json
from pathlib import Path
from typing import Any

BRIDGE = "kybern0"
FILE_NAME = "10-kybern.conflist"


def conflist(network: str, pod_cidr: str, data_dir: str, mtu: int) -> dict[str, Any]:
    """Pods hang on one bridge that is their gateway; hairpins let them reach their own Service.

    Masquerade is the table's business (``nftables/table.py``), not the plugin's, which would need
    iptables.
    """
    return {
        "cniVersion": "1.0.0",
        "name": network,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isDefaultGateway": True,
                "forceAddress": True,
                "ipMasq": False,
                "hairpinMode": True,
                "mtu": mtu,
                "ipam": {
                    "type": "host-local",
                    "dataDir": data_dir,
                    "ranges": [[{"subnet": pod_cidr}]],
                },
            }
        ],
    }


def write(directory: Path, configuration: dict[str, Any]) -> bool:
    """Put the configuration in place; whether it changed anything."""
    file = directory / FILE_NAME
    text = json.dumps(configuration, indent=2) + "\n"
    if file.exists() and file.read_text() == text:
        return False
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f".{FILE_NAME}.partial"
    partial.write_text(text)
    partial.replace(file)
    return True
