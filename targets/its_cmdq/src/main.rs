//! `its_cmdq`: batches of commands, CWRITER, CBASER, slow and stalling hardware, tampering.
//!
//! It asks that nothing unjudged reaches the ITS and that the queue never wedges. Built with `--cfg fuzzing` it is a
//! libFuzzer target; without, a program that replays the files that it is given.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod engine {
    use its_runner::campaign;

    libfuzzer_sys::fuzz_target!(
        init: campaign::start(),
        |bytes: &[u8]| campaign::case(bytes)
    );

    libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
        // One in eight is left to libFuzzer's own byte mutations.
        if seed % 8 == 0 {
            libfuzzer_sys::fuzzer_mutate(data, size, max_size)
        } else {
            campaign::mutate(data, size, max_size, seed)
        }
    });

    libfuzzer_sys::fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
        campaign::cross_over(one, other, out, seed)
    });
}

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    its_runner::replay::main()
}
