//! CLIENT PAUSE: until when which commands wait, and which ones those are.
//!
//! Mirrors Redis 7.2 `networking.c` (`pauseClientsByClient`, `pauseActions`).

use slotmesh_base::UnixMillis;

/// Which commands wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PauseScope {
    /// Those that may write.
    Writes,
    /// All.
    All,
}

/// A pause, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pause {
    scope: Option<PauseScope>,
    end: UnixMillis,
}

impl Pause {
    /// Begins or prolongs a pause. A pause that is under way ends no earlier for it, and stays one of all commands.
    pub fn begin(&mut self, now: UnixMillis, end: UnixMillis, scope: PauseScope) {
        let current = self.at(now);
        self.end = if current.is_some() { self.end.max(end) } else { end };
        self.scope = if current == Some(PauseScope::All) { current } else { Some(scope) };
    }

    /// Ends the pause.
    pub fn end(&mut self) {
        *self = Self::default();
    }

    /// What waits at that time, if anything.
    pub fn at(&self, now: UnixMillis) -> Option<PauseScope> {
        self.scope.filter(|_| now < self.end)
    }

    /// When the pause that is under way ends.
    pub fn ends_at(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.at(now).map(|_| self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_grows_and_never_shrinks() {
        let at = UnixMillis;
        let mut pause = Pause::default();
        assert_eq!(pause.at(at(0)), None);
        pause.begin(at(10), at(100), PauseScope::Writes);
        assert_eq!((pause.at(at(99)), pause.at(at(100))), (Some(PauseScope::Writes), None));
        pause.begin(at(20), at(50), PauseScope::All);
        assert_eq!((pause.at(at(99)), pause.ends_at(at(20))), (Some(PauseScope::All), Some(at(100))));
        pause.begin(at(30), at(200), PauseScope::Writes);
        assert_eq!(pause.at(at(199)), Some(PauseScope::All));
        pause.begin(at(300), at(400), PauseScope::Writes);
        assert_eq!(pause.at(at(350)), Some(PauseScope::Writes), "the one before was over");
        pause.end();
        assert_eq!(pause.at(at(350)), None);
    }
}
