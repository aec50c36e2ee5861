"""Two engines answer one log of requests: who gets which, replayed, compared.

`run` goes through it. What is `asked` is `opened`: `arms` are what answers, engines of the audit in
this process, or, by `kserve`, models on servers, over `transports`, at addresses that `endpoints`
reads. `traffic` makes a log where there is none, and `assignment` deals its users to arms. `replay`
sends requests when the log says, with what `feeds` read; `answers` keeps what came. `live` has what
Prometheus is shown meanwhile (`showing`), and `looking` says how the tests stand. `scoring` gives
each request its score, `comparing` compares the arms, `verdicts` judges, and `records` puts it into
the record.
"""
