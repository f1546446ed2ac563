use super::*;
use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::vec;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

fn rules(policy: SyncPolicy) -> JournalRules {
    JournalRules {
        policy,
        rests_on_rewrite: false,
        rewrite_percentage: 100,
        rewrite_bytes_min: 1000,
        marks_time: false,
        base_is_rdb: true,
    }
}

/// A journal, the time, and what it has ordered.
struct Desk {
    journal: Journal,
    now: Monotonic,
    orders: Vec<JournalOrder>,
}

impl Desk {
    /// One that writes.
    fn new(policy: SyncPolicy) -> Self {
        let journal = Journal::new(rules(policy), "a.aof".to_owned(), Manifest::default());
        let mut desk = Self { journal, now: Monotonic(1000 * SECOND), orders: Vec::new() };
        desk.journal.open(Opened::default(), b"REDIS".to_vec(), &mut desk.orders);
        desk.file_all();
        assert_eq!(desk.journal.state(), State::On);
        desk
    }

    fn drive(&mut self) {
        self.journal.drive(self.now, &mut self.orders);
    }

    fn pass(&mut self, nanos: u64) {
        self.now = Monotonic(self.now.0 + nanos);
        self.drive();
    }

    fn append(&mut self, text: &str) -> u64 {
        let position = self.journal.append(text.as_bytes(), UnixMillis(1_700_000_000_000));
        self.drive();
        position
    }

    /// Takes the orders; what they say, a word each.
    fn take(&mut self) -> Vec<String> {
        let told = |order: JournalOrder| match order {
            JournalOrder::Data(DataOrder::Write { at, bytes, syncs }) => {
                format!("write {at} {}{}", String::from_utf8(bytes).unwrap(), if syncs { " and sync" } else { "" })
            }
            JournalOrder::Data(DataOrder::Sync) => "sync".to_owned(),
            JournalOrder::Data(DataOrder::Truncate { to }) => format!("truncate {to}"),
            JournalOrder::File(order) => format!("{order:?}"),
            JournalOrder::Switch => "switch".to_owned(),
            JournalOrder::Close => "close".to_owned(),
            JournalOrder::DropImage => "drop image".to_owned(),
            JournalOrder::Log(event) => event.to_string(),
            JournalOrder::Exit(event) => format!("exit: {event}"),
        };
        self.orders.drain(..).map(told).collect()
    }

    fn wrote(&mut self, text: &str, result: Result<(), i32>) {
        self.journal.wrote(text.as_bytes().to_vec(), result, self.now, &mut self.orders);
        self.drive();
    }

    fn synced(&mut self, result: Result<(), i32>) {
        self.journal.synced_until(result, &mut self.orders);
        self.drive();
    }

    /// Lets all orders of files go well.
    fn file_all(&mut self) {
        while let Some(place) = self.orders.iter().position(|order| matches!(order, JournalOrder::File(_))) {
            self.orders.remove(place);
            self.journal.filed(Ok(()), self.now, &mut self.orders);
            self.drive();
        }
    }

    fn begin_rewrite(&mut self) {
        assert!(self.journal.wants_rewrite(self.now, &mut self.orders));
        self.journal.begin_rewrite(self.now, &mut self.orders);
        self.drive();
    }
}

#[test]
fn one_sync_serves_all_who_came_before_it() {
    let mut desk = Desk::new(SyncPolicy::Always);
    desk.take();
    let first = desk.append("a");
    assert_eq!(desk.take(), ["write 0 a and sync"]);
    let (second, third) = (desk.append("b"), desk.append("c"));
    assert_eq!(desk.take(), [""; 0], "one write at a time");
    assert!(desk.journal.released() < first);
    desk.wrote("a", Ok(()));
    assert_eq!(desk.take(), ["write 1 bc and sync"]);
    assert!(desk.journal.released() >= first && desk.journal.released() < second);
    let fourth = desk.append("d");
    desk.wrote("bc", Ok(()));
    assert_eq!(desk.take(), ["write 3 d and sync"]);
    assert!(desk.journal.released() >= third && third > second);
    assert!(desk.journal.released() < fourth);
}

/// What was written while another policy held is synced as a whole first: a write syncs its own bytes and no others.
#[test]
fn what_was_written_without_a_sync_is_synced_before_writes_sync_themselves() {
    let mut desk = Desk::new(SyncPolicy::EverySecond);
    desk.take();
    let first = desk.append("a");
    desk.wrote("a", Ok(()));
    desk.journal.set_rules(rules(SyncPolicy::Always));
    let second = desk.append("b");
    assert_eq!(desk.take(), ["write 0 a", "write 1 b"]);
    desk.wrote("b", Ok(()));
    assert_eq!(desk.take(), ["sync"]);
    assert!(desk.journal.released() < first);
    desk.synced(Ok(()));
    assert!(desk.journal.released() >= second);
    desk.append("c");
    assert_eq!(desk.take(), ["write 2 c and sync"]);
}

