"""Certificates for pods (KEP-4317): what ``podCertificate`` sources of projected volumes hold.

For each such source of a pod (``manager.py``) the kubelet makes a key (``keys.py``), asks a signer
with a PodCertificateRequest (``requests.py``), keeps key and certificates in memory and renews them
(``issuance.py``) until the pod is gone. They are written nowhere but to the pod's volume, which
lives in memory; a kubelet that starts again asks anew, and pods keep what they have until then.
"""
