"""One file per controller, all of one shape: what I watch, how I reconcile one key."""
