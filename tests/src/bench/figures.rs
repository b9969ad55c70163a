//! Figures: alternating runs, their medians and ratios, and the limits that they are held against.

/// Neighbours: one run of each side, in seconds.
pub struct Run {
    pub a: f64,
    /// The part of `a` that made it durable.
    pub syncing: f64,
    pub b: f64,
}

#[derive(Default)]
pub struct Comparison(Vec<Run>);

impl Comparison {
    pub fn push(&mut self, a: f64, syncing: f64, b: f64) {
        self.0.push(Run { a, syncing, b });
    }

    /// The median of the ratios of neighbours.
    pub fn ratio(&self, a: impl Fn(&Run) -> f64) -> f64 {
        median(self.0.iter().map(|run| a(run) / run.b).collect())
    }

    pub fn print(&self, what: &str, a: impl Fn(&Run) -> f64) {
        let line = |name: &str, values: Vec<f64>| {
            let raw: Vec<_> = values.iter().map(|value| format!("{value:.2}")).collect();
            println!("  {name:<20} median {:6.2}   runs {}", median(values), raw.join(" "));
        };
        line(what, self.0.iter().map(&a).collect());
        line("B", self.0.iter().map(|run| run.b).collect());
        line("ratio", self.0.iter().map(|run| a(run) / run.b).collect());
    }
}

pub fn ordered(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// Of at least one value.
pub fn median(values: Vec<f64>) -> f64 {
    let values = ordered(&values);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

pub fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

#[derive(Clone, Copy)]
pub struct Limit {
    /// What it should be at most.
    pub aim: f64,
    /// Above this the benchmark fails.
    pub most: f64,
}

impl Limit {
    pub fn most(most: f64) -> Self {
        Self { aim: most, most }
    }
}

/// What was measured, beside its limits.
#[derive(Default)]
pub struct Verdict(Vec<(&'static str, f64, Limit)>);

impl Verdict {
    pub fn take(&mut self, what: &'static str, value: f64, limit: Limit) {
        self.0.push((what, value, limit));
    }

    /// True where every limit is kept.
    pub fn print(&self) -> bool {
        println!();
        for (what, value, Limit { aim, most }) in &self.0 {
            let word = match () {
                () if value > most => "EXCEEDED",
                () if value > aim => "above the aim",
                () => "good",
            };
            println!("{what:<36} {value:6.2}   aim {aim:5.2}   limit {most:5.2}   {word}");
        }
        self.0.iter().all(|(_, value, limit)| value <= &limit.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_neighbours_not_of_sides() {
        let mut comparison = Comparison::default();
        // The machine was slow for both in the second pair.
        [(1.0, 2.0), (9.0, 10.0), (1.0, 4.0)].into_iter().for_each(|(a, b)| comparison.push(a, 0.5, b));
        assert_eq!(comparison.ratio(|run| run.a), 0.5);
        assert_eq!(comparison.ratio(|run| run.a - run.syncing), 0.25);
    }
}
