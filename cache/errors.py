"""Errors of the result store.

Exception
└── StoreError       the store cannot do what was asked; the text is meant for the user
    └── CodecError   a record and its stored form do not fit together
"""


class StoreError(Exception):
    """The store cannot be read or written, or was asked for something impossible."""


class CodecError(StoreError):
    """A value that cannot be stored, or stored values that do not make the record asked for."""
