//! How far a fetch is: a bar on a terminal, a line for every tenth elsewhere.

use std::time::Duration;

use reinstate_api::Progress;

use crate::terminal::Console;
use crate::text::{bytes, span};

/// Of a size that is not known, a line for this much.
const STEP: u64 = 64 << 20;
const BAR: usize = 20;

/// What was said already.
#[derive(Default)]
pub struct Shown {
    resumed: bool,
    /// Tenths, or steps where the size is not known.
    step: u64,
    done: bool,
}

impl Shown {
    /// Shows progress; as a bar only where nothing is being typed on that line.
    pub fn show(&mut self, console: &mut Console, progress: &Progress) {
        if progress.resumed > 0 && !self.resumed {
            self.resumed = true;
            console.line(format!(
                "Going on where an earlier fetch stopped: {} are here.",
                bytes(progress.resumed)
            ));
        }
        if self.done {
            return;
        }
        if progress.total > 0 && progress.bytes >= progress.total {
            self.done = true;
            console.line(format!("Received {}.", bytes(progress.bytes)));
            return;
        }
        if let Some(columns) = console.columns() {
            console.bar(&bar(progress, columns.min(80) - 1));
            return;
        }
        let step = match progress.total {
            0 => progress.bytes / STEP,
            total => tenths(progress.bytes, total),
        };
        if step > self.step {
            self.step = step;
            console.line(format!("Receiving: {}", figures(progress)));
        }
    }
}

fn tenths(bytes: u64, total: u64) -> u64 {
    (u128::from(bytes) * 10 / u128::from(total)) as u64
}

fn figures(progress: &Progress) -> String {
    let mut text = match progress.total {
        0 => bytes(progress.bytes),
        total => {
            let percent = u128::from(progress.bytes) * 100 / u128::from(total);
            format!("{percent:>3}%, {} of {}", bytes(progress.bytes), bytes(total))
        }
    };
    if progress.rate > 0 {
        text += &format!(", {}/s", bytes(progress.rate));
        if progress.total > 0 {
            let left = progress.total.saturating_sub(progress.bytes) / progress.rate;
            text += &format!(", {} left", span(Duration::from_secs(left)));
        }
    }
    text
}

/// `[=====     ]  25%, …`, in at most `columns`.
fn bar(progress: &Progress, columns: usize) -> String {
    let figures = figures(progress);
    let full = match progress.total {
        0 => 0,
        total => (u128::from(progress.bytes) * BAR as u128 / u128::from(total)) as usize,
    };
    let text = format!("[{:<BAR$}] {figures}", "=".repeat(full.min(BAR)));
    if text.chars().count() <= columns {
        return text;
    }
    figures.trim_start().chars().take(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::tests::console;

    fn at(bytes: u64, total: u64, rate: u64) -> Progress {
        Progress { bytes, total, resumed: 0, rate }
    }

    #[test]
    fn a_bar_fits_its_terminal_whatever_the_numbers() {
        let progress = at(1 << 30, 4 << 30, 32 << 20);
        assert_eq!(
            bar(&progress, 79),
            "[=====               ]  25%, 1.0 GiB of 4.0 GiB, 32.0 MiB/s, 01:36 left"
        );
        for progress in [progress, at(u64::MAX, 1, 1), at(1, u64::MAX, 1), at(0, 0, 0), at(5, 0, u64::MAX)] {
            for columns in [0, 1, 10, 40, 79] {
                assert!(bar(&progress, columns).chars().count() <= columns);
            }
        }
    }

    #[test]
    fn without_a_terminal_every_tenth_is_a_line() {
        let (mut console, paper) = console(b"");
        let mut shown = Shown::default();
        for bytes in [0, 5, 10, 12, 35, 100, 100] {
            shown.show(&mut console, &at(bytes << 20, 100 << 20, 0));
        }
        assert_eq!(
            paper.text(),
            "Receiving:  10%, 10.0 MiB of 100.0 MiB\nReceiving:  35%, 35.0 MiB of 100.0 MiB\nReceived 100.0 MiB.\n"
        );
    }

    #[test]
    fn a_fetch_that_goes_on_says_so_once() {
        let (mut console, paper) = console(b"");
        let mut shown = Shown::default();
        let progress = Progress { resumed: 1 << 20, ..at(1 << 20, 100 << 20, 0) };
        shown.show(&mut console, &progress);
        shown.show(&mut console, &progress);
        assert_eq!(paper.text(), "Going on where an earlier fetch stopped: 1.0 MiB are here.\n");
    }
}
