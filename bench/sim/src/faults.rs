//! What goes wrong, at random.

use crate::world::{MS, SECOND, Trap, World, address};

/// Lets one thing go wrong, or heal.
pub(crate) fn strike(world: &mut World) {
    let hosts = world.hosts.len() as u64;
    let machines = world.plan.shards.len() as u64;
    match world.rng.below(16) {
        0 => partition(world),
        1 => {
            let (from, to) = (world.rng.below(hosts) as usize, world.rng.below(hosts) as usize);
            world.note(format_args!("nothing gets from host {from} to host {to}"));
            world.network.cut(from, to);
        }
        2 => {
            let host = world.rng.below(hosts) as usize;
            world.note(format_args!("host {host} hears nobody"));
            (0..hosts as usize).for_each(|from| world.network.cut(from, host));
        }
        3 | 4 => {
            world.note(format_args!("the network heals"));
            world.network.heal();
        }
        5 | 6 => (0..=world.rng.below(8)).for_each(|_| world.break_some_link()),
        7 | 8 => {
            let host = world.rng.below(machines) as usize;
            if world.hosts[host].is_up {
                let is_silent = world.rng.below(2) == 0;
                world.crash(host, is_silent, true);
            }
        }
        9 => {
            let host = world.rng.below(machines) as usize;
            if !world.hosts[host].is_up {
                wake(world, host);
            }
        }
        10 => {
            (world.network.delay_ns, world.network.jitter_ns) = match world.rng.below(3) {
                0 => (200_000, 300_000),
                1 => (5 * MS, 100 * MS),
                _ => (MS, SECOND),
            };
        }
        11..15 => {
            let host = world.rng.below(machines) as usize;
            lay_trap(world, host);
        }
        _ => {
            let host = world.rng.below(hosts) as usize;
            world.hosts[host].skew_ms = world.rng.below(20_000) as i64 - 10_000;
        }
    }
}

/// A host is to crash behind one of its next promises.
pub(crate) fn lay_trap(world: &mut World, host: usize) {
    let (spared, down_ns) = (world.rng.below(3), MS + world.rng.below(SECOND));
    world.note(format_args!("a trap is laid for host {host}"));
    world.hosts[host].trap = Some(Trap { spared, down_ns });
}

/// Starts a host that was down; now and then its address is another one.
fn wake(world: &mut World, host: usize) {
    if world.rng.below(4) == 0 {
        let nth = 1 + world.rng.below(200) as u8;
        world.hosts[host].address = address(host, nth);
    }
    world.start(host);
}

/// Two sides that do not hear each other.
fn partition(world: &mut World) {
    let hosts = world.hosts.len();
    let sides: Vec<bool> = (0..hosts).map(|_| world.rng.below(2) == 0).collect();
    world.note(format_args!("the network parts: {sides:?}"));
    for (from, to) in (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to))) {
        if sides[from] != sides[to] {
            world.network.cut(from, to);
        }
    }
}

/// The network is as it was on the first day, and all hosts are up.
pub(crate) fn end(world: &mut World) {
    world.note(format_args!("faults end"));
    world.network.heal();
    (world.network.delay_ns, world.network.jitter_ns) = (200_000, 300_000);
    for host in 0..world.hosts.len() {
        world.hosts[host].trap = None;
        world.hosts[host].skew_ms = world.hosts[host].skew_ms.clamp(-200, 200);
        if !world.hosts[host].is_up {
            world.start(host);
        }
    }
}
