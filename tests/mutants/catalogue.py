"""All mutants, by the room that they are planted in."""

from typing import Final

from .mutant import HOLDS, Mutant, archive, log, mutant, projection, rejected, standings, system, unit

_VALKEY: Final = "valkey-9"
_HALF: Final = system("redis_faults", "test_a_half_written_partition_is_wiped_and_rebuilt")
_SYNCED: Final = system("embedded_sync", "test_each_single_vote_is_synced_before_its_receipt")
_HUNG: Final = system("kafka_faults", "test_a_hung_broker_is_noticed")

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
        "            outcome = self._commit([entry for entries, _, _ in batch for entry in entries])\n"
        "            self._answer(batch, outcome)\n",
        "            self._answer(batch, Appended.RECORDED)\n"
        "            self._commit([entry for entries, _, _ in batch for entry in entries])\n",
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
        "if first > start and not records:", "if False:",
        unit("sqlite_log", "test_a_log_whose_beginning_is_gone_is_the_wrong_log"),
        log("sqlite", "test_a_reader_refuses_what_was_trimmed"),
    ),
)  # fmt: skip

REDIS: Final = (
    mutant(
        "Redis: compare-and-set removed", "adapters/redis/count.lua",
        "if (held[1] or '') ~= ARGV[1] or (held[2] or '') ~= ARGV[2] or (held[3] or '') ~= ARGV[3] then",
        "if false then",
        standings(_VALKEY, "another_position_is_refused"), standings(_VALKEY, "a_zombie_is_refused"),
    ),
    mutant(
        "Redis: the epoch is ignored", "adapters/redis/count.lua",
        " or (held[3] or '') ~= ARGV[3] then", " then",
        standings(_VALKEY, "another_position_is_refused"),
    ),
    mutant(
        "Redis: the topic's id is ignored", "adapters/redis/count.lua",
        "if (held[1] or '') ~= ARGV[1] or ", "if ",
        standings(_VALKEY, "another_position_is_refused"),
    ),
    mutant(
        "Redis: repeats of earlier batches are counted", "adapters/redis/count.lua",
        "is_new = not holds(known.content[bucket], id)", "is_new = true",
        standings(_VALKEY, "the_first_of_an_id_is_the_vote"),
    ),
    mutant(
        "Redis: repeats within a batch are counted", "adapters/redis/count.lua",
        "      seen[id] = true\n", "",
        standings(_VALKEY, "the_first_of_an_id_is_the_vote"), standings(_VALKEY, "many_votes_give_the_fold"),
    ),
    mutant(
        "Redis: an id is found across two others", "adapters/redis/count.lua",
        "while at and at % 16 ~= 1 do", "while false do",
        standings(_VALKEY, "ids_that_overlap_are_apart"),
    ),
    mutant(
        "Redis: the dirty mark is not set", "adapters/redis/count.lua",
        "call('HSET', STATE, 'dirty', '1')\n", "", _HALF,
    ),
    mutant(
        "Redis: the dirty mark is not cleared", "adapters/redis/count.lua",
        "call('HDEL', STATE, 'dirty')\n", "", standings(_VALKEY, "stores_come_and_go"),
    ),
    mutant(
        "Redis: a dirty partition is not wiped", "adapters/redis/wipe.lua",
        "if call('HEXISTS', STATE, 'dirty') == 0 and", "if call('HEXISTS', STATE, 'dirty') == 1 or", _HALF,
    ),
    mutant(
        "Redis: a dirty partition is counted on", "adapters/redis/count.lua",
        "if held[5] or (not held[2]", "if (not held[2]", _HALF,
    ),
    mutant(
        "Redis: a dirty partition is shown", "adapters/redis/read.lua",
        "if held[4] or not held[2] then", "if not held[2] then", _HALF,
    ),
    mutant(
        "Redis: counts without a position stay", "adapters/redis/count.lua",
        "(not held[2] and call('EXISTS', IDS, CONTESTS) > 0)", "false",
        system("redis_faults", "test_counts_without_a_position_are_wiped"),
    ),
    mutant(
        "Redis: wiping leaves the bands", "adapters/redis/wipe.lua",
        "PREFIX .. 'b:' .. contest, ", "",
        _HALF, system("redis_faults", "test_counts_without_a_position_are_wiped"),
    ),
    mutant(
        "Redis: the greatest spelling is shown", "adapters/redis/count.lua",
        "if not stored or line.stamp < whole[4] or", "if not stored or line.stamp > whole[4] or",
        standings(_VALKEY, "the_least_stamp_and_id_give_the_spelling"),
    ),
    mutant(
        "Redis: the partition's time does not move", "adapters/redis/count.lua",
        "'time', string.format('%.0f', time))", "'time', '0')",
        standings(_VALKEY, "anonymous_ids_are_remembered_by_slot"),
        standings(_VALKEY, "forgetting_follows_the_order_of_the_log"),
    ),
)  # fmt: skip

