//! The rule catalogue: a row for each rule. `needs` says what must be seen of EL2; where it is
//! missing, [`Evidence::Calls`]. `class` is the class of its findings, where all have the same.

use crate::layer::Layer;
use crate::rule::{Evidence, Family, Rule, Severity};

macro_rules! rules {
    (@from) => { None };
    (@from $from:literal) => { Some($from) };
    (@class) => { "" };
    (@class $class:literal) => { $class };
    (@evidence) => { Evidence::Calls };
    (@evidence $evidence:ident) => { Evidence::$evidence };
    ($(
        $name:ident = $id:literal $(from $from:literal)?, $family:ident, $layer:ident, $severity:ident,
            $(needs $evidence:ident,)? $(class $class:literal,)? $source:literal,
        $holds:literal,
        $why:literal;
    )*) => {
        $(
            #[doc = $holds]
            pub static $name: Rule = Rule {
                id: $id,
                family: Family::$family,
                layer: Layer::$layer,
                severity: Severity::$severity,
                holds: $holds,
                why: $why,
                source: $source,
                evidence: rules!(@evidence $($evidence)?),
                class: rules!(@class $($class)?),
                split_from: rules!(@from $($from)?),
            };
        )*
        /// Every rule, by family.
        pub static ALL: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    DIV_REGISTER = "DIV-REGISTER", Div, Policy, Conformance, needs Accesses, class "value", "POLICY: registers when guarded",
        "A register that the host reads has the reference's value.",
        "The host's driver acts on it.";
    DIV_CREADR = "DIV-CREADR" from "DIV-REGISTER", Div, Policy, Conformance, needs Accesses, class "value", "POLICY: P9, P10",
        "CREADR shows the host how far the hardware was at the last look, and Stalled for a stall or a refused command.",
        "The driver reuses the slots before it, and waits for ever for the others.";
    DIV_ZERO = "DIV-ZERO" from "DIV-REGISTER", Div, Policy, Conformance, needs Accesses, class "value", "POLICY: registers when guarded, on sizes",
        "What has no value for the host reads zero: reserved registers, sizes that a register does not have, the translation frame.",
        "What else comes back is EL2's, or another register's.";
    DIV_HYPERCALL = "DIV-HYPERCALL", Div, Policy, Conformance, needs Accesses, class "result", "POLICY: P2; pKVM",
        "A hypercall other than set-up returns what the reference returns.",
        "A page that is given away while an ITS is not guarded yet is still in that ITS's reach.";
    DIV_SETUP = "DIV-SETUP" from "DIV-HYPERCALL", Div, Policy, Vulnerability, needs Accesses, class "result", "POLICY: S1 to S9",
        "A set-up succeeds exactly when every check of the reference holds.",
        "One that succeeds where it must fail guards nothing; the reverse leaves the host without its ITS.";
    DIV_ERRNO = "DIV-ERRNO" from "DIV-HYPERCALL", Div, Policy, Conformance, needs Accesses, class "result", "POLICY: S1 to S9",
        "A set-up that fails returns the errno of the first check that fails.",
        "It misleads the host, and shows that the checks are made in another order.";
    DIV_COMMAND = "DIV-COMMAND", Div, Policy, Vulnerability, needs Accesses, class "judged", "POLICY: P9, command table",
        "A command that the reference refuses does not reach the ITS.",
        "Nothing else stands between the host and the ITS's DMA.";
    DIV_REFUSED = "DIV-REFUSED" from "DIV-COMMAND", Div, Policy, Conformance, needs Accesses, class "judged", "POLICY: P9, command table",
        "A command that the reference accepts is not refused.",
        "The queue of a host that did nothing wrong stops.";
    DIV_BYTES = "DIV-BYTES" from "DIV-COMMAND", Div, Policy, Vulnerability, needs Accesses, class "bytes", "POLICY: P9, command table",
        "A command is forwarded as the bytes that were judged, in their canonical form.",
        "Others are bytes that nobody judged.";
    DIV_LOOK = "DIV-LOOK" from "DIV-COMMAND", Div, Policy, Conformance, needs Accesses, class "look", "POLICY: P9",
        "EL2 reads CREADR and then CTLR where the policy demands a look.",
        "Without it nothing is released, or a CREADR that a reset put back is taken for progress.";
    DIV_UNJUDGED = "DIV-UNJUDGED" from "DIV-COMMAND", Div, Policy, Conformance, needs Accesses, class "slot", "POLICY: P9, P10",
        "A look copies and judges every slot before the host's CWRITER that can be in flight, and Retry the stalled one.",
        "Commands that nobody judges never run.";
    DIV_BESIDE = "DIV-BESIDE" from "DIV-COMMAND", Div, Policy, Vulnerability, needs Accesses, class "slots", "POLICY: P9",
        "EL2 writes the slots of the commands that it forwards, once each, and no others.",
        "Other slots hold commands that the ITS has not run yet, or will run when CWRITER comes by.";
    DIV_REST = "DIV-REST" from "DIV-COMMAND", Div, Policy, Conformance, needs Accesses, class "rest", "POLICY: P11",
        "EL2 finds out that the ITS is at rest from CTLR and then CBASER when the host needs it to be.",
        "Quiescent alone also comes from a loss of power.";
    DIV_FORWARD = "DIV-FORWARD", Div, Policy, Vulnerability, needs Accesses, class "register", "POLICY: P2, P9, P10",
        "The hardware's CWRITER is written when the reference writes it, with its value.",
        "It decides which commands the ITS executes, and when.";
    DIV_CTLR = "DIV-CTLR" from "DIV-FORWARD", Div, Policy, Vulnerability, needs Accesses, class "register", "POLICY: P2, register table",
        "The hardware's CTLR is written when the reference writes it, with its value.",
        "An ITS that is enabled too early follows what nobody checked; one that is not stopped cannot be reset.";
    DIV_BASE = "DIV-BASE" from "DIV-FORWARD", Div, Policy, Vulnerability, needs Accesses, class "register", "POLICY: P2, P11, register table",
        "The hardware's CBASER and BASER are written when the reference writes them, with its values.",
        "They decide where the ITS reads and writes.";
    DIV_REDISTRIBUTOR = "DIV-REDISTRIBUTOR" from "DIV-FORWARD", Div, Policy, Vulnerability, needs Accesses, class "register", "POLICY: redistributors",
        "A redistributor's register is written when the reference writes it, with its value.",
        "EnableLPIs and the table registers decide which memory it reads and writes.";
    DIV_STRAY = "DIV-STRAY" from "DIV-FORWARD", Div, Policy, Conformance, needs Accesses, class "register", "POLICY: register table",
        "No register of an ITS but CTLR, CBASER, CWRITER and BASER is ever written.",
        "The rest is read-only, reserved, or not the emulation's business.";
    DIV_OWNERSHIP = "DIV-OWNERSHIP", Div, Policy, Vulnerability, needs Accesses, class "page", "POLICY: P4, P12, P14",
        "After each operation every page belongs to whom it belongs in the reference.",
        "A page that EL2 does not own is the host's to forge; one that it keeps never comes back.";
    DIV_PINS = "DIV-PINS" from "DIV-OWNERSHIP", Div, Policy, Vulnerability, needs Accesses, class "page", "POLICY: P5, P6, P12, P14",
        "After each operation every page is pinned as often as in the reference.",
        "A missing pin lets the host give an ITT away under the ITS; an extra one never comes back.";
    DIV_SHARED = "DIV-SHARED" from "DIV-OWNERSHIP", Div, Policy, Vulnerability, needs Accesses, class "page", "POLICY: P5, P12, P14",
        "After each operation every page of the host's is shared with EL2 as in the reference.",
        "What stays shared cannot be given to a guest; what the host shared itself is not EL2's to take back.";
    DIV_GROWTH = "DIV-GROWTH", Div, Policy, Vulnerability, needs Accesses, class "level2", "POLICY: P4, P8",
        "A level-1 entry of EL2 appears exactly when the reference grows the table, over a zeroed level-2 table.",
        "The ITS follows level-1 entries without asking.";
    DIV_ENTRY = "DIV-ENTRY" from "DIV-GROWTH", Div, Policy, Vulnerability, needs Accesses, class "entry", "POLICY: P8",
        "The level-1 entry that EL2 writes is the one that the host offered and that was checked.",
        "Another address is a level-2 table that nobody donated.";
    DIV_ACCESS = "DIV-ACCESS", Div, Policy, Vulnerability, needs Accesses, class "access", "POLICY: P1 to P5",
        "The host's loads and stores are refused exactly where a page is out of its reach.",
        "The ITS must not rely on what the host can store to.";
    DIV_TRANSLATION = "DIV-TRANSLATION", Div, Policy, Conformance, needs Accesses, "IHI 0069: command effects",
        "An event that is translated goes where the commands that the ITS consumed say, if anywhere.",
        "Interrupts that go astray, or old translations that outlive their commands.";
    DIV_LOST = "DIV-LOST" from "DIV-TRANSLATION", Div, Policy, Conformance, needs Accesses, "IHI 0069: command effects",
        "An event that the commands mapped is translated.",
        "The device's interrupts are gone.";
    DIV_INTERRUPT = "DIV-INTERRUPT", Div, Policy, Conformance, needs Accesses, "IHI 0069: LPIs",
        "The LPIs that are pending are the reference's.",
        "Lost and spurious interrupts.";
    DIV_PROGRESS = "DIV-PROGRESS", Div, Policy, Hardening, needs Accesses, "POLICY: P9, P10",
        "With healthy hardware, enough looks bring the queue to CWRITER or to a stall that the host can see.",
        "A wedged queue takes the machine's interrupts away.";
    LEAK_HOST = "LEAK-HOST", Leak, Safety, Vulnerability, "POLICY: P4",
        "The host cannot reach the queue that the ITS reads.",
        "Whoever writes it runs commands that nobody judged.";
    LEAK_TABLE = "LEAK-TABLE" from "LEAK-HOST", Leak, Safety, Vulnerability, "POLICY: P4",
        "The host cannot reach the flat and level-1 tables that the ITS uses.",
        "Whoever writes a device table entry or a level-1 entry aims the ITS's DMA.";
    LEAK_LEVEL2 = "LEAK-LEVEL2" from "LEAK-HOST", Leak, Safety, Vulnerability, "POLICY: P4, P8",
        "The host cannot reach the level-2 tables that level-1 entries name.",
        "A level-2 entry of the host's is an ITT that nobody borrowed.";
    LEAK_LOOSE = "LEAK-LOOSE", Leak, Safety, Vulnerability, "POLICY: P5, P6",
        "An ITT is shared and pinned, or EL2's, for as long as the ITS can reach it.",
        "Otherwise the host donates the page to a guest and the ITS writes into the guest's memory.";
    LEAK_LPI = "LEAK-LPI" from "LEAK-LOOSE", Leak, Safety, Vulnerability, "POLICY: P5, S9",
        "A redistributor's configuration and pending table are shared and pinned, or EL2's, for as long as LPIs are on.",
        "Otherwise the redistributor writes pending bits into a guest's memory.";
    LEAK_SHADOW = "LEAK-SHADOW" from "EL2-ACCESS", Leak, Safety, Vulnerability, "POLICY: P5, S9",
        "The host's copies of the queue and of level-1 tables are shared and pinned as long as their ITS is guarded.",
        "EL2 reads them at any time, and they must neither vanish nor become a guest's.";
    LEAK_RECORDS = "LEAK-RECORDS", Leak, Safety, Vulnerability, "POLICY: P4, P7",
        "The private pages and the descriptor are EL2's from a set-up that succeeds on.",
        "Whoever writes a record decides which pages EL2 lets go.";
    LEAK_FOREIGN = "LEAK-FOREIGN", Leak, Safety, Vulnerability, "POLICY: P4, P5",
        "The ITS cannot reach memory of a guest or memory that was EL2's from boot.",
        "It would read and write it.";
    LEAK_PRIVATE = "LEAK-PRIVATE", Leak, Safety, Vulnerability, "POLICY: P4, P7",
        "The ITS cannot reach EL2's records or the descriptor.",
        "It would overwrite what EL2 records of devices.";
    PTR_MEMORY = "PTR-MEMORY", Ptr, Safety, Vulnerability, "POLICY: P4, MAPD",
        "What the ITS follows lies in memory, all of it.",
        "Beyond it are devices and other hypervisor-owned address space.";
    PTR_ALIGN = "PTR-ALIGN", Ptr, Safety, Vulnerability, needs Partly, "POLICY: P8; IHI 0069: level-1 entries",
        "A level-1 entry that EL2 writes is Valid, an address at the ITS's page size, and nothing else.",
        "Hardware drops the low bits, and then reads another page than EL2 protected.";
    PTR_OVERLAP = "PTR-OVERLAP", Ptr, Safety, Vulnerability, "POLICY: P4",
        "Structures that the ITS follows share no page, but for those that stay the host's (ITTs, LPI tables).",
        "An ITT over a table lets a MAPTI forge a table entry.";
    PTR_CONTENTS = "PTR-CONTENTS", Ptr, Safety, Vulnerability, "POLICY: P4, P8",
        "A level-2 table is all zero when the ITS can first reach it.",
        "Old contents are device table entries that nobody judged.";
    PTR_KEPT = "PTR-KEPT", Ptr, Safety, Vulnerability, needs Accesses, "POLICY: P4",
        "EL2 stores queue slots and level-1 entries, and nothing else into what the ITS follows.",
        "Table entries and ITT entries are the ITS's own; another's store is an entry that nobody made.";
    PTR_DEVICE = "PTR-DEVICE" from "DIV-COMMAND", Ptr, Policy, Vulnerability, needs Partly, "POLICY: MAPD; IHI 0069: GITS_TYPER.Devbits, GITS_BASER<n>",
        "A MAPD that is forwarded names a DeviceID that the ITS has and its device table has an entry for.",
        "Beyond the table the ITS writes the entry into whatever lies there.";
    PTR_SIZE = "PTR-SIZE" from "DIV-COMMAND", Ptr, Policy, Vulnerability, needs Partly, "POLICY: P6, MAPD; IHI 0069: GITS_TYPER.ID_bits",
        "A MAPD with V=1 that is forwarded has a Size of at most ID_bits, and no more EventID bits than the subject declares.",
        "A larger ITT than EL2 bounds and borrows.";
    PTR_ITT = "PTR-ITT" from "PTR-MEMORY", Ptr, Safety, Vulnerability, needs Partly, "POLICY: MAPD",
        "A MAPD with V=1 that is forwarded has an ITT within one region of memory.",
        "The ITS will write device registers and other address space, as soon as it comes to that command.";
    PTR_COLLECTION = "PTR-COLLECTION" from "DIV-COMMAND", Ptr, Policy, Vulnerability, needs Partly, "POLICY: MAPC; IHI 0069: GITS_TYPER.CIDbits, HCC",
        "A MAPC that is forwarded names an ICID that the ITS has, and holds or has a table entry for.",
        "Beyond the table the ITS writes the entry into whatever lies there.";
    PTR_TARGET = "PTR-TARGET" from "DIV-COMMAND", Ptr, Policy, Vulnerability, needs Partly, "POLICY: MAPC, MOVALL, SYNC; IHI 0069: GITS_TYPER.PTA",
        "A MAPC with V=1, a MOVALL or a SYNC that is forwarded names redistributors that exist.",
        "The ITS sends writes to the address that it is given.";
    PTR_OPCODE = "PTR-OPCODE" from "DIV-COMMAND", Ptr, Safety, Vulnerability, needs Partly, "POLICY: command table; IHI 0069: ITS commands",
        "Only the twelve physical commands are forwarded.",
        "A vPE command names tables of its own; an unknown one does what nobody knows.";
    PTR_RESERVED = "PTR-RESERVED" from "DIV-COMMAND", Ptr, Policy, Vulnerability, needs Partly, "POLICY: command table",
        "A command is forwarded with reserved bits, and what means nothing at V=0, zero.",
        "A later ITS gives them a meaning that nobody judged.";
    PTR_QUEUE = "PTR-QUEUE" from "DIV-FORWARD", Ptr, Safety, Vulnerability, "POLICY: CTLR, CBASER",
        "While the ITS is enabled CBASER is as set-up found it, attributes apart.",
        "With another address or size it takes commands from where EL2 does not write them.";
    PTR_TABLES = "PTR-TABLES" from "DIV-FORWARD", Ptr, Safety, Vulnerability, "POLICY: CTLR, BASER<n>",
        "While the ITS is enabled every BASER is as set-up found it, attributes apart.",
        "With another address, size or shape it keeps its tables in memory that EL2 does not own.";
    PTR_ATTRIBUTES = "PTR-ATTRIBUTES" from "PTR-TABLES", Ptr, Policy, Conformance, "POLICY: CTLR, CBASER, BASER<n>",
        "While the ITS is enabled cacheability and shareability of queue and tables are as set-up found them.",
        "Other attributes may make the ITS read what was in memory before.";
    PTR_WRITER = "PTR-WRITER" from "DIV-FORWARD", Ptr, Safety, Vulnerability, "POLICY: P9, P11; IHI 0069: GITS_CWRITER",
        "The hardware's CWRITER is written with an offset within the queue.",
        "Beyond it the ITS may read on past the queue's end, or never stop.";
    PTR_COMMAND = "PTR-COMMAND" from "DIV-FORWARD", Ptr, Safety, Vulnerability, needs Accesses, "POLICY: P9; IHI 0069: GITS_CWRITER",
        "The ITS consumes no command that EL2 did not write to its slot since the slot was last consumed.",
        "An old command maps an ITT again whose pages went back to the host.";
    EL2_PANIC = "EL2-PANIC", El2, Safety, Hardening, "POLICY: P13",
        "EL2 does not panic.",
        "A panic at EL2 takes the machine down.";
    EL2_UNDEFINED = "EL2-UNDEFINED", El2, Safety, Hardening, "C11: undefined behaviour",
        "EL2 does nothing that C leaves undefined: it does not divide by zero.",
        "The compiler may make anything of it; arm64 goes on with a result that nobody meant.";
    EL2_WARN = "EL2-WARN", El2, Safety, Hardening, "POLICY: P13",
        "EL2 does not warn about what a host can do.",
        "A warning at EL2 is fatal.";
    EL2_ACCESS = "EL2-ACCESS", El2, Safety, Vulnerability, needs Partly, "POLICY: P4, P5",
        "EL2 touches only memory that it owns or has pinned.",
        "Elsewhere it faults, or reads and writes what others own.";
    EL2_DEVICE = "EL2-DEVICE", El2, Safety, Hardening, "POLICY: registers when guarded",
        "EL2 accesses a device register in its own size and alignment only.",
        "Other accesses are UNPREDICTABLE and may fault at EL2.";
    EL2_LOCK = "EL2-LOCK", El2, Safety, Hardening, "POLICY: P13",
        "No lock is held when EL2 returns.",
        "A kept lock hangs the next CPU that wants it.";
    EL2_DEADLOCK = "EL2-DEADLOCK" from "EL2-LOCK", El2, Safety, Hardening, "POLICY: P13",
        "A lock that EL2 takes comes free.",
        "This CPU waits for itself, or for one that waits for it.";
    EL2_UNLOCKED = "EL2-UNLOCKED" from "EL2-LOCK", El2, Safety, Vulnerability, needs Partly, "POLICY: P13",
        "EL2 uses what a lock protects, changes page ownership and releases a lock only while it holds that lock.",
        "Another CPU changes it in between.";
    EL2_HELD = "EL2-HELD", El2, Policy, Vulnerability, needs Partly, "POLICY: P13",
        "EL2 writes an ITS's registers, queue slots and level-1 tables only while it holds that ITS's lock.",
        "Two CPUs interleave, and the ITS reads commands that are not written yet.";
    EL2_SECTION = "EL2-SECTION", El2, Policy, Vulnerability, needs Accesses, "POLICY: P5",
        "The pages of one ITT change hands within one section under the memory lock.",
        "In between the host sees half of it taken, and can take a page back or give it away.";
    EL2_ORDER = "EL2-ORDER", El2, Safety, Hardening, "POLICY: P13",
        "Locks are taken in the order set-up, ITS, memory, and never two ITSs.",
        "Two CPUs in opposite order wait for each other for ever.";
    EL2_WORK = "EL2-WORK", El2, Safety, Hardening, needs Partly, "POLICY: P13",
        "One entry into EL2 makes a bounded number of service calls.",
        "EL2 is not preempted: unbounded work is a hang.";
    EL2_WAIT = "EL2-WAIT", El2, Safety, Hardening, "POLICY: P13",
        "EL2 waits at most 1,000 µs with a lock held; reading the same register again counts as 1 µs.",
        "All CPUs that want the lock wait as well, at EL2 with interrupts masked.";
    EL2_FRAME = "EL2-FRAME", El2, Safety, Vulnerability, class "no ITS", "POLICY: S3",
        "A set-up succeeds for the control frame of an ITS alone.",
        "EL2 takes registers of another device for CBASER and BASER, and pages by what they say.";
    EL2_BATCH = "EL2-BATCH" from "EL2-WORK", El2, Policy, Hardening, needs Accesses, "POLICY: P13",
        "A trap judges no more commands than the subject declares.",
        "A full queue has 32768; each may mean 257 pages.";
    EL2_RELEASE = "EL2-RELEASE" from "EL2-WORK", El2, Policy, Hardening, needs Accesses, "POLICY: P13",
        "A trap takes no more commands as consumed than the subject declares.",
        "Each may mean 257 pages to give back.";
    EL2_FLIGHT = "EL2-FLIGHT" from "DIV-COMMAND", El2, Policy, Hardening, "POLICY: the queue, P13",
        "No more commands than the subject declares lie between the hardware's CREADR and its CWRITER.",
        "What is in flight is what the next look must take back at once.";
    EL2_FETCH = "EL2-FETCH", El2, Safety, Vulnerability, needs Accesses, "POLICY: P9",
        "EL2 copies a slot of the host's queue once.",
        "Between two copies the host changes what was judged.";
    EL2_REREAD = "EL2-REREAD" from "EL2-FETCH", El2, Safety, Vulnerability, needs Accesses, "POLICY: P8, S7",
        "EL2 reads a word that the host can write once for each command, and once in a call that judges none.",
        "Between two reads the host changes what was checked.";
    EL2_POSTED = "EL2-POSTED", El2, Policy, Vulnerability, needs Accesses, "POLICY: P9, P11",
        "EL2 copies slots of the host's queue only from CREADR to the host's CWRITER.",
        "Beyond it the host still writes, so that half a command is judged, or an old one again.";
    EL2_CLEAN = "EL2-CLEAN", El2, Safety, Vulnerability, needs Accesses, "POLICY: P9",
        "A slot that EL2 wrote is cleaned before CWRITER lets the ITS read it.",
        "A non-coherent ITS would execute what was there before, which nobody judged.";
    EL2_LEVEL2 = "EL2-LEVEL2" from "EL2-CLEAN", El2, Safety, Vulnerability, needs Accesses, "POLICY: P4",
        "A level-2 table is cleaned before its entry is written, and the entry before CWRITER lets the ITS use it.",
        "A non-coherent ITS would read device table entries that were there before.";
    EL2_BARRIER = "EL2-BARRIER", El2, Safety, Vulnerability, needs Accesses, "POLICY: P9",
        "A barrier of the kind that the machine needs lies between slots and level-1 entries that EL2 wrote and the store to CWRITER.",
        "Without it the ITS may follow CWRITER to what was there before.";
    EL2_FENCE = "EL2-FENCE" from "EL2-BARRIER", El2, Safety, Vulnerability, needs Accesses, "POLICY: P4",
        "A barrier of the kind that the machine needs lies between the zeroes of a level-2 table and the store of its entry.",
        "Without it the ITS may follow the entry to what was there before.";
    EL2_ZERO = "EL2-ZERO", El2, Safety, Vulnerability, needs Accesses, "POLICY: S6",
        "What the host gives for EL2's records is zeroed when it is taken.",
        "EL2 would find records there that the host wrote.";
    EL2_STORE = "EL2-STORE", El2, Safety, Vulnerability, needs Accesses, "POLICY: P4, P8",
        "A level-1 entry is written in one store.",
        "Between two stores the ITS follows half an entry.";
    EL2_STEADY = "EL2-STEADY", El2, Policy, Conformance, "harness: same scenario, same trace",
        "The same scenario makes EL2 do the same, however often it is played.",
        "What an emulation keeps beyond its reset, or takes from elsewhere, makes findings that nobody can repeat.";
    UNDO_CALL = "UNDO-CALL", Undo, Safety, Vulnerability, "POLICY: P12",
        "A set-up that fails takes back every page that it got from the host, and no other.",
        "Pages that stay away are lost; pages that come back too far are leaked.";
    UNDO_BORROWED = "UNDO-BORROWED" from "UNDO-CALL", Undo, Safety, Vulnerability, "POLICY: P12",
        "A set-up that fails leaves every page shared and pinned as it was.",
        "What stays pinned can never be given to a guest; what lost a pin can be, under the ITS.";
    UNDO_CONTENTS = "UNDO-CONTENTS", Undo, Safety, Vulnerability, needs Accesses, "POLICY: undo of set-up",
        "A page that EL2 wrote goes back to the host zeroed.",
        "It holds records: addresses and structures of EL2.";
    UNDO_CLEAN = "UNDO-CLEAN" from "EL2-CLEAN", Undo, Safety, Vulnerability, needs Accesses, "POLICY: undo of set-up",
        "A page that EL2 zeroed is cleaned before it goes back to the host.",
        "The host makes an ITT of it, and a non-coherent ITS finds EL2's words there.";
    UNDO_HARDWARE = "UNDO-HARDWARE", Undo, Safety, Vulnerability, "POLICY: P12",
        "A set-up that fails leaves the hardware's registers as they were.",
        "The host would run on with an ITS that it did not program.";
    UNDO_COMMAND = "UNDO-COMMAND" from "DIV-OWNERSHIP", Undo, Safety, Vulnerability, needs Accesses, "POLICY: P12",
        "A command that is refused leaves every page shared and pinned as it was.",
        "A host that submits it again and again pins pages until the count is full.";
    UNDO_REST = "UNDO-REST", Undo, Safety, Hardening, "POLICY: P5, P6",
        "When every queue is at rest and every device unmapped, EL2 holds only pages that an ITS needs.",
        "The host loses a page with each device that comes and goes.";
    UNDO_IGNORED = "UNDO-IGNORED" from "DIV-FORWARD", Undo, Policy, Vulnerability, needs Partly, "POLICY: register table, on sizes",
        "An access that is ignored, or only reads a register, makes EL2 write nothing and move no page.",
        "It would be a way into the hardware that no row of the register table judges.";
    HW_UNPREDICTABLE = "HW-UNPREDICTABLE", Hw, Safety, Vulnerability, "IHI 0069: GITS_CBASER",
        "EL2 does not write CBASER while the ITS is enabled or not quiescent.",
        "The architecture says nothing of what the ITS follows then.";
    HW_BASER = "HW-BASER" from "HW-UNPREDICTABLE", Hw, Safety, Vulnerability, "IHI 0069: GITS_BASER<n>",
        "EL2 does not write BASER while the ITS is enabled or not quiescent.",
        "The architecture says nothing of where the ITS keeps its tables then.";
    HW_START = "HW-START" from "HW-UNPREDICTABLE", Hw, Safety, Vulnerability, "IHI 0069: GITS_CTLR.Enabled",
        "EL2 does not enable an ITS that is not quiescent or has no queue or tables.",
        "The architecture says nothing of what it follows then.";
    HW_CTLR = "HW-CTLR" from "DIV-FORWARD", Hw, Policy, Conformance, "POLICY: CTLR",
        "EL2 writes CTLR with all bits but Enabled as they were at set-up.",
        "The others are IMPLEMENTATION DEFINED, or switch on what EL2 does not emulate.";
    HW_CWRITER = "HW-CWRITER" from "DIV-FORWARD", Hw, Policy, Conformance, "IHI 0069: GITS_CWRITER",
        "EL2 writes CWRITER with no bits but Offset and Retry.",
        "The rest is reserved, and the host's to choose if it comes through.";
    HW_LPI = "HW-LPI" from "DIV-FORWARD", Hw, Safety, Vulnerability, "POLICY: redistributors",
        "EL2 never writes PROPBASER and PENDBASER.",
        "They name the tables that were borrowed; with LPIs on a write is UNPREDICTABLE.";
    HW_RETRY = "HW-RETRY" from "DIV-FORWARD", Hw, Policy, Conformance, "POLICY: P10; IHI 0069: GITS_CWRITER.Retry",
        "EL2 writes Retry only when CREADR just showed a stall.",
        "A Retry ahead of the stall restarts a command that nobody judged afresh.";
    SVC_SETUP = "SVC-SETUP", Svc, Service, Conformance, class "result", "pKVM: __pkvm_init_its_emulation",
        "The set-up that the host's driver asks for at boot succeeds.",
        "The host is left without its ITS.";
    SVC_QUEUE = "SVC-QUEUE", Svc, Service, Conformance, "IHI 0069: GITS_CREADR, GITS_CWRITER",
        "The ITS completes all commands that a driver submits, and CREADR is never beyond CWRITER.",
        "The driver waits for ever, and every device behind the ITS with it.";
    SVC_LOST = "SVC-LOST", Svc, Service, Conformance, class "lost", "IHI 0069: MAPTI, MOVI, SYNC; LPI pending state",
        "An event that a device raises after its mapping was completed stays pending until a CPU takes it.",
        "A device waits for ever for the interrupt that nobody takes.";
    SVC_STRAY = "SVC-STRAY", Svc, Service, Conformance, class "stray", "IHI 0069: DISCARD, CLEAR, MOVI; LPI pending state",
        "An LPI that a CPU took, or that DISCARD or CLEAR removed, is pending only if it is raised again.",
        "The host handles an interrupt of a device that is gone, or the same one twice.";
    SVC_TAKEN = "SVC-TAKEN", Svc, Service, Conformance, class "taken", "IHI 0069: INV, INVALL, GICR_INVLPIR; LPI configuration",
        "A CPU takes the most urgent pending LPI whose configuration, as last made known, enables it.",
        "An interrupt that was masked arrives, or one that was unmasked never does.";
    ARCH_REGISTER = "ARCH-REGISTER", Arch, Architecture, Conformance, "IHI 0069: GITS and GICR registers",
        "A register of the ITS or of a redistributor reads as what was written to it and done since says.",
        "Drivers size tables, wait and recover by what they read.";
    ARCH_FETCH = "ARCH-FETCH", Arch, Architecture, Conformance, "IHI 0069: GITS_CBASER, GITS_CWRITER, GITS_CREADR",
        "The ITS takes the command at CREADR from its queue, while it is enabled, not stalled and CWRITER lies ahead.",
        "Commands taken too early, twice or from elsewhere are commands that nobody wrote.";
    ARCH_COMMAND = "ARCH-COMMAND", Arch, Architecture, Conformance, "IHI 0069: ITS commands and command errors",
        "A command is done or is an error, with its number, by checks in the architecture's order.",
        "A bad command that is carried out maps what must not be mapped; a good one that is refused loses interrupts.";
    ARCH_OFFERED = "ARCH-OFFERED", Arch, Architecture, Conformance, "IHI 0069: LPI configuration and pending state",
        "A CPU is offered the most urgent LPI that is pending and enabled.",
        "Masked interrupts that arrive, and others that never do.";
}

/// Returns the ids of the rules that are judged by this.
pub fn judged_by(evidence: Evidence) -> impl Iterator<Item = &'static str> {
    ALL.iter().filter(move |rule| rule.evidence == evidence).map(|rule| rule.id)
}

/// Returns the rule of an id.
pub fn find(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_sentences_are_unique_and_ids_begin_with_their_family() {
        let ids: std::collections::BTreeSet<_> = ALL.iter().map(|rule| rule.id).collect();
        let sentences: std::collections::BTreeSet<_> = ALL.iter().map(|rule| rule.holds).collect();
        assert_eq!((ids.len(), sentences.len()), (ALL.len(), ALL.len()));
        for rule in ALL {
            let family = format!("{:?}-", rule.family).to_uppercase();
            assert!(rule.id.starts_with(&family), "{}", rule.id);
            assert_eq!(find(rule.id), Some(*rule));
        }
    }

    #[test]
    fn a_rule_answers_to_the_one_that_it_was_split_from() {
        for rule in ALL {
            assert!(rule.split_from.is_none_or(|id| find(id).is_some()), "{}", rule.id);
        }
        assert!(DIV_PINS.is_named_by("DIV-PINS") && DIV_PINS.is_named_by("DIV-OWNERSHIP"));
        assert!(!DIV_OWNERSHIP.is_named_by("DIV-PINS"));
    }
}
