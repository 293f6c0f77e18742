"""The charts of a report, each as one inline SVG. They show what the rows hold and compute nothing of their own."""
