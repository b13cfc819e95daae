/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A part of waiting.c: set-up, all or nothing. The host says where its copies are, no more. */
struct copies {
	u64 queue, level1[8];
};

/* What changes hands, in this order: the queue, tables, level-2 tables, the host's copies. */
enum {
	QUEUE,
	TABLES,
	LEVEL2 = TABLES + 8,
	COPY = LEVEL2 + 8,
	LEVEL1_COPIES,
	GROUPS = LEVEL1_COPIES + 8
};

static bool is_given(u32 group)
{
	return group < COPY;
}

/* The members of a group: one, but for level-1 tables, each of whose entries may name one. */
static u64 members(const struct unit *unit, u32 group)
{
	u64 baser;

	if (group < LEVEL2 || group >= COPY)
		return 1;
	baser = unit->baser[group - LEVEL2];
	return (baser & VALID) && (baser & INDIRECT) ? table_of(baser).bytes / 8 : 0;
}

static struct span member(const struct unit *unit, u32 group, u64 index, bool *malformed)
{
	u64 baser, entry;

	if (group == QUEUE)
		return queue_of(unit);
	if (group < LEVEL2)
		return table_of(unit->baser[group - TABLES]);
	if (group < COPY) {
		baser = unit->baser[group - LEVEL2];
		entry = ONCE(((u64 *)its_to_pointer(table_start(baser)))[index]);
		*malformed = (entry & VALID) && !level2_of(entry, baser).bytes;
		return level2_of(entry, baser);
	}
	if (group == COPY)
		return (struct span){ unit->host_queue, queue_of(unit).bytes };
	baser = unit->baser[group - LEVEL1_COPIES];
	if (!(baser & INDIRECT) || MISTAKE(COPY_NOT_LENT))
		return (struct span){ 0, 0 };
	return (struct span){ unit->host_level1[group - LEVEL1_COPIES], table_of(baser).bytes };
}

/* The next member from `index` on that may be something. */
static u64 next_member(const struct unit *unit, u32 group, u64 index, u64 end)
{
	const u64 *entries, *found;

	if (group < LEVEL2 || group >= COPY || index >= end)
		return index;
	entries = its_to_pointer(table_start(unit->baser[group - LEVEL2]));
	found = its_first_word(entries + index, (end - index) * 8);
	return found ? (u64)(found - entries) : end;
}

static void undo(const struct unit *unit, u32 group, u64 end)
{
	bool malformed;

	if (MISTAKE(TABLES_KEPT) && group < LEVEL2)
		return;
	while (end-- > 0) {
		struct span span = member(unit, group, end, &malformed);

		if (is_given(group))
			restore(span);
		else
			hand_back(span);
	}
}

static bool change_hands(const struct unit *unit)
{
	for (u32 group = 0; group < GROUPS; group++) {
		u64 end = members(unit, group);

		for (u64 n = next_member(unit, group, 0, end); n < end; n = next_member(unit, group, n + 1, end)) {
			bool malformed = false;
			struct span span = member(unit, group, n, &malformed);

			if (!malformed && (is_given(group) ? take(span) : lend(span)))
				continue;
			undo(unit, group, n);
			while (group-- > 0)
				undo(unit, group, members(unit, group));
			return false;
		}
	}
	return true;
}

/* Whether EL2 can guard the ITS's queue and tables, with these copies of the host's. */
static bool adopt(struct unit *unit, const struct copies *copies)
{
	bool seen[8] = { false };

	unit->cbaser = get(unit, CBASER);
	unit->typer = get(unit, TYPER);
	unit->host_queue = of_host(copies->queue, queue_of(unit).bytes).start;
	if (!(unit->cbaser & VALID) || BITS(unit->cbaser, 12, 4) || !unit->host_queue)
		return false;
	for (u32 n = 0; n < 8; n++) {
		u64 baser = unit->baser[n], type = BITS(baser, 56, 3), field = baser & 0xfffffffff000ULL;

		if (!(baser & VALID))
			continue;
		if (its_page(baser) == 0x10000)
			field &= ~0xf000ULL;
		if ((type != 1 && type != 4) || seen[type] || field % its_page(baser))
			return false;
		seen[type] = true;
		if (!(baser & INDIRECT))
			continue;
		unit->host_level1[n] = of_host(copies->level1[n], table_of(baser).bytes).start;
		if (!unit->host_level1[n])
			return false;
	}
	return true;
}

