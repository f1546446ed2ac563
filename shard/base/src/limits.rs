//! Bounds of everything that a client, a peer or a file can make us hold, and what happens at each.

/// Longest inline request, or header line of a multibulk request, without its line end, in bytes. At the
/// bound: protocol error, then close (Redis: `PROTO_INLINE_MAX_SIZE`).
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of a request, since its arguments are ranges of 32 bits. At the bound: protocol error, then
/// close. `client-query-buffer-limit` is below it by default.
pub const REQUEST_BYTES_MAX: usize = u32::MAX as usize;

/// Argument ranges whose memory a decoder keeps for its next unfinished request. Beyond: given back.
pub const ARGUMENT_RANGES_KEPT_MAX: usize = 64;

/// Most arguments of a request (Redis: `INT_MAX`). At the bound: protocol error, then close. The bytes of the
/// request are bounded by `client-query-buffer-limit` long before.
pub const ARGUMENTS_MAX: i64 = i32::MAX as i64;

/// Most arguments of a request of a client that has not authenticated. At the bound: protocol error, close.
pub const UNAUTHENTICATED_ARGUMENTS_MAX: i64 = 10;

/// Longest argument of a client that has not authenticated, in bytes. At the bound: protocol error, close.
pub const UNAUTHENTICATED_BULK_BYTES_MAX: i64 = 16 * 1024;

/// Bytes of replies that may wait for a client that has not authenticated, whatever `client-output-buffer-limit` says:
/// a stranger must not make us hold more. At the bound the connection is closed (Redis 7.2.7, CVE-2025-21605, which counts
/// 1 KiB behind each client's first 16 KiB).
pub const UNAUTHENTICATED_OUTPUT_BYTES_MAX: u64 = 17 * 1024;

/// Most databases of a standalone process. At the bound: the directive is refused.
pub const DATABASES_MAX: usize = 16384;

/// Longest request or reply that travels inside a mailbox ring, in bytes; a longer one travels as a parcel
/// of its own beside the ring.
pub const MAILBOX_RECORD_BYTES_MAX: usize = 16 * 1024;

/// Most commands of one connection whose replies are outstanding at other cores, however small those are. At the
/// bound the connection is not read until half of them have come back.
pub const PENDING_HOPS_MAX: usize = 4096;

/// As many may be outstanding while nothing is known of the size of a connection's replies. Each small reply allows
/// one more, each that needs a parcel halves the number: a client cannot have gigabytes of replies made for it before
/// `client-output-buffer-limit` sees the first.
pub const PENDING_HOPS_START: usize = 32;

/// As many may be outstanding even if all replies are large.
pub const PENDING_HOPS_MIN: usize = 4;

/// Most commands of one turn that are looked up together, so that their cache misses overlap.
pub const BATCH_COMMANDS_MAX: usize = 128;

/// Longest time, in seconds, that a connection which was closed by either side may take none of the replies that
/// are left for it. At the bound they are dropped.
pub const FINISHING_IDLE_SECONDS_MAX: u8 = 30;

/// Most outstanding commands of one connection while a further one may go to all shards (KEYS, FLUSHALL): such a
/// command may take long, and what others ask of a shard waits behind it. At the bound it waits.
pub const PENDING_EVERYWHERE_MAX: usize = 16;

/// Time in nanoseconds after which a core's turn takes up no further batch of commands, so that a client with a
/// long pipeline does not keep the others waiting. At the bound what has arrived waits for the next turn.
pub const TURN_NANOS_MAX: u64 = 25_000_000;

const _: () = assert!(BATCH_COMMANDS_MAX <= PENDING_HOPS_MAX);

/// Least time between two passes of a shard's housekeeping, in ms. A pass that ends with work left goes on
/// after it.
pub const HOUSEKEEPING_INTERVAL_MS: u64 = 1;

/// Time until the next pass of a shard's housekeeping, in ms, if something seemed due that a pass with budget to
/// spare did not remove.
pub const HOUSEKEEPING_RETRY_MS: u64 = 20;

/// Longest time that a shard with expiring keys waits for its next pass of housekeeping, in ms: expiry follows the
/// Unix clock, which may be set forward while the pass is awaited on the monotonic one.
pub const HOUSEKEEPING_WAIT_MS_MAX: u64 = 60_000;

