/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Mistakes that waiting.c does not make; waiting-mistakes.c makes one at a time. */
enum mistake {
	NONE,
	FIRST_PAGE_KEPT,       /* the first page of what is given back stays borrowed */
	LAST_PAGE_NOT_LENT,    /* of what has several pages the last is not borrowed */
	LENT_IN_PART,          /* a borrowing that fails keeps what it had */
	SLOT_FETCHED_TWICE,    /* the host's slot is read again when it is written */
	NOT_COMPLETED,         /* a command that was consumed while EL2 polled does nothing to records */
	COMPLETED_ON_TIMEOUT,  /* the command in flight is taken as consumed when polls run out */
	ROLLED_BACK,           /* it is taken back when polls run out: CWRITER goes back */
	WAITS_FOR_EVER,        /* polls have no limit */
	RETRY_UNJUDGED,        /* Retry restarts the queue with the slot as it is */
	OLD_ITT_KEPT,          /* a device that is mapped again keeps its old ITT borrowed */
	BOUND_BY_COPY,         /* a level-1 index is bounded by the page size alone */
	LEVEL2_ZEROED_LATE,    /* the level-1 entry is stored before the table is zeroed */
	LEVEL2_NOT_CLEANED,    /* a new level-2 table is cleaned only where registers ask for it */
	SLOT_CLEANED_BY_TABLE, /* slots are cleaned as BASER0 says, not as CBASER does */
	RECORD_LEFT,           /* unmapping leaves the record, and gives the ITT back */
	CAPACITY_UNCHECKED,    /* one record more than there is room for */
	QUEUE_WRAPS_LATE,      /* the last slot of the queue is followed by one behind it */
	STARTS_UNRESTED,       /* Enabled is set again before the ITS was quiescent */
	VALID_FORGOTTEN,       /* CBASER reads Valid after the host cleared it */
	COPY_NOT_LENT,         /* the host's copies of level-1 tables are not borrowed */
	TABLES_KEPT,           /* a set-up that fails at the end keeps the tables */
	PRIVATE_NOT_CLEANED,   /* a set-up that fails gives private pages back uncleaned */
	REFUSED_FOR_EVER,      /* a refused command is not judged again */
	LPI_TABLES_LENT_IN_PART, /* a set-up of redistributors that fails keeps tables */
	LPI_TABLES_LENT_AGAIN, /* redistributors can be set up twice */
	DONATES_EARLY,         /* donation does not wait for the set-up of redistributors */
	BARRIER_TOO_WEAK,      /* a DMB comes after a clean, where only a DSB waits for it */
	BARRIER_BY_QUEUE,      /* the barrier before CWRITER forgets level-1 entries that were cleaned */
	UNPINNED_EARLY,        /* a page is unpinned while one more structure lies on it */
	UNMAP_UNCHECKED,       /* unmapping gives back whatever ITT the command names */
	CHANGED_ENTRY_TAKEN,   /* a level-1 entry that the host changed is taken for the old one */
	ENTRY_READ_TWICE,      /* the host's level-1 entry is read again when it is stored */
	FOLLOWED_LATE,         /* a level-1 entry is not followed before a command with V=1 needs it */
	MISTAKES
};

#ifndef MISTAKE
#define MISTAKE(mistake) 0
#endif
