"""Housekeeping: few large files instead of many small ones, and no files that nobody needs.

``compaction`` rewrites the files of the newest version, ``retention`` says how far back
versions can be read, ``garbage`` deletes what no readable version has.
"""
