use quorate_core::sim::*;
use std::time::Instant;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let from: u64 = a[1].parse().unwrap();
    let count: u64 = a[2].parse().unwrap();
    let mode = if a.get(3).is_some_and(|m| m == "liveness") { Mode::Liveness } else { Mode::Safety };
    let mut total = Tally::default();
    let begin = Instant::now();
    let mut sim = 0.0;
    let mut least = u64::MAX;
    for seed in from..from + count {
        let s = Schedule::swarm(seed, mode);
        let t = Instant::now();
        let v = match std::panic::catch_unwind(|| s.judge()) {
            Ok(v) => v,
            Err(_) => {
                println!("seed {seed} PANIC");
                continue;
            }
        };
        sim += v.simulated.as_secs_f64();
        least = least.min(
            v.tally
                .faults
                .iter()
                .filter(|(k, _)| {
                    !matches!(
                        k,
                        Fault::Loss | Fault::Duplication | Fault::Reordering | Fault::QueueFull | Fault::TornBatch
                    )
                })
                .map(|(_, c)| c)
                .sum(),
        );
        if count <= 3 {
            println!(
                "seed {seed}: {:?} {} things {:.3}s\n{:#?}",
                v.simulated,
                v.tally.things,
                t.elapsed().as_secs_f64(),
                v.tally
            );
        }
        if !v.violations.is_empty() {
            println!("seed {seed}: r {:?} {} violations", s.setting.replication, v.violations.len());
            for x in v.violations.iter().take(3) {
                println!("   {:?} at {} {}", x.invariant, x.at, x.detail.chars().take(300).collect::<String>());
            }
        }
        total.add(&v.tally);
    }
    let e = begin.elapsed().as_secs_f64();
    println!("{total:#?}");
    println!(
        "{count} seeds {e:.2}s {:.3} s/seed {:.0} things/s simulated {:.0}x least faults {least}",
        e / count as f64,
        total.things as f64 / e,
        sim / e
    );
}
