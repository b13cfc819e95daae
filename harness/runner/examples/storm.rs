use arbitrary::Unstructured;
use its_runner::{Runner, Verdict};
use its_scenario::{Scenario, Temper};
use std::collections::BTreeMap;
fn main() {
    std::panic::set_hook(Box::new(|info| {
        if !its_board::subject_is_running() {
            eprintln!("{info}");
        }
    }));
    let n: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let from: u64 = std::env::args().nth(2).map_or(0, |t| t.parse().unwrap());
    let mut runner = Runner::production();
    runner.check_account = std::env::args().nth(3).is_some();
    let mut seen: BTreeMap<String, (u64, String, u64)> = BTreeMap::new();
    let mut verdicts: BTreeMap<String, u64> = BTreeMap::new();
    let mut counts = its_runner::Counts::default();
    for seed in from..from + n {
        let mut x = seed.wrapping_mul(0x9e3779b97f4a7c15) | 1;
        let bytes: Vec<u8> = (0..4096)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                (x >> 32) as u8
            })
            .collect();
        let scenario = Scenario::generate(
            &mut Unstructured::new(&bytes),
            if seed % 2 == 0 {
                Temper::Legal
            } else {
                Temper::Hostile
            },
        );
        let case = runner.play(&scenario, None);
        counts.add(&case.counts);
        if let Ok(d) = std::env::var("DUMP") {
            if case.verdict == Verdict::Agree
                && case.counts.operations >= 25
                && case.counts.judged >= 10
            {
                std::fs::write(format!("{d}/case-{seed:03}.its"), scenario.to_string()).unwrap();
            }
        }
        let v = match case.verdict {
            Verdict::Poisoned(w) => format!("{} poisoned {w}", seed % 2),
            v => format!("{} {v:?}", seed % 2),
        };
        *verdicts.entry(v).or_default() += 1;
        let mut keys: Vec<(String, String)> = case
            .findings
            .iter()
            .map(|f| {
                (
                    f.signature.clone(),
                    format!(
                        "op {}: {} expected {} seen {}",
                        f.operation, f.path, f.expected, f.seen
                    ),
                )
            })
            .collect();
        keys.extend(case.defects.iter().map(|d| {
            (
                "DEFECT ".to_string()
                    + &d.chars()
                        .map(|c| if c.is_ascii_digit() { '#' } else { c })
                        .collect::<String>()
                        .chars()
                        .take(60)
                        .collect::<String>(),
                d.clone(),
            )
        }));
        for (k, t) in keys {
            let e = seen.entry(k).or_insert((0, t, seed));
            e.0 += 1;
            if e.0 == 1 {
                std::fs::write(format!("/tmp/storm/{seed}.its"), scenario.to_string()).unwrap();
            }
        }
    }
    println!("{counts:?}");
    for (v, n) in verdicts {
        println!("{n} {v}");
    }
    for (k, (n, t, s)) in seen {
        println!("{n} x {k}\n     first {s}: {t}");
    }
}
