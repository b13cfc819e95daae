/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_ASM_CACHEFLUSH_H
#define ITSDIFF_ASM_CACHEFLUSH_H

#include <asm/kvm_mmu.h>

#endif
