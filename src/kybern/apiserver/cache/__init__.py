"""The watch cache: the API server's read path, and the door through which it writes.

One feed follows the store (``feed.py``) and hands every change to the cache of its resource
(``resource.py``), which keeps the entries by key, a bounded window of changes, and the open
watches (``watch.py``). A write goes to the store and returns when the feed has brought it back, so
a process always reads its own writes. Objects stay bytes (``objects.py``): LIST joins them and a
watch event is encoded once for all its watchers.
"""

from kybern.apiserver.cache.events import WatchEvent
from kybern.apiserver.cache.feed import CacheSet
from kybern.apiserver.cache.listing import Listing
from kybern.apiserver.cache.objects import CachedObject
from kybern.apiserver.cache.options import storage_error
from kybern.apiserver.cache.resource import ResourceCache
from kybern.apiserver.cache.stored_form import read_value
from kybern.apiserver.cache.watch import Watch

__all__ = [
    "CacheSet",
    "CachedObject",
    "Listing",
    "ResourceCache",
    "Watch",
    "WatchEvent",
    "read_value",
    "storage_error",
]
