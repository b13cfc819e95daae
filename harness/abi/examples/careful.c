/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * An emulation that follows harness/emulator/POLICY.md, in C: what a subject in a kernel tree
 * could look like. P1 to P14 and S1 to S9 are of that page. It passes all targets.
 */
#include "itsdiff_pkvm.h"
#include "careful/choices.h"
#include "careful/state.h"

ITS_SUBJECT_ABI;

/* ---- the command table */

struct accepted {
	u64 words[4];
	const struct table *grow; /* a level-2 table must be there: of this table, */
	u64 entry;                /* at this byte of the level-1 table */
	bool optional;            /* or may be there */
	bool borrows;
	struct span itt;
};

static const struct table *table_of(const struct unit *unit, u64 type)
{
	for (u32 n = 0; n < 8; n++)
		if ((unit->tables[n].recorded & VALID) && FIELD(unit->tables[n].recorded, 56, 3) == type)
			return &unit->tables[n];
	return NULL;
}

/* Whether an id is within its table; which level-2 table it needs, if any. */
static bool within(const struct table *table, u64 id, struct accepted *accepted)
{
	if (!table || id >= capacity_of(table->recorded))
		return false;
	if (table->recorded & INDIRECT) {
		accepted->grow = table;
		accepted->entry = id / entries_per_page(table->recorded) * 8;
	}
	return true;
}

static bool device_is_in_range(const struct unit *unit, u64 device, struct accepted *accepted)
{
	bool known = device < BIT(FIELD(unit->typer, 13, 5) + 1);

	return (known && within(table_of(unit, 1), device, accepted)) || CHOSEN(LEFT_DEVICE_ID);
}

static bool collection_is_in_range(const struct unit *unit, u64 icid, struct accepted *accepted)
{
	u64 all = unit->typer & BIT(36) ? BIT(FIELD(unit->typer, 32, 4) + 1) : 0x10000;

	if (icid >= all)
		return CHOSEN(LEFT_ICID);
	return icid < FIELD(unit->typer, 24, 8) || within(table_of(unit, 4), icid, accepted) ||
	       CHOSEN(LEFT_ICID);
}

static bool is_target(const struct unit *unit, u64 rdbase)
{
	return CHOSEN(LEFT_RDBASE) || is_redistributor(unit, rdbase);
}

static bool is_size(const struct unit *unit, u64 size)
{
	u64 most = FIELD(unit->typer, 8, 5);

	return size <= (CHOSEN(EVENT_ID_BITS) ? 11 : 15) && (size <= most || CHOSEN(LEFT_EVENT_ID_BITS));
}

static u64 itt_alignment(void)
{
	return CHOSEN(ITT_ALIGNMENT_4K) ? PAGE : CHOSEN(ITT_ALIGNMENT_64K) ? 16 * PAGE : 256;
}

/* Whether a command of ours gives a device an ITT. One with more EventID bits than the ITS has is
 * an error to it, and changes nothing. */
static bool maps(const struct unit *unit, const u64 *words)
{
	return (words[0] & 0xff) == MAPD && (words[2] & VALID) &&
	       (words[1] & 0x1f) <= FIELD(unit->typer, 8, 5);
}

static bool unmaps(const u64 *words)
{
	return (words[0] & 0xff) == MAPD && !(words[2] & VALID);
}

static bool judge(const struct unit *unit, const u64 *in, struct accepted *out)
{
	u64 *to = out->words;
	bool valid = in[2] & VALID;
	u64 rdbase = FIELD(in[2], 16, 36);

	*out = (struct accepted){ .words = { in[0] & 0xff, 0, 0, 0 } };
	switch (in[0] & 0xff) {
	case MAPD:
		to[0] |= in[0] & 0xffffffff00000000ULL;
		if (!device_is_in_range(unit, in[0] >> 32, out))
			return false;
		if (!valid) {
			out->optional = true;
			return true;
		}
		to[1] = in[1] & 0x1f;
		to[2] = in[2] & (VALID | ITT_ADDRESS);
		out->borrows = maps(unit, to);
		out->itt = itt_span(unit, to[2] & ~VALID, to[1]);
		return is_size(unit, to[1]) && !(out->itt.address % itt_alignment()) &&
		       (out->borrows || its_is_memory(out->itt.address, out->itt.bytes));
	case MAPC:
		to[2] = in[2] & 0xffff;
		if (!collection_is_in_range(unit, in[2] & 0xffff, out))
			return false;
		if (!valid) {
			out->optional = true;
			return true;
		}
		to[2] |= VALID | rdbase << 16;
		return is_target(unit, rdbase);
	case SYNC:
		to[2] = rdbase << 16;
		return is_target(unit, rdbase);
	case MOVALL:
		to[2] = rdbase << 16;
		to[3] = FIELD(in[3], 16, 36) << 16;
		return is_target(unit, rdbase) && is_target(unit, FIELD(in[3], 16, 36));
	case INVALL:
		to[2] = in[2] & 0xffff;
		return true;
	case MAPTI:
	case MAPI:
	case MOVI:
		to[2] = in[2] & 0xffff;
		/* fallthrough */
	case INT:
	case CLEAR:
	case INV:
	case DISCARD:
		to[0] |= in[0] & 0xffffffff00000000ULL;
		to[1] = (in[0] & 0xff) == MAPTI ? in[1] : in[1] & 0xffffffffULL;
		return true;
	default:
		return false;
	}
}

