/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_STRING_H
#define ITSDIFF_LINUX_STRING_H

#include <linux/compiler.h>

/* Calls, so that the harness sees each; itsdiff has them. */
void *memcpy(void *to, const void *from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

static __always_inline int memcmp(const void *one, const void *other, size_t bytes)
{
	const u8 *a = one, *b = other;

	for (size_t n = 0; n < bytes; n++)
		if (a[n] != b[n])
			return a[n] < b[n] ? -1 : 1;
	return 0;
}

/* The first byte that is another than `value`. */
static __always_inline void *memchr_inv(const void *from, int value, size_t bytes)
{
	const u8 *at = from;
	size_t n = 0;

	if (!(u8)value && its_from_pointer(from) != ~0ULL && !(((u64)from | bytes) & 7)) {
		at = its_first_word(from, bytes);
		if (!at)
			return NULL;
		bytes = 8;
	}
	for (; n < bytes; n++)
		if (at[n] != (u8)value)
			return (void *)(at + n);
	return NULL;
}

#define memzero_explicit(to, bytes) memset(to, 0, bytes)

#endif
