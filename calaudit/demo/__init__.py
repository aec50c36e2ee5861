"""The demo's data and model: scikit-learn's digits as a sensor sees them in falling light.

The model was trained by ``examples/digits/train.py``, which wrote its accuracy to ``digits.json``
beside it.
"""
