//! How long to wait between attempts that are in vain: the manager's, and those of locks.

use std::time::Duration;

use uuid::Uuid;

/// After the first attempt; doubled after each one.
const FIRST: Duration = Duration::from_secs(5);

const LONGEST: Duration = Duration::from_secs(600);

/// The attempts in vain so far. A quarter of each pause is drawn, so that a site whose power came back
/// does not ask its servers all at once.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    attempts: u64,
}

impl Backoff {
    pub fn attempts(&self) -> u64 {
        self.attempts
    }

    /// After one more attempt: 5 s at first, doubled up to 10 min.
    pub fn pause(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.attempts.min(10)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        drawn(whole)
    }

    /// After one more attempt, where asking soon would get the same answer: 10 min at once.
    pub fn long_pause(&mut self) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        drawn(LONGEST)
    }
}

fn drawn(whole: Duration) -> Duration {
    let drawn = f64::from(Uuid::new_v4().as_bytes()[0]) / f64::from(u8::MAX);
    whole.mul_f64(1.0 - drawn / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_from_seconds_to_ten_minutes_and_stays_there() {
        for (attempts, most) in [(0, 5), (1, 10), (3, 40), (7, 600), (63, 600), (u64::MAX, 600)] {
            let mut backoff = Backoff { attempts };
            let (most, pause) = (Duration::from_secs(most), backoff.pause());
            assert!(pause <= most && pause >= most.mul_f64(0.749), "{attempts}: {pause:?}");
            assert_eq!(backoff.attempts(), attempts.saturating_add(1));
        }
        let mut backoff = Backoff::default();
        assert!(backoff.long_pause() >= LONGEST.mul_f64(0.749));
        assert_eq!(backoff.attempts(), 1);
    }
}
