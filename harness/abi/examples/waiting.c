/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * An emulation with another policy than POLICY.md: it hands the ITS one command at a time and waits
 * for it. waiting/subject.toml declares what it does otherwise. A command that it refuses stops the
 * queue, and nothing says so. It is set up while no device is mapped, takes the shape of queue and
 * tables from the hardware, and cleans only what the hardware does not snoop, by Shareability and
 * by firmware. With each MAPD and MAPC it follows the host's level-1 entry, and it refuses one with
 * V=1 whose entry the host changed since. It pins a page once for all structures on it, and gives
 * back the ITT that a MAPD V=0 names. Redistributors have a set-up of their own.
 */
#include "itsdiff.h"

typedef uint8_t u8;
typedef uint32_t u32;
typedef int32_t s32;
typedef uint64_t u64;

#define PAGE 4096ULL
#define BIT(n) (1ULL << (n))
#define BITS(value, low, count) (((value) >> (low)) & (BIT(count) - 1))
#define ONCE(x) (*(volatile __typeof__(x) *)&(x))

#include "waiting/mistakes.h"
#include "waiting/pages.h"

ITS_SUBJECT_ABI;

/* Registers of an ITS, and their fields. */
enum { CTLR = 0, IIDR = 4, TYPER = 8, CBASER = 0x80, CWRITER = 0x88, CREADR = 0x90, BASER = 0x100 };
#define ENABLED BIT(0)
#define QUIESCENT BIT(31)
#define STALLED BIT(0)
#define RETRY BIT(0)
#define OFFSET 0xfffe0ULL
#define VALID BIT(63)
#define INDIRECT BIT(62)
#define SHAREABILITY (3ULL << 10)
#define ATTRIBUTES (7ULL << 59 | 7ULL << 53 | SHAREABILITY)
#define CBASER_FIELDS 0xb8effffffffffcffULL
#define BASER_FIELDS 0xf8e0ffffffffffffULL

#define ITT_ADDRESS 0xfffffffffff00ULL
#define MOST_ITS 2
#define MOST_POLLS 16
#define PER_TRAP 64
#define RECORDS_PER_PAGE 256
#define LARGEST_SIZE 15

/* A mapped device. Key: Valid, Size [36:32], DeviceID [31:0]. */
struct record {
	u64 key, itt;
};

/* What a command does to records once the ITS consumed it. */
struct effect {
	enum { NOTHING, MAP, UNMAP } kind;
	u32 device, size;
	u64 itt;
};

struct unit {
	u64 base;
	bool guarded;
	u64 typer;
	u32 ctlr; /* at set-up, without Enabled and Quiescent */
	u64 cbaser, baser[8];
	bool cbaser_valid, baser_valid[8]; /* as the host last wrote it */
	bool queue_snooped, table_snooped[8];
	u64 host_queue, host_level1[8];
	u64 written, head; /* offsets: the host's CWRITER; the next command that is not consumed */
	bool in_flight;    /* the ITS has the command at head */
	struct effect effect;
	bool stalled, refused;
	enum { RUNS, STOPS, RESTS, GONE } state;
	struct record *records;
	u32 room, used;
};

static struct unit units[MOST_ITS];

/* ---- registers and shapes */

static bool is_wide(u64 offset)
{
	return offset == TYPER || offset == 0x48 || (offset >= CBASER && offset <= CREADR) ||
	       (offset >= BASER && offset < BASER + 64);
}

static u64 get(const struct unit *unit, u64 offset)
{
	return its_read_device(unit->base + offset, is_wide(offset) ? 8 : 4);
}

static void set(const struct unit *unit, u64 offset, u64 value)
{
	its_write_device(unit->base + offset, is_wide(offset) ? 8 : 4, value);
}

static struct span queue_of(const struct unit *unit)
{
	return (struct span){ unit->cbaser & 0xffffffffff000ULL, (BITS(unit->cbaser, 0, 8) + 1) * PAGE };
}

static u64 following(const struct unit *unit, u64 offset)
{
	u64 bytes = queue_of(unit).bytes;

	if (MISTAKE(QUEUE_WRAPS_LATE))
		return offset >= bytes ? 0 : offset + 32;
	return offset + 32 >= bytes ? 0 : offset + 32;
}

static u64 its_page(u64 baser)
{
	static const u64 bytes[4] = { 0x1000, 0x4000, 0x10000, 0x10000 };

	return bytes[BITS(baser, 8, 2)];
}