#[test]
fn with_everysec_nobody_waits_and_a_second_is_the_most() {
    let mut desk = Desk::new(SyncPolicy::EverySecond);
    desk.take();
    desk.append("a");
    assert_eq!(desk.journal.released(), u64::MAX);
    desk.wrote("a", Ok(()));
    assert_eq!(desk.take(), ["write 0 a"]);
    assert_eq!(desk.journal.deadline(desk.now), Some(desk.now.plus_millis(1000)));
    desk.pass(SECOND);
    assert_eq!(desk.take(), ["sync"]);
    // It is slow: what comes is written, and it is told.
    desk.append("b");
    assert_eq!(desk.take(), ["write 1 b"]);
    desk.append("c");
    desk.pass(3 * SECOND);
    desk.pass(3 * SECOND);
    assert_eq!(desk.take(), ["Asynchronous AOF fsync is taking too long (disk is busy?)."]);
    assert_eq!(desk.journal.facts(desk.now).delayed_syncs, 1);
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let mut desk = Desk::new(SyncPolicy::EverySecond);
    desk.take();
    desk.append("abc");
    desk.wrote("abc", Err(28));
    desk.append("d");
    assert_eq!(desk.take(), ["write 0 abc", "Error writing to the AOF file: {}", "truncate 0"]);
    assert_eq!(desk.journal.write_error(), Some(28));
    desk.journal.truncated(Ok(()), desk.now, &mut desk.orders);
    desk.drive();
    assert_eq!(desk.take(), [""; 0], "not at once");
    desk.pass(SECOND);
    assert_eq!(desk.take(), ["write 0 abcd"], "the same bytes at the same place");
    desk.wrote("abcd", Ok(()));
    assert_eq!(desk.take()[0], "AOF write error looks solved, writes are taken again.");
    assert_eq!(desk.journal.write_error(), None);
}

#[test]
fn with_always_a_process_whose_disk_fails_ends() {
    let mut desk = Desk::new(SyncPolicy::Always);
    desk.append("a");
    desk.take();
    desk.wrote("a", Err(5));
    assert!(desk.take()[1].starts_with("exit: Can't recover from AOF write error"));
    let mut desk = Desk::new(SyncPolicy::No);
    desk.append("a");
    desk.wrote("a", Ok(()));
    desk.journal.set_rules(rules(SyncPolicy::Always));
    desk.drive();
    desk.take();
    desk.synced(Err(5));
    assert!(desk.take()[0].starts_with("exit: Can't persist AOF for fsync error"));
}

#[test]
fn a_failed_sync_refuses_writes_and_has_all_written_anew() {
    let mut desk = Desk::new(SyncPolicy::EverySecond);
    desk.append("a");
    desk.wrote("a", Ok(()));
    desk.pass(SECOND);
    desk.synced(Err(5));
    assert_eq!(desk.journal.write_error(), Some(5));
    desk.pass(SECOND);
    assert_eq!(desk.take().last().unwrap(), "sync");
    desk.synced(Ok(()));
    assert_eq!(desk.journal.write_error(), None);
    assert!(desk.journal.wants_rewrite(desk.now, &mut desk.orders), "though nothing has grown");
}

#[test]
fn a_rewrite_begins_when_the_files_have_doubled_and_leaves_the_last_one_alone() {
    let mut desk = Desk::new(SyncPolicy::EverySecond);
    let text = "x".repeat(2000);
    assert!(!desk.journal.wants_rewrite(desk.now, &mut desk.orders));
    desk.append(&text);
    desk.wrote(&text, Ok(()));
    desk.take();
    assert!(!desk.journal.wants_rewrite(desk.now, &mut desk.orders), "what there is is synced first");
    desk.drive();
    assert_eq!(desk.take(), ["sync"]);
    desk.append("b");
    desk.synced(Ok(()));
    desk.begin_rewrite();
    desk.append("behind");
    desk.wrote("b", Ok(()));
    assert_eq!(
        desk.take(),
        [
            "write 2000 b",
            "Starting automatic rewriting of AOF on 40000% growth",
            "Background append only file rewriting started",
            "sync"
        ],
        "what is behind the image waits for its file"
    );
    desk.synced(Ok(()));
    desk.file_all();
    let said = desk.take();
    assert!(said.contains(&"Creating AOF incr file a.aof.2.incr.aof on background rewrite".to_owned()), "{said:?}");
    assert_eq!(said[said.len() - 2..], ["switch", "write 0 behind"]);
    desk.journal.image_ended(Ok(700), desk.now, &mut desk.orders);
    desk.wrote("behind", Ok(()));
    desk.file_all();
    let files = "file a.aof.2.base.rdb seq 2 type b\nfile a.aof.2.incr.aof seq 2 type i\n";
    assert_eq!(desk.journal.manifest().print(), files);
    let facts = desk.journal.facts(desk.now);
    assert_eq!((facts.current_bytes, facts.base_bytes, facts.is_rewriting), (706, 706, false));
}

