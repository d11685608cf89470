"""The Container Runtime Interface: its client, what it reports, and the configs it is given."""
