"""Aplauso: live voting for contests. No acknowledged vote is lost, none is counted twice.

The path of a vote, file by file:

1. A phone posts to the gateway: `web/votes.py` reads the body, `domain/vote.py` parses and normalises it.
2. `flow/cast.py` stamps the vote, gives it its id and hands it in, many at a time.
3. `flow/collect.py` judges it by its contest's rules, computes its partition and appends it to the log
   (`ports/log.py`). The answer leaves once the log has it on disk.
4. `flow/project.py` reads the log from the projection's own position and applies it, with a
   compare-and-set on that position, to the standings (`ports/standings.py`) and to the archive
   (`ports/archive.py`).
5. `flow/board.py` shows the standings, the stream and the latest records.
6. `flow/recount.py` folds the log again (`domain/tally.py`) and compares.

What the outside has to promise stands in `ports/`; who keeps the promise, in `adapters/`;
`wiring/` brings the two together, and `services/` runs them.
"""

__version__ = "0.1.0"