static bool is_idle(struct unit *unit)
{
	u64 ctlr = get(unit, CTLR), creadr = get(unit, CREADR), cwriter = get(unit, CWRITER);

	unit->ctlr = ctlr & ~(ENABLED | QUIESCENT);
	unit->head = unit->written = creadr & OFFSET;
	return (ctlr & ENABLED) && !(creadr & STALLED) && (creadr & OFFSET) == (cwriter & OFFSET);
}

static void start(struct unit *unit, struct span own)
{
	unit->records = its_to_pointer(own.start);
	unit->room = own.bytes / PAGE * RECORDS_PER_PAGE;
	unit->used = 0;
	unit->effect.kind = NOTHING;
	unit->in_flight = unit->stalled = unit->refused = false;
	unit->state = RUNS;
	unit->cbaser_valid = true;
	unit->queue_snooped = snoops(unit, CBASER);
	for (u32 n = 0; n < 8; n++) {
		unit->baser_valid[n] = unit->baser[n] & VALID;
		unit->table_snooped[n] = snoops(unit, BASER + 8 * n);
	}
	unit->guarded = true;
}

/* Both locks are held. */
static bool guard(struct unit *unit, u64 own_at, u64 pages, u64 copies_at)
{
	static struct copies copies;
	struct span own, page;
	bool guarded = false;

	if (unit->guarded || pages > 1024)
		return false;
	for (u32 n = 0; n < 8; n++) {
		unit->baser[n] = get(unit, BASER + 8 * n);
		if ((unit->baser[n] & VALID) && BITS(unit->baser[n], 56, 3) == 2)
			return false;
	}
	own = of_host(own_at, (pages ? pages : 1) * PAGE);
	page = of_host(copies_at, PAGE);
	if (!own.bytes || !page.bytes || page.start - own.start < own.bytes || !take(own))
		return false;
	zero(own);
	if (take(page)) {
		copies = *(const struct copies *)its_to_pointer(page.start);
		guarded = adopt(unit, &copies) && is_idle(unit) && change_hands(unit);
		if (!guarded)
			restore(page);
	}
	if (guarded) {
		start(unit, own);
		return true;
	}
	zero(own);
	if (!MISTAKE(PRIVATE_NOT_CLEANED))
		its_clean(its_to_pointer(own.start), own.bytes);
	restore(own);
	return false;
}

int64_t its_subject_set_up(u64 copies_at, u64 own_at, u64 pages, u64 control)
{
	bool guarded = false;

	if (!its_is_protected() || !its_all_cpus_finalized())
		return -1;
	for (u32 n = 0; n < MOST_ITS; n++) {
		if (!units[n].base || units[n].base != control)
			continue;
		its_lock(ITS_LOCK_SET_UP);
		its_lock(ITS_LOCK_ITS + n);
		guarded = guard(&units[n], own_at, pages, copies_at);
		its_unlock(ITS_LOCK_ITS + n);
		its_unlock(ITS_LOCK_SET_UP);
	}
	return guarded ? 0 : -1;
}

void its_subject_describe(const struct its_set_up *ours, uint64_t *page, uint64_t *arguments)
{
	struct copies *copies = (struct copies *)page;

	copies->queue = ours->host_queue;
	for (u32 n = 0; n < 8; n++)
		copies->level1[n] = ours->tables[n].host_level1;
	arguments[0] = ours->descriptor;
	arguments[1] = ours->private_pages;
	arguments[2] = ours->pages;
	arguments[3] = ours->control;
}
