"""A program on a page: what it costs, where, and why, as one HTML file or as graphs for Model Explorer."""
