//! Scenarios: what is done to a board, as values, as text and as bytes.
//!
//! A [`Scenario`] is the [`Character`](its_el2::Character) of each ITS of a board, a [`Boot`] plan
//! and a list of [`Operation`]s. One run of one scenario is a case, and everything that decides its
//! outcome is in the scenario.
//!
//! - **Text** ([`Scenario::parse`], `Display`) is what engineers read and write, and what is
//!   stored.
//! - **Bytes** ([`Scenario::decode`], [`Scenario::encode`]) are what fuzzing engines mutate. Any
//!   bytes are a scenario.
//! - **Generation** ([`Scenario::generate`], also as `Arbitrary`) draws mostly legal scenarios with
//!   one or two mistakes.
//! - **Mutation** ([`mutate`], [`crossover`]) changes one by a seed.
//! - **Simplification** ([`Scenario::without`], [`Scenario::plainer`]) takes single steps towards
//!   nothing.
//! - The **fix-up** ([`Scenario::fix_up`]) makes any of them playable. All of the above leave a
//!   fixed-up scenario, and both forms keep one without loss. What is generated and mutated is also
//!   fit for a [`FuzzTarget`] ([`Scenario::fit`]).
//!
//! The runner plays scenarios; engines and the command line read, draw and mutate them. This crate
//! knows what can be written down and nothing of what it does: no board, no emulator, no model.
//! Addresses are symbolic ([`Place`]); the areas' lengths here are those of the board.
//!
//! # The operations
//!
//! Each ends in `cpu=1` if CPU 1 does it. N is a number, PLACE an address such as `itt[3]+0x200`.
//!
//! | line | what it does |
//! | --- | --- |
//! | `read its0 CREADR.high` · `read its0 +0x1234 size=2` | the host reads a device register |
//! | `write its0 CWRITER 0x40` · `write redistributor1 +0x20000 size=4 N` | the host writes one |
//! | `load PLACE` · `store PLACE value=N` | the host loads or stores 8 bytes |
//! | `store-address PLACE of=PLACE [physical]` | the host stores the address of a place, that of the linear map or the physical one |
//! | `configure intid=N value=N` | the host writes an LPI's configuration byte, and nothing else |
//! | `command MAPD device=N size=N itt=PLACE valid` | writes a command into the next slot of the host's queue; not posted |
//! | `raw-command N N N N` | the same with any four words |
//! | `flip-slot word=N flip=N` | a word of the slot written last changes: its value, XOR `flip` |
//! | `rewind N` | the host's write pointer goes back so many slots |
//! | `post [retry] [double]` | GITS_CWRITER := the host's write pointer, in 32 bits or `double` |
//! | `poll N` | reads GITS_CREADR so often |
//! | `write-cbaser [flip=N]` · `write-baser N [flip=N]` | the value at boot, XOR `flip` |
//! | `write-half N [high] [flip=N]` | 32 bits of BASER N, or of CBASER if N is 8: the value at boot, XOR `flip` |
//! | `enable` · `disable` · `quiesce` | GITS_CTLR.Enabled; wait for Quiescent |
//! | `share PLACE` · `unshare PLACE` · `donate-guest PLACE` · `reclaim-guest PLACE` | page ownership by hypercall |
//! | `finalize` | this CPU is deprivileged |
//! | `set-up private=PLACE descriptor=PLACE private-pages=N [device-flip=N]` | `__pkvm_init_its_emulation` of the ITS that the host is at |
//! | `raw-hypercall x0=N [x1=N] [x2=N] [x3=N] [x4=N]` | any hypercall |
//! | `map-device device=N event-id-bits=N itt=PLACE` | the driver maps a device and posts |
//! | `map-devices device=N count=N stride=N event-id-bits=N itt=PLACE` | the driver maps many devices and posts now and then |
//! | `map-event device=N event=N intid=N icid=N` | the driver maps an event and posts |
//! | `unmap-device device=N` | the driver unmaps a device and posts |
//! | `unmask device=N event=N [direct]` · `mask device=N event=N [direct]` | the driver enables or disables an event's LPI, and posts INV or uses GICR_INVLPIR |
//! | `move-event device=N event=N to=N` | the driver moves an event to a CPU and posts |
//! | `unmap-event device=N event=N` | the driver unmaps an event and posts |
//! | `probe` · `init-cpu` | the driver programs and enables the ITS; starts this CPU's redistributor and its collection |
//! | `grow device=N level2=PLACE [flip=N]` | the host's level-1 entry that covers a device |
//! | `grow-collection icid=N level2=PLACE [flip=N]` | the host's level-1 entry that covers a collection |
//! | `describe` | the driver makes ready for EL2: descriptor, list of live devices, copies of its tables |
//! | `suspend` · `resume` | the driver's orderly sequences |
//! | `msi device=N event=N [half]` | a device raises an event, by a write of 32 bits or 16 |
//! | `acknowledge` | the CPU takes the interrupt that it is offered |
//! | `its N` | the host turns to this ITS: the lines after it are for it, where they name none |
//! | `power-loss [restored]` | the ITS loses power and gets it back; firmware may restore its registers |
//! | `race N [turns=N,N+…] [turns2=…]` | the next N operations are done at once: by CPU 0, CPU 1 and the world; a turn is so many steps of one agent, or `u` and so many locks given back; `+` skips one |
//! | `advance N` | the physical ITS gets time for so many commands |
//! | `fail CHANGE nth=N` | the nth such ownership change from now fails |
//! | `tamper PLACE after=N value=N` | after so many reads of shared memory by EL2 in the next operation, the host changes a word |
//!
//! `character` (of the first ITS), `character1` (of the second) and `boot` lines before them name
//! what differs from [`DEFAULT_CHARACTER`] and [`Boot::default`]:
//!
//! ```
//! let text = "\
//! itsdiff 1
//! character page-size=4K pace=late
//! boot live-devices=1 queue-pages=1
//! command MAPD device=0x2a size=0x4 itt=itt[3]+0x200 valid
//! post
//! poll 4
//! ";
//! let scenario = its_scenario::Scenario::parse(text)?;
//! assert_eq!(scenario.operations[1].name(), "post");
//! assert_eq!(scenario.to_string(), text);
//! assert_eq!(its_scenario::Scenario::decode(&scenario.encode()), scenario);
//! # Ok::<(), its_scenario::ParseError>(())
//! ```
//!
//! # How it is made
//!
//! One table (`kind`) gives each kind of operation its number, its name and the shapes of its
//! arguments; one pair of functions (`record`) turns operations into numbers and back. Text, bytes,
//! fix-up and mutation all work on those, so a new kind is one line in the table and two arms.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod argument;
mod binary;
mod dictionary;
mod fewer;
mod fixup;
mod fuzz_target;
mod generate;
mod header;
mod kind;
mod mutate;
mod operation;
mod place;
mod record;
mod rename;
mod scenario;
mod simplify;
mod target;
mod text;
mod turns;

pub use binary::{BINARY_VERSION, HEADER_BYTES, MAX_BYTES, RECORD_BYTES};
pub use dictionary::{Word, dictionary};
pub use fuzz_target::FuzzTarget;
pub use generate::Temper;
pub use header::DEFAULT_CHARACTER;
pub use mutate::{crossover, mutate};
pub use operation::{CPUS, HostCommand, Operation, Rdbase, Width};
pub use place::{Area, Place};
pub use scenario::{Boot, LiveDevice, MAX_OPERATIONS, Scenario, Stage};
pub use text::{MAX_TEXT_BYTES, ParseError, TEXT_VERSION};