/* The level-2 table that a level-1 entry names: 0 none, 1 this one, -1 with bits that mean
 * nothing. */
static s32 level2_of(u64 entry, u64 baser, struct span *span)
{
	u64 address = entry & 0xffffffffff000ULL & ~(page_bytes(baser) - 1);

	*span = (struct span){ address, page_bytes(baser) };
	if (!(entry & VALID))
		return 0;
	return entry == (VALID | address) ? 1 : -1;
}

/* P8. */
static bool grow(const struct table *table, u64 at)
{
	u64 *own = its_to_pointer(table_address(table->recorded) + at);
	u64 *host = its_to_pointer(table->shadow + at);
	struct span level2;

	if (READ_ONCE(*own) & VALID)
		return !CHOSEN(CLEARED_LEVEL1_REFUSED) || READ_ONCE(*host) == READ_ONCE(*own);
	if (CHOSEN(LEVEL2_FIXED))
		return false;
	if (level2_of(READ_ONCE(*host), table->recorded, &level2) != 1)
		return false;
	if (!its_is_memory(level2.address, level2.bytes) || donate_table(level2))
		return false;
	if (CHOSEN(LEVEL2_CHECKED) && its_first_word(its_to_pointer(level2.address), level2.bytes)) {
		reclaim_table(level2);
		return false;
	}
	if (!CHOSEN(LEVEL2_CHECKED))
		zero_pages(level2);
	its_clean(its_to_pointer(level2.address), level2.bytes);
	its_order();
	WRITE_ONCE(*own, VALID | level2.address);
	its_clean(own, 8);
	return true;
}

/* ---- the queue (P9 to P11) */

static void read_slot(u64 address, u64 *words)
{
	const u64 *slot = its_to_pointer(address);

	for (u32 n = 0; n < 4; n++)
		words[n] = READ_ONCE(slot[n]);
}

static void write_slot(const struct unit *unit, u64 offset, const u64 *words)
{
	u64 *slot = its_to_pointer(queue_address(unit) + offset);

	for (u32 n = 0; n < 4; n++)
		WRITE_ONCE(slot[n], words[n]);
	its_clean(slot, 32);
}

/* The command from C to J, other than at `skipped`, that maps or unmaps the same device or
 * collection last: 1 it maps, 0 it unmaps, -1 there is none. */
static s32 last_in_flight(const struct unit *unit, const u64 *words, u64 skipped)
{
	bool device = (words[0] & 0xff) == MAPD;
	s32 last = -1;

	for (u64 at = unit->consumed; at != unit->judged; at = after(unit, at)) {
		u64 other[4];

		read_slot(queue_address(unit) + at, other);
		if (at == skipped || (other[0] & 0xff) != (words[0] & 0xff))
			continue;
		if (device ? other[0] >> 32 == words[0] >> 32 && maps(unit, other) :
			     (other[2] & 0xffff) == (words[2] & 0xffff))
			last = !!(other[2] & VALID);
	}
	return last;
}

static u8 mapped_collections[MOST_ITS][0x10000 / 8];

static u8 *mapped_byte(const struct unit *unit, u64 icid)
{
	return &mapped_collections[unit - units][FIELD(icid, 3, 13)];
}

/* Whether the device or the collection that a command with V=1 maps is mapped already. */
static bool is_mapped(const struct unit *unit, const u64 *words, u64 offset)
{
	s32 last = last_in_flight(unit, words, offset);
	u32 parent;
	bool right;

	if ((words[0] & 0xff) == MAPD)
		return last == 1 || find(unit, words[0] >> 32, &parent, &right);
	return last >= 0 ? last : *mapped_byte(unit, words[2]) >> (words[2] & 7) & 1;
}

