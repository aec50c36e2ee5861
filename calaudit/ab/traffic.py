"""Requests where there is no log: when they come, who asks, for which sample; seeded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.requests import RequestLog
from calaudit.runtime.errors import SettingsError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What requests are made by.

    Raises
    ------
    SettingsError
        A number isn't above 0, or there are fewer users than one.
    """

    rate: float
    """Requests per second, in the long run."""
    bursty: bool = False
    """Whether the rate switches between quiet times and bursts, else Poisson."""
    burst: float = 8.0
    """Times the quiet rate in a burst."""
    burst_share: float = 0.1
    """Share of time that bursts take."""
    burst_seconds: float = 2.0
    """Mean length of a burst."""
    users: int = 2000
    """Who may ask; fewer may come."""
    skew: float = 0.7
    """Zipf's exponent: the k-th user asks in proportion to k^−skew; 0: all alike."""
    seed: int = 0

    def __post_init__(self) -> None:
        positive = {
            "rate": self.rate,
            "burst": self.burst,
            "burst_seconds": self.burst_seconds,
            "users": float(self.users),
        }
        for name, value in positive.items():
            if not 0 < value < np.inf:
                raise SettingsError(f"{name} is {value}", next_step="Give a number above 0.")
        if not 0 < self.burst_share < 1:
            raise SettingsError(
                f"burst_share is {self.burst_share}", next_step="Give a number between 0 and 1."
            )
        if not 0 <= self.skew < np.inf:
            raise SettingsError(f"skew is {self.skew}", next_step="Give a number of at least 0.")


def make_requests(traffic: Traffic, n: int, n_samples: int) -> RequestLog:
    """Make a log of `n` requests.

    Parameters
    ----------
    traffic : Traffic
    n : int
        Requests, at least 1.
    n_samples : int
        Samples that may be asked for, each as likely as another.

    Raises
    ------
    SettingsError
        There is no request, or no sample to ask for.
    """
    if n < 1 or n_samples < 1:
        raise SettingsError(
            f"{n} requests for {n_samples} samples", next_step="Ask for at least one of each."
        )
    rng = np.random.default_rng(traffic.seed)
    time = bursty(rng, traffic, n) if traffic.bursty else poisson(rng, traffic.rate, n)
    weight = np.arange(1, traffic.users + 1) ** -traffic.skew
    asked = rng.choice(traffic.users, n, p=weight / weight.sum())
    came, user = np.unique(asked, return_inverse=True)
    width = len(str(traffic.users))
    names = tuple(f"u{number + 1:0{width}d}" for number in came.tolist())
    row = rng.integers(0, n_samples, n)
    return RequestLog(time - time[0], user.astype(np.int64), names, row)


def poisson(rng: np.random.Generator, rate: float, n: int) -> Floats:
    """Arrival times in seconds (n,) of a Poisson process of `rate` per second."""
    return np.cumsum(rng.exponential(1.0 / rate, n))


def bursty(rng: np.random.Generator, traffic: Traffic, n: int) -> Floats:
    """Arrival times in seconds (n,) of a Markov-modulated Poisson process with two states.

    Quiet times and bursts alternate, their lengths exponential; within each, requests are Poisson.
    W. Fischer & K. Meier-Hellstern (1993), The Markov-modulated Poisson process (MMPP) cookbook,
    Performance Evaluation 18, 149–171. The rates are such that their mean over time is
    `traffic.rate`.
    """
    share = traffic.burst_share
    quiet = traffic.rate / (1.0 - share + share * traffic.burst)
    rates = quiet, quiet * traffic.burst
    lengths = traffic.burst_seconds * (1.0 - share) / share, traffic.burst_seconds
    # Unit-rate arrivals, bent by the rate that has been spent: exact, and in one go.
    spent = np.cumsum(rng.exponential(1.0, n))
    state, clock, work = int(rng.random() < share), [0.0], [0.0]
    while work[-1] < spent[-1]:
        length = float(rng.exponential(lengths[state]))
        clock.append(clock[-1] + length)
        work.append(work[-1] + length * rates[state])
        state = 1 - state
    return np.interp(spent, work, clock)
