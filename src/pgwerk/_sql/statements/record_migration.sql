-- Record a migration, in the transaction that applied it.
INSERT INTO {migrations} (version, name, ephemeral_tables)
VALUES (%(version)s, %(name)s, %(ephemeral_tables)s)
