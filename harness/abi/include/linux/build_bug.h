/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_BUILD_BUG_H
#define ITSDIFF_LINUX_BUILD_BUG_H

#define static_assert(condition, ...) itsdiff_assert_(condition, ##__VA_ARGS__, #condition)
#define itsdiff_assert_(condition, message, ...) _Static_assert(condition, message)
#define BUILD_BUG_ON(condition) _Static_assert(!(condition), "BUILD_BUG_ON: " #condition)
#define BUILD_BUG_ON_MSG(condition, message) _Static_assert(!(condition), message)
#define BUILD_BUG_ON_ZERO(condition) ((int)(sizeof(struct { int : (-!!(condition)); })))

#endif
