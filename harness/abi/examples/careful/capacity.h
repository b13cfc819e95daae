/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A part of careful.c: whether there is room for one more ITT, by what takes a record (P7). */

/* Devices and ITTs that are held, with one more: of records, and from C to J. */
#define MOST_HELD 4096
struct held {
	bool overflows;
	u32 count, devices[MOST_HELD];
	struct span itts[MOST_HELD];
};

static void hold(struct held *held, u32 device, struct span itt)
{
	held->overflows |= held->count >= MOST_HELD;
	if (held->overflows)
		return;
	held->devices[held->count] = device;
	held->itts[held->count++] = itt;
}

static u32 count_devices(const struct held *held)
{
	u32 count = 0;

	for (u32 n = 0; n < held->count; n++) {
		u32 m = 0;

		while (m < n && held->devices[m] != held->devices[n])
			m++;
		count += m == n;
	}
	return count;
}

static u32 count_pages(const struct held *held)
{
	u32 count = 0;

	for (u32 n = 0; n < held->count; n++)
		for (u64 page = 0; page < pages_under(held->itts[n]); page++) {
			u64 number = held->itts[n].address / PAGE + page;
			u32 m = 0;

			while (m < n && number - held->itts[m].address / PAGE >= pages_under(held->itts[m]))
				m++;
			count += m == n;
		}
	return count;
}

/* Whether there is no room for what is held, and the ITT that a MAPD V=1 maps, if one does, which
 * may take the slot at `skipped`. */
static bool is_full(const struct unit *unit, const u64 *words, struct span itt, u64 skipped)
{
	static struct held of_all[MOST_ITS];
	struct held *held = &of_all[unit - units];

	if (!CHOSEN(CAPACITY_DEVICES) && !CHOSEN(CAPACITY_PAGES))
		return unit->capacity - unit->used <= unit->mapds;
	held->count = 0;
	held->overflows = false;
	for (u32 n = 0; n < unit->touched; n++)
		if (unit->records[n].one << 20)
			hold(held, unit->records[n].two, itt_of(unit, &unit->records[n]));
	for (u64 at = unit->consumed; at != unit->judged; at = after(unit, at)) {
		u64 other[4];

		read_slot(queue_address(unit) + at, other);
		if (at != skipped && maps(unit, other))
			hold(held, other[0] >> 32, itt_span(unit, other[2] & ITT_ADDRESS, other[1] & 0x1f));
	}
	if (itt.bytes)
		hold(held, words[0] >> 32, itt);
	if (held->overflows)
		return true;
	if (CHOSEN(CAPACITY_DEVICES))
		return count_devices(held) > unit->capacity;
	return held->count > unit->capacity || count_pages(held) > unit->capacity;
}