/* The ITT that a device has once all from C to the slot at `end` is consumed. */
static struct span itt_in_flight(const struct unit *unit, u32 device, u64 end)
{
	struct span itt = EMPTY;
	bool right;
	u32 parent, link = find(unit, device, &parent, &right);

	if (link)
		itt = itt_of(unit, &unit->records[link - 1]);
	for (u64 at = unit->consumed; at != end; at = after(unit, at)) {
		u64 words[4];

		read_slot(queue_address(unit) + at, words);
		if (words[0] >> 32 != device)
			continue;
		if (maps(unit, words))
			itt = itt_span(unit, words[2] & ITT_ADDRESS, words[1] & 0x1f);
		else if (unmaps(words))
			itt = EMPTY;
	}
	return itt;
}

/* With UNMAP_BY_COMMAND: whether a MAPD V=0 names other pages than those of its device's ITT. */
static bool unmaps_another(const struct unit *unit, const u64 *words, u64 offset)
{
	struct span itt = itt_in_flight(unit, words[0] >> 32, offset);
	struct span named = itt_span(unit, words[2] & ITT_ADDRESS, words[1] & 0x1f);

	return itt.bytes &&
	       (itt.address / PAGE != named.address / PAGE || pages_under(itt) != pages_under(named));
}

static bool is_refused_by_choice(const struct unit *unit, const u64 *words, u64 offset)
{
	u64 opcode = words[0] & 0xff;

	if (CHOSEN(REFUSED_COMMANDS) && (opcode == MOVALL || opcode == MAPI))
		return true;
	if (CHOSEN(DEVICE_IDS) && opcode == MAPD && words[0] >> 32 >= 16)
		return true;
	if (CHOSEN(COLLECTIONS) && opcode == MAPC && (words[2] & 0xffff) >= 2)
		return true;
	if (CHOSEN(UNMAP_BY_COMMAND) && opcode == MAPD && !(words[2] & VALID) &&
	    unmaps_another(unit, words, offset))
		return true;
	if (!(words[2] & VALID))
		return CHOSEN(UNMAPPED_DEVICE_REFUSED) && opcode == MAPD && !is_mapped(unit, words, offset);
	return (CHOSEN(REMAP_REFUSED) && opcode == MAPD && is_mapped(unit, words, offset)) ||
	       (CHOSEN(MAPPED_COLLECTION_REFUSED) && opcode == MAPC && is_mapped(unit, words, offset));
}

#include "careful/capacity.h"

/* Copies the host's slot once, judges the copy, borrows for it, writes it to our slot. */
static bool accept(struct unit *unit, u64 offset)
{
	u64 words[4];
	struct accepted accepted;

	read_slot(unit->host_queue + offset, words);
	if (is_refused_by_choice(unit, words, offset) || !judge(unit, words, &accepted))
		return false;
	if (accepted.borrows && is_full(unit, words, accepted.itt, offset))
		return false;
	if (accepted.grow && accepted.optional && CHOSEN(LEVEL2_FOLLOWED))
		grow(accepted.grow, accepted.entry);
	if (accepted.grow && !accepted.optional && !grow(accepted.grow, accepted.entry))
		return false;
	if (accepted.borrows) {
		if (take_itt(accepted.itt))
			return false;
		unit->mapds++;
	}
	write_slot(unit, offset, CHOSEN(BYTES_VERBATIM) ? words : accepted.words);
	return true;
}

static bool take(struct unit *unit, u64 offset)
{
	struct its_redistributor first;
	u64 sync[4] = { SYNC };

	if (accept(unit, offset))
		return true;
	if (!CHOSEN(REFUSAL_SKIPPED) || its_redistributor(0, &first))
		return false;
	sync[2] = (unit->typer & BIT(19) ? first.address >> 16 : first.processor_number) << 16;
	write_slot(unit, offset, sync);
	return true;
}

static void settle(struct unit *unit, const u64 *words, bool keep)
{
	struct span old;
	bool fresh;

	if (CHOSEN(MAPPED_COLLECTION_REFUSED) && (words[0] & 0xff) == MAPC) {
		u8 bit = BIT(words[2] & 7), *byte = mapped_byte(unit, words[2]);

		*byte = words[2] & VALID ? *byte | bit : *byte & ~bit;
	}
	if (!maps(unit, words) && !unmaps(words))
		return;
	if (words[2] & VALID) {
		if (unit->mapds)
			unit->mapds--;
		old = record_itt(unit, words[0] >> 32, words[2] & ITT_ADDRESS, words[1] & 0x1f, &fresh);
	} else {
		old = forget_itt(unit, words[0] >> 32);
	}
	if (!keep)
		give_back_itt(old);
}

