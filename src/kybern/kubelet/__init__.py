"""One node's pods: workers, probes, volumes, images, status and the node API, over CRI."""
