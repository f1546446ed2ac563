use super::model::{Move, Process, Scene, Step};
use super::*;
use slotmesh_base::Rng;
use std::collections::BTreeSet;

const SUBSETS_OF_2: [&[u16]; 3] = [&[0], &[1], &[0, 1]];
const SUBSETS_OF_3: [&[u16]; 7] = [&[0], &[1], &[2], &[0, 1], &[0, 2], &[1, 2], &[0, 1, 2]];

/// What an exploration found.
#[derive(Default, Debug)]
struct Explored {
    states: usize,
    finals: usize,
    deadlocks: usize,
}

/// Visits every state that any interleaving reaches. All that must hold in each is asserted; deadlocks are counted.
fn explore(scene: &Scene) -> Explored {
    let moves = scene.moves();
    let (mut explored, start) = (Explored::default(), Process::new(scene));
    let (mut visited, mut open) = (BTreeSet::from([start.clone()]), vec![start]);
    while let Some(state) = open.pop() {
        state.check();
        explored.states += 1;
        let mut is_stuck = true;
        for &step in moves.iter().filter(|&&step| state.is_possible(scene, step)) {
            is_stuck = false;
            let mut next = state.clone();
            next.apply(scene, step);
            if !visited.contains(&next) {
                visited.insert(next.clone());
                open.push(next);
            }
        }
        if is_stuck && state.is_final(scene) {
            explored.finals += 1;
        } else if is_stuck && !state.has_dead() {
            explored.deadlocks += 1;
        }
    }
    explored
}

/// Explores scenes in which nothing may go wrong.
fn explore_all(name: &str, scenes: impl IntoIterator<Item = Scene>) {
    let (mut states, mut count) = (0, 0);
    for scene in scenes {
        let explored = explore(&scene);
        assert_eq!(explored.deadlocks, 0, "{scene:?}");
        assert!(explored.finals > 0, "{scene:?}");
        states += explored.states;
        count += 1;
    }
    println!("{name}: {count} scenes, {states} states");
}

#[test]
fn two_cores_with_all_pairs_of_loans() {
    let mut scenes = Vec::new();
    for a in SUBSETS_OF_2 {
        for b in SUBSETS_OF_2 {
            for c in SUBSETS_OF_2 {
                let scripts = vec![
                    (0, vec![Step::Command(1), Step::Loan(a), Step::Command(1)]),
                    (0, vec![Step::Loan(b)]),
                    (1, vec![Step::Command(0), Step::Loan(c)]),
                ];
                scenes.push(Scene { capacity: 2, ..Scene::new(2, scripts) });
            }
            let scripts = vec![(0, vec![Step::Loan(a), Step::Command(1)]), (1, vec![Step::Command(0), Step::Loan(b)])];
            scenes.push(Scene { unasked: 2, ..Scene::new(2, scripts) });
        }
    }
    explore_all("two cores", scenes);
}

#[test]
fn three_cores_with_all_triples_of_loans() {
    let mut scenes = Vec::new();
    for a in SUBSETS_OF_3 {
        for b in SUBSETS_OF_3 {
            for c in SUBSETS_OF_3 {
                let scripts = vec![(0, vec![Step::Loan(a)]), (1, vec![Step::Loan(b)]), (2, vec![Step::Loan(c)])];
                scenes.push(Scene::new(3, scripts));
            }
        }
    }
    explore_all("three cores", scenes);
}

#[test]
fn three_cores_with_commands_between_and_unasked_lendings() {
    let (first, last): ([&[u16]; 3], [&[u16]; 2]) = ([&[0, 1], &[0, 2], &[0, 1, 2]], [&[1, 2], &[0, 1, 2]]);
    let mut scenes = Vec::new();
    for (a, b) in first.iter().flat_map(|a| last.iter().map(move |b| (a, b))) {
        let scripts = vec![(0, vec![Step::Command(2), Step::Loan(a)]), (2, vec![Step::Loan(b), Step::Command(1)])];
        scenes.push(Scene { unasked: 1, ..Scene::new(3, scripts) });
        // Two loans of one coordinator, one behind the other in full lanes.
        let two = [(0, vec![Step::Loan(a)]), (0, vec![Step::Command(2), Step::Loan(b)])];
        scenes.push(Scene::new(3, [&two[..], &[(1, vec![Step::Loan(b)])]].concat()));
    }
    explore_all("three cores with commands", scenes);
}

