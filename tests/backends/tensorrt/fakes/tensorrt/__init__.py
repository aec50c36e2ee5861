"""A FAKE; see the folder above."""

import json
import os

from fake_tensorrt import Behaviour, make_module

globals().update(
    make_module(Behaviour(**json.loads(os.environ.get("FAKE_TENSORRT", "{}")))).__dict__
)
