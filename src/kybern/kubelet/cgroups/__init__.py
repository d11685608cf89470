"""The cgroups that pods live in: who makes them, what they are called, what the kernel says.

``tree.py`` is what the rest of the kubelet asks: a pod's cgroup made, bounded, read and removed.
``names.py`` names cgroups as the node's cgroup driver does, ``kernel.py`` reads and writes the
kernel's files of both cgroup versions, and ``systemd.py`` has systemd make and bound them where the
driver is ``systemd``, because a cgroup that systemd knows nothing of is not safe from it.
"""
