"""Mutants of the parts over Redis, MongoDB and Kafka; each is killed over that server."""

from typing import Final

from .mutant import archive, log, mutant, projection, rejected, standings, system, unit

_VALKEY: Final = "valkey-9"
_HALF: Final = system("redis_faults", "test_a_half_written_partition_is_wiped_and_rebuilt")
_HUNG: Final = system("kafka_faults", "test_a_hung_broker_is_noticed")

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
        "      if place then\n", "      if false then\n",
        standings(_VALKEY, "the_first_of_an_id_is_the_vote"),
    ),
    mutant(
        "Redis: repeats within a batch are counted", "adapters/redis/packing.py",
        "_copies(ids) if len(once) < len(ids) else ()", "()",
        standings(_VALKEY, "the_first_of_an_id_is_the_vote"), standings(_VALKEY, "many_votes_give_the_fold"),
    ),
    mutant(
        "Redis: repeats within a batch that is walked are counted", "adapters/redis/count.lua",
        "is_new = not skipped[id] and not added[id]", "is_new = not skipped[id]",
        standings(_VALKEY, "forgetting_follows_the_order_of_the_log"),
    ),
    mutant(
        "Redis: a batch in which a slot ends is not walked", "adapters/redis/count.lua",
        "if known.slot < oldest then must_walk = true end", "",
        standings(_VALKEY, "forgetting_follows_the_order_of_the_log"),
    ),
    mutant(
        "Redis: ids come in their own order", "adapters/redis/packing.py",
        "{name: _by_bits(table) for name, table in tables.items()}", "tables",
        unit("redis_packing", "test_ids_of_a_bucket_lie_side_by_side"),
    ),
    mutant(
        "Redis: a run of ids ends where its bucket begins", "adapters/redis/count.lua",
        "      at, step = at + step, 2 * step\n", "      break\n",
        standings(_VALKEY, "many_votes_give_the_fold"),
    ),
    mutant(
        "Redis: an id is found across two others", "adapters/redis/count.lua",
        "place % 16 ~= 13 or ", "",
        standings(_VALKEY, "ids_that_overlap_are_apart"),
    ),
    mutant(
        "Redis: an id is found by its end alone", "adapters/redis/count.lua",
        " or sub(content, place - 12, place + 3) ~= sub(ids, 16 * at - 15, 16 * at)", "",
        standings(_VALKEY, "any_votes_give_the_fold"),
    ),
    mutant(
        "Redis: an earlier layout is counted on", "adapters/redis/count.lua",
        "call('HMGET', STATE, 'topic', 'passed',", "call('HMGET', STATE, 'topic', 'next',",
        system("redis_faults", "test_earlier_layouts_are_wiped_and_counted_anew"),
    ),
    mutant(
        "Redis: ended slots are kept", "adapters/redis/count.lua",
        "if oldest > oldest_at(before) then", "if false then",
        system("redis_faults", "test_forgotten_slots_leave_nothing"),
    ),
    mutant(
        "Redis: a large batch leaves the list of batches with a gap", "adapters/redis/count.lua",
        "else\n  call('DEL', RECENT)", "else",
        standings(_VALKEY, "a_reader_keeps_up"),
    ),
    mutant(
        "Redis: a batch with repeats is counted as if it had none", "adapters/redis/count.lua",
        "    contest.band_fields, contest.bands = fields_and_lines(bands[at], band_line)\n", "",
        standings(_VALKEY, "a_reader_keeps_up"),
    ),
    mutant(
        "Redis: any batch is taken to continue what a reader knows", "adapters/redis/standings.py",
        "            if batch.start == here:", "            if True:",
        standings(_VALKEY, "a_reader_keeps_up"),
    ),
    mutant(
        "Redis: a batch of another topic continues what a reader knows", "adapters/redis/standings.py",
        "            if batch.start == here:", "            if batch.start[1:] == here[1:]:",
        system("redis_faults", "test_a_topic_made_again_is_not_taken_for_the_one_before"),
    ),
    mutant(
        "Redis: a partition that is to be wiped is shown by a first reading", "adapters/redis/standings.py",
        "(lines if _stands(state) else [])", "lines",
        _HALF,
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
        "(not held[2] and call('EXISTS', STATE, IDS, CONTESTS) > 0)", "false",
        system("redis_faults", "test_counts_without_a_position_are_wiped"),
    ),
    mutant(
        "Redis: wiping leaves the bands", "adapters/redis/wipe.lua",
        "PREFIX .. 'b:' .. contest, ", "",
        _HALF, system("redis_faults", "test_counts_without_a_position_are_wiped"),
    ),
    mutant(
        "Redis: the greatest spelling is shown", "adapters/redis/count.lua",
        "local is_earlier = stamp < stored_stamp", "local is_earlier = stamp > stored_stamp",
        standings(_VALKEY, "the_least_stamp_and_id_give_the_spelling"),
    ),
    mutant(
        "Redis: of one moment the greatest id gives the spelling", "adapters/redis/count.lua",
        "is_less(sub(line, from + 11, from + 46), sub(stored, from + 11, from + 46))",
        "is_less(sub(stored, from + 11, from + 46), sub(line, from + 11, from + 46))",
        standings(_VALKEY, "the_least_stamp_and_id_give_the_spelling"),
    ),
    mutant(
        "Redis: of a batch's spellings the last is shown", "adapters/redis/lines.py",
        "min((least, end), (other_least, other_end))", "max((least, end), (other_least, other_end))",
        unit("redis_packing", "test_spellings_of_a_line_are_one"),
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
        "_RESULTS: Final = (Appended.UNDECIDED, ", "_RESULTS: Final = (Appended.RECORDED, ", _HUNG,
    ),
    mutant(
        "Kafka log: nobody waits for the delivery", "adapters/kafka/log.py",
        "results, error = call.results, call.error", "results, error = [Appended.RECORDED] * len(entries), None",
        _HUNG,
    ),
    mutant(
        "Kafka log: a failed delivery is called recorded", "adapters/kafka/producer.py",
        "if error is None:\n", "if True:\n", unit("killers", "test_a_delivery_that_failed_is_undecided"),
    ),
    mutant(
        "Kafka log: a record that was never handed over is called undecided", "adapters/kafka/producer.py",
        "known + [Appended.NOT_RECORDED]", "known + [Appended.UNDECIDED]",
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
        "            self._held.pop(partition, None)\n", "            pass\n",
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
