/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_BUG_H
#define ITSDIFF_LINUX_BUG_H

#include <linux/build_bug.h>
#include <linux/compiler.h>

/* At EL2 a warning ends the machine too: each is a finding. */
#define WARN_ON(condition)                                     \
	({                                                     \
		bool itsdiff_warns = !!(condition);            \
                                                               \
		if (unlikely(itsdiff_warns))                   \
			its_warn();                            \
		unlikely(itsdiff_warns);                       \
	})
#define WARN_ON_ONCE(condition) WARN_ON(condition)
#define WARN(condition, ...) WARN_ON(condition)
#define WARN_ONCE(condition, ...) WARN_ON(condition)
#define BUG()                            \
	do {                             \
		its_panic();             \
		__builtin_unreachable(); \
	} while (0)
#define BUG_ON(condition)                \
	do {                             \
		if (unlikely(condition)) \
			BUG();           \
	} while (0)
#define hyp_panic() BUG()

#endif
