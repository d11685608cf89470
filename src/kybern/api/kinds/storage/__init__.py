"""Storage classes, CSI drivers and volume attachments."""
