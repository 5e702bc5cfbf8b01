"""Choosing an index and its parameters by measurement, on the queries that will come."""
