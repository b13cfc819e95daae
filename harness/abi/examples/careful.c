/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * An emulation that follows harness/emulator/POLICY.md, in C: what a subject in a kernel tree could look like. P1 to P14 and S1
 * to S9 are of that page. It passes all targets.
 */
#include "itsdiff_pkvm.h"

ITS_SUBJECT_ABI;

typedef uint8_t u8;
typedef uint32_t u32;
typedef int32_t s32;
typedef uint64_t u64;

#define PAGE 4096ULL
#define BIT(n) (1ULL << (n))
#define FIELD(value, low, bits) (((value) >> (low)) & (BIT(bits) - 1))
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile __typeof__(x) *)&(x) = (value))

#define EPERM 1
#define EBUSY 16
#define ENODEV 19
#define EINVAL 22
#define ENOSPC 28
#define EOPNOTSUPP 95

/* Registers of an ITS. */
#define CTLR 0x0000
#define TYPER 0x0008
#define CBASER 0x0080
#define CWRITER 0x0088
#define CREADR 0x0090
#define BASER(n) (0x0100 + 8 * (u64)(n))
#define ENABLED BIT(0)
#define QUIESCENT BIT(31)
#define VALID BIT(63)
#define INDIRECT BIT(62)
#define CBASER_WRITABLE 0xb8effffffffffcffULL
#define BASER_WRITABLE 0xf8e0ffffffffffffULL
#define OFFSET 0xfffe0ULL

/* Commands. */
enum { MOVI = 1, INT = 3, CLEAR = 4, SYNC = 5, MAPD = 8, MAPC, MAPTI, MAPI, INV, INVALL, MOVALL, DISCARD };

#define COMMANDS 64 /* the most from C to J, and that one trap judges */
#define RECORDS_PER_PAGE 256
#define MOST_ITS 2

struct span {
	u64 address, bytes;
};
#define EMPTY ((struct span){ 0, 0 })

struct table {
	u64 recorded; /* BASER at set-up; there is a table only if it is Valid */
	bool valid;   /* as the host last wrote it */
	u64 shadow;   /* the host's copy of a level-1 table */
};

enum run { RUNNING, STOPPING, AT_REST, LOST };

/* A device's ITT, 128 bits. One: address [43:0] (its bits [51:8]), Size [47:44], left link [63:48]. Two: DeviceID [31:0],
 * right link [50:32], the left link's upper bits [63:61]. A link is the number of a record plus one. */
struct record {
	u64 one, two;
};

struct unit {
	u64 control;
	bool guarded;
	u64 typer, cbaser;
	u32 ctlr;
	bool cbaser_valid;
	struct table tables[8];
	u64 host_queue;
	enum run run;
	u64 written, judged, consumed; /* W, J, C */
	u32 mapds;                     /* MAPD V=1 from C to J: each holds a record (P7) */
	bool stalled, refused;
	struct record *records;
	u32 capacity, root, freed, touched, used;
};

static struct unit units[MOST_ITS];
static bool redistributors_borrowed;

/* ---- shapes */

static u64 page_bytes(u64 baser)
{
	static const u64 bytes[] = { 0x1000, 0x4000, 0x10000, 0x10000 };
	return bytes[FIELD(baser, 8, 2)];
}

static u64 table_address(u64 baser)
{
	u64 field = baser & 0xfffffffff000ULL & ~(page_bytes(baser) - 1);

	return page_bytes(baser) == 0x10000 ? field | FIELD(baser, 12, 4) << 48 : field;
}

static u64 table_bytes(u64 baser)
{
	return ((baser & 0xff) + 1) * page_bytes(baser);
}

static u64 entries_per_page(u64 baser)
{
	return page_bytes(baser) / (FIELD(baser, 48, 5) + 1);
}

static u64 capacity_of(u64 baser)
{
	if (baser & INDIRECT)
		return table_bytes(baser) / 8 * entries_per_page(baser);
	return table_bytes(baser) / (FIELD(baser, 48, 5) + 1);
}

static struct span table_span(const struct table *table)
{
	if (!(table->recorded & VALID))
		return EMPTY;
	return (struct span){ table_address(table->recorded), table_bytes(table->recorded) };
}

