"""One request's way through authentication, authorization, admission, storage and back.

``server.py`` joins the parts. ``pipeline.py`` takes a request: ``request_info.py`` classifies it,
``routing.py`` finds its verb, and a ``Call`` (``call.py``) carries it through. Reads come out of
``cache/`` by ``verbs/get.py``, ``list.py`` and ``watch.py`` and leave by ``responses.py``. Writes
go in by ``body.py`` and meet in three places: ``creation.py``, ``replacement.py`` (the
compare-and-swap loop) and ``deletion.py``. ``subresources/`` and ``custom_resources/`` stand on
the same path; ``discovery.py`` and ``openapi.py`` tell clients about it.
"""