#[test]
fn what_joins_a_loan_is_done_once_and_with_its_shards() {
    let mut scenes = Vec::new();
    for (a, b) in SUBSETS_OF_2.iter().flat_map(|a| SUBSETS_OF_2.iter().map(move |b| (a, b))) {
        for c in SUBSETS_OF_2 {
            let ours = [(0, vec![Step::Loan(a)]), (0, vec![Step::Loan(b)]), (0, vec![Step::Loan(c), Step::Loan(a)])];
            let scripts = [&ours[..], &[(1, vec![Step::Loan(&[0, 1])])]].concat();
            scenes.push(Scene { joins: true, unasked: 1, ..Scene::new(2, scripts) });
        }
    }
    for a in SUBSETS_OF_3 {
        let scripts = vec![
            (1, vec![Step::Loan(&[0, 1, 2])]),
            (1, vec![Step::Loan(a)]),
            (1, vec![Step::Loan(&[0, 1])]),
            (2, vec![Step::Loan(&[0, 2])]),
        ];
        scenes.push(Scene { joins: true, ..Scene::new(3, scripts) });
    }
    explore_all("joined loans", scenes);
}

#[test]
fn without_one_order_for_all_there_is_a_deadlock() {
    let scripts = vec![(0, vec![Step::Loan(&[0, 1])]), (1, vec![Step::Loan(&[0, 1])])];
    let one_order = Scene::new(2, scripts);
    assert_eq!(explore(&one_order).deadlocks, 0);
    let two_orders = Scene { reversed: Some(1), ..one_order };
    assert!(explore(&two_orders).deadlocks > 0, "the exploration would not find what it is for");
}

#[test]
fn a_lender_that_dies_leaves_its_loans_waiting() {
    for mortal in 0..3 {
        let loan = Step::Loan(&[0, 1, 2]);
        let scripts = vec![(0, vec![loan]), (1, vec![Step::Command(2), loan]), (2, vec![Step::Loan(&[1, 2])])];
        // Every state is checked: no shard is anywhere twice, and a loan runs with all its shards or not at all.
        let explored = explore(&Scene { mortal: Some(mortal), ..Scene::new(3, scripts) });
        assert!(explored.finals > 0 && explored.deadlocks == 0);
    }
    let mut actions = Vec::new();
    let mut desk = Desk::new(0, Some('a'));
    desk.begin(&[0, 1], "work", &mut actions);
    assert!(matches!(actions[..], [LoanAction::Ask { core: 1, loan: 0 }]));
    actions.clear();
    // Core 1 never answers.
    for _ in 0..100 {
        desk.grant(&mut actions);
    }
    desk.begin(&[0], "later work", &mut actions);
    assert!(actions.is_empty() && desk.is_away() && desk.loans() == 2, "{desk:?}");
}

/// Random moves to the end: far more loans, cores and messages than can be explored.
#[test]
fn random_walks_of_five_cores_end_with_everything_done() {
    for seed in 0..40 {
        let mut chance = Rng::new(seed);
        let scripts = (0..10).map(|client| (client % 5, random_script(&mut chance, 40))).collect();
        let capacity = 1 + chance.below(3) as usize;
        let scene = Scene { capacity, unasked: 20, ..Scene::new(5, scripts) };
        let (moves, mut process) = (scene.moves(), Process::new(&scene));
        loop {
            let possible: Vec<Move> = moves.iter().copied().filter(|&step| process.is_possible(&scene, step)).collect();
            if possible.is_empty() {
                break;
            }
            process.apply(&scene, possible[chance.below(possible.len() as u64) as usize]);
            process.check();
        }
        assert!(process.is_final(&scene), "seed {seed}: {process:?}");
    }
}

fn random_script(chance: &mut Rng, steps: usize) -> Vec<Step> {
    let step = |_| {
        if chance.below(2) == 0 {
            return Step::Command(chance.below(5) as u16);
        }
        let members = 1 + chance.below(31);
        let cores: Vec<u16> = (0..5).filter(|core| members & (1 << core) != 0).collect();
        Step::Loan(cores.leak())
    };
    (0..steps).map(step).collect()
}

/// Turns of all cores in which every client goes on for ever, as the room card wants them.
struct Turns {
    scene: Scene,
    process: Process,
    /// For each core, the core that is served first.
    first: Vec<u16>,
    /// For each client, where it stands and since which round.
    since: Vec<(usize, usize)>,
    round: usize,
    longest_wait: usize,
}

impl Turns {
    fn new(scripts: Vec<(u16, Vec<Step>)>, unasked: u8) -> Self {
        let scene = Scene { endless: true, capacity: 2, unasked, ..Scene::new(5, scripts) };
        let (process, since) = (Process::new(&scene), vec![(0, 0); scene.scripts.len()]);
        Self { scene, process, first: vec![0; 5], since, round: 0, longest_wait: 0 }
    }

    /// The longest wait of any client for the end of a step, in rounds in which each core has a turn.
    fn longest_wait(mut self, rounds: usize, chance: &mut Rng) -> usize {
        for round in 0..rounds {
            self.round = round;
            let turn = chance.below(5) as u16;
            (0..5).for_each(|core| self.turn((core + turn) % 5));
            self.process.check();
            for (client, (at, since)) in self.since.iter_mut().enumerate() {
                if *at != self.process.clients[client].at {
                    (*at, *since) = (self.process.clients[client].at, round);
                }
                self.longest_wait = self.longest_wait.max(round - *since);
            }
        }
        self.longest_wait
    }

