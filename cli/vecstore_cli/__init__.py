"""The command `vecstore`: arguments in, library calls, results on stdout.

Room: cli. The only package that imports click and rich. It decides nothing that a user of the
library would need: each command is one verb of :mod:`vecstore` or :mod:`vecstore_ingest`.
"""