/* Moves C to `end`, which is not beyond J. */
static void settle_until(struct unit *unit, u64 end, bool keep)
{
	for (u32 n = 0; n < COMMANDS && unit->consumed != end; n++) {
		u64 words[4];

		read_slot(queue_address(unit) + unit->consumed, words);
		settle(unit, words, keep);
		unit->consumed = after(unit, unit->consumed);
	}
}

static bool stands(u64 now, u64 recorded, u64 writable)
{
	return !((now ^ recorded) & writable);
}

static u64 read_ctlr(struct unit *unit)
{
	u64 ctlr = hw_read(unit, CTLR), offset;

	if (unit->run == RUNNING && !(ctlr & ENABLED)) {
		unit->run = LOST;
	} else if (unit->run == STOPPING && (ctlr & QUIESCENT) && !(ctlr & ENABLED)) {
		unit->run = LOST;
		if (!stands(hw_read(unit, CBASER), unit->cbaser, CBASER_WRITABLE))
			return ctlr;
		offset = hw_read(unit, CREADR) & OFFSET;
		if (offset < queue_bytes(unit) &&
		    distance(unit, unit->consumed, offset) <= distance(unit, unit->consumed, unit->judged))
			unit->run = AT_REST;
	}
	return ctlr;
}

static void consume(struct unit *unit, u64 creadr)
{
	u64 end = creadr & OFFSET;

	if (end >= queue_bytes(unit) ||
	    distance(unit, unit->consumed, end) > distance(unit, unit->consumed, unit->judged))
		return;
	settle_until(unit, end, false);
	unit->stalled = creadr & 1;
}

/* False: the ITS does not run, and nothing changed. */
static bool look(struct unit *unit)
{
	u64 creadr = hw_read(unit, CREADR), ctlr = read_ctlr(unit);

	if (!(ctlr & ENABLED) || unit->run != RUNNING)
		return false;
	consume(unit, creadr);
	return true;
}

/* With TIMEOUT_ROLLED_BACK, once Enabled is cleared: whether the ITS is at rest. */
static bool comes_to_rest(struct unit *unit)
{
	u64 ctlr = 0;

	for (u32 n = 0; n < POLLED && !(ctlr & QUIESCENT); n++)
		ctlr = hw_read(unit, CTLR);
	if (!(ctlr & QUIESCENT) || (ctlr & ENABLED))
		return false;
	return stands(hw_read(unit, CBASER), unit->cbaser, CBASER_WRITABLE);
}

/* Gives back what the commands from C to J hold. */
static void give_back_flying(const struct unit *unit)
{
	u64 words[4];

	for (u64 at = unit->consumed; at != unit->judged; at = after(unit, at)) {
		read_slot(queue_address(unit) + at, words);
		if (maps(unit, words))
			give_back_itt(itt_span(unit, words[2] & ITT_ADDRESS, words[1] & 0x1f));
	}
}

static void roll_back(struct unit *unit)
{
	u64 creadr;

	if (!comes_to_rest(unit))
		return;
	creadr = hw_read(unit, CREADR);
	if ((creadr & OFFSET) >= queue_bytes(unit) ||
	    distance(unit, unit->consumed, creadr & OFFSET) > distance(unit, unit->consumed, unit->judged))
		return;
	consume(unit, creadr);
	if (!unit->stalled && unit->consumed != unit->judged) {
		give_back_flying(unit);
		unit->mapds = 0;
		unit->judged = unit->consumed;
		unit->refused = true;
		hw_write(unit, CWRITER, unit->judged);
	}
	hw_write(unit, CTLR, unit->ctlr | ENABLED);
	unit->run = RUNNING;
}

/* Whether the ITS consumed all that it was given. */
static bool wait_for(struct unit *unit)
{
	for (u32 n = 0; n < POLLED && !unit->stalled && unit->consumed != unit->judged; n++)
		consume(unit, hw_read(unit, CREADR));
	if ((CHOSEN(TIMEOUT_OFF) || CHOSEN(TIMEOUT_ROLLED_BACK)) && !unit->stalled &&
	    unit->consumed != unit->judged) {
		hw_write(unit, CTLR, unit->ctlr);
		unit->run = LOST;
		if (CHOSEN(TIMEOUT_ROLLED_BACK))
			roll_back(unit);
	}
	return !unit->stalled && unit->consumed == unit->judged;
}