static bool is_level1(const struct table *table)
{
	return (table->recorded & VALID) && (table->recorded & INDIRECT);
}

static u64 queue_address(const struct unit *unit)
{
	return unit->cbaser & 0xffffffffff000ULL;
}

static u64 queue_bytes(const struct unit *unit)
{
	return ((unit->cbaser & 0xff) + 1) * PAGE;
}

static u64 distance(const struct unit *unit, u64 from, u64 to)
{
	return (to >= from ? to - from : queue_bytes(unit) - from + to) / 32;
}

static u64 after(const struct unit *unit, u64 offset)
{
	return offset + 32 >= queue_bytes(unit) ? 0 : offset + 32;
}

static u64 itt_entry_bytes(const struct unit *unit)
{
	return FIELD(unit->typer, 4, 4) + 1;
}

static struct span itt_span(const struct unit *unit, u64 address, u64 size)
{
	return (struct span){ address, (2ULL << size) * itt_entry_bytes(unit) };
}

/* ---- hardware */

static u32 width(u64 offset)
{
	bool wide = offset == TYPER || offset == 0x48 || (offset >= CBASER && offset <= CREADR) ||
		    (offset >= BASER(0) && offset <= BASER(7));
	return wide ? 8 : 4;
}

static u64 hw_read(const struct unit *unit, u64 offset)
{
	return its_read_device(unit->control + offset, width(offset));
}

static void hw_write(const struct unit *unit, u64 offset, u64 value)
{
	its_write_device(unit->control + offset, width(offset), value);
}

static bool is_redistributor(const struct unit *unit, u64 rdbase)
{
	struct its_redistributor found;

	for (u32 n = 0; !its_redistributor(n, &found); n++)
		if (rdbase == (unit->typer & BIT(19) ? found.address >> 16 : found.processor_number))
			return true;
	return false;
}

/* ---- pages (P4, P5). A note: how many pins are ours, and whether it was us who shared the page. */

#define OURS BIT(31)

static u64 pages_under(struct span span)
{
	return span.bytes ? (span.address % PAGE + span.bytes + PAGE - 1) / PAGE : 0;
}

static s32 borrow_page(u64 page)
{
	u32 note = its_note(page);
	bool shared = !(note & ~OURS) && !its_share(page);
	s32 result = its_pin(page);

	if (result) {
		if (shared)
			its_unshare(page);
		return result;
	}
	its_set_note(page, (note + 1) | (shared ? OURS : 0));
	return 0;
}

static void give_back_page(u64 page)
{
	u32 note = its_note(page);
	u32 left = (note & ~OURS) - 1;

	if (!(note & ~OURS) || its_unpin(page))
		return;
	its_set_note(page, left ? left | (note & OURS) : 0);
	if (!left && (note & OURS) && !its_pins(page))
		its_unshare(page);
}

static void give_back(struct span span)
{
	u64 first = span.address / PAGE;

	if (!span.bytes)
		return;
	its_lock(ITS_LOCK_MEMORY);
	for (u64 n = pages_under(span); n > 0; n--)
		give_back_page(first + n - 1);
	its_unlock(ITS_LOCK_MEMORY);
}

static s32 borrow(struct span span)
{
	u64 first = span.address / PAGE;
	s32 result = 0;
	u64 n;

	if (!span.bytes)
		return 0;
	if (!its_is_memory(span.address, span.bytes))
		return -EPERM;
	its_lock(ITS_LOCK_MEMORY);
	for (n = 0; n < pages_under(span); n++) {
		result = borrow_page(first + n);
		if (result)
			break;
	}
	if (result)
		while (n-- > 0)
			give_back_page(first + n);
	its_unlock(ITS_LOCK_MEMORY);
	return result;
}

static s32 donate(struct span span)
{
	return span.bytes ? __pkvm_host_donate_hyp(span.address / PAGE, pages_under(span)) : 0;
}

static void reclaim(struct span span)
{
	if (span.bytes)
		__pkvm_hyp_donate_host(span.address / PAGE, pages_under(span));
}

static void zero_pages(struct span span)
{
	for (u64 at = 0; at < span.bytes; at += PAGE)
		__builtin_memset(its_to_pointer(span.address + at), 0, PAGE);
}

