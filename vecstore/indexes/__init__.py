"""Nearest-neighbour search over arrays: the exact scan, and the registry of index kinds.

FAISS is spoken to in this package and nowhere else; nothing here knows collections, spaces
or files of the store, only vectors and row ids.
"""
