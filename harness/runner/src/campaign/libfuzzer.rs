//! libFuzzer: it owns `main` and calls us for each input, and to change one.

use its_scenario::Scenario;

use super::with;

/// libFuzzer's entry points. Its crate must be a dependency of the target: its macros say so.
#[macro_export]
macro_rules! libfuzzer_target {
    ($target:expr, $make:expr) => {
        libfuzzer_sys::fuzz_target!(
            init: $crate::campaign::start($target, $make),
            |bytes: &[u8]| $crate::campaign::case(bytes)
        );

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            // One in eight is left to libFuzzer's own byte mutations.
            if seed % 8 == 0 {
                libfuzzer_sys::fuzzer_mutate(data, size, max_size)
            } else {
                $crate::campaign::mutate(data, size, max_size, seed)
            }
        });

        libfuzzer_sys::fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
            $crate::campaign::cross_over(one, other, out, seed)
        });
    };
}

/// Mutates the input of `size` bytes in `data`, which has room for more. Returns the new size.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut scenario = Scenario::decode(data.get(..size).unwrap_or(&[]));
    let target = with(|campaign| campaign.target);
    its_generate::mutate(&mut scenario, target, seed.into());
    scenario.shorten_to(max_size);
    put(&scenario, data)
}

pub fn cross_over(one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    let one = Scenario::decode(one);
    let target = with(|campaign| campaign.target);
    let other = Scenario::decode(other);
    let mut scenario = its_generate::crossover(&one, &other, target, seed.into());
    scenario.shorten_to(out.len());
    put(&scenario, out)
}

fn put(scenario: &Scenario, out: &mut [u8]) -> usize {
    let bytes = scenario.encode();
    let size = bytes.len().min(out.len());
    out[..size].copy_from_slice(&bytes[..size]);
    size
}