/* ---- records (P7): a digital search tree by the bits of the DeviceID, lowest first; no path is longer than 33 */

static u32 left_of(const struct record *record)
{
	return FIELD(record->one, 48, 16) | FIELD(record->two, 61, 3) << 16;
}

static u32 right_of(const struct record *record)
{
	return FIELD(record->two, 32, 19);
}

static void set_links(struct record *record, u64 left, u64 right)
{
	record->one = (record->one & (BIT(48) - 1)) | left << 48;
	record->two = (record->two & 0xffffffffULL) | right << 32 | (left >> 16) << 61;
}

static void set_itt(struct record *record, u64 address, u64 size)
{
	record->one = (record->one & ~(BIT(48) - 1)) | (address >> 8 & (BIT(44) - 1)) | size << 44;
}

static struct span itt_of(const struct unit *unit, const struct record *record)
{
	return itt_span(unit, FIELD(record->one, 0, 44) << 8, FIELD(record->one, 44, 4));
}

static void set_link(struct unit *unit, u32 parent, bool right, u32 link)
{
	struct record *record;

	if (!parent) {
		unit->root = link;
		return;
	}
	record = &unit->records[parent - 1];
	set_links(record, right ? left_of(record) : link, right ? link : right_of(record));
}

/* The link of a device's record, 0 if there is none; and where it is linked, or would be. */
static u32 find(const struct unit *unit, u32 device, u32 *parent, bool *right)
{
	u32 link = unit->root;

	*parent = 0;
	*right = false;
	for (u32 depth = 0; depth <= 32 && link; depth++) {
		const struct record *record = &unit->records[link - 1];

		if ((u32)record->two == device)
			return link;
		*parent = link;
		*right = depth < 32 && (device >> depth & 1);
		link = *right ? right_of(record) : left_of(record);
	}
	return 0;
}

/* Records an ITT. Returns what the device had, empty if nothing; *fresh says whether it is new. No room: not called. */
static struct span record_itt(struct unit *unit, u32 device, u64 address, u64 size, bool *fresh)
{
	struct span old;
	u32 parent, link;
	bool right;

	link = find(unit, device, &parent, &right);
	*fresh = !link;
	if (link) {
		old = itt_of(unit, &unit->records[link - 1]);
		set_itt(&unit->records[link - 1], address, size);
		return old;
	}
	if (unit->freed) {
		link = unit->freed;
		unit->freed = left_of(&unit->records[link - 1]);
	} else {
		link = ++unit->touched;
	}
	unit->used++;
	unit->records[link - 1] = (struct record){ 0, device };
	set_itt(&unit->records[link - 1], address, size);
	set_link(unit, parent, right, link);
	return EMPTY;
}

static struct span forget_itt(struct unit *unit, u32 device)
{
	struct span old;
	u32 parent, link, leaf;
	struct record *record;
	bool right;

	link = find(unit, device, &parent, &right);
	if (!link)
		return EMPTY;
	record = &unit->records[link - 1];
	old = itt_of(unit, record);
	/* Any leaf below may stand in its place: it agrees in as many bits. */
	leaf = link;
	for (u32 depth = 0; depth < 32; depth++) {
		u32 left = left_of(&unit->records[leaf - 1]), below;

		below = left ? left : right_of(&unit->records[leaf - 1]);
		if (!below)
			break;
		parent = leaf;
		right = !left;
		leaf = below;
	}
	set_link(unit, parent, right, 0);
	if (leaf != link) {
		u32 left = left_of(record), other = right_of(record);

		*record = unit->records[leaf - 1];
		set_links(record, left, other);
	}
	unit->records[leaf - 1] = (struct record){ 0, 0 };
	set_links(&unit->records[leaf - 1], unit->freed, 0);
	unit->freed = leaf;
	unit->used--;
	return old;
}

/* ---- the command table */

struct accepted {
	u64 words[4];
	const struct table *grow; /* a level-2 table must be there: of this table, */
	u64 entry;                /* at this byte of the level-1 table */
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
	return device < BIT(FIELD(unit->typer, 13, 5) + 1) && within(table_of(unit, 1), device, accepted);
}

