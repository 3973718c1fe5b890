"""Mutants of the rooms' own code, of gRPC between them, and of HTTP."""

from typing import Final

from .mutant import HOLDS, mutant, standings, system, unit

GRPC: Final = (
    mutant(
        "gRPC gateway: a lost answer is called not recorded", "adapters/grpc/intake.py",
        "return [undecided(vote.id, f\"the collector's answer was lost ({why})\") for vote in votes]",
        "return _not_recorded(votes, why)",
        system("grpc_intake", "test_swallowed_answer"),
    ),
    mutant(
        "gRPC gateway: a sent batch is sent to another collector", "adapters/grpc/intake.py",
        "if not (_never_sent(error) or _nothing_recorded(error)):", "if False:",
        system("grpc_intake", "test_not_repeated_to_the_other_collector"),
    ),
    mutant(
        "gRPC gateway: any call without an answer is taken for one that was not sent", "adapters/grpc/intake.py",
        'return error.code() is StatusCode.UNAVAILABLE and (error.details() or "").startswith(_NO_CONNECTION)',
        "return error.code() is StatusCode.UNAVAILABLE",
        system("grpc_intake", "test_killed_in_the_middle_of_a_call"),
    ),
    mutant(
        "gRPC gateway: a call that was never sent is undecided", "adapters/grpc/intake.py",
        "if not (_never_sent(error) or _nothing_recorded(error)):", "if not _nothing_recorded(error):",
        system("grpc_intake", "test_gone_before_the_call"),
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
        "        message.DiscardUnknownFields()\n", "        pass\n", system("grpc_server", "test_unknown_fields"),
    ),
    mutant(
        "gRPC collector: unknown fields enter the log with a whole batch", "adapters/grpc/door.py",
        "if not isinstance(found, Columns) or found.odd:", "if not isinstance(found, Columns):",
        unit("grpc_door", "test_a_batch_with_a_field_that_is_unknown_is_looked_at_vote_by_vote"),
    ),
    mutant(
        "gRPC collector: of votes that are alike only one id is looked at", "adapters/grpc/door.py",
        "or not tagged_ids(keys) or", "or",
        unit("grpc_door", "test_votes_that_differ_in_their_ids_alone_are_looked_at_once"),
    ),
    mutant(
        "gRPC collector: what stands before the id is not looked at", "adapters/grpc/door.py",
        " or not all(map(bytes.startswith, values, repeat(TAGS)))", "",
        unit("grpc_door", "test_votes_that_differ_in_their_ids_alone_are_looked_at_once"),
    ),
    mutant(
        "gateway: a ballot that came before is taken whenever it comes", "domain/vote.py",
        "        contest.check_window(cast_at)\n        return like", "        return like",
        unit("vote", "test_a_ballot_that_came_before_means_what_it_meant"),
    ),
    mutant(
        "gateway: ids of a batch are given again", "adapters/system/ids.py",
        "            del self._wanted[-share:]\n", "",
        unit("ids", "test_many_ids_are_those_of_so_many_calls"),
    ),
    mutant(
        "gateway: a batch's wrong lines are numbered as if they were not there", "flow/lines.py",
        "numbers = [number for number, form in zip(numbers, forms, strict=True) if form]",
        "numbers = range(numbers[0], numbers[0] + len([*filter(None, forms)]))",
        unit("lines", "test_a_batch_is_what_its_lines_are_alone"),
    ),
    mutant(
        "Kafka log: a call is used again before all of its records are told of", "adapters/kafka/producer.py",
        "if call.complete and len(self._spare) < _SPARE:", "if len(self._spare) < _SPARE:",
        unit("killers", "test_a_call_is_used_again_only_once_it_is_complete"),
    ),
    mutant(
        "gateway: ids are given again", "adapters/system/ids.py",
        "return wanted.pop()", "return wanted[-1]",
        unit("ids", "test_ids_are_anonymous_of_this_moment_and_all_different"),
    ),
    mutant(
        "collector: a whole batch is allowed by its first vote's stamp", "flow/collect.py",
        "contest.is_open(min(stamps)) and contest.is_open(max(stamps))", "contest.is_open(stamps[0])",
        unit("collect", "test_one_late_vote_is_enough"),
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
        "projection: an idle one does not look at its store", "flow/project.py",
        "        elif self._clock() - self._looked_at >= LOOK:\n", "        elif False:\n",
        unit("project", "test_an_idle_projection_finds_a_store_that_went_back"), HOLDS,
    ),
    mutant(
        "projection: reads elsewhere than it applies", "flow/project.py",
        "Position(topic, records.offsets[-1] + 1, records.epochs[-1])",
        "Position(topic, records.offsets[-1], records.epochs[-1])", HOLDS,
    ),
    mutant(
        "projection: rejections are kept after the position moved", "flow/project.py",
        "        if rejections:\n            self._reject(rejections)\n"
        "        following = Position(topic, records.offsets[-1] + 1, records.epochs[-1])\n"
        "        apply = partial(self._store.apply, partition, self._at.get(partition), following, votes)\n"
        "        self._flight = _Flight(partition, following, votes, self._worker.submit(apply))\n",
        "        following = Position(topic, records.offsets[-1] + 1, records.epochs[-1])\n"
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
        "board: more than five frames a second", "flow/feed.py",
        " and now - seat.at >= INTERVAL", "",
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
        "web: a large body is taken", "services/connection.py",
        "if self._failure is None and self._size > self._body.limit:", "if False:",
        unit("connection", "test_a_large_body_is_read_to_its_end_and_refused"),
    ),
    mutant(
        "web: large batches do not take turns", "web/votes.py",
        "large=lines > BREATH or size >= LARGE", "large=False",
        unit("turns", "test_a_gateway_works_at_a_few_large_batches_at_once"),
    ),
    mutant(
        "web: a batch that waits is judged and stamped when its turn comes", "web/votes.py",
        """        batch = self._caster.lines(contest, key, now)
        async with self._turns.turn(size, TURN_SECONDS, large=lines > BREATH or size >= LARGE):
""",
        """        async with self._turns.turn(size, TURN_SECONDS, large=lines > BREATH or size >= LARGE):
            batch = self._caster.lines(contest, key, self._caster.now())
""",
        unit("turns", "test_a_batch_that_came_in_time_stays_so_while_it_waits"),
    ),
    mutant(
        "web: a body without its end is taken", "services/connection.py",
        '            self._refuse(HTTPError(400, "the body ended before it was whole", "client-gone", CLOSE))\n',
        "            self.on_message_complete()\n",
        unit("connection", "test_a_body_without_its_end_is_refused"),
    ),
    mutant(
        "web: a request overtakes the one before it", "services/connection.py",
        "while queue and self.current is None and not self.stalled:", "while queue and not self.stalled:",
        unit("connection", "test_requests_wait_for_the_answer_before_them"),
    ),
    mutant(
        "web: nobody is ever late", "services/connection.py",
        "                self._refuse(error)\n        self.wait(self._body.seconds)\n",
        "                self._refuse(error)\n        self.due = float('inf')\n",
        unit("connection", "test_who_is_late_is_told"),
    ),
    mutant(
        "web: a client that does not read is waited for without end", "services/sending.py",
        "        self.stalled = True\n        self.wait(STALL_SECONDS)\n", "        self.stalled = True\n",
        unit("connection", "test_who_does_not_read_is_not_answered_further"),
    ),
    mutant(
        "web: bytes overtake those that wait", "services/connection.py",
        "not (self.stalled or self._waiting or self._queue):", "not self.stalled:",
        unit("connection", "test_bytes_do_not_overtake_those_before_them"),
    ),
    mutant(
        "web: requests behind the last answer are done", "services/connection.py",
        "        self.finished = True\n        self._queue.clear()\n", "        self.finished = True\n",
        unit("connection", "test_nothing_is_done_behind_the_last_answer"),
    ),
    mutant(
        "web: any request may be answered", "services/sending.py",
        "if request is not self.current:", "if self.current is None:",
        unit("connection", "test_bytes_do_not_overtake_those_before_them"),
    ),
    mutant(
        "web: a body behind an upgrade is taken for a request", "services/connection.py",
        '        self._unparsed = int(self._headers.get("content-length", 0))\n', "",
        unit("connection", "test_nobody_is_upgraded"),
    ),
    mutant(
        "web: a known head is followed by a body of any length", "services/heads.py",
        "known is not None and known.length == len(message) - end", "known is not None",
        unit("connection", "test_a_head_that_came_before_means_what_it_meant"),
    ),
    mutant(
        "web: a head is known although its connection ends", "services/connection.py",
        "if not request.keep or self._unparsed:", "if self._unparsed:",
        unit("connection", "test_a_head_that_came_before_means_what_it_meant"),
    ),
    mutant(
        "web: a known head is that of another address", "services/connection.py",
        "request.call, request.gap = known.call, known.gap", "request.call = known.call",
        unit("connection", "test_a_head_that_came_before_means_what_it_meant"),
    ),
    mutant(
        "web: the limit of a vote's body is that of a batch", "web/votes.py",
        "_SINGLE: Final = Body(VOTE_BYTES)", "_SINGLE: Final = Body(BATCH_BYTES)",
        system("embedded_http", "test_large_bodies_are_413"),
    ),
    mutant(
        "web: Authorization is ignored", "web/votes.py",
        'if "authorization" in request.headers:', "if False:",
        system("embedded_http", "test_authorization_is_never_ignored"),
    ),
)  # fmt: skip
