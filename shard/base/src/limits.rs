//! Bounds of everything that a client, a peer or a file can make us hold, and what happens at each.

/// Longest inline request, or header line of a multibulk request, without its line end, in bytes. At the
/// bound: protocol error, then close (Redis: `PROTO_INLINE_MAX_SIZE`).
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Most arguments of a request (Redis: `INT_MAX`). At the bound: protocol error, then close. The bytes of the
/// request are bounded by `client-query-buffer-limit` long before.
pub const ARGUMENTS_MAX: i64 = i32::MAX as i64;

/// Most arguments of a request of a client that has not authenticated. At the bound: protocol error, close.
pub const UNAUTHENTICATED_ARGUMENTS_MAX: i64 = 10;

/// Longest argument of a client that has not authenticated, in bytes. At the bound: protocol error, close.
pub const UNAUTHENTICATED_BULK_BYTES_MAX: i64 = 16 * 1024;

/// Most databases of a standalone process. At the bound: the directive is refused.
pub const DATABASES_MAX: usize = 16384;

/// Longest request or reply that travels inside a mailbox ring, in bytes; a longer one travels as a parcel
/// of its own beside the ring.
pub const MAILBOX_RECORD_BYTES_MAX: usize = 16 * 1024;

/// Most commands of one connection whose replies are outstanding at other cores. At the bound the
/// connection is not read until half of them have come back.
pub const PENDING_HOPS_MAX: usize = 4096;

/// Most commands of one turn that are looked up together, so that their cache misses overlap.
pub const BATCH_COMMANDS_MAX: usize = 128;

const _: () = assert!(BATCH_COMMANDS_MAX <= PENDING_HOPS_MAX);
