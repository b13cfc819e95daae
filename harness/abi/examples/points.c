/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The careful emulation with choices of policy otherwise than POLICY.md: those that the environment
 * names in ITSDIFF_POINT, as subject.toml would, with `; ` between them. The tests declare one at a
 * time and play it (points/), and declare several.
 */
#include "itsdiff.h"

static uint64_t chosen; /* one bit each */
#define CHOSEN(choice) (chosen >> (choice) & 1)

#define its_subject_create careful_create
#include "careful.c"
#include "careful/tear_down.h"
#undef its_subject_create

#include "picked.h"

static const char *const names[CHOICES] = {
	[AS_POLICY] = "",
	[UNKNOWN_REGISTERS_HARDWARE] = "traps.unknown-registers = \"hardware\"",
	[NARROW_READS_BYTES] = "traps.narrow-reads = \"bytes\"",
	[SIZES_ANY] = "traps.sizes = \"any\"",
	[MISALIGNED_ROUNDED] = "traps.misaligned = \"rounded\"",
	[CLOSING_WRITES_CWRITER] = "traps.closing-writes = \"cwriter\"",
	[CLOSING_DONATION_ALLOWED] = "traps.closing-donation = \"allowed\"",
	[REDISTRIBUTORS_OPEN] = "traps.redistributors = \"open\"",
	[REDISTRIBUTORS_BY_HYPERCALL] = "traps.redistributors = \"by-hypercall\"",
	[ENABLE_LPIS_BORROWED] = "traps.enable-lpis = \"borrowed\"",
	[LIVE_DEVICES_NONE] = "set-up.live-devices = \"none\"",
	[DESCRIBED_COPIES] = "set-up.described = \"copies\"",
	[MOMENT_LAST_FINALIZE] = "set-up.moment = \"last-finalize\"",
	[MOMENT_FIRST_TRAP] = "set-up.moment = \"first-trap\"",
	[AGAIN_ACCEPTED] = "set-up.again = \"accepted\"",
	[TEAR_DOWN_AT_REST] = "set-up.tear-down = \"at-rest\"",
	[ERRNO_ANY] = "set-up.errno = \"any\"",
	[ITT_ALIGNMENT_4K] = "memory.itt-alignment = \"4K\"",
	[ITT_ALIGNMENT_64K] = "memory.itt-alignment = \"64K\"",
	[ITT_PAGES_OWN] = "memory.itt-pages = \"own\"",
	[TABLES_SHOWN] = "memory.tables = \"shown\"",
	[ITTS_OWNED] = "memory.itts = \"owned\"",
	[PINS_BY_PAGE] = "memory.pins = \"by-page\"",
	[CAPACITY_DEVICES] = "memory.capacity = \"devices\"",
	[CAPACITY_PAGES] = "memory.capacity = \"pages\"",
	[LEVEL2_FIXED] = "memory.level2 = \"fixed\"",
	[LEVEL2_FOLLOWED] = "memory.level2 = \"followed\"",
	[CLEARED_LEVEL1_REFUSED] = "memory.cleared-level1 = \"refused\"",
	[LEVEL2_CHECKED] = "memory.level2-contents = \"checked\"",
	[REMAP_REFUSED] = "memory.remap = \"refused\"",
	[POLLS] = "queue.polls = 8",
	[TIMEOUT_OFF] = "queue.timeout = \"off\"",
	[TIMEOUT_ROLLED_BACK] = "queue.timeout = \"rolled-back\"",
	[CREADR_RECORDED] = "queue.creadr = \"recorded\"",
	[CREADR_HARDWARE] = "queue.creadr = \"hardware\"",
	[UNMAP_BY_COMMAND] = "queue.unmap = \"by-command\"",
	[REFUSAL_SILENT] = "queue.refusal = \"silent\"",
	[REFUSAL_SKIPPED] = "queue.refusal = \"skipped\"",
	[RETRY_IGNORED] = "queue.retry = \"ignored\"",
	[BYTES_VERBATIM] = "queue.bytes = \"verbatim\"",
	[MAPPED_COLLECTION_REFUSED] = "queue.mapped-collection = \"refused\"",
	[UNMAPPED_DEVICE_REFUSED] = "queue.unmapped-device = \"refused\"",
	[DEVICE_IDS] = "queue.device-ids = 16",
	[COLLECTIONS] = "queue.collections = 2",
	[LEFT_DEVICE_ID] = "queue.left-to-hardware = [\"device-id\"]",
	[LEFT_EVENT_ID_BITS] = "queue.left-to-hardware = [\"event-id-bits\"]",
	[LEFT_ICID] = "queue.left-to-hardware = [\"icid\"]",
	[LEFT_RDBASE] = "queue.left-to-hardware = [\"rdbase\"]",
	[REFUSED_COMMANDS] = "queue.refused-commands = [\"MOVALL\", \"MAPI\"]",
	[TYPER_HIDDEN] = "registers.typer-hidden = 0x2000",
	[IIDR_ZERO] = "registers.iidr = \"zero\"",
	[IDENTIFICATION_ZERO] = "registers.identification = \"zero\"",
	[CTLR_ACCEPTED] = "registers.ctlr = \"accepted\"",
	[BASES_HARDWARE] = "registers.bases = \"hardware\"",
	[ATTRIBUTES_HOST] = "registers.attributes = \"host\"",
	[RESUME_NONE] = "registers.resume = \"none\"",
	[RESUME_EL2] = "registers.resume = \"el2\"",
	[EVENT_ID_BITS] = "numbers.event-id-bits = 12",
	[PRIVATE_PAGES] = "numbers.private-pages = 2",
};

void its_subject_finalized(void)
{
	for (u32 n = 0; n < MOST_ITS; n++)
		if (CHOSEN(MOMENT_LAST_FINALIZE) && its_all_cpus_finalized())
			set_up_described(n);
}

int64_t its_subject_tear_down(uint64_t x1, uint64_t x2, uint64_t x3, uint64_t x4)
{
	(void)x2, (void)x3, (void)x4;
	return CHOSEN(TEAR_DOWN_AT_REST) ? tear_down(x1) : -EOPNOTSUPP;
}

/* -EINVAL: there is no such choice. */
s32 its_subject_create(const struct its_machine *machine)
{
	return picked("ITSDIFF_POINT", names, CHOICES, &chosen) ? careful_create(machine) : -EINVAL;
}