const _: () =
    assert!(HOUSEKEEPING_INTERVAL_MS <= HOUSEKEEPING_RETRY_MS && HOUSEKEEPING_RETRY_MS <= HOUSEKEEPING_WAIT_MS_MAX);

/// Pages that one pass of active expiry looks at with `active-expire-effort` 1. At the bound the rest waits for
/// the next pass; nobody sees an expired key meanwhile.
pub const EXPIRY_PAGES_PER_PASS: usize = 64;

/// Further pages for each step of `active-expire-effort` above 1 (about as much more as Redis spends).
pub const EXPIRY_PAGES_PER_EFFORT: usize = 8;

/// Tables of flushed databases that one pass of housekeeping frees. At the bound the rest waits for the next.
pub const FREED_TABLES_PER_PASS: usize = 64;

/// Chunks of a large value that count as one table when what is no longer needed is freed; a value of no more is freed
/// at once.
pub const FREED_CHUNKS_PER_TABLE: usize = 16;

/// Most snapshots of a shard that run at a time: saves, full synchronisations and slot moves. At the bound a further one
/// is refused.
pub const SNAPSHOTS_MAX: usize = 8;

/// Memory that the effects of one command or block keep for the next, in bytes. Beyond: given back.
pub const EFFECT_BYTES_KEPT: usize = 64 * 1024;

/// Most elements of a collection in one of the commands that make it anew. At the bound the rest goes into the next
/// (Redis: `AOF_REWRITE_ITEMS_PER_CMD`).
pub const RECREATE_ELEMENTS_MAX: usize = 64;

/// Most bytes of elements in one of those commands, unless it is a single element. At the bound the rest goes into the
/// next.
pub const RECREATE_BYTES_MAX: usize = 64 * 1024;

/// Entries of a snapshot that are walked between two looks at the clock; a page of them may be a few dozen more.
pub const SNAPSHOT_ENTRIES_PER_STEP: usize = 32;

/// Bytes of an entry that count as one entry more in such a step. A single value, however long, is one step.
pub const SNAPSHOT_ENTRY_BYTES: usize = 2048;

/// Bytes of a page, its values on the heap included, beyond which its entries are not walked together.
pub const SNAPSHOT_PAGE_BYTES: usize = SNAPSHOT_ENTRIES_PER_STEP * SNAPSHOT_ENTRY_BYTES;

/// Time that a turn of a core's loop gives to the walks over all its snapshots, in nanoseconds: a client waits so much
/// longer at most, and by a step. At the bound the rest waits for the next turn, behind what clients have sent meanwhile.
pub const SNAPSHOT_NANOS_PER_TURN: u64 = 200_000;

/// Bytes of a snapshot that a core hands at once to the core that makes an image of it. A single value may be more.
pub const SNAPSHOT_SLICE_BYTES: usize = 64 << 10;

/// Slices of a snapshot that are asked of a core before the first of them has come, so that it need not wait.
pub const SNAPSHOT_SLICES_ASKED_MAX: usize = 4;

/// Memory that a replayed stream keeps for its next unfinished command, in bytes. Beyond: given back.
pub const REPLAY_BYTES_KEPT: usize = 64 * 1024;

/// Memory that a reader of RDB keeps for what comes next, and its writer for the next compressed string, in bytes.
/// Beyond: given back.
pub const RDB_BYTES_KEPT: usize = 64 * 1024;

/// Most works that join a loan, so that its shards are not away for long. At the bound another loan begins.
pub const LOAN_JOINED_MAX: usize = 32;

/// Stars with something behind them that a glob pattern may need for a match (Redis 7.2 `util.c`
/// `stringmatchlen_impl`: nesting beyond 1000 is a mismatch). Neighbouring stars count once.
pub const PATTERN_STARS_MAX: usize = 1000;

/// Most first words of error replies that are counted apart (Redis 7.4: 128). At the bound nothing is counted any more
/// until CONFIG RESETSTAT, and INFO says so.
pub const ERROR_PREFIXES_MAX: usize = 128;

/// Bytes of an error reply among which its first word must end to be counted as one (Redis 7.2 `networking.c`,
/// `afterErrorReply`). At the bound it counts as `ERR`.
pub const ERROR_PREFIX_BYTES_MAX: usize = 32;

