"""One request's way through authentication, authorization, admission, storage and back."""
