"""The board live: load, clocks, temperatures and power, drawn again and again."""
