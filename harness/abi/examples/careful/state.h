/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A part of careful.c: its state, the shapes of tables and queues, pages, and the records of ITTs. */
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
#define ITT_ADDRESS 0xfffffffffff00ULL

/* Commands. */
enum { MOVI = 1, INT = 3, CLEAR = 4, SYNC = 5, MAPD = 8, MAPC, MAPTI, MAPI, INV, INVALL, MOVALL, DISCARD };

#define POLLED 8 /* with POLLS */
#define HIDDEN BIT(13) /* with TYPER_HIDDEN: a bit of Devbits */
#define ATTRIBUTES 0x38e0000000000c00ULL /* of CBASER and BASER */

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

/* A device's ITT, 128 bits. One: address [43:0] (its bits [51:8]), Size [47:44], left link
 * [63:48]. Two: DeviceID [31:0], right link [50:32], the left link's upper bits [63:61]. A link is
 * the number of a record plus one. */
struct record {
	u64 one, two;
};

struct unit {
	u64 control;
	bool guarded, described, ended;
	struct span private, descriptor;
	u64 arguments[4]; /* of the hypercall that described it */
	u64 typer, cbaser;
	u32 ctlr;
	bool cbaser_valid;
	struct table tables[8];
	u64 host_queue;
	enum run run;
	u64 written, judged, consumed; /* W, J, C */
	u32 mapds;                     /* MAPD V=1 from C to J: each holds a record (P7) */
	bool stalled, refused;
	bool enabled, reprogram; /* with CTLR_ACCEPTED; with RESUME_EL2 */
	struct record *records;
	u32 capacity, root, freed, touched, used;
};

static struct unit units[MOST_ITS];
/* ITS_LOCK_SET_UP, or ITS_LOCK_REDISTRIBUTORS where redistributors have a set-up of their own. */
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
	bool pinned = CHOSEN(PINS_BY_PAGE) && (note & ~OURS);
	s32 result = pinned ? 0 : its_pin(page);

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

	if (!(note & ~OURS) || (!(CHOSEN(PINS_BY_PAGE) && left) && its_unpin(page)))
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

static bool is_borrowed(struct span span)
{
	for (u64 n = 0; n < pages_under(span); n++)
		if (its_note(span.address / PAGE + n))
			return true;
	return false;
}

/* `alone`: of no page that is borrowed already. */
static s32 borrow_as(struct span span, bool alone)
{
	u64 first = span.address / PAGE;
	s32 result = 0;
	u64 n;

	if (!span.bytes)
		return 0;
	if (!its_is_memory(span.address, span.bytes))
		return -EPERM;
	its_lock(ITS_LOCK_MEMORY);
	if (alone && is_borrowed(span)) {
		its_unlock(ITS_LOCK_MEMORY);
		return -EBUSY;
	}
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

static s32 borrow(struct span span)
{
	return borrow_as(span, false);
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

/* Of the queue or a table. */
static s32 donate_table(struct span span)
{
	s32 result = donate(span);

	if (!CHOSEN(TABLES_SHOWN) || result || !span.bytes)
		return result;
	its_lock(ITS_LOCK_MEMORY);
	result = its_show(span.address / PAGE, pages_under(span));
	if (result)
		its_reclaim(span.address / PAGE, pages_under(span));
	its_unlock(ITS_LOCK_MEMORY);
	return result;
}

static void reclaim_table(struct span span)
{
	if (CHOSEN(TABLES_SHOWN) && span.bytes) {
		its_lock(ITS_LOCK_MEMORY);
		its_hide(span.address / PAGE, pages_under(span));
		its_unlock(ITS_LOCK_MEMORY);
	}
	reclaim(span);
}

static s32 take_itt(struct span span)
{
	if (!CHOSEN(ITTS_OWNED))
		return borrow_as(span, CHOSEN(ITT_PAGES_OWN));
	return its_is_memory(span.address, span.bytes) ? donate(span) : -EPERM;
}

static void give_back_itt(struct span span)
{
	if (CHOSEN(ITTS_OWNED))
		reclaim(span);
	else
		give_back(span);
}

static void zero_pages(struct span span)
{
	for (u64 at = 0; at < span.bytes; at += PAGE)
		__builtin_memset(its_to_pointer(span.address + at), 0, PAGE);
}

/* ---- records (P7): a digital search tree by the bits of the DeviceID, lowest first; no path is
 * longer than 33 */

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

/* Records an ITT. Returns what the device had, empty if nothing; *fresh says whether it is new. No
 * room: not called. */
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
