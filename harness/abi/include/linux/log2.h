/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_LOG2_H
#define ITSDIFF_LINUX_LOG2_H

#include <linux/bits.h>

/* The highest bit that is set, from 1 on; 0 for 0. */
#define fls64(n) ((u64)(n) ? 64 - __builtin_clzll(n) : 0)
#define fls(n) ((u32)(n) ? 32 - __builtin_clz(n) : 0)
#define __ffs(n) ((unsigned long)__builtin_ctzl(n))
#define __fls(n) ((unsigned long)(63 - __builtin_clzl(n)))
#define ffs(n) __builtin_ffs(n)
#define hweight64(n) __builtin_popcountll(n)
#define ilog2(n) (fls64(n) - 1)
#define is_power_of_2(n) ((n) != 0 && ((n) & ((n) - 1)) == 0)
#define order_base_2(n) ((n) > 1 ? ilog2((n) - 1) + 1 : 0)
#define roundup_pow_of_two(n) (1UL << order_base_2(n))
#define rounddown_pow_of_two(n) (1UL << ilog2(n))

#endif