static bool collection_is_in_range(const struct unit *unit, u64 icid, struct accepted *accepted)
{
	u64 all = unit->typer & BIT(36) ? BIT(FIELD(unit->typer, 32, 4) + 1) : 0x10000;

	if (icid >= all)
		return false;
	return icid < FIELD(unit->typer, 24, 8) || within(table_of(unit, 4), icid, accepted);
}

static bool judge(const struct unit *unit, const u64 *in, struct accepted *out)
{
	u64 *to = out->words;
	bool valid = in[2] & VALID;
	u64 rdbase = FIELD(in[2], 16, 36), most = FIELD(unit->typer, 8, 5);

	*out = (struct accepted){ .words = { in[0] & 0xff, 0, 0, 0 } };
	switch (in[0] & 0xff) {
	case MAPD:
		to[0] |= in[0] & 0xffffffff00000000ULL;
		if (!device_is_in_range(unit, in[0] >> 32, out))
			return false;
		if (!valid) {
			out->grow = NULL;
			return true;
		}
		to[1] = in[1] & 0x1f;
		to[2] = in[2] & (VALID | 0xfffffffffff00ULL);
		out->borrows = true;
		out->itt = itt_span(unit, to[2] & ~VALID, to[1]);
		return to[1] <= (most < 15 ? most : 15);
	case MAPC:
		to[2] = in[2] & 0xffff;
		if (!collection_is_in_range(unit, in[2] & 0xffff, out))
			return false;
		if (!valid) {
			out->grow = NULL;
			return true;
		}
		to[2] |= VALID | rdbase << 16;
		return is_redistributor(unit, rdbase);
	case SYNC:
		to[2] = rdbase << 16;
		return is_redistributor(unit, rdbase);
	case MOVALL:
		to[2] = rdbase << 16;
		to[3] = FIELD(in[3], 16, 36) << 16;
		return is_redistributor(unit, rdbase) && is_redistributor(unit, FIELD(in[3], 16, 36));
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

/* The level-2 table that a level-1 entry names: 0 none, 1 this one, -1 with bits that mean nothing. */
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
		return true;
	if (level2_of(READ_ONCE(*host), table->recorded, &level2) != 1)
		return false;
	if (!its_is_memory(level2.address, level2.bytes) || donate(level2))
		return false;
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

/* Copies the host's slot once, judges the copy, borrows for it, writes it to our slot. */
static bool take(struct unit *unit, u64 offset)
{
	u64 words[4];
	struct accepted accepted;
	u64 *slot;

	read_slot(unit->host_queue + offset, words);
	if (!judge(unit, words, &accepted))
		return false;
	if (accepted.borrows && unit->capacity - unit->used <= unit->mapds)
		return false;
	if (accepted.grow && !grow(accepted.grow, accepted.entry))
		return false;
	if (accepted.borrows) {
		if (borrow(accepted.itt))
			return false;
		unit->mapds++;
	}
	slot = its_to_pointer(queue_address(unit) + offset);
	for (u32 n = 0; n < 4; n++)
		WRITE_ONCE(slot[n], accepted.words[n]);
	its_clean(slot, 32);
	return true;
}

static void settle(struct unit *unit, const u64 *words, bool keep)
{
	struct span old;
	bool fresh;

	if ((words[0] & 0xff) != MAPD)
		return;
	if (words[2] & VALID) {
		if (unit->mapds)
			unit->mapds--;
		old = record_itt(unit, words[0] >> 32, words[2] & ~VALID, words[1] & 0x1f, &fresh);
	} else {
		old = forget_itt(unit, words[0] >> 32);
	}
	if (!keep)
		give_back(old);
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

/* False: the ITS does not run, and nothing changed. */
static bool look(struct unit *unit)
{
	u64 creadr = hw_read(unit, CREADR), ctlr = read_ctlr(unit), end = creadr & OFFSET;

	if (!(ctlr & ENABLED) || unit->run != RUNNING)
		return false;
	if (end < queue_bytes(unit) &&
	    distance(unit, unit->consumed, end) <= distance(unit, unit->consumed, unit->judged)) {
		settle_until(unit, end, false);
		unit->stalled = creadr & 1;
	}
	return true;
}

static void submit(struct unit *unit)
{
	u64 before = unit->judged;

	for (u32 n = 0; n < COMMANDS; n++) {
		if (unit->refused || unit->judged == unit->written ||
		    distance(unit, unit->consumed, unit->judged) >= COMMANDS)
			break;
		if (take(unit, unit->judged))
			unit->judged = after(unit, unit->judged);
		else
			unit->refused = true;
	}
	if (unit->judged != before) {
		its_order();
		hw_write(unit, CWRITER, unit->judged);
	}
}

static void poll(struct unit *unit)
{
	if (look(unit))
		submit(unit);
}

static bool shows_stall(const struct unit *unit)
{
	return unit->stalled || (unit->refused && unit->consumed == unit->judged);
}

/* Takes slot C again, at which the hardware stalled: the old command had no effect. */
static bool retake(struct unit *unit)
{
	u32 mapds = unit->mapds;
	bool was_mapd;
	u64 old[4];

	read_slot(queue_address(unit) + unit->consumed, old);
	was_mapd = (old[0] & 0xff) == MAPD && (old[2] & VALID);
	if (was_mapd && unit->mapds)
		unit->mapds--;
	if (!take(unit, unit->consumed)) {
		unit->mapds = mapds;
		return false;
	}
	if (was_mapd)
		give_back(itt_span(unit, old[2] & ~VALID, old[1] & 0x1f));
	return true;
}

static void retry(struct unit *unit)
{
	if (!shows_stall(unit))
		return;
	if (unit->stalled) {
		if (unit->consumed == unit->judged || !retake(unit))
			return;
		unit->stalled = false;
		its_order();
		hw_write(unit, CWRITER, unit->judged | 1);
	}
	unit->refused = false;
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
	if (accepted && (value & 1))
		retry(unit);
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

static void write_ctlr(struct unit *unit, u64 value)
{
	if (!(value & ENABLED)) {
		if (look(unit)) {
			hw_write(unit, CTLR, unit->ctlr);
			unit->run = STOPPING;
		}
	} else if (is_at_rest(unit) && may_start(unit)) {
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

static void write_cbaser(struct unit *unit, u64 value)
{
	if (!stands(value, unit->cbaser, CBASER_WRITABLE & ~VALID) || !is_at_rest(unit))
		return;
	unit->cbaser_valid = value & VALID;
	hw_write(unit, CBASER, shown_cbaser(unit));
	hw_write(unit, CWRITER, 0);
	/* Nobody knows what of the rest was carried out. */
	settle_until(unit, unit->judged, true);
	unit->consumed = unit->judged = unit->written = 0;
	unit->stalled = unit->refused = false;
}

static void write_baser(struct unit *unit, u32 n, u64 value)
{
	struct table *table = &unit->tables[n];

	if (!is_at_rest(unit) || !stands(value, table->recorded, BASER_WRITABLE & ~VALID) ||
	    ((value & VALID) && !(table->recorded & VALID)))
		return;
	table->valid = value & VALID;
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
	return 0;
}

static u64 read_register(struct unit *unit, u64 offset)
{
	if (offset == CTLR)
		return read_ctlr(unit);
	if (offset == CREADR) {
		poll(unit);
		return unit->consumed | shows_stall(unit);
	}
	if (offset == 4 || offset == TYPER || offset == 0x10 || offset == 0x18 || offset == 0x48 || offset >= 0xffd0)
		return hw_read(unit, offset);
	return shown(unit, offset);
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

	if (!half && (trap->bytes != (wide ? 8 : 4) || trap->offset & (trap->bytes - 1)))
		return 0;
	if (!half) {
		start = trap->offset;
		shift = 0;
	}
	if (!trap->write) {
		value = unit->guarded ? read_register(unit, start) : hw_read(unit, start);
		return half ? value >> shift & 0xffffffffULL : value;
	}
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
	if ((offset >= VLPI_FRAME && offset < VLPI_FRAME + 0x10000) || offset == GICR_PROPBASER ||
	    offset == GICR_PENDBASER || shift)
		return 0;
	if (offset == GICR_CTLR)
		value = (value & ~1ULL) | (its_read_device(address, 4) & 1);
	its_write_device(address, bytes, value);
	return 0;
}

/* The n-th of all tables of redistributors with LPIs enabled, two each; empty where LPIs are off. */
static struct span lpi_table(u64 n)
{
	struct its_redistributor found;
	u64 properties, pending, bytes;

	if (its_redistributor(n / 2, &found) || !(its_read_device(found.address + GICR_CTLR, 4) & 1))
		return EMPTY;
	properties = its_read_device(found.address + GICR_PROPBASER, 8);
	pending = its_read_device(found.address + GICR_PENDBASER, 8);
	bytes = BIT((properties & 0x1f) + 1);
	if (n % 2 == 0)
		return (struct span){ properties & 0xffffffffff000ULL, bytes > 8192 ? bytes - 8192 : 0 };
	return (struct span){ pending & 0xfffffffff0000ULL, bytes / 8 > 1024 ? bytes / 8 : 1024 };
}

/* ---- set-up */

#ifndef OWN_LAYOUT
struct described {
	u64 base, shadow, value;
	u32 order, page_bytes;
};

struct descriptor {
	u64 queue, host_queue, queue_bytes, live_devices, list, reserved[3];
	struct described tables[8];
};
#endif

/* Whole pages from a page boundary of the host's linear map, in one region of memory; empty if they are not. */
static struct span linear(u64 address, u64 bytes)
{
	u64 first, last;

	if (!bytes || its_from_host(address, &first) || address + bytes - 1 < address ||
	    its_from_host(address + bytes - 1, &last))
		return EMPTY;
	if ((address | first) % PAGE || last != first + bytes - 1 || !its_is_memory(first, bytes))
		return EMPTY;
	return (struct span){ first, bytes };
}

static bool is_at(u64 host, u64 address)
{
	u64 physical;

	return !its_from_host(host, &physical) && physical == address;
}

/* S7, one table: there is no other of its type before it. */
static bool agree(const struct unit *unit, struct table *table, const struct described *described)
{
	u64 baser = table->recorded, type = FIELD(baser, 56, 3);
	u64 address_field = table_address(baser);

	if (!(baser & VALID))
		return !(described->value & VALID);
	if (page_bytes(baser) == 0x10000)
		address_field = (address_field & 0xffffffff0000ULL) | FIELD(address_field, 48, 4) << 12;
	if ((type != 1 && type != 4) || table_of(unit, type) != table || ((described->value ^ baser) & 0xc71f000000000000ULL) ||
	    (baser & 0xfffffffff000ULL) != address_field || !is_at(described->base, table_address(baser)) ||
	    described->order >= 52 || (PAGE << described->order) != table_bytes(baser) ||
	    described->page_bytes != page_bytes(baser))
		return false;
	if (baser & INDIRECT) {
		struct span shadow = linear(described->shadow, table_bytes(baser));

		table->shadow = shadow.address;
		return shadow.bytes;
	}
	return true;
}

static bool agree_on_tables(struct unit *unit, const struct descriptor *descriptor)
{
	for (u32 n = 0; n < 8; n++)
		if (!agree(unit, &unit->tables[n], &descriptor->tables[n]))
			return false;
	return true;
}

/* S7: each entry is read once, and is what a MAPD could have made. */
static bool record_live_devices(struct unit *unit, struct span list)
{
	const u64 *words = its_to_pointer(list.address);

	for (u64 n = 0; n < list.bytes / 16; n++) {
		u64 first = READ_ONCE(words[2 * n]), address = READ_ONCE(words[2 * n + 1]);
		u64 command[4] = { MAPD | first << 32, first >> 32, address | VALID, 0 };
		struct accepted accepted;
		bool fresh;

		if (first >> 32 > 0x1f || (address & ~0xfffffffffff00ULL) || !judge(unit, command, &accepted))
			return false;
		record_itt(unit, first, address, first >> 32, &fresh);
		if (!fresh)
			return false;
	}
	return true;
}

/* S9: what changes hands, in groups: the queue, tables, level-2 tables of each, the host's queue, shadows, ITTs, LPI tables. */
enum { QUEUE, TABLES, LEVEL2, HOST_QUEUE = LEVEL2 + 8, SHADOWS, ITTS, LPI_TABLES, GROUPS };

static u64 members(const struct unit *unit, u32 group)
{
	struct its_redistributor found;
	u32 n = 0;

	switch (group) {
	case QUEUE:
	case HOST_QUEUE:
		return 1;
	case TABLES:
	case SHADOWS:
		return 8;
	case ITTS:
		return unit->used;
	case LPI_TABLES:
		if (redistributors_borrowed)
			return 0;
		while (!its_redistributor(n, &found))
			n++;
		return 2 * n;
	default:
		if (!is_level1(&unit->tables[group - LEVEL2]))
			return 0;
		return table_bytes(unit->tables[group - LEVEL2].recorded) / 8;
	}
}

/* The n-th of a group; whether it is donated, else borrowed. -1: it cannot change hands. */
static s32 member(const struct unit *unit, u32 group, u64 n, struct span *span)
{
	const struct table *table;

	switch (group) {
	case QUEUE:
		*span = (struct span){ queue_address(unit), queue_bytes(unit) };
		return true;
	case TABLES:
		*span = table_span(&unit->tables[n]);
		return true;
	case HOST_QUEUE:
		*span = (struct span){ unit->host_queue, queue_bytes(unit) };
		return false;
	case SHADOWS:
		*span = EMPTY;
		if (is_level1(&unit->tables[n]))
			*span = (struct span){ unit->tables[n].shadow, table_bytes(unit->tables[n].recorded) };
		return false;
	case ITTS:
		*span = itt_of(unit, &unit->records[n]);
		return false;
	case LPI_TABLES:
		*span = lpi_table(n);
		return false;
	default: {
		u64 *entries;
		s32 found;

		table = &unit->tables[group - LEVEL2];
		entries = its_to_pointer(table_address(table->recorded));
		found = level2_of(READ_ONCE(entries[n]), table->recorded, span);
		if (found <= 0)
			span->bytes = 0;
		return found < 0 ? -1 : true;
	}
	}
}

/* The next member from `n` on that can be anything: level-1 entries are mostly zero. */
static u64 next(const struct unit *unit, u32 group, u64 n, u64 end)
{
	const u64 *entries, *found;

	if (group < LEVEL2 || group >= HOST_QUEUE || n >= end)
		return n;
	entries = its_to_pointer(table_address(unit->tables[group - LEVEL2].recorded));
	found = its_first_word(entries + n, (end - n) * 8);
	return found ? (u64)(found - entries) : end;
}

static void leave(const struct unit *unit, u32 group, u64 end)
{
	for (u64 n = end; n > 0; n--) {
		struct span span;
		s32 donated = member(unit, group, n - 1, &span);

		if (donated > 0)
			reclaim(span);
		else if (!donated)
			give_back(span);
	}
}

static bool change_hands(const struct unit *unit)
{
	for (u32 group = 0; group < GROUPS; group++) {
		u64 end = members(unit, group);

		for (u64 n = next(unit, group, 0, end); n < end; n = next(unit, group, n + 1, end)) {
			struct span span;
			s32 donated = member(unit, group, n, &span);

			if (donated < 0 || (donated ? donate(span) : borrow(span))) {
				leave(unit, group, n);
				while (group-- > 0)
					leave(unit, group, members(unit, group));
				return false;
			}
		}
	}
	return true;
}

/* S7 to S9. */
static s32 take_over(struct unit *unit, const struct descriptor *descriptor, struct span list)
{
	struct span host_queue = EMPTY;
	u64 ctlr, creadr, cwriter;

	unit->cbaser = hw_read(unit, CBASER);
	if (is_at(descriptor->queue, queue_address(unit)) && descriptor->queue_bytes == queue_bytes(unit) &&
	    !(queue_address(unit) & 0xffff))
		host_queue = linear(descriptor->host_queue, queue_bytes(unit));
	unit->host_queue = host_queue.address;
	if (!host_queue.bytes || !(unit->cbaser & VALID))
		return -EINVAL;
	unit->typer = hw_read(unit, TYPER);
	if (!agree_on_tables(unit, descriptor) || !record_live_devices(unit, list))
		return -EINVAL;
	ctlr = hw_read(unit, CTLR);
	creadr = hw_read(unit, CREADR);
	cwriter = hw_read(unit, CWRITER);
	if (!(ctlr & ENABLED) || (creadr & 1) || (creadr & OFFSET) != (cwriter & OFFSET))
		return -EBUSY;
	if (descriptor->live_devices > unit->capacity)
		return -ENOSPC;
	if (!change_hands(unit))
		return -EPERM;
	unit->ctlr = ctlr & ~(ENABLED | QUIESCENT);
	unit->cbaser_valid = true;
	unit->run = RUNNING;
	unit->written = unit->judged = unit->consumed = creadr & OFFSET;
	unit->mapds = 0;
	unit->stalled = unit->refused = false;
	return 0;
}

/* S6, once the private pages are ours. */
static s32 with_private(struct unit *unit, struct span private, struct span page)
{
	static struct descriptor descriptor;
	struct span list = EMPTY;
	s32 result = -EPERM;

	if (donate(page))
		return -EPERM;
	descriptor = *(const struct descriptor *)its_to_pointer(page.address);
	unit->records = its_to_pointer(private.address);
	unit->capacity = private.bytes / PAGE * RECORDS_PER_PAGE;
	unit->root = unit->freed = unit->touched = unit->used = 0;
	if (descriptor.live_devices) {
		if (descriptor.live_devices < BIT(60))
			list = linear(descriptor.list, descriptor.live_devices * 16);
		if (!list.bytes)
			goto out;
		/* What is longer fails at S9. */
		if (list.bytes > unit->capacity * 16ULL)
			list.bytes = unit->capacity * 16ULL;
	}
	if (borrow(list))
		goto out;
	result = take_over(unit, &descriptor, list);
	give_back(list);
out:
	if (result)
		reclaim(page);
	return result;
}

static s32 guard(struct unit *unit, u64 private_at, u64 descriptor_at, u64 count)
{
	struct span private, page;
	s32 result;

	if (unit->guarded)
		return -EOPNOTSUPP;
	for (u32 n = 0; n < 8; n++) {
		u64 baser = hw_read(unit, BASER(n));

		unit->tables[n] = (struct table){ baser, baser & VALID, 0 };
	}
	if (table_of(unit, 2))
		return -EOPNOTSUPP;
	count = count ? count : 1;
	if (count > 1024)
		return -EINVAL;
	private = linear(private_at, count * PAGE);
	page = linear(descriptor_at, PAGE);
	if (!private.bytes || !page.bytes ||
	    (private.address < page.address + PAGE && page.address < private.address + private.bytes))
		return -EINVAL;
	if (donate(private))
		return -EPERM;
	zero_pages(private);
	result = with_private(unit, private, page);
	if (result) {
		zero_pages(private);
		its_clean(its_to_pointer(private.address), private.bytes);
		reclaim(private);
		return result;
	}
	unit->guarded = true;
	redistributors_borrowed = true;
	return 0;
}

/* ---- the interface */

int64_t its_subject_set_up(u64 device, u64 private_at, u64 descriptor_at, u64 count)
{
	s32 result = -ENODEV;

	if (!its_is_protected())
		return -EOPNOTSUPP;
	if (!its_all_cpus_finalized())
		return -EBUSY;
	for (u32 n = 0; n < MOST_ITS; n++) {
		if (!units[n].control || units[n].control != device)
			continue;
		its_lock(ITS_LOCK_SET_UP);
		its_lock(ITS_LOCK_ITS + n);
		result = guard(&units[n], private_at, descriptor_at, count);
		its_unlock(ITS_LOCK_ITS + n);
		its_unlock(ITS_LOCK_SET_UP);
	}
	return result;
}

u64 its_subject_trap(const struct its_trap *trap)
{
	u64 value;

	if (trap->frame == ITS_FRAME_REDISTRIBUTOR)
		return trap_redistributor(trap);
	if (trap->frame != ITS_FRAME_CONTROL || trap->index >= MOST_ITS)
		return 0;
	its_lock(ITS_LOCK_ITS + trap->index);
	value = trap_control(&units[trap->index], trap);
	its_unlock(ITS_LOCK_ITS + trap->index);
	return value;
}

bool its_subject_allows_donation(void)
{
	for (u32 n = 0; n < MOST_ITS; n++) {
		bool guarded;

		if (!units[n].control)
			continue;
		its_lock(ITS_LOCK_ITS + n);
		guarded = units[n].guarded;
		its_unlock(ITS_LOCK_ITS + n);
		if (!guarded)
			return false;
	}
	return true;
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
