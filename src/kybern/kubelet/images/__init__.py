"""Images: pulling them under policy and back-off, building archives, and the sandbox's own."""
