"""adloom buys marketing images in bulk from a paid image API, each once, and archives them verifiably."""

__version__ = "0.1.0"
