/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A part of careful.c: set-up, all or nothing (S1 to S9). */
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

/* Whole pages from a page boundary of the host's linear map, in one region of memory; empty if
 * they are not. */
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
		return CHOSEN(DESCRIBED_COPIES) || !(described->value & VALID);
	if (page_bytes(baser) == 0x10000)
		address_field = (address_field & 0xffffffff0000ULL) | FIELD(address_field, 48, 4) << 12;
	if ((type != 1 && type != 4) || table_of(unit, type) != table ||
	    (baser & 0xfffffffff000ULL) != address_field)
		return false;
	if (!CHOSEN(DESCRIBED_COPIES) &&
	    (((described->value ^ baser) & 0xc71f000000000000ULL) ||
	     !is_at(described->base, table_address(baser)) ||
	     described->order >= 52 || (PAGE << described->order) != table_bytes(baser) ||
	     described->page_bytes != page_bytes(baser)))
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

		if (CHOSEN(DEVICE_IDS) && (u32)first >= 16)
			return false;
		if (first >> 32 > 0x1f || (address & ~0xfffffffffff00ULL) || !judge(unit, command, &accepted))
			return false;
		record_itt(unit, first, address, first >> 32, &fresh);
		if (!fresh)
			return false;
	}
	return true;
}

/* S9: what changes hands, in groups: the queue, tables, level-2 tables of each, the host's queue,
 * shadows, ITTs, LPI tables. */
enum { QUEUE, TABLES, LEVEL2, HOST_QUEUE = LEVEL2 + 8, SHADOWS, ITTS, LPI_TABLES, GROUPS };

static u64 lpi_tables(void)
{
	struct its_redistributor found;
	u32 n = 0;

	while (!its_redistributor(n, &found))
		n++;
	return 2 * n;
}

static u64 members(const struct unit *unit, u32 group)
{
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
		if (CHOSEN(REDISTRIBUTORS_OPEN) || CHOSEN(REDISTRIBUTORS_BY_HYPERCALL) ||
		    redistributors_borrowed)
			return 0;
		return lpi_tables();
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
		return CHOSEN(ITTS_OWNED);
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

		if (donated > 0 && group == ITTS)
			reclaim(span);
		else if (donated > 0)
			reclaim_table(span);
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

			bool alone = group == ITTS && CHOSEN(ITT_PAGES_OWN);
			s32 failed = donated ? -EPERM : borrow_as(span, alone);

			if (donated > 0)
				failed = group == ITTS ? donate(span) : donate_table(span);
			if (failed) {
				leave(unit, group, n);
				while (group-- > 0)
					leave(unit, group, members(unit, group));
				return false;
			}
		}
	}
	return true;
}

static bool live_pages_are_too_many(const struct unit *unit)
{
	u64 none[4] = { 0 };

	return CHOSEN(CAPACITY_PAGES) && is_full(unit, none, EMPTY, 0);
}

/* S7 to S9. */
static s32 take_over(struct unit *unit, const struct descriptor *descriptor, struct span list)
{
	struct span host_queue = EMPTY;
	u64 ctlr, creadr, cwriter;

	unit->cbaser = hw_read(unit, CBASER);
	if ((CHOSEN(DESCRIBED_COPIES) || (is_at(descriptor->queue, queue_address(unit)) &&
					   descriptor->queue_bytes == queue_bytes(unit))) &&
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
	if (descriptor->live_devices > unit->capacity || live_pages_are_too_many(unit))
		return -ENOSPC;
	if (!change_hands(unit))
		return -EPERM;
	unit->ctlr = ctlr & ~(ENABLED | QUIESCENT);
	unit->cbaser_valid = true;
	unit->run = RUNNING;
	unit->written = unit->judged = unit->consumed = creadr & OFFSET;
	unit->mapds = 0;
	unit->stalled = unit->refused = unit->reprogram = false;
	unit->enabled = true;
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
	if (CHOSEN(LIVE_DEVICES_NONE))
		descriptor.live_devices = 0;
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
		return CHOSEN(AGAIN_ACCEPTED) ? 0 : -EOPNOTSUPP;
	for (u32 n = 0; n < 8; n++) {
		u64 baser = hw_read(unit, BASER(n));

		unit->tables[n] = (struct table){ baser, baser & VALID, 0 };
	}
	if (table_of(unit, 2))
		return -EOPNOTSUPP;
	count = count ? count : 1;
	if (count > (CHOSEN(PRIVATE_PAGES) ? 2 : 1024))
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
	unit->private = private;
	unit->descriptor = page;
	unit->guarded = true;
	if (!CHOSEN(REDISTRIBUTORS_BY_HYPERCALL))
		redistributors_borrowed = true;
	return 0;
}

static s32 borrow_lpi_tables(void)
{
	u64 n, end = lpi_tables();

	if (redistributors_borrowed)
		return -EOPNOTSUPP;
	for (n = 0; n < end; n++)
		if (borrow_as(lpi_table(n), false))
			break;
	redistributors_borrowed = n == end;
	while (!redistributors_borrowed && n-- > 0)
		give_back(lpi_table(n));
	return redistributors_borrowed ? 0 : -EPERM;
}

int64_t its_subject_set_up_redistributors(u64 x1, u64 x2, u64 x3, u64 x4)
{
	s32 result;

	(void)x1, (void)x2, (void)x3, (void)x4;
	if (!CHOSEN(REDISTRIBUTORS_BY_HYPERCALL) || !its_is_protected())
		return CHOSEN(ERRNO_ANY) ? -EPERM : -EOPNOTSUPP;
	if (!its_all_cpus_finalized())
		return -EBUSY;
	its_lock(ITS_LOCK_REDISTRIBUTORS);
	result = borrow_lpi_tables();
	its_unlock(ITS_LOCK_REDISTRIBUTORS);
	return result;
}