#[test]
fn rewrites_that_fail_wait_longer_and_longer_unless_somebody_asks() {
    let mut desk = Desk::new(SyncPolicy::No);
    let text = "x".repeat(2000);
    desk.append(&text);
    desk.wrote(&text, Ok(()));
    desk.pass(0);
    for _ in 0..3 {
        if !desk.journal.wants_rewrite(desk.now, &mut desk.orders) {
            desk.drive();
            desk.synced(Ok(()));
        }
        desk.begin_rewrite();
        desk.file_all();
        desk.journal.image_ended(Err(()), desk.now, &mut desk.orders);
        desk.file_all();
    }
    assert_eq!(desk.journal.facts(desk.now).failures, 3);
    desk.take();
    assert!(!desk.journal.wants_rewrite(desk.now, &mut desk.orders));
    assert!(desk.take()[0].ends_with("will retry in 1 minutes"));
    desk.pass(59 * SECOND);
    assert!(!desk.journal.wants_rewrite(desk.now, &mut desk.orders));
    desk.pass(SECOND);
    desk.begin_rewrite();
    desk.file_all();
    desk.journal.image_ended(Err(()), desk.now, &mut desk.orders);
    desk.file_all();
    assert!(!desk.journal.wants_rewrite(desk.now, &mut desk.orders));
    assert!(desk.take().last().unwrap().ends_with("will retry in 2 minutes"));
    assert!(desk.journal.ask_for_rewrite());
    assert!(desk.journal.wants_rewrite(desk.now, &mut desk.orders));
}

#[test]
fn a_journal_that_is_started_has_an_image_first_and_one_that_is_stopped_ends_its_file() {
    let mut desk = Desk::new(SyncPolicy::EverySecond);
    desk.append("a");
    desk.journal.stop(&mut desk.orders);
    assert_eq!(desk.append("not any more"), 1);
    desk.take();
    desk.wrote("a", Ok(()));
    assert_eq!(desk.take(), ["sync"]);
    desk.journal.start(&mut desk.orders);
    assert_eq!(desk.journal.state(), State::Stopping);
    desk.synced(Ok(()));
    assert_eq!(desk.take(), ["close"]);
    assert_eq!(desk.journal.state(), State::Starting);
    assert!(!desk.journal.is_appending(), "it will be in the image");
    desk.begin_rewrite();
    desk.append("b");
    desk.file_all();
    assert_eq!(desk.take().last().unwrap(), "write 0 b");
    // The image fails: it is tried again.
    desk.journal.image_ended(Err(()), desk.now, &mut desk.orders);
    desk.wrote("b", Ok(()));
    desk.file_all();
    assert!(!desk.journal.is_appending());
    desk.begin_rewrite();
    desk.append("c");
    desk.file_all();
    desk.wrote("c", Ok(()));
    desk.journal.image_ended(Ok(9), desk.now, &mut desk.orders);
    desk.drive();
    desk.file_all();
    assert_eq!(desk.journal.state(), State::On);
    let files = "file a.aof.2.base.rdb seq 2 type b\nfile a.aof.2.incr.aof seq 2 type i\n";
    assert_eq!(desk.journal.manifest().print(), files);
}

#[test]
fn times_are_marked_between_commands_when_a_second_has_passed() {
    let mut desk = Desk::new(SyncPolicy::No);
    desk.journal.set_rules(JournalRules { marks_time: true, ..rules(SyncPolicy::No) });
    desk.take();
    let times = [1_700_000_000_900, 1_700_000_000_950, 1_700_000_001_000];
    for time in times {
        desk.journal.append(b"x", UnixMillis(time));
    }
    desk.drive();
    assert_eq!(desk.take(), ["write 0 #TS:1700000000\r\nxx#TS:1700000001\r\nx"]);
}

#[test]
fn at_the_end_of_the_process_all_that_is_not_written_is_at_hand() {
    let mut desk = Desk::new(SyncPolicy::EverySecond);
    desk.append("a");
    desk.wrote("a", Ok(()));
    desk.journal.ask_for_rewrite();
    desk.pass(SECOND);
    desk.synced(Ok(()));
    desk.begin_rewrite();
    desk.append("b");
    assert!(!desk.journal.is_settled());
    assert_eq!(desk.journal.take_rest(), (1, vec![b'b']));
}
