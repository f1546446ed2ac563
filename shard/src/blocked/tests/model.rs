//! Random clients that push, pop, wait and leave, against a model of lists and lines.

use super::*;
use slotmesh_base::Rng;
use std::collections::BTreeMap;

const CLIENTS: usize = 8;
/// Keys that clients push to and wait for; {x} and {y} lie on one shard each.
const SOURCES: [&str; 6] = ["a", "b", "c", "{x}1", "{x}2", "{y}1"];
/// Keys that elements are moved to, and that are waited for one at a time: so what a client gets does not depend on
/// which of two shards goes on first.
const SINKS: [&str; 3] = ["sink", "{x}sink", "{y}sink"];

fn any<'k>(chance: &mut Rng, keys: &[&'k str]) -> &'k str {
    keys[chance.below(keys.len() as u64) as usize]
}

/// Lists, and who waits for them in order of arrival.
#[derive(Default)]
struct Model {
    lists: BTreeMap<String, VecDeque<String>>,
    line: Vec<(usize, Wish)>,
    heard: BTreeMap<usize, String>,
}

#[derive(Clone)]
enum Wish {
    Pop(Vec<String>),
    Move(String, String),
}

impl Wish {
    fn random(chance: &mut Rng) -> Self {
        match chance.below(4) {
            0 => Self::Move(any(chance, &SOURCES).to_owned(), any(chance, &SINKS).to_owned()),
            1 => Self::Pop(vec![any(chance, &SINKS).to_owned()]),
            _ => Self::Pop((0..=chance.below(3)).map(|_| any(chance, &SOURCES).to_owned()).collect()),
        }
    }

    fn command(&self) -> String {
        match self {
            Self::Pop(keys) => format!("BLPOP {} 0", keys.join(" ")),
            Self::Move(from, to) => format!("BLMOVE {from} {to} LEFT RIGHT 0"),
        }
    }

    fn keys(&self) -> Vec<String> {
        match self {
            Self::Pop(keys) => keys.clone(),
            Self::Move(from, _) => vec![from.clone()],
        }
    }
}

impl Model {
    fn list(&mut self, key: &str) -> &mut VecDeque<String> {
        self.lists.entry(key.to_owned()).or_default()
    }

    /// What a wish gets, if there is something for it; a key that has become longer.
    fn grant(&mut self, wish: &Wish) -> Option<(String, Option<String>)> {
        let key = wish.keys().into_iter().find(|key| !self.list(key).is_empty())?;
        let element = self.list(&key).pop_front()?;
        Some(match wish {
            Wish::Pop(_) => (got(&key, &element)?, None),
            Wish::Move(_, to) => {
                self.list(to).push_back(element.clone());
                (format!("${} {element}", element.len()), Some(to.clone()))
            }
        })
    }

    fn serve(&mut self, key: &str) {
        let mut ready = VecDeque::from([key.to_owned()]);
        while let Some(key) = ready.pop_front() {
            while !self.list(&key).is_empty()
                && let Some(place) = self.line.iter().position(|(_, wish)| wish.keys().contains(&key))
            {
                let (who, wish) = self.line.remove(place);
                let (reply, longer) = self.grant(&wish).expect("the key has something");
                self.heard.insert(who, reply);
                ready.extend(longer);
            }
        }
    }
}

#[test]
fn lines_are_as_in_the_model() {
    let (mut served, mut shared) = (0, 0);
    for seed in 0..300 {
        let mut chance = Rng::new(seed);
        let mut gateway = Gateway::new(1 + (seed % 3) as u16, CLIENTS);
        let mut model = Model::default();
        let mut next = 0;
        for _ in 0..200 {
            let who = 1 + chance.below(CLIENTS as u64 - 1) as usize;
            match chance.below(10) {
                0 | 1 => {
                    let key = any(&mut chance, &SOURCES);
                    let elements: Vec<String> = (0..=chance.below(2)).map(|more| (next + more).to_string()).collect();
                    next += elements.len() as u64;
                    model.list(key).extend(elements.iter().cloned());
                    let length = model.list(key).len();
                    model.serve(key);
                    let reply = gateway.ask(&format!("RPUSH {key} {}", elements.join(" ")));
                    assert_eq!(reply, format!(":{length}"), "the push is answered before anybody is served");
                }
                2 | 3 => {
                    let key = any(&mut chance, &SOURCES);
                    let expected = model.list(key).pop_front();
                    let expected = expected.map_or("$-1".to_owned(), |element| format!("${} {element}", element.len()));
                    assert_eq!(gateway.ask(&format!("LPOP {key}")), expected);
                }
                4 => {
                    model.line.retain(|(waiting, _)| *waiting != who);
                    let why = [Unblock::Silently, Unblock::Timeout, Unblock::Error][chance.below(3) as usize];
                    let did_wait = gateway.waits(who);
                    gateway.unblock(who, why);
                    assert_eq!(gateway.heard(who).is_some(), did_wait && why != Unblock::Silently);
                }
                _ if gateway.waits(who) => {}
                _ => {
                    let wish = Wish::random(&mut chance);
                    let granted = model.grant(&wish);
                    if granted.is_none() {
                        model.line.push((who, wish.clone()));
                    }
                    let (reply, longer) = granted.unwrap_or_default();
                    longer.iter().for_each(|key| model.serve(key));
                    assert_eq!(gateway.say(who, &wish.command()), reply, "seed {seed}");
                }
            }
            for who in 1..CLIENTS {
                let (heard, expected) = (gateway.heard(who), model.heard.remove(&who));
                served += usize::from(heard.is_some());
                assert_eq!(heard, expected, "seed {seed}, client {who}");
                assert_eq!(gateway.waits(who), model.line.iter().any(|(waiting, _)| *waiting == who));
                let waiting = gateway.people[who].waiting.as_ref();
                shared += usize::from(waiting.is_some_and(|waiting| waiting.cores.len() > 1));
            }
        }
        (1..CLIENTS).for_each(|who| gateway.unblock(who, Unblock::Silently));
        gateway.assert_forgotten();
    }
    assert!(served > 3000 && shared > 3000, "{served} served, {shared} waits on several shards prove little");
}