static void submit(struct unit *unit)
{
	u64 before;
	u32 n = 0;

	if (POLLS_CHOSEN && (unit->stalled || unit->run == LOST))
		return;
	do {
		before = unit->judged;
		for (; n < COMMANDS; n++) {
			if (unit->refused || unit->judged == unit->written ||
			    distance(unit, unit->consumed, unit->judged) >= COMMANDS)
				break;
			if (take(unit, unit->judged))
				unit->judged = after(unit, unit->judged);
			else
				unit->refused = true;
		}
		if (unit->judged == before)
			return;
		its_order();
		hw_write(unit, CWRITER, unit->judged);
	} while (POLLS_CHOSEN && wait_for(unit));
}

static void poll(struct unit *unit)
{
	if (look(unit))
		submit(unit);
}

static bool shows_stall(const struct unit *unit)
{
	bool refused = unit->refused && !CHOSEN(REFUSAL_SILENT) && !CHOSEN(CREADR_HARDWARE);

	return unit->stalled || (refused && unit->consumed == unit->judged);
}

/* Takes slot C again, at which the hardware stalled: the old command had no effect. */
static bool retake(struct unit *unit)
{
	u32 mapds = unit->mapds;
	bool was_mapd;
	u64 old[4];

	read_slot(queue_address(unit) + unit->consumed, old);
	was_mapd = maps(unit, old);
	if (was_mapd && unit->mapds)
		unit->mapds--;
	if (!take(unit, unit->consumed)) {
		unit->mapds = mapds;
		return false;
	}
	if (was_mapd)
		give_back_itt(itt_span(unit, old[2] & ITT_ADDRESS, old[1] & 0x1f));
	return true;
}

static void retry(struct unit *unit)
{
	if (!shows_stall(unit))
		return;
	if (!unit->stalled) {
		unit->refused = false;
	} else {
		if (unit->consumed == unit->judged || !retake(unit))
			return;
		unit->stalled = false;
		its_order();
		unit->refused = false;
		hw_write(unit, CWRITER, unit->judged | 1);
		if (POLLS_CHOSEN)
			wait_for(unit);
	}
}

static void write_cwriter(struct unit *unit, u64 value)
{
	bool runs = look(unit);
	u64 offset = value & OFFSET;
	bool accepted = offset < queue_bytes(unit) &&
			distance(unit, unit->consumed, offset) >= distance(unit, unit->consumed, unit->judged);

	if (accepted)
		unit->written = offset;
	if (!runs)
		return;
	if (accepted && (value & 1) && !CHOSEN(RETRY_IGNORED))
		retry(unit);
	if (accepted && CHOSEN(REFUSAL_SILENT))
		unit->refused = false;
	submit(unit);
}

/* ---- registers of a guarded ITS */

static bool is_at_rest(struct unit *unit)
{
	if (unit->run == STOPPING)
		read_ctlr(unit);
	return unit->run == AT_REST;
}

static bool may_start(const struct unit *unit)
{
	if (unit->judged != unit->consumed || hw_read(unit, CREADR) != unit->consumed ||
	    (hw_read(unit, CWRITER) & OFFSET) != unit->consumed ||
	    !stands(hw_read(unit, CBASER), unit->cbaser, CBASER_WRITABLE))
		return false;
	for (u32 n = 0; n < 8; n++)
		if ((unit->tables[n].recorded & VALID) &&
		    !stands(hw_read(unit, BASER(n)), unit->tables[n].recorded, BASER_WRITABLE))
			return false;
	return true;
}

/* With RESUME_EL2: what the host wrote goes to the hardware. */
static bool program(struct unit *unit)
{
	if (!unit->cbaser_valid || unit->judged != unit->consumed)
		return false;
	for (u32 n = 0; n < 8; n++)
		if ((unit->tables[n].recorded & VALID) && !unit->tables[n].valid)
			return false;
	for (u32 n = 0; n < 8; n++)
		if (unit->tables[n].recorded & VALID)
			hw_write(unit, BASER(n), unit->tables[n].recorded);
	hw_write(unit, CBASER, unit->cbaser);
	hw_write(unit, CWRITER, 0);
	unit->reprogram = false;
	return true;
}

