"""Tests of calaudit.statistics."""
