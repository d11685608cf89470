"""Dynamic resource allocation: which devices of which node a pod's claims get (KEP 4381).

``pools`` gathers the resource slices that reach a node, ``requests`` reads what a claim asks,
``allocated`` says what others hold, ``allocator`` searches (``constraints`` and ``sharing`` judge),
and ``results`` writes the allocation down as the API wants it. Pure: the plugin DynamicResources
calls in, ``prebind.py`` writes the outcome to the API server.
"""
