//! Scenarios that go on after the breach, until the harm is done.
//!
//! Words that the host forges, for an ITS with the default format: `0x800001001401` is a device
//! table entry of 32 events whose ITT is at `el2[0]`; `0x8000000080280000` and `0x8000000080290000`
//! are level-1 entries for `host[0]` and `host[16]`. DeviceID 0x2000 is the first of the second
//! level-2 table.

/// A device and an event are mapped.
pub(super) const MAPPED: &str = "\
itsdiff 2
boot queue-pages=1
map-device device=0x2a event-id-bits=0x5 itt=itt[3]
map-event device=0x2a event=0x7 intid=0x2007 icid=0x0
";

/// The host looks at the queue, again and again.
pub(super) const LOOKS: &str = "\
itsdiff 2
boot queue-pages=1
poll 2
";

/// A command that is in flight gets another ITT.
pub(super) const IN_FLIGHT: &str = "\
itsdiff 2
its0 pace=never
boot queue-pages=1
grow device=0x2000 level2=level2[16]
command MAPD device=0x2000 size=0x4 itt=itt[3] valid
write-cwriter
store queue[0]+0xd0 value=0x80000000800a0000
advance 1
";

/// A level-1 entry of the host's names a table of the host's.
pub(super) const LEVEL1: &str = "\
itsdiff 2
boot queue-pages=1
store host[0] value=0x800001001401
store device-table[0]+0x8 value=0x8000000080280000
command MAPTI device=0x2000 event=0x0 intid=0x2000 icid=0x0
write-cwriter
";

/// A table entry appears in a level-2 table that joined.
pub(super) const LEVEL2: &str = "\
itsdiff 2
boot queue-pages=1
grow device=0x2000 level2=level2[16]
command MAPD device=0x2000 size=0x4 itt=itt[3] valid
write-cwriter
store level2[16]+0x8 value=0x800001001401
command MAPTI device=0x2001 event=0x0 intid=0x2000 icid=0x0
write-cwriter
";

/// A table entry was there before the level-2 table joined.
pub(super) const STALE_LEVEL2: &str = "\
itsdiff 2
boot queue-pages=1
store level2[16]+0x8 value=0x800001001401
grow device=0x2000 level2=level2[16]
command MAPD device=0x2000 size=0x4 itt=itt[3] valid
command MAPTI device=0x2001 event=0x0 intid=0x2000 icid=0x0
write-cwriter
";

/// The page of an ITT becomes a guest's.
pub(super) const GIVEN_AWAY: &str = "\
itsdiff 2
boot queue-pages=1
map-device device=0x2a event-id-bits=0x5 itt=itt[3]
unshare itt[3]
donate-guest itt[3]
map-event device=0x2a event=0x7 intid=0x2007 icid=0x0
";

/// A pending table becomes a guest's, and LPIs are switched off.
pub(super) const PENDING: &str = "\
itsdiff 2
its0 enable-lpis=clearable busy-lpi-write=taken
boot queue-pages=1
map-device device=0x2a event-id-bits=0x5 itt=itt[3]
map-event device=0x2a event=0x7 intid=0x2007 icid=0x0
unshare pending[0]
donate-guest pending[0]
msi device=0x2a event=0x7
write redistributor0 +0x0 size=4 0x0
";

/// The record of one device gets the ITT of another, which EL2 gives back with it.
pub(super) const RECORDS: &str = "\
itsdiff 2
boot queue-pages=1
map-device device=0x2a event-id-bits=0x5 itt=itt[3]
map-device device=0x2b event-id-bits=0x5 itt=itt[5]
poll 1
store private[0] value=0x400000801450
unmap-device device=0x2a
poll 2
donate-guest itt[5]
map-event device=0x2b event=0x0 intid=0x2000 icid=0x0
";

/// The second MAPTI makes an INT of the CLEAR where the ITT lies over the queue.
pub(super) const OVER_QUEUE: &str = "\
itsdiff 2
boot queue-pages=1
map-device device=0x2a event-id-bits=0x6 itt=itt[3]
command MAPTI device=0x2a event=0x1 intid=0x2002 icid=0x0
command MAPTI device=0x2a event=0x24 intid=0x2001 icid=0x15
command CLEAR device=0x2a event=0x1
write-cwriter
";

/// A table of an emulation that stores into it.
pub(super) const LIVE_TABLE: &str = "\
itsdiff 2
boot queue-pages=1 live-devices=1
command MAPTI device=0x30 event=0x0 intid=0x2000 icid=0x0
write-cwriter
";

/// The ITS starts again, at slots that hold old commands. One lies in the host's memory.
pub(super) const RESTARTED: &str = "\
itsdiff 2
boot queue-pages=1
store host[0] value=0xd
suspend
resume
command SYNC rdbase=redistributor0
write-cwriter
";

/// Tables lie in the host's memory.
pub(super) const OTHER_TABLES: &str = "\
itsdiff 2
its0 busy-write=taken
boot queue-pages=1
store host[0]+0x8 value=0x8000000080290000
store host[16] value=0x800001001401
command MAPTI device=0x2000 event=0x0 intid=0x2000 icid=0x0
write-cwriter
";

/// The same, and the ITS starts again.
pub(super) const RESTARTED_ON_OTHER_TABLES: &str = "\
itsdiff 2
boot queue-pages=1
store host[0]+0x8 value=0x8000000080290000
store host[16] value=0x800001001401
suspend
resume
command MAPTI device=0x2000 event=0x0 intid=0x2000 icid=0x0
write-cwriter
";

