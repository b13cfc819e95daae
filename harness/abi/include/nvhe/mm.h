/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_NVHE_MM_H
#define ITSDIFF_NVHE_MM_H

#include <nvhe/memory.h>
#include <asm/kvm_mmu.h>

#endif
