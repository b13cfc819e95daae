//! Measures cases a second, and what a case costs where: `cargo run --release -p its-qemu --example
//! throughput`.

#[path = "../tests/support/mod.rs"]
#[allow(dead_code)]
mod support;

use std::time::Instant;

use its_device::{Device, Step};
use its_qemu::Qemu;
use support::{Draft, ITT, int, machine, mapc, mapd, mapti};

/// How long each is measured.
const SECONDS: f64 = 2.0;

/// A driver's case: set-up, then commands one by one.
fn case(id_bits: u64, commands: usize) -> Draft {
    let mut draft = Draft::new(id_bits);
    draft.send(mapc(0, 0));
    draft.send(mapc(1, 1));
    for device_id in 0..4 {
        draft.send(mapd(device_id, ITT + u64::from(device_id) * 0x1000));
    }
    let mut ids = (0..4_u32).flat_map(|device| (0..8).map(move |event| (device, event)));
    while draft.steps.len() < commands {
        let Some((device, event)) = ids.next() else {
            break;
        };
        let intid = 8192 + device * 8 + event;
        draft.send(mapti(device, event, intid, (event & 1) as u16));
        draft.send(int(device, event));
    }
    draft
}

fn measure(name: &str, qemu: &mut Qemu, steps: &[Step]) {
    let start = Instant::now();
    let mut cases = 0;
    while start.elapsed().as_secs_f64() < SECONDS {
        qemu.play(steps).expect("QEMU plays");
        cases += 1;
    }
    let each = start.elapsed().as_secs_f64() / f64::from(cases);
    println!("{name:40} {:4} steps {:7.1} us {:7.0} cases/s", steps.len(), each * 1e6, 1.0 / each);
}

fn main() {
    let installed = its_qemu::find().expect("QEMU is installed");
    println!("QEMU {}", installed.version);
    let start = Instant::now();
    let mut qemu = Qemu::start(&installed, machine()).expect("QEMU starts");
    println!("start: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    measure("reset alone", &mut qemu, &[]);
    measure("reset and a look", &mut qemu, &[Step::Look]);
    for id_bits in [13, 14, 15] {
        let draft = Draft::new(id_bits);
        measure(&format!("set-up, IDbits {id_bits}"), &mut qemu, &draft.steps);
    }
    for (id_bits, steps) in [(13, 50), (13, 75), (13, 100), (15, 75)] {
        let mut draft = case(id_bits, steps);
        measure(&format!("case without a look, IDbits {id_bits}"), &mut qemu, &draft.steps);
        draft.look();
        measure(&format!("case with a look, IDbits {id_bits}"), &mut qemu, &draft.steps);
    }
}
