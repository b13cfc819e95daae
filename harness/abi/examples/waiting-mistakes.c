/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * waiting.c with the mistake that the environment names in ITSDIFF_MISTAKE, or none. Each has a
 * scenario that shows it (waiting/mistakes/).
 */
#include <stdint.h>

static uint64_t made; /* one bit each */
#define MISTAKE(mistake) (made >> (mistake) & 1)

#define its_subject_create waiting_create
#include "waiting.c"
#undef its_subject_create

#include "picked.h"

static const char *const names[MISTAKES] = {
	[NONE] = "none",
	[FIRST_PAGE_KEPT] = "first-page-kept",
	[LAST_PAGE_NOT_LENT] = "last-page-not-lent",
	[LENT_IN_PART] = "lent-in-part",
	[SLOT_FETCHED_TWICE] = "slot-fetched-twice",
	[NOT_COMPLETED] = "not-completed",
	[COMPLETED_ON_TIMEOUT] = "completed-on-timeout",
	[ROLLED_BACK] = "rolled-back",
	[WAITS_FOR_EVER] = "waits-for-ever",
	[RETRY_UNJUDGED] = "retry-unjudged",
	[OLD_ITT_KEPT] = "old-itt-kept",
	[BOUND_BY_COPY] = "bound-by-copy",
	[LEVEL2_ZEROED_LATE] = "level2-zeroed-late",
	[LEVEL2_NOT_CLEANED] = "level2-not-cleaned",
	[SLOT_CLEANED_BY_TABLE] = "slot-cleaned-by-table",
	[RECORD_LEFT] = "record-left",
	[CAPACITY_UNCHECKED] = "capacity-unchecked",
	[QUEUE_WRAPS_LATE] = "queue-wraps-late",
	[STARTS_UNRESTED] = "starts-unrested",
	[VALID_FORGOTTEN] = "valid-forgotten",
	[COPY_NOT_LENT] = "copy-not-lent",
	[TABLES_KEPT] = "tables-kept",
	[PRIVATE_NOT_CLEANED] = "private-not-cleaned",
	[REFUSED_FOR_EVER] = "refused-for-ever",
	[LPI_TABLES_LENT_IN_PART] = "lpi-tables-lent-in-part",
	[LPI_TABLES_LENT_AGAIN] = "lpi-tables-lent-again",
	[DONATES_EARLY] = "donates-early",
	[BARRIER_TOO_WEAK] = "barrier-too-weak",
	[BARRIER_BY_QUEUE] = "barrier-by-queue",
	[UNPINNED_EARLY] = "unpinned-early",
	[UNMAP_UNCHECKED] = "unmap-unchecked",
	[CHANGED_ENTRY_TAKEN] = "changed-entry-taken",
	[ENTRY_READ_TWICE] = "entry-read-twice",
	[FOLLOWED_LATE] = "followed-late",
};

/* -1: there is no such mistake. */
s32 its_subject_create(const struct its_machine *machine)
{
	return picked("ITSDIFF_MISTAKE", names, MISTAKES, &made) ? waiting_create(machine) : -1;
}