static void write_ctlr(struct unit *unit, u64 value)
{
	if (!(value & ENABLED)) {
		unit->enabled = false;
		if (look(unit)) {
			hw_write(unit, CTLR, unit->ctlr);
			unit->run = STOPPING;
		}
	} else if (is_at_rest(unit) && (unit->reprogram ? program(unit) : may_start(unit))) {
		unit->enabled = true;
		hw_write(unit, CTLR, unit->ctlr | ENABLED);
		unit->run = RUNNING;
		poll(unit);
	}
}

static u64 shown_cbaser(const struct unit *unit)
{
	return (unit->cbaser & ~VALID) | (unit->cbaser_valid ? VALID : 0);
}

static u64 shown_baser(const struct table *table)
{
	return (table->recorded & ~VALID) | (table->valid ? VALID : 0);
}

/* What a write of CBASER or BASER may not change. */
static u64 fixed(u64 writable)
{
	return writable & ~(CHOSEN(ATTRIBUTES_HOST) ? VALID | ATTRIBUTES : VALID);
}

static u64 with_attributes(u64 recorded, u64 value)
{
	return CHOSEN(ATTRIBUTES_HOST) ? (recorded & ~ATTRIBUTES) | (value & ATTRIBUTES) : recorded;
}

static void write_cbaser(struct unit *unit, u64 value)
{
	if (!stands(value, unit->cbaser, fixed(CBASER_WRITABLE)) || CHOSEN(RESUME_NONE) ||
	    !is_at_rest(unit))
		return;
	unit->cbaser = with_attributes(unit->cbaser, value);
	unit->cbaser_valid = value & VALID;
	unit->reprogram = CHOSEN(RESUME_EL2);
	if (!unit->reprogram) {
		hw_write(unit, CBASER, shown_cbaser(unit));
		hw_write(unit, CWRITER, 0);
	}
	/* Nobody knows what of the rest was carried out. */
	settle_until(unit, unit->judged, true);
	unit->consumed = unit->judged = unit->written = 0;
	unit->stalled = unit->refused = false;
}

static void write_baser(struct unit *unit, u32 n, u64 value)
{
	struct table *table = &unit->tables[n];

	if (CHOSEN(RESUME_NONE) || !is_at_rest(unit) ||
	    !stands(value, table->recorded, fixed(BASER_WRITABLE)) ||
	    ((value & VALID) && !(table->recorded & VALID)))
		return;
	table->recorded = with_attributes(table->recorded, value);
	table->valid = value & VALID;
	if (!CHOSEN(RESUME_EL2))
		hw_write(unit, BASER(n), shown_baser(table));
}

/* What a register that EL2 keeps shows without a look. */
static u64 shown(const struct unit *unit, u64 offset)
{
	if (offset == CBASER)
		return shown_cbaser(unit);
	if (offset == CWRITER)
		return unit->written;
	if (offset >= BASER(0) && offset <= BASER(7))
		return shown_baser(&unit->tables[(offset - BASER(0)) / 8]);
	return CHOSEN(UNKNOWN_REGISTERS_HARDWARE) ? hw_read(unit, offset) : 0;
}

static u64 read_creadr(struct unit *unit)
{
	if (CHOSEN(CREADR_HARDWARE))
		return hw_read(unit, CREADR);
	if (!CHOSEN(CREADR_RECORDED))
		poll(unit);
	return unit->consumed | shows_stall(unit);
}

static u64 read_register(struct unit *unit, u64 offset)
{
	bool is_base = offset == CBASER || (offset >= BASER(0) && offset <= BASER(7));

	switch (offset) {
	case CTLR:
		if (CHOSEN(CTLR_ACCEPTED))
			return (read_ctlr(unit) & ~ENABLED) | unit->enabled;
		return read_ctlr(unit);
	case CREADR:
		return read_creadr(unit);
	case TYPER:
		return hw_read(unit, TYPER) & ~(CHOSEN(TYPER_HIDDEN) ? HIDDEN : 0);
	case 0x04: /* IIDR */
		return CHOSEN(IIDR_ZERO) ? 0 : hw_read(unit, offset);
	case 0x10: /* MPAMIDR, MPIDR, UMSIR */
	case 0x18:
	case 0x48:
		return hw_read(unit, offset);
	}
	if (offset >= 0xffd0)
		return CHOSEN(IDENTIFICATION_ZERO) ? 0 : hw_read(unit, offset);
	return is_base && CHOSEN(BASES_HARDWARE) ? hw_read(unit, offset) : shown(unit, offset);
}

