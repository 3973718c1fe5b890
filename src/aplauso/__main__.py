"""`python -m aplauso`."""

from aplauso.cli import main

main()
