"""Mutants of the parts over SQLite."""

from typing import Final

from .mutant import archive, log, mutant, projection, standings, system, unit

_SYNCED: Final = system("embedded_sync", "test_each_single_vote_is_synced_before_its_receipt")

SQLITE: Final = (
    mutant(
        "SQLite: compare-and-set removed", "adapters/sqlite/positions.py",
        "if stored != expected:", "if False:",
        standings("sqlite", "another_position_is_refused"), standings("sqlite", "a_zombie_is_refused"),
    ),
    mutant(
        "SQLite: compare-and-set looks at offsets only", "adapters/sqlite/positions.py",
        "if stored != expected:", "if (stored and stored.offset) != (expected and expected.offset):",
        standings("sqlite", "another_position_is_refused"),
    ),
    mutant(
        "SQLite: the epoch of a position is lost", "adapters/sqlite/positions.py",
        "(partition, *following)", "(partition, following.topic, following.offset, -1)",
        standings("sqlite", "the_position_moves_with_its_batch"),
    ),
    mutant(
        "SQLite standings: repeats are counted", "adapters/sqlite/standings.py",
        "INSERT OR IGNORE INTO ids", "INSERT OR REPLACE INTO ids",
        standings("sqlite", "the_first_of_an_id_is_the_vote"),
    ),
    mutant(
        "SQLite standings: of a batch with a repeat all are counted", "adapters/sqlite/standings.py",
        "if inserted < len(votes.ids):", "if False:",
        standings("sqlite", "columns_are_applied_as_the_votes_that_they_hold"),
    ),
    mutant(
        "SQLite standings: position and effects in steps of their own", "adapters/sqlite/standings.py",
        'with translated(self._path), transaction(self._connection, "IMMEDIATE"):', "with translated(self._path):",
        standings("sqlite", "a_crash_anywhere_changes_nothing_in_the_end"),
    ),
    mutant(
        "SQLite standings: ids from keys are forgotten", "adapters/sqlite/standings.py",
        "(partition, _FOR_EVER, time // SLOT_MS),", "(partition, -2, time // SLOT_MS),",
        standings("sqlite", "keys_are_remembered_for_ever"),
    ),
    mutant(
        "SQLite standings: the greatest spelling is shown", "adapters/sqlite/standings.py",
        "shown = iif((excluded.shown_at, excluded.shown_id) <", "shown = iif((excluded.shown_at, excluded.shown_id) >",
        standings("sqlite", "the_least_stamp_and_id_give_the_spelling"),
    ),
    mutant(
        "SQLite archive: the position before the effects, each in a step of its own", "adapters/sqlite/archive.py",
        'with translated(self._path), transaction(self._connection, "IMMEDIATE"):', "with translated(self._path):",
        projection("sqlite", "a_crash_anywhere_changes_nothing_in_the_end"),
    ),
    mutant(
        "SQLite archive: the last copy stays", "adapters/sqlite/archive.py",
        "INSERT OR IGNORE INTO votes", "INSERT OR REPLACE INTO votes",
        archive("sqlite", "the_first_of_an_id_stays_for_ever"),
    ),
    mutant(
        "SQLite log: commits are not synced", "adapters/sqlite/log.py",
        'synchronous="FULL"', 'synchronous="NORMAL"',
        _SYNCED,
    ),
    mutant(
        "SQLite log: the answer before the commit", "adapters/sqlite/log.py",
        "            outcome = self._commit([entry_columns(entries) for entries, _, _ in batch])\n"
        "            self._answer(batch, outcome)\n",
        "            self._answer(batch, Appended.RECORDED)\n"
        "            self._commit([entry_columns(entries) for entries, _, _ in batch])\n",
        _SYNCED,
    ),
    mutant(
        "SQLite log: every failed commit is called certain", "adapters/sqlite/log.py",
        "certain = error.sqlite_errorcode in _CERTAIN", "certain = True",
        unit("killers", "test_a_commit_whose_sync_fails_is_undecided"),
    ),
    mutant(
        "SQLite log: a full disk is called undecided", "adapters/sqlite/log.py",
        "certain = error.sqlite_errorcode in _CERTAIN", "certain = False",
        unit("killers", "test_a_commit_that_cannot_write_is_certain"),
    ),
    mutant(
        "SQLite rejections: commits are not synced", "adapters/sqlite/rejected.py",
        'synchronous="FULL"', 'synchronous="NORMAL"',
        unit("killers", "test_rejections_are_synced_before_the_position_moves"),
    ),
    mutant(
        "SQLite source: the topic's id is ignored", "adapters/sqlite/source.py",
        "if position.topic != self._topic:", "if False:",
        log("sqlite", "test_a_position_of_another_log_is_refused"),
    ),
    mutant(
        "SQLite source: a position beyond the end is taken", "adapters/sqlite/source.py",
        "if position.offset > end:", "if False:",
        log("sqlite", "test_a_position_beyond_the_end_is_refused"),
    ),
    mutant(
        "SQLite source: records that are gone are skipped", "adapters/sqlite/source.py",
        "                end = min(stop, at + limit - len(keys))\n",
        "                at = max(at, first)\n                end = min(stop, at + limit - len(keys))\n",
        unit("sqlite_log", "test_a_log_whose_beginning_is_gone_is_the_wrong_log"),
    ),
)  # fmt: skip
