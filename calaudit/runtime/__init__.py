"""What every room stands on, and that knows of none of them."""
