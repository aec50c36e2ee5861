"""Two engines answer one log of requests: who gets which, replayed, compared.

`arms` are what answers: engines of the audit in this process, or, by `kserve`, models on servers,
over `transports`, at addresses that `endpoints` reads. `traffic` makes a log where there is none,
and `assignment` deals its users to arms. `replay` sends requests when the log says, with what
`feeds` read; `answers` keeps what came.
"""
