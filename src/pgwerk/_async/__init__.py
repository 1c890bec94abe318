"""The client: `Werk`, and what it is made of."""
