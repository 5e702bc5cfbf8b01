"""Contract suites that ship with the package: laws for every implementation, ours or yours."""