MONGO: Final = (
    mutant(
        "MongoDB: compare-and-set removed", "adapters/mongo/archive.py",
        '{"_id": partition, **expected._asdict()}', '{"_id": partition}',
        system("mongo_archive", "test_a_position_that_moves_while_documents_are_inserted_is_refused"),
    ),
    mutant(
        "MongoDB: inserts before it has looked at the position", "adapters/mongo/archive.py",
        "            self._check(partition, expected)\n", "",
        system("mongo_archive", "test_a_writer_whose_store_was_emptied_inserts_nothing"),
        archive("mongo", "another_position_is_refused"),
    ),
    mutant(
        "MongoDB: the position before the effects", "adapters/mongo/archive.py",
        "            applied = self._insert(partition, votes) if votes else Applied({}, {})\n"
        "            self._move(partition, expected, following)\n",
        "            self._move(partition, expected, following)\n"
        "            applied = self._insert(partition, votes) if votes else Applied({}, {})\n",
        projection("mongo", "a_crash_anywhere_changes_nothing_in_the_end"),
    ),
    mutant(
        "MongoDB: any refused document is taken for a repeat", "adapters/mongo/archive.py",
        'any(one["code"] != DUPLICATE for one in refused)', "False",
        system("mongo_archive", "test_a_refused_document_is_unavailable"),
    ),
    mutant(
        "MongoDB: an unconfirmed write is taken for done", "adapters/mongo/archive.py",
        'details.get("writeConcernErrors") or ', "",
        system("mongo_archive", "test_a_write_that_the_majority_did_not_confirm_is_not_archived"),
    ),
    mutant(
        "MongoDB: a repeat stops the batch", "adapters/mongo/archive.py",
        "ordered=False", "ordered=True", archive("mongo", "the_first_of_an_id_stays_for_ever"),
    ),
    mutant(
        "MongoDB: of copies in a batch the last is kept", "adapters/mongo/archive.py",
        "if vote.id not in documents:", "if True:", archive("mongo", "the_first_of_an_id_in_a_batch_is_the_vote"),
    ),
    mutant(
        "MongoDB: a later copy is taken for the first", "adapters/mongo/archive.py",
        'if doc["partition"] != partition or doc["offset"] > ours:', "if False:",
        system("mongo_archive", "test_a_vote_archived_from_a_later_place_stops_the_projection"),
    ),
    mutant(
        "MongoDB: writes wait for no majority and no journal", "adapters/mongo/client.py",
        'WriteConcern(w="majority", j=True,', "WriteConcern(w=1,",
        system("mongo_archive", "test_writes_wait_for_the_disks_of_a_majority"),
    ),
)  # fmt: skip