/// Commands of the boot come round again, past slots that nobody wrote.
pub(super) const AROUND: &str = "\
itsdiff 2
its0 on-error=ignore cwriter-beyond=wrap busy-write=taken
boot queue-pages=1
command SYNC rdbase=redistributor0
write-cwriter
set-up private=private[1] descriptor=descriptor[0] private-pages=0x1
";

/// The host changes a command between two copies.
pub(super) const COPIED_TWICE: &str = "\
itsdiff 2
boot queue-pages=1
tamper queue-copy[0]+0xd0 after=1 value=0x80000000800a0000
map-device device=0x2a event-id-bits=0x5 itt=itt[3]
map-event device=0x2a event=0x0 intid=0x2000 icid=0x0
";

/// The host changes a level-1 entry between two reads.
pub(super) const READ_TWICE: &str = "\
itsdiff 2
boot queue-pages=1
store host[0]+0x8 value=0x800001001401
grow device=0x2000 level2=level2[16]
command MAPD device=0x2000 size=0x4 itt=itt[3] valid
tamper device-table-copy[0]+0x8 after=2 value=0x8000000080280000
write-cwriter
command MAPTI device=0x2001 event=0x0 intid=0x2000 icid=0x0
write-cwriter
";

/// The ITS follows half an entry. That leads to `high[0]`.
pub(super) const HALF_ENTRY: &str = "\
itsdiff 2
its0 pace=never
boot queue-pages=1 its=3
store more-pending[0]+0x8 value=0x800001001401
grow device=0x2000 level2=more-level2[0]
command MAPTI device=0x2001 event=0x0 intid=0x2000 icid=0x0
write-cwriter
command MAPD device=0x2000 size=0x4 itt=itt[3] valid
race 2 turns=31
write-cwriter
advance 1
";

/// One CPU looks while another maps a device.
pub(super) const OPPOSITE: &str = "\
itsdiff 2
boot queue-pages=1
poll 1
race 2 turns=2
poll 1
map-device device=0x2a event-id-bits=0x5 itt=itt[3] cpu=1
";

/// Two ITSs take a page, and give it back, at once.
pub(super) const AT_ONCE: &str = "\
itsdiff 2
boot queue-pages=1 its=2 live-devices=1
race 3 turns=u1
map-device device=0x2a event-id-bits=0x5 itt=itt[3]
select-its 1
map-device device=0x2a event-id-bits=0x5 itt=itt[3]+0x200 cpu=1
poll 1
unmap-device device=0x2a
poll 2
select-its 0
poll 1
unmap-device device=0x2a
poll 2
donate-guest itt[3]
";

/// A device with an ITT of two pages comes and goes.
pub(super) const GONE: &str = "\
itsdiff 2
boot queue-pages=1
map-device device=0x2a event-id-bits=0xa itt=itt[3]
unmap-device device=0x2a
poll 2
donate-guest itt[3]
";

/// A set-up fails late, and the host looks at the records.
pub(super) const FAILED: &str = "\
itsdiff 2
boot stage=deprivileged queue-pages=1 live-devices=2
fail pin nth=3
set-up private=private[0] descriptor=descriptor[0] private-pages=0x1
load private[0]
load private[0]+0x8
";

/// A set-up fails that named another copy of the queue; the next one succeeds.
pub(super) const FAILED_THEN_NOT: &str = "\
itsdiff 2
boot stage=deprivileged queue-pages=1
store-address descriptor[0]+0x8 of=host[0]
fail pin nth=3
set-up private=private[0] descriptor=descriptor[0] private-pages=0x1
store-address descriptor[0]+0x8 of=queue-copy[0]
set-up private=private[0] descriptor=descriptor[0] private-pages=0x1
donate-guest host[0]
";

/// The host writes the record of a live device before the set-up does. It names another ITT.
pub(super) const FORGED_RECORD: &str = "\
itsdiff 2
boot stage=deprivileged queue-pages=1 live-devices=1
store private[0] value=0x400000801450
set-up private=private[0] descriptor=descriptor[0] private-pages=0x1
donate-guest itt[0]
map-event device=0x0 event=0x1 intid=0x2001 icid=0x0
";

/// A command is in flight when a device that is no ITS is set up.
pub(super) const NO_ITS: &str = "\
itsdiff 2
its0 pace=never
boot stage=probed queue-pages=1
map-device device=0x2a event-id-bits=0x5 itt=itt[3]
command MAPTI device=0x2a event=0x7 intid=0x2007 icid=0x0
write-cwriter
finalize
finalize cpu=1
set-up private=private[0] descriptor=descriptor[0] private-pages=0x1 device-flip=0x100000
donate-guest itt[3]
advance 1
";

/// What was a page of records becomes an ITT. To this ITS the DeviceID of the first record is the
/// entry of an event.
pub(super) const RECORDS_AS_ITT: &str = "\
itsdiff 2
boot stage=probed queue-pages=1
map-device device=0x4001 event-id-bits=0x5 itt=itt[3]
describe
finalize
finalize cpu=1
fail pin nth=3
set-up private=private[0] descriptor=descriptor[0] private-pages=0x1
set-up private=private[1] descriptor=descriptor[0] private-pages=0x1
map-device device=0x2a event-id-bits=0x5 itt=private[0]
msi device=0x2a event=0x1
";