static void write_register(struct unit *unit, u64 offset, u64 value)
{
	if (offset == CTLR)
		write_ctlr(unit, value);
	else if (offset == CBASER)
		write_cbaser(unit, value);
	else if (offset == CWRITER)
		write_cwriter(unit, value);
	else if (offset >= BASER(0) && offset <= BASER(7))
		write_baser(unit, (offset - BASER(0)) / 8, value);
}

static u64 trap_control(struct unit *unit, const struct its_trap *trap)
{
	u64 start = trap->offset & ~7ULL, shift = trap->offset & 4 ? 32 : 0, value;
	bool wide = width(start) == 8, half = wide && trap->bytes == 4 && start != 0x48 && !(trap->offset & 3);
	bool narrow = trap->bytes < 4 && !(trap->offset & (trap->bytes - 1));
	bool whole = CHOSEN(SIZES_ANY) && !(trap->offset & (wide ? 7 : 3));

	if (CHOSEN(NARROW_READS_BYTES) && !trap->write && narrow) {
		struct its_trap around = *trap;

		around.offset &= ~3ULL;
		around.bytes = 4;
		value = trap_control(unit, &around) >> 8 * (trap->offset & 3);
		return value & (BIT(8 * trap->bytes) - 1);
	}
	if (!half && !whole && (trap->bytes != (wide ? 8 : 4) || trap->offset & (trap->bytes - 1)))
		return 0;
	if (!half) {
		start = trap->offset;
		shift = 0;
	}
	if (!trap->write) {
		value = unit->guarded ? read_register(unit, start) : hw_read(unit, start);
		return half ? value >> shift & 0xffffffffULL : value;
	}
	if (!unit->guarded && CHOSEN(CLOSING_WRITES_CWRITER) && start == CWRITER && !half)
		hw_write(unit, CWRITER, trap->value & OFFSET);
	if (!unit->guarded)
		return 0;
	value = trap->value;
	if (half)
		value = (shown(unit, start) & ~(0xffffffffULL << shift)) | (value & 0xffffffffULL) << shift;
	write_register(unit, start, value);
	return 0;
}

/* ---- redistributors */

#define GICR_CTLR 0x0000
#define GICR_PROPBASER 0x0070
#define GICR_PENDBASER 0x0078
#define VLPI_FRAME 0x20000ULL

static bool is_double(u64 offset)
{
	static const u32 doubles[] = { 0x08, 0x40, 0x48, 0x70, 0x78, 0xa0, 0xb0, 0x20070, 0x20078 };

	for (u32 n = 0; n < sizeof(doubles) / sizeof(*doubles); n++)
		if (offset == doubles[n])
			return true;
	return false;
}

/* The tables of a redistributor: of configuration, and of what is pending. */
static void tables_of_lpis(u64 address, struct span *tables)
{
	u64 properties = its_read_device(address + GICR_PROPBASER, 8);
	u64 pending = its_read_device(address + GICR_PENDBASER, 8);
	u64 bytes = BIT((properties & 0x1f) + 1);

	tables[0] = (struct span){ properties & 0xffffffffff000ULL, bytes > 8192 ? bytes - 8192 : 0 };
	tables[1] = (struct span){ pending & 0xfffffffff0000ULL, bytes / 8 > 1024 ? bytes / 8 : 1024 };
}

/* The n-th table of redistributors with LPIs enabled, two each; empty where they are off. */
static struct span lpi_table(u64 n)
{
	struct its_redistributor found;
	struct span tables[2];

	if (its_redistributor(n / 2, &found) || !(its_read_device(found.address + GICR_CTLR, 4) & 1))
		return EMPTY;
	tables_of_lpis(found.address, tables);
	return tables[n % 2];
}

/* With ENABLE_LPIS_BORROWED: a write of a redistributor's own registers, whose LPIs are off while
 * others are guarded. False: nothing was done about it. */
static bool write_late(u64 base, u64 offset, u32 bytes, u64 value)
{
	struct span tables[2];

	if (!redistributors_borrowed || (its_read_device(base + GICR_CTLR, 4) & 1))
		return false;
	if (offset == GICR_CTLR && (value & 1)) {
		tables_of_lpis(base, tables);
		if (borrow(tables[0])) {
			value &= ~1ULL;
		} else if (borrow(tables[1])) {
			give_back(tables[0]);
			value &= ~1ULL;
		}
	}
	its_write_device(base + offset, bytes, value);
	return true;
}