    fn turn(&mut self, at: u16) {
        let others = |first: u16| (0..5).map(move |index| (first + index) % 5).filter(move |&other| other != at);
        for from in others(0) {
            while self.try_move(Move::TakeReply { at, from }) {
                while self.try_move(Move::Run(at)) {
                    // What the loan did made a key ready for which a client of another core waits.
                    self.try_move(Move::LendUnasked { at, to: (at + 1) % 5 });
                }
            }
        }
        let clients: Vec<usize> =
            (0..self.scene.scripts.len()).filter(|&client| self.scene.scripts[client].0 == at).collect();
        for &client in &clients {
            if self.scene.step(&self.process, client) == Some(Step::Command(at)) {
                self.try_move(Move::Client(client));
            }
        }
        for from in others(self.first[usize::from(at)]) {
            while self.try_move(Move::Serve { at, from }) {
                if self.process.cores[usize::from(at)].desk.is_away() {
                    self.first[usize::from(at)] = from + 1;
                }
            }
        }
        self.try_move(Move::Grant(at));
        while self.try_move(Move::Run(at)) {}
        for &client in &clients {
            self.try_move(Move::Client(client));
            while self.try_move(Move::Run(at)) {}
        }
        for whom in others(0) {
            self.try_move(Move::AskAgain { at, whom });
        }
    }

    fn try_move(&mut self, step: Move) -> bool {
        let possible = self.process.is_possible(&self.scene, step);
        if possible {
            self.process.apply(&self.scene, step);
        }
        possible
    }
}

#[test]
fn with_fair_turns_every_wait_is_bounded() {
    for seed in 0..8 {
        let mut chance = Rng::new(seed);
        let scripts: Vec<_> = (0..15).map(|client| (client % 5, random_script(&mut chance, 8))).collect();
        // With 15 loans at a time on 5 shards; a wait that others can prolong at will grows with the rounds.
        let wait = Turns::new(scripts, 0).longest_wait(1_000, &mut chance);
        assert!(wait < 250, "seed {seed}: {wait} rounds");
    }
}

#[test]
fn neither_the_own_loans_of_a_core_nor_those_of_the_others_take_all() {
    let own = (1, vec![Step::Loan(&[1, 2])]);
    let others = [0, 2, 3, 4].map(|core| (core, vec![Step::Loan(&[1])]));
    let commands = [(0, vec![Step::Command(1)]), (1, vec![Step::Command(1)])];
    let wait =
        |scripts: Vec<(u16, Vec<Step>)>, unasked| Turns::new(scripts, unasked).longest_wait(1_000, &mut Rng::new(1));
    for unasked in [0, 1] {
        let mut many_others = [others.clone(), others.clone(), others.clone()].concat();
        many_others.extend([own.clone(), commands[0].clone(), commands[1].clone()]);
        let one_own = wait(many_others, unasked);
        assert!(one_own < 100, "{one_own} rounds");

        let mut many_own = vec![own.clone(); 12];
        many_own.extend([others[2].clone(), commands[0].clone(), commands[1].clone()]);
        let one_other = wait(many_own, unasked);
        assert!(one_other < 100, "{one_other} rounds");
    }
}

#[test]
fn work_joins_a_loan_that_will_have_its_shards_until_that_runs() {
    let mut desk: Desk<&str, u32> = Desk::new(1, Some("one"));
    let mut actions = Vec::new();
    assert_eq!(desk.join(&[0, 1], 7), Err(7), "there is no loan");
    desk.begin(&[0, 1, 2], 1, &mut actions);
    assert_eq!(desk.join(&[0, 3], 8), Err(8), "nobody asks for shard 3");
    for work in 0..LOAN_JOINED_MAX as u32 {
        assert_eq!(desk.join(&[0, 2], 100 + work), Ok(()));
    }
    assert_eq!(desk.join(&[0, 2], 9), Err(9), "the loan has been joined often enough");
    actions.clear();
    desk.lent(0, 0, "zero", &mut actions);
    desk.lent(2, 0, "two", &mut actions);
    let Some(LoanAction::Run { shards, work: 1, joined, .. }) = actions.pop() else { panic!("{actions:?}") };
    assert_eq!(shards, [(0, "zero"), (1, "one"), (2, "two")]);
    assert!(joined.iter().map(|(_, work)| *work).eq(100..100 + LOAN_JOINED_MAX as u32), "in the order of joining");
    assert!(joined.iter().all(|(cores, _)| cores == &[0, 2]));
    assert_eq!(desk.join(&[0, 1], 10), Err(10), "a loan that runs is not joined");
}