KAFKA: Final = (
    mutant(
        "Kafka log: the acknowledgement before the delivery", "adapters/kafka/producer.py",
        "results[index] = Appended.UNDECIDED  # before", "results[index] = Appended.RECORDED  # before", _HUNG,
    ),
    mutant(
        "Kafka log: nobody waits for the delivery", "adapters/kafka/log.py",
        "results = list(call.results)", "results = [Appended.RECORDED] * len(entries)", _HUNG,
    ),
    mutant(
        "Kafka log: a failed delivery is called recorded", "adapters/kafka/producer.py",
        "if error is None:\n", "if True:\n", unit("killers", "test_a_delivery_that_failed_is_undecided"),
    ),
    mutant(
        "Kafka log: a record that was never handed over is called undecided", "adapters/kafka/producer.py",
        "                results[index] = Appended.NOT_RECORDED\n", "",
        unit("killers", "test_what_the_producer_does_not_take_is_not_recorded"),
    ),
    mutant(
        "Kafka log: one broker's word is enough", "adapters/kafka/producer.py",
        'enable_idempotence=True,\n                acks="all",', "enable_idempotence=False,\n                acks=1,",
        unit("killers", "test_the_producer_waits_for_all_replicas"),
    ),
    mutant(
        "Kafka log: a topic with another count is appended to", "adapters/kafka/topics.py",
        "if found.partitions != self._settings.partitions:", "if False:",
        log("classic", "test_a_log_with_another_number_of_partitions_is_refused"),
    ),
    mutant(
        "Kafka source: a position's topic id is ignored", "adapters/kafka/records.py",
        "if position.topic != topic:", "if False:", log("classic", "test_a_position_of_another_log_is_refused"),
    ),
    mutant(
        "Kafka source: a topic made anew is read on", "adapters/kafka/topics.py",
        "if expected_id is not None and found.id != expected_id:", "if False:",
        system("kafka_wrong_log", "test_a_topic_made_again_stops_everybody[classic]"),
    ),
    mutant(
        "Kafka source: an offset that is gone is skipped", "adapters/kafka/records.py",
        '"auto_offset_reset": "error"', '"auto_offset_reset": "earliest"',
        system("killers_kafka", "test_records_trimmed_after_the_look_are_not_skipped"),
    ),
    mutant(
        "Kafka source: a trimmed beginning is skipped", "adapters/kafka/records.py",
        "if position.offset < bounds.low:", "if False:",
        unit("killers", "test_a_position_outside_the_log_is_told_before_reading"),
    ),
    mutant(
        "Kafka source: the epoch is ignored", "adapters/kafka/epochs.py",
        "if witness.epoch != self._epoch:", "if False:",
        system("kafka_wrong_log", "test_other_records_at_a_position_stop_a_source[classic-False]"),
    ),
    mutant(
        "Kafka source: begins where the group's commit says", "adapters/kafka/source.py",
        "self._at(partition, guard.start) for partition, guard", "self._at(partition) for partition, guard",
        log("classic", "test_a_source_reads_on_at_the_projections_position"),
    ),
    mutant(
        "Kafka source: seeks nothing", "adapters/kafka/source.py",
        "        self._sought[partition] = position\n", "        self._sought.pop(partition, None)\n",
        log("classic", "test_seeking_goes_back_and_forth"),
    ),
    mutant(
        "Kafka source: what was fetched before a seek is handed out", "adapters/kafka/source.py",
        "self._held = [record for record in self._held if record.partition not in partitions]", "pass",
        system("killers_kafka", "test_what_was_fetched_before_a_failure_is_dropped"),
    ),
    mutant(
        "Kafka source: leaves out what a transaction did not commit", "adapters/kafka/records.py",
        '"read_uncommitted"', '"read_committed"', system("kafka_faults", "test_marks_of_transactions_are_gaps"),
    ),
    mutant(
        "Kafka rejections: unanswered ones are called kept", "adapters/kafka/rejected.py",
        "if failed or len(errors) < len(records):", "if failed:",
        unit("killers", "test_rejections_without_an_answer_are_not_kept"),
    ),
    mutant(
        "Kafka rejections: not flushed", "adapters/kafka/rejected.py",
        "            producer.flush(_FLUSH_SECONDS)\n", "",
        rejected("kafka", "test_rejections_are_kept_as_they_were"),
    ),
)  # fmt: skip

