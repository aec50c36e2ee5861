"""The demo's data and model: scikit-learn's digits as a sensor sees them in falling light.

`calaudit.demo.digits` says which images there are, which split uses them and what the sensor adds;
`calaudit.demo.digits` writes the pool. The model `DEMO_MODEL` was trained by
``examples/digits/train.py``, which wrote its accuracy to ``digits.json`` beside it.
"""
