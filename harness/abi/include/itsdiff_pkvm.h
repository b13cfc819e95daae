/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* pKVM's own primitives over itsdiff.h: they take the lock of page ownership themselves. */
#ifndef ITSDIFF_PKVM_H
#define ITSDIFF_PKVM_H

#include "itsdiff.h"

#define ITSDIFF_LOCKED(change)                       \
	({                                           \
		int32_t itsdiff_result;              \
                                                     \
		its_lock(ITS_LOCK_MEMORY);           \
		itsdiff_result = (change);           \
		its_unlock(ITS_LOCK_MEMORY);         \
		itsdiff_result;                      \
	})

static inline __attribute__((__always_inline__)) int32_t __pkvm_host_share_hyp(uint64_t pfn)
{
	return ITSDIFF_LOCKED(its_share(pfn));
}

static inline __attribute__((__always_inline__)) int32_t __pkvm_host_unshare_hyp(uint64_t pfn)
{
	return ITSDIFF_LOCKED(its_unshare(pfn));
}

static inline __attribute__((__always_inline__)) int32_t
__pkvm_host_donate_hyp(uint64_t pfn, uint64_t nr_pages)
{
	return ITSDIFF_LOCKED(its_donate(pfn, nr_pages));
}

static inline __attribute__((__always_inline__)) int32_t
__pkvm_hyp_donate_host(uint64_t pfn, uint64_t nr_pages)
{
	return ITSDIFF_LOCKED(its_reclaim(pfn, nr_pages));
}

/* The pages from one EL2 pointer to before another are unpinned. */
static inline __attribute__((__always_inline__)) void hyp_unpin_shared_mem(void *from, void *to)
{
	uint64_t page = its_from_pointer(from) >> 12;
	uint64_t pages = ((uint64_t)to - ((uint64_t)from & ~0xfffULL) + 0xfff) >> 12;

	its_lock(ITS_LOCK_MEMORY);
	for (uint64_t n = 0; n < pages; n++)
		its_unpin(page + n);
	its_unlock(ITS_LOCK_MEMORY);
}

/* The pages from one EL2 pointer to before another are pinned, all or none. */
static inline __attribute__((__always_inline__)) int32_t hyp_pin_shared_mem(void *from, void *to)
{
	uint64_t page = its_from_pointer(from) >> 12;
	uint64_t pages = ((uint64_t)to - ((uint64_t)from & ~0xfffULL) + 0xfff) >> 12;
	int32_t result = 0;
	uint64_t n;

	its_lock(ITS_LOCK_MEMORY);
	for (n = 0; n < pages && !result; n++)
		result = its_pin(page + n);
	if (result)
		for (n--; n > 0; n--)
			its_unpin(page + n - 1);
	its_unlock(ITS_LOCK_MEMORY);
	return result;
}

#endif
