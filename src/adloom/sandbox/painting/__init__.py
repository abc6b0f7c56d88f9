"""The images that the sandbox sells: drawn still lifes with their number on them."""
