"""The error of the keeper."""


class KeeperError(Exception):
    """What went wrong, in words for the person who started the server."""
