"""The parts over real servers, a module for each room: a room loads the drivers that it needs, and no others.

What a room does not use is memory that it would keep for as long as it runs: all drivers together take 30 MiB.
"""
