"""Defaults that several kinds share: pod specs and templates, volumes.

They fill absent fields in place and leave everything else alone, as upstream's versioned defaults
do after decoding; running them twice changes nothing.
"""
