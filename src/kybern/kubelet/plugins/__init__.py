"""Plugins that run beside the kubelet and make themselves known by a socket."""
