"""The controllers of storage: binding, ephemeral claims, attaching, expanding, protection.

Claims and volumes are bound by ``binder.py``. Who makes volumes is no controller's business: a
provisioner outside (``kybern.localpath``, or any CSI driver's) watches claims for the annotations
that the binder sets, and its volumes come back as objects.
"""
