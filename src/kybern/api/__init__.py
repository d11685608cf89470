"""The Kubernetes API as data: kinds, schemas, defaults, validation, patches, selectors, quantities.

Pure: no I/O, no clock, no asyncio. Every other room uses it; it uses none."""