/// Elements in a reply: words of digits behind their lengths.
fn elements(reply: &str) -> Vec<u64> {
    reply.split(' ').filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn nothing_is_lost_and_nobody_waits_for_what_is_there() {
    let mut held = 0;
    for seed in 0..300 {
        let mut chance = Rng::new(seed);
        let mut gateway = Gateway::new(1 + (seed % 3) as u16, CLIENTS);
        let (mut next, mut taken, mut wishes) = (0, Vec::new(), BTreeMap::new());
        for _ in 0..200 {
            gateway.holds_calls = chance.below(3) > 0;
            let who = 1 + chance.below(CLIENTS as u64 - 1) as usize;
            let mut push = |chance: &mut Rng| {
                next += 1;
                format!("RPUSH {} {next}", any(chance, &SOURCES))
            };
            match chance.below(12) {
                0 | 1 => _ = gateway.ask(&push(&mut chance)),
                2 => {
                    gateway.ask("MULTI");
                    for _ in 0..1 + chance.below(3) {
                        gateway.ask(&push(&mut chance));
                    }
                    let keys = [any(&mut chance, &SOURCES), any(&mut chance, &SOURCES)];
                    gateway.ask(&format!("LMOVE {} {} LEFT RIGHT", keys[0], keys[1]));
                    gateway.ask("EXEC");
                }
                3 | 4 => {
                    let popped = gateway.ask(&format!("LPOP {}", any(&mut chance, &SOURCES)));
                    taken.extend(elements(&popped));
                }
                5 => {
                    let why = [Unblock::Silently, Unblock::Timeout, Unblock::Error][chance.below(3) as usize];
                    gateway.unblock(who, why);
                }
                6 => gateway.answer_calls(),
                _ if gateway.waits(who) => {}
                _ => {
                    // Also in rings.
                    let wish = match chance.below(4) {
                        0 => Wish::Move(any(&mut chance, &SOURCES).to_owned(), any(&mut chance, &SOURCES).to_owned()),
                        _ => Wish::random(&mut chance),
                    };
                    let reply = gateway.say(who, &wish.command());
                    if matches!(wish, Wish::Pop(_)) {
                        taken.extend(elements(&reply));
                    }
                    wishes.insert(who, wish);
                }
            }
            for who in 1..CLIENTS {
                while let Some(reply) = gateway.heard(who) {
                    if matches!(wishes[&who], Wish::Pop(_)) {
                        taken.extend(elements(&reply));
                    }
                }
            }
            held += usize::from(!gateway.calls.is_empty());
            if gateway.calls.is_empty() {
                for who in (1..CLIENTS).filter(|&who| gateway.waits(who)).collect::<Vec<_>>() {
                    for key in wishes[&who].keys() {
                        assert_eq!(gateway.ask(&format!("LLEN {key}")), ":0", "seed {seed}: {who} waits for {key}");
                    }
                }
            }
        }
        gateway.answer_calls();
        (1..CLIENTS).for_each(|who| gateway.unblock(who, Unblock::Silently));
        (1..CLIENTS).for_each(|who| {
            while let Some(reply) = gateway.heard(who) {
                if matches!(wishes[&who], Wish::Pop(_)) {
                    taken.extend(elements(&reply));
                }
            }
        });
        for key in SOURCES.iter().chain(&SINKS) {
            taken.extend(elements(&gateway.ask(&format!("LPOP {key} 1000"))));
        }
        taken.sort_unstable();
        assert!(taken.iter().copied().eq(1..=next), "seed {seed}: {taken:?} of {next}");
        gateway.assert_forgotten();
    }
    assert!(held > 1000, "{held} held calls prove little");
}
