"""Stand-ins: small servers that speak the providers' real protocols, for the demo and the tests.

They check what a provider checks (signatures, credentials, encryption) and can be scripted to answer anything, to
hang, or to take a request and drop the connection.
"""
