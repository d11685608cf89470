"""HTTP as the house speaks it: messages, the TLS server edge, upgraded connections."""
