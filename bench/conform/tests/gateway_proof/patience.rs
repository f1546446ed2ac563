//! Clients that wait while a master dies: for elements of lists, and for messages. They go on with the one that takes over,
//! and need do nothing for it.

use slotmesh_conform::{Connection, Door, await_condition, show};

/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 60;

/// Tags of slots in each third of the map.
const TAGS: [&str; 3] = ["{b}", "{c}", "{a}"];

/// Clients that wait.
pub(crate) struct Patience {
    /// For an element of a list on the slot of each tag.
    poppers: Vec<Connection>,
    /// For a message on any node, then for one on the slot of each tag.
    listeners: Vec<(String, Connection)>,
}

impl Patience {
    /// They begin to wait.
    pub(crate) fn begin(door: Door) -> Self {
        let pop = |tag: &str| {
            let mut popper = door.enter();
            popper.send(&slotmesh_conform::words(&format!("BLPOP {tag}wanted 0")));
            popper
        };
        let listen = |command: &str, channel: String| {
            let mut listener = door.enter();
            let reply = listener.say(&format!("{command} {channel}"));
            assert!(reply.starts_with(b"*3\r\n"), "{}", show(&reply));
            (channel, listener)
        };
        let sharded = TAGS.iter().map(|tag| listen("SSUBSCRIBE", format!("{tag}channel")));
        let listeners = std::iter::once(listen("SUBSCRIBE", "channel".to_owned())).chain(sharded).collect();
        let poppers: Vec<Connection> = TAGS.map(pop).into();
        let mut control = door.enter();
        let waits = |line: &&str| line.contains(" flags=b ") && line.contains(" cmd=blpop ");
        await_condition("they wait", SECONDS_MAX, || {
            control.text("CLIENT LIST").lines().filter(waits).count() == TAGS.len()
        });
        Self { poppers, listeners }
    }

    /// Each gets what it waits for.
    pub(crate) fn end(self, door: Door) {
        let mut control = door.enter();
        for (mut popper, tag) in self.poppers.into_iter().zip(TAGS) {
            assert_eq!(show(&control.say(&format!("RPUSH {tag}wanted element-of-{tag}"))), ":1\\r\\n");
            let (list, element) = (format!("{tag}wanted"), format!("element-of-{tag}"));
            let expected = format!("*2\\r\\n${}\\r\\n{list}\\r\\n${}\\r\\n{element}\\r\\n", list.len(), element.len());
            assert_eq!(show(&popper.reply()), expected);
        }
        for (channel, mut listener) in self.listeners {
            let (order, kind) = if channel == "channel" { ("PUBLISH", "message") } else { ("SPUBLISH", "smessage") };
            // The subscription may be on its way to the new master.
            let mut heard = None;
            await_condition("the message is heard", SECONDS_MAX, || {
                control.say(&format!("{order} {channel} for-{channel}"));
                heard = listener.arrived_reply().expect("the gateway lives");
                heard.is_some()
            });
            let expected = format!(
                "*3\\r\\n${}\\r\\n{kind}\\r\\n${}\\r\\n{channel}\\r\\n${}\\r\\nfor-{channel}\\r\\n",
                kind.len(),
                channel.len(),
                channel.len() + 4
            );
            assert_eq!(show(&heard.expect("it was heard")), expected);
        }
    }
}
