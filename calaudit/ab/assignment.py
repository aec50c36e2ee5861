"""Who gets which arm: a salted hash of the user.

The same user gets the same arm in every request, process and machine; another salt deals anew,
independently of the first.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import SettingsError

CONTROL: Final = 0
TREATMENT: Final = 1

_STEPS: Final = 1 << 64


def arms(users: Iterable[str], *, salt: str, share: float = 0.5) -> NDArray[np.int8]:
    """Arm of each user: 0 for control, 1 for treatment.

    The first 8 bytes of BLAKE2b over salt and user are a number in [0, 2⁶⁴); below share·2⁶⁴ the
    user gets the treatment.

    Parameters
    ----------
    users : iterable of str
        Names, each hashed by itself: equal names get the same arm.
    salt : str
        Of this experiment. Two experiments with one salt deal the same users together.
    share : float
        Share of users that get the treatment, in (0, 1).

    Returns
    -------
    int8 (users,)

    Raises
    ------
    SettingsError
        The share isn't between 0 and 1.

    Examples
    --------
    >>> arms(["ada", "grace", "ada"], salt="launch").tolist()
    [1, 0, 1]
    """
    if not 0 < share < 1:
        raise SettingsError(
            f"the share of users that get the treatment is {share}",
            next_step="Give a number between 0 and 1, such as 0.5.",
        )
    below = int(share * _STEPS)
    # its length first: no salt and user run together into another pair
    begun = hashlib.blake2b(f"{len(salt)}:{salt}:".encode(), digest_size=8)
    dealt = [_number(begun, user) < below for user in users]
    return np.array(dealt, dtype=np.int8)


def _number(begun: "hashlib.blake2b", user: str) -> int:
    own = begun.copy()
    own.update(user.encode("utf-8", "surrogatepass"))
    return int.from_bytes(own.digest(), "big")
