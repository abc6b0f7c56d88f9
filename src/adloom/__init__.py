"""adloom buys marketing images in bulk from a paid image API, once each, and archives them with proof."""

__version__ = "0.1.0"
