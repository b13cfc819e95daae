/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_COMPILER_H
#define ITSDIFF_LINUX_COMPILER_H

#include <linux/types.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define barrier() __asm__ volatile("" : : : "memory")

/* One load or store, which the harness sees as one. */
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value)                                 \
	do {                                                 \
		*(volatile __typeof__(x) *)&(x) = (value);   \
	} while (0)

#undef __always_inline
#define __always_inline inline __attribute__((__always_inline__))
#define noinline __attribute__((__noinline__))
#define __packed __attribute__((__packed__))
#define __aligned(n) __attribute__((__aligned__(n)))
#define __maybe_unused __attribute__((__unused__))
#define __always_unused __attribute__((__unused__))
#define __must_check __attribute__((__warn_unused_result__))
#define __noreturn __attribute__((__noreturn__))
#define __used __attribute__((__used__))
#define __weak __attribute__((__weak__))
#define __section(name) __attribute__((__section__(name)))
#define fallthrough __attribute__((__fallthrough__))
#define unreachable() __builtin_unreachable()
#define __same_type(a, b) __builtin_types_compatible_p(__typeof__(a), __typeof__(b))
#define __must_be_array(a) 0

/* Marks that other checkers read. */
#define __iomem
#define __force
#define __user
#define __bitwise
#define __rcu
#define __percpu
#define __init
#define __initdata
#define __ro_after_init
#define __read_mostly
#define __hyp_text
#define notrace
#define __nocfi
#define EXPORT_SYMBOL(name)
#define EXPORT_SYMBOL_GPL(name)

#endif
