"""How all tests run: no time limits within, as a loaded machine must not fail a right answer."""

from hypothesis import settings

settings.register_profile("calaudit", deadline=None)
settings.load_profile("calaudit")
