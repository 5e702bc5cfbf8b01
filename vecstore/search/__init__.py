"""Search: candidates from any generation, ranked in one space.

``plan`` decides which source serves which rows, ``views`` gives every source the same form
(blocks of vectors under one kernel), ``execute`` gathers, scores and merges, ``cascade``
re-ranks a shortlist natively.
"""
