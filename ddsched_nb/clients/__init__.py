"""Clients of model endpoints, and the endpoint that runs inside the package.

Nothing is imported here: aiohttp costs a noticeable part of a second, so whoever needs a client
imports its module.
"""
