/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_KVM_MMU_H
#define ITSDIFF_ASM_KVM_MMU_H

#include <asm/barrier.h>
#include <asm/memory.h>

/* Cleans to the point of coherency and waits for it. */
static __always_inline void itsdiff_clean(const void *from, u64 bytes)
{
	its_clean(from, bytes);
	its_order();
}

#define kvm_flush_dcache_to_poc(from, bytes) itsdiff_clean((const void *)(from), bytes)
#define dcache_clean_poc(from, end) itsdiff_clean((const void *)(from), (u64)(end) - (u64)(from))
#define dcache_clean_inval_poc(from, end) dcache_clean_poc(from, end)

#endif
