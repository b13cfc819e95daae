//! The state of one guarded ITS (P3).

use its_gic::geometry::{Queue, Table};
use its_gic::register::TableType;
use its_gic::{Baser, Cbaser, Ctlr, Typer};

use crate::records::Records;

/// One `GITS_BASER<n>` and the table that it names.
#[derive(Clone, Copy)]
pub(crate) struct GuardedTable {
    /// The register as it was at set-up; there is a table only if this is Valid.
    pub(crate) recorded: Baser,
    /// Valid as the host last wrote it.
    pub(crate) valid: bool,
    /// Physical address of the host's copy of a level-1 table; nothing for a flat one.
    pub(crate) shadow: u64,
}

impl GuardedTable {
    /// The register as the host reads it.
    pub(crate) fn shown(self) -> Baser {
        self.recorded.with_valid(self.valid)
    }

    pub(crate) fn table(self) -> Table {
        Table::new(self.recorded)
    }
}

/// What a command is judged by: none of it changes its meaning after set-up.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) typer: Typer,
    /// By n of `GITS_BASER<n>`.
    pub(crate) tables: [GuardedTable; 8],
}

impl Facts {
    /// The table of this type, if there was one at set-up.
    pub(crate) fn table(&self, table_type: TableType) -> Option<GuardedTable> {
        self.tables
            .iter()
            .copied()
            .find(|table| table.recorded.valid() && table.recorded.table_type() == table_type)
    }
}

/// Whether the ITS runs, as EL2 knows it (P11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// EL2 last left Enabled at 1.
    Running,
    /// The host cleared Enabled; Quiescent was not seen yet.
    Stopping,
    /// Then Quiescent read 1, and CBASER, read after it, was as EL2 left it. It may lose power from
    /// now on.
    AtRest,
    /// It stopped in another way, and stays off until reboot.
    Lost,
}

#[derive(Clone)]
pub(crate) struct Guarded {
    pub(crate) facts: Facts,
    /// GITS_CTLR at set-up, without Enabled and Quiescent.
    pub(crate) ctlr: Ctlr,
    /// GITS_CBASER at set-up, Valid.
    pub(crate) cbaser: Cbaser,
    /// GITS_CBASER.Valid as the host last wrote it.
    pub(crate) cbaser_valid: bool,
    /// Physical address of the host's copy of the queue.
    pub(crate) host_queue: u64,
    pub(crate) records: Records,
    pub(crate) run: Run,
    /// W: the host's CWRITER, in bytes.
    pub(crate) written: u64,
    /// J: up to here EL2 judged and copied; the hardware's CWRITER.
    pub(crate) judged: u64,
    /// C: the hardware's CREADR at the last look.
    pub(crate) consumed: u64,
    /// How many MAPD V=1 there are from C to J: each holds a record (P7).
    pub(crate) mapds_in_flight: u32,
    /// The hardware stalled at C.
    pub(crate) stalled: bool,
    /// The command at J was refused.
    pub(crate) refused: bool,
}

impl Guarded {
    /// EL2's queue, which the hardware reads.
    pub(crate) fn queue(&self) -> Queue {
        Queue::new(self.cbaser)
    }

    /// Commands from C to J.
    pub(crate) fn in_flight(&self) -> u64 {
        self.queue().distance(self.consumed, self.judged)
    }
}
