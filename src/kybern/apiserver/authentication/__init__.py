"""Who makes a request: client certificates, bearer tokens, or nobody in particular.

The pipeline calls ``Authenticators.authenticate`` (``authenticator.py``)
once per request and then ``impersonation.py`` for those who act as someone else.
"""
