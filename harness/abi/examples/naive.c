/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The queue of the emulation series of the kernel lists of March 2026, written anew over the
 * set-up of careful.c (ITTs shared and nothing more): an emulation that checks commands and little
 * else. What is wrong with it, listed before it was fuzzed, and the rules that may report it:
 *
 * 1. All up to CWRITER is copied in one go, however much, and judged afterwards.     EL2-BATCH, EL2-FLIGHT
 * 2. Slots are not cleaned to memory before the ITS may read them.                   EL2-CLEAN
 * 3. A refused command takes all before it along, and the host sees no stall.        DIV-FORWARD
 * 4. An ITT is shared and never pinned: the host takes it back and gives it away.    DIV-PINS, LEAK-LOOSE
 * 5. Fields of a command that mean nothing are forwarded.                            DIV-BYTES, PTR-RESERVED
 * 6. An offset behind what is in flight, or beyond the queue, is taken.              EL2-POSTED
 * 7. CTLR, CBASER and BASER are forwarded at any time.                               DIV-BASE, DIV-CTLR, HW-BASER
 * 8. What was consumed is never released.                                            DIV-SHARED
 * 9. A redistributor's registers are forwarded.                                      DIV-REDISTRIBUTOR
 * 10. Level-2 tables never grow.                                                     DIV-GROWTH
 */
/* Half of what it brings is what this one lacks. */
#pragma GCC diagnostic ignored "-Wunused-function"
#define its_subject_trap careful_trap
#include "careful.c"
#undef its_subject_trap

static u64 host_cwriter[MOST_ITS];

/* The pages of an ITT become EL2's to see. */
static bool share_itt(struct span itt)
{
	if (!its_is_memory(itt.address, itt.bytes))
		return false;
	for (u64 n = 0; n < pages_under(itt); n++)
		__pkvm_host_share_hyp(itt.address / PAGE + n);
	return true;
}

static bool accepts(const struct unit *unit, const u64 *words)
{
	struct accepted accepted;

	return judge(unit, words, &accepted) && (!accepted.borrows || share_itt(accepted.itt));
}

static void submit_all(struct unit *unit, u64 *from, u64 to)
{
	u64 *host = its_to_pointer(unit->host_queue), *own = its_to_pointer(queue_address(unit));
	u64 bytes = queue_bytes(unit);

	hw_read(unit, CREADR);
	hw_read(unit, CTLR);
	for (u64 at = *from; at != to && at < bytes; at = (at + 32) % bytes)
		__builtin_memcpy(own + at / 8, host + at / 8, 32);
	for (u64 at = *from; at != to && at < bytes; at = (at + 32) % bytes)
		if (!accepts(unit, own + at / 8))
			return;
	*from = to;
	its_order();
	hw_write(unit, CWRITER, to);
}

static u64 guarded_trap(struct unit *unit, u64 *cwriter, const struct its_trap *trap)
{
	/* The lower half stands for all of a register. */
	if (trap->bytes < 4 || trap->bytes > width(trap->offset) || trap->offset % trap->bytes)
		return 0;
	if (!trap->write) {
		u64 value = trap->offset == CWRITER ? *cwriter : hw_read(unit, trap->offset);

		if (trap->offset == CREADR)
			hw_read(unit, CTLR);
		return value;
	}
	if (trap->offset == CWRITER)
		submit_all(unit, cwriter, trap->value & OFFSET);
	else
		hw_write(unit, trap->offset, trap->value);
	return 0;
}

u64 its_subject_trap(const struct its_trap *trap)
{
	struct its_redistributor found;
	struct unit *unit = &units[trap->index % MOST_ITS];
	u64 *cwriter = &host_cwriter[trap->index % MOST_ITS], value;

	if (trap->frame == ITS_FRAME_REDISTRIBUTOR && !its_redistributor(trap->index, &found)) {
		if (!trap->write)
			return its_read_device(found.address + trap->offset, trap->bytes);
		its_write_device(found.address + trap->offset, trap->bytes, trap->value);
		return 0;
	}
	if (trap->frame != ITS_FRAME_CONTROL)
		return 0;
	its_lock(ITS_LOCK_ITS + trap->index);
	if (unit->guarded) {
		/* Where set-up found the queue. */
		if (unit->written != ~0ULL) {
			*cwriter = unit->written;
			unit->written = ~0ULL;
		}
		value = guarded_trap(unit, cwriter, trap);
	} else {
		value = trap_control(unit, trap);
	}
	its_unlock(ITS_LOCK_ITS + trap->index);
	return value;
}
