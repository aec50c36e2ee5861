"""Two engines answer one log of requests: who gets which, replayed, compared.

`kserve` asks models on servers, by `transports`, at addresses that `endpoints` reads.
"""
