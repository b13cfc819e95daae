/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_BARRIER_H
#define ITSDIFF_ASM_BARRIER_H

#include <linux/compiler.h>

/* Barriers by kind, as far as devices see them: one that does not order stores, or not for the
 * outer domain in which the ITS is, orders nothing for it. A DSB also waits for cleans, which end
 * in every domain but the CPU's own. */
#define itsdiff_orders() its_order()
#define itsdiff_orders_nothing() barrier()

#define itsdiff_dsb_sy itsdiff_orders
#define itsdiff_dsb_st itsdiff_orders
#define itsdiff_dsb_osh itsdiff_orders
#define itsdiff_dsb_oshst itsdiff_orders
#define itsdiff_dsb_ish itsdiff_orders
#define itsdiff_dsb_ishst itsdiff_orders
#define itsdiff_dsb_ld itsdiff_orders_nothing
#define itsdiff_dsb_oshld itsdiff_orders_nothing
#define itsdiff_dsb_ishld itsdiff_orders_nothing
#define itsdiff_dsb_nsh itsdiff_orders_nothing
#define itsdiff_dsb_nshst itsdiff_orders_nothing
#define itsdiff_dsb_nshld itsdiff_orders_nothing

#define itsdiff_dmb_sy itsdiff_orders
#define itsdiff_dmb_st itsdiff_orders
#define itsdiff_dmb_osh itsdiff_orders
#define itsdiff_dmb_oshst itsdiff_orders
#define itsdiff_dmb_ld itsdiff_orders_nothing
#define itsdiff_dmb_oshld itsdiff_orders_nothing
#define itsdiff_dmb_ish itsdiff_orders_nothing
#define itsdiff_dmb_ishst itsdiff_orders_nothing
#define itsdiff_dmb_ishld itsdiff_orders_nothing
#define itsdiff_dmb_nsh itsdiff_orders_nothing
#define itsdiff_dmb_nshst itsdiff_orders_nothing
#define itsdiff_dmb_nshld itsdiff_orders_nothing

#define dsb(kind) itsdiff_dsb_##kind()
#define dmb(kind) itsdiff_dmb_##kind()
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
