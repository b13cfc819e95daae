/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_NVHE_MEM_PROTECT_H
#define ITSDIFF_NVHE_MEM_PROTECT_H

#include <asm/kvm_pkvm.h>
#include <nvhe/memory.h>
#include <nvhe/spinlock.h>

/* Sharing, donating and pinning, each under the lock of page ownership. */
#include "itsdiff_pkvm.h"

#endif