static u64 table_start(u64 baser)
{
	u64 start = baser & 0xfffffffff000ULL;

	if (its_page(baser) == 0x10000)
		return (start & ~0xffffULL) | BITS(baser, 12, 4) << 48;
	return start;
}

static struct span table_of(u64 baser)
{
	if (!(baser & VALID))
		return (struct span){ 0, 0 };
	return (struct span){ table_start(baser), (BITS(baser, 0, 8) + 1) * its_page(baser) };
}

static u64 entries_in(u64 baser, u64 bytes)
{
	return bytes / (BITS(baser, 48, 5) + 1);
}

static u64 size_of_itt(const struct unit *unit, u32 size)
{
	return (2ULL << size) * (BITS(unit->typer, 4, 4) + 1);
}

static struct span itt_of(const struct unit *unit, u64 itt, u32 size)
{
	return (struct span){ itt, size_of_itt(unit, size) };
}

/* Whether an ITS sees stores to memory that it reaches by a register, though nobody cleans them. */
static bool snoops(const struct unit *unit, u64 offset)
{
	return its_is_coherent() && (get(unit, offset) & SHAREABILITY);
}

/* What was stored, and cleaned where the ITS does not snoop, comes before what follows. */
static void order(bool snooped)
{
	its_barrier(snooped || MISTAKE(BARRIER_TOO_WEAK) ? ITS_DMB + ITS_OSHST : ITS_DSB + ITS_SY);
}

/* The ITS is about to see CWRITER: slots, and level-1 entries that came before. */
static void order_queue(const struct unit *unit)
{
	bool snooped = unit->queue_snooped;

	for (u32 n = 0; n < 8 && !MISTAKE(BARRIER_BY_QUEUE); n++)
		snooped = snooped && (!(unit->baser[n] & VALID) || unit->table_snooped[n]);
	order(snooped);
}

/* ---- records */

static struct record *find(const struct unit *unit, u32 device)
{
	for (u32 n = 0; n < unit->used; n++)
		if ((u32)unit->records[n].key == device)
			return &unit->records[n];
	return NULL;
}

/* What is released comes back to the host, unless it is `kept`. */
static void complete(struct unit *unit, bool kept)
{
	struct effect effect = unit->effect;
	struct record *record = effect.kind == NOTHING ? NULL : find(unit, effect.device);

	unit->in_flight = false;
	unit->effect.kind = NOTHING;
	unit->head = following(unit, unit->head);
	if (record && !kept && effect.kind == UNMAP)
		hand_back(itt_of(unit, effect.itt, effect.size));
	else if (record && !kept && !MISTAKE(OLD_ITT_KEPT))
		hand_back(itt_of(unit, record->itt, BITS(record->key, 32, 5)));
	if (effect.kind == MAP) {
		if (!record)
			record = &unit->records[unit->used++];
		*record = (struct record){ VALID | (u64)effect.size << 32 | effect.device, effect.itt };
	} else if (effect.kind == UNMAP && record && !MISTAKE(RECORD_LEFT)) {
		*record = unit->records[--unit->used];
	}
}

/* ---- what a command may do */

/* A command that may be passed on. */
struct passed {
	u64 words[4];
	struct effect effect;
	s32 table; /* BASER whose level-2 table must be there, or -1 */
	u64 index; /* of its level-1 entry */
	bool is_optional; /* the table joins if the host offers it, and need not be there */
};

static s32 table_of_type(const struct unit *unit, u64 type)
{
	for (s32 n = 0; n < 8; n++)
		if ((unit->baser[n] & VALID) && BITS(unit->baser[n], 56, 3) == type)
			return n;
	return -1;
}

/* Whether a table has an entry for an id. With V=1 its level-2 table must be there. */
static bool has_entry(const struct unit *unit, u64 type, u64 id, bool valid, struct passed *passed)
{
	s32 n = table_of_type(unit, type);
	u64 baser, per_page;

	if (n < 0)
		return false;
	baser = unit->baser[n];
	if (!(baser & INDIRECT))
		return id < entries_in(baser, table_of(baser).bytes);
	per_page = entries_in(baser, its_page(baser));
	if (id / per_page >= (MISTAKE(BOUND_BY_COPY) ? its_page(baser) / 4 : table_of(baser).bytes / 8))
		return false;
	passed->table = n;
	passed->index = id / per_page;
	passed->is_optional = !valid;
	return true;
}

