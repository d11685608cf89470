"""The group certificates.k8s.io: one file per kind."""
