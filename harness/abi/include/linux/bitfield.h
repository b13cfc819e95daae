/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_BITFIELD_H
#define ITSDIFF_LINUX_BITFIELD_H

#include <linux/bits.h>
#include <linux/build_bug.h>

#define itsdiff_low_bit(mask) __builtin_ctzll(mask)
#define FIELD_MAX(mask) ((__typeof__(mask))((mask) >> itsdiff_low_bit(mask)))
#define FIELD_FIT(mask, value) (!((((u64)(value)) << itsdiff_low_bit(mask)) & ~(u64)(mask)))
#define FIELD_PREP(mask, value) \
	((__typeof__(mask))(((__typeof__(mask))(value) << itsdiff_low_bit(mask)) & (mask)))
#define FIELD_PREP_CONST(mask, value) FIELD_PREP(mask, value)
#define FIELD_GET(mask, word) ((__typeof__(mask))(((word) & (mask)) >> itsdiff_low_bit(mask)))
#define FIELD_MODIFY(mask, word, value) \
	(*(word) = (*(word) & ~(mask)) | FIELD_PREP(mask, value))
#define u64_get_bits(word, mask) FIELD_GET((u64)(mask), word)
#define u64_encode_bits(value, mask) FIELD_PREP((u64)(mask), value)
#define u32_get_bits(word, mask) FIELD_GET((u32)(mask), word)
#define u32_encode_bits(value, mask) FIELD_PREP((u32)(mask), value)
#define u64_replace_bits(word, value, mask) (((word) & ~(u64)(mask)) | FIELD_PREP((u64)(mask), value))

#endif
