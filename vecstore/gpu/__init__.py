"""Dense work on a device: exact scans over resident rows, and translations, by PyTorch.

``device`` chooses where, ``exact`` scans, ``translate`` maps vectors. Everything here runs on a
CPU too, which is how it is tested; PyTorch is imported when something is first asked for.
"""
