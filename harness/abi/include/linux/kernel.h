/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_KERNEL_H
#define ITSDIFF_LINUX_KERNEL_H

#include <linux/bits.h>
#include <linux/bug.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/log2.h>
#include <linux/types.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define __ALIGN_KERNEL_MASK(x, mask) (((x) + (mask)) & ~(mask))
#define ALIGN(x, to) __ALIGN_KERNEL_MASK(x, (__typeof__(x))(to) - 1)
#define ALIGN_DOWN(x, to) ((x) & ~((__typeof__(x))(to) - 1))
#define IS_ALIGNED(x, to) (((x) & ((__typeof__(x))(to) - 1)) == 0)
#define PTR_ALIGN(pointer, to) ((__typeof__(pointer))ALIGN((unsigned long)(pointer), to))
#define PTR_ALIGN_DOWN(pointer, to) ((__typeof__(pointer))ALIGN_DOWN((unsigned long)(pointer), to))
#define round_up(x, to) ALIGN(x, to)
#define round_down(x, to) ALIGN_DOWN(x, to)
#define DIV_ROUND_UP(n, by) (((n) + (by) - 1) / (by))
#define DIV_ROUND_UP_ULL(n, by) DIV_ROUND_UP((u64)(n), by)
#define DIV_ROUND_DOWN_ULL(n, by) ((u64)(n) / (by))
#define roundup(x, to) ((((x) + (to) - 1) / (to)) * (to))
#define rounddown(x, to) ((x) - (x) % (to))

#define itsdiff_choose(a, relation, b)        \
	({                                    \
		__auto_type itsdiff_a = (a);  \
		__auto_type itsdiff_b = (b);  \
                                              \
		itsdiff_a relation itsdiff_b ? itsdiff_a : itsdiff_b; \
	})
#define min(a, b) itsdiff_choose(a, <, b)
#define max(a, b) itsdiff_choose(a, >, b)
#define min_t(type, a, b) min((type)(a), (type)(b))
#define max_t(type, a, b) max((type)(a), (type)(b))
#define min3(a, b, c) min(min(a, b), c)
#define max3(a, b, c) max(max(a, b), c)
#define clamp(x, low, high) min(max(x, low), high)
#define clamp_t(type, x, low, high) min_t(type, max_t(type, x, low), high)
#define swap(a, b)                           \
	do {                                 \
		__typeof__(a) itsdiff_a = (a); \
                                             \
		(a) = (b);                   \
		(b) = itsdiff_a;             \
	} while (0)

#define sizeof_field(type, member) sizeof(((type *)0)->member)
#define offsetofend(type, member) (offsetof(type, member) + sizeof_field(type, member))
#define container_of(pointer, type, member) \
	((type *)((char *)(pointer) - offsetof(type, member)))
#define struct_size(pointer, member, count) \
	(sizeof(*(pointer)) + sizeof((pointer)->member[0]) * (size_t)(count))

#define check_add_overflow(a, b, to) __builtin_add_overflow(a, b, to)
#define check_sub_overflow(a, b, to) __builtin_sub_overflow(a, b, to)
#define check_mul_overflow(a, b, to) __builtin_mul_overflow(a, b, to)

#define le16_to_cpu(x) ((u16)(x))
#define le32_to_cpu(x) ((u32)(x))
#define le64_to_cpu(x) ((u64)(x))
#define cpu_to_le16(x) ((__le16)(x))
#define cpu_to_le32(x) ((__le32)(x))
#define cpu_to_le64(x) ((__le64)(x))
#define le64_to_cpup(pointer) le64_to_cpu(*(pointer))
#define le32_to_cpup(pointer) le32_to_cpu(*(pointer))

#define IS_ENABLED(option) 0
#define udelay(microseconds) its_delay(microseconds)
#define cpu_relax() its_delay(1)

#endif