static bool is_redistributor(const struct unit *unit, u64 rdbase)
{
	struct its_redistributor found;

	for (u32 n = 0; !its_redistributor(n, &found); n++)
		if (rdbase == (unit->typer & BIT(19) ? found.address >> 16 : found.processor_number))
			return true;
	return false;
}

/* Whether a MAPD V=0 names other pages than those of its device's ITT. */
static bool names_another(const struct unit *unit, u32 device, struct span named)
{
	const struct record *record = MISTAKE(UNMAP_UNCHECKED) ? NULL : find(unit, device);
	struct span own;

	if (!record)
		return false;
	own = itt_of(unit, record->itt, BITS(record->key, 32, 5));
	return own.start / PAGE != named.start / PAGE || pages_of(own) != pages_of(named);
}

static bool judge_mapd(const struct unit *unit, const u64 *in, struct passed *out)
{
	u32 device = in[0] >> 32, size = in[1] & 0x1f;
	bool valid = in[2] & VALID;
	u64 itt = in[2] & ITT_ADDRESS;

	out->words[0] = in[0] & 0xffffffff000000ffULL;
	out->effect = (struct effect){ valid ? MAP : UNMAP, device, size, itt };
	if (device >= BIT(BITS(unit->typer, 13, 5) + 1) || !has_entry(unit, 1, device, valid, out))
		return false;
	if (!valid)
		return !names_another(unit, device, itt_of(unit, itt, size));
	out->words[1] = size;
	out->words[2] = VALID | itt;
	return size <= BITS(unit->typer, 8, 5) && size <= LARGEST_SIZE &&
	       unit->used < unit->room + MISTAKE(CAPACITY_UNCHECKED);
}

static bool judge_mapc(const struct unit *unit, const u64 *in, struct passed *out)
{
	u64 icid = in[2] & 0xffff, rdbase = BITS(in[2], 16, 36);
	bool valid = in[2] & VALID;

	out->words[2] = icid | (valid ? VALID | rdbase << 16 : 0);
	if ((unit->typer & BIT(36)) && icid >= BIT(BITS(unit->typer, 32, 4) + 1))
		return false;
	if (icid >= BITS(unit->typer, 24, 8) && !has_entry(unit, 4, icid, valid, out))
		return false;
	return !valid || is_redistributor(unit, rdbase);
}

static bool judge(const struct unit *unit, const u64 *in, struct passed *out)
{
	u64 opcode = in[0] & 0xff, rdbase = BITS(in[2], 16, 36), other = BITS(in[3], 16, 36);

	*out = (struct passed){ .words = { opcode }, .table = -1 };
	switch (opcode) {
	case 0x08:
		return judge_mapd(unit, in, out);
	case 0x09:
		return judge_mapc(unit, in, out);
	case 0x0e: /* MOVALL */
		out->words[2] = rdbase << 16;
		out->words[3] = other << 16;
		return is_redistributor(unit, rdbase) && is_redistributor(unit, other);
	case 0x05: /* SYNC */
		out->words[2] = rdbase << 16;
		return is_redistributor(unit, rdbase);
	case 0x0d: /* INVALL */
		out->words[2] = in[2] & 0xffff;
		return true;
	case 0x0a: /* MAPTI */
	case 0x0b: /* MAPI */
	case 0x01: /* MOVI */
		out->words[2] = in[2] & 0xffff;
		/* fallthrough */
	case 0x03: /* INT */
	case 0x04: /* CLEAR */
	case 0x0c: /* INV */
	case 0x0f: /* DISCARD */
		out->words[0] = in[0] & 0xffffffff000000ffULL;
		out->words[1] = opcode == 0x0a ? in[1] : in[1] & 0xffffffffULL;
		return true;
	default:
		return false;
	}
}

/* The level-2 table that an entry names. Empty: it names none, or has bits that mean nothing. */
static struct span level2_of(u64 entry, u64 baser)
{
	u64 start = entry & 0xffffffffff000ULL & ~(its_page(baser) - 1);

	if (entry != (VALID | start))
		return (struct span){ 0, 0 };
	return (struct span){ start, its_page(baser) };
}

