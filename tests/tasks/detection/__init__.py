"""Tests of calaudit.tasks.detection."""
