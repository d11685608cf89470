"""What a node does to packets: CNI set-up, routes and the service proxy in nftables."""