/* Takes the level-2 table that the host offers, where there is none. */
static bool grow(struct unit *unit, s32 n, u64 index)
{
	u64 baser = unit->baser[n], entry;
	u64 *own = (u64 *)its_to_pointer(table_start(baser)) + index;
	u64 *host = (u64 *)its_to_pointer(unit->host_level1[n]) + index;
	bool clean = !unit->table_snooped[n];
	struct span level2;

	entry = ONCE(*host);
	if (ONCE(*own) & VALID)
		return entry == ONCE(*own) || MISTAKE(CHANGED_ENTRY_TAKEN);
	level2 = level2_of(entry, baser);
	if (!level2.bytes || !its_is_memory(level2.start, level2.bytes) || !take(level2))
		return false;
	if (MISTAKE(LEVEL2_ZEROED_LATE))
		ONCE(*own) = entry;
	zero(level2);
	if (clean && !(MISTAKE(LEVEL2_NOT_CLEANED) && (get(unit, BASER + 8 * (u64)n) & SHAREABILITY)))
		its_clean(its_to_pointer(level2.start), level2.bytes);
	order(!clean);
	ONCE(*own) = MISTAKE(ENTRY_READ_TWICE) ? ONCE(*host) : entry;
	if (clean)
		its_clean(own, 8);
	return true;
}

/* ---- the queue */

static u64 *slot_at(u64 queue, u64 offset)
{
	return its_to_pointer(queue + offset);
}

/* Copies the host's command at head once, judges it, borrows for it and writes it to our slot. */
static bool pass(struct unit *unit)
{
	u64 *host = slot_at(unit->host_queue, unit->head);
	u64 *own = slot_at(queue_of(unit).start, unit->head);
	bool snooped = MISTAKE(SLOT_CLEANED_BY_TABLE) ? unit->table_snooped[0] : unit->queue_snooped;
	struct passed passed;
	u64 words[4];

	for (u32 n = 0; n < 4; n++)
		words[n] = ONCE(host[n]);
	if (!judge(unit, words, &passed))
		return false;
	if (passed.table >= 0 && !(MISTAKE(FOLLOWED_LATE) && passed.is_optional) &&
	    !grow(unit, passed.table, passed.index) && !passed.is_optional)
		return false;
	if (passed.effect.kind == MAP && !lend(itt_of(unit, passed.effect.itt, passed.effect.size)))
		return false;
	for (u32 n = 0; n < 4; n++)
		ONCE(own[n]) = MISTAKE(SLOT_FETCHED_TWICE) && n == 2 ? ONCE(host[n]) : passed.words[n];
	if (!snooped)
		its_clean(own, 32);
	unit->effect = passed.effect;
	return true;
}

/* What CREADR says of the command in flight. */
static void note(struct unit *unit, u64 creadr)
{
	u64 offset = creadr & OFFSET;

	if (offset == unit->head) {
		unit->stalled = creadr & STALLED;
	} else if (unit->in_flight && offset == following(unit, unit->head)) {
		unit->stalled = creadr & STALLED;
		complete(unit, false);
	}
}

/* Waits for the command in flight, but not for ever. */
static void await(struct unit *unit)
{
	for (u32 n = 0; unit->in_flight && !unit->stalled; n++) {
		u64 creadr;

		if (n >= MOST_POLLS && !MISTAKE(WAITS_FOR_EVER))
			break;
		creadr = get(unit, CREADR);

		if (MISTAKE(NOT_COMPLETED) && (creadr & OFFSET) != unit->head)
			unit->effect.kind = NOTHING;
		note(unit, creadr);
	}
	if (!unit->in_flight || unit->stalled)
		return;
	if (MISTAKE(COMPLETED_ON_TIMEOUT))
		complete(unit, false);
	if (MISTAKE(ROLLED_BACK)) {
		set(unit, CWRITER, unit->head);
		if (unit->effect.kind == MAP)
			hand_back(itt_of(unit, unit->effect.itt, unit->effect.size));
		unit->effect.kind = NOTHING;
		unit->in_flight = false;
	}
}

/* Passes on so many commands at most. */
static void serve(struct unit *unit, u32 most)
{
	for (u32 n = 0; n < most; n++) {
		if (unit->in_flight || unit->stalled || unit->refused || unit->head == unit->written)
			return;
		if (!pass(unit)) {
			unit->refused = true;
			return;
		}
		unit->in_flight = true;
		order_queue(unit);
		set(unit, CWRITER, following(unit, unit->head));
		await(unit);
	}
}

