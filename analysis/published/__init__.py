"""Published figures: reads them, matches them to our rows, and judges ours against them."""
