"""The commands, one file per group; :mod:`vecstore_cli.main` collects them."""
