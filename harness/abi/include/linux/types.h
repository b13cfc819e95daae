/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_TYPES_H
#define ITSDIFF_LINUX_TYPES_H

#include "itsdiff.h"

typedef unsigned char u8, __u8;
typedef unsigned short u16, __u16;
typedef unsigned int u32, __u32;
typedef unsigned long long u64, __u64;
typedef signed char s8, __s8;
typedef short s16, __s16;
typedef int s32, __s32;
typedef long long s64, __s64;

/* Little endian, as every machine that this is compiled for. */
typedef u16 __le16;
typedef u32 __le32;
typedef u64 __le64;

typedef u64 phys_addr_t, dma_addr_t, resource_size_t;
typedef u64 gpa_t, gfn_t, hpa_t, hfn_t, kvm_pfn_t;
typedef unsigned long pgprot_t;
typedef unsigned int gfp_t;
typedef u16 pkvm_handle_t;
typedef long ssize_t;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;

#define U8_MAX ((u8)~0U)
#define U16_MAX ((u16)~0U)
#define U32_MAX ((u32)~0U)
#define U64_MAX ((u64)~0ULL)
#define S32_MAX ((s32)(U32_MAX >> 1))
#define S64_MAX ((s64)(U64_MAX >> 1))
#define INT_MAX ((int)(~0U >> 1))
#define UINT_MAX (~0U)
#define ULONG_MAX (~0UL)
#define PHYS_ADDR_MAX (~(phys_addr_t)0)

#endif
