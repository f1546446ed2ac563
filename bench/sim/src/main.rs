//! Runs seeds of the simulator, as many as asked for, on all cores. *Not here*: what a run is.

use slotmesh_sim::{
    Failure, GroupsReport, Kind, Large, Options, Quiet, RanksReport, Report, Shape, Took, run, run_groups, run_ranks,
};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

const HELP: &str = "\
usage: slotmesh-sim [--seeds N] [--from SEED] [--threads N] [--masters] [--groups] [--ranks] [what is to be broken]
       slotmesh-sim --seed SEED [--trace] [--masters|--groups|--ranks] [what is to be broken]
       slotmesh-sim siblings
       slotmesh-sim large HOSTS SHARDS [strangers]

Without arguments 100 seeds from 0 on, each of all three kinds. A run that fails prints its seed and how to see it again.
--masters has masters alone, an operator who orders them about, and replicas that only ask for votes. --groups has masters with replicas, whose clients write; half of these seeds lose data with the hosts that die. --ranks
looks who of several replicas takes over.
--disk-lies lets the disks confirm what they may yet lose, --hasty-winners makes a single vote enough to win, with --ranks
--hides-offsets lets no replica tell how far it is: the checkers must find that.
siblings: what 24 nodes say as processes of 1 to 8 shards. large: what a cluster of HOSTS processes of SHARDS shards says
in a quiet minute, how long that minute takes, and how soon a death is known; with strangers nobody knows that others are
of his kind, as among stock nodes. Both print tables of bench/RESULTS.md.
";

struct Arguments {
    options: Options,
    first: u64,
    seeds: u64,
    threads: u64,
    kinds: Vec<Kind>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["large", hosts, shards, rest @ ..] => {
            if let (Ok(hosts @ 3..), Ok(shards @ 1..), [] | ["strangers"]) = (hosts.parse(), shards.parse(), rest) {
                let (siblings, disguises) = (true, !rest.is_empty());
                return print_large(Shape { hosts, shards, timeout_ms: 15_000, siblings, disguises });
            }
        }
        ["siblings"] => return print_siblings(),
        _ => {}
    }
    let Some(arguments) = parse(&words) else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    let failures = run_all(&arguments);
    let runs = arguments.runs();
    println!("{} of {runs} runs went well", runs - failures);
    ExitCode::from(u8::from(failures > 0))
}

fn parse(words: &[String]) -> Option<Arguments> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let mut arguments = Arguments { options: Options::default(), first: 0, seeds: 100, threads, kinds: Vec::new() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || words.next()?.parse::<u64>().ok();
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.first = number()?,
            "--threads" => arguments.threads = number()?.max(1),
            "--seed" => (arguments.first, arguments.seeds) = (number()?, 1),
            "--masters" => arguments.kinds.push(Kind::Masters),
            "--groups" => arguments.kinds.push(Kind::Groups),
            "--ranks" => arguments.kinds.push(Kind::Ranks),
            "--hides-offsets" => arguments.options.hides_offsets = true,
            "--trace" => arguments.options.trace = true,
            "--disk-lies" => arguments.options.disk_lies = true,
            "--hasty-winners" => arguments.options.hasty_winners = true,
            _ => return None,
        }
    }
    if arguments.kinds.is_empty() {
        arguments.kinds = vec![Kind::Masters, Kind::Groups, Kind::Ranks];
    }
    Some(arguments)
}

impl Arguments {
    fn runs(&self) -> u64 {
        self.seeds * self.kinds.len() as u64
    }
}

/// How many runs failed.
fn run_all(arguments: &Arguments) -> u64 {
    let next = AtomicU64::new(0);
    let failures = AtomicU64::new(0);
    let work = || loop {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        if nth >= arguments.runs() {
            break;
        }
        let kinds = arguments.kinds.len() as u64;
        let seed = arguments.first + nth / kinds;
        let options = Options { seed, ..arguments.options };
        let result = match arguments.kinds[(nth % kinds) as usize] {
            Kind::Masters => run(options).map(|report| print_report(seed, report)),
            Kind::Groups => run_groups(options).map(|report| print_groups(seed, report)),
            Kind::Ranks => run_ranks(options).map(|report| print_ranks(seed, report)),
        };
        match result {
            Ok(()) => {}
            Err(failure) => {
                failures.fetch_add(1, Ordering::Relaxed);
                print_failure(&failure);
            }
        }
    };
    std::thread::scope(|scope| (0..arguments.threads).for_each(|_| _ = scope.spawn(work)));
    failures.load(Ordering::Relaxed)
}

fn print_report(seed: u64, report: Report) {
    let Report { fingerprint, votes, elections, agreed_after_ms } = report;
    println!("seed {seed}: {votes} votes, {elections} won, agreed after {agreed_after_ms} ms, {fingerprint:016x}");
}

fn print_groups(seed: u64, report: GroupsReport) {
    let GroupsReport { fingerprint, votes, promotions, acknowledged, lost, excused, losses, helped, healed_after_ms } =
        report;
    let helped: Vec<String> = helped.each().map(|(why, count)| format!("{why:?} {count}")).collect();
    println!(
        "seed {seed}: {votes} votes, {promotions} promoted, {acknowledged} writes on two nodes, {lost} lost, {losses} \
         disks lost, {excused} writes with both copies, groups helped: {helped:?}, healed after {healed_after_ms} ms, \
         {fingerprint:016x}"
    );
}

fn print_ranks(seed: u64, report: RanksReport) {
    let RanksReport { fingerprint, promotions, second_best } = report;
    println!("seed {seed}: {promotions} promoted, {second_best} of them with the best cut off, {fingerprint:016x}");
}

fn print_failure(failure: &Failure) {
    println!("{failure}");
}

fn print_large(shape: Shape) -> ExitCode {
    let Shape { hosts, shards, .. } = shape;
    println!("All start from the nodes.conf of a cluster that has been formed, dial each other, and settle for 30 s.");
    let mut large = Large::start(shape);
    let seconds = |took: Took| format!("{:.1} ({:.1})", took.cpu.as_secs_f64(), took.real.as_secs_f64());
    println!("The start has taken {} s of the CPU (by the clock).", seconds(large.start_took));
    let Quiet { minute_took, messages, bytes } = large.listen(1);
    let died = large.kill_one() as f64 / 1000.0;
    let (messages, bytes) = (messages / f64::from(shards), bytes / f64::from(shards) / 1000.0);
    let took = seconds(minute_took);
    println!(
        "| hosts × shards | a minute takes s of the CPU (by the clock) | messages/s and node | kB/s and node | killed: \
         FAIL everywhere after s |"
    );
    println!("|---|--:|--:|--:|--:|");
    println!("| {hosts} × {shards} | {took} | {messages:.1} | {bytes:.1} | {died:.1} |");
    ExitCode::SUCCESS
}

fn print_siblings() -> ExitCode {
    const NODES: usize = 24;
    println!("| shards | messages/s and process | kB/s | each on its own: messages/s | kB/s |");
    println!("|--:|--:|--:|--:|--:|");
    for shards in [1, 2, 4, 8] {
        let measure = |siblings| {
            let hosts = NODES / usize::from(shards);
            Large::start(Shape { hosts, shards, timeout_ms: 15_000, siblings, disguises: false }).listen(10)
        };
        let (shared, alone) = (measure(true), measure(false));
        let kilo = |quiet: Quiet| quiet.bytes / 1000.0;
        println!(
            "| {shards} | {:.1} | {:.1} | {:.1} | {:.1} |",
            shared.messages,
            kilo(shared),
            alone.messages,
            kilo(alone)
        );
    }
    ExitCode::SUCCESS
}
