"""The node's certificates: how a kubelet gets them from the API server, keeps and renews them.

A certificate is asked for with a CertificateSigningRequest (``requests.py``), which the cluster's
controllers, or a person, approve and sign. It is kept with its key in one file under ``--cert-dir``
(``store.py``), and renewed before it ends (``manager.py``). There are two of them: the one by which
the kubelet is known to the API server (``client.py``), first asked for with a bootstrap token, and
the one that the node API serves with (``serving.py``).
"""
