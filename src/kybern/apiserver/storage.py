"""The store that the flags name: etcd where it has servers, else a file of this machine."""

from pathlib import Path

from kybern.apiserver.config import Config
from kybern.store.interface import Store
from kybern.store.sqlite import SqliteStore

# Where the API server keeps its objects, whatever the prefix in etcd.
ROOT = "/registry"


def open_store(config: Config) -> Store:
    """Opens the file, or prepares the connection; raises StoreError and ValueError."""
    if config.etcd_servers:
        return _etcd(config)
    return SqliteStore.open(Path(config.data_dir) / "store.db")


def _etcd(config: Config) -> Store:
    # gRPC takes a tenth of a second to import, which a server with a file has no use for.
    from kybern.rpc.etcd import EtcdClient, Tls
    from kybern.store.etcd import EtcdStore

    if bool(config.etcd_certfile) != bool(config.etcd_keyfile):
        raise ValueError("--etcd-certfile and --etcd-keyfile are given together or not at all")
    files = (config.etcd_cafile, config.etcd_certfile, config.etcd_keyfile)
    contents = [Path(file).read_bytes() if file else b"" for file in files]
    client = EtcdClient(config.etcd_servers, Tls(*contents) if any(files) else None)
    return EtcdStore(client, root=ROOT, prefix="/" + config.etcd_prefix.strip("/"))
