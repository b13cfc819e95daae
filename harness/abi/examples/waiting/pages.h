/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A part of waiting.c: spans of memory that the host lends or gives away. */
struct span {
	u64 start, bytes;
};

static u64 pages_of(struct span span)
{
	return span.bytes ? (span.start % PAGE + span.bytes + PAGE - 1) / PAGE : 0;
}

/* A page's note: how many structures lie on it, and whether it was shared for them. It is pinned
 * once for all of them. */
#define SHARED_HERE BIT(31)

static void hand_back_page(u64 page)
{
	u32 note = its_note(page), left = (note & ~SHARED_HERE) - 1;

	if (!(note & ~SHARED_HERE))
		return;
	if (left) {
		its_set_note(page, left | (note & SHARED_HERE));
		if (MISTAKE(UNPINNED_EARLY) && left == 1)
			its_unpin(page);
		return;
	}
	if (its_unpin(page))
		return;
	its_set_note(page, 0);
	if ((note & SHARED_HERE) && !its_pins(page))
		its_unshare(page);
}

static bool lend_page(u64 page)
{
	u32 note = its_note(page);
	bool shared = !note && !its_share(page);

	if (!note && its_pin(page)) {
		if (shared)
			its_unshare(page);
		return false;
	}
	its_set_note(page, (note + 1) | (shared ? SHARED_HERE : 0));
	return true;
}

static void hand_back(struct span span)
{
	u64 first = span.start / PAGE;

	if (!span.bytes)
		return;
	its_lock(ITS_LOCK_MEMORY);
	for (u64 n = MISTAKE(FIRST_PAGE_KEPT) ? 1 : 0; n < pages_of(span); n++)
		hand_back_page(first + n);
	its_unlock(ITS_LOCK_MEMORY);
}

/* All of its pages, or none. */
static bool lend(struct span span)
{
	u64 first = span.start / PAGE, done = 0, pages = pages_of(span);

	if (!span.bytes)
		return true;
	if (!its_is_memory(span.start, span.bytes))
		return false;
	if (MISTAKE(LAST_PAGE_NOT_LENT) && pages > 1)
		pages--;
	its_lock(ITS_LOCK_MEMORY);
	while (done < pages && lend_page(first + done))
		done++;
	for (u64 n = 0; done < pages && n < done && !MISTAKE(LENT_IN_PART); n++)
		hand_back_page(first + n);
	its_unlock(ITS_LOCK_MEMORY);
	return done == pages;
}

static bool take(struct span span)
{
	s32 result;

	if (!span.bytes)
		return true;
	its_lock(ITS_LOCK_MEMORY);
	result = its_donate(span.start / PAGE, pages_of(span));
	its_unlock(ITS_LOCK_MEMORY);
	return !result;
}

static void restore(struct span span)
{
	if (!span.bytes)
		return;
	its_lock(ITS_LOCK_MEMORY);
	its_reclaim(span.start / PAGE, pages_of(span));
	its_unlock(ITS_LOCK_MEMORY);
}

/* Whole pages from a page boundary of the host's linear map on, in one region of memory; empty if
 * they are not. */
static struct span of_host(u64 linear, u64 bytes)
{
	u64 start, last;

	if (!bytes || linear % PAGE || linear + bytes - 1 < linear || its_from_host(linear, &start) ||
	    its_from_host(linear + bytes - 1, &last) || last - start != bytes - 1 || start % PAGE ||
	    !its_is_memory(start, bytes))
		return (struct span){ 0, 0 };
	return (struct span){ start, bytes };
}

static void zero(struct span span)
{
	for (u64 at = 0; at < span.bytes; at += PAGE)
		__builtin_memset(its_to_pointer(span.start + at), 0, PAGE);
}