static u64 read_ctlr(struct unit *unit)
{
	u64 ctlr = get(unit, CTLR), creadr;

	if (unit->state == RUNS && !(ctlr & ENABLED)) {
		unit->state = GONE;
	} else if (unit->state == STOPS && (ctlr & QUIESCENT) && !(ctlr & ENABLED)) {
		unit->state = GONE;
		if ((get(unit, CBASER) ^ unit->cbaser) & CBASER_FIELDS)
			return ctlr;
		creadr = get(unit, CREADR) & OFFSET;
		if (creadr == unit->head || (unit->in_flight && creadr == following(unit, unit->head)))
			unit->state = RESTS;
	}
	return ctlr;
}

/* Whether the ITS runs; then what it consumed is known. */
static bool look(struct unit *unit)
{
	u64 creadr = get(unit, CREADR), ctlr = read_ctlr(unit);

	if (!(ctlr & ENABLED) || unit->state != RUNS)
		return false;
	note(unit, creadr);
	return true;
}

/* The slot at which the ITS stalled is judged again; the command that was there did nothing.
 * Returns how many commands were judged. */
static u32 retry(struct unit *unit)
{
	struct effect old = unit->effect;

	if (!unit->stalled || !unit->in_flight)
		return 0;
	if (!MISTAKE(RETRY_UNJUDGED)) {
		if (!pass(unit))
			return 1;
		if (old.kind == MAP)
			hand_back(itt_of(unit, old.itt, old.size));
	}
	unit->stalled = false;
	order_queue(unit);
	set(unit, CWRITER, following(unit, unit->head) | RETRY);
	await(unit);
	return 1;
}

/* Whether the host's CWRITER may be there: in the queue, and not on the command in flight. */
static bool may_write(const struct unit *unit, u64 offset)
{
	return offset < queue_of(unit).bytes && !(unit->in_flight && offset == unit->head);
}

static void write_cwriter(struct unit *unit, u64 value)
{
	bool runs = look(unit), accepted = may_write(unit, value & OFFSET);
	u32 judged = 0;

	if (accepted)
		unit->written = value & OFFSET;
	if (!runs)
		return;
	if (accepted && (value & RETRY))
		judged = retry(unit);
	if (accepted && !MISTAKE(REFUSED_FOR_EVER))
		unit->refused = false;
	serve(unit, PER_TRAP - judged);
}

/* ---- registers of a guarded ITS */

static bool rests(struct unit *unit)
{
	if (unit->state == STOPS)
		read_ctlr(unit);
	return unit->state == RESTS || (MISTAKE(STARTS_UNRESTED) && unit->state == STOPS);
}

static bool may_start(const struct unit *unit)
{
	if (unit->in_flight || get(unit, CREADR) != unit->head ||
	    (get(unit, CWRITER) & OFFSET) != unit->head ||
	    ((get(unit, CBASER) ^ unit->cbaser) & CBASER_FIELDS))
		return false;
	for (u32 n = 0; n < 8; n++)
		if ((unit->baser[n] & VALID) && ((get(unit, BASER + 8 * n) ^ unit->baser[n]) & BASER_FIELDS))
			return false;
	return true;
}

static void write_ctlr(struct unit *unit, u64 value)
{
	if (!(value & ENABLED)) {
		if (!look(unit))
			return;
		set(unit, CTLR, unit->ctlr);
		unit->state = STOPS;
	} else if (rests(unit) && may_start(unit)) {
		set(unit, CTLR, unit->ctlr | ENABLED);
		unit->state = RUNS;
		if (look(unit))
			serve(unit, PER_TRAP);
	}
}

/* A register as it was, with what the host may choose of it. */
static u64 chosen(u64 before, u64 value)
{
	return (before & ~ATTRIBUTES) | (value & ATTRIBUTES);
}

static void write_cbaser(struct unit *unit, u64 value)
{
	if (((value ^ unit->cbaser) & CBASER_FIELDS & ~(VALID | ATTRIBUTES)) || !rests(unit))
		return;
	unit->cbaser = chosen(unit->cbaser, value);
	unit->cbaser_valid = MISTAKE(VALID_FORGOTTEN) || (value & VALID);
	set(unit, CBASER, (unit->cbaser & ~VALID) | (value & VALID));
	set(unit, CWRITER, 0);
	unit->queue_snooped = snoops(unit, CBASER);
	/* Whether the command in flight was carried out is not known. */
	if (unit->in_flight)
		complete(unit, true);
	unit->head = unit->written = 0;
	unit->stalled = unit->refused = false;
}

