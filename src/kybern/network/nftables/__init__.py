"""The private nftables table ``kybern``: its rules as data, and the way they reach the kernel.

``service_rules`` and ``host_ports`` turn Services and Pods into fragments, pure functions;
``ruleset`` keeps the fragments and says what a change of some of them changes in the table;
``table`` is the part that is always there; ``transport`` hands transactions to the kernel.
"""