/// Most arguments of an entry of the slow log (Redis: `SLOWLOG_ENTRY_MAX_ARGC`). At the bound the last one says how many
/// are left out.
pub const SLOW_LOG_ARGUMENTS_MAX: usize = 32;

/// Longest argument of an entry of the slow log, in bytes (Redis: `SLOWLOG_ENTRY_MAX_STRING`). At the bound it is cut, and
/// says how much is left out.
pub const SLOW_LOG_ARGUMENT_BYTES_MAX: usize = 128;

/// Samples that the latency monitor keeps of an event, one for each second that had any (Redis: `LATENCY_TS_LEN`). At the
/// bound the oldest goes.
pub const LATENCY_SAMPLES_MAX: usize = 160;

/// Counters by which a core tells others what its clients hear (4 bytes each): a message goes to a core on which nobody
/// hears its channel if some other channel there has the same counter.
pub const AUDIENCE_BUCKETS: usize = 1024;

const _: () = assert!(AUDIENCE_BUCKETS.is_power_of_two());

/// Most letters of one shard's bus that lie unread in the mailbox of a sibling's core. At the bound the others wait at the
/// sender.
pub const SIBLING_LETTERS_MAX: usize = 64;

/// Most bytes of messages of the bus that wait at the sender on one link between siblings. At the bound the link is
/// closed, as one by TCP beyond `cluster-link-sendbuf-limit`, which may set a lower one.
pub const SIBLING_LINK_BYTES_MAX: usize = 1024 * 1024;

/// Longest line of a manifest of the append-only file, its end included (Redis 7.0 `aof.c`: `MANIFEST_MAX_LINE`). At the
/// bound the manifest is refused.
pub const MANIFEST_LINE_BYTES_MAX: usize = 1024;

/// Longest manifest of the append-only file. At the bound it is refused.
pub const MANIFEST_BYTES_MAX: usize = 1024 * 1024;

/// Longest annotation in an append-only file (Redis 7.0: `AOF_ANNOTATION_LINE_MAX_LEN`). At the bound the file is refused.
pub const ANNOTATION_BYTES_MAX: usize = 1024;

/// Most arguments of a command in an append-only file. Beyond: the file is refused.
pub const LOGGED_ARGUMENTS_MAX: u64 = i32::MAX as u64;

/// Memory that the writer of the append-only file keeps for what comes next, in bytes. Beyond: given back.
pub const JOURNAL_BYTES_KEPT: usize = 1024 * 1024;

/// Seconds after a save that failed until save points want the next one (Redis 7.0 `server.h`
/// `CONFIG_BGSAVE_RETRY_DELAY`).
pub const SAVE_RETRY_SECONDS: i64 = 5;

/// Bytes of a file that are on their way to it at once. Beyond: its snapshot is not walked on, and no more is asked of
/// other cores; what was asked comes on top.
pub const FILE_WINDOW_BYTES: usize = 4 << 20;

/// Bytes that are given to a file at once. Whoever copies them into the kernel's cache may hold up a core for as long.
pub const FILE_PIECE_BYTES: usize = 64 << 10;
const _: () = assert!(FILE_PIECE_BYTES * 2 <= FILE_WINDOW_BYTES);

/// Most bytes of requests that wait on one link of the gateway for the node's answers, or for the link itself. At the
/// bound no more is taken from the clients that ask for it; a single request may be longer.
pub const GATEWAY_LINK_BYTES_MAX: usize = 4 << 20;

/// Most requests on one link of the gateway. At the bound no more is taken from the clients that ask for it.
pub const GATEWAY_LINK_REQUESTS_MAX: usize = 16 * 1024;

/// Most bytes of requests on one core's gateway that were redirected or lost and wait to be sent again. At the bound a
/// further one is answered with an error.
pub const GATEWAY_PARKED_BYTES_MAX: usize = 64 << 20;

/// Most bytes of one reply of a node to the gateway. At the bound the link is closed.
pub const GATEWAY_REPLY_BYTES_MAX: usize = 1 << 30;

/// Memory that a link of the gateway keeps for its next requests and replies, in bytes. Beyond: given back.
pub const GATEWAY_LINK_BYTES_KEPT: usize = 256 * 1024;

/// Most addresses that one core's gateway knows. At the bound a redirect to a further one is not followed.
pub const GATEWAY_PEERS_MAX: usize = 16 * 1024;