static void write_baser(struct unit *unit, u32 n, u64 value)
{
	u64 before = unit->baser[n];

	if (((value ^ before) & BASER_FIELDS & ~(VALID | ATTRIBUTES)) ||
	    ((value & VALID) && !(before & VALID)) || !rests(unit))
		return;
	unit->baser[n] = chosen(before, value);
	unit->baser_valid[n] = value & VALID;
	set(unit, BASER + 8 * n, (unit->baser[n] & ~VALID) | (value & VALID));
	unit->table_snooped[n] = snoops(unit, BASER + 8 * n);
}

/* What a register that EL2 keeps shows; zero for what there is not. */
static u64 kept(const struct unit *unit, u64 offset)
{
	u32 n = (offset - BASER) / 8;

	if (offset == CBASER)
		return (unit->cbaser & ~VALID) | (unit->cbaser_valid ? VALID : 0);
	if (offset == CWRITER)
		return unit->written;
	if (offset >= BASER && offset < BASER + 64)
		return (unit->baser[n] & ~VALID) | (unit->baser_valid[n] ? VALID : 0);
	return 0;
}

static u64 read_register(struct unit *unit, u64 offset)
{
	switch (offset) {
	case CTLR:
		return read_ctlr(unit);
	case CREADR:
		if (look(unit))
			serve(unit, PER_TRAP);
		return unit->head | unit->stalled;
	case IIDR:
	case TYPER:
	case 0x10:
	case 0x18:
	case 0x48:
		return get(unit, offset);
	default:
		return offset >= 0xffd0 ? get(unit, offset) : kept(unit, offset);
	}
}

static void write_register(struct unit *unit, u64 offset, u64 value)
{
	if (offset == CTLR)
		write_ctlr(unit, value);
	else if (offset == CBASER)
		write_cbaser(unit, value);
	else if (offset == CWRITER)
		write_cwriter(unit, value);
	else if (offset >= BASER && offset < BASER + 64)
		write_baser(unit, (offset - BASER) / 8, value);
}

static u64 trap_control(struct unit *unit, const struct its_trap *trap)
{
	u64 offset = trap->offset, low = offset & ~7ULL, value, mask = ~0ULL;
	bool wide = is_wide(low) && (trap->bytes == 8 || low != 0x48);
	u32 shift = 0;

	if (offset % trap->bytes || trap->bytes < 4 || (trap->bytes == 8) > wide)
		return 0;
	if (wide && trap->bytes == 4) {
		shift = offset & 4 ? 32 : 0;
		mask = 0xffffffffULL << shift;
		offset = low;
	}
	if (is_wide(low) && !wide)
		return 0;
	if (!trap->write) {
		value = unit->guarded ? read_register(unit, offset) : get(unit, offset);
		return (value & mask) >> shift;
	}
	if (!unit->guarded)
		return 0;
	value = (kept(unit, offset) & ~mask) | ((trap->value << shift) & mask);
	write_register(unit, offset, value);
	return 0;
}

#include "waiting/redistributors.h"
#include "waiting/set_up.h"

/* ---- the interface */

u64 its_subject_trap(const struct its_trap *trap)
{
	u64 value = 0;

	if (trap->frame == ITS_FRAME_REDISTRIBUTOR)
		return trap_redistributor(trap);
	if (trap->frame != ITS_FRAME_CONTROL || trap->index >= MOST_ITS)
		return 0;
	its_lock(ITS_LOCK_ITS + trap->index);
	if (units[trap->index].base)
		value = trap_control(&units[trap->index], trap);
	its_unlock(ITS_LOCK_ITS + trap->index);
	return value;
}

bool its_subject_allows_donation(void)
{
	bool all = MISTAKE(DONATES_EARLY);

	if (!all) {
		its_lock(ITS_LOCK_REDISTRIBUTORS);
		all = lpi_tables_lent;
		its_unlock(ITS_LOCK_REDISTRIBUTORS);
	}

	for (u32 n = 0; n < MOST_ITS; n++) {
		its_lock(ITS_LOCK_ITS + n);
		all = all && (!units[n].base || units[n].guarded);
		its_unlock(ITS_LOCK_ITS + n);
	}
	return all;
}

s32 its_subject_create(const struct its_machine *machine)
{
	for (u32 n = 0; n < machine->its && n < MOST_ITS; n++)
		units[n].base = machine->control[n];
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
	policy->commands_in_flight = 1;
	policy->its = MOST_ITS;
	policy->redistributors = 8;
}