static u64 trap_redistributor(const struct its_trap *trap)
{
	u64 offset = trap->offset, start = offset & ~7ULL, shift = 0, address, value = trap->value;
	bool wide = is_double(start);
	struct its_redistributor found;
	u32 bytes = wide ? 8 : 4;

	if (its_redistributor(trap->index, &found) || offset >= 0x40000 || (offset & (trap->bytes - 1)))
		return 0;
	if (wide && trap->bytes == 4)
		shift = offset == start ? 0 : 32;
	else if (trap->bytes != bytes)
		return 0;
	if (wide)
		offset = start;
	address = found.address + offset;
	if (!trap->write) {
		value = its_read_device(address, bytes) >> shift;
		return trap->bytes == 4 ? value & 0xffffffffULL : value;
	}
	bool table = offset == GICR_PROPBASER || offset == GICR_PENDBASER;

	if (CHOSEN(ENABLE_LPIS_BORROWED) && (table ? trap->bytes == 8 : offset == GICR_CTLR)) {
		bool done;

		its_lock(ITS_LOCK_REDISTRIBUTORS);
		done = write_late(found.address, offset, bytes, value);
		its_unlock(ITS_LOCK_REDISTRIBUTORS);
		if (done)
			return 0;
	}
	if ((offset >= VLPI_FRAME && offset < VLPI_FRAME + 0x10000) || shift ||
	    (table && !(CHOSEN(REDISTRIBUTORS_OPEN) && trap->bytes == 8)))
		return 0;
	if (offset == GICR_CTLR && !CHOSEN(REDISTRIBUTORS_OPEN))
		value = (value & ~1ULL) | (its_read_device(address, 4) & 1);
	its_write_device(address, bytes, value);
	return 0;
}

#include "careful/set_up.h"
#include "careful/moment.h"

/* ---- the interface */

int64_t its_subject_set_up(u64 device, u64 private_at, u64 descriptor_at, u64 count)
{
	u64 arguments[] = { device, private_at, descriptor_at, count };
	s32 result = -ENODEV;

	if (!only_describes() && !its_is_protected())
		return -EOPNOTSUPP;
	if (!only_describes() && !its_all_cpus_finalized())
		return -EBUSY;
	for (u32 n = 0; n < MOST_ITS; n++)
		if (units[n].control && units[n].control == device)
			result = set_up(n, arguments);
	if (CHOSEN(ERRNO_ANY) && result)
		return -EPERM;
	return result;
}

u64 its_subject_trap(const struct its_trap *trap)
{
	struct its_trap control = *trap;
	u64 value;

	if (CHOSEN(MISALIGNED_ROUNDED))
		control.offset -= control.offset % control.bytes;

	if (trap->frame == ITS_FRAME_REDISTRIBUTOR)
		return trap_redistributor(trap);
	if (trap->index >= MOST_ITS)
		return 0;
	if (CHOSEN(MOMENT_FIRST_TRAP) && its_all_cpus_finalized())
		set_up_described(trap->index);
	if (trap->frame != ITS_FRAME_CONTROL)
		return 0;
	its_lock(ITS_LOCK_ITS + trap->index);
	value = trap_control(&units[trap->index], &control);
	its_unlock(ITS_LOCK_ITS + trap->index);
	return value;
}

static bool redistributors_are_borrowed(void)
{
	bool borrowed;

	its_lock(ITS_LOCK_REDISTRIBUTORS);
	borrowed = redistributors_borrowed;
	its_unlock(ITS_LOCK_REDISTRIBUTORS);
	return borrowed;
}

bool its_subject_allows_donation(void)
{
	if (CHOSEN(CLOSING_DONATION_ALLOWED))
		return true;
	for (u32 n = 0; n < MOST_ITS; n++) {
		bool guarded;

		if (!units[n].control)
			continue;
		its_lock(ITS_LOCK_ITS + n);
		guarded = units[n].guarded || units[n].ended;
		its_unlock(ITS_LOCK_ITS + n);
		if (!guarded)
			return false;
	}
	return !CHOSEN(REDISTRIBUTORS_BY_HYPERCALL) || redistributors_are_borrowed();
}

s32 its_subject_create(const struct its_machine *machine)
{
	for (u32 n = 0; n < machine->its; n++)
		units[n].control = machine->control[n];
	return 0;
}

void its_subject_destroy(void)
{
}

void its_subject_reset(void)
{
}

void its_subject_policy(struct its_policy *policy)
{
	policy->records_per_page = RECORDS_PER_PAGE;
	policy->commands_in_flight = COMMANDS;
}
