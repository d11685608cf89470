"""What a node does to packets: CNI set-up, routes and the service proxy in nftables.

``main.py`` is the component. A Service's way through the room: informer -> ``proxy.py`` ->
``services.py`` and ``endpoints.py`` (what matters of the objects) -> ``nftables/`` (rules and the
transaction) -> the kernel; then ``conntrack.py`` for flows that have to end.
"""
