"""Statistics: every engine against FP32 on every slice, with verdicts that hold. Arrays only."""
