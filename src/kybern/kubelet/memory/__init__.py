"""On which NUMA nodes containers have their memory: the memory manager (KEP-1769).

Its policies are ``None`` and ``Static``, which keeps the memory and huge pages of containers of
Guaranteed pods on as few nodes as hold them. ``tables.py`` is the book of what each node has,
``static.py`` the rules for giving, ``share.py`` what one pod gets, ``checkpoint.py`` the file, and
``reserved.py`` what is kept from pods on which node. ``manager.py`` is the part of the node that
the topology manager, starting containers and the end of pods ask.
"""
