"""The `werk` command: see `pgwerk.cli.main`. It uses the public names of pgwerk only, and sends no SQL of its own."""