GRPC: Final = (
    mutant(
        "gRPC gateway: a lost answer is called not recorded", "adapters/grpc/intake.py",
        "return [undecided(vote.id, f\"the collector's answer was lost ({why})\") for vote in votes]",
        "return _not_recorded(votes, why)",
        system("grpc_intake", "test_swallowed_answer"),
    ),
    mutant(
        "gRPC gateway: a sent batch is sent to another collector", "adapters/grpc/intake.py",
        "if sent and not _nothing_recorded(error):", "if False:",
        system("grpc_intake", "test_not_repeated_to_the_other_collector"),
    ),
    mutant(
        "gRPC gateway: an unmarked error is taken for a refusal", "adapters/grpc/intake.py",
        'return NOTHING_RECORDED in cast("aio.Metadata", error.trailing_metadata() or {})', "return True",
        system("grpc_hostile", "test_unmarked_errors"),
    ),
    mutant(
        "gRPC gateway: any receipt is taken for any vote", "adapters/grpc/wire.py",
        "if status is None or message.id != vote_id:", "if status is None:",
        system("grpc_hostile", "test_wrong_answers"),
    ),
    mutant(
        "gRPC collector: stamps are not judged", "adapters/grpc/door.py",
        "if abs(vote.cast_at - now) > MAX_SKEW:", "if False:", system("grpc_server", "test_skewed_stamp"),
    ),
    mutant(
        "gRPC collector: unknown fields enter the log", "adapters/grpc/door.py",
        "        batch.DiscardUnknownFields()\n", "", system("grpc_server", "test_unknown_fields"),
    ),
    mutant(
        "gRPC collector: any token makes a gateway", "adapters/grpc/guard.py",
        "return any([compare_digest", "return bool(token) or any([compare_digest",
        system("grpc_server", "test_wrong_token"),
    ),
    mutant(
        "gRPC collector: an undecided vote is told as not recorded to older clients", "adapters/grpc/door.py",
        "await context.abort(StatusCode.DEADLINE_EXCEEDED, why)", "await _refuse(context, StatusCode.UNAVAILABLE, why)",
        system("grpc_older", "test_undecided"),
    ),
)  # fmt: skip

FLOW: Final = (
    mutant(
        "projection: the commit before the apply", "flow/project.py",
        "        try:\n            applied = flight.result.result()\n",
        "        self._source.note_progress({flight.partition: flight.following})\n"
        "        try:\n            applied = flight.result.result()\n",
        unit("killers", "test_the_group_is_told_only_what_was_applied"),
    ),
    mutant(
        "projection: a refused batch is not read again", "flow/project.py",
        "self._resume(flight.partition, refused.stored)", "self._at[flight.partition] = refused.stored", HOLDS,
    ),
    mutant(
        "projection: what follows a refused batch is applied", "flow/project.py",
        "if partition in moved:", "if False:",
        unit("killers", "test_what_was_read_behind_a_refused_batch_is_read_again"),
    ),
    mutant(
        "projection: after an error it goes on from memory", "flow/project.py",
        "        if self._lost:\n", "        if False:\n", HOLDS,
    ),
    mutant(
        "projection: reads elsewhere than it applies", "flow/project.py",
        "Position(topic, records[-1].offset + 1, records[-1].epoch)",
        "Position(topic, records[-1].offset, records[-1].epoch)", HOLDS,
    ),
    mutant(
        "projection: rejections are kept after the position moved", "flow/project.py",
        "        if rejections:\n            self._reject(rejections)\n"
        "        following = Position(topic, records[-1].offset + 1, records[-1].epoch)\n"
        "        apply = partial(self._store.apply, partition, self._at.get(partition), following, votes)\n"
        "        self._flight = _Flight(partition, following, votes, self._worker.submit(apply))\n",
        "        following = Position(topic, records[-1].offset + 1, records[-1].epoch)\n"
        "        apply = partial(self._store.apply, partition, self._at.get(partition), following, votes)\n"
        "        self._flight = _Flight(partition, following, votes, self._worker.submit(apply))\n"
        "        if rejections:\n            self._reject(rejections)\n",
        unit("project", "test_rejections_are_kept_before_the_position_moves"),
    ),
    mutant(
        "projection: goes on although most records are rejected", "flow/project.py",
        "        if len(self._recent) == self._limit.window and", "        if False and",
        unit("project", "test_too_many_rejections_stop_the_projection_loudly"),
    ),
    mutant(
        "collector: the window is not judged", "flow/collect.py",
        "        contest.check_window(vote.cast_at)\n", "        pass\n",
        unit("collect", "test_the_collector_is_the_authority_on_every_rule"),
    ),
    mutant(
        "gateway: an intake that fails is told as not recorded", "flow/cast.py",
        'Status.UNDECIDED, "undecided", detail', 'Status.NOT_RECORDED, "not-recorded", detail',
        unit("cast", "test_an_intake_that_breaks_its_promise_leaves_votes_undecided"),
    ),
    mutant(
        "gateway: undecided and not recorded are confused", "flow/cast.py",
        "    if receipt.status is Status.UNDECIDED:\n", "    if receipt.status is Status.NOT_RECORDED:\n",
        unit("cast", "test_each_receipt_but_a_recorded_one_is_an_error"),
    ),
    mutant(
        "retry: a record is marked although the log did not take it", "flow/retry.py",
        "if not result.why]", "]", unit("killers", "test_a_retry_that_fails_leaves_no_mark"),
    ),
    mutant(
        "board: more than five frames a second", "flow/board.py",
        "if silence >= INTERVAL and await", "if await",
        unit("board", "test_a_stream_never_sends_more_than_five_a_second"),
    ),
)  # fmt: skip

