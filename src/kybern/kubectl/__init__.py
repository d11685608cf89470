"""The command line for the API: one file per verb, generic over kinds."""
