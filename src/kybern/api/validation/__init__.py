"""Validators that several kinds share. They return field errors and never raise or change.

A *name check* takes a string and returns messages; an *object check* takes a value and the field
path it stands at and returns :class:`~kybern.api.errors.FieldError` values. Both run on every
write, so patterns are compiled once and answers about recurring strings are kept.
"""
