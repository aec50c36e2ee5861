"""One function per arrow of the data: draw, observe, calibrate, build, predict, score, judge.

What belongs to an arrow stands beside it: gates, data leakage, clusters, checks of FP32, caches.
Commands and audits share them.
"""
