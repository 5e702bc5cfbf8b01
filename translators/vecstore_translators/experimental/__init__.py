"""What works on paper or elsewhere, and is kept honest here: no promise that it stays.

Nothing in this package takes part in a selection. Needs the extra ``train``.
"""
