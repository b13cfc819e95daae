/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_BARRIER_H
#define ITSDIFF_ASM_BARRIER_H

#include <linux/compiler.h>

/* Barriers by kind; the names of the options are the instruction's. */
#define itsdiff_sy ITS_SY
#define itsdiff_st ITS_ST
#define itsdiff_ld ITS_LD
#define itsdiff_osh ITS_OSH
#define itsdiff_oshst ITS_OSHST
#define itsdiff_oshld ITS_OSHLD
#define itsdiff_ish ITS_ISH
#define itsdiff_ishst ITS_ISHST
#define itsdiff_ishld ITS_ISHLD
#define itsdiff_nsh ITS_NSH
#define itsdiff_nshst ITS_NSHST
#define itsdiff_nshld ITS_NSHLD

#define dsb(kind) its_barrier(ITS_DSB + itsdiff_##kind)
#define dmb(kind) its_barrier(ITS_DMB + itsdiff_##kind)
#define isb() barrier()

#define mb() dsb(sy)
#define rmb() dsb(ld)
#define wmb() dsb(st)
#define dma_mb() dmb(osh)
#define dma_rmb() dmb(oshld)
#define dma_wmb() dmb(oshst)
#define smp_mb() dmb(ish)
#define smp_rmb() dmb(ishld)
#define smp_wmb() dmb(ishst)
#define smp_load_acquire(pointer) READ_ONCE(*(pointer))
#define smp_store_release(pointer, value) WRITE_ONCE(*(pointer), value)

#endif
