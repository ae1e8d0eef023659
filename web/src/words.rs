//! Times, speeds and lists as a person says them. Never an id or an enum name.

use std::time::Duration;

use quorate_core::event::OperationKind;
use quorate_core::sim::player::Speed;
use quorate_core::time::Time;

/// A moment, to the millisecond: `2.428 s`.
#[must_use]
pub fn moment(at: Time) -> String {
    let ms = at.as_ms();
    format!("{}.{:03} s", ms / 1_000, ms % 1_000)
}

/// A moment for the transport: to the tenth of a millisecond, so that slow motion is seen to move.
#[must_use]
pub fn fine_moment(at: Time) -> String {
    let tenths = at.0 / 100_000;
    format!("{}.{:04} s", tenths / 10_000, tenths % 10_000)
}

/// A moment to the nanosecond, for whoever asks: events may lie closer together than the shorter form can tell.
#[must_use]
pub fn exact_moment(at: Time) -> String {
    format!("{}.{:09} s", at.0 / 1_000_000_000, at.0 % 1_000_000_000)
}

/// A span: `12.4 ms`, `340 ms`, `2.5 s`, `3 min 20 s`.
#[must_use]
pub fn span(span: Duration) -> String {
    let us = span.as_micros();
    if us < 100_000 {
        format!("{}.{} ms", us / 1_000, us / 100 % 10)
    } else if us < 1_000_000 {
        format!("{} ms", us / 1_000)
    } else if us < 120_000_000 {
        format!("{}.{} s", us / 1_000_000, us / 100_000 % 10)
    } else {
        format!("{} min {} s", us / 60_000_000, us / 1_000_000 % 60)
    }
}

/// A speed as a ratio.
#[must_use]
pub const fn ratio(speed: Speed) -> &'static str {
    match speed {
        Speed::Thousandth => "1/1000",
        Speed::Hundredth => "1/100",
        Speed::Tenth => "1/10",
        Speed::Real => "1×",
        Speed::Ten => "10×",
        Speed::Hundred => "100×",
    }
}

/// A speed as a sentence.
#[must_use]
pub const fn pace(speed: Speed) -> &'static str {
    match speed {
        Speed::Thousandth => "1 s of screen = 1 ms of cluster",
        Speed::Hundredth => "1 s of screen = 10 ms of cluster",
        Speed::Tenth => "1 s of screen = 100 ms of cluster",
        Speed::Real => "1 s of screen = 1 s of cluster",
        Speed::Ten => "1 s of screen = 10 s of cluster",
        Speed::Hundred => "1 s of screen = 100 s of cluster",
    }
}

/// Names in a row: `A`, `A and B`, `A, B and C`.
#[must_use]
pub fn list<T: std::fmt::Display>(names: &[T]) -> String {
    match names {
        [] => "nobody".into(),
        [one] => one.to_string(),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(ToString::to_string).collect();
            format!("{} and {last}", first.join(", "))
        }
    }
}

/// A count with its noun: `1 node`, `5 nodes`.
#[must_use]
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A text of at most `letters` letters.
#[must_use]
pub fn short(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.into();
    }
    let kept: String = text.chars().take(letters.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// An operation as a verb.
#[must_use]
pub const fn verb(operation: OperationKind) -> &'static str {
    match operation {
        OperationKind::Get => "get",
        OperationKind::Put => "put",
        OperationKind::Delete => "delete",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_with_the_unit_that_fits() {
        for (us, said) in [
            (0, "0.0 ms"),
            (12_430, "12.4 ms"),
            (99_999, "99.9 ms"),
            (340_000, "340 ms"),
            (2_540_000, "2.5 s"),
            (200_000_000, "3 min 20 s"),
        ] {
            assert_eq!(span(Duration::from_micros(us)), said);
        }
        assert_eq!(moment(Time(2_428_900_000)), "2.428 s");
        assert_eq!(fine_moment(Time(2_428_950_000)), "2.4289 s");
        assert_eq!(exact_moment(Time(2_428_950_001)), "2.428950001 s");
    }

    #[test]
    fn the_pace_in_words_is_the_pace_of_the_player() {
        for speed in Speed::ALL {
            let in_cluster = speed.cluster_time(Duration::from_secs(1));
            let said = if in_cluster.as_millis() < 1_000 {
                format!("1 s of screen = {} ms of cluster", in_cluster.as_millis())
            } else {
                format!("1 s of screen = {} s of cluster", in_cluster.as_secs())
            };
            assert_eq!(pace(speed), said);
        }
    }

    #[test]
    fn lists_and_counts_read_as_sentences() {
        for (names, said) in
            [(vec![], "nobody"), (vec!["A"], "A"), (vec!["A", "B"], "A and B"), (vec!["A", "B", "C"], "A, B and C")]
        {
            assert_eq!(list(&names), said);
        }
        assert_eq!((count(1, "node"), count(0, "node")), ("1 node".into(), "0 nodes".into()));
        assert_eq!((short("äöü", 3), short("milk, eggs", 5)), ("äöü".into(), "milk…".into()));
    }
}
