//! What the next operation is: read or write, and of which key. Knows nothing of connections.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};

/// From what the operations are drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    keys: u64,
    zipfian: Option<Zipf<f64>>,
    read_share: f64,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) key: u64,
    pub(super) is_read: bool,
}

impl Mix {
    /// `zipfian` is an exponent above 0, `read_share` from 0 to 1, both checked before.
    pub(super) fn new(keys: u64, zipfian: Option<f64>, read_share: f64) -> Self {
        // There are far fewer keys than 2^53.
        let zipfian = zipfian.map(|exponent| Zipf::new(keys as f64, exponent).expect("an exponent above 0, and keys"));
        Self { keys, zipfian, read_share }
    }

    pub(super) const fn keys(&self) -> u64 {
        self.keys
    }

    /// The next operation of this stream.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> Choice {
        let key = match &self.zipfian {
            // A rank is a whole number from 1 to the number of keys.
            Some(zipfian) => (zipfian.sample(rng) as u64 - 1).min(self.keys - 1),
            None => (part(rng) * self.keys as f64) as u64,
        };
        Choice { key, is_read: part(rng) < self.read_share }
    }
}

/// A stream of its own for each connection.
pub(super) fn stream(number: u32) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(number.into())
}

/// From 0 to just below 1, in steps of 2^-53.
fn part(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 20_000;

    fn draw(mix: &Mix) -> Vec<Choice> {
        let mut rng = stream(7);
        (0..DRAWS).map(|_| mix.draw(&mut rng)).collect()
    }

    fn share(choices: &[Choice], is_counted: impl Fn(&Choice) -> bool) -> f64 {
        choices.iter().filter(|choice| is_counted(choice)).count() as f64 / DRAWS as f64
    }

    #[test]
    fn all_keys_are_alike_and_reads_have_their_share() {
        let choices = draw(&Mix::new(10, None, 0.8));
        for key in 0..10 {
            let share = share(&choices, |choice| choice.key == key);
            assert!((share - 0.1).abs() < 0.01, "{key}: {share}");
        }
        let reads = share(&choices, |choice| choice.is_read);
        assert!((reads - 0.8).abs() < 0.01, "{reads}");
        assert!(draw(&Mix::new(1, None, 0.0)).iter().all(|choice| !choice.is_read && choice.key == 0));
        assert!(draw(&Mix::new(1, None, 1.0)).iter().all(|choice| choice.is_read));
    }

    #[test]
    fn by_zipfs_law_a_key_is_drawn_by_its_rank() {
        let choices = draw(&Mix::new(1_000, Some(1.0), 0.5));
        assert!(choices.iter().all(|choice| choice.key < 1_000));
        // One over the harmonic number of 1,000 for the first one, a tenth of that for the tenth.
        let first = share(&choices, |choice| choice.key == 0);
        assert!((first - 0.1336).abs() < 0.01, "{first}");
        let tenth = share(&choices, |choice| choice.key == 9);
        assert!((tenth - 0.0134).abs() < 0.004, "{tenth}");
    }
}
