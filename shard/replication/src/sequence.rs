//! One stream out of the pieces of several shards.
//!
//! *The idea.* Each shard numbers the pieces of its effects as they are taken from it. A piece may concern several
//! shards (what was done with all of them in hand): it has a number of each of them then. Pieces come over several
//! ways, so that a later one may come first; whatever comes is held until all before it, on each of its shards, has
//! been taken. So what one shard did keeps its order, and what several did together has its place in the order of each.
//!
//! It never comes to a standstill: numbers are given while the shards are in hand, so that of any two pieces that have
//! two shards in common the same one is first on both, and a piece waits only for pieces that were there before it.

use std::collections::{BTreeMap, VecDeque};

/// Brings pieces into the order in which they were taken from their shards.
#[derive(Debug)]
pub struct Sequence<T> {
    /// Number of the next piece of each shard; 0 where none has come.
    next: BTreeMap<u16, u64>,
    /// What has come and was not taken, in order of arrival.
    held: VecDeque<(Vec<(u16, u64)>, T)>,
}

impl<T> Default for Sequence<T> {
    fn default() -> Self {
        Self { next: BTreeMap::new(), held: VecDeque::new() }
    }
}

impl<T> Sequence<T> {
    /// A piece has come. `places` are its shards, each with the number that the piece has there.
    pub fn add(&mut self, places: Vec<(u16, u64)>, piece: T) {
        self.held.push_back((places, piece));
    }

    /// Takes the next piece whose turn it is on all its shards, if there is one; its numbers there.
    pub fn take(&mut self) -> Option<(Vec<(u16, u64)>, T)> {
        let next = |shard: u16| self.next.get(&shard).copied().unwrap_or(0);
        let is_due = |places: &[(u16, u64)]| places.iter().all(|&(shard, number)| number == next(shard));
        let due = self.held.iter().position(|(places, _)| is_due(places))?;
        let (places, piece) = self.held.remove(due)?;
        for &(shard, number) in &places {
            self.next.insert(shard, number + 1);
        }
        Some((places, piece))
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmesh_base::Rng;

    /// A number of pieces in a true order; each has its shards, with its numbers there.
    fn pieces(rng: &mut Rng, shards: u64, count: usize) -> Vec<Vec<(u16, u64)>> {
        let mut numbers = vec![0; shards as usize];
        (0..count)
            .map(|_| {
                let is_joint = rng.below(4) == 0;
                let alone = rng.below(shards);
                let concerns = (0..shards).filter(|&shard| if is_joint { rng.below(2) == 0 } else { shard == alone });
                concerns
                    .map(|shard| {
                        let number = &mut numbers[shard as usize];
                        *number += 1;
                        (shard as u16, *number - 1)
                    })
                    .collect()
            })
            .collect()
    }

    #[test]
    fn whatever_the_order_of_arrival_each_shard_has_its_order() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let shards = 1 + rng.below(5);
            let all = pieces(&mut rng, shards, 60);
            let mut arriving: Vec<usize> = (0..all.len()).collect();
            for place in (1..arriving.len()).rev() {
                // Not too far from where they belong, as mail is.
                let other = place - rng.below(8.min(place as u64 + 1)) as usize;
                arriving.swap(place, other);
            }
            let (mut sequence, mut taken) = (Sequence::default(), Vec::new());
            for piece in arriving {
                sequence.add(all[piece].clone(), piece);
                taken.extend(std::iter::from_fn(|| sequence.take()).map(|(_, piece)| piece));
            }
            assert!(sequence.is_empty() && taken.len() == all.len(), "seed {seed}: all are taken in the end");
            for shard in 0..shards as u16 {
                let of_shard = |piece: &&usize| all[**piece].iter().any(|&(of, _)| of == shard);
                let order: Vec<usize> = taken.iter().filter(of_shard).copied().collect();
                assert!(order.is_sorted(), "seed {seed}: shard {shard} did {order:?}");
            }
        }
    }

    #[test]
    fn a_joint_piece_waits_for_all_its_shards_and_what_follows_waits_behind_it() {
        let mut sequence = Sequence::default();
        sequence.add(vec![(0, 1), (1, 0)], "both");
        sequence.add(vec![(1, 1)], "later on 1");
        assert_eq!(sequence.take(), None);
        sequence.add(vec![(2, 0)], "elsewhere");
        assert_eq!(sequence.take(), Some((vec![(2, 0)], "elsewhere")));
        sequence.add(vec![(0, 0)], "first on 0");
        let rest: Vec<&str> = std::iter::from_fn(|| sequence.take()).map(|(_, piece)| piece).collect();
        assert_eq!(rest, ["first on 0", "both", "later on 1"]);
    }
}
