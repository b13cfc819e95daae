/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A header that stands before itsdiff's: what is to be cleaned is ordered alone. */
#include_next <asm/kvm_mmu.h>

#undef kvm_flush_dcache_to_poc
#define kvm_flush_dcache_to_poc(from, bytes) its_order()
