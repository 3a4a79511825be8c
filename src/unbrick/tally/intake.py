"""Takes signed events from a station and acknowledges them once they are durable."""
