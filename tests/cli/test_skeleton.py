"""What all commands have in common: how they find the application, and how they end."""

from __future__ import annotations

from tests.cli.running import Shop


def test_app_of_either_flavour(shop: Shop) -> None:
    """APP may be a Werk or a SyncWerk."""
    for name in ("shop:werk", "shop:sync_werk"):
        assert 0 == shop.run("migrate", name, "--check").code


def test_unknown_app(shop: Shop) -> None:
    """A wrong APP is one line that names those that there are."""
    ended = shop.run("migrate", "shop:wrok")
    assert (2, "") == (ended.code, ended.stdout)
    assert "werk: the module shop has no 'wrok': its clients are careful, sync_werk, werk\n" == ended.stderr