DOMAIN: Final = (
    mutant(
        "fold: repeats are counted", "domain/tally.py",
        "        if vote_id in ids:\n", "        if False:\n", "tests/unit/test_tally.py",
    ),
    mutant(
        "fold: the greatest spelling is shown", "domain/tally.py",
        "        self.shown = min(self.shown, other.shown)", "        self.shown = max(self.shown, other.shown)",
        "tests/unit/test_tally.py",
    ),
    mutant(
        "fold: equal votes do not share a place", "domain/tally.py",
        "if lines and lines[-1].votes == band.votes else at", "if False else at", "tests/unit/test_tally.py",
    ),
    mutant(
        "fold: slots are forgotten too early", "domain/tally.py",
        "return slot + 1 < time // SLOT_MS", "return slot < time // SLOT_MS", "tests/unit/test_tally.py",
        standings("sqlite", "anonymous_ids_are_remembered_by_slot"),
    ),
    mutant(
        "keys: a digest without lengths", "domain/vote.py",
        "len(part).to_bytes(4) + part", "part",
        unit("vote", "test_ids_from_keys_are_stable_for_ever"),
        unit("vote", "test_an_id_from_a_key_is_a_length_prefixed_digest"),
    ),
    mutant(
        "keys: all lines of a batch are one vote", "domain/vote.py",
        '["aplauso.vote.line", contest, key, str(line)]', '["aplauso.vote.line", contest, key]',
        unit("vote", "test_ids_from_keys_are_stable_for_ever"),
    ),
    mutant(
        "record: a key that is not the id is taken", "domain/record.py",
        "if key is None or key != vote.id.encode():", "if key is None:", "tests/unit/test_record.py",
    ),
    mutant(
        "record: any partition is taken", "domain/record.py",
        "if partition_of(key, partitions) != partition:", "if False:", "tests/unit/test_record.py",
    ),
    mutant(
        "batch of records: a key that is not the id is taken", "domain/batch.py",
        "if [vote_id.encode() for vote_id in ids] != list(keys) or not", "if not", "tests/unit/test_batch.py",
    ),
    mutant(
        "batch of records: any partition is taken", "domain/batch.py",
        " or not _are_in(keys, partition, partitions):", ":", "tests/unit/test_batch.py",
    ),
)  # fmt: skip

WEB: Final = (
    mutant(
        "web: undecided is answered as not recorded", "web/problems.py",
        "    Undecided: 504,\n", "    Undecided: 503,\n", unit("killers", "test_what_may_be_recorded_is_never_503"),
    ),
    mutant(
        "web: a large body is taken", "web/http.py",
        "        if size > limit:\n", "        if False:\n",
        unit("web_http", "test_a_large_body_is_read_to_its_end_and_refused"),
    ),
    mutant(
        "web: a late body is not told from a cancelled call", "web/http.py",
        "            late.passed = True\n", "", unit("web_http", "test_a_late_body_is_408"),
    ),
    mutant(
        "web: the limit of a vote's body is that of a batch", "web/votes.py",
        "request.body(VOTE_BYTES)", "request.body(BATCH_BYTES)", system("embedded_http", "test_large_bodies_are_413"),
    ),
    mutant(
        "web: Authorization is ignored", "web/votes.py",
        'if request.header("authorization") is not None:', "if False:",
        system("embedded_http", "test_authorization_is_never_ignored"),
    ),
)  # fmt: skip

MUTANTS: Final[tuple[Mutant, ...]] = (*SQLITE, *REDIS, *MONGO, *KAFKA, *GRPC, *FLOW, *DOMAIN, *WEB)
