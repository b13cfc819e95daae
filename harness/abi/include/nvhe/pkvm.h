/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_NVHE_PKVM_H
#define ITSDIFF_NVHE_PKVM_H

#include <asm/kvm_pkvm.h>
#include <nvhe/mem_protect.h>

#endif
